"""Volumes to files, complete or not at all."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from saltvolumes._checks import check_choice
from saltvolumes._files import replace_when_done
from saltvolumes._io.files import SEGY_ENDINGS, check_path
from saltvolumes._io.segy import scan_segy
from saltvolumes._io.segy_writer import write_like, write_new
from saltvolumes._io.stores import write_store
from saltvolumes.errors import DataError
from saltvolumes.volume import AXES, vertical_dim

WRITTEN_ENDINGS = (*SEGY_ENDINGS, ".nc", ".zarr")


def save_volume(
    volume: xr.Dataset,
    path: str | Path,
    *,
    variable: str = "amplitude",
    like: str | Path | None = None,
    iline_byte: int = 189,
    xline_byte: int = 193,
    single_line: bool = False,
    sample_format: int | None = None,
) -> None:
    """
    Write a volume: all of it as Zarr or NetCDF by CF conventions, one variable as SEG-Y.

    The file is complete when it gets its name, one of that name stays until then, and a failed
    write leaves nothing. A lazy volume is read a few lines at a time. A link is followed.

    Parameters
    ----------
    volume : Dataset
        A volume.
    path : str or Path
        Ending in .zarr, .nc, .sgy or .segy.
    variable : str
        What SEG-Y gets, as IEEE floats; a mask as 0 and 1.
    like : str or Path, optional
        A SEG-Y file on the same lines, whose headers, traces and their order are kept byte for
        byte, but for the sample format. By default headers are new, and traces of NaN left out.
    iline_byte, xline_byte : int
        First bytes of the line numbers in SEG-Y trace headers.
    single_line, sample_format
        How ``like`` is to be read; see `open_volume`.

    Raises
    ------
    FileNotFoundError
        If there is no such file as ``like``, or no such folder.
    DataError
        If the volume lies on other lines than ``like``, SEG-Y cannot hold its vertical axis or
        samples, or ``path`` is a folder where a file is meant, or the other way round.
    OSError
        If the folder cannot be written to, or the disk is full.
    TypeError, ValueError
        If the volume is not a Dataset or has no lines, the ending or variable is unknown, or
        ``like`` is given for another format.
    """
    path = Path(os.path.realpath(path))
    ending = check_choice("file ending", path.suffix.lower(), WRITTEN_ENDINGS)
    if not isinstance(volume, xr.Dataset):
        raise TypeError(f"Invalid volume of type {type(volume).__name__}. Must be a Dataset.")
    if not all(volume.sizes.get(line) for line in AXES):
        raise ValueError(f"Invalid volume of sizes {dict(volume.sizes)}. Must have lines.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"No such folder: {path.parent}.")
    if path.exists() and path.is_dir() != (ending == ".zarr"):
        raise DataError(f"{path.name} is {'' if path.is_dir() else 'not '}a folder.")
    lines: dict[str, Any] = {"iline_byte": iline_byte, "xline_byte": xline_byte}
    write: Callable[[Path], None]
    if ending in SEGY_ENDINGS:
        cube = volume[check_choice("variable", variable, list(volume.data_vars))]
        cube = cube.transpose(*AXES, vertical_dim(cube))
        write = partial(write_new, cube, **lines)
        if like is not None:
            lines |= {"single_line": single_line, "sample_format": sample_format}
            original = scan_segy(check_path(like), **lines, **_describe_axis(cube))
            write = partial(write_like, cube, original=original)
    elif like is not None:
        raise ValueError(f"Invalid like {str(like)!r} for {path.name}. Must go with SEG-Y.")
    else:
        write = partial(write_store, volume, ending=ending)
    with replace_when_done(path) as partial_path:
        write(partial_path)


def _describe_axis(cube: xr.DataArray) -> dict[str, Any]:
    """Vertical axis of the original as it was opened: the interval may have been given."""
    name = vertical_dim(cube)
    steps = np.diff(cube[name].values)
    return {"vertical": name, "sample_interval": float(np.median(steps)) if steps.size else None}
