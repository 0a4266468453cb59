"""The task behind the explanations: a classifier by each of three routes, scored on patches."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import update_bn
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_auroc,
    multiclass_calibration_error,
    multiclass_confusion_matrix,
)

from thesis_lib._checks import check_choice, check_range
from thesis_lib._files import replace_when_done
from thesis_lib.data import Augmentation, LabelBatches, LabelledPatches
from thesis_lib.model import SaltClassifier
from thesis_lib.study.runs import Outcome, Run, complete, source_hash
from thesis_lib.study.segmentation import load_model
from thesis_lib.study.tensors import read_tensors, save_tensors
from thesis_lib.training import TrainConfig, fit, predict_patches, resolve_precision
from thesis_lib.training.config import resolve_device

TASK = __name__
source_hash(TASK)  # of the code that is loaded, whatever is edited from here on
ROUTES = ("segmentation", "classification", "untrained")
WEIGHTS, HISTORY, PREDICTIONS = "weights.safetensors", "history.csv", "predictions.csv"


@dataclass(frozen=True)
class ClassificationConfig:
    """
    Settings that the classifiers of all routes share.

    Parameters
    ----------
    train : TrainConfig
        Optimiser, schedule, precision. Its ``lr_factors`` stay empty.
    encoder_lr_ratio : float
        Learning rate of the segmentation encoder as a share of that of the new head, in [0, 1].
    batch_size : int
        Patches per step.
    n_patches : int or None
        Patches drawn per epoch, all of them if None.
    augmentation : Augmentation
        Random changes of the patches that are trained on.
    encoder : str
        Name of a timm encoder with four stages, that of the segmentation run.
    pretrained : bool
        Whether the encoder of route "classification" starts from timm's weights.

    Raises
    ------
    ValueError
        If the ratio lies outside [0, 1], or ``lr_factors`` are given.
    """

    train: TrainConfig
    encoder_lr_ratio: float = 0.1
    batch_size: int = 16
    n_patches: int | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    encoder: str = "resnet34"
    pretrained: bool = False

    def __post_init__(self) -> None:
        check_range("encoder_lr_ratio", self.encoder_lr_ratio, low=0, high=1)
        if self.train.lr_factors:
            raise ValueError(
                f"Invalid lr_factors {dict(self.train.lr_factors)} of a classifier. Must be empty: "
                "encoder_lr_ratio decides about them."
            )


@dataclass(frozen=True)
class ClassifierRun:
    """
    One classifier, trained and scored.

    Parameters
    ----------
    route : {"segmentation", "classification", "untrained"}
        How it came about.
    seed : int
        Seed of its head, its patch order, and of an encoder from scratch.
    classes : tuple of str
        What it tells apart.
    outcome : Outcome
        Its folder and scores: ``accuracy``, ``balanced_accuracy`` and ``auc`` (one class against
        the rest, mean over the classes), both None where a class has no test patch,
        ``calibration_error`` (expected, 15 bins) and ``confusion`` (rows: truth).
    """

    route: str
    seed: int
    classes: tuple[str, ...]
    outcome: Outcome

    def load(self) -> SaltClassifier:
        """
        Build the network with its last weights, in eval mode on the CPU.

        Raises
        ------
        ValueError
            If the file of its weights was damaged or deleted.
        """
        run = json.loads((self.outcome.folder / "config.json").read_text(encoding="utf-8"))
        model = SaltClassifier(len(self.classes), run["config"]["encoder"])
        model.load_state_dict(read_tensors(self.outcome.folder / WEIGHTS))
        return model.eval()

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch: learning rate of the head, training loss; empty if untrained."""
        path = self.outcome.folder / HISTORY
        return pd.read_csv(path) if path.exists() else pd.DataFrame()

    @property
    def predictions(self) -> pd.DataFrame:
        """One row a test patch: label, share of salt where known, probability of each class."""
        return pd.read_csv(self.outcome.folder / PREDICTIONS)


