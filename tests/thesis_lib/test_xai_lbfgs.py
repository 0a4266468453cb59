"""L-BFGS for independent problems: closed forms, and a batch against its single runs."""

import pytest
import torch
from torch import Tensor

from thesis_lib.xai.lbfgs import Evaluate, Evaluation, State, lbfgs


def rosenbrock(points: Tensor, _rows: Tensor) -> Evaluation:
    """Loss 100 (y - x^2)^2 + (1 - x)^2, which is 0 at (1, 1)."""
    x, y = points.T
    valley, rest = y - x**2, 1 - x
    gradient = torch.stack([-400 * x * valley - 2 * rest, 200 * valley], dim=1)
    loss = 100 * valley**2 + rest**2
    return Evaluation(loss, gradient, loss)


def make_quadratic(curvature: Tensor, optimum: Tensor) -> Evaluate:
    """Loss sum(curvature (x - optimum)^2) / 2, with the largest error as residual."""

    def evaluate(points: Tensor, rows: Tensor) -> Evaluation:
        error = points - optimum[rows]
        loss = (curvature * error**2).sum(dim=1) / 2
        return Evaluation(loss, curvature * error, error.abs().amax(dim=1))

    return evaluate


def run(evaluate: Evaluate, start: Tensor, *, steps: int = 200) -> State:
    """Last state of a run."""
    *_, last = lbfgs(evaluate, start, steps=steps)
    return last


STARTS = torch.tensor([[-1.2, 1.0], [0.0, 0.0], [2.0, -3.0]], dtype=torch.float64)


def test_rosenbrock() -> None:
    """From three starts the minimum is found at (1, 1); a problem that starts there stays."""
    start = torch.cat([STARTS, torch.ones(1, 2, dtype=torch.float64)])
    last = run(rosenbrock, start)
    torch.testing.assert_close(last.points, torch.ones_like(start), atol=1e-4, rtol=0)
    assert (last.residual < 1e-10).all()
    assert torch.equal(last.points[3], start[3])


def test_problems_are_independent() -> None:
    """A batch takes the steps that its problems take alone."""
    last = run(rosenbrock, STARTS, steps=15)
    for row, start in enumerate(STARTS):
        alone = run(rosenbrock, start[None], steps=15)
        torch.testing.assert_close(alone.points[0], last.points[row], atol=1e-9, rtol=0)
        assert alone.evaluations[0] == last.evaluations[row]


@pytest.mark.parametrize(("ratio", "steps"), [(0.0, 3), (2.0, 60)])
def test_quadratic_in_few_steps(ratio: float, steps: int) -> None:
    """Where all curvatures agree the first pair gives the exact step, from 1 to 100 few do."""
    curvature = torch.logspace(0, ratio, 10, dtype=torch.float64)
    optimum = torch.linspace(-1, 1, 20, dtype=torch.float64).reshape(2, 10)
    evaluate = make_quadratic(curvature, optimum)
    last = run(evaluate, torch.zeros_like(optimum), steps=steps)
    torch.testing.assert_close(last.points, optimum, atol=1e-6, rtol=0)


def test_ends_where_nothing_is_lower() -> None:
    """A run ends once no step lowers the loss."""

    def bowl(points: Tensor, _rows: Tensor) -> Evaluation:
        loss = (points**2).sum(dim=1)
        return Evaluation(loss, 2 * points, torch.ones_like(loss))

    states = list(lbfgs(bowl, torch.tensor([[3.0, -4.0]]), steps=1000))
    assert len(states) < 20
    torch.testing.assert_close(states[-1].points, torch.zeros(1, 2), atol=1e-6, rtol=0)


def test_loss_never_rises_where_gradients_jump() -> None:
    """On |x| + 10 |y| every step lowers the loss, down to the corner."""

    def corner(points: Tensor, _rows: Tensor) -> Evaluation:
        slopes = points.new_tensor([1.0, 10.0])
        loss = (slopes * points.abs()).sum(dim=1)
        return Evaluation(loss, slopes * points.sign(), loss)

    start = torch.tensor([[3.0, 1.3]], dtype=torch.float64)
    losses = [state.residual.item() for state in lbfgs(corner, start, steps=60)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-4
