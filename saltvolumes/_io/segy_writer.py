"""SEG-Y out: with the headers of an original, or with new ones."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import segyio
import xarray as xr
from numpy.typing import NDArray
from segyio import BinField, TraceField

from saltvolumes._io.segy import Geometry
from saltvolumes._io.segy_layout import FIELD_BYTES, IEEE, Layout, check_line_bytes
from saltvolumes._io.segy_positions import find_unit_m
from saltvolumes.errors import DataError
from saltvolumes.masks import check_alike, find_gaps
from saltvolumes.volume import read_runs, vertical_dim

FORMAT_BYTES = slice(3224, 3226)
MAX_FIELD = 2**15 - 1  # of two signed bytes
COORDINATES_PER_M = 100
COORDINATES = {"inline": TraceField.CDP_Y, "crossline": TraceField.CDP_X}


def write_like(cube: xr.DataArray, path: Path, original: Geometry) -> None:
    """
    Write samples with every header of an original, byte for byte but for the sample format.

    Parameters
    ----------
    cube : DataArray of dims (inline, crossline, depth or time)
        On the lines and samples of the original. Written as IEEE floats, a mask as 0 and 1, a
        velocity in the unit of the original. Samples that were not read are zero: of dead traces,
        of those without line numbers, and beyond the samples that all traces have.
    path : Path
    original : Geometry
        Its traces, missing ones left out, and their order are kept, as is a trailer.

    Raises
    ------
    DataError
        If line numbers or samples differ.
    """
    source, traces, samples = original
    axis = {vertical_dim(cube): source.n_read if samples is None else samples}
    check_alike("volume", cube, traces.expand_dims(axis), kinds="biuf", of=source.path.name)
    if cube.attrs.get("units") == "m/s":
        cube = cube / np.float32(find_unit_m(source))
    with source.path.open("rb") as file:
        head = bytearray(file.read(source.first_byte))
        file.seek(source.n_traces * source.record.itemsize, os.SEEK_CUR)
        trailer = file.read()
    head[FORMAT_BYTES] = IEEE.to_bytes(2, source.order)
    target = replace(source, path=path, code=IEEE)
    in_order = np.array_equal(traces.values.ravel(), np.arange(source.n_traces))
    write = _write_in_order if in_order and source.skipped is None else _write_scattered
    with path.open("wb") as file:
        file.write(head)
        write(file, cube, target, original)
        file.write(trailer)


def _write_in_order(file: BinaryIO, cube: xr.DataArray, target: Layout, original: Geometry) -> None:
    """Write inline by inline, where the file has all traces in the order of the volume."""
    source, traces, _ = original
    for line, (section, _) in zip(traces.values, _read_sections(cube), strict=True):
        mapped = source.map_traces()["header"]  # anew: mapped pages count as memory
        _write_traces(file, target, mapped[line[0] : line[-1] + 1], section)


def _write_scattered(
    file: BinaryIO, cube: xr.DataArray, target: Layout, original: Geometry
) -> None:
    """Write all headers, and samples in any order; zeros where the volume has no trace."""
    source, traces, _ = original
    for block in source.list_blocks():
        mapped = source.map_traces()["header"]  # anew: mapped pages count as memory
        _write_traces(file, target, mapped[block], 0)
    file.flush()
    for line, (section, _) in zip(traces.values, _read_sections(cube), strict=True):
        target.write_samples(line[line >= 0], section[line >= 0])


def _write_traces(
    file: BinaryIO, target: Layout, headers: NDArray[np.void], samples: NDArray[np.float32] | int
) -> None:
    """Write traces that follow each other; a full disk raises, where a mapped file would crash."""
    records = np.empty(headers.size, target.record)
    records["header"] = headers
    records["samples"] = samples
    file.write(records.data)


def write_new(cube: xr.DataArray, path: Path, *, iline_byte: int, xline_byte: int) -> None:
    """
    Write samples as IEEE floats with new headers, sorted by inline; traces of NaN are left out.

    The interval field holds microseconds, or millimetres for a depth volume. Distances along
    crosslines and inlines become the coordinates CDP_X and CDP_Y, in cm. More samples per trace
    than 65535 go into the field that revision 2 has for them.

    Parameters
    ----------
    cube : DataArray of dims (inline, crossline, depth or time)
    path : Path
    iline_byte, xline_byte : int
        First bytes of the line numbers in the trace headers.

    Raises
    ------
    DataError
        If the samples are not evenly spaced, a header field cannot hold what it should, a line
        number is not whole, or every trace is missing.
    ValueError
        If a line number would go where no field starts, or into the field of another header.
    """
    check_line_bytes(iline_byte, xline_byte)
    fixed = _describe_samples(cube)
    taken = {iline_byte, xline_byte} & {*fixed, *COORDINATES.values()}
    if taken or iline_byte == xline_byte:
        raise ValueError(
            f"Invalid iline_byte {iline_byte} and xline_byte {xline_byte}. Must be two fields that "
            "hold nothing else."
        )
    inlines = _describe_lines(cube, "inline", iline_byte)
    crosslines = _describe_lines(cube, "crossline", xline_byte)
    n_traces = sum(np.count_nonzero(live) for _, live in _read_sections(cube))
    if not n_traces:
        raise DataError("SEG-Y cannot hold a volume without traces: all are NaN.")
    spec = segyio.spec()
    spec.format, spec.tracecount = IEEE, n_traces
    spec.samples = np.arange(cube.shape[2])
    with segyio.create(path, spec) as file:
        file.text[0] = segyio.tools.create_text_header({1: f"{cube.name}, {vertical_dim(cube)}"})
        interval = fixed[TraceField.TRACE_SAMPLE_INTERVAL]
        file.bin.update({BinField.Interval: interval, BinField.MeasurementSystem: 1})
        trace = 0
        for inline, (samples, live) in zip(inlines, _read_sections(cube), strict=True):
            for crossline in np.flatnonzero(live):
                file.header[trace] = {**fixed, **inline, **crosslines[crossline]}
                file.trace[trace] = samples[crossline]
                trace += 1


def _read_sections(
    cube: xr.DataArray,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Samples of each inline as float32, and which of its traces are not missing."""
    if cube.dtype.kind not in "biuf":
        raise DataError(f"SEG-Y cannot hold {cube.name} of dtype {cube.dtype}.")
    for run in read_runs(cube):
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            run = run.astype(np.float32)
        missing = find_gaps(run, f"SEG-Y cannot hold NaN or infinity in {cube.name}")
        yield from zip(run.values, ~missing, strict=True)


