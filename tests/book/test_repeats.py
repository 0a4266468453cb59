"""Comparing a run that was computed again with its record."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "book" / "_extensions")]
import provenance  # noqa: E402  an extension next to the pages
import repeats  # noqa: E402  a script next to what it measures

RECORD = {"dice": 0.5, "volumes": [{"dice": 0.25}, {"dice": 1.0}], "data": {"test": "abc"}}


def make_record(key: str, seconds: float, parents: tuple = ()):
    """Make a stand-in for a record, with what is asked of it."""
    record = SimpleNamespace(task=SimpleNamespace(key=key), seconds=seconds)
    record.lineage = lambda: iter([record, *parents])
    return record


def test_equal_scores_are_identical():
    """Scores that agree to the last bit have no difference, however nested; words do not count."""
    found = repeats.compare_scores(RECORD, json.loads(json.dumps(RECORD)))
    assert found == {"numbers": 3, "identical": 3, "largest_difference": 0.0, "field": None}


def test_the_largest_difference_is_named():
    """One last digit makes one number differ, relative to the record, and is named."""
    again = json.loads(json.dumps(RECORD))
    again["volumes"][0]["dice"] = 0.25 * (1 + 2**-52)
    found = repeats.compare_scores(RECORD, again)
    assert found["identical"] == 2
    assert found["largest_difference"] == 2**-52
    assert found["field"] == "volumes[0].dice"


def test_other_fields_are_refused():
    """Scores of different tasks cannot be compared."""
    with pytest.raises(ValueError, match="only one of them has jaccard"):
        repeats.compare_scores(RECORD, {**RECORD, "jaccard": 1.0})


def test_the_quickest_records_are_chosen(monkeypatch):
    """The quickest come first, a shared parent is paid once, and other code is left out."""
    parent, old = make_record("parent", 10), make_record("old", 1)
    children = [make_record(f"child {i}", i, (parent,)) for i in (1, 2)]
    records = {each.task.key: each for each in (make_record("long", 100), *children, parent, old)}
    monkeypatch.setattr(repeats, "is_of_other_code", lambda record: record is old)
    chosen = [each.task.key for each in repeats.choose_records(records, 13)]
    assert chosen == ["parent", "child 1", "child 2"]


def test_published_repeats_are_of_records():
    """Every row that pages show has as many numbers as the scores of its record."""
    for entry in provenance.read_repeats(ROOT / "published"):
        for row in entry["rows"]:
            path = ROOT / "published" / "runs" / row["record"] / "record.json"
            content = json.loads(path.read_text(encoding="utf-8"))
            assert content["task"] == row["task"]
            assert len(list(repeats.list_numbers(content["scores"]))) == row["numbers"]


def test_rows_of_records_that_went_are_left_out(tmp_path):
    """A row whose record was replaced since is not shown, and nor is a machine without rows."""
    rows = [{"record": "kept"}, {"record": "gone"}]
    entries = [{"machine": {}, "rows": rows}, {"machine": {}, "rows": rows[1:]}]
    (tmp_path / "runs" / "kept").mkdir(parents=True)
    (tmp_path / "repeats.json").write_text(json.dumps(entries))
    assert provenance.read_repeats(tmp_path) == [{"machine": {}, "rows": rows[:1]}]
