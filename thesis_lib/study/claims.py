"""The thesis' statements as claims that scores decide about."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import yaml
from pydantic import BeforeValidator, ConfigDict, TypeAdapter
from scipy.special import stdtrit  # scipy.stats takes long to import

from saltvolumes._checks import check_choice, check_range
from thesis_lib._json import DAMAGE, in_one_line
from thesis_lib.study.tables import REFERENCE

RULES = ("best", "worst", "beats", "rises", "above", "below")
LEVEL = 0.05  # of each one-sided test
# JSON has no NaN.
Number = Annotated[float, BeforeValidator(lambda value: np.nan if value is None else value)]
ZERO = ""  # an entry whose score is 0, for claims about a number
MIN_SEEDS = 3  # fewer leave every claim inconclusive


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
    others: tuple[str, ...] = ()
    margin: float = 0.0
    checks: str | None = None
    __pydantic_config__ = ConfigDict(extra="forbid")

    def __post_init__(self) -> None:
        check_choice(f"rule of claim {self.id}", self.rule, RULES)
        check_range(f"margin of claim {self.id}", self.margin)


@dataclass(frozen=True)
class Effect:
    r"""
    Mean difference over seeds that a claim is about.

    Parameters
    ----------
    rival : str
        What the claimed entry is compared with; for *rises* the entry that follows another; for
        *above* and *below*, which compare with a number, the entry itself.
    mean, low, high : float
        Mean of d and its one-sided 95 % bounds; d is turned so that above 0 speaks for the claim.
        NaN without a seed; of the bounds, with fewer than two.
    low_corrected, high_corrected : float
        The bounds after Bonferroni's correction for the number of differences.
    n_seeds : int
        Number of seeds for which both sides are known.
    """

    rival: str
    mean: Number
    low: Number
    high: Number
    low_corrected: Number
    high_corrected: Number
    n_seeds: int


@dataclass(frozen=True)
class Decision:
    """A claim with its verdict, the reason in one line and the effects behind it."""

    claim: Claim
    verdict: str
    reason: str
    effects: tuple[Effect, ...] = ()


def read_claims(
    path: str | os.PathLike[str] = REFERENCE / "claims.yml", *, task: str | None = None
) -> list[Claim]:
    """
    Read claims from a YAML file, all of them or those of one task; the thesis' if no file is named.

    Raises
    ------
    ValueError
        If the file is not YAML, a claim has an unknown field or lacks one, a rule is unknown, a
        margin is not finite, or two claims have the same id.
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


