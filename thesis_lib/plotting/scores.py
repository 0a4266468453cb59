"""Scores: ours beside the thesis', effects behind the claims, shares of salt."""

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from thesis_lib._checks import check_choice, check_range
from thesis_lib.plotting._style import BLUE, GRAY, ORANGE, RED, new_figure, new_panels, styled

SCORE_LABELS = {"dice": "Dice", "perimetric_similarity": "perimetric similarity (PS)"}
VERDICT_COLORS = {"reproduced": BLUE, "not reproduced": RED, "inconclusive": GRAY}
_LINE_HEIGHT = 0.21  # inches
_EFFECT_COLUMNS = 3
_TITLE_WIDTH = 27  # characters


@styled
def plot_table(scores: pd.DataFrame, thesis: pd.DataFrame) -> Figure:
    """
    Draw Table 1 as dots: our Dice and PS beside the thesis', loss by loss.

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
    height = _LINE_HEIGHT * len(thesis) + 0.9
    fig, grid = new_figure(1, len(SCORE_LABELS), height=height, sharey=True)
    rows = np.arange(len(thesis))
    for ax, (score, label) in zip(grid[0], SCORE_LABELS.items(), strict=True):
        ours = scores.groupby("loss")[score].mean().reindex(thesis.index)
        each = scores.set_index("loss")[score]
        ax.scatter(each, thesis.index.get_indexer(each.index), s=9, color=BLUE, alpha=0.5)
        ax.hlines(rows, ours, thesis[score], color="0.8", linewidth=1.0, zorder=0)
        ax.scatter(thesis[score], rows, marker="D", s=26, fc="white", ec=ORANGE, label="thesis")
        ax.scatter(ours, rows, s=34, color=BLUE, label="ours")
        ax.set(xlabel=label, yticks=rows, yticklabels=thesis.index)
        ax.grid(axis="y")
    ax.invert_yaxis()
    handles = ax.get_legend_handles_labels()
    fig.legend(*handles, loc="outside upper right", ncols=2, frameon=False)
    return fig


@styled
def plot_effects(effects: pd.DataFrame) -> Figure:
    """
    Draw the effects behind the claims as a forest plot: one panel a claim, one line a rival.

    Parameters
    ----------
    effects : DataFrame
        Columns ``statement``, ``verdict``, ``rival``, ``mean``, ``low`` and ``high``: the mean of
        d over seeds, above 0 where it speaks for the claim, and its bounds. Bounds that are NaN
        (too few seeds) are left out. A claim without a mean, and a table without a row, say so.
        Rivals stand in the order of their categories; the claimed loss has an empty line.

    Returns
    -------
    Figure
        Three panels a row, coloured by verdict.

    Raises
    ------
    ValueError
        If a verdict is unknown.
    """
    if effects.empty:
        return _draw_notice("No claim can be tested: the losses that it compares were not run.")
    claims = list(effects.groupby("statement", sort=False))
    rivals = effects["rival"].astype("category").cat.remove_unused_categories().cat.categories
    fig, panels = new_panels(
        len(claims),
        n_columns=_EFFECT_COLUMNS,
        panel_height=0.17 * len(rivals) + 1.25,
        sharey=True,
    )
    for ax, (statement, rows) in zip(panels, claims, strict=True):
        _draw_effects(ax, str(statement), rows.set_index("rival").reindex(rivals))
    fig.supxlabel("d (above 0 speaks for the claim)")
    return fig


def _draw_notice(text: str) -> Figure:
    fig, grid = new_figure(height=0.5)
    grid[0, 0].set_axis_off()
    grid[0, 0].text(0, 0.5, text, va="center")
    return fig


def _draw_effects(ax: Axes, statement: str, rows: pd.DataFrame) -> None:
    verdict = check_choice("verdict", str(rows.verdict.dropna().iloc[0]), VERDICT_COLORS)
    lines = np.arange(len(rows))
    effect, low, high = rows[["mean", "low", "high"]].to_numpy(dtype=np.float64).T
    color = VERDICT_COLORS[verdict]
    ax.axvline(0, color="0.4", linewidth=0.8)
    ax.hlines(lines, low, high, color=color, linewidth=1.6)
    ax.scatter(effect, lines, s=22, color=color, zorder=3)
    if np.isnan(effect).all():
        note: dict[str, Any] = {"backgroundcolor": "white", "ha": "center", "va": "center"}
        ax.text(0.5, 0.5, "no value", transform=ax.transAxes, **note)
    ax.set(yticks=lines, yticklabels=rows.index)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.grid(axis="y")
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.set_title(textwrap.fill(statement, _TITLE_WIDTH) + "\n")
    ax.text(0, 1.02, verdict, transform=ax.transAxes, color=color, weight="bold", fontsize=8.5)


@styled
def plot_label_shares(shares: NDArray[np.floating], threshold: float) -> Figure:
    """
    Draw how much salt the patches hold, and where the classes are split.

    Parameters
    ----------
    shares : array of shape (n,)
        Share of salt of each patch, from 0 to 1.
    threshold : float
        Patches above this share are salt.

    Returns
    -------
    Figure
        Histogram in steps of 5 %, patches counted on a logarithmic axis.

    Raises
    ------
    ValueError
        If a share or the threshold lies outside [0, 1].
    """
    for name, value in (("threshold", threshold), ("share", shares.min()), ("share", shares.max())):
        check_range(name, float(value), low=0.0, high=1.0)
    salt = shares > threshold
    fig, grid = new_figure(height=2.9)
    ax = grid[0, 0]
    ax.hist(
        [100 * shares[~salt], 100 * shares[salt]],
        bins=np.arange(0, 101, 5),
        stacked=True,
        color=[GRAY, ORANGE],
        edgecolor="white",
        label=[f"background: {np.sum(~salt)} patches", f"salt: {np.sum(salt)} patches"],
    )
    ax.axvline(
        100 * threshold, color=RED, linestyle="dashed", label=f"threshold {100 * threshold:g} %"
    )
    ax.set(
        xlabel="salt in the patch (%)",
        ylabel="patches",
        xlim=(0, 100),
        yscale="log",
        ylim=(0.7, None),
    )
    ax.legend(loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.18), frameon=False)
    return fig
