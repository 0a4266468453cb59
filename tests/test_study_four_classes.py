"""Patches in four classes: what a class is, where patches come from, and what they share."""

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import xarray as xr
from numpy.lib.stride_tricks import sliding_window_view

from thesis_lib.data.landmass import CLASSES
from thesis_lib.study import four_classes
from thesis_lib.study.four_classes import find_class, make_class_patches, read_class_patches
from thesis_lib.study.splits import TEST_EARTH
from thesis_lib.synthetic.earth import Grid

TINY = {"preset": "gulf", "shape": (16, 48, 96), "patch": 24, "n_per_class": 3}
GRID = Grid((16, 48, 96), four_classes.SPACING_M)


@pytest.fixture(scope="module")
def patches():
    """Three patches of each class."""
    return make_class_patches(**TINY, seed=0)


def draw_sections(**features):
    """One section of 32 by 32 that reflects everywhere, and what is given of its features."""
    fields = {"salt": False, "throw": 0.0, "chaos": 0.0, "amplitude": 1.0} | features
    full = {name: np.broadcast_to(values, (1, 32, 32)) for name, values in fields.items()}
    dims = ("inline", "depth", "crossline")
    return xr.Dataset({name: (dims, np.array(values)) for name, values in full.items()})


def test_classes_are_balanced(patches):
    """Every class of LANDMASS has as many patches, in the order of the classes."""
    assert patches.classes == CLASSES
    assert patches.labels.tolist() == sorted([0, 1, 2, 3] * 3)
    assert patches.images.shape == patches.masks.shape == (12, 24, 24)


def test_salt_is_in_salt_domes_alone(patches):
    """Patches of salt domes are partly salt, the others not at all."""
    of_salt = patches.labels == CLASSES.index("salt dome")
    assert (patches.shares[~of_salt] == 0).all()
    assert ((patches.shares[of_salt] > 0.15) & (patches.shares[of_salt] < 0.7)).all()


def test_same_seed_same_patches(patches):
    """The same arguments give the same patches; no patch of another seed is among them."""
    assert make_class_patches(**TINY, seed=0).content_hash == patches.content_hash
    other = make_class_patches(**TINY, seed=1)
    distance = np.abs(other.images[:, None] - patches.images[None]).max(axis=(2, 3))
    assert distance.min() > 0.1


def test_seeds_share_no_earth(monkeypatch):
    """Two seeds draw from different earths, none of which a study of losses can hold."""
    seen = []

    def note(earth, *_):
        seen.append(earth)
        return {"chaotic": np.empty((0, 2, 24, 24), np.float32)}

    monkeypatch.setattr(four_classes, "_cut_earth", note)
    for seed in (0, 1):
        with pytest.raises(
            ValueError,
            match=r"Found 0 of 3 patches of each class in 200 earths of shape \(16, 48, 96\); "
            r"most lack the class chaotic\. Must be larger earths",
        ):
            make_class_patches(**TINY, seed=seed)
    assert len(set(seen)) == len(seen) == 400
    assert min(seen) > 2 * TEST_EARTH


def test_versions_differ_in_their_feature_alone():
    """Versions of an earth share every number but those of their feature, and all of the salt."""
    versions = [
        four_classes._make_sections(0, "gulf", GRID, changes)
        for changes, _ in four_classes.VERSIONS
    ]
    drawn = [json.loads(version.attrs["preset_values"]) for version in versions]
    differing = {name for name in drawn[0] if any(d[name] != drawn[0][name] for d in drawn)}
    assert differing == {"chaos", "faults", "throw"}
    for version in versions:
        np.testing.assert_array_equal(version["salt"], versions[0]["salt"])


def test_no_class_without_its_feature():
    """Empty layered sections show horizons, and none of the other classes."""
    found = {name: bool(find_class(draw_sections(), name, 32).all()) for name in CLASSES}
    assert found == {"chaotic": False, "fault": False, "horizon": True, "salt dome": False}


@pytest.mark.parametrize(("rows", "expected"), [(8, False), (9, True)])
def test_chaotic_from_a_quarter_on(rows, expected):
    """A patch is chaotic if more than a quarter of it is."""
    chaos = np.where(np.arange(32)[:, None] < rows, 0.3, 0.1)
    assert find_class(draw_sections(chaos=chaos), "chaotic", 32).item() == expected


@pytest.mark.parametrize(
    ("column", "rows", "throw", "expected"),
    [
        (16, 20, 0.5, True),
        (16, 19, 0.5, False),  # too short
        (16, 32, 0.3, False),  # a faint throw
        (7, 32, 0.5, False),  # beside the middle
        (8, 32, 0.5, True),
        (23, 32, 0.5, True),
        (24, 32, 0.5, False),
    ],
)
def test_fault_in_the_middle(column, rows, throw, expected):
    """A fault crosses the middle half on more than three fifths of the rows, with a clear throw."""
    plane = np.zeros((32, 32))
    plane[:rows, column] = throw
    assert find_class(draw_sections(throw=plane), "fault", 32).item() == expected


