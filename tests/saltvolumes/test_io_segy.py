"""Tests of volumes from SEG-Y; segyio is the referee."""

import logging

import numpy as np
import pytest
import segyio
import xarray as xr
from segy_files import LINES, N_SAMPLES, REAL, make_cube, rotate, write_segy
from segyio import BinField, TraceField

from saltvolumes import DataError, find_missing, open_volume
from saltvolumes.volume import spacing_m

X, Y, SCALAR = TraceField.CDP_X, TraceField.CDP_Y, TraceField.SourceGroupScalar
SOURCE_X, SOURCE_Y, UNIT = TraceField.SourceX, TraceField.SourceY, TraceField.CoordinateUnits


def test_lazy_reading_indexes_as_in_memory(path, cube):
    """Nothing is read on opening; numbers, slices and lists select what they do of an array."""
    amplitude = open_volume(write_segy(path, cube, missing=[(2, 3)])).amplitude
    assert amplitude.chunks
    back, every = slice(None, None, -1), slice(None)
    keys = [(1, 2, 3), (1, every, slice(2, 7, 2)), (every, 3, -1), (back, slice(1, 3), every)]
    for key in [*keys, ([2, 0], [3, 1], [0, 5, 6]), (0, [1, 1], slice(6, 1, -3))]:
        assert np.array_equal(amplitude[key], amplitude.compute()[key], equal_nan=True)


def test_vertical_axis_is_time_unless_depth_is_given(path, cube, caplog):
    """An interval field of 20000 is 20 ms or 20 m, and what was assumed is logged."""
    write_segy(path, cube, bin_fields={BinField.Interval: 20000})
    with caplog.at_level(logging.INFO):
        volume = open_volume(path)
    assert "taken as time" in caplog.text
    assert volume.time.values.tolist() == [0, 20, 40, 60, 80, 100, 120, 140]
    depth = open_volume(path, vertical="depth").depth
    assert depth.values.tolist() == volume.time.values.tolist()
    assert (volume.time.attrs["units"], depth.attrs["units"]) == ("ms", "m")
    dims = ("inline", "crossline", "depth")
    assert "depth" in open_volume(path, dims=dims).dims
    with pytest.raises(ValueError, match="Invalid vertical or dims 'depth' for"):
        open_volume(path, vertical="time", dims=dims)
    with pytest.raises(ValueError, match=r"Invalid vertical 'dept'. Must be one of: 'depth', 't"):
        open_volume(path, vertical="dept")


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        (None, "coordinates are all the same"),
        (lambda _, j: (100 * j, 100 * j), "lines of different numbers have the same position"),
        (lambda i, j: (100 * j + 50 * i, 50 * i), "inlines and crosslines do not cross at right"),
        (lambda i, j: (j * j % 97, 100 * i), "traces lie up to 1 m off a regular grid"),
        (rotate, "coordinates are not lengths: unit 1, 3"),
    ],
    ids=["none", "all inlines in one position", "skew", "scattered", "degrees in one trace"],
)
def test_coordinates_without_a_rectangular_grid_give_no_distances(path, cube, place, reason):
    """Where coordinates do not make sense, the volume has no distances, and states why."""
    units = [1] * 11 + [3 if place is rotate else 1]
    write_segy(path, cube, place=place, fields_of=lambda trace: {UNIT: units[trace]})
    volume = open_volume(path)
    assert "inline_m" not in volume.coords
    assert volume.attrs["trace_coordinates"].startswith(reason)
    assert "inline_bearing_deg" not in volume.attrs
    assert spacing_m(volume, velocity_m_s=2000) is None


@pytest.mark.parametrize("crossing", [1, -1])
def test_distances_and_bearings_of_a_rotated_survey(path, cube, crossing):
    """Bins of 25 x 12.5 m; inlines rise toward 330 degrees, crosslines to either side of it."""
    place = {"place": lambda i, j: rotate(i, crossing * j), "trace_fields": {SCALAR: -10}}
    volume = open_volume(write_segy(path, cube, **place))
    assert np.allclose(volume.inline_m, [0, 25, 50], atol=0.1)
    assert np.allclose(volume.crossline_m, [0, 12.5, 25, 37.5], atol=0.1)
    assert np.allclose(spacing_m(volume, velocity_m_s=2000), (25, 12.5, 4), atol=0.1)
    bearings = [volume.attrs[f"{line}_bearing_deg"] for line in ("inline", "crossline")]
    assert bearings == pytest.approx([330, (330 + 90 * crossing) % 360], abs=0.2)
    assert volume.attrs["trace_coordinates"] == "CDP coordinates"


