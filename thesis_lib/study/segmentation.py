"""Segmentation: training a network, and scoring it on unseen volumes or sections."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from torch import nn

from saltvolumes import middle_section, spacing_m, vertical_dim
from saltvolumes._checks import check_choice, check_count, check_range
from saltvolumes._files import replace_when_done
from saltvolumes.volume import LATERAL, is_large
from thesis_lib.losses import LOSSES
from thesis_lib.metrics import dice_score, score_volume
from thesis_lib.model import SaltUNet
from thesis_lib.patches import Augmentation, Earths, PatchBatches
from thesis_lib.patches.volumes import Data
from thesis_lib.patching import (
    check_axes,
    check_patches,
    grid_sections,
    section_dims,
    split_sections,
)
from thesis_lib.study.tasks import Outcome, Parents, Task
from thesis_lib.training import SlabStore, TrainConfig, fit, predict_volume, resolve_precision

THRESHOLD = 0.5  # the same for every loss, so that no score selects it
N_VALIDATION_SECTIONS = 8  # of the held-out volume, watched after every epoch
SECTIONS = "sections.nc"


@dataclass(frozen=True)
class Train(Task):
    """
    Train one network. Networks of a study differ in loss, seed and learning rate only.

    Parameters
    ----------
    seed : int
        Seed of weights, patch order and augmentation, and of all synthetic earths.
    loss : str
        Key of :data:`thesis_lib.losses.LOSSES`.
    data : Earths or Survey
        Volumes to train on and to watch.
    train : TrainConfig
        Optimiser, schedule, precision; ``"auto"`` becomes what it means on this machine.
    patch, stride : tuple of two int
        Height and width of patches and the steps between them, in samples.
    axes : tuple of str
        Directions in which sections are cut, for training and for prediction.
    batch_size : int
        Patches per step.
    n_patches : int or None
        Patches drawn per epoch, all of them if None.
    augmentation : Augmentation
        Random changes of the patches that are trained on.
    encoder : str
        Name of a timm encoder with four stages.
    pretrained : bool
        Whether the encoder starts from timm's weights.

    Raises
    ------
    TypeError, ValueError
        If the loss or an axis is unknown, there is no axis or one twice, or a count or the seed is
        not a whole number in its range.
    """

    seed: int
    loss: str
    data: Data
    train: TrainConfig = field(default_factory=TrainConfig)
    patch: tuple[int, int] = (64, 64)
    stride: tuple[int, int] = (32, 32)
    axes: tuple[str, ...] = ("inline", "crossline")
    batch_size: int = 16
    n_patches: int | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    encoder: str = "resnet34"
    pretrained: bool = False
    title_format = "Train {0.loss}, seed {0.seed}"

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, tuple(LOSSES))
        check_axes(self.axes)
        check_patches(self.patch, self.stride)
        check_training(self)

    def check(self) -> None:
        """Refuse a volume to watch that no patch fits into."""
        if (volume := self.data.validation(self.seed)) is not None:
            _check_patches(self, volume, _pick_axis(volume, self))

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:  # noqa: ARG002
        """
        Train, or go on after the last finished epoch of a killed run.

        Returns
        -------
        dict
            ``train_loss`` and, where a volume is watched, ``validation_dice`` of the last epoch;
            ``history.csv`` and ``weights.safetensors`` are in the folder.
        """
        volumes, watched = self.data.train(self.seed), self.data.validation(self.seed)
        validate = None if watched is None else _make_validator(self, watched)
        batches = PatchBatches(
            volumes,
            patch=self.patch,
            stride=self.stride,
            axes=self.axes,
            batch_size=self.batch_size,
            n_patches=self.n_patches,
            augmentation=self.augmentation,
            seed=self.seed,
        )
        model, loss = build_model(self), LOSSES[self.loss]
        last = fit(model, batches, loss, self.train, validate=validate, folder=folder).rows[-1]
        scores = {name: last[name] for name in ("train_loss", "validation_dice") if name in last}
        held_out = () if watched is None else (watched,)
        return scores | {"data": _hash_data(training=volumes, validation=held_out)}


@dataclass(frozen=True)
class Score(Task):
    """
    Score a network in 3-D on volumes that it never saw: a row of Table 1.

    Parameters
    ----------
    network : Train
        The network.
    n_earths : int
        Number of unseen earths, of the network's seed; a survey has its test lines.
    tolerance_m : float
        Tolerance of the surface Dice, in m.
    velocity_m_s : float or None
        Turns two-way time into metres; without it a time volume gets no distances.
    """

    network: Train
    n_earths: int = 1
    tolerance_m: float = 50.0
    velocity_m_s: float | None = None
    headline = ("dice", "perimetric_similarity")
    title_format = "Score {0.network.loss}, seed {0.network.seed}"

    def __post_init__(self) -> None:
        check_count("n_earths", self.n_earths)
        check_range("tolerance_m", self.tolerance_m, low=0)
        if self.velocity_m_s is not None:
            check_range("velocity_m_s", self.velocity_m_s, low=0, exclusive=True)

    def check(self) -> None:
        """Refuse test volumes that no patch fits into."""
        for volume in self.network.data.test(self.network.seed, self.n_earths):
            for axis in self.network.axes:
                _check_patches(self.network, volume, axis)

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Predict and score every test volume.

        Returns
        -------
        dict
            Means of the scores over the volumes, and ``volumes``, one dict of scores each. The
            middle sections of the first volume are kept in ``sections.nc``, for figures.
        """
        model = load_model(parents["network"])
        volumes = self.network.data.test(self.network.seed, self.n_earths)
        scores = []
        for index, volume in enumerate(volumes):
            large = is_large(volume["amplitude"])
            store = SlabStore(folder / f"predicted{index}", self.key) if large else None
            predicted = predict(model, volume, self.network, store=store)
            if index == 0:
                _save_sections(_cut_middle(predicted, self.network.axes), folder)
            scores.append(score_prediction(predicted, volume, self.velocity_m_s, self.tolerance_m))
            if store is not None:
                store.remove()
        # A score that is unknown (None) for one of the volumes has no mean.
        each = {name: np.array([row[name] for row in scores], float) for name in scores[0]}
        means = {name: values.mean() for name, values in each.items()}
        return {**means, "volumes": scores, "data": _hash_data(test=volumes)}


