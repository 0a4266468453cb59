"""Losses that judge the overlap of two regions, and the baseline of the study."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thesis_lib.losses._contract import mean, mean_loss
from thesis_lib.losses.pixelwise import bce_per_pixel


def _score_background_if_empty(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Let the two classes change roles in the samples whose target holds no salt."""
    empty = target.sum((1, 2, 3), keepdim=True) == 0  # (B, 1, 1, 1)
    if empty.device.type == "cpu" and not empty.any():
        return logits, target
    return torch.where(empty, -logits, logits), torch.where(empty, 1 - target, target)


class _Sums(torch.autograd.Function):
    """Sums per sample (B,) of p + t - 2pt and of p + t, whose gradients share their passes."""

    @staticmethod
    def forward(ctx: Any, p: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(p, target)
        total = p + target
        sums = total.sum((1, 2, 3))
        return total.sub_(p * target, alpha=2).sum((1, 2, 3)), sums

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor | None]:
        difference, total = (slope.view(-1, 1, 1, 1) for slope in slopes)
        p, target = (
            torch.sub(difference + total, difference * other, alpha=2) if needed else None
            for other, needed in zip(ctx.saved_tensors[::-1], ctx.needs_input_grad, strict=True)
        )
        return p, target


def _dice_distance(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice loss per sample (B,): 1 - 2Σpt / (Σp + Σt) without its cancellation."""
    logits, target = _score_background_if_empty(logits, target)
    p = torch.sigmoid(logits)
    sums: tuple[Tensor, Tensor] = _Sums.apply(p, target)
    return sums[0] / sums[1]


@mean_loss
def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""
    Soft Dice loss, with the linear denominator and without a smoothing term.

    .. math:: 1 - \frac{2 \sum p t}{\sum p + \sum t}

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1]. A sample without salt is scored on its background.

    References
    ----------
    .. [1] Milletari et al. (2016). V-Net. https://doi.org/10.1109/3DV.2016.79
    """
    return _dice_distance(logits, target)


@mean_loss
def jaccard_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""
    Soft Jaccard loss (intersection over union).

    .. math:: 1 - \frac{\sum p t}{\sum p + \sum t - \sum p t}

    It is :math:`2 D / (1 + D)` of the Dice loss :math:`D`.

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1]. A sample without salt is scored on its background.

    References
    ----------
    .. [1] Rahman & Wang (2016). Optimizing intersection-over-union in deep neural networks for
       image segmentation. https://doi.org/10.1007/978-3-319-50835-1_22
    """
    dice = _dice_distance(logits, target)
    return 2 * dice / (1 + dice)


@mean_loss
def lovasz_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""
    Lovász hinge: the convex surrogate of the Jaccard loss, image by image.

    With the hinge errors :math:`m = 1 - x (2 t - 1)` in descending order, and :math:`J_k` the
    Jaccard index when the first k pixels are wrong,

    .. math:: \sum_k \max(m_k, 0)\, (J_{k-1} - J_k)

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask; the loss is defined for two classes, so values above 0.5 are salt. A sample
        without salt is scored on its background.

    References
    ----------
    .. [1] Yu & Blaschko (2015). Learning submodular losses with the Lovász hinge.
       https://proceedings.mlr.press/v37/yub15.html
    .. [2] Berman et al. (2018). The Lovász-softmax loss.
       https://doi.org/10.1109/CVPR.2018.00464
    """
    logits, target = _score_background_if_empty(logits, (target > 0.5).to(logits.dtype))
    errors = 1 - logits * (2 * target - 1)
    errors, order = errors.flatten(1).sort(dim=1, descending=True)  # (B, H*W)
    is_salt = target.flatten(1).gather(1, order)
    n_missed = is_salt.cumsum(1, dtype=torch.int64)
    n_salt = n_missed[:, -1:]
    rank = torch.arange(1, order.shape[1] + 1, device=order.device)
    intersection = (n_salt - n_missed).to(errors.dtype)
    union = (n_salt + rank - n_missed).to(errors.dtype)
    # a missed salt pixel shrinks the intersection by 1, a false one lets the union grow by 1
    lost = torch.maximum(is_salt, intersection / (union - 1).clamp(min=1)) / union
    return (F.relu(errors) * lost).sum(1)


@mean_loss
def bce_dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """
    Sum of `bce_loss` and `dice_loss`: the baseline of the study.

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1]. The Dice loss scores a sample without salt on its background.

    References
    ----------
    .. [1] Isensee et al. (2021). nnU-Net. https://doi.org/10.1038/s41592-020-01008-z
    """
    return mean(bce_per_pixel(logits, target)) + mean(_dice_distance(logits, target))
