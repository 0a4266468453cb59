"""Tests of saving: nothing is lost on the way or on a full disk, and little memory is held."""

import os
import tracemalloc

import h5netcdf
import h5py
import numpy as np
import pytest
import xarray as xr

from thesis_lib._volume import build_volume
from thesis_lib.data import DataError, open_volume, save_volume
from thesis_lib.data.lazy import map_samples
from thesis_lib.data.stores import count_lines


@pytest.fixture
def volume() -> xr.Dataset:
    """A depth volume with all that a volume can hold, one trace missing."""
    rng = np.random.default_rng(0)
    amplitude = rng.standard_normal((4, 5, 6))
    amplitude[1, 2] = np.nan
    return build_volume(
        amplitude,
        inline=[10, 12, 14, 16],
        crossline=np.arange(5),
        vertical=20.0 * np.arange(6),
        inline_m=25.0 * np.arange(4),
        crossline_m=12.5 * np.arange(5),
        salt=amplitude > 0,
        velocity=rng.uniform(1500, 4500, (4, 5, 6)),
        attrs={"source": "test", "seed": 3, "n_missing_traces": 1},
    )


@pytest.fixture
def make_lazy():
    """A volume of many inlines whose samples are made when they are asked for."""

    def make(n_inline=48, n_crossline=20, n_samples=24, vertical_dim="depth"):
        numbers = np.arange(n_inline * n_crossline * n_samples, dtype=np.float32)
        cube = xr.DataArray(
            np.broadcast_to(np.float32(1), (n_inline, n_crossline, n_samples)),
            dims=("inline", "crossline", vertical_dim),
        )
        return build_volume(
            map_samples(lambda samples: samples + numbers[: samples.shape[-1]], np.float32, cube),
            inline=np.arange(n_inline),
            crossline=np.arange(n_crossline),
            vertical=4.0 * np.arange(n_samples),
            vertical_dim=vertical_dim,
            salt=map_samples(lambda samples: samples > 0, np.bool_, cube),
            attrs={"source": "lazy", "n_missing_traces": 0},
        )

    return make


