"""Scores and measures, name by name, with what they spread over: dots, intervals and counts."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from saltvolumes._checks import check_choice, check_count, check_same_shape
from thesis_lib.plotting._layout import NO_VALUE, PAGE_WIDTH, add_legend, draw_missing, new_panels
from thesis_lib.plotting._style import (
    BLUE,
    GRAY,
    ORANGE,
    PURPLE,
    RED,
    list_names,
    series_styles,
    thesis_style,
)

SCORE_LABELS = {"dice": "Dice", "perimetric_similarity": "perimetric similarity (PS)"}
MEASURE_LABELS = {
    "boundary_f1": "F1 of the salt boundary",
    "correlation": "correlation with input",
    "label_kept": "label kept (fraction)",
    "explained": "variance read out (R²)",
    "modification": "modification (1 − SSIM)",
    "deficit_db": "deficit within the data's band (dB)",
    "noise_db": "noise above the data's band (dB)",
    "prior": "roughness (patch: 1.1)",
    "probe": "average precision of the mask",
    "sharpness": "sharpness of the contour (dB)",
    "spectral_distance_db": "spectral distance (dB)",
}
_LIMITS = {  # what measures can be: intervals that assume a normal distribution ignore it
    "boundary_f1": (0.0, 1.0),
    "correlation": (-1.0, 1.0),
    "label_kept": (0.0, 1.0),
    "explained": (-np.inf, 1.0),
    "modification": (0.0, 2.0),
    "probe": (0.0, 1.0),
    "spectral_distance_db": (0.0, np.inf),
}
VERDICT_COLORS = {"supported": BLUE, "contradicted": RED, "tied": PURPLE} | dict.fromkeys(
    ("supported, fails its check", "undecided", "saturated", "no valid measure found"), GRAY
)
_CLAIM_WIDTH, _LINE_WIDTH, _TITLE_WIDTH, _NAME_WIDTH = 27, 76, 23, 16  # characters
_MARGIN: dict[str, Any] = {"color": "0.93", "linewidth": 0, "zorder": 0}
_EFFECT = ["mean", "low", "high"]
_ZERO: dict[str, Any] = {"color": "0.4", "linewidth": 0.8, "zorder": 1}


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
        ``verdict``, ``rival``, ``margin``, ``mean``, ``low`` and ``high``: the mean of d over
        seeds, above 0 where it speaks for the claim, and its bounds. Bounds that are NaN (too few
        seeds) are left out; a mean that is NaN is marked by a cross, as *no value*. Rivals are in
        the order of their categories; the claimed loss has an empty line.

    Returns
    -------
    Figure
        Three panels per row, coloured by verdict, with a grey band of the width of the margin on
        both sides of 0. Its layout depends on claims and rivals alone.

    Raises
    ------
    ValueError
        If there is no claim, or a verdict is unknown.
    """
    claims = effects.groupby("statement", sort=False)
    rivals = list_names(effects["rival"])
    height = 0.17 * len(rivals) + 1.25
    fig, panels = new_panels(len(claims), height=height, sharey=True)
    for ax, (statement, rows) in zip(panels, claims, strict=True):
        verdict, margin = rows["verdict"].iloc[0], rows["margin"].iloc[0]
        lines = pd.Index(rivals).get_indexer(pd.Index(rows["rival"]))
        _draw_effects(ax, rows, lines)
        ax.axvspan(-margin, margin, **_MARGIN)
        ax.axvline(0, **_ZERO)
        ax.text(0, 1.02, verdict, transform=ax.transAxes, **_verdict_style(verdict))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_title(textwrap.fill(str(statement), _CLAIM_WIDTH) + "\n")
    panels[0].set(yticks=range(len(rivals)), yticklabels=rivals, ylim=(len(rivals) - 0.4, -0.6))
    fig.supxlabel("d (above 0 speaks for the claim)")
    if effects["mean"].isna().any():
        add_legend(fig, [NO_VALUE])
    return fig


