"""The synthetic earth as a whole: guarantees for every seed and shape."""

import json
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import xarray as xr
from flat_earths import CLEAN, DEFORMATIONS, SMALL

from saltearth import KINDS, PRESETS, make_volume
from saltearth.imaging import convert_to_time, sediment_velocity
from saltearth.making import build_earth

EXTREME = [(16, 16, 16), (16, 512, 16), (512, 16, 16), (16, 16, 512), (17, 40, 33), SMALL]


@pytest.mark.parametrize("preset", PRESETS)
def test_same_seed_same_volume(preset: str) -> None:
    """The same arguments give the same volume, bit for bit; another seed gives another."""
    first, again, other = (make_volume(SMALL, seed=seed, preset=preset) for seed in (3, 3, 4))
    xr.testing.assert_identical(first, again)
    assert first.attrs["content_hash"] != other.attrs["content_hash"]
    assert not first.salt.equals(other.salt)


@pytest.mark.parametrize(
    "changes", [*({"preset": p} for p in PRESETS), *({"kinds": (k,)} for k in KINDS)]
)
def test_salt_fraction_for_every_seed(changes: dict[str, Any]) -> None:
    """The fraction of salt is from 5 to 40 %, and met to two voxels, in depth and time."""
    for seed in range(40 if "preset" in changes else 5):
        earth = build_earth(SMALL, seed=seed, **changes)
        fraction = earth.value("salt_fraction")
        assert 0.05 <= fraction <= 0.4
        assert earth.salt.sum() == pytest.approx(fraction * np.prod(SMALL), abs=2)
        convert_to_time(earth)
        assert earth.salt.sum() == pytest.approx(fraction * np.prod(SMALL), abs=2)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", EXTREME)
def test_any_shape(preset: str, shape: tuple[int, int, int]) -> None:
    """Any shape gives a finite volume with salt where, and only where, velocity is 4480 m/s."""
    volume = make_volume(shape, seed=sum(shape), preset=preset)
    assert volume.amplitude.shape == shape
    assert volume.amplitude.dtype == np.float32
    assert np.isfinite(volume.amplitude).all()
    velocity, salt = volume.velocity.values, volume.salt.values
    assert 0.04 <= salt.mean() <= 0.4
    np.testing.assert_array_equal(velocity == 4480, salt)
    assert 1500 <= velocity.min() <= velocity[~salt].max() <= 4400


@pytest.mark.parametrize("polarity", [1, -1])
def test_attributes(polarity: int) -> None:
    """A volume knows where it comes from and what was drawn for it."""
    attrs = make_volume(SMALL, seed=7, preset="north_sea", noise=0.25, polarity=polarity).attrs
    found = [attrs[name] for name in ("seed", "preset", "signal_to_noise")]
    assert found == [7, "north_sea", 4]
    assert ("positive" in attrs["polarity"]) == (polarity == 1)
    drawn = replace(PRESETS["north_sea"], noise=0.25, polarity=polarity).draw(7)
    assert json.loads(attrs["preset_values"]) == json.loads(json.dumps(asdict(drawn)))


@pytest.mark.parametrize(("vertical", "step"), [("depth", 10), ("time", 5)])
def test_coordinates(vertical: str, step: int) -> None:
    """Coordinates are metres and line numbers; in time a spacing d becomes 2 d / (4000 m/s)."""
    spacing_m = (30.0, 20.0, 10.0)
    volume = make_volume(SMALL, seed=7, spacing_m=spacing_m, noise=0.0, vertical=vertical)
    assert volume.amplitude.dims == ("inline", "crossline", vertical)
    np.testing.assert_allclose(volume[vertical], step * np.arange(40))
    assert (float(volume.crossline_m[1]), int(volume.inline[0])) == (20, 1)
    assert volume.attrs["signal_to_noise"] == np.inf


def test_opposite_polarity_is_the_negative_image() -> None:
    """Without noise and swings the image of the other polarity is the negative, gain and all."""
    clean = CLEAN | {"gain": 0.3, "clip": 0.01}
    normal, reverse = (make_volume(SMALL, seed=2, polarity=sign, **clean) for sign in (1, -1))
    np.testing.assert_array_equal(normal.amplitude, -reverse.amplitude)
    assert normal.velocity.equals(reverse.velocity)


def test_without_faults_only_layers_change() -> None:
    """Without faults an earth differs where faults moved its layers, and nowhere else."""
    faulted, whole = (build_earth(SMALL, seed=1, faults=number) for number in (5.0, 0.0))
    np.testing.assert_array_equal(faulted.salt_m, whole.salt_m)
    np.testing.assert_array_equal(faulted.sea_floor_m, whole.sea_floor_m)
    assert replace(faulted.preset, faults=0.0) == whole.preset
    first, second = (sediment_velocity(earth) for earth in (faulted, whole))
    moved = faulted.age_m != whole.age_m
    assert 0 < moved.mean() < 1
    np.testing.assert_array_equal(first[~moved], second[~moved])


@pytest.mark.parametrize(
    "name", ["noise", "swings", "shadow", "gain", "clip", "interior", "stringers", "sutures"]
)
def test_imaging_leaves_the_earth(name: str) -> None:
    """What spoils the image, or lies in the salt, changes it, but neither mask nor velocity."""
    chosen = {"noise": 0.2, "swings": 0.2, "shadow": 0.5, "gain": 0.3, "clip": 0.05}
    chosen |= {"interior": 0.05, "stringers": 0.5, "sutures": 0.5, "n_bodies": 3}
    spoilt, clean = (make_volume(SMALL, seed=1, **chosen | change) for change in ({}, {name: 0.0}))
    assert spoilt.salt.equals(clean.salt)
    assert spoilt.velocity.equals(clean.velocity)
    assert not spoilt.amplitude.equals(clean.amplitude)


def test_age_is_depth_below_a_flat_sea_floor() -> None:
    """With every deformation off, the age of a layer is its depth below a flat sea floor."""
    earth = build_earth(SMALL, seed=0, relief=0.0, **DEFORMATIONS)
    np.testing.assert_allclose(earth.age_m, earth.buried_m, atol=1e-2)


def test_refuse_coarse_samples() -> None:
    """Samples are at most half the shortest period of the wavelet's band apart."""
    band = {"frequency_hz": 8.0, "octaves": 2.0, "surface_velocity_m_s": 1680.0}
    coarsest = 1680 / 8 / 2 / 2 / 2  # two-way, half a period, an octave above the middle
    build_earth(SMALL, seed=0, spacing_m=(25.0, 25.0, coarsest), **band)
    with pytest.raises(ValueError, match=r"Invalid spacing_m along depth 26\.3.*\[0, 26\.25\]"):
        build_earth(SMALL, seed=0, spacing_m=(25.0, 25.0, 26.3), **band)
