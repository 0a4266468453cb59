"""Chapter 1 with a volume of one's own, and parameters that it refuses."""

import numpy as np
import pytest
from executed_chapters import execute

from saltearth import PRESETS
from thesis_lib import chapters

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
    """The chapter with two crosslines of a file, which it scores as well."""
    labels = np.ones((2, 64, 48), dtype=np.uint8)
    labels[:, 40:, 10:30] = 4
    image = np.random.default_rng(0).standard_normal(labels.shape).astype(np.float32)
    np.savez(folder / "lines.npz", image=image, label=labels)
    real = {"real": str(folder / "lines.npz"), "transfer_to": "real"}
    return execute(repository, CHAPTER, folder / "real", real_reading=READING, **real, **QUICK)


def test_a_real_volume_is_measured_and_scored(folder, with_real):
    """A file is compared with the presets, and its lines are scored if one asks for it."""
    assert with_real["real_name"] == "lines.npz"
    assert list(with_real["compared"]) == ["lines.npz", *PRESETS]
    assert with_real["scores"]["section"].tolist() == [0, 1]
    names = {path.name for path in (folder / "real").iterdir()}
    assert {"distances.csv", "transfer.csv", "run.json"} <= names
    assert chapters.read_run_info(folder / "real")["parameters"]["real_reading"] == READING


def test_what_is_not_there_is_refused(repository, folder):
    """An unknown ablation, and scores of a volume without a mask, are errors."""
    with pytest.raises(ValueError, match=r"Invalid ablations \{'luck'\}"):
        execute(repository, CHAPTER, folder / "refused", ablations=["luck"])
    np.savez(folder / "bare.npz", image=np.random.default_rng(0).standard_normal((2, 64, 48)))
    bare = {"real": str(folder / "bare.npz"), "transfer_to": "real"}
    reading = {name: READING[name] for name in ("variable", "dims", "sample_interval")}
    with pytest.raises(ValueError, match=r"bare\.npz has no mask"):
        execute(repository, CHAPTER, folder / "refused", real_reading=reading, **bare)


def test_a_patch_wider_than_the_gaps_is_refused(repository, folder):
    """Where every patch of the section touches a missing trace, the page asks for smaller ones."""
    image = np.random.default_rng(0).standard_normal((24, 64, 20)).astype(np.float32)
    image[::12] = np.nan
    np.savez(folder / "holes.npz", image=image, label=np.full(image.shape, 4, dtype=np.uint8))
    holes = {"data": str(folder / "holes.npz"), "reading": READING, "patch": 16}
    with pytest.raises(ValueError, match="Invalid patch 16: each touches a missing trace"):
        execute(repository, CHAPTER, folder / "refused", **holes)
