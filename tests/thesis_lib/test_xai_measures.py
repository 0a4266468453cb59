"""Measures of images: closed forms, and independent libraries as referees."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.metrics import SSIMMetric
from noise import make_noise
from torch import Tensor

from thesis_lib.xai.measures import (
    band_limit,
    boundary_f1,
    contour_sharpness,
    correlation,
    count_bodies,
    find_band,
    gradient_sparsity,
    has_spectrum,
    log_spectral_distance,
    low_pass,
    nearest_distance,
    spectrum,
    structural_similarity,
)


def make_images(n: int = 3, shape: tuple[int, int] = (24, 31)) -> Tensor:
    """Seeded white noise."""
    return make_noise(n, 1, *shape)


def make_waves(*amplitudes: float) -> Tensor:
    """Sum of waves of 8, 24, ... cycles across 64 pixels."""
    x = torch.arange(64, dtype=torch.float64) / 64
    waves = [a * torch.cos(2 * math.pi * (8 + 16 * i) * x) for i, a in enumerate(amplitudes)]
    return torch.stack(waves).sum(dim=0).expand(1, 1, 64, 64)


def test_correlation() -> None:
    """Correlation is NumPy's, 1 and -1 for linear relations and 0 with a constant."""
    images, reference = make_images(), make_images(6)[3:]
    expected = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, reference, strict=True)
    ]
    torch.testing.assert_close(correlation(images, reference), torch.tensor(expected).float())
    torch.testing.assert_close(correlation(2 * images + 5, images), torch.ones(3))
    torch.testing.assert_close(correlation(-images, images), -torch.ones(3))
    assert correlation(torch.ones_like(images), images).tolist() == [0, 0, 0]


def test_ssim_equals_monai() -> None:
    """SSIM is MONAI's with the range of each reference, 1 for it, and knows no common factor."""
    reference = make_images(2) * torch.tensor([1.0, 5.0]).reshape(2, 1, 1, 1)
    images = reference + make_images(4)[2:]
    found = structural_similarity(images, reference)
    for row in range(2):
        pair = images[row : row + 1], reference[row : row + 1]
        referee = SSIMMetric(spatial_dims=2, data_range=float(pair[1].amax() - pair[1].amin()))
        assert found[row] == pytest.approx(float(referee(*pair)), abs=1e-4)
    torch.testing.assert_close(structural_similarity(reference, reference), torch.ones(2))
    torch.testing.assert_close(structural_similarity(100 * images, 100 * reference), found)


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
    more = log_spectral_distance(images, data, excess=True).item()
    assert more == pytest.approx(math.sqrt(3 * high**2 / 32), rel=1e-6)
    above = math.sqrt(3 * high**2 / 16)
    assert log_spectral_distance(images, data, above=0.25).item() == pytest.approx(above, rel=1e-6)


def test_excess_separates_noise_from_smoothness() -> None:
    """More noise is more excess above the band; a smooth image is far away and has none."""
    noise = make_images(40, (64, 64))
    smooth = F.avg_pool2d(noise, 5, 1)
    data, image, speckle = smooth[:38], smooth[38:39], noise[39:, :, 2:-2, 2:-2]
    blurred = F.avg_pool2d(noise[38:39], 9, 1, 2)
    levels = torch.cat([blurred, *(image + level * speckle for level in (0.1, 0.3, 1.0))])
    limit = band_limit(data)
    found = log_spectral_distance(levels, data, above=limit, excess=True)
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


@pytest.mark.parametrize("turn", [lambda x: x, lambda x: x.transpose(2, 3)])
def test_gradient_sparsity(turn: Callable[[Tensor], Tensor]) -> None:
    """Where k of N slopes are equal, it is (sqrt N - sqrt k) / (sqrt N - 1)."""
    pixel, edge = torch.zeros(1, 1, 10, 13), torch.zeros(1, 1, 10, 13)
    pixel[0, 0, 0, 0], edge[..., 6:] = 4.0, 2.0
    ramp = torch.arange(13.0).expand(1, 1, 10, 13)
    n = 9 * 12
    images = turn(torch.cat([pixel, edge, ramp, torch.ones_like(ramp)]))
    expected = torch.tensor([1.0, (n**0.5 - 3) / (n**0.5 - 1), 0.0, 0.0])
    torch.testing.assert_close(gradient_sparsity(images), expected, atol=1e-6, rtol=1e-6)


