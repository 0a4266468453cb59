"""Tensors in the folders of runs: whole, readable by all, and damage told."""

import pytest
import torch

from thesis_lib.study.tensors import read_tensors, save_tensors


def test_an_interrupted_write_leaves_the_old_tensors(tmp_path):
    """What cannot be written leaves the file as it was, readable by all, and nothing beside it."""
    path = tmp_path / "images.safetensors"
    save_tensors(path, {"images": torch.ones(2).expand(3, 2).mT})
    with pytest.raises(AttributeError):
        save_tensors(path, {"images": None})
    assert read_tensors(path)["images"].equal(torch.ones(2, 3))
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("n_bytes", [0, 20, 80])
def test_damaged_tensors_are_told(tmp_path, n_bytes):
    """A file that was cut off says where it is, and what to delete."""
    path = tmp_path / "images.safetensors"
    save_tensors(path, {"images": torch.ones(4)})
    path.write_bytes(path.read_bytes()[:n_bytes])
    message = rf"Cannot read {path}: .+\. Delete the folder {tmp_path} to compute the run again\."
    with pytest.raises(ValueError, match=message):
        read_tensors(path)


def test_missing_tensors_are_told(tmp_path):
    """A file that was deleted from a finished run is an error of the same kind."""
    with pytest.raises(ValueError, match=r"Cannot read .*images\.safetensors: .*compute the run"):
        read_tensors(tmp_path / "images.safetensors")
