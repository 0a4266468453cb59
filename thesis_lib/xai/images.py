"""Numbers that an optimiser moves, and the images that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from saltvolumes._checks import check_range, check_same_shape, keep_plain
from thesis_lib._networks import check_images


class Parametrization(Protocol):
    """How an image is written as numbers to be optimised."""

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw the parameters of one image of ``shape`` (height, width), in pixels."""

    def render(self, parameters: Tensor, shape: tuple[int, int]) -> Tensor:
        """Images (n, 1, H, W) from n sets of parameters, each image from its own set alone."""


@dataclass(frozen=True)
class Pixels:
    """
    One parameter per pixel. Without robustness this is naive activation maximization.

    Parameters
    ----------
    std : float
        Standard deviation of the noise at the start; 0 starts from zeros.
    """

    std: float = 0.01

    def __post_init__(self) -> None:
        keep_plain(self)
        check_range("std", self.std, low=0)

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw white noise, (H, W)."""
        return self.std * torch.randn(shape, generator=generator)

    def render(self, parameters: Tensor, shape: tuple[int, int]) -> Tensor:  # noqa: ARG002
        """Add an axis for the channel."""
        return parameters[:, None]


@dataclass(frozen=True)
class Fourier:
    """
    Coefficients of the Fourier transform, weighted in favour of low frequencies [1]_.

    A coefficient at f cycles per pixel is multiplied by f^-decay (f is at least 1/max(H, W)), so
    that steps of equal length change low frequencies more.

    Parameters
    ----------
    decay : float
        Exponent; 0 weights all frequencies alike.
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
        keep_plain(self)
        check_range("decay", self.decay, low=0)
        check_range("std", self.std, low=0)

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw the coefficients of white noise, (H, W // 2 + 1, 2) for real and imaginary parts."""
        noise = self.std * torch.randn(shape, generator=generator)
        return torch.view_as_real(torch.fft.rfft2(noise, norm="ortho"))

    def render(self, parameters: Tensor, shape: tuple[int, int]) -> Tensor:
        """Weight the coefficients and transform them back."""
        spectrum = torch.view_as_complex(parameters) * self._weight(parameters, shape)
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
        images = check_images("images", images)
        spectrum = torch.fft.rfft2(images[:, 0], norm="ortho")
        height, width = images.shape[2:]
        return torch.view_as_real(spectrum / self._weight(images, (height, width)))

    def _weight(self, like: Tensor, shape: tuple[int, int]) -> Tensor:
        """Weight of each coefficient, (H, W // 2 + 1)."""
        height, width = shape
        fy = torch.fft.fftfreq(height, dtype=like.dtype, device=like.device)[:, None]
        fx = torch.fft.rfftfreq(width, dtype=like.dtype, device=like.device)
        return torch.hypot(fy, fx).clamp_min(1 / max(shape)) ** -self.decay


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
    TypeError, ValueError
        If ``patches`` is not a Tensor of shape (B, 1, H, W), or empty.

    References
    ----------
    .. [1] Fel et al. (2023). Unlocking feature visualization for deep networks with magnitude
       constrained optimization. https://doi.org/10.48550/arXiv.2306.06805
    """

    @torch.inference_mode(False)
    def __init__(self, patches: Tensor) -> None:
        patches = check_images("patches", patches).detach()
        self.shape = tuple(patches.shape)
        self.magnitude: Tensor = torch.fft.rfft2(patches[:, 0]).abs().mean(dim=0)

    def __repr__(self) -> str:
        return f"Phase(patches={self.shape})"

    def start(self, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        """Draw the phases of white noise, (H, W // 2 + 1)."""
        check_same_shape("image", shape, "patches of the phase", self.shape[2:])
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
