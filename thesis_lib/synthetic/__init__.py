"""
A seeded three-dimensional earth with salt, and its migrated seismic image.

Geology is a list of named steps on one state (`STEPS`): each reads and changes the stratigraphic
coordinate, of which layers are isosurfaces, or the salt, which is an implicit function. Rock
physics and imaging follow: velocity, density, impedance, reflectivity, point-spread function,
illumination, noise.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import xarray as xr

from thesis_lib._checks import check_choice, check_count, check_range
from thesis_lib._volume import build_volume
from thesis_lib.synthetic import artefacts, imaging, salt, sediments
from thesis_lib.synthetic.earth import Earth, Grid
from thesis_lib.synthetic.presets import KINDS, PRESETS, Preset, SaltKind

__all__ = [
    "KINDS",
    "PRESETS",
    "STEPS",
    "Preset",
    "SaltKind",
    "build_earth",
    "find_preset",
    "image_earth",
    "make_volume",
]

STEPS: dict[str, Callable[[Earth], None]] = {
    "sea_floor": sediments.lay_sea_floor,
    "salt": salt.place_salt,
    "deposit": sediments.deposit,
    "fold": sediments.fold,
    "arch": sediments.arch,
    "prograde": sediments.prograde,
    "erode": sediments.erode,
    "carve": sediments.carve,
    "disturb": sediments.disturb,
    "fault": sediments.fault,
    "upturn": sediments.upturn,
}

ARTEFACTS = (artefacts.add_noise, artefacts.add_swings, artefacts.equalise, artefacts.clip)

POLARITIES = {
    1: "zero phase; an increase of impedance is positive",
    -1: "zero phase; an increase of impedance is negative",
}


def make_volume(
    shape: tuple[int, int, int] = (96, 128, 128),
    *,
    seed: int,
    spacing_m: tuple[float, float, float] = (25.0, 25.0, 20.0),
    preset: str | Preset = "gulf",
    **changes: Any,
) -> xr.Dataset:
    """
    Make an earth with salt and image it.

    Parameters
    ----------
    shape : tuple of three ints
        (n_inline, n_crossline, n_depth), 16 to 512 each.
    seed : int
        Not negative. The same arguments give the same volume.
    spacing_m : tuple of three floats
        Distance of samples along the three axes, m.
    preset : str or Preset
        A name of `PRESETS`, or a preset of one's own.
    **changes
        Fields of the preset that are to differ, such as ``salt_fraction=(0.1, 0.2)``,
        ``kinds=("dome",)``, ``n_bodies=2``, ``frequency_hz=15.0`` or ``noise=0.5``; see `Preset`.

    Returns
    -------
    Dataset
        ``amplitude`` (root mean square below the sea floor: 1 of the signal, or of the whole image
        after a gain), ``salt`` and ``velocity`` (m/s; exactly 4480 in salt and nowhere else) over
        (inline, crossline, depth), or time for a preset in time: then a spacing of d m along depth
        stands for 2 d / (4000 m/s).

    Raises
    ------
    TypeError
        If ``changes`` names no field of a preset, or a number is neither a number nor a range.
    ValueError
        If an argument lies outside its range, the samples along depth are too coarse for the
        wavelet of the preset, or the salt finds no place below the water.

    Examples
    --------
    >>> volume = make_volume((16, 24, 32), seed=0)
    >>> volume.amplitude.shape, bool((volume.velocity == 4480).equals(volume.salt))
    ((16, 24, 32), True)
    """
    changed = replace(find_preset(preset), **changes)
    return image_earth(build_earth(shape, seed=seed, spacing_m=spacing_m, preset=changed))


def image_earth(earth: Earth) -> xr.Dataset:
    """
    Image an earth: the last part of `make_volume`, whose Dataset and errors it has.

    The earth is used up: its stratigraphic coordinate is dropped, and in time its salt moves.
    """
    in_time = earth.preset.vertical == "time"
    if in_time:
        imaging.turn_to_time(earth)
    velocity = imaging.sediment_velocity(earth)
    earth.age_m = np.zeros((1, 1, 1), np.float32)  # has served; its memory is wanted now
    amplitude = imaging.image_signal(earth, velocity)
    for spoil in ARTEFACTS:
        spoil(earth, amplitude)
    velocity[earth.buried_m < 0] = imaging.WATER_VELOCITY_M_S
    velocity[earth.salt] = imaging.SALT_VELOCITY_M_S
    x, y, z = (
        np.arange(n) * d for n, d in zip(earth.grid.shape, earth.grid.spacing_m, strict=True)
    )
    return build_volume(
        amplitude,
        inline=np.arange(1, len(x) + 1),
        crossline=np.arange(1, len(y) + 1),
        vertical=2000 * z / imaging.TIME_VELOCITY_M_S if in_time else z,
        vertical_dim=earth.preset.vertical,
        inline_m=x,
        crossline_m=y,
        salt=earth.salt,
        velocity=velocity,
        attrs=_describe(earth),
    )


def _describe(earth: Earth) -> dict[str, Any]:
    noise = earth.value("noise")
    return {
        "source": "synthetic earth",
        "seed": earth.seed,
        "preset": earth.preset.name,
        "preset_values": json.dumps(asdict(earth.preset)),  # as drawn
        "polarity": POLARITIES[earth.preset.polarity],
        "signal_to_noise": 1 / noise if noise else np.inf,
    }


def build_earth(
    shape: tuple[int, int, int],
    *,
    seed: int,
    spacing_m: tuple[float, float, float] = (25.0, 25.0, 20.0),
    preset: str | Preset = "gulf",
    watch: Callable[[str, Earth], None] | None = None,
) -> Earth:
    """
    Run the steps of geology, without the image; arguments and errors as in `make_volume`.

    Parameters
    ----------
    watch : callable, optional
        Called after each step with its name and the earth, which it must not change.

    Returns
    -------
    Earth
        The final state: sea floor, salt and stratigraphic coordinate.
    """
    earth = Earth(Grid(shape, spacing_m), find_preset(preset), check_count("seed", seed, low=0))
    finest = imaging.image_wavelengths_m(earth)[0] / 4 * 2 ** (-earth.value("octaves") / 2)
    check_range("spacing_m along depth", spacing_m[2], low=0, high=finest)
    for name, step in STEPS.items():
        step(earth)
        if watch is not None:
            watch(name, earth)
    return earth


def find_preset(preset: str | Preset) -> Preset:
    """Return a preset by its name; one of one's own is returned as it is."""
    if isinstance(preset, Preset):
        return preset
    return PRESETS[check_choice("preset", preset, PRESETS)]
