"""Put executed chapters and their results where the book and the repository keep them."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from thesis_lib.chapters.page import RECORDS, read_run_info
from thesis_lib.chapters.parameters import find_chapter, list_chapters, project_root
from thesis_lib.chapters.running import write_notebook

_MOST_HASHES = 4  # that a banner shows of a kind of data
_NOTES = {
    "smoke": "a check that everything works, on a tiny budget: its numbers are no results",
    "laptop": "reduced sizes, one seed",
    "study": "the evidence, on two cores",
    "gpu": "the full size",
    "custom": "parameters set by hand",
}


def stage(source: Path | str, *more: Path | str, root: Path | None = None) -> list[Path]:
    """
    Copy executed chapters into the book, each with a banner that states what was run.

    ``book/chapters`` and ``book/results`` are made anew. The latter also gets the tables of all
    claims: ``conclusions.csv``, ``claims.csv``, ``checks.csv``, ``verdicts.csv``.

    Parameters
    ----------
    source, *more : Path or str
        Folders that hold one folder per chapter: ``results/laptop``, ``published``. A relative one
        starts at the project. Where several have a chapter, the last of them counts.
    root : Path, optional
        Folder of the project; found where left out.

    Returns
    -------
    list of Path
        The pages ``book/chapters/CHAPTER.ipynb``.

    Raises
    ------
    FileNotFoundError, ValueError
        If a chapter was not run or did not come to its end, or decided about a claim that
        ``claims.yml`` does not have, or has otherwise.
    """
    from thesis_lib.study.claim_tables import summarise_claims  # slow to import
    from thesis_lib.study.claims import read_claims

    root, sources = root or project_root(), (source, *more)
    for source in sources:
        if not (root / source).is_dir():
            raise FileNotFoundError(f"No folder {root / source}. Run the chapter first.")
    folders = {
        chapter: max(
            (root / source / chapter for source in reversed(sources)),
            key=Path.is_dir,
        )
        for chapter in list_chapters(root)
    }
    _check_finished(folders)
    tables = summarise_claims(read_claims(), folders.values())
    for name in ("chapters", "results"):
        shutil.rmtree(root / "book" / name, ignore_errors=True)
    pages = []
    for chapter, folder in folders.items():
        page = root / "book" / "chapters" / f"{chapter}.ipynb"
        notebook = nbformat.read(folder / page.name, as_version=4)
        opening = notebook.cells[0]
        title, _, rest = opening.source.partition("\n")
        opening.source = f"{title}\n\n{format_banner(read_run_info(folder))}\n{rest}"
        _fold_parameters(notebook)
        write_notebook(notebook, page)
        ignored = shutil.ignore_patterns("*.ipynb", RECORDS)
        shutil.copytree(folder, root / "book" / "results" / chapter, ignore=ignored)
        pages.append(page)
    for name, table in tables.items():
        table.to_csv(root / "book" / "results" / f"{name}.csv", index=False)
    return pages


def publish(profile: str, chapter: str | None = None, *, root: Path | None = None) -> Path:
    """
    Replace chapters in ``published/`` by those of a profile: one of them, or all without a name.

    Records of runs are added to those in ``published/runs``.

    Raises
    ------
    FileNotFoundError, ValueError
        If a chapter was not run or did not come to its end.
    """
    from thesis_lib.study.records import read_records, write_records

    root = root or project_root()
    names = [find_chapter(chapter, root).stem] if chapter else list_chapters(root)
    folders = {name: root / "results" / profile / name for name in names}
    _check_finished(folders)
    published = root / "published"
    for old in () if chapter else published.glob("[0-9][0-9]_*"):  # of chapters that are no more
        shutil.rmtree(old)
    for name, folder in folders.items():
        shutil.rmtree(published / name, ignore_errors=True)
        shutil.copytree(folder, published / name, ignore=shutil.ignore_patterns(RECORDS))
        records = read_records(folder / RECORDS)
        write_records(published / RECORDS, records.values())
    return published


def format_banner(info: dict[str, Any]) -> str:
    """
    Write in MyST what a page was computed from and how to compute it again.

    Parameters
    ----------
    info : dict
        Content of the ``run.json`` of a finished chapter.
    """
    profile = info["profile"]
    kind = "warning" if profile in ("smoke", "custom") else "note"
    note = _NOTES.get(profile, "")
    if profile == "custom":
        note += f" ({', '.join(info['changed'])}), else as {info['closest_profile']}"
    commit = f"commit {info['commit'][:10]}" if info["commit"] else "no commit known"
    dirty = " with changes on top" if info["dirty"] else ""
    data = ", ".join(f"{name} {_shorten(digests)}" for name, digests in info["data"].items())
    runs = info.get("runs", {})
    if runs.get("finished", 0) < runs.get("asked", 0):
        note += f"; {runs['finished']} of {runs['asked']} runs are finished"
    recorded = ""
    if n_recorded := runs.get("recorded"):
        took = format_duration(runs["recorded_s"])
        recorded = f" {n_recorded} results are records of earlier runs that took {took}"
        if n_other := runs.get("of_other_code"):
            recorded += f", {n_other} of them by other code"
        recorded += "."
    return (
        f"````{{admonition}} Computed with profile *{profile}*: {note}\n"
        f":class: {kind} provenance\n"
        f"{_format_time(info)} on {info['device']} ({info['cpu']}, "
        f"{info['n_cores']} cores), {info['started'][:10]}, {commit}{dirty}. "
        f"Seeds: {', '.join(map(str, info['seeds'])) or 'none'}. Data: {data or 'none'}."
        f"{recorded}\n\n"
        f"Run it again:\n```bash\n{info['command']}\n```\n"
        "````\n"
    )


def _fold_parameters(notebook: Any) -> None:
    """Let readers unfold the parameters of the run, as those that are the defaults."""
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if "injected-parameters" in tags:
            cell.metadata["tags"] = [*tags, "hide-cell"]


def _check_finished(folders: Mapping[str, Path]) -> None:
    for chapter, folder in folders.items():
        read_run_info(folder)
        if not (folder / f"{chapter}.ipynb").is_file():
            raise FileNotFoundError(f"No {chapter}.ipynb in {folder}. Run the chapter again.")


def _shorten(digests: str) -> str:
    """Content hashes of volumes, the first few where there are many; run.json has all."""
    first, *others = digests.split()
    if len(others) < _MOST_HASHES:
        return " ".join(f"`{digest}`" for digest in (first, *others))
    return f"`{first}` and {len(others)} more"


def _format_time(info: dict[str, Any]) -> str:
    page = format_duration(info["duration_s"])
    if "compute_s" not in info:
        return page
    return f"{format_duration(info['compute_s'])} of computing; page made in {page}"


def format_duration(seconds: float) -> str:
    """Write a time in hours, minutes or seconds, whichever reads best."""
    if seconds >= 100 * 60:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
