"""Time the parts that cost most: ``make bench``."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.optim.swa_utils import update_bn

from saltearth import make_volume
from thesis_lib.losses import LOSSES
from thesis_lib.metrics import score_volume
from thesis_lib.model import SaltClassifier, SaltUNet
from thesis_lib.patches import Augmentation, PatchBatches
from thesis_lib.patching import PatchGrid, Stitcher, zscore
from thesis_lib.xai import class_logit, invert, maximize


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    """Mask of the default earth."""
    salt: np.ndarray = make_volume(seed=0)["salt"].values
    return salt


def test_make_volume(benchmark: BenchmarkFixture) -> None:
    """The default earth, 96 x 128 x 128."""
    benchmark.pedantic(make_volume, kwargs={"seed": 0}, rounds=3)


def test_batches(benchmark: BenchmarkFixture) -> None:
    """An augmented batch of 32 patches of 64 x 64 from the default earth."""
    cut: dict[str, Any] = {"patch": 64, "stride": 32, "batch_size": 32, "seed": 0}
    batches = PatchBatches(make_volume(seed=0), **cut, augmentation=Augmentation())
    epoch = batches.epoch(0)
    benchmark.pedantic(next, args=(epoch,), rounds=10, warmup_rounds=1)


def test_score_volume(benchmark: BenchmarkFixture, mask: np.ndarray) -> None:
    """All scores of a volume."""
    shifted = np.roll(mask, 1, axis=0)
    scale: dict[str, Any] = {"spacing_m": (25.0, 25.0, 20.0), "tolerance_m": 50.0}
    benchmark(score_volume, shifted, mask, **scale)


def test_stitch(benchmark: BenchmarkFixture) -> None:
    """Cut a section into overlapping patches and put it together again."""
    section = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    grid = PatchGrid(section.shape, (64, 64), (32, 32))

    def go_round() -> np.ndarray:
        stitcher = Stitcher(grid, window="hann")
        for window, view in grid.extract(section):
            stitcher.add(window, view)
        merged: np.ndarray = stitcher.merge()
        return merged

    benchmark(go_round)


@pytest.mark.parametrize("name", LOSSES)
def test_loss(benchmark: BenchmarkFixture, name: str, mask: np.ndarray) -> None:
    """Value and gradient of a loss on a batch of 32 patches of 64 x 64."""
    target = torch.from_numpy(mask[:32, None, :64, :64])
    logits = torch.randn(target.shape, generator=torch.Generator().manual_seed(0))
    benchmark(differentiate, LOSSES[name], logits.requires_grad_(), target)


def differentiate(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    logits: torch.Tensor,
    target: torch.Tensor,
) -> torch.Tensor:
    """Compute the gradient of a loss."""
    (gradient,) = torch.autograd.grad(loss(logits, target), logits)
    return gradient


def test_network(benchmark: BenchmarkFixture) -> None:
    """Forward pass of the network on a batch of 32 patches of 64 x 64."""
    model = SaltUNet().eval()
    patches = torch.zeros(32, 1, 64, 64)
    with torch.inference_mode():
        benchmark(model, patches)


def test_maximize(benchmark: BenchmarkFixture) -> None:
    """Sixteen images of 128 x 128 in one batch, 256 steps with robustness, in bf16."""
    settings: dict[str, Any] = {"seeds": range(16), "precision": "bf16-mixed", "progress": False}
    args = SaltClassifier(2), class_logit(1), (128, 128)
    benchmark.pedantic(maximize, args=args, kwargs=settings, rounds=1)


@pytest.mark.parametrize("n_patches", [1, 4])
def test_invert(benchmark: BenchmarkFixture, n_patches: int) -> None:
    """Patches of 128 x 128 through block 4 to a residual below 0.01, alone and four at once."""
    sections = make_volume(seed=0)["amplitude"].values[::24]
    patches = zscore(torch.from_numpy(sections).mT)[:, None]  # (4, 1, depth, crossline)
    model = SaltClassifier(2)
    update_bn([patches], model)  # random weights have no statistics of their own
    settings: dict[str, Any] = {"seeds": [0], "progress": False}
    args = model, "block4", patches[:n_patches]
    found = benchmark.pedantic(invert, args=args, kwargs=settings, rounds=1)
    benchmark.extra_info["evaluations"] = found.evaluations.tolist()
    benchmark.extra_info["residual"] = found.residual.tolist()
