"""The task behind transfer: one network trained on earths, scored on sections of a target."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from thesis_lib._volume import vertical_dim
from thesis_lib.metrics import dice_score
from thesis_lib.study.runs import Run, source_hash
from thesis_lib.study.segmentation import (
    SECTIONS,
    THRESHOLD,
    SegmentationConfig,
    describe_config,
    predict,
    train,
)
from thesis_lib.study.splits import LATERAL
from thesis_lib.synthetic import Preset, make_volume

TASK = __name__
source_hash(TASK)  # of the code that is loaded, whatever is edited from here on
LATERAL_M = 25.0  # between the lines of an earth


@dataclass(frozen=True)
class EarthRecipe:
    """Everything that a synthetic earth is made of."""

    preset: Preset
    seed: int
    vertical_m: float
    shape: tuple[int, int, int]


@lru_cache(maxsize=16)  # ablations that change no earth train on the same ones
def make_earth(recipe: EarthRecipe) -> xr.Dataset:
    """Volume of a recipe, without its velocity."""
    volume = make_volume(
        recipe.shape,
        seed=recipe.seed,
        spacing_m=(LATERAL_M, LATERAL_M, recipe.vertical_m),
        preset=recipe.preset,
    )
    return volume.drop_vars("velocity")


def make_transfer_run(
    config: SegmentationConfig,
    recipes: Sequence[EarthRecipe],
    target: xr.Dataset,
    axis: str,
    *,
    seed: int,
) -> Run:
    """Run that is known by its recipes and its target: to find it takes no earth."""
    settings = {
        "earths": [asdict(recipe) for recipe in recipes],
        "training": describe_config(config),
        "axis": axis,
        "lines": target[axis].values.tolist(),
    }
    return Run(TASK, settings, str(target.attrs["content_hash"]), seed)


def train_and_transfer(
    config: SegmentationConfig,
    recipes: Sequence[EarthRecipe],
    target: xr.Dataset,
    axis: str,
    folder: Path,
    *,
    seed: int,
    progress: bool = True,
) -> dict[str, Any]:
    """
    Train one network on earths and score it on every section of the target.

    Parameters
    ----------
    config : SegmentationConfig
        Settings; its ``axes`` are those of training.
    recipes : sequence of EarthRecipe
        What is trained on.
    target : Dataset
        A volume of the sections to score, each with a mask.
    axis : {"inline", "crossline"}
        Direction of these sections.
    folder : Path
        Where the training keeps its files, and ``sections.nc`` the probability of the target.
    seed : int
        Seed of weights, patch order and augmentation.
    progress : bool
        Whether to draw progress bars.

    Returns
    -------
    dict
        ``sections``: Dice by line number; ``mean``: their mean; ``training``: content hashes of
        the earths.
    """
    volumes = [make_earth(recipe) for recipe in recipes]
    model = train(config, volumes, folder, seed=seed, progress=progress)
    predicted = predict(model, target, replace(config, axes=(axis,)), progress=progress)
    temporary = folder / f".{SECTIONS}"
    predicted.to_netcdf(temporary, engine="h5netcdf")
    temporary.replace(folder / SECTIONS)
    sections = _score(predicted, target, axis)
    return {
        "sections": sections,
        "mean": float(np.mean(list(sections.values()))),
        "training": [volume.attrs["content_hash"] for volume in volumes],
    }


def _score(predicted: xr.Dataset, target: xr.Dataset, axis: str) -> dict[str, float]:
    """Dice score of each section, by its line number."""
    dims = (axis, LATERAL[axis], vertical_dim(target))
    parts = (predicted["probability"] > THRESHOLD, target["salt"], target["amplitude"].notnull())
    stacks = (part.transpose(*dims).values for part in parts)
    return {
        str(line): dice_score(prediction, truth, valid=valid)
        for line, prediction, truth, valid in zip(target[axis].values, *stacks, strict=True)
    }
