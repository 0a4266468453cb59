"""Tests of masks from velocities."""

import numpy as np
import pytest

from thesis_lib.data import DataError, open_volume, save_volume
from thesis_lib.data.masks import open_mask
from thesis_lib.synthetic import make_volume

SEAM = (4400.0, 4600.0)


@pytest.fixture(scope="module")
def earth():
    """An embedded earth, whose salt has 4480 m/s."""
    return make_volume((24, 20, 32), seed=0)


def write(earth, folder, **velocity):
    """Save the image and, with other coordinates, the velocity as two SEG-Y files."""
    image, model = folder / "image.sgy", folder / "velocity.sgy"
    save_volume(earth, image)
    save_volume(earth.assign_coords(velocity), model, variable="velocity")
    return image, model


def test_salt_is_where_the_velocity_is_that_of_salt(earth, tmp_path):
    """A velocity file gives the mask of the earth it was made with, whatever range holds 4480."""
    image, model = write(earth, tmp_path)
    for limits in (SEAM, (4480, 4480), [4480.0, np.inf]):
        volume = open_volume(image, mask=model, salt_velocity_m_s=limits, vertical="depth")
        assert np.array_equal(volume.salt, earth.salt)
        assert not volume.salt.variable._in_memory


def test_both_ends_of_the_range_are_salt(earth):
    """Of 4399, 4400, 4500, 4600 and 5200 m/s, the middle three lie in 4400 to 4600."""
    column = earth.velocity.isel(inline=[0], crossline=[0], depth=slice(5))
    velocity = column.copy(data=np.float32([[[4399, 4400, 4500, 4600, 5200]]]))
    salt, _ = open_mask(velocity, column, salt_velocity_m_s=SEAM)
    assert np.asarray(salt.get_duck_array()).ravel().tolist() == [False, True, True, True, False]


def test_a_velocity_in_the_same_store_is_a_mask(earth, tmp_path):
    """The variable velocity of a saved volume serves by name."""
    save_volume(earth.drop_vars("salt"), tmp_path / "earth.zarr")
    volume = open_volume(tmp_path / "earth.zarr", mask="velocity", salt_velocity_m_s=SEAM)
    assert volume.salt.equals(earth.salt)


def test_the_velocity_of_a_second_store_is_taken(earth, tmp_path):
    """Beside a velocity the second store may hold amplitudes and salt."""
    save_volume(earth[["amplitude"]], tmp_path / "image.zarr")
    save_volume(earth, tmp_path / "model.zarr")
    volume = open_volume(
        tmp_path / "image.zarr", mask=tmp_path / "model.zarr", salt_velocity_m_s=SEAM
    )
    assert volume.salt.equals(earth.salt)


def test_traces_without_velocity_are_missing(earth):
    """A trace of NaN in the velocity is no trace of the volume."""
    velocity = earth.velocity.copy()
    velocity[3, 4] = np.nan
    salt, amplitude = open_mask(velocity, earth.amplitude, salt_velocity_m_s=SEAM)
    assert np.isnan(amplitude[3, 4]).all()
    assert int(np.isnan(amplitude).sum()) == earth.sizes["depth"]
    assert not np.asarray(salt.get_duck_array())[3, 4].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_velocities_that_are_none_are_refused(earth, bad):
    """NaN or infinity within a trace is an error."""
    velocity = earth.velocity.copy()
    velocity[20, 4, 5] = bad
    for named in (velocity, velocity.drop_vars(["inline", "crossline"])):
        with pytest.raises(DataError, match="mask holds NaN or infinity at inline 21, crossline 5"):
            open_mask(named, earth.amplitude, salt_velocity_m_s=SEAM)


def test_another_sampling_is_refused(earth, tmp_path):
    """A velocity every 10 m is no mask for an image every 20 m: nothing is interpolated."""
    image, model = write(earth, tmp_path, depth=earth.depth.values / 2)
    with pytest.raises(DataError, match=r"samples along depth: 32 from 0 to 310. Must .* to 620"):
        open_volume(image, mask=model, salt_velocity_m_s=SEAM, vertical="depth")
    save_volume(earth.isel(depth=slice(16)), model, variable="velocity")
    with pytest.raises(DataError, match=r"along depth: 16 from 0 to 300.* none are interpolated"):
        open_volume(image, mask=model, salt_velocity_m_s=SEAM, vertical="depth")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"salt_velocity_m_s": (6000, 7000)}, "no velocity lies within 6000 to 7000 m/s, they run"),
        ({"salt_velocity_m_s": (4600, 4400)}, r"Invalid salt_velocity_m_s \(4600, 4400\). Must be"),
        ({"salt_velocity_m_s": (0, 4400)}, "two rising numbers above 0"),
        ({"salt_velocity_m_s": (4400,)}, "Must be two numbers"),
        ({"salt_velocity_m_s": 4480}, "Invalid salt_velocity_m_s 4480. Must be two numbers"),
        ({"salt_velocity_m_s": "44"}, "Invalid salt_velocity_m_s '44'. Must be two numbers"),
        ({"salt_velocity_m_s": (np.nan, 4400)}, "two rising numbers above 0"),
        ({"salt_velocity_m_s": SEAM, "salt_label": 4}, "Invalid salt_label 4 beside"),
        ({}, "no labels. Say by salt_velocity_m_s if they are velocities"),
    ],
)
def test_wrong_ranges_are_told(earth, arguments, message):
    """What is no range of velocities, or holds none, gives one line."""
    with pytest.raises(ValueError, match=message):
        open_mask(earth.velocity, earth.amplitude, **arguments)


def test_a_range_without_a_mask_is_refused(earth, tmp_path):
    """Which velocities mean salt says nothing without velocities."""
    image, _ = write(earth, tmp_path)
    with pytest.raises(ValueError, match=r"Invalid salt_velocity_m_s .* without mask"):
        open_volume(image, salt_velocity_m_s=SEAM)
