"""Chapters 3 to 6 with several seeds, on LANDMASS, and without what they go on from."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
from executed_chapters import execute
from explained_networks import JUDGE
from test_landmass import write_folder

from thesis_lib import study
from thesis_lib.patches import Earths
from thesis_lib.study.tasks import write_tasks

AM, NI = "03_activation_maximization", "04_network_inversion"
CAM, LANDMASS = "05_class_activation", "06_landmass"
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def made(repository, tmp_path_factory):
    """Names of chapters 3 to 6, by parameters alone, on a loss study of tiny networks."""
    folder = tmp_path_factory.mktemp("explained")
    earths = Earths({"gulf": (20.0,)}, shape=(32, 48, 64))
    network = replace(JUDGE, data=earths, patch=(32, 32), n_patches=8)
    tasks = study.grid(study.Score(network), seed=SEEDS, loss=("bce", "dice"))
    write_tasks(folder / "networks.json", tasks)
    left = {"loss_study": str(folder / "networks.json")}
    run = partial(execute, repository)
    sizes = {"n_train_patches": 32, "n_test_patches": 48, "epochs": 1, "n_data": 3}
    imagined = run(AM, folder / "am", **left, **sizes, am_steps=2, am_seeds=[0])
    left["classifiers"] = str(imagined["page"].results / "classifiers.json")
    landmass = {"landmass": str(write_folder(folder, 10, (1,))), "n_dropped": 1, "blocks": [0, 4]}
    return SimpleNamespace(
        imagined=imagined,
        inverted=run(NI, folder / "ni", **left, steps=2, fixed_steps=2),
        mapped=run(CAM, folder / "cam", classifiers=left["classifiers"], n_cams=2),
        classified=run(LANDMASS, folder / "lm", **left, **landmass, class_epochs=1, am_steps=2),
    )


def test_landmass_is_tested_block_by_block(made):
    """Each block has its accuracies, and a mean; one next to it is left out, others trained on."""
    table = pd.read_csv(made.classified["page"].results / "classes.csv", index_col="Tested on")
    assert table.index.tolist() == ["block 0", "block 4", "mean"]
    assert table.shape[1] == 3
    assert table.loc["mean"].to_numpy() == pytest.approx(table.iloc[:2].mean().to_numpy())
    train, test = made.classified["split"]["block 0"]
    assert (len(train), len(test)) == (4 * 7, 4 * 2)
    held_out = {image.tobytes() for image in test.images}
    assert not {image.tobytes() for image in train.images} & held_out


def test_images_have_the_size_of_their_data(made):
    """Images of salt are as large as patches, those of the four classes as LANDMASS."""
    assert made.imagined["tensors"]["segmentation", "salt", 0]["images"].shape == (1, 1, 32, 32)
    assert made.classified["found"]["segmentation"]["images"].shape == (4, 1, 99, 99)


def test_every_network_is_an_observation(made):
    """Scores have one row per seed and entry; images are judged by a network of another seed."""
    for namespace, name in ((made.imagined, "am_scores"), (made.inverted, "ni_scores")):
        scores = namespace[name]
        assert not scores.duplicated(["entry", "seed"]).any()
        assert set(scores["seed"]) == set(SEEDS)
    judges = {run.task.network.seed: run.task.judge for run in made.imagined["found"].values()}
    assert {seed: (judge.seed, judge.loss) for seed, judge in judges.items()} == {
        0: (1, "dice"),
        1: (0, "dice"),
    }


def test_both_chapters_decide_all_of_their_claims(made):
    """Every claim of a task has a decision; two seeds, or measures not admitted, decide none."""
    claims = study.read_claims()
    of_tasks = (made.imagined, ("classification", "maximization")), (made.inverted, ("inversion",))
    for namespace, tasks in of_tasks:
        decided = [decision.claim.id for decision in namespace["decisions"]]
        assert decided == [claim.id for claim in claims if claim.task in tasks]
        verdicts = {decision.verdict for decision in namespace["decisions"]}
        assert verdicts <= {"undecided", "no valid measure found"}


def test_networks_are_found_not_trained_again(made):
    """Chapters 4 and 5 explain the very networks of chapter 3; chapter 6 takes their encoder."""
    trained = [run.folder for run in made.imagined["networks"]]
    explained = [run.parents["network"] for run in made.inverted["runs"]]
    assert {run.folder for run in explained} == set(trained)
    assert [run.folder for run in made.mapped["networks"]] == trained[:3]
    encoder = made.classified["networks"]["block 0", "segmentation"].parents["segmentation"]
    assert encoder.folder == made.imagined["networks"][0].parents["segmentation"].folder
    assert not any(run.computed for run in [encoder, *explained, *made.mapped["networks"]])


def test_energy_of_maps_is_split(made):
    """Band, inside and outside have all of the energy of each network's maps, of one seed."""
    assert made.mapped["table"].index.tolist() == [*made.mapped["titles"].values(), "no preference"]
    assert made.mapped["table"].sum(axis=1).to_numpy() == pytest.approx(1)
    assert {run.task.seed for run in made.mapped["networks"]} == {0}


@pytest.mark.parametrize(
    ("chapter", "parameter"),
    [(AM, "loss_study"), (NI, "classifiers"), (CAM, "classifiers"), (LANDMASS, "classifiers")],
)
def test_what_is_missing_is_said(repository, tmp_path, chapter, parameter):
    """Without the chapter before, one line says which file is missing and what to do."""
    with pytest.raises(FileNotFoundError, match="Run the chapter that writes them first"):
        execute(repository, chapter, tmp_path / "lost", **{parameter: str(tmp_path / "no.json")})
