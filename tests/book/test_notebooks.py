"""Tests of the stored chapters: each .ipynb is its .py, executed as the smoke profile says."""

from pathlib import Path

import jupytext
import nbformat
import pytest
from nbformat import NotebookNode

from thesis_lib import chapters

ROOT = Path(__file__).parents[2]
BLANKS = "lines_to_next_cell"  # what jupytext notes of blank lines in a .py
PROFILES = sorted(path.stem for path in (ROOT / "notebooks" / "params").glob("*.yml"))
every_chapter = pytest.mark.parametrize("chapter", chapters.list_chapters(ROOT))


def read_reference(chapter: str) -> NotebookNode:
    """The stored notebook of a chapter."""
    return nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)


@every_chapter
def test_pair_agrees(chapter):
    """The cells of a pair are the same in kind, text, tags and MyST options."""
    source = jupytext.read(chapters.find_chapter(chapter, ROOT))
    kept = [
        [
            (
                cell.cell_type,
                cell.source,
                {k: v for k, v in cell.metadata.items() if v and k != BLANKS},
            )
            for cell in notebook.cells
        ]
        for notebook in (source, read_reference(chapter))
    ]
    assert kept[0] == kept[1], "Run: python -m thesis_lib pair"


@every_chapter
def test_reference_is_executed(chapter):
    """Code cells were executed in order, without an error and without a path of the machine."""
    notebook = read_reference(chapter)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output.output_type for cell in cells for output in cell.outputs}
    assert "error" not in kinds
    text = nbformat.writes(notebook)
    assert str(ROOT) not in text
    assert "site-packages" not in text


@every_chapter
def test_cell_holds_the_smoke_values(chapter):
    """The parameters cell says what smoke.yml says, value by value."""
    values = chapters.read_parameters(chapters.find_chapter(chapter, ROOT))().model_dump()
    assert values.pop("results_dir") == f"results/smoke/{chapter}"
    assert chapters.load_profile("smoke", ROOT)[chapter] == values


@every_chapter
@pytest.mark.parametrize("profile", PROFILES)
def test_profile_fits(profile, chapter):
    """Every profile sets parameters of every chapter, by names and types that exist."""
    assert chapter in chapters.load_profile(profile, ROOT)
