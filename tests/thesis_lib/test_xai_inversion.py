"""Network inversion: closed forms, recomputed residuals, and batches against single runs."""

from typing import Any

import pytest
import torch
from noise import make_noise
from torch import Tensor, nn

from thesis_lib.model import SaltClassifier
from thesis_lib.xai import Inversion, invert
from thesis_lib.xai.inversion import alpha_norm, total_variation


def make_orthogonal(n_pixels: int = 72) -> nn.Module:
    """Rotates all pixels of a patch by one orthogonal matrix."""
    layer = nn.Linear(n_pixels, n_pixels, bias=False, dtype=torch.float64)
    matrix = make_noise(n_pixels, n_pixels, seed=1, dtype=torch.float64)
    layer.weight.data = torch.linalg.qr(matrix).Q
    return nn.Sequential(nn.Flatten(), layer)


def make_network() -> nn.Sequential:
    """Two convolutions, the first with batch normalisation."""
    model = nn.Sequential()
    first = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
    model.add_module("block1", first)
    model.add_module("block2", nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU()))
    generator = torch.Generator().manual_seed(2)
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5
    return model


def make_patches(n: int, shape: tuple[int, int] = (9, 8)) -> Tensor:
    """Smooth seeded patches of mean 0 and deviation 1."""
    smooth = nn.functional.avg_pool2d(make_noise(n, 1, *shape, seed=3), 3, stride=1, padding=1)
    return (smooth - smooth.mean((2, 3), True)) / smooth.std((2, 3), keepdim=True)


def run(model: nn.Module, layer: str, patches: Tensor, **options: Any) -> Inversion:
    """Invert without a progress bar, from seed 0 where none is given."""
    return invert(model, layer, patches, **{"seeds": [0], "progress": False, **options})


def measure_residual(features: Tensor, target: Tensor) -> Tensor:
    """Squared distance of features to their target, relative to its squared length."""
    distance: Tensor = (features - target).flatten(1).norm(dim=1)
    return (distance / target.flatten(1).norm(dim=1)) ** 2


FREE = {"norm_weight": 0.0, "variation_weight": 0.0}


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_orthogonal_layer_returns_patch(optimizer: str) -> None:
    """The inversion of an orthogonal layer is the patch itself, whatever the optimizer."""
    patches = make_patches(2).double()
    found = run(
        make_orthogonal(), "1", patches, optimizer=optimizer, tolerance=1e-8, steps=600, **FREE
    )
    assert found.converged.all()
    torch.testing.assert_close(found.images, patches, atol=1e-3, rtol=0)


def test_warm_start_avoids_local_minima() -> None:
    """Behind a max pool no patch is inverted from pixels alone, and all are with a warm start."""
    pooled = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2, bias=False), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
    ).double()
    pooled[0].weight.data = (make_noise(8, 1, 5, 5, seed=2) / 5).double()
    patches = make_patches(4, (31, 40)).double()
    alone = run(pooled, "2", patches, steps=100, warm_start=0)
    found = run(pooled, "2", patches, steps=100)
    assert not alone.converged.any()
    assert found.converged.all()
    with torch.no_grad():  # of the network with its max pool
        expected = measure_residual(pooled(found.images), pooled(patches))
    torch.testing.assert_close(found.residual, expected)


def test_residual_is_recomputed() -> None:
    """The residual is that of the images' features, and the flags compare it."""
    model, patches = make_network().double().eval(), make_patches(2).double()
    found = run(model, "block1", patches, seeds=[0, 1], tolerance=0.0004, steps=20)
    with torch.no_grad():
        target = model.block1(patches).repeat_interleave(2, dim=0)
        expected = measure_residual(model.block1(found.images), target)
    torch.testing.assert_close(found.residual, expected)
    assert torch.equal(found.converged, found.residual < 0.0004)
    assert torch.equal(found.history[:, -1], found.residual)
    assert (found.patches, found.seeds) == ((0, 0, 1, 1), (0, 1, 0, 1))
    assert (found.evaluations >= (found.history.diff(dim=1) != 0).sum(dim=1) + 1).all()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("network", ["tiny", "residual"])