@pytest.mark.parametrize(("name", "feature"), [("chaotic", "chaos"), ("fault", "throw")])
def test_feature_must_reflect(name, feature):
    """A feature in layers without reflections is not seen, and its patch left out."""
    there = np.abs(np.arange(32) - 16) < 6
    field = {feature: np.where(there, 1.0, 0.0)}
    assert find_class(draw_sections(**field), name, 32).all()
    assert not find_class(draw_sections(**field, amplitude=1.0 - there), name, 32).any()


@pytest.mark.parametrize("name", ["chaotic", "fault", "horizon"])
def test_no_other_class_with_salt(name):
    """One voxel of salt is enough for a patch to be none of the other classes."""
    features = {"chaos": 1.0, "throw": 1.0}
    assert find_class(draw_sections(**features), name, 32).all()
    salt = np.arange(32 * 32).reshape(32, 32) == 40
    assert not find_class(draw_sections(**features, salt=salt), name, 32).any()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (slice(28, 32), False),  # too little
        (slice(18, 32), True),
        (slice(6, 32), False),  # too much
        (slice(0, 14), False),  # upside down
    ],
)
def test_salt_dome_from_below(rows, expected):
    """Salt domes fill the lower part of a patch, neither hardly nor nearly all of it."""
    salt = np.zeros((32, 32), bool)
    salt[rows] = True
    assert find_class(draw_sections(salt=salt), "salt dome", 32).item() == expected


def test_windows_of_a_section():
    """Each window is judged by itself: the one that holds no salt is found by its first sample."""
    salt = np.ones((32, 32), bool)
    salt[5:21, 9:25] = False
    found = np.argwhere(find_class(draw_sections(salt=salt), "horizon", 16))
    assert found.tolist() == [[0, 5, 9]]


def test_means_against_windows():
    """Means from sums agree with those of the windows themselves."""
    values = np.random.default_rng(0).random((2, 9, 11))
    windows = sliding_window_view(values, (4, 5), axis=(1, 2))
    whole = four_classes.mean_in(values, (4, 5))
    np.testing.assert_allclose(whole, windows.mean(axis=(-2, -1)), rtol=1e-12)
    part = four_classes.mean_in(values, (4, 5), (1, 2, 3, 2))
    np.testing.assert_allclose(part, windows[..., 1:4, 2:4].mean(axis=(-2, -1)), rtol=1e-12)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shape": (16, 48)}, "Must have 3 axes"),
        ({"shape": (16, 48, 79)}, "Invalid n_depth 79. Must be at least 80"),
        ({"patch": 49}, "Invalid patch 49. Must be from 16 to 48"),
        ({"patch": 15}, "Invalid patch 15. Must be from 16 to 48"),
        ({"n_per_class": 0}, "Invalid n_per_class 0. Must be at least 1"),
        ({"seed": -1}, "Invalid seed -1. Must be at least 0"),
        ({"preset": "arctic"}, "Invalid preset 'arctic'"),
    ],
)
def test_wrong_arguments(wrong, message):
    """An argument that cannot be is refused with what is allowed."""
    with pytest.raises(ValueError, match=message):
        make_class_patches(**{**TINY, "seed": 0, **wrong})


def test_landmass_as_patches(tmp_path):
    """Images, labels and numbers of LANDMASS come as they are, without masks."""
    for label, name in enumerate(CLASSES):
        folder = tmp_path / "LANDMASS1" / name
        folder.mkdir(parents=True)
        for number in (1, 2):
            image = np.zeros((99, 99))
            image[0, 0] = (label * 2 + number) / 10
            scipy.io.savemat(folder / f"{name.replace(' ', '')}_{number:04}.mat", {"img": image})
    patches, numbers = read_class_patches(tmp_path)
    np.testing.assert_allclose(patches.images[:, 0, 0], np.arange(1, 9) / 10, rtol=1e-6)
    assert patches.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert numbers.tolist() == [1, 2] * 4
    assert patches.classes == CLASSES
    assert patches.masks is None


@pytest.mark.real_data
def test_real_patches(real_data: Path):
    """The layout of LANDMASS with patches of F3 is read: 200 of each class."""
    patches, numbers = read_class_patches(real_data / "landmass_layout")
    assert patches.images.shape == (800, 99, 99)
    assert np.bincount(patches.labels).tolist() == [200] * 4
    assert numbers.max() == 200
