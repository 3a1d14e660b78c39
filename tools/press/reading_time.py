"""How long a page takes to read: `{{ minutes.rnn }}`, or `{{ minutes.rnn.idea }}`.

That is prose at a rate at which technical text is read, and half a minute for each
displayed formula, figure and block of code, without exercises and references.
"""

import re
from pathlib import Path

from markdown.preprocessors import Preprocessor

from tools.core.blocks import fences
from tools.core.languages import LANGUAGES, page_files
from tools.core.prose import Prose
from tools.core.values import MINUTES

PAUSE = 0.5  # minutes for a formula, a figure, a block of code
UNCOUNTED = {"exercises", "references"}


def minutes(text: str, language: str, section: str | None = None) -> int:
    """Count the minutes of a page, or of one of its sections."""
    page = Prose("", language, text.split("\n"))
    tops = {h.line: h.id for h in page.headings if h.level == 2}
    where, inside = "", []
    for line in range(1, len(page.lines) + 1):
        where = tops.get(line, where)
        inside.append(where == section if section else where not in UNCOUNTED)
    words = sum(
        len(re.findall(LANGUAGES[language].word, line))
        for line, counts in zip(page.text.split("\n"), inside)
        if counts
    )
    stops = [line for line, _, display in page.formulas if display]
    stops += [line for line, path in page.includes if path.endswith(".svg")]
    stops += [fence.start for fence in fences(page.lines)]
    stays = sum(inside[line - 1] for line in stops)
    return max(1, round(words / LANGUAGES[language].pace + PAUSE * stays))


class Minutes(Preprocessor):
    """Put the minutes in the place of their macros."""

    def __init__(self, md, pages: str, language: str):
        super().__init__(md)
        self.pages, self.language = Path(pages), language

    def run(self, lines):
        return [MINUTES.sub(self.measure, line) for line in lines]

    def measure(self, match: re.Match[str]) -> str:
        pages = page_files(self.pages.parent.parent, match["page"])
        if not pages:
            return "…"  # in a preview; a build was stopped by the checker
        own = self.pages / f"{match['page']}.md"  # there may be the other language only
        text = (own if own in pages else pages[0]).read_text("utf-8")
        return str(minutes(text, self.language, match["section"]))
