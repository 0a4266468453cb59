"""Patches with a class each, and batches of them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from thesis_lib._checks import check_count, check_same_shape
from thesis_lib.data.lines import AXES
from thesis_lib.data.patches import (
    Augmentation,
    Floats,
    PatchBatches,
    ShuffledBatches,
    salt_labels,
)
from thesis_lib.patching import zscore


@dataclass(frozen=True, eq=False)
class LabelledPatches:
    """
    Patches and the class of each.

    Parameters
    ----------
    images : float32 array of shape (n, H, W)
        As recorded, depth or time downward.
    labels : int64 array of shape (n,)
        Positions in ``classes``.
    classes : tuple of str
        Names, at least two.
    masks : bool array of shape (n, H, W), optional
        True inside salt, where that is known.

    Raises
    ------
    TypeError
        If labels are no whole numbers, or masks not boolean.
    ValueError
        If there is no patch, one is not finite, shapes do not fit, classes are fewer than two or
        not distinct, or a label is none of them.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    masks: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        for name, kinds in (("labels", "iu"), ("masks", "b")):
            array = getattr(self, name)
            if array is not None and np.asarray(array).dtype.kind not in kinds:
                allowed = {"iu": "whole numbers", "b": "boolean"}[kinds]
                raise TypeError(
                    f"Invalid {name} of type {np.asarray(array).dtype}. Must be {allowed}."
                )
        object.__setattr__(self, "images", np.asarray(self.images, np.float32))
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64))
        object.__setattr__(self, "classes", tuple(self.classes))
        self._check()

    def _check(self) -> None:
        if self.images.ndim != 3 or not self.images.size:
            raise ValueError(f"Invalid images of shape {self.images.shape}. Must be (n, H, W).")
        check_same_shape("labels", self.labels.shape, "images", self.images.shape[:1])
        if self.masks is not None:
            check_same_shape("masks", self.masks.shape, "images", self.images.shape)
        if len(set(self.classes)) < max(len(self.classes), 2):
            raise ValueError(f"Invalid classes {self.classes}. Must be distinct, at least two.")
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= len(self.classes):
            raise ValueError(
                f"Invalid labels from {low} to {high}. Must be from 0 to {len(self.classes) - 1}."
            )
        if not np.isfinite(self.images).all():
            raise ValueError("Invalid images with NaN or infinite samples. Must be finite.")

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def content_hash(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 of images, labels, classes and masks."""
        digest = hashlib.sha256(repr(self.classes).encode())
        masks = () if self.masks is None else (self.masks,)
        arrays: tuple[NDArray[Any], ...] = (self.images, self.labels, *masks)
        for array in arrays:
            digest.update(f"{array.shape}{array.dtype}".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]

    @property
    def shares(self) -> NDArray[np.float64] | None:
        """Share of salt in each patch (n,), in 0..1, or None where masks are not known."""
        return None if self.masks is None else self.masks.mean(axis=(1, 2))

    def take(self, rows: NDArray[Any] | Sequence[int] | slice) -> "LabelledPatches":
        """Patches of some rows: their numbers, a boolean array or a slice."""
        rows = rows if isinstance(rows, slice) else np.asarray(rows)
        masks = None if self.masks is None else self.masks[rows]
        return replace(self, images=self.images[rows], labels=self.labels[rows], masks=masks)

    def tensors(self) -> Tensor:
        """Images as networks see them: z-scored, float32 of shape (n, 1, H, W)."""
        return torch.from_numpy(zscore(self.images[:, None]))


def cut_patches(
    volumes: xr.Dataset | Sequence[xr.Dataset],
    *,
    patch: int | tuple[int, int],
    stride: int | tuple[int, int],
    axes: Sequence[str] = AXES,
    n_patches: int | None = None,
    seed: int,
    threshold: float = 0.2,
) -> LabelledPatches:
    """
    Draw patches from volumes, and call those with enough salt "salt", the others "background".

    Parameters
    ----------
    volumes, patch, stride, axes
        As in `PatchBatches`.
    n_patches : int, optional
        Patches drawn, each at most once; all by default.
    seed : int
        Decides about the patches and their order.
    threshold : float
        Share of salt above which a patch is salt, see `salt_labels`.

    Returns
    -------
    LabelledPatches
        With the classes ``("background", "salt")``, and masks.

    Raises
    ------
    ValueError
        If there are fewer patches than asked for, or an argument of `PatchBatches` or
        `salt_labels` is not allowed.
    """
    batches = PatchBatches(
        volumes,
        patch=patch,
        stride=stride,
        axes=axes,
        batch_size=1,
        seed=seed,
        n_patches=n_patches,
    )
    check_count("n_patches", batches.n_patches, high=batches.n_rows)
    images, masks = (array[:, 0] for array in batches.read(batches.draw(0)))
    labels = salt_labels(masks, threshold=threshold).astype(np.int64)
    return LabelledPatches(images, labels, ("background", "salt"), masks > 0)


class LabelBatches(ShuffledBatches):
    """
    Shuffled batches of z-scored patches and their labels, epoch after epoch.

    What an epoch holds depends on ``seed`` and its number only.

    Parameters
    ----------
    patches : LabelledPatches
        What is drawn from.
    batch_size, seed, n_patches, augmentation
        As in `PatchBatches`.

    Raises
    ------
    TypeError, ValueError
        If an argument is out of its range.
    """

    def __init__(
        self,
        patches: LabelledPatches,
        *,
        batch_size: int,
        seed: int,
        n_patches: int | None = None,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.patches = patches
        super().__init__(
            len(patches),
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
        labels : int64 Tensor of shape (B,)
        """
        for images, labels in self.arrays(number):
            yield torch.from_numpy(images), torch.from_numpy(labels[:, 0, 0, 0].astype(np.int64))

    def read(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Images (B, 1, H, W) as recorded, and labels (B, 1, 1, 1), which no mirror changes."""
        labels = self.patches.labels[rows].astype(np.float32)
        return self.patches.images[rows, None], labels[:, None, None, None]
