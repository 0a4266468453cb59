"""Losses: closed forms, independent libraries, and one contract over all of LOSSES."""

import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from kornia.losses import binary_focal_loss_with_logits, lovasz_hinge_loss
from monai.losses import DiceLoss, FocalLoss, HausdorffDTLoss
from scipy.ndimage import (
    distance_transform_edt,
    gaussian_filter,
    grey_dilation,
    grey_erosion,
)
from torch import Tensor
from torch.distributions import Bernoulli, kl_divergence

from thesis_lib.losses import (
    LOSSES,
    bce_loss,
    contour_loss,
    dice_loss,
    distance_field,
    focal_loss,
    hausdorff_loss,
    jaccard_loss,
    kl_loss,
    lovasz_loss,
    mse_loss,
    wing_loss,
)
from thesis_lib.losses import distance as distance_transform
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


def disc(size: int, radius: float) -> Tensor:
    """One disc in the middle of a square, shape (1, 1, size, size)."""
    offset = torch.arange(size) - (size - 1) / 2
    return (offset[:, None] ** 2 + offset**2 <= radius**2)[None, None]


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

    def test_names(self):
        """LOSSES holds the ten losses and the baseline."""
        names = "bce contour dice focal hausdorff jaccard kl lovasz mse wing bce_dice"
        assert list(LOSSES) == names.split()

    @every_loss
    def test_canonical_case(self, name):
        """On the canonical 2x2 case every loss has the value of its formula."""
        value = LOSSES[name](CASE_LOGITS, CASE_TARGET)
        assert value.item() == pytest.approx(CASE_VALUES[name], abs=1e-9)

    def test_hausdorff_value(self):
        """The Hausdorff loss of the canonical case is 0.509329."""
        assert hausdorff_loss(CASE_LOGITS, CASE_TARGET).item() == pytest.approx(0.509329, abs=5e-7)

    def test_focal_alpha(self):
        """The focal loss weighs salt by alpha and background by 1 - alpha."""
        value = focal_loss(CASE_LOGITS, CASE_TARGET, alpha=0.25)
        assert value.item() == pytest.approx(0.0509474119, abs=1e-9)

    def test_focal_without_focus(self):
        """With gamma 0 the focal loss is the cross-entropy."""
        torch.testing.assert_close(
            focal_loss(CASE_LOGITS, CASE_TARGET, gamma=0), bce_loss(CASE_LOGITS, CASE_TARGET)
        )

    def test_wing_of_the_paper(self):
        """With the width 10 and curvature 2 of landmark papers the case gives 1.7251018."""
        value = wing_loss(CASE_LOGITS, CASE_TARGET, width=10, curvature=2)
        assert value.item() == pytest.approx(1.7251018, abs=5e-8)

    def test_wing_is_continuous_and_linear_outside(self):
        """Beyond its width the wing loss goes on with slope 1 and without a jump."""
        width, curvature = 0.5, 0.25
        target = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
        at = [
            wing_loss(torch.logit(target + p), target, width=width, curvature=curvature).item()
            for p in (0.5 - 1e-9, 0.5, 0.75)
        ]
        assert at[0] == pytest.approx(width * math.log1p(width / curvature), abs=1e-8)
        assert at[1] == pytest.approx(at[0], abs=1e-8)
        assert at[2] - at[1] == pytest.approx(0.25)

    def test_kl_without_smoothing(self):
        """Without smoothing the divergence of a binary target is the cross-entropy."""
        value = kl_loss(CASE_LOGITS, CASE_TARGET, smoothing=0)
        assert value.item() == pytest.approx(0.5632616875, abs=1e-9)

    def test_kl_vanishes_at_the_smoothed_target(self):
        """The divergence is 0 where the probability equals the smoothed target."""
        logits = torch.logit(CASE_TARGET.double() * 0.9 + 0.05)
        assert kl_loss(logits, CASE_TARGET).item() == pytest.approx(0, abs=1e-12)

    def test_contour_band(self):
        """On a straight contour the weights are 1 and, two pixels to each side, 6."""
        target = torch.zeros(1, 1, 9, 9)
        target[..., 5:] = 1
        band = _contour_band(target, 5)
        assert (1 + 5 * band[0, 0]).tolist() == [[1, 1, 1, 6, 6, 6, 6, 1, 1]] * 9
        value = contour_loss(torch.zeros(1, 1, 9, 9), target)
        assert value.item() == pytest.approx(2.2334742485, abs=1e-6)

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("bce", [-0.125, 0.125, -0.125, -0.125]),
            ("dice", [-0.07, 0.03, -0.07, -0.07]),
        ],
    )
    def test_gradient_at_zero(self, name, expected):
        """At x = 0 the gradients are those derived by hand."""
        found = gradient(name, torch.zeros(1, 1, 2, 2, dtype=torch.float64), CASE_TARGET)
        torch.testing.assert_close(found.flatten(), torch.tensor(expected, dtype=torch.float64))

    def test_both_masks_of_one_class(self):
        """Where neither mask has a contour the Hausdorff loss is twice the squared error."""
        logits = torch.full((1, 1, 4, 6), 3.0)
        for target in (torch.zeros(1, 1, 4, 6), torch.ones(1, 1, 4, 6)):
            expected = 2 * mse_loss(logits, target)
            torch.testing.assert_close(hausdorff_loss(logits, target), expected)

    def test_one_mask_of_one_class(self):
        """Beside a mask with a contour one without adds no distance to the Hausdorff loss."""
        logits = torch.tensor([[[[9.0, -9.0, -9.0, -9.0]]]])
        target = torch.zeros(1, 1, 1, 4)
        squares = torch.tensor([1.0, 1.0, 4.0, 9.0])
        expected = (torch.sigmoid(logits).square().flatten() * squares).mean()
        torch.testing.assert_close(hausdorff_loss(logits, target), expected)

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

    def test_torch_bce(self, pair):
        """The cross-entropy agrees with torch."""
        expected = F.binary_cross_entropy_with_logits(pair[0], pair[1].double())
        torch.testing.assert_close(bce_loss(*pair), expected)

    def test_torch_mse(self, pair):
        """The squared error agrees with torch."""
        expected = F.mse_loss(pair[0].sigmoid(), pair[1].double())
        torch.testing.assert_close(mse_loss(*pair), expected)

    @pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
    def test_torch_kl(self, pair, smoothing):
        """The divergence agrees with that of two torch distributions."""
        smoothed = Bernoulli(probs=pair[1].double() * (1 - smoothing) + smoothing / 2)
        expected = kl_divergence(smoothed, Bernoulli(logits=pair[0])).mean()
        torch.testing.assert_close(kl_loss(*pair, smoothing=smoothing), expected)

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
        value = focal_loss(logits.float(), target, gamma=gamma)
        torch.testing.assert_close(value, referee)
        value = focal_loss(logits, target, gamma=gamma, alpha=0.3)
        referee = binary_focal_loss_with_logits(
            logits, target, alpha=0.3, gamma=gamma, reduction="mean"
        )
        torch.testing.assert_close(value, referee)

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

    @pytest.mark.parametrize("blur_px", [0.0, 0.8, 2.0])
    @pytest.mark.parametrize("window_px", [1, 3, 7])
    def test_scipy_contour(self, pair, window_px, blur_px):
        """The weights of the contour loss are scipy's morphology and Gaussian filter."""
        logits, target = pair[0], pair[1].double()
        size = (1, 1, window_px, window_px)
        band = grey_dilation(target, size, mode="nearest") - grey_erosion(
            target, size, mode="nearest"
        )
        if blur_px:
            band = gaussian_filter(band, (0, 0, blur_px, blur_px), mode="nearest", truncate=3)
        weights = torch.from_numpy(1 + 2 * band)
        expected = F.binary_cross_entropy_with_logits(logits, target, weights)
        value = contour_loss(*pair, weight=2, window_px=window_px, blur_px=blur_px)
        torch.testing.assert_close(value, expected)


