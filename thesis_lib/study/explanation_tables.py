"""Tables of explanations over networks: what claims decide on, and curves over depth."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from scipy import stats

from thesis_lib._checks import check_choice
from thesis_lib.study import inversion, maximization
from thesis_lib.study.inversion import InvertedBlocks
from thesis_lib.study.maximization import MaximizedClasses

SHALLOW = ("block1", "block2")
MIN_CONVERGED = 0.5  # share of the images of a block that have to converge, or none of them count
LEVEL = 0.05  # of the two-sided intervals


def tabulate_maximization(
    runs: Iterable[tuple[str, MaximizedClasses]], *, class_name: str = "salt"
) -> pd.DataFrame:
    """
    Average the measures of one class over AM seeds: one row a network.

    Parameters
    ----------
    runs : iterable of (entry, MaximizedClasses)
        Of all routes and seeds, each with its name among the entries of claims.
    class_name : str
        Which class.

    Returns
    -------
    DataFrame
        Columns ``entry``, ``seed``, the measures, and ``one_body``, the
        share of images with one body; NaN without a segmenter.

    Raises
    ------
    ValueError
        If a run has no image of the class.
    """
    rows = []
    for entry, run in runs:
        check_choice("class_name", class_name, run.table["class"].unique().tolist())
        table = run.table[run.table["class"] == class_name]
        one_body = (table["bodies"] == 1).where(table["bodies"].notna()).astype(float)
        means = table[[*maximization.MEASURES]].mean().to_dict()
        rows.append({"entry": entry, "seed": run.seed, **means, "one_body": one_body.mean()})
    return pd.DataFrame(rows)


def tabulate_inversion(
    runs: Iterable[InvertedBlocks], *, converged_only: bool = True
) -> pd.DataFrame:
    """
    Average the measures of inversions over patches and restarts: one row a network and depth.

    Parameters
    ----------
    runs : iterable of InvertedBlocks
        Of all routes and seeds.
    converged_only : bool
        Whether images that did not converge are left out, which show the optimiser and not the
        network. Where fewer than half of a block's have converged, all of its measures are NaN:
        the few would be the easy patches.

    Returns
    -------
    DataFrame
        Columns ``entry``, which is ``"<route> block<k>"`` or, the mean of blocks 1 and 2,
        ``"<route> shallow"``; ``seed``; and the measures. ``converged`` is always the share of all
        images.
    """
    rows = []
    for run in runs:
        table = _select(run.table, converged_only=converged_only)
        means = table.groupby("block")[[*inversion.MEASURES]].mean()
        if set(SHALLOW) <= set(means.index):
            means.loc["shallow"] = means.loc[[*SHALLOW]].mean(skipna=False)
        means.insert(0, "entry", [f"{run.route} {depth}" for depth in means.index])
        means.insert(1, "seed", run.seed)
        rows.append(means)
    return pd.concat(rows, ignore_index=True)


def summarise_depth(runs: Iterable[InvertedBlocks], *, converged_only: bool = True) -> pd.DataFrame:
    """
    Average the measures of inversions of each route and block, with 95 % t-intervals.

    A value is a patch of a network, averaged over its restarts.

    Parameters
    ----------
    runs, converged_only
        As in `tabulate_inversion`; the rule of one half is applied network by network.

    Returns
    -------
    DataFrame
        One row a route and block. Columns ``route``, ``block`` and of each measure
        ``<measure>``, ``<measure>_low`` and ``<measure>_high``, the mean and its bounds: NaN with
        fewer than one, or two, values.
    """
    values = []
    for run in runs:
        table = _select(run.table, converged_only=converged_only)
        patches = table.groupby(["block", "patch"], as_index=False)[[*inversion.MEASURES]].mean()
        values.append(patches.assign(route=run.route))
    groups = pd.concat(values).groupby(["route", "block"], sort=False)[[*inversion.MEASURES]]
    means, counts = groups.mean(), groups.count()
    half = groups.sem() * stats.t.ppf(1 - LEVEL / 2, counts - 1)
    bounds = [(means - half).add_suffix("_low"), (means + half).add_suffix("_high")]
    curves: pd.DataFrame = pd.concat([means, *bounds], axis=1).reset_index()
    return curves


def _select(table: pd.DataFrame, *, converged_only: bool) -> pd.DataFrame:
    """Table with NaN for the measures of images that do not count."""
    if not converged_only:
        return table
    share = table.groupby("block")["converged"].transform("mean")
    counts = (table["converged"] == 1) & (share >= MIN_CONVERGED)
    judged = [measure for measure in inversion.MEASURES if measure != "converged"]
    return table.assign(**{name: table[name].where(counts, np.nan) for name in judged})
