"""From rock to image: velocities, two-way time, the band of the wavelet, illumination."""

import numpy as np
import pytest
from flat_earths import flat_earth

from saltearth import imaging
from saltearth.earth import Grid
from saltearth.imaging import blur, convert_to_time, image_wavelengths_m, sediment_velocity
from saltearth.making import build_earth

ZERO = np.zeros(1, np.float32)


def point_spread(kx: np.ndarray, kz: np.ndarray, octaves: float = 2.0) -> np.ndarray:
    """Return the spectrum of a wavelength of 100 m and dips up to 60 degrees."""
    band = {"wavelength_m": 100.0, "max_dip_deg": 60.0, "octaves": octaves}
    return imaging.point_spread(kx, ZERO, kz, **band)


def test_facies_change_laterally() -> None:
    """Velocity is that of burial and age; facies make a layer faster here and there, none new."""
    plain, varied = (sediment_velocity(flat_earth((64, 64, 40), facies=f)) for f in (0.0, 1.0))
    np.testing.assert_allclose(plain, np.broadcast_to(plain[:1, :1], plain.shape))
    ratio = np.log(varied / plain)
    assert ratio.std(axis=(0, 1)).mean() > 0.01
    assert np.abs(ratio).max() <= 2 * np.hypot(0.35, 0.1)


def test_velocity_is_the_trend_below_that_of_salt() -> None:
    """Bare layers compact: e^-1 from 4 km/s at 3.5 km; the brightest stay at or below 4.4 km/s."""
    earth = flat_earth((16, 16, 176), contrast=0.0, markers=0.0, surface_velocity_m_s=1800.0)
    trace = sediment_velocity(earth)[0, 0]
    assert (np.diff(trace) > 0).all()
    assert trace[[0, 175]] == pytest.approx([1800, 4000 - 2200 / np.e])
    earth = flat_earth((16, 16, 512), contrast=0.2, markers=20.0, surface_velocity_m_s=3500.0)
    velocity = sediment_velocity(earth)
    assert velocity.max() == 4400
    assert velocity.min() >= 3500 * np.exp(-np.hypot(0.2, 0.1))


@pytest.mark.parametrize("depth_m", [190.0, 390.0, 590.0])
def test_time_of_two_layers(depth_m: float) -> None:
    """Salt under water of depth z1 begins at 2 z1 / v1, and goes on at its own velocity."""
    earth = flat_earth((16, 16, 100), salt_fraction=0.05)
    earth.sea_floor_m[:] = depth_m
    earth.salt_m = np.broadcast_to(earth.grid.z - depth_m, earth.grid.shape) + np.float32(0.1)
    convert_to_time(earth)
    depth = earth.sample_depth_m[0, 0]
    at_s, sample_s = 2 * depth_m / 1500, 2 * 20 / 4000  # two-way time of the interface
    assert np.interp(at_s, sample_s * np.arange(100), depth) == pytest.approx(depth_m, abs=10)
    steps = np.diff(depth) / (sample_s / 2)
    before = int(at_s / sample_s) - 3
    np.testing.assert_allclose(steps[:before], 1500, rtol=1e-3)
    reached = np.flatnonzero(depth >= earth.grid.z[..., -1].item() - 1)
    last = reached[0] - 1 if len(reached) else 99
    np.testing.assert_allclose(steps[before + 6 : last], 4480, rtol=1e-3)
    np.testing.assert_allclose(earth.buried_m, earth.sample_depth_m - depth_m, atol=1e-3)
    np.testing.assert_allclose(earth.age_m, earth.sample_depth_m, atol=0.02)


def test_time_goes_by_the_velocity_of_the_image() -> None:
    """The depth of a sample is the integral of the velocity that the volume shows in time."""
    earth = flat_earth((16, 16, 200), vertical="time")
    earth.age_m += np.float32(200)  # the image begins below the sea floor
    convert_to_time(earth)
    velocity, step_s = sediment_velocity(earth), 20 / 4000
    metres = step_s * np.cumsum((velocity[..., 1:] + velocity[..., :-1]) / 2, axis=2)
    np.testing.assert_allclose(earth.sample_depth_m[..., 1:], metres, rtol=2e-3, atol=5)


def test_wavelength() -> None:
    """The wavelength is velocity over frequency; in time that at 4000 m/s, a third more below."""
    earth = flat_earth(frequency_hz=8.0, surface_velocity_m_s=1800.0)
    assert imaging.wavelength_m(earth, 0.0) == image_wavelengths_m(earth)[0] == pytest.approx(225)
    assert imaging.wavelength_m(earth, 3500.0) == pytest.approx((4000 - 2200 / np.e) / 8)
    in_time = image_wavelengths_m(flat_earth(frequency_hz=8.0, vertical="time"))
    assert in_time == pytest.approx((500, 500 * 7 / 6, 500 * 4 / 3))


