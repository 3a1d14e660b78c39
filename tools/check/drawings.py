"""Rules for figures drawn by hand, which both languages and both schemes show."""

import re
from pathlib import Path

from tools.check.registry import Faults, rule
from tools.check.source import Drawing
from tools.core.house import House
from tools.core.palette import VARIABLES
from tools.core.prose import HAN

# The colours that follow the scheme, and what is no colour.
SCHEME = re.compile(rf"var\(--fig-({'|'.join(VARIABLES)})\)|url\(#[\w-]+\)")
COLOUR = re.compile(
    r"\b(fill|stroke|color|stop-color|flood-color)\s*[=:]\s*[\"']?\s*([^\"';}]+)"
)
PLAIN = {"none", "currentColor", "inherit", "transparent", "context-stroke"}


@rule("drawing")
def size(drawing: Drawing, house: House) -> Faults:
    """A drawing that has a size of its own."""
    given = drawing.root.attrib.keys()
    if "viewBox" not in given or {"width", "height"} & given:
        yield 1, "the svg has a viewBox, and no width or height: the page sets them"


@rule("drawing")
def lines(drawing: Drawing, house: House) -> Faults:
    """Lines that end the figure, and words in one language."""
    for number, line in enumerate(drawing.lines, 1):
        if not line.strip():
            yield number, "a blank line ends the figure in Markdown, take it out"
        if re.search(f"[{HAN}]", line):
            yield number, "both languages show this, words belong into the caption"


@rule("drawing")
def names(drawing: Drawing, house: House) -> Faults:
    """Ids, classes and styles that reach beyond the drawing."""
    stem = Path(drawing.file).stem.partition("-")[0]
    for number, line in enumerate(drawing.lines, 1):
        found = re.findall(r"\b(?:id|class)=[\"']([^\"']*)[\"']", line)
        for name in " ".join(found).split():
            if not name.startswith(f"{stem}-"):
                yield number, f"{name}: ids and classes begin with {stem}-"
        for selector in selectors(line):
            if not re.match(rf"\s*($|@|from|to|\d|[.#]{stem}-)", selector):
                text = f"{selector.strip()} styles the whole page"
                yield number, f"{text}, begin with .{stem}-"


def selectors(line: str) -> list[str]:
    """Find what stands before each `{`, in time that grows with the line alone."""
    parts = re.split(r"([{}<>])", line)
    before = [text for text, sign in zip(parts[::2], parts[1::2]) if sign == "{"]
    return [name for text in before if text for name in text.split(",")]


@rule("drawing")
def colours(drawing: Drawing, house: House) -> Faults:
    """Colours that do not follow the scheme."""
    for number, line in enumerate(drawing.lines, 1):
        for name, value in COLOUR.findall(line):
            value = value.strip()
            if value not in PLAIN and not SCHEME.fullmatch(value):
                yield number, f"{name} {value}: colours are var(--fig-ink) and so on"
