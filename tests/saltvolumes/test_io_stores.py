"""Tests of volumes in stores as other software writes them: units, trace masks, plain arrays."""

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from saltvolumes import DataError, open_volume, save_volume
from saltvolumes.volume import build_volume, spacing_m

DIMS = ("inline", "crossline", "time")
SAMPLES = np.random.default_rng(0).integers(0, 9, (3, 4, 5)).astype(np.float32)


def write(path, vertical="time", *, units=None, positive=None, values=(0, 1, 2, 3, 4), **more):
    """Write samples, and what else is given, with units and direction of the vertical axis."""
    stated = {"units": units, "positive": positive}
    attrs = {name: value for name, value in stated.items() if value is not None}
    dims = ("inline", "crossline", vertical)
    store = xr.Dataset(
        {"amplitude": (dims, SAMPLES), **more}, {vertical: (vertical, np.array(values), attrs)}
    )
    if path.suffix == ".nc":
        store.to_netcdf(path, engine="h5netcdf")
    else:
        store.to_zarr(path, zarr_format=2, consolidated=False)
    return path


@pytest.mark.parametrize("name", ["x.nc", "x.zarr"])
@pytest.mark.parametrize(
    ("vertical", "units", "values", "expected"),
    [
        ("time", "ms", [0, 4, 8, 12, 16], 4),
        ("time", "s", [0, 0.004, 0.008, 0.012, 0.016], 4),
        ("time", "Seconds", [0, 0.029, 0.058, 0.087, 0.116], 29),
        ("time", "us", [0, 500, 1000, 1500, 2000], 0.5),
        ("depth", "m", [0, 10, 20, 30, 40], 10),
        ("depth", "km", [0, 0.01, 0.02, 0.03, 0.04], 10),
        ("depth", "feet", [0, 100, 200, 300, 400], 30.48),
        ("depth", None, [0, 10, 20, 30, 40], 10),
    ],
)
def test_units_of_axes_are_converted(tmp_path, name, vertical, units, values, expected):
    """Seconds, kilometres and feet become ms and m; without a unit they are those."""
    path = write(tmp_path / name, vertical, units=units, values=values)
    axis = open_volume(path)[vertical]
    assert axis.values.tolist() == pytest.approx((expected * np.arange(5)).tolist(), abs=1e-9)
    assert axis.attrs["units"] == ("ms" if vertical == "time" else "m")
    start = open_volume(
        write(tmp_path / f"2{name}", vertical, units=units, values=np.add(values, 1))
    )
    interval = open_volume(tmp_path / f"2{name}", sample_interval=7.0)[vertical]
    assert interval.values[0] == start[vertical].values[0]
    assert interval.values[1] - interval.values[0] == pytest.approx(7)


@pytest.mark.parametrize(
    ("values", "flipped"), [([0, -10, -20, -30, -40], False), ([-40, -30, -20, -10, 0], True)]
)
def test_heights_become_depths(tmp_path, values, flipped):
    """Elevations, positive up, are depths downward, the shallowest sample first."""
    path = write(tmp_path / "x.nc", "depth", units="m", positive="up", values=values)
    volume = open_volume(path)
    assert volume.depth.values.tolist() == [0, 10, 20, 30, 40]
    assert volume.depth.attrs["positive"] == "down"
    assert np.array_equal(volume.amplitude, SAMPLES[..., ::-1] if flipped else SAMPLES)


@pytest.mark.parametrize(
    ("vertical", "attrs", "message"),
    [
        ("time", {"units": "m"}, r"x.nc: time is in 'm'. Must be in one of: ms, msec, "),
        ("time", {"units": "days since 1970-01-01"}, r"time is in 'days since"),
        ("depth", {"units": "ms"}, r"depth is in 'ms'. Must be in one of: m, metre"),
        ("depth", {"positive": "north"}, r"depth is positive 'north'. Must be 'down' or 'up'"),
    ],
)
def test_unknown_units_are_refused(tmp_path, vertical, attrs, message):
    """A unit is never passed over."""
    with pytest.raises(DataError, match=message):
        open_volume(write(tmp_path / "x.nc", vertical, **attrs))


def test_distances_in_kilometres_are_metres(tmp_path):
    """Distances between lines have a unit too."""
    km = {"units": "km"}
    volume = xr.Dataset({"amplitude": (DIMS, SAMPLES)}, {"time": 4.0 * np.arange(5)})
    volume = volume.assign_coords(
        inline_m=("inline", 0.025 * np.arange(3), km),
        crossline_m=("crossline", 0.0125 * np.arange(4), km),
    )
    volume.to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    found = spacing_m(open_volume(tmp_path / "x.nc"), velocity_m_s=2000)
    assert found == pytest.approx((25, 12.5, 4))


