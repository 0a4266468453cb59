"""
Records: finished runs without their weights, small enough for a repository.

A record is a folder with the scores of a run, its history, the sections that it predicted, and the
same of its parents. It takes the place of the run wherever only scores and figures are asked for.
"""

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xarray as xr

from saltvolumes._files import replace_when_done
from thesis_lib._json import DAMAGE, in_one_line, write_json
from thesis_lib.study.segmentation import SECTIONS
from thesis_lib.study.tasks import CONFIG, HISTORY, Outcome, Task, build_task

RECORD = "record.json"
_AS_BYTES = {"dtype": "uint8", "scale_factor": 1 / 250, "_FillValue": 255, "zlib": True}


def write_records(folder: Path, outcomes: Iterable[Outcome]) -> None:
    """
    Write the records of runs, each into a folder that is named after its key.

    Parameters
    ----------
    folder : Path
        Created where it is missing; a record that it has already is left as it is.
    outcomes : iterable of Outcome
        Finished runs, or records of such.
    """
    for outcome in outcomes:
        if not (folder / outcome.task.key / RECORD).exists():
            _write_record(folder / outcome.task.key, outcome)


def read_records(folder: Path) -> dict[str, Outcome]:
    """
    Read records by the keys that their tasks have today.

    A record counts whatever code and libraries it was computed with: it states them. One whose
    task this version of the library cannot describe is left out.

    Returns
    -------
    dict of str to Outcome
        Empty where there is no folder.

    Raises
    ------
    ValueError
        If a record is damaged.
    """
    found = {}
    for path in sorted(folder.glob(f"*/{RECORD}")):
        content = _read_content(path)
        try:
            task = build_task(content["task"], content["fields"])
        except DAMAGE:  # of another version
            continue
        found[task.key] = _read_record(path.parent, task)
    return found


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
    write_json(
        folder / RECORD,  # last: a record with it is whole
        {**_describe_origin(outcome), "scores": outcome.scores, "seconds": outcome.seconds},
        sort_keys=False,
    )


def _describe_origin(outcome: Outcome) -> dict[str, Any]:
    """Task, fields, code and libraries of a run, or of the one that a record was made of."""
    if (outcome.folder / RECORD).exists():
        content = _read_content(outcome.folder / RECORD)
        return {name: value for name, value in content.items() if name not in ("scores", "seconds")}
    return dict(json.loads((outcome.folder / CONFIG).read_text(encoding="utf-8")))


def _read_record(folder: Path, task: Task) -> Outcome:
    content = _read_content(folder / RECORD)
    parents = {
        name: _read_record(folder / name, parent)
        for name, parent in task.parents.items()
        if (folder / name / RECORD).exists()
    }
    try:
        scores, seconds = dict(content["scores"]), float(content["seconds"])
    except DAMAGE as error:
        raise _damage(folder / RECORD, in_one_line(error)) from error
    return Outcome(task, folder, scores, computed=False, seconds=seconds, parents=parents)


def _read_content(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, *DAMAGE) as error:
        raise _damage(path, in_one_line(error)) from error


def _damage(path: Path, reason: str) -> ValueError:
    return ValueError(f"Cannot read {path}: {reason}. Delete the folder to compute the run again.")
