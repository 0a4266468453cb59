"""Argument checks with one wording: what was given, and what is allowed."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

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

    NumPy numbers become Python's.

    Raises
    ------
    TypeError
        If it is not a number (a bool is not).
    ValueError
        If it lies outside, is NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"Invalid {name} {value!r}. Must be a number.")
    value = int(value) if isinstance(value, int | np.integer) else float(value)
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


def check_counts(name: str, values: Sequence[int], *, low: int = 1) -> tuple[int, ...]:
    """
    Return ``values`` as a tuple if they are one or more whole numbers of at least ``low``.

    Raises
    ------
    TypeError
        If one is not a whole number.
    ValueError
        If they are not in a row, there is none, or one is too small.
    """
    if np.ndim(values) != 1 or not len(values):
        raise ValueError(
            f"Invalid {name}s {values!r}. Must be at least one whole number, in a list."
        )
    return tuple(check_count(name, value, low=low) for value in values)


def spread_axes(name: str, value: Any, n_axes: int) -> tuple[Any, ...]:
    """
    Return one value for each axis: a single one holds for all.

    Raises
    ------
    ValueError
        If there are several, but not as many as axes.

    Examples
    --------
    >>> spread_axes("patch", 32, 2), spread_axes("patch", [32, 16], 2)
    ((32, 32), (32, 16))
    """
    values = tuple(value) if np.ndim(value) else (value,) * n_axes
    if len(values) != n_axes:
        raise ValueError(
            f"Invalid {name} {values}. Must have one number for each of the {n_axes} axes, or one "
            "for all."
        )
    return values


def check_sizes(name: str, value: int | Sequence[int], n_axes: int) -> tuple[int, ...]:
    """Return whole numbers of at least 1, one for each axis, as `check_count` and `spread_axes`."""
    return tuple(check_count(name, size) for size in spread_axes(name, value, n_axes))


def keep_plain(settings: object) -> None:
    """Let a frozen dataclass hold Python's numbers where it was given NumPy's, as JSON does."""
    for name, value in vars(settings).items():
        object.__setattr__(settings, name, _make_plain(value))


def _make_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _make_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_make_plain, value))
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


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