@pytest.mark.parametrize("octaves", [1.5, 2.0, 3.0, 4.0])
def test_point_spread_halves_at_both_corners(octaves: float) -> None:
    """Along the vertical the spectrum is 1/2 at 2^∓(o/2) 2/λ, 0 at 0 and symmetric in between."""
    corners = np.float32([2 ** (-octaves / 2), 2 ** (octaves / 2)]) * np.float32(2 / 100)
    values = point_spread(ZERO, corners, octaves)
    np.testing.assert_allclose(values, 0.5, rtol=2 * 2 ** (-4 * octaves) + 1e-5)
    kz = np.linspace(0, 0.2, 2001, dtype=np.float32)
    spectrum = point_spread(ZERO, kz, octaves)
    assert spectrum[0] == 0
    assert spectrum[(kz > 1.5 * corners[0]) & (kz < corners[1] / 1.5)].min() > 0.75
    assert spectrum[kz > 2 * corners[1]].max() < 1e-3


@pytest.mark.parametrize(("dip_deg", "fraction"), [(0, 1.0), (60, 0.5), (80, 0.0)])
def test_point_spread_halves_at_the_greatest_dip(dip_deg: float, fraction: float) -> None:
    """A reflector at the greatest dip is imaged at half amplitude, a steep one hardly."""
    k, dip = np.float32([0.02]), np.deg2rad(dip_deg)
    value = point_spread(k * np.sin(dip), k * np.cos(dip), 3.0)
    assert value / point_spread(ZERO, k, 3.0) == pytest.approx(fraction, abs=2e-3)
    assert point_spread(k, ZERO) == pytest.approx(0, abs=1e-12)  # on its side
    assert np.isfinite(point_spread(500 * k, k, 6.0)).all()  # however fine the spacing


def test_blur_of_a_plane_is_the_wavelet_of_the_band() -> None:
    """A plane becomes the zero-phase wavelet of the spectrum, which lengthens between knots."""
    grid = Grid((16, 16, 256), (25.0, 25.0, 5.0))
    spikes = np.zeros((2, *grid.shape), np.float32)
    spikes[0, ..., 128], spikes[1, ..., [40, 216]] = 1, 1
    trace = blur(spikes[0], grid, (100.0,), 60.0, 2.0)[8, 8]
    k, z = np.linspace(0, 0.1, 4001), 5.0 * (np.arange(256) - 128)
    spectrum = point_spread(ZERO, k.astype(np.float32))
    wavelet = 2 * 5 * np.trapezoid(spectrum * np.cos(2 * np.pi * k * z[:, None]), k, axis=1)
    np.testing.assert_allclose(trace, wavelet, atol=2e-3 * wavelet.max())
    trace = blur(spikes[1], grid, (60.0, 120.0), 60.0, 2.0)[8, 8]
    assert trace[217:256].argmin() > 1.4 * trace[41:80].argmin()
    fine = Grid((16, 16, 16), (1.0, 5.0, 5.0))  # before memory runs out
    with pytest.raises(ValueError, match=r"for a wavelength of 300 m. Must be at least 1\.17 m"):
        blur(np.zeros(fine.shape, np.float32), fine, (300.0,), 60.0, 2.0)


def test_reflectivity_of_a_step() -> None:
    """A step of impedance by 10 % reflects ln(1.1)/2, positive downward, at the sample above."""
    impedance = np.log(np.where(np.arange(16) < 8, 1.0, 1.1)).astype(np.float32)
    coefficient = imaging.reflectivity(np.broadcast_to(impedance, (2, 2, 16)))
    assert coefficient[0, 0, 7] == pytest.approx(np.log(1.1) / 2, rel=1e-5)
    assert np.count_nonzero(coefficient[0, 0]) == 1


def test_impedance_of_water_rock_and_salt() -> None:
    """Impedance is velocity times density, on a surface the geometric mean of both sides."""
    earth = flat_earth((16, 16, 40), interior=0.0, stringers=0.0, sutures=0.0)
    earth.sea_floor_m[:] = 200
    earth.salt_m = np.broadcast_to(earth.grid.z - 600, earth.grid.shape).copy()
    impedance = np.exp(imaging.log_impedance(earth, np.full(earth.grid.shape, 2500, np.float32)))
    water, sediment, salt = 1500 * 1030, 2500 * 310 * 2500**0.25, 4480 * 2160
    expected = np.repeat([water, sediment, salt], [10, 20, 10])
    expected[[10, 30]] = np.sqrt([water * sediment, sediment * salt])
    np.testing.assert_allclose(impedance[8, 8], expected, rtol=1e-4)


@pytest.mark.parametrize("seed", range(2))
def test_water_is_silent(seed: int) -> None:
    """Without noise the water is silent but for the wavelet of the sea floor."""
    earth = build_earth((24, 32, 96), seed=seed, water=0.25)
    signal = np.abs(imaging.image_signal(earth, sediment_velocity(earth)))
    above = earth.buried_m < -image_wavelengths_m(earth)[0]
    assert 0 < signal[above].max() < 0.05 * signal.max()


def test_illumination_under_salt() -> None:
    """Illumination is 1 away from salt and falls toward 1 - shadow under thick salt."""
    earth = flat_earth((64, 64, 40), shadow=0.6)
    earth.salt_m[:32, :, 5:20] = 100
    light = imaging.illumination(earth)
    np.testing.assert_allclose(light[-2:], 1, atol=1e-5)
    expected = 1 - 0.6 * (1 - np.exp(-15 / 40 / 0.1))
    np.testing.assert_allclose(light[0, 32, -1], expected, rtol=1e-3)
