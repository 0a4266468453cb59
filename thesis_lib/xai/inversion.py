"""Network inversion: images that a layer cannot distinguish from a patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from saltvolumes._checks import check_choice, check_count, check_counts, check_range
from thesis_lib._networks import check_images
from thesis_lib.xai._hooks import (
    PRECISIONS,
    Layer,
    activate,
    frozen,
    match_network,
    resolve_layer,
)
from thesis_lib.xai.images import Fourier
from thesis_lib.xai.lbfgs import Evaluate, Evaluation, State, lbfgs

OPTIMIZERS = ("lbfgs", "adam")
START = 0.1  # standard deviation of the noise at the start, in those of the patch


@dataclass(frozen=True)
class Inversion:
    """
    What `invert` found. Images are sorted by patch, then by seed.

    Attributes
    ----------
    images : Tensor of shape (n, 1, H, W)
        Amplitudes as those of the patches.
    residual : Tensor of shape (n,)
        Squared distance of the features of each image to those of its patch, relative to their
        squared length: the first term of the loss.
    converged : bool Tensor of shape (n,)
        Whether the residual is below the tolerance.
    history : Tensor of shape (n, steps + 1)
        Residual at the start (after the warm start, where there is one) and after each step;
        constant after an image's early stop.
    evaluations : Tensor of shape (n,)
        Passes through the network that each image took, including those of the warm start.
    patches, seeds : tuples of n ints
        Number of the patch, and seed, of each image.
    config : dict
        All other settings, as plain values that JSON holds.
    """

    images: Tensor
    residual: Tensor
    converged: Tensor
    history: Tensor
    evaluations: Tensor
    patches: tuple[int, ...]
    seeds: tuple[int, ...]
    config: dict[str, Any]


def invert(
    model: nn.Module,
    layer: Layer,
    patches: Tensor,
    *,
    seeds: Sequence[int],
    steps: int = 300,
    tolerance: float = 0.01,
    optimizer: str = "lbfgs",
    warm_start: int = 20,
    lr: float = 0.05,
    norm_weight: float = 1e-5,
    variation_weight: float = 1e-4,
    precision: str = "32-true",
    progress: bool = True,
) -> Inversion:
    r"""
    Find images whose activations at a layer are those of given patches [1]_.

    For each patch :math:`x_0` and seed, from faint noise, it minimises

    .. math::
        \frac{\lVert A(x) - A(x_0) \rVert^2}{\lVert A(x_0) \rVert^2}
        + \lambda_\alpha \frac{\sum |x|^6}{\sum |x_0|^6}
        + \lambda_\beta \frac{\sum |\nabla x|^2}{\sum |\nabla x_0|^2}

    The denominators scale the weights to the data: natural images and seismic patches differ by
    orders of magnitude in both sums. Each image has its own curvature, line search and early stop,
    only passes through the network are shared.

    Which pixel wins a max pool is decided by the noise at the start, and L-BFGS on pixels then ends
    in local minima: images at a large residual that show the optimizer and not the layer. So a
    warm start precedes it: a few steps in which max pools take means [2]_ and low frequencies go
    first (as in `Fourier`). The target is that of the unchanged network throughout: nothing is
    known of the patch but its activations.

    Parameters
    ----------
    model : Module
        Used in eval mode, on its own device and with its own dtype. Mode, gradients and hooks are
        left as they were, also after an exception.
    layer : str or Module
        Such as ``"block4"`` or ``model.block4``. What comes after it does not run.
    patches : Tensor of shape (n_patches, 1, H, W)
        Z-scored, as the network was trained on.
    seeds : sequence of int
        One image per patch and seed; a seed decides the noise at the start.
    steps : int
        Steps of the optimizer at most.
    tolerance : float
        Residual below which an image is done: 0.01 is a feature distance of 0.1. With 0 it goes on
        until no step helps. Networks of ReLUs have local minima: not every block gets to 0.
    optimizer : {"lbfgs", "adam"}
        After as many steps, Adam is far from convergence at deep layers.
    warm_start : int
        Steps of the warm start, before those counted by ``steps``; 0 for none. Only for L-BFGS.
    lr : float
        Learning rate of Adam, in amplitudes. Unused by L-BFGS.
    norm_weight, variation_weight : float
        :math:`\lambda_\alpha` and :math:`\lambda_\beta`. They keep the residual from
        falling much below their sum.
    precision : {"32-true", "bf16-mixed"}
        Arithmetic of the network: its own or bf16 autocast. Images and steps keep float32.
    progress : bool
        Whether to draw a progress bar in a terminal.

    Returns
    -------
    Inversion
        On the device of the network.

    Raises
    ------
    TypeError
        If a count or a seed is not a whole number, or the layer does not return a Tensor.
    ValueError
        If an argument is out of its range, the layer is unknown, a patch is constant or excites
        nothing.
    FloatingPointError
        If a residual is NaN or infinite.

    Notes
    -----
    The noise of a seed is the same bit for bit, and global random states play no part. The descent
    is the same up to rounding: convolutions add in an order that depends on the processor, the
    number of threads, how memory is aligned and how many images are in the batch, and the steps
    amplify the differences, up to another local minimum. Bits are repeated by a new process that
    makes the same calls on the same machine.

    References
    ----------
    .. [1] Mahendran & Vedaldi (2015). Understanding deep image representations by inverting them.
       https://doi.org/10.1109/CVPR.2015.7299155
    .. [2] Gatys et al. (2016). Image style transfer using convolutional neural networks.
       https://doi.org/10.1109/CVPR.2016.265
    """
    patches = check_images("patches", patches)
    flat = patches.flatten(1)
    if constant := _find_rows(~(flat.amax(dim=1) > flat.amin(dim=1))):
        raise ValueError(
            f"Invalid patch {constant[0]}: constant or NaN. Must vary, to scale the weights by."
        )
    config = {
        "layer": resolve_layer(model, layer),
        "steps": check_count("steps", steps),
        "tolerance": check_range("tolerance", tolerance, low=0),
        "optimizer": check_choice("optimizer", optimizer, OPTIMIZERS),
        "warm_start": check_count("warm_start", warm_start, low=0),
        "lr": check_range("lr", lr, low=0, exclusive=True),
        "norm_weight": check_range("norm_weight", norm_weight, low=0),
        "variation_weight": check_range("variation_weight", variation_weight, low=0),
        "precision": check_choice("precision", precision, PRECISIONS),
    }
    seeds = check_counts("seed", seeds, low=0)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    noise = torch.stack([torch.randn(flat.shape[1], generator=g) for g in generators])
    with frozen(model), tqdm(total=steps, unit="step", disable=not progress or None) as bar:
        problem = _Problem(model, patches.repeat_interleave(len(seeds), dim=0), config)
        history: list[Tensor] = []
        for state in problem.solve(noise.repeat(len(patches), 1)):
            if broken := _find_rows(~state.residual.isfinite()):
                raise FloatingPointError(
                    f"The residual of image {broken[0]} is NaN or infinite after step "
                    f"{len(history)}. Must be finite: lower lr, or look at the network's weights."
                )
            history.append(state.residual)
            bar.set_postfix(residual=state.residual.max().item(), refresh=False)
            bar.update(len(history) > 1)
    return Inversion(
        images=state.points.reshape(-1, *patches.shape[1:]),
        residual=state.residual,
        converged=state.residual < tolerance,
        history=torch.stack(history, dim=1),
        evaluations=state.evaluations,
        patches=tuple(i for i in range(len(patches)) for _ in seeds),
        seeds=seeds * len(patches),
        config=config,
    )


def alpha_norm(images: Tensor) -> Tensor:
    r"""
    Alpha-norm :math:`\sum |x|^6` of each image, which holds outliers down.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)

    Returns
    -------
    Tensor of shape (n,)
    """
    return (images.abs() ** 6).sum(dim=(1, 2, 3))


def total_variation(images: Tensor) -> Tensor:
    r"""
    Total variation :math:`\sum |\nabla x|^2` of each image, which holds noise down.

    Differences run forward, from the last row and column to a copy of themselves.

    Parameters
    ----------
    images : Tensor of shape (n, 1, H, W)

    Returns
    -------
    Tensor of shape (n,)
    """
    dy = images.diff(dim=2, append=images[:, :, -1:])
    dx = images.diff(dim=3, append=images[..., -1:])
    return (dx**2 + dy**2).sum(dim=(1, 2, 3))


def _find_rows(flags: Tensor) -> list[int]:
    """Numbers of the rows whose flag (n,) is set."""
    rows: list[int] = flags.nonzero()[:, 0].tolist()
    return rows


class _Problem:
    """The loss of all images: one row per patch and seed."""

    def __init__(self, model: nn.Module, patches: Tensor, config: dict[str, Any]) -> None:
        self.model, self.config = model, config
        self.patches = match_network(patches.detach(), model)
        with torch.no_grad():
            self.target = self.read(self.patches)
        norms: Tensor = torch.linalg.vector_norm(self.target, dim=1)
        if silent := _find_rows(norms == 0):
            raise ValueError(
                f"Invalid patch of image {silent[0]}: its activations are all 0. Must excite the "
                "layer."
            )
        self.scale = norms**2
        self.norm, self.variation = alpha_norm(self.patches), total_variation(self.patches)

    def read(self, images: Tensor) -> Tensor:
        """Features (k, C h w) of images."""
        layer, precision = self.config["layer"], self.config["precision"]
        return activate(self.model, layer, images, precision=precision).flatten(1)

    def evaluate(self, points: Tensor, rows: Tensor) -> Evaluation:
        """Loss, gradient and residual of images, flattened, that belong to ``rows``."""
        images = points.detach().reshape(-1, *self.patches.shape[1:]).requires_grad_()
        distance = (self.read(images) - self.target[rows]).square().sum(dim=1) / self.scale[rows]
        norm = alpha_norm(images) / self.norm[rows]
        variation = total_variation(images) / self.variation[rows]
        weights = self.config["norm_weight"], self.config["variation_weight"]
        loss = distance + weights[0] * norm + weights[1] * variation
        (gradient,) = torch.autograd.grad(loss.sum(), images)
        return Evaluation(loss.detach(), gradient.flatten(1), distance.detach())

    def solve(self, noise: Tensor) -> Iterator[State]:
        """Go down from noise (n, H W) of standard deviation 1."""
        config = self.config
        limits = {"steps": config["steps"], "tolerance": config["tolerance"]}
        deviation = self.patches.flatten(1).std(dim=1, keepdim=True)
        start = START * deviation * noise.to(self.patches)
        if config["optimizer"] == "adam":
            yield from _adam(self.evaluate, start, lr=config["lr"], **limits)
            return
        spent: Tensor | int = 0
        if config["warm_start"]:
            start, spent = self.warm_start(start)
        for state in lbfgs(self.evaluate, start, **limits):
            yield state._replace(evaluations=state.evaluations + spent)

    def warm_start(self, start: Tensor) -> tuple[Tensor, Tensor]:
        """L-BFGS on Fourier coefficients through mean pools; points, and evaluations spent."""
        fourier, shape = Fourier(), (self.patches.shape[2], self.patches.shape[3])
        coefficients = fourier.analyse(start.reshape(self.patches.shape))

        def show(points: Tensor) -> Tensor:
            return fourier.render(points.reshape(-1, *coefficients.shape[1:]), shape).flatten(1)

        def evaluate(points: Tensor, rows: Tensor) -> Evaluation:
            points = points.detach().requires_grad_()
            images = show(points)
            found = self.evaluate(images, rows)
            (gradient,) = torch.autograd.grad(images, points, found.gradient)
            return found._replace(gradient=gradient)

        steps, tolerance = self.config["warm_start"], self.config["tolerance"]
        with _mean_pools(self.model):
            *_, last = lbfgs(evaluate, coefficients.flatten(1), steps=steps, tolerance=tolerance)
        return show(last.points), last.evaluations


def _adam(
    evaluate: Evaluate, start: Tensor, *, steps: int, tolerance: float, lr: float
) -> Iterator[State]:
    """Minimise n problems by Adam, as `lbfgs` does; what is solved has no gradient and rests."""
    points = list(start.clone())  # one tensor each
    stepper = torch.optim.Adam(points, lr=lr)
    rows = torch.arange(len(start), device=start.device)
    now = evaluate(start, rows)
    residual, counts = now.residual, torch.ones_like(rows)
    yield State(start, residual, counts)
    for _ in range(steps):
        active = now.residual >= tolerance
        rows = rows[active]
        if not len(rows):
            return
        stepper.zero_grad()
        for row, gradient in zip(rows.tolist(), now.gradient[active], strict=True):
            points[row].grad = gradient
        stepper.step()
        now = evaluate(torch.stack(points)[rows], rows)
        residual = residual.index_copy(0, rows, now.residual)
        counts = counts.index_add(0, rows, torch.ones_like(rows))
        yield State(torch.stack(points), residual, counts)


@contextmanager
def _mean_pools(model: nn.Module) -> Iterator[None]:
    """Let max pools take means."""

    def average(pool: nn.MaxPool2d, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        window = pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode
        return F.avg_pool2d(inputs[0], *window, count_include_pad=False)

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.MaxPool2d) and module.dilation in (1, (1, 1)):
                stack.enter_context(module.register_forward_hook(average))
        yield
