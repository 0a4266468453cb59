"""Tests of patches of odd and small sizes, of single ones, and of any type of number."""

import numpy as np
import pytest
import torch
from noise import make_noise
from torch import nn

from thesis_lib.model import SaltClassifier, SaltUNet

SIZES = [(33, 47), (16, 16), (5, 70), (1, 1)]
# All of them round down, or fail at some size.
PADDED = ["dla46_c", "test_convnext", "densenet121", "edgenext_xx_small", "pvt_v2_b0", "vgg11"]


@pytest.mark.parametrize("name", PADDED)
def test_any_encoder_takes_any_size(name):
    """One logit per pixel, and blocks whose sizes are those of a ResNet."""
    model = SaltUNet(name).eval()
    assert model.padded
    for height, width in SIZES:
        with torch.no_grad():
            assert model(make_noise(1, 1, height, width)).shape == (1, 1, height, width)
            blocks = model.features(make_noise(1, 1, height, width))
        assert [block.shape[2:] for block in blocks] == [
            (-(-height // reduction), -(-width // reduction)) for reduction in (4, 8, 16, 32)
        ]


def test_what_is_continued_is_cut_back():
    """The logits are those of the patch whose last row and column are repeated to 32 pixels."""
    model = SaltUNet("test_convnext").eval()
    patch = make_noise(1, 1, 20, 31)
    rows, columns = np.minimum(np.arange(32), 19), np.minimum(np.arange(32), 30)
    with torch.no_grad():
        assert torch.equal(model(patch), model(patch[..., rows, :][..., columns])[..., :20, :31])


@pytest.mark.parametrize("name", ["resnet34", "test_resnet", "test_efficientnet", "test_nfnet"])
def test_encoders_that_round_up_see_the_patch_as_it_is(name):
    """Nothing is continued, so their results are those of earlier versions."""
    assert not SaltUNet(name).padded


@pytest.mark.parametrize("make", [SaltUNet, lambda name: SaltClassifier(2, name)])
def test_a_single_small_patch_cannot_be_trained_on(make):
    """Batch normalisation has one value per channel there: refused with what to do."""
    model = make("test_resnet")
    for side in (1, 16, 32):
        with pytest.raises(ValueError, match=rf"one patch of {side}x{side} pixels .* Must be two"):
            model(make_noise(1, 1, side, side))
    for shape in [(2, 1, 1, 1), (1, 1, 1, 33)]:
        assert model(make_noise(*shape)).shape[0] == shape[0]
    assert model.eval()(make_noise(1, 1, 1, 1)).shape[0] == 1


def test_without_batch_normalisation_a_single_small_patch_will_do():
    """A classifier that normalises nothing over the batch trains on one patch of any size."""
    model = SaltClassifier(2, "test_convnext")
    assert not any(isinstance(part, nn.BatchNorm2d) for part in model.modules())
    assert model(make_noise(1, 1, 16, 16)).shape == (1, 2)


@pytest.mark.parametrize("weights", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("images", [torch.int16, torch.float16, torch.float32, torch.float64])
def test_images_get_the_dtype_of_the_weights(weights, images):
    """Networks of any precision take images of any, and answer in their own."""
    patches = (10 * make_noise(2, 1, 32, 32)).round()
    for model in (SaltUNet("test_resnet").eval(), SaltClassifier(2, "test_resnet").eval()):
        model.to(weights)
        with torch.no_grad():
            found = model(patches.to(images))
            assert found.dtype == weights
            assert torch.equal(found, model(patches.to(weights)))


@pytest.mark.parametrize("name", [None, 34])
def test_the_name_of_an_encoder_is_a_word(name):
    """Anything else is refused as an unknown name is."""
    with pytest.raises(ValueError, match=r"Invalid encoder .* Must be one of timm.list_models"):
        SaltUNet(name)
