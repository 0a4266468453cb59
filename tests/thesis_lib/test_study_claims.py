from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from thesis_lib.study.claims import LEVEL, MIN_SEEDS, Claim, decide, read_claims
from thesis_lib.study.tables import read_thesis_table

BEST = Claim("c", "s", "t", "losses", "dice", "best", "a")
WORST = replace(BEST, rule="worst")
BEATEN = replace(BEST, rule="beats", margin=0.005)
FAR = replace(BEST, others=("b",), margin=0.05)
RISES = replace(BEST, rule="rises", others=("b", "c"))
ABOVE = replace(BEST, rule="above", margin=0.5)
BELOW = replace(BEST, rule="below", others=("b",), margin=0.5)


def make_scores(**dice_by_entry):
    """One row an entry and seed from lists of Dice scores."""
    rows = [
        {"entry": entry, "seed": seed, "dice": value}
        for entry, values in dice_by_entry.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


LOW, MIDDLE, HIGH = [0.1, 0.12, 0.11], [0.3, 0.33, 0.31], [0.6, 0.61, 0.65]
POOR, GOOD, NEAR = [0.80, 0.82, 0.84], [0.93, 0.94, 0.95], [0.900, 0.910, 0.905]
WIDE, ALIKE, NONE = [0.90, 0.95, 0.85], [0.91, 0.86, 0.92], [np.nan] * 3
FEW = [0.9, 0.9, np.nan]
WON, LOST, OPEN = "reproduced", "not reproduced", "inconclusive"
DECISIONS = [  # what is claimed, scores by entry, the verdict and how its reason begins
    (BEST, {"a": GOOD, "b": POOR, "c": POOR}, WON, ""),
    (BEST, {"a": POOR, "b": GOOD, "c": POOR}, LOST, "b "),
    (BEST, {"a": WIDE, "b": ALIKE}, OPEN, ""),
    (BEST, {"a": [0.99], "b": [0.1]}, OPEN, "1 seed"),
    (BEST, {"a": [0.99] * 2, "b": [0.1] * 2}, OPEN, "2 seed"),
    (BEST, {"a": GOOD, "b": POOR, "c": []}, OPEN, "not run: c"),
    (BEST, {"a": POOR, "b": GOOD, "c": []}, LOST, "b "),
    (BEST, {"a": [], "b": POOR}, OPEN, "not run"),
    (BEST, {"a": NONE, "b": NONE}, OPEN, "not measured"),
    (WORST, {"a": POOR, "b": GOOD}, WON, ""),
    (BEATEN, {"a": NEAR, "b": GOOD, "c": POOR}, WON, "b "),
    (BEATEN, {"a": NEAR, "b": [0.901, 0.909, 0.905], "c": POOR}, LOST, ""),
    (FAR, {"a": GOOD, "b": POOR, "c": [1.0] * 3}, WON, "b is below a by 0.05"),
    (FAR, {"a": GOOD, "b": [0.91, 0.92, 0.93]}, LOST, "b is not below a by 0.05"),
    (replace(FAR, margin=0.0), {"a": GOOD, "b": [0.91, 0.92, 0.93]}, WON, ""),
    (RISES, {"a": LOW, "b": MIDDLE, "c": HIGH}, WON, "all are above the one before it"),
    (RISES, {"a": LOW, "b": HIGH, "c": MIDDLE}, LOST, "c is not above the one before it"),
    (RISES, {"a": LOW, "b": MIDDLE, "c": [0.31, 0.31, 0.32]}, OPEN, ""),
    (BELOW, {"a": LOW, "b": LOW}, WON, "all are below 0.5"),
    (BELOW, {"a": LOW, "b": HIGH}, LOST, "b is not below 0.5"),
    (BELOW, {"a": FEW, "b": HIGH}, LOST, "b is not below 0.5"),
    (BELOW, {"a": FEW, "b": LOW}, OPEN, "2 of 3 seeds, fewer than 3"),
    (ABOVE, {"a": [*FEW, np.nan]}, OPEN, "2 of 4 seeds, fewer than 3"),
]


@pytest.mark.parametrize(("claim", "scores", "verdict", "reason"), DECISIONS)
def test_scores_decide_as_the_rule_says(claim, scores, verdict, reason):
    """Clear differences decide, spreads, margins and few seeds do not; one rival refutes."""
    decision = decide(claim, make_scores(**scores), entries=list(scores))
    assert decision.verdict == verdict
    assert decision.reason.startswith(reason)


def test_effect_equals_scipys_paired_test():
    """The lower bound of d is above 0 exactly where scipy's one-sided paired t-test rejects."""
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(50):
        ours, rival = rng.normal(0.9, 0.02, 5), rng.normal(0.88, 0.02, 5)
        effect = decide(BEST, make_scores(a=ours, b=rival), entries=["a", "b"]).effects[0]
        p_value = stats.ttest_rel(ours, rival, alternative="greater").pvalue
        assert (effect.low > 0) == (p_value < 0.05)
        verdicts.add(effect.low > 0)
    assert verdicts == {True, False}


def test_bounds_in_closed_form():
    """Bounds of d = (1, 2, 3) are 2 -+ t(.95, 2) / sqrt 3."""
    scores = make_scores(a=[1.0, 2.0, 3.0], b=[0.0, 0.0, 0.0])
    effect = decide(BEST, scores, entries=["a", "b"]).effects[0]
    half = 2.9199855803537251 / np.sqrt(3)
    assert effect.mean == pytest.approx(2.0)
    assert effect.low == pytest.approx(2.0 - half)
    assert effect.high == pytest.approx(2.0 + half)


def test_correction_widens_with_the_number_of_rivals():
    """Corrected bounds equal the plain ones for one rival and are wider for two."""
    one = make_scores(a=[0.9, 0.92, 0.91], b=[0.8, 0.83, 0.82])
    two = make_scores(a=[0.9, 0.92, 0.91], b=[0.8, 0.83, 0.82], c=[0.8, 0.83, 0.82])
    alone = decide(BEST, one, entries=["a", "b"]).effects[0]
    corrected = decide(BEST, two, entries=["a", "b", "c"]).effects[0]
    assert alone.low_corrected == alone.low
    assert corrected.low_corrected < alone.low_corrected
    assert corrected.high_corrected > alone.high_corrected


@pytest.mark.parametrize(
    ("claim", "scores", "effects"),
    [
        (RISES, {"a": LOW, "b": MIDDLE, "c": HIGH}, {"b": 0.2033333, "c": 0.3066667}),
        (BELOW, {"a": LOW, "b": LOW}, {"a": 0.39, "b": 0.39}),
        (FAR, {"a": GOOD, "b": POOR, "c": HIGH}, {"b": 0.07}),  # beyond the margin
        (BEST, {"a": NONE, "b": NONE}, {"b": np.nan}),
        (BEST, {"a": [], "b": POOR}, {"b": np.nan}),
    ],
)
def test_effects_are_differences_to_what_is_compared(claim, scores, effects):
    """Effects are the differences to the step before, to a number or to the rivals named."""
    found = decide(claim, make_scores(**scores), entries=list(scores)).effects
    assert [effect.rival for effect in found] == list(effects)
    assert [effect.mean for effect in found] == pytest.approx([*effects.values()], nan_ok=True)
    assert all(effect.n_seeds == 3 * np.isfinite(effect.mean) for effect in found)


def test_own_mean_against_a_number_equals_scipys_test():
    """Above is reproduced exactly where scipy's one-sided one-sample t-test rejects."""
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(50):
        values = rng.normal(0.52, 0.05, 5)
        decision = decide(ABOVE, make_scores(a=values))
        greater, less = (
            stats.ttest_1samp(values, 0.5, alternative=side).pvalue < LEVEL
            for side in ("greater", "less")
        )
        expected = "reproduced" if greater else "not reproduced" if less else "inconclusive"
        assert decision.verdict == expected
        assert decision.effects[0].mean == pytest.approx(values.mean() - 0.5)
        verdicts.add(decision.verdict)
    assert len(verdicts) > 1


def test_above_is_below_turned():
    """A mean lies above a number exactly where its negative lies below the number's."""
    values = np.array([0.6, 0.7, 0.8])
    mirrored = replace(ABOVE, rule="below", margin=-0.5)
    above, below = (
        decide(claim, make_scores(a=sign * values)).effects
        for claim, sign in ((ABOVE, 1), (mirrored, -1))
    )
    assert above == below


def test_unknown_values_leave_out_their_seed():
    """A network without a value is left out of the pairs, and the reason counts those left."""
    one, two = [0.1, 0.12, 0.11, 0.1], [0.3, 0.33, 0.31, np.nan]
    claim = replace(RISES, others=("b",))
    decision = decide(claim, make_scores(a=one, b=two))
    without = decide(claim, make_scores(a=one[:3], b=two[:3]))
    assert decision.effects == without.effects
    assert decision.verdict == without.verdict == "reproduced"
    assert decision.reason == f"{without.reason} (3 of 4 seeds measured)"


def test_column_of_entries_can_have_another_name():
    """Scores of the loss study name their entries ``loss``."""
    scores = make_scores(a=[0.9] * 3, b=[0.8, 0.81, 0.82])
    renamed = decide(BEST, scores.rename(columns={"entry": "loss"}), entries=["a", "b"], by="loss")
    assert renamed == decide(BEST, scores, entries=["a", "b"])


ONE = make_scores(a=[0.9], b=[0.8])


@pytest.mark.parametrize(
    ("claim", "scores", "entries", "message"),
    [
        (BEST, ONE, (), "claim c: nothing to compare"),
        (replace(RISES, others=()), ONE, ["b"], "claim c: nothing to compare"),
        (BEST, pd.concat([ONE, ONE]), ["a", "b"], "duplicate"),
        (ABOVE, ONE.rename(columns={"dice": "d"}), (), "measure of claim c 'dice'.*'seed', 'd'"),
    ],
)
def test_scores_that_cannot_decide_are_refused(claim, scores, entries, message):
    """A claim needs its measure, one row per loss and seed, and others listed to compare with."""
    with pytest.raises(ValueError, match=message):
        decide(claim, scores, entries=entries)


CLAIMS, ABOUT_LOSSES = read_claims(), read_claims(task="losses")


def test_claims_file_is_whole():
    """Claims about losses have measures of the study and subjects of Table 1; others name all."""
    assert {claim.subject for claim in ABOUT_LOSSES} <= {*read_thesis_table().index}
    measures = {claim.measure for claim in ABOUT_LOSSES}
    assert measures == {"dice", "perimetric_similarity", "surface_dice"}
    silent = {claim.task for claim in CLAIMS if not claim.others and claim.rule != "above"}
    assert silent == {"losses"}


def test_checks_are_not_in_the_thesis():
    """A claim that checks another names one of the thesis, and says that it is not from there."""
    own = {claim.id for claim in CLAIMS if claim.checks is None}
    assert {claim.checks for claim in CLAIMS} - {None} <= own
    for claim in CLAIMS:
        assert claim.source.startswith("not in the thesis") == (claim.checks is not None)


def test_every_ps_claim_is_repeated_with_surface_dice():
    """No verdict rests on PS, which is blind to place, alone."""
    repeated = {claim.checks for claim in ABOUT_LOSSES if claim.measure == "surface_dice"}
    assert repeated == {c.id for c in ABOUT_LOSSES if c.measure == "perimetric_similarity"}


def test_the_book_states_the_rule_that_the_code_applies(repository):
    """Level, number of seeds and margins in the book are those of the code and of the claims."""
    page = (repository / "book/notation.md").read_text(encoding="utf-8")
    margins = {claim.measure: claim.margin for claim in ABOUT_LOSSES if claim.rule == "beats"}
    assert margins["perimetric_similarity"] == margins["surface_dice"]
    assert f"$\\alpha = {LEVEL:g}$" in page
    assert f"{margins['dice']:g} for Dice and {margins['surface_dice']:g} for PS" in page
    assert MIN_SEEDS == 3
    assert "fewer than three seeds" in page


def test_thesis_supports_its_own_claims():
    """The thesis' own Table 1 shows what the claims say of it."""
    table = read_thesis_table()
    for claim in (claim for claim in ABOUT_LOSSES if claim.checks is None):
        scores = table[claim.measure]
        others = scores.drop(claim.subject)
        rule = {
            "best": scores[claim.subject] > others.max(),
            "worst": scores[claim.subject] < others.min(),
            "beats": others.max() > scores[claim.subject] + claim.margin,
        }
        assert rule[claim.rule], claim.id


CLAIM = "{id: a, statement: s, source: s, task: t, measure: m, rule: %s, subject: x}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"[{CLAIM % 'odd'}]", "Invalid rule of claim a 'odd'"),
        (f"[{CLAIM % 'best'}, {CLAIM % 'best'}]", "contain duplicates of id 'a'"),
        (f"[{CLAIM % 'best, margin: .nan'}]", "Invalid margin of claim a nan"),
        ("- id: a: b", r"Cannot read .*claims.yml: mapping values are not allowed .* in YAML"),
        ("[" * 3000, r"Cannot read .*claims.yml: maximum recursion depth"),
    ],
)
def test_files_that_hold_no_claims_are_refused(tmp_path, text, message):
    """A rule that does not exist is named, and so are two claims of one name; all in one line."""
    path = tmp_path / "claims.yml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_claims(path)
    assert "\n" not in str(caught.value)
