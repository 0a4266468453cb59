"""Worker processes: as many as asked for, gone afterwards."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import dask
import numpy as np
import pytest
from dask.distributed import LocalCluster
from tiny_project import Walk

from thesis_lib.study import grid, run_all, workers
from thesis_lib.study.workers import PRELOADED, open_workers, preload_workers


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
        if sys.platform == "linux":  # forked with all that is slow to import
            loaded = client.run(lambda: {*sys.modules}.issuperset(PRELOADED))
            assert all(loaded.values())
    assert client.status == "closed"


def test_more_threads_than_cores_are_warned_about(monkeypatch, caplog):
    """Workers that would compete for the cores of a machine say how many threads they need."""
    monkeypatch.setattr(workers, "CPU_COUNT", 4)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for n_threads in (2, 3):
        monkeypatch.setattr("torch.get_num_threads", lambda n=n_threads: n)
        workers._warn_of_threads(2)
    (said,) = (each.getMessage() for each in caplog.records if each.name == workers.__name__)
    assert said.startswith("2 workers with 3 threads each compete for 4 cores. Set OMP_NUM_THREADS")


def test_workers_have_the_environment_of_their_start(monkeypatch):
    """A variable set between two clusters, such as the choice of a GPU, reaches the second."""
    for value in ("2", "3"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
        with open_workers(2) as client:
            found = client.run(os.environ.get, "CUDA_VISIBLE_DEVICES")
        assert list(found.values()) == [value] * 2


def test_slow_libraries_are_imported_late(repository):
    """Importing the study brings neither torchmetrics nor timm, and so no torchvision."""
    names = {"torchmetrics", "torchvision", "timm", "matplotlib"}
    line = f"import sys, thesis_lib.study; assert not {names} & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", line], cwd=repository, check=True)


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
