"""Losses that know where the contours are."""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from saltvolumes._checks import check_count, check_range
from thesis_lib.losses._contract import mean_loss
from thesis_lib.losses.distance import squared_distance
from thesis_lib.losses.pixelwise import bce_per_pixel


def _contour_band(mask: Tensor, window_px: int) -> Tensor:
    """Dilation minus erosion with a square window; the edge of the image is no contour."""
    rows = F.pad(mask, [window_px // 2] * 4, mode="replicate").unfold(2, window_px, 1)
    low, high = rows.amin(-1), rows.amax(-1)  # (B, 1, H, W + window_px - 1)
    shifts = range(window_px)
    width = mask.shape[-1]
    high = reduce(torch.maximum, [high.narrow(3, shift, width) for shift in shifts])
    return high - reduce(torch.minimum, [low.narrow(3, shift, width) for shift in shifts])


def _blur(image: Tensor, sigma_px: float) -> Tensor:
    """Gaussian filter out to three standard deviations, the border repeated outward."""
    radius = int(3 * sigma_px + 0.5)
    offset = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = (-0.5 * (offset / sigma_px).square()).softmax(0)
    image = F.pad(image, [radius] * 4, mode="replicate")
    return F.conv2d(F.conv2d(image, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


@mean_loss
def contour_loss(
    logits: Tensor,
    target: Tensor,
    *,
    weight: float = 5.0,
    window_px: int = 5,
    blur_px: float = 0.0,
) -> Tensor:
    r"""
    Cross-entropy that weighs more in a band about the contour of the target.

    .. math:: \mathrm{mean}\,(M \cdot \mathrm{BCE}), \qquad
        M = 1 + K\, G * [\mathrm{dilate}(t) - \mathrm{erode}(t)]

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1].
    weight : float
        K, at least 0: extra weight of the band.
    window_px : int
        Odd side of the square window of dilation and erosion, in pixels.
    blur_px : float
        Standard deviation of the Gaussian G, in pixels; 0 leaves the band sharp.

    Raises
    ------
    TypeError
        If ``window_px`` is not a whole number.
    ValueError
        If a parameter lies outside its range or the window is even.

    References
    ----------
    .. [1] Chen et al. (2019). Contour loss: boundary-aware learning for salient object
       segmentation. https://doi.org/10.48550/arXiv.1908.01975
    """
    check_range("weight", weight, low=0)
    check_range("blur_px", blur_px, low=0)
    if check_count("window_px", window_px) % 2 == 0:
        raise ValueError(f"Invalid window_px {window_px}. Must be odd.")
    band = _contour_band(target, window_px)
    if blur_px > 0:
        band = _blur(band, blur_px)
    return (1 + weight * band) * bce_per_pixel(logits, target)


@mean_loss
def hausdorff_loss(logits: Tensor, target: Tensor) -> Tensor:
    r"""
    Squared error weighted by the distance to both contours (distance-transform form).

    .. math:: \mathrm{mean}\,[(p - t)^2 (d_p^2 + d_t^2)]

    :math:`d_p` and :math:`d_t` are the exact distances of a pixel to the nearest one of the other
    class, in pixels, in the masks :math:`p > 0.5` and :math:`t > 0.5`, constants for the gradient.
    A mask of one class has no contour and adds 0 to the distance of one that has; where neither
    has, both distances are 1.

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
        Raw network output.
    target : Tensor of shape (B, 1, H, W)
        Salt mask, in [0, 1].

    References
    ----------
    .. [1] Karimi & Salcudean (2020). Reducing the Hausdorff distance in medical image
       segmentation with convolutional neural networks. https://doi.org/10.1109/TMI.2019.2930068
    """
    p = torch.sigmoid(logits)
    weights = (squared_distance(p > 0.5) + squared_distance(target > 0.5)).to(p.dtype)
    return F.mse_loss(p, target, reduction="none") * torch.where(weights > 0, weights, 2)
