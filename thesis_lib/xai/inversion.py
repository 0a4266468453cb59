"""Network inversion: images that a layer cannot tell from a patch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from thesis_lib._checks import check_choice, check_count, check_range, check_same_shape
from thesis_lib.xai._hooks import Layer, activate, frozen, resolve_layer
from thesis_lib.xai.images import Fourier, measure_norm, measure_variation
from thesis_lib.xai.lbfgs import Evaluation, State, lbfgs

OPTIMIZERS = ("lbfgs", "adam", "sgd")
PRECISIONS = ("32-true", "bf16-mixed")
ALPHA, BETA = 6.0, 2.0  # exponents of the two regularisers
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
        Square of the `feature_distance` of each image to its patch: the first term of the loss.
    converged : bool Tensor of shape (n,)
        Whether the residual is below the tolerance.
    history : Tensor of shape (n, steps + 1)
        Residual at the start (behind the approach, where there is one) and after each step;
        constant after an image's early stop.
    evaluations : Tensor of shape (n,)
        Passes through the network that each image took, those of the approach as well.
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
    approach: int = 20,
    lr: float = 0.05,
    momentum: float = 0.9,
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
    only passes through the network are shared; a batch equals its single runs, up to rounding.

    Which pixel wins a max pool is decided by the noise at the start, and L-BFGS on pixels then ends
    in local minima: images at a large residual that tell of the optimizer and not of the layer. So
    a few steps come before in which max pools take means [2]_ and low frequencies go first (as in
    `Fourier`). The target is that of the unchanged network throughout: no more of the patch is
    known than its activations tell.

    Parameters
    ----------
    model : Module
        Used in eval mode, on its own device and with its own dtype. Mode, gradients, buffers,
        hooks and global random states are left as they were, also after an exception.
    layer : str or Module
        Such as ``"block4"`` or ``model.block4``. What comes after it does not run.
    patches : Tensor of shape (n_patches, 1, H, W)
        Z-scored, as the network was trained on.
    seeds : sequence of int
        One image per patch and seed; a seed decides about the noise at the start.
    steps : int
        Steps of the optimizer at most.
    tolerance : float
        Residual below which an image is done: 0.01 is a feature distance of 0.1. With 0 it goes on
        until no step helps. Networks of ReLUs have local minima: not every block gets to 0.
    optimizer : {"lbfgs", "adam", "sgd"}
        At a number of steps, the first-order ones are far from convergence at deep layers.
    approach : int
        Steps of the approach, before those counted by ``steps``; 0 for none. L-BFGS alone has it.
    lr : float
        Learning rate of Adam, in amplitudes, or of SGD, in units where 0.5 inverts an isometry of
        a z-scored patch in one step without momentum. Unused by L-BFGS.
    momentum : float
        Of SGD, in [0, 1].
    norm_weight, variation_weight : float
        :math:`\lambda_\alpha` and :math:`\lambda_\beta`. They keep the residual from
        falling much below their sum.
    precision : {"32-true", "bf16-mixed"}
        Arithmetic of the network: its own or bf16 autocast. Images and steps keep float32.
    progress : bool
        Whether to draw a progress bar.

    Returns
    -------
    Inversion
        On the device of the network.

    Raises
    ------
    TypeError
        If a count or a seed is not a whole number, or the layer puts out no Tensor.
    ValueError
        If an argument is out of its range, the layer is unknown, a patch is constant or excites
        nothing.
    FloatingPointError
        If a residual is NaN or infinite.

    References
    ----------
    .. [1] Mahendran & Vedaldi (2015). Understanding deep image representations by inverting them.
       https://doi.org/10.1109/CVPR.2015.7299155
    .. [2] Gatys et al. (2016). Image style transfer using convolutional neural networks.
       https://doi.org/10.1109/CVPR.2016.265
    """
    _check_patches(patches)
    config = {
        "layer": resolve_layer(model, layer)[0],
        "steps": check_count("steps", steps),
        "tolerance": check_range("tolerance", tolerance, low=0),
        "optimizer": check_choice("optimizer", optimizer, OPTIMIZERS),
        "approach": check_count("approach", approach, low=0),
        "lr": check_range("lr", lr, low=0, open_low=True),
        "momentum": check_range("momentum", momentum, low=0, high=1),
        "norm_weight": check_range("norm_weight", norm_weight, low=0),
        "variation_weight": check_range("variation_weight", variation_weight, low=0),
        "precision": check_choice("precision", precision, PRECISIONS),
    }
    noise = _draw_noise(seeds, patches.shape[2:])
    with frozen(model), tqdm(total=steps, unit="step", disable=not progress) as bar:
        problem = _Problem(model, patches.repeat_interleave(len(noise), dim=0), config)
        history: list[Tensor] = []
        for state in problem.solve(noise.repeat(len(patches), 1)):
            _check_finite(state.residual, len(history))
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
        seeds=tuple(seeds) * len(patches),
        config=config,
    )


