"""Flaws of real images that presets lack: multiples, footprint, smear, phase, drag at faults."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage, signal

from saltearth.earth import Array, Earth
from saltearth.imaging import WATER_VELOCITY_M_S
from saltearth.making import build_earth, image_earth
from saltearth.presets import random_stream
from saltvolumes._checks import check_choice, check_range
from saltvolumes.volume import content_hash, vertical_dim

Times = NDArray[np.floating[Any]]
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

    They change the finished image, its noise and gain included, in the order of `FLAWS`; but for
    ``drag``, which changes the layers before they are imaged. The salt stays where it is.

    Parameters
    ----------
    shape, seed, **choices
        As in `make_volume`, with its ``spacing_m``, ``preset`` and changes of it.
    flaws : mapping of str to float
        How strong each is at most, from 0 (none) to 1; a seed draws from there. Names are those
        of `FLAWS`, and ``drag``: half of the throw of faults bends layers instead of breaking them.

    Returns
    -------
    Dataset
        As of `make_volume`; ``flaws`` among the attributes has the strengths that were drawn. The
        root mean square of the amplitude stays what it was.

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
    check_flaws(flaws)
    drawn = {
        name: random_stream(seed, f"strength of {name}").uniform(0, flaws[name])
        for name in (DRAG, *FLAWS)
        if name in flaws
    }
    earth = build_earth(shape, seed=seed, watch=_Drag(drawn.get(DRAG, 0.0)), **choices)
    volume = image_earth(earth)
    power = np.square(volume["amplitude"]).mean()
    for name, flaw in FLAWS.items():
        if name in drawn:
            rng = random_stream(seed, f"what is drawn for {name}")
            volume["amplitude"][:] = flaw(volume, drawn[name], rng)
    volume["amplitude"] *= np.sqrt(power / np.square(volume["amplitude"]).mean())
    return volume.assign_attrs(content_hash=content_hash(volume), flaws=json.dumps(drawn))


def check_flaws(flaws: Mapping[str, float]) -> None:
    """
    Refuse flaws that `make_flawed` does not know.

    Raises
    ------
    ValueError
        If a name is unknown, or a strength outside 0 to 1.
    """
    for name, most in flaws.items():
        check_choice("flaw", name, (*FLAWS, DRAG))
        check_range(name, most, low=0, high=1)


def add_multiples(volume: xr.Dataset, amount: float, rng: np.random.Generator) -> Array:
    """
    Return the amplitude with multiples: of the water, and of the top of salt.

    The first repeat the whole trace after the two-way time in the water with the other sign, after
    twice that time with the same sign. The second one repeats the top of salt at twice its time
    below the sea surface, with the other sign. Over depth, times follow from the velocity.

    Parameters
    ----------
    volume : Dataset
        Of `make_volume`.
    amount : float
        0: none; 1: each repetition has two fifths of what it repeats.
    rng : Generator
        Draws the time in the water where the image begins below the sea floor: 4 to 15 % of the
        trace. What is cut off above the image counts as well.
    """
    amplitude, velocity = volume["amplitude"].values, volume["velocity"].values
    n = amplitude.shape[2]
    if vertical_dim(volume) == "time":
        times = np.broadcast_to(np.arange(n, dtype=float), amplitude.shape)
    else:  # two-way times in units of the first sample of water
        times = np.cumsum(WATER_VELOCITY_M_S / velocity, axis=2, dtype=float)
    wet = velocity <= WATER_VELOCITY_M_S
    n_wet = wet.sum(axis=2, keepdims=True)  # (n_x, n_y, 1)
    in_water = np.take_along_axis(times, np.maximum(n_wet - 1, 0), axis=2)
    above = 0.0  # time from the sea surface to the first sample
    if not wet.any():
        in_water = np.full_like(in_water, n * rng.uniform(0.04, 0.15))
        above = in_water[0, 0, 0] - n * min(json.loads(volume.attrs["preset_values"])["water"], 0.0)
    strength, result = 0.4 * amount, amplitude.astype(float)
    for order in (1, 2):
        result += (-strength) ** order * delay(amplitude, times, order * in_water)
    salt = volume["salt"].values
    top = np.take_along_axis(times, salt.argmax(axis=2)[..., None], axis=2)
    near = np.exp(-np.square((times - top) / (0.02 * n))) * salt.any(axis=2, keepdims=True)
    return np.asarray(result - strength * delay(amplitude * near, times, above + top), np.float32)


def delay(values: Times, times: Times, late: Times) -> Times:
    """
    Return traces that come later.

    Parameters
    ----------
    values, times : arrays of shape (n_x, n_y, n)
        Samples and their two-way times, which grow along traces.
    late : array of shape (n_x, n_y, 1)
        How much later each trace comes, in the unit of the times. Zeros come in above.
    """
    result = np.zeros(values.shape)
    for trace in np.ndindex(values.shape[:2]):
        here = times[trace]
        result[trace] = np.interp(here - late[trace], here, values[trace], left=0.0)
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
        0: none; 1: by a Gaussian of four traces, nearer than about 5 % of the samples of a trace.
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
            earth.age_m[:] = self.before_m + bend(earth.age_m - self.before_m, 4 * self.amount)


def bend(shift_m: Array, sigma: float) -> Array:
    """Return a shift of layers of which one half breaks as before, the other over some traces."""
    return np.asarray((shift_m + ndimage.gaussian_filter(shift_m, sigma, axes=(0, 1))) / 2)
