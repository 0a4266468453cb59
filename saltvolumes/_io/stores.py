"""Volumes in Zarr and NetCDF: read by blocks, written by CF conventions."""

import logging
import struct
import warnings
from collections.abc import Iterable, Mapping, Sequence
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from saltvolumes.errors import DataError, as_data_error
from saltvolumes.volume import AXES, BLOCK_LINES, VERTICAL_UNITS

CONVENTIONS = "CF-1.11"
ZARR_FORMAT = 2  # 3 has no consolidated metadata, without which xarray's defaults warn
CHUNKS = (BLOCK_LINES, BLOCK_LINES, 1024)
LIVE = ("trace_mask", "live_mask")  # names of arrays that state where there are traces
NETCDF_3 = b"CDF"
HEAP = b"GCOL\x01\0\0\0"  # global heap of HDF5: texts and lists of names, near the start
HEAPS_WITHIN = 2**30  # bytes of a file that are searched for heaps
MAX_RATIO = 10**5  # of the samples that a store declares to its bytes; compressed zeros reach 1e4
_READERS: dict[str, dict[str, Any]] = {
    ".zarr": {"engine": "zarr", "backend_kwargs": {"consolidated": False}},
    ".nc": {"engine": "h5netcdf", "backend_kwargs": {"phony_dims": "access"}},
}
_OWN_ATTRS = ("Conventions", "content_hash", "n_missing_traces")
_CF_ATTRS: dict[str, dict[str, Any]] = {
    "inline": {"axis": "Y", "units": "1"},
    "crossline": {"axis": "X", "units": "1"},
    "depth": {"standard_name": "depth", "long_name": "depth"},
    "time": {"long_name": "two-way travel time"},  # no CF time: it counts from no date
    "inline_m": {"long_name": "distance from the first inline"},
    "crossline_m": {"long_name": "distance from the first crossline"},
    "amplitude": {"units": "1"},
}
# CF knows no booleans; xarray turns integers with these attributes into booleans again.
_MASK_ATTRS = {
    "flag_values": np.array([0, 1], np.int8),
    "flag_meanings": "background salt",
    "dtype": "bool",
}
# Arrays by name, lines by name, attributes, and where there are traces: see `VolumeFile`.
Contents = tuple[
    dict[str, xr.DataArray], dict[str, NDArray[Any]], dict[str, Any], xr.DataArray | None
]
logger = logging.getLogger(__name__)


class _StoredArray:
    """An array of a store that names its file where a chunk cannot be read."""

    def __init__(self, path: Path, stored: Any) -> None:
        self.path, self.stored = path, stored
        self.shape, self.dtype = stored.shape, stored.dtype

    def __getitem__(self, key: tuple[slice, ...]) -> NDArray[Any]:
        with as_data_error(f"{self.path.name} is damaged"):
            values: NDArray[Any] = np.asarray(self.stored[key])
        return values


