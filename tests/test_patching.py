"""Tests of cutting, standardising and stitching patches."""

import math

import numpy as np
import pytest
import torch

from thesis_lib.patching import TAPERS, PatchGrid, Stitcher, zscore

# Shapes, patches and strides of one to four axes: flush or not, cut or whole, dense or bare.
GRIDS = [
    ((101,), (32,), (20,)),
    ((7,), (7,), (7,)),
    ((8,), (4,), (4,)),
    ((33,), (32,), (32,)),
    ((40, 33), (16, 16), (5, 3)),
    ((6, 20, 18), (1, 8, 8), (1, 5, 8)),
    ((13, 20, 18), (5, 8, 8), (2, 3, 4)),
    ((2, 9, 7, 8), (2, 4, 3, 5), (1, 3, 2, 1)),
]


@pytest.fixture
def rng():
    """A fresh generator."""
    return np.random.default_rng(0)


def stitch(grid, array, **options):
    """Put the patches of an array together again."""
    stitcher = Stitcher(grid, **options)
    for window, values in grid.extract(array):
        stitcher.add(window, values)
    return stitcher.merge()


@pytest.mark.parametrize(
    ("length", "patch", "stride", "starts"),
    [
        (101, 32, 20, (0, 20, 40, 60, 69)),
        (77, 32, 20, (0, 20, 40, 45)),
        (72, 32, 20, (0, 20, 40)),
        (32, 32, 20, (0,)),
        (3, 1, 1, (0, 1, 2)),
    ],
)
def test_last_patch_is_flush_with_the_end(length, patch, stride, starts):
    """Patches start every stride samples, and the last one ends with the array."""
    assert PatchGrid((length,), (patch,), (stride,)).starts == (starts,)


@pytest.mark.parametrize("sizes", GRIDS)
def test_every_sample_is_covered(sizes):
    """Each sample lies in a window, and each window inside the array."""
    grid = PatchGrid(*sizes)
    covered = np.zeros(grid.shape, dtype=int)
    for window in grid:
        assert covered[window].shape == grid.patch
        covered[window] += 1
    assert covered.min() >= 1


@pytest.mark.parametrize("sizes", GRIDS)
def test_grid_is_a_sequence_of_its_windows(sizes):
    """Length, order, indices and membership agree."""
    grid = PatchGrid(*sizes)
    windows = list(grid)
    assert len(grid) == len(windows) == math.prod(map(len, grid.starts))
    assert [grid[index] for index in range(len(grid))] == windows
    assert grid[-1] == windows[-1]
    assert all(window in grid for window in windows)


def test_index_beyond_the_grid_is_refused():
    """A grid of two windows has no third."""
    with pytest.raises(IndexError, match="out of range"):
        PatchGrid((8,), (4,), (4,))[2]


def test_extract_gives_views(rng):
    """Patches of a NumPy array share its memory and equal its windows."""
    array = rng.normal(size=(20, 18))
    for window, patch in PatchGrid(array.shape, (8, 8), (5, 8)).extract(array):
        assert np.shares_memory(patch, array)
        np.testing.assert_array_equal(patch, array[window])


def test_extract_takes_tensors_and_lazy_arrays():
    """Whatever slices cut can be extracted, such as a Tensor and a Zarr array."""
    zarr = pytest.importorskip("zarr")
    array = np.arange(20.0)
    grid = PatchGrid((20,), (8,), (6,))
    for lazy in (torch.from_numpy(array), zarr.array(array, chunks=(5,))):
        for window, patch in grid.extract(lazy):
            np.testing.assert_array_equal(np.asarray(patch), array[window])


def test_extract_checks_the_shape_at_once():
    """An array of another shape is refused before the first patch is asked for."""
    grid = PatchGrid((20, 18), (8, 8), (4, 4))
    with pytest.raises(ValueError, match=r"array \(18, 20\), grid \(20, 18\)"):
        grid.extract(np.zeros((18, 20)))


