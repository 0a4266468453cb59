"""Plain values and JSON: what is written is read back, and is JSON."""

import json

import numpy as np
import pytest
from tiny_project import Bet, Throw

from thesis_lib._json import format_json, to_plain, write_json


def test_infinity_is_valid_json():
    """Infinite numbers are written as numbers that every reader takes for infinite."""
    content = {"a": [float("inf"), -np.inf, 1.5], "b": "-inf"}
    text = format_json(content)
    assert "Inf" not in text
    assert json.loads(text) == {"a": [np.inf, -np.inf, 1.5], "b": "-inf"}


def test_plain_values():
    """Tuples become lists, NumPy numbers Python's, NaN null, tasks their fields."""
    assert to_plain({"a": (np.float32(1.5), np.int64(2), True, np.nan)}) == {
        "a": [1.5, 2, True, None]
    }
    assert to_plain(Bet(Throw(1, (2, 3)), "x")) == {
        "throw": {"seed": 1, "sides": [2, 3]},
        "stake": "x",
    }


def test_interrupted_write_leaves_the_old_file(tmp_path):
    """Content that cannot be written leaves the file as it was."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
