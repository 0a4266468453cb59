"""
Records: finished runs without their weights, small enough for a repository.

A record is a folder with the scores of a run, its tables, the sections that it predicted and the
tensors that figures show, as bytes; its parents have records of their own. It takes the place of
the run wherever only scores and figures are asked for.
"""

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import xarray as xr

from saltvolumes import SURVEYS
from saltvolumes._checks import check_choice
from saltvolumes._files import replace_when_done
from thesis_lib._json import DAMAGE, format_json, in_one_line, write_json
from thesis_lib.patches import Earths
from thesis_lib.study.classification import WEIGHTS
from thesis_lib.study.inversion import Invert
from thesis_lib.study.readout import Readout
from thesis_lib.study.robust import AVERAGE
from thesis_lib.study.saltnet import Ensemble, PredictSurvey
from thesis_lib.study.segmentation import SECTIONS
from thesis_lib.study.tasks import (
    CONFIG,
    Outcome,
    Task,
    build_task,
    describe_libraries,
    save_tensors,
)

RECORD = "record.json"
CHOICES = ("same", "any", "none")
_AS_BYTES = {"dtype": "uint8", "scale_factor": 1 / 250, "_FillValue": 255, "zlib": True}
_LAST = slice(-1, None)
_SHOWN_SEED = 0  # the first one of chapter 7 in every profile
_PARENTS = "parents"  # key of what replaces parents in the fields of a task
_LONG = 1000  # characters of fields from which on they do
# Of these tasks figures show the images of the last patch.
_PARTS: dict[type, tuple[slice, ...]] = {Invert: (slice(None), _LAST), Readout: (_LAST,)}
_OWN = ("scores", "seconds")  # what a record adds to the description of a task


@dataclass(frozen=True)
class _Record(Outcome):
    """An outcome that was read from a record."""

    sources: Any = None  # what its task said of the code then

    @cached_property
    def is_of_other_code(self) -> bool:
        differs: bool = self.sources != self.task.hash_sources()
        return differs or any(map(is_of_other_code, self.parents.values()))


def write_records(folder: Path, outcomes: Iterable[Outcome]) -> None:
    """
    Write the records of runs and of what they started from, each once, named after its key.

    Runs on files of a user are left out: their paths and contents are nobody else's.

    Parameters
    ----------
    folder : Path
        Created where it is missing. A record that it has already is left as it is; one of the same
        task by other code goes as soon as no other record rests on it.
    outcomes : iterable of Outcome
        Finished runs, or records of such.
    """
    names = {found.task.key: found.folder.name for found in read_records(folder).values()}
    for outcome in outcomes:
        if not _rests_on_files(outcome.task):
            _write_record(folder, outcome, names)
    _remove_replaced(folder)


def read_records(
    folder: Path, *, choice: str = "any", tasks: Iterable[Task] | None = None
) -> dict[str, Outcome]:
    """
    Read records by the keys that their tasks have today.

    Parameters
    ----------
    folder : Path
        Of `write_records`; it may be missing.
    choice : {"same", "any", "none"}
        Which records count: those that the code of today computed, which of definitions that a
        task reaches is the same; those of any code; none.
    tasks : iterable of Task, optional
        Tasks whose records are read; all by default.

    Returns
    -------
    dict of str to Outcome
        Tasks that this version of the library does not know are left out.

    Raises
    ------
    ValueError
        If a record is damaged, or the choice is unknown.
    """
    found: dict[str, Outcome] = {}
    if check_choice("records", choice, CHOICES) == "none":
        return found
    wanted = None if tasks is None else {task.key for task in tasks}
    named = None
    if wanted is not None and choice == "same":
        named = wanted | _list_other_libraries(folder)
    for outcome in _list_records(folder, named):
        key = outcome.task.key
        if wanted is not None and key not in wanted:
            continue
        is_newest = key not in found or outcome.folder.name == key
        if is_newest and (choice == "any" or not is_of_other_code(outcome)):
            found[key] = outcome
    return found


def is_record(outcome: Outcome) -> bool:
    """Whether an outcome was read from a record."""
    return isinstance(outcome, _Record)


def has_weights(outcome: Outcome) -> bool:
    """Whether the weights of a network are there: runs have them, records do not."""
    return (outcome.folder / WEIGHTS).exists()


