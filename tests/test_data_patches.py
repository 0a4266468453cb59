"""Tests of the patches that training draws."""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr

from thesis_lib._volume import build_volume
from thesis_lib.data import Augmentation, PatchBatches, patches, salt_labels
from thesis_lib.patching import zscore

SHAPE = (7, 11, 16)
CUT = {"patch": 4, "stride": 3, "batch_size": 5, "seed": 0}


def make_volume(shape=SHAPE, *, seed=0, missing=()) -> xr.Dataset:
    """A volume of noise whose salt is where the amplitude is above 0.5."""
    amplitude = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    salt = amplitude > 0.5
    for inline, crossline in missing:
        amplitude[inline, crossline] = np.nan
    return build_volume(
        amplitude,
        inline=100 + np.arange(shape[0]),
        crossline=200 + np.arange(shape[1]),
        vertical=20.0 * np.arange(shape[2]),
        salt=salt,
        attrs={"source": "test"},
    )


def gather(batches: PatchBatches, number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """All patches of an epoch."""
    images, targets = zip(*batches.epoch(number), strict=True)
    return torch.cat(images), torch.cat(targets)


def as_rows(array) -> set[bytes]:
    """Each patch as bytes, so that sets of patches can be compared."""
    return {np.ascontiguousarray(patch, dtype=np.float32).tobytes() for patch in array}


def cut_all(volume: xr.Dataset, axis: str, size: int, tops, lefts) -> np.ndarray:
    """Every patch (n, H, W) of the sections along an axis, one slice after the other."""
    lateral = {"inline": "crossline", "crossline": "inline"}[axis]
    sections = volume.amplitude.transpose(axis, "depth", lateral).values
    return np.stack(
        [
            section[top : top + size, left : left + size]
            for section, top, left in itertools.product(sections, tops, lefts)
        ]
    )


def test_an_epoch_holds_every_patch_of_both_directions_once():
    """The patches of an epoch are the z-scored windows of all sections, depth downward."""
    volume = make_volume()
    tops = (0, 3, 6, 9, 12)
    inline = cut_all(volume, "inline", 4, tops, (0, 3, 6, 7))
    crossline = cut_all(volume, "crossline", 4, tops, (0, 3))
    expected = zscore(np.concatenate([inline, crossline]))
    images, targets = gather(PatchBatches(volume, **CUT))
    assert images.shape == (len(expected), 1, 4, 4)
    assert images.dtype == targets.dtype == torch.float32
    assert as_rows(images[:, 0]) == as_rows(expected)


def test_targets_lie_on_their_images():
    """Where salt is a threshold on the amplitude, it is one on each patch too."""
    images, targets = gather(PatchBatches(make_volume(), **CUT))
    for image, target in zip(images.numpy(), targets.numpy(), strict=True):
        inside, outside = image[target == 1], image[target == 0]
        assert inside.min(initial=np.inf) > outside.max(initial=-np.inf)


@pytest.mark.parametrize(("n_patches", "sizes"), [(10, [5, 5]), (11, [4, 4, 3]), (13, [5, 4, 4])])
def test_batches_are_nearly_equal(n_patches, sizes):
    """No batch has more than batch_size patches, and none is left with a single one."""
    batches = PatchBatches(make_volume(), **CUT, n_patches=n_patches)
    assert [len(images) for images, _ in batches.epoch(0)] == sizes
    assert len(batches) == len(sizes)


def test_whole_numbers_of_numpy_are_sizes():
    """A patch given as a numpy integer is square."""
    images, _ = gather(PatchBatches(make_volume(), **{**CUT, "patch": np.int64(4)}))
    assert images.shape[1:] == (1, 4, 4)


def test_every_patch_is_drawn_before_one_is_drawn_again():
    """Asked for twice as many patches as there are, an epoch holds each one twice."""
    once = PatchBatches(make_volume(), **CUT)
    twice = PatchBatches(make_volume(), **CUT, n_patches=2 * once.n_patches)
    images, _ = gather(twice)
    first, second = images[: once.n_patches], images[once.n_patches :]
    assert as_rows(first) == as_rows(second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("augmentation", [None, Augmentation(polarity=0.5)])
def test_an_epoch_depends_on_seed_and_number_only(augmentation):
    """A new object, whatever epoch it starts with, gives the same batches."""

    def make(seed):
        cut = {**CUT, "seed": seed}
        return PatchBatches(make_volume(), **cut, augmentation=augmentation)

    fresh, used = make(1), make(1)
    gather(used, 0)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    images, targets = gather(used, 3)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert torch.equal(images, gather(fresh, 3)[0])
    assert torch.equal(targets, gather(fresh, 3)[1])
    assert not torch.equal(images, gather(fresh, 4)[0])
    assert not torch.equal(images, gather(make(2), 3)[0])


def test_large_volumes_are_read_patch_by_patch_and_give_the_same(monkeypatch):
    """Held in memory or not, the batches are equal."""
    held = gather(PatchBatches(make_volume(), **CUT))
    monkeypatch.setattr(patches, "IN_MEMORY_BYTES", 0)
    read = gather(PatchBatches(make_volume(), **CUT))
    assert torch.equal(held[0], read[0])
    assert torch.equal(held[1], read[1])


def test_several_volumes_are_mixed():
    """The patches of two volumes are those of the one and those of the other."""
    volumes = [make_volume(), make_volume((4, 5, 6), seed=1)]
    both = PatchBatches(volumes, **CUT)
    apart = [as_rows(gather(PatchBatches(volume, **CUT))[0]) for volume in volumes]
    assert as_rows(gather(both)[0]) == apart[0] | apart[1]
    assert both.n_patches == len(apart[0]) + len(apart[1])


def test_windows_that_touch_a_missing_trace_are_left_out():
    """What remains are the patches without NaN, in both directions."""
    missing = [(2, 5), (6, 0)]
    volume = make_volume(missing=missing)
    tops = (0, 3, 6, 9, 12)
    cut = [
        cut_all(volume, "inline", 4, tops, (0, 3, 6, 7)),
        cut_all(volume, "crossline", 4, tops, (0, 3)),
    ]
    whole = np.concatenate(cut)
    whole = whole[np.isfinite(whole).all(axis=(1, 2))]
    images, _ = gather(PatchBatches(volume, **CUT))
    assert as_rows(images[:, 0]) == as_rows(zscore(whole))


def test_single_crosslines_are_sections_of_their_own():
    """Four lines can be cut along their own direction, however few they are."""
    volume = make_volume((16, 4, 16))
    batches = PatchBatches(volume, **{**CUT, "patch": 8}, axes=("crossline",))
    assert batches.n_patches == 4 * 4 * 4


@pytest.mark.parametrize(
    ("shape", "axis", "given"),
    [((16, 4, 16), "inline", r"\(16, 4\) \(depth, crossline\)"), ((16, 16, 5), "inline", "5, 16")],
)
def test_patches_larger_than_sections_are_refused_by_axis(shape, axis, given):
    """The error names the direction and the shape of its sections."""
    with pytest.raises(ValueError, match=rf"patch \(8, 8\) for sections along {axis} .*{given}"):
        PatchBatches(make_volume(shape), **{**CUT, "patch": 8})


def test_volumes_without_a_whole_patch_are_refused():
    """A missing trace in every window leaves nothing to draw."""
    volume = make_volume((4, 4, 4), missing=[(i, i) for i in range(4)])
    with pytest.raises(ValueError, match="No patch without a missing trace"):
        PatchBatches(volume, **CUT)


def test_nothing_to_cut_is_refused():
    """A list without volumes and a block without lines are told apart from missing traces."""
    with pytest.raises(ValueError, match="Invalid volumes: none given"):
        PatchBatches([], **CUT)
    with pytest.raises(ValueError, match=r"Invalid empty volume of sizes .*'inline': 0"):
        PatchBatches(make_volume().isel(inline=slice(0)), **CUT)


def test_volumes_without_mask_are_refused():
    """Training needs targets."""
    with pytest.raises(ValueError, match="without salt mask"):
        PatchBatches(make_volume().drop_vars("salt"), **CUT)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"axes": ("depth",)}, "Invalid axis 'depth'"),
        ({"axes": ()}, r"Invalid axes \(\). Must be one or two different"),
        ({"axes": ("inline", "inline")}, r"Invalid axes \('inline', 'inline'\)"),
        ({"batch_size": 0}, "Invalid batch_size 0"),
        ({"seed": -1}, "Invalid seed -1"),
        ({"n_patches": 0}, "Invalid n_patches 0"),
    ],
)
def test_arguments_out_of_range_are_refused(wrong, message):
    """Each argument says what it allows."""
    with pytest.raises(ValueError, match=message):
        PatchBatches(make_volume(), **{**CUT, **wrong})


