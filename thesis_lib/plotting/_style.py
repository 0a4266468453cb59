"""The one style of every figure: a matplotlib style file, applied while a figure is drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib

STYLE = Path(__file__).parents[1] / "thesis.mplstyle"

BLUE, ORANGE, RED, GRAY = "#3f90da", "#ffa90e", "#bd1f01", "#717581"  # from petroff10
SIGNED = "RdBu_r"


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
