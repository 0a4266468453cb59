"""Tests of saving: nothing is lost on the way or on a full disk, and little memory is held."""

import os
import tracemalloc

import dask.array as da
import h5py
import numpy as np
import pytest
import xarray as xr

from saltvolumes import DataError, open_volume, save_volume
from saltvolumes._files import replace_when_done
from saltvolumes.volume import build_volume


@pytest.fixture(params=[".zarr", ".nc"])
def path(request, tmp_path):
    """Where a store goes: a name with a space and an accent."""
    return tmp_path / f"Salz der Höhe 3{request.param}"


@pytest.fixture
def volume():
    """A depth volume with all that a volume can hold, one trace missing."""
    amplitude = np.random.default_rng(0).standard_normal((4, 5, 6))
    amplitude[1, 2] = np.nan
    lines = {"inline": [10, 12, 14, 16], "crossline": range(5), "vertical": 20.0 * np.arange(6)}
    lines |= {"inline_m": 25.0 * np.arange(4), "crossline_m": 12.5 * np.arange(5)}
    velocity, salt = np.linspace(1500, 4500, 120).reshape(4, 5, 6), amplitude > 0
    attrs = {"source": "test", "seed": 3, "n_missing_traces": 1}
    return build_volume(amplitude, **lines, salt=salt, velocity=velocity, attrs=attrs)


def make_lazy(n_inline=48, n_crossline=20, n_samples=24, vertical_dim="depth"):
    """A volume of many inlines whose samples are made when they are asked for."""
    shape, samples = (n_inline, n_crossline, n_samples), np.arange(n_samples, dtype=np.float32)
    amplitude = da.ones(shape, np.float32, chunks=(5, -1, -1)) + samples
    lines = {"inline": range(n_inline), "crossline": range(n_crossline), "vertical": 4.0 * samples}
    attrs = {"source": "lazy", "n_missing_traces": 0}
    salt = amplitude > 0
    return build_volume(amplitude, **lines, vertical_dim=vertical_dim, salt=salt, attrs=attrs)


def open_store(path):
    """Open as any user of xarray would, with its defaults."""
    return xr.open_zarr(path) if path.suffix == ".zarr" else xr.open_dataset(path)