def train_routes(
    config: ClassificationConfig,
    train: LabelledPatches,
    test: LabelledPatches,
    *,
    seed: int,
    segmentation: Path,
    routes: Sequence[str] = ROUTES,
    root: str | os.PathLike[str] = "runs",
    progress: bool = True,
) -> dict[str, ClassifierRun]:
    """
    Compute the classifiers of one seed that are not there yet, and return all of them.

    Route "segmentation" starts from the encoder of a U-Net, with a new head and a lower learning
    rate on the encoder; route "classification" from random weights. Both see the same patches in
    the same order for the same number of steps, and start with the same head. Route "untrained"
    is the control: the random weights that route "classification" would start from without
    timm's, with the statistics of its BatchNorm layers estimated on the training patches.

    Parameters
    ----------
    config : ClassificationConfig
        Settings of all routes.
    train, test : LabelledPatches
        Patches to train on and to score, of the same classes.
    seed : int
        Seed of weights, patch order and augmentation.
    segmentation : Path
        Folder of the finished segmentation run whose encoder route "segmentation" takes.
    routes : sequence of str
        Which of `ROUTES`.
    root : path
        Folder of all runs.
    progress : bool
        Whether to print a line when a run ends, and draw progress bars inside of it.

    Returns
    -------
    dict of str to ClassifierRun
        In the order of ``routes``.

    Raises
    ------
    ValueError
        If a route is unknown, the classes differ, one has no training patch, or ``segmentation``
        holds no finished run or one with another encoder.
    """
    _check_classes(train, test)
    runs = {}
    for route in routes:
        check_choice("route", route, ROUTES)
        run = make_run(config, train, test, route=route, seed=seed, segmentation=segmentation)
        compute = partial(
            train_and_score,
            config,
            train,
            test,
            route=route,
            seed=seed,
            segmentation=segmentation,
            progress=progress,
        )
        outcome = complete(run, compute, root=root)
        runs[route] = ClassifierRun(route, seed, train.classes, outcome)
        if progress:
            print(describe(runs[route]), flush=True)
    return runs


def _check_classes(train: LabelledPatches, test: LabelledPatches) -> None:
    if train.classes != test.classes:
        raise ValueError(
            f"Invalid classes {train.classes} to train on and {test.classes} to test. Must be the "
            "same."
        )
    for label, name in enumerate(train.classes):
        if label not in train.labels:
            raise ValueError(f"No training patch of class {name!r}. Must be at least one.")


def describe(run: ClassifierRun) -> str:
    """One line on a run: route, seed, accuracy, whether it was computed or found."""
    origin = "computed" if run.outcome.computed else "found"
    accuracy = run.outcome.scores["accuracy"]
    where = run.outcome.folder.name
    return f"{run.route}, seed {run.seed}: accuracy {accuracy:.4f} ({origin}, {where})"


def make_run(
    config: ClassificationConfig,
    train: LabelledPatches,
    test: LabelledPatches,
    *,
    route: str,
    seed: int,
    segmentation: Path,
) -> Run:
    """Run of one route; the segmentation run and the ratio count where they are of effect."""
    settings = asdict(config) | {"train": asdict(_adapt(config, route)), "route": route}
    del settings["encoder_lr_ratio"]  # stands in lr_factors
    if route == "segmentation":
        settings["segmentation"] = segmentation.name
    return Run(TASK, settings, f"{train.content_hash}|{test.content_hash}", seed)


def _adapt(config: ClassificationConfig, route: str) -> TrainConfig:
    """Training of a route, in the precision that its settings stand for on this machine."""
    slow = {"": config.encoder_lr_ratio, "head.": 1.0} if route == "segmentation" else {}
    return replace(config.train, precision=resolve_precision(config.train), lr_factors=slow)


