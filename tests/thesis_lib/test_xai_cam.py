"""Class activation maps: torchcam and Captum as referees, identities; what a decision rests on."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from noise import make_noise
from tiny_networks import OneBlock
from torchcam.methods import CAM

from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.xai.cam import (
    cam,
    find_regions,
    measure_drops,
    randomize_cascade,
    replace_regions,
    split_evidence,
)


def make_half_spaces() -> torch.Tensor:
    """Masks (3, 1, 20, 10): salt below row 10, below row 16, everywhere."""
    rows = torch.arange(20)[None, None, :, None].expand(3, 1, 20, 10)
    return rows >= torch.tensor([10, 16, 0])[:, None, None, None]


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


def test_difference_of_classes_has_its_own_map(classifier: SaltClassifier) -> None:
    """The map of a class against another is the difference of their maps, and of their logits."""
    patches = make_noise(2, 1, 64, 96)
    found, one, other = (
        cam(classifier, patches, 1, against=2).maps,
        cam(classifier, patches, 1).maps,
        cam(classifier, patches, 2).maps,
    )
    torch.testing.assert_close(found, one - other, atol=1e-5, rtol=1e-4)


def test_evidence_in_closed_form() -> None:
    """A half-space has a band of 2 w rows; what speaks against the class is no evidence."""
    maps = torch.ones(3, 1, 20, 10)
    maps[1] = -1
    maps[1, 0, 18:, 3] = torch.tensor([7.0, 1.0])
    maps[2] = -1
    found = split_evidence(maps, make_half_spaces(), width_px=3)
    expected = {"band": [0.3, 7 / 8, 0], "interior": [0.35, 1 / 8, 1], "exterior": [0.35, 0, 0]}
    for name, values in expected.items():
        torch.testing.assert_close(found[name][:2], torch.tensor(values[:2]).double())
        assert found[name][2].isnan()
    everywhere = split_evidence(-maps[2:], make_half_spaces()[2:], width_px=3)
    assert [everywhere[name].item() for name in expected] == [0, 1, 0]


def test_regions_in_closed_form() -> None:
    """As many pixels as the band, farthest from the boundary; fewer where a side has fewer."""
    found = find_regions(make_half_spaces(), width_px=3)
    rows = {name: region[:, 0].sum(dim=2) // 10 for name, region in found.items()}
    expected = [("band", 7, 13), ("interior", 14, 20), ("exterior", 0, 6)]
    for name, first, last in expected:
        assert rows[name][0].nonzero()[:, 0].tolist() == list(range(first, last))
    assert [rows[name][1].nonzero()[:, 0].tolist() for name in ("band", "interior")] == [
        list(range(13, 19)),
        [19],
    ]
    assert not any(rows[name][2].any() for name in ("band", "exterior"))


def test_replaced_regions_keep_their_area() -> None:
    """The soft edge moves no area; far off, or replaced by itself, an image stays as it is."""
    zeros = torch.zeros(3, 1, 20, 10)
    region = find_regions(make_half_spaces(), width_px=3)["band"]
    found = replace_regions(zeros, region, zeros + 1)
    torch.testing.assert_close(found.sum(dim=(1, 2, 3)), region.sum(dim=(1, 2, 3)).float())
    assert found[0, 0, 9:11].min() > 0.97
    assert found[0, 0, :3].abs().max() == 0
    images = make_noise(3, 1, 20, 10)
    torch.testing.assert_close(replace_regions(images, region, images), images)


def sum_bright(images: torch.Tensor) -> torch.Tensor:
    """Amplitude beyond 3, summed up: what a network with one fixed filter would decide by."""
    return (images.abs() - 3).clamp(min=0).sum(dim=(1, 2, 3))


def test_a_bright_boundary_decides_where_nothing_else_is_bright() -> None:
    """A decision by bright reflections along the boundary drops to 0 with the band, else hardly."""
    masks = make_half_spaces()[:1].repeat_interleave(2, dim=3).repeat_interleave(2, dim=2)
    images, fills = 0.3 * make_noise(1, 1, 40, 20), 0.3 * make_noise(2, 1, 1, 40, 20)
    images[..., 19:21, :] = 6.0
    regions = find_regions(masks, width_px=3)
    drops = measure_drops(sum_bright, images, regions, fills)
    assert drops["band"] / sum_bright(images) > 0.99
    assert drops["interior"].abs() + drops["exterior"].abs() < 1e-6 * drops["band"]


def test_a_pixel_decides_only_where_it_is() -> None:
    """A decision by one pixel drops by what this pixel loses; one replaced by itself stays."""
    images, fills = make_noise(3, 1, 20, 10), torch.zeros(1, 3, 1, 20, 10)
    regions = find_regions(make_half_spaces(), width_px=3)

    def read_pixel(batch: torch.Tensor) -> torch.Tensor:
        return batch[:, 0, 17, 5]  # deep inside the first half-space

    drops = measure_drops(read_pixel, images, regions, fills)
    torch.testing.assert_close(drops["interior"][0], images[0, 0, 17, 5], atol=0.01, rtol=0.01)
    assert drops["band"][0] == drops["exterior"][0] == 0
    same = measure_drops(read_pixel, images, regions, images[None])
    assert all(drop.abs().max() < 1e-6 for drop in same.values())


IMAGES = make_noise(2, 1, 18, 23)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cam(OneBlock(), IMAGES, 3), "Invalid class_index 3"),
        (lambda: cam(OneBlock(n_inputs=6), IMAGES, 0), "Invalid model: 6 inputs of the head"),
        (lambda: randomize_cascade(OneBlock(), IMAGES, 0, seed=-1), "Invalid seed"),
        (lambda: cam(OneBlock(), IMAGES, 0, against=3), "Invalid against 3"),
        (lambda: split_evidence(IMAGES, IMAGES[1:] > 0, width_px=3), "Shapes differ"),
        (lambda: split_evidence(IMAGES, IMAGES > 0, width_px=0), "Invalid width_px 0"),
        (lambda: replace_regions(IMAGES, IMAGES[1:] > 0, IMAGES), "Shapes differ"),
        (lambda: replace_regions(IMAGES, IMAGES > 0, IMAGES[1:]), "Shapes differ"),
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
        split_evidence(IMAGES, IMAGES, width_px=3)
