"""Small earths whose layers are known in closed form."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from saltearth import PRESETS
from saltearth.earth import Earth, Grid

SMALL = (24, 32, 40)
CLEAN = {"noise": 0.0, "swings": 0.0, "gain": 0.0, "clip": 0.0}
DEFORMATIONS = dict.fromkeys(
    ("fold", "arches", "clinoforms", "unconformity", "channel", "chaos", "faults", "upturn"), 0.0
)


def flat_earth(shape: tuple[int, int, int] = SMALL, *, seed: int = 0, **changes: Any) -> Earth:
    """Return an earth of horizontal layers by the preset gulf, without water or salt."""
    earth = Earth(Grid(shape, (25.0, 25.0, 20.0)), replace(PRESETS["gulf"], **changes), seed)
    earth.sea_floor_m = np.zeros((*shape[:2], 1), np.float32)
    earth.age_m = np.broadcast_to(earth.grid.z, shape).copy()
    earth.salt_m = np.full(shape, -1e6, np.float32)
    return earth


def change_age(step: Callable[..., None], earth: Earth, **arguments: Any) -> np.ndarray:
    """Return by how much a step changes the stratigraphic coordinate of an earth, m."""
    before = earth.age_m.copy()
    step(earth, **arguments)
    return earth.age_m - before


def root_mean_square(values: np.ndarray) -> float:
    """Return the root mean square in double precision."""
    return float(np.sqrt(np.mean(np.square(values.astype(np.float64)))))
