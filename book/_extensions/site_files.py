"""
What a published site has beside its pages: a feed, a card for social media, a map, ways back.

The two addresses are in ``_config.yml`` and nowhere else: ``repository.url`` and ``html.baseurl``.
Where one is empty, nothing that needs it is written: no link leads nowhere.
"""

import inspect
import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial, reduce
from html import escape, unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree

from markdown_it import MarkdownIt
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont
from sphinx.application import Sphinx
from sphinx.config import Config

from thesis_lib._sources import PACKAGES

ROOT = Path(__file__).resolve().parents[2]
FEED = "changelog.xml"
CARD = "_static/card.png"
CARD_SIZE = (1200, 630)  # pixels, what social media ask for
FIGURES = ("published/02_loss_study/answer.png", "book/results/02_loss_study/answer.png")
BINDER = "https://mybinder.org/v2/gh"
VERSION = re.compile(r"^## \[(.+?)\](?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)


def show_repository(app: Sphinx, config: Config) -> None:
    """Show the theme's buttons to the repository, and links to sources, where it has an address."""
    if get_repository(config):
        config.html_theme_options.update(use_repository_button=True, use_issues_button=True)
        app.setup_extension("sphinx.ext.linkcode")
        config.linkcode_resolve = partial(link_source, config)


def link_source(config: Config, domain: str, names: dict[str, str]) -> str | None:
    """Address of the lines that define a ``fullname`` of a ``module``, in a GitHub repository."""
    repository, module = get_repository(config), sys.modules.get(names.get("module", ""))
    if domain != "py" or module is None or urlsplit(repository).hostname != "github.com":
        return None
    try:
        found: Any = reduce(getattr, names["fullname"].split("."), module)
        found = inspect.unwrap(getattr(found, "fget", None) or getattr(found, "func", found))
        file = Path(inspect.getsourcefile(found) or "").resolve().relative_to(ROOT)
        lines, first = inspect.getsourcelines(found)
    except (AttributeError, TypeError, OSError, ValueError):  # an attribute has no source
        return None
    if file.parts[0] not in PACKAGES:
        return None
    branch = quote(config.html_theme_options.get("repository_branch") or "HEAD")
    where = f"L{first}-L{first + len(lines) - 1}"
    return f"{repository}/blob/{branch}/{file.as_posix()}#{where}"


def get_repository(config: Config) -> str:
    """Address of the repository without a slash at its end, or nothing."""
    return str(config.html_theme_options.get("repository_url") or "").rstrip("/")


def get_site(config: Config) -> str:
    """Address of the site with a slash at its end, or nothing."""
    return config.html_baseurl.rstrip("/") + "/" if config.html_baseurl else ""


def describe_page(app: Sphinx, page: str, _template: str, context: dict[str, Any], *_: Any) -> None:
    """Put the page's card and the feed into its head, and lead chapters to Binder."""
    title = unescape(re.sub(r"<.*?>", "", context.get("title") or "")) or app.config.html_title
    tags = {
        "og:title": title,
        "og:type": "article",
        "og:site_name": app.config.html_title,
        "og:description": app.config.site_description,
    }
    if site := get_site(app.config):
        tags |= {"og:url": urljoin(site, f"{page}.html"), "og:image": urljoin(site, CARD)}
        tags |= {"twitter:card": "summary_large_image"}
    lines = [f'<meta property="{name}" content="{escape(text)}" />' for name, text in tags.items()]
    feed = context["pathto"](FEED, resource=True)
    lines += [
        f'<meta name="description" content="{escape(app.config.site_description)}" />',
        f'<link rel="alternate" type="application/atom+xml" title="Changes" href="{feed}" />',
    ]
    context["metatags"] = "\n".join([context.get("metatags", ""), *lines])
    if page.startswith("book/chapters/") and (binder := get_binder(app.config, page)):
        context["header_buttons"].append(
            {
                "type": "link",
                "url": binder,
                "text": "Binder",
                "icon": "fas fa-rocket",
                "tooltip": "Run this chapter on Binder",
                "label": "binder-button",
            }
        )


def get_binder(config: Config, page: str) -> str:
    """Address that opens a chapter's notebook on Binder, of a repository on GitHub."""
    parts = urlsplit(get_repository(config))
    if parts.hostname != "github.com":
        return ""
    branch = config.html_theme_options.get("repository_branch") or "HEAD"
    notebook = quote(f"notebooks/{Path(page).name}.ipynb", safe="")
    return f"{BINDER}{parts.path}/{branch}?labpath={notebook}"


def list_versions(changelog: str) -> Iterator[tuple[str, str | None, str]]:
    """Take a changelog apart: name, date and text of each version."""
    marks = list(VERSION.finditer(changelog))
    ends = [mark.start() for mark in marks[1:]] + [len(changelog)]
    for mark, end in zip(marks, ends, strict=True):
        yield mark[1], mark[2], changelog[mark.end() : end].strip()


def format_feed(changelog: str, *, title: str, author: str, site: str, changed: datetime) -> bytes:
    """
    Write a changelog as an Atom feed, an entry a version.

    Parameters
    ----------
    changelog : str
        In the format of Keep a Changelog.
    title, author : str
        Of the book.
    site : str
        Address of the site, or nothing: names of entries do not depend on it.
    changed : datetime
        When the changelog was last written: the date of a version that is not released.
    """
    feed = ElementTree.Element("feed", xmlns="http://www.w3.org/2005/Atom")
    entries = list(list_versions(changelog))
    latest = changed.isoformat(timespec="seconds")
    _add(feed, title=f"{title}: changes", id=_name_entry(title), updated=latest)
    _add(ElementTree.SubElement(feed, "author"), name=author)
    if site:
        ElementTree.SubElement(feed, "link", rel="self", href=urljoin(site, FEED))
        ElementTree.SubElement(feed, "link", rel="alternate", href=site)
    for name, day, text in entries:
        entry = ElementTree.SubElement(feed, "entry")
        when = f"{day}T00:00:00+00:00" if day else latest
        _add(entry, title=name, id=_name_entry(f"{title} {name}"), updated=when)
        content = ElementTree.SubElement(entry, "content", type="html")
        content.text = MarkdownIt().render(text)
    ElementTree.indent(feed)
    return ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)