def test_grids_of_lists_and_tuples_are_equal():
    """A grid is a value: given as lists or as tuples it is the same, and hashable."""
    grids = {PatchGrid([9, 8], [3, 4], [2, 2]), PatchGrid((9, 8), (3, 4), (2, 2))}
    assert len(grids) == 1


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        (((20, 18), (8, 20), (4, 4)), ValueError, r"Patch \(8, 20\) is larger than .*\(20, 18\)"),
        (((20, 18), (8, 8), (9, 4)), ValueError, r"Stride \(9, 4\) is larger than the patch \(8,"),
        (((20, 18), (8,), (4, 4)), ValueError, r"shape \(20, 18\), patch \(8,\), stride \(4, 4\)"),
        (((), (), ()), ValueError, r"Invalid number of axes 0\. Must be from 1 to 4"),
        (((4,) * 5, (2,) * 5, (1,) * 5), ValueError, r"Invalid number of axes 5\. Must be from 1"),
        (((20,), (8,), (0,)), ValueError, r"Invalid stride 0\. Must be at least 1"),
        (((20,), (8.0,), (4,)), TypeError, r"Invalid patch 8\.0\. Must be a whole number"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes, error, message):
    """A grid names the sizes that do not go together."""
    with pytest.raises(error, match=message):
        PatchGrid(*sizes)


