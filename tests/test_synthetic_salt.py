"""Salt bodies: distances in closed form, the share of the volume that they fill, inclusions."""

from dataclasses import replace

import numpy as np
import pytest
from flat_earths import SMALL, flat_earth

from thesis_lib.synthetic import KINDS, PRESETS, build_earth, make_volume
from thesis_lib.synthetic.salt import (
    Body,
    draw_bodies,
    ellipsoid_distance,
    fitting_level,
    inclusions,
    sheet,
    smooth_maximum,
)

GULF = PRESETS["gulf"]


def test_sphere_distance() -> None:
    """The distance to a sphere is exact off its centre."""
    x = np.linspace(-3, 3, 31, dtype=np.float32)
    point = (x[:, None, None], x[None, :, None], x[None, None, :])
    radius = np.sqrt(sum(p**2 for p in point))
    off = radius > 0
    distance = ellipsoid_distance(point, (2.0, 2.0, 2.0))
    np.testing.assert_allclose(distance[off], (2 - radius)[off], atol=1e-5)


def test_ellipsoid_surface() -> None:
    """The distance to an ellipsoid vanishes on it and has slope 1 across it."""
    half = (3.0, 2.0, 1.0)
    for axis in range(3):
        tips = [np.zeros(3, np.float32) for _ in range(3)]
        tips[axis] = np.array([half[axis] - 0.01, half[axis], half[axis] + 0.01], np.float32)
        distance = ellipsoid_distance((tips[0], tips[1], tips[2]), half)
        np.testing.assert_allclose(distance, [0.01, 0, -0.01], atol=2e-4)


def test_smooth_maximum() -> None:
    """It is the maximum where the values differ, and rises a quarter of the width where equal."""
    first, second = np.float32([0, 5, 2]), np.float32([9, 1, 2])
    np.testing.assert_allclose(smooth_maximum(first, second, 4.0), [9, 5, 3])
    np.testing.assert_allclose(smooth_maximum(first, second, 0.0), [9, 5, 2])


def test_body_is_its_parts() -> None:
    """A body is a pedestal on the base, a stem and a head that overhangs the stem."""
    body = Body(
        x_m=0.0,
        y_m=0.0,
        azimuth=0.0,
        lean=(0.0, 0.0),
        head_m=(400.0, 300.0, 100.0),
        head_depth_m=1000.0,
        shift_m=0.0,
        stem_m=100.0,
        pedestal_height_m=200.0,
        pedestal_width_m=300.0,
        base_m=2000.0,
    )

    def inside(x: float, y: float, z: float) -> bool:
        return bool(body.distance(*(np.float32([v]) for v in (x, y, z)))[0] > 0)

    assert inside(390, 0, 1000)  # half axis along the azimuth
    assert not inside(410, 0, 1000)
    assert not inside(0, 390, 1000)  # across it
    assert not inside(300, 0, 1400)  # below the overhang
    assert inside(80, 0, 1500)  # the stem at its narrowest, .9 of its radius
    assert not inside(95, 0, 1500)
    assert inside(400, 0, 1950)  # the pedestal is 200 exp(-.5 (4/3)^2) = 82 m high there
    assert not inside(400, 0, 1900)
    assert not inside(0, 0, 2010)  # flat base


def test_fitting_level() -> None:
    """Above the level lies the share asked for, of the whole volume, where it is allowed."""
    inside = np.random.default_rng(0).permutation(1000).astype(np.float32).reshape(10, 10, 10)
    allowed = np.arange(10) > 3
    for fraction in (0.05, 0.2, 0.4):
        above = (inside > fitting_level(inside, allowed, fraction)) & allowed
        assert above.sum() == pytest.approx(1000 * fraction, abs=1)


def test_refuse_salt_without_place() -> None:
    """A share of salt is refused that finds no place, as below much water in time."""
    with pytest.raises(ValueError, match=r"Invalid salt_fraction 0.3. Must be at most 0.2, what"):
        fitting_level(np.zeros((5, 5, 5), np.float32), np.arange(5) > 3, 0.3)
    with pytest.raises(ValueError, match=r"Invalid salt_fraction 0.2. Must be at most 0,"):
        make_volume(
            SMALL, seed=0, vertical="time", water=0.25, cover=0.2, salt_fraction=0.2, noise=0.0
        )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_alone(kind: str) -> None:
    """Each kind of salt alone fills the share asked for, the least and the greatest."""
    for seed, fraction in ((0, 0.05), (1, 0.4)):
        preset = replace(GULF, kinds=(kind,), salt_fraction=fraction)
        count = build_earth(SMALL, seed=seed, preset=preset).salt.sum()
        assert count == pytest.approx(fraction * np.prod(SMALL), abs=2)


