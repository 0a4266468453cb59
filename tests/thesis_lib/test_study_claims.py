from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from thesis_lib.study.claims import (
    CONTRADICTED,
    FAILS,
    LEVEL,
    MIN_SEEDS,
    SATURATED,
    SUPPORTED,
    TIED,
    UNDECIDED,
    UNMEASURED,
    Claim,
    decide,
    find_deciding,
    gate_claims,
    read_claims,
)
from thesis_lib.study.tables import read_thesis_table

BEST = Claim("c", "s", "t", "losses", "dice", "best", "a", margin=0.02)
WORST = replace(BEST, rule="worst")
BEATEN = replace(BEST, rule="beats", margin=0.005)
NAMED = replace(BEST, others=("b",))
RISES = replace(BEST, rule="rises", others=("b", "c"))
ABOVE = replace(BEST, rule="above", bound=0.5)
BELOW = replace(BEST, rule="below", others=("b",), bound=0.5)


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
CLOSE = [0.931, 0.939, 0.951]  # to GOOD
WIDE, ALIKE, NONE = [0.90, 0.95, 0.85], [0.91, 0.86, 0.92], [np.nan] * 3
FEW, FULL = [0.9, 0.91, np.nan], [1.0] * 3
DECISIONS = [  # what is claimed, scores by entry, the verdict and how its reason begins
    (BEST, {"a": GOOD, "b": POOR, "c": POOR}, SUPPORTED, "all are below a"),
    (BEST, {"a": POOR, "b": GOOD, "c": POOR}, CONTRADICTED, "b is not below a and misses that by"),
    (BEST, {"a": GOOD, "b": CLOSE, "c": POOR}, TIED, "b may not be below a"),
    (replace(BEST, margin=1e-4), {"a": GOOD, "b": CLOSE}, UNDECIDED, "the spread"),
    (BEST, {"a": WIDE, "b": ALIKE}, UNDECIDED, "the spread of the seeds allows b on either"),
    (BEST, {"a": [0.99], "b": [0.1]}, UNDECIDED, "1 seed"),
    (BEST, {"a": [0.99, 0.98], "b": [0.1, 0.2]}, UNDECIDED, "2 seed"),
    (BEST, {"a": GOOD, "b": POOR, "c": []}, UNDECIDED, "not run: c"),
    (BEST, {"a": POOR, "b": GOOD, "c": []}, CONTRADICTED, "b "),
    (BEST, {"a": [], "b": POOR}, UNDECIDED, "not run"),
    (BEST, {"a": NONE, "b": NONE}, UNDECIDED, "not measured"),
    (BEST, {"a": GOOD, "b": [0.83, 0.84, 0.85]}, SATURATED, "no spread over seeds to judge by: b"),
    (BEST, {"a": FULL, "b": POOR}, SATURATED, ""),
    (BEST, {"a": POOR, "b": FULL, "c": GOOD}, CONTRADICTED, "c "),
    (WORST, {"a": POOR, "b": GOOD}, SUPPORTED, "b is above a"),
    (BEATEN, {"a": NEAR, "b": GOOD, "c": POOR}, SUPPORTED, "b is better than a"),
    (BEATEN, {"a": NEAR, "b": [0.901, 0.909, 0.905], "c": POOR}, CONTRADICTED, "none gains 0.005"),
    (BEATEN, {"a": NEAR, "b": [0.901, 0.909, 0.905], "c": []}, UNDECIDED, "not run: c"),
    (BEATEN, {"a": NEAR, "b": [0.95, 0.85, 0.92]}, UNDECIDED, "the spread of the seeds allows a"),
    (NAMED, {"a": GOOD, "b": POOR, "c": [1.0, 0.99, 1.0]}, SUPPORTED, "b is below a"),
    (RISES, {"a": LOW, "b": MIDDLE, "c": HIGH}, SUPPORTED, "all are above the one before it"),
    (RISES, {"a": LOW, "b": HIGH, "c": MIDDLE}, CONTRADICTED, "c is not above the one before it"),
    (RISES, {"a": LOW, "b": MIDDLE, "c": [0.31, 0.31, 0.32]}, UNDECIDED, ""),
    (BELOW, {"a": LOW, "b": LOW}, SUPPORTED, "all are below 0.5"),
    (BELOW, {"a": LOW, "b": HIGH}, CONTRADICTED, "b is not below 0.5"),
    (BELOW, {"a": LOW, "b": [0.505, 0.499, 0.500]}, TIED, "b may not be below 0.5"),
    (BELOW, {"a": FEW, "b": HIGH}, CONTRADICTED, "b is not below 0.5"),
    (BELOW, {"a": FEW, "b": LOW}, UNDECIDED, "2 of 3 seeds, fewer than 3"),
    (ABOVE, {"a": [*FEW, np.nan]}, UNDECIDED, "2 of 4 seeds, fewer than 3"),
]


