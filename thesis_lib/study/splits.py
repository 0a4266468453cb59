"""Training, validation and test volumes that never touch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import xarray as xr

from thesis_lib import _volume, data, synthetic
from thesis_lib._checks import check_choice, check_count

# Seeds of the synthetic earths: a training earth belongs to one seed of the study, the validation
# and test earths are the same for all of them. The three ranges never meet.
VALIDATION_EARTH = 1_000_000
TEST_EARTH = 2_000_000


@dataclass(frozen=True)
class StudyData:
    """
    Which volumes a study reads, and how they are split.

    Parameters
    ----------
    source : str
        A preset of :data:`thesis_lib.synthetic.PRESETS`, or the path of a volume.
    shape : tuple of three int
        (n_inline, n_crossline, n_depth) of each synthetic earth.
    n_train_volumes, n_test_volumes : int
        Number of synthetic earths per seed to train on, and of unseen ones to score.
    mask, salt_label, dims, variable, vertical, sample_interval, spacing_m
        How to read a real volume, see :func:`thesis_lib.data.open_volume`.
    split_axis : {"inline", "crossline"}
        Axis along which a real volume is split into blocks of lines.
    test_lines, validation_lines : tuple of int
        Line numbers on that axis to score and to watch; the rest, less the guard, is trained on.
        Without test lines the last fifth of the volume is scored and the tenth before it watched.
    guard_lines : int
        Lines left out on either side of the held-out ones, a patch's width for instance.
    """

    source: str = "gulf"
    shape: tuple[int, int, int] = (96, 128, 128)
    n_train_volumes: int = 1
    n_test_volumes: int = 1
    mask: str | None = None
    salt_label: int | None = None
    dims: tuple[str, ...] | None = None
    variable: str | None = None
    vertical: str | None = None
    sample_interval: float | None = None
    spacing_m: tuple[float, float] | None = None
    split_axis: str = "crossline"
    test_lines: tuple[int, ...] = ()
    validation_lines: tuple[int, ...] = ()
    guard_lines: int = 0

    def __post_init__(self) -> None:
        check_choice("split_axis", self.split_axis, ("inline", "crossline"))
        check_count("n_train_volumes", self.n_train_volumes)
        check_count("n_test_volumes", self.n_test_volumes)
        check_count("guard_lines", self.guard_lines, low=0)

    @property
    def is_synthetic(self) -> bool:
        """Whether ``source`` names a preset."""
        return self.source in synthetic.PRESETS


@dataclass(frozen=True)
class Splits:
    """Volumes to train on, to watch (or None) and to score."""

    train: tuple[xr.Dataset, ...]
    validation: xr.Dataset | None
    test: tuple[xr.Dataset, ...]

    @property
    def content_hash(self) -> str:
        """Hashes of all volumes, in order."""
        volumes = (*self.train, *((self.validation,) if self.validation else ()), *self.test)
        return "-".join(str(volume.attrs["content_hash"]) for volume in volumes)


def open_source(study_data: StudyData, *, earth: int) -> xr.Dataset:
    """
    One volume of the source: the synthetic earth of a seed, or the whole real volume.

    Parameters
    ----------
    study_data : StudyData
        Which volume.
    earth : int
        Seed of the synthetic earth; without effect on a real volume.
    """
    if study_data.is_synthetic:
        return synthetic.make_volume(study_data.shape, seed=earth, preset=study_data.source)
    return data.open_volume(
        study_data.source,
        mask=study_data.mask,
        salt_label=study_data.salt_label,
        dims=study_data.dims,
        variable=study_data.variable,
        vertical=study_data.vertical,
        sample_interval=study_data.sample_interval,
        spacing_m=study_data.spacing_m,
    )


@lru_cache(maxsize=2)
def load_splits(study_data: StudyData, *, seed: int) -> Splits:
    """
    Volumes of one seed of a study.

    Parameters
    ----------
    study_data : StudyData
        Which volumes, and how they are split.
    seed : int
        Decides about the synthetic earths to train on. A real volume is split the same way for
        every seed.

    Raises
    ------
    ValueError
        If a real volume cannot be read or split, or has no salt in its test lines.
    """
    if study_data.is_synthetic:
        return _make_earths(study_data, seed=seed)
    volume = open_source(study_data, earth=seed)
    if "salt" not in volume:
        raise ValueError(
            f"Invalid volume {study_data.source} for a study. Must have a salt mask: name a file "
            "or a variable by mask."
        )
    splits = _split(volume, study_data)
    if not any(part["salt"].any() for part in splits.test):
        raise ValueError(
            f"Invalid test lines of {study_data.source}: no salt in them. Must hold some, since "
            "scores of empty masks say nothing."
        )
    return splits


def _make_earths(study_data: StudyData, *, seed: int) -> Splits:
    def make(earth: int) -> xr.Dataset:
        return open_source(study_data, earth=earth)

    first = seed * study_data.n_train_volumes
    return Splits(
        train=tuple(make(first + index) for index in range(study_data.n_train_volumes)),
        validation=make(VALIDATION_EARTH),
        test=tuple(make(TEST_EARTH + index) for index in range(study_data.n_test_volumes)),
    )


def _split(volume: xr.Dataset, study_data: StudyData) -> Splits:
    axis, guard = study_data.split_axis, study_data.guard_lines
    if not study_data.test_lines:
        n_lines = volume.sizes[axis]
        blocks = data.split_lines(
            volume, axis, validation=n_lines // 10, test=max(n_lines // 5, 1), guard=guard
        )
        validation = blocks.validation if blocks.validation.sizes[axis] else None
        return Splits((blocks.training,), validation, (blocks.test,))
    validation = (
        data.select_lines(volume, axis, study_data.validation_lines)
        if study_data.validation_lines
        else None
    )
    held_out = (*study_data.test_lines, *study_data.validation_lines)
    return Splits(
        _keep_apart(volume, axis, held_out, guard=guard),
        validation,
        (data.select_lines(volume, axis, study_data.test_lines),),
    )


def _keep_apart(
    volume: xr.Dataset, axis: str, held_out: Sequence[int], *, guard: int
) -> tuple[xr.Dataset, ...]:
    """Blocks of neighbouring lines that are at least ``guard`` lines from the held-out ones."""
    lines = volume[axis].values
    near = np.isin(lines, held_out)
    for shift in range(1, guard + 1):
        near[shift:] |= np.isin(lines[:-shift], held_out)
        near[:-shift] |= np.isin(lines[shift:], held_out)
    free = np.flatnonzero(~near)
    if not free.size:
        raise ValueError(
            f"Invalid held-out lines {sorted(held_out)} with a guard of {guard}. "
            f"Must leave at least one of {lines.size} lines along {axis} for training."
        )
    blocks = np.split(free, np.flatnonzero(np.diff(free) > 1) + 1)
    return tuple(data.select_lines(volume, axis, lines[block].tolist()) for block in blocks)


def middle_section(volume: xr.Dataset, axis: str) -> xr.Dataset:
    """Middle section of a volume along an axis, dims (depth or time, the other lateral axis)."""
    lateral = "crossline" if axis == "inline" else "inline"
    section = volume.isel({axis: volume.sizes[axis] // 2})
    return section.transpose(_volume.vertical_dim(volume), lateral)
