"""The arrays of a file, whatever its format, before they make a volume."""

import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.core import indexing

from thesis_lib._checks import check_choice
from thesis_lib._volume import VERTICAL_UNITS
from thesis_lib.data.errors import DataError
from thesis_lib.data.lazy import MappedArray
from thesis_lib.data.lines import AXES
from thesis_lib.data.segy import open_segy

SEGY_ENDINGS = (".sgy", ".segy")
ENDINGS = (*SEGY_ENDINGS, ".npz", ".nc", ".zarr")
_ALLOWED_DIMS = [sorted((*AXES, vertical)) for vertical in VERTICAL_UNITS]
# What the libraries below raise for damaged files; they have no error of their own.
_DAMAGE = (
    *(ValueError, OSError, RuntimeError, KeyError, TypeError, AttributeError, IndexError),
    *(EOFError, MemoryError, SystemError, zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)
_OWN_ATTRS = ("Conventions", "content_hash", "n_missing_traces")


@dataclass(frozen=True)
class VolumeFile:
    """
    The arrays of three dimensions in a file, and the line numbers that stand beside them.

    Attributes
    ----------
    path : Path
    arrays : mapping of str to DataArray
        Lazy for SEG-Y, Zarr and NetCDF.
    lines : mapping of str to array of shape (n,)
        Numbers of lines, or samples, where the arrays do not bring them along.
    attrs : mapping
        What the file tells beside.
    """

    path: Path
    arrays: Mapping[str, xr.DataArray]
    lines: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def pick(self, name: str | None, usual: str) -> xr.DataArray:
        """
        The array of a name, by default the only one or that of the ``usual`` name.

        Raises
        ------
        DataError
            If there is none, or the line numbers beside it are not as many as its lines.
        """
        if name is None:
            name = next(iter(self.arrays)) if len(self.arrays) == 1 else usual
        if name not in self.arrays:
            shown = ", ".join(f"{key} {array.shape}" for key, array in self.arrays.items())
            raise DataError(
                f"{self.path.name} has no array {name!r} of three dimensions. "
                f"Must be one of: {shown or 'none there'}."
            )
        array = self.arrays[name]
        if not array.size:
            raise DataError(f"{self.path.name}: {name} is empty, of shape {array.shape}.")
        lines = {dim: values for dim, values in self.lines.items() if dim in array.dims}
        for dim, values in lines.items():
            if len(values) != array.sizes[str(dim)]:
                raise DataError(
                    f"{self.path.name}: {name} has {array.sizes[str(dim)]} samples along {dim}, "
                    f"but {dim} lists {len(values)}. Must be the same number."
                )
        array = array.assign_coords(lines)
        for axis, values in array.coords.items():
            if values.dtype.kind not in "iuf" or not np.isfinite(values.values).all():
                raise DataError(f"{self.path.name}: {axis} of {name} holds what is no number.")
        return array


def check_path(path: str | Path) -> Path:
    """
    Refuse a path that is no volume by its ending, or that `check_place` refuses.

    Raises
    ------
    ValueError
        If the ending is unknown.
    """
    path = Path(path)
    check_place(path, folder=path.suffix.lower() == ".zarr")
    check_choice("file ending", path.suffix.lower(), ENDINGS)
    return path


def check_place(path: str | Path, *, folder: bool = False) -> Path:
    """
    Refuse a path without a file, or ``folder``, that can be read and holds something.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If it cannot be read, is empty, or is a folder instead of a file, or the other way round.
    """
    path = Path(path)
    try:
        if not path.exists():
            raise FileNotFoundError(f"No such file: {path}.")
        if path.is_dir() != folder:
            raise DataError(f"{path.name} is {'no' if folder else 'a'} folder.")
        if not folder and not path.is_file():  # to read from a pipe would never end
            raise DataError(f"{path.name} is no file, but a pipe or a device.")
        if not folder:
            with path.open("rb") as file:
                if not file.read(1):
                    raise DataError(f"{path.name} is empty.")
    except PermissionError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.") from error
    return path


def open_file(
    path: Path,
    *,
    dims: Sequence[str] | None,
    vertical: str | None,
    iline_byte: int,
    xline_byte: int,
    single_line: bool = False,
    sample_format: int | None = None,
) -> VolumeFile:
    """
    Open the arrays of a file; see `open_volume` for the arguments.

    Raises
    ------
    DataError
        If the file is not what its ending says, or truncated.
    ValueError
        If ``dims`` are needed or name other axes.
    """
    if dims is not None and sorted(dims) not in _ALLOWED_DIMS:
        raise ValueError(
            f"Invalid dims {tuple(dims)}. Must be inline, crossline, and depth or time, in any "
            "order."
        )
    if path.suffix.lower() in SEGY_ENDINGS:
        if vertical is None and dims is not None:
            vertical = next(name for name in VERTICAL_UNITS if name in dims)
        cube = open_segy(
            path,
            vertical=vertical,
            iline_byte=iline_byte,
            xline_byte=xline_byte,
            single_line=single_line,
            sample_format=sample_format,
        )
        return VolumeFile(path, {"amplitude": cube}, attrs=cube.attrs)
    if path.suffix.lower() == ".npz":
        return _open_npz(path, dims)
    return _open_store(path, dims)


def _open_npz(path: Path, dims: Sequence[str] | None) -> VolumeFile:
    if dims is None:
        raise ValueError(
            f"Say by dims how the arrays of {path.name} map to axes, such as "
            "('inline', 'crossline', 'depth')."
        )
    try:
        with zipfile.ZipFile(path), np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except _DAMAGE as error:
        raise DataError(
            f"{path.name} is not npz, or truncated, encrypted or too large: {error}."
        ) from error
    cubes = {name: xr.DataArray(a, dims=dims) for name, a in arrays.items() if a.ndim == 3}
    lines = {name: a for name, a in arrays.items() if a.ndim == 1 and name in dims}
    return VolumeFile(path, cubes, lines)


def _open_store(path: Path, dims: Sequence[str] | None) -> VolumeFile:
    zarr = path.suffix.lower() == ".zarr"
    try:
        if not zarr:
            h5py.File(path).close()  # h5netcdf leaves half an object of a file that is none
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Object at .* not recognized")  # nor is it read
            store = xr.open_dataset(
                path,
                engine="zarr" if zarr else "h5netcdf",
                cache=False,
                decode_times=False,
                backend_kwargs={"consolidated": False} if zarr else None,
            )
        store = store.assign_coords({n: (c.dims, c.values) for n, c in store.coords.items()})
    except _DAMAGE as error:
        raise DataError(f"{path.name} is not {path.suffix[1:]}, or damaged: {error}.") from error
    cubes = {
        str(name): array.copy(data=indexing.LazilyIndexedArray(_StoredArray(path, array)))
        for name, array in store.data_vars.items()
        if array.ndim == 3
    }
    if dims is not None:
        cubes = {
            name: array
            if _has_our_dims(array)
            else array.rename(dict(zip(array.dims, dims, strict=True)))
            for name, array in cubes.items()
        }
    for name, array in cubes.items():
        if not _has_our_dims(array):
            raise DataError(f"{path.name}: {name} has dims {array.dims}. Say by dims.")
    attrs = {
        str(key): value.item() if isinstance(value, np.generic) else value
        for key, value in store.attrs.items()
        if key not in _OWN_ATTRS
    }
    return VolumeFile(path, cubes, attrs=attrs)


class _StoredArray(MappedArray):
    """An array of a store that names its file where a chunk cannot be read."""

    def __init__(self, path: Path, array: xr.DataArray) -> None:
        super().__init__([array.variable], np.asarray, array.dtype)
        self.path = path

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        try:
            return super()._read(key)
        except _DAMAGE as error:
            raise DataError(f"{self.path.name} is damaged: {error}.") from error


def _has_our_dims(array: xr.DataArray) -> bool:
    return sorted(map(str, array.dims)) in _ALLOWED_DIMS
