"""Tests of thesis_lib.chapters.staging: pages of the book, and what is published."""

import json

import nbformat
import pytest
from tiny_project import CHAPTER, finish_chapter

from thesis_lib import chapters
from thesis_lib.chapters.staging import format_banner


def test_stage(project):
    """The book gets notebooks with a banner, results without notebooks, all claims, nothing old."""
    finish_chapter(project)
    old = project / "book" / "chapters" / "09_old.ipynb"
    old.parent.mkdir(parents=True)
    old.touch()
    (page,) = chapters.stage("results/smoke", root=project)
    assert page == project / "book" / "chapters" / f"{CHAPTER}.ipynb"
    opening = nbformat.read(page, as_version=4).cells[0].source
    assert opening.startswith("# Why?\n\n````{admonition} Computed with profile *smoke*: ")
    assert opening.endswith("````\n\nBecause.")
    assert not old.exists()
    results = project / "book" / "results"
    assert sorted(path.name for path in (results / CHAPTER).iterdir()) == ["run.json", "table1.csv"]
    tables = {"conclusions", "claims", "checks", "verdicts"}
    assert {path.stem for path in results.glob("*.csv")} == tables
    header, *rows = (results / "claims.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("Claim,Source,Measure and rule,Verdict,")
    assert rows
    assert all(row.endswith(",[not run]{.verdict .verdict-unmeasured},–,–,–") for row in rows)


def test_parameters_of_the_run_are_folded(project):
    """What papermill put in is folded on the page, as the parameters with their defaults are."""
    finish_chapter(project)
    path = project / "results" / "smoke" / CHAPTER / f"{CHAPTER}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cell = nbformat.v4.new_code_cell("x = 1", metadata={"tags": ["injected-parameters"]})
    notebook.cells.append(cell)
    nbformat.write(notebook, path)
    (page,) = chapters.stage("results/smoke", root=project)
    *others, last = nbformat.read(page, as_version=4).cells
    assert last.metadata["tags"] == ["injected-parameters", "hide-cell"]
    assert all("hide-cell" not in cell.metadata.get("tags", []) for cell in others)


def test_stage_needs_all_chapters(project):
    """A chapter without run.json or notebook stops the staging, before anything is removed."""
    (project / "book" / "chapters").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"Run the chapter first"):
        chapters.stage("results/smoke", root=project)
    (finish_chapter(project) / f"{CHAPTER}.ipynb").unlink()
    with pytest.raises(FileNotFoundError, match=r"No 01_toy\.ipynb in .* Run the chapter again"):
        chapters.stage("results/smoke", root=project)
    assert (project / "book" / "chapters").is_dir()


def test_folders_to_stage_have_to_be_there(project):
    """A folder that does not exist is not an empty one."""
    finish_chapter(project)
    with pytest.raises(FileNotFoundError, match=r"No folder .*reslut\. Run the chapter first"):
        chapters.stage("results/smoke", "reslut", root=project)


def test_banner_of_a_custom_run(project):
    """A banner names changes, the command that repeats the run, and what tasks and page took."""
    info = chapters.read_run_info(finish_chapter(project, "laptop", count=7))
    text = format_banner(info)
    assert "profile *custom*: parameters set by hand (count), else as laptop" in text
    assert ":class: warning" in text
    assert "python -m thesis_lib run 01_toy --profile laptop -p count 7\n" in text
    assert "no commit known. Seeds: 0. Data: test `0123abcd`.\n" in text
    many = format_banner(info | {"data": {"test": "a b c", "training": "a b c d e"}})
    assert "Data: test `a` `b` `c`, training `a` and 4 more.\n" in many
    info |= {"duration_s": 30, "device": "cpu"}
    assert "\n30 s on cpu (" in format_banner(info)
    text = format_banner(info | {"compute_s": 600.0})
    assert "\n10 min of computing; page made in 30 s on cpu (" in text


def test_publish_replaces(project):
    """Chapters published are of one run, and what was measured stays."""
    (project / "published" / "09_old").mkdir(parents=True)
    (project / "published" / "bench.json").touch()
    finish_chapter(project, "laptop")
    published = chapters.publish("laptop", root=project)
    assert {path.name for path in published.iterdir()} == {CHAPTER, "bench.json"}
    assert json.loads((published / CHAPTER / "run.json").read_text())["profile"] == "laptop"
    assert chapters.stage("published", root=project)


def test_chapters_come_from_the_last_folder_that_has_them(project):
    """A chapter that was published alone is shown, unless a newer run of it is named after it."""
    finish_chapter(project, "laptop")
    chapters.publish("laptop", "1", root=project)
    (project / "results" / "smoke").mkdir(parents=True)
    openings = []
    for _ in range(2):
        (page,) = chapters.stage("published", "results/smoke", root=project)
        openings.append(nbformat.read(page, as_version=4).cells[0].source)
        finish_chapter(project)
    assert "Computed with profile *laptop*" in openings[0]
    assert "Computed with profile *smoke*" in openings[1]
