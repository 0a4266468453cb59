"""Tests of thesis_lib.chapters: parameters, provenance, runs, pages."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tiny_project import BODY, CHAPTER, PARAMETERS, make_project

from thesis_lib import chapters
from thesis_lib.chapters.staging import banner

SMOKE = {"count": 2, "rate": 0.5, "losses": ["bce", "dice"], "mask": None, "lines": []}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with one chapter, nothing run."""
    return make_project(tmp_path)


def finish(
    project: Path, profile: str = "smoke", *, compute_s: float | None = None, **changes: Any
) -> Path:
    """Leave the results of a finished run, without running anything."""
    values = chapters.resolve_parameters(CHAPTER, profile, changes, project)
    folder = chapters.open_results(CHAPTER, values, root=project)
    (folder / "table1.csv").write_text("loss,dice\nbce,0.9\n")
    chapters.close_results(
        folder, data={"test": "0123abcd"}, seeds=[0], compute_s=compute_s, root=project
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Why?\nBecause.")])
    chapters.write_notebook(notebook, folder / f"{CHAPTER}.ipynb")
    return folder


def test_types_come_from_values_and_annotations(project: Path) -> None:
    """A parameter has the type that its annotation says, else that of its value."""
    parameters = chapters.read_parameters(chapters.find_chapter(CHAPTER, project))
    assert {name: parameter.kind for name, parameter in parameters.items()} == {
        "count": int,
        "rate": float,
        "losses": list[str],
        "mask": str | None,
        "lines": list[int],
        "results_dir": str,
    }
    assert {name: parameters[name].default for name in SMOKE} == SMOKE


@pytest.mark.parametrize(
    "line",
    ["a = None", "a = []", "a = 1 + n", "a, b = 1, 2", "a: Path = 'x'", "import os", "a = {1}"],
)
def test_only_flat_literals(tmp_path: Path, line: str) -> None:
    """A line of the parameters cell that is no typed literal is refused."""
    project = make_project(tmp_path, parameters=line)
    with pytest.raises(ValueError, match=r"Must be name = literal"):
        chapters.read_parameters(chapters.find_chapter(CHAPTER, project))


@pytest.mark.parametrize(("body", "count"), [(BODY.replace("training", "parameters"), 2)])
def test_one_parameters_cell(tmp_path: Path, body: str, count: int) -> None:
    """A chapter has exactly one cell tagged parameters."""
    project = make_project(tmp_path, body=body)
    with pytest.raises(ValueError, match=f"{count} cells are tagged parameters"):
        chapters.read_parameters(chapters.find_chapter(CHAPTER, project))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 1.5),
        ("count", True),
        ("count", "4"),
        ("rate", False),
        ("losses", "bce"),
        ("losses", ["bce", 1]),
        ("mask", 1),
        ("lines", [1.0]),
    ],
)
def test_wrong_type(project: Path, name: str, value: Any) -> None:
    """A value of another type is refused, a bool for an int too."""
    with pytest.raises(TypeError, match=f"Invalid {name} .* Must be"):
        chapters.resolve_parameters(CHAPTER, "smoke", {name: value}, project)


@pytest.mark.parametrize(
    ("name", "value"), [("rate", 1), ("mask", "a.npz"), ("lines", [7]), ("losses", [])]
)
def test_right_type(project: Path, name: str, value: Any) -> None:
    """An int serves as a float, and a list may be empty."""
    values = chapters.resolve_parameters(CHAPTER, "smoke", {name: value}, project)
    assert values[name] == value
    assert isinstance(values["rate"], float)


def test_a_mapping_is_one_parameter(tmp_path: Path) -> None:
    """A parameter may map names to anything; the command that repeats the run holds it whole."""
    project = make_project(tmp_path, parameters=f"reading: dict = {{}}\n{PARAMETERS}")
    value = {"mask": "label", "dims": ["time", "inline"], "sample_interval": 4.0}
    folder = finish(project, reading=value)
    info = chapters.read_run_info(folder)
    assert info["parameters"]["reading"] == value
    words = shlex.split(info["command"])
    assert chapters.parse_value(words[words.index("reading") + 1]) == value
    for wrong in ([], "mask", {1: "mask"}):
        with pytest.raises(TypeError, match=r"Invalid reading .* Must be dict"):
            chapters.resolve_parameters(CHAPTER, "smoke", {"reading": wrong}, project)


