"""Tests of SEG-Y out; segyio is the referee."""

import numpy as np
import pytest
import segyio
import xarray as xr
from segy_files import REAL, overwrite, rotate, write_segy
from segyio import BinField, TraceField

from saltvolumes import DataError, open_volume, save_volume, select_lines
from saltvolumes._io.segy_layout import HEADER_BYTES
from saltvolumes.volume import build_volume


def assert_same_headers(original, written, factor=1):
    """Headers are those of the original but for the format, samples those of a factor of it."""
    first, second = original.read_bytes(), written.read_bytes()
    assert first[:3224] + b"\x00\x05" + first[3226:HEADER_BYTES] == second[:HEADER_BYTES]
    with (
        segyio.open(original, ignore_geometry=True) as old,
        segyio.open(written, ignore_geometry=True) as new,
    ):
        assert [header.buf for header in old.header] == [header.buf for header in new.header]
        assert (new.trace.raw[:] == old.trace.raw[:] / np.float32(factor)).all()


@pytest.mark.parametrize("layout", [{}, {"by_crossline": True, "missing": [(1, 1)]}])
@pytest.mark.parametrize("text", [b"C01 ASCII", "C01 Größe".encode("cp500")])
def test_original_headers_come_back_byte_for_byte(path, cube, tmp_path, text, layout):
    """Only sample format and samples change, whatever traces are missing and text headers hold."""
    fields = {TraceField.SourceGroupScalar: -10, TraceField.CDP_TRACE: 7}
    traces = {"place": rotate, "trace_fields": fields} | layout
    overwrite(write_segy(path, cube, code=3, **traces), 0, text.ljust(3200))
    volume = open_volume(path)
    volume["probability"] = volume.amplitude / 100
    written = tmp_path / "written.sgy"
    save_volume(volume, written, variable="probability", like=path)
    assert_same_headers(path, written, 100)
    again = open_volume(written)
    xr.testing.assert_equal(again.amplitude, volume.probability.rename("amplitude"))


@pytest.mark.parametrize("layout", [{}, {"by_crossline": True}])
def test_a_file_that_finds_no_room_says_so(path, cube, tmp_path, layout):
    """The system's own error comes through, and nothing is left."""
    resource = pytest.importorskip("resource")
    volume = open_volume(write_segy(path, cube, **layout))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size - 1, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_volume(volume, tmp_path / "written.sgy", like=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == [path]


def test_masks_are_written_as_zero_and_one(tmp_path, cube):
    """A mask that went through SEG-Y is the same mask."""
    original = write_segy(tmp_path / "image.sgy", cube)
    volume = open_volume(original).assign(salt=lambda volume: volume.amplitude > 50)
    save_volume(volume, tmp_path / "mask.sgy", variable="salt", like=original)
    again = open_volume(original, mask=tmp_path / "mask.sgy")
    assert again.salt.equals(volume.salt)


def test_new_headers_hold_the_geometry(path, cube, tmp_path):
    """Without an original, lines, distances, samples and missing traces are the same again."""
    fields = {TraceField.SourceGroupScalar: -10, TraceField.DelayRecordingTime: 40}
    write_segy(path, cube, missing=[(0, 3)], place=rotate, trace_fields=fields)
    volume = open_volume(path, spacing_m=(12.5, 12.5))
    save_volume(volume, tmp_path / "new.sgy")
    again = open_volume(tmp_path / "new.sgy")
    xr.testing.assert_allclose(again, volume)
    assert np.array_equal(again.amplitude, volume.amplitude, equal_nan=True)
    with segyio.open(tmp_path / "new.sgy", ignore_geometry=True) as file:
        trace_interval = file.header[0][TraceField.TRACE_SAMPLE_INTERVAL]
        assert file.bin[BinField.Interval] == trace_interval == 4000
        assert file.tracecount == 11


def test_axes_that_headers_cannot_hold_are_refused(path, cube, tmp_path):
    """Large or uneven steps, a start and fractional lines are not rounded into their fields."""
    volume = open_volume(write_segy(path, cube))
    for change, message in (
        ({"time": 10 * volume.time}, "a time from 0 in steps of 40"),
        ({"time": 20000.1 + volume.time}, "a time from 20000"),
        ({"inline": volume.inline + 0.5}, "inline number 10.5. Must be whole"),
        ({"amplitude": volume.amplitude * np.nan}, "a volume without traces"),
    ):
        with pytest.raises(DataError, match=f"SEG-Y cannot hold {message}"):
            save_volume(volume.assign(change), tmp_path / "x.sgy")
    assert list(tmp_path.iterdir()) == [path]


def test_other_lines_than_those_of_the_original_are_refused(path, cube, tmp_path):
    """A part of a volume does not fit the headers of the whole."""
    volume = open_volume(write_segy(path, cube))
    for part, message in (
        (select_lines(volume, "inline", [10, 12]), r"inline: 2 from 10 to 12"),
        (volume.isel(time=slice(1, None)), "along time: 7 from 4 to 28"),
    ):
        with pytest.raises(DataError, match=rf"{message}. Must be those of sel été.sgy"):
            save_volume(part, tmp_path / "part.sgy", like=path)


@pytest.mark.parametrize("like", [False, True])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "cannot hold NaN or infinity in amplitude at inline 12, crossline 102"),
        (np.inf, "cannot hold NaN or infinity in amplitude at inline 12, crossline 102"),
        (1e300, "cannot hold NaN or infinity in amplitude at inline 12, crossline 102"),
        (1j, "of dtype complex128"),
    ],
)
def test_samples_that_are_not_floats_are_refused(path, cube, tmp_path, like, value, message):
    """What could not be read back is not written, nor is a trace left out for one bad sample."""
    volume = open_volume(write_segy(path, cube))
    samples = volume.amplitude.values.astype(type(value))
    samples[1, 2, 3] = value
    bad = volume.assign(amplitude=volume.amplitude.copy(data=samples))
    with pytest.raises(DataError, match=message):
        save_volume(bad, tmp_path / "x.sgy", like=path if like else None)
    assert list(tmp_path.iterdir()) == [path]