BACKENDS = {"numpy": np.asarray, "torch": torch.from_numpy}


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Make an array of NumPy or torch from one of NumPy."""
    return BACKENDS[request.param]


def test_zscore_has_mean_zero_and_deviation_one(backend, rng):
    """Each patch is shifted and scaled by its own mean and population standard deviation."""
    patches = rng.normal(3, 5, size=(4, 1, 9, 7)) * [[[[1]]], [[[10]]], [[[1e-6]]], [[[1e6]]]]
    scaled = np.asarray(zscore(backend(patches)))
    expected = [(patch - patch.mean()) / patch.std() for patch in patches]
    np.testing.assert_allclose(scaled, expected, atol=1e-12)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_zscore_keeps_type_and_shape(backend, rng, kind):
    """What comes back is of the kind that was given."""
    patches = backend(rng.normal(size=(2, 3, 5)).astype(kind))
    scaled = zscore(patches)
    assert type(scaled) is type(patches)
    assert scaled.dtype == patches.dtype
    assert scaled.shape == patches.shape


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1234.567, 1e30, -1e-30])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_constant_patches_become_zeros(backend, value, kind):
    """A constant patch has no signal, whatever rounding makes of its mean."""
    patches = backend(np.full((2, 1, 64, 63), value, dtype=kind))
    assert not np.asarray(zscore(patches)).any()


def test_rounding_noise_becomes_zeros(backend, rng):
    """A deviation below 1e-6 of the peak is rounding, above it is signal."""
    noise = rng.normal(size=(1, 1000))
    patches = np.concatenate([1 + 0.9e-6 * noise / noise.std(), 1 + 1.1e-6 * noise / noise.std()])
    scaled = np.asarray(zscore(backend(patches)))
    assert not scaled[0].any()
    assert scaled[1].std() == pytest.approx(1)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_zscore_neither_overflows_nor_underflows(backend, rng, scale):
    """Amplitudes whose squares float32 cannot hold are standardised all the same."""
    patches = rng.normal(size=(1, 100)).astype(np.float32)
    expected = np.asarray(zscore(backend(patches)))
    scaled = np.asarray(zscore(backend(patches * np.float32(scale))))
    np.testing.assert_allclose(scaled, expected, rtol=1e-4, atol=1e-5)


def test_zscore_treats_patches_one_by_one(backend, rng):
    """A batch is what its patches give alone."""
    patches = rng.normal(size=(3, 1, 8, 8)).astype(np.float32)
    together = np.asarray(zscore(backend(patches)))
    for patch, expected in zip(patches, together, strict=True):
        np.testing.assert_allclose(zscore(backend(patch[None]))[0], expected, rtol=1e-6)


def test_zscore_of_no_patches_is_none(backend):
    """An empty batch stays an empty batch."""
    assert zscore(backend(np.zeros((0, 1, 4, 4)))).shape == (0, 1, 4, 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_missing_samples_are_refused(backend, value):
    """One NaN or infinite sample would spoil its whole patch."""
    patches = np.zeros((2, 4, 4))
    patches[1, 2, 3] = value
    with pytest.raises(ValueError, match="Invalid patches with NaN or infinite samples"):
        zscore(backend(patches))


def test_integer_patches_are_refused(backend):
    """Standardised patches are no whole numbers, so whole numbers are refused."""
    with pytest.raises(TypeError, match=r"Invalid patches of type .*int64\. Must be floating"):
        zscore(backend(np.zeros((2, 4), dtype=np.int64)))


def test_patches_without_samples_axis_are_refused(backend):
    """The first axis counts patches, so there is a second."""
    with pytest.raises(ValueError, match=r"Invalid patches of shape \(4,\)\. Must be \(B, \.\.\."):
        zscore(backend(np.zeros(4)))


@pytest.mark.parametrize("window", TAPERS)
@pytest.mark.parametrize("sizes", GRIDS)
def test_stitch_undoes_extract(sizes, window, rng):
    """Patches of an array stitched together are the array, to the last bit."""
    array = rng.normal(size=sizes[0]).astype(np.float32)
    np.testing.assert_array_equal(stitch(PatchGrid(*sizes), array, window=window), array)


@pytest.mark.parametrize("window", TAPERS)
def test_stitch_undoes_extract_on_random_grids(window, rng):
    """The same holds on a hundred grids drawn at random."""
    for _ in range(100):
        shape = rng.integers(1, [40, 20, 10, 6][: rng.integers(1, 5)], endpoint=True)
        patch = rng.integers(1, shape, endpoint=True)
        grid = PatchGrid(
            shape, patch, np.maximum(rng.integers(1, patch, endpoint=True), patch // 3)
        )
        array = rng.normal(size=shape).astype(np.float32)
        np.testing.assert_array_equal(stitch(grid, array, window=window), array, err_msg=str(grid))


@pytest.mark.parametrize("window", TAPERS)
@pytest.mark.parametrize("sizes", GRIDS)
def test_blend_is_the_weighted_mean(sizes, window, rng):
    """Patches that differ are averaged with the weights of the taper."""
    grid = PatchGrid(*sizes)
    tapers = {
        "flat": lambda x: np.ones_like(x),
        "hann": lambda x: np.sin(np.pi * x) ** 2,
        "gauss": lambda x: np.exp(-(((x - 0.5) / 0.125) ** 2) / 2),
    }
    weight = np.ones(())
    for size in grid.patch:
        weight = np.multiply.outer(weight, tapers[window]((np.arange(size) + 0.5) / size))
    stitcher = Stitcher(grid, window=window)
    total, weights = np.zeros((2, *grid.shape))
    for window_ in grid:
        values = rng.random(grid.patch)
        stitcher.add(window_, values)
        total[window_] += weight * values
        weights[window_] += weight
    np.testing.assert_allclose(stitcher.merge(), total / weights, atol=1e-6)


def test_flat_mean_of_two_patches():
    """Where two patches overlap, flat weights give their mean."""
    stitcher = Stitcher(PatchGrid((6,), (4,), (2,)))
    stitcher.add((slice(0, 4),), np.full(4, 0.0))
    stitcher.add((slice(2, 6),), np.full(4, 1.0))
    np.testing.assert_array_equal(stitcher.merge(), [0, 0, 0.5, 0.5, 1, 1])


@pytest.mark.parametrize("window", TAPERS)
def test_probabilities_stay_probabilities(window, rng):
    """Blended values of 0 and 1 stay within [0, 1]."""
    grid = PatchGrid((6, 40, 40), (1, 16, 16), (1, 3, 5))
    stitcher = Stitcher(grid, window=window)
    for place in grid:
        stitcher.add(place, rng.random(grid.patch).round())
    assert stitcher.merge().min() >= 0
    assert stitcher.merge().max() <= 1


def test_half_overlapping_hann_tapers_add_up_to_one():
    """With a stride of half a patch the weights add up to one: a blend follows the taper."""
    stitcher = Stitcher(PatchGrid((24,), (16,), (8,)), window="hann")
    stitcher.add((slice(0, 16),), np.zeros(16))
    stitcher.add((slice(8, 24),), np.ones(16))
    ramp = np.sin(np.pi * (np.arange(8) + 0.5) / 16) ** 2
    np.testing.assert_allclose(stitcher.merge()[8:16], ramp, atol=1e-6)


@pytest.mark.parametrize("window", ["hann", "gauss"])
def test_corners_are_covered(window):
    """The weight at the corners of the array, the smallest of all, is still positive."""
    array = np.ones((64, 64, 64), dtype=np.float32)
    grid = PatchGrid(array.shape, array.shape, array.shape)
    np.testing.assert_array_equal(stitch(grid, array, window=window), array)


def test_missing_samples_stay_missing(rng):
    """NaN samples come back as NaN and do not spread."""
    array = rng.normal(size=(20, 18)).astype(np.float32)
    array[3] = np.nan
    grid = PatchGrid(array.shape, (8, 8), (5, 3))
    np.testing.assert_array_equal(stitch(grid, array, window="hann"), array)


def test_result_goes_to_the_array_given(tmp_path, rng):
    """A memory map and a Zarr array take the result, whatever they held before."""
    zarr = pytest.importorskip("zarr")
    array = rng.normal(size=(20, 18)).astype(np.float32)
    grid = PatchGrid(array.shape, (8, 8), (5, 3))
    memory_map = np.memmap(tmp_path / "out.f4", dtype=np.float32, mode="w+", shape=array.shape)
    memory_map[:] = np.nan
    for out in (memory_map, zarr.full(array.shape, 7.0, chunks=(7, 7), dtype=np.float32)):
        assert stitch(grid, array, window="hann", out=out) is out
        np.testing.assert_array_equal(out[:], array)


def test_tensors_can_be_added(rng):
    """The values may be a Tensor on the CPU."""
    array = torch.from_numpy(rng.random((20, 18)))
    grid = PatchGrid(array.shape, (8, 8), (5, 3))
    np.testing.assert_array_equal(stitch(grid, array), array.numpy().astype(np.float32))


def test_merge_before_all_is_covered_is_refused():
    """A stitcher that lacks a patch says how many samples are left."""
    stitcher = Stitcher(PatchGrid((6,), (4,), (2,)))
    with pytest.raises(RuntimeError, match=r"Cannot merge: 6 of 6 samples are not covered"):
        stitcher.merge()
    stitcher.add((slice(0, 4),), np.ones(4))
    with pytest.raises(RuntimeError, match=r"Cannot merge: 2 of 6 samples are not covered"):
        stitcher.merge()


@pytest.mark.parametrize(
    "window",
    [
        (slice(1, 5),),
        (slice(0, 5),),
        (slice(0, 4, 2),),
        (slice(0, 4), slice(0, 4)),
        (0,),
        slice(0, 4),
    ],
)
def test_windows_beside_the_grid_are_refused(window):
    """A window is one of the grid's."""
    with pytest.raises(ValueError, match=r"Invalid window .*\. Must be one of the windows of Patc"):
        Stitcher(PatchGrid((6,), (4,), (2,))).add(window, np.ones(4))


def test_values_of_another_shape_are_refused():
    """Values are not broadcast."""
    with pytest.raises(ValueError, match=r"values \(1,\), patch \(4,\)"):
        Stitcher(PatchGrid((6,), (4,), (2,))).add((slice(0, 4),), np.ones(1))


def test_unknown_tapers_are_refused():
    """A window is flat, hann or gauss."""
    with pytest.raises(ValueError, match=r"Invalid window 'box'\. Must be one of: 'flat', 'hann'"):
        Stitcher(PatchGrid((6,), (4,), (2,)), window="box")


def test_unfit_out_is_refused():
    """The array for the result has the grid's shape and float32."""
    grid = PatchGrid((6,), (4,), (2,))
    with pytest.raises(ValueError, match=r"out \(5,\), grid \(6,\)"):
        Stitcher(grid, out=np.zeros(5, dtype=np.float32))
    with pytest.raises(TypeError, match=r"Invalid out of type float64\. Must be float32"):
        Stitcher(grid, out=np.zeros(6))
