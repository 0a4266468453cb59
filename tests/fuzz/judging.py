"""What became of an input: taken, refused, or a finding."""

import logging
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from linecache import getline
from pathlib import Path
from random import Random
from typing import Protocol

import numpy as np
import xarray as xr

import saltvolumes
from saltvolumes.volume import AXES, are_even, vertical_dim

FINDINGS = ("crash", "hang", "silent", "lost")
KINDS = ("accepted", "refused", *FINDINGS)
KILLED = "killed"  # what an input returns that killed a process
ROOT = Path(saltvolumes.__file__).parents[1]
PROJECT = tuple(str(ROOT / name) for name in ("saltvolumes", "saltearth", "thesis_lib"))


class WrongError(AssertionError):
    """Something was taken that breaks a promise."""


class LostError(AssertionError):
    """A kill left something half, or for ever."""


@dataclass(frozen=True)
class Case:
    """One input: what is done with it, and whether it is known to be wrong."""

    act: Callable[[], object]
    is_wrong: bool = False
    label: str = ""


class Area(Protocol):
    """Makes inputs of one kind; ``weight`` is how often, next to others."""

    name: str
    weight: float
    cpu_s: float
    wall_s: float

    def make(self, rng: Random, folder: Path) -> Case:
        """Make an input, with its files in a folder of its own."""


@dataclass(frozen=True)
class Outcome:
    """What became of one input."""

    kind: str
    message: str = ""
    details: str = ""
    killed: bool = False


def judge(case: Case) -> Outcome:
    """Try an input. Warnings of libraries are errors; those of the project are words to users."""
    said = _Listener()
    logging.getLogger().addHandler(said)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = case.act()
    except (WrongError, LostError) as error:
        kind = "lost" if isinstance(error, LostError) else "silent"
        return Outcome(kind, f"{error} ({case.label})")
    except Exception as error:  # noqa: BLE001  whatever it is, it is counted
        message, details = f"{type(error).__name__}: {error}", traceback.format_exc()
        if fault := find_fault(error):
            return Outcome("crash", f"{fault}: {message[:300]} ({case.label})", details)
        return Outcome("refused", message)
    finally:
        logging.getLogger().removeHandler(said)
    if case.is_wrong and not said.words:
        return Outcome("silent", f"taken without a word: {case.label}")
    return Outcome("accepted", killed=result == KILLED)


def find_fault(error: Exception) -> str | None:
    """
    What is wrong with a refusal, or None.

    It is one line, and the project raises it itself or says nothing of its own about a file that
    the system refuses.
    """
    if not isinstance(error, ValueError | TypeError | OSError):
        return "not an error of bad input"
    if not str(error).strip() or "\n" in str(error):
        return "not one line"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    raised = getline(frame.filename, frame.lineno or 0).strip().startswith("raise")
    own = raised and frame.filename.startswith(PROJECT)
    of_system = isinstance(error, OSError) and error.errno is not None
    return None if own or of_system else "not said by the project"


def check_volume(volume: xr.Dataset) -> None:
    """Read a volume whole, and refuse it where it breaks the contract."""
    amplitude = volume["amplitude"]
    dim = vertical_dim(volume)
    samples, values = volume[dim].values, amplitude.values
    bad = ~np.isfinite(values)
    steps = np.diff(samples)
    promises = {
        "dims": amplitude.dims == (*AXES, dim),
        "dtype": values.dtype == np.float32,
        "whole traces": bool((bad.all(axis=2) == bad.any(axis=2)).all() and not bad.all()),
        "no infinity": not np.isinf(values).any(),
        "vertical": bool(np.isfinite(samples).all() and (steps > 0).all() and are_even(steps)),
        "lines": all(len(set(volume[axis].values.tolist())) == volume.sizes[axis] for axis in AXES),
        "salt": "salt" not in volume or volume["salt"].values.dtype == np.bool_,
        "velocity": "velocity" not in volume or volume["velocity"].values.dtype == np.float32,
    }
    if broken := [name for name, kept in promises.items() if not kept]:
        raise WrongError(f"a volume that breaks: {', '.join(broken)}")


class _Listener(logging.Handler):
    """Counts what the project logs for users."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("saltvolumes", "thesis_lib", "saltearth")):
            self.words.append(record.getMessage())
