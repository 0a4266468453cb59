"""Patches of sections that are labelled in part, or by guesses."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from saltvolumes._checks import check_count
from thesis_lib.patches.batches import Augmentation, PatchBatches
from thesis_lib.patches.changes import SurveyChanges
from thesis_lib.patching import Floats, zscore


class ProxyBatches:
    """
    Batches of patches anywhere in labelled sections, with patches of a source beside them.

    Parameters
    ----------
    amplitude, label, weight : float32 arrays of shape (n_sections, H, W)
        Sections without missing samples; the probability of salt in [0, 1]; and whether a label
        counts, 0 or 1. Only windows in which some label counts are drawn.
    patch : (int, int)
        Height and width.
    batch_size : int
        Patches of the sections in a batch.
    n_batches : int
        Batches in an epoch.
    seed : int
        The same seed and number of an epoch give the same batches.
    augmentation, changes
        As in `ChangedBatches`.
    source : PatchBatches, optional
        Each batch gets one of its batches as well, whose labels count everywhere.

    Raises
    ------
    ValueError
        If the arrays differ in shape, a patch does not fit, or no label counts.
    """

    def __init__(
        self,
        amplitude: Floats,
        label: Floats,
        weight: Floats,
        *,
        patch: tuple[int, int],
        batch_size: int,
        n_batches: int,
        seed: int,
        augmentation: Augmentation,
        changes: SurveyChanges,
        source: PatchBatches | None = None,
    ) -> None:
        self.stack = np.stack([amplitude, label, weight], axis=1).astype(np.float32)
        if any(size > limit for size, limit in zip(patch, self.stack.shape[2:], strict=True)):
            raise ValueError(
                f"Invalid patch {patch} for sections of {self.stack.shape[2:]}. Must fit."
            )
        if not self.stack[:, 2].any():
            raise ValueError("Invalid weight without a label that counts. Must have some.")
        self.patch, self.seed, self.source = patch, check_count("seed", seed, low=0), source
        self.batch_size = check_count("batch_size", batch_size)
        self.n_batches = check_count("n_batches", n_batches)
        self.augmentation, self.changes = augmentation, changes
        self._counting = np.argwhere(self.stack[:, 2] > 0)  # (n, 3): section, row, column

    def __len__(self) -> int:
        return self.n_batches

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """
        Yield the batches of an epoch.

        Yields
        ------
        images : float32 Tensor of shape (B, 1, H, W)
            Z-scored patches.
        targets : float32 Tensor of shape (B, 2, H, W)
            Labels, and their weights.
        """
        beside = None if self.source is None else self.source.epoch(number)
        for index in range(self.n_batches):
            rng = np.random.default_rng((self.seed, number, index + 1, 1))
            images, targets = self._draw(rng)
            images, targets = self.augmentation.apply(zscore(images), targets, rng)
            images = zscore(self.changes.apply(zscore(images), rng))
            pair = torch.from_numpy(images), torch.from_numpy(targets)
            if beside is not None:
                known = next(beside)
                certain = torch.cat([known[1], torch.ones_like(known[1])], dim=1)
                pair = torch.cat([pair[0], known[0]]), torch.cat([pair[1], certain])
            yield pair

    def _draw(self, rng: np.random.Generator) -> tuple[Floats, Floats]:
        """Windows about samples whose labels count, resampled to the size of a patch."""
        chosen = self._counting[rng.integers(len(self._counting), size=self.batch_size)]
        sizes = self.changes.draw_sizes(self.patch, self.batch_size, rng)
        limits = np.array(self.stack.shape[2:])
        sizes = np.minimum(sizes, limits)
        shift = rng.uniform(-0.5, 0.5, sizes.shape) * sizes
        corners = (chosen[:, 1:] - sizes / 2 + shift).round().astype(int)
        corners = np.clip(corners, 0, limits - sizes)
        found = np.empty((self.batch_size, 3, *self.patch), np.float32)
        for index, ((top, left), (height, width)) in enumerate(zip(corners, sizes, strict=True)):
            window = self.stack[chosen[index, 0], :, top : top + height, left : left + width]
            found[index] = F.interpolate(
                torch.from_numpy(window)[None], size=self.patch, mode="bilinear", antialias=True
            )[0]
        found[:, 2] = found[:, 2] > 0.5
        return found[:, :1], found[:, 1:]
