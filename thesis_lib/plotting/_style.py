"""The one style of every figure: a matplotlib style file, applied while a figure is drawn."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import LayoutEngine

STYLE = Path(__file__).parents[1] / "thesis.mplstyle"
PAGE_WIDTH = 7.0  # inches, the text width of the book

BLUE, ORANGE, RED, GRAY = "#3f90da", "#ffa90e", "#bd1f01", "#717581"  # from petroff10
TRUTH, PREDICTION = ORANGE, BLUE
SIGNED = "RdBu_r"

P = ParamSpec("P")


@contextmanager
def thesis_style() -> Iterator[None]:
    """
    Set the rcParams that the style file names, and put them back.

    ``pyplot.style.context`` would put back all of them, also what a backend that is loaded by the
    first figure has set: in a notebook no figure would be shown from then on.
    """
    settings = matplotlib.rc_params_from_file(STYLE, use_default_template=False)
    before = {name: matplotlib.rcParams[name] for name in settings}
    matplotlib.rcParams.update(settings)
    try:
        yield
    finally:
        matplotlib.rcParams.update(before)


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Run a drawing function in the thesis' style and leave the global rcParams as they were."""

    @wraps(draw)
    def draw_in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with thesis_style():
            return draw(*args, **kwargs)

    return draw_in_style


def new_figure(
    n_rows: int = 1,
    n_columns: int = 1,
    *,
    height: float,
    width: float = PAGE_WIDTH,
    layout: str | LayoutEngine = "constrained",
    **options: Any,
) -> tuple[Figure, Any]:
    """
    Open a figure in pyplot and the (n_rows, n_columns) array of its axes.

    Parameters
    ----------
    n_rows, n_columns : int
        Number of panels each way.
    height, width : float
        Size in inches.
    layout : str or LayoutEngine
        Layout engine of matplotlib: "compressed" for panels with a fixed aspect.
    **options
        Passed on to ``pyplot.subplots``.
    """
    fig, axes = plt.subplots(
        n_rows, n_columns, figsize=(width, height), layout=layout, squeeze=False, **options
    )
    return fig, axes


def new_panels(
    n_panels: int, *, n_columns: int, panel_height: float, **options: Any
) -> tuple[Figure, list[Axes]]:
    """Open a page-wide grid, empty after its first ``n_panels`` axes, which are returned."""
    n_rows = -(-n_panels // n_columns)
    fig, axes = new_figure(n_rows, n_columns, height=n_rows * panel_height + 0.4, **options)
    panels = list(axes.flat)
    for ax in panels[n_panels:]:
        ax.set_axis_off()
    return fig, panels[:n_panels]


def label_outer(panels: Sequence[Axes], *, n_columns: int, share_y: bool = True) -> None:
    """Label the x axis below the last panels only and, if it is shared, the y axis on the left."""
    for number, ax in enumerate(panels):
        if number % n_columns:
            ax.set_ylabel("")
            ax.tick_params(labelleft=not share_y)
        is_last = number + n_columns >= len(panels)
        ax.tick_params(labelbottom=is_last)
        if not is_last:
            ax.set_xlabel("")


def two_lines(label: str) -> str:
    """Put the unit of a label, which stands in brackets, on a line of its own."""
    return label.replace(" (", "\n(")
