"""Network inversion: closed forms, recomputed residuals, and batches against single runs."""

from typing import Any

import numpy as np
import pytest
import torch
from noise import make_noise
from scipy.optimize import brentq
from torch import Tensor, nn

from thesis_lib.model import SaltClassifier
from thesis_lib.xai import Inversion, invert
from thesis_lib.xai.inversion import alpha_norm, total_variation

SHAPE = (9, 8)


def make_linear(n_rows: int = 72) -> nn.Module:
    """Rows of an orthogonal matrix that turns all pixels of a patch."""
    layer = nn.Linear(72, n_rows, bias=False, dtype=torch.float64)
    matrix = make_noise(72, 72, seed=1, dtype=torch.float64)
    layer.weight.data = torch.linalg.qr(matrix).Q[:n_rows].contiguous()
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


def make_patches(n: int, shape: tuple[int, int] = SHAPE) -> Tensor:
    """Smooth seeded patches of mean 0 and deviation 1."""
    smooth = nn.functional.avg_pool2d(make_noise(n, 1, *shape, seed=3), 3, stride=1, padding=1)
    return (smooth - smooth.mean((2, 3), True)) / smooth.std((2, 3), keepdim=True)


def run(model: nn.Module, layer: str, patches: Tensor, **options: Any) -> Inversion:
    """Invert without a progress bar."""
    return invert(model, layer, patches, progress=False, **options)


def measure_residual(features: Tensor, target: Tensor) -> Tensor:
    """Squared distance of features to their target, relative to its squared length."""
    distance: Tensor = (features - target).flatten(1).norm(dim=1)
    return (distance / target.flatten(1).norm(dim=1)) ** 2


@pytest.mark.parametrize("start", ["patch", "noise"])
def test_orthogonal_layer_returns_patch(start: str) -> None:
    """Of an orthogonal layer the image differs from the patch by the residual alone."""
    patches = make_patches(2).double()
    found = run(make_linear(), "1", patches, start=start, levels=[1e-6], steps=200)
    assert found.reached.all()
    torch.testing.assert_close(found.images[0], patches, atol=0.02, rtol=0)
    distance = (found.images[0] - patches).square().sum((1, 2, 3))
    torch.testing.assert_close(distance, found.residual[0] * patches.square().sum((1, 2, 3)))


@pytest.mark.parametrize("start", ["patch", "noise"])
def test_linear_layer_gives_tikhonov(start: str) -> None:
    """Of a linear layer that loses half, the image is the Tikhonov solution of its residual."""
    model, patch = make_linear(36), make_patches(1).double()
    found = run(model, "1", patch, start=start, levels=[0.05], norm_weight=0.0, steps=200)
    rows: Tensor = model[1].weight.data  # type: ignore[index, union-attr, assignment]
    basis = torch.eye(72, dtype=torch.float64).reshape(72, 1, *SHAPE)
    steps = [basis.diff(dim=n).flatten(1) for n in (2, 3)]
    roughness = sum((step @ step.T for step in steps), torch.zeros(72, 72)) / total_variation(patch)
    target = rows @ patch.flatten()
    normal = rows.T @ rows / target.square().sum()

    def solve(weight: float) -> Tensor:
        return torch.linalg.solve(normal + weight * roughness, normal @ patch.flatten())

    def exceed(weight: float) -> float:
        residual = measure_residual((rows @ solve(weight))[None], target[None])
        return float(residual - found.residual[0, 0])

    expected = solve(brentq(exceed, 1e-6, 10.0))
    torch.testing.assert_close(found.images[0].flatten(), expected, atol=0.02, rtol=0)
    assert 0.045 < found.residual[0, 0] <= 0.05


