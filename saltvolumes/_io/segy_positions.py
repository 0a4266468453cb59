"""Distances between lines from the coordinates in SEG-Y trace headers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.interpolate import interp1d
from segyio import BinField, TraceField

from saltvolumes._io.segy_layout import Integers, Layout
from saltvolumes.volume import AXES, are_even

FOOT_M = 0.3048
# Trace coordinates further than this fraction of a bin from a rectangular grid give no distances,
MAX_MISFIT = 0.1
# unless they are within rounding: half a unit of the coordinate, and what the fit makes of it.
MAX_ROUNDING = 0.75
# Steps between the traces of a line by which a coordinate of 0 / 0 is known to be none.
FAR_STEPS = 10
# Header fields with coordinates: of the common depth point, or of the source in older files.
_PAIRS = {
    "CDP": (TraceField.CDP_X, TraceField.CDP_Y),
    "source": (TraceField.SourceX, TraceField.SourceY),
}
COORDINATES = (
    *(start for pair in _PAIRS.values() for start in pair),
    TraceField.SourceGroupScalar,
    TraceField.CoordinateUnits,
)

Floats = NDArray[np.floating[Any]]


class NoDistancesError(Exception):
    """Why coordinates of traces give no distances."""


def find_unit_m(layout: Layout) -> float:
    """Unit of length of a file in m."""
    return FOOT_M if layout.read_field(BinField.MeasurementSystem) == 2 else 1.0


def find_factors(scalars: Integers) -> Floats:
    """Factors that scalars of trace headers mean: multiply by positive, divide by negative ones."""
    return np.where(scalars > 0, scalars, 1 / np.maximum(-scalars, 1))


def find_positions(
    layout: Layout, fields: Mapping[int, Integers], numbers: Integers, line_bytes: tuple[int, ...]
) -> tuple[str, Floats, float]:
    """
    Find the coordinates of traces.

    Parameters
    ----------
    layout : Layout
    fields : mapping of int to array of shape (n,)
        Trace header fields ``COORDINATES``, of the traces in question.
    numbers : int array of shape (k, n)
        Line numbers: fields that hold them as well are no coordinates.
    line_bytes : tuple of int
        First bytes of the fields that are read as line numbers.

    Returns
    -------
    str
        Which coordinates there are.
    Floats of shape (2, n)
        (x, y) in m.
    float
        Unit of the coordinates in m, to which they are rounded.

    Raises
    ------
    NoDistancesError
        If there are none.
    """
    units = np.unique(fields[TraceField.CoordinateUnits])
    if not {0, 1}.issuperset(units.tolist()):
        shown = ", ".join(map(str, units))
        raise NoDistancesError(f"coordinates are not lengths: unit {shown}")
    units_m = find_unit_m(layout) * find_factors(fields[TraceField.SourceGroupScalar])
    lines = [axis for axis in numbers if np.ptp(axis)]
    reason = "coordinates are all the same"
    for name, starts in _PAIRS.items():
        pair = np.stack([fields[start] for start in starts])
        if not np.ptp(pair, axis=1).any():
            continue
        copied = any(np.array_equal(axis, values) for axis in lines for values in pair)
        if copied or set(starts) & set(line_bytes):
            reason = f"{name} coordinates are line numbers"
            continue
        return f"{name} coordinates", pair * units_m, float(np.max(units_m))
    raise NoDistancesError(reason)


def fit_grid(positions: Floats, numbers: Integers, unit_m: float) -> Floats:
    """
    Fit a rectangular, perhaps rotated, grid to the positions of traces.

    Traces at 0 / 0 are left out where all others make a grid without them.

    Parameters
    ----------
    positions : array of shape (2, n)
        (x, y) in m.
    numbers : array of shape (2, n)
        Inline and crossline numbers.
    unit_m : float
        What positions may be rounded to.

    Returns
    -------
    array of shape (2, 2)
        (x, y) in m for a step of one of each line number.

    Raises
    ------
    NoDistancesError
        If the positions do not make such a grid.
    """
    try:
        return _fit(positions, numbers, unit_m)
    except NoDistancesError:
        known = positions.any(axis=0)
        if known.all() or np.count_nonzero(known) <= known.size / 2:
            raise
        return _fit(positions[:, known], numbers[:, known], unit_m)


def _fit(positions: Floats, numbers: Integers, unit_m: float) -> Floats:
    design = (numbers - numbers.mean(axis=1, keepdims=True)).T  # (n, 2)
    positions = (positions - positions.mean(axis=1, keepdims=True)).T  # (n, 2)
    steps: Floats = np.linalg.lstsq(design, positions)[0]
    steps_m = np.hypot(*steps.T)
    bins_m = [
        step_m * np.diff(np.unique(axis)).min()
        for step_m, axis in zip(steps_m, numbers, strict=True)
        if np.ptp(axis)
    ]
    misfits_m = np.abs(positions - design @ steps)  # (n, 2)
    misfit_m = np.hypot(*misfits_m.T).max()
    if min(bins_m) < 1e-6 * max(bins_m) or not all(bins_m):
        raise NoDistancesError("lines of different numbers have the same position")
    rounded = unit_m < min(bins_m) and misfits_m.max() <= MAX_ROUNDING * unit_m
    if misfit_m >= MAX_MISFIT * min(bins_m) and not rounded:
        raise NoDistancesError(f"traces lie up to {misfit_m:.3g} m off a regular grid")
    cosine = abs(steps[0] @ steps[1])
    if cosine > MAX_MISFIT * steps_m.prod():
        raise NoDistancesError("inlines and crosslines do not cross at right angles")
    return steps


def measure_line(positions: Floats, unit_m: float) -> Floats:
    """
    Distance along a line of traces, however it bends.

    Parameters
    ----------
    positions : array of shape (2, n)
        (x, y) of the traces in their order, in m. A trace at 0 / 0 far from its neighbours is
        taken to lie on the line through them.
    unit_m : float
        What positions may be rounded to: steps that differ by no more are the same.

    Returns
    -------
    array of shape (n,)
        In m.
    """
    steps_m = np.hypot(*np.diff(positions))
    known = np.flatnonzero(positions.any(axis=0))
    if 1 < known.size < positions.shape[1] and steps_m.max() > FAR_STEPS * np.median(steps_m):
        between = interp1d(known, positions[:, known], fill_value="extrapolate")
        steps_m = np.hypot(*np.diff(between(np.arange(positions.shape[1]))))
    if not are_even(steps_m):
        mean_m = steps_m.mean()
        if np.abs(steps_m - mean_m).max() <= min(2 * MAX_ROUNDING * unit_m, mean_m / 2):
            steps_m = np.full(steps_m.size, mean_m)
    return np.cumsum([0.0, *steps_m])


def add_distances(traces: xr.DataArray, steps: Floats) -> xr.DataArray:
    """Add distances of lines, and their bearings, to a grid of lines."""
    for line, step in zip(AXES, steps, strict=True):
        lines = traces[line].values
        traces = traces.assign_coords({f"{line}_m": (line, np.hypot(*step) * (lines - lines[0]))})
        if lines.size > 1:
            bearing = np.rad2deg(np.arctan2(*step)) % 360
            traces.attrs[f"{line}_bearing_deg"] = round(float(bearing), 2)
    return traces
