"""What accompanies verdicts and changes none: power, bootstrap, Holm, the set of the best."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from thesis_lib.study.claims import (
    LEVEL,
    MIN_SEEDS,
    Claim,
    Decision,
    Differences,
    compare_entries,
    decide,
    gate_claims,
    is_constant,
    t_bounds,
)
from thesis_lib.study.tables import NOT_RUN

N_DRAWS = 2000  # simulated studies
MIN_BOOTSTRAP = 10  # seeds; with fewer a bootstrap supports far too much
ENOUGH_POWER = 0.8
N_RESAMPLES = 4999  # of a bootstrap: enough for the bounds that are corrected for ten rivals


def bootstrap_bounds(d: Differences, level: float) -> tuple[float, float]:
    """
    One-sided bounds of a mean, each at ``1 - level``, from a bootstrap over seeds.

    Bias-corrected and accelerated [1]_, always with the same resamples. It assumes no normal
    distribution, but needs more seeds than `t_bounds` does to keep its level: in simulations 14 %
    of bounds at a nominal 5 % were on the wrong side with three seeds, 7 % with ten. NaN for fewer
    than three.

    References
    ----------
    .. [1] Efron (1987). Better bootstrap confidence intervals.
       https://doi.org/10.1080/01621459.1987.10478410
    """
    if d.size < MIN_SEEDS:
        return np.nan, np.nan
    if is_constant(d):
        return float(d[0]), float(d[0])
    found = stats.bootstrap(
        (d,),
        np.mean,
        confidence_level=1 - 2 * level,
        n_resamples=N_RESAMPLES,
        rng=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def compute_power(
    claim: Claim,
    scores: pd.DataFrame,
    *,
    gain: float,
    entries: Sequence[str] = (),
    by: str = "entry",
) -> float:
    """
    Compute how often studies like this one would support a claim that is true by some difference.

    Studies of as many seeds are drawn from a normal distribution with the covariance of the
    differences that were seen, and judged by the rule of `decide`.

    Parameters
    ----------
    gain : float
        True difference to every rival; for *beats* the gain of one rival, and the result is the
        mean over rivals.
    claim, scores, entries, by
        As :func:`~thesis_lib.study.decide` takes them.

    Returns
    -------
    float
        Fraction of simulated studies with the verdict *supported*; NaN with fewer than three seeds
        that have all entries, or where a difference is saturated.
    """
    if any(effect.saturated for effect in decide(claim, scores, entries=entries, by=by).effects):
        return np.nan
    table, pairs = compare_entries(claim, scores, entries=entries, by=by)
    d = np.array([table[upper] - table[lower] for upper, lower in pairs.values()]).T
    d = d[np.isfinite(d).all(axis=1)]  # (n_seeds, n_pairs)
    if len(d) < MIN_SEEDS:
        return np.nan
    n_pairs, covariance = d.shape[1], np.atleast_2d(np.cov(d, rowvar=False))
    rng = np.random.default_rng(0)
    noise = rng.multivariate_normal(np.zeros(n_pairs), covariance, (N_DRAWS, len(d)), method="svd")
    level = LEVEL / n_pairs if claim.rule == "beats" else LEVEL
    half = stats.t.ppf(1 - level, len(d) - 1) * noise.std(axis=1, ddof=1) / np.sqrt(len(d))
    low = noise.mean(axis=1) - half  # (n_draws, n_pairs), without the gain
    if claim.rule == "beats":
        gains = gain * np.eye(n_pairs)[:, None]
        return float((low + gains > 0).any(axis=2).mean())
    return float((low + gain > 0).all(axis=1).mean())


def survive_holm(p_values: Mapping[str, float]) -> set[str]:
    """
    Return the names whose p-values Holm's step-down correction at 5 % rejects [1]_.

    NaN counts as 1: a claim that cannot be tested takes part in the number of claims.

    References
    ----------
    .. [1] Holm (1979). A simple sequentially rejective multiple test procedure. Scandinavian
       Journal of Statistics 6, 65-70.

    Examples
    --------
    >>> sorted(survive_holm({"a": 0.001, "b": 0.02, "c": 0.2, "d": float("nan")}))
    ['a']
    """
    ordered = pd.Series(p_values, dtype=float).fillna(1.0).sort_values(kind="stable")
    allowed = LEVEL / np.arange(len(ordered), 0, -1)
    return {*ordered.index[(ordered.to_numpy() <= allowed).cumprod().astype(bool)]}


def find_best_set(scores: pd.DataFrame, measure: str, *, by: str = "entry") -> list[str]:
    """
    Find the entries that may be the best, after Hsu's multiple comparisons with the best [1]_.

    An entry is left out if the mean difference of some rival to it, paired by seed, has a lower
    bound above 0 that is corrected for the number of rivals (Bonferroni: variances may differ). The
    truly best entry is in the set with a probability of at least 95 %.

    Parameters
    ----------
    scores : DataFrame
        One row per network: columns ``by``, ``seed`` and the measure; seeds without all entries
        are left out.
    measure : str
        Larger is better.
    by : str
        Name of the column of entries.

    Returns
    -------
    list of str
        All entries where fewer than three seeds have all of them.

    References
    ----------
    .. [1] Hsu (1981). Simultaneous confidence intervals for all distances from the "best".
       https://doi.org/10.1214/aos/1176345582
    """
    table = _pivot(scores, measure, by)
    names = [str(name) for name in table]
    if len(table) < MIN_SEEDS:
        return names
    level = LEVEL / max(len(names) - 1, 1)
    return [
        name
        for name in names
        if not any(
            not is_constant(d) and t_bounds(d, level)[0] > 0
            for d in ((table[rival] - table[name]).to_numpy() for rival in names if rival != name)
        )
    ]


def count_first(scores: pd.DataFrame, measure: str, *, by: str = "entry") -> "pd.Series[int]":
    """Count the seeds in which each entry has the highest score; arguments as `find_best_set`."""
    table = _pivot(scores, measure, by)
    return table.idxmax(axis=1).value_counts().reindex(table.columns, fill_value=0)


def correlate_ranks(
    scores: pd.DataFrame, reference: "pd.Series[float]", measure: str, *, by: str = "entry"
) -> tuple[float, float, float]:
    """
    Compute Spearman's rank correlation of mean scores with a reference, with a 95 % interval.

    Parameters
    ----------
    reference : Series
        By entry.
    scores, measure, by
        As for `find_best_set`.

    Returns
    -------
    correlation, low, high : float
        The interval is that of the percentiles of a bootstrap over seeds: what is left to chance
        is the seeds, not the entries. NaN for fewer than three entries, bounds for fewer than
        three seeds.
    """
    table = _pivot(scores, measure, by)
    if table.shape[1] < 3:
        return np.nan, np.nan, np.nan
    rng = np.random.default_rng(0)
    rows = rng.integers(len(table), size=(N_DRAWS, len(table)))
    rows[0] = np.arange(len(table))  # the seeds themselves
    means = table.to_numpy()[rows].mean(axis=1)  # (n_draws, n_entries)
    ours, theirs = (
        stats.zscore(stats.rankdata(values, axis=-1), axis=-1)
        for values in (means, reference.loc[table.columns].to_numpy())
    )
    drawn = (ours * theirs).mean(axis=-1)  # Spearman's, of each draw
    low, high = np.quantile(drawn, [0.025, 0.975]) if len(table) >= MIN_SEEDS else (np.nan, np.nan)
    return float(drawn[0]), float(low), float(high)


def judge_evidence(
    decisions: Sequence[Decision],
    scores: pd.DataFrame,
    *,
    entries: Sequence[str],
    by: str = "entry",
) -> pd.DataFrame:
    """
    Lay out what accompanies some verdicts.

    Parameters
    ----------
    decisions : sequence of Decision
        All by the same scores.
    scores, entries, by
        As :func:`~thesis_lib.study.decide` took them.

    Returns
    -------
    DataFrame
        One row per claim: ``claim``, ``verdict``, ``bootstrap`` (the verdict of the same zones by
        `bootstrap_bounds`; *not run* with fewer than ten seeds), ``p_value``, ``power`` and
        ``power_2`` at one and two margins.
    """
    options: dict[str, Any] = {"entries": entries, "by": by}
    claims = [decision.claim for decision in decisions]
    second = [NOT_RUN] * len(claims)
    if scores["seed"].nunique() >= MIN_BOOTSTRAP:
        again = [decide(claim, scores, **options, bounds=bootstrap_bounds) for claim in claims]
        second = [each.verdict for each in gate_claims(again)]
    rows = [
        {
            "claim": each.claim.statement,
            "verdict": each.verdict,
            "bootstrap": verdict,
            "p_value": each.p_value,
            "power": compute_power(each.claim, scores, gain=each.claim.margin, **options),
            "power_2": compute_power(each.claim, scores, gain=2 * each.claim.margin, **options),
        }
        for each, verdict in zip(decisions, second, strict=True)
    ]
    return pd.DataFrame(rows)


def average_settings(table: pd.DataFrame, setting: str, measure: str = "dice") -> pd.DataFrame:
    """
    Average a score over seeds for every loss and value of a setting.

    Parameters
    ----------
    table : DataFrame
        One row per network: ``loss``, ``seed``, the setting and the measure; may be empty.

    Returns
    -------
    DataFrame
        One row per loss, one column per value. Seeds of a loss that lack a value are left out, so
        that values are compared on the same earths.
    """
    if table.empty:
        return pd.DataFrame()
    wide = table.pivot(index=["loss", "seed"], columns=setting, values=measure).astype(float)
    return wide.dropna().groupby("loss").mean()


def _pivot(scores: pd.DataFrame, measure: str, by: str) -> pd.DataFrame:
    """One row per seed that has all entries, one column per entry."""
    return scores.pivot(index="seed", columns=by, values=measure).astype(float).dropna()
