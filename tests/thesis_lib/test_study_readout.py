"""Readouts as a task: every block of one network, and what is kept of the shown patches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from explained_networks import fix_patches, make_classifier, make_patches, run

from thesis_lib.study import Readout
from thesis_lib.study.readout import _average_precision

TRAIN, TEST = make_patches(8, seed=5), make_patches(8)
TASK = Readout(make_classifier(TEST), fix_patches(TRAIN, TEST), steps=2, batch_size=4)


def test_every_block_is_read(root):
    """One record per block, with 1 - R^2 as what is lost, and the decoded patches."""
    outcome = run(TASK, root)
    records = outcome.scores["blocks"]
    assert [record["block"] for record in records] == [f"block{k}" for k in (1, 2, 3, 4)]
    for record in records:
        assert record["lost"] == pytest.approx(1 - record["explained"])
        assert record["explained"] <= 1
        assert 0 <= record["probe"] <= 1
    decoded = outcome.load_tensors("decoded")
    assert {tuple(image.shape) for image in decoded.values()} == {(2, 1, 32, 32)}


def test_masks_are_needed(root):
    """Patches without masks are refused; without salt the probe has no score."""
    bare = fix_patches(replace(TRAIN, masks=None), TEST)
    with pytest.raises(ValueError, match="without masks"):
        run(replace(TASK, patches=bare), root)
    empty = replace(TEST, masks=np.zeros_like(TEST.masks))
    scores = run(replace(TASK, patches=fix_patches(TRAIN, empty)), root).scores
    assert [record["probe"] for record in scores["blocks"]] == [None] * 4


def test_average_precision_by_hand() -> None:
    """Salt ranked first and third of four pixels: (1 + 2/3) / 2."""
    logits, masks = torch.tensor([3.0, 2, 1, 0]), torch.tensor([1.0, 0, 1, 0])
    assert _average_precision(logits, masks) == pytest.approx(5 / 6)


@pytest.mark.parametrize("name", ["n_shown", "steps", "batch_size"])
def test_refuses(name):
    """Numbers below 1 are refused when the task is made."""
    with pytest.raises(ValueError, match=f"Invalid {name} 0"):
        replace(TASK, **{name: 0})
