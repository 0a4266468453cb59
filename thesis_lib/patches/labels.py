"""Patches with a class each, and batches of them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from saltvolumes._checks import check_count, check_same_shape
from saltvolumes.volume import AXES
from thesis_lib.patches.batches import Augmentation, PatchBatches, ShuffledBatches, salt_labels
from thesis_lib.patching import Floats, zscore


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
        If labels are not whole numbers, or masks not boolean.
    ValueError
        If there is no patch, one is not finite, shapes do not fit, classes are fewer than two or
        not distinct, or a label is out of range.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    masks: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        for name, kinds, allowed in (("labels", "iu", "whole numbers"), ("masks", "b", "boolean")):
            array = getattr(self, name)
            if np.ma.is_masked(array) or np.ma.is_masked(self.images):
                raise ValueError("Invalid patches with masked samples. Must have none.")
            if array is not None and np.asarray(array).dtype.kind not in kinds:
                raise TypeError(
                    f"Invalid {name} of type {np.asarray(array).dtype}. Must be {allowed}."
                )
        object.__setattr__(self, "images", np.asarray(self.images, np.float32))
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64))
        object.__setattr__(self, "classes", tuple(self.classes))
        if self.images.ndim != 3 or not self.images.size:
            raise ValueError(f"Invalid images of shape {self.images.shape}. Must be (n, H, W).")
        if not np.isfinite(self.images).all():
            raise ValueError("Invalid images with NaN or infinite samples. Must be finite.")
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

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def content_hash(self) -> str:
        """First 16 hexadecimal digits of a SHA-256 of images, labels, classes and masks."""
        digest = hashlib.sha256(repr(self.classes).encode())
        for array in (self.images, self.labels, self.masks):
            if array is not None:
                digest.update(f"{array.shape}{array.dtype}".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()[:16]

    @property
    def fractions(self) -> NDArray[np.float64] | None:
        """Fraction of salt in each patch (n,), in 0..1, or None where masks are not known."""
        return None if self.masks is None else self.masks.mean(axis=(1, 2))

    def take(self, rows: NDArray[Any] | Sequence[int] | slice) -> Self:
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
        Fraction of salt above which a patch is salt, see `salt_labels`.

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
    Shuffled batches of z-scored patches and their int64 labels (B,), epoch after epoch.

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
        """Yield the batches of an epoch as `PatchBatches`, with int64 labels (B,) as targets."""
        for images, labels in super().epoch(number):
            yield images, labels[:, 0]

    def read(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
        """Images (B, 1, H, W) as recorded, and labels (B, 1), of rows by number."""
        return self.patches.images[rows, None], self.patches.labels[rows, None]
