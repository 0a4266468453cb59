"""Training, validation and test volumes that never touch."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from thesis_lib import _volume, data, synthetic
from thesis_lib._checks import check_choice, check_count

# Seeds of the synthetic earths: a training earth belongs to one seed of the study, the validation
# and test earths are the same for all of them. The three ranges never meet. Settings were chosen
# with the earths from 2,000,000 on, so those are scored no more.
VALIDATION_EARTH = 1_000_000
TEST_EARTH = 3_000_000
LATERAL = {"inline": "crossline", "crossline": "inline"}  # the axis that a section keeps


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
    reading : mapping of str to object
        How to read a real volume: arguments of :func:`thesis_lib.data.open_volume` by name. Lists
        in it become tuples.
    split_axis : {"inline", "crossline"}
        Axis along which a real volume is split into blocks of lines.
    test_lines, validation_lines : tuple of int
        Line numbers on that axis to score and to watch; the rest, less the guard, is trained on.
        Without test lines the last fifth of the volume is scored and the tenth before it watched.
    guard_lines : int
        Lines left out on either side of the held-out ones, a patch's width for instance.

    Raises
    ------
    ValueError
        If the source does not exist, or the arguments contradict each other.
    """

    source: str = "gulf"
    shape: tuple[int, int, int] = (96, 128, 128)
    n_train_volumes: int = 1
    n_test_volumes: int = 1
    reading: Mapping[str, Any] = field(default_factory=dict, hash=False)
    split_axis: str = "crossline"
    test_lines: tuple[int, ...] = ()
    validation_lines: tuple[int, ...] = ()
    guard_lines: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "reading", check_reading(self.reading))
        check_choice("split_axis", self.split_axis, tuple(LATERAL))
        check_count("n_train_volumes", self.n_train_volumes)
        check_count("n_test_volumes", self.n_test_volumes)
        check_count("guard_lines", self.guard_lines, low=0)
        if not self.is_synthetic and not Path(self.source).exists():
            presets = ", ".join(synthetic.PRESETS)
            raise ValueError(
                f"Invalid source {self.source!r}. Must be a preset ({presets}) or a file."
            )
        if self.is_synthetic and (self.reading or self.held_out):
            raise ValueError(
                f"Invalid reading or lines for the synthetic earth {self.source!r}. It has its "
                "own mask, and is split by seed: they belong to a file."
            )
        if self.validation_lines and not self.test_lines:
            raise ValueError("Invalid validation_lines without test_lines. Must be both or none.")
        if len(set(self.held_out)) < len(self.held_out):
            raise ValueError(
                f"Invalid test_lines {list(self.test_lines)} and validation_lines "
                f"{list(self.validation_lines)}. Must be distinct."
            )

    @property
    def held_out(self) -> tuple[int, ...]:
        """Lines of a real volume that are not trained on."""
        return (*self.test_lines, *self.validation_lines)

    @property
    def is_synthetic(self) -> bool:
        """Whether ``source`` names a preset."""
        return self.source in synthetic.PRESETS


