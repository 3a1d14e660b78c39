"""Using the book: copying code, switching language and scheme, searching."""

import json
from urllib.parse import urljoin

import pytest
from built import ROOT, SITE, fences, folder, section, source

CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}
TWINS = ("", "gru/", "lab/gru/")


def copied(page) -> list[str]:
    """Press every copy button and read the clipboard; folded answers are opened."""
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    texts = []
    for block in page.locator("article .highlight").all():
        page.evaluate("navigator.clipboard.writeText('nothing copied')")
        block.scroll_into_view_if_needed()
        block.locator("button[data-md-type=copy]").click()
        page.locator(".md-dialog--active").wait_for()
        texts.append(page.evaluate("navigator.clipboard.readText()").strip("\n"))
    return texts


def test_copied_code_is_the_tested_code(open_page, language, lab):
    address = f"{folder(language)}{lab}/"
    wanted = [
        section(body) if body.startswith("--8<--") else body
        for body in fences(source(address).read_text("utf-8"))
    ]
    if (ROOT / "snippets" / f"{lab}.py").is_file():  # a guide may do without code
        assert sum("def " in text or "=" in text for text in wanted) >= 3
    assert copied(open_page(address, **CLIPBOARD)) == wanted


def test_copied_lab_is_the_notebook(open_page, language):
    address = f"{folder(language)}lab/gru/"
    page = open_page(address, **CLIPBOARD)
    link = page.locator("a[download][href$=ipynb]").get_attribute("href")
    notebook = SITE / urljoin("/" + address, link).lstrip("/")
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    code = ["".join(c["source"]).strip("\n") for c in cells if c["cell_type"] == "code"]
    assert copied(page) == code


COVERED = """code => {
    const range = document.createRange();
    range.selectNodeContents(code);
    const lines = [...range.getClientRects()];
    const button = code.parentElement.querySelector("button[data-md-type=copy]");
    const b = button.getBoundingClientRect();
    return lines.some(l => l.left < b.right && b.left < l.right
        && l.top < b.bottom - 1 && b.top < l.bottom - 1);
}"""


@pytest.mark.parametrize("place", ["gru/", "contributing/", "lab/gru/"])
def test_no_button_covers_code_on_a_phone(open_page, language, place):
    page = open_page(f"{folder(language)}{place}", width=390)
    page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    blocks = page.locator("article .highlight > pre > code").all()
    assert len(blocks) > 3
    for block in blocks:
        block.scroll_into_view_if_needed()
        page.locator("article .highlight button[data-md-type=copy]").first.wait_for()
        assert not block.evaluate(COVERED), block.text_content()[:60]


@pytest.mark.parametrize("place", TWINS)
def test_language_switch_stays_on_the_page(open_page, base, place):
    anchor = "#evidence" if place == "gru/" else ""
    page = open_page(place + anchor)
    for language, there in (("en", f"en/{place}"), ("zh", place)):
        page.locator(".md-header .md-select button").hover()
        page.locator(f".md-select__link[hreflang={language}]").click()
        page.wait_for_url(base + there + anchor)
        assert page.locator("html").get_attribute("lang") == language
        assert page.locator("h1").count() == 1


def scheme(page) -> str:
    return page.locator("body").get_attribute("data-md-color-scheme")


def brightness(page) -> float:
    """Of the page itself, 0 to 255."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(float, colour.strip("rgba()").split(",")[:3])) / 3


def test_scheme_follows_the_system(open_page, language):
    address = f"{folder(language)}gru/"
    dark = open_page(address, color_scheme="dark")
    assert scheme(dark) == "slate" and brightness(dark) < 60
    light = open_page(address, color_scheme="light")
    assert scheme(light) == "default" and brightness(light) > 230
    light.emulate_media(color_scheme="dark")
    light.wait_for_function("document.body.dataset.mdColorScheme === 'slate'")


def test_dark_before_the_first_paint(open_page, browser, base):
    """No white flash: the scheme does not wait for Material's script."""
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.route("**/bundle.*.js", lambda route: route.abort())
    page.goto(base + "gru/")
    assert scheme(page) == "slate"
    context.close()


def test_scheme_toggle(open_page, language):
    page = open_page(f"{folder(language)}gru/", color_scheme="light")
    toggle = page.locator("form[data-md-component=palette] label:visible")
    for want in ("default", "slate"):  # system -> light -> dark
        toggle.click()
        page.wait_for_function(f"document.body.dataset.mdColorScheme === '{want}'")
    page.reload()
    assert scheme(page) == "slate" and brightness(page) < 60
    toggle.click()  # back to the system
    page.wait_for_function("document.body.dataset.mdColorScheme === 'default'")


