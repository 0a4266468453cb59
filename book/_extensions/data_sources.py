"""List the official data sets on their page, as the library lists them."""

import re
from typing import Any

from sphinx.application import Sphinx

from saltvolumes import DATA_SOURCES, DataSource

PAGE = "book/datasets"
MARK = "<!-- data sources -->"


def format_source(source: DataSource) -> str:
    """Describe a data set in Markdown."""
    lines = [
        f"## {source.title}",
        source.description,
        f"- *Name:* `{source.name}`",
        f"- *Licence:* {source.licence}",
        f"- *Cite:* {_link(source.citation)}",
        f"- *Publisher's page:* <{source.homepage}>",
        f"- *How to get it.* {_link(source.access)}",
    ]
    if source.url:
        known = source.sha256 or "not known yet: the first download is trusted"
        lines += [f"- *SHA-256:* {known}", f"\n```bash\nthesis fetch {source.name}\n```"]
    return "\n".join([lines[0], "", lines[1], "", *lines[2:]])


def list_sources(_app: Sphinx, page: str, text: list[str]) -> None:
    """Replace the mark on the page by all data sets."""
    if page == PAGE:
        sources = "\n\n".join(map(format_source, DATA_SOURCES.values()))
        text[0] = text[0].replace(MARK, sources)


def _link(text: str) -> str:
    return re.sub(r"https://[^\s,]+[^\s,.]", r"<\g<0>>", text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Work on the page before it is read."""
    app.connect("source-read", list_sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
