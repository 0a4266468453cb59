"""The training loop. It knows nothing of the network, the patches or the loss."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from tqdm import tqdm

from thesis_lib._networks import check_differentiable, first_weight
from thesis_lib.training.config import TrainConfig, mix_precision, resolve_device
from thesis_lib.training.folder import History, Row, RunFolder

Loss = Callable[[Tensor, Tensor], Tensor]
Validate = Callable[[nn.Module], dict[str, float]]


class Batches(Protocol):
    """Batches of patches and targets, epoch after epoch."""

    def __len__(self) -> int:
        """Batches in an epoch."""

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of epoch ``number`` (from 0), the same whenever it is asked for."""


@torch.inference_mode(False)
@torch.enable_grad()
def fit(
    model: nn.Module,
    batches: Batches,
    loss: Loss,
    config: TrainConfig,
    *,
    validate: Validate | None = None,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> History:
    """
    Train a network with AdamW and a one-cycle learning rate.

    The last weights of the schedule are the result: no score selects them. With a ``folder``, a
    finished run is never repeated, and a killed one goes on after its last finished epoch. Layers
    that draw random numbers (dropout) draw them from the number of the epoch; global random states
    are left alone.

    Parameters
    ----------
    model : Module
        Trained in place, and moved to the device of ``config``. Images get the dtype of its
        weights.
    batches : Batches
        ``len(batches)`` steps an epoch, ``batches.epoch(number)`` yields (images, targets).
    loss : callable
        ``loss(logits, targets)``, a scalar Tensor; smaller is better. The logits are float32.
    config : TrainConfig
        Optimiser, schedule, precision, device.
    validate : callable, optional
        ``validate(model)`` gives named scores after each epoch, which the history records.
    folder : path, optional
        Where ``history.csv`` grows epoch by epoch, ``resume.safetensors`` holds the state of the
        last finished one, and ``weights.safetensors`` the result.
    progress : bool
        Whether to draw a progress bar in a terminal.

    Returns
    -------
    History
        One row per epoch.

    Raises
    ------
    FloatingPointError
        If the loss or its gradient is NaN or infinite.
    ValueError
        If the folder belongs to a run with another configuration, a file in it is damaged, there
        are no batches, the machine lacks the device, or no parameter's name begins with a name in
        ``lr_factors``.
    RuntimeError
        If an epoch yields fewer batches than ``len(batches)``.

    Notes
    -----
    A resumed run starts from the bits of its last epoch: weights, statistics, moments, rates. What
    it computes from them, and what another run with the same seed computes, is the same bits where
    the arithmetic repeats itself: on a CPU, with the same processor, releases of torch and number
    of threads, in batches of two patches or more. PyTorch convolves these by oneDNN; a single small
    float32 patch goes through the BLAS, whose order of sums may depend on where its arrays lie in
    memory. In that case, on another processor and on a GPU, results agree to rounding.
    """
    check_differentiable(model)
    plain = _unwrap(model)
    run = None if folder is None else RunFolder(Path(folder), config)
    finished = None if run is None else run.load_finished(plain)
    model.to(resolve_device(config))  # a finished network too: what follows is computed there
    if finished is not None:
        return finished
    trainer = _Trainer(model, batches, loss, config)
    rows = [] if run is None else run.load_epoch(plain, trainer.optimizer, trainer.schedule)
    total, initial = (n * trainer.n_steps for n in (config.epochs, len(rows)))
    with tqdm(total=total, initial=initial, unit="step", disable=not progress or None) as bar:
        for epoch in range(len(rows), config.epochs):
            start = perf_counter()
            row = trainer.train_epoch(epoch, bar) | (validate(model) if validate else {})
            rows.append(row | {"seconds": round(perf_counter() - start, 3)})
            if run is None:
                continue
            if len(rows) < config.epochs:
                run.save_epoch(plain, trainer.optimizer, trainer.schedule, rows)
            else:
                run.save_finished(plain, rows)
    return History(tuple(rows))


class _Trainer:
    """Network, optimiser and schedule on one device."""

    def __init__(self, model: nn.Module, batches: Batches, loss: Loss, config: TrainConfig) -> None:
        self.model, self.batches, self.loss, self.config = model, batches, loss, config
        self.weight = first_weight(model)
        self.n_steps = len(batches)
        if not self.n_steps:
            raise ValueError("Invalid batches: there are none. Must be at least one.")
        groups = _group_parameters(_unwrap(model), config)
        self.parameters = [parameter for group in groups for parameter in group["params"]]
        self.optimizer = AdamW(
            groups, betas=(0.9, config.beta2), weight_decay=config.weight_decay, fused=True
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

    def train_epoch(self, epoch: int, bar: tqdm[NoReturn]) -> Row:
        """Train on the batches of one epoch and return its row of the history."""
        self.model.train()
        losses: list[float] = []
        with _draw_from(epoch, self.weight.device):
            for images, targets in islice(self.batches.epoch(epoch), self.n_steps):
                position = f"epoch {epoch + 1}, step {len(losses) + 1}"
                lr = self.schedule.get_last_lr()[0]
                targets = targets.to(self.weight.device)
                losses.append(self._step(images.to(self.weight), targets, position))
                bar.set_postfix(epoch=epoch + 1, loss=losses[-1], refresh=False)
                bar.update()
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

    def _step(self, images: Tensor, targets: Tensor, position: str) -> float:
        with mix_precision(self.config.precision, self.model):
            logits = self.model(images)
        value = self.loss(logits.float(), targets)
        _check_finite("loss", value, position)
        value.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.parameters, self.config.gradient_clip)
        _check_finite("gradient", norm, position)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.schedule.step()
        return value.item()


def _unwrap(model: nn.Module) -> nn.Module:
    """Network inside of a compiled one, whose weights have other names."""
    inside: nn.Module = getattr(model, "_orig_mod", model)
    return inside


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
                f"Invalid name {key!r} in lr_factors. Must begin the name of a parameter: "
                f"{', '.join(dict.fromkeys(name.partition('.')[0] for name in names))}."
            )
    return [{"params": groups[f], "lr": config.lr * f} for f in sorted(groups, reverse=True)]


def _check_finite(name: str, value: Tensor, position: str) -> None:
    if not value.isfinite():
        raise FloatingPointError(
            f"The {name} is {value.item()} at {position}. Must be finite: lower the learning rate, "
            "or look for the cause in the patches or the loss."
        )


@contextmanager
def _draw_from(seed: int, device: torch.device) -> Iterator[None]:
    """Let layers draw from generators of this seed and leave the global random states alone."""
    cuda = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        if cuda:
            torch.cuda.manual_seed(seed)
        yield
