from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from explained_networks import CLASSES, SIDE, make_classifier, make_patches, make_segmenter

from thesis_lib import xai
from thesis_lib.data import LabelledPatches
from thesis_lib.study import maximization
from thesis_lib.study.maximization import (
    MEASURES,
    MaximizationConfig,
    maximize_classes,
    measure_real,
)
from thesis_lib.study.segmentation import load_model
from thesis_lib.xai import measures

CONFIG = MaximizationConfig(
    shape=(SIDE, SIDE),
    am_seeds=(3, 7),
    classes=(1, 0),
    steps=3,
    snapshots=(0, 2),
    precision="32-true",
)
REAL = make_patches()


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
def maximized(network, segmenter, root):
    """Images of both classes from two seeds."""
    return run(network, CONFIG, segmenter=segmenter, root=root)


def run(network, config, *, real=REAL, segmenter=None, root):
    """Run the task without a progress bar."""
    return maximize_classes(
        network, config, real=real, segmenter=segmenter, root=root, progress=False
    )


def maximize_directly(network, **changes):
    """Call xai as the task is to call it."""
    settings = {
        "seeds": CONFIG.am_seeds,
        "steps": CONFIG.steps,
        "robustness": xai.Robustness(jitter_px=4.0),
        "progress": False,
        **changes,
    }
    objectives = [xai.class_logit(1), xai.class_logit(0)]
    return xai.maximize(network.load(), objectives, CONFIG.shape, **settings)


def test_images_are_those_of_maximize(maximized, network):
    """Images, history and snapshots are those of one call of xai.maximize, moved by 32 / 8 px."""
    found = maximize_directly(network, snapshots=(0, 2))
    torch.testing.assert_close(maximized.images, found.images, rtol=0, atol=0)
    torch.testing.assert_close(maximized.history, found.history, rtol=0, atol=0)
    assert set(maximized.snapshots) == {0, 2}
    torch.testing.assert_close(maximized.snapshots[2], found.snapshots[2], rtol=0, atol=0)


def test_snapshots_stand_in_the_order_of_their_steps(network, root):
    """Snapshots are sorted by step, not as words, in whatever order they were asked for."""
    found = run(network, replace(CONFIG, steps=10, snapshots=(10, 2, 0)), root=root)
    assert list(found.snapshots) == [0, 2, 10]


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"image": "pixels", "robust": False}, {"image": xai.Pixels(), "robustness": None}),
        ({"image": "phase", "lr": 0.1}, {"image": xai.Phase(REAL.tensors()), "lr": 0.1}),
    ],
    ids=["naive pixels", "phase"],
)
def test_kinds_of_images(network, root, changes, settings):
    """Pixels without movements and phases with the spectrum of the patches are xai's."""
    found = run(network, replace(CONFIG, snapshots=(), **changes), root=root)
    expected = maximize_directly(network, **settings)
    torch.testing.assert_close(found.images, expected.images, rtol=0, atol=0)


def test_rows_are_sorted_by_class_then_seed(maximized):
    """The table has one row an image, in the order of the images."""
    assert maximized.table["class"].tolist() == ["salt", "salt", "background", "background"]
    assert maximized.table["am_seed"].tolist() == [3, 7, 3, 7]
    assert list(maximized.table)[3:] == [*MEASURES]
    assert (maximized.route, maximized.seed) == ("untrained", 0)


def test_measures_are_those_of_xai(maximized, network, segmenter):
    """Every column is the measure of xai against the real patches of the image's class."""
    model, images, data = network.load(), maximized.images, REAL.tensors()
    labels = torch.tensor([1, 1, 0, 0])
    with torch.no_grad():
        logits = model(images)
        latent, real = model.latent(images), model.latent(data)
        probability = torch.sigmoid(load_model(segmenter).eval()(images))
    expected = {
        "value": logits[range(4), labels],
        "probability": logits.softmax(dim=1)[range(4), labels],
        "noise_db": measures.log_spectral_distance(
            images, data, above=measures.band_limit(data), excess=True
        ),
        "sparsity": measures.gradient_sparsity(images),
        "sharpness": measures.contour_sharpness(images, probability),
        "bodies": measures.count_bodies(probability).float(),
    }
    parts = [torch.tensor(REAL.labels == k) for k in (1, 0)]
    pairs = zip((slice(0, 2), slice(2, 4)), parts, strict=True)
    both = [
        (
            measures.log_spectral_distance(images[rows], data[part]),
            *measures.nearest_distance(latent[rows], real[part]),
        )
        for rows, part in pairs
    ]
    expected["spectral_distance_db"], expected["nearest"] = (
        torch.cat([found[i] for found in both]) for i in (0, 1)
    )
    for name in MEASURES:
        np.testing.assert_allclose(maximized.table[name], expected[name], rtol=1e-4, err_msg=name)
    rows = [part.nonzero()[found[2], 0] for part, found in zip(parts, both, strict=True)]
    assert maximized.nearest_patches.tolist() == torch.cat(rows).tolist()


