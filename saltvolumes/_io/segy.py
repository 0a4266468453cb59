"""Volumes from SEG-Y, block by block of traces, so that a file may be larger than memory."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from segyio import BinField, TraceField

from saltvolumes._io.segy_layout import Integers, Layout, check_line_bytes, read_layout
from saltvolumes._io.segy_positions import (
    COORDINATES,
    Floats,
    find_factors,
    find_unit_m,
    measure_grid,
    measure_line,
)
from saltvolumes.errors import DataError
from saltvolumes.lines import NEAR_STEPS
from saltvolumes.volume import AXES, BLOCK_LINES

SINGLE_LINE = "single line"
# Traces that cover less than this fraction of a grid of lines are not a 3-D survey.
MIN_COVERAGE = 0.1
FEW_TWINS = 1.5  # traces for each position from which a file is pre-stack, not one with a mistake
WHOLE = 1e-3  # of a sample, by which a shift may differ from whole samples
DEAD = 2  # trace identification code
TIME_SCALARS = 10 ** np.arange(5)  # or minus these; older files hold anything in their field
# Header fields that every trace states for itself.
CODE, DELAY = TraceField.TraceIdentificationCode, TraceField.DelayRecordingTime
INTERVAL, SCALAR = TraceField.TRACE_SAMPLE_INTERVAL, TraceField.ScalarTraceHeader

logger = logging.getLogger(__name__)


class Headers(NamedTuple):
    """What the headers of a SEG-Y file state."""

    layout: Layout
    fields: Mapping[int, Integers]  # of all traces, by their first byte
    live: NDArray[np.bool_]  # which traces (n,) are not dead
    line_bytes: tuple[int, ...]
    attrs: dict[str, Any]  # of the volume, to be added to


class Geometry(NamedTuple):
    """Where the traces of a SEG-Y file lie, and how it is stored."""

    layout: Layout
    # (inline, crossline): index of each trace in the file, -1 where it is missing; with distances
    # of the lines where trace coordinates give them, and what `open_segy` returns as attributes.
    traces: xr.DataArray
    samples: Floats | None  # time in ms or depth in m of those that are read, where it is known


def open_segy(path: Path, *, vertical: str | None, **reading: Any) -> xr.DataArray:
    """
    Open a post-stack SEG-Y file lazily.

    The headers do not distinguish time from depth. Their interval field counts microseconds, and in
    depth files by custom thousandths of the unit of length, so 20000 reads as 20 ms or 20 m. Nor
    do they state which lines a survey calls inlines: exchanged bytes exchange the axes.

    A trace is missing where the file has none, and where its header calls it dead and its samples
    are zero. Traces that start whole samples apart are read where all of them have samples.

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
        - ``trace_starts``: recording delays and numbers of their traces, where there are several;
        - ``inline_bearing_deg``, ``crossline_bearing_deg``: where known, the direction
          in which these line numbers rise, clockwise from north (the y axis);
        - ``byte_order``, ``sample_format``: as they were read; ``sample_format_doubt`` where the
          floats seem to be of the other kind than the header states; ``sample_interval_doubt``
          where headers state several;
        - ``units``: of the samples, if these are velocities.

    Raises
    ------
    DataError
        If the file is not SEG-Y, is truncated or has no 3-D geometry, or its traces do not start
        whole samples apart.
    ValueError
        If an argument is unknown.
    """
    if vertical is None:
        vertical = "time"
        logger.info("%s: vertical axis taken as time, which headers do not state.", path.name)
    layout, traces, samples = scan_segy(path, vertical=vertical, **reading)
    blocks = traces.variable.chunk(BLOCK_LINES).data  # of (inline, crossline): of whole traces
    amplitude = blocks.map_blocks(
        layout.read_samples,
        new_axis=2,
        chunks=(*blocks.chunks, (layout.n_read,)),
        meta=np.empty((0, 0, 0), np.float32),
    )
    coords = dict(traces.coords) if samples is None else {**traces.coords, vertical: samples}
    attrs = traces.attrs | {"units": "m/s" if find_unit_m(layout) == 1 else "ft/s"}
    return xr.DataArray(amplitude, coords, (*AXES, vertical), attrs=attrs)


def scan_segy(
    path: Path,
    *,
    vertical: str,
    iline_byte: int,
    xline_byte: int,
    sample_interval: float | None = None,
    single_line: bool = False,
    keep_dead: bool = False,
    sample_format: int | None = None,
) -> Geometry:
    """
    Read the headers of a SEG-Y file.

    Parameters
    ----------
    path : Path
    vertical : {"time", "depth"}
    iline_byte, xline_byte : int
        First byte of the line numbers in the trace header, counted from 1.
    sample_interval : float, optional
        In ms or m, overriding the headers'. The start remains the headers'.
    single_line : bool
        Take all traces as inline 1. Its crosslines are the CDP numbers where these only rise or
        only fall along the file, else traces counted from 1.
    keep_dead : bool
        Whether dead traces are traces all the same, as in a mask.
    sample_format : int, optional
        Code of the sample format, overriding the header's.

    Raises
    ------
    DataError
        If the file is not SEG-Y, is truncated or has no 3-D geometry, or its traces do not start
        whole samples apart.
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
    line_bytes = (TraceField.CDP,) if single_line else (iline_byte, xline_byte)
    stated = (CODE, DELAY, INTERVAL, SCALAR, *COORDINATES)
    fields = layout.read_trace_fields(*line_bytes, *stated)
    live = np.ones(layout.n_traces, bool) if keep_dead else _find_live(layout, fields[CODE])
    headers = Headers(layout, fields, live, line_bytes, attrs)
    unit_m = find_unit_m(layout) if vertical == "depth" else 1.0
    interval = _find_interval(headers) if sample_interval is None else sample_interval / unit_m
    layout, start = _align(headers, interval)
    traces = (_scan_line if single_line else _scan_grid)(headers)
    traces.attrs = attrs
    if interval is None:
        return Geometry(layout, traces, None)
    return Geometry(layout, traces, (start + interval * np.arange(layout.n_read)) * unit_m)


