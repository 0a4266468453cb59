"""The training loop. It knows nothing of the network, the patches or the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from thesis_lib.training.config import TrainConfig, resolve_device, resolve_precision
from thesis_lib.training.folder import History, Row, RunFolder

if TYPE_CHECKING:
    from lightning.fabric import Fabric

Loss = Callable[[Tensor, Tensor], Tensor]
Validate = Callable[[nn.Module], dict[str, float]]
Bar: TypeAlias = "tqdm[NoReturn]"


class Batches(Protocol):
    """Batches of patches and targets, epoch after epoch."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of epoch ``number`` (from 0), the same whenever it is asked for."""


def fit(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    config: TrainConfig,
    *,
    validate: Validate | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> History:
    """
    Train a network with AdamW and a one-cycle learning rate.

    The last weights of the schedule are the result: no score selects them. With a ``folder``, a
    finished run is never repeated, and a killed one goes on after its last finished epoch and
    ends, on CPU, with the very bits that it would have had. Layers that draw random numbers
    (dropout) draw them from the number of the epoch; global random states are left alone.

    Parameters
    ----------
    model : Module
        Trained in place, and moved to the device of ``config``.
    batches : Batches
        ``len(batches)`` steps an epoch, ``batches.epoch(number)`` yields (images, targets).
    loss : callable
        ``loss(logits, targets)``, a scalar Tensor; smaller is better. The logits are float32.
    config : TrainConfig
        Optimiser, schedule, precision, devices.
    validate : callable, optional
        ``validate(model)`` gives named scores after each epoch. They are written down, no more.
    folder : Path, optional
        Where ``history.csv`` grows epoch by epoch, ``resume.safetensors`` holds the state of the
        last finished one, and ``weights.safetensors`` the result.
    progress : bool
        Whether to draw a progress bar.

    Returns
    -------
    History
        One row an epoch.

    Raises
    ------
    FloatingPointError
        If the loss or its gradient is NaN or infinite.
    ValueError
        If the folder belongs to a run with another configuration, a file in it is damaged, there
        are fewer batches than devices, or a name in ``lr_factors`` begins no parameter's.
    RuntimeError
        If an epoch yields fewer batches than ``len(batches)``.

    Notes
    -----
    With several devices, each process that Fabric starts runs the calling script up to here, takes
    its share of the batches and ends with the same weights; the first one writes, and the history
    holds its losses.
    """
    run = None if folder is None else RunFolder(folder, config)
    if run is not None and (finished := run.load_finished(model)) is not None:
        model.to(resolve_device(config))  # where the training would have left it
        return finished
    trainer = _Trainer(model, batches, loss, config)
    rows = [] if run is None else run.load_epoch(model, trainer.optimizer, trainer.schedule)
    with trainer.make_bar(n_finished=len(rows), hidden=not progress) as bar:
        for epoch in range(len(rows), config.epochs):
            start = perf_counter()
            row = trainer.train_epoch(epoch, bar) | (validate(model) if validate else {})
            rows.append(row | {"seconds": round(perf_counter() - start, 3)})
            if run is not None and trainer.fabric.is_global_zero:
                if len(rows) < config.epochs:
                    run.save_epoch(model, trainer.optimizer, trainer.schedule, rows)
                else:
                    run.save_finished(model, rows)
    trainer.fabric.barrier()
    return History(tuple(rows))


class _Trainer:
    """Network, optimiser and schedule on their devices."""

    def __init__(self, model: nn.Module, batches: Batches, loss: Loss, config: TrainConfig) -> None:
        self.batches, self.loss, self.config = batches, loss, config
        self.fabric = _launch_fabric(config)
        self.n_steps = len(batches) // self.fabric.world_size
        if not self.n_steps:
            raise ValueError(
                f"{len(batches)} batches for {self.fabric.world_size} device(s). Must be at least "
                "one batch per device."
            )
        groups = _group_parameters(model, config)
        self.optimizer = AdamW(
            groups,
            lr=config.lr,
            betas=(0.9, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
        total = config.epochs * self.n_steps
        self.schedule = OneCycleLR(
            self.optimizer,
            max_lr=[group["lr"] for group in groups],
            total_steps=total,
            # A peak on the very first of several steps would make OneCycleLR divide by zero.
            pct_start=config.warmup if total == 1 else max(config.warmup, 1.5 / total),
            cycle_momentum=False,
        )
        self.network, self.stepper = self.fabric.setup(model, self.optimizer)

    def make_bar(self, *, n_finished: int, hidden: bool) -> Bar:
        total, initial = (n * self.n_steps for n in (self.config.epochs, n_finished))
        hidden = hidden or not self.fabric.is_global_zero
        return tqdm(total=total, initial=initial, unit="step", disable=hidden)

    def train_epoch(self, epoch: int, bar: Bar) -> Row:
        """Train on the batches of one epoch and return its row of the history."""
        self.network.train()
        losses: list[float] = []
        share = islice(
            self.batches.epoch(epoch), self.fabric.global_rank, None, self.fabric.world_size
        )
        with _draw_from(epoch, self.fabric.device):
            for images, targets in islice(share, self.n_steps):
                place = f"epoch {epoch + 1}, step {len(losses) + 1}"
                lr = self.schedule.get_last_lr()[0]
                losses.append(self._step(images, targets, place))
                bar.set_postfix(epoch=epoch + 1, loss=losses[-1], refresh=False)
                bar.update()
        self._share_statistics()
        if len(losses) < self.n_steps:
            raise RuntimeError(
                f"Epoch {epoch + 1} has {len(losses)} batches. Must be {self.n_steps}."
            )
        return {
            "epoch": epoch + 1,
            "step": (epoch + 1) * self.n_steps,
            "lr": float(lr),
            "train_loss": math.fsum(losses) / len(losses),
        }

    def _share_statistics(self) -> None:
        """Give the buffers of the first process, such as those of BatchNorm, to all others."""
        if self.fabric.world_size > 1:
            for buffer in self.network.buffers():
                buffer.copy_(self.fabric.broadcast(buffer))

    def _step(self, images: Tensor, targets: Tensor, place: str) -> float:
        images, targets = self.fabric.to_device((images, targets))
        value: Tensor = self.loss(self.network(images), targets)
        found = _check_finite("loss", value.item(), place)
        self.fabric.backward(value)
        norm = self.fabric.clip_gradients(
            self.network,
            self.stepper,
            max_norm=self.config.gradient_clip,
            error_if_nonfinite=False,
        )
        _check_finite("gradient", cast(Tensor, norm).item(), place)
        self.stepper.step()
        self.stepper.zero_grad()
        self.schedule.step()
        return found


def _group_parameters(model: nn.Module, config: TrainConfig) -> list[dict[str, Any]]:
    """Return parameters with one learning rate each; the largest rate comes first."""
    groups: dict[float, list[nn.Parameter]] = {}
    names = []
    for name, parameter in model.named_parameters():
        names.append(name)
        keys = [key for key in config.lr_factors if name.startswith(key)]
        factor = config.lr_factors[max(keys, key=len)] if keys else 1.0
        groups.setdefault(factor, []).append(parameter)
    for key in config.lr_factors:
        if not any(name.startswith(key) for name in names):
            raise ValueError(
                f"Invalid name {key!r} in lr_factors. Must begin the name of a parameter, such as "
                f"{', '.join(dict.fromkeys(name.partition('.')[0] for name in names))}."
            )
    return [{"params": groups[f], "lr": config.lr * f} for f in sorted(groups, reverse=True)]


def _launch_fabric(config: TrainConfig) -> Fabric:
    # Lightning takes seconds to import: who only predicts does not wait.
    from lightning.fabric import Fabric
    from lightning.fabric.plugins import MixedPrecision

    where: dict[str, Any] = {"accelerator": config.accelerator, "devices": config.devices}
    if resolve_precision(config) == "bf16-mixed":
        device = resolve_device(config)
        where["plugins"] = MixedPrecision("bf16-mixed", device.type)  # by name, Fabric logs a line
    fabric = Fabric(**where)
    fabric.launch()
    return fabric


def _check_finite(name: str, value: float, place: str) -> float:
    if not math.isfinite(value):
        raise FloatingPointError(
            f"The {name} is {value} at {place}. Must be finite: lower the learning rate, or "
            "look for the cause in the patches or the loss."
        )
    return value


@contextmanager
def _draw_from(seed: int, device: torch.device) -> Iterator[None]:
    """Let layers draw from a seed of their own, then give the global random states back."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield
