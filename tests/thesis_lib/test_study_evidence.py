"""Tests of thesis_lib.study.evidence: known levels, closed forms and independent referees."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from thesis_lib.study.claims import CONTRADICTED, FAILS, SUPPORTED, Claim, decide, gate_claims
from thesis_lib.study.evidence import (
    average_settings,
    bootstrap_bounds,
    compute_power,
    correlate_ranks,
    count_first,
    find_best_set,
    judge_evidence,
    survive_holm,
)

BEST = Claim("c", "It wins.", "t", "losses", "dice", "best", "a", 0.02, others=("b",))
N_SEEDS, SPREAD = 10, 0.02


def make_scores(values):
    """Scores from a table with one column per entry."""
    table = pd.DataFrame(values).rename_axis("seed").reset_index()
    return table.melt("seed", var_name="entry", value_name="dice")


def draw_scores(seed, **means):
    """Scores of ten seeds that scatter about some means, entry by entry."""
    rng = np.random.default_rng(seed)
    return make_scores({name: rng.normal(mean, SPREAD, N_SEEDS) for name, mean in means.items()})


def test_bootstrap_bounds_are_near_those_of_t():
    """For many normal differences both kinds of bounds agree; equal ones have no width."""
    d = np.random.default_rng(0).normal(0.1, 1.0, 400)
    half = stats.t.ppf(0.95, 399) * d.std(ddof=1) / 20
    assert bootstrap_bounds(d, 0.05) == pytest.approx((d.mean() - half, d.mean() + half), abs=0.01)
    assert bootstrap_bounds(d, 0.05) == bootstrap_bounds(d, 0.05)
    assert bootstrap_bounds(np.full(4, 0.3), 0.05) == (0.3, 0.3)
    assert np.isnan(bootstrap_bounds(d[:2], 0.05)).all()


def test_power_is_that_of_the_noncentral_t():
    """For one rival the power has a closed form; without a gain it is the level."""
    scores = draw_scores(0, a=0.9, b=0.88)
    table = scores.pivot(index="seed", columns="entry", values="dice")
    spread = (table["a"] - table["b"]).std()
    threshold = stats.t.ppf(0.95, N_SEEDS - 1)
    for gain in (0.0, 0.01, 0.02):
        shift = gain / (spread / np.sqrt(N_SEEDS))
        expected = stats.nct.sf(threshold, N_SEEDS - 1, shift)
        assert compute_power(BEST, scores, gain=gain) == pytest.approx(expected, abs=0.03)


def test_power_is_how_often_studies_are_supported():
    """With several rivals, and for beats, power is what decide finds in simulated studies."""
    means = {"a": 0.9, "b": 0.9, "c": 0.9}
    for rule, gained in (("best", "a"), ("beats", "b")):
        claim = replace(BEST, rule=rule, others=())
        found, expected = [], []
        for seed in range(40):
            scores = draw_scores(seed, **means | {gained: 0.92})
            found.append(decide(claim, scores, entries=[*means]).verdict == SUPPORTED)
            expected.append(compute_power(claim, scores, gain=0.02, entries=[*means]))
        assert np.mean(found) == pytest.approx(np.mean(expected), abs=0.15)
        assert 0.1 < np.mean(expected) < 0.9


def test_power_needs_three_seeds():
    """Two seeds have no power that could be computed, nor do entries that were not run."""
    scores = draw_scores(0, a=0.9, b=0.8)
    assert np.isnan(compute_power(BEST, scores[scores["seed"] < 2], gain=1.0))
    absent = replace(BEST, others=("b", "z"))
    assert np.isnan(compute_power(absent, scores, gain=1.0))


def test_holm_in_closed_form():
    """The smallest p-value faces level / n, the next level / (n - 1), until one is too large."""
    assert survive_holm({"a": 0.012, "b": 0.016, "c": 0.024, "d": 0.04}) == {"a", "b", "c", "d"}
    assert survive_holm({"a": 0.013, "b": 0.001, "c": 0.03, "d": 0.04}) == {"a", "b"}
    assert survive_holm({"a": 0.02, "b": np.nan}) == {"a"}
    assert survive_holm({"a": 0.03, "b": np.nan}) == set()


def test_best_set_holds_the_best():
    """The truly best is in the set in 95 % of studies; what is far below never is."""
    kept = []
    for seed in range(120):
        names = find_best_set(draw_scores(seed, a=0.9, b=0.9, c=0.9, d=0.7), "dice")
        kept.append("a" in names)
        assert "d" not in names
    assert np.mean(kept) >= 0.95


def test_best_set_of_few_seeds_is_all():
    """Two seeds exclude no one."""
    scores = draw_scores(0, a=0.9, b=0.1)
    assert find_best_set(scores[scores["seed"] < 2], "dice") == ["a", "b"]
    assert find_best_set(scores, "dice") == ["a"]


def test_first_ranks_are_counted():
    """Each seed with all entries has one winner."""
    scores = make_scores({"a": [0.9, 0.8, 0.7], "b": [0.8, 0.9, np.nan], "c": [0.1] * 3})
    assert count_first(scores, "dice").to_dict() == {"a": 1, "b": 1, "c": 0}


def test_rank_correlation_equals_scipys():
    """The correlation is Spearman's of the means; its interval spans what seeds leave open."""
    scores = draw_scores(3, a=0.9, b=0.88, c=0.87, d=0.8)
    reference = pd.Series({"d": 0.1, "c": 0.3, "b": 0.2, "a": 0.4})
    means = scores.groupby("entry")["dice"].mean()
    expected = stats.spearmanr(means, reference.loc[means.index]).statistic
    found, low, high = correlate_ranks(scores, reference, "dice")
    assert found == pytest.approx(expected)
    assert -1 <= low <= found <= high <= 1
    certain = draw_scores(0, a=0.9, b=0.6, c=0.3)
    assert correlate_ranks(certain, reference, "dice")[1:] == pytest.approx((0.5, 0.5))
    assert np.isnan(correlate_ranks(draw_scores(0, a=0.9, b=0.6), reference, "dice")).all()


