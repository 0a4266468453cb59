"""Tests of thesis_lib.study.records: results that outlive their runs."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr
from tiny_project import Bet, Throw

from thesis_lib._json import write_json
from thesis_lib.patches import Survey
from thesis_lib.study import Train, grid, run_all, tasks
from thesis_lib.study import records as study_records
from thesis_lib.study.records import (
    _PARTS,
    RECORD,
    has_weights,
    is_of_other_code,
    read_records,
    write_records,
)
from thesis_lib.study.segmentation import load_sections
from thesis_lib.study.tasks import Outcome, save_tensors

PROBABILITY = np.array([[0.0, 0.25, 1.0], [np.nan, 0.123, 0.999]])
BETS = grid(Bet(Throw(0)), seed=[0, 1])
TENSORS = {
    "map": torch.linspace(-2, 3, 40).reshape(4, 10),
    "flat": torch.tensor([5.0, torch.nan, 5.0]),
    "seeds": torch.arange(3) * 1000,
}


@pytest.fixture
def records(tmp_path):
    """Folder with the records of two bets, whose runs are gone; parents have a history."""
    outcomes = run_all(BETS, root=tmp_path / "runs", progress=False)
    for outcome in outcomes:
        sections = xr.Dataset({"inline_section": (("depth", "crossline"), PROBABILITY)})
        sections.to_netcdf(outcome.folder / "sections.nc", engine="h5netcdf")
        (outcome.parents["throw"].folder / "history.csv").write_text("epoch,loss\n1,0.5\n")
        (outcome.folder / "weights.safetensors").write_bytes(b"large")
        save_tensors(outcome.folder / "images.safetensors", TENSORS)
    write_records(tmp_path / "records", outcomes)
    shutil.rmtree(tmp_path / "runs")
    return tmp_path / "records"


def list_files(folder):
    """Contents of all files below a folder, by relative path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_records_take_the_place_of_runs(records, tmp_path, capsys):
    """Scores, history and sections come back without computing, and parents are not asked for."""
    again = run_all(BETS, root=tmp_path / "again", records=read_records(records))
    assert [outcome.scores["won"] for outcome in again] == [2.0, 4.0]
    assert not any(outcome.computed for outcome in again)
    assert again[0].parents["throw"].history["loss"].tolist() == [0.5]
    assert not list((tmp_path / "again").glob("*/scores.json"))
    assert "2 of 2 results are records of earlier runs" in capsys.readouterr().out
    section = load_sections(again[0])["inline_section"].values
    np.testing.assert_allclose(section, PROBABILITY, atol=0.002)
    assert not list(records.rglob("weights.safetensors"))


def test_parents_are_stored_once(tmp_path):
    """Children of one parent share its record, which counts as a result of its own."""
    tasks = [BETS[0], Bet(BETS[0].throw, stake="a house")]
    write_records(tmp_path, run_all(tasks, root=tmp_path / "runs", progress=False))
    found = read_records(tmp_path)
    assert found.keys() == {BETS[0].throw.key, *(task.key for task in tasks)}
    parents = [found[task.key].parents["throw"] for task in tasks]
    assert parents[0] is parents[1] is found[BETS[0].throw.key]
    assert [path.parent.parent for path in tmp_path.rglob(RECORD)] == [tmp_path] * 3


def nest_parents(folder):
    """Put records into the form of earlier versions: parents inside their children."""
    for path in sorted(folder.glob(f"*/{RECORD}")):
        content = json.loads(path.read_text())
        for name, parent in content.pop("parents").items():
            shutil.copytree(folder / parent, path.parent / name)
        path.write_text(json.dumps(content))
    for task in BETS:
        shutil.rmtree(folder / task.throw.key)


def test_parents_inside_records_are_read(records, tmp_path):
    """Records of earlier versions are read as they are, left alone, and copied in the new form."""
    nest_parents(records)
    files = list_files(records)
    found = read_records(records)
    assert found.keys() == {task.key for task in BETS}
    assert found[BETS[0].key].parents["throw"].history["loss"].tolist() == [0.5]
    write_records(records, found.values())
    assert list_files(records) == files
    write_records(tmp_path / "copy", found.values())
    assert {path.parent.parent for path in (tmp_path / "copy").rglob(RECORD)} == {tmp_path / "copy"}
    assert len(read_records(tmp_path / "copy")) == 4


