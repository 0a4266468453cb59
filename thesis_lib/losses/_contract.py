"""What holds for every loss: checks, precision, and the mean over the batch."""

import math
from collections.abc import Callable
from functools import wraps
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from saltvolumes._checks import check_same_shape
from thesis_lib._networks import check_images, full_precision

LossT = TypeVar("LossT", bound=Callable[..., Tensor])


def _check_pair(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the precision of the logits, at least float32, after a check of types and shapes."""
    check_same_shape("logits", np.shape(logits), "target", np.shape(target))
    exact, target = check_images("logits", logits), check_images("target", target)
    if not logits.is_floating_point():
        raise TypeError(f"Invalid logits of dtype {logits.dtype}. Must be floating point.")
    return exact, target.to(exact.dtype)


def _check_values(target: Tensor) -> None:
    low, high = target.amin().item(), target.amax().item()  # faster than aminmax
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(
            f"Invalid target with values from {low:g} to {high:g}. Must lie in [0, 1]."
        )


def _mark_invalid(logits: Tensor, target: Tensor) -> Tensor:
    """Logits that are NaN where the target is NaN or outside [0, 1]; asks the device nothing."""
    return torch.where((target >= 0) & (target <= 1), logits, math.nan)


def mean(values: Tensor) -> Tensor:
    """Mean, whose gradient is not written out pixel by pixel as that of torch's is."""
    return values.sum() / values.numel()


def mean_loss(values: LossT) -> LossT:
    """
    Turn values per pixel (B, 1, H, W), per sample (B,) or their mean into a checked loss.

    It computes in full precision.

    All samples have the same number of pixels, so either mean is the mean over the samples.
    """

    @wraps(values)
    def loss(logits: Tensor, target: Tensor, **options: object) -> Tensor:
        is_bool = isinstance(target, Tensor) and target.dtype == torch.bool
        logits, target = _check_pair(logits, target)
        with full_precision(logits.device):
            if target.device.type != "cpu":
                logits = _mark_invalid(logits, target)
            elif not is_bool:
                _check_values(target)
            found = values(logits, target, **options)
            return mean(found) if found.ndim else found

    return cast(LossT, loss)
