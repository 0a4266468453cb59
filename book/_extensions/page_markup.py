"""
Mend the HTML of pages.

Pictures have their size and are loaded when a reader comes near them, so that a page is light and
nothing jumps; and an entry in a list of references is an item of a list, as browsers expect it.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any

from PIL import Image, UnidentifiedImageError
from sphinx.application import Sphinx

PICTURE = re.compile(r"<img\b(?P<attributes>[^>]*?)\s*/?>")
SOURCE = re.compile(r'\bsrc="([^"]+)"')


def mend_page(app: Sphinx, _page: str, _template: str, context: dict[str, Any], *_: Any) -> None:
    """Rewrite the text of a page before its template is filled."""
    if "body" not in context:
        return
    paths = {name: Path(app.srcdir) / path for path, name in app.builder.images.items()}
    body = PICTURE.sub(lambda found: mend_picture(found["attributes"], paths), context["body"])
    context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')


def mend_picture(attributes: str, paths: dict[str, Path]) -> str:
    """Write a picture that is loaded late, with its size in pixels where it is known."""
    added = "" if "loading=" in attributes else ' loading="lazy" decoding="async"'
    source = SOURCE.search(attributes)
    path = paths.get(PurePosixPath(source[1]).name) if source else None
    if path is not None and not re.search(r"\b(width|height|style)=", attributes):
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except UnidentifiedImageError:  # SVG, which has a size of its own
            return f"<img{attributes}{added} />"
        added += f' width="{width}" height="{height}"'
    return f"<img{attributes}{added} />"


def setup(app: Sphinx) -> dict[str, Any]:
    """Work on every page once its text is written."""
    app.connect("html-page-context", mend_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
