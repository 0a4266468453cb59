"""Tests of volumes with jumps between lines, smaller than a patch, or with a single line."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from noise import make_volume
from torch import nn

from thesis_lib.patches import LabelledPatches, PatchBatches, Survey, salt_labels
from thesis_lib.patching import split_sections, zscore
from thesis_lib.training import predict_volume

APART = [*range(1, 11), *range(100, 109)]
CUT = {"patch": (4, 5), "stride": (3, 2), "batch_size": 8, "seed": 0}


def make(inline=range(12), crossline=range(9), n_samples=11):
    """A volume of noise with given line numbers."""
    lines = {"inline": [*inline], "crossline": [*crossline]}
    return make_volume((len(inline), len(crossline), n_samples), **lines)


def predict(volume, patch=(4, 5), stride=(3, 2), axes=("inline", "crossline")):
    """Predict by a small network of random weights."""
    torch.manual_seed(0)
    model = nn.Conv2d(1, 1, 3, padding=1)
    return predict_volume(
        model, volume, patch=patch, stride=stride, axes=axes, precision="32-true"
    )["probability"]


def gather(volumes, **changes):
    """All patches of an epoch, and their targets, in an order of their own."""
    images, targets = zip(*PatchBatches(volumes, **{**CUT, **changes}).epoch(0), strict=True)
    rows = torch.cat([torch.cat(images), torch.cat(targets)], dim=1).flatten(1).numpy()
    return rows[np.lexsort(rows.T)]


@pytest.mark.parametrize("axis", ["inline", "crossline"])
def test_lines_far_apart_are_no_neighbours(axis):
    """Blocks on either side of a jump give the patches and the prediction of two volumes."""
    volume = make(**{axis: APART})
    blocks = [volume.isel({axis: slice(10)}), volume.isel({axis: slice(10, None)})]
    assert np.array_equal(gather(volume), gather(blocks))
    predicted = predict(volume)
    for block in blocks:
        assert predicted.sel({axis: block[axis]}).equals(predict(block))


def test_a_line_alone_takes_part_where_it_can(caplog):
    """Inline sections reach it; crossline sections leave it out, which is logged."""
    volume = make(inline=[*range(12), 90])
    both, inline = predict(volume), predict(volume, axes=("inline",))
    assert both[-1].equals(inline[-1])
    assert both[:-1].equals(predict(volume.isel(inline=slice(12))))
    assert "1 runs of few inlines are left out of patches" in caplog.text


def write(path, crossline=APART):
    """A file of a volume with lines far apart."""
    make(crossline=crossline).to_netcdf(path, engine="h5netcdf")
    return Survey(str(path))


def list_lines(volumes):
    """Crosslines of volumes."""
    return [volume.crossline.values.tolist() for volume in volumes]


def test_splits_and_their_guard_end_at_a_jump(tmp_path):
    """Lines on the other side of a jump are neither in one block nor within the guard."""
    survey = replace(write(tmp_path / "x.nc"), test_lines=(10,), guard_lines=2)
    assert list_lines(survey.train(0)) == [list(range(1, 8)), list(range(100, 109))]
    survey = replace(survey, test_lines=(9, 10, 100, 101))
    assert list_lines(survey.test()) == [[9, 10], [100, 101]]
    assert list_lines(survey.train(0)) == [list(range(1, 7)), list(range(104, 109))]


@pytest.mark.parametrize(
    ("sizes", "patch"),
    [
        ((12, 9, 11), (16, 16)),
        ((12, 9, 11), (32, 5)),
        ((12, 3, 11), (4, 16)),
        ((3, 3, 3), (16, 16)),
    ],
)
def test_small_surveys_are_continued_by_reflection(caplog, sizes, patch):
    """Patches and prediction are those of the mirrored volume, as often as needed."""
    volume = make(range(sizes[0]), range(sizes[1]), sizes[2])
    needed = {"inline": patch[1], "crossline": patch[1], "depth": patch[0]}
    index = {
        name: np.pad(np.arange(n), (0, max(needed[name] - n, 0)), mode="reflect")
        for name, n in volume.sizes.items()
    }
    for axis, lateral in (("inline", "crossline"), ("crossline", "inline")):
        mirrored = volume.isel({name: index[name] for name in (lateral, "depth")})
        mirrored = mirrored.assign_coords({lateral: np.arange(mirrored.sizes[lateral])})
        mirrored["depth"] = 10.0 * np.arange(mirrored.sizes["depth"])
        how = {"patch": patch, "stride": (2, 2), "axes": (axis,)}
        assert np.array_equal(gather(volume, **how), gather(mirrored, **how))
        expected = predict(mirrored, **how)[tuple(map(slice, volume.amplitude.shape))]
        predicted = predict(volume, **how)
        assert np.array_equal(predicted, expected)
        assert predicted.coords.equals(volume.amplitude.coords)
    assert "by reflection to a patch of" in caplog.text


def test_large_volumes_are_left_as_they_are(caplog):
    """Where patches fit and lines are neighbours, the only part is the volume itself."""
    volume = make()
    ((where, part),) = split_sections(volume, "inline", (11, 9))
    assert part is volume
    assert where == slice(0, 9)
    assert not caplog.text


@pytest.mark.parametrize(("sizes", "patch"), [((12, 1, 11), (4, 5)), ((12, 9, 11), (89, 5))])
def test_surveys_far_smaller_than_a_patch_are_refused(sizes, patch):
    """What would be invented for seven eighths is no patch; the shape is named."""
    volume = make(range(sizes[0]), range(sizes[1]), sizes[2])
    for use in (predict, PatchBatches):
        how = {} if use is predict else {"batch_size": 1, "seed": 0}
        with pytest.raises(
            ValueError, match=rf"Invalid patch \({patch[0]}, {patch[1]}\) for the 12"
        ):
            use(volume, patch=patch, stride=(1, 1), axes=("inline",), **how)


def test_a_single_line_is_predicted_along_itself(caplog):
    """Sections of one trace are left out, which is logged; those along the line are predicted."""
    line = make(inline=[1], crossline=range(40))
    predicted = predict(line, patch=(4, 9))
    assert predicted.equals(predict(line, patch=(4, 9), axes=("inline",)))
    assert "One direction is left out: Invalid patch (4, 9) for the 40 sections" in caplog.text


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("value", [255, 2, -1, 0.5])
def test_salt_is_0_or_1(lazy, value):
    """A mask that was put together by hand may be of numbers, but of no others."""
    volume = make()
    known = gather(volume)
    volume["salt"] = volume.salt.astype(type(value))
    volume = volume.chunk(inline=5) if lazy else volume
    assert np.array_equal(gather(volume), known)
    volume["salt"] = volume.salt * value
    with pytest.raises(ValueError, match=rf"Invalid salt with value {value:g}. Must be 0 or 1"):
        PatchBatches(volume, **CUT)


def test_masked_arrays_are_refused():
    """A masked sample has no value that a network, a label or a z-score could use."""
    images = np.ma.array(np.random.default_rng(0).random((2, 4, 4), np.float32))
    masks = np.ma.array(images.data > 0.5)
    labels = np.array([0, 1])
    images[0, 1, 2], masks[1, 0, 0] = np.ma.masked, np.ma.masked
    with pytest.raises(ValueError, match="NaN or infinite samples"):
        zscore(images)
    with pytest.raises(ValueError, match="Invalid masks with masked pixels"):
        salt_labels(masks)
    for wrong in ((images, labels, "ab"), (images.data, labels, "ab", masks)):
        with pytest.raises(ValueError, match="Invalid patches with masked samples"):
            LabelledPatches(*wrong)
