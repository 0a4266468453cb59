"""Tests of the scores: closed forms, tiny drawings, and MONAI and surface-distance as referees."""

import dataclasses
import itertools
import math
from functools import partial

import numpy as np
import pytest
import surface_distance
import torch
from monai import metrics as monai
from scipy import ndimage
from scipy.spatial.distance import cdist

from thesis_lib.metrics import (
    boundary_iou,
    dice_score,
    hausdorff95,
    mean_surface_distance,
    perimeter,
    perimetric_similarity,
    score_volume,
    surface_dice,
    volumetric_similarity,
)

SPACING_M = (25.0, 12.5, 20.0)
SHAPE = (20, 24, 16)


def in_metres(score, **options):
    """Return a score of two masks that knows the spacing of their axes."""
    return lambda p, t, **valid: score(p, t, spacing_m=SPACING_M[: np.ndim(t)], **options, **valid)


# Every score as a function of two masks (and valid); distances end with their unit.
SCORES = {
    "dice": dice_score,
    "volumetric_similarity": volumetric_similarity,
    "perimetric_similarity": perimetric_similarity,
    "boundary_iou": boundary_iou,
    "surface_dice": in_metres(surface_dice, tolerance_m=30),
    "hausdorff95_m": in_metres(hausdorff95),
    "mean_surface_distance_m": in_metres(mean_surface_distance),
}


def draw(*rows):
    """Mask of a drawing: ``#`` is salt."""
    return np.array([[sample == "#" for sample in row] for row in rows])


def cube(size, *, at=None, shape=(32, 32, 32)):
    """Mask of a cube, in the middle unless its first corner is given."""
    corner = [(n - size) // 2 for n in shape] if at is None else at
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(start, start + size) for start in corner)] = True
    return mask


