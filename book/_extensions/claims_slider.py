"""
The directive ``{claims-slider}``: the verdict on each claim against the number of seeds.

What each number of seeds decides is computed by the library before each build and written into a
script that the page loads; the page only draws it. Print and a browser without JavaScript show
the body of the directive, or nothing where the page has a table of the same.
"""

import json
from pathlib import Path
from typing import Any

from claims_by_seeds import list_claims
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

SCRIPT = "claims-by-seeds.js"  # made anew by each build


class ClaimsSlider(nodes.General, nodes.Element):
    """Where a page has the slider."""


class ClaimsSliderDirective(SphinxDirective):
    """Put the slider into the page."""

    def run(self) -> list[nodes.Node]:
        """Return the slider."""
        return [ClaimsSlider()]


def render_slider() -> str:
    """Render the piece in HTML: hidden, until a script has filled it."""
    return """
<div class="claims-slider" hidden>
  <label class="cs-seeds"><span>Seeds: <output></output></span>
    <input type="range" min="1" step="1"></label>
  <p class="cs-counts" aria-live="polite"></p>
  <label class="cs-checks"><input type="checkbox"> Show the checks too</label>
  <p class="cs-hint">Difference of each claim in units of its margin: right of 0 speaks for the
    claim; in the grey band differences do not matter; beyond it the axis is logarithmic.</p>
  <div class="cs-tasks"></div>
</div>
"""


def format_script(content: dict[str, Any]) -> str:
    """Format what the page draws as a script: pages opened from a folder cannot load JSON."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return f"globalThis.claimsBySeeds = {text};\n"


def write_script(app: Sphinx) -> None:
    """Decide about all claims for every number of seeds, from the results that the book shows."""
    if app.builder.format == "html":
        path = Path(app.outdir) / "_static" / SCRIPT
        path.parent.mkdir(parents=True, exist_ok=True)
        content = list_claims(Path(app.srcdir) / "book" / "results")
        path.write_text(format_script(content), encoding="utf-8")


def load_assets(
    app: Sphinx, _page: str, _template: str, _context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Load scripts and styles on the pages that have the slider."""
    if tree is not None and any(tree.findall(ClaimsSlider)):
        app.add_css_file("claims-slider.css")
        for name in (SCRIPT, "claims-slider.js"):
            app.add_js_file(name, loading_method="defer")


def _write_html(writer: Any, _node: nodes.Node) -> None:
    writer.body.append(render_slider())


def _skip(_writer: Any, _node: nodes.Node) -> None:
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive; write its data before pages are read."""
    app.add_node(
        ClaimsSlider,
        html=(_write_html, lambda *_: None),
        **dict.fromkeys(("latex", "text", "man", "texinfo"), (_skip, None)),
    )
    app.add_directive("claims-slider", ClaimsSliderDirective)
    app.connect("builder-inited", write_script)
    app.connect("html-page-context", load_assets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
