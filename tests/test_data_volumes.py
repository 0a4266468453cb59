"""Tests of volumes from npz, and of stores and masks that are given by argument."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import zarr

from thesis_lib._volume import build_volume, spacing_m
from thesis_lib.data import DataError, PatchBatches, open_volume, save_volume, select_lines

DIMS = ("crossline", "time", "inline")
SHAPE = (4, 6, 5)


@pytest.fixture
def arrays():
    """Four crosslines as (crossline, time, inline), with labels 1 to 4 of which 4 is salt."""
    rng = np.random.default_rng(0)
    return {
        "image": rng.random(SHAPE),
        "label": rng.integers(1, 5, SHAPE).astype(np.uint8),
        "crossline": np.array([61, 211, 231, 281]),
        "note": np.array("anything"),
    }


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


def test_npz_axes_are_as_said(arrays, save):
    """Each sample lies on the inline, crossline and time that dims give its place."""
    volume = open_arrays(save(**arrays), variable="image")
    assert volume.amplitude.dims == ("inline", "crossline", "time")
    assert np.array_equal(volume.amplitude, arrays["image"].astype(np.float32).transpose(2, 0, 1))
    assert volume.time.values.tolist() == [0, 4, 8, 12, 16, 20]


def test_line_numbers_come_from_arrays_of_their_name(arrays, save):
    """Crosslines have the numbers of the file, inlines without an array are counted from 0."""
    volume = open_arrays(save(**arrays), variable="image")
    assert volume.crossline.values.tolist() == [61, 211, 231, 281]
    assert volume.inline.values.tolist() == [0, 1, 2, 3, 4]


def test_distances_are_left_out_unless_given(arrays, save):
    """Without spacing there are no metres; with it, they follow the line numbers."""
    path = save(**arrays)
    assert spacing_m(open_arrays(path, variable="image"), velocity_m_s=2000) is None
    volume = open_arrays(path, variable="image", spacing_m=(25.0, 20.0))
    assert volume.inline_m.values.tolist() == [0, 25, 50, 75, 100]
    assert volume.crossline_m.values.tolist() == [0, 3000, 3400, 4400]


def test_the_only_array_needs_no_name(arrays, save):
    """With one array of three dimensions there is nothing to choose."""
    volume = open_arrays(save(image=arrays["image"]))
    assert volume.amplitude.shape == (5, 4, 6)


def test_a_vertical_array_tells_the_samples(arrays, save):
    """An array named like the vertical axis is its coordinate."""
    samples = np.array([0.0, 2, 4, 6, 8, 10])
    volume = open_arrays(save(image=arrays["image"], time=samples), sample_interval=None)
    assert (volume.time == samples).all()


def test_the_mask_is_the_label_that_means_salt(arrays, save):
    """A variable of the same file becomes the mask."""
    volume = open_arrays(save(**arrays), variable="image", mask="label", salt_label=4)
    assert volume.salt.dtype == np.bool_
    assert np.array_equal(volume.salt, (arrays["label"] == 4).transpose(2, 0, 1))


def test_the_mask_may_be_a_second_file(arrays, save):
    """Labels of 0 and 1 in another npz file need no salt label."""
    image = save(image=arrays["image"])
    mask = save("mask.npz", salt=arrays["label"] == 4, other=arrays["image"])
    volume = open_arrays(image, mask=mask)
    assert np.array_equal(volume.salt, (arrays["label"] == 4).transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dims": None}, "Say by dims how the arrays of image.npz map to axes"),
        ({"dims": ("time", "depth", "inline")}, r"Invalid dims \('time', 'depth', 'inline'\)"),
        ({"dims": DIMS[:2]}, "Invalid dims"),
        ({"sample_interval": None}, "Say by sample_interval .* in time, in ms"),
        ({"sample_interval": 0.0}, r"Invalid sample_interval 0.0"),
        ({"spacing_m": (25.0, -1.0)}, r"Invalid spacing_m -1.0"),
        ({"spacing_m": (25.0,)}, r"Invalid spacing_m \(25.0,\). Must be two numbers"),
        ({"spacing_m": 25.0}, "Invalid spacing_m 25.0. Must be two numbers"),
        ({"spacing_m": ("25", "25")}, "Must be two numbers"),
        ({"dims": (1, 2, "time")}, r"Invalid dims \(1, 2, 'time'\)"),
        ({"vertical": "depth"}, "Invalid vertical or dims 'depth' for a file in time"),
        ({"salt_label": 4}, "Invalid salt_label 4 without mask"),
        ({"variable": None}, r"no array 'amplitude' .* image \(4, 6, 5\), label \(4, 6, 5\)"),
        ({"variable": "crossline"}, "no array 'crossline' of three dimensions"),
        ({"mask": "label"}, "The mask holds labels 1, 2, 3, 4. Say by salt_label"),
        ({"mask": "label", "salt_label": 5}, "holds no salt: label 5 is not among 1, 2, 3, 4"),
        ({"mask": "image", "salt_label": 1}, "more than 64 different values: no labels"),
    ],
)
def test_wrong_arguments_say_what_is_allowed(arrays, save, arguments, message):
    """Each wrong argument gives one line that says what to do."""
    path = save(**arrays)
    with pytest.raises(ValueError, match=message) as caught:
        open_arrays(path, **{"variable": "image", **arguments})
    assert "\n" not in str(caught.value)


def test_a_mask_that_does_not_fit_is_refused(arrays, save):
    """Another shape, other axes or no salt make no mask."""
    image = save(image=arrays["image"])
    cut = save("cut.npz", salt=np.ones((4, 6, 4), dtype=bool))
    with pytest.raises(DataError, match=r"other samples along inline: 4 from .* volume, 5 from"):
        open_arrays(image, mask=cut)
    empty = save("empty.npz", salt=np.zeros(SHAPE, dtype=bool))
    with pytest.raises(DataError, match="holds no salt: label 1 is not among 0"):
        open_arrays(image, mask=empty)


def test_masks_are_placed_by_exact_line_numbers(arrays, save):
    """Six-digit line numbers that differ by one are different lines."""
    lines = {"crossline": 100_000 + np.arange(4)}
    image = save(image=arrays["image"], **lines)
    mask = save("mask.npz", salt=arrays["label"] == 4, crossline=lines["crossline"] + 1)
    with pytest.raises(DataError, match="along crossline: 4 from 100001 to 100004"):
        open_arrays(image, mask=mask)


def test_line_numbers_that_do_not_fit_are_refused(arrays, save):
    """Five numbers for four crosslines are an error."""
    path = save(image=arrays["image"], crossline=np.arange(5))
    with pytest.raises(
        DataError, match="image has 4 samples along crossline, but crossline lists 5"
    ):
        open_arrays(path)


def test_samples_that_go_upward_are_refused(arrays, save):
    """Depth and time increase along a trace."""
    path = save(image=arrays["image"], time=-np.arange(6.0))
    with pytest.raises(DataError, match="time of samples does not increase downward"):
        open_arrays(path, sample_interval=None)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_single_bad_samples_are_refused(arrays, save, bad):
    """NaN or infinity inside a trace is an error that names its lines."""
    arrays["image"][2, 3, 4] = bad
    with pytest.raises(DataError, match="NaN or infinite amplitude at inline 4, crossline 231"):
        open_arrays(save(**arrays), variable="image")


def test_whole_traces_of_nan_are_missing(arrays, save):
    """A trace of NaN alone is a missing trace."""
    arrays["image"][2, :, 4] = np.nan
    volume = open_arrays(save(**arrays), variable="image")
    assert volume.attrs["n_missing_traces"] == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.npz", b"", "x.npz is empty"),
        ("x.npz", b"no archive", "x.npz is not npz, or truncated"),
        ("x.nc", b"no archive", "x.nc is not nc, or damaged"),
        ("x.zarr", b"no folder", "x.zarr is no folder"),
        ("x.zarr", None, "x.zarr is not zarr, or damaged"),
        ("x.sgy", None, "x.sgy is a folder"),
        ("x.csv", b"1,2", "Invalid file ending '.csv'. Must be one of: '.sgy', '.segy', '.npz'"),
    ],
)
def test_other_content_and_endings_are_told(tmp_path, name, content, message):
    """A file that is not what its name says gives one line."""
    if name == "x.nc":
        pytest.importorskip("h5py", reason="h5netcdf reads through h5py")
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        open_arrays(path)
    assert "\n" not in str(caught.value)


def test_truncated_npz_is_told(arrays, save):
    """Half an archive is no archive, and neither is one whose samples were changed."""
    path = save(**arrays)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"image.npz is not npz, or truncated"):
        open_arrays(path, variable="image")
    path.write_bytes(content[:300] + b"\xff" + content[301:])
    with pytest.raises(DataError, match=r"image.npz is not npz, or truncated"):
        open_arrays(path, variable="image")


def test_pickled_objects_are_not_unpacked(save):
    """An npz file with Python objects is refused, since unpickling runs code."""
    with pytest.raises(DataError, match=r"image.npz is not npz"):
        open_arrays(save(image=np.array([{}], dtype=object)))


def test_missing_files_are_told(tmp_path, arrays, save):
    """The path that is not there is named, for image and mask."""
    with pytest.raises(FileNotFoundError, match=r"No such file: .*nothing.sgy"):
        open_volume(tmp_path / "nothing.sgy")
    with pytest.raises(FileNotFoundError, match=r"No such file: .*nothing"):
        open_volume(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"No such file: labels. Nor .* image, label"):
        open_arrays(save(**arrays), variable="image", mask="labels")


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_salt_stored_as_numbers_is_a_mask(arrays, save, kind):
    """A variable salt of 0 and 1 is read whatever its dtype."""
    salt = arrays["label"] == 4
    volume = open_arrays(save(amplitude=arrays["image"], salt=salt.astype(kind)))
    assert np.array_equal(volume.salt, salt.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("amplitude", complex, "amplitude is of dtype complex128. Must be one of: int, unsigned"),
        ("amplitude", bool, "amplitude is of dtype bool"),
        ("amplitude", "U4", "amplitude is of dtype <U4"),
        ("velocity", complex, "velocity is of dtype complex128"),
        ("salt", complex, "mask is of dtype complex128. Must be one of: bool, int"),
        ("salt", float, "mask of dtype float64 holds more than 64 different values"),
    ],
)
def test_arrays_of_other_dtypes_are_refused(arrays, save, name, kind, message):
    """Amplitudes and velocities are real numbers, masks hold labels; the dtype is named."""
    image = {"amplitude": arrays["image"], "note": np.zeros(SHAPE)}
    with pytest.raises(DataError, match=message):
        open_arrays(save(**{**image, name: arrays["image"].astype(kind)}))


@pytest.mark.parametrize(
    ("name", "kind"), [("salt", bool), ("salt", np.uint8), ("velocity", np.float32)]
)
def test_salt_and_velocity_of_another_shape_are_refused(arrays, save, name, kind):
    """What stands beside the amplitudes has their shape."""
    path = save(amplitude=arrays["image"], **{name: np.ones((4, 6, 4), dtype=kind)})
    with pytest.raises(DataError, match=r"other samples along inline: 4 from .* volume, 5 from"):
        open_arrays(path)


def test_masks_with_nan_within_a_trace_are_refused(arrays, save):
    """A sample without label is neither salt nor background."""
    labels = (arrays["label"] == 4).astype(np.float32)
    labels[2, 3, 4] = np.nan
    with pytest.raises(DataError, match=r"NaN or infinity at inline 4, crossline 2\."):
        open_arrays(save(image=arrays["image"], label=labels), variable="image", mask="label")


@pytest.mark.parametrize("error", [MemoryError, NotImplementedError, RuntimeError, OSError])
def test_archives_that_cannot_be_unpacked_are_told(arrays, save, monkeypatch, error):
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
        ({"crossline": np.array(["a", "b", "c", "d"])}, "crossline of image holds what is no num"),
        ({"crossline": np.array([1, 2, np.nan, 4])}, "crossline of image holds what is no number"),
        ({"time": np.array([0, 4, 8, 12, 16, np.inf])}, "time of image holds what is no number"),
        ({"time": np.zeros(6, "datetime64[ms]")}, "time of image holds what is no number"),
        ({"crossline": np.array([1, 2, 2, 4])}, "Invalid crossline numbers: 2 comes 2 times"),
        ({"image": np.zeros((4, 0, 5))}, r"image is empty, of shape \(4, 0, 5\)"),
    ],
)
def test_lines_that_are_no_numbers_are_refused(arrays, save, lines, message):
    """Words, dates, NaN and infinity place nothing, and neither does an empty array."""
    with pytest.raises(ValueError, match=message):
        open_arrays(save(**{"image": arrays["image"], **lines}))


def test_encrypted_archives_are_refused(arrays, save):
    """An npz file whose members say that they are encrypted is told from a damaged one."""
    path = save(image=arrays["image"])
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"encrypted .*: File 'image.npy' is encrypted"):
        open_arrays(path)


def test_places_that_cannot_be_read_are_told(arrays, save, tmp_path, monkeypatch):
    """A file without permission, and a pipe, give one line and no wait."""
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match=r"pipe.npz is no file, but a pipe"):
        open_arrays(tmp_path / "pipe.npz")

    def refuse(*_arguments, **_options):
        raise PermissionError(13, "Permission denied")

    path = save(image=arrays["image"])
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"image.npz cannot be read: Permission denied"):
        open_arrays(path)


def test_links_are_read(arrays, save, tmp_path):
    """A link to a file is that file; one to nothing is missing."""
    link = tmp_path / "link to Höhe.npz"
    link.symlink_to(save(image=arrays["image"]))
    assert open_arrays(link).sizes["inline"] == 5
    (tmp_path / "image.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"No such file: .*link"):
        open_arrays(link)


@pytest.fixture(params=[".zarr", ".nc"])
def store(request, tmp_path):
    """A saved volume that fills its chunks, and a file that holds samples of it."""
    amplitude = np.random.default_rng(0).standard_normal((16, 16, 32))
    lines = np.arange(16)
    volume = build_volume(amplitude, inline=lines, crossline=lines, vertical=4.0 * np.arange(32))
    path = tmp_path / f"volume{request.param}"
    save_volume(volume, path)
    return path, path if path.is_file() else path / "amplitude" / "0.0.0"


def test_truncated_stores_are_told(store):
    """Half the samples are no volume."""
    path, samples = store
    content = samples.read_bytes()
    samples.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=rf"{path.name} is (damaged|not nc, or damaged)") as caught:
        open_volume(path)
    assert "\n" not in str(caught.value)


def test_stores_damaged_after_opening_are_told(store):
    """A lazy volume whose file shrinks under it says so where it is read."""
    path, samples = store
    if path.suffix == ".nc":
        pytest.skip("an open HDF5 file keeps what it has read")
    volume = open_volume(path)
    samples.write_bytes(b"short")
    with pytest.raises(DataError, match=r"volume.zarr is damaged: "):
        volume.amplitude.load()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"zarr_format": 2}', b"\xff"])
def test_stores_with_broken_metadata_are_told(store, content):
    """What describes an array must be whole."""
    path, _ = store
    if path.suffix == ".nc":
        path.write_bytes(content + b"x")
        described = "nc"
    else:
        (path / "amplitude" / ".zarray").write_bytes(content)
        described = "zarr"
    with pytest.raises(DataError, match=f"is not {described}, or damaged|has no array 'amplitude'"):
        open_volume(path)


def test_lost_chunks_are_told(tmp_path, caplog):
    """Every chunk of a saved store is written, so that one that is deleted does not go unseen."""
    amplitude = np.ones((20, 4, 8))
    lines = {"inline": range(20), "crossline": range(4), "vertical": range(8)}
    path = tmp_path / "x.zarr"
    save_volume(build_volume(amplitude, **lines, salt=amplitude > 2), path)
    assert not open_volume(path).salt.any()
    assert not caplog.text
    (path / "salt" / "1.0.0").unlink()
    open_volume(path)
    assert "x.zarr: 1 of 2 chunks of salt are not there, and read as fill" in caplog.text


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


def test_names_that_the_system_refuses_are_told():
    """A name of 5000 letters is none."""
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        open_volume("a" * 5000 + ".sgy")


@pytest.mark.real_data
def test_f3_crosslines_are_leave_one_out_folds(real_data):
    """Four labelled crosslines give training patches of three, as crossline sections only."""
    volume = open_volume(
        real_data / "f3_crosslines_4class.npz",
        variable="image",
        mask="label",
        salt_label=4,
        dims=DIMS,
        sample_interval=4.0,
        spacing_m=(25.0, 25.0),
    )
    assert dict(volume.sizes) == {"inline": 951, "crossline": 4, "time": 338}
    assert 0.05 < float(volume.salt.mean()) < 0.15
    cut = {"patch": 128, "stride": 64, "batch_size": 8, "seed": 0}
    training = select_lines(volume, "crossline", [61, 231, 281])
    batches = PatchBatches(training, **cut, axes=("crossline",))
    assert batches.n_patches == 3 * 5 * 14
    with pytest.raises(ValueError, match="for sections along inline of shape"):
        PatchBatches(training, **cut)