def test_negative_epochs_are_refused():
    """Epochs are counted from 0."""
    with pytest.raises(ValueError, match="Invalid number -1"):
        next(PatchBatches(make_volume(), **CUT).epoch(-1))


NOTHING = {"flip": 0.0, "polarity": 0.0, "gain_db": 0.0, "noise": 0.0}


def augment(seed: int = 0, n: int = 64, **levels: float) -> tuple[np.ndarray, ...]:
    """Random z-scored patches (n, 1, 8, 6) with masks, before and after."""
    images = zscore(np.random.default_rng(9).standard_normal((n, 1, 8, 6)).astype(np.float32))
    targets = (images > 0).astype(np.float32)
    changed = Augmentation(**{**NOTHING, **levels}).apply(
        images, targets, np.random.default_rng(seed)
    )
    return images, targets, *changed


def test_augmentation_at_level_zero_changes_nothing():
    """Without probabilities and levels, patches stay as they are."""
    images, targets, new_images, new_targets = augment()
    assert (new_images == images).all()
    assert (new_targets == targets).all()


def test_flips_mirror_image_and_mask_along_the_lateral_axis():
    """With probability 1 every patch and its mask are mirrored, and depth stays downward."""
    images, targets, new_images, new_targets = augment(flip=1.0)
    assert (new_images == images[..., ::-1]).all()
    assert (new_targets == targets[..., ::-1]).all()


