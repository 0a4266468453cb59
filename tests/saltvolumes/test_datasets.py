"""Tests of the data sets: what is listed, what is fetched from this machine, and what opens."""

import hashlib
import io
import re
import runpy
import shutil
import sys
import tarfile
import zipfile
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pytest
import segyio
from file_server import FileServer, serve
from segy_files import write_segy
from test_landmass import assert_complete, write_folder

from saltvolumes import datasets, save_volume
from saltvolumes.datasets import DATA_SOURCES, fetch, open_source, read_checksum
from saltvolumes.downloads import DownloadError
from saltvolumes.errors import DataError
from saltvolumes.volume import build_volume

CONTENT = b"zip" * 100_000
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """A server on this machine that has the SEAM volume."""
    monkeypatch.setenv("NO_PROXY", "*")
    with serve(FileServer(CONTENT)) as running:
        set_file(monkeypatch, url=running.url)
        yield running


def set_file(monkeypatch, **known):
    """Change where the SEAM volume is, and its checksum."""
    source = replace(DATA_SOURCES["seam-depth"], **known)
    monkeypatch.setattr(datasets, "DATA_SOURCES", {"seam-depth": source})


def fetch_seam(folder):
    """Fetch the SEAM volume; its content."""
    return fetch("seam-depth", folder).read_bytes()


def test_sources_are_complete():
    """Each data set has a description, its licence, what to cite and how to get it."""
    for source in DATA_SOURCES.values():
        assert all((source.title, source.description, source.licence, source.citation))
        assert source.url or source.request or source.path.is_file()
        pages = [page for page in (source.homepage, source.url) if page]
        assert {urlsplit(page).scheme for page in pages} == {"https"}
    assert DATA_SOURCES["f3"].access.startswith("Comes with this project: use the name f3")
    seam = DATA_SOURCES["seam-depth"].access
    assert seam.startswith("Open: 3 GB from https://seam-open-data.")
    assert DATA_SOURCES["seam-earth-model"].access.startswith("On request: write to SEG")
    assert "Or on request: fill in the form" in DATA_SOURCES["landmass-1"].access


def test_fetch_keeps_the_first_checksum(tmp_path, server):
    """The first download is trusted; the second call downloads only what was damaged since."""
    path = fetch("seam-depth", tmp_path / "new")
    assert path == tmp_path / "new" / "file.zip"
    assert path.read_bytes() == CONTENT
    assert (tmp_path / "new" / "file.zip.sha256").read_text() == f"{DIGEST}  file.zip\n"
    for n_asked, content in ((1, CONTENT), (2, b"changed")):
        path.write_bytes(content)
        assert fetch_seam(tmp_path / "new") == CONTENT
        assert len(server.asked) == n_asked


def test_another_file_is_refused(tmp_path, server):
    """A second download that differs from the first is not kept, unless the user agrees."""
    fetch_seam(tmp_path)
    (tmp_path / "file.zip").unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(DataError, match=rf"another SHA-256 than {DIGEST}.* delete file\.zip\.sha"):
        fetch_seam(tmp_path)
    assert not (tmp_path / "file.zip").exists()
    (tmp_path / "file.zip.sha256").unlink()
    assert fetch_seam(tmp_path) == CONTENT[::-1]


def test_checksum_of_the_list_counts(tmp_path, server, monkeypatch):
    """Where the list has the checksum, nothing else is trusted; a damaged one is not missing."""
    set_file(monkeypatch, url=server.url, sha256=DIGEST)
    assert fetch_seam(tmp_path) == CONTENT
    assert read_checksum(tmp_path / "file.zip") is None
    set_file(monkeypatch, url=server.url, sha256="0" * 64)
    with pytest.raises(DataError, match="another SHA-256 than 0000"):
        fetch_seam(tmp_path)
    set_file(monkeypatch, url=server.url)
    (tmp_path / "file.zip.sha256").write_text("d41d8\n")
    with pytest.raises(DataError, match=r"file\.zip\.sha256 does not hold a SHA-256"):
        fetch_seam(tmp_path)


