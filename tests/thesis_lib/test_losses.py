"""Losses: closed forms, independent libraries, and one contract over all of LOSSES."""

import itertools
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kornia.losses import binary_focal_loss_with_logits, lovasz_hinge_loss
from monai.losses import DiceLoss, FocalLoss, HausdorffDTLoss
from scipy.ndimage import distance_transform_edt, gaussian_filter, grey_dilation, grey_erosion
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from thesis_lib.losses import (
    LOSSES,
    bce_loss,
    contour_loss,
    dice_loss,
    distance,
    focal_loss,
    hausdorff_loss,
    jaccard_loss,
    kl_loss,
    lovasz_loss,
    mse_loss,
    wing_loss,
)
from thesis_lib.losses._contract import _mark_invalid
from thesis_lib.losses.boundary import _contour_band

CASE_LOGITS = torch.tensor([[[[1.0, -1.0], [-1.0, 1.0]]]], dtype=torch.float64)
CASE_TARGET = torch.tensor([[[[1, 0], [1, 1]]]])
RIGHT, WRONG = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(1))  # sigmoid(1), sigmoid(-1)
CASE_VALUES = {
    "bce": 0.5632616875,
    # no salt pixel is farther than 2 from the edge, so that M = 1 + 5 everywhere
    "contour": 6 * 0.5632616875,
    "dice": 0.3075765685,
    "focal": 0.1924606190,
    "hausdorff": (6 * WRONG**2 + 3 * RIGHT**2) / 4,
    "jaccard": 0.4704528606,
    "kl": sum(
        t * math.log(t / p) + (1 - t) * math.log((1 - t) / (1 - p))
        for t, p in ((0.95, RIGHT), (0.05, WRONG), (0.95, WRONG), (0.95, RIGHT))
    )
    / 4,
    "lovasz": 0.6666666667,
    "mse": 0.1878587774,
    "wing": 5 * (3 * math.log1p(WRONG / 0.5) + math.log1p(RIGHT / 0.5)) / 4,
    "bce_dice": 0.8708382561,
}

