"""Tests of NumPy numbers as arguments: they mean what Python's mean."""

import numpy as np
import xarray as xr
from segy_files import write_segy

from saltvolumes import open_volume, save_volume


def test_line_bytes_may_be_numpy_numbers(path, cube, tmp_path):
    """A byte that was looked up in an array opens and saves a file as a Python number does."""
    write_segy(path, cube)
    inline, crossline = np.array([189, 193])
    volume = open_volume(path, iline_byte=inline, xline_byte=crossline)
    xr.testing.assert_identical(volume, open_volume(path))
    save_volume(volume, tmp_path / "x.sgy", iline_byte=inline, xline_byte=crossline)
    assert open_volume(tmp_path / "x.sgy").attrs["content_hash"] == volume.attrs["content_hash"]
