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


def write(path, vertical="time", *, attrs=None, values=(0, 4, 8, 12, 16), more=None, coords=None):
    """Write samples, and what else is given, with attributes of the vertical axis."""
    dims = ("inline", "crossline", vertical)
    axis = {vertical: (vertical, np.array(values), attrs or {})}
    store = xr.Dataset({"amplitude": (dims, SAMPLES), **(more or {})}, axis | (coords or {}))
    if path.suffix == ".nc":
        store.to_netcdf(path, engine="h5netcdf")
    else:
        store.to_zarr(path, zarr_format=2, consolidated=False)
    return path


@pytest.mark.parametrize("name", ["x.nc", "x.zarr"])
@pytest.mark.parametrize(
    ("vertical", "units", "step", "expected"),
    [
        ("time", "ms", 4, 4),
        ("time", "s", 0.004, 4),
        ("time", "Seconds", 0.029, 29),
        ("time", "us", 500, 0.5),
        ("depth", "m", 10, 10),
        ("depth", "km", 0.01, 10),
        ("depth", "feet", 100, 30.48),
        ("depth", None, 10, 10),
    ],
)
def test_units_of_axes_are_converted(tmp_path, name, vertical, units, step, expected):
    """Seconds, kilometres and feet become ms and m; without a unit they are those."""
    attrs = {} if units is None else {"units": units}
    path = write(tmp_path / name, vertical, attrs=attrs, values=step * np.arange(1, 6))
    axis = open_volume(path)[vertical]
    assert axis.values == pytest.approx(expected * np.arange(1, 6), abs=1e-9)
    assert axis.attrs["units"] == ("ms" if vertical == "time" else "m")
    given = open_volume(path, sample_interval=7.0)[vertical].values
    assert given == pytest.approx(axis.values[0] + 7 * np.arange(5))


def test_heights_become_depths(tmp_path):
    """Elevations, positive up, are depths downward, the shallowest sample first."""
    for sign, name in ((1, "falling.nc"), (-1, "rising.nc")):
        heights = np.array([0, -10, -20, -30, -40])[::sign]
        attrs = {"units": "m", "positive": "up"}
        volume = open_volume(write(tmp_path / name, "depth", attrs=attrs, values=heights))
        assert volume.depth.values.tolist() == [0, 10, 20, 30, 40]
        assert volume.depth.attrs["positive"] == "down"
        assert np.array_equal(volume.amplitude, SAMPLES[..., ::sign])


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
        open_volume(write(tmp_path / "x.nc", vertical, attrs=attrs))


def test_distances_in_kilometres_are_metres(tmp_path):
    """Distances between lines have a unit too."""
    steps = {"inline": 0.025 * np.arange(3), "crossline": 0.0125 * np.arange(4)}
    km = {f"{line}_m": (line, values, {"units": "km"}) for line, values in steps.items()}
    found = spacing_m(open_volume(write(tmp_path / "x.nc", coords=km)), velocity_m_s=2000)
    assert found == pytest.approx((25, 12.5, 4))


@pytest.mark.parametrize(
    ("units", "salt"),
    [("m/s", 4480), ("km/s", 4.48), ("ft/s", 14698.16), ("km s-1", 4.48), ("", 4480)],
)
def test_velocities_are_converted(tmp_path, units, salt):
    """Salt of 4480 m/s is salt in any unit, as a mask and as a variable."""
    velocity = np.where(SAMPLES > 4, salt, salt / 2).astype(np.float32)
    path = write(tmp_path / "x.zarr", more={"velocity": (DIMS, velocity, {"units": units})})
    volume = open_volume(path, mask="velocity", salt_velocity_m_s=(4479, 4481))
    assert np.array_equal(volume.salt, SAMPLES > 4)
    assert volume.velocity.max() == pytest.approx(4480)
    bad = {"velocity": (DIMS, velocity, {"units": "slowness"})}
    with pytest.raises(DataError, match=r"velocity is in 'slowness'. Must be in one of: m/s"):
        open_volume(write(tmp_path / "bad.zarr", more=bad))


@pytest.mark.parametrize("kind", [bool, np.int8, np.float32])
@pytest.mark.parametrize("name", ["x.nc", "x.zarr", "x.npz", "plain.zarr"])
def test_a_trace_mask_tells_missing_traces(tmp_path, name, kind):
    """Where it is 0 there is no trace, whatever the amplitudes there are."""
    live = np.ones((3, 4), kind)
    live[1, 2] = 0
    path = tmp_path / name
    arrays = {"amplitude": SAMPLES, "label": (SAMPLES > 4).astype(np.int8), "trace_mask": live}
    if name == "x.npz":
        np.savez(path, **arrays)
    elif name == "plain.zarr":
        zarr.save_group(path, **arrays, zarr_format=2)
    else:
        more = {"label": (DIMS, SAMPLES > 4), "trace_mask": (("crossline", "inline"), live.T)}
        write(path, more=more)
    volume = open_volume(path, variable="amplitude", mask="label", dims=DIMS, sample_interval=4.0)
    expected = SAMPLES.copy()
    expected[1, 2] = np.nan
    assert np.array_equal(volume.amplitude, expected, equal_nan=True)
    assert volume.attrs["n_missing_traces"] == 1


