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
from torchmetrics.functional.classification import binary_auroc

from thesis_lib.xai.measures import (
    area_under_curve,
    boundary_f1,
    contour_sharpness,
    correlation,
    find_band,
    has_body,
    has_contour,
    match_patches,
    path_similarity,
    structural_similarity,
)


def make_images(n: int = 3, shape: tuple[int, int] = (24, 31)) -> Tensor:
    """Seeded white noise."""
    return make_noise(n, 1, *shape)


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


def test_matched_patches_are_distinct() -> None:
    """Both images are nearest to patch 0; it goes where the sum of distances is least."""
    data = torch.tensor([[0.0], [2.0], [7.0]])
    assert match_patches(torch.tensor([[0.1], [0.9]]), data).tolist() == [0, 1]
    assert match_patches(torch.tensor([[0.9], [0.1]]), data).tolist() == [1, 0]
    assert match_patches(torch.tensor([[0.9], [0.8]]), data).tolist() == [1, 0]


def test_path_similarity_of_data() -> None:
    """Data of the class score 1 on average over the others, data of the other class 0."""
    shift = torch.tensor([1.0, -1.0, 0.0, 0.0, 0.0])
    noise = make_noise(120, 5)
    own, others = noise[:60] + shift, noise[60:] - shift
    assert path_similarity(others, own, others).mean().item() == pytest.approx(0, abs=1e-5)
    left_out = [
        path_similarity(own[[i]], torch.cat([own[:i], own[i + 1 :]]), others) for i in range(60)
    ]
    assert torch.cat(left_out).mean().item() == pytest.approx(1, abs=0.02)
    exaggerated = path_similarity(9 * shift[None], own, others)
    assert exaggerated.item() > 1.1
    assert path_similarity(-9 * shift[None], own, others).item() < -0.1
    factors = torch.tensor([1.0, 10.0, 100.0, 0.0, 1.0])
    parts = (9 * shift[None] + noise[:1], own, others)
    expected = path_similarity(*(part * (factors > 0) for part in parts))
    torch.testing.assert_close(path_similarity(*(part * factors for part in parts)), expected)


def test_path_of_one_class_is_unknown() -> None:
    """Where data of the class are no more alike than they are to others, there is no scale."""
    others = torch.eye(3)
    assert path_similarity(others[:1], torch.eye(3), torch.eye(3)).isnan().all()


def test_area_under_curve_equals_torchmetrics() -> None:
    """With ties it is the area of torchmetrics; what is unknown is left out, or all there is."""
    known, other = make_noise(2, 40).mul(2).round()
    labels = torch.cat([torch.ones(40), torch.zeros(40)]).long()
    expected = binary_auroc(torch.cat([known, other]).sigmoid(), labels).item()
    unknown = torch.full((3,), torch.nan)
    assert area_under_curve(torch.cat([known, unknown]), other) == pytest.approx(expected)
    assert math.isnan(area_under_curve(unknown, other))


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


