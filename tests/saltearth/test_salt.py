"""Salt bodies: distances in closed form, the fraction of the volume that they fill, inclusions."""

import numpy as np
import pytest
from flat_earths import SMALL, flat_earth

from saltearth import SaltKind, make_volume, salt
from saltearth.imaging import convert_to_time
from saltearth.making import build_earth


@pytest.mark.parametrize("axis", range(3))
def test_ellipsoid_distance(axis: int) -> None:
    """On a surface it vanishes, with slope 1 across it; to a sphere it is exact off its centre."""
    half_axes, tips = (3.0, 2.0, 1.0), np.zeros((3, 3), np.float32)
    tips[axis] = half_axes[axis] + np.array([-0.01, 0, 0.01])
    found = salt.ellipsoid_distance(tips, half_axes)
    np.testing.assert_allclose(found, [0.01, 0, -0.01], atol=2e-4)
    point = np.ix_(*3 * [np.linspace(-3, 3, 30, dtype=np.float32)])
    radius = np.sqrt(sum(p**2 for p in point))
    np.testing.assert_allclose(salt.ellipsoid_distance(point, (2, 2, 2)), 2 - radius, atol=1e-5)


@pytest.mark.parametrize(("blend_m", "expected"), [(4.0, [9, 5, 3]), (0.0, [9, 5, 2])])
def test_smooth_maximum_and_sheet(blend_m: float, expected: list[float]) -> None:
    """A maximum is raised a quarter of the width where values are equal; a sheet is exp(-d^2)."""
    first, second = np.float32([0, 5, 2]), np.float32([9, 1, 2])
    np.testing.assert_allclose(salt.smooth_maximum(first, second, blend_m), expected)
    np.testing.assert_allclose(salt.sheet(np.float32([0, 2, -2]), 2.0), np.exp([0, -1, -1]))


@pytest.mark.parametrize(
    ("x", "y", "z", "inside"),
    [
        (390, 0, 1000, True),  # half axis along the azimuth
        (410, 0, 1000, False),
        (0, 390, 1000, False),  # across it
        (300, 0, 1400, False),  # below the overhang
        (80, 0, 1500, True),  # the stem at its narrowest, .9 of its radius
        (95, 0, 1500, False),
        (400, 0, 1950, True),  # the pedestal is 200 exp(-.5 (4/3)^2) = 82 m high there
        (400, 0, 1900, False),
        (0, 0, 2010, False),  # flat base
    ],
)
def test_body_is_its_parts(x: float, y: float, z: float, inside: bool) -> None:
    """A body is a pedestal on the base, a stem and a head that overhangs the stem."""
    kind = SaltKind((0.4, 0.3), 0.1, 0.0, 0.1, pedestal_height=0.2, pedestal_width=0.3)
    upright = {"x_m": 0.0, "y_m": 0.0, "lean": (0.0, 0.0), "azimuth": 0.0}
    body = salt.Body(kind, 1000.0, head_depth_m=1000.0, base_m=2000.0, **upright)
    assert (body.distance(*np.float32([[x], [y], [z]])) > 0) == inside


@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.4])
def test_fit_salt(fraction: float) -> None:
    """Salt fills the fraction asked for, where it was thickest, all of it below the cover."""
    earth = flat_earth((16, 16, 20), salt_fraction=fraction, cover=0.2)
    before = np.random.default_rng(0).permutation(16 * 16 * 20).reshape(earth.grid.shape)
    earth.salt_m = before.astype(np.float32)
    salt.fit_salt(earth)
    assert earth.salt.sum() == pytest.approx(fraction * before.size, abs=1)
    assert not earth.salt[..., :5].any()  # to a depth of .2 of 400 m
    assert before[earth.salt].min() >= before[..., 5:][~earth.salt[..., 5:]].max()


def test_refuse_salt_that_does_not_fit() -> None:
    """A fraction of salt is refused that does not fit, as below much water in time."""
    earth = flat_earth((16, 16, 20), salt_fraction=0.3)
    earth.sea_floor_m[:] = 300 - 0.06 * 400
    with pytest.raises(ValueError, match=r"Invalid salt_fraction 0.3. Must be at most 0.2, what"):
        salt.fit_salt(earth)
    with pytest.raises(ValueError, match=r"Invalid salt_fraction 0.2. Must be at most 0,"):
        make_volume(SMALL, seed=0, vertical="time", water=0.25, cover=0.2, salt_fraction=0.2)


@pytest.mark.parametrize("seed", range(8))
def test_salt_stays_covered(seed: int) -> None:
    """Salt never reaches the sea floor: the cover of the preset lies between them, also in time."""
    depth, time = (build_earth(SMALL, seed=seed, preset=name) for name in ("gulf", "north_sea"))
    convert_to_time(time)
    for earth in (depth, time):
        assert (earth.buried_m[earth.salt] > 0.999 * earth.length_m("cover")).all()


@pytest.mark.parametrize(("n_bodies", "number"), [(1, 1), (3, 3), (40, 40), (None, 8)])
def test_number_of_bodies(n_bodies: int | None, number: int) -> None:
    """As many bodies as asked for or fit lie in the inner .8 of the area, each head drawn anew."""
    earth = flat_earth((80, 160, 100), n_bodies=n_bodies, body_spacing_m=1000.0)
    bodies = salt.draw_bodies(earth)
    positions = np.array([(body.x_m, body.y_m) for body in bodies])
    depths = {body.head_depth_m / earth.depth_m for body in bodies}
    assert positions.shape == (number, 2)
    assert (abs(positions / earth.grid.extent_m[:2] - 0.5) <= 0.4).all()
    assert len(depths) == number
    assert 0.4 <= min(depths) <= max(depths) <= 0.55


def test_stringers_follow_the_surface() -> None:
    """The interior varies as stated; stringers lie in the salt, parallel to its surface."""
    change = salt.inclusions(flat_earth(interior=0.02, stringers=0.0, sutures=0.0))
    assert change.std() == pytest.approx(0.02, rel=1e-3)
    earth = flat_earth((64, 64, 80), interior=0.0, stringers=0.2)
    earth.salt_m = np.broadcast_to(earth.grid.z - 400, earth.grid.shape).copy()
    change = salt.inclusions(earth)
    assert change.max() == pytest.approx(0.2, rel=0.2)
    depth = earth.salt_m[change > 0.01]
    assert 0 < depth.min() < depth.max() < 0.15 * earth.body_spacing_m
    assert 0 < (change > 0.01).any(axis=2).mean() < 0.6  # in a few patches


def test_sutures_lie_between_bodies() -> None:
    """Two bodies are joined by one seam, strongest on the middle between them."""
    earth = flat_earth((64, 16, 80), interior=0.0, stringers=0.0, sutures=0.1)
    assert salt.inclusions(earth).max() == 0
    earth.tops_m = np.float32([[200, 200], [1400, 200]])
    change = salt.inclusions(earth)
    assert change[32, 8, 36] == pytest.approx(0.1, rel=1e-3)  # x 800 m, .45 of the depth
    assert not change[np.abs(earth.grid.x.ravel() - 800) > 0.3 * earth.body_spacing_m].any()
