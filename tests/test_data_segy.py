"""Tests of SEG-Y in and out; segyio is the referee."""

import logging
import tracemalloc

import numpy as np
import pytest
import segyio
import xarray as xr
from segyio import BinField, TraceField

from thesis_lib._volume import spacing_m
from thesis_lib.data import (
    DataError,
    PatchBatches,
    find_missing,
    open_volume,
    patches,
    save_volume,
    select_lines,
)
from thesis_lib.data.segy_layout import HEADER_BYTES

N_SAMPLES = 8
DTYPES = {
    2: np.int32,
    3: np.int16,
    6: np.float64,
    8: np.int8,
    10: np.uint32,
    11: np.uint16,
    16: np.uint8,
}


def make_cube(n_inlines=3, n_crosslines=4, n_samples=N_SAMPLES) -> np.ndarray:
    """Whole numbers, which every sample format can hold."""
    shape = (n_inlines, n_crosslines, n_samples)
    return np.random.default_rng(0).integers(0, 100, shape).astype(np.float32)


def write_segy(
    path,
    cube,
    *,
    inlines=(10, 12, 14),
    crosslines=(100, 101, 102, 103),
    code=5,
    missing=(),
    by_crossline=False,
    place=None,
    trace_fields=(),
    bin_fields=(),
    line_bytes=(189, 193),
):
    """Write a small file by segyio; ``place`` gives the coordinates of an (inline, crossline)."""
    pairs = [(i, j) for i in range(len(inlines)) for j in range(len(crosslines))]
    pairs = [pair for pair in pairs if pair not in missing]
    if by_crossline:
        pairs.sort(key=lambda pair: pair[::-1])
    spec = segyio.spec()
    spec.format, spec.tracecount = code, len(pairs)
    spec.samples = np.arange(cube.shape[2])
    with segyio.create(path, spec) as file:
        file.bin.update({BinField.Interval: 4000, **dict(bin_fields)})
        for trace, (i, j) in enumerate(pairs):
            x, y = place(inlines[i], crosslines[j]) if place else (0, 0)
            file.header[trace] = {
                line_bytes[0]: inlines[i],
                line_bytes[1]: crosslines[j],
                TraceField.CDP_X: x,
                TraceField.CDP_Y: y,
                TraceField.TRACE_SAMPLE_INTERVAL: dict(bin_fields).get(BinField.Interval, 4000),
                **dict(trace_fields),
            }
            file.trace[trace] = cube[i, j].astype(DTYPES.get(code, np.float32))
    return path


def rotate(inline: int, crossline: int) -> tuple[int, int]:
    """Coordinates in dm of bins of 25 x 12.5 m, turned by 30 degrees."""
    along, across = 12.5 * inline, 12.5 * crossline  # inline numbers come in steps of 2
    angle = np.deg2rad(30)
    x = 5e5 + np.cos(angle) * across - np.sin(angle) * along
    y = 6e6 + np.sin(angle) * across + np.cos(angle) * along
    return round(10 * x), round(10 * y)


@pytest.fixture
def cube() -> np.ndarray:
    """Samples of a small file."""
    return make_cube()


@pytest.fixture
def path(tmp_path):
    """Where a small file goes: a name with a space and an accent."""
    return tmp_path / "sel été.sgy"


@pytest.mark.parametrize("code", [1, 2, 3, 5, 6, 8, 10, 11, 16])
@pytest.mark.parametrize("by_crossline", [False, True])
def test_every_sample_format_reads_exactly(path, cube, code, by_crossline):
    """Whole numbers come back as they were written, in either order of traces."""
    volume = open_volume(write_segy(path, cube, code=code, by_crossline=by_crossline))
    assert volume.amplitude.dims == ("inline", "crossline", "time")
    assert volume.amplitude.dtype == np.float32
    assert (volume.amplitude.values == cube).all()
    assert volume.inline.values.tolist() == [10, 12, 14]
    assert volume.crossline.values.tolist() == [100, 101, 102, 103]


def test_opening_reads_nothing_into_memory(path, cube):
    """The volume stays lazy, and so do its parts, transposed or not."""
    volume = open_volume(write_segy(path, cube))
    part = volume.isel(inline=slice(0, 2)).transpose("time", "crossline", "inline")
    assert not part.amplitude.variable._in_memory
    assert (part.amplitude.values == cube[:2].T).all()


