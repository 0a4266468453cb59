"""What explanations measure: ascents, residuals, measures of images, tests of activation maps."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from thesis_lib._checks import check_same_shape
from thesis_lib.plotting._series import (
    check_columns,
    draw_runs,
    ordered,
    series_handles,
    series_styles,
)
from thesis_lib.plotting._style import RED, label_outer, new_figure, new_panels, styled

MEASURE_LABELS = {
    "bodies": "salt bodies",
    "boundary_f1": "F1 of the salt boundary",
    "converged": "converged (share)",
    "correlation": "correlation with input",
    "distance": "distance of features",
    "evaluations": "evaluations",
    "label_kept": "label kept (share)",
    "modification": "modification (1 − SSIM)",
    "nearest": "relative distance to nearest real patch",
    "noise_db": "noise above the data's band (dB)",
    "one_body": "one salt body (share)",
    "probability": "probability of the class",
    "residual": "residual",
    "restart_correlation": "correlation of restarts",
    "sharpness": "contour sharpness",
    "sparsity": "gradient sparsity",
    "spectral_distance_db": "spectral distance (dB)",
    "value": "objective (logit)",
}
_LIMITS = {  # what measures can be: intervals that assume a normal distribution know nothing of it
    "boundary_f1": (0.0, 1.0),
    "converged": (0.0, 1.0),
    "correlation": (-1.0, 1.0),
    "label_kept": (0.0, 1.0),
    "modification": (0.0, 2.0),
    "restart_correlation": (-1.0, 1.0),
    "spectral_distance_db": (0.0, np.inf),
}
_COLUMNS = 3
_TITLE_WIDTH, _NAME_WIDTH = 23, 16  # characters
_LEGEND: dict[str, Any] = {"loc": "outside upper right", "frameon": False}


@styled
def plot_ascent(
    histories: Mapping[str, NDArray[np.floating]], *, objective: str = "objective (logit)"
) -> Figure:
    """
    Draw the objective of maximized images over the steps.

    Parameters
    ----------
    histories : mapping of label to array of shape (n, steps)
        Objective of each image before each step; NaN after its early stop.
    objective : str
        What was maximized, with its unit.

    Returns
    -------
    Figure
        A thin line is an image, a thick one the median of a label.

    Raises
    ------
    ValueError
        If there is no history.
    """
    styles = series_styles(histories)
    fig, grid = new_figure(height=2.7)
    for name, history in histories.items():
        draw_runs(grid[0, 0], history, color=styles[name]["color"])
    grid[0, 0].set(xlabel="step", ylabel=objective)
    grid[0, 0].grid()
    handles = [Line2D([], [], label=name, color=styles[name]["color"]) for name in styles]
    fig.legend(handles=handles, ncols=min(len(handles), 4), **_LEGEND)
    return fig


@styled
def plot_residuals(
    histories: Mapping[str, Mapping[str, NDArray[np.floating]]],
    *,
    tolerance: float,
    fixed_step: int | None = None,
) -> Figure:
    """
    Draw the residual of inversions over the steps, block by block, for several optimisers.

    Parameters
    ----------
    histories : mapping of block to mapping of optimiser to array of shape (n, steps + 1)
        Residual of each image at the start and after each step.
    tolerance : float
        Residual below which an inversion has converged.
    fixed_step : int, optional
        Step at which somebody with a fixed budget would stop and compare the blocks.

    Returns
    -------
    Figure
        One panel a block, with common logarithmic axes. A thin line is an image, a thick one the
        median of an optimiser.

    Raises
    ------
    ValueError
        If there is no history.
    """
    styles = series_styles(name for runs in histories.values() for name in runs)
    n_columns = min(len(histories), 4)
    fig, panels = new_panels(
        len(histories), n_columns=n_columns, panel_height=2.2, sharex=True, sharey=True
    )
    for ax, (block, runs) in zip(panels, histories.items(), strict=True):
        for name, history in runs.items():
            draw_runs(ax, history, color=styles[name]["color"])
        ax.axhline(tolerance, color="0.3", linestyle="dashed", linewidth=0.9)
        if fixed_step is not None:
            ax.axvline(fixed_step, color=RED, linestyle="dotted", linewidth=1.1)
        ax.set(title=block, yscale="log")
        ax.grid()
    label_outer(panels, n_columns=n_columns)
    fig.supxlabel("step")
    fig.supylabel("residual (dimensionless)")
    handles = [Line2D([], [], label=name, color=styles[name]["color"]) for name in styles]
    label = f"tolerance {tolerance:g}"
    handles.append(Line2D([], [], color="0.3", linestyle="dashed", linewidth=0.9, label=label))
    if fixed_step is not None:
        label = f"{fixed_step} steps"
        handles.append(Line2D([], [], color=RED, linestyle="dotted", linewidth=1.1, label=label))
    fig.legend(handles=handles, ncols=len(handles), **_LEGEND)
    return fig


@styled
def plot_depth_curves(table: pd.DataFrame, measures: Sequence[str]) -> Figure:
    """
    Draw measures of inversions against the depth of the inverted block.

    Parameters
    ----------
    table : DataFrame
        Columns ``route``, ``block`` and each measure: a row is a dot, and lines join the means.
        Where there are columns ``<measure>_low`` and ``<measure>_high``, these bounds are drawn
        as bars instead of single dots (give one row a route and block), up to where the measure
        can be, such as 1 for a share; NaN leaves a bar out.
    measures : sequence of str
        Columns to draw.

    Returns
    -------
    Figure
        Three panels a row, one a measure. A cross at the bottom stands for a route and block
        without a value.

    Raises
    ------
    ValueError
        If there is no row, or a column is missing.
    """
    check_columns("table", table, ("route", "block", *measures))
    blocks, styles = ordered(table["block"]), series_styles(ordered(table["route"]))
    fig, panels = new_panels(len(measures), n_columns=_COLUMNS, panel_height=1.9, sharex=True)
    for ax, measure in zip(panels, measures, strict=True):
        for number, (route, style) in enumerate(styles.items()):
            offset = 0.12 * (number - (len(styles) - 1) / 2)
            rows = table[table["route"] == route]
            _draw_depths(ax, rows, measure, blocks, offset=offset, color=style["color"])
            means = rows.groupby("block", observed=True)[measure].mean().reindex(blocks)
            places = np.arange(len(blocks)) + offset
            ax.plot(places, means, **style, linewidth=1.2, markersize=5)
            _cross(ax, places[means.isna()], color=style["color"])
        ax.set_title(_title(measure))
        ax.set_xticks(range(len(blocks)), [block.removeprefix("block") for block in blocks])
        ax.set_xlim(-0.4, len(blocks) - 0.6)
        ax.margins(y=0.12)
        ax.grid(axis="y")
    label_outer(panels, n_columns=_COLUMNS, share_y=False)
    fig.supxlabel("block")
    handles = series_handles(styles, linewidth=1.2)
    known = table.groupby(["route", "block"], observed=True)[list(dict.fromkeys(measures))].count()
    if (known == 0).any(axis=None):
        handles.append(Line2D([], [], label="no value", color="0.3", marker="x", linestyle=""))
    fig.legend(handles=handles, ncols=len(handles), **_LEGEND)
    return fig


def _cross(ax: Axes, places: NDArray[np.floating], *, color: str) -> None:
    """Mark at the bottom what has no value."""
    if places.size:
        bottom = ax.get_xaxis_transform()
        ax.scatter(
            places, np.full(places.size, 0.04), s=22, marker="x", color=color, transform=bottom
        )


def _draw_depths(
    ax: Axes,
    rows: pd.DataFrame,
    measure: str,
    blocks: Sequence[str],
    *,
    offset: float,
    color: str,
) -> None:
    """Draw the intervals of one route or, where there are none, its single values."""
    places = pd.Index(blocks).get_indexer(pd.Index(rows["block"])) + offset
    bounds = [f"{measure}_low", f"{measure}_high"]
    if all(bound in rows for bound in bounds):
        limits = _LIMITS.get(measure, (-np.inf, np.inf))
        low, high = (rows[bound].astype(float).clip(*limits) for bound in bounds)
        ax.vlines(places, low, high, color=color, linewidth=1.6, alpha=0.7)
    else:
        ax.scatter(places, rows[measure].astype(float), s=7, color=color, alpha=0.35, linewidth=0)


@styled
def plot_measures(table: pd.DataFrame, measures: Sequence[str]) -> Figure:
    """
    Draw measures of images as dots, group by group, with the mean of each group.

    Parameters
    ----------
    table : DataFrame
        One row an image: ``group`` and each measure. What is not finite is left out.
    measures : sequence of str
        Columns to draw.

    Returns
    -------
    Figure
        Three panels a row, one a measure; small dots are images, the bar is their mean.

    Raises
    ------
    ValueError
        If there is no row, or a column is missing.
    """
    check_columns("table", table, ("group", *measures))
    groups = ordered(table["group"])
    styles = series_styles(groups)
    names = [textwrap.fill(group, _NAME_WIDTH) for group in groups]
    height = 0.3 * len(groups) + 0.75
    fig, panels = new_panels(len(measures), n_columns=_COLUMNS, panel_height=height, sharey=True)
    for ax, measure in zip(panels, measures, strict=True):
        for line, group in enumerate(groups):
            values = table.loc[table["group"] == group, measure].astype(float)
            values = values[np.isfinite(values)]
            _draw_dots(ax, line, values, color=styles[group]["color"])
        ax.set(title=_title(measure), yticks=range(len(groups)), yticklabels=names)
        ax.set_ylim(len(groups) - 0.4, -0.6)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.grid(axis="y")
    for number, ax in enumerate(panels):
        ax.tick_params(labelleft=number % _COLUMNS == 0)
    return fig


def _draw_dots(ax: Axes, line: float, values: "pd.Series[float]", *, color: str) -> None:
    ax.scatter(values, np.full(len(values), line), s=16, color=color, alpha=0.6, linewidth=0)
    if len(values):
        ax.vlines(values.mean(), line - 0.32, line + 0.32, color="0.15", linewidth=1.8, zorder=3)


def _title(measure: str) -> str:
    return textwrap.fill(MEASURE_LABELS.get(measure, measure), _TITLE_WIDTH)


@styled
def plot_cam_tests(
    shares: NDArray[np.floating],
    deletion: Mapping[str, NDArray[np.floating]],
    insertion: Mapping[str, NDArray[np.floating]],
    cascade: Mapping[str, Mapping[str, NDArray[np.floating]]],
) -> Figure:
    """
    Draw the tests of class activation maps: do they find what decides, do they need the weights?

    Parameters
    ----------
    shares : array of shape (m,)
        Share of pixels deleted or inserted, from 0 to 1.
    deletion, insertion : mapping of label to array of shape (n, m)
        Probability of the class for each patch, in the order of a map or a random one.
    cascade : mapping of label to mapping of part to array of shape (n,)
        Correlation of the maps with those of the intact network after randomising each part and
        all before it, from the head down.

    Returns
    -------
    Figure
        Three panels; a label has one colour in all. Lines and large markers are means over
        patches, bands hold the middle half of the patches, small dots are patches.

    Raises
    ------
    ValueError
        If there is no curve, or the curves do not fit the shares.
    """
    styles = series_styles([*deletion, *insertion, *cascade])
    fig, grid = new_figure(1, 3, height=2.9)
    for ax, title, curves in zip(
        grid[0], ("deletion", "insertion"), (deletion, insertion), strict=False
    ):
        for name, curve in curves.items():
            check_same_shape("shares", shares.shape, f"{title} of {name}", curve.shape[1:])
            low, high = np.quantile(curve, (0.25, 0.75), axis=0)
            color = styles[name]["color"]
            ax.fill_between(100 * shares, low, high, color=color, alpha=0.15, linewidth=0)
            ax.plot(100 * shares, curve.mean(axis=0), color=color)
        verb = {"deletion": "deleted", "insertion": "inserted"}[title]
        ax.set(title=title, xlabel=f"pixels {verb} (%)", xlim=(0, 100), ylim=(-0.02, 1.02))
        ax.grid()
    grid[0, 0].set_ylabel("probability of the class")
    grid[0, 1].tick_params(labelleft=False)
    for number, (name, parts) in enumerate(cascade.items()):
        offset = 0.22 * (number - (len(cascade) - 1) / 2)
        _draw_cascade(grid[0, 2], parts, offset, color=styles[name]["color"])
    handles = [Line2D([], [], label=name, color=style["color"]) for name, style in styles.items()]
    fig.legend(handles=handles, ncols=min(len(handles), 4), **_LEGEND)
    return fig


def _draw_cascade(
    ax: Axes, parts: Mapping[str, NDArray[np.floating]], offset: float, *, color: str
) -> None:
    lines = np.arange(len(parts)) + offset
    for line, values in zip(lines, parts.values(), strict=True):
        ax.scatter(values, np.full(len(values), line), s=8, color=color, alpha=0.3, linewidth=0)
    ax.plot([values.mean() for values in parts.values()], lines, "o-", color=color, linewidth=1.0)
    ax.axvline(0, color="0.4", linewidth=0.8)
    ax.set(title="randomised so far", xlabel="correlation with the intact map")
    ax.set(yticks=range(len(parts)), yticklabels=parts)
    ax.set_ylim(len(parts) - 0.5, -0.5)
    ax.grid(axis="y")
