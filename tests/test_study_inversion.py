from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from explained_networks import CLASSES, make_classifier, make_patches, make_segmenter

from thesis_lib import xai
from thesis_lib.data import LabelledPatches
from thesis_lib.patching import zscore
from thesis_lib.study.inversion import MEASURES, InversionConfig, invert_blocks
from thesis_lib.study.segmentation import load_model
from thesis_lib.xai import measures

CONFIG = InversionConfig(
    blocks=("block1", "block3"), ni_seeds=(3, 7, 8), steps=4, tolerance=0.3, precision="32-true"
)
PATCHES = make_patches(2)
ORIGINS = [0, 0, 0, 1, 1, 1]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of the runs that the tests of this file share."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def network(root):
    """Untrained classifier of classes background and salt."""
    return make_classifier(root)


@pytest.fixture(scope="module")
def segmenter(root):
    """Folder of an untrained segmenter."""
    return make_segmenter(root)


@pytest.fixture(scope="module")
def inverted(network, segmenter, root):
    """Two patches from three seeds, through two blocks."""
    return run(network, CONFIG, segmenter=segmenter, root=root)


def run(network, config, *, patches=PATCHES, segmenter=None, root):
    """Run the task without a progress bar."""
    return invert_blocks(
        network, config, patches=patches, segmenter=segmenter, root=root, progress=False
    )


def invert_directly(network, block, **changes):
    """Call xai as the task is to call it."""
    settings = {"seeds": CONFIG.ni_seeds, "steps": 4, "tolerance": 0.3, "progress": False}
    return xai.invert(network.load(), block, PATCHES.tensors(), **(settings | changes))


@pytest.mark.parametrize("block", CONFIG.blocks)
def test_images_are_those_of_invert(inverted, network, block):
    """Images and histories of a block are those of one call of xai.invert."""
    found = invert_directly(network, block)
    torch.testing.assert_close(inverted.images[block], found.images, rtol=0, atol=0)
    torch.testing.assert_close(inverted.histories[block], found.history, rtol=0, atol=0)
    table = inverted.table[inverted.table["block"] == block]
    assert list(table) == ["block", "patch", "ni_seed", *MEASURES]
    assert table["patch"].tolist() == ORIGINS
    assert table["ni_seed"].tolist() == [3, 7, 8, 3, 7, 8]


def test_adam_is_a_setting(network, root):
    """Adam, its rate and the weights of the regularisers reach xai.invert."""
    config = replace(
        CONFIG, blocks=("block2",), optimizer="adam", lr=0.02, norm_weight=0.1, variation_weight=0.2
    )
    found = run(network, config, root=root)
    expected = invert_directly(
        network, "block2", optimizer="adam", lr=0.02, norm_weight=0.1, variation_weight=0.2
    )
    torch.testing.assert_close(found.images["block2"], expected.images, rtol=0, atol=0)


def test_measures_are_those_of_xai(inverted, network, segmenter):
    """Every column is what xai measures of the image against its own z-scored patch."""
    found = invert_directly(network, "block3")
    images, reference = found.images, PATCHES.tensors()[ORIGINS]
    unet, model = load_model(segmenter).eval(), network.load()
    with torch.no_grad():
        masks, truth = (unet(x)[:, 0].numpy() > 0 for x in (zscore(images), reference))
        kept = model(images).argmax(dim=1) == model(reference).argmax(dim=1)
    expected = {
        "residual": found.residual,
        "distance": found.residual**0.5,
        "converged": found.residual < 0.3,
        "evaluations": found.evaluations,
        "correlation": measures.correlation(images, reference),
        "modification": 1 - measures.structural_similarity(images, reference),
        "spectral_distance_db": [
            measures.log_spectral_distance(images[i : i + 1], reference[i : i + 1]).item()
            for i in range(6)
        ],
        "boundary_f1": [measures.boundary_f1(*pair) for pair in zip(masks, truth, strict=True)],
        "label_kept": kept,
    }
    table = inverted.table[inverted.table["block"] == "block3"]
    for name, column in expected.items():
        np.testing.assert_allclose(table[name], np.asarray(column), rtol=1e-5, err_msg=name)


