"""Tests of predictions at several sizes, and of statistics between two surveys."""

import copy

import numpy as np
import pytest
import torch
from noise import make_volume
from torch import nn

from thesis_lib.model import SaltUNet
from thesis_lib.training import mix_statistics, predict_volume, predict_zoomed

OPTIONS = {"patch": 16, "stride": 8, "precision": "32-true"}
SHAPE = (3, 24, 32)


class Sign(nn.Module):
    """Sure of salt where the z-scored amplitude is above 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 20 * x


def test_no_zoom_is_the_plain_prediction():
    """At a factor of 1 it is what `predict_volume` gives for that direction."""
    volume, model = make_volume(SHAPE), SaltUNet(seed=0)
    plain = predict_volume(model, volume, axes=("inline",), **OPTIONS)["probability"]
    found = predict_zoomed(model, volume, axis="inline", **OPTIONS)
    assert np.array_equal(found.transpose(*plain.dims), plain)


@pytest.mark.parametrize("rule", ["mean", "surest"])
def test_a_smooth_image_is_found_at_every_size(rule):
    """What is above and below 0 over many samples stays so when enlarged and brought back."""
    volume = make_volume(SHAPE)
    wave = np.sin(np.arange(SHAPE[2]) * 2 * np.pi / 16).astype(np.float32)
    volume["amplitude"] = volume["amplitude"] * 0 + wave
    found = predict_zoomed(
        Sign(), volume, axis="inline", zooms=(0.75, 1.0, 2.0), rule=rule, **OPTIONS
    ).transpose("inline", "crossline", "depth")
    clear = np.abs(wave) > 0.5
    assert ((found.values > 0.5) == (wave > 0))[..., clear].all()


def test_the_surest_factor_counts_section_by_section():
    """Of two predictions of a section the one farther from one half is taken."""
    from thesis_lib.training.zooms import _combine

    low, high = np.full((1, 4, 4), 0.4), np.full((1, 4, 4), 0.9)
    found = np.stack([np.concatenate([low, high]), np.concatenate([high, low])])
    assert np.array_equal(_combine(found, "surest"), np.concatenate([high, high]))
    assert np.allclose(_combine(found, "mean"), 0.65)


def test_missing_traces_stay_missing():
    """A trace without amplitude has no probability, at any factor."""
    volume = make_volume(SHAPE)
    volume["amplitude"] = volume["amplitude"].where(volume["crossline"] != volume["crossline"][5])
    found = predict_zoomed(Sign(), volume, axis="inline", zooms=(0.75, 1.5), **OPTIONS)
    missing = np.isnan(found.transpose("crossline", ...).values)
    assert missing[5].all()
    assert missing.sum() == missing[5].size


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"zooms": ()}, "Invalid zooms: none given"),
        ({"zooms": (0.0,)}, "Invalid zoom 0"),
        ({"rule": "best"}, "Invalid rule 'best'"),
    ],
)
def test_bad_arguments_are_refused(changed, message):
    """An error says what was given and what is allowed."""
    with pytest.raises(ValueError, match=message):
        predict_zoomed(Sign(), make_volume(SHAPE), axis="inline", **OPTIONS, **changed)


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_statistics_move_by_their_weight(weight):
    """Mean and variance lie between those that were learned and those of the patches."""
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1)).train()
    model[0].running_mean.fill_(5.0)
    before = copy.deepcopy(model.state_dict())
    images = torch.randn(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    mix_statistics(model, images, weight=weight, batch_size=8)
    assert model[0].running_mean.item() == pytest.approx(
        (1 - weight) * 5 + weight * images.mean().item(), abs=1e-5
    )
    assert model[0].running_var.item() == pytest.approx(
        (1 - weight) + weight * images.var().item(), abs=1e-5
    )
    assert model.training
    assert model[0].momentum == 0.1
    assert torch.equal(model[1].weight, before["1.weight"])
    assert model[0].num_batches_tracked == before["0.num_batches_tracked"]


def test_a_weight_outside_of_0_to_1_is_refused():
    """Statistics lie between two surveys, not beyond them."""
    with pytest.raises(ValueError, match=r"Invalid weight 1\.5"):
        mix_statistics(SaltUNet(seed=0), torch.zeros(2, 1, 32, 32), weight=1.5)
