"""Chapters 3 to 6 with several seeds, on LANDMASS, and without what they go on from."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from executed_chapters import execute
from scipy.io import savemat

from thesis_lib import study
from thesis_lib.patches import Earths
from thesis_lib.study.tables import REFERENCE
from thesis_lib.study.tasks import write_tasks
from thesis_lib.training import TrainConfig

AM, NI = "03_activation_maximization", "04_network_inversion"
CAM, LANDMASS = "05_class_activation", "06_landmass"
CLASSES = ("chaotic", "fault", "horizon", "salt dome")
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this file go, with a loss study of tiny networks."""
    folder = tmp_path_factory.mktemp("explained")
    network = study.Train(
        seed=0,
        loss="bce",
        data=Earths({"gulf": (20.0,)}, shape=(32, 48, 64)),
        train=TrainConfig(epochs=1, precision="32-true", accelerator="cpu"),
        patch=(32, 32),
        stride=(16, 16),
        n_patches=8,
        batch_size=4,
        encoder="test_resnet",
    )
    tasks = study.grid(study.Score(network), seed=SEEDS, loss=("bce", "dice"))
    write_tasks(folder / "networks.json", tasks)
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
def imagined(repository: Path, folder: Path) -> dict[str, Any]:
    """Chapter 3 on those networks, by parameters alone."""
    return execute(
        repository,
        AM,
        folder / "am",
        loss_study=str(folder / "networks.json"),
        n_train_patches=32,
        n_test_patches=48,
        epochs=1,
        am_steps=2,
        am_seeds=[0],
        n_data=3,
    )


@pytest.fixture(scope="module")
def left(folder: Path, imagined: dict[str, Any]) -> dict[str, str]:
    """Name the files that the loss study and that chapter 3 left."""
    return {
        "loss_study": str(folder / "networks.json"),
        "classifiers": str(imagined["page"].results / "classifiers.json"),
    }


@pytest.fixture(scope="module")
def inverted(repository: Path, folder: Path, left: dict[str, str]) -> dict[str, Any]:
    """Chapter 4 on the networks of that chapter 3."""
    return execute(repository, NI, folder / "ni", **left, steps=2, fixed_steps=2)


@pytest.fixture(scope="module")
def mapped(repository: Path, folder: Path, left: dict[str, str]) -> dict[str, Any]:
    """Chapter 5 on the networks of that chapter 3."""
    return execute(repository, CAM, folder / "cam", classifiers=left["classifiers"], n_cams=2)


@pytest.fixture(scope="module")
def classified(
    repository: Path, folder: Path, left: dict[str, str], landmass: Path
) -> dict[str, Any]:
    """Chapter 6 on LANDMASS, with the encoders of that chapter 3."""
    return execute(
        repository,
        LANDMASS,
        folder / "landmass",
        **left,
        landmass=str(landmass),
        n_dropped=1,
        blocks=[0, 4],
        class_epochs=1,
        am_steps=2,
    )


def test_landmass_is_tested_block_by_block(classified: dict[str, Any]) -> None:
    """Each block named has its accuracy for both classifiers and the nearest image, and a mean."""
    table = pd.read_csv(classified["page"].results / "classes.csv", index_col="Tested on")
    assert table.index.tolist() == ["block 0", "block 4", "mean"]
    assert table.shape[1] == 3
    assert table.loc["mean"].to_numpy() == pytest.approx(table.iloc[:2].mean().to_numpy())


def test_a_block_and_its_neighbours_are_not_trained_on(classified: dict[str, Any]) -> None:
    """Two of ten images of a class are tested, one next to them is left out, others trained on."""
    train, test = classified["split"]["block 0"]
    assert (len(train), len(test)) == (4 * 7, 4 * 2)
    assert not {image.tobytes() for image in train.images} & {
        image.tobytes() for image in test.images
    }


def test_images_have_the_size_of_their_data(
    imagined: dict[str, Any], classified: dict[str, Any]
) -> None:
    """Images of salt are as large as patches, those of the four classes as LANDMASS."""
    assert imagined["tensors"]["segmentation", 0]["images"].shape == (2, 1, 32, 32)
    assert classified["found"]["segmentation"]["images"].shape == (4, 1, 99, 99)


def test_every_network_is_an_observation(
    imagined: dict[str, Any], inverted: dict[str, Any]
) -> None:
    """The scores that claims are decided by have one row per seed and entry."""
    for namespace, name in ((imagined, "am_scores"), (inverted, "ni_scores")):
        scores = namespace[name]
        assert not scores.duplicated(["entry", "seed"]).any()
        assert set(scores["seed"]) == set(SEEDS)


def test_networks_are_judged_by_one_of_another_seed(imagined: dict[str, Any]) -> None:
    """The judge of what a network made is a segmentation network of the same loss."""
    judges = {run.task.network.seed: run.task.judge for run in imagined["found"].values()}
    assert {seed: (judge.seed, judge.loss) for seed, judge in judges.items()} == {
        0: (1, "dice"),
        1: (0, "dice"),
    }


def test_both_chapters_decide_all_of_their_claims(
    imagined: dict[str, Any], inverted: dict[str, Any]
) -> None:
    """Every claim of a task has a decision; two seeds leave each inconclusive."""
    claims = study.read_claims(REFERENCE / "claims.yml")
    for namespace, tasks in (
        (imagined, ("classification", "maximization")),
        (inverted, ("inversion",)),
    ):
        decided = [decision.claim.id for decision in namespace["decisions"]]
        assert decided == [claim.id for claim in claims if claim.task in tasks]
        assert {decision.verdict for decision in namespace["decisions"]} == {"inconclusive"}


def test_networks_are_found_not_trained_again(
    imagined: dict[str, Any], inverted: dict[str, Any], mapped: dict[str, Any]
) -> None:
    """Chapters 4 and 5 explain the very networks of chapter 3."""
    trained = [run.folder for run in imagined["networks"]]
    explained = [run.parents["network"] for run in inverted["runs"]]
    assert {run.folder for run in explained} == set(trained)
    assert [run.folder for run in mapped["networks"]] == trained[:3]
    assert not any(run.computed for run in [*explained, *mapped["networks"]])


def test_encoder_is_found_not_trained_again(
    imagined: dict[str, Any], classified: dict[str, Any]
) -> None:
    """Chapter 6 takes over the encoder of chapter 3's first network."""
    encoders = [
        namespace["networks"][key].parents["segmentation"]
        for namespace, key in ((imagined, 0), (classified, ("block 0", "segmentation")))
    ]
    assert encoders[0].folder == encoders[1].folder
    assert not encoders[1].computed


def test_energy_of_maps_is_split(mapped: dict[str, Any]) -> None:
    """Band, inside and outside have all of the energy of each network's maps, of one seed."""
    assert mapped["table"].index.tolist() == [*mapped["titles"].values(), "no preference"]
    assert mapped["table"].sum(axis=1).to_numpy() == pytest.approx(1)
    assert {run.task.seed for run in mapped["networks"]} == {0}


@pytest.mark.parametrize(
    ("chapter", "parameter"),
    [(AM, "loss_study"), (NI, "classifiers"), (CAM, "classifiers"), (LANDMASS, "classifiers")],
)
def test_what_is_missing_is_said(
    repository: Path, folder: Path, chapter: str, parameter: str
) -> None:
    """Without the chapter before, one line says which file is missing and what to do."""
    with pytest.raises(FileNotFoundError, match="Run the chapter that writes them first"):
        execute(repository, chapter, folder / "lost", **{parameter: str(folder / "no.json")})
