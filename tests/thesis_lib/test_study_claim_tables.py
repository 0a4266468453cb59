import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

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
from thesis_lib.study.tasks import write_json

DICE = Claim("c", "Dice wins.", "Table 1", "losses", "dice", "best", "dice", ("mse", "bce"))
BLOCKS = [f"segmentation block{n}" for n in (1, 2, 3)]
BELOW = Claim("b", "Little.", "4", "inversion", "modification", "below", BLOCKS[0], margin=0.25)
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


def test_claims_are_plain_json(tmp_path):
    """Bounds that one seed cannot give are null, so that any reader of JSON takes them."""
    folder = make_results(tmp_path, "a", make_decision(DICE, dice=[0.9], mse=[0.8], bce=[0.7]))
    (row,) = json.loads((folder / "claims.json").read_text())
    assert row["verdict"] == "inconclusive"
    assert row["effects"][0]["low"] is None
    assert row["effects"][0]["mean"] == pytest.approx(0.1)


@pytest.mark.parametrize("n_seeds", [1, 3])
def test_decisions_come_back_from_json(tmp_path, n_seeds):
    """What a chapter writes is read back as it was, unknown bounds too."""
    scores = {"dice": [0.9, 0.92, 0.91], "mse": [0.8, 0.83, 0.81], "bce": [0.7, 0.7, 0.72]}
    decision = make_decision(DICE, **{name: values[:n_seeds] for name, values in scores.items()})
    (read,) = read_decisions(make_results(tmp_path, "02_a", decision) / "claims.json")
    assert replace(read, effects=()) == replace(decision, effects=())
    pd.testing.assert_frame_equal(pd.DataFrame(read.effects), pd.DataFrame(decision.effects))


def test_claims_name_the_closest_rival():
    """The table shows the rival that comes nearest to the claimed loss."""
    decision = make_decision(DICE, dice=[0.9] * 3, mse=[0.80, 0.81, 0.82], bce=[0.85, 0.86, 0.87])
    assert format_claims([decision])[EFFECT][0].startswith("BCE: +0.0400 [+0.0")


def test_margin_stands_beside_the_difference():
    """A difference is shown as it is, with the margin that it has to exceed."""
    claim = replace(DICE, others=("mse",), margin=0.05)
    (text,) = format_claims([make_decision(claim, dice=[0.9], mse=[0.8])])[EFFECT]
    assert text == "MSE: +0.1000 (claimed: above 0.05)"


@pytest.mark.parametrize(("rule", "margin"), [("below", 0.25), ("above", 0.5)])
def test_own_score_stands_beside_the_number(rule, margin):
    """Where a score is compared with a number, the table shows the score and its bounds."""
    claim = replace(BELOW, rule=rule, margin=margin)
    (text,) = format_claims([make_decision(claim, segmentation_block1=[0.1, 0.2, 0.3])])[EFFECT]
    half = 2.9199855803537251 * 0.1 / np.sqrt(3)
    bounds = f"[{0.2 - half:.4f}, {0.2 + half:.4f}]"
    named = "Segmentation, block 1: 0.2000"
    assert text == f"{named} {bounds} (claimed: {rule} {margin:g})"


def test_unmeasured_entries_are_not_the_closest():
    """An entry without any value has no effect to show."""
    claim = replace(BELOW, others=(BLOCKS[1],))
    nothing = [np.nan] * 3
    decision = make_decision(claim, segmentation_block1=[0.2] * 3, segmentation_block2=nothing)
    assert "block 1" in format_claims([decision])[EFFECT][0]
    decision = make_decision(claim, segmentation_block1=nothing, segmentation_block2=nothing)
    assert format_claims([decision])[EFFECT][0] == "–"


def test_effects_are_one_row_a_rival():
    """The forest plot gets every rival of every claim once."""
    effects = effect_table([make_decision(DICE, dice=[0.9], mse=[0.8], bce=[0.7])])
    assert effects["rival"].tolist() == ["MSE", "BCE"]


