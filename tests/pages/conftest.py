"""
A real browser for the tests of the built pages: ``make pages`` runs them.

They look at the pages under ``THESIS_HTML``, else at those that the last build left, as a reader
without a network would: as files.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from site_pages import PRINTING, find_html

WIDTHS = {"desktop": 1280, "phone": 360}


@pytest.fixture(scope="session")
def html() -> Path:
    """Folder of the built pages."""
    folder = find_html()
    if not (folder / "index.html").is_file():
        pytest.skip(f"no pages in {folder}: make html builds them")
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium of this machine, with an empty profile; skips where there is none."""
    executable = PRINTING["find_browser"]()
    if executable is None:
        names = ", ".join(PRINTING["BROWSERS"])
        pytest.skip(
            f"none of {names} is on PATH: apt install chromium, or set CHROMIUM to its path"
        )
    with PRINTING["open_browser"](executable) as launched:
        yield launched


@pytest.fixture(scope="session")
def contexts(browser: Browser) -> Iterator[dict[tuple[str, str], BrowserContext]]:
    """A window per width and mode, as two readers have it by day and by night."""
    opened = {
        (width, mode): browser.new_context(
            viewport={"width": pixels, "height": 900},
            color_scheme="dark" if mode == "dark" else "light",
            reduced_motion="reduce",  # a colour that still changes is neither of the two
        )
        for width, pixels in WIDTHS.items()
        for mode in ("light", "dark")
    }
    yield opened
    for context in opened.values():
        context.close()


@pytest.fixture
def window(contexts: dict[tuple[str, str], BrowserContext]) -> Iterator[Page]:
    """A fresh page at desktop width by day."""
    page = contexts["desktop", "light"].new_page()
    yield page
    page.close()


@pytest.fixture(params=["light", "dark"])
def mode(request: pytest.FixtureRequest) -> str:
    """Colours that the reader's system asks for."""
    return str(request.param)


@pytest.fixture(params=list(WIDTHS))
def width(request: pytest.FixtureRequest) -> str:
    """Width of the reader's screen."""
    return str(request.param)


@pytest.fixture
def screen(
    contexts: dict[tuple[str, str], BrowserContext], width: str, mode: str
) -> Iterator[Page]:
    """A fresh page in each width and mode."""
    page = contexts[width, mode].new_page()
    yield page
    page.close()
