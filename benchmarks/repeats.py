"""
Compute published runs again and keep whether this machine comes to the same numbers.

Records of runs do not name the processor that they were computed on. This states for one machine
after another whether the scores of records repeat to the last digit, and else how far they are off.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
from bench import ROOT, describe_machine

from thesis_lib._json import write_json
from thesis_lib.study import run_all
from thesis_lib.study.records import RECORD, is_of_other_code, read_records
from thesis_lib.study.tasks import Outcome

PAGE = "published/02_loss_study/run.json"
LIBRARIES = ("edt", "numpy", "scipy", "timm", "torch")  # those that records name


def list_numbers(content: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """List the numbers of nested scores with the path to each."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from list_numbers(value, f"{name}.{key}" if name else key)
    elif isinstance(content, list | tuple):
        for position, value in enumerate(content):
            yield from list_numbers(value, f"{name}[{position}]")
    elif isinstance(content, int | float):
        yield name, float(content)


def compare_scores(record: Any, again: Any) -> dict[str, Any]:
    """
    Compare two sets of scores number by number.

    Returns
    -------
    dict
        ``numbers``, how many there are, ``identical``, how many of them agree to the last bit,
        ``largest_difference``, relative to the recorded number, and the ``field`` that has it.

    Raises
    ------
    ValueError
        If one has numbers that the other lacks.
    """
    recorded, found = dict(list_numbers(record)), dict(list_numbers(again))
    if recorded.keys() != found.keys():
        differing = sorted(recorded.keys() ^ found.keys())
        raise ValueError(
            f"Invalid scores: only one of them has {differing[0]}. Must be of one task."
        )
    differences = {
        name: abs(found[name] - value) / (abs(value) or 1.0) for name, value in recorded.items()
    }
    field = max(differences, key=lambda name: differences[name])
    return {
        "numbers": len(recorded),
        "identical": sum(found[name] == value for name, value in recorded.items()),
        "largest_difference": differences[field],
        "field": field if differences[field] else None,
    }


def choose_records(records: Mapping[str, Outcome], seconds: float) -> list[Outcome]:
    """Choose the quickest records of today's code that together took no longer than `seconds`."""
    chosen, left, paid = [], seconds, set()
    whole = [
        (sum(each.seconds for each in record.lineage()), record) for record in records.values()
    ]
    for _, record in sorted(whole, key=lambda pair: (pair[0], pair[1].task.key)):
        new = [each for each in record.lineage() if each.task.key not in paid]
        cost = sum(each.seconds for each in new)
        if cost <= left and not is_of_other_code(record):
            chosen.append(record)
            left -= cost
            paid |= {each.task.key for each in new}
    return chosen


def repeat(record: Outcome, root: Path) -> dict[str, Any]:
    """Compute one record again, with all that it starts from, and compare their scores."""
    (again,) = run_all([record.task], root=root, progress=False)
    content = json.loads((record.folder / RECORD).read_text(encoding="utf-8"))
    network = getattr(record.task, "network", record.task)
    return {
        "record": record.folder.name,
        "task": content["task"],
        "loss": getattr(network, "loss", None),
        "seed": getattr(network, "seed", None),
        "published_with": find_page_machine(record.folder),
        "same_libraries": content["libraries"] == {name: version(name) for name in LIBRARIES},
        **compare_scores(record.scores, again.scores),
    }


def find_page_machine(record: Path) -> str | None:
    """
    Find the processor of a page of chapter 2 that was published by the commit of a record.

    Returns
    -------
    str or None
        None where that commit published no such page, or the record is in no commit.
    """
    file = (record / RECORD).relative_to(ROOT).as_posix()
    commits = _ask_git("log", "--diff-filter=A", "--format=%H", "--", file).split()
    if not commits:
        return None
    changed = _ask_git("show", "--format=", "--name-only", commits[-1], "--", PAGE).split()
    if not changed:
        return None
    return str(json.loads(_ask_git("show", f"{commits[-1]}:{PAGE}"))["cpu"])


def _ask_git(*words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(ROOT), *words], check=True, capture_output=True, text=True
    ).stdout


@click.command()
@click.option("--seconds", default=600.0, show_default=True, help="What the records took, in all.")
@click.option("--to", "path", type=Path, default=ROOT / "published" / "repeats.json")
def repeats(seconds: float, path: Path) -> None:
    """Print a line for each record, and keep them as JSON next to those of other machines."""
    machine = describe_machine() | {"libraries": {name: version(name) for name in LIBRARIES}}
    rows = []
    with TemporaryDirectory() as folder:
        for record in choose_records(read_records(ROOT / "published" / "runs"), seconds):
            row = repeat(record, Path(folder))
            rows.append(row)
            click.echo(
                f"{row['task']:12} {row['record']}  {row['identical']} of {row['numbers']} "
                f"numbers identical, largest difference {row['largest_difference']:.1e}"
            )
    others = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = [other for other in others if not _is_same(other["machine"], machine)]
    write_json(path, [*kept, {"machine": machine, "rows": rows}], sort_keys=False)


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in ("cpu", "n_threads", "libraries"))


if __name__ == "__main__":
    repeats()