def test_batch_equals_single_runs(optimizer: str, network: str) -> None:
    """A batch of three seeds equals its three single runs, also behind a max pool."""
    model: nn.Module = make_network().double()
    patches, steps = make_patches(1), 30
    if network == "residual":
        model, steps = SaltClassifier(2, "test_resnet", seed=1).double(), 3
        patches = make_patches(1, (33, 47))
    options: dict[str, Any] = {"optimizer": optimizer, "tolerance": 0.0025, "steps": steps}
    options |= {"warm_start": 3, "lr": 0.02}
    batch = run(model, "block2", patches, seeds=[5, 6, 7], **options)
    for row, seed in enumerate([5, 6, 7]):
        alone = run(model, "block2", patches, seeds=[seed], **options)
        torch.testing.assert_close(alone.images[0], batch.images[row], atol=1e-9, rtol=0)
        torch.testing.assert_close(alone.residual[0], batch.residual[row], atol=1e-9, rtol=0)
        assert alone.evaluations[0] == batch.evaluations[row]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_early_stop_per_image(optimizer: str) -> None:
    """An image rests as soon as it is below the tolerance, while the others go on."""
    options: dict[str, Any] = {"optimizer": optimizer, "tolerance": 0.01, "steps": 400}
    found = run(make_network().double(), "block2", make_patches(3), **options)
    for history, evaluations in zip(found.history, found.evaluations, strict=True):
        first = int((history < 0.01).nonzero()[0, 0])
        assert (history[first:] == history[first]).all()
        assert evaluations > first


@pytest.mark.parametrize("weight", ["norm_weight", "variation_weight"])
def test_weights_hold_images_down(weight: str) -> None:
    """A large weight of either regulariser lowers what it measures and raises the residual."""
    patches = make_patches(1)
    options: dict[str, Any] = {"steps": 40, "tolerance": 0.0, **FREE}
    free = run(make_network(), "block1", patches, **options)
    held = run(make_network(), "block1", patches, **{**options, weight: 10.0})
    assert held.images.abs().mean() < free.images.abs().mean()
    assert held.residual > free.residual


def test_weights_follow_amplitudes() -> None:
    """Patches of tenfold amplitude, at a layer that scales with them, are inverted tenfold."""
    patches, model = make_patches(1).double(), make_orthogonal()
    options: dict[str, Any] = {"steps": 60, "tolerance": 0.0, "norm_weight": 0.1}
    once = run(model, "1", patches, **options)
    tenfold = run(model, "1", 10 * patches, **options)
    torch.testing.assert_close(tenfold.images, 10 * once.images, atol=1e-3, rtol=1e-3)


def test_regularisers_of_a_drawing() -> None:
    """Of pixels 2 and 1 at a distance, the alpha-norm is 2^6 + 1 and the total variation 18."""
    drawing = torch.tensor([[0.0, 0, 0], [0, 2, 0], [0, 0, 1]])[None, None]
    both = torch.cat([drawing, -drawing])
    assert alpha_norm(both).tolist() == [65, 65]
    assert total_variation(both).tolist() == [18, 18]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"patches": torch.ones(1, 1, 4, 4)}, "Invalid patch 0: constant or NaN"),
        ({"steps": 0}, "Invalid steps 0"),
        ({"tolerance": -1.0}, "Invalid tolerance"),
        ({"optimizer": "newton"}, "Invalid optimizer 'newton'"),
        ({"warm_start": -1}, "Invalid warm_start -1"),
        ({"variation_weight": -1.0}, "Invalid variation_weight"),
        ({"precision": "fp8"}, "Invalid precision 'fp8'"),
    ],
)
def test_refuses(changed: dict[str, Any], message: str) -> None:
    """Values out of range are named, with what is allowed."""
    options = {"layer": "block1", "patches": make_patches(1), "seeds": [0]} | changed
    with pytest.raises(ValueError, match=message):
        invert(make_network(), progress=False, **options)


def test_refuses_what_has_no_residual() -> None:
    """A patch whose activations are all 0, and a learning rate that makes the residual infinite."""
    model = make_network()
    model.block1[1].bias.data -= 1e9
    with pytest.raises(ValueError, match=r"Invalid patch of image 0.* Must excite the layer"):
        run(model, "block1", make_patches(1))
    options: dict[str, Any] = {"optimizer": "adam", "lr": 1e30, "steps": 20}
    with pytest.raises(FloatingPointError, match="residual of image 0 is NaN or infinite"):
        run(make_network(), "block1", make_patches(1), **options)