every_loss = pytest.mark.parametrize("name", LOSSES)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Random logits and smooth random masks that hold both classes."""
    rng = np.random.default_rng(seed)
    fields = rng.normal(size=shape)
    smooth = gaussian_filter(fields, (0, 0, 1.5, 1.5))
    masks = smooth > np.median(smooth, axis=(2, 3), keepdims=True)
    return torch.tensor(2 * rng.normal(size=shape), dtype=dtype), torch.from_numpy(masks)


def draw_all_classes(*shape: int) -> tuple[Tensor, Tensor]:
    """As `draw`, in float64, with a second mask that is empty and a third that is full."""
    logits, target = draw(*shape, dtype=torch.float64)
    target[1], target[2] = False, True
    return logits, target


def gradient(name: str, logits: Tensor, target: Tensor) -> Tensor:
    """Gradient of one loss by its logits."""
    logits = logits.clone().requires_grad_()
    return torch.autograd.grad(LOSSES[name](logits, target), logits)[0]


def descend(name: str, logits: Tensor, target: Tensor) -> Tensor:
    """Logits after 100 steps of AdamW with rate 0.1."""
    logits = logits.requires_grad_()
    optimizer = torch.optim.AdamW([logits], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        LOSSES[name](logits, target).backward()
        optimizer.step()
    return logits.detach()


class TestReferenceValues:
    """Numbers known in closed form."""

    @every_loss
    def test_canonical_case(self, name):
        """On the canonical 2x2 case each of the eleven losses has the value of its formula."""
        assert list(LOSSES) == list(CASE_VALUES)
        value = LOSSES[name](CASE_LOGITS, CASE_TARGET)
        assert value.item() == pytest.approx(CASE_VALUES[name], abs=1e-9)

    @pytest.mark.parametrize(
        ("loss", "options", "expected"),
        [
            (focal_loss, {"alpha": 0.25}, 0.0509474119),  # salt weighs alpha, the rest 1 - alpha
            (focal_loss, {"gamma": 0}, CASE_VALUES["bce"]),  # no focus: the cross-entropy
            (kl_loss, {"smoothing": 0}, CASE_VALUES["bce"]),
            (wing_loss, {"width": 10, "curvature": 2}, 1.7251018378),  # as for facial landmarks
        ],
    )
    def test_canonical_case_with_options(self, loss, options, expected):
        """Options change the value of the canonical case as their formula does."""
        value = loss(CASE_LOGITS, CASE_TARGET, **options)
        assert value.item() == pytest.approx(expected, abs=5e-8)

    def test_wing_is_continuous_and_linear_outside(self):
        """Beyond its width the wing loss goes on with slope 1 and without a jump."""
        zero = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
        below, at, above = (
            wing_loss(torch.logit(zero + p), zero, width=0.5, curvature=0.25).item()
            for p in (0.5 - 1e-9, 0.5, 0.75)
        )
        assert below == pytest.approx(0.5 * math.log1p(0.5 / 0.25), abs=1e-8)
        assert at == pytest.approx(below, abs=1e-8)
        assert above - at == pytest.approx(0.25)

    def test_contour_band(self):
        """On a straight contour the weights are 1 and, two pixels to each side, 6."""
        target = torch.zeros(1, 1, 9, 9)
        target[..., 5:] = 1
        band = _contour_band(target, 5)
        assert (1 + 5 * band[0, 0]).tolist() == [[1, 1, 1, 6, 6, 6, 6, 1, 1]] * 9
        value = contour_loss(torch.zeros(1, 1, 9, 9), target)
        assert value.item() == pytest.approx(2.2334742485, abs=1e-6)

    @pytest.mark.parametrize(("name", "right", "wrong"), [("bce", -1, 1), ("dice", -0.56, 0.24)])
    def test_gradient_at_zero(self, name, right, wrong):
        """At x = 0 the gradients of salt and of the rest are those derived by hand."""
        found = gradient(name, torch.zeros(1, 1, 2, 2, dtype=torch.float64), CASE_TARGET)
        expected = torch.where(CASE_TARGET == 1, right / 8, wrong / 8).double()
        torch.testing.assert_close(found, expected)

    def test_hausdorff_of_one_class(self):
        """A mask without a contour has no distance; with two such the error counts twice."""
        logits = torch.full((1, 1, 4, 6), 3.0)
        for target in (torch.zeros(1, 1, 4, 6), torch.ones(1, 1, 4, 6)):
            expected = 2 * mse_loss(logits, target)
            torch.testing.assert_close(hausdorff_loss(logits, target), expected)
        logits = torch.tensor([[[[9.0, -9.0, -9.0, -9.0]]]])
        expected = (torch.sigmoid(logits) ** 2 * torch.tensor([1.0, 1.0, 4.0, 9.0])).mean()
        torch.testing.assert_close(hausdorff_loss(logits, torch.zeros(1, 1, 1, 4)), expected)

    @pytest.mark.parametrize("target", [torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)])
    def test_ratios_of_one_class(self, target):
        """In a sample of one class the ratios are those of the class that is there."""
        wrong = torch.tensor([[[[1.0, 0], [0, 0]]]])
        logits = 100 * (2 * (target - wrong).abs() - 1)  # one pixel of four is wrong
        assert dice_loss(logits, target).item() == pytest.approx(1 / 7)
        assert jaccard_loss(logits, target).item() == pytest.approx(1 / 4)
        assert lovasz_loss(logits / 100, target).item() == pytest.approx(2 / 4)


class TestReferees:
    """Independent libraries, where they are right."""

    @pytest.fixture(params=range(3))
    def pair(self, request):
        """Logits and masks of an odd, non-square batch."""
        return draw(3, 1, 13, 10, seed=request.param, dtype=torch.float64)

    def test_torch(self, pair):
        """Cross-entropy, squared error and the divergence of two distributions are torch's."""
        logits, target = pair[0], pair[1].double()
        expected = F.binary_cross_entropy_with_logits(logits, target)
        torch.testing.assert_close(bce_loss(*pair), expected)
        torch.testing.assert_close(mse_loss(*pair), F.mse_loss(logits.sigmoid(), target))
        for given, smoothing in itertools.product((target, 0.3 + 0.4 * target), (0.0, 0.1, 1.0)):
            smoothed = Bernoulli(probs=given * (1 - smoothing) + smoothing / 2)
            expected = kl_divergence(smoothed, Bernoulli(logits=logits)).mean()
            torch.testing.assert_close(kl_loss(logits, given, smoothing=smoothing), expected)

    @pytest.mark.parametrize(("loss", "jaccard"), [(dice_loss, False), (jaccard_loss, True)])
    def test_monai_overlap(self, pair, loss, jaccard):
        """Without its smoothing MONAI's overlap losses equal ours on mixed targets."""
        referee = DiceLoss(sigmoid=True, jaccard=jaccard, smooth_nr=0, smooth_dr=0)
        torch.testing.assert_close(loss(*pair), referee(pair[0], pair[1].double()))

    @pytest.mark.parametrize("gamma", [0.5, 2.0, 3.0])
    def test_monai_and_kornia_focal(self, pair, gamma):
        """The focal loss agrees with MONAI's and kornia's."""
        logits, target = pair[0], pair[1].double()
        referee = FocalLoss(gamma=gamma)(logits, target)  # computes in float32
        torch.testing.assert_close(focal_loss(logits.float(), target, gamma=gamma), referee)
        options = {"alpha": 0.3, "gamma": gamma}
        referee = binary_focal_loss_with_logits(logits, target, **options, reduction="mean")
        torch.testing.assert_close(focal_loss(logits, target, **options), referee)

    def test_kornia_lovasz(self, pair):
        """The Lovász hinge and its gradient agree with kornia's on mixed targets."""
        logits = pair[0].requires_grad_()
        value, referee = lovasz_loss(*pair), lovasz_hinge_loss(logits, pair[1][:, 0].long())
        torch.testing.assert_close(value, referee)
        gradients = [torch.autograd.grad(loss, logits)[0] for loss in (value, referee)]
        torch.testing.assert_close(*gradients)

    def test_monai_hausdorff(self, pair):
        """The Hausdorff loss agrees with MONAI's for float targets of both classes."""
        referee = HausdorffDTLoss(sigmoid=True, include_background=True)(pair[0], pair[1].double())
        torch.testing.assert_close(hausdorff_loss(*pair), referee, rtol=1e-6, atol=0)

    @pytest.mark.parametrize("options", [{}, {"alpha": 0.3, "gamma": 1.5}])
    def test_focal_of_soft_targets(self, pair, options):
        """A target between the classes has the losses of both, in proportion."""
        logits, mask = pair[0], pair[1].double()
        soft, other = (focal_loss(logits, t, **options) for t in (0.3 + 0.4 * mask, 1 - mask))
        expected = 0.7 * focal_loss(logits, mask, **options) + 0.3 * other
        torch.testing.assert_close(soft, expected)

    @pytest.mark.parametrize("blur_px", [0.0, 0.8, 2.0])
    @pytest.mark.parametrize("window_px", [1, 3, 7])
    def test_scipy_contour(self, pair, window_px, blur_px):
        """The weights of the contour loss are scipy's morphology and Gaussian filter."""
        logits, target = pair[0], pair[1].double()
        window = {"size": (1, 1, window_px, window_px), "mode": "nearest"}
        band = grey_dilation(target, **window) - grey_erosion(target, **window)
        if blur_px:
            band = gaussian_filter(band, (0, 0, blur_px, blur_px), mode="nearest", truncate=3)
        weights = torch.from_numpy(1 + 2 * band)
        expected = F.binary_cross_entropy_with_logits(logits, target, weights)
        value = contour_loss(*pair, weight=2, window_px=window_px, blur_px=blur_px)
        torch.testing.assert_close(value, expected)


