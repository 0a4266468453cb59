"""SaltNet: ensembles predict the next survey, and networks learn it from what these guess."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from torch import Tensor, nn

from saltvolumes import spacing_m
from saltvolumes._checks import check_choice, check_count, check_range
from saltvolumes._files import replace_when_done
from saltvolumes.volume import LATERAL
from thesis_lib.metrics import dice_score, surface_dice
from thesis_lib.model import SaltUNet
from thesis_lib.patches import Earths, PatchBatches, ProxyBatches
from thesis_lib.patches.volumes import Data
from thesis_lib.patching import Floats, section_dims
from thesis_lib.study._torchmetrics import binary_auroc, binary_calibration_error
from thesis_lib.study.robust import TrainRobust, list_views, make_batches
from thesis_lib.study.segmentation import (
    SECTIONS,
    THRESHOLD,
    Train,
    build_model,
    load_sections,
    predict,
)
from thesis_lib.study.tasks import Outcome, Parents, Task, save_tensors
from thesis_lib.training import TrainConfig, Zoomed, fit, mix_statistics

N_STATISTICS = 256  # patches of a target that statistics are estimated on
N_BINS = 15  # of the calibration error


@dataclass(frozen=True)
class PredictSurvey(Task):
    """
    Predict sections of a survey that a network never saw, and score them.

    Parameters
    ----------
    network : Train, TrainRobust or Adapt
    target : Earths or Survey
        Of earths, the first unseen one of the network's seed.
    axis : {"inline", "crossline"}
        Direction of the sections.
    lines : tuple of int
        Numbers of the lines that are scored. Without them ``n_sections`` of those with salt, evenly
        spaced, are predicted and scored, less those whose labels the network was given.
    others : tuple of int
        Lines that are predicted and not scored, in addition to ``lines``: all, if none is named.
    n_sections : int
    zooms : tuple of float
        Sizes at which the network sees the sections, for the mean of what it predicts; see
        :class:`thesis_lib.training.Zoomed`.
    statistics : float
        How far the statistics of BatchNorm move to those of the target, as in
        :func:`thesis_lib.training.mix_statistics`.
    tolerance_m, velocity_m_s
        Of the surface Dice, as in :class:`~thesis_lib.study.Score`.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.
    """

    network: "Train | TrainRobust | Adapt"  # each class: files do not name those of fields
    target: Data
    axis: str = "crossline"
    lines: tuple[int, ...] = ()
    others: tuple[int, ...] = ()
    n_sections: int = 8
    zooms: tuple[float, ...] = (1.0,)
    statistics: float = 0.0
    tolerance_m: float = 50.0
    velocity_m_s: float | None = None
    headline = ("dice",)
    title_format = "Predict elsewhere, {0.network.title}"

    def __post_init__(self) -> None:
        check_choice("axis", self.axis, tuple(LATERAL))
        check_count("n_sections", self.n_sections)
        check_range("statistics", self.statistics, low=0, high=1)
        check_range("tolerance_m", self.tolerance_m, low=0)
        if self.velocity_m_s is not None:
            check_range("velocity_m_s", self.velocity_m_s, low=0, exclusive=True)
        for zoom in self.zooms:
            check_range("zoom", zoom, low=0, exclusive=True)
        if self.others and not self.lines:
            raise ValueError(
                f"Invalid others {list(self.others)} without lines. Must come with lines to score."
            )

    @property
    def learned(self) -> frozenset[int]:
        """Lines of the target whose labels the network was given."""
        return self.network.learned if isinstance(self.network, Adapt) else frozenset()

    @property
    def trained(self) -> Train:
        """Training that the network began with."""
        return self.network.source if isinstance(self.network, Adapt) else self.network

    def check(self) -> None:
        """Refuse a target without a mask or salt, and lines that it lacks or that were learned."""
        self.list_scored(self.open_target())

    def list_scored(self, target: xr.Dataset) -> list[int]:
        """
        Lines of a target that are scored: none whose labels the network was given.

        Raises
        ------
        ValueError
            If a line that is asked for was learned, or none is left.
        """
        if learned := self.learned & {*self.lines}:
            raise ValueError(f"Invalid lines {sorted(learned)}. Must not be learned from.")
        lines = self.lines or tuple(target[self.axis].values.tolist())
        if not (scored := [int(line) for line in lines if line not in self.learned]):
            raise ValueError("Invalid lines: all were learned from. Must leave some to score.")
        return scored

    def open_target(self) -> xr.Dataset:
        """
        Sections of the target, as a volume of just these lines.

        Raises
        ------
        ValueError
            If it has no mask, no section with salt, or not the lines that are asked for.
        """
        if isinstance(self.target, Earths):
            (volume,) = self.target.test(self.network.seed, 1)
        else:
            volume = self.target.open()
        if "salt" not in volume:
            raise ValueError("Invalid target without a mask. Must have one to be scored.")
        wanted = {*self.lines, *self.others}
        if unknown := wanted - {*volume[self.axis].values.tolist()}:
            raise ValueError(
                f"Invalid lines {sorted(unknown)}. Must be among the {self.axis}s of the target."
            )
        if self.lines:
            if self.others:
                volume = volume.isel({self.axis: volume[self.axis].isin([*wanted]).values})
            return volume.load()
        others = [dim for dim in volume["salt"].dims if dim != self.axis]
        holding = np.flatnonzero((volume["salt"] & volume["amplitude"].notnull()).any(others))
        if not holding.size:
            raise ValueError("Invalid target without salt. Must hold some.")
        chosen = np.linspace(0, holding.size - 1, min(self.n_sections, holding.size))
        return volume.isel({self.axis: holding[chosen.round().astype(int)]}).load()

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Predict and score.

        Returns
        -------
        dict
            As `score_sections`. Probabilities are kept in ``sections.nc``.
        """
        target, network = self.open_target(), load_network(parents["network"])
        views = list_views(network, self.trained, self.zooms)
        if self.statistics:
            patches = [self._draw(target, *view) for view in views]
            mix_statistics(network, torch.cat(patches), weight=self.statistics)
        each = [
            predict(model, target, replace(task, axes=(self.axis,)))["probability"]
            for model, task in views
        ]
        mean = xr.concat(each, "view").mean("view", skipna=False)
        probability = mean.transpose(*section_dims(target, self.axis)).rename("probability")
        save_sections(xr.Dataset({"probability": probability}), folder)
        return score_sections(probability, target, self)

    def _draw(self, target: xr.Dataset, model: nn.Module, task: Train) -> Tensor:
        """Patches (n, 1, H, W) of a target, of the size at which a network sees them."""
        patches = draw_patches(target, task, self.axis, N_STATISTICS)
        return model.resize(patches) if isinstance(model, Zoomed) else patches


