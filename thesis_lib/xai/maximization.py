"""Activation maximization: images that excite a neuron, a channel, a direction or a class."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor, nn
from tqdm import tqdm

from thesis_lib._checks import check_choice, check_count, check_range, check_same_shape
from thesis_lib.patching import zscore
from thesis_lib.xai._hooks import activate, frozen, resolve_layer
from thesis_lib.xai.images import Fourier, Parametrization
from thesis_lib.xai.objectives import IMAGE, Objective
from thesis_lib.xai.transforms import Robustness, move

Bar: TypeAlias = "tqdm[NoReturn]"

OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
}
PRECISIONS = ("32-true", "bf16-mixed")
_FLAT = 0.01  # share of the whole rise that a window has to add, or the image has converged


@dataclass(frozen=True)
class Maximization:
    """
    What `maximize` found. Images are sorted by objective, then by seed.

    Attributes
    ----------
    images : Tensor of shape (n, 1, H, W)
        As the network sees them: z-scored, unless that was switched off; never moved.
    values : Tensor of shape (n,)
        Objective of each image as it stands, not moved.
    history : Tensor of shape (n, steps)
        Objective before each step, of the moved image; NaN after an image's early stop.
    snapshots : dict of int to Tensor of shape (n, 1, H, W)
        Images after the numbers of steps asked for.
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
    snapshots: dict[int, Tensor]
    seeds: tuple[int, ...]
    objectives: tuple[str, ...]
    config: dict[str, Any]


def maximize(
    model: nn.Module,
    objective: Objective | Sequence[Objective],
    shape: tuple[int, int],
    *,
    seeds: Sequence[int],
    steps: int = 256,
    lr: float = 0.05,
    optimizer: str = "adam",
    image: Parametrization = Fourier(),  # noqa: B008 - immutable
    robustness: Robustness | None = Robustness(),  # noqa: B008 - immutable
    zscored: bool = True,
    snapshots: Collection[int] = (),
    patience: int | None = None,
    precision: str = "32-true",
    batch_size: int | None = None,
    progress: bool = True,
) -> Maximization:
    """
    Find images that excite a network by climbing the gradient of an objective [1]_.

    Every image is optimised on its own: with its own seed for start and movements, its own moments
    and its own early stop. How many images go through the network at once changes the rounding,
    which hundreds of steps amplify; so in float32 it is one, and a batch equals its single runs
    bit for bit.

    Parameters
    ----------
    model : Module
        Used in eval mode, on its own device and with its own dtype. Mode, gradients, buffers,
        hooks and global random states are left as they were, also after an exception.
    objective : Objective or sequence of Objectives
        What to maximise. Several are combined with all seeds in one batch.
    shape : tuple of two ints
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
    snapshots : collection of int
        Numbers of steps, from 0 to ``steps``, after which images are kept.
    patience : int, optional
        Steps in a window of the early stop: an image rests once the mean objective of its last
        window exceeds that of the window before by no more than 1 % of the way from its first.
    precision : {"32-true", "bf16-mixed"}
        Arithmetic of the network: its own or bf16 autocast. Images and steps keep float32.
    batch_size : int, optional
        Images that go through the network at once. None is 1 in ``"32-true"`` and all of them in
        ``"bf16-mixed"``; on GPUs more than 1 is much faster.
    progress : bool
        Whether to draw a progress bar.

    Returns
    -------
    Maximization
        On the device of the network.

    Raises
    ------
    TypeError
        If a count or a seed is not a whole number.
    ValueError
        If an argument is out of its range, a layer is unknown, or there is nothing to maximise.
    FloatingPointError
        If the gradient of an image is NaN or infinite, as that of a constant image under z-score.

    References
    ----------
    .. [1] Erhan et al. (2009). Visualizing higher-layer features of a deep network. Université de
       Montréal, technical report 1341.
    """
    objectives = [objective] if isinstance(objective, Objective) else list(objective)
    _check_shape(shape)
    config = {
        "shape": [*shape],
        "steps": check_count("steps", steps),
        "lr": check_range("lr", lr, low=0, open_low=True),
        "optimizer": check_choice("optimizer", optimizer, OPTIMIZERS),
        "image": repr(image),
        "robustness": None if robustness is None else asdict(robustness),
        "zscored": zscored,
        "patience": patience if patience is None else check_count("patience", patience),
        "precision": check_choice("precision", precision, PRECISIONS),
    }
    if batch_size is not None:
        check_count("batch_size", batch_size)
    elif precision == "32-true":
        batch_size = 1
    config["batch_size"] = batch_size
    kept = {check_count("snapshot", number, low=0, high=steps) for number in snapshots}
    network = _Network(model, objectives, zscored=zscored, bf16=precision == "bf16-mixed")
    with frozen(model), tqdm(total=steps, unit="step", disable=not progress) as bar:
        ascent = _Ascent(network, image, shape, _check_seeds(seeds), robustness, steps, batch_size)
        stepper = OPTIMIZERS[optimizer](ascent.parameters, lr=lr)
        found = ascent.climb(stepper, kept, patience, bar)
        return Maximization(
            images=ascent.show(),
            values=ascent.score(),
            history=ascent.history,
            snapshots=found,
            seeds=ascent.seeds,
            objectives=tuple(objectives[k].name for k in ascent.kinds.tolist()),
            config=config,
        )