@dataclass(frozen=True)
class ScoreSections(Task):
    """
    Score a network on sections of a volume of another kind: transfer to a survey.

    Parameters
    ----------
    network : Train
        The network.
    target : Earths or Survey
        Scored and never trained on. Of earths, the first unseen one of the network's seed.
    axis : {"inline", "crossline"}
        Direction of the sections; ``"crossline"`` means sections at a fixed crossline.
    n_sections : int
        Sections at most, evenly spaced among those with salt.
    """

    network: Train
    target: Data
    axis: str = "crossline"
    n_sections: int = 8
    headline = ("dice",)
    title_format = "Transfer, {0.network.loss}, seed {0.network.seed}"

    def __post_init__(self) -> None:
        check_choice("axis", self.axis, tuple(LATERAL))
        check_count("n_sections", self.n_sections)

    def check(self) -> None:
        """Refuse a target without a mask or salt, or that no patch fits into."""
        self.open_target()

    def open_target(self) -> xr.Dataset:
        """
        Sections of the target that are scored, as a volume of just these lines.

        Raises
        ------
        ValueError
            If it has no mask, no section with salt, or sections smaller than a patch.
        """
        name = getattr(self.target, "path", "earth")
        if isinstance(self.target, Earths):
            (volume,) = self.target.test(self.network.seed, 1)
        else:
            volume = self.target.open()
        if "salt" not in volume:
            raise ValueError(f"Invalid target {name} without a mask. Must have one.")
        others = [dim for dim in volume["salt"].dims if dim != self.axis]
        holding = np.flatnonzero((volume["salt"] & volume["amplitude"].notnull()).any(others))
        if not holding.size:
            raise ValueError(f"Invalid target {name} without salt. Must hold some.")
        _check_patches(self.network, volume, self.axis)
        chosen = np.linspace(0, holding.size - 1, min(self.n_sections, holding.size))
        return volume.isel({self.axis: holding[chosen.round().astype(int)]}).load()

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Predict and score every section.

        Returns
        -------
        dict
            ``dice``, the mean over the sections, and ``sections``, records of ``section`` (line
            number) and ``dice``. Probabilities are kept in ``sections.nc``.
        """
        target = self.open_target()
        model = load_model(parents["network"])
        predicted = predict(model, target, replace(self.network, axes=(self.axis,)))
        _save_sections(predicted, folder)
        dims = section_dims(target, self.axis)
        salt, known = predicted["probability"] > THRESHOLD, target["amplitude"].notnull()
        stacks = (mask.transpose(*dims).values for mask in (salt, target["salt"], known))
        lines = target[self.axis].values
        sections = [
            {"section": int(line), "dice": dice_score(prediction, truth, valid=valid)}
            for line, prediction, truth, valid in zip(lines, *stacks, strict=True)
        ]
        mean = float(np.mean([section["dice"] for section in sections]))
        return {"dice": mean, "sections": sections, "data": _hash_data(scored=(target,))}


def check_training(task: Any) -> None:
    """Refuse numbers of a training that are out of range, and fix what "auto" means here."""
    check_count("seed", task.seed, low=0)
    check_count("batch_size", task.batch_size)
    if task.n_patches is not None:
        check_count("n_patches", task.n_patches)
    resolved = replace(task.train, precision=resolve_precision(task.train))
    object.__setattr__(task, "train", resolved)


def build_model(task: Train) -> SaltUNet:
    """Build the network of a task: the seed alone decides about its initial weights."""
    return SaltUNet(task.encoder, pretrained=task.pretrained, seed=task.seed)


def load_model(outcome: Outcome, name: str = "weights") -> SaltUNet:
    """Network of a finished training, with the last weights of its schedule, on the CPU."""
    model = build_model(replace(outcome.task, pretrained=False))  # nothing to fetch
    model.load_state_dict(outcome.load_tensors(name))
    return model


def predict(model: nn.Module, volume: xr.Dataset, task: Train, **options: Any) -> xr.Dataset:
    """Predict as the study does; for ``options`` see :func:`thesis_lib.training.predict_volume`."""
    return predict_volume(
        model,
        volume,
        patch=task.patch,
        stride=task.stride,
        axes=task.axes,
        batch_size=4 * task.batch_size,
        precision=task.train.precision,
        **options,
    )


def score_prediction(
    predicted: xr.Dataset, volume: xr.Dataset, velocity_m_s: float | None, tolerance_m: float
) -> dict[str, float | None]:
    """Scores of a predicted volume against its mask, where amplitudes are known."""
    dims = ("inline", "crossline", vertical_dim(volume))
    volume, predicted = volume.transpose(*dims), predicted.transpose(*dims)
    masks = (predicted["probability"] > THRESHOLD, volume["salt"], volume["amplitude"].notnull())
    large = is_large(volume["amplitude"])
    salt, truth, known = (mask.data if large else mask.values for mask in masks)
    spacing = spacing_m(volume, velocity_m_s=velocity_m_s)
    return asdict(
        score_volume(salt, truth, spacing_m=spacing, tolerance_m=tolerance_m, valid=known)
    )


def load_sections(outcome: Outcome) -> xr.Dataset:
    """
    Load the probabilities that a `Score` or `ScoreSections` kept.

    Returns
    -------
    Dataset
        Of a `Score`: ``inline_section``, ``crossline_section`` or both, the axes that were
        predicted, each of shape (n_vertical, n_lateral). Of `ScoreSections`: ``probability``.
    """
    with xr.open_dataset(outcome.folder / SECTIONS, engine="h5netcdf") as sections:
        return sections.load()


def _make_validator(task: Train, volume: xr.Dataset) -> Callable[[nn.Module], dict[str, float]]:
    """Watch the Dice score of a held-out volume; it selects nothing."""
    axis = _pick_axis(volume, task)
    step = -(-volume.sizes[axis] // N_VALIDATION_SECTIONS)
    sections = volume.isel({axis: slice(step // 2, None, step)}).load()
    known = np.isfinite(sections["amplitude"].values)
    truth = sections["salt"].values & known

    def validate(model: nn.Module) -> dict[str, float]:
        predicted = predict(model, sections, replace(task, axes=(axis,)))
        salt = (predicted["probability"] > THRESHOLD).values & known
        return {"validation_dice": dice_score(salt, truth)}

    return validate


def _check_patches(task: Train, volume: xr.Dataset, axis: str) -> None:
    """Refuse a volume that no patch fits into."""
    for _, part in split_sections(volume, axis, task.patch):
        grid_sections(part, axis, task.patch, task.stride)


def _pick_axis(volume: xr.Dataset, task: Train) -> str:
    """Direction to watch a held-out volume along: a narrow block of lines has sections one way."""
    wide = (axis for axis in task.axes if volume.sizes[LATERAL[axis]] >= task.patch[1])
    return next(wide, task.axes[-1])


def _cut_middle(predicted: xr.Dataset, axes: Sequence[str]) -> xr.Dataset:
    sections = {axis: middle_section(predicted, axis)["probability"] for axis in axes}
    plain = {f"{axis}_section": part.reset_coords(drop=True) for axis, part in sections.items()}
    return xr.Dataset(plain)


def _save_sections(sections: xr.Dataset, folder: Path) -> None:
    with replace_when_done(folder / SECTIONS) as partial:
        sections.to_netcdf(partial, engine="h5netcdf")


def _hash_data(**volumes: Sequence[xr.Dataset]) -> dict[str, str]:
    """Content hashes of volumes, by what they served for."""
    return {
        name: " ".join(str(volume.attrs["content_hash"]) for volume in part)
        for name, part in volumes.items()
        if part
    }
