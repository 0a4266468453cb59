"""From a preset and a seed to a volume: the steps of geology, then the image."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import xarray as xr

from saltearth import artefacts, imaging, salt, sediments
from saltearth.earth import Earth, Grid
from saltearth.presets import PRESETS, Preset
from saltvolumes._checks import check_choice, check_count, check_range
from saltvolumes.volume import build_volume

STEPS: dict[str, Callable[[Earth], None]] = {
    "sea_floor": sediments.add_sea_floor,
    "salt": salt.add_salt,
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

ARTEFACTS = {  # by the field of the preset that sets the amount; 0 switches off
    "noise": artefacts.add_noise,
    "swings": artefacts.add_swings,
    "gain": artefacts.apply_agc,
    "clip": artefacts.clip,
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
        Fields of the preset to change, such as ``salt_fraction=(0.1, 0.2)``, ``kinds=("dome",)``,
        ``n_bodies=2``, ``frequency_hz=15.0`` or ``noise=0.5``; see `Preset`.

    Returns
    -------
    Dataset
        ``amplitude`` (root mean square below the sea floor: 1 of the signal, or of the whole image
        after automatic gain control), ``salt`` and ``velocity`` (m/s; exactly 4480 in salt and
        nowhere else) over (inline, crossline, depth), or time for a preset in time: then a spacing
        of d m along depth means 2 d / (4000 m/s).

    Raises
    ------
    TypeError
        If ``changes`` names no field of a preset, or a number is neither a number nor a range.
    ValueError
        If an argument lies outside its range, the samples along depth are too coarse for the
        wavelet of the preset, or the salt does not fit below the water.

    Examples
    --------
    >>> volume = make_volume((16, 24, 32), seed=0)
    >>> volume.amplitude.shape, bool((volume.velocity == 4480).equals(volume.salt))
    ((16, 24, 32), True)
    """
    earth = build_earth(shape, seed=seed, spacing_m=spacing_m, preset=preset, **changes)
    return image_earth(earth)


def build_earth(
    shape: tuple[int, int, int],
    *,
    seed: int,
    spacing_m: tuple[float, float, float] = (25.0, 25.0, 20.0),
    preset: str | Preset = "gulf",
    watch: Callable[[str, Earth], None] | None = None,
    **changes: Any,
) -> Earth:
    """
    Run the steps of geology, without the image; arguments and errors as in `make_volume`.

    Parameters
    ----------
    watch : callable, optional
        Called after each step with its name and the earth, whose layers it may still shift.

    Returns
    -------
    Earth
        The final state: sea floor, salt and stratigraphic coordinate.
    """
    if not isinstance(preset, Preset):
        preset = PRESETS[check_choice("preset", preset, PRESETS)]
    seed = check_count("seed", seed, low=0)
    earth = Earth(Grid(shape, spacing_m), replace(preset, **changes), seed)
    finest = imaging.image_wavelengths_m(earth)[0] / 4 * 2 ** (-earth.value("octaves") / 2)
    check_range("spacing_m along depth", spacing_m[2], low=0, high=finest)
    for name, step in STEPS.items():
        step(earth)
        if watch is not None:
            watch(name, earth)
    return earth


def image_earth(earth: Earth) -> xr.Dataset:
    """
    Image an earth: the last part of `make_volume`, whose Dataset and errors it has.

    The earth is used up: its stratigraphic coordinate is dropped, and in time its salt moves.
    """
    in_time = earth.preset.vertical == "time"
    if in_time:
        imaging.convert_to_time(earth)
    velocity = imaging.sediment_velocity(earth)
    del earth.age_m  # not needed any more, and large
    amplitude = imaging.image_signal(earth, velocity)
    for name, add_artefact in ARTEFACTS.items():
        if earth.value(name) > 0:
            add_artefact(earth, amplitude)
    velocity[earth.buried_m < 0] = imaging.WATER_VELOCITY_M_S
    velocity[earth.salt] = imaging.SALT_VELOCITY_M_S
    grid, noise = earth.grid, earth.value("noise")
    x, y, z = (np.arange(n) * d for n, d in zip(grid.shape, grid.spacing_m, strict=True))
    sign = "positive" if earth.preset.polarity > 0 else "negative"
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
        attrs={
            "source": "synthetic earth",
            "seed": earth.seed,
            "preset": earth.preset.name,
            "preset_values": json.dumps(asdict(earth.preset)),  # as drawn
            "polarity": f"zero phase; an increase of impedance is {sign}",
            "signal_to_noise": 1 / noise if noise else np.inf,
        },
    )
