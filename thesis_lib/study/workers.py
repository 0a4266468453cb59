"""Workers that share the runs of a study: processes of this machine, or a cluster's."""

import logging
import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
import torch
from dask.system import CPU_COUNT

from saltvolumes._checks import check_count

PRELOADED = ("distributed", "thesis_lib.study", "timm")  # by all workers at once
_METHOD = "distributed.worker.multiprocessing-method"
SCHEDULER = "THESIS_SCHEDULER"  # environment variable with the address of a Dask scheduler

logger = logging.getLogger(__name__)


@contextmanager
def open_workers(n_workers: int) -> Iterator[Any | None]:
    """
    Connect to a cluster, or start processes that share the runs of a study and end them.

    Parameters
    ----------
    n_workers : int
        Number of processes on this machine. All of them use the same device: on a large GPU several
        runs fill it better than one. With 1 there are none, and runs are computed here. Without
        effect where the environment variable ``THESIS_SCHEDULER`` names a cluster.

    Yields
    ------
    dask.distributed.Client or None
        For the argument ``client`` of :func:`~thesis_lib.study.run_all`.

    Raises
    ------
    TypeError, ValueError
        If the number is not a whole number of at least 1.
    OSError
        If the cluster does not answer.
    """
    check_count("n_workers", n_workers)
    scheduler = os.environ.get(SCHEDULER)
    if n_workers == 1 and not scheduler:
        yield None
        return
    from dask.distributed import Client, LocalCluster  # slow to import, and few need it

    if scheduler:
        with Client(scheduler) as client:  # type: ignore[no-untyped-call]
            print(f"Dashboard: {client.dashboard_link}", flush=True)
            yield client
        return
    _warn_of_threads(n_workers)
    with dask.config.set(preload_workers()):
        cluster = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=n_workers,
            threads_per_worker=1,  # one run at a time
            dashboard_address="127.0.0.1:0",  # any free port; None is 8787, open to other machines
            memory_limit=0,
            env=dict(os.environ),  # forks would have that of the first start
        )
        with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
            yield client


def preload_workers() -> dict[str, str]:
    """
    Import once what every worker needs, where processes can be forked safely.

    Workers of this machine are then forked, at their start and after a kill, from one process that
    has imported these libraries and runs no other threads.

    Returns
    -------
    dict of str to str
        Configuration for Dask while the workers run; empty where each of them imports by itself.
    """
    if sys.platform != "linux":  # libraries of macOS do not survive a fork, Windows has none
        return {}
    from distributed.utils import get_mp_context

    config = {_METHOD: "forkserver"}
    with dask.config.set(config):
        get_mp_context()  # type: ignore[no-untyped-call]  # the first call sets a list of its own
    multiprocessing.set_forkserver_preload(list(PRELOADED))
    return config


def _warn_of_threads(n_workers: int) -> None:
    n_threads = torch.get_num_threads()
    if n_workers * n_threads > CPU_COUNT and not torch.cuda.is_available():
        logger.warning(
            "%d workers with %d threads each compete for %d cores. Set OMP_NUM_THREADS=%d before "
            "the start: this is faster, and rounds sums differently.",
            *(n_workers, n_threads, CPU_COUNT, max(1, CPU_COUNT // n_workers)),
        )
