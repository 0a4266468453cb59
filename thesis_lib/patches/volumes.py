"""Volumes that networks learn from: training, validation and test volumes that never touch."""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import xarray as xr
from numpy.typing import NDArray
from scipy import ndimage

from saltearth import PRESETS, Preset, make_flawed, make_volume
from saltearth.flaws import check_flaws
from saltvolumes import SURVEYS, open_volume, select_lines
from saltvolumes._checks import check_choice, check_count, check_range, check_sizes, keep_plain
from saltvolumes._files import write_text
from saltvolumes.lines import find_runs
from saltvolumes.volume import LATERAL

# Seeds of the synthetic earths: each belongs to one seed of a study. The three ranges never meet.
# Settings were chosen with the earths from 2,000,000 on, so those are scored no more.
VALIDATION_EARTH = 1_000_000
TEST_EARTH = 3_000_000
LATERAL_M = 25.0  # between the lines of an earth
CUBE_M = 20.0  # between its samples, where nothing else is asked for

Volumes = tuple[xr.Dataset, ...]


@dataclass(frozen=True)
class Earths:
    """
    Synthetic earths, known by their recipe.

    Parameters
    ----------
    presets : mapping of str to tuple of float
        Keys of :data:`saltearth.PRESETS`, each with the vertical spacings in m that its earths
        take in turn. Training earths take the presets in turn; all others are of the first.
    shape : tuple of three int
        (n_inline, n_crossline, n_vertical) of each earth.
    n_train : int
        Earths per seed to train on.
    watched : bool
        Whether an earth is held out to watch the training with.
    changes : mapping of str to object
        Fields of every preset with other values.

    Raises
    ------
    TypeError, ValueError
        If a preset is unknown or has no spacing, a spacing is not above 0, a count below 1, the
        shape not three numbers, or a change not one of a field of presets.
    """

    presets: Mapping[str, tuple[float, ...]]
    shape: tuple[int, int, int] = (96, 128, 128)
    n_train: int = 1
    watched: bool = True
    changes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keep_plain(self)
        presets = self.presets
        given = presets.values() if isinstance(presets, Mapping) else ()
        if not given or not all(isinstance(steps, list | tuple) and steps for steps in given):
            raise ValueError(
                f"Invalid presets {presets}. Must map presets to spacings: {{'gulf': [20.0]}}."
            )
        for name, spacings in presets.items():
            check_choice("preset", name, tuple(PRESETS))
            for spacing in spacings:
                check_range(f"spacing of {name}", spacing, low=0, exclusive=True)
        check_count("n_train", self.n_train)
        for name in self.changes:
            check_choice("change", name, [item.name for item in fields(Preset)])
        plain = {name: tuple(map(float, spacings)) for name, spacings in presets.items()}
        object.__setattr__(self, "presets", plain)
        object.__setattr__(self, "changes", _freeze(self.changes))
        object.__setattr__(self, "shape", check_sizes("shape", self.shape, 3))

    def identify(self) -> dict[str, Any]:
        """What the key of a task covers: the order of the presets counts."""
        return vars(self) | {"presets": list(self.presets.items())}

    def open(self, earth: int) -> xr.Dataset:
        """Earth of a seed, of the first preset."""
        name, spacings = next(iter(self.presets.items()))
        return self._make(name, earth, spacings[0])

    def train(self, seed: int) -> Volumes:
        """Earths that the networks of a seed are trained on."""
        first = _first_earth(seed, self.n_train)
        spacings = {name: cycle(values) for name, values in self.presets.items()}
        names = islice(cycle(self.presets), self.n_train)
        return tuple(
            self._make(name, first + number, next(spacings[name]))
            for number, name in enumerate(names)
        )

    def validation(self, seed: int) -> xr.Dataset | None:
        """Earth that is watched during the training of a seed."""
        return self.open(VALIDATION_EARTH + _first_earth(seed, 1)) if self.watched else None

    def test(self, seed: int, n_volumes: int) -> Volumes:
        """Earths that the networks of a seed are scored on, and no network is trained on."""
        first = TEST_EARTH + _first_earth(seed, n_volumes)
        return tuple(self.open(first + number) for number in range(n_volumes))

    def _make(self, name: str, earth: int, spacing_m: float) -> xr.Dataset:
        preset = replace(PRESETS[name], **self.changes)
        return _make_earth(preset, earth, self.shape, spacing_m)


