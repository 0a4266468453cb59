"""The classifier study: every route with every seed, on the encoders of a loss study."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from thesis_lib._checks import check_choice, check_count, check_range
from thesis_lib.data import Augmentation, LabelledPatches, cut_patches
from thesis_lib.study.claim_tables import ENTRY_NAMES
from thesis_lib.study.classification import (
    ROUTES,
    ClassificationConfig,
    ClassifierRun,
    train_routes,
)
from thesis_lib.study.loss_study import LossStudy, run_losses
from thesis_lib.study.runs import write_json
from thesis_lib.study.segmentation import read_config, tuplify
from thesis_lib.study.splits import StudyData, load_splits
from thesis_lib.study.tables import format_cell
from thesis_lib.training import TrainConfig
from thesis_lib.xai.measures import has_spectrum

MEASURES = ("accuracy", "balanced_accuracy", "auc", "calibration_error")
MAX_SHARE = 0.8  # of salt in a patch that is looked at
NEAR = 0.1  # share of salt up to which a patch is near the threshold

Study = TypeVar("Study")


@dataclass(frozen=True)
class ClassifierStudy:
    """
    Which classifiers are compared, on the volumes and encoders of a loss study.

    Parameters
    ----------
    loss_study : LossStudy
        Where volumes, seeds, size of patches and encoders come from.
    loss : str
        The loss of it whose encoders route "segmentation" takes.
    config : ClassificationConfig
        Settings that all classifiers share.
    threshold : float
        Share of salt above which a patch is salt, in [0, 1].
    n_train_patches, n_test_patches : int
        Patches drawn from the training volumes of each seed, and from the unseen test volumes,
        the same ones for every seed.

    Raises
    ------
    ValueError
        If the loss is none of the loss study's, the encoders differ, or a value is out of range.
    """

    loss_study: LossStudy
    loss: str
    config: ClassificationConfig
    threshold: float = 0.2
    n_train_patches: int = 1024
    n_test_patches: int = 512

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, self.loss_study.losses)
        check_choice("encoder", self.config.encoder, (self.loss_study.config.encoder,))
        check_range("threshold", self.threshold, low=0, high=1)
        check_count("n_train_patches", self.n_train_patches)
        check_count("n_test_patches", self.n_test_patches)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the loss study."""
        return self.loss_study.seeds


def load_patches(study: ClassifierStudy, *, seed: int) -> tuple[LabelledPatches, LabelledPatches]:
    """
    Patches of one seed, of the classes "background" and "salt".

    Returns
    -------
    train, test : LabelledPatches
        From the training volumes of the seed, and from the test volumes.

    Raises
    ------
    ValueError
        If the volumes hold fewer patches than asked for.
    """
    splits = load_splits(study.loss_study.data, seed=seed)
    shape = study.loss_study.config
    cut: dict[str, Any] = {"patch": shape.patch, "stride": shape.stride, "axes": shape.axes}
    cut["threshold"] = study.threshold
    return (
        cut_patches(splits.train, **cut, n_patches=study.n_train_patches, seed=seed),
        cut_patches(splits.test, **cut, n_patches=study.n_test_patches, seed=0),
    )


def run_classifiers(
    study: ClassifierStudy, *, root: str | os.PathLike[str] = "runs", progress: bool = True
) -> list[ClassifierRun]:
    """
    Compute the classifiers of a study that are not there yet, and return all of them.

    Segmentation runs of the loss study that are not there yet are computed as well.

    Parameters
    ----------
    study : ClassifierStudy
        What to compare.
    root : path
        Folder of all runs.
    progress : bool
        Whether to print a line when a run ends, and draw progress bars inside of it.

    Returns
    -------
    list of ClassifierRun
        By seed, then in the order of `ROUTES`.
    """
    runs: list[ClassifierRun] = []
    for seed, encoder in find_encoders(study, root=root, progress=progress).items():
        train, test = load_patches(study, seed=seed)
        found = train_routes(
            study.config,
            train,
            test,
            seed=seed,
            segmentation=encoder,
            root=root,
            progress=progress,
        )
        runs += [found[route] for route in ROUTES]
    return runs


