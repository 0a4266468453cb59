"""Labelled features: where the steps of geology made an earth faulted or chaotic."""

from typing import Any

import numpy as np
import xarray as xr

from saltearth.earth import Array, Earth
from saltearth.imaging import TIME_VELOCITY_M_S, image_wavelengths_m
from saltearth.making import build_earth, image_earth

TRACES = 2  # on either side of a fault


def make_features(
    shape: tuple[int, int, int] = (96, 128, 128), *, seed: int, **choices: Any
) -> xr.Dataset:
    """
    Make the volume of `make_volume` with two more variables: where it is faulted and chaotic.

    Both come from the geology, not from the image: from how far the steps ``fault`` and ``disturb``
    shifted the layers. The unit is the period of the image there, half a wavelength, so that a
    throw of .5 brings peaks next to troughs at any frequency.

    Parameters
    ----------
    shape, seed, **choices
        As in `make_volume`, with its ``spacing_m``, ``preset`` and changes of it.

    Returns
    -------
    Dataset
        The new variables are float32 and 0 inside salt: ``throw``, the vertical jump of the layers
        along crosslines, as a section at a fixed inline shows it; and ``chaos``, the spread of the
        push in the layer of each sample.

    Raises
    ------
    TypeError, ValueError
        As `make_volume`.

    Examples
    --------
    >>> volume = make_features((16, 24, 32), seed=0, faults=0.0)
    >>> bool((volume.throw == 0).all())
    True
    """
    ages_m: dict[str, Array] = {}

    def keep(step: str, earth: Earth) -> None:
        if step in ("carve", "disturb", "fault"):  # one after the other in `making.STEPS`
            ages_m[step] = earth.age_m.copy()

    earth = build_earth(shape, seed=seed, watch=keep, **choices)
    before, disturbed, faulted = ages_m.values()
    volume = image_earth(earth)
    chaos = spread(disturbed - before, before, earth.grid.spacing_m[2])
    throw = jump(faulted - disturbed)
    for name, shift_m, long_name in (
        ("chaos", chaos, "spread of the push in a layer, periods of the image"),
        ("throw", throw, "vertical throw along crosslines, periods of the image"),
    ):
        periods = count_periods(earth, volume, shift_m)
        volume[name] = volume["amplitude"].dims, periods, {"long_name": long_name, "units": "1"}
    return volume


def jump(shift_m: Array) -> Array:
    """
    Return how much a shift of shape (n_inline, n_crossline, n_depth) changes along crosslines.

    It is taken across four traces: a fault that is oblique to a section needs several to shift it.
    """
    lines = np.arange(shift_m.shape[1])
    before, after = (np.clip(lines + step, 0, lines[-1]) for step in (-TRACES, TRACES))
    return np.asarray(np.abs(shift_m[:, after] - shift_m[:, before]))


def spread(push_m: Array, age_m: Array, step_m: float) -> Array:
    """Return the root mean square of a push in the layer, ``step_m`` thick, of each sample."""
    layer = ((age_m - age_m.min()) / np.float32(step_m)).astype(np.intp)
    count = np.bincount(layer.ravel())
    power = np.bincount(layer.ravel(), weights=np.square(push_m).ravel())
    return np.asarray(np.sqrt(power / np.maximum(count, 1)).astype(np.float32)[layer])


def count_periods(earth: Earth, volume: xr.Dataset, shift_m: Array) -> Array:
    """
    Return a shift of layers in periods of the image of an earth.

    Parameters
    ----------
    earth : Earth
        After it was imaged.
    volume : Dataset
        Its image.
    shift_m : array of the grid's shape
        Over depth, m.

    Returns
    -------
    array of the grid's shape
        Over depth or time as the image; 0 in salt, of which no layer is left.
    """
    grid = earth.grid
    if earth.preset.vertical == "time":
        sample = np.rint(earth.sample_depth_m / np.float32(grid.spacing_m[2])).astype(np.intp)
        shift_m = np.take_along_axis(shift_m, sample, axis=2)
        shift_m *= np.float32(TIME_VELOCITY_M_S) / volume["velocity"].values
    wavelengths_m = image_wavelengths_m(earth)
    position = np.linspace(0, len(wavelengths_m) - 1, grid.shape[2])
    period_m = np.interp(position, range(len(wavelengths_m)), wavelengths_m) / 2
    periods: Array = np.divide(shift_m, period_m, dtype=np.float32)
    periods[earth.salt] = 0
    return periods
