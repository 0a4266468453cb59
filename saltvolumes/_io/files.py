"""The arrays of a file, whatever its format, before they make a volume."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from saltvolumes._checks import check_choice
from saltvolumes._io.segy import open_segy
from saltvolumes._io.stores import are_volume_dims, name_axes, open_store
from saltvolumes._io.units import convert_axes
from saltvolumes.errors import DataError, as_data_error
from saltvolumes.volume import AXES, VERTICAL_UNITS

SEGY_ENDINGS = (".sgy", ".segy")
ENDINGS = (*SEGY_ENDINGS, ".npz", ".npy", ".nc", ".zarr")


@dataclass(frozen=True)
class VolumeFile:
    """
    The arrays of three dimensions in a file, and what else it holds.

    Attributes
    ----------
    path : Path
    arrays : mapping of str to DataArray
        Lazy for SEG-Y, Zarr and NetCDF.
    lines : mapping of str to array of shape (n,)
        Numbers of lines, or samples, where the arrays do not bring them along.
    attrs : mapping
    live : DataArray of dims (inline, crossline), optional
        Where there are traces, true or 1, and where they are missing.
    """

    path: Path
    arrays: Mapping[str, xr.DataArray]
    lines: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    live: xr.DataArray | None = None

    def pick(self, name: str | None, usual: str) -> xr.DataArray:
        """
        Pick an array by its name, by default the only one or that of the ``usual`` name.

        Raises
        ------
        DataError
            If there is no such array, it is empty, its coordinates are not as many numbers as it
            has lines or samples, or their unit is unknown.
        """
        if name is None:
            name = next(iter(self.arrays)) if len(self.arrays) == 1 else usual
        if name not in self.arrays:
            shown = ", ".join(f"{key} {array.shape}" for key, array in self.arrays.items())
            raise DataError(f"{self.path.name} has no 3-D array {name!r}. Must be one of: {shown}.")
        with as_data_error(f"{self.path.name}: {name}"):
            array = self.arrays[name].assign_coords(self.lines)
        if not array.size:
            raise DataError(f"{self.path.name}: {name} is empty, of shape {array.shape}.")
        used = {*array.dims, *(f"{line}_m" for line in AXES)}
        array = array.drop_vars(array.coords.keys() - used)
        for axis, values in array.coords.items():
            if values.dtype.kind not in "iuf" or not np.isfinite(values.values).all():
                raise DataError(f"{self.path.name}: {axis} of {name} must be finite numbers.")
        array = convert_axes(array, self.path.name)
        return array if self.live is None else self._drop_dead(array, self.live)

    def _drop_dead(self, array: xr.DataArray, live: xr.DataArray) -> xr.DataArray:
        """Array with NaN in the traces that are missing."""
        fits = all(live.sizes.get(line) == array.sizes[line] for line in AXES)
        if not fits or not np.isin(live.values, (0, 1)).all():
            raise DataError(f"{self.path.name}: a trace mask must be 0 or 1 on each trace.")
        if array.dtype == np.bool_ or live.all():  # the amplitudes decide, in the end
            return array
        return array.where(live.astype(bool))


def check_path(path: str | Path) -> Path:
    """Refuse a path that does not end as a volume does, or that `check_file` refuses."""
    path = Path(path)
    check_file(path, folder=path.suffix.lower() == ".zarr")
    check_choice("file ending", path.suffix.lower(), ENDINGS)
    return path


def check_file(path: str | Path, *, folder: bool = False) -> Path:
    """
    Refuse a path without a file, or ``folder``, that holds something.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it is empty, not a regular file, or a folder instead of a file, or the other way round.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No such file: {path}.")
    if path.is_dir() != folder:
        raise DataError(f"{path} is {'not ' if folder else ''}a folder.")
    if not folder and not path.is_file():  # to read from a pipe would never end
        raise DataError(f"{path.name} is not a file, but a pipe or a device.")
    if not path.stat().st_size:
        raise DataError(f"{path.name} is empty.")
    return path


def open_file(
    path: Path, *, dims: Sequence[str] | None, vertical: str | None, **segy: Any
) -> VolumeFile:
    """
    Open the arrays of a file; see `open_volume` for the arguments, of which SEG-Y takes more.

    Raises
    ------
    DataError
        If the file is not what its ending says, or truncated.
    ValueError
        If ``dims`` are needed or name other axes.
    """
    if dims is not None and not are_volume_dims(dims):
        raise ValueError(f"Invalid dims {tuple(dims)}. Must be inline, crossline, depth or time.")
    ending = path.suffix.lower()
    if ending in SEGY_ENDINGS:
        if vertical is None and dims is not None:
            vertical = next(name for name in VERTICAL_UNITS if name in dims)
        cube = open_segy(path, vertical=vertical, **segy)
        attrs = {name: value for name, value in cube.attrs.items() if name != "units"}
        return VolumeFile(path, {"amplitude": cube}, attrs=attrs)
    if ending in (".nc", ".zarr"):
        return VolumeFile(path, *open_store(path, dims))
    with as_data_error(f"{path.name} is not {ending[1:]}, or truncated, encrypted or too large"):
        arrays: dict[str, Any]
        if ending == ".npy":
            arrays = {"amplitude": np.load(path, mmap_mode="r")}
        else:
            with zipfile.ZipFile(path), np.load(path) as file:
                arrays = {name: file[name] for name in file.files}
    return VolumeFile(path, *name_axes(path, arrays, dims))
