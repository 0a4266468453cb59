"""Transfer: networks trained on synthetic earths alone, scored on sections of another volume."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import cycle, islice, product
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from thesis_lib._checks import check_choice, check_count, check_range
from thesis_lib.study.runs import Outcome, complete
from thesis_lib.study.segmentation import SECTIONS, SegmentationConfig, check_fits
from thesis_lib.study.splits import (
    LATERAL,
    TEST_EARTH,
    VALIDATION_EARTH,
    StudyData,
    open_source,
)
from thesis_lib.study.tables import FULL
from thesis_lib.study.transfer_run import EarthRecipe, make_transfer_run, train_and_transfer
from thesis_lib.synthetic import PRESETS, Preset


@dataclass(frozen=True)
class Ablation:
    """
    What is set otherwise so that one thing is missing.

    Parameters
    ----------
    earth, augmentation : mapping
        Fields of every :class:`~thesis_lib.synthetic.Preset` and of the
        :class:`~thesis_lib.data.Augmentation` with their new values.
    """

    earth: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, Any] = field(default_factory=dict)


ABLATIONS = {
    # geology
    "faults": Ablation(earth={"faults": 0.0}),
    "folds": Ablation(earth={"fold": 0.0}),
    "arches without salt": Ablation(earth={"arches": 0.0}),
    "upturned layers": Ablation(earth={"upturn": 0.0}),
    "foresets, channel and unconformity": Ablation(
        earth={"clinoforms": 0.0, "channel": 0.0, "unconformity": 0.0}
    ),
    "chaotic layers": Ablation(earth={"chaos": 0.0}),
    "markers and change of facies": Ablation(earth={"markers": 0.0, "facies": 0.0}),
    "rugose top": Ablation(earth={"rugosity": 0.0}),
    "salt interior": Ablation(earth={"interior": 0.0, "stringers": 0.0, "sutures": 0.0}),
    # imaging
    "shadow of the salt": Ablation(earth={"shadow": 0.0}),
    "loss of steep dips": Ablation(earth={"max_dip_deg": 85.0}),
    "noise of the image": Ablation(earth={"noise": 0.0}),
    "migration swings": Ablation(earth={"swings": 0.0}),
    "gain and clipping": Ablation(earth={"gain": 0.0, "clip": 0.0}),
    # augmentation
    "mirrored patches": Ablation(augmentation={"flip": 0.0}),
    "both polarities": Ablation(augmentation={"polarity": 0.0}),
    "random gain": Ablation(augmentation={"gain_db": 0.0}),
    "noise on patches": Ablation(augmentation={"noise": 0.0}),
}


@dataclass(frozen=True)
class TransferStudy:
    """
    What is trained on which earths, and on what it is scored.

    Parameters
    ----------
    earths : mapping of str to sequence of float
        Presets to train on, each with the spacings along the vertical axis, in m, that its earths
        take in turn.
    n_volumes : int
        Earths to train on; they take the presets in turn.
    shape : tuple of three int
        (n_inline, n_crossline, n_depth) of each earth.
    target : StudyData
        Scored and never trained on: a preset, whose earth is one of those that no study trains
        on, or a file with a mask.
    config : SegmentationConfig
        Settings of the training; the budget is its epochs times its patches.
    axis : {"inline", "crossline"}
        Direction of the target's sections; ``"crossline"`` means sections at a fixed crossline.
    n_sections : int
        Sections of the target at most, evenly spaced among those with salt.
    ablations : tuple of str
        Keys of `ABLATIONS`, each trained and scored beside the full one.
    seeds : tuple of int
        A seed decides about earths, weights and patches, the same ones for every ablation.

    Raises
    ------
    ValueError
        If a preset, axis or ablation is unknown or doubled, earths or seeds are missing, a spacing
        is no number above 0, a seed is doubled or too large, or a count is below 1.
    """

    earths: Mapping[str, Sequence[float]]
    target: StudyData
    config: SegmentationConfig
    n_volumes: int = 4
    shape: tuple[int, int, int] = (96, 128, 128)
    axis: str = "crossline"
    n_sections: int = 8
    ablations: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        check_count("n_volumes", self.n_volumes)
        check_count("n_sections", self.n_sections)
        check_choice("axis", self.axis, tuple(LATERAL))
        object.__setattr__(self, "earths", _check_earths(self.earths))
        for name in self.ablations:
            check_choice("ablation", name, tuple(ABLATIONS))
        if len(set(self.ablations)) < len(self.ablations):
            raise ValueError(f"Invalid ablations {list(self.ablations)}. Must be distinct.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"Invalid seeds {list(self.seeds)}. Must be distinct, at least one.")
        for seed in self.seeds:
            check_count("seed", seed, low=0, high=VALIDATION_EARTH // self.n_volumes - 1)


def _check_earths(earths: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Return presets with their spacings as tuples."""
    if not earths or not all(isinstance(v, list | tuple) and v for v in earths.values()):
        raise ValueError(
            f"Invalid earths {dict(earths)}. Must name presets and spacings: {{'gulf': [20.0]}}."
        )
    for preset, spacings in earths.items():
        check_choice("preset", preset, tuple(PRESETS))
        for spacing in spacings:
            check_range(f"spacing of {preset}", spacing, low=0, open_low=True)
    return {preset: tuple(map(float, spacings)) for preset, spacings in earths.items()}


