"""The thesis' statements as claims that scores decide about."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import yaml
from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from scipy.special import stdtr, stdtrit  # scipy.stats takes long to import

from saltvolumes._checks import check_choice, check_range
from thesis_lib._json import DAMAGE, in_one_line
from thesis_lib.study.tables import ENTRY_NAMES, MEASURE_NAMES, REFERENCE

RULES = ("best", "worst", "beats", "rises", "above", "below")
LEVEL = 0.05  # of each one-sided test
# JSON has no NaN.
Number = Annotated[float, BeforeValidator(lambda value: np.nan if value is None else value)]
BOUND = ""  # an entry whose score is the claim's bound, for claims about a number
MIN_SEEDS = 3  # fewer leave every claim undecided
SUPPORTED, TIED, CONTRADICTED = "supported", "tied", "contradicted"
UNDECIDED, SATURATED, FAILS = "undecided", "saturated", "supported, fails its check"
UNMEASURED = "no valid measure found"
VERDICTS = (SUPPORTED, FAILS, TIED, CONTRADICTED, UNDECIDED, SATURATED, UNMEASURED)
MIN_AUC = 0.9  # for known things, which a measure has to tell apart before it decides

# Measures that end at 0 and 1, where they cannot spread.
FRACTIONS = (
    *("dice", "perimetric_similarity", "surface_dice", "auc", "body", "recognised"),
    "boundary_f1",
)

Differences = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Claim:
    """
    One statement of the thesis, with the measure and the rule that decide about it.

    The fields are those of ``book/reference/claims.yml``, where they are explained.
    """

    id: str
    statement: str
    source: str
    task: str
    measure: str
    rule: str
    subject: str
    margin: float
    others: tuple[str, ...] = ()
    bound: float | None = None
    checks: str | None = None
    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        check_choice(f"rule of claim {self.id}", self.rule, RULES)
        check_range(f"margin of claim {self.id}", self.margin, low=0, exclusive=True)
        if (self.bound is not None) != (self.rule in ("above", "below")):
            raise ValueError(
                f"Invalid bound {self.bound} of claim {self.id}. Must be a number for the rules "
                f"above and below, and left out for {self.rule!r} and the others."
            )
        if self.bound is not None:
            check_range(f"bound of claim {self.id}", self.bound)


@dataclass(frozen=True)
class Effect:
    r"""
    Mean difference over seeds that a claim is about, without the margin.

    Parameters
    ----------
    rival : str
        What the claimed entry is compared with; for *rises* the entry that follows another; for
        *above* and *below*, which compare with a number, the entry itself.
    mean, low, high : float
        Mean of d and its one-sided 95 % bounds; d is turned so that above 0 speaks for the claim.
        NaN without a seed; of the bounds, with fewer than two seeds.
    low_corrected, high_corrected : float
        The bounds after Bonferroni's correction for the number of differences.
    p_value : float
        Of the one-sided t-test that d is above 0; NaN where d decides nothing.
    n_seeds : int
        Number of seeds for which both sides are known.
    saturated : bool
        Whether d is the same for all seeds, or a side that is a fraction is 0 for all of them, or
        1: at the end of its range a score says nothing of the spread.
    """

    rival: str
    mean: Number
    low: Number
    high: Number
    low_corrected: Number
    high_corrected: Number
    p_value: Number
    n_seeds: int
    saturated: bool


@dataclass(frozen=True)
class Decision:
    """A claim with its verdict, the reason in one line and the effects behind it."""

    claim: Claim
    verdict: str
    reason: str
    effects: tuple[Effect, ...] = ()

    @property
    def p_value(self) -> float:
        """Of the claim as a whole, uncorrected for other claims; NaN where effects lack theirs."""
        p_values = [effect.p_value for effect in self.effects]
        if self.claim.rule == "beats":  # one is enough: Bonferroni
            return min(min((p for p in p_values if p >= 0), default=np.nan) * len(p_values), 1.0)
        return float(np.max(p_values)) if p_values else np.nan


def read_claims(
    path: str | os.PathLike[str] = REFERENCE / "claims.yml", *, task: str | None = None
) -> list[Claim]:
    """
    Read claims from a YAML file, all of them or those of one task; the thesis' if no file is named.

    Raises
    ------
    ValueError
        If the file is not YAML, a claim has an unknown field or lacks one, a rule is unknown, a
        margin is not above 0, a bound is missing or in excess, or two claims have the same id.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        claims = TypeAdapter(list[Claim]).validate_python(content)
    except DAMAGE as error:
        raise ValueError(
            f"Cannot read {path}: {in_one_line(error)}. Must be a list of claims in YAML."
        ) from error
    ids = [claim.id for claim in claims]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise ValueError(f"Invalid claims in {path}: contain duplicates of id {twice[0]!r}.")
    return [claim for claim in claims if task in (None, claim.task)]


