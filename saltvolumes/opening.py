"""Volumes from files."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from saltvolumes._checks import check_choice, check_pair, check_range
from saltvolumes._io.files import VolumeFile, check_file, check_path, open_file
from saltvolumes._io.units import convert_velocities
from saltvolumes.errors import DataError
from saltvolumes.horizons import fill_between
from saltvolumes.lines import find_runs
from saltvolumes.masks import check_alike, find_gaps, open_mask
from saltvolumes.volume import AXES, VERTICAL_UNITS, build_volume, vertical_dim

# One name, or horizons: (top, base), or several such pairs.
Mask = str | Path | Sequence[str | Path] | Sequence[Sequence[str | Path]]

logger = logging.getLogger(__name__)


def open_volume(
    path: str | Path,
    *,
    variable: str | None = None,
    mask: Mask | None = None,
    salt_label: float | None = None,
    salt_velocity_m_s: tuple[float, float] | None = None,
    horizon_columns: Sequence[int] = (0, 1, 2),
    horizon_scale: float = 1.0,
    dims: Sequence[str] | None = None,
    vertical: str | None = None,
    sample_interval: float | None = None,
    spacing_m: tuple[float, float] | None = None,
    iline_byte: int = 189,
    xline_byte: int = 193,
    mask_bytes: tuple[int, int] | None = None,
    single_line: bool = False,
    sample_format: int | None = None,
) -> xr.Dataset:
    """
    Open a seismic volume as the Dataset that all modules read.

    SEG-Y, Zarr and NetCDF are read as Dask arrays in blocks of neighbouring traces, and a first
    pass checks and hashes the samples. Missing traces are NaN as a whole; their number is the
    attribute ``n_missing_traces``. In SEG-Y, traces of zeros that their header calls dead are
    missing, as are those that a ``trace_mask`` (or ``live_mask``) of another file says. Units that
    a file states are converted to m, ms and m/s.

    Parameters
    ----------
    path : str or Path
        A file ending in .sgy, .segy, .npz, .npy or .nc, or a .zarr store.
    variable : str, optional
        Name of the amplitudes in the file. Needed unless it is ``"amplitude"`` or there is only
        one array of three dimensions. In a group of a store: ``"group/name"``.
    mask : str, Path, or pairs of them, optional
        A variable of the same file, or a second file on the same lines and samples whose only
        array, or the one named ``salt``, holds labels. Without it, a variable ``salt`` of the file
        is taken. Traces that are missing in the mask are missing in the volume.

        Or horizons: one pair, or several, of text files with picks of the top and the base of
        salt. Salt is top <= z < base, the union of all pairs; a trace with only one pick of a pair
        has none from it.
    salt_label : float, optional
        The label that means salt. Not needed for masks of 0 and 1.
    salt_velocity_m_s : (float, float), optional
        Which velocities mean salt, both ends included, where ``mask`` holds velocities (the only
        array, or the one named ``velocity``). SEAM's salt has 4480 m/s and its basement more:
        (4400, 4600) takes a smoothed model too; (4400, inf) whatever is fast.
    horizon_columns : sequence of three int
        The columns of the text files, counted from 0, with inline, crossline, and depth or time.
    horizon_scale : float
        Turns the picks into m or ms, counted downward: 1000 from s, -1 from heights, 0.3048 from
        feet.
    dims : sequence of str, optional
        How arrays map to axes: inline, crossline, and depth or time, in the order of their
        dimensions. Needed for .npz and .npy; for .nc and .zarr where their own names differ or
        are missing, and without effect where they do not.
    vertical : {"time", "depth"}, optional
        For SEG-Y, whose headers do not state it: what ``dims`` hold, and time by default.
    sample_interval : float, optional
        In ms or m. Needed where the file does not state it, and overrides it where it does, in
        SEG-Y for the mask too. The first sample is where the file has it, or at 0.
    spacing_m : (float, float), optional
        Distance in m for a step of one in the inline number and in the crossline number. Overrides
        trace coordinates; without either, the volume has no distances.
    iline_byte, xline_byte : int
        First bytes of the line numbers in SEG-Y trace headers. Exchanged, they exchange the axes.
    mask_bytes : (int, int), optional
        First bytes of the inline and crossline numbers in the mask, where they are others.
    single_line : bool
        Read a SEG-Y file, and that of the mask, as a 2-D line: inline 1. Its crosslines are the
        CDP numbers where these only rise or only fall along the file, else traces counted from 1.
    sample_format : int, optional
        Code of SEG-Y's sample format, where that of the header is wrong: 1 IBM floats, 5 IEEE
        floats, 3 int16 and so on. It does not apply to the mask.

    Returns
    -------
    Dataset
        A volume with ``amplitude``, ``salt`` where there is a mask, and ``velocity`` where the
        file has it. SEG-Y adds the attributes ``trace_order``,
        ``trace_coordinates``, ``inline_bearing_deg``, ``crossline_bearing_deg``, ``byte_order``,
        ``sample_format``, ``sample_format_doubt`` where samples and header seem to differ,
        ``sample_interval_doubt`` where headers state several intervals, and ``trace_starts`` where
        traces start at different times: the samples that all of them have are read.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the file is not what its ending says, is empty or truncated, has no 3-D geometry, holds
        NaN or infinite amplitudes other than missing traces, has no variable of that name or one
        that is not numeric, or if the mask does not fit the volume or holds no salt.
    ValueError
        If an argument is out of its range.
    """
    path = check_path(path)
    if vertical is not None:
        check_choice("vertical", vertical, VERTICAL_UNITS)
    lines: dict[str, Any] = {"iline_byte": iline_byte, "xline_byte": xline_byte}
    if sample_interval is not None:
        check_range("sample_interval", sample_interval, low=0, exclusive=True)
    lines |= {"single_line": single_line, "sample_interval": sample_interval}
    file = open_file(path, dims=dims, vertical=vertical, sample_format=sample_format, **lines)
    amplitude = file.pick(variable, "amplitude")
    amplitude = amplitude.transpose(*AXES, vertical_dim(amplitude))
    for name in (vertical, *(dims or ())):
        if name in VERTICAL_UNITS and name not in amplitude.dims:
            raise ValueError(f"Invalid vertical or dims {name!r} for {amplitude.dims}.")
    check_alike("amplitude", amplitude, amplitude, kinds="iuf")
    samples = _find_samples(amplitude, sample_interval)
    meanings = {"salt_label": salt_label, "salt_velocity_m_s": salt_velocity_m_s}
    if mask is None or isinstance(mask, str | Path):
        if mask_bytes is not None:
            check_pair("mask_bytes", mask_bytes)
            lines["iline_byte"], lines["xline_byte"] = mask_bytes
        open_one = partial(open_file, dims=dims, vertical=vertical_dim(amplitude), **lines)
        salt, amplitude = _open_salt(file, amplitude, mask, meanings, open_one)
    else:
        _refuse(meanings, "with horizons")
        pairs = _pair_files(mask)
        salt = fill_between(pairs, amplitude, samples, columns=horizon_columns, scale=horizon_scale)
    velocity = None
    if "velocity" in file.arrays:
        found = file.pick("velocity", "velocity")
        check_alike("velocity", found, amplitude, kinds="iuf")
        velocity = convert_velocities(found, path.name).transpose(*amplitude.dims).data
    volume = build_volume(
        amplitude.data,
        **_find_lines(amplitude, spacing_m),
        vertical=samples,
        vertical_dim=vertical_dim(amplitude),
        salt=None if salt is None else salt.data,
        velocity=velocity,
        attrs={"source": path.name, **file.attrs},
    )
    _report_lines(volume)
    missing = find_gaps(volume["amplitude"], f"{path.name}: NaN or infinite amplitude")
    if missing.all():
        raise DataError(f"{path.name}: every trace is missing.")
    if missing.any():
        logger.warning("%s: %d of %d traces are missing.", path.name, missing.sum(), missing.size)
    return volume.assign_attrs(n_missing_traces=int(missing.sum()))


def _report_lines(volume: xr.Dataset) -> None:
    """Warn where distances are not known though there are coordinates, and of lines far apart."""
    name, reason = volume.attrs["source"], volume.attrs.get("trace_coordinates")
    if reason is not None and not any(f"{line}_m" in volume.coords for line in AXES):
        remedy = "Pass spacing_m, in m for a step of one in the inline and crossline number"
        logger.warning("%s: no distances between lines: %s. %s.", name, reason, remedy)
    for line in AXES:
        numbers, (_, *others) = volume[line].values, find_runs(volume[line].values)
        if others:
            pair = " and ".join(map(str, numbers[others[0].start - 1 :][:2]))
            where = f"{line}s {pair} ({len(others)} such gaps)"
            logger.warning("%s: %s are far apart, and not treated as neighbours.", name, where)


def _refuse(meanings: Mapping[str, Any], where: str) -> None:
    for name, value in meanings.items():
        if value is not None:
            raise ValueError(f"Invalid {name} {value!r} {where}. Must go with a mask of numbers.")


def _pair_files(mask: Any) -> list[tuple[Path, Path]]:
    names = mask if isinstance(mask, Sequence) else ()
    pairs = [names] if all(isinstance(name, str | Path) for name in names) else names
    if any(isinstance(pair, str | Path) or len(pair) != 2 for pair in pairs):
        raise ValueError(f"Invalid mask {mask!r}. Must be a name, or pairs of files (top, base).")
    return [(check_file(top), check_file(base)) for top, base in pairs]


def _open_salt(
    file: VolumeFile,
    amplitude: xr.DataArray,
    mask: str | Path | None,
    meanings: Mapping[str, Any],
    open_one: Callable[..., VolumeFile],
) -> tuple[xr.DataArray | None, xr.DataArray]:
    """Mask, and the amplitudes with the traces missing that the mask lacks."""
    if mask is None:
        _refuse(meanings, "without mask")
        if "salt" not in file.arrays:
            return None, amplitude
        labels = file.pick("salt", "salt")
        if labels.dtype == np.bool_:  # a block of a volume may hold no salt
            check_alike("salt", labels, amplitude, kinds="b")
            return labels.transpose(*amplitude.dims), amplitude
    elif mask in file.arrays:
        labels = file.pick(str(mask), "salt")
    elif not Path(mask).exists():
        arrays = ", ".join(file.arrays)
        raise FileNotFoundError(
            f"No such file: {mask}. Nor is it an array of the volume: {arrays}."
        )
    else:
        usual = "salt" if meanings["salt_velocity_m_s"] is None else "velocity"
        file = open_one(check_path(mask), keep_dead=True)
        labels = file.pick(None, usual)
    if meanings["salt_velocity_m_s"] is not None:
        labels = convert_velocities(labels, file.path.name)
    return open_mask(labels, amplitude, **meanings)


def _find_lines(amplitude: xr.DataArray, spacing_m: tuple[float, float] | None) -> dict[str, Any]:
    """Numbers and distances of lines, as arguments of `build_volume`."""
    found: dict[str, Any] = {}
    for position, line in enumerate(AXES):
        numbers = amplitude[line].values  # counted from 0 where the file has no numbers
        found[line], found[f"{line}_m"] = numbers, amplitude.coords.get(f"{line}_m")
        if spacing_m is not None:
            step_m = check_pair("spacing_m", spacing_m)[position]
            check_range("spacing_m", step_m, low=0, exclusive=True)
            found[f"{line}_m"] = step_m * (numbers - numbers[0])
    return found


def _find_samples(amplitude: xr.DataArray, interval: float | None) -> NDArray[Any]:
    """Depth in m or time in ms of the samples."""
    name = vertical_dim(amplitude)
    if interval is not None:
        start = float(amplitude[name][0]) if name in amplitude.coords else 0.0
        return start + interval * np.arange(amplitude.sizes[name])
    if name not in amplitude.coords:
        reason = amplitude.attrs.get("sample_interval_doubt", "the file does not state it")
        raise ValueError(
            f"Invalid sample_interval None. Must be the step of {name} in {VERTICAL_UNITS[name]}, "
            f"since {reason}."
        )
    return amplitude[name].values
