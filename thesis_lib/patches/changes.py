"""How surveys differ, drawn patch by patch: what a network for the next survey must not rely on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from saltvolumes._checks import check_range, keep_plain
from thesis_lib.patches.batches import PatchBatches
from thesis_lib.patching import Floats, zscore

TAPER = 0.1  # of the Nyquist frequency: width of the edges of a band
MAX_DIP = 1.5  # samples of depth per trace, of coherent noise


@dataclass(frozen=True)
class SurveyChanges:
    """
    What differs from survey to survey and tells nothing about salt; the default changes nothing.

    Parameters
    ----------
    free : bool
        Whether patches lie anywhere between those of the grid.
    zoom : tuple of two float
        Smallest and largest enlargement of a patch, drawn evenly between on a logarithmic scale. A
        window of another size is cut and resampled to the size of a patch: below 1 a larger one.
    stretch : float
        Ratio of the enlargements along depth and across, drawn in the same way from
        [1 / stretch, stretch]; at least 1.
    phase_deg : float
        Constant rotation of the phase of all traces, drawn from [-phase_deg, phase_deg] degrees.
    high_cut, low_cut : float
        Edges of the band along depth, in fractions of the Nyquist frequency: the upper one is drawn
        from [high_cut, 1], the lower one from [0, low_cut].
    gain_walk_db : float
        A random walk along depth in dB, with this standard deviation from top to bottom.
    plane_noise : float
        Coherent noise: two dipping plane waves, together of a standard deviation drawn from
        [0, plane_noise] times that of the patch. A constant patch stays constant.

    Raises
    ------
    ValueError
        If a value lies outside its range.
    """

    free: bool = False
    zoom: tuple[float, float] = (1.0, 1.0)
    stretch: float = 1.0
    phase_deg: float = 0.0
    high_cut: float = 1.0
    low_cut: float = 0.0
    gain_walk_db: float = 0.0
    plane_noise: float = 0.0

    def __post_init__(self) -> None:
        keep_plain(self)
        for end in self.zoom:
            check_range("zoom", end, low=0, exclusive=True)
        if len(self.zoom) != 2 or self.zoom[0] > self.zoom[1]:
            raise ValueError(f"Invalid zoom {self.zoom}. Must be (smallest, largest).")
        object.__setattr__(self, "zoom", (float(self.zoom[0]), float(self.zoom[1])))
        check_range("stretch", self.stretch, low=1)
        check_range("phase_deg", self.phase_deg, low=0, high=180)
        check_range("high_cut", self.high_cut, low=TAPER, high=1)
        check_range("low_cut", self.low_cut, low=0, high=0.5)
        if self.low_cut + TAPER > self.high_cut:
            raise ValueError(
                f"Invalid low_cut {self.low_cut} for high_cut {self.high_cut}. Must be at least "
                f"{TAPER} below it, or nothing is left of a band."
            )
        check_range("gain_walk_db", self.gain_walk_db, low=0)
        check_range("plane_noise", self.plane_noise, low=0)

    def draw_sizes(
        self, patch: tuple[int, ...], n: int, rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Heights and widths (n, 2) of windows that become patches, in samples, at least 8."""
        low, high = np.log(self.zoom)
        zoom = np.exp(rng.uniform(low, high, n))
        ratio = self.stretch ** rng.uniform(-0.5, 0.5, n)
        sizes = np.stack([patch[0] / (zoom * ratio), patch[1] * ratio / zoom], axis=1)
        return np.maximum(sizes.round().astype(np.int64), 8)

    def apply(self, images: Floats, rng: np.random.Generator) -> Floats:
        """
        Change phase, band and gain of z-scored images and add coherent noise, patch by patch.

        Parameters
        ----------
        images : float32 array of shape (B, 1, H, W)
        rng : Generator
            The same state gives the same patches.

        Returns
        -------
        float32 array of the same shape
            Not z-scored again.
        """
        n, _, height, width = images.shape
        angle = np.radians(rng.uniform(-self.phase_deg, self.phase_deg, n))
        edges = rng.uniform([0, self.high_cut], [self.low_cut, 1], (n, 2))
        changed: NDArray[Any] = images
        if self.phase_deg or self.high_cut < 1 or self.low_cut:
            changed = _filter_traces(images, angle, edges)
        if self.gain_walk_db:
            steps = rng.standard_normal((n, 1, height, 1)) / np.sqrt(height)
            gain_db = self.gain_walk_db * np.cumsum(steps, axis=2)
            changed = changed * 10.0 ** ((gain_db - gain_db.mean(axis=2, keepdims=True)) / 20.0)
        if self.plane_noise:
            waves = sum(_make_plane_waves(n, height, width, rng) for _ in range(2)) / np.sqrt(2)
            level = rng.uniform(0, self.plane_noise, (n, 1, 1, 1))
            changed = changed + level * changed.std(axis=(2, 3), keepdims=True) * waves
        return np.asarray(changed, np.float32)


