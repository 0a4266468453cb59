"""Sediments: named steps that lay down, deform and cut the stratigraphic coordinate."""

import numpy as np
from scipy import ndimage

from saltearth.earth import Array, Earth, draw_position, ramp, random_field, random_map, rotate
from saltearth.presets import as_span


def add_sea_floor(earth: Earth) -> None:
    """Draw the sea floor: a level and a bounded relief."""
    relief = random_map(earth.rng("sea floor"), earth.grid, 0.5 * earth.body_spacing_m, hurst=1.5)
    earth.sea_floor_m = 2 * np.tanh(relief / 2) * earth.length_m("relief")
    earth.sea_floor_m += earth.length_m("water")


def deposit(earth: Earth) -> None:
    """Lay down sediments: parallel to the sea floor on top, flatter with depth."""
    mean = earth.sea_floor_m.mean(dtype=np.float64).astype(np.float32)
    decay = np.exp(-np.maximum(earth.grid.z - mean, 0) / np.float32(0.3 * earth.depth_m))
    earth.age_m = earth.grid.z - mean - (earth.sea_floor_m - mean) * decay


def fold(earth: Earth) -> None:
    """Fold: two patterns, one strongest at depth, one in the middle, so that layers thicken."""
    rng = earth.rng("fold")
    depth = _mean_depth(earth)
    for length, profile in ((0.7, depth), (0.4, 0.5 * np.sin(np.pi * depth))):
        pattern = random_map(rng, earth.grid, length * earth.body_spacing_m, hurst=2.0)
        earth.age_m += earth.length_m("fold") * pattern * profile.astype(np.float32)


def _mean_depth(earth: Earth) -> Array:
    """Return the depth of layers at each sample, as a fraction of all, (1, 1, n_depth)."""
    return np.asarray(np.clip(earth.age_m.mean((0, 1), keepdims=True) / earth.depth_m, 0, 1))


def arch(earth: Earth) -> None:
    """
    Arch layers over buried highs without salt, so that not every dome of layers covers salt.

    Each high may have a collapsed crest: faults start there as they do over salt.
    """
    rng, grid = earth.rng("arches"), earth.grid
    crests_m = rng.uniform((0, 0), grid.extent_m[:2], (earth.count(0.7, least=1), 2))
    rise = np.zeros((*grid.shape[:2], 1), np.float32)
    for x_m, y_m in crests_m:
        long, short = rng.uniform(0.15, 0.5, 2) * earth.body_spacing_m
        along, across = rotate(grid.x - x_m, grid.y - y_m, rng.uniform(0, np.pi))
        bump = np.exp(-0.5 * ((along / long) ** 2 + (across / short) ** 2))
        np.maximum(rise, bump * rng.uniform(0.3, 1.0), out=rise, casting="same_kind")
    earth.age_m += earth.length_m("arches") * rise * _mean_depth(earth)
    earth.crests_m = np.concatenate([earth.tops_m, crests_m.astype(np.float32)])


def prograde(earth: Earth) -> None:
    """Let one package prograde: inside it layers dip as foresets between its top and base."""
    if earth.value("clinoforms") == 0:
        return
    rng, grid = earth.rng("clinoforms"), earth.grid
    top = rng.uniform(0.05, 0.6) * earth.depth_m
    thickness = rng.uniform(0.05, 0.15) * earth.depth_m
    azimuth = rng.uniform(0, 2 * np.pi)
    way = grid.x * np.float32(np.cos(azimuth)) + grid.y * np.float32(np.sin(azimuth))
    inside = ramp(earth.age_m - top, grid.spacing_m[2])
    inside *= ramp(top + thickness - earth.age_m, grid.spacing_m[2])
    # New numbers for the layers inside: foresets are no continuation of those above or below.
    way = (way - way.min()) * np.float32(earth.value("clinoforms"))
    inside *= way + np.float32(3 * earth.depth_m)
    earth.age_m += inside


def erode(earth: Earth) -> None:
    """Cut an angular unconformity: below one layer, a varying thickness is missing."""
    rng = earth.rng("unconformity")
    surface = rng.uniform(0.15, 0.4) * earth.depth_m
    missing = random_map(rng, earth.grid, 0.8 * earth.body_spacing_m, hurst=2.0)
    missing = (1.5 + missing) * earth.length_m("unconformity")
    earth.age_m += missing * ramp(earth.age_m - surface, earth.grid.spacing_m[2])


def carve(earth: Earth) -> None:
    """Carve a meandering channel into one layer; younger layers fill it."""
    rng, vertical = earth.rng("channel"), earth.grid.spacing_m[2]
    top = rng.uniform(0.1, 0.35) * earth.depth_m
    winding = random_map(rng, earth.grid, 0.4 * earth.body_spacing_m, hurst=2.0)
    depth = np.maximum(1 - (winding / np.float32(0.15)) ** 2, 0)
    depth *= earth.length_m("channel")
    inside = ramp(earth.age_m - top, vertical)
    inside *= ramp(top + depth - earth.age_m, vertical)
    inside *= depth > 0
    earth.age_m -= inside * np.float32(0.5 * top)


