"""Worker processes: as many as asked for, gone afterwards."""

import os

import pytest

from thesis_lib.study.workers import open_workers


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
    assert client.status == "closed"


def test_clusters_do_not_meet():
    """Two clusters on one machine listen on ports of their own, on this machine alone."""
    with open_workers(2) as first, open_workers(2) as second:
        servers = [client.cluster.scheduler.http_server for client in (first, second)]
        assert {server.address for server in servers} == {"127.0.0.1"}
        assert servers[0].port != servers[1].port