class TestContract:
    """What every loss promises."""

    @every_loss
    def test_wrong_pair(self, name):
        """Only floating (B, 1, H, W) logits and a target of their shape, never broadcast, do."""
        loss, zeros = LOSSES[name], torch.zeros
        for shape in [(1, 8, 8), (2, 8, 8), (2, 1, 8, 1), (1, 1, 8, 8)]:
            with pytest.raises(ValueError, match="Shapes differ: logits"):
                loss(zeros(2, 1, 8, 8), zeros(shape))
        for shape in [(8, 8), (2, 8, 8), (2, 3, 8, 8), (0, 1, 8, 8), (1, 1, 0, 8)]:
            with pytest.raises(ValueError, match=r"logits of shape .* \(B, 1, H"):
                loss(zeros(shape), zeros(shape))
        with pytest.raises(TypeError, match=r"dtype torch\.int"):
            loss(zeros(1, 1, 2, 2).long(), zeros(1, 1, 2, 2))

    @every_loss
    @pytest.mark.parametrize("bad", [255.0, -1.0, math.nan, math.inf])
    def test_wrong_values(self, name, bad):
        """A target outside [0, 1] is refused; a device that is not asked makes the loss NaN."""
        target = torch.tensor([[[[1.0, 0.0, bad]]]])
        with pytest.raises(ValueError, match=r"Invalid target with values .* lie in \[0, 1\]"):
            LOSSES[name](torch.zeros(1, 1, 1, 3), target)
        marked = _mark_invalid(torch.ones(1, 1, 1, 3), target)
        assert marked.isnan().tolist() == [[[[False, False, True]]]]
        assert LOSSES[name](marked, target.nan_to_num().clamp(0, 1)).isnan()

    @every_loss
    def test_stays_on_the_device(self, name):
        """A tensor without values has a loss: nothing is asked of, or taken off, its device."""
        logits = torch.empty(2, 1, 9, 7, device="meta", requires_grad=True)
        loss = LOSSES[name](logits, torch.empty(2, 1, 9, 7, device="meta", dtype=torch.bool))
        loss.backward()
        assert loss.device.type == logits.grad.device.type == "meta"
        assert loss.shape == ()

    @every_loss
    def test_dtypes(self, name):
        """The loss is computed in float32, whatever the target's type and under bf16 autocast."""
        logits, target = draw(2, 1, 9, 7)
        logits = logits.bfloat16()
        dtypes = (torch.bool, torch.uint8, torch.int64, torch.float32, torch.float64)
        values = [LOSSES[name](logits.float(), target.to(dtype)) for dtype in dtypes]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            values.append(LOSSES[name](logits, target))
        assert len({value.item() for value in values}) == 1
        assert {value.dtype for value in values} == {torch.float32}

    @every_loss
    @pytest.mark.parametrize("autocast", [False, True])
    def test_extreme_logits(self, name, autocast):
        """Logits of ±60 have a finite loss and gradient, also under bf16 autocast."""
        _, target = draw(2, 1, 9, 7)
        target[1] = False
        logits = 60 * draw(2, 1, 9, 7, seed=1)[0].sign()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            value, slope = LOSSES[name](logits, target), gradient(name, logits, target)
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert slope.isfinite().all()

    @every_loss
    def test_mean_of_samples(self, name):
        """A batch has the mean loss of its samples, also of mirrored and transposed ones."""
        logits, target = draw_all_classes(4, 1, 9, 7)
        alone = [LOSSES[name](x[None], t[None]) for x, t in zip(logits, target, strict=True)]
        for move in (lambda x: x, lambda x: x.flip(2), lambda x: x.flip(3), lambda x: x.mT):
            value = LOSSES[name](move(logits), move(target))
            torch.testing.assert_close(value, torch.stack(alone).mean())

    @every_loss
    def test_gradcheck(self, name):
        """The gradient is that of finite differences, also for targets of one class."""
        logits, target = draw_all_classes(4, 1, 5, 4)
        assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, target), logits.requires_grad_())

    @pytest.mark.parametrize("name", ["mse", "dice", "jaccard", "bce_dice"])
    def test_second_derivative(self, name):
        """Gradients written by hand can be differentiated once more."""
        logits, target = draw_all_classes(4, 1, 3, 4)
        logits.requires_grad_()
        assert torch.autograd.gradgradcheck(lambda x: LOSSES[name](x, target), logits)

    @every_loss
    def test_masks_are_learned(self, name):
        """Steps of AdamW bring a disc to a Dice score above .99, and one class to no error."""
        offset = torch.arange(64) - 31.5
        target = (offset[:, None] ** 2 + offset**2 <= 15**2)[None, None]
        mask = descend(name, torch.zeros(target.shape), target) > 0
        assert 2 * (mask & target).sum() / (mask.sum() + target.sum()) > 0.99
        for salt in (0, 1):
            target = torch.full((1, 1, 16, 16), salt)
            mask = descend(name, 5.0 - 10 * target, target) > 0  # all wrong
            assert (mask == salt).all()

    @every_loss
    def test_inputs_are_left_alone_and_losses_travel(self, name):
        """Neither logits nor target change; a loss can be sent to a worker process."""
        logits, target = draw(2, 1, 9, 7)
        before = logits.clone(), target.clone()
        pickle.loads(pickle.dumps(LOSSES[name]))(logits, target)
        assert all(map(torch.equal, (logits, target), before))


