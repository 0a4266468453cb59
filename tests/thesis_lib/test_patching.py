"""Tests of cutting, standardising and stitching patches."""

import math
from functools import reduce

import numpy as np
import pytest
import torch
import xarray as xr
import zarr

from thesis_lib.patching import TAPERS, PatchGrid, Stitcher, check_axes, grid_sections, zscore

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
def test_grid_is_a_collection_of_windows_that_cover_the_array(sizes):
    """Each sample lies in a window; length and membership agree."""
    grid = PatchGrid(*sizes)
    windows = list(grid)
    covered = np.zeros(grid.shape, dtype=int)
    for window in windows:
        assert covered[window].shape == grid.patch
        assert window in grid
        covered[window] += 1
    assert covered.min() >= 1
    assert len(grid) == len(windows) == math.prod(map(len, grid.starts))
    assert len({grid, PatchGrid(*map(list, sizes))}) == 1  # a value, also if given as lists


def test_extract_takes_what_slices_cut(rng):
    """Patches of a NumPy array are views, those of a Tensor or Zarr array their equals."""
    array = rng.normal(size=(20, 18))
    grid = PatchGrid(array.shape, (8, 8), (5, 8))
    assert all(np.shares_memory(patch, array) for _, patch in grid.extract(array))
    for lazy in (array, torch.from_numpy(array), zarr.array(array, chunks=(5, 7))):
        for window, patch in grid.extract(lazy):
            np.testing.assert_array_equal(np.asarray(patch), array[window])
    with pytest.raises(ValueError, match=r"array \(18, 20\), grid \(20, 18\)"):
        grid.extract(array.T)  # at once, before the first patch is asked for


@pytest.mark.parametrize(
    ("sizes", "error", "message"),
    [
        (((20, 18), (8, 20), (4, 4)), ValueError, r"Patch \(8, 20\) is larger than .*\(20, 18\)"),
        (((20, 18), (8, 8), (9, 4)), ValueError, r"Stride \(9, 4\) is larger than the patch \(8,"),
        (((20, 18), (8,), (4, 4)), ValueError, r"Invalid patch \(8,\)\. Must have one number"),
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


VOLUME = xr.Dataset({"amplitude": (("crossline", "time", "inline"), np.zeros((9, 16, 4)))})


@pytest.mark.parametrize(("axis", "shape"), [("inline", (4, 16, 9)), ("crossline", (9, 16, 4))])
def test_sections_are_cut_line_by_line(axis, shape):
    """The grid of a direction is that over (line, vertical, lateral) in any order of axes."""
    grid = grid_sections(VOLUME, axis, (8, 4), (4, 2))
    assert grid == PatchGrid(shape, (1, 8, 4), (1, 4, 2))


@pytest.mark.parametrize(
    ("volume", "patch", "message"),
    [
        (VOLUME, (8, 5), r"for the 9 .* crossline of shape \(16, 4\) \(time, inline\)"),
        (VOLUME, (17, 4), r"Invalid patch \(17, 4\) .* Must fit, or leave 'crossline' out of axes"),
        (VOLUME.isel(crossline=slice(0)), (8, 4), r"for the 0 sections along crossline of shape"),
    ],
)
def test_patches_that_fit_no_section_are_refused(volume, patch, message):
    """The error names the direction, and number and shape of its sections."""
    with pytest.raises(ValueError, match=message):
        grid_sections(volume, "crossline", patch, (1, 1))


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (("depth",), r"Invalid axis 'depth'\. Must be one of: 'inline', 'crossline'"),
        ((), r"Invalid axes \(\)\. Must be one or two different directions"),
        (["inline", "inline"], r"Invalid axes \('inline', 'inline'\)\. Must be one or two"),
    ],
)
def test_directions_are_one_or_two(axes, message):
    """Directions are inline, crossline or both."""
    assert check_axes(["crossline", "inline"]) == ("crossline", "inline")
    with pytest.raises(ValueError, match=message):
        check_axes(axes)


@pytest.fixture(params=[np.asarray, torch.from_numpy], ids=["numpy", "torch"])
def backend(request):
    """Make an array of NumPy or torch from one of NumPy."""
    return request.param


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_zscore_has_mean_zero_and_deviation_one(backend, rng, kind):
    """Each patch is scaled by its own mean and deviation, and keeps type and shape; so do none."""
    patches = rng.normal(3, 5, size=(4, 1, 9, 7)) * [[[[1]]], [[[10]]], [[[1e-6]]], [[[1e6]]]]
    expected = [(patch - patch.mean()) / patch.std() for patch in patches]
    np.testing.assert_allclose(np.asarray(zscore(backend(patches))), expected, atol=1e-12)
    for shape in [(2, 3, 5), (0, 1, 4, 4)]:
        patches = backend(rng.normal(size=shape).astype(kind))
        scaled = zscore(patches)
        assert type(scaled) is type(patches)
        assert (scaled.dtype, scaled.shape) == (patches.dtype, patches.shape)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1234.567, 1e30, -1e-30])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_constant_patches_become_zeros(backend, rng, value, kind):
    """A constant has no signal, nor has a deviation below 1e-6 of the peak, which is rounding."""
    assert not np.asarray(zscore(backend(np.full((2, 1, 64, 63), value, dtype=kind)))).any()
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


