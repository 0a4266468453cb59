r"""
Scores of a predicted salt mask against the true one.

Every score takes boolean arrays of two or three dimensions, the prediction first. Three
conventions hold for all of them:

- **Perimeter**: the samples of a mask with a face neighbour outside of it (four neighbours in a
  section, six in a volume). Where the data end, at the faces of the volume and at missing traces,
  nobody knows what follows, so these are no salt boundary.
- **Empty masks**: two empty masks score 1 and lie at distance 0; an empty and a non-empty one
  score 0 and lie at infinite distance. The same holds for perimeters. Where neither mask has a
  perimeter, because each fills the data or nothing of them, the masks themselves are compared. No
  score is ever NaN.
- **Missing traces**: ``valid`` is False where a sample is not known. Such samples take no part.
  Leaving out a whole side of the volume gives the scores of the volume cropped to the rest.

`score_volume` also takes Dask arrays, of volumes larger than memory: it reads slabs of lines, adds
up counts, and measures distances between the perimeters' samples, which it holds.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

import dask.array as da
import edt
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from saltvolumes._checks import check_count, check_range, check_same_shape, spread_axes

Mask = NDArray[np.bool_]
Distances = NDArray[np.float32]

# A distance equal to the tolerance counts as within it, whatever float32 made of its last digit.
_ROUNDING = 1e-6
SLAB_LINES = 16  # of a lazy mask, read at a time


@dataclass(frozen=True)
class Scores:
    """
    All scores of one prediction, as `score_volume` returns them.

    Similarities lie in [0, 1], larger is better; distances are in metres, smaller is better. The
    three scores that need metres are None where the spacing of the volume is not known.
    """

    dice: float
    volumetric_similarity: float
    perimetric_similarity: float
    boundary_iou: float
    surface_dice: float | None
    hausdorff95_m: float | None
    mean_surface_distance_m: float | None


class _Sizes(NamedTuple):
    """Samples of two masks, and of both."""

    prediction: int
    truth: int
    both: int


def score_volume(
    prediction: Any,
    truth: Any,
    *,
    spacing_m: float | Sequence[float] | None,
    tolerance_m: float,
    valid: Any | None = None,
) -> Scores:
    """
    Compute every score of this module, with perimeters and distances computed once.

    Parameters
    ----------
    prediction, truth : bool array of 2 or 3 dimensions
        True inside salt. NumPy, or both Dask, which gives the same scores: to the last digit where
        float32 holds the squares of all distances, as of whole and half metres it does.
    spacing_m : float, sequence of float, or None
        Distance of the samples along each axis, or along all of them, in m. None where it is not
        known, as in a time volume without a velocity: the scores that need metres are then left
        out.
    tolerance_m : float
        Tolerance of `surface_dice`, in m.
    valid : bool array of the same shape, optional
        False where a sample is missing.

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the dimensions, shapes, spacing or tolerance are not allowed.

    Examples
    --------
    >>> truth = np.zeros((8, 8), dtype=bool)
    >>> truth[2:6, 2:6] = True
    >>> scores = score_volume(np.roll(truth, 1, axis=0), truth, spacing_m=(10, 10), tolerance_m=10)
    >>> scores.dice, scores.surface_dice, scores.hausdorff95_m
    (0.75, 1.0, 10.0)
    """
    check_range("tolerance_m", tolerance_m, low=0.0)
    distances: tuple[Distances, Distances] | None = None
    if isinstance(prediction, da.Array):
        sizes, borders, points = _read_borders(prediction, truth, valid)
        if spacing_m is not None:
            steps = _check_spacing(spacing_m, prediction.ndim)
            distances = (_measure_points(*points, steps), _measure_points(*points[::-1], steps))
    else:
        prediction, truth = _check_masks(valid, prediction=prediction, truth=truth)
        edges = _extract_perimeters(prediction, truth, valid)
        sizes, borders = _count(prediction, truth), _count(*edges)
        if spacing_m is not None:
            distances = _measure_distances(*edges, spacing_m)
    return Scores(
        dice=_compute_dice(sizes),
        volumetric_similarity=_compare_sizes(sizes),
        perimetric_similarity=_compare_sizes(borders),
        boundary_iou=_compute_iou(borders),
        surface_dice=_fraction_within(distances, tolerance_m) if distances else None,
        hausdorff95_m=_compute_hausdorff95(distances) if distances else None,
        mean_surface_distance_m=_compute_mean(distances) if distances else None,
    )


def dice_score(prediction: Mask, truth: Mask, *, valid: Mask | None = None) -> float:
    """
    Dice similarity 2TP / (2TP + FP + FN) of two masks.

    Parameters and errors are those of `score_volume`.
    """
    return _compute_dice(_count(*_check_masks(valid, prediction=prediction, truth=truth)))


def volumetric_similarity(prediction: Mask, truth: Mask, *, valid: Mask | None = None) -> float:
    """
    Similarity of the sizes of two masks, 1 - ``|FN - FP|`` / (2TP + FP + FN) [1]_.

    It does not see where the masks lie. Parameters and errors are those of `score_volume`.

    References
    ----------
    .. [1] Taha and Hanbury (2015). Metrics for evaluating 3D medical image segmentation.
       https://doi.org/10.1186/s12880-015-0068-x
    """
    return _compare_sizes(_count(*_check_masks(valid, prediction=prediction, truth=truth)))


def perimetric_similarity(prediction: Mask, truth: Mask, *, valid: Mask | None = None) -> float:
    """
    Perimetric Similarity (PS): the volumetric similarity of the two perimeters.

    It compares the extent of the boundaries and does not see where they lie. Parameters and
    errors are those of `score_volume`.
    """
    prediction, truth = _check_masks(valid, prediction=prediction, truth=truth)
    return _compare_sizes(_count(*_extract_perimeters(prediction, truth, valid)))


def boundary_iou(
    prediction: Mask, truth: Mask, *, width_px: int = 1, valid: Mask | None = None
) -> float:
    """
    Intersection over union of the inner boundary bands of two masks [1]_.

    Parameters
    ----------
    prediction, truth, valid
        As in `score_volume`.
    width_px : int
        Width of the band, in samples counted along the axes. One is the perimeter.

    Raises
    ------
    TypeError, ValueError
        As `score_volume`, or if the width is not a whole number of at least one.

    References
    ----------
    .. [1] Cheng et al. (2021). Boundary IoU. https://doi.org/10.1109/CVPR46437.2021.01508
    """
    prediction, truth = _check_masks(valid, prediction=prediction, truth=truth)
    check_count("width_px", width_px)
    return _compute_iou(_count(*_extract_perimeters(prediction, truth, valid, width_px)))


def surface_dice(
    prediction: Mask,
    truth: Mask,
    *,
    tolerance_m: float,
    spacing_m: float | Sequence[float],
    valid: Mask | None = None,
) -> float:
    """
    Fraction of both perimeters that lies within a tolerance of the other one [1]_.

    Perimeter samples are counted, without weights for the area that each represents. Parameters
    and errors are those of `score_volume`.

    References
    ----------
    .. [1] Nikolov et al. (2021). Clinically applicable segmentation of head and neck anatomy.
       https://doi.org/10.2196/26151
    """
    check_range("tolerance_m", tolerance_m, low=0.0)
    return _fraction_within(_compare_borders(prediction, truth, spacing_m, valid), tolerance_m)


def hausdorff95(
    prediction: Mask, truth: Mask, *, spacing_m: float | Sequence[float], valid: Mask | None = None
) -> float:
    """
    Distance in m that 95 % of each perimeter keep to the other one.

    The larger of the two directed 95th percentiles [1]_, a Hausdorff distance that a few stray
    samples do not decide. Parameters and errors are those of `score_volume`.

    References
    ----------
    .. [1] Huttenlocher et al. (1993). Comparing images using the Hausdorff distance.
       https://doi.org/10.1109/34.232073
    """
    return _compute_hausdorff95(_compare_borders(prediction, truth, spacing_m, valid))


def mean_surface_distance(
    prediction: Mask, truth: Mask, *, spacing_m: float | Sequence[float], valid: Mask | None = None
) -> float:
    """
    Mean distance in m of the samples of both perimeters to the other one.

    Parameters and errors are those of `score_volume`.
    """
    return _compute_mean(_compare_borders(prediction, truth, spacing_m, valid))


def perimeter(mask: Mask, *, width_px: int = 1, valid: Mask | None = None) -> Mask:
    """
    Samples of a mask with a face neighbour that is known to lie outside of it.

    The mask minus its erosion; faces of the volume and missing traces count as inside.

    Parameters
    ----------
    mask, valid
        As `truth` and `valid` in `score_volume`.
    width_px : int
        Erosions by one sample that make the band, one for the perimeter proper.

    Raises
    ------
    TypeError, ValueError
        As in `boundary_iou`.

    Examples
    --------
    >>> perimeter(np.array([[0, 1, 1, 1, 0]], dtype=bool)).astype(int)
    array([[0, 1, 0, 1, 0]])
    """
    (mask,) = _check_masks(valid, mask=mask)
    check_count("width_px", width_px)
    return _extract_perimeter(mask, valid, width_px)


def _check_masks(valid: Mask | None, **masks: Mask) -> list[Mask]:
    """Return boolean masks of one shape without the samples that are not valid."""
    _check_alike(np.ndarray, valid, **masks)
    if valid is None:
        return list(masks.values())
    _check_known(bool(valid.any()))
    return [mask & valid for mask in masks.values()]


def _check_alike(kind: type, valid: Mask | None, **masks: Mask) -> None:
    """Refuse masks that are not boolean arrays of a kind, and of one shape."""
    last = [*masks][-1]
    given = masks if valid is None else {**masks, "valid": valid}
    for name, mask in given.items():
        found = mask.dtype if isinstance(mask, kind) else type(mask).__name__
        if found != np.bool_:
            like = "NumPy" if kind is np.ndarray else "Dask"
            raise TypeError(f"Invalid {name} of type {found}. Must be a boolean {like} array.")
        if mask.ndim not in (2, 3):
            raise ValueError(f"Invalid {name} of {mask.ndim} dimensions. Must have 2 or 3.")
    for name, mask in given.items():
        check_same_shape(name, mask.shape, last, masks[last].shape)


def _check_known(known: bool) -> None:
    if not known:
        raise ValueError("Invalid valid: no sample is True. At least one must be known.")


def _extract_perimeter(mask: Mask, valid: Mask | None, width_px: int) -> Mask:
    inside = mask if valid is None else mask | ~valid
    for _ in range(width_px):
        inside = _erode(inside)
    return mask & ~inside


def _erode(inside: Mask) -> Mask:
    """Samples whose face neighbours all are inside; what follows beyond the faces is inside."""
    core = inside.copy()
    for axis in range(inside.ndim):
        kept, given = core.swapaxes(0, axis), inside.swapaxes(0, axis)  # views
        kept[1:] &= given[:-1]
        kept[:-1] &= given[1:]
    return core


def _extract_perimeters(
    prediction: Mask, truth: Mask, valid: Mask | None, width_px: int = 1
) -> tuple[Mask, Mask]:
    """Return both perimeters, or the masks themselves where neither has one."""
    first = _extract_perimeter(prediction, valid, width_px)
    second = _extract_perimeter(truth, valid, width_px)
    if first.any() or second.any():
        return first, second
    return prediction, truth


def _count(prediction: Mask, truth: Mask) -> _Sizes:
    masks = (prediction, truth, prediction & truth)
    return _Sizes(*(int(np.count_nonzero(mask)) for mask in masks))


def _compute_dice(sizes: _Sizes) -> float:
    total = sizes.prediction + sizes.truth
    return float(2 * sizes.both / total) if total else 1.0


def _compare_sizes(sizes: _Sizes) -> float:
    total = sizes.prediction + sizes.truth
    return float(1 - abs(sizes.truth - sizes.prediction) / total) if total else 1.0


def _compute_iou(sizes: _Sizes) -> float:
    union = sizes.prediction + sizes.truth - sizes.both
    return float(sizes.both / union) if union else 1.0


def _compare_borders(
    prediction: Mask, truth: Mask, spacing_m: float | Sequence[float], valid: Mask | None
) -> tuple[Distances, Distances]:
    prediction, truth = _check_masks(valid, prediction=prediction, truth=truth)
    return _measure_distances(*_extract_perimeters(prediction, truth, valid), spacing_m)


def _measure_distances(
    first: Mask, second: Mask, spacing_m: float | Sequence[float]
) -> tuple[Distances, Distances]:
    """Distance in m of each sample of the first border to the second, and the other way round."""
    steps = _check_spacing(spacing_m, first.ndim)
    box = ndimage.find_objects((first | second).view(np.uint8))
    if box:  # distances between borders need no sample outside of the box around both
        first, second = first[box[0]], second[box[0]]
    return _measure_to(second, first, steps), _measure_to(first, second, steps)


def _check_spacing(spacing_m: float | Sequence[float], n_axes: int) -> list[float]:
    return [
        check_range("spacing_m", step, low=0.0, exclusive=True)
        for step in spread_axes("spacing_m", spacing_m, n_axes)
    ]


def _measure_to(border: Mask, samples: Mask, spacing_m: Sequence[float]) -> Distances:
    if not border.any():
        return np.full(np.count_nonzero(samples), np.inf, dtype=np.float32)
    elsewhere = (~border).view(np.uint8)  # several times faster than a bool array
    squared: Distances = edt.edtsq(elsewhere, anisotropy=tuple(spacing_m))[samples]
    return np.sqrt(squared)


def _fraction_within(distances: tuple[Distances, Distances], tolerance_m: float) -> float:
    both = np.concatenate(distances)
    return float(np.mean(both <= tolerance_m * (1 + _ROUNDING))) if both.size else 1.0


def _compute_hausdorff95(distances: tuple[Distances, Distances]) -> float:
    sizes = [directed.size for directed in distances]
    if not all(sizes):
        return math.inf if any(sizes) else 0.0
    return max(float(np.percentile(directed, 95)) for directed in distances)


def _compute_mean(distances: tuple[Distances, Distances]) -> float:
    both = np.concatenate(distances)
    return float(both.mean(dtype=np.float64)) if both.size else 0.0


Points = list[NDArray[np.int32]]  # for each slab, indices (n, axes) of samples


def _read_borders(
    prediction: Any, truth: Any, valid: Any | None
) -> tuple[_Sizes, _Sizes, tuple[Points, Points]]:
    """Sizes of lazy masks and of their borders, and samples of the borders."""
    _check_alike(da.Array, valid, prediction=prediction, truth=truth)
    masks = (prediction, truth) if valid is None else (prediction, truth, valid)
    for whole in (False, True):  # the masks themselves where neither has a perimeter
        sizes, borders = np.zeros((2, 3), np.int64)
        points: tuple[Points, Points] = ([], [])
        known = 0
        for first, own, slab in _read_slabs(*masks):
            pair, inside = slab[:2], None
            if valid is not None:
                inside = slab[2]
                pair, known = [mask & inside for mask in pair], known + int(inside.sum())
            edges = pair if whole else [_extract_perimeter(mask, inside, 1) for mask in pair]
            sizes += _count(*(mask[own] for mask in pair))
            borders += _count(*(edge[own] for edge in edges))
            for found, edge in zip(points, edges, strict=True):
                found.append(np.argwhere(edge[own]).astype(np.int32))
                found[-1][:, 0] += first
        _check_known(valid is None or known > 0)
        if borders.any():
            break
    return _Sizes(*map(int, sizes)), _Sizes(*map(int, borders)), points


def _read_slabs(*masks: Any) -> Iterator[tuple[int, slice, list[Mask]]]:
    """First line of each slab, which lines are its own, and masks with one more on either side."""
    firsts = range(0, len(masks[0]), SLAB_LINES)
    cuts = ([mask[first : first + SLAB_LINES] for mask in masks] for first in firsts)
    slabs = (da.compute(*cut) for cut in cuts)  # type: ignore[no-untyped-call]
    slab = next(slabs)
    above = [mask[:0] for mask in slab]
    for first, after in zip(firsts, chain(slabs, [None]), strict=True):
        below = [mask[:1] for mask in after] if after else [mask[:0] for mask in slab]
        own = slice(len(above[0]), len(above[0]) + len(slab[0]))
        yield first, own, [np.concatenate(lines) for lines in zip(above, slab, below, strict=True)]
        above, slab = [mask[-1:] for mask in slab], after


def _measure_points(samples: Points, border: Points, spacing_m: Sequence[float]) -> Distances:
    """
    Distance in m of samples to the nearest of a border.

    Slabs of the border are searched from the nearest one on, until none can hold a nearer sample.
    """

    @lru_cache(maxsize=8)
    def plant(index: int) -> Any:
        return KDTree(border[index] * np.asarray(spacing_m))

    filled = [index for index, points in enumerate(border) if len(points)]
    distances = []
    for index, points in enumerate(samples):
        places, nearest = points * np.asarray(spacing_m), np.full(len(points), np.inf)
        for other in sorted(filled, key=lambda other: abs(other - index)):
            n_between = max(SLAB_LINES * (abs(other - index) - 1) + 1, 0)  # lines, at least
            far = np.flatnonzero(nearest > n_between * spacing_m[0])
            if not far.size:
                break
            found, _ = plant(other).query(places[far], distance_upper_bound=nearest[far].max())
            nearest[far] = np.minimum(nearest[far], found)
        distances.append(nearest.astype(np.float32))
    return np.concatenate(distances)
