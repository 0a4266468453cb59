"""Sections and volumes: what the network sees and what it answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from saltvolumes._checks import check_range, check_same_shape
from saltvolumes.volume import vertical_dim
from thesis_lib.plotting import _panels
from thesis_lib.plotting._layout import PAGE_WIDTH, add_bar, add_legend, new_panels, two_lines
from thesis_lib.plotting._panels import PREDICTION, TRUTH, Mask, draw_section
from thesis_lib.plotting._style import BLUE, RED, SIGNED, thesis_style

_CUT: dict[str, Any] = {"color": RED, "linewidth": 0.8, "linestyle": ":"}


@thesis_style()
def plot_section(section: xr.DataArray, *, salt: Mask | None = None, title: str = "") -> Figure:
    """
    Draw one section with the outline of its salt.

    Parameters
    ----------
    section : DataArray of shape (n_vertical, n_lateral)
        Amplitudes; dims (depth or time, inline or crossline). Missing traces (NaN) stay white.
    salt : array of the same shape, optional
        True salt, drawn solid.
    title : str
        Written above the section.

    Returns
    -------
    Figure
        One panel, as wide as the page.

    Raises
    ------
    ValueError
        If the dims are others, a shape differs, or no amplitude is finite.
    """
    fig, (ax,) = _open_sections([section], n_columns=1)
    image = draw_section(ax, section, title=title, truth=salt)
    if salt is not None:
        add_legend(fig, [TRUTH])
    add_bar(fig, image, ax, _panels.amplitude_label(section))
    return fig


@thesis_style()
def plot_inspection(section: xr.Dataset, amplitudes: NDArray[np.floating]) -> Figure:
    """
    Draw a first look at a volume: one section, and how its amplitudes are distributed.

    Parameters
    ----------
    section : Dataset
        With ``amplitude``, dims (depth or time, inline or crossline), and ``salt`` where known.
    amplitudes : array of shape (n,)
        Of the volume.

    Returns
    -------
    Figure
        The section, about its mean, on the left; the histogram on a logarithmic axis on the right.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(PAGE_WIDTH, 3.2), width_ratios=[2, 1])
    amplitude = section["amplitude"]
    image = draw_section(left, amplitude - amplitude.mean(), truth=section.get("salt"))
    label = _panels.amplitude_label(amplitude)
    add_bar(fig, image, left, f"{label}, about its mean")
    right.hist(amplitudes, bins=100, color=BLUE, log=True)
    right.set(xlabel=two_lines(label), ylabel="samples")
    right.grid(axis="y")
    if "salt" in section:
        add_legend(fig, [TRUTH])
    return fig


def _open_sections(
    sections: Sequence[xr.DataArray], *, n_columns: int, room: float = 0.4, share: bool = True
) -> tuple[Figure, list[Axes]]:
    """Open one panel for each section, as high as the tallest, with room for words and bars."""
    tallest = max((_panels.frame(section).ratio for section in sections), default=1.0)
    height = 0.8 * PAGE_WIDTH / n_columns * tallest + room  # inches
    options = {"layout": "compressed" if share else "constrained", "sharex": share, "sharey": share}
    return new_panels(len(sections), n_columns=n_columns, height=height, **options)


@thesis_style()
def plot_volume(volume: xr.Dataset, *, inline: float, crossline: float, vertical: float) -> Figure:
    """
    Draw three orthogonal slices of a volume, each marked in the two others.

    Parameters
    ----------
    volume : Dataset
        A volume with ``amplitude`` and, where it is known, ``salt``.
    inline, crossline : float
        Line numbers of the two sections; the nearest line is drawn.
    vertical : float
        Depth in m or time in ms of the horizontal slice; the nearest sample is drawn.

    Returns
    -------
    Figure
        Map on top, the section along the inline below it, the other section at its right.

    Raises
    ------
    ValueError
        If a slice lies outside the volume.
    """
    wanted = {vertical_dim(volume): vertical, "inline": inline, "crossline": crossline}
    index = {dim: _find_nearest(volume[dim], value) for dim, value in wanted.items()}
    parts = {
        dim: volume.isel({dim: index[dim]}).transpose(*(d for d in wanted if d != dim))
        for dim in wanted
    }
    limit = _panels.color_limit(*(part["amplitude"].values for part in parts.values()))
    frames = [_panels.frame(part["amplitude"]) for part in parts.values()]
    depth, height = frames[0].ratio, frames[1].ratio  # of the map and a section, of width 1
    size = (PAGE_WIDTH, min(0.8 * PAGE_WIDTH * (depth + height) / (1 + depth) + 0.8, 8.0))
    ratios: dict[str, Any] = {"width_ratios": [1, depth], "height_ratios": [depth, height]}
    fig = plt.figure(figsize=size, layout="compressed")
    (top, corner), (left, right) = fig.subplots(2, 2, sharex="col", sharey="row", **ratios)
    for ax, axes, (dim, part) in zip((top, left, right), frames, parts.items(), strict=True):
        title = f"{dim} {part[dim].item():g} {part[dim].attrs.get('units', '')}".rstrip()
        section, salt = part["amplitude"], part.get("salt")
        image = draw_section(ax, section, limit=limit, title=title, truth=salt)
        rows, columns = (str(dim) for dim in section.dims)
        ax.axhline(axes.y.values[index[rows]], **_CUT)
        ax.axvline(axes.x.values[index[columns]], **_CUT)
    corner.set_axis_off()
    known = [TRUTH] if "salt" in volume else []
    handles = [Line2D([], [], **entry) for entry in (*known, _CUT | {"label": "the other slices"})]
    corner.legend(handles=handles, loc="upper center", frameon=False)
    bar = corner.inset_axes((0.1, 0.42, 0.8, 0.06))
    label = two_lines(_panels.amplitude_label(volume["amplitude"]))
    fig.colorbar(image, cax=bar, label=label, extend="both", orientation="horizontal")
    return fig


