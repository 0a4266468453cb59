"""Tests of thesis_lib.chapters.page: what a chapter runs, saves, decides and records."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock, call

import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure
from tiny_project import CHAPTER, SMOKE, Bet, Throw, finish_chapter, make_project, open_chapter

from thesis_lib import chapters
from thesis_lib._json import write_json
from thesis_lib.chapters import page as page_module
from thesis_lib.study.claim_tables import read_decisions
from thesis_lib.study.tasks import read_tasks


def test_results_replace_those_of_the_last_run_as_a_whole(project):
    """Until a page is closed the results of the last run stay; then none of them is left."""
    folder = finish_chapter(project)
    (folder / "figures").mkdir()
    kept = sorted(path.name for path in folder.iterdir())
    open_chapter(project).save(killed=[1])
    page = open_chapter(project)  # the same notebook from its start
    page.save(table=pd.DataFrame({"loss": ["bce"]}))
    assert sorted(path.name for path in folder.iterdir()) == kept
    page.close()
    assert page.results == folder
    assert sorted(path.name for path in folder.iterdir()) == ["run.json", "table.csv"]


def test_two_runs_do_not_write_to_one_folder(project):
    """A folder that another process writes to is refused; a closed page leaves it to others."""
    open_chapter(project)
    words = f"import pathlib, tiny_project as t; t.finish_chapter(pathlib.Path({str(project)!r}))"
    command = [sys.executable, "-c", words]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    refused = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert "another run writes to it" in refused.stderr
    finish_chapter(project)
    finish_chapter(project)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (f"{CHAPTER}.ipynb", None),
        ("docs/thesis.tex", "{}"),
        ("docs/thesis.tex", '{"chapter": "09_other"}'),
        ("docs/thesis.tex", "[1]"),
        ("docs/thesis.tex", "no JSON"),
        ("docs/thesis.tex", "\xff"),
    ],
)
def test_foreign_folder(project, name, text):
    """A folder with other files, whose run.json no chapter of the project wrote, is left alone."""
    path, run_info = project / "elsewhere" / name, project / "elsewhere" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text("A year of work.")
    if text is not None:
        run_info.write_text(text, encoding="latin-1")
    with pytest.raises(
        ValueError, match=r"no run\.json of a chapter.*Must be a new or empty folder"
    ):
        open_chapter(project, results_dir="elsewhere")
    assert path.read_text() == "A year of work."
    assert text is None or run_info.read_text(encoding="latin-1") == text


def test_run_info(project):
    """A finished run records profile, parameters, data, seeds, machine, versions and command."""
    info = chapters.read_run_info(finish_chapter(project, "laptop"))
    assert (info["chapter"], info["profile"]) == (CHAPTER, "laptop")
    results = {"results_dir": f"results/laptop/{CHAPTER}"}
    assert info["parameters"] == SMOKE | {"count": 4} | results
    assert (info["data"], info["seeds"]) == ({"test": "0123abcd"}, [0])
    assert info["duration_s"] >= 0
    assert {"torch", "numpy", "papermill"} <= set(info["libraries"])
    assert {"device", "cpu", "python", "started", "commit", "dirty"} <= set(info)
    assert "compute_s" not in info


def test_no_finished_run(project):
    """A folder without run.json was not run; one that is not closed is unfinished."""
    with pytest.raises(FileNotFoundError, match=r"Run the chapter first"):
        chapters.read_run_info(project)
    page = open_chapter(project)
    write_json(page.results / "run.json", page.info)
    with pytest.raises(ValueError, match=r"Unfinished results"):
        chapters.read_run_info(page.results)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"3", b"[" * 3000])
def test_damaged_run_info(project, content):
    """A run.json that is damaged is named, with what to do."""
    (project / "run.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"Cannot read .*run\.json: .* Run the chapter again"):
        chapters.read_run_info(project)


def test_commit(project):
    """The commit is that of the project's own repository, None without one, dirty if changed."""
    assert chapters.read_run_info(finish_chapter(project))["commit"] is None
    git = ["git", "-C", str(project), "-c", "user.name=A", "-c", "user.email=a@b.org"]
    (project / ".gitignore").write_text("results\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Start"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True)
    info = chapters.read_run_info(finish_chapter(project))
    assert (info["commit"], info["dirty"]) == (head.strip(), False)
    (project / "new.py").touch()
    assert chapters.read_run_info(finish_chapter(project))["dirty"] is True
    inner = make_project(project / "inner")
    assert chapters.read_run_info(finish_chapter(inner))["commit"] is None


def test_run_records_where_results_come_from(project):
    """Data, seeds and time of all tasks and of their parents are recorded, each of them once."""
    page = open_chapter(project)
    bets = page.run([Bet(Throw(seed)) for seed in (2, 0)], progress=False)
    assert [bet.scores["won"] for bet in bets] == [6, 2]
    assert bets[0].folder.parent == project / "runs"
    again = page.run([Throw(0)], progress=False)
    assert not again[0].computed
    page.close(data={"test": "ring purse"}, seeds=[7, 0])
    info = chapters.read_run_info(page.results)
    assert info["data"] == {"test": "purse ring", "training": "die table2 table0"}
    assert info["seeds"] == [0, 2, 7]
    spent = {found.folder: found.seconds for bet in bets for found in bet.lineage()}
    assert len(spent) == 4
    assert info["compute_s"] == pytest.approx(sum(spent.values()), abs=0.1)


