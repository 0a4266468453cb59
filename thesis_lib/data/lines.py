"""Blocks of lines: training, validation and test that never touch, one line left out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thesis_lib._checks import check_choice, check_count
from thesis_lib._volume import content_hash, vertical_dim

AXES = ("inline", "crossline")


class Blocks(NamedTuple):
    """Three volumes cut from one; a block asked for with 0 lines is empty."""

    training: xr.Dataset
    validation: xr.Dataset
    test: xr.Dataset


def split_lines(
    volume: xr.Dataset, axis: str, *, validation: int, test: int = 0, guard: int
) -> Blocks:
    """
    Cut a volume into blocks of neighbouring lines, in the order training, validation, test.

    Sections of either direction are to be cut inside a block. With a guard of a patch's width the
    patches of two blocks are then at least that far apart.

    Parameters
    ----------
    volume : Dataset
        A volume.
    axis : {"inline", "crossline"}
        The direction whose lines are counted.
    validation, test : int
        Number of lines of the last two blocks; 0 for none, and then no guard either.
    guard : int
        Number of lines between two blocks, in no block.

    Raises
    ------
    ValueError
        If ``axis`` is unknown or no line is left for training.
    """
    check_choice("axis", axis, AXES)
    held_out = [check_count("validation", validation, low=0), check_count("test", test, low=0)]
    guard = check_count("guard", guard, low=0)
    n_lines = volume.sizes[axis]
    n_training = n_lines - sum(n + guard for n in held_out if n)
    if n_training < 1:
        raise ValueError(
            f"Invalid validation {validation}, test {test} and guard {guard} for {n_lines} lines "
            f"along {axis}. Must leave at least one line for training."
        )
    blocks = [slice(0, n_training)]
    stop = n_training
    for n in held_out:
        start = stop + guard if n else stop
        blocks.append(slice(start, start + n))
        stop = start + n
    return Blocks(*(_take(volume, axis, block) for block in blocks))


def select_lines(volume: xr.Dataset, axis: str, numbers: Sequence[int]) -> xr.Dataset:
    """
    The lines of the given numbers as a volume of their own.

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
    return _take(volume, axis, _find_lines(volume, axis, numbers))


def find_missing(volume: xr.Dataset) -> NDArray[np.bool_]:
    """
    Where traces are missing: True where the first sample is NaN.

    `open_volume` refuses a trace that is NaN in part, so one sample tells.

    Returns
    -------
    bool array of shape (n_inline, n_crossline)
    """
    top = volume["amplitude"].isel({vertical_dim(volume): 0}).transpose(*AXES)
    return np.stack([np.isnan(line.values) for line in top])  # line by line, however large


def _find_lines(volume: xr.Dataset, axis: str, numbers: Sequence[int]) -> NDArray[np.int64]:
    check_choice("axis", axis, AXES)
    lines = volume[axis].values
    unknown = np.setdiff1d(numbers, lines)
    if unknown.size:
        raise ValueError(
            f"Invalid {axis} numbers {unknown.tolist()}. "
            f"Must be among the {lines.size} lines {_describe(lines)}."
        )
    return np.flatnonzero(np.isin(lines, numbers))


def _describe(lines: NDArray[Any]) -> str:
    shown = [str(line) for line in lines]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "...", *shown[-2:]])


def _take(volume: xr.Dataset, axis: str, lines: slice | NDArray[np.int64]) -> xr.Dataset:
    block = volume.isel({axis: lines})
    n_missing = int(find_missing(block).sum()) if block.sizes[axis] else 0
    return block.assign_attrs(n_missing_traces=n_missing, content_hash=content_hash(block))