@pytest.mark.parametrize("n_inline", [1, 16, 40])
@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_slabs_join_without_a_seam(make_lazy, tmp_path, ending, n_inline):
    """Any number of inlines comes back, whatever the thickness of a slab."""
    volume = make_lazy(n_inline)
    save_volume(volume, tmp_path / f"volume{ending}")
    xr.testing.assert_identical(open_volume(tmp_path / f"volume{ending}"), volume)


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_a_lazy_volume_is_saved_in_little_memory(make_lazy, tmp_path, ending):
    """Saving holds less than a quarter of the samples at any time."""
    volume = make_lazy(320, 64, 128)
    save_volume(make_lazy(32), tmp_path / f"first{ending}")  # imports take memory too
    tracemalloc.start()
    save_volume(volume, tmp_path / f"volume{ending}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < volume.amplitude.nbytes / 4


def test_a_volume_of_turned_axes_is_saved(volume, tmp_path):
    """Whatever the order of dims, the store has inline, crossline, depth."""
    save_volume(volume.transpose("depth", "crossline", "inline"), tmp_path / "turned.nc")
    xr.testing.assert_identical(open_volume(tmp_path / "turned.nc"), volume)


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_chunks_suit_sections_of_both_directions(make_lazy, tmp_path, ending):
    """A chunk is as thick along inlines as along crosslines and holds whole traces."""
    path = tmp_path / f"volume{ending}"
    save_volume(make_lazy(), path)
    chunks = open_store(path).amplitude.encoding["preferred_chunks"]
    assert chunks == {"inline": 16, "crossline": 16, "depth": 24}


def open_store(path):
    """Open as any user of xarray would, with its defaults."""
    return xr.open_zarr(path) if path.suffix == ".zarr" else xr.open_dataset(path)


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_stores_follow_the_cf_conventions(volume, tmp_path, ending):
    """Axes, units and the direction of depth are told as other software expects them."""
    path = tmp_path / f"volume{ending}"
    save_volume(volume, path)
    with open_store(path) as store:
        assert store.attrs["Conventions"].startswith("CF-")
        assert [store[dim].attrs["axis"] for dim in store.amplitude.dims] == ["Y", "X", "Z"]
        assert (store.depth.attrs["positive"], store.depth.attrs["standard_name"]) == (
            "down",
            "depth",
        )
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
    """What xarray shows as booleans is int8 with its meanings; only amplitudes have a fill."""
    save_volume(volume, tmp_path / "volume.nc")
    with h5py.File(tmp_path / "volume.nc") as file:
        assert file["salt"].dtype == np.int8
        assert file["salt"].attrs["flag_values"].tolist() == [0, 1]
        assert file["salt"].attrs["flag_values"].dtype == np.int8
        assert file["salt"].attrs["flag_meanings"] == "background salt"
        filled = {name for name, array in file.items() if "_FillValue" in array.attrs}
        assert filled == {"amplitude", "velocity"}


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_time_stays_a_number_of_milliseconds(make_lazy, tmp_path, ending):
    """Two-way time is neither a date nor a duration for xarray's defaults, but a depth in ms."""
    path = tmp_path / f"time{ending}"
    save_volume(make_lazy(3, vertical_dim="time"), path)
    with open_store(path) as store:
        assert store.time.dtype == np.float64
        assert store.time.values[:3].tolist() == [0, 4, 8]
        assert (store.time.attrs["units"], store.time.attrs["axis"]) == ("ms", "Z")
    assert open_volume(path).time.dtype == np.float64


@pytest.mark.parametrize("name", ["Salz der Höhe 3.zarr", "Salz der Höhe 3.nc", "a b.SGY"])
def test_names_with_spaces_and_accents_are_kept(volume, tmp_path, name):
    """Such a name is written and read like any other."""
    save_volume(volume, str(tmp_path / name))
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert open_volume(tmp_path / name).sizes["inline"] == 4


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_a_link_is_followed(volume, tmp_path, ending):
    """Saving to a link replaces what it points to, beside which the new file grows."""
    (tmp_path / "disk").mkdir()
    target, link = tmp_path / "disk" / f"target{ending}", tmp_path / f"link{ending}"
    link.symlink_to(target)
    for block in (volume.isel(inline=[0]), volume):
        save_volume(block, link)
    assert link.is_symlink()
    xr.testing.assert_identical(open_volume(target), volume)
    xr.testing.assert_equal(open_volume(link), volume)


@pytest.mark.parametrize("ending", [".zarr", ".nc", ".sgy"])
def test_what_a_killed_writer_left_is_no_trouble(volume, tmp_path, ending):
    """Half a file and half a folder of the temporary names are replaced, and are gone."""
    path = tmp_path / f"volume{ending}"
    save_volume(volume, path)
    if ending == ".zarr":
        for name in ("partial", "replaced"):
            (tmp_path / f".{path.name}.{name}").mkdir()
            (tmp_path / f".{path.name}.{name}" / "zarr.json").write_text("{")
    else:
        (tmp_path / f".{path.name}.partial").write_bytes(b"half")
    save_volume(volume, path)
    assert list(tmp_path.iterdir()) == [path]
    assert open_volume(path, vertical="depth").sizes == volume.sizes


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("ending", [".zarr", ".nc", ".sgy"])
def test_a_failed_save_leaves_the_old_file(make_lazy, tmp_path, monkeypatch, stop, ending):
    """Neither a full disk nor an interrupt after the first slab harms what was there."""

    def fail(*_arguments, **_options):
        raise stop

    volume = make_lazy()
    path = tmp_path / f"volume{ending}"
    save_volume(volume, path)
    to_zarr = xr.Dataset.to_zarr
    monkeypatch.setattr(
        xr.Dataset,
        "to_zarr",
        lambda *given, **options: (fail if "append_dim" in options else to_zarr)(*given, **options),
    )
    monkeypatch.setattr(h5netcdf.File, "resize_dimension", fail)
    monkeypatch.setattr("segyio.SegyFile.header", property(fail))
    with pytest.raises(type(stop)):
        save_volume(volume, path)
    assert list(tmp_path.iterdir()) == [path]
    monkeypatch.undo()
    assert open_volume(path, vertical="depth").amplitude.equals(volume.amplitude)


@pytest.mark.parametrize("name", ["x.nc", "x.sgy", "x.zarr"])
def test_a_folder_is_no_file_to_save_to(volume, tmp_path, name):
    """A folder is not replaced by a file, nor a file by a folder."""
    if name == "x.zarr":
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=rf"{name} is (a|no) folder"):
        save_volume(volume, tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["x.nc", "x.sgy", "x.zarr"])
def test_a_folder_that_cannot_be_written_to_is_told(volume, tmp_path, name):
    """The error of the system passes, and nothing is left."""
    tmp_path.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write to any folder")
        with pytest.raises(OSError, match="ermission denied"):
            save_volume(volume, tmp_path / name)
    finally:
        tmp_path.chmod(0o700)
    assert not list(tmp_path.iterdir())


def test_a_volume_is_saved_over_its_own_file(volume, tmp_path):
    """A lazy volume may replace the store that it is read from."""
    for name in ("volume.zarr", "volume.nc"):
        save_volume(volume, tmp_path / name)
        save_volume(open_volume(tmp_path / name), tmp_path / name)
        xr.testing.assert_identical(open_volume(tmp_path / name), volume)


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_what_is_saved_opens_the_same(volume, tmp_path, ending):
    """Variables, coordinates, attributes and hash come back, lazily; saving again replaces."""
    path = tmp_path / f"volume{ending}"
    save_volume(volume.isel(inline=[0]), path)
    save_volume(volume, path)
    again = open_volume(path)
    assert not again.amplitude.variable._in_memory
    xr.testing.assert_identical(again, volume)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name]