def test_coordinates_of_other_units_and_fields(path, cube):
    """Every second trace may count decimetres, and old files have coordinates of sources alone."""
    fields = [{SCALAR: -10, X: 250 * j, Y: 500 * i} for i, j in LINES]
    fields[::2] = [{X: 25 * j, Y: 50 * i} for i, j in LINES[::2]]
    write_segy(path, cube, fields_of=lambda trace: fields[trace])
    assert np.allclose(spacing_m(open_volume(path), velocity_m_s=2000), (100, 25, 4))
    fields = [{SCALAR: -10, SOURCE_X: 125 * j, SOURCE_Y: 250 * i} for i, j in LINES]
    volume = open_volume(write_segy(path, cube, fields_of=lambda trace: fields[trace]))
    assert volume.attrs["trace_coordinates"] == "source coordinates"
    assert np.allclose(spacing_m(volume, velocity_m_s=2000), (50, 12.5, 4))


def test_order_of_traces_is_found(path, cube, caplog):
    """Which number changes fastest in a file is an attribute, and a line of the log."""
    pairs = list(np.ndindex(3, 4))
    to_and_fro = [(i, j if i % 2 else 3 - j) for i, j in pairs]
    for order, expected in (
        (pairs, "by inline"),
        (to_and_fro, "by inline"),
        (sorted(pairs, key=lambda pair: pair[::-1]), "by crossline"),
        (sorted(pairs, key=lambda pair: (sum(pair), pair)), "neither"),
    ):
        write_segy(path, cube, order=order)
        with caplog.at_level(logging.INFO):
            volume = open_volume(path)
        assert volume.attrs["trace_order"] == expected
        assert f"3 inlines (byte 189) and 4 crosslines (byte 193), sorted {expected}" in caplog.text
        assert (volume.amplitude.values == cube).all()


def test_exchanged_bytes_exchange_the_axes(path, cube):
    """What one survey calls inlines, another calls crosslines."""
    write_segy(path, cube, place=rotate, trace_fields={SCALAR: -10})
    volume = open_volume(path)
    swapped = open_volume(path, iline_byte=193, xline_byte=189)
    names = {"inline": "crossline", "crossline": "inline"}
    names |= {f"{old}_m": f"{new}_m" for old, new in names.items()}
    back = swapped.rename(names).transpose(*volume.dims)
    xr.testing.assert_allclose(back.drop_attrs(), volume.drop_attrs())
    assert swapped.attrs["trace_order"] == "by crossline"
    assert swapped.attrs["inline_bearing_deg"] == volume.attrs["crossline_bearing_deg"]


def test_a_single_line_is_a_volume_of_one_inline(path):
    """On request a 2-D line is inline 1, with distances along it, however it bends."""
    cube = make_cube(1, 6)
    corners = {1: (0, 0), 2: (30, 40), 3: (60, 80), 5: (60, 130), 8: (60, 180), 9: (110, 180)}
    lines = {"inlines": (0,), "crosslines": tuple(corners), "line_bytes": (189, 21)}
    write_segy(path, cube, **lines, place=lambda _, cdp: corners[cdp])
    with pytest.raises(DataError, match=r"6 traces at 1 of 1 x 1 positions .* single_line=True"):
        open_volume(path)
    volume = open_volume(path, single_line=True)
    assert volume.inline.values.tolist() == [1]
    assert volume.crossline.values.tolist() == list(corners)
    assert volume.crossline_m.values.tolist() == [0, 50, 100, 150, 200, 250]
    assert spacing_m(volume, velocity_m_s=2000) == (50, 50, 4)
    assert volume.attrs["trace_order"] == "single line"
    assert (volume.amplitude.values == cube).all()


@pytest.mark.parametrize(
    ("cdps", "crosslines", "order"),
    [((9, 7, 4, 1), [1, 4, 7, 9], [3, 2, 1, 0]), ((1, 3, 3, 4), [1, 2, 3, 4], [0, 1, 2, 3])],
)
def test_crosslines_of_a_single_line(path, cube, cdps, crosslines, order):
    """They are its CDP numbers, rising, where each comes once and in order; else traces counted."""
    write_segy(path, cube[:1], inlines=(0,), crosslines=cdps, line_bytes=(189, 21))
    volume = open_volume(path, single_line=True)
    assert volume.crossline.values.tolist() == crosslines
    assert (volume.amplitude.values == cube[:1, order]).all()
    assert "crossline_m" not in volume.coords
    assert volume.attrs["trace_coordinates"] == "coordinates are all the same"


def test_line_numbers_far_apart_make_no_huge_grid(path):
    """Corners of 4 billion by 4 billion positions are no grid, nor is a diagonal."""
    far = (-(2**31), 2**31 - 1)
    diagonal = [(0, 1), (1, 0)]
    write_segy(path, make_cube(2, 2), inlines=far, crosslines=far, missing=diagonal)
    volume = open_volume(path)
    assert volume.amplitude.shape == (2, 2, N_SAMPLES)
    numbers = np.random.default_rng(0).choice(2**31, (2, 40), replace=False)
    off = [(i, j) for i in range(40) for j in range(40) if i != j]
    write_segy(path, make_cube(40, 40), inlines=numbers[0], crosslines=numbers[1], missing=off)
    with pytest.raises(DataError, match=r"40 traces at 40 of 40 x 40 positions .* single_line"):
        open_volume(path)


