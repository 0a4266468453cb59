"""Salt between picked horizons: text files of inline, crossline and depth or time."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thesis_lib._checks import check_count, check_range
from thesis_lib._volume import VERTICAL_UNITS, vertical_dim
from thesis_lib.data.errors import DataError, tell_damage
from thesis_lib.data.lazy import map_samples
from thesis_lib.data.lines import AXES

COMMENTS = ("#", "!", "EOD")  # and the end of data
UNDEFINED = -999.25  # as is NaN, and
UNDEFINED_FROM = 1e20  # packages write 1e30 and its like

Floats = NDArray[np.float64]
logger = logging.getLogger(__name__)


def read_picks(path: Path, *, columns: Sequence[int] = (0, 1, 2), scale: float = 1.0) -> Floats:
    """
    Read a horizon as interpretation packages export it: one pick a line, in any order.

    Columns are separated by blanks, or by commas where the first pick holds one. Lines before the
    first pick are a header; what follows ``#`` or ``!`` is a comment.

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
        If there are no picks, or a line after the first is none.
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
        n_header, comma = _find_first(file, columns)
        file.seek(0)
        with tell_damage(f"{path.name}, counted from its first pick"):
            picks = np.loadtxt(
                file,
                comments=COMMENTS,
                delimiter="," if comma else None,
                skiprows=n_header,
                usecols=columns,
                ndmin=2,
            )
    vertical = picks[:, 2]
    known = (np.abs(vertical) < UNDEFINED_FROM) & (vertical != UNDEFINED)  # False for NaN
    if not known.any():
        raise DataError(f"{path.name} holds no picks: all are undefined.")
    vertical *= scale  # a view
    kept: Floats = picks[known]
    return kept


def _find_first(file: IO[str], columns: Sequence[int]) -> tuple[int, bool]:
    """Number of lines before the first pick, and whether it holds a comma."""
    for n_header, line in enumerate(file):
        for comment in COMMENTS:
            line = line.partition(comment)[0]
        cells = line.split("," if "," in line else None)
        try:
            [float(cells[column]) for column in columns]
        except (ValueError, IndexError):
            continue
        return n_header, "," in line
    raise DataError(
        f"{Path(file.name).name} holds no picks: no line has numbers in columns "
        f"{', '.join(map(str, columns))}, counted from 0."
    )


def fill_between(
    horizons: Sequence[tuple[Path, Path]],
    amplitude: xr.DataArray,
    samples: Floats,
    *,
    columns: Sequence[int],
    scale: float,
) -> Any:
    """
    See the samples between tops and bases as a salt mask: top <= z < base.

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
    lazy bool array of the shape of ``amplitude``
        Two numbers a trace and pair are held. A trace with only one pick of a pair has no salt
        from it; how many there are is logged, as are picks beside the lines of the volume.

    Raises
    ------
    DataError
        If a file holds no picks on the lines of the volume or two at one place, a top lies below
        its base, or no sample is salt.
    """
    limits: list[Floats] = []
    n_salt = 0
    for pair in horizons:
        top, base = (
            _grid_picks(path, read_picks(path, columns=columns, scale=scale), amplitude)
            for path in pair
        )
        _check_pair(pair, top, base, amplitude)
        both = ~np.isnan(top + base)
        n_salt += int(np.diff(np.searchsorted(samples, [top[both], base[both]]), axis=0).sum())
        limits += [top, base]
    if not n_salt:
        spans = f"{np.nanmin(limits):g} to {np.nanmax(limits):g}"
        raise DataError(
            f"The horizons hold no salt: no sample of {samples[0]:g} to {samples[-1]:g} "
            f"{VERTICAL_UNITS[vertical_dim(amplitude)]} lies between picks of {spans}."
        )
    shown = [np.broadcast_to(samples, amplitude.shape)]  # views, that take no memory
    shown += [np.broadcast_to(limit[..., np.newaxis], amplitude.shape) for limit in limits]
    views = [xr.DataArray(view, dims=amplitude.dims) for view in shown]
    return map_samples(_lie_between, np.bool_, *views)


def _lie_between(samples: Floats, *limits: Floats) -> NDArray[np.bool_]:
    salt = np.zeros(samples.shape, dtype=np.bool_)
    for top, base in zip(limits[::2], limits[1::2], strict=True):
        salt |= (top <= samples) & (samples < base)
    return salt


def _grid_picks(path: Path, picks: Floats, amplitude: xr.DataArray) -> Floats:
    """Depth or time on each trace, NaN where there is no pick."""
    places = [
        _find_numbers(amplitude[line].values, picks[:, column]) for column, line in enumerate(AXES)
    ]
    inside = (places[0] >= 0) & (places[1] >= 0)
    if not inside.any():
        spans = [
            f"{line} {np.min(n):g} to {np.max(n):g}"
            for line, n in zip(AXES, picks[:, :2].T, strict=True)
        ]
        raise DataError(
            f"{path.name} has no pick on the lines of the volume, but at {' and '.join(spans)}."
        )
    if not inside.all():
        logger.warning(
            "%s: %d of %d picks lie on lines that the volume lacks, and are left out.",
            *(path.name, int((~inside).sum()), inside.size),
        )
    inline, crossline = (place[inside] for place in places)
    grid = np.full(amplitude.shape[:2], np.nan)
    grid[inline, crossline] = picks[inside, 2]
    twice = np.flatnonzero(grid[inline, crossline] != picks[inside, 2])
    if twice.size:
        inline_number, crossline_number = picks[inside][twice[0], :2]
        raise DataError(
            f"{path.name} has two picks at inline {inline_number:g}, crossline "
            f"{crossline_number:g}. Must be one; overhangs take a further pair of files."
        )
    return grid


def _find_numbers(lines: NDArray[Any], numbers: Floats) -> NDArray[np.int64]:
    """Index of each number among the lines, -1 where it is none of them."""
    order = np.argsort(lines)
    index = order[np.searchsorted(lines, numbers, sorter=order) % lines.size]
    return np.where(lines[index] == numbers, index, -1)


def _check_pair(
    pair: tuple[Path, Path], top: Floats, base: Floats, amplitude: xr.DataArray
) -> None:
    names = " and ".join(path.name for path in pair)
    wrong = np.argwhere(top > base)
    if wrong.size:
        inline, crossline = wrong[0]
        raise DataError(
            f"{names}: top {top[inline, crossline]:g} lies below base {base[inline, crossline]:g} "
            f"at inline {amplitude['inline'].values[inline]}, crossline "
            f"{amplitude['crossline'].values[crossline]} and {len(wrong) - 1} other traces. Must "
            "count downward; a scale of -1 turns what counts upward."
        )
    n_single = int((np.isnan(top) != np.isnan(base)).sum())
    if n_single:
        logger.warning("%s: %d traces have only one pick, and no salt.", names, n_single)
