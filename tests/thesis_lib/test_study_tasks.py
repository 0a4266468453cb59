"""Tasks: what a key covers, that nothing is computed twice, and how tasks are written down."""

import json
import multiprocessing
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from thesis_lib.study import tabulate, tasks
from thesis_lib.study.tasks import (
    Task,
    grid,
    read_outcome,
    read_tasks,
    run_all,
    save_tensors,
    to_plain,
    write_json,
    write_tasks,
)


@dataclass(frozen=True)
class Sow(Task):
    """A task whose files count how often it was computed."""

    seed: int
    field: tuple[int, ...] = (2, 3)
    headline: ClassVar[tuple[str, ...]] = ("crop",)

    def compute(self, folder: Path, parents: Any) -> dict[str, Any]:
        assert not parents
        (folder / "sown").touch(exist_ok=False)
        return {"crop": 2.0 * self.seed, "weeds": np.nan, "rows": [{"n": 1}, {"n": 2}]}


@dataclass(frozen=True)
class Harvest(Task):
    """A task with a parent."""

    of: Sow
    tool: str = "sickle"

    def compute(self, folder: Path, parents: Any) -> dict[str, Any]:
        assert (parents["of"].folder / "sown").exists()
        (folder / "reaped").touch(exist_ok=False)
        return {"crop": parents["of"].scores["crop"], "data": {"field": "ab"}}


@dataclass(frozen=True)
class Fail(Task):
    """A task that is killed at the first attempt."""

    seed: int = 0

    def compute(self, folder: Path, parents: Any) -> dict[str, Any]:  # noqa: ARG002
        if not (folder / "state").exists():
            (folder / "state").write_text("half")
            raise KeyboardInterrupt
        return {"state": (folder / "state").read_text()}


@dataclass(frozen=True)
class Slow(Task):
    """A task that takes a second."""

    seed: int = 0

    def compute(self, folder: Path, parents: Any) -> dict[str, Any]:  # noqa: ARG002
        (folder / "started").touch(exist_ok=False)
        time.sleep(1)
        return {"x": 1}


def test_parents_come_first_and_nothing_is_repeated(tmp_path, capsys):
    """Parents are computed once, before their children; a second call finds all of it."""
    wanted = [Harvest(Sow(1)), Harvest(Sow(1), "scythe"), Sow(2)]
    first = run_all(wanted, root=tmp_path)
    again = run_all(wanted, root=tmp_path)
    assert [outcome.task for outcome in first] == wanted
    assert [outcome.computed for outcome in (*first, *again)] == [True] * 3 + [False] * 3
    assert [outcome.scores for outcome in again] == [outcome.scores for outcome in first]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[0].startswith("[1/4] Sow, crop 2.0000 (computed in 0 s, ")
    assert lines[-1] == f"[4/4] Sow, crop 4.0000 (found, {Sow(2).key})"


def test_lineage_holds_every_ancestor_once(tmp_path):
    """An outcome leads to all that it rests on."""
    (outcome,) = run_all([Harvest(Sow(1))], root=tmp_path, progress=False)
    assert [found.task for found in outcome.lineage()] == [Harvest(Sow(1)), Sow(1)]


def test_killed_run_is_taken_up_again(tmp_path):
    """A run that was killed leaves its folder, without scores, to the next attempt."""
    with pytest.raises(KeyboardInterrupt):
        run_all([Fail()], root=tmp_path)
    (outcome,) = run_all([Fail()], root=tmp_path)
    assert (outcome.scores, outcome.computed) == ({"state": "half"}, True)


def test_checks_come_before_computing(tmp_path, monkeypatch):
    """What a task refuses is refused before any other is computed."""

    def refuse(self):
        raise ValueError(f"no {self.seed}")

    monkeypatch.setattr(Fail, "check", refuse, raising=True)
    with pytest.raises(ValueError, match="no 0"):
        run_all([Sow(1), Fail()], root=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "other",
    [Harvest(Sow(2)), Harvest(Sow(1), "scythe"), Harvest(Sow(1, field=(2, 4))), Sow(1)],
    ids=["seed of a parent", "own field", "field of a parent", "another task"],
)
def test_key_covers_all_fields(other):
    """Every field of a task and of its parents gives another key."""
    assert other.key != Harvest(Sow(1)).key == Harvest(Sow(1)).key


def test_key_covers_libraries(monkeypatch):
    """Results of another version of torch are not found."""
    key = Sow(1).key
    monkeypatch.setattr(tasks, "version", lambda name: f"{name} 0")
    assert Sow(1).key != key


@pytest.mark.parametrize("name", ["scores", "timing"])
@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_damaged_results_are_refused(tmp_path, name, text):
    """A damaged file is named, and nothing is computed over it."""
    (outcome,) = run_all([Sow(1)], root=tmp_path)
    (outcome.folder / f"{name}.json").write_text(text)
    with pytest.raises(ValueError, match=rf"{name}\.json: .*Delete the folder .* again"):
        run_all([Sow(1)], root=tmp_path)


def _run_slowly(root, queue):
    queue.put(run_all([Slow()], root=root)[0].computed)


