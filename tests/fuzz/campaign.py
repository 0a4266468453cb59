"""
A campaign of damaged files, odd parameters and kills: ``make fuzz MINUTES=5 SEED=7``.

Everything follows from the seed; ``make fuzz SEED=7 INPUT=123`` tries one input again.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import dask
import torch
from dask.system import CPU_COUNT
from judging import FINDINGS, KINDS, ROOT, Area
from workers import Plan, Tried, try_all

from thesis_lib._json import write_json

RESULTS = ROOT / "results" / "fuzz"
N_KEPT = 3  # findings of one message
KEPT_BYTES = 2**20
COLUMNS = ("inputs", *KINDS, "kills", "seconds")


class Report:
    """Counts of outcomes, and the findings."""

    def __init__(self, areas: Sequence[Area], seed: int, results: Path) -> None:
        self.seed, self.results = seed, results
        self.counts = {area.name: dict.fromkeys(COLUMNS, 0) for area in areas}
        self.findings: list[dict[str, object]] = []

    def add(self, tried: Tried) -> None:
        """Count an outcome, and keep the files of a finding."""
        outcome, counts = tried.outcome, self.counts[tried.area]
        counts["inputs"] += 1
        counts[outcome.kind] += 1
        counts["kills"] += outcome.killed
        counts["seconds"] += tried.seconds
        if outcome.kind in FINDINGS:
            self._keep(tried)

    def _keep(self, tried: Tried) -> None:
        number, message = tried.number, tried.outcome.message
        finding = {"area": tried.area, "kind": tried.outcome.kind, "message": message}
        finding |= {"input": number, "repeat": f"make fuzz SEED={self.seed} INPUT={number}"}
        alike = [known for known in self.findings if known["message"][:60] == message[:60]]
        self.findings.append(finding)
        sizes = [path.stat().st_size for path in tried.folder.rglob("*") if path.is_file()]
        if len(alike) < N_KEPT:
            print(f"{tried.outcome.kind} in {tried.area}: {message[:300]}", flush=True)
            kept = self.results / f"{self.seed}-{number}"
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
            if sum(sizes) < KEPT_BYTES and tried.folder.is_dir():
                shutil.copytree(tried.folder, kept, dirs_exist_ok=True, symlinks=True)
            words = [f"{name}: {value}" for name, value in finding.items()]
            (kept / "finding.txt").write_text("\n".join([*words, "", tried.outcome.details]))
        shutil.rmtree(tried.folder, ignore_errors=True)

    def total(self) -> dict[str, float]:
        """Sum of the areas."""
        return {name: sum(row[name] for row in self.counts.values()) for name in COLUMNS}

    def format_table(self) -> str:
        """One row per area, and the sum."""
        rows = [("area", COLUMNS)]
        for area, counts in [*self.counts.items(), ("all", self.total())]:
            rows.append((area, tuple(f"{counts[name]:.0f}" for name in COLUMNS)))
        return "\n".join(f"{name:<22}" + "".join(f"{c:>10}" for c in row) for name, row in rows)

    def write(self) -> None:
        """Write the counts and findings as JSON."""
        content = {"seed": self.seed, "total": self.total(), "areas": self.counts}
        self.results.parent.mkdir(parents=True, exist_ok=True)
        path = self.results.with_suffix(".json")
        write_json(path, content | {"findings": self.findings}, sort_keys=False)


def run_campaign(plan: Plan, *, n_workers: int, results: Path) -> Report:
    """Try the inputs of a plan and report."""
    report = Report(plan.areas, plan.seed, results)
    said = time.monotonic()
    for tried in try_all(plan, n_workers):
        report.add(tried)
        if time.monotonic() - said > 60:
            said = time.monotonic()
            report.write()
            print(_describe(report.total()), flush=True)
    return report


def _describe(total: dict[str, float]) -> str:
    return f"{total['inputs']} inputs, {total['kills']} kills so far"


def make_areas(scratch: Path) -> list[Area]:
    """All areas, each with its good files."""
    import chapter_parameters
    import damaged_files
    import killed_processes

    kinds = (*damaged_files.AREAS, *chapter_parameters.AREAS)
    return [*(kind(scratch) for kind in kinds), *killed_processes.make_areas(scratch)]


def main(words: Sequence[str] | None = None) -> int:
    """Run a campaign as the command line asks; 1 if it finds something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10**6)
    parser.add_argument("--input", type=int, help="try this one alone")
    parser.add_argument("--inputs", type=int, default=10**9, help="at most so many")
    parser.add_argument("--area", help="only areas with this in their names; other inputs then")
    parser.add_argument("--workers", type=int, default=min(CPU_COUNT, 8))
    given = parser.parse_args(words)
    torch.set_num_threads(1)
    dask.config.set(scheduler="synchronous")  # threads do not outlive a fork
    print(f"seed {given.seed}: make fuzz SEED={given.seed} repeats", flush=True)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        os.environ["XDG_CACHE_HOME"] = f"{scratch}/cache"
        areas = [area for area in make_areas(Path(scratch)) if (given.area or "") in area.name]
        first, stop = 0, given.inputs
        if given.input is not None:
            first, stop = given.input, given.input + 1
        until = time.monotonic() + 60 * given.minutes
        plan = Plan(areas, given.seed, Path(scratch), until, stop, first)
        report = run_campaign(plan, n_workers=given.workers, results=RESULTS)
    report.write()
    print(report.format_table())
    print(f"{len(report.findings)} findings: {RESULTS.with_suffix('.json')} and {RESULTS}")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
