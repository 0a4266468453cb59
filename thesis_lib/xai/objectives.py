"""What an image is to excite: numbers read from activations; larger is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Final

import torch
from torch import Tensor

from thesis_lib._checks import check_count, check_range
from thesis_lib.xai._hooks import OUTPUT, Layer
from thesis_lib.xai.images import measure_norm, measure_variation

Readings = Mapping[Layer, Tensor]

IMAGE: Final = "<image>"  # what stands for the image itself among the layers


@dataclass(frozen=True)
class Objective:
    """
    A number per image, read from the activations of some layers.

    Objectives are added, subtracted and multiplied with one another and with numbers.

    Parameters
    ----------
    name : str
        How it is written, for records and captions.
    layers : tuple of str or Module
        Layers that it reads; ``IMAGE`` is the image before it is moved.
    read : callable
        ``read(activations)`` gives a Tensor (n,) from a dict of layers to Tensors (n, ...). Each
        of its values depends on one image alone.

    Examples
    --------
    >>> objective = 2 * channel("block1", 3) - channel("block4", 0) * 0.5
    >>> objective.name, objective.layers
    ("2 * channel('block1', 3) - channel('block4', 0) * 0.5", ('block1', 'block4'))
    >>> objective({"block1": torch.ones(2, 4, 5, 5), "block4": torch.ones(2, 4, 1, 1)})
    tensor([1.5000, 1.5000])
    """

    name: str
    layers: tuple[Layer, ...]
    read: Callable[[Readings], Tensor]

    def __call__(self, activations: Readings) -> Tensor:
        """Read the value of each image, (n,)."""
        return self.read(activations)

    def __add__(self, other: Objective | float) -> Objective:
        return _join(self, "+", other, torch.add)

    def __radd__(self, other: float) -> Objective:
        return _join(other, "+", self, torch.add)

    def __sub__(self, other: Objective | float) -> Objective:
        return _join(self, "-", _bracket(other), torch.sub)

    def __rsub__(self, other: float) -> Objective:
        return _join(other, "-", _bracket(self), torch.sub)

    def __mul__(self, other: Objective | float) -> Objective:
        return _join(_bracket(self), "*", _bracket(other), torch.mul)

    def __rmul__(self, other: float) -> Objective:
        return _join(other, "*", _bracket(self), torch.mul)

    def __neg__(self) -> Objective:
        return -1 * self


def _join(
    first: Objective | float,
    sign: str,
    second: Objective | float,
    operate: Callable[..., Tensor],
) -> Objective:
    for part in (first, second):
        if not isinstance(part, Objective | Real):
            raise TypeError(f"Invalid operand {part!r}. Must be an Objective or a number.")
    names = [part.name if isinstance(part, Objective) else f"{part:g}" for part in (first, second)]
    parts = [part for part in (first, second) if isinstance(part, Objective)]
    layers = tuple(dict.fromkeys(layer for part in parts for layer in part.layers))

    def read(activations: Readings) -> Tensor:
        values = [p(activations) if isinstance(p, Objective) else p for p in (first, second)]
        return operate(*map(torch.as_tensor, values))

    return Objective(f" {sign} ".join(names), layers, read)


def _bracket(part: Objective | float) -> Objective | float:
    """Brackets around a sum, before it is a factor or is subtracted."""
    if isinstance(part, Objective) and (" + " in part.name or " - " in part.name):
        return Objective(f"({part.name})", part.layers, part.read)
    return part


def neuron(layer: Layer, channel: int, y: int, x: int) -> Objective:
    """
    Activation of one channel of a layer at one place.

    Parameters
    ----------
    layer : str or Module
        Such as ``"block4"``, with activations (n, C, h, w).
    channel, y, x : int
        Channel, row and column, from 0.

    Returns
    -------
    Objective
        Reading it raises ValueError where the layer has no such channel or place.
    """
    place = dict(zip(("channel", "y", "x"), (channel, y, x), strict=True))
    _check_places(place)

    def read(activations: Readings) -> Tensor:
        maps = _get_maps(activations[layer], 4)
        _check_places(place, maps.shape[1:])
        return maps[:, channel, y, x]

    return Objective(f"neuron({_label(layer)}, {channel}, {y}, {x})", (layer,), read)


def channel(layer: Layer, k: int) -> Objective:
    """
    Mean of one channel of a layer over all places.

    Parameters
    ----------
    layer : str or Module
        With activations (n, C, h, w) or (n, C).
    k : int
        Channel, from 0.

    Returns
    -------
    Objective
        Reading it raises ValueError where the layer has no such channel.
    """
    return _read_channel(f"channel({_label(layer)}, {k})", layer, k, "channel")


def class_logit(k: int) -> Objective:
    """
    Logit of class ``k``; of networks that put out maps, its mean over the patch.

    Parameters
    ----------
    k : int
        Class, from 0.

    Returns
    -------
    Objective
        Reading it raises ValueError where the network has no such class.
    """
    return _read_channel(f"class_logit({k})", OUTPUT, k, "class")


def class_margin(k: int) -> Objective:
    """
    Logit of class ``k`` above the largest of the others.

    Parameters
    ----------
    k : int
        Class, from 0.

    Returns
    -------
    Objective
        Reading it raises ValueError where the network has no such class or no other.
    """
    check_count("class", k, low=0)

    def read(activations: Readings) -> Tensor:
        logits = _average(activations[OUTPUT])
        check_count("number of classes of a margin", logits.shape[1], low=2)
        check_count("class", k, low=0, high=logits.shape[1] - 1)
        others = torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1)
        return logits[:, k] - others.amax(dim=1)

    return Objective(f"class_margin({k})", (OUTPUT,), read)


def direction(layer: Layer, vector: Tensor | Sequence[float]) -> Objective:
    """
    Scalar product of a vector with the channels of a layer, mean over all places.

    Parameters
    ----------
    layer : str or Module
        With activations (n, C, h, w) or (n, C).
    vector : Tensor or sequence of float, of shape (C,)
        Not normalised.

    Returns
    -------
    Objective
        Reading it raises ValueError where the layer has another number of channels.

    Raises
    ------
    ValueError
        If ``vector`` has other than one axis.
    """
    weights = torch.as_tensor(vector, dtype=torch.float64).detach()
    if weights.ndim != 1:
        raise ValueError(f"Invalid vector of shape {tuple(weights.shape)}. Must be (C,).")

    def read(activations: Readings) -> Tensor:
        means = _average(activations[layer])
        if means.shape[1] != len(weights):
            raise ValueError(
                f"Invalid vector of length {len(weights)} for the {means.shape[1]} channels of "
                f"{_label(layer)}. Must be as long."
            )
        return means @ weights.to(means)

    return Objective(f"direction({_label(layer)}, ({len(weights)},))", (layer,), read)


def total_variation(beta: float = 2.0) -> Objective:
    """
    Total variation of the image, a regulariser where subtracted; see `measure_variation`.

    Parameters
    ----------
    beta : float
        Exponent, above 0.

    Returns
    -------
    Objective
        ``class_logit(1) - 1e-3 * total_variation()`` prefers smooth images.
    """
    check_range("beta", beta, low=0, open_low=True)
    return Objective(
        f"total_variation({beta:g})", (IMAGE,), lambda seen: measure_variation(seen[IMAGE], beta)
    )


def alpha_norm(alpha: float = 6.0) -> Objective:
    """
    Alpha-norm of the image, a regulariser where subtracted; see `measure_norm`.

    Parameters
    ----------
    alpha : float
        Exponent, at least 1.

    Returns
    -------
    Objective
    """
    check_range("alpha", alpha, low=1)
    return Objective(
        f"alpha_norm({alpha:g})", (IMAGE,), lambda seen: measure_norm(seen[IMAGE], alpha)
    )


def _read_channel(name: str, layer: Layer, k: int, kind: str) -> Objective:
    check_count(kind, k, low=0)

    def read(activations: Readings) -> Tensor:
        means = _average(activations[layer])
        check_count(kind, k, low=0, high=means.shape[1] - 1)
        return means[:, k]

    return Objective(name, (layer,), read)


def _average(activations: Tensor) -> Tensor:
    """Means over all places, (n, C)."""
    maps = _get_maps(activations, 2)
    return maps.flatten(2).mean(dim=2) if maps.ndim > 2 else maps


def _get_maps(activations: Tensor, n_axes: int) -> Tensor:
    """Activations as they are, if they have enough axes."""
    if activations.ndim < n_axes:
        needed = "(n, C, h, w)" if n_axes == 4 else "(n, C, ...)"
        raise ValueError(
            f"Invalid activations of shape {tuple(activations.shape)}. Must be {needed}."
        )
    return activations


def _check_places(place: Mapping[str, int], sizes: Sequence[int] | None = None) -> None:
    for axis, (name, index) in enumerate(place.items()):
        check_count(name, index, low=0, high=None if sizes is None else sizes[axis] - 1)


def _label(layer: Layer) -> str:
    return repr(layer) if isinstance(layer, str) else type(layer).__name__
