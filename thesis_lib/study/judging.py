"""What explanations of a classifier share: its network on a device, and an independent judge."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from saltvolumes._checks import check_choice, check_count
from thesis_lib.model import SaltClassifier
from thesis_lib.study.classification import load_classifier
from thesis_lib.study.segmentation import Train, load_model
from thesis_lib.study.tasks import Outcome, check_distinct
from thesis_lib.training import pick_precision, predict_patches


def pick_device() -> torch.device:
    """GPU where there is one; not Apple's, which lacks the float64 of spectra."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_network(outcome: Outcome, precision: str) -> SaltClassifier:
    """Network of a classifier on the best device, in the layout that suits the precision."""
    model = load_classifier(outcome).to(pick_device())
    if precision == "bf16-mixed":
        model.to(memory_format=torch.channels_last)
    return model


def predict_salt(judge: Outcome, images: Tensor) -> Tensor:
    """
    Probability of salt in z-scored images (n, 1, H, W), of the same shape and device.

    ``judge`` is a finished `Train`.
    """
    model = load_model(judge).to(images.device)
    return torch.sigmoid(predict_patches(model, images, precision="32-true")).to(images)


def check_explanation(task: Any, **numbers: Sequence[int]) -> None:
    """Refuse an own encoder as judge, and settings out of range; fix what "auto" means here."""
    if task.judge is not None and task.judge == task.network.segmentation:
        raise ValueError(
            f"Invalid judge {task.judge.title!r}. Must be another network than the one whose "
            "encoder is explained."
        )
    object.__setattr__(task, "precision", pick_precision(task.precision, pick_device()))
    check_count("steps", task.steps)
    for name, values in numbers.items():
        check_distinct(name, values)
        for value in values:
            check_count(name, value, low=0)


def pick_judge(networks: Sequence[Train], encoder: Train) -> Train | None:
    """
    Pick a segmentation network that can judge what classifiers with some encoder made.

    Parameters
    ----------
    networks : sequence of Train
        Those of a loss study.
    encoder : Train
        Network whose encoder the classifiers took over.

    Returns
    -------
    Train or None
        That of the next seed, with weights and earths of its own. Where there is one seed only, the
        first of another loss: not independent, since the losses of a seed share initial weights
        and patches. None where there is one loss as well.

    Raises
    ------
    ValueError
        If no network has the seed of the encoder.
    """
    seeds = list(dict.fromkeys(network.seed for network in networks))
    check_choice("seed", encoder.seed, seeds)
    following = (2 * seeds)[seeds.index(encoder.seed) + 1]
    if following != encoder.seed:
        return replace(encoder, seed=following)
    return next((network for network in networks if network.loss != encoder.loss), None)
