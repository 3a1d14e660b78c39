"""Rules for labs and drawings."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

from tools.check import safety
from tools.check.chinese import HAN
from tools.check.reach import LAB, OURS, parse, reach
from tools.check.text import Faults
from tools.core.blocks import Cell, cells
from tools.core.front_matter import waits
from tools.core.house import House
from tools.core.prose import Prose

DEVICE = 'DEVICE = os.environ.get("LAB_DEVICE", "cpu")'
FIGURE = re.compile(r"[\w-]+\.svg")
IMPORT = re.compile(r"from snippets\.(\w+) import (\w+(?:, \w+)*)$")

# The colours that follow the scheme, and what is no colour.
SCHEME = re.compile(r"var\(--fig-(ink|muted|grid|paper|warm|[0-5])\)|url\(#[\w-]+\)")
COLOUR = re.compile(
    r"\b(fill|stroke|color|stop-color|flood-color)\s*[=:]\s*[\"']?\s*([^\"';}]+)"
)
PLAIN = {"none", "currentColor", "inherit", "transparent", "context-stroke"}


def lab(house: House, file: str) -> Faults:
    """Check the code of one lab and the order of its cells."""
    text = house.read(file)
    parts = list(cells(text))
    yield from order(parts, waits(house, f"{Path(file).stem}.md"))
    try:
        tree = parse(text)
    except SyntaxError as error:
        yield error.lineno or 1, f"this is not Python: {error.msg}"
        return
    yield from reach(tree, LAB, "a lab")
    tops = dict(top(parts))
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                modules = [name.name for name in names]
            case ast.ImportFrom(module=module, level=level):
                modules = ["snippets" if level else module or ""]
            case _:
                continue
        if not OURS.isdisjoint(name.partition(".")[0] for name in modules):
            yield from taken(house, node, tops)
    yield from saved(tree)
    yield from device(tree)
    code = [cell for cell in parts if cell.language is None and any(cell.lines)]
    yield from results(tree, code[-1].line if code else 1)


def saved(tree: ast.Module) -> Faults:
    """Figures that leave the folder of the lab, or replace one another."""
    first: dict[str, int] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="savefig"), args=[ast.Constant(name)]
            ):
                line = first.setdefault(name, node.lineno)
                if line != node.lineno:
                    yield node.lineno, f"{name} was saved on line {line}, rename one"
                if not FIGURE.fullmatch(str(name)):
                    yield node.lineno, f"{name}: a figure is a plain name and .svg"


def device(tree: ast.Module) -> Faults:
    """A lab that runs on the CPU while its record says otherwise."""
    words = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    if "LAB_DEVICE" not in words:
        yield 1, f"a lab runs where it is told: {DEVICE}"


def results(tree: ast.Module, last: int) -> Faults:
    """A last cell without results, or with what no page could print."""
    found = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and node.lineno >= last
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    if "results" not in found:
        yield last, "the last code cell sets results = {…}, the numbers of the pages"
    elif isinstance(found["results"], ast.Dict):
        for key, value in zip(found["results"].keys, found["results"].values):
            match key:
                case ast.Constant(str(name)) if name.isidentifier():
                    pass
                case ast.Constant(name):
                    yield key.lineno, f"{name!r}: a key is a plain name, as in gap_2"
            match value:
                case ast.Constant(bool()) | ast.Compare() | ast.UnaryOp(op=ast.Not()):
                    text = "is true or false: write 0 or 1, or a verdict such as holds"
                    yield value.lineno, f"{ast.unparse(value)} {text}"
                case ast.List(elts=[]) | ast.Tuple():
                    text = "must be a number, a string or a list of these"
                    yield value.lineno, f"{ast.unparse(value)} {text}"


def taken(house: House, node: ast.AST, tops: dict[int, str]) -> Faults:
    """An import of the project's that the site could not replace by its source."""
    wanted = "from snippets.<stem> import A, B, on one line at the top of a cell"
    match = IMPORT.match(tops.get(node.lineno, ""))
    if match is None:
        yield node.lineno, f"a lab imports only {wanted}"
    elif not house.has(f"snippets/{match[1]}.py"):
        yield node.lineno, f"there is no snippets/{match[1]}.py"
    else:
        source = house.read(f"snippets/{match[1]}.py")
        for name in match[2].split(", "):
            if not re.search(rf"^(def|class) {name}\b|^{name}\b.*=", source, re.M):
                yield node.lineno, f"snippets/{match[1]}.py has no {name}"