def blob(shape, seed):
    """Mask of a rugose body off the faces."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 3)
    axes = zip(np.indices(shape), shape, strict=True)
    radius = sum(((x - (n - 1) / 2) / (n / 2)) ** 2 for x, n in axes)
    return (radius + 0.2 * noise / noise.std() < 0.4) & (radius < 0.8)


@pytest.mark.parametrize(
    ("prediction", "truth", "dice", "similarity"),
    [
        ("########........", "################", 2 / 3, 2 / 3),
        ("########........", "........########", 0, 1),
        ("########....", "######..####", 12 / 18, 16 / 18),
    ],
)
def test_counts_give_dice_and_volumetric_similarity(prediction, truth, dice, similarity):
    """Dice is 2TP/(2TP+FP+FN), and VS is 1-|FN-FP|/(2TP+FP+FN)."""
    masks = draw(prediction), draw(truth)
    assert dice_score(*masks) == pytest.approx(dice)
    assert volumetric_similarity(*masks) == pytest.approx(similarity)


@pytest.mark.parametrize(
    ("mask", "width_px", "n_samples"),
    [
        (cube(16), 1, 16**3 - 14**3),
        (cube(16), 2, 16**3 - 12**3),
        (cube(16, at=(0, 0, 0), shape=(32, 16, 16)), 1, 16**2),  # five sides are faces
    ],
)
def test_perimeters_have_as_many_samples_as_erosion_takes(mask, width_px, n_samples):
    """A band is as many erosions as it is wide; faces are no boundary, nor are lone corners."""
    assert np.count_nonzero(perimeter(mask, width_px=width_px)) == n_samples
    drawing = draw("####.", "#####", "#####", "#####", "#####")
    expected = draw("...#.", "....#", ".....", ".....", ".....")
    np.testing.assert_array_equal(perimeter(drawing), expected)


@pytest.mark.parametrize(("size", "expected"), [(18, 0.8756477), (14, 0.8581081), (16, 1.0)])
def test_perimetric_similarity_of_concentric_cubes(size, expected):
    """PS of cubes is the similarity of n^3 - (n-2)^3."""
    assert perimetric_similarity(cube(16), cube(size)) == pytest.approx(expected, abs=5e-8)


def test_perimetric_similarity_is_blind_to_position():
    """Two disjoint equal cubes have PS 1, while surface Dice sees that they do not touch."""
    here, there = cube(8, at=(1, 1, 1)), cube(8, at=(20, 20, 20))
    scores = score_volume(here, there, spacing_m=SPACING_M, tolerance_m=50)
    assert scores.perimetric_similarity == scores.volumetric_similarity == 1
    assert scores.dice == scores.boundary_iou == scores.surface_dice == 0


@pytest.mark.parametrize(
    ("prediction", "truth", "width_px", "expected"),
    [
        (cube(5, shape=(9, 9)), cube(5, at=(3, 2), shape=(9, 9)), 1, 8 / (16 + 16 - 8)),
        (cube(8), cube(6), 8, 6**3 / 8**3),
    ],
)
def test_boundary_iou_compares_bands(prediction, truth, width_px, expected):
    """Squares one row apart have 8 outline samples in common; a wide band is the whole mask."""
    found = boundary_iou(prediction, truth, width_px=width_px)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_lie_at_their_shift(axis):
    """Half-spaces three samples apart are three steps of that axis apart, everywhere."""
    planes = np.moveaxis(np.zeros((2, 12, 12, 12), dtype=bool), 1, axis + 1)
    for plane, stop in zip(planes, (4, 7), strict=True):
        np.moveaxis(plane, axis, 0)[:stop] = True
    distance_m = 3 * SPACING_M[axis]
    assert hausdorff95(*planes, spacing_m=SPACING_M) == pytest.approx(distance_m)
    assert mean_surface_distance(*planes, spacing_m=SPACING_M) == pytest.approx(distance_m)


@pytest.mark.parametrize(
    ("prediction", "truth", "expected"),
    [
        (draw("#...."), draw("#...#"), (2 / 3, 38, 40 / 3)),  # distances 0; 0 and 40
        (draw("#....", *3 * [5 * "."]), draw(*3 * [5 * "."], "....#"), (0, 50, 50)),  # 3, 4, 5
    ],
)
def test_distances_of_single_samples(prediction, truth, expected):
    """Border samples weigh alike, in both directions, and lie at their Euclidean distance."""
    scores = score_volume(prediction, truth, spacing_m=(10, 10), tolerance_m=20)
    assert dataclasses.astuple(scores)[-3:] == pytest.approx(expected)


@pytest.mark.parametrize(("step_m", "n_steps"), [(25.0, 2), (0.1, 3), (20.1, 2), (1 / 3, 3)])
def test_distance_equal_to_the_tolerance_is_within(step_m, n_steps):
    """Borders at exactly the tolerance agree, whatever the rounding, and beyond it they do not."""
    truth, prediction = np.zeros((2, 16, 4), dtype=bool)
    truth[:5] = prediction[: 5 + n_steps] = True
    spacing_m = (step_m, 1.0)
    for tolerance_m, expected in ((n_steps * step_m, 1), (n_steps * step_m * 0.999, 0)):
        assert surface_dice(
            prediction, truth, tolerance_m=tolerance_m, spacing_m=spacing_m
        ) == pytest.approx(expected)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (2, 2)])
def test_empty_and_full_masks(name, first, second):
    """Equal masks score 1 at distance 0, an empty one against a non-empty one 0 at infinity."""
    masks = [cube(size, shape=(6, 6)) for size in (0, 2, 6)]
    same, worst = (0.0, math.inf) if name.endswith("_m") else (1.0, 0.0)
    found = SCORES[name](masks[first], masks[second])
    assert found == (same if first == second else worst)


def test_full_mask_has_no_perimeter():
    """Against a body, all salt has no boundary to compare: PS 0, distance infinite."""
    everything, some = cube(6, shape=(6, 6)), cube(2, shape=(6, 6))
    scores = score_volume(everything, some, spacing_m=(1, 1), tolerance_m=1)
    expected = (0.2, 0.2, 0, 0, 0, math.inf, math.inf)
    assert dataclasses.astuple(scores) == pytest.approx(expected)


def test_no_pair_of_masks_gives_nan():
    """Over all pairs of 1x5 masks: no NaN, symmetric, and perfect for equal masks."""
    masks = [np.array([bits]) for bits in itertools.product([False, True], repeat=5)]
    for (i, p), (j, t) in itertools.combinations_with_replacement(enumerate(masks), 2):
        scores = dataclasses.astuple(score_volume(p, t, spacing_m=(2, 3), tolerance_m=2))
        assert scores == dataclasses.astuple(score_volume(t, p, spacing_m=(2, 3), tolerance_m=2))
        assert all(0 <= score <= 1 for score in scores[:5])
        assert all(distance >= 0 for distance in scores[5:])
        if i == j:
            assert scores == (1, 1, 1, 1, 1, 0, 0)


@pytest.mark.parametrize("score", [*SCORES.values(), partial(boundary_iou, width_px=2)])
def test_missing_slab_equals_a_cropped_volume(score):
    """Scores where the last lines are missing are those of the volume cut off there."""
    prediction, truth = blob(SHAPE, 1), blob(SHAPE, 2)
    valid = np.ones(SHAPE, dtype=bool)
    valid[:, 13:] = False
    expected = score(prediction[:, :13], truth[:, :13])
    assert score(prediction, truth, valid=valid) == pytest.approx(expected)


@pytest.mark.parametrize("name", SCORES)
def test_samples_of_missing_traces_do_not_matter(name):
    """Whatever a mask says at a missing trace, the score is the same."""
    prediction, truth = blob(SHAPE, 1), blob(SHAPE, 2)
    valid = np.random.default_rng(0).random(SHAPE[:2])[..., np.newaxis] > 0.1
    valid = np.broadcast_to(valid, SHAPE)
    known = SCORES[name](prediction, truth, valid=valid)
    assert SCORES[name](prediction ^ ~valid, truth | ~valid, valid=valid) == known


def test_hole_in_salt_is_no_boundary():
    """A missing trace inside a salt body does not add to its perimeter."""
    mask = cube(6, shape=(10, 10, 10))
    valid = np.ones_like(mask)
    valid[5, 5] = False
    np.testing.assert_array_equal(perimeter(mask, valid=valid), perimeter(mask) & valid)


@pytest.mark.parametrize("shape", [SHAPE, (30, 40)])
def test_score_volume_agrees_with_the_single_scores(shape):
    """Each field is what the function of its name gives; masks may be read-only."""
    prediction, truth = blob(shape, 3), blob(shape, 4)
    valid = np.random.default_rng(0).random(shape) > 0.02
    for mask in (prediction, truth, valid):
        mask.flags.writeable = False
    scores = in_metres(score_volume, tolerance_m=30)(prediction, truth, valid=valid)
    for name, score in SCORES.items():
        assert getattr(scores, name) == score(prediction, truth, valid=valid)


def test_without_metres_there_are_no_distances():
    """A volume without a spacing in metres has no distance scores, and the others unchanged."""
    prediction, truth = cube(8), cube(10)
    scores = score_volume(prediction, truth, spacing_m=None, tolerance_m=50)
    assert scores.surface_dice is scores.hausdorff95_m is scores.mean_surface_distance_m is None
    assert scores.perimetric_similarity == perimetric_similarity(prediction, truth)


# Both referees call what newer versions of their own dependencies deprecate.
quiet_monai = pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
quiet_scipy = pytest.mark.filterwarnings(
    "ignore:Please import .* from the `scipy.ndimage`:DeprecationWarning"
)
bodies = pytest.mark.parametrize("shape", [(28, 32, 24), (40, 48)])
seeds = pytest.mark.parametrize("seed", range(3))


@pytest.mark.parametrize("shape", [(14, 12, 10), (24, 20)])
@seeds
def test_distances_agree_with_brute_force(shape, seed):
    """Masks across the faces have the distances that comparing each pair of samples gives."""
    rng = np.random.default_rng(seed)
    prediction, truth = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), 2) > 0.02
    spacing_m = SPACING_M[: len(shape)]
    samples = [np.argwhere(perimeter(mask)) * spacing_m for mask in (prediction, truth)]
    pairs = cdist(*samples)
    first, second = pairs.min(axis=1), pairs.min(axis=0)
    both = np.concatenate([first, second])
    scores = score_volume(prediction, truth, spacing_m=spacing_m, tolerance_m=26)
    largest = max(np.percentile(first, 95), np.percentile(second, 95))
    assert scores.hausdorff95_m == pytest.approx(largest, rel=1e-5)
    assert scores.mean_surface_distance_m == pytest.approx(both.mean(), rel=1e-5)
    assert scores.surface_dice == pytest.approx(np.mean(both <= 26))


@quiet_monai
@bodies
@seeds
def test_scores_agree_with_monai_off_the_faces(shape, seed):
    """Dice, surface Dice, Hausdorff95 and mean surface distance are MONAI's."""
    prediction, truth = blob(shape, seed), blob(shape, seed + 10)
    spacing_m = SPACING_M[: len(shape)]
    pair = [torch.from_numpy(mask)[None, None] for mask in (prediction, truth)]
    options = {"include_background": True, "spacing": spacing_m}
    scores = score_volume(prediction, truth, spacing_m=spacing_m, tolerance_m=30)
    expected = {
        "dice": monai.compute_dice(*pair),
        "surface_dice": monai.compute_surface_dice(*pair, class_thresholds=[30.0], **options),
        "hausdorff95_m": monai.compute_hausdorff_distance(*pair, percentile=95, **options),
        "mean_surface_distance_m": monai.compute_average_surface_distance(
            *pair, symmetric=True, **options
        ),
    }
    for name, value in expected.items():
        assert getattr(scores, name) == pytest.approx(value.item(), rel=1e-5), name


