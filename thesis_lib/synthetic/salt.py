"""Salt bodies as an implicit function: a distance in m, positive inside."""

from dataclasses import dataclass

import numpy as np

from thesis_lib.synthetic.earth import Array, Earth, draw, ramp, random_field, random_map
from thesis_lib.synthetic.presets import KINDS


@dataclass(frozen=True)
class Body:
    """
    One salt body, lengths in m.

    The axis leans by ``lean`` m laterally per m of depth, from the centre of the head.
    """

    x_m: float
    y_m: float
    azimuth: float
    lean: tuple[float, float]
    head_m: tuple[float, float, float]  # half axes along, across, down
    head_depth_m: float
    shift_m: float
    stem_m: float
    pedestal_height_m: float
    pedestal_width_m: float
    base_m: float

    def distance(self, x: Array, y: Array, z: Array) -> Array:
        """Return the approximate distance to the surface, m, positive inside."""
        down = z - self.head_depth_m
        east = x - self.x_m - self.lean[0] * down
        north = y - self.y_m - self.lean[1] * down
        radius = np.hypot(east, north)
        inside = self._pedestal(radius, z)
        if self.stem_m:
            share = np.clip(down / (self.base_m - self.head_depth_m), 0, 1)
            stem = np.minimum(self.stem_m * (1.3 - 1.6 * share * (1 - share)) - radius, down)
            inside = smooth_maximum(inside, stem, 0.5 * self.stem_m)
        if self.head_m[2]:
            along = east * np.cos(self.azimuth) + north * np.sin(self.azimuth) - self.shift_m
            across = north * np.cos(self.azimuth) - east * np.sin(self.azimuth)
            head = ellipsoid_distance((along, across, down), self.head_m)
            inside = smooth_maximum(inside, head, 0.5 * self.stem_m)
        body: Array = np.minimum(inside, self.base_m - z)
        return body

    def _pedestal(self, radius: Array, z: Array) -> Array:
        dome = np.exp(-0.5 * (radius / self.pedestal_width_m) ** 2)
        above: Array = z - self.base_m + self.pedestal_height_m * dome
        return above


def ellipsoid_distance(point: tuple[Array, Array, Array], half_axes: tuple[float, ...]) -> Array:
    r"""
    Return the approximate distance to an ellipsoid, positive inside, exact for a sphere.

    With :math:`g = |p / r|` the distance is :math:`g (1 - g) / |p / r^2|`, which is right to
    first order at the surface.
    """
    first = sum((p / r) ** 2 for p, r in zip(point, half_axes, strict=True))
    second = sum((p / r**2) ** 2 for p, r in zip(point, half_axes, strict=True))
    level = np.sqrt(first)
    distance: Array = level * (1 - level) / np.sqrt(second + np.float32(1e-20))
    return distance


def smooth_maximum(first: Array, second: Array, blend_m: float) -> Array:
    """Return the maximum of two distances, rounded where they differ by less than ``blend_m``."""
    if blend_m == 0:
        return np.maximum(first, second)
    near = np.maximum(blend_m - np.abs(first - second), 0) / blend_m
    blended: Array = np.maximum(first, second) + near**2 * np.float32(0.25 * blend_m)
    return blended


def place_salt(earth: Earth) -> None:
    """
    Put salt bodies into the earth: kinds, places, a rough top, a smoother base.

    The bodies swell or shrink by a constant distance until their share of the volume is
    ``preset.salt_fraction``, whatever the seed and the shape.
    """
    bodies = draw_bodies(earth)
    earth.tops_m = np.array([(body.x_m, body.y_m) for body in bodies], np.float32)
    earth.salt_m = union(earth, bodies)
    floor = np.maximum(earth.sea_floor_m, 0) + earth.value("cover") * earth.depth_m
    allowed = earth.grid.z > floor
    level = fitting_level(earth.salt_m, allowed, earth.value("salt_fraction"))
    earth.salt_m -= level
    np.minimum(earth.salt_m, earth.grid.z - floor, out=earth.salt_m)


def draw_bodies(earth: Earth) -> list[Body]:
    """Draw the bodies: each as far from the earlier ones as the best of a few tries."""
    rng = earth.rng("salt")
    width, length, _ = earth.grid.extent_m
    places: list[np.ndarray] = []
    for _ in range(earth.preset.n_bodies or earth.count(1.0, least=1)):
        tries = rng.uniform((0.1 * width, 0.1 * length), (0.9 * width, 0.9 * length), (8, 2))
        gaps = [min((float(np.hypot(*(t - p))) for p in places), default=0.0) for t in tries]
        places.append(tries[int(np.argmax(gaps))])
    base_m = earth.value("base_depth") * earth.depth_m
    return [draw_body(earth, rng, float(x), float(y), base_m) for x, y in places]


def draw_body(
    earth: Earth, rng: np.random.Generator, x_m: float, y_m: float, base_m: float
) -> Body:
    """Draw one body of a kind of the preset at a place."""
    kind = KINDS[earth.preset.kinds[rng.integers(len(earth.preset.kinds))]]
    unit = earth.body_spacing_m * draw(rng, (0.85, 1.2))
    east, north = rng.normal(0, 0.12, 2)
    return Body(
        x_m=x_m,
        y_m=y_m,
        azimuth=draw(rng, (0, 2 * np.pi)),
        lean=(float(east), float(north)),
        head_m=(unit * kind.head_radius[0], unit * kind.head_radius[1], unit * kind.head_height),
        head_depth_m=draw(rng, earth.preset.head_depth) * earth.depth_m,
        shift_m=unit * kind.head_shift,
        stem_m=unit * kind.stem_radius,
        pedestal_height_m=unit * kind.pedestal_height,
        pedestal_width_m=unit * kind.pedestal_width,
        base_m=base_m,
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
    rough = random_map(rng, grid, 0.1 * unit, hurst=0.5)
    rough *= np.float32(earth.value("rugosity") * earth.depth_m)
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


def fitting_level(inside: Array, allowed: np.ndarray, fraction: float) -> float:
    """
    Return the level above which ``inside`` holds a share of the volume, where it is allowed.

    Raises
    ------
    ValueError
        If less of the volume than that share is allowed.
    """
    values = inside[np.broadcast_to(allowed, inside.shape)]
    rank = values.size - round(fraction * inside.size)
    if rank < 0:
        raise ValueError(
            f"Invalid salt_fraction {fraction:.3g}. Must be at most "
            f"{values.size / inside.size:.3g}, what lies below the sea floor and the cover of salt."
        )
    return float(np.partition(values, rank)[rank])


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
    values: Array = np.exp(-np.square(distance_m / np.float32(thickness_m)))
    return values
