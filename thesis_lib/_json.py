"""Plain values to JSON and back, and the texts of JSON and YAML that people may damage."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from saltvolumes._files import write_text

# JSON has no infinity; every reader of it takes a number beyond float64 for one.
_INFINITE = "\0infinite"
# What parsers of JSON and YAML raise, also for values that are none and for too deep a nesting.
DAMAGE = (
    *(yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError),
    *(RecursionError, OverflowError),
)


def to_plain(value: Any) -> Any:
    """Turn dataclasses, tuples and NumPy numbers into what JSON holds, NaN into null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and math.isnan(value) else value


def format_json(content: Any, *, sort_keys: bool = True, indent: int | None = None) -> str:
    """
    Write values as JSON, infinity as 1e999.

    Examples
    --------
    >>> format_json({"b": (4400.0, float("inf")), "a": float("nan")})
    '{"a": null, "b": [4400.0, 1e999]}'
    """
    plain = _mark_infinite(to_plain(content))
    text = json.dumps(
        plain, indent=indent, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False
    )
    for sign in ("-", ""):
        text = text.replace(json.dumps(f"{sign}{_INFINITE}"), f"{sign}1e999")
    return text


def write_json(path: Path, content: Any, *, sort_keys: bool = True) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, format_json(content, sort_keys=sort_keys, indent=1) + "\n")


def in_one_line(error: Exception) -> str:
    r"""
    Say what a parser says, in a part of a sentence.

    Examples
    --------
    >>> in_one_line(ValueError("a tab\n  in line 3."))
    'a tab in line 3'
    """
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _mark_infinite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _mark_infinite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_mark_infinite(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return _INFINITE if value > 0 else f"-{_INFINITE}"
    return value
