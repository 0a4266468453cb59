"""What spoils an image: noise and swings at a stated level, gain and clipping in closed form."""

import numpy as np
import pytest
from flat_earths import SMALL, flat_earth

from thesis_lib.synthetic import build_earth, make_volume
from thesis_lib.synthetic.artefacts import add_noise, add_swings, clip, draw_swing, equalise
from thesis_lib.synthetic.imaging import image_wavelengths_m

CLEAN = {"noise": 0.0, "swings": 0.0, "gain": 0.0, "clip": 0.0}


def root_mean_square(values: np.ndarray) -> float:
    """Return the root mean square in double precision."""
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))


# Noise and swings


@pytest.mark.parametrize("what", ["noise", "swings"])
@pytest.mark.parametrize("share", [0.25, 1.0])
def test_stated_level(what: str, share: float) -> None:
    """Alone, noise and swings have the stated root mean square: a share of that of the signal."""
    clean = make_volume(SMALL, seed=1, **CLEAN).amplitude.values
    spoilt = make_volume(SMALL, seed=1, **(CLEAN | {what: share})).amplitude.values
    below = build_earth(SMALL, seed=1).buried_m >= 0
    added = spoilt - clean
    assert root_mean_square(clean[below]) == pytest.approx(1, abs=1e-5)
    assert root_mean_square(added[below]) == pytest.approx(share, rel=1e-4)


def test_water_is_muted() -> None:
    """In the water a tenth of the noise is left."""
    earth = flat_earth((32, 32, 200), noise=1.0)
    earth.sea_floor_m[:] = 2000
    image = np.zeros(earth.grid.shape, np.float32)
    add_noise(earth, image)
    assert root_mean_square(image[..., 100:]) == pytest.approx(1, rel=1e-4)
    assert root_mean_square(image[..., :100]) == pytest.approx(0.1, rel=0.1)


def test_noise_has_the_band_along_a_trace() -> None:
    """Along a trace noise fills the band of the wavelet and hardly anything beyond it."""
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


def test_noise_is_hardly_related_between_traces() -> None:
    """Neighbouring traces share at most 3/4 of their noise, traces four apart nothing."""
    for seed in range(4):
        earth = flat_earth((64, 64, 64), noise=1.0)
        earth.seed = seed
        image = np.zeros(earth.grid.shape, np.float32)
        add_noise(earth, image)
        for axis in (0, 1):
            lines = np.moveaxis(image, axis, 0)
            power = np.mean(image**2)
            assert 0 <= np.mean(lines[1:] * lines[:-1]) / power < 0.75
            assert abs(np.mean(lines[4:] * lines[:-4]) / power) < 0.05


def test_a_swing_lies_on_its_sphere() -> None:
    """A swing is strongest along the lower half of its sphere, at its strength in the middle."""
    earth = flat_earth((64, 64, 64), frequency_hz=20.0)
    place, dip, toward, radius = (800.0, 800.0, 640.0), np.deg2rad(30), np.deg2rad(40), 1000.0
    image = np.zeros(earth.grid.shape, np.float32)
    draw_swing(earth, image, place_m=place, dip=dip, toward=toward, radius_m=radius, strength=-0.7)
    assert image[32, 32, 32] == pytest.approx(-0.7)
    assert image.min() == pytest.approx(-0.7)
    centre = np.array(place) - radius * np.array(
        [np.sin(dip) * np.cos(toward), np.sin(dip) * np.sin(toward), np.cos(dip)]
    )
    strong = np.argwhere(image.min(axis=2) < -0.4)
    assert len(strong) > 20
    for i, j in strong:
        below = np.sqrt(radius**2 - (25 * i - centre[0]) ** 2 - (25 * j - centre[1]) ** 2)
        assert 20 * image[i, j].argmin() == pytest.approx(centre[2] + below, abs=20)


