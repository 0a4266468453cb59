"""Archives as they were downloaded, unpacked whole or not at all, and only into their folder."""

import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Generator
from contextlib import closing
from fnmatch import fnmatch
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Self

from filelock import FileLock

from thesis_lib._checks import check_choice
from thesis_lib._files import replace_when_done
from thesis_lib.data.errors import DataError, tell_damage

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVE_ENDINGS = (".zip", *TAR_ENDINGS)
LIMIT_BYTES = 64 * 2**30
LIMIT_MEMBERS = 10**6
_NO_FILE = "is a link or device"
LIMIT_NAME_BYTES = 2**20  # of the headers that hold a long name: tarfile reads them whole
_LONG_NAMES = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_Member = tuple[str, int, str, Callable[[Path], object]]  # name, bytes, what is wrong, extract


def unpack(path: str | Path, to: str | Path, *, limit_bytes: int = LIMIT_BYTES) -> Path:
    """
    Unpack a zip or tar archive into a new folder.

    The folder gets its name when it is complete: neither an error nor a kill leaves half of it.

    Parameters
    ----------
    path : str or Path
        Ending in .zip, .tar, .tar.gz, .tar.bz2, .tar.xz or their short forms.
    to : str or Path
        The folder to make, in a folder that exists.
    limit_bytes : int
        Refuse an archive that declares more than this, or more than the disk has room for.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If there is no such archive.
    FileExistsError
        If the folder is there already.
    DataError
        If the archive is damaged, encrypted or too large, or if a member would leave the folder
        or is a link or device.
    ValueError
        If the ending is unknown.
    """
    path, to = Path(path), Path(to)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}.")
    check_choice("archive ending", _find_ending(path), ARCHIVE_ENDINGS)
    with FileLock(to.with_name(f".{to.name}.partial.lock")):
        if to.exists():
            raise FileExistsError(f"{to} exists. Delete it, or unpack to another folder.")
        damaged = tell_damage(f"{path.name} is damaged, or cannot be unpacked")
        with damaged, replace_when_done(to) as folder:
            folder.mkdir()
            _extract(path, folder, min(limit_bytes, shutil.disk_usage(folder).free))
    return to


def find_file(path: str | Path, *patterns: str) -> Path:
    """
    Find a file in an archive or folder, and in an archive within, if need be.

    An archive is unpacked beside itself, into a folder of its name with ``.unpacked``, unless that
    has been done. A file that is no archive, or that fits already, is returned as it is.

    Parameters
    ----------
    path : str or Path
        An archive, a folder or the file itself.
    patterns : str
        Name of the file with wildcards, whatever its folder and case; before it, in their order,
        the archives that it lies in below the first.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    DataError
        If not exactly one file fits, or an archive cannot be unpacked.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No such file or folder: {path}.")
    for pattern in patterns:
        if path.is_file() and _fits(path, pattern):
            continue
        folder = unpack_beside(path)
        if folder.is_dir():
            path = _find_one(folder, pattern)
    return path


def unpack_beside(path: Path) -> Path:
    """Folder of what an archive holds, unpacked unless it was before; anything else unchanged."""
    if path.is_dir() or _find_ending(path) not in ARCHIVE_ENDINGS:
        return path
    folder = path.with_name(f"{path.name}.unpacked")
    if folder.is_dir() and folder.stat().st_mtime >= path.stat().st_mtime:
        return folder
    return unpack(path, folder)


def _find_one(folder: Path, pattern: str) -> Path:
    files = [file for file in folder.rglob("*") if file.is_file() and "__MACOSX" not in file.parts]
    found = sorted(file for file in files if _fits(file, pattern))
    if len(found) != 1:
        shown = ", ".join(file.name for file in (found or sorted(files))[:5])
        raise DataError(
            f"{folder.name} holds {len(found)} files {pattern!r} among {len(files)}: "
            f"{shown or 'none there'}. Must be one."
        )
    return found[0]


def _fits(path: Path, pattern: str) -> bool:
    return fnmatch(path.name.lower(), pattern.lower())


def _find_ending(path: Path) -> str:
    name = path.name.lower()
    fitting = [ending for ending in ARCHIVE_ENDINGS if name.endswith(ending)]
    return max(fitting, key=len, default=path.suffix.lower())


def _extract(path: Path, folder: Path, limit_bytes: int) -> None:
    list_members = _list_zip if _find_ending(path) == ".zip" else _list_tar
    n_bytes = 0
    with closing(list_members(path)) as members:
        for number, (name, size, fault, extract) in enumerate(members):
            n_bytes += size
            if _leaves(name):
                fault = "leaves the folder"
            if number >= LIMIT_MEMBERS:
                fault = f"is one more than the {LIMIT_MEMBERS} that are allowed"
            if n_bytes > limit_bytes:
                fault = f"makes it larger than the {limit_bytes / 1e9:.3g} GB that are allowed"
            if fault:
                raise DataError(f"{path.name} is refused: its member {name!r} {fault}.")
            extract(folder)


def _leaves(name: str) -> bool:
    return any(
        kind(name).anchor or ".." in kind(name).parts for kind in (PurePosixPath, PureWindowsPath)
    )


def _list_zip(path: Path) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                extract = partial(archive.extract, info)
                yield info.orig_filename, info.file_size, _find_fault(info), extract


def _find_fault(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 1:
        return "is encrypted"
    kind = stat.S_IFMT(info.external_attr >> 16)
    return "" if kind in (0, stat.S_IFREG) else _NO_FILE


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.type in _LONG_NAMES and header.size > LIMIT_NAME_BYTES:
            raise DataError(f"A name in the archive takes {header.size / 1e9:.3g} GB: refused.")
        return header


def _list_tar(path: Path) -> Generator[_Member, None, None]:
    with tarfile.open(path, tarinfo=_Header) as archive:
        for member in archive:
            if not member.isdir():
                extract = partial(archive.extract, member, filter="data")
                yield member.name, member.size, "" if member.isreg() else _NO_FILE, extract