@quiet_scipy
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_hausdorff95_of_a_shifted_box_agrees_with_surface_distance(axis):
    """Boxes three samples apart have the robust Hausdorff distance of surface-distance."""
    truth = cube(12, shape=(24, 24, 24))
    pair = np.roll(truth, 3, axis=axis), truth
    surfaces = surface_distance.compute_surface_distances(*pair, SPACING_M)
    expected = surface_distance.compute_robust_hausdorff(surfaces, 95)
    assert hausdorff95(*pair, spacing_m=SPACING_M) == pytest.approx(expected)


@quiet_scipy
@bodies
@seeds
def test_scores_are_close_to_surface_distance(shape, seed):
    """Surfaces through sample corners, weighted by area, differ from ours by less than a sample."""
    prediction, truth = blob(shape, seed), blob(shape, seed + 10)
    spacing_m = SPACING_M[: len(shape)]
    surfaces = surface_distance.compute_surface_distances(truth, prediction, spacing_m)
    scores = score_volume(prediction, truth, spacing_m=spacing_m, tolerance_m=50)
    sample_m = math.hypot(*spacing_m)
    robust_m = surface_distance.compute_robust_hausdorff(surfaces, 95)
    mean_m = np.mean(surface_distance.compute_average_surface_distance(surfaces))
    within = surface_distance.compute_surface_dice_at_tolerance(surfaces, 50)
    assert scores.hausdorff95_m == pytest.approx(robust_m, abs=sample_m)
    assert scores.mean_surface_distance_m == pytest.approx(mean_m, abs=sample_m / 2)
    assert scores.surface_dice == pytest.approx(within, abs=0.1)


