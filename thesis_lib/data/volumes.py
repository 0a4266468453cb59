"""Volumes from files and into files."""

import logging
import shutil
import zipfile
import zlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thesis_lib._checks import check_choice, check_range
from thesis_lib._volume import VERTICAL_UNITS, build_volume, vertical_dim
from thesis_lib.data.errors import DataError
from thesis_lib.data.lazy import map_samples
from thesis_lib.data.lines import AXES
from thesis_lib.data.masks import check_alike, open_mask
from thesis_lib.data.segy import open_segy, scan_segy
from thesis_lib.data.segy_writer import write_like, write_new

SEGY_ENDINGS = (".sgy", ".segy")
WRITTEN_ENDINGS = (*SEGY_ENDINGS, ".nc", ".zarr")
ENDINGS = (*SEGY_ENDINGS, ".npz", ".nc", ".zarr")
_ALLOWED_DIMS = [sorted((*AXES, vertical)) for vertical in VERTICAL_UNITS]
_NPZ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
    OSError,
    MemoryError,
    RuntimeError,
)
_OWN_ATTRS = ("Conventions", "content_hash", "n_missing_traces")

logger = logging.getLogger(__name__)


def open_volume(
    path: str | Path,
    *,
    variable: str | None = None,
    mask: str | Path | None = None,
    salt_label: float | None = None,
    dims: Sequence[str] | None = None,
    vertical: str | None = None,
    sample_interval: float | None = None,
    spacing_m: tuple[float, float] | None = None,
    iline_byte: int = 189,
    xline_byte: int = 193,
) -> xr.Dataset:
    """
    Open a seismic volume as the Dataset that all modules read.

    SEG-Y, Zarr and NetCDF are read lazily: samples are fetched when they are asked for, and a
    first pass, line by line, checks and hashes them. Missing traces are NaN as a whole; their
    number is the attribute ``n_missing_traces``.

    Parameters
    ----------
    path : str or Path
        A file ending in .sgy, .segy, .npz or .nc, or a .zarr store.
    variable : str, optional
        Name of the amplitudes in the file. Needed unless it is ``"amplitude"`` or there is only
        one array of three dimensions.
    mask : str or Path, optional
        A variable of the same file, or a second file on the same lines whose only array, or the
        one named ``salt``, holds labels. Without it, a variable ``salt`` of the file is taken.
        Traces that are missing in the mask are missing in the volume.
    salt_label : float, optional
        The label that means salt. Not needed for masks of 0 and 1.
    dims : sequence of str, optional
        How arrays map to axes: inline, crossline, and depth or time, in the order of their
        dimensions. Needed for .npz; for .nc and .zarr where their own names differ, and without
        effect where they do not.
    vertical : {"time", "depth"}, optional
        For SEG-Y, whose headers do not tell: what ``dims`` hold, and time by default.
    sample_interval : float, optional
        In ms or m. Needed where the file does not tell, and overrides it where it does.
    spacing_m : (float, float), optional
        Distance in m for a step of one in the inline number and in the crossline number. Overrides
        what trace coordinates tell; where neither does, the volume has no distances.
    iline_byte, xline_byte : int
        First bytes of the line numbers in SEG-Y trace headers.

    Returns
    -------
    Dataset
        A volume with ``amplitude``, ``salt`` where there is a mask, and ``velocity`` where the
        file has it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file is not what its ending says, is empty or truncated, has no 3-D geometry, holds
        NaN or infinite amplitudes other than missing traces, has no variable of that name or one
        of a dtype that is no number, or if the mask does not fit the volume or holds no salt.
    ValueError
        If an argument is out of its range.
    """
    path = _check_path(path)
    if vertical is not None:
        check_choice("vertical", vertical, VERTICAL_UNITS)
    open_file = partial(
        _open_file, dims=dims, vertical=vertical, iline_byte=iline_byte, xline_byte=xline_byte
    )
    file = open_file(path)
    raw = file.pick(variable, "amplitude")
    amplitude = raw.transpose(*AXES, vertical_dim(raw))
    _check_vertical(vertical, raw.dims)
    check_alike("amplitude", amplitude, amplitude, kinds="iuf")
    salt, amplitude = _open_salt(file, amplitude, mask, salt_label, open_file)
    volume = build_volume(
        map_samples(_as_float32, np.float32, amplitude),
        **_place_lines(amplitude, spacing_m),
        vertical=_place_samples(amplitude, sample_interval),
        vertical_dim=vertical_dim(amplitude),
        salt=salt,
        velocity=_open_velocity(file, amplitude),
        attrs={"source": path.name, **file.attrs},
    )
    volume.attrs["n_missing_traces"] = _count_missing(volume["amplitude"], path)
    return volume.load() if path.suffix.lower() == ".npz" else volume


