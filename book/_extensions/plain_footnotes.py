"""
Show the numbered references of docstrings as text.

Each docstring counts its references from 1, and the library page holds many docstrings: as targets
of links they would clash.
"""

import re
from typing import Any

from sphinx.application import Sphinx

MARK = re.compile(r"\[(\d+)\]_")
ENTRY = re.compile(r"^(\s*)\.\. \[(\d+)\] ")


def flatten_references(_app: Sphinx, _what: str, _name: str, *rest: Any) -> None:
    """Turn ``[1]_`` into [1], and the entry that it points at into an item of a list."""
    lines = rest[-1]
    lines[:] = [ENTRY.sub(r"\1*  [\2] ", MARK.sub(r"[\1]", line)) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    """Work on every docstring that autodoc reads."""
    app.connect("autodoc-process-docstring", flatten_references)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
