"""Readouts: what is in the features is read, what is not is not, and repeated bit for bit."""

from typing import Any

import pytest
import torch
from noise import make_noise
from torch import Tensor
from torch.nn import functional as F

from thesis_lib.xai.readout import Decoder, Probe, explained_variance, fit_readout

HOW: dict[str, Any] = {"steps": 150, "batch_size": 8, "seed": 0}


def make_patches(n: int, seed: int) -> Tensor:
    """Smooth patches of 13 x 10 pixels."""
    return 3 * F.avg_pool2d(make_noise(n, 1, 15, 12, seed=seed), 3, stride=1)


def test_identity_is_read() -> None:
    """From the patches themselves a decoder reads unseen patches nearly whole."""
    train, test = make_patches(64, 1), make_patches(16, 2)
    read = fit_readout(Decoder, train, train, F.mse_loss, reduction=1, **HOW)
    assert explained_variance(read(test), test) > 0.95


def test_noise_holds_nothing() -> None:
    """From features that have nothing to do with the patches nothing is read."""
    train, test = make_patches(256, 1), make_patches(16, 2)
    read = fit_readout(
        Decoder, make_noise(256, 4, 13, 10, seed=3), train, F.mse_loss, reduction=1, **HOW
    )
    assert -0.2 < explained_variance(read(make_noise(16, 4, 13, 10, seed=4)), test) < 0.05


def test_probe_finds_a_linear_mask() -> None:
    """A mask that one channel decides is found by the probe, whatever the other channel holds."""
    features = torch.cat([make_patches(32, 1), 100 * make_patches(32, 2)], dim=1)
    masks = (features[:, :1] > 0.2).float()
    read = fit_readout(
        Probe,
        features,
        masks,
        F.binary_cross_entropy_with_logits,
        reduction=1,
        **{**HOW, "steps": 400},
    )
    agreement = ((read(features) > 0) == masks.bool()).float().mean()
    assert agreement > 0.9


@pytest.mark.parametrize("kind", [Decoder, Probe])
@pytest.mark.parametrize("reduction", [1, 4, 32])
def test_output_has_the_size_of_patches(kind: type[Decoder], reduction: int) -> None:
    """Whatever the reduction, outputs are as large as patches."""
    features = make_noise(3, 2, -(-33 // reduction), -(-47 // reduction), seed=1)
    targets = torch.zeros(3, 1, 33, 47)
    read = fit_readout(
        kind, features, targets, F.mse_loss, reduction=reduction, steps=1, batch_size=2, seed=0
    )
    assert read(features).shape == targets.shape


def test_seed_decides() -> None:
    """The same seed gives the same readout bit for bit, another one another."""
    patches, short = make_patches(20, 1), {**HOW, "steps": 3}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first, again, other = (
        fit_readout(Decoder, patches, patches, F.mse_loss, reduction=1, **{**short, "seed": seed})
        for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first(patches), again(patches))
    assert not torch.allclose(first(patches), other(patches))


def test_explained_variance_by_hand() -> None:
    """Errors 0, 0, 1, 1 against 0, 1, 2, 3, whose squares about the mean sum up to 5: 1 - 2/5."""
    reference = torch.tensor([0.0, 1, 2, 3])
    assert explained_variance(torch.tensor([0.0, 1, 3, 2]), reference) == pytest.approx(0.6)
    assert explained_variance(torch.full((4,), 1.5), reference) == pytest.approx(0)


def test_refuses() -> None:
    """Numbers out of range are named."""
    patches = make_patches(4, 1)
    for changes, message in (
        ({"steps": 0}, "Invalid steps 0"),
        ({"batch_size": 0}, "Invalid batch_size 0"),
        ({"seed": -1}, "Invalid seed -1"),
        ({"reduction": 0}, "Invalid reduction 0"),
    ):
        with pytest.raises(ValueError, match=message):
            fit_readout(Decoder, patches, patches, F.mse_loss, **{**HOW, "reduction": 1, **changes})
