"""Volumes as Zarr and NetCDF by CF conventions, a slab of inlines at a time."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import h5netcdf
import numpy as np
import xarray as xr

from thesis_lib._volume import VERTICAL_UNITS
from thesis_lib.data.lazy import map_samples
from thesis_lib.data.lines import AXES

T = TypeVar("T", xr.Dataset, xr.DataArray)

CONVENTIONS = "CF-1.11"
ZARR_FORMAT = 2  # 3 has no consolidated metadata, without which xarray's defaults warn
# Lines of a chunk along both lateral axes, so that sections of either direction read as many
# samples for each of theirs, and inlines held in memory at a time.
CHUNK_LINES = 16
CHUNK_SAMPLES = 1024
_CF_ATTRS: dict[str, dict[str, Any]] = {
    "inline": {"axis": "Y", "units": "1"},
    "crossline": {"axis": "X", "units": "1"},
    "depth": {"standard_name": "depth", "long_name": "depth"},
    "time": {"long_name": "two-way travel time"},  # no CF time: it counts from no date
    "inline_m": {"long_name": "distance from the first inline"},
    "crossline_m": {"long_name": "distance from the first crossline"},
    "amplitude": {"units": "1"},
}
# CF knows no booleans; xarray makes one again of what says so.
_MASK_ATTRS = {
    "flag_values": np.array([0, 1], np.int8),
    "flag_meanings": "background salt",
    "dtype": "bool",
}


def write_zarr(volume: xr.Dataset, path: Path) -> None:
    """
    Write a volume as a Zarr store; what there is of that name is replaced.

    Masks are compressed. Amplitudes are not: noise in the last bits leaves 5 to 50 % to gain, for
    a third of the speed.

    Parameters
    ----------
    volume : Dataset
        A volume, lazy or not.
    path : Path
    """
    slabs = _cut_slabs(_follow_cf(volume))
    first = next(slabs)
    encoding = {
        name: {
            **_encode(volume, array, "chunks"),
            "compressors": "auto" if array.dtype == np.int8 else None,
        }
        for name, array in first.variables.items()
    }
    all_chunks: dict[str, Any] = {"write_empty_chunks": True}  # so that a lost one is missed
    first.to_zarr(path, mode="w", zarr_format=ZARR_FORMAT, encoding=encoding, **all_chunks)
    for slab in slabs:
        slab.to_zarr(path, append_dim="inline", **all_chunks)


def write_netcdf(volume: xr.Dataset, path: Path) -> None:
    """
    Write a volume as NetCDF-4, whose inlines can be added to; compressed as in `write_zarr`.

    Parameters
    ----------
    volume : Dataset
        A volume, lazy or not.
    path : Path
    """
    slabs = _cut_slabs(_follow_cf(volume))
    first = next(slabs)
    encoding = {
        name: {**_encode(volume, array, "chunksizes"), "zlib": array.dtype == np.int8}
        for name, array in first.variables.items()
    }
    first.to_netcdf(path, engine="h5netcdf", unlimited_dims=["inline"], encoding=encoding)
    with h5netcdf.File(path, "a") as file:
        file.resize_dimension("inline", volume.sizes["inline"])
        for number, slab in enumerate(slabs, start=1):
            start = number * CHUNK_LINES
            for name, array in slab.variables.items():
                place = file.variables[name]
                place[start : start + slab.sizes["inline"]] = array.values.astype(place.dtype)


def count_lines(array: xr.DataArray) -> int:
    """Inlines to read at a time: those of a chunk, so that none is read twice, or one."""
    chunk = array.encoding.get("preferred_chunks", {}).get("inline", 1)
    return min(chunk, CHUNK_LINES) if isinstance(chunk, int) else 1


def iterate_slabs(volume: T, n_lines: int = CHUNK_LINES) -> Iterator[T]:
    """Blocks of ``n_lines`` inlines."""
    for start in range(0, volume.sizes["inline"], n_lines):
        yield volume.isel(inline=slice(start, start + n_lines))


def _cut_slabs(volume: xr.Dataset) -> Iterator[xr.Dataset]:
    """Slabs, one after the other; all but the first without what they share."""
    shared = [name for name, array in volume.variables.items() if "inline" not in array.dims]
    for number, slab in enumerate(iterate_slabs(volume)):
        chunked = any(array.chunks for array in slab.variables.values())  # as dask would write it
        slab = slab.drop_vars(shared) if number else slab
        yield slab.compute() if chunked else slab


def _follow_cf(volume: xr.Dataset) -> xr.Dataset:
    volume = volume.drop_encoding().transpose(*AXES, *VERTICAL_UNITS, ..., missing_dims="ignore")
    for name, array in volume.variables.items():
        attrs = _CF_ATTRS.get(str(name), {})
        if array.dtype == np.bool_:
            samples = map_samples(partial(np.asarray, dtype=np.int8), np.int8, volume[name])
            volume[name] = volume[name].copy(data=samples)
            attrs = _MASK_ATTRS
        volume[name] = volume[name].assign_attrs(attrs)
    return volume.assign_attrs(Conventions=CONVENTIONS)


def _encode(volume: xr.Dataset, array: xr.Variable, chunks: str) -> dict[str, Any]:
    if array.ndim < 3:  # only samples may be missing: coordinates have no value for it
        return {chunks: tuple(volume.sizes[dim] for dim in array.dims), "_FillValue": None}
    limits = (CHUNK_LINES, CHUNK_LINES, CHUNK_SAMPLES)
    return {chunks: tuple(min(volume.sizes[d], n) for d, n in zip(array.dims, limits, strict=True))}
