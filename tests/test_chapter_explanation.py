"""Chapters 3 and 4 on LANDMASS, with several seeds, and without what they go on from."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from executed_chapters import execute
from scipy.io import savemat

from thesis_lib import study
from thesis_lib.training import TrainConfig

AM, NI = "03_activation_maximization", "04_network_inversion"
CLASSES = ("chaotic", "fault", "horizon", "salt dome")
SEEDS = (0, 1)
SMALL = {
    "n_train_patches": 32,
    "n_test_patches": 48,
    "epochs": 1,
    "am_steps": 2,
    "am_seeds": [0],
    "n_real": 3,
    "n_cams": 2,
    "n_dropped": 1,
    "blocks": [0, 4],
    "class_epochs": 1,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this file go, with a loss study of tiny networks."""
    folder = tmp_path_factory.mktemp("explained")
    config = study.SegmentationConfig(
        loss="bce",
        train=TrainConfig(epochs=1, precision="32-true", accelerator="cpu"),
        patch=(32, 32),
        stride=(16, 16),
        n_patches=8,
        batch_size=4,
        encoder="test_resnet",
    )
    losses = study.LossStudy(
        study.StudyData(shape=(32, 48, 64)), config, losses=("bce", "dice"), seeds=SEEDS
    )
    study.write_study(folder / "study.json", losses)
    return folder


@pytest.fixture(scope="module")
def landmass(folder: Path) -> Path:
    """Ten images of each class in the layout of LANDMASS."""
    rng = np.random.default_rng(0)
    for name in CLASSES:
        of_class = folder / "LANDMASS" / "LANDMASS1" / name
        of_class.mkdir(parents=True)
        for number in range(1, 11):
            image = rng.uniform(-1, 1, (99, 99)).astype(np.float32)
            savemat(of_class / f"{name.replace(' ', '')}_{number:04d}.mat", {"img": image})
    return folder / "LANDMASS"


@pytest.fixture(scope="module")
def imagined(repository: Path, folder: Path, landmass: Path) -> dict[str, Any]:
    """Chapter 3 on LANDMASS, by parameters alone."""
    return execute(
        repository,
        AM,
        folder / "am",
        loss_study=str(folder / "study.json"),
        landmass=str(landmass),
        **SMALL,
    )


@pytest.fixture(scope="module")
def inverted(repository: Path, folder: Path, imagined: dict[str, Any]) -> dict[str, Any]:
    """Chapter 4 on the networks of that chapter 3."""
    return execute(
        repository,
        NI,
        folder / "ni",
        classifier_study=str(imagined["results"] / "study.json"),
        steps=2,
        fixed_steps=2,
    )


def test_landmass_is_tested_block_by_block(imagined: dict[str, Any]) -> None:
    """Each block named has its accuracy for both routes and the nearest image, and a mean."""
    table = pd.read_csv(imagined["results"] / "classes.csv", index_col="Tested on")
    assert table.index.tolist() == ["block 0", "block 4", "mean"]
    assert table.shape[1] == 3
    assert table.loc["mean"].to_numpy() == pytest.approx(table.iloc[:2].mean().to_numpy())


def test_a_block_and_its_neighbours_are_not_trained_on(imagined: dict[str, Any]) -> None:
    """Two of ten images of a class are tested, one beside them is left out, the rest trained on."""
    train, test = imagined["parts"]["block 0"]
    assert (len(train), len(test)) == (4 * 7, 4 * 2)
    assert not {image.tobytes() for image in train.images} & {
        image.tobytes() for image in test.images
    }


def test_images_have_the_size_of_their_data(imagined: dict[str, Any]) -> None:
    """Images of salt are as large as patches, those of the four classes as LANDMASS."""
    made = imagined["found"]["fourier", "segmentation", 0]
    assert made.images.shape == (2, 1, 32, 32)
    assert imagined["class_images"]["segmentation"].images.shape == (4, 1, 99, 99)


def test_every_network_is_an_observation(
    imagined: dict[str, Any], inverted: dict[str, Any]
) -> None:
    """The scores that claims are decided by have one row a seed and entry."""
    for namespace, name in ((imagined, "am_scores"), (inverted, "ni_scores")):
        scores = namespace[name]
        assert not scores.duplicated(["entry", "seed"]).any()
        assert set(scores["seed"]) == set(SEEDS)


def test_both_chapters_decide_all_of_their_claims(
    imagined: dict[str, Any], inverted: dict[str, Any]
) -> None:
    """Every claim of a task has a decision; two seeds leave each inconclusive."""
    claims = study.read_claims(study.REFERENCE / "claims.yml")
    for namespace, tasks in (
        (imagined, ("classification", "maximization")),
        (inverted, ("inversion",)),
    ):
        decided = [decision.claim.id for decision in namespace["decisions"]]
        assert decided == [claim.id for claim in claims if claim.task in tasks]
        assert {decision.verdict for decision in namespace["decisions"]} == {"inconclusive"}


def test_networks_are_found_not_trained_again(
    imagined: dict[str, Any], inverted: dict[str, Any]
) -> None:
    """Chapter 4 explains the very networks of chapter 3."""
    folders = [
        {run.outcome.folder for run in namespace["networks"]} for namespace in (imagined, inverted)
    ]
    assert folders[0] == folders[1]
    assert not any(run.outcome.computed for run in inverted["networks"])


@pytest.mark.parametrize(("chapter", "parameter"), [(AM, "loss_study"), (NI, "classifier_study")])
def test_what_is_missing_is_said(
    repository: Path, folder: Path, chapter: str, parameter: str
) -> None:
    """Without the chapter before, one line says which file is missing and what to do."""
    with pytest.raises(FileNotFoundError, match="Run the chapter that writes it first"):
        execute(repository, chapter, folder / "lost", **{parameter: str(folder / "no.json")})
