"""Tests of the scores: closed forms, tiny drawings, and MONAI and surface-distance as referees."""

import dataclasses
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.distance import cdist

from thesis_lib.metrics import (
    Scores,
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
# Every score as a function of two masks (and valid); similarities first.
SIMILARITIES = {
    "dice": dice_score,
    "volumetric_similarity": volumetric_similarity,
    "perimetric_similarity": perimetric_similarity,
    "boundary_iou": boundary_iou,
    "surface_dice": lambda p, t, **valid: surface_dice(
        p, t, tolerance_m=30, spacing_m=SPACING_M[: np.ndim(t)], **valid
    ),
}
DISTANCES = {
    "hausdorff95_m": lambda p, t, **valid: hausdorff95(
        p, t, spacing_m=SPACING_M[: np.ndim(t)], **valid
    ),
    "mean_surface_distance_m": lambda p, t, **valid: mean_surface_distance(
        p, t, spacing_m=SPACING_M[: np.ndim(t)], **valid
    ),
}
SCORES = SIMILARITIES | DISTANCES


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


def counts(n_true, n_false, n_missed):
    """Prediction and truth with these true positives, false positives and false negatives."""
    prediction, truth = np.zeros((2, 4, 8), dtype=bool)
    prediction.flat[: n_true + n_false] = True
    truth.flat[:n_true] = True
    truth.flat[n_true + n_false : n_true + n_false + n_missed] = True
    return prediction, truth


@pytest.mark.parametrize(
    ("cells", "dice", "similarity"),
    [((8, 0, 8), 2 / 3, 2 / 3), ((0, 10, 10), 0, 1), ((6, 2, 4), 12 / 18, 16 / 18)],
)
def test_counts_give_dice_and_volumetric_similarity(cells, dice, similarity):
    """Dice is 2TP/(2TP+FP+FN), and VS is 1-|FN-FP|/(2TP+FP+FN)."""
    prediction, truth = counts(*cells)
    assert dice_score(prediction, truth) == pytest.approx(dice)
    assert volumetric_similarity(prediction, truth) == pytest.approx(similarity)


def test_perimeter_of_a_cube():
    """A cube of 16 has 16^3 - 14^3 = 1352 perimeter samples."""
    assert np.count_nonzero(perimeter(cube(16))) == 1352


def test_perimeter_of_a_half_space():
    """The faces of the volume are no boundary: half of 16^3 has one layer of 256 samples."""
    half = np.zeros((16, 16, 16), dtype=bool)
    half[:8] = True
    border = perimeter(half)
    assert np.count_nonzero(border) == 256
    assert border[7].all()


def test_perimeter_counts_face_neighbours_alone():
    """A sample that touches the outside by a corner only is no perimeter."""
    mask = draw("####.", "#####", "#####", "#####", "#####")
    expected = draw("...#.", "....#", ".....", ".....", ".....")
    np.testing.assert_array_equal(perimeter(mask), expected)


def test_perimeter_of_two_widths():
    """A band of two samples is what two erosions take away."""
    assert np.count_nonzero(perimeter(cube(16), width_px=2)) == 16**3 - 12**3


@pytest.mark.parametrize(("size", "expected"), [(18, 0.8756477), (14, 0.8581081), (16, 1.0)])
def test_perimetric_similarity_of_concentric_cubes(size, expected):
    """PS of cubes is the similarity of n^3 - (n-2)^3."""
    assert perimetric_similarity(cube(16), cube(size)) == pytest.approx(expected, abs=5e-8)


def test_perimetric_similarity_is_blind_to_place():
    """Two disjoint equal cubes have PS 1, while surface Dice sees that they do not touch."""
    here, there = cube(8, at=(1, 1, 1)), cube(8, at=(20, 20, 20))
    scores = score_volume(here, there, spacing_m=SPACING_M, tolerance_m=50)
    assert scores.perimetric_similarity == scores.volumetric_similarity == 1
    assert scores.dice == scores.boundary_iou == scores.surface_dice == 0


def test_boundary_iou_of_shifted_squares():
    """Outlines of 5x5 squares one row apart share the 8 samples of the sides that both have."""
    truth = np.zeros((9, 9), dtype=bool)
    truth[2:7, 2:7] = True
    prediction = np.roll(truth, 1, axis=0)
    assert boundary_iou(prediction, truth) == pytest.approx(8 / (16 + 16 - 8))


def test_boundary_iou_of_a_wide_band_is_the_iou_of_the_masks():
    """A band as wide as the bodies holds all of them."""
    prediction, truth = cube(8), cube(6)
    assert boundary_iou(prediction, truth, width_px=8) == pytest.approx(6**3 / 8**3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_lie_at_their_shift(axis):
    """Half-spaces three samples apart are three steps of that axis apart, everywhere."""
    planes = np.moveaxis(np.zeros((2, 12, 12, 12), dtype=bool), 1, axis + 1)
    for plane, stop in zip(planes, (4, 7), strict=True):
        np.moveaxis(plane, axis, 0)[:stop] = True
    distance_m = 3 * SPACING_M[axis]
    assert hausdorff95(*planes, spacing_m=SPACING_M) == pytest.approx(distance_m)
    assert mean_surface_distance(*planes, spacing_m=SPACING_M) == pytest.approx(distance_m)


def test_points_lie_at_their_euclidean_distance():
    """Single samples (3, 4) steps apart are 5 steps apart."""
    prediction, truth = np.zeros((2, 8, 8), dtype=bool)
    prediction[1, 1] = truth[4, 5] = True
    assert hausdorff95(prediction, truth, spacing_m=(10, 10)) == pytest.approx(50)
    assert mean_surface_distance(prediction, truth, spacing_m=(10, 10)) == pytest.approx(50)


def test_mean_surface_distance_weighs_samples_alike():
    """One sample at distance 0 and, the other way, two at 0 and 4 have mean 4/3."""
    truth = draw("#...#")
    prediction = draw("#....")
    assert mean_surface_distance(prediction, truth, spacing_m=(1, 1)) == pytest.approx(4 / 3)


def test_hausdorff95_takes_the_larger_direction():
    """A body that was missed counts, though all that was predicted lies in place."""
    found, missed = cube(4, at=(2, 2, 2)), cube(4, at=(22, 2, 2))
    one_way = hausdorff95(found, found | missed, spacing_m=SPACING_M)
    assert one_way == hausdorff95(found | missed, found, spacing_m=SPACING_M)
    assert one_way >= 17 * SPACING_M[0]


def test_hausdorff95_forgives_a_stray_sample():
    """A single stray sample among more than twenty does not decide."""
    truth = cube(8)
    stray = truth.copy()
    stray[0, 0, 0] = True
    assert hausdorff95(stray, truth, spacing_m=SPACING_M) == 0


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


def test_surface_dice_counts_both_borders():
    """Of one and two border samples, two lie within the tolerance: 2/3."""
    scores = score_volume(draw("#...."), draw("#...#"), spacing_m=(1, 1), tolerance_m=2)
    assert scores.surface_dice == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (1, 0), (0, 2), (2, 0), (2, 2)])
