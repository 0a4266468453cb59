"""Tests of the network: shapes, agreement with timm, seeds, errors."""

import pytest
import timm
import torch
from torch import nn

from thesis_lib.model import SaltClassifier, SaltUNet

SIZES = [(64, 64), (99, 99), (150, 300), (33, 47), (1, 1)]


@pytest.fixture(scope="module")
def unet():
    """A U-Net in eval mode, shared because ResNet34 takes a second to build."""
    return SaltUNet(seed=3).eval()


@pytest.fixture(scope="module")
def small():
    """A small U-Net with all parts."""
    return SaltUNet("test_efficientnet", seed=3).eval()


def make_patches(*shape, seed=0):
    """Normal noise from a generator of its own."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def copy_into(timm_features, model):
    """Give timm's own feature extractor the weights of a model, in the order of its modules."""
    parts = nn.ModuleList([model.stem, *model.blocks]).state_dict().values()
    names = timm_features.state_dict().keys()
    timm_features.load_state_dict(dict(zip(names, parts, strict=True)))


@pytest.mark.parametrize("size", SIZES)
def test_logits_have_the_size_of_the_patch(unet, size):
    """Odd, oblong and even single-pixel patches give one logit a pixel."""
    with torch.no_grad():
        assert unet(make_patches(2, 1, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("size", SIZES)
def test_blocks_round_sizes_up(unet, size):
    """ResNet34's blocks have 64, 128, 256, 512 channels; sizes over 4, 8, 16, 32 are rounded up."""
    with torch.no_grad():
        blocks = unet.features(make_patches(1, 1, *size))
    expected = [
        (1, channels, *(-(-side // reduction) for side in size))
        for channels, reduction in zip((64, 128, 256, 512), (4, 8, 16, 32), strict=True)
    ]
    assert [tuple(block.shape) for block in blocks] == expected


@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "test_convnext", "test_byobnet", "test_nfnet"]
)
def test_features_agree_with_timm(name):
    """The blocks give bit for bit what timm's own feature extractor gives on the merged image."""
    model = SaltUNet(name, seed=1).eval()
    reference = timm.create_model(name, features_only=True).eval()
    copy_into(reference, model)
    patches = make_patches(1, 1, 96, 75)
    with torch.no_grad():
        ours = model.features(patches)
        theirs = reference(model.merger(patches))[-4:]
    for block, feature in zip(ours, theirs, strict=True):
        torch.testing.assert_close(block, feature, rtol=0, atol=0)


def test_encoder_of_resnet34_agrees_with_timm(unet):
    """The thesis' encoder is timm's resnet34, without change."""
    reference = timm.create_model("resnet34", features_only=True).eval()
    copy_into(reference, unet)
    patches = make_patches(1, 1, 99, 99)
    with torch.no_grad():
        pairs = zip(unet.features(patches), reference(unet.merger(patches))[1:], strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_blocks_are_the_modules_that_hooks_need(unet):
    """A hook on ``block1`` to ``block4``, found by name, sees what ``features`` returns."""
    seen = {}
    handles = [
        unet.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.update({name: output})
        )
        for name in ("block1", "block2", "block3", "block4")
    ]
    with torch.no_grad():
        blocks = unet.features(make_patches(1, 1, 64, 64))
    for handle in handles:
        handle.remove()
    assert all(torch.equal(seen[f"block{k + 1}"], block) for k, block in enumerate(blocks))


def test_networks_are_built_on_the_cpu_whatever_the_default_device():
    """A default device of the user does not get in the way of building and checking."""
    with torch.device("meta"):
        model = SaltUNet("resnet18")
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}


def test_merger_copies_the_image_into_three_channels(unet):
    """The three 1x1 convolutions start as copies, so pretrained filters see a grey image."""
    patches = make_patches(1, 1, 8, 8)
    assert torch.equal(unet.merger(patches), patches.expand(-1, 3, -1, -1))
    assert unet.merger.weight.shape == (3, 1, 1, 1)


@pytest.mark.parametrize("n", [2, 3, 17, 40])
def test_the_step_up_undoes_a_strided_convolution(n):
    """From n pixels to 2n - 1 or 2n, the nearest neighbour of pixel i is pixel i // 2."""
    row = torch.arange(n, dtype=torch.float32)[None, None, None]
    for size in (2 * n - 1, 2 * n):
        up = nn.functional.interpolate(row, size=(1, size), mode="nearest")
        assert up.flatten().tolist() == [i // 2 for i in range(size)]


def test_every_parameter_gets_a_gradient():
    """No part of the network is dead: merger, encoder, skips, decoder and head all learn."""
    model = SaltUNet("test_efficientnet")
    model(make_patches(2, 1, 64, 64)).square().mean().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


def test_a_batch_equals_its_single_patches(small):
    """In eval mode each patch gets the logits that it gets alone."""
    patches = make_patches(3, 1, 64, 48)
    with torch.no_grad():
        batch = small(patches)
        single = torch.cat([small(patch[None]) for patch in patches])
    torch.testing.assert_close(batch, single, rtol=1e-4, atol=1e-5)


def test_the_seed_decides_about_all_weights():
    """The same seed gives the same weights whatever was drawn before; another seed gives others."""
    first = SaltUNet("test_resnet", seed=5).state_dict()
    torch.rand(7)
    again, other = (SaltUNet("test_resnet", seed=seed).state_dict() for seed in (5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["stem.0.0.weight"], other["stem.0.0.weight"])
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_building_leaves_the_global_random_state():
    """Building a network draws nothing from the global generator."""
    before = torch.get_rng_state()
    SaltUNet("test_efficientnet", seed=1)
    SaltClassifier(2, "test_efficientnet", seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_latent_is_the_mean_of_each_channel_of_the_four_blocks():
    """The latent vector has 64 + 128 + 256 + 512 means, block after block."""
    model = SaltClassifier(4, "resnet18", seed=2).eval()
    patches = make_patches(2, 1, 99, 99)
    with torch.no_grad():
        latent, blocks = model.latent(patches), model.features(patches)
        logits = model(patches)
    assert latent.shape == (2, 64 + 128 + 256 + 512)
    torch.testing.assert_close(latent[:, 64:192], blocks[1].flatten(2).mean(2))
    torch.testing.assert_close(latent[:, -512:], blocks[3].flatten(2).mean(2))
    torch.testing.assert_close(logits, latent @ model.head.weight.T + model.head.bias)


def test_a_classifier_takes_the_encoder_of_a_unet(small):
    """From a segmentation network come merger, stem and blocks with their statistics, as copies."""
    classifier = SaltClassifier.from_segmentation(small, 3, seed=8).eval()
    patches = make_patches(2, 1, 99, 99)
    with torch.no_grad():
        pairs = zip(classifier.features(patches), small.features(patches), strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
        before = small.merger.weight.clone()
        classifier.merger.weight.add_(1.0)
    assert torch.equal(small.merger.weight, before)
    assert classifier(patches).shape == (2, 3)


def test_a_classifier_keeps_the_precision_of_its_unet(small):
    """A double-precision U-Net gives a double-precision classifier."""
    classifier = SaltClassifier.from_segmentation(SaltUNet("test_efficientnet").double(), 2, seed=8)
    assert classifier.head.weight.dtype == torch.float64
    assert small.merger.weight.dtype == torch.float32


def test_only_a_unet_gives_its_encoder():
    """A classifier cannot be built from anything but a U-Net."""
    with pytest.raises(TypeError, match=r"Invalid unet of type Linear\. Must be a SaltUNet"):
        SaltClassifier.from_segmentation(nn.Linear(2, 2), 3)


def test_networks_start_in_training_mode():
    """A new network is in training mode throughout, and its BatchNorm statistics are untouched."""
    model = SaltUNet("test_efficientnet")
    assert all(module.training for module in model.modules())
    means = [value for name, value in model.state_dict().items() if name.endswith("running_mean")]
    assert not any(mean.any() for mean in means)


@pytest.mark.parametrize("shape", [(1, 3, 64, 64), (64, 64), (1, 64, 64)])
def test_input_must_have_one_channel(small, shape):
    """RGB images and single sections are refused."""
    with pytest.raises(ValueError, match=r"Invalid input of shape .* Must be \(B, 1, H, W\)"):
        small(torch.zeros(shape))


@pytest.mark.parametrize(("n_classes", "error"), [(1, ValueError), (2.0, TypeError)])
def test_a_classifier_has_two_classes_or_more(n_classes, error):
    """One class or a fraction of one is refused."""
    with pytest.raises(error, match="Invalid n_classes"):
        SaltClassifier(n_classes)


def test_a_seed_is_a_whole_number():
    """A negative seed is refused."""
    with pytest.raises(ValueError, match="Invalid seed -1"):
        SaltUNet("test_efficientnet", seed=-1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet43", r"Invalid encoder 'resnet43'\. .* Near names: .*resnet34"),
        ("test_vit", "stages at reductions 16, 16"),
        ("lenet", r"Must be one of timm.list_models\(\)"),
        ("hrnet_w18_small", "are not modules that run one after the other"),
        ("test_maxvit", "cannot be run one after the other on a patch of 64x64"),
        ("test_mambaout", r"gives blocks .* Must be \(channels, height, width\)"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(name, message):
    """Names that timm does not know and networks without four stages get a clear error."""
    with pytest.raises(ValueError, match=message):
        SaltUNet(name)


@pytest.mark.parametrize("error", [ConnectionError, FileNotFoundError, RuntimeError])
def test_pretrained_weights_without_a_network_give_a_clear_error(monkeypatch, error):
    """Where timm cannot fetch weights, one message says what to do, after one attempt."""
    calls = []

    def fail(*_args, **kwargs):
        calls.append(kwargs["pretrained"])
        raise error("no route to host")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(RuntimeError, match=r"pretrained weights of 'resnet34': no route to host"):
        SaltUNet(pretrained=True)
    assert calls == [True]


def test_pretrained_is_passed_to_timm(monkeypatch):
    """``pretrained=True`` is timm's own option: whatever weights it loads are used."""
    create = timm.create_model

    def load(name, *, pretrained, **options):
        network = create(name, **options)
        nn.init.constant_(network.layer1[0].conv1.weight, 0.25 if pretrained else 0.5)
        return network

    monkeypatch.setattr(timm, "create_model", load)
    assert (SaltUNet("resnet18", pretrained=True).block1[1][0].conv1.weight == 0.25).all()


def test_other_errors_of_timm_pass():
    """Only the loading of weights is explained; what else goes wrong in timm is shown as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            timm,
            "create_model",
            lambda *_args, **_kwargs: (_ for _ in ()).throw(RuntimeError("out of memory")),
        )
        with pytest.raises(RuntimeError, match=r"^out of memory$"):
            SaltUNet()


def test_stages_are_those_of_the_thesis() -> None:
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
