"""Training and scoring as tasks: what is shared, kept, found again and refused."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from explained_networks import TINY as TRAIN
from explained_networks import UNWATCHED

from saltvolumes import build_volume
from thesis_lib.metrics import dice_score
from thesis_lib.patches import Earths, Survey
from thesis_lib.study import Score, ScoreSections, grid, run_all, tabulate
from thesis_lib.study.segmentation import build_model, load_model, load_sections, predict
from thesis_lib.study.workers import open_workers

pytestmark = pytest.mark.usefixtures("one_thread")

DATA = TRAIN.data
SCORE = Score(TRAIN)
STUDY = grid(SCORE, seed=(0, 1), loss=("dice", "bce"))


@pytest.fixture(scope="module")
def outcomes(root):
    """All runs of the study, computed once."""
    return run_all(STUDY, root=root, progress=False)


def make_table(outcomes):
    """Scores by loss and seed."""
    return tabulate(outcomes, loss="network.loss", seed="network.seed")


def test_scores_know_their_data(outcomes, root):
    """Scores name their volumes by what they served for, and are means over those tested."""
    assert set(outcomes[0].parents["network"].scores["data"]) == {"training", "validation"}
    assert outcomes[0].scores["data"] == {"test": DATA.test(0, 1)[0].attrs["content_hash"]}
    assert len({str(o.parents["network"].scores["data"]) for o in outcomes}) == 2  # one per seed
    (outcome,) = run_all([Score(TRAIN, n_earths=2)], root=root, progress=False)
    dice = [scores["dice"] for scores in outcome.scores["volumes"]]
    assert len(dice) == 2
    assert outcome.scores["dice"] == pytest.approx(np.mean(dice))


def test_losses_of_a_seed_start_alike():
    """The seed alone decides about initial weights: they are equal for all losses."""
    first, second, other = (
        build_model(task).state_dict()
        for task in (TRAIN, replace(TRAIN, loss="bce"), replace(TRAIN, seed=1))
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    "change", [{"tolerance_m": 20.0}, {"velocity_m_s": 2000.0}, {"n_earths": 2}]
)
def test_scoring_is_not_training(outcomes, root, monkeypatch, change):
    """Other settings of the scores train no network again."""
    monkeypatch.setattr("thesis_lib.study.segmentation.fit", None)
    (outcome,) = run_all([replace(SCORE, **change)], root=root, progress=False)
    assert outcome.task.key != SCORE.key
    assert not outcome.parents["network"].computed
    assert outcome.parents["network"].folder == outcomes[0].parents["network"].folder


@pytest.mark.usefixtures("outcomes")
def test_earths_are_not_made_to_find_a_run(root, monkeypatch):
    """A run is known by the recipe of its earths."""
    monkeypatch.setattr("thesis_lib.patches.volumes.make_volume", None)
    again = run_all(grid(replace(SCORE), seed=(0, 1)), root=root, progress=False)
    assert not any(outcome.computed for outcome in again)


# What a run keeps


def test_weights_and_sections_belong_together(outcomes):
    """The weights on disk predict the sections on disk."""
    trained = outcomes[0].parents["network"]
    predicted = predict(load_model(trained), DATA.test(0, 1)[0], TRAIN)
    kept = load_sections(outcomes[0])
    for axis in ("inline", "crossline"):
        expected = predicted["probability"].isel({axis: 8}).T
        np.testing.assert_allclose(kept[f"{axis}_section"], expected, atol=1e-6)


def test_history_has_one_row_per_epoch(outcomes):
    """Training leaves loss and validation Dice of every epoch, the last as scores, and weights."""
    trained = outcomes[0].parents["network"]
    names = {path.name for path in trained.folder.iterdir()}
    assert {"config.json", "history.csv", "weights.safetensors", "scores.json"} <= names
    assert "resume.safetensors" not in names
    assert len(trained.history) == 2
    assert trained.history[["train_loss", "validation_dice"]].notna().all(axis=None)
    for name in ("train_loss", "validation_dice"):
        assert trained.scores[name] == trained.history[name].iloc[-1]


def test_workers_change_no_score(outcomes, tmp_path):
    """Runs spread over two Dask workers are those computed here: keys, training and scores."""
    with open_workers(2) as client:
        spread = run_all(STUDY[:2], root=tmp_path, client=client, progress=False)
    assert all(outcome.computed for outcome in spread)
    pd.testing.assert_frame_equal(make_table(spread), make_table(outcomes[:2]), rtol=1e-5)
    for there, here in zip(spread, outcomes, strict=False):
        assert there.folder.name == here.folder.name
        histories = (o.parents["network"].history.drop(columns="seconds") for o in (there, here))
        pd.testing.assert_frame_equal(*histories, rtol=1e-4)


KILLED = """
import os, signal, sys
import torch
from explained_networks import TINY
from thesis_lib.study import run_all
from thesis_lib.training import fitting
torch.set_num_threads(1)
original = fitting._Trainer.train_epoch
def train_epoch(self, epoch, bar):
    if epoch == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, epoch, bar)
