"""Tests of the claims against the number of seeds, and of the pages that have moving pieces."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx
from sphinx.errors import SphinxWarning
from sphinx.util.docutils import docutils_namespace, patch_docutils

from thesis_lib.study.claim_tables import read_decisions
from thesis_lib.study.claims import find_deciding, read_claims

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "published"
sys.path.insert(0, str(ROOT / "book" / "_extensions"))
import claims_by_seeds  # noqa: E402  an extension of the book
import claims_slider  # noqa: E402

LOSSES = "02_loss_study"


@pytest.fixture(scope="module")
def content():
    """What the page of claims draws of the published results."""
    if not PUBLISHED.is_dir():
        pytest.skip("nothing is published yet")
    return claims_by_seeds.list_claims(PUBLISHED)


def test_every_claim_is_drawn_once(content):
    """The page draws the claims of the thesis and their checks, each once."""
    expected = {claim.id: claim.checks is not None for claim in read_claims()}
    assert len(content["claims"]) == len(expected)
    assert {claim["id"]: claim["check"] for claim in content["claims"]} == expected


def test_all_seeds_give_the_published_verdicts(content):
    """The last step of each claim is the verdict that is published, with effect and bounds."""
    kept = {
        decision.claim.id: decision
        for path in PUBLISHED.glob("*/claims.json")
        for decision in read_decisions(path)
    }
    assert len(kept) == len(content["claims"])
    for claim in content["claims"]:
        decision, last = kept[claim["id"]], claim["steps"][-1]
        assert last["verdict"] == decision.verdict, claim["id"]
        effect, low, high = find_deciding(decision)
        found = np.array([last["mean"], last["low"], last["high"]], dtype=float)  # None: NaN
        np.testing.assert_allclose(found, [effect.mean, low, high], rtol=1e-5, err_msg=claim["id"])


def test_each_step_knows_the_first_seeds_only(content, tmp_path):
    """Other scores of the last seed change the last step alone, and there is a step per seed."""
    folder = shutil.copytree(PUBLISHED / LOSSES, tmp_path / LOSSES)
    scores = pd.read_csv(folder / "scores.csv")
    last = scores["seed"] == scores["seed"].max()
    measures = ["dice", "perimetric_similarity", "surface_dice"]
    scores.loc[last, measures] = np.random.default_rng(0).random((last.sum(), len(measures)))
    scores.to_csv(folder / "scores.csv", index=False)
    changed = {
        claim["id"]: claim["steps"] for claim in claims_by_seeds.list_claims(tmp_path)["claims"]
    }
    own = [claim for claim in content["claims"] if changed[claim["id"]]]
    assert {claim["task"] for claim in own} == {"Losses"}
    for claim in own:
        assert len(claim["steps"]) == scores["seed"].nunique() == content["n_seeds"]
        assert changed[claim["id"]][:-1] == claim["steps"][:-1]
        assert changed[claim["id"]][-1] != claim["steps"][-1]


def test_too_few_seeds_decide_nothing(content):
    """With one seed and with two no claim is supported, tied or contradicted."""
    early = {step["verdict"] for claim in content["claims"] for step in claim["steps"][:2]}
    assert early <= {"undecided", "no valid measure found"}


def test_without_results_no_claim_has_a_step(tmp_path):
    """Where no chapter was run the page has all claims, and nothing to draw of them."""
    content = claims_by_seeds.list_claims(tmp_path)
    assert content["n_seeds"] == 0
    assert {len(claim["steps"]) for claim in content["claims"]} == {0}


def test_script_is_one_statement_of_json(content):
    """The page loads a script, not JSON, and its numbers are those of the library."""
    name, text = claims_slider.format_script(content).split(" = ", maxsplit=1)
    assert name == "globalThis.claimsBySeeds"
    assert json.loads(text.removesuffix(";\n")) == content


def build(folder: Path, settings: dict[str, Any]) -> None:
    """Build pages with both pieces; a warning is an error."""
    settings["extensions"] = ["loss_explorer", "claims_slider"]
    paths = (folder, None, folder / "html", folder / "cache")
    with patch_docutils(), docutils_namespace():
        app = Sphinx(*paths, "html", settings, status=None, warning=None, warningiserror=True)
        app.build()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Three pages that Sphinx has built: one for each piece, and one without any."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "loss.rst").write_text(
        "Loss\n====\n\n.. loss-explorer::\n\n   .. figure:: book/results/loss_shift.png\n"
        "      :alt: Eleven diagrams.\n\n      The still figure.\n"
    )
    (folder / "claims.rst").write_text("Claims\n======\n\n.. claims-slider::\n")
    (folder / "index.rst").write_text("Neither\n=======\n\n.. toctree::\n\n   loss\n   claims\n")
    settings = {"html_static_path": [str(ROOT / "book" / "_static")]}
    build(folder, settings)
    return {
        name: BeautifulSoup((folder / "html" / f"{name}.html").read_text("utf-8"), "html.parser")
        for name in ("loss", "claims", "index")
    }


@pytest.mark.parametrize(
    ("name", "piece", "scripts"),
    [
        ("loss", "loss-explorer", ["losses.js", "loss-explorer.js"]),
        ("claims", "claims-slider", ["claims-by-seeds.js", "claims-slider.js"]),
    ],
)
def test_pages_load_what_they_show(pages, name, piece, scripts):
    """A piece comes hidden, for its script to show, and nothing of it is loaded elsewhere."""
    (found,) = pages[name].select(f".{piece}")
    assert found.has_attr("hidden")
    assert found.find_parent(id=True) is not None
    for other, page in pages.items():
        sources = [str(script.get("src")) for script in page("script", defer=True)]
        loaded = [source.split("/")[-1].split("?")[0] for source in sources]
        assert [each for each in loaded if each in scripts] == (scripts if other == name else [])
        styles = [str(link["href"]) for link in page.select('link[rel="stylesheet"]')]
        assert any(f"{piece}.css" in style for style in styles) == (other == name)


def test_explorer_has_its_still_figure(pages):
    """Without JavaScript and in print a figure stands for the explorer, outside of it."""
    (figure,) = pages["loss"].select("figure")
    assert "loss_shift" in figure.img["src"]
    assert figure.find_parent(class_="loss-explorer") is None
    for name in ("loss-explorer", "claims-slider"):
        style = (ROOT / "book" / "_static" / f"{name}.css").read_text()
        assert f"@media print {{\n  .{name} {{\n    display: none;" in style


def test_explorer_has_a_tile_for_each_loss(pages):
    """Each loss has its button, image and name, each setting a slider with its label."""
    piece = pages["loss"].select_one(".loss-explorer")
    assert len(piece.select(".le-tile input[type=radio]")) == 11
    assert [tile.select_one(".le-name").text for tile in piece.select(".le-tile")][-1] == (
        "BCE + Dice"
    )
    sliders = piece.select("label > input[type=range]")
    assert [slider["name"] for slider in sliders] == ["x", "y", "radius", "confidence"]
    assert all(float(s["min"]) <= float(s["value"]) <= float(s["max"]) for s in sliders)


def test_explorer_needs_its_figure(tmp_path):
    """The directive without a body, which would leave print with nothing, is refused."""
    (tmp_path / "index.rst").write_text("Loss\n====\n\n.. loss-explorer::\n")
    with pytest.raises(SphinxWarning, match=r"Content block expected.*loss-explorer"):
        build(tmp_path, {})
