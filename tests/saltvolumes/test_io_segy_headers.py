"""Tests of headers as real files have them: filled in part, for each trace, or in other units."""

import numpy as np
import pytest
import segyio
import xarray as xr
from segy_files import LINES, N_SAMPLES, make_cube, overwrite, set_fields, write_segy
from segyio import BinField, TraceField

from saltvolumes import DataError, open_volume, save_volume
from saltvolumes.volume import spacing_m

DELAY, SCALAR = TraceField.DelayRecordingTime, TraceField.ScalarTraceHeader
X, Y, UNIT = TraceField.CDP_X, TraceField.CDP_Y, TraceField.CoordinateUnits
INTERVAL = TraceField.TRACE_SAMPLE_INTERVAL


@pytest.mark.parametrize(
    ("delay", "scalar", "start"),
    [(10000, -10, 1000), (101, -10, 10.1), (7, 10, 70), (50, 0, 50), (50, 1, 50), (50, 7, 50)],
)
def test_delays_are_scaled(path, cube, delay, scalar, start):
    """Byte 215 multiplies, or divides where it is negative; scalars are powers of ten."""
    write_segy(path, cube, trace_fields={DELAY: delay, SCALAR: scalar})
    assert open_volume(path).time.values[0] == start


def test_traces_are_read_where_all_have_samples(path, cube, caplog, tmp_path):
    """Every second trace starts 40 ms later; each sample lies at its own time, also if written."""
    cube = make_cube(n_samples=20) % 50
    write_segy(path, cube, trace_fields={INTERVAL: 4000})
    set_fields(path, lambda trace: {DELAY: 100 + 40 * (trace % 2)})
    volume = open_volume(path, mask=path, salt_label=cube[0, 0, 12])
    assert volume.time.values.tolist() == [140 + 4 * k for k in range(10)]
    assert np.array_equal(volume.amplitude[:, 0::2], cube[:, 0::2, 10:])
    assert np.array_equal(volume.amplitude[:, 1::2], cube[:, 1::2, :10])
    assert (volume.salt == (volume.amplitude == cube[0, 0, 12])).all()
    assert volume.attrs["trace_starts"] == "100 (6 traces), 140 (6 traces)"
    assert "Reading 10 of 20 samples, those that all of them have" in caplog.text
    save_volume(volume, tmp_path / "like.sgy", like=path)
    xr.testing.assert_equal(open_volume(tmp_path / "like.sgy").amplitude, volume.amplitude)
    with segyio.open(tmp_path / "like.sgy", ignore_geometry=True) as file:
        assert np.array_equal(file.trace[0], np.append(np.zeros(10), cube[0, 0, 10:]))
        assert [header[DELAY] for header in file.header[:2]] == [100, 140]


def test_traces_that_cannot_be_aligned_are_refused(path, cube):
    """Half a sample, no common time and no interval are refused; a given interval aligns."""
    for delay, interval, message in (
        (50, 4000, r"0 \(1 traces\), 50 \(11 traces\). Must be whole samples of 4.0 apart"),
        (32, 4000, r"fewer than 8"),
        (8, 0, r"0 .* or give sample_interval"),
    ):
        delays = [0] + [delay] * 11
        bins = {BinField.Interval: interval}
        write_segy(path, cube, bin_fields=bins)
        set_fields(path, lambda trace, delays=delays: {DELAY: delays[trace]})
        with pytest.raises(DataError, match=message):
            open_volume(path)
    volume = open_volume(path, sample_interval=4.0)
    assert volume.time.values.tolist() == [8, 12, 16, 20, 24, 28]
    assert np.array_equal(volume.amplitude[0, 0], cube[0, 0, 2:])


@pytest.mark.parametrize("intervals", [(0, 0), (4000, 2000), (0, 2000)])
def test_an_interval_that_is_given_leaves_the_start(path, cube, intervals):
    """A delay of 50 ms is where samples start, whatever is stated of their interval."""
    fields = {INTERVAL: intervals[1], DELAY: 50}
    write_segy(path, cube, bin_fields={BinField.Interval: intervals[0]}, trace_fields=fields)
    volume = open_volume(path, mask=path, salt_label=cube[0, 0, 0], sample_interval=4)
    assert volume.time.values[:2].tolist() == [50, 54]
    save_volume(volume, path.with_name("like.sgy"), like=path)
    again = open_volume(path.with_name("like.sgy"), sample_interval=4)
    assert again.amplitude.equals(volume.amplitude)


