"""
State under each figure and table of results what it was made from and how to make it again.

Which run that is follows from the file that a figure or table shows, ``results/CHAPTER/...``, or
from the chapter that draws it. The line is folded, needs no script, and is left out in print.
"""

from html import escape
from pathlib import Path
from typing import Any

import provenance
from docutils import nodes
from provenance import RESULTS
from sphinx.application import Sphinx
from sphinx.directives.patches import CSVTable

CHAPTERS = "book/chapters/"
ELSEWHERE = "elsewhere"  # what is shown is no file of the project
RUNS_PAGE = "book/runs"
STYLE = "origins.css"
CLAIM_TABLES = ("claims.csv", "checks.csv", "conclusions.csv", "verdicts.csv")
LAST = 900  # after Sphinx has resolved where images are


class origin(nodes.General, nodes.Element):  # noqa: N801  nodes of docutils are lower case
    """
    A folded line under a figure or table.

    It has no children, so that what it states is in no index of words.
    """


class CSVTableWithFile(CSVTable):
    """A table that knows the file that it shows."""

    def run(self) -> list[nodes.Node]:
        """Make the table and name its file, relative to the project."""
        made = super().run()
        if "file" in self.options:
            env = self.state.document.settings.env
            path = Path(env.doc2path(env.docname)).parent / self.options["file"]
            for table in made:
                if isinstance(table, nodes.table):
                    table["file"] = _relate(path, Path(env.srcdir))
        return made


def add_origins(app: Sphinx, document: nodes.document) -> None:
    """Put a line under each figure and table whose origin is recorded."""
    root, name = Path(app.srcdir), app.env.docname
    runs = provenance.read_runs(root / RESULTS)
    for found in list(document.findall(lambda node: isinstance(node, nodes.figure | nodes.table))):
        file = _find_file(found, root)
        content = describe(file, name.removeprefix(CHAPTERS), _find_name(found), runs, root)
        if content is None:
            continue
        for path in content.pop("dependencies"):
            app.env.note_dependency(str(path))
        parent = found.parent
        parent.insert(parent.index(found) + 1, origin("", **content))


def describe(
    file: str | None, page: str, name: str, runs: dict[str, Any], root: Path
) -> dict[str, Any] | None:
    """
    Describe where a figure or table comes from.

    Parameters
    ----------
    file : str or None
        What it shows, relative to the project; None where a notebook has drawn it.
    page : str
        The chapter that it is on, or another page.
    name : str
        Name of the figure or table, empty where it has none.
    runs : dict
        Content of ``run.json`` by chapter.
    root : Path
        Folder of the project.

    Returns
    -------
    dict or None
        ``text``, ``command``, ``anchor`` on the page of runs and ``dependencies``; None where it
        is no result of a run.
    """
    parts = Path(file).parts if file else ()
    if parts[:2] == RESULTS.parts and len(parts) == 4 and parts[2] in runs:
        return _describe_chapter(parts[2], f"File {parts[3]}", runs, root)
    if parts[:2] == RESULTS.parts and len(parts) == 3:
        return _describe_book(parts[2], runs, root)
    if file is None and page in runs:
        drawn = f"Cell {name} of notebooks/{page}.py" if name else f"A cell of notebooks/{page}.py"
        return _describe_chapter(page, drawn, runs, root)
    return None


def _describe_chapter(chapter: str, what: str, runs: dict[str, Any], root: Path) -> dict[str, Any]:
    info = runs[chapter]
    return {
        "text": f"{what}, {provenance.name_chapter(chapter)}, {provenance.format_summary(info)}",
        "command": info["command"],
        "anchor": provenance.name_anchor(chapter),
        "dependencies": [root / RESULTS / chapter / provenance.RUN_INFO],
    }


def _describe_book(file: str, runs: dict[str, Any], root: Path) -> dict[str, Any] | None:
    """Describe a file that the book makes of several runs, or of measurements."""
    paths = [root / RESULTS / chapter / provenance.RUN_INFO for chapter in runs]
    if file in CLAIM_TABLES and runs:
        profiles = {info["profile"] for info in runs.values()}
        parts = [
            f"{provenance.name_chapter(chapter)} ({info['profile']}, "
            f"{provenance.format_share(info)})"
            for chapter, info in runs.items()
            if (root / RESULTS / chapter / "claims.json").exists()
        ]
        command = f"make html PROFILE={profiles.pop()}" if len(profiles) == 1 else "make site"
        text = f"File {file}, from the decisions of {', '.join(parts)}."
        return {"text": text, "command": command, "anchor": "", "dependencies": paths}
    kind = "growing" if file.startswith("projection") else Path(file).stem.removesuffix("_machine")
    source = root / "published" / f"{kind}.json"
    if kind not in provenance.MEASURED or not source.exists():
        return None
    machine = provenance.read_json(source)["machine"]
    text = (
        f"File {file}, from published/{kind}.json: measured on {machine['date']} on "
        f"{machine['gpu'] or 'cpu'} ({machine['cpu']}, {machine['n_cores']} cores, "
        f"{machine['n_threads']} threads), with torch {machine['libraries']['torch']}."
    )
    command = provenance.MEASURED[kind]
    return {"text": text, "command": command, "anchor": None, "dependencies": [source]}


def _find_file(found: nodes.Element, root: Path) -> str | None:
    """File that a table or figure shows, relative to the project; None of a notebook's output."""
    if isinstance(found, nodes.table):
        return str(found.get("file", ELSEWHERE))
    if _is_output(found):
        return None
    image = next(found.findall(nodes.image), None)
    return ELSEWHERE if image is None else _relate(root / image["uri"], root)


def _is_output(found: nodes.Element) -> bool:
    """Whether a cell of a notebook has made it."""
    parent = found.parent
    while parent is not None:
        if "cell_output" in parent.get("classes", []):
            return True
        parent = parent.parent
    return False


def _find_name(found: nodes.Element) -> str:
    return str(next(iter(found.get("names", [])), ""))


def _relate(path: Path, root: Path) -> str:
    """Name a path relative to the project, with slashes."""
    path, root = path.resolve(), root.resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else ELSEWHERE


def write_origin(translator: Any, node: origin) -> None:
    """Write the folded line."""
    link = ""
    if node["anchor"] is not None:
        builder = translator.builder
        address = builder.get_relative_uri(builder.current_docname, RUNS_PAGE)
        target = f"{address}#{node['anchor']}" if node["anchor"] else address
        link = (
            f' <a class="reference internal" href="{escape(target)}">'
            "All settings, data and records</a>."
        )
    command = translator.highlighter.highlight_block(node["command"], "bash")
    translator.body.append(
        '<details class="origin"><summary>How was this made?</summary>'
        f"<p>{escape(node['text'])}{link}</p>"
        f'<div class="highlight-bash notranslate">{command}</div></details>\n'
    )
    raise nodes.SkipNode


def skip_origin(_translator: Any, _node: origin) -> None:
    """Leave the line out where nothing can be folded."""
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Work on every page once it is read."""
    skipped = dict.fromkeys(("latex", "man", "texinfo", "text"), (skip_origin, None))
    app.add_node(origin, html=(write_origin, None), **skipped)
    app.add_directive("csv-table", CSVTableWithFile, override=True)
    app.connect("doctree-read", add_origins, priority=LAST)
    app.add_css_file(STYLE)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
