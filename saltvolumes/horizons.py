"""Salt between picked horizons: text files of inline, crossline and depth or time."""

import logging
import operator
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from saltvolumes._checks import check_count, check_range
from saltvolumes.errors import DataError, as_data_error
from saltvolumes.volume import AXES, VERTICAL_UNITS, vertical_dim

COMMENTS = ("#", "!", "EOD")  # and the end of data
UNDEFINED = -999.25  # as is NaN, and
UNDEFINED_FROM = 1e20  # packages write 1e30 and its like
NEAR_WHOLE = 0.01  # of a line number that is meant to be whole
FEW_CROSSED = 0.05  # fraction of traces on which a top may lie below its base by a sample

Floats = NDArray[np.float64]
logger = logging.getLogger(__name__)


def read_picks(path: Path, *, columns: Sequence[int] = (0, 1, 2), scale: float = 1.0) -> Floats:
    """
    Read a horizon as interpretation packages export it: one pick per line, in any order.

    Columns are separated by blanks, semicolons or commas, as in the first pick; with the former
    two, decimals may have a comma. Lines before the first pick are a header; what follows ``#`` or
    ``!`` is a comment.

    Parameters
    ----------
    path : Path
    columns : sequence of three int
        Which columns, counted from 0, hold inline, crossline, and depth or time.
    scale : float
        Factor that turns depth into m and time into ms, both counted downward.

    Returns
    -------
    float array of shape (n_picks, 3)
        Inline, crossline, and depth or time times ``scale``, without undefined picks: NaN,
        -999.25, or of a size of 1e20 and more.

    Raises
    ------
    DataError
        If there are no picks, a line after the first pick is not a pick, or a line number is not
        finite.
    TypeError, ValueError
        If ``columns`` are not three different whole numbers of 0 or more, or ``scale`` is 0 or not
        finite.
    """
    if len(columns) != 3 or len(set(columns)) < 3:
        raise ValueError(f"Invalid columns {tuple(columns)}. Must be three different ones.")
    for column in columns:
        check_count("column", column, low=0)
    if check_range("scale", scale) == 0:
        raise ValueError("Invalid scale 0. Must be another number.")
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        n_header, between = _find_first(file, columns)
        file.seek(0)
        lines = file if between == "," else (line.replace(",", ".") for line in file)
        with as_data_error(f"{path.name}, counted from its first pick"):
            layout: dict[str, Any] = {"skiprows": n_header, "usecols": columns, "ndmin": 2}
            picks = np.loadtxt(lines, comments=COMMENTS, delimiter=between, **layout)
    vertical = picks[:, 2]
    known = (np.abs(vertical) < UNDEFINED_FROM) & (vertical != UNDEFINED)  # False for NaN
    if not known.any():
        raise DataError(f"{path.name} holds no picks: all are undefined.")
    vertical *= scale  # a view
    kept: Floats = picks[known]
    odd = kept[~np.isfinite(kept[:, :2]).all(axis=1)]
    if odd.size:
        where = "inline {:g}, crossline {:g}".format(*odd[0])
        raise DataError(f"{path.name} has a pick at {where}. Must be finite numbers of lines.")
    return kept


def _find_first(file: IO[str], columns: Sequence[int]) -> tuple[int, str | None]:
    """Number of lines before the first pick, and what separates its columns: blanks are None."""
    for n_header, line in enumerate(file):
        for comment in COMMENTS:
            line = line.partition(comment)[0]
        for between in (mark for mark in (",", ";", None) if mark is None or mark in line):
            cells = (line if between == "," else line.replace(",", ".")).split(between)
            try:
                [float(cells[column]) for column in columns]
            except (ValueError, IndexError):
                continue
            return n_header, between
    what = f"no line has numbers in columns {', '.join(map(str, columns))}, counted from 0"
    raise DataError(f"{Path(file.name).name} holds no picks: {what}.")


