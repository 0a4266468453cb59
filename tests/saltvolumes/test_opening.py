"""Tests of volumes from npz, and of stores and masks that are given by argument."""

import os

import h5py
import numpy as np
import pytest
import zarr

from saltvolumes import DataError, open_volume, save_volume
from saltvolumes.volume import build_volume, spacing_m

DIMS = ("crossline", "time", "inline")
SHAPE = (4, 6, 5)
IMAGE = np.random.default_rng(1).random(SHAPE)


@pytest.fixture
def arrays():
    """Four crosslines as (crossline, time, inline), with labels 1 to 4 of which 4 is salt."""
    label = np.random.default_rng(0).integers(1, 5, SHAPE).astype(np.uint8)
    note, crossline = np.array("anything"), np.array([61, 211, 231, 281])
    return {"image": IMAGE, "label": label, "crossline": crossline, "note": note}


@pytest.fixture
def save(tmp_path):
    """Write arrays to an npz file of a name."""

    def save_arrays(name="image.npz", **arrays):
        np.savez(tmp_path / name, **arrays)
        return tmp_path / name

    return save_arrays


def open_arrays(path, **arguments):
    """Open an npz file of the fixture's layout."""
    return open_volume(path, **{"dims": DIMS, "sample_interval": 4.0, **arguments})


def test_npz_axes_and_lines_are_as_given(arrays, save):
    """Each sample lies where dims put it, in the only array; lines are counted from 0, or read."""
    volume = open_arrays(save(**arrays), variable="image")
    assert volume.amplitude.dims == ("inline", "crossline", "time")
    assert np.array_equal(volume.amplitude, arrays["image"].astype(np.float32).transpose(2, 0, 1))
    assert volume.time.values.tolist() == [0, 4, 8, 12, 16, 20]
    assert volume.crossline.values.tolist() == [61, 211, 231, 281]
    assert volume.inline.values.tolist() == [0, 1, 2, 3, 4]
    samples = np.arange(6) * 2.0
    volume = open_arrays(save(image=arrays["image"], time=samples), sample_interval=None)
    assert np.array_equal(volume.time, samples)


def test_distances_are_left_out_unless_given(arrays, save):
    """Without spacing there are no metres; with it, they follow the line numbers."""
    path = save(**arrays)
    assert spacing_m(open_arrays(path, variable="image"), velocity_m_s=2000) is None
    volume = open_arrays(path, variable="image", spacing_m=(25.0, 20.0))
    assert volume.inline_m.values.tolist() == [0, 25, 50, 75, 100]
    assert volume.crossline_m.values.tolist() == [0, 3000, 3400, 4400]


def test_the_mask_is_a_variable_or_a_second_file(arrays, save):
    """Of labels one means salt; labels of 0 and 1 need none to be named, whatever their dtype."""
    is_salt = arrays["label"] == 4
    salt = is_salt.transpose(2, 0, 1)
    volume = open_arrays(save(**arrays), variable="image", mask="label", salt_label=4)
    assert volume.salt.dtype == np.bool_
    assert np.array_equal(volume.salt, salt)
    mask = save("mask.npz", salt=is_salt, other=arrays["image"])
    assert np.array_equal(open_arrays(save(image=arrays["image"]), mask=mask).salt, salt)
    for kind in (np.uint8, np.float32):
        path = save(amplitude=arrays["image"], salt=is_salt.astype(kind))
        assert np.array_equal(open_arrays(path).salt, salt)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dims": None}, "Invalid dims None. Must name the three axes of an array of image.npz"),
        ({"dims": ("time", "depth", "inline")}, r"Invalid dims \('time', 'depth', 'inline'\)"),
        ({"sample_interval": None}, "Invalid sample_interval None. Must be the step of time in ms"),
        ({"sample_interval": 0.0}, r"Invalid sample_interval 0.0"),
        ({"spacing_m": (25.0, -1.0)}, r"Invalid spacing_m -1.0"),
        ({"spacing_m": (25.0,)}, r"Invalid spacing_m \(25.0,\). Must be two numbers"),
        ({"dims": (1, 2, "time")}, r"Invalid dims \(1, 2, 'time'\)"),
        ({"vertical": "depth"}, r"Invalid vertical or dims 'depth' for \('inline', "),
        ({"salt_label": 4}, "Invalid salt_label 4 without mask"),
        ({"variable": None}, r"no 3-D array 'amplitude'.* image \(4, 6, 5\), label \(4, 6, 5\)"),
        ({"variable": "crossline"}, "no 3-D array 'crossline'"),
        ({"mask": "label"}, "The mask holds labels 1, 2, 3, 4. Name that of salt by"),
        ({"mask": "label", "salt_label": 5}, "holds no salt: label 5 is not among 1, 2, 3, 4"),
        ({"mask": "image", "salt_label": 1}, "more than 64 values of float64, not labels"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arrays, save, arguments, message):
    """Each wrong argument gives one line with what is allowed."""
    path = save(**arrays)
    with pytest.raises(ValueError, match=message) as caught:
        open_arrays(path, **{"variable": "image", **arguments})
    assert "\n" not in str(caught.value)


