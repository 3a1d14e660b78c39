"""Every number that a page takes from a lab stands on it as the record has it."""

import json
import re

from bs4 import NavigableString, Tag
from built import FENCE, ROOT, folder, source

MACRO = re.compile(r"\{\{\s*lab\.(\w+)\.(\w+)(?::([^{}]*?)|\s*==\s*(\w+))?\s*\}\}")
VERDICTS = {
    "zh": {
        "holds": "成立",
        "conditional": "有条件",
        "fails": "不成立",
        "unmeasured": "未测",
    },
    "en": {
        "holds": "holds",
        "conditional": "condition",
        "fails": "not",
        "unmeasured": "not",
    },
}


def words(node) -> str:
    """The text of a page in reading order, what figures say to the blind included."""
    if isinstance(node, NavigableString):
        return str(node)
    if not isinstance(node, Tag) or node.name in ("svg", "script", "style"):
        return ""
    label = node.get("aria-label", "") + " " if node.get("role") == "img" else ""
    text = label + "".join(words(child) for child in node.children)
    return f" {text} " if node.name in ("td", "th", "mtd") else text


def plain(text: str) -> str:
    """Signs and spaces as `format` writes them."""
    return re.sub(r"\s+", " ", text.replace("\u2212", "-"))


def expected(match: re.Match, language: str) -> str:
    stem, key, spec, verdict = match.groups()
    record = json.loads((ROOT / "build/labs" / f"{stem}.json").read_text("utf-8"))
    value = record["results"][key]
    if verdict:
        assert value == verdict, match[0]
        return VERDICTS[language][verdict]
    return plain(format(value, spec or ""))


def test_numbers_equal_the_record(soup, language, lab):
    address = f"{folder(language)}{lab}/"
    text = FENCE.sub("", source(address).read_text("utf-8"))
    page = plain(words(soup(address).article))
    macros = list(MACRO.finditer(text))
    assert macros, "an architecture page shows what its lab measured"
    place = 0  # the macros stand on the page in the order of the source
    for match in macros:
        want = expected(match, language)
        whole = rf"(?<![\d.]){re.escape(want)}(?!\.?\d)"
        found = re.compile(whole).search(page, place)
        assert found, f"{match[0]}: no {want} on the page after …{page[:place][-40:]}"
        place = found.end()


def test_nothing_is_left_to_fill(soup, address):
    """Outside examples of how a page is written, that is, outside text as code."""
    article = soup(address).article
    assert "--8<-- [" not in article.text
    code = [element.text for element in article.select("code")]
    text = "".join(element.text for element in article.find_all(["p", "li", "td"]))
    for example in code:
        text = text.replace(example, "")
    assert "{{" not in text and "--8<--" not in text
