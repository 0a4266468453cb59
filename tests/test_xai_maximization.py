"""Tests of activation maximization: first steps in closed form, seeds, batches, no traces."""

import json
import random

import numpy as np
import pytest
import torch
from captum.attr import NeuronGradient
from torch import nn

from thesis_lib.model import SaltClassifier
from thesis_lib.patching import zscore
from thesis_lib.xai import (
    Fourier,
    Phase,
    Pixels,
    Robustness,
    alpha_norm,
    channel,
    class_logit,
    class_margin,
    direction,
    maximize,
    neuron,
    total_variation,
)
from thesis_lib.xai._hooks import OUTPUT
from thesis_lib.xai.maximization import _find_converged
from thesis_lib.xai.objectives import Objective

PLAIN = {"robustness": None, "zscored": False, "progress": False}


def make_linear(weights):
    """f(x) = w . x as a network of one logit."""
    layer = nn.Linear(weights.numel(), 1, bias=False)
    layer.weight.data = weights.reshape(1, -1)
    return nn.Sequential(nn.Flatten(), layer)


def make_network(dtype=torch.float32):
    """A small network with BatchNorm, dropout and two classes, in training mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(inplace=True),
            nn.Conv2d(4, 6, 3, stride=2),
            nn.Dropout(0.5),
            nn.Tanh(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, 2),
        )
    return network.to(dtype)


def make_patches(*shape, seed=0):
    """Normal noise from a generator of its own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run(objective=None, network=None, shape=(9, 7), seeds=(0,), steps=8, **settings):
    """Maximise a class margin of the small network, silently, unless told otherwise."""
    objective, network = objective or class_margin(1), network or make_network()
    return maximize(network, objective, shape, seeds=seeds, steps=steps, progress=False, **settings)


def test_first_sgd_step_follows_the_weights():
    """For f = w . x from nothing, the first step of gradient ascent is lr times w."""
    weights = make_patches(5, 4)
    start = {"image": Pixels(std=0), "optimizer": "sgd", "lr": 0.1, "steps": 1}
    found = maximize(make_linear(weights), class_logit(0), (5, 4), seeds=[0], **start, **PLAIN)
    torch.testing.assert_close(found.images, 0.1 * weights[None, None])
    assert found.history.tolist() == [[0]]
    torch.testing.assert_close(found.values, 0.1 * (weights**2).sum()[None])


def test_first_adam_step_follows_the_signs():
    """For f = w . x from nothing, Adam's first step is lr times the signs of w."""
    weights = make_patches(5, 4)
    start = {"image": Pixels(std=0), "lr": 0.1, "steps": 1}
    found = maximize(make_linear(weights), class_logit(0), (5, 4), seeds=[0], **start, **PLAIN)
    torch.testing.assert_close(found.images, 0.1 * weights.sign()[None, None])