def test_fetch_goes_on(tmp_path, server, capsys, monkeypatch):
    """What broke off names the page of the data, and goes on; a terminal shows a bar to its end."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    server.break_after = len(CONTENT) // 2
    with pytest.raises(DownloadError, match=r"Call again to go on .* page of the data is https"):
        fetch_seam(tmp_path)
    server.break_after = None
    assert fetch_seam(tmp_path) == CONTENT
    assert server.asked[-1][1] > 0
    bar = capsys.readouterr().err
    assert "file.zip: 100%" in bar
    assert "300k/300k" in bar


def test_what_cannot_be_fetched():
    """A data set on request names whom to ask; an unknown name lists the known ones."""
    with pytest.raises(ValueError, match=r"not openly downloadable\. On request: write to SEG"):
        fetch("seam-earth-model")
    for get in (fetch, open_source):
        with pytest.raises(
            ValueError, match=r"Invalid data set 'f4'\. Must be one of: 'f3', 'seam-dep"
        ):
            get("f4", "f4.zip")


def test_open_seam_as_downloaded(tmp_path):
    """The zip of the SEAM volume opens in metres of depth, with its line numbers."""
    cube = np.random.default_rng(4).normal(size=(4, 5, 6)).astype(np.float32)
    lines = {"inline": 1499 + 6 * np.arange(4), "crossline": 1499 + 6 * np.arange(5)}
    volume = build_volume(cube, **lines, vertical=20.0 * np.arange(6))
    inner = tmp_path / "SEAM_Interpretation_Challenge_1_Depth.sgy"
    save_volume(volume, inner)
    with zipfile.ZipFile(tmp_path / "seam.zip", "w") as archive:
        archive.write(inner, f"some folder/{inner.name}")
        archive.writestr("some folder/LICENSE.pdf", "")
    for path in (tmp_path / "seam.zip", inner):
        opened = open_source("seam-depth", path)
        for name in ("amplitude", "inline", "crossline", "depth"):
            np.testing.assert_array_equal(opened[name], volume[name])


def test_open_seam_line_as_downloaded(tmp_path):
    """The P velocity of the 2-D model opens as a volume of one line; the other files stay."""
    folder = tmp_path / "SEAM_I_2D_Model"
    folder.mkdir()
    velocity = np.full((1, 6, 5), 1500, np.float32)
    lines = {"inlines": [0], "crosslines": range(1, 7), "line_bytes": (189, 21)}
    interval = {segyio.BinField.Interval: 10_000}
    write_segy(folder / "SEAM_Vp_Elastic_N23900.sgy", velocity, **lines, bin_fields=interval)
    (folder / "SEAM_Vs_Elastic_N23900.sgy").touch()
    opened = open_source("seam-2d-elastic", shutil.make_archive(str(folder), "zip", tmp_path))
    np.testing.assert_array_equal(opened["amplitude"], velocity)
    np.testing.assert_array_equal(opened["depth"], 10.0 * np.arange(5))


def write_salt_model(path, grid):
    """The archive of the SEG/EAGE salt model, with the grid in a zip in a folder."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("Saltf@@", grid)
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("Salt_Model_3D/3-D_Salt_Model/VEL_GRIDS/SALTF.ZIP")
        member.size = inner.tell()
        archive.addfile(member, io.BytesIO(inner.getvalue()))
    return path


def test_open_salt_model_as_downloaded(tmp_path, monkeypatch):
    """A bare grid, x fastest, depth slowest; another size or other values are refused."""
    source = DATA_SOURCES["seg-eage-salt"]
    small = replace(source, reading={**source.reading, "shape": (4, 3, 5)})
    monkeypatch.setattr(datasets, "DATA_SOURCES", {source.name: small})
    x, y, z = np.meshgrid(np.arange(4), np.arange(3), np.arange(5), indexing="ij")
    velocity = 1500.0 + 100 * x + 10 * y + z
    velocity[2:, 1, 3] = 4482
    grid = velocity.astype(">f4").tobytes(order="F")
    opened = open_source("seg-eage-salt", write_salt_model(tmp_path / "a.tar.gz", grid))
    np.testing.assert_array_equal(opened["velocity"], velocity)
    np.testing.assert_array_equal(opened["salt"], velocity == 4482)
    for name, n in (("inline_m", 4), ("crossline_m", 3), ("depth", 5)):
        np.testing.assert_array_equal(opened[name], 20.0 * np.arange(n))
    with pytest.raises(DataError, match=r"Saltf@@: cannot reshape array of size 2 into shape"):
        open_source("seg-eage-salt", write_salt_model(tmp_path / "b.tar.gz", bytes(8)))
    with pytest.raises(DataError, match="Saltf@@ holds no velocities"):
        open_source("seg-eage-salt", write_salt_model(tmp_path / "c.tar.gz", bytes(240)))


@pytest.mark.parametrize("kind", ["zip", "gztar"])
def test_open_landmass_as_downloaded(tmp_path, kind):
    """One archive holds both releases; what another system put into it is no second copy."""
    write_folder(tmp_path / "made")
    (tmp_path / "made" / "__MACOSX" / "LANDMASS1").mkdir(parents=True)
    path = shutil.make_archive(str(tmp_path / "LANDMASS"), kind, tmp_path / "made")
    for release in (1, 2):
        assert_complete(open_source(f"landmass-{release}", path), release)


def test_book_lists_every_source(repository):
    """The page of data sets is made from the list, in place of its mark."""
    script = runpy.run_path(str(repository / "book" / "_extensions" / "data_sources.py"))
    text = [(repository / "book" / "datasets.md").read_text(encoding="utf-8")]
    script["list_sources"](None, "book/datasets", text)
    for source in DATA_SOURCES.values():
        for shown in (source.title, source.description, source.licence, source.access):
            assert shown in re.sub("[<>]", "", text[0])
        assert (f"thesis fetch {source.name}" in text[0]) == bool(source.url)
    other = ["<!-- data sources -->"]
    script["list_sources"](None, "book/intro", other)
    assert other == ["<!-- data sources -->"]