def fill_between(
    horizons: Sequence[tuple[Path, Path]],
    amplitude: xr.DataArray,
    samples: Floats,
    *,
    columns: Sequence[int],
    scale: float,
) -> xr.DataArray:
    """
    Turn tops and bases of salt into a mask: top <= z < base.

    Parameters
    ----------
    horizons : sequence of pairs of Path
        Files of the top and the base of salt; overhangs take several pairs, which are united.
    amplitude : DataArray
        The volume that the mask belongs to, of dims (inline, crossline, depth or time).
    samples : array of shape (n_vertical,)
        Its depth in m or time in ms.
    columns, scale
        See `read_picks`.

    Returns
    -------
    bool DataArray of the shape of ``amplitude``
        In its blocks where it is lazy: two numbers per trace and pair are held. A trace with only
        one pick of a pair has no salt from it; how many there are is logged, as are picks that are
        not on the lines of the volume.

    Raises
    ------
    DataError
        If a file has no picks on the lines of the volume or two on one trace, a top lies below
        its base by more than a sample or on more than a few traces, or no sample is salt.
    """
    vertical = vertical_dim(amplitude)
    depth = xr.DataArray(samples, dims=vertical)
    blocks = {line: sizes for line, sizes in amplitude.chunksizes.items() if line in AXES}
    limits: list[xr.DataArray] = []
    bodies: list[xr.DataArray] = []
    for pair in horizons:
        top, base = (
            _grid_picks(path, read_picks(path, columns=columns, scale=scale), amplitude)
            for path in pair
        )
        _check_pair(pair, top, base, np.median(np.diff(samples)) if samples.size > 1 else 0.0)
        limits += [top, base]
        if blocks:
            top, base = top.chunk(blocks), base.chunk(blocks)
        bodies.append((top <= depth) & (depth < base))
    salt: xr.DataArray = reduce(operator.or_, bodies)
    if not salt.any():
        picks = f"{np.nanmin(limits):g} to {np.nanmax(limits):g}"
        span = f"{samples[0]:g} to {samples[-1]:g} {VERTICAL_UNITS[vertical]}"
        raise DataError(f"The horizons hold no salt: no sample of {span} between picks of {picks}.")
    return salt


def _grid_picks(path: Path, picks: Floats, amplitude: xr.DataArray) -> xr.DataArray:
    """Depth or time on each trace, NaN where there is no pick."""
    lines = [amplitude[line].values for line in AXES]
    whole = np.rint(picks[:, :2])
    picks[:, :2] = np.where(np.abs(picks[:, :2] - whole) <= NEAR_WHOLE, whole, picks[:, :2])
    inside = np.isin(picks[:, 0], lines[0]) & np.isin(picks[:, 1], lines[1])
    if not inside.any():
        low, high = picks.min(axis=0), picks.max(axis=0)
        spans = f"{low[0]:g} to {high[0]:g}, crossline {low[1]:g} to {high[1]:g}"
        raise DataError(f"{path.name} has no pick on lines of the volume, but at inline {spans}.")
    if not inside.all():
        logger.warning(
            "%s: %d of %d picks lie on lines that the volume lacks, and are left out.",
            *(path.name, int((~inside).sum()), inside.size),
        )
    table = pd.DataFrame(picks[inside], columns=[*AXES, "z"]).drop_duplicates()
    repeated = table[table.duplicated([*AXES])]
    if len(repeated):
        where = "inline {:g}, crossline {:g}".format(*repeated[[*AXES]].values[0])
        raise DataError(f"{path.name} has two picks at {where}. Overhangs take several pairs.")
    grid = table.pivot(index="inline", columns="crossline", values="z").reindex(
        index=lines[0], columns=lines[1]
    )
    return xr.DataArray(grid.values, dict(zip(AXES, lines, strict=True)), AXES)


def _check_pair(
    pair: tuple[Path, Path], top: xr.DataArray, base: xr.DataArray, sample: float
) -> None:
    names = " and ".join(path.name for path in pair)
    below = (top - base).values
    n_wrong, n_pairs = int((below > 0).sum()), int((~np.isnan(below)).sum())
    if (below > sample).any() or n_wrong > max(FEW_CROSSED * n_pairs, min(1, n_pairs / 2)):
        index = tuple(np.argwhere(below > (sample if (below > sample).any() else 0))[0])
        inline, crossline = (top[line].values[k] for line, k in zip(AXES, index, strict=True))
        scale = " Must count downward: give a scale of -1 for heights." * (2 * n_wrong > n_pairs)
        raise DataError(
            f"{names}: top {top.values[index]:g} lies below base {base.values[index]:g} at inline "
            f"{inline}, crossline {crossline} and {n_wrong - 1} other traces of {n_pairs}.{scale}"
        )
    if n_wrong:
        crossed = f"top lies below base, by {np.nanmax(below):g} at most"
        logger.warning("%s: on %d traces the %s: no salt there.", names, n_wrong, crossed)
    n_single = int((top.isnull() != base.isnull()).sum())
    if n_single:
        logger.warning("%s: %d traces have only one pick, and no salt.", names, n_single)