@pytest.mark.parametrize(
    ("intervals", "odd"), [((0, 0), 0), ((-4, -4), -4), ((4000, 2000), 2000), ((4000, 4000), 2000)]
)
def test_intervals_that_are_not_known_have_to_be_given(path, cube, intervals, odd):
    """None is invented, and which of two is right nobody guesses, though one trace states it."""
    traces = [intervals[1]] * 11 + [odd]
    bins = {BinField.Interval: intervals[0]}
    write_segy(path, cube, bin_fields=bins, fields_of=lambda trace: {INTERVAL: traces[trace]})
    reason = "headers state 2 and 4" if odd == 2000 else "the file does not state it"
    with pytest.raises(ValueError, match=rf"Invalid sample_interval None.* since {reason}"):
        open_volume(path)
    assert open_volume(path, sample_interval=2.0).time.values[1] == 2.0


@pytest.mark.parametrize("line_bytes", [(181, 185), (73, 77), (77, 73)])
def test_fields_of_line_numbers_are_no_coordinates(path, cube, caplog, line_bytes):
    """Lines in the fields of X and Y give no metres, and what to pass is said."""
    write_segy(path, cube, fields_of=lambda n: dict(zip(line_bytes, LINES[n], strict=True)))
    bytes_read = {"iline_byte": line_bytes[0], "xline_byte": line_bytes[1]}
    for volume in (open_volume(path), open_volume(path, **bytes_read)):
        assert volume.inline.values.tolist() == [10, 12, 14]
        assert spacing_m(volume, velocity_m_s=2000) is None
        assert volume.attrs["trace_coordinates"].endswith("coordinates are line numbers")
    assert "Pass spacing_m, in m" in caplog.text
    fields = (X, Y, TraceField.SourceX, TraceField.SourceY)  # the latter two are coordinates
    places = [dict(zip(fields, (i, j, 20 * j, 10 * i), strict=True)) for i, j in LINES]
    write_segy(path, cube, fields_of=lambda trace: places[trace])
    volume = open_volume(path, iline_byte=181, xline_byte=185)
    assert spacing_m(volume, velocity_m_s=2000) == pytest.approx((20, 20, 4))


def test_a_file_in_feet_has_metres_and_velocities(tmp_path, cube):
    """Coordinates, depths and velocities are in feet: 14,700 ft/s are salt, also as written."""
    stored = np.where(np.arange(N_SAMPLES) < 2, 14_700, 7000) + 0 * cube
    feet = {"bin_fields": {BinField.MeasurementSystem: 2, BinField.Interval: 10000}}
    feet["place"] = lambda i, j: (100 * j, 50 * i)
    image = write_segy(tmp_path / "image.sgy", cube, **feet)
    model = write_segy(tmp_path / "velocity.sgy", stored, **feet)
    volume = open_volume(image, mask=model, salt_velocity_m_s=(4400, 4600), vertical="depth")
    assert np.allclose(spacing_m(volume), (30.48, 30.48, 3.048))
    assert (volume.salt.values == (stored == 14_700)).all()
    assert "units" not in volume.attrs
    velocity = xr.where(volume.depth > 10, 4480.0, 2000.0 + 0 * volume.amplitude)
    volume["velocity"] = velocity.transpose(*volume.dims).assign_attrs(units="m/s")
    save_volume(volume, tmp_path / "new.sgy", variable="velocity", like=image)
    limits = {"salt_velocity_m_s": (4479.9, 4480.1), "vertical": "depth"}
    again = open_volume(image, mask=tmp_path / "new.sgy", **limits)
    assert (again.salt == (volume.depth > 10)).all()


def test_dead_traces_are_missing(path, cube, tmp_path):
    """Zeros that their header calls dead are NaN, written as they were, and have no say."""
    cube[1, 2] = 0
    cube[2, 2] = 0  # not called dead
    write_segy(path, cube, place=lambda i, j: (25 * j, 25 * i))
    called = {TraceField.TraceIdentificationCode: 2}  # so is trace 7, which is not dead
    set_fields(path, lambda trace: called if trace in (6, 7) else {})
    volume = open_volume(path, mask=path, salt_label=cube[0, 0, 0])
    assert volume.attrs["n_missing_traces"] == 1
    assert np.isnan(volume.amplitude[1, 2]).all()
    assert np.array_equal(volume.amplitude[1, 3], cube[1, 3])
    save_volume(volume, tmp_path / "like.sgy", like=path)
    assert (tmp_path / "like.sgy").read_bytes() == path.read_bytes()
    odd = {DELAY: 3, INTERVAL: 100, X: 0, UNIT: 3}
    set_fields(path, lambda trace: odd if trace == 6 else {})
    volume = open_volume(path)
    assert volume.time.values[:2].tolist() == [0, 4]
    assert spacing_m(volume, velocity_m_s=2000) == pytest.approx((50, 25, 4))


def place_rounded(angle_deg):
    """Bins of 12.5 x 6.25 m, turned, in whole metres."""
    turn = np.deg2rad(angle_deg)

    def place(inline, crossline):
        y, x = 12.5 * inline, 6.25 * crossline
        east = 5e5 + np.cos(turn) * x - np.sin(turn) * y
        return round(east), round(6e6 + np.sin(turn) * x + np.cos(turn) * y)

    return place


