"""No number is typed: one that changes in the results changes on every page that mentions it."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from thesis_lib.chapters import stage

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = "02_loss_study"
CHANGED, OF_TABLE = "0.4321", "0.5432"  # of which no result knows anything
PAGES = ("intro", "claims", "conclusions", "notation", "reproducing", "runs", "reproducibility")
PIXEL = (  # the smallest PNG
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGA"
    "WjR9awAAAABJRU5ErkJggg=="
)
CONFIG = f"""
import sys
sys.path.insert(0, {str(ROOT / "book" / "_extensions")!r})
extensions = ["myst_nb", "sphinx_design", "sphinxcontrib.bibtex", "origins", "run_pages"]
bibtex_bibfiles = [{str(ROOT / "book" / "references.bib")!r}]
myst_enable_extensions = [
    "amsmath", "attrs_inline", "colon_fence", "deflist", "dollarmath", "substitution"
]
nb_execution_mode = "off"
numfig = True
smartquotes = False
root_doc = "book/intro"
html_theme = "basic"
exclude_patterns = ["published", "notebooks", "README.md", "_build", "jupyter_execute"]
"""


def find_number(number: str) -> re.Pattern[str]:
    """Match a number where it is no part of a longer one."""
    return re.compile(rf"(?<![\d.]){re.escape(number)}(?!\d)")


def choose_numbers(folder: Path) -> list[str]:
    """Choose scores that a sentence of the answer mentions, and the table too."""
    table = (folder / "table1.csv").read_text(encoding="utf-8")
    sentences = json.loads((folder / "sentences.json").read_text(encoding="utf-8"))
    numbers = re.findall(r"(?<![\d.+-])0\.\d{4}(?!\d)", " ".join(sentences))
    found = [number for number in dict.fromkeys(numbers) if find_number(number).search(table)]
    if len(found) < 2:
        pytest.skip("the sentences of the published answer mention no two scores of the table")
    return found


def copy_sources(folder: Path) -> None:
    """Copy what a few pages are made of: prose, chapters without their pictures, results."""
    (folder / "book").mkdir(parents=True)
    for page in PAGES:
        shutil.copy(ROOT / "book" / f"{page}.md", folder / "book")
    (folder / "notebooks").mkdir()
    for path in (ROOT / "notebooks").glob("*.py"):
        shutil.copy(path, folder / "notebooks")
    ignored = shutil.ignore_patterns("runs")
    shutil.copytree(ROOT / "published", folder / "published", ignore=ignored)
    for path in (folder / "published").glob("*/*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                if "image/png" in output.get("data", {}):
                    output["data"]["image/png"] = PIXEL
        nbformat.write(notebook, path)
    for name in ("README.md", "_config.yml"):
        shutil.copy(ROOT / name, folder)
    (folder / "conf.py").write_text(CONFIG, encoding="utf-8")


def build(folder: Path) -> dict[str, str]:
    """Put pages and README together from ``published/`` as the book does; return their texts."""
    stage("published", root=folder)
    runpy.run_path(str(ROOT / "book" / "readme.py"))["main"](folder)
    command = [sys.executable, "-m", "sphinx", "-Q", "-E", "-b", "html", ".", "_build"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=folder, env=environment, check=True)
    texts = {
        path.stem: BeautifulSoup(path.read_text("utf-8"), "html.parser").select_one("div.body").text
        for path in (folder / "_build" / "book").rglob("*.html")
    }
    return texts | {"README": (folder / "README.md").read_text(encoding="utf-8")}


def count(texts: dict[str, str], number: str) -> dict[str, int]:
    """Count how often each page that mentions a number does so."""
    found = {page: len(find_number(number).findall(text)) for page, text in texts.items()}
    return {page: times for page, times in found.items() if times}


def replace_number(folder: Path, old: str, new: str) -> None:
    """Replace a number in all results of a chapter, as a run with another outcome would."""
    for path in folder.iterdir():
        if path.suffix in (".csv", ".json", ".ipynb"):
            text = path.read_text(encoding="utf-8")
            path.write_text(find_number(old).sub(new, text), encoding="utf-8")


def test_a_changed_score_changes_on_every_page(tmp_path):
    """
    A changed score appears in sentences, tables and README, and the old one nowhere.

    A changed cell of table1.csv appears on the first page, in its chapter and in README.
    """
    results = tmp_path / "published" / CHAPTER
    copy_sources(tmp_path)
    number, other, *_ = choose_numbers(results)
    before = build(tmp_path)
    mentioned = count(before, number)
    assert {"intro", CHAPTER, "README"} <= mentioned.keys()
    assert count(before, CHANGED) == count(before, OF_TABLE) == {}
    replace_number(results, number, CHANGED)
    path = results / "table1.csv"
    text, n_cells = find_number(other).subn(OF_TABLE, path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")
    after = build(tmp_path)
    assert count(after, CHANGED) == mentioned
    assert count(after, number) == {}
    assert count(after, OF_TABLE) == dict.fromkeys(("intro", CHAPTER, "README"), n_cells)
