"""Lines of a volume: chosen by number, cut as sections, and where traces are missing."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from saltvolumes._checks import check_choice
from saltvolumes.volume import AXES, LATERAL, content_hash, vertical_dim

NEAR_STEPS = 1.5  # median steps between line numbers up to which two lines are neighbours


def select_lines(volume: xr.Dataset, axis: str, numbers: Sequence[int]) -> xr.Dataset:
    """
    Take the lines of the given numbers as a volume of their own.

    Parameters
    ----------
    volume : Dataset
        A volume.
    axis : {"inline", "crossline"}
        The direction whose lines are chosen.
    numbers : sequence of int
        Line numbers, as in the coordinate ``axis``.

    Raises
    ------
    ValueError
        If ``axis`` is unknown or a number is not among the lines.
    """
    check_choice("axis", axis, AXES)
    lines = volume[axis].values
    unknown = np.setdiff1d(numbers, lines)
    if unknown.size:
        raise ValueError(
            f"Invalid {axis} numbers {unknown.tolist()}. "
            f"Must be among the {lines.size} lines {_describe(lines)}."
        )
    part = volume.isel({axis: np.flatnonzero(np.isin(lines, numbers))})
    n_missing = int(find_missing(part).sum())
    return part.assign_attrs(n_missing_traces=n_missing, content_hash=content_hash(part))


def _describe(lines: NDArray[Any]) -> str:
    shown = [str(line) for line in lines]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-2:]])


def find_missing(volume: xr.Dataset) -> NDArray[np.bool_]:
    """
    Find missing traces: True where the first sample is NaN.

    `open_volume` refuses a trace that is NaN in part, so one sample is enough.

    Returns
    -------
    bool array of shape (n_inline, n_crossline)
    """
    top = volume["amplitude"].isel({vertical_dim(volume): 0}).transpose(*AXES)
    return top.isnull().values


def find_runs(numbers: NDArray[Any]) -> list[slice]:
    """
    Find runs of neighbouring lines: a step of more than 1.5 times the median step ends one.

    Parameters
    ----------
    numbers : array of shape (n,)
        Line numbers in their order.

    Returns
    -------
    list of slice
        Positions of the lines of each run.

    Examples
    --------
    >>> find_runs(np.array([1, 2, 3, 10, 11]))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    steps = np.abs(np.diff(numbers))
    ends = np.flatnonzero(steps > NEAR_STEPS * np.median(steps)) + 1 if steps.size else ()
    return [slice(*map(int, pair)) for pair in pairwise([0, *ends, len(numbers)])]


def middle_section(volume: xr.Dataset, axis: str) -> xr.Dataset:
    """
    Middle section of a volume along an axis, of dims (depth or time, the other lateral axis).

    Raises
    ------
    ValueError
        If ``axis`` is unknown.
    """
    return _take_section(volume, axis, volume.sizes[check_choice("axis", axis, AXES)] // 2)


def richest_section(volume: xr.Dataset, axis: str) -> xr.Dataset:
    """
    Section with the most salt along an axis, or the middle one where no mask is known.

    Raises
    ------
    ValueError
        If ``axis`` is unknown.
    """
    check_choice("axis", axis, AXES)
    if "salt" not in volume:
        return middle_section(volume, axis)
    n_salt = volume["salt"].sum([LATERAL[axis], vertical_dim(volume)])
    return _take_section(volume, axis, int(n_salt.values.argmax()))


def _take_section(volume: xr.Dataset, axis: str, index: int) -> xr.Dataset:
    return volume.isel({axis: index}).transpose(vertical_dim(volume), LATERAL[axis])