def decide(
    claim: Claim, scores: pd.DataFrame, *, entries: Sequence[str] = (), by: str = "entry"
) -> Decision:
    r"""
    Decide about a claim.

    An entry is what networks are compared by: a loss, an initialisation, a block. With
    :math:`x_s` the score of the claimed entry for seed s, :math:`y_s` that of another and
    :math:`\delta` the claim's margin, every rule is about the mean of differences :math:`d_s`:

    - *best* about :math:`x_s - y_s - \delta`, *worst* about :math:`y_s - x_s - \delta`, for every
      other entry;
    - *rises* about the same as *worst* for every entry and the one that follows it;
    - *above* about :math:`x_s - \delta`, *below* about :math:`\delta - x_s`, for the claimed entry
      and each of the others;
    - *beats* about :math:`y_s - x_s`, where one entry is enough.

    With t-intervals over seeds, a claim is reproduced if every lower bound is above 0 (an
    intersection-union test, which needs no correction), and not reproduced if some upper bound,
    corrected for the number of differences, is below 0. The rule *beats* is reproduced if some
    corrected lower bound is above 0, and not reproduced if all upper bounds are below the margin.
    All else is inconclusive. A difference with fewer than three seeds decides nothing. A claim
    about all entries is reproduced (or, for *beats*, not reproduced) only where all of them were
    run, with three seeds each; one entry that was can refute it (or, for *beats*, prove it).

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
    check_choice(f"measure of claim {claim.id}", claim.measure, list(scores.columns))
    pairs, margin = _list_pairs(claim, entries), subtracted_margin(claim)
    claimed = [entry for entry in dict.fromkeys(chain.from_iterable(pairs.values())) if entry]
    table = scores.pivot(index="seed", columns=by, values=claim.measure).astype(float)
    missing = [entry for entry in claimed if entry not in table]
    table = table.reindex(columns=claimed)
    sides = table.assign(**{ZERO: 0.0})
    effects = tuple(  # fewer runs correct no less: pairs count whether run or not
        _effect(rival, sides[upper] - sides[lower] - margin, n_pairs=len(pairs))
        for rival, (upper, lower) in pairs.items()
    )
    run = [effect for effect in effects if not {*missing} & {*pairs[effect.rival]}]
    return Decision(claim, *_judge(claim, run, missing, table), effects)


def _judge(
    claim: Claim, effects: Sequence[Effect], missing: Sequence[str], table: pd.DataFrame
) -> tuple[str, str]:
    """Verdict and reason, from the effects of pairs that were run."""
    not_run = ("inconclusive", f"not run: {', '.join(missing)}")
    if not effects:
        return not_run
    if table.isna().all(axis=None):
        return "inconclusive", f"not measured: {claim.measure} is not known here"
    weakest = min(effect.n_seeds for effect in effects)
    too_few = ("inconclusive", f"{_count_seeds(weakest, len(table))}, fewer than {MIN_SEEDS}")
    counting = [effect for effect in effects if effect.n_seeds >= MIN_SEEDS]
    if not counting:
        return too_few
    verdict, reason = _verdict(claim, counting)
    universal = "not reproduced" if claim.rule == "beats" else "reproduced"
    if verdict == universal and missing:
        return not_run
    if verdict in (universal, "inconclusive") and weakest < MIN_SEEDS:
        return too_few
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
        return {entry: (entry, ZERO) for entry in named}
    if claim.rule == "below":
        return {entry: (ZERO, entry) for entry in named}
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


def subtracted_margin(claim: Claim) -> float:
    """Part of the margin that is in d, with its sign; none for *beats*."""
    return {"beats": 0.0, "below": -claim.margin}.get(claim.rule, claim.margin)


def _effect(rival: str, differences: "pd.Series[float]", *, n_pairs: int) -> Effect:
    """Mean and bounds of one d of each seed."""
    d = differences.dropna().to_numpy()
    bounds = (*_bounds(d, level=LEVEL), *_bounds(d, level=LEVEL / n_pairs))
    return Effect(rival, float(d.mean()) if d.size else np.nan, *bounds, n_seeds=d.size)


def _bounds(d: np.ndarray[Any, Any], *, level: float) -> tuple[float, float]:
    """One-sided lower and upper t-bounds of the mean of d, each at ``1 - level``."""
    if d.size < 2:
        return np.nan, np.nan
    half = stdtrit(d.size - 1, 1.0 - level) * d.std(ddof=1) / np.sqrt(d.size)
    return float(d.mean() - half), float(d.mean() + half)


def _verdict(claim: Claim, effects: Sequence[Effect]) -> tuple[str, str]:
    open_reason = "no difference beyond the spread of the seeds"
    if claim.rule == "beats":
        winner = max(effects, key=lambda effect: effect.low_corrected)
        if winner.low_corrected > 0:
            return "reproduced", f"{winner.rival} is better than {claim.subject}"
        if all(effect.high < claim.margin for effect in effects):
            return "not reproduced", f"none gains {claim.margin:g} on {claim.subject}"
        return "inconclusive", open_reason
    relation = _relation(claim)
    if all(effect.low > 0 for effect in effects):
        who = f"{effects[0].rival} is" if len(effects) == 1 else "all are"
        return "reproduced", f"{who} {relation}"
    loser = min(effects, key=lambda effect: effect.high_corrected)
    if loser.high_corrected < 0:
        return "not reproduced", f"{loser.rival} is not {relation}"
    return "inconclusive", open_reason


def _relation(claim: Claim) -> str:
    """How each rival has to lie for the claim to hold."""
    by = f" by {claim.margin:g}" if claim.margin else ""
    return {
        "best": f"below {claim.subject}{by}",
        "worst": f"above {claim.subject}{by}",
        "rises": f"above the one before it{by}",
    }.get(claim.rule, f"{claim.rule} {claim.margin:g}")