@pytest.mark.parametrize(
    "key",
    [
        (1, 2, 3),
        (1, slice(None), slice(2, 7, 2)),
        (slice(None), 3, -1),
        (slice(None, None, -1), slice(1, 3), slice(None)),
        ([2, 0], [3, 1], [0, 5, 6]),
        (0, [1, 1], slice(6, 1, -3)),
    ],
)
def test_lazy_reading_indexes_as_in_memory(path, cube, key):
    """Numbers, slices and lists of either direction select what they select of an array."""
    amplitude = open_volume(write_segy(path, cube, missing=[(2, 3)])).amplitude
    assert np.array_equal(amplitude[key], amplitude.load()[key], equal_nan=True)


def test_vertical_axis_is_time_unless_depth_is_said(path, cube, caplog):
    """An interval field of 20000 is 20 ms or 20 m, and what was assumed is logged."""
    write_segy(path, cube, bin_fields={BinField.Interval: 20000})
    with caplog.at_level(logging.INFO):
        volume = open_volume(path)
    assert "taken as time" in caplog.text
    assert volume.time.values.tolist() == [0, 20, 40, 60, 80, 100, 120, 140]
    assert volume.time.attrs["units"] == "ms"
    depth = open_volume(path, vertical="depth").depth
    assert depth.values.tolist() == volume.time.values.tolist()
    assert depth.attrs["units"] == "m"
    assert "depth" in open_volume(path, dims=("inline", "crossline", "depth")).dims
    with pytest.raises(
        ValueError, match=r"Invalid vertical 'dept'. Must be one of: 'depth', 'time'"
    ):
        open_volume(path, vertical="dept")


def test_dims_and_vertical_that_contradict_are_refused(path, cube):
    """A file is in depth or in time, not in both."""
    write_segy(path, cube)
    with pytest.raises(ValueError, match="Invalid vertical or dims 'depth' for a file in time"):
        open_volume(path, vertical="time", dims=("inline", "crossline", "depth"))


def test_delay_is_the_first_sample(path, cube):
    """A recording delay of 400 ms shifts the time axis."""
    write_segy(path, cube, trace_fields={TraceField.DelayRecordingTime: 400})
    assert open_volume(path).time.values[:2].tolist() == [400, 404]


def test_sample_interval_overrides_headers(path, cube):
    """An interval that is given counts from the first sample of the headers."""
    write_segy(path, cube, trace_fields={TraceField.DelayRecordingTime: 400})
    assert open_volume(path, sample_interval=2.5).time.values[:3].tolist() == [400, 402.5, 405]


def test_sample_interval_is_asked_for_where_headers_hold_none(path, cube):
    """No interval is invented."""
    fields = {TraceField.TRACE_SAMPLE_INTERVAL: 0}
    write_segy(path, cube, bin_fields={BinField.Interval: 0}, trace_fields=fields)
    with pytest.raises(ValueError, match=r"Say by sample_interval .* in time, in ms"):
        open_volume(path)
    assert open_volume(path, sample_interval=2.0).time.values[1] == 2.0


def test_distances_follow_the_lines_of_a_rotated_survey(path, cube):
    """Coordinates of bins of 25 x 12.5 m, turned by 30 degrees, give distances along lines."""
    write_segy(path, cube, place=rotate, trace_fields={TraceField.SourceGroupScalar: -10})
    volume = open_volume(path)
    assert np.allclose(volume.inline_m, [0, 25, 50], atol=0.1)
    assert np.allclose(volume.crossline_m, [0, 12.5, 25, 37.5], atol=0.1)
    assert np.allclose(spacing_m(volume, velocity_m_s=2000), (25, 12.5, 4), atol=0.1)


def test_distances_of_a_survey_in_feet_are_metres(path, cube):
    """Measurement system 2 means feet, for coordinates and depths."""
    fields = {BinField.MeasurementSystem: 2, BinField.Interval: 10000}
    write_segy(path, cube, place=lambda i, j: (100 * j, 50 * i), bin_fields=fields)
    volume = open_volume(path, vertical="depth")
    assert np.allclose(spacing_m(volume), (30.48, 30.48, 3.048))


