"""Activation maximization as a task: images of xai, their measures, and their paths."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from explained_networks import CLASSES, JUDGE, SIDE, make_classifier, make_patches, run

from thesis_lib import xai
from thesis_lib.patches import LabelledPatches
from thesis_lib.study import Maximize, tabulate
from thesis_lib.study.classification import load_classifier
from thesis_lib.study.maximization import LAYERS, read_layers
from thesis_lib.study.segmentation import load_model
from thesis_lib.xai import measures, spectra

DATA = make_patches()
TASK = Maximize(
    make_classifier(DATA),
    JUDGE,
    am_seeds=(3, 7),
    classes=(1, 0),
    steps=3,
    image="fourier",
    precision="32-true",
)
MEASURES = ["value", "noise_db", "deficit_db"]
JUDGED = ["contour", "body", "sharpness", "recognised"]
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
    objective = settings.pop("objective", xai.class_logit)
    objectives = [objective(1), objective(0)]
    return xai.maximize(load_classifier(network), objectives, (SIDE, SIDE), **settings)


def test_images_are_those_of_maximize(maximized, network):
    """Images and history are those of one call of xai.maximize, up to rounding."""
    found = maximize_directly(network)
    tensors = maximized.load_tensors("images")
    assert set(tensors) == {"images", "history"}
    torch.testing.assert_close(tensors["images"], found.images, **ROUNDING)
    torch.testing.assert_close(tensors["history"], found.history, **ROUNDING)


@pytest.mark.parametrize(
    ("changes", "settings"),
    [
        ({"image": "pixels", "robust": False}, {"image": xai.Pixels(), "robustness": None}),
        ({"image": "phase", "lr": 0.1}, {"image": xai.Phase(DATA.tensors()), "lr": 0.1}),
        ({"objective": "margin"}, {"objective": xai.class_margin}),
    ],
    ids=["naive pixels", "phase", "margin"],
)
def test_kinds_of_images(network, root, changes, settings):
    """Pixels without movements, phases with the spectrum of the data and margins are xai's."""
    found = run(replace(TASK, **changes), root).load_tensors("images")["images"]
    expected = maximize_directly(network, **settings).images
    torch.testing.assert_close(found, expected, **ROUNDING)


def test_measures_are_those_of_xai(maximized, network):
    """Every column is the measure of xai, of the image or of what the judge sees in it."""
    table = make_table(maximized)
    assert table["class"].tolist() == ["salt", "salt", "background", "background"]
    assert table["am_seed"].tolist() == [3, 7, 3, 7]
    data, images = DATA.tensors(), maximized.load_tensors("images")["images"]
    with torch.no_grad():
        logits = load_classifier(network)(images)
        salt = load_model(maximized.parents["judge"]).eval()(images) > 0
    limit = spectra.band_limit(data)
    called = salt.float().mean(dim=(1, 2, 3)) > 0.2
    expected = {
        "value": logits[range(4), [1, 1, 0, 0]],
        "noise_db": spectra.log_spectral_distance(images, data, above=limit, side="excess"),
        "deficit_db": spectra.log_spectral_distance(images, data, below=limit, side="deficit"),
        "contour": measures.has_contour(salt),
        "body": measures.has_body(salt),
        "sharpness": measures.contour_sharpness(images, salt),
        "recognised": called == torch.tensor([True, True, False, False]),
    }
    for name, column in expected.items():
        np.testing.assert_allclose(
            table[name].astype(float), column.double(), rtol=1e-3, atol=1e-5, err_msg=name
        )


def test_nearest_patches_and_paths(maximized, network):
    """Each image has a patch of its own class, and each layer a path that is compared with data."""
    model, images = load_classifier(network), maximized.load_tensors("images")["images"]
    of_images, of_data = (read_layers(model, x) for x in (images, DATA.tensors()))
    with torch.no_grad():
        latent = model.latent(DATA.tensors())
    assert list(of_data) == list(LAYERS)
    torch.testing.assert_close(torch.cat([*of_data.values()][1:], dim=1), latent)
    table = make_table(maximized)
    assert table["nearest_patch"][:2].nunique() == table["nearest_patch"][2:].nunique() == 2
    assert (DATA.labels[table["nearest_patch"]] == [1, 1, 0, 0]).all()
    paths = tabulate([maximized], rows="paths").set_index(["class", "layer"])["similarity"]
    assert len(paths) == 2 * len(LAYERS)
    salt = torch.tensor(DATA.labels == 1)
    for name, rows, own in (("salt", slice(0, 2), salt), ("background", slice(2, 4), ~salt)):
        for layer in LAYERS:
            part = of_data[layer]
            found = measures.path_similarity(of_images[layer][rows], part[own], part[~own])
            assert paths[name, layer] == pytest.approx(found.mean().item(), nan_ok=True, rel=1e-3)


def test_without_a_judge_bodies_are_unknown(root):
    """What a judge sees is NaN without one, also when it is found again."""
    for _ in range(2):
        table = make_table(run(replace(TASK, judge=None), root))
        assert table[JUDGED].isna().all(axis=None)
        assert table[MEASURES].notna().all(axis=None)


def test_a_killed_run_leaves_nothing_half(tmp_path, monkeypatch):
    """A run killed while its files are written is computed again, to its end."""
    task = replace(TASK, judge=None)

    def kill(_, path, *_metadata):
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
    np.testing.assert_allclose(
        table[names].astype(float), expected[names].astype(float), rtol=1e-3, atol=1e-4
    )
    assert (table["nearest_patch"] == expected["nearest_patch"] + 1).all()


def test_noise_is_unknown_where_data_fill_the_spectrum(root):
    """Nothing lies above data that alternate from pixel to pixel: the noise is NaN."""
    images = DATA.images * 0.01 + (-1.0) ** np.arange(SIDE)[:, None]
    data = LabelledPatches(images, DATA.labels, CLASSES)
    table = make_table(run(replace(TASK, network=make_classifier(data), judge=None), root))
    assert table["noise_db"].isna().all()
    assert table["deficit_db"].notna().all()


def test_large_patches_move_by_eight_pixels():
    """The jitter is an eighth of the shorter side, at most 8 pixels."""
    assert TASK._move(DATA).jitter_px == 4.0
    assert TASK._move(make_patches(side=80)).jitter_px == 8.0


FEW = make_classifier(DATA.take([0, 1, 2]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "wavelet"}, "Invalid image 'wavelet'. Must be one of: 'phase', 'fourier'"),
        ({"objective": "loss"}, "Invalid objective 'loss'. Must be one of: 'logit', 'margin'"),
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
