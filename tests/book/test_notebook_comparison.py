"""Tests of what nbval is told to accept in the chapters, and to refuse."""

import base64
import io
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from notebook_comparison import (
    ARITHMETIC,
    TRAINING,
    compare_image,
    compare_outputs,
    compare_text,
    read_band,
)
from PIL import Image
from tiny_project import CHAPTER, make_project

from thesis_lib import chapters

PLUGIN = Path(__file__).parents[2] / "notebooks" / "conftest.py"


def draw(level: int, *, width: int = 8) -> str:
    """A grey picture with one pixel of the given level, in base64."""
    pixels = np.full((6, width), 100, dtype=np.uint8)
    pixels[2, 3] = level
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def show(data: dict[str, str]) -> list[NotebookNode]:
    """Outputs of a cell that displays one thing."""
    return [nbformat.v4.new_output("display_data", data)]


@pytest.mark.parametrize(
    ("tags", "band"),
    [([], None), (["training"], TRAINING), (["hide-input", "training-0.3"], 0.3), (["a"], None)],
)
def test_band_is_stated_by_a_tag(tags, band):
    """A cell with training in it says so, and may state its own band."""
    assert read_band(tags) == band


@pytest.mark.parametrize(
    ("new", "old", "n_differences"),
    [
        ("dice 0.9", "dice 0.9000005", 0),
        ("1000.0005 m", "1000.0 m", 0),
        ("a   1\nb  2", "a 1\nb 2", 0),
        ("<td>-1e-3</td>", "<td>-0.001</td>", 0),
        ("dice 0.9", "dice 0.90001", 1),
        ("1000.01 m", "1000.0 m", 1),
        ("bce 0.9", "dice 0.9", 1),
        ("1 2", "1", 1),
        ("64x64", "32x32", 1),
        ("nan", "1.0", 1),
        ("-1", "1", 1),
    ],
)
def test_text_is_words_and_numbers(new, old, n_differences):
    """Numbers may be off by the tolerance and columns may move; words are the same."""
    assert len(compare_text(new, old, ARITHMETIC)) == n_differences


def test_pictures_pixel_by_pixel():
    """One pixel of another colour is a difference, a level of rounding is none."""
    assert compare_image(draw(101), draw(100)) == []
    assert compare_image(draw(140), draw(100)) == ["picture differs in 1 of 48 pixels"]
    assert "shape" in compare_image(draw(100, width=9), draw(100))[0]


def test_training_bands_numbers_and_frees_pictures():
    """Where training is, numbers have a band, pictures need only be there, words stay words."""
    new = show({"text/plain": "bce 0.85", "image/png": draw(0)})
    old = show({"text/plain": "bce 0.90", "image/png": draw(200)})
    assert len(compare_outputs(new, old)) == 2
    assert compare_outputs(new, old, ["training"]) == []
    assert len(compare_outputs(new, old, ["training-0.01"])) == 1
    missing = compare_outputs(show({"text/plain": "bce 0.85"}), old, ["training"])
    assert missing == ["outputs are ['text/plain'], were ['image/png', 'text/plain']"]


def test_the_size_of_a_picture_is_free_where_training_is_in_it():
    """A row more or less in a figure of a training counts as little as its pixels."""
    new, old = (show({"text/plain": f"<Figure size 1050x{n} with 6 Axes>"}) for n in (465, 555.5))
    assert compare_outputs(new, old, ["training"]) == []
    assert len(compare_outputs(new, old)) == 1


def test_glued_numbers_are_compared_and_progress_is_not():
    """A number that prose takes from the cell counts like a printed one, standard error never."""
    kind = "application/papermill.record/text/plain"
    differences = compare_outputs(show({kind: "0.91"}), show({kind: "0.92"}))
    assert differences == ["0.91 was 0.92 (tolerance 1e-06)"]
    progress = nbformat.v4.new_output("stream", name="stderr", text="3 s")
    assert compare_outputs([progress], []) == []


@pytest.fixture(scope="module")
def paired(tmp_path_factory):
    """A project whose chapter has its reference."""
    project = make_project(tmp_path_factory.mktemp("project"))
    (project / "notebooks" / "conftest.py").write_text(PLUGIN.read_text())
    source = project / "notebooks" / f"{CHAPTER}.py"
    before = source.read_text()
    assert chapters.pair(CHAPTER, root=project) == source.with_suffix(".ipynb")
    assert source.read_text() == before
    return project


def run_nbval(project: Path) -> subprocess.CompletedProcess[str]:
    """Run pytest on the notebooks of a project, as `make test` does."""
    words = "-m pytest -q -p no:cacheprovider -p no:randomly -W error --doctest-modules --nbval"
    path = f"pythonpath={Path(__file__).parent}"
    command = [sys.executable, *words.split(), "-o", path, "notebooks"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)


def test_nbval_leaves_a_smoke_run(paired):
    """A reference that holds passes, and the executed chapter stands beside its results."""
    reference = paired / "notebooks" / f"{CHAPTER}.ipynb"
    folder = paired / "results" / "smoke" / CHAPTER
    (folder / reference.name).unlink()
    (paired / "notebooks" / "scratch.ipynb").write_text(reference.read_text())  # of no chapter
    shown = run_nbval(paired)
    assert "5 passed" in shown.stdout, shown.stdout
    assert chapters.read_run_info(folder)["profile"] == "smoke"
    new, old = (nbformat.read(path / reference.name, 4) for path in (folder, reference.parent))
    assert new == old
    assert chapters.stage("results/smoke", root=paired)


def test_nbval_refuses_other_references(paired, tmp_path):
    """A number out of tolerance and a cell that was never executed fail, each by itself."""
    reference = paired / "notebooks" / f"{CHAPTER}.ipynb"
    notebook = nbformat.read(reference, as_version=4)
    notebook.cells[3].outputs[0].text = "sum 4.01\n"
    notebook.cells[-1].execution_count = None
    make_project(tmp_path)
    (tmp_path / "notebooks" / "conftest.py").write_text(PLUGIN.read_text())
    nbformat.write(notebook, tmp_path / "notebooks" / reference.name)
    shown = run_nbval(tmp_path).stdout
    assert "2 failed, 3 passed" in shown, shown
    assert "4 was 4.01 (tolerance 1e-06)" in shown
    assert "The reference was never executed" in shown
    assert not (tmp_path / "results" / "smoke" / CHAPTER / reference.name).exists()