def top(parts: list[Cell]) -> Iterator[tuple[int, str]]:
    """Number the import lines that stand before all else in their cell."""
    for cell in parts:
        for line, text in enumerate(cell.lines, cell.line):
            if IMPORT.match(text) and cell.language is None:
                yield line, text
            elif text.strip():
                break


def order(parts: list[Cell], waiting: bool = False) -> Faults:
    """Markdown cells that are not a zh cell followed by its en twin."""
    # Above the first `# %%` there is nothing, or code.
    shown = [cell for cell in parts if cell.language is not None or any(cell.lines)]
    first = shown[0].language if shown else None
    if first != "zh" and not (waiting and first == "en"):
        yield 1, 'a lab begins with a title cell: # %% [markdown] lang="zh"'
    for before, after in pairwise([None, *shown, None]):
        one, two = (cell.language if cell else None for cell in (before, after))
        if after and two not in (None, "zh", "en"):
            yield after.line - 1, 'a Markdown cell names its language: lang="zh"'
        elif waiting:
            continue
        elif one == "zh" and two != "en":
            yield before.line - 1, "a zh cell is followed by its en twin"
        elif two == "en" and one != "zh":
            yield after.line - 1, "an en cell stands below its zh twin"


def prose(house: House, file: str) -> Iterator[Prose]:
    """Read the Markdown cells of a lab."""
    for cell in cells(house.read(file)):
        if cell.language:
            yield Prose(file, cell.language, cell.lines, cell.line)


def links(prose: Prose) -> Faults:
    """Links to sources, which lead nowhere from the page of a lab."""
    for line, target in prose.links:
        if page := re.fullmatch(
            r"(?!https?:)(?:.*/)?(\w+)\.(?:md|ipynb)(#.*)?", target
        ):
            address = f"../../{page[1]}/{page[2] or ''}"
            yield line, f"{target}: links of a lab are addresses, write {address}"


def selectors(line: str) -> list[str]:
    """Find what stands before each `{`, in time that grows with the line alone."""
    parts = re.split(r"([{}<>])", line)
    before = [text for text, sign in zip(parts[::2], parts[1::2]) if sign == "{"]
    return [name for text in before if text for name in text.split(",")]


def drawing(house: House, file: str) -> Faults:
    """Check a figure drawn by hand, which both languages and both schemes show."""
    text = house.read(file)
    if len(text.encode()) > safety.LARGEST:
        size = f"{len(text.encode()) // 1000} KB, it may have {safety.LARGEST // 1000}"
        yield 1, f"this drawing has {size}: round its numbers, drop what nobody sees"
        return
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        yield error.position[0], f"this is not XML: {error}"
        return
    yield from safety.drawing(text, root)
    if "viewBox" not in root.attrib or {"width", "height"} & root.attrib.keys():
        yield 1, "the svg has a viewBox, and no width or height: the page sets them"
    prefix = file.rpartition("/")[2].removesuffix(".svg").partition("-")[0] + "-"
    lines = text.rstrip("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield number, "a blank line ends the figure in Markdown, take it out"
        if re.search(f"[{HAN}]", line):
            yield number, "both languages show this, words belong into the caption"
        names = re.findall(r"\b(?:id|class)=[\"']([^\"']*)[\"']", line)
        for name in " ".join(names).split():
            if not name.startswith(prefix):
                yield number, f"{name}: ids and classes begin with {prefix}"
        for selector in selectors(line):
            if not re.match(rf"\s*($|@|from|to|\d|[.#]{prefix})", selector):
                text = f"{selector.strip()} styles the whole page"
                yield number, f"{text}, begin with .{prefix}"
        for name, value in COLOUR.findall(line):
            value = value.strip()
            if value not in PLAIN and not SCHEME.fullmatch(value):
                yield number, f"{name} {value}: colours are var(--fig-ink) and so on"
