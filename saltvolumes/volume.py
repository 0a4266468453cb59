"""
What a volume is: one xarray Dataset that every module reads and writes.

- Dims ``("inline", "crossline", "depth")`` or ``("inline", "crossline", "time")``.
- Coordinates: line numbers without duplicates, depth in m or two-way time in ms, increasing
  downward in even steps; where known, ``inline_m`` and ``crossline_m``, the distance in m of each
  line from the first.
- Variables: ``amplitude`` (float32), where known ``salt`` (bool, True inside salt) and ``velocity``
  (float32, m/s). They are NumPy arrays, or Dask arrays where a volume may be larger than memory.
- A missing trace is NaN as a whole.
- Attributes: ``source``, ``content_hash`` of samples and coordinates, and those of a file.

A section is cut at a fixed line of one lateral axis: (depth or time, the other lateral axis).
"""

import hashlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from saltvolumes._checks import check_choice, check_range

AXES = ("inline", "crossline")
LATERAL = {"inline": "crossline", "crossline": "inline"}  # the axis that a section keeps
VERTICAL_UNITS = {"depth": "m", "time": "ms"}
# Lines of a block of a lazy volume along both lateral axes, so that sections of either direction
# read as many samples for each of theirs.
BLOCK_LINES = 16
# A variable up to this size is held in memory; a larger one is read block by block.
IN_MEMORY_BYTES = 2**28
EVEN = 0.01  # fraction by which steps of an even axis may differ
_ATTRS = {
    "amplitude": {"long_name": "migrated amplitude"},
    "salt": {"long_name": "salt mask"},
    "velocity": {"long_name": "P-wave velocity", "units": "m/s"},
}