def test_blocks_join_without_a_seam(path):
    """Any number of inlines comes back, whatever the blocks, and in chunks of whole traces."""
    for n_inline in (1, 16, 40):
        volume = make_lazy(n_inline)
        save_volume(volume, path)
        xr.testing.assert_identical(open_volume(path), volume)
    chunks = open_store(path).amplitude.encoding["preferred_chunks"]
    assert chunks == {"inline": 16, "crossline": 16, "depth": 24}


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_a_lazy_volume_is_saved_in_little_memory(tmp_path, ending):
    """Saving holds less than a quarter of the samples at any time."""
    volume = make_lazy(640, 64, 512)  # large compared with uncollected garbage
    save_volume(make_lazy(32), tmp_path / f"first{ending}")  # imports take memory too
    tracemalloc.start()
    save_volume(volume, tmp_path / f"volume{ending}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < volume.amplitude.nbytes / 4


def test_stores_follow_the_cf_conventions(volume, path):
    """Axes, units and the direction of depth are stated as other software expects them."""
    save_volume(volume, path)
    with open_store(path) as store:
        assert store.attrs["Conventions"].startswith("CF-")
        assert [store[dim].attrs["axis"] for dim in store.amplitude.dims] == ["Y", "X", "Z"]
        assert store.depth.attrs["positive"] == "down"
        assert store.depth.attrs["standard_name"] == "depth"
        assert {name: array.attrs.get("units") for name, array in store.variables.items()} == {
            **{"inline": "1", "crossline": "1", "depth": "m", "inline_m": "m", "crossline_m": "m"},
            **{"amplitude": "1", "velocity": "m/s", "salt": None},
        }
        assert all("long_name" in array.attrs for array in store.variables.values())
        assert set(store.amplitude.encoding["coordinates"].split()) == {"inline_m", "crossline_m"}
        assert store.salt.dtype == bool
        assert store.salt.equals(volume.salt)
        assert np.isnan(store.amplitude.encoding["_FillValue"])
        assert np.isnan(store.amplitude[1, 2]).all()


def test_masks_are_flags_and_coordinates_have_no_gaps(volume, tmp_path):
    """What xarray shows as booleans is int8 with its meanings; only samples have a fill value."""
    save_volume(volume, tmp_path / "volume.nc")
    with h5py.File(tmp_path / "volume.nc") as file:
        flags = file["salt"].attrs
        assert file["salt"].dtype == flags["flag_values"].dtype == np.int8
        assert flags["flag_values"].tolist() == [0, 1]
        assert flags["flag_meanings"] == "background salt"
        filled = {name for name, array in file.items() if "_FillValue" in array.attrs}
        assert filled == {"amplitude", "velocity"}


def test_time_stays_a_number_of_milliseconds(path):
    """Two-way time is neither a date nor a duration for xarray's defaults, but a depth in ms."""
    save_volume(make_lazy(3, vertical_dim="time"), path)
    with open_store(path) as store:
        assert store.time.dtype == np.float64
        assert store.time.values[:3].tolist() == [0, 4, 8]
        assert (store.time.attrs["units"], store.time.attrs["axis"]) == ("ms", "Z")
    assert open_volume(path).time.dtype == np.float64


def test_a_link_is_followed(volume, path):
    """Saving to a link replaces what it points to, next to which the new file grows."""
    link = path.with_name(f"link{path.suffix}")
    link.symlink_to(path)
    for block in (volume.isel(inline=[0]), volume):
        save_volume(block, link)
    assert link.is_symlink()
    xr.testing.assert_identical(open_volume(path), volume)
    xr.testing.assert_equal(open_volume(link), volume)


@pytest.mark.parametrize("ending", [".zarr", ".nc", ".sgy"])
def test_what_a_killed_writer_left_is_no_trouble(volume, tmp_path, ending):
    """Half a file and half a folder of the temporary names are replaced, and are gone."""
    path = tmp_path / f"Höhe 3{ending.upper()}"
    save_volume(volume, path)
    for name in ("partial", "replaced") if ending == ".zarr" else ("partial",):
        left = tmp_path / f".{path.name}.{name}"
        left.mkdir() if path.is_dir() else left.write_bytes(b"half")
    save_volume(volume, path)
    assert list(tmp_path.iterdir()) == [path]
    assert open_volume(path, vertical="depth").sizes == volume.sizes


def test_a_folder_that_was_moved_aside_gets_its_name_again(tmp_path):
    """A kill between the two steps of a replacement leaves the old folder next to its name."""
    (tmp_path / ".store.replaced").mkdir()
    with pytest.raises(KeyError), replace_when_done(tmp_path / "store"):
        raise KeyError
    assert list(tmp_path.iterdir()) == [tmp_path / "store"]


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("ending", [".zarr", ".nc", ".sgy"])
def test_a_failed_save_leaves_the_old_file(tmp_path, stop, ending):
    """Neither a full disk nor an interrupt after the first block harms what was there."""

    def fail(samples, block_info):
        if block_info[0]["chunk-location"][0] == 2:
            raise stop
        return samples

    volume = make_lazy()
    path = tmp_path / f"volume{ending}"
    save_volume(volume, path)
    broken = volume.amplitude.copy(data=volume.amplitude.data.map_blocks(fail, dtype=np.float32))
    with pytest.raises(type(stop)):
        save_volume(volume.assign(amplitude=broken), path)
    assert list(tmp_path.iterdir()) == [path]
    assert open_volume(path, vertical="depth").amplitude.equals(volume.amplitude)


@pytest.mark.parametrize("name", ["x.nc", "x.sgy", "x.zarr"])
def test_where_nothing_can_be_saved(volume, tmp_path, name):
    """A folder replaces no file, nor the reverse; an error of the system passes."""
    (tmp_path / name).touch() if name == "x.zarr" else (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"{name} is (not )?a folder"):
        save_volume(volume, tmp_path / name)
    tmp_path.chmod(0o500)
    try:
        if not os.access(tmp_path, os.W_OK):  # some users may write to any folder
            with pytest.raises(OSError, match="ermission denied"):
                save_volume(volume, tmp_path / f"new {name}")
    finally:
        tmp_path.chmod(0o700)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_what_is_saved_opens_the_same(volume, path):
    """All comes back, lazily, whatever the order of dims; a file may be saved over itself."""
    save_volume(volume.isel(inline=[0]), path)
    save_volume(volume.transpose("depth", "crossline", "inline"), path)
    again = open_volume(path)
    assert again.amplitude.chunks
    save_volume(again, path)
    xr.testing.assert_identical(open_volume(path), volume)
    save_volume(volume.chunk(inline=3, depth=4), path)  # not the chunks of the file
    xr.testing.assert_identical(open_volume(path), volume)
    assert list(path.parent.iterdir()) == [path]


def test_a_store_is_a_mask_for_another(volume, tmp_path):
    """The variable salt of a second store is taken; dims given for an image are not for it."""
    volume = volume.isel(crossline=slice(4), depth=slice(4))
    save_volume(volume.drop_vars("salt"), tmp_path / "image.zarr")
    save_volume(volume, tmp_path / "mask.zarr")
    assert "salt" not in open_volume(tmp_path / "image.zarr")
    again = open_volume(tmp_path / "image.zarr", mask=tmp_path / "mask.zarr")
    assert again.salt.equals(volume.salt)
    image, dims = tmp_path / "image.npz", ("depth", "crossline", "inline")
    lines = {dim: volume[dim].values for dim in dims}
    np.savez(image, image=volume.amplitude.transpose(*dims).values, **lines)
    again = open_volume(image, dims=dims, mask=tmp_path / "mask.zarr")
    assert again.salt.equals(volume.salt.drop_vars(["inline_m", "crossline_m"]))


def test_saving_checks_its_arguments(volume, tmp_path):
    """Endings, variables, an original and data are checked before anything is written."""
    for name, given, error, message in (
        ("x.npz", {}, ValueError, "Invalid file ending '.npz'"),
        ("x.sgy", {"variable": "probability"}, ValueError, "Invalid variable 'probability'"),
        ("x.nc", {"like": "y.sgy"}, ValueError, "Invalid like 'y.sgy' for x.nc. Must go with SEG-"),
        ("x.sgy", {"like": "y.sgy"}, FileNotFoundError, "No such file: y.sgy"),
        ("nowhere/x.nc", {}, FileNotFoundError, "No such folder: .*nowhere"),
    ):
        with pytest.raises(error, match=message):
            save_volume(volume, tmp_path / name, **given)
    with pytest.raises(TypeError, match=r"of type DataArray\. Must be a Dataset"):
        save_volume(volume.amplitude, tmp_path / "x.nc")
    for other in (volume.isel(inline=[]), volume.isel(crossline=0), xr.Dataset()):
        with pytest.raises(ValueError, match=r"Invalid volume of sizes .* Must have lines"):
            save_volume(other, tmp_path / "x.zarr")
    assert not list(tmp_path.iterdir())
