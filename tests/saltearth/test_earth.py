"""The state of an earth: random maps and fields in closed form, counts, refused grids."""

import numpy as np
import pytest
from flat_earths import SMALL, flat_earth

from saltearth import make_volume
from saltearth.earth import Grid, draw_position, ramp, random_field, random_map, rotate
from saltearth.making import build_earth


def test_random_map_statistics() -> None:
    """A random map has mean 0, variance 1, and is smoother the larger its Hurst exponent."""
    grid = Grid((256, 256, 16), (25.0, 25.0, 20.0))
    rough, smooth = (
        np.stack([random_map(np.random.default_rng(s), grid, 200.0, hurst=h) for s in range(8)])
        for h in (0.5, 2.0)
    )
    for maps in (rough, smooth):
        assert abs(maps.mean()) < 0.1
        assert maps.var() == pytest.approx(1, abs=0.15)
    assert np.diff(rough, axis=1).std() > 2 * np.diff(smooth, axis=1).std()


def test_random_field_statistics() -> None:
    """A Gaussian field of length a has covariance exp(-d^2 / 4 a^2); slabs take every inline."""
    grid = Grid((64, 64, 64), (10.0, 10.0, 10.0))
    values = random_field(np.random.default_rng(0), grid, (20.0, 20.0, 20.0))
    assert values.std() == pytest.approx(1, abs=1e-3)
    assert np.mean(values[:-2] * values[2:]) == pytest.approx(np.exp(-0.25), abs=0.05)
    np.testing.assert_array_equal(np.concatenate([values[here] for here in grid.slabs()]), values)


def test_ramp_and_rotate() -> None:
    """A ramp is 0, 1/2, 1 around its position; a point along an azimuth lies on its axis."""
    np.testing.assert_allclose(ramp(np.float32([-5, -1, 0, 1, 5]), 2.0), [0, 0, 0.5, 1, 1])
    angles = np.array([0.3, 0.3 + np.pi / 2])  # the second a quarter turn on
    along, across = rotate(np.cos(angles), np.sin(angles), 0.3)
    np.testing.assert_allclose([along, across], np.eye(2), atol=1e-7)


def test_draw_position() -> None:
    """Even numbers may lie anywhere, odd ones around the points given in turn, if there are any."""
    earth, points = flat_earth((80, 80, 100)), np.float32([[500, 500], [1500, 1000]])
    rng = np.random.default_rng(0)
    drawn = np.array([draw_position(earth, rng, n, near=points, spread=0.01) for n in range(400)])
    np.testing.assert_allclose(drawn[0::2].std(axis=0), 2000 / np.sqrt(12), rtol=0.1)
    np.testing.assert_allclose(drawn[1::2].mean(axis=0), points[1], atol=10)
    np.testing.assert_allclose(drawn[1::2].std(axis=0), 0.01 * earth.body_spacing_m, rtol=0.2)
    anywhere = [draw_position(earth, rng, 1, near=points[:0], spread=0.01) for _ in range(200)]
    assert np.std(anywhere) > 400


def test_count_follows_the_area() -> None:
    """Things are counted per squared distance of bodies, which is half to all of the depth."""
    earth = flat_earth((80, 80, 100), body_spacing_m=2000.0)  # 2 km by 2 km
    assert [earth.count(8.0), earth.count(0.1, least=1), earth.count(1e3, most=30)] == [8, 1, 30]
    for spacing_m, kept_m in ((100.0, 1e3), (1500.0, 1.5e3), (9000.0, 2e3)):
        assert flat_earth((16, 16, 100), body_spacing_m=spacing_m).body_spacing_m == kept_m


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shape": (15, 32, 32)}, "Invalid shape 15. Must be from 16 to 512"),
        ({"shape": (32, 513, 32)}, "Invalid shape 513. Must be from 16 to 512"),
        ({"shape": (32, 32)}, r"Invalid shape \(32, 32\). Must have 3 axes"),
        ({"spacing_m": (25.0, 20.0)}, r"Invalid spacing_m \(25.0, 20.0\). Must have 3 axes"),
        ({"spacing_m": (0.0, 25.0, 20.0)}, r"Invalid spacing_m 0"),
        ({"seed": -1}, "Invalid seed -1"),
        ({"preset": "moon"}, "one of: 'gulf', 'north_sea'"),
        ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
@pytest.mark.parametrize("make", [make_volume, build_earth])
def test_refuse_arguments(make, wrong: dict, message: str) -> None:
    """A grid has three axes of 16 to 512 samples; seeds, presets and their fields are known."""
    with pytest.raises((ValueError, TypeError), match=message):
        make(**{"shape": SMALL, "seed": 0, **wrong})
