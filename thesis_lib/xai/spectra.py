"""Spectra of images and of data, and what the ones have in excess of the others, or lack."""

import torch
from torch import Tensor

from saltvolumes._checks import check_choice, check_range, check_same_shape
from thesis_lib._networks import check_images

BAND = 0.99  # fraction of the power of data that lies in their band
FLOOR = 1e-12  # fraction of an image's power below which a frequency counts as empty: -120 dB


def spectrum(images: Tensor) -> tuple[Tensor, Tensor]:
    """
    Fraction of each image's power at each radial frequency.

    Under a Hann window, without the mean, averaged over rings that are as wide as the lowest
    frequency of the shorter side.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
        At least 5 pixels high and wide.

    Returns
    -------
    tuple of (Tensor of shape (n_rings,), Tensor of shape (n, n_rings))
        Frequencies in cycles per pixel, up to 0.5, and mean power per coefficient of each ring,
        such that all coefficients of an image sum up to 1.

    Raises
    ------
    ValueError
        If the shape is not (n, 1, H, W), or an image has no spectrum, see `has_spectrum`.
    """
    tapered, there = _taper(images)
    if not there.all():
        row = int((~there).nonzero()[0, 0])
        raise ValueError(
            f"Invalid images: image {row} is constant beyond its first row and column. Must vary, "
            "to have a spectrum."
        )
    power = torch.fft.fft2(tapered).abs().square().flatten(1)
    height, width = images.shape[2:]
    rows, columns = torch.fft.fftfreq(height), torch.fft.fftfreq(width)
    radius = torch.hypot(rows[:, None], columns).flatten().to(power.device)
    n_rings = min(height, width) // 2
    ring = (radius * min(height, width)).round().long()
    kept = (ring >= 1) & (ring <= n_rings)
    fractions = (power / power.sum(dim=1, keepdim=True))[:, kept]
    rings = fractions.new_zeros(len(fractions), n_rings)
    rings.index_add_(1, ring[kept] - 1, fractions)
    frequencies = torch.arange(1, n_rings + 1, dtype=power.dtype, device=power.device)
    counts = torch.bincount(ring[kept] - 1, minlength=n_rings)
    return frequencies / min(height, width), rings / counts


def has_spectrum(images: Tensor) -> Tensor:
    """
    Whether each image varies where the window of `spectrum` lets it be seen.

    Constant images do not, nor do those that vary in their first row or column alone, at the rim
    of dead traces.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)

    Returns
    -------
    bool Tensor of shape (n,)

    Raises
    ------
    ValueError
        If the shape is not (n, 1, H, W).
    """
    return _taper(images)[1]


def _taper(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (n, H, W) under a Hann window, without the mean, and whether (n,) anything is left."""
    x = check_images("images", images)[:, 0].double()
    window = torch.outer(
        *(torch.hann_window(n, dtype=x.dtype, device=x.device) for n in x.shape[1:])
    )
    centred = x - (x * window).sum((1, 2), keepdim=True) / window.sum()  # no mean under the window
    tapered = centred * window
    power = tapered.square().sum((1, 2)) * window.numel()  # Parseval: that of all coefficients
    return tapered, power > FLOOR * x.square().sum((1, 2))


def band_limit(data: Tensor) -> float:
    """
    Frequency below which 99 % of the power of data lies, the top of their band.

    Parameters
    ----------
    data : Tensor of shape (n, 1, H, W)
        Patches. Power above 0.5 cycles per pixel does not count.

    Returns
    -------
    float
        In cycles per pixel.

    Raises
    ------
    ValueError
        As `spectrum`.
    """
    frequencies, power = spectrum(data)
    energy = (power.mean(dim=0) * frequencies).cumsum(dim=0)  # rings grow with their radius
    reached = energy >= BAND * energy[-1] * (1 - FLOOR)
    return float(frequencies[reached][0])


def low_pass(images: Tensor, limit: float) -> Tensor:
    """
    Images without the frequencies above a limit, such as `band_limit` of data.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)
    limit : float
        Radial frequency, in cycles per pixel.

    Returns
    -------
    Tensor of shape (n, 1, H, W)
    """
    images = check_images("images", images)
    rows, columns = torch.fft.fftfreq(images.shape[2]), torch.fft.rfftfreq(images.shape[3])
    kept = (torch.hypot(rows[:, None], columns) <= limit).to(images.device)
    low: Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * kept, s=images.shape[2:])
    return low


def log_spectral_distance(
    images: Tensor,
    data: Tensor,
    *,
    above: float = 0.0,
    below: float = 0.5,
    side: str = "both",
) -> Tensor:
    r"""
    Distance of the spectrum of each image to the mean spectrum of data, in dB.

    The root mean square of :math:`10 \log_{10} P_x(f) - 10 \log_{10} P_{data}(f)` over the rings
    of `spectrum`. A factor on an image does not matter: spectra are fractions of power.

    Parameters
    ----------
    images, data : Tensors of shape (n, 1, H, W) and (m, 1, H, W)
        Images, and patches of the same size.
    above, below : float
        Only frequencies above the first and up to the second count, in cycles per pixel. The top
        of the data's band is `band_limit`.
    side : {"both", "excess", "deficit"}
        Which differences count: with ``"excess"`` rings with less power than the data's are at
        distance 0, as where noise above the band is measured; with ``"deficit"`` those with more.

    Returns
    -------
    Tensor of shape (n,)

    Raises
    ------
    ValueError
        As `spectrum`, or if the sizes differ, no frequency counts or the side is unknown.
    """
    frequencies, found = spectrum(images)
    check_same_shape("images", images.shape[1:], "data", data.shape[1:])
    counted = (frequencies > check_range("above", above, low=0)) & (frequencies <= below)
    if not counted.any():
        raise ValueError(
            f"Invalid above {above:g} and below {below:g}. Must hold one of the frequencies up to "
            f"{frequencies[-1]:g}."
        )
    expected = spectrum(data.to(images))[1].mean(dim=0)
    decibels = 10 * (found.clamp_min(FLOOR) / expected.clamp_min(FLOOR)).log10()[:, counted]
    limits = {"both": (-torch.inf, torch.inf), "excess": (0, torch.inf), "deficit": (-torch.inf, 0)}
    decibels = decibels.clamp(*limits[check_choice("side", side, tuple(limits))])
    return decibels.square().mean(dim=1).sqrt()
