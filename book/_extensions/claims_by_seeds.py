"""What the library would have decided about each claim after one seed, after two, and so on."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thesis_lib.study.claim_tables import ENTRY_NAMES, NAMES, format_claims
from thesis_lib.study.claims import (
    VERDICTS,
    Claim,
    Decision,
    decide,
    find_deciding,
    gate_claims,
    read_claims,
)
from thesis_lib.study.tables import NOT_RUN, read_thesis_table

DIGITS = 6  # significant ones of numbers that are only drawn


@dataclass(frozen=True)
class Evidence:
    """Scores that a chapter stored, with what `thesis_lib.study.decide` needs beside them."""

    scores: pd.DataFrame
    options: dict[str, Any] = field(default_factory=dict)
    areas: pd.DataFrame | None = None  # seed, measure, auc

    @property
    def seeds(self) -> list[int]:
        """Seeds in their order."""
        return sorted(self.scores["seed"].unique())

    def decide(self, claims: list[Claim], n_seeds: int) -> list[Decision]:
        """Decide about claims from the first seeds alone."""
        first = self.seeds[:n_seeds]
        scores = self.scores[self.scores["seed"].isin(first)]
        options = dict(self.options)
        if self.areas is not None:
            areas = self.areas[self.areas["seed"].isin(first)]
            options["admissions"] = areas.groupby("measure")["auc"].mean().to_dict()
        return gate_claims([decide(claim, scores, **options) for claim in claims])


def read_losses(results: Path) -> Evidence:
    """Read the scores of chapter 2."""
    entries = read_thesis_table().index
    return Evidence(
        pd.read_csv(results / "02_loss_study/scores.csv"), {"entries": entries, "by": "loss"}
    )


def read_classification(results: Path) -> Evidence:
    """Read how chapter 3 tells patches near the threshold apart."""
    return Evidence(pd.read_csv(results / "03_activation_maximization/near.csv"))


def read_maximization(results: Path) -> Evidence:
    """Read measures of the images of chapter 3, and what admits them."""
    folder = results / "03_activation_maximization"
    areas = pd.read_csv(folder / "admissions.csv")
    added = areas[areas["measure"] == "deficit_db"].assign(measure="deficit_added_db")
    return Evidence(pd.read_csv(folder / "scores.csv"), areas=pd.concat([areas, added]))


def read_inversion(results: Path) -> Evidence:
    """Read scores of the blocks of chapter 4, and what admits the F1 of the boundary."""
    folder = results / "04_network_inversion"
    areas = pd.read_csv(folder / "admissions.csv").rename(columns={"Seed": "seed", "AUC": "auc"})
    return Evidence(pd.read_csv(folder / "scores.csv"), areas=areas.assign(measure="boundary_f1"))


def read_attribution(results: Path) -> Evidence:
    """Read what networks of chapter 5 look at."""
    return Evidence(pd.read_csv(results / "05_class_activation/scores.csv"))


def read_next_survey(results: Path) -> Evidence:
    """Read how methods of chapter 7 do on surveys to come."""
    return Evidence(pd.read_csv(results / "07_next_survey/claim_scores.csv"))


READERS: dict[str, Callable[[Path], Evidence]] = {
    "losses": read_losses,
    "classification": read_classification,
    "maximization": read_maximization,
    "inversion": read_inversion,
    "attribution": read_attribution,
    "next_survey": read_next_survey,
}


def list_claims(results: Path) -> dict[str, Any]:
    """
    List all claims with what the first 1, 2, ... seeds decide about them.

    Parameters
    ----------
    results : Path
        Folder with a folder for each chapter, as the book shows them.

    Returns
    -------
    dict
        ``verdicts``, all words in their order, ``n_seeds``, the most of any claim, and ``claims``:
        statement, task, margin, whether it is a check, and under ``steps`` one entry for each
        number of seeds that there is: verdict, reason, the effect in words, and where it is
        measured its mean with the bounds that it is judged by. Without ``steps``: not run.
    """
    claims = [
        described
        for task, reader in READERS.items()
        for described in _describe_task(task, reader, results)
    ]
    return {
        "verdicts": [*VERDICTS, NOT_RUN],
        "n_seeds": max((len(claim["steps"]) for claim in claims), default=0),
        "claims": claims,
    }


def _describe_task(
    task: str, reader: Callable[[Path], Evidence], results: Path
) -> list[dict[str, Any]]:
    claims = read_claims(task=task)
    try:
        evidence = reader(results)
    except FileNotFoundError:  # no chapter of this run has looked at it
        steps: list[list[Decision]] = []
    else:
        steps = [evidence.decide(claims, n) for n in range(1, len(evidence.seeds) + 1)]
    return [
        {
            "id": claim.id,
            "statement": claim.statement,
            "task": NAMES["tasks"][task],
            "margin": claim.margin,
            "check": claim.checks is not None,
            "steps": [_describe_decision(decisions[i]) for decisions in steps],
        }
        for i, claim in enumerate(claims)
    ]


def _describe_decision(decision: Decision) -> dict[str, Any]:
    texts = format_claims([decision]).iloc[0]
    described = {"verdict": decision.verdict, "reason": decision.reason, "effect": texts.iloc[-1]}
    if found := find_deciding(decision):
        effect, low, high = found
        described |= {
            name: None if np.isnan(value) else float(f"{value:.{DIGITS}g}")
            for name, value in (("mean", effect.mean), ("low", low), ("high", high))
        }
        described["rival"] = ENTRY_NAMES[effect.rival]
    return described
