"""Chapter 1 with and without a real volume, with and without stored results of one."""

import shutil

import numpy as np
import pandas as pd
import pytest
from executed_chapters import execute

from saltearth import PRESETS
from thesis_lib import chapters
from thesis_lib.study.tables import NOT_RUN

CHAPTER = "01_preprocessing"
READING = {"variable": "image", "mask": "label", "salt_label": 4, "sample_interval": 4.0}
READING |= {"dims": ["crossline", "time", "inline"]}
QUICK = {"ablations": [], "train_patches": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the runs of this file go."""
    return tmp_path_factory.mktemp("chapter")


@pytest.fixture(scope="module")
def with_real(repository, folder):
    """The chapter with two crosslines of a file, where nothing is stored."""
    labels = np.ones((2, 64, 48), dtype=np.uint8)
    labels[:, 40:, 10:30] = 4
    image = np.random.default_rng(0).standard_normal(labels.shape).astype(np.float32)
    np.savez(folder / "lines.npz", image=image, label=labels)
    real = {"real": str(folder / "lines.npz"), "reference": str(folder / "nowhere")}
    return execute(repository, CHAPTER, folder / "real", real_reading=READING, **real, **QUICK)


def test_a_real_volume_is_measured_and_scored(folder, with_real):
    """A file is compared with the presets, its statistics are kept, and its lines are scored."""
    assert with_real["real_name"] == "lines.npz"
    assert list(with_real["compared"]) == ["lines.npz", *PRESETS]
    assert with_real["scores"]["section"].tolist() == [0, 1]
    names = {path.name for path in (folder / "real").iterdir()}
    assert {"statistics.nc", "transfer.csv", "run.json"} <= names
    assert chapters.read_run_info(folder / "real")["parameters"]["real_reading"] == READING


def test_a_page_without_stored_results_reports_it(folder, with_real):
    """Where no study is stored, the page states it, and its rows read *not run*."""
    assert with_real["origin"].startswith("No such run is stored")
    stored = pd.read_csv(folder / "real" / "transfer_stored.csv")
    assert set(stored["Dice"]) == {NOT_RUN}


def test_what_a_run_stored_is_shown_without_its_file(repository, folder, with_real):
    """Without a file the stored statistics and scores are shown, with the run that made them."""
    shutil.copytree(folder / "real", folder / "real_ablations")
    stored = {"reference": str(folder / "real"), "transfer_to": "gulf"}
    found = execute(repository, CHAPTER, folder / "stored", **stored, **QUICK)
    assert found["real_name"] == "F3"
    assert found["measured"].equals(with_real["measured"])
    assert "-p real " in found["origin"]
    stored = pd.read_csv(folder / "stored" / "transfer_stored.csv", index_col="Left out")
    dice = with_real["scores"]["dice"].mean()
    assert float(str(stored.loc["none", "Dice"])) == pytest.approx(dice, abs=5e-4)
    assert found["scores"]["section"].size == 8


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"real_reading": READING}, "Invalid real_reading without real"),
        ({"ablations": ["luck"]}, r"Invalid ablations \{'luck'\}"),
    ],
)
def test_parameters_without_a_meaning_are_refused(repository, folder, parameters, message):
    """How to read a file that is not named, and an unknown ablation, are errors."""
    with pytest.raises(ValueError, match=message):
        execute(repository, CHAPTER, folder / "refused", **parameters)


def test_a_patch_wider_than_the_gaps_is_refused(repository, folder):
    """Where every patch of the section touches a missing trace, the page asks for smaller ones."""
    image = np.random.default_rng(0).standard_normal((24, 64, 20)).astype(np.float32)
    image[::12] = np.nan
    np.savez(folder / "holes.npz", image=image, label=np.full(image.shape, 4, dtype=np.uint8))
    holes = {"data": str(folder / "holes.npz"), "reading": READING, "patch": 16}
    with pytest.raises(ValueError, match="Invalid patch 16: each touches a missing trace"):
        execute(repository, CHAPTER, folder / "refused", **holes)