def test_a_label_is_one_number(arrays, save):
    """A list of labels is refused in words of our own."""
    path = save(**arrays)
    with pytest.raises(TypeError, match=r"Invalid salt_label \[4\]. Must be a number"):
        open_arrays(path, variable="image", mask="label", salt_label=[4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"salt": np.ones((4, 6, 4), bool)}, "along inline: 4 from .* volume, 5 from"),
        ({"salt": np.zeros(SHAPE, bool)}, "holds no salt: label 1 is not among 0"),
        ({"crossline": 100_001 + np.arange(4)}, "along crossline: 4 from 100001 to 100004"),
    ],
)
def test_masks_that_do_not_fit_are_refused(arrays, save, changes, message):
    """Another shape, six-digit line numbers that differ by one, or no salt make no mask."""
    lines = {"crossline": 100_000 + np.arange(4)}
    mask = save("mask.npz", **{"salt": arrays["label"] == 4, **lines, **changes})
    with pytest.raises(DataError, match=message):
        open_arrays(save(image=arrays["image"], **lines), mask=mask)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npz", b"", "x.npz is empty"),
        ("x.npz", b"no archive", "x.npz is not npz, or truncated"),
        ("x.nc", b"no archive", "x.nc is not nc, or damaged"),
        ("x.zarr", b"no folder", "x.zarr is not a folder"),
        ("x.zarr", None, "x.zarr is not zarr, or damaged"),
        ("x.sgy", None, "x.sgy is a folder"),
        ("x.csv", b"1,2", "Invalid file ending '.csv'. Must be one of: '.sgy', '.segy', '.npz'"),
    ],
)
def test_other_content_and_endings_are_refused(tmp_path, name, content, message):
    """A file that is not what its ending means gives one line."""
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_arrays(path)
    assert "\n" not in str(caught.value)


def test_damaged_npz_is_refused(arrays, save):
    """Half an archive, changed or encrypted samples, and Python objects, whose unpickling runs."""
    path = save(image=arrays["image"])
    content = path.read_bytes()
    encrypted = bytearray(content)
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        encrypted[encrypted.index(header) + flags] |= 1
    half, changed = content[: len(content) // 2], content[:300] + b"\xff" + content[301:]
    for damaged, reason in ((half, ""), (changed, ""), (encrypted, "'image.npy' is encrypted")):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"image.npz is not npz, or truncated.*{reason}"):
            open_arrays(path)
    with pytest.raises(DataError, match=r"image.npz is not npz"):
        open_arrays(save(image=np.array([{}], dtype=object)))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("amplitude", IMAGE.astype(complex), "dtype complex128. Must be one of: int, unsigned"),
        ("amplitude", IMAGE > 0.5, "amplitude is of dtype bool"),
        ("amplitude", IMAGE.astype("U4"), "amplitude is of dtype <U4"),
        ("velocity", IMAGE.astype(complex), "velocity is of dtype complex128"),
        ("salt", IMAGE.astype(complex), "mask is of dtype complex128. Must be one of: bool, int"),
        ("salt", IMAGE, "mask holds more than 64 values of float64"),
        ("salt", np.ones((4, 6, 4), bool), "other samples along inline: 4 from .* volume, 5 from"),
        ("salt", np.ones((4, 6, 4), "u1"), "other samples along inline: 4 from .* volume, 5 from"),
        ("velocity", np.ones((4, 6, 4)), "other samples along inline: 4 from .* volume, 5 from"),
    ],
)
def test_arrays_of_other_kinds_and_shapes_are_refused(save, name, array, message):
    """Amplitudes and velocities are real numbers, masks hold labels, and shapes are the same."""
    with pytest.raises(DataError, match=message):
        open_arrays(save(**{"amplitude": IMAGE, "note": np.zeros(SHAPE), name: array}))


