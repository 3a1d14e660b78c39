"""How the sources are written: fences, section markers, cells.

The checker and the Markdown extensions read the sources through this one file,
so that what was checked is what is shown.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

FENCE = re.compile(r"^[\s>]*(`{3,}(?!.*`)|~{3,})\s*(.*)$")
MARKER = re.compile(
    r"-+8<-+[ \t]+\[[ \t]*(?P<type>start|end)[ \t]*:[ \t]*(?P<name>[\w-]+)[ \t]*\]"
)
INCLUDE = re.compile(r"^\s*-+8<-+[ \t]+\"(?P<path>[^\"]+)\"\s*$")
COMMENT = re.compile(r"^# ?")
FIGURE = re.compile(r"(?!drawings/)(?P<lab>\w+)/(?P<name>[^/]+\.svg)")  # an include
HEADING = re.compile(r"^(?P<signs>#{1,6})\s+(?P<title>.*)$")
IDENTIFIER = re.compile(r"\{[^{}]*#([\w-]+)[^{}]*\}\s*$")


@dataclass(frozen=True)
class Fence:
    """A code fence, from the line that opens it to the one that closes it, or 0."""

    start: int
    end: int
    info: str  # what follows the opening ticks


def fences(lines: list[str]) -> Iterator[Fence]:
    """Find the code fences; a fence inside another is part of its text."""
    start, ticks, info = 0, "", ""
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if fence and not start:
            start, ticks, info = number, fence[1], fence[2]
        elif fence and fence[1].startswith(ticks) and not fence[2]:
            yield Fence(start, number, info)
            start = 0
    if start:
        yield Fence(start, 0, info)


def fenced(lines: list[str]) -> list[bool]:
    """Tell for each line whether it belongs to a code fence, its ends included."""
    inside = set[int]()
    for fence in fences(lines):
        inside.update(range(fence.start, (fence.end or len(lines)) + 1))
    return [number in inside for number in range(1, len(lines) + 1)]


@dataclass(frozen=True)
class Heading:
    """A heading; `id` is empty where the page gives none."""

    line: int
    level: int
    id: str
    title: str


def headings(lines: list[str], first: int = 1) -> Iterator[Heading]:
    """Find the headings outside of code fences; `first` is the number of a line."""
    for number, (line, code) in enumerate(zip(lines, fenced(lines)), first):
        if not code and (found := HEADING.match(line)):
            id = IDENTIFIER.search(line)
            title = IDENTIFIER.sub("", found["title"]).strip()
            yield Heading(number, len(found["signs"]), id[1] if id else "", title)


def title(lines: list[str]) -> str:
    """Give the title of a page."""
    return next((x.title for x in headings(lines) if x.level == 1), "")


@dataclass(frozen=True)
class Section:
    """A named part of a file, from the line of one marker to that of the other."""

    name: str
    start: int
    end: int
    size: int  # how many lines it has, markers not counted


def sections(lines: list[str]) -> tuple[dict[str, Section], list[tuple[int, str]]]:
    """Find the marked sections of a file, and (line, message) of each bad marker."""
    found: dict[str, Section] = {}
    faults: list[tuple[int, str]] = []
    opened: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        marker = MARKER.search(line)
        if marker is None:
            continue
        name = marker["name"]
        if marker["type"] == "start":
            if name in found or name in opened:
                faults.append((number, f"section {name} is marked twice, rename one"))
            opened[name] = number
        elif name not in opened:
            faults.append((number, f"section {name} ends without a start"))
        else:
            start = opened.pop(name)
            body = [x for x in lines[start : number - 1] if not MARKER.search(x)]
            if not any(x.strip() for x in body):
                faults.append((start, f"section {name} is empty"))
            found.setdefault(name, Section(name, start, number, len(body)))
    for name, start in opened.items():
        faults.append((start, f"section {name} has no [end:{name}]"))
    for one, two in permutations(found.values(), 2):
        if one.start < two.start < one.end < two.end:
            faults.append((two.start, f"section {two.name} must end in {one.name}"))
    return found, faults


@dataclass(frozen=True)
class Cell:
    """A cell of a lab; `line` is the number of the first line of its body."""

    language: str | None  # of a Markdown cell; None for code
    line: int
    lines: list[str]  # of a Markdown cell without the leading `# `


def cells(text: str) -> Iterator[Cell]:
    """Cut a lab into cells; what stands above the first `# %%` is a cell of code."""
    lines = text.splitlines()
    heads = [i for i, line in enumerate(lines) if line.startswith("# %%")]
    for head, end in zip([-1, *heads], [*heads, len(lines)]):
        title, body = (lines[head] if head >= 0 else ""), lines[head + 1 : end]
        language = None
        if "[markdown]" in title:
            named = re.search(r'lang="(\w*)"', title)
            language = named[1] if named else ""
            body = [COMMENT.sub("", line) for line in body]
        yield Cell(language, head + 2, body)
