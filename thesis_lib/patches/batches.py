"""Batches of patches, drawn from volumes as training asks for them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from saltvolumes._checks import check_choice, check_count, check_range, check_sizes, keep_plain
from saltvolumes.lines import find_missing
from saltvolumes.volume import AXES, IN_MEMORY_BYTES
from thesis_lib.patching import (
    Floats,
    check_axes,
    grid_sections,
    section_dims,
    split_sections,
    zscore,
)


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
        Probability of a change of sign. 0 keeps the survey's polarity, by which the top of salt
        differs from its base; 0.5 suits networks for surveys of unknown polarity.
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
        keep_plain(self)
        check_range("flip", self.flip, low=0, high=1)
        check_range("polarity", self.polarity, low=0, high=1)
        check_range("gain_db", self.gain_db, low=0)
        check_range("noise", self.noise, low=0)

    @classmethod
    def build(cls, values: Mapping[str, float]) -> Self:
        """
        Return an augmentation from fields by name; the others keep their defaults.

        Raises
        ------
        ValueError
            If a name is no field, or a value is not allowed.
        """
        for name in values:
            check_choice("field of the augmentation", name, [each.name for each in fields(cls)])
        return cls(**values)

    def apply(
        self, images: Floats, targets: NDArray[Any], rng: np.random.Generator
    ) -> tuple[Floats, NDArray[Any]]:
        """
        Change z-scored images, and targets with them, each patch by draws of its own.

        Parameters
        ----------
        images : float32 array of shape (B, 1, H, W)
        targets : array of shape (B, ..., W)
            Masks, or labels with W = 1, which no mirror changes.
        rng : Generator
            The same state gives the same patches.

        Returns
        -------
        images, targets : arrays of the same shapes
            The images are not z-scored again.
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
        n_patches: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.n_rows = n_rows
        self.batch_size = check_count("batch_size", batch_size)
        self.seed = check_count("seed", seed, low=0)
        self.n_patches = check_count("n_patches", n_rows if n_patches is None else n_patches)
        self.augmentation = augmentation

    def __len__(self) -> int:
        return -(-self.n_patches // self.batch_size)

    @abstractmethod
    def read(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[Any]]:
        """Images (B, 1, H, W) as recorded, and targets (B, ..., W), of rows by number."""

    def draw(self, number: int) -> NDArray[np.int64]:
        """Rows of epoch ``number`` in their order."""
        rng = np.random.default_rng((self.seed, check_count("number", number, low=0)))
        n_rounds = -(-self.n_patches // self.n_rows)
        rounds = [rng.permutation(self.n_rows) for _ in range(n_rounds)]
        return np.concatenate(rounds)[: self.n_patches]

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
        for index, rows in enumerate(np.array_split(self.draw(number), len(self))):
            images, targets = self.read(rows)
            images = zscore(images)
            if self.augmentation is not None:
                rng = np.random.default_rng((self.seed, number, index + 1))
                images, targets = self.augmentation.apply(images, targets, rng)
                images = zscore(images)
            yield torch.from_numpy(images), torch.from_numpy(targets)


class PatchBatches(ShuffledBatches):
    """
    Shuffled batches of z-scored patches and their masks, epoch after epoch.

    What an epoch holds depends on ``seed`` and its number only, so every loss of a study and
    every resumed run sees the same patches in the same order. Windows that touch a missing trace
    are left out, and none reaches across lines far apart. A volume somewhat smaller than a patch is
    continued by reflection; see :func:`thesis_lib.patching.split_sections`. A variable of up to 256
    MiB is held in memory, once for each direction; a larger one is read patch by patch.

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
        If a patch does not fit the sections of a direction, a volume has no mask, one of other
        values than 0 and 1, or no lines, no window is free of missing traces, or an argument is
        out of its range.
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
        axes = check_axes(axes)
        volumes = [volumes] if isinstance(volumes, xr.Dataset) else volumes
        if not len(volumes):
            raise ValueError("Invalid volumes: none given. Must be at least one.")
        self.patch = check_sizes("patch", patch, 2)
        for volume in volumes:
            _check_salt(volume)
        cuts = [
            (part, axis)
            for volume in volumes
            for axis in axes
            for _, part in split_sections(volume, axis, self.patch)
        ]
        windows = [_list_windows(volume, axis, self.patch, stride) for volume, axis in cuts]
        self._windows = np.concatenate(  # (n, 4): sections, line, top, left
            [np.insert(rows, 0, number, axis=1) for number, rows in enumerate(windows)]
        )
        if not len(self._windows):
            raise ValueError("No patch without a missing trace in the volumes given.")
        self._sections = [_hold_sections(volume, axis) for volume, axis in cuts]
        super().__init__(
            len(self._windows),
            batch_size=batch_size,
            seed=seed,
            n_patches=n_patches,
            augmentation=augmentation,
        )

    def read(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Images as recorded and targets, both (B, 1, H, W), of windows by number."""
        height, width = self.patch
        patches = np.empty((2, len(rows), 1, height, width), np.float32)
        for index, (number, line, top, left) in enumerate(self._windows[rows]):
            for kind, sections in enumerate(self._sections[number]):
                window = sections[line, top : top + height, left : left + width]
                patches[kind, index, 0] = np.asarray(window)
        return patches[0], patches[1]


def _check_salt(volume: xr.Dataset) -> None:
    if "salt" not in volume:
        raise ValueError("Invalid volume without salt mask. Must have a variable 'salt'.")
    salt = volume["salt"]
    if salt.dtype != np.bool_:
        other = salt.where(~salt.isin([0, 1]) & volume["amplitude"].notnull()).max()
        if other.notnull():
            raise ValueError(f"Invalid salt with value {float(other):g}. Must be 0 or 1.")


def _list_windows(
    volume: xr.Dataset, axis: str, patch: tuple[int, ...], stride: int | tuple[int, int]
) -> NDArray[np.int64]:
    """Line, top and left (n, 3) of every window of one direction free of missing traces."""
    starts = grid_sections(volume, axis, patch, stride).starts
    rows = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 3)
    missing = find_missing(volume)  # (inline, crossline)
    by_line = missing if axis == AXES[0] else missing.T
    touched = np.asarray(sliding_window_view(by_line, patch[1], axis=1).any(axis=-1))
    clear: NDArray[np.int64] = rows[~touched[rows[:, 0], rows[:, 2]]]  # by line and left
    return clear


def _hold_sections(volume: xr.Dataset, axis: str) -> list[xr.Variable | NDArray[Any]]:
    """Amplitude and mask (line, H, W) of one direction, loaded where they are small enough."""
    variables = [
        volume[name].variable.transpose(*section_dims(volume, axis))
        for name in ("amplitude", "salt")
    ]
    return [
        variable if variable.nbytes > IN_MEMORY_BYTES else np.ascontiguousarray(variable.values)
        for variable in variables
    ]


def salt_labels(masks: ArrayLike, *, threshold: float = 0.2) -> NDArray[np.bool_]:
    """
    Label of each patch: salt if more than ``threshold`` of its pixels are salt.

    Parameters
    ----------
    masks : array of shape (n, ...)
        Masks, True or 1 inside salt.
    threshold : float
        Fraction of the pixels, in [0, 1].

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
    if np.ma.is_masked(masks):
        raise ValueError("Invalid masks with masked pixels. Must be 0 or 1.")
    inside = np.asarray(masks)
    other = inside[(inside != 0) & (inside != 1)]
    if other.size:
        raise ValueError(f"Invalid masks with value {other[0]}. Must be 0 or 1.")
    fraction = (inside != 0).mean(axis=tuple(range(1, inside.ndim)))
    return np.asarray(fraction > threshold)
