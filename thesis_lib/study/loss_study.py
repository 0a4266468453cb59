"""The loss study: every loss with every seed, under the same conditions."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from thesis_lib._checks import check_choice
from thesis_lib.losses import LOSSES
from thesis_lib.study import segmentation
from thesis_lib.study.runs import Outcome, complete
from thesis_lib.study.segmentation import SegmentationConfig
from thesis_lib.study.splits import Splits, StudyData, load_splits
from thesis_lib.study.tables import collect_scores


@dataclass(frozen=True)
class LossStudy:
    """
    Which losses are compared, on which data, with which seeds.

    Parameters
    ----------
    data : StudyData
        Volumes and how they are split.
    config : SegmentationConfig
        Settings that all runs share; its ``loss`` is replaced.
    losses : tuple of str
        Keys of :data:`thesis_lib.losses.LOSSES`.
    seeds : tuple of int
        A seed decides about weights, patch order and, on synthetic data, the training earth. The
        losses of one seed share all of them, so that they can be compared in pairs.

    Raises
    ------
    ValueError
        If a loss is unknown, or losses or seeds are empty or stand there twice.
    """

    data: StudyData
    config: SegmentationConfig
    losses: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name, values in (("losses", self.losses), ("seeds", self.seeds)):
            if not values or len(set(values)) < len(values):
                raise ValueError(f"Invalid {name} {list(values)}. Must be distinct, at least one.")
        for loss in self.losses:
            check_choice("loss", loss, tuple(LOSSES))


@dataclass(frozen=True)
class LossRun:
    """One trained and scored network of the study."""

    loss: str
    seed: int
    config: SegmentationConfig
    outcome: Outcome

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch: learning rate, training loss, validation Dice."""
        return pd.read_csv(self.outcome.folder / "history.csv")


def run_losses(
    study: LossStudy,
    *,
    root: str | os.PathLike[str] = "runs",
    client: Any | None = None,
    progress: bool = True,
) -> list[LossRun]:
    """
    Compute the runs of a study that are not there yet, and return all of them.

    Parameters
    ----------
    study : LossStudy
        What to compare.
    root : path
        Folder of all runs. With workers on several machines it has to be a shared one.
    client : dask.distributed.Client, optional
        Spreads the runs over its workers, processes of one task each that compute with as many
        threads as this one would: sums in another order would be other sums. Without it the runs
        are computed here, one by one.
    progress : bool
        Whether to print a line when a run ends, and draw progress bars inside of it.

    Returns
    -------
    list of LossRun
        By seed, then in the order of the losses, whoever computed them.

    Raises
    ------
    ValueError
        If a worker of ``client`` takes more than one task at a time.
    """
    jobs = [
        (study.data, replace(study.config, loss=loss), seed, Path(root).resolve(), progress)
        for seed in study.seeds
        for loss in study.losses
    ]
    results = map(_compute, *zip(*jobs, strict=True)) if client is None else _spread(client, jobs)
    runs = []
    for run in results:
        runs.append(run)
        if progress:
            print(f"[{len(runs)}/{len(jobs)}] {describe(run)}", flush=True)
    order = [(config.loss, seed) for _, config, seed, _, _ in jobs]
    return sorted(runs, key=lambda run: order.index((run.loss, run.seed)))


def describe(run: LossRun) -> str:
    """One line on a run: loss, seed, main scores, whether it was computed or found."""
    mean = run.outcome.scores["mean"]
    origin = "computed" if run.outcome.computed else "found"
    return (
        f"{run.loss}, seed {run.seed}: Dice {mean['dice']:.4f}, "
        f"PS {mean['perimetric_similarity']:.4f} ({origin}, {run.outcome.folder.name})"
    )


def score_table(runs: Sequence[LossRun]) -> pd.DataFrame:
    """Scores of all runs, a row a network: columns ``loss``, ``seed`` and one for each score."""
    return collect_scores((run.loss, run.seed, run.outcome.scores) for run in runs)


def _spread(client: Any, jobs: Sequence[tuple[Any, ...]]) -> Iterator[LossRun]:
    """Runs as the workers finish them."""
    from dask.distributed import as_completed  # an extra: only those who spread need it

    tasks = max(client.nthreads().values())
    if tasks > 1:
        raise ValueError(
            f"Invalid worker of {tasks} tasks at a time. Must be threads_per_worker=1."
        )
    n_threads = torch.get_num_threads()
    # Earths take long to make: once a seed, for all workers. Files are read by each.
    earths = {
        seed: client.submit(load_splits, data, seed=seed)
        for data, _, seed, *_ in jobs
        if data.is_synthetic
    }
    futures = [
        client.submit(_compute_apart, n_threads, earths.get(job[2]), *job[:-1], pure=False)
        for job in jobs
    ]
    for future in as_completed(futures):  # type: ignore[no-untyped-call]
        yield future.result()


def _compute_apart(n_threads: int, splits: Splits | None, *job: Any) -> LossRun:
    """Compute a run in a worker process, where no one else minds the number of threads."""
    torch.set_num_threads(n_threads)
    return _compute(*job, splits=splits)


def _compute(
    data: StudyData,
    config: SegmentationConfig,
    seed: int,
    root: Path,
    progress: bool = False,
    *,
    splits: Splits | None = None,
) -> LossRun:
    splits = splits or load_splits(data, seed=seed)
    outcome = complete(
        segmentation.make_run(config, splits, seed=seed),
        lambda folder: segmentation.train_and_score(
            config, splits, folder, seed=seed, progress=progress
        ),
        root=root,
    )
    return LossRun(config.loss, seed, config, outcome)