def _find_live(layout: Layout, codes: Integers) -> NDArray[np.bool_]:
    """Which traces (n,) are not dead: called so by their header, and zero throughout."""
    live: NDArray[np.bool_] = codes != DEAD
    for block in layout.list_blocks():
        called = block.start + np.flatnonzero(~live[block])
        live[called] = layout.read_samples(called).any(axis=1)
    return live


def _find_interval(headers: Headers) -> float | None:
    """Time in ms, or depth, from one sample to the next, if the headers hold one interval."""
    traces = headers.fields[INTERVAL][headers.live]
    stated = np.unique(np.append(traces, headers.layout.read_field(BinField.Interval)))
    found = [float(value) / 1000.0 for value in stated if value > 0]
    if len(found) > 1:
        shown = " and ".join(f"{value:g}" for value in found[:6])
        headers.attrs["sample_interval_doubt"] = f"headers state {shown}"
    return found[0] if len(found) == 1 else None


def _align(headers: Headers, interval: float | None) -> tuple[Layout, float]:
    """Layout that reads the samples that all live traces have, and where these start."""
    layout, fields, live, _, attrs = headers
    legal = np.isin(np.abs(fields[SCALAR]), TIME_SCALARS)
    factors = find_factors(np.where(legal, fields[SCALAR], 1))
    delays = np.round(fields[DELAY] * factors, 6)[live]
    start = float(delays.max()) if delays.size else 0.0
    if (delays == start).all():
        return layout, start
    counted = zip(*np.unique(delays, return_counts=True), strict=True)
    shown = ", ".join(f"{delay:g} ({n} traces)" for delay, n in [*counted][:6])
    attrs["trace_starts"] = shown
    shifts = (start - delays) / (interval or np.nan)
    if not np.abs(shifts - np.rint(shifts)).max() <= WHOLE or shifts.max() > layout.n_samples - 1:
        raise DataError(
            f"{layout.path.name}: traces start at {shown}. Must be whole samples of {interval} "
            f"apart, fewer than {layout.n_samples}: correct the delays, or give sample_interval."
        )
    skipped = np.zeros(layout.n_traces, np.int64)
    skipped[live] = np.rint(shifts)
    layout = replace(layout, skipped=skipped)
    what = f"{layout.n_read} of {layout.n_samples} samples, those that all of them have"
    logger.warning("%s: traces start at %s. Reading %s.", layout.path.name, shown, what)
    return layout, start


