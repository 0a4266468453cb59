"""Worker processes: as many as asked for, gone afterwards."""

import os
import re
import signal
import sys
import threading
import time

import dask
import numpy as np
import pytest
from dask.distributed import LocalCluster
from tiny_project import Walk

from thesis_lib.study import grid, run_all
from thesis_lib.study.workers import open_workers, preload_workers


@pytest.fixture(scope="module")
def client():
    """Two workers that tests share: each imports all of torch."""
    with open_workers(2) as client:
        yield client


def test_one_worker_is_this_process():
    """With one worker nothing is started, and runs are computed here; with none, nowhere."""
    with open_workers(1) as client:
        assert client is None
    with pytest.raises(ValueError, match="n_workers"), open_workers(0):
        pass


def test_workers_are_processes_of_one_task_each():
    """Each of several workers takes one task at a time, and none is left afterwards."""
    with open_workers(2) as client:
        assert list(client.nthreads().values()) == [1, 1]
        assert len(set(client.run(os.getpid).values())) == 2
        if sys.platform == "linux":  # forked with torch, and without what only some runs need
            names = {"torch", "torchmetrics", "torchvision", "timm"}
            loaded = client.run(lambda: names & {*sys.modules})
            assert list(loaded.values()) == [{"torch"}] * 2
    assert client.status == "closed"


def test_clusters_do_not_meet():
    """Two clusters on one machine listen on ports of their own, on this machine alone."""
    with open_workers(2) as first, open_workers(2) as second:
        servers = [client.cluster.scheduler.http_server for client in (first, second)]
        assert {server.address for server in servers} == {"127.0.0.1"}
        assert servers[0].port != servers[1].port


def test_workers_keep_the_order(client, tmp_path, capsys):
    """Workers take tasks nearly in the order that they were asked for, whatever their keys are."""
    walks = grid(Walk(0), seed=[*range(20, 0, -1)], n_steps=[1])
    run_all(walks, root=tmp_path, client=client)
    seeds = [int(text) for text in re.findall(r"Walk (\d+)", capsys.readouterr().out)]
    assert np.abs(np.subtract(seeds, range(20, 0, -1))).max() <= 8  # at random 15 or more


def test_workers_stop_when_time_is_up(client, tmp_path):
    """What workers have finished by then is returned; the rest goes on where it stopped."""
    walks = grid(Walk(0), seed=[1, 2, 3, 4, 5, 6])
    options = {"root": tmp_path, "progress": False}
    with open_workers(2) as own:
        run_all(grid(Walk(0), seed=[7, 8], n_steps=[1]), **options, client=own)  # brings torch
        found = run_all(walks, **options, client=own, minutes=3.5 / 60)
    assert 0 < len(found) < len(walks)
    begun = {path.parent.name for walk in walks for path in tmp_path.glob(f"{walk.key}/step0")}
    assert len(begun) > len(found)
    options |= {"client": client}
    assert len(run_all(walks, **options, minutes=0)) >= len(found)  # what is there is found
    again = run_all(walks, **options)
    assert [outcome.task for outcome in again] == walks
    assert {outcome.task.key for outcome in found} <= {o.task.key for o in again if not o.computed}
    assert {outcome.scores["n_begun"] for outcome in again} <= {5, 6}  # no step but one was lost


def test_a_killed_worker_of_a_cluster_costs_its_last_step(tmp_path, monkeypatch, capsys):
    """A cluster that exists already shares the runs; what a killed worker had done is kept."""
    local = {"dashboard_address": "127.0.0.1:0", "memory_limit": 0}
    with (
        dask.config.set(preload_workers()),
        LocalCluster(n_workers=2, threads_per_worker=1, **local) as cluster,
    ):
        monkeypatch.setenv("THESIS_SCHEDULER", cluster.scheduler_address)
        found = []
        with open_workers(1) as client:
            assert "Dashboard: http://" in capsys.readouterr().out
            walks = grid(Walk(0), seed=[1, 2, 3])
            work = threading.Thread(
                target=lambda: found.extend(run_all(walks, root=tmp_path, client=client))
            )
            work.start()
            while not (steps := list(tmp_path.glob("*/step1"))):
                time.sleep(0.02)
            os.kill(int((steps[0].parent / "begun").read_text().split()[-1]), signal.SIGKILL)
            work.join(timeout=120)
    assert [outcome.task for outcome in found] == walks
    begun = [outcome.scores["n_begun"] for outcome in found]
    assert sorted(begun) == [5, 5, 6]
