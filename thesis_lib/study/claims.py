"""The thesis' statements as claims that scores decide about."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from thesis_lib._checks import check_choice

RULES = ("best", "worst", "beats")
LEVEL = 0.05  # of each one-sided test
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
    margin: float = 0.0
    checks: str | None = None

    def __post_init__(self) -> None:
        check_choice(f"rule of claim {self.id}", self.rule, RULES)


@dataclass(frozen=True)
class Effect:
    r"""
    Paired difference between the claimed loss and one rival, over seeds.

    Parameters
    ----------
    rival : str
        The other loss.
    mean, low, high : float
        Mean of d and its one-sided 95 % bounds; d is turned so that above 0 speaks for the claim.
        NaN where there are fewer than two seeds.
    low_corrected, high_corrected : float
        The bounds after Bonferroni's correction for the number of rivals.
    n_seeds : int
        Number of seeds that both losses were trained with.
    """

    rival: str
    mean: float
    low: float
    high: float
    low_corrected: float
    high_corrected: float
    n_seeds: int


@dataclass(frozen=True)
class Decision:
    """A claim with its verdict, the reason in one line and the effects behind it."""

    claim: Claim
    verdict: str
    reason: str
    effects: tuple[Effect, ...] = ()


def read_claims(path: str | os.PathLike[str], *, task: str | None = None) -> list[Claim]:
    """
    Read claims from a YAML file, all of them or those of one task.

    Raises
    ------
    TypeError
        If a claim has an unknown field or lacks one.
    ValueError
        If a rule is unknown or two claims have the same id.
    """
    claims = [Claim(**entry) for entry in yaml.safe_load(Path(path).read_text(encoding="utf-8"))]
    ids = [claim.id for claim in claims]
    for name in ids:
        if ids.count(name) > 1:
            raise ValueError(f"Invalid claims in {path}: id {name!r} stands there more than once.")
    return [claim for claim in claims if task in (None, claim.task)]


def decide(claim: Claim, scores: pd.DataFrame, *, losses: Sequence[str]) -> Decision:
    r"""
    Decide about a claim on losses.

    With :math:`d_s` the score of the claimed loss minus that of a rival for seed s (the other
    way round for *worst*; rival minus baseline for *beats*), and t-intervals over seeds:

    - *best*, *worst* are reproduced if every lower bound is above 0 (an intersection-union test,
      which needs no correction), and not reproduced if some rival's corrected upper bound is
      below 0;
    - *beats* is reproduced if some corrected lower bound is above 0, and not reproduced if all
      upper bounds are below the margin;
    - all else, and fewer than three seeds, is inconclusive.

    A claim about all losses is reproduced (or, for *beats*, not reproduced) only where all of
    them were run.

    Parameters
    ----------
    claim : Claim
        What the thesis says.
    scores : DataFrame
        One row a trained network, with columns ``loss``, ``seed`` and ``claim.measure``.
    losses : sequence of str
        All losses that the claim speaks of, run or not.

    Returns
    -------
    Decision
        Verdict, reason and the effect against every rival that was run.

    Raises
    ------
    ValueError
        If a loss and seed stand there twice.
    """
    table = scores.pivot(index="seed", columns="loss", values=claim.measure).astype(float)
    if table.isna().all(axis=None):
        return Decision(claim, "inconclusive", f"not measured: {claim.measure} is not known here")
    n_rivals = len(set(losses) - {claim.subject})  # run or not: fewer runs correct no less
    rivals = [loss for loss in losses if loss != claim.subject and loss in table]
    if claim.subject not in table or not rivals:
        return Decision(claim, "inconclusive", "not run: the losses it compares are missing")
    effects = tuple(_effect(claim, table, rival, n_rivals=n_rivals) for rival in rivals)
    missing = sorted(set(losses) - set(table.columns))
    n_seeds = min(effect.n_seeds for effect in effects)
    if n_seeds < MIN_SEEDS:
        seeds = "1 seed" if n_seeds == 1 else f"{n_seeds} seeds"
        return Decision(claim, "inconclusive", f"{seeds}, fewer than {MIN_SEEDS}", effects)
    verdict, reason = _verdict(claim, effects)
    universal = "not reproduced" if claim.rule == "beats" else "reproduced"
    if missing and verdict == universal:
        return Decision(claim, "inconclusive", f"not run: {', '.join(missing)}", effects)
    return Decision(claim, verdict, reason, effects)


def _effect(claim: Claim, table: pd.DataFrame, rival: str, *, n_rivals: int) -> Effect:
    """Effect of one rival; d above 0 speaks for the claim."""
    sign = 1.0 if claim.rule == "best" else -1.0
    d = (sign * (table[claim.subject] - table[rival])).dropna().to_numpy()
    low, high = _bounds(d, level=LEVEL)
    low_corrected, high_corrected = _bounds(d, level=LEVEL / n_rivals)
    mean = float(d.mean()) if d.size else float("nan")
    return Effect(rival, mean, low, high, low_corrected, high_corrected, d.size)


def _bounds(d: np.ndarray[Any, Any], *, level: float) -> tuple[float, float]:
    """One-sided lower and upper t-bounds of the mean of d, each at ``1 - level``."""
    if d.size < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf(1.0 - level, d.size - 1) * d.std(ddof=1) / np.sqrt(d.size)
    return float(d.mean() - half), float(d.mean() + half)


def _verdict(claim: Claim, effects: Sequence[Effect]) -> tuple[str, str]:
    if claim.rule == "beats":
        winner = max(effects, key=lambda effect: effect.low_corrected)
        if winner.low_corrected > 0:
            return "reproduced", f"{winner.rival} is better than {claim.subject}"
        if all(effect.high < claim.margin for effect in effects):
            return "not reproduced", f"no loss gains {claim.margin:g} on {claim.subject}"
        return "inconclusive", "no difference beyond the spread of the seeds"
    if all(effect.low > 0 for effect in effects):
        return "reproduced", f"{claim.subject} is {claim.rule} against every rival"
    loser = min(effects, key=lambda effect: effect.high_corrected)
    if loser.high_corrected < 0:
        word = "better" if claim.rule == "best" else "worse"
        return "not reproduced", f"{loser.rival} is {word} than {claim.subject}"
    return "inconclusive", "no difference beyond the spread of the seeds"
