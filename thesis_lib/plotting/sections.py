"""Sections, volumes and patches: what the network sees and what it answers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from thesis_lib._checks import check_range, check_same_shape
from thesis_lib._volume import vertical_dim
from thesis_lib.plotting import _panels
from thesis_lib.plotting._panels import Mask
from thesis_lib.plotting._style import (
    PAGE_WIDTH,
    RED,
    SIGNED,
    label_outer,
    new_figure,
    new_panels,
    styled,
    two_lines,
)

_PATCH_COLUMNS = 6
_CUT: dict[str, Any] = {"color": RED, "linewidth": 0.8, "linestyle": ":"}


@styled
def plot_section(
    section: xr.DataArray, *, salt: Mask | None = None, title: str | None = None
) -> Figure:
    """
    Draw one section with the outline of its salt.

    Parameters
    ----------
    section : DataArray of shape (n_vertical, n_lateral)
        Amplitudes; dims (depth or time, inline or crossline). Missing traces (NaN) stay white.
    salt : array of the same shape, optional
        True salt, drawn solid.
    title : str, optional
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
    axes = _panels.check_section(section)
    fig, grid = new_figure(height=0.85 * PAGE_WIDTH * axes.ratio + 0.6, layout="compressed")
    ax = grid[0, 0]
    limit = _panels.amplitude_limit(section.values)
    image = _panels.draw_image(ax, section.values, axes, limit=limit)
    if salt is not None:
        _panels.draw_truth(ax, salt, axes)
        handles = _panels.contour_handles(truth=True, prediction=False)
        fig.legend(handles=handles, loc="outside upper right", frameon=False)
    ax.set_title(title or "")
    fig.colorbar(image, ax=ax, label=_panels.amplitude_label(section), extend="both", pad=0.02)
    return fig


@styled
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
    down = vertical_dim(volume)
    wanted = {down: vertical, "inline": inline, "crossline": crossline}
    index = {dim: _nearest(volume[dim], value) for dim, value in wanted.items()}
    parts = {
        dim: volume.isel({dim: index[dim]}).transpose(*(d for d in wanted if d != dim))
        for dim in wanted
    }
    limit = _panels.amplitude_limit(
        np.concatenate([part.amplitude.values.ravel() for part in parts.values()])
    )
    fig, panels, corner = _open_orthogonal(
        _panels.frame(parts[down].amplitude), _panels.frame(parts["inline"].amplitude)
    )
    for ax, (dim, part) in zip(panels, parts.items(), strict=True):
        axes = _panels.frame(part.amplitude)
        image = _panels.draw_image(ax, part.amplitude.values, axes, limit=limit)
        if "salt" in part:
            _panels.draw_truth(ax, part.salt, axes)
        rows, columns = (str(d) for d in part.amplitude.dims)
        ax.axhline(axes.y.values[index[rows]], **_CUT)
        ax.axvline(axes.x.values[index[columns]], **_CUT)
        ax.set_title(f"{dim} {part[dim].item():g} {part[dim].attrs.get('units', '')}".rstrip())
    panels[0].set(xlabel="")
    panels[0].tick_params(labelbottom=False)
    panels[2].set(ylabel="")
    panels[2].tick_params(labelleft=False)
    _fill_corner(corner, image, _panels.amplitude_label(volume.amplitude), salt="salt" in volume)
    return fig


def _fill_corner(ax: Axes, image: AxesImage, label: str, *, salt: bool) -> None:
    handles = _panels.contour_handles(truth=salt, prediction=False)
    handles.append(Line2D([], [], label="the other slices", **_CUT))
    ax.legend(handles=handles, loc="upper center", frameon=False)
    bar = ax.inset_axes((0.1, 0.42, 0.8, 0.06))
    ax.figure.colorbar(image, cax=bar, extend="both", orientation="horizontal")
    bar.set_xlabel(two_lines(label))


def _nearest(coordinate: xr.DataArray, value: float) -> int:
    values = coordinate.values
    check_range(str(coordinate.name), value, low=values.min(), high=values.max())
    return int(np.argmin(np.abs(values - value)))


def _open_orthogonal(
    horizontal: _panels.Frame, section: _panels.Frame
) -> tuple[Figure, list[Axes], Axes]:
    """Open the three panels (map, inline, crossline) and the empty corner at the top right."""
    sizes = [horizontal.x.length, horizontal.y.length, section.y.length]
    if not (horizontal.is_to_scale and section.is_to_scale):
        sizes = [1.0, 1.0, _panels.FREE_RATIO]
    width, depth, height = sizes
    fig, grid = new_figure(
        2,
        2,
        height=min(0.8 * PAGE_WIDTH * (depth + height) / (width + depth) + 0.8, 8.0),
        layout="compressed",
        width_ratios=[width, depth],
        height_ratios=[depth, height],
    )
    grid[0, 1].set_axis_off()
    return fig, [grid[0, 0], grid[1, 0], grid[1, 1]], grid[0, 1]


