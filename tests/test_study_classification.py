"""Tests of classifiers by three routes: what they share, what they keep, how they are scored."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import mannwhitneyu

from thesis_lib.data import Augmentation, LabelBatches, LabelledPatches
from thesis_lib.model import SaltClassifier
from thesis_lib.study import segmentation as segmenting
from thesis_lib.study.classification import (
    ROUTES,
    ClassificationConfig,
    build_model,
    make_run,
    score_probabilities,
    train_routes,
)
from thesis_lib.study.loss_study import LossStudy, run_losses
from thesis_lib.study.segmentation import SegmentationConfig
from thesis_lib.study.splits import StudyData
from thesis_lib.training import TrainConfig

ENCODER = "test_resnet"
TRAIN = TrainConfig(epochs=2, lr=1e-2, precision="32-true", accelerator="cpu")
CONFIG = ClassificationConfig(TRAIN, batch_size=4, n_patches=8, encoder=ENCODER)
TRAINED = ROUTES[:2]


def make_patches(n=18, *, seed=0, masks=True) -> LabelledPatches:
    """Noise at three scales, one a class, which a network tells apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.standard_normal((n, 32, 32)).astype(np.float32)
    for label, scale in enumerate((1, 4, 16)):
        coarse = np.kron(images[labels == label, ::scale, ::scale], np.ones((scale, scale)))
        images[labels == label] = coarse
    known = rng.random(images.shape) < rng.random((n, 1, 1)) if masks else None
    return LabelledPatches(images, labels, ("fine", "middle", "coarse"), known)


