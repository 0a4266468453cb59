"""Network inversion: closed forms, batches against single runs, and nothing left behind."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.xai.inversion import Inversion, feature_distance, invert


class Orthogonal(nn.Module):
    """Rotates all pixels of a patch by one orthogonal matrix."""

    def __init__(self, n_pixels: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        matrix = torch.randn(n_pixels, n_pixels, generator=generator, dtype=torch.float64)
        self.layer = nn.Linear(n_pixels, n_pixels, bias=False, dtype=torch.float64)
        self.layer.weight.data = torch.linalg.qr(matrix).Q

    def forward(self, x: Tensor) -> Tensor:
        """Return rotated pixels (B, n_pixels)."""
        rotated: Tensor = self.layer(x.flatten(1))
        return rotated


class TinyNet(nn.Module):
    """Two convolutions with batch normalisation, and a layer never run."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(2)
        self.block1 = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.block2 = nn.Sequential(nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True))
        self.idle = nn.Identity()
        for weight in self.parameters():
            weight.data = torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5

    def forward(self, x: Tensor) -> Tensor:
        """Run both blocks."""
        found: Tensor = self.block2(self.block1(x))
        return found


def make_patches(n: int, shape: tuple[int, int] = (9, 8)) -> Tensor:
    """Smooth seeded patches of mean 0 and deviation 1."""
    noise = torch.randn(n, 1, *shape, generator=torch.Generator().manual_seed(3))
    smooth = nn.functional.avg_pool2d(noise, 3, stride=1, padding=1)
    return (smooth - smooth.mean((2, 3), True)) / smooth.std((2, 3), keepdim=True)


def run(model: nn.Module, layer: str, patches: Tensor, **options: Any) -> Inversion:
    """Invert without a progress bar, from seed 0 where none is given."""
    return invert(model, layer, patches, **{"seeds": [0], "progress": False, **options})


FREE = {"norm_weight": 0.0, "variation_weight": 0.0}


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "sgd"])
def test_orthogonal_layer_returns_patch(optimizer: str) -> None:
    """The inversion of an orthogonal layer is the patch itself, whatever the optimizer."""
    patches = make_patches(2).double()
    found = run(
        Orthogonal(72), "layer", patches, optimizer=optimizer, tolerance=1e-8, steps=600, **FREE
    )
    assert found.converged.all()
    torch.testing.assert_close(found.images, patches, atol=1e-3, rtol=0)


def test_isometry_in_one_step() -> None:
    """Half a unit of SGD without momentum inverts an isometry of a z-scored patch at once."""
    patches = make_patches(1).double()
    patches = patches / patches.square().mean().sqrt()
    found = run(
        Orthogonal(72), "layer", patches, optimizer="sgd", lr=0.5, momentum=0.0, steps=1, **FREE
    )
    torch.testing.assert_close(found.images, patches)


def test_lbfgs_needs_few_steps() -> None:
    """On an orthogonal layer all curvatures agree, and L-BFGS needs three steps at most."""
    options: dict[str, Any] = {"tolerance": 1e-18, "approach": 0, **FREE}
    found = run(Orthogonal(72), "layer", make_patches(1).double(), **options)
    assert found.history.shape[1] <= 4


def test_approach_leads_past_local_minima() -> None:
    """Behind a max pool no patch is inverted from pixels alone, and with the approach all are."""
    pooled = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2, bias=False), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)
    )
    weight = torch.randn(8, 1, 5, 5, generator=torch.Generator().manual_seed(2)) / 5
    pooled[0].weight.data = weight
    patches = make_patches(4, (31, 40))
    alone = run(pooled, "2", patches, steps=100, approach=0)
    found = run(pooled, "2", patches, steps=100)
    assert not alone.converged.any()
    assert found.converged.all()
    with torch.no_grad():  # of the network with its max pool
        distance = feature_distance(pooled(found.images), pooled(patches)) ** 2
    torch.testing.assert_close(found.residual, distance)


