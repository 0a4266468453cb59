"""Archives as they were downloaded, unpacked whole or not at all, and only into their folder."""

import tarfile
import zipfile
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

from filelock import FileLock

from saltvolumes._checks import check_choice
from saltvolumes._files import replace_when_done
from saltvolumes.errors import DataError, as_data_error

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVE_ENDINGS = (".zip", *TAR_ENDINGS)
_CHUNK_BYTES = 2**20
_END = bytes(tarfile.BLOCKSIZE)  # of zeros


class _Member(tarfile.TarInfo):
    """A member of a tar whose damaged header is refused; tarfile takes it for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read a header, or refuse what is neither one nor the mark of the end."""
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if buf == _END:
                raise
            raise tarfile.ReadError(f"{error}, not a header or the end") from error


def unpack(path: str | Path, to: str | Path) -> Path:
    """
    Unpack a zip or tar archive into a new folder.

    The folder gets its name when it is complete: neither an error nor a kill leaves half of it.

    Parameters
    ----------
    path : str or Path
        Ending in .zip, .tar, .tar.gz, .tar.bz2, .tar.xz or their short forms.
    to : str or Path
        The folder to make, in a folder that exists.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If there is no such archive.
    FileExistsError
        If the folder exists.
    DataError
        If the archive is damaged or encrypted, does not fit on the disk, or is a tar with a member
        or link that would leave the folder, or a device.
    ValueError
        If the ending is unknown.
    """
    path, to = Path(path), Path(to)
    if not path.is_file():
        raise FileNotFoundError(f"No such file: {path}.")
    ending = check_choice("archive ending", _find_ending(path), ARCHIVE_ENDINGS)
    with FileLock(to.with_name(f".{to.name}.partial.lock")):
        if to.exists():
            raise FileExistsError(f"{to} exists. Delete it, or unpack to another folder.")
        damaged = as_data_error(f"{path.name} is damaged, or cannot be unpacked")
        with damaged, replace_when_done(to) as folder:
            folder.mkdir()
            if ending == ".zip":
                with zipfile.ZipFile(path) as archive:
                    archive.extractall(folder)
            else:
                with tarfile.open(path, tarinfo=_Member) as archive:
                    archive.extractall(folder, filter="data")
                    while archive.fileobj and archive.fileobj.read(_CHUNK_BYTES):
                        pass  # up to the checksum of what is compressed
            folder.touch()  # a tar may hold an older time for it, and it would seem out of date
    return to


def find_file(path: str | Path, *patterns: str) -> Path:
    """
    Find a file in an archive or folder, and in an archive within, if need be.

    An archive is unpacked next to itself, into a folder of its name with ``.unpacked``, unless
    that has been done. A file that is not an archive, or that fits already, is returned as it is.

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
    for pattern in patterns:
        if path.is_file() and _fits(path, pattern):
            continue
        folder = unpack_once(path)
        if folder.is_dir():
            path = _find_one(folder, pattern)
    return path


def unpack_once(path: Path) -> Path:
    """
    Folder of what an archive holds, unpacked unless it was before; anything else unchanged.

    Raises
    ------
    FileNotFoundError
        If there is nothing at ``path``.
    DataError
        If it cannot be unpacked.
    """
    if not path.exists():
        raise FileNotFoundError(f"No such file or folder: {path}.")
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
        among = f"among {len(files)}: {shown or 'none at all'}"
        raise DataError(f"{folder.name} holds {len(found)} files {pattern!r} {among}. Must be one.")
    return found[0]


def _fits(path: Path, pattern: str) -> bool:
    return fnmatch(path.name.lower(), pattern.lower())


def _find_ending(path: Path) -> str:
    fitting = [ending for ending in ARCHIVE_ENDINGS if path.name.lower().endswith(ending)]
    return fitting[0] if fitting else path.suffix.lower()
