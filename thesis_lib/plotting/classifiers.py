"""How well classifiers do: accuracy against confidence and the fraction of salt, confusion."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from saltvolumes._checks import check_count, check_range, check_same_shape
from thesis_lib.plotting._layout import PAGE_WIDTH, add_legend, new_panels
from thesis_lib.plotting._series import series_styles
from thesis_lib.plotting._style import RED, thesis_style


@thesis_style()
def plot_accuracy(
    by_confidence: Mapping[str, pd.DataFrame],
    by_fraction: Mapping[str, pd.DataFrame],
    *,
    threshold: float,
) -> Figure:
    """
    Draw the accuracy of classifiers against their confidence and against the fraction of salt.

    Parameters
    ----------
    by_confidence : mapping of label to DataFrame
        One row per bin: mean ``confidence`` and ``accuracy``, from 0 to 1, and ``count`` of
        patches. On the diagonal confidence is calibrated.
    by_fraction : mapping of label to DataFrame
        The same with ``fraction``, of salt in a patch, in place of ``confidence``.
    threshold : float
        Fraction above which a patch is salt.

    Returns
    -------
    Figure
        One column each; below, the patches behind every bin.

    Raises
    ------
    ValueError
        If the threshold lies outside [0, 1].
    KeyError
        If a table lacks a column.
    """
    percent = 100 * check_range("threshold", threshold, low=0.0, high=1.0)
    sides = {"confidence": by_confidence, "fraction": by_fraction}
    styles = series_styles([*by_confidence, *by_fraction])
    fig = plt.figure(figsize=(PAGE_WIDTH, 3.6))
    grid = fig.subplots(2, 2, sharex="col", sharey="row", height_ratios=[3, 1])
    for (ax, counts), (column, tables) in zip(grid.T, sides.items(), strict=True):
        for name, table in tables.items():
            x = 100 * table[column]
            ax.plot(x, 100 * table["accuracy"], **styles[name], linewidth=1.2)
            counts.plot(x, table["count"], **styles[name], linewidth=0.8, markersize=3)
    for ax in grid.flat:
        ax.grid()
    for ax in grid[:, 1]:
        ax.axvline(percent, color=RED, linestyle="dashed", label=f"threshold {percent:g} %")
    grid[0, 0].axline((100, 100), slope=1, color="0.6", linewidth=0.8, zorder=0, label="calibrated")
    for ax in grid[0]:
        ax.legend(handles=ax.lines[-1:], loc="lower right")
    grid[0, 0].set(ylabel="accuracy (%)", ylim=(-3, 103))
    grid[1, 0].set(xlabel="confidence (%)", ylabel="patches", yscale="log")
    grid[1, 1].set(xlabel="salt in the patch (%)")
    add_legend(fig, styles.values())
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