def test_tensors_are_kept_as_bytes(records, tmp_path, monkeypatch):
    """Floats keep 255 steps of their range, whole numbers all; a task says how many rows."""
    found = read_records(records)[BETS[0].key].load_tensors("images")
    assert found["map"].dtype == torch.float32
    torch.testing.assert_close(found["map"], TENSORS["map"], atol=2.5 / 254 + 1e-6, rtol=0)
    torch.testing.assert_close(found["flat"], TENSORS["flat"], equal_nan=True)
    assert torch.equal(found["seeds"], TENSORS["seeds"])
    monkeypatch.setattr(Bet, "recorded_rows", {"map": 1, "seeds": 0})
    (outcome,) = run_all(BETS[:1], root=tmp_path / "runs", progress=False)
    save_tensors(outcome.folder / "images.safetensors", TENSORS)
    write_records(tmp_path / "few", [outcome])
    few = read_records(tmp_path / "few")[BETS[0].key].load_tensors("images")
    assert [len(few[name]) for name in TENSORS] == [1, 3, 0]
    monkeypatch.setattr(Bet, "recorded_rows", {})
    monkeypatch.setitem(_PARTS, Bet, (slice(-1, None),))
    write_records(tmp_path / "last", [outcome])
    last = read_records(tmp_path / "last")[BETS[0].key].load_tensors("images")
    assert [len(last[name]) for name in TENSORS] == [1, 1, 1]
    assert torch.equal(last["seeds"], TENSORS["seeds"][-1:])


def test_weights_are_those_of_runs(tmp_path):
    """A run with weights has them; its record does not."""
    (outcome,) = run_all([Throw(0)], root=tmp_path / "runs", progress=False)
    assert not has_weights(outcome)
    (outcome.folder / "weights.safetensors").write_bytes(b"large")
    assert has_weights(outcome)
    write_records(tmp_path / "records", [outcome])
    recorded = read_records(tmp_path / "records")[Throw(0).key]
    assert not has_weights(recorded)


def test_runs_come_before_records(records, tmp_path):
    """What the folder of runs has is taken from there, and what needs a parent computes it."""
    found = run_all(BETS[:1], root=tmp_path / "again", progress=False)
    both = run_all(BETS, root=tmp_path / "again", records=read_records(records), progress=False)
    assert [outcome.folder for outcome in both] == [found[0].folder, records / BETS[1].key]
    richer = Bet(BETS[1].throw, stake="a house")
    (computed,) = run_all([richer], root=tmp_path / "again", records=read_records(records))
    assert computed.computed
    assert computed.parents["throw"].computed


def test_records_count_whatever_computed_them(records, monkeypatch):
    """Other code and libraries give tasks other keys; records state theirs and are found."""
    old = BETS[0].key
    monkeypatch.setattr(tasks, "version", str.upper)
    task = Bet(Throw(0))
    assert task.key != old
    for wanted in (None, [task]):
        assert task.key in read_records(records, choice="same", tasks=wanted)  # of the same code
    monkeypatch.setattr(tasks, "hash_sources", lambda *_: "f" * 16)
    task = Bet(Throw(0))
    assert read_records(records, choice="same") == read_records(records, choice="none") == {}
    found = read_records(records)[task.key]
    assert is_of_other_code(found)
    assert found.folder.name == old
    content = json.loads((found.folder / RECORD).read_text())
    assert content["libraries"]["torch"][0].isdigit()
    assert len(content["sources"]) == 16


def test_a_few_records_are_found_without_reading_all(records, monkeypatch):
    """With "same" only records of a task and its parents are read, with "any" all of them."""
    first, read = BETS[0], set()
    original = study_records._read_record
    monkeypatch.setattr(
        study_records, "_read_record", lambda *known: read.add(known[0].name) or original(*known)
    )
    for choice, n_read in (("same", 2), ("any", 4)):
        read.clear()
        (found,) = read_records(records, choice=choice, tasks=[first]).values()
        assert (found.task, found.scores["won"], len(read)) == (first, 2.0, n_read)
    assert read_records(records, choice="same", tasks=[Bet(Throw(5))]) == {}


