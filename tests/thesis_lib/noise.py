"""Noise from generators of its own."""

import torch
from torch import Tensor


def make_noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Independent standard normal values that the seed alone decides."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
