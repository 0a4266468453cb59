"""
Pictures that move, driven by the keyboard.

A moving piece is an element with ``data-moving="NAME"``, written by the directive that makes it. It
holds something to be focused (a slider, or anything with ``tabindex="0"``) and a canvas, an SVG or
an image. An arrow key changes what is seen there.
"""

import re

import pytest
from site_pages import find_html, list_pages, locate

CONTROL = 'input[type="range"], [role="slider"], [tabindex="0"]'
PICTURE = "canvas:visible, svg:visible, img:visible"
KEYS = ("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown")
PATIENCE_MS = 5000  # a picture may be loaded first


def list_pieces() -> list[tuple[str, str]]:
    """Pages with their moving pieces, by name."""
    paths = {name: find_html() / f"{name}.html" for name in list_pages()}
    texts = {name: path.read_text("utf-8") for name, path in paths.items() if path.is_file()}
    return [
        (page, piece)
        for page, text in texts.items()
        for piece in re.findall(r'data-moving="([^"]+)"', text)
    ]


def photograph(piece) -> list[bytes]:
    """Pictures of a piece as they are seen."""
    return [picture.screenshot() for picture in piece.locator(PICTURE).all()]


def find_moving_key(window, piece) -> str | None:
    """Press arrow keys on a piece's first control: the one that changes its pictures, if any."""
    itself = piece.get_attribute("tabindex") == "0"
    control = piece if itself else piece.locator(CONTROL).first
    piece.scroll_into_view_if_needed()
    control.focus()
    window.wait_for_timeout(300)
    before = photograph(piece)
    for key in KEYS:
        control.press(key)
        for _ in range(PATIENCE_MS // (250 * len(KEYS))):
            window.wait_for_timeout(250)
            if photograph(piece) != before:
                return key
    return None


@pytest.mark.parametrize(("page", "name"), list_pieces())
def test_every_moving_piece_moves_by_keyboard(window, html, page, name):
    """An arrow key on the control of a piece changes the picture."""
    window.goto(locate(html, page))
    piece = window.locator(f'[data-moving="{name}"]')
    assert piece.count() == 1
    assert find_moving_key(window, piece) is not None  # which may load the picture first
    assert piece.locator(PICTURE).count() >= 1
    assert find_moving_key(window, piece) is not None


@pytest.mark.parametrize(
    ("script", "expected"), [("p.style.height = s.value + 'px'", True), ("", False)]
)
def test_a_piece_that_does_not_move_is_seen(window, script, expected):
    """A slider that is wired to its picture passes, one that only moves itself fails."""
    window.set_content(
        '<div data-moving="x"><input type="range" id="s" min="10" max="90" value="50">'
        '<svg id="p" width="99" height="50" style="background: red"></svg></div>'
        f"<script>s.oninput = () => {{ {script} }}</script>"
    )
    assert (find_moving_key(window, window.locator("[data-moving]")) is not None) == expected