def is_constant(d: Differences) -> bool:
    """Whether differences are all the same, up to rounding."""
    return bool(np.allclose(d, d[0], rtol=1e-9, atol=1e-12))


def t_bounds(d: Differences, level: float) -> tuple[float, float]:
    """One-sided lower and upper t-bounds of the mean of differences d, each at ``1 - level``."""
    half = stdtrit(d.size - 1, 1.0 - level) * d.std(ddof=1) / np.sqrt(d.size)
    return float(d.mean() - half), float(d.mean() + half)


def decide(
    claim: Claim,
    scores: pd.DataFrame,
    *,
    entries: Sequence[str] = (),
    by: str = "entry",
    bounds: Callable[[Differences, float], tuple[float, float]] = t_bounds,
    admissions: Mapping[str, float] | None = None,
) -> Decision:
    r"""
    Decide about a claim.

    An entry is what networks are compared by: a loss, an initialisation, a block. With
    :math:`x_s` the score of the claimed entry for seed s and :math:`y_s` that of another, every
    rule is about the mean of differences :math:`d_s`:

    - *best* about :math:`x_s - y_s`, *worst* about :math:`y_s - x_s`, for every other entry;
    - *rises* about the same as *worst* for every entry and the one that follows it;
    - *above* about :math:`x_s - b`, *below* about :math:`b - x_s`, with b the claim's bound, for
      the claimed entry and each of the others;
    - *beats* about :math:`y_s - x_s`, where one entry is enough.

    With one-sided 95 % bounds over seeds and :math:`\delta` the claim's margin, a claim is

    - *supported* if every lower bound is above 0 (an intersection-union test, which needs no
      correction); for *beats*, if some corrected lower bound is;
    - else *tied* if every lower bound is above :math:`-\delta`; *beats* knows no tie;
    - *contradicted* if some upper bound, corrected for the number of differences, is below
      :math:`-\delta`; for *beats*, if every upper bound is below :math:`\delta`;
    - else *undecided*.

    A difference with fewer than three seeds decides nothing, and neither does a *saturated* one. A
    claim about all entries is supported or tied (for *beats*, contradicted) only where all of them
    were run; one entry that was can contradict it (for *beats*, support it).

    Where a measure has to be admitted, and does not tell known things apart well enough, no score
    decides: *no valid measure found*.

    Parameters
    ----------
    claim : Claim
        What the thesis says.
    scores : DataFrame
        One row per network, with columns ``by``, ``seed`` and ``claim.measure``. A network
        without a value (NaN: an inversion that did not converge, say) leaves out its seed wherever
        it is compared, and the reason says how many seeds are left.
    entries : sequence of str
        All entries that *best*, *worst* and *beats* speak of, run or not, where the claim itself
        does not name the others.
    by : str
        Name of the column of entries.
    bounds : callable
        Returns the one-sided lower and upper bound of the mean of at least two differences at
        ``1 - level``; takes the differences and the level.
    admissions : mapping of str to float, optional
        Area under the ROC curve with which a measure tells known things apart, for every measure
        that has to be admitted: at least 0.9, NaN where that is not known.

    Returns
    -------
    Decision
        Verdict, reason and an effect for every difference, without values where a side was not run.

    Raises
    ------
    ValueError
        If the measure is not a column of scores, these contain duplicates of an entry and seed, or
        there is nothing to compare the claimed entry with.
    """
    table, pairs = compare_entries(claim, scores, entries=entries, by=by)
    effects = tuple(  # fewer runs correct no less: pairs count whether run or not
        _measure_effect(claim, rival, table[list(pair)], len(pairs), bounds)
        for rival, pair in pairs.items()
    )
    area = (admissions or {}).get(claim.measure, 1.0)
    if not area >= MIN_AUC:
        reason = f"{_name_measure(claim)} tells known things apart with an AUC of {area:.2f} only"
        return Decision(claim, UNMEASURED, reason, effects)
    known = {*scores[by], BOUND}
    missing = [str(entry) for entry in table if entry not in known]
    run = [effect for effect in effects if known.issuperset(pairs[effect.rival])]
    return Decision(claim, *_judge(claim, run, missing, table), effects)


