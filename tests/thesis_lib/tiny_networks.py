"""A tiny classifier, and a batch to train any segmentation network on."""

from collections.abc import Iterator

import torch
from noise import make_noise
from torch import Tensor, nn


class OneBlock(nn.Module):
    """A convolution, the mean over the map, and a head of three classes."""

    def __init__(self, n_inputs: int = 5) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            parts = nn.Conv2d(1, 5, 3, padding=1), nn.BatchNorm2d(5), nn.Tanh()
            self.block: nn.Module = nn.Sequential(*parts)
            self.head = nn.Linear(n_inputs, 3)

    def features(self, x: Tensor) -> list[Tensor]:
        """One map (B, 5, h, w)."""
        return [self.block(x)]

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, 3)."""
        logits: Tensor = self.head(self.block(x).mean(dim=(2, 3)))
        return logits


class OneBatch:
    """One batch per epoch: two images, of any kind of number, and their masks."""

    def __init__(self, kind: torch.dtype = torch.float32) -> None:
        self.kind = kind

    def __len__(self) -> int:
        return 1

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batch."""
        images = make_noise(2, 1, 32, 32, seed=number).to(self.kind)
        yield images, images > 0
