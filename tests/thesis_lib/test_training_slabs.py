"""Tests of prediction slab by slab: any chunks, workers and kills give the same."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from test_training import make_line, make_model

from saltvolumes import volume as volumes
from saltvolumes.volume import build_volume
from thesis_lib.study.workers import open_workers
from thesis_lib.training import SlabStore, predict_volume
from thesis_lib.training.prediction import _Work

pytestmark = pytest.mark.usefixtures("one_thread")

CUT = {"patch": (8, 8), "stride": (4, 5), "batch_size": 7, "precision": "32-true"}


def make_volume(shape=(37, 21, 12)):
    """Noise with an area of zeros, an area without traces, and a jump between inlines."""
    amplitude = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    amplitude[5:30, :12] = 0
    amplitude[20:25] = np.nan
    inline = [*range(25), *range(60, 60 + shape[0] - 25)]
    return build_volume(
        amplitude, inline=inline, crossline=range(shape[1]), vertical=4.0 * np.arange(shape[2])
    )


def predict(volume=None, model=None, **options):
    """Predict by a few layers of random weights."""
    volume = make_volume() if volume is None else volume
    return predict_volume(make_model() if model is None else model, volume, **(CUT | options))


@pytest.fixture(scope="module")
def expected():
    """Prediction in memory, in one thread."""
    return predict()


def count_calls(model, patches):
    """Add the numbers of patches of each call of a network to a list."""
    model.register_forward_hook(lambda _module, inputs, _output: patches.append(len(inputs[0])))
    return model


@pytest.mark.parametrize("chunks", [{}, {"inline": 5, "depth": 3}, {"inline": 16, "crossline": 16}])
def test_the_same_for_any_chunks(monkeypatch, expected, chunks):
    """A lazy volume gives the same, bit for bit, and lazily where it is large."""
    lazy = make_volume().chunk(chunks)
    xr.testing.assert_identical(predict(lazy), expected)
    monkeypatch.setattr(volumes, "IN_MEMORY_BYTES", 0)
    found = predict(lazy)
    assert all(array.chunks is not None for array in found.data_vars.values())
    xr.testing.assert_identical(found.load(), expected)


def test_the_same_for_any_order_of_axes(monkeypatch, expected):
    """The result has the dims of the amplitude, stored or not."""
    volume = make_volume().transpose("depth", "crossline", "inline")
    for limit in (2**28, 0):
        monkeypatch.setattr(volumes, "IN_MEMORY_BYTES", limit)
        found = predict(volume.chunk(depth=5))
        assert found.probability.dims == volume.amplitude.dims
        xr.testing.assert_identical(found.transpose(*expected.probability.dims).load(), expected)


def test_the_same_for_any_number_of_workers(tmp_path, expected):
    """Processes of a cluster share the slabs, and the result is that of one process."""
    with open_workers(2) as client:
        client.run(sys.path.append, str(Path(__file__).parent))
        store = SlabStore(tmp_path / "store", "")
        found = predict(make_volume().chunk(inline=5), store=store, client=client)
        xr.testing.assert_identical(found.load(), expected)


def test_constant_patches_are_seen_once():
    """A network sees two of all constant patches, as a batch, and a volume of them equals one."""
    amplitude = np.full((40, 20, 12), 7.5, np.float32)
    amplitude[:, 15:] = np.nan
    volume = make_volume((40, 20, 12))
    volume["amplitude"] = volume.amplitude.copy(data=amplitude)
    patches = []
    predicted = predict(volume, count_calls(make_line(1, 0.3), patches))["probability"].values
    # What a missing trace is next to is no constant patch.
    assert patches[0] == 2
    assert (np.isnan(predicted) == np.isnan(amplitude)).all()
    np.testing.assert_allclose(predicted[:, :7], 1 / (1 + np.exp(-0.3)), rtol=1e-6)
    patches.clear()
    volume["amplitude"] = volume.amplitude.fillna(7.5)
    predict(volume, count_calls(make_line(1, 0.3), patches))
    assert patches == [2]


def test_infinite_amplitudes_are_refused():
    """A patch of nothing but infinity is not taken for a constant one."""
    volume = make_volume()
    volume["amplitude"] = xr.full_like(volume.amplitude, np.inf)
    with pytest.raises(ValueError, match="Invalid patches with NaN or infinite samples"):
        predict(volume)


def test_finished_slabs_are_not_computed_again(monkeypatch, tmp_path, expected):
    """What is killed goes on with the slab that it was killed in, and ends as if left alone."""
    store, computed, write = SlabStore(tmp_path / "store", "a"), [], _Work.write

    def kill_at_third(work, slab):
        if len(computed) == 2:
            computed.append(None)
            raise KeyboardInterrupt
        computed.append(slab)
        return write(work, slab)

    monkeypatch.setattr(_Work, "write", kill_at_third)
    with pytest.raises(KeyboardInterrupt):
        predict(store=store)
    xr.testing.assert_identical(predict(store=store).load(), expected)
    slabs = [slab for slab in computed if slab]
    assert len(slabs) == len(set(slabs)) == 3 + 2
    xr.testing.assert_identical(predict(store=store).load(), expected)
    assert len(computed) == 6  # nothing is left to do


@pytest.mark.parametrize("change", [{"key": "b"}, {"stride": (8, 8)}, {"axes": ("inline",)}])
def test_a_store_is_never_taken_for_that_of_another(tmp_path, change):
    """Another key, setting or direction begins anew, and deletes nothing but arrays."""
    (tmp_path / "mine").write_text("a year of work")
    predict(store=SlabStore(tmp_path, "a"))
    key, options = change.get("key", "a"), {k: v for k, v in change.items() if k != "key"}
    patches = []
    store = SlabStore(tmp_path, key)
    found = predict(model=count_calls(make_model(), patches), store=store, **options)
    assert patches
    xr.testing.assert_identical(found.load(), predict(**options))
    store.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


SCRIPT = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from test_training_slabs import SlabStore, predict
finish = SlabStore.finish
def finish_two(store, slab):
    finish(store, slab)
    if len(list((store.folder / "finished").iterdir())) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
SlabStore.finish = finish_two
predict(store=SlabStore(Path({folder!r}), "a"))
"""


def test_a_prediction_killed_by_the_system_ends_as_if_left_alone(tmp_path, expected):
    """The same after SIGKILL, which no code of the process survives."""
    tests, folder = str(Path(__file__).parent), tmp_path / "store"
    script = SCRIPT.format(tests=tests, folder=str(folder))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    patches = []
    store = SlabStore(folder, "a")
    found = predict(model=count_calls(make_model(), patches), store=store)
    xr.testing.assert_identical(found.load(), expected)
    whole = []
    predict(model=count_calls(make_model(), whole))
    assert 0 < sum(patches) < sum(whole)