@pytest.mark.parametrize(
    ("units", "salt"),
    [("m/s", 4480), ("km/s", 4.48), ("ft/s", 14698.16), ("km s-1", 4.48), ("", 4480)],
)
def test_velocities_are_converted(tmp_path, units, salt):
    """Salt of 4480 m/s is salt in any unit, as a mask and as a variable."""
    velocity = np.where(SAMPLES > 4, salt, salt / 2).astype(np.float32)
    more = {"velocity": (DIMS, velocity, {"units": units})}
    path = write(tmp_path / "x.zarr", values=4 * np.arange(5), **more)
    volume = open_volume(path, mask="velocity", salt_velocity_m_s=(4479, 4481))
    assert np.array_equal(volume.salt, SAMPLES > 4)
    assert volume.velocity.max() == pytest.approx(4480)
    write(tmp_path / "bad.zarr", velocity=(DIMS, velocity, {"units": "slowness"}))
    with pytest.raises(DataError, match=r"velocity is in 'slowness'. Must be in one of: m/s"):
        open_volume(tmp_path / "bad.zarr")


@pytest.mark.parametrize("kind", [bool, np.int8, np.float32])
@pytest.mark.parametrize("name", ["x.nc", "x.zarr", "x.npz"])
def test_a_trace_mask_tells_missing_traces(tmp_path, name, kind):
    """Where it is 0 there is no trace, whatever the amplitudes there are."""
    live = np.ones((3, 4), kind)
    live[1, 2] = 0
    path = tmp_path / name
    if name == "x.npz":
        np.savez(path, amplitude=SAMPLES, label=SAMPLES > 4, trace_mask=live)
    else:
        more = {"label": (DIMS, SAMPLES > 4), "trace_mask": (("crossline", "inline"), live.T)}
        write(path, values=4 * np.arange(5), **more)
    volume = open_volume(path, variable="amplitude", mask="label", dims=DIMS, sample_interval=4.0)
    expected = SAMPLES.copy()
    expected[1, 2] = np.nan
    assert np.array_equal(volume.amplitude, expected, equal_nan=True)
    assert volume.attrs["n_missing_traces"] == 1


def test_a_trace_mask_of_other_values_is_refused(tmp_path):
    """What is neither 0 nor 1 tells nothing."""
    more = {"trace_mask": (("inline", "crossline"), np.full((3, 4), 2))}
    with pytest.raises(DataError, match=r"x.nc: a trace mask must be 0 or 1 on each trace"):
        open_volume(write(tmp_path / "x.nc", **more))


def test_a_store_of_other_dims_has_its_trace_mask(tmp_path):
    """The mask has the names of its store, which dims translate."""
    live = np.ones((4, 3), int)
    live[2, 1] = 0
    store = xr.Dataset({"seis": (("y", "x", "z"), SAMPLES), "trace_mask": (("x", "y"), live)})
    store.to_zarr(tmp_path / "x.zarr", zarr_format=2, consolidated=False)
    volume = open_volume(tmp_path / "x.zarr", dims=DIMS, sample_interval=4.0)
    assert np.argwhere(np.isnan(volume.amplitude[..., 0].values)).tolist() == [[1, 2]]


def test_coordinates_that_are_not_used_may_be_anything(tmp_path):
    """Positions with NaN, names of lines and a date refuse no volume."""
    store = xr.Dataset({"amplitude": (DIMS, SAMPLES)}, {"time": 4.0 * np.arange(5)})
    store = store.assign_coords(
        cdp_x=(("inline", "crossline"), np.full((3, 4), np.nan)),
        well=("inline", np.array(["a", "b", "c"])),
        depth=np.nan,
    )
    for name in ("x.nc", "x.zarr"):
        path = tmp_path / name
        store.to_netcdf(path, engine="h5netcdf") if name == "x.nc" else store.to_zarr(
            path, consolidated=False, zarr_format=2
        )
        volume = open_volume(path)
        assert np.array_equal(volume.amplitude, SAMPLES)
        assert set(volume.coords) == set(DIMS)
        save_volume(volume, tmp_path / f"again {name}")


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("alone", [True, False])
def test_plain_zarr_arrays_are_opened_by_dims(tmp_path, alone, zarr_format):
    """An array without names of its axes is a volume once they are given; a group has lines too."""
    path = tmp_path / "x.zarr"
    if alone:
        zarr.save_array(path, SAMPLES, zarr_format=zarr_format)
    else:
        group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
        for name, values in {"seis": SAMPLES, "crossline": np.arange(4) + 7}.items():
            group.create_array(name, data=values)
    with pytest.raises(
        DataError, match=r"holds plain arrays, .*\(3, 4, 5\).* Name their axes by dims"
    ):
        open_volume(path, sample_interval=4.0)
    volume = open_volume(path, dims=DIMS, sample_interval=4.0)
    assert volume.amplitude.chunks
    assert np.array_equal(volume.amplitude, SAMPLES)
    assert volume.crossline.values.tolist() == list(range(4) if alone else range(7, 11))


