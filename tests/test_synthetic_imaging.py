"""From rock to image: velocities, two-way time, the band of the wavelet, illumination."""

import numpy as np
import pytest
from flat_earths import SMALL, flat_earth

from thesis_lib.synthetic import PRESETS, build_earth
from thesis_lib.synthetic.earth import Earth, Grid
from thesis_lib.synthetic.imaging import (
    blur,
    gardner_density,
    illumination,
    image_signal,
    image_wavelengths_m,
    log_impedance,
    point_spread,
    reflectivity,
    sediment_velocity,
    turn_to_time,
    wavelength_m,
)

BAND = {"wavelength_m": 100.0, "max_dip_deg": 60.0}


def salt_from(depth_m: float, *, water: bool) -> Earth:
    """Return an earth of salt below a depth, under water or under nothing."""
    earth = flat_earth((16, 16, 100), salt_fraction=0.05)
    earth.sea_floor_m[:] = depth_m if water else 0.0
    earth.salt_m = np.broadcast_to(earth.grid.z - depth_m, earth.grid.shape) + np.float32(0.1)
    return earth


# Velocity


def test_layers_follow_age() -> None:
    """Without change of facies velocity is a function of burial and of the age alone."""
    velocity = sediment_velocity(flat_earth(facies=0.0))
    np.testing.assert_allclose(velocity, np.broadcast_to(velocity[:1, :1], velocity.shape))


def test_facies_change_laterally() -> None:
    """With change of facies the same layer is faster here than there, but no layer is new."""
    plain, varied = (sediment_velocity(flat_earth((64, 64, 40), facies=f)) for f in (0.0, 1.0))
    ratio = np.log(varied / plain)
    assert ratio.std(axis=(0, 1)).mean() > 0.01
    assert np.abs(ratio).max() <= 2 * np.hypot(0.35, 0.1)


def test_velocity_without_contrast_is_the_trend() -> None:
    """Without contrast and markers velocity is that of compaction: e^-1 from 4 km/s at 3.5 km."""
    earth = flat_earth((16, 16, 176), contrast=0.0, markers=0.0, surface_velocity_m_s=1800.0)
    velocity = sediment_velocity(earth)
    assert velocity[0, 0, 0] == pytest.approx(1800)
    assert velocity[0, 0, 175] == pytest.approx(4000 - 2200 / np.e)


def test_sediments_stay_slower_than_salt() -> None:
    """However deep and bright, sediments stay at or below 4400 m/s."""
    earth = flat_earth((16, 16, 512), contrast=0.2, markers=20.0, surface_velocity_m_s=3500.0)
    velocity = sediment_velocity(earth)
    assert velocity.max() == 4400
    assert velocity.min() >= 3500 * np.exp(-np.hypot(0.2, 0.1))


# Two-way time


def test_time_of_constant_velocity_is_a_stretch() -> None:
    """In salt alone a sample of the time axis lies 4480/4000 deeper than its number says."""
    earth = salt_from(0.0, water=False)
    turn_to_time(earth)
    stretched = np.minimum(earth.grid.z * 4480 / 4000, earth.grid.z[..., -1:])
    assert earth.sample_depth_m is not None
    np.testing.assert_allclose(earth.sample_depth_m[3, 4], stretched[0, 0], atol=0.02)
    np.testing.assert_allclose(earth.age_m, earth.sample_depth_m, atol=0.02)


@pytest.mark.parametrize("depth_m", [190.0, 390.0, 590.0])
def test_time_of_two_layers(depth_m: float) -> None:
    """Salt under water of depth z1 begins at 2 z1 / v1, and goes on at its own velocity."""
    earth = salt_from(depth_m, water=True)
    turn_to_time(earth)
    assert earth.sample_depth_m is not None
    depth = earth.sample_depth_m[0, 0]
    at_s = 2 * depth_m / 1500  # two-way time of the interface
    sample_s = 2 * 20 / 4000
    assert np.interp(at_s, sample_s * np.arange(100), depth) == pytest.approx(depth_m, abs=10)
    steps = np.diff(depth) / (sample_s / 2)
    before = int(at_s / sample_s) - 3
    np.testing.assert_allclose(steps[:before], 1500, rtol=1e-3)
    reached = np.flatnonzero(depth >= earth.grid.z[..., -1].item() - 1)
    last = reached[0] - 1 if len(reached) else 99
    np.testing.assert_allclose(steps[before + 6 : last], 4480, rtol=1e-3)


def test_time_goes_by_the_velocity_of_the_image() -> None:
    """The depth of a sample is the integral of the velocity that the volume shows in time."""
    earth = flat_earth((16, 16, 200), vertical="time")
    earth.age_m += np.float32(200)  # the image begins below the sea floor
    turn_to_time(earth)
    velocity, step_s = sediment_velocity(earth), 20 / 4000
    metres = step_s * np.cumsum((velocity[..., 1:] + velocity[..., :-1]) / 2, axis=2)
    assert earth.sample_depth_m is not None
    np.testing.assert_allclose(earth.sample_depth_m[..., 1:], metres, rtol=2e-3, atol=5)


