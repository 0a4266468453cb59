"""Patches in four classes: what a class is, where patches come from, and what they share."""

import json

import numpy as np
import pytest
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view

from saltearth import classes, make_class_patches
from saltearth.classes import FIRST_EARTH, find_class
from saltearth.earth import Grid
from saltvolumes.landmass import CLASSES

TINY = {"preset": "gulf", "shape": (16, 48, 96), "patch": 24, "n_per_class": 3}


def draw_sections(**features):
    """One section of 32 by 32 that reflects everywhere, with the features given."""
    fields = {"salt": False, "throw": 0.0, "chaos": 0.0, "amplitude": 1.0} | features
    full = {name: np.broadcast_to(values, (1, 32, 32)) for name, values in fields.items()}
    dims = ("inline", "depth", "crossline")
    return xr.Dataset({name: (dims, np.array(values)) for name, values in full.items()})


def test_classes_are_balanced():
    """Each class has as many patches, of salt domes alone partly salt, and the same for a seed."""
    patches, again = (make_class_patches(**TINY, seed=0) for _ in range(2))
    assert patches.classes == CLASSES
    assert patches.labels.tolist() == sorted([0, 1, 2, 3] * 3)
    assert patches.images.shape == patches.masks.shape == (12, 24, 24)
    of_salt, filled = patches.labels == CLASSES.index("salt dome"), patches.masks.mean((1, 2))
    assert (filled[~of_salt] == 0).all()
    assert ((filled[of_salt] > 0.15) & (filled[of_salt] < 0.7)).all()
    assert np.array_equal(again.images, patches.images)
    assert np.array_equal(again.masks, patches.masks)
    other = make_class_patches(**TINY, seed=1)
    distance = np.abs(other.images[:, None] - patches.images[None]).max(axis=(2, 3))
    assert distance.min() > 0.1  # no patch of another seed is among them


def test_seeds_share_no_earth(monkeypatch):
    """Two seeds draw from different earths, none of which a study of losses can hold."""
    seen = []
    monkeypatch.setattr(classes, "_make_versions", lambda seed, *_: seen.append(seed))
    empty = {"chaotic": np.empty((0, 2, 24, 24), np.float32)}
    monkeypatch.setattr(classes, "_cut_earth", lambda *_: empty)
    for seed in (0, 1):
        with pytest.raises(
            ValueError,
            match=r"Found 0 of 3 patches of each class in 200 earths of shape \(16, 48, 96\); "
            r"most lack the class chaotic\. Must be larger earths",
        ):
            make_class_patches(**TINY, seed=seed)
    assert len(set(seen)) == len(seen) == 400
    assert min(seen) >= FIRST_EARTH


def test_versions_differ_in_their_feature_alone():
    """Versions of an earth share every number but those of their feature, and all of the salt."""
    grid = Grid(TINY["shape"], classes.SPACING_M)
    versions = [sections for sections, _ in classes._make_versions(0, "gulf", grid)]
    drawn = [json.loads(version.attrs["preset_values"]) for version in versions]
    differing = {name for name in drawn[0] if any(d[name] != drawn[0][name] for d in drawn)}
    assert differing == {"chaos", "faults", "throw"}
    for version in versions:
        np.testing.assert_array_equal(version["salt"], versions[0]["salt"])


@pytest.mark.parametrize(
    ("name", "field", "value", "part", "expected"),
    [
        ("chaotic", "chaos", 0.3, np.s_[:8], False),  # a quarter
        ("chaotic", "chaos", 0.3, np.s_[:9], True),
        ("chaotic", "chaos", 0.1, np.s_[:], False),  # too faint
        ("fault", "throw", 0.5, np.s_[:20, 16], True),
        ("fault", "throw", 0.5, np.s_[:19, 16], False),  # not on three fifths of the rows
        ("fault", "throw", 0.3, np.s_[:, 16], False),  # too faint
        ("fault", "throw", 0.5, np.s_[:, 7], False),  # outside the middle half
        ("fault", "throw", 0.5, np.s_[:, 8], True),
        ("fault", "throw", 0.5, np.s_[:, 23], True),
        ("fault", "throw", 0.5, np.s_[:, 24], False),
        ("salt dome", "salt", True, np.s_[28:], False),  # too little
        ("salt dome", "salt", True, np.s_[18:], True),
        ("salt dome", "salt", True, np.s_[6:], False),  # too much
        ("salt dome", "salt", True, np.s_[:14], False),  # upside down
    ],
)
def test_thresholds_of_a_class(name, field, value, part, expected):
    """A patch shows a class if enough of it has a clear feature in the right position."""
    values = np.zeros((32, 32), type(value))
    values[part] = value
    assert find_class(draw_sections(**{field: values}), name, 32).item() == expected


@pytest.mark.parametrize(("name", "feature"), [("chaotic", "chaos"), ("fault", "throw")])
def test_feature_must_reflect(name, feature):
    """A feature in layers without reflections is not seen, and its patch left out."""
    there = np.abs(np.arange(32) - 16) < 6
    field = {feature: np.where(there, 1.0, 0.0)}
    assert find_class(draw_sections(**field), name, 32).all()
    assert not find_class(draw_sections(**field, amplitude=1.0 - there), name, 32).any()


@pytest.mark.parametrize("name", ["chaotic", "fault", "horizon"])
def test_no_class_without_its_feature_or_with_salt(name):
    """Empty layers show horizons alone; salt leaves a window, found by its first sample, out."""
    assert find_class(draw_sections(), name, 32).all() == (name == "horizon")
    assert not find_class(draw_sections(), "salt dome", 32).any()
    features = {"chaos": 1.0, "throw": 1.0}
    assert find_class(draw_sections(**features), name, 32).all()
    salt = np.ones((32, 32), bool)
    salt[5:21, 9:25] = False
    found = find_class(draw_sections(**features, salt=salt), name, 16)
    assert np.argwhere(found).tolist() == [[0, 5, 9]]


def test_means_against_windows():
    """Means from sums agree with those of the windows themselves."""
    values = np.random.default_rng(0).random((2, 9, 11))
    windows = sliding_window_view(values, (4, 5), axis=(1, 2))
    whole = classes.mean_in(values, (4, 5))
    np.testing.assert_allclose(whole, windows.mean(axis=(-2, -1)), rtol=1e-12)
    part = classes.mean_in(values, (4, 5), (1, 2, 3, 2))
    np.testing.assert_allclose(part, windows[..., 1:4, 2:4].mean(axis=(-2, -1)), rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shape": (16, 48)}, "Must have 3 axes"),
        ({"shape": (16, 48, 79)}, "Invalid n_depth 79. Must be at least 80"),
        ({"patch": 49}, "Invalid patch 49. Must be from 16 to 48"),
    ],
)
def test_wrong_arguments(wrong, message):
    """Arguments out of range are refused with what is allowed."""
    with pytest.raises(ValueError, match=message):
        make_class_patches(**{**TINY, "seed": 0, **wrong})