def build_volume(
    amplitude: ArrayLike,
    *,
    inline: ArrayLike,
    crossline: ArrayLike,
    vertical: ArrayLike,
    vertical_dim: str = "depth",
    inline_m: ArrayLike | None = None,
    crossline_m: ArrayLike | None = None,
    salt: ArrayLike | None = None,
    velocity: ArrayLike | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """
    Assemble a volume: (inline, crossline, depth) or (inline, crossline, time).

    Parameters
    ----------
    amplitude : array of shape (n_inline, n_crossline, n_vertical)
        Stored as float32. Dask arrays stay lazy.
    inline, crossline : array of shape (n,)
        Line numbers, the index along each lateral axis, without duplicates.
    vertical : array of shape (n_vertical,)
        Depth in m or two-way time in ms, increasing downward in even steps.
    vertical_dim : {"depth", "time"}
        Which of the two it is.
    inline_m, crossline_m : array of shape (n,), optional
        Distance of each line from the first, in m. Left out where unknown.
    salt : bool array of the same shape, optional
        True inside salt. Without masked samples: missing traces are those of the amplitude.
    velocity : array of the same shape, optional
        P-wave velocity in m/s, stored as float32.
    attrs : mapping, optional
        At least ``source`` is expected; ``seed`` where there is one. ``content_hash`` is added
        from the arrays unless it is given.

    Raises
    ------
    TypeError
        If ``salt`` is not boolean.
    ValueError
        If ``vertical_dim`` is unknown, ``vertical`` does not increase in even steps, line numbers
        contain duplicates, a shape does not fit the coordinates, or samples of ``salt`` are masked.
    """
    check_choice("vertical_dim", vertical_dim, VERTICAL_UNITS)
    samples = np.asarray(vertical, dtype=np.float64)
    _check_vertical(vertical_dim, np.diff(samples))
    described = {"units": VERTICAL_UNITS[vertical_dim], "positive": "down", "axis": "Z"}
    coords: dict[str, Any] = {}
    for line, numbers in zip(AXES, (np.asarray(inline), np.asarray(crossline)), strict=True):
        repeated = numbers[pd.Index(numbers).duplicated()]
        if repeated.size:
            raise ValueError(f"Invalid {line} numbers: {repeated[0]} is a duplicate.")
        coords[line] = (line, numbers, {"long_name": f"{line} number"})
    coords[vertical_dim] = (vertical_dim, samples, described)
    for line, metres in zip(AXES, (inline_m, crossline_m), strict=True):
        if metres is not None:
            coords[f"{line}_m"] = (line, np.asarray(metres, dtype=np.float64), {"units": "m"})
    if isinstance(salt, np.ma.MaskedArray):
        if np.ma.is_masked(salt):
            raise ValueError("Invalid salt with masked samples. Must be True or False in each.")
        salt = salt.data
    arrays = {"amplitude": amplitude, "salt": salt, "velocity": velocity}
    variables = {
        name: xr.Variable((*AXES, vertical_dim), array, _ATTRS[name])
        for name, array in arrays.items()
        if array is not None
    }
    if salt is not None and variables["salt"].dtype != np.bool_:
        raise TypeError(f"Invalid salt of type {variables['salt'].dtype}. Must be boolean.")
    for name in variables.keys() - {"salt"}:
        variables[name] = variables[name].astype(np.float32, copy=False)
    try:
        volume = xr.Dataset(variables, coords=coords, attrs=dict(attrs or {}))
    except ValueError as error:
        raise ValueError(f"Invalid volume: {error}. Must have one size per axis.") from error
    if "content_hash" not in volume.attrs:
        volume.attrs["content_hash"] = content_hash(volume)
    return volume


def _check_vertical(name: str, steps: NDArray[np.float64]) -> None:
    if not ((steps > 0).all() and are_even(steps)):
        raise ValueError(
            f"Invalid {name} coordinate with steps from {steps.min():g} to {steps.max():g} "
            f"{VERTICAL_UNITS[name]}. Must increase downward, in steps even within {EVEN:.0%}."
        )


def are_even(steps: NDArray[np.floating[Any]]) -> bool:
    """Whether steps differ by at most the fraction `EVEN`, or there are none."""
    return not steps.size or np.allclose(steps, np.median(steps), rtol=EVEN, atol=0)


def content_hash(volume: xr.Dataset) -> str:
    """
    Hash the samples and coordinates of a volume, whatever its attributes are.

    A few lines are read at a time, so that a lazy volume is never held whole.

    Returns
    -------
    str
        First 16 hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256()
    for name in sorted(str(name) for name in volume.variables):
        array = volume[name]
        digest.update(f"{name}{array.dims}{array.shape}{array.dtype}".encode())
        for run in read_runs(array) if array.ndim > 1 else (array,):
            digest.update(np.ascontiguousarray(run.values).tobytes())
    return digest.hexdigest()[:16]


def read_runs(array: xr.DataArray) -> Iterator[xr.DataArray]:
    """Load an array run by run along its first axis, at most `BLOCK_LINES` lines at a time."""
    lengths = array.chunks[0] if array.chunks else (len(array),)
    for begin, end in pairwise(np.cumsum([0, *lengths]).tolist()):
        for start in range(begin, end, BLOCK_LINES):
            yield array[start : min(start + BLOCK_LINES, end)].compute()


def is_large(array: xr.DataArray) -> bool:
    """Whether an array is lazy, and larger than what is held in memory (256 MiB)."""
    return array.chunks is not None and array.nbytes > IN_MEMORY_BYTES


def vertical_dim(volume: xr.Dataset | xr.DataArray) -> str:
    """
    Name of the vertical axis: ``"depth"`` (m) or ``"time"`` (ms).

    Raises
    ------
    ValueError
        If the volume has neither.
    """
    for name in VERTICAL_UNITS:
        if name in volume.dims:
            return name
    raise ValueError(f"Invalid volume with dims {tuple(volume.dims)}. Must have depth or time.")


def spacing_m(
    volume: xr.Dataset | xr.DataArray, *, velocity_m_s: float | None = None
) -> tuple[float, float, float] | None:
    """
    Spacing along (inline, crossline, vertical) in m, or None where it is not known or not even.

    Parameters
    ----------
    volume : Dataset or DataArray
        A volume.
    velocity_m_s : float, optional
        Turns the two-way time of a time volume into depth. Without it a time volume has no
        spacing in metres: milliseconds never pose as metres. An axis with a single line gets the
        spacing of the other lateral axis, so that it takes no part in any distance.

    Raises
    ------
    ValueError
        If ``velocity_m_s`` is not above 0.
    """
    if velocity_m_s is not None:
        check_range("velocity_m_s", velocity_m_s, low=0, exclusive=True)
    steps: dict[str, float] = {}
    for line in AXES:
        if f"{line}_m" in volume.coords and volume.sizes[line] > 1:
            steps_m = np.diff(volume[f"{line}_m"].values)
            if not are_even(steps_m):
                return None
            steps[line] = float(abs(np.median(steps_m)))
    for line, other in LATERAL.items():
        if volume.sizes[line] == 1 and other in steps:
            steps[line] = steps[other]
    vertical = vertical_dim(volume)
    unknown = vertical == "time" and velocity_m_s is None
    if len(steps) < 2 or volume.sizes[vertical] == 1 or unknown:
        return None
    step = float(np.median(np.diff(volume[vertical].values)))
    if velocity_m_s is not None and vertical == "time":
        step = step / 1000.0 * velocity_m_s / 2.0
    return steps["inline"], steps["crossline"], step
