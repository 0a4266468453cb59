"""Tests of thesis_lib.study.baselines: what takes no training."""

import numpy as np
import pytest
import torch
from explained_networks import make_classifier, make_patches, run
from noise import make_noise

from thesis_lib.patches.classes import find_likeness
from thesis_lib.study.baselines import RIDGE, Baseline, find_nearest, probe


def test_baselines_of_a_task(tmp_path):
    """Patches that were trained on are recognised by the nearest one, at a correlation of 1."""
    outcome = run(Baseline(make_classifier(make_patches(seed=5))), tmp_path)
    scores = outcome.scores
    assert (scores["nearest"], scores["n_train"], scores["n_test"]) == (1.0, 6, 6)
    assert scores["likeness"] == pytest.approx(1, abs=1e-5)
    assert 0 <= scores["probe"] <= 1


def test_nearest_by_brute_force():
    """The nearest patch has the smallest sum of squared differences."""
    images, others = make_noise(70, 1, 4, 5), make_noise(9, 1, 4, 5)
    squares = (images[:, None] - others[None]).square().sum(dim=(2, 3, 4))
    assert torch.equal(find_nearest(images, others), squares.argmin(dim=1))


def test_probe_is_ridge_regression():
    """Its scores are those of least squares with the penalty as further rows."""
    features, labels = make_noise(40, 6).double(), torch.arange(40) % 3
    others = make_noise(20, 6, seed=1).double()
    x = (features - features.mean(0)) / features.std(0)
    y = np.eye(3)[labels]
    rows = np.vstack([x, np.sqrt(RIDGE * 40) * np.eye(6)])
    weights = np.linalg.lstsq(rows, np.vstack([y - y.mean(0), np.zeros((6, 3))]))[0]
    scores = ((others - features.mean(0)) / features.std(0)).numpy() @ weights + y.mean(0)
    assert probe(features, labels, others).tolist() == scores.argmax(axis=1).tolist()


def test_likeness_is_the_largest_correlation():
    """Each patch is compared with all others, whatever their mean and scale."""
    patches, others = make_patches(7), make_patches(5, seed=1)
    flat = [part.images.reshape(len(part), -1) for part in (patches, others)]
    expected = np.corrcoef(*flat)[:7, 7:].max(axis=1)
    np.testing.assert_allclose(find_likeness(patches, others), expected, atol=1e-5)
