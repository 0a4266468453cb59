"""The code that counts for a key: what is reached by name, and no word more."""

import importlib
import sys

import pytest

from thesis_lib import _sources
from thesis_lib.patches import Earths
from thesis_lib.study import Maximize, Score, Train

TASK = """\
from invented import shapes
from invented.scores import dice

class Task:
    def run(self):
        return dice(1) + shapes.area(2)
"""
FILES = {
    "__init__": "",
    "task": TASK,
    "scores": "LIMIT = 3\n\ndef dice(x: int) -> int:\n    return min(x, LIMIT)\n",
    "shapes": "from invented.inner import side\n\ndef area(n):\n    return side(n) ** 2\n",
    "inner": "def side(n):\n    return n\n",
}


@pytest.fixture
def hash_of(tmp_path, monkeypatch):
    """Source hash of a class in an invented package with some files changed."""

    def compute(**changes):
        for name, text in (FILES | changes).items():
            (tmp_path / "invented" / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        for each in (_sources._read_module, _sources._read_definition, _sources._locate):
            each.cache_clear()
        return _sources.hash_sources.__wrapped__(type("Task", (), {"__module__": "invented.task"}))

    (tmp_path / "invented").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    yield compute
    for name in [name for name in sys.modules if name.partition(".")[0] == "invented"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": "LIMIT = 4\n\ndef dice(x: int) -> int:\n    return min(x, LIMIT)\n"},
        {"scores": "LIMIT = 3\n\ndef dice(x: int) -> int:\n    return max(x, LIMIT)\n"},
        {"scores": FILES["scores"].replace("def dice", "@staticmethod\ndef dice")},
        {"inner": "def side(n):\n    return n + 1\n"},
        {"task": TASK.replace("area(2)", "area(3)")},
    ],
    ids=["constant", "function", "decorator", "through a module", "class"],
)
def test_what_is_reached_counts(hash_of, changes):
    """A change of any definition that the class reaches by name changes its hash."""
    assert hash_of(**changes) != hash_of()


@pytest.mark.parametrize(
    "changes",
    [
        {"scores": FILES["scores"] + "\ndef jaccard(x):\n    return x\n"},
        {"scores": FILES["scores"].replace("x: int", "x: float")},
        {"scores": FILES["scores"].replace("    return", '    """Score."""\n\n    return')},
        {"scores": FILES["scores"].replace("LIMIT = 3", "LIMIT = 3  # why")},
        {"shapes": FILES["shapes"].replace("\n\n", "\n\n\n").replace("side(n)", "(side(n))")},
    ],
    ids=["another score", "annotation", "docstring", "comment", "layout"],
)
def test_what_changes_no_result_does_not_count(hash_of, changes):
    """Other definitions of a module, annotations, docstrings, comments and layout do not count."""
    assert hash_of(**changes) == hash_of()


def test_words_of_errors_do_not_count(hash_of):
    """An error ends a run, whatever it says."""
    text = "def side(n):\n    if n < 0:\n        raise ValueError('{}')\n    return n\n"
    assert hash_of(inner=text.format("a")) == hash_of(inner=text.format("b"))


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (Train, "thesis_lib.model.SaltUNet"),
        (Train, "thesis_lib.losses.overlap.dice_loss"),
        (Train, "thesis_lib.losses.boundary.hausdorff_loss"),
        (Train, "thesis_lib.training.fitting.fit"),
        (Train, "thesis_lib.patches.batches.PatchBatches"),
        (Train, "thesis_lib.patching.zscore"),
        (Earths, "saltearth.making.make_volume"),
        (Score, "thesis_lib.metrics.score_volume"),
        (Maximize, "thesis_lib.xai.maximization.maximize"),
        (Maximize, "thesis_lib.xai.measures.contour_sharpness"),
    ],
)
def test_tasks_reach_what_they_rest_on(kind, path):
    """Network, losses, optimiser, batches and earth count for a training, scores for a score."""
    assert path in _sources._follow([kind])


def test_training_does_not_reach_scores_files_or_data_sets():
    """Scores, explanations, the list of data sets, downloads and readers do not count for it."""
    reached = _sources._follow([Train, Earths])
    readers = ("datasets", "downloads", "archives", "opening", "_io")
    others = ("thesis_lib.xai", "thesis_lib.metrics.score_volume")
    others += tuple(f"saltvolumes.{name}" for name in readers)
    assert [path for path in reached if path.startswith(others)] == []
