"""Plain values to JSON and back, and the texts of JSON and YAML that people may damage."""

import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError

from saltvolumes._files import write_text

# A text in JSON, or the word for infinity that Python writes and JSON does not have.
_TEXT_OR_INFINITY = re.compile(r'("(?:[^"\\]|\\.)*")|Infinity')
# What parsers of JSON and YAML raise, also for values that are none and for too deep a nesting.
DAMAGE = (
    *(yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError),
    *(RecursionError, OverflowError),
)


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads ``1e-3`` as text; here it is a number, as everybody means it."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("+-0123456789")
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


def load_yaml(text: str) -> Any:
    """Read YAML; text that is not YAML raises one of `DAMAGE`."""
    return yaml.load(text, _Loader)


def parse_value(text: str, kind: Any = Any) -> Any:
    """
    Read a value as a command line gives it: YAML, or any text where a text is allowed.

    Parameters
    ----------
    text : str
        What was typed.
    kind : type
        Annotation of what the value is for.

    Raises
    ------
    ValueError
        If it is not YAML, and a text is not allowed.

    Examples
    --------
    >>> parse_value('["bce", "dice"]'), parse_value("1e-3"), parse_value("synthetic")
    (['bce', 'dice'], 0.001, 'synthetic')
    >>> parse_value("/data/Survey #2: [F3].sgy", str), parse_value("null", str | None)
    ('/data/Survey #2: [F3].sgy', None)
    """
    takes_text = kind is not Any and _fits(text, kind)
    try:
        value = load_yaml(text)
    except DAMAGE as error:  # dates that do not exist, say
        if takes_text:
            return text
        raise ValueError(f"Invalid value {text!r}. Must be a YAML literal.") from error
    is_quoted = text.strip()[:1] in ("'", '"')
    if takes_text and not (_fits(value, kind) and (is_quoted or not isinstance(value, str))):
        return text
    return value


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


def _fits(value: Any, kind: Any) -> bool:
    with suppress(ValidationError):
        TypeAdapter(kind, config=ConfigDict(strict=True)).validate_python(value)
        return True
    return False
