"""Numbers that an optimiser moves, the images that they stand for, and how rough those are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from thesis_lib._checks import check_range, check_same_shape


class Parametrization(Protocol):
    """How an image is written as numbers to be optimised."""

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw the parameters of one image of ``shape`` (height, width), in pixels."""

    def render(self, parameters: Tensor, shape: tuple[int, int]) -> Tensor:
        """Images (n, 1, H, W) from n sets of parameters, each image from its own set alone."""


@dataclass(frozen=True)
class Pixels:
    """
    One parameter a pixel. Without robustness this is naive activation maximization.

    Parameters
    ----------
    std : float
        Standard deviation of the noise at the start; 0 starts from nothing.
    """

    std: float = 0.01

    def __post_init__(self) -> None:
        check_range("std", self.std, low=0)

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw white noise, (H, W)."""
        return self.std * torch.randn(shape, generator=generator)

    def render(self, parameters: Tensor, shape: tuple[int, int]) -> Tensor:  # noqa: ARG002
        """Give the parameters an axis for the channel."""
        return parameters[:, None]


@dataclass(frozen=True)
class Fourier:
    """
    Coefficients of the Fourier transform, small ones standing for large low frequencies [1]_.

    A coefficient at f cycles per pixel is multiplied by f^-decay (f is at least 1/max(H, W)), so
    that steps of equal length change low frequencies more.

    Parameters
    ----------
    decay : float
        Exponent; 0 weighs all frequencies alike.
    std : float
        Standard deviation of the coefficients at the start.

    References
    ----------
    .. [1] Olah et al. (2017). Feature visualization. https://doi.org/10.23915/distill.00007

    Examples
    --------
    >>> image = torch.randn(2, 1, 5, 4)
    >>> torch.allclose(Fourier().render(Fourier().analyse(image), (5, 4)), image, atol=2e-6)
    True
    """

    decay: float = 1.0
    std: float = 0.01

    def __post_init__(self) -> None:
        check_range("decay", self.decay, low=0)
        check_range("std", self.std, low=0)

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw the coefficients of white noise, (H, W // 2 + 1, 2) for real and imaginary parts."""
        noise = self.std * torch.randn(shape, generator=generator)
        return torch.view_as_real(torch.fft.rfft2(noise, norm="ortho"))

    def render(self, parameters: Tensor, shape: tuple[int, int]) -> Tensor:
        """Weigh the coefficients and transform them back."""
        spectrum = torch.view_as_complex(parameters) * self._weigh(parameters, shape)
        images: Tensor = torch.fft.irfft2(spectrum, s=shape, norm="ortho")
        return images[:, None]

    def analyse(self, images: Tensor) -> Tensor:
        """
        Parameters that `render` turns into given images.

        Parameters
        ----------
        images : Tensor of shape (n, 1, H, W)

        Returns
        -------
        Tensor of shape (n, H, W // 2 + 1, 2)
        """
        spectrum = torch.fft.rfft2(images[:, 0], norm="ortho")
        height, width = images.shape[2:]
        return torch.view_as_real(spectrum / self._weigh(images, (height, width)))

    def _weigh(self, like: Tensor, shape: tuple[int, int]) -> Tensor:
        """Weight of each coefficient, (H, W // 2 + 1)."""
        height, width = shape
        fy = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)[:, None]
        fx = torch.fft.rfftfreq(width, dtype=like.dtype, device=like.device)
        return torch.hypot(fy, fx).clamp_min(1 / max(shape)) ** -self.decay


