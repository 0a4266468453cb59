"""Tests of thesis_lib.chapters.running: chapters executed by papermill, and what is stored."""

import tempfile

import nbformat
import pytest
from tiny_project import BODY, CHAPTER, finish_chapter, make_project

from thesis_lib import chapters


def test_smoke_run(tmp_path, monkeypatch, capfd):
    """A run needs no kernelspec and no home, lets output through and leaves all results."""
    project = make_project(tmp_path)
    lying = project / "jupyter" / "kernels" / "python3"
    lying.mkdir(parents=True)
    (lying / "kernel.json").write_text('{"argv": ["false"], "display_name": "No"}')
    monkeypatch.setenv("JUPYTER_PATH", str(project / "jupyter"))
    monkeypatch.setenv("HOME", "/proc/nowhere")
    folder = chapters.run("1", overrides={"mask": "a.npz"}, root=project)
    assert "sum 4\nscore 0.91" in capfd.readouterr().out
    assert folder == project / "results" / "custom" / CHAPTER
    assert (folder / "figures" / "a.txt").read_text() == "drawn"
    assert chapters.read_run_info(folder)["profile"] == "custom"
    text = (folder / f"{CHAPTER}.ipynb").read_text()
    notebook = nbformat.reads(text, as_version=4)
    injected = next(c for c in notebook.cells if c.metadata.get("tags") == ["injected-parameters"])
    assert 'mask = "a.npz"' in injected.source
    assert "count" not in injected.source
    assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")
    assert str(project) not in text


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("raise ValueError('No such file:\\n a.npz')", "cell 2: ValueError: No such file: a.npz"),
        ("import os; os._exit(1)", "its kernel died"),
    ],
)
def test_failing_chapter(tmp_path, line, match):
    """A chapter that fails reports why in one line, and leaves the results of the last run."""
    project = make_project(tmp_path, body=f"# %%\n{line}\n")
    kept = finish_chapter(project)
    with pytest.raises(chapters.ChapterError, match=match) as caught:
        chapters.run(CHAPTER, root=project)
    assert "\n" not in str(caught.value)
    assert (kept / "table1.csv").is_file()
    assert kept.with_name(f"{CHAPTER}.failed.ipynb").is_file()


def test_nothing_of_the_user_runs_in_a_chapter(tmp_path, monkeypatch):
    """Start-up files of IPython and Python stay out, and a long temporary folder is no trouble."""
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    scratch = tmp_path / ("long" * 25)
    for folder in (startup, scratch):
        folder.mkdir(parents=True)
    (startup / "a.py").write_text("mine = 1")
    (tmp_path / "start.py").write_text("mine = 1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "start.py"))
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    body = BODY.replace("# %%\nprint", "# %%\nassert 'mine' not in globals()\nprint")
    project = make_project(tmp_path / "project", body=body)
    assert chapters.read_run_info(chapters.run(CHAPTER, root=project))["profile"] == "smoke"


def test_chapter_without_a_page(tmp_path):
    """A chapter without a finished run.json has no results."""
    project = make_project(tmp_path, body="# %%\n1 + 1\n")
    with pytest.raises(FileNotFoundError, match=r"No run\.json"):
        chapters.run(CHAPTER, root=project)


def test_notebooks_hold_nothing_of_the_machine(tmp_path):
    """A written notebook keeps tags, MyST options and glue, and nothing that time changes."""
    total = nbformat.v4.new_output(
        "display_data", {"text/plain": "1.0"}, metadata={"scrapbook": {"name": "total"}}
    )
    streams = [nbformat.v4.new_output("stream", name=name) for name in ("stdout", "stderr")]
    cell = nbformat.v4.new_code_cell("1", outputs=[total, *streams])
    cell.metadata.update(tags=["training"], mystnb={"figure": {}}, papermill={"start": "now"})
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"path": "/x"}})
    chapters.write_notebook(notebook, tmp_path / "a.ipynb")
    written = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    (cell,) = written.cells
    assert list(written.metadata) == ["kernelspec"]
    assert cell.metadata == {"tags": ["training"], "mystnb": {"figure": {}}}
    assert cell.id == "cell-000"
    assert cell.outputs[0].metadata["scrapbook"]["name"] == "total"
    assert [output.get("name") for output in cell.outputs] == [None, "stdout"]
