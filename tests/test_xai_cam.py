"""Class activation maps: torchcam and Captum as referees, identities, and the tests of maps."""

import copy
from collections.abc import Callable

import pytest
import torch
from captum.attr import LayerGradCam
from torch import Tensor, nn
from torchcam.methods import CAM

from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.xai.cam import cam, randomize_cascade, split_energy, trace_curves, upsample


class OneBlock(nn.Module):
    """A convolution, the mean over the map, and a head of three classes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.block = nn.Sequential(nn.Conv2d(1, 5, 3, stride=2, padding=1), nn.Tanh())
            self.head = nn.Linear(5, 3)

    def features(self, x: Tensor) -> list[Tensor]:
        """One map (B, 5, h, w)."""
        return [self.block(x)]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 3)."""
        logits: Tensor = self.head(self.block(x).mean(dim=(2, 3)))
        return logits


class Brightness(nn.Module):
    """Class 1 wins by as much as the mean amplitude."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(1, 2, bias=False)
        self.head.weight.data = torch.tensor([[0.0], [1.0]])

    def features(self, x: Tensor) -> list[Tensor]:
        """The patch itself."""
        return [x]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 2)."""
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


def make_patches(n: int = 2, shape: tuple[int, int] = (18, 23)) -> Tensor:
    """Seeded noise."""
    return torch.randn(n, 1, *shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def classifier() -> SaltClassifier:
    """Four classes on the concatenated latent of a small encoder."""
    return SaltClassifier(4, "resnet18")


@pytest.mark.parametrize("class_index", [0, 2])
def test_equals_torchcam(class_index: int) -> None:
    """For a single block the map is torchcam's CAM without normalisation."""
    model, patches = OneBlock().eval(), make_patches()
    found = cam(model, patches, class_index)
    with CAM(model, "block", fc_layer="head", input_shape=(1, 18, 23)) as referee:
        (expected,) = referee(class_index, model(patches), normalized=False)
    torch.testing.assert_close(found.blocks[0][:, 0], expected)


@pytest.mark.parametrize("class_index", [0, 2])
def test_equals_captum(class_index: int, classifier: SaltClassifier) -> None:
    """A single block's map, and that of the last block, is H W times Captum's LayerGradCam."""
    model = OneBlock().eval()
    patches = make_patches()
    expected = LayerGradCam(model, model.block).attribute(patches, target=class_index)
    block = cam(model, patches, class_index).blocks[0]
    torch.testing.assert_close(block, block[0].numel() * expected.detach())

    last = copy.deepcopy(classifier).eval()
    patches = make_patches(shape=(70, 99))
    expected = LayerGradCam(last, last.block4).attribute(patches, target=class_index)
    block = cam(last, patches, class_index).blocks[-1]
    torch.testing.assert_close(block, block[0].numel() * expected.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(64, 64), (99, 99), (75, 150)])
def test_means_and_bias_are_logit(shape: tuple[int, int], classifier: SaltClassifier) -> None:
    """Means of the four blocks' maps and the bias add up to the logit of the network."""
    patches = make_patches(shape=shape)
    found = cam(classifier, patches, 3)
    means = sum(block.mean(dim=(1, 2, 3)) for block in found.blocks)
    with torch.no_grad():
        logits = copy.deepcopy(classifier).eval()(patches)[:, 3]
    torch.testing.assert_close(means + found.bias, logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.logits, logits, atol=1e-5, rtol=1e-5)


def test_means_and_bias_are_logit_in_double_precision(classifier: SaltClassifier) -> None:
    """Of one block, and of the four of the latent, the sum is the logit to twelve digits."""
    patches = make_patches(shape=(33, 47)).double()
    for model in (OneBlock().double(), copy.deepcopy(classifier).double().eval()):
        found = cam(model, patches, 1)
        with torch.no_grad():
            logits = model(patches)[:, 1]
        means = sum(block.mean(dim=(1, 2, 3)) for block in found.blocks)
        torch.testing.assert_close(means + found.bias, logits, atol=1e-12, rtol=1e-12)


def test_map_is_sum_of_upsampled_blocks(classifier: SaltClassifier) -> None:
    """The map is as large as the patch, signed, and the sum of its blocks up-sampled."""
    found = cam(classifier, make_patches(shape=(64, 96)), 1)
    assert [tuple(block.shape) for block in found.blocks] == [
        (2, 1, 16 // k, 24 // k) for k in (1, 2, 4, 8)
    ]
    expected = sum(upsample(block, (64, 96)) for block in found.blocks)
    torch.testing.assert_close(found.maps, expected)
    assert found.maps.min() < 0 < found.maps.max()


def test_upsampling_keeps_the_mean_of_constants_and_the_middle() -> None:
    """A constant stays one, and a lone bright pixel lands on the middle of what it covers."""
    assert torch.equal(
        upsample(torch.full((1, 1, 2, 3), 4.0), (8, 9)), torch.full((1, 1, 8, 9), 4.0)
    )
    spot = torch.zeros(1, 1, 3, 3)
    spot[0, 0, 1, 1] = 1
    large = upsample(spot, (12, 12))[0, 0]
    torch.testing.assert_close(large, large.flip(0, 1))
    assert large.argmax() in (5 * 12 + 5, 5 * 12 + 6, 6 * 12 + 5, 6 * 12 + 6)


def test_precision_and_model_are_kept(classifier: SaltClassifier) -> None:
    """A bf16 network gives float32 maps; modes and hooks stay as they were."""
    model = copy.deepcopy(classifier).bfloat16().train()
    found = cam(model, make_patches(shape=(64, 64)), 0)
    assert found.maps.dtype == torch.float32
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())
    wanted = cam(classifier, make_patches(shape=(64, 64)), 0)
    torch.testing.assert_close(found.logits, wanted.logits, atol=0.1, rtol=0.1)


