"""
Pictures that move: films and section browsers below the still figures of a page.

Each directive names a JSON file of results. Its content becomes a script beside the pages, which a
page loads when its reader first moves something. Without JavaScript and in print nothing is there
but the still figure; neither is it where the results have no such file.
"""

import json
from abc import ABC, abstractmethod
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

FOLDER = "_static/moving"  # of the data, in the folder of the pages
SCRIPT, STYLE = "moving.js", "moving.css"
logger = logging.getLogger(__name__)


class moving_piece(nodes.General, nodes.Element):  # noqa: N801  docutils' own way
    """A piece with its controls; its children are what is said about it."""


class MovingDirective(SphinxDirective, ABC):
    """
    What all pieces share.

    The argument is the path of the results, from the page; the option ``title`` is what a reader
    can do with them, the content what they see.
    """

    required_arguments = 1
    has_content = True
    option_spec = {"title": directives.unchanged_required}  # noqa: RUF012  docutils' own way
    kind = ""

    def run(self) -> list[nodes.Node]:
        """Make the piece; nothing where there are no results."""
        _, path = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(path)
        if not Path(path).is_file():
            logger.info("nothing moves in %s: no %s", self.env.docname, self.arguments[0])
            return []
        source = Path(path)
        text = source.read_text(encoding="utf-8")
        piece = moving_piece(
            kind=self.kind,
            name=f"{source.parent.name}-{source.stem}",
            text=text,
            title=self.options["title"],
            controls=self.format_controls(json.loads(text), source.stem),
        )
        self.state.nested_parse(self.content, self.content_offset, piece)
        return [piece]

    @abstractmethod
    def format_controls(self, content: dict[str, Any], name: str) -> str:
        """HTML of the controls of a piece."""


class Film(MovingDirective):
    """Frames of `thesis_lib.plotting.make_film`, to be stepped through."""

    kind = "film"

    def format_controls(self, content: dict[str, Any], name: str) -> str:  # noqa: ARG002
        """Buttons and a slider that ends at the last frame."""
        first, last = escape(content["frames"][0]), len(content["frames"]) - 1
        return f"""<div class="moving-controls">
{format_slider("Frame", last)}
<button type="button" class="moving-play">Play</button>
<output class="moving-label" aria-live="polite">{first}</output>
</div>
"""


class SectionBrowser(MovingDirective):
    """A volume of `thesis_lib.study.moving.pack_volume`, to be browsed section by section."""

    kind = "sections"

    def format_controls(self, content: dict[str, Any], name: str) -> str:
        """Choices of the direction, the section, the prediction, and of what is drawn on top."""
        names = [axis["name"] for axis in content["axes"]]
        axes = [f"{name}s" if name in LINES else f"{name} slices" for name in names]
        last = content["axes"][0]["size"] - 1
        return f"""<div class="moving-controls">
{format_choice("Sections", "axis", name, axes)}
{format_slider("Section", last, last // 2)}
<output class="moving-label" aria-live="polite"></output>
</div>
<div class="moving-controls">
{format_choice("Prediction", "prediction", name, content["predictions"])}
</div>
<div class="moving-controls">
<label><input type="checkbox" class="draw-truth" checked> true salt</label>
<label><input type="checkbox" class="draw-prediction" checked> predicted salt</label>
<label><input type="checkbox" class="draw-difference" checked> where they differ</label>
<label>opacity <input type="range" class="opacity" min="0" max="100" value="55"></label>
</div>
"""


LINES = ("inline", "crossline")


def format_slider(label: str, last: int, value: int = 0) -> str:
    """HTML of a slider from 0 with a button on either side."""
    return (
        '<button type="button" class="moving-back" aria-label="Back">◀</button>\n'
        f'<input type="range" class="moving-slider" min="0" max="{last}" value="{value}" '
        f'aria-label="{label}">\n'
        '<button type="button" class="moving-next" aria-label="Next">▶</button>'
    )


def format_choice(legend: str, kind: str, name: str, values: Any) -> str:
    """HTML of a choice among values, of which the first is chosen; each has room for a score."""
    radios = "\n".join(
        f'<label><input type="radio" class="choose-{kind}" name="{escape(name)}-{kind}" '
        f'value="{number}"{" checked" if number == 0 else ""}> {escape(value)} '
        '<span class="moving-score"></span></label>'
        for number, value in enumerate(values)
    )
    return f'<fieldset class="moving-choice"><legend>{legend}</legend>\n{radios}\n</fieldset>'


def visit_piece(translator: Any, node: moving_piece) -> None:
    """Write a piece, and its data beside the pages."""
    builder = translator.builder
    target = f"{FOLDER}/{node['name']}.js"
    path = Path(builder.outdir) / target
    path.parent.mkdir(parents=True, exist_ok=True)
    name = json.dumps(node["name"])
    script = f"(window.movingData ??= {{}})[{name}] = {node['text'].strip()};\n"
    path.write_text(script, encoding="utf-8")
    source = relative_uri(builder.get_target_uri(builder.current_docname), target)
    size = f"{len(script) / 1e6:.1f} MB"
    title = escape(node["title"], quote=True)
    translator.body.append(
        f'<section class="moving" data-moving="{node["kind"]}" data-name="{node["name"]}" '
        f'data-source="{source}" aria-label="{title}" hidden>\n'
        f'<p class="moving-title">{title} <span class="moving-size">(loads {size})</span></p>\n'
        f'{node["controls"]}<div class="moving-stage" hidden></div>\n'
    )


def depart_piece(translator: Any, _node: moving_piece) -> None:
    """Close a piece."""
    translator.body.append("</section>\n")


def skip_piece(_translator: Any, _node: moving_piece) -> None:
    """Leave a piece out where nothing can move."""
    raise nodes.SkipNode


def add_files(app: Sphinx, _page: str, _template: str, _context: Any, doctree: Any) -> None:
    """Load script and style on pages with a piece, and on no other."""
    if doctree is not None and next(doctree.findall(moving_piece), None) is not None:
        app.add_js_file(SCRIPT, loading_method="defer")
        app.add_css_file(STYLE)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directives ``film`` and ``section-browser``."""
    skip = (skip_piece, None)
    others = dict.fromkeys(("latex", "text", "man", "texinfo"), skip)
    app.add_node(moving_piece, html=(visit_piece, depart_piece), **others)
    app.add_directive("film", Film)
    app.add_directive("section-browser", SectionBrowser)
    app.connect("html-page-context", add_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
