"""Salt bodies as an implicit function: a distance in m, positive inside."""

from dataclasses import dataclass

import numpy as np

from saltearth.earth import Array, Earth, ramp, random_field, random_map, rotate
from saltearth.presets import KINDS, SaltKind, as_span


@dataclass(frozen=True)
class Body:
    """
    One salt body: a kind at a position, its parts multiplied by ``unit_m``.

    The axis leans by ``lean`` m laterally per m of depth, from the centre of the head.
    """

    kind: SaltKind
    unit_m: float
    x_m: float
    y_m: float
    lean: tuple[float, ...]
    azimuth: float
    head_depth_m: float
    base_m: float

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the approximate distance to the surface, m, positive inside."""
        kind, unit_m = self.kind, self.unit_m
        down = z - self.head_depth_m
        east = x - self.x_m - self.lean[0] * down
        north = y - self.y_m - self.lean[1] * down
        radius: Array = np.hypot(east, north)
        dome = np.exp(-0.5 * (radius / (unit_m * kind.pedestal_width)) ** 2)
        inside: Array = z - self.base_m + unit_m * kind.pedestal_height * dome
        stem_m = unit_m * kind.stem_radius
        if stem_m:
            part = np.clip(down / (self.base_m - self.head_depth_m), 0, 1)
            stem = np.minimum(stem_m * (1.3 - 1.6 * part * (1 - part)) - radius, down)
            inside = smooth_maximum(inside, stem, 0.5 * stem_m)
        if kind.head_height:
            along, across = rotate(east, north, self.azimuth)
            half_axes = tuple(unit_m * size for size in (*kind.head_radius, kind.head_height))
            head = ellipsoid_distance((along - unit_m * kind.head_shift, across, down), half_axes)
            inside = smooth_maximum(inside, head, 0.5 * stem_m)
        return np.asarray(np.minimum(inside, self.base_m - z))


def ellipsoid_distance(point: tuple[Array, Array, Array], half_axes: tuple[float, ...]) -> Array:
    r"""
    Return the approximate distance to an ellipsoid, positive inside, exact for a sphere.

    With :math:`g = |p / r|` the distance is :math:`g (1 - g) / |p / r^2|`, which is right to
    first order at the surface.
    """
    first = sum((p / r) ** 2 for p, r in zip(point, half_axes, strict=True))
    second = sum((p / r**2) ** 2 for p, r in zip(point, half_axes, strict=True))
    level = np.sqrt(first)
    return np.asarray(level * (1 - level) / np.sqrt(second + np.float32(1e-20)))


def smooth_maximum(first: Array, second: Array, blend_m: float) -> Array:
    """Return the maximum of two distances, rounded where they differ by less than ``blend_m``."""
    if blend_m == 0:
        return np.maximum(first, second)
    near = np.maximum(blend_m - np.abs(first - second), 0) / blend_m
    return np.asarray(np.maximum(first, second) + near**2 * np.float32(0.25 * blend_m))


def add_salt(earth: Earth) -> None:
    """Add salt bodies to the earth: kinds, positions, a rough top, a smoother base."""
    bodies = draw_bodies(earth)
    earth.tops_m = np.array([(body.x_m, body.y_m) for body in bodies], np.float32)
    earth.salt_m = union(earth, bodies)
    fit_salt(earth)


def fit_salt(earth: Earth) -> None:
    """
    Let the salt swell or shrink by a constant distance to ``preset.salt_fraction`` of the samples.

    Whatever the seed and the shape, it stays below the sea floor and its cover.

    Raises
    ------
    ValueError
        If fewer samples lie below the cover.
    """
    below_m = earth.sample_depth_m - (np.maximum(earth.sea_floor_m, 0) + earth.length_m("cover"))
    fraction, n_samples = earth.value("salt_fraction"), earth.salt_m.size
    allowed = earth.salt_m[below_m > 0]
    rank = allowed.size - round(fraction * n_samples)
    if rank < 0:
        raise ValueError(
            f"Invalid salt_fraction {fraction:.3g}. Must be at most "
            f"{allowed.size / n_samples:.3g}, what lies below the sea floor and the cover of salt."
        )
    earth.salt_m -= np.partition(allowed, rank)[rank]
    np.minimum(earth.salt_m, below_m, out=earth.salt_m)


def draw_bodies(earth: Earth) -> list[Body]:
    """Draw the bodies: each as far from the earlier ones as the best of a few tries."""
    rng = earth.rng("salt")
    width, length, _ = earth.grid.extent_m
    positions: list[np.ndarray] = []
    for _ in range(earth.preset.n_bodies or earth.count(1.0, least=1)):
        tries = rng.uniform((0.1 * width, 0.1 * length), (0.9 * width, 0.9 * length), (8, 2))
        gaps = [min((float(np.hypot(*(t - p))) for p in positions), default=0.0) for t in tries]
        positions.append(tries[int(np.argmax(gaps))])
    return [_draw_body(earth, rng, float(x), float(y)) for x, y in positions]


def _draw_body(earth: Earth, rng: np.random.Generator, x_m: float, y_m: float) -> Body:
    kind = KINDS[earth.preset.kinds[rng.integers(len(earth.preset.kinds))]]
    unit_m = earth.body_spacing_m * rng.uniform(0.85, 1.2)
    return Body(
        kind=kind,
        unit_m=unit_m,
        x_m=x_m,
        y_m=y_m,
        lean=tuple(rng.normal(0, 0.12, 2).tolist()),
        azimuth=rng.uniform(0, 2 * np.pi),
        head_depth_m=rng.uniform(*as_span(earth.preset.head_depth)) * earth.depth_m,
        base_m=earth.value("base_depth") * earth.depth_m,
    )


def union(earth: Earth, bodies: list[Body]) -> Array:
    """
    Return the distance to the union of bodies with warped flanks and a rough top.

    Computed slab by slab, so that no temporary is as large as the volume.
    """
    rng, grid, unit = earth.rng("salt surface"), earth.grid, earth.body_spacing_m
    warps = [0.05 * unit * random_map(rng, grid, 0.15 * unit) for _ in range(4)]
    phase = grid.z * np.float32(2 * np.pi / (0.6 * unit))
    turn = np.cos(phase), np.sin(phase)
    rough = random_map(rng, grid, 0.1 * unit, hurst=0.5) * earth.length_m("rugosity")
    middle = np.float32(np.mean([body.head_depth_m for body in bodies]))
    upper = np.float32(0.25) + np.float32(0.75) / (1 + np.exp((grid.z - middle) / (0.03 * middle)))
    inside = np.empty(grid.shape, np.float32)
    for here in grid.slabs():
        east = grid.x[here] + warps[0][here] * turn[0] + warps[1][here] * turn[1]
        north = grid.y + warps[2][here] * turn[0] + warps[3][here] * turn[1]
        depth = grid.z + rough[here] * upper
        parts = (body.distance(east, north, depth) for body in bodies)
        inside[here] = np.maximum.reduce(list(parts))
    return inside


def inclusions(earth: Earth) -> Array:
    """
    Return what lies inside the salt, as changes of log impedance.

    A fine random texture; stringers, fragments of sheets parallel to the surface of the salt; and
    sutures, seams where two neighbouring bodies met.

    Returns
    -------
    array of the grid's shape
        Meant for the inside of the salt; outside it has no meaning.
    """
    rng, grid = earth.rng("inclusions"), earth.grid
    dx, dy, dz = grid.spacing_m
    lateral, vertical = rng.uniform(1.0, 5.0), rng.uniform(0.8, 2.5)
    change = random_field(rng, grid, (lateral * dx, lateral * dy, vertical * dz))
    change *= np.float32(earth.value("interior"))
    for depth in rng.uniform(0.03, 0.12, 2) * earth.body_spacing_m:
        patches = ramp(random_map(rng, grid, 0.1 * earth.body_spacing_m) - 0.8, 0.4)
        change += sheet(earth.salt_m - np.float32(depth), dz) * patches * earth.value("stringers")
    for first, second in zip(earth.tops_m[:-1], earth.tops_m[1:], strict=True):
        middle, way = (first + second) / 2, (second - first) / np.hypot(*(second - first))
        across = (grid.x - middle[0]) * way[0] + (grid.y - middle[1]) * way[1]
        lean = np.float32(rng.uniform(-1.5, 1.5))
        seam = sheet(lean * across + grid.z - np.float32(0.45 * earth.depth_m), dz)
        change += seam * (np.abs(across) < 0.3 * earth.body_spacing_m) * earth.value("sutures")
    return change


def sheet(distance_m: Array, thickness_m: float) -> Array:
    """Return a smooth sheet about distance 0: exp(-(d / thickness)^2)."""
    return np.asarray(np.exp(-np.square(distance_m / np.float32(thickness_m))))
