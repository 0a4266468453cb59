"""Tests of the campaign: what it counts, what it keeps, and that each area makes inputs."""

import faulthandler
import itertools
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import damaged_files
import numpy as np
import pytest
from campaign import run_campaign
from chapter_parameters import Chapters, read_statements
from judging import FINDINGS, KINDS, Case, WrongError, check_volume, judge
from killed_processes import Kills
from mutations import cut_off, damage_bytes, damage_text
from workers import Plan

from saltvolumes._files import write_text
from thesis_lib.chapters import parameters

# Python 3.12 warns of forks where there are threads, as those of pytest's plugins.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@dataclass
class Planted:
    """An area with one input, named after what has to become of it."""

    name: str
    act: Callable[[], object]
    is_wrong: bool = False
    weight: float = 1.0
    cpu_s: float = 0.5
    wall_s: float = 30.0

    def make(self, rng: Random, folder: Path) -> Case:  # noqa: ARG002
        """Leave a file, and act."""
        (folder / "input.txt").write_text("odd")
        return Case(self.act, self.is_wrong, self.name)


def die() -> None:
    """Die as by a fault in C."""
    faulthandler.disable()
    os.kill(os.getpid(), signal.SIGSEGV)


def write_half(folder: Path) -> None:
    """Write a file in place, with a pause in the middle."""
    (folder / "a.txt").write_text("ha")
    time.sleep(0.3)
    (folder / "a.txt").write_text("half")


def read_text(folder: Path) -> dict[str, str | None]:
    """Read the file."""
    path = folder / "a.txt"
    return {"a.txt": path.read_text() if path.exists() else None}


def no_files(folder: Path) -> None:
    """Leave a folder as it is."""


PLANTED = [
    Planted("accepted", lambda: None),
    Planted("refused", lambda: damaged_files.open_volume("no.sgy")),
    Planted("crash: bug", lambda: {}["a bug"]),
    Planted("crash: death", die),
    Planted("crash: unclear", lambda: int("nine")),
    Planted("hang: turn", lambda: sum(itertools.repeat(0))),
    Planted("hang: wait", lambda: time.sleep(60), weight=0.3, wall_s=1.5),
    Planted("silent", lambda: None, is_wrong=True),
    Kills("kill: half", no_files, write_half, read_text),
]


def test_each_planted_fault_is_counted(tmp_path):
    """A crash, a death, hangs, a silent acceptance and a loss are counted, and the rest goes on."""
    plan = Plan(PLANTED, 1, tmp_path / "scratch", time.monotonic() + 60, stop=60)
    report = run_campaign(plan, n_workers=2, results=tmp_path / "fuzz")
    for area in PLANTED[:-1]:
        counts = report.counts[area.name]
        assert counts[area.name.partition(":")[0]] == counts["inputs"] > 0, area.name
    assert report.counts["kill: half"]["lost"] > 0
    assert report.total()["inputs"] == sum(report.total()[kind] for kind in KINDS) == 60
    assert len(report.findings) == sum(report.total()[kind] for kind in FINDINGS)
    number = next(each["input"] for each in report.findings if each["area"] == "crash: bug")
    kept = tmp_path / "fuzz" / f"1-{number}"
    assert (kept / "input.txt").read_text() == "odd"
    assert f"make fuzz SEED=1 INPUT={number}" in (kept / "finding.txt").read_text()
    report.write()
    assert '"seed": 1' in (tmp_path / "fuzz.json").read_text()
    assert "kill: half" in report.format_table()


def test_a_file_that_is_written_whole_survives_kills(tmp_path):
    """Old or new, and new after a second attempt."""

    def prepare(folder: Path) -> None:
        write_text(folder / "a.txt", "old")

    def act(folder: Path) -> None:
        for _ in range(50):
            write_text(folder / "a.txt", "new" * 10**4)

    area = Kills("kill: whole", prepare, act, read_text)
    for number in range(5):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert judge(area.make(Random(number), folder)).kind == "accepted"


@pytest.mark.parametrize("kind", damaged_files.AREAS)
def test_areas_make_files_that_are_taken_or_refused(kind, tmp_path, monkeypatch):
    """A few inputs of each area end as they should."""
    area = kind(tmp_path)
    for number in range(8):
        folder = tmp_path / f"input-{number}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        outcome = judge(area.make(Random(number), folder))
        assert outcome.kind in ("accepted", "refused"), outcome


def test_parameters_of_chapters_are_taken_or_refused(tmp_path, monkeypatch):
    """The statements of all chapters are found, and build tasks of their own values."""
    for name in ("read_parameters", "load_profile"):  # put back what is cached
        monkeypatch.setattr(parameters, name, getattr(parameters, name))
    area = Chapters(tmp_path)
    for number, chapter in enumerate(area.kinds):
        folder = tmp_path / chapter
        folder.mkdir()
        assert read_statements(chapter)
        area._build(chapter, "smoke", area._default(number), [], folder)
        assert (folder / "tasks.json").stat().st_size > 10
    for number in range(10):
        outcome = judge(area.make(Random(number), tmp_path))
        assert outcome.kind in ("accepted", "refused"), outcome


def test_damage_is_the_same_for_a_seed():
    """Bytes and words change by the random numbers alone, and something does change."""
    content = b"rule: best, margin: 0.5\n" * 3
    for change in (damage_bytes, damage_text, cut_off):
        first, second = (change(Random(5), content) for _ in range(2))
        assert first == second != content


def test_a_volume_that_breaks_its_contract_is_noticed():
    """A sample that is no number within a trace is found."""
    volume = damaged_files.make_volume(damaged_files.different_cube())
    check_volume(volume)
    volume["amplitude"][0, 0, 0] = np.nan
    with pytest.raises(WrongError, match="whole traces"):
        check_volume(volume)