def _first_earth(seed: int, n_each: int) -> int:
    """Number of the first earth of a seed, where each seed has some of its own."""
    check_count("n_volumes", n_each)
    return n_each * check_count("seed", seed, low=0, high=VALIDATION_EARTH // n_each - 1)


@lru_cache(maxsize=16)  # all losses of a seed, and ablations that change no earth, read the same
def _make_earth(
    preset: Preset, seed: int, shape: tuple[int, int, int], spacing_m: float
) -> xr.Dataset:
    spacing = (LATERAL_M, LATERAL_M, spacing_m)
    return make_volume(shape, seed=seed, spacing_m=spacing, preset=preset)


@dataclass(frozen=True)
class FlawedEarths(Earths):
    """
    Earths whose images have flaws of real ones, known by their recipe: to train on and to score.

    Parameters
    ----------
    flaws : mapping of str to float
        How strong each is at most, as of :func:`saltearth.make_flawed`.
    **others
        As of `Earths`.

    Raises
    ------
    TypeError, ValueError
        As `Earths`, or if a flaw is unknown or outside 0 to 1.
    """

    flaws: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_flaws(self.flaws)
        object.__setattr__(self, "flaws", _freeze(self.flaws))

    def _make(self, name: str, earth: int, spacing_m: float) -> xr.Dataset:
        preset = replace(PRESETS[name], **self.changes)
        return _make_flawed(preset, earth, self.shape, spacing_m, tuple(self.flaws.items()))


@lru_cache(maxsize=16)
def _make_flawed(
    preset: Preset,
    seed: int,
    shape: tuple[int, int, int],
    spacing_m: float,
    flaws: tuple[tuple[str, float], ...],
) -> xr.Dataset:
    spacing = (LATERAL_M, LATERAL_M, spacing_m)
    return make_flawed(shape, seed=seed, flaws=dict(flaws), spacing_m=spacing, preset=preset)


@dataclass(frozen=True)
class Survey:
    """
    A volume in a file, split into blocks of lines; known by the content of its files.

    Parameters
    ----------
    path : str
        The file, kept as an absolute path; or one of ``saltvolumes.SURVEYS``, which knows how
        it is read and what is scored, unless that is given.
    reading : mapping of str to object
        How to read it: arguments of :func:`saltvolumes.open_volume` by name. Lists in it become
        tuples.
    split_axis : {"inline", "crossline"}
        Axis along which the volume is split.
    test_lines, validation_lines : tuple of int
        Line numbers on that axis to score and to watch; the rest, less the guard, is trained on.
        Without test lines the last fifth of the volume is scored and the tenth before it watched.
    guard_lines : int
        Lines left out on either side of the held-out ones, a patch's width for instance.

    Raises
    ------
    TypeError, ValueError
        If an argument is not allowed, or they contradict each other. The file itself is not looked
        at before it is needed: what was computed from it can be read wherever it is now.
    """

    path: str
    reading: Mapping[str, Any] = field(default_factory=dict)
    split_axis: str = "crossline"
    test_lines: tuple[int, ...] = ()
    validation_lines: tuple[int, ...] = ()
    guard_lines: int = 0

    def __post_init__(self) -> None:
        keep_plain(self)
        if not isinstance(self.reading, Mapping):
            raise TypeError(f"Invalid reading {self.reading!r}. Must map arguments to values.")
        allowed = list(inspect.signature(open_volume).parameters)[1:]
        for name in self.reading:
            check_choice("name in reading", name, allowed)
        if known := SURVEYS.get(str(self.path)):
            object.__setattr__(self, "path", known.name)
            object.__setattr__(self, "reading", _freeze(self.reading or known.reading))
            object.__setattr__(self, "test_lines", tuple(self.test_lines or known.test_lines))
        else:
            object.__setattr__(self, "path", str(Path(self.path).expanduser().absolute()))
            object.__setattr__(self, "reading", _freeze(self.reading))
            object.__setattr__(self, "test_lines", tuple(self.test_lines))
        object.__setattr__(self, "validation_lines", tuple(self.validation_lines))
        check_choice("split_axis", self.split_axis, tuple(LATERAL))
        check_count("guard_lines", self.guard_lines, low=0)
        if self.validation_lines and not self.test_lines:
            raise ValueError(
                "Invalid validation_lines without test_lines. Must have both or neither."
            )
        held_out = (*self.test_lines, *self.validation_lines)
        if len(set(held_out)) < len(held_out):
            raise ValueError(
                f"Invalid test_lines {list(self.test_lines)} and validation_lines "
                f"{list(self.validation_lines)}: contain duplicates. Must be distinct."
            )

    @property
    def file(self) -> Path:
        """Where the volume is."""
        return SURVEYS[self.path].path if self.path in SURVEYS else Path(self.path)

    def identify(self) -> dict[str, Any]:
        """What the key of a task covers: content in place of paths."""
        reading = {name: _hash_files(value) for name, value in self.reading.items()}
        return {
            "content": hash_file(self.file),
            "reading": reading,
            "split": [self.split_axis, self.test_lines, self.validation_lines, self.guard_lines],
        }

    def open(self, earth: int = 0) -> xr.Dataset:  # noqa: ARG002  one survey for every seed
        """Whole volume, opened once."""
        return _open_survey(str(self.file), json.dumps(self.reading), json.dumps(self.identify()))

    def train(self, seed: int) -> Volumes:  # noqa: ARG002
        """One volume for each run of neighbouring lines that are trained on."""
        held_out = sum(self._held_out(), ())
        lines, guard, free = self._lines(), self.guard_lines, ~self._are_among(held_out)
        for run in find_runs(lines):
            free[run] = ndimage.minimum_filter1d(free[run], 2 * guard + 1, mode="nearest")
        if not free.any():
            raise ValueError(
                f"Invalid held-out lines {sorted(held_out)} with a guard of {guard}. Must leave at "
                f"least one of {lines.size} lines along {self.split_axis} for training."
            )
        return self._cut_blocks(free)

    def validation(self, seed: int = 0) -> xr.Dataset | None:  # noqa: ARG002
        """Lines that are watched during training, the same for every seed."""
        _, watched = self._held_out()
        return select_lines(self.open(), self.split_axis, watched) if watched else None

    def test(self, seed: int = 0, n_volumes: int = 1) -> Volumes:  # noqa: ARG002
        """One volume for each run of neighbouring lines that are scored, for every seed alike."""
        scored, _ = self._held_out()
        parts = self._cut_blocks(self._are_among(scored))
        if not any((part["salt"] & part["amplitude"].notnull()).any() for part in parts):
            raise ValueError(
                f"Invalid test lines of {self.path}: no salt in them. Must hold some, since "
                "scores of empty masks mean nothing."
            )
        return parts

    def _lines(self) -> NDArray[np.int64]:
        volume = self.open()
        if "salt" not in volume:
            raise ValueError(
                f"Invalid volume {self.path} for a study. Must have a salt mask: name a file "
                "or a variable in reading: {mask: ...}."
            )
        lines: NDArray[np.int64] = volume[self.split_axis].values
        return lines

    def _held_out(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Test and validation lines: those named, or the last fifth and the tenth before it."""
        if self.test_lines:
            return self.test_lines, self.validation_lines
        lines = self._lines()
        n_test, n_validation = max(len(lines) // 5, 1), len(lines) // 10
        start = len(lines) - n_test
        stop = max(start - self.guard_lines, 0)
        validation = lines[max(stop - n_validation, 0) : stop]
        return tuple(lines[start:].tolist()), tuple(validation.tolist())

    def _are_among(self, numbers: Sequence[int]) -> NDArray[np.bool_]:
        """Which lines have these numbers, all of which have to be there."""
        lines = self._lines()
        unknown = sorted(set(numbers) - set(lines.tolist()))
        if unknown:
            raise ValueError(
                f"Invalid {self.split_axis} numbers {unknown}. Must be among the {lines.size} "
                f"lines from {lines.min()} to {lines.max()} of {self.path}."
            )
        return np.isin(lines, numbers)

    def _cut_blocks(self, chosen: NDArray[np.bool_]) -> Volumes:
        """One volume for each run of neighbouring lines among the chosen ones."""
        volume, axis, lines = self.open(), self.split_axis, self._lines()
        return tuple(
            select_lines(volume, axis, lines[run][block].tolist())
            for run in find_runs(lines)
            for (block,) in ndimage.find_objects(ndimage.label(chosen[run])[0])
        )


Data = Earths | FlawedEarths | Survey


def open_test(data: Data, seed: int, n_volumes: int) -> xr.Dataset:
    """Open the first volume of ``data.test(seed, n_volumes)`` without making the other earths."""
    if isinstance(data, Earths):
        return data.open(TEST_EARTH + _first_earth(seed, n_volumes))
    return data.test(seed, n_volumes)[0]


def choose_data(
    source: str, *, shape: Sequence[int], n_train: int = 1, **survey: Any
) -> Earths | Survey:
    """
    Return earths where a source names a preset, else the survey of that name or in a file.

    Parameters
    ----------
    source : str
        A preset of :data:`saltearth.PRESETS`, a survey of ``saltvolumes.SURVEYS``, or a path.
    shape, n_train
        As in `Earths`.
    **survey
        Fields of `Survey`.

    Raises
    ------
    ValueError
        If there is no such file or .zarr folder, fields of a survey are given for a preset, or as
        `Survey`.
    """
    if source not in PRESETS:
        chosen = Survey(source, **survey)
        path = chosen.file
        if not path.exists() or (path.is_dir() and path.suffix.lower() != ".zarr"):
            found = "is a folder" if path.is_dir() else "does not exist"
            raise ValueError(
                f"Invalid data {source!r}: {path} {found}. Must be a preset "
                f"({', '.join(PRESETS)}), a survey ({', '.join(SURVEYS)}), a file or a .zarr "
                "folder."
            )
        return chosen
    if any(survey.get(name) for name in ("reading", "test_lines", "validation_lines")):
        raise ValueError(
            f"Invalid reading or lines for the synthetic earth {source!r}. Must be empty: it has "
            "its own mask, and is split by seed."
        )
    return Earths({source: (CUBE_M,)}, tuple(shape), n_train)  # type: ignore[arg-type]


def hash_file(path: Path) -> str:
    """
    Hash a file, or all files of a folder; remembered by path, size and time of change.

    Returns
    -------
    str
        First 16 hexadecimal digits of a SHA-256.
    """
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(file, file.stat()) for file in files if file.is_file()]
    state: list[Any] = [path.is_dir()]
    state += [[str(file.resolve()), stat.st_size, stat.st_mtime_ns] for file, stat in stats]
    label = hashlib.sha256(json.dumps(state).encode()).hexdigest()[:16]
    memory = platformdirs.user_cache_path("thesis") / "hashes" / label
    if memory.is_file() and len(known := memory.read_text(encoding="utf-8")) == 16:
        return known
    digest = hashlib.sha256()
    for file, _ in stats:
        digest.update(str(file.relative_to(path)).encode() if path.is_dir() else b"")
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    with suppress(OSError):  # without a place to remember it, it is read again
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_text(memory, digest.hexdigest()[:16])
    return digest.hexdigest()[:16]


def _hash_files(value: Any) -> Any:
    """Replace names of files, wherever they are in a value, by their content."""
    if isinstance(value, tuple):
        return [_hash_files(item) for item in value]
    if isinstance(value, str) and Path(value).exists():
        return hash_file(Path(value))
    return value


def _freeze(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _freeze(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(map(_freeze, value))
    return str(value) if isinstance(value, Path) else value


@lru_cache(maxsize=4)
def _open_survey(path: str, reading: str, _content: str) -> xr.Dataset:
    return open_volume(path, **_freeze(json.loads(reading)))
