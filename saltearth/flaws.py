"""Flaws of real images that presets lack: multiples, footprint, smear, phase, drag at faults."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy import ndimage, signal

from saltearth.earth import Array, Earth
from saltearth.making import build_earth, image_earth
from saltearth.presets import random_stream
from saltvolumes._checks import check_choice, check_range
from saltvolumes.volume import content_hash

Flaw = Callable[[xr.Dataset, float, np.random.Generator], Array]


def make_flawed(
    shape: tuple[int, int, int] = (96, 128, 128),
    *,
    seed: int,
    flaws: Mapping[str, float],
    **choices: Any,
) -> xr.Dataset:
    """
    Make the volume of `make_volume` with flaws of real images.

    Salt and velocity are those of the earth without them, but where layers are dragged.

    Parameters
    ----------
    shape, seed, **choices
        As in `make_volume`, with its ``spacing_m``, ``preset`` and changes of it.
    flaws : mapping of str to float
        How strong each is at most, from 0 (none) to 1; a seed draws from there. Names are those
        of `FLAWS`, and ``drag``: layers bend along faults instead of breaking there.

    Returns
    -------
    Dataset
        As of `make_volume`; the root mean square of the amplitude stays what it was.

    Raises
    ------
    TypeError, ValueError
        As `make_volume`, or if a flaw is unknown or outside 0 to 1.

    Examples
    --------
    >>> volume = make_flawed((16, 24, 32), seed=0, flaws={"footprint": 1.0})
    >>> bool(volume.salt.any())
    True
    """
    amounts: dict[str, float] = {}
    for name, most in flaws.items():
        check_choice("flaw", name, (*FLAWS, DRAG))
        check_range(name, most, low=0, high=1)
        amounts[name] = random_stream(seed, f"flaw {name}").uniform(0, most)
    earth = build_earth(shape, seed=seed, watch=_Drag(amounts.pop(DRAG, 0.0)), **choices)
    volume = image_earth(earth)
    power = np.square(volume["amplitude"]).mean()
    for name, amount in amounts.items():
        rng = random_stream(seed, f"what is drawn for {name}")
        volume["amplitude"][:] = FLAWS[name](volume, amount, rng)
    volume["amplitude"] *= np.sqrt(power / np.square(volume["amplitude"]).mean())
    return volume.assign_attrs(content_hash=content_hash(volume), flaws=json.dumps(dict(flaws)))


def add_multiples(volume: xr.Dataset, amount: float, rng: np.random.Generator) -> Array:
    """
    Return the amplitude with multiples: of the water, and of the top of salt.

    The first repeat the whole trace, later and with the other sign, twice as late and with the
    same sign, and so on; the second one repeats the top of salt at twice its depth.

    Parameters
    ----------
    volume : Dataset
        Of `make_volume`.
    amount : float
        0: none; 1: each repetition has two fifths of what it repeats.
    rng : Generator
        Draws the time in the water, 4 to 15 % of the trace, and its slope across the volume.
    """
    amplitude, salt = volume["amplitude"].values, volume["salt"].values
    n_x, n_y, n = amplitude.shape
    lines = np.linspace(-0.5, 0.5, n_x)[:, None], np.linspace(-0.5, 0.5, n_y)
    slopes = rng.uniform(-0.03, 0.03, 2)
    delay = n * (rng.uniform(0.04, 0.15) + slopes[0] * lines[0] + slopes[1] * lines[1])
    late = np.maximum(np.rint(delay), 1).astype(np.intp)[..., None]  # (n_x, n_y, 1)
    strength, result = np.float32(0.4 * amount), amplitude.copy()
    for order in (1, 2):
        result += (-strength) ** order * _delay(amplitude, order * late)
    top = salt.argmax(axis=2)[..., None]
    event = np.exp(-np.square((np.arange(n) - top) / np.float32(0.02 * n))) * salt.any(
        axis=2, keepdims=True
    )
    result -= strength * _delay((amplitude * event).astype(np.float32), top)
    return result


def add_footprint(volume: xr.Dataset, amount: float, rng: np.random.Generator) -> Array:
    """
    Return the amplitude with a footprint of the acquisition: stripes along lines, fading downward.

    Parameters
    ----------
    volume : Dataset
        Of `make_volume`.
    amount : float
        0: none; 1: gain changes by half at the top, by a sixth at a third of the depth.
    rng : Generator
        Draws the distances of the stripes, 4 to 10 lines, and where they begin.
    """
    amplitude = volume["amplitude"].values
    periods, phases = rng.uniform(4, 10, 2), rng.uniform(0, 2 * np.pi, 2)
    across, along = (
        np.cos(2 * np.pi * np.arange(size) / period + phase)
        for size, period, phase in zip(amplitude.shape, periods, phases, strict=False)
    )
    stripes = 0.5 * (across[:, None] + along)[..., None]
    fading = np.exp(-3.3 * np.linspace(0, 1, amplitude.shape[2]))
    return np.asarray(amplitude * (1 + 0.5 * amount * stripes * fading), np.float32)


def smear_flanks(volume: xr.Dataset, amount: float, rng: np.random.Generator) -> Array:  # noqa: ARG001
    """
    Return the amplitude smeared laterally near salt, as by errors of the velocity there.

    Parameters
    ----------
    volume : Dataset
        Of `make_volume`.
    amount : float
        0: none; 1: over four traces, at distances of up to 5 % of the trace.
    rng : Generator
        Not used.
    """
    amplitude, salt = volume["amplitude"].values, volume["salt"].values
    if not salt.any() or salt.all():
        return np.asarray(amplitude)
    distance = ndimage.distance_transform_edt(salt) + ndimage.distance_transform_edt(~salt)
    near = np.exp(-np.square(distance / (0.05 * amplitude.shape[2]))).astype(np.float32)
    smeared = ndimage.gaussian_filter(amplitude, 4 * amount, axes=(0, 1))
    return np.asarray(amplitude + near * (smeared - amplitude))


def vary_wavelet(volume: xr.Dataset, amount: float, rng: np.random.Generator) -> Array:
    """
    Return the amplitude with a wavelet that changes along depth: turned in phase, and longer.

    Parameters
    ----------
    volume : Dataset
        Of `make_volume`.
    amount : float
        0: none; 1: turned by 90 degrees at the bottom, and there smoothed by one sample.
    rng : Generator
        Draws the direction of the turn.
    """
    amplitude = volume["amplitude"].values
    down = np.linspace(0, 1, amplitude.shape[2], dtype=np.float32)
    smooth = ndimage.gaussian_filter1d(amplitude, 1.0, axis=2)
    longer = amplitude + np.float32(amount) * down * (smooth - amplitude)
    turn = rng.choice((-1, 1)) * amount * np.pi / 2 * down
    return np.asarray((signal.hilbert(longer, axis=2) * np.exp(1j * turn)).real, np.float32)


FLAWS: dict[str, Flaw] = {
    "multiples": add_multiples,
    "footprint": add_footprint,
    "smear": smear_flanks,
    "wavelet": vary_wavelet,
}
DRAG = "drag"


class _Drag:
    """Bend layers along faults, right after the step of geology that breaks them."""

    def __init__(self, amount: float) -> None:
        self.amount, self.before_m = amount, np.empty(0, np.float32)

    def __call__(self, step: str, earth: Earth) -> None:
        if not self.amount:
            return
        if step == "disturb":  # the one before faults, in `making.STEPS`
            self.before_m = earth.age_m.copy()
        if step == "fault":
            shift_m = earth.age_m - self.before_m
            bent_m = ndimage.gaussian_filter(shift_m, 4 * self.amount, axes=(0, 1))
            earth.age_m[:] = self.before_m + (shift_m + bent_m) / 2


def _delay(values: Array, samples: Any) -> Array:
    """Shift traces down by numbers of samples of shape (n_x, n_y, 1); zeros come in."""
    index = np.arange(values.shape[2]) - samples
    shifted = np.take_along_axis(values, np.maximum(index, 0), axis=2)
    return np.where(index >= 0, shifted, np.float32(0))
