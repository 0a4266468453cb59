"""Network inversion: the smoothest images that a layer cannot distinguish from a patch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from saltvolumes._checks import check_choice, check_count, check_range
from thesis_lib._networks import check_images
from thesis_lib.xai._hooks import (
    PRECISIONS,
    Layer,
    activate,
    frozen,
    match_network,
    resolve_layer,
)
from thesis_lib.xai.lbfgs import Evaluation, lbfgs

STARTS = ("patch", "noise")
NOISE = 0.1  # standard deviation of the noise at the start, in those of the patch
ROUND = 10  # steps of L-BFGS at one weight of the prior
FIRST_WEIGHT = 5.0  # weight of the prior at the start, in units of the first level
LARGEST_CHANGE = 4.0  # of the weight, from one round to the next
AIM = 0.97  # residual that the weight is steered to, in units of the level
UNREACHED = 1e6  # ranks every image that misses a level behind all that reach it


@dataclass(frozen=True)
class Inversion:
    """
    What `invert` found: one image for each level and patch.

    Attributes
    ----------
    images : Tensor of shape (n_levels, n, 1, H, W)
        Amplitudes as those of the patches: the smoothest image seen at a residual of at most the
        level; where none was, the one of lowest residual.
    residual : Tensor of shape (n_levels, n)
        Squared distance of the features of each image to those of its patch, relative to their
        squared length.
    prior : Tensor of shape (n_levels, n)
        Roughness of each image, in units of its patch: 1 + ``norm_weight`` is that of the patch.
    reached : bool Tensor of shape (n_levels, n)
        Whether the residual is at most the level.
    evaluations : Tensor of shape (n,)
        Passes through the network that each patch took, for all levels together.
    config : dict
        All settings, as plain values that JSON holds.
    """

    images: Tensor
    residual: Tensor
    prior: Tensor
    reached: Tensor
    evaluations: Tensor
    config: dict[str, Any]


def invert(
    model: nn.Module,
    layer: Layer,
    patches: Tensor,
    *,
    levels: Sequence[float] = (0.1, 0.03, 0.01),
    start: str = "patch",
    seed: int = 0,
    steps: int = 40,
    norm_weight: float = 0.1,
    precision: str = "32-true",
    progress: bool = True,
) -> Inversion:
    r"""
    Find the smoothest images whose activations at a layer are nearly those of given patches.

    For each patch :math:`x_0` and level :math:`\tau` it minimises the prior of [1]_ at a fixed
    residual, which is Morozov's discrepancy principle [2]_:

    .. math::
        \min_x \; \frac{\sum |\nabla x|^2}{\sum |\nabla x_0|^2}
        + \lambda_\alpha \frac{\sum |x|^6}{\sum |x_0|^6}
        \quad \text{subject to} \quad
        \frac{\lVert A(x) - A(x_0) \rVert^2}{\lVert A(x_0) \rVert^2} \le \tau

    The denominators scale the prior to the data. L-BFGS lowers the residual plus a weight times
    the prior, each image with its own curvature, line search and weight; every few steps the
    weight follows the ratio of the level to the residual.

    From the patch, which meets every level, the levels are taken from the lowest to the highest
    and back: details go until the layer notices, and only what the layer asks for returns. So no
    level is missed, what is missing in an image is missing in the layer, and an image is never
    rougher than its patch. What is still in an image may be there because the descent ended in a
    local minimum: the prior is an upper bound of the lowest one.

    From noise, where the activations are all that is known, levels are taken from the highest to
    the lowest. There local minima are the rule at deep layers: levels are missed, and images
    rougher than the patch show the search and not the layer.

    Parameters
    ----------
    model : Module
        Used in eval mode, on its own device and with its own dtype. Mode, gradients and hooks are
        left as they were, also after an exception.
    layer : str or Module
        Such as ``"block4"`` or ``model.block4``. What comes after it does not run.
    patches : Tensor of shape (n, 1, H, W)
        Z-scored, as the network was trained on.
    levels : sequence of float
        Residuals :math:`\tau` above 0; 0.01 is a feature distance of a tenth of their length.
    start : {"patch", "noise"}
        Where the descent starts.
    seed : int
        Decides the noise. Unused from the patch.
    steps : int
        Steps for each level, in rounds of 10, and as many on the way back.
    norm_weight : float
        :math:`\lambda_\alpha`.
    precision : {"32-true", "bf16-mixed"}
        Arithmetic of the network: its own or bf16 autocast. Images and steps keep float32.
    progress : bool
        Whether to draw a progress bar in a terminal.

    Returns
    -------
    Inversion
        On the device of the network; levels in the order given.

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
    Results repeat up to rounding: convolutions add in an order that depends on the machine, and
    the steps amplify the differences.

    References
    ----------
    .. [1] Mahendran & Vedaldi (2015). Understanding deep image representations by inverting them.
       https://doi.org/10.1109/CVPR.2015.7299155
    .. [2] Engl, Hanke & Neubauer (1996). Regularization of inverse problems.
       https://doi.org/10.1007/978-94-009-1740-8
    """
    patches = check_images("patches", patches)
    flat = patches.flatten(1)
    if constant := _find_rows(~(flat.amax(dim=1) > flat.amin(dim=1))):
        raise ValueError(
            f"Invalid patch {constant[0]}: constant or NaN. Must vary, to scale the prior by."
        )
    if not len(levels):
        raise ValueError("Invalid levels: empty. Must be at least one residual above 0.")
    config: dict[str, Any] = {
        "layer": resolve_layer(model, layer),
        "levels": [check_range("level", level, low=0, exclusive=True) for level in levels],
        "start": check_choice("start", start, STARTS),
        "seed": check_count("seed", seed, low=0),
        "steps": check_count("steps", steps),
        "norm_weight": check_range("norm_weight", norm_weight, low=0),
        "precision": check_choice("precision", precision, PRECISIONS),
    }
    path = sorted(config["levels"], reverse=True)
    path = path if start == "noise" else [*reversed(path), *path[1:]]
    targets = [level for level in path for _ in range(-(-steps // ROUND))]
    with frozen(model), tqdm(targets, unit="round", disable=not progress or None) as bar:
        problem = _Problem(model, patches, config)
        problem.start()
        for target in bar:
            problem.descend(target)
    return problem.finish()


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
    """The descent of all images, and the smoothest of each level so far."""

    def __init__(self, model: nn.Module, patches: Tensor, config: dict[str, Any]) -> None:
        self.model, self.config = model, config
        self.patches = match_network(patches.detach(), model)
        with torch.no_grad():
            self.target = self.read(self.patches)
        norms: Tensor = torch.linalg.vector_norm(self.target, dim=1)
        if silent := _find_rows(norms == 0):
            raise ValueError(
                f"Invalid patch {silent[0]}: its activations are all 0. Must excite the layer."
            )
        self.scale = norms**2
        self.norm, self.variation = alpha_norm(self.patches), total_variation(self.patches)
        self.levels = self.scale.new_tensor(config["levels"])[:, None]
        shape = (len(self.levels), len(patches))
        self.images = self.patches.expand(shape[0], *self.patches.shape).clone()
        self.rank, self.residual, self.prior = self.scale.new_full((3, *shape), torch.inf)
        self.evaluations = torch.zeros(len(patches), dtype=torch.int64, device=self.scale.device)

    def read(self, images: Tensor) -> Tensor:
        """Features (k, C h w) of images."""
        layer, precision = self.config["layer"], self.config["precision"]
        # PyTorch convolves a single small image on a CPU many times slower than two.
        pair = images.repeat(2, 1, 1, 1) if len(images) == 1 else images
        features = activate(self.model, layer, pair, precision=precision)
        return features[: len(images)].flatten(1)

    def measure(self, images: Tensor, rows: Tensor) -> Tensor:
        """Prior (k,) of images that belong to ``rows``."""
        variation = total_variation(images) / self.variation[rows]
        prior: Tensor = (
            variation + self.config["norm_weight"] * alpha_norm(images) / self.norm[rows]
        )
        return prior

    def evaluate(self, points: Tensor, rows: Tensor) -> Evaluation:
        """Loss, gradient and residual of images, flattened, that belong to ``rows``."""
        images = points.detach().reshape(-1, *self.patches.shape[1:]).requires_grad_()
        distance = (self.read(images) - self.target[rows]).square().sum(dim=1) / self.scale[rows]
        loss = distance + self.weight[rows] * self.measure(images, rows)
        (gradient,) = torch.autograd.grad(loss.sum(), images)
        return Evaluation(loss.detach(), gradient.flatten(1), distance.detach())

    def start(self) -> None:
        """Take the patches, or faint noise, as they are."""
        self.points = self.patches.flatten(1)
        if self.config["start"] == "noise":
            generator = torch.Generator().manual_seed(self.config["seed"])
            noise = torch.randn(self.points.shape, generator=generator).to(self.points)
            self.points = NOISE * self.points.std(dim=1, keepdim=True) * noise
        self.weight = self.now = torch.zeros_like(self.scale)

    def descend(self, target: float) -> None:
        """Some steps at weights that lead the residuals to a level."""
        if self.weight.any():
            change = AIM * target / self.now.clamp_min(1e-12)
            self.weight = self.weight * change.clamp(1 / LARGEST_CHANGE, LARGEST_CHANGE)
        else:
            self.weight = torch.full_like(self.scale, FIRST_WEIGHT * target)
        for state in lbfgs(self.evaluate, self.points, steps=ROUND):
            if broken := _find_rows(~state.residual.isfinite()):
                raise FloatingPointError(
                    f"The residual of image {broken[0]} is NaN or infinite. Must be finite: look "
                    "at the network's weights."
                )
            self.keep(state.points.reshape(self.patches.shape), state.residual)
        self.points, self.now = state.points, state.residual
        self.evaluations += state.evaluations

    def keep(self, images: Tensor, residual: Tensor) -> None:
        """Keep, level by level, what is smoother than all before, or nearer to a missed level."""
        prior = self.measure(images, torch.arange(len(images), device=images.device))
        rank = torch.where(residual <= self.levels, prior, UNREACHED + residual)
        better = rank < self.rank
        self.images = torch.where(better[..., None, None, None], images, self.images)
        pairs = {"rank": rank, "residual": residual, "prior": prior}
        for name, values in pairs.items():
            setattr(self, name, torch.where(better, values, getattr(self, name)))

    def finish(self) -> Inversion:
        """What was kept."""
        return Inversion(
            self.images,
            self.residual,
            self.prior,
            self.residual <= self.levels,
            self.evaluations,
            self.config,
        )
