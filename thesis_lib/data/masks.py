"""Salt masks from volumes of labels."""

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thesis_lib.data.errors import DataError
from thesis_lib.data.lazy import map_samples

# An array with more different values than this is no array of labels.
MAX_LABELS = 64
_KINDS = {"b": "bool", "i": "int", "u": "unsigned int", "f": "float"}


def open_mask(
    labels: xr.DataArray, amplitude: xr.DataArray, *, salt_label: float | None
) -> tuple[Any, xr.DataArray]:
    """
    See labels as a salt mask on the lines of a volume.

    Parameters
    ----------
    labels : DataArray
        Label of each sample; NaN only where a trace is missing as a whole.
    amplitude : DataArray
        The volume that the mask belongs to, of dims (inline, crossline, depth or time).
    salt_label : float, optional
        The label that means salt. Labels that are all 0 or 1 need none: 1 is salt.

    Returns
    -------
    salt : lazy bool array of the shape of ``amplitude``
    amplitude : DataArray
        With the traces missing, lazily, that are missing in the mask.

    Raises
    ------
    DataError
        If dims, shape or line numbers differ, the array holds no labels or NaN within a trace,
        salt cannot be told, or there is none.
    """
    check_alike("mask", labels, amplitude, kinds="biuf")
    labels = labels.transpose(*amplitude.dims)
    found, gaps = _find_labels(labels)
    shown = ", ".join(f"{label:g}" for label in found)
    if salt_label is None:
        if not {0, 1}.issuperset(found):
            raise DataError(f"The mask holds labels {shown}. Say by salt_label which is salt.")
        salt_label = 1
    if salt_label not in found:
        raise DataError(f"The mask holds no salt: label {salt_label:g} is not among {shown}.")
    if gaps:
        amplitude = amplitude.copy(data=map_samples(_leave_out, np.float32, amplitude, labels))
    return map_samples(partial(np.equal, salt_label), np.bool_, labels), amplitude


def _leave_out(samples: NDArray[Any], labels: NDArray[Any]) -> NDArray[np.float32]:
    return np.where(np.isnan(labels), np.float32(np.nan), samples).astype(np.float32)


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
    if dict(array.sizes) != dict(amplitude.sizes):
        raise DataError(
            f"The {name} has another shape: {dict(array.sizes)}. "
            f"Must be that of the volume, {dict(amplitude.sizes)}."
        )
    for dim in amplitude.dims:
        if dim in array.coords and dim in amplitude.coords:
            first, second = array[dim].values, amplitude[dim].values
            if not np.allclose(first, second, rtol=0, atol=1e-3):
                raise DataError(
                    f"The {name} lies elsewhere: its {dim} runs from {first[0]} to {first[-1]}. "
                    f"Must be that of the volume, {second[0]} to {second[-1]}."
                )


def _find_labels(labels: xr.DataArray) -> tuple[list[float], bool]:
    """All labels, and whether a trace is missing."""
    found: set[float] = set()
    gaps = False
    for part in labels:  # line by line, however large
        unknown = np.isnan(part.values)  # (crossline, vertical)
        bad = unknown.any(axis=1) & ~unknown.all(axis=1)
        if bad.any():
            raise DataError(
                f"The mask holds NaN within {bad.sum()} traces, first at index {bad.argmax()} of "
                "its line. Only whole traces may be missing."
            )
        gaps |= bool(unknown.any())
        values: NDArray[Any] = np.unique(part.values)
        found.update(values[~np.isnan(values)].tolist())
        if len(found) > MAX_LABELS:
            raise DataError(
                f"The mask of dtype {labels.dtype} holds more than {MAX_LABELS} different values: "
                "no labels."
            )
    return sorted(found), gaps
