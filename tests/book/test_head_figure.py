"""The best figure of a chapter at its head."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).parents[2]
PAGE = """
Title
=====

.. head-figure:: best

Text.

.. figure:: still.png
   :alt: What is to be seen
   :name: best

   The caption.
"""


def build(folder: Path, page: str) -> BeautifulSoup:
    """Build a book of one page."""
    (folder / "still.png").write_bytes((ROOT / "published/02_loss_study/answer.png").read_bytes())
    (folder / "index.rst").write_text(page, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, patch_docutils(), docutils_namespace():
        patch.syspath_prepend(str(ROOT / "book" / "_extensions"))
        app = Sphinx(
            srcdir=folder,
            confdir=None,
            outdir=folder / "html",
            doctreedir=folder / "trees",
            buildername="html",
            confoverrides={
                "extensions": ["head_figure"],
                "html_theme": "basic",
                "suppress_warnings": ["app"],  # of nodes that other builds registered
            },
            status=None,
            warningiserror=True,
        )
        app.build()
    return BeautifulSoup((folder / "html/index.html").read_text("utf-8"), "html.parser")


def test_the_picture_comes_first_and_leads_to_its_figure(tmp_path):
    """The same picture with its words is there twice; the first is a link to the second."""
    page = build(tmp_path, PAGE)
    first, second = page.find_all("img")
    assert first["src"] == second["src"]
    assert first["alt"] == second["alt"] == "What is to be seen"
    target = first.find_parent("a")["href"]
    assert page.select_one(target) is second.find_parent("figure")
    assert len(page.find_all("figcaption")) == 1


def test_a_figure_that_is_not_there_fails_the_build(tmp_path):
    """A name without a figure is named, with those that there are."""
    with pytest.raises(Exception, match=r"Invalid head-figure 'worst'\. Must be among: best"):
        build(tmp_path, PAGE.replace("head-figure:: best", "head-figure:: worst"))