def test_results_are_saved_by_their_type(project):
    """Tables become CSV, with an index that has a name, datasets NetCDF, tasks and more JSON."""
    page = open_chapter(project)
    table = pd.DataFrame({"loss": ["bce", "dice"], "score": [0.5, 0.25]})
    dataset = xr.Dataset({"power": ("frequency", np.arange(3.0))})
    page.save(plain=table, means=table.set_index("loss")["score"], statistics=dataset)
    page.save(networks=[Throw(3)], facts={"best": np.float64(0.5), "shape": (2, 3)}, empty=[])
    assert (page.results / "plain.csv").read_text() == "loss,score\nbce,0.5\ndice,0.25\n"
    assert (page.results / "means.csv").read_text() == "loss,score\nbce,0.5\ndice,0.25\n"
    xr.testing.assert_identical(xr.load_dataset(page.results / "statistics.nc"), dataset)
    (read,) = read_tasks(page.results / "networks.json")
    assert (type(read).__name__, read.seed) == ("Throw", 3)
    facts = json.loads((page.results / "facts.json").read_text())
    assert facts == {"best": 0.5, "shape": [2, 3]}
    assert read_tasks(page.results / "empty.json") == []


def test_numbers_of_the_text_are_plain(project, monkeypatch):
    """What the text shows is glued by name, NumPy's numbers as plain ones."""
    glue = Mock()
    monkeypatch.setattr(page_module, "glue", glue)
    open_chapter(project).tell(best=np.float64(0.9), name="bce")
    assert glue.mock_calls == [call("best", 0.9, display=False), call("name", "bce", display=False)]
    assert type(glue.mock_calls[0].args[1]) is float


def test_claims_of_several_tasks_are_kept_together(project):
    """claims.json and claims.csv hold what was decided about all tasks, the last time it was."""
    page = open_chapter(project)
    losses = pd.DataFrame({"loss": ["dice"], "seed": [0]}).reindex(
        columns=["loss", "seed", "dice", "perimetric_similarity", "surface_dice"]
    )
    near = pd.DataFrame({"entry": ["near"], "seed": [0], "auc": [0.5]})
    first = page.decide("losses", losses, entries=["dice", "bce"], by="loss")
    second = page.decide("classification", near)
    again = page.decide("classification", near)
    assert [each.verdict for each in again] == [each.verdict for each in second]
    assert {decision.claim.task for decision in first} == {"losses"}
    kept = read_decisions(page.results / "claims.json")
    assert [decision.claim.id for decision in kept] == [d.claim.id for d in (*first, *second)]
    assert len(pd.read_csv(page.results / "claims.csv")) == len(kept)


def test_a_chapter_can_do_without_what_there_is_no_time_for(project, monkeypatch):
    """When time is up, what has finished is returned and counted; nothing at all is an error."""
    bets = [Bet(Throw(seed)) for seed in (0, 1)]
    open_chapter(project).run(bets[:1], progress=False)
    monkeypatch.setenv("THESIS_MINUTES", "0")
    page = open_chapter(project)
    found = page.run(bets, progress=False, partial=True)
    assert [outcome.task for outcome in found] == bets[:1]
    assert page.run([Throw(5)], progress=False, partial=True) == []
    page.close()
    info = chapters.read_run_info(page.results)
    assert (info["runs"]["asked"], info["runs"]["finished"], info["runs"]["recorded"]) == (3, 1, 0)
    assert "; 1 of 3 runs are finished\n" in chapters.staging.format_banner(info)
    assert len(open_chapter(project).run(bets, progress=False)) == 2  # others wait for all


def test_published_records_are_found(project, monkeypatch):
    """Runs of a chapter are published as records, and are found there by other copies."""
    bets = [Bet(Throw(seed)) for seed in (0, 1)]
    page = open_chapter(project)
    page.run(bets, progress=False)
    page.close()
    chapters.write_notebook(nbformat.v4.new_notebook(), page.results / f"{CHAPTER}.ipynb")
    chapters.publish("smoke", root=project)
    assert not (project / "published" / CHAPTER / "runs").exists()
    shutil.rmtree(project / "runs")
    again = open_chapter(project)
    found = again.run(bets, progress=False)
    assert [outcome.folder.parent for outcome in found] == [project / "published" / "runs"] * 2
    again.close()
    info = chapters.read_run_info(again.results)
    runs = {"asked": 2, "finished": 2, "recorded": 2, "of_other_code": 0}
    assert runs.items() <= info["runs"].items()
    assert "compute_s" not in info
    runs |= {"of_other_code": 1, "recorded_s": 9000.0}
    text = chapters.staging.format_banner(info | {"runs": runs})
    assert " 2 results are records of earlier runs that took 2.5 h, 1 of them by other code" in text
    assert not list((project / "runs").glob("*/scores.json"))
    monkeypatch.setenv("THESIS_RECORDS", "none")
    assert open_chapter(project).run(bets, progress=False)[0].computed


@pytest.mark.parametrize(
    ("minutes", "message"),
    [
        ("0", "THESIS_MINUTES 0: no run has finished in"),
        ("-1", "Must lie in"),
        (".nan", "Must lie"),
    ],
)
def test_minutes_that_leave_nothing_are_refused(project, monkeypatch, minutes, message):
    """Minutes below 0, not a number, or before which nothing has finished are refused."""
    monkeypatch.setenv("THESIS_MINUTES", minutes)
    with pytest.raises(ValueError, match=message):
        open_chapter(project).run([Throw(0)], progress=False, partial=True)


def test_figures_are_saved_as_pictures(project):
    """A figure becomes a PNG."""
    page = open_chapter(project)
    page.save(answer=Figure())
    assert (page.results / "answer.png").read_bytes().startswith(b"\x89PNG")
