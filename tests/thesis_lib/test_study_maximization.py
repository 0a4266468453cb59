"""Activation maximization as a task: images of xai, their measures, and the control."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from explained_networks import CLASSES, JUDGE, SIDE, make_classifier, make_patches, run

from thesis_lib import xai
from thesis_lib.patches import LabelledPatches
from thesis_lib.study import Maximize, tabulate
from thesis_lib.study.classification import load_classifier
from thesis_lib.study.maximization import measure_data
from thesis_lib.study.segmentation import load_model
from thesis_lib.xai import measures

DATA = make_patches()
TASK = Maximize(
    make_classifier(DATA),
    JUDGE,
    am_seeds=(3, 7),
    classes=(1, 0),
    steps=3,
    snapshots=(0, 2),
    precision="32-true",
)
MEASURES = ["value", "probability", "spectral_distance_db", "noise_db", "sparsity", "nearest"]
JUDGED = ["sharpness", "bodies"]
ROUNDING = {"rtol": 1e-3, "atol": 1e-4}  # of float32, which the steps of an ascent amplify


@pytest.fixture(scope="module")
def maximized(root):
    """Images of both classes from two seeds."""
    return run(TASK, root)


@pytest.fixture(scope="module")
def network(maximized):
    """The network that was maximized."""
    return maximized.parents["network"]


def make_table(outcome):
    """Measures of all images."""
    return tabulate([outcome], rows="images")


def maximize_directly(network, **changes):
    """Call xai as the task has to call it: images are moved by 32 / 8 pixels."""
    settings = {
        "seeds": TASK.am_seeds,
        "steps": TASK.steps,
        "robustness": xai.Robustness(jitter_px=4.0),
        "progress": False,
        **changes,
    }
    objectives = [xai.class_logit(1), xai.class_logit(0)]
    return xai.maximize(load_classifier(network), objectives, (SIDE, SIDE), **settings)


def test_images_are_those_of_maximize(maximized, network):
    """Images, history and snapshots are those of one call of xai.maximize, up to rounding."""
    found = maximize_directly(network, snapshots=(0, 2))
    tensors = maximized.load_tensors("images")
    assert set(tensors) == {"images", "history", "snapshots.0", "snapshots.2"}
    torch.testing.assert_close(tensors["images"], found.images, **ROUNDING)
    torch.testing.assert_close(tensors["history"], found.history, **ROUNDING)
    torch.testing.assert_close(tensors["snapshots.2"], found.snapshots[2], **ROUNDING)


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"image": "pixels", "robust": False}, {"image": xai.Pixels(), "robustness": None}),
        ({"image": "phase", "lr": 0.1}, {"image": xai.Phase(DATA.tensors()), "lr": 0.1}),
    ],
    ids=["naive pixels", "phase"],
)
def test_kinds_of_images(network, root, changes, settings):
    """Pixels without movements and phases with the spectrum of the data are xai's."""
    found = run(replace(TASK, snapshots=(), **changes), root).load_tensors("images")["images"]
    expected = maximize_directly(network, **settings).images
    torch.testing.assert_close(found, expected, **ROUNDING)


def test_measures_are_those_of_xai(maximized, network):
    """Every column is the measure of xai against the data of the image's class."""
    table = make_table(maximized)
    assert table["class"].tolist() == ["salt", "salt", "background", "background"]
    assert table["am_seed"].tolist() == [3, 7, 3, 7]
    model, data = load_classifier(network), DATA.tensors()
    images = maximized.load_tensors("images")["images"]
    labels = torch.tensor([1, 1, 0, 0])
    with torch.no_grad():
        logits = model(images)
        latent, of_data = model.latent(images), model.latent(data)
        probability = torch.sigmoid(load_model(maximized.parents["judge"]).eval()(images))
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
    parts = [torch.tensor(DATA.labels == k) for k in (1, 0)]
    pairs = list(zip((slice(0, 2), slice(2, 4)), parts, strict=True))
    expected["spectral_distance_db"] = torch.cat(
        [measures.log_spectral_distance(images[rows], data[part]) for rows, part in pairs]
    )
    nearest = [measures.nearest_distance(latent[rows], of_data[part]) for rows, part in pairs]
    expected["nearest"] = torch.cat([distance for distance, _ in nearest])
    for name, column in expected.items():
        np.testing.assert_allclose(table[name], column, rtol=1e-3, atol=1e-5, err_msg=name)
    rows = [part.nonzero()[i, 0] for part, (_, i) in zip(parts, nearest, strict=True)]
    assert table["nearest_patch"].tolist() == torch.cat(rows).tolist()


def test_without_a_judge_bodies_are_unknown(root):
    """Sharpness and bodies are NaN without a judge, also when they are found again."""
    for _ in range(2):
        table = make_table(run(replace(TASK, judge=None), root))
        assert table[JUDGED].isna().all(axis=None)
        assert table[MEASURES].notna().all(axis=None)