def build_model(
    config: ClassificationConfig, n_classes: int, *, route: str, seed: int, segmentation: Path
) -> SaltClassifier:
    """
    Build the network that a route starts from.

    Raises
    ------
    ValueError
        If the encoder of the segmentation run is not that of the settings.
    """
    if route != "segmentation":
        pretrained = config.pretrained and route == "classification"
        return SaltClassifier(n_classes, config.encoder, pretrained=pretrained, seed=seed)
    unet = load_model(segmentation)
    if unet.encoder != config.encoder:
        raise ValueError(
            f"Invalid encoder {unet.encoder!r} of the segmentation run {segmentation.name}. Must "
            f"be {config.encoder!r}, as in the other routes."
        )
    return SaltClassifier.from_segmentation(unet, n_classes, seed=seed)


def train_and_score(
    config: ClassificationConfig,
    train: LabelledPatches,
    test: LabelledPatches,
    folder: Path,
    *,
    route: str,
    seed: int,
    segmentation: Path,
    progress: bool = True,
) -> dict[str, Any]:
    """
    Train one classifier and score it on the test patches.

    A folder in which a killed run left its state is taken up from the last finished epoch.

    Parameters
    ----------
    folder : Path
        Where ``history.csv``, ``weights.safetensors`` and ``predictions.csv`` are written.
    config, train, test, route, seed, segmentation, progress
        As in `train_routes`.

    Returns
    -------
    dict
        Scores, see `ClassifierRun`.
    """
    model = build_model(
        config, len(train.classes), route=route, seed=seed, segmentation=segmentation
    )
    settings = _adapt(config, route)
    if route == "untrained":
        _estimate_statistics(model, config, train, folder, seed=seed)
    else:
        batches = LabelBatches(
            train,
            batch_size=config.batch_size,
            seed=seed,
            n_patches=config.n_patches,
            augmentation=config.augmentation,
        )
        fit(model, batches, cross_entropy, settings, folder=folder, progress=progress)
    logits = predict_patches(
        model,
        test.tensors(),
        batch_size=4 * config.batch_size,
        precision=settings.precision,
    )
    probabilities = logits.softmax(dim=1)
    _save_predictions(test, probabilities, folder)
    return score_probabilities(probabilities, torch.from_numpy(test.labels))


def _estimate_statistics(
    model: SaltClassifier,
    config: ClassificationConfig,
    patches: LabelledPatches,
    folder: Path,
    *,
    seed: int,
) -> None:
    """Give BatchNorm the statistics of the patches as they are; every weight stays."""
    batches = LabelBatches(patches, batch_size=config.batch_size, seed=seed)
    device = resolve_device(config.train)
    update_bn(batches.epoch(0), model.to(device), device)
    save_tensors(folder / WEIGHTS, model.state_dict())


def _save_predictions(patches: LabelledPatches, probabilities: Tensor, folder: Path) -> None:
    shares = patches.shares
    columns: dict[str, Any] = {"label": patches.labels}
    columns |= {} if shares is None else {"share": shares}
    columns |= dict(zip(patches.classes, probabilities.double().numpy().T, strict=True))
    with replace_when_done(folder / PREDICTIONS) as beside:
        pd.DataFrame(columns).to_csv(beside, index=False)


def score_probabilities(probabilities: Tensor, labels: Tensor) -> dict[str, Any]:
    """
    Scores of predicted probabilities.

    Parameters
    ----------
    probabilities : Tensor of shape (n, C)
        In [0, 1], summing to 1.
    labels : int64 Tensor of shape (n,)
        True classes.

    Returns
    -------
    dict
        See `ClassifierRun`.
    """
    n_classes = probabilities.shape[1]
    each_seen = bool(labels.bincount(minlength=n_classes).all())
    given = (probabilities, labels, n_classes)
    scores = {
        "accuracy": multiclass_accuracy(*given, average="micro"),
        "balanced_accuracy": multiclass_accuracy(*given, average="macro") if each_seen else None,
        "auc": multiclass_auroc(*given, average="macro") if each_seen else None,
        "calibration_error": multiclass_calibration_error(*given, n_bins=15),
        "confusion": multiclass_confusion_matrix(*given),
    }
    return {name: None if score is None else score.tolist() for name, score in scores.items()}