@pytest.mark.parametrize("name", ["x.nc", "x.zarr"])
def test_groups_within_a_store_are_named(tmp_path, name):
    """Arrays in groups are taken by group and name, the only one by itself."""
    volume = build_volume(SAMPLES, inline=range(3), crossline=range(4), vertical=range(5))
    two = volume.assign(other=volume.amplitude)
    for path, part in ((tmp_path / name, volume), (tmp_path / f"two {name}", two)):
        if path.suffix == ".nc":
            part.to_netcdf(path, engine="h5netcdf", group="data/stack")
        else:
            part.to_zarr(path, consolidated=False, zarr_format=2, group="data/stack")
    assert np.array_equal(open_volume(tmp_path / name).amplitude, SAMPLES)
    with pytest.raises(DataError, match=r"Must be one of: .*data/stack/amplitude \(3, 4, 5\)"):
        open_volume(path)
    assert np.array_equal(open_volume(path, variable="data/stack/amplitude").amplitude, SAMPLES)


def test_netcdf_3_is_opened(tmp_path):
    """The older format holds the same volume; half of it is damaged."""
    store = xr.Dataset({"amplitude": (DIMS, SAMPLES)}, {"time": ("time", [0.0, 4, 8, 12, 16])})
    store.to_netcdf(tmp_path / "x.nc", engine="scipy")
    assert (tmp_path / "x.nc").read_bytes()[:3] == b"CDF"
    assert np.array_equal(open_volume(tmp_path / "x.nc").amplitude, SAMPLES)
    (tmp_path / "x.nc").write_bytes((tmp_path / "x.nc").read_bytes()[:200])
    with pytest.raises(DataError, match=r"x.nc is not nc, or damaged"):
        open_volume(tmp_path / "x.nc")


@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_arrays_are_opened_by_dims(tmp_path, order):
    """A .npy file is a volume, read lazily, once its axes are named; so is a mask."""
    path, mask = tmp_path / "x.npy", tmp_path / "mask.npy"
    np.save(path, np.asarray(SAMPLES.T, order=order))
    np.save(mask, SAMPLES.T > 4)
    volume = open_volume(path, mask=mask, dims=DIMS[::-1], sample_interval=4.0)
    assert volume.amplitude.chunks
    assert np.array_equal(volume.amplitude, SAMPLES)
    assert np.array_equal(volume.salt, SAMPLES > 4)


@pytest.mark.parametrize(
    ("array", "dims", "message"),
    [
        (SAMPLES, None, r"Invalid dims None. Must name the axes of the arrays of x.npy"),
        (SAMPLES[0], DIMS, r"x.npy has the shape \(4, 5\). Must have three dimensions"),
        (np.array([{}]), DIMS, r"x.npy is not npy, or truncated, or holds objects"),
    ],
)
def test_other_npy_arrays_are_refused(tmp_path, array, dims, message):
    """Axes are named, and are three."""
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ValueError, match=message):
        open_volume(tmp_path / "x.npy", dims=dims, sample_interval=4.0)
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-8])
    with pytest.raises(ValueError, match="not npy" if dims else "Invalid dims"):
        open_volume(tmp_path / "x.npy", dims=dims, sample_interval=4.0)


def test_other_hdf5_files_are_told(tmp_path):
    """An array of HDF5 without names of its axes is opened by dims."""
    with h5py.File(tmp_path / "x.nc", "w") as file:
        file["seis"] = SAMPLES
    with pytest.raises(DataError, match=r"seis has dims .* Name them by dims"):
        open_volume(tmp_path / "x.nc")
    volume = open_volume(tmp_path / "x.nc", dims=DIMS, sample_interval=4.0)
    assert np.array_equal(volume.amplitude, SAMPLES)


def test_an_axis_twice_is_refused(tmp_path):
    """A damaged NetCDF-3 whose amplitude has one axis twice is refused, whatever dims are given."""
    path = tmp_path / "x.nc"
    dims = ("inline", "crossline", "time")
    cube = xr.DataArray(np.zeros((3, 3, 3), np.float32), dims=dims)
    cube.to_dataset(name="amplitude").to_netcdf(path, engine="scipy")
    content = path.read_bytes()
    axes = np.arange(3, dtype=">i4").tobytes()  # the dims of the amplitude, by number
    assert content.count(axes) == 1
    path.write_bytes(content.replace(axes, np.array([0, 1, 0], ">i4").tobytes()))
    for options in ({}, {"dims": DIMS, "sample_interval": 4.0}):
        with pytest.raises(DataError, match=r"amplitude has dims .* Must be different"):
            open_volume(path, **options)
