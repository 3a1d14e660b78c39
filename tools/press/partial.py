"""Where only some labs were run, “…” stands for what the others would give."""

from markdown.preprocessors import Preprocessor

from tools.core.blocks import FIGURE, INCLUDE, fenced
from tools.core.values import MACRO

UNKNOWN = "…"
NOTE = "PARTIAL"  # a file in such a site, which names the labs that were run


def figure_of(line: str) -> str | None:
    """Name the lab whose figure a line includes."""
    include = INCLUDE.match(line)
    found = include and FIGURE.fullmatch(include["path"])
    return found and found["lab"]


def needed(text: str) -> set[str]:
    """Name the labs that a page shows something of."""
    figures = {figure_of(line) for line in text.split("\n")} - {None}
    return figures | {match["stem"] for match in MACRO.finditer(text)}


class Partial(Preprocessor):
    """Leave out the numbers and figures of labs that were not run."""

    def __init__(self, md, labs: str):
        super().__init__(md)
        self.labs = labs.split()

    def run(self, lines):
        return [
            line if code else self.without(line)
            for line, code in zip(lines, fenced(lines))
        ]

    def without(self, line: str) -> str:
        if (lab := figure_of(line)) and lab not in self.labs:
            return UNKNOWN
        return MACRO.sub(lambda m: m[0] if m["stem"] in self.labs else UNKNOWN, line)