def test_an_original_is_read_as_it_was_opened(path, cube, tmp_path):
    """A format that replaces that of the header, or a 2-D line whose CDPs fall, serves again."""
    overwrite(write_segy(path, cube, code=3), 3224, bytes(2))
    volume = open_volume(path, sample_format=3)
    save_volume(volume, tmp_path / "x.sgy", like=path, sample_format=3)
    assert open_volume(tmp_path / "x.sgy").amplitude.equals(volume.amplitude)
    write_segy(path, cube[:1], inlines=(0,), crosslines=(9, 7, 4, 1), line_bytes=(189, 21))
    volume = open_volume(path, single_line=True)
    save_volume(volume, tmp_path / "x.sgy", like=path, single_line=True)
    assert (tmp_path / "x.sgy").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("code", [1, 3])
@pytest.mark.parametrize("endian", ["big", "little"])
def test_every_value_of_other_formats_is_written_exactly(tmp_path, code, endian):
    """All 65,536 values of int16 come back from IEEE floats, in the byte order of the original."""
    cube = np.arange(-(2**15), 2**15, dtype=np.float32).reshape(4, 4, -1)
    lines = {"inlines": range(4), "crosslines": range(4)}
    original = write_segy(tmp_path / "original.sgy", cube, code=code, endian=endian, **lines)
    save_volume(open_volume(original), tmp_path / "written.sgy", like=original)
    with segyio.open(tmp_path / "written.sgy", endian=endian) as file:
        assert file.bin[BinField.Format] == 5
        assert (segyio.tools.cube(file) == cube).all()


def test_numbers_that_do_not_fit_their_field_are_refused(path, cube, tmp_path):
    """A number is never wrapped into its field; coordinates in cm reach as far as 21,474 km."""
    volume, new = open_volume(write_segy(path, cube)), tmp_path / "x.sgy"
    for number, byte, bounds in (
        (32768, 113, "2 bytes from 113. Must lie from -32768 to 32767"),
        (2**31, 189, "4 bytes from 189"),
    ):
        high = volume.assign_coords(inline=[0, 1, number])
        with pytest.raises(DataError, match=f"cannot hold inline number {number} in the {bounds}"):
            save_volume(high, new, iline_byte=byte)
    far = open_volume(path, spacing_m=(2e7, 1.0))
    with pytest.raises(DataError, match=r"hold inline_m in cm 4\d*.0 in the 4 bytes from 185"):
        save_volume(far, new)
    save_volume(volume.assign_coords(inline=[0, 1, -32768]), new, iline_byte=113)
    assert open_volume(new, iline_byte=113).inline.values[0] == -32768


def test_line_numbers_do_not_go_where_other_headers_go(path, cube, tmp_path):
    """Two fields hold line numbers, NumPy's numbers too, and nothing else."""
    volume, new = open_volume(write_segy(path, cube)), tmp_path / "x.sgy"
    for inline, crossline in ((189, 189), (115, 193), (189, 181)):
        with pytest.raises(ValueError, match="Must be two fields that hold nothing else"):
            save_volume(volume, new, iline_byte=inline, xline_byte=crossline)
    with pytest.raises(ValueError, match=r"Invalid xline_byte 190. Must be the first byte"):
        save_volume(volume, new, xline_byte=190)
    inline, crossline = np.array([9, 21])
    save_volume(volume, new, iline_byte=inline, xline_byte=crossline)
    again = open_volume(new, iline_byte=9, xline_byte=21)
    assert again.attrs["content_hash"] == volume.attrs["content_hash"]


@pytest.mark.parametrize("n_samples", [40_000, 65_535, 65_536, 70_000])
def test_long_traces_are_written_and_read(tmp_path, n_samples):
    """Up to 65,535 samples fit the old field; more go into that of revision 2."""
    cube, time = np.arange(2.0 * n_samples).reshape(1, 2, -1), 0.5 * np.arange(n_samples)
    lines = {"inline": [1], "crossline": [1, 2]}
    volume = build_volume(cube, **lines, vertical=time, vertical_dim="time")
    save_volume(volume, tmp_path / "long.sgy")
    xr.testing.assert_equal(open_volume(tmp_path / "long.sgy"), volume)


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_files_go_through_with_their_headers(real_data, tmp_path, name):
    """Written like a real file and read again, samples, geometry and all headers are the same."""
    path = real_data / "segy" / name
    volume = open_volume(path)
    save_volume(volume, tmp_path / name, like=path)
    again = open_volume(tmp_path / name)
    assert again.attrs == {**volume.attrs, "sample_format": 5}
    xr.testing.assert_identical(again.drop_attrs(), volume.drop_attrs())
    assert_same_headers(path, tmp_path / name)
