"""Small earths whose layers are known in closed form."""

from dataclasses import replace
from typing import Any

import numpy as np

from thesis_lib.synthetic import PRESETS
from thesis_lib.synthetic.earth import Earth, Grid

SMALL = (24, 32, 40)
DEFORMATIONS = (
    "fold",
    "arches",
    "clinoforms",
    "unconformity",
    "channel",
    "chaos",
    "faults",
    "upturn",
)


def flat_earth(shape: tuple[int, int, int] = SMALL, **changes: Any) -> Earth:
    """Return an earth of horizontal layers by the preset gulf, without water or salt."""
    earth = Earth(Grid(shape, (25.0, 25.0, 20.0)), replace(PRESETS["gulf"], **changes), 0)
    earth.sea_floor_m = np.zeros((*shape[:2], 1), np.float32)
    earth.age_m = np.broadcast_to(earth.grid.z, shape).copy()
    earth.salt_m = np.full(shape, -1e6, np.float32)
    return earth
