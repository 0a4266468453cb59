"""Verdicts for readers and for other programs, of one chapter and of all of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from thesis_lib.study.claims import Claim, Decision, Effect, make_claim, subtracted_margin
from thesis_lib.study.tables import LOSS_NAMES, NOT_RUN, SCORE_NAMES

CLAIMS = "claims.json"  # what a chapter decided
MEASURE_NAMES = SCORE_NAMES | {
    "accuracy": "Accuracy",
    "sharpness": "Contour sharpness",
    "one_body": "Share of images with one body",
    "noise_db": "Noise (dB)",
    "modification": "Modification (1 - SSIM)",
}
ROUTE_NAMES = {
    "segmentation": "Segmentation",
    "classification": "From scratch",
    "untrained": "Untrained",
}
_PLACES = {f"block{n}": f"block {n}" for n in range(1, 5)} | {"shallow": "shallow"}
ENTRY_NAMES = {
    **LOSS_NAMES,
    "near": "Near the threshold",
    "far": "Far from the threshold",
    **ROUTE_NAMES,
    "naive": "Without robustness",
    "robust": "With robustness",
    **{
        f"{route} {place}": f"{name}, {words}"
        for route, name in ROUTE_NAMES.items()
        for place, words in _PLACES.items()
    },
}
TASK_NAMES = {
    "losses": "Losses",
    "classification": "Classification",
    "maximization": "Activation maximization",
    "inversion": "Network inversion",
}
_VERDICTS = ("reproduced", "not reproduced", "inconclusive", NOT_RUN)


def list_claims(decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    """Plain rows for ``claims.json``: claim, verdict, reason, effects with their bounds."""
    return [
        {
            **vars(decision.claim),
            "verdict": decision.verdict,
            "reason": decision.reason,
            "effects": [
                {
                    name: None if isinstance(value, float) and np.isnan(value) else value
                    for name, value in vars(effect).items()
                }
                for effect in decision.effects
            ],
        }
        for decision in decisions
    ]


def read_decisions(path: Path) -> list[Decision]:
    """Read what `list_claims` listed from a JSON file."""
    names = {field.name for field in fields(Claim)}
    return [
        Decision(
            make_claim({name: value for name, value in row.items() if name in names}),
            row["verdict"],
            row["reason"],
            tuple(map(_read_effect, row["effects"])),
        )
        for row in json.loads(path.read_text(encoding="utf-8"))
    ]


def _read_effect(row: Mapping[str, Any]) -> Effect:
    known: dict[str, Any] = {k: float("nan") if v is None else v for k, v in row.items()}
    return Effect(**known)


def effect_table(decisions: Sequence[Decision]) -> pd.DataFrame:
    """
    Effects behind all claims, one row a claim and rival, for the forest plot.

    Returns
    -------
    DataFrame
        Columns ``statement``, ``verdict``, ``rival`` (a category, in the order of the thesis'
        table and of the blocks), ``mean``, ``low``, ``high``.
    """
    rows = [
        {"statement": decision.claim.statement, "verdict": decision.verdict, **vars(effect)}
        for decision in decisions
        for effect in decision.effects
    ]
    columns = ["statement", "verdict", "rival", "mean", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    rivals = pd.Categorical(table["rival"], categories=list(ENTRY_NAMES))
    table["rival"] = rivals.rename_categories(ENTRY_NAMES)
    return table


def format_claims(decisions: Iterable[Decision]) -> pd.DataFrame:
    """
    Lay out the claims for readers: statement, verdict and the effect that decides.

    Returns
    -------
    DataFrame of str
        The effect is that of the closest rival: the smallest mean d, or for *beats* the largest,
        with its one-sided 95 % bounds where there are at least two seeds. What the claim asks of it
        stands beside it, where that is not 0. For *above* and *below* it is the score itself.
    """
    return pd.DataFrame(
        {
            "Claim": decision.claim.statement,
            "Score": MEASURE_NAMES[decision.claim.measure],
            "Verdict": decision.verdict,
            "Why": decision.reason,
            "Effect [95 % bounds]": _format_effect(decision),
        }
        for decision in decisions
    )


def _format_effect(decision: Decision) -> str:
    claim = decision.claim
    effects = [effect for effect in decision.effects if effect.n_seeds]
    if not effects:
        return "–"
    closest = max if claim.rule == "beats" else min
    effect = closest(effects, key=lambda effect: effect.mean)
    margin = subtracted_margin(claim)
    values = np.array([effect.mean, effect.low, effect.high]) + margin
    if claim.rule == "below":
        values = -values[[0, 2, 1]]
    sign = "" if claim.rule in ("above", "below") else "+"
    side = "below" if claim.rule == "below" else "above"
    claimed = f" (claimed: {side} {claim.margin:g})" if margin else ""
    mean, low, high = (f"{value:{sign}.4f}" for value in values)
    bounds = "" if np.isnan(effect.low) else f" [{low}, {high}]"
    return f"{ENTRY_NAMES[effect.rival]}: {mean}{bounds}{claimed}"


def collect_decisions(
    claims: Sequence[Claim], folders: Iterable[Path]
) -> dict[str, tuple[Decision, str]]:
    """
    Find what chapters decided about claims.

    Parameters
    ----------
    claims : sequence of Claim
        All that are wanted.
    folders : iterable of Path
        Results of chapters, named as these; one without ``claims.json`` decided nothing.

    Returns
    -------
    dict of str to tuple of (Decision, str)
        Decision and name of the chapter, by the id of the claim. One that no chapter decided about
        has the verdict *not run* and no chapter.

    Raises
    ------
    ValueError
        If a chapter decided about an unknown claim, or by another rule than the claim's.
    """
    found = {claim.id: (Decision(claim, NOT_RUN, ""), "") for claim in claims}
    for path in (folder / CLAIMS for folder in folders):
        for decision in read_decisions(path) if path.is_file() else ():
            old = decision.claim
            if old.id not in found:
                raise ValueError(f"Invalid claim {old.id!r} in {path}. Must be in claims.yml.")
            claim = found[old.id][0].claim
            if replace(old, statement=claim.statement, source=claim.source) != claim:
                raise ValueError(
                    f"Invalid claim {old.id!r} in {path}: decided by another rule than that of "
                    "claims.yml. Run the chapter again."
                )
            found[old.id] = replace(decision, claim=claim), path.parent.name
    return found


def summarise_claims(claims: Sequence[Claim], folders: Iterable[Path]) -> dict[str, pd.DataFrame]:
    """
    Lay out all claims with what chapters decided about them.

    Parameters
    ----------
    claims, folders
        As for `collect_decisions`.

    Returns
    -------
    dict of str to DataFrame of str
        ``claims``: those of the thesis. ``checks``: those that check them. Both link to the
        chapters. ``verdicts``: how many claims of the thesis have which verdict.
    """
    found = list(collect_decisions(claims, folders).values())
    rows = format_claims(decision for decision, _ in found)
    table = pd.DataFrame(
        {
            "Claim": rows["Claim"],
            "Source": [claim.source for claim in claims],
            "Measure and rule": [_format_rule(claim) for claim in claims],
            "Verdict": [_format_verdict(decision) for decision, _ in found],
            "Effect [95 % bounds]": rows["Effect [95 % bounds]"],
            "Chapter": [_link(chapter) for _, chapter in found],
        }
    )
    own = np.array([claim.checks is None for claim in claims])
    tasks = np.array([TASK_NAMES[claim.task] for claim in claims])[own]
    verdicts = np.array([decision.verdict for decision, _ in found])[own]
    counts = pd.crosstab(tasks, verdicts).reindex(
        index=pd.unique(tasks), columns=_VERDICTS, fill_value=0
    )
    return {
        "claims": table[own],
        "checks": table[~own],
        "verdicts": counts.reset_index(names="Claims about"),
    }


def _format_rule(claim: Claim) -> str:
    ending = "er" if claim.others else "est"
    words = {"best": f"high{ending}", "worst": f"low{ending}", "beats": "gain"}
    between = "" if claim.rule in ("above", "below") else "by "
    margin = f" {between}{claim.margin:g}" if claim.margin else ""
    return f"{MEASURE_NAMES[claim.measure]}: {words.get(claim.rule, claim.rule)}{margin}"


def _format_verdict(decision: Decision) -> str:
    why = f": {decision.reason}" if decision.reason else ""
    return f"**{decision.verdict}**{why}"


def _link(chapter: str) -> str:
    """Role that links to a chapter by its number, relative to a page of the book."""
    return f"{{doc}}`{int(chapter[:2])} <chapters/{chapter}>`" if chapter else "–"