@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (focal_loss, {"gamma": -1.0}, r"Invalid gamma -1.0. Must lie in \[0, inf\)"),
        (kl_loss, {"smoothing": 1.1}, r"Invalid smoothing 1.1. Must lie in \[0, 1\]"),
        (wing_loss, {"width": 0.0}, r"Invalid width 0.0. Must lie in \(0, inf\)"),
        (contour_loss, {"weight": -1.0}, r"Invalid weight -1.0. Must lie in \[0, inf\)"),
        (contour_loss, {"window_px": 4}, r"Invalid window_px 4. Must be odd"),
        (contour_loss, {"window_px": 2.5}, r"Invalid window_px 2.5. Must be a whole number"),
    ],
)
def test_parameters_out_of_range(loss, options, message):
    """Each parameter says what it may be."""
    error = TypeError if "whole" in message else ValueError
    with pytest.raises(error, match=message):
        loss(CASE_LOGITS, CASE_TARGET, **options)


def check_against_scipy(masks: np.ndarray) -> None:
    """Compare the squares, which are whole numbers, exactly, by both ways to find them."""
    expected = np.array([distance_transform_edt(m) + distance_transform_edt(~m) for m in masks])
    for find in (distance.squared_distance, distance._squared_on_device):
        squared = find(torch.from_numpy(masks))
        assert squared.dtype == torch.int32
        np.testing.assert_array_equal(squared, np.round(expected**2))


