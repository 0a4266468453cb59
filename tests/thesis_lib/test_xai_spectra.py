"""Spectra: closed forms of waves and noise."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from noise import make_noise
from torch import Tensor

from thesis_lib.xai.spectra import (
    band_limit,
    has_spectrum,
    log_spectral_distance,
    low_pass,
    spectrum,
)


def make_images(n: int = 3, shape: tuple[int, int] = (24, 31)) -> Tensor:
    """Seeded white noise."""
    return make_noise(n, 1, *shape)


def make_waves(*amplitudes: float) -> Tensor:
    """Sum of waves of 8, 24, ... cycles across 64 pixels."""
    x = torch.arange(64, dtype=torch.float64) / 64
    waves = [a * torch.cos(2 * math.pi * (8 + 16 * i) * x) for i, a in enumerate(amplitudes)]
    return torch.stack(waves).sum(dim=0).expand(1, 1, 64, 64)


NOISE, SMALL = make_images(), torch.ones(1, 1, 5, 5)


def test_spectrum_of_waves_and_noise() -> None:
    """Of 8 cycles in 64 pixels 2/3 of the power lie at 8/64, 1/6 on either side; noise is flat."""
    wave = make_waves(3.0)
    frequencies, power = spectrum(wave)
    assert frequencies[power[0].argmax()] == 8 / 64
    torch.testing.assert_close(power[0, 6:9].sum(), power.sum(), atol=1e-12, rtol=0)
    assert band_limit(wave) == pytest.approx(9 / 64)
    assert band_limit(make_waves(12.0, 1.0)) == pytest.approx(9 / 64)  # 1 - 1 / 145 of the power
    assert band_limit(make_waves(8.0, 1.0)) == pytest.approx(24 / 64)  # 1 - 1 / 65
    _, power = spectrum(make_images(200, (32, 48)))  # 1 / (H W) at all but the lowest frequency
    flat = torch.ones(15, dtype=torch.float64)
    torch.testing.assert_close(power.mean(dim=0)[1:] * 32 * 48, flat, atol=0.1, rtol=0)


def test_log_spectral_distance_of_waves() -> None:
    """Power fractions of .1 and .9 against .5 differ by 7 and 2.55 dB, in three rings each."""
    images, data = make_waves(1.0, 3.0), make_waves(1.0, 1.0)
    low, high = 10 * math.log10(0.2), 10 * math.log10(1.8)
    whole = math.sqrt((3 * low**2 + 3 * high**2) / 32)
    assert log_spectral_distance(images, data).item() == pytest.approx(whole, rel=1e-6)
    assert log_spectral_distance(7 * data, data).item() == pytest.approx(0, abs=1e-6)
    for side, decibels in (("excess", high), ("deficit", low)):
        found = log_spectral_distance(images, data, side=side).item()
        assert found == pytest.approx(math.sqrt(3 * decibels**2 / 32), rel=1e-6)
    above = math.sqrt(3 * high**2 / 16)
    assert log_spectral_distance(images, data, above=0.25).item() == pytest.approx(above, rel=1e-6)
    below = math.sqrt(3 * low**2 / 16)
    assert log_spectral_distance(images, data, below=0.25).item() == pytest.approx(below, rel=1e-6)


def test_excess_separates_noise_from_smoothness() -> None:
    """More noise is more excess above the band; a smooth image is far away and has none."""
    noise = make_images(40, (64, 64))
    smooth = F.avg_pool2d(noise, 5, 1)
    data, image, speckle = smooth[:38], smooth[38:39], noise[39:, :, 2:-2, 2:-2]
    blurred = F.avg_pool2d(noise[38:39], 9, 1, 2)
    levels = torch.cat([blurred, *(image + level * speckle for level in (0.1, 0.3, 1.0))])
    limit = band_limit(data)
    found = log_spectral_distance(levels, data, above=limit, side="excess")
    assert (found.diff() > 0).all()
    assert found[0] < 1
    unsigned = log_spectral_distance(levels, data, above=limit)
    assert unsigned[0] > 3
    torch.testing.assert_close(unsigned[-1], found[-1])


def test_what_has_a_spectrum() -> None:
    """Noise has one, and an inner pixel; a constant, or a lone first row or column, has not."""
    noise = make_images(1, (9, 12))
    pixel, row, column = torch.zeros(3, 1, 1, 9, 12)
    pixel[..., 1, 1], row[..., 0, :], column[..., 0] = 1, noise[..., 0, :], noise[..., 0]
    images = torch.cat([noise, pixel, row, column, 0 * noise, 0 * noise + 1234.567])
    assert has_spectrum(images).tolist() == [True, True, False, False, False, False]
    with pytest.raises(ValueError, match="image 2 is constant"):
        spectrum(images)


def test_low_pass_splits_a_sum_of_waves() -> None:
    """Of a wave below the limit and one above, on the grid of frequencies, the first is left."""
    x = torch.arange(32, dtype=torch.float64)
    low, high = (torch.sin(2 * torch.pi * n * x / 32).expand(1, 1, 24, 32) for n in (3, 9))
    torch.testing.assert_close(low_pass(low + high, 0.2), low, atol=1e-12, rtol=0)
    torch.testing.assert_close(low_pass(low.mT + high.mT, 0.2), low.mT, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: spectrum(SMALL), "Invalid images: image 0 is constant"),
        (lambda: log_spectral_distance(NOISE, NOISE[..., :9]), "Shapes differ"),
        (
            lambda: log_spectral_distance(NOISE, NOISE, above=0.5),
            "Invalid above 0.5 and below 0.5. Must hold",
        ),
        (lambda: log_spectral_distance(NOISE, NOISE, side="left"), "Invalid side 'left'"),
    ],
)
def test_refuses(call: Callable[[], object], message: str) -> None:
    """Values out of range are named, with what is allowed."""
    with pytest.raises(ValueError, match=message):
        call()
