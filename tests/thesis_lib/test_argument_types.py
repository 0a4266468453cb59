"""Tests of arguments that neighbours take alike, or refuse alike in one clear line."""

from functools import partial

import numpy as np
import pytest
import torch
from noise import make_noise, make_volume
from tiny_networks import OneBatch, OneBlock
from torch import nn

from thesis_lib import metrics
from thesis_lib.losses import LOSSES
from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.patches import PatchBatches
from thesis_lib.patching import PatchGrid, Stitcher, grid_sections
from thesis_lib.training import TrainConfig, fit, predict_patches, predict_volume
from thesis_lib.xai import Fourier, Phase, class_logit, invert, maximize, measures, spectra
from thesis_lib.xai.cam import cam

CPU = TrainConfig(epochs=1, accelerator="cpu", precision="32-true")
KINDS = [torch.float16, torch.bfloat16, torch.float64]
QUIET = {"seeds": [0], "progress": False}


class Segmenter(nn.Sequential):
    """Two convolutions with batch normalisation between them."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.Conv2d(3, 1, 3, padding=1)
        )


@pytest.fixture
def volume():
    """A volume of noise with salt."""
    return make_volume((16, 16, 16))


PAIRS = [8, np.int64(8), (8, 8), [8, 8], np.array([8, 8]), torch.Size([8, 8])]


@pytest.mark.parametrize("pair", PAIRS, ids=repr)
def test_one_size_stands_for_both_axes(volume, pair):
    """Grids, batches, prediction and images take a number, or two in any row."""
    assert PatchGrid((16, 16), pair, pair) == PatchGrid((16, 16), (8, 8), (8, 8))
    assert grid_sections(volume, "inline", pair, pair).patch == (1, 8, 8)
    assert PatchBatches([volume], patch=pair, stride=pair, batch_size=2, seed=0).patch == (8, 8)
    found = predict_volume(Segmenter(), volume, patch=pair, stride=pair)
    assert found["probability"].shape == (16, 16, 16)
    found = maximize(OneBlock(), class_logit(0), pair, steps=1, **QUIET)
    assert found.images.shape == (1, 1, 8, 8)
    assert found.config["shape"] == [8, 8]


@pytest.mark.parametrize("pair", [(8,), (8, 8, 8), "8", None, 8.0, (8.0, 8), {8}], ids=repr)
def test_other_sizes_are_refused_alike(volume, pair):
    """The line names the size and what it must be."""
    uses = [
        lambda: PatchGrid((16, 16), pair, (8, 8)),
        lambda: PatchGrid((16, 16), (8, 8), pair),
        lambda: grid_sections(volume, "inline", pair, (8, 8)),
        lambda: predict_volume(Segmenter(), volume, patch=pair, stride=(8, 8)),
        lambda: predict_volume(Segmenter(), volume, patch=(8, 8), stride=pair),
        lambda: PatchBatches([volume], patch=pair, stride=8, batch_size=2, seed=0),
        lambda: maximize(OneBlock(), class_logit(0), pair, steps=1, **QUIET),
    ]
    message = r"Invalid (patch|stride|shape) .*\. Must (have one number for each|be a whole number)"
    for use in uses:
        with pytest.raises((TypeError, ValueError), match=message):
            use()


SPACED = [
    partial(metrics.score_volume, tolerance_m=25),
    partial(metrics.surface_dice, tolerance_m=25),
    metrics.hausdorff95,
    metrics.mean_surface_distance,
]


@pytest.mark.parametrize("score", SPACED)
def test_one_spacing_stands_for_all_axes(score):
    """25 is (25, 25); a list of another length, words and nothing are refused."""
    truth = np.zeros((9, 9), bool)
    truth[2:6, 3:7] = True
    prediction = np.roll(truth, 2, axis=1)
    expected = score(prediction, truth, spacing_m=(25, 25))
    for spacing_m in (25, 25.0, np.float32(25), [25, 25], np.array([25.0, 25.0])):
        assert score(prediction, truth, spacing_m=spacing_m) == expected
    for spacing_m in ((25,), (25, 25, 25), "25", ("a", "b"), True):
        with pytest.raises((TypeError, ValueError), match=r"Invalid spacing_m .* Must"):
            score(prediction, truth, spacing_m=spacing_m)


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_any_precision_train_predict_and_explain(volume, kind):
    """Images get the dtype of the weights; results are float32 at least."""
    model = Segmenter().to(kind)
    history = fit(model, OneBatch(), LOSSES["dice"], CPU, progress=False)
    assert np.isfinite(history.rows[0]["train_loss"])
    assert {weight.dtype for weight in model.parameters()} == {kind}
    for precision in ("32-true", "bf16-mixed"):
        options = {"patch": 8, "stride": 8, "precision": precision}
        assert predict_volume(model, volume, **options)["probability"].notnull().all()
        found = predict_patches(model, make_noise(2, 1, 8, 8), precision=precision)
        assert found.dtype == torch.float32
    model, least = OneBlock().to(kind), torch.promote_types(kind, torch.float32)
    assert cam(model, make_noise(2, 1, 8, 8), 1).maps.dtype == least
    assert maximize(model, class_logit(1), 8, steps=1, **QUIET).images.dtype == least
    for precision in ("32-true", "bf16-mixed"):
        options = {"steps": 1, "precision": precision, "progress": False}
        assert invert(model, "block", make_noise(1, 1, 8, 8), **options).images.dtype == least


@pytest.mark.parametrize("kind", KINDS)
def test_images_of_any_precision_are_taken_alike(kind):
    """Half, double and float32 images with the same values have the same results, to rounding."""
    images, others = make_noise(2, 3, 1, 16, 16).half().float()
    half = (torch.arange(16) > 7).expand(3, 1, 16, 16)
    torch.manual_seed(0)
    model, segmenter = OneBlock(), Segmenter()
    uses = [
        lambda x: cam(model, x, 1).maps,
        lambda x: invert(model, "block", x, steps=1, progress=False).residual,
        lambda x: predict_patches(segmenter, x, precision="32-true"),
        lambda x: Phase(x).magnitude,
        lambda x: Fourier().analyse(x),
        lambda x: measures.correlation(x, others),
        lambda x: measures.correlation(others, x),
        lambda x: measures.structural_similarity(x, others),
        lambda x: spectra.spectrum(x)[1],
        lambda x: spectra.log_spectral_distance(others, x),
        lambda x: measures.contour_sharpness(x, half),
        lambda x: LOSSES["hausdorff"](x, others > 0),
    ]
    near = {"rtol": 0.02, "atol": 0.2} if kind == torch.bfloat16 else {"rtol": 1e-3, "atol": 1e-3}
    for use in uses:
        torch.testing.assert_close(use(images.to(kind)), use(images), check_dtype=False, **near)
    fit(segmenter, OneBatch(kind), LOSSES["dice"], CPU, progress=False)


@pytest.mark.parametrize("images", [np.zeros((2, 1, 16, 16), np.float32), [[0.0]], None], ids=type)
def test_images_that_are_no_tensors_are_refused_alike(images):
    """One line names the argument and its type."""
    noise = make_noise(2, 1, 16, 16)
    for use in (
        lambda: cam(OneBlock(), images, 1),
        lambda: invert(OneBlock(), "block", images, progress=False),
        lambda: predict_patches(Segmenter(), images),
        lambda: Phase(images),
        lambda: measures.correlation(images, noise),
        lambda: measures.correlation(noise, images),
        lambda: spectra.spectrum(images),
        lambda: measures.has_body(images),
        lambda: LOSSES["bce"](images, images),
        lambda: SaltClassifier(2, "test_resnet")(images),
        lambda: SaltUNet("test_resnet").features(images),
    ):
        with pytest.raises((TypeError, ValueError), match=r"Invalid .* Must be a torch.Tensor"):
            use()


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_stitcher_takes_the_output_of_any_network(kind):
    """Patches of any dtype, with gradients or not, are blended in float32."""
    grid = PatchGrid((6,), (4,), (2,))
    stitcher = Stitcher(grid)
    for window, values in grid.extract(torch.arange(6.0).to(kind).requires_grad_()):
        stitcher.add(window, values)
    assert stitcher.merge().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "seeds",
    [0, [], None, "0", [0.5], {0}, (seed for seed in [0])],
    ids=lambda value: type(value).__name__,
)
def test_seeds_are_whole_numbers_in_a_list(seeds):
    """Maximization refuses anything else."""
    with pytest.raises((TypeError, ValueError), match=r"Invalid seeds? .* Must be .*whole number"):
        maximize(OneBlock(), class_logit(0), 8, seeds=seeds, progress=False)


def test_what_is_no_network_no_objective_and_no_mapping_is_refused():
    """Each in a line with what is allowed."""
    noise = make_noise(1, 1, 8, 8)
    for use, message in [
        (lambda: predict_patches("net", noise), "type str. Must be a torch Module"),
        (lambda: maximize(OneBlock(), "salt", 8, **QUIET), "'salt'. Must be such as class_logit"),
        (lambda: maximize(OneBlock(), class_logit, 8, **QUIET), "Must be such as class_logit"),
        (lambda: TrainConfig(lr_factors=None), "Invalid lr_factors None. Must map names"),
    ]:
        with pytest.raises(TypeError, match=message):
            use()


def test_a_network_without_weights_predicts(volume):
    """Nothing says where it computes, so that is the CPU, in float32."""
    found = predict_volume(nn.Identity(), volume, patch=8, stride=8)
    assert found["probability"].notnull().all()
    assert predict_patches(nn.Identity(), make_noise(1, 1, 8, 8).double()).dtype == torch.float32
