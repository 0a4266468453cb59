"""Classification: a classifier by each of four initialisations, scored on unseen patches."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import update_bn

from saltvolumes._checks import check_range
from saltvolumes._files import write_text
from thesis_lib.model import SaltClassifier
from thesis_lib.patches import Augmentation, LabelBatches, LabelledPatches
from thesis_lib.patches.classes import PatchSource
from thesis_lib.study.segmentation import Train, check_training, load_model
from thesis_lib.study.tasks import Outcome, Parents, Task, save_tensors
from thesis_lib.training import TrainConfig, fit, predict_patches
from thesis_lib.training.config import resolve_device

INITIALISATIONS = ("frozen", "segmentation", "classification", "untrained")
WEIGHTS, PREDICTIONS = "weights.safetensors", "predictions.csv"


@dataclass(frozen=True)
class Classify(Task):
    """
    Train a classifier of patches, and score it.

    With ``segmentation`` it starts from the encoder of a U-Net, with a new head and a lower
    learning rate on the encoder, which stays as it is if ``frozen``; without, from random weights.
    All start with the same head and see the same patches in the same order. The control,
    ``untrained``, keeps its random weights, with the statistics of its BatchNorm layers estimated
    on the training patches.

    Parameters
    ----------
    seed : int
        Seed of weights, patch order and augmentation.
    patches : SaltPatches, EarthClasses or LandmassBlock
        What is trained on and scored.
    segmentation : Train or None
        Network whose encoder is taken over.
    frozen : bool
        Whether the encoder that is taken over stays as it is.
    untrained : bool
        Whether all weights stay as they are.
    train : TrainConfig
        Optimiser, schedule, precision. Its ``lr_factors`` stay empty.
    encoder_lr_ratio : float
        Learning rate of a segmentation encoder as a fraction of that of the new head, in [0, 1].
    batch_size : int
        Patches per step.
    n_patches : int or None
        Patches drawn per epoch, all of them if None.
    augmentation : Augmentation
        Random changes of the patches that are trained on.
    encoder : str
        Name of a timm encoder with four stages, that of the U-Net.
    pretrained : bool
        Whether an encoder from scratch starts from timm's weights.

    Raises
    ------
    TypeError, ValueError
        If the ratio lies outside [0, 1], a count or the seed is not a whole number in its range,
        ``lr_factors`` are given, the encoder is not that of the U-Net, a network is both taken
        over and untrained, or frozen and not taken over.
    """

    seed: int
    patches: PatchSource
    segmentation: Train | None = None
    frozen: bool = False
    untrained: bool = False
    train: TrainConfig = field(default_factory=TrainConfig)
    encoder_lr_ratio: float = 0.1
    batch_size: int = 16
    n_patches: int | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    encoder: str = "resnet34"
    pretrained: bool = False
    headline = ("accuracy",)
    title_format = "Classify, {0.initialisation}, seed {0.seed}"

    def __post_init__(self) -> None:
        check_range("encoder_lr_ratio", self.encoder_lr_ratio, low=0, high=1)
        check_training(self)
        if self.train.lr_factors:
            raise ValueError(
                f"Invalid lr_factors {dict(self.train.lr_factors)} of a classifier. Must be empty: "
                "encoder_lr_ratio decides about them."
            )
        if self.segmentation is not None and self.untrained:
            raise ValueError(
                "Invalid untrained with a segmentation network. Must be one of the two."
            )
        if self.segmentation is None and self.frozen:
            raise ValueError(
                "Invalid frozen without a segmentation network. Must have its encoder."
            )
        if self.segmentation is not None and self.segmentation.encoder != self.encoder:
            raise ValueError(
                f"Invalid encoder {self.encoder!r}. Must be {self.segmentation.encoder!r}, that of "
                "the segmentation network."
            )

    @property
    def initialisation(self) -> str:
        """One of `INITIALISATIONS`."""
        if self.segmentation is not None:
            return "frozen" if self.frozen else "segmentation"
        return "untrained" if self.untrained else "classification"

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Train, or go on after the last finished epoch of a killed run, and score.

        Returns
        -------
        dict
            ``accuracy``, ``balanced_accuracy`` and ``auc`` (one class against the rest, mean over
            the classes), both None where a class has no test patch, ``calibration_error``
            (expected, 15 bins), ``confusion`` (rows: truth) and the names of the ``classes``.
            ``threshold``: probability of the second of two classes above which validation patches
            get the best balanced accuracy; ``balanced_accuracy_chosen``: that of the test patches
            at it. Both are None without such patches of both classes.
            ``weights.safetensors``, ``history.csv`` (unless untrained) and ``predictions.csv``
            are in the folder.
        """
        train, test = self.patches.train(self.seed), self.patches.test(self.seed)
        watched = self.patches.validation(self.seed)
        _check_classes(train, test)
        model = self._build(len(train.classes), parents)
        factors = {"": self.encoder_lr_ratio, "head.": 1.0} if self.segmentation else {}
        settings = replace(self.train, lr_factors=factors)
        batches = LabelBatches(
            train,
            batch_size=self.batch_size,
            seed=self.seed,
            n_patches=None if self.untrained else self.n_patches,
            augmentation=None if self.untrained else self.augmentation,
        )
        if self.untrained:
            device = resolve_device(settings)
            update_bn(batches.epoch(0), model.to(device), device)
            save_tensors(folder / WEIGHTS, model.state_dict())
        else:
            fit(model, batches, cross_entropy, settings, folder=folder)

        def predict(patches: LabelledPatches) -> tuple[Tensor, Tensor]:
            logits = predict_patches(
                model,
                patches.tensors(),
                batch_size=4 * self.batch_size,
                precision=settings.precision,
            )
            return logits.softmax(dim=1), torch.from_numpy(patches.labels)

        probabilities, labels = predict(test)
        _save_predictions(test, probabilities, folder)
        threshold = None if watched is None else choose_threshold(*predict(watched))
        parts = {"training": train, "validation": watched, "test": test}
        return {
            **score_probabilities(probabilities, labels),
            "threshold": threshold,
            "balanced_accuracy_chosen": score_threshold(probabilities, labels, threshold),
            "classes": train.classes,
            "data": {name: part.content_hash for name, part in parts.items() if part is not None},
        }

    def _build(self, n_classes: int, parents: Parents) -> SaltClassifier:
        """Network that the training starts from."""
        if self.segmentation is not None:
            unet = load_model(parents["segmentation"])
            model = SaltClassifier.from_segmentation(unet, n_classes, seed=self.seed)
            return model.freeze_encoder() if self.frozen else model
        pretrained = self.pretrained and not self.untrained
        return SaltClassifier(n_classes, self.encoder, pretrained=pretrained, seed=self.seed)