def is_of_other_code(outcome: Outcome) -> bool:
    """Whether a record, or a parent of it, was computed by other code than that of today."""
    return isinstance(outcome, _Record) and outcome.is_of_other_code


def _rests_on_files(value: Any) -> bool:
    """Whether a task, or data among its fields, is known by the content of files."""
    if hasattr(value, "path") or hasattr(value, "root"):
        return getattr(value, "path", None) not in SURVEYS  # which come along
    if not is_dataclass(value):
        return False
    return any(_rests_on_files(getattr(value, item.name)) for item in fields(value))


def _write_record(folder: Path, outcome: Outcome, names: dict[str, str]) -> str:
    """Write a record after those of its parents; ``names`` has the folders by key, and gets it."""
    key = outcome.task.key
    if key in names and (names[key] == key or is_record(outcome)):
        return names[key]
    parents = {name: _write_record(folder, each, names) for name, each in outcome.parents.items()}
    place = folder / (_find_name(outcome) or key)
    place.mkdir(parents=True, exist_ok=True)
    for table in outcome.folder.glob("*.csv"):
        shutil.copyfile(table, place / table.name)
    _keep_tensors(outcome, place)
    _keep_sections(outcome, place)
    if is_record(outcome):
        content = _read_content(outcome.folder / RECORD)
    else:
        content = json.loads((outcome.folder / CONFIG).read_text(encoding="utf-8"))
        content |= {"scores": outcome.scores, "seconds": outcome.seconds}
    content["parents"] = parents
    content["fields"] = _refer(content, parents)
    write_json(place / RECORD, content, sort_keys=False)  # last: a record with it is whole
    names[key] = place.name
    return place.name


def _find_name(outcome: Outcome) -> str | None:
    """Name of the folder of a record, which states its code; None of a run, or inside another."""
    inside = (outcome.folder.parent / RECORD).exists()
    return outcome.folder.name if is_record(outcome) and not inside else None


def _keep_tensors(outcome: Outcome, place: Path) -> None:
    """Copy what figures show of the tensors of a run, but for weights, as bytes."""
    for path in outcome.folder.glob("*.safetensors"):
        if path.name in (WEIGHTS, AVERAGE):
            continue
        if is_record(outcome):
            shutil.copyfile(path, place / path.name)
            continue
        rows, part = outcome.task.recorded_rows, _PARTS.get(type(outcome.task), ())
        tensors = {
            name: tensor[: rows.get(name)][part].contiguous()
            for name, tensor in outcome.load_tensors(path.stem).items()
        }
        save_tensors(place / path.name, tensors, as_bytes=True)


def _keep_sections(outcome: Outcome, place: Path) -> None:
    """
    Copy the sections that a run predicted, as bytes; those of a record are copied unchanged.

    Of surveys to come figures show the first section that is scored of a real one, as networks of
    the first seed see it as it is and as their ensembles do; in tenths, a fifth of the bytes.
    """
    task, how = outcome.task, _AS_BYTES
    members = task.members if isinstance(task, Ensemble) else (task,)
    to_come = isinstance(members[0], PredictSurvey)
    if to_come and not _is_shown(members):
        return
    if not (outcome.folder / SECTIONS).exists():
        return
    if is_record(outcome):
        shutil.copyfile(outcome.folder / SECTIONS, place / SECTIONS)
        return
    with (
        xr.open_dataset(outcome.folder / SECTIONS, engine="h5netcdf") as sections,
        replace_when_done(place / SECTIONS) as partial,
    ):
        if to_come:
            line = outcome.scores["sections"][0]["section"]
            sections = sections[["probability"]].sel({members[0].axis: [line]})
            how = _AS_BYTES | {"scale_factor": 0.1, "complevel": 9}
        small = dict.fromkeys(sections.data_vars, how)
        sections.to_netcdf(partial, engine="h5netcdf", encoding=small)


def _is_shown(members: Sequence[PredictSurvey]) -> bool:
    """Whether a figure shows what networks, or their ensemble, predict of a survey to come."""
    return all(
        not isinstance(each.target, Earths)
        and each.network.seed == _SHOWN_SEED
        and each.trained.loss == members[0].trained.loss
        and (len(members) > 1 or each.zooms == (1.0,))
        for each in members
    )