@pytest.mark.parametrize("layer", ["0", "3"])
def test_first_step_is_the_gradient_of_captum(layer):
    """The first SGD step for a neuron is lr times Captum's gradient of that neuron."""
    network = make_network().eval()
    found = maximize(
        network,
        neuron(layer, 2, 1, 2),
        (9, 7),
        seeds=[3],
        steps=1,
        lr=1.0,
        optimizer="sgd",
        image=Pixels(std=1),
        snapshots=[0],
        **PLAIN,
    )
    explainer = NeuronGradient(network, network.get_submodule(layer))
    start = found.snapshots[0].clone().requires_grad_()
    expected = explainer.attribute(start, (2, 1, 2))
    torch.testing.assert_close(found.images - start, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("image", [Pixels(), Fourier(), Phase(make_patches(4, 1, 33, 47))])
@pytest.mark.parametrize("objective", [class_margin(1), direction("block3", torch.ones(192))])
def test_objective_rises_after_three_steps(image, objective):
    """On a residual network each parametrisation climbs from the first step to the fourth."""
    model = SaltClassifier(2, "test_resnet", seed=1)
    settings = {"image": image, "robustness": None, "progress": False}
    found = maximize(model, objective, (33, 47), seeds=[0, 1], steps=4, **settings)
    assert found.images.shape == (2, 1, 33, 47)
    assert (found.history[:, 3] > found.history[:, 0]).all()


@pytest.mark.parametrize("shape", [(99, 99), (150, 300), (5, 4)])
def test_any_size_has_an_image(shape):
    """Odd, oblong and tiny images come out finite, z-scored and higher than they started."""
    found = run(shape=shape, steps=3, image=Phase(make_patches(3, 1, *shape)), snapshots=[0, 2])
    assert found.images.shape == found.snapshots[0].shape == (1, 1, *shape)
    torch.testing.assert_close(found.images, zscore(found.images), atol=1e-5, rtol=1e-5)
    assert found.history.isfinite().all()


@pytest.mark.parametrize("image", [Pixels(), Fourier(), Phase(make_patches(4, 1, 9, 7))])
@pytest.mark.parametrize("patience", [None, 6])
def test_batch_equals_its_single_runs(image, patience):
    """Three seeds and two objectives in one batch give what each gives alone."""
    objectives = [class_margin(1), channel("0", 2) - 0.01 * total_variation(1)]
    settings = {"image": image, "steps": 24, "patience": patience, "snapshots": [0, 9]}
    batch = run(objectives, seeds=[4, 2, 9], **settings)
    assert batch.seeds == (4, 2, 9, 4, 2, 9)
    assert batch.objectives == tuple(each.name for each in objectives for _ in range(3))
    for i, (seed, name) in enumerate(zip(batch.seeds, batch.objectives, strict=True)):
        single = run(next(o for o in objectives if o.name == name), seeds=[seed], **settings)
        assert torch.equal(batch.images[i], single.images[0])
        assert torch.equal(batch.values[i], single.values[0])
        assert torch.equal(batch.snapshots[9][i], single.snapshots[9][0])
        assert batch.history[i].isfinite().sum() == single.history[0].isfinite().sum()


def test_batch_of_a_residual_network_equals_its_single_runs():
    """ReLUs and pooling amplify rounding; three seeds still end bit for bit as each one alone."""
    settings = {"network": SaltClassifier(2, "test_resnet", seed=1), "shape": (33, 47), "steps": 20}
    batch = run(seeds=[4, 2, 9], **settings)
    for i, seed in enumerate(batch.seeds):
        assert torch.equal(run(seeds=[seed], **settings).images[0], batch.images[i])


def test_images_at_once_change_the_rounding_alone():
    """The first steps of a batch through the network at once are those of one by one."""
    settings = {"seeds": [4, 2, 9], "steps": 5}
    expected = run(**settings, batch_size=1)
    for batch_size in (2, 8):
        found = run(**settings, batch_size=batch_size)
        torch.testing.assert_close(found.images, expected.images, atol=1e-4, rtol=1e-4)
    assert run(**settings).config["batch_size"] == 1


def test_same_seed_gives_the_same_bits():
    """Two runs with the same seeds are bit-identical, other seeds give other images."""
    first, second = (run(seeds=[1, 2], patience=3, steps=12) for _ in range(2))
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.history.nan_to_num(), second.history.nan_to_num())
    assert not torch.allclose(first.images[0], first.images[1], atol=1e-2)


def test_snapshots_lie_on_the_way():
    """Step 0 is the start, the last step the result, and a shorter run ends where one passes."""
    found = run(steps=8, snapshots=[8, 0, 5], robustness=None)
    assert sorted(found.snapshots) == [0, 5, 8]
    start = Fourier().start((9, 7), torch.Generator().manual_seed(0))
    expected = zscore(Fourier().render(start[None], (9, 7)))
    torch.testing.assert_close(found.snapshots[0], expected)
    torch.testing.assert_close(found.snapshots[5], run(steps=5, robustness=None).images)
    assert torch.equal(found.snapshots[8], found.images)


def test_window_without_a_rise_is_a_plateau():
    """A rise of 1 % of the way or a fall stops an image, a rise of more does not."""
    rows = [
        [0.0, 0, 10, 10, 10.05, 10.05],  # converged
        [0.0, 0, 10, 10, 9, 9],  # falling
        [0.0, 0, 10, 10, 12, 12],  # rising
        [0.0, 0, 10, 10, torch.nan, torch.nan],  # stopped before
    ]
    assert _find_converged(torch.tensor(rows), 2).tolist() == [True, True, False, False]
    assert not _find_converged(torch.tensor(rows)[:, :3], 2).any()


def test_images_stop_on_their_own():
    """A flat objective stops after two windows and leaves its image; a steep one goes on."""
    flat = 0 * class_logit(0)
    network = make_linear(make_patches(5, 4))
    settings = {"image": Pixels(std=1), "steps": 9, "patience": 2, "snapshots": [4, 9]}
    both = maximize(network, [flat, class_logit(0)], (5, 4), seeds=[0], **settings, **PLAIN)
    assert both.history.isfinite().sum(dim=1).tolist() == [4, 9]
    assert torch.equal(both.snapshots[4][0], both.images[0])
    assert not torch.equal(both.snapshots[4][1], both.images[1])
    alone = maximize(network, flat, (5, 4), seeds=[0], **settings, **PLAIN)
    assert alone.history.shape == (1, 4)
    assert torch.equal(alone.snapshots[9], both.snapshots[9][:1])


def test_regularisers_make_images_smoother():
    """Subtracting a total variation or an alpha-norm lowers it against the objective alone."""
    settings = {"steps": 20, "robustness": None, "image": Pixels(std=1)}
    plain = run(channel("0", 1), **settings).images
    for regulariser in (total_variation(), alpha_norm()):
        read = regulariser.read
        found = run(channel("0", 1) - 0.1 * regulariser, **settings).images
        assert read({"<image>": found}) < 0.9 * read({"<image>": plain})


