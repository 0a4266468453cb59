"""
The directive ``{loss-explorer}``: a disc to be moved over the true one, with every loss.

Its body is the still figure that print and a browser without JavaScript show. That figure,
``book/results/loss_shift.png``, is drawn before each build. The page computes what it shows with
``losses.js``, which a test compares with the library.
"""

import json
from html import escape
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from docutils import nodes
from matplotlib.figure import Figure
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from thesis_lib import plotting
from thesis_lib.losses import LOSSES
from thesis_lib.study.tables import LOSS_NAMES

SIZE = 64  # side of the image, in pixels
TRUTH = {"x": 18, "y": 32, "radius": 12}
START = {"x": 24, "y": 32, "radius": 12, "confidence": 0.5}
LAST_SHIFT = 28  # to the right: the disc misses the truth and is far from the edge
FIGURE = Path("book") / "results" / "loss_shift.png"
SLIDERS = {  # label, smallest, largest, step
    "x": ("Across (pixels)", 0, SIZE - 1, 0.5),
    "y": ("Down (pixels)", 0, SIZE - 1, 0.5),
    "radius": ("Radius (pixels)", 1, 24, 0.5),
    "confidence": ("Confidence (1/pixel)", 0.05, 3, 0.05),
}
ASSETS = ("losses.js", "loss-explorer.js")


class LossExplorer(nodes.General, nodes.Element):
    """Where a page has the explorer."""


class LossExplorerDirective(SphinxDirective):
    """Put the explorer before its still figure, which is the body of the directive."""

    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """Return the explorer and the figure."""
        self.assert_has_content()
        still = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, still)
        return [LossExplorer(), *still.children]


def render_explorer() -> str:
    """Render the piece in HTML: hidden, until a script has filled it."""
    tiles = "\n".join(_render_tile(key, name) for key, name in LOSS_NAMES.items())
    sliders = "\n".join(_render_slider(key, *values) for key, values in SLIDERS.items())
    data = escape(json.dumps({"size": SIZE, "truth": TRUTH, "lastShift": LAST_SHIFT}))
    return f"""
<div class="loss-explorer" data-settings="{data}" hidden>
  <p class="le-hint">Drag the dashed disc, or move it by arrow keys or sliders; choose a loss
    below.</p>
  <div class="le-views">
    <div class="le-view">
      <p class="le-title">Prediction</p>
      <div class="le-image" data-view="prediction">
        {_render_canvas("Probability of salt that is predicted, dark where it is high.")}
        <div class="le-truth"></div>
        <div class="le-disc" tabindex="0" role="application"
          aria-label="Predicted disc. Arrow keys move it, plus and minus change its radius."></div>
      </div>
      <p class="le-key"><span><span class="le-key-truth"></span> truth</span>
        <span><span class="le-key-disc"></span> prediction</span>
        <span>grey: its probability</span></p>
    </div>
    <div class="le-view">
      <p class="le-title">Gradient of <strong class="le-chosen"></strong></p>
      <div class="le-image" data-view="gradient">
        {_render_canvas("Gradient of the chosen loss: blue asks for more salt, red for less.")}
        <div class="le-truth"></div>
        <div class="le-disc"></div>
      </div>
      <div class="le-bar" aria-hidden="true"></div>
      <p class="le-key le-ends"><span>more salt</span> <span>less salt</span>
        <span class="le-largest"></span></p>
    </div>
  </div>
  <div class="le-controls">
{sliders}
    <div class="le-buttons">
      <label class="le-empty"><input type="checkbox"> No salt in the truth</label>
      <button type="button" class="le-reset">Start again</button>
    </div>
  </div>
  <fieldset class="le-losses">
    <legend>The gradient of each loss, scaled to its largest magnitude, and its value. A bar is full
      where the loss is that of the first disc when it misses the truth.</legend>
    <div class="le-tiles">
{tiles}
    </div>
  </fieldset>
</div>
"""


def draw_figure() -> Figure:
    """Draw each loss against the shift of a predicted disc, from the truth until it misses it."""
    rows, columns = torch.meshgrid(
        torch.arange(SIZE, dtype=torch.float64),
        torch.arange(SIZE, dtype=torch.float64),
        indexing="ij",
    )

    def signed_distance(shift: float) -> torch.Tensor:
        distance = torch.hypot(rows - TRUTH["y"], columns - TRUTH["x"] - shift)
        return (TRUTH["radius"] - distance)[None, None]  # (1, 1, H, W)

    target, shifts = signed_distance(0) > 0, np.arange(LAST_SHIFT + 1)
    curves = {
        LOSS_NAMES[key]: [
            loss(START["confidence"] * signed_distance(shift), target).item() for shift in shifts
        ]
        for key, loss in LOSSES.items()
    }
    return plotting.plot_histories(
        {name: {"loss": np.array([values])} for name, values in curves.items()},
        x=shifts,
        xlabel="shift (pixels)",
        ylabel="loss",
        share_y=False,
    )


def write_figure(app: Sphinx) -> None:
    """Draw the still figure next to the results that the book shows."""
    path = Path(app.srcdir) / FIGURE
    path.parent.mkdir(parents=True, exist_ok=True)
    draw_figure().savefig(path, dpi=150)


def load_assets(
    app: Sphinx, _page: str, _template: str, _context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Load scripts and styles on the pages that have the explorer."""
    if tree is not None and any(tree.findall(LossExplorer)):
        app.add_css_file("loss-explorer.css")
        for name in ASSETS:
            app.add_js_file(name, loading_method="defer")


def _render_canvas(label: str) -> str:
    return f'<canvas width="{SIZE}" height="{SIZE}" role="img" aria-label="{label}"></canvas>'


def _render_tile(key: str, name: str) -> str:
    return (
        f'    <label class="le-tile"><input type="radio" name="loss" value="{key}">'
        f'<canvas width="{SIZE}" height="{SIZE}" aria-hidden="true"></canvas>'
        f'<span class="le-name">{escape(name.removesuffix(" (baseline)"))}</span>'
        '<span class="le-value"></span><span class="le-meter"><span></span></span></label>'
    )


def _render_slider(key: str, label: str, low: float, high: float, step: float) -> str:
    return (
        f'    <label class="le-slider">{label} <output></output>'
        f'<input type="range" name="{key}" min="{low}" max="{high}" step="{step}" '
        f'value="{START[key]}"></label>'
    )


def _write_html(writer: Any, _node: nodes.Node) -> None:
    writer.body.append(render_explorer())


def _skip(_writer: Any, _node: nodes.Node) -> None:
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive; draw its figure before pages are read."""
    app.add_node(
        LossExplorer,
        html=(_write_html, lambda *_: None),
        **dict.fromkeys(("latex", "text", "man", "texinfo"), (_skip, None)),
    )
    app.add_directive("loss-explorer", LossExplorerDirective)
    app.connect("builder-inited", write_figure)
    app.connect("html-page-context", load_assets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