GOOD = np.zeros((4, 4), dtype=bool)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        ((GOOD.astype(float), GOOD), TypeError, r"Invalid prediction of type float64\. Must be"),
        ((GOOD, GOOD.tolist()), TypeError, r"Invalid truth of type list\. Must be"),
        ((GOOD[0], GOOD[0]), ValueError, r"Invalid prediction of 1 dimensions\. Must have 2 or 3"),
        ((GOOD[None, None], GOOD[None, None]), ValueError, r"of 4 dimensions\. Must have 2 or 3"),
        ((GOOD[:3], GOOD), ValueError, r"Shapes differ: prediction \(3, 4\), truth \(4, 4\)"),
    ],
)
def test_what_is_no_pair_of_masks_is_refused(name, masks, error, message):
    """Scores take two boolean arrays of one shape with two or three dimensions."""
    with pytest.raises(error, match=message):
        SCORES[name](*masks)


@pytest.mark.parametrize(
    ("score", "options", "error", "message"),
    [
        (lambda mask, _: perimeter(mask * 1.0), {}, TypeError, r"Invalid mask of type float64\."),
        (dice_score, {"valid": GOOD.astype(int)}, TypeError, "valid of type int64"),
        (dice_score, {"valid": GOOD[:2]}, ValueError, r"valid \(2, 4\), truth \(4, 4\)"),
        (dice_score, {"valid": GOOD}, ValueError, "Invalid valid: no sample is True"),
        (hausdorff95, {"spacing_m": (25.0,)}, ValueError, "for each of the 2 axes"),
        (hausdorff95, {"spacing_m": (1, 0.0)}, ValueError, "Invalid spacing_m 0.0"),
        (surface_dice, {"tolerance_m": -1, "spacing_m": (1, 1)}, ValueError, "tolerance_m -1"),
        (score_volume, {"tolerance_m": -1, "spacing_m": None}, ValueError, "tolerance_m -1"),
        (boundary_iou, {"width_px": 0}, ValueError, "Invalid width_px 0"),
    ],
)
def test_unfit_arguments_are_refused(score, options, error, message):
    """``valid`` leaves something to score; spacings, tolerances and widths are possible ones."""
    with pytest.raises(error, match=message):
        score(GOOD, GOOD, **options)
