"""Losses that judge every pixel by itself."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from saltvolumes._checks import check_range
from thesis_lib.losses._contract import mean, mean_loss


def bce_per_pixel(logits: Tensor, target: Tensor) -> Tensor:
    """Binary cross-entropy of every pixel, shape (B, 1, H, W)."""
    return F.binary_cross_entropy_with_logits(logits, target, reduction="none")


def _is_mask(target: Tensor) -> bool:
    """Whether a constant target holds zeros and ones only; on the CPU, not to stall a device."""
    known = target.device.type == "cpu" and not target.requires_grad
    return known and torch.equal(target, target.ceil())


@mean_loss
def bce_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""
    Binary cross-entropy, the negative log-likelihood of a Bernoulli variable.

    .. math:: -\mathrm{mean}\,[t \ln p + (1 - t) \ln(1 - p)]

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1].

    Examples
    --------
    >>> bce_loss(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8))  # ln 2
    tensor(0.6931)
    """
    return bce_per_pixel(logits, target)


@mean_loss
def mse_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""
    Mean squared error of the probabilities (the Brier score).

    .. math:: \mathrm{mean}\,(p - t)^2

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1].
    """
    return F.mse_loss(torch.sigmoid(logits), target, reduction="none")


@mean_loss
def focal_loss(
    logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: float | None = None
) -> Tensor:
    r"""
    Cross-entropy that turns away from the pixels already right.

    .. math::
        -\mathrm{mean}\,[\alpha\, t\, (1 - p)^\gamma \ln p
        + (1 - \alpha)\, (1 - t)\, p^\gamma \ln(1 - p)]

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1].
    gamma : float
        Focus, at least 0; 0 gives the cross-entropy.
    alpha : float, optional
        Weight of salt in [0, 1]; background gets 1 - alpha. Without it both weigh 1.

    Raises
    ------
    ValueError
        If a parameter lies outside its range.

    References
    ----------
    .. [1] Lin et al. (2017). Focal loss for dense object detection.
       https://doi.org/10.1109/ICCV.2017.324
    """
    check_range("gamma", gamma, low=0)
    if alpha is not None:
        alpha = check_range("alpha", alpha, low=0, high=1)
    if _is_mask(target):  # a pixel has one term only, that of its class
        side = 2 * target - 1
        log_hit, log_missed = F.logsigmoid(side * logits), F.logsigmoid(-side * logits)
        loss = (gamma * log_missed).exp() * log_hit
        if alpha is not None:
            loss = loss * (alpha * target + (1 - alpha) * (1 - target))
        return -mean(loss)
    log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
    # the powers through logarithms: smooth for every gamma, also where a probability is 0
    missed_salt = -target * (gamma * log_q).exp() * log_p
    false_salt = (target - 1) * (gamma * log_p).exp() * log_q
    if alpha is None:
        return missed_salt + false_salt
    return alpha * missed_salt + (1 - alpha) * false_salt


@mean_loss
def kl_loss(logits: Tensor, target: Tensor, *, smoothing: float = 0.1) -> Tensor:
    r"""
    Kullback-Leibler divergence of the prediction from the label-smoothed target.

    .. math::
        \mathrm{mean}\,\Big[t' \ln\frac{t'}{p} + (1 - t') \ln\frac{1 - t'}{1 - p}\Big],
        \qquad t' = t (1 - s) + s / 2

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1].
    smoothing : float
        s in [0, 1]. With 0 and a mask of zeros and ones this is the binary cross-entropy.

    Raises
    ------
    ValueError
        If ``smoothing`` lies outside its range.

    References
    ----------
    .. [1] Kullback & Leibler (1951). On information and sufficiency.
       https://doi.org/10.1214/aoms/1177729694
    .. [2] Szegedy et al. (2016). Rethinking the Inception architecture.
       https://doi.org/10.1109/CVPR.2016.308
    """
    check_range("smoothing", smoothing, low=0, high=1)

    def smooth(target: Tensor) -> Tensor:
        return target * (1 - smoothing) + smoothing / 2

    def entropy(target: Tensor) -> Tensor:
        both: Tensor = torch.special.entr(target) + torch.special.entr(1 - target)
        return both

    divergence = bce_per_pixel(logits, smooth(target))
    if _is_mask(target):  # two different pixels only
        ends = entropy(smooth(target.new_tensor([0.0, 1.0])))  # equal, or differ by a rounding
        return divergence - (ends[0] + target * (ends[1] - ends[0]))
    return divergence - entropy(smooth(target))


@mean_loss
def wing_loss(
    logits: Tensor, target: Tensor, *, width: float = 5.0, curvature: float = 0.5
) -> Tensor:
    r"""
    Wing loss of the probabilities: logarithmic for small errors, linear for large ones.

    .. math::
        \mathrm{mean} \begin{cases} w \ln(1 + |d| / e) & |d| < w \\ |d| - c & \text{else}
        \end{cases}, \qquad d = p - t, \quad c = w - w \ln(1 + w / e)

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1].
    width : float
        w, positive: half-width of the logarithmic part. Errors of a probability are below 1, so
        from 1 up they never leave it.
    curvature : float
        e, positive. Smaller values favour the small errors more.

    Raises
    ------
    ValueError
        If a parameter is not positive.

    References
    ----------
    .. [1] Feng et al. (2018). Wing loss for robust facial landmark localisation with
       convolutional neural networks. https://doi.org/10.1109/CVPR.2018.00238
    """
    check_range("width", width, low=0, exclusive=True)
    check_range("curvature", curvature, low=0, exclusive=True)
    error = (torch.sigmoid(logits) - target).abs()
    near = width * (error / curvature).log1p()
    if width > 1:  # no error leaves the logarithmic part
        return near
    gap = width - width * math.log1p(width / curvature)
    return torch.where(error < width, near, error - gap)