class TestContract:
    """What every loss promises."""

    @every_loss
    @pytest.mark.parametrize("shape", [(1, 8, 8), (2, 8, 8), (2, 1, 8, 1), (1, 1, 8, 8)])
    def test_shapes_differ(self, name, shape):
        """A target of another shape is refused, never broadcast."""
        with pytest.raises(ValueError, match=r"Shapes differ: logits \(2, 1, 8, 8\), target"):
            LOSSES[name](torch.zeros(2, 1, 8, 8), torch.zeros(shape))

    @every_loss
    @pytest.mark.parametrize("shape", [(8, 8), (2, 8, 8), (2, 3, 8, 8), (0, 1, 8, 8), (1, 1, 0, 8)])
    def test_wrong_shape(self, name, shape):
        """Anything but a batch of one-channel images with pixels is refused."""
        with pytest.raises(ValueError, match=r"Invalid logits of shape .* Must be \(B, 1, H, W\)"):
            LOSSES[name](torch.zeros(shape), torch.zeros(shape))

    @every_loss
    def test_wrong_dtype(self, name):
        """Logits that are whole numbers are refused."""
        with pytest.raises(TypeError, match=r"Invalid logits of dtype torch\.int64"):
            LOSSES[name](torch.zeros(1, 1, 2, 2, dtype=torch.int64), torch.zeros(1, 1, 2, 2))

    @every_loss
    @pytest.mark.parametrize("bad", [255.0, -1.0, math.nan, math.inf])
    def test_wrong_values(self, name, bad):
        """A target outside [0, 1] is refused."""
        with pytest.raises(ValueError, match=r"Invalid target with values .* lie in \[0, 1\]"):
            LOSSES[name](torch.zeros(1, 1, 1, 2), torch.tensor([[[[0.0, bad]]]]))

    @every_loss
    @pytest.mark.parametrize("bad", [255.0, -1.0, math.nan, math.inf])
    def test_wrong_values_on_a_device(self, name, bad):
        """Where the device is not asked, a target outside [0, 1] makes the loss NaN."""
        target = torch.tensor([[[[1.0, 0.0, bad]]]])
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
    def test_target_dtypes(self, name):
        """Bool, integer and float targets have the same loss."""
        logits, target = draw(2, 1, 9, 7)
        values = [
            LOSSES[name](logits, target.to(dtype))
            for dtype in (torch.bool, torch.uint8, torch.int64, torch.float32, torch.float64)
        ]
        assert len({value.item() for value in values}) == 1
        assert {value.dtype for value in values} == {torch.float32}

    @every_loss
    @pytest.mark.parametrize("salt", [0, 1])
    @pytest.mark.parametrize("certainty", [0.0, 5.0])
    def test_target_of_one_class(self, name, salt, certainty):
        """An empty or a full target pushes every wrong pixel the right way."""
        target = torch.full((1, 1, 16, 16), salt)
        logits = torch.full((1, 1, 16, 16), certainty * (1 - 2 * salt) + 1e-3)
        slope = gradient(name, logits, target) * (1 - 2 * salt)
        assert LOSSES[name](logits, target) > 0.03
        assert (slope > 0).all()
        assert slope.sum() > 1e-4

    @every_loss
    @pytest.mark.parametrize("salt", [0, 1])
    def test_target_of_one_class_is_learned(self, name, salt):
        """AdamW leaves no wrong pixel of an empty or full target that was all wrong."""
        target = torch.full((1, 1, 16, 16), salt)
        mask = descend(name, torch.full(target.shape, 5.0 - 10 * salt), target) > 0
        assert (mask == salt).all()

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
    def test_autocast_changes_nothing(self, name):
        """Under bf16 autocast a loss is computed in float32 all the same."""
        logits, target = draw(2, 1, 9, 7)
        logits = logits.bfloat16()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = LOSSES[name](logits, target)
        assert value == LOSSES[name](logits.float(), target)

    @every_loss
    def test_flips_and_transposes(self, name):
        """Mirrored and transposed images have the same loss."""
        logits, target = draw(2, 1, 9, 7, dtype=torch.float64)
        value = LOSSES[name](logits, target)
        for move in (lambda x: x.flip(2), lambda x: x.flip(3), lambda x: x.mT):
            torch.testing.assert_close(LOSSES[name](move(logits), move(target)), value)

    @every_loss
    def test_batch_is_the_mean_of_its_samples(self, name):
        """A batch with mixed, empty and full targets has the mean loss of its samples."""
        logits, target = draw(4, 1, 9, 7, dtype=torch.float64)
        target[1], target[2] = False, True
        alone = [LOSSES[name](x[None], t[None]) for x, t in zip(logits, target, strict=True)]
        torch.testing.assert_close(LOSSES[name](logits, target), torch.stack(alone).mean())

    @every_loss
    def test_gradcheck(self, name):
        """The gradient is that of finite differences, also for targets of one class."""
        logits, target = draw(4, 1, 5, 4, dtype=torch.float64)
        target[1], target[2] = False, True
        assert torch.autograd.gradcheck(lambda x: LOSSES[name](x, target), logits.requires_grad_())

    @every_loss
    def test_disc_is_learned(self, name):
        """A hundred steps of AdamW on the logits of a disc reach a Dice score above .99."""
        target = disc(64, 15)
        mask = descend(name, torch.zeros(target.shape), target) > 0
        assert 2 * (mask & target).sum() / (mask.sum() + target.sum()) > 0.99

    @every_loss
    def test_inputs_are_left_alone(self, name):
        """Neither logits nor target change."""
        logits, target = draw(2, 1, 9, 7)
        before = logits.clone(), target.clone()
        LOSSES[name](logits, target)
        assert torch.equal(logits, before[0])
        assert torch.equal(target, before[1])

    @every_loss
    def test_pickles(self, name):
        """A loss can be sent to a worker process."""
        assert pickle.loads(pickle.dumps(LOSSES[name])) is LOSSES[name]


