import json
import multiprocessing
import time

import pytest

from thesis_lib.study import runs
from thesis_lib.study.runs import Run, complete, source_hash, to_plain, write_json

RUN = Run("thesis_lib.losses", {"loss": "dice", "patch": (64, 64)}, "abc", seed=3)


def test_finished_run_is_never_repeated(tmp_path):
    """The second request finds the first one's scores and computes nothing."""
    calls = []

    def compute(folder):
        calls.append(folder)
        return {"dice": 0.5}

    first = complete(RUN, compute, root=tmp_path)
    second = complete(RUN, compute, root=tmp_path)
    assert calls == [first.folder]
    assert (first.computed, second.computed) == (True, False)
    assert first.scores == second.scores == {"dice": 0.5}


def test_failed_run_is_taken_up_again(tmp_path):
    """A run that raised leaves its folder, without scores, to the next attempt."""

    def fail(folder):
        (folder / "state").write_text("half")
        raise RuntimeError("killed")

    def resume(folder):
        return {"state": (folder / "state").read_text()}

    with pytest.raises(RuntimeError, match="killed"):
        complete(RUN, fail, root=tmp_path)
    assert complete(RUN, resume, root=tmp_path).scores == {"state": "half"}


@pytest.mark.parametrize(
    "change",
    [{"task": "thesis_lib.metrics"}, {"config": {"loss": "bce"}}, {"data_hash": "x"}, {"seed": 4}],
    ids=["task", "config", "data", "seed"],
)
def test_key_depends_on_everything(change):
    """Task, configuration, data and seed each give another key."""
    assert Run(**{**vars(RUN), **change}).key != RUN.key


def test_key_depends_on_libraries(monkeypatch):
    """Scores of another version of torch are not found."""
    key = RUN.key
    monkeypatch.setattr(runs, "version", lambda name: f"{name} 0")
    assert RUN.key != key


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_damaged_scores_are_refused(tmp_path, text):
    """A damaged file of scores is named, and nothing is computed over it."""
    path = complete(RUN, lambda _: {"dice": 1}, root=tmp_path).folder / "scores.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"scores\.json: .*Delete it to compute the run again"):
        complete(RUN, lambda _: {"dice": 1}, root=tmp_path)


def test_key_ignores_order_and_sequence_type():
    """The order of settings and the type of a sequence do not count."""
    config = {"patch": [64, 64], "loss": "dice"}
    assert Run(RUN.task, config, RUN.data_hash, RUN.seed).key == RUN.key


def test_config_records_the_run(tmp_path):
    """``config.json`` holds everything that the key is made of."""
    folder = complete(RUN, lambda _: {"dice": 1}, root=tmp_path).folder
    assert json.loads((folder / "config.json").read_text()) == RUN.describe()


def _write_module(folder, text):
    (folder / "__init__.py").write_text("")
    (folder / "other.py").write_text(text)
    (folder / "task.py").write_text("from invented import other\n")


@pytest.fixture
def hash_of(tmp_path, monkeypatch):
    """Source hash of a module that imports another, whose text is given."""
    package = tmp_path / "invented"
    package.mkdir()
    monkeypatch.syspath_prepend(tmp_path)

    def compute(text):
        _write_module(package, text)
        runs.source_hash.cache_clear()
        runs._code.cache_clear()
        return source_hash("invented.task")

    yield compute
    runs.source_hash.cache_clear()
    runs._code.cache_clear()


def test_source_hash_follows_imports(hash_of):
    """A change of code in an imported module changes the hash of the task."""
    assert hash_of("x = 1\n") != hash_of("x = 2\n")


def test_source_hash_ignores_words(hash_of):
    """Comments, docstrings and layout do not count."""
    assert hash_of("def f():\n    return 1\n") == hash_of(
        'def f():\n    """Say."""\n\n    return 1  # why\n'
    )


def test_interrupted_write_leaves_the_old_file(tmp_path):
    """Content that cannot be written leaves the file as it was."""
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def _complete_slowly(root, queue):
    def compute(folder):
        (folder / "started").touch(exist_ok=False)
        time.sleep(1)
        return {"x": 1}

    queue.put(complete(RUN, compute, root=root).computed)


def test_two_processes_compute_once(tmp_path):
    """Of two processes that want the same run at once, one computes and one finds it."""
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_complete_slowly, args=(tmp_path, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    assert sorted(queue.get(timeout=60) for _ in processes) == [False, True]
    for process in processes:
        process.join()


def test_plain_values():
    """Tuples become lists and NumPy numbers become Python's."""
    import numpy as np

    assert to_plain({"a": (np.float32(1.5), np.int64(2), True)}) == {"a": [1.5, 2, True]}
