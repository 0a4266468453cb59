"""
Records: finished runs without their weights, small enough for a repository.

A record is a folder with the scores of a run, its history, the sections that it predicted, and the
same of its parents. It takes the place of the run wherever only scores and figures are asked for.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import xarray as xr

from saltvolumes._checks import check_choice
from saltvolumes._files import replace_when_done
from thesis_lib._json import DAMAGE, in_one_line, write_json
from thesis_lib.study.classification import WEIGHTS
from thesis_lib.study.segmentation import SECTIONS
from thesis_lib.study.tasks import CONFIG, HISTORY, Outcome, Task, build_task

RECORD = "record.json"
CHOICES = ("same", "any", "none")
_AS_BYTES = {"dtype": "uint8", "scale_factor": 1 / 250, "_FillValue": 255, "zlib": True}
_OWN = ("scores", "seconds")  # what a record adds to the description of a task


def write_records(folder: Path, outcomes: Iterable[Outcome]) -> None:
    """
    Write the records of runs, each into a folder that is named after its key.

    Runs on files of a user are left out: their paths and contents are nobody else's.

    Parameters
    ----------
    folder : Path
        Created where it is missing. A record that it has already is left as it is; one of the same
        task by other code is replaced.
    outcomes : iterable of Outcome
        Finished runs, or records of such.
    """
    outcomes = [outcome for outcome in outcomes if not _rests_on_files(outcome.task)]
    known = read_records(folder)
    for outcome in outcomes:
        key = outcome.task.key
        old = known[key].folder if key in known else None
        if old is not None and (old.name == key or (outcome.folder / RECORD).exists()):
            continue
        _write_record(folder / key, outcome)
        if old is not None:
            shutil.rmtree(old)


def read_records(folder: Path, *, choice: str = "any") -> dict[str, Outcome]:
    """
    Read records by the keys that their tasks have today.

    Parameters
    ----------
    folder : Path
        Of `write_records`; it may be missing.
    choice : {"same", "any", "none"}
        Which records count: those that the code of today computed, which of definitions that a
        task reaches is the same; those of any code; none.

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
    for path in sorted(folder.glob(f"*/{RECORD}")):
        content = _read_content(path)
        try:
            task = build_task(content["task"], content["fields"])
        except DAMAGE:  # of another version
            continue
        if _rests_on_files(task) or (task.key in found and path.parent.name != task.key):
            continue
        outcome = _read_record(path.parent, task)
        if choice == "any" or not is_of_other_code(outcome):
            found[task.key] = outcome
    return found


def is_record(outcome: Outcome) -> bool:
    """Whether an outcome was read from a record."""
    return (outcome.folder / RECORD).exists()


def has_weights(outcome: Outcome) -> bool:
    """Whether the weights of a network are there: runs have them, records do not."""
    return (outcome.folder / WEIGHTS).exists()


def is_of_other_code(outcome: Outcome) -> bool:
    """Whether a record, or a parent of it, was computed by other code than that of today."""
    sources = _read_content(outcome.folder / RECORD)["sources"]
    differs: bool = sources != outcome.task.describe()["sources"]
    return differs or any(map(is_of_other_code, outcome.parents.values()))


def _rests_on_files(value: Any) -> bool:
    """Whether a task, or data among its fields, is known by the content of files."""
    if hasattr(value, "path") or hasattr(value, "root"):
        return True
    if not is_dataclass(value):
        return False
    return any(_rests_on_files(getattr(value, item.name)) for item in fields(value))


def _write_record(folder: Path, outcome: Outcome) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, parent in outcome.parents.items():
        _write_record(folder / name, parent)
    if (outcome.folder / HISTORY).exists():
        shutil.copyfile(outcome.folder / HISTORY, folder / HISTORY)
    if (outcome.folder / SECTIONS).exists():
        with (
            xr.open_dataset(outcome.folder / SECTIONS, engine="h5netcdf") as sections,
            replace_when_done(folder / SECTIONS) as partial,
        ):
            small = dict.fromkeys(sections.data_vars, _AS_BYTES)
            sections.to_netcdf(partial, engine="h5netcdf", encoding=small)
    if is_record(outcome):
        content = _read_content(outcome.folder / RECORD)
    else:
        content = json.loads((outcome.folder / CONFIG).read_text(encoding="utf-8"))
        content |= {"scores": outcome.scores, "seconds": outcome.seconds}
    write_json(folder / RECORD, content, sort_keys=False)  # last: a record with it is whole


def _read_record(folder: Path, task: Task) -> Outcome:
    content = _read_content(folder / RECORD)
    parents = {name: _read_record(folder / name, parent) for name, parent in task.parents.items()}
    try:
        scores, seconds = dict(content["scores"]), float(content["seconds"])
    except DAMAGE as error:
        raise _damage(folder / RECORD, in_one_line(error)) from error
    return Outcome(task, folder, scores, computed=False, seconds=seconds, parents=parents)


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
