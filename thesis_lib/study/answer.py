"""The answer of the loss study in five sentences, for the first screen of book and README."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from thesis_lib.study.claim_tables import count_verdicts
from thesis_lib.study.claims import MIN_SEEDS, SUPPORTED, Decision, t_bounds
from thesis_lib.study.evidence import find_best_set
from thesis_lib.study.tables import BASELINE, LOSS_NAMES


def answer_losses(
    scores: pd.DataFrame,
    decisions: Sequence[Decision],
    *,
    budgets: pd.DataFrame,
    rates: pd.DataFrame,
) -> list[str]:
    """
    Say what a loss study found.

    Parameters
    ----------
    scores : DataFrame
        One row per network: ``loss``, ``seed``, ``dice``, ``perimetric_similarity`` and
        ``surface_dice`` (NaN where distances are unknown).
    decisions : sequence of Decision
        On the thesis' claims about losses.
    budgets, rates : DataFrame
        Networks of other budgets and learning rates: ``loss``, ``seed``, ``dice``, and ``epochs``
        or ``lr``.

    Returns
    -------
    list of five str
        The losses that may be the best; the gain on the baseline; what PS hides; what budget and
        learning rate change; what stays open.
    """
    means = scores.groupby("loss").mean(numeric_only=True)
    return [
        _say_best(scores, means),
        _say_gain(scores, means),
        _say_hidden(means),
        f"{_say_change(budgets, 'epochs', 'Budget')} {_say_change(rates, 'lr', 'Learning rate')}",
        _say_verdicts(decisions),
    ]


def join_names(losses: Sequence[str]) -> str:
    """
    List losses as readers know them.

    Examples
    --------
    >>> join_names(["bce", "kl", "lovasz"])
    'BCE, KL and Lovász'
    """
    names = [LOSS_NAMES[loss] for loss in losses]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "none"


def _say_best(scores: pd.DataFrame, means: pd.DataFrame) -> str:
    n_seeds = scores["seed"].nunique()
    where = f"On unseen volumes of {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    known = [score for score in ("dice", "surface_dice") if scores[score].notna().all()]
    words = {"dice": "Dice", "surface_dice": "surface Dice"}
    if n_seeds < MIN_SEEDS:
        best = [f"{LOSS_NAMES[str(means[s].idxmax())]} has the highest {words[s]}" for s in known]
        return f"{where}, {' and '.join(best)}, which so few seeds cannot decide."
    sets = [f"{join_names(find_best_set(scores, s, by='loss'))} by {words[s]}" for s in known]
    return f"{where}, the losses that may be the best (95 % confidence set) are " + (
        f"{'; and '.join(sets)}."
    )


def _say_gain(scores: pd.DataFrame, means: pd.DataFrame) -> str:
    best = str(means["dice"].idxmax())
    text = f"{LOSS_NAMES[best]} reaches a Dice of {means['dice'].max():.4f}"
    if BASELINE not in means.index or best == BASELINE:
        return f"{text}{', the baseline itself' if best == BASELINE else ''}."
    table = scores.pivot(index="seed", columns="loss", values="dice")
    d = (table[best] - table[BASELINE]).dropna().to_numpy()
    low, high = t_bounds(d, 0.025) if d.size > 1 else (np.nan, np.nan)
    bounds = "" if d.size < MIN_SEEDS else f" [{low:+.4f}, {high:+.4f}]"
    return f"{text}, {d.mean():+.4f}{bounds} on the baseline {LOSS_NAMES[BASELINE]}."


def _say_hidden(means: pd.DataFrame) -> str:
    loss = str(means["perimetric_similarity"].idxmax())
    text = (
        f"PS hides position: {LOSS_NAMES[loss]} has the highest PS "
        f"({means['perimetric_similarity'].max():.4f})"
    )
    if means["surface_dice"].isna().any():
        return f"{text}; surface Dice is not known here."
    rank = int(means["surface_dice"].rank(ascending=False)[loss])
    value = means["surface_dice"][loss]
    return f"{text} and is number {rank} of {len(means)} by surface Dice ({value:.4f})."


def _say_change(table: pd.DataFrame, column: str, words: str) -> str:
    """What the smallest and the largest value of a setting change in the Dice of each loss."""
    dice = table.pivot_table("dice", "loss", column) if len(table) else pd.DataFrame()
    if dice.shape[1] < 2:
        return f"{words}: only one was run."
    change = (dice.iloc[:, -1] - dice.iloc[:, 0]).dropna()
    ratio = float(table[column].max()) / float(table[column].min())
    return (
        f"{words}: {ratio:.0f} times as much changes Dice by {change.min():+.4f} "
        f"({LOSS_NAMES[str(change.idxmin())]}) to {change.max():+.4f} "
        f"({LOSS_NAMES[str(change.idxmax())]})."
    )


def _say_verdicts(decisions: Sequence[Decision]) -> str:
    counts = count_verdicts(decisions)
    n = sum(counts.values())
    text = (
        f"Of the thesis' {n} claims about losses {counts['n_supported']} are supported, "
        f"{counts['n_tied']} tied, {counts['n_contradicted']} contradicted, and "
        f"{counts['n_open']} stay open"
    )
    supported = [
        each.claim.statement.rstrip(".")
        for each in decisions
        if each.claim.checks is None and each.verdict == SUPPORTED
    ]
    return f"{text}. Supported: {'; '.join(supported)}." if supported else f"{text}."
