"""Networks that are trained to hold on the next survey."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

from saltvolumes._checks import check_choice, check_count
from thesis_lib._networks import first_weight
from thesis_lib.losses import LOSSES
from thesis_lib.patches import Augmentation, ChangedBatches, FlawedEarths, SurveyChanges
from thesis_lib.study.segmentation import Train, build_model
from thesis_lib.study.tasks import Parents, save_tensors
from thesis_lib.training import History, Zoomed, fit
from thesis_lib.training.config import resolve_device
from thesis_lib.training.folder import RunFolder

AVERAGE = "average.safetensors"
AVERAGED = "averaged weights"
# What was tried for surveys of another size, polarity, gain and noise, all of it at once; chapter 7
# takes one part away at a time, or adds one more.
TRIED = SurveyChanges(free=True, zoom=(0.25, 0.8), stretch=1.5, gain_walk_db=6.0)
TRIED_ROUGH = Augmentation(polarity=0.5, noise=0.4)
# What stayed, and what `thesis train --robust` trains with.
ELSEWHERE = replace(TRIED, free=False)
ROUGH = replace(TRIED_ROUGH, noise=0.1)
STATISTICS = 0.5  # of BatchNorm, on the way to the survey that such a network predicts
LEAST_GAIN = 0.02  # in Dice, of a change that comes in
ZOOMS = (0.35, 0.42, 0.5)  # of the sections that such a network predicts
# Ranges wider than those of any preset: earths that differ in image and texture as surveys do.
BROAD: dict[str, Any] = {
    "interior": (0.002, 0.1),
    "stringers": (0.0, 0.5),
    "sutures": (0.0, 0.2),
    "rugosity": (0.005, 0.04),
    "water": (-0.3, 0.2),
    "fold": (0.005, 0.05),
    "upturn": (0.2, 0.95),
    "contrast": (0.02, 0.1),
    "layer_wavelengths": (0.04, 0.3),
    "package": (0.03, 0.2),
    "frequency_hz": (3.5, 8.0),
    "octaves": (1.5, 3.4),
    "shadow": (0.0, 0.9),
    "noise": (0.01, 0.4),
    "swings": (0.0, 0.2),
    "gain": (0.0, 0.7),
}
# One part less of that, or one more change: fields of what a training consists of.
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "no positions off the grid": {"changes": {"free": False}},
    "no zoom": {"changes": {"zoom": (1.0, 1.0), "stretch": 1.0}},
    "no gain": {"changes": {"gain_walk_db": 0.0}},
    "no other polarity": {"augmentation": {"polarity": 0.0}},
    "less noise": {"augmentation": {"noise": 0.1}},
    "rotated phase": {"changes": {"phase_deg": 90.0}},
    "narrower band": {"changes": {"high_cut": 0.4}},
    "coherent noise": {"changes": {"plane_noise": 0.5}},
    "broader earths": {"data": {"changes": BROAD}},
    AVERAGED: {},
}
# Flaws of real images that earths lack, by the name of the variant that adds one.
FLAWED = {
    "multiples": "multiples",
    "acquisition footprint": "footprint",
    "smeared flanks": "smear",
    "wavelet that changes along depth": "wavelet",
    "drag at faults": "drag",
}
VARIANTS |= {name: {"data": {"flaws": {flaw: 1.0}}} for name, flaw in FLAWED.items()}


@dataclass(frozen=True)
class TrainRobust(Train):
    """
    Train a network on patches that are changed as surveys differ.

    Without changes it is `Train`, scored on other surveys.

    Parameters
    ----------
    changes : SurveyChanges
        What is changed, beside the ``augmentation``.
    n_averaged : int
        Epochs at the end of the schedule whose weights are averaged [1]_; 0 keeps the last ones.
    **others
        As in `Train`.

    Raises
    ------
    TypeError, ValueError
        As `Train`, or if more epochs are to be averaged than there are.

    References
    ----------
    .. [1] Izmailov et al. (2018). Averaging weights leads to wider optima and better
       generalization. https://doi.org/10.48550/arXiv.1803.05407
    """

    changes: SurveyChanges = field(default_factory=SurveyChanges)
    n_averaged: int = 0
    title_format = "Train for elsewhere, {0.loss}, {0.encoder}, seed {0.seed}"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("n_averaged", self.n_averaged, low=0, high=self.train.epochs)

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:  # noqa: ARG002
        """
        Train, or go on after the last finished epoch of a killed run.

        Returns
        -------
        dict
            ``train_loss`` of the last epoch; ``history.csv`` and ``weights.safetensors`` are in the
            folder.
        """
        volumes = self.data.train(self.seed)
        batches = make_batches(self)
        model, loss = build_model(self), LOSSES[self.loss]
        average = _Average(model, self, folder)
        history = fit(model, batches, loss, self.train, validate=average, folder=folder)
        if self.n_averaged:
            average.finish(batches, history)
        hashes = " ".join(str(volume.attrs["content_hash"]) for volume in volumes)
        return {"train_loss": history.rows[-1]["train_loss"], "data": {"training": hashes}}


def vary(task: TrainRobust, name: str) -> TrainRobust:
    """
    Return a training with one of `VARIANTS`; averaged are its last quarter, two epochs at least.

    Raises
    ------
    ValueError
        If there is no such variant.
    """
    check_choice("variant", name, tuple(VARIANTS))
    changed: dict[str, Any] = {}
    for changed_field, values in VARIANTS[name].items():
        given = vars(part := getattr(task, changed_field))
        if "flaws" in values:
            flaws = given.get("flaws", {}) | values["flaws"]
            changed[changed_field] = FlawedEarths(**given | {"flaws": flaws})
        else:
            changed[changed_field] = replace(part, **values)
    if name == AVERAGED:
        changed["n_averaged"] = min(max(task.train.epochs // 4, 2), task.train.epochs)
    return replace(task, **changed)


def list_views(
    model: nn.Module, task: Train, zooms: Sequence[float] = ()
) -> list[tuple[nn.Module, Train]]:
    """
    List the ways in which a network looks at sections, whose predictions are averaged.

    Parameters
    ----------
    model : Module
        The network.
    task : Train
        What trained it.
    zooms : sequence of float
        Sizes at which it sees them, as of :class:`thesis_lib.training.Zoomed`. By default those of
        `ZOOMS` for a network that was shown windows of several sizes, and 1 for any other.

    Returns
    -------
    list of tuple of (Module, Train)
        For each size the network, and the task with the patch and stride to predict with.
    """
    if not zooms and isinstance(task, TrainRobust) and task.changes.zoom != (1.0, 1.0):
        zooms = ZOOMS
    views: list[tuple[nn.Module, Train]] = []
    for zoom in zooms or (1.0,):
        if zoom == 1:
            views.append((model, task))
            continue
        zoomed = Zoomed(model, zoom)
        height, width = zoomed.widen(task.patch)
        stride = -(-height // 2), -(-width // 2)
        views.append((zoomed, replace(task, patch=(height, width), stride=stride)))
    return views


def make_batches(task: TrainRobust, n_patches: int | None = None) -> ChangedBatches:
    """Batches that a network is trained on, of ``n_patches`` an epoch if that is given."""
    return ChangedBatches(
        task.data.train(task.seed),
        patch=task.patch,
        stride=task.stride,
        axes=task.axes,
        batch_size=task.batch_size,
        n_patches=n_patches or task.n_patches,
        augmentation=task.augmentation,
        seed=task.seed,
        changes=task.changes,
    )


class _Average:
    """Mean of the weights after the last epochs, which a killed run finds again."""

    def __init__(self, model: nn.Module, task: TrainRobust, folder: Path) -> None:
        self.task, self.folder, self.averaged = task, folder, AveragedModel(model)
        self.first = task.train.epochs - task.n_averaged  # epochs before the first that counts
        if (folder / AVERAGE).exists():
            self.averaged.load_state_dict(load_file(folder / AVERAGE))
        self.n_seen = _count_finished(folder / "resume.safetensors")

    def __call__(self, model: nn.Module) -> dict[str, float]:
        """Take the weights in where the epoch is one of the last, and was not taken in before."""
        self.n_seen += 1
        if self.n_seen > self.first + int(self.averaged.n_averaged):
            self.averaged.to(first_weight(model).device).update_parameters(model)
            save_tensors(self.folder / AVERAGE, self.averaged.state_dict())
        return {}

    def finish(self, batches: ChangedBatches, history: History) -> None:
        """Replace the last weights by the mean, with statistics of BatchNorm that fit it."""
        model, device = self.averaged.module, resolve_device(self.task.train)
        update_bn(batches.epoch(0), model.to(device), device)
        RunFolder(self.folder, self.task.train).save_finished(model, history.rows)


def _count_finished(resume: Path) -> int:
    """Epochs that a run which is under way has finished."""
    if not resume.exists():
        return 0
    with safe_open(resume, framework="pt") as file:
        return len(json.loads(file.metadata()["progress"])["rows"])
