import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from thesis_lib.study import (
    LossStudy,
    SegmentationConfig,
    StudyData,
    describe_data,
    load_model,
    load_sections,
    load_splits,
    read_run,
    run_losses,
    score_table,
)
from thesis_lib.study.segmentation import build_model, make_run, train_and_score
from thesis_lib.training import TrainConfig

DATA = StudyData(shape=(16, 16, 32))
CONFIG = SegmentationConfig(
    loss="dice",
    train=TrainConfig(epochs=2, precision="32-true"),
    patch=(16, 16),
    stride=(16, 16),
    n_patches=8,
    batch_size=4,
    encoder="test_resnet",
)
STUDY = LossStudy(DATA, CONFIG, losses=("dice", "bce"), seeds=(0, 1))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder of the runs that the tests of this file share."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def runs(root):
    """All runs of the study, computed once."""
    return run_losses(STUDY, root=root, progress=False)


def test_runs_come_in_order(runs):
    """Runs are listed by seed, then in the order of the losses."""
    assert [(run.loss, run.seed) for run in runs] == [
        ("dice", 0),
        ("bce", 0),
        ("dice", 1),
        ("bce", 1),
    ]


def test_second_call_repeats_nothing(runs, root, capsys):
    """A finished study is found, with the same scores and a line for each run."""
    again = run_losses(STUDY, root=root, progress=True)
    assert not any(run.outcome.computed for run in again)
    assert score_table(again).equals(score_table(runs))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("[1/4] dice, seed 0: Dice ")
    assert "found" in lines[0]


def test_run_leaves_what_the_design_names(runs):
    """A finished folder holds configuration, history, weights and scores, and no resume file."""
    names = {path.name for path in runs[0].outcome.folder.iterdir()}
    assert {"config.json", "history.csv", "weights.safetensors", "scores.json"} <= names
    assert "resume.safetensors" not in names


def test_mean_is_over_test_volumes(root):
    """With two test volumes a network's score is the mean of both."""
    study = dataclasses.replace(
        STUDY, data=dataclasses.replace(DATA, n_test_volumes=2), losses=("dice",), seeds=(0,)
    )
    (run,) = run_losses(study, root=root, progress=False)
    volumes = run.outcome.scores["volumes"]
    assert len(volumes) == 2
    assert run.outcome.scores["mean"]["dice"] == pytest.approx(
        np.mean([scores["dice"] for scores in volumes])
    )


def test_losses_of_a_seed_start_alike():
    """The seed alone decides about initial weights: they are equal for all losses."""
    first = build_model(CONFIG, seed=0).state_dict()
    second = build_model(dataclasses.replace(CONFIG, loss="bce"), seed=0).state_dict()
    other = build_model(CONFIG, seed=1).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "change", [{"loss": "bce"}, {"stride": (8, 8)}, {"train": TrainConfig(epochs=3)}]
)
def test_every_setting_makes_another_run(change):
    """Loss, stride and schedule are part of the key."""
    splits = load_splits(DATA, seed=0)
    changed = make_run(dataclasses.replace(CONFIG, **change), splits, seed=0)
    assert changed.key != make_run(CONFIG, splits, seed=0).key


def test_weights_and_sections_belong_together(runs):
    """The weights on disk predict the sections on disk."""
    from thesis_lib.study.segmentation import predict

    run = runs[0]
    model = load_model(run.outcome.folder)
    predicted = predict(model, load_splits(DATA, seed=0).test[0], run.config)
    kept = load_sections(run.outcome.folder)
    np.testing.assert_array_equal(kept["inline_section"], predicted["probability"].isel(inline=8).T)
    np.testing.assert_array_equal(
        kept["crossline_section"], predicted["probability"].isel(crossline=8).T
    )


def test_run_is_read_back(runs, tmp_path):
    """A folder tells the settings and the seed of its run; another folder is refused."""
    run = runs[1]
    assert read_run(run.outcome.folder) == (run.config, run.seed)
    with pytest.raises(ValueError, match="Must be the folder of a finished segmentation run"):
        read_run(tmp_path)


