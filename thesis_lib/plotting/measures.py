"""What explanations measure: images one by one or against depth, tests of activation maps."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from thesis_lib.plotting._layout import PAGE_WIDTH, add_legend, new_panels
from thesis_lib.plotting._series import NO_VALUE, draw_missing, list_names, series_styles
from thesis_lib.plotting._style import thesis_style

MEASURE_LABELS = {
    "bodies": "salt bodies",
    "boundary_f1": "F1 of the salt boundary",
    "correlation": "correlation with input",
    "label_kept": "label kept (fraction)",
    "modification": "modification (1 − SSIM)",
    "nearest": "relative distance to nearest data patch",
    "noise_db": "noise above the data's band (dB)",
    "one_body": "one salt body (fraction)",
    "restart_correlation": "correlation of restarts",
    "sharpness": "contour sharpness",
    "sparsity": "gradient sparsity",
    "spectral_distance_db": "spectral distance (dB)",
}
_LIMITS = {  # what measures can be: intervals that assume a normal distribution ignore it
    "boundary_f1": (0.0, 1.0),
    "correlation": (-1.0, 1.0),
    "label_kept": (0.0, 1.0),
    "modification": (0.0, 2.0),
    "restart_correlation": (-1.0, 1.0),
    "spectral_distance_db": (0.0, np.inf),
}
_COLUMNS = 3
_TITLE_WIDTH, _NAME_WIDTH = 23, 16  # characters


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
    fig, panels = new_panels(len(measures), n_columns=_COLUMNS, height=1.9, sharex=True)
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
    fig, panels = new_panels(len(measures), n_columns=_COLUMNS, height=height, sharey=True)
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
def plot_cam_tests(
    fractions: NDArray[np.floating],
    deletion: Mapping[str, NDArray[np.floating]],
    insertion: Mapping[str, NDArray[np.floating]],
    cascade: Mapping[str, Mapping[str, NDArray[np.floating]]],
) -> Figure:
    """
    Draw the tests of class activation maps: do they find what decides, do they need the weights?

    Parameters
    ----------
    fractions : array of shape (m,)
        Fraction of pixels deleted or inserted, from 0 to 1.
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
        If the curves do not fit the fractions.
    """
    styles = series_styles([*deletion, *insertion, *cascade], markers=False)
    fig, panels = plt.subplots(1, 3, figsize=(PAGE_WIDTH, 2.9))
    tests = {"deletion": ("deleted", deletion), "insertion": ("inserted", insertion)}
    for ax, (title, (verb, curves)) in zip(panels[:2], tests.items(), strict=True):
        for name, curve in curves.items():
            ax.plot(100 * fractions, curve.mean(axis=0), **styles[name])
            bounds = np.quantile(curve, (0.25, 0.75), axis=0)
            ax.fill_between(100 * fractions, *bounds, **styles[name], alpha=0.15, linewidth=0)
        ax.set(title=title, xlabel=f"pixels {verb} (%)", xlim=(0, 100), ylim=(-0.02, 1.02))
        ax.grid()
    panels[0].set_ylabel("probability of the class")
    panels[1].tick_params(labelleft=False)
    ax = panels[2]
    for number, (name, parts) in enumerate(cascade.items()):
        lines = np.arange(len(parts)) + 0.22 * (number - (len(cascade) - 1) / 2)
        for line, values in zip(lines, parts.values(), strict=True):
            dots = {"s": 8, "alpha": 0.3, "linewidth": 0}
            ax.scatter(values, np.full(len(values), line), **styles[name], **dots)
        means = [values.mean() for values in parts.values()]
        ax.plot(means, lines, "o-", **styles[name], linewidth=1.0)
        ax.set(yticks=range(len(parts)), yticklabels=parts, ylim=(len(parts) - 0.5, -0.5))
    ax.axvline(0, color="0.4", linewidth=0.8)
    ax.set(title="randomised so far", xlabel="correlation with the intact map")
    ax.grid(axis="y")
    add_legend(fig, styles.values())
    return fig