def test_a_swing_fades() -> None:
    """A swing is a piece: beyond half of its radius from the middle nothing of it is left."""
    earth = flat_earth((64, 64, 64), frequency_hz=20.0)
    image = np.zeros(earth.grid.shape, np.float32)
    draw_swing(
        earth,
        image,
        place_m=(800.0, 800.0, 640.0),
        dip=0.0,
        toward=0.0,
        radius_m=600.0,
        strength=1.0,
    )
    assert not image[np.abs(earth.grid.x.ravel() - 800) > 300 + 25].any()
    assert abs(image[32 + 6, 32, :]).max() < 1.1 * np.exp(-1)  # a quarter of the radius away


@pytest.mark.parametrize("place_m", [(-900.0, 100.0, 100.0), (9e4, 9e4, 9e4), (0.0, 0.0, 0.0)])
def test_swings_may_leave_the_volume(place_m: tuple[float, float, float]) -> None:
    """Swings outside the volume add nothing, swings at its corners what lies inside."""
    earth = flat_earth()
    image = np.zeros(SMALL, np.float32)
    draw_swing(earth, image, place_m=place_m, dip=0.5, toward=1.0, radius_m=400.0, strength=1.0)
    assert np.isfinite(image).all()
    assert image.any() == (place_m == (0.0, 0.0, 0.0))


def test_swings_without_salt() -> None:
    """Swings need no salt to gather at."""
    earth = flat_earth(swings=0.5)
    image = np.zeros(SMALL, np.float32)
    add_swings(earth, image)
    assert root_mean_square(image) == pytest.approx(0.5, rel=1e-4)


# Gain and clipping


def test_gain_in_closed_form() -> None:
    """Where the amplitude is ±a all over the window, it becomes a / (a^2 + r^2 / 10)^(1/2)."""
    earth = flat_earth((16, 16, 100), gain=0.1)
    loud = np.where(np.arange(100) < 50, 4.0, 1.0)
    image = np.broadcast_to((-1.0) ** np.arange(100) * loud, earth.grid.shape).astype(np.float32)
    power = np.mean(loud**2)
    equalise(earth, image)
    expected = loud / np.sqrt(loud**2 + 0.1 * power)
    away = np.r_[0:44, 56:100]
    ratio = np.abs(image[3, 4])[away] / expected[away]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-4)
    assert root_mean_square(image) == pytest.approx(1, abs=1e-5)


def test_gain_evens_the_amplitude() -> None:
    """After a gain the root mean square varies less with depth than before, and is 1 over all."""
    shape = (24, 32, 96)
    below = build_earth(shape, seed=0).buried_m >= 0
    spread = []
    for gain in (0.0, 0.1):
        image = make_volume(shape, seed=0, **(CLEAN | {"gain": gain})).amplitude.values
        assert root_mean_square(image[below]) == pytest.approx(1, abs=1e-4)
        levels = [root_mean_square(part) for part in np.array_split(image[..., 30:], 6, axis=2)]
        spread.append(np.std(np.log(levels)))
    assert spread[1] < 0.6 * spread[0]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_clip_the_stated_share(share: float) -> None:
    """The stated share of the samples comes to lie at the largest magnitude; the rest stays."""
    image = np.random.default_rng(0).standard_normal(SMALL).astype(np.float32)
    before = image.copy()
    clip(flat_earth(clip=share), image)
    clipped = np.abs(image) == np.abs(image).max()
    assert clipped.mean() == pytest.approx(share, abs=2 / image.size)
    np.testing.assert_array_equal(image[~clipped], before[~clipped])
    np.testing.assert_array_equal(np.sign(image), np.sign(before))


def test_switched_off_leaves_the_image() -> None:
    """Whatever has the amount 0 leaves the image as it is."""
    earth, image = flat_earth(**CLEAN), np.ones(SMALL, np.float32)
    for spoil in (add_noise, add_swings, equalise, clip):
        spoil(earth, image)
        np.testing.assert_array_equal(image, 1)
