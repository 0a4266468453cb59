"""What the mean of several predictions is worth, from the sections that scores keep."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from saltvolumes import middle_section
from thesis_lib.metrics import dice_score
from thesis_lib.patches import open_test
from thesis_lib.study.segmentation import load_sections
from thesis_lib.study.tasks import Outcome

COLUMNS = ("seed", "n_networks", "mean", "highest", "together")


def tabulate_ensembles(scores: Iterable[Outcome]) -> pd.DataFrame:
    """
    Compare the networks of a seed with the mean of their predictions.

    Parameters
    ----------
    scores : iterable of Outcome
        Of `Score`: those of a seed predicted the same unseen volumes, and kept the middle sections
        of the first one, along each axis that they were trained on.

    Returns
    -------
    DataFrame
        One row for each seed with two networks at least. Dice scores, mean over the sections:
        ``mean`` and ``highest`` of the networks by themselves, and of all ``together``: the mean of
        their probabilities, above one half. The missing samples of a survey do not count.
    """
    by_seed: dict[int, list[Outcome]] = {}
    for score in scores:
        by_seed.setdefault(score.task.network.seed, []).append(score)
    rows = []
    for seed, group in by_seed.items():
        if len(group) > 1:
            alone, together = _score_group(group)
            rows.append((seed, len(group), alone.mean(), alone.max(), together))
    return pd.DataFrame(rows, columns=[*COLUMNS])


def _score_group(
    group: list[Outcome],
) -> tuple["np.ndarray[tuple[int], np.dtype[np.float64]]", float]:
    """Dice scores of networks, and of the mean of what they predict; means over the sections."""
    task = group[0].task
    volume = open_test(task.network.data, task.network.seed, task.n_earths)
    sections = [load_sections(score) for score in group]
    scores = []
    for axis in task.network.axes:
        truth = middle_section(volume, axis)["salt"].values
        found = np.stack([each[f"{axis}_section"].values for each in sections])  # (n, H, W)
        known = np.isfinite(found).all(axis=0)
        scores.append(
            [dice_score(each > 0.5, truth, valid=known) for each in (*found, found.mean(axis=0))]
        )
    means = np.mean(scores, axis=0)
    return means[:-1], float(means[-1])
