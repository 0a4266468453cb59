"""The two drawings of the thesis, made by code: the pipeline and the network."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from saltvolumes._checks import check_choice
from thesis_lib.plotting._layout import PAGE_WIDTH
from thesis_lib.plotting._style import thesis_style

Block: TypeAlias = tuple[str, int, int, int]  # name, channels, height, width
Point: TypeAlias = tuple[float, float]  # inches

CORE, PLAIN, LATENT = "#bfdcf3", "#f4f4f4", "#d4d4d8"  # blue of petroff10, lightened; two grays
_PIPELINE = {  # left and lower side in inches, words, colour
    "Volume": (0.05, 1.75, "image, salt mask", PLAIN),
    "Extraction": (1.9, 1.75, "2-D patches,\nsize and stride", CORE),
    "Normalisation": (3.75, 1.75, "z-score\nof each patch", CORE),
    "Training": (5.65, 1.75, "and validation,\none loss at a time", CORE),
    "Testing": (3.75, 0.2, "a mask\nfor each patch", CORE),
    "Stitching": (1.9, 0.2, "overlaps blended", CORE),
    "Scoring": (0.05, 0.2, "Dice, PS in 3-D", PLAIN),
}
_PIPELINE_NOTES = {
    "training": (5.12, 2.27),
    "patches": (5.12, 2.03),
    "unseen patches": (4.48, 1.38),
    "trained\nnetwork": (6.38, 1.2),
    "true mask": (0.78, 1.38),
}
_LATENT_X, _ENCODER_X, _DECODER_X, _LOGITS_X = 0.05, 1.65, 4.15, 5.75  # inches
_BOX_WIDTH, _BOX_HEIGHT, _ROW_PITCH = 1.2, 0.44, 0.66
_ARROW = {"arrowstyle": "-|>", "color": "0.35", "shrinkA": 0, "shrinkB": 0}
_NOTE: dict[str, Any] = {"fontsize": 8, "style": "italic", "va": "center"}


@thesis_style()
def plot_pipeline() -> Figure:
    """
    Draw the way from a seismic volume to a score: the thesis' Figure 1 in our own drawing.

    Returns
    -------
    Figure
        The core of the method is blue; what goes in and what comes out is gray.
    """
    fig, ax = _open_canvas(2.75)
    boxes = {
        title: _draw_box(ax, (x, y), (1.3, 0.8), title, text, color)
        for title, (x, y, text, color) in _PIPELINE.items()
    }
    for source, sink in [*pairwise(list(_PIPELINE)[:4]), *pairwise(list(_PIPELINE)[4:])]:
        _draw_arrow(ax, boxes[source], boxes[sink])
    _draw_arrow(ax, boxes["Normalisation"], boxes["Testing"])
    turn = "angle,angleA=90,angleB=0"
    _draw_arrow(ax, boxes["Training"], boxes["Testing"], connectionstyle=turn)
    _draw_arrow(ax, boxes["Volume"], boxes["Scoring"])
    for note, (x, y) in _PIPELINE_NOTES.items():
        ax.text(x, y, note, **_NOTE)
    return fig


@thesis_style()
def plot_network(
    blocks: Sequence[Block], *, skips: Sequence[tuple[str, str]], latent: Sequence[str]
) -> Figure:
    """
    Draw the network: the thesis' Figure 2 in our own drawing, with the decoder.

    Parameters
    ----------
    blocks : sequence of (name, channels, height, width)
        What leaves each stage, in order: the input, the encoder down to the smallest image, the
        decoder back up. Sizes in pixels.
    skips : sequence of (name, name)
        Which stage of the encoder is handed to which of the decoder.
    latent : sequence of names
        The stages whose outputs are concatenated to the latent representation.

    Returns
    -------
    Figure
        The encoder on the left, the decoder on the right, rows ordered by size.

    Raises
    ------
    ValueError
        If a name is not among the blocks, or the decoder has a size that the encoder has not.
    """
    names = [name for name, *_ in blocks]
    for name in (*latent, *(name for pair in skips for name in pair)):
        check_choice("block", name, names)
    corners = _place_blocks(blocks)
    top = max(y for _, y in corners)
    fig, ax = _open_canvas(top + _BOX_HEIGHT + 0.1)
    boxes = {}
    for (name, channels, height, width), corner in zip(blocks, corners, strict=True):
        color = CORE if name in latent else PLAIN
        text = f"{channels} × {height} × {width}"
        boxes[name] = _draw_box(ax, corner, (_BOX_WIDTH, _BOX_HEIGHT), name, text, color)
    for (source, start), (sink, end) in pairwise(zip(names, corners, strict=True)):
        turns = start[0] != end[0] and start[1] != end[1]
        style = "angle,angleA=0,angleB=90" if turns else "arc3"
        _draw_arrow(ax, boxes[source], boxes[sink], connectionstyle=style)
    for source, sink in skips:
        _draw_arrow(ax, boxes[source], boxes[sink], linestyle="dashed")
    ax.text(_LOGITS_X, top - 0.44, "dashed: skip\nconnection", **_NOTE)
    entering = {name: channels for name, channels, *_ in blocks if name in latent}  # downward
    bottoms = [boxes[name].get_y() for name in entering]
    low, high = min(bottoms), max(bottoms) + _BOX_HEIGHT
    terms = "\n+ ".join(map(str, entering.values()))
    text = f"{terms}\n= {sum(entering.values())}\nchannels"
    joined = _draw_box(ax, (_LATENT_X, low), (_BOX_WIDTH, high - low), "latent", text, LATENT)
    for name in entering:
        _draw_arrow(ax, boxes[name], joined, level=True)
    return fig


def _place_blocks(blocks: Sequence[Block]) -> list[Point]:
    """Lower left corners: encoder downward, the input next to its first, the decoder by size."""
    sizes = [block[2:] for block in blocks]
    n_encoder = 1 + sizes.index(min(sizes))
    rows = [max(i - 1, 0) for i in range(n_encoder)]
    columns = [_LATENT_X, *([_ENCODER_X] * (n_encoder - 1))]
    row_of = dict(zip(sizes, rows, strict=False))  # of the last of the encoder with that size
    for (name, *_), size in zip(blocks[n_encoder:], sizes[n_encoder:], strict=True):
        row = row_of[check_choice(f"size of {name}", size, row_of)]
        columns.append(_LOGITS_X if row in rows[n_encoder:] else _DECODER_X)
        rows.append(row)
    bottoms = [_ROW_PITCH * (n_encoder - 2 - row) + 0.08 for row in rows]
    return list(zip(columns, bottoms, strict=True))


def _open_canvas(height: float) -> tuple[Figure, Axes]:
    """Open a page-wide drawing whose units are inches."""
    fig = plt.figure(figsize=(PAGE_WIDTH, height), layout="none")
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, PAGE_WIDTH), ylim=(0, height))
    ax.set_axis_off()
    return fig, ax


def _draw_box(
    ax: Axes, corner: Point, size: Point, title: str, text: str, color: str
) -> FancyBboxPatch:
    style = "round,pad=0,rounding_size=0.06"
    box = FancyBboxPatch(corner, *size, boxstyle=style, fc=color, ec="0.45", lw=0.8)
    x, y = corner[0] + size[0] / 2, corner[1] + size[1] / 2
    above = y + 0.07 * (text.count("\n") + 1)
    ax.text(x, above, title, ha="center", va="center", weight="bold", fontsize=8.5)
    ax.text(x, y - 0.08, text, ha="center", va="center", fontsize=8)
    ax.add_patch(box)
    return box


def _draw_arrow(
    ax: Axes, source: FancyBboxPatch, sink: FancyBboxPatch, *, level: bool = False, **style: Any
) -> None:
    """Draw an arrow from the middle of a box to that of another or, ``level``, straight across."""
    end, middle = (sink, source if level else sink), (0.5, 0.5)
    arrow = {**_ARROW, **style, "patchA": source, "patchB": sink}
    ax.annotate("", middle, middle, xycoords=end, textcoords=source, arrowprops=arrow)
