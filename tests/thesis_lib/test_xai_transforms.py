"""Tests of the movements: closed forms, SciPy as referee, seeds, errors."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch
from noise import make_noise

from thesis_lib.xai.transforms import Robustness, move

SIZES = [(99, 99), (15, 30), (5, 4)]


def make_images(n, shape):
    """Normal noise in double precision."""
    return make_noise(n, 1, *shape, dtype=torch.float64)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(("down", "left"), [(0, 0), (2, 1)])
def test_whole_shifts_reflect_at_borders(shape, down, left):
    """Shifts of whole pixels, also none, are slices of the image continued by its reflection."""
    images = make_images(1, shape)
    moved = move(images, torch.tensor([[down, -left, 1.0, 0.0]]))
    padded = np.pad(images[0, 0].numpy(), ((down, 0), (0, left)), mode="symmetric")
    expected = padded[: shape[0], left:]
    torch.testing.assert_close(moved[0, 0], torch.from_numpy(expected.copy()))


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("moves", [(0, 0, 1, -0.17), (0, 0, 1, 0.12), (1.5, -2.25, 1.1, 0.15)])
def test_movements_agree_with_scipy(shape, moves):
    """Rotation, enlargement and shift are SciPy's affine transform about the centre of any size."""
    images, (down, right, factor, angle) = make_images(1, shape), moves
    back = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / factor
    centre, shift = (np.array(shape) - 1) / 2, np.array([down, right])
    offset = centre - back @ (centre + shift)
    expected = scipy.ndimage.affine_transform(
        images[0, 0].numpy(), back, offset, order=1, mode="reflect"
    )
    moved = move(images, torch.tensor([moves], dtype=torch.float64))
    torch.testing.assert_close(moved[0, 0], torch.from_numpy(expected))


def test_images_move_on_their_own():
    """Each image of a batch moves as it would alone, and gradients reach it."""
    images = make_images(3, (9, 7)).requires_grad_()
    moves = torch.stack(
        [Robustness().draw(1, torch.Generator().manual_seed(i))[0] for i in (1, 2, 3)]
    )
    moved = move(images, moves)
    for i in range(3):
        torch.testing.assert_close(moved[i : i + 1], move(images[i : i + 1], moves[i : i + 1]))
    assert torch.autograd.gradcheck(
        lambda x: move(x, moves), make_images(3, (5, 4)).requires_grad_()
    )


def test_draws_stay_in_their_ranges():
    """Shifts, factors and angles fill their ranges and belong to the generator's seed."""
    robustness = Robustness(jitter_px=3, scale=0.2, rotate_deg=5)
    draws = robustness.draw(4000, torch.Generator().manual_seed(1))
    assert torch.equal(draws, robustness.draw(4000, torch.Generator().manual_seed(1)))
    low, high = draws.amin(dim=0).tolist(), draws.amax(dim=0).tolist()
    angle = math.radians(5)
    assert low == pytest.approx([-3, -3, 1 / 1.2, -angle], rel=0.01)
    assert high == pytest.approx([3, 3, 1.2, angle], rel=0.01)
    assert torch.equal(
        Robustness(0, 0, 0).draw(5, torch.Generator()), torch.tensor([[0.0, 0, 1, 0]] * 5)
    )


@pytest.mark.parametrize(
    ("amounts", "match"),
    [
        ({"jitter_px": -1}, "Invalid jitter_px -1"),
        ({"scale": 1}, "Invalid scale 1"),
        ({"rotate_deg": 11}, r"Invalid rotate_deg 11. Must lie in \[0, 10\]"),
    ],
)
def test_large_movements_are_refused(amounts, match):
    """Negative amounts, doubling and more than 10 degrees raise."""
    with pytest.raises(ValueError, match=match):
        Robustness(**amounts)
