"""What all explanations keep to: layers found, any size of patch, networks left as they were."""

import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from noise import make_noise
from torch import nn

from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.xai import cam, class_logit, invert, maximize
from thesis_lib.xai._hooks import OUTPUT, activate, frozen, resolve_layer
from thesis_lib.xai.cam import randomize_cascade

BRIEF = {"levels": (0.1,), "steps": 2, "progress": False}
QUIET = {"seeds": [0, 1], "steps": 3, "progress": False}
EXPLANATIONS = {
    "maximize": lambda model, x: maximize(model, class_logit(1), x.shape[2:], **QUIET).images,
    "invert": lambda model, x: invert(model, "block2", x, **BRIEF).images[0],
    "invert from noise": lambda model, x: invert(model, "block2", x, start="noise", **BRIEF).images[
        0
    ],
    "cam": lambda model, x: cam(model, x, 1).maps,
    "randomize_cascade": lambda model, x: randomize_cascade(model, x, 1, seed=0)["head"],
}


class Fuse(nn.Module):
    """Hands on what comes in, until its runs are used up."""

    def __init__(self, n_runs):
        super().__init__()
        self.n_runs = n_runs

    def forward(self, x):
        """Fail or hand on."""
        if self.n_runs == 0:
            raise KeyError("inside the network")
        self.n_runs -= 1
        return x


def make_classifier(n_runs=-1):
    """A classifier in double precision, in all states that could be lost, with a fuse."""
    model = SaltClassifier(2, "test_resnet", seed=1).double().train()
    model.block2 = nn.Sequential(model.block2, Fuse(n_runs))
    model.block3.eval()
    model.merger.weight.requires_grad_(False)
    model.head.weight.grad = torch.ones_like(model.head.weight)
    return model


def make_patches(*shape):
    """Two patches of noise in double precision."""
    return make_noise(2, 1, *shape, dtype=torch.float64)


def take_picture(model):
    """All that an explanation might disturb, as comparable values."""
    return {
        "modes": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "required": [weight.requires_grad for weight in model.parameters()],
        "gradients": [
            None if weight.grad is None else (id(weight.grad), weight.grad.numpy().tobytes())
            for weight in model.parameters()
        ],
        "state": [value.numpy().tobytes() for value in model.state_dict().values()],
        "enabled": torch.is_grad_enabled(),
        "random": [torch.get_rng_state().numpy().tobytes(), random.getstate()],
        "numpy": np.random.get_state()[1].tobytes(),  # noqa: NPY002
    }


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_nothing_is_left_behind(name, fails):
    """Modes, hooks, gradients, statistics and random states stay, also if the network fails."""
    model = make_classifier(n_runs=int(name != "cam") if fails else -1)
    before = take_picture(model)
    with pytest.raises(KeyError, match="inside the network") if fails else nullcontext():
        EXPLANATIONS[name](model, make_patches(33, 47))
    assert take_picture(model) == before


@pytest.mark.parametrize("shape", [(33, 47), (41, 41), (64, 32)])
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_any_size_is_explained_reproducibly(name, shape):
    """Odd and oblong patches give finite results, twice the same whatever was drawn between."""
    patches = make_patches(*shape)
    found = EXPLANATIONS[name](make_classifier(), patches)
    assert found.isfinite().all()
    if name != "randomize_cascade":
        assert found.shape == patches.shape or found.shape == (4, *patches.shape[1:])
    with torch.random.fork_rng():
        torch.rand(7)
        again = EXPLANATIONS[name](make_classifier(), patches)
    torch.testing.assert_close(again, found, rtol=0, atol=1e-9)


@pytest.mark.parametrize("outside", [torch.no_grad, torch.inference_mode])
def test_frozen_gives_gradients_to_the_input_alone(outside):
    """Inside, even under no_grad and inference mode, inputs have gradients and weights none."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    with outside(), frozen(model):
        assert not any(module.training for module in model.modules())
        x = torch.ones(1, 1, 8, 8, requires_grad=True)
        model(x).sum().backward()
    assert x.grad.abs().sum() > 0
    assert model[0].weight.grad is None
    assert model[1].training


@pytest.mark.parametrize(
    ("layer", "match"),
    [
        ("blok4", r"Invalid layer 'blok4'. Must be a layer of the network, such as: .*block4"),
        ("?", "such as: merger, stem, block1"),
        (4, r"Invalid layer 4\. Must be a layer of the network"),
        (nn.ReLU(), "Invalid layer ReLU. Must be a module of the network"),
    ],
)
def test_unknown_layers_are_refused(layer, match):
    """A wrong layer raises one line that names near ones."""
    with pytest.raises(ValueError, match=match):
        resolve_layer(SaltClassifier(2, "test_resnet"), layer)


@pytest.mark.parametrize("make", [SaltUNet, lambda name: SaltClassifier(3, name)])
def test_blocks_are_activated(make):
    """By name and module, blocks return what ``features`` does, the network its output."""
    model, x = make("test_resnet").double().eval(), make_patches(33, 47)
    names = ["block1", "block2", "block3", "block4", OUTPUT]
    with torch.no_grad():
        for name, expected in zip(names, [*model.features(x), model(x)], strict=True):
            assert resolve_layer(model, model.get_submodule(name)) == name
            found = activate(model, resolve_layer(model, name), x, precision="32-true")
            torch.testing.assert_close(found, expected)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("dtype", "precision"), [(torch.bfloat16, "32-true"), (torch.float32, "bf16-mixed")]
)
def test_activations_have_the_dtype_of_the_images(dtype, precision):
    """A network in bf16, stored or by autocast, takes float32 images and returns float32."""
    model, images = nn.Conv2d(1, 1, 1).to(dtype), torch.ones(1, 1, 2, 2)
    found = activate(model, OUTPUT, images, precision=precision)
    assert found.dtype == torch.float32
    assert torch.equal(found, found.bfloat16().float())


def test_activate_runs_no_further_than_needed():
    """What follows the layer asked for does not run, so an in-place ReLU cannot change it."""
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Linear(1, 1)).double()
    found = activate(model, "0", make_patches(8, 8), precision="32-true")
    assert found.shape == (2, 2, 6, 6)
    assert (found < 0).any()


def test_layers_without_a_tensor_are_refused():
    """A layer that does not run or returns a tuple is named."""
    model = SaltClassifier(2, "test_resnet").eval()
    model.spare = nn.ReLU()
    with pytest.raises(ValueError, match=r"Invalid layer 'spare'\. Must run in the forward pass"):
        activate(model, "spare", torch.ones(1, 1, 32, 32), precision="32-true")
    with pytest.raises(TypeError, match=r"Layer '0' returns a tuple\. Must be a Tensor"):
        activate(nn.Sequential(nn.LSTM(8, 2)), "0", torch.ones(1, 8), precision="32-true")