def _add(parent: ElementTree.Element, **texts: str) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = text


def _name_entry(text: str) -> str:
    return uuid5(NAMESPACE_URL, text).urn


def format_map(addresses: list[str]) -> bytes:
    """Write the addresses of all pages as a sitemap."""
    pages = ElementTree.Element("urlset", xmlns="http://www.sitemaps.org/schemas/sitemap/0.9")
    for address in addresses:
        _add(ElementTree.SubElement(pages, "url"), loc=address)
    ElementTree.indent(pages)
    return ElementTree.tostring(pages, encoding="utf-8", xml_declaration=True)


def draw_card(figure: Path, title: str, text: str) -> Image.Image:
    """Draw the book's card: its title over the figure that answers its first question."""
    card = Image.new("RGB", CARD_SIZE, "white")
    draw = ImageDraw.Draw(card)
    font = font_manager.findfont("DejaVu Sans")
    draw.rectangle((0, 0, CARD_SIZE[0], 176), fill="#17344f")
    draw.text((48, 28), title, "white", ImageFont.truetype(font, 64))
    draw.text((50, 116), text, "#ffc04d", ImageFont.truetype(font, 29))
    with Image.open(figure) as picture:
        shown = picture.convert("RGB")
    width, height = CARD_SIZE[0] - 96, CARD_SIZE[1] - 176 - 48
    scale = min(width / shown.width, height / shown.height)
    shown = shown.resize((round(shown.width * scale), round(shown.height * scale)), Image.LANCZOS)
    left, top = (CARD_SIZE[0] - shown.width) // 2, 176 + (CARD_SIZE[1] - 176 - shown.height) // 2
    card.paste(shown, (left, top))
    return card


def write_files(app: Sphinx, exception: Exception | None) -> None:
    """Write feed, card and map beside the pages."""
    if exception is not None or app.builder.format != "html":
        return
    source, out, site = Path(app.srcdir), Path(app.outdir), get_site(app.config)
    changelog = source / "CHANGELOG.md"
    if changelog.is_file():
        seconds = float(os.environ.get("SOURCE_DATE_EPOCH") or changelog.stat().st_mtime)
        feed = format_feed(
            changelog.read_text(encoding="utf-8"),
            title=app.config.html_title,
            author=app.config.author,
            site=site,
            changed=datetime.fromtimestamp(seconds, UTC),
        )
        (out / FEED).write_bytes(feed)
    figures = [source / name for name in FIGURES if (source / name).is_file()]
    if site and figures:
        card = draw_card(figures[0], app.config.html_title, app.config.site_description)
        card.save(out / CARD, optimize=True)
    if site:
        names = sorted(app.env.found_docs)
        (out / "sitemap.xml").write_bytes(format_map([urljoin(site, f"{n}.html") for n in names]))


def setup(app: Sphinx) -> dict[str, Any]:
    """Add to each page's head, and write the files once the pages are there."""
    app.add_config_value("site_description", "", "html", str)
    app.connect("config-inited", show_repository)
    app.connect("html-page-context", describe_page, priority=600)  # after the theme's buttons
    app.connect("build-finished", write_files)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
