"""Tests of archives: unpacked whole or not at all, and never outside their folder."""

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from thesis_lib.data.archives import ARCHIVE_ENDINGS, find_file, unpack
from thesis_lib.data.errors import DataError

FILES = {"sub/volume.sgy": b"samples" * 5000, "sub/é ü.txt": b"text", "empty": b""}


def write_zip(path: Path, files: Mapping[str, bytes] = FILES) -> Path:
    """A zip of these files."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return path


def write_tar(path: Path, *members: tarfile.TarInfo, files: Mapping[str, bytes] = FILES) -> Path:
    """A tar of these files, compressed as its name says, and of other members."""
    kind = {"z": "gz", "2": "bz2", "r": ""}.get(path.name[-1], "gz")
    kind = "xz" if path.name.endswith("xz") else kind
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def write(path: Path) -> Path:
    """An archive of FILES, of the kind that its name says."""
    return write_zip(path) if path.suffix == ".zip" else write_tar(path)


def read_tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, but for locks."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_refused(path: Path, message: str) -> None:
    """Unpacking fails in one line and leaves nothing but the archive, in or around the folder."""
    around = read_tree(path.parent.parent)
    with pytest.raises(DataError, match=message) as caught:
        unpack(path, path.parent / "to")
    assert "\n" not in str(caught.value)
    assert read_tree(path.parent.parent) == around
    assert not (path.parent / "to").exists()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in a folder, so that what leaves the first is seen."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.mark.parametrize("ending", ARCHIVE_ENDINGS)
def test_unpack_gives_what_was_packed(folder: Path, ending: str) -> None:
    """Names, folders and bytes come back from every kind of archive."""
    path = write(folder / f"a{ending}")
    assert read_tree(unpack(path, folder / "to")) == FILES


@pytest.mark.parametrize("name", ["../out", "sub/../../out", "/tmp/out", "..\\out", "C:\\out"])
def test_members_that_leave_are_refused(folder: Path, name: str) -> None:
    """A name that points out of the folder is refused, by the rules of any system."""
    assert_refused(write_zip(folder / "a.zip", {**FILES, name: b"x"}), "leaves the folder")
    member = tarfile.TarInfo(name)
    assert_refused(write_tar(folder / "a.tar.gz", member), "leaves the folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_of_tar_are_refused(folder: Path, kind: bytes) -> None:
    """What is neither file nor folder is refused, wherever it points."""
    member = tarfile.TarInfo("link")
    member.type, member.linkname = kind, "/etc/passwd"
    assert_refused(write_tar(folder / "a.tar", member), "'link' is a link or device")


def test_links_of_zip_are_refused(folder: Path) -> None:
    """A zip may hold symbolic links too."""
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr(info, "../out")
    assert_refused(folder / "a.zip", "'link' is a link or device")


def test_encrypted_zip_is_refused(folder: Path) -> None:
    """A zip that wants a password is named as such."""
    path = write_zip(folder / "a.zip", {"a": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # flags of the member
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and of its entry in the directory
    path.write_bytes(data)
    assert_refused(path, "'a' is encrypted")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_bombs_are_refused(folder: Path, ending: str) -> None:
    """What declares more than allowed is refused before it is written."""
    path = write(folder / f"a{ending}")
    with pytest.raises(DataError, match=r"larger than the 3e-05 GB that are allowed"):
        unpack(path, folder / "to", limit_bytes=30_000)
    assert read_tree(unpack(path, folder / "to", limit_bytes=35_004)) == FILES


@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_too_many_members_are_refused(
    folder: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A billion empty files take no room, but no folder holds them."""
    monkeypatch.setattr("thesis_lib.data.archives.LIMIT_MEMBERS", 2)
    assert_refused(write(folder / f"a{ending}"), "'empty' is one more than the 2 that are allowed")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_names_that_fill_the_memory_are_refused(folder: Path, kind: bytes) -> None:
    """The header of a long name is refused by its size, before it is read."""
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 2**20 + 1
    assert_refused(write_tar(folder / "a.tar.gz", member), "A name in the archive takes 0.00105 GB")


