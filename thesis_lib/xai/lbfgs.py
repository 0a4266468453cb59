"""L-BFGS for many independent problems at once: own curvature and steps, shared evaluations."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

MEMORY = 10  # pairs of steps and gradient changes that approximate the curvature
TRIALS = 20  # evaluations that one line search may take
DECREASE, FLATNESS = 1e-4, 0.9  # of the weak Wolfe conditions


class Evaluation(NamedTuple):
    """Loss (k,), gradient (k, d) and residual (k,) of k problems."""

    loss: Tensor
    gradient: Tensor
    residual: Tensor


Evaluate = Callable[[Tensor, Tensor], Evaluation]


class State(NamedTuple):
    """Points (n, d) and residuals (n,) after a step, and the evaluations (n,) spent so far."""

    points: Tensor
    residual: Tensor
    evaluations: Tensor


def lbfgs(evaluate: Evaluate, start: Tensor, *, steps: int) -> Iterator[State]:
    """
    Minimise n problems, each as if it were alone, by limited-memory BFGS [1]_.

    A problem leaves the batch as soon as no step along its negative gradient lowers its loss. The
    line search looks for a weak Wolfe point by doubling and halving, which suits networks, whose
    gradient jumps at every ReLU [2]_.

    Parameters
    ----------
    evaluate : callable (points (k, d), rows (k,)) -> Evaluation
        Loss, gradient and residual of the problems ``rows``. What it returns for one problem must
        not depend on the others.
    start : Tensor of shape (n, d)
        Where each problem starts.
    steps : int
        Steps of each problem at most.

    Yields
    ------
    State
        At the start and after every step, until no problem is left. Points of problems that have
        ended stay as they are.

    References
    ----------
    .. [1] Liu and Nocedal (1989). On the limited memory BFGS method.
       https://doi.org/10.1007/BF01589116
    .. [2] Lewis and Overton (2013). Nonsmooth optimization via quasi-Newton methods.
       https://doi.org/10.1007/s10107-012-0514-2
    """
    points, rows = start, torch.arange(len(start), device=start.device)
    now, evaluations = evaluate(points, rows), torch.ones_like(rows)
    residual, curvature = now.residual, _Curvature(start)
    yield State(points, residual, evaluations)
    active = torch.ones_like(rows, dtype=torch.bool)
    for _ in range(steps):
        rows, now = rows[active], Evaluation(*(values[active] for values in now))
        if not len(rows):
            return
        directions = curvature.direct(now.gradient, rows)
        lengths, after, spent = _search(evaluate, points[rows], directions, now, rows)
        shifts = lengths[:, None] * directions
        stuck = (lengths == 0) & curvature.is_empty(rows)
        curvature.update(rows, shifts, after.gradient - now.gradient)
        points = points.index_add(0, rows, shifts)
        residual = residual.index_copy(0, rows, after.residual)
        evaluations = evaluations.index_add(0, rows, spent)
        yield State(points, residual, evaluations)
        now, active = after, ~stuck


class _Curvature:
    """The last pairs of each problem, newest first; pairs of weight 0 have no effect."""

    def __init__(self, like: Tensor) -> None:
        self.shifts = like.new_zeros(MEMORY, *like.shape)
        self.changes = like.new_zeros(MEMORY, *like.shape)
        self.weights = like.new_zeros(MEMORY, len(like))

    def is_empty(self, rows: Tensor) -> Tensor:
        return self.weights[0, rows] == 0

    def update(self, rows: Tensor, shifts: Tensor, changes: Tensor) -> None:
        """Add a pair to each problem; one without positive curvature clears the memory."""
        products = torch.linalg.vecdot(shifts, changes)
        useful = products > 0
        self.weights[:, rows[~useful]] = 0
        kept = rows[useful]
        pairs = (self.shifts, shifts), (self.changes, changes), (self.weights, 1 / products)
        for memory, newest in pairs:
            memory[:, kept] = memory[:, kept].roll(1, dims=0)
            memory[0, kept] = newest[useful]

    def direct(self, gradient: Tensor, rows: Tensor) -> Tensor:
        """Two loops over the pairs: minus the inverse Hessian times the gradient."""
        shifts, changes = self.shifts[:, rows], self.changes[:, rows]
        weights, direction, alphas = self.weights[:, rows], -gradient, []
        for shift, change, weight in zip(shifts, changes, weights, strict=True):
            alphas.append(weight * torch.linalg.vecdot(shift, direction))
            direction = direction - alphas[-1][:, None] * change
        # Inverse curvature along the newest shift; without one, a first step of length 1.
        measured = 1 / (weights[0] * torch.linalg.vecdot(changes[0], changes[0]))
        first = 1 / torch.linalg.vecdot(gradient, gradient).sqrt()
        scale = torch.where(self.is_empty(rows), first, measured)
        direction = direction * torch.where(scale.isfinite(), scale, 1.0)[:, None]
        for i in reversed(range(MEMORY)):
            beta = weights[i] * torch.linalg.vecdot(changes[i], direction)
            direction = direction + (alphas[i] - beta)[:, None] * shifts[i]
        return direction


def _search(
    evaluate: Evaluate, points: Tensor, directions: Tensor, now: Evaluation, rows: Tensor
) -> tuple[Tensor, Evaluation, Tensor]:
    """Steps (k,), 0 where none lowers the loss, what was found there, evaluations (k,) spent."""
    slope = torch.linalg.vecdot(now.gradient, directions)
    low, high = torch.zeros_like(slope), torch.full_like(slope, torch.inf)
    trial, spent = torch.ones_like(slope), torch.zeros_like(rows)
    after = Evaluation(*(values.clone() for values in now))
    left = torch.arange(len(rows), device=rows.device)
    for _ in range(TRIALS):
        step = trial[left]
        found = evaluate(points[left] + step[:, None] * directions[left], rows[left])
        spent[left] += 1
        lower = found.loss <= now.loss[left] + DECREASE * step * slope[left]
        lower &= found.loss < now.loss[left]  # by more than rounding
        flat = torch.linalg.vecdot(found.gradient, directions[left]) >= FLATNESS * slope[left]
        for values, new in zip(after, found, strict=True):
            values[left[lower]] = new[lower]
        low[left[lower]], high[left[~lower]] = step[lower], step[~lower]
        trial = torch.where(high.isinf(), 2 * low, (low + high) / 2)
        left = left[~(lower & flat)]
        if not len(left):
            break
    return low, after, spent