def _find_nearest(coordinate: xr.DataArray, value: float) -> int:
    values = coordinate.values
    check_range(str(coordinate.name), value, low=values.min(), high=values.max())
    return int(np.argmin(np.abs(values - value)))


@thesis_style()
def plot_predictions(
    section: xr.DataArray, truth: Mask, probabilities: Mapping[str, Mask]
) -> Figure:
    """
    Draw one section once per network, with the true salt and what that network predicts.

    Parameters
    ----------
    section : DataArray of shape (n_vertical, n_lateral)
        Amplitudes; dims (depth or time, inline or crossline).
    truth : bool array of the same shape
        True salt, solid.
    probabilities : mapping of title to array of the same shape
        Probability of salt of each network, drawn dashed at one half.

    Returns
    -------
    Figure
        The section with its true salt, then one panel per network.

    Raises
    ------
    ValueError
        If the dims are others or a shape differs.
    """
    panels = {"Truth": None, **probabilities}
    n_columns = 2 if len(panels) < 5 else 3
    fig, axes = _open_sections([section] * len(panels), n_columns=n_columns)
    for ax, (title, probability) in zip(axes, panels.items(), strict=True):
        image = draw_section(ax, section, title=title, truth=truth, prediction=probability)
    add_legend(fig, [TRUTH, PREDICTION])
    add_bar(fig, image, axes, _panels.amplitude_label(section), shrink=0.6)
    return fig


@thesis_style()
def plot_gallery(sections: Mapping[str, xr.Dataset]) -> Figure:
    """
    Draw sections of several volumes next to each other, each with its own axes and contrast.

    Parameters
    ----------
    sections : mapping of title to Dataset
        Each with ``amplitude``, dims (depth or time, inline or crossline), and ``salt`` where it
        is known.

    Returns
    -------
    Figure
        Two panels per row, each section about its mean and up to its 98th percentile.

    Raises
    ------
    ValueError
        If there is no section, the dims are others, or no amplitude is finite.
    """
    amplitudes = [part["amplitude"] for part in sections.values()]
    fig, panels = _open_sections(amplitudes, n_columns=2, room=0.6, share=False)
    for ax, amplitude, (name, part) in zip(panels, amplitudes, sections.items(), strict=True):
        centred = amplitude - amplitude.mean()
        scaled = centred / _panels.color_limit(centred.values)
        image = draw_section(ax, scaled, limit=1.0, title=name, truth=part.get("salt"))
    add_legend(fig, [TRUTH])
    label = "amplitude (98th percentile of each section: 1)"
    bar: dict[str, Any] = {"location": "bottom", "shrink": 0.4, "aspect": 30, "ticks": [-1, 0, 1]}
    fig.colorbar(image, ax=fig.axes, label=label, extend="both", **bar)
    return fig


@thesis_style()
def plot_round_trip(original: xr.DataArray, stitched: xr.DataArray) -> Figure:
    """
    Draw a section, what patching and stitching make of it, and their difference.

    Parameters
    ----------
    original, stitched : DataArray of shape (n_vertical, n_lateral)
        Amplitudes; dims (depth or time, inline or crossline).

    Returns
    -------
    Figure
        Three panels; the colours of the last end at the largest difference.

    Raises
    ------
    ValueError
        If the dims are others or the shapes differ.
    """
    check_same_shape("original", original.shape, "stitched", stitched.shape)
    difference = original.copy(data=stitched.values - original.values)
    limit = _panels.color_limit(original.values)
    end = _panels.color_limit(difference.values, percentile=100.0)
    fig, (left, middle, right) = _open_sections([original] * 3, n_columns=3, room=0.75)
    image = draw_section(left, original, limit=limit, title="original")
    draw_section(middle, stitched, limit=limit, title="stitched")
    change = draw_section(right, difference, limit=end, cmap=SIGNED, title="stitched − original")
    label = _panels.amplitude_label(original)
    below: dict[str, Any] = {"location": "bottom"}
    fig.colorbar(image, ax=[left, middle], label=label, extend="both", shrink=0.5, **below)
    label = f"difference ({original.attrs.get('units', 'arbitrary units')})"
    fig.colorbar(change, ax=right, label=label, ticks=[-end, 0, end], format="%.2g", **below)
    return fig