def test_misspelt_name(project: Path) -> None:
    """An unknown name is refused with the nearest one and all that are allowed."""
    with pytest.raises(ValueError, match=r"'cuont'.*mean 'count'.*one of: count, rate, losses"):
        chapters.resolve_parameters(CHAPTER, "smoke", {"cuont": 1}, project)


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4), ("1e-3", 1e-3), ('["dice"]', ["dice"]), ("null", None), ("gulf", "gulf")],
)
def test_values_from_the_command_line(text: str, value: Any) -> None:
    """A value is read as YAML, with 1e-3 as the number it is."""
    assert chapters.parse_value(text) == value


def test_value_that_is_no_yaml() -> None:
    """A value that is not YAML is refused."""
    with pytest.raises(ValueError, match=r"Invalid value '\[a'"):
        chapters.parse_value("[a")


def test_profile_then_override(project: Path) -> None:
    """An override goes before the profile, the profile before the cell."""
    assert chapters.resolve_parameters(CHAPTER, "laptop", {}, project)["count"] == 4
    values = chapters.resolve_parameters(CHAPTER, "laptop", {"count": 5}, project)
    assert (values["count"], values["rate"]) == (5, 0.5)


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ({}, "results/laptop/01_toy"),
        ({"count": 4}, "results/laptop/01_toy"),
        ({"count": 5}, "results/custom/01_toy"),
        ({"count": 5, "results_dir": "elsewhere"}, "elsewhere"),
    ],
)
def test_results_folder(project: Path, overrides: Any, folder: str) -> None:
    """A changed value sends the results to custom, an unchanged one does not."""
    values = chapters.resolve_parameters(CHAPTER, "laptop", overrides, project)
    assert values["results_dir"] == folder


def test_unknown_profile(project: Path) -> None:
    """An unknown profile is refused with those there are."""
    with pytest.raises(ValueError, match=r"Invalid profile 'huge'. Must be one of: 'laptop', "):
        chapters.load_profile("huge", project)


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("[1]", ValueError, "Must map chapters"),
        ("02_no: {}", ValueError, "Invalid chapter in bad.yml '02_no'"),
        ("01_toy: {cout: 1}", ValueError, "Invalid parameter 'cout'"),
        ("01_toy: {count: many}", TypeError, "Invalid count 'many'"),
        ("01_toy: 3", ValueError, "Must map chapters"),
    ],
)
def test_bad_profile(project: Path, text: str, error: type[Exception], match: str) -> None:
    """A profile that does not fit the chapters is refused."""
    (project / "notebooks" / "params" / "bad.yml").write_text(text)
    with pytest.raises(error, match=match):
        chapters.load_profile("bad", project)


@pytest.mark.parametrize("name", ["1", "01", CHAPTER])
def test_chapter_by_number_or_name(project: Path, name: str) -> None:
    """A chapter is found by its number or its name."""
    assert chapters.find_chapter(name, project).name == f"{CHAPTER}.py"


@pytest.mark.parametrize("name", ["2", "toy"])
def test_unknown_chapter(project: Path, name: str) -> None:
    """An unknown chapter is refused with those there are."""
    with pytest.raises(ValueError, match=f"Invalid chapter '{name}'. Must be one of: '01_toy'"):
        chapters.find_chapter(name, project)


