"""Batches of patches, drawn from volumes as training asks for them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from thesis_lib._checks import check_choice, check_count, check_range
from thesis_lib._volume import vertical_dim
from thesis_lib.data.lines import AXES, find_missing
from thesis_lib.patching import PatchGrid, zscore

Floats = NDArray[np.float32]

# A volume up to this size is held in memory; a larger one is read patch by patch.
IN_MEMORY_BYTES = 2**28


@dataclass(frozen=True)
class Augmentation:
    """
    What may happen to a training patch; the default is mild.

    A gain or shift that is the same everywhere would be undone by the z-score, so gain is a ramp
    along depth. Patches are z-scored before and after.

    Parameters
    ----------
    flip : float
        Probability of a lateral mirror image, of patch and mask. Depth is never flipped.
    polarity : float
        Probability of a change of sign. 0 keeps the survey's polarity, which tells the top of
        salt from its base; 0.5 suits networks for surveys of unknown polarity.
    gain_db : float
        The gain changes from the top to the bottom of the patch by a number of dB drawn evenly
        from [-gain_db, gain_db].
    noise : float
        White Gaussian noise, its standard deviation drawn evenly from [0, noise] times that of
        the patch. A constant patch stays constant.

    Raises
    ------
    ValueError
        If a probability lies outside [0, 1] or a level below 0.
    """

    flip: float = 0.5
    polarity: float = 0.0
    gain_db: float = 6.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        check_range("flip", self.flip, low=0, high=1)
        check_range("polarity", self.polarity, low=0, high=1)
        check_range("gain_db", self.gain_db, low=0)
        check_range("noise", self.noise, low=0)

    def apply(
        self, images: Floats, targets: Floats, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """
        Change z-scored images, and targets with them, each patch by draws of its own.

        Parameters
        ----------
        images, targets : float32 array of shape (B, 1, H, W)
        rng : Generator
            The same state gives the same patches.

        Returns
        -------
        images, targets : float32 array of shape (B, 1, H, W)
            Not z-scored again.
        """
        each = (len(images), 1, 1, 1)
        images, targets = images.copy(), targets.copy()
        mirrored = rng.random(len(images)) < self.flip
        for array in (images, targets):
            array[mirrored] = array[mirrored, ..., ::-1]
        sign = np.where(rng.random(each) < self.polarity, -1.0, 1.0)
        gain_db = rng.uniform(-self.gain_db, self.gain_db, each)
        depth = np.linspace(-0.5, 0.5, images.shape[2])[:, None]  # (H, 1)
        images *= (sign * 10.0 ** (gain_db * depth / 20.0)).astype(np.float32)
        level = rng.uniform(0.0, self.noise, each) * images.std(axis=(1, 2, 3), keepdims=True)
        noise = rng.standard_normal(images.shape, dtype=np.float32)
        images += level.astype(np.float32) * noise
        return images, targets


class ShuffledBatches(ABC):
    """
    Order, z-score and augmentation of patches that are drawn from ``n_rows`` rows.

    Parameters
    ----------
    n_rows : int
        Rows to draw from.
    batch_size, seed, n_patches, augmentation
        As in `PatchBatches`.
    """

    def __init__(
        self,
        n_rows: int,
        *,
        batch_size: int,
        seed: int,
        n_patches: int | None,
        augmentation: Augmentation | None,
    ) -> None:
        self.n_rows = n_rows
        self.batch_size = check_count("batch_size", batch_size)
        self.seed = check_count("seed", seed, low=0)
        self.n_patches = check_count("n_patches", n_rows if n_patches is None else n_patches)
        self.augmentation = augmentation

    def __len__(self) -> int:
        return -(-self.n_patches // self.batch_size)

    @abstractmethod
    def read(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Images (B, 1, H, W) as recorded, and targets (B, 1, h, w), of rows by number."""

    def draw(self, number: int) -> NDArray[np.int64]:
        """Rows of epoch ``number`` in their order."""
        rng = np.random.default_rng((self.seed, check_count("number", number, low=0)))
        n_rounds = -(-self.n_patches // self.n_rows)
        rounds = [rng.permutation(self.n_rows) for _ in range(n_rounds)]
        return np.concatenate(rounds)[: self.n_patches]

    def arrays(self, number: int) -> Iterator[tuple[Floats, Floats]]:
        """Yield the batches of epoch ``number``, images z-scored."""
        for index, chosen in enumerate(np.array_split(self.draw(number), len(self))):
            images, targets = self.read(chosen)
            images = zscore(images)
            if self.augmentation is not None:
                rng = np.random.default_rng((self.seed, number, index + 1))
                images, targets = self.augmentation.apply(images, targets, rng)
                images = zscore(images)
            yield images, targets


class PatchBatches(ShuffledBatches):
    """
    Shuffled batches of z-scored patches and their masks, epoch after epoch.

    What an epoch holds depends on ``seed`` and its number only, so every loss of a study and
    every resumed run sees the same patches in the same order. Windows that touch a missing trace
    are left out. Each array of up to 256 MiB is held in memory, once for each direction; larger
    ones are read patch by patch.

    Parameters
    ----------
    volumes : Dataset or sequence of Dataset
        Volumes with ``amplitude`` and ``salt``.
    patch, stride : int or (int, int)
        Height (along depth) and width of a patch, and the steps between patches, in samples.
    axes : sequence of {"inline", "crossline"}
        Directions whose sections are cut, each once: ``"inline"`` means sections at a fixed inline.
    batch_size : int
        Patches in a batch at most. The batches of an epoch differ by one patch at most, so that
        from 3 on none is left with a single patch, on which batch normalisation may fail, unless
        the epoch has only that one.
    seed : int
        Not negative.
    n_patches : int, optional
        Patches drawn for an epoch; none is drawn again before all have been. All once by
        default.
    augmentation : Augmentation, optional
        None by default.

    Raises
    ------
    ValueError
        If a patch does not fit the sections of a direction, a volume has no mask or no lines, no
        window is free of missing traces, or an argument is out of its range.
    """

    def __init__(
        self,
        volumes: xr.Dataset | Sequence[xr.Dataset],
        *,
        patch: int | tuple[int, int],
        stride: int | tuple[int, int],
        axes: Sequence[str] = AXES,
        batch_size: int,
        seed: int,
        n_patches: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        for axis in axes:
            check_choice("axis", axis, AXES)
        if not axes or len(set(axes)) < len(axes):
            raise ValueError(
                f"Invalid axes {tuple(axes)}. Must be one or two different directions."
            )
        volumes = [volumes] if isinstance(volumes, xr.Dataset) else volumes
        if not len(volumes):
            raise ValueError("Invalid volumes: none given. Must be at least one.")
        self.patch, stride = _as_pair(patch), _as_pair(stride)
        self._sections = [_Sections(volume, axis) for volume in volumes for axis in axes]
        windows = [sections.windows(self.patch, stride) for sections in self._sections]
        self._windows = np.concatenate(  # (n, 4): sections, line, top, left
            [np.insert(rows, 0, number, axis=1) for number, rows in enumerate(windows)]
        )
        if not len(self._windows):
            raise ValueError("No patch without a missing trace in the volumes given.")
        super().__init__(
            len(self._windows),
            batch_size=batch_size,
            seed=seed,
            n_patches=n_patches,
            augmentation=augmentation,
        )

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """
        Yield the batches of an epoch.

        Parameters
        ----------
        number : int
            Not negative. The same number gives the same batches.

        Yields
        ------
        images : float32 Tensor of shape (B, 1, H, W)
            Depth downward, each patch with mean 0 and standard deviation 1, or all 0.
        targets : float32 Tensor of shape (B, 1, H, W)
            1 inside salt, 0 outside.
        """
        for images, targets in self.arrays(number):
            yield torch.from_numpy(images), torch.from_numpy(targets)

    def read(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Images as recorded and targets, both (B, 1, H, W), of windows by number."""
        windows = self._windows[rows]
        shape = (len(windows), 1, *self.patch)
        images, targets = np.empty(shape, np.float32), np.empty(shape, np.float32)
        for number in np.unique(windows[:, 0]):
            among = windows[:, 0] == number
            images[among, 0], targets[among, 0] = self._sections[number].read(
                windows[among, 1:], self.patch
            )
        return images, targets


class _Sections:
    """The sections of one volume in one direction."""

    def __init__(self, volume: xr.Dataset, axis: str) -> None:
        if "salt" not in volume:
            raise ValueError("Invalid volume without salt mask. Must have a variable 'salt'.")
        if not volume["amplitude"].size:
            raise ValueError(
                f"Invalid empty volume of sizes {dict(volume.sizes)}. Must have lines."
            )
        lateral = AXES[1 - AXES.index(axis)]
        self.dims = (axis, vertical_dim(volume), lateral)
        self.missing = find_missing(volume)
        if axis != AXES[0]:
            self.missing = self.missing.T
        self.amplitude = _hold(volume["amplitude"].variable, self.dims)
        self.salt = _hold(volume["salt"].variable, self.dims)

    def windows(self, patch: tuple[int, int], stride: tuple[int, int]) -> NDArray[np.int64]:
        """Line, top and left (n, 3) of every window free of missing traces."""
        n_lines, *shape = self.amplitude.shape
        if any(size > length for size, length in zip(patch, shape, strict=True)):
            axis, vertical, lateral = self.dims
            raise ValueError(
                f"Invalid patch {patch} for sections along {axis} of shape {tuple(shape)} "
                f"({vertical}, {lateral}). Must fit, or leave {axis!r} out of axes."
            )
        tops, lefts = PatchGrid(tuple(shape), patch, stride).starts
        grid = np.meshgrid(np.arange(n_lines), tops, lefts, indexing="ij")
        rows = np.stack(grid, axis=-1).reshape(-1, 3)
        before = np.pad(self.missing.cumsum(axis=1), ((0, 0), (1, 0)))
        line, left = rows[:, 0], rows[:, 2]
        whole = before[line, left + patch[1]] == before[line, left]
        clear: NDArray[np.int64] = rows[whole]
        return clear

    def read(self, rows: NDArray[np.int64], patch: tuple[int, int]) -> tuple[Floats, Floats]:
        """Amplitude and mask, both float32 (n, H, W), of windows (line, top, left)."""
        return _cut(self.amplitude, rows, patch), _cut(self.salt, rows, patch)


def _hold(variable: xr.Variable, dims: Sequence[str]) -> xr.Variable | NDArray[Any]:
    sections = variable.transpose(*dims)
    if variable.nbytes > IN_MEMORY_BYTES:
        return sections
    held = np.empty(sections.shape, variable.dtype)  # sections in one piece
    target = held.transpose([dims.index(str(dim)) for dim in variable.dims])
    for index in range(len(variable)):  # line by line: what a mask is made of may be larger
        target[index] = variable[index].values
    return held


def _cut(
    sections: xr.Variable | NDArray[Any], rows: NDArray[np.int64], patch: tuple[int, int]
) -> Floats:
    height, width = patch
    if isinstance(sections, np.ndarray):
        line, top, left = rows.T[:, :, None, None]
        down, across = np.arange(height)[:, None], np.arange(width)
        patches: NDArray[Any] = sections[line, top + down, left + across]  # (n, H, W)
        return patches.astype(np.float32, copy=False)
    cuts = [
        sections[line, top : top + height, left : left + width].values for line, top, left in rows
    ]
    return np.stack(cuts, dtype=np.float32, casting="unsafe")


def salt_labels(masks: ArrayLike, *, threshold: float = 0.2) -> NDArray[np.bool_]:
    """
    Label of each patch: salt if more than ``threshold`` of its pixels are salt.

    Parameters
    ----------
    masks : array of shape (n, ...)
        Masks, True or 1 inside salt.
    threshold : float
        Share of the pixels, in [0, 1].

    Returns
    -------
    bool array of shape (n,)

    Raises
    ------
    ValueError
        If ``threshold`` lies outside [0, 1], or a mask holds anything but 0 and 1.

    Examples
    --------
    >>> salt_labels([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0]])
    array([False,  True])
    """
    check_range("threshold", threshold, low=0, high=1)
    inside = np.asarray(masks)
    other = inside[(inside != 0) & (inside != 1)]
    if other.size:
        raise ValueError(f"Invalid masks with value {other[0]}. Must be 0 or 1.")
    share = (inside != 0).mean(axis=tuple(range(1, inside.ndim)))
    return np.asarray(share > threshold)


def _as_pair(value: int | tuple[int, int]) -> tuple[int, int]:
    height, width = (int(value), int(value)) if isinstance(value, int | np.integer) else value
    return height, width
