"""The task behind Table 1: one network, one loss, one seed, scored on unseen volumes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from safetensors.torch import load_file
from torch import nn

from thesis_lib import _volume
from thesis_lib._checks import check_choice, check_range
from thesis_lib.data import Augmentation, PatchBatches
from thesis_lib.losses import LOSSES
from thesis_lib.metrics import dice_score, score_volume
from thesis_lib.model import SaltUNet
from thesis_lib.study.runs import Run, source_hash
from thesis_lib.study.splits import LATERAL, Splits, middle_section
from thesis_lib.training import TrainConfig, fit, predict_volume, resolve_precision

TASK = __name__
source_hash(TASK)  # of the code that is loaded, whatever is edited from here on
THRESHOLD = 0.5  # the same for every loss, so that no score selects it
N_VALIDATION_SECTIONS = 8  # of the held-out volume, watched after every epoch
SECTIONS = "sections.nc"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class SegmentationConfig:
    """
    Settings of one segmentation run. Runs of a study differ in loss, seed and learning rate only.

    Parameters
    ----------
    loss : str
        Key of :data:`thesis_lib.losses.LOSSES`.
    train : TrainConfig
        Optimiser, schedule, precision.
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
    tolerance_m : float
        Tolerance of the surface Dice, in m.
    velocity_m_s : float or None
        Turns two-way time into metres; without it a time volume gets no distances.
    """

    loss: str
    train: TrainConfig
    patch: tuple[int, int] = (64, 64)
    stride: tuple[int, int] = (32, 32)
    axes: tuple[str, ...] = ("inline", "crossline")
    batch_size: int = 16
    n_patches: int | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    encoder: str = "resnet34"
    pretrained: bool = False
    tolerance_m: float = 50.0
    velocity_m_s: float | None = None

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, tuple(LOSSES))
        check_range("tolerance_m", self.tolerance_m, low=0)
        if self.velocity_m_s is not None:
            check_range("velocity_m_s", self.velocity_m_s, low=0, open_low=True)
        if not 0 < len(self.axes) == len(set(self.axes)):
            raise ValueError(f"Invalid axes {self.axes}. Must be one or two different ones.")
        for axis in self.axes:
            check_choice("axis", axis, tuple(LATERAL))


def read_augmentation(changes: Mapping[str, Any]) -> Augmentation:
    """
    Return the default augmentation with some of its fields changed.

    Raises
    ------
    TypeError, ValueError
        If a name is none of its fields, or a value is no number or out of its range.
    """
    for name in changes:
        check_choice("name in augmentation", name, [field.name for field in fields(Augmentation)])
    return Augmentation(**changes)


def make_run(config: SegmentationConfig, splits: Splits, *, seed: int) -> Run:
    """Run that trains and scores one network on these volumes, in the precision found here."""
    return Run(TASK, describe_config(config), splits.content_hash, seed)


def describe_config(config: SegmentationConfig) -> dict[str, Any]:
    """Settings as plain values, with the precision that they stand for on this machine."""
    precision = resolve_precision(config.train)
    return asdict(replace(config, train=replace(config.train, precision=precision)))


def build_model(config: SegmentationConfig, *, seed: int) -> SaltUNet:
    """Build the network of a run: the seed alone decides about its initial weights."""
    return SaltUNet(config.encoder, pretrained=config.pretrained, seed=seed)


def read_run(folder: Path) -> tuple[SegmentationConfig, int]:
    """
    Settings and seed of a finished run, from its folder.

    Raises
    ------
    ValueError
        If the folder holds no finished segmentation run.
    """
    path = folder / "config.json"
    run = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if run.get("task") != TASK or not (folder / WEIGHTS).is_file():
        raise ValueError(
            f"Invalid run {folder}. Must be the folder of a finished segmentation run."
        )
    return read_config(run["config"]), run["seed"]


def read_config(content: Mapping[str, Any]) -> SegmentationConfig:
    """Settings from what JSON made of them."""
    parts = {
        "train": TrainConfig(**content["train"]),
        "augmentation": Augmentation(**content["augmentation"]),
    }
    return SegmentationConfig(**(tuplify(content) | parts))


def tuplify(content: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of JSON as the tuples that they were."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }


def load_model(folder: Path) -> SaltUNet:
    """Network of a finished run, with the last weights of its schedule."""
    config, seed = read_run(folder)
    model = build_model(replace(config, pretrained=False), seed=seed)  # nothing to fetch
    model.load_state_dict(load_file(folder / WEIGHTS))
    return model


def train_and_score(
    config: SegmentationConfig,
    splits: Splits,
    folder: Path,
    *,
    seed: int,
    progress: bool = True,
) -> dict[str, Any]:
    """
    Train one network and score it in 3-D on every test volume.

    A folder in which a killed run left its state is taken up from the last finished epoch.

    Parameters
    ----------
    config : SegmentationConfig
        Settings.
    splits : Splits
        Volumes to train on, to watch and to score.
    folder : Path
        Where ``history.csv``, ``weights.safetensors`` and ``sections.nc`` (the middle sections
        of the first test volume, for figures) are written.
    seed : int
        Seed of weights, patch order and augmentation.
    progress : bool
        Whether to draw progress bars.

    Returns
    -------
    dict
        ``volumes``: one dict of scores a test volume; ``mean``: their means.
    """
    for volume in splits.test:
        check_fits(volume, config, config.axes)
    validate = _validator(config, splits.validation)
    model = train(config, splits.train, folder, seed=seed, validate=validate, progress=progress)
    volumes = []
    for index, volume in enumerate(splits.test):
        predicted = predict(model, volume, config, progress=progress)
        if index == 0:
            _save_sections(predicted, config.axes, folder)
        volumes.append(_score(predicted, volume, config))
    return {"volumes": volumes, "mean": _mean(volumes)}


def train(
    config: SegmentationConfig,
    volumes: Sequence[xr.Dataset],
    folder: Path,
    *,
    seed: int,
    validate: Callable[[nn.Module], dict[str, float]] | None = None,
    progress: bool = True,
) -> SaltUNet:
    """Train one network on patches of volumes, as the study trains it, or find it in the folder."""
    model = build_model(config, seed=seed)
    batches = PatchBatches(
        volumes,
        patch=config.patch,
        stride=config.stride,
        axes=config.axes,
        batch_size=config.batch_size,
        n_patches=config.n_patches,
        augmentation=config.augmentation,
        seed=seed,
    )
    fit(
        model,
        batches,
        LOSSES[config.loss],
        config.train,
        validate=validate,
        folder=folder,
        progress=progress,
    )
    return model


def predict(
    model: nn.Module, volume: xr.Dataset, config: SegmentationConfig, *, progress: bool = False
) -> xr.Dataset:
    """Probability of salt in a whole volume, as the study predicts it."""
    return predict_volume(
        model,
        volume,
        patch=config.patch,
        stride=config.stride,
        axes=config.axes,
        batch_size=4 * config.batch_size,
        precision=config.train.precision,
        progress=progress,
    )


def _validator(
    config: SegmentationConfig, volume: xr.Dataset | None
) -> Callable[[nn.Module], dict[str, float]] | None:
    """Watch the Dice score of a held-out volume; it selects nothing."""
    if volume is None:
        return None

    axis = _pick_axis(volume, config)
    step = -(-volume.sizes[axis] // N_VALIDATION_SECTIONS)
    sections = volume.isel({axis: slice(step // 2, None, step)}).load()
    known = np.isfinite(sections["amplitude"].values)
    truth = sections["salt"].values & known

    def validate(model: nn.Module) -> dict[str, float]:
        predicted = predict(model, sections, replace(config, axes=(axis,)))
        salt = (predicted["probability"] > THRESHOLD).values & known
        return {"validation_dice": dice_score(salt, truth)}

    return validate


def _pick_axis(volume: xr.Dataset, config: SegmentationConfig) -> str:
    """Direction to watch a held-out volume along: a narrow block of lines has sections one way."""
    for axis in config.axes[:-1]:
        if volume.sizes[LATERAL[axis]] >= config.patch[1]:
            return axis
    check_fits(volume, config, config.axes[-1:])
    return config.axes[-1]


def check_fits(volume: xr.Dataset, config: SegmentationConfig, axes: Sequence[str]) -> None:
    """Refuse held-out volumes that no patch fits into, before anything is trained."""
    for axis in axes:
        section = (volume.sizes[_volume.vertical_dim(volume)], volume.sizes[LATERAL[axis]])
        if any(size > length for size, length in zip(config.patch, section, strict=True)):
            raise ValueError(
                f"Invalid patch {config.patch} for held-out sections along {axis} of shape "
                f"{section}. Must fit: hold out more lines, or leave {axis!r} out of axes."
            )


def _score(
    predicted: xr.Dataset, volume: xr.Dataset, config: SegmentationConfig
) -> dict[str, float | None]:
    dims = ("inline", "crossline", _volume.vertical_dim(volume))
    volume, predicted = volume.transpose(*dims), predicted.transpose(*dims)
    scores = score_volume(
        (predicted["probability"] > THRESHOLD).values,
        volume["salt"].values,
        spacing_m=_volume.spacing_m(volume, velocity_m_s=config.velocity_m_s),
        tolerance_m=config.tolerance_m,
        valid=np.isfinite(volume["amplitude"].values),
    )
    return asdict(scores)


def _mean(volumes: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Mean of every score over the test volumes; unknown where it is unknown for one of them."""
    means: dict[str, float | None] = {}
    for name in volumes[0]:
        values = [scores[name] for scores in volumes]
        known = [value for value in values if value is not None]
        means[name] = float(np.mean(known)) if len(known) == len(values) else None
    return means


def load_sections(folder: Path) -> xr.Dataset:
    """
    Probability in the middle sections of the first test volume of a finished run.

    Returns
    -------
    Dataset
        ``inline_section``, ``crossline_section`` or both: the axes that were predicted, each of
        shape (n_vertical, n_lateral).
    """
    with xr.open_dataset(folder / SECTIONS, engine="h5netcdf") as sections:
        return sections.load()


def _save_sections(predicted: xr.Dataset, axes: Sequence[str], folder: Path) -> None:
    """Keep the probability of the middle section along each axis, for figures."""
    sections = {
        f"{axis}_section": middle_section(predicted, axis)["probability"].reset_coords(drop=True)
        for axis in axes
    }
    temporary = folder / f".{SECTIONS}"
    xr.Dataset(sections).to_netcdf(temporary, engine="h5netcdf")
    temporary.replace(folder / SECTIONS)
