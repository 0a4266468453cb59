"""The two drawings of the thesis, made by code: the pipeline and the network."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from thesis_lib._checks import check_choice
from thesis_lib.plotting._style import PAGE_WIDTH, new_figure, styled

Block: TypeAlias = tuple[str, int, int, int]  # name, channels, height, width

CORE, PLAIN, LATENT = "#bfdcf3", "#f4f4f4", "#d4d4d8"  # blue of petroff10, lightened; two grays
_COLUMN_LEFT = (0.05, 1.65, 4.15, 5.75)  # inches
_BOX_WIDTH, _BOX_HEIGHT, _ROW_PITCH = 1.2, 0.44, 0.66
_NOTE: dict[str, Any] = {"fontsize": 8, "style": "italic", "va": "center"}
_ARROW: dict[str, Any] = {"arrowstyle": "-|>", "color": "0.35", "shrinkA": 0, "shrinkB": 0}


class Box(NamedTuple):
    """A labelled box, in inches."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> tuple[float, float]:
        """Middle of the left side."""
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> tuple[float, float]:
        """Middle of the right side."""
        return self.x + self.width, self.y + self.height / 2

    @property
    def top(self) -> tuple[float, float]:
        """Middle of the upper side."""
        return self.x + self.width / 2, self.y + self.height

    @property
    def bottom(self) -> tuple[float, float]:
        """Middle of the lower side."""
        return self.x + self.width / 2, self.y


@styled
def plot_pipeline() -> Figure:
    """
    Draw the way from a seismic volume to a score: the thesis' Figure 1 in our own drawing.

    Returns
    -------
    Figure
        The core of the method is blue; what goes in and what comes out is gray.
    """
    ax = _open_canvas(2.75)
    volume, extraction, zscore, training = (Box(x, 1.75, 1.3, 0.8) for x in (0.05, 1.9, 3.75, 5.65))
    scoring, stitching, testing = (Box(x, 0.2, 1.3, 0.8) for x in (0.05, 1.9, 3.75))
    _draw_box(ax, volume, "Volume", "image, salt mask", PLAIN)
    _draw_box(ax, extraction, "Extraction", "2-D patches,\nsize and stride", CORE)
    _draw_box(ax, zscore, "Normalisation", "z-score\nof each patch", CORE)
    _draw_box(ax, training, "Training", "and validation,\none loss at a time", CORE)
    _draw_box(ax, testing, "Testing", "a mask\nfor each patch", CORE)
    _draw_box(ax, stitching, "Stitching", "overlaps blended", CORE)
    _draw_box(ax, scoring, "Scoring", "Dice, PS in 3-D", PLAIN)
    _draw_arrow(ax, volume.right, extraction.left)
    _draw_arrow(ax, extraction.right, zscore.left)
    _draw_arrow(ax, zscore.right, training.left)
    _draw_arrow(ax, zscore.bottom, testing.top)
    _draw_arrow(ax, training.bottom, testing.right, connectionstyle="angle,angleA=90,angleB=0")
    _draw_arrow(ax, testing.left, stitching.right)
    _draw_arrow(ax, stitching.left, scoring.right)
    _draw_arrow(ax, volume.bottom, scoring.top)
    for (x, y), note in (
        ((5.12, 2.27), "training"),
        ((5.12, 2.03), "patches"),
        ((4.48, 1.38), "unseen patches"),
        ((6.38, 1.2), "trained\nnetwork"),
        ((0.78, 1.38), "true mask"),
    ):
        ax.text(x, y, note, **_NOTE)
    return ax.figure.get_figure(root=True)