def find_encoders(
    study: ClassifierStudy, *, root: str | os.PathLike[str] = "runs", progress: bool = False
) -> dict[int, Path]:
    """Folder of the segmentation run of each seed; those that are not there yet are computed."""
    losses = replace(study.loss_study, losses=(study.loss,))
    runs = run_losses(losses, root=root, progress=progress)
    return {run.seed: run.outcome.folder for run in runs}


def find_segmenter(
    study: ClassifierStudy, *, seed: int, root: str | os.PathLike[str] = "runs"
) -> Path | None:
    """
    Folder of a segmentation run that can judge what the networks of a seed made.

    It is that of the next seed, with weights and earths of its own. Where there is one seed alone,
    it is that of another loss: not independent, since the losses of a seed share first weights and
    patches. None where there is one loss as well.

    Raises
    ------
    ValueError
        If the study has no such seed.
    """
    check_choice("seed", seed, study.seeds)
    following = (study.seeds * 2)[study.seeds.index(seed) + 1]
    losses = [name for name in study.loss_study.losses if name != study.loss]
    if following != seed:
        chosen = replace(study.loss_study, losses=(study.loss,), seeds=(following,))
    elif losses:
        chosen = replace(study.loss_study, losses=(losses[0],))
    else:
        return None
    (run,) = run_losses(chosen, root=root, progress=False)
    return run.outcome.folder


