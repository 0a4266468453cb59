"""The one style of every figure: a matplotlib style file, and the looks of its series."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.rcsetup import cycler

STYLE = Path(__file__).parents[1] / "thesis.mplstyle"

BLUE, ORANGE, RED, GRAY, PURPLE = "#3f90da", "#ffa90e", "#bd1f01", "#717581", "#832db6"  # petroff10
SIGNED = "RdBu_r"
_MARKERS = list("os^Dvp*XPh")  # one for each colour of the style


@contextmanager
def thesis_style() -> Iterator[None]:
    """
    Set the rcParams that the style file names, and put them back; also a decorator.

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
