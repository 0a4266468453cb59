"""Labelled patches to train and to test on share nothing, and keys know them by content."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from thesis_lib.patches import EarthClasses, Earths, LandmassBlock, PatchBatches, SaltPatches
from thesis_lib.patches.classes import find_likeness
from thesis_lib.study.tasks import _identify


def test_patches_come_from_the_volumes():
    """Training patches are those of a seed, test ones the same for all; labels by the fraction."""
    data = Earths({"gulf": (20.0,)}, shape=(16, 32, 32))
    source = SaltPatches(data, (16, 16), (8, 8), ("inline",), 0.3, n_train=60, n_test=30)
    train, test = source.train(0), source.test(0)
    assert (len(train), len(test), train.images.shape[1:]) == (60, 30, (16, 16))
    assert train.content_hash != source.train(1).content_hash
    assert test.content_hash == source.test(0).content_hash
    np.testing.assert_array_equal(train.labels, train.fractions > 0.3)
    assert np.isin(test.images, data.test(0, 1)[0]["amplitude"]).all()
    cut = {"patch": 16, "stride": 8, "axes": ("inline",), "batch_size": 60, "n_patches": 60}
    images, masks = next(PatchBatches(data.train(0), **cut, seed=0).epoch(0))
    assert torch.equal(train.tensors(), images)  # as any training sees them
    np.testing.assert_array_equal(train.masks, masks[:, 0].bool())
    with pytest.raises(ValueError, match=r"Invalid n_patches 999\. Must be from 1 to 144\."):
        replace(source, n_test=999).test(0)  # some would be cut twice


def test_thresholds_are_chosen_on_the_watched_earth():
    """Validation patches are of the watched earth, as many as there are; none without it."""
    data = Earths({"gulf": (20.0,)}, shape=(16, 32, 32))
    source = SaltPatches(data, (16, 16), (8, 8), ("inline",), n_test=30)
    watched = source.validation(0)
    assert len(watched) == 30
    assert np.isin(watched.images, data.validation(0)["amplitude"]).all()
    assert len(replace(source, n_test=999).validation(0)) == 144
    assert replace(source, data=replace(data, watched=False)).validation(0) is None
    assert EARTHS.validation(0) is BLOCK.validation(0) is None


def test_classes_of_earths_are_tested_on_other_earths():
    """Training and test patches of the four classes share no earth."""
    source = EarthClasses("gulf", (16, 48, 96), patch=24, n_per_class=3)
    train, test = source.train(0), source.test(0)
    assert np.bincount(train.labels).tolist() == np.bincount(test.labels).tolist() == [3] * 4
    assert np.isin(test.images, train.images).mean() < 0.01  # by chance


SALT = SaltPatches(Earths({"gulf": (20.0,)}), (16, 16), (8, 8), ("inline",))
EARTHS = EarthClasses("gulf", (16, 48, 96), patch=24, n_per_class=3)
BLOCK = LandmassBlock("nowhere")


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        (SALT, {"threshold": 1.5}, "Invalid threshold 1.5"),
        (SALT, {"n_test": 0}, "Invalid n_test 0"),
        (SALT, {"axes": ("depth",)}, "Invalid axis 'depth'"),
        (SALT, {"stride": (17, 8)}, "Stride .* is larger than the patch"),
        (EARTHS, {"preset": "mars"}, "Invalid preset 'mars'"),
        (EARTHS, {"shape": (16, 48)}, "Must have one number for each of the 3 axes"),
        (EARTHS, {"shape": (16, 48, 0)}, "Invalid shape 0"),
        (EARTHS, {"n_per_class": 0}, "Invalid n_per_class 0"),
        (BLOCK, {"release": 3}, "Invalid release 3"),
        (BLOCK, {"block": -1}, "Invalid block -1"),
        (BLOCK, {"n_dropped": -1}, "Invalid n_dropped -1"),
        (BLOCK, {"max_correlation": 2}, "Invalid max_correlation 2"),
    ],
)
def test_bad_settings_are_refused_at_once(source, changes, message):
    """What only cutting patches would notice is checked when the source is made."""
    with pytest.raises(ValueError, match=message):
        replace(source, **changes)


@pytest.mark.real_data
def test_block_of_landmass_is_held_out(real_data):
    """A block is tested on, its neighbours and what is like it dropped, and content is the key."""
    block = LandmassBlock(str(real_data / "landmass_layout"), block=1, n_dropped=20)
    train, test = block.train(0), block.test(0)
    assert np.bincount(test.labels).tolist() == [40] * 4
    apart = replace(block, max_correlation=1.0).train(0)
    assert len(apart) == 800 - 4 * (40 + 2 * 20)
    assert len(train) < len(apart)
    assert find_likeness(train, test).max() <= 0.4
    assert _identify(block) != _identify(replace(block, block=2))
    assert _identify(block) != _identify(replace(block, max_correlation=0.5))
    assert "landmass_layout" not in str(_identify(block))
