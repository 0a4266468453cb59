"""Verdicts for readers, of one chapter and of all of them."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from thesis_lib._json import DAMAGE, in_one_line
from thesis_lib.study.claims import (
    CONTRADICTED,
    FAILS,
    SATURATED,
    SUPPORTED,
    TIED,
    UNMEASURED,
    VERDICTS,
    Claim,
    Decision,
    find_deciding,
    gate_claims,
)
from thesis_lib.study.tables import (
    ENTRY_NAMES,
    MEASURE_NAMES,
    NAMES,
    NOT_RUN,
    read_thesis_table,
)

CLAIMS = "claims.json"  # what a chapter decided
_EFFECT = "Effect [95 % bounds]"


def read_decisions(path: Path) -> list[Decision]:
    """
    Read the decisions that a chapter wrote as JSON.

    Raises
    ------
    ValueError
        If the file is damaged or of another version of the library.
    """
    try:
        return TypeAdapter(list[Decision]).validate_json(path.read_text(encoding="utf-8"))
    except DAMAGE as error:
        raise ValueError(
            f"Cannot read {path}: {in_one_line(error)}. Run the chapter again."
        ) from error


def effect_table(decisions: Sequence[Decision]) -> pd.DataFrame:
    """
    Effects behind all claims, one row per claim and rival, for the forest plot.

    Returns
    -------
    DataFrame
        Columns ``statement``, ``verdict``, ``margin``, ``rival`` (a category, in the order of the
        thesis' table and of the blocks), ``mean``, ``low``, ``high``.
    """
    rows = [
        asdict(decision.claim) | {"verdict": decision.verdict} | asdict(effect)
        for decision in decisions
        for effect in decision.effects
    ]
    columns = ["statement", "verdict", "margin", "rival", "mean", "low", "high"]
    table = pd.DataFrame(rows, columns=columns)
    rivals = pd.Categorical(table["rival"], categories=list(ENTRY_NAMES))
    table["rival"] = rivals.rename_categories(ENTRY_NAMES)
    return table


def count_verdicts(decisions: Iterable[Decision]) -> dict[str, int]:
    """Numbers of the thesis' claims, not of checks, with each verdict; all others are open."""
    verdicts = [decision.verdict for decision in decisions if decision.claim.checks is None]
    words = {SUPPORTED: "supported", FAILS: "failing", TIED: "tied", CONTRADICTED: "contradicted"}
    counts = {f"n_{word}": verdicts.count(verdict) for verdict, word in words.items()}
    return counts | {"n_open": len(verdicts) - sum(counts.values())}


def format_claims(decisions: Iterable[Decision]) -> pd.DataFrame:
    """
    Lay out the claims for readers: statement, verdict and the effect that decides.

    Returns
    -------
    DataFrame of str
        The effect is the one that the verdict turns on, with the bounds that it is judged by, see
        :func:`~thesis_lib.study.claims.find_deciding`. For *above* and *below* it is the score
        itself, with the bound that is claimed.
    """
    return pd.DataFrame(
        {
            "Claim": decision.claim.statement,
            "Score": MEASURE_NAMES[decision.claim.measure],
            "Verdict": decision.verdict,
            "Why": decision.reason,
            _EFFECT: _format_effect(decision),
        }
        for decision in decisions
    )


def _format_effect(decision: Decision) -> str:
    claim = decision.claim
    if (found := find_deciding(decision)) is None:
        return "–"
    effect, *limits = found
    values, sign, claimed = np.array([effect.mean, *limits]), "+", ""
    if claim.bound is not None:
        values = claim.bound + (values if claim.rule == "above" else -values[[0, 2, 1]])
        sign, claimed = "", f" (claimed: {claim.rule} {claim.bound:g})"
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
        ``conclusions``: those of the thesis in short, with the thesis' own numbers and the verdict
        of the check. ``claims``: the same claims with rule, source, and whether they survive Holm's
        correction. ``checks``: those that check them. Both link to the chapters. ``verdicts``: how
        many claims of the thesis have which verdict.
    """
    found = collect_decisions(claims, folders)
    decisions = gate_claims([decision for decision, _ in found.values()])
    table = pd.DataFrame(
        {
            "Claim": [claim.statement for claim in claims],
            "Source": [claim.source for claim in claims],
            "Measure and rule": [_format_rule(claim) for claim in claims],
            "Verdict": [
                f"{mark_verdict(each.verdict)}: {each.reason}".removesuffix(": ")
                for each in decisions
            ],
            _EFFECT: [_format_effect(decision) for decision in decisions],
            "Holm": _survive(decisions),
            "Chapter": [_link(chapter) for _, chapter in found.values()],
        }
    )
    own = np.array([claim.checks is None for claim in claims])
    tasks = np.array([NAMES["tasks"][claim.task] for claim in claims])[own]
    verdicts = np.array([decision.verdict for decision in decisions])[own]
    rare = {FAILS, SATURATED, UNMEASURED, NOT_RUN} - {*verdicts}
    columns = [verdict for verdict in (*VERDICTS, NOT_RUN) if verdict not in rare]
    counts = pd.crosstab(tasks, verdicts).reindex(
        index=pd.unique(tasks), columns=columns, fill_value=0
    )
    return {
        "conclusions": _conclude(claims, decisions),
        "claims": table[own],
        "checks": table[~own],
        "verdicts": counts.rename(columns=mark_verdict).reset_index(names="Claims about"),
    }


def mark_verdict(verdict: str) -> str:
    """
    Return a verdict as a span of MyST whose class the pages colour.

    Examples
    --------
    >>> mark_verdict("supported, fails its check")
    '[supported, fails its check]{.verdict .verdict-fails}'
    """
    kinds = {FAILS: "fails", UNMEASURED: "unmeasured", NOT_RUN: "unmeasured"}
    return f"[{verdict}]{{.verdict .verdict-{kinds.get(verdict, verdict)}}}"


def _conclude(claims: Sequence[Claim], decisions: Sequence[Decision]) -> pd.DataFrame:
    """One row per claim of the thesis: what it says, what was found, and what its check says."""
    checks = {each.claim.checks: each.verdict for each in decisions if each.claim.checks}
    rows = [
        {
            "Claim": claim.statement,
            "Thesis": _quote_thesis(claim),
            "Ours": _format_effect(each),
            "Verdict": mark_verdict(each.verdict),
            "Check": mark_verdict(checks[claim.id]) if claim.id in checks else "–",
            "Why": each.reason or "–",
        }
        for claim, each in zip(claims, decisions, strict=True)
        if claim.checks is None
    ]
    return pd.DataFrame(rows)


def _quote_thesis(claim: Claim) -> str:
    """Difference in the thesis' Table 1 that a claim rests on, in the way of `_format_effect`."""
    table = read_thesis_table()
    if claim.task != "losses" or claim.measure not in table:
        return "not in Table 1"
    scores = table[claim.measure]
    others = scores.drop(claim.subject)
    rival = str(others.idxmin() if claim.rule == "worst" else others.idxmax())
    sign = 1 if claim.rule == "best" else -1
    return f"{ENTRY_NAMES[rival]}: {sign * (scores[claim.subject] - scores[rival]):+.4f}"


def _survive(decisions: Sequence[Decision]) -> list[str]:
    """Whether each claim of the thesis survives a correction for the number of all of them."""
    from thesis_lib.study.evidence import survive_holm  # scipy.stats takes long to import

    own = {each.claim.id: each for each in decisions if each.claim.checks is None}
    surviving = survive_holm({name: each.p_value for name, each in own.items()})
    words = {name: "survives" if name in surviving else "does not" for name in own}
    is_own = [each.verdict == SUPPORTED and each.claim.id in words for each in decisions]
    return [
        words[each.claim.id] if counts else "–"
        for each, counts in zip(decisions, is_own, strict=True)
    ]


def _format_rule(claim: Claim) -> str:
    ending = "er" if claim.others else "est"
    words = {"best": f"high{ending}", "worst": f"low{ending}", "beats": "some gain"}
    bound = "" if claim.bound is None else f" {claim.bound:g}"
    rule = f"{words.get(claim.rule, claim.rule)}{bound}"
    return f"{MEASURE_NAMES[claim.measure]}: {rule}, δ = {claim.margin:g}"


def _link(chapter: str) -> str:
    """Role that links to a chapter by its number, relative to a page of the book."""
    return f"{{doc}}`{int(chapter[:2])} <chapters/{chapter}>`" if chapter else "–"