def _scan_line(headers: Headers) -> xr.DataArray:
    cdps = headers.fields[TraceField.CDP]
    steps = np.diff(cdps)
    numbers = cdps if (steps > 0).all() or (steps < 0).all() else np.arange(1, cdps.size + 1)
    order = np.argsort(numbers)
    index = np.where(headers.live, np.arange(cdps.size), -1)
    traces = _as_grid(index[order][None], [np.ones(1, np.int64), numbers[order]])
    headers.attrs["trace_order"] = SINGLE_LINE
    found, distances = measure_line(headers.layout, headers.fields, cdps, order)
    headers.attrs["trace_coordinates"] = found
    if distances is None:
        return traces
    return traces.assign_coords(crossline_m=("crossline", distances))


def _scan_grid(headers: Headers) -> xr.DataArray:
    layout, fields, live, line_bytes, attrs = headers
    numbers = np.stack([fields[byte] for byte in line_bytes])
    placed = _find_placed(layout, numbers)
    kept = placed & live
    traces = _find_traces(headers, numbers, placed)
    attrs["trace_order"] = _find_order(numbers[:, placed])
    logger.info(
        "%s: %d inlines (byte %d) and %d crosslines (byte %d), sorted %s. Exchange the bytes where "
        "the survey calls them the other way round.",
        *(layout.path.name, traces.shape[0], line_bytes[0], traces.shape[1], line_bytes[1]),
        attrs["trace_order"],
    )
    of_kept = {byte: values[kept] for byte, values in fields.items()}
    found, steps = measure_grid(layout, of_kept, numbers[:, kept], line_bytes)
    attrs["trace_coordinates"] = found
    for line, step in zip(AXES, () if steps is None else steps, strict=steps is not None):
        lines = traces[line].values
        traces = traces.assign_coords({f"{line}_m": (line, np.hypot(*step) * (lines - lines[0]))})
        if lines.size > 1:
            bearing = np.rad2deg(np.arctan2(*step)) % 360
            attrs[f"{line}_bearing_deg"] = round(float(bearing), 2)
    return traces


def _find_placed(layout: Layout, numbers: Integers) -> NDArray[np.bool_]:
    """Which traces (n,) have line numbers: 0 / 0 far from those of all others is none."""
    zero: NDArray[np.bool_] = (numbers == 0).all(axis=0)
    for axis in numbers if zero.any() and not zero.all() else ():
        others = np.unique(axis[~zero])
        step = np.median(np.diff(others)) if others.size > 1 else 1
        if np.abs(others).min() > NEAR_STEPS * step:
            logger.warning(
                "%s: %d traces, the first of them number %d, have line numbers 0 / 0, far from all "
                "others, and are left out.",
                *(layout.path.name, np.count_nonzero(zero), np.argmax(zero) + 1),
            )
            return ~zero
    return np.ones(zero.size, bool)


def _as_grid(traces: Integers, lines: Sequence[Integers]) -> xr.DataArray:
    return xr.DataArray(traces, dict(zip(AXES, lines, strict=True)), AXES)


def _find_traces(headers: Headers, numbers: Integers, placed: NDArray[np.bool_]) -> xr.DataArray:
    """Index of the trace at each position of the grid of lines, -1 where it is missing."""
    lines = [_fill_lines(axis[placed]) for axis in numbers]
    shape = tuple(axis.size for axis in lines)
    index = np.flatnonzero(placed & headers.live)
    where = tuple(np.searchsorted(*pair) for pair in zip(lines, numbers[:, index], strict=True))
    flat = where[0] * shape[1] + where[1]
    n_traces, n_pairs = index.size, np.unique(flat).size
    hint = "A pre-stack file, numbers in other bytes (iline_byte, xline_byte), or a 2-D line, which"
    hint += " single_line=True reads (thesis segment -o single_line true)"
    if n_pairs < n_traces < FEW_TWINS * n_pairs:
        order = np.argsort(flat, kind="stable")
        twin = np.argmax(np.diff(flat[order]) == 0)
        first, second = index[order[twin : twin + 2]]
        lines_of = f"inline {numbers[0, first]}, crossline {numbers[1, first]}"
        hint = f"Traces {first + 1} and {second + 1} are both at {lines_of}: remove one"
    if n_pairs < n_traces or n_traces < MIN_COVERAGE * math.prod(shape):  # before a huge grid
        inline, crossline = headers.line_bytes
        raise DataError(
            f"{headers.layout.path.name} has no 3-D geometry: {n_traces} traces at {n_pairs} of "
            f"{shape[0]} x {shape[1]} positions (line numbers in bytes {inline} and {crossline}). "
            f"{hint}."
        )
    traces = np.full(shape, -1, dtype=np.int64)
    traces[where] = index
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