def test_two_processes_compute_once(tmp_path):
    """Of two processes that want the same run at once, one computes and one finds it."""
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    processes = [context.Process(target=_run_slowly, args=(tmp_path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    assert sorted(queue.get(timeout=60) for _ in processes) == [False, True]
    for process in processes:
        process.join()


def test_grid_varies_fields_of_parents():
    """A field is changed in the task and in every ancestor that has it; the last varies fastest."""
    varied = grid(Harvest(Sow(0)), seed=(1, 2), tool=("sickle", "scythe"))
    assert [(task.of.seed, task.tool) for task in varied] == [
        (1, "sickle"),
        (1, "scythe"),
        (2, "sickle"),
        (2, "scythe"),
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": []}, r"Invalid seed \[\]\. Must be at least one"),
        ({"seed": [1, 1]}, r"Invalid seed \[1, 1\]: contains duplicates"),
        ({"sead": [1]}, r"Invalid fields \['sead'\] of Harvest\. Must be among: field, of, seed"),
    ],
)
def test_grids_that_cannot_be_are_refused(values, message):
    """Values are distinct, at least one, and of a field that exists."""
    with pytest.raises(ValueError, match=message):
        grid(Harvest(Sow(0)), **values)


def test_table_has_one_row_per_run(tmp_path):
    """Columns are paths from the task, then the scores that fit a cell; null is NaN."""
    table = tabulate(run_all(grid(Sow(0), seed=[1, 2]), root=tmp_path), seed="seed", size="field")
    assert list(table) == ["seed", "size", "crop", "weeds"]
    assert table["crop"].tolist() == [2.0, 4.0]
    assert table["weeds"].isna().all()
    assert table["weeds"].dtype == float


def test_table_of_records_has_one_row_per_record(tmp_path):
    """A score that is a list of records gives its rows, each with the columns of its run."""
    table = tabulate(run_all([Sow(3)], root=tmp_path), rows="rows", seed="seed")
    assert table.to_dict("list") == {"seed": [3, 3], "n": [1, 2]}


def test_table_of_nothing_has_its_columns():
    """Without a run the columns that were asked for are there, and no row."""
    assert tabulate([], seed="seed").to_dict("list") == {"seed": []}


def test_tasks_survive_json(tmp_path):
    """Tasks that are read back are equal to those that were written, with the same keys."""
    written = [Harvest(Sow(1, field=(5,))), Sow(2)]
    write_tasks(tmp_path / "tasks.json", written)
    read = read_tasks(tmp_path / "tasks.json")
    assert read == written
    assert [task.key for task in read] == [task.key for task in written]


def test_outcome_is_read_from_its_folder(tmp_path):
    """The folder of a finished run gives its task and scores."""
    (outcome,) = run_all([Harvest(Sow(1))], root=tmp_path)
    read = read_outcome(outcome.folder)
    assert (read.task, read.scores, read.seconds) == (outcome.task, outcome.scores, outcome.seconds)
    (outcome.folder / "scores.json").unlink()
    with pytest.raises(ValueError, match="Must be the folder of a finished run"):
        read_outcome(outcome.folder)
    with pytest.raises(ValueError, match="Must be the folder of a finished run"):
        read_outcome(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "invalid start byte"),
        (b"[3]", "has no attribute 'items'"),
        (b'[{"Plough": {}}]', "unknown task 'Plough'"),
        (b'[{"Sow": {}}]', "seed: Field required"),
        (b'[{"Sow": {"seed": "x"}}]', "seed: Input should be a valid integer"),
    ],
)
def test_damaged_tasks_are_refused(tmp_path, content, message):
    """What is not a list of tasks of this version is one error that names the file."""
    path = tmp_path / "tasks.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"Invalid tasks {path}: .*{message}.*run the chapter"):
        read_tasks(path)


def test_missing_tasks_are_refused(tmp_path):
    """Where no chapter has left tasks, the error says what to do."""
    with pytest.raises(FileNotFoundError, match="Run the chapter that writes them first"):
        read_tasks(tmp_path / "tasks.json")


def test_plain_values():
    """Tuples become lists, NumPy numbers Python's, NaN null, tasks their fields."""
    assert to_plain({"a": (np.float32(1.5), np.int64(2), True, np.nan)}) == {
        "a": [1.5, 2, True, None]
    }
    assert to_plain(Harvest(Sow(1))) == {"of": {"seed": 1, "field": [2, 3]}, "tool": "sickle"}


def test_interrupted_write_leaves_the_old_file(tmp_path):
    """Content that cannot be written leaves the file as it was."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_tensors_are_written_whole(tmp_path):
    """What cannot be written leaves the file as it was, readable by all, and no other file."""
    path = tmp_path / "images.safetensors"
    save_tensors(path, {"images": torch.ones(2).expand(3, 2).mT})
    with pytest.raises(AttributeError):
        save_tensors(path, {"images": None})
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("n_bytes", [None, 0, 20, 80])
def test_damaged_tensors_are_refused(tmp_path, n_bytes):
    """A file of a finished run that was cut off or deleted is named, with what to delete."""
    (outcome,) = run_all([Sow(1)], root=tmp_path)
    path = outcome.folder / "images.safetensors"
    if n_bytes is not None:
        save_tensors(path, {"images": torch.ones(4)})
        assert outcome.load_tensors("images")["images"].equal(torch.ones(4))
        path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=rf"Cannot read {path}: .+ Delete the folder .* again"):
        outcome.load_tensors("images")


def test_workers_take_one_task_at_a_time(tmp_path):
    """A worker that would compute two tasks in one process is refused."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0", processes=False
        ) as cluster,
        distributed.Client(cluster) as client,
        pytest.raises(ValueError, match="Must be threads_per_worker=1"),
    ):
        run_all([Sow(1)], root=tmp_path, client=client)


def test_changed_task_is_another_one():
    """A task is never changed in place."""
    task = Harvest(Sow(1))
    assert task.change(seed=5).of.seed == 5
    assert task == Harvest(Sow(1))
    assert replace(task, tool="scythe").key != task.key
