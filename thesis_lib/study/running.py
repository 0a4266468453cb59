"""
The engine of a study: it finds the results of tasks, and computes those that are not there yet.

What was computed once is never computed again; what was killed goes on where it stopped. Chapter 2,
for example, is ``run_all(grid(Score(Train(...)), loss=losses, seed=seeds), root="runs")``.
"""

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from filelock import FileLock

from thesis_lib._json import write_json
from thesis_lib.study.tasks import (
    CONFIG,
    SCORES,
    TIMING,
    Outcome,
    Parents,
    Task,
    damage_error,
    read_result,
)


def run_all(
    tasks: Iterable[Task],
    *,
    root: str | os.PathLike[str],
    client: Any | None = None,
    progress: bool = True,
    records: Mapping[str, Outcome] | None = None,
    minutes: float = math.inf,
) -> list[Outcome]:
    """
    Find the results of tasks, and compute those that are not there yet; parents come first.

    Two processes that want the same run take turns: the second finds it finished. The lock goes
    when its process goes, also after a kill.

    Parameters
    ----------
    tasks : iterable of Task
        What to compute.
    root : path
        Folder of all runs, made if absent. With workers on several machines it has to be shared.
    client : dask.distributed.Client, optional
        Spreads the runs over its workers, processes of one task each that compute with as many
        threads as this one would: sums in another order would be other sums. Without it the runs
        are computed here, one by one.
    progress : bool
        Whether to print one line per task, with the time that the others will take.
    records : mapping of str to Outcome, optional
        Results by key, of ``study.records.read_records``, that take the place of runs which
        ``root`` does not have; their parents are not asked for.
    minutes : float
        Start no run after so many minutes. Runs of local workers that are under way then are
        stopped, and go on next time; workers of a cluster finish theirs.

    Returns
    -------
    list of Outcome
        In the order of the tasks, whoever computed them; those that there was no time for are left
        out.

    Raises
    ------
    ValueError
        If a worker of ``client`` takes more than one task at a time, or a file of a finished run
        was damaged.
    """
    tasks, root = list(tasks), Path(root).resolve()
    keys = [task.key for task in tasks]
    recorded = {
        key: found
        for key, found in (records or {}).items()
        if key in keys and not (root / key / SCORES).exists()
    }
    ordered = _order(task for task in tasks if task.key not in recorded)
    for task in ordered.values() if minutes > 0 else ():
        if not (root / task.key / SCORES).exists():
            task.check()
    n_workers = 1 if client is None else len(client.nthreads())
    end = perf_counter() + 60 * minutes
    run = partial(_run_here, end=end) if client is None else partial(_run_there, client, end=end)
    outcomes: dict[str, Outcome] = {}
    for outcome in run(ordered, root):
        outcomes[outcome.task.key] = outcome
        if progress:
            waiting = [task for key, task in ordered.items() if key not in outcomes]
            left = _format_left(waiting, outcomes.values(), n_workers)
            print(f"[{len(outcomes)}/{len(ordered)}] {_describe(outcome)}{left}", flush=True)
    if progress and recorded:
        print(f"{len(recorded)} of {len(tasks)} results are records of earlier runs", flush=True)
    outcomes = recorded | outcomes
    return [outcomes[key] for key in keys if key in outcomes]


def _order(tasks: Iterable[Task]) -> dict[str, Task]:
    """All tasks and their ancestors by key, each after its parents."""
    found: dict[str, Task] = {}
    for task in tasks:
        if task.key not in found:
            found |= _order(task.parents.values())
            found[task.key] = task
    return found


def _start(tasks: Mapping[str, Task], start: Callable[[Task, Any], Any | None]) -> Iterator[Any]:
    """Yield what ``start`` returns for each task, given what it returned for the parents."""
    started: dict[str, Any] = {}
    for key, task in tasks.items():
        parents = {name: started.get(parent.key) for name, parent in task.parents.items()}
        if None not in parents.values() and (result := start(task, parents)) is not None:
            started[key] = result
            yield result