@thesis_style()
def plot_forest(effects: pd.DataFrame) -> Figure:
    """
    Draw the effects behind claims that have few rivals in common: one below the other.

    Parameters
    ----------
    effects : DataFrame
        See `plot_effects`. Every d is drawn in units of the margin of its claim.

    Returns
    -------
    Figure
        Below each statement and its verdict a line per rival, with a grey band of the width of the
        margin on both sides of 0; logarithmic beyond. Its layout depends on claims and rivals
        alone.

    Raises
    ------
    ValueError
        If there is no claim, or a verdict is unknown.
    """
    scaled = effects.copy()
    scaled[_EFFECT] = scaled[_EFFECT].div(scaled["margin"], axis=0)
    claims = [
        (textwrap.fill(str(name), _LINE_WIDTH), rows)
        for name, rows in scaled.groupby("statement", sort=False)
    ]
    check_count("number of claims", len(claims))
    heights = [text.count("\n") + 1.6 + len(rows) for text, rows in claims]
    fig, ax = plt.subplots(figsize=(PAGE_WIDTH, 0.19 * sum(heights) + 0.8))
    names: dict[float, str] = {}
    for (text, rows), end in zip(claims, np.cumsum(heights), strict=True):
        verdict, lines = rows["verdict"].iloc[0], np.arange(len(rows)) + end - len(rows)
        names |= dict(zip(lines.tolist(), rows["rival"].astype(str), strict=True))
        _draw_effects(ax, rows, lines)
        top, bottom = lines[0] - text.count("\n") - 1.5, lines[0] - 0.6
        ax.axhspan(top - 0.1, bottom, color="white", linewidth=0, zorder=2)
        place: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "va": "top"}
        ax.text(-0.21, top, text, **place, fontsize=8.5)
        ax.text(1, top, verdict, ha="right", **place, **_verdict_style(verdict))
    ax.axvspan(-1, 1, **_MARGIN)
    ax.axvline(0, **_ZERO)
    values = np.abs(scaled[_EFFECT].to_numpy(dtype=np.float64))
    largest = 1.3 * values[np.isfinite(values)].max(initial=1.5)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.set_xscale("symlog", linthresh=1, linscale=0.7)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set(yticks=[*names], yticklabels=[*names.values()], ylim=(sum(heights) - 0.4, 0))
    ax.set(xlim=(-largest, largest), xlabel="d / margin (above 0 speaks for the claim)")
    if effects["mean"].isna().any():
        add_legend(fig, [NO_VALUE])
    return fig


def _draw_effects(ax: Axes, rows: pd.DataFrame, lines: NDArray[Any]) -> None:
    """Draw means, bounds and missing values of a claim, in the colour of its verdict."""
    color = _verdict_style(rows["verdict"].iloc[0])["color"]
    mean, low, high = rows[_EFFECT].to_numpy(dtype=np.float64).T
    ax.hlines(lines, low, high, color=color, linewidth=1.6)
    ax.scatter(mean, lines, s=22, color=color, zorder=3)
    draw_missing(ax, lines[np.isnan(mean)], color=color, upright=True)
    ax.grid(axis="y")


def _verdict_style(verdict: str) -> dict[str, Any]:
    color = VERDICT_COLORS[check_choice("verdict", verdict, VERDICT_COLORS)]
    return {"color": color, "weight": "bold", "fontsize": 8.5}


def _title(measure: str) -> str:
    return textwrap.fill(MEASURE_LABELS.get(measure, measure), _TITLE_WIDTH)