fitting._Trainer.train_epoch = train_epoch
run_all([TINY], root=sys.argv[1], progress=False)
"""


def test_a_killed_study_ends_as_if_left_alone(outcomes, tmp_path, repository):
    """Killed in its second epoch and started again, a run ends with the scores of another."""
    tests = repository / "tests" / "thesis_lib"
    environment = {**os.environ, "PYTHONPATH": f"{tests}{os.pathsep}{repository}"}
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert killed.returncode == -9
    assert not list(tmp_path.glob("*/scores.json"))
    assert list(tmp_path.glob("*/resume.safetensors"))
    (resumed,) = run_all([SCORE], root=tmp_path, progress=False)
    (whole,) = (outcome for outcome in outcomes if outcome.task == SCORE)
    for one, other in ((resumed, whole), (resumed.parents["network"], whole.parents["network"])):
        assert (one.folder / "scores.json").read_text() == (
            other.folder / "scores.json"
        ).read_text()


# Transfer to sections of another volume


def write_target(path, *, salt=True, crosslines=(61, 211, 231)):
    """Four-millisecond volume of noise, salt in the lower half of all crosslines but the first."""
    shape = (20, len(crosslines), 32)
    mask = np.zeros(shape, dtype=bool)
    mask[:, 1:, 16:] = bool(salt)
    volume = build_volume(
        np.random.default_rng(0).standard_normal(shape),
        inline=np.arange(20),
        crossline=crosslines,
        vertical=4.0 * np.arange(32),
        vertical_dim="time",
        salt=None if salt is None else mask,
        attrs={"source": "test"},
    )
    volume.to_netcdf(path, engine="h5netcdf")
    return Survey(str(path))


@pytest.fixture(scope="module")
def transfer(root, tmp_path_factory):
    """A network scored on a file of three crosslines."""
    target = write_target(tmp_path_factory.mktemp("target") / "lines.nc")
    (outcome,) = run_all([ScoreSections(UNWATCHED, target)], root=root, progress=False)
    return outcome


def test_scores_are_those_of_the_kept_prediction(transfer):
    """Each line with salt has the Dice of its kept probability over one half, and their mean."""
    sections = transfer.scores["sections"]
    assert [section["section"] for section in sections] == [211, 231]
    assert transfer.scores["dice"] == pytest.approx(np.mean([s["dice"] for s in sections]))
    probability = load_sections(transfer)["probability"].sel(crossline=231)
    truth = transfer.task.open_target()["salt"].sel(crossline=231)
    dice = dice_score((probability > 0.5).values, truth.transpose(*probability.dims).values)
    assert sections[1]["dice"] == pytest.approx(dice)


def test_a_preset_is_a_target(root):
    """The target may be an unseen synthetic earth, cut along inlines."""
    earths = Earths({"gulf": (20.0,)}, shape=(20, 20, 32))
    task = ScoreSections(UNWATCHED, earths, axis="inline", n_sections=2)
    (outcome,) = run_all([task], root=root, progress=False)
    assert len(outcome.scores["sections"]) == task.open_target().sizes["inline"] == 2


# Errors


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (TRAIN, {"loss": "dise"}, r"Invalid loss 'dise'\. Must be one of: 'bce'"),
        (TRAIN, {"axes": ("inline", "inline")}, "Invalid axes"),
        (TRAIN, {"seed": -1}, "Invalid seed -1"),
        (TRAIN, {"batch_size": 0}, "Invalid batch_size 0"),
        (TRAIN, {"n_patches": 0}, "Invalid n_patches 0"),
        (TRAIN, {"patch": (0, 16)}, "Invalid patch 0"),
        (TRAIN, {"patch": (16, 16, 16)}, "Must have one number for each of the 2 axes"),
        (TRAIN, {"stride": (32, 32)}, "Stride .* is larger than the patch"),
        (SCORE, {"tolerance_m": -1.0}, "Invalid tolerance_m"),
        (SCORE, {"n_earths": 0}, "Invalid n_earths 0"),
        (ScoreSections(TRAIN, DATA), {"axis": "time"}, "Invalid axis 'time'"),
    ],
)
def test_bad_settings_are_refused_at_once(task, changes, message):
    """What only scoring would notice is checked when the task is made."""
    with pytest.raises(ValueError, match=message):
        replace(task, **changes)


def test_patch_wider_than_the_test_block_is_refused_before_training(tmp_path):
    """A test block that no patch fits into is refused, and nothing is trained."""
    survey = replace(write_target(tmp_path / "lines.nc"), test_lines=(231,))
    wide = Score(replace(TRAIN, data=survey, axes=("inline", "crossline")), velocity_m_s=2000.0)
    with pytest.raises(ValueError, match="sections along inline of shape"):
        run_all([wide], root=tmp_path / "runs", progress=False)
    assert not list((tmp_path / "runs").glob("*"))


def test_narrow_block_is_watched_along_its_lines(tmp_path):
    """A validation block narrower than a patch is watched in the direction that fits."""
    target = write_target(tmp_path / "lines.nc", crosslines=range(40))
    survey = replace(target, test_lines=tuple(range(20, 40)), validation_lines=(18, 19))
    task = replace(TRAIN, data=survey)
    (outcome,) = run_all([task], root=tmp_path, progress=False)
    assert outcome.history["validation_dice"].between(0, 1).all()


@pytest.mark.parametrize(
    ("salt", "patch", "message"),
    [(False, 16, "without salt"), (None, 16, "without a mask"), (True, 512, r"patch \(512, 512\)")],
)
def test_targets_that_cannot_be_scored_are_refused(tmp_path, salt, patch, message):
    """A target needs a mask with salt, and sections that hold a patch."""
    network = replace(UNWATCHED, patch=(patch, patch))
    task = ScoreSections(network, write_target(tmp_path / "bare.nc", salt=salt))
    with pytest.raises(ValueError, match=message):
        run_all([task], root=tmp_path / "runs", progress=False)
