"""What a browser fetches for a page, and what it complains about."""

import gzip
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from site_pages import list_pages, locate

MB = 1e6
MAX_PAGE_BYTES = 3 * MB  # of the first load, as servers send it
MAX_SITE_BYTES = 60 * MB
COMPRESSED = {".css", ".html", ".js", ".json", ".svg", ".txt", ".xml"}  # by servers of pages
OWN_SCHEMES = ("file", "data", "blob")


@pytest.fixture(params=list_pages(), scope="module")
def visited(request, browser, html):
    """Addresses that a page asked for, and complaints of the console, at somebody's first visit."""
    requested, complaints = [], []
    window = browser.new_page()
    window.on("request", lambda asked: requested.append(asked.url))
    window.on("pageerror", lambda error: complaints.append(str(error)))
    window.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None,
    )
    window.goto(locate(html, request.param), wait_until="networkidle")
    window.close()
    return requested, complaints


def find_file(address: str) -> Path:
    """Path of a file's address."""
    return Path(unquote(urlsplit(address).path))


def count_sent_bytes(path: Path) -> int:
    """Count the bytes of a file as a server sends it: text compressed, pictures as they are."""
    content = path.read_bytes()
    return len(gzip.compress(content, 6) if path.suffix in COMPRESSED else content)


def test_no_request_leaves_a_page(visited, html):
    """A page asks for nothing but files of its own book, and all of them exist."""
    requested, _ = visited
    assert [url for url in requested if urlsplit(url).scheme not in OWN_SCHEMES] == []
    files = [find_file(url) for url in requested if url.startswith("file:")]
    assert files
    assert [path for path in files if not path.is_file() or html not in path.parents] == []


def test_the_console_is_silent(visited):
    """A page causes no error and no warning in the browser."""
    _, complaints = visited
    assert complaints == []


def test_the_first_load_is_small(visited):
    """What a page asks for at once is sent in less than 3 MB."""
    requested, _ = visited
    paths = {find_file(url) for url in requested if url.startswith("file:")}
    sizes = {path.name: count_sent_bytes(path) for path in paths}
    assert sum(sizes.values()) < MAX_PAGE_BYTES, sorted(sizes.items(), key=lambda item: -item[1])


def test_the_site_is_small(html):
    """All files of the site together have less than 60 MB."""
    sizes = {path: path.stat().st_size for path in html.rglob("*") if path.is_file()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    assert sum(sizes.values()) < MAX_SITE_BYTES, largest