def test_residual_and_prior_are_recomputed() -> None:
    """Residual and prior are those of the images, and the flags compare them with the levels."""
    model, patches = make_network().double().eval(), make_patches(2).double()
    found = run(model, "block2", patches, levels=[0.03, 0.1], steps=20)
    for row, level in enumerate((0.03, 0.1)):
        with torch.no_grad():
            expected = measure_residual(model(found.images[row]), model(patches))
        torch.testing.assert_close(found.residual[row], expected)
        assert torch.equal(found.reached[row], found.residual[row] <= level)
        image = found.images[row]
        prior = total_variation(image) / total_variation(patches)
        prior += 0.1 * alpha_norm(image) / alpha_norm(patches)
        torch.testing.assert_close(found.prior[row], prior)


def test_from_the_patch_every_level_is_reached() -> None:
    """From the patch no level is missed, no image rougher, and a higher level is smoother."""
    found = run(make_network(), "block2", make_patches(3), levels=[0.1, 0.03, 0.01], steps=20)
    assert found.reached.all()
    assert (found.prior < 1.1).all()
    assert (found.prior.diff(dim=0) >= 0).all()


def test_missed_levels_are_said() -> None:
    """After one round from noise a tiny level is missed: the image of lowest residual is kept."""
    options: dict[str, Any] = {"start": "noise", "steps": 10}
    model, patches = make_network(), make_patches(2)
    found = run(model, "block2", patches, levels=[1e-7, 0.5], **options)
    assert found.reached.tolist() == [[False, False], [True, True]]
    assert (found.residual[0] <= found.residual[1]).all()
    again = run(model, "block2", patches, levels=[1e-7, 0.5], **options)
    other = run(model, "block2", patches, levels=[1e-7, 0.5], seed=1, **options)
    torch.testing.assert_close(again.images, found.images)
    assert not torch.allclose(other.images, found.images, atol=1e-2)


@pytest.mark.parametrize("network", ["tiny", "residual"])
def test_batch_equals_single_runs(network: str) -> None:
    """A batch of three patches equals its three single runs, also behind a max pool."""
    model: nn.Module = make_network().double()
    patches = make_patches(3).double()
    if network == "residual":
        model = SaltClassifier(2, "test_resnet", seed=1).double()
        patches = make_patches(3, (33, 47)).double()
    options: dict[str, Any] = {"levels": [0.1], "steps": 20}
    batch = run(model, "block2", patches, **options)
    for row in range(3):
        alone = run(model, "block2", patches[row : row + 1], **options)
        torch.testing.assert_close(alone.images[0, 0], batch.images[0, row], atol=1e-7, rtol=0)
        assert alone.evaluations[0] == batch.evaluations[row]


def test_prior_follows_amplitudes() -> None:
    """Patches of tenfold amplitude, at a layer that scales with them, are inverted tenfold."""
    patches, model = make_patches(1).double(), make_linear(36)
    once = run(model, "1", patches, levels=[0.1])
    tenfold = run(model, "1", 10 * patches, levels=[0.1])
    torch.testing.assert_close(tenfold.images, 10 * once.images, atol=0.05, rtol=1e-2)


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
        ({"levels": []}, "Invalid levels: empty"),
        ({"levels": [0.0]}, "Invalid level 0"),
        ({"start": "zeros"}, "Invalid start 'zeros'"),
        ({"seed": -1}, "Invalid seed -1"),
        ({"norm_weight": -1.0}, "Invalid norm_weight"),
        ({"precision": "fp8"}, "Invalid precision 'fp8'"),
    ],
)
def test_refuses(changed: dict[str, Any], message: str) -> None:
    """Values out of range are named, with what is allowed."""
    options = {"layer": "block1", "patches": make_patches(1)} | changed
    with pytest.raises(ValueError, match=message):
        invert(make_network(), progress=False, **options)


def test_refuses_what_has_no_residual() -> None:
    """A patch whose activations are all 0, and weights whose residual is not a number."""
    model = make_network()
    model.block1[1].bias.data -= 1e9
    with pytest.raises(ValueError, match=r"Invalid patch 0.* Must excite the layer"):
        run(model, "block1", make_patches(1))
    model = make_network()
    model.block1[0].weight.data[0, 0, 0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="residual of image 0 is NaN or infinite"):
        run(model, "block1", make_patches(1))
