"""Argument checks with one wording: what was given, and what is allowed."""

import os
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def check_choice(name: str, value: T, allowed: Collection[T]) -> T:
    """
    Return ``value`` if it is one of ``allowed``.

    Raises
    ------
    ValueError
        If it is not.
    """
    if value not in allowed:
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ValueError(f"Invalid {name} {value!r}. Must be one of: {choices}.")
    return value


def check_range(
    name: str, value: float, *, low: float = -np.inf, high: float = np.inf, exclusive: bool = False
) -> float:
    """
    Return ``value`` if it is finite and lies in [low, high], or in (low, high] with ``exclusive``.

    Raises
    ------
    TypeError
        If it is not a number.
    ValueError
        If it lies outside, is NaN or infinite.
    """
    if not isinstance(value, int | float | np.number):
        raise TypeError(f"Invalid {name} {value!r}. Must be a number.")
    above = value > low if exclusive else value >= low
    if not (above and value <= high and abs(value) < np.inf):  # also of integers of any size
        left = "(" if exclusive or np.isinf(low) else "["
        right = ")" if np.isinf(high) else "]"
        raise ValueError(f"Invalid {name} {value!r}. Must lie in {left}{low:g}, {high:g}{right}.")
    return value


def check_count(name: str, value: int, *, low: int = 1, high: int | None = None) -> int:
    """
    Return ``value`` if it is a whole number in [low, high].

    Raises
    ------
    TypeError
        If it is not a whole number (a bool is not).
    ValueError
        If it lies outside.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"Invalid {name} {value!r}. Must be a whole number.")
    if value < low or (high is not None and value > high):
        span = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"Invalid {name} {value}. Must be {span}.")
    return int(value)


def check_pair(name: str, values: Sequence[float]) -> tuple[float, float]:
    """
    Return ``values`` if they are two numbers.

    Raises
    ------
    ValueError
        If they are not.
    """
    numbers = np.asarray(values)
    if numbers.shape != (2,) or numbers.dtype.kind not in "iuf":
        raise ValueError(f"Invalid {name} {values!r}. Must be two numbers.")
    return float(numbers[0]), float(numbers[1])


def check_same_shape(
    first_name: str, first: Sequence[int], second_name: str, second: Sequence[int]
) -> None:
    """
    Refuse two shapes that differ.

    Raises
    ------
    ValueError
        If they differ.
    """
    if tuple(first) != tuple(second):
        raise ValueError(
            f"Shapes differ: {first_name} {tuple(first)}, {second_name} {tuple(second)}. "
            "Must be the same."
        )


def check_output(
    name: str,
    path: Path,
    *,
    endings: Collection[str],
    inputs: Iterable[Path] = (),
    force: bool = False,
) -> Path:
    """
    Return ``path`` if a file of that name can and may be written; nothing is written.

    Parameters
    ----------
    name : str
        What the file is, for messages.
    path : Path
        The file to be.
    endings : collection of str
        What it may end in, in lower case.
    inputs : iterable of Path
        Files that are read; none of them is ever replaced.
    force : bool
        Whether a file that is there may be replaced.

    Raises
    ------
    ValueError
        If the ending is another, the folder is not there or cannot be written to, or the file is
        an input, or is there and not to be replaced.
    """
    check_choice("file ending", path.suffix.lower(), endings)
    folder = path.absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"Invalid {name} {path}. Must be in a folder that can be written to.")
    if path.exists():
        if any(given.exists() and given.samefile(path) for given in inputs):
            raise ValueError(f"Invalid {name} {path}: it is an input. Must be another file.")
        if not force:
            raise ValueError(f"Invalid {name} {path}: it exists. Must be new, or use --force.")
    return path
