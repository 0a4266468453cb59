"""Tests of labels and horizons as they come from other software."""

import numpy as np
import pytest

from saltvolumes import DataError, build_volume, open_volume
from saltvolumes.horizons import read_picks
from saltvolumes.masks import open_mask

LINES = {"inline": range(4), "crossline": range(5), "vertical": 4.0 * np.arange(6)}
NOISE = np.random.default_rng(0).standard_normal((4, 5, 6))


@pytest.fixture
def volume():
    """A volume of noise without a mask."""
    return build_volume(NOISE, **LINES, vertical_dim="time")


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
def test_labels_are_found_within_the_rounding_of_float32(volume, labels, kind, given):
    """A tenth in float32 is the label 0.1, and whole numbers next to each other are two labels."""
    stored = np.where(NOISE > 0, labels[1], labels[0]).astype(kind)
    salt, _ = open_mask(volume.amplitude.copy(data=stored), volume.amplitude, salt_label=given)
    assert np.array_equal(salt, NOISE > 0)


def test_labels_that_differ_by_more_are_others(volume):
    """A label of 0.999 is not 1, and whole labels have no rounding."""
    stored = volume.amplitude.copy(data=np.where(NOISE > 0, 0.999, 0.0).astype(np.float32))
    with pytest.raises(DataError, match=r"holds labels 0, 0.999\d*. Name that of salt"):
        open_mask(stored, volume.amplitude)
    with pytest.raises(DataError, match=r"label 1 is not among 0, 0.999"):
        open_mask(stored, volume.amplitude, salt_label=1)


def test_masked_arrays_are_no_masks_of_salt():
    """A masked sample is neither salt nor none; masked amplitudes are missing."""
    salt = np.ma.array(NOISE > 0, mask=np.zeros(NOISE.shape, bool))
    assert np.array_equal(build_volume(NOISE, **LINES, salt=salt).salt, NOISE > 0)
    salt[1, 2] = np.ma.masked
    with pytest.raises(ValueError, match=r"Invalid salt with masked samples"):
        build_volume(NOISE, **LINES, salt=salt)
    amplitude = build_volume(np.ma.array(NOISE, mask=salt.mask), **LINES).amplitude
    assert np.array_equal(np.isnan(amplitude), salt.mask)


@pytest.mark.parametrize(
    "text",
    [
        "100;20;3005,25\n101;22;60,5\n",
        "Inline;Xline;Z\n100; 20; 3005.25\n101; 22; 60.5\n",
        "100 20 3005,25\n101 22 60,5\n",
        "100,0\t20,0\t3005,25\n101,0\t22,0\t60,5\n",
        "100,20,3005.25\n101,22,60.5\n",
        "# Tiefe; in m\n100 20 3005,25 # 1,5\n101 22 60,5\n",
    ],
)
def test_semicolons_and_decimal_commas_are_read(tmp_path, text):
    """The same two picks are found whatever separates columns and decimals."""
    (tmp_path / "top.txt").write_text(text)
    assert read_picks(tmp_path / "top.txt").tolist() == [[100, 20, 3005.25], [101, 22, 60.5]]


@pytest.fixture
def open_between(tmp_path):
    """Open a time volume of 20 x 5 traces every 4 ms with horizons of the times given."""
    rng = np.random.default_rng(0)
    lines = {"inline": range(20), "crossline": range(5), "time": 4.0 * np.arange(10)}
    np.savez(tmp_path / "x.npz", amplitude=rng.standard_normal((20, 5, 10)), **lines)

    def open_one(tops, bases, offset=0.0):
        files = []
        for name, times in (("top.txt", tops), ("base.txt", bases)):
            picks = [(k // 5 + offset, k % 5, time) for k, time in enumerate(times)]
            np.savetxt(tmp_path / name, picks)
            files.append(tmp_path / name)
        return open_volume(tmp_path / "x.npz", mask=files, dims=("inline", "crossline", "time"))

    return open_one


def test_a_top_a_little_below_its_base_is_no_salt(open_between, caplog):
    """One trace that is 1 ms out of order leaves the mask of all others, and is counted."""
    tops, bases = np.full(100, 8.0), np.full(100, 20.0)
    tops[37] = 21.0
    salt = open_between(tops, bases).salt.values.reshape(100, 10)
    assert not salt[37].any()
    assert (np.delete(salt, 37, axis=0).sum(axis=1) == 3).all()
    assert "on 1 traces the top lies below base, by 1 at most: no salt there" in caplog.text


@pytest.mark.parametrize(
    ("n_crossed", "by", "advised"), [(1, 5.0, False), (10, 1.0, False), (60, 30.0, True)]
)
def test_horizons_that_cross_are_refused(open_between, n_crossed, by, advised):
    """More than a sample, or on many traces: where; heights are advised where most traces cross."""
    tops, bases = np.full(100, 8.0), np.full(100, 20.0)
    tops[40 : 40 + n_crossed] = 20.0 + by
    message = rf"top {20 + by:g} lies below base 20 at inline 8, crossline 0 and {n_crossed - 1} ot"
    with pytest.raises(DataError, match=message) as caught:
        open_between(tops, bases)
    assert ("scale of -1" in str(caught.value)) == advised


def test_line_numbers_are_whole_within_a_hundredth(open_between):
    """Line 3.00001 is line 3; a tenth off, it is none."""
    tops, bases = np.full(100, 8.0), np.full(100, 20.0)
    assert open_between(tops, bases, 0.00001).salt.mean() == 0.3
    with pytest.raises(DataError, match=r"top.txt has no pick on lines of the volume"):
        open_between(tops, bases, 0.1)