def score_sections(
    probability: xr.DataArray, target: xr.Dataset, task: PredictSurvey
) -> dict[str, Any]:
    """
    Score predicted sections one by one.

    Parameters
    ----------
    probability : DataArray
        Over (axis, vertical, lateral), NaN where the amplitude is.
    target : Dataset
        The same sections, with their mask.
    task : PredictSurvey
        Says which lines are scored, and how.

    Returns
    -------
    dict
        ``dice``, ``surface_dice`` and ``calibration_error`` (expected, 15 bins), means over the
        lines that are scored, and ``sections``, records of them. The surface Dice is None where
        distances are not known in metres.
    """
    dims = section_dims(target, task.axis)
    # Of one section: distances between those that are scored mean nothing.
    spacing = spacing_m(target.isel({task.axis: [0]}), velocity_m_s=task.velocity_m_s)
    rows = []
    for line in task.list_scored(target):
        found, truth = (
            part.sel({task.axis: line}).transpose(*dims[1:]).values
            for part in (probability, target["salt"])
        )
        known = np.isfinite(found)
        salt = np.nan_to_num(found) > THRESHOLD
        row: dict[str, Any] = {"section": int(line), "dice": dice_score(salt, truth, valid=known)}
        near = None
        if spacing is not None:
            near = surface_dice(
                salt,
                truth,
                tolerance_m=task.tolerance_m,
                spacing_m=(spacing[2], spacing[0]),  # a section has one lateral spacing
                valid=known,
            )
        labels = torch.from_numpy(truth[known].astype(np.int64))
        error = binary_calibration_error(torch.from_numpy(found[known]), labels, n_bins=N_BINS)
        rows.append(row | {"surface_dice": near, "calibration_error": float(error)})
    means = {
        name: None if rows[0][name] is None else float(np.mean([row[name] for row in rows]))
        for name in ("dice", "surface_dice", "calibration_error")
    }
    return {**means, "sections": rows, "data": {"scored": str(target.attrs["content_hash"])}}


