"""Tests of the argument checks."""

import math

import numpy as np
import pytest

from thesis_lib._checks import (
    check_choice,
    check_count,
    check_pair,
    check_range,
    check_same_shape,
)


def test_choice_returns_an_allowed_value():
    """A value that is allowed comes back as it is."""
    assert check_choice("window", "hann", ("flat", "hann")) == "hann"


def test_choice_names_what_is_allowed():
    """Another value is refused with what was given and what is allowed."""
    with pytest.raises(ValueError, match=r"Invalid window 'box'\. Must be one of: 'flat', 'hann'"):
        check_choice("window", "box", ("flat", "hann"))


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_range_holds_its_ends(value):
    """Both ends belong to a range."""
    assert check_range("share", value, low=0, high=1) == value


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_range_refuses_what_lies_outside(value):
    """A value outside of the range and NaN are refused."""
    with pytest.raises(ValueError, match=r"Invalid share .*\. Must lie in \[0, 1\]\."):
        check_range("share", value, low=0, high=1)


def test_range_can_leave_out_its_low_end():
    """With ``open_low`` the low end itself is refused."""
    with pytest.raises(ValueError, match=r"Invalid step 0\. Must lie in \(0, 1\]\."):
        check_range("step", 0, low=0, high=1, open_low=True)


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_range_without_ends_refuses_what_is_not_finite(value):
    """Infinity belongs to no range, not even to one without ends."""
    with pytest.raises(ValueError, match=r"Must lie in \(-inf, inf\)\."):
        check_range("gain_db", value)


@pytest.mark.parametrize("value", [3, np.int64(3)])
def test_count_returns_a_plain_int(value):
    """A whole number of any kind comes back as an int."""
    assert type(check_count("n_lines", value)) is int


@pytest.mark.parametrize("value", [3.0, True, "3", None])
def test_count_refuses_what_is_no_whole_number(value):
    """Floats, booleans and strings are no counts."""
    with pytest.raises(TypeError, match=r"Invalid n_lines .*\. Must be a whole number\."):
        check_count("n_lines", value)


def test_count_refuses_too_few():
    """A count below the lowest one allowed is refused."""
    with pytest.raises(ValueError, match=r"Invalid n_lines 0\. Must be at least 1\."):
        check_count("n_lines", 0)


def test_count_refuses_too_many():
    """A count above the highest one allowed is refused."""
    with pytest.raises(ValueError, match=r"Invalid n_lines 5\. Must be from 1 to 4\."):
        check_count("n_lines", 5, high=4)


def test_equal_shapes_pass():
    """A tuple and a list of the same lengths are the same shape."""
    check_same_shape("mask", (2, 3), "image", [2, 3])


def test_unequal_shapes_are_both_named():
    """Shapes that differ are refused, and both are named."""
    with pytest.raises(ValueError, match=r"Shapes differ: mask \(2, 3\), image \(3, 2\)\."):
        check_same_shape("mask", (2, 3), "image", (3, 2))


@pytest.mark.parametrize("value", ["4", None, [1.0]])
def test_range_refuses_what_is_no_number(value):
    """Words are not compared with numbers."""
    with pytest.raises(TypeError, match=r"Invalid step .*\. Must be a number\."):
        check_range("step", value, low=0)


def test_pair_is_two_numbers():
    """Two numbers come back, also as a list or infinite; anything else is refused."""
    assert check_pair("range", [4400, math.inf]) == (4400.0, math.inf)
    for value in (25.0, (1, 2, 3), ("1", "2"), None):
        with pytest.raises(ValueError, match=r"Invalid range .*\. Must be two numbers\."):
            check_pair("range", value)
