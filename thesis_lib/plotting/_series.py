"""Series that a legend tells apart: one colour and one marker for each name."""

from collections.abc import Collection, Iterable
from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

_MARKERS = "os^Dvp*XPh"


def series_styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """
    Colour, in the order of the style, and marker of each name.

    Raises
    ------
    ValueError
        If there is no name.
    """
    unique = list(dict.fromkeys(names))
    if not unique:
        raise ValueError("Invalid series: none given. Must be at least one.")
    colors = cycle(plt.rcParams["axes.prop_cycle"].by_key()["color"])
    return {
        name: {"color": color, "marker": marker}
        for name, color, marker in zip(unique, colors, cycle(_MARKERS), strict=False)
    }


def series_handles(styles: dict[str, dict[str, Any]], **line: Any) -> list[Line2D]:
    """Legend entries of the series."""
    return [Line2D([], [], label=name, **style, **line) for name, style in styles.items()]


def draw_runs(ax: Axes, runs: NDArray[np.floating], *, color: str) -> None:
    """Draw each run (a row of ``runs``) thin and their median thick; NaN leaves a gap."""
    table = pd.DataFrame(runs).T
    ax.plot(table, color=color, linewidth=0.6, alpha=0.4)
    ax.plot(table.median(axis=1), color=color)


def ordered(column: "pd.Series[Any]") -> list[str]:
    """Names in a column: in the order of its categories, else of appearance."""
    present = column.unique()
    if isinstance(column.dtype, pd.CategoricalDtype):
        return [name for name in column.cat.categories if name in present]
    return list(present)


def check_columns(name: str, table: pd.DataFrame, columns: Collection[str]) -> None:
    """
    Refuse a table without all of some columns.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    missing = [column for column in columns if column not in table]
    if missing:
        raise ValueError(
            f"Invalid {name} without {', '.join(missing)}. Must have {', '.join(columns)}."
        )