def test_empty_and_full_masks(name, first, second):
    """Equal masks score 1 at distance 0, an empty one against a non-empty one 0 at infinity."""
    nothing, some, everything = (
        np.zeros((6, 6), dtype=bool),
        cube(2, shape=(6, 6)),
        np.ones((6, 6), dtype=bool),
    )
    masks = (nothing, some, everything)
    same = first == second
    expected = float(same) if name in SIMILARITIES else 0.0 if same else math.inf
    assert SCORES[name](masks[first], masks[second]) == expected


def test_full_mask_has_no_perimeter():
    """Against a body, all salt has no boundary to compare: PS 0, distance infinite."""
    everything, some = np.ones((6, 6), dtype=bool), cube(2, shape=(6, 6))
    scores = score_volume(everything, some, spacing_m=(1, 1), tolerance_m=1)
    assert scores.perimetric_similarity == scores.surface_dice == scores.boundary_iou == 0
    assert scores.hausdorff95_m == scores.mean_surface_distance_m == math.inf
    assert scores.dice == pytest.approx(2 * 4 / 40)


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


@pytest.mark.parametrize("name", SCORES)
def test_missing_slab_equals_a_cropped_volume(name):
    """Scores where the last lines are missing are those of the volume cut off there."""
    shape = (20, 24, 16)
    prediction, truth = blob(shape, 1), blob(shape, 2)
    valid = np.ones(shape, dtype=bool)
    valid[:, 13:] = False
    expected = SCORES[name](prediction[:, :13], truth[:, :13])
    assert SCORES[name](prediction, truth, valid=valid) == pytest.approx(expected)


@pytest.mark.parametrize("name", SCORES)
def test_samples_of_missing_traces_do_not_matter(name):
    """Whatever a mask says at a missing trace, the score is the same."""
    shape = (20, 24, 16)
    prediction, truth = blob(shape, 1), blob(shape, 2)
    valid = np.random.default_rng(0).random(shape[:2])[..., np.newaxis] > 0.1
    valid = np.broadcast_to(valid, shape)
    known = SCORES[name](prediction, truth, valid=valid)
    assert SCORES[name](prediction ^ ~valid, truth | ~valid, valid=valid) == known


