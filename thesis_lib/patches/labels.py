"""Patches with a class each, and batches of them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saltvolumes._checks import check_same_shape
from thesis_lib.patches.batches import ShuffledBatches
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

    def __init__(self, patches: LabelledPatches, **drawing: Any) -> None:
        self.patches = patches
        super().__init__(len(patches), **drawing)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch as `PatchBatches`, with int64 labels (B,) as targets."""
        for images, labels in super().epoch(number):
            yield images, labels[:, 0]

    def read(self, rows: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
        """Images (B, 1, H, W) as recorded, and labels (B, 1), of rows by number."""
        return self.patches.images[rows, None], self.patches.labels[rows, None]