def save_volume(
    volume: xr.Dataset,
    path: str | Path,
    *,
    variable: str = "amplitude",
    like: str | Path | None = None,
    iline_byte: int = 189,
    xline_byte: int = 193,
) -> None:
    """
    Write a volume: all of it as Zarr or NetCDF by CF conventions, one variable as SEG-Y.

    The file is complete when it gets its name; one of that name is replaced.

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

    Raises
    ------
    FileNotFoundError
        If there is no such file as ``like``.
    DataError
        If the volume lies on other lines than ``like``, or SEG-Y cannot hold its vertical axis.
    ValueError
        If the ending or variable is unknown, or ``like`` is given for another format.
    """
    path = Path(path)
    ending = check_choice("file ending", path.suffix.lower(), WRITTEN_ENDINGS)
    if like is not None and ending not in SEGY_ENDINGS:
        raise ValueError(f"Invalid like {str(like)!r} for {path.name}. Must go with SEG-Y.")
    partial_path = path.with_name(f"{path.name}.partial")
    line_bytes = {"iline_byte": iline_byte, "xline_byte": xline_byte}
    try:
        _write(volume, partial_path, ending, variable, like, line_bytes)
        if ending == ".zarr" and path.is_dir():
            shutil.rmtree(path)
        partial_path.replace(path)
    finally:  # a failed write leaves nothing behind
        if partial_path.is_dir():
            shutil.rmtree(partial_path)
        partial_path.unlink(missing_ok=True)


def _write(
    volume: xr.Dataset,
    path: Path,
    ending: str,
    variable: str,
    like: str | Path | None,
    line_bytes: dict[str, int],
) -> None:
    if ending in SEGY_ENDINGS:
        cube = volume[check_choice("variable", variable, list(volume.data_vars))]
        cube = cube.transpose(*AXES, vertical_dim(cube))
        if like is None:
            write_new(cube, path, **line_bytes)
        else:
            write_like(cube, path, scan_segy(_check_path(like), **line_bytes))
    elif ending == ".nc":
        _follow_cf(volume).to_netcdf(path, engine="h5netcdf")
    else:
        _follow_cf(volume).to_zarr(path, mode="w", consolidated=False)


def _follow_cf(volume: xr.Dataset) -> xr.Dataset:
    volume = volume.assign_attrs(Conventions="CF-1.11")
    for line, axis in zip(AXES, "YX", strict=True):
        volume[line] = volume[line].assign_attrs(units="1", axis=axis)
    return volume