def test_robustness_removes_what_a_shift_destroys():
    """A chequered filter excites itself fully without jitter and hardly a patch under jitter."""
    chequers = torch.tensor([[1.0, -1], [-1, 1]]).repeat(4, 4)
    jitter = Robustness(jitter_px=2, scale=0, rotate_deg=0)
    found = {
        robustness: run(
            class_logit(0), make_linear(chequers), (8, 8), steps=40, robustness=robustness
        ).values.item()
        for robustness in (None, jitter)
    }
    assert found[None] > 0.9 * 64
    assert found[jitter] < 0.5 * 64


@pytest.mark.parametrize("fails", [False, True])
def test_networks_and_random_states_stay_as_they_were(fails):
    """Modes, gradients, statistics, hooks and random states survive, also a failing objective."""
    network = make_network()
    network[1].eval()
    network[0].bias.requires_grad_(False)
    gradient = network[0].weight.grad = torch.ones_like(network[0].weight)

    def read(seen):
        if fails:
            raise KeyError("inside")
        return seen[OUTPUT][:, 0]

    before = picture(network)
    with torch.no_grad():
        if fails:
            with pytest.raises(KeyError, match="inside"):
                run(Objective("mine", (OUTPUT, "0"), read), network, steps=2)
        else:
            run(Objective("mine", (OUTPUT, "0"), read), network, steps=2)
        assert not torch.is_grad_enabled()
    assert picture(network) == before
    assert network[0].weight.grad is gradient


def picture(network):
    """What a run might disturb."""
    return (
        [(m.training, len(m._forward_hooks)) for m in network.modules()],
        [(w.requires_grad, w.grad is None) for w in network.parameters()],
        [value.tolist() for value in network.state_dict().values()],
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
    )


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.float32),
    ],
)
def test_precision_of_the_network_is_its_own(dtype, expected):
    """Images are as precise as the network, and never less than float32."""
    found = run(network=make_network(dtype), steps=3)
    assert found.images.dtype == found.values.dtype == found.history.dtype == expected
    assert found.images.isfinite().all()


def test_bf16_autocast_climbs_like_float32():
    """Under bf16 autocast the objective reaches what float32 reaches within a few per cent."""
    exact, rough = (
        run(steps=30, robustness=None, precision=name).values.item()
        for name in ("32-true", "bf16-mixed")
    )
    assert rough == pytest.approx(exact, rel=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_agrees_with_cpu():
    """A few steps on a GPU end where the CPU ends."""
    found = run(network=make_network(torch.float64).cuda(), steps=4)
    assert found.images.is_cuda
    expected = run(network=make_network(torch.float64), steps=4)
    torch.testing.assert_close(found.images.cpu(), expected.images, atol=1e-4, rtol=1e-4)


def test_config_is_plain():
    """The settings go into JSON and back."""
    config = run(steps=2).config
    assert json.loads(json.dumps(config)) == config
    assert config["image"] == "Fourier(decay=1.0, std=0.01)"
    assert config["robustness"] == {"jitter_px": 8.0, "scale": 0.1, "rotate_deg": 10.0}


def test_progress_is_shown(capsys):
    """The bar counts steps and shows the mean objective."""
    maximize(make_network(), class_logit(0), (5, 4), seeds=[0], steps=2)
    shown = capsys.readouterr().err
    assert "2/2" in shown
    assert "objective=" in shown


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"seeds": []}, r"Invalid seeds \(\)"),
        ({"seeds": [-1]}, "Invalid seed -1"),
        ({"shape": (0, 5)}, "Invalid side 0 of shape 0"),
        ({"shape": (5,)}, r"Invalid shape \(5,\)\. Must be \(height, width\)"),
        ({"steps": 0}, "Invalid steps 0"),
        ({"lr": 0}, "Invalid lr 0"),
        ({"optimizer": "lbfgs"}, "Invalid optimizer 'lbfgs'. Must be one of: 'adam', 'sgd'"),
        ({"precision": "16"}, "Invalid precision '16'"),
        ({"snapshots": [9]}, "Invalid snapshot 9. Must be from 0 to 8"),
        ({"patience": 0}, "Invalid patience 0"),
        ({"batch_size": 0}, "Invalid batch_size 0"),
        ({"objective": channel("nine", 0)}, "Invalid layer 'nine'"),
        ({"objective": channel("0", 9)}, "Invalid channel 9. Must be from 0 to 3"),
        ({"objective": Objective("mean", ("0",), lambda seen: seen["0"].mean())}, "values of mean"),
    ],
)
def test_wrong_arguments_are_refused(settings, match):
    """What is out of range raises one line before or at the first step."""
    with pytest.raises(ValueError, match=match):
        run(**settings)


def test_nothing_to_maximise_is_refused():
    """An empty list of objectives raises."""
    with pytest.raises(ValueError, match=r"Invalid objective \(\)"):
        maximize(make_network(), [], (5, 4), seeds=[0])


def test_constant_images_have_no_gradient():
    """Starting from nothing under z-score raises instead of giving NaN images."""
    with pytest.raises(FloatingPointError, match="The gradient of image 0 is NaN or infinite at"):
        run(image=Pixels(std=0))
