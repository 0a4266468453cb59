"""Films and section browsers on a page: their controls, their data, and what is there without."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

from thesis_lib.plotting import make_film

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "book" / "_static"
VOLUME = {
    "axes": [
        {"name": name, "unit": "m", "first": 0.0, "step": 25.0, "size": size}
        for name, size in (("inline", 4), ("crossline", 6), ("depth", 8))
    ],
    "amplitude": "",
    "truth": "",
    "predictions": {"BCE + <Dice>": "", "MSE": ""},
}
PAGE = """
Title
=====

.. image:: still.png
   :alt: The still figure

.. film:: results/04_some/blocks.json
   :title: Step through "them"

   What is to be seen.

.. section-browser:: results/02_some/sections.json
   :title: Browse

.. film:: results/02_some/never_run.json
   :title: Nothing
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder of a built book: a page with pieces in a folder, and one without."""
    folder = tmp_path_factory.mktemp("book")
    film = make_film({"a": np.zeros((3, 2, 2))}, frames=["x & y", "second", "third"])
    pages = folder / "pages"
    for path, content in (("04_some/blocks", film), ("02_some/sections", VOLUME)):
        target = pages / "results" / f"{path}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(content), encoding="utf-8")
    (pages / "still.png").write_bytes((ROOT / "published/02_loss_study/answer.png").read_bytes())
    (pages / "moving.rst").write_text(PAGE, encoding="utf-8")
    (folder / "index.rst").write_text("Index\n=====\n\n.. toctree::\n\n   pages/moving\n")
    with pytest.MonkeyPatch.context() as patch, patch_docutils(), docutils_namespace():
        patch.syspath_prepend(str(ROOT / "book" / "_extensions"))
        app = Sphinx(
            srcdir=folder,
            confdir=None,
            outdir=folder / "html",
            doctreedir=folder / "trees",
            buildername="html",
            confoverrides={
                "extensions": ["moving_pieces"],
                "html_static_path": [str(STATIC)],
                "html_theme": "basic",
                "suppress_warnings": ["app"],  # of nodes that other builds registered
            },
            status=None,
            warningiserror=True,
        )
        app.build()
    return folder / "html"


@pytest.fixture(scope="module")
def page(built):
    """The page with pieces."""
    text = (built / "pages" / "moving.html").read_text(encoding="utf-8")
    return BeautifulSoup(text, "html.parser")


def test_pieces_without_results_are_left_out(page):
    """There is a piece for each file of results, and none for what was not run."""
    assert [piece["data-moving"] for piece in page.select("[data-moving]")] == ["film", "sections"]


def test_pieces_wait_for_a_script(page):
    """Without JavaScript no piece is shown, and the still figure is."""
    assert all(piece.has_attr("hidden") for piece in page.select("[data-moving]"))
    still = page.select_one("img")
    assert still["alt"] == "The still figure"
    assert still.find_parent("section", class_="moving") is None


def test_nothing_moves_on_paper():
    """The style hides pieces in print, whatever the script showed."""
    style = (STATIC / "moving.css").read_text(encoding="utf-8")
    assert re.search(r"@media print \{\s*\.moving \{\s*display: none;", style)


def test_data_are_loaded_from_beside_the_page(built, page):
    """The address of the data leads from the page to a script that sets them under their name."""
    for piece in page.select("[data-moving]"):
        script = (built / "pages" / piece["data-source"]).resolve().read_text(encoding="utf-8")
        name, content = re.fullmatch(r'[^[]*\[("[\w-]+")\] = (.*);\n', script, re.DOTALL).groups()
        assert json.loads(name) == piece["data-name"]
        assert {"frames", "axes"} & json.loads(content).keys()
    assert page.select(f'script[src*="{piece["data-name"]}"]') == []


def test_script_and_style_are_on_pages_with_pieces_alone(built, page):
    """A page without a piece loads neither."""
    other = BeautifulSoup((built / "index.html").read_text(encoding="utf-8"), "html.parser")
    for parsed, n in ((page, 1), (other, 0)):
        assert len(parsed.select('script[src*="moving.js"]')) == n
        assert len(parsed.select('link[href*="moving.css"]')) == n
    assert (built / "_static" / "moving.js").is_file()


def test_controls_of_a_film(page):
    """A slider from the first to the last frame, buttons, the first label, and what is said."""
    film = page.select_one('[data-moving="film"]')
    slider = film.select_one("input.moving-slider")
    assert (slider["type"], slider["min"], slider["max"]) == ("range", "0", "2")
    assert [button.text for button in film("button")] == ["◀", "▶", "Play"]
    assert film.select_one("output").text == "x & y"
    assert film["aria-label"] == 'Step through "them"'
    assert film("p")[-1].text == "What is to be seen."


def test_controls_of_a_browser(page):
    """Directions and predictions to choose from, with the middle section first."""
    browser = page.select_one('[data-moving="sections"]')
    slider = browser.select_one("input.moving-slider")
    assert (slider["max"], slider["value"]) == ("3", "1")
    choices = [[label.text.strip() for label in field("label")] for field in browser("fieldset")]
    assert choices == [["inlines", "crosslines", "depth slices"], ["BCE + <Dice>", "MSE"]]
    assert len(browser.select("input[type=radio][checked]")) == 2
    assert len(browser.select("input[type=checkbox][checked]")) == 3


def test_every_control_has_a_name(page):
    """Each control lies in a label or says what it does, for who does not see it."""
    controls = page.select("[data-moving] input, [data-moving] button")
    silent = [
        control
        for control in controls
        if not (control.get("aria-label") or control.text or control.find_parent("label"))
    ]
    assert controls
    assert silent == []


def test_the_script_asks_for_what_the_pages_have(page):
    """Every class that the script looks for is one of a control, or one that it makes itself."""
    script = (STATIC / "moving.js").read_text(encoding="utf-8")
    wanted = set(re.findall(r'querySelector(?:All)?\("\.([\w-]+)"\)', script))
    there = {
        name for element in page.select("[data-moving] *") for name in element.get("class", ())
    }
    assert len(wanted) > 8
    assert wanted <= there


@pytest.mark.parametrize("key", ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"])
def test_pictures_listen_to_arrow_keys(key):
    """The stage moves by each of the arrow keys, as the sliders do on their own."""
    script = (STATIC / "moving.js").read_text(encoding="utf-8")
    (listener,) = re.findall(r'stage\.addEventListener\("keydown".*?\n    \}\);', script, re.DOTALL)
    assert key in listener