def compare_initialisations(task: Classify, segmentation: Train) -> list[Classify]:
    """
    Return a classifier of each of `INITIALISATIONS`, in their order.

    The one from scratch is trained for as many steps as the segmentation network and the
    classifier with its encoder together: what differs is what the encoder was trained for.

    Parameters
    ----------
    task : Classify
        With the settings of all of them. Either it or its patches say how many an epoch has.
    segmentation : Train
        Network whose encoder is taken over. It says how many patches an epoch has.

    Raises
    ------
    ValueError
        If it does not.
    """
    if segmentation.n_patches is None:
        raise ValueError("Invalid n_patches None of a segmentation network. Must be a number.")
    n_steps = segmentation.train.epochs * -(-segmentation.n_patches // segmentation.batch_size)
    n_patches = task.n_patches or task.patches.n_train  # type: ignore[union-attr]
    more = round(n_steps / -(-n_patches // task.batch_size))
    tuned, scratch = replace(task, segmentation=segmentation), replace(task, segmentation=None)
    longer = replace(task.train, epochs=task.train.epochs + more)
    return [
        replace(tuned, frozen=True),
        tuned,
        replace(scratch, train=longer),
        replace(scratch, untrained=True),
    ]


def load_classifier(outcome: Outcome) -> SaltClassifier:
    """Network of a finished `Classify` with its last weights, in eval mode on the CPU."""
    model = SaltClassifier(len(outcome.scores["classes"]), outcome.task.encoder)
    model.load_state_dict(outcome.load_tensors("weights"))
    return model.eval()


def load_predictions(outcome: Outcome) -> pd.DataFrame:
    """
    Load what a finished `Classify` predicted.

    Returns
    -------
    DataFrame
        One row per test patch: ``label``, ``fraction`` of salt where known, the probability of
        each class by its name, ``confidence``, the largest of them, and whether it is ``correct``.
    """
    table = pd.read_csv(outcome.folder / PREDICTIONS)
    probabilities = table[outcome.scores["classes"]].to_numpy()
    correct = probabilities.argmax(axis=1) == table["label"]
    return table.assign(confidence=probabilities.max(axis=1), correct=correct)


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
        As `Classify` returns them.
    """
    # Slow to import: it brings all of torchvision along.
    from torchmetrics.functional import classification as metrics

    given = (probabilities, labels, probabilities.shape[1])
    scores = {
        "accuracy": metrics.multiclass_accuracy(*given, average="micro"),
        "calibration_error": metrics.multiclass_calibration_error(*given, n_bins=15),
        "confusion": metrics.multiclass_confusion_matrix(*given),
    }
    if labels.bincount(minlength=probabilities.shape[1]).all():
        scores["balanced_accuracy"] = metrics.multiclass_accuracy(*given, average="macro")
        scores["auc"] = metrics.multiclass_auroc(*given, average="macro")
    unknown: dict[str, Any] = {"balanced_accuracy": None, "auc": None}
    return unknown | {name: score.tolist() for name, score in scores.items()}


def choose_threshold(probabilities: Tensor, labels: Tensor) -> float | None:
    """
    Choose the probability of the second of two classes that parts them best.

    Parameters
    ----------
    probabilities : Tensor of shape (n, 2)
        In [0, 1], summing to 1.
    labels : int64 Tensor of shape (n,)
        True classes, 0 or 1.

    Returns
    -------
    float or None
        Of those with the largest balanced accuracy the one next to 0.5; None where a class has no
        patch.
    """
    positive = probabilities[:, 1].double()
    if not labels.bincount(minlength=2).all():
        return None
    values = torch.unique(positive)
    cuts = torch.cat([values.new_zeros(1), (values[1:] + values[:-1]) / 2, values.new_ones(1)])
    above = positive > cuts[:, None]  # (n_cuts, n)
    recalls = [(above == bool(k))[:, labels == k].double().mean(dim=1) for k in (0, 1)]
    gain = recalls[0] + recalls[1]
    best = cuts[gain >= gain.max() - 1e-12]
    return float(best[(best - 0.5).abs().argmin()])


def score_threshold(probabilities: Tensor, labels: Tensor, threshold: float | None) -> float | None:
    """Balanced accuracy of two classes at a threshold of the second; None without one."""
    if threshold is None or not labels.bincount(minlength=2).all():
        return None
    right = (probabilities[:, 1] > threshold) == labels.bool()
    return float(torch.stack([right[labels == k].double().mean() for k in (0, 1)]).mean())


def _check_classes(train: LabelledPatches, test: LabelledPatches) -> None:
    if train.classes != test.classes:
        raise ValueError(
            f"Invalid classes {train.classes} to train on and {test.classes} to test. Must be the "
            "same."
        )
    for label, name in enumerate(train.classes):
        if label not in train.labels:
            raise ValueError(f"No training patch of class {name!r}. Must be at least one.")


def _save_predictions(patches: LabelledPatches, probabilities: Tensor, folder: Path) -> None:
    columns: dict[str, Any] = {"label": patches.labels}
    if patches.fractions is not None:
        columns["fraction"] = patches.fractions
    columns |= dict(zip(patches.classes, probabilities.double().numpy().T, strict=True))
    write_text(folder / PREDICTIONS, pd.DataFrame(columns).to_csv(index=False))
