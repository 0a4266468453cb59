"""Noise from generators of its own, as images and as volumes."""

from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from saltvolumes.volume import build_volume


def make_noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Independent standard normal values that the seed alone decides."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def make_volume(
    shape: tuple[int, int, int], *, seed: int = 0, missing: Any = (), **options: Any
) -> xr.Dataset:
    """Noise, salt where it is above 0.5; lines from 1 unless told otherwise, samples 10 m apart."""
    amplitude = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    inline, crossline, vertical = (np.arange(1, n + 1) for n in shape)
    lines = {"inline": inline, "crossline": crossline, "vertical": 10.0 * vertical}
    options = lines | {"salt": amplitude > 0.5} | options
    for trace in missing:
        amplitude[trace] = np.nan
    return build_volume(amplitude, **options)