PATCHES, TEST = make_patches(), make_patches(12, seed=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny networks run faster on one thread, most of all on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of the runs that the tests of this file share."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def segmentation(root):
    """Folder of a small segmentation run."""
    config = SegmentationConfig(
        "bce",
        replace(TRAIN, epochs=1),
        patch=(16, 16),
        stride=(16, 16),
        n_patches=4,
        batch_size=4,
        encoder=ENCODER,
    )
    study = LossStudy(StudyData(shape=(16, 16, 32)), config, losses=("bce",))
    (run,) = run_losses(study, root=root, progress=False)
    return run.outcome.folder


def compute(config=CONFIG, *, segmentation, root, train=PATCHES, test=TEST, **options):
    """Train routes of seed 3 without a word."""
    options = {"seed": 3, "progress": False} | options
    return train_routes(config, train, test, segmentation=segmentation, root=root, **options)


@pytest.fixture(scope="module")
def runs(segmentation, root):
    """The three routes, computed once."""
    return compute(segmentation=segmentation, root=root)


def test_every_route_is_run_once(runs, segmentation, root, capsys):
    """A second call finds all runs, in the order of the routes, with a line for each."""
    again = compute(segmentation=segmentation, root=root, progress=True)
    assert tuple(again) == ROUTES
    assert all(run.outcome.computed for run in runs.values())
    assert not any(run.outcome.computed for run in again.values())
    assert [run.outcome.scores for run in again.values()] == [
        run.outcome.scores for run in runs.values()
    ]
    assert capsys.readouterr().out.count("found") == 3


def test_trained_routes_see_the_same_batches(monkeypatch, segmentation, tmp_path):
    """Every batch of the one is one of the other, at the same step."""
    seen = []
    epoch = LabelBatches.epoch

    def record(self, number):
        for images, labels in epoch(self, number):
            seen.append((images.clone(), labels.clone()))
            yield images, labels

    monkeypatch.setattr(LabelBatches, "epoch", record)
    compute(segmentation=segmentation, root=tmp_path, routes=TRAINED)
    first, second = seen[: len(seen) // 2], seen[len(seen) // 2 :]
    assert len(first) == TRAIN.epochs * 2
    for ours, theirs in zip(first, second, strict=True):
        assert all(map(torch.equal, ours, theirs))


def test_routes_start_with_the_same_head_and_the_encoders_they_name(segmentation):
    """The segmentation route's encoder is the U-Net's; the head and the rest is the seed's."""
    unet = segmenting.load_model(segmentation).state_dict()
    ours, scratch, untrained = (
        build_model(CONFIG, 3, route=route, seed=5, segmentation=segmentation).state_dict()
        for route in ROUTES
    )
    fresh = SaltClassifier(3, ENCODER, seed=5).state_dict()
    for name, value in ours.items():
        expected = fresh[name] if name.startswith("head.") else unet[name]
        assert torch.equal(value, expected), name
        assert torch.equal(scratch[name], fresh[name]), name
        assert torch.equal(untrained[name], fresh[name]), name
    assert not torch.equal(ours["merger.weight"], fresh["merger.weight"])


def test_a_small_ratio_holds_the_encoder(segmentation, tmp_path):
    """At a ratio of 0 no weight of the encoder moves, at 0.01 hardly; the head does."""
    moved = {}
    for ratio in (0.0, 0.01, 1.0):
        config = replace(CONFIG, encoder_lr_ratio=ratio)
        start = build_model(config, 3, route="segmentation", seed=3, segmentation=segmentation)
        (run,) = compute(
            config, segmentation=segmentation, root=tmp_path, routes=["segmentation"]
        ).values()
        end = dict(run.load().named_parameters())
        steps = {
            name: (end[name] - value).abs().max().item() for name, value in start.named_parameters()
        }
        moved[ratio] = max(step for name, step in steps.items() if not name.startswith("head."))
        assert max(step for name, step in steps.items() if name.startswith("head.")) > 5e-3
    assert moved[0.0] == 0.0
    assert 0.0 < moved[0.01] < 0.02 * moved[1.0]


def test_the_untrained_control_has_statistics_of_the_data_and_weights_of_the_seed(runs):
    """Its parameters are the seed's; BatchNorm's means are those of what reaches the layer."""
    control = runs["untrained"].load()
    fresh = SaltClassifier(3, ENCODER, seed=3)
    for name, value in fresh.named_parameters():
        assert torch.equal(value, control.get_parameter(name)), name
    first = next(m for m in control.stem.modules() if isinstance(m, torch.nn.BatchNorm2d))
    reached = []
    handle = first.register_forward_pre_hook(lambda _module, inputs: reached.append(inputs[0]))
    with torch.no_grad():
        for images, _ in LabelBatches(PATCHES, batch_size=4, seed=3).epoch(0):
            control(images)
    handle.remove()
    means = torch.stack([batch.mean(dim=(0, 2, 3)) for batch in reached]).mean(dim=0)
    torch.testing.assert_close(first.running_mean, means, rtol=1e-4, atol=1e-5)
    assert runs["untrained"].history.empty


def test_keys_know_what_a_route_depends_on(tmp_path):
    """The segmentation run and the ratio count for the route that they are of effect on."""

    def key(route, config=CONFIG, folder="a", test=TEST, seed=0):
        path = tmp_path / folder
        return make_run(config, PATCHES, test, route=route, seed=seed, segmentation=path).key

    other = replace(CONFIG, encoder_lr_ratio=0.5)
    for route in ROUTES:
        concerned = route == "segmentation"
        assert (key(route) != key(route, folder="b")) == concerned
        assert (key(route) != key(route, other)) == concerned
        assert key(route) != key(route, test=TEST.take(slice(1, None)))
        assert key(route) != key(route, replace(CONFIG, augmentation=Augmentation(noise=0.5)))
        assert key(route) != key(route, seed=1)
    assert len({key(route) for route in ROUTES}) == 3


def test_predictions_belong_to_the_weights(runs):
    """The file holds labels, shares and the probabilities that the stored network gives."""
    for run in runs.values():
        table = run.predictions
        assert list(table) == ["label", "share", *PATCHES.classes]
        np.testing.assert_array_equal(table["label"], TEST.labels)
        np.testing.assert_allclose(table["share"], TEST.shares)
        network = run.load()
        assert not network.training
        with torch.no_grad():
            expected = network(TEST.tensors()).softmax(1)
        np.testing.assert_allclose(table[list(PATCHES.classes)], expected, atol=1e-5)
        accuracy = (expected.argmax(1).numpy() == TEST.labels).mean()
        assert run.outcome.scores["accuracy"] == pytest.approx(accuracy)


def test_shares_that_are_not_known_are_left_out(segmentation, tmp_path):
    """Without masks the predictions have no column of shares."""
    (run,) = compute(
        segmentation=segmentation,
        root=tmp_path,
        train=make_patches(masks=False),
        test=make_patches(6, masks=False),
        routes=["untrained"],
    ).values()
    assert list(run.predictions) == ["label", *PATCHES.classes]


def test_a_classifier_learns_what_can_be_told_apart(segmentation, tmp_path):
    """From scratch, textures of three scales are told apart."""
    config = replace(CONFIG, train=replace(TRAIN, epochs=30), n_patches=None)
    (run,) = compute(
        config, segmentation=segmentation, root=tmp_path, routes=["classification"]
    ).values()
    assert run.outcome.scores["accuracy"] > 0.9
    assert run.history["train_loss"].iloc[-1] < 0.3 < np.log(3)


@pytest.mark.parametrize("route", TRAINED)
def test_a_killed_run_ends_as_if_left_alone(route, runs, segmentation, monkeypatch, tmp_path):
    """Killed in an epoch, or before its scores were written, a run ends with the same bits."""
    epoch = LabelBatches.epoch

    def die(self, number):
        if number == 1:
            raise KeyboardInterrupt
        return epoch(self, number)

    options = {"segmentation": segmentation, "root": tmp_path, "routes": [route]}
    with monkeypatch.context() as patch:
        patch.setattr(LabelBatches, "epoch", die)
        with pytest.raises(KeyboardInterrupt):
            compute(**options)
    (resumed,) = compute(**options).values()
    (resumed.outcome.folder / "scores.json").unlink()
    (resumed.outcome.folder / "predictions.csv").unlink()
    (again,) = compute(**options).values()
    assert again.outcome.scores == resumed.outcome.scores == runs[route].outcome.scores
    pd.testing.assert_frame_equal(again.predictions, runs[route].predictions, check_exact=True)
    weights = [
        load_file(run.outcome.folder / "weights.safetensors") for run in (again, runs[route])
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_global_random_states_are_left_alone(segmentation, tmp_path):
    """No route draws from the global states of torch and NumPy."""
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    compute(segmentation=segmentation, root=tmp_path)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all()  # noqa: NPY002


def test_damaged_weights_are_told(segmentation, tmp_path):
    """Weights that were cut off are an error that names the folder to delete."""
    (run,) = compute(segmentation=segmentation, root=tmp_path, routes=["untrained"]).values()
    path = run.outcome.folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=f"Delete the folder {path.parent} to compute the run"):
        run.load()


# Scores


def draw_probabilities(n_classes, n=60):
    """Probabilities that favour the true class, and the labels."""
    generator = torch.Generator().manual_seed(n_classes)
    labels = torch.arange(n) % n_classes
    labels[: n // 4] = 0
    logits = torch.randn(n, n_classes, generator=generator)
    logits[torch.arange(n), labels] += 1
    return logits.softmax(1), labels


@pytest.mark.parametrize("n_classes", [2, 4])
def test_scores_are_what_they_are_called(n_classes):
    """Macro recall is that of the confusion, AUC the share of pairs in the right order."""
    probabilities, labels = draw_probabilities(n_classes)
    scores = score_probabilities(probabilities, labels)
    confusion = np.zeros((n_classes, n_classes), int)
    np.add.at(confusion, (labels, probabilities.argmax(1)), 1)
    assert scores["confusion"] == confusion.tolist()
    assert scores["accuracy"] == pytest.approx(confusion.trace() / 60)
    recalls = confusion.diagonal() / confusion.sum(axis=1)
    assert scores["balanced_accuracy"] == pytest.approx(recalls.mean())
    areas = []
    for label in range(n_classes):
        of_class, others = (
            probabilities[part, label] for part in (labels == label, labels != label)
        )
        areas.append(mannwhitneyu(of_class, others).statistic / len(of_class) / len(others))
    assert scores["auc"] == pytest.approx(np.mean(areas), abs=1e-6)


def test_calibration_error_is_the_gap_of_confidence_and_accuracy():
    """Ten patches at a confidence of 0.9, seven of them right: the gap is 0.2."""
    probabilities = torch.tensor([[0.9, 0.1]]).repeat(10, 1)
    labels = torch.tensor([0] * 7 + [1] * 3)
    score = score_probabilities(probabilities, labels)["calibration_error"]
    assert score == pytest.approx(0.2, abs=1e-6)


def test_a_class_without_test_patches_leaves_two_scores_unknown():
    """Recall and AUC of a class that is not there are not known, nor are the means."""
    probabilities, labels = draw_probabilities(3)
    scores = score_probabilities(probabilities, labels.clamp(max=1))
    assert scores["auc"] is None
    assert scores["balanced_accuracy"] is None
    assert 0 < scores["accuracy"] < 1
    assert np.isfinite(scores["calibration_error"])


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"routes": ["both"]}, r"Invalid route 'both'\. Must be one of: 'segmentation', 'classif"),
        ({"test": replace(TEST, classes=("a", "b", "c"))}, "Must be the same"),
        ({"train": PATCHES.take([0, 1, 3])}, "No training patch of class 'coarse'"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message, segmentation, tmp_path):
    """Unknown routes, other classes and classes to learn from nothing are named."""
    with pytest.raises(ValueError, match=message):
        compute(segmentation=segmentation, root=tmp_path, **changes)


def test_another_encoder_is_refused(segmentation, tmp_path):
    """Routes with different encoders would not be comparable."""
    config = replace(CONFIG, encoder="resnet18")
    with pytest.raises(ValueError, match=r"Invalid encoder 'test_resnet' of the segm.* 'resnet18'"):
        compute(config, segmentation=segmentation, root=tmp_path)


def test_a_folder_without_segmentation_run_is_refused(tmp_path):
    """The encoder has to come from somewhere."""
    with pytest.raises(ValueError, match="Must be the folder of a finished segmentation run"):
        compute(segmentation=tmp_path, root=tmp_path, routes=["segmentation"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_lr_ratio": 1.5}, r"Invalid encoder_lr_ratio 1\.5"),
        ({"train": replace(TRAIN, lr_factors={"head": 2.0})}, "encoder_lr_ratio decides"),
    ],
)
def test_settings_that_contradict_the_routes_are_refused(changes, message):
    """The encoder learns at most as fast as the head, by one setting."""
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)
