"""Tests of the study of classifiers: its patches, its runs, its tables, its way through JSON."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from thesis_lib.study import (
    ROUTES,
    ClassificationConfig,
    ClassifierRun,
    ClassifierStudy,
    LossStudy,
    Outcome,
    SegmentationConfig,
    StudyData,
    bin_accuracy,
    classifier_study,
    classifier_table,
    compare_near,
    find_encoders,
    find_segmenter,
    format_classifiers,
    load_patches,
    load_splits,
    pick_patches,
    read_classifier_study,
    read_loss_study,
    read_run,
    run_classifiers,
    write_study,
)
from thesis_lib.training import TrainConfig

TRAIN = TrainConfig(epochs=1, precision="32-true", accelerator="cpu")
ENCODER = "test_resnet"
LOSSES = LossStudy(
    StudyData(shape=(16, 32, 32)),
    SegmentationConfig(
        "bce", TRAIN, patch=(16, 16), stride=(8, 8), n_patches=4, batch_size=4, encoder=ENCODER
    ),
    losses=("bce", "dice"),
    seeds=(0, 1),
)
STUDY = ClassifierStudy(
    LOSSES,
    "dice",
    ClassificationConfig(TRAIN, batch_size=4, n_patches=8, encoder=ENCODER),
    threshold=0.3,
    n_train_patches=60,
    n_test_patches=30,
)


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
def runs(root):
    """All runs of the study, computed once."""
    return run_classifiers(STUDY, root=root, progress=False)


def read_settings(run: ClassifierRun) -> dict:
    """What the key of a run was made of."""
    return json.loads((run.outcome.folder / "config.json").read_text())["config"]


def make_run(folder, predictions, *, seed=0) -> ClassifierRun:
    """A run of which there are only predictions of two classes."""
    folder.mkdir()
    pd.DataFrame(predictions).to_csv(folder / "predictions.csv", index=False)
    return ClassifierRun("segmentation", seed, ("no", "yes"), Outcome(folder, {}, computed=True))


def test_patches_come_from_the_volumes_of_the_loss_study():
    """Patches are cut as its networks cut them, training ones by seed, test ones once for all."""
    (train, test), (other, same) = (load_patches(STUDY, seed=seed) for seed in (0, 1))
    assert (len(train), len(test)) == (60, 30)
    assert train.images.shape[1:] == (16, 16)
    assert train.content_hash != other.content_hash
    assert test.content_hash == same.content_hash
    np.testing.assert_array_equal(train.labels, train.shares > 0.3)
    splits = load_splits(LOSSES.data, seed=0)
    for patches, (volume,) in ((train, splits.train), (test, splits.test)):
        assert np.isin(patches.images, volume["amplitude"]).all()


def test_runs_come_by_seed_then_route(runs, root):
    """Every route is there for every seed; a second call computes nothing."""
    assert [(run.seed, run.route) for run in runs] == [
        (seed, route) for seed in (0, 1) for route in ROUTES
    ]
    assert all(run.outcome.computed for run in runs)
    assert not any(run.outcome.computed for run in run_classifiers(STUDY, root=root))


def test_the_segmentation_route_takes_the_encoder_of_its_loss_and_seed(runs, root):
    """Only the runs of the loss asked for are computed, and each seed has its own."""
    found = {run.seed: read_settings(run)["segmentation"] for run in runs[:: len(ROUTES)]}
    for seed, folder in found.items():
        config, trained = read_run(root / folder)
        assert (config.loss, trained) == ("dice", seed)
    assert len(list(root.glob("*/sections.nc"))) == len(set(found.values())) == 2


def test_scores_make_a_table(runs):
    """One row a network, one column a measure."""
    table = classifier_table(runs)
    assert table[["route", "seed"]].to_numpy().tolist() == [[run.route, run.seed] for run in runs]
    assert table["accuracy"].tolist() == [run.outcome.scores["accuracy"] for run in runs]
    assert {"balanced_accuracy", "auc", "calibration_error"} <= set(table)


def test_accuracy_is_told_by_confidence_and_by_share(tmp_path):
    """Bins hold the mean of their column, the share of right answers and their number."""
    yes = np.array([0.05, 0.45, 0.55, 0.95, 1.0])
    labels = [0, 1, 1, 1, 0]
    run = make_run(
        tmp_path / "run",
        {"label": labels, "share": [0, 0.3, 0.3, 0.9, 1], "no": 1 - yes, "yes": yes},
    )
    confidence = bin_accuracy(run, "confidence", n_bins=10)
    assert confidence["count"].tolist() == [2, 3]
    np.testing.assert_allclose(confidence["confidence"], [0.55, (0.95 + 0.95 + 1) / 3])
    np.testing.assert_allclose(confidence["accuracy"], [0.5, 2 / 3])
    share = bin_accuracy(run, "share", n_bins=2)
    np.testing.assert_allclose(share["share"], [0.2, 0.95])
    np.testing.assert_allclose(share["accuracy"], [2 / 3, 0.5])


def test_patches_near_the_threshold_are_told_apart(tmp_path):
    """Near is within a tenth of the threshold; each network gives a row for near and for far."""
    table = {"label": [0, 0, 1, 1], "share": [0.05, 0.15, 0.25, 0.6], "no": [1, 0, 0, 1]}
    runs = [
        make_run(tmp_path / str(seed), table | {"yes": [0, 1, 1, 0]}, seed=seed) for seed in (0, 1)
    ]
    found = compare_near(runs, threshold=0.2)
    assert found["entry"].tolist() == ["near", "far"] * 2
    assert found["seed"].tolist() == [0, 0, 1, 1]
    assert found["accuracy"].tolist() == [0.5, 0.5] * 2


def test_unknown_shares_are_refused(tmp_path):
    """Without masks there is no accuracy by share."""
    run = make_run(tmp_path / "run", {"label": [0], "no": [1.0], "yes": [0.0]})
    with pytest.raises(ValueError, match=r"Invalid column 'share'\. Must be one of: 'confidence'"):
        bin_accuracy(run, "share")
    with pytest.raises(ValueError, match="no shares of salt"):
        compare_near([run])


def test_studies_survive_json(tmp_path):
    """A study read back is equal to the one that was written."""
    data = replace(LOSSES.data, n_test_volumes=2)
    losses = replace(LOSSES, data=data)
    write_study(tmp_path / "loss.json", losses)
    assert read_loss_study(tmp_path / "loss.json") == losses
    study = replace(STUDY, loss_study=losses)
    write_study(tmp_path / "study.json", study)
    assert read_classifier_study(tmp_path / "study.json") == study
    with pytest.raises(ValueError, match=r"Invalid study .*loss\.json\. Must be a ClassifierStudy"):
        read_classifier_study(tmp_path / "loss.json")


@pytest.mark.parametrize(
    "content", [b"", b'{"LossStudy": {"data"', b"\xff\xfe", b'{"LossStudy": 3}', b"[]"]
)
def test_a_damaged_study_is_told(tmp_path, content):
    """What is no whole study is one error that names the file."""
    path = tmp_path / "study.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"(Cannot read|Invalid study) {path}"):
        read_loss_study(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("loss", None, "missing 1 required positional argument: 'loss'"),
        ("config", None, "'config'"),
        ("colour", "red", "unexpected keyword argument 'colour'"),
        ("threshold", "a", "Invalid threshold 'a'. Must be a number"),
    ],
)
def test_a_study_of_another_version_is_told(tmp_path, field, value, message):
    """A field that is missing, unknown or of another type is named with the file."""
    path = tmp_path / "study.json"
    write_study(path, STUDY)
    content = json.loads(path.read_text())
    content["ClassifierStudy"][field] = value
    if value is None:
        del content["ClassifierStudy"][field]
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"Invalid study {path}: .*{message}.*run the chapter"):
        read_classifier_study(path)


def test_the_reading_of_a_file_survives_json(tmp_path):
    """How a real volume is read comes back with its tuples."""
    path = tmp_path / "volume.npz"
    path.touch()
    reading = {"variable": "image", "dims": ("crossline", "time", "inline"), "salt_label": 4}
    study = replace(LOSSES, data=StudyData(str(path), reading=reading, test_lines=(3, 4)))
    write_study(tmp_path / "loss.json", study)
    assert read_loss_study(tmp_path / "loss.json") == study


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "mse"}, r"Invalid loss 'mse'\. Must be one of: 'bce', 'dice'"),
        ({"config": ClassificationConfig(TRAIN)}, "Invalid encoder 'resnet34'"),
        ({"threshold": 1.2}, r"Invalid threshold 1\.2"),
        ({"n_train_patches": 0}, "Invalid n_train_patches 0"),
        ({"n_test_patches": 0}, "Invalid n_test_patches 0"),
    ],
)
def test_what_the_loss_study_does_not_have_is_refused(changes, message):
    """The loss and the encoder have to be those of its runs."""
    with pytest.raises(ValueError, match=message):
        replace(STUDY, **changes)


def test_encoders_are_those_of_the_loss(root):
    """The encoder of each seed comes from the run with the study's loss and that seed."""
    for seed, folder in find_encoders(STUDY, root=root).items():
        config, found = read_run(folder)
        assert (config.loss, found) == (STUDY.loss, seed)


