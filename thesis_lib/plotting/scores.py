"""Scores: ours next to the thesis', and the effects behind the claims."""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from saltvolumes._checks import check_choice
from thesis_lib.plotting._layout import PAGE_WIDTH, add_legend, new_panels
from thesis_lib.plotting._series import NO_VALUE, draw_missing, list_names
from thesis_lib.plotting._style import BLUE, GRAY, ORANGE, RED, thesis_style

SCORE_LABELS = {"dice": "Dice", "perimetric_similarity": "perimetric similarity (PS)"}
VERDICT_COLORS = {"reproduced": BLUE, "not reproduced": RED, "inconclusive": GRAY}
_EFFECT_COLUMNS = 3
_TITLE_WIDTH = 27  # characters


@thesis_style()
def plot_table(scores: pd.DataFrame, thesis: pd.DataFrame) -> Figure:
    """
    Draw Table 1 as dots: our Dice and PS next to the thesis', loss by loss.

    Parameters
    ----------
    scores : DataFrame
        One row per trained network: ``loss``, ``dice``, ``perimetric_similarity``.
    thesis : DataFrame
        The same two scores, indexed by loss; its order is kept, from top to bottom.

    Returns
    -------
    Figure
        A large dot is our mean, small dots are the networks behind it, where there are several.
        A loss that was not run has the thesis' dot alone.
    """
    size = (PAGE_WIDTH, 0.21 * len(thesis) + 0.9)
    fig, panels = plt.subplots(1, len(SCORE_LABELS), figsize=size, sharey=True)
    rows = np.arange(len(thesis))
    for ax, (score, label) in zip(panels, SCORE_LABELS.items(), strict=True):
        ours = scores.groupby("loss")[score].mean().reindex(thesis.index)
        each = scores.set_index("loss")[score]
        ax.scatter(each, thesis.index.get_indexer(each.index), s=9, color=BLUE, alpha=0.5)
        ax.hlines(rows, ours, thesis[score], color="0.8", linewidth=1.0, zorder=0)
        ax.scatter(thesis[score], rows, marker="D", s=26, fc="white", ec=ORANGE, label="thesis")
        ax.scatter(ours, rows, s=34, color=BLUE, label="ours")
        ax.set(xlabel=label, yticks=rows, yticklabels=thesis.index)
        ax.grid(axis="y")
    ax.invert_yaxis()
    fig.legend(handles=ax.collections[-2:], loc="outside upper right", ncols=2, frameon=False)
    return fig


@thesis_style()
def plot_effects(effects: pd.DataFrame) -> Figure:
    """
    Draw the effects behind the claims as a forest plot: one panel per claim, one line per rival.

    Parameters
    ----------
    effects : DataFrame
        One row for every claim and each of its rivals, measured or not: ``statement``,
        ``verdict``, ``rival``, ``mean``, ``low`` and ``high``: the mean of d over seeds, above 0
        where it speaks for the claim, and its bounds. Bounds that are NaN (too few seeds) are left
        out; a mean that is NaN is marked by a cross, as *no value*. Rivals are in the order of
        their categories; the claimed loss has an empty line.

    Returns
    -------
    Figure
        Three panels per row, coloured by verdict. Its layout depends on claims and rivals alone.

    Raises
    ------
    ValueError
        If there is no claim, or a verdict is unknown.
    """
    claims = effects.groupby("statement", sort=False)
    rivals = list_names(effects["rival"])
    height = 0.17 * len(rivals) + 1.25
    fig, panels = new_panels(len(claims), n_columns=_EFFECT_COLUMNS, height=height, sharey=True)
    for ax, (statement, rows) in zip(panels, claims, strict=True):
        _draw_effects(ax, rows, rivals)
        ax.set_title(textwrap.fill(str(statement), _TITLE_WIDTH) + "\n")
    panels[0].set(yticks=range(len(rivals)), yticklabels=rivals, ylim=(len(rivals) - 0.4, -0.6))
    fig.supxlabel("d (above 0 speaks for the claim)")
    if effects["mean"].isna().any():
        add_legend(fig, [NO_VALUE])
    return fig


def _draw_effects(ax: Axes, rows: pd.DataFrame, rivals: list[str]) -> None:
    verdict = check_choice("verdict", rows["verdict"].iloc[0], VERDICT_COLORS)
    color = VERDICT_COLORS[verdict]
    lines = pd.Index(rivals).get_indexer(pd.Index(rows["rival"]))
    mean, low, high = rows[["mean", "low", "high"]].to_numpy(dtype=np.float64).T
    ax.axvline(0, color="0.4", linewidth=0.8)
    ax.hlines(lines, low, high, color=color, linewidth=1.6)
    ax.scatter(mean, lines, s=22, color=color, zorder=3)
    draw_missing(ax, lines[np.isnan(mean)], color=color, upright=True)
    ax.text(0, 1.02, verdict, transform=ax.transAxes, color=color, weight="bold", fontsize=8.5)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.grid(axis="y")