def test_buried_m_in_time_is_depth() -> None:
    """After the turn to time, burial counts metres of rock: the sea floor stays at depth 0."""
    earth = salt_from(400.0, water=True)
    turn_to_time(earth)
    assert earth.sample_depth_m is not None
    np.testing.assert_allclose(earth.buried_m, earth.sample_depth_m - 400, atol=1e-3)


def test_salt_stays_covered_in_time() -> None:
    """Also in time the cover of the preset lies between sea floor and salt."""
    for seed in range(5):
        earth = build_earth(SMALL, seed=seed, preset="north_sea")
        turn_to_time(earth)
        assert (earth.buried_m[earth.salt] > 0.999 * earth.value("cover") * earth.depth_m).all()


# Band


def test_wavelength() -> None:
    """The wavelength is velocity over frequency; in time that at 4000 m/s, a third more below."""
    earth = flat_earth(frequency_hz=8.0, surface_velocity_m_s=1800.0)
    assert wavelength_m(earth, 0.0) == pytest.approx(225)
    assert image_wavelengths_m(earth)[0] == pytest.approx(225)
    assert wavelength_m(earth, 3500.0) == pytest.approx((4000 - 2200 / np.e) / 8)
    in_time = image_wavelengths_m(flat_earth(frequency_hz=8.0, vertical="time"))
    assert in_time == pytest.approx((500, 500 * 7 / 6, 500 * 4 / 3))


@pytest.mark.parametrize("octaves", [1.5, 2.0, 3.0, 4.0])
def test_point_spread_halves_at_both_corners(octaves: float) -> None:
    """Along the vertical the spectrum is 1/2 at 2^∓(o/2) 2/λ, 0 at 0 and symmetric in between."""
    k = np.float32(2 / 100)
    corners = np.float32([2 ** (-octaves / 2), 2 ** (octaves / 2)]) * k
    zero = np.zeros(1, np.float32)
    values = point_spread(zero, zero, corners, octaves=octaves, **BAND)
    np.testing.assert_allclose(values, 0.5, rtol=2 * 2 ** (-4 * octaves) + 1e-5)
    kz = np.linspace(0, 0.2, 2001, dtype=np.float32)
    spectrum = point_spread(zero, zero, kz, octaves=octaves, **BAND)
    assert spectrum[0] == 0
    between = (kz > 1.5 * corners[0]) & (kz < corners[1] / 1.5)
    assert spectrum[between].min() > 0.75
    assert spectrum[kz > 2 * corners[1]].max() < 1e-3


def test_point_spread_halves_at_the_greatest_dip() -> None:
    """A reflector at the greatest dip is imaged at half amplitude; a steep one hardly."""
    zero, k = np.float32(0), np.float32(0.02)
    flat = point_spread(zero, zero, k, octaves=3.0, **BAND)
    for dip, share in ((0, 1.0), (60, 0.5), (80, 0.0)):
        kx, kz = k * np.sin(np.deg2rad(dip)), k * np.cos(np.deg2rad(dip))
        value = point_spread(kx, zero, kz, octaves=3.0, **BAND)
        assert value / flat == pytest.approx(share, abs=2e-3)


@pytest.mark.filterwarnings("error")
def test_point_spread_is_finite_at_fine_spacing() -> None:
    """A spacing of 5 m overflows nothing; what lies on its side is not imaged."""
    k = np.float32([0.1])
    value = point_spread(k, k, np.float32([0]), octaves=2.0, **BAND)
    assert value == pytest.approx(0, abs=1e-12)
    assert np.isfinite(point_spread(100 * k, k, k, octaves=6.0, **BAND)).all()


def test_blur_of_a_plane_is_the_wavelet_of_the_band() -> None:
    """A horizontal reflector becomes the zero-phase wavelet of the stated spectrum."""
    grid = Grid((16, 16, 256), (25.0, 25.0, 5.0))
    spike = np.zeros(grid.shape, np.float32)
    spike[..., 128] = 1
    trace = blur(spike, grid, (100.0,), 60.0, 2.0)[8, 8]
    k = np.linspace(0, 0.1, 4001)
    spectrum = point_spread(np.float32(0), np.float32(0), k.astype(np.float32), octaves=2.0, **BAND)
    z = 5.0 * (np.arange(256) - 128)
    wavelet = 2 * 5 * np.trapezoid(spectrum * np.cos(2 * np.pi * k * z[:, None]), k, axis=1)
    np.testing.assert_allclose(trace, wavelet, atol=2e-3 * wavelet.max())


