"""Tests of the bytes of SEG-Y files; segyio is the referee."""

import numpy as np
import pytest
import segyio
from segy_files import make_cube, overwrite, write_segy

from saltvolumes import DataError, open_volume
from saltvolumes._io.segy_layout import HEADER_BYTES


@pytest.mark.parametrize("code", [1, 2, 3, 5, 6, 8, 10, 11, 16])
@pytest.mark.parametrize("by_crossline", [False, True])
@pytest.mark.parametrize("endian", ["big", "little"])
def test_every_sample_format_reads_exactly(path, cube, code, by_crossline, endian):
    """Whole numbers come back as they were written, in either order of traces and of bytes."""
    write_segy(path, cube, code=code, by_crossline=by_crossline, endian=endian)
    volume = open_volume(path)
    assert (volume.attrs["byte_order"], volume.attrs["sample_format"]) == (endian, code)
    assert volume.amplitude.dims == ("inline", "crossline", "time")
    assert volume.amplitude.dtype == np.float32
    assert (volume.amplitude.values == cube).all()
    assert volume.inline.values.tolist() == [10, 12, 14]
    assert volume.crossline.values.tolist() == [100, 101, 102, 103]


def test_other_content_and_damage_are_refused(path, cube):
    """What is not SEG-Y, longer, or cut anywhere in headers and traces, gives one clear line."""
    good = write_segy(path, cube).read_bytes()
    wrong = {
        b"": "is empty",
        b"no seismic here": "is not SEG-Y: sample format 0",
        b"no seismic here " * 300: "is not SEG-Y: sample format",
        good[:3220] + b"\xff\xf0" + good[3222:]: "is not SEG-Y, or truncated",
        good[:3224] + b"\x00\x09" + good[3226:]: r"format 9. Must be one of: 1, 2, .* or set",
        good[:3224] + b"\x05\x00" + good[3226:]: "2048 samples each of format 5",  # little-endian
        good[:3504] + b"\x7f\xff" + good[3506:]: "is not SEG-Y, or truncated",
    }
    cuts = [1, 3199, 3200, 3599, 3600, 3601, 3839, 3840, 3841, 3871, 3972, -3, -1]
    wrong |= {good[:cut]: "is not SEG-Y" for cut in cuts}
    longer = f"{len(good) + 1} bytes. Must be 3600 of headers and whole"
    for content, message in (wrong | {good + b" ": longer}).items():
        path.write_bytes(content)
        with pytest.raises(DataError, match=message) as caught:
            open_volume(path)
        assert "\n" not in str(caught.value)


def test_extended_text_headers_are_skipped(path, cube):
    """Traces start after the text headers that are announced; minus one cannot be skipped."""
    content = write_segy(path, cube).read_bytes()
    head, traces = content[:3504] + b"\x00\x01" + content[3506:3600], content[3600:]
    path.write_bytes(head + b" " * 3200 + traces)
    assert (open_volume(path).amplitude.values == cube).all()
    overwrite(write_segy(path, make_cube(n_samples=40)), 3504, b"\xff\xff")
    with pytest.raises(DataError, match="announces -1 extended text headers"):
        open_volume(path)


def test_ibm_floats_are_a_fraction_times_a_power_of_sixteen(path, cube):
    """Words of known value, as IBM's Principles of Operation define them."""
    write_segy(path, cube, code=1)
    words = {0x41100000: 1.0, 0xC276A000: -118.625, 0: 0.0, 0x7F000000: 0.0}
    words |= {0x42010000: 1.0}  # not normalised; segyio reads 8.5
    words |= {0x00000001: 0.0}  # 16 ** -70
    for word, value in words.items():
        overwrite(path, 3840, word.to_bytes(4, "big"))
        assert open_volume(path).amplitude.values[0, 0, 0] == value


