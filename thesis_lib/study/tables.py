"""Table 1, ours beside the thesis', and what the two have in common."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

# What the thesis says, typed once: table1.csv and claims.yml.
REFERENCE = Path(__file__).resolve().parents[2] / "book" / "reference"

LOSS_NAMES = {
    "bce": "BCE",
    "contour": "Contour",
    "dice": "Dice",
    "focal": "Focal",
    "hausdorff": "Hausdorff",
    "jaccard": "Jaccard",
    "kl": "KL",
    "lovasz": "Lovász",
    "mse": "MSE",
    "wing": "Wing",
    "bce_dice": "BCE + Dice (baseline)",
}
SCORE_NAMES = {
    "dice": "Dice",
    "perimetric_similarity": "PS",
    "surface_dice": "Surface Dice",
    "hausdorff95_m": "Hausdorff 95 % (m)",
    "mean_surface_distance_m": "Mean surface distance (m)",
}
NOT_RUN = "not run"
FULL = "nothing"  # left out: the network that ablations are compared with
_DIGITS = {"hausdorff95_m": 0, "mean_surface_distance_m": 1}


def collect_scores(outcomes: Iterable[tuple[str, int, Mapping[str, Any]]]) -> pd.DataFrame:
    """
    Gather the scores of runs: one row a trained network, averaged over the test volumes.

    Parameters
    ----------
    outcomes : iterable of (loss, seed, scores)
        ``scores`` as :func:`thesis_lib.study.segmentation.train_and_score` returns it.

    Returns
    -------
    DataFrame
        Columns ``loss``, ``seed`` and one a score. A score that is not known is NaN.
    """
    rows = [{"loss": loss, "seed": seed, **scores["mean"]} for loss, seed, scores in outcomes]
    return pd.DataFrame(rows).sort_values(["loss", "seed"], ignore_index=True)


def read_thesis_table(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read the thesis' Table 1, indexed by loss key, in the thesis' order."""
    return pd.read_csv(path, index_col="loss")


def format_table1(scores: pd.DataFrame, thesis: pd.DataFrame) -> pd.DataFrame:
    """
    Lay out Table 1 for readers: means (and, over several seeds, their spread) beside the thesis.

    Parameters
    ----------
    scores : DataFrame
        See :func:`collect_scores`.
    thesis : DataFrame
        See :func:`read_thesis_table`. Its losses are the rows; one that was not run says so.

    Returns
    -------
    DataFrame of str
        Mean, and ± one standard deviation over seeds where there are at least two.
    """
    rows = []
    for loss, reported in thesis.iterrows():
        ours = scores[scores["loss"] == loss]
        row = {"Loss": LOSS_NAMES[str(loss)]}
        for score, name in SCORE_NAMES.items():
            row[name] = format_cell(ours[score], digits=_DIGITS.get(score, 4))
        for score in ("dice", "perimetric_similarity"):
            row[f"Thesis: {SCORE_NAMES[score]}"] = f"{reported[score]:.4f}"
        rows.append(row)
    return pd.DataFrame(rows)


def format_cell(values: "pd.Series[float]", *, digits: int) -> str:
    """Write the mean of some seeds, and their standard deviation where there are several."""
    if values.empty:
        return NOT_RUN
    if values.isna().any():
        return "–"  # not known here, for example metres on a time axis
    mean = f"{values.mean():.{digits}f}"
    spread = len(values) > 1 and np.isfinite(values).all()  # an empty mask is infinitely far
    return f"{mean} ± {values.std():.{digits}f}" if spread else mean


def rank_correlation(scores: pd.DataFrame, thesis: pd.DataFrame, score: str) -> tuple[float, int]:
    """
    Spearman's rank correlation between our mean scores and the thesis' over the losses run.

    Returns
    -------
    correlation : float
        From -1 to 1; NaN with fewer than three losses, where it says nothing.
    n_losses : int
        Number of losses compared.
    """
    ours = scores.groupby("loss")[score].mean()
    common = [loss for loss in thesis.index if loss in ours.index]
    if len(common) < 3:
        return float("nan"), len(common)
    result = stats.spearmanr(ours[common], thesis.loc[common, score])
    return float(result.statistic), len(common)


def collect_transfer(outcomes: Iterable[tuple[str, int, Mapping[str, Any]]]) -> pd.DataFrame:
    """
    Gather the Dice scores of transfer, a row a section.

    Parameters
    ----------
    outcomes : iterable of (left out, seed, scores)
        ``scores`` as ``train_and_transfer`` of :mod:`thesis_lib.study` returns it.

    Returns
    -------
    DataFrame
        Columns ``left_out``, ``seed``, ``section`` (line number), ``dice``.
    """
    rows = [
        (left_out, seed, int(line), dice)
        for left_out, seed, scores in outcomes
        for line, dice in scores["sections"].items()
    ]
    return pd.DataFrame(rows, columns=["left_out", "seed", "section", "dice"])


def format_transfer(scores: pd.DataFrame, ablations: Sequence[str]) -> pd.DataFrame:
    """
    Lay out transfer for readers: what is left out, mean Dice, what it costs, every section.

    Parameters
    ----------
    scores : DataFrame
        See :func:`collect_transfer`.
    ablations : sequence of str
        Rows below the full one; those without scores read *not run*.

    Returns
    -------
    DataFrame of str
        Means over seeds, with ± one standard deviation where there are several. The difference is
        that to the full network of the same seed.
    """
    means = scores.groupby(["left_out", "seed"])["dice"].mean().unstack("left_out")
    lines = sorted(scores["section"].unique())
    rows = []
    for name in (FULL, *ablations):
        own = scores[scores["left_out"] == name]
        row = {"Left out": name, "Dice": NOT_RUN, "Difference": "–"}
        row |= {str(line): "–" for line in lines}
        if not own.empty:
            row["Dice"] = format_cell(means[name].dropna(), digits=3)
            row |= {
                str(line): format_cell(values, digits=3)
                for line, values in own.groupby("section")["dice"]
            }
            if name != FULL and FULL in means:
                row["Difference"] = _format_signed((means[name] - means[FULL]).dropna())
        rows.append(row)
    return pd.DataFrame(rows)


def _format_signed(values: "pd.Series[float]") -> str:
    cell = format_cell(values, digits=3)
    return f"+{cell}" if values.mean() > 0 else cell
