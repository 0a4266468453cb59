"""Tests of the objectives: what they read, their arithmetic, their errors."""

import pytest
import torch
from torch import nn

from thesis_lib.xai import (
    alpha_norm,
    channel,
    class_logit,
    class_margin,
    direction,
    neuron,
    total_variation,
)
from thesis_lib.xai._hooks import OUTPUT
from thesis_lib.xai.objectives import IMAGE

MAPS = torch.arange(48.0).reshape(2, 3, 2, 4) ** 1.5  # (n, C, h, w)
LOGITS = torch.tensor([[3.0, 1.0, -2.0], [0.0, 5.0, 7.0]])
SEEN = {"maps": MAPS, OUTPUT: LOGITS, IMAGE: torch.tensor([[[[0.0, 2.0]]], [[[1.0, 1.0]]]])}


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        (neuron("maps", 1, 0, 3), MAPS[:, 1, 0, 3]),
        (channel("maps", 2), MAPS[:, 2].mean(dim=(1, 2))),
        (channel(OUTPUT, 2), LOGITS[:, 2]),
        (class_logit(1), LOGITS[:, 1]),
        (class_margin(1), torch.tensor([-2.0, -2.0])),
        (class_margin(0), torch.tensor([2.0, -7.0])),
        (direction("maps", [0, 0, 1]), MAPS[:, 2].mean(dim=(1, 2))),
        (direction(OUTPUT, torch.tensor([1, -2, 0.5])), torch.tensor([0.0, -6.5])),
        (total_variation(), torch.tensor([4.0, 0.0])),
        (total_variation(1), torch.tensor([2.0, 0.0])),
        (alpha_norm(), torch.tensor([64.0, 2.0])),
        (alpha_norm(1), torch.tensor([2.0, 2.0])),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_objectives_read_what_they_say(objective, expected):
    """Each objective is the number per image that its definition gives."""
    torch.testing.assert_close(objective(SEEN), expected)


def test_logit_of_a_map_is_its_mean():
    """For a network that puts out maps, the logit is the mean over the patch."""
    torch.testing.assert_close(class_logit(0)({OUTPUT: MAPS}), MAPS[:, 0].mean(dim=(1, 2)))


def test_objectives_are_combined_like_numbers():
    """Sums, differences, products and factors of objectives are those of their values."""
    a, b, c = class_logit(0), class_logit(1), channel("maps", 0)
    x, y, z = a(SEEN), b(SEEN), c(SEEN)
    for objective, expected in [
        (a + b, x + y),
        (a - 2 * (b - c), x - 2 * (y - z)),
        (3 - (a + 1), 2 - x),
        (-a * b, -x * y),
        (sum([a, b, c]), x + y + z),
        ((a + b) * 0.5, (x + y) / 2),
    ]:
        torch.testing.assert_close(objective(SEEN), expected)


def test_names_write_the_formula():
    """A combined objective is written as it was put together, and knows all its layers."""
    objective = 2 * channel("maps", 0) - (class_logit(1) + 0.5) * total_variation()
    expected = "2 * channel('maps', 0) - ((class_logit(1) + 0.5) * total_variation(2))"
    assert objective.name == expected
    assert objective.layers == ("maps", OUTPUT, IMAGE)
    assert (-(class_logit(0) - class_logit(1))).name == "-1 * (class_logit(0) - class_logit(1))"
    assert neuron(nn.ReLU(), 0, 1, 2).name == "neuron(ReLU, 0, 1, 2)"


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: neuron("maps", 0, -1, 0), "Invalid y -1"),
        (lambda: neuron("maps", 0, 2, 0)(SEEN), "Invalid y 2. Must be from 0 to 1"),
        (lambda: neuron(OUTPUT, 0, 0, 0)(SEEN), r"shape \(2, 3\). Must be \(n, C, h, w\)"),
        (lambda: channel("maps", 3)(SEEN), "Invalid channel 3. Must be from 0 to 2"),
        (lambda: channel("maps", -1), "Invalid channel -1"),
        (lambda: channel("maps", 0)({"maps": MAPS[:, 0, 0, 0]}), r"Must be \(n, C, \.\.\.\)"),
        (lambda: class_logit(3)(SEEN), "Invalid class 3. Must be from 0 to 2"),
        (lambda: class_margin(3)(SEEN), "Invalid class 3. Must be from 0 to 2"),
        (lambda: class_margin(0)({OUTPUT: LOGITS[:, :1]}), "Must be at least 2"),
        (lambda: direction("maps", [1, 2])(SEEN), "length 2 for the 3 channels of 'maps'"),
        (lambda: direction("maps", MAPS), r"Invalid vector of shape \(2, 3, 2, 4\)"),
        (lambda: total_variation(0), "Invalid beta 0"),
        (lambda: alpha_norm(0), "Invalid alpha 0"),
    ],
)
def test_what_a_layer_does_not_have_is_refused(make, match):
    """Channels, places, classes and vectors that do not fit raise."""
    with pytest.raises(ValueError, match=match):
        make()


def test_other_operands_are_refused():
    """An objective is combined with objectives and numbers alone."""
    with pytest.raises(TypeError, match=r"Invalid operand 'two'\. Must be an Objective"):
        class_logit(0) + "two"