@pytest.mark.parametrize("zeros", [(), (0, 77)])
@pytest.mark.parametrize("angle_deg", [0, 17, 30, 45, 123])
def test_coordinates_in_whole_metres_give_distances(path, angle_deg, zeros):
    """Half a metre is allowed for in bins of 12.5 x 6.25 m, and traces at 0 / 0 are left out."""
    lines = {"inlines": range(40), "crosslines": range(60)}
    lines["fields_of"] = lambda trace: {X: 0, Y: 0} if trace in zeros else {}
    write_segy(path, make_cube(40, 60, 2), **lines, place=place_rounded(angle_deg))
    assert spacing_m(open_volume(path), velocity_m_s=2000) == pytest.approx((12.5, 6.25, 4), 0.01)


@pytest.mark.parametrize("zeros", [(), (0,), (20, 21, 59)])
@pytest.mark.parametrize("angle_deg", [0, 30])
def test_a_line_in_whole_metres_has_even_steps(path, angle_deg, zeros):
    """Traces 12.5 m apart, of 12 and 13 m by their coordinates, two of them without any."""
    lines = {"inlines": (0,), "crosslines": range(2, 122, 2), "line_bytes": (189, 21)}
    write_segy(path, make_cube(1, 60, 2), **lines, place=place_rounded(angle_deg))
    set_fields(path, lambda trace: {X: 0, Y: 0} if trace in zeros else {})
    volume = open_volume(path, single_line=True)
    assert spacing_m(volume, velocity_m_s=2000) == pytest.approx((12.5, 12.5, 4), 0.01)


def test_duplicated_traces_are_named(path, cube):
    """One trace too many is named with its twin and their lines, not taken for pre-stack data."""
    content = write_segy(path, cube).read_bytes()
    path.write_bytes(content + content[3600 + 5 * 272 : 3600 + 6 * 272])
    with pytest.raises(DataError, match=r"Traces 6 and 13 are both at inline 12, crossline 101"):
        open_volume(path)


@pytest.mark.parametrize("n_stray", [1, 3])
def test_traces_without_line_numbers_are_left_out(path, cube, caplog, tmp_path, n_stray):
    """Traces at 0 / 0 far from all lines are none, and written as zeros; next to others, a line."""
    content = write_segy(path, cube, inlines=(100, 101, 102)).read_bytes()
    stray = bytearray(content[-272:])
    stray[188:196] = bytes(8)
    path.write_bytes(content + bytes(stray) * n_stray)
    volume = open_volume(path)
    assert np.array_equal(volume.amplitude, cube)
    assert f"{n_stray} traces, the first of them number 13, have line numbers 0 / 0" in caplog.text
    save_volume(volume, tmp_path / "like.sgy", like=path)
    zeros = (bytes(stray[:240]) + bytes(32)) * n_stray
    assert (tmp_path / "like.sgy").read_bytes() == content + zeros
    write_segy(path, cube, inlines=(0, 1, 2), crosslines=(0, 1, 2, 3))
    assert np.array_equal(open_volume(path).amplitude, cube)


@pytest.mark.parametrize("stated", [1, -1])
def test_a_trailer_that_the_header_announces_is_no_trace(path, cube, tmp_path, stated):
    """Revision 2 has stanzas after the traces, which are copied by writing like such a file."""
    content = write_segy(path, cube).read_bytes()
    path.write_bytes(content + b"trailer ".ljust(3200))
    with pytest.raises(DataError, match=r"has 23 and 208 bytes more, for which no trailer is ann"):
        open_volume(path)
    overwrite(overwrite(path, 3500, b"\x02\x00"), 3512, (12).to_bytes(8, "big"))
    overwrite(path, 3528, stated.to_bytes(4, "big", signed=True))
    volume = open_volume(path)
    assert np.array_equal(volume.amplitude, cube)
    save_volume(volume, tmp_path / "like.sgy", like=path)
    assert (tmp_path / "like.sgy").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("stated", [1, -1, -7, 2**31 - 1])
def test_a_trailer_that_is_not_there_is_not_cut_off(path, cube, stated):
    """Whole traces up to the end of the file are traces, whatever the header announces."""
    overwrite(write_segy(path, cube), 3500, b"\x02\x00")
    overwrite(path, 3528, stated.to_bytes(4, "big", signed=True))
    assert np.array_equal(open_volume(path).amplitude, cube)


def test_lines_far_apart_are_reported(path, caplog):
    """Inlines 1 to 10 and 100 to 109 are not neighbours, which is said."""
    numbers = [*range(1, 11), *range(100, 110)]
    write_segy(path, make_cube(20, 4), inlines=numbers)
    assert open_volume(path).inline.values.tolist() == numbers
    said = "inlines 10 and 100 (1 such gaps) are far apart, and not treated as neighbours"
    assert said in caplog.text
