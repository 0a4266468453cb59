"""Chapter 1 with and without a real volume, with and without stored results of one."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from executed_chapters import execute

from thesis_lib import chapters, study

CHAPTER = "01_preprocessing"
READING = {"variable": "image", "mask": "label", "salt_label": 4, "sample_interval": 4.0}
READING |= {"dims": ["crossline", "time", "inline"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this file go."""
    return tmp_path_factory.mktemp("chapter")


@pytest.fixture(scope="module")
def with_real(repository: Path, folder: Path) -> dict[str, Any]:
    """The chapter beside two crosslines of a file, where nothing is stored."""
    labels = np.ones((2, 64, 48), dtype=np.uint8)
    labels[:, 40:, 10:30] = 4
    image = np.random.default_rng(0).standard_normal(labels.shape).astype(np.float32)
    np.savez(folder / "lines.npz", image=image, label=labels)
    return execute(
        repository,
        CHAPTER,
        folder / "real",
        real=str(folder / "lines.npz"),
        real_reading=READING,
        reference=str(folder / "nowhere"),
        ablations=[],
        train_patches=16,
    )


def test_a_real_volume_is_measured_and_scored(folder: Path, with_real: dict[str, Any]) -> None:
    """The file stands beside the presets, its statistics are kept, and its lines are scored."""
    assert with_real["real_name"] == "lines.npz"
    assert list(with_real["compared"]) == ["lines.npz", *with_real["PRESETS"]]
    assert with_real["scores"]["section"].tolist() == [0, 1]
    names = {path.name for path in (folder / "real").iterdir()}
    assert {"statistics.nc", "transfer.csv", "run.json"} <= names
    assert chapters.read_run_info(folder / "real")["parameters"]["real_reading"] == READING


def test_nothing_stored_is_said_in_words(folder: Path, with_real: dict[str, Any]) -> None:
    """Where no study is stored, the page says so, and its rows read not run."""
    assert with_real["facts"]["origin"].startswith("No such run is stored")
    stored = pd.read_csv(folder / "real" / "transfer_stored.csv")
    assert set(stored["Dice"]) == {study.NOT_RUN}


def test_what_a_run_stored_is_shown_without_its_file(
    repository: Path, folder: Path, with_real: dict[str, Any]
) -> None:
    """Without a file the stored statistics and scores are shown, with the run that made them."""
    shutil.copytree(folder / "real", folder / "real_ablations")
    found = execute(
        repository,
        CHAPTER,
        folder / "stored",
        reference=str(folder / "real"),
        transfer_to="gulf",
        ablations=[],
        train_patches=16,
    )
    assert found["real_name"] == "F3"
    assert found["measured"].equals(with_real["measured"])
    assert "-p real " in found["facts"]["origin"]
    stored = pd.read_csv(folder / "stored" / "transfer_stored.csv", index_col="Left out")
    dice = with_real["scores"]["dice"].mean()
    assert float(stored.loc[study.FULL, "Dice"]) == pytest.approx(dice, abs=5e-4)
    assert found["scores"]["section"].size == 8
