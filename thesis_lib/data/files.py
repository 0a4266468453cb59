"""The arrays of a file, whatever its format, before they make a volume."""

import logging
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray.core import indexing

from thesis_lib._checks import check_choice
from thesis_lib._volume import VERTICAL_UNITS
from thesis_lib.data.errors import DataError, tell_damage
from thesis_lib.data.lazy import MappedArray
from thesis_lib.data.lines import AXES
from thesis_lib.data.segy import open_segy

SEGY_ENDINGS = (".sgy", ".segy")
ENDINGS = (*SEGY_ENDINGS, ".npz", ".nc", ".zarr")
_ALLOWED_DIMS = [sorted((*AXES, vertical)) for vertical in VERTICAL_UNITS]
MAX_RATIO = 10**5  # of the samples that a store declares to its bytes; compressed zeros reach 1e4
_OWN_ATTRS = ("Conventions", "content_hash", "n_missing_traces")

logger = logging.getLogger(__name__)


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
    """Refuse a path that is no volume by its ending, or that `check_place` refuses."""
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
            raise DataError(f"{path} is {'no' if folder else 'a'} folder.")
        if not folder and not path.is_file():  # to read from a pipe would never end
            raise DataError(f"{path.name} is no file, but a pipe or a device.")
        if not folder:
            with path.open("rb") as file:
                if not file.read(1):
                    raise DataError(f"{path.name} is empty.")
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.") from error
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
    if dims is not None and sorted(map(str, dims)) not in _ALLOWED_DIMS:
        raise ValueError(
            f"Invalid dims {tuple(dims)}. Must be inline, crossline, and depth or time, in any "
            "order."
        )
    if path.suffix.lower() in SEGY_ENDINGS:
        if vertical is None and dims is not None:
            vertical = next(name for name in VERTICAL_UNITS if name in dims)
        cube = open_segy(path, vertical=vertical, **segy)
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
    with (
        tell_damage(f"{path.name} is not npz, or truncated, encrypted or too large"),
        zipfile.ZipFile(path),
        np.load(path) as file,
    ):
        arrays = {name: file[name] for name in file.files}
    cubes = {name: xr.DataArray(a, dims=dims) for name, a in arrays.items() if a.ndim == 3}
    lines = {name: a for name, a in arrays.items() if a.ndim == 1 and name in dims}
    return VolumeFile(path, cubes, lines)


def _open_store(path: Path, dims: Sequence[str] | None) -> VolumeFile:
    is_zarr = path.suffix.lower() == ".zarr"
    with tell_damage(f"{path.name} is not {path.suffix[1:]}, or damaged"):
        if not is_zarr:
            h5py.File(path).close()  # h5netcdf leaves half an object of a file that is none
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Object at .* not recognized")  # nor is it read
            store = xr.open_dataset(
                path,
                engine="zarr" if is_zarr else "h5netcdf",
                cache=False,
                decode_times=False,
                backend_kwargs={"consolidated": False} if is_zarr else {"phony_dims": "access"},
            )
        _check_size(path, store.nbytes)
        store = store.assign_coords({n: (c.dims, c.values) for n, c in store.coords.items()})
        if is_zarr:
            _report_chunks(path, store)
    cubes = {}
    for name, array in store.data_vars.items():
        if array.ndim != 3:
            continue
        cube = array.copy(data=indexing.LazilyIndexedArray(_StoredArray(path, array)))
        if dims is not None and not _has_our_dims(cube):
            cube = cube.rename(dict(zip(cube.dims, dims, strict=True)))
        if not _has_our_dims(cube):
            raise DataError(f"{path.name}: {name} has dims {cube.dims}. Say by dims.")
        cubes[str(name)] = cube
    attrs = {
        str(key): value.item() if isinstance(value, np.generic) else value
        for key, value in store.attrs.items()
        if key not in _OWN_ATTRS
    }
    return VolumeFile(path, cubes, attrs=attrs)


def _check_size(path: Path, n_declared: int) -> None:
    files = path.rglob("*") if path.is_dir() else [path]
    n_bytes = sum(file.stat().st_size for file in files)
    if n_declared > MAX_RATIO * n_bytes:
        raise DataError(
            f"{path.name} declares {n_declared / 1e9:.3g} GB of samples in {n_bytes} bytes. Must "
            f"be at most {MAX_RATIO} times as much."
        )


def _report_chunks(path: Path, store: xr.Dataset) -> None:
    """Chunks that are not there read as a fill value: 0 or False for labels, NaN for floats."""
    group = zarr.open_group(path, mode="r")
    for name, array in store.data_vars.items():
        stored = group[str(name)]
        if array.ndim != 3 or not isinstance(stored, zarr.Array):
            continue
        n_missing = stored.nchunks - stored.nchunks_initialized
        if n_missing:
            lost = f"{n_missing} of {stored.nchunks} chunks of {name}"
            logger.warning("%s: %s are not there, and read as fill values.", path.name, lost)


class _StoredArray(MappedArray):
    """An array of a store that names its file where a chunk cannot be read."""

    def __init__(self, path: Path, array: xr.DataArray) -> None:
        super().__init__([array.variable], np.asarray, array.dtype)
        self.path = path

    def _read(self, key: tuple[Any, ...]) -> NDArray[Any]:
        with tell_damage(f"{self.path.name} is damaged"):
            return super()._read(key)


def _has_our_dims(array: xr.DataArray) -> bool:
    return sorted(map(str, array.dims)) in _ALLOWED_DIMS