def test_project_root(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The project is the one around the working folder, else the one of the library."""
    monkeypatch.chdir(project / "notebooks")
    assert chapters.project_root() == project
    monkeypatch.chdir("/")
    assert (chapters.project_root() / "thesis_lib" / "chapters").is_dir()


def test_run_info(project: Path) -> None:
    """A finished run says profile, parameters, data, seeds, machine, versions and command."""
    info = chapters.read_run_info(finish(project, "laptop"))
    assert (info["chapter"], info["profile"]) == (CHAPTER, "laptop")
    assert info["parameters"] == {
        **SMOKE,
        "count": 4,
        "results_dir": "results/laptop/01_toy",
    }
    assert (info["data"], info["seeds"]) == ({"test": "0123abcd"}, [0])
    assert info["duration_s"] >= 0
    assert {"torch", "numpy", "papermill"} <= set(info["libraries"])
    assert {"device", "cpu", "python", "started", "commit", "dirty"} <= set(info)


def test_label_comes_from_the_values(project: Path) -> None:
    """Changed parameters make a run custom, whatever folder it writes to."""
    folder = finish(project, "smoke", count=3, results_dir=f"results/smoke/{CHAPTER}")
    assert chapters.read_run_info(folder)["profile"] == "custom"


@pytest.mark.parametrize(
    "changes", [{}, {"count": 3}, {"losses": ["dice"], "mask": "my file.npz", "rate": 1e-7}]
)
def test_command_repeats_the_run(project: Path, changes: Any) -> None:
    """The command of a run, read back, gives the same parameters."""
    info = chapters.read_run_info(finish(project, "laptop", **changes))
    _, _, _, _, chapter, _, profile, *rest = shlex.split(info["command"])
    pairs = zip(rest[1::3], rest[2::3], strict=True)
    overrides = {name: chapters.parse_value(text) for name, text in pairs}
    again = chapters.resolve_parameters(chapter, profile, overrides, project)
    assert again == info["parameters"]


def test_opening_empties_the_folder(project: Path) -> None:
    """Files of an earlier run never mix with those of a later one."""
    folder = finish(project)
    (folder / "figures").mkdir()
    values = chapters.resolve_parameters(CHAPTER, "smoke", {}, project)
    chapters.open_results(CHAPTER, values, root=project)
    assert [path.name for path in folder.iterdir()] == ["run.json"]
    with pytest.raises(ValueError, match=r"Unfinished results"):
        chapters.read_run_info(folder)


def test_foreign_folder(project: Path) -> None:
    """A folder with anybody else's files is not emptied."""
    values = chapters.resolve_parameters(CHAPTER, "smoke", {"results_dir": "."}, project)
    with pytest.raises(ValueError, match=r"Invalid results_dir .* holds 'notebooks'"):
        chapters.open_results(CHAPTER, values, root=project)
    assert (project / "notebooks" / "params").is_dir()


@pytest.mark.parametrize("text", ["{}", '{"chapter": "09_other"}', "[1]", "no JSON", "\xff"])
def test_foreign_run_info(project: Path, text: str) -> None:
    """A folder whose run.json no chapter of the project wrote is left as it is."""
    folder = project / "elsewhere"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "thesis.tex").write_text("A year of work.")
    (folder / "run.json").write_text(text, encoding="latin-1")
    values = chapters.resolve_parameters(CHAPTER, "smoke", {"results_dir": str(folder)}, project)
    with pytest.raises(ValueError, match=r"holds 'docs', no run\.json of a chapter"):
        chapters.open_results(CHAPTER, values, root=project)
    assert (folder / "docs" / "thesis.tex").read_text() == "A year of work."
    assert (folder / "run.json").read_text(encoding="latin-1") == text


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        (f"{CHAPTER}.failed.ipynb", True),
        (f"{CHAPTER}.ipynb", True),
        (f"{CHAPTER}_notes.txt", False),
        (f"{CHAPTER}.ipynb/notes.txt", False),
    ],
)
def test_folder_without_run_info(project: Path, name: str, ours: bool) -> None:
    """Without run.json, a folder is a chapter's if it holds its notebook and nothing else."""
    values = chapters.resolve_parameters(CHAPTER, "smoke", {}, project)
    path = project / values["results_dir"] / name
    path.parent.mkdir(parents=True)
    path.touch()
    if ours:
        chapters.open_results(CHAPTER, values, root=project)
    else:
        with pytest.raises(ValueError, match=r"Must be a new or empty folder"):
            chapters.open_results(CHAPTER, values, root=project)
    assert path.exists() != ours


def test_wrong_type_in_the_notebook(project: Path) -> None:
    """Values that came past the command line are checked too."""
    namespace = {**SMOKE, "results_dir": "results/x", "losses": "bce"}
    with pytest.raises(TypeError, match=r"Invalid losses 'bce'"):
        chapters.open_results(CHAPTER, namespace, root=project)


