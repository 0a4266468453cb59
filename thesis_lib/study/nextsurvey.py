"""What is compared on a survey to come: networks as they are, robust, in ensembles, adapted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from thesis_lib.study.robust import TrainRobust
from thesis_lib.study.saltnet import Adapt, Ensemble, PredictSurvey
from thesis_lib.study.tables import NAMES
from thesis_lib.study.tasks import Outcome
from thesis_lib.training import TrainConfig

SINGLE = "single"  # the mean of the scores of an ensemble's members
METHODS = NAMES["methods"]  # in the order in which each goes on from the one before


def plan_survey(
    naive: PredictSurvey,
    robust: PredictSurvey,
    networks: Sequence[TrainRobust],
    *,
    n_rounds: int,
    labelled: Sequence[int],
    train: TrainConfig,
    n_batches: int,
    confidence: float,
    disagreement: float,
) -> dict[str, PredictSurvey | Ensemble]:
    """
    State all that is predicted for one survey and seed, each going on from the one before.

    Parameters
    ----------
    naive, robust : PredictSurvey
        Predictions of a network that was trained as if there were one survey, and of one that was
        trained for others.
    networks : sequence of TrainRobust
        Members of the ensemble, at least two, that are predicted with as ``robust`` is.
    n_rounds : int
        How often all members learn from what their ensemble predicts.
    labelled : sequence of int
        Lines of the survey that somebody interpreted: the members learn the first, the first two,
        and so on, in place of proxies.
    train, n_batches, confidence, disagreement
        As in `Adapt`.

    Returns
    -------
    dict of str to task
        ``naive``; ``ensemble``, of the robust networks; ``round 1``, ``round 2`` and so on, and
        ``1 line``, ``2 lines`` and so on: ensembles of the networks that went on.

    Examples
    --------
    >>> from thesis_lib.patches import Earths
    >>> network = TrainRobust(0, "dice", Earths({"gulf": (20.0,)}))
    >>> predicted = PredictSurvey(network, Earths({"north_sea": (20.0,)}), lines=(3,))
    >>> how = {"train": TrainConfig(), "n_batches": 8, "confidence": 0.9, "disagreement": 0.1}
    >>> plan = plan_survey(
    ...     predicted, predicted, [network, network], n_rounds=2, labelled=[9], **how
    ... )
    >>> list(plan)
    ['naive', 'ensemble', 'round 1', 'round 2', '1 line']
    """

    def combine(networks: Iterable[TrainRobust | Adapt]) -> Ensemble:
        return Ensemble(tuple(replace(robust, network=network) for network in networks))

    def go_on(
        networks: Iterable[TrainRobust | Adapt], teacher: Ensemble, lines: Sequence[int]
    ) -> list[Adapt]:
        return [
            Adapt(
                network,
                teacher,
                labelled=tuple(lines),
                confidence=confidence,
                disagreement=disagreement,
                train=train,
                n_batches=n_batches,
            )
            for network in networks
        ]

    plan: dict[str, PredictSurvey | Ensemble] = {"naive": naive}
    teacher = first = plan["ensemble"] = combine(networks)
    adapted: Sequence[TrainRobust | Adapt] = networks
    for number in range(1, n_rounds + 1):
        adapted = go_on(adapted, teacher, ())
        teacher = plan[f"round {number}"] = combine(adapted)
    for number in range(1, len(labelled) + 1):
        name = f"{number} line" + "s" * (number > 1)
        plan[name] = combine(go_on(networks, first, labelled[:number]))
    return plan


def tabulate_survey(outcomes: Mapping[str, Outcome], measures: Sequence[str]) -> pd.DataFrame:
    """
    Scores of what `plan_survey` states, and the mean of the members of its first ensemble.

    Parameters
    ----------
    outcomes : mapping of str to Outcome
        Finished tasks by their names; those that are missing are left out.
    measures : sequence of str
        Scores.

    Returns
    -------
    DataFrame
        One row for each method: ``method`` and the ``measures``, NaN where one is unknown.
    """
    rows = []
    for name, outcome in outcomes.items():
        row = {"method": name} | {each: outcome.scores[each] for each in measures}
        if name == "ensemble":
            parts = pd.DataFrame([each.scores for each in outcome.parents.values()])
            means = parts[[*measures]].astype(float).mean(skipna=False).to_dict()
            rows.append({"method": SINGLE} | means)
        rows.append(row)
    numbers = dict.fromkeys(measures, float)
    return pd.DataFrame(rows, columns=["method", *numbers]).astype(numbers)


def score_claims(
    scores: pd.DataFrame, kinds: Sequence[str], real: str, known: Sequence[str]
) -> pd.DataFrame:
    """
    Scores as claims about the next survey compare them.

    Parameters
    ----------
    scores : DataFrame
        One row for each ``survey``, ``seed`` and ``method`` (a key of `METHODS`), with ``dice``.
    kinds : sequence of str
        Kinds of earth, which are surveys as well.
    real : str
        Name of the real survey.
    known : sequence of str
        Kinds that the networks for the real survey were trained on.

    Returns
    -------
    DataFrame
        ``entry`` (a method and ``earths`` or ``real``), ``seed`` and ``dice``. That of earths is
        the mean over their kinds; at home, ``real`` is the mean over the kinds that its networks
        know. A seed for which one of them is missing is left out.
    """
    dice = scores.pivot(index=["method", "seed"], columns="survey", values="dice")
    dice = dice.reindex(columns=[*kinds, real]).astype(float)
    earths, real_dice = dice[[*kinds]].mean(axis=1, skipna=False), dice[real].copy()
    at_home = dice.index.get_level_values("method") == "home"
    real_dice[at_home] = dice.loc[at_home, [*known]].mean(axis=1, skipna=False)
    found = pd.concat({"earths": earths, "real": real_dice}, names=["target"]).dropna()
    table: pd.DataFrame = found.rename("dice").reset_index()
    table["entry"] = table["method"].astype(str) + " " + table["target"]
    return table.reindex(columns=["entry", "seed", "dice"])
