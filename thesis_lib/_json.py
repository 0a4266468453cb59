"""Plain values to JSON and back, and the texts of JSON and YAML that people may damage."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from saltvolumes._files import write_text

# A text in JSON, or the word for infinity that Python writes and JSON does not have.
_TEXT_OR_INFINITY = re.compile(r'("(?:[^"\\]|\\.)*")|Infinity')
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
    Write values as JSON; infinity is 1e999, which every reader takes for a number beyond float64.

    Examples
    --------
    >>> format_json({"b": (4400.0, float("inf")), "a": float("nan")})
    '{"a": null, "b": [4400.0, 1e999]}'
    """
    text = json.dumps(to_plain(content), indent=indent, sort_keys=sort_keys, ensure_ascii=False)
    return _TEXT_OR_INFINITY.sub(lambda found: found[1] or "1e999", text)


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
    text = str(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        text = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join(text.split()).rstrip(".") or type(error).__name__