def test_no_run_info(tmp_path: Path) -> None:
    """A folder without run.json was not run."""
    with pytest.raises(FileNotFoundError, match=r"Run the chapter first"):
        chapters.read_run_info(tmp_path)


def test_commit(project: Path) -> None:
    """The commit is that of the project's repository, None without one, dirty if changed."""
    assert chapters.read_run_info(finish(project))["commit"] is None
    git = ["git", "-C", str(project), "-c", "user.name=A", "-c", "user.email=a@b.org"]
    (project / ".gitignore").write_text("results\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "Start"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    info = chapters.read_run_info(finish(project))
    assert (info["commit"], info["dirty"]) == (head.stdout.strip(), False)
    (project / "new.py").write_text("")
    assert chapters.read_run_info(finish(project))["dirty"] is True


def test_smoke_run(
    project: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A run needs no kernelspec and no home, lets output through and leaves all results."""
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
        (
            "raise ValueError('No such file:\\n a.npz')",
            "cell 2: ValueError: No such file: a.npz",
        ),
        ("import os; os._exit(1)", "its kernel died"),
    ],
)
def test_failing_chapter(tmp_path: Path, line: str, match: str) -> None:
    """A chapter that fails says why in one line and keeps its notebook under another name."""
    project = make_project(tmp_path, body=f"# %%\n{line}\n")
    with pytest.raises(chapters.ChapterError, match=match) as caught:
        chapters.run(CHAPTER, root=project)
    assert "\n" not in str(caught.value)
    kept = [path.name for path in (project / "results" / "smoke" / CHAPTER).iterdir()]
    assert kept == [f"{CHAPTER}.failed.ipynb"]


def test_chapter_that_does_not_close(tmp_path: Path) -> None:
    """A chapter without a finished run.json has no results."""
    project = make_project(tmp_path, body="# %%\n1 + 1\n")
    with pytest.raises(FileNotFoundError, match=r"No run\.json"):
        chapters.run(CHAPTER, root=project)


def test_pair_refuses_other_values(tmp_path: Path) -> None:
    """The cell of a reference must hold the smoke values."""
    project = make_project(tmp_path, parameters=PARAMETERS.replace("count = 2", "count = 3"))
    with pytest.raises(ValueError, match=r"count differ from smoke\.yml.*'count': 2"):
        chapters.pair(CHAPTER, root=project)


def test_stage(project: Path) -> None:
    """The book gets the notebooks with a banner, the results without notebooks, nothing old."""
    finish(project)
    old = project / "book" / "chapters" / "09_old.ipynb"
    old.parent.mkdir(parents=True)
    old.touch()
    (page,) = chapters.stage("results/smoke", root=project)
    assert page == project / "book" / "chapters" / f"{CHAPTER}.ipynb"
    opening = nbformat.read(page, as_version=4).cells[0].source
    assert opening.startswith("# Why?\n\n````{admonition} Computed with profile *smoke*: ")
    assert opening.endswith("````\n\nBecause.")
    results = project / "book" / "results" / CHAPTER
    assert sorted(path.name for path in results.iterdir()) == ["run.json", "table1.csv"]
    assert not old.exists()


def test_stage_tabulates_the_claims(project: Path) -> None:
    """The book gets a table of all claims, in which those that no chapter decided are not run."""
    finish(project)
    chapters.stage("results/smoke", root=project)
    results = project / "book" / "results"
    assert {path.stem for path in results.glob("*.csv")} == {"claims", "checks", "verdicts"}
    header, *rows = (results / "claims.csv").read_text(encoding="utf-8").splitlines()
    assert header.startswith("Claim,Source,Measure and rule,Verdict,")
    assert rows
    assert all(row.endswith(",**not run**,–,–") for row in rows)


def test_banner_of_a_custom_run(project: Path) -> None:
    """A banner names what was changed and the command that does it again."""
    text = banner(chapters.read_run_info(finish(project, "laptop", count=7)))
    assert "profile *custom*: parameters set by hand (count), else as laptop" in text
    assert ":class: warning" in text
    assert "python -m thesis_lib run 01_toy --profile laptop -p count 7\n" in text
    assert "no commit known" in text


def test_stage_needs_all_chapters(project: Path) -> None:
    """A chapter that was not run stops the staging, before anything is removed."""
    (project / "book" / "chapters").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"Run the chapter first"):
        chapters.stage("results/smoke", root=project)
    assert (project / "book" / "chapters").is_dir()


def test_banner_tells_training_from_the_page(project: Path) -> None:
    """Where a chapter says how long its runs took, the banner has both times, else its own."""
    info = chapters.read_run_info(finish(project, compute_s=600.04))
    assert info["compute_s"] == 600.0
    text = banner(info | {"duration_s": 30, "device": "cpu"})
    assert "\n10 min of training; page made in 30 s on cpu (" in text
    info = chapters.read_run_info(finish(project))
    assert "compute_s" not in info
    assert "\n30 s on cpu (" in banner(info | {"duration_s": 30, "device": "cpu"})


def test_stage_needs_the_executed_notebook(project: Path) -> None:
    """Results whose notebook was not written any more stop the staging, before it removes."""
    (finish(project) / f"{CHAPTER}.ipynb").unlink()
    (project / "book" / "chapters").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"No 01_toy\.ipynb in .* Run the chapter again"):
        chapters.stage("results/smoke", root=project)
    assert (project / "book" / "chapters").is_dir()


def test_page_without_title(project: Path) -> None:
    """A page starts with its title."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("No title")])
    chapters.write_notebook(notebook, finish(project) / f"{CHAPTER}.ipynb")
    with pytest.raises(ValueError, match=r"Invalid first line 'No title'"):
        chapters.stage("results/smoke", root=project)


def test_publish_replaces(project: Path) -> None:
    """What is published is one run and nothing of an earlier one."""
    (project / "published" / "09_old").mkdir(parents=True)
    finish(project, "laptop")
    published = chapters.publish("laptop", root=project)
    assert [path.name for path in published.iterdir()] == [CHAPTER]
    assert json.loads((published / CHAPTER / "run.json").read_text())["profile"] == "laptop"
    assert chapters.stage("published", root=project)


def test_publish_refuses_big_files(project: Path) -> None:
    """A file that is too big for the repository is refused by name and size."""
    (finish(project) / "volume.bin").write_bytes(bytes(5_200_000))
    with pytest.raises(ValueError, match=r"volume\.bin: 5\.2 MB. Must be at most 5 MB"):
        chapters.publish("smoke", root=project)


def test_notebooks_hold_nothing_of_the_machine(tmp_path: Path) -> None:
    """A written notebook keeps tags, MyST options and glue, and nothing that time changes."""
    output = nbformat.v4.new_output(
        "display_data", {"text/plain": "1.0"}, metadata={"scrapbook": {"name": "total"}}
    )
    cell = nbformat.v4.new_code_cell("1", outputs=[output])
    cell.metadata.update(tags=["training"], mystnb={"figure": {}}, papermill={"start": "now"})
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"path": "/x"}})
    chapters.write_notebook(notebook, tmp_path / "a.ipynb")
    written = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    assert list(written.metadata) == ["kernelspec"]
    assert written.cells[0].metadata == {"tags": ["training"], "mystnb": {"figure": {}}}
    assert written.cells[0].id == "cell-000"
    assert written.cells[0].outputs[0].metadata["scrapbook"]["name"] == "total"


def test_standard_error_is_not_stored(tmp_path: Path) -> None:
    """Progress bars and warnings, with their paths, stay out of stored notebooks."""
    streams = [
        nbformat.v4.new_output("stream", name=name, text=name) for name in ("stdout", "stderr")
    ]
    cell = nbformat.v4.new_code_cell("run()", outputs=streams)
    chapters.write_notebook(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    stored = nbformat.read(tmp_path / "a.ipynb", as_version=4)
    assert [output.name for output in stored.cells[0].outputs] == ["stdout"]


def test_stored_results_tell_their_origin(project: Path) -> None:
    """Results kept in the book say when, on what and by which command; none are said to be none."""
    told = chapters.tell_origin(finish(project, count=9))
    assert re.search(r"Stored by a run of this chapter on \d{4}-\d\d-\d\d, .* seeds 0: ", told)
    assert told.endswith("run 01_toy --profile laptop -p count 9")
    assert chapters.tell_origin(project / "nowhere").startswith("No such run")
