"""Measures of images: closed forms, and independent libraries as referees."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from monai.metrics import SSIMMetric
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
    nearest_distance,
    spectrum,
    structural_similarity,
)


def make_noise(n: int = 3, shape: tuple[int, int] = (24, 31)) -> Tensor:
    """Seeded white noise."""
    return torch.randn(n, 1, *shape, generator=torch.Generator().manual_seed(0))


def make_waves(*amplitudes: float) -> Tensor:
    """Sum of waves of 8, 24, ... cycles across 64 pixels."""
    x = torch.arange(64, dtype=torch.float64) / 64
    waves = [a * torch.cos(2 * math.pi * (8 + 16 * i) * x) for i, a in enumerate(amplitudes)]
    return torch.stack(waves).sum(dim=0).expand(1, 1, 64, 64)


def test_correlation() -> None:
    """Correlation is NumPy's, 1 and -1 for linear relations and 0 with a constant."""
    images, reference = make_noise(), make_noise(6)[3:]
    expected = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, reference, strict=True)
    ]
    torch.testing.assert_close(correlation(images, reference), torch.tensor(expected).float())
    torch.testing.assert_close(correlation(2 * images + 5, images), torch.ones(3))
    torch.testing.assert_close(correlation(-images, images), -torch.ones(3))
    assert correlation(torch.ones_like(images), images).tolist() == [0, 0, 0]


def test_ssim_equals_monai() -> None:
    """SSIM of each image is MONAI's, with the range of each reference."""
    reference = make_noise(2) * torch.tensor([1.0, 5.0]).reshape(2, 1, 1, 1)
    images = reference + make_noise(4)[2:]
    for row, found in enumerate(structural_similarity(images, reference)):
        pair = images[row : row + 1], reference[row : row + 1]
        span = float(pair[1].amax() - pair[1].amin())
        referee = SSIMMetric(spatial_dims=2, data_range=span)
        assert found == pytest.approx(float(referee(*pair)), abs=1e-4)


def test_ssim_knows_reference_and_no_scale() -> None:
    """SSIM is 1 for the reference itself, and a common factor does not matter."""
    images, reference = make_noise(), make_noise(6)[3:]
    torch.testing.assert_close(structural_similarity(reference, reference), torch.ones(3))
    scaled = structural_similarity(100 * images, 100 * reference)
    torch.testing.assert_close(scaled, structural_similarity(images, reference))


def test_spectrum_of_wave() -> None:
    """A wave of 8 cycles in 64 pixels has its power at 8/64 and, by the window, 1/64 beside."""
    frequencies, power = spectrum(make_waves(3.0))
    assert frequencies[power[0].argmax()] == 8 / 64
    around = (frequencies * 64 - 8).abs() < 1.5
    assert power[0, ~around].sum() < 1e-12 * power.sum()


def test_spectrum_of_noise_is_flat() -> None:
    """White noise has the same power, 1 / (H W), at all but the lowest frequency."""
    _, power = spectrum(make_noise(200, (32, 48)))
    flat = torch.ones(15, dtype=torch.float64)
    torch.testing.assert_close(power.mean(dim=0)[1:] * 32 * 48, flat, atol=0.1, rtol=0)


def test_band_limit_of_wave() -> None:
    """Two thirds of a wave's power lie at its frequency, a sixth on either side."""
    wave = make_waves(1.0)
    assert [band_limit(wave, share=s) for s in (0.1, 0.5, 0.8, 0.99)] == [
        pytest.approx(k / 64) for k in (7, 8, 8, 9)
    ]


def test_log_spectral_distance_of_waves() -> None:
    """Power shares of .1 and .9 against .5 differ by 7 and 2.55 dB, in three rings each."""
    images, data = make_waves(1.0, 3.0), make_waves(1.0, 1.0)
    low, high = 10 * math.log10(0.2), 10 * math.log10(1.8)
    whole = math.sqrt((3 * low**2 + 3 * high**2) / 32)
    assert log_spectral_distance(images, data).item() == pytest.approx(whole, rel=1e-6)
    more = log_spectral_distance(images, data, excess=True).item()
    assert more == pytest.approx(math.sqrt(3 * high**2 / 32), rel=1e-6)
    above = math.sqrt(3 * high**2 / 16)
    assert log_spectral_distance(images, data, above=0.25).item() == pytest.approx(above, rel=1e-6)