@pytest.mark.parametrize(
    ("area", "verdict"),
    [(0.95, SUPPORTED), (0.9, SUPPORTED), (0.64, UNMEASURED), (np.nan, UNMEASURED)],
)
def test_a_measure_that_tells_nothing_apart_decides_nothing(area, verdict):
    """Below an AUC of .9, or where it is not known, no scores decide; others are left alone."""
    scores = make_scores(a=GOOD, b=POOR)
    decision = decide(NAMED, scores, admissions={"dice": area})
    assert decision.verdict == verdict
    assert (f"AUC of {area:.2f}" in decision.reason) == (verdict == UNMEASURED)
    assert decision.effects == decide(NAMED, scores, admissions={"other": area}).effects


@pytest.mark.parametrize(("claim", "scores", "verdict", "reason"), DECISIONS)
def test_scores_decide_as_the_rule_says(claim, scores, verdict, reason):
    """Clear differences decide; spread, few seeds and saturation do not; one rival contradicts."""
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
        (NAMED, {"a": GOOD, "b": POOR, "c": HIGH}, {"b": 0.12}),
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
    """Above is decided as scipy's one-sided one-sample t-tests on both sides of the margin do."""
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(50):
        values = rng.normal(0.52, 0.05, 5)
        decision = decide(ABOVE, make_scores(a=values))
        p_value, tied, contradicted = (
            stats.ttest_1samp(values, number, alternative=side).pvalue
            for number, side in ((0.5, "greater"), (0.48, "greater"), (0.48, "less"))
        )
        zones = {SUPPORTED: p_value, TIED: tied, CONTRADICTED: contradicted, UNDECIDED: 0.0}
        assert decision.verdict == next(zone for zone, p in zones.items() if p < LEVEL)
        assert decision.p_value == pytest.approx(p_value)
        assert decision.effects[0].mean == pytest.approx(values.mean() - 0.5)
        verdicts.add(decision.verdict)
    assert len(verdicts) > 1


def test_numbers_at_the_end_of_a_range_saturate_nothing():
    """A bound of 0 is no score, and a measure in dB may be 0 for all seeds."""
    values = [0.2, 0.3, 0.25]
    assert decide(replace(ABOVE, bound=0.0), make_scores(a=values)).verdict == SUPPORTED
    noise = make_scores(a=[0.0] * 3, b=[20.0, 21.0, 19.0]).rename(columns={"dice": "noise_db"})
    quiet = replace(WORST, measure="noise_db", others=("b",))
    assert decide(quiet, noise).verdict == SUPPORTED


def test_p_value_of_a_claim():
    """Beats takes the smallest times the number of rivals, run or not; the others the largest."""
    scores = make_scores(a=NEAR, b=GOOD, c=POOR)
    beaten = decide(BEATEN, scores, entries=["a", "b", "c", "d"])
    assert beaten.verdict == SUPPORTED
    assert beaten.p_value == pytest.approx(3 * beaten.effects[0].p_value)
    best = decide(BEST, scores, entries=["a", "b", "c"])
    assert best.p_value == max(effect.p_value for effect in best.effects)
    for undecided in (make_scores(a=FULL, b=POOR), make_scores(a=GOOD[:2], b=POOR[:2])):
        assert np.isnan(decide(NAMED, undecided).p_value)


def test_effect_that_decides():
    """It is the one whose bound is closest to what would change the verdict, with that bound."""
    steady, wide = [0.90, 0.901, 0.899], [0.70, 0.90, 0.80]
    open_claim = decide(BEST, make_scores(a=GOOD, b=steady, c=wide), entries=["a", "b", "c"])
    effect, low, high = find_deciding(open_claim)
    assert (open_claim.verdict, effect.rival) == (UNDECIDED, "c")
    assert (low, high) == (effect.low, effect.high)
    lost = decide(BEST, make_scores(a=POOR, b=GOOD, c=wide), entries=["a", "b", "c"])
    effect, low, high = find_deciding(lost)
    assert (effect.rival, low, high) == ("b", effect.low, effect.high_corrected)
    gained = decide(BEATEN, make_scores(a=NEAR, b=GOOD, c=POOR), entries=["a", "b", "c"])
    effect, low, high = find_deciding(gained)
    assert (effect.rival, low, high) == ("b", effect.low_corrected, effect.high)
    assert find_deciding(decide(BEST, make_scores(a=NONE, b=NONE), entries=["a", "b"])) is None