def test_history_has_a_row_an_epoch(runs):
    """Training loss and validation Dice are there for every epoch."""
    history = runs[0].history
    assert len(history) == 2
    assert history[["train_loss", "validation_dice"]].notna().all(axis=None)


def test_workers_change_no_score(runs, tmp_path):
    """Runs spread over two dask workers are those computed here: data, training and scores."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        spread = run_losses(STUDY, root=tmp_path, client=client, progress=False)
    assert all(run.outcome.computed for run in spread)
    pd.testing.assert_frame_equal(score_table(spread), score_table(runs), check_exact=True)
    for there, here in zip(spread, runs, strict=True):
        assert there.outcome.folder.name == here.outcome.folder.name  # of the same volumes
        histories = (run.history.drop(columns="seconds") for run in (there, here))
        pd.testing.assert_frame_equal(*histories, check_exact=True)


def test_workers_take_one_task_at_a_time(tmp_path):
    """A worker that would train two networks in one process is refused."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0", processes=False
        ) as cluster,
        distributed.Client(cluster) as client,
        pytest.raises(ValueError, match="Must be threads_per_worker=1"),
    ):
        run_losses(STUDY, root=tmp_path, client=client, progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tolerance_m": -1.0}, "Invalid tolerance_m"),
        ({"velocity_m_s": 0.0}, "Invalid velocity_m_s"),
        ({"axes": ()}, "Invalid axes"),
        ({"axes": ("inline", "inline")}, "Invalid axes"),
        ({"axes": ("depth",)}, "Invalid axis 'depth'"),
    ],
)
def test_bad_settings_are_refused_before_training(changes, message):
    """What only scoring would notice is checked first."""
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CONFIG, **changes)


def test_patch_wider_than_the_test_block_is_refused_before_training(tmp_path):
    """A test volume that no patch fits into is refused, and nothing is trained."""
    splits = load_splits(DATA, seed=0)
    narrow = dataclasses.replace(splits, test=(splits.test[0].isel(crossline=slice(0, 8)),))
    with pytest.raises(ValueError, match="held-out sections along inline of shape"):
        train_and_score(CONFIG, narrow, tmp_path, seed=0, progress=False)
    assert not list(tmp_path.iterdir())


def test_narrow_block_is_watched_along_its_lines(tmp_path):
    """A validation block narrower than a patch is watched in the direction that fits."""
    splits = load_splits(DATA, seed=0)
    narrow = dataclasses.replace(splits, validation=splits.validation.isel(crossline=slice(0, 8)))
    train_and_score(CONFIG, narrow, tmp_path, seed=0, progress=False)
    assert pd.read_csv(tmp_path / "history.csv")["validation_dice"].between(0, 1).all()


def test_kill_between_weights_and_scores_is_taken_up(runs, tmp_path):
    """A run killed after training is scored without training, with the same scores."""
    run = runs[0]
    for name in ("history.csv", "weights.safetensors"):
        shutil.copy(run.outcome.folder / name, tmp_path / name)
    before = (tmp_path / "weights.safetensors").read_bytes()
    scores = train_and_score(
        run.config, load_splits(DATA, seed=0), tmp_path, seed=0, progress=False
    )
    assert scores == run.outcome.scores
    assert (tmp_path / "weights.safetensors").read_bytes() == before


def test_volumes_are_described_by_role():
    """The record of a study names every volume of every seed once, by what it served for."""
    hashes = describe_data(DATA, seeds=(0, 1))
    assert [len(hashes[name].split()) for name in ("training", "validation", "test")] == [2, 1, 1]


@pytest.mark.parametrize(("name", "values"), [("losses", ()), ("seeds", (1, 1))])
def test_empty_or_double_lists_are_refused(name, values):
    """Losses and seeds must be distinct, at least one."""
    with pytest.raises(ValueError, match=f"Invalid {name}"):
        dataclasses.replace(STUDY, **{name: values})


def test_unknown_loss_is_refused():
    """An unknown loss is named beside those that exist."""
    with pytest.raises(ValueError, match=r"Invalid loss 'dise'\. Must be one of: 'bce'"):
        dataclasses.replace(STUDY, losses=("dise",))