def check_reading(reading: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return arguments of :func:`thesis_lib.data.open_volume`, their lists turned into tuples.

    Raises
    ------
    ValueError
        If a name is none of its arguments.

    Examples
    --------
    >>> check_reading({"mask": "label", "dims": ["crossline", "time", "inline"]})
    {'mask': 'label', 'dims': ('crossline', 'time', 'inline')}
    """
    allowed = [name for name in inspect.signature(data.open_volume).parameters if name != "path"]
    for name in reading:
        check_choice("name in reading", name, allowed)
    return {name: _freeze(value) for name, value in reading.items()}


def _freeze(value: Any) -> Any:
    return tuple(_freeze(item) for item in value) if isinstance(value, list) else value


@dataclass(frozen=True)
class Splits:
    """Volumes to train on, to watch (or None) and to score."""

    train: tuple[xr.Dataset, ...]
    validation: xr.Dataset | None
    test: tuple[xr.Dataset, ...]

    @property
    def content_hash(self) -> str:
        """Hashes of all volumes, and which of them served for what."""
        validation = () if self.validation is None else (self.validation,)
        parts = (self.train, validation, self.test)
        return "|".join("-".join(str(v.attrs["content_hash"]) for v in part) for part in parts)


@lru_cache(maxsize=8)
def open_source(study_data: StudyData, *, earth: int = 0) -> xr.Dataset:
    """
    One volume of the source: the synthetic earth of a seed, or the whole real volume.

    The last few are kept in memory, since all losses of a seed read the same.

    Parameters
    ----------
    study_data : StudyData
        Which volume.
    earth : int
        Seed of the synthetic earth; without effect on a real volume.
    """
    if study_data.is_synthetic:
        return synthetic.make_volume(study_data.shape, seed=earth, preset=study_data.source)
    return data.open_volume(study_data.source, **study_data.reading)


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
    return _split(study_data)


def describe_data(study_data: StudyData, *, seeds: Sequence[int]) -> dict[str, str]:
    """Content hashes of the volumes of all seeds, by what they served for, for ``run.json``."""
    found: dict[str, dict[str, None]] = {"training": {}, "validation": {}, "test": {}}
    for seed in seeds:
        splits = load_splits(study_data, seed=seed)
        held_out = () if splits.validation is None else (splits.validation,)
        for name, part in zip(found, (splits.train, held_out, splits.test), strict=True):
            found[name] |= dict.fromkeys(volume.attrs["content_hash"] for volume in part)
    return {name: " ".join(hashes) for name, hashes in found.items() if hashes}


def _make_earths(study_data: StudyData, *, seed: int) -> Splits:
    n_train, n_test = study_data.n_train_volumes, study_data.n_test_volumes
    check_count("seed", seed, low=0, high=VALIDATION_EARTH // n_train - 1)
    check_count("n_test_volumes", n_test, high=TEST_EARTH)
    first = seed * n_train
    return Splits(
        train=tuple(open_source(study_data, earth=first + index) for index in range(n_train)),
        validation=open_source(study_data, earth=VALIDATION_EARTH),
        test=tuple(open_source(study_data, earth=TEST_EARTH + index) for index in range(n_test)),
    )


@lru_cache(maxsize=2)
def _split(study_data: StudyData) -> Splits:
    """Blocks of lines of a real volume; every stretch of neighbouring lines is one volume."""
    volume = open_source(study_data)
    if "salt" not in volume:
        raise ValueError(
            f"Invalid volume {study_data.source} for a study. Must have a salt mask: name a file "
            "or a variable in reading: {mask: ...}."
        )
    axis = study_data.split_axis
    lines = volume[axis].values
    test, validation = study_data.test_lines, study_data.validation_lines
    if not test:
        test, validation = _pick_last_lines(lines, guard=study_data.guard_lines)
    splits = Splits(
        _cut_blocks(volume, axis, _find_free(lines, (*test, *validation), study_data)),
        data.select_lines(volume, axis, validation) if validation else None,
        _cut_blocks(volume, axis, np.flatnonzero(_is_among(lines, test, study_data))),
    )
    if not any((part["salt"] & part["amplitude"].notnull()).any() for part in splits.test):
        raise ValueError(
            f"Invalid test lines of {study_data.source}: no salt in them. Must hold some, since "
            "scores of empty masks say nothing."
        )
    return splits


def _pick_last_lines(
    lines: NDArray[np.int64], *, guard: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Last fifth of the lines, and the tenth before it, less a guard between them."""
    n_test, n_validation = max(len(lines) // 5, 1), len(lines) // 10
    start = len(lines) - n_test
    stop = max(start - guard, 0)
    validation = lines[max(stop - n_validation, 0) : stop]
    return tuple(lines[start:].tolist()), tuple(validation.tolist())


def _is_among(
    lines: NDArray[np.int64], numbers: Sequence[int], study_data: StudyData
) -> NDArray[np.bool_]:
    unknown = sorted(set(numbers) - set(lines.tolist()))
    if unknown:
        raise ValueError(
            f"Invalid {study_data.split_axis} numbers {unknown}. Must be among the {lines.size} "
            f"lines from {lines.min()} to {lines.max()} of {study_data.source}."
        )
    return np.isin(lines, numbers)


def _find_free(
    lines: NDArray[np.int64], held_out: Sequence[int], study_data: StudyData
) -> NDArray[np.int64]:
    """Indices of the lines that are more than the guard away from all held-out ones."""
    guard = study_data.guard_lines
    window = np.ones(2 * guard + 1)
    near = np.convolve(_is_among(lines, held_out, study_data), window)[guard : guard + lines.size]
    free = np.flatnonzero(near == 0)
    if not free.size:
        raise ValueError(
            f"Invalid held-out lines {sorted(held_out)} with a guard of {guard}. Must leave at "
            f"least one of {lines.size} lines along {study_data.split_axis} for training."
        )
    return free


def _cut_blocks(
    volume: xr.Dataset, axis: str, indices: NDArray[np.int64]
) -> tuple[xr.Dataset, ...]:
    """One volume for each stretch of neighbouring lines."""
    lines = volume[axis].values
    stretches = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    return tuple(data.select_lines(volume, axis, lines[part].tolist()) for part in stretches)


def middle_section(volume: xr.Dataset, axis: str) -> xr.Dataset:
    """Middle section of a volume along an axis, dims (depth or time, the other lateral axis)."""
    check_choice("axis", axis, tuple(LATERAL))
    return _take_section(volume, axis, volume.sizes[axis] // 2)


def richest_section(volume: xr.Dataset, axis: str) -> xr.Dataset:
    """Section with the most salt along an axis, the middle one where no mask is known."""
    check_choice("axis", axis, tuple(LATERAL))
    if "salt" not in volume:
        return middle_section(volume, axis)
    others = [dim for dim in volume["salt"].dims if dim != axis]
    return _take_section(volume, axis, int(volume["salt"].sum(others).values.argmax()))


def _take_section(volume: xr.Dataset, axis: str, index: int) -> xr.Dataset:
    return volume.isel({axis: index}).transpose(_volume.vertical_dim(volume), LATERAL[axis])
