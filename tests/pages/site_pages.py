"""Which pages the built book has, and how a reader opens them."""

import os
import runpy
from pathlib import Path

from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[2]
PRINTING = runpy.run_path(str(ROOT / "book" / "print.py"))  # the script that knows the browser
ADDED = ("search", "genindex", "py-modindex")  # pages that Sphinx adds and readers get to see
STILL = "*, ::before, ::after { animation: none !important; transition: none !important; }"


def find_html() -> Path:
    """Folder of the built pages."""
    return Path(os.environ.get("THESIS_HTML") or ROOT / "_build" / "html").resolve()


def list_pages() -> list[str]:
    """Names of the pages that readers see, without ``.html``."""
    return [*PRINTING["list_contents"](), *ADDED]


def locate(html: Path, name: str) -> str:
    """Address of a page as a file, which is how a reader without a server opens it."""
    return (html / f"{name}.html").as_uri()


def open_unfolded(window: Page, html: Path, name: str) -> None:
    """Open a page with all that is folded on it, and without anything that fades in."""
    window.goto(locate(html, name))
    window.add_style_tag(content=STILL)
    window.evaluate("document.querySelectorAll('details').forEach(item => { item.open = true })")
