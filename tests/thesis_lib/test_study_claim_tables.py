import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from thesis_lib._json import write_json
from thesis_lib.study.claim_tables import (
    ENTRY_NAMES,
    MEASURE_NAMES,
    collect_decisions,
    effect_table,
    format_claims,
    read_decisions,
    summarise_claims,
)
from thesis_lib.study.claims import Claim, decide, read_claims
from thesis_lib.study.tables import NAMES

DICE = Claim("c", "Dice wins.", "Table 1", "losses", "dice", "best", "dice", 0.01, ("mse", "bce"))
BLOCKS = [f"segmentation block{n}" for n in (1, 2, 3)]
BELOW = Claim("b", "Little.", "4", "inversion", "lost", "below", BLOCKS[0], 0.05, bound=0.25)
BOTH = replace(BELOW, others=(BLOCKS[1],))
EFFECT = "Effect [95 % bounds]"


def make_decision(claim, **values):
    """A decision on scores by entry, whose names have _ for a space."""
    rows = [
        {"entry": entry.replace("_", " "), "seed": seed, claim.measure: value}
        for entry, column in values.items()
        for seed, value in enumerate(column)
    ]
    return decide(claim, pd.DataFrame(rows))


def make_results(root, chapter, *decisions):
    """Folder of a chapter that decided."""
    folder = root / chapter
    folder.mkdir()
    write_json(folder / "claims.json", decisions)
    return folder


SCORES = {"dice": [0.9, 0.92, 0.91], "mse": [0.8, 0.83, 0.81], "bce": [0.7, 0.7, 0.72]}
HALF = 2.9199855803537251 * 0.1 / np.sqrt(3)  # a bound on the mean of .1, .2 and .3


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_decisions_come_back_from_json(tmp_path, n_seeds):
    """What a chapter writes is read back as it was; bounds that one seed cannot give are null."""
    scores = {name: values[:n_seeds] for name, values in SCORES.items()}
    decision = make_decision(DICE, **scores)
    path = make_results(tmp_path, "02_a", decision) / "claims.json"
    (read,) = read_decisions(path)
    assert replace(read, effects=()) == replace(decision, effects=())
    pd.testing.assert_frame_equal(pd.DataFrame(read.effects), pd.DataFrame(decision.effects))
    (row,) = json.loads(path.read_text())
    assert (row["effects"][0]["low"] is None) == (n_seeds == 1)
    differences = np.subtract(scores["dice"], scores["mse"])
    assert row["effects"][0]["mean"] == pytest.approx(differences.mean())


FIRST, SECOND = (name.replace(" ", "_") for name in BLOCKS[:2])
NEAR = f"0.2000 [{0.2 - HALF:.4f}, {0.2 + HALF:.4f}] (claimed: "


@pytest.mark.parametrize(
    ("claim", "scores", "text"),
    [
        (DICE, {"dice": [0.9] * 3, "mse": [0.80, 0.81, 0.82], "bce": [0.85] * 3}, "BCE: +0.0500 ["),
        (replace(DICE, others=("mse",)), {"dice": [0.9], "mse": [0.8]}, "MSE: +0.1000"),
        (BELOW, {FIRST: [0.1, 0.2, 0.3]}, f"Segmentation, block 1: {NEAR}below 0.25)"),
        (
            replace(BELOW, rule="above", bound=0.5),
            {FIRST: [0.1, 0.2, 0.3]},
            f"Segmentation, block 1: {NEAR}above 0.5)",
        ),
        (BOTH, {FIRST: [0.2] * 3, SECOND: [np.nan] * 3}, "Segmentation, block 1"),
        (BOTH, {FIRST: [np.nan] * 3, SECOND: [np.nan] * 3}, "–"),
    ],
)
def test_claims_show_the_closest_effect(claim, scores, text):
    """The closest rival that was measured is shown with what was claimed of difference or score."""
    (shown,) = format_claims([make_decision(claim, **scores)])[EFFECT]
    assert shown.startswith(text)


def test_effects_are_one_row_a_rival():
    """The forest plot gets every rival once, as a category in order of depth."""
    effects = effect_table([make_decision(DICE, dice=[0.9], mse=[0.8], bce=[0.7])])
    assert effects["rival"].tolist() == ["MSE", "BCE"]
    claim = replace(BELOW, rule="rises", others=tuple(BLOCKS[1:]), bound=None)
    values = {name.replace(" ", "_"): [0.1 * n] for n, name in enumerate(BLOCKS)}
    rivals = effect_table([make_decision(claim, **values)])["rival"].cat.remove_unused_categories()
    assert [*rivals.cat.categories] == ["Segmentation, block 2", "Segmentation, block 3"]