def _check_shape(shape: Sequence[int]) -> None:
    if len(shape) != 2:
        raise ValueError(f"Invalid shape {tuple(shape)}. Must be (height, width).")
    for i, side in enumerate(shape):
        check_count(f"side {i} of shape", side)


def _check_seeds(seeds: Sequence[int]) -> list[int]:
    if not len(seeds):
        raise ValueError("Invalid seeds (). Must be at least one.")
    return [check_count("seed", seed, low=0) for seed in seeds]


class _Network:
    """A network as its objectives see it."""

    def __init__(
        self, model: nn.Module, objectives: Sequence[Objective], *, zscored: bool, bf16: bool
    ) -> None:
        if not objectives:
            raise ValueError("Invalid objective (). Must be at least one.")
        self.model, self.objectives = model, objectives
        self.zscored, self.bf16 = zscored, bf16
        layers = {layer for objective in objectives for layer in objective.layers}
        self.names = {layer: resolve_layer(model, layer)[0] for layer in layers - {IMAGE}}
        weight = next(model.parameters(), torch.empty(0))
        self.device, self.dtype = weight.device, weight.dtype

    def evaluate(self, images: Tensor, moves: Tensor | None, kinds: Tensor) -> Tensor:
        """Objectives (n,) of images, the k-th one where ``kinds`` (n,) is k."""
        moved = images if moves is None else move(images, moves)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            outputs = activate(self.model, set(self.names.values()), moved.to(self.dtype))
        seen = {layer: outputs[name].to(images.dtype) for layer, name in self.names.items()}
        seen[IMAGE] = images
        values = images.new_empty(len(images))
        for k, objective in enumerate(self.objectives):
            rows = (kinds == k).nonzero()[:, 0]
            if len(rows):
                read = objective({layer: found[rows] for layer, found in seen.items()})
                check_same_shape(f"values of {objective.name}", read.shape, "images", rows.shape)
                values = values.index_put((rows,), read)
        return values


