"""Tests of thesis_lib.study.answer: five sentences made of the numbers of a study."""

import numpy as np
import pandas as pd
import pytest

from thesis_lib.study.answer import answer_losses
from thesis_lib.study.claims import decide, read_claims

CLAIMS = read_claims(task="losses")


def make_scores(n_seeds, *, surface=1.0, **dice):
    """Scores about means of Dice, whose PS falls as Dice rises."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "loss": loss,
            "seed": seed,
            "dice": mean + 0.001 * rng.normal(),
            "perimetric_similarity": 1.5 - mean,
            "surface_dice": surface * (mean - 0.1 + 0.001 * rng.normal()),
        }
        for loss, mean in dice.items()
        for seed in range(n_seeds)
    ]
    return pd.DataFrame(rows)


def make_settings(column, values, dice):
    """Scores of one loss at several values of a setting."""
    return pd.DataFrame({"loss": "dice", "seed": 0, column: values, "dice": dice})


def answer(scores, **changes):
    """Sentences about some scores."""
    none = make_settings("epochs", [8], [0.8]), make_settings("lr", [0.1], [0.8])
    budgets, rates = changes.get("budgets", none[0]), changes.get("rates", none[1])
    decisions = [
        decide(claim, scores, entries=["dice", "mse", "bce_dice"], by="loss")
        for claim in CLAIMS
        if {claim.subject} <= {*scores["loss"]}
    ]
    return answer_losses(scores, decisions, budgets=budgets, rates=rates)


def test_many_seeds_give_confidence_sets():
    """The sets of the best, the gain on the baseline with bounds, and what PS hides."""
    best, gain, hidden, changed, verdicts = answer(make_scores(5, dice=0.9, mse=0.7, bce_dice=0.8))
    assert best == (
        "On unseen volumes of 5 seeds, the losses that may be the best (95 % confidence set) are "
        "Dice by Dice; and Dice by surface Dice."
    )
    assert gain.startswith("Dice reaches a Dice of 0.9")
    assert "on the baseline, BCE + Dice (95 % interval, corrected for the" in gain
    assert hidden.startswith("MSE has the highest PS (0.8000), but PS does not see position: by ")
    assert "number 3 of 3" in hidden
    assert changed == "Budget: not compared. Learning rate: not compared."
    assert verdicts.startswith("Of the thesis' 5 claims about losses: 3 supported, 0 tied,")
    assert "Supported: Of all losses, the Dice loss reaches the highest Dice score;" in verdicts


def test_few_seeds_decide_nothing():
    """With one seed the sentences name the highest scores and claim nothing."""
    best, gain, *_, verdicts = answer(make_scores(1, dice=0.9, bce_dice=0.95))
    assert best == (
        "On unseen volumes of 1 seed the highest scores are those of BCE + Dice by Dice "
        "and of BCE + Dice by surface Dice: too few to decide."
    )
    assert gain.endswith(", and is the baseline itself.")
    assert ": 0 supported, 0 tied" in verdicts


def test_ps_may_agree_with_position():
    """Where one loss is the best by both, the sentence says just that."""
    scores = make_scores(1, dice=0.9, mse=0.7).assign(perimetric_similarity=[0.9, 0.8])
    assert answer(scores)[2].startswith("Dice has the highest PS (0.9000) and the highest surface")


def test_unknown_distances_are_said():
    """Without metres there is no surface Dice to compare with; without a baseline no gain."""
    scores = make_scores(4, dice=0.9, mse=0.7, surface=np.nan)
    best, gain, hidden, *_ = answer(scores)
    assert "surface" not in best
    assert gain == f"Dice reaches a Dice of {scores['dice'][:4].mean():.4f}."
    assert hidden.endswith("does not, is not known here.")


@pytest.mark.parametrize(("column", "words"), [("epochs", "Budget"), ("lr", "Learning rate")])
def test_settings_are_compared_at_their_ends(column, words):
    """What the largest setting changes against the smallest is given by loss."""
    table = make_settings(column, [2.0, 4.0, 8.0], [0.8, 0.1, 0.85])
    key = {"epochs": "budgets", "lr": "rates"}[column]
    changed = answer(make_scores(1, dice=0.9, mse=0.8), **{key: table})[3]
    assert f"{words}: 4 times as much changes Dice by +0.0500 (Dice) to +0.0500 (Dice)." in changed
