"""Pages for readers who see little, use the keyboard, or hold a phone in the dark."""

from itertools import pairwise

import pytest
from axe_playwright_python.sync_playwright import Axe
from site_pages import list_pages, open_unfolded

GRAVE = ("serious", "critical")
AXE = {"preload": False, "resultTypes": ["violations"]}  # preloading fetches, which files refuse

# One element of each look, as contrast takes 40 s for all of a long page: text of one colour and
# size on one background reads alike wherever it is.
MARK_LOOKS = """() => {
  const looks = new Set();
  for (const element of document.body.querySelectorAll('*')) {
    const hasText = [...element.childNodes].some(
      node => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
    if (!hasText || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const behind = [];
    for (let above = element; above; above = above.parentElement) {
      const { backgroundColor, backgroundImage, opacity } = getComputedStyle(above);
      behind.push(backgroundColor, backgroundImage, opacity);
      if (!/^rgba\\(.*, (0|0?\\.\\d+)\\)$/.test(backgroundColor)) break;
    }
    const look = [style.color, style.fontSize, style.fontWeight, ...new Set(behind)].join();
    if (!looks.has(look)) element.dataset.look = looks.size;
    looks.add(look);
  }
  return looks.size;
}"""

# Contrast (WCAG 2) of what a selector finds with what is behind it, of one of its colours.
CONTRAST = """([selector, property]) => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const mix = colors => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    const linear = [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)].map(value => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  return [...document.querySelectorAll(selector)].filter(found => found.checkVisibility()).map(
    found => {
      const behind = ['white'];
      const start = property === 'color' ? found : found.parentElement;
      for (let above = start; above; above = above.parentElement) {
        behind.splice(1, 0, getComputedStyle(above).backgroundColor);
      }
      const light = [mix(behind), mix([...behind, getComputedStyle(found)[property]])].sort();
      return (light[1] + 0.05) / (light[0] + 0.05);
    });
}"""

# Boxes of code and tables that are wider than their place and neither wrap nor scroll by keyboard.
CUT_OFF = """() => [...document.querySelectorAll('article pre, article table')].filter(item => {
  if (!item.checkVisibility()) return false;
  let box = item;
  const holds = ({ overflowX }) => overflowX !== 'visible';
  while (box && !(holds(getComputedStyle(box)) && box.scrollWidth > box.clientWidth + 1)) {
    box = box.parentElement.matches('article') ? null : box.parentElement;
  }
  if (!box) return item.getBoundingClientRect().left + item.scrollWidth > innerWidth + 1;
  const scrolls = ['auto', 'scroll'].includes(getComputedStyle(box).overflowX);
  const reached = box.tabIndex >= 0 || box.querySelector('a, button, input, [tabindex="0"]');
  return !(scrolls && reached);
}).map(item => item.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def axe():
    """Rules of axe-core, which come with their package."""
    return Axe()


def list_grave(results) -> list[tuple[str, str, str]]:
    """Rule, element and reason of each violation that keeps somebody out."""
    return [
        (violation["id"], node["html"][:120], node["failureSummary"])
        for violation in results.response["violations"]
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("name", list_pages())
def test_text_can_be_read_in_light_and_dark(screen, html, axe, name):
    """Text of each look has a contrast of 4.5:1 (3:1 if large), folded or not."""
    open_unfolded(screen, html, name)
    assert screen.evaluate(MARK_LOOKS) > 3
    only = {**AXE, "runOnly": ["color-contrast"]}
    assert list_grave(axe.run(screen, "[data-look]", only)) == []


@pytest.mark.parametrize("mode", ["light"], indirect=True)
@pytest.mark.parametrize("name", list_pages())
def test_pages_shut_nobody_out(screen, html, axe, name):
    """No rule of axe-core but contrast, which has its own test, is gravely violated."""
    open_unfolded(screen, html, name)
    others = {**AXE, "rules": {"color-contrast": {"enabled": False}}}
    assert list_grave(axe.run(screen, options=others)) == []


@pytest.mark.parametrize("name", list_pages())
def test_headings_are_in_order(window, html, name):
    """A page has one first heading, and none is more than a level below the one before it."""
    open_unfolded(window, html, name)
    levels = window.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')]"
        ".filter(item => item.closest('.bd-main') && item.checkVisibility())"
        ".map(item => Number(item.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max((below - above for above, below in pairwise(levels)), default=1) < 2


@pytest.mark.parametrize(
    ("selector", "property_name", "least"),
    [
        (".search-button-field, .search-button-field span, .search-button-field i", "color", 4.5),
        (".search-button-field kbd", "color", 4.5),
        (".bd-header-article .btn, .bd-header-article .btn :is(i, svg, span)", "color", 4.5),
        (".search-button-field", "borderTopColor", 3),
    ],
    ids=["search", "keys", "icons", "border"],
)
@pytest.mark.parametrize("width", ["desktop"], indirect=True)
def test_the_header_can_be_seen(screen, html, selector, property_name, least):
    """Search field and icons of the header stand out by day and night (WCAG 1.4.3 and 1.4.11)."""
    open_unfolded(screen, html, list_pages()[2])
    contrasts = screen.evaluate(CONTRAST, [selector, property_name])
    assert contrasts
    assert min(contrasts) >= least


@pytest.mark.parametrize("width", ["desktop"], indirect=True)
def test_letters_of_the_module_index_can_be_seen(screen, html):
    """Single letters, which axe-core leaves out, stand out by day and night."""
    open_unfolded(screen, html, "py-modindex")
    contrasts = screen.evaluate(CONTRAST, ["tr.cap strong", "color"])
    assert contrasts
    assert min(contrasts) >= 4.5


@pytest.mark.parametrize("mode", ["light"], indirect=True)
@pytest.mark.parametrize("width", ["phone"], indirect=True)
@pytest.mark.parametrize("name", list_pages())
def test_nothing_is_cut_off_on_a_phone(screen, html, name):
    """The page is as wide as the screen; wide code and tables wrap, or scroll by keyboard."""
    open_unfolded(screen, html, name)
    assert screen.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert screen.evaluate(CUT_OFF) == []


def test_faint_text_is_seen(window, axe):
    """Contrast is judged by look: of two faint lines alike one is named, and dark ones pass."""
    faint, dark = '<p style="color: #999">one</p><p style="color: #999">two</p>', "<p>three</p>"
    window.set_content(f"<main>{faint}{dark}</main>")
    assert window.evaluate(MARK_LOOKS) == 2
    ((rule, element, _),) = list_grave(
        axe.run(window, "[data-look]", {**AXE, "runOnly": ["color-contrast"]})
    )
    assert rule == "color-contrast"
    assert "one" in element
    ratios = window.evaluate(CONTRAST, ["p", "color"])
    assert ratios == pytest.approx([2.849, 2.849, 21], abs=0.01)  # (1.05) / (0.3185 + 0.05), ...


@pytest.mark.parametrize(
    ("style", "n_cut"),
    [("", 1), ("overflow: hidden", 1), ("overflow: auto", 1), ("white-space: pre-wrap", 0)],
)
def test_code_that_is_cut_off_is_seen(window, style, n_cut):
    """Wide code passes if it wraps; if it is hidden, or scrolls for a mouse alone, it does not."""
    window.set_content(f'<article><pre style="{style}">{"wide " * 500}</pre></article>')
    assert len(window.evaluate(CUT_OFF)) == n_cut
    reachable = f'<article><pre tabindex="0" style="overflow: auto">{"wide " * 500}</pre></article>'
    window.set_content(reachable)
    assert window.evaluate(CUT_OFF) == []
