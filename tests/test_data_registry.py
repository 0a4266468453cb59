"""Tests of the registry: what it says, what it fetches from this machine, and what it opens."""

import hashlib
import io
import re
import runpy
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import segyio
from file_server import FileServer, serve
from test_data_landmass import assert_complete, write_folder

from thesis_lib._volume import build_volume
from thesis_lib.data import registry, save_volume
from thesis_lib.data.downloads import DownloadError
from thesis_lib.data.errors import DataError
from thesis_lib.data.registry import DATA_SOURCES, RemoteFile, fetch, open_source, read_checksum

CONTENT = b"zip" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server on this machine that has the SEAM volume."""
    monkeypatch.setenv("NO_PROXY", "*")
    with serve(FileServer(CONTENT)) as running:
        set_file(monkeypatch, RemoteFile(running.url, len(CONTENT)))
        yield running


def set_file(monkeypatch: pytest.MonkeyPatch, file: RemoteFile) -> None:
    """Say where the SEAM volume is."""
    source = replace(DATA_SOURCES["seam-depth"], file=file)
    monkeypatch.setattr(registry, "DATA_SOURCES", {"seam-depth": source})


@pytest.mark.parametrize("name", DATA_SOURCES)
def test_sources_are_complete(name: str) -> None:
    """Each data set says what it is, its licence, what to cite and how to get it."""
    source = DATA_SOURCES[name]
    assert source.name == name
    assert all((source.title, source.description, source.licence, source.citation))
    assert source.file or source.request
    pages = [source.homepage, *([source.file.url] if source.file else [])]
    assert {urlsplit(page).scheme for page in pages} == {"https"}


def test_registry_names_what_the_thesis_used() -> None:
    """SEAM's volume and line, the SEG/EAGE salt and both releases of LANDMASS are there."""
    wanted = {"seam-depth", "seam-2d-elastic", "seg-eage-salt", "landmass-1", "landmass-2"}
    assert wanted <= DATA_SOURCES.keys()


def test_access_is_told_in_a_sentence() -> None:
    """What is open says where and how large it is, and what is not whom to ask."""
    seam = DATA_SOURCES["seam-depth"].access
    assert seam.startswith("Open: 3 GB from https://seam-open-data.")
    assert DATA_SOURCES["seam-earth-model"].access.startswith("On request: write to SEG")
    assert "Or on request: fill in the form" in DATA_SOURCES["landmass-1"].access


def test_fetch_keeps_the_first_checksum(tmp_path: Path, server: FileServer) -> None:
    """The first download is trusted, its SHA-256 kept, and the second call downloads nothing."""
    path = fetch("seam-depth", tmp_path / "new", progress=False)
    assert path == tmp_path / "new" / "file.zip"
    assert path.read_bytes() == CONTENT
    assert (tmp_path / "new" / "file.zip.sha256").read_text() == f"{DIGEST}  file.zip\n"
    assert fetch("seam-depth", tmp_path / "new", progress=False) == path
    assert len(server.asked) == 1


def test_another_file_is_refused(tmp_path: Path, server: FileServer) -> None:
    """A second download that differs from the first is not kept, until the user says so."""
    path = fetch("seam-depth", tmp_path, progress=False)
    path.unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(
        DataError, match=rf"another SHA-256 than {DIGEST}.* delete file\.zip\.sha256"
    ):
        fetch("seam-depth", tmp_path, progress=False)
    assert not path.exists()
    (tmp_path / "file.zip.sha256").unlink()
    assert fetch("seam-depth", tmp_path, progress=False).read_bytes() == CONTENT[::-1]


def test_damaged_file_is_fetched_again(tmp_path: Path, server: FileServer) -> None:
    """A file that changed on the disk is replaced by the one that was seen before."""
    path = fetch("seam-depth", tmp_path, progress=False)
    path.write_bytes(b"changed")
    assert fetch("seam-depth", tmp_path, progress=False).read_bytes() == CONTENT
    assert len(server.asked) == 2


