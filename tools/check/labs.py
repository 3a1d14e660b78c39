"""Rules for labs: their code, and the order of their cells."""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tools.check.reach import OURS
from tools.check.registry import Faults, rule
from tools.check.source import Python
from tools.core.blocks import Cell, cells
from tools.core.front_matter import waits
from tools.core.house import House
from tools.core.lab import IMPORT
from tools.core.languages import DEFAULT, LANGUAGES
from tools.core.prose import Prose

DEVICE = 'DEVICE = os.environ.get("LAB_DEVICE", "cpu")'
CELL = 45  # lines
FIGURE = re.compile(r"[\w-]+\.svg")
BELOW = dict(pairwise(LANGUAGES))  # of a Markdown cell stands its twin
ABOVE = {below: above for above, below in BELOW.items()}


@rule("lab")
def imports(source: Python, house: House) -> Faults:
    """Imports of the project's that the site could not replace by their source."""
    tops = dict(top(source.cells))
    for node in source.nodes:
        match node:
            case ast.Import(names=names):
                modules = [name.name for name in names]
            case ast.ImportFrom(module=module, level=level):
                modules = ["snippets" if level else module or ""]
            case _:
                continue
        if not OURS.isdisjoint(name.partition(".")[0] for name in modules):
            yield from taken(house, node, tops)


@rule("lab")
def saved(source: Python, house: House) -> Faults:
    """Figures that leave the folder of the lab, or replace one another."""
    first: dict[str, int] = {}
    for node in source.nodes:
        match node:
            case ast.Call(
                func=ast.Attribute(attr="savefig"), args=[ast.Constant(name)]
            ):
                line = first.setdefault(name, node.lineno)
                if line != node.lineno:
                    yield node.lineno, f"{name} was saved on line {line}, rename one"
                if not FIGURE.fullmatch(str(name)):
                    yield node.lineno, f"{name}: a figure is a plain name and .svg"


@rule("lab")
def device(source: Python, house: House) -> Faults:
    """A lab that runs on the CPU while its record says otherwise."""
    words = (node.value for node in source.nodes if isinstance(node, ast.Constant))
    if "LAB_DEVICE" not in words:
        yield 1, f"a lab runs where it is told: {DEVICE}"


@rule("lab")
def results(source: Python, house: House) -> Faults:
    """A last cell without results, or with what no page could print."""
    code = [cell.line for cell in source.cells if not cell.language and any(cell.lines)]
    last = code[-1] if code else 1
    found = {
        target.id: node.value
        for node in source.tree.body
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


@rule("lab")
def sizes(source: Python, house: House) -> Faults:
    """Code cells that no screen holds: they do more than one thing."""
    for cell in source.cells:
        size = len("\n".join(cell.lines).strip("\n").split("\n"))
        if cell.language is None and size > CELL:
            yield cell.line, f"this cell has {size} lines, cut to {CELL}"


@rule("lab")
def keys(source: Python, house: House) -> Faults:
    """Keys of results that are put together: no search would find them."""
    said = "a key of results is written out, so that a search finds it"
    for node in source.nodes:
        match node:
            case ast.Assign(targets=[ast.Subscript(value=ast.Name(id="results"))]):
                if not isinstance(node.targets[0].slice, ast.Constant):
                    yield node.lineno, said
            case ast.Assign(targets=[ast.Name(id="results")], value=value) | (
                ast.AugAssign(target=ast.Name(id="results"), value=value)
            ):
                for part in ast.walk(value):
                    if isinstance(part, ast.DictComp | ast.ListComp) or (
                        isinstance(part, ast.Dict)
                        and any(isinstance(key, ast.JoinedStr) for key in part.keys)
                    ):
                        yield part.lineno, said
                        break


def taken(house: House, node: ast.AST, tops: dict[int, str]) -> Faults:
    """Check one import of a snippet."""
    wanted = "from snippets.<stem> import A, B, on one line at the top of a cell"
    match = IMPORT.fullmatch(tops.get(node.lineno, ""))
    if match is None:
        yield node.lineno, f"a lab imports only {wanted}"
    elif not house.has(f"snippets/{match['stem']}.py"):
        yield node.lineno, f"there is no snippets/{match['stem']}.py"
    else:
        source = house.read(f"snippets/{match['stem']}.py")
        for name in match["names"].split(", "):
            if not re.search(rf"^(def|class) {name}\b|^{name}\b.*=", source, re.M):
                yield node.lineno, f"snippets/{match['stem']}.py has no {name}"


def top(parts: list[Cell]) -> Iterator[tuple[int, str]]:
    """Number the import lines that stand before all else in their cell."""
    for cell in parts:
        for line, text in enumerate(cell.lines, cell.line):
            if IMPORT.fullmatch(text) and cell.language is None:
                yield line, text
            elif text.strip():
                break


@rule("lab")
def order(source: Python, house: House) -> Faults:
    """Markdown cells that are not followed by their twin in each other language."""
    parts, waiting = source.cells, waits(house, f"{Path(source.file).stem}.md")
    # Above the first `# %%` there is nothing, or code.
    shown = [cell for cell in parts if cell.language is not None or any(cell.lines)]
    first = shown[0].language if shown else None
    if first not in (LANGUAGES if waiting else [DEFAULT]):
        yield 1, f'a lab begins with a title cell: # %% [markdown] lang="{DEFAULT}"'
    for before, after in pairwise([None, *shown, None]):
        one, two = (cell.language if cell else None for cell in (before, after))
        if after and two not in (None, *LANGUAGES):
            known = " or ".join(f'lang="{language}"' for language in LANGUAGES)
            yield after.line - 1, f"a Markdown cell names its language: {known}"
        elif waiting:
            continue
        elif one in BELOW and two != BELOW[one]:
            yield before.line - 1, f"a {one} cell is followed by its {BELOW[one]} twin"
        elif two in ABOVE and one != ABOVE[two]:
            yield after.line - 1, f"this {two} cell stands below its {ABOVE[two]} twin"


def groups(house: House) -> Iterator[list[Prose]]:
    """Read the Markdown cells of all labs, each with its twin below it."""
    for file in house.files("docs/lab/[!_]*.py"):
        group: list[Prose] = []
        for cell in cells(house.read(file)):
            if not cell.language:
                continue
            if group and cell.language != BELOW.get(group[-1].language):
                yield group
                group = []
            group.append(Prose(file, cell.language, cell.lines, cell.line))
        yield group


@rule("lab")
def belongs(source: Python, house: House) -> Faults:
    """A lab without a page, or one that should have run and did not."""
    stem = Path(source.file).stem
    if not any(house.has(f"docs/{language}/{stem}.md") for language in LANGUAGES):
        yield 1, "this lab belongs to no page, give both one name"
    wanted = house.records and (house.ran is None or stem in house.ran)
    if wanted and not house.recorded(stem):
        yield 1, f"this lab has no record: nox -s labs -- {stem}"


@rule("cell")
def links(prose: Prose, house: House) -> Faults:
    """Links to sources, which lead nowhere from the page of a lab."""
    for line, target in prose.links:
        if page := re.fullmatch(
            r"(?!https?:)(?:.*/)?(\w+)\.(?:md|ipynb)(#.*)?", target
        ):
            address = f"../../{page[1]}/{page[2] or ''}"
            yield line, f"{target}: links of a lab are addresses, write {address}"
