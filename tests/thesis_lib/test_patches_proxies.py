"""Tests of patches of sections that are labelled in part."""

import numpy as np
import pytest
import torch
from noise import make_volume

from thesis_lib.patches import Augmentation, PatchBatches, ProxyBatches, SurveyChanges

PLAIN = Augmentation(flip=0.0, gain_db=0.0, noise=0.0)
CUT = {"patch": (8, 6), "batch_size": 4, "n_batches": 3, "seed": 5, "augmentation": PLAIN}


def make_sections():
    """Amplitude, label and weight (2, 20, 24): labels are a threshold, known in one section."""
    amplitude = np.random.default_rng(0).standard_normal((2, 20, 24)).astype(np.float32)
    label = (amplitude > 0.5).astype(np.float32)
    weight = np.zeros_like(amplitude)
    weight[1] = 1
    return amplitude, label, weight


def gather(batches, number=0):
    """All images and targets of an epoch."""
    images, targets = zip(*batches.epoch(number), strict=True)
    return torch.cat(images).numpy(), torch.cat(targets).numpy()


def test_labels_lie_on_the_amplitudes_that_count():
    """Patches come from the labelled section, with its labels and weights upon them."""
    batches = ProxyBatches(*make_sections(), **CUT, changes=SurveyChanges())
    images, targets = gather(batches)
    assert images.shape == (12, 1, 8, 6)
    assert targets.shape == (12, 2, 8, 6)
    assert (targets[:, 1] == 1).all()
    for image, target in zip(images[:, 0], targets[:, 0], strict=True):
        inside, outside = image[target == 1], image[target == 0]
        assert inside.min(initial=np.inf) > outside.max(initial=-np.inf)


def test_an_epoch_repeats_itself_and_no_other():
    """The same number gives the same patches."""
    changes = SurveyChanges(zoom=(2 / 3, 1.5), plane_noise=0.3)
    batches = ProxyBatches(*make_sections(), **CUT, changes=changes)
    first, other, again = (gather(batches, number)[0] for number in (0, 1, 0))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_patches_of_the_source_come_with_certain_labels():
    """Each batch ends with a batch of the source, all of whose labels count."""
    source = PatchBatches(
        make_volume((6, 20, 24)), patch=(8, 6), stride=4, batch_size=4, seed=0, n_patches=12
    )
    batches = ProxyBatches(*make_sections(), **CUT, changes=SurveyChanges(), source=source)
    for (images, targets), (expected, masks) in zip(batches.epoch(0), source.epoch(0), strict=True):
        assert torch.equal(images[4:], expected)
        assert torch.equal(targets[4:, :1], masks)
        assert (targets[4:, 1] == 1).all()


@pytest.mark.parametrize(
    ("weight", "patch", "message"),
    [(0.0, (8, 6), "without a label that counts"), (1.0, (8, 25), r"Invalid patch \(8, 25\)")],
)
def test_sections_that_give_no_patch_are_refused(weight, patch, message):
    """Something has to count, and a patch has to fit."""
    amplitude, label, _ = make_sections()
    with pytest.raises(ValueError, match=message):
        ProxyBatches(
            amplitude,
            label,
            np.full_like(label, weight),
            **{**CUT, "patch": patch},
            changes=SurveyChanges(),
        )