def test_missing_traces_are_nan_and_reported(path, cube, caplog):
    """A missing trace is NaN as a whole, counted and logged; so is a line of a regular survey."""
    volume = open_volume(write_segy(path, cube, missing=[(0, 1), (2, 2)]))
    missing = np.isnan(volume.amplitude.values)
    assert np.argwhere(missing.all(axis=2)).tolist() == [[0, 1], [2, 2]]
    assert missing.sum() == 2 * N_SAMPLES
    assert volume.attrs["n_missing_traces"] == 2
    assert "2 of 12 traces are missing" in caplog.text
    few = (61, 211, 231, 281)  # far apart, and so no survey with gaps
    for crosslines, filled in (((1, 2, 4, 5), (1, 2, 3, 4, 5)), (few, few)):
        volume = open_volume(write_segy(path, cube, crosslines=crosslines))
        assert tuple(volume.crossline.values) == filled
        assert volume.attrs["n_missing_traces"] == 3 * (len(filled) - 4)
        assert np.isnan(volume.amplitude.sel(crossline=np.setdiff1d(filled, crosslines))).all()


def test_line_numbers_are_read_from_the_bytes_given(path, cube):
    """Other header bytes, NumPy's numbers too, hold the numbers of other files."""
    write_segy(path, cube, line_bytes=(9, 21))
    inline, crossline = np.array([9, 21])
    volume = open_volume(path, iline_byte=9, xline_byte=21)
    assert volume.inline.values.tolist() == [10, 12, 14]
    xr.testing.assert_identical(volume, open_volume(path, iline_byte=inline, xline_byte=crossline))
    with pytest.raises(DataError, match="no 3-D geometry: 12 traces at 1 of 1 x 1 positions"):
        open_volume(path)
    for name, byte in (("iline_byte", 190), ("xline_byte", "189")):
        with pytest.raises(ValueError, match=f"Invalid {name} {byte!r}. Must be the first byte"):
            open_volume(path, **{name: byte})


@pytest.mark.parametrize(
    ("where", "bad"), [((1, 2, 3), np.nan), ((1, 2, 3), -np.inf), ((1, 2), np.inf), ((), np.nan)]
)
def test_only_whole_traces_of_nan_are_missing(path, cube, where, bad):
    """One bad sample, a trace of infinity and a volume of NaN are refused."""
    cube[where] = bad
    message = "NaN or infinite amplitude at inline 12, crossline 102"
    with pytest.raises(DataError, match=message if where else "every trace is missing"):
        open_volume(write_segy(path, cube))


def test_a_second_file_is_the_mask(tmp_path, cube):
    """Labels are compared sample by sample; traces that the mask lacks are missing in all."""
    image = write_segy(tmp_path / "image.sgy", cube)
    labels = np.round(cube / 50)
    traces = {"code": 1, "missing": [(0, 0)], "line_bytes": (9, 21)}
    mask = write_segy(tmp_path / "mask.segy", labels, **traces)
    with pytest.raises(DataError, match=r"mask.segy has no 3-D geometry"):
        open_volume(image, mask=mask, salt_label=2)
    with pytest.raises(ValueError, match=r"Invalid mask_bytes \(9,\)"):
        open_volume(image, mask=mask, mask_bytes=(9,))
    volume = open_volume(image, mask=mask, mask_bytes=(9, 21), salt_label=2)
    labels[0, 0] = cube[0, 0] = np.nan
    assert volume.salt.chunks
    assert volume.amplitude.chunks
    assert (volume.salt.values == (labels == 2)).all()
    assert np.argwhere(find_missing(volume)).tolist() == [[0, 0]]
    assert volume.attrs["n_missing_traces"] == 1
    assert np.array_equal(volume.amplitude, cube, equal_nan=True)
    write_segy(mask, labels, inlines=(20, 22, 24))
    with pytest.raises(DataError, match=r"inline: 3 from 20 to 24. Must be .* 3 from 10 to 14"):
        open_volume(image, mask=mask)


@pytest.mark.real_data
@pytest.mark.parametrize("name", REAL)
def test_real_files_hold_what_segyio_reads(real_data, name):
    """Each trace of a real file has its line numbers."""
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
def test_real_surveys_have_their_bins(real_data):
    """F3 has bins of 25 m, Volve lines 50 m and samples 20 m apart; Viking Graben has no lines."""
    folder = real_data / "segy"
    f3 = open_volume(folder / "segyio_f3.sgy")
    assert np.allclose(spacing_m(f3, velocity_m_s=2000), (25, 25, 4), atol=0.01)
    volve = open_volume(folder / "volve10-migvel-depth-sub3d.sgy", vertical="depth")
    assert np.allclose(spacing_m(volve), (50, 50, 20), atol=0.01)
    with pytest.raises(DataError, match=r"viking_small.segy has no 3-D geometry: 480 traces at 1"):
        open_volume(folder / "viking_small.segy")