@pytest.mark.parametrize(
    ("place", "fields"),
    [
        pytest.param(None, {}, id="none"),
        pytest.param(
            lambda *lines: (100 * lines[1], 100 * lines[1]), {}, id="all inlines in one place"
        ),
        pytest.param(lambda i, j: (100 * j + 50 * i, 50 * i), {}, id="a skew grid"),
        pytest.param(lambda i, j: (j * j % 97, 100 * i), {}, id="scattered"),
        pytest.param(rotate, {TraceField.CoordinateUnits: 3}, id="degrees"),
    ],
)
def test_coordinates_without_a_rectangular_grid_give_no_distances(path, cube, place, fields):
    """Where coordinates do not make sense, the volume has no distances."""
    volume = open_volume(write_segy(path, cube, place=place, trace_fields=fields))
    assert "inline_m" not in volume.coords
    assert spacing_m(volume, velocity_m_s=2000) is None


def test_spacing_that_is_given_goes_by_line_number(path, cube):
    """Inline numbers in steps of 2, 12.5 m for a step of one, lie 25 m apart."""
    volume = open_volume(write_segy(path, cube, place=rotate), spacing_m=(12.5, 20.0))
    assert volume.inline_m.values.tolist() == [0, 25, 50]
    assert volume.crossline_m.values.tolist() == [0, 20, 40, 60]


def test_missing_traces_are_nan_and_reported(path, cube, caplog):
    """A missing trace is NaN as a whole, is counted, and a line of the log says so."""
    volume = open_volume(write_segy(path, cube, missing=[(0, 1), (2, 2)]))
    missing = np.isnan(volume.amplitude.values)
    assert np.argwhere(missing.all(axis=2)).tolist() == [[0, 1], [2, 2]]
    assert missing.sum() == 2 * N_SAMPLES
    assert volume.attrs["n_missing_traces"] == 2
    assert "2 of 12 traces are missing" in caplog.text


def test_lines_missing_as_a_whole_are_missing_traces(path):
    """In a regular survey a gap between lines is a line of NaN, so that no patch spans it."""
    cube = make_cube(3, 5)
    write_segy(path, cube, crosslines=(1, 2, 4, 5, 6))
    volume = open_volume(path)
    assert volume.crossline.values.tolist() == [1, 2, 3, 4, 5, 6]
    assert np.isnan(volume.amplitude.sel(crossline=3)).all()


def test_a_few_lines_far_apart_stay_as_they_are(path, cube):
    """Four chosen crosslines are no survey with most of its lines missing."""
    volume = open_volume(write_segy(path, cube, crosslines=(61, 211, 231, 281)))
    assert volume.crossline.values.tolist() == [61, 211, 231, 281]
    assert volume.attrs["n_missing_traces"] == 0


def test_line_numbers_are_read_where_they_are_said_to_be(path, cube):
    """Other header bytes hold the line numbers of other files."""
    write_segy(path, cube, line_bytes=(9, 21))
    volume = open_volume(path, iline_byte=9, xline_byte=21)
    assert volume.inline.values.tolist() == [10, 12, 14]
    with pytest.raises(DataError, match="no 3-D geometry: 12 traces at 1 of 1 x 1 places"):
        open_volume(path)


@pytest.mark.parametrize("name", ["iline_byte", "xline_byte"])
def test_bytes_inside_a_field_are_refused(path, cube, name):
    """Line numbers start where a field of the header does."""
    write_segy(path, cube)
    with pytest.raises(ValueError, match=f"Invalid {name} 190. Must be the first byte"):
        open_volume(path, **{name: 190})


def test_a_line_whose_numbers_run_diagonally_is_refused(path):
    """A 2-D line with both numbers running has no grid of lines."""
    n = 30
    cube = make_cube(n, n)
    off = [(i, j) for i in range(n) for j in range(n) if i != j]
    write_segy(path, cube, inlines=range(n), crosslines=range(n), missing=off)
    with pytest.raises(
        DataError,
        match=r"30 traces at 30 of 30 x 30 places .* which single_line",
    ):
        open_volume(path)


