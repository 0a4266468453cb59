"""The judge of what classifiers made is another network."""

from dataclasses import replace

import pytest
import torch
from explained_networks import JUDGE, make_classifier, make_patches, run

from thesis_lib.patches import Earths
from thesis_lib.study import Invert, Maximize, Train, grid
from thesis_lib.study.judging import load_network, pick_judge, predict_salt
from thesis_lib.study.segmentation import load_model

ENCODER = Train(seed=3, loss="dice", data=Earths({"gulf": (20.0,)}))


@pytest.mark.parametrize(("seed", "following"), [(3, 1), (1, 5), (5, 3)])
def test_judge_has_the_next_seed(seed, following):
    """With several seeds the judge has the same loss and the next of the seeds, cyclically."""
    networks = grid(ENCODER, seed=[3, 1, 5], loss=["bce", "dice"])
    assert pick_judge(networks, ENCODER.change(seed=seed)) == ENCODER.change(seed=following)
    with pytest.raises(ValueError, match="Invalid seed 4"):
        pick_judge(networks, ENCODER.change(seed=4))


@pytest.mark.parametrize(("losses", "judge"), [(["dice", "wing", "bce"], "wing"), (["dice"], None)])
def test_judge_of_a_single_seed_has_another_loss(losses, judge):
    """With one seed the judge is the first of another loss, and without one there is none."""
    picked = pick_judge(grid(ENCODER, loss=losses), ENCODER)
    assert picked == (None if judge is None else ENCODER.change(loss=judge))


def test_salt_is_the_sigmoid_of_the_judge(tmp_path):
    """The probability of a patch is that of the U-Net in eval mode, whatever the batch."""
    judge = run(JUDGE, tmp_path)
    images = make_patches(3).tensors()
    with torch.no_grad():
        expected = torch.sigmoid(load_model(judge).eval()(images[:1]))
    torch.testing.assert_close(predict_salt(judge, images)[:1], expected, rtol=1e-4, atol=1e-5)


def test_layout_follows_precision(tmp_path):
    """Networks lie channels last where bf16 computes, and as they were in float32."""
    network = run(make_classifier(), tmp_path)
    for precision, last in (("bf16-mixed", True), ("32-true", False)):
        weight = next(w for w in load_network(network, precision).block1.parameters() if w.ndim > 3)
        assert weight.is_contiguous(memory_format=torch.channels_last) == last


def test_judge_of_its_own_encoder_is_refused():
    """A network does not judge images of a classifier that took over its encoder."""
    network = replace(make_classifier(), untrained=False, segmentation=JUDGE)
    for task in (Maximize(network, None, (0,), (0,)), Invert(network, None)):
        with pytest.raises(ValueError, match="Invalid judge 'Train dice, seed 9'"):
            replace(task, judge=JUDGE)
