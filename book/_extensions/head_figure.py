"""``{head-figure} NAME``: the picture of a figure of the page, at its head, linked to it."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class HeadFigurePlace(nodes.General, nodes.Element):
    """Where the picture goes once all figures of the page are known."""


class HeadFigure(SphinxDirective):
    """Leaves a place for the picture of the figure whose name is the argument."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the place."""
        place = HeadFigurePlace(figure=self.arguments[0])
        self.set_source_info(place)
        return [place]


def show_figures(app: Sphinx, doctree: nodes.document) -> None:  # noqa: ARG001
    """Put the picture of each figure into its place; a figure that is not there fails the build."""
    figures = {name: each for each in doctree.findall(nodes.figure) for name in each["names"]}
    for place in list(doctree.findall(HeadFigurePlace)):
        if (figure := figures.get(place["figure"])) is None:
            raise ValueError(
                f"Invalid head-figure {place['figure']!r}. Must be among: {', '.join(figures)}."
            )
        picture = next(part for part in figure.children if not isinstance(part, nodes.caption))
        link = nodes.reference("", "", refid=figure["ids"][0], classes=["head-figure"])
        link += picture.deepcopy()
        place.replace_self(nodes.container("", link, classes=["head-figure-frame"]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_node(HeadFigurePlace)
    app.add_directive("head-figure", HeadFigure)
    app.connect("doctree-read", show_figures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
