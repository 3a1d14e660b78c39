"""Gather what the pages cite under `#references` into one list.

An entry is `- Authors Year. Title. Venue. [where](address)；a remark`. Entries of the
same address are one work, which is shown as the longest of them says it.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from markdown.preprocessors import Preprocessor

from tools.core.blocks import headings, title

MARKER = "{{ references }}"  # stands alone on its line
ENTRY = re.compile(r"- (?P<work>.*?\]\((?P<address>https?://(?:[^()\s]|\(\S*?\))+)\))")
YEAR = re.compile(r"^.+? \d{4}[a-z]?\. ")


def entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Give address and citation of each entry of a page's `#references`."""
    tops = {
        heading.line: heading.id for heading in headings(lines) if heading.level < 3
    }
    section = ""
    for number, line in enumerate(lines, 1):
        section = tops.get(number, section)
        if section == "references" and (entry := ENTRY.match(line)):
            yield entry["address"], entry["work"]


def gather(folder: Path) -> list[str]:
    """List every work once, papers and books first, with the pages that cite it."""
    works, cited = {}, defaultdict(list)
    for path in sorted(folder.glob("*.md")):
        lines = path.read_text("utf-8").split("\n")
        for address, work in entries(lines):
            works[address] = max(work, works.get(address, ""), key=len)
            link = f"[{title(lines)}]({path.name}#references)"
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