@pytest.mark.parametrize("error", [MemoryError, NotImplementedError, RuntimeError, OSError])
def test_archives_that_cannot_be_unpacked_are_refused(arrays, save, monkeypatch, error):
    """Encrypted, oddly compressed and too large archives give one line."""

    def fail(*_arguments, **_options):
        raise error("no way")

    path = save(**arrays)
    monkeypatch.setattr(np, "load", fail)
    with pytest.raises(DataError, match=r"not npz, or truncated, encrypted or too large: no way"):
        open_arrays(path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ({"crossline": np.array(list("abcd"))}, "crossline of image must be finite numbers"),
        ({"crossline": np.array([1, 2, np.nan, 4])}, "crossline of image must be finite"),
        ({"time": np.array([0, 4, 8, 12, 16, np.inf])}, "time of image must be finite"),
        ({"time": np.zeros(6, "datetime64[ms]")}, "time of image must be finite"),
        ({"crossline": np.array([1, 2, 2, 4])}, "Invalid crossline numbers: 2 is a duplicate"),
        ({"crossline": np.arange(5)}, "image: conflicting sizes for dimension 'crossline'"),
        ({"time": -np.arange(6.0)}, "Invalid time coordinate .* Must increase downward"),
        ({"image": np.zeros((4, 0, 5))}, r"image is empty, of shape \(4, 0, 5\)"),
    ],
)
def test_lines_that_place_nothing_are_refused(arrays, save, lines, message):
    """Words, dates, NaN, infinity and duplicates place nothing, nor do too many numbers."""
    interval = None if "time" in lines else 4.0
    with pytest.raises(ValueError, match=message):
        open_arrays(save(**{"image": arrays["image"], **lines}), sample_interval=interval)


def test_links_are_read_and_pipes_are_not(arrays, save, tmp_path):
    """A link to a file is that file; what is missing is named, and nobody waits at a pipe."""
    with pytest.raises(FileNotFoundError, match=r"No such file: labels. Nor .* image, label"):
        open_arrays(save(**arrays), variable="image", mask="labels")
    link = tmp_path / "link to Höhe.npz"
    link.symlink_to(save(image=arrays["image"]))
    assert open_arrays(link).sizes["inline"] == 5
    (tmp_path / "image.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"No such file: .*link"):
        open_arrays(link)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match=r"pipe.npz is not a file, but a pipe"):
        open_arrays(tmp_path / "pipe.npz")


@pytest.mark.parametrize("name", ["volume.zarr", "volume.nc"])
def test_truncated_stores_are_refused(tmp_path, name):
    """Half the samples are not a volume, also where they are lost after opening."""
    cube, lines = np.random.default_rng(0).standard_normal((16, 16, 32)), np.arange(16)
    path = tmp_path / name
    save_volume(build_volume(cube, inline=lines, crossline=lines, vertical=np.arange(32)), path)
    volume = open_volume(path) if path.is_dir() else None  # open HDF5 keeps what it has read
    samples = path / "amplitude" / "0.0.0" if path.is_dir() else path
    samples.write_bytes(samples.read_bytes()[: samples.stat().st_size // 2])
    if volume is not None:
        with pytest.raises(DataError, match=r"volume.zarr is damaged: "):
            volume.amplitude.load()
    with pytest.raises(DataError, match=rf"{name} is (damaged|not nc, or damaged)") as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("chunks", [(1, 1, 1), (5, 40, 3), (100, 100, 1)])
def test_stores_are_read_in_blocks_of_their_chunks(tmp_path, chunks):
    """Tiny chunks are joined, larger ones are read whole, and all samples are the same."""
    samples = np.random.default_rng(0).standard_normal((17, 3, 20)).astype(np.float32)
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=2)
    array = group.create_array("amplitude", data=samples, chunks=chunks)
    array.attrs["_ARRAY_DIMENSIONS"] = ["inline", "crossline", "time"]
    volume = open_volume(tmp_path / "x.zarr", sample_interval=4.0)
    assert np.array_equal(volume.amplitude, samples)
    blocks = [min(-(-16 // n) * n, size) for n, size in zip(chunks, samples.shape, strict=True)]
    assert [sizes[0] for sizes in volume.amplitude.chunks] == blocks


def test_lost_chunks_are_reported(tmp_path, caplog):
    """Every chunk of a saved store is written, so that one that is deleted does not go unseen."""
    lines = {"inline": range(20), "crossline": range(4), "vertical": range(8)}
    path, amplitude = tmp_path / "x.zarr", np.ones((20, 4, 8))
    save_volume(build_volume(amplitude, **lines, salt=amplitude > 2), path)
    assert not open_volume(path).salt.any()
    assert not caplog.text
    (path / "salt" / "1.0.0").unlink()
    open_volume(path)
    assert "x.zarr: 1 of 2 chunks of salt are missing, and read as fill" in caplog.text


@pytest.mark.parametrize("name", ["x.zarr", "x.nc"])
def test_stores_that_declare_much_more_than_they_hold_are_refused(tmp_path, name):
    """Billions of traces in a few bytes are refused before any is asked for."""
    shape = {"shape": (2**20, 2**20, 2**20), "chunks": (16, 16, 16), "dtype": "f4"}
    if name == "x.zarr":
        group = zarr.open_group(tmp_path / name, mode="w", zarr_format=2)
        group.create_array("amplitude", **shape).attrs["_ARRAY_DIMENSIONS"] = list(DIMS)
    else:
        with h5py.File(tmp_path / name, "w") as file:
            file.create_dataset("amplitude", **shape)
    with pytest.raises(DataError, match=rf"{name} declares 4.61e\+09 GB of samples in \d+ bytes"):
        open_arrays(tmp_path / name)
