"""The exact Euclidean distance transform of masks, on the device of the mask."""

import edt
import numpy as np
import torch
from torch import Tensor

_EXACT = 2**24  # whole numbers up to here are exact in float32
_CHUNK_PIXELS = 2**20  # 4 MB of int32: stays in the cache of a CPU core


def _run_distance(mask: Tensor, far: int) -> Tensor:
    """
    Distance along the first axis to the nearest pixel of the other class, or ``far``.

    Both sides of every change start at 1; then each pixel looks 1, 2, 4, ... pixels to both
    sides, so that after the last look the nearest change has reached it. The nearer side of a
    change is always the pixel's own class, so the classes cannot mix.
    """
    change = mask[1:] != mask[:-1]
    distance = torch.full(mask.shape, far, dtype=torch.int32, device=mask.device)
    distance[1:].masked_fill_(change, 1)
    distance[:-1].masked_fill_(change, 1)
    step = 1
    while step < len(mask):
        distance[step:] = torch.minimum(distance[step:], distance[:-step] + step)
        distance[:-step] = torch.minimum(distance[:-step], distance[step:] + step)
        step *= 2
    return distance


def squared_distance(mask: Tensor) -> Tensor:
    """
    Exact squared distance of every pixel to the nearest pixel of the other class [1]_.

    Parameters
    ----------
    mask : bool Tensor of shape (..., H, W)
        True inside salt.

    Returns
    -------
    int32 Tensor of shape (..., H, W)
        In pixels, squared: at least 1 in an image with both classes, and 0 in an image with one.

    References
    ----------
    .. [1] Felzenszwalb & Huttenlocher (2012). Distance transforms of sampled functions.
       https://doi.org/10.4086/toc.2012.v008a019
    """
    height, width = mask.shape[-2:]
    if mask.device.type != "cpu" or height**2 + width**2 > _EXACT:
        return _squared_on_device(mask)
    labels = (mask.to(torch.uint8) + 1).reshape(-1, height, width).contiguous().numpy()
    squared = torch.from_numpy(np.stack([edt.edtsq(image) for image in labels]))
    return torch.where(squared.isinf(), 0, squared).int().reshape(mask.shape)


def _squared_on_device(mask: Tensor) -> Tensor:
    """
    The same by arithmetic of tensors, for all images at once.

    The square is the smaller of the distance within the column, squared, and the least
    g(i')^2 + (i - i')^2 over the rows i' of that column, g being the distance within row i'. Where
    pixel i' is of the other class, its g belongs to the wrong class: but then the column alone is
    at most |i - i'|, and already smaller.
    """
    height, width = mask.shape[-2:]
    images = mask.reshape(-1, height, width)
    far = height + width  # its square exceeds that of any distance
    down = _run_distance(images.movedim(1, 0).contiguous(), far)  # (H, N, W)
    across = _run_distance(images.movedim(2, 0).contiguous(), far)  # (W, N, H)
    across = across.permute(2, 1, 0).contiguous().square()  # (H, N, W)
    row = torch.arange(height, dtype=torch.int32, device=mask.device)
    parabolas = (row[:, None] - row).square()[..., None, None]  # (H, H, 1, 1)
    n_rows = max(1, _CHUNK_PIXELS // max(1, across.numel()))
    envelope = torch.cat([(part + across).amin(1) for part in torch.split(parabolas, n_rows)])
    squared = torch.minimum(down.square(), envelope).movedim(0, 1).reshape(mask.shape)
    return torch.where(squared < far**2, squared, 0)
