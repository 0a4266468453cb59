"""Activation maximization: images that excite a class."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import trange

from saltvolumes._checks import check_choice, check_count, check_counts, check_range, check_sizes
from thesis_lib.patching import zscore
from thesis_lib.xai._hooks import OUTPUT, PRECISIONS, activate, frozen, match_network
from thesis_lib.xai.images import Fourier, Parametrization
from thesis_lib.xai.objectives import Objective
from thesis_lib.xai.transforms import Robustness, move

OPTIMIZERS: dict[str, Any] = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


@dataclass(frozen=True)
class Maximization:
    """
    What `maximize` found. Images are sorted by objective, then by seed.

    Attributes
    ----------
    images : Tensor of shape (n, 1, H, W)
        As the network sees them: z-scored, unless that was switched off; never moved.
    values : Tensor of shape (n,)
        Objective of each image, not moved.
    history : Tensor of shape (n, steps)
        Objective before each step, of the moved image.
    seeds : tuple of n ints
        Seed of each image.
    objectives : tuple of n str
        Objective of each image.
    config : dict
        All other settings, as plain values that JSON holds.
    """

    images: Tensor
    values: Tensor
    history: Tensor
    seeds: tuple[int, ...]
    objectives: tuple[str, ...]
    config: dict[str, Any]


def maximize(
    model: nn.Module,
    objective: Objective | Sequence[Objective],
    shape: int | tuple[int, int],
    *,
    seeds: Sequence[int],
    steps: int = 256,
    lr: float = 0.05,
    optimizer: str = "adam",
    image: Parametrization = Fourier(),  # noqa: B008 - immutable
    robustness: Robustness | None = Robustness(),  # noqa: B008 - immutable
    zscored: bool = True,
    precision: str = "32-true",
    progress: bool = True,
) -> Maximization:
    """
    Find images that excite a network by climbing the gradient of an objective [1]_.

    Every image is optimised on its own, with its own start, movements and moments; all of them go
    through the network at once.

    Parameters
    ----------
    model : Module
        Used in eval mode, on its own device and with its own dtype. Mode, gradients and hooks are
        left as they were, also after an exception.
    objective : Objective or sequence of Objectives
        What to maximise: `class_logit` or `class_margin`. Several are combined with all seeds.
    shape : int or tuple of two ints
        Height and width of the images, in pixels.
    seeds : sequence of int
        One image per objective and seed.
    steps : int
        Steps of the optimiser.
    lr : float
        Its learning rate, in units of the parametrisation.
    optimizer : {"adam", "sgd"}
        SGD has no momentum.
    image : Parametrization
        `Fourier`, `Pixels` or `Phase`.
    robustness : Robustness, optional
        Random movements at each step; None for none.
    zscored : bool
        Whether images are z-scored before they are moved and seen, as in training.
    precision : {"32-true", "bf16-mixed"}
        Arithmetic of the network: its own or bf16 autocast. Images and steps keep float32.
    progress : bool
        Whether to draw a progress bar in a terminal.

    Returns
    -------
    Maximization
        On the device of the network.

    Raises
    ------
    TypeError
        If a count or a seed is not a whole number.
    ValueError
        If an argument is out of its range, or there is nothing to maximise.
    FloatingPointError
        If the gradient of an image is NaN or infinite, as that of a constant image under z-score.

    Notes
    -----
    A seed decides the noise at the start and the movements bit for bit, and global random states
    play no part. The ascent is the same up to rounding: convolutions and Fourier transforms add in
    an order that depends on the processor, the number of threads, how memory is aligned and how
    many images go through the network at once, and hundreds of steps amplify the differences. Bits
    are repeated by a new process that makes the same calls on the same machine.

    References
    ----------
    .. [1] Erhan et al. (2009). Visualizing higher-layer features of a deep network. Université de
       Montréal, technical report 1341.
    """
    objectives = list(objective) if isinstance(objective, list | tuple) else [objective]
    check_count("number of objectives", len(objectives))
    for goal in objectives:
        if not isinstance(goal, Objective):
            raise TypeError(f"Invalid objective {goal!r}. Must be such as class_logit(1).")
    config = {
        "shape": list(check_sizes("shape", shape, 2)),
        "steps": check_count("steps", steps),
        "lr": check_range("lr", lr, low=0, exclusive=True),
        "optimizer": check_choice("optimizer", optimizer, OPTIMIZERS),
        "image": repr(image),
        "robustness": None if robustness is None else asdict(robustness),
        "zscored": zscored,
        "precision": check_choice("precision", precision, PRECISIONS),
    }
    goals = list(itertools.product(objectives, check_counts("seed", seeds, low=0)))
    with frozen(model):
        batch = _Batch(model, image, robustness, goals, config)
        stepper = OPTIMIZERS[optimizer]([batch.parameters], lr=lr)
        history = []
        for step in (bar := trange(steps, unit="step", disable=not progress or None)):
            stepper.zero_grad()
            history.append(batch.differentiate(step))
            stepper.step()
            bar.set_postfix(objective=history[-1].mean().item(), refresh=False)
        with torch.no_grad():
            images = batch.render().clone()
            values = batch.evaluate(images)
        return Maximization(
            images=images,
            values=values,
            history=torch.stack(history, dim=1),
            seeds=tuple(seed for _, seed in goals),
            objectives=tuple(goal.name for goal, _ in goals),
            config=config,
        )


class _Batch:
    """Images that go through the network at once, each with its own objective and seed."""

    def __init__(
        self,
        model: nn.Module,
        image: Parametrization,
        robustness: Robustness | None,
        goals: Sequence[tuple[Objective, int]],
        config: dict[str, Any],
    ) -> None:
        self.model, self.image, self.goals, self.config = model, image, goals, config
        self.shape = (config["shape"][0], config["shape"][1])
        generators = [torch.Generator().manual_seed(seed) for _, seed in goals]
        starts = torch.stack([image.start(self.shape, generator) for generator in generators])
        self.parameters = match_network(starts, model).requires_grad_()  # (k, ...)
        self.moves: Tensor | None = None
        if robustness is not None:
            moves = [robustness.draw(config["steps"], generator) for generator in generators]
            self.moves = match_network(torch.stack(moves), model)  # (k, steps, 4)

    def render(self) -> Tensor:
        """Images as the network sees them before they are moved."""
        images = self.image.render(self.parameters, self.shape)
        return zscore(images) if self.config["zscored"] else images

    def evaluate(self, images: Tensor) -> Tensor:
        """Objective (k,) of each image."""
        outputs = activate(self.model, OUTPUT, images, precision=self.config["precision"])
        pairs = zip(self.goals, outputs, strict=True)
        return torch.cat([goal.read(output[None]) for (goal, _), output in pairs])

    def differentiate(self, step: int) -> Tensor:
        """Objectives (k,) of the moved images; their gradients stay with the parameters."""
        images = self.render()
        values = self.evaluate(images if self.moves is None else move(images, self.moves[:, step]))
        loss = -values.sum()  # objectives are maximised: the one line where the sign flips
        loss.backward()  # type: ignore[no-untyped-call]
        gradient = self.parameters.grad
        if gradient is None or not gradient.isfinite().all():
            names = ", ".join(f"{goal.name} from seed {seed}" for goal, seed in self.goals)
            raise FloatingPointError(
                f"The gradient of {names} is NaN or infinite at step {step + 1}. Must be finite: "
                "start from an image that is not constant, or lower lr."
            )
        return values.detach()
