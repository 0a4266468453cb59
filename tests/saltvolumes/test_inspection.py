"""What `inspect_volume` reports of files."""

import numpy as np
import pytest
from segy_files import write_segy

import saltvolumes
from saltvolumes import DataError, inspect_volume


def test_header_bytes_that_hold_a_grid_are_named(path, cube):
    """Where line numbers are in other bytes, the error names those that make a grid of lines."""
    write_segy(path, cube, line_bytes=(9, 21))
    with pytest.raises(DataError, match=r"iline_byte=9, xline_byte=21 \(3 x 4 lines\)"):
        inspect_volume(path)
    found = inspect_volume(path, iline_byte=9, xline_byte=21)
    assert found.facts["inline"].startswith("10 to ")


def test_doubts_name_what_to_pass(tmp_path, cube):
    """Unknown distances, missing traces and amplitudes that may be clipped are doubts."""
    cube = np.zeros_like(cube)
    cube[0, 0] = np.nan
    numbers = (np.arange(n) for n in cube.shape)
    names = ("inline", "crossline", "vertical")
    volume = saltvolumes.build_volume(cube, **dict(zip(names, numbers, strict=True)))
    saltvolumes.save_volume(volume, tmp_path / "a.nc")
    found = inspect_volume(tmp_path / "a.nc")
    words = " ".join(found.doubts)
    assert "1 of" in words
    assert "Pass spacing_m=" in words
    assert "least or the largest: clipped?" in words
    assert found.amplitudes.size == cube.size - cube.shape[2]
    assert found.facts["line spacing"] == "unknown"