def test_other_content_and_damage_are_told(path, cube):
    """What is not SEG-Y, or only the start of it, gives one line that says so."""
    good = write_segy(path, cube).read_bytes()
    wrong = {
        b"": "is empty",
        b"no seismic here": r"is not SEG-Y: 15 bytes",
        b"no seismic here " * 300: "is not SEG-Y: sample format",
        good[:HEADER_BYTES]: "is not SEG-Y, or truncated",
        good[:-10]: "is not SEG-Y, or truncated",
        good[:3220] + b"\xff\xf0" + good[3222:]: "is not SEG-Y, or truncated",
        good[:3224] + b"\x00\x09" + good[3226:]: "format 9. Must be one of: 1, 2, .* or said",
        good[:3224] + b"\x05\x00" + good[3226:]: "2048 samples each of format 5",  # little-endian
        good[:3504] + b"\x7f\xff" + good[3506:]: "is not SEG-Y, or truncated",
    }
    for content, message in wrong.items():
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            open_volume(path)
        assert "\n" not in str(caught.value)


def test_extended_text_headers_are_skipped(path, cube):
    """Traces start after the text headers that the binary header announces."""
    content = write_segy(path, cube).read_bytes()
    path.write_bytes(
        content[:3504] + b"\x00\x01" + content[3506:3600] + b" " * 3200 + content[3600:]
    )
    assert (open_volume(path).amplitude.values == cube).all()


