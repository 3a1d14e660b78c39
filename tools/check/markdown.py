"""Rules for Markdown that is silently not what its author meant.

Python-Markdown has no errors: what it does not understand it shows as text.
"""

import re
from collections.abc import Iterator

from tools.check.registry import Faults, rule
from tools.core.blocks import fenced, fences
from tools.core.house import House
from tools.core.prose import FORMULA, LINK, Prose, unquoted

ITEM = re.compile(r"(?:[-*+]|\d+[.)])[ \t]+\S")
OPENER = re.compile(r"(?:[-*+]|\d+[.)])\s|!!!|\?\?\?|===|:\s")
# What may stand right above a list: a heading, a fold, a tag. A paragraph may not.
HEAD = re.compile(r"#{1,6} |!!!|\?\?\?|===|<")
RULE = re.compile(r"\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$")  # of a table
NOTE = re.compile(r"(?:!!!|\?\?\?\+?)")
WHOLE_NOTE = re.compile(r'(?:!!!|\?\?\?\+?) ([a-z]+)(?: ".+")?\s*$')
KINDS = ("example", "info", "note", "question", "success", "tip", "warning")
INFO = re.compile(r"[a-z]*$")
PYTHON = re.compile(r"(?:import|from|def|class|return|for|print\()\b")


def indent(line: str) -> int:
    """Count the spaces in front of a line."""
    return len(line) - len(line.lstrip(" "))


def blocks(prose: Prose) -> Iterator[tuple[int, list[str]]]:
    """Cut the prose where lines are blank: the number and the lines of each block."""
    start, block = 0, []
    for number, line in enumerate([*prose.text.split("\n"), ""], prose.first):
        line = unquoted(line)
        if line.strip():
            start = start or number
            block.append(line)
        elif block:
            yield start, block
            start, block = 0, []


@rule("prose")
def lists(prose: Prose, house: House) -> Faults:
    """A list without a blank line above: its items run on in the paragraph."""
    for start, block in blocks(prose):
        first = block[0].strip()
        if ITEM.match(first) or HEAD.match(first):
            continue
        for number, line in enumerate(block[1:], start + 1):
            if ITEM.match(line.strip()):
                yield number, "a list begins after a blank line, put one above"
                break


@rule("prose")
def tables(prose: Prose, house: House) -> Faults:
    """A table inside a paragraph, or rows with more or fewer cells than the head."""
    source = dict(enumerate(prose.lines, prose.first))
    for start, block in blocks(prose):
        rules = [n for n, x in enumerate(block) if "|" in x and RULE.match(x.strip())]
        if not rules:
            continue
        if rules[0] != 1:
            yield (
                start + rules[0],
                "a table begins after a blank line, put one above",
            )
            continue
        width = len(cells(block[0]))
        for number, line in enumerate(block, start):
            if bar := split_formula(source[number], line):
                yield number, f"| in ${bar}$ ends the cell, write \\mid or \\lvert"
            elif len(cells(line)) != width:
                count = f"{len(cells(line))} cells, the head of the table {width}"
                yield number, f"this row has {count}"


def cells(row: str) -> list[str]:
    """Cut a row of a table as Python-Markdown does."""
    return re.split(r"(?<!\\)\|", re.sub(r"^\||(?<!\\)\|$", "", row.strip()))


def split_formula(source: str, text: str) -> str:
    """Name the formula of a row that holds the sign which ends a cell."""
    shift = len(source) - len(text)  # a quotation's > was taken off
    for match in re.finditer(f"{FORMULA}+", text):
        tex = source[match.start() + shift : match.end() + shift]
        if re.search(r"(?<!\\)\|", tex):
            return tex.strip("$")
    return ""


@rule("prose")
def notes(prose: Prose, house: House) -> Faults:
    """A note, or a fold, of an unknown kind or without its text."""
    lines = prose.lines
    for at, (line, code) in enumerate(zip(lines, fenced(lines))):
        if code or not NOTE.match(line.strip()):
            continue
        whole = WHOLE_NOTE.match(line.strip())
        if whole is None:
            form = 'a note is !!! note "Title", a fold ??? note "Title"'
            yield prose.first + at, form
        elif whole[1] not in KINDS:
            kinds = ", ".join(KINDS)
            yield prose.first + at, f"{whole[1]} is no kind of note: {kinds}"
        below = next((x for x in lines[at + 1 :] if x.strip()), "")
        if indent(below) < indent(line) + 4:
            yield prose.first + at, "this note is empty: indent its text by four spaces"


@rule("prose")
def indented(prose: Prose, house: House) -> Faults:
    """A paragraph that is indented: code, or one that fell out of its list."""
    above: list[str] = []  # lines of smaller and smaller indent, the last is nearest
    blank = True
    for number, line in enumerate(prose.text.split("\n"), prose.first):
        if not line.strip():
            blank = True
            continue
        above = [x for x in above if indent(x) < indent(line)]
        depth = indent(line)
        inside = any(OPENER.match(x.strip()) for x in above)
        if blank and depth % 4 and not line.lstrip().startswith((">", "<")):
            yield number, f"indented by {depth} spaces: write 0, or 4 to stay in a list"
        elif blank and depth and not inside:
            yield number, "this is shown as code; write a fence, or take the spaces out"
        above.append(line)
        blank = False


@rule("prose")
def languages(prose: Prose, house: House) -> Faults:
    """A fence without a language, with attributes, or with Python under another."""
    for fence in fences(prose.lines):
        line = prose.first + fence.start - 1
        body = prose.lines[fence.start : max(fence.end - 1, fence.start)]
        if not INFO.match(fence.info):
            yield line, "a fence names its language and nothing else: ```text"
        elif not fence.info and not any("-8<-" in text for text in body):
            yield line, "a fence names its language: ```text, ```bash"
        elif fence.info in ("text", "none") and any(map(PYTHON.match, body)):
            yield line, 'Python is not typed, include it: --8<-- "x.py:cell"'


BROKEN = {
    r"\]\((?!\))": "this link is not closed: [words](address.md)",
    r"\]（": "the address of a link stands in ( ), not in （ ）",
    rf"(?<!!)\[{LINK}": "a link has no words: [words](address.md)",
    r"\]\[|(?m:^\s*\[[^\]\n]+\]:)": "write the address into the link: [words](a.md)",
    r"\[\^": "this book has no footnotes, say it in the text or in #references",
    r"(?<!\{)\{\s*(?:lab|minutes)\.\w": "a number has two braces: {{ lab.stem.key }}",
    r"\\[(\[]": "write a formula between $ and $, or between $$ and $$",
    r"\\begin\b": "write this between $$ and $$",
}
BROKEN = {re.compile(pattern): said for pattern, said in BROKEN.items()}


@rule("prose")
def broken(prose: Prose, house: House) -> Faults:
    """Links, references, numbers and formulas that stay text."""
    for number, line in enumerate(prose.text.split("\n"), prose.first):
        for pattern, said in BROKEN.items():
            if pattern.search(line):
                yield number, said
    for number, target in prose.links:
        if not target.strip("<> "):
            yield number, "this link leads nowhere: [words](address.md)"
