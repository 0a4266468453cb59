"""Class activation maps: torchcam and Captum as referees, identities, and the tests of maps."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from noise import make_noise
from tiny_networks import OneBlock
from torch import nn
from torchcam.methods import CAM

from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.xai.cam import cam, randomize_cascade, split_energy, trace_curves


def make_brightness() -> OneBlock:
    """Class 1 wins by as much as the mean amplitude of the patch, which is its own map."""
    model = OneBlock()
    model.block, model.head = nn.Identity(), nn.Linear(1, 2, bias=False)
    model.head.weight.data = torch.tensor([[0.0], [1.0]])
    return model


@pytest.fixture(scope="module")
def classifier() -> SaltClassifier:
    """Four classes on the concatenated latent of a small encoder."""
    return SaltClassifier(4, "resnet18")


@pytest.mark.parametrize("class_index", [0, 2])
def test_equals_torchcam(class_index: int) -> None:
    """For a single block the map is torchcam's CAM without normalisation."""
    model, patches = OneBlock().eval(), make_noise(2, 1, 18, 23)
    found = cam(model, patches, class_index)
    with CAM(model, "block", fc_layer="head", input_shape=(1, 18, 23)) as referee:
        (expected,) = referee(class_index, model(patches), normalized=False)
    torch.testing.assert_close(found.blocks[0][:, 0], expected)


@pytest.mark.parametrize("class_index", [0, 2])
@pytest.mark.parametrize("name", ["block", "block4"])
def test_equals_captum(class_index: int, name: str, classifier: SaltClassifier) -> None:
    """A single block's map, and that of the last block, is H W times Captum's LayerGradCam."""
    model = (OneBlock() if name == "block" else copy.deepcopy(classifier)).eval()
    patches = make_noise(2, 1, 70, 99)
    expected = LayerGradCam(model, getattr(model, name)).attribute(patches, target=class_index)
    block = cam(model, patches, class_index).blocks[-1]
    torch.testing.assert_close(block, block[0].numel() * expected.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shape", [(33, 47), (64, 64), (75, 150)])
def test_means_and_bias_are_logit(shape: tuple[int, int], classifier: SaltClassifier) -> None:
    """Of one block, and of the four of the latent, the means and the bias add up to the logit."""
    patches = make_noise(2, 1, *shape).double()
    for model in (OneBlock().double().eval(), copy.deepcopy(classifier).double().eval()):
        found = cam(model, patches, 1)
        with torch.no_grad():
            logits = model(patches)[:, 1]
        means = sum(block.mean(dim=(1, 2, 3)) for block in found.blocks)
        bias = model.head.bias[1].detach()
        torch.testing.assert_close(means + bias, logits, atol=1e-12, rtol=1e-12)


def test_map_is_sum_of_upsampled_blocks(classifier: SaltClassifier) -> None:
    """The map is as large as the patch, signed, and the sum of its blocks up-sampled."""
    found = cam(classifier, make_noise(2, 1, 64, 96), 1)
    assert [tuple(block.shape) for block in found.blocks] == [
        (2, 1, 16 // k, 24 // k) for k in (1, 2, 4, 8)
    ]
    expected = sum(F.interpolate(block, (64, 96), mode="bilinear") for block in found.blocks)
    torch.testing.assert_close(found.maps, expected)
    assert found.maps.min() < 0 < found.maps.max()


def test_randomization_destroys_the_map(classifier: SaltClassifier) -> None:
    """Shuffled from the head down, a map correlates with itself first and hardly ever after."""
    found = randomize_cascade(classifier, make_noise(3, 1, 64, 64), 1, seed=0)
    stages = ["intact", "head", "block4", "block3", "block2", "block1", "stem", "merger"]
    assert list(found) == stages
    torch.testing.assert_close(found["intact"], torch.ones(3))
    assert all(found[stage].abs().mean() < 0.7 for stage in stages[1:])


def test_curves_in_closed_form() -> None:
    """Deleting twentieths at 10, where surroundings have mean 5, takes a quarter off the logit."""
    model, patches = make_brightness(), torch.zeros(1, 1, 20, 10)
    patches[..., :5] = 10.0
    found = trace_curves(model, patches, patches, 1)
    torch.testing.assert_close(found.fractions, torch.arange(21) / 20)
    logits = 5 - 2.5 * (1 - (torch.arange(21) / 10 - 1).abs())  # the other half comes back to 5
    torch.testing.assert_close(found.deletion[0], logits.sigmoid())
    torch.testing.assert_close(found.insertion[0], (10 - logits).sigmoid())
    torch.testing.assert_close(found.deletion_area, torch.trapezoid(found.deletion, dx=0.05, dim=1))
    worst = trace_curves(model, patches, -patches, 1)
    assert found.insertion_area > worst.insertion_area
    assert found.deletion_area < worst.deletion_area


def test_energy_in_closed_form() -> None:
    """A half-space has a band of 2 w rows, a map inside all energy there, all salt no band."""
    masks = torch.zeros(3, 1, 20, 10, dtype=torch.bool)
    masks[:2, :, 10:], masks[2] = True, True
    maps = torch.ones(3, 1, 20, 10)
    maps[1] = 0
    maps[1, 0, 15, 3] = -7.0
    found = split_energy(maps, masks, width_px=3)
    assert found["band"].tolist() == [pytest.approx(6 / 20), 0, 0]
    assert found["inside"].tolist() == [pytest.approx(7 / 20), 1, 1]
    assert found["outside"].tolist() == [pytest.approx(7 / 20), 0, 0]


IMAGES = make_noise(2, 1, 18, 23)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cam(OneBlock(), IMAGES, 3), "Invalid class_index 3"),
        (lambda: cam(OneBlock(n_inputs=6), IMAGES, 0), "Invalid model: 6 inputs of the head"),
        (lambda: randomize_cascade(OneBlock(), IMAGES, 0, seed=-1), "Invalid seed"),
        (lambda: trace_curves(OneBlock(), IMAGES, IMAGES[1:], 0), "Shapes differ"),
        (lambda: split_energy(IMAGES, IMAGES[1:] > 0), "Shapes differ"),
        (lambda: split_energy(0 * IMAGES, IMAGES > 0), "Must have energy"),
        (lambda: split_energy(IMAGES, IMAGES > 0, width_px=0), "Invalid width_px 0"),
    ],
)
def test_refuses(call: Callable[[], object], message: str) -> None:
    """Values out of range are named, with what is allowed."""
    with pytest.raises(ValueError, match=message):
        call()


def test_refuses_types() -> None:
    """Classes are whole numbers, models classifiers with a linear head, masks boolean."""
    with pytest.raises(TypeError, match=r"Invalid class_index 0\.0"):
        cam(OneBlock(), IMAGES, 0.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Invalid model SaltUNet"):
        cam(SaltUNet("test_resnet"), IMAGES, 0)
    with pytest.raises(TypeError, match="Must be a boolean"):
        split_energy(IMAGES, IMAGES)