@pytest.mark.parametrize(
    ("patches", "error", "message"),
    [
        (np.array([[0, np.nan]]), ValueError, "Invalid patches with NaN or infinite samples"),
        (np.array([[0, -np.inf]]), ValueError, "Invalid patches with NaN or infinite samples"),
        (np.zeros((2, 4), dtype=np.int64), TypeError, r"Invalid patches of type .*int64\. Must be"),
        (np.zeros(4), ValueError, r"Invalid patches of shape \(4,\)\. Must be \(B, \.\.\."),
    ],
)
def test_what_cannot_be_standardised_is_refused(backend, patches, error, message):
    """Missing samples would spoil their patch; whole numbers and a lone axis are no patches."""
    with pytest.raises(error, match=message):
        zscore(backend(patches))
    with pytest.raises(TypeError, match=r"Invalid patches of type list\. Must be floating-point"):
        zscore([[1.0, 2.0]])


@pytest.mark.parametrize("window", TAPERS)
def test_stitch_undoes_extract_on_random_grids(window, rng):
    """Patches stitched together are the array, to the last bit, on a hundred random grids."""
    for _ in range(100):
        shape = rng.integers(1, [40, 20, 10, 6][: rng.integers(1, 5)], endpoint=True)
        patch = rng.integers(1, shape, endpoint=True)
        stride = np.maximum(rng.integers(1, patch, endpoint=True), patch // 3)
        grid = PatchGrid(shape, patch, stride)
        array = rng.normal(size=shape).astype(np.float32)
        np.testing.assert_array_equal(stitch(grid, array, window=window), array, err_msg=str(grid))


@pytest.mark.parametrize("window", TAPERS)
@pytest.mark.parametrize("sizes", GRIDS)
def test_blend_is_the_weighted_mean(sizes, window, rng):
    """Patches that differ are averaged with the weights of the taper."""
    grid = PatchGrid(*sizes)
    taper = {
        "flat": lambda x: np.ones_like(x),
        "hann": lambda x: np.sin(np.pi * x) ** 2,
        "gauss": lambda x: np.exp(-(((x - 0.5) / 0.125) ** 2) / 2),
    }[window]
    tapers = (taper((np.arange(size) + 0.5) / size) for size in grid.patch)
    weight = reduce(np.multiply.outer, tapers)
    stitcher = Stitcher(grid, window=window)
    total, weights = np.zeros((2, *grid.shape))
    for window_ in grid:
        values = rng.random(grid.patch)
        stitcher.add(window_, values)
        total[window_] += weight * values
        weights[window_] += weight
    np.testing.assert_allclose(stitcher.merge(), total / weights, atol=1e-6)


def test_half_overlapping_hann_tapers_add_up_to_one():
    """With a stride of half a patch the weights add up to one: a blend follows the taper."""
    stitcher = Stitcher(PatchGrid((24,), (16,), (8,)), window="hann")
    stitcher.add((slice(0, 16),), np.zeros(16))
    stitcher.add((slice(8, 24),), np.ones(16))
    ramp = np.sin(np.pi * (np.arange(8) + 0.5) / 16) ** 2
    np.testing.assert_allclose(stitcher.merge()[8:16], ramp, atol=1e-6)


def test_missing_samples_stay_missing(rng):
    """NaN samples come back as NaN and do not spread, given as arrays or as tensors."""
    array = rng.normal(size=(20, 18)).astype(np.float32)
    array[3] = np.nan
    grid = PatchGrid(array.shape, (8, 8), (5, 3))
    for samples in (array, torch.from_numpy(array)):
        np.testing.assert_array_equal(stitch(grid, samples, window="hann"), array)


def test_what_is_not_of_the_grid_is_refused():
    """Windows are the grid's, all of them, their values not broadcast; tapers have known names."""
    grid = PatchGrid((6,), (4,), (2,))
    whole = slice(0, 4)
    for window in [(slice(1, 5),), (slice(0, 5),), (slice(0, 4, 2),), (whole, whole), (0,), whole]:
        with pytest.raises(ValueError, match=r"Invalid window .*\. Must be one of the windows of"):
            Stitcher(grid).add(window, np.ones(4))
    with pytest.raises(ValueError, match=r"values \(1,\), patch \(4,\)"):
        Stitcher(grid).add((whole,), np.ones(1))
    with pytest.raises(ValueError, match=r"Invalid window 'box'\. Must be one of: 'flat', 'hann'"):
        Stitcher(grid, window="box")
    stitcher = Stitcher(grid)
    stitcher.add((whole,), np.ones(4))
    with pytest.raises(RuntimeError, match=r"Cannot merge: 2 of 6 samples are not covered"):
        stitcher.merge()
