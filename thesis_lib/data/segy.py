"""SEG-Y in and out, trace by trace, so that a file larger than memory is no trouble."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import segyio
import xarray as xr
from numpy.typing import NDArray
from segyio import BinField, TraceField
from xarray.backends import BackendArray
from xarray.core import indexing

from thesis_lib.data.errors import DataError

IBM = 1
IEEE = 5
FORMATS = {
    **{IBM: ">f4", 2: ">i4", 3: ">i2", IEEE: ">f4", 6: ">f8"},
    **{8: "i1", 10: ">u4", 11: ">u2", 16: "u1"},
}
HEADER_BYTES = 3600  # text and binary header
FOOT_M = 0.3048
# A grid of lines with fewer traces than this share of its places is none.
MIN_COVERAGE = 0.1
# Trace coordinates further than this share of a bin from a rectangular grid give no distances.
MAX_MISFIT = 0.1

Integers = NDArray[np.int64]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Geometry:
    """
    Where the traces of a SEG-Y file lie, and how their bytes read.

    Attributes
    ----------
    path : Path
    inlines, crosslines : int array of shape (n,)
        Line numbers, rising.
    traces : int array of shape (n_inline, n_crossline)
        Index of each trace in the file, -1 where it is missing.
    n_samples, code, first_byte : int
        Samples of a trace, their format code, and the byte where the first trace header starts.
    interval, start : float
        Sample interval (0 where the headers do not tell) and first sample, in ms or ``unit_m``.
    unit_m : float
        The file's unit of length, metre or foot, in m.
    spacing_m : tuple of two floats, or None
        Distance along (inline, crossline) for one step of the line number, in m.
    """

    path: Path
    inlines: Integers
    crosslines: Integers
    traces: Integers
    n_samples: int
    code: int
    first_byte: int
    interval: float
    start: float
    unit_m: float
    spacing_m: tuple[float, float] | None

    def map_traces(self) -> NDArray[np.void]:
        """Map the file: a record (header, samples) for each trace."""
        record = [("header", "V240"), ("samples", FORMATS[self.code], (self.n_samples,))]
        return np.memmap(self.path, dtype=record, mode="r", offset=self.first_byte)


class SegyArray(BackendArray):
    """The samples of a SEG-Y file, float32, NaN where a trace is missing; read when asked for."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self.shape = (*geometry.traces.shape, geometry.n_samples)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.BASIC, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> NDArray[np.float32]:
        traces = self.geometry.traces[key[:2]]
        stored = self.geometry.map_traces()["samples"][np.maximum(traces, 0), key[2]]
        values = np.array(stored, ndmin=1)
        if self.geometry.code == IBM:
            values = segyio.tools.native(values, format=IBM, copy=False)
        values = values.reshape(np.shape(stored)).astype(np.float32)
        values[traces < 0] = np.nan
        return values


def open_segy(
    path: Path, *, vertical: str | None, iline_byte: int, xline_byte: int
) -> xr.DataArray:
    """
    Open a post-stack 3-D SEG-Y file lazily.

    The headers do not tell time from depth. Their interval field counts microseconds, and in
    depth files by custom thousandths of the unit of length, so 20000 reads as 20 ms or 20 m.

    Parameters
    ----------
    path : Path
    vertical : {"time", "depth"}, optional
        Time, as the standard has it, by default.
    iline_byte, xline_byte : int
        First byte of the line numbers in the trace header, counted from 1.

    Returns
    -------
    DataArray of dims (inline, crossline, time or depth)
        With distances ``inline_m`` and ``crossline_m`` where the coordinates of the traces lie on
        a rectangular, perhaps rotated, grid. Without a vertical coordinate where the headers hold
        no sample interval.

    Raises
    ------
    DataError
        If the file is none, is truncated or has no 3-D geometry.
    """
    if vertical is None:
        vertical = "time"
        logger.info("%s: vertical axis taken as time; headers cannot tell.", path.name)
    geometry = scan_segy(path, iline_byte=iline_byte, xline_byte=xline_byte)
    coords: dict[str, Any] = {"inline": geometry.inlines, "crossline": geometry.crosslines}
    if geometry.interval > 0:
        samples = geometry.start + geometry.interval * np.arange(geometry.n_samples)
        coords[vertical] = samples * (geometry.unit_m if vertical == "depth" else 1.0)
    if geometry.spacing_m is not None:
        for line, step_m in zip(("inline", "crossline"), geometry.spacing_m, strict=True):
            coords[f"{line}_m"] = (line, step_m * (coords[line] - coords[line][0]))
    amplitude: Any = indexing.LazilyIndexedArray(SegyArray(geometry))
    return xr.DataArray(xr.Variable(("inline", "crossline", vertical), amplitude), coords)


