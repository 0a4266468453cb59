"""Volumes from SEG-Y, block by block of traces, so that a file may be larger than memory."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from segyio import BinField, TraceField

from saltvolumes._io.segy_layout import Integers, Layout, check_line_bytes, read_layout
from saltvolumes.errors import DataError
from saltvolumes.volume import AXES, BLOCK_LINES

FOOT_M = 0.3048
SINGLE_LINE = "single line"
# Traces that cover less than this fraction of a grid of lines are not a 3-D survey.
MIN_COVERAGE = 0.1
# Trace coordinates further than this fraction of a bin from a rectangular grid give no distances.
MAX_MISFIT = 0.1
# Header fields with coordinates: of the common depth point, or of the source in older files.
_COORDINATES = (
    *(TraceField.CDP_X, TraceField.CDP_Y, TraceField.SourceX, TraceField.SourceY),
    TraceField.SourceGroupScalar,  # of the trace
)

Floats = NDArray[np.floating[Any]]
logger = logging.getLogger(__name__)


class _NoDistancesError(Exception):
    """Why coordinates of traces give no distances."""


class Geometry(NamedTuple):
    """Where the traces of a SEG-Y file lie, and how it is stored."""

    layout: Layout
    # (inline, crossline): index of each trace in the file, -1 where it is missing; with distances
    # of the lines where trace coordinates give them, and what `open_segy` returns as attributes.
    traces: xr.DataArray


def open_segy(path: Path, *, vertical: str | None, **reading: Any) -> xr.DataArray:
    """
    Open a post-stack SEG-Y file lazily.

    The headers do not distinguish time from depth. Their interval field counts microseconds, and in
    depth files by custom thousandths of the unit of length, so 20000 reads as 20 ms or 20 m. Nor
    do they state which lines a survey calls inlines: exchanged bytes exchange the axes.

    Parameters
    ----------
    path : Path
    vertical : {"time", "depth"}, optional
        Time, as the standard has it, by default.
    **reading
        Arguments of `scan_segy`.

    Returns
    -------
    DataArray of dims (inline, crossline, time or depth)
        With distances ``inline_m`` and ``crossline_m`` where the coordinates of the traces lie on
        a rectangular, perhaps rotated, grid; of a single line the distance along it. Without a
        vertical coordinate where the headers hold no sample interval. Attributes:

        - ``trace_order``: ``"by inline"`` where the crossline number changes fastest in the file,
          ``"by crossline"``, ``"neither"``, or ``"single line"``;
        - ``trace_coordinates``: which coordinates gave distances, or why none did;
        - ``inline_bearing_deg``, ``crossline_bearing_deg``: where known, the direction
          in which these line numbers rise, clockwise from north (the y axis);
        - ``byte_order``, ``sample_format``: as they were read; ``sample_format_doubt`` where the
          floats seem to be of the other kind than the header states.

    Raises
    ------
    DataError
        If the file is not SEG-Y, is truncated or has no 3-D geometry.
    ValueError
        If an argument is unknown.
    """
    if vertical is None:
        vertical = "time"
        logger.info("%s: vertical axis taken as time, which headers do not state.", path.name)
    layout, traces = scan_segy(path, **reading)
    samples = _find_samples(layout, vertical)
    blocks = traces.variable.chunk(BLOCK_LINES).data  # of (inline, crossline): of whole traces
    amplitude = blocks.map_blocks(
        layout.read_samples,
        new_axis=2,
        chunks=(*blocks.chunks, (layout.n_samples,)),
        meta=np.empty((0, 0, 0), np.float32),
    )
    coords = dict(traces.coords) if samples is None else {**traces.coords, vertical: samples}
    return xr.DataArray(amplitude, coords, (*AXES, vertical), attrs=traces.attrs)


def scan_segy(
    path: Path,
    *,
    iline_byte: int,
    xline_byte: int,
    single_line: bool = False,
    sample_format: int | None = None,
) -> Geometry:
    """
    Read the headers of a SEG-Y file.

    Parameters
    ----------
    path : Path
    iline_byte, xline_byte : int
        First byte of the line numbers in the trace header, counted from 1.
    single_line : bool
        Take all traces as inline 1. Its crosslines are the CDP numbers where these only rise or
        only fall along the file, else traces counted from 1.
    sample_format : int, optional
        Code of the sample format, overriding the header's.

    Raises
    ------
    DataError
        If the file is not SEG-Y, is truncated or has no 3-D geometry.
    ValueError
        If an argument is unknown.
    """
    check_line_bytes(iline_byte, xline_byte)
    layout = read_layout(path, sample_format=sample_format)
    attrs: dict[str, Any] = {"byte_order": layout.order, "sample_format": layout.code}
    doubt = None if sample_format is not None else layout.doubt_format()
    if doubt is not None:
        attrs["sample_format_doubt"] = doubt
        logger.warning("%s: %s.", path.name, doubt)
    line_bytes = (iline_byte, xline_byte)
    traces = _scan_line(layout) if single_line else _scan_grid(layout, line_bytes)
    traces.attrs = {**attrs, **traces.attrs}
    return Geometry(layout, traces)


def _scan_line(layout: Layout) -> xr.DataArray:
    cdps, *fields = layout.read_trace_fields(TraceField.CDP, *_COORDINATES)
    steps = np.diff(cdps)
    numbers = cdps if (steps > 0).all() or (steps < 0).all() else np.arange(1, cdps.size + 1)
    order = np.argsort(numbers)
    traces = _as_grid(order[None], [np.ones(1, np.int64), numbers[order]])
    traces.attrs["trace_order"] = SINGLE_LINE
    try:
        traces.attrs["trace_coordinates"], positions = _find_positions(layout, np.stack(fields))
    except _NoDistancesError as reason:
        return traces.assign_attrs(trace_coordinates=str(reason))
    steps_m = np.hypot(*np.diff(positions[:, order]))
    return traces.assign_coords(crossline_m=("crossline", np.cumsum([0.0, *steps_m])))


def _scan_grid(layout: Layout, line_bytes: tuple[int, int]) -> xr.DataArray:
    fields = layout.read_trace_fields(*line_bytes, *_COORDINATES)
    numbers, fields = fields[:2], fields[2:]
    traces = _find_traces(layout, line_bytes, numbers)
    traces.attrs["trace_order"] = _find_order(numbers)
    logger.info(
        "%s: %d inlines (byte %d) and %d crosslines (byte %d), sorted %s. Exchange the bytes where "
        "the survey calls them the other way round.",
        *(layout.path.name, traces.shape[0], line_bytes[0], traces.shape[1], line_bytes[1]),
        traces.attrs["trace_order"],
    )
    try:
        traces.attrs["trace_coordinates"], positions = _find_positions(layout, fields)
        steps = _fit_grid(positions, numbers)  # (inline and crossline, x and y)
    except _NoDistancesError as reason:
        logger.info("%s: no distances from coordinates: %s.", layout.path.name, reason)
        return traces.assign_attrs(trace_coordinates=str(reason))
    for line, step in zip(AXES, steps, strict=True):
        lines = traces[line].values
        traces = traces.assign_coords({f"{line}_m": (line, np.hypot(*step) * (lines - lines[0]))})
        if lines.size > 1:
            bearing = np.rad2deg(np.arctan2(*step)) % 360
            traces.attrs[f"{line}_bearing_deg"] = round(float(bearing), 2)
    return traces


def _as_grid(traces: Integers, lines: Sequence[Integers]) -> xr.DataArray:
    return xr.DataArray(traces, dict(zip(AXES, lines, strict=True)), AXES)


def _find_traces(layout: Layout, line_bytes: tuple[int, int], numbers: Integers) -> xr.DataArray:
    """Index of the trace at each position of the grid of lines, -1 where it is missing."""
    lines = [_fill_lines(axis) for axis in numbers]
    shape = tuple(axis.size for axis in lines)
    index = tuple(np.searchsorted(*pair) for pair in zip(lines, numbers, strict=True))
    n_traces, n_pairs = layout.n_traces, np.unique(index[0] * shape[1] + index[1]).size
    if n_pairs < n_traces or n_traces < MIN_COVERAGE * math.prod(shape):  # before a huge grid
        raise DataError(
            f"{layout.path.name} has no 3-D geometry: {n_traces} traces at {n_pairs} of "
            f"{shape[0]} x {shape[1]} positions (line numbers in bytes {line_bytes[0]} and "
            f"{line_bytes[1]}). A pre-stack file, numbers in other bytes (iline_byte, xline_byte), "
            "or a 2-D line, which single_line=True reads."
        )
    traces = np.full(shape, -1, dtype=np.int64)
    traces[index] = np.arange(n_traces)
    return _as_grid(traces, lines)


def _find_order(numbers: Integers) -> str:
    """Which line number stays the same for as long as it can along the file."""
    changes = np.count_nonzero(np.diff(numbers), axis=1)
    n_lines = [np.unique(axis).size for axis in numbers]
    slow = int(changes[1] < changes[0])
    if changes[slow] >= n_lines[slow]:
        return "neither"
    return ("by inline", "by crossline")[slow]


def _fill_lines(numbers: Integers) -> Integers:
    """Lines of a survey with the lines in which every trace is missing, if it has a regular step.

    A survey is taken to lack fewer lines than it has.
    """
    lines = np.unique(numbers)
    steps = np.diff(lines)
    if not steps.size or (steps % steps.min()).any():
        return lines
    n_lines = (lines[-1] - lines[0]) // steps.min() + 1
    if n_lines >= 2 * lines.size:
        return lines
    return np.arange(lines[0], lines[-1] + 1, steps.min())


def _find_samples(layout: Layout, vertical: str) -> Floats | None:
    """Time in ms or depth in m of the samples, if the headers hold one interval."""
    fields = (BinField.Interval, TraceField.TRACE_SAMPLE_INTERVAL)
    found = {value for value in map(layout.read_field, fields) if value > 0}
    if len(found) != 1:
        return None
    start = layout.read_field(TraceField.DelayRecordingTime)
    samples = start + found.pop() / 1000.0 * np.arange(layout.n_samples)
    return samples * (_find_unit_m(layout) if vertical == "depth" else 1.0)


def _find_unit_m(layout: Layout) -> float:
    return FOOT_M if layout.read_field(BinField.MeasurementSystem) == 2 else 1.0


def _find_positions(layout: Layout, fields: Integers) -> tuple[str, Floats]:
    """Which coordinates there are, and (x, y) of the traces in m, of shape (2, n)."""
    units = layout.read_field(TraceField.CoordinateUnits)
    if units not in (0, 1):
        raise _NoDistancesError(f"coordinates are not lengths: unit {units}")
    scalars = fields[4]
    units_m = _find_unit_m(layout) * np.where(scalars > 0, scalars, 1 / np.maximum(-scalars, 1))
    for names, pair in zip(("CDP", "source"), (fields[:2], fields[2:4]), strict=True):
        if np.ptp(pair, axis=1).any():
            return f"{names} coordinates", pair * units_m
    raise _NoDistancesError("coordinates are all the same")


def _fit_grid(positions: Floats, numbers: Integers) -> Floats:
    """(x, y) in m for a step of one of each line number (2, 2), if they make a rectangular grid."""
    design = (numbers - numbers.mean(axis=1, keepdims=True)).T  # (n, 2)
    positions = (positions - positions.mean(axis=1, keepdims=True)).T  # (n, 2)
    steps: Floats = np.linalg.lstsq(design, positions)[0]
    steps_m = np.hypot(*steps.T)
    bins_m = [
        step_m * np.diff(np.unique(axis)).min()
        for step_m, axis in zip(steps_m, numbers, strict=True)
        if np.ptp(axis)
    ]
    misfit_m = np.hypot(*(positions - design @ steps).T).max()
    if min(bins_m) < 1e-6 * max(bins_m) or not all(bins_m):
        raise _NoDistancesError("lines of different numbers have the same position")
    if misfit_m >= MAX_MISFIT * min(bins_m):
        raise _NoDistancesError(f"traces lie up to {misfit_m:.3g} m off a regular grid")
    cosine = abs(steps[0] @ steps[1])
    if cosine > MAX_MISFIT * steps_m.prod():
        raise _NoDistancesError("inlines and crosslines do not cross at right angles")
    return steps
