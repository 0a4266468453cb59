"""Salt masks from volumes of labels or velocities."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thesis_lib._checks import check_pair
from thesis_lib.data.errors import DataError
from thesis_lib.data.lazy import map_samples
from thesis_lib.data.lines import AXES
from thesis_lib.data.stores import count_lines, iterate_slabs

# An array with more different values than this is no array of labels.
MAX_LABELS = 64
_KINDS = {"b": "bool", "i": "int", "u": "unsigned int", "f": "float"}


def open_mask(
    labels: xr.DataArray,
    amplitude: xr.DataArray,
    *,
    salt_label: float | None = None,
    salt_velocity_m_s: tuple[float, float] | None = None,
) -> tuple[Any, xr.DataArray]:
    """
    See labels, or velocities, as a salt mask on the lines of a volume.

    Parameters
    ----------
    labels : DataArray
        Label of each sample, or its velocity in m/s; NaN only where a trace is missing as a whole.
    amplitude : DataArray
        The volume that the mask belongs to, of dims (inline, crossline, depth or time).
    salt_label : float, optional
        The label that means salt. Labels that are all 0 or 1 need none: 1 is salt.
    salt_velocity_m_s : (float, float), optional
        The velocities that mean salt, both ends included. Says that there are no labels.

    Returns
    -------
    salt : lazy bool array of the shape of ``amplitude``
    amplitude : DataArray
        With the traces missing, lazily, that are missing in the mask.

    Raises
    ------
    DataError
        If dims, shape, line numbers or samples differ, the array holds no labels, NaN or infinity
        within a trace, salt cannot be told, or there is none.
    ValueError
        If ``salt_velocity_m_s`` is no range, or stands beside ``salt_label``.
    """
    check_alike("mask", labels, amplitude, kinds="biuf")
    labels = labels.transpose(*amplitude.dims)
    labels = labels.assign_coords({line: amplitude[line] for line in AXES})
    if salt_velocity_m_s is None:
        found, gaps = _find_labels(labels)
        low = high = _choose_label(found, salt_label)
    elif salt_label is None:
        low, high = _check_velocities(salt_velocity_m_s)
        gaps = _find_velocities(labels, low, high)
    else:
        raise ValueError(
            f"Invalid salt_label {salt_label!r} beside salt_velocity_m_s. Must be one of the two."
        )
    if gaps:
        amplitude = amplitude.copy(data=map_samples(_leave_out, np.float32, amplitude, labels))
    return map_samples(partial(_lie_within, low=low, high=high), np.bool_, labels), amplitude


def _lie_within(labels: NDArray[Any], *, low: float, high: float) -> NDArray[np.bool_]:
    return (low <= labels) & (labels <= high)


def _leave_out(samples: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float32]:
    return np.where(np.isnan(labels), np.float32(np.nan), samples).astype(np.float32)


def find_gaps(slab: xr.DataArray, values: NDArray[Any], what: str) -> NDArray[np.bool_]:
    """
    Traces of ``values`` that are missing, NaN as a whole.

    Raises
    ------
    DataError
        If a trace is NaN or infinite in part; names its lines.
    """
    missing: NDArray[np.bool_] = np.isnan(values).all(axis=2)
    bad = np.argwhere(~np.isfinite(values).all(axis=2) & ~missing)
    if bad.size:
        inline, crossline = (slab[axis].values[k] for axis, k in zip(AXES, bad[0], strict=True))
        raise DataError(
            f"{what} at inline {inline}, crossline {crossline}. Only whole traces may be missing."
        )
    return missing


def check_alike(name: str, array: xr.DataArray, amplitude: xr.DataArray, *, kinds: str) -> None:
    """
    Refuse an array of another kind of numbers, or on other samples, than a volume can take.

    Parameters
    ----------
    name : str
        What the array is, for messages.
    array, amplitude : DataArray
        Of dims in any order.
    kinds : str
        Letters of numpy's kinds of dtype that are allowed.

    Raises
    ------
    DataError
        If dtype, dims, shape or line numbers do not fit.
    """
    if array.dtype.kind not in kinds:
        allowed = ", ".join(_KINDS[kind] for kind in kinds)
        raise DataError(f"The {name} is of dtype {array.dtype}. Must be one of: {allowed}.")
    if set(array.dims) != set(amplitude.dims):
        raise DataError(f"The {name} has dims {array.dims}. Must be those of {amplitude.dims}.")
    for dim in amplitude.dims:
        known = dim in array.coords and dim in amplitude.coords
        first, second = array[dim].values, amplitude[dim].values
        same = first.size == second.size
        if not same or (known and not np.allclose(first, second, rtol=0, atol=1e-3)):
            shown, allowed = (f"{n.size} from {n[0]:.9g} to {n[-1]:.9g}" for n in (first, second))
            raise DataError(
                f"The {name} lies on other samples along {dim}: {shown}. Must be those of the "
                f"volume, {allowed}; none are interpolated."
            )


def _read_parts(labels: xr.DataArray) -> Iterator[tuple[NDArray[Any], bool]]:
    """Labels that are known, and whether a trace is missing, slab by slab, however large."""
    for slab in iterate_slabs(labels, count_lines(labels)):
        values = slab.values
        missing = find_gaps(slab, values, "The mask holds NaN or infinity")
        yield values[~missing], bool(missing.any())


def _find_labels(labels: xr.DataArray) -> tuple[list[float], bool]:
    """All labels, and whether a trace is missing."""
    found: set[float] = set()
    gaps = False
    for values, missing in _read_parts(labels):
        gaps |= missing
        found.update(np.unique(values).tolist())
        if len(found) > MAX_LABELS:
            raise DataError(
                f"The mask of dtype {labels.dtype} holds more than {MAX_LABELS} different values: "
                "no labels. Say by salt_velocity_m_s if they are velocities."
            )
    return sorted(found), gaps


def _choose_label(found: list[float], salt_label: float | None) -> float:
    shown = ", ".join(f"{label:g}" for label in found)
    if salt_label is None:
        if not {0, 1}.issuperset(found):
            raise DataError(f"The mask holds labels {shown}. Say by salt_label which is salt.")
        salt_label = 1
    if salt_label not in found:
        raise DataError(f"The mask holds no salt: label {salt_label:g} is not among {shown}.")
    return salt_label


def _check_velocities(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = check_pair("salt_velocity_m_s", limits)
    if not 0 < low <= high:
        raise ValueError(
            f"Invalid salt_velocity_m_s {limits!r}. Must be two rising numbers above 0."
        )
    return low, high


def _find_velocities(velocity: xr.DataArray, low: float, high: float) -> bool:
    """Whether a trace is missing."""
    gaps, salt = False, False
    slowest, fastest = np.inf, -np.inf
    for values, missing in _read_parts(velocity):
        gaps |= missing
        salt |= bool(_lie_within(values, low=low, high=high).any())
        slowest = min(slowest, values.min(initial=np.inf))
        fastest = max(fastest, values.max(initial=-np.inf))
    if not salt:
        raise DataError(
            f"The mask holds no salt: no velocity lies within {low:g} to {high:g} m/s, they run "
            f"from {slowest:g} to {fastest:g}."
        )
    return gaps
