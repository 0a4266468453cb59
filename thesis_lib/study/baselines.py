"""Baselines: classification of patches without a trained network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from thesis_lib.patches.classes import find_likeness
from thesis_lib.study.classification import Classify
from thesis_lib.study.judging import load_network
from thesis_lib.study.tasks import Parents, Task

RIDGE = 0.01  # penalty of the probe's weights, next to features of variance 1
BATCH = 64


@dataclass(frozen=True)
class Baseline(Task):
    """
    Classify patches by the nearest one trained on, and by a linear probe of random features.

    What a trained network does no better than these was not learned.

    Parameters
    ----------
    network : Classify
        The untrained one, whose patches are classified and whose latent representation is probed.
    """

    network: Classify
    headline = ("nearest", "probe")
    title_format = "Baseline, seed {0.network.seed}"

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:  # noqa: ARG002
        """
        Classify.

        Returns
        -------
        dict
            Accuracies: ``nearest``, of the class of the nearest training patch, pixel by pixel;
            ``probe``, of a ridge regression on the latent representation. ``n_train`` and
            ``n_test`` patches, and ``likeness``, the largest correlation of two of them.
        """
        source, seed = self.network.patches, self.network.seed
        train, test = source.train(seed), source.test(seed)
        model = load_network(parents["network"], "32-true")
        device = next(model.parameters()).device

        def read(images: Tensor) -> Tensor:
            with torch.no_grad():
                latent = [
                    model.latent(batch.to(device)).cpu() for batch in torch.split(images, BATCH)
                ]
            return torch.cat(latent)

        images, others = train.tensors(), test.tensors()
        labels, truth = torch.from_numpy(train.labels), torch.from_numpy(test.labels)
        found = {
            "nearest": labels[find_nearest(others, images)],
            "probe": probe(read(images), labels, read(others)),
        }
        return {
            **{name: (guess == truth).double().mean().item() for name, guess in found.items()},
            "likeness": find_likeness(train, test).max().item(),
            "n_train": len(train),
            "n_test": len(test),
        }


def find_nearest(images: Tensor, others: Tensor) -> Tensor:
    """Row of the nearest of others (m, 1, H, W) for each image (n, 1, H, W), pixel by pixel."""
    flat, parts = others.flatten(1), torch.split(images.flatten(1), BATCH)
    return torch.cat([torch.cdist(part, flat).argmin(dim=1) for part in parts])


def probe(features: Tensor, labels: Tensor, others: Tensor) -> Tensor:
    """
    Classify by a linear probe: ridge regression of the classes on standardised features.

    Parameters
    ----------
    features : Tensor of shape (n, C)
        To fit by.
    labels : int64 Tensor of shape (n,)
    others : Tensor of shape (m, C)
        To classify.

    Returns
    -------
    int64 Tensor of shape (m,)
    """
    mean, scale = features.double().mean(dim=0), features.double().std(dim=0).clamp(min=1e-12)
    x, y = (features.double() - mean) / scale, one_hot(labels).double()
    gram = x.T @ x / len(x) + RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    weights = torch.linalg.solve(gram, x.T @ (y - y.mean(dim=0)) / len(x))
    scores: Tensor = (others.double() - mean) / scale @ weights + y.mean(dim=0)
    return scores.argmax(dim=1)
