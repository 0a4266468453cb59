"""Files and folders that get their name when they are complete."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replace_when_done(path: Path) -> Iterator[Path]:
    """
    Give a temporary path next to ``path``; what was written there gets its name in the end.

    A reader finds the old file or the new one, never a half; an error leaves the old one alone. A
    file is flushed to disk before. A folder cannot replace another in one step: the old one is
    moved aside first, and what a kill left aside is moved back. Two processes that write the same
    path at a time have to take turns.

    Parameters
    ----------
    path : Path
        File or folder to be, in a folder that exists.

    Yields
    ------
    Path
        Where to write. What a killed process left there is gone.
    """
    partial, replaced = (path.with_name(f".{path.name}.{end}") for end in ("partial", "replaced"))
    _remove(partial)
    if replaced.exists() and not path.exists():
        replaced.rename(path)
    try:
        yield partial
        if partial.is_dir():
            _remove(replaced)
            if path.exists():
                path.rename(replaced)
        else:
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        partial.replace(path)
    finally:
        _remove(partial)
        if path.exists():
            _remove(replaced)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with replace_when_done(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