@pytest.mark.parametrize("shape", [(64, 64), (33, 20), (1, 17), (17, 1), (2, 2), (5, 128)])
@pytest.mark.parametrize("salt", [0.003, 0.05, 0.5, 0.95])
def test_distances_of_random_masks(shape, salt):
    """Random masks have exactly the squared distances of scipy."""
    masks = np.random.default_rng(0).random((6, *shape)) < salt
    masks[:, 0, 0], masks[:, -1, -1] = True, False
    check_against_scipy(masks)


@pytest.mark.parametrize("shape", [(96, 71), (40, 90)])
def test_distances_of_bodies(shape, monkeypatch):
    """So have bodies as smooth and as large as salt, whatever the size of the chunks."""
    _, masks = draw(6, 1, *shape)
    masks[0] = False
    masks[0, 0, 10:35, 5:60] = True
    check_against_scipy(masks[:, 0].numpy())
    for chunk in (1, 6 * shape[0] * shape[1] * 4):
        monkeypatch.setattr(distance, "_CHUNK_PIXELS", chunk)
        check_against_scipy(masks[:, 0].numpy())


@pytest.mark.parametrize("salt", [False, True])
def test_distances_of_one_class(salt):
    """A mask of one class has no distance, whatever its neighbours in the batch hold."""
    masks = torch.full((2, 6, 5), salt)
    masks[1, 2, 3] = not salt
    for find in (distance.squared_distance, distance._squared_on_device):
        squared = find(masks)
        assert (squared[0] == 0).all()
        assert (squared[1] >= 1).all()
        assert squared[1, 5, 0] == 18
