"""Tests of the patches that training draws."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
from dask.callbacks import Callback
from noise import make_volume
from segy_files import make_cube, write_segy

from saltvolumes import open_volume, select_lines
from thesis_lib.patches import Augmentation, PatchBatches, salt_labels
from thesis_lib.patches import batches as patches
from thesis_lib.patching import zscore

SHAPE = (7, 11, 16)
CUT = {"patch": 4, "stride": 3, "batch_size": 5, "seed": 0}


def gather(batches: PatchBatches, number: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """All patches of an epoch."""
    images, targets = zip(*batches.epoch(number), strict=True)
    return torch.cat(images), torch.cat(targets)


def as_rows(array) -> set[bytes]:
    """Each patch as bytes, so that sets of patches can be compared."""
    return {np.ascontiguousarray(patch, dtype=np.float32).tobytes() for patch in array}


def cut_all(volume: xr.Dataset) -> np.ndarray:
    """Every patch (n, 4, 4) of the sections along both axes, one slice after the other."""
    inline = volume.amplitude.transpose("inline", "depth", "crossline").values
    crossline = volume.amplitude.transpose("crossline", "depth", "inline").values
    return np.stack(
        [
            section[top : top + 4, left : left + 4]
            for sections, lefts in ((inline, (0, 3, 6, 7)), (crossline, (0, 3)))
            for section, top, left in itertools.product(sections, (0, 3, 6, 9, 12), lefts)
        ]
    )


def test_an_epoch_holds_every_patch_of_both_directions_once():
    """Patches are the z-scored windows of all sections, depth downward, with masks upon them."""
    expected = zscore(cut_all(make_volume(SHAPE)))
    images, targets = gather(PatchBatches(make_volume(SHAPE), **{**CUT, "patch": np.int64(4)}))
    assert images.shape == (len(expected), 1, 4, 4)
    assert images.dtype == targets.dtype == torch.float32
    assert as_rows(images[:, 0]) == as_rows(expected)
    for image, target in zip(images.numpy(), targets.numpy(), strict=True):
        inside, outside = image[target == 1], image[target == 0]  # salt is a threshold
        assert inside.min(initial=np.inf) > outside.max(initial=-np.inf)


@pytest.mark.parametrize(("n_patches", "sizes"), [(10, [5, 5]), (11, [4, 4, 3]), (13, [5, 4, 4])])
def test_batches_are_nearly_equal(n_patches, sizes):
    """No batch has more than batch_size patches, and none is left with a single one."""
    batches = PatchBatches(make_volume(SHAPE), **CUT, n_patches=n_patches)
    assert [len(images) for images, _ in batches.epoch(0)] == sizes
    assert len(batches) == len(sizes)


def test_every_patch_is_drawn_before_one_is_drawn_again():
    """Asked for twice as many patches as there are, an epoch holds each one twice."""
    once = PatchBatches(make_volume(SHAPE), **CUT)
    twice = PatchBatches(make_volume(SHAPE), **CUT, n_patches=2 * once.n_patches)
    images, _ = gather(twice)
    first, second = images[: once.n_patches], images[once.n_patches :]
    assert as_rows(first) == as_rows(second)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("augmentation", [None, Augmentation(polarity=0.5)])
def test_an_epoch_depends_on_seed_and_number_only(augmentation):
    """A new object, whatever epoch it starts with, gives the same batches."""

    def make(seed):
        return PatchBatches(make_volume(SHAPE), **{**CUT, "seed": seed}, augmentation=augmentation)

    fresh, used = make(1), make(1)
    gather(used, 0)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    images, targets = gather(used, 3)
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert all(map(torch.equal, (images, targets), gather(fresh, 3)))
    assert not torch.equal(images, gather(fresh, 4)[0])
    assert not torch.equal(images, gather(make(2), 3)[0])
    with pytest.raises(ValueError, match="Invalid number -1"):
        next(fresh.epoch(-1))


@pytest.mark.parametrize("lazy", [False, True])
def test_large_volumes_are_read_patch_by_patch_and_give_the_same(monkeypatch, lazy):
    """Held in memory or not, as Dask arrays or not, the batches are equal."""
    volume = make_volume(SHAPE)
    held = gather(PatchBatches(volume, **CUT))
    monkeypatch.setattr(patches, "IN_MEMORY_BYTES", 0)
    read = gather(PatchBatches(volume.chunk(inline=3, depth=5) if lazy else volume, **CUT))
    assert all(map(torch.equal, held, read))


def test_only_windows_of_a_large_volume_are_read(monkeypatch):
    """Of a lazy volume that does not fit, a batch computes no more than the chunks it touches."""
    monkeypatch.setattr(patches, "IN_MEMORY_BYTES", 0)
    volume = make_volume(SHAPE).chunk(inline=1, depth=8)
    batches = PatchBatches(volume, **CUT, axes=("inline",))
    n_read = []
    with Callback(posttask=lambda _key, value, *_: n_read.append(getattr(value, "size", 0))):
        next(batches.epoch(0))
    assert 0 < max(n_read) <= 11 * 8


def test_several_volumes_are_mixed():
    """The patches of two volumes are those of the one and those of the other."""
    volumes = [make_volume(SHAPE), make_volume((4, 5, 6), seed=1)]
    both = PatchBatches(volumes, **CUT)
    apart = [as_rows(gather(PatchBatches(volume, **CUT))[0]) for volume in volumes]
    assert as_rows(gather(both)[0]) == apart[0] | apart[1]
    assert both.n_patches == len(apart[0]) + len(apart[1])


def test_windows_that_touch_a_missing_trace_are_left_out():
    """What remains are the patches without NaN, in both directions."""
    volume = make_volume(SHAPE, missing=[(2, 5), (6, 0)])
    cut = cut_all(volume)
    whole = cut[np.isfinite(cut).all(axis=(1, 2))]
    images, _ = gather(PatchBatches(volume, **CUT))
    assert as_rows(images[:, 0]) == as_rows(zscore(whole))


@pytest.mark.parametrize(
    ("volumes", "wrong", "message"),
    [
        (make_volume((40, 4, 40)), {"patch": 33}, r"\(33, 33\) .* inline .*\(40, 4\) \(depth, "),
        (
            make_volume((4, 4, 4), missing=[(i, i) for i in range(4)]),
            {},
            "No patch without a missing trace",
        ),
        ([], {}, "Invalid volumes: none given"),
        (make_volume(SHAPE).drop_vars("salt"), {}, "without salt mask"),
        (make_volume(SHAPE), {"batch_size": 0}, "Invalid batch_size 0"),
    ],
)
def test_volumes_and_settings_that_give_no_patch_are_refused(volumes, wrong, message):
    """Each error names the volume, direction or argument, and what is allowed."""
    with pytest.raises(ValueError, match=message):
        PatchBatches(volumes, **{**CUT, **wrong})


@pytest.mark.parametrize(("shape", "missing"), [((1, 20, 16), []), ((9, 9, 16), [(4, 4)])])
def test_patches_are_cut_from_files(path, shape, missing):
    """A single line and its mask give patches along it, and missing traces are left out."""
    cube, single = make_cube(*shape), shape[0] == 1
    lines = {"inlines": range(shape[0]), "crosslines": range(shape[1])}
    write_segy(path, cube, missing=missing, **lines)
    mask = write_segy(path.with_name("mask.sgy"), (cube > 50).astype(np.float32), **lines)
    volume = open_volume(path, mask=mask, single_line=single)
    batches = PatchBatches(volume, **{**CUT, "stride": 4}, axes=("inline",))
    assert batches.n_patches == 4 * (5 if single else 9 * 3 - 1)
    assert all(images.isfinite().all() for images, _ in batches.epoch(0))


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
def test_a_large_file_is_cut_into_patches_in_little_memory(repository):
    """A process that cuts a file of 400 MB holds its mask, once more while it loads it."""
    script = repository / "benchmarks" / "volume_memory.py"
    words = [sys.executable, script, "0.4"]
    run = subprocess.run(words, capture_output=True, check=True, text=True)
    file_mb, before_mb, peak_mb, _ = map(int, run.stdout.split())
    mask_mb = file_mb / 4  # a byte per sample, held once for each direction
    assert peak_mb - before_mb < 3 * mask_mb + 100


@pytest.mark.real_data
def test_f3_crosslines_are_leave_one_out_folds(real_data):
    """Four labelled crosslines give training patches of three, as crossline sections only."""
    dims = ("crossline", "time", "inline")
    reading = {"variable": "image", "mask": "label", "salt_label": 4, "spacing_m": (25.0, 25.0)}
    path = real_data / "f3_crosslines_4class.npz"
    volume = open_volume(path, dims=dims, sample_interval=4.0, **reading)
    assert dict(volume.sizes) == {"inline": 951, "crossline": 4, "time": 338}
    assert 0.05 < float(volume.salt.mean()) < 0.15
    cut = {"patch": 128, "stride": 64, "batch_size": 8, "seed": 0}
    training = select_lines(volume, "crossline", [61, 231, 281])
    batches = PatchBatches(training, **cut, axes=("crossline",))
    assert batches.n_patches == 3 * 5 * 14
    with pytest.raises(ValueError, match="sections along inline of shape"):
        PatchBatches(training, **cut)


NOTHING = {"flip": 0.0, "polarity": 0.0, "gain_db": 0.0, "noise": 0.0}


def augment(seed: int = 0, n: int = 64, **levels: float) -> tuple[np.ndarray, ...]:
    """Random z-scored patches (n, 1, 8, 6) with masks, before and after."""
    images = zscore(np.random.default_rng(9).standard_normal((n, 1, 8, 6)).astype(np.float32))
    targets = (images > 0).astype(np.float32)
    augmentation = Augmentation(**{**NOTHING, **levels})
    changed = augmentation.apply(images, targets, np.random.default_rng(seed))
    return images, targets, *changed


@pytest.mark.parametrize(
    ("levels", "change", "mirror"),
    [
        ({}, lambda images: images, lambda masks: masks),
        ({"flip": 1.0}, lambda images: images[..., ::-1], lambda masks: masks[..., ::-1]),
        ({"polarity": 1.0}, lambda images: -images, lambda masks: masks),
    ],
)
def test_certain_changes_are_exact(levels, change, mirror):
    """Nothing, a lateral mirror of image and mask, a change of the image's sign alone."""
    images, targets, new_images, new_targets = augment(**levels)
    assert (new_images == change(images)).all()
    assert (new_targets == mirror(targets)).all()