def test_checksum_of_the_registry_counts(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the registry knows the checksum, nothing else is trusted."""
    set_file(monkeypatch, RemoteFile(server.url, len(CONTENT), DIGEST))
    assert fetch("seam-depth", tmp_path, progress=False).read_bytes() == CONTENT
    assert read_checksum(tmp_path / "file.zip") is None
    set_file(monkeypatch, RemoteFile(server.url, len(CONTENT), "0" * 64))
    with pytest.raises(DataError, match="another SHA-256 than 0000"):
        fetch("seam-depth", tmp_path, progress=False)


def test_fetch_goes_on(tmp_path: Path, server: FileServer) -> None:
    """A download that broke off is told with the page of the data, and goes on when asked again."""
    server.break_after = len(CONTENT) // 2
    with pytest.raises(DownloadError, match=r"Call again to go on .* page of the data is https"):
        fetch("seam-depth", tmp_path, progress=False)
    server.break_after = None
    assert fetch("seam-depth", tmp_path, progress=False).read_bytes() == CONTENT
    assert server.asked[-1][1] > 0


@pytest.mark.usefixtures("server")
def test_fetch_shows_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar with the name of the file runs to its end."""
    fetch("seam-depth", tmp_path)
    bar = capsys.readouterr().err
    assert "file.zip: 100%" in bar
    assert "300k/300k" in bar


def test_damaged_checksum_is_told(tmp_path: Path, server: FileServer) -> None:
    """A kept checksum that is none is not taken for none kept."""
    (tmp_path / "file.zip.sha256").write_text("d41d8\n")
    with pytest.raises(DataError, match=r"file\.zip\.sha256 holds no SHA-256"):
        fetch("seam-depth", tmp_path, progress=False)
    assert server.asked == []


def test_what_cannot_be_fetched() -> None:
    """A data set on request says whom to ask; an unknown name lists the known ones."""
    with pytest.raises(ValueError, match=r"not openly downloadable\. On request: write to SEG"):
        fetch("seam-earth-model")
    with pytest.raises(ValueError, match=r"Invalid data set 'seam'\. Must be one of: 'seam-depth'"):
        fetch("seam")
    with pytest.raises(ValueError, match="Invalid data set 'f3'"):
        open_source("f3", "f3.zip")


def test_open_seam_as_downloaded(tmp_path: Path) -> None:
    """The zip of the SEAM volume opens in metres of depth, with its line numbers."""
    rng = np.random.default_rng(4)
    volume = build_volume(
        rng.normal(size=(4, 5, 6)).astype(np.float32),
        inline=1499 + 6 * np.arange(4),
        crossline=1499 + 6 * np.arange(5),
        vertical=20.0 * np.arange(6),
    )
    inner = tmp_path / "SEAM_Interpretation_Challenge_1_Depth.sgy"
    save_volume(volume, inner)
    with zipfile.ZipFile(tmp_path / "seam.zip", "w") as archive:
        archive.write(inner, f"some folder/{inner.name}")
        archive.writestr("some folder/LICENSE.pdf", "")
    opened = open_source("seam-depth", tmp_path / "seam.zip")
    for name in ("amplitude", "inline", "crossline", "depth"):
        np.testing.assert_array_equal(opened[name], volume[name])
    opened = open_source("seam-depth", inner)
    np.testing.assert_array_equal(opened["amplitude"], volume["amplitude"])


def test_open_seam_line_as_downloaded(tmp_path: Path) -> None:
    """The P velocity of the 2-D model opens as a volume of one line; the other files stay."""
    velocity = np.full((6, 5), 1500, np.float32)  # (trace, sample)
    velocity[2:, 2:] = 4480
    path = tmp_path / "SEAM_I_2D_Model" / "SEAM_Vp_Elastic_N23900.sgy"
    path.parent.mkdir()
    spec = segyio.spec()
    spec.format, spec.samples, spec.tracecount = 5, range(0, 50, 10), 6
    with segyio.create(path, spec) as file:
        file.bin[segyio.BinField.Interval] = 10_000
        for number, trace in enumerate(velocity):
            file.header[number] = {segyio.TraceField.CDP: number + 1}
            file.trace[number] = trace
    (path.parent / "SEAM_Vs_Elastic_N23900.sgy").touch()
    archive = shutil.make_archive(str(tmp_path / "SEAM_I_2D_Model"), "zip", tmp_path / ".")
    opened = open_source("seam-2d-elastic", archive)
    np.testing.assert_array_equal(opened["amplitude"].squeeze(), velocity)
    np.testing.assert_array_equal(opened["depth"], 10.0 * np.arange(5))


@pytest.fixture
def small_grid(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """A salt model of 4 x 3 x 5 samples, whose velocity tells where they are."""
    source = DATA_SOURCES["seg-eage-salt"]
    small = replace(source, reading={**source.reading, "shape": (4, 3, 5)})
    monkeypatch.setattr(registry, "DATA_SOURCES", {source.name: small})
    x, y, z = np.meshgrid(np.arange(4), np.arange(3), np.arange(5), indexing="ij")
    velocity = 1500.0 + 100 * x + 10 * y + z
    velocity[2:, 1, 3] = 4482
    return velocity.astype(np.float32)


def write_salt_model(path: Path, grid: bytes) -> Path:
    """The archive of the SEG/EAGE salt model, with the grid in a zip in a folder."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("Saltf@@", grid)
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("Salt_Model_3D/3-D_Salt_Model/VEL_GRIDS/SALTF.ZIP")
        member.size = inner.tell()
        archive.addfile(member, io.BytesIO(inner.getvalue()))
    return path


def test_open_salt_model_as_downloaded(tmp_path: Path, small_grid: np.ndarray) -> None:
    """The bare grid has x fastest and depth slowest; salt is where its velocity is."""
    grid = small_grid.astype(">f4").tobytes(order="F")
    opened = open_source("seg-eage-salt", write_salt_model(tmp_path / "a.tar.gz", grid))
    np.testing.assert_array_equal(opened["velocity"], small_grid)
    np.testing.assert_array_equal(opened["salt"], small_grid == 4482)
    for name, n in (("inline_m", 4), ("crossline_m", 3), ("depth", 5)):
        np.testing.assert_array_equal(opened[name], 20.0 * np.arange(n))


@pytest.mark.usefixtures("small_grid")
def test_bad_salt_model(tmp_path: Path) -> None:
    """A grid of another size or without velocities is refused."""
    with pytest.raises(DataError, match=r"Saltf@@ has 8 bytes. Must be 240: \(4, 3, 5\)"):
        open_source("seg-eage-salt", write_salt_model(tmp_path / "a.tar.gz", bytes(8)))
    with pytest.raises(DataError, match="Saltf@@ holds no velocities"):
        open_source("seg-eage-salt", write_salt_model(tmp_path / "b.tar.gz", bytes(240)))


@pytest.mark.parametrize("release", [1, 2])
def test_open_landmass_as_downloaded(tmp_path: Path, release: int) -> None:
    """One archive holds both releases, and each data set opens its own."""
    write_folder(tmp_path / "made")
    path = shutil.make_archive(str(tmp_path / "LANDMASS"), "zip", tmp_path / "made")
    assert_complete(open_source(f"landmass-{release}", path), release)


def test_book_lists_every_source(repository: Path) -> None:
    """The page of data sets is made from the registry, where its mark stands."""
    script = runpy.run_path(str(repository / "book" / "_extensions" / "data_sources.py"))
    text = [(repository / "book" / "datasets.md").read_text(encoding="utf-8")]
    script["list_sources"](None, "book/datasets", text)
    for source in DATA_SOURCES.values():
        for told in (source.title, source.description, source.licence, source.access):
            assert told in re.sub("[<>]", "", text[0])
        assert (f"thesis fetch {source.name}" in text[0]) == (source.file is not None)
    other = ["<!-- data sources -->"]
    script["list_sources"](None, "book/intro", other)
    assert other == ["<!-- data sources -->"]
