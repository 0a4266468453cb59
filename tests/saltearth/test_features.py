"""Features of an earth: what the steps of geology did, in periods of the image."""

import numpy as np
import pytest
import xarray as xr
from flat_earths import SMALL, change_age, flat_earth

from saltearth import PRESETS, make_features, make_volume
from saltearth.features import count_periods, jump, spread
from saltearth.imaging import image_wavelengths_m
from saltearth.sediments import cut

FEATURES = ["chaos", "throw"]


@pytest.mark.parametrize("preset", PRESETS)
def test_features_of_a_volume(preset: str) -> None:
    """Features are finite, and 0 in salt or without their step; the rest is make_volume's."""
    nothing = make_features(SMALL, seed=0, preset=preset, chaos=0.0, faults=0.0)
    geology = {"chaos": 0.05, "faults": 20.0, "throw": 0.1}
    volume = make_features(SMALL, seed=1, preset=preset, **geology)
    plain = make_volume(SMALL, seed=1, preset=preset, **geology)
    xr.testing.assert_identical(volume.drop_vars(FEATURES), plain)
    assert volume.attrs["content_hash"] == plain.attrs["content_hash"]
    for name in FEATURES:
        assert volume[name].dtype == np.float32
        assert volume[name].dims == volume["amplitude"].dims
        assert np.isfinite(volume[name]).all()
        assert volume[name].max() > 0.2
        assert (volume[name].values[volume["salt"].values] == 0).all()
        assert (nothing[name] == 0).all()


def test_jump_is_the_throw_of_a_fault() -> None:
    """At a vertical fault the layers jump by its throw, but not along the fault."""
    middle_m, fault = 25.0 * np.array(SMALL[:2]) / 2, {"dip": np.pi / 2, "throw_m": 100.0}
    across, along = (
        change_age(cut, flat_earth(), position_m=middle_m, azimuth=azimuth, tip_m=0.0, **fault)
        for azimuth in (np.pi / 2, 0.0)
    )
    found = jump(across)[12, :, -1]
    np.testing.assert_allclose(found[15:17], 100, rtol=0.15)  # less where the fault dies out
    assert found[np.abs(np.arange(32) - 16) > 3].max() < 25
    assert np.ptp(along) > 90
    assert jump(along).max() < 30


def test_spread_of_a_layer() -> None:
    """A push of plus or minus s has the spread s in its layer, and 0 in others."""
    age = np.broadcast_to(np.arange(8, dtype=np.float32) * 20, (3, 4, 8))
    sign = np.where(np.indices((3, 4, 8)).sum(axis=0) % 2, 1, -1)
    push = np.where(age == 60, 7.0 * sign, 0).astype(np.float32)
    np.testing.assert_allclose(spread(push, age, 20.0), np.where(age == 60, 7, 0))


def test_periods_over_depth_and_time() -> None:
    """Half a wavelength is a period; a shift takes 2 d / v, at the depth that samples show."""
    earth = flat_earth()
    top_m, _, bottom_m = image_wavelengths_m(earth)
    found = count_periods(earth, xr.Dataset(), np.full(SMALL, top_m / 2, np.float32))
    np.testing.assert_allclose(found[..., 0], 1, rtol=1e-6)
    np.testing.assert_allclose(found[..., -1], top_m / bottom_m, rtol=1e-6)
    earth = flat_earth(vertical="time", frequency_hz=5.0)
    earth.sample_depth_m = 0.5 * earth.grid.z + np.zeros(SMALL, np.float32)
    velocity = xr.DataArray(np.full(SMALL, 2000.0, np.float32))
    shift_m = np.broadcast_to(earth.grid.z, SMALL)
    found = count_periods(earth, xr.Dataset({"velocity": velocity}), shift_m)
    frequency_hz = 5.0 / np.linspace(1, 4 / 3, SMALL[2])  # absorption
    expected = 2 * np.rint(earth.sample_depth_m / 20) * 20 / 2000 * frequency_hz
    np.testing.assert_allclose(found, expected, rtol=1e-5)
