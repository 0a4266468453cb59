"""
One idea of a run: a task is a frozen dataclass whose fields are its key.

A field that is itself a task is a parent, whose result the task starts from. What was computed once
is never computed again; what was killed goes on where it stopped. For example, chapter 2 is
``run_all(grid(Score(Train(...)), loss=losses, seed=seeds), root="runs")``.
"""

import hashlib
import json
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property, partial
from importlib import metadata
from itertools import count, product
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Self, TypeVar

import pandas as pd
import torch
from filelock import FileLock
from pydantic import ConfigDict, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from saltvolumes._files import replace_when_done
from thesis_lib._json import DAMAGE, format_json, in_one_line, to_plain, write_json
from thesis_lib._sources import hash_sources

CONFIG, SCORES, TIMING, HISTORY = "config.json", "scores.json", "timing.json", "history.csv"
LIBRARIES = ("edt", "numpy", "scipy", "timm", "torch")  # those whose arithmetic results rest on
_SCALES, _NOT_A_NUMBER = "scales", 255  # of tensors that are stored as bytes
version = cache(metadata.version)  # slow to read, and asked for by every key

AnyTask = TypeVar("AnyTask", bound="Task")
Parents = Mapping[str, "Outcome"]


@dataclass(frozen=True)
class Task(ABC):
    """
    One unit of work of a study. Subclasses are frozen dataclasses and define `compute`.

    The key covers what the result depends on, and no more: the fields (of parents their keys, of
    data what ``identify`` returns), the code that is reached from the class and from the classes
    of its fields, and the versions of the libraries that do the arithmetic.
    """

    headline: ClassVar[tuple[str, ...]] = ()  # scores for the line that is printed
    title_format: ClassVar[str] = "{0.__class__.__name__}"  # of str.format, with the task
    recorded_rows: ClassVar[Mapping[str, int]] = {}  # of tensors that a record does not keep whole
    __pydantic_config__ = ConfigDict(extra="forbid")  # of its fields' classes too

    def check(self) -> None:  # noqa: B027  most have nothing to refuse
        """Refuse, before anything is computed, what is bound to fail later."""

    @abstractmethod
    def compute(self, folder: Path, parents: Parents) -> Mapping[str, Any]:
        """
        Compute the result.

        Parameters
        ----------
        folder : Path
            Of the run: for files, and for what a killed run left of them.
        parents : mapping of str to Outcome
            Results of the parents, by the name of the field.

        Returns
        -------
        mapping
            JSON-like scores. ``data`` may hold content hashes by what the data served for.
        """

    @property
    def parents(self) -> dict[str, "Task"]:
        """Tasks among the fields, by name."""
        return {name: value for name, value in _list_fields(self) if isinstance(value, Task)}

    @property
    def title(self) -> str:
        """Name of the task for people."""
        return self.title_format.format(self)

    def describe(self) -> dict[str, Any]:
        """Everything that the key is made of."""
        return {
            "task": type(self).__name__,
            "fields": {name: _identify(value) for name, value in _list_fields(self)},
            "sources": hash_sources(*_list_classes(self)),
            "libraries": {name: version(name) for name in LIBRARIES},
        }

    @cached_property
    def key(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of :meth:`describe`."""
        return hashlib.sha256(format_json(self.describe()).encode()).hexdigest()[:16]

    def change(self, **values: Any) -> Self:
        """
        Return the task with new values of fields, wherever it or an ancestor has them.

        Raises
        ------
        ValueError
            If none of them has a field of that name.
        """
        own = {name: values[name] for name, _ in _list_fields(self) if name in values}
        task = replace(self, **own)
        if unknown := values.keys() - _list_field_names(task):
            raise ValueError(
                f"Invalid fields {sorted(unknown)} of {type(self).__name__}. Must be among: "
                f"{', '.join(sorted(_list_field_names(task)))}."
            )
        left = {name: value for name, value in values.items() if name not in own}
        for name, parent in task.parents.items():
            own[name] = parent.change(
                **{field: left[field] for field in left.keys() & _list_field_names(parent)}
            )
        return replace(task, **own)


@dataclass(frozen=True)
class Outcome:
    """
    A finished run.

    Parameters
    ----------
    task : Task
        What was computed.
    folder : Path
        ``runs/<key>``, with ``config.json``, ``scores.json`` and the files of the task.
    scores : mapping
        Content of ``scores.json``.
    computed : bool
        Whether it was computed now (True) or found (False).
    seconds : float
        Computing time, whenever that was.
    parents : mapping of str to Outcome
        Results of the parents, by the name of the field.
    """

    task: Any
    folder: Path
    scores: Mapping[str, Any]
    computed: bool
    seconds: float
    parents: Parents = field(default_factory=dict)

    def lineage(self) -> Iterator["Outcome"]:
        """Yield this outcome, its parents and their ancestors, each once."""
        found = {self.task.key: self}
        for parent in self.parents.values():
            found |= {outcome.task.key: outcome for outcome in parent.lineage()}
        yield from found.values()

    @property
    def history(self) -> pd.DataFrame:
        """One row per epoch of a training: learning rate, loss, scores of the validation."""
        return pd.read_csv(self.folder / HISTORY)

    def load_tensors(self, name: str) -> dict[str, Tensor]:
        """
        Load ``name.safetensors`` of the run, on the CPU.

        Those of a record hold floats to 1/508 of the range of each tensor.

        Raises
        ------
        ValueError
            If the file was damaged or deleted after it was written.
        """
        path = self.folder / f"{name}.safetensors"
        try:
            with safe_open(path, "pt") as file:
                scales = json.loads((file.metadata() or {}).get(_SCALES, "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, FileNotFoundError) as error:
            raise _damage(path, error) from error
        return tensors | {name: _scale(tensors[name], *scale) for name, scale in scales.items()}


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


def grid(task: AnyTask, **values: Iterable[Any]) -> list[AnyTask]:
    """
    Return a task with every combination of some values of fields, its own or those of ancestors.

    Parameters
    ----------
    task : Task
        Has all other values.
    **values : iterable
        Values by name of field; the last one varies fastest.

    Raises
    ------
    ValueError
        If values are empty or contain duplicates, or neither the task nor an ancestor has the
        field.

    Examples
    --------
    >>> from thesis_lib.patches import Earths
    >>> from thesis_lib.study import Train
    >>> task = Train(seed=0, loss="dice", data=Earths({"gulf": (20.0,)}))
    >>> [(each.seed, each.loss) for each in grid(task, seed=[1, 2], loss=["bce", "dice"])]
    [(1, 'bce'), (1, 'dice'), (2, 'bce'), (2, 'dice')]
    """
    axes = {name: list(options) for name, options in values.items()}
    for name, options in axes.items():
        check_distinct(name, options)
    return [
        task.change(**dict(zip(axes, chosen, strict=True))) for chosen in product(*axes.values())
    ]


def check_distinct(name: str, values: Sequence[Any]) -> None:
    """
    Refuse values that contain duplicates, or none at all.

    Raises
    ------
    ValueError
        If they do.
    """
    if not values or any(value in values[:i] for i, value in enumerate(values)):
        raise ValueError(f"Invalid {name} {values}. Must be distinct, at least one.")


def write_tasks(path: str | os.PathLike[str], tasks: Sequence[Task]) -> None:
    """Write tasks as JSON, for another chapter to go on from."""
    write_json(Path(path), [{type(task).__name__: task} for task in tasks], sort_keys=False)


def read_tasks(path: str | os.PathLike[str]) -> list[Any]:
    """
    Read tasks that `write_tasks` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"No tasks {path}. Run the chapter that writes them first.")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        return [build_task(name, values) for entry in content for name, values in entry.items()]
    except DAMAGE as error:
        raise ValueError(
            f"Invalid tasks {path}: {in_one_line(error)}. Must be as this version of the library "
            "writes them: run the chapter that writes them again."
        ) from error


