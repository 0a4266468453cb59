"""What spoils an image: noise and swings at a stated level, gain and clipping in closed form."""

import numpy as np
import pytest
from flat_earths import CLEAN, SMALL, flat_earth, root_mean_square

from saltearth import make_volume
from saltearth.artefacts import add_noise, apply_agc, clip, draw_swing
from saltearth.imaging import image_wavelengths_m
from saltearth.making import build_earth


@pytest.mark.parametrize("what", ["noise", "swings"])
@pytest.mark.parametrize("level", [0.25, 1.0])
def test_stated_level(what: str, level: float) -> None:
    """Noise and swings have the stated root mean square, as a fraction of that of the signal."""
    clean = make_volume(SMALL, seed=1, **CLEAN).amplitude.values
    spoilt = make_volume(SMALL, seed=1, **(CLEAN | {what: level})).amplitude.values
    below = build_earth(SMALL, seed=1).buried_m >= 0
    assert root_mean_square(clean[below]) == pytest.approx(1, abs=1e-5)
    assert root_mean_square((spoilt - clean)[below]) == pytest.approx(level, rel=1e-4)


def test_noise_has_the_band_along_a_trace() -> None:
    """Noise fills the band of the wavelet and hardly more; in the water a tenth of it is left."""
    earth = flat_earth((32, 32, 256), noise=1.0, frequency_hz=8.0, octaves=2.0)
    image = np.zeros(earth.grid.shape, np.float32)
    add_noise(earth, image)
    power = np.mean(np.abs(np.fft.rfft(image)) ** 2, axis=(0, 1))
    kz, middle = np.fft.rfftfreq(256, 20.0), 2 / image_wavelengths_m(earth)[1]
    inside = (kz > middle / 1.5) & (kz < middle * 1.5)
    plateau = power[inside].mean()
    assert power[kz < middle / 6].mean() < 0.05 * plateau
    assert power[kz > middle * 3].mean() < 0.01 * plateau
    assert power[inside].min() > 0.5 * plateau
    earth.sea_floor_m[:] = 128 * 20
    add_noise(earth, image := np.zeros_like(image))
    assert root_mean_square(image[..., 128:]) == pytest.approx(1, rel=1e-4)
    assert root_mean_square(image[..., :128]) == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_hardly_related_between_traces(seed: int) -> None:
    """Neighbouring traces have at most 3/4 of their noise in common, traces four apart nothing."""
    earth = flat_earth((64, 64, 64), seed=seed, noise=1.0)
    image = np.zeros(earth.grid.shape, np.float32)
    add_noise(earth, image)
    for lines in (image, np.moveaxis(image, 1, 0)):
        power = np.mean(image**2)
        assert -0.01 < np.mean(lines[1:] * lines[:-1]) / power < 0.75
        assert abs(np.mean(lines[4:] * lines[:-4]) / power) < 0.05


def test_a_swing_lies_on_its_sphere() -> None:
    """A swing is strongest in its middle, lies on the lower half of its sphere, and fades."""
    earth = flat_earth((64, 64, 64), frequency_hz=20.0)
    centre_m, dip, azimuth, radius = (800.0, 800.0, 640.0), np.deg2rad(30), np.deg2rad(40), 1000.0
    image = np.zeros(earth.grid.shape, np.float32)
    swing = {"centre_m": centre_m, "dip": dip, "azimuth": azimuth, "radius_m": radius}
    draw_swing(earth, image, strength=-0.7, **swing)
    assert image[32, 32, 32] == pytest.approx(-0.7)
    assert image.min() == pytest.approx(-0.7)
    x, y, z = np.array(centre_m) - radius * np.array(
        [np.sin(dip) * np.cos(azimuth), np.sin(dip) * np.sin(azimuth), np.cos(dip)]
    )
    strong = np.argwhere(image.min(axis=2) < -0.4)
    assert len(strong) > 20
    for i, j in strong:
        depth = z + np.sqrt(radius**2 - (25 * i - x) ** 2 - (25 * j - y) ** 2)
        assert 20 * image[i, j].argmin() == pytest.approx(depth, abs=20)
    assert not image[np.abs(earth.grid.x.ravel() - 800) > radius / 2 + 25].any()
    assert abs(image[42, 32]).max() < 1.1 * 0.7 * np.exp(-1)  # a quarter of the radius away


@pytest.mark.parametrize("centre_m", [(-900.0, 100.0, 100.0), (9e4, 9e4, 9e4), (0.0, 0.0, 0.0)])
def test_swings_may_leave_the_volume(centre_m: tuple[float, float, float]) -> None:
    """Swings outside the volume add nothing, swings at its corners what lies inside."""
    image = np.zeros(SMALL, np.float32)
    swing = {"dip": 0.5, "azimuth": 1.0, "radius_m": 400.0, "strength": 1.0}
    draw_swing(flat_earth(), image, centre_m=centre_m, **swing)
    assert np.isfinite(image).all()
    assert image.any() == (centre_m == (0.0, 0.0, 0.0))


def test_gain_in_closed_form() -> None:
    """Where the amplitude is ±a all over the window, it becomes a / (a^2 + r^2 / 10)^(1/2)."""
    earth = flat_earth((16, 16, 100), gain=0.1)
    loud = np.where(np.arange(100) < 50, 4.0, 1.0)
    image = np.broadcast_to((-1.0) ** np.arange(100) * loud, earth.grid.shape).astype(np.float32)
    apply_agc(earth, image)
    expected = loud / np.sqrt(loud**2 + 0.1 * np.mean(loud**2))
    away = np.r_[0:44, 56:100]
    ratio = np.abs(image[3, 4])[away] / expected[away]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    assert root_mean_square(image) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_clip_the_stated_fraction(fraction: float) -> None:
    """The stated fraction of the samples is set to the largest magnitude left; the rest stays."""
    image = np.random.default_rng(0).standard_normal(SMALL).astype(np.float32)
    before = image.copy()
    clip(flat_earth(clip=fraction), image)
    clipped = np.abs(image) == np.abs(image).max()
    assert clipped.mean() == pytest.approx(fraction, abs=2 / image.size)
    np.testing.assert_array_equal(image[~clipped], before[~clipped])
    np.testing.assert_array_equal(np.sign(image), np.sign(before))
