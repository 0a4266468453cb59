"""Tests of studies of volumes larger than memory: scores of those in memory, and none is held."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from dask.callbacks import Callback
from explained_networks import TINY, UNWATCHED, leave_network

from saltvolumes import open_volume, save_volume
from saltvolumes import volume as volumes
from saltvolumes.volume import build_volume
from thesis_lib.patches import Survey, batches
from thesis_lib.patches import volumes as surveys
from thesis_lib.study import Score, run_all
from thesis_lib.study.segmentation import build_model
from thesis_lib.study.surveys import _identify, segment
from thesis_lib.training import SlabStore
from thesis_lib.training.prediction import _Work

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPE = (160, 40, 32)


def make_survey(path):
    """A file of noise with a body of salt, and without traces at a corner."""
    amplitude = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    salt = np.zeros(SHAPE, bool)
    salt[:, 10:30, 8:20] = True
    amplitude[salt] *= 3
    amplitude[-3:, :5] = np.nan
    lines = {f"{line}_m": 25.0 * np.arange(n) for line, n in zip(volumes.AXES, SHAPE, strict=False)}
    samples = {"vertical": 20.0 * np.arange(SHAPE[2]), "salt": salt & np.isfinite(amplitude)}
    numbers = {"inline": range(SHAPE[0]), "crossline": range(SHAPE[1])}
    save_volume(build_volume(amplitude, **numbers, **samples, **lines), path)


@pytest.fixture
def treat_all_as_large(monkeypatch):
    """Let no volume be small enough to be held, and open surveys anew."""

    def treat():
        monkeypatch.setattr(volumes, "IN_MEMORY_BYTES", 0)
        monkeypatch.setattr(batches, "IN_MEMORY_BYTES", 0)
        surveys._open_survey.cache_clear()

    return treat


def test_a_large_survey_is_trained_on_and_scored_without_holding_it(tmp_path, treat_all_as_large):
    """Scores are those of a survey in memory, and nothing read is larger than a few sections."""
    make_survey(tmp_path / "survey.zarr")
    survey = Survey(str(tmp_path / "survey.zarr"), split_axis="inline", guard_lines=16)
    task = Score(replace(UNWATCHED, data=survey, n_patches=32))
    (held,) = run_all([task], root=tmp_path / "held")
    treat_all_as_large()
    sizes = []
    with Callback(posttask=lambda _key, value, *_: sizes.append(getattr(value, "size", 0))):
        (lazy,) = run_all([task], root=tmp_path / "lazy")
    assert lazy.scores["data"] == held.scores["data"]
    (first,), (second,) = held.scores["volumes"], lazy.scores["volumes"]
    assert second == pytest.approx(first, rel=1e-12)
    assert lazy.parents["network"].scores == held.parents["network"].scores
    assert max(sizes) <= np.prod(SHAPE) // 10  # 16 of 160 inlines
    assert not list(lazy.folder.glob("predicted*"))


@pytest.mark.parametrize("ending", ["nc", "zarr", "sgy"])
def test_a_killed_segmentation_goes_on(tmp_path, monkeypatch, treat_all_as_large, ending):
    """What was finished is found, the output is that of a volume in memory, and nothing is left."""
    make_survey(tmp_path / "survey.zarr")
    network = leave_network(tmp_path / "network", replace(TINY, batch_size=16))
    paths = [tmp_path / f"{name}.{ending}" for name in ("whole", "killed")]
    scores = segment(tmp_path / "survey.zarr", paths[0], network, reading={})
    treat_all_as_large()
    finish, n_finished = SlabStore.finish, []

    def kill_at_fourth(store, slab):
        finish(store, slab)
        n_finished.append(slab)
        if len(n_finished) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(SlabStore, "finish", kill_at_fourth)
    with pytest.raises(KeyboardInterrupt):
        segment(tmp_path / "survey.zarr", paths[1], network, reading={})
    assert not paths[1].exists()
    assert (tmp_path / f".killed.{ending}.slabs").is_dir()
    written, write = [], _Work.write
    monkeypatch.setattr(
        _Work, "write", lambda work, slab: written.append(slab) or write(work, slab)
    )
    found = segment(tmp_path / "survey.zarr", paths[1], network, reading={})
    assert len(written) == 10 + 3 - 4
    assert not set(written) & set(n_finished[:4])
    assert found == scores
    assert not list(tmp_path.glob(".*"))
    if ending == "sgy":
        assert paths[0].read_bytes() == paths[1].read_bytes()
    else:
        engine = "zarr" if ending == "zarr" else "h5netcdf"
        first, second = (xr.open_dataset(path, engine=engine).load() for path in paths)
        xr.testing.assert_identical(first, second)
        first.close()
        second.close()


def test_the_store_of_another_volume_or_network_has_another_key(tmp_path):
    """A store belongs to what is read of a file, and to the weights of a network."""
    make_survey(tmp_path / "survey.zarr")
    models = [build_model(replace(TINY, seed=seed)) for seed in (0, 1, 0)]
    read = [open_volume(tmp_path / "survey.zarr", sample_interval=step) for step in (None, 10.0)]
    keys = [_identify(volume, model) for volume in read for model in models]
    assert len(set(keys)) == 4
    assert keys[0] == keys[2]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
def test_a_large_file_is_segmented_in_little_memory(repository):
    """A process that segments and scores a file of 300 MB holds less than half of its results."""
    script = Path(repository) / "benchmarks" / "volume_memory.py"
    words = [sys.executable, script, "0.3", "segment", "--encoder", "test_resnet", "--salt", "100"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(words, capture_output=True, check=True, text=True, env=environment)
    scores, numbers = run.stdout.splitlines()
    (distance,) = re.findall("'hausdorff95_m': ([^,}]+)", scores)
    assert np.isfinite(float(distance))  # there are boundaries to score
    file_mb, before_mb, peak_mb, _ = map(int, numbers.split())
    # Amplitudes, two directions, their mean and difference are five times as large as the file.
    assert peak_mb - before_mb < 2.5 * file_mb
