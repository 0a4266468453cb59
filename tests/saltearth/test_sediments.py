"""Sediments: what each step does to horizontal layers, in closed form."""

import numpy as np
import pytest
from flat_earths import SMALL, change_age, flat_earth

from saltearth import sediments
from saltearth.sediments import layer_sequence


def test_sea_floor_has_level_and_bounded_relief() -> None:
    """Relief lies within twice its spread of the water's depth, and e^-1 is left .3 deeper."""
    earth = flat_earth((64, 64, 100), water=0.15, relief=0.02)
    sediments.add_sea_floor(earth)
    assert earth.sea_floor_m.shape == (64, 64, 1)
    assert np.abs(earth.sea_floor_m - 300).max() <= 2 * 0.02 * 2000
    assert np.ptp(earth.sea_floor_m) > 40
    earth = flat_earth((16, 16, 101))
    earth.sea_floor_m[:] = 200
    earth.sea_floor_m[8:] += 40  # mean 220 m
    sediments.deposit(earth)
    relief = earth.age_m[0, 0] - earth.age_m[8, 0]
    assert relief[[11, 11 + 30]] == pytest.approx([40, 40 * np.exp(-30 / 30.3)], rel=1e-3)


def test_folds_at_the_stated_height() -> None:
    """A fold leaves the top alone, and deep layers move by the height stated, in all directions."""
    earths = [flat_earth((64, 64, 50), seed=seed, fold=0.02) for seed in range(8)]
    shifts = np.stack([change_age(sediments.fold, earth) for earth in earths])
    np.testing.assert_array_equal(shifts[..., 0], 0)
    assert np.sqrt(np.mean(shifts[..., -1] ** 2)) == pytest.approx(0.02 * 1000, rel=0.3)


def test_arches_grow_with_depth() -> None:
    """An arch leaves the top alone and lifts layers in proportion to their depth."""
    earth = flat_earth((64, 64, 50), arches=0.1)
    earth.tops_m = np.float32([[100, 200]])
    lift = change_age(sediments.arch, earth)
    np.testing.assert_array_equal(lift[..., 0], 0)
    np.testing.assert_allclose(lift[..., 40], 4 * lift[..., 10], rtol=1e-3, atol=1e-3)
    assert lift.min() >= 0
    assert 0.25 * 0.1 * 980 < lift[..., -1].max() <= 0.1 * 980 + 1e-3
    np.testing.assert_array_equal(earth.crests_m[0], earth.tops_m[0])  # where faults may start
    assert len(earth.crests_m) == 1 + earth.count(0.7, least=1)


def test_prograde_changes_its_package() -> None:
    """Outside one package of layers nothing changes; inside, layers dip as steeply as stated."""
    earth = flat_earth((64, 64, 100), clinoforms=0.1)
    added = change_age(sediments.prograde, earth)
    inside = added[0, 0] > 0.99 * added.max(axis=2)[0, 0]
    samples = np.flatnonzero(inside)
    assert (np.diff(samples) == 1).all()
    assert 0.04 * 100 <= inside.sum() <= 0.16 * 100
    rest = np.ones(100, bool)
    rest[samples[0] - 1 : samples[-1] + 2] = False  # but for the ramps
    np.testing.assert_array_equal(added[..., rest], 0)
    way = added[..., samples[1]]
    slope = np.hypot(np.diff(way, axis=0)[:, :-1], np.diff(way, axis=1)[:-1]) / 25
    np.testing.assert_allclose(slope, 0.1, rtol=1e-2)
    assert way.min() > earth.depth_m  # numbers that no other layer has


def test_unconformity_and_channel_are_confined() -> None:
    """Section is missing below a layer; a channel as deep as stated holds younger layers."""
    missing = change_age(sediments.erode, flat_earth((32, 32, 128), unconformity=0.05))
    assert (missing[..., :19] == 0).all()
    assert (np.ptp(missing[..., 60:], axis=2) < 0.01).all()
    assert np.ptp(missing[..., -1]) > 20
    earth = flat_earth((64, 64, 128), channel=0.02)
    change = change_age(sediments.carve, earth)
    assert 0 < (change < 0).mean() < 0.05
    assert (change < 0).sum(axis=2).max() * 20 <= 0.02 * earth.depth_m + 3 * 20
    assert (change <= 0).all()


def test_chaos_is_confined_to_packages() -> None:
    """One to three packages of stated thickness are disturbed; the rest is left alone."""
    numbers = set()
    for seed in range(12):
        earth = flat_earth((16, 16, 256), seed=seed, chaos=0.01)
        push = change_age(sediments.disturb, earth)
        changed = (push != 0).any(axis=(0, 1))
        assert 0.02 < changed.mean() < 0.36  # at most 3 packages of twice .06
        assert np.abs(push).max() > 0.01 * earth.depth_m
        numbers.add(int(np.sum(np.diff(changed.astype(int), prepend=0) == 1)))
    assert numbers == {1, 2, 3}