def test_an_unknown_number_of_text_headers_is_refused(path):
    """Minus one text header would shift traces of 400 bytes by eight."""
    content = write_segy(path, make_cube(n_samples=40)).read_bytes()
    path.write_bytes(content[:3504] + b"\xff\xff" + content[3506:])
    with pytest.raises(DataError, match="announces -1 extended text headers"):
        open_volume(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_samples_are_refused_with_their_place(path, cube, bad):
    """One bad sample in a trace that is there is an error that names the trace."""
    cube[1, 2, 3] = bad
    write_segy(path, cube)
    with pytest.raises(DataError, match="NaN or infinite amplitude at inline 12, crossline 102"):
        open_volume(path)


def test_traces_of_infinity_are_not_missing(path, cube):
    """Only NaN stands for a missing trace."""
    cube[1, 2] = np.inf
    with pytest.raises(DataError, match="NaN or infinite amplitude"):
        open_volume(write_segy(path, cube))


def test_a_volume_without_any_trace_is_refused(path, cube):
    """NaN everywhere is no volume."""
    with pytest.raises(DataError, match="every trace is missing"):
        open_volume(write_segy(path, np.full_like(cube, np.nan)))


def test_a_second_file_is_the_mask(tmp_path, cube):
    """The label is compared sample by sample; traces missing in the mask are missing in all."""
    amplitude = write_segy(tmp_path / "image.sgy", cube)
    mask = write_segy(tmp_path / "mask.segy", np.round(cube / 50), code=1, missing=[(0, 0)])
    volume = open_volume(amplitude, mask=mask, salt_label=2)
    expected = np.round(cube / 50) == 2
    expected[0, 0] = False
    assert not volume.salt.variable._in_memory
    assert not volume.amplitude.variable._in_memory
    assert (volume.salt.values == expected).all()
    assert np.argwhere(find_missing(volume)).tolist() == [[0, 0]]
    assert volume.attrs["n_missing_traces"] == 1
    cube[0, 0] = np.nan
    assert np.array_equal(volume.amplitude, cube, equal_nan=True)


def test_a_mask_on_other_lines_is_refused(tmp_path, cube):
    """Same shape is not enough: line numbers must agree."""
    amplitude = write_segy(tmp_path / "image.sgy", cube)
    mask = write_segy(tmp_path / "mask.sgy", cube % 2, inlines=(20, 22, 24))
    with pytest.raises(DataError, match="inline: 3 from 20 to 24. Must be .* 3 from 10 to 14"):
        open_volume(amplitude, mask=mask)


def test_patches_of_a_lazy_file_leave_missing_traces_out(path):
    """Batches come out of a file with missing traces without NaN."""
    cube = make_cube(9, 9, 16)
    lines = {"inlines": range(9), "crosslines": range(9)}
    write_segy(path, cube, missing=[(4, 4)], **lines)
    mask = write_segy(path.with_name("mask.sgy"), (cube > 50).astype(np.float32), **lines)
    batches = PatchBatches(open_volume(path, mask=mask), patch=4, stride=2, batch_size=8, seed=0)
    assert all(images.isfinite().all() for images, _ in batches.epoch(0))


def test_a_large_file_is_never_held_whole(path, monkeypatch):
    """Opening a file of 30 MiB with its mask and cutting patches takes under a fifth of that."""
    monkeypatch.setattr(patches, "IN_MEMORY_BYTES", 0)
    cube = np.broadcast_to((np.arange(1000) % 2).astype(np.float32), (80, 100, 1000))
    write_segy(path, cube, inlines=range(80), crosslines=range(100))
    tracemalloc.start()
    volume = open_volume(path, mask=path)
    batches = PatchBatches(volume, patch=64, stride=64, batch_size=8, seed=0)
    next(batches.epoch(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 5


def test_original_headers_come_back_byte_for_byte(tmp_path, cube):
    """Written like an original, only sample format and samples change, missing traces or not."""
    original = write_segy(
        tmp_path / "original.sgy",
        cube,
        code=3,
        by_crossline=True,
        missing=[(1, 1)],
        place=rotate,
        trace_fields={TraceField.SourceGroupScalar: -10, TraceField.CDP_TRACE: 7},
    )
    volume = open_volume(original)
    volume["probability"] = volume.amplitude / 100
    written = tmp_path / "written.sgy"
    save_volume(volume, written, variable="probability", like=original)
    first, second = original.read_bytes(), written.read_bytes()
    assert first[:3224] + b"\x00\x05" + first[3226:HEADER_BYTES] == second[:HEADER_BYTES]
    with (
        segyio.open(original, ignore_geometry=True) as old,
        segyio.open(written, ignore_geometry=True) as new,
    ):
        assert [header.buf for header in old.header] == [header.buf for header in new.header]
        assert (new.trace.raw[:] == (old.trace.raw[:] / np.float32(100))).all()
    again = open_volume(written)
    xr.testing.assert_equal(again.amplitude, volume.probability.rename("amplitude"))


def test_masks_are_written_as_zero_and_one(tmp_path, cube):
    """A mask that went through SEG-Y is the same mask."""
    original = write_segy(tmp_path / "image.sgy", cube)
    volume = open_volume(original).assign(salt=lambda volume: volume.amplitude > 50)
    save_volume(volume, tmp_path / "mask.sgy", variable="salt", like=original)
    again = open_volume(original, mask=tmp_path / "mask.sgy")
    assert again.salt.equals(volume.salt)


def test_new_headers_hold_the_geometry(tmp_path, cube):
    """Without an original, lines, distances, samples and missing traces are the same again."""
    path = write_segy(
        tmp_path / "image.sgy",
        cube,
        missing=[(0, 3)],
        place=rotate,
        trace_fields={TraceField.SourceGroupScalar: -10, TraceField.DelayRecordingTime: 40},
    )
    volume = open_volume(path, spacing_m=(12.5, 12.5))
    save_volume(volume, tmp_path / "new.sgy")
    again = open_volume(tmp_path / "new.sgy")
    xr.testing.assert_allclose(again, volume)
    assert np.array_equal(again.amplitude, volume.amplitude, equal_nan=True)
    with segyio.open(tmp_path / "new.sgy", ignore_geometry=True) as file:
        assert (
            file.bin[BinField.Interval] == file.header[0][TraceField.TRACE_SAMPLE_INTERVAL] == 4000
        )
        assert file.tracecount == 11


def test_vertical_axes_that_headers_cannot_hold_are_refused(path, cube, tmp_path):
    """An interval of 40 m does not fit its field, and is not rounded into it."""
    volume = open_volume(write_segy(path, cube), vertical="depth", sample_interval=40.0)
    with pytest.raises(DataError, match="SEG-Y cannot hold a depth from 0 in steps of 40"):
        save_volume(volume, tmp_path / "new.sgy")


def test_samples_are_compared_in_thousandths(path, cube, tmp_path):
    """A start that headers would round away is refused, however late the samples are."""
    volume = open_volume(write_segy(path, cube))
    late = volume.assign_coords(time=20000.1 + volume.time)
    with pytest.raises(DataError, match="SEG-Y cannot hold a time from 20000"):
        save_volume(late, tmp_path / "x.sgy")


def test_fractional_line_numbers_are_refused(path, cube, tmp_path):
    """Headers hold whole line numbers, so others are not cut off."""
    volume = open_volume(write_segy(path, cube))
    halves = volume.assign_coords(inline=volume.inline + 0.5)
    with pytest.raises(DataError, match=r"cannot hold inline number 10.5. Must be whole"):
        save_volume(halves, tmp_path / "x.sgy")
    assert list(tmp_path.iterdir()) == [path]


def test_a_volume_of_missing_traces_is_not_written(path, cube, tmp_path):
    """SEG-Y holds at least one trace."""
    volume = open_volume(write_segy(path, cube))
    with pytest.raises(DataError, match="cannot hold a volume without traces"):
        save_volume(volume * np.nan, tmp_path / "x.sgy")


def test_other_lines_than_those_of_the_original_are_refused(path, cube, tmp_path):
    """A part of a volume has no place in the headers of the whole."""
    volume = open_volume(write_segy(path, cube))
    part = select_lines(volume, "inline", [10, 12])
    with pytest.raises(
        DataError, match=r"2 inlines from 10 to 12. Must be those of sel été.sgy, 3"
    ):
        save_volume(part, tmp_path / "part.sgy", like=path)
    with pytest.raises(DataError, match=r"7 samples a trace. Must be those of sel été.sgy, 8"):
        save_volume(volume.isel(time=slice(1, None)), tmp_path / "part.sgy", like=path)


REAL = {
    "segyio_f3.sgy": ((23, 18, 75), 0),
    "f3-withdead.sgy": ((23, 18, 75), 175),
    "volve10-migvel-depth-sub3d.sgy": ((18, 52, 226), 0),
    "segyio_small.sgy": ((5, 5, 50), 0),
    "penobscot_xl1155.sgy": ((601, 1, 1501), 0),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_files_hold_what_segyio_reads(real_data, name):
    """Each trace of a real file stands at its line numbers."""
    path = real_data / "segy" / name
    volume = open_volume(path, vertical="depth" if "depth" in name else "time")
    shape, n_missing = REAL[name]
    assert volume.amplitude.shape == shape
    assert volume.attrs["n_missing_traces"] == n_missing
    amplitude = volume.amplitude.load()
    with segyio.open(path, ignore_geometry=True) as file:
        for trace in range(0, file.tracecount, 7):
            header = file.header[trace]
            stored = amplitude.sel(inline=header[189], crossline=header[193])
            assert (stored.values == file.trace[trace]).all()


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
    first, second = path.read_bytes(), (tmp_path / name).read_bytes()
    assert first[:3224] + b"\x00\x05" + first[3226:HEADER_BYTES] == second[:HEADER_BYTES]
    with (
        segyio.open(path, ignore_geometry=True) as old,
        segyio.open(tmp_path / name, ignore_geometry=True) as new,
    ):
        assert [header.buf for header in old.header] == [header.buf for header in new.header]
        assert (old.trace.raw[:] == new.trace.raw[:]).all()


@pytest.mark.real_data
def test_real_surveys_have_their_bins(real_data):
    """F3 has bins of 25 m, this cut-out of Volve lines 50 m apart and 20 m of depth a sample."""
    f3 = open_volume(real_data / "segy" / "segyio_f3.sgy")
    assert np.allclose(spacing_m(f3, velocity_m_s=2000), (25, 25, 4), atol=0.01)
    volve = open_volume(real_data / "segy" / "volve10-migvel-depth-sub3d.sgy", vertical="depth")
    assert np.allclose(spacing_m(volve), (50, 50, 20), atol=0.01)


@pytest.mark.real_data
def test_a_real_line_without_geometry_is_refused(real_data):
    """The Viking Graben line has no inline and crossline numbers."""
    with pytest.raises(DataError, match=r"viking_small.segy has no 3-D geometry: 480 traces at 1"):
        open_volume(real_data / "segy" / "viking_small.segy")