@dataclass(frozen=True)
class TransferRun:
    """One network, trained without one thing (or `FULL`, without nothing) and scored."""

    left_out: str
    seed: int
    outcome: Outcome

    @property
    def seconds(self) -> float:
        """Time that the training took, whenever that was."""
        return float(pd.read_csv(self.outcome.folder / "history.csv")["seconds"].sum())


def run_transfer(
    study: TransferStudy, *, root: str | os.PathLike[str] = "runs", progress: bool = True
) -> list[TransferRun]:
    """
    Compute the runs of a study that are not there yet, and return all of them.

    Parameters
    ----------
    study : TransferStudy
        What to train and to score.
    root : path
        Folder of all runs.
    progress : bool
        Whether to print a line when a run ends, and draw progress bars inside of it.

    Returns
    -------
    list of TransferRun
        By seed: the full one, then the ablations in their order.

    Raises
    ------
    ValueError
        If the target has no mask, no section with salt, or is smaller than a patch.
    """
    target = open_target(study)
    runs = []
    for seed, left_out in product(study.seeds, (FULL, *study.ablations)):
        run = _complete(study, left_out, seed, target, root, progress)
        runs.append(run)
        if progress:
            origin = "computed" if run.outcome.computed else "found"
            dice = run.outcome.scores["mean"]
            print(f"{left_out} left out, seed {seed}: Dice {dice:.4f} ({origin})", flush=True)
    return runs


def open_target(study: TransferStudy) -> xr.Dataset:
    """
    Sections of the target that are scored, as a volume of just these lines.

    Raises
    ------
    ValueError
        If it has no mask, no section with salt, or sections smaller than a patch.
    """
    volume = open_source(study.target, earth=TEST_EARTH)
    if "salt" not in volume:
        raise ValueError(f"Invalid target {study.target.source} without a mask. Must have one.")
    others = [dim for dim in volume["salt"].dims if dim != study.axis]
    holding = np.flatnonzero((volume["salt"] & volume["amplitude"].notnull()).any(others))
    if not holding.size:
        raise ValueError(f"Invalid target {study.target.source} without salt. Must hold some.")
    check_fits(volume, study.config, (study.axis,))
    chosen = np.linspace(0, holding.size - 1, min(study.n_sections, holding.size))
    return volume.isel({study.axis: holding[chosen.round().astype(int)]}).load()


def apply_ablation(study: TransferStudy, name: str) -> tuple[dict[str, Preset], SegmentationConfig]:
    """
    Presets and settings of a study without one thing, a key of `ABLATIONS` or `FULL`.

    Raises
    ------
    TypeError
        If the ablation sets a field that does not exist.
    """
    ablation = Ablation() if name == FULL else ABLATIONS[name]
    presets = {key: replace(PRESETS[key], **ablation.earth) for key in study.earths}
    augmentation = replace(study.config.augmentation, **ablation.augmentation)
    return presets, replace(study.config, augmentation=augmentation)


def load_prediction(run: TransferRun) -> xr.DataArray:
    """Probability of salt in the sections that a run was scored on."""
    with xr.open_dataset(run.outcome.folder / SECTIONS, engine="h5netcdf") as sections:
        return sections["probability"].load()


def _complete(
    study: TransferStudy,
    left_out: str,
    seed: int,
    target: xr.Dataset,
    root: str | os.PathLike[str],
    progress: bool,
) -> TransferRun:
    presets, config = apply_ablation(study, left_out)
    job = (config, _list_recipes(study, presets, seed), target, study.axis)
    compute = partial(train_and_transfer, *job, seed=seed, progress=progress)
    return TransferRun(
        left_out, seed, complete(make_transfer_run(*job, seed=seed), compute, root=root)
    )


def _list_recipes(
    study: TransferStudy, presets: Mapping[str, Preset], seed: int
) -> list[EarthRecipe]:
    """Earths of one seed: presets, and the spacings of each preset, are taken in turn."""
    spacings = {name: cycle(values) for name, values in study.earths.items()}
    return [
        EarthRecipe(
            presets[name], seed * study.n_volumes + number, next(spacings[name]), study.shape
        )
        for number, name in enumerate(islice(cycle(presets), study.n_volumes))
    ]
