"""Tests of the volume contract."""

import hashlib

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from saltvolumes.volume import build_volume, content_hash, read_runs, spacing_m, vertical_dim

SHAPE = (3, 4, 5)


@pytest.fixture
def arguments():
    """Arguments of a small depth volume with all that a volume can hold."""
    rng = np.random.default_rng(0)
    return {
        "amplitude": rng.normal(size=SHAPE),
        "inline": [100, 102, 104],
        "crossline": [7, 8, 9, 10],
        "vertical": 20.0 * np.arange(5),
        "inline_m": [0.0, 25.0, 50.0],
        "crossline_m": [0.0, 12.5, 25.0, 37.5],
        "salt": rng.random(SHAPE) > 0.5,
        "velocity": np.full(SHAPE, 2000),
        "attrs": {"source": "test", "seed": 0},
    }


@pytest.mark.parametrize(("vertical", "unit"), [("depth", "m"), ("time", "ms")])
def test_volume_holds_the_contract(arguments, vertical, unit):
    """Dims, dtypes, units and attributes are those of the contract."""
    volume = build_volume(**arguments, vertical_dim=vertical)
    assert volume.amplitude.dims == ("inline", "crossline", vertical)
    kinds = {name: volume[name].dtype for name in volume.data_vars}
    assert kinds == {"amplitude": np.float32, "salt": np.bool_, "velocity": np.float32}
    assert vertical_dim(volume) == vertical
    assert volume[vertical].attrs["units"] == unit
    assert volume.velocity.attrs["units"] == "m/s"
    assert volume.attrs["source"] == "test"
    assert len(volume.attrs["content_hash"]) == 16


def test_optional_parts_may_be_missing(arguments):
    """A volume needs no salt, no velocity and no metres, but distances need metres."""
    needed = ("amplitude", "inline", "crossline", "vertical")
    volume = build_volume(**{name: arguments[name] for name in needed})
    assert set(volume.variables) == {"amplitude", "inline", "crossline", "depth"}
    assert spacing_m(volume) is None


def test_masked_arrays_are_no_masks_of_salt(arguments):
    """A masked sample is neither salt nor none; masked amplitudes are missing."""
    masked = np.ma.array(arguments["salt"], mask=np.zeros(SHAPE, bool))
    assert np.array_equal(build_volume(**{**arguments, "salt": masked}).salt, arguments["salt"])
    masked[1, 2] = np.ma.masked
    with pytest.raises(ValueError, match=r"Invalid salt with masked samples"):
        build_volume(**{**arguments, "salt": masked})
    arguments["amplitude"] = np.ma.array(arguments["amplitude"], mask=masked.mask)
    assert np.array_equal(np.isnan(build_volume(**arguments).amplitude), masked.mask)


@pytest.mark.parametrize("chunks", [1, 2, (2, 3, 4)])
def test_lazy_arrays_stay_lazy(arguments, chunks):
    """Dask arrays, in any chunks, are not computed and have the hash of the samples."""
    known = build_volume(**arguments).attrs["content_hash"]
    for name in ("amplitude", "salt"):
        arguments[name] = da.from_array(arguments[name], chunks)
    volume = build_volume(**arguments)
    assert volume.amplitude.chunks
    assert volume.salt.chunks
    assert volume.attrs["content_hash"] == known


def test_a_lazy_volume_is_read_in_runs():
    """Runs are as thick as blocks, or a part of thicker ones, and hold all lines in order."""
    cube = xr.DataArray(da.arange(40, chunks=((5, 35),))[:, None, None], dims=("inline", "x", "z"))
    runs = list(read_runs(cube))
    assert [len(run) for run in runs] == [5, 16, 16, 3]
    assert np.concatenate(runs).ravel().tolist() == list(range(40))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vertical_dim": "twt"}, r"Invalid vertical_dim 'twt'\. Must be one of: 'depth', 'time'"),
        ({"vertical": -20.0 * np.arange(5)}, "Invalid depth coordinate .* Must increase downward"),
        ({"vertical": [0, 20, 40, 70, 90]}, "from 20 to 30 m. Must .* in steps even within 1%"),
        ({"inline": [8, 8, 9]}, "Invalid inline numbers: 8 is a duplicate"),
        ({"crossline": [8, 8, 9, 10]}, "Invalid crossline numbers: 8 is a duplicate"),
        ({"amplitude": np.ones((2, 4, 5))}, "conflicting"),
        ({"salt": np.ones((2, 4, 5), bool)}, "conflicting"),
        ({"crossline_m": [0.0, 12.5, 25.0]}, "conflicting"),
        ({"salt": np.ones(SHAPE, np.uint8)}, r"Invalid salt of type .*\. Must be boolean"),
    ],
)
def test_parts_that_do_not_fit_are_refused(arguments, changes, message):
    """Samples are evenly spaced downward, line numbers unique, shapes alike, masks no labels."""
    with pytest.raises((ValueError, TypeError), match=message):
        build_volume(**{**arguments, **changes})


def test_hash_sees_samples_and_coordinates_alone(arguments):
    """The hash is that of all names and bytes; attributes do not change it."""
    volume = build_volume(**arguments)
    known = volume.attrs["content_hash"]
    parts = [
        f"{name}{array.dims}{array.shape}{array.dtype}".encode() + array.values.tobytes()
        for name, array in sorted(volume.variables.items())
    ]
    assert known == hashlib.sha256(b"".join(parts)).hexdigest()[:16]
    assert content_hash(volume.assign_attrs(source="elsewhere")) == known


def test_spacing_of_a_time_volume_needs_a_velocity(arguments):
    """Two-way time becomes depth by half the velocity; without one there are no metres."""
    volume = build_volume(**arguments)
    assert spacing_m(volume) == (25.0, 12.5, 20.0)
    with pytest.raises(ValueError, match=r"Invalid volume with dims .*\. Must have depth or time"):
        vertical_dim(volume.rename(depth="z"))
    arguments["vertical"] = 4.0 * np.arange(5)
    volume = build_volume(**arguments, vertical_dim="time")
    assert spacing_m(volume) is None
    assert spacing_m(volume, velocity_m_s=2500.0) == (25.0, 12.5, 5.0)
    with pytest.raises(ValueError, match=r"Invalid velocity_m_s 0\.0\. Must lie in \(0, inf\)"):
        spacing_m(volume, velocity_m_s=0.0)


def test_spacing_of_uneven_and_single_lines(arguments):
    """Lines in uneven steps have no spacing, a single one takes that of the other axis."""
    volume = build_volume(**arguments)
    assert spacing_m(volume.isel(crossline=[0, 1, 3])) is None
    assert spacing_m(volume.isel(crossline=[1, 3])) == (25.0, 25.0, 20.0)
    assert spacing_m(volume.isel(inline=[1])) == (12.5, 12.5, 20.0)
    assert spacing_m(volume.isel(depth=[1])) is None


def test_one_size_per_axis():
    """As many line numbers as lines; the error is the project's own."""
    axes = {"inline": [1, 2], "crossline": [1, 2, 3], "vertical": [0.0, 4.0]}
    with pytest.raises(ValueError, match=r"Invalid volume: .*crossline.* one size per axis"):
        build_volume(np.zeros((2, 4, 2), np.float32), **axes)