@styled
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
    n_encoder = 1 + min(range(len(blocks)), key=lambda i: blocks[i][2] * blocks[i][3])
    boxes = _place_blocks(blocks, n_encoder)
    ax = _open_canvas(boxes[names[1]].top[1] + 0.1)
    for name, channels, height, width in blocks:
        color = CORE if name in latent else PLAIN
        _draw_box(ax, boxes[name], name, f"{channels} × {height} × {width}", color)
    _draw_flow(ax, [boxes[name] for name in names])
    for source, sink in skips:
        _draw_arrow(ax, boxes[source].right, boxes[sink].left, linestyle="dashed")
    ax.text(_COLUMN_LEFT[3], boxes[names[1]].bottom[1] - 0.44, "dashed: skip\nconnection", **_NOTE)
    _draw_latent(ax, [boxes[name] for name in latent], [c for n, c, *_ in blocks if n in latent])
    return ax.figure.get_figure(root=True)


def _place_blocks(blocks: Sequence[Block], n_encoder: int) -> dict[str, Box]:
    """Encoder stages one below the other, the input beside the first, the decoder by size."""
    n_rows = n_encoder - 1
    rows = [max(i - 1, 0) for i in range(n_encoder)]
    columns = [0, *(1 for _ in range(n_rows))]
    sizes = [block[2:] for block in blocks[:n_encoder]]
    for name, _, *size in blocks[n_encoder:]:
        if tuple(size) not in sizes:
            raise ValueError(
                f"Invalid size {tuple(size)} of {name}. Must be one of the encoder's: {sizes}."
            )
        row = max(rows[i] for i in range(n_encoder) if sizes[i] == tuple(size))
        columns.append(3 if row in rows[n_encoder:] else 2)
        rows.append(row)
    left = [_COLUMN_LEFT[column] for column in columns]
    bottom = [_ROW_PITCH * (n_rows - 1 - row) + 0.08 for row in rows]
    return {
        block[0]: Box(x, y, _BOX_WIDTH, _BOX_HEIGHT)
        for block, x, y in zip(blocks, left, bottom, strict=True)
    }


def _draw_flow(ax: Axes, boxes: Sequence[Box]) -> None:
    for source, sink in pairwise(boxes):
        if source.y == sink.y:
            _draw_arrow(ax, source.right, sink.left)
        elif source.x != sink.x:
            _draw_arrow(ax, source.right, sink.bottom, connectionstyle="angle,angleA=0,angleB=90")
        elif source.y > sink.y:
            _draw_arrow(ax, source.bottom, sink.top)
        else:
            _draw_arrow(ax, source.top, sink.bottom)


def _draw_latent(ax: Axes, boxes: Sequence[Box], channels: Sequence[int]) -> None:
    """Draw the concatenation beside the stages that enter it."""
    low, high = min(box.y for box in boxes), max(box.top[1] for box in boxes)
    latent = Box(_COLUMN_LEFT[0], low, _BOX_WIDTH, high - low)
    terms = "\n+ ".join(str(count) for count in channels)
    _draw_box(ax, latent, "latent", f"{terms}\n= {sum(channels)}\nchannels", LATENT)
    for box in boxes:
        _draw_arrow(ax, box.left, (latent.right[0], box.left[1]))


def _open_canvas(height: float) -> Axes:
    """Open a page-wide drawing whose units are inches."""
    _, grid = new_figure(height=height, layout="none")
    ax: Axes = grid[0, 0]
    ax.set_position((0, 0, 1, 1))
    ax.set(xlim=(0, PAGE_WIDTH), ylim=(0, height))
    ax.set_axis_off()
    return ax


def _draw_box(ax: Axes, box: Box, title: str, text: str, color: str) -> None:
    style = "round,pad=0,rounding_size=0.06"
    ax.add_patch(
        FancyBboxPatch(
            (box.x, box.y), box.width, box.height, boxstyle=style, fc=color, ec="0.45", lw=0.8
        )
    )
    n_lines = text.count("\n") + 1
    x, y = box.top[0], box.left[1]
    ax.text(x, y + 0.07 * n_lines, title, ha="center", va="center", weight="bold", fontsize=8.5)
    ax.text(x, y - 0.08, text, ha="center", va="center", fontsize=8)


def _draw_arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], **style: Any
) -> None:
    ax.annotate("", xy=end, xytext=start, arrowprops={**_ARROW, **style})