def test_the_segmenter_has_another_seed(root):
    """What the networks of a seed made is judged by the network of the next seed."""
    for seed, other in ((0, 1), (1, 0)):
        config, found = read_run(find_segmenter(STUDY, seed=seed, root=root))
        assert (config.loss, found) == (STUDY.loss, other)


def test_with_one_seed_the_segmenter_has_another_loss(root):
    """With one seed alone another loss judges, and with one loss as well there is no judge."""
    one_seed = replace(STUDY, loss_study=replace(LOSSES, seeds=(0,)))
    config, _ = read_run(find_segmenter(one_seed, seed=0, root=root))
    assert config.loss == "bce"
    alone = replace(one_seed, loss_study=replace(LOSSES, seeds=(0,), losses=("dice",)))
    assert find_segmenter(alone, seed=0, root=root) is None


def test_a_segmenter_is_for_a_seed_of_the_study(root):
    """A seed that the study does not have is refused."""
    with pytest.raises(ValueError, match="seed"):
        find_segmenter(STUDY, seed=7, root=root)


def test_half_of_the_picked_patches_are_salt():
    """Background comes first, salt last, and nothing is full of salt."""
    picked = pick_patches(STUDY, n_patches=5)
    assert picked.labels.tolist() == [0, 0, 1, 1, 1]
    assert picked.shares.max() <= 0.8
    with pytest.raises(ValueError, match="number of background patches"):
        pick_patches(STUDY, n_patches=100)