def test_stores_of_other_names_open_by_argument(volume, tmp_path):
    """Names of dims and variable of a foreign store are said by argument."""
    foreign = volume[["amplitude"]].rename(inline="y", crossline="x", depth="z", amplitude="seis")
    foreign.drop_vars(["inline_m", "crossline_m"]).to_zarr(
        tmp_path / "foreign.zarr", consolidated=False
    )
    with pytest.raises(DataError, match=r"seis has dims \('y', 'x', 'z'\). Say by dims"):
        open_volume(tmp_path / "foreign.zarr")
    again = open_volume(tmp_path / "foreign.zarr", dims=("inline", "crossline", "depth"))
    assert again.amplitude.equals(volume.amplitude.drop_vars(["inline_m", "crossline_m"]))


def test_a_store_is_a_mask_for_another(volume, tmp_path):
    """The variable salt of a second store is taken."""
    save_volume(volume.drop_vars("salt"), tmp_path / "image.zarr")
    save_volume(volume, tmp_path / "mask.zarr")
    assert "salt" not in open_volume(tmp_path / "image.zarr")
    again = open_volume(tmp_path / "image.zarr", mask=tmp_path / "mask.zarr")
    assert again.salt.equals(volume.salt)


def test_own_names_of_axes_are_kept(volume, tmp_path):
    """The dims said for an image do not rename the axes of a mask that has our names."""
    cubic = volume.isel(crossline=slice(4), depth=slice(4))
    save_volume(cubic, tmp_path / "mask.zarr")
    dims = ("depth", "crossline", "inline")
    image = tmp_path / "image.npz"
    lines = {dim: cubic[dim].values for dim in dims}
    np.savez(image, image=cubic.amplitude.transpose(*dims).values, **lines)
    again = open_volume(image, dims=dims, mask=tmp_path / "mask.zarr")
    assert again.salt.equals(cubic.salt.drop_vars(["inline_m", "crossline_m"]))


def test_saving_checks_its_arguments(volume, tmp_path):
    """Endings, variables and an original are checked before anything is written."""
    with pytest.raises(ValueError, match=r"Invalid file ending '.npz'"):
        save_volume(volume, tmp_path / "x.npz")
    with pytest.raises(ValueError, match="Invalid variable 'probability'"):
        save_volume(volume, tmp_path / "x.sgy", variable="probability")
    with pytest.raises(ValueError, match=r"Invalid like 'y.sgy' for x.nc. Must go with SEG-Y"):
        save_volume(volume, tmp_path / "x.nc", like="y.sgy")
    with pytest.raises(FileNotFoundError, match=r"No such file: y.sgy"):
        save_volume(volume, tmp_path / "x.sgy", like="y.sgy")
    with pytest.raises(FileNotFoundError, match=r"No such folder: .*nowhere"):
        save_volume(volume, tmp_path / "nowhere" / "x.nc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_chunks_are_checked_whole_and_lines_alone(make_lazy, tmp_path, ending):
    """A store is read by the inlines of a chunk, 16 at most; what has no chunks by one."""
    volume = make_lazy()
    save_volume(volume, tmp_path / f"volume{ending}")
    with open_store(tmp_path / f"volume{ending}") as store:
        assert count_lines(store.amplitude) == 16
    assert count_lines(volume.amplitude) == 1
    volume.amplitude.encoding["preferred_chunks"] = {"inline": 400}
    assert count_lines(volume.amplitude) == 16


@pytest.mark.parametrize("ending", [".zarr", ".nc"])
def test_volumes_of_dask_are_saved(volume, tmp_path, ending):
    """Chunks of dask need not be those of the file."""
    path = tmp_path / f"volume{ending}"
    save_volume(volume.chunk(inline=3, depth=4), path)
    xr.testing.assert_identical(open_volume(path), volume)


def test_what_is_no_volume_is_not_saved(volume, tmp_path):
    """A single array, a volume without lines and other data are refused."""
    with pytest.raises(TypeError, match=r"of type DataArray\. Must be a Dataset"):
        save_volume(volume.amplitude, tmp_path / "x.nc")
    for other in (volume.isel(inline=[]), volume.isel(crossline=0), xr.Dataset()):
        with pytest.raises(ValueError, match=r"Invalid volume of sizes .* Must have lines"):
            save_volume(other, tmp_path / "x.zarr")
    assert not list(tmp_path.iterdir())
