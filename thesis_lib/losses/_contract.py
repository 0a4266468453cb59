"""What holds for every loss: checks, precision, and the mean over the batch."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import TypeVar, cast

import torch
from torch import Tensor

from saltvolumes._checks import check_same_shape

LossT = TypeVar("LossT", bound=Callable[..., Tensor])


def _check_pair(logits: Tensor, target: Tensor) -> None:
    check_same_shape("logits", logits.shape, "target", target.shape)
    if logits.ndim != 4 or logits.shape[1] != 1 or logits.numel() == 0:
        raise ValueError(
            f"Invalid logits of shape {tuple(logits.shape)}. Must be (B, 1, H, W), each at least 1."
        )
    if not logits.is_floating_point():
        raise TypeError(f"Invalid logits of dtype {logits.dtype}. Must be floating point.")


def _check_values(target: Tensor) -> None:
    low, high = target.aminmax()
    if not (low >= 0 and high <= 1):  # also refuses NaN
        raise ValueError(
            f"Invalid target with values from {low.item():g} to {high.item():g}. "
            "Must lie in [0, 1]."
        )


def _mark_invalid(logits: Tensor, target: Tensor) -> Tensor:
    """Logits that are NaN where the target is NaN or outside [0, 1]; asks the device nothing."""
    return torch.where((target >= 0) & (target <= 1), logits, math.nan)


def _full_precision(device_type: str) -> AbstractContextManager[object]:
    if torch.amp.is_autocast_available(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def mean_loss(values: LossT) -> LossT:
    """
    Turn values per pixel (B, 1, H, W) or per sample (B,) into a checked loss in full precision.

    All samples have the same number of pixels, so either mean is the mean over the samples.
    """

    @wraps(values)
    def loss(logits: Tensor, target: Tensor, **options: object) -> Tensor:
        _check_pair(logits, target)
        dtype = torch.promote_types(logits.dtype, torch.float32)
        with _full_precision(logits.device.type):
            logits, target = logits.to(dtype), target.to(dtype)
            if target.device.type == "cpu":
                _check_values(target)
            else:
                logits = _mark_invalid(logits, target)
            return values(logits, target, **options).mean()

    return cast(LossT, loss)
