"""What the tasks that explain classifiers share: run, device, segmenter and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from thesis_lib.model import SaltClassifier
from thesis_lib.study.classification import ClassifierRun
from thesis_lib.study.runs import Run
from thesis_lib.study.segmentation import load_model
from thesis_lib.training import pick_precision, predict_patches


def pick_device() -> torch.device:
    """GPU where there is one; not Apple's, which lacks the float64 of spectra."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def make_run(
    task: str,
    network: ClassifierRun,
    config: Any,
    data_hash: str,
    segmenter: Path | None,
    **settings: Any,
) -> Run:
    """
    Run that explains a classifier: known by the classifier's key, settings, patches, segmenter.

    ``config`` is a dataclass with a field ``precision``, which is resolved for this machine;
    ``settings`` replace its fields, or are added to them.
    """
    settings = {
        **asdict(config),
        "precision": pick_precision(config.precision, pick_device()),
        "network": network.outcome.folder.name,
        "segmenter": None if segmenter is None else segmenter.name,
        **settings,
    }
    return Run(task, settings, data_hash, network.seed)


def load_network(network: ClassifierRun, precision: str) -> SaltClassifier:
    """Network of a classifier on the best device, in the layout that suits the precision."""
    model = network.load().to(pick_device())
    if pick_precision(precision, pick_device()) == "bf16-mixed":
        model.to(memory_format=torch.channels_last)
    return model


def predict_salt(segmenter: Path, images: Tensor) -> Tensor:
    """
    Probability of salt in z-scored images (n, 1, H, W), of the same shape and device.

    ``segmenter`` is the folder of a finished segmentation run.
    """
    model = load_model(segmenter).to(images.device)
    return torch.sigmoid(predict_patches(model, images, precision="32-true")).to(images)


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of a table as JSON holds them, NaN as null."""
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def read_records(
    records: Sequence[Mapping[str, Any]], labels: Sequence[str], measures: Sequence[str]
) -> pd.DataFrame:
    """
    Turn rows from `to_records` into a table again.

    ``labels`` are the first columns, kept as they are; null in the columns ``measures`` is NaN.
    """
    table = pd.DataFrame(records, columns=[*labels, *measures])
    return table.astype(dict.fromkeys(measures, float))