def compare_entries(
    claim: Claim, scores: pd.DataFrame, *, entries: Sequence[str] = (), by: str = "entry"
) -> tuple[pd.DataFrame, dict[str, tuple[str, str]]]:
    """
    Lay scores out for the comparisons of a claim; parameters and errors are those of `decide`.

    Returns
    -------
    table : DataFrame
        The measure, one row per seed and one column per entry that is compared (NaN where it was
        not run), and `BOUND`, where the claim has one.
    pairs : dict of str to tuple of str
        By rival, the two columns of which the first has to be larger for the claim to hold.
    """
    check_choice(f"measure of claim {claim.id}", claim.measure, list(scores.columns))
    pairs = _list_pairs(claim, entries)
    table = scores.pivot(index="seed", columns=by, values=claim.measure).astype(float)
    table = table.reindex(columns=[*dict.fromkeys(chain.from_iterable(pairs.values()))])
    return table.assign(**{BOUND: claim.bound} if BOUND in table else {}), pairs


def gate_claims(decisions: Sequence[Decision]) -> list[Decision]:
    """Mark supported claims that a check among the same decisions contradicts."""
    failed = {each.claim.checks: each for each in decisions if each.verdict == CONTRADICTED}
    return [
        replace(each, verdict=FAILS, reason=f"{each.reason}, but: {failed[each.claim.id].reason}")
        if each.verdict == SUPPORTED and each.claim.id in failed
        else each
        for each in decisions
    ]


def _judge(
    claim: Claim, effects: Sequence[Effect], missing: Sequence[str], table: pd.DataFrame
) -> tuple[str, str]:
    """Verdict and reason, from the effects of pairs that were run."""
    not_run = (UNDECIDED, f"not run: {_join_names(missing)}")
    if not effects:
        return not_run
    if table.drop(columns=BOUND, errors="ignore").isna().all(axis=None):
        return UNDECIDED, f"not measured: {_name_measure(claim)} is not known here"
    weakest = min(effect.n_seeds for effect in effects)
    saturated = [effect.rival for effect in effects if effect.saturated]
    counting = [e for e in effects if e.n_seeds >= MIN_SEEDS and not e.saturated]
    verdict, reason = _find_zone(claim, counting) if counting else (UNDECIDED, "")
    decided_by_one = SUPPORTED if claim.rule == "beats" else CONTRADICTED
    if verdict != decided_by_one:
        if verdict != UNDECIDED and missing:
            return not_run
        if weakest < MIN_SEEDS:
            return UNDECIDED, f"{_count_seeds(weakest, len(table))}, fewer than {MIN_SEEDS}"
        if saturated:
            return SATURATED, f"no spread over seeds to judge by: {_join_names(saturated)}"
    n_seeds = min(effect.n_seeds for effect in counting)
    if n_seeds < len(table):
        reason += f" ({_count_seeds(n_seeds, len(table))} measured)"
    return verdict, reason


def _count_seeds(n_seeds: int, n_all: int) -> str:
    known = f" of {n_all}" if n_seeds < n_all else ""
    return f"{n_seeds}{known} seed{'s' if n_seeds != 1 or known else ''}"


def _list_pairs(claim: Claim, entries: Sequence[str]) -> dict[str, tuple[str, str]]:
    """By rival, the two entries of which the first has to be larger for the claim to hold."""
    subject, named = claim.subject, (claim.subject, *claim.others)
    if claim.rule == "above":
        return {entry: (entry, BOUND) for entry in named}
    if claim.rule == "below":
        return {entry: (BOUND, entry) for entry in named}
    others = claim.others or [entry for entry in entries if entry != subject]
    if not others or (claim.rule == "rises" and not claim.others):
        raise ValueError(
            f"Invalid claim {claim.id}: nothing to compare {subject!r} with. Must name others, or "
            "come with entries."
        )
    if claim.rule == "rises":
        return {after: (after, before) for before, after in pairwise(named)}
    if claim.rule == "best":
        return {entry: (subject, entry) for entry in others}
    return {entry: (entry, subject) for entry in others}


