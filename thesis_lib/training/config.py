"""Settings of a training, and the arithmetic that the hardware is good at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

import torch
from torch import nn

from saltvolumes._checks import check_choice, check_count, check_range, keep_plain
from thesis_lib._networks import autocast, first_weight

Precision = Literal["bf16-mixed", "32-true"]

PRECISIONS = ("auto", "bf16-mixed", "32-true")
ACCELERATORS = ("auto", "cpu", "cuda", "gpu", "mps")


@dataclass(frozen=True)
class TrainConfig:
    """
    Settings of a training. ``dataclasses.asdict`` gives plain values that JSON holds.

    Parameters
    ----------
    epochs : int
        Passes over the batches.
    lr : float
        Learning rate at the peak of the one-cycle schedule [1]_.
    warmup : float
        Fraction of the steps before the peak, in (0, 0.9].
    beta2 : float
        Memory of AdamW's second moments, in [0, 0.9999]. The usual 0.999 remembers a thousand
        steps: in a short schedule the large first gradients of a loss such as Hausdorff's would
        then hold its steps down to the end.
    weight_decay : float
        Decoupled weight decay of AdamW [2]_.
    gradient_clip : float
        Largest norm of the gradient of a step.
    precision : {"auto", "bf16-mixed", "32-true"}
        ``"auto"`` is bf16 autocast on GPUs with bf16 and CPUs with AMX, else float32. A network of
        other weights than float32 computes in their dtype.
    accelerator : {"auto", "cpu", "cuda", "gpu", "mps"}
        Where to train, on one device: ``"gpu"`` is CUDA or MPS, whichever the machine has, and
        ``"auto"`` the CPU where it has neither.
    lr_factors : mapping of str to float
        Factors of the learning rate, at least 0, of the parameters whose names begin with a key;
        the longest key counts, and ``""`` means all. Parameters that no key names have factor 1.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    References
    ----------
    .. [1] Smith & Topin (2019). Super-convergence. https://doi.org/10.1117/12.2520589
    .. [2] Loshchilov & Hutter (2019). Decoupled weight decay regularization.
       https://doi.org/10.48550/arXiv.1711.05101

    Examples
    --------
    >>> TrainConfig(epochs=4).lr
    0.002
    """

    epochs: int = 8
    lr: float = 2e-3
    warmup: float = 0.25
    beta2: float = 0.99
    weight_decay: float = 1e-2
    gradient_clip: float = 1.0
    precision: str = "auto"
    accelerator: str = "auto"
    lr_factors: Mapping[str, float] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        keep_plain(self)
        check_count("epochs", self.epochs)
        check_range("lr", self.lr, low=0, exclusive=True)
        check_range("warmup", self.warmup, low=0, high=0.9, exclusive=True)
        check_range("beta2", self.beta2, low=0, high=0.9999)
        check_range("weight_decay", self.weight_decay, low=0)
        check_range("gradient_clip", self.gradient_clip, low=0, exclusive=True)
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("accelerator", self.accelerator, ACCELERATORS)
        if not isinstance(self.lr_factors, Mapping):
            raise TypeError(f"Invalid lr_factors {self.lr_factors!r}. Must map names to factors.")
        for name, factor in self.lr_factors.items():
            check_range(f"lr factor of {name!r}", factor, low=0)


def pick_precision(precision: str, device: torch.device) -> Precision:
    """
    Turn ``"auto"`` into the precision that a device is good at.

    Parameters
    ----------
    precision : {"auto", "bf16-mixed", "32-true"}
    device : torch.device

    Returns
    -------
    {"bf16-mixed", "32-true"}
        As given, or chosen.

    Raises
    ------
    ValueError
        If the precision is unknown.
    """
    if check_choice("precision", precision, PRECISIONS) != "auto":
        return cast(Precision, precision)
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        fast = torch.cpu.get_capabilities().get("amx_bf16", False)  # others are slower than float32
    else:
        fast = False
    return "bf16-mixed" if fast else "32-true"


def mix_precision(precision: str, model: nn.Module) -> torch.autocast:
    """Return the context in which a network computes in a precision, see `pick_precision`."""
    device = first_weight(model).device
    return autocast(model, mixed=pick_precision(precision, device) == "bf16-mixed")


def resolve_precision(config: TrainConfig) -> Precision:
    """Precision of a configuration on this machine, on the device that it asks for."""
    return pick_precision(config.precision, resolve_device(config))


def resolve_device(config: TrainConfig) -> torch.device:
    """
    Device of this machine that a configuration asks for.

    Raises
    ------
    ValueError
        If the machine does not have it.
    """
    found = torch.accelerator.current_accelerator(check_available=True)
    if config.accelerator == "cpu" or (config.accelerator == "auto" and found is None):
        return torch.device("cpu")
    if found is None or config.accelerator not in ("auto", "gpu", found.type):
        raise ValueError(
            f"Invalid accelerator {config.accelerator!r}. Must be available; this machine has "
            f"{'no accelerator' if found is None else found.type}."
        )
    return torch.device(found.type, 0)
