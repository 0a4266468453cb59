"""Network inversion as a task: images of xai, their measures, and what counts in the tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from explained_networks import CLASSES, JUDGE, make_classifier, make_patches, run
from scipy import stats

from thesis_lib import xai
from thesis_lib.patches import LabelledPatches
from thesis_lib.patching import zscore
from thesis_lib.study import Invert, grid, run_all, tabulate
from thesis_lib.study.classification import load_classifier
from thesis_lib.study.inversion import (
    MEASURES,
    average_blocks,
    keep_converged,
    pick_patches,
    summarise_depth,
)
from thesis_lib.study.segmentation import load_model
from thesis_lib.xai import measures

TEST = make_patches(8)
PATCHES = pick_patches(TEST, n_patches=2)
TASK = Invert(
    make_classifier(TEST),
    JUDGE,
    block="block1",
    n_patches=2,
    ni_seeds=(3, 7, 8),
    steps=4,
    tolerance=0.3,
)
ORIGINS = [0, 0, 0, 1, 1, 1]
ROUNDING = {"rtol": 1e-3, "atol": 1e-4}  # of float32, which the steps of a search amplify


@pytest.fixture(scope="module")
def inverted(root):
    """Two patches from three seeds, through two blocks."""
    found = run_all(grid(TASK, block=["block1", "block3"]), root=root, progress=False)
    return {outcome.task.block: outcome for outcome in found}


@pytest.fixture(scope="module")
def network(inverted):
    """The network that was inverted."""
    return inverted["block1"].parents["network"]


def invert_directly(network, block, **changes):
    """Call xai as the task has to call it."""
    settings = {"seeds": TASK.ni_seeds, "steps": 4, "tolerance": 0.3, "progress": False}
    return xai.invert(load_classifier(network), block, PATCHES.tensors(), **(settings | changes))


@pytest.mark.parametrize("block", ["block1", "block3"])
def test_images_are_those_of_invert(inverted, network, block):
    """Images and history of a block are those of one call of xai.invert, up to rounding."""
    found = invert_directly(network, block)
    tensors = inverted[block].load_tensors("images")
    torch.testing.assert_close(tensors["images"], found.images, **ROUNDING)
    torch.testing.assert_close(tensors["history"], found.history, **ROUNDING)
    table = tabulate([inverted[block]], rows="images")
    assert set(table) == {"block", "patch", "ni_seed", *MEASURES}
    assert table["patch"].tolist() == ORIGINS
    assert table["ni_seed"].tolist() == [3, 7, 8, 3, 7, 8]


def test_adam_is_a_setting(network, root):
    """Adam and its rate reach xai.invert."""
    settings = {"optimizer": "adam", "lr": 0.02}
    found = run(replace(TASK, block="block2", **settings), root).load_tensors("images")["images"]
    expected = invert_directly(network, "block2", **settings).images
    torch.testing.assert_close(found, expected, **ROUNDING)


def test_measures_are_those_of_xai(inverted, network):
    """Every column is what xai measures of the image against its own z-scored patch."""
    images = inverted["block3"].load_tensors("images")["images"]
    reference = PATCHES.tensors()[ORIGINS]
    model, unet = load_classifier(network), load_model(inverted["block3"].parents["judge"]).eval()
    with torch.no_grad():
        masks, truth = (unet(x)[:, 0].numpy() > 0 for x in (zscore(images), reference))
        kept = model(images).argmax(dim=1) == model(reference).argmax(dim=1)
    table = tabulate([inverted["block3"]], rows="images")
    expected = {
        "distance": table["residual"] ** 0.5,
        "converged": table["residual"] < 0.3,
        "correlation": measures.correlation(images, reference),
        "modification": 1 - measures.structural_similarity(images, reference),
        "spectral_distance_db": [
            measures.log_spectral_distance(images[i : i + 1], reference[i : i + 1]).item()
            for i in range(6)
        ],
        "boundary_f1": [measures.boundary_f1(*pair) for pair in zip(masks, truth, strict=True)],
        "label_kept": kept,
    }
    for name, column in expected.items():
        np.testing.assert_allclose(table[name], np.asarray(column), rtol=1e-4, err_msg=name)


def test_restarts_are_correlated_within_their_patch(inverted):
    """An image's restart correlation is its mean correlation with the other seeds' images."""
    images = inverted["block1"].load_tensors("images")["images"].flatten(1).numpy()
    for i, record in enumerate(inverted["block1"].scores["images"]):
        others = [j for j in range(6) if ORIGINS[j] == ORIGINS[i] and j != i]
        expected = np.mean([np.corrcoef(images[i], images[j])[0, 1] for j in others])
        assert record["restart_correlation"] == pytest.approx(expected, abs=1e-5)


def test_one_seed_without_judge(root):
    """With one seed restarts are unknown, without a judge the boundary, and nothing else."""
    table = tabulate([run(replace(TASK, judge=None, ni_seeds=(3,)), root)], rows="images")
    unknown = ["restart_correlation", "boundary_f1"]
    assert table[unknown].isna().all(axis=None)
    assert table[[*MEASURES]].drop(columns=unknown).notna().all(axis=None)


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
        ({"block": "stem"}, "Invalid block 'stem'. Must be one of: 'block1'"),
        ({"ni_seeds": (3, 3)}, r"Invalid ni_seeds \(3, 3\)\. Must be distinct, at least one"),
        (
            {"network": make_classifier(make_patches(4, side=10))},
            "pixels. Must be at least 11",
        ),
        ({"network": make_classifier(BARE)}, "without masks"),
        ({"optimizer": "newton"}, "Invalid optimizer 'newton'"),
        ({"n_patches": 0}, "Invalid n_patches 0"),
        ({"steps": 0}, "Invalid steps 0"),
        ({"tolerance": -0.1}, "Invalid tolerance -0.1"),
        ({"lr": float("nan")}, "Invalid lr nan"),
        ({"ni_seeds": (-1,)}, "Invalid ni_seeds -1"),
    ],
)
def test_wrong_requests_are_refused(tmp_path, changes, message):
    """What the task or xai refuses is refused in its words, and leaves no scores of images."""
    with pytest.raises(ValueError, match=message):
        run(replace(TASK, judge=None, **changes), tmp_path)
    assert not list(tmp_path.glob("*/images.safetensors"))


# Tables


def make_images(modification, *, residual=0.001, initialisation="segmentation", seed=0):
    """Two patches with two restarts, from {block: their four modifications}."""
    rows = [
        {"block": block, "patch": i // 2, "ni_seed": i % 2, "modification": value}
        for block, values in modification.items()
        for i, value in enumerate(values)
    ]
    table = pd.DataFrame(rows).assign(initialisation=initialisation, seed=seed, residual=residual)
    table["converged"] = (table["residual"] < 0.01).astype(float)
    columns = ["initialisation", "seed", "block", "patch", "ni_seed", *MEASURES]
    return table.reindex(columns=columns)


def test_entries_are_initialisations_and_depths():
    """Each block is an entry, and shallow is the mean of blocks 1 and 2."""
    images = make_images({"block1": [0, 0.2, 0, 0.2], "block2": [0.5] * 4, "block3": [0.9] * 4})
    table = average_blocks(images).set_index("entry")
    assert table["modification"].to_dict() == pytest.approx(
        {
            "segmentation block1": 0.1,
            "segmentation block2": 0.5,
            "segmentation block3": 0.9,
            "segmentation shallow": 0.3,
        }
    )
    alone = average_blocks(make_images({"block1": [0.1] * 4}))
    assert alone["entry"].tolist() == ["segmentation block1"]


def test_only_converged_images_count():
    """Means are those of images that converged; of a block with fewer than half, there is none."""
    images = make_images({"block1": [0.1, 0.1, 0.4, 0.9]}, residual=[0, 0, 0, 0.5])
    (row,) = average_blocks(keep_converged(images)).to_dict("records")
    assert row["modification"] == pytest.approx(0.2)
    assert row["converged"] == 0.75
    (row,) = average_blocks(images).to_dict("records")
    assert row["modification"] == pytest.approx(0.375)
    blocks = {"block1": [0.1] * 4, "block2": [0.2] * 4}
    images = make_images(blocks, residual=[0] * 4 + [0, 0.5, 0.5, 0.5])
    table = average_blocks(keep_converged(images)).set_index("entry")
    unknown = [name for name, value in table["modification"].items() if np.isnan(value)]
    assert unknown == ["segmentation block2", "segmentation shallow"]
    assert table.loc["segmentation block2", "converged"] == 0.25


def test_curves_have_t_intervals_over_patches_of_all_networks():
    """Four patches of means 0, 1, 2, 3 have the mean 1.5 and a half width of 3.182 s / 2."""
    images = pd.concat(
        [
            make_images({"block1": [-0.5, 0.5, 1, 1]}),
            make_images({"block1": [2, 2, 2, 4]}, seed=1),
            make_images({"block1": [5] * 4}, initialisation="untrained"),
        ]
    )
    row, other = summarise_depth(images).to_dict("records")
    half = stats.t.ppf(0.975, 3) * np.std([0, 1, 2, 3], ddof=1) / 2
    assert (row["initialisation"], other["initialisation"]) == ("segmentation", "untrained")
    assert row["modification"] == pytest.approx(1.5)
    assert row["modification_high"] - row["modification"] == pytest.approx(half)
    assert row["modification"] - row["modification_low"] == pytest.approx(half)


def test_unknown_values_have_no_interval():
    """One patch that counts gives a mean without bounds, none gives NaN."""
    images = make_images({"block1": [1] * 4}, residual=[0, 0, 1, 1])
    (row,) = summarise_depth(keep_converged(images)).to_dict("records")
    assert row["modification"] == 1
    assert np.isnan([row["modification_low"], row["modification_high"]]).all()
    images = make_images({"block1": [1] * 4}, residual=1.0)
    (row,) = summarise_depth(keep_converged(images)).to_dict("records")
    assert np.isnan(row["modification"])
    assert row["converged"] == 0
