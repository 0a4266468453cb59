"""Tests of the network: any size and type of patch, agreement with timm, seeds, errors."""

from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
import timm
import torch
from noise import make_noise
from torch import nn

from thesis_lib.model import SaltClassifier, SaltUNet


@pytest.fixture(scope="module")
def small():
    """A small U-Net with all parts."""
    return SaltUNet("test_efficientnet", seed=3).eval()


# The others round sizes down, or fail at some size.
ROUND_UP = ["resnet34", "test_resnet", "test_efficientnet", "test_nfnet"]
PADDED = ["dla46_c", "test_convnext", "densenet121", "edgenext_xx_small", "pvt_v2_b0", "vgg11"]


@pytest.mark.parametrize("name", [*ROUND_UP, *PADDED])
def test_any_encoder_takes_any_size(name):
    """Patches, copied into three channels, give a logit per pixel, blocks of rounded-up size."""
    model = SaltUNet(name, seed=3).eval()
    assert model.padded == (name in PADDED)  # what rounds up sees the patch as it is
    for size in [(33, 47), (16, 16), (5, 70), (99, 99), (1, 1)]:
        patches = make_noise(2, 1, *size)
        assert torch.equal(model.merger(patches), patches.expand(-1, 3, -1, -1))
        with torch.no_grad():
            assert model(patches).shape == (2, 1, *size)
            blocks = model.features(patches)
        assert [tuple(block.shape) for block in blocks] == [
            (2, channels, *(-(-side // reduction) for side in size))
            for channels, reduction in zip(model.channels, (4, 8, 16, 32), strict=True)
        ]


def test_what_is_continued_is_cut_back():
    """The logits are those of the patch whose last row and column are repeated to 32 pixels."""
    model = SaltUNet("test_convnext").eval()
    patch = make_noise(1, 1, 20, 31)
    rows, columns = np.minimum(np.arange(32), 19), np.minimum(np.arange(32), 30)
    with torch.no_grad():
        assert torch.equal(model(patch), model(patch[..., rows, :][..., columns])[..., :20, :31])


@pytest.mark.parametrize(
    "name",
    ["resnet34", "test_resnet", "test_efficientnet", "test_convnext", "test_byobnet", "test_nfnet"],
)
def test_features_agree_with_timm(name):
    """The blocks give what timm's own feature extractor gives on the merged image."""
    model = SaltUNet(name, seed=1).eval().double()
    reference = timm.create_model(name, features_only=True).eval().double()
    weights = nn.ModuleList([model.stem, *model.blocks]).state_dict().values()  # the same order
    reference.load_state_dict(dict(zip(reference.state_dict(), weights, strict=True)))
    patches = make_noise(1, 1, 96, 64 if model.padded else 75).double()
    with torch.no_grad():
        ours = model.features(patches)
        theirs = reference(model.merger(patches))[-4:]
    for block, feature in zip(ours, theirs, strict=True):  # order of sums: float64, all but bits
        torch.testing.assert_close(block, feature, rtol=1e-10, atol=1e-12)


def test_weights_of_a_seed_are_those_of_timm():
    """With a seed, the encoder has the random weights that timm draws for the whole network."""
    model = SaltUNet("test_efficientnet", seed=4)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        reference = timm.create_model("test_efficientnet", num_classes=0)
    assert torch.equal(model.stem[0].weight, reference.conv_stem.weight)
    assert torch.equal(model.block4[0].conv_pw.weight, reference.blocks[4][0].conv_pw.weight)


def test_every_parameter_gets_a_gradient():
    """No part of the network is dead: merger, encoder, skips, decoder and head all learn."""
    model = SaltUNet("test_efficientnet")
    model(make_noise(2, 1, 64, 64)).square().mean().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_the_seed_decides_about_all_weights():
    """The same seed gives the same weights whatever was drawn before; another seed gives others."""
    first = SaltUNet("test_resnet", seed=5).state_dict()
    torch.rand(7)
    before = torch.get_rng_state()
    again, other = (SaltUNet("test_resnet", seed=seed).state_dict() for seed in (5, 6))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.0.0.weight"], other["stem.0.0.weight"])
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_latent_is_the_mean_of_each_channel_of_the_four_blocks():
    """The latent vector has 64 + 128 + 256 + 512 means, block after block."""
    model = SaltClassifier(4, "resnet18", seed=2).eval()
    patches = make_noise(2, 1, 99, 99)
    with torch.no_grad():
        latent, blocks = model.latent(patches), model.features(patches)
        logits = model(patches)
    assert latent.shape == (2, 64 + 128 + 256 + 512)
    torch.testing.assert_close(latent[:, 64:192], blocks[1].flatten(2).mean(2))
    torch.testing.assert_close(latent[:, -512:], blocks[3].flatten(2).mean(2))
    torch.testing.assert_close(logits, latent @ model.head.weight.T + model.head.bias)


def test_a_classifier_takes_the_encoder_of_a_unet():
    """From a segmentation network come merger, stem and blocks, as copies of its precision."""
    unet = SaltUNet("test_efficientnet", seed=3).double()
    classifier = SaltClassifier.from_segmentation(unet, 3, seed=8).eval()
    fresh, trained = SaltClassifier(3, "test_efficientnet", seed=8).state_dict(), unet.state_dict()
    for name, value in classifier.state_dict().items():
        expected = fresh[name].double() if name.startswith("head.") else trained[name]
        assert torch.equal(value, expected), name
    with torch.no_grad():
        classifier.merger.weight.add_(1.0)
    assert (unet.merger.weight == 1).all()
    assert classifier(make_noise(2, 1, 99, 99).double()).shape == (2, 3)


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


def test_a_new_network_is_untouched_and_on_the_cpu():
    """It is in training mode with fresh statistics, whatever the user's default device."""
    with torch.device("meta"):
        model = SaltUNet("test_efficientnet")
    assert all(module.training for module in model.modules())
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}
    means = [value for name, value in model.state_dict().items() if name.endswith("running_mean")]
    assert not any(mean.any() for mean in means)


def test_input_must_have_one_channel(small):
    """RGB images and single sections are refused."""
    for shape in [(1, 3, 64, 64), (64, 64), (1, 64, 64)]:
        with pytest.raises(ValueError, match=r"Invalid input of shape .* Must be \(B, 1, H, W\)"):
            small(torch.zeros(shape))


@pytest.mark.parametrize(
    ("make", "arguments", "error", "message"),
    [
        (SaltClassifier, (1,), ValueError, "Invalid n_classes 1"),
        (SaltClassifier, (2.0,), TypeError, r"Invalid n_classes 2\.0"),
        (partial(SaltUNet, seed=-1), ("test_efficientnet",), ValueError, "Invalid seed -1"),
        (SaltClassifier.from_segmentation, (nn.Flatten(), 3), TypeError, "Must be a SaltUNet"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(make, arguments, error, message):
    """Classes, seeds and the network that gives its encoder are checked."""
    with pytest.raises(error, match=message):
        make(*arguments)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet43", r"Invalid encoder 'resnet43'\. .* Near names: .*resnet34"),
        ("test_vit", "stages at reductions 16, 16"),
        ("lenet", r"Must be one of timm.list_models\(\)"),
        (None, r"Invalid encoder None\. Must be one of timm.list_models\(\)"),
        ("hrnet_w18_small", "are not modules that run one after the other"),
        ("test_maxvit", "cannot be run one after the other on a patch of 64x64"),
        ("test_mambaout", r"gives blocks .* Must be \(channels, height, width\)"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(name, message):
    """Names that timm does not know and networks without four stages get a clear error."""
    with pytest.raises(ValueError, match=message):
        SaltUNet(name)


def test_pretrained_is_passed_to_timm(monkeypatch):
    """``pretrained=True`` is timm's own option: whatever weights it loads are used."""
    create = timm.create_model

    def load(name, *, pretrained, **options):
        network = create(name, **options)
        nn.init.constant_(network.layer1[0].conv1.weight, 0.25 if pretrained else 0.5)
        return network

    monkeypatch.setattr(timm, "create_model", load)
    assert (SaltUNet("resnet18", pretrained=True).block1[1][0].conv1.weight == 0.25).all()


@pytest.mark.parametrize("error", [ConnectionError, FileNotFoundError, RuntimeError])
def test_pretrained_weights_without_a_network_give_a_clear_error(monkeypatch, error):
    """What to do where timm cannot fetch weights is explained; its other errors pass."""
    create = Mock(side_effect=error("no route to host"))
    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(RuntimeError, match=r"pretrained weights of 'resnet34': no route to host"):
        SaltUNet(pretrained=True)
    create.assert_called_once_with("resnet34", pretrained=True, num_classes=0)
    with pytest.raises(error, match=r"^no route to host$"):
        SaltUNet()


def test_stages_are_those_of_the_thesis():
    """A 64x64 patch leaves ResNet34's blocks with 64 to 512 channels and a quarter of its size."""
    model = SaltUNet(seed=0)
    stages = model.stages(64, 64)
    assert [name for name, *_ in stages] == [
        "input", "merger", "stem", "block 1", "block 2", "block 3", "block 4",
        "up 1", "up 2", "up 3", "up 4", "up 5", "logits",
    ]  # fmt: skip
    assert stages[3:7] == [
        ("block 1", 64, 16, 16),
        ("block 2", 128, 8, 8),
        ("block 3", 256, 4, 4),
        ("block 4", 512, 2, 2),
    ]
    assert stages[-1] == ("logits", 1, 64, 64)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