def test_above_is_below_turned():
    """A mean lies above a number exactly where its negative lies below the number's."""
    values = np.array([0.6, 0.7, 0.8])
    mirrored = replace(ABOVE, rule="below", bound=-0.5)
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
    assert decision.verdict == without.verdict == SUPPORTED
    assert decision.reason == f"{without.reason} (3 of 4 seeds measured)"


def test_column_of_entries_can_have_another_name():
    """Scores of the loss study name their entries ``loss``."""
    scores = make_scores(a=GOOD, b=POOR)
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
    silent = {claim.task for claim in CLAIMS if not claim.others and claim.bound is None}
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


def test_thesis_with_little_spread_is_supported():
    """Ten seeds that scatter by .001 about the thesis' Table 1 support all of its claims."""
    rng = np.random.default_rng(0)
    table = read_thesis_table().assign(surface_dice=0.0).rename_axis("entry")
    rows = [
        (table + rng.normal(0, 0.001, table.shape)).assign(seed=seed).reset_index()
        for seed in range(10)
    ]
    for claim in (claim for claim in ABOUT_LOSSES if claim.checks is None):
        decision = decide(claim, pd.concat(rows), entries=table.index)
        assert decision.verdict == SUPPORTED, claim.id


def test_contradicted_check_gates_its_claim():
    """A claim whose check is contradicted reads so; one whose check is undecided does not."""
    check = replace(BEST, id="check", checks="c")
    claim = decide(BEST, make_scores(a=GOOD, b=POOR), entries=["a", "b"])
    failed = decide(check, make_scores(a=POOR, b=GOOD), entries=["a", "b"])
    spread = decide(check, make_scores(a=WIDE, b=ALIKE), entries=["a", "b"])
    gated, left = gate_claims([claim, failed])
    assert (gated.verdict, left.verdict) == (FAILS, CONTRADICTED)
    assert gated.reason == "b is below a, but: b is not below a and misses that by over 0.02"
    assert gate_claims([claim, spread]) == [claim, spread]
    assert gate_claims([failed]) == [failed]


N_SEEDS, SPREAD, INTERACTION = 10, 0.02, 0.03


def simulate_verdicts(*, own_earths, gain=0.0, n_studies=400):
    """How often a rule supports that a is best, where the best rival loses by a gain."""
    rng = np.random.default_rng(1)
    shape = (n_studies, N_SEEDS if own_earths else 1)
    d = gain + rng.normal(0, SPREAD, (n_studies, N_SEEDS)) + rng.normal(0, INTERACTION, shape)
    zeros = [0.5] * N_SEEDS
    verdicts = [decide(NAMED, make_scores(a=0.5 + each, b=zeros)).verdict for each in d]
    return {verdict: verdicts.count(verdict) / n_studies for verdict in set(verdicts)}


def test_level_is_kept_where_each_seed_has_its_own_earths():
    """An interaction of loss and earth breaks the level with shared earths, not with drawn ones."""
    assert simulate_verdicts(own_earths=True)[SUPPORTED] == pytest.approx(LEVEL, abs=0.025)
    assert simulate_verdicts(own_earths=False)[SUPPORTED] > 0.3


def test_large_differences_are_found():
    """Differences of twice the spread are supported, and contradicted with the other sign."""
    assert simulate_verdicts(own_earths=True, gain=0.08)[SUPPORTED] > 0.99
    assert simulate_verdicts(own_earths=True, gain=-0.08)[CONTRADICTED] > 0.95


def test_beats_keeps_its_level_over_many_rivals():
    """Ten rivals that are no better support a gain in at most one study of twenty."""
    rng = np.random.default_rng(2)
    names = [f"r{number}" for number in range(10)]
    supported = 0
    for _ in range(300):
        values = rng.normal(0.5, SPREAD, (11, N_SEEDS))
        scores = make_scores(a=values[0], **dict(zip(names, values[1:], strict=True)))
        supported += decide(BEATEN, scores, entries=["a", *names]).verdict == SUPPORTED
    assert supported / 300 < LEVEL + 0.025


CLAIM = "{id: a, statement: s, source: s, task: t, measure: m, margin: 1, rule: %s, subject: x}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"[{CLAIM % 'odd'}]", "Invalid rule of claim a 'odd'"),
        (f"[{CLAIM % 'best'}, {CLAIM % 'best'}]", "contain duplicates of id 'a'"),
        (
            f"[{CLAIM.replace('margin: 1', 'margin: .nan') % 'best'}]",
            "Invalid margin of claim a nan",
        ),
        (f"[{CLAIM.replace('margin: 1', 'margin: 0') % 'best'}]", r"margin of claim a 0.* in \(0"),
        (f"[{CLAIM % 'best, bound: 1'}]", "Invalid bound 1.0 of claim a. Must be a number for"),
        (f"[{CLAIM % 'above'}]", "Invalid bound None of claim a. Must be a number for"),
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
