"""One panel: amplitudes in gray with depth downward, salt masks as contours on top."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import NDArray

from saltvolumes._checks import check_same_shape
from saltvolumes.volume import VERTICAL_UNITS
from thesis_lib.plotting._style import BLUE, ORANGE

Mask: TypeAlias = NDArray[np.generic] | xr.DataArray
Outline: TypeAlias = dict[str, Any]

TRUTH: Outline = {"label": "true salt", "color": ORANGE, "linestyle": "solid"}
PREDICTION: Outline = {"label": "predicted salt", "color": BLUE, "linestyle": (0, (3, 1.2))}
KILOMETRES_FROM_M = 10_000.0
SCALED_RATIOS = (0.2, 2.0)  # height over width beyond which a panel would be a strip
FREE_RATIO = 0.7  # height over width of a panel that is not to scale


@dataclass(frozen=True)
class Axis:
    """Where the samples along one axis lie, and how that is written."""

    values: NDArray[np.float64]
    label: str
    unit: str

    @property
    def edges(self) -> tuple[float, float]:
        """Outer edges of the first and the last sample."""
        first, last, n = float(self.values[0]), float(self.values[-1]), self.values.size
        half = (last - first) / (2 * (n - 1)) if n > 1 else 0.5
        return first - half, last + half

    @property
    def length(self) -> float:
        """Distance between the edges."""
        return abs(self.edges[1] - self.edges[0])


@dataclass(frozen=True)
class Frame:
    """The two axes of an image (rows, columns)."""

    y: Axis
    x: Axis

    @property
    def is_to_scale(self) -> bool:
        """Whether both axes are lengths in the same unit and the panel is not a strip."""
        low, high = SCALED_RATIOS
        metric = self.x.unit == self.y.unit and self.x.unit in ("m", "km")
        return metric and low <= self.y.length / self.x.length <= high

    @property
    def ratio(self) -> float:
        """Height over width of the panel."""
        return self.y.length / self.x.length if self.is_to_scale else FREE_RATIO


def frame(section: xr.DataArray) -> Frame:
    """
    Return the axes of a section or map, in m, km or ms where these are known, else line numbers.

    Raises
    ------
    ValueError
        If the dims are not those of a section or of a map.
    """
    dims, rows, columns = section.dims, (*VERTICAL_UNITS, "inline"), ("inline", "crossline")
    if len(dims) != 2 or dims[0] not in rows or dims[1] not in columns:
        raise ValueError(
            f"Invalid section with dims {dims}. Must be (depth or time, inline or crossline)."
        )
    axes = [_axis(section, str(dim)) for dim in dims]
    if max((axis.length for axis in axes if axis.unit == "m"), default=0.0) >= KILOMETRES_FROM_M:
        axes = [
            replace(axis, values=axis.values / 1000.0, unit="km") if axis.unit == "m" else axis
            for axis in axes
        ]
    return Frame(*axes)


def _axis(section: xr.DataArray, dim: str) -> Axis:
    metres = f"{dim}_m"
    values = section[metres if metres in section.coords else dim].values
    unit = VERTICAL_UNITS.get(dim, "m" if metres in section.coords else "number")
    steps = np.diff(values)
    if steps.size and not np.allclose(steps, steps[0], rtol=0.01):
        values, unit = np.arange(values.size, dtype=np.float64), "index, unevenly spaced"
    return Axis(values, "two-way time" if dim == "time" else dim, unit)


def color_limit(*images: NDArray[np.floating], percentile: float = 98.0) -> float:
    """
    Where colours end: a percentile of the magnitude of the finite values.

    Raises
    ------
    ValueError
        If none is finite.
    """
    values = np.concatenate([np.ravel(image) for image in images])
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        raise ValueError("Invalid image without a finite value. Must have at least one.")
    return float(np.percentile(np.abs(finite), percentile)) or 1.0


def amplitude_label(section: xr.DataArray) -> str:
    """Name the colours of a colour bar: the quantity and its unit."""
    name = section.attrs.get("long_name", section.name or "amplitude")
    return f"{name} ({section.attrs.get('units', 'arbitrary units')})"


def draw_section(
    ax: Axes,
    section: xr.DataArray,
    *,
    limit: float | None = None,
    title: str = "",
    cmap: str = "gray",
    truth: Mask | None = None,
    prediction: Mask | None = None,
) -> AxesImage:
    """
    Draw a section from its first row downward, with masks on it.

    Colours are symmetric about 0 and end at ``limit``, by default the section's 98th percentile.
    An axis is named where its ticks are labelled: not between panels that share it.
    """
    axes, values = frame(section), section.values
    limit = color_limit(values) if limit is None else limit
    (left, right), (top, bottom) = axes.x.edges, axes.y.edges
    extent = (left, right, bottom, top)
    aspect: Any = "equal" if axes.is_to_scale else "auto"
    drawn = ax.imshow(values, cmap=cmap, vmin=-limit, vmax=limit, extent=extent, aspect=aspect)
    for mask, outline in ((truth, TRUTH), (prediction, PREDICTION)):
        if mask is not None:
            draw_outline(ax, mask, outline, axes)
    ax.set_title(title)
    if ax.xaxis.get_tick_params()["labelbottom"]:
        ax.set_xlabel(f"{axes.x.label} ({axes.x.unit})")
    if ax.yaxis.get_tick_params()["labelleft"]:
        ax.set_ylabel(f"{axes.y.label} ({axes.y.unit})")
    return drawn


def draw_outline(ax: Axes, mask: Mask, outline: Outline, axes: Frame | None = None) -> None:
    """Contour a mask, or a probability at one half; without axes, in pixels."""
    values = np.asarray(mask, dtype=np.float64)
    positions: tuple[NDArray[Any], ...] = ()
    if axes is not None:
        positions = axes.x.values, axes.y.values
        shape = axes.y.values.size, axes.x.values.size
        check_same_shape("section", shape, outline["label"], values.shape)
    if not np.nanmin(values) < 0.5 < np.nanmax(values):
        return  # all salt or none: there is no boundary to draw
    style = {"colors": outline["color"], "linestyles": [outline["linestyle"]]}
    ax.contour(*positions, values, levels=[0.5], linewidths=1.3, **style)