@styled
def plot_patches(
    images: NDArray[np.floating],
    masks: NDArray[np.bool_] | None = None,
    *,
    labels: Sequence[str] | None = None,
    quantity: str = "amplitude (standard deviations)",
) -> Figure:
    """
    Draw patches with the outline and the share of their salt.

    Parameters
    ----------
    images : array of shape (n, H, W)
        Patches, the first row on top. They share one colour scale.
    masks : bool array of shape (n, H, W), optional
        Their salt, where it is known.
    labels : sequence of n str, optional
        Class of each patch, written above it.
    quantity : str
        What the colours mean, with its unit.

    Returns
    -------
    Figure
        Six patches a row.

    Raises
    ------
    ValueError
        If the shapes differ, or the patches are not of shape (n, H, W).
    """
    if masks is not None:
        check_same_shape("images", images.shape, "masks", masks.shape)
    if images.ndim != 3:
        raise ValueError(f"Invalid images of shape {images.shape}. Must be (n, H, W).")
    names = [""] * len(images) if labels is None else labels
    limit = _panels.amplitude_limit(images)
    axes = _panels.pixel_frame(*images.shape[1:])
    fig, panels = new_panels(
        len(images), n_columns=_PATCH_COLUMNS, panel_height=1.45, layout="compressed"
    )
    for number, (ax, image, name) in enumerate(zip(panels, images, names, strict=True)):
        drawn = _panels.draw_image(ax, image, axes, limit=limit)
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
        if masks is not None:
            _panels.draw_truth(ax, masks[number], axes)
            name = f"{name}\n{100 * masks[number].mean():.0f} % salt".strip()
        ax.set_title(name, loc="center")
    fig.colorbar(drawn, ax=fig.axes, label=two_lines(quantity), extend="both", pad=0.02)
    return fig


@styled
def plot_predictions(
    section: xr.DataArray, truth: Mask, probabilities: Mapping[str, Mask]
) -> Figure:
    """
    Draw one section once per loss, with the true salt and what that loss predicts.

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
    axes = _panels.check_section(section)
    limit = _panels.amplitude_limit(section.values)
    n_columns = 2 if len(probabilities) < 4 else 3
    fig, panels = new_panels(
        len(probabilities) + 1,
        n_columns=n_columns,
        panel_height=0.75 * PAGE_WIDTH / n_columns * axes.ratio + 0.3,
        layout="compressed",
        sharex=True,
        sharey=True,
    )
    names = ["Truth", *probabilities]
    for ax, name, probability in zip(panels, names, [None, *probabilities.values()], strict=True):
        image = _panels.draw_image(ax, section.values, axes, limit=limit)
        _panels.draw_truth(ax, truth, axes)
        if probability is not None:
            _panels.draw_prediction(ax, probability, axes)
        ax.set_title(name)
    label_outer(panels, n_columns=n_columns)
    handles = _panels.contour_handles(truth=True, prediction=True)
    fig.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False)
    label = two_lines(_panels.amplitude_label(section))  # a single row is low
    fig.colorbar(image, ax=fig.axes, label=label, extend="both", pad=0.02, shrink=0.6)
    return fig


@styled
def plot_gallery(sections: Mapping[str, xr.Dataset]) -> Figure:
    """
    Draw sections of several volumes beside each other, each with its own axes and contrast.

    Parameters
    ----------
    sections : mapping of title to Dataset
        Each with ``amplitude``, dims (depth or time, inline or crossline), and ``salt`` where it
        is known.

    Returns
    -------
    Figure
        Two panels a row, each section about its mean and up to its 98th percentile.

    Raises
    ------
    ValueError
        If there is no section, the dims are others, or no amplitude is finite.
    """
    if not sections:
        raise ValueError("Invalid sections: none given. Must be at least one.")
    frames = [_panels.check_section(part["amplitude"]) for part in sections.values()]
    tallest = max(axes.ratio for axes in frames)
    fig, panels = new_panels(
        len(sections),
        n_columns=2,
        panel_height=0.42 * PAGE_WIDTH * tallest + 0.55,
    )
    for ax, axes, (name, part) in zip(panels, frames, sections.items(), strict=True):
        values = (part["amplitude"] - part["amplitude"].mean()).values
        image = _panels.draw_image(ax, values / _panels.amplitude_limit(values), axes, limit=1.0)
        if "salt" in part:
            _panels.draw_truth(ax, part["salt"], axes)
        ax.set_title(name)
    handles = _panels.contour_handles(truth=True, prediction=False)
    fig.legend(handles=handles, loc="outside upper right", frameon=False)
    label = "amplitude (98th percentile of each section: 1)"
    bar: dict[str, Any] = {"location": "bottom", "shrink": 0.4, "aspect": 30, "ticks": [-1, 0, 1]}
    fig.colorbar(image, ax=fig.axes, label=label, extend="both", **bar)
    return fig


@styled
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
    axes = _panels.check_section(original)
    check_same_shape("original", original.shape, "stitched", stitched.shape)
    difference = stitched.values - original.values
    largest = float(np.nanmax(np.abs(difference)))
    limit = _panels.amplitude_limit(original.values)
    fig, panels = new_panels(
        3,
        n_columns=3,
        panel_height=0.27 * PAGE_WIDTH * axes.ratio + 0.7,
        layout="compressed",
        sharex=True,
        sharey=True,
    )
    for ax, values, title in zip(
        panels, (original, stitched), ("original", "stitched"), strict=False
    ):
        image = _panels.draw_image(ax, values.values, axes, limit=limit)
        ax.set_title(title)
    label = _panels.amplitude_label(original)
    fig.colorbar(image, ax=panels[:2], location="bottom", label=label, extend="both", shrink=0.5)
    change = _panels.draw_image(panels[2], difference, axes, limit=largest or limit, cmap=SIGNED)
    panels[2].set_title("stitched − original")
    ticks = [-largest, 0.0, largest] if largest else [0.0]
    label = f"difference ({original.attrs.get('units', 'arbitrary units')})"
    bar = fig.colorbar(change, ax=panels[2], location="bottom", label=label, ticks=ticks)
    bar.ax.set_xticklabels([f"{tick:.1e}" if tick else "0" for tick in ticks])
    label_outer(panels, n_columns=3)
    return fig
