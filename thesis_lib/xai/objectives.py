"""What an image is to excite: numbers read from the output of a network; larger is better."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from saltvolumes._checks import check_count


@dataclass(frozen=True)
class Objective:
    """
    A number per image, read from the output of a network.

    Parameters
    ----------
    name : str
        For records and captions.
    read : callable
        Turns the output (n, n_classes, ...) of a network into a Tensor (n,), each of its values
        from one image alone.
    """

    name: str
    read: Callable[[Tensor], Tensor]


def class_logit(k: int) -> Objective:
    """
    Logit of class ``k``; of networks whose output is maps, its mean over the patch.

    Parameters
    ----------
    k : int
        Class, from 0.

    Returns
    -------
    Objective
        Reading it raises ValueError where the network has no such class.

    Examples
    --------
    >>> class_logit(1).read(torch.tensor([[3.0, 1.0, -2.0]]))
    tensor([1.])
    """
    return Objective(f"class_logit({k})", lambda output: _get_logits(output, k)[:, k])


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

    Examples
    --------
    >>> class_margin(1).read(torch.tensor([[3.0, 1.0, -2.0]]))
    tensor([-2.])
    """

    def read(output: Tensor) -> Tensor:
        logits = _get_logits(output, k)
        check_count("number of classes of a margin", logits.shape[1], low=2)
        others = torch.cat([logits[:, :k], logits[:, k + 1 :]], dim=1)
        return logits[:, k] - others.amax(dim=1)

    return Objective(f"class_margin({k})", read)


def _get_logits(output: Tensor, k: int) -> Tensor:
    """Logits (n, n_classes), of which class ``k`` is one; means over the patch of maps."""
    if output.ndim < 2:
        raise ValueError(
            f"Invalid output of shape {tuple(output.shape)}. Must be (n, n_classes, ...)."
        )
    check_count("class", k, low=0, high=output.shape[1] - 1)
    return output.flatten(2).mean(dim=2) if output.ndim > 2 else output
