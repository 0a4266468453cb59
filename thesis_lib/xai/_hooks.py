"""Look into a network and leave it, and everything global, as it was."""

import difflib
import random
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Layer = str | nn.Module
Activations = dict[str, Tensor]

OUTPUT = ""  # name under which torch lists a network itself: its activation is the output


class _Reached(Exception):  # noqa: N818 - no error: it ends a forward pass that has gone far enough
    """All layers asked for have run."""


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """
    Put a network into eval mode with constant weights, then restore it.

    What comes back, after an exception as well: the mode of every submodule, ``requires_grad``
    and ``.grad`` of every parameter, every buffer (BatchNorm's statistics), and the global random
    states of torch (on the CPU and the GPUs of the network), NumPy and Python. Gradients are
    enabled inside, wherever the caller is. Inputs alone get gradients.

    Parameters
    ----------
    model : Module

    Yields
    ------
    None
    """
    with ExitStack() as stack:
        stack.enter_context(_global_random_states(model))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(_modes(model))
        stack.enter_context(_buffers(model))
        stack.enter_context(_gradients(model))
        yield


@contextmanager
def _modes(model: nn.Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def _buffers(model: nn.Module) -> Iterator[None]:
    saved = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in saved:
                if not torch.equal(buffer, values):  # a copy would upset graphs that hold it
                    buffer.copy_(values)


@contextmanager
def _gradients(model: nn.Module) -> Iterator[None]:
    saved = [(weight, weight.requires_grad, weight.grad) for weight in model.parameters()]
    try:
        for weight, _, _ in saved:
            weight.grad = None
            weight.requires_grad_(False)
        yield
    finally:
        for weight, required, gradient in saved:
            weight.requires_grad_(required)
            weight.grad = gradient


@contextmanager
def _global_random_states(model: nn.Module) -> Iterator[None]:
    gpus = {weight.device.index for weight in model.parameters() if weight.device.type == "cuda"}
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(sorted(gpus)):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def resolve_layer(model: nn.Module, layer: Layer) -> tuple[str, nn.Module]:
    """
    Name and module of a layer given by either.

    Parameters
    ----------
    model : Module
    layer : str or Module
        Such as ``"block4"`` or ``model.block4``; ``""`` is the network itself.

    Returns
    -------
    tuple of (str, Module)

    Raises
    ------
    TypeError
        If ``layer`` is neither.
    ValueError
        If the network has no such layer.

    Examples
    --------
    >>> resolve_layer(nn.Sequential(nn.ReLU()), "0")
    ('0', ReLU())
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    if isinstance(layer, nn.Module):
        for name, module in modules.items():
            if module is layer:
                return name, module
        raise ValueError(f"Invalid layer {type(layer).__name__}: it is no part of the network.")
    if not isinstance(layer, str):
        raise TypeError(f"Invalid layer {layer!r}. Must be a name or a Module.")
    if layer not in modules:
        near = difflib.get_close_matches(layer, modules, n=5, cutoff=0.4)
        known = near or [name for name, _ in model.named_children()]
        raise ValueError(f"Invalid layer {layer!r}. Near names: {', '.join(known) or 'none'}.")
    return layer, modules[layer]


@contextmanager
def record(
    model: nn.Module, layers: Iterable[Layer], *, stop: bool = False
) -> Iterator[Activations]:
    """
    Collect what layers put out, in every forward pass inside the ``with``.

    Parameters
    ----------
    model : Module
    layers : iterable of str or Module
        As for `resolve_layer`.
    stop : bool
        Whether a pass ends, by an exception that `activate` catches, once all layers have run.

    Yields
    ------
    dict of str to Tensor
        Filled by each pass with copies that carry gradients: a ReLU that works in place behind a
        layer does not reach them. A layer that runs twice in a pass leaves its last output.

    Raises
    ------
    TypeError, ValueError
        As `resolve_layer`; TypeError also where a layer puts out something else than a Tensor.
    """
    found: Activations = {}
    parts = dict(resolve_layer(model, layer) for layer in layers)

    def keep(name: str, output: Any) -> None:
        if not isinstance(output, Tensor):
            raise TypeError(f"Layer {name!r} puts out a {type(output).__name__}. Must be a Tensor.")
        found[name] = output.clone()
        if stop and len(found) == len(parts):
            raise _Reached

    with ExitStack() as stack:
        for name, module in parts.items():
            hook = module.register_forward_hook(
                lambda _module, _inputs, output, name=name: keep(name, output)
            )
            stack.callback(hook.remove)
        yield found


def activate(model: nn.Module, layers: Iterable[Layer], x: Tensor) -> Activations:
    """
    Run a network as far as some layers need, and no further.

    Parameters
    ----------
    model : Module
        Its mode and gradients are the caller's business: see `frozen`.
    layers : iterable of str or Module
        As for `resolve_layer`.
    x : Tensor of shape (B, 1, H, W)

    Returns
    -------
    dict of str to Tensor
        Outputs of the layers by name.

    Raises
    ------
    TypeError, ValueError
        As `record`; ValueError also where a layer does not run in the forward pass.
    """
    names = [resolve_layer(model, layer)[0] for layer in layers]
    with record(model, names, stop=True) as found, suppress(_Reached):
        model(x)
    if idle := [name for name in names if name not in found]:
        raise ValueError(f"Invalid layer {idle[0]!r}: it does not run in the forward pass.")
    return found
