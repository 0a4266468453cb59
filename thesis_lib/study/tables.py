"""Tables: scores of runs, Table 1 next to the thesis', and the names of what they hold."""

from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from pathlib import Path
from types import NoneType

import numpy as np
import pandas as pd
import yaml
from scipy.special import stdtrit

from thesis_lib.study.tasks import Outcome

# What the thesis says, typed once: table1.csv and claims.yml.
REFERENCE = Path(__file__).resolve().parents[2] / "book" / "reference"

NAMES: dict[str, dict[str, str]] = yaml.safe_load(
    Path(__file__).with_name("names.yml").read_text(encoding="utf-8")
)
LOSS_NAMES, SCORE_NAMES = NAMES["losses"], NAMES["scores"]
MEASURE_NAMES = NAMES["scores"] | NAMES["measures"]
ENTRY_NAMES = NAMES["losses"] | NAMES["initialisations"] | NAMES["others"]
ENTRY_NAMES |= {
    f"{initialisation} {depth}": f"{name}, {words}"
    for initialisation, name in NAMES["initialisations"].items()
    for depth, words in (NAMES["depths"] | NAMES["regions"]).items()
}
ENTRY_NAMES |= {
    f"{method} {target}": f"{name}, {words}"
    for method, name in NAMES["methods"].items()
    for target, words in NAMES["targets"].items()
}
BASELINE = "bce_dice"
NOT_RUN = "not run"
_CELL = (str, int, float, NoneType)  # what fits a cell of a table
_DIGITS = {"hausdorff95_m": 0, "mean_surface_distance_m": 1}


def tabulate(
    outcomes: Iterable[Outcome], *, rows: str | None = None, **columns: str
) -> pd.DataFrame:
    """
    Lay the scores of runs out as a table, with one row per run.

    Parameters
    ----------
    outcomes : iterable of Outcome
        Finished runs.
    rows : str, optional
        A score that is a list of records: each of them is a row then, as of the images of a run.
    **columns : str
        First columns: name and where its value is found, as a dotted path from the task, for
        example ``loss="network.loss"``.

    Returns
    -------
    DataFrame
        The columns asked for, then one per score that is a number or a text and has another name;
        null is NaN.
    """
    table = []
    for outcome in outcomes:
        known = {name: attrgetter(path)(outcome.task) for name, path in columns.items()}
        records = [outcome.scores] if rows is None else outcome.scores[rows]
        cells = ({k: v for k, v in record.items() if isinstance(v, _CELL)} for record in records)
        table += [known | record | known for record in cells]
    frame = pd.DataFrame(table, columns=None if table else [*columns])
    return frame.astype(dict.fromkeys(frame.columns[frame.isna().all()], float))


def tabulate_histories(outcomes: Iterable[Outcome], **columns: str) -> pd.DataFrame:
    """
    Lay the histories of networks out as a table, with one row per run and epoch.

    Parameters
    ----------
    outcomes : iterable of Outcome
        Finished scores of networks.
    **columns : str
        As in `tabulate`.

    Returns
    -------
    DataFrame
        The columns asked for, then those of the histories, ``epoch`` first; ``validation_dice`` is
        NaN where no volume was watched.
    """
    table = [
        outcome.parents["network"].history.assign(
            **{name: attrgetter(path)(outcome.task) for name, path in columns.items()}
        )
        for outcome in outcomes
    ]
    joined = pd.concat([pd.DataFrame(columns=[*columns]), *table], ignore_index=True)
    names = dict.fromkeys([*columns, "epoch", *joined, "validation_dice"])
    return joined.reindex(columns=[*names])


def read_thesis_table() -> pd.DataFrame:
    """Read the thesis' Table 1, indexed by loss key, in the thesis' order."""
    return pd.read_csv(REFERENCE / "table1.csv", index_col="loss")


def format_table1(
    scores: pd.DataFrame,
    thesis: pd.DataFrame,
    *,
    bold: Mapping[str, Collection[str]] | None = None,
) -> pd.DataFrame:
    """
    Lay out Table 1 for readers: means (and, over several seeds, intervals) next to the thesis.

    Parameters
    ----------
    scores : DataFrame
        One row per network: columns ``loss``, ``seed`` and one for each of `SCORE_NAMES`.
    thesis : DataFrame
        See :func:`read_thesis_table`. Its losses are the rows; one that was not run says so.
    bold : mapping of str to collection of str, optional
        Losses to print bold, by score: those that may be the best.

    Returns
    -------
    DataFrame of str
        As `format_cell` writes them.
    """
    rows = []
    for loss, reported in thesis.iterrows():
        ours = scores[scores["loss"] == loss]
        row = {"Loss": LOSS_NAMES[str(loss)]}
        for score, name in SCORE_NAMES.items():
            cell = format_cell(ours[score], digits=_DIGITS.get(score, 4))
            row[name] = f"**{cell}**" if loss in (bold or {}).get(score, ()) else cell
        for score in ("dice", "perimetric_similarity"):
            row[f"Thesis: {SCORE_NAMES[score]}"] = f"{reported[score]:.4f}"
        rows.append(row)
    return pd.DataFrame(rows)


def format_cell(values: "pd.Series[float]", *, digits: int) -> str:
    """Write the mean of some seeds, and half of its 95 % interval where there are several."""
    if values.empty:
        return NOT_RUN
    if values.isna().any():
        return "–"  # not known here, for example metres on a time axis
    mean = f"{values.mean():.{digits}f}"
    if len(values) < 2 or not np.isfinite(values).all():  # an empty mask is infinitely far
        return mean
    half = stdtrit(len(values) - 1, 0.975) * values.std() / np.sqrt(len(values))
    return f"{mean} ± {half:.{digits}f}"
