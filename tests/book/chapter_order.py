"""The order in which workers test chapters, each after those that it goes on from."""

import time
from collections.abc import Collection, Mapping
from graphlib import TopologicalSorter
from pathlib import Path

WAIT_S = 2000.0  # as long as nbval lets a cell take
FAILED = "failed"  # in a mark: not all cells of the chapter were executed


def order_chapters(needs: Mapping[str, Collection[str]]) -> list[str]:
    """Put chapters that wait for none first, then those that wait for these, and so on."""
    depths: dict[str, int] = {}
    for name in TopologicalSorter(needs).static_order():
        depths[name] = 1 + max((depths[each] for each in needs.get(name, ())), default=0)
    return sorted(needs, key=lambda name: (depths[name], name))


def find_mark(root: Path, chapter: str) -> Path:
    """File with the session that executed a chapter last, and whether it executed all cells."""
    return root / "results" / "smoke" / f".{chapter}.executed"


def wait_for(mark: Path, session: str, *, seconds: float = WAIT_S) -> None:
    """Wait until a mark says that a chapter was executed in this session."""
    chapter = mark.stem.removeprefix(".")
    end = time.monotonic() + seconds
    while True:
        found = mark.read_text(encoding="utf-8").split() if mark.is_file() else []
        if found == [session]:
            return
        if found == [session, FAILED]:
            raise RuntimeError(f"{chapter}, which this chapter goes on from, has failed")
        if time.monotonic() > end:
            raise TimeoutError(
                f"{chapter}, which this chapter goes on from, was not executed in {seconds:g} s"
            )
        time.sleep(min(0.1, seconds))
