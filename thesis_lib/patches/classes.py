"""Labelled patches to train and to test a classifier on: of volumes, of earths, of LANDMASS."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from saltearth import PRESETS, make_class_patches
from saltvolumes import open_landmass, split_blocks
from saltvolumes._checks import check_choice, check_count, check_range, check_sizes
from saltvolumes.landmass import SHAPES
from thesis_lib.patches.batches import PatchBatches, salt_labels
from thesis_lib.patches.labels import LabelledPatches
from thesis_lib.patches.volumes import Data, Volumes
from thesis_lib.patching import check_axes, check_patches

_AT_ONCE = 256  # images that are compared with all others


@dataclass(frozen=True)
class SaltPatches:
    """
    Patches of volumes in the classes "background" and "salt".

    Parameters
    ----------
    data : Earths or Survey
        Volumes that they are cut from.
    patch, stride, axes
        As in :class:`thesis_lib.patches.PatchBatches`.
    threshold : float
        Fraction of salt above which a patch is salt, in [0, 1].
    n_train, n_test : int
        Patches from the training volumes of each seed, and from its test volumes.
    n_earths : int
        Number of unseen earths of each seed.

    Raises
    ------
    TypeError, ValueError
        If an axis is unknown, a number not a whole one above 0, or the threshold out of range; on
        cutting, if there are fewer patches than asked for.
    """

    data: Data
    patch: tuple[int, int]
    stride: tuple[int, int]
    axes: tuple[str, ...]
    threshold: float = 0.2
    n_train: int = 1024
    n_test: int = 512
    n_earths: int = 1

    def __post_init__(self) -> None:
        check_axes(self.axes)
        check_patches(self.patch, self.stride)
        check_range("threshold", self.threshold, low=0, high=1)
        for name in ("n_train", "n_test", "n_earths"):
            check_count(name, getattr(self, name))

    def train(self, seed: int) -> LabelledPatches:
        """Patches to train on."""
        return self._cut(self.data.train(seed), self.n_train, seed)

    def test(self, seed: int) -> LabelledPatches:
        """Unseen patches."""
        return self._cut(self.data.test(seed, self.n_earths), self.n_test, seed)

    def validation(self, seed: int) -> LabelledPatches | None:
        """Patches of the watched volume, as many as there are up to ``n_test``; None without it."""
        volume = self.data.validation(seed)
        return None if volume is None else self._cut((volume,), None, seed)

    def _cut(self, volumes: Volumes, n_patches: int | None, seed: int) -> LabelledPatches:
        """Patches as recorded, those of the first epoch of a training, none twice."""
        how: dict[str, Any] = {"patch": self.patch, "stride": self.stride, "axes": self.axes}
        batches = PatchBatches(volumes, **how, batch_size=1, seed=seed, n_patches=n_patches)
        check_count("n_patches", batches.n_patches, high=batches.n_rows)
        rows = batches.draw(0)[: self.n_test if n_patches is None else n_patches]
        images, masks = (array[:, 0] for array in batches.read(rows))
        labels = salt_labels(masks, threshold=self.threshold).astype(np.int64)
        return LabelledPatches(images, labels, ("background", "salt"), masks > 0)


@dataclass(frozen=True)
class EarthClasses:
    """
    Patches of synthetic earths in the four classes of LANDMASS.

    Parameters
    ----------
    preset, shape, patch, n_per_class
        As in :func:`saltearth.make_class_patches`.
    first : int
        Seed of the earths to train on; the next one is that of the test earths.

    Raises
    ------
    TypeError, ValueError
        If the preset is unknown, or a number is not a whole one in its range.
    """

    preset: str
    shape: tuple[int, int, int]
    patch: int
    n_per_class: int
    first: int = 0

    def __post_init__(self) -> None:
        check_choice("preset", self.preset, tuple(PRESETS))
        object.__setattr__(self, "shape", check_sizes("shape", self.shape, 3))
        for name, low in (("patch", 1), ("n_per_class", 1), ("first", 0)):
            check_count(name, getattr(self, name), low=low)

    def train(self, seed: int) -> LabelledPatches:  # noqa: ARG002
        """Patches to train on."""
        return _make_classes(self, self.first)

    def test(self, seed: int) -> LabelledPatches:  # noqa: ARG002
        """Patches of other earths."""
        return _make_classes(self, self.first + 1)

    def validation(self, seed: int) -> None:
        """No patches: nothing is chosen by them."""


@lru_cache(maxsize=2)  # those to train and to test on: every network asks for both
def _make_classes(source: EarthClasses, seed: int) -> LabelledPatches:
    how: dict[str, Any] = {"preset": source.preset, "shape": source.shape, "patch": source.patch}
    return LabelledPatches(*make_class_patches(**how, n_per_class=source.n_per_class, seed=seed))


@dataclass(frozen=True)
class LandmassBlock:
    """
    LANDMASS with one block of indices to test on.

    Parameters
    ----------
    root, release
        As in :func:`saltvolumes.open_landmass`.
    block, n_dropped
        As in :func:`saltvolumes.split_blocks`: neighbours are nearly the same images.
    max_correlation : float
        Images to train on that correlate more with one to test on are left out as well.

    Raises
    ------
    TypeError, ValueError
        If the release is unknown, a number is not a whole one of 0 or more, or the correlation
        does not lie in [-1, 1].
    """

    root: str
    release: int = 1
    block: int = 0
    n_dropped: int = 40
    max_correlation: float = 0.4

    def __post_init__(self) -> None:
        check_choice("release", self.release, SHAPES)
        check_count("block", self.block, low=0)
        check_count("n_dropped", self.n_dropped, low=0)
        check_range("max_correlation", self.max_correlation, low=-1, high=1)

    def identify(self) -> dict[str, Any]:
        """What the key of a task covers: content in place of the path."""
        content = _read_landmass(self.root, self.release)[0].content_hash
        return {"content": content, "block": [self.block, self.n_dropped, self.max_correlation]}

    def train(self, seed: int) -> LabelledPatches:  # noqa: ARG002
        """Images outside the block that are neither near it nor like one of it."""
        images, others = self._split()
        return images.take(find_likeness(images, others) <= self.max_correlation)

    def test(self, seed: int) -> LabelledPatches:  # noqa: ARG002
        """Images of the block."""
        return self._split()[1]

    def validation(self, seed: int) -> None:
        """No images: nothing is chosen by them."""

    def _split(self) -> tuple[LabelledPatches, LabelledPatches]:
        images, numbers = _read_landmass(self.root, self.release)
        train, test = split_blocks(
            images.labels, block=self.block, numbers=numbers, n_dropped=self.n_dropped
        )
        return images.take(train), images.take(test)


def find_likeness(patches: LabelledPatches, others: LabelledPatches) -> NDArray[np.float32]:
    """Largest correlation of each patch with one of others, (n,) in [-1, 1]."""
    these, those = (part.tensors().flatten(1) for part in (patches, others))
    largest = [(these @ part.T).amax(dim=1) for part in torch.split(those, _AT_ONCE)]
    found: NDArray[np.float32] = (torch.stack(largest).amax(dim=0) / these.shape[1]).numpy()
    return found


PatchSource = SaltPatches | EarthClasses | LandmassBlock


@lru_cache(maxsize=1)
def _read_landmass(root: str, release: int) -> tuple[LabelledPatches, NDArray[np.int64]]:
    images, labels, classes, numbers = open_landmass(root, release=release)
    return LabelledPatches(images, labels, classes), numbers