def test_effects_of_blocks_stand_in_their_order():
    """Rivals of the forest plot are a category, from the shallowest block to the deepest."""
    claim = replace(BELOW, rule="rises", others=tuple(BLOCKS[1:]), margin=0.0)
    values = {name.replace(" ", "_"): [0.1 * n] for n, name in enumerate(BLOCKS)}
    rivals = effect_table([make_decision(claim, **values)])["rival"]
    assert rivals.cat.remove_unused_categories().cat.categories.tolist() == [
        "Segmentation, block 2",
        "Segmentation, block 3",
    ]


def test_everything_that_claims_speak_of_has_a_name(repository):
    """Readers see no key: entries, measures and tasks of all claims have names."""
    for claim in read_claims(repository / "book/reference/claims.yml"):
        assert {claim.subject, *claim.others} <= ENTRY_NAMES.keys()
        assert claim.measure in MEASURE_NAMES
        assert claim.task in NAMES["tasks"]


def test_undecided_claims_are_not_run(tmp_path):
    """A claim that no chapter decided about says so, and a chapter may decide nothing."""
    decision = make_decision(DICE, dice=[0.9], mse=[0.8], bce=[0.7])
    folders = [tmp_path / "01_b", make_results(tmp_path, "02_a", decision)]
    found = collect_decisions([DICE, BELOW], folders)
    assert (found["c"][0].verdict, found["c"][1]) == ("inconclusive", "02_a")
    assert (found["b"][0].verdict, found["b"][1]) == ("not run", "")


def test_all_claims_stand_in_one_table(tmp_path):
    """Claims of the thesis and checks have a row each, with links; the thesis' are counted."""
    check = replace(DICE, id="d", source="not in the thesis", checks="c")
    scores = {"dice": [0.9, 0.92, 0.91], "mse": [0.8, 0.83, 0.81], "bce": [0.7, 0.7, 0.72]}
    decisions = [make_decision(claim, **scores) for claim in (DICE, check)]
    tables = summarise_claims([DICE, check, BELOW], [make_results(tmp_path, "02_a", *decisions)])
    claims = tables["claims"].set_index("Claim")
    assert claims.loc["Dice wins.", "Verdict"] == "**reproduced**: all are below dice"
    assert claims["Chapter"].tolist() == ["{doc}`2 <chapters/02_a>`", "–"]
    assert claims.loc["Little.", "Measure and rule"] == "Modification (1 - SSIM): below 0.25"
    assert claims.loc["Little.", ["Verdict", EFFECT]].tolist() == ["**not run**", "–"]
    assert tables["checks"]["Source"].tolist() == ["not in the thesis"]
    assert tables["verdicts"].to_numpy().tolist() == [
        ["Losses", 1, 0, 0, 0],
        ["Network inversion", 0, 0, 0, 1],
    ]


def test_claims_may_be_reworded(tmp_path):
    """A verdict stands when the words of its claim change."""
    folder = make_results(tmp_path, "02_a", make_decision(DICE, dice=[1], mse=[0], bce=[0]))
    reworded = replace(DICE, statement="It wins.", source="Table")
    assert collect_decisions([reworded], [folder])["c"][0].claim == reworded


def test_verdicts_of_another_rule_are_refused(tmp_path):
    """A verdict that was reached with another margin is no verdict on the claim."""
    folder = make_results(tmp_path, "02_a", make_decision(DICE, dice=[1], mse=[0], bce=[0]))
    with pytest.raises(ValueError, match=r"'c' in .*: decided by another rule.* Run the chapter"):
        collect_decisions([replace(DICE, margin=0.1)], [folder])


def test_verdicts_on_unknown_claims_are_refused(tmp_path):
    """A chapter cannot decide about what is no claim."""
    folder = make_results(tmp_path, "02_a", make_decision(DICE, dice=[1], mse=[0], bce=[0]))
    with pytest.raises(ValueError, match=r"Invalid claim 'c' in .* Must be in claims\.yml"):
        collect_decisions([BELOW], [folder])