def _measure_effect(
    claim: Claim,
    rival: str,
    sides: pd.DataFrame,  # (n_seeds, 2)
    n_pairs: int,
    bounds: Callable[[Differences, float], tuple[float, float]],
) -> Effect:
    """Mean and bounds of one d of each seed."""
    no_bounds = (np.nan, np.nan, np.nan, np.nan)
    sides = sides.dropna()
    d = (sides.iloc[:, 0] - sides.iloc[:, 1]).to_numpy()
    if d.size < 2:
        mean = float(d.mean()) if d.size else np.nan
        return Effect(rival, mean, *no_bounds, no_bounds[0], d.size, saturated=False)
    scores = sides.drop(columns=BOUND, errors="ignore").to_numpy()
    ends = (0.0, 1.0) if claim.measure in FRACTIONS else ()
    saturated = is_constant(d) or any((scores == end).all(axis=0).any() for end in ends)
    limits = (*bounds(d, LEVEL), *bounds(d, LEVEL / n_pairs))
    decides = not saturated and d.size >= MIN_SEEDS
    t = d.mean() / (d.std(ddof=1) / np.sqrt(d.size)) if decides else np.nan
    p_value = float(stdtr(d.size - 1, -t))
    return Effect(rival, float(d.mean()), *limits, p_value, d.size, saturated)


def find_deciding(decision: Decision) -> tuple[Effect, float, float] | None:
    """
    Find the effect that a verdict turns on, with the bounds that it is judged by.

    Returns
    -------
    tuple of (Effect, float, float) or None
        Lower and upper bound: for *beats* the lower one is corrected for the number of rivals, for
        a contradicted claim of another rule the upper one is. None where nothing was measured.
    """
    effects = [effect for effect in decision.effects if effect.n_seeds]
    if not effects:
        return None
    if decision.claim.rule == "beats":
        best = max(effects, key=lambda each: np.nan_to_num(each.low_corrected, nan=each.mean))
        return best, best.low_corrected, best.high
    if decision.verdict == CONTRADICTED:
        worst = min(effects, key=lambda each: np.nan_to_num(each.high_corrected, nan=each.mean))
        return worst, worst.low, worst.high_corrected
    worst = min(effects, key=lambda each: np.nan_to_num(each.low, nan=each.mean))
    return worst, worst.low, worst.high


def _find_zone(claim: Claim, effects: Sequence[Effect]) -> tuple[str, str]:
    """Verdict and reason, where all effects count."""
    margin = f"{claim.margin:g}"
    if claim.rule == "beats":
        winner = max(effects, key=lambda effect: effect.low_corrected)
        if winner.low_corrected > 0:
            return SUPPORTED, f"{_name(winner.rival)} is better than {_name(claim.subject)}"
        if all(effect.high < claim.margin for effect in effects):
            return CONTRADICTED, f"none gains {margin} on {_name(claim.subject)}"
        return UNDECIDED, f"the spread of the seeds allows a gain of {margin} and none"
    relation, lowest = _describe_relation(claim), min(effects, key=lambda effect: effect.low)
    if lowest.low > 0:
        who = f"{_name(effects[0].rival)} is" if len(effects) == 1 else "all are"
        return SUPPORTED, f"{who} {relation}"
    if lowest.low > -claim.margin:
        words = f"may not be {relation}, but misses that by less than {margin}"
        return TIED, f"{_name(lowest.rival)} {words}"
    loser = min(effects, key=lambda effect: effect.high_corrected)
    if loser.high_corrected < -claim.margin:
        words = f"is not {relation} and misses that by over {margin}"
        return CONTRADICTED, f"{_name(loser.rival)} {words}"
    return UNDECIDED, f"the spread of the seeds allows {_name(lowest.rival)} on either side"


def _describe_relation(claim: Claim) -> str:
    """How each rival has to lie for the claim to hold."""
    return {
        "best": f"below {_name(claim.subject)}",
        "worst": f"above {_name(claim.subject)}",
        "rises": "above the one before it",
    }.get(claim.rule, f"{claim.rule} {claim.bound}")


def _name(key: str) -> str:
    """What readers know an entry by."""
    return ENTRY_NAMES.get(key, key)


def _name_measure(claim: Claim) -> str:
    return f"'{MEASURE_NAMES.get(claim.measure, claim.measure)}'"


def _join_names(keys: Sequence[str]) -> str:
    return ", ".join(map(_name, keys))
