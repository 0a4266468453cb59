"""How well classifiers do: accuracy against confidence and salt share, confusion."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from thesis_lib._checks import check_count, check_range, check_same_shape
from thesis_lib.plotting._series import check_columns, series_handles, series_styles
from thesis_lib.plotting._style import RED, new_figure, styled

_LABELS = {"confidence": "confidence (%)", "share": "salt in the patch (%)"}


@styled
def plot_accuracy(
    by_confidence: Mapping[str, pd.DataFrame],
    by_share: Mapping[str, pd.DataFrame] | None = None,
    *,
    threshold: float | None = None,
) -> Figure:
    """
    Draw the accuracy of classifiers against their confidence and against the share of salt.

    Parameters
    ----------
    by_confidence : mapping of label to DataFrame
        One row a bin: mean ``confidence`` and ``accuracy``, from 0 to 1, and ``count`` of patches.
        On the diagonal confidence is calibrated.
    by_share : mapping of label to DataFrame, optional
        The same with ``share``, the share of salt in a patch, in place of ``confidence``.
    threshold : float, optional
        Share above which a patch is salt.

    Returns
    -------
    Figure
        One column each; below, the patches behind every bin.

    Raises
    ------
    ValueError
        If there is no table, a column is missing or the threshold lies outside [0, 1].
    """
    sides = {"confidence": by_confidence} | ({"share": by_share} if by_share else {})
    styles = series_styles(name for tables in sides.values() for name in tables)
    fig, grid = new_figure(
        2, len(sides), height=3.6, sharex="col", sharey="row", height_ratios=[3, 1]
    )
    for panels, (column, tables) in zip(grid.T, sides.items(), strict=True):
        _draw_bins(panels, column, tables, styles)
    grid[0, 0].axline((100, 100), slope=1, color="0.6", linewidth=0.8, zorder=0, label="calibrated")
    grid[0, 0].set(ylabel="accuracy (%)", ylim=(-3, 103))
    largest = max(table["count"].max() for tables in sides.values() for table in tables.values())
    grid[1, 0].set(ylabel="patches", ylim=(0.7, 2 * largest))
    if threshold is not None:
        place = 100 * check_range("threshold", threshold, low=0.0, high=1.0)
        for ax in grid[:, 1:].flat:
            ax.axvline(place, color=RED, linestyle="dashed", label=f"threshold {place:g} %")
    for ax in grid[0]:
        if ax.get_legend_handles_labels()[1]:
            ax.legend(loc="lower right")
    handles = series_handles(styles, linewidth=1.2)
    fig.legend(handles=handles, loc="outside upper right", ncols=len(handles), frameon=False)
    return fig


def _draw_bins(
    panels: Sequence[Axes],
    column: str,
    tables: Mapping[str, pd.DataFrame],
    styles: Mapping[str, Mapping[str, Any]],
) -> None:
    """Draw accuracy on the first panel and, below, the counts of the bins."""
    ax, counts = panels
    for name, table in tables.items():
        check_columns(f"table of {name}", table, (column, "accuracy", "count"))
        x = 100 * table[column]
        ax.plot(x, 100 * table["accuracy"], **styles[name], linewidth=1.2)
        counts.plot(x, table["count"], **styles[name], linewidth=0.8, markersize=3)
        ax.grid(visible=True)
        counts.grid(visible=True)
    counts.set(xlabel=_LABELS[column], yscale="log")


@styled
def plot_confusions(matrices: Mapping[str, NDArray[np.integer]], classes: Sequence[str]) -> Figure:
    """
    Draw confusion matrices beside each other.

    Parameters
    ----------
    matrices : mapping of label to int array of shape (k, k)
        Counts of patches: a row a true class, a column a predicted one.
    classes : sequence of k str
        Names of the classes.

    Returns
    -------
    Figure
        Counts, coloured by their share of the true class.

    Raises
    ------
    ValueError
        If there is no matrix, or one is not (k, k).
    """
    check_count("number of matrices", len(matrices))
    k = len(classes)
    side = min(6.0 / len(matrices), 0.55 * k + 0.4)
    fig, grid = new_figure(1, len(matrices), height=side + 1.0, layout="compressed", sharey=True)
    for ax, (name, matrix) in zip(grid[0], matrices.items(), strict=True):
        check_same_shape("classes", (k, k), name, matrix.shape)
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        drawn = ax.imshow(100 * shares, cmap="Blues", vmin=0, vmax=100)
        _write_counts(ax, matrix, shares)
        ax.set(
            title=textwrap.fill(name, 9 * k),
            xlabel="predicted class",
            xticks=range(k),
            yticks=range(k),
        )
        ax.set_xticklabels(classes, rotation=35, ha="right", rotation_mode="anchor")
        ax.set_yticklabels(classes)
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    grid[0, 0].set_ylabel("true class")
    fig.colorbar(drawn, ax=list(grid[0]), label="share of the true class (%)", pad=0.02)
    return fig


def _write_counts(ax: Axes, matrix: NDArray[np.integer], shares: NDArray[np.floating]) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        color = "white" if shares[row, column] > 0.5 else "0.15"
        ax.text(column, row, f"{count}", ha="center", va="center", color=color, fontsize=8)