def _filter_traces(
    images: Floats, angle: NDArray[np.float64], edges: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rotate the phase of traces and keep a band, by reflected ends against wrapping around."""
    height, (low, high) = images.shape[2], edges.T
    padded = np.concatenate([images, images[:, :, ::-1]], axis=2)
    frequency = np.linspace(0, 1, height + 1)  # of 2 * height samples, Nyquist = 1
    up = (frequency - low[:, None]) / TAPER + 0.5
    down = (high[:, None] - frequency) / TAPER + 0.5
    up[low == 0], down[high == 1] = 1.0, 1.0
    band = np.clip(up, 0, 1) * np.clip(down, 0, 1)  # (B, frequency)
    rotation = np.exp(1j * angle)[:, None] * np.ones_like(frequency)
    rotation[:, [0, -1]] = 1  # they have no phase
    spectrum = np.fft.rfft(padded, axis=2) * (band * rotation)[:, None, :, None]
    filtered: NDArray[np.float64] = np.fft.irfft(spectrum, 2 * height, axis=2)[:, :, :height]
    return filtered


def _make_plane_waves(
    n: int, height: int, width: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """One dipping plane wave (n, 1, H, W) each, of unit variance and the band of a wavelet."""
    reach = int(np.ceil(MAX_DIP * width / 2)) + 2
    trace = rng.standard_normal((n, height + 2 * reach))
    kernel = np.array([-1.0, -1.0, 1.0, 2.0, 1.0, -1.0, -1.0])  # without a mean: no bias
    trace = np.stack([np.convolve(row, kernel, "same") for row in trace])
    dip = rng.uniform(-MAX_DIP, MAX_DIP, n)
    across = dip[:, None, None] * (np.arange(width) - (width - 1) / 2)  # (n, 1, W)
    depth = reach + np.arange(height)[:, None] + across  # (n, H, W), within the trace
    whole = np.floor(depth).astype(np.int64)
    rest, rows = depth - whole, np.arange(n)[:, None, None]
    waves = (1 - rest) * trace[rows, whole] + rest * trace[rows, whole + 1]
    scaled: NDArray[np.float64] = waves[:, None] / waves.std(axis=(1, 2))[:, None, None, None]
    return scaled


class ChangedBatches(PatchBatches):
    """
    Batches of patches as `PatchBatches`, changed as surveys differ.

    Parameters
    ----------
    *args, **kwargs
        Those of `PatchBatches`.
    changes : SurveyChanges
        What is changed; windows cut anew are never outside their section, and one with a missing
        trace is replaced by the patch of the grid that it was drawn from.
    """

    def __init__(self, *args: Any, changes: SurveyChanges, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.changes = changes

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch, as `PatchBatches.epoch` does."""
        for index, rows in enumerate(np.array_split(self.draw(number), len(self))):
            rng = np.random.default_rng((self.seed, number, index + 1))
            images, targets = self._cut(rows, rng)
            images = zscore(images)
            if self.augmentation is not None:
                images, targets = self.augmentation.apply(images, targets, rng)
            images = zscore(self.changes.apply(images, rng))
            yield torch.from_numpy(images), torch.from_numpy(targets)

    def _cut(self, rows: NDArray[np.int64], rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Images and targets (B, 1, H, W) of windows anywhere near those of the grid, resampled."""
        images, targets = self.read(rows)
        if not self.changes.free and {*self.changes.zoom, self.changes.stretch} == {1.0}:
            return images, targets
        sizes = self.changes.draw_sizes(self.patch, len(rows), rng)
        places = rng.uniform(-0.5, 0.5, (len(rows), 2)) if self.changes.free else np.zeros((1, 2))
        for index, place in enumerate(np.broadcast_to(places, (len(rows), 2))):
            amplitude, salt = self._read_window(rows[index], sizes[index], place)
            if np.isfinite(amplitude).all():
                images[index], targets[index] = _resize(amplitude, salt, self.patch)
        return images, targets

    def _read_window(
        self, row: np.int64, size: NDArray[np.int64], place: NDArray[np.float64]
    ) -> tuple[Floats, Floats]:
        """Amplitude and mask of a window with the centre ``place`` patches from one of the grid."""
        number, line, *corner = self._windows[row]
        sections = self._sections[number]
        limits = np.array(sections[0].shape[1:])
        size = np.minimum(size, limits)
        centre = np.array(corner) + np.array(self.patch) * (0.5 + place)
        top, left = np.clip((centre - size / 2).round().astype(int), 0, limits - size)
        window = (line, slice(top, top + size[0]), slice(left, left + size[1]))
        amplitude, salt = (np.asarray(each[window], np.float32) for each in sections)
        return amplitude, salt


def _resize(amplitude: Floats, salt: Floats, patch: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Resample a window to the size of a patch; what is mostly salt is salt."""
    both = torch.from_numpy(np.stack([amplitude, salt]))[None]
    small = F.interpolate(both, size=patch, mode="bilinear", antialias=True)[0].numpy()
    return small[0], (small[1] > 0.5).astype(np.float32)