def open_store(path: Path, dims: Sequence[str] | None) -> Contents:
    """
    Open the arrays of three dimensions of a Zarr or NetCDF store lazily.

    Those of groups within are looked for where the store has none at its top, and NetCDF-3 is read
    at once.

    Parameters
    ----------
    path : Path
    dims : sequence of str, optional
        Names for the dims of arrays whose own names are not those of a volume, or that have none.

    Returns
    -------
    dict of str to DataArray
        By name, or group and name.
    dict of str to array of shape (n,)
        Numbers of lines, or samples, that the arrays do not bring along.
    dict
        Attributes of the store.
    DataArray of dims (inline, crossline), optional
        Where there are traces, if the store has an array of one of the names `LIVE`.

    Raises
    ------
    DataError
        If the store is damaged, declares many more samples than it has bytes, or needs ``dims``.
    """
    ending = path.suffix.lower()
    with as_data_error(f"{path.name} is not {ending[1:]}, or damaged"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Object at .* not recognized")  # nor is it read
            warnings.filterwarnings("ignore", "Duplicate dimension names")  # refused further on
            if ending == ".zarr" and (plain := _find_plain(path)):
                _check_size(path, sum(array.nbytes for array in plain.values()))
                _report_chunks(path, plain)
                return name_axes(path, plain, dims)
            groups = _open_groups(path, ending)
        _check_size(path, sum(group.nbytes for group in groups.values()))
        stored: dict[str, xr.DataArray] = {}
        live = None
        for name, group in groups.items():
            stored |= {
                f"{name}/{key}".strip("/"): array
                for key, array in group.data_vars.items()
                if array.ndim == 3
            }
            masks = (group[key] for key in LIVE if key in group.variables)
            live = next((mask for mask in masks if mask.ndim == 2), live)
        if ending == ".zarr":
            import zarr  # slow to import

            tree = zarr.open_group(path, mode="r")
            _report_chunks(path, {name: tree[name] for name in stored})
        cubes = {name: _open_array(path, name, array, dims) for name, array in stored.items()}
        if live is not None and cubes:
            name, first = next(iter(cubes.items()))
            own = dict(zip(stored[name].dims, first.dims, strict=True))
            live = xr.DataArray(live.values, dims=[own.get(dim, dim) for dim in live.dims])
    attrs = {
        str(key): value.item() if isinstance(value, np.generic) else value
        for key, value in groups["/"].attrs.items()
        if key not in _OWN_ATTRS
    }
    return cubes, {}, attrs, live


def _open_groups(path: Path, ending: str) -> dict[str, xr.Dataset]:
    """Dataset at the top of a store, and those of its groups where it holds no volume itself."""
    if ending == ".nc":
        with path.open("rb") as file:
            if file.read(3) == NETCDF_3:
                kept: dict[str, Any] = {"engine": "scipy", "backend_kwargs": {"mmap": False}}
                return {"/": xr.load_dataset(path, decode_times=False, **kept)}
        _check_heaps(path)
        h5py.File(path).close()  # h5netcdf leaves half an object of a file that is not HDF5
    reading: dict[str, Any] = {"cache": False, "decode_times": False, **_READERS[ending]}
    top = xr.open_dataset(path, **reading)
    if any(array.ndim == 3 for array in top.variables.values()):
        return {"/": top}
    return xr.open_groups(path, **reading)


def _check_heaps(path: Path) -> None:
    """Refuse HDF5 with a heap object of no size, which the library of HDF5 never gets past."""
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        start = content.find(HEAP, 0, HEAPS_WITHIN)
        while start >= 0:
            (n_bytes,) = struct.unpack_from("<Q", content, start + 8)
            at, stop = start + 16, min(start + n_bytes, len(content))
            while at + 16 <= stop:
                index, size = struct.unpack_from("<H6xQ", content, at)
                step = 16 + -(-size // 8) * 8 if index else size  # object 0 is what is free
                if step == 0:
                    raise DataError(f"Cannot read {path}: damaged, a heap object has no size.")
                at += step
            start = content.find(HEAP, start + 4, HEAPS_WITHIN)


def _find_plain(path: Path) -> dict[str, Any]:
    """Arrays of a Zarr store without names of axes: the store itself, or those at its top."""
    import zarr

    top = zarr.open(path, mode="r")
    arrays = {"amplitude": top} if isinstance(top, zarr.Array) else dict(top.arrays())
    named = (
        "_ARRAY_DIMENSIONS" in array.attrs or getattr(array.metadata, "dimension_names", None)
        for array in arrays.values()
    )
    return {} if any(named) else arrays


def name_axes(path: Path, arrays: Mapping[str, Any], dims: Sequence[str] | None) -> Contents:
    """
    Give arrays without names of axes those of a volume; see `open_store`.

    Raises
    ------
    DataError
        If ``dims`` are not given, or no array has three dimensions.
    """
    stored = {name: array for name, array in arrays.items() if array.ndim == 3}
    if dims is None or not stored:
        shown = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(
            f"Invalid dims {dims}. Must name the three axes of an array of {path.name}: {shown}."
        )
    cubes: dict[str, xr.DataArray] = {}
    for name, array in stored.items():
        in_memory = type(array) is np.ndarray
        lazy = array if in_memory else _open_lazily(path, array, dims, getattr(array, "chunks", ()))
        cubes[name] = xr.DataArray(lazy, dims=dims)
    lines = {dim: arrays[dim][:] for dim in dims if dim in arrays and arrays[dim].ndim == 1}
    lateral = [dim for dim in dims if dim in AXES]
    masks = (arrays[name] for name in LIVE if name in arrays and arrays[name].ndim == 2)
    live = next((xr.DataArray(mask[:], dims=lateral) for mask in masks), None)
    return cubes, lines, {}, live


def _open_array(
    path: Path, name: str, array: xr.DataArray, dims: Sequence[str] | None
) -> xr.DataArray:
    """Open an array with its coordinates of one dimension, by the names of a volume."""
    names = array.dims if dims is None or are_volume_dims(array.dims) else dims
    if len(set(array.dims)) < len(array.dims):
        raise DataError(f"{path.name}: {name} has dims {array.dims}. Must be different.")
    if not are_volume_dims(names):
        raise DataError(f"{path.name}: {name} has dims {array.dims}. Name them by dims.")
    chunks = array.encoding.get("preferred_chunks", {})
    lazy = _open_lazily(path, array.variable, names, [chunks[own] for own in array.dims if chunks])
    own = dict(zip(array.dims, names, strict=True))
    lines = {
        own.get(key, key): ([own[dim] for dim in axis.dims], axis.values, axis.attrs)
        for key, axis in array.coords.items()
        if axis.ndim == 1
    }
    return xr.DataArray(lazy, lines, names, attrs=array.attrs)


def _open_lazily(path: Path, stored: Any, names: Sequence[Any], chunks: Sequence[int]) -> Any:
    """Open in blocks of chunks of the store, or of whole traces where it has none."""
    blocks = [BLOCK_LINES if name in AXES else -1 for name in names]
    if chunks:  # so many that tiny ones do not make millions of blocks
        blocks = [-(-BLOCK_LINES // n) * n for n in chunks]
    meta = np.empty((0, 0, 0), stored.dtype)
    return da.from_array(  # type: ignore[no-untyped-call]
        _StoredArray(path, stored), tuple(blocks), name=False, meta=meta
    )


def are_volume_dims(names: Iterable[Any]) -> bool:
    """Whether these are inline, crossline, and depth or time, in any order."""
    return sorted(map(str, names)) in [sorted((*AXES, vertical)) for vertical in VERTICAL_UNITS]


def _check_size(path: Path, n_declared: int) -> None:
    files = path.rglob("*") if path.is_dir() else [path]
    n_bytes = sum(file.stat().st_size for file in files)
    if n_declared > MAX_RATIO * n_bytes:
        declared = f"{n_declared / 1e9:.3g} GB of samples in {n_bytes} bytes"
        raise DataError(f"{path.name} declares {declared}. Must be at most {MAX_RATIO} times that.")


def _report_chunks(path: Path, cubes: Mapping[str, Any]) -> None:
    """Warn of missing chunks, which read as a fill value: 0 or False for labels, NaN for floats."""
    for name, stored in cubes.items():
        n_missing = stored.nchunks - stored.nchunks_initialized
        if n_missing:
            lost = f"{n_missing} of {stored.nchunks} chunks of {name}"
            logger.warning("%s: %s are missing, and read as fill values.", path.name, lost)


def write_store(volume: xr.Dataset, path: Path, *, ending: str) -> None:
    """
    Write a volume block by block; what there is of that name is replaced.

    Masks are compressed. Amplitudes are not: noise in the last bits leaves 5 to 50 % to gain, for
    a third of the speed.

    Parameters
    ----------
    volume : Dataset
        A volume, lazy or not.
    path : Path
        Of any name.
    ending : {".zarr", ".nc"}
        Format to write.
    """
    volume = _follow_cf(volume)
    encoding = {name: _encode(array, ending) for name, array in volume.variables.items()}
    with dask.config.set(scheduler="single-threaded"):  # one block in memory at a time
        if ending == ".nc":
            volume.to_netcdf(path, engine="h5netcdf", encoding=encoding)
        else:
            whole: dict[str, Any] = {"write_empty_chunks": True}  # so that a lost one is missed
            volume.to_zarr(path, mode="w", zarr_format=ZARR_FORMAT, encoding=encoding, **whole)


def _follow_cf(volume: xr.Dataset) -> xr.Dataset:
    """Add attributes, turn masks into integers, and samples into blocks of whole traces."""
    volume = volume.drop_encoding().transpose(*AXES, *VERTICAL_UNITS, ..., missing_dims="ignore")
    for name, array in volume.variables.items():
        attrs = _CF_ATTRS.get(str(name), {})
        if array.dtype == np.bool_:
            array, attrs = array.astype(np.int8), _MASK_ATTRS
        if array.ndim == 3:
            array = array.chunk(dict(zip(array.dims, (BLOCK_LINES, BLOCK_LINES, -1), strict=True)))
        samples = array.data if array.ndim == 3 else array.values
        volume[name] = volume[name].copy(data=samples).assign_attrs(attrs)
    return volume.assign_attrs(Conventions=CONVENTIONS)


def _encode(array: xr.Variable, ending: str) -> dict[str, Any]:
    compressed = array.dtype == np.int8
    if ending == ".nc":
        name, encoding = "chunksizes", {"zlib": compressed}
    else:
        name, encoding = "chunks", {"compressors": "auto" if compressed else None}
    if array.ndim < 3:  # only samples may be missing: coordinates have no value for it
        return {**encoding, name: array.shape, "_FillValue": None}
    return {**encoding, name: tuple(map(min, array.shape, CHUNKS))}
