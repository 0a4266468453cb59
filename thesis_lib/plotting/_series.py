"""Series that a legend distinguishes: one colour and one marker for each name."""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.rcsetup import cycler
from numpy.typing import ArrayLike

NO_VALUE = {"label": "no value", "color": "0.3", "marker": "x", "linestyle": ""}
_MARKERS = list("os^Dvp*XPh")  # one for each colour of the style


def series_styles(names: Iterable[str], *, markers: bool = True) -> dict[str, dict[str, Any]]:
    """Label, colour in the order of the style, and marker of each name."""
    styles = plt.rcParams["axes.prop_cycle"]
    if markers:
        styles = styles + cycler(marker=_MARKERS)
    unique = dict.fromkeys(names)
    return {name: {"label": name, **style} for name, style in zip(unique, styles(), strict=False)}


def list_names(column: "pd.Series[Any]") -> list[str]:
    """Names in a column: in the order of its categories, else of appearance."""
    names = column.drop_duplicates()
    return list(names.sort_values() if isinstance(names.dtype, pd.CategoricalDtype) else names)


def draw_missing(ax: Axes, positions: ArrayLike, *, color: str, upright: bool = False) -> None:
    """Mark with a cross what has no value: at the bottom or, ``upright``, at the left edge."""
    along = np.asarray(positions)
    edge = np.full(along.shape, 0.04)
    x, y = (edge, along) if upright else (along, edge)
    transform = ax.get_yaxis_transform() if upright else ax.get_xaxis_transform()
    ax.scatter(x, y, s=22, marker="x", color=color, transform=transform)
