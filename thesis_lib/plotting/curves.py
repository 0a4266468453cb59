"""Curves: histories, and statistics of sections."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from saltvolumes._checks import check_choice
from thesis_lib.plotting._layout import PAGE_WIDTH, add_legend, new_panels
from thesis_lib.plotting._style import RED, series_styles, thesis_style

_COLUMNS = 4
_FEW_STEPS = 20  # up to which each step has a dot
_SAMPLES, _POWER = "fraction of samples", "fraction of the power"
_PANELS = {  # statistic: its coordinate, labels of the two axes, logarithmic y axis
    "amplitude": ("amplitude_value", "amplitude (standard deviations)", _SAMPLES, True),
    "vertical_power": ("vertical_frequency", "vertical (cycles per sample)", _POWER, True),
    "lateral_power": ("lateral_frequency", "lateral (cycles per trace)", _POWER, True),
    "dip": ("dip_value", "dip (degrees, in samples)", _SAMPLES, True),
    "planarity": ("planarity_value", "planarity", _SAMPLES, False),
    "coherence": ("coherence_value", "coherence of next traces", _SAMPLES, False),
    "coherence_of_lag": ("lag", "distance (traces)", "median coherence", False),
    "energy_change": ("energy_change_value", "change of energy (dB)", _SAMPLES, True),
}
_LIMITS = {"coherence": (0.0, 1.0), "energy_change": (-15.0, 15.0)}
_REFERENCE: dict[str, Any] = {"color": "0.15", "linewidth": 2.2, "zorder": 3}
_LOWEST = 1e-5  # fraction below which a curve is noise


@thesis_style()
def plot_histories(
    panels: Mapping[str, Mapping[str, NDArray[np.floating]]],
    *,
    ylabel: str,
    xlabel: str = "step",
    x: NDArray[np.floating] | None = None,
    share_y: bool = True,
    logarithmic: bool = False,
    background: str | None = None,
    levels: Mapping[str, float] | None = None,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """
    Draw values over the steps of training, of an ascent or of an inversion, or over another axis.

    Parameters
    ----------
    panels : mapping of title to mapping of label to array of shape (n_curves, n_steps)
        Curves of each panel; NaN leaves a gap. A label has the same colour in all panels.
    ylabel : str
        What the values are, with their unit.
    xlabel : str
        What is counted along the x axis.
    x : array of shape (n_steps,), optional
        Where on the x axis the values are; by default steps are counted from 0.
    share_y : bool
        Whether all panels have one y axis, or each its own.
    logarithmic : bool
        Whether the y axis is.
    background : str, optional
        Label whose curves are drawn in gray behind the others.
    levels, marks : mapping of label to float, optional
        Values (dashed; the second dash-dotted) and steps (dotted) that are marked by a line in
        every panel.

    Returns
    -------
    Figure
        Up to four panels next to each other, with a common x axis. A thin line is a curve, a
        thick one the median of a label.

    Raises
    ------
    ValueError
        If there is no panel.
    """
    labels = [label for curves in panels.values() for label in curves if label != background]
    styles = series_styles(labels, markers=False)
    lines: dict[str, dict[str, Any]] = {
        **{
            label: {"label": label, "color": "0.3", "ls": line}
            for label, line in zip(levels or {}, cycle(["dashed", "dashdot"]), strict=False)
        },
        **{label: {"label": label, "color": RED, "ls": "dotted"} for label in marks or {}},
    }
    n, shared = len(panels), {"sharex": True, "sharey": share_y}
    height = {1: 2.4, 2: 2.2}.get(n, 1.9 if n <= _COLUMNS else 1.4)
    fig, axes = new_panels(n, n_columns=min(n, _COLUMNS), height=height, **shared)
    for ax, (title, curves) in zip(axes, panels.items(), strict=True):
        for label, values in curves.items():
            steps = np.arange(values.shape[1]) if x is None else x
            if label == background:
                ax.plot(steps, values.T, color="0.85", linewidth=0.7, zorder=1)
                continue
            marker = "." if len(steps) <= _FEW_STEPS else ""
            ax.plot(steps, values.T, **styles[label], linewidth=0.6, alpha=0.4)
            ax.plot(steps, pd.DataFrame(values).median(), **styles[label], marker=marker)
        for label, level in (levels or {}).items():
            ax.axhline(level, **lines[label], linewidth=0.9)
        for label, step in (marks or {}).items():
            ax.axvline(step, **lines[label], linewidth=1.1)
        ax.set(title=title, yscale="log" if logarithmic else "linear")
        ax.xaxis.set_major_locator(MaxNLocator(4 if n > 1 else 8, integer=True))
        ax.grid()
    fig.supxlabel(xlabel)
    fig.supylabel(ylabel)
    behind = [{"label": background, "color": "0.85"}] if background else []
    add_legend(fig, [*styles.values(), *behind, *lines.values()])
    return fig


@thesis_style()
def plot_statistics(volumes: Mapping[str, xr.Dataset], *, reference: str | None = None) -> Figure:
    """
    Draw what sections of volumes have in common: amplitudes, spectra, dips, coherence, energy.

    Parameters
    ----------
    volumes : mapping of name to Dataset
        See `saltearth.section_statistics`. Lines are means over sections.
    reference : str, optional
        The volume that the others are compared with: drawn thick and dark, the range of its
        sections shaded.

    Returns
    -------
    Figure
        One panel per statistic; every density is the fraction of samples in a step.

    Raises
    ------
    ValueError
        If ``reference`` is not one of the volumes.
    """
    if reference is not None:
        check_choice("reference", reference, tuple(volumes))
    fig, grid = plt.subplots(3, 3, figsize=(PAGE_WIDTH, 6.2))
    *panels, corner = grid.flat
    for ax, (name, looks) in zip(panels, _PANELS.items(), strict=True):
        coordinate, xlabel, ylabel, is_log = looks
        for title, part in volumes.items():
            values, positions = part[name], part[coordinate]
            style = _REFERENCE if title == reference else {"linewidth": 1.2}
            if title == reference:
                low, high = values.min("section"), values.max("section")
                ax.fill_between(positions, low, high, color="0.82", linewidth=0)
            ax.plot(positions, values.mean("section"), label=title, **style)
        ax.set(xlabel=xlabel, ylabel=ylabel, xlim=_LIMITS.get(name))
        if is_log:
            ax.set(yscale="log", ylim=(_LOWEST, None))
        ax.grid()
    corner.set_axis_off()
    corner.legend(*panels[0].get_legend_handles_labels(), loc="center left", frameon=False)
    return fig