def test_a_trace_mask_of_other_values_is_refused(tmp_path):
    """What is neither 0 nor 1 tells nothing."""
    more = {"trace_mask": (("inline", "crossline"), np.full((3, 4), 2))}
    with pytest.raises(DataError, match=r"x.nc: a trace mask must be 0 or 1 on each trace"):
        open_volume(write(tmp_path / "x.nc", more=more))


def test_a_store_of_other_dims_has_its_trace_mask(tmp_path):
    """The mask has the names of its store, which dims translate."""
    live = np.ones((4, 3), int)
    live[2, 1] = 0
    store = xr.Dataset({"seis": (("y", "x", "z"), SAMPLES), "trace_mask": (("x", "y"), live)})
    store.to_zarr(tmp_path / "x.zarr", zarr_format=2, consolidated=False)
    volume = open_volume(tmp_path / "x.zarr", dims=DIMS, sample_interval=4.0)
    assert np.argwhere(np.isnan(volume.amplitude[..., 0].values)).tolist() == [[1, 2]]


@pytest.mark.parametrize("name", ["x.nc", "x.zarr"])
def test_coordinates_that_are_not_used_may_be_anything(tmp_path, name):
    """Positions with NaN, names of lines and a date refuse no volume."""
    positions = (("inline", "crossline"), np.full((3, 4), np.nan))
    wells = ("inline", np.array(["a", "b", "c"]))
    other = {"cdp_x": positions, "well": wells, "depth": np.nan}
    volume = open_volume(write(tmp_path / name, coords=other))
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
        zarr.save_group(path, seis=SAMPLES, crossline=np.arange(7, 11), zarr_format=zarr_format)
    with pytest.raises(DataError, match=r"Invalid dims None. Must name .* x.zarr: .*\(3, 4, 5\)"):
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
    """The older format holds the same volume; half of it, or one axis twice, is damaged."""
    path = tmp_path / "x.nc"
    store = xr.Dataset({"amplitude": (DIMS, SAMPLES)}, {"time": ("time", [0.0, 4, 8, 12, 16])})
    store.to_netcdf(path, engine="scipy")
    content = path.read_bytes()
    assert content[:3] == b"CDF"
    assert np.array_equal(open_volume(path).amplitude, SAMPLES)
    path.write_bytes(content[:200])
    with pytest.raises(DataError, match=r"x.nc is not nc, or damaged"):
        open_volume(path)
    cube = xr.DataArray(np.zeros((3, 3, 3), np.float32), dims=DIMS)
    cube.to_dataset(name="amplitude").to_netcdf(path, engine="scipy")
    content, axes = path.read_bytes(), np.arange(3, dtype=">i4").tobytes()  # numbers of dims
    assert content.count(axes) == 1
    path.write_bytes(content.replace(axes, np.array([0, 1, 0], ">i4").tobytes()))
    for options in ({}, {"dims": DIMS, "sample_interval": 4.0}):
        with pytest.raises(DataError, match=r"amplitude has dims .* Must be different"):
            open_volume(path, **options)


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
        (SAMPLES, None, r"Invalid dims None. Must name .* x.npy: amplitude \(3, 4, 5\)"),
        (SAMPLES[0], DIMS, r"Invalid dims .* an array of x.npy: amplitude \(4, 5\)"),
        (np.array([{}]), DIMS, r"x.npy is not npy, or truncated"),
    ],
)
def test_other_npy_arrays_are_refused(tmp_path, array, dims, message):
    """Axes are named, and are three."""
    path = tmp_path / "x.npy"
    np.save(path, array)
    with pytest.raises(DataError, match=message):
        open_volume(path, dims=dims, sample_interval=4.0)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"x.npy is not npy, or truncated"):
        open_volume(path, dims=dims, sample_interval=4.0)


def test_stores_of_other_names_open_by_dims(tmp_path):
    """An array of HDF5 without names of its axes, or of a store with others, is opened by dims."""
    with h5py.File(tmp_path / "x.nc", "w") as file:
        file["seis"] = SAMPLES
    foreign = xr.Dataset({"seis": (("y", "x", "z"), SAMPLES)})
    foreign.to_zarr(tmp_path / "x.zarr", consolidated=False, zarr_format=2)
    for name in ("x.nc", "x.zarr"):
        with pytest.raises(DataError, match=r"seis has dims \(.*\). Name them by dims"):
            open_volume(tmp_path / name)
        volume = open_volume(tmp_path / name, dims=DIMS, sample_interval=4.0)
        assert np.array_equal(volume.amplitude, SAMPLES)


def test_a_heap_without_end_is_refused(tmp_path):
    """The library of HDF5 would never return from a heap object of no size."""
    path = write(tmp_path / "damaged.nc")
    content = bytearray(path.read_bytes())
    start = content.find(b"GCOL")
    assert start >= 0
    content[start + 16 : start + 32] = bytes(16)  # the first object: index 0, size 0
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged, a heap object has no size"):
        open_volume(path)
