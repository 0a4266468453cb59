"""Networks on surveys sampled otherwise: patches seen at another size, statistics in between."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from saltvolumes._checks import check_range
from thesis_lib._networks import check_images, first_weight
from thesis_lib.patching import zscore


class Zoomed(nn.Module):
    """
    A network that sees each patch at another size.

    A patch is resampled, z-scored again and predicted, and the logits are brought back to its size.

    Parameters
    ----------
    model : Module
        Turns (B, 1, H, W) into logits of the same shape.
    zoom : float
        Enlargement along both axes; 0.5 makes half as many samples and traces.

    Raises
    ------
    ValueError
        If the factor is not above 0.
    """

    def __init__(self, model: nn.Module, zoom: float) -> None:
        super().__init__()
        self.model = model
        self.zoom = check_range("zoom", zoom, low=0, exclusive=True)

    def forward(self, x: Tensor) -> Tensor:
        """
        Logits of salt.

        Parameters
        ----------
        x : Tensor of shape (B, 1, H, W)
            Z-scored patches.

        Returns
        -------
        Tensor of shape (B, 1, H, W)
        """
        return _resize(self.model(self.resize(x)), [*x.shape[2:]])

    def resize(self, x: Tensor) -> Tensor:
        """Z-scored patches at the size at which the network sees them."""
        return zscore(_resize(x, [max(round(self.zoom * n), 1) for n in x.shape[2:]]))

    def widen(self, patch: tuple[int, int]) -> tuple[int, int]:
        """Patch to predict with, for a network that learned from patches of this size."""
        height, width = (max(round(size / self.zoom), 1) for size in patch)
        return height, width


def _resize(images: Tensor, size: list[int]) -> Tensor:
    """Images (B, 1, H, W) of another size, without aliases."""
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)


@torch.no_grad()
def mix_statistics(
    model: nn.Module, images: Tensor, *, weight: float, batch_size: int = 64
) -> None:
    """
    Move the statistics of BatchNorm layers towards those of patches of another survey.

    Parameters
    ----------
    model : Module
        Changed in place. One without BatchNorm layers stays as it is.
    images : Tensor of shape (n, 1, H, W)
        Z-scored patches of the survey, n at least 2; no mask is needed.
    weight : float
        0 keeps the statistics that were learned, 1 takes those of the patches, 0.5 the mean.
    batch_size : int
        Patches at a time; the statistics are means over batches.

    Raises
    ------
    ValueError
        If the weight lies outside [0, 1].
    """
    images = check_images("images", images)
    check_range("weight", weight, low=0, high=1)
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [each.momentum for each in layers]
    learned = [{k: v.clone() for k, v in each.named_buffers()} for each in layers]
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        for layer in layers:
            layer.reset_running_stats()
            layer.train()
            layer.momentum = None  # the mean over all batches
        for batch in torch.split(images, batch_size):
            model(batch.to(first_weight(model)))
    except BaseException:
        weight = 0.0  # half of the patches are no statistics
        raise
    finally:
        for module, mode in modes.items():
            module.training = mode
        for layer, momentum, before in zip(layers, momenta, learned, strict=True):
            layer.momentum = momentum
            for name, values in layer.named_buffers():
                if values.is_floating_point() and weight:
                    values.lerp_(before[name], 1 - weight)
                else:
                    values.copy_(before[name])