def pick_patches(study: ClassifierStudy, *, n_patches: int, seed: int = 0) -> LabelledPatches:
    """
    Unseen patches to look at: those of background first, then as many (or one more) of salt.

    Patches with salt are not full of it: at most four fifths. Each patch has a spectrum, so that
    its inversions can be measured: it is not constant, for instance.

    Parameters
    ----------
    study : ClassifierStudy
        Its test patches are drawn from.
    n_patches : int
        Number of patches, at least 1.
    seed : int
        Decides which.

    Raises
    ------
    ValueError
        If there are fewer of a class.
    """
    check_count("n_patches", n_patches)
    _, test = load_patches(study, seed=study.seeds[0])
    shares, signal = test.shares, has_spectrum(test.tensors()).numpy()
    assert shares is not None
    order = np.random.default_rng(seed).permutation(len(test))
    chosen = []
    for label, n_wanted in enumerate((n_patches // 2, -(-n_patches // 2))):
        fitting = order[((test.labels == label) & signal & (shares <= MAX_SHARE))[order]]
        check_count(f"number of {test.classes[label]} patches", n_wanted, low=0, high=len(fitting))
        chosen.append(fitting[:n_wanted])
    return test.take(np.concatenate(chosen))


def classifier_table(runs: Sequence[ClassifierRun]) -> pd.DataFrame:
    """Scores of classifiers, a row a network: columns ``route``, ``seed`` and one a measure."""
    rows = [
        {"route": run.route, "seed": run.seed}
        | {name: run.outcome.scores[name] for name in MEASURES}
        for run in runs
    ]
    return pd.DataFrame(rows)


def format_classifiers(table: pd.DataFrame) -> pd.DataFrame:
    """
    Lay out scores of classifiers for readers, a row a route.

    Parameters
    ----------
    table : DataFrame
        See `classifier_table`.

    Returns
    -------
    DataFrame of str
        Means, and ± one standard deviation where there are several seeds.
    """
    return pd.DataFrame(
        {"Network": ENTRY_NAMES[str(route)]}
        | {
            name.replace("_", " ").capitalize().replace("Auc", "AUC"): format_cell(
                rows[name].astype(float), digits=4
            )
            for name in MEASURES
        }
        for route, rows in table.groupby("route", sort=False)
    )


def bin_accuracy(run: ClassifierRun, column: str, *, n_bins: int = 10) -> pd.DataFrame:
    """
    Accuracy of a classifier against its confidence, or against the share of salt.

    Parameters
    ----------
    run : ClassifierRun
        A finished run.
    column : {"confidence", "share"}
        Confidence is the probability of the class that is predicted.
    n_bins : int
        Bins of equal width between 0 and 1; those without a patch are left out.

    Returns
    -------
    DataFrame
        One row a bin: mean of ``column``, ``accuracy``, ``count`` of patches.

    Raises
    ------
    ValueError
        If the column is another, or the shares are not known.
    """
    marked = _mark(run)
    check_choice("column", column, [name for name in ("confidence", "share") if name in marked])
    place = (marked[column] * check_count("n_bins", n_bins)).clip(upper=n_bins - 1).astype(int)
    bins = marked.groupby(place.to_numpy())
    table = bins.agg(
        **{column: (column, "mean"), "accuracy": ("correct", "mean"), "count": ("correct", "size")}
    )
    return table.reset_index(drop=True)


def compare_near(runs: Sequence[ClassifierRun], *, threshold: float = 0.2) -> pd.DataFrame:
    """
    Accuracy on patches whose share of salt is near the threshold, and on all others.

    Parameters
    ----------
    runs : sequence of ClassifierRun
        Classifiers of one route, one a seed, on patches with masks.
    threshold : float
        Share of salt that splits the classes; near is within `NEAR` of it.

    Returns
    -------
    DataFrame
        Columns ``entry`` ("near" or "far"), ``seed`` and ``accuracy``.

    Raises
    ------
    ValueError
        If the shares of a run are not known.
    """
    rows = []
    for run in runs:
        marked = _mark(run)
        if "share" not in marked:
            raise ValueError(f"Run {run.outcome.folder.name} has no shares of salt. Must have.")
        near = (marked["share"] - threshold).abs() <= NEAR
        for entry, among in (("near", near), ("far", ~near)):
            accuracy = marked["correct"][among].mean()
            rows.append({"entry": entry, "seed": run.seed, "accuracy": accuracy})
    return pd.DataFrame(rows)


def _mark(run: ClassifierRun) -> pd.DataFrame:
    """Predictions of a run with their confidence, and whether they are correct."""
    table = run.predictions
    probabilities = table[list(run.classes)].to_numpy()
    correct = probabilities.argmax(axis=1) == table["label"]
    return table.assign(confidence=probabilities.max(axis=1), correct=correct)


def write_study(path: str | os.PathLike[str], study: LossStudy | ClassifierStudy) -> None:
    """Write a study as JSON, for the chapters that go on from it."""
    write_json(path, {type(study).__name__: asdict(study)})


def read_loss_study(path: str | os.PathLike[str]) -> LossStudy:
    """
    Read a loss study that `write_study` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file holds something else, or is damaged.
    """
    return _read(path, LossStudy.__name__, _build_loss_study)


def read_classifier_study(path: str | os.PathLike[str]) -> ClassifierStudy:
    """
    Read a classifier study that `write_study` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file holds something else, or is damaged.
    """
    return _read(path, ClassifierStudy.__name__, _build_classifier_study)


def _build_classifier_study(content: Mapping[str, Any]) -> ClassifierStudy:
    config = content["config"] | {
        "train": TrainConfig(**content["config"]["train"]),
        "augmentation": Augmentation(**content["config"]["augmentation"]),
    }
    parts = {
        "loss_study": _build_loss_study(content["loss_study"]),
        "config": ClassificationConfig(**config),
    }
    return ClassifierStudy(**{**content, **parts})


def _read(
    path: str | os.PathLike[str], kind: str, build: Callable[[Mapping[str, Any]], Study]
) -> Study:
    if not Path(path).is_file():
        raise FileNotFoundError(f"No study {path}. Run the chapter that writes it first.")
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"Cannot read {path}: {error}. Run the chapter that writes it again."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get(kind), dict):
        raise ValueError(f"Invalid study {path}. Must be a {kind}, as write_study leaves it.")
    try:
        return build(content[kind])
    except (KeyError, TypeError) as error:  # a field that is missing, unknown or of another type
        raise ValueError(
            f"Invalid study {path}: {error}. Must be as this version of the library writes it: run "
            "the chapter that writes it again."
        ) from error


def _build_loss_study(content: Mapping[str, Any]) -> LossStudy:
    parts = {
        "data": StudyData(**tuplify(content["data"])),
        "config": read_config(content["config"]),
    }
    return LossStudy(**(tuplify(content) | parts))
