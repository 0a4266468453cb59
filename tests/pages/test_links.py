"""Where the links of all pages lead, those of sidebars, index and sources among them."""

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest


class PageParser(HTMLParser):
    """Collects addresses and anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors = {"", "top"}

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element points at, and what can be pointed at."""
        values = {name: value for name, value in attrs if value is not None}
        self.addresses += [values[name] for name in ("href", "src") if name in values]
        self.anchors |= {values[name] for name in ("id", "name") if name in values}


@cache
def parse(path: Path) -> PageParser:
    """Parse a page once."""
    parser = PageParser()
    parser.feed(path.read_text(encoding="utf-8"))
    return parser


def leads_somewhere(page: Path, address: str) -> bool:
    """Say whether an address within the book is that of a file, and of a place on its page."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if target.suffix != ".html":
        return target.is_file()
    return target.is_file() and unquote(parts.fragment) in parse(target).anchors


def test_every_link_leads_to_a_file_and_an_anchor(html):
    """No page has a link, a picture, a style or a script that is not there."""
    pages = list(html.rglob("*.html"))
    assert len(pages) > 15
    broken = [
        (str(page.relative_to(html)), address)
        for page in pages
        if "_static" not in page.parts
        for address in parse(page).addresses
        if not leads_somewhere(page, address)
    ]
    assert broken == []


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("#here", True),
        ("#there", False),
        ("b.html#b%20c", True),
        ("b.html?digest=1", True),
        ("c.html", False),
        ("picture.png", False),
        ("https://example.org/x", True),
        ("data:,x", True),
    ],
)
def test_broken_links_are_seen(tmp_path, address, expected):
    """Files, queries and escaped anchors are found, and their absence as well."""
    (tmp_path / "a.html").write_text('<p id="here">', encoding="utf-8")
    (tmp_path / "b.html").write_text('<a name="b c">', encoding="utf-8")
    assert leads_somewhere(tmp_path / "a.html", address) == expected
