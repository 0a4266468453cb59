"""
Print the built book into one PDF: ``make pdf``.

Chromium prints every page of the table of contents, with formulas drawn and folded things open;
the prints are joined, with an outline, and links between pages become links within the file.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from urllib.parse import urldefrag

import yaml
from playwright.sync_api import Browser, Page, sync_playwright
from pypdf import PdfWriter
from pypdf.generic import ArrayObject, NameObject, NullObject

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
MARGIN = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
UNFOLD = """async () => {
  document.querySelectorAll('details').forEach(item => { item.open = true });
  document.querySelectorAll('img[loading]').forEach(image => { image.loading = 'eager' });
  if (window.MathJax?.startup) await MathJax.startup.promise;
  await Promise.all([...document.images].map(image => image.decode().catch(() => null)));
}"""


def find_browser() -> str | None:
    """Path of the system's Chromium: ``CHROMIUM``, or the first one on PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def open_browser(executable: str) -> Iterator[Browser]:
    """Start a browser with an empty profile, and close it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(FLAGS))
        yield browser
        browser.close()


def list_contents() -> list[str]:
    """Names of the pages in the order of the table of contents."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    return [contents["root"], *parts]


def print_page(window: Page, path: Path) -> tuple[str, bytes]:
    """Print a page on A4: its title and its PDF."""
    window.goto(path.as_uri(), wait_until="load")
    window.evaluate(UNFOLD)
    title = re.sub(r"#$", "", window.locator("article h1").first.inner_text()).strip()
    return title, window.pdf(format="A4", margin=MARGIN, print_background=True, scale=0.85)


def print_book(browser: Browser, html: Path, names: Sequence[str]) -> PdfWriter:
    """Print pages one after the other into one file."""
    context = browser.new_context(color_scheme="light")
    window = context.new_page()
    window.emulate_media(media="print", color_scheme="light")
    book, starts = PdfWriter(), {}
    for name in names:
        path = (html / f"{name}.html").resolve()
        title, printed = print_page(window, path)
        starts[path.as_uri()] = len(book.pages)
        book.append(BytesIO(printed), outline_item=title, import_outline=False)
    context.close()
    lead_inside(book, starts)
    return book


def lead_inside(book: PdfWriter, starts: dict[str, int]) -> None:
    """Turn links to printed pages into links within the file, and drop other links to files."""
    for page in book.pages:
        for reference in page.get("/Annots") or []:
            link = reference.get_object()
            address = str(link.get("/A", {}).get("/URI", ""))
            if not address.startswith("file:"):
                continue
            del link[NameObject("/A")]
            start = starts.get(urldefrag(address).url)
            if start is not None:
                target = book.pages[start].indirect_reference
                fit = [target, NameObject("/XYZ"), NullObject(), NullObject(), NullObject()]
                link[NameObject("/Dest")] = ArrayObject(fit)


def main(html: str, output: str) -> None:
    """Print the book that was built in a folder."""
    executable = find_browser()
    if executable is None:
        sys.exit(
            f"None of {', '.join(BROWSERS)} is on PATH: apt install chromium, or CHROMIUM=path."
        )
    with open_browser(executable) as browser:
        book = print_book(browser, Path(html), list_contents())
    book.add_metadata(
        {"/Title": yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))["title"]}
    )
    book.compress_identical_objects()
    book.write(output)
    print(f"{len(book.pages)} pages, {Path(output).stat().st_size / 1e6:.1f} MB: {output}")


if __name__ == "__main__":
    main(*sys.argv[1:])
