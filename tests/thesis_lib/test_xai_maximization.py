"""Tests of activation maximization: closed forms, Captum as referee, batches."""

import json

import pytest
import torch
from captum.attr import Saliency
from noise import make_noise
from torch import nn

from thesis_lib.model import SaltClassifier
from thesis_lib.patching import zscore
from thesis_lib.xai import Fourier, Phase, Pixels, Robustness, class_logit, class_margin, maximize

PLAIN = {"robustness": None, "zscored": False}


def make_linear(weights):
    """f(x) = w . x as a network of one logit."""
    layer = nn.Linear(weights.numel(), 1, bias=False)
    layer.weight.data = weights.reshape(1, -1)
    return nn.Sequential(nn.Flatten(), layer)


def make_network(dtype=torch.float64):
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


def run(objective=None, network=None, shape=(9, 7), seeds=(0,), steps=8, **settings):
    """Maximise a class margin of the small network, silently, unless told otherwise."""
    objective, network = objective or class_margin(1), network or make_network()
    return maximize(network, objective, shape, seeds=seeds, steps=steps, progress=False, **settings)


@pytest.mark.parametrize(("optimizer", "direct"), [("sgd", torch.clone), ("adam", torch.sign)])
def test_first_step_follows_the_weights(optimizer, direct):
    """For f = w . x from zeros, the first step is lr times w, and by Adam lr times its signs."""
    weights = make_noise(5, 4)
    start = {"image": Pixels(std=0), "optimizer": optimizer, "lr": 0.1, "steps": 1}
    found = run(class_logit(0), make_linear(weights), (5, 4), **start, **PLAIN)
    torch.testing.assert_close(found.images, 0.1 * direct(weights)[None, None])
    torch.testing.assert_close(found.values, 0.1 * (weights * direct(weights)).sum()[None])
    assert found.history.tolist() == [[0]]


@pytest.mark.parametrize(
    ("objective", "signs"), [(class_logit(1), (0, 1)), (class_margin(0), (1, -1))]
)
def test_first_step_is_the_gradient_of_captum(objective, signs):
    """The first SGD step for a logit or a margin of two is lr times Captum's gradient of it."""
    network = make_network().eval()
    start = {"image": Pixels(std=1), "optimizer": "sgd", "lr": 1.0, "steps": 1}
    found = run(objective, network, seeds=[3], **start, **PLAIN)
    pixels = Pixels(std=1).start((9, 7), torch.Generator().manual_seed(3))
    explainer, image = Saliency(network), pixels[None, None].to(found.images).requires_grad_()
    expected = sum(s * explainer.attribute(image, k, abs=False) for k, s in enumerate(signs))
    torch.testing.assert_close(found.images - image, expected)


@pytest.mark.parametrize("image", [Pixels(), Fourier(), Phase(make_noise(4, 1, 33, 47))])
@pytest.mark.parametrize("objective", [class_margin(1), class_logit(0)])
def test_objective_rises_after_three_steps(image, objective):
    """On a residual network each parametrisation climbs, and its images are z-scored."""
    model = SaltClassifier(2, "test_resnet", seed=1)
    settings = {"image": image, "robustness": None, "seeds": [0, 1], "steps": 4}
    found = run(objective, model, (33, 47), **settings)
    torch.testing.assert_close(found.images, zscore(found.images), atol=1e-5, rtol=1e-5)
    assert (found.history[:, 3] > found.history[:, 0]).all()


@pytest.mark.parametrize("image", [Pixels(), Fourier(), Phase(make_noise(4, 1, 33, 47))])
def test_batch_equals_its_single_runs(image):
    """Three seeds and two objectives give what each gives alone, up to rounding."""
    objectives = {"class_margin(1)": class_margin(1), "class_logit(0)": class_logit(0)}
    network = SaltClassifier(2, "test_resnet", seed=1).double()  # ReLUs amplify rounding
    settings = {"network": network, "shape": (33, 47), "image": image}
    batch = run([*objectives.values()], seeds=[4, 2, 9], **settings)
    assert batch.seeds == (4, 2, 9, 4, 2, 9)
    assert batch.objectives == ("class_margin(1)",) * 3 + ("class_logit(0)",) * 3
    for i, (seed, name) in enumerate(zip(batch.seeds, batch.objectives, strict=True)):
        single = run(objectives[name], seeds=[seed], **settings)
        pairs = [
            (getattr(batch, key), getattr(single, key)) for key in ("images", "values", "history")
        ]
        for found, expected in pairs:
            torch.testing.assert_close(found[i], expected[0], atol=1e-9, rtol=0)
    assert not torch.allclose(batch.images[0], batch.images[1], atol=1e-2)


def test_a_run_starts_at_the_rendered_start():
    """The first objective is that of the image that the start is rendered to."""
    found = run(class_logit(0), steps=2, robustness=None)
    start = Fourier().start((9, 7), torch.Generator().manual_seed(0)).double()
    image = zscore(Fourier().render(start[None], (9, 7)))
    torch.testing.assert_close(found.history[:, 0], make_network().eval()(image)[:, 0].detach())


def test_robustness_removes_what_a_shift_destroys():
    """A chequered filter excites itself fully without jitter and hardly at all under jitter."""
    network = make_linear(torch.tensor([[1.0, -1], [-1, 1]]).repeat(4, 4))
    jitter = Robustness(jitter_px=2, scale=0, rotate_deg=0)
    still, moved = (
        run(class_logit(0), network, (8, 8), steps=40, robustness=robustness).values.item()
        for robustness in (None, jitter)
    )
    assert still > 0.9 * 64
    assert moved < 0.5 * 64


def test_bf16_autocast_climbs_like_float32():
    """Under bf16 autocast the objective gets as far within a few per cent; settings are JSON."""
    exact, rough = (
        run(network=make_network(torch.float32), steps=30, robustness=None, precision=name)
        for name in ("32-true", "bf16-mixed")
    )
    assert rough.values.item() == pytest.approx(exact.values.item(), rel=0.05)
    assert json.loads(json.dumps(rough.config)) == rough.config
    assert rough.config["image"] == "Fourier(decay=1.0, std=0.01)"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_agrees_with_cpu():
    """A few steps on a GPU end where the CPU ends."""
    found = run(network=make_network().cuda(), steps=4)
    assert found.images.is_cuda
    torch.testing.assert_close(found.images.cpu(), run(steps=4).images, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"objective": []}, "Invalid number of objectives 0"),
        ({"lr": 0}, "Invalid lr 0"),
        ({"optimizer": "lbfgs"}, "Invalid optimizer 'lbfgs'. Must be one of: 'adam', 'sgd'"),
        ({"precision": "16"}, "Invalid precision '16'"),
        ({"objective": class_logit(2)}, "Invalid class 2. Must be from 0 to 1"),
    ],
)
def test_wrong_arguments_are_refused(settings, match):
    """What is out of range raises one line before or at the first step."""
    settings = {"objective": class_margin(1), "shape": (9, 7), "seeds": [0], "steps": 8} | settings
    with pytest.raises(ValueError, match=match):
        maximize(make_network(), progress=False, **settings)


def test_constant_images_have_no_gradient():
    """Starting from zeros under z-score raises instead of giving NaN images."""
    with pytest.raises(FloatingPointError, match=r"class_margin\(1\) from seed 0 is NaN or inf"):
        run(image=Pixels(std=0))
