"""Images in rows: patches, and what networks made of them or saw in them."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from saltvolumes._checks import check_count, check_same_shape
from thesis_lib.plotting import _panels
from thesis_lib.plotting._layout import PAGE_WIDTH, add_bar, add_legend
from thesis_lib.plotting._style import RED, SIGNED, thesis_style

_LABEL_CHARACTERS, _CHARACTER_WIDTH, _LINE_HEIGHT = 14, 0.07, 0.15  # inches
_BAR_WIDTH, _BAR_HEIGHT, _BAR_MARGIN = 0.11, 2.2, 0.85  # inches
_LARGEST, _ABOVE = 1.5, 0.55  # inches
_AMPLITUDE = "amplitude (std. dev.)"


@thesis_style()
def plot_image_grid(
    rows: Mapping[str, NDArray[np.floating]],
    *,
    column_titles: Sequence[str] | None = None,
    captions: Mapping[str, Sequence[str]] | None = None,
    masks: NDArray[np.bool_] | None = None,
    framed: Mapping[str, Sequence[bool]] | None = None,
    signed: Mapping[str, str] | None = None,
    limit: float | None = None,
    n_columns: int | None = None,
) -> Figure:
    """
    Draw rows of images, such as Figures 3 and 4: one row per network, one column per start.

    The layout depends on the number and shape of the images and on the number of lines of the
    captions alone.

    Parameters
    ----------
    rows : mapping of label to array of shape (n, H, W)
        Images, the first row of pixels on top. Rows may differ in n; one without images reads
        *not run*.
    column_titles : sequence of str, optional
        Title of each column.
    captions : mapping of label to sequence of n str, optional
        A few words below each image of a row.
    masks : bool array of shape (n, H, W), optional
        True salt, outlined in the images of every row.
    framed : mapping of label to sequence of n bool, optional
        Images that are framed, and their captions written, in red: those to be distrusted.
    signed : mapping of label to str, optional
        Rows that are drawn red and blue about 0, up to their own largest magnitude, and what
        their colours mean, with its unit.
    limit : float, optional
        Where the colours of all other rows, of amplitudes, end; by default at the 98th percentile
        of their magnitudes.
    n_columns : int, optional
        Images next to each other, by default those of the longest row. What does not fit goes on
        in a new line.

    Returns
    -------
    Figure
        Grays, or red and blue, each with its colour bar.

    Raises
    ------
    ValueError
        If there is no image, images are not (n, H, W), masks have another shape, titles, captions
        or frames are not as many as images, or nothing is finite.
    """
    n_columns = n_columns or max(map(len, rows.values()), default=0)
    captions = captions or {}
    n_below = max((words.count("\n") + 1 for row in captions.values() for words in row), default=0)
    fig, panels = _open_grid(rows, n_columns, n_below=n_below)
    scales = [  # rows, meaning and colours of each bar, and where it ends
        ([name], label, SIGNED, _panels.color_limit(rows[name], percentile=100.0))
        for name, label in (signed or {}).items()
    ]
    if gray := [name for name in rows if name not in (signed or {})]:
        end = limit or _panels.color_limit(*(rows[name] for name in gray))
        scales.insert(0, (gray, _AMPLITUDE, "gray", end))
    for names, label, cmap, end in scales:
        for name in names:
            for ax, image in zip(panels[name], rows[name], strict=False):
                drawn = ax.imshow(image, cmap=cmap, vmin=-end, vmax=end, interpolation="nearest")
        _add_bar(fig, drawn, [ax for name in names for ax in panels[name]], label)
    if column_titles is not None:
        for ax, title in _pair("column titles", fig.axes, column_titles, n_columns):
            ax.set_title(title, loc="center")
    for name, row in captions.items():
        for ax, words in _pair(f"captions of {name!r}", panels[name], row, len(rows[name])):
            ax.set_xlabel(words, fontsize=8, labelpad=2)
    for name, flags in (framed or {}).items():
        for ax, is_framed in _pair(f"frames of {name!r}", panels[name], flags, len(rows[name])):
            if is_framed:
                ax.set_frame_on(True)
                ax.spines[:].set(visible=True, color=RED, linewidth=1.8)
                ax.xaxis.label.set_color(RED)
    if masks is not None:
        for name, images in rows.items():
            check_same_shape(name, images.shape, "masks", masks.shape)
            for ax, mask in zip(panels[name], masks, strict=False):
                _panels.draw_outline(ax, mask, _panels.TRUTH)
        add_legend(fig, [_panels.TRUTH])
    return fig


def _pair(
    name: str, panels: Sequence[Axes], values: Sequence[Any], n: int
) -> Iterator[tuple[Axes, Any]]:
    """Pair the first n panels with their n values."""
    if len(values) != n:
        raise ValueError(f"Invalid {name}: {len(values)} given. Must be {n}.")
    return zip(panels, values, strict=False)


def _open_grid(
    rows: Mapping[str, NDArray[np.floating]], n_columns: int, *, n_below: int
) -> tuple[Figure, dict[str, list[Axes]]]:
    """Open empty panels for every row, on as many lines as it needs, with its label before."""
    check_count("number of images", n_columns)
    for name, images in rows.items():
        if images.ndim != 3:
            raise ValueError(f"Invalid {name!r} of shape {images.shape}. Must be (n, H, W).")
    lines = [name for name, images in rows.items() for _ in range(0, len(images) or 1, n_columns)]
    labels = {name: textwrap.fill(name, _LABEL_CHARACTERS) for name in rows}
    longest = max(len(line) for label in labels.values() for line in label.split("\n"))
    free = PAGE_WIDTH - _CHARACTER_WIDTH * longest - _BAR_MARGIN
    height, width = next(images.shape[1:] for images in rows.values() if len(images))
    panel_height = min(free / n_columns, _LARGEST) * height / width + 0.06 + _LINE_HEIGHT * n_below
    layout = ConstrainedLayoutEngine(compress=True, w_pad=0.02, h_pad=0.04, wspace=0, hspace=0)
    size = (PAGE_WIDTH, len(lines) * panel_height + _ABOVE)
    fig, grid = plt.subplots(len(lines), n_columns, figsize=size, layout=layout, squeeze=False)
    panels: dict[str, list[Axes]] = {name: [] for name in rows}
    for name, line in zip(lines, grid, strict=True):
        panels[name].extend(line)
    for ax in grid.flat:
        ax.set(xticks=[], yticks=[], frame_on=False)
    for name, axes in panels.items():
        axes[0].set_ylabel(labels[name], rotation=0, ha="right", va="center")
        if not len(rows[name]):
            axes[0].text(0, 0.5, "not run", va="center", transform=axes[0].transAxes)
    return fig, panels


def _add_bar(fig: Figure, drawn: AxesImage, panels: Sequence[Axes], label: str) -> None:
    """Add a colour bar at the right of the panels, as high as they are or a few centimetres."""
    n_panels = sum(ax.get_label() != "<colorbar>" for ax in fig.axes)
    height = fig.get_figheight() * len(panels) / n_panels
    shrink = min(1.0, _BAR_HEIGHT / height)
    bar = {"shrink": shrink, "aspect": shrink * height / _BAR_WIDTH}
    extend = "both" if drawn.get_cmap().name == "gray" else "neither"
    add_bar(fig, drawn, panels, label, extend=extend, **bar)
