"""Tests of predictions at several sizes, and of statistics between two surveys."""

import copy

import numpy as np
import pytest
import torch
from noise import make_volume
from torch import nn

from thesis_lib.model import SaltUNet
from thesis_lib.patching import zscore
from thesis_lib.training import Zoomed, mix_statistics, predict_volume

OPTIONS = {"patch": 16, "stride": 8, "precision": "32-true"}
SHAPE = (3, 24, 32)


class Sign(nn.Module):
    """Sure of salt where the z-scored amplitude is above 0."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 20 * x


def test_no_zoom_is_the_network_itself():
    """At a factor of 1 logits are those of the network."""
    images = zscore(torch.randn(3, 1, 24, 32, generator=torch.Generator().manual_seed(0)))
    model = SaltUNet(seed=0).eval()
    with torch.no_grad():
        assert torch.allclose(Zoomed(model, 1.0)(images), model(images), atol=1e-4)


@pytest.mark.parametrize("zoom", [0.5, 0.75, 2.0])
def test_a_smooth_image_is_found_at_every_size(zoom):
    """What is above and below 0 over many samples stays so when enlarged and brought back."""
    wave = torch.sin(torch.arange(32) * 2 * torch.pi / 16)
    found = Zoomed(Sign(), zoom)(wave.expand(2, 1, 24, 32))
    clear = wave.abs() > 0.5
    assert found.shape == (2, 1, 24, 32)
    assert ((found > 0) == (wave > 0))[..., clear].all()


def test_a_network_sees_zscored_patches_of_the_size_it_learned():
    """A patch that is widened for a zoom is as large as one that was learned, once it is seen."""
    zoomed = Zoomed(Sign(), 0.3)
    assert zoomed.widen((16, 32)) == (53, 107)
    seen = zoomed.resize(torch.randn(2, 1, 53, 107))
    assert seen.shape == (2, 1, 16, 32)
    assert torch.allclose(seen.std(dim=(2, 3), correction=0), torch.ones(2, 1), atol=1e-4)


def test_missing_traces_stay_missing():
    """A trace without amplitude has no probability, at any factor."""
    volume = make_volume(SHAPE)
    volume["amplitude"] = volume["amplitude"].where(volume["crossline"] != volume["crossline"][5])
    found = predict_volume(Zoomed(Sign(), 0.75), volume, axes=("inline",), **OPTIONS)
    missing = np.isnan(found["probability"].transpose("crossline", ...).values)
    assert missing[5].all()
    assert missing.sum() == missing[5].size


def test_a_zoom_that_is_none_is_refused():
    """An error says what was given and what is allowed."""
    with pytest.raises(ValueError, match="Invalid zoom 0"):
        Zoomed(Sign(), 0.0)


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
