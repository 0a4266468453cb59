"""Fill the pages *Runs* and *Reproducibility* with what is recorded of runs and machines."""

import ast
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import provenance
from provenance import RESULTS
from sphinx.application import Sphinx
from sphinx.config import Config

PAGES = ("book/runs", "book/reproducibility")
PACKAGES = ("saltearth", "saltvolumes", "thesis_lib")
EXACT = ("bit for bit", "to the last bit", "the same bytes", "byte for byte")


def list_marks(root: Path) -> dict[str, Callable[[], str]]:
    """Name what a comment ``<!-- NAME -->`` on a page is replaced by."""
    runs = provenance.read_runs(root / RESULTS)
    published = root / "published"
    return {
        "overview of runs": lambda: provenance.format_overview(runs),
        "runs": lambda: "\n".join(
            provenance.format_run(chapter, info, provenance.find_address(root))
            for chapter, info in runs.items()
        ),
        "records": lambda: provenance.format_records(provenance.read_records(published / "runs")),
        "repeats": lambda: provenance.format_repeats(provenance.read_repeats(published)),
        "machines": lambda: provenance.format_machines(runs, _read_measured(published)),
        "exact tests": lambda: format_tests(root / "tests"),
    }


def list_facts(root: Path) -> dict[str, str]:
    """Name the numbers and words that a page has in its sentences as ``{{ NAME }}``."""
    runs = provenance.read_runs(root / RESULTS)
    records = provenance.read_records(root / "published" / "runs")
    seconds = sum(record["seconds"] for record in records.values())
    address = provenance.find_address(root)
    return {
        "n_records": str(len(records)),
        "record_hours": f"{seconds / 3600:.1f}",
        "claim_verdicts": count_verdicts(root / RESULTS / "verdicts.csv"),
        "most_seeds": str(max((len(info["seeds"]) for info in runs.values()), default=0)),
        "n_repeated": str(
            sum(len(entry["rows"]) for entry in provenance.read_repeats(root / "published"))
        ),
        "records_folder": f"[`published/runs`]({address}/tree/HEAD/published/runs)"
        if address
        else "`published/runs`",
        "address": f"<{address}>" if address else "not set yet",
    }


def count_verdicts(path: Path) -> str:
    """Count the verdicts on all claims, each verdict as the span of MyST that the table has."""
    if not path.exists():
        return "No claim was decided yet"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    counts = {name: sum(int(row[name]) for row in rows) for name in list(rows[0])[1:]}
    parts = [f"{count} {verdict}" for verdict, count in counts.items()]
    return f"Of {sum(counts.values())} claims of the thesis: {', '.join(parts)}"


def format_tests(folder: Path) -> str:
    """List the tests of the library that assert equality to the last bit, with their files."""
    found = []
    paths = [path for name in PACKAGES for path in (folder / name).glob("test_*.py")]
    for path in sorted(paths):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            fact = " ".join((ast.get_docstring(node) or "").split())
            if any(word in fact for word in EXACT):
                found.append(f"- {fact} `{path.relative_to(folder.parent).as_posix()}`")
    return "\n".join(found)


def fill_page(app: Sphinx, page: str, text: list[str]) -> None:
    """Replace the marks on a page."""
    if page not in PAGES:
        return
    root = Path(app.srcdir)
    for name, write in list_marks(root).items():
        mark = f"<!-- {name} -->"
        if mark in text[0]:
            text[0] = text[0].replace(mark, write())
    for path in (root / RESULTS).glob(f"*/{provenance.RUN_INFO}"):
        app.env.note_dependency(str(path))


def set_facts(app: Sphinx, config: Config) -> None:
    """Hand the facts to the parser."""
    config.myst_substitutions = {**config.myst_substitutions, **list_facts(Path(app.srcdir))}


def _read_measured(published: Path) -> dict[str, Any]:
    paths = {name: published / f"{name}.json" for name in provenance.MEASURED}
    return {name: provenance.read_json(path) for name, path in paths.items() if path.exists()}


def setup(app: Sphinx) -> dict[str, Any]:
    """Work on the two pages before they are read."""
    app.connect("config-inited", set_facts)
    app.connect("source-read", fill_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
