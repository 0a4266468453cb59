import numpy as np
import pandas as pd
import pytest
from scipy import stats

from thesis_lib.study.claims import LEVEL, MIN_SEEDS, Claim, decide, read_claims

BEST = Claim("c", "s", "t", "losses", "dice", "best", "dice")
WORST = Claim("c", "s", "t", "losses", "dice", "worst", "mse")
BEATS = Claim("c", "s", "t", "losses", "dice", "beats", "bce_dice", margin=0.005)


def make_scores(**by_loss):
    """One row a loss and seed from lists of Dice scores."""
    rows = [
        {"loss": loss, "seed": seed, "dice": value}
        for loss, values in by_loss.items()
        for seed, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_clear_winner_is_reproduced():
    """A loss that wins by far more than the spread against every rival is the best."""
    scores = make_scores(dice=[0.93, 0.94, 0.95], mse=[0.80, 0.82, 0.84], bce=[0.85, 0.86, 0.87])
    decision = decide(BEST, scores, losses=["dice", "mse", "bce"])
    assert decision.verdict == "reproduced"


def test_clear_loser_is_not_reproduced():
    """A rival that wins by far more than the spread refutes a claim of being best."""
    scores = make_scores(dice=[0.80, 0.81, 0.82], mse=[0.90, 0.91, 0.925], bce=[0.81, 0.79, 0.82])
    decision = decide(BEST, scores, losses=["dice", "mse", "bce"])
    assert decision.verdict == "not reproduced"
    assert decision.reason.startswith("mse ")


def test_spread_leaves_it_open():
    """A difference within the spread of the seeds decides nothing."""
    scores = make_scores(dice=[0.90, 0.95, 0.85], mse=[0.91, 0.86, 0.92])
    assert decide(BEST, scores, losses=["dice", "mse"]).verdict == "inconclusive"


def test_worst_turns_the_sign():
    """The claim of being worst is that of being best with the scores' sign turned."""
    scores = make_scores(mse=[0.70, 0.71, 0.73], dice=[0.90, 0.92, 0.91])
    assert decide(WORST, scores, losses=["mse", "dice"]).verdict == "reproduced"
    assert decide(BEST, scores, losses=["mse", "dice"]).verdict == "reproduced"


def test_effect_equals_scipys_paired_test():
    """The lower bound of d is above 0 exactly where scipy's one-sided paired t-test rejects."""
    rng = np.random.default_rng(0)
    verdicts = set()
    for _ in range(50):
        ours, rival = rng.normal(0.9, 0.02, 5), rng.normal(0.88, 0.02, 5)
        effect = decide(BEST, make_scores(dice=ours, mse=rival), losses=["dice", "mse"]).effects[0]
        p_value = stats.ttest_rel(ours, rival, alternative="greater").pvalue
        assert (effect.low > 0) == (p_value < 0.05)
        verdicts.add(effect.low > 0)
    assert verdicts == {True, False}


def test_bounds_in_closed_form():
    """Bounds of d = (1, 2, 3) are 2 -+ t(.95, 2) / sqrt 3."""
    scores = make_scores(dice=[1.0, 2.0, 3.0], mse=[0.0, 0.0, 0.0])
    effect = decide(BEST, scores, losses=["dice", "mse"]).effects[0]
    half = 2.9199855803537251 / np.sqrt(3)
    assert effect.mean == pytest.approx(2.0)
    assert effect.low == pytest.approx(2.0 - half)
    assert effect.high == pytest.approx(2.0 + half)


def test_correction_widens_with_the_number_of_rivals():
    """Corrected bounds equal the plain ones for one rival and are wider for two."""
    one = make_scores(dice=[0.9, 0.92, 0.91], mse=[0.8, 0.83, 0.82])
    two = make_scores(dice=[0.9, 0.92, 0.91], mse=[0.8, 0.83, 0.82], bce=[0.8, 0.83, 0.82])
    alone = decide(BEST, one, losses=["dice", "mse"]).effects[0]
    corrected = decide(BEST, two, losses=["dice", "mse", "bce"]).effects[0]
    assert alone.low_corrected == alone.low
    assert corrected.low_corrected < alone.low_corrected
    assert corrected.high_corrected > alone.high_corrected


@pytest.mark.parametrize("n_seeds", [1, 2])
def test_few_seeds_are_inconclusive(n_seeds):
    """Fewer than three seeds decide nothing, however large the difference."""
    scores = make_scores(dice=[0.99] * n_seeds, mse=[0.1] * n_seeds)
    decision = decide(BEST, scores, losses=["dice", "mse"])
    assert decision.verdict == "inconclusive"
    assert f"{n_seeds} seed" in decision.reason


def test_baseline_is_beaten():
    """One loss clearly above the baseline is enough."""
    scores = make_scores(bce_dice=[0.9, 0.91, 0.9], dice=[0.95, 0.955, 0.95], mse=[0.5, 0.6, 0.5])
    decision = decide(BEATS, scores, losses=["bce_dice", "dice", "mse"])
    assert decision.verdict == "reproduced"
    assert decision.reason.startswith("dice ")


def test_baseline_stands_below_the_margin():
    """Gains whose upper bounds all lie below the margin refute the claim."""
    scores = make_scores(
        bce_dice=[0.900, 0.910, 0.905], dice=[0.901, 0.909, 0.905], mse=[0.80, 0.81, 0.80]
    )
    assert decide(BEATS, scores, losses=["bce_dice", "dice", "mse"]).verdict == "not reproduced"


def test_missing_loss_keeps_universal_claims_open():
    """What is said of all losses cannot be shown with some of them, but can be refuted."""
    losses = ["dice", "mse", "bce"]
    wins = make_scores(dice=[0.93, 0.94, 0.95], mse=[0.80, 0.82, 0.84])
    loses = make_scores(dice=[0.80, 0.82, 0.84], mse=[0.93, 0.94, 0.95])
    assert decide(BEST, wins, losses=losses).verdict == "inconclusive"
    assert decide(BEST, wins, losses=losses).reason == "not run: bce"
    assert decide(BEST, loses, losses=losses).verdict == "not reproduced"


def test_absent_subject_is_not_run():
    """A claim about a loss that was not run is inconclusive and says so."""
    decision = decide(BEST, make_scores(mse=[0.8, 0.8, 0.8]), losses=["dice", "mse"])
    assert (decision.verdict, decision.effects) == ("inconclusive", ())
    assert decision.reason.startswith("not run")


def test_unknown_measure_is_not_measured():
    """A score without values, such as metres on a time axis, leaves its claim open."""
    scores = make_scores(dice=[np.nan] * 3, mse=[np.nan] * 3)
    assert decide(BEST, scores, losses=["dice", "mse"]).reason.startswith("not measured")


def test_twice_the_same_network_is_refused():
    """Two rows of one loss and seed are an error, not a mean."""
    scores = pd.concat([make_scores(dice=[0.9], mse=[0.8])] * 2)
    with pytest.raises(ValueError, match="duplicate"):
        decide(BEST, scores, losses=["dice", "mse"])


def test_claims_file_is_whole(repository):
    """Every claim of the book has a known rule and measure and a subject of the thesis' table."""
    claims = read_claims(repository / "book/reference/claims.yml", task="losses")
    losses = set(pd.read_csv(repository / "book/reference/table1.csv")["loss"])
    assert {claim.subject for claim in claims} <= losses
    assert {claim.measure for claim in claims} == {
        "dice",
        "perimetric_similarity",
        "surface_dice",
    }


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
    with pytest.raises(ValueError, match="'a' stands there more than once"):
        read_claims(path)
