"""What is recorded of runs, pages and machines, as the book's pages state it."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from thesis_lib.chapters.staging import format_duration

RESULTS = Path("book") / "results"
RUN_INFO = "run.json"
MEASURED = {"bench": "make bench", "growing": "make bench"}  # measurements and what repeats them
Info = Mapping[str, Any]


def read_json(path: Path) -> Any:
    """Read a file of JSON."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_runs(results: Path) -> dict[str, dict[str, Any]]:
    """Read the ``run.json`` of every chapter in a folder of results, by chapter."""
    paths = sorted(results.glob(f"[0-9][0-9]_*/{RUN_INFO}"))
    return {path.parent.name: read_json(path) for path in paths}


def read_records(runs: Path) -> dict[str, dict[str, Any]]:
    """Read the ``record.json`` of every record in ``published/runs``, by the name of its folder."""
    paths = sorted(runs.glob("*/record.json"))
    return {path.parent.name: read_json(path) for path in paths}


def read_repeats(published: Path) -> list[dict[str, Any]]:
    """Read what came of computing published runs again, for those that are still published."""
    path = published / "repeats.json"
    entries = read_json(path) if path.exists() else []
    for entry in entries:
        entry["rows"] = [
            row for row in entry["rows"] if (published / "runs" / row["record"]).exists()
        ]
    return [entry for entry in entries if entry["rows"]]


def find_address(root: Path) -> str | None:
    """Find the address of the repository in ``_config.yml``; None while it is empty."""
    content = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    address: str = content.get("repository", {}).get("url", "")
    return address.rstrip("/") or None


def name_chapter(chapter: str) -> str:
    """Name a chapter by its number: ``02_loss_study`` is chapter 2."""
    return f"chapter {int(chapter[:2])}"


def name_anchor(chapter: str) -> str:
    """Place of a chapter on the page of runs."""
    return f"run-{chapter.replace('_', '-')}"


def format_machine(info: Info) -> str:
    """Format device, processor and cores."""
    return f"{info['device']} ({info['cpu']}, {info['n_cores']} cores)"


def format_seeds(seeds: Iterable[int]) -> str:
    """Join seeds, as a range where they follow each other."""
    known = list(seeds)
    if len(known) > 2 and known == list(range(known[0], known[-1] + 1)):
        return f"{known[0]} to {known[-1]}"
    return ", ".join(map(str, known)) or "none"


def format_commit(info: Info) -> str:
    """Commit of a page, and whether files differed from it."""
    if not info["commit"]:
        return "no commit known"
    return f"commit {info['commit'][:10]}" + (" with changes on top" if info["dirty"] else "")


def format_share(info: Info) -> str:
    """How many of the runs that a chapter asks for have finished."""
    runs = info.get("runs", {})
    return f"{runs.get('finished', 0)} of {runs.get('asked', 0)} runs finished"


def format_recorded(info: Info) -> str:
    """How many results are records of earlier runs; empty where none is."""
    runs = info.get("runs", {})
    if not runs.get("recorded"):
        return ""
    took = format_duration(runs["recorded_s"])
    other = f", {runs['of_other_code']} by other code" if runs.get("of_other_code") else ""
    return f"{runs['recorded']} records of earlier runs{other}, which took {took}"


def format_summary(info: Info) -> str:
    """State in one paragraph what a result of a chapter was made from."""
    libraries = ", ".join(f"{name} {info['libraries'][name]}" for name in ("torch", "numpy"))
    rests = format_recorded(info)
    return (
        f"profile {info['profile']}, {format_share(info)}, seeds {format_seeds(info['seeds'])}. "
        f"The page was made on {info['started'][:10]} on {format_machine(info)}, "
        f"{format_commit(info)}, with {libraries}" + (f", from {rests}." if rests else ".")
    )


def format_overview(runs: Mapping[str, Info]) -> str:
    """Write one row per chapter: profile, runs, seeds, processor, date."""
    rows = [
        [
            f"[{int(chapter[:2])}](#{name_anchor(chapter)})",
            info["profile"],
            format_share(info).removesuffix(" runs finished"),
            format_seeds(info["seeds"]),
            str(info.get("runs", {}).get("recorded", 0)),
            format_machine(info),
            info["started"][:10],
        ]
        for chapter, info in runs.items()
    ]
    header = ["Chapter", "Profile", "Runs", "Seeds", "Records", "Page made on", "Date"]
    return format_table(header, rows)


