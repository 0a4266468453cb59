"""Serve MathJax from the book's own folder, so that no page asks another host for anything."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.fileutil import copy_asset_file

SCRIPT = "tex-svg.js"  # one file: input, output and fonts


def copy_script(app: Sphinx, exception: Exception | None) -> None:
    """Copy the script beside the pages once they are written."""
    if exception is None and app.builder.format == "html":
        source = files("sphinx-mathjax-offline") / "static" / "mathjax" / SCRIPT
        copy_asset_file(str(source), Path(app.outdir) / "_static")


def setup(app: Sphinx) -> dict[str, Any]:
    """Point Sphinx at the local script."""
    app.config.mathjax_path = SCRIPT
    app.connect("build-finished", copy_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
