"""Tests of lines of a volume."""

import numpy as np
import pytest

from saltvolumes import middle_section, richest_section, select_lines
from saltvolumes.volume import LATERAL, build_volume, content_hash

CROSSLINES = [61, 211, 231, 281, 291, 301, 311]


@pytest.fixture
def volume():
    """Ten inlines, seven crosslines, one missing trace at crossline 211."""
    amplitude = np.random.default_rng(0).standard_normal((10, 7, 5))
    amplitude[4, 1] = np.nan
    lines = {"inline": np.arange(100, 110), "crossline": CROSSLINES, "vertical": range(5)}
    attrs = {"source": "test", "n_missing_traces": 1}
    return build_volume(amplitude, **lines, vertical_dim="time", salt=amplitude > 0, attrs=attrs)


def test_selected_lines_are_a_volume_of_their_own(volume):
    """They keep their order, and have the hash and missing traces of their own samples."""
    part = select_lines(volume, "crossline", [291, 211])
    rest = select_lines(volume, "crossline", [61, 281])
    assert part.amplitude.equals(volume.amplitude[:, [1, 4]])
    assert part.attrs["content_hash"] == content_hash(part) != volume.attrs["content_hash"]
    assert (part.attrs["n_missing_traces"], rest.attrs["n_missing_traces"]) == (1, 0)
    assert volume.attrs["n_missing_traces"] == 1


def test_unknown_lines_are_refused(volume):
    """Lines are inlines or crosslines, and the error lists the numbers that there are."""
    with pytest.raises(ValueError, match=r"numbers \[62\].* 7 lines 61, 211, 231, ..., 301, 311"):
        select_lines(volume, "crossline", [61, 62])
    for find in (middle_section, richest_section, lambda *given: select_lines(*given, [0])):
        with pytest.raises(ValueError, match="Invalid axis 'time'"):
            find(volume, "time")


@pytest.mark.parametrize("axis", LATERAL)
def test_middle_section_is_vertical_by_lateral(volume, axis):
    """A middle section has time down and the other lateral axis across."""
    section = middle_section(volume, axis)
    assert section.amplitude.dims == ("time", LATERAL[axis])
    assert section[axis] == volume[axis][volume.sizes[axis] // 2]


@pytest.mark.parametrize("lazy", [False, True])
def test_richest_section_holds_the_most_salt(volume, lazy):
    """The line with the most salt is taken; without a mask it is the middle one."""
    volume = volume.chunk(inline=3) if lazy else volume
    section = richest_section(volume, "crossline")
    assert section.salt.dims == ("time", "inline")
    assert section.salt.sum() == volume.salt.sum(("inline", "time")).max()
    bare = volume.drop_vars("salt")
    assert richest_section(bare, "inline").identical(middle_section(bare, "inline"))
