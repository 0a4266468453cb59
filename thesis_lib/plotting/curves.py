"""Curves: how training, ascents and inversions went, and losses as functions of the logit."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from thesis_lib.plotting._layout import add_legend, new_panels
from thesis_lib.plotting._series import series_styles
from thesis_lib.plotting._style import RED, thesis_style

_COLUMNS = 4
_FEW_STEPS = 20  # up to which each step has a dot


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
        Values (dashed) and steps (dotted) that are marked by a line in every panel.

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
        **{label: {"label": label, "color": "0.3", "ls": "dashed"} for label in levels or {}},
        **{label: {"label": label, "color": RED, "ls": "dotted"} for label in marks or {}},
    }
    n_columns = min(len(panels), _COLUMNS)
    height = {1: 2.4, 2: 2.2}.get(len(panels), 1.9 if len(panels) <= _COLUMNS else 1.4)
    fig, axes = new_panels(
        len(panels), n_columns=n_columns, height=height, sharex=True, sharey=share_y
    )
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
        ax.xaxis.set_major_locator(MaxNLocator(4 if len(panels) > 1 else 8, integer=True))
        ax.grid()
    fig.supxlabel(xlabel)
    fig.supylabel(ylabel)
    behind = [{"label": background, "color": "0.85"}] if background else []
    add_legend(fig, [*styles.values(), *behind, *lines.values()])
    return fig
