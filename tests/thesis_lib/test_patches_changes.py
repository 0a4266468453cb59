"""Tests of the changes from survey to survey that patches are trained with."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from noise import make_volume

from thesis_lib.patches import Augmentation, ChangedBatches, PatchBatches, SurveyChanges
from thesis_lib.patches.changes import _filter_traces, _make_plane_waves
from thesis_lib.patching import zscore

SHAPE = (6, 40, 48)
CUT = {"patch": (16, 12), "stride": 8, "axes": ("inline",), "batch_size": 5, "seed": 3}
ALL = SurveyChanges(
    free=True,
    zoom=(0.5, 2.0),
    stretch=1.3,
    phase_deg=90.0,
    high_cut=0.5,
    low_cut=0.1,
    gain_walk_db=6.0,
    plane_noise=0.5,
)


def gather(batches: PatchBatches, number: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """All patches of an epoch."""
    images, targets = zip(*batches.epoch(number), strict=True)
    return torch.cat(images).numpy(), torch.cat(targets).numpy()


def make_waves(n_cycles: float, phase: float = 0.0) -> np.ndarray:
    """Traces of one frequency (2, 1, 64, 3)."""
    depth = np.arange(64) + 0.5
    trace = np.cos(np.pi * n_cycles * depth / 64 + phase)
    return np.broadcast_to(trace[:, None], (2, 1, 64, 3)).astype(np.float32)


def test_no_change_changes_nothing():
    """The default gives the patches of `PatchBatches` bit by bit."""
    volume, augmentation = make_volume(SHAPE), Augmentation()
    plain = gather(PatchBatches(volume, **CUT, augmentation=augmentation))
    found = gather(
        ChangedBatches(volume, **CUT, augmentation=augmentation, changes=SurveyChanges())
    )
    for array, expected in zip(found, plain, strict=True):
        assert np.array_equal(array, expected)


def test_an_epoch_repeats_itself_and_no_other():
    """The same number gives the same patches, whatever was drawn before; another number others."""
    batches = ChangedBatches(make_volume(SHAPE), **CUT, changes=ALL)
    first, other, again = (gather(batches, number)[0] for number in (0, 1, 0))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.isfinite(first).all()
    assert np.allclose(first.std(axis=(1, 2, 3)), 1, atol=1e-4)


def test_masks_move_with_the_amplitudes():
    """Free patches are windows of a section, amplitude and mask alike: salt is a threshold here."""
    batches = ChangedBatches(make_volume(SHAPE), **CUT, changes=SurveyChanges(free=True))
    images, targets = gather(batches)
    grid = {each.tobytes() for each in gather(PatchBatches(make_volume(SHAPE), **CUT))[0]}
    assert sum(each.tobytes() not in grid for each in images) > len(images) / 2
    for image, target in zip(images, targets, strict=True):
        inside, outside = image[target == 1], image[target == 0]
        assert inside.min(initial=np.inf) > outside.max(initial=-np.inf)


@pytest.mark.parametrize("zoom", [1.5, 4.0])
def test_zoom_scales_a_ramp(zoom):
    """The slope along depth of a patch, in recorded amplitudes, is divided by its enlargement."""
    volume = make_volume(SHAPE)
    volume["amplitude"] = volume["amplitude"] * 0 + np.arange(SHAPE[2], dtype=np.float32)
    batches = ChangedBatches(volume, **CUT, changes=SurveyChanges(zoom=(1 / zoom, zoom)))
    images, _ = batches._cut(batches.draw(0), np.random.default_rng(0))
    slopes = np.diff(images[:, 0, 4:-4], axis=1).mean(axis=(1, 2))
    assert slopes.min() >= 1 / zoom - 0.1
    assert slopes.max() <= zoom + 0.1
    assert slopes.max() / slopes.min() > 1.5


def test_a_window_with_a_missing_trace_is_not_used():
    """Where a zoomed window would touch missing traces, the patch of the grid stays."""
    volume = make_volume(SHAPE)
    volume["amplitude"] = volume["amplitude"].where(volume["crossline"] != volume["crossline"][20])
    images, _ = gather(ChangedBatches(volume, **CUT, changes=replace(ALL, zoom=(1 / 3, 3.0))))
    assert np.isfinite(images).all()


@pytest.mark.parametrize("n_cycles", [8, 20])
def test_phase_turns_a_cosine_into_a_sine(n_cycles):
    """A rotation by 90 degrees leaves a frequency its amplitude and turns its phase."""
    changes = SurveyChanges(phase_deg=90.0)
    seed = next(s for s in range(999) if abs(np.random.default_rng(s).uniform(-90, 90)) > 89)
    found = changes.apply(make_waves(n_cycles)[:1], np.random.default_rng(seed))[0, 0, 8:-8, 1]
    expected = make_waves(n_cycles, np.pi / 2)[0, 0, 8:-8, 1]
    assert np.abs(np.corrcoef(found, expected)[0, 1]) > 0.95
    assert np.abs(np.corrcoef(found, make_waves(n_cycles)[0, 0, 8:-8, 1])[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("n_cycles", "low", "high", "kept"),
    [(8, 0.0, 0.5, 1.0), (60, 0.0, 0.5, 0.0), (8, 0.3, 1.0, 0.0), (60, 0.3, 1.0, 1.0)],
)
def test_a_band_keeps_what_lies_in_it(n_cycles, low, high, kept):
    """Between the edges a wave passes whole, beyond them nothing does; edges are of Nyquist."""
    wave = make_waves(n_cycles)[:1]
    found = _filter_traces(wave, np.zeros(1), np.array([[low, high]]))
    assert found.std() / wave.std() == pytest.approx(kept, abs=1e-3)


def test_coherent_noise_lies_along_a_dip():
    """A plane wave is the same trace everywhere, shifted in proportion to the distance."""
    (wave,) = _make_plane_waves(1, 64, 32, np.random.default_rng(1))[:, 0]
    assert wave.std() == pytest.approx(1)
    lags = [np.argmax(np.correlate(wave[:, 16], wave[:, k], "full")) - 63 for k in (8, 16, 24)]
    assert lags[1] == 0
    assert abs(lags[0] + lags[2]) <= 1


def test_noise_leaves_a_constant_patch_alone():
    """Zeros stay zeros: there is nothing to scale noise by."""
    zeros = np.zeros((3, 1, 16, 12), np.float32)
    assert not ALL.apply(zeros, np.random.default_rng(0)).any()
    assert not zscore(zeros).any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"zoom": (0.0, 1.0)}, "Invalid zoom 0"),
        ({"zoom": (2.0, 0.5)}, r"Invalid zoom \(2.0, 0.5\)"),
        ({"stretch": 0.0}, "Invalid stretch 0"),
        ({"phase_deg": 200.0}, "Invalid phase_deg 200"),
        ({"high_cut": 0.0}, "Invalid high_cut 0"),
        ({"low_cut": 0.6}, "Invalid low_cut 0.6"),
        ({"low_cut": 0.4, "high_cut": 0.4}, "Invalid low_cut 0.4 for high_cut 0.4"),
        ({"gain_walk_db": -1.0}, "Invalid gain_walk_db -1"),
        ({"plane_noise": -0.1}, "Invalid plane_noise -0.1"),
    ],
)
def test_values_out_of_range_are_refused(values, message):
    """An error names the field and what is allowed."""
    with pytest.raises(ValueError, match=message):
        SurveyChanges(**values)