def test_flips_are_drawn_patch_by_patch():
    """With probability 0.5 about half of the patches are mirrored, mask and image together."""
    images, targets, new_images, new_targets = augment(flip=0.5, n=400)
    same = (new_images == images).all(axis=(1, 2, 3))
    assert (same == (new_targets == targets).all(axis=(1, 2, 3))).all()
    assert 150 < same.sum() < 250


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


def test_augmented_batches_are_standardised_again():
    """Gain and noise leave mean 0 and standard deviation 1, and a constant patch constant."""
    images, _ = gather(PatchBatches(make_volume(SHAPE), **CUT, augmentation=Augmentation()))
    assert torch.allclose(images.mean((1, 2, 3)), torch.zeros(len(images)), atol=1e-5)
    assert torch.allclose(images.std((1, 2, 3), correction=0), torch.ones(len(images)), atol=1e-5)
    blank = np.zeros((3, 1, 8, 8), dtype=np.float32)
    images, _ = Augmentation(noise=1.0).apply(blank, blank, np.random.default_rng(0))
    assert (images == 0).all()
    for name, value in {"flip": 1.1, "polarity": -0.1, "gain_db": -1.0, "noise": np.nan}.items():
        with pytest.raises(ValueError, match=f"Invalid {name}"):
            Augmentation.build({name: value})
    with pytest.raises(ValueError, match="Invalid field of the augmentation 'mask'"):
        Augmentation.build({"noise": 0.4, "mask": 1.0})


def test_labels_need_more_than_the_threshold():
    """Of 100 pixels 20 are not more than 20 %, 21 are; masks are 0 or 1, and 20 is not 20 %."""
    masks = torch.zeros(3, 1, 10, 10)
    masks[1].view(-1)[:20] = 1
    masks[2].view(-1)[:21] = 1
    assert salt_labels(masks).tolist() == [False, False, True]
    assert salt_labels(masks.numpy() > 0, threshold=0.1).tolist() == [False, True, True]
    assert salt_labels(masks[:0]).shape == (0,)
    for bad in (np.nan, 0.5, 4.0, -1.0):
        with pytest.raises(ValueError, match=f"Invalid masks with value {bad}. Must be 0 or 1"):
            salt_labels(np.full((2, 3, 3), bad))
    with pytest.raises(ValueError, match="Invalid threshold 20"):
        salt_labels(masks, threshold=20)