def test_resolution_falls_with_depth() -> None:
    """Between knots the wavelet lengthens with depth."""
    grid = Grid((16, 16, 256), (25.0, 25.0, 5.0))
    spikes = np.zeros(grid.shape, np.float32)
    spikes[..., [40, 216]] = 1
    trace = blur(spikes, grid, (60.0, 120.0), 60.0, 2.0)[8, 8]
    shallow, deep = trace[41:80], trace[217:256]
    assert deep.argmin() > 1.4 * shallow.argmin()


def test_blur_refuses_margins_that_explode() -> None:
    """A wavelength of more than 256 samples is refused before memory runs out."""
    grid = Grid((16, 16, 16), (1.0, 5.0, 5.0))
    with pytest.raises(ValueError, match=r"for a wavelength of 300 m. Must be at least 1\.17 m"):
        blur(np.zeros(grid.shape, np.float32), grid, (300.0,), 60.0, 2.0)


# Image


def test_gardner() -> None:
    """Gardner's rule gives 2192 kg/m3 at 2500 m/s."""
    assert gardner_density(np.float32([2500]))[0] == pytest.approx(310 * 2500**0.25)


def test_reflectivity_of_a_step() -> None:
    """A step of impedance by 10 % reflects ln(1.1)/2, positive downward, at the sample above."""
    impedance = np.log(np.where(np.arange(16) < 8, 1.0, 1.1)).astype(np.float32)
    coefficient = reflectivity(np.broadcast_to(impedance, (2, 2, 16)))
    assert coefficient[0, 0, 7] == pytest.approx(np.log(1.1) / 2, rel=1e-5)
    assert np.count_nonzero(coefficient[0, 0]) == 1


def test_impedance_of_water_rock_and_salt() -> None:
    """Impedance is velocity times density, on a surface the geometric mean of both sides."""
    earth = flat_earth((16, 16, 40), interior=0.0, stringers=0.0, sutures=0.0)
    earth.sea_floor_m[:] = 200
    earth.salt_m = np.broadcast_to(earth.grid.z - 600, earth.grid.shape).copy()
    rock = np.full(earth.grid.shape, 2500, np.float32)
    impedance = np.exp(log_impedance(earth, rock))[8, 8]
    water, sediment, salt = 1500 * 1030, 2500 * 310 * 2500**0.25, 4480 * 2160
    np.testing.assert_allclose(impedance[:10], water, rtol=1e-4)
    np.testing.assert_allclose(impedance[10], np.sqrt(water * sediment), rtol=1e-4)
    np.testing.assert_allclose(impedance[11:30], sediment, rtol=1e-4)
    np.testing.assert_allclose(impedance[30], np.sqrt(sediment * salt), rtol=1e-4)
    np.testing.assert_allclose(impedance[31:], salt, rtol=1e-4)


def test_water_is_silent() -> None:
    """Without noise the water is silent but for the wavelet of the sea floor."""
    for seed in range(2):
        earth = build_earth((24, 32, 96), seed=seed, preset=PRESETS["gulf"])
        signal = image_signal(earth, sediment_velocity(earth))
        water = np.abs(signal[earth.buried_m < -image_wavelengths_m(earth)[0]])
        if water.size:
            assert water.max() < 0.05 * np.abs(signal).max()


def test_signal_is_scaled() -> None:
    """The signal has root mean square 1 below the sea floor."""
    earth = build_earth(SMALL, seed=0)
    signal = image_signal(earth, sediment_velocity(earth))
    below = signal[earth.buried_m >= 0].astype(np.float64)
    assert np.sqrt(np.mean(below**2)) == pytest.approx(1, abs=1e-5)


def test_illumination_under_salt() -> None:
    """Illumination is 1 away from salt and falls toward 1 - shadow under thick salt."""
    earth = flat_earth((64, 64, 40), shadow=0.6)
    earth.salt_m[:32, :, 5:20] = 100
    light = illumination(earth)
    np.testing.assert_allclose(light[-2:], 1, atol=1e-5)
    expected = 1 - 0.6 * (1 - np.exp(-15 / 40 / 0.1))
    np.testing.assert_allclose(light[0, 32, -1], expected, rtol=1e-3)


def test_image_dims_under_salt() -> None:
    """The same layers are weaker in the image under salt than without it."""
    lit, dim = (flat_earth((32, 32, 96), shadow=0.6) for _ in range(2))
    dim.salt_m[:, :, 20:40] = 100
    images = [
        blur(reflectivity(log_impedance(e, sediment_velocity(e))), e.grid, (150.0,), 60.0, 2.0)
        * illumination(e)
        for e in (lit, dim)
    ]
    deep = [np.sqrt(np.mean(image[..., 60:] ** 2)) for image in images]
    share = 1 - 0.6 * (1 - np.exp(-20 / 96 / 0.1))
    assert deep[1] == pytest.approx(share * deep[0], rel=0.02)
