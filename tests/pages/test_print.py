"""The PDF of the book."""

import pytest
from site_pages import PRINTING

NAMES = ("book/notation", "book/reproducing")


@pytest.fixture(scope="module")
def printed(browser, html):
    """Two pages of the book, printed into one file."""
    return PRINTING["print_book"](browser, html, NAMES)


def test_pages_follow_each_other_under_their_titles(printed):
    """The outline leads to each page of the book, in order, where its title is printed."""
    titles = [entry["/Title"] for entry in printed.outline]
    assert len(titles) == len(NAMES)
    starts = [printed.get_destination_page_number(entry) for entry in printed.outline]
    assert starts[0] == 0 < starts[1]
    for title, start in zip(titles, starts, strict=True):
        assert title in printed.pages[start].extract_text().replace("\n", " ")


def test_only_the_text_is_printed(printed):
    """Neither sidebars nor search field, buttons or links to the next page are on paper."""
    text = "\n".join(page.extract_text() for page in printed.pages)
    assert "make install" in text
    assert [word for word in ("Search", "previous", "next page", "Contents") if word in text] == []


def test_links_stay_inside_the_file(printed):
    """No link of the PDF names a file of the machine that printed it."""
    links = [link.get_object() for page in printed.pages for link in page.get("/Annots") or []]
    addresses = [str(link["/A"].get("/URI", "")) for link in links if "/A" in link]
    assert links
    assert [address for address in addresses if address.startswith("file:")] == []