RECURRENT = {"gradients", "rnn", "lstm", "gru"}
QUERIES = [
    ("zh", "梯度消失", RECURRENT),
    ("zh", "长短期记忆", {"lstm"}),
    ("zh", "门控循环单元", {"gru"}),
    ("zh", "GRU", {"gru"}),
    ("en", "vanishing gradient", RECURRENT),
    ("en", "gradients", {"gradients"}),
    ("en", "GRU", {"gru"}),
    ("zh", "感受野", {"conv1d"}),
    ("zh", "负采样", {"embedding"}),
    ("zh", "束搜索", {"seq2seq"}),
    ("en", "padding and packing", {"birnn"}),
    ("en", "squeeze-and-excitation", {"gating"}),
    ("en", "cached generation", {"transformer"}),
]


@pytest.mark.parametrize("tongue, query, wanted", QUERIES)
def test_search(open_page, base, tongue, query, wanted):
    page = open_page(folder(tongue))
    page.locator(".md-search__input").click()
    page.keyboard.insert_text(query)
    page.keyboard.press("End")  # the client listens to keyup
    results = page.locator(".md-search-result__item")
    results.first.wait_for()
    first = [result.locator("a").first for result in results.all()[:3]]
    links = [urljoin(page.url, link.get_attribute("href")) for link in first]
    stems = [link.removeprefix(base + folder(tongue)).split("/")[0] for link in links]
    assert wanted & set(stems), f"first three: {links}"
    page.goto(links[0])
    assert page.locator("h1").count() == 1


@pytest.mark.parametrize("width", [390, 1280])
def test_a_result_marks_the_words_that_were_searched(open_page, language, width):
    page = open_page(folder(language), width)
    phone, desk = "label.md-header__button[for=__search]", ".md-search__input"
    page.locator(phone if width < 960 else desk).click()
    page.keyboard.insert_text("GRU")
    page.keyboard.press("End")
    page.locator(".md-search-result__item a").first.click()
    mark = page.locator("article mark[data-md-highlight]").first
    mark.wait_for(state="attached")
    assert mark.text_content() == "GRU"


def test_search_for_nothing(open_page, language):
    """The test above can fail: a word that is not in the book is not found."""
    page = open_page(folder(language))
    page.locator(".md-search__input").click()
    page.keyboard.insert_text("xylophone")
    page.keyboard.press("End")
    page.wait_for_function(
        "!/[1-9]/.test(document.querySelector('.md-search-result__meta').textContent)"
        " && document.querySelector('[data-md-component=search-query]').value"
    )
    assert page.locator(".md-search-result__item").count() == 0


def test_first_tab_skips_to_the_text(open_page, language):
    page = open_page(f"{folder(language)}gru/")
    page.keyboard.press("Tab")
    target = page.evaluate("document.activeElement.hash")
    assert target and page.locator(f"article h1{target}").count() == 1


def test_badge_links_work(open_page, language):
    """One is pressed; that the others lead to a file, test_links says."""
    page = open_page(f"{folder(language)}gru/")
    page.locator("article .run a").click()
    assert page.url.endswith(f"{folder(language)}lab/gru/")
    with page.expect_download() as download:
        page.locator("a[download][href*='code/']").click()
    text = download.value.path().read_text("utf-8")
    assert "class GRU(nn.Module):" in text and "Licence: MIT" in text
    assert "--8<--" not in text


STEPPED = (
    *("lstm", "gru", "gating", "attention", "transformer"),
    *("recursive", "gnn", "esn"),
)
GROUPS = "article .{}-steps ~ div svg g[class*='{}-g']"
OPACITIES = "groups => groups.map(g => Number(getComputedStyle(g).opacity))"


@pytest.mark.parametrize("stem", STEPPED)
def test_a_figure_can_be_stepped_through(open_page, language, stem):
    """Each step lights its own part; the first choice shows the whole."""
    page = open_page(f"{folder(language)}{stem}/")
    page.add_style_tag(content="* { transition: none !important }")
    labels = page.locator(f".{stem}-steps label")
    groups = page.locator(GROUPS.format(stem, stem))
    seen = []
    for number in range(labels.count()):
        labels.nth(number).click()
        seen.append(groups.evaluate_all(OPACITIES))
    assert set(seen[0]) == {1}
    lit = [{n for n, one in enumerate(step) if one == 1} for step in seen[1:]]
    assert len(lit) >= 2 and all(lit) and len({*map(frozenset, lit)}) == len(lit)
    assert set().union(*lit) == set(range(groups.count()))


@pytest.mark.parametrize("stem", STEPPED)
@pytest.mark.parametrize("media", [{"media": "print"}, {"reduced_motion": "reduce"}])
def test_a_stepped_figure_is_whole_without_motion(open_page, stem, media):
    page = open_page(f"{stem}/")
    page.locator(f".{stem}-steps label").last.click()
    page.emulate_media(**media)
    assert not page.locator(f".{stem}-steps").is_visible()
    page.add_style_tag(content="* { transition: none !important }")
    assert set(page.locator(GROUPS.format(stem, stem)).evaluate_all(OPACITIES)) == {1}