def scan_segy(path: Path, *, iline_byte: int, xline_byte: int) -> Geometry:
    """
    Read the headers of a SEG-Y file.

    Parameters
    ----------
    path : Path
    iline_byte, xline_byte : int
        First byte of the line numbers in the trace header, counted from 1.

    Raises
    ------
    DataError
        If the file is none, is truncated or has no 3-D geometry.
    """
    for name, byte in (("iline_byte", iline_byte), ("xline_byte", xline_byte)):
        if byte not in segyio.tracefield.keys.values():
            raise ValueError(
                f"Invalid {name} {byte}. Must be the first byte of a field of the trace header."
            )
    code = _read_format(path)
    try:
        with segyio.open(path, ignore_geometry=True) as file:
            return _scan(path, file, code, (iline_byte, xline_byte))
    except (RuntimeError, OSError, IndexError) as error:
        raise DataError(f"{path.name} is not SEG-Y, or truncated: {error}.") from error


def _read_format(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        raise DataError(
            f"{path.name} is not SEG-Y: {len(head)} bytes. Its headers alone take {HEADER_BYTES}."
        )
    code = int.from_bytes(head[3224:3226], "big")
    if code not in FORMATS:
        raise DataError(
            f"{path.name} is not SEG-Y, or little-endian: sample format {code}. "
            f"Must be one of: {', '.join(map(str, FORMATS))}."
        )
    return code


def _scan(path: Path, file: segyio.SegyFile, code: int, line_bytes: tuple[int, int]) -> Geometry:
    if file.ext_headers < 0:
        raise DataError(
            f"{path.name} announces {file.ext_headers} extended text headers. Must be 0 or more."
        )
    numbers = [np.asarray(file.attributes(byte)[:], dtype=np.int64) for byte in line_bytes]
    lines = [_fill_lines(axis) for axis in numbers]
    n_places = lines[0].size * lines[1].size
    n_pairs = len(np.unique(numbers, axis=1).T)
    if n_pairs < file.tracecount or file.tracecount < MIN_COVERAGE * n_places:
        raise DataError(
            f"{path.name} has no 3-D geometry: {file.tracecount} traces at {n_pairs} of "
            f"{lines[0].size} x {lines[1].size} places (line numbers in bytes {line_bytes[0]} and "
            f"{line_bytes[1]}). A 2-D line, a pre-stack file, or numbers in other bytes."
        )
    traces = np.full((lines[0].size, lines[1].size), -1, dtype=np.int64)
    places = [np.searchsorted(*pair) for pair in zip(lines, numbers, strict=True)]
    traces[places[0], places[1]] = np.arange(file.tracecount)
    unit_m = FOOT_M if file.bin[BinField.MeasurementSystem] == 2 else 1.0
    return Geometry(
        path=path,
        inlines=lines[0],
        crosslines=lines[1],
        traces=traces,
        n_samples=len(file.samples),
        code=code,
        first_byte=HEADER_BYTES + 3200 * file.ext_headers,
        interval=segyio.dt(file, fallback_dt=0.0) / 1000.0,
        start=float(file.samples[0]),
        unit_m=unit_m,
        spacing_m=_fit_spacing(file, numbers, unit_m),
    )


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


def _fit_spacing(
    file: segyio.SegyFile, numbers: list[Integers], unit_m: float
) -> tuple[float, float] | None:
    """Metres for one step of each line number, if CDP coordinates lie on a rectangular grid."""
    if file.header[0][TraceField.CoordinateUnits] not in (0, 1):  # degrees or arc seconds
        return None
    scalar = file.header[0][TraceField.SourceGroupScalar]
    unit_m *= abs(scalar) if scalar > 0 else 1.0 / max(abs(scalar), 1)
    fields = (TraceField.CDP_X, TraceField.CDP_Y)
    places = np.stack([file.attributes(field)[:] * unit_m for field in fields], axis=1)  # (n, 2)
    places -= places.mean(axis=0)
    design = np.stack([axis - axis.mean() for axis in numbers], axis=1)  # (n, 2)
    steps = np.linalg.lstsq(design, places)[0]  # (inline and crossline, x and y)
    steps_m = np.hypot(*steps.T)
    bins_m = [
        step_m * np.diff(np.unique(axis)).min()
        for step_m, axis in zip(steps_m, numbers, strict=True)
        if np.ptp(axis)
    ]
    misfit_m = np.hypot(*(places - design @ steps).T).max()
    if not bins_m or misfit_m >= MAX_MISFIT * min(bins_m):
        return None
    if abs(steps[0] @ steps[1]) > MAX_MISFIT * steps_m.prod():  # not at right angles
        return None
    return float(steps_m[0]), float(steps_m[1])
