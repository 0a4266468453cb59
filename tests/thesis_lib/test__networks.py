"""Tests of what holds for any network: whatever mode the caller is in, the results are the same."""

import copy
from dataclasses import fields, is_dataclass

import pytest
import torch
from tiny_networks import OneBatch
from torch import nn

from thesis_lib._networks import autocast
from thesis_lib.losses import LOSSES
from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.training import TrainConfig, fit, predict_patches
from thesis_lib.xai import Phase, class_margin, invert, maximize, measures
from thesis_lib.xai.cam import cam, randomize_cascade, split_evidence

BF16, FP16 = (
    lambda kind=kind: torch.autocast("cpu", kind) for kind in (torch.bfloat16, torch.half)
)
MODES = {"bf16": BF16, "fp16": FP16, "inference": torch.inference_mode, "no_grad": torch.no_grad}
IMAGES, OTHERS = torch.randn(2, 2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


def train(network, precision="32-true", **options):
    """Weights and statistics after two epochs."""
    config = TrainConfig(epochs=2, accelerator="cpu", precision=precision)
    fit(network, OneBatch(), LOSSES["bce_dice"], config, progress=False, **options)
    return list(network.state_dict().values())


@pytest.fixture(scope="module")
def classifier():
    """A small classifier with the blocks of the large one."""
    return SaltClassifier(2, "test_resnet")


RESULTS = {
    "cam": lambda model: cam(model, IMAGES, 1),
    "randomize_cascade": lambda model: randomize_cascade(model, IMAGES, 1, seed=0),
    "split_evidence": lambda _: split_evidence(IMAGES, OTHERS > 0, width_px=3),
    "predict_patches": lambda model: predict_patches(model, IMAGES, precision="32-true"),
    "structural_similarity": lambda _: measures.structural_similarity(IMAGES, OTHERS),
    "path_similarity": lambda _: measures.path_similarity(
        *(part.flatten(1) for part in (IMAGES, OTHERS, -OTHERS))
    ),
    "fit": lambda _: train(SaltUNet("test_resnet")),
    "fit in bf16": lambda _: train(SaltUNet("test_resnet"), "bf16-mixed"),
    **{
        f"invert from {name}": lambda model, name=name: invert(
            model, "block2", IMAGES, levels=(0.1,), steps=2, start=name, progress=False
        )
        for name in ("patch", "noise")
    },
    **{
        f"maximize in {precision}": lambda model, precision=precision: maximize(
            model,
            class_margin(1),
            (32, 32),
            seeds=[0],
            steps=2,
            image=Phase(IMAGES),
            precision=precision,
            progress=False,
        )
        for precision in ("32-true", "bf16-mixed")
    },
}


def list_tensors(result):
    """All tensors of a result, in order."""
    if is_dataclass(result):
        result = [getattr(result, item.name) for item in fields(result)]
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return [tensor for part in result for tensor in list_tensors(part)]
    return [result.detach()] if isinstance(result, torch.Tensor) else []


@pytest.mark.parametrize("name", RESULTS)
def test_results_do_not_depend_on_the_mode_of_the_caller(classifier, name):
    """Autocast, inference mode and no_grad around a call change neither a bit nor the dtype."""
    expected = list_tensors(RESULTS[name](classifier))
    for mode, enter in MODES.items():
        with enter():
            found = list_tensors(RESULTS[name](classifier))
        assert [value.dtype for value in found] == [value.dtype for value in expected], mode
        assert all(map(torch.equal, found, expected)), mode


def test_a_network_built_in_inference_mode_can_be_trained_and_explained():
    """Its weights are ordinary ones, those of a classifier that takes over an encoder too."""
    with torch.inference_mode():
        unet = SaltUNet("test_resnet")
        classifier = SaltClassifier.from_segmentation(unet.double(), 2)
    assert not any(weight.is_inference() for weight in classifier.parameters())
    invert(classifier, "block1", IMAGES[:1], steps=1, progress=False)
    train(SaltUNet("test_resnet"))


def test_weights_made_in_inference_mode_are_refused_with_what_to_do():
    """Nothing can be differentiated through them; a copy made outside can."""
    with torch.inference_mode():
        network = nn.Conv2d(1, 1, 3, padding=1)
    for use in (
        train,
        lambda model: invert(model, "", IMAGES, steps=1, progress=False),
    ):
        with pytest.raises(ValueError, match=r"made in torch.inference_mode.* copy\.deepcopy"):
            use(network)
        use(copy.deepcopy(network))
    assert predict_patches(network, IMAGES).shape == IMAGES.shape


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_a_phase_of_any_tensor_is_that_of_its_values(kind):
    """Gradients, inference mode and half precision of the patches do not reach the images."""
    with torch.inference_mode():
        patches = IMAGES.to(kind)
    for given in (patches, IMAGES.to(kind).requires_grad_()):
        phase = Phase(given)
        torch.testing.assert_close(
            phase.magnitude.float(), Phase(IMAGES).magnitude, rtol=0.02, atol=0.1
        )
        assert not phase.magnitude.requires_grad
        how = {"seeds": [0], "steps": 1, "image": phase, "progress": False}
        maximize(nn.Conv2d(1, 2, 3), class_margin(1), (32, 32), **how)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_mixed_precision_is_for_float32_weights(kind):
    """Weights of another dtype are used as they are, in prediction and explanation alike."""
    assert autocast(nn.Linear(1, 1), mixed=True).fast_dtype == torch.bfloat16
    with autocast(nn.Linear(1, 1).to(kind), mixed=True):
        assert not torch.is_autocast_enabled("cpu")
