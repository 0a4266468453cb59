"""Volumes into files, complete or not at all."""

import os
import shutil
from pathlib import Path

import xarray as xr

from thesis_lib._checks import check_choice
from thesis_lib._volume import vertical_dim
from thesis_lib.data.errors import DataError
from thesis_lib.data.files import SEGY_ENDINGS, check_path
from thesis_lib.data.lines import AXES
from thesis_lib.data.segy import Geometry, scan_segy
from thesis_lib.data.segy_writer import write_like, write_new
from thesis_lib.data.stores import write_netcdf, write_zarr

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
) -> None:
    """
    Write a volume: all of it as Zarr or NetCDF by CF conventions, one variable as SEG-Y.

    The file is complete when it gets its name, one of that name stays until then, and a failed
    write leaves nothing. A lazy volume is read some inlines at a time. A link is followed.

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
    single_line : bool
        ``like`` is a 2-D line, to be read as `open_volume` reads it.

    Raises
    ------
    FileNotFoundError
        If there is no such file as ``like``, or no such folder.
    DataError
        If the volume lies on other lines than ``like``, SEG-Y cannot hold its vertical axis, or
        ``path`` is a folder where a file is meant, or the other way round.
    OSError
        If the folder cannot be written to, or the disk is full.
    ValueError
        If the ending or variable is unknown, or ``like`` is given for another format.
    """
    path = Path(os.path.realpath(path))
    ending = check_choice("file ending", path.suffix.lower(), WRITTEN_ENDINGS)
    if like is not None and ending not in SEGY_ENDINGS:
        raise ValueError(f"Invalid like {str(like)!r} for {path.name}. Must go with SEG-Y.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"No such folder: {path.parent}.")
    if path.exists() and path.is_dir() != (ending == ".zarr"):
        raise DataError(f"{path.name} is {'a' if path.is_dir() else 'no'} folder.")
    partial_path = path.with_name(f"{path.name}.partial")
    line_bytes = {"iline_byte": iline_byte, "xline_byte": xline_byte}
    original = None
    if like is not None:
        original = scan_segy(check_path(like), **line_bytes, single_line=single_line)
    try:
        _write(volume, partial_path, ending, variable, original, line_bytes)
        _move(partial_path, path)
    finally:  # a failed write leaves nothing behind
        _remove(partial_path)


def _move(partial_path: Path, path: Path) -> None:
    """Give what is complete its name; a folder cannot replace another in one step."""
    if not path.is_dir():
        partial_path.replace(path)
        return
    replaced = path.with_name(f"{path.name}.replaced")
    _remove(replaced)
    path.rename(replaced)
    partial_path.replace(path)
    _remove(replaced)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _write(
    volume: xr.Dataset,
    path: Path,
    ending: str,
    variable: str,
    original: Geometry | None,
    line_bytes: dict[str, int],
) -> None:
    if ending in SEGY_ENDINGS:
        cube = volume[check_choice("variable", variable, list(volume.data_vars))]
        cube = cube.transpose(*AXES, vertical_dim(cube))
        if original is None:
            write_new(cube, path, **line_bytes)
        else:
            write_like(cube, path, original)
    elif ending == ".nc":
        write_netcdf(volume, path)
    else:
        write_zarr(volume, path)