def test_evidence_has_one_row_per_claim():
    """A clear difference is supported by both kinds of bounds; a check gates both alike."""
    scores = draw_scores(0, a=0.9, b=0.7)
    check = replace(BEST, id="d", subject="b", others=("a",), checks="c")
    decisions = gate_claims([decide(claim, scores) for claim in (BEST, check)])
    row, failed = judge_evidence(decisions, scores, entries=["a", "b"]).to_dict("records")
    assert (row["claim"], row["verdict"], row["bootstrap"]) == ("It wins.", FAILS, FAILS)
    assert failed["verdict"] == failed["bootstrap"] == CONTRADICTED
    assert row["p_value"] < 1e-6
    assert row["power"] < row["power_2"] <= 1
    few = judge_evidence(decisions, scores[scores["seed"] < 9], entries=["a", "b"])
    assert few["bootstrap"].tolist() == ["not run"] * 2


def test_constant_differences_say_nothing():
    """Where no seed differs there is no power, and no entry leaves the set of the best."""
    scores = make_scores({"a": [0.9, 0.8, 0.7], "b": [0.8, 0.7, 0.6]})
    assert np.isnan(compute_power(BEST, scores, gain=1.0))
    assert find_best_set(scores, "dice") == ["a", "b"]


def test_settings_are_averaged_over_the_same_seeds():
    """A seed that lacks a value of the setting is left out; without runs there is no table."""
    columns = ["loss", "seed", "epochs", "dice"]
    rows = [("a", 0, 8, 0.5), ("a", 0, 32, 0.6), ("a", 1, 8, 0.1), ("b", 1, 8, 0.2)]
    table = average_settings(pd.DataFrame(rows, columns=columns), "epochs")
    assert table.to_dict("index") == {"a": {8: 0.5, 32: 0.6}}
    assert average_settings(pd.DataFrame(columns=["loss", "seed", "epochs"]), "epochs").empty
