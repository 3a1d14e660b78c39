"""axe finds nothing against WCAG 2.2 AA."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from built import folder

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PAGES = ("", "gru/", "lab/gru/")


def violations(page) -> list[str]:
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    page.wait_for_timeout(300)  # colours fade for a quarter of a second
    options = {"runOnly": {"type": "tag", "values": TAGS}}
    found = Axe().run(page, options=options).response
    assert len(found["passes"]) > 10, "axe did not look"
    return [
        f"{v['id']}: {node['html'][:160]} {node['failureSummary']}"
        for v in found["violations"]
        for node in v["nodes"]
    ]


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("place", PAGES)
def test_axe(open_page, language, place, colours):
    page = open_page(folder(language) + place, color_scheme=colours)
    page.wait_for_load_state("networkidle")
    assert violations(page) == []


def test_axe_on_a_phone(open_page, language):
    """Here formulas, tables and code scroll in their boxes."""
    page = open_page(folder(language) + "gru/", 390)
    page.wait_for_load_state("networkidle")
    assert violations(page) == []


def test_axe_with_the_search_open(open_page, language):
    page = open_page(folder(language))
    page.locator(".md-search__input").click()
    page.keyboard.type("GRU")
    page.locator(".md-search-result__item").first.wait_for()
    assert violations(page) == []


def test_axe_sees_bad_contrast(open_page):
    page = open_page("")
    page.add_style_tag(content=".md-typeset p { color: #bbb !important }")
    assert any(v.startswith("color-contrast") for v in violations(page))


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_figure_colours(open_page, colours):
    """Lines of figures have 3:1 on the page, their text 4.5:1."""
    page = open_page("gru/", color_scheme=colours)
    names = ["ink", "muted", "warm", *"012345"]
    values = page.evaluate(
        """names => names.map(name => getComputedStyle(document.body)
             .getPropertyValue(`--fig-${name}`).trim())""",
        ["paper", *names],
    )
    paper, *inks = map(luminance, values)
    for name, ink in zip(names, inks):
        light, dark = max(ink, paper), min(ink, paper)
        least = 4.5 if name in ("ink", "muted") else 3
        assert (light + 0.05) / (dark + 0.05) >= least, name
    assert len(set(values)) >= len(values) - 1  # warm may be one of the hues


def luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [
        p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
