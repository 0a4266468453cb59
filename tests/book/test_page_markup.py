"""The HTML of pages, mended."""

import sys
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "book" / "_extensions"))

import page_markup


@pytest.fixture
def paths(tmp_path):
    """Pictures by the names that pages give them."""
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    (tmp_path / "b.svg").write_text("<svg/>", encoding="utf-8")
    return {"one.png": tmp_path / "a.png", "two.svg": tmp_path / "b.svg"}


@pytest.mark.parametrize(
    ("attributes", "added"),
    [
        (
            ' alt="x" src="../_images/one.png"',
            ' loading="lazy" decoding="async" width="30" height="20"',
        ),
        (' src="one.png" style="width: 9px"', ' loading="lazy" decoding="async"'),
        (' src="two.svg"', ' loading="lazy" decoding="async"'),
        (' src="https://other.example/one.jpg"', ' loading="lazy" decoding="async"'),
        (' src="one.png" loading="eager" width="5"', ""),
    ],
)
def test_pictures_load_late_in_their_size(paths, attributes, added):
    """A picture gets its size unless it has one or none is known, and what it says stays."""
    assert page_markup.mend_picture(attributes, paths) == f"<img{attributes}{added} />"
