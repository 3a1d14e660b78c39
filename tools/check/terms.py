"""Rules for terms: one concept, one Chinese word, and the glossary has it."""

import re
from functools import cache

from tools.check.registry import Faults, rule
from tools.core.house import House
from tools.core.prose import HAN, Prose

GLOSSARY = "docs/zh/glossary.md"
EXEMPT = {GLOSSARY, "docs/zh/notation.md", "docs/zh/contributing.md"}
INTRODUCED = re.compile(rf"[{HAN}]（(?P<term>[a-z][a-z0-9 \-–’']+)(，[A-Z]\w+)?）")


@cache
def glossary(text: str) -> tuple[str, dict[str, str]]:
    """Give the English of all terms, and each word not used with the one that is."""
    english, avoided = [], {}
    for row in re.findall(r"^\|(.+)\|$", text, re.M):
        cells = [cell.strip() for cell in row.split("|")]
        if len(cells) == 4 and not cells[0].startswith("-"):
            english.append(f" {cells[1]}, {cells[2]} ")
            words = filter(None, cells[3].split("、"))
            chosen = re.sub(r"\[(.+?)\]\(.+?\)", r"\1", cells[0])
            avoided |= {word: chosen for word in words if chosen != "中文"}
    return "".join(english).lower(), avoided


@rule("prose")
def terms(prose: Prose, house: House) -> Faults:
    """Words that the glossary avoids, and terms that it does not have."""
    if prose.language != "zh" or prose.file in EXEMPT or not house.has(GLOSSARY):
        return
    english, avoided = glossary(house.read(GLOSSARY))
    for line, text in enumerate(prose.text.split("\n"), prose.first):
        for word, chosen in avoided.items():
            if word in text:
                yield line, f"{word}: this book writes {chosen}, see {GLOSSARY}"
        for match in INTRODUCED.finditer(text):
            if not known(match["term"], english):
                lacks = f"{GLOSSARY} lacks {match[0][1:]}"
                yield line, f"{lacks}, add it there and to its twin"


def known(term: str, english: str) -> bool:
    """Find a term, in the singular too."""
    forms = (term, term.removesuffix("s"))
    return any(re.search(rf"\b{re.escape(form)}\b", english) for form in forms)
