"""Tests of the parametrisations of images: round trips and spectra."""

import numpy as np
import pytest
import torch
from noise import make_noise

from thesis_lib.xai import Fourier, Phase, Pixels

SIZES = [(99, 99), (150, 300), (5, 4), (4, 5), (1, 1)]


def start_all(image, shape, seeds):
    """Stacked starts of several seeds."""
    starts = [image.start(shape, torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(starts)


@pytest.mark.parametrize("shape", SIZES)
def test_fourier_round_trip(shape):
    """Any image comes back from its Fourier parameters, whatever its size."""
    images = make_noise(2, 1, *shape)
    fourier = Fourier()
    assert (fourier.render(fourier.analyse(images), shape) - images).abs().max() < 2e-6


def test_fourier_weights_fall_with_frequency():
    """One coefficient of height 1 at f cycles per pixel is a wave of amplitude 2/(f sqrt(HW))."""
    parameters = torch.zeros(1, 12, 9, 2)
    parameters[0, 0, 4, 0] = 1  # 4 cycles on 16 pixels
    wave = 8 / 192**0.5 * torch.cos(torch.pi / 2 * torch.arange(16)).expand(1, 1, 12, 16)
    torch.testing.assert_close(Fourier().render(parameters, (12, 16)), wave)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("name", ["pixels", "fourier", "phase"])
def test_starts_belong_to_their_seeds(name, shape):
    """A seed starts the same image alone and among others; another seed starts another."""
    image = {"pixels": Pixels(), "fourier": Fourier(), "phase": Phase(make_noise(3, 1, *shape))}[
        name
    ]
    parameters = start_all(image, shape, [5, 6, 5])
    images = image.render(parameters, shape)
    assert images.shape == (3, 1, *shape)
    torch.testing.assert_close(images[0], images[2])
    torch.testing.assert_close(images[:1], image.render(parameters[:1], shape))
    assert shape == (1, 1) or not torch.allclose(images[0], images[1], atol=1e-4)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("moved", [False, True])
def test_phase_keeps_the_magnitude_of_the_data(shape, moved):
    """Wherever the phases go, the image has the mean magnitude spectrum of the data."""
    patches = make_noise(3, 1, *shape)
    phase = Phase(patches)
    parameters = start_all(phase, shape, [0, 1]).requires_grad_()
    if moved:
        optimizer = torch.optim.Adam([parameters], lr=0.3)
        for seed in range(4):
            optimizer.zero_grad()
            (phase.render(parameters, shape) * make_noise(2, 1, *shape, seed=seed)).sum().backward()
            optimizer.step()
    found = torch.fft.rfft2(phase.render(parameters, shape)[:, 0]).abs()
    expected = torch.from_numpy(np.abs(np.fft.rfft2(patches[:, 0])).mean(axis=0))
    torch.testing.assert_close(
        found, expected.expand_as(found), atol=1e-3, rtol=1e-3, check_dtype=False
    )


@pytest.mark.parametrize("shape", [(6, 8), (5, 4), (7, 9)])
@pytest.mark.parametrize("symmetric", [False, True])
def test_phase_of_one_patch_gives_the_patch_back(shape, symmetric):
    """A patch is its own magnitude with its own phase, also an even one with phases 0 and π."""
    patch = make_noise(1, 1, *shape)
    if symmetric:
        patch = torch.fft.irfft2(torch.fft.rfft2(patch).real, s=shape)
    phase = torch.fft.rfft2(patch[:, 0]).angle()
    torch.testing.assert_close(Phase(patch).render(phase, shape), patch, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Pixels(std=-1), "Invalid std -1"),
        (lambda: Fourier(std=-1), "Invalid std -1"),
        (lambda: Fourier(decay=-1), "Invalid decay -1"),
        (lambda: Phase(torch.zeros(1, 5, 4)), r"Invalid patches of shape \(1, 5, 4\)"),
        (lambda: Phase(torch.zeros(1, 1, 5, 4)).start((4, 5), torch.Generator()), "Shapes differ"),
    ],
)
def test_wrong_arguments_are_refused(make, match):
    """Negative deviations and exponents, no batch of patches and another size raise."""
    with pytest.raises(ValueError, match=match):
        make()
