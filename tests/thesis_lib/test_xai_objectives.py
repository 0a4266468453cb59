"""Tests of the objectives: what they read, and their errors."""

import pytest
import torch

from thesis_lib.xai import class_logit, class_margin

LOGITS = torch.tensor([[3.0, 1.0, -2.0], [0.0, 5.0, 7.0]])
MAPS = torch.arange(48.0).reshape(2, 3, 2, 4) ** 1.5  # (n, C, h, w)


@pytest.mark.parametrize(
    ("objective", "output", "expected"),
    [
        (class_logit(1), LOGITS, LOGITS[:, 1]),
        (class_logit(0), MAPS, MAPS[:, 0].mean(dim=(1, 2))),
        (class_margin(1), LOGITS, torch.tensor([-2.0, -2.0])),
        (class_margin(0), LOGITS, torch.tensor([2.0, -7.0])),
        (class_margin(2), MAPS, (MAPS[:, 2] - MAPS[:, 1]).mean(dim=(1, 2))),
    ],
)
def test_objectives_read_what_they_say(objective, output, expected):
    """Logits are those of the output, or means of its maps; margins are to the best other one."""
    torch.testing.assert_close(objective.read(output), expected)


@pytest.mark.parametrize(
    ("objective", "output", "match"),
    [
        (class_logit(3), LOGITS, "Invalid class 3. Must be from 0 to 2"),
        (class_margin(-1), LOGITS, "Invalid class -1. Must be from 0 to 2"),
        (class_margin(0), LOGITS[:, :1], "classes of a margin 1. Must be at least 2"),
        (class_logit(0), LOGITS[0], r"Invalid output of shape \(3,\). Must be \(n, n_classes, "),
    ],
)
def test_classes_that_do_not_exist_are_refused(objective, output, match):
    """Reading raises where the network has no such class, or no other."""
    with pytest.raises(ValueError, match=match):
        objective.read(output)