@dataclass(frozen=True)
class _File:
    """The arrays of three dimensions in a file, and the line numbers that stand beside them."""

    path: Path
    arrays: Mapping[str, xr.DataArray]
    lines: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    attrs: Mapping[str, Any] = field(default_factory=dict)

    def pick(self, name: str | None, usual: str) -> xr.DataArray:
        if name is None:
            name = next(iter(self.arrays)) if len(self.arrays) == 1 else usual
        if name not in self.arrays:
            shown = ", ".join(f"{key} {array.shape}" for key, array in self.arrays.items())
            raise DataError(
                f"{self.path.name} has no array {name!r} of three dimensions. "
                f"Must be one of: {shown or 'none there'}."
            )
        array = self.arrays[name]
        lines = {dim: values for dim, values in self.lines.items() if dim in array.dims}
        for dim, values in lines.items():
            if len(values) != array.sizes[str(dim)]:
                raise DataError(
                    f"{self.path.name}: {name} has {array.sizes[str(dim)]} samples along {dim}, "
                    f"but {dim} lists {len(values)}. Must be the same number."
                )
        return array.assign_coords(lines)


def _check_path(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        hint = "" if path.suffix else f" Names end in one of: {', '.join(ENDINGS)}."
        raise FileNotFoundError(f"No such file: {path}.{hint}")
    check_choice("file ending", path.suffix.lower(), ENDINGS)
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path.name} is empty.")
    if path.is_dir() != (path.suffix.lower() == ".zarr"):
        raise DataError(f"{path.name} is {'a folder' if path.is_dir() else 'no folder'}.")
    return path


def _open_file(
    path: Path,
    *,
    dims: Sequence[str] | None,
    vertical: str | None,
    iline_byte: int,
    xline_byte: int,
) -> _File:
    if dims is not None and sorted(dims) not in _ALLOWED_DIMS:
        raise ValueError(
            f"Invalid dims {tuple(dims)}. Must be inline, crossline, and depth or time, in any "
            "order."
        )
    if dims is not None:
        _check_vertical(vertical, dims)
    if path.suffix.lower() in SEGY_ENDINGS:
        if vertical is None and dims is not None:
            vertical = next(name for name in VERTICAL_UNITS if name in dims)
        cube = open_segy(path, vertical=vertical, iline_byte=iline_byte, xline_byte=xline_byte)
        return _File(path, {"amplitude": cube})
    if path.suffix.lower() == ".npz":
        return _open_npz(path, dims)
    return _open_store(path, dims)


def _check_vertical(vertical: str | None, dims: Sequence[Hashable]) -> None:
    if vertical is not None and vertical not in dims:
        raise ValueError(
            f"Invalid vertical {vertical!r} for dims {tuple(dims)}. Must be among them."
        )


def _open_npz(path: Path, dims: Sequence[str] | None) -> _File:
    if dims is None:
        raise ValueError(
            f"Say by dims how the arrays of {path.name} map to axes, such as "
            "('inline', 'crossline', 'depth')."
        )
    try:
        with zipfile.ZipFile(path), np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except _NPZ_ERRORS as error:
        raise DataError(
            f"{path.name} is not npz, or truncated, encrypted or too large: {error}."
        ) from error
    cubes = {name: xr.DataArray(a, dims=dims) for name, a in arrays.items() if a.ndim == 3}
    lines = {name: a for name, a in arrays.items() if a.ndim == 1 and name in dims}
    return _File(path, cubes, lines)


def _open_store(path: Path, dims: Sequence[str] | None) -> _File:
    zarr = path.suffix.lower() == ".zarr"
    try:
        store = xr.open_dataset(
            path,
            engine="zarr" if zarr else "h5netcdf",
            cache=False,
            decode_times=False,
            backend_kwargs={"consolidated": False} if zarr else None,
        )
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path.name} is not {path.suffix[1:]}, or damaged: {error}.") from error
    cubes = {str(name): array for name, array in store.data_vars.items() if array.ndim == 3}
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
    return _File(path, cubes, attrs=attrs)


def _has_our_dims(array: xr.DataArray) -> bool:
    return sorted(map(str, array.dims)) in _ALLOWED_DIMS