def test_fault_throw_grows_downward() -> None:
    """Faults only drop layers: the throw grows linearly along the plane, and the footwall stays."""
    earth = flat_earth((32, 16, 100))
    fault = {"position_m": (200.0, 200.0), "azimuth": 0.0, "dip": np.pi / 2}
    drop = -change_age(sediments.cut, earth, **fault, throw_m=60.0, tip_m=400.0)[:, 8]
    assert (drop[:8] == 0).all()
    np.testing.assert_array_equal(drop[:, :21], 0)
    roll = np.exp(-25 / (0.5 * earth.body_spacing_m))
    np.testing.assert_allclose(drop[9, 40], 60 * 400 / 800 * roll, rtol=1e-4)
    np.testing.assert_allclose(drop[9, 80:], 60 * roll, rtol=1e-4)
    earth = flat_earth((32, 32, 50), faults=4.0, throw=0.02)
    drop = -change_age(sediments.fault, earth)
    assert drop.min() >= 0
    assert 0 < drop.max() <= earth.count(4.0) * 0.02 * earth.depth_m  # by no more than all throws


def test_upturn_decays_from_salt() -> None:
    """Deep at the salt, layers are lifted by slope times reach; far away by an exponential less."""
    earth = flat_earth(upturn=0.8, reach=0.2)
    reach_m = 0.2 * earth.body_spacing_m
    earth.salt_m[:12], earth.salt_m[12:16] = 0, -reach_m
    lift = change_age(sediments.upturn, earth)
    np.testing.assert_allclose(lift[:12, :, -1], 0.8 * reach_m, rtol=1e-4)
    np.testing.assert_allclose(lift[12:16, :, -1], 0.8 * reach_m / np.e, rtol=1e-4)
    np.testing.assert_array_equal(lift[16:], 0)
    np.testing.assert_array_equal(lift[..., 0], 0)


def test_layer_sequence_bounded() -> None:
    """Layers change log velocity by no more than .1, markers by up to .25 more, none laterally."""
    _, change = layer_sequence(flat_earth((16, 16, 200), contrast=0.2, markers=0.0), 120.0)
    assert np.abs(change).max() <= 0.1
    assert change.std(axis=0).min() > 0.03
    _, marked = layer_sequence(flat_earth((16, 16, 200), contrast=0.2, markers=20.0), 120.0)
    np.testing.assert_array_equal(marked[:, 1], change[:, 1])
    extra = marked[:, 0] - change[:, 0]
    assert extra.min() >= -0.1 - 1e-6
    assert extra.max() <= 0.25 + 1e-6


def test_layers_are_those_of_the_seed() -> None:
    """Every age of an earth has a layer, a quarter sample apart; other ages change none of them."""
    shallow, deep = flat_earth(SMALL), flat_earth(SMALL)
    deep.age_m += np.linspace(-300, 2500, 40, dtype=np.float32)
    (age, change), (ages, changes) = (layer_sequence(earth, 120.0) for earth in (shallow, deep))
    used = age <= shallow.age_m.max()
    assert len(ages) > len(age)
    np.testing.assert_array_equal(ages[: len(age)], age)
    np.testing.assert_array_equal(changes[: len(age)][used], change[used])
    for earth, knots in ((shallow, age), (deep, ages)):
        assert knots[0] <= earth.age_m.min() <= earth.age_m.max() <= knots[-1]
    np.testing.assert_allclose(np.diff(ages), 20 / 4, rtol=1e-3)
    assert changes.shape == (len(ages), 2)


def test_number_of_markers() -> None:
    """Over many seeds the layers of a section hold as many bright ones as asked for."""
    fields = {"contrast": 0.0, "markers": 5.0, "layer_wavelengths": 0.5}
    counts = []
    for seed in range(200):
        age, change = layer_sequence(flat_earth((16, 16, 512), seed=seed, **fields), 200.0)
        bright = np.abs(change[age > 0, 0]) > 0.01
        counts.append(np.sum(np.diff(bright.astype(int), prepend=0) == 1))
    assert np.mean(counts) == pytest.approx(5, abs=0.6)


def test_packages_differ_in_contrast() -> None:
    """Some packages are nearly transparent, others several times as bright as the mean."""
    earth = flat_earth((16, 16, 512), markers=0.0, contrast=0.05, package=0.05)
    _, change = layer_sequence(earth, 40.0)
    spread = np.sort([part.std() for part in np.array_split(change[:, 0], 40)])
    assert spread[-4] > 3 * spread[4]
