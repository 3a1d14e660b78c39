"""Gather what the pages cite under `#references` into one list.

An entry is `- Authors Year. Title. Venue. [where](address)；a remark`. Entries of the
same address are one work, which is shown as the longest of them says it.
"""

import re
from collections import defaultdict
from pathlib import Path

from markdown.preprocessors import Preprocessor

MARKER = "{{ references }}"  # stands alone on its line
ENTRY = re.compile(r"- (?P<work>.*?\]\((?P<address>https?://(?:[^()\s]|\(\S*?\))+)\))")
YEAR = re.compile(r"^.+? \d{4}[a-z]?\. ")
TITLE = re.compile(r"^# (.+?)\s*$", re.M)


def section(text: str) -> str:
    """Give the `#references` of a page."""
    found = re.search(r"^##+ .*\{#references\}$(.*?)(?=^## |\Z)", text, re.M | re.S)
    return found[1] if found else ""


def entries(text: str) -> list[tuple[str, str]]:
    """Give address and citation of each entry of a page's `#references`."""
    return [(m["address"], m["work"]) for m in ENTRY.finditer(section(text))]


def gather(folder: Path) -> list[str]:
    """List every work once, papers and books first, with the pages that cite it."""
    works, cited = {}, defaultdict(list)
    for path in sorted(folder.glob("*.md")):
        text = path.read_text("utf-8")
        for address, work in entries(text):
            works[address] = max(work, works.get(address, ""), key=len)
            link = f"[{TITLE.search(text)[1]}]({path.name}#references)"
            if link not in cited[address]:
                cited[address].append(link)

    def order(address: str) -> tuple[bool, str]:
        """Sort works with authors and a year before web pages, then by letters."""
        return not YEAR.match(works[address]), works[address].casefold()

    return [f"- {works[a]} ← {' · '.join(cited[a])}" for a in sorted(works, key=order)]


class Bibliography(Preprocessor):
    """Put the list in the place of its marker."""

    def __init__(self, md, pages: str):
        super().__init__(md)
        self.pages = Path(pages)

    def run(self, lines):
        if MARKER not in lines:
            return lines
        place = lines.index(MARKER)
        return [*lines[:place], *gather(self.pages), *lines[place + 1 :]]
