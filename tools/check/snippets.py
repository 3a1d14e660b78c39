"""Rules for snippets: what both pages show must teach one idea, alone."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tools.check.registry import Faults, rule
from tools.check.source import Python
from tools.core.blocks import sections
from tools.core.house import House
from tools.core.languages import DEFAULT
from tools.core.prose import HAN

AXES = {
    "B": "batch",
    "T": "time",
    "S": "source time",
    "I": "input",
    "H": "hidden",
    "D": "model width",
    "A": "heads",
    "K": "kernel",
    "C": "channels",
    "V": "vocabulary",
    "N": "nodes",
    "E": "edges",
    "F": "node features",
    "R": "reservoir",
    "L": "layers",
}
LETTERS = f"docs/{DEFAULT}/notation.md lists the letters"
UNKNOWN = f"has no meaning, {LETTERS}"
SECTION, LINE = 45, 80
SHAPE = r"\([^()]*\)"


@rule("snippet")
def sizes(source: Python, house: House) -> Faults:
    """What does not fit beside its equations."""
    lines = source.lines
    found, _ = sections(lines)
    for part in found.values():
        one_class = lines[part.start].startswith("class ")  # it has a limit of its own
        if part.size > SECTION and not one_class:
            size = f"{part.size} lines, cut to {SECTION}"
            yield part.start, f"section {part.name} has {size}"
    for name in {"imports", "cell", "step", "main"} - found.keys():
        yield 1, f"section {name} is missing: # --8<-- [start:{name}]"
    step, cell = found.get("step"), found.get("cell")
    if step and cell and not cell.start < step.start < cell.end:
        yield step.start, "section step belongs inside section cell"
    for number, line in enumerate(lines, 1):
        if len(line) > LINE:
            yield number, f"a line has at most {LINE} characters, this one {len(line)}"


@rule("snippet")
def head(source: Python, house: House) -> Faults:
    """A docstring that does not say where the code is from and how to run it."""
    text, lines = ast.get_docstring(source.tree) or "", source.lines
    for word in ("Source:", "Axes:", "Run:", "Licence:"):
        if not re.search(rf"^{word} *\S", text, re.M):
            yield 1, f"the docstring lacks the line {word} …"
    axes = re.search(r"^Axes:(.*?)\.?(?=\n\S|\Z)", text, re.M | re.S)
    named = [" ".join(axis.split()) for axis in axes[1].split(",")] if axes else []
    line = next((n for n, x in enumerate(lines, 1) if x.startswith("Axes:")), 1)
    for letter, _, meaning in (axis.partition(" ") for axis in named):
        if AXES.get(letter) != meaning:
            known = f"is {AXES[letter]}, {LETTERS}" if letter in AXES else UNKNOWN
            yield line, f"axis {letter} {meaning}: {letter} {known}"
    declared = {axis[:1] for axis in named}
    for number, text in shapes(lines):
        for letter in sorted({*re.findall(r"\b\d*([A-Z])\b", text)} - declared):
            yield number, f"axis {letter} is not in the docstring, add it to Axes:"


def shapes(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Find the shapes: in comments, and in docstrings below `Shape:`."""
    block = False
    for number, line in enumerate(lines, 1):
        block = line.strip() == "Shape:" or (block and '"""' not in line)
        place = line if block else line.partition("#")[2]
        yield from ((number, shape) for shape in re.findall(SHAPE, place))


@rule("snippet")
def comments(source: Python, house: House) -> Faults:
    """Comments that only one language's readers understand."""
    if not re.search(rf"#.*[{HAN}]", source.text):
        return
    for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
        if token.type == tokenize.COMMENT and re.search(f"[{HAN}]", token.string):
            yield token.start[0], "both pages show this file: comments are English"
