"""Tests of the loss explorer: its arithmetic in JavaScript is that of the library."""

import json
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import quickjs
import torch
from scipy.ndimage import distance_transform_edt

from thesis_lib.losses import LOSSES

BOOK = Path(__file__).parents[2] / "book"
sys.path.insert(0, str(BOOK / "_extensions"))
import loss_explorer  # noqa: E402  an extension of the book

SIZE = loss_explorer.SIZE
TRUTH = loss_explorer.TRUTH
EMPTY = {**TRUTH, "radius": 0}
PREDICTIONS = [
    loss_explorer.START,
    {**TRUTH, "confidence": 3.0},  # right, and sure of it
    {"x": 18.5, "y": 33, "radius": 2.5, "confidence": 0.1},
    {"x": 0, "y": 63, "radius": 20, "confidence": 1.3},  # cut by two edges
    {"x": 60, "y": 3, "radius": 6, "confidence": 3.0},  # misses the truth, logits below -100
]
CASES = [*product(PREDICTIONS, [TRUTH, EMPTY])]
ROUNDING = 1e-16  # of values near 1, which gradients are differences of


@pytest.fixture(scope="module")
def script():
    """Engine that has read the losses of the page."""
    context = quickjs.Context()
    context.eval((BOOK / "_static" / "losses.js").read_text(encoding="utf-8"))
    context.eval(
        """
        const { losses, prepare, discLogits, discMask, squaredDistance } = companionLosses;
        function evaluate(prediction, truth, size) {
          const [x, t] = [discLogits(prediction, size, size), discMask(truth, size, size)];
          const found = { x: Array.from(x), t: Array.from(t), values: {}, gradients: {} };
          for (const [name, loss] of Object.entries(losses)) {
            const { value, gradient } = loss(prepare(x, t, size, size));
            found.values[name] = value;
            found.gradients[name] = Array.from(gradient);
          }
          return found;
        }
        function evaluateLovasz(x, t, size) {
          return Array.from(losses.lovasz(prepare(x, t, size, size)).gradient);
        }
        """
    )
    return context


def call(script: quickjs.Context, expression: str, *arguments: Any) -> Any:
    """Call a function of the page with arguments that JSON can hold."""
    values = ", ".join(map(json.dumps, arguments))
    return json.loads(script.eval(f"JSON.stringify({expression}({values}))"))


def average_equal(values: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Mean over the pixels whose keys are equal."""
    return pd.Series(values).groupby(key).transform("mean").to_numpy()


def test_script_has_the_losses_of_the_library(script):
    """The page shows all losses that the library has, and no other, in the same order."""
    assert json.loads(script.eval("JSON.stringify(Object.keys(losses))")) == list(LOSSES)


@pytest.mark.parametrize(("prediction", "truth"), CASES)
def test_losses_and_gradients_are_those_of_the_library(script, prediction, truth):
    """Values agree within 1e-6, gradients within 1e-5 of their largest, with salt and without."""
    found = call(script, "evaluate", prediction, truth, SIZE)
    shape = (1, 1, SIZE, SIZE)
    target = torch.tensor(found["t"], dtype=torch.float64).reshape(shape)
    for name, loss in LOSSES.items():
        logits = torch.tensor(found["x"], dtype=torch.float64).reshape(shape).requires_grad_()
        value = loss(logits, target)
        (gradient,) = torch.autograd.grad(value, logits)
        assert found["values"][name] == pytest.approx(value.item(), rel=1e-6), name
        largest = gradient.abs().max().item()
        pair = gradient.flatten().numpy(), np.array(found["gradients"][name])
        if name == "lovasz":  # equal errors have no order: each gives another subgradient
            errors = 1 - np.array(found["x"]) * (2 * np.array(found["t"]) - 1)
            pair = tuple(average_equal(np.abs(each), errors) for each in pair)
        difference = np.abs(pair[0] - pair[1]).max()
        assert difference <= 1e-5 * largest + ROUNDING, name


@pytest.mark.parametrize("seed", range(3))
def test_lovasz_gradient_is_that_of_the_library(script, seed):
    """Where no two errors are equal there is one gradient, and the page has it pixel by pixel."""
    rng = np.random.default_rng(seed)
    logits, mask = rng.normal(size=64), rng.random(64) < 0.4
    x = torch.from_numpy(logits).reshape(1, 1, 8, 8).requires_grad_()
    LOSSES["lovasz"](x, torch.from_numpy(mask).reshape(1, 1, 8, 8)).backward()
    found = call(script, "evaluateLovasz", logits.tolist(), mask.astype(float).tolist(), 8)
    np.testing.assert_allclose(found, x.grad.flatten(), rtol=1e-12)


def test_lovasz_gradient_is_as_symmetric_as_the_image(script):
    """Pixels of one class with the same error get the same gradient."""
    found = call(script, "evaluate", PREDICTIONS[0], TRUTH, SIZE)
    gradient = np.reshape(found["gradients"]["lovasz"], (SIZE, SIZE))
    np.testing.assert_array_equal(gradient[1:], gradient[:0:-1])  # discs lie on row 32


def test_discs_are_those_of_the_figure(script):
    """Logits are 0 at the edge of the disc and fall by the confidence per pixel, salt is inside."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    found = call(script, "evaluate", PREDICTIONS[0], TRUTH, SIZE)
    expected = (12 - np.hypot(rows - 32, columns - 24)) / 2
    np.testing.assert_allclose(np.reshape(found["x"], (SIZE, SIZE)), expected, atol=1e-12)
    disc = np.hypot(rows - 32, columns - 18) < 12
    np.testing.assert_array_equal(np.reshape(found["t"], (SIZE, SIZE)), disc)


@pytest.mark.parametrize("seed", range(5))
def test_distances_are_exact(script, seed):
    """The distance transform of a random mask agrees with that of SciPy."""
    rng = np.random.default_rng(seed)
    mask = rng.random((13, 21)) < rng.choice([0.03, 0.5, 0.97])
    found = call(script, "squaredDistance", mask.flatten().tolist(), *mask.shape)
    expected = distance_transform_edt(mask) + distance_transform_edt(~mask)
    np.testing.assert_allclose(np.reshape(found, mask.shape), expected**2, atol=1e-9)


def test_a_mask_of_one_class_has_no_distance(script):
    """Without a boundary every distance is 0, as in the library."""
    assert call(script, "squaredDistance", [True] * 6, 2, 3) == [0] * 6