def test_found_again_is_as_computed(maximized, network, segmenter, root, monkeypatch):
    """A second call maximises nothing and returns the same images and the same table."""
    monkeypatch.setattr(xai, "maximize", None)
    again = run(network, CONFIG, segmenter=segmenter, root=root)
    assert (maximized.outcome.computed, again.outcome.computed) == (True, False)
    pd.testing.assert_frame_equal(again.table, maximized.table)
    assert again.images.equal(maximized.images)
    assert again.snapshots[0].equal(maximized.snapshots[0])


def test_everything_counts_for_the_key(maximized, network, segmenter, root):
    """Another network, setting, patch or segmenter is another run."""
    other = make_classifier(root, seed=1)
    runs = [
        run(other, CONFIG, segmenter=segmenter, root=root),
        run(network, replace(CONFIG, lr=0.1), segmenter=segmenter, root=root),
        run(network, CONFIG, real=make_patches(seed=1), segmenter=segmenter, root=root),
        run(network, CONFIG, root=root),
    ]
    folders = {found.outcome.folder for found in [*runs, maximized]}
    assert len(folders) == 5


def test_without_a_segmenter_bodies_are_unknown(network, root):
    """Sharpness and bodies are NaN without a segmenter, also when they are found again."""
    for _ in range(2):
        table = run(network, CONFIG, root=root).table
        assert table[["sharpness", "bodies"]].isna().all(axis=None)
        assert table.drop(columns=["sharpness", "bodies"]).notna().all(axis=None)


def test_a_killed_run_leaves_nothing_half(network, tmp_path, monkeypatch):
    """A run killed while its files are written is computed again, to the same end."""

    def kill(_, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("thesis_lib.study.tensors.save_file", kill)
    with pytest.raises(KeyboardInterrupt):
        run(network, CONFIG, root=tmp_path)
    monkeypatch.undo()
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in folder.iterdir()} <= {"config.json", ".lock"}
    again = run(network, CONFIG, root=tmp_path)
    assert again.outcome.computed
    assert {path.name for path in folder.iterdir()} >= {"scores.json", "images.safetensors"}


@pytest.mark.parametrize("column", [5, np.arange(SIDE)], ids=["constant", "rim"])
def test_patches_without_spectrum_take_no_part(maximized, network, segmenter, root, column):
    """A dead patch, but for its first column, changes no measure and is nobody's nearest patch."""
    images = np.concatenate([np.full((1, SIDE, SIDE), 5), REAL.images])
    images[0, :, 0] = column
    dead = LabelledPatches(images, np.append(1, REAL.labels), CLASSES)
    table = run(network, CONFIG, real=dead, segmenter=segmenter, root=root).table
    np.testing.assert_allclose(table[[*MEASURES]], maximized.table[[*MEASURES]], rtol=1e-5)
    assert (table["nearest_patch"] == maximized.nearest_patches + 1).all()


def test_noise_is_unknown_where_data_fill_the_spectrum(network, root):
    """Nothing lies above data that alternate from pixel to pixel: the noise is NaN."""
    images = REAL.images * 0.01 + (-1.0) ** np.arange(SIDE)[:, None]
    real = LabelledPatches(images, REAL.labels, CLASSES)
    table = run(network, CONFIG, real=real, root=root).table
    assert table["noise_db"].isna().all()
    assert table["spectral_distance_db"].notna().all()


