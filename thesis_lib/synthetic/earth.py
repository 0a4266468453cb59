"""The state that the steps of geology share: a grid, the random streams and the fields."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from thesis_lib._checks import check_count, check_range
from thesis_lib.synthetic.presets import Amount, Preset, as_span

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
        for name, values in (("shape", self.shape), ("spacing_m", self.spacing_m)):
            if len(values) != 3:
                raise ValueError(f"Invalid {name} {values}. Must have 3 axes.")
        for count in self.shape:
            check_count("shape", count, low=16, high=512)
        for step in self.spacing_m:
            check_range("spacing_m", step, low=0.0, high=1e4, open_low=True)

    def _axis(self, axis: int) -> Array:
        shape = [1, 1, 1]
        shape[axis] = -1
        metres = np.arange(self.shape[axis], dtype=np.float32) * np.float32(self.spacing_m[axis])
        return metres.reshape(shape)

    @cached_property
    def x(self) -> Array:
        """Distance across inlines, (n_inline, 1, 1), m."""
        return self._axis(0)

    @cached_property
    def y(self) -> Array:
        """Distance across crosslines, (1, n_crossline, 1), m."""
        return self._axis(1)

    @cached_property
    def z(self) -> Array:
        """Depth, (1, 1, n_depth), m."""
        return self._axis(2)

    def slabs(self) -> Iterator[slice]:
        """Yield the inlines in slabs of about 2^17 voxels, so that temporaries stay small."""
        lines = max(1, 2**17 // (self.shape[1] * self.shape[2]))
        for start in range(0, self.shape[0], lines):
            yield slice(start, start + lines)

    @property
    def extent_m(self) -> tuple[float, float, float]:
        """Lengths of the three edges, m."""
        a, b, c = (n * d for n, d in zip(self.shape, self.spacing_m, strict=True))
        return a, b, c


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
    sample_depth_m : array of the grid's shape, optional
        Depth of each sample, m, where it is not that of the grid: in an image in time.
    """

    grid: Grid
    preset: Preset
    seed: int
    sea_floor_m: Array = field(default_factory=lambda: np.zeros((1, 1, 1), np.float32))
    salt_m: Array = field(default_factory=lambda: np.full((1, 1, 1), -np.inf, np.float32))
    age_m: Array = field(default_factory=lambda: np.zeros((1, 1, 1), np.float32))
    tops_m: Array = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    crests_m: Array = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    sample_depth_m: Array | None = None

    def __post_init__(self) -> None:
        """Draw what the preset leaves to the seed."""
        self.preset = self.preset.settle(self.seed)

    def value(self, name: str) -> float:
        """Return a number of the preset."""
        return float(getattr(self.preset, name))

    def rng(self, step: str) -> np.random.Generator:
        """Random stream of one step: a new step never changes the draws of the others."""
        return np.random.default_rng([self.seed, zlib.crc32(step.encode())])

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
        depth = self.grid.z if self.sample_depth_m is None else self.sample_depth_m
        return depth - self.sea_floor_m

    @property
    def salt(self) -> NDArray[np.bool_]:
        """True inside the salt."""
        return self.salt_m > 0


def draw(rng: np.random.Generator, amount: Amount) -> float:
    """Draw from a range."""
    return float(rng.uniform(*as_span(amount)))


def random_map(
    rng: np.random.Generator, grid: Grid, length_m: float, *, hurst: float = 1.0
) -> Array:
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
    sizes = [
        fft.next_fast_len(max(n, min(int(5 * length_m / d), 1024)))
        for n, d in zip(grid.shape[:2], grid.spacing_m[:2], strict=True)
    ]
    kx, ky = (
        2 * np.pi * np.fft.fftfreq(n, d) for n, d in zip(sizes, grid.spacing_m[:2], strict=True)
    )
    amplitude = (1 + length_m**2 * (kx[:, None] ** 2 + ky**2)) ** (-(hurst + 1) / 2)
    amplitude[0, 0] = 0
    amplitude /= np.sqrt(np.mean(amplitude**2))
    values = fft.ifft2(fft.fft2(rng.standard_normal(sizes)) * amplitude).real
    piece: Array = values[: grid.shape[0], : grid.shape[1], None].astype(np.float32)
    return piece


def random_field(
    rng: np.random.Generator, grid: Grid, lengths_m: tuple[float, float, float]
) -> Array:
    """
    Draw a random volume of mean 0 and variance 1, white noise smoothed by a Gaussian.

    With the standard deviations a of ``lengths_m`` its covariance is exp(-d^2 / 4 a^2) per axis.
    """
    values = rng.standard_normal(grid.shape, dtype=np.float32)
    for axis, (length, step) in enumerate(zip(lengths_m, grid.spacing_m, strict=True)):
        sigma = length / step
        ndimage.gaussian_filter1d(values, sigma, axis=axis, output=values, mode="wrap", truncate=3)
    values /= values.std(dtype=np.float64)
    return values


def ramp(distance: Array, width: float) -> Array:
    """Step from 0 to 1 at distance 0, linear over ``width``: a step that does not alias."""
    share: Array = np.clip(distance / np.float32(width) + np.float32(0.5), 0, 1)
    return share
