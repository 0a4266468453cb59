"""What every figure of the book keeps to."""

from collections.abc import Callable

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

matplotlib.use("Agg")


def check_figure(draw: Callable[[], Figure]) -> None:
    """One light, page-wide figure without small print, drawn without a trace in matplotlib."""
    before = dict(matplotlib.rcParams)
    fig = draw()
    assert dict(matplotlib.rcParams) == before
    assert [plt.figure(number) for number in plt.get_fignums()] == [fig]
    fig.draw_without_rendering()
    texts = [text for text in fig.findobj(Text) if text.get_text() and text.get_visible()]
    assert to_hex(fig.get_facecolor()) == "#ffffff"
    assert fig.get_size_inches()[0] <= 7.0
    assert min(text.get_fontsize() for text in texts) >= 8.0


def find_overlaps(fig: Figure) -> list[str]:
    """Texts that lie on an image, or on another text, in a grid of images."""
    fig.draw_without_rendering()
    panels = [ax for ax in fig.axes if ax.images]
    labels = [
        text
        for ax in panels
        for text in (ax.title, ax.xaxis.label, ax.yaxis.label)
        if text.get_text()
    ]
    boxes = [ax.get_window_extent() for ax in panels] + [
        text.get_window_extent() for text in labels
    ]
    return [
        text.get_text()
        for number, text in enumerate(labels, start=len(panels))
        if boxes[number].count_overlaps(boxes) > 1  # each overlaps itself
    ]
