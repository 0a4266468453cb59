"""The line under figures and tables, and the pages of runs: what is recorded is what they state."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup, Tag

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "02_loss_study"
ADDRESS = "https://example.org/repository"
INTRO = """# Start

```{csv-table} Scores.
:file: results/02_loss_study/table1.csv
:name: table-scores
```

```{csv-table} Claims.
:file: results/claims.csv
:name: table-claims
```

```{csv-table} Speed.
:file: results/bench.csv
:name: table-speed
```

```{csv-table} What the thesis has.
:file: reference/thesis.csv
:name: table-thesis
```

```{figure} results/02_loss_study/answer.png
:name: fig-answer
:alt: nothing
An answer.
```

```{toctree}
runs
reproducibility
chapters/02_loss_study
```
"""
CONFIG = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_extensions")!r})
extensions = ["myst_nb", "sphinx_design", "origins", "run_pages"]
myst_enable_extensions = ["substitution"]
nb_execution_mode = "off"
numfig = True
root_doc = "book/intro"
html_theme = "basic"
exclude_patterns = ["published", "tests", "_build"]
"""
PIXEL = (  # the smallest PNG
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)


def write_chapter(path: Path) -> None:
    """Write an executed chapter with one figure."""
    picture = nbformat.v4.new_output("display_data", {"image/png": PIXEL})
    figure = {"mystnb": {"figure": {"name": "fig-drawn", "caption": "Drawn."}}}
    cells = [
        nbformat.v4.new_markdown_cell("# Chapter"),
        nbformat.v4.new_code_cell("draw()", outputs=[picture], metadata=figure),
    ]
    language = {"language_info": {"name": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=language), path)


def write_project(folder: Path, address: str | None) -> None:
    """Write a project of one chapter with what is published of it."""
    results = folder / "book" / "results"
    shutil.copytree(ROOT / "published" / CHAPTER, results / CHAPTER, ignore=_no_notebooks)
    for name in ("claims.csv", "bench.csv"):
        (results / name).write_text("one,1\n")
    (folder / "book" / "reference").mkdir()
    (folder / "book" / "reference" / "thesis.csv").write_text("one,1\n")
    (folder / "published").mkdir()
    for name in ("bench.json", "repeats.json"):
        shutil.copy(ROOT / "published" / name, folder / "published")
    shutil.copytree(ROOT / "published" / "runs", folder / "published" / "runs", ignore=_no_tables)
    (folder / "book" / "intro.md").write_text(INTRO)
    shutil.copy(ROOT / "book" / "runs.md", folder / "book")
    (folder / "book" / "reproducibility.md").write_text("# Again\n\n<!-- repeats -->\n")
    (folder / "book" / "chapters").mkdir()
    write_chapter(folder / "book" / "chapters" / f"{CHAPTER}.ipynb")
    (folder / "_config.yml").write_text(f'repository:\n  url: "{address or ""}"\n')
    (folder / "conf.py").write_text(CONFIG)


def _no_notebooks(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".ipynb")]


def _no_tables(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith((".csv", ".nc", ".safetensors"))]


def build(folder: Path) -> None:
    """Build the pages, with warnings as errors."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", ".", "_build"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


def read_page(folder: Path, name: str) -> BeautifulSoup:
    """Parse a built page."""
    path = folder / "_build" / "book" / f"{name}.html"
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def find_line(page: BeautifulSoup, name: str) -> Tag | None:
    """Find the folded line right under the figure or table of a name."""
    found = page.find(id=name)
    assert isinstance(found, Tag)
    below = found.find_next_sibling()
    is_line = isinstance(below, Tag) and "origin" in (below.get("class") or [])
    return below if is_line else None


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Built pages of a project without an address."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, None)
    build(folder)
    return folder


@pytest.fixture(scope="module")
def info():
    """What is recorded of the chapter."""
    return json.loads((ROOT / "published" / CHAPTER / "run.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["table-scores", "fig-answer"])
def test_results_of_a_run_state_their_origin(project, info, name):
    """A table and a figure from a chapter's results state its run, and the command to copy."""
    line = find_line(read_page(project, "intro"), name)
    assert line is not None
    assert line.name == "details"
    runs = info["runs"]
    for fact in (
        f"profile {info['profile']}",
        f"{runs['finished']} of {runs['asked']} runs",
        info["cpu"],
        info["commit"][:10],
        f"torch {info['libraries']['torch']}",
    ):
        assert fact in line.text
    command = line.select_one("div.highlight pre")
    assert command is not None
    assert command.text.strip() == info["command"]


def test_drawn_figures_name_their_cell(project):
    """A figure that a notebook draws names the cell, and its chapter's run."""
    line = find_line(read_page(project, f"chapters/{CHAPTER}"), "fig-drawn")
    assert line is not None
    assert f"Cell fig-drawn of notebooks/{CHAPTER}.py" in line.text


def test_tables_of_the_book_state_theirs(project, info):
    """Claims name the runs that decided them, a measurement its machine."""
    page = read_page(project, "intro")
    claims, speed = find_line(page, "table-claims"), find_line(page, "table-speed")
    assert claims is not None
    assert speed is not None
    assert f"chapter 2 ({info['profile']}" in claims.text
    assert f"make html PROFILE={info['profile']}" in claims.text
    machine = json.loads((ROOT / "published" / "bench.json").read_text())["machine"]
    assert machine["cpu"] in speed.text
    assert "make bench" in speed.text


def test_what_nobody_computed_has_no_origin(project):
    """A table that is no result of a run has no such line."""
    assert find_line(read_page(project, "intro"), "table-thesis") is None


def test_the_line_leads_to_the_run(project):
    """The link of a line ends at the section of its run."""
    line = find_line(read_page(project, "intro"), "table-scores")
    assert line is not None
    link = line.find("a")
    assert isinstance(link, Tag)
    page, _, anchor = str(link["href"]).partition("#")
    assert page == "runs.html"
    section = read_page(project, "runs").find(id=anchor)
    assert isinstance(section, Tag)


def test_the_page_of_runs_has_everything(project, info):
    """Every parameter, data hash, library, seed and the whole commit are on the page of runs."""
    text = read_page(project, "runs").text
    words = {*info["parameters"], *info["libraries"], info["commit"], info["command"]}
    words |= {digest for digests in info["data"].values() for digest in digests.split()}
    assert [word for word in words if word not in text] == []
    assert "<!--" not in text
    assert "{{" not in text


def test_no_address_no_link(project, tmp_path, info):
    """The commit is a link once the address of the repository is set, and none before."""
    outside = 'div.body a[href^="http"]'
    assert read_page(project, "runs").select(outside) == []
    write_project(tmp_path, ADDRESS)
    build(tmp_path)
    links = {str(link["href"]) for link in read_page(tmp_path, "runs").select(outside)}
    assert links == {f"{ADDRESS}/tree/{info['commit']}", f"{ADDRESS}/tree/HEAD/published/runs"}


def test_repeats_are_counted(project):
    """The table of repeated runs has one row per machine, with the numbers that were recorded."""
    entries = json.loads((ROOT / "published" / "repeats.json").read_text(encoding="utf-8"))
    rows = read_page(project, "reproducibility").select("table tbody tr")
    assert len(rows) == len(entries)
    for row, entry in zip(rows, entries, strict=True):
        cells = [cell.text for cell in row("td")]
        assert cells[0].startswith(entry["machine"]["cpu"])
        assert cells[2] == str(len(entry["rows"]))
        numbers = sum(run["numbers"] for run in entry["rows"])
        assert cells[5].endswith(f"of {numbers}")
