"""What holds for any network: its images, its arithmetic, and how it is left as it was."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn


def check_images(name: str, images: Tensor) -> Tensor:
    """
    Return images, in at least float32, if they are a batch of one channel.

    Raises
    ------
    TypeError
        If they are not a Tensor.
    ValueError
        If the shape is not (B, 1, H, W), or empty.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"Invalid {name} of type {type(images).__name__}. Must be a torch.Tensor.")
    if images.ndim != 4 or images.shape[1] != 1 or not images.numel():
        raise ValueError(
            f"Invalid {name} of shape {tuple(images.shape)}. Must be (B, 1, H, W), each at least 1."
        )
    return images.to(torch.promote_types(images.dtype, torch.float32))


def first_weight(model: nn.Module) -> Tensor:
    """
    Return a weight of a network, whose device and dtype its images have to have.

    A network without weights computes in float32 on the CPU.

    Raises
    ------
    TypeError
        If it is not a Module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"Invalid model of type {type(model).__name__}. Must be a torch Module.")
    return next(model.parameters(), torch.empty(0))


def check_differentiable(model: nn.Module) -> None:
    """
    Refuse a network that was made in inference mode, since nothing can be differentiated there.

    Raises
    ------
    ValueError
        If a weight or statistic is an inference tensor.
    """
    if any(value.is_inference() for value in (*model.parameters(), *model.buffers())):
        raise ValueError(
            "Invalid model with weights made in torch.inference_mode. Must be made outside of it, "
            "or copied there: copy.deepcopy(model)."
        )


def autocast(model: nn.Module, *, mixed: bool) -> torch.autocast:
    """
    Compute in bf16 autocast, or in none, whatever the caller is in.

    Weights of another dtype than float32 are used as they are. The cache of an outer autocast would
    give weights as they were before the last step.
    """
    weight = first_weight(model)
    mixed = mixed and weight.dtype == torch.float32
    return torch.autocast(weight.device.type, torch.bfloat16, mixed, cache_enabled=False)


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Compute without autocast on a device, whatever the caller is in."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into eval mode; after it each of its modules has the mode that it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