def _open_salt(
    file: _File,
    amplitude: xr.DataArray,
    mask: str | Path | None,
    salt_label: float | None,
    open_file: Callable[..., _File],
) -> tuple[Any, xr.DataArray]:
    if mask is None:
        if salt_label is not None:
            raise ValueError(f"Invalid salt_label {salt_label!r} without mask. Say which mask.")
        if "salt" not in file.arrays:
            return None, amplitude
        labels = file.pick("salt", "salt")
        if labels.dtype == np.bool_:  # a block of a volume may hold no salt
            check_alike("salt", labels, amplitude, kinds="b")
            labels = labels.transpose(*amplitude.dims)
            return map_samples(np.asarray, np.bool_, labels), amplitude
    elif mask in file.arrays:
        labels = file.pick(str(mask), "salt")
    elif not Path(mask).exists():
        raise FileNotFoundError(
            f"No such file: {mask}. Nor is it an array of {file.path.name}: "
            f"{', '.join(file.arrays)}."
        )
    else:
        second = open_file(_check_path(mask), vertical=vertical_dim(amplitude))
        labels = second.pick(None, "salt")
    return open_mask(labels, amplitude, salt_label=salt_label)


def _open_velocity(file: _File, amplitude: xr.DataArray) -> Any:
    if "velocity" not in file.arrays:
        return None
    velocity = file.pick("velocity", "velocity")
    check_alike("velocity", velocity, amplitude, kinds="iuf")
    return map_samples(_as_float32, np.float32, velocity.transpose(*amplitude.dims))


def _as_float32(samples: NDArray[Any]) -> NDArray[np.float32]:
    return samples.astype(np.float32, copy=False)


def _place_lines(amplitude: xr.DataArray, spacing_m: tuple[float, float] | None) -> dict[str, Any]:
    if spacing_m is not None and len(spacing_m) != len(AXES):
        raise ValueError(
            f"Invalid spacing_m {spacing_m!r}. Must be two numbers, one for each line."
        )
    placed: dict[str, Any] = {}
    for position, line in enumerate(AXES):
        numbers = amplitude[line].values  # counted from 0 where the file has no numbers
        metres = amplitude.coords.get(f"{line}_m")
        placed[line], placed[f"{line}_m"] = numbers, None if metres is None else metres.values
        if spacing_m is not None:
            step_m = check_range("spacing_m", spacing_m[position], low=0, open_low=True)
            placed[f"{line}_m"] = step_m * (numbers - numbers[0])
    return placed


def _place_samples(amplitude: xr.DataArray, interval: float | None) -> NDArray[Any]:
    name = vertical_dim(amplitude)
    told = name in amplitude.coords
    if interval is not None:
        check_range("sample_interval", interval, low=0, open_low=True)
        start = float(amplitude[name][0]) if told else 0.0
        return start + interval * np.arange(amplitude.sizes[name])
    if not told:
        raise ValueError(
            f"Say by sample_interval how far samples lie apart in {name}, in "
            f"{VERTICAL_UNITS[name]}: the file does not tell."
        )
    samples = np.asarray(amplitude[name].values)
    if not (np.diff(samples) > 0).all():
        raise DataError(f"The {name} of samples does not increase downward.")
    return samples


def _count_missing(amplitude: xr.DataArray, path: Path) -> int:
    n_missing = 0
    for section in amplitude:  # line by line, however large
        samples = section.values  # (crossline, vertical)
        missing = np.isnan(samples).all(axis=1)
        bad = ~np.isfinite(samples).all(axis=1) & ~missing
        if bad.any():
            crossline = section["crossline"].values[bad][0]
            raise DataError(
                f"{path.name}: NaN or infinite amplitude at inline {section['inline'].item()}, "
                f"crossline {crossline}. Only whole traces may be missing."
            )
        n_missing += int(missing.sum())
    n_traces = amplitude.sizes["inline"] * amplitude.sizes["crossline"]
    if n_missing == n_traces:
        raise DataError(f"{path.name}: every trace is missing.")
    if n_missing:
        logger.warning("%s: %d of %d traces are missing.", path.name, n_missing, n_traces)
    return n_missing