def test_real_patches_are_held_against_the_others(network, segmenter):
    """The control's nearest patch is another one of its class, by latent distance."""
    table = measure_real(network, REAL, segmenter=segmenter, n_per_class=3, seed=0)
    assert list(table) == ["class", "patch", "nearest_patch", *MEASURES]
    assert table["class"].tolist() == ["background"] * 3 + ["salt"] * 3
    assert table["patch"].tolist() == [0, 2, 4, 1, 3, 5]
    with torch.no_grad():
        latent = network.load().latent(REAL.tensors()).numpy()
    for _, row in table.iterrows():
        others = [i for i in range(6) if i % 2 == row["patch"] % 2 and i != row["patch"]]
        distances = np.linalg.norm(latent[others] - latent[row["patch"]], axis=1)
        assert row["nearest_patch"] == others[distances.argmin()]
        scale = np.linalg.norm(latent[others[0]] - latent[others[1]])
        assert row["nearest"] == pytest.approx(distances.min() / scale, rel=1e-4)
    assert table[[*MEASURES]].notna().all(axis=None)


def test_smooth_images_have_no_noise(network):
    """Patches with less than the mean power above the band have less noise than distance there."""
    table = measure_real(network, REAL, segmenter=None, n_per_class=3, seed=0)
    patches, data = REAL.tensors()[table["patch"].tolist()], REAL.tensors()
    above = measures.band_limit(data)
    noise = measures.log_spectral_distance(patches, data, above=above, excess=True)
    np.testing.assert_allclose(table["noise_db"], noise, rtol=1e-4)
    either_way = measures.log_spectral_distance(patches, data, above=above)
    assert (table["noise_db"].to_numpy() < 0.9 * either_way.numpy()).any()


def test_damaged_images_are_told(network, tmp_path):
    """Images of a finished run that were cut off are an error that names the folder to delete."""
    run(network, CONFIG, root=tmp_path)
    (path,) = tmp_path.glob("*/images.safetensors")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=f"Delete the folder {path.parent} to compute the run"):
        run(network, CONFIG, root=tmp_path)


def test_control_depends_on_its_seed_alone(network):
    """The same seed draws the same patches, another one others."""
    many = make_patches(40)
    drawn = [
        measure_real(network, many, segmenter=None, n_per_class=4, seed=seed)["patch"].tolist()
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "wavelet"}, "Invalid image 'wavelet'. Must be one of: 'fourier', 'pixels'"),
        ({"precision": "16"}, "Invalid precision '16'"),
        ({"classes": ()}, r"Invalid classes \(\)\. Must be distinct, at least one"),
        ({"classes": (1, 1)}, r"Invalid classes \(1, 1\)\. Must be distinct"),
        ({"am_seeds": (3, 3)}, r"Invalid am_seeds \(3, 3\)\. Must be distinct, at least one"),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    """Kinds of images, precisions, classes and seeds are checked when they are given."""
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)


@pytest.mark.parametrize(
    ("changes", "real", "message"),
    [
        ({"classes": (2,)}, REAL, "Invalid class 2. Must be from 0 to 1"),
        ({"shape": (32, 48)}, REAL, r"shape \(32, 48\), real patches \(32, 32\)"),
        ({}, REAL.take([0, 1, 2]), "number of real patches of class 'salt' 1. Must be at least 2"),
        ({}, replace(REAL, classes=("a", "b")), r"classes \('a', 'b'\)\. Must be those of the net"),
    ],
    ids=["class", "shape", "patches", "classes"],
)
def test_wrong_requests_are_refused(network, tmp_path, changes, real, message):
    """Classes, shapes and patches that do not fit are refused before anything is computed."""
    with pytest.raises(ValueError, match=message):
        run(network, replace(CONFIG, **changes), real=real, root=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("n_per_class", "real", "message"),
    [
        (4, REAL, "Invalid n_per_class 4. Must be from 1 to 3"),
        (1, REAL.take([0, 1, 2, 3]), "patches of class 'background' 2. Must be at least 3"),
    ],
)
def test_controls_that_cannot_be_drawn_are_refused(network, n_per_class, real, message):
    """A control needs enough patches, and two others to be held against."""
    with pytest.raises(ValueError, match=message):
        measure_real(network, real, segmenter=None, n_per_class=n_per_class, seed=0)


def test_large_patches_move_by_eight_pixels(monkeypatch, network, root):
    """The jitter is that of 128 x 128 patches and larger, 8 pixels."""
    seen = {}

    def stop(*_, robustness, **__):
        seen["jitter_px"] = robustness.jitter_px
        raise InterruptedError

    monkeypatch.setattr(maximization.xai, "maximize", stop)
    real = make_patches(side=80)
    with pytest.raises(InterruptedError):
        run(network, replace(CONFIG, shape=(80, 80)), real=real, root=root)
    assert seen == {"jitter_px": 8.0}