class TestParameters:
    """Parameters out of range."""

    @pytest.mark.parametrize(
        ("loss", "options", "message"),
        [
            (focal_loss, {"gamma": -1.0}, r"Invalid gamma -1.0. Must lie in \[0, inf\)"),
            (focal_loss, {"alpha": 1.5}, r"Invalid alpha 1.5. Must lie in \[0, 1\]"),
            (kl_loss, {"smoothing": 1.1}, r"Invalid smoothing 1.1. Must lie in \[0, 1\]"),
            (wing_loss, {"width": 0.0}, r"Invalid width 0.0. Must lie in \(0, inf\)"),
            (wing_loss, {"curvature": 0.0}, r"Invalid curvature 0.0. Must lie in \(0, inf\)"),
            (contour_loss, {"weight": -1.0}, r"Invalid weight -1.0. Must lie in \[0, inf\)"),
            (contour_loss, {"blur_px": -1.0}, r"Invalid blur_px -1.0. Must lie in \[0, inf\)"),
            (contour_loss, {"window_px": 0}, r"Invalid window_px 0. Must be at least 1"),
            (contour_loss, {"window_px": 4}, r"Invalid window_px 4. Must be odd"),
            (
                hausdorff_loss,
                {"target_distance": torch.ones(2, 2)},
                r"Shapes differ: target_distance \(2, 2\), target \(1, 1, 2, 2\)",
            ),
        ],
    )
    def test_out_of_range(self, loss, options, message):
        """Each parameter says what it may be."""
        with pytest.raises(ValueError, match=message):
            loss(CASE_LOGITS, CASE_TARGET, **options)

    def test_window_is_a_whole_number(self):
        """A window of 2.5 pixels is refused."""
        with pytest.raises(TypeError, match=r"Invalid window_px 2\.5\. Must be a whole number"):
            contour_loss(CASE_LOGITS, CASE_TARGET, window_px=2.5)