@thesis_style()
def plot_depth_curves(table: pd.DataFrame, measures: Sequence[str]) -> Figure:
    """
    Draw measures of inversions against the depth of the inverted block.

    Parameters
    ----------
    table : DataFrame
        One row for every initialisation and block, measured or not: ``initialisation``, ``block``
        and of each measure its mean ``<measure>`` and the bounds ``<measure>_low`` and
        ``<measure>_high``. Bounds are drawn up to where the measure can be, such as 1 for a
        fraction; those that are NaN are left out.
    measures : sequence of str
        What to draw.

    Returns
    -------
    Figure
        Three panels per row, one per measure. A cross at the bottom marks a mean that is NaN.

    Raises
    ------
    ValueError
        If there is no measure.
    KeyError
        If a column is missing.
    """
    blocks = list_names(table["block"])
    styles = series_styles(list_names(table["initialisation"]))
    fig, panels = new_panels(len(measures), height=1.9, sharex=True)
    for ax, measure in zip(panels, measures, strict=True):
        for number, (name, style) in enumerate(styles.items()):
            rows = table[table["initialisation"] == name].set_index("block").loc[blocks]
            positions = np.arange(len(blocks)) + 0.12 * (number - (len(styles) - 1) / 2)
            bounds = rows[[f"{measure}_low", f"{measure}_high"]].astype(float)
            low, high = bounds.clip(*_LIMITS.get(measure, (-np.inf, np.inf))).to_numpy().T
            ax.vlines(positions, low, high, color=style["color"], linewidth=1.6, alpha=0.7)
            ax.plot(positions, rows[measure], **style, linewidth=1.2)
            draw_missing(ax, positions[rows[measure].isna()], color=style["color"])
        ax.set_title(_title(measure))
        ax.set_xticks(range(len(blocks)), [block.removeprefix("block") for block in blocks])
        ax.set_xlim(-0.4, len(blocks) - 0.6)
        ax.margins(y=0.12)
        ax.grid(axis="y")
    fig.supxlabel("block")
    missing = [NO_VALUE] if table[list(measures)].isna().any(axis=None) else []
    add_legend(fig, [*styles.values(), *missing])
    return fig


@thesis_style()
def plot_measures(table: pd.DataFrame, measures: Sequence[str]) -> Figure:
    """
    Draw measures of images as dots, group by group, with the mean of each group.

    Parameters
    ----------
    table : DataFrame
        One row per image: ``group`` and each measure. What is not finite is left out.
    measures : sequence of str
        Columns to draw.

    Returns
    -------
    Figure
        Three panels per row, one per measure; small dots are images, the bar is their mean.

    Raises
    ------
    ValueError
        If there is no measure.
    KeyError
        If a column is missing.
    """
    styles = series_styles(list_names(table["group"]))
    names = [textwrap.fill(group, _NAME_WIDTH) for group in styles]
    height = 0.3 * len(styles) + 0.75
    fig, panels = new_panels(len(measures), height=height, sharey=True)
    for ax, measure in zip(panels, measures, strict=True):
        for line, (group, style) in enumerate(styles.items()):
            values = table.loc[table["group"] == group, measure].astype(float)
            values = values[np.isfinite(values)]
            dots = {"s": 16, "color": style["color"], "alpha": 0.6, "linewidth": 0}
            bar: dict[str, Any] = {"color": "0.15", "linewidth": 1.8, "zorder": 3}
            ax.scatter(values, np.full(len(values), line), **dots)
            ax.vlines(values.mean(), line - 0.32, line + 0.32, **bar)
        ax.set_title(_title(measure))
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.grid(axis="y")
    panels[0].set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.4, -0.6))
    return fig


@thesis_style()
def plot_confusions(matrices: Mapping[str, NDArray[np.integer]], classes: Sequence[str]) -> Figure:
    """
    Draw confusion matrices next to each other.

    Parameters
    ----------
    matrices : mapping of label to int array of shape (k, k)
        Counts of patches: one row per true class, one column per predicted one.
    classes : sequence of k str
        Names of the classes.

    Returns
    -------
    Figure
        Counts, coloured by their fraction of the true class.

    Raises
    ------
    ValueError
        If there is no matrix, or one is not (k, k).
    """
    n, k = check_count("number of matrices", len(matrices)), len(classes)
    height = min(6.0 / n, 0.55 * k + 0.4) + 0.6
    fig, panels = new_panels(n, n_columns=n, height=height, layout="compressed", sharey=True)
    for ax, (name, matrix) in zip(panels, matrices.items(), strict=True):
        check_same_shape("classes", (k, k), name, matrix.shape)
        percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        drawn = ax.imshow(percent, cmap="Blues", vmin=0, vmax=100)
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if percent[row, column] > 50 else "0.15"
            ax.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=8)
        ax.set(title=textwrap.fill(name, 9 * k), xlabel="predicted class")
        ax.set_xticks(range(k), classes, rotation=35, ha="right", rotation_mode="anchor")
        ax.set_yticks(range(k), classes)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    panels[0].set_ylabel("true class")
    fig.colorbar(drawn, ax=panels, label="fraction of the true class (%)", pad=0.02)
    return fig