def test_restarts_are_correlated_within_their_patch(inverted):
    """An image's restart correlation is its mean correlation with the other seeds' images."""
    images = inverted.images["block1"].flatten(1).numpy()
    table = inverted.table[inverted.table["block"] == "block1"]
    for i, value in enumerate(table["restart_correlation"]):
        others = [j for j in range(6) if ORIGINS[j] == ORIGINS[i] and j != i]
        expected = np.mean([np.corrcoef(images[i], images[j])[0, 1] for j in others])
        assert value == pytest.approx(expected, abs=1e-5)


def test_one_seed_without_segmenter(network, root):
    """With one seed restarts are unknown, without a segmenter the boundary, and nothing else."""
    table = run(network, replace(CONFIG, ni_seeds=(3,)), root=root).table
    unknown = ["restart_correlation", "boundary_f1"]
    assert table[unknown].isna().all(axis=None)
    assert table[[*MEASURES]].drop(columns=unknown).notna().all(axis=None)


def test_found_again_is_as_computed(inverted, network, segmenter, root, monkeypatch):
    """A second call inverts nothing and returns the same images and the same table."""
    monkeypatch.setattr(xai, "invert", None)
    again = run(network, CONFIG, segmenter=segmenter, root=root)
    assert all(outcome.computed for outcome in inverted.outcomes.values())
    assert not any(outcome.computed for outcome in again.outcomes.values())
    pd.testing.assert_frame_equal(again.table, inverted.table)
    for block in CONFIG.blocks:
        assert again.images[block].equal(inverted.images[block])


def test_everything_but_the_other_blocks_counts_for_the_key(inverted, network, segmenter, root):
    """A block asked for alone is found; another network, setting, patch or segmenter is not."""
    config = replace(CONFIG, blocks=("block3",))
    alone = run(network, config, segmenter=segmenter, root=root)
    assert alone.outcomes["block3"].folder == inverted.outcomes["block3"].folder
    runs = [
        alone,
        run(make_classifier(root, seed=1), config, segmenter=segmenter, root=root),
        run(network, replace(config, steps=5), segmenter=segmenter, root=root),
        run(network, config, patches=make_patches(2, seed=1), segmenter=segmenter, root=root),
        run(network, config, root=root),
    ]
    assert len({found.outcomes["block3"].folder for found in runs}) == 5


def test_a_killed_call_goes_on_with_its_block(network, tmp_path, monkeypatch):
    """A call killed while it writes its second block leaves the first, and nothing half."""
    from thesis_lib.study import tensors

    save, calls = tensors.save_file, []

    def kill_second(content, path):
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        save(content, path)

    monkeypatch.setattr(tensors, "save_file", kill_second)
    with pytest.raises(KeyboardInterrupt):
        run(network, CONFIG, root=tmp_path)
    assert len(list(tmp_path.glob("*/images.safetensors"))) == 1
    assert len(list(tmp_path.glob("*/scores.json"))) == 1
    again = run(network, CONFIG, root=tmp_path)
    assert [outcome.computed for outcome in again.outcomes.values()] == [False, True]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"blocks": ("stem",)}, "Invalid block 'stem'. Must be one of: 'block1'"),
        ({"blocks": ()}, r"Invalid blocks \(\)\. Must be distinct, at least one"),
        ({"blocks": ("block1", "block1")}, "Must be distinct"),
        ({"ni_seeds": (3, 3)}, r"Invalid ni_seeds \(3, 3\)\. Must be distinct, at least one"),
        ({"precision": "16"}, "Invalid precision '16'"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    """Blocks, seeds and precisions are checked when they are given."""
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


@pytest.mark.parametrize(
    ("changes", "patches", "message"),
    [
        ({}, make_patches(2, side=10), "10.* pixels. Must be at least 11"),
        ({}, LabelledPatches(np.ones((2, 32, 32)), [0, 1], CLASSES), "Patch 0 is constant"),
        ({"optimizer": "newton"}, PATCHES, "Invalid optimizer 'newton'"),
    ],
    ids=["small", "constant", "optimizer"],
)
def test_wrong_requests_are_refused(network, tmp_path, changes, patches, message):
    """What xai refuses is refused in its words, and leaves no scores."""
    with pytest.raises(ValueError, match=message):
        run(network, replace(CONFIG, **changes), patches=patches, root=tmp_path)
    assert not list(tmp_path.glob("*/scores.json"))
