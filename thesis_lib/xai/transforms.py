"""Small random movements that an image has to survive: jitter, scale, rotate."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from saltvolumes._checks import check_range, keep_plain


@dataclass(frozen=True)
class Robustness:
    """
    Random movement of each image at each step, so that only what survives it is found [1]_.

    Images are never flipped, and hardly rotated: dip and polarity have a meaning.

    Parameters
    ----------
    jitter_px : float
        Largest shift along each axis, in pixels.
    scale : float
        Largest relative enlargement, in [0, 1); the largest reduction is its inverse.
    rotate_deg : float
        Largest angle to either side, in [0, 10].

    Raises
    ------
    ValueError
        If an amount is out of its range.

    References
    ----------
    .. [1] Olah et al. (2017). Feature visualization. https://doi.org/10.23915/distill.00007
    """

    jitter_px: float = 8.0
    scale: float = 0.1
    rotate_deg: float = 10.0

    def __post_init__(self) -> None:
        keep_plain(self)
        check_range("jitter_px", self.jitter_px, low=0)
        check_range("scale", self.scale, low=0, high=0.99)
        check_range("rotate_deg", self.rotate_deg, low=0, high=10)

    def draw(self, n_steps: int, generator: torch.Generator) -> Tensor:
        """
        Draw the movements of one image.

        Parameters
        ----------
        n_steps : int
        generator : Generator

        Returns
        -------
        Tensor of shape (n_steps, 4)
            Shift down and right in pixels, factor, and angle in radians, uniform in their ranges
            (the factor's logarithm is).
        """
        reach = (
            self.jitter_px,
            self.jitter_px,
            math.log1p(self.scale),
            math.radians(self.rotate_deg),
        )
        moves = (2 * torch.rand(n_steps, 4, generator=generator) - 1) * torch.tensor(reach)
        moves[:, 2] = moves[:, 2].exp()
        return moves


def move(images: Tensor, moves: Tensor) -> Tensor:
    """
    Rotate and enlarge images about their centres, then shift them; borders reflect.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
    moves : Tensor of shape (n, 4)
        Of each image: shift down and right in pixels, factor (above 1 enlarges), and angle in
        radians (above 0 turns what points right upward).

    Returns
    -------
    Tensor of shape (n, 1, H, W)
        Bilinear interpolation, differentiable.
    """
    height, width = images.shape[2:]
    down, right, factor, angle = moves.to(images).unbind(dim=1)
    # Where each pixel (x, y), counted from the centre, comes from: undo the shift, then the rest.
    cosine, sine = angle.cos() / factor, angle.sin() / factor
    x = torch.stack([cosine, -sine, -cosine * right + sine * down], dim=1)
    y = torch.stack([sine, cosine, -sine * right - cosine * down], dim=1)
    # affine_grid counts half widths and half heights instead of pixels.
    half = torch.tensor([width / 2, height / 2, 1.0], dtype=images.dtype, device=images.device)
    theta = torch.stack([x / half[0], y / half[1]], dim=1) * half  # (n, 2, 3)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)