def read_task(folder: Path) -> Any:
    """
    Read the task of a run, finished or not, from its folder.

    Raises
    ------
    ValueError
        If the folder is not that of a run of this version of the library.
    """
    try:
        config = _read_json(folder / CONFIG)
        return build_task(config["task"], config["fields"])
    except DAMAGE as error:
        raise ValueError(
            f"Invalid run {folder}: {in_one_line(error)}. Must be a folder with the {CONFIG} of a "
            "run of this version of the library."
        ) from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor], *, as_bytes: bool = False) -> None:
    """
    Write tensors as safetensors, whole or not at all.

    With ``as_bytes`` a float takes one byte, and is one of 255 steps from the lowest to the highest
    value of its tensor; what is not finite becomes NaN.
    """
    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    scales = {}
    for name in [
        name for name, tensor in tensors.items() if as_bytes and tensor.is_floating_point()
    ]:
        finite = tensors[name][tensors[name].isfinite()].double()
        low, high = finite.aminmax() if len(finite) else (0.0, 0.0)
        scales[name] = (float(low), float(high - low) / (_NOT_A_NUMBER - 1) or 1.0)
        steps = ((tensors[name].double() - low) / scales[name][1]).round()
        tensors[name] = steps.nan_to_num(*[float(_NOT_A_NUMBER)] * 3).to(torch.uint8)
    with replace_when_done(path) as partial:
        save_file(tensors, partial, {_SCALES: json.dumps(scales)} if scales else None)
        partial.chmod(0o644)  # safetensors makes files that only their owner reads


