"""Several chapters at the same time, each after those whose results it reads."""

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from dask.system import CPU_COUNT

from saltvolumes._checks import check_count
from thesis_lib.chapters.parameters import (
    RESULTS,
    find_chapter,
    project_root,
    resolve_parameters,
)
from thesis_lib.chapters.running import ChapterError


def run_together(
    names: Iterable[str],
    *,
    profile: str = "smoke",
    n_at_once: int = 1,
    into: str | None = None,
    root: Path | None = None,
) -> None:
    """
    Execute chapters in processes of their own, each after those whose results it reads.

    Their lines go on to the terminal as they come, with the number of the chapter before them.

    Parameters
    ----------
    names : iterable of str
        Names of chapters.
    profile : str
        Where values come from: ``notebooks/params/PROFILE.yml``.
    n_at_once : int
        How many run at the same time. They share the processors: sums in fewer threads are done in
        another order, so numbers that come out of training change as they do between machines.
    into : str, optional
        Folder of the results of chapters, in place of ``results/PROFILE``.
    root : Path, optional
        Folder of the project; found where left out.

    Raises
    ------
    ValueError, TypeError
        If a chapter, the profile or a value is not allowed, or chapters need each other.
    ChapterError
        If a chapter fails. Those under way are stopped, and go on next time.
    """
    check_count("n_at_once", n_at_once)
    root = root or project_root()
    needs = find_needs(names, profile=profile, root=root, into=into)
    options = ["--profile", profile, *(["--into", into] if into else [])]
    processes: list[subprocess.Popen[str]] = []
    running: dict[Future[None], str] = {}
    with ThreadPoolExecutor(n_at_once) as pool:
        try:
            while needs or running:
                ready = [name for name, needed in needs.items() if not needed]
                if not ready and not running:
                    raise ValueError(f"Invalid chapters {', '.join(needs)}: each needs another.")
                for name in ready[: n_at_once - len(running)]:
                    del needs[name]
                    processes.append(process := _start(name, options, root, n_at_once))
                    running[pool.submit(_follow, name, process)] = name
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    name = running.pop(future)
                    future.result()
                    for needed in needs.values():
                        needed.discard(name)
        except BaseException:
            for process in processes:
                process.terminate()
            raise


def find_needs(
    names: Iterable[str], *, profile: str, root: Path, into: str | None = None
) -> dict[str, set[str]]:
    """
    Find which of some chapters each of them goes on from: the paths among its parameters say so.

    Returns
    -------
    dict of str to set of str
        For every chapter, in the order given, those that have to be finished before.
    """
    names = [find_chapter(name, root).stem for name in names]
    values = {name: resolve_parameters(name, profile, {}, root, into=into) for name in names}
    results = {Path(values[name][RESULTS]): name for name in names}
    return {
        name: {
            results[folder]
            for path in _list_texts([each[key] for key in each if key != RESULTS])
            for folder in Path(path).parents
            if results.get(folder, name) != name
        }
        for name, each in values.items()
    }


def _list_texts(value: Any) -> list[str]:
    """All texts in lists and dictionaries, however deep."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in _list_texts(part)]


def _start(name: str, options: list[str], root: Path, n_at_once: int) -> subprocess.Popen[str]:
    environment = {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    if n_at_once > 1:  # threads that wait for a processor take four times as long
        environment["OMP_NUM_THREADS"] = str(max(1, CPU_COUNT // n_at_once))
    return subprocess.Popen(
        [sys.executable, "-m", "thesis_lib", "run", name, *options],
        cwd=root,
        env=environment | os.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )


def _follow(name: str, process: subprocess.Popen[str]) -> None:
    """Pass on the lines of a chapter until it ends."""
    with process:
        for line in process.stdout or ():
            print(f"{int(name[:2])} | {line}", end="", flush=True)
    if process.returncode:
        raise ChapterError(f"{name} did not finish; its last lines say why")
