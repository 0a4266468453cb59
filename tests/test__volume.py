"""Tests of the volume contract."""

import numpy as np
import pytest

from thesis_lib._volume import build_volume, content_hash, spacing_m, vertical_dim

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


def test_volume_holds_the_contract(arguments):
    """Dims, dtypes, units and attributes are those of the contract."""
    volume = build_volume(**arguments)
    assert volume.amplitude.dims == ("inline", "crossline", "depth")
    kinds = {name: volume[name].dtype for name in volume.data_vars}
    assert kinds == {"amplitude": np.float32, "salt": np.bool_, "velocity": np.float32}
    assert volume.depth.attrs["units"] == "m"
    assert volume.velocity.attrs["units"] == "m/s"
    assert volume.attrs["source"] == "test"
    assert len(volume.attrs["content_hash"]) == 16


def test_time_volume_is_in_milliseconds(arguments):
    """The vertical axis of a time volume is called time and counts ms."""
    volume = build_volume(**arguments, vertical_dim="time")
    assert vertical_dim(volume) == "time"
    assert volume.time.attrs["units"] == "ms"


def test_optional_parts_may_be_missing(arguments):
    """A volume needs no salt, no velocity and no metres."""
    for name in ("salt", "velocity", "inline_m", "crossline_m"):
        del arguments[name]
    volume = build_volume(**arguments)
    assert set(volume.variables) == {"amplitude", "inline", "crossline", "depth"}


def test_lazy_arrays_stay_lazy(arguments):
    """Dask arrays of a volume with a known hash are not computed."""
    dask_array = pytest.importorskip("dask.array")
    arguments["attrs"] = {"content_hash": "0" * 16}
    for name in ("amplitude", "salt"):
        arguments[name] = dask_array.from_array(arguments[name])
    volume = build_volume(**arguments)
    assert volume.amplitude.chunks is not None
    assert volume.salt.chunks is not None
    assert volume.attrs["content_hash"] == "0" * 16


def test_unknown_vertical_is_refused(arguments):
    """The vertical axis is depth or time."""
    with pytest.raises(ValueError, match=r"Invalid vertical_dim 'twt'\. Must be one of: depth"):
        build_volume(**arguments, vertical_dim="twt")


def test_upward_vertical_is_refused(arguments):
    """Depth increases downward."""
    arguments["vertical"] = arguments["vertical"][::-1]
    with pytest.raises(ValueError, match=r"Invalid depth coordinate\. Must increase downward"):
        build_volume(**arguments)


def test_uneven_vertical_is_refused(arguments):
    """Samples are evenly spaced."""
    arguments["vertical"] = [0.0, 20.0, 40.0, 70.0, 90.0]
    with pytest.raises(ValueError, match=r"depth .* steps from 20 to 30 m. Must be even within 1%"):
        build_volume(**arguments)


@pytest.mark.parametrize("name", ["inline", "crossline"])
def test_line_numbers_come_once(arguments, name):
    """Two lines of one number cannot be told apart."""
    arguments[name] = [8, 8, 9, 10][: len(arguments[name])]
    with pytest.raises(ValueError, match=rf"Invalid {name} numbers: 8 comes 2 times"):
        build_volume(**arguments)


@pytest.mark.parametrize("name", ["amplitude", "salt", "inline", "crossline_m"])
def test_shapes_that_do_not_fit_are_refused(arguments, name):
    """Every array fits the coordinates of its axes."""
    arguments[name] = arguments[name][:-1]
    with pytest.raises(ValueError, match="conflicting"):
        build_volume(**arguments)


@pytest.mark.parametrize("kind", [np.float32, np.uint8])
def test_salt_that_is_not_boolean_is_refused(arguments, kind):
    """Labels are no mask: which of them means salt has to be said."""
    arguments["salt"] = arguments["salt"].astype(kind)
    with pytest.raises(TypeError, match=r"Invalid salt of type .*\. Must be boolean"):
        build_volume(**arguments)


def test_hash_sees_samples_and_coordinates_alone(arguments):
    """The hash changes with a sample or a coordinate, not with attributes."""
    volume = build_volume(**arguments)
    known = volume.attrs["content_hash"]
    assert content_hash(volume.assign_attrs(source="elsewhere")) == known
    assert content_hash(volume.assign_coords(inline=[1, 2, 3])) != known
    changed = volume.copy(deep=True)
    changed.amplitude[0, 0, 0] += 1
    assert content_hash(changed) != known


def test_vertical_of_something_else_is_refused(arguments):
    """A dataset without depth and time is no volume."""
    with pytest.raises(ValueError, match=r"Invalid volume with dims .*\. Must have depth or time"):
        vertical_dim(build_volume(**arguments).rename(depth="z"))


def test_spacing_of_a_depth_volume(arguments):
    """The spacing of a depth volume is the step of its coordinates in m."""
    assert spacing_m(build_volume(**arguments)) == (25.0, 12.5, 20.0)


def test_spacing_of_a_time_volume_needs_a_velocity(arguments):
    """Two-way time becomes depth by half the velocity; without one there are no metres."""
    arguments["vertical"] = 4.0 * np.arange(5)
    volume = build_volume(**arguments, vertical_dim="time")
    assert spacing_m(volume) is None
    assert spacing_m(volume, velocity_m_s=2500.0) == (25.0, 12.5, 5.0)


@pytest.mark.parametrize("velocity_m_s", [0.0, -1500.0, np.nan])
def test_impossible_velocities_are_refused(arguments, velocity_m_s):
    """A velocity is above zero."""
    with pytest.raises(ValueError, match=r"Invalid velocity_m_s .*\. Must be above 0"):
        spacing_m(build_volume(**arguments), velocity_m_s=velocity_m_s)


def test_spacing_without_metres_is_unknown(arguments):
    """Line numbers are no metres."""
    del arguments["inline_m"]
    assert spacing_m(build_volume(**arguments)) is None


def test_spacing_of_uneven_lines_is_unknown(arguments):
    """Lines picked here and there have no one spacing; those of a constant step have."""
    volume = build_volume(**arguments)
    assert spacing_m(volume.isel(crossline=[0, 1, 3])) is None
    assert spacing_m(volume.isel(crossline=[1, 3])) == (25.0, 25.0, 20.0)


def test_single_line_borrows_the_spacing_of_the_other_axis(arguments):
    """A volume of one inline has the crossline spacing along both."""
    volume = build_volume(**arguments).isel(inline=[1])
    assert spacing_m(volume) == (12.5, 12.5, 20.0)


def test_single_sample_has_no_spacing(arguments):
    """One sample in depth has no step."""
    assert spacing_m(build_volume(**arguments).isel(depth=[1])) is None
