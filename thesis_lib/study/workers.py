"""Worker processes on this machine, for studies whose runs are too small to fill it one by one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from saltvolumes._checks import check_count


@contextmanager
def open_workers(n_workers: int) -> Iterator[Any | None]:
    """
    Start processes that share the runs of a study, and end them.

    Parameters
    ----------
    n_workers : int
        Number of processes. All of them use the same device: on a large GPU several runs fill it
        better than one. With 1 there are none, and runs are computed here.

    Yields
    ------
    dask.distributed.Client or None
        For the argument ``client`` of :func:`~thesis_lib.study.run_all`.

    Raises
    ------
    TypeError, ValueError
        If the number is not a whole number of at least 1.
    """
    if check_count("n_workers", n_workers) == 1:
        yield None
        return
    from dask.distributed import Client, LocalCluster  # slow to import, and few need it

    cluster = LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=n_workers,
        threads_per_worker=1,  # one run at a time
        dashboard_address="127.0.0.1:0",  # any free port; None is 8787, open to other machines
        memory_limit=0,
    )
    with cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        yield client
