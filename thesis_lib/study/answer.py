"""The answer of the loss study in five sentences, for the first screen of book and README."""

from collections.abc import Sequence

import pandas as pd

from thesis_lib.study.claim_tables import count_verdicts
from thesis_lib.study.claims import LEVEL, MIN_SEEDS, SUPPORTED, Decision, t_bounds
from thesis_lib.study.evidence import average_settings, find_best_set
from thesis_lib.study.tables import BASELINE, LOSS_NAMES

_NAMES = {key: name.removesuffix(" (baseline)") for key, name in LOSS_NAMES.items()}


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
    names = [_NAMES[loss] for loss in losses]
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]])) if names else "none"


def name_set(losses: Sequence[str], compared: Sequence[str]) -> str:
    """
    Name a set of losses among those compared, by what it leaves out where that is shorter.

    Examples
    --------
    >>> name_set(["dice", "kl"], ["bce", "dice", "kl", "mse"])
    'Dice and KL'
    >>> name_set(["bce", "dice", "kl"], ["bce", "dice", "kl", "mse"])
    'all but MSE'
    """
    others = [loss for loss in compared if loss not in losses]
    if not others:
        return f"all {len(compared)}"
    return f"all but {join_names(others)}" if len(others) < len(losses) else join_names(losses)


def _say_best(scores: pd.DataFrame, means: pd.DataFrame) -> str:
    n_seeds = scores["seed"].nunique()
    where = f"On unseen volumes of {n_seeds} seed{'s' if n_seeds > 1 else ''}"
    known = [score for score in ("dice", "surface_dice") if scores[score].notna().all()]
    words = {"dice": "Dice", "surface_dice": "surface Dice"}
    if n_seeds < MIN_SEEDS:
        best = [f"{_NAMES[str(means[s].idxmax())]} by {words[s]}" for s in known]
        return (
            f"{where} the highest scores are those of {' and of '.join(best)}: too few to decide."
        )
    sets = [
        f"{name_set(find_best_set(scores, s, by='loss'), list(means.index))} by {words[s]}"
        for s in known
    ]
    return f"{where}, the losses that may be the best (95 % confidence set) are " + (
        f"{'; and '.join(sets)}."
    )


def _say_gain(scores: pd.DataFrame, means: pd.DataFrame) -> str:
    best = str(means["dice"].idxmax())
    text = f"{_NAMES[best]} reaches a Dice of {means['dice'].max():.4f}"
    if best == BASELINE:
        return f"{text}, and is the baseline itself."
    if BASELINE not in means.index:
        return f"{text}."
    table = scores.pivot(index="seed", columns="loss", values="dice")
    d = (table[best] - table[BASELINE]).dropna().to_numpy()
    gain = f"{text}, {d.mean():+.4f} on the baseline, {_NAMES[BASELINE]}"
    if d.size < MIN_SEEDS:
        return f"{gain}."
    low, high = t_bounds(d, LEVEL / 2 / (len(means) - 1))
    return f"{gain} (95 % interval, corrected for the number of losses: {low:+.4f} to {high:+.4f})."


def _say_hidden(means: pd.DataFrame) -> str:
    loss = str(means["perimetric_similarity"].idxmax())
    text = f"{_NAMES[loss]} has the highest PS ({means['perimetric_similarity'].max():.4f})"
    if means["surface_dice"].isna().any():
        return f"{text}; surface Dice, which sees position as PS does not, is not known here."
    rank = int(means["surface_dice"].rank(ascending=False, method="min")[loss])
    if rank == 1:
        return f"{text} and the highest surface Dice, which sees position as PS does not."
    return (
        f"{text}, but PS does not see position: by surface Dice it is number {rank} of "
        f"{len(means)} ({means['surface_dice'][loss]:.4f})."
    )


def _say_change(table: pd.DataFrame, setting: str, words: str) -> str:
    """What the smallest and the largest value of a setting change in the Dice of each loss."""
    dice = average_settings(table, setting)
    if dice.empty or dice.shape[1] < 2:
        return f"{words}: not compared."
    change = dice.iloc[:, -1] - dice.iloc[:, 0]
    ratio = float(table[setting].max()) / float(table[setting].min())
    return (
        f"{words}: {ratio:.0f} times as much changes Dice by {change.min():+.4f} "
        f"({_NAMES[str(change.idxmin())]}) to {change.max():+.4f} "
        f"({_NAMES[str(change.idxmax())]})."
    )


def _say_verdicts(decisions: Sequence[Decision]) -> str:
    counts = count_verdicts(decisions)
    failing = f", {counts['n_failing']} supported but failing its check" * bool(counts["n_failing"])
    text = (
        f"Of the thesis' {sum(counts.values())} claims about losses: {counts['n_supported']} "
        f"supported{failing}, {counts['n_tied']} tied, {counts['n_contradicted']} contradicted, "
        f"{counts['n_open']} open"
    )
    supported = [
        each.claim.statement.rstrip(".")
        for each in decisions
        if each.claim.checks is None and each.verdict == SUPPORTED
    ]
    return f"{text}. Supported: {'; '.join(supported)}." if supported else f"{text}."
