"""Tests of masks from velocities and labels."""

import numpy as np
import pytest

from saltearth import make_volume
from saltvolumes import DataError, open_volume, save_volume
from saltvolumes.masks import open_mask

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
    """A velocity file, or variable, gives the mask of its earth, whatever range holds 4480."""
    image, model = write(earth, tmp_path)
    with pytest.raises(ValueError, match=r"Invalid salt_velocity_m_s .* without mask"):
        open_volume(image, salt_velocity_m_s=SEAM)
    for limits in (SEAM, (4480, 4480), [4480.0, np.inf]):
        volume = open_volume(image, mask=model, salt_velocity_m_s=limits, vertical="depth")
        assert np.array_equal(volume.salt, earth.salt)
        assert volume.salt.chunks
    save_volume(earth, tmp_path / "earth.zarr")
    save_volume(earth[["amplitude"]], tmp_path / "image.zarr")
    for name, mask in (("earth.zarr", "velocity"), ("image.zarr", tmp_path / "earth.zarr")):
        volume = open_volume(tmp_path / name, mask=mask, salt_velocity_m_s=SEAM)
        assert volume.salt.equals(earth.salt)


def test_both_ends_of_the_range_are_salt(earth):
    """Of 4399, 4400, 4500, 4600 and 5200 m/s, the middle three lie in 4400 to 4600."""
    column = earth.velocity.isel(inline=[0], crossline=[0], depth=slice(5))
    velocity = column.copy(data=np.float32([[[4399, 4400, 4500, 4600, 5200]]]))
    salt, _ = open_mask(velocity, column, salt_velocity_m_s=SEAM)
    assert salt.values.ravel().tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_traces_without_velocity_are_missing(earth, bad):
    """A trace of NaN is no trace of the volume; NaN or infinity within a trace is an error."""
    velocity = earth.velocity.copy()
    velocity[3, 4] = np.nan
    salt, amplitude = open_mask(velocity, earth.amplitude, salt_velocity_m_s=SEAM)
    assert np.argwhere(np.isnan(amplitude).all("depth").values).tolist() == [[3, 4]]
    assert int(np.isnan(amplitude).sum()) == earth.sizes["depth"]
    assert not salt[3, 4].any()
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
        ({"salt_velocity_m_s": (6000, 7000)}, "velocities of 1.* m/s, not 6000 to 7000"),
        ({"salt_velocity_m_s": (4600, 4400)}, r"Invalid .* \(4600, 4400\). Must rise"),
        ({"salt_velocity_m_s": (0, 4400)}, "Must rise, above 0"),
        ({"salt_velocity_m_s": 4480}, "Invalid salt_velocity_m_s 4480. Must be two numbers"),
        ({"salt_velocity_m_s": (np.nan, 4400)}, "Must rise, above 0"),
        ({"salt_velocity_m_s": SEAM, "salt_label": 4}, "Invalid salt_label 4 with salt_vel"),
        ({}, "not labels. Give salt_velocity_m_s for velocities"),
    ],
)
def test_wrong_ranges_are_refused(earth, arguments, message):
    """What is not a range of velocities, or holds none, gives one line."""
    with pytest.raises(ValueError, match=message):
        open_mask(earth.velocity, earth.amplitude, **arguments)


@pytest.mark.parametrize(
    ("labels", "kind", "given"),
    [
        ((0.0, 0.1), np.float32, 0.1),
        ((0.0, 0.99999994), np.float32, None),
        ((0.0, 0.99999994), np.float32, 1),
        ((1e-9, 1.0), np.float32, None),
        ((0.3, 0.1 + 0.2 + 0.4), np.float64, 0.7),
        ((10_000_000, 10_000_001), np.float32, 10_000_001),
        ((10_000_000, 10_000_001), np.int64, 10_000_001),
    ],
)
def test_labels_are_found_within_the_rounding_of_float32(earth, labels, kind, given):
    """A tenth in float32 is the label 0.1, and whole numbers next to each other are two labels."""
    stored = earth.salt.copy(data=np.where(earth.salt, labels[1], labels[0]).astype(kind))
    salt, _ = open_mask(stored, earth.amplitude, salt_label=given)
    assert np.array_equal(salt, earth.salt)


def test_labels_that_differ_by_more_are_others(earth):
    """A label of 0.999 is not 1, and whole labels have no rounding."""
    stored = earth.salt * np.float32(0.999)
    with pytest.raises(DataError, match=r"holds labels 0, 0.999\d*. Name that of salt"):
        open_mask(stored, earth.amplitude)
    with pytest.raises(DataError, match=r"label 1 is not among 0, 0.999"):
        open_mask(stored, earth.amplitude, salt_label=1)