def _run_here(tasks: Mapping[str, Task], root: Path, *, end: float) -> Iterator[Outcome]:
    """Outcomes as this process finishes them, those found included."""

    def start(task: Task, parents: Parents) -> Outcome | None:
        if perf_counter() > end and not (root / task.key / SCORES).exists():
            return None
        return _run_or_load(root, task, parents)

    yield from _start(tasks, start)


def _run_there(
    client: Any, tasks: Mapping[str, Task], root: Path, *, end: float
) -> Iterator[Outcome]:
    """Outcomes as the workers finish them."""
    from dask.distributed import as_completed  # slow to import, and only the few who spread need it

    client.wait_for_workers(1)
    n_at_once = max(client.nthreads().values())
    if n_at_once > 1:
        raise ValueError(
            f"Invalid worker of {n_at_once} tasks at a time. Must be threads_per_worker=1."
        )
    job = (_run_with_threads, torch.get_num_threads(), root)
    numbers = count()  # first come first served: what has finished is whole seeds

    def start(task: Task, parents: Parents) -> Any:
        if (root / task.key / SCORES).exists():
            return _run_or_load(root, task, parents)
        return client.submit(*job, task, parents, pure=False, priority=-next(numbers))

    started = list(_start(tasks, start))
    yield from (found for found in started if isinstance(found, Outcome))
    futures = [future for future in started if not isinstance(future, Outcome)]
    left = None if math.isinf(end) else max(end - perf_counter(), 0.0)
    try:
        for future in as_completed(futures, timeout=left):  # type: ignore[no-untyped-call]
            yield future.result()
    except TimeoutError:
        if perf_counter() < end:  # that of a run
            raise
        client.cancel(futures)


def _run_with_threads(n_threads: int, *job: Any) -> Outcome:
    """Compute in a worker process, where no one else minds the number of threads."""
    torch.set_num_threads(n_threads)
    return _run_or_load(*job)


def _run_or_load(root: Path, task: Task, parents: Parents) -> Outcome:
    folder, computed = root / task.key, False
    if not (folder / SCORES).exists():  # what is finished is read without a lock, by many at once
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            if computed := not (folder / SCORES).exists():
                _compute(task, folder, parents)
    scores, timing = (read_result(folder / name) for name in (SCORES, TIMING))
    seconds = timing.get("seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise damage_error(folder / TIMING, f"seconds {seconds!r} are no computing time")
    return Outcome(task, folder, scores, computed, seconds, parents)


def _compute(task: Task, folder: Path, parents: Parents) -> None:
    start = perf_counter()
    write_json(folder / CONFIG, task.describe() | {"fields": task}, sort_keys=False)
    scores = task.compute(folder, parents)
    write_json(folder / TIMING, {"seconds": round(perf_counter() - start, 3)})
    write_json(folder / SCORES, scores)  # last: a run with scores is finished


def _describe(outcome: Outcome) -> str:
    """One line: what it is, its main scores, whether it was computed or found."""
    named = {name: outcome.scores.get(name) for name in outcome.task.headline}
    scores = [f"{name} {value:.4f}" for name, value in named.items() if value is not None]
    origin = f"computed in {outcome.seconds:.0f} s" if outcome.computed else "found"
    text = ", ".join([outcome.task.title, *scores])
    return f"{text} ({origin}, {outcome.folder.name})"


def _format_left(waiting: Sequence[Task], done: Collection[Outcome], n_workers: int) -> str:
    """Time that tasks will take, by the mean of those of their kind so far."""
    seconds = pd.Series([each.seconds for each in done], [type(each.task) for each in done])
    known = seconds.groupby(level=0, sort=False).mean().reindex([type(task) for task in waiting])
    if not known.notna().any():
        return ""
    left = known.sum() / n_workers
    words = f"{left / 60:.0f} min" if left >= 100 else f"{left:.0f} s"
    return f"; {'about' if known.notna().all() else 'more than'} {words} left"
