"""Volumes from SEG-Y, trace by trace, so that a file larger than memory is no trouble."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from segyio import BinField, TraceField
from xarray.backends import BackendArray
from xarray.core import indexing

from thesis_lib.data.errors import DataError
from thesis_lib.data.segy_layout import BLOCK_BYTES, Integers, Layout, check_line_bytes, read_layout

FOOT_M = 0.3048
SINGLE_LINE = "single line"
# A grid of lines with fewer traces than this share of its places is none.
MIN_COVERAGE = 0.1
# Trace coordinates further than this share of a bin from a rectangular grid give no distances.
MAX_MISFIT = 0.1
# Where coordinates of a trace stand: of its common depth point, or of the source in older files.
_COORDINATES = (
    *(TraceField.CDP_X, TraceField.CDP_Y, TraceField.SourceX, TraceField.SourceY),
    TraceField.SourceGroupScalar,  # of the trace
)
_ONE_LINE = np.ones(1, dtype=np.int64)

Floats = NDArray[np.floating[Any]]
logger = logging.getLogger(__name__)


class _NoDistancesError(Exception):
    """Why coordinates of traces give no distances."""


@dataclass(frozen=True)
class Geometry:
    """
    Where the traces of a SEG-Y file lie.

    Attributes
    ----------
    layout : Layout
    inlines, crosslines : int array of shape (n,)
        Line numbers, rising.
    traces : int array of shape (n_inline, n_crossline)
        Index of each trace in the file, -1 where it is missing.
    inline_m, crossline_m : array of shape (n,), or None
        Distance of each line from the first, where coordinates tell.
    attrs : mapping
        What `open_segy` says of the file.
    """

    layout: Layout
    inlines: Integers
    crosslines: Integers
    traces: Integers
    inline_m: Floats | None
    crossline_m: Floats | None
    attrs: dict[str, str | int | float]


class SegyArray(BackendArray):
    """The samples of a SEG-Y file, float32, NaN where a trace is missing; read when asked for."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.shape = (*geometry.traces.shape, geometry.layout.n_samples)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.float32]:
        traces, layout = self.geometry.traces[key[:2]], self.geometry.layout
        n_kept = np.arange(layout.n_samples)[key[2]].shape  # () or (n,)
        values = np.empty((traces.size, *n_kept), dtype=np.float32)
        step = max(1, BLOCK_BYTES // layout.record.itemsize)
        for first in range(0, traces.size, step):
            block = traces.reshape(-1)[first : first + step]
            mapped = layout.map_traces()["samples"]  # anew: pages that are mapped take memory
            values[first : first + step] = layout.decode(mapped[np.maximum(block, 0), key[2]])
        values[traces.reshape(-1) < 0] = np.nan
        return values.reshape((*traces.shape, *n_kept))


def open_segy(path: Path, *, vertical: str | None, **reading: Any) -> xr.DataArray:
    """
    Open a post-stack SEG-Y file lazily.

    The headers do not tell time from depth. Their interval field counts microseconds, and in
    depth files by custom thousandths of the unit of length, so 20000 reads as 20 ms or 20 m. Nor
    do they tell which lines a survey calls inlines: exchanged bytes exchange the axes.

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
        - ``inline_bearing_deg``, ``crossline_bearing_deg``: where coordinates tell, the direction
          in which these line numbers rise, clockwise from north (the y axis);
        - ``byte_order``, ``sample_format``: as they were read; ``sample_format_doubt`` where the
          floats seem to be of the other kind than the header says.

    Raises
    ------
    DataError
        If the file is none, is truncated or has no 3-D geometry.
    ValueError
        If an argument is unknown.
    """
    if vertical is None:
        vertical = "time"
        logger.info("%s: vertical axis taken as time; headers cannot tell.", path.name)
    geometry = scan_segy(path, **reading)
    coords: dict[str, Any] = {"inline": geometry.inlines, "crossline": geometry.crosslines}
    samples = _place_samples(geometry.layout, vertical)
    if samples is not None:
        coords[vertical] = samples
    for line, metres in (("inline", geometry.inline_m), ("crossline", geometry.crossline_m)):
        if metres is not None:
            coords[f"{line}_m"] = (line, metres)
    amplitude: Any = indexing.LazilyIndexedArray(SegyArray(geometry))
    dims = ("inline", "crossline", vertical)
    return xr.DataArray(xr.Variable(dims, amplitude, geometry.attrs), coords)


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
        If the file is none, is truncated or has no 3-D geometry.
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
    if single_line:
        return _scan_line(layout, attrs)
    return _scan_grid(layout, (iline_byte, xline_byte), attrs)


def _scan_line(layout: Layout, attrs: dict[str, Any]) -> Geometry:
    cdps, *fields = layout.read_trace_fields(TraceField.CDP, *_COORDINATES)
    steps = np.diff(cdps)
    numbers = cdps if (steps > 0).all() or (steps < 0).all() else np.arange(1, cdps.size + 1)
    traces = np.argsort(numbers)
    attrs["trace_order"] = SINGLE_LINE
    crossline_m = None
    try:
        attrs["trace_coordinates"], places = _place_traces(layout, np.stack(fields))
        steps_m = np.hypot(*np.diff(places[:, traces]))
        crossline_m = np.concatenate([[0.0], np.cumsum(steps_m)])
    except _NoDistancesError as reason:
        attrs["trace_coordinates"] = str(reason)
    return Geometry(layout, _ONE_LINE, numbers[traces], traces[None], None, crossline_m, attrs)


def _scan_grid(layout: Layout, line_bytes: tuple[int, int], attrs: dict[str, Any]) -> Geometry:
    fields = layout.read_trace_fields(*line_bytes, *_COORDINATES)
    numbers, fields = fields[:2], fields[2:]
    inlines, crosslines = (_fill_lines(axis) for axis in numbers)
    traces = _find_traces(layout, line_bytes, numbers, inlines, crosslines)
    attrs["trace_order"] = _find_order(numbers)
    logger.info(
        "%s: %d inlines (byte %d) and %d crosslines (byte %d), sorted %s. Exchange the bytes where "
        "the survey calls them the other way round.",
        *(layout.path.name, inlines.size, line_bytes[0], crosslines.size, line_bytes[1]),
        attrs["trace_order"],
    )
    metres: dict[str, Floats] = {}
    try:
        attrs["trace_coordinates"], places = _place_traces(layout, fields)
        steps = _fit_grid(places, numbers)  # (inline and crossline, x and y)
        for name, axis, step in zip(
            ("inline", "crossline"), (inlines, crosslines), steps, strict=True
        ):
            metres[name] = np.hypot(*step) * (axis - axis[0])
            if axis.size > 1:
                bearing = np.rad2deg(np.arctan2(*step)) % 360
                attrs[f"{name}_bearing_deg"] = round(float(bearing), 2)
    except _NoDistancesError as reason:
        attrs["trace_coordinates"] = str(reason)
        logger.info("%s: no distances from coordinates: %s.", layout.path.name, reason)
    return Geometry(
        layout, inlines, crosslines, traces, metres.get("inline"), metres.get("crossline"), attrs
    )


def _find_traces(
    layout: Layout,
    line_bytes: tuple[int, int],
    numbers: Integers,
    inlines: Integers,
    crosslines: Integers,
) -> Integers:
    """Index of the trace at each place of the grid of lines, -1 where there is none."""
    rows, columns = np.searchsorted(inlines, numbers[0]), np.searchsorted(crosslines, numbers[1])
    n_pairs = np.unique(rows * crosslines.size + columns).size
    n_traces, n_places = layout.n_traces, inlines.size * crosslines.size
    if n_pairs < n_traces or n_traces < MIN_COVERAGE * n_places:  # before a huge grid is made
        raise DataError(
            f"{layout.path.name} has no 3-D geometry: {n_traces} traces at {n_pairs} of "
            f"{inlines.size} x {crosslines.size} places (line numbers in bytes {line_bytes[0]} and "
            f"{line_bytes[1]}). A pre-stack file, numbers in other bytes (iline_byte, xline_byte), "
            "or a 2-D line, which single_line=True reads."
        )
    traces = np.full((inlines.size, crosslines.size), -1, dtype=np.int64)
    traces[rows, columns] = np.arange(n_traces)
    return traces


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


def _place_samples(layout: Layout, vertical: str) -> Floats | None:
    """Time in ms or depth in m of the samples, if the headers hold one interval."""
    fields = (BinField.Interval, TraceField.TRACE_SAMPLE_INTERVAL)
    told = {value for value in map(layout.read_field, fields) if value > 0}
    if len(told) != 1:
        return None
    start = layout.read_field(TraceField.DelayRecordingTime)
    samples = start + told.pop() / 1000.0 * np.arange(layout.n_samples)
    return samples * (_find_unit_m(layout) if vertical == "depth" else 1.0)


def _find_unit_m(layout: Layout) -> float:
    return FOOT_M if layout.read_field(BinField.MeasurementSystem) == 2 else 1.0


def _place_traces(layout: Layout, fields: Integers) -> tuple[str, Floats]:
    """Which coordinates there are, and (x, y) of the traces in m, of shape (2, n)."""
    units = layout.read_field(TraceField.CoordinateUnits)
    if units not in (0, 1):
        raise _NoDistancesError(f"coordinates are no lengths: unit {units}")
    scalars = fields[4]
    units_m = _find_unit_m(layout) * np.where(scalars > 0, scalars, 1 / np.maximum(-scalars, 1))
    for names, pair in zip(("CDP", "source"), (fields[:2], fields[2:4]), strict=True):
        if np.ptp(pair, axis=1).any():
            return f"{names} coordinates", pair * units_m
    raise _NoDistancesError("coordinates are all the same")


def _fit_grid(places: Floats, numbers: Integers) -> Floats:
    """(x, y) in m for a step of one of each line number (2, 2), if they make a rectangular grid."""
    design = (numbers - numbers.mean(axis=1, keepdims=True)).T  # (n, 2)
    places = (places - places.mean(axis=1, keepdims=True)).T  # (n, 2)
    steps: Floats = np.linalg.lstsq(design, places)[0]
    steps_m = np.hypot(*steps.T)
    bins_m = [
        step_m * np.diff(np.unique(axis)).min()
        for step_m, axis in zip(steps_m, numbers, strict=True)
        if np.ptp(axis)
    ]
    misfit_m = np.hypot(*(places - design @ steps).T).max()
    if min(bins_m) < 1e-6 * max(bins_m) or not all(bins_m):
        raise _NoDistancesError("lines of different numbers lie in one place")
    if misfit_m >= MAX_MISFIT * min(bins_m):
        raise _NoDistancesError(f"traces lie up to {misfit_m:.3g} m off a regular grid")
    cosine = abs(steps[0] @ steps[1])
    if cosine > MAX_MISFIT * steps_m.prod():
        raise _NoDistancesError("inlines and crosslines do not cross at right angles")
    return steps
