"""Tests of the argument checks."""

import math

import numpy as np
import pytest

from saltvolumes._checks import (
    check_choice,
    check_count,
    check_pair,
    check_range,
    check_same_shape,
)


def test_allowed_values_are_returned():
    """What is allowed comes back: both ends of a range, a count as an int, a pair as floats."""
    assert check_choice("window", "hann", ("flat", "hann")) == "hann"
    assert [check_range("step", value, low=0, high=1) for value in (0.0, 0.5, 1)] == [0.0, 0.5, 1]
    assert check_range("step", 2**70) == 2**70  # beyond the integers of NumPy
    assert [type(check_count("n_lines", value)) for value in (3, np.int64(3))] == [int, int]
    assert check_pair("range", [4400, math.inf]) == (4400.0, math.inf)
    check_same_shape("mask", (2, 3), "image", [2, 3])


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_choice("window", "box", ("flat", "hann")), "one of: 'flat', 'hann'"),
        (lambda: check_range("step", -0.1, low=0, high=1), r"Must lie in \[0, 1\]"),
        (lambda: check_range("step", math.nan, low=0, high=1), r"Must lie in \[0, 1\]"),
        (lambda: check_range("step", 0, low=0, high=1, exclusive=True), r"lie in \(0, 1\]"),
        (lambda: check_range("step", math.inf), r"Must lie in \(-inf, inf\)"),
        (lambda: check_count("n_lines", 0), r"Invalid n_lines 0\. Must be at least 1"),
        (lambda: check_count("n_lines", 5, high=4), r"Invalid n_lines 5\. Must be from 1 to 4"),
        (lambda: check_same_shape("a", (2, 3), "b", (3, 2)), r"differ: a \(2, 3\), b \(3, 2\)"),
    ],
)
def test_other_values_are_refused(check, message):
    """The message has what was given and what is allowed."""
    with pytest.raises(ValueError, match=message):
        check()


@pytest.mark.parametrize("value", [3.0, True, "3", None, [1.0], (1, 2, 3), ("1", "2")])
def test_words_lists_and_truth_values_are_no_numbers(value):
    """Floats are not counts either, and a pair is two numbers."""
    with pytest.raises(TypeError, match=r"Invalid n_lines .*\. Must be a whole number\."):
        check_count("n_lines", value)
    with pytest.raises(ValueError, match=r"Invalid range .* Must be two numbers"):
        check_pair("range", value)
    if value != 3:
        with pytest.raises(TypeError, match=r"Invalid step .*\. Must be a number\."):
            check_range("step", value, low=0)