def test_missing_slab_does_not_change_a_wide_band():
    """Also a band of two samples is that of the volume cut off where lines are missing."""
    mask = blob((20, 24, 16), 1)
    valid = np.ones_like(mask)
    valid[:, 13:] = False
    expected = perimeter(mask[:, :13], width_px=2)
    np.testing.assert_array_equal(perimeter(mask, width_px=2, valid=valid)[:, :13], expected)


def test_hole_in_salt_is_no_boundary():
    """A missing trace inside a salt body does not add to its perimeter."""
    mask = cube(6, shape=(10, 10, 10))
    valid = np.ones_like(mask)
    valid[5, 5] = False
    border = perimeter(mask, valid=valid)
    np.testing.assert_array_equal(border, perimeter(mask) & valid)


@pytest.mark.parametrize("shape", [(20, 24, 16), (30, 40)])
def test_score_volume_agrees_with_the_single_scores(shape):
    """Each field is what the function of its name gives."""
    prediction, truth = blob(shape, 3), blob(shape, 4)
    valid = np.random.default_rng(0).random(shape) > 0.02
    scores = score_volume(
        prediction, truth, spacing_m=SPACING_M[: len(shape)], tolerance_m=30, valid=valid
    )
    for name, score in SCORES.items():
        assert getattr(scores, name) == score(prediction, truth, valid=valid)


def test_without_metres_there_are_no_distances():
    """A volume without a spacing in metres has no distance scores, and the others unchanged."""
    prediction, truth = cube(8), cube(10)
    scores = score_volume(prediction, truth, spacing_m=None, tolerance_m=50)
    assert scores.surface_dice is scores.hausdorff95_m is scores.mean_surface_distance_m is None
    assert scores.perimetric_similarity == perimetric_similarity(prediction, truth)


