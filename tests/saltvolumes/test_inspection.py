"""What `inspect_volume` reports of files."""

import numpy as np
import pytest
import segyio
from segyio import TraceField

import saltvolumes
from saltvolumes import DataError, inspect_volume


def test_header_bytes_that_hold_a_grid_are_named(path, cube):
    """Where line numbers are in other bytes, the error names those that make a grid of lines."""
    spec = segyio.spec()
    spec.format, spec.samples, spec.tracecount = 5, np.arange(cube.shape[2]), cube[..., 0].size
    with segyio.create(path, spec) as file:
        file.bin.update({segyio.BinField.Interval: 4000})
        for trace, (line, number) in enumerate(np.ndindex(cube.shape[:2])):
            file.header[trace] = {TraceField.FieldRecord: line + 10, TraceField.CDP: number + 100}
            file.trace[trace] = cube[line, number]
    shape = f"{cube.shape[0]} x {cube.shape[1]} lines"
    with pytest.raises(DataError, match=rf"iline_byte=9, xline_byte=21 \({shape}\)"):
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
