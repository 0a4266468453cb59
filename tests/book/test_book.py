"""
The pages that readers get. ``make html`` builds them and names their folder in ``THESIS_HTML``.

Without it these tests are skipped: they judge a build, and there is none.
"""

import json
import os
import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup, Tag

NOT_RUN = "not run"  # that of thesis_lib.study.tables, which brings torch and takes seconds
LOADING = "[src], link[href], object[data]"  # elements that a browser fetches something for


@pytest.fixture(scope="module")
def html():
    """Folder of the built pages."""
    folder = os.environ.get("THESIS_HTML")
    if not folder:
        pytest.skip("THESIS_HTML is not set: no pages to look at (make html builds them)")
    return Path(folder)


@pytest.fixture(scope="module")
def names(repository):
    """Pages that the table of contents names."""
    contents = yaml.safe_load((repository / "_toc.yml").read_text(encoding="utf-8"))
    parts = [entry["file"] for part in contents["parts"] for entry in part["chapters"]]
    return [contents["root"], *parts]


@pytest.fixture(scope="module")
def pages(html, names):
    """Parsed pages of the book, with the ones that Sphinx adds."""
    paths = [html / f"{name}.html" for name in names]
    paths += [html / name for name in ("index.html", "search.html", "genindex.html")]
    return {path.stem: BeautifulSoup(path.read_text("utf-8"), "html.parser") for path in paths}


@pytest.fixture(scope="module")
def chapters(pages, names):
    """Parsed pages of the chapters."""
    stems = [Path(name).name for name in names if name.startswith("book/chapters/")]
    return {stem: pages[stem] for stem in stems}


def find_article(page: BeautifulSoup) -> Tag:
    """Find the text of a page, without header, sidebars and footer."""
    article = page.select_one("article.bd-article")
    assert article is not None
    return article


def find_title(page: BeautifulSoup) -> Tag:
    """Find the heading of a page."""
    title = find_article(page).find("h1")
    assert isinstance(title, Tag)
    return title


def is_elsewhere(address: str) -> bool:
    """Say whether an address is on another host."""
    parts = urlsplit(address)
    return bool(parts.netloc) or parts.scheme not in ("", "data")


def test_every_page_of_the_contents_is_built(html, names):
    """Each page that the table of contents names is there, and an index leads to the first."""
    assert [name for name in names if not (html / f"{name}.html").is_file()] == []
    assert f"{names[0]}.html" in (html / "index.html").read_text(encoding="utf-8")


def test_no_page_loads_anything_from_elsewhere(pages):
    """A reader's browser asks no other host for scripts, styles, fonts or pictures."""
    loaded = [
        (name, element)
        for name, page in pages.items()
        for element in page.select(LOADING)
        if any(is_elsewhere(str(element.get(key, ""))) for key in ("src", "href", "data"))
        and "canonical" not in (element.get("rel") or [])
    ]
    assert loaded == []


def test_scripts_and_styles_name_no_other_host(html, pages):
    """Scripts hold no address, styles take all from the book's folder, where MathJax lies."""
    sources = [str(script.get("src", "")) for script in pages["notation"]("script")]
    (mathjax,) = [source for source in sources if "tex-svg" in source]
    assert (html / "book" / urlsplit(mathjax).path).stat().st_size > 1_000_000
    scripts = [(name, script.text) for name, page in pages.items() for script in page("script")]
    assert [pair for pair in scripts if re.search(r"https?://", pair[1])] == []
    pattern = re.compile(r"""(?:@import\s+|url\()\s*["']?(?:https?:)?//""")
    sheets = html.rglob("*.css")
    assert [path for path in sheets if pattern.search(path.read_text(encoding="utf-8"))] == []


def test_local_links_lead_somewhere(html, names, pages):
    """Every link and picture within the book exists, and so does the place on the page."""
    broken = []
    for name in names:
        folder = (html / name).parent
        for element in find_article(pages[Path(name).name]).select("a[href], img[src]"):
            address = str(element.get("href") or element.get("src"))
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = folder / parts.path if parts.path else html / f"{name}.html"
            if not target.is_file() or not holds_anchor(target, parts.fragment):
                broken.append((name, address))
    assert broken == []


def holds_anchor(path: Path, anchor: str) -> bool:
    """Say whether a page has an element with this id; any file will do without one."""
    return not anchor or anchor in list_anchors(path)


@cache
def list_anchors(path: Path) -> frozenset[str]:
    """All ids of a page."""
    return frozenset(re.findall(r'id="([^"]*)"', path.read_text(encoding="utf-8")))


def test_every_picture_says_what_is_to_be_seen(pages):
    """Each picture has an alternative text of a few words, and none is a file's name."""
    silent = [
        (name, image.get("src"))
        for name, page in pages.items()
        for image in page.select("article img")
        if len(str(image.get("alt", "")).split()) < 3 or "/" in str(image["alt"]).split()[0]
    ]
    assert silent == []


def test_every_picture_of_a_chapter_is_a_figure(chapters):
    """Each picture is in a figure with number and caption, or at the head and leads to one."""
    for name, page in chapters.items():
        images = find_article(page)("img")
        assert images, name
        for image in images:
            link = image.find_parent("a", class_="head-figure")
            figure = image.find_parent("figure") if link is None else page.select_one(link["href"])
            assert figure is not None, (name, image["src"])
            number = figure.select_one("figcaption .caption-number")
            caption = figure.select_one("figcaption .caption-text")
            assert number is not None, (name, image["src"])
            assert re.match(r"Figure \d+\.\d+", number.text)
            assert caption is not None, (name, image["src"])
            assert len(caption.text.split()) > 2


def test_claims_slider_ends_with_the_verdicts_of_the_tables(html, pages):
    """With all seeds the slider of the claims says what the tables below it say."""
    script = (html / "_static" / "claims-by-seeds.js").read_text(encoding="utf-8")
    content = json.loads(script.partition(" = ")[2].removesuffix(";\n"))
    rows = pages["claims"].select("#table-claims tbody tr, #table-checks tbody tr")
    tables = {row.td.get_text(strip=True): row.select_one(".verdict").text for row in rows}
    assert tables == {
        claim["statement"]: claim["steps"][-1]["verdict"] if claim["steps"] else NOT_RUN
        for claim in content["claims"]
    }


def test_every_chapter_says_where_its_numbers_come_from(chapters):
    """Under a question, a banner names the profile, the seeds and the command to rerun."""
    for name, page in chapters.items():
        assert find_title(page).text.rstrip("#").endswith("?")
        (banner,) = find_article(page).select(".admonition.provenance")
        assert banner.find_previous(re.compile("h[1-6]")) is find_title(page)
        assert re.search(r"profile (smoke|laptop|study|gpu|custom)", banner.text), name
        assert "Seeds" in banner.text, name
        command = banner.find("pre")
        assert command is not None, name
        assert f"run {name} --profile" in command.text


def test_no_glued_number_is_missing(pages):
    """No page shows a number that was not computed, or the code that was to insert one."""
    texts = {name: page.get_text(" ") for name, page in pages.items()}
    assert [name for name, text in texts.items() if "{glue" in text or "{numref" in text] == []


def test_the_first_page_shows_the_table(pages):
    """The scores of the run are on the first page, numbered, one row per loss."""
    table = find_article(pages["intro"]).select_one("#table-answer")
    assert table is not None
    assert table.select_one("caption .caption-number") is not None
    assert len(table.select("tbody tr")) == 11
