"""
One idea of a run: a task is a frozen dataclass whose fields are its key.

A field that is itself a task is a parent, whose result the task starts from; so is each task in a
field that is a tuple of tasks.
"""

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache, cached_property
from importlib import metadata
from itertools import product
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import pandas as pd
import torch
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
            Results of the parents, by the names of :attr:`parents`.

        Returns
        -------
        mapping
            JSON-like scores. ``data`` may hold content hashes by what the data served for.
        """

    @property
    def parents(self) -> dict[str, "Task"]:
        """Tasks among the fields, by name; those of a tuple as ``field.0``, ``field.1``..."""
        found: dict[str, Task] = {}
        for name, value in _list_fields(self):
            if isinstance(value, Task):
                found[name] = value
            elif isinstance(value, tuple):
                tasks = (each for each in value if isinstance(each, Task))
                found |= {f"{name}.{number}": each for number, each in enumerate(tasks)}
        return found

    @property
    def title(self) -> str:
        """Name of the task for people."""
        return self.title_format.format(self)

    def describe(self) -> dict[str, Any]:
        """Everything that the key is made of."""
        return {
            "task": type(self).__name__,
            "fields": {name: _identify(value) for name, value in _list_fields(self)},
            "sources": self.hash_sources(),
            "libraries": describe_libraries(),
        }

    def hash_sources(self) -> Any:
        """What :meth:`describe` holds of the code that the result depends on."""
        return hash_sources(*sorted(_list_classes(self), key=repr))

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

        def change(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(map(change, value))
            if not isinstance(value, Task):
                return value
            return value.change(**{k: left[k] for k in left.keys() & _list_field_names(value)})

        return replace(task, **{name: change(value) for name, value in _list_fields(task)})


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
            raise damage_error(path, error) from error
        return tensors | {name: _scale(tensors[name], *scale) for name, scale in scales.items()}


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
        config = read_result(folder / CONFIG)
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


def read_result(path: Path) -> dict[str, Any]:
    """
    Read a JSON file of a finished run.

    Raises
    ------
    ValueError
        If it is damaged, or was deleted after it was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, *DAMAGE) as error:
        raise damage_error(path, in_one_line(error)) from error
    if not isinstance(content, dict) or not content:
        raise damage_error(path, "it is empty")
    return content


def damage_error(path: Path, reason: object) -> ValueError:
    """Error for a file of a finished run that cannot be used, with what to do about it."""
    return ValueError(
        f"Cannot read {path}: {reason}. Delete the folder {path.parent} to compute the run again."
    )


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


def describe_libraries() -> dict[str, str]:
    """Versions of the libraries that are part of every key."""
    return {name: version(name) for name in LIBRARIES}


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