def test_salt_stays_covered() -> None:
    """Salt never reaches the sea floor: the cover of the preset lies between them."""
    for seed in range(10):
        earth = build_earth(SMALL, seed=seed)
        assert (earth.buried_m[earth.salt] > 0.999 * earth.value("cover") * earth.depth_m).all()


@pytest.mark.parametrize("number", [1, 3, 40])
def test_number_of_bodies(number: int) -> None:
    """There are as many bodies as asked for, all in the inner .8 of the area."""
    earth = flat_earth(n_bodies=number)
    bodies = draw_bodies(earth)
    assert len(bodies) == number
    for axis, places in enumerate(([body.x_m for body in bodies], [body.y_m for body in bodies])):
        extent = earth.grid.extent_m[axis]
        assert min(places) >= 0.1 * extent
        assert max(places) <= 0.9 * extent


def test_bodies_fill_the_area_by_default() -> None:
    """By default there is one body per squared distance between bodies, and at least one."""
    assert len(draw_bodies(flat_earth((80, 160, 100), body_spacing_m=1000.0))) == 8
    assert len(draw_bodies(flat_earth((16, 16, 100)))) == 1


def test_heads_are_drawn_one_by_one() -> None:
    """A range of head depths holds for each body, not for the earth."""
    earth = flat_earth(n_bodies=10, head_depth=(0.4, 0.5))
    depths = {body.head_depth_m for body in draw_bodies(earth)}
    assert len(depths) == 10
    assert 0.4 * earth.depth_m <= min(depths) <= max(depths) <= 0.5 * earth.depth_m


def test_sheet() -> None:
    """A sheet is 1 at its place and 1/e at its thickness."""
    np.testing.assert_allclose(sheet(np.float32([0, 2, -2]), 2.0), [1, np.exp(-1), np.exp(-1)])


def test_interior_at_the_stated_strength() -> None:
    """Without stringers and sutures, the inside varies by the standard deviation stated."""
    change = inclusions(flat_earth(interior=0.02, stringers=0.0, sutures=0.0))
    assert change.std() == pytest.approx(0.02, rel=1e-3)


def test_stringers_follow_the_surface() -> None:
    """Stringers lie in the salt, parallel to its surface, in a few patches."""
    earth = flat_earth((64, 64, 80), interior=0.0, stringers=0.2)
    earth.salt_m = np.broadcast_to(earth.grid.z - 400, earth.grid.shape).copy()
    change = inclusions(earth)
    assert change.max() == pytest.approx(0.2, rel=0.2)
    depth = np.broadcast_to(earth.salt_m, change.shape)[change > 0.01]
    assert depth.min() > 0
    assert depth.max() < 0.15 * earth.body_spacing_m
    assert 0 < (change > 0.01).any(axis=2).mean() < 0.6


def test_sutures_lie_between_bodies() -> None:
    """Two bodies are joined by one seam, strongest on the middle between them."""
    earth = flat_earth((64, 16, 80), interior=0.0, stringers=0.0, sutures=0.1)
    assert inclusions(earth).max() == 0
    earth.tops_m = np.float32([[200, 200], [1400, 200]])
    change = inclusions(earth)
    assert change[32, 8, 36] == pytest.approx(0.1, rel=1e-3)  # x 800 m, .45 of the depth
    far = np.abs(earth.grid.x.ravel() - 800) > 0.3 * earth.body_spacing_m
    assert np.abs(change[far]).sum() == 0


def test_inclusions_change_only_the_impedance() -> None:
    """Inclusions change the image inside salt, but neither the mask nor the velocity."""
    clean = {"noise": 0.0, "swings": 0.0, "gain": 0.0}
    plain = make_volume(SMALL, seed=2, interior=0.0, stringers=0.0, sutures=0.0, **clean)
    rich = make_volume(SMALL, seed=2, interior=0.05, stringers=0.5, sutures=0.5, **clean)
    assert plain.salt.equals(rich.salt)
    assert plain.velocity.equals(rich.velocity)
    spread = [volume.amplitude.values[plain.salt.values].std() for volume in (plain, rich)]
    assert spread[1] > spread[0]
