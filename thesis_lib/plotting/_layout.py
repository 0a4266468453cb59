"""Figures as wide as the page: panels in a grid, a legend above them, colour bars beside them."""

from collections.abc import Iterable, Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from saltvolumes._checks import check_count

PAGE_WIDTH = 7.0  # inches, the text width of the book
NO_VALUE = {"label": "no value", "color": "0.3", "marker": "x", "linestyle": ""}


def new_panels(
    n_panels: int, *, n_columns: int = 3, height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    """
    Open a page-wide grid, empty after its first ``n_panels`` axes, which are returned.

    Parameters
    ----------
    n_panels, n_columns : int
        Number of panels, and how many of them are next to each other.
    height : float
        Of a panel with its title and labels, in inches.
    **options
        Passed on to ``pyplot.subplots``: panels that share an axis label it at the edges only.

    Raises
    ------
    ValueError
        If there is no panel.
    """
    n_rows = -(-check_count("number of panels", n_panels) // n_columns)
    size = (PAGE_WIDTH, n_rows * height + 0.4)
    fig, axes = plt.subplots(n_rows, n_columns, figsize=size, squeeze=False, **options)
    panels = list(axes.flat)
    for ax in panels[n_panels:]:
        ax.set_axis_off()
    for ax in panels[max(n_panels - n_columns, 0) : n_panels]:  # also above an empty one
        ax.tick_params(labelbottom=True)
    return fig, panels[:n_panels]


def add_legend(fig: Figure, entries: Iterable[Mapping[str, Any]]) -> None:
    """Explain what all panels share, above them at the right: the label and look of each line."""
    handles = [Line2D([], [], **entry) for entry in entries]
    columns = min(len(handles), 4)
    fig.legend(handles=handles, loc="outside upper right", ncols=columns, frameon=False)


def two_lines(label: str) -> str:
    """Put the unit of a label, which is in brackets, on a line of its own."""
    return label.replace(" (", "\n(")


def add_bar(fig: Figure, image: AxesImage, axes: Any, label: str, **options: Any) -> None:
    """Add a colour bar at the right of one or more axes, with its unit on a line of its own."""
    looks: dict[str, Any] = {"extend": "both", "pad": 0.02, **options}
    fig.colorbar(image, ax=axes, label=two_lines(label), **looks)


def draw_missing(ax: Axes, positions: ArrayLike, *, color: str, upright: bool = False) -> None:
    """Mark with a cross what has no value: at the bottom or, ``upright``, at the left edge."""
    along = np.asarray(positions)
    edge = np.full(along.shape, 0.04)
    x, y = (edge, along) if upright else (along, edge)
    transform = ax.get_yaxis_transform() if upright else ax.get_xaxis_transform()
    ax.scatter(x, y, s=22, marker="x", color=color, transform=transform)