def test_a_killed_run_leaves_nothing_half(tmp_path, monkeypatch):
    """A run killed while its files are written is computed again, to its end."""
    task = replace(TASK, judge=None)

    def kill(_, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    run(task.network, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("thesis_lib.study.tasks.save_file", kill)
        with pytest.raises(KeyboardInterrupt):
            run(task, tmp_path)
    assert {path.name for path in (tmp_path / task.key).iterdir()} <= {"config.json", ".lock"}
    assert run(task, tmp_path).computed


@pytest.mark.parametrize("column", [5, np.arange(SIDE)], ids=["constant", "rim"])
def test_patches_without_spectrum_take_no_part(maximized, root, column):
    """A dead patch, but for its first column, changes no measure and is nobody's nearest patch."""
    images = np.concatenate([np.full((1, SIDE, SIDE), 5), DATA.images])
    images[0, :, 0] = column
    dead = LabelledPatches(images, np.append(1, DATA.labels), CLASSES)
    table = make_table(run(replace(TASK, network=make_classifier(dead)), root))
    expected = make_table(maximized)
    names = MEASURES + JUDGED
    np.testing.assert_allclose(table[names], expected[names], rtol=1e-3, atol=1e-4)
    assert (table["nearest_patch"] == expected["nearest_patch"] + 1).all()


def test_noise_is_unknown_where_data_fill_the_spectrum(root):
    """Nothing lies above data that alternate from pixel to pixel: the noise is NaN."""
    images = DATA.images * 0.01 + (-1.0) ** np.arange(SIDE)[:, None]
    data = LabelledPatches(images, DATA.labels, CLASSES)
    table = make_table(run(replace(TASK, network=make_classifier(data), judge=None), root))
    assert table["noise_db"].isna().all()
    assert table["spectral_distance_db"].notna().all()


def test_data_are_compared_with_the_others(maximized, network):
    """The control's nearest patch is another one of its class, by latent distance."""
    judge = maximized.parents["judge"]
    table = measure_data(network, judge=judge, n_per_class=3, seed=0)
    assert table["class"].tolist() == ["background"] * 3 + ["salt"] * 3
    assert table["patch"].tolist() == [0, 2, 4, 1, 3, 5]
    with torch.no_grad():
        latent = load_classifier(network).latent(DATA.tensors()).numpy()
    for _, row in table.iterrows():
        others = [i for i in range(6) if i % 2 == row["patch"] % 2 and i != row["patch"]]
        distances = np.linalg.norm(latent[others] - latent[row["patch"]], axis=1)
        assert row["nearest_patch"] == others[distances.argmin()]
        scale = np.linalg.norm(latent[others[0]] - latent[others[1]])
        assert row["nearest"] == pytest.approx(distances.min() / scale, rel=1e-4)
    assert table[MEASURES + JUDGED].notna().all(axis=None)


def test_large_patches_move_by_eight_pixels():
    """The jitter is an eighth of the shorter side, at most 8 pixels."""
    assert TASK._move(DATA).jitter_px == 4.0
    assert TASK._move(make_patches(side=80)).jitter_px == 8.0


FEW = make_classifier(DATA.take([0, 1, 2]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "wavelet"}, "Invalid image 'wavelet'. Must be one of: 'fourier', 'pixels'"),
        ({"classes": ()}, r"Invalid classes \(\)\. Must be distinct, at least one"),
        ({"classes": (1, 1)}, r"Invalid classes \(1, 1\)\. Must be distinct"),
        ({"am_seeds": (3, 3)}, r"Invalid am_seeds \(3, 3\)\. Must be distinct, at least one"),
        ({"am_seeds": (-1,)}, "Invalid am_seeds -1"),
        ({"steps": 0}, "Invalid steps 0"),
        ({"lr": 0.0}, "Invalid lr 0.0"),
        ({"classes": (2,)}, "Invalid class 2. Must be from 0 to 1"),
        ({"network": FEW}, "number of patches of class 'salt' 1. Must be at least 2"),
    ],
)
def test_wrong_requests_are_refused(tmp_path, changes, message):
    """Kinds of images, classes, seeds and too few patches are refused, and leave no images."""
    with pytest.raises(ValueError, match=message):
        run(replace(TASK, judge=None, **changes), tmp_path)
    assert not list(tmp_path.glob("*/images.safetensors"))


def test_controls_are_drawn_by_their_seed(root):
    """The same seed draws the same patches, another others; each needs two to be compared with."""
    network = run(make_classifier(make_patches(40)), root)
    drawn = [
        measure_data(network, judge=None, n_per_class=4, seed=seed)["patch"].tolist()
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) == 8
    too_many = "Invalid n_per_class 4. Must be from 1 to 3"
    too_few = "patches of class 'background' 2. Must be at least 3"
    for n_per_class, n_patches, message in ((4, 6, too_many), (1, 4, too_few)):
        network = run(make_classifier(make_patches(n_patches)), root)
        with pytest.raises(ValueError, match=message):
            measure_data(network, judge=None, n_per_class=n_per_class, seed=0)
