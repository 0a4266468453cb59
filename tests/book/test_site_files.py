"""What the site has beside its pages, with and without the addresses of site and repository."""

import importlib
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup
from jupyter_book.config import get_final_config
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "book" / "_extensions"))

import site_files  # noqa: E402

ATOM = "{http://www.w3.org/2005/Atom}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
SITE = "https://owner.example/book/"
REPOSITORY = "https://github.com/owner/name"
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- A `feed` & more.

## [0.1.0] - 2026-01-02

- First.
"""

PAGE = """# Which loss?

```{eval-rst}
.. autofunction:: saltvolumes.middle_section
```
"""


def build(folder: Path, **options: str) -> Path:
    """Build a book of a page and a chapter, and give the folder of its HTML."""
    source, out = folder / "source", folder / "html"
    (source / "book" / "chapters").mkdir(parents=True)
    (source / "index.md").write_text("# Salt & more\n\n```{toctree}\nbook/chapters/02_x\n```\n")
    (source / "book" / "chapters" / "02_x.md").write_text(PAGE)
    (source / "CHANGELOG.md").write_text(CHANGELOG)
    figure = source / site_files.FIGURES[0]
    figure.parent.mkdir(parents=True)
    Image.new("RGB", (300, 100), "red").save(figure)
    settings = {
        "extensions": ["myst_parser", "sphinx.ext.autodoc", "sphinx_book_theme", "site_files"],
        "html_theme": "sphinx_book_theme",
        "html_title": "The book",
        "author": "Its authors",
        "site_description": 'What "it" is',
        "exclude_patterns": ["CHANGELOG.md"],
        "html_baseurl": options.get("site", ""),
        "html_theme_options.repository_url": options.get("repository", ""),
    }
    with patch_docutils(), docutils_namespace():
        app = Sphinx(
            source, None, out, folder / "trees", "html", settings, status=None, warning=None
        )
        app.build()
    return out


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    """HTML of a book whose addresses are not set."""
    return build(tmp_path_factory.mktemp("without"))


@pytest.fixture(scope="module")
def with_addresses(tmp_path_factory):
    """HTML of a book that is published."""
    return build(tmp_path_factory.mktemp("with"), site=SITE.rstrip("/"), repository=REPOSITORY)


def read(html: Path, name: str) -> BeautifulSoup:
    """Parse a page."""
    return BeautifulSoup((html / f"{name}.html").read_text("utf-8"), "html.parser")


def read_tags(page: BeautifulSoup) -> dict[str, str]:
    """Properties in the head of a page."""
    return {str(tag["property"]): str(tag["content"]) for tag in page.select("meta[property]")}


def test_nothing_needs_an_address_that_is_not_set(without):
    """Without addresses there is no map, card, canonical address or way to a repository."""
    assert not (without / "sitemap.xml").exists()
    assert not (without / site_files.CARD).exists()
    page = read(without, "book/chapters/02_x")
    assert {"og:url", "og:image", "twitter:card"} & read_tags(page).keys() == set()
    assert page.select("link[rel=canonical]") == []
    links = [
        str(link["href"]) for link in page.select("article a[href], .bd-header-article a[href]")
    ]
    assert [link for link in links if "://" in link] == []


def test_every_page_says_what_it_is(without):
    """Title and description are in the head of each page, escaped."""
    tags = read_tags(read(without, "index"))
    assert tags["og:title"] == "Salt & more"
    assert tags["og:site_name"] == "The book"
    assert tags["og:description"] == 'What "it" is'


def test_pages_name_the_feed_where_it_is(without):
    """The feed's link leads from each folder to the file."""
    for name in ("index", "book/chapters/02_x"):
        (link,) = read(without, name).select("link[type='application/atom+xml']")
        assert ((without / f"{name}.html").parent / str(link["href"])).resolve().is_file()


def test_published_pages_have_a_card(with_addresses):
    """The card's address is whole, and its picture has the size that social media ask for."""
    tags = read_tags(read(with_addresses, "book/chapters/02_x"))
    assert tags["og:url"] == f"{SITE}book/chapters/02_x.html"
    assert tags["og:image"] == f"{SITE}{site_files.CARD}"
    with Image.open(with_addresses / site_files.CARD) as card:
        assert card.size == (1200, 630)
        assert card.getpixel((600, 400)) == (255, 0, 0)  # the figure


def test_the_map_lists_every_page(with_addresses):
    """The sitemap has the whole address of each page."""
    found = ElementTree.parse(with_addresses / "sitemap.xml").iter(f"{SITEMAP}loc")
    assert [place.text for place in found] == [
        f"{SITE}book/chapters/02_x.html",
        f"{SITE}index.html",
    ]


def test_published_chapters_lead_to_repository_and_binder(with_addresses):
    """A chapter's header leads to the repository and, on Binder, to the tracked notebook."""
    links = [
        str(link["href"]) for link in read(with_addresses, "book/chapters/02_x").select("a[href]")
    ]
    notebook = "labpath=notebooks%2F02_x.ipynb"
    assert f"https://mybinder.org/v2/gh/owner/name/HEAD?{notebook}" in links
    assert REPOSITORY in links
    others = [str(link["href"]) for link in read(with_addresses, "index").select("a[href]")]
    assert [link for link in others if "mybinder" in link] == []


