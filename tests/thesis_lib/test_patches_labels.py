"""Tests of patches with labels, and of batches of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from thesis_lib.patches import Augmentation, LabelBatches, LabelledPatches


def make_patches(n=10, *, seed=0, masks=True) -> LabelledPatches:
    """Patches of noise around 3, with three classes in turn."""
    rng = np.random.default_rng(seed)
    images = 3 + rng.standard_normal((n, 5, 6)).astype(np.float32)
    known = rng.random((n, 5, 6)) < 0.3 if masks else None
    return LabelledPatches(images, np.arange(n) % 3, ("a", "b", "c"), known)


@pytest.mark.parametrize("rows", [[4, 1], slice(2, 5), np.arange(10) % 2 == 0])
def test_the_hash_is_that_of_the_content(rows):
    """Equal patches have equal hashes, and every part counts; rows are taken of all parts."""
    patches = make_patches()
    taken = patches.take(rows)
    changed = [
        replace(patches, images=patches.images + 1),
        replace(patches, labels=patches.labels[::-1]),
        replace(patches, classes=("a", "b", "d")),
        replace(patches, masks=~patches.masks),
        replace(patches, masks=None),
        taken,
    ]
    assert len({other.content_hash for other in [patches, *changed]}) == 7
    assert make_patches().content_hash == patches.content_hash
    np.testing.assert_array_equal(taken.images, patches.images[rows])
    np.testing.assert_array_equal(taken.labels, patches.labels[rows])
    np.testing.assert_array_equal(taken.fractions, patches.masks[rows].mean((1, 2)))
    assert make_patches(masks=False).take(rows).fractions is None


@pytest.mark.parametrize("augmentation", [None, Augmentation(flip=1.0, gain_db=0.0, noise=0.0)])
def test_an_epoch_holds_each_patch_with_its_label(augmentation):
    """Shuffled, standardised and mirrored patches keep their labels."""
    patches = make_patches()
    batches = LabelBatches(patches, batch_size=4, seed=0, augmentation=augmentation)
    images, labels = map(torch.cat, zip(*batches.epoch(0), strict=True))
    assert len(batches) == 3
    assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
    expected = patches.tensors() if augmentation is None else patches.tensors().flip(-1)
    distance = (images[:, None] - expected).abs().amax((2, 3, 4))  # (10, 10)
    position = distance.argmin(1)
    assert sorted(position.tolist()) == list(range(10))
    assert distance.amin(1).max() < 1e-5
    assert labels.tolist() == patches.labels[position].tolist()
    other = LabelBatches(patches, batch_size=4, seed=1, n_patches=6, augmentation=augmentation)
    assert other.n_patches == 6
    assert not torch.equal(next(other.epoch(0))[0], images[:3])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": np.zeros((10, 5))}, ValueError, r"shape \(10, 5\)\. Must be \(n, H, W"),
        ({"images": np.zeros((0, 5, 6))}, ValueError, r"Invalid images of shape \(0, 5, 6\)"),
        ({"images": np.full((10, 5, 6), np.nan)}, ValueError, "Invalid images with NaN"),
        ({"labels": np.arange(9) % 3}, ValueError, r"labels \(9,\), images \(10,\)"),
        ({"labels": np.arange(10)}, ValueError, r"labels from 0 to 9\. Must be from 0 to 2\."),
        ({"labels": np.arange(10) - 8}, ValueError, "Invalid labels from -8 to 1"),
        ({"labels": np.zeros(10)}, TypeError, r"labels of type float64\. Must be whole numbers"),
        ({"masks": np.zeros((10, 5, 5), bool)}, ValueError, r"masks \(10, 5, 5\)"),
        ({"masks": np.zeros((10, 5, 6))}, TypeError, r"masks of type float64\. Must be boolean"),
        ({"classes": ("a", "b", "b")}, ValueError, "Must be distinct, at least two"),
        ({"classes": ("a",)}, ValueError, "Must be distinct, at least two"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, error, message):
    """Shapes, types, labels and classes have to fit one another."""
    with pytest.raises(error, match=message):
        replace(make_patches(), **changes)
