"""Tests of the order in which workers test chapters."""

import threading
import time

import pytest
from chapter_order import FAILED, find_mark, order_chapters, wait_for


def test_chapters_come_after_all_that_they_need():
    """Those without needs come first; depth counts, not names or the number of needs."""
    needs = {"a": {"z"}, "b": {"c", "d"}, "c": set(), "d": set(), "y": {"a"}, "z": {"c"}}
    assert order_chapters(needs) == ["c", "d", "b", "z", "a", "y"]


def test_a_chapter_waits_for_those_of_its_session(tmp_path):
    """Marks of other sessions are ignored, and waiting too long is an error."""
    mark = find_mark(tmp_path, "01_toy")
    mark.parent.mkdir(parents=True)
    for left in ("", "another"):
        mark.write_text(left)
        with pytest.raises(TimeoutError, match=r"^01_toy, which .* was not executed in 0\.05 s"):
            wait_for(mark, "this", seconds=0.05)
    threading.Timer(0.2, mark.write_text, ["this"]).start()
    start = time.monotonic()
    wait_for(mark, "this")
    assert time.monotonic() - start > 0.1


def test_a_chapter_does_not_begin_after_a_failure(tmp_path):
    """Where a chapter that it goes on from has failed, only older results are there to read."""
    mark = tmp_path / ".01_toy.executed"
    mark.write_text(f"this {FAILED}")
    with pytest.raises(RuntimeError, match=r"^01_toy, which this chapter goes on from, has failed"):
        wait_for(mark, "this")
