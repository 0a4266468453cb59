"""Chapters 3 and 4 with several seeds, and without what they go on from."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pytest
from executed_chapters import execute
from explained_networks import JUDGE

from thesis_lib import study
from thesis_lib.patches import Earths
from thesis_lib.study.tasks import write_tasks

AM, NI = "03_activation_maximization", "04_network_inversion"
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def made(repository, tmp_path_factory):
    """Names of chapters 3 and 4, by parameters alone, on a loss study of tiny networks."""
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
    read = {"n_read": 16, "n_unseen": 16, "read_steps": 2, "n_admitted": 2}
    return SimpleNamespace(
        imagined=imagined,
        inverted=run(NI, folder / "ni", **left, **read, steps=2, levels=[0.1]),
    )


def test_images_have_the_size_of_their_data(made):
    """Images of salt are as large as patches."""
    assert made.imagined["tensors"]["segmentation", "salt", 0]["images"].shape == (1, 1, 32, 32)


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
    """Chapter 4 explains the very networks of chapter 3."""
    trained = [run.folder for run in made.imagined["networks"]]
    explained = [run.parents["network"] for run in made.inverted["runs"]]
    assert {run.folder for run in explained} == set(trained)
    assert not any(run.computed for run in explained)


@pytest.mark.parametrize(
    ("chapter", "parameter"),
    [(AM, "loss_study"), (NI, "classifiers")],
)
def test_what_is_missing_is_said(repository, tmp_path, chapter, parameter):
    """Without the chapter before, one line says which file is missing and what to do."""
    with pytest.raises(FileNotFoundError, match="Run the chapter that writes them first"):
        execute(repository, chapter, tmp_path / "lost", **{parameter: str(tmp_path / "no.json")})
