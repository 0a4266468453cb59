"""The error of files that do not hold what they should."""

import lzma
import struct
import tarfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager


class DataError(ValueError):
    """A file does not hold what it should; the message is one line for users."""


# What libraries raise for damaged files: they have no error of their own.
_DAMAGE = (
    *(ValueError, OSError, RuntimeError, KeyError, TypeError, AttributeError, IndexError),
    *(EOFError, MemoryError, SystemError, ArithmeticError, tokenize.TokenError),
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error),
)


@contextmanager
def as_data_error(what: str) -> Iterator[None]:
    """
    Turn what libraries raise for a damaged file into one line that begins with ``what``.

    Raises
    ------
    DataError
        If anything of that kind is raised inside.
    """
    try:
        yield
    except DataError:
        raise
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0].rstrip(":.") or type(error).__name__
        raise DataError(f"{what}: {reason}.") from error