@dataclass(frozen=True, eq=False, repr=False)
class Phase:
    """
    Phases alone; the magnitude spectrum is that of the data, and stays (MaCo [1]_).

    An image is real where its spectrum is Hermitian: in the columns kx = 0 and Nyquist the phases
    of -ky are minus those of ky, and at the points that are their own mirror they are 0 or π. So
    in these columns one half follows the other and those points stay, whatever the optimiser
    does: free ones would change the magnitudes.

    Parameters
    ----------
    patches : Tensor of shape (B, 1, H, W)
        Data whose mean magnitude spectrum is taken, z-scored as the network sees it.

    Attributes
    ----------
    magnitude : Tensor of shape (H, W // 2 + 1)
        Mean magnitude of the patches' Fourier transforms.

    Raises
    ------
    ValueError
        If ``patches`` has another number of axes or channels, or none in it.

    References
    ----------
    .. [1] Fel et al. (2023). Unlocking feature visualization for deep networks with magnitude
       constrained optimization. https://doi.org/10.48550/arXiv.2306.06805
    """

    patches: Tensor
    magnitude: Tensor = field(init=False)

    def __post_init__(self) -> None:
        if self.patches.ndim != 4 or self.patches.shape[1] != 1 or not len(self.patches):
            raise ValueError(
                f"Invalid patches of shape {tuple(self.patches.shape)}. Must be (B, 1, H, W)."
            )
        magnitude = torch.fft.rfft2(self.patches[:, 0]).abs().mean(dim=0)
        object.__setattr__(self, "magnitude", magnitude)

    def __repr__(self) -> str:
        return f"Phase(patches={tuple(self.patches.shape)})"

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw the phases of white noise, (H, W // 2 + 1)."""
        check_same_shape("image", shape, "patches of the phase", self.patches.shape[2:])
        phase: Tensor = torch.fft.rfft2(torch.randn(shape, generator=generator)).angle()
        return phase

    def render(self, parameters: Tensor, shape: tuple[int, int]) -> Tensor:
        """Join phases and magnitudes and transform them back."""
        phase = _mirror(parameters, shape)
        spectrum = torch.polar(self.magnitude.to(phase).expand_as(phase), phase)
        images: Tensor = torch.fft.irfft2(spectrum, s=shape)
        return images[:, None]


def _mirror(phase: Tensor, shape: tuple[int, int]) -> Tensor:
    """Phases (n, H, W // 2 + 1) of a real image from free ones."""
    height, width = shape
    rows = torch.arange(height, device=phase.device)[:, None]
    columns = torch.arange(phase.shape[-1], device=phase.device)
    mirrored = -rows % height  # row of -ky
    single = (columns == 0) | (2 * columns == width)  # columns that hold both ky and -ky
    phase = torch.where(single & (rows > mirrored), -phase[:, mirrored[:, 0]], phase)
    return torch.where(single & (rows == mirrored), phase.detach(), phase)


def measure_variation(images: Tensor, beta: float = 2.0) -> Tensor:
    r"""
    Total variation :math:`\sum (d_x^2 + d_y^2)^{\beta/2}` of each image [1]_.

    Differences run forward, from the last row and column to a copy of themselves. Where an image
    is flat its gradient is 0, also for beta below 2.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
    beta : float
        Exponent, above 0.

    Returns
    -------
    Tensor of shape (n,)

    References
    ----------
    .. [1] Mahendran & Vedaldi (2015). Understanding deep image representations by inverting them.
       https://doi.org/10.1109/CVPR.2015.7299155
    """
    check_range("beta", beta, low=0, open_low=True)
    dy = images.diff(dim=2, append=images[:, :, -1:])
    dx = images.diff(dim=3, append=images[..., -1:])
    squared = dx**2 + dy**2
    rough = squared > 0  # the power has an infinite slope at 0
    powers = torch.where(rough, squared, 1) ** (beta / 2)
    return torch.where(rough, powers, 0).sum(dim=(1, 2, 3))


def measure_norm(images: Tensor, alpha: float = 6.0) -> Tensor:
    r"""
    Alpha-norm :math:`\sum |x|^\alpha` of each image, which holds outliers down.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
    alpha : float
        Exponent, at least 1.

    Returns
    -------
    Tensor of shape (n,)
    """
    check_range("alpha", alpha, low=1)
    return (images.abs() ** alpha).sum(dim=(1, 2, 3))