def test_normalised_ibm_floats_are_those_of_segyio(tmp_path):
    """Words of either sign, over the range of float32, decode as segyio does it."""
    rng = np.random.default_rng(0)
    exponents = rng.integers(36, 95, size=(3, 4, 64))  # within the range of float32
    words = (exponents << 24) + rng.integers(2**20, 2**24, size=exponents.shape)
    words += rng.integers(2, size=exponents.shape) << 31  # sign
    path = write_segy(tmp_path / "x.sgy", np.zeros((3, 4, 64), np.float32), code=1)
    content = np.frombuffer(path.read_bytes()[HEADER_BYTES:], np.uint8).reshape(12, -1).copy()
    content[:, 240:] = words.astype(">u4").view(np.uint8).reshape(12, -1)
    path.write_bytes(path.read_bytes()[:HEADER_BYTES] + content.tobytes())
    with segyio.open(path) as file:
        assert np.allclose(open_volume(path).amplitude, segyio.tools.cube(file), rtol=2e-7, atol=0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("code", [1, 6])
def test_samples_beyond_float32_are_infinite_and_refused(path, cube, code):
    """The largest IBM float, 7e75, and 1e300 are no amplitudes."""
    largest = b"\x7f\xff\xff\xff" if code == 1 else np.array(1e300, ">f8").tobytes()
    overwrite(write_segy(path, cube, code=code), HEADER_BYTES + 240, largest)
    with pytest.raises(DataError, match="NaN or infinite amplitude at inline 10, crossline 100"):
        open_volume(path)


@pytest.mark.parametrize("endian", ["big", "little"])
@pytest.mark.parametrize(("stated", "true"), [(1, 5), (5, 1)])
@pytest.mark.parametrize("seed", range(5))
def test_floats_of_the_other_kind_are_doubted(path, caplog, stated, true, endian, seed):
    """A header that takes IBM for IEEE floats, or the reverse, is believed, but not in silence."""
    rng, time = np.random.default_rng(seed), np.arange(-10, 11) / 4
    wavelet = (1 - 2 * time**2) * np.exp(-(time**2))
    noise = rng.laplace(size=(3, 4, 200)) * 10.0 ** rng.uniform(-6, 6)
    cube = np.apply_along_axis(np.convolve, 2, noise, wavelet, "same").astype(np.float32)
    right = open_volume(write_segy(path, cube, code=true, endian=endian))
    assert "sample_format_doubt" not in right.attrs
    wrong = open_volume(overwrite(path, 3224, stated.to_bytes(2, endian)))
    assert f"sample_format={true}" in wrong.attrs["sample_format_doubt"]
    assert f"unlike format {stated} of the header" in caplog.text
    assert not np.allclose(wrong.amplitude, cube)
    mended = open_volume(path, sample_format=true)
    assert "sample_format_doubt" not in mended.attrs
    assert mended.amplitude.equals(right.amplitude)


@pytest.mark.parametrize("code", [1, 5])
def test_floats_that_are_what_the_header_says_are_not_doubted(path, code):
    """Velocities, probabilities, masks, labels and whole numbers give no false alarm."""
    count = np.arange(2400)
    linear = [np.linspace(*ends, 2400) for ends in ((1480, 4706), (2400, 3900), (0, 1))]
    for values in (*linear, count % 2, 2 * (count % 8) + 1, np.round(1000 * np.sin(count))):
        write_segy(path, values.reshape(3, 4, 200).astype(np.float32), code=code)
        assert "sample_format_doubt" not in open_volume(path).attrs


def test_sample_format_is_one_of_the_codes(path, cube):
    """A format that is given replaces that of the header, also one that does not exist."""
    overwrite(write_segy(path, cube, code=3), 3224, bytes(2))
    with pytest.raises(ValueError, match=r"Invalid sample_format 4. Must be one of: 1, 2, 3, 5"):
        open_volume(path, sample_format=4)
    assert (open_volume(path, sample_format=3).amplitude == cube).all()


def test_the_sample_count_fits_the_file(path, cube):
    """None, minus one and others than traces have are refused; either of two fields may be 0."""
    write_segy(path, cube, trace_fields={115: 0})
    for n_samples in (0, -1, 7, 9, 32767):
        overwrite(path, 3220, n_samples.to_bytes(2, "big", signed=True))
        with pytest.raises(DataError, match="is not SEG-Y, or truncated"):
            open_volume(path)
    overwrite(write_segy(path, cube, trace_fields={115: cube.shape[2]}), 3220, bytes(2))
    assert (open_volume(path).amplitude == cube).all()