@dataclass(frozen=True)
class Ensemble(Task):
    """
    The mean of what several networks predict for the same sections.

    Parameters
    ----------
    members : tuple of PredictSurvey
        Predictions of the same target and lines, at least two.

    Raises
    ------
    ValueError
        If there are fewer, or they differ in what they predict.
    """

    members: tuple[PredictSurvey, ...]
    headline = ("dice", "disagreement_auc")
    title_format = "Ensemble of {0.n_members}, seed {0.seed}"

    def __post_init__(self) -> None:
        first, *others = self.members or (None,)
        same = all(
            getattr(first, name) == getattr(each, name)
            for each in others
            for name in ("target", "axis", "lines", "others", "n_sections")
        )
        if isinstance(getattr(first, "target", None), Earths):  # each seed has earths of its own
            same = same and len({each.network.seed for each in self.members}) == 1
        if not others or not same:
            raise ValueError(
                "Invalid members of an ensemble. Must be at least two, of the same sections."
            )

    @property
    def n_members(self) -> int:
        """How many networks there are."""
        return len(self.members)

    @property
    def seed(self) -> int:
        """Seed of the first network."""
        return self.members[0].network.seed

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Average and score.

        Returns
        -------
        dict
            As `score_sections`, with ``members``, the Dice scores of the members;
            ``disagreement``, the standard deviation over the members, mean over the samples; and
            ``disagreement_auc``, how well it tells the wrong samples from the right ones. Mean and
            ``disagreement`` are kept in ``sections.nc``.
        """
        first = self.members[0]
        target = first.open_target()
        found = xr.concat(
            [load_sections(each)["probability"] for each in parents.values()],
            "member",
            join="exact",
        )
        mean, spread = found.mean("member"), found.std("member")
        save_sections(xr.Dataset({"probability": mean, "disagreement": spread}), folder)
        truth, known = target["salt"].transpose(*mean.dims).values, np.isfinite(mean.values)
        wrong = ((mean.values > THRESHOLD) != truth)[known]
        area = binary_auroc(torch.from_numpy(spread.values[known]), torch.from_numpy(wrong).long())
        return score_sections(mean, target, first) | {
            "members": [each.scores["dice"] for each in parents.values()],
            "disagreement": float(spread.mean()),
            "disagreement_auc": float(area) if wrong.any() and not wrong.all() else None,
        }


@dataclass(frozen=True)
class Adapt(Task):
    """
    Go on with a trained network on a survey: on proxy labels of an ensemble, or on some lines.

    Where the members of the ensemble are sure and agree, their mean is the label; elsewhere there
    is none [1]_. A batch holds as many patches of the source, with their labels. With ``labelled``
    lines their true labels are used, no other line is, and no patch of the source.

    Parameters
    ----------
    start : TrainRobust or Adapt
        Network to go on with.
    teacher : Ensemble
        Names the target, and has the proxy labels.
    labelled : tuple of int
        Lines of the target with true labels, in place of proxies.
    confidence, disagreement : float
        Smallest probability of a proxy label, of salt or of none, in [0.5, 1], and largest standard
        deviation over the members.
    train : TrainConfig
        Optimiser, schedule, precision.
    n_batches : int
        Steps in an epoch.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed.

    References
    ----------
    .. [1] Sen et al. (2020). SaltNet. https://doi.org/10.1190/tle39030195.1
    """

    start: "TrainRobust | Adapt"
    teacher: Ensemble
    labelled: tuple[int, ...] = ()
    confidence: float = 0.9
    disagreement: float = 0.1
    train: TrainConfig = field(default_factory=TrainConfig)
    n_batches: int = 16
    headline = ("used", "correct")
    title_format = "Adapt, round {0.round}, {0.source.encoder}, seed {0.seed}"

    def __post_init__(self) -> None:
        check_range("confidence", self.confidence, low=0.5, high=1)
        check_range("disagreement", self.disagreement, low=0)
        check_count("n_batches", self.n_batches)

    @property
    def source(self) -> TrainRobust:
        """Training that it all began with: patch, augmentation, data."""
        return self.start.source if isinstance(self.start, Adapt) else self.start

    @property
    def seed(self) -> int:
        """Seed of the network."""
        return self.start.seed

    @property
    def learned(self) -> frozenset[int]:
        """Lines of the target whose true labels the network was given."""
        before = self.start.learned if isinstance(self.start, Adapt) else frozenset()
        return before | {*self.labelled}

    def check(self) -> None:
        """Refuse labelled lines that are not among the sections of the target."""
        first = self.teacher.members[0]
        known = first.open_target()[first.axis].values.tolist()
        if unknown := {*self.labelled} - {*known}:
            raise ValueError(
                f"Invalid labelled lines {sorted(unknown)}. Must be among those predicted: {known}."
            )

    @property
    def round(self) -> int:
        """How often the network went on, this time included."""
        return 1 + (self.start.round if isinstance(self.start, Adapt) else 0)

    def compute(self, folder: Path, parents: Parents) -> dict[str, Any]:
        """
        Train, or go on after the last finished epoch of a killed run.

        Returns
        -------
        dict
            ``used``: fraction of the target's samples with a label; ``correct``: fraction of these
            whose label, above or below 0.5, is true, which the training does not know; and
            ``train_loss``. Where no sample has a label the network stays as it is, and the last two
            are None. ``weights.safetensors`` and ``history.csv`` are in the folder.
        """
        target = self.teacher.members[0].open_target()
        amplitude, truth, label, weight = self._label(target, parents["teacher"])
        model = load_network(parents["start"])
        if not weight.any():  # nobody is sure of anything: there is nothing to learn
            save_tensors(folder / "weights.safetensors", model.state_dict())
            return {"used": 0.0, "correct": None, "train_loss": None}
        source, batches = self.source, None
        if not self.labelled:
            batches = make_batches(source, self.n_batches * source.batch_size)
        proxies = ProxyBatches(
            amplitude,
            label,
            weight,
            patch=source.patch,
            batch_size=source.batch_size,
            n_batches=self.n_batches,
            seed=self.seed,
            augmentation=source.augmentation,
            changes=source.changes,
            source=batches,
        )
        history = fit(model, proxies, proxy_loss, self.train, folder=folder)
        right = (label > THRESHOLD) == truth
        return {
            "used": float(weight.mean()),
            "correct": float(right[weight > 0].mean()),
            "train_loss": history.rows[-1]["train_loss"],
        }

    def _label(self, target: xr.Dataset, teacher: Outcome) -> tuple[Floats, ...]:
        """Amplitude, truth, label and weight of all sections, each (n, H, W)."""
        dims = section_dims(target, self.teacher.members[0].axis)
        amplitude, salt = (target[name].transpose(*dims) for name in ("amplitude", "salt"))
        known = np.isfinite(amplitude.values)
        truth = salt.values.astype(np.float32)
        if self.labelled:
            chosen = np.isin(target[dims[0]].values, self.labelled)[:, None, None]
            label, sure = truth, np.broadcast_to(chosen, truth.shape)
        else:
            found = load_sections(teacher).transpose(*dims)
            label = np.nan_to_num(found["probability"].values)
            sure = np.abs(label - 0.5) >= self.confidence - 0.5
            sure &= np.nan_to_num(found["disagreement"].values) <= self.disagreement
        return np.nan_to_num(amplitude.values), truth, label, (known & sure).astype(np.float32)


def proxy_loss(logits: Tensor, target: Tensor) -> Tensor:
    """
    Binary cross entropy with soft labels, over the pixels that count.

    Parameters
    ----------
    logits : Tensor of shape (B, 1, H, W)
    target : Tensor of shape (B, 2, H, W)
        Labels in [0, 1], and their weights.

    Returns
    -------
    Tensor
        A scalar; 0 where nothing counts.
    """
    label, weight = target[:, :1], target[:, 1:]
    each = F.binary_cross_entropy_with_logits(logits, label, reduction="none")
    return (each * weight).sum() / weight.sum().clamp(min=1.0)


def load_network(outcome: Outcome) -> SaltUNet:
    """Network of a finished `Train`, `TrainRobust` or `Adapt`, on the CPU."""
    task = outcome.task.source if isinstance(outcome.task, Adapt) else outcome.task
    model = build_model(replace(task, pretrained=False))  # nothing to fetch
    model.load_state_dict(outcome.load_tensors("weights"))
    return model


def draw_patches(target: xr.Dataset, task: Train, axis: str, n: int) -> Tensor:
    """Z-scored patches (n, 1, H, W) of the sections of a survey, as they are."""
    batches = PatchBatches(
        target,
        patch=task.patch,
        stride=task.stride,
        axes=(axis,),
        batch_size=task.batch_size,
        n_patches=n,
        seed=task.seed,
    )
    return torch.cat([images for images, _ in batches.epoch(0)])


def save_sections(sections: xr.Dataset, folder: Path) -> None:
    """Write what was predicted for sections, for figures and for what goes on from it."""
    with replace_when_done(folder / SECTIONS) as partial:
        sections.to_netcdf(partial, engine="h5netcdf")
