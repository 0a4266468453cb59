"""One panel: amplitudes in gray with depth downward, salt masks as contours on top."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import xarray as xr
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from thesis_lib._checks import check_same_shape
from thesis_lib._volume import VERTICAL_UNITS
from thesis_lib.plotting._style import PREDICTION, TRUTH

Mask: TypeAlias = NDArray[np.generic] | xr.DataArray

CLIP_PERCENTILE = 98.0
CONTOUR_WIDTH = 1.3
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
        """Whether both axes are lengths in the same unit and the panel is no strip."""
        low, high = SCALED_RATIOS
        metric = self.x.unit == self.y.unit and self.x.unit in ("m", "km", "samples")
        return metric and low <= self.y.length / self.x.length <= high

    @property
    def ratio(self) -> float:
        """Height over width of the panel."""
        return self.y.length / self.x.length if self.is_to_scale else FREE_RATIO


def frame(image: xr.DataArray) -> Frame:
    """Axes in m, km or ms where the coordinates know them, else line numbers."""
    y, x = (_axis(image, str(dim)) for dim in image.dims)
    lengths = [axis.length for axis in (y, x) if axis.unit == "m"]
    if lengths and max(lengths) >= KILOMETRES_FROM_M:
        y, x = _in_kilometres(y), _in_kilometres(x)
    return Frame(y, x)


def pixel_frame(height: int, width: int) -> Frame:
    """Axes of a patch, whose pixels are square."""
    rows, columns = (np.arange(n, dtype=np.float64) for n in (height, width))
    return Frame(Axis(rows, "row", "samples"), Axis(columns, "column", "samples"))


def _axis(image: xr.DataArray, dim: str) -> Axis:
    if dim == "time":
        axis = Axis(image[dim].values, "two-way time", "ms")
    elif dim == "depth":
        axis = Axis(image[dim].values, "depth", "m")
    elif f"{dim}_m" in image.coords:
        axis = Axis(image[f"{dim}_m"].values, dim, "m")
    else:
        axis = Axis(image[dim].values, dim, "number")
    steps = np.diff(axis.values)
    if steps.size and not np.allclose(steps, steps[0], rtol=0.01):
        return Axis(np.arange(image.sizes[dim], dtype=np.float64), dim, "index, unevenly spaced")
    return axis


def _in_kilometres(axis: Axis) -> Axis:
    return Axis(axis.values / 1000.0, axis.label, "km") if axis.unit == "m" else axis


def check_section(section: xr.DataArray) -> Frame:
    """Return the axes of a section and refuse anything that is not one."""
    dims = section.dims
    if len(dims) != 2 or dims[0] not in VERTICAL_UNITS or dims[1] not in ("inline", "crossline"):
        raise ValueError(
            f"Invalid section with dims {dims}. Must be (depth or time, inline or crossline)."
        )
    return frame(section)


def amplitude_limit(images: NDArray[np.floating]) -> float:
    """
    Colour limit of amplitudes: the 98th percentile of the magnitude of the finite ones.

    Raises
    ------
    ValueError
        If none is finite.
    """
    finite = images[np.isfinite(images)]
    if finite.size == 0:
        raise ValueError("Invalid image without a finite amplitude. Must have at least one.")
    return float(np.percentile(np.abs(finite), CLIP_PERCENTILE)) or 1.0


def amplitude_label(image: xr.DataArray) -> str:
    """What the colour bar says: the quantity and its unit."""
    name = image.attrs.get("long_name", image.name or "amplitude")
    return f"{name} ({image.attrs.get('units', 'arbitrary units')})"


def draw_image(
    ax: Axes, image: NDArray[np.floating], axes: Frame, *, limit: float, cmap: str = "gray"
) -> AxesImage:
    """Draw an image from its first row downward, its colours symmetric about 0."""
    (left, right), (top, bottom) = axes.x.edges, axes.y.edges
    drawn = ax.imshow(
        image,
        cmap=cmap,
        vmin=-limit,
        vmax=limit,
        extent=(left, right, bottom, top),
        aspect="equal" if axes.is_to_scale else "auto",
    )
    ax.set(xlabel=f"{axes.x.label} ({axes.x.unit})", ylabel=f"{axes.y.label} ({axes.y.unit})")
    return drawn


def draw_truth(ax: Axes, mask: Mask, axes: Frame) -> None:
    """Contour the true salt, solid."""
    _draw_contour(ax, mask, axes, name="salt", color=TRUTH, linestyle="solid")


def draw_prediction(ax: Axes, mask: Mask, axes: Frame) -> None:
    """Contour the predicted salt, or a probability of salt at one half, dashed."""
    _draw_contour(ax, mask, axes, name="prediction", color=PREDICTION, linestyle=(0, (3, 1.2)))


def _draw_contour(
    ax: Axes,
    mask: Mask,
    axes: Frame,
    *,
    name: str,
    color: str,
    linestyle: str | tuple[float, tuple[float, ...]],
) -> None:
    values = np.asarray(mask, dtype=np.float64)
    check_same_shape("section", (axes.y.values.size, axes.x.values.size), name, values.shape)
    if not np.nanmin(values) < 0.5 < np.nanmax(values):
        return  # all salt or none: there is no boundary to draw
    ax.contour(
        axes.x.values,
        axes.y.values,
        values,
        levels=[0.5],
        colors=color,
        linestyles=[linestyle],
        linewidths=CONTOUR_WIDTH,
    )


def contour_handles(*, truth: bool, prediction: bool) -> list[Artist]:
    """Legend entries of the contours that a figure shows."""
    handles: list[Artist] = []
    if truth:
        handles.append(Line2D([], [], color=TRUTH, linewidth=1.6, label="true salt"))
    if prediction:
        handles.append(
            Line2D([], [], color=PREDICTION, linewidth=1.6, linestyle="--", label="predicted salt")
        )
    return handles