def test_residual_is_recomputed() -> None:
    """The residual is the square of the images' feature distance, and the flags compare it."""
    model, patches = TinyNet().eval(), make_patches(2)
    found = run(model, "block1", patches, seeds=[0, 1], tolerance=0.0004, steps=20)
    with torch.no_grad():
        target = model.block1(patches).repeat_interleave(2, dim=0)
        distance = feature_distance(model.block1(found.images), target) ** 2
    torch.testing.assert_close(found.residual, distance)
    assert torch.equal(found.converged, distance < 0.0004)
    assert torch.equal(found.history[:, -1], found.residual)
    assert (found.patches, found.seeds) == ((0, 0, 1, 1), (0, 1, 0, 1))
    assert (found.evaluations >= (found.history.diff(dim=1) != 0).sum(dim=1) + 1).all()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam", "sgd"])
@pytest.mark.parametrize(
    ("dtype", "steps", "tolerance"), [(torch.float32, 8, 1e-4), (torch.float64, 30, 1e-9)]
)
def test_batch_equals_single_runs(
    optimizer: str, dtype: torch.dtype, steps: int, tolerance: float
) -> None:
    """A batch of three seeds equals its three single runs but for rounding, which steps amplify."""
    model, patches = TinyNet().to(dtype), make_patches(1)
    options: dict[str, Any] = {"optimizer": optimizer, "tolerance": 0.0025, "steps": steps}
    batch = run(model, "block2", patches, seeds=[5, 6, 7], lr=0.02, **options)
    for row, seed in enumerate([5, 6, 7]):
        alone = run(model, "block2", patches, seeds=[seed], lr=0.02, **options)
        torch.testing.assert_close(alone.images[0], batch.images[row], atol=tolerance, rtol=0)
        torch.testing.assert_close(alone.residual[0], batch.residual[row], atol=tolerance, rtol=0)
        assert alone.evaluations[0] == batch.evaluations[row]


def test_batch_of_a_residual_network_equals_its_single_runs() -> None:
    """In float32, three seeds through a block behind a max pool end where each ends alone."""
    model, patches = SaltClassifier(2, "test_resnet", seed=1), make_patches(1, (33, 47))
    options: dict[str, Any] = {"approach": 3, "steps": 3}
    batch = run(model, "block2", patches, seeds=[5, 6, 7], **options)
    for row, seed in enumerate([5, 6, 7]):
        alone = run(model, "block2", patches, seeds=[seed], **options)
        torch.testing.assert_close(alone.images[0], batch.images[row], atol=1e-3, rtol=0)


def test_same_seed_is_bit_identical() -> None:
    """The same seed gives the same image, bit for bit."""
    first, second = (run(TinyNet(), "block2", make_patches(2), steps=5) for _ in range(2))
    assert torch.equal(first.images, second.images)


def test_early_stop_per_image() -> None:
    """An image rests as soon as it is below the tolerance, while the others go on."""
    found = run(TinyNet(), "block2", make_patches(3), seeds=[0], tolerance=0.01, steps=100)
    for history, evaluations in zip(found.history, found.evaluations, strict=True):
        first = int((history < 0.01).nonzero()[0, 0])
        assert (history[first:] == history[first]).all()
        assert evaluations > first


@pytest.mark.parametrize("weight", ["norm_weight", "variation_weight"])
def test_weights_hold_images_down(weight: str) -> None:
    """A large weight of either regulariser lowers what it measures and raises the residual."""
    patches = make_patches(1)
    options: dict[str, Any] = {"steps": 40, "tolerance": 0.0, **FREE}
    free = run(TinyNet(), "block1", patches, **options)
    held = run(TinyNet(), "block1", patches, **{**options, weight: 10.0})
    assert held.images.abs().mean() < free.images.abs().mean()
    assert held.residual > free.residual


