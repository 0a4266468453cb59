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


def open_mask(labels: xr.DataArray, amplitude: xr.DataArray, *, salt_label: float | None) -> Any:
    """
    See labels as a salt mask on the lines of a volume.

    Parameters
    ----------
    labels : DataArray
        Label of each sample; NaN, as in a missing trace, is not salt.
    amplitude : DataArray
        The volume that the mask belongs to, of dims (inline, crossline, depth or time).
    salt_label : float, optional
        The label that means salt. Labels that are all 0 or 1 need none: 1 is salt.

    Returns
    -------
    lazy bool array of the shape of ``amplitude``

    Raises
    ------
    DataError
        If dims, shape or line numbers differ, the array holds no labels, salt cannot be told, or
        there is none.
    """
    _check_alike(labels, amplitude)
    found = _find_labels(labels)
    shown = ", ".join(f"{label:g}" for label in found)
    if salt_label is None:
        if not {0, 1}.issuperset(found):
            raise DataError(f"The mask holds labels {shown}. Say by salt_label which is salt.")
        salt_label = 1
    if salt_label not in found:
        raise DataError(f"The mask holds no salt: label {salt_label:g} is not among {shown}.")
    return map_samples(labels.transpose(*amplitude.dims), partial(np.equal, salt_label), np.bool_)


def _check_alike(labels: xr.DataArray, amplitude: xr.DataArray) -> None:
    if dict(labels.sizes) != dict(amplitude.sizes):
        raise DataError(
            f"The mask has another shape: {dict(labels.sizes)}. "
            f"Must be that of the volume, {dict(amplitude.sizes)}."
        )
    for dim in amplitude.dims:
        if dim in labels.coords and dim in amplitude.coords:
            first, second = labels[dim].values, amplitude[dim].values
            if not np.allclose(first, second, rtol=0, atol=1e-3):
                raise DataError(
                    f"The mask lies elsewhere: its {dim} runs from {first[0]} to {first[-1]}. "
                    f"Must be that of the volume, {second[0]} to {second[-1]}."
                )


def _find_labels(labels: xr.DataArray) -> list[float]:
    found: set[float] = set()
    for part in labels:  # line by line, however large
        values: NDArray[Any] = np.unique(part.values)
        found.update(values[~np.isnan(values)].tolist())
        if len(found) > MAX_LABELS:
            raise DataError(f"The mask holds more than {MAX_LABELS} different values: no labels.")
    return sorted(found)