def test_everything_that_claims_speak_of_has_a_name():
    """Readers see no key: entries, measures and tasks of all claims have names."""
    for claim in read_claims():
        assert {claim.subject, *claim.others} <= ENTRY_NAMES.keys()
        assert claim.measure in MEASURE_NAMES
        assert claim.task in NAMES["tasks"]


def test_undecided_claims_are_not_run(tmp_path):
    """A claim that no chapter decided about says so, and a chapter may decide nothing."""
    decision = make_decision(DICE, dice=[0.9], mse=[0.8], bce=[0.7])
    folders = [tmp_path / "01_b", make_results(tmp_path, "02_a", decision)]
    found = collect_decisions([DICE, BELOW], folders)
    assert (found["c"][0].verdict, found["c"][1]) == ("undecided", "02_a")
    assert (found["b"][0].verdict, found["b"][1]) == ("not run", "")


def test_all_claims_stand_in_one_table(tmp_path):
    """Claims of the thesis and checks have a row each, with links; the thesis' are counted."""
    check = replace(DICE, id="d", source="not in the thesis", checks="c")
    decisions = [make_decision(claim, **SCORES) for claim in (DICE, check)]
    tables = summarise_claims([DICE, check, BELOW], [make_results(tmp_path, "02_a", *decisions)])
    claims = tables["claims"].set_index("Claim")
    supported = "[supported]{.verdict .verdict-supported}"
    assert claims.loc["Dice wins.", "Verdict"] == f"{supported}: all are below Dice"
    assert claims["Chapter"].tolist() == ["{doc}`2 <chapters/02_a>`", "–"]
    assert (
        claims.loc["Little.", "Measure and rule"] == "Variance lost (1 - R²): below 0.25, δ = 0.05"
    )
    not_run = "[not run]{.verdict .verdict-unmeasured}"
    assert claims.loc["Little.", ["Verdict", EFFECT]].tolist() == [not_run, "–"]
    assert tables["checks"]["Source"].tolist() == ["not in the thesis"]
    assert tables["verdicts"].to_numpy().tolist() == [
        ["Losses", 1, 0, 0, 0, 0],
        ["Network inversion", 0, 0, 0, 0, 1],
    ]


def test_conclusions_quote_the_thesis_and_the_check(tmp_path):
    """A claim has the thesis' own difference, ours, the verdict of its check, and Holm's word."""
    check = replace(DICE, id="d", source="not in the thesis", checks="c", measure="surface_dice")
    scores = {"dice": [0.7, 0.71, 0.70], "mse": [0.8, 0.83, 0.81], "bce": [0.7, 0.7, 0.72]}
    decisions = [make_decision(DICE, **SCORES), make_decision(check, **scores)]
    claims = [DICE, check, BELOW]
    tables = summarise_claims(claims, [make_results(tmp_path, "02_a", *decisions)])
    wins, little = tables["conclusions"].to_dict("records")
    assert wins["Thesis"] == "Jaccard: +0.0058"
    assert wins["Ours"].startswith("MSE: +0.0967 [")
    assert wins["Verdict"] == "[supported, fails its check]{.verdict .verdict-fails}"
    assert "contradicted" in wins["Check"]
    assert wins["Why"].startswith("all are below Dice, but: MSE is not below Dice")
    assert (little["Thesis"], little["Check"], little["Why"]) == ("not in Table 1", "–", "–")
    alone = summarise_claims([DICE, BELOW], [make_results(tmp_path, "03_b", decisions[0])])
    assert alone["claims"]["Holm"].tolist() == ["survives", "–"]


def test_verdicts_are_those_of_the_claims(tmp_path):
    """A claim may be reworded; another rule, or a verdict on what is no claim, is refused."""
    folder = make_results(tmp_path, "02_a", make_decision(DICE, dice=[1], mse=[0], bce=[0]))
    reworded = replace(DICE, statement="It wins.", source="Table")
    assert collect_decisions([reworded], [folder])["c"][0].claim == reworded
    with pytest.raises(ValueError, match=r"'c' in .*: decided by another rule.* Run the chapter"):
        collect_decisions([replace(DICE, margin=0.1)], [folder])
    with pytest.raises(ValueError, match=r"Invalid claim 'c' in .* Must be in claims\.yml"):
        collect_decisions([BELOW], [folder])
