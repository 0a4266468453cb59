"""Readouts: what a small decoder, or a linear probe, can tell from the features of a block."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from saltvolumes._checks import check_count
from thesis_lib._networks import full_precision

WIDTH = 64  # channels of a decoder
CHUNK = 64  # patches that a readout only looks at, at once

Loss = Callable[[Tensor, Tensor], Tensor]


class Decoder(nn.Module):
    """
    Decoder from the features of a block to the patch, after [1]_.

    A 1x1 convolution to 64 channels and two 3x3 convolutions with batch normalisation and ReLU, at
    the resolution of the block; a last 1x1 convolution gives the pixels for which a position
    stands [2]_. So decoders of all blocks are alike but for the first and the last convolution.

    Parameters
    ----------
    channels : int
        Of the features.
    reduction : int
        Pixels of the patch along each axis for one of the features.

    References
    ----------
    .. [1] Dosovitskiy & Brox (2016). Inverting visual representations with convolutional networks.
       https://doi.org/10.1109/CVPR.2016.522
    .. [2] Shi et al. (2016). Real-time single image and video super-resolution using an efficient
       sub-pixel convolutional neural network. https://doi.org/10.1109/CVPR.2016.207
    """

    lr = 3e-3

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, WIDTH, 1)
        self.mix = nn.Sequential(*(layer for _ in range(2) for layer in _convolve()))
        self.spread = nn.Conv2d(WIDTH, check_count("reduction", reduction) ** 2, 1)
        self.reduction = reduction

    def forward(self, features: Tensor) -> Tensor:
        """Patches (B, 1, H, W) from features (B, C, h, w)."""
        return F.pixel_shuffle(self.spread(self.mix(self.squeeze(features))), self.reduction)


def _convolve() -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(WIDTH), nn.ReLU(inplace=True)


class Probe(nn.Module):
    """
    Linear probe for a mask: a 1x1 convolution, and bilinear interpolation [1]_.

    Parameters
    ----------
    channels : int
        Of the features.
    reduction : int
        As in `Decoder`.

    References
    ----------
    .. [1] Alain & Bengio (2016). Understanding intermediate layers using linear classifier probes.
       https://doi.org/10.48550/arXiv.1610.01644
    """

    lr = 3e-2

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.reduction = check_count("reduction", reduction)
        self.squeeze = nn.Conv2d(channels, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (B, 1, H, W) from features (B, C, h, w)."""
        return F.interpolate(
            self.squeeze(features), scale_factor=float(self.reduction), mode="bilinear"
        )


def fit_readout(
    kind: type[Decoder] | type[Probe],
    features: Tensor,
    targets: Tensor,
    loss: Loss,
    *,
    reduction: int,
    steps: int,
    batch_size: int,
    seed: int,
) -> Callable[[Tensor], Tensor]:
    """
    Train a readout on features of patches, by Adam at the rate ``kind.lr``.

    Channels are standardised first, with the statistics of the features given, so that the scale
    of a block or of a network does not count.

    Parameters
    ----------
    kind : {Decoder, Probe}
        What is trained.
    features : Tensor of shape (n, C, h, w)
        What a block makes of the patches. They stay as they are.
    targets : Tensor of shape (n, 1, H, W)
        What is to be read from them: the patches, or their masks.
    loss : callable (output, target) -> Tensor
        Mean over what is compared.
    reduction : int
        Pixels of the patch along each axis for one of the features. Where H or W is no multiple
        of it, what exceeds the patch is cut off.
    steps : int
        Updates, of ``batch_size`` patches each, with a learning rate that falls to 0.
    batch_size : int
        Patches of a step, all of them where there are fewer.
    seed : int
        Decides first weights and the order of the patches. Global random states stay.

    Returns
    -------
    callable (Tensor of shape (m, C, h, w)) -> Tensor of shape (m, 1, H, W)
        The trained readout.

    Raises
    ------
    TypeError, ValueError
        If a number is not a whole one in its range.
    """
    check_count("steps", steps)
    size = min(check_count("batch_size", batch_size), len(features))
    height, width = targets.shape[2:]
    mean, deviation = (f(features, (0, 2, 3), keepdim=True) for f in (torch.mean, torch.std))
    deviation = deviation.clamp_min(1e-6)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(check_count("seed", seed, low=0))
        model = kind(features.shape[1], reduction).to(features)
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat(
        [
            torch.randperm(len(features), generator=generator)
            for _ in range(-(-steps * size // len(features)))
        ]
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=kind.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def read(part: Tensor) -> Tensor:
        output: Tensor = model((part - mean) / deviation)[..., :height, :width]
        return output

    for rows in torch.split(order[: steps * size], size):
        optimizer.zero_grad()
        torch.autograd.backward(loss(read(features[rows]), targets[rows]))
        optimizer.step()
        schedule.step()

    model.eval()

    @torch.no_grad()
    def apply(part: Tensor) -> Tensor:
        with full_precision(part.device):
            return torch.cat([read(chunk) for chunk in torch.split(part, CHUNK)])

    return apply


def explained_variance(images: Tensor, reference: Tensor) -> float:
    r"""
    Explained variance :math:`R^2` of images that were read out, over all of their pixels.

    :math:`1 - \sum (x - \hat x)^2 / \sum (x - \bar x)^2`, with the mean of all reference pixels.

    Parameters
    ----------
    images, reference : Tensors of one shape

    Returns
    -------
    float
        At most 1; 0 for the mean everywhere, below for what is worse.
    """
    images, reference = images.double(), reference.double()
    error = (images - reference).square().sum()
    return float(1 - error / (reference - reference.mean()).square().sum())