def test_flips_are_drawn_patch_by_patch():
    """With probability 0.5 about half of the patches are mirrored, mask and image together."""
    images, targets, new_images, new_targets = augment(flip=0.5, n=400)
    same = (new_images == images).all(axis=(1, 2, 3))
    assert (same == (new_targets == targets).all(axis=(1, 2, 3))).all()
    assert 150 < same.sum() < 250


def test_polarity_changes_the_sign_of_the_image_alone():
    """With probability 1 the amplitudes change sign and the mask stays."""
    images, targets, new_images, new_targets = augment(polarity=1.0)
    assert (new_images == -images).all()
    assert (new_targets == targets).all()


def test_gain_is_a_ramp_in_decibels_along_depth():
    """The logarithm of the gain is linear in depth, 0 at the middle, within its bounds."""
    images, _, new_images, _ = augment(gain_db=6.0)
    gain_db = 20 * np.log10((new_images / images).astype(np.float64))
    assert np.allclose(gain_db, gain_db[..., :1], atol=1e-4)
    profile = gain_db[:, 0, :, 0]
    assert np.allclose(np.diff(profile, n=2, axis=1), 0, atol=1e-4)
    assert np.allclose(profile.mean(axis=1), 0, atol=1e-4)
    change_db = profile[:, -1] - profile[:, 0]
    assert np.abs(change_db).max() <= 6.0 + 1e-4
    assert np.ptp(change_db) > 6.0


def test_noise_is_bounded_by_its_level():
    """What is added has mean 0 and a standard deviation of at most the level."""
    images, targets, new_images, new_targets = augment(noise=0.2, n=400)
    added = new_images - images
    assert abs(added.mean()) < 0.01
    spread = added.std(axis=(1, 2, 3))
    assert spread.max() < 0.2 * 1.4
    assert abs(spread.mean() - 0.1) < 0.01
    assert (new_targets == targets).all()


def test_constant_patches_stay_constant():
    """Noise does not turn a patch without signal into one."""
    blank = np.zeros((3, 1, 8, 8), dtype=np.float32)
    images, _ = Augmentation(noise=1.0).apply(blank, blank, np.random.default_rng(0))
    assert (images == 0).all()


def test_augmentation_leaves_its_input_alone():
    """The arrays given are not changed."""
    images = np.ones((2, 1, 4, 4), dtype=np.float32)
    kept = images.copy()
    Augmentation(flip=1.0, polarity=1.0).apply(images, images, np.random.default_rng(0))
    assert (images == kept).all()


def test_augmented_batches_are_standardised_again():
    """Gain and noise leave mean 0 and standard deviation 1."""
    images, _ = gather(PatchBatches(make_volume(), **CUT, augmentation=Augmentation()))
    assert torch.allclose(images.mean((1, 2, 3)), torch.zeros(len(images)), atol=1e-5)
    assert torch.allclose(images.std((1, 2, 3), correction=0), torch.ones(len(images)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"), [("flip", 1.1), ("polarity", -0.1), ("gain_db", -1.0), ("noise", np.nan)]
)
def test_augmentation_refuses_levels_out_of_range(name, value):
    """Probabilities lie in [0, 1], levels are not negative."""
    with pytest.raises(ValueError, match=f"Invalid {name}"):
        Augmentation(**{name: value})


def test_labels_need_more_than_the_threshold():
    """Of 100 pixels 20 are not more than 20 %, 21 are."""
    masks = torch.zeros(3, 1, 10, 10)
    masks[1].view(-1)[:20] = 1
    masks[2].view(-1)[:21] = 1
    assert salt_labels(masks).tolist() == [False, False, True]
    assert salt_labels(masks.numpy() > 0, threshold=0.1).tolist() == [False, True, True]


@pytest.mark.parametrize("bad", [np.nan, 0.5, 4.0, -1.0])
def test_labels_need_masks(bad):
    """Labels of four classes, probabilities and NaN are no masks."""
    with pytest.raises(ValueError, match=f"Invalid masks with value {bad}. Must be 0 or 1"):
        salt_labels(np.full((2, 3, 3), bad))


def test_labels_of_no_patches_are_none():
    """No patch, no label."""
    assert salt_labels(np.ones((0, 4, 4))).shape == (0,)


def test_labels_refuse_a_threshold_that_is_no_share():
    """A threshold of 20 instead of 0.2 is an error."""
    with pytest.raises(ValueError, match="Invalid threshold 20"):
        salt_labels(np.ones((1, 2, 2)), threshold=20)