def test_scores_are_frozen():
    """Scores cannot be changed."""
    scores = Scores(1, 1, 1, 1, None, None, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        scores.dice = 0.5


def test_masks_are_left_alone():
    """No score writes into its arguments, which may be read-only."""
    prediction, truth, valid = cube(8), cube(10), cube(30)
    for mask in (prediction, truth, valid):
        mask.flags.writeable = False
    score_volume(prediction, truth, spacing_m=SPACING_M, tolerance_m=50, valid=valid)


# Both referees call what newer versions of their own dependencies deprecate.
quiet_monai = pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
quiet_scipy = pytest.mark.filterwarnings(
    "ignore:Please import .* from the `scipy.ndimage`:DeprecationWarning"
)


def brute_force_distances(prediction, truth, spacing_m):
    """All border-to-border distances, both ways, by comparing each pair of samples."""
    first, second = (np.argwhere(perimeter(mask)) * spacing_m for mask in (prediction, truth))
    pairs = cdist(first, second)
    return pairs.min(axis=1), pairs.min(axis=0)


@pytest.mark.parametrize("shape", [(14, 12, 10), (24, 20)])
@pytest.mark.parametrize("seed", range(3))
def test_distances_agree_with_brute_force(shape, seed):
    """Masks across the faces have the distances that comparing each pair of samples gives."""
    rng = np.random.default_rng(seed)
    prediction, truth = ndimage.gaussian_filter(rng.normal(size=(2, *shape)), 2) > 0.02
    spacing_m = SPACING_M[: len(shape)]
    first, second = brute_force_distances(prediction, truth, spacing_m)
    both = np.concatenate([first, second])
    scores = score_volume(prediction, truth, spacing_m=spacing_m, tolerance_m=26)
    largest = max(np.percentile(first, 95), np.percentile(second, 95))
    assert scores.hausdorff95_m == pytest.approx(largest, rel=1e-5)
    assert scores.mean_surface_distance_m == pytest.approx(both.mean(), rel=1e-5)
    assert scores.surface_dice == pytest.approx(np.mean(both <= 26))


@pytest.fixture(scope="module")
def monai():
    """MONAI's metrics, whose import warns."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("monai.metrics")


@quiet_monai
@pytest.mark.parametrize("shape", [(28, 32, 24), (40, 48)])
@pytest.mark.parametrize("seed", range(3))
def test_scores_agree_with_monai_off_the_faces(monai, shape, seed):
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
    referee = pytest.importorskip("surface_distance")
    truth = cube(12, shape=(24, 24, 24))
    prediction = np.roll(truth, 3, axis=axis)
    surfaces = referee.compute_surface_distances(truth, prediction, SPACING_M)
    expected = referee.compute_robust_hausdorff(surfaces, 95)
    assert hausdorff95(prediction, truth, spacing_m=SPACING_M) == pytest.approx(expected)


@quiet_scipy
@pytest.mark.parametrize("shape", [(28, 32, 24), (40, 48)])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_close_to_surface_distance(shape, seed):
    """Surfaces through sample corners, weighted by area, differ from ours by less than a sample."""
    referee = pytest.importorskip("surface_distance")
    prediction, truth = blob(shape, seed), blob(shape, seed + 10)
    spacing_m = SPACING_M[: len(shape)]
    surfaces = referee.compute_surface_distances(truth, prediction, spacing_m)
    scores = score_volume(prediction, truth, spacing_m=spacing_m, tolerance_m=50)
    sample_m = math.hypot(*spacing_m)
    robust_m = referee.compute_robust_hausdorff(surfaces, 95)
    mean_m = np.mean(referee.compute_average_surface_distance(surfaces))
    within = referee.compute_surface_dice_at_tolerance(surfaces, 50)
    assert scores.hausdorff95_m == pytest.approx(robust_m, abs=sample_m)
    assert scores.mean_surface_distance_m == pytest.approx(mean_m, abs=sample_m / 2)
    assert scores.surface_dice == pytest.approx(within, abs=0.1)


GOOD = np.zeros((4, 4), dtype=bool)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("masks", "error", "message"),
    [
        ((GOOD.astype(float), GOOD), TypeError, r"Invalid prediction of type float64\. Must be"),
        ((GOOD, GOOD.astype(np.uint8)), TypeError, r"Invalid truth of type uint8\. Must be"),
        ((GOOD.tolist(), GOOD), TypeError, r"Invalid prediction of type list\. Must be"),
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


def test_perimeter_names_its_own_argument():
    """A perimeter is asked of a boolean mask."""
    with pytest.raises(TypeError, match=r"Invalid mask of type float64\. Must be a boolean"):
        perimeter(GOOD.astype(float))


@pytest.mark.parametrize(
    ("valid", "error", "message"),
    [
        (GOOD.astype(int), TypeError, r"Invalid valid of type int64\. Must be a boolean"),
        (~GOOD[:2], ValueError, r"Shapes differ: valid \(2, 4\), truth \(4, 4\)"),
        (GOOD, ValueError, r"Invalid valid: no sample is True\. At least one must be known"),
    ],
)
def test_unfit_valid_is_refused(valid, error, message):
    """``valid`` is a boolean array of the masks' shape that leaves something to score."""
    with pytest.raises(error, match=message):
        dice_score(GOOD, GOOD, valid=valid)


@pytest.mark.parametrize(
    ("spacing_m", "message"),
    [
        ((25.0,), r"Invalid spacing_m \(25\.0,\)\. Must have one number for each of the 2 axes"),
        ((25.0, 0.0), r"Invalid spacing_m 0\.0\. Must lie in \(0, inf\)"),
        ((25.0, math.nan), r"Invalid spacing_m nan\. Must lie in \(0, inf\)"),
        ((25.0, math.inf), r"Invalid spacing_m inf\. Must lie in \(0, inf\)"),
    ],
)
def test_impossible_spacings_are_refused(spacing_m, message):
    """The spacing is a positive number for each axis, also where the masks are empty."""
    with pytest.raises(ValueError, match=message):
        hausdorff95(GOOD, GOOD, spacing_m=spacing_m)


def test_negative_tolerance_is_refused():
    """A tolerance is not negative."""
    message = r"Invalid tolerance_m -1\. Must lie in \[0, inf\)"
    with pytest.raises(ValueError, match=message):
        surface_dice(GOOD, GOOD, tolerance_m=-1, spacing_m=(1, 1))
    with pytest.raises(ValueError, match=message):
        score_volume(GOOD, GOOD, tolerance_m=-1, spacing_m=None)


@pytest.mark.parametrize(("width_px", "error"), [(0, ValueError), (1.5, TypeError)])
def test_impossible_widths_are_refused(width_px, error):
    """A band is a whole number of samples wide, at least one."""
    with pytest.raises(error, match=r"Invalid width_px .*\. Must be"):
        boundary_iou(GOOD, GOOD, width_px=width_px)
    with pytest.raises(error, match=r"Invalid width_px .*\. Must be"):
        perimeter(GOOD, width_px=width_px)
