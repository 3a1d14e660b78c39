"""Links, language switch and downloads, as they stand in the built files."""

import json
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import pytest
from built import ROOT, SITE, addresses, folder, source

HOME = "http://book/"  # any origin will do


def targets(page):
    for tag, name in (
        ("a", "href"),
        ("link", "href"),
        ("script", "src"),
        ("img", "src"),
    ):
        for element in page.select(f"{tag}[{name}]"):
            if not {"canonical", "alternate"} & set(element.get("rel", [])):
                yield element, element[name]


def test_links_and_anchors(soup, address):
    broken = []
    for element, link in targets(soup(address)):
        if link.startswith("data:"):
            continue
        url, anchor = urldefrag(urljoin(HOME + address, link))
        if not url.startswith(HOME):
            if element.name != "a":
                broken.append(f"{element.name} from another host: {link}")
            continue
        path = SITE / unquote(urlsplit(url).path).lstrip("/")
        if path.is_dir():
            path /= "index.html"
        if not path.is_file():
            broken.append(link)
        elif anchor and path.suffix == ".html":
            ids = soup(path.parent.relative_to(SITE).as_posix().strip(".") or "")
            if not ids.find(id=unquote(anchor)):
                broken.append(f"{link}: no such anchor")
    assert broken == []


def test_every_page_is_read_from_home_and_leads_back(soup, language):
    """By the links of the text alone, without navigation or search."""
    home = folder(language)
    mine = {a for a in addresses() if a.startswith("en/") == (language == "en")}
    reached, todo = set(), [home]
    while todo:
        address = todo.pop()
        if address in reached or address not in mine:
            continue
        reached.add(address)
        for link in soup(address).select("article a[href]"):
            todo.append(
                urldefrag(urljoin(HOME + address, link["href"]))[0][len(HOME) :]
            )
    assert mine - reached == set()
    for address in mine:
        logo = soup(address).select_one("a.md-logo")["href"]
        assert urljoin(HOME + address, logo).rstrip(".") == HOME + home, address


def test_ids_are_unique(soup, address):
    ids = [element["id"] for element in soup(address).select("[id]")]
    assert sorted({i for i in ids if ids.count(i) > 1}) == []


def test_language(soup, address):
    """The page says its language and links its twin, which exists."""
    page = soup(address)
    english = address.startswith("en/")
    twin = address.removeprefix("en/") if english else f"en/{address}"
    assert page.html["lang"] == ("en" if english else "zh")
    assert (SITE / twin / "index.html").is_file()
    other = "zh" if english else "en"
    switch = page.select_one(f"a.md-select__link[hreflang={other}]")
    head = page.select_one(f'link[rel~="alternate"][hreflang={other}]')
    assert urljoin(HOME + address, switch["href"]) == HOME + twin
    root = soup("").select_one("link[rel=canonical]")["href"]  # in full, for robots
    assert head["href"] == root + twin
    # without "help" Material's script asks for a sitemap that is not there
    assert head["rel"] == ["alternate", "help"]


def test_every_source_is_a_page(site):
    for path in (*ROOT.glob("docs/zh/*.md"), *ROOT.glob("docs/en/*.md")):
        place = folder(path.parent.name) + path.stem
        built = place.removesuffix("index") or "."
        assert (site / built / "index.html").is_file(), path
    assert source("en/gru/") == ROOT / "docs/en/gru.md"


def test_not_found_page(site):
    """Served for any address, so its links start at the root of the site."""
    text = (site / "404.html").read_text("utf-8")
    assert 'href="assets/' not in text and 'href="../' not in text
    assert "没有这一页" in text


def test_lab_page(soup, language, lab):
    address = f"{folder(language)}lab/{lab}/"
    assert (SITE / address / "index.html").stat().st_size < 170_000
    links = [
        urljoin(HOME + address, a["href"]) for a in soup(address).select("a[download]")
    ]
    files = {
        url.removeprefix(HOME + folder(language)): SITE / url.removeprefix(HOME)
        for url in links
    }
    snippet = ROOT / "snippets" / f"{lab}.py"  # a guide has none
    own = [f"lab/{lab}/{lab}.ipynb", f"lab/{lab}/{lab}.py"]
    assert [*files] == own + [f"code/{lab}.py"] * snippet.is_file()
    if snippet.is_file():
        text = snippet.read_text("utf-8")
        kept = [line for line in text.splitlines() if "# --8<-- [" not in line]
        found = files[f"code/{lab}.py"].read_text("utf-8")
        assert [x for x in found.splitlines() if x] == [x for x in kept if x]
    notebook = json.loads(files[own[0]].read_text("utf-8"))
    compile(files[own[1]].read_text("utf-8"), own[1], "exec")
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code and all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert outputs and not [o for o in outputs if o["output_type"] == "error"]


@pytest.mark.parametrize("place", ["", "lab/"])
def test_badge(soup, language, lab, place):
    """What ran is what the record says, and page and lab link each other."""
    record = json.loads((ROOT / "build/labs" / f"{lab}.json").read_text("utf-8"))
    ran = record["provenance"]
    address = f"{folder(language)}{place}{lab}/"
    run = soup(address).select_one("article .run")
    text = run.text.replace("\n", " ")
    for fact in (f"torch {ran['torch']}", f"Python {ran['python']}", ran["device"]):
        assert fact.lower() in text.lower()
    other = f"{folder(language)}{'' if place else 'lab/'}{lab}/"
    links = [urljoin(HOME + address, a["href"]) for a in run.select("a")]
    assert HOME + other in links
