"""Chapters 5 and 6: several seeds, records, LANDMASS, and nothing that they go on from."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
from executed_chapters import execute
from explained_networks import JUDGE, ONE_EPOCH
from test_landmass import write_folder

from thesis_lib import study
from thesis_lib.chapters import Page
from thesis_lib.patches import Earths, SaltPatches
from thesis_lib.study.records import read_records
from thesis_lib.study.tasks import write_tasks

CAM, LANDMASS = "05_class_activation", "06_landmass"
SEEDS = (0, 1)


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """Parameters that name what the chapters before leave: tiny networks of two seeds."""
    folder = tmp_path_factory.mktemp("left")
    earths = Earths({"gulf": (20.0,)}, shape=(32, 48, 64))
    network = replace(JUDGE, data=earths, patch=(32, 32), n_patches=8)
    cut = {"patch": network.patch, "stride": network.stride, "axes": network.axes}
    patches = SaltPatches(earths, **cut, n_train=32, n_test=96)
    how = {"train": ONE_EPOCH, "encoder": network.encoder}
    tasks = [
        task
        for seed in SEEDS
        for task in study.compare_initialisations(
            study.Classify(seed, patches, **how), replace(network, seed=seed)
        )
    ]
    scores = study.grid(study.Score(network), seed=SEEDS, loss=("bce", "dice"))
    write_tasks(folder / "classifiers.json", tasks)
    write_tasks(folder / "networks.json", scores)
    return SimpleNamespace(
        tasks=tasks,
        classifiers=str(folder / "classifiers.json"),
        loss_study=str(folder / "networks.json"),
    )


@pytest.fixture(scope="module")
def mapped(repository, left, tmp_path_factory):
    """Names of chapter 5."""
    folder = tmp_path_factory.mktemp("mapped")
    sizes = {"n_patches": 6, "width_px": 1, "n_cams": 2}
    return execute(repository, CAM, folder / "cam", classifiers=left.classifiers, **sizes)


@pytest.fixture(scope="module")
def classified(repository, left, tmp_path_factory):
    """Names of chapter 6, on two blocks of images in the layout of LANDMASS."""
    folder = tmp_path_factory.mktemp("classified")
    run = partial(execute, repository, LANDMASS, folder / "lm", classifiers=left.classifiers)
    split = {"n_dropped": 1, "max_correlation": 1.0, "blocks": [0, 4]}
    source = {"landmass": str(write_folder(folder, 10, (1,))), "loss_study": left.loss_study}
    return run(**source, **split, class_epochs=1, am_steps=2)


def test_all_networks_are_explained(mapped, left):
    """Every classifier of every seed has its evidence and its drops, on the patches of its seed."""
    assert [run.task.network for run in mapped["runs"]] == left.tasks
    scores = mapped["scores"].set_index(["entry", "seed"])
    assert scores.index.is_unique
    drops = scores["drop"].dropna().unstack()
    assert drops.shape == (4 * 3, len(SEEDS))
    decided = [decision.claim.id for decision in mapped["decisions"]]
    assert decided == [claim.id for claim in study.read_claims(task="attribution")]
    assert {decision.verdict for decision in mapped["decisions"]} == {"undecided"}


def test_chapter_is_rebuilt_from_records(repository, left, mapped, tmp_path, monkeypatch):
    """Without a network, from what is published of its runs, the chapter has the same numbers."""
    records = read_records(mapped["page"].results / "runs")
    for file in (mapped["page"].results / "runs").rglob("*"):
        assert file.name != "weights.safetensors"
    monkeypatch.setattr(Page, "_read_records", lambda _page, _tasks: records)
    monkeypatch.setenv("THESIS_MINUTES", "0")
    sizes = {"n_patches": 6, "width_px": 1, "n_cams": 2}
    again = execute(repository, CAM, tmp_path / "cam", classifiers=left.classifiers, **sizes)
    pd.testing.assert_frame_equal(again["scores"], mapped["scores"])
    assert not list(tmp_path.glob("runs/*/scores.json"))
    partly = {key: found for key, found in records.items() if found.task.__class__ is study.Explain}
    three = dict(list(partly.items())[:3])
    monkeypatch.setattr(Page, "_read_records", lambda _page, _tasks: three)
    few = execute(repository, CAM, tmp_path / "few", classifiers=left.classifiers, **sizes)
    assert len(few["runs"]) == 3


def test_landmass_is_tested_block_by_block(classified):
    """Each block has its accuracies, and a mean; one next to it is left out, others trained on."""
    table = pd.read_csv(classified["page"].results / "classes.csv", index_col="Tested on")
    assert table.index.tolist() == ["block 0", "block 4", "mean"]
    assert table.shape[1] == 4
    assert table.loc["mean"].to_numpy() == pytest.approx(table.iloc[:2].mean().to_numpy())
    train, test = classified["split"]["block 0"]
    assert (len(train), len(test)) == (4 * 7, 4 * 2)
    held_out = {image.tobytes() for image in test.images}
    assert not {image.tobytes() for image in train.images} & held_out


def test_images_of_four_classes_have_the_size_of_their_data(classified, left):
    """Images are as large as those of LANDMASS, and the encoder is that of the first seed."""
    assert classified["found"]["segmentation"]["images"].shape == (4, 1, 99, 99)
    encoder = classified["networks"]["block 0", "segmentation"].task.segmentation
    assert encoder == left.tasks[0].segmentation


@pytest.mark.parametrize("chapter", [CAM, LANDMASS])
def test_what_is_missing_is_said(repository, tmp_path, chapter):
    """Without the chapter before, one line says which file is missing and what to do."""
    with pytest.raises(FileNotFoundError, match="Run the chapter that writes them first"):
        execute(repository, chapter, tmp_path / "lost", classifiers=str(tmp_path / "no.json"))
