"""Classifiers by four initialisations: what they share, what they keep, how they are scored."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from explained_networks import ENCODER, JUDGE, fix_patches, run
from safetensors.torch import load_file
from scipy.stats import mannwhitneyu

from thesis_lib.model import SaltClassifier
from thesis_lib.patches import LabelBatches, LabelledPatches
from thesis_lib.study import INITIALISATIONS, Classify, compare_initialisations, run_all
from thesis_lib.study.classification import (
    choose_threshold,
    load_classifier,
    load_predictions,
    score_probabilities,
    score_threshold,
)
from thesis_lib.study.segmentation import load_model
from thesis_lib.training import TrainConfig

pytestmark = pytest.mark.usefixtures("one_thread")

TRAIN = TrainConfig(epochs=2, lr=1e-2, precision="32-true", accelerator="cpu")


def make_patches(n=18, *, seed=0, masks=True) -> LabelledPatches:
    """Noise at three scales, one per class, which a network tells apart."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = rng.standard_normal((n, 32, 32)).astype(np.float32)
    for label, scale in enumerate((1, 4, 16)):
        coarse = np.kron(images[labels == label, ::scale, ::scale], np.ones((scale, scale)))
        images[labels == label] = coarse
    known = rng.random(images.shape) < rng.random((n, 1, 1)) if masks else None
    return LabelledPatches(images, labels, ("fine", "middle", "coarse"), known)


PATCHES, TEST = make_patches(), make_patches(12, seed=1)
SOURCE = fix_patches(PATCHES, TEST)
TASK = Classify(3, SOURCE, train=TRAIN, batch_size=4, n_patches=8, encoder=ENCODER)
TASKS = compare_initialisations(TASK, JUDGE)
FROZEN, TUNED, SCRATCH, UNTRAINED = TASKS


@pytest.fixture(scope="module")
def outcomes(root):
    """The four classifiers, computed once, by initialisation."""
    found = run_all(TASKS, root=root, progress=False)
    return {outcome.task.initialisation: outcome for outcome in found}


def test_trained_ones_see_the_same_batches(monkeypatch, tmp_path):
    """Every batch of one is one of the others, at the same step."""
    seen = []
    epoch = LabelBatches.epoch

    def record(self, number):
        for images, labels in epoch(self, number):
            seen.append((images.clone(), labels.clone()))
            yield images, labels

    monkeypatch.setattr(LabelBatches, "epoch", record)
    run_all(TASKS[:3], root=tmp_path, progress=False)
    n_steps = TRAIN.epochs * 2
    parts = seen[:n_steps], seen[n_steps : 2 * n_steps], seen[2 * n_steps : 3 * n_steps]
    for theirs in parts[1:]:
        for one, other in zip(parts[0], theirs, strict=True):
            assert all(map(torch.equal, one, other))


def test_from_scratch_takes_the_steps_of_both_trainings():
    """JUDGE makes one step and the classifier with its encoder four: five steps, two an epoch."""
    assert [task.initialisation for task in TASKS] == list(INITIALISATIONS)
    segmentation = replace(JUDGE, n_patches=8)  # two steps
    longer = compare_initialisations(TASK, segmentation)[2]
    assert longer.train == replace(TRAIN, epochs=TRAIN.epochs + 1)
    assert compare_initialisations(TASK, segmentation)[1].train == TRAIN
    with pytest.raises(ValueError, match="Invalid n_patches None"):
        compare_initialisations(TASK, replace(JUDGE, n_patches=None))


def test_a_frozen_encoder_is_that_of_the_segmentation_network(outcomes):
    """No weight and no statistic of it has moved, and the head has learned."""
    outcome = outcomes["frozen"]
    unet = load_model(outcome.parents["segmentation"]).state_dict()
    fresh = SaltClassifier(3, ENCODER, seed=3).state_dict()
    for name, value in load_classifier(outcome).state_dict().items():
        if name.startswith("head."):
            assert not torch.equal(value, fresh[name])
        else:
            assert torch.equal(value, unet[name]), name