def test_records_of_records_are_the_same(records, tmp_path):
    """Published again, records keep their bytes; those that are there are left alone."""
    outcomes = run_all(BETS, root=tmp_path / "x", records=read_records(records), progress=False)
    write_records(tmp_path / "copy", outcomes)
    assert list_files(tmp_path / "copy") == list_files(records)
    (records / BETS[0].key / "sections.nc").unlink()
    write_records(records, outcomes)
    assert not (records / BETS[0].key / "sections.nc").exists()


def test_records_of_other_versions_are_left_out(records):
    """A task with an unknown field is no longer found, which is no error."""
    path = records / BETS[0].key / RECORD
    content = json.loads(path.read_text())
    content["fields"]["luck"] = 7
    path.write_text(json.dumps(content))
    assert read_records(records).keys() == {BETS[1].key, *(task.throw.key for task in BETS)}
    assert read_records(records / "nowhere") == {}


def test_newer_records_replace_older_ones(records, tmp_path):
    """Of two records of a task the one named after its key counts, and publishing leaves one."""
    old = records / "0000000000000000"
    (records / BETS[0].key).rename(old)
    shutil.copytree(old, records / "ffffffffffffffff")
    outcomes = run_all(BETS[:1], root=tmp_path / "runs", progress=False)
    write_records(records, outcomes)
    assert read_records(records)[BETS[0].key].folder.name == BETS[0].key
    assert len(list(records.iterdir())) == 4


def test_replaced_records_stay_while_others_rest_on_them(records, tmp_path):
    """A parent by other code goes with the last of its children, not before."""
    throw, bet = BETS[0].throw.key, BETS[0].key
    (records / throw).rename(records / "old_throw")
    content = json.loads((records / bet / RECORD).read_text())
    (records / bet).rename(records / "old_bet")
    content["parents"] = {"throw": "old_throw"}
    (records / "old_bet" / RECORD).write_text(json.dumps(content))
    root = tmp_path / "runs"
    write_records(records, run_all([BETS[0].throw], root=root, progress=False))
    assert read_records(records)[throw].folder.name == throw
    assert read_records(records)[bet].parents["throw"].folder.name == "old_throw"
    write_records(records, run_all([BETS[0]], root=root, progress=False))
    assert not list(records.glob("old_*"))
    assert read_records(records)[bet].parents["throw"].folder.name == throw


def test_runs_on_files_leave_no_records(tmp_path):
    """A survey is its owner's: path and scores are published only of one that comes along."""
    task = Train(0, "dice", Survey("survey.sgy"))
    outcome = Outcome(task, tmp_path, {}, computed=True, seconds=1.0)
    write_records(tmp_path / "records", [outcome])
    assert not (tmp_path / "records").exists()
    own = replace(task, data=Survey("f3"))
    write_json(tmp_path / "config.json", own.describe() | {"fields": own})
    write_records(tmp_path / "records", [replace(outcome, task=own)])
    assert [*read_records(tmp_path / "records")] == [own.key]


@pytest.mark.parametrize("damage", ["{", "[1]", "{}", {"seconds": None}, {"scores": [1]}])
@pytest.mark.parametrize("task", [BETS[0], BETS[0].throw])
def test_damaged_records_are_refused(records, task, damage):
    """A damaged record, or one that lacks its parent, is named in one line, with what to do."""
    path = records / task.key / RECORD
    content = json.loads(path.read_text())
    path.write_text(damage if isinstance(damage, str) else json.dumps(content | damage))
    with pytest.raises(ValueError, match=rf"Cannot read .*{RECORD}: .* Delete the folder to"):
        read_records(records)
    if task == BETS[0]:
        path.write_text(json.dumps(content | {"parents": {}}))
        with pytest.raises(ValueError, match=rf"Cannot read .*{RECORD}: 'throw'. Delete"):
            read_records(records)
    if task == BETS[0].throw:
        path.unlink()
        with pytest.raises(ValueError, match="No such file"):
            read_records(records)


def test_without_time_nothing_is_computed(tmp_path, records):
    """With no minutes left, what is there is returned and the rest is left out."""
    (throw,) = run_all([Throw(1)], root=tmp_path / "runs", progress=False)
    options = {"root": tmp_path / "runs", "minutes": 0.0, "progress": False}
    assert run_all(BETS, **options) == []
    assert [outcome.task for outcome in run_all([Throw(0), Throw(1)], **options)] == [throw.task]
    assert len(run_all(BETS, **options, records=read_records(records))) == 2