def test_randomization_destroys_the_map(classifier: SaltClassifier) -> None:
    """Shuffled from the head down, a map correlates with itself first and hardly ever after."""
    before = copy.deepcopy(classifier.state_dict())
    state = torch.random.get_rng_state()
    patches = make_patches(3, (64, 64))
    found = randomize_cascade(classifier, patches, 1, seed=0)
    stages = ["intact", "head", "block4", "block3", "block2", "block1", "stem", "merger"]
    assert list(found) == stages
    torch.testing.assert_close(found["intact"], torch.ones(3))
    assert all(found[stage].abs().mean() < 0.7 for stage in stages[1:])
    after = classifier.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert torch.equal(torch.random.get_rng_state(), state)
    again = randomize_cascade(classifier, patches, 1, seed=0)
    assert all(torch.equal(again[stage], found[stage]) for stage in stages)


def test_curves_of_brightness() -> None:
    """Of a patch with a bright half, the best map deletes it first, the worst one last."""
    patches = torch.zeros(1, 1, 8, 8)
    patches[..., :4] = 10.0
    best = trace_curves(Brightness(), patches, patches, 1, steps=4, window_px=1)
    torch.testing.assert_close(best.deletion, best.deletion[:, :1].expand(1, 5))  # mean of 1 pixel

    found = trace_curves(Brightness(), patches, patches, 1, steps=4, window_px=15)
    worst = trace_curves(Brightness(), patches, -patches, 1, steps=4, window_px=15)
    assert found.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.insertion_area > worst.insertion_area
    assert found.deletion_area < worst.deletion_area


def test_curves_in_closed_form() -> None:
    """Deleting quarters at 10, where surroundings have mean 5, takes 1.25 from the logit each."""
    patches = torch.zeros(1, 1, 8, 8)
    patches[..., :4] = 10.0
    found = trace_curves(Brightness(), patches, patches, 1, steps=4, window_px=15)
    ends = torch.tensor([5.0, 5.0]).sigmoid()
    torch.testing.assert_close(found.deletion[0, [0, -1]], ends)
    torch.testing.assert_close(found.deletion[0, :3], torch.tensor([5.0, 3.75, 2.5]).sigmoid())
    torch.testing.assert_close(found.insertion[0, 2:3], torch.tensor([7.5]).sigmoid())
    torch.testing.assert_close(found.deletion_area, torch.trapezoid(found.deletion, dx=0.25, dim=1))


def test_energy_in_closed_form() -> None:
    """A constant map on a half-space has a band of 2 w rows; a map inside has all energy there."""
    masks = torch.zeros(2, 1, 20, 10, dtype=torch.bool)
    masks[:, :, 10:] = True
    maps = torch.ones(2, 1, 20, 10)
    maps[1] = 0
    maps[1, 0, 15, 3] = -7.0
    found = split_energy(maps, masks, width_px=3)
    assert found["band"].tolist() == [pytest.approx(6 / 20), 0]
    assert found["inside"].tolist() == [pytest.approx(7 / 20), 1]
    assert found["outside"].tolist() == [pytest.approx(7 / 20), 0]


def test_energy_without_perimeter() -> None:
    """Where all is salt there is no band, and all energy lies inside."""
    masks = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    found = split_energy(torch.ones(1, 1, 6, 6), masks)
    assert [found[name].item() for name in ("band", "inside", "outside")] == [0, 1, 0]


IMAGES = make_patches()


class Misfit(OneBlock):
    """Its head expects more channels than its block has."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: cam(OneBlock(), IMAGES, 3), ValueError, "Invalid class_index 3"),
        (lambda: cam(OneBlock(), IMAGES, 0.0), TypeError, "Invalid class_index 0.0"),  # type: ignore[arg-type]
        (lambda: cam(SaltUNet("resnet18"), IMAGES, 0), TypeError, "Invalid model SaltUNet"),  # type: ignore[arg-type]
        (lambda: cam(Misfit(), IMAGES, 0), ValueError, "head of 6 inputs"),
        (lambda: randomize_cascade(OneBlock(), IMAGES, 0, seed=-1), ValueError, "Invalid seed"),
        (lambda: trace_curves(OneBlock(), IMAGES, IMAGES, 9), ValueError, "Invalid class_index"),
        (lambda: trace_curves(OneBlock(), IMAGES, IMAGES[1:], 0), ValueError, "Shapes differ"),
        (
            lambda: trace_curves(OneBlock(), IMAGES, IMAGES, 0, steps=0),
            ValueError,
            "Invalid steps",
        ),
        (
            lambda: trace_curves(OneBlock(), IMAGES, IMAGES, 0, window_px=4),
            ValueError,
            "Invalid window_px 4. Must be odd",
        ),
        (lambda: split_energy(IMAGES, IMAGES[1:] > 0), ValueError, "Shapes differ"),
        (lambda: split_energy(IMAGES, IMAGES), TypeError, "Must be a boolean"),
        (lambda: split_energy(0 * IMAGES, IMAGES > 0), ValueError, "Must have energy"),
        (
            lambda: split_energy(IMAGES, IMAGES > 0, width_px=0),
            ValueError,
            "Invalid width_px 0",
        ),
    ],
)
def test_refuses(call: Callable[[], object], error: type[Exception], message: str) -> None:
    """Bad arguments are named, with what is allowed."""
    with pytest.raises(error, match=message):
        call()