def feature_distance(features: Tensor, target: Tensor) -> Tensor:
    r"""
    Normalised feature distance :math:`\lVert A(x) - A(x_0) \rVert / \lVert A(x_0) \rVert`.

    To the first power; the loss of `invert` and its residual hold the square.

    Parameters
    ----------
    features, target : Tensors of shape (n, ...)
        Activations of images and of the patches that they shall resemble.

    Returns
    -------
    Tensor of shape (n,)

    Raises
    ------
    ValueError
        If the shapes differ or a target is all zero.

    Examples
    --------
    >>> feature_distance(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]))
    tensor([1.])
    """
    check_same_shape("features", features.shape, "target", target.shape)
    scale = _check_excited(target)
    distance: Tensor = torch.linalg.vector_norm((features - target).flatten(1), dim=1)
    return distance / scale


def _check_excited(target: Tensor) -> Tensor:
    """Norms (n,) of targets, none of them 0."""
    norms: Tensor = torch.linalg.vector_norm(target.flatten(1), dim=1)
    if (norms == 0).any():
        row = int((norms == 0).nonzero()[0, 0])
        raise ValueError(f"Activations of patch {row} are all 0. Must excite the layer.")
    return norms


def _check_patches(patches: Tensor) -> None:
    if patches.ndim != 4 or patches.shape[1] != 1 or not patches.numel():
        raise ValueError(f"Invalid patches of shape {tuple(patches.shape)}. Must be (n, 1, H, W).")
    flat = patches.flatten(1)
    constant = ~(flat.amax(dim=1) > flat.amin(dim=1))
    if constant.any():
        row = int(constant.nonzero()[0, 0])
        raise ValueError(f"Patch {row} is constant or NaN. Must vary, to scale the weights by.")


def _check_finite(residual: Tensor, step: int) -> None:
    broken = ~residual.isfinite()
    if broken.any():
        raise FloatingPointError(
            f"The residual of image {int(broken.nonzero()[0, 0])} is NaN or infinite after step "
            f"{step}. Must be finite: lower lr, or look at the weights of the network."
        )


def _draw_noise(seeds: Sequence[int], shape: Sequence[int]) -> Tensor:
    if not len(seeds):
        raise ValueError("Invalid seeds (). Must be at least one.")
    generators = [torch.Generator().manual_seed(check_count("seed", s, low=0)) for s in seeds]
    return torch.stack([torch.randn(*shape, generator=g).flatten() for g in generators])


