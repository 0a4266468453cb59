"""Tests of blocks of lines."""

import numpy as np
import pytest
import xarray as xr

from thesis_lib._volume import build_volume, content_hash
from thesis_lib.data import find_missing, select_lines, split_lines

CROSSLINES = [61, 211, 231, 281, 291, 301, 311]


@pytest.fixture
def volume() -> xr.Dataset:
    """Ten inlines, seven crosslines, one missing trace at crossline 211."""
    amplitude = np.random.default_rng(0).standard_normal((10, 7, 5))
    amplitude[4, 1] = np.nan
    return build_volume(
        amplitude,
        inline=np.arange(100, 110),
        crossline=CROSSLINES,
        vertical=4.0 * np.arange(5),
        vertical_dim="time",
        salt=amplitude > 0,
        attrs={"source": "test", "n_missing_traces": 1},
    )


def test_blocks_follow_one_another_with_a_guard_between(volume):
    """Training, validation and test keep the order of lines, and no line of a guard is in any."""
    blocks = split_lines(volume, "inline", validation=2, test=3, guard=1)
    numbers = [block.inline.values.tolist() for block in blocks]
    assert numbers == [[100, 101, 102], [104, 105], [107, 108, 109]]
    assert all(block.sizes["crossline"] == 7 for block in blocks)
    assert (blocks.test.amplitude == volume.amplitude[7:]).all()


def test_blocks_of_no_lines_need_no_guard(volume):
    """Without test lines the validation block is the end of the volume."""
    blocks = split_lines(volume, "crossline", validation=2, guard=1)
    assert blocks.training.crossline.values.tolist() == CROSSLINES[:4]
    assert blocks.validation.crossline.values.tolist() == CROSSLINES[5:]
    assert blocks.test.sizes["crossline"] == 0


def test_blocks_that_leave_nothing_to_train_on_are_refused(volume):
    """Held-out lines and guards must be fewer than the lines."""
    split_lines(volume, "inline", validation=2, test=3, guard=2)
    with pytest.raises(ValueError, match=r"for 10 lines along inline. Must leave at least one"):
        split_lines(volume, "inline", validation=3, test=3, guard=2)


def test_an_unknown_axis_is_refused(volume):
    """Lines are inlines or crosslines."""
    with pytest.raises(ValueError, match="Invalid axis 'time'"):
        split_lines(volume, "time", validation=1, guard=0)
    with pytest.raises(ValueError, match="Invalid axis 'time'"):
        select_lines(volume, "time", [0])


def test_selected_lines_are_those_of_the_numbers(volume):
    """Lines keep the order of the volume, whatever the order of the numbers."""
    part = select_lines(volume, "crossline", [291, 231])
    assert part.amplitude.equals(volume.amplitude[:, [2, 4]])


def test_blocks_tell_their_own_hash_and_missing_traces(volume):
    """A part has the hash and count of its own samples, not those of the whole."""
    part = select_lines(volume, "crossline", [211, 231])
    rest = select_lines(volume, "crossline", [61, 281])
    assert part.attrs["content_hash"] == content_hash(part) != volume.attrs["content_hash"]
    assert (part.attrs["n_missing_traces"], rest.attrs["n_missing_traces"]) == (1, 0)
    assert volume.attrs["n_missing_traces"] == 1


def test_unknown_lines_are_refused(volume):
    """The error lists the lines that there are."""
    with pytest.raises(ValueError, match=r"numbers \[62\].* 7 lines 61, 211, 231, ..., 301, 311"):
        select_lines(volume, "crossline", [61, 62])


def test_missing_traces_are_found(volume):
    """One trace of the volume is NaN."""
    assert np.argwhere(find_missing(volume)).tolist() == [[4, 1]]