def _remove_replaced(folder: Path) -> None:
    """Remove records whose task has one that is named after its key, and that no other rests on."""
    found = {outcome.folder.name: outcome for outcome in _list_records(folder)}
    while True:
        used = {each.folder for outcome in found.values() for each in outcome.parents.values()}
        replaced = [
            name
            for name, outcome in found.items()
            if name != outcome.task.key and outcome.task.key in found and outcome.folder not in used
        ]
        if not replaced:
            return
        for name in replaced:
            shutil.rmtree(found.pop(name).folder)


def _list_records(folder: Path, names: Iterable[str] | None = None) -> list[Outcome]:
    """Read records, by default all, whose tasks this version of the library knows."""
    known: dict[Path, Outcome | None] = {}
    paths = folder.glob("*") if names is None else (folder / name for name in names)
    for path in sorted(path for path in paths if (path / RECORD).is_file()):
        _read_record(path, known)
    found = (known[path] for path in sorted(known) if path.parent == folder)
    return [each for each in found if each is not None and not _rests_on_files(each.task)]


def _list_other_libraries(folder: Path) -> set[str]:
    """Names of records by other versions of libraries; the others are named after today's keys."""
    today = describe_libraries()
    contents = {path.parent.name: _read_content(path) for path in folder.glob(f"*/{RECORD}")}
    return {name for name, content in contents.items() if content.get("libraries") != today}


def _read_record(folder: Path, known: dict[Path, Outcome | None]) -> Outcome | None:
    """Read a record after those of its parents; None where its task is of another version."""
    if folder in known:
        return known[folder]
    known[folder] = None
    content = _read_content(folder / RECORD)
    # Until parents had records of their own, theirs lay inside that of the child.
    home = folder.parent
    names: dict[str, str] | None = content.get("parents")
    parents: dict[str, Outcome | None] = {}
    try:
        scores, seconds = dict(content["scores"]), float(content["seconds"])
        for name, place in (names or {}).items():
            parents[name] = _read_record(home / place, known)
        if None in parents.values():
            return None
        fields_ = _complete(content["fields"], parents)
    except DAMAGE as error:
        raise _damage(folder / RECORD, in_one_line(error)) from error
    try:
        task = build_task(content["task"], fields_)
    except DAMAGE:
        return None
    if names is None:
        parents = {name: _read_record(folder / name, known) for name in task.parents}
    if missing := sorted(task.parents.keys() - parents.keys()):
        raise _damage(folder / RECORD, repr(missing[0]))
    whole = {name: parent for name, parent in parents.items() if parent is not None}
    if len(whole) == len(parents):
        known[folder] = _Record(
            task, folder, scores, False, seconds, parents=whole, sources=content["sources"]
        )
    return known[folder]


def _refer(content: dict[str, Any], parents: Iterable[str]) -> dict[str, Any]:
    """Fields of a task; where they are long, with the names of its parents in place of these."""
    fields: dict[str, Any] = content["fields"]
    if len(format_json(fields)) < _LONG:
        return fields
    named: dict[str, Any] = {}
    for name in parents:
        field, _, number = name.partition(".")
        named[field] = {_PARENTS: [*named.get(field, {_PARENTS: []})[_PARENTS], name]}
        if not number:
            named[field] = {_PARENTS: name}
    return fields | named


def _complete(fields: dict[str, Any], parents: Mapping[str, Outcome | None]) -> dict[str, Any]:
    """Fields of a task with the tasks of its parents, each one object however many rest on it."""
    found: dict[str, Any] = {}
    for name, parent in parents.items():
        field, _, number = name.partition(".")
        task = parent and parent.task
        found[field] = [*found.get(field, []), task] if number else task
    for value in fields.values():
        if isinstance(value, dict) and value.keys() == {_PARENTS}:
            names = value[_PARENTS]
            if missing := {*([names] if isinstance(names, str) else names)} - parents.keys():
                raise KeyError(min(missing))
    return fields | found


def _read_content(path: Path) -> dict[str, Any]:
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, *DAMAGE) as error:
        raise _damage(path, in_one_line(error)) from error
    if missing := {"task", "fields", "sources", *_OWN} - content.keys():
        raise _damage(path, f"it lacks {min(missing)}")
    return content


def _damage(path: Path, reason: str) -> ValueError:
    return ValueError(f"Cannot read {path}: {reason}. Delete the folder to compute the run again.")