class _Ascent:
    """Parameters of all images on their way up."""

    def __init__(
        self,
        network: _Network,
        image: Parametrization,
        shape: tuple[int, int],
        seeds: list[int],
        robustness: Robustness | None,
        steps: int,
        batch_size: int | None,
    ) -> None:
        self.network, self.image, self.shape = network, image, shape
        self.batch_size = batch_size or len(seeds) * len(network.objectives)
        n_objectives, device = len(network.objectives), network.device
        self.seeds = tuple(seeds * n_objectives)
        self.kinds = torch.arange(n_objectives, device=device).repeat_interleave(len(seeds))
        dtype = torch.promote_types(torch.float32, network.dtype)
        self.history = torch.full((len(self.seeds), steps), torch.nan, dtype=dtype, device=device)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        starts = torch.stack([image.start(shape, generator) for generator in generators])
        # One tensor an image: what has no gradient is left alone by the optimiser.
        all_starts = torch.cat([starts] * n_objectives).to(self.history)
        self.parameters = [start.clone().requires_grad_() for start in all_starts]
        self.moves: Tensor | None = None
        if robustness is not None:
            moves = torch.stack([robustness.draw(steps, generator) for generator in generators])
            self.moves = torch.cat([moves] * n_objectives).to(self.history)  # (n, steps, 4)

    def split(self, active: Tensor | None = None) -> list[Tensor]:
        """Indices of all images, or the active ones, batch by batch."""
        rows = torch.arange(len(self.kinds), device=self.kinds.device)
        rows = rows if active is None else rows[active]
        return [rows[i : i + self.batch_size] for i in range(0, len(rows), self.batch_size)]

    def render(self, rows: Tensor) -> Tensor:
        """Images as the network sees them before they are moved."""
        parameters = torch.stack([self.parameters[row] for row in rows.tolist()])
        images = self.image.render(parameters, self.shape)
        return zscore(images) if self.network.zscored else images

    @torch.no_grad()
    def show(self) -> Tensor:
        """All images as they are now."""
        return torch.cat([self.render(rows) for rows in self.split()])

    @torch.no_grad()
    def score(self) -> Tensor:
        """Objectives of all images as they are now."""
        scores = [
            self.network.evaluate(self.render(rows), None, self.kinds[rows])
            for rows in self.split()
        ]
        return torch.cat(scores)

    def climb(
        self,
        stepper: torch.optim.Optimizer,
        kept: Collection[int],
        patience: int | None,
        bar: Bar,
    ) -> dict[int, Tensor]:
        """Go all steps, or until every image has converged, and return the snapshots."""
        n_steps, step = self.history.shape[1], 0
        active = torch.ones_like(self.kinds, dtype=torch.bool)
        snapshots = {0: self.show()} if 0 in kept else {}
        while step < n_steps and active.any():
            stepper.zero_grad()
            for rows in self.split(active):
                self._differentiate(rows, step)
            stepper.step()
            step += 1
            if step in kept:
                snapshots[step] = self.show()
            if patience is not None:
                active &= ~_find_converged(self.history[:, :step], patience)
            bar.set_postfix(objective=self.history[:, step - 1].nanmean().item(), refresh=False)
            bar.update()
        self.history = self.history[:, :step]
        return snapshots | {number: self.show() for number in sorted(kept) if number > step}

    def _differentiate(self, rows: Tensor, step: int) -> None:
        """Leave gradients with the parameters of some images, and values in the history."""
        moves = None if self.moves is None else self.moves[rows, step]
        values = self.network.evaluate(self.render(rows), moves, self.kinds[rows])
        loss = -values.sum()  # objectives are maximised: the one place where the sign flips
        loss.backward()  # type: ignore[no-untyped-call]
        self.history[rows, step] = values.detach()
        for row in rows.tolist():
            gradient = self.parameters[row].grad
            if gradient is None or not gradient.isfinite().all():
                raise FloatingPointError(
                    f"The gradient of image {row} is NaN or infinite at step {step + 1}. Must be "
                    "finite: start from an image that is not constant, or lower lr."
                )


def _find_converged(history: Tensor, patience: int) -> Tensor:
    """Tell whether the last ``patience`` steps of each row (n, steps) added next to nothing."""
    if history.shape[1] < 2 * patience:
        return torch.zeros(len(history), dtype=torch.bool, device=history.device)
    first, before, last = (
        history[:, start : start + patience].mean(dim=1)
        for start in (0, history.shape[1] - 2 * patience, history.shape[1] - patience)
    )
    return last - before <= _FLAT * (last - first).abs()
