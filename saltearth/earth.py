"""The state that the steps of geology share: a grid, the random streams and the fields."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from saltearth.presets import Preset, random_stream
from saltvolumes._checks import check_count, check_range, keep_plain

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Grid:
    """
    Samples of a volume: shape (n_inline, n_crossline, n_depth), spacing in m.

    Raises
    ------
    ValueError
        If there are not three axes of 16 to 512 samples, or a spacing is not above 0.
    """

    shape: tuple[int, int, int]
    spacing_m: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Check shape and spacing."""
        keep_plain(
            self
        )  # a NumPy spacing would turn float32 into float64, and the earth into another
        for name, values in (("shape", self.shape), ("spacing_m", self.spacing_m)):
            if len(values) != 3:
                raise ValueError(f"Invalid {name} {values}. Must have 3 axes.")
        for count, step in zip(self.shape, self.spacing_m, strict=True):
            check_count("shape", count, low=16, high=512)
            check_range("spacing_m", step, low=0.0, high=1e4, exclusive=True)

    def _measure(self, axis: int) -> Array:
        metres = np.arange(self.shape[axis], dtype=np.float32) * np.float32(self.spacing_m[axis])
        return np.expand_dims(metres, [other for other in range(3) if other != axis])

    @cached_property
    def x(self) -> Array:
        """Distance across inlines, (n_inline, 1, 1), m."""
        return self._measure(0)

    @cached_property
    def y(self) -> Array:
        """Distance across crosslines, (1, n_crossline, 1), m."""
        return self._measure(1)

    @cached_property
    def z(self) -> Array:
        """Depth, (1, 1, n_depth), m."""
        return self._measure(2)

    def slabs(self) -> Iterator[slice]:
        """Yield the inlines in slabs of about 2^17 voxels, so that temporaries stay small."""
        lines = max(1, 2**17 // (self.shape[1] * self.shape[2]))
        for start in range(0, self.shape[0], lines):
            yield slice(start, start + lines)

    @property
    def extent_m(self) -> tuple[float, ...]:
        """Lengths of the three edges, m."""
        return tuple(n * d for n, d in zip(self.shape, self.spacing_m, strict=True))


@dataclass
class Earth:
    """
    An earth in the making: steps read and change its fields in place.

    Attributes
    ----------
    sea_floor_m : array of shape (n_inline, n_crossline, 1)
        Depth of the sea floor, m.
    salt_m : array of the grid's shape
        Approximate distance to the surface of the salt, m, positive inside.
    age_m : array of the grid's shape
        Depth at which the sediment lay before it was deformed, m: the stratigraphic coordinate.
        Layers are its isosurfaces.
    tops_m : array of shape (n_bodies, 2)
        Where the bodies are, m across inlines and crosslines.
    crests_m : array of shape (n, 2)
        The same, and where layers arch without salt.
    sample_depth_m : array that broadcasts to the grid's shape
        Depth of each sample, m: that of the grid, or of the samples of an image in time.
    """

    grid: Grid
    preset: Preset
    seed: int
    sea_floor_m: Array = field(default_factory=lambda: np.zeros((1, 1, 1), np.float32))
    salt_m: Array = field(default_factory=lambda: np.full((1, 1, 1), -np.inf, np.float32))
    age_m: Array = field(default_factory=lambda: np.zeros((1, 1, 1), np.float32))
    tops_m: Array = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    crests_m: Array = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    sample_depth_m: Array = field(init=False)

    def __post_init__(self) -> None:
        """Draw what the preset leaves to the seed."""
        self.preset = self.preset.draw(self.seed)
        self.sample_depth_m = self.grid.z

    def value(self, name: str) -> float:
        """Return a number of the preset."""
        return float(getattr(self.preset, name))

    def length_m(self, name: str) -> np.float32:
        """Return a length of the preset, which is a fraction of the depth, in m."""
        return np.float32(self.value(name) * self.depth_m)

    def rng(self, step: str) -> np.random.Generator:
        """Random stream of one step: a new step never changes the draws of the others."""
        return random_stream(self.seed, step)

    @property
    def depth_m(self) -> float:
        """Depth that the volume covers, m: the unit of lengths in a preset."""
        return self.grid.extent_m[2]

    @property
    def body_spacing_m(self) -> float:
        """Distance between salt bodies, m: the unit of lengths of a salt kind."""
        return float(np.clip(self.value("body_spacing_m"), 0.5 * self.depth_m, self.depth_m))

    def count(self, per_cell: float, *, least: int = 0, most: int = 40) -> int:
        """Return how many things fit, given their number per squared distance between bodies."""
        cells = self.grid.extent_m[0] * self.grid.extent_m[1] / self.body_spacing_m**2
        return int(np.clip(round(per_cell * cells), least, most))

    @property
    def buried_m(self) -> Array:
        """Depth below the sea floor, m, negative in the water; new array of the grid's shape."""
        return self.sample_depth_m - self.sea_floor_m

    @property
    def salt(self) -> NDArray[np.bool_]:
        """True inside the salt."""
        return self.salt_m > 0


def draw_position(
    earth: Earth, rng: np.random.Generator, number: int, *, near: Array, spread: float
) -> tuple[float, float]:
    """
    Draw a position in m: anywhere, or for odd numbers around one of the points ``near``.

    ``spread`` is the standard deviation about the point, in distances between bodies.
    """
    x_m, y_m = rng.uniform((0, 0), earth.grid.extent_m[:2])
    if number % 2 and len(near):
        x_m, y_m = near[number % len(near)] + rng.normal(0, spread * earth.body_spacing_m, 2)
    return float(x_m), float(y_m)


def random_map(rng: np.random.Generator, grid: Grid, length_m: float, hurst: float = 1.0) -> Array:
    r"""
    Draw a smooth random map with von Kármán covariance, of mean 0 and variance 1.

    Its power spectrum is :math:`(1 + k^2 a^2)^{-(\nu + 1)}`.

    Parameters
    ----------
    length_m : float
        Correlation length a, m.
    hurst : float
        ν: below 1 rough, above 1 smooth.

    Returns
    -------
    array of shape (n_inline, n_crossline, 1)

    References
    ----------
    .. [1] Goff and Jordan (1988). Stochastic modeling of seafloor morphology.
       https://doi.org/10.1029/JB093iB11p13589
    """
    # Drawn on a map of several correlation lengths, so that a narrow grid sees a piece of it.
    lines, steps_m = grid.shape[:2], grid.spacing_m[:2]
    wanted = np.minimum(np.divide(5 * length_m, steps_m), 1024).astype(int)
    sizes = [fft.next_fast_len(int(n)) for n in np.maximum(lines, wanted)]
    kx, ky = (2 * np.pi * np.fft.fftfreq(n, d) for n, d in zip(sizes, steps_m, strict=True))
    amplitude = (1 + length_m**2 * (kx[:, None] ** 2 + ky**2)) ** (-(hurst + 1) / 2)
    amplitude[0, 0] = 0
    amplitude /= np.sqrt(np.mean(amplitude**2))
    values = fft.ifft2(fft.fft2(rng.standard_normal(sizes)) * amplitude).real
    return np.asarray(values[: lines[0], : lines[1], None], np.float32)


def random_field(
    rng: np.random.Generator, grid: Grid, lengths_m: Sequence[float] | NDArray[np.float64]
) -> Array:
    """
    Draw a random volume of mean 0 and variance 1, white noise smoothed by a Gaussian.

    With the standard deviations a of ``lengths_m`` its covariance is exp(-d^2 / 4 a^2) per axis.
    """
    values = rng.standard_normal(grid.shape, dtype=np.float32)
    sigmas = np.divide(lengths_m, grid.spacing_m)
    ndimage.gaussian_filter(values, sigmas, output=values, mode="wrap", truncate=3)
    values /= values.std(dtype=np.float64)
    return values


def ramp(distance: Array, width: float) -> Array:
    """Step from 0 to 1 at distance 0, linear over ``width``: a step that does not alias."""
    return np.asarray(np.clip(distance / np.float32(width) + np.float32(0.5), 0, 1))


def rotate(x: Array, y: Array, azimuth: float) -> tuple[Array, Array]:
    """Return coordinates along and across an azimuth in radians."""
    cos, sin = np.cos(azimuth), np.sin(azimuth)
    return x * cos + y * sin, y * cos - x * sin