def test_log_spectral_distance_sees_noise_above_band() -> None:
    """Data themselves, also scaled, are at distance 0; a chequerboard shows above the band."""
    data = make_waves(1.0)
    torch.testing.assert_close(log_spectral_distance(7 * data, data), torch.zeros(1).double())
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    board = data + 0.1 * (-1.0) ** columns * torch.cos(rows / 3)
    limit = band_limit(data)
    assert log_spectral_distance(board, data, above=limit) > 10


def test_excess_tells_noise_from_smoothness() -> None:
    """More noise is more excess above the band; a smooth image is far away and has none."""
    noise = make_noise(40, (64, 64))
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
    noise = make_noise(1, (9, 12))
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
    """On a line with real patches 2 apart, one at distance 1 scores 1/2, one at 6 scores 3."""
    real = torch.tensor([[0.0], [2.0], [4.0]])
    ratio, nearest = nearest_distance(torch.tensor([[-1.0], [10.0], [2.0]]), real)
    assert ratio.tolist() == [0.5, 3.0, 0.0]
    assert nearest.tolist() == [0, 2, 1]


def draw_square(top: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Square of 8 pixels in 32."""
    mask = np.zeros((32, 32), dtype=bool)
    mask[top : top + 8, 8:16] = True
    return mask


def test_boundary_f1_of_squares() -> None:
    """A square moved by the tolerance scores 1, one far away 0, empty masks 1, one alone 0."""
    empty = np.zeros((32, 32), dtype=bool)
    assert boundary_f1(draw_square(8), draw_square(8), tolerance_px=0) == 1
    assert boundary_f1(draw_square(10), draw_square(8), tolerance_px=2) == 1
    assert boundary_f1(draw_square(22), draw_square(2), tolerance_px=2) == 0
    assert boundary_f1(empty, empty) == 1
    assert boundary_f1(empty, draw_square(8)) == boundary_f1(draw_square(8), empty) == 0


def test_boundary_f1_joins_precision_and_recall() -> None:
    """With two squares of which one is true, precision 1/2 and recall 1 give 2/3."""
    prediction = draw_square(2) | draw_square(20)
    assert boundary_f1(prediction, draw_square(2)) == pytest.approx(2 / 3)
    assert boundary_f1(draw_square(2), prediction) == pytest.approx(2 / 3)


def draw_half(column: int = 15, shape: tuple[int, int] = (24, 31)) -> Tensor:
    """Probability 1 from a column on."""
    return (torch.arange(shape[1]) >= column).float().expand(1, 1, *shape)


def draw_discs(*discs: tuple[int, int, int]) -> Tensor:
    """Probability 1 within a radius of centres, on 64 x 80 pixels."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(80), indexing="ij")
    masks = [(rows - y) ** 2 + (columns - x) ** 2 <= radius**2 for y, x, radius in discs]
    return torch.stack(masks).any(dim=0)[None, None].float()


@pytest.mark.parametrize("width_px", [1, 2, 3])
@pytest.mark.parametrize("turn", [lambda x: x, lambda x: x.mT, lambda x: x.flip(3)])
def test_sharpness_of_a_lone_step(turn: Callable[[Tensor], Tensor], width_px: int) -> None:
    """A step along the contour, the only slope of 31 columns, scores 31 / (2 width)."""
    half = turn(draw_half())
    found = contour_sharpness(7 - 300 * half, half, width_px=width_px)
    assert found.item() == pytest.approx(31 / (2 * width_px))


def test_sharpness_of_slopes() -> None:
    """An even slope scores 1, a step 2 pixels off the band 0, one on its rim half of the most."""
    half, ramp = draw_half(), torch.arange(31.0).expand(1, 1, 24, 31)
    steps = [draw_half(column) for column in (15, 17, 18)]
    found = contour_sharpness(torch.cat([ramp, *steps]), half.expand(4, 1, 24, 31))
    expected = torch.tensor([1.0, 31 / 4, 31 / 8, 0.0])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_blurred_boundaries_are_less_sharp() -> None:
    """The wider a boundary is blurred, or the stronger the noise beside it, the less it scores."""
    disc = draw_discs((32, 40, 18))
    blurred = [F.avg_pool2d(disc, n, 1, n // 2, count_include_pad=False) for n in (1, 5, 9, 17)]
    noisy = [disc + level * make_noise(1, (64, 80)) for level in (0.01, 0.1, 1.0)]
    for series in (blurred, noisy):
        scores = torch.cat([contour_sharpness(image, disc) for image in series])
        assert (scores.diff() < 0).all()
    assert scores[-1].item() == pytest.approx(1, abs=0.2)


def test_no_boundary_has_no_sharpness() -> None:
    """Without salt, without background and for a constant image the sharpness is 0."""
    half, noise = draw_half(), make_noise(2)
    images = torch.cat([noise, torch.ones_like(half)])
    probability = torch.cat([0 * half, 0 * half + 1, half])
    assert contour_sharpness(images, probability).tolist() == [0, 0, 0]


def test_bodies_are_counted() -> None:
    """Two discs are two bodies, joined at a corner one; specks and holes do not count."""
    two, speck = draw_discs((20, 20, 10), (44, 60, 8)), draw_discs((5, 70, 2))
    corner = draw_half(32, (64, 80)).flip(3) * 0
    corner[..., :32, :40], corner[..., 32:, 40:] = 1, 1
    ring = draw_discs((32, 40, 20)) - draw_discs((32, 40, 9))
    probability = torch.cat([two, two + speck, corner, ring, 0 * two, 0 * two + 0.5])
    assert count_bodies(probability).tolist() == [2, 2, 1, 1, 0, 0]
    assert count_bodies(two + speck, min_share=0).tolist() == [3]
    area = two.sum().item() / (64 * 80)
    assert count_bodies(two, min_share=area / 2).tolist() == [1]


PLANE, SMALL = torch.zeros(3, 4), torch.ones(1, 1, 5, 5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: correlation(PLANE, PLANE), ValueError, "Invalid images of shape"),
        (lambda: correlation(make_noise(2), make_noise(3)), ValueError, "Shapes differ"),
        (lambda: structural_similarity(SMALL, SMALL), ValueError, "Must be at least 11"),
        (
            lambda: structural_similarity(make_noise(), torch.ones_like(make_noise())),
            ValueError,
            "Invalid reference",
        ),
        (lambda: spectrum(SMALL), ValueError, "Invalid images: image 0 is constant"),
        (lambda: has_spectrum(PLANE), ValueError, "Invalid images of shape"),
        (lambda: band_limit(make_noise(), share=0.0), ValueError, "Invalid share"),
        (
            lambda: log_spectral_distance(make_noise(), make_noise(1, (9, 9))),
            ValueError,
            "Shapes differ",
        ),
        (
            lambda: log_spectral_distance(make_noise(), make_noise(), above=0.5),
            ValueError,
            "Invalid above 0.5. Must be below 0.5",
        ),
        (lambda: contour_sharpness(PLANE, PLANE), ValueError, "Invalid images of shape"),
        (lambda: contour_sharpness(SMALL, SMALL[..., :3]), ValueError, "Shapes differ: images"),
        (lambda: contour_sharpness(SMALL, SMALL, width_px=0), ValueError, "Invalid width_px 0"),
        (lambda: contour_sharpness(SMALL, SMALL, width_px=1.5), TypeError, "Invalid width_px 1.5"),  # type: ignore[arg-type]
        (
            lambda: contour_sharpness(SMALL, 3 * SMALL),
            ValueError,
            r"Invalid probability from 3 to 3. Must lie in \[0, 1\]",
        ),
        (
            lambda: contour_sharpness(SMALL[..., :1], SMALL[..., :1]),
            ValueError,
            "Must be at least 2 x 2",
        ),
        (lambda: count_bodies(PLANE), ValueError, "Invalid probability of shape"),
        (lambda: count_bodies(-SMALL), ValueError, "Invalid probability from -1"),
        (lambda: count_bodies(SMALL, min_share=2), ValueError, "Invalid min_share 2"),
        (lambda: find_band(SMALL, width_px=2), TypeError, "Must be a boolean"),
        (lambda: gradient_sparsity(torch.ones(1, 1, 2, 2)), ValueError, "at least 2 x 3"),
        (lambda: nearest_distance(PLANE, torch.ones(2, 3)), ValueError, "Shapes differ"),
        (lambda: nearest_distance(PLANE, PLANE[:1]), ValueError, "Must be at least 2"),
        (lambda: nearest_distance(PLANE, PLANE), ValueError, "each patch has a copy"),
        (lambda: boundary_f1(draw_square(1), draw_square(1)[1:]), ValueError, "Shapes differ"),
        (
            lambda: boundary_f1(draw_square(1), draw_square(1), tolerance_px=-1),
            ValueError,
            "Invalid tolerance_px",
        ),
        (lambda: boundary_f1(np.ones((2, 2)), draw_square(1)), TypeError, "Must be a boolean"),  # type: ignore[arg-type]
    ],
)
def test_refuses(call: Callable[[], object], error: type[Exception], message: str) -> None:
    """Bad arguments are named, with what is allowed."""
    with pytest.raises(error, match=message):
        call()
