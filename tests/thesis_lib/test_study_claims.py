from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from thesis_lib.study.claims import LEVEL, MIN_SEEDS, Claim, decide, read_claims

LOSSES = ["dice", "mse"]
BEST = Claim("c", "s", "t", "losses", "dice", "best", "dice")
WORST = Claim("c", "s", "t", "losses", "dice", "worst", "mse")
BEATS = Claim("c", "s", "t", "losses", "dice", "beats", "bce_dice", margin=0.005)
FAR = Claim("c", "s", "t", "task", "dice", "best", "far", ("near",), margin=0.05)
RISES = Claim("c", "s", "t", "task", "dice", "rises", "one", ("two", "three"))
ABOVE = Claim("c", "s", "t", "task", "dice", "above", "one", margin=0.5)
BELOW = Claim("c", "s", "t", "task", "dice", "below", "one", ("two",), margin=0.5)


def make_scores(by_entry=(), **more):
    """One row an entry and seed from lists of Dice scores."""
    rows = [
        {"entry": entry, "seed": seed, "dice": value}
        for entry, values in {**dict(by_entry), **more}.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_clear_winner_is_reproduced():
    """A loss that wins by far more than the spread against every rival is the best."""
    scores = make_scores(dice=[0.93, 0.94, 0.95], mse=[0.80, 0.82, 0.84], bce=[0.85, 0.86, 0.87])
    decision = decide(BEST, scores, entries=["dice", "mse", "bce"])
    assert decision.verdict == "reproduced"


def test_clear_loser_is_not_reproduced():
    """A rival that wins by far more than the spread refutes a claim of being best."""
    scores = make_scores(dice=[0.80, 0.81, 0.82], mse=[0.90, 0.91, 0.925], bce=[0.81, 0.79, 0.82])
    decision = decide(BEST, scores, entries=["dice", "mse", "bce"])
    assert decision.verdict == "not reproduced"
    assert decision.reason.startswith("mse ")


def test_spread_leaves_it_open():
    """A difference within the spread of the seeds decides nothing."""
    scores = make_scores(dice=[0.90, 0.95, 0.85], mse=[0.91, 0.86, 0.92])
    assert decide(BEST, scores, entries=["dice", "mse"]).verdict == "inconclusive"


def test_worst_turns_the_sign():
    """The claim of being worst is that of being best with the scores' sign turned."""
    scores = make_scores(mse=[0.70, 0.71, 0.73], dice=[0.90, 0.92, 0.91])
    assert decide(WORST, scores, entries=["mse", "dice"]).verdict == "reproduced"
    assert decide(BEST, scores, entries=["mse", "dice"]).verdict == "reproduced"


def test_effect_equals_scipys_paired_test():
    """The lower bound of d is above 0 exactly where scipy's one-sided paired t-test rejects."""
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(50):
        ours, rival = rng.normal(0.9, 0.02, 5), rng.normal(0.88, 0.02, 5)
        effect = decide(BEST, make_scores(dice=ours, mse=rival), entries=["dice", "mse"]).effects[0]
        p_value = stats.ttest_rel(ours, rival, alternative="greater").pvalue
        assert (effect.low > 0) == (p_value < 0.05)
        verdicts.add(effect.low > 0)
    assert verdicts == {True, False}


def test_bounds_in_closed_form():
    """Bounds of d = (1, 2, 3) are 2 -+ t(.95, 2) / sqrt 3."""
    scores = make_scores(dice=[1.0, 2.0, 3.0], mse=[0.0, 0.0, 0.0])
    effect = decide(BEST, scores, entries=["dice", "mse"]).effects[0]
    half = 2.9199855803537251 / np.sqrt(3)
    assert effect.mean == pytest.approx(2.0)
    assert effect.low == pytest.approx(2.0 - half)
    assert effect.high == pytest.approx(2.0 + half)


def test_correction_widens_with_the_number_of_rivals():
    """Corrected bounds equal the plain ones for one rival and are wider for two."""
    one = make_scores(dice=[0.9, 0.92, 0.91], mse=[0.8, 0.83, 0.82])
    two = make_scores(dice=[0.9, 0.92, 0.91], mse=[0.8, 0.83, 0.82], bce=[0.8, 0.83, 0.82])
    alone = decide(BEST, one, entries=["dice", "mse"]).effects[0]
    corrected = decide(BEST, two, entries=["dice", "mse", "bce"]).effects[0]
    assert alone.low_corrected == alone.low
    assert corrected.low_corrected < alone.low_corrected
    assert corrected.high_corrected > alone.high_corrected


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_few_seeds_are_inconclusive(n_seeds):
    """Fewer than three seeds decide nothing, however large the difference."""
    scores = make_scores(dice=[0.99] * n_seeds, mse=[0.1] * n_seeds)
    decision = decide(BEST, scores, entries=["dice", "mse"])
    assert decision.verdict == "inconclusive"
    assert f"{n_seeds} seed" in decision.reason


def test_baseline_is_beaten():
    """One loss clearly above the baseline is enough."""
    scores = make_scores(bce_dice=[0.9, 0.91, 0.9], dice=[0.95, 0.955, 0.95], mse=[0.5, 0.6, 0.5])
    decision = decide(BEATS, scores, entries=["bce_dice", "dice", "mse"])
    assert decision.verdict == "reproduced"
    assert decision.reason.startswith("dice ")


def test_baseline_stands_below_the_margin():
    """Gains whose upper bounds all lie below the margin refute the claim."""
    scores = make_scores(
        bce_dice=[0.900, 0.910, 0.905], dice=[0.901, 0.909, 0.905], mse=[0.80, 0.81, 0.80]
    )
    assert decide(BEATS, scores, entries=["bce_dice", "dice", "mse"]).verdict == "not reproduced"


def test_missing_loss_keeps_universal_claims_open():
    """What is said of all losses cannot be shown with some of them, but can be refuted."""
    losses = ["dice", "mse", "bce"]
    wins = make_scores(dice=[0.93, 0.94, 0.95], mse=[0.80, 0.82, 0.84])
    loses = make_scores(dice=[0.80, 0.82, 0.84], mse=[0.93, 0.94, 0.95])
    assert decide(BEST, wins, entries=losses).verdict == "inconclusive"
    assert decide(BEST, wins, entries=losses).reason == "not run: bce"
    assert decide(BEST, loses, entries=losses).verdict == "not reproduced"


def test_absent_subject_is_not_run():
    """A claim about a loss that was not run is inconclusive and says so."""
    decision = decide(BEST, make_scores(mse=[0.8, 0.8, 0.8]), entries=["dice", "mse"])
    assert decision.verdict == "inconclusive"
    assert [effect.n_seeds for effect in decision.effects] == [0]
    assert decision.reason.startswith("not run")


def test_unknown_measure_is_not_measured():
    """A score without values, such as metres on a time axis, leaves its claim and effects open."""
    scores = make_scores(dice=[np.nan] * 3, mse=[np.nan] * 3)
    decision = decide(BEST, scores, entries=["dice", "mse"])
    assert decision.reason.startswith("not measured")
    assert [(effect.rival, effect.n_seeds) for effect in decision.effects] == [("mse", 0)]


def test_twice_the_same_network_is_refused():
    """Two rows of one loss and seed are an error, not a mean."""
    scores = pd.concat([make_scores(dice=[0.9], mse=[0.8])] * 2)
    with pytest.raises(ValueError, match="duplicate"):
        decide(BEST, scores, entries=["dice", "mse"])


def test_named_others_need_no_entries():
    """A claim that names its rivals compares with these alone."""
    scores = make_scores(far=[0.95, 0.96, 0.95], near=[0.7, 0.72, 0.71], other=[1.0, 1.0, 1.0])
    decision = decide(FAR, scores, entries=["far", "near", "other"])
    assert decision.verdict == "reproduced"
    assert [effect.rival for effect in decision.effects] == ["near"]


def test_difference_has_to_exceed_its_margin():
    """A difference that is surely there, and surely smaller than the margin, refutes the claim."""
    scores = make_scores(far=[0.951, 0.962, 0.95], near=[0.93, 0.94, 0.93])
    decision = decide(FAR, scores)
    assert decision.verdict == "not reproduced"
    assert decision.reason == "near is not below far by 0.05"
    assert decide(replace(FAR, margin=0.0), scores).verdict == "reproduced"


def test_rising_takes_every_step():
    """Entries rise if each exceeds the one before it, and one falling step refutes it."""
    low, middle, high = [0.1, 0.12, 0.11], [0.3, 0.33, 0.31], [0.6, 0.61, 0.65]
    rising = decide(RISES, make_scores(one=low, two=middle, three=high))
    assert (rising.verdict, rising.reason) == ("reproduced", "all are above the one before it")
    assert [effect.rival for effect in rising.effects] == ["two", "three"]
    assert [effect.mean for effect in rising.effects] == pytest.approx([0.2033333, 0.3066667])
    falling = decide(RISES, make_scores(one=low, two=high, three=middle))
    assert falling.verdict == "not reproduced"
    assert falling.reason == "three is not above the one before it"
    flat = decide(RISES, make_scores(one=low, two=middle, three=[0.31, 0.31, 0.32]))
    assert flat.verdict == "inconclusive"


def test_own_mean_against_a_number_equals_scipys_test():
    """Above is reproduced exactly where scipy's one-sided one-sample t-test rejects."""
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(50):
        values = rng.normal(0.52, 0.05, 5)
        decision = decide(ABOVE, make_scores(one=values))
        greater, less = (
            stats.ttest_1samp(values, 0.5, alternative=side).pvalue < LEVEL
            for side in ("greater", "less")
        )
        expected = "reproduced" if greater else "not reproduced" if less else "inconclusive"
        assert decision.verdict == expected
        assert decision.effects[0].mean == pytest.approx(values.mean() - 0.5)
        verdicts.add(decision.verdict)
    assert len(verdicts) > 1


def test_below_holds_for_each_entry():
    """What is claimed of several entries holds if it holds of each, and fails with one."""
    low, high = [0.1, 0.12, 0.14], [0.8, 0.81, 0.82]
    decision = decide(BELOW, make_scores(one=low, two=low))
    assert (decision.verdict, decision.reason) == ("reproduced", "all are below 0.5")
    assert [effect.mean for effect in decision.effects] == pytest.approx([0.38, 0.38])
    decision = decide(BELOW, make_scores(one=low, two=high))
    assert (decision.verdict, decision.reason) == ("not reproduced", "two is not below 0.5")


def test_above_is_below_turned():
    """A mean lies above a number exactly where its negative lies below the number's."""
    values = np.array([0.6, 0.7, 0.8])
    mirrored = replace(ABOVE, rule="below", margin=-0.5)
    assert (
        decide(ABOVE, make_scores(one=values)).effects
        == decide(mirrored, make_scores(one=-values)).effects
    )


def test_unknown_values_leave_out_their_seed():
    """A network without a value is left out of the pairs, and the reason counts those left."""
    one, two = [0.1, 0.12, 0.11, 0.1], [0.3, 0.33, 0.31, np.nan]
    claim = replace(RISES, others=("two",))
    decision = decide(claim, make_scores(one=one, two=two))
    without = decide(claim, make_scores(one=one[:3], two=two[:3]))
    assert decision.effects == without.effects
    assert decision.verdict == without.verdict == "reproduced"
    assert decision.reason == f"{without.reason} (3 of 4 seeds measured)"


def test_too_few_known_values_are_inconclusive():
    """Two values are too few, however many seeds there are."""
    scores = make_scores(one=[0.9, 0.9, np.nan, np.nan])
    decision = decide(ABOVE, scores)
    assert (decision.verdict, decision.reason) == (
        "inconclusive",
        "2 of 4 seeds, fewer than 3",
    )


def test_entries_with_few_values_keep_none_from_refuting():
    """What one entry with enough seeds refutes is refuted; nothing is proved without the others."""
    low, high, few = [0.1, 0.12, 0.14], [0.8, 0.81, 0.82], [0.1, 0.1, np.nan]
    refuted = decide(BELOW, make_scores(one=few, two=high))
    assert (refuted.verdict, refuted.reason) == ("not reproduced", "two is not below 0.5")
    unproved = decide(BELOW, make_scores(one=few, two=low))
    assert (unproved.verdict, unproved.reason) == ("inconclusive", "2 of 3 seeds, fewer than 3")
    assert refuted.effects[0] == unproved.effects[0]


def test_column_of_entries_can_have_another_name():
    """Scores of the loss study name their entries ``loss``."""
    scores = make_scores(dice=[0.9] * 3, mse=[0.8, 0.81, 0.82])
    renamed = decide(BEST, scores.rename(columns={"entry": "loss"}), entries=LOSSES, by="loss")
    assert renamed == decide(BEST, scores, entries=LOSSES)


def test_missing_measure_is_refused():
    """A measure that scores do not have is named, with those that they have."""
    with pytest.raises(ValueError, match=r"Invalid measure of claim c 'dice'.*'seed', 'score'"):
        decide(ABOVE, make_scores(one=[0.9]).rename(columns={"dice": "score"}))


@pytest.mark.parametrize(("claim", "entries"), [(BEST, ()), (replace(RISES, others=()), ["two"])])
def test_nothing_to_compare_with_is_refused(claim, entries):
    """A comparison needs somebody to compare with; what rises has to be listed in its order."""
    with pytest.raises(ValueError, match="claim c: nothing to compare"):
        decide(claim, make_scores(dice=[0.9], one=[0.9]), entries=entries)


def test_claims_file_is_whole(repository):
    """Every claim about losses has a measure of the study and a subject of the thesis' table."""
    claims = read_claims(repository / "book/reference/claims.yml", task="losses")
    losses = set(pd.read_csv(repository / "book/reference/table1.csv")["loss"])
    assert {claim.subject for claim in claims} <= losses
    assert {claim.measure for claim in claims} == {
        "dice",
        "perimetric_similarity",
        "surface_dice",
    }


def test_only_claims_about_losses_leave_their_rivals_open(repository):
    """Whatever compares entries other than losses names them all."""
    claims = read_claims(repository / "book/reference/claims.yml")
    silent = {claim.task for claim in claims if not claim.others and claim.rule != "above"}
    assert silent == {"losses"}


def test_checks_are_not_in_the_thesis(repository):
    """A claim that checks another names one of the thesis, and says that it is not from there."""
    claims = read_claims(repository / "book/reference/claims.yml")
    own = {claim.id for claim in claims if claim.checks is None}
    assert {claim.checks for claim in claims} - {None} <= own
    for claim in claims:
        assert claim.source.startswith("not in the thesis") == (claim.checks is not None)


def test_every_ps_claim_is_repeated_with_surface_dice(repository):
    """No verdict rests on PS, which is blind to place, alone."""
    claims = read_claims(repository / "book/reference/claims.yml", task="losses")
    repeated = {claim.checks for claim in claims if claim.measure == "surface_dice"}
    assert repeated == {c.id for c in claims if c.measure == "perimetric_similarity"}


def test_the_book_states_the_rule_that_the_code_applies(repository):
    """Level, number of seeds and margins in the book are those of the code and of the claims."""
    page = (repository / "book/notation.md").read_text(encoding="utf-8")
    claims = read_claims(repository / "book/reference/claims.yml", task="losses")
    margins = {claim.measure: claim.margin for claim in claims if claim.rule == "beats"}
    assert margins["perimetric_similarity"] == margins["surface_dice"]
    assert f"$\\alpha = {LEVEL:g}$" in page
    assert f"{margins['dice']:g} for Dice and {margins['surface_dice']:g} for PS" in page
    assert MIN_SEEDS == 3
    assert "fewer than three seeds" in page


def test_thesis_supports_its_own_claims(repository):
    """The thesis' own Table 1 shows what the claims say of it."""
    table = pd.read_csv(repository / "book/reference/table1.csv", index_col="loss")
    for claim in read_claims(repository / "book/reference/claims.yml", task="losses"):
        if claim.checks:
            continue
        scores = table[claim.measure]
        others = scores.drop(claim.subject)
        rule = {
            "best": scores[claim.subject] > others.max(),
            "worst": scores[claim.subject] < others.min(),
            "beats": others.max() > scores[claim.subject] + claim.margin,
        }
        assert rule[claim.rule], claim.id


def test_unknown_rule_is_refused(tmp_path):
    """A rule that does not exist is named, with those that do."""
    path = tmp_path / "claims.yml"
    path.write_text(
        "[{id: a, statement: s, source: s, task: t, measure: m, rule: odd, subject: x}]"
    )
    with pytest.raises(ValueError, match="Invalid rule of claim a 'odd'"):
        read_claims(path)


def test_double_id_is_refused(tmp_path):
    """Two claims of one name are an error."""
    entry = "{id: a, statement: s, source: s, task: t, measure: m, rule: best, subject: x}"
    path = tmp_path / "claims.yml"
    path.write_text(f"[{entry}, {entry}]")
    with pytest.raises(ValueError, match="contain duplicates of id 'a'"):
        read_claims(path)
