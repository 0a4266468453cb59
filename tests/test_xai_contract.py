"""What all explanations keep to: any size of patch, and no trace left, also after a failure."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from thesis_lib.model import SaltClassifier
from thesis_lib.xai import cam, class_logit, invert, maximize
from thesis_lib.xai.cam import randomize_cascade, trace_curves

SIZES = [(33, 47), (41, 41), (64, 32)]
QUIET = {"seeds": [0, 1], "steps": 3, "progress": False}
EXPLANATIONS = {
    "maximize": lambda model, x: maximize(model, class_logit(1), x.shape[2:], **QUIET).images,
    "invert": lambda model, x: invert(model, "block2", x, approach=2, **QUIET).images,
    "cam": lambda model, x: cam(model, x, 1).maps,
    "randomize_cascade": lambda model, x: randomize_cascade(model, x, 1, seed=0)["head"],
    "trace_curves": lambda model, x: trace_curves(model, x, x, 1, steps=3).deletion,
}


class Intruder(nn.Module):
    """Draws from every global random state in each pass, and fails once its runs are used up."""

    def __init__(self, n_runs: int) -> None:
        super().__init__()
        self.n_runs = n_runs

    def forward(self, x):
        """Hand on what comes in."""
        torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
        if self.n_runs == 0:
            raise KeyError("inside the network")
        self.n_runs -= 1
        return x


def make_classifier(n_runs=-1):
    """A classifier in all states that could be lost, with an intruder behind its second block."""
    model = SaltClassifier(2, "test_resnet", seed=1).train()
    model.block2 = nn.Sequential(model.block2, Intruder(n_runs))
    model.block3.eval()
    model.merger.weight.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    return model


def picture(model):
    """All that an explanation might disturb, as comparable values."""
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [
            (len(module._forward_hooks), len(module._forward_pre_hooks))
            for module in model.modules()
        ],
        "required": [weight.requires_grad for weight in model.parameters()],
        "gradients": [
            weight.grad if weight.grad is None else id(weight.grad) for weight in model.parameters()
        ],
        "state": [value.numpy().tobytes() for value in model.state_dict().values()],
        "enabled": torch.is_grad_enabled(),
        "random": [torch.get_rng_state().numpy().tobytes(), random.getstate()],
        "numpy": np.random.get_state()[1].tobytes(),  # noqa: NPY002
    }


def make_patches(shape):
    """Two patches of seeded noise."""
    return torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_nothing_is_left_behind(name, fails):
    """Modes, hooks, gradients, statistics and random states survive, also a failing network."""
    model = make_classifier(n_runs=int(name != "cam") if fails else -1)
    before, gradient = picture(model), model.head.weight.grad.clone()
    if fails:
        with pytest.raises(KeyError, match="inside the network"):
            EXPLANATIONS[name](model, make_patches((33, 47)))
    else:
        EXPLANATIONS[name](model, make_patches((33, 47)))
    assert picture(model) == before
    assert torch.equal(model.head.weight.grad, gradient)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_any_size_is_explained(name, shape):
    """Patches of one channel, odd or oblong, give finite results; images have their size."""
    patches = make_patches(shape)
    found = EXPLANATIONS[name](make_classifier(), patches)
    assert found.isfinite().all()
    if name in ("maximize", "invert", "cam"):
        assert found.shape[1:] == patches.shape[1:]


@pytest.mark.parametrize("name", EXPLANATIONS)
def test_the_same_call_gives_the_same_bits(name):
    """Twice the same call gives the same result, bit for bit, whatever was drawn between."""
    first = EXPLANATIONS[name](make_classifier(), make_patches((33, 47)))
    with torch.random.fork_rng():
        torch.rand(7)
        assert torch.equal(EXPLANATIONS[name](make_classifier(), make_patches((33, 47))), first)