def test_patches_without_spectrum_are_not_picked(monkeypatch):
    """A patch that lives in its first column alone cannot be measured, and is not picked."""
    train, test = load_patches(STUDY, seed=0)
    images = test.images.copy()
    dead = np.flatnonzero(test.labels == 0)[1:]
    images[dead, :, 1:] = 0
    monkeypatch.setattr(
        classifier_study, "load_patches", lambda *_, **__: (train, replace(test, images=images))
    )
    picked = pick_patches(STUDY, n_patches=2)
    np.testing.assert_array_equal(picked.images[0], test.images[test.labels == 0][0])
    with pytest.raises(ValueError, match=r"Invalid number of background patches 2\. .* 0 to 1"):
        pick_patches(STUDY, n_patches=4)


def test_the_table_for_readers_has_a_row_a_route():
    """Means over seeds stand beside their spread; a score that is not known is a dash."""
    table = pd.DataFrame(
        {
            "route": ["segmentation", "segmentation", "untrained"],
            "seed": [0, 1, 0],
            "accuracy": [0.5, 0.7, 0.25],
            "balanced_accuracy": [0.5, 0.5, 0.5],
            "auc": [None, 0.5, 0.5],
            "calibration_error": [0.0, 0.0, 0.0],
        }
    )
    shown = format_classifiers(table)
    assert shown["Accuracy"].tolist() == ["0.6000 ± 0.1414", "0.2500"]
    assert shown["AUC"].tolist() == ["–", "0.5000"]


def test_a_missing_study_is_said(tmp_path):
    """Where no chapter has left a study, the error says what to do."""
    with pytest.raises(FileNotFoundError, match="Run the chapter that writes it first"):
        read_loss_study(tmp_path / "study.json")
