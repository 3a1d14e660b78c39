"""Every page, in a browser, on a phone and on a wide screen."""

import re
from urllib.parse import urlsplit

import pytest
from built import FENCE, WATCH_SHIFT, source

WIDTHS = (360, 1280)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_leaves_the_origin(visit, base, address, width):
    asked = visit(address, width)["requests"]
    assert asked, "the page asked for nothing, not even itself"
    off = [u for u in asked if urlsplit(u).scheme not in ("data", "blob")]
    assert [u for u in off if not u.startswith(base)] == []


def test_the_search_is_not_loaded_before_it_is_opened(visit, address):
    """It would be most of what a page asks for."""
    asked = visit(address, 1280)["requests"]
    assert [url for url in asked if "search_index" in url] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_errors(visit, address, width):
    seen = visit(address, width)
    assert seen["bad"] == []
    assert seen["errors"] == []


@pytest.mark.parametrize("width", WIDTHS)
def test_layout_stays(visit, address, width):
    """Below 0.1, web.dev's "good": a formula may move a line when its font is late."""
    assert visit(address, width)["shift"] < 0.1


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("place", ["", "mlp/", "en/map/", "lab/gru/", "en/esn/"])
def test_nothing_but_a_late_font_moves_a_line(browser, base, place, width):
    context = browser.new_context(viewport={"width": width, "height": 900})
    context.add_init_script(WATCH_SHIFT)
    page = context.new_page()
    page.route("**/math.woff2", lambda route: route.abort())
    page.goto(base + place, wait_until="networkidle")
    assert page.evaluate("window.shift") < 0.01
    context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_sideways_scroll(visit, address, width):
    seen = visit(address, width)
    assert seen["wide"] == []
    assert seen["width"] <= width


def test_formulas_are_drawn(visit, address):
    seen = visit(address, 1280)
    assert seen["flat"] == []
    if seen["formulas"]:
        assert ["Unrolled Math", "loaded"] in seen["fonts"]
    raw = re.findall(r".{0,30}(?:\$|\\\(|\\\[|\\[a-z]{2,}|\{\{).{0,30}", seen["text"])
    assert raw == []


def test_every_formula_of_the_source_is_on_the_page(soup, address):
    page = soup(address)
    assert not page.select("merror")
    if (path := source(address)) is None:
        return  # labs: nothing raw is left on them, says the test above
    text = FENCE.sub("", path.read_text("utf-8").split("---", 2)[2])
    text = re.sub(r"`[^`\n]+`", "", text)
    formulas = re.findall(r"\$\$.+?\$\$|\$[^$]+\$", text, re.S)
    assert len(page.select("article math")) == len(formulas)