def test_weights_follow_amplitudes() -> None:
    """Patches of tenfold amplitude, at a layer that scales with them, are inverted tenfold."""
    patches, model = make_patches(1).double(), Orthogonal(72)
    options: dict[str, Any] = {"steps": 60, "tolerance": 0.0, "norm_weight": 0.1}
    once = run(model, "layer", patches, **options)
    tenfold = run(model, "layer", 10 * patches, **options)
    torch.testing.assert_close(tenfold.images, 10 * once.images, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("make", [SaltUNet, lambda encoder: SaltClassifier(2, encoder)])
def test_blocks_of_our_networks(make: Callable[[str], nn.Module]) -> None:
    """Each block of both networks can be inverted on odd patches, and the residual falls."""
    model = make("test_resnet")
    for block in ("block1", "block4"):
        found = run(model, block, make_patches(1, (33, 47)), steps=2)
        assert found.images.shape == (1, 1, 33, 47)
        assert found.history[0, -1] < found.history[0, 0]
        assert found.config["layer"] == block


def test_precisions() -> None:
    """Networks in bf16, autocast or stored, are inverted with images in float32."""
    for model, precision in ((TinyNet(), "bf16-mixed"), (TinyNet().bfloat16(), "32-true")):
        options: dict[str, Any] = {"precision": precision, "steps": 10, "approach": 0}
        found = run(model, "block1", make_patches(1), **options)
        assert found.images.dtype == torch.float32
        assert found.residual < found.history[0, 0] / 4


def test_feature_distance_to_first_power() -> None:
    """From 0 to (3, 4) the normalised distance is 1, from twice the target too, from half 1/2."""
    target = torch.tensor([[3.0, 4.0]]).expand(3, 2)
    features = torch.tensor([[0.0, 0.0], [6.0, 8.0], [1.5, 2.0]])
    assert feature_distance(features, target).tolist() == [1.0, 1.0, 0.5]


def test_feature_distance_refuses() -> None:
    """Targets are of the same shape and not zero."""
    with pytest.raises(ValueError, match="Shapes differ: features"):
        feature_distance(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="Activations of patch 1 are all 0"):
        feature_distance(torch.ones(2, 2), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"patches": torch.zeros(1, 3, 4, 4)}, ValueError, "Invalid patches of shape"),
        ({"patches": torch.zeros(0, 1, 4, 4)}, ValueError, "Invalid patches of shape"),
        ({"patches": torch.ones(1, 1, 4, 4)}, ValueError, "Patch 0 is constant or NaN"),
        ({"seeds": []}, ValueError, "Invalid seeds"),
        ({"seeds": [-1]}, ValueError, "Invalid seed -1"),
        ({"seeds": [0.5]}, TypeError, "Invalid seed 0.5"),
        ({"steps": 0}, ValueError, "Invalid steps 0"),
        ({"tolerance": -1.0}, ValueError, "Invalid tolerance"),
        ({"optimizer": "newton"}, ValueError, "Invalid optimizer 'newton'"),
        ({"approach": -1}, ValueError, "Invalid approach -1"),
        ({"lr": 0.0}, ValueError, "Invalid lr"),
        ({"momentum": 1.5}, ValueError, "Invalid momentum"),
        ({"norm_weight": -1.0}, ValueError, "Invalid norm_weight"),
        ({"variation_weight": -1.0}, ValueError, "Invalid variation_weight"),
        ({"precision": "fp8"}, ValueError, "Invalid precision 'fp8'"),
        ({"layer": "block9"}, ValueError, "Invalid layer 'block9'"),
        ({"layer": "idle"}, ValueError, "does not run"),
    ],
)
def test_refuses(changed: dict[str, Any], error: type[Exception], message: str) -> None:
    """Bad arguments are named, with what is allowed."""
    options = {"layer": "block1", "patches": make_patches(1), "seeds": [0]} | changed
    with pytest.raises(error, match=message):
        invert(TinyNet(), progress=False, **options)


def test_refuses_divergence() -> None:
    """A learning rate that makes the residual infinite ends with an error that says so."""
    options: dict[str, Any] = {"optimizer": "sgd", "lr": 1e30, "steps": 20}
    with pytest.raises(FloatingPointError, match="residual of image 0 is NaN or infinite"):
        run(TinyNet(), "block1", make_patches(1), **options)