def test_they_start_with_the_same_head_and_the_encoders_they_name(outcomes):
    """A segmentation encoder is the U-Net's; the head and the rest is the seed's."""
    parents = outcomes["segmentation"].parents
    unet = load_model(parents["segmentation"]).state_dict()
    ours, scratch, untrained = (task._build(3, parents).state_dict() for task in TASKS[1:])
    fresh = SaltClassifier(3, ENCODER, seed=3).state_dict()
    for name, value in ours.items():
        expected = fresh[name] if name.startswith("head.") else unet[name]
        assert torch.equal(value, expected), name
        assert torch.equal(scratch[name], fresh[name]), name
        assert torch.equal(untrained[name], fresh[name]), name
    assert not torch.equal(ours["merger.weight"], fresh["merger.weight"])


def test_a_small_ratio_holds_the_encoder(outcomes, root):
    """At a ratio of 0 no weight of the encoder moves, at 0.01 hardly; the head does."""
    moved = {}
    for ratio in (0.0, 0.01, 1.0):
        task = replace(TUNED, encoder_lr_ratio=ratio)
        start = task._build(3, outcomes["segmentation"].parents)
        outcome = run(task, root)
        end = dict(load_classifier(outcome).named_parameters())
        steps = {
            name: (end[name] - value).abs().max().item() for name, value in start.named_parameters()
        }
        moved[ratio] = max(step for name, step in steps.items() if not name.startswith("head."))
        assert max(step for name, step in steps.items() if name.startswith("head.")) > 5e-3
    assert moved[0.0] == 0.0
    assert 0.0 < moved[0.01] < 0.02 * moved[1.0]


def test_the_untrained_control_has_statistics_of_the_data_and_weights_of_the_seed(outcomes):
    """Its parameters are the seed's; BatchNorm's means are those of what reaches the layer."""
    control = load_classifier(outcomes["untrained"])
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
    assert not (outcomes["untrained"].folder / "history.csv").exists()


def test_predictions_belong_to_the_weights(outcomes):
    """The file holds labels, fractions and the probabilities that the stored network gives."""
    for outcome in outcomes.values():
        table = load_predictions(outcome)
        assert list(table) == ["label", "fraction", *PATCHES.classes, "confidence", "correct"]
        np.testing.assert_array_equal(table["label"], TEST.labels)
        np.testing.assert_allclose(table["fraction"], TEST.fractions)
        network = load_classifier(outcome)
        assert not network.training
        with torch.no_grad():
            expected = network(TEST.tensors()).softmax(1)
        np.testing.assert_allclose(table[list(PATCHES.classes)], expected, atol=1e-5)
        np.testing.assert_allclose(table["confidence"], expected.max(dim=1).values, atol=1e-5)
        assert outcome.scores["accuracy"] == pytest.approx(table["correct"].mean())


def test_fractions_that_are_not_known_are_left_out(tmp_path):
    """Without masks the predictions have no column of fractions."""
    source = fix_patches(make_patches(masks=False), make_patches(6, masks=False))
    outcome = run(replace(UNTRAINED, patches=source), tmp_path)
    assert "fraction" not in load_predictions(outcome)


def test_a_classifier_learns_what_can_be_told_apart(tmp_path):
    """From scratch, textures of three scales are told apart."""
    task = replace(SCRATCH, train=replace(TRAIN, epochs=30), n_patches=None)
    outcome = run(task, tmp_path)
    assert outcome.scores["accuracy"] > 0.9
    assert outcome.history["train_loss"].iloc[-1] < 0.3 < np.log(3)


