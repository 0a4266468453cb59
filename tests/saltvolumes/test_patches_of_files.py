"""Tests of what volumes are opened for: patches of a file, in little memory."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from segy_files import make_cube, write_segy

from saltvolumes import open_volume, select_lines
from thesis_lib.patches import PatchBatches
from thesis_lib.patches import batches as patches


def test_patches_are_cut_from_a_single_line(path):
    """A line and its mask give patches along it."""
    cube = make_cube(1, 20, 16)
    lines = {"inlines": (0,), "crosslines": range(20), "line_bytes": (189, 21)}
    write_segy(path, cube, **lines)
    mask = write_segy(path.with_name("mask.sgy"), (cube > 50).astype(np.float32), **lines)
    volume = open_volume(path, mask=mask, single_line=True)
    batches = PatchBatches(volume, patch=8, stride=4, axes=("inline",), batch_size=4, seed=0)
    assert batches.n_patches == 12


def test_patches_of_a_lazy_file_leave_missing_traces_out(path):
    """Batches come out of a file with missing traces without NaN."""
    cube = make_cube(9, 9, 16)
    lines = {"inlines": range(9), "crosslines": range(9)}
    write_segy(path, cube, missing=[(4, 4)], **lines)
    mask = write_segy(path.with_name("mask.sgy"), (cube > 50).astype(np.float32), **lines)
    batches = PatchBatches(open_volume(path, mask=mask), patch=4, stride=2, batch_size=8, seed=0)
    assert all(images.isfinite().all() for images, _ in batches.epoch(0))


def test_a_large_file_is_never_held_whole(path, monkeypatch):
    """Opening a file of 30 MiB with its mask and cutting patches takes under a quarter of that."""
    monkeypatch.setattr(patches, "IN_MEMORY_BYTES", 0)
    cube = np.broadcast_to((np.arange(400) % 2).astype(np.float32), (320, 64, 400))
    write_segy(path, cube, inlines=range(320), crosslines=range(64))
    tracemalloc.start()
    volume = open_volume(path, mask=path)
    batches = PatchBatches(volume, patch=64, stride=64, batch_size=8, seed=0)
    next(batches.epoch(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of a process from /proc")
def test_a_large_file_is_cut_into_patches_in_little_memory(repository):
    """A process that cuts a file of 400 MB holds its mask, once more while it loads it."""
    script = repository / "benchmarks" / "volume_memory.py"
    run = subprocess.run(
        [sys.executable, script, "0.4"], capture_output=True, check=True, text=True
    )
    file_mb, before_mb, peak_mb = map(int, run.stdout.split())
    mask_mb = file_mb / 4  # a byte per sample, held once for each direction
    assert peak_mb - before_mb < 3 * mask_mb + 100


@pytest.mark.real_data
def test_f3_crosslines_are_leave_one_out_folds(real_data):
    """Four labelled crosslines give training patches of three, as crossline sections only."""
    volume = open_volume(
        real_data / "f3_crosslines_4class.npz",
        variable="image",
        mask="label",
        salt_label=4,
        dims=("crossline", "time", "inline"),
        sample_interval=4.0,
        spacing_m=(25.0, 25.0),
    )
    assert dict(volume.sizes) == {"inline": 951, "crossline": 4, "time": 338}
    assert 0.05 < float(volume.salt.mean()) < 0.15
    cut = {"patch": 128, "stride": 64, "batch_size": 8, "seed": 0}
    training = select_lines(volume, "crossline", [61, 231, 281])
    batches = PatchBatches(training, **cut, axes=("crossline",))
    assert batches.n_patches == 3 * 5 * 14
    with pytest.raises(ValueError, match="sections along inline of shape"):
        PatchBatches(training, **cut)
