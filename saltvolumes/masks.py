"""Salt masks from volumes of labels or velocities."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from saltvolumes._checks import check_pair, check_range
from saltvolumes.errors import DataError
from saltvolumes.volume import AXES, read_runs, vertical_dim

# An array with more different values than this does not hold labels.
MAX_LABELS = 64
_KINDS = {"b": "bool", "i": "int", "u": "unsigned int", "f": "float"}


def open_mask(
    labels: xr.DataArray,
    amplitude: xr.DataArray,
    *,
    salt_label: float | None = None,
    salt_velocity_m_s: tuple[float, float] | None = None,
) -> tuple[xr.DataArray, xr.DataArray]:
    """
    Turn labels, or velocities, into a salt mask on the lines of a volume.

    Parameters
    ----------
    labels : DataArray
        Label of each sample, or its velocity in m/s; NaN only where a trace is missing as a whole.
    amplitude : DataArray
        The volume that the mask belongs to, of dims (inline, crossline, depth or time).
    salt_label : float, optional
        The label that means salt, within the rounding of float32 among floats. Labels that are
        all 0 or 1 need none: 1 is salt.
    salt_velocity_m_s : (float, float), optional
        The velocities that mean salt, both ends included; given for velocities only.

    Returns
    -------
    salt : bool DataArray of the shape of ``amplitude``
        Lazy where ``labels`` are, like the amplitude.
    amplitude : DataArray
        NaN in the traces that are missing in the mask.

    Raises
    ------
    DataError
        If dims, shape, line numbers or samples differ, the array holds too many values for labels,
        NaN or infinity within a trace, which label means salt is not known, or there is no salt.
    ValueError
        If ``salt_velocity_m_s`` is not a range, or given together with ``salt_label``.
    """
    check_alike("mask", labels, amplitude, kinds="biuf")
    labels = amplitude.copy(data=labels.transpose(*amplitude.dims).data)
    if salt_velocity_m_s is not None and salt_label is not None:
        raise ValueError(f"Invalid salt_label {salt_label!r} with salt_velocity_m_s.")
    gaps = find_gaps(labels, "The mask holds NaN or infinity")
    if salt_velocity_m_s is None:
        label = _choose_label(labels, salt_label)
        salt = labels == label
        if labels.dtype.kind == "f":
            salt = abs(labels - label) <= _round_off(label)
    else:
        low, high = check_pair("salt_velocity_m_s", salt_velocity_m_s)
        if not 0 < low <= high:
            raise ValueError(
                f"Invalid salt_velocity_m_s {salt_velocity_m_s!r}. Must rise, above 0."
            )
        salt = (low <= labels) & (labels <= high)
        parts = {"salt": salt.any(), "least": labels.min(), "most": labels.max()}
        found = xr.Dataset(parts).compute()
        if not found["salt"]:
            span = f"{found['least']:g} to {found['most']:g} m/s, not {low:g} to {high:g}"
            raise DataError(f"The mask holds no salt: velocities of {span}.")
    return salt, amplitude.where(labels.notnull()) if gaps.any() else amplitude


def find_gaps(cube: xr.DataArray, what: str) -> NDArray[np.bool_]:
    """
    Find missing traces, NaN as a whole.

    Returns
    -------
    bool array of shape (n_inline, n_crossline)

    Raises
    ------
    DataError
        If a trace is NaN or infinite in part: ``what`` at its lines.
    """
    samples = [vertical_dim(cube)]
    traces = xr.Dataset({"missing": cube.isnull().all(samples), "bad": ~np.isfinite(cube)})
    traces = traces.assign(bad=traces["bad"].any(samples) & ~traces["missing"]).compute()
    bad = np.argwhere(traces["bad"].values)
    if bad.size:
        inline, crossline = (cube[axis].values[k] for axis, k in zip(AXES, bad[0], strict=True))
        where = f"at inline {inline}, crossline {crossline}"
        raise DataError(f"{what} {where}. Only whole traces may be missing.")
    return traces["missing"].values


def check_alike(
    name: str, array: xr.DataArray, amplitude: xr.DataArray, *, kinds: str, of: str = "the volume"
) -> None:
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
    of : str
        What ``amplitude`` belongs to, for messages.

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
                f"The {name} lies on other samples along {dim}: {shown}. Must be those of {of}, "
                f"{allowed}: none are interpolated."
            )


def _choose_label(labels: xr.DataArray, salt_label: float | None) -> float:
    """Label that means salt: the one given, or 1 among 0 and 1."""
    found: set[float] = set()
    for run in read_runs(labels):
        found.update(np.unique(run.values[np.isfinite(run.values)]).tolist())
        if len(found) > MAX_LABELS:
            kind = f"more than {MAX_LABELS} values of {labels.dtype}, not labels"
            raise DataError(f"The mask holds {kind}. Give salt_velocity_m_s for velocities.")
    shown = ", ".join(f"{label:.9g}" for label in sorted(found))
    is_float = labels.dtype.kind == "f"
    if salt_label is None:
        if any(min(abs(label), abs(label - 1)) > is_float * _round_off(1) for label in found):
            raise DataError(f"The mask holds labels {shown}. Name that of salt by salt_label.")
        salt_label = 1
    check_range("salt_label", salt_label)
    if not any(abs(label - salt_label) <= is_float * _round_off(salt_label) for label in found):
        raise DataError(f"The mask holds no salt: label {salt_label:g} is not among {shown}.")
    return salt_label


def _round_off(label: float) -> float:
    """What float32 may make of a label, and less than half of the step to another whole one."""
    return min(4 * float(np.finfo(np.float32).eps) * max(abs(label), 1), 0.4)