class _Problem:
    """The loss of all images: one row per patch and seed."""

    def __init__(self, model: nn.Module, patches: Tensor, config: dict[str, Any]) -> None:
        weight = next(model.parameters(), torch.empty(0))
        self.model, self.config, self.network_dtype = model, config, weight.dtype
        dtype = torch.promote_types(torch.float32, weight.dtype)
        self.patches = patches.detach().to(weight.device, dtype)
        with torch.no_grad():
            self.target = self._read(self.patches)
        self.scale = _check_excited(self.target) ** 2
        self.norm = measure_norm(self.patches, ALPHA)
        self.variation = measure_variation(self.patches, BETA)

    def _read(self, images: Tensor) -> Tensor:
        """Activations (k, features) of images."""
        bf16 = self.config["precision"] == "bf16-mixed"
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            found = activate(self.model, [self.config["layer"]], images.to(self.network_dtype))
        return found[self.config["layer"]].to(images.dtype).flatten(1)

    def evaluate(self, points: Tensor, rows: Tensor) -> Evaluation:
        """Loss, gradient and residual of images, flattened, that belong to ``rows``."""
        images = points.detach().reshape(-1, *self.patches.shape[1:]).requires_grad_()
        distance = (self._read(images) - self.target[rows]).square().sum(dim=1) / self.scale[rows]
        norm = measure_norm(images, ALPHA) / self.norm[rows]
        variation = measure_variation(images, BETA) / self.variation[rows]
        config = self.config
        loss = distance + config["norm_weight"] * norm + config["variation_weight"] * variation
        (gradient,) = torch.autograd.grad(loss.sum(), images)
        return Evaluation(loss.detach(), gradient.flatten(1), distance.detach())

    def solve(self, noise: Tensor) -> Iterator[State]:
        """Go down from noise (n, H W) of standard deviation 1."""
        deviation = self.patches.flatten(1).std(dim=1, keepdim=True)
        start = START * deviation * noise.to(self.patches)
        descend = self._descend_curved if self.config["optimizer"] == "lbfgs" else self._descend
        return descend(start)

    def _descend_curved(self, start: Tensor) -> Iterator[State]:
        """L-BFGS on pixels, from where an approach ends."""
        steps, tolerance = self.config["steps"], self.config["tolerance"]
        start, spent = self._approach(start) if self.config["approach"] else (start, 0)
        for state in lbfgs(self.evaluate, start, steps=steps, tolerance=tolerance):
            yield state._replace(evaluations=state.evaluations + spent)

    def _approach(self, start: Tensor) -> tuple[Tensor, Tensor]:
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

        steps, tolerance = self.config["approach"], self.config["tolerance"]
        with _mean_pools(self.model):
            for state in lbfgs(evaluate, coefficients.flatten(1), steps=steps, tolerance=tolerance):
                last = state
        return show(last.points), last.evaluations

    def _descend(self, start: Tensor) -> Iterator[State]:
        """First-order steps by torch; images that are done rest."""
        config, points, rows = self.config, start.clone(), torch.arange(len(start))
        stepper: torch.optim.Optimizer = torch.optim.Adam([points], lr=config["lr"])
        if config["optimizer"] == "sgd":
            lr = config["lr"] * start.shape[1]  # the loss of an isometry is a mean over pixels
            stepper = torch.optim.SGD([points], lr=lr, momentum=config["momentum"])
        rows, points.grad = rows.to(start.device), torch.zeros_like(points)
        found = self.evaluate(points, rows)
        residual, counts = found.residual, torch.ones_like(rows)
        yield State(points.clone(), residual, counts)
        for _ in range(config["steps"]):
            left = found.residual >= config["tolerance"]
            rows = rows[left]
            if not len(rows):
                return
            points.grad[rows], rest = found.gradient[left], points.clone()
            stepper.step()
            points = _replace(points, rest, rows)
            found = self.evaluate(points[rows], rows)
            residual, counts = residual.clone(), counts.clone()
            residual[rows], counts[rows] = found.residual, counts[rows] + 1
            yield State(points.clone(), residual, counts)


def _replace(points: Tensor, rest: Tensor, rows: Tensor) -> Tensor:
    """Give all rows but those named their old values again, in place."""
    rest[rows] = points[rows]
    return points.copy_(rest)


@contextmanager
def _mean_pools(model: nn.Module) -> Iterator[None]:
    """Let max pools take means."""

    def average(pool: nn.MaxPool2d, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        window = pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode
        return F.avg_pool2d(inputs[0], *window, count_include_pad=False)

    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.MaxPool2d) and module.dilation in (1, (1, 1)):
                stack.callback(module.register_forward_hook(average).remove)
        yield