def check_against_scipy(masks: np.ndarray) -> None:
    """Compare the squares, which are whole numbers, exactly, and the distances to one rounding."""
    expected = np.array([distance_transform_edt(m) + distance_transform_edt(~m) for m in masks])
    squared = distance_transform.squared_distance(torch.from_numpy(masks))
    np.testing.assert_array_equal(squared, np.round(expected**2))
    np.testing.assert_allclose(distance_field(torch.from_numpy(masks)), expected, rtol=2e-7)


class TestDistanceField:
    """The exact distance transform."""

    @pytest.mark.parametrize("shape", [(64, 64), (33, 20), (1, 17), (17, 1), (2, 2), (5, 128)])
    @pytest.mark.parametrize("salt", [0.003, 0.05, 0.5, 0.95])
    def test_scipy_on_random_masks(self, shape, salt):
        """Random masks have exactly the squared distances of scipy."""
        masks = np.random.default_rng(0).random((6, *shape)) < salt
        masks[:, 0, 0], masks[:, -1, -1] = True, False
        check_against_scipy(masks)

    @pytest.mark.parametrize("shape", [(96, 71), (40, 90)])
    def test_scipy_on_bodies(self, shape):
        """Bodies as smooth and as large as salt have exactly the squared distances of scipy."""
        _, masks = draw(6, 1, *shape)
        masks[0] = False
        masks[0, 0, 10:35, 5:60] = True
        check_against_scipy(masks[:, 0].numpy())

    def test_chunks(self, monkeypatch):
        """The size of the chunks does not change a distance."""
        _, masks = draw(3, 1, 21, 18)
        expected = distance_field(masks)
        for chunk in (1, 3 * 18 * 21 * 4):
            monkeypatch.setattr(distance_transform, "_CHUNK_PIXELS", chunk)
            assert torch.equal(distance_field(masks), expected)

    @pytest.mark.parametrize("salt", [False, True])
    def test_one_class(self, salt):
        """A mask of one class has no distance, whatever its neighbours in the batch hold."""
        masks = torch.full((2, 6, 5), salt)
        masks[1, 2, 3] = not salt
        distance = distance_field(masks)
        assert (distance[0] == 0).all()
        assert (distance[1] >= 1).all()
        assert distance[1, 5, 0].item() == pytest.approx(math.sqrt(18))

    def test_given_target_distance(self):
        """The Hausdorff loss with the distances of its target is the loss without them."""
        logits, target = draw(4, 1, 33, 20)
        target[1], target[2] = False, True
        given = hausdorff_loss(logits, target, target_distance=distance_field(target))
        torch.testing.assert_close(given, hausdorff_loss(logits, target))

    def test_wrong_dtype(self):
        """Only a bool mask says by itself where salt is."""
        with pytest.raises(TypeError, match=r"Invalid mask of dtype torch.float32. Must be torch"):
            distance_field(torch.zeros(2, 2))

    @pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 4, 0)])
    def test_wrong_shape(self, shape):
        """A mask needs two dimensions and a pixel."""
        with pytest.raises(ValueError, match=r"Invalid mask of shape .* Must be \(\.\.\., H, W\)"):
            distance_field(torch.zeros(shape, dtype=torch.bool))


def test_loss_curve_is_one_line():
    """A curve over the logit of a uniform image needs nothing but the loss."""
    target = torch.ones(1, 1, 4, 4)
    curve = [bce_loss(x * torch.ones_like(target), target).item() for x in (-2.0, 0.0, 2.0)]
    assert curve == pytest.approx([math.log1p(math.exp(-x)) for x in (-2, 0, 2)])