def _scale(steps: Tensor, low: float, step: float) -> Tensor:
    """Floats that `save_tensors` wrote as bytes."""
    values = low + step * steps.float()
    return torch.where(steps == _NOT_A_NUMBER, torch.nan, values)


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
    scores, timing = (_read_json(folder / name) for name in (SCORES, TIMING))
    seconds = timing.get("seconds")
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise _damage(folder / TIMING, f"seconds {seconds!r} are no computing time")
    return Outcome(task, folder, scores, computed, seconds, parents)


def _compute(task: Task, folder: Path, parents: Parents) -> None:
    start = perf_counter()
    write_json(folder / CONFIG, task.describe() | {"fields": task}, sort_keys=False)
    scores = task.compute(folder, parents)
    write_json(folder / TIMING, {"seconds": round(perf_counter() - start, 3)})
    write_json(folder / SCORES, scores)  # last: a run with scores is finished


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, *DAMAGE) as error:
        raise _damage(path, in_one_line(error)) from error
    if not isinstance(content, dict) or not content:
        raise _damage(path, "it is empty")
    return content


def _damage(path: Path, reason: object) -> ValueError:
    return ValueError(
        f"Cannot read {path}: {reason}. Delete the folder {path.parent} to compute the run again."
    )


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


def _list_fields(value: Any) -> list[tuple[str, Any]]:
    return [(item.name, getattr(value, item.name)) for item in fields(value)]


def _list_field_names(task: Task) -> set[str]:
    """Names of the fields of a task and of all its ancestors."""
    own = {name for name, _ in _list_fields(task)}
    return own.union(*map(_list_field_names, task.parents.values()))


def _list_classes(value: Any) -> set[type]:
    """Classes of a task and of the dataclasses among its fields, which are not parents."""
    parts = [part for _, part in _list_fields(value) if is_dataclass(part)]
    own = [_list_classes(part) for part in parts if not isinstance(part, Task)]
    return {type(value)}.union(*own)


def _identify(value: Any) -> Any:
    """What a key holds of a value."""
    if isinstance(value, Task):
        return value.key
    if hasattr(value, "identify"):
        return _identify(value.identify())
    if is_dataclass(value):
        return {name: _identify(item) for name, item in _list_fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _identify(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_identify(item) for item in value]
    value = to_plain(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value))  # 1 and 1.0 are one setting; infinity is not JSON
    return value


def build_task(name: str, values: Any) -> Task:
    """Build the task of a class by the plain values of its fields; refusals are of `DAMAGE`."""
    kinds = {kind.__name__: kind for kind in _list_subclasses(Task)}
    if name not in kinds:
        raise ValueError(f"unknown task {name!r}")
    task: Task = _adapt(kinds[name]).validate_python(values)
    return task


@cache
def _adapt(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _list_subclasses(kind: type) -> list[type]:
    own: list[type] = kind.__subclasses__()
    return own + [below for child in own for below in _list_subclasses(child)]
