"""Distances between lines from the coordinates in SEG-Y trace headers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from segyio import BinField, TraceField

from saltvolumes._io.segy_layout import Integers, Layout
from saltvolumes.volume import are_even

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
COORDINATES = (*sum(_PAIRS.values(), ()), TraceField.SourceGroupScalar, TraceField.CoordinateUnits)

Floats = NDArray[np.floating[Any]]
Fields = Mapping[int, Integers]


class _NoDistancesError(Exception):
    """Why coordinates of traces give no distances."""


def find_unit_m(layout: Layout) -> float:
    """Unit of length of a file in m."""
    return FOOT_M if layout.read_field(BinField.MeasurementSystem) == 2 else 1.0


def find_factors(scalars: Integers) -> Floats:
    """Factors that scalars of trace headers mean: multiply by positive, divide by negative ones."""
    return np.where(scalars > 0, scalars, 1 / np.maximum(-scalars, 1))


def measure_grid(
    layout: Layout, fields: Fields, numbers: Integers, line_bytes: tuple[int, ...]
) -> tuple[str, Floats | None]:
    """
    Fit a rectangular, perhaps rotated, grid to the coordinates of traces.

    Traces at 0 / 0 are left out where all others make a grid without them.

    Parameters
    ----------
    layout : Layout
    fields : mapping of int to array of shape (n,)
        Trace header fields `COORDINATES`, of the traces in question.
    numbers : int array of shape (2, n)
        Inline and crossline numbers: fields that hold them as well are no coordinates.
    line_bytes : tuple of int
        First bytes of the fields that are read as line numbers, and are no coordinates either.

    Returns
    -------
    str
        Which coordinates there are, or why they give no distances.
    array of shape (2, 2), optional
        (x, y) in m for a step of one of each line number.
    """
    try:
        found, positions, unit_m = _find_positions(layout, fields, numbers, line_bytes)
        known = positions.any(axis=0)
        try:
            return found, _fit(positions, numbers, unit_m)
        except _NoDistancesError:
            if known.all() or np.count_nonzero(known) <= known.size / 2:
                raise
            return found, _fit(positions[:, known], numbers[:, known], unit_m)
    except _NoDistancesError as reason:
        return str(reason), None


def measure_line(
    layout: Layout, fields: Fields, cdps: Integers, order: Integers
) -> tuple[str, Floats | None]:
    """
    Distance in m of the traces of a line, in an order, from the first, however the line bends.

    A trace at 0 / 0 far from its neighbours is taken to lie on the line through them, and steps
    that differ by no more than rounding are taken to be the same. See `measure_grid`.
    """
    try:
        found, positions, unit_m = _find_positions(layout, fields, cdps[None], (TraceField.CDP,))
    except _NoDistancesError as reason:
        return str(reason), None
    positions = positions[:, order]
    steps_m = np.hypot(*np.diff(positions))
    known = np.flatnonzero(positions.any(axis=0))
    if 1 < known.size < order.size and steps_m.max() > FAR_STEPS * np.median(steps_m):
        from scipy.interpolate import interp1d  # slow to import, for a rare case

        between = interp1d(known, positions[:, known], fill_value="extrapolate")
        steps_m = np.hypot(*np.diff(between(np.arange(order.size))))
    mean_m = steps_m.mean()
    rounding_m = min(2 * MAX_ROUNDING * unit_m, mean_m / 2)
    if not are_even(steps_m) and np.abs(steps_m - mean_m).max() <= rounding_m:
        steps_m = np.full(steps_m.size, mean_m)
    return found, np.cumsum([0.0, *steps_m])


def _find_positions(
    layout: Layout, fields: Fields, numbers: Integers, line_bytes: tuple[int, ...]
) -> tuple[str, Floats, float]:
    """Which coordinates there are, (x, y) of the traces in m, (2, n), and their unit in m."""
    units = np.unique(fields[TraceField.CoordinateUnits]).tolist()
    if not {0, 1}.issuperset(units):
        shown = ", ".join(map(str, units))
        raise _NoDistancesError(f"coordinates are not lengths: unit {shown}")
    units_m = find_unit_m(layout) * find_factors(fields[TraceField.SourceGroupScalar])
    reason = "coordinates are all the same"
    for name, starts in _PAIRS.items():
        pair = np.stack([fields[start] for start in starts])
        if not np.ptp(pair, axis=1).any():
            continue
        lines = [axis for axis in numbers if np.ptp(axis)]
        copied = any(np.array_equal(axis, values) for axis in lines for values in pair)
        if not copied and not set(starts) & set(line_bytes):
            return f"{name} coordinates", pair * units_m, float(np.max(units_m))
        reason = f"{name} coordinates are line numbers"
    raise _NoDistancesError(reason)


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
        raise _NoDistancesError("lines of different numbers have the same position")
    rounded = unit_m < min(bins_m) and misfits_m.max() <= MAX_ROUNDING * unit_m
    if misfit_m >= MAX_MISFIT * min(bins_m) and not rounded:
        raise _NoDistancesError(f"traces lie up to {misfit_m:.3g} m off a regular grid")
    cosine = abs(steps[0] @ steps[1])
    if cosine > MAX_MISFIT * steps_m.prod():
        raise _NoDistancesError("inlines and crosslines do not cross at right angles")
    return steps
