"""Tests of the pages that show published measurements of speed and growth."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import pages  # noqa: E402  a script next to what it shows

MACHINE = {"date": "2026-01-01", "cpu": "any", "n_cores": 2, "n_threads": 2, "libraries": {}}


def test_speed(tmp_path: Path) -> None:
    """The page gets a table with three digits and a figure of what `make bench` measured."""
    row = {"work": "loss bce", "peer": "torch", "ours_s": 0.0123456, "peer_s": 0.02, "ratio": 1.62}
    row |= {"low": 1.5, "high": 1.7, "target": 1, "bound": "a sigmoid", "bound_s": 0.01}
    pages.show_speed({"machine": MACHINE, "rows": [row]}, tmp_path)
    assert (tmp_path / "bench.csv").read_text().splitlines() == [
        "Work,Other,Ours (s),Other (s),Ratio,Aimed at,Bound,Ours / bound",
        "loss bce,torch,0.0123,0.02,1.62,1,a sigmoid,1.23",
    ]
    assert "Date,2026-01-01" in (tmp_path / "bench_machine.csv").read_text()
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_every_missed_goal_has_its_reason() -> None:
    """The page gives a reason for each published row that misses its goal, and for no other."""
    rows = json.loads((ROOT / "published" / "bench.json").read_text(encoding="utf-8"))["rows"]
    page = (ROOT / "book" / "speed.md").read_text(encoding="utf-8")
    names = set(", ".join(re.findall(r"^- \*(.+?)\*:", page, re.MULTILINE)).split(", "))
    missed = {row["work"] for row in rows if row["ratio"] < row["target"]}
    pairs = {(n, w) for n in names for w in missed if re.search(rf"\b{re.escape(n)}\b", w)}
    assert {name for name, _ in pairs} == names
    assert {work for _, work in pairs} == missed


def test_growth(tmp_path: Path) -> None:
    """Every published point is a row of the table, and its series a panel of the figure."""
    content = json.loads((ROOT / "published" / "growing.json").read_text(encoding="utf-8"))
    pages.show_growth(content, tmp_path)
    rows = (tmp_path / "growing.csv").read_text().splitlines()
    assert len(rows) == 1 + len(content["points"])
    assumed = (tmp_path / "projection_assumed.csv").read_text().splitlines()
    assert f"Size of the survey (TB),{4 * pages.SURVEY_SAMPLES / 1e12:.3g}" in assumed
    assert (tmp_path / "growing.png").read_bytes().startswith(b"\x89PNG")


def test_projection() -> None:
    """Twice the GPUs take half the time, until the disks are the limit."""
    table = pages.project_survey({"predict_flop": 1e9})
    patches = 2 * 2.5e11 / 32**2
    assert table["Computing (h)"][0] == pytest.approx(patches * 1e9 / 50e12 / 8 / 3600)
    assert table["Computing (h)"][1] == pytest.approx(table["Computing (h)"][0] / 2)
    slow, fast = (table[f"In all at {rate} GB/s (h)"] for rate in (2, 200))
    assert slow.tolist() == pytest.approx([7e12 / 2e9 / 3600] * len(table))
    assert fast[0] == table["Computing (h)"][0]
    assert fast.iloc[-1] == pytest.approx(7e12 / 200e9 / 3600)
