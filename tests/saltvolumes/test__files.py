"""Tests of files and folders that are replaced whole."""

import pytest

from saltvolumes._files import replace_when_done, write_text


def test_an_error_leaves_the_old_file_alone(tmp_path):
    """Until the block ends without an error, the path holds what it held."""
    path = tmp_path / "Höhe 1.txt"
    write_text(path, "old é")

    def fail() -> None:
        with replace_when_done(path) as partial:
            partial.write_text("half")
            assert path.read_text(encoding="utf-8") == "old é"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert path.read_text(encoding="utf-8") == "old é"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("before", [False, True])
def test_a_folder_replaces_a_folder(tmp_path, before):
    """What the old folder held is gone, and so is what killed processes left."""
    path = tmp_path / "store"
    for name in ("store", ".store.partial", ".store.replaced")[not before :]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").touch()
    with replace_when_done(path) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_was_moved_aside_is_kept_until_another_is_there(tmp_path):
    """A kill between the two steps of a replacement leaves the old folder next to its name."""
    (tmp_path / ".store.replaced").mkdir()
    with pytest.raises(KeyError), replace_when_done(tmp_path / "store"):
        raise KeyError
    assert (tmp_path / ".store.replaced").is_dir()
