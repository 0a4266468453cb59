"""Look into a network and leave it as it was."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import Tensor, nn

from thesis_lib._networks import autocast, check_differentiable, evaluating, first_weight

PRECISIONS = ("32-true", "bf16-mixed")
OUTPUT = ""  # name under which torch lists a network itself: its activation is the output

Layer = str | nn.Module


class _Reached(Exception):  # noqa: N818 - no error: it ends a forward pass that has gone far enough
    """The layer asked for has run."""


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """
    Put a network into eval mode with constant weights, then restore it, also after an exception.

    Inside, gradients are enabled and autocast is not, wherever the caller is, and only inputs
    receive gradients: the ``.grad`` of the weights stays, and in eval mode so do the statistics of
    BatchNorm. Restored are the mode of every submodule and ``requires_grad`` of every parameter.

    Parameters
    ----------
    model : Module

    Yields
    ------
    None

    Raises
    ------
    ValueError
        If the network was made in inference mode.
    """
    check_differentiable(model)
    required = [(weight, weight.requires_grad) for weight in model.parameters()]
    try:
        with (
            evaluating(model),
            torch.inference_mode(False),
            torch.enable_grad(),
            autocast(model, mixed=False),
        ):
            model.requires_grad_(False)
            yield
    finally:
        for weight, was_required in required:
            weight.requires_grad_(was_required)


def resolve_layer(model: nn.Module, layer: Layer) -> str:
    """
    Name of a layer given by its name or module.

    Parameters
    ----------
    model : Module
    layer : str or Module
        Such as ``"block4"`` or ``model.block4``; ``OUTPUT`` is the network itself.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If the network has no such layer.

    Examples
    --------
    >>> model = nn.Sequential(nn.ReLU())
    >>> resolve_layer(model, "0"), resolve_layer(model, model[0])
    ('0', '0')
    """
    modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    if isinstance(layer, nn.Module):
        names = [name for name, module in modules.items() if module is layer]
        if not names:
            raise ValueError(
                f"Invalid layer {type(layer).__name__}. Must be a module of the network."
            )
        return names[0]
    if layer not in modules:
        near = difflib.get_close_matches(str(layer), modules, n=5, cutoff=0.4)
        known = near or [name for name, _ in model.named_children()]
        raise ValueError(
            f"Invalid layer {layer!r}. Must be a layer of the network, such as: {', '.join(known)}."
        )
    return layer


def match_network(values: Tensor, model: nn.Module) -> Tensor:
    """
    Convert values to the device and dtype of a network, but to float32 at least.

    Parameters
    ----------
    values : Tensor
    model : Module

    Returns
    -------
    Tensor
    """
    weight = first_weight(model)
    return values.to(weight.device, torch.promote_types(torch.float32, weight.dtype))


def activate(model: nn.Module, layer: str, images: Tensor, *, precision: str) -> Tensor:
    """
    Run a network as far as one of its layers, and no further.

    Parameters
    ----------
    model : Module
        Its mode and gradients are the caller's business: see `frozen`.
    layer : str
        From `resolve_layer`.
    images : Tensor of shape (n, 1, H, W)
        Converted to the dtype of the network.
    precision : {"32-true", "bf16-mixed"}
        Arithmetic of the network: its own, or bf16 autocast of float32 weights.

    Returns
    -------
    Tensor of shape (n, ...)
        What the layer returns when it runs first, in the dtype of the images.

    Raises
    ------
    TypeError
        If the layer does not return a Tensor.
    ValueError
        If the layer does not run in the forward pass.
    """
    found: list[Any] = []

    def stop(_module: nn.Module, _inputs: tuple[Any, ...], output: Any) -> None:
        found.append(output)
        raise _Reached

    with (
        model.get_submodule(layer).register_forward_hook(stop),
        suppress(_Reached),
        autocast(model, mixed=precision == "bf16-mixed"),
    ):
        model(images.to(first_weight(model).dtype))
    if not found:
        raise ValueError(f"Invalid layer {layer!r}. Must run in the forward pass.")
    if not isinstance(found[0], Tensor):
        raise TypeError(f"Layer {layer!r} returns a {type(found[0]).__name__}. Must be a Tensor.")
    return found[0].to(images.dtype)