def test_nearest_distance() -> None:
    """On a line with patches 2 apart, one at distance 1 scores 1/2, one at 6 scores 3."""
    data = torch.tensor([[0.0], [2.0], [4.0]])
    ratio, nearest = nearest_distance(torch.tensor([[-1.0], [10.0], [2.0]]), data)
    assert ratio.tolist() == [0.5, 3.0, 0.0]
    assert nearest.tolist() == [0, 2, 1]


def draw_square(top: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Square of 8 pixels in 32."""
    mask = np.zeros((32, 32), dtype=bool)
    mask[top : top + 8, 8:16] = True
    return mask


def test_boundary_f1_of_squares() -> None:
    """A square moved by 2 pixels scores 1, one far away 0, empty masks 1, one alone 0."""
    empty, square, two = draw_square(32), draw_square(8), draw_square(2) | draw_square(20)
    assert boundary_f1(draw_square(10), square) == boundary_f1(square, square) == 1
    assert 0 < boundary_f1(draw_square(11), square) < 1
    assert boundary_f1(draw_square(22), draw_square(2)) == 0
    assert boundary_f1(empty, empty) == 1
    assert boundary_f1(empty, square) == boundary_f1(square, empty) == 0
    assert boundary_f1(two, draw_square(2)) == pytest.approx(2 / 3)  # precision 1/2, recall 1
    assert boundary_f1(draw_square(2), two) == pytest.approx(2 / 3)


def draw_half(column: int = 15, shape: tuple[int, int] = (24, 31)) -> Tensor:
    """Probability 1 from a column on."""
    return (torch.arange(shape[1]) >= column).float().expand(1, 1, *shape)


def draw_discs(*discs: tuple[int, int, int]) -> Tensor:
    """Probability 1 within a radius of centres, on 64 x 80 pixels."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(80), indexing="ij")
    masks = [(rows - y) ** 2 + (columns - x) ** 2 <= radius**2 for y, x, radius in discs]
    return torch.stack(masks).any(dim=0)[None, None].float()


@pytest.mark.parametrize("turn", [lambda x: x, lambda x: x.mT, lambda x: x.flip(3)])
def test_sharpness_of_a_lone_step(turn: Callable[[Tensor], Tensor]) -> None:
    """A step along the contour, the only slope of 31 columns, scores 31 / 4."""
    half = turn(draw_half())
    assert contour_sharpness(7 - 300 * half, half).item() == pytest.approx(31 / 4)


def test_sharpness_of_slopes() -> None:
    """An even slope scores 1, a step off the band 0, on its rim half; without either it is 0."""
    half, ramp = draw_half(), torch.arange(31.0).expand(1, 1, 24, 31)
    steps = [draw_half(column) for column in (15, 17, 18)]
    images = torch.cat([ramp, *steps, torch.ones_like(ramp), ramp, ramp])
    probability = torch.cat([half] * 5 + [0 * half, 0 * half + 1])  # no salt, no background
    found = contour_sharpness(images, probability)
    expected = torch.tensor([1.0, 31 / 4, 31 / 8, 0.0, 0.0, 0.0, 0.0])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_blurred_boundaries_are_less_sharp() -> None:
    """The wider a boundary is blurred, or the stronger the noise around it, the less it scores."""
    disc = draw_discs((32, 40, 18))
    blurred = [F.avg_pool2d(disc, n, 1, n // 2, count_include_pad=False) for n in (1, 5, 9, 17)]
    noisy = [disc + level * make_images(1, (64, 80)) for level in (0.01, 0.1, 1.0)]
    for series in (blurred, noisy):
        scores = torch.cat([contour_sharpness(image, disc) for image in series])
        assert (scores.diff() < 0).all()
    assert scores[-1].item() == pytest.approx(1, abs=0.2)


def test_bodies_are_counted() -> None:
    """Two discs are two bodies, joined at a corner one; specks and holes do not count."""
    two, speck = draw_discs((20, 20, 10), (44, 60, 8)), draw_discs((5, 70, 2))
    corner = draw_half(32, (64, 80)).flip(3) * 0
    corner[..., :32, :40], corner[..., 32:, 40:] = 1, 1
    ring = draw_discs((32, 40, 20)) - draw_discs((32, 40, 9))
    probability = torch.cat([two, two + speck, corner, ring, 0 * two, 0 * two + 0.5])
    assert count_bodies(probability).tolist() == [2, 2, 1, 1, 0, 0]
    least = torch.zeros(2, 1, 20, 20)
    least[0, 0, :2, :2], least[1, 0, 0, :3] = 1, 1  # 4 and 3 of 400 pixels
    assert count_bodies(least).tolist() == [1, 0]


NOISE, PLANE = make_images(), torch.zeros(3, 4)
SMALL, SQUARE = torch.ones(1, 1, 5, 5), draw_square(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: correlation(PLANE, PLANE), "Invalid images of shape"),
        (lambda: correlation(NOISE, NOISE[1:]), "Shapes differ"),
        (lambda: structural_similarity(SMALL, SMALL), "Must be at least 11"),
        (lambda: structural_similarity(NOISE, torch.ones_like(NOISE)), "Invalid reference"),
        (lambda: spectrum(SMALL), "Invalid images: image 0 is constant"),
        (lambda: log_spectral_distance(NOISE, NOISE[..., :9]), "Shapes differ"),
        (lambda: log_spectral_distance(NOISE, NOISE, above=0.5), "above 0.5. Must be below 0.5"),
        (lambda: contour_sharpness(SMALL, SMALL[..., :3]), "Shapes differ: images"),
        (lambda: contour_sharpness(SMALL, 3 * SMALL), r"from 3 to 3. Must lie in \[0, 1\]"),
        (lambda: contour_sharpness(SMALL[..., :1], SMALL[..., :1]), "Must be at least 2 x 2"),
        (lambda: count_bodies(PLANE), "Invalid probability of shape"),
        (lambda: gradient_sparsity(torch.ones(1, 1, 2, 2)), "at least 2 x 3"),
        (lambda: nearest_distance(PLANE, torch.ones(2, 3)), "Shapes differ"),
        (lambda: nearest_distance(PLANE, PLANE[:1]), "Invalid number of patches 1"),
        (lambda: nearest_distance(PLANE, PLANE), "each patch has a copy"),
        (lambda: boundary_f1(SQUARE, SQUARE[1:]), "Shapes differ"),
    ],
)
def test_refuses(call: Callable[[], object], message: str) -> None:
    """Values out of range are named, with what is allowed."""
    with pytest.raises(ValueError, match=message):
        call()


def test_refuses_types() -> None:
    """Widths are whole numbers and masks are boolean."""
    with pytest.raises(TypeError, match=r"Invalid width_px 1\.5"):
        find_band(SMALL > 0, width_px=1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Must be a boolean"):
        find_band(SMALL, width_px=2)
    with pytest.raises(TypeError, match="Must be a boolean"):
        boundary_f1(np.ones((32, 32)), SQUARE)  # type: ignore[arg-type]


def test_low_pass_splits_a_sum_of_waves() -> None:
    """Of a wave below the limit and one above, on the grid of frequencies, the first is left."""
    x = torch.arange(32, dtype=torch.float64)
    low, high = (torch.sin(2 * torch.pi * n * x / 32).expand(1, 1, 24, 32) for n in (3, 9))
    torch.testing.assert_close(low_pass(low + high, 0.2), low, atol=1e-12, rtol=0)
    torch.testing.assert_close(low_pass(low.mT + high.mT, 0.2), low.mT, atol=1e-12, rtol=0)