def format_run(chapter: str, info: Info, address: str | None) -> str:
    """Write the section of a chapter on the page of runs, in MyST."""
    page = f"{_format_time(info['started'])}, in {format_duration(info['duration_s'])}"
    facts = {
        "Profile": f"*{info['profile']}*, {format_share(info)}" + _format_changed(info),
        "Page made": f"{page}, on {format_machine(info)}, {info['system']}, "
        f"Python {info['python']}",
        "Computing": _format_computing(info),
        "Commit": _format_full_commit(info, address),
        "Seeds": format_seeds(info["seeds"]),
    }
    lines = [f"- *{name}:* {value}" for name, value in facts.items()]
    data = {name: digests.split() for name, digests in info["data"].items()}
    return "\n".join(
        [
            f"({name_anchor(chapter)})=",
            f"## {name_chapter(chapter).capitalize()}",
            "",
            f"{{doc}}`chapters/{chapter}`",
            "",
            *lines,
            "",
            f"```bash\n{info['command']}\n```",
            "",
            _fold("Parameters", _dump(info["parameters"])),
            _fold(f"Content hashes of the data ({sum(map(len, data.values()))})", _dump(data)),
            _fold("Libraries", _dump(info["libraries"])),
        ]
    )


def format_records(records: Mapping[str, Info]) -> str:
    """Write one row per kind of task: how many records there are and what they took."""
    counts = Counter(record["task"] for record in records.values())
    rows = []
    for task in sorted(counts):
        own = [record for record in records.values() if record["task"] == task]
        hours = sum(record["seconds"] for record in own) / 3600
        versions = {record["sources"] for record in own}
        rows.append([f"`{task}`", str(counts[task]), f"{hours:.2f}", str(len(versions))])
    return format_table(["Task", "Records", "Computing (h)", "Versions of its code"], rows)


def format_repeats(repeats: Iterable[Mapping[str, Any]]) -> str:
    """Write one row per machine that computed published runs again."""
    rows = []
    for entry in repeats:
        machine, runs = entry["machine"], entry["rows"]
        exact = [run for run in runs if run["identical"] == run["numbers"]]
        pages = Counter(run["published_with"] for run in exact if run["published_with"])
        largest = max(run["largest_difference"] for run in runs)
        rows.append(
            [
                f"{machine['cpu']}, {_count(machine['n_threads'], 'thread')}",
                machine["date"],
                str(len(runs)),
                str(len(exact)),
                ", ".join(f"{number} ({cpu})" for cpu, number in pages.items()) or "none",
                _count_numbers(runs),
                f"{largest:.1g}" if largest else "none",
            ]
        )
    header = ["Machine", "Date", "Runs", "Identical", "Of these, published with a page made on"]
    return format_table([*header, "Identical numbers", "Largest relative difference"], rows)


def _count_numbers(runs: Iterable[Mapping[str, Any]]) -> str:
    identical, numbers = (sum(run[name] for run in runs) for name in ("identical", "numbers"))
    return f"{identical} of {numbers}"


def format_machines(runs: Mapping[str, Info], measured: Mapping[str, Info]) -> str:
    """Write one row per machine that a page or a measurement names, with what was done on it."""
    seen: dict[str, list[str]] = {}
    for chapter, info in runs.items():
        seen.setdefault(format_machine(info), []).append(f"page of {name_chapter(chapter)}")
    for name, content in measured.items():
        machine = content["machine"]
        known = {"device": machine["gpu"] or "cpu", **machine}
        seen.setdefault(format_machine(known), []).append(f"`published/{name}.json`")
    rows = [[machine, ", ".join(what)] for machine, what in sorted(seen.items())]
    return format_table(["Machine", "What was made or measured on it"], rows)


def format_table(header: list[str], rows: Iterable[list[str]]) -> str:
    """Write a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _format_changed(info: Info) -> str:
    if not info["changed"]:
        return ""
    return f"; other than in *{info['closest_profile']}*: {', '.join(info['changed'])}"


def _format_computing(info: Info) -> str:
    own = f"{format_duration(info['compute_s'])} of computing" if "compute_s" in info else ""
    return "; ".join(filter(None, (own, format_recorded(info)))) or "not recorded"


def _format_full_commit(info: Info, address: str | None) -> str:
    if not info["commit"]:
        return "none known"
    name = f"`{info['commit']}`"
    linked = f"[{name}]({address}/tree/{info['commit']})" if address else name
    return linked + (", with changes on top" if info["dirty"] else ", nothing changed on top")


def _format_time(started: str) -> str:
    return f"{started[:10]}, {started[11:16]} UTC"


def _fold(title: str, text: str) -> str:
    return f"````{{dropdown}} {title}\n```yaml\n{text}```\n````\n"


def _dump(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=76)
