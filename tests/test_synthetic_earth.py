"""The state of an earth: random maps and fields in closed form, counts, refused grids."""

from dataclasses import replace

import numpy as np
import pytest
from flat_earths import flat_earth

from thesis_lib.synthetic import PRESETS, make_volume
from thesis_lib.synthetic.earth import Earth, Grid, draw, ramp, random_field, random_map


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
    """A Gaussian field of length a has covariance exp(-d^2 / 4 a^2)."""
    grid = Grid((64, 64, 64), (10.0, 10.0, 10.0))
    values = random_field(np.random.default_rng(0), grid, (20.0, 20.0, 20.0))
    assert values.std() == pytest.approx(1, abs=1e-3)
    covariance = np.mean(values[:-2] * values[2:])
    assert covariance == pytest.approx(np.exp(-0.25), abs=0.05)


def test_ramp() -> None:
    """The step is 0, 1/2 and 1 half a width before, at, and half a width after its place."""
    np.testing.assert_allclose(ramp(np.float32([-5, -1, 0, 1, 5]), 2.0), [0, 0, 0.5, 1, 1])


def test_draw() -> None:
    """A number is drawn as itself, a range somewhere inside it."""
    rng = np.random.default_rng(0)
    assert draw(rng, 0.3) == pytest.approx(0.3)
    assert all(2.0 <= draw(rng, (2.0, 3.0)) < 3.0 for _ in range(100))


def test_slabs_cover_the_grid() -> None:
    """Slabs take every inline once, in order."""
    grid = Grid((100, 256, 256), (25.0, 25.0, 20.0))
    lines = np.arange(100)
    np.testing.assert_array_equal(np.concatenate([lines[here] for here in grid.slabs()]), lines)


def test_count_follows_the_area() -> None:
    """Things are counted per squared distance between bodies, within the bounds."""
    earth = flat_earth((80, 80, 100), body_spacing_m=2000.0)
    assert earth.count(8.0) == 8  # 2 km by 2 km
    assert earth.count(0.1, least=1) == 1
    assert earth.count(1e3, most=30) == 30


def test_distance_between_bodies_follows_the_depth() -> None:
    """The distance between bodies is kept between half and all of the depth covered."""
    for spacing_m, expected in ((100.0, 1000.0), (1500.0, 1500.0), (9000.0, 2000.0)):
        earth = flat_earth((16, 16, 100), body_spacing_m=spacing_m)
        assert earth.body_spacing_m == pytest.approx(expected)


def test_streams_are_separate() -> None:
    """Each step has its own random stream, which the seed alone decides."""
    earth = flat_earth()
    again = Earth(earth.grid, replace(PRESETS["north_sea"]), earth.seed)
    assert earth.rng("salt").random() == again.rng("salt").random()
    assert earth.rng("salt").random() != earth.rng("fold").random()


@pytest.mark.parametrize("shape", [(15, 32, 32), (32, 513, 32)])
def test_refuse_shape(shape: tuple[int, int, int]) -> None:
    """A volume outside 16 to 512 samples per axis is refused."""
    with pytest.raises(ValueError, match="Must be from 16 to 512"):
        make_volume(shape, seed=0)


def test_refuse_two_axes() -> None:
    """A section is refused, and so are two spacings."""
    with pytest.raises(ValueError, match=r"Invalid shape \(32, 32\). Must have 3 axes"):
        make_volume((32, 32), seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"Invalid spacing_m \(25.0, 20.0\). Must have 3 axes"):
        make_volume(seed=0, spacing_m=(25.0, 20.0))  # type: ignore[arg-type]


def test_refuse_spacing() -> None:
    """A spacing of 0 is refused."""
    with pytest.raises(ValueError, match="Invalid spacing_m 0"):
        make_volume(seed=0, spacing_m=(0.0, 25.0, 20.0))