def test_full_disk_is_a_limit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more is unpacked than the disk has room for."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    assert_refused(write(folder / "a.zip"), "larger than the 1e-06 GB")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_truncated_archives_are_refused(folder: Path, ending: str, share: float) -> None:
    """Half an archive gives nothing."""
    path = write(folder / f"a{ending}")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    assert_refused(path, "is damaged, or cannot be unpacked")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ending=st.sampled_from([".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"]),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_mutated_archives(
    tmp_path_factory: pytest.TempPathFactory, ending: str, changes: list[tuple[float, int]]
) -> None:
    """A damaged archive gives a folder or one clear error, whatever byte is changed."""
    folder = tmp_path_factory.mktemp("mutated")
    path = write(folder / f"a{ending}")
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[int(place * len(data))] = value
    path.write_bytes(data)
    try:
        unpack(path, folder / "to")
    except DataError:
        assert not (folder / "to").exists()


def test_killed_unpacking_leaves_no_folder(folder: Path) -> None:
    """SIGKILL amid unpacking leaves no folder of that name, and the next call makes it whole."""
    path = write_tar(folder / "a.tar.gz")
    code = (
        "import sys, tarfile, time\n"
        "from thesis_lib.data.archives import unpack\n"
        "def extract(self, member, folder, filter):\n"
        "    (folder / 'begun').write_text('')\n"
        "    time.sleep(60)\n"
        "tarfile.TarFile.extract = extract\n"
        "unpack(sys.argv[1], sys.argv[2])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path), str(folder / "to")])
    for _ in range(6000):
        if (folder / ".to.partial" / "begun").exists():
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder / ".to.partial" / "begun").exists()
    assert not (folder / "to").exists()
    assert read_tree(unpack(path, folder / "to")) == FILES


def test_existing_folder_is_kept(folder: Path) -> None:
    """A folder that is there is not written to."""
    (folder / "to").mkdir()
    with pytest.raises(FileExistsError, match=r"exists\. Delete it, or unpack to another folder"):
        unpack(write(folder / "a.zip"), folder / "to")


def test_what_is_no_archive(folder: Path) -> None:
    """A missing file and an unknown ending are named."""
    with pytest.raises(FileNotFoundError, match=r"No such file: .*a\.zip"):
        unpack(folder / "a.zip", folder / "to")
    (folder / "a.rar").touch()
    with pytest.raises(ValueError, match=r"Invalid archive ending '\.rar'"):
        unpack(folder / "a.rar", folder / "to")


def test_find_file_in_an_archive_within(folder: Path) -> None:
    """Patterns lead through archives to a file, whatever the folder and case of its name."""
    inner = write_zip(folder / "INNER.ZIP", {"Grid@@": b"grid"}).read_bytes()
    path = write_zip(folder / "a.zip", {"deep/INNER.ZIP": inner, "__MACOSX/inner.zip": b""})
    steps = ("inner.zip", "grid@@")
    found = find_file(path, *steps)
    assert found.read_bytes() == b"grid"
    assert find_file(folder / "INNER.ZIP", *steps).read_bytes() == b"grid"
    assert find_file(found, *steps) == found
    assert find_file(folder / "a.zip.unpacked", *steps) == found


def test_find_file_unpacks_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unpacked is used again, unless the archive is newer."""
    path = write(folder / "a.zip")
    found = find_file(path, "*.sgy")
    assert found == folder / "a.zip.unpacked" / "sub" / "volume.sgy"
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert find_file(path, "*.sgy") == found
    os.utime(path, (2e9, 2e9))
    with pytest.raises(FileExistsError, match=r"a\.zip\.unpacked exists"):
        find_file(path, "*.sgy")


def test_find_file_wants_exactly_one(folder: Path) -> None:
    """None or several that fit are told, with what is there."""
    path = write_zip(folder / "a.zip", {"a.sgy": b"", "b.sgy": b""})
    with pytest.raises(DataError, match=r"holds 2 files '\*\.sgy' among 2: a\.sgy, b\.sgy"):
        find_file(path, "*.sgy")
    with pytest.raises(DataError, match=r"holds 0 files 'c\.sgy' among 2: a\.sgy"):
        find_file(path, "c.sgy")
    with pytest.raises(FileNotFoundError, match="No such file or folder"):
        find_file(folder / "none.zip", "*.sgy")
