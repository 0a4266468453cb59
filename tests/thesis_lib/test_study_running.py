"""The engine: nothing is computed twice, and what cannot be used is refused."""

import multiprocessing
from itertools import product
from unittest.mock import Mock

import pytest
from tiny_project import Bet, Throw, Walk

from thesis_lib.study import running
from thesis_lib.study.running import run_all

TIMES = [f'{{"seconds": {seconds}}}' for seconds in ("null", "-1", "NaN", '"two"')]


def test_parents_come_first_and_nothing_is_repeated(tmp_path, capsys):
    """Parents are computed once, before their children; a second call finds all of it."""
    wanted = [Bet(Throw(1)), Bet(Throw(1), "a coin"), Throw(2)]
    first = run_all(wanted, root=tmp_path)
    again = run_all(wanted, root=tmp_path)
    assert [outcome.task for outcome in first] == wanted
    assert [outcome.computed for outcome in (*first, *again)] == [True] * 3 + [False] * 3
    assert [outcome.scores for outcome in again] == [outcome.scores for outcome in first]
    assert [found.task for found in first[0].lineage()] == [wanted[0], Throw(1)]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert lines[0].startswith("[1/4] Throw, points 2.0000 (computed in 0 s, ")
    assert lines[-1] == f"[4/4] Throw, points 3.0000 (found, {Throw(2).key})"


def test_checks_come_before_computing(tmp_path, monkeypatch):
    """What a task refuses is refused before any other is computed."""
    monkeypatch.setattr(Throw, "check", Mock(side_effect=ValueError("no throw")))
    with pytest.raises(ValueError, match="no throw"):
        run_all([Walk(1), Throw(0)], root=tmp_path)
    assert not list(tmp_path.iterdir())


def test_finished_run_is_found_where_nothing_can_be_written(tmp_path, monkeypatch):
    """A run that is there needs no lock, as in a folder that is read-only."""
    run_all([Bet(Throw(1))], root=tmp_path)
    monkeypatch.setattr(running, "FileLock", None)
    (found,) = run_all([Bet(Throw(1))], root=tmp_path)
    assert not found.computed


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        *product(("scores", "timing"), ("{", "{}", "[]"), (".*",)),
        *product(["timing"], TIMES, ("seconds .* are no computing time",)),
    ],
)
def test_damaged_results_are_refused(tmp_path, name, text, message):
    """A damaged file, or a computing time that is no number, is named and nothing is computed."""
    (outcome,) = run_all([Throw(1)], root=tmp_path)
    (outcome.folder / f"{name}.json").write_text(text)
    with pytest.raises(ValueError, match=rf"{name}\.json: {message}\. Delete the folder .* again"):
        run_all([Throw(1)], root=tmp_path)


def test_two_processes_compute_once(tmp_path):
    """Of two processes that want the same run at once, one computes and one finds it."""
    context = multiprocessing.get_context("fork")
    jobs = [
        context.Process(target=run_all, args=([Walk(0)],), kwargs={"root": tmp_path})
        for _ in range(2)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    (outcome,) = run_all([Walk(0)], root=tmp_path)
    assert (outcome.computed, outcome.scores) == (False, {"n_begun": 5})


def test_workers_take_one_task_at_a_time(tmp_path):
    """A worker that would compute two tasks in one process is refused."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, dashboard_address="127.0.0.1:0", processes=False
        ) as cluster,
        distributed.Client(cluster) as client,
        pytest.raises(ValueError, match="Must be threads_per_worker=1"),
    ):
        run_all([Throw(1)], root=tmp_path, client=client)
