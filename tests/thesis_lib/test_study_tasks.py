"""Tasks: what a key covers, and how tasks are written down."""

from dataclasses import dataclass

import pytest
import torch
from tiny_project import Add, Bet, Throw

from thesis_lib.study import tabulate, tasks
from thesis_lib.study.running import run_all
from thesis_lib.study.tasks import grid, read_tasks, save_tensors, write_tasks


@pytest.mark.parametrize(
    "other",
    [Bet(Throw(2)), Bet(Throw(1), "a coin"), Bet(Throw(1, sides=(2, 4))), Throw(1)],
    ids=["seed of a parent", "own field", "field of a parent", "another task"],
)
def test_key_covers_all_fields(other):
    """Every field of a task and of its parents gives another key."""
    assert other.key != Bet(Throw(1)).key == Bet(Throw(1)).key


@pytest.mark.parametrize("name", ["version", "hash_sources"])
def test_key_covers_libraries_and_code(monkeypatch, name):
    """Results of another version of torch, or of other code, are not found."""
    key = Throw(1).key
    monkeypatch.setattr(tasks, name, lambda *_: "another")
    assert Throw(1).key != key


def test_task_of_a_notebook_is_refused():
    """Code that is in no module cannot be part of a key."""

    @dataclass(frozen=True)
    class Local(Throw):
        pass

    with pytest.raises(TypeError, match=r"Local of .* Must be defined at the top of a module"):
        _ = Local(1).key


def test_grid_varies_fields_of_parents():
    """A field is changed in the task and in every ancestor that has it; the last varies fastest."""
    start = Bet(Throw(0))
    varied = grid(start, seed=(1, 2), stake=("a", "b"))
    pairs = [(task.throw.seed, task.stake) for task in varied]
    assert pairs == [(1, "a"), (1, "b"), (2, "a"), (2, "b")]
    assert start.change(seed=5).throw.seed == 5
    assert start == Bet(Throw(0))  # never changed in place


def test_tasks_of_a_tuple_are_parents(tmp_path):
    """Each task of a tuple is computed first, has a name of its own, and is part of the key."""
    task = Add((Throw(1), Throw(3)))
    assert list(task.parents) == ["throws.0", "throws.1"]
    assert task.key != Add((Throw(3), Throw(1))).key
    assert task.change(sides=(2, 4, 6, 8, 10, 12)).throws[1].sides[0] == 2
    write_tasks(tmp_path / "tasks.json", [task])
    assert read_tasks(tmp_path / "tasks.json") == [task]
    (outcome,) = run_all([task], root=tmp_path, progress=False)
    assert outcome.scores == {"sum": 6.0}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": []}, r"Invalid seed \[\]\. Must be distinct, at least one"),
        ({"seed": [1, 1]}, r"Invalid seed \[1, 1\]\. Must be distinct"),
        (
            {"sead": [1]},
            r"Invalid fields \['sead'\] of Bet\. Must be among: seed, sides, stake, throw",
        ),
    ],
)
def test_grids_that_cannot_be_are_refused(values, message):
    """Values are distinct, at least one, and of a field that exists."""
    with pytest.raises(ValueError, match=message):
        grid(Bet(Throw(0)), **values)


def test_table_has_one_row_per_run_or_record(tmp_path):
    """Columns are paths from the task, then the scores that fit a cell, or those of a record."""
    outcomes = run_all(grid(Throw(0), seed=[1, 2]), root=tmp_path)
    table = tabulate(outcomes, seed="seed", sides="sides")
    assert list(table) == ["seed", "sides", "luck", "points"]
    assert table["points"].tolist() == [2.0, 3.0]
    assert table["luck"].isna().all()  # null
    assert table["luck"].dtype == float
    table = tabulate(outcomes[1:], rows="rolls", seed="seed")
    assert table.to_dict("list") == {"seed": [2, 2], "n": [1, 2]}
    assert tabulate([], seed="seed").to_dict("list") == {"seed": []}


def test_tasks_survive_json(tmp_path):
    """Tasks that are read back are those that were written; without any, the error says why."""
    with pytest.raises(FileNotFoundError, match="Run the chapter that writes them first"):
        read_tasks(tmp_path / "tasks.json")
    written = [Bet(Throw(1, sides=(5,))), Throw(2)]
    write_tasks(tmp_path / "tasks.json", written)
    read = read_tasks(tmp_path / "tasks.json")
    assert read == written
    assert [task.key for task in read] == [task.key for task in written]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "invalid start byte"),
        (b"[3]", "has no attribute 'items'"),
        (b'[{"Plough": {}}]', "unknown task 'Plough'"),
        (b'[{"Throw": {}}]', "seed: Field required"),
        (b'[{"Throw": {"seed": "x"}}]', "seed: Input should be a valid integer"),
        (
            b'[{"Bet": {"throw": {"seed": 1, "sead": 2}}}]',
            "throw.sead: Unexpected keyword argument",
        ),
    ],
)
def test_damaged_tasks_are_refused(tmp_path, content, message):
    """What is not a list of tasks of this version is one error that names the file."""
    path = tmp_path / "tasks.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"Invalid tasks {path}: .*{message}.*run the chapter"):
        read_tasks(path)


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
    (outcome,) = run_all([Throw(1)], root=tmp_path)
    path = outcome.folder / "images.safetensors"
    if n_bytes is not None:
        save_tensors(path, {"images": torch.ones(4)})
        assert outcome.load_tensors("images")["images"].equal(torch.ones(4))
        path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ValueError, match=rf"Cannot read {path}: .+ Delete the folder .* again"):
        outcome.load_tensors("images")