def _describe_samples(cube: xr.DataArray) -> dict[int, int]:
    """Header fields that are the same for all traces."""
    name = vertical_dim(cube)
    samples = cube[name].values
    step = (samples[-1] - samples[0]) / max(samples.size - 1, 1)
    interval, start = round(1000 * step), round(samples[0])
    written = start + interval / 1000 * np.arange(samples.size)
    even = np.allclose(samples, written, rtol=0, atol=1e-3)
    if not 0 < interval <= MAX_FIELD or abs(start) > MAX_FIELD or not even:
        raise DataError(
            f"SEG-Y cannot hold a {name} from {samples[0]:g} in steps of {step:g}. Must start at a "
            f"whole number, in even steps of whole thousandths up to {MAX_FIELD / 1000}."
        )
    return {
        TraceField.TraceIdentificationCode: 1,
        TraceField.TRACE_SAMPLE_COUNT: samples.size if samples.size < 2**16 else 0,
        TraceField.TRACE_SAMPLE_INTERVAL: interval,
        TraceField.DelayRecordingTime: start,
        TraceField.SourceGroupScalar: -COORDINATES_PER_M,
    }


def _describe_lines(cube: xr.DataArray, line: str, byte: int) -> list[dict[int, int]]:
    """Header fields of the traces of each line."""
    numbers = cube[line].values
    fractional = numbers[numbers != np.rint(numbers)]
    if fractional.size:
        raise DataError(f"SEG-Y cannot hold {line} number {fractional[0]}. Must be whole.")
    columns = {byte: _fit_field(f"{line} number", numbers, byte)}
    if f"{line}_m" in cube.coords:
        units = np.rint(COORDINATES_PER_M * cube[f"{line}_m"].values)
        columns[COORDINATES[line]] = _fit_field(f"{line}_m in cm", units, COORDINATES[line])
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _fit_field(name: str, values: NDArray[Any], byte: int) -> list[int]:
    """Whole numbers that the field of a trace header holds without loss."""
    limit = 2 ** (8 * FIELD_BYTES[byte] - 1)
    outside = values[~((values >= -limit) & (values < limit))]
    if outside.size:
        raise DataError(
            f"SEG-Y cannot hold {name} {outside[0]} in the {FIELD_BYTES[byte]} bytes from {byte}. "
            f"Must lie from {-limit} to {limit - 1}."
        )
    return [int(value) for value in values]