def draw_discs(*discs: tuple[int, int, int]) -> Tensor:
    """True within a radius of centres, on 64 x 80 pixels."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(80), indexing="ij")
    masks = [(rows - y) ** 2 + (columns - x) ** 2 <= radius**2 for y, x, radius in discs]
    return torch.stack(masks).any(dim=0)[None, None]


@pytest.mark.parametrize("turn", [lambda x: x, lambda x: x.mT, lambda x: x.flip(3)])
def test_sharpness_of_stripes(turn: Callable[[Tensor], Tensor]) -> None:
    """Alternating stripes of ten times the amplitude along a straight contour are 20 dB."""
    columns = torch.arange(32)
    sign = (-1.0) ** torch.arange(24)[:, None]
    loud = torch.where((columns >= 14) & (columns < 18), 10.0, 1.0)
    image, half = (sign * loud).expand(1, 1, 24, 32), (columns >= 16).expand(1, 1, 24, 32)
    found = contour_sharpness(turn(5 - 3 * image), turn(half))
    assert found.item() == pytest.approx(20, abs=1e-4)
    assert contour_sharpness(turn(image), turn(~half)).item() == pytest.approx(20, abs=1e-4)


def test_sharpness_needs_a_contour() -> None:
    """Noise scores about 0 dB; all salt, none, or a speck of it has no sharpness."""
    noise, disc = make_images(1, (64, 80)), draw_discs((32, 40, 18))
    speck = draw_discs((32, 40, 2))
    masks = torch.cat([disc, disc & False, disc | True, speck, ~speck])
    assert has_contour(masks).tolist() == [True, False, False, False, False]
    found = contour_sharpness(noise.expand(5, 1, 64, 80), masks)
    assert abs(found[0].item()) < 1
    assert found[1:].isnan().all()
    assert contour_sharpness(0 * noise, disc).isnan().all()


def test_blurred_boundaries_are_less_sharp() -> None:
    """The wider a bright rim is blurred, or the more noise is around it, the less it scores."""
    disc = draw_discs((32, 40, 18))
    rim = (disc ^ draw_discs((32, 40, 16))).float()
    blurred = [F.avg_pool2d(rim, n, 1, n // 2, count_include_pad=False) for n in (1, 3, 5, 9)]
    noisy = [rim + level * make_images(1, (64, 80)) for level in (0.1, 0.5, 2.0)]
    for series in (blurred, noisy):
        scores = torch.cat([contour_sharpness(image, disc) for image in series])
        assert (scores.diff() < 0).all()


def test_what_is_one_body() -> None:
    """One disc is a body, also with a speck, a hole or a corner; two are none, nor is all salt."""
    one, two = draw_discs((20, 20, 14)), draw_discs((20, 20, 12), (44, 60, 12))
    ring = draw_discs((32, 40, 20)) & ~draw_discs((32, 40, 9))
    corner = torch.zeros_like(one)
    corner[..., :32, :20], corner[..., 32:, 20:40] = True, True
    masks = torch.cat([one, one | draw_discs((5, 70, 2)), ring, corner])
    assert has_body(masks).tolist() == [True] * 4
    wide = torch.zeros_like(one)
    wide[..., :72] = True  # 90 %
    masks = torch.cat([two, wide, ~one & False, one | True, draw_discs((32, 40, 8))])
    assert has_body(masks).tolist() == [False] * 5


NOISE, PLANE = make_images(), torch.zeros(3, 4)
SMALL, SQUARE = torch.ones(1, 1, 5, 5), draw_square(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: correlation(PLANE, PLANE), "Invalid images of shape"),
        (lambda: correlation(NOISE, NOISE[1:]), "Shapes differ"),
        (lambda: structural_similarity(SMALL, SMALL), "Must be at least 11"),
        (lambda: structural_similarity(NOISE, torch.ones_like(NOISE)), "Invalid reference"),
        (lambda: contour_sharpness(SMALL, SMALL[..., :3] > 0), "Shapes differ: images"),
        (lambda: has_body(PLANE > 0), "Invalid masks of shape"),
        (lambda: match_patches(PLANE, torch.ones(2, 3)), "Shapes differ"),
        (lambda: match_patches(PLANE, PLANE[:1]), "Invalid number of patches 1. Must be at least"),
        (lambda: path_similarity(PLANE, PLANE, torch.ones(2, 3)), "Shapes differ"),
        (lambda: path_similarity(PLANE, PLANE[:1], PLANE), "of the class 1. Must be at least 2"),
        (lambda: path_similarity(PLANE, PLANE, PLANE[:0]), "of others 0. Must be at least 1"),
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
    for call in (has_body, has_contour):
        with pytest.raises(TypeError, match=r"Invalid masks of type torch\.float32\. Must be"):
            call(SMALL)
    with pytest.raises(TypeError, match="Must be a boolean"):
        boundary_f1(np.ones((32, 32)), SQUARE)  # type: ignore[arg-type]
