"""Network inversion as a task: images of xai, their measures, and what counts in the tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from explained_networks import CLASSES, JUDGE, fix_patches, make_classifier, make_patches, run
from scipy import stats

from thesis_lib import xai
from thesis_lib.patches import LabelledPatches
from thesis_lib.patching import zscore
from thesis_lib.study import Admit, Invert, tabulate
from thesis_lib.study.classification import load_classifier
from thesis_lib.study.inversion import (
    MEASURES,
    measure_auc,
    pick_patches,
    score_blocks,
    summarise_depth,
)
from thesis_lib.study.segmentation import load_model
from thesis_lib.xai import measures, spectra

TEST = make_patches(8)
PATCHES = pick_patches(TEST, n_patches=2)
TASK = Invert(make_classifier(TEST), JUDGE, levels=(0.3, 0.1), steps=10)
ORIGINS = [0, 1, 0, 1]
ROUNDING = {"rtol": 1e-3, "atol": 1e-3}  # of float32, which the steps of a search amplify


@pytest.fixture(scope="module")
def inverted(root):
    """Two patches at two levels."""
    return run(TASK, root)


def read_block3(outcome):
    """Records of block 3."""
    table = tabulate([outcome], rows="images")
    return table[table["block"] == "block3"].reset_index(drop=True)


def test_images_are_those_of_invert(inverted):
    """Images, residuals and priors are those of one call of xai.invert, up to rounding."""
    model = load_classifier(inverted.parents["network"])
    settings = {"levels": TASK.levels, "steps": 10, "progress": False}
    found = xai.invert(model, "block3", PATCHES.tensors(), **settings)
    images = inverted.load_tensors("images")
    assert [*images] == ["block1", "block2", "block3", "block4"]
    torch.testing.assert_close(images["block3"], found.images, **ROUNDING)
    table = read_block3(inverted)
    assert set(table) == {"block", "level", "patch", *MEASURES}
    assert table["patch"].tolist() == ORIGINS
    assert table["level"].tolist() == [0.3, 0.3, 0.1, 0.1]
    for name in ("residual", "prior"):
        expected = getattr(found, name).flatten().numpy()
        np.testing.assert_allclose(table[name], expected, rtol=1e-2, atol=1e-3)


def test_noise_is_a_start(root):
    """From noise the images are others."""
    found = run(replace(TASK, start="noise"), root).load_tensors("images")["block3"]
    assert not torch.allclose(found[0], PATCHES.tensors(), atol=0.1)


def test_measures_are_those_of_xai(inverted):
    """Every column is what xai measures of the image against its own z-scored patch."""
    images = inverted.load_tensors("images")["block3"].flatten(0, 1)
    reference = PATCHES.tensors()[ORIGINS]
    model = load_classifier(inverted.parents["network"])
    unet = load_model(inverted.parents["judge"]).eval()
    with torch.no_grad():
        masks, truth = (unet(x)[:, 0].numpy() > 0 for x in (zscore(images), reference))
        kept = model(images).argmax(dim=1) == model(reference).argmax(dim=1)
    low = [spectra.low_pass(x, spectra.band_limit(TEST.tensors())) for x in (images, reference)]
    table = read_block3(inverted)
    expected = {
        "reached": table["residual"] <= table["level"],
        "correlation": measures.correlation(*low),
        "modification": 1 - measures.structural_similarity(*low),
        "boundary_f1": [measures.boundary_f1(*pair) for pair in zip(masks, truth, strict=True)],
        "label_kept": kept,
    }
    for name, column in expected.items():
        np.testing.assert_allclose(table[name], np.asarray(column), rtol=1e-4, err_msg=name)


def test_without_judge_no_boundary(root):
    """Without a judge the boundary is unknown, and nothing else."""
    table = tabulate([run(replace(TASK, judge=None), root)], rows="images")
    assert table["boundary_f1"].isna().all()
    assert table[[*MEASURES]].drop(columns="boundary_f1").notna().all(axis=None)


def test_half_of_the_picked_patches_are_salt():
    """Background comes first, salt last; none is full of salt or without a spectrum."""
    masks = TEST.masks.copy()
    masks[1] = True
    picked = pick_patches(replace(TEST, masks=masks), n_patches=5)
    assert picked.labels.tolist() == [0, 0, 1, 1, 1]
    assert picked.fractions.max() <= 0.8
    with pytest.raises(ValueError, match="without masks"):
        pick_patches(replace(TEST, masks=None), n_patches=2)
    images = TEST.images.copy()
    images[np.flatnonzero(TEST.labels == 0)[1:], :, 1:] = 0  # varies in its first column alone
    changed = replace(TEST, images=images)
    np.testing.assert_array_equal(pick_patches(changed, n_patches=2).images[0], TEST.images[0])
    with pytest.raises(ValueError, match=r"Invalid number of background patches 2\. .* 0 to 1"):
        pick_patches(changed, n_patches=4)


BARE = LabelledPatches(np.ones((2, 32, 32)), [0, 1], CLASSES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": (0.1, 0.1)}, r"Invalid levels \(0.1, 0.1\)\. Must be distinct, at least one"),
        (
            {"network": make_classifier(make_patches(4, side=10))},
            "pixels. Must be at least 11",
        ),
        ({"network": make_classifier(BARE)}, "without masks"),
        ({"start": "zeros"}, "Invalid start 'zeros'"),
        ({"n_patches": 0}, "Invalid n_patches 0"),
        ({"steps": 0}, "Invalid steps 0"),
        ({"levels": (-0.1,)}, "Invalid level -0.1"),
    ],
)
def test_wrong_requests_are_refused(tmp_path, changes, message):
    """What the task or xai refuses is refused in its words, and leaves no scores of images."""
    with pytest.raises(ValueError, match=message):
        run(replace(TASK, judge=None, **changes), tmp_path)
    assert not list(tmp_path.glob("*/images.safetensors"))


def test_boundaries_are_admitted_by_pairs(root):
    """Four patches of salt make four pairs of the same and twelve of different patches."""
    task = Admit(fix_patches(make_patches(seed=5), TEST), JUDGE, seed=0, n_patches=4)
    scores = run(task, root).scores
    assert scores["n_patches"] == 4
    assert 0 <= scores["auc"] <= 1
    assert scores["same"] >= scores["different"]


def test_auc_by_hand():
    """Of the six pairs of .9, .5 and .5, .2, .1: five are above, one is tied: 5.5 / 6."""
    assert measure_auc([0.9, 0.5], [0.5, 0.2, 0.1]) == pytest.approx(5.5 / 6)
    assert measure_auc([1, 1], [0, 0]) == 1
    assert measure_auc([0.3], [0.3]) == 0.5


# Tables


def make_images(values, *, initialisation="segmentation", seed=0):
    """One row per patch of block 1."""
    table = pd.DataFrame({"patch": range(len(values)), "boundary_f1": values})
    return table.assign(
        block="block1", correlation=0.5, modification=0.1, initialisation=initialisation, seed=seed
    )


def test_entries_are_initialisations_and_blocks():
    """What is read from a block joins the means of its images."""
    images = pd.concat([make_images([0.2, 0.4]), make_images([0.6], seed=1)])
    readouts = images.drop_duplicates("seed")[["initialisation", "block", "seed"]]
    table = score_blocks(readouts.assign(lost=[0.3, 0.4], probe=0.9), images)
    assert table["entry"].tolist() == ["segmentation block1"] * 2
    assert table["seed"].tolist() == [0, 1]
    assert table["boundary_f1"].tolist() == pytest.approx([0.3, 0.6])
    assert table["lost"].tolist() == [0.3, 0.4]


def test_curves_have_t_intervals_over_seeds():
    """Seeds of means 0, 1 and 2 have the mean 1 and a half width of 4.303 / sqrt(3)."""
    images = pd.concat(
        [make_images([value - 0.5, value + 0.5], seed=value) for value in range(3)]
        + [make_images([5.0], initialisation="untrained")]
    )
    row, other = summarise_depth(images, ["initialisation"], ["boundary_f1"]).to_dict("records")
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert (row["initialisation"], other["initialisation"]) == ("segmentation", "untrained")
    assert row["boundary_f1"] == pytest.approx(1)
    assert row["boundary_f1_high"] - row["boundary_f1"] == pytest.approx(half)
    assert row["boundary_f1"] - row["boundary_f1_low"] == pytest.approx(half)
    assert np.isnan([other["boundary_f1_low"], other["boundary_f1_high"]]).all()
