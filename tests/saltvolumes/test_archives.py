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
from contextlib import suppress

import pytest

from saltvolumes.archives import ARCHIVE_ENDINGS, find_file, unpack
from saltvolumes.errors import DataError

FILES = {"sub/volume.sgy": b"samples" * 5000, "sub/é ü.txt": b"text", "empty": b""}


def write(path, files=FILES, *members):
    """An archive of these files, of the kind that its name says, and of other members of a tar."""
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    kinds = {"gz": "gz", "tgz": "gz", "bz2": "bz2", "tbz2": "bz2", "xz": "xz", "txz": "xz"}
    with tarfile.open(path, f"w:{kinds.get(path.suffix[1:], '')}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return path


def read_tree(folder):
    """All files below a folder, but for locks."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def assert_refused(path, message):
    """Unpacking fails in one line and leaves nothing but the archive, in or around the folder."""
    around = read_tree(path.parent.parent)
    with pytest.raises(DataError, match=message) as caught:
        unpack(path, path.parent / "to")
    assert "\n" not in str(caught.value)
    assert read_tree(path.parent.parent) == around
    assert not (path.parent / "to").exists()


@pytest.fixture
def folder(tmp_path):
    """A folder in a folder, so that what leaves the first is seen."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.mark.parametrize("ending", ARCHIVE_ENDINGS)
def test_unpack_gives_what_was_packed(folder, ending):
    """Names, folders and bytes come back from every kind of archive."""
    path = write(folder / f"a{ending}")
    assert read_tree(unpack(path, folder / "to")) == FILES


@pytest.mark.parametrize("name", ["../out", "sub/../../out", "{}/out"])
@pytest.mark.parametrize("ending", [".zip", ".tar.gz"])
def test_nothing_leaves_the_folder(folder, ending, name):
    """A member whose name points out of the folder is refused or kept inside."""
    path = write(folder / f"a{ending}", {name.format(folder.parent): b"x"})
    with suppress(DataError):
        unpack(path, folder / "to")
    found = list(folder.parent.rglob("out"))
    assert all(file.is_relative_to(folder / "to") for file in found)


def test_links_lead_nowhere(folder):
    """A tar with links to any file, or devices, is refused; a link in a zip becomes a file."""
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        assert_refused(write(folder / "a.tar", FILES, member), "cannot be unpacked: 'link'")
    info = zipfile.ZipInfo("link")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr(info, "../out")
    link = unpack(folder / "a.zip", folder / "to") / "link"
    assert (link.is_symlink(), link.read_text()) == (False, "../out")


def test_encrypted_and_damaged_members_are_refused(folder):
    """A zip that wants a password is named as such; a damaged header of a tar is not its end."""
    path = write(folder / "a.zip", {"a": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # flags of the member
    data[data.index(b"PK\x01\x02") + 8] |= 1  # and of its entry in the directory
    path.write_bytes(data)
    assert_refused(path, "'a'.* is encrypted, password required")
    path = write(folder / "a.tar")
    path.write_bytes(path.read_bytes().replace(b"empty", b"Empty"))
    assert_refused(path, "bad checksum")


def test_full_disk_leaves_nothing(folder, monkeypatch):
    """Where there is no room for the second file, the first one is gone as well."""

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", fail)
    assert_refused(write(folder / "a.zip"), "cannot be unpacked: .* No space left on device")


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar"])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, None])
def test_truncated_archives_are_refused(folder, ending, fraction):
    """Half an archive gives nothing, nor one that lacks its mark or checksum at the end."""
    path = write(folder / f"a{ending}")
    whole = path.read_bytes()
    n_bytes = -4 if fraction is None else int(fraction * len(whole))
    if fraction is None and ending == ".tar":  # two blocks of zeros, and more
        n_bytes = -(-len(whole.rstrip(b"\0")) // 512) * 512
    path.write_bytes(whole[:n_bytes])
    assert_refused(path, "is damaged, or cannot be unpacked")


def test_killed_unpacking_leaves_no_folder(folder):
    """SIGKILL amid unpacking leaves no folder of that name, and the next call makes it whole."""
    path = write(folder / "a.tar.gz")
    code = (
        "import sys, tarfile, time\n"
        "from saltvolumes.archives import unpack\n"
        "def extract(self, folder, filter):\n"
        "    (folder / 'begun').write_text('')\n"
        "    time.sleep(3600)\n"
        "tarfile.TarFile.extractall = extract\n"
        "unpack(sys.argv[1], sys.argv[2])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path), str(folder / "to")])
    begun = folder / ".to.partial" / "begun"
    while process.poll() is None and not begun.exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert begun.exists()
    assert not (folder / "to").exists()
    assert read_tree(unpack(path, folder / "to")) == FILES


def test_what_is_not_unpacked(folder):
    """A missing file, an unknown ending, a folder that exists, and none or several that fit."""
    with pytest.raises(FileNotFoundError, match=r"No such file: .*a\.zip"):
        unpack(folder / "a.zip", folder / "to")
    with pytest.raises(FileNotFoundError, match="No such file or folder"):
        find_file(folder / "a.zip", "*.sgy")
    (folder / "a.rar").touch()
    with pytest.raises(ValueError, match=r"Invalid archive ending '\.rar'"):
        unpack(folder / "a.rar", folder / "to")
    path = write(folder / "a.zip", {"a.sgy": b"", "b.sgy": b""})
    with pytest.raises(FileExistsError, match=r"exists\. Delete it, or unpack to another folder"):
        unpack(path, folder)
    with pytest.raises(DataError, match=r"holds 2 files '\*\.sgy' among 2: a\.sgy, b\.sgy"):
        find_file(path, "*.sgy")
    with pytest.raises(DataError, match=r"holds 0 files 'c\.sgy' among 2: a\.sgy"):
        find_file(path, "c.sgy")


def test_find_file_in_an_archive_within(folder):
    """Patterns lead through archives to a file, whatever the folder and case of its name."""
    inner = write(folder / "INNER.ZIP", {"Grid@@": b"grid"}).read_bytes()
    path = write(folder / "a.zip", {"deep/INNER.ZIP": inner, "__MACOSX/inner.zip": b""})
    found = find_file(path, "inner.zip", "grid@@")
    assert found.read_bytes() == b"grid"
    assert find_file(folder / "INNER.ZIP", "inner.zip", "grid@@").read_bytes() == b"grid"
    for start in (found, folder / "a.zip.unpacked"):
        assert find_file(start, "inner.zip", "grid@@") == found


def test_find_file_unpacks_once(folder, monkeypatch):
    """What was unpacked is used again, unless the archive is newer."""
    path = write(folder / "a.zip")
    found = find_file(path, "*.sgy")
    assert found == folder / "a.zip.unpacked" / "sub" / "volume.sgy"
    monkeypatch.setattr(zipfile, "ZipFile", None)
    assert find_file(path, "*.sgy") == found
    os.utime(path, (2e9, 2e9))
    with pytest.raises(FileExistsError, match=r"a\.zip\.unpacked exists"):
        find_file(path, "*.sgy")