@pytest.mark.parametrize("task", TASKS[:3], ids=INITIALISATIONS[:3])
def test_a_killed_run_ends_as_if_left_alone(task, outcomes, monkeypatch, tmp_path):
    """Killed in an epoch, or before its scores were written, a run ends where it would have."""
    epoch = LabelBatches.epoch

    def die(self, number):
        if number == 1:
            raise KeyboardInterrupt
        return epoch(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(LabelBatches, "epoch", die)
        with pytest.raises(KeyboardInterrupt):
            run_all([task], root=tmp_path, progress=False)
    resumed = run(task, tmp_path)
    (resumed.folder / "scores.json").unlink()
    (resumed.folder / "predictions.csv").unlink()
    again = run(task, tmp_path)
    assert again.scores == resumed.scores
    whole = outcomes[task.initialisation]
    pd.testing.assert_frame_equal(load_predictions(again), load_predictions(whole), rtol=1e-4)
    weights = [load_file(o.folder / "weights.safetensors") for o in (again, whole)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5)


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
    """Macro recall is that of the confusion, AUC the fraction of pairs in the right order."""
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
    """Ten patches at 0.9, seven of them right: the gap is 0.2; recall of no patch is unknown."""
    probabilities = torch.tensor([[0.9, 0.1]]).repeat(10, 1)
    labels = torch.tensor([0] * 7 + [1] * 3)
    score = score_probabilities(probabilities, labels)["calibration_error"]
    assert score == pytest.approx(0.2, abs=1e-6)
    probabilities, labels = draw_probabilities(3)
    scores = score_probabilities(probabilities, labels.clamp(max=1))  # nothing of class 2
    assert scores["auc"] is scores["balanced_accuracy"] is None
    assert 0 < scores["accuracy"] < 1
    assert np.isfinite(scores["calibration_error"])


def test_the_threshold_is_the_best_on_its_patches_and_scored_on_others():
    """Classes that .3 parts are parted there, of all cuts the one next to .5; scores by hand."""
    positive = torch.tensor([0.1, 0.2, 0.4, 0.6])
    probabilities = torch.stack([1 - positive, positive], dim=1)
    labels = torch.tensor([0, 0, 1, 1])
    assert choose_threshold(probabilities, labels) == pytest.approx(0.3)
    assert score_threshold(probabilities, labels, 0.3) == 1.0
    assert score_threshold(probabilities, labels, 0.5) == 0.75
    assert choose_threshold(probabilities, torch.zeros(4, dtype=torch.long)) is None
    assert score_threshold(probabilities, labels, None) is None


def test_no_cut_is_better_than_the_chosen_one():
    """On random probabilities, no threshold of a fine grid has a larger balanced accuracy."""
    probabilities, labels = draw_probabilities(2)
    best = score_threshold(probabilities, labels, choose_threshold(probabilities, labels))
    assert best == max(score_threshold(probabilities, labels, t) for t in np.linspace(0, 1, 1001))


# Errors


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (fix_patches(PATCHES, replace(TEST, classes=("a", "b", "c"))), "Must be the same"),
        (fix_patches(PATCHES.take([0, 1, 3]), TEST), "No training patch of class 'coarse'"),
    ],
)
def test_patches_that_do_not_fit_are_refused(source, message, tmp_path):
    """Other classes, and classes to learn from nothing, are named."""
    with pytest.raises(ValueError, match=message):
        run_all([replace(SCRATCH, patches=source)], root=tmp_path, progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_lr_ratio": 1.5}, r"Invalid encoder_lr_ratio 1\.5"),
        ({"train": replace(TRAIN, lr_factors={"head": 2.0})}, "encoder_lr_ratio decides"),
        ({"encoder": "resnet18"}, r"Invalid encoder 'resnet18'\. Must be 'test_resnet'"),
        ({"seed": -1}, "Invalid seed -1"),
        ({"batch_size": 0}, "Invalid batch_size 0"),
        ({"n_patches": 0}, "Invalid n_patches 0"),
        ({"untrained": True}, "Invalid untrained with a segmentation network"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes, message):
    """The encoder is the U-Net's, and learns at most as fast as the head, by one setting."""
    with pytest.raises(ValueError, match=message):
        replace(TUNED, **changes)


def test_only_an_encoder_that_is_taken_over_can_be_frozen():
    """From scratch there is nothing to keep."""
    with pytest.raises(ValueError, match="Invalid frozen without"):
        replace(SCRATCH, frozen=True)