def disturb(earth: Earth) -> None:
    """Make some packages chaotic (mass transport, polygonal faults)."""
    if earth.value("chaos") == 0:
        return
    rng = earth.rng("chaos")
    lengths_m = rng.uniform((1.0, 1.0, 1.0), (5.0, 5.0, 2.5)) * earth.grid.spacing_m
    push = random_field(rng, earth.grid, lengths_m)
    push *= earth.length_m("chaos")
    window = np.zeros_like(earth.age_m)
    for _ in range(rng.integers(1, 4)):
        centre, half = rng.uniform(0.1, 0.95), rng.uniform(0.015, 0.06)
        off = np.abs(earth.age_m - centre * earth.depth_m) / (half * earth.depth_m)
        np.maximum(window, np.clip(2 - 2 * off, 0, 1) * rng.uniform(0.4, 1.3), out=window)
    earth.age_m += push * window


def fault(earth: Earth) -> None:
    """
    Cut growth faults: planes whose throw grows downward and dies out along strike.

    The hanging wall rolls over: its drop decays away from the fault. Half of the faults start at
    the crest of a salt body or an arch.
    """
    rng = earth.rng("faults")
    for number in range(earth.count(earth.value("faults"))):
        cut(
            earth,
            position_m=draw_position(earth, rng, number, near=earth.crests_m, spread=0.15),
            azimuth=rng.uniform(0, 2 * np.pi),
            dip=np.deg2rad(rng.uniform(50, 70)),
            throw_m=rng.uniform(*as_span(earth.preset.throw)) * earth.depth_m,
            tip_m=rng.uniform(0.0, 0.25) * earth.depth_m,
        )


def cut(
    earth: Earth,
    *,
    position_m: tuple[float, float],
    azimuth: float,
    dip: float,
    throw_m: float,
    tip_m: float,
) -> None:
    """
    Cut one normal fault.

    Parameters
    ----------
    position_m : tuple of two floats
        Point of the fault plane at depth ``tip_m``, where its throw begins, m.
    azimuth, dip : float
        Radians. The plane dips toward (cos azimuth, sin azimuth).
    throw_m : float
        Greatest throw, m, reached .4 of the depth below the tip.
    """
    grid, unit = earth.grid, earth.body_spacing_m
    z = grid.z - tip_m
    turned = rotate(grid.x - position_m[0], grid.y - position_m[1], azimuth)
    toward, along = (values.astype(np.float32) for values in turned)
    growth = np.clip(z / np.float32(0.4 * earth.depth_m), 0, 1) * np.float32(throw_m)
    extent = np.exp(-((along / np.float32(0.5 * unit)) ** 2))
    for here in grid.slabs():
        past = toward[here] - z / np.float32(np.tan(dip))
        drop = ramp(past, min(grid.spacing_m[:2]))
        drop *= np.exp(-np.maximum(past, 0) / np.float32(0.5 * unit))
        earth.age_m[here] -= drop * growth * extent[here]


def upturn(earth: Earth) -> None:
    """Turn layers up against the salt, and arch them over it, less toward the sea floor."""
    reach = np.float32(earth.value("reach") * earth.body_spacing_m)
    lift = np.exp(np.minimum(earth.salt_m, 0) / reach)
    lift *= np.clip(earth.buried_m / np.float32(0.3 * earth.depth_m), 0, 1)
    lift *= np.float32(earth.value("upturn")) * reach
    earth.age_m += lift


def velocity_trend(buried_m: Array, surface_velocity_m_s: float) -> Array:
    """Compaction: velocity in m/s that grows with burial toward 4000 m/s, scale 3.5 km."""
    decay = np.exp(-np.maximum(buried_m, 0) / np.float32(3500.0))
    return np.asarray(np.float32(4000.0) - np.float32(4000.0 - surface_velocity_m_s) * decay)


def layer_sequence(earth: Earth, wavelength_m: float) -> tuple[Array, Array]:
    """
    Draw the layers: relative changes of log velocity along the stratigraphic coordinate.

    Layers of random thickness come in packages, each with its own contrast and mean; some
    packages are nearly transparent. A few layers are bright markers, ``preset.markers`` of them in
    a section as thick as the volume is deep. The layer of an age depends on the seed alone, not on
    the ages that an earth holds: without faults, or in time, its layers are the same.

    Returns
    -------
    age_m : array of shape (n,)
    log_change : array of shape (n, 2)
        Knots of two piecewise linear functions: the layers, and an independent sequence that
        replaces them laterally (`sediment_velocity`). Without markers within ±.1.
    """
    step = 0.25 * earth.grid.spacing_m[2]
    age = np.arange(-earth.depth_m, float(earth.age_m.max()) + 4 * step, step)
    normal = earth.rng("layer contrasts").standard_normal((len(age), 4))
    uniform = earth.rng("layer tops").random((len(age), 4))
    thickness_m = max(earth.value("layer_wavelengths") * wavelength_m, step)
    tops = uniform[:, :2] < (step / thickness_m, step / (earth.value("package") * earth.depth_m))
    layer, package = (np.cumsum(tops, axis=0) - tops[0]).T  # numbers of both at every age
    contrast = np.exp(normal[:, 0] - 0.5)[package, None] * normal[layer, 1:3]
    change = earth.value("contrast") * (contrast + 0.6 * normal[package, 3:])
    change = 0.1 * np.tanh(change / 0.1)
    bright = uniform[:, 2] < earth.value("markers") * thickness_m / earth.depth_m
    marker = bright * np.array((-0.1, 0.15, 0.25))[(3 * uniform[:, 3]).astype(np.intp)]
    change[:, 0] += marker[layer]
    smooth = ndimage.uniform_filter1d(change, 4, axis=0)
    return age.astype(np.float32), smooth.astype(np.float32)