def test_only_github_repositories_lead_to_binder(tmp_path):
    """A repository elsewhere is shown without a way to Binder."""
    html = build(tmp_path, repository="https://gitlab.com/owner/name")
    links = [str(link["href"]) for link in read(html, "book/chapters/02_x").select("a[href]")]
    assert [link for link in links if "mybinder" in link] == []


@pytest.mark.parametrize("site", ["", SITE])
def test_the_feed_has_an_entry_for_each_version(site):
    """Names, dates and texts are those of the changelog; names stay when the site moves."""
    changed = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    feed = ElementTree.fromstring(
        site_files.format_feed(CHANGELOG, title="T", author="A", site=site, changed=changed)
    )
    assert [feed.findtext(f"{ATOM}{tag}") for tag in ("title", "updated")] == [
        "T: changes",
        "2026-03-04T05:06:07+00:00",
    ]
    new, old = feed.findall(f"{ATOM}entry")
    assert new.findtext(f"{ATOM}title") == "Unreleased"
    assert "<code>feed</code> &amp; more" in (new.findtext(f"{ATOM}content") or "")
    assert old.findtext(f"{ATOM}updated") == "2026-01-02T00:00:00+00:00"
    assert "First." in (old.findtext(f"{ATOM}content") or "")
    assert old.findtext(f"{ATOM}id") == site_files._name_entry("T 0.1.0")
    assert [link.get("href") for link in feed.findall(f"{ATOM}link")] == (
        [f"{SITE}changelog.xml", SITE] if site else []
    )


def test_entries_of_the_library_lead_to_their_lines(with_addresses, without):
    """The link behind a function names the lines that define it; without an address it has none."""
    (link,) = read(with_addresses, "book/chapters/02_x").select("dl.function a[href*=blob]")
    assert "def middle_section(" in read_lines(str(link["href"]))
    assert read(without, "book/chapters/02_x").select("dl.function a[href*=blob]") == []


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("thesis_lib.losses", "dice_loss"),  # decorated here, by torch, by contextlib
        ("thesis_lib.training", "fit"),
        ("thesis_lib.plotting", "plot_forest"),
        ("thesis_lib.study", "PredictSurvey.trained"),  # a property
        ("thesis_lib.study", "Ensemble"),
    ],
)
def test_what_is_decorated_leads_to_its_own_lines(module, name):
    """The lines are those of the definition, not of what wraps it."""
    importlib.import_module(module)
    config = make_config(REPOSITORY)
    address = site_files.link_source(config, "py", {"module": module, "fullname": name})
    first, *_ = re.findall(r"^ *(?:def|class) (\w+)", read_lines(str(address)), re.MULTILINE)
    assert first == name.split(".")[-1]


@pytest.mark.parametrize(
    ("repository", "domain", "names"),
    [
        (REPOSITORY, "py", {"module": "", "fullname": "x"}),
        (REPOSITORY, "py", {"module": "not.imported", "fullname": "x"}),
        (REPOSITORY, "py", {"module": "saltvolumes", "fullname": "nothing"}),
        (REPOSITORY, "py", {"module": "pathlib", "fullname": "Path"}),
        (REPOSITORY, "c", {"names": "x"}),
        ("https://host.example/name", "py", {"module": "saltvolumes", "fullname": "open_volume"}),
    ],
)
def test_what_has_no_lines_here_has_no_link(repository, domain, names):
    """Neither other libraries and languages nor hosts with addresses of another form."""
    assert site_files.link_source(make_config(repository), domain, names) is None


def test_the_address_in_the_configuration_reaches_the_theme(tmp_path):
    """Jupyter Book hands the repository's address on, next to options of the theme."""
    text = (ROOT / "_config.yml").read_text(encoding="utf-8")
    assert re.search(r'^  url: ""', text, re.MULTILINE)
    path = tmp_path / "_config.yml"
    path.write_text(re.sub(r'^  url: ""', f'  url: "{REPOSITORY}"', text, flags=re.MULTILINE))
    options = {"latex_individualpages": False}
    config, _ = get_final_config(user_yaml=path, sourcedir=tmp_path, cli_config=options)
    theme = config["html_theme_options"]
    assert site_files.get_repository(SimpleNamespace(html_theme_options=theme)) == REPOSITORY
    assert theme["show_toc_level"] == 2


def make_config(repository: str) -> Any:
    """What `link_source` reads of a configuration."""
    return SimpleNamespace(html_theme_options={"repository_url": repository})


def read_lines(address: str) -> str:
    """Lines of a file of this project that an address names."""
    path, _, lines = address.removeprefix(f"{REPOSITORY}/blob/HEAD/").partition("#")
    first, last = (int(part.removeprefix("L")) for part in lines.split("-"))
    return "\n".join((ROOT / path).read_text("utf-8").splitlines()[first - 1 : last])
