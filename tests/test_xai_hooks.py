"""Tests of the hooks: what they read, and that they leave no trace."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.xai._hooks import OUTPUT, activate, frozen, record, resolve_layer


def make_network():
    """Convolution, BatchNorm, a ReLU in place, dropout: all that can leave a trace."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5)
        )


def make_patches(*shape, seed=0):
    """Normal noise from a generator of its own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def take_picture(model):
    """All that an explanation might disturb, as comparable values."""
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "required": [weight.requires_grad for weight in model.parameters()],
        "grad": [
            None if w.grad is None else (id(w.grad), w.grad.sum()) for w in model.parameters()
        ],
        "state": [value.clone().tolist() for value in model.state_dict().values()],
        "enabled": torch.is_grad_enabled(),
        "random": [torch.get_rng_state().tolist(), random.getstate()],
        "numpy": np.random.get_state()[1].tolist(),  # noqa: NPY002
    }


def disturb(model):
    """Do inside what must not be seen outside."""
    model.train()
    model(make_patches(2, 1, 8, 8)).sum()
    torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
    for weight in model.parameters():
        weight.requires_grad_(True).grad = torch.ones_like(weight)


@pytest.mark.parametrize("fails", [False, True])
def test_frozen_leaves_no_trace(fails):
    """Modes, gradients, statistics and random states come back, also after an exception."""
    model = make_network()
    model[1].eval()
    model[0].bias.requires_grad_(False)
    model[0].weight.grad = torch.full_like(model[0].weight, 3.0)
    before = take_picture(model)
    with pytest.raises(KeyError, match="inside") if fails else torch.no_grad(), frozen(model):
        disturb(model)
        if fails:
            raise KeyError("inside")
    assert take_picture(model) == before


def test_frozen_gives_gradients_to_the_input_alone():
    """Inside, even under no_grad and inference mode, inputs have gradients and weights none."""
    model = make_network()
    for outside in (torch.no_grad(), torch.inference_mode()):
        with outside, frozen(model):
            x = make_patches(1, 1, 8, 8).requires_grad_()
            model(x).sum().backward()
        assert x.grad.abs().sum() > 0
        assert model[0].weight.grad is None


def test_layers_resolve_by_name_and_module():
    """A name and its module mean the same layer; the empty name means the network."""
    model = make_network()
    assert resolve_layer(model, "1") == resolve_layer(model, model[1]) == ("1", model[1])
    assert resolve_layer(model, OUTPUT) == ("", model)


def test_unknown_layers_are_refused():
    """A wrong layer raises one line that names near ones."""
    model = SaltClassifier(2, "test_resnet")
    with pytest.raises(ValueError, match=r"Invalid layer 'blok4'. Near names: .*block4"):
        resolve_layer(model, "blok4")
    with pytest.raises(ValueError, match="Near names: merger, stem, block1"):
        resolve_layer(model, "?")
    with pytest.raises(ValueError, match="Invalid layer ReLU: it is no part of the network"):
        resolve_layer(model, nn.ReLU())
    with pytest.raises(TypeError, match=r"Invalid layer 4\. Must be a name or a Module"):
        resolve_layer(model, 4)


@pytest.mark.parametrize("make", [SaltUNet, lambda name: SaltClassifier(3, name)])
def test_blocks_are_recorded(make):
    """The recorded blocks are those that ``features`` returns; the output is the network's."""
    model = make("test_resnet").eval()
    x = make_patches(2, 1, 33, 47)
    names = ["block1", "block2", "block3", model.block4, OUTPUT]
    with torch.no_grad(), record(model, names) as found:
        output = model(x)
        expected = [*model.features(x), output]
    assert list(found) == ["block1", "block2", "block3", "block4", OUTPUT]
    assert all(map(torch.equal, found.values(), expected))
    assert not any(module._forward_hooks for module in model.modules())


def test_records_are_safe_from_work_in_place():
    """A convolution before a ReLU that works in place is recorded with its negative values."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(inplace=True))
    x = make_patches(1, 1, 8, 8)
    found = activate(model, ["0", "1"], x)
    assert torch.equal(found["0"], model[0](x))
    assert (found["0"] < 0).any()


def test_activate_runs_no_further_than_needed():
    """What lies behind the last layer asked for does not run."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Linear(1, 1))
    assert activate(model, ["1", "0"], make_patches(1, 1, 8, 8))["1"].shape == (1, 2, 6, 6)


def test_hooks_go_after_errors():
    """A forward pass that fails leaves no hook behind."""
    model = make_network()
    with pytest.raises(RuntimeError, match="channels"):
        activate(model, ["0"], make_patches(1, 3, 8, 8))
    assert not any(module._forward_hooks for module in model.modules())


def test_layers_without_a_tensor_are_refused():
    """A layer that does not run or puts out a tuple is named."""
    model = SaltClassifier(2, "test_resnet").eval()
    model.spare = nn.ReLU()
    with pytest.raises(ValueError, match="Invalid layer 'spare': it does not run"):
        activate(model, ["spare", "block1"], make_patches(1, 1, 32, 32))
    with pytest.raises(TypeError, match=r"Layer '0' puts out a tuple\. Must be a Tensor"):
        activate(nn.Sequential(nn.LSTM(8, 2)), ["0"], make_patches(1, 8))
