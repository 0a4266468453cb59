"""Tests of the scores of masks larger than memory: equal to those in one piece."""

from dataclasses import asdict

import dask.array as da
import numpy as np
import pytest
from scipy import ndimage

from thesis_lib.metrics import score_volume

SPACING_M = (25.0, 12.5, 20.0)


def score(*masks, chunks=None, spacing_m=SPACING_M):
    """All scores of NumPy masks, or of Dask masks of some chunks."""
    if chunks is not None:
        masks = [da.from_array(mask, chunks) for mask in masks]
    prediction, truth, *valid = masks
    spacing_m = spacing_m and spacing_m[: truth.ndim]
    how = {"spacing_m": spacing_m, "tolerance_m": 30, "valid": valid[0] if valid else None}
    return asdict(score_volume(prediction, truth, **how))


def draw(rng, shape, fraction):
    """Mask of rugose bodies that fill a fraction of the samples."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 2)
    return noise > np.quantile(noise, 1 - fraction)


@pytest.mark.parametrize("seed", range(12))
def test_scores_in_slabs_are_those_in_one_piece(seed):
    """To the last digit for any masks, chunks and missing traces, in two and three dimensions."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 60, 2 + seed % 2))
    fractions = rng.choice([0.001, 0.1, 0.5], 2)
    masks = [*(draw(rng, shape, fraction) for fraction in fractions), np.ones(shape, bool)]
    masks[2][rng.integers(0, shape[0], 3)] = seed % 3 == 0
    masks[2][-1] = True
    whole = score(*masks)
    for chunks in (tuple(rng.integers(1, 20, len(shape))), shape):
        assert score(*masks, chunks=chunks) == pytest.approx(whole, rel=1e-12, abs=0)
    assert score(*masks[:2], chunks=7) == pytest.approx(score(*masks[:2]), rel=1e-12, abs=0)


def test_any_spacing_is_as_good_as_float32():
    """Where float32 rounds the squares of distances, scores in one piece are right to 1e-7."""
    rng = np.random.default_rng(0)
    masks = [draw(rng, (40, 30, 20), 0.1) for _ in range(2)]
    lazy, whole = (score(*masks, chunks=c, spacing_m=(24.9, 12.3, 7.7)) for c in (9, None))
    assert lazy == pytest.approx(whole, rel=1e-6)


def test_borders_many_slabs_apart():
    """The nearest sample of a border may lie in any slab: here 96 and 150 lines away."""
    masks = np.zeros((2, 200, 9, 9), bool)
    masks[0, 0, 4, 4] = masks[0, 54, 4, 4] = masks[1, 150, 4, 4] = True
    found = score(*masks, chunks=8)
    assert found == score(*masks)
    assert found["mean_surface_distance_m"] == (150 + 96 + 96) / 3 * 25


FULL = np.ones((40, 5, 6), bool)
EMPTY = ~FULL
APART = FULL.copy()
APART[18:22] = False
HALF = APART.copy()
HALF[20:] = False


@pytest.mark.parametrize(
    "masks",
    [
        (EMPTY, EMPTY),
        (FULL, EMPTY),
        (FULL, FULL),
        (FULL & HALF, EMPTY),
        (HALF, APART & ~HALF, APART),  # each fills its side of the traces that are missing
        (APART, HALF, APART),
    ],
)
def test_masks_without_a_perimeter(masks):
    """The rules for empty masks, and for those that fill the data, hold in slabs too."""
    assert score(*masks, chunks=8) == score(*masks)


def test_without_a_spacing_there_are_no_distances():
    """Scores that need metres are left out."""
    found = score(HALF, FULL, chunks=8, spacing_m=None)
    assert found == score(HALF, FULL, spacing_m=None)
    assert found["hausdorff95_m"] is None


@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        ((FULL, FULL[1:]), ValueError, "Shapes differ: prediction"),
        ((FULL, FULL * 1), TypeError, "Invalid truth of type int64. Must be a boolean Dask array"),
        ((FULL, FULL, EMPTY), ValueError, "Invalid valid: no sample is True"),
    ],
)
def test_lazy_masks_are_checked(masks, error, message):
    """Slips are refused as those of NumPy masks are, and one lazy mask beside one in memory."""
    with pytest.raises(error, match=message):
        score(*masks, chunks=8)
    lazy = da.from_array(FULL)
    for pair, wrong in (((lazy, FULL), "ndarray.* Dask"), ((FULL, lazy), "Array.* NumPy")):
        with pytest.raises(TypeError, match=f"Invalid truth of type {wrong}"):
            score(*pair)
