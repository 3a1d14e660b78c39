"""Files as the rules see them: Python as a tree, a drawing as XML."""

import ast
from dataclasses import dataclass
from functools import lru_cache
from xml.etree import ElementTree

from tools.core.blocks import Cell, cells

DEEPEST, TOO_DEEP = 200, "it nests too deeply"  # for what walks by recursion
LARGEST = 60_000  # bytes of a drawing


class Unreadable(Exception):
    """A file of which nothing else can be said: the line and what is wrong there."""


@dataclass
class Python:
    """A file of Python."""

    file: str
    text: str
    lines: list[str]
    tree: ast.Module
    nodes: list[ast.AST]  # all of them, the outer ones first

    @property
    def cells(self) -> list[Cell]:
        """List the cells of a lab."""
        return list(cells(self.text))


def below(level: list[ast.AST]) -> list[ast.AST]:
    """Give what stands in these nodes, Load and Store left out; ast is half as fast."""
    found = []
    for node in level:
        for name in node._fields:
            value = getattr(node, name, None)
            if isinstance(value, list):
                found += [item for item in value if isinstance(item, ast.AST)]
            elif isinstance(value, ast.AST) and not isinstance(value, ast.expr_context):
                found.append(value)
    return found


@lru_cache(32)
def python(file: str, text: str) -> Python:
    """Read Python; what nests too deeply or holds a zero byte is no Python either."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        why = f"this is not Python: {error.msg}"
        raise Unreadable(error.lineno or 1, why) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(1, f"this is not Python: {error or TOO_DEEP}") from None
    nodes, level = [], [tree]
    for _ in range(DEEPEST):
        nodes += level
        level = below(level)
    if level:
        raise Unreadable(1, f"this is not Python: {TOO_DEEP}")
    return Python(file, text, text.splitlines(), tree, nodes)


@dataclass
class Drawing:
    """A figure drawn by hand, which both languages and both schemes show."""

    file: str
    text: str
    lines: list[str]
    root: ElementTree.Element


def drawing(file: str, text: str) -> Drawing:
    """Read a drawing."""
    if (size := len(text.encode())) > LARGEST:
        has = f"this drawing has {size // 1000} KB, it may have {LARGEST // 1000}"
        raise Unreadable(1, f"{has}: round its numbers, drop what nobody sees")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Unreadable(error.position[0], f"this is not XML: {error}") from None
    return Drawing(file, text, text.rstrip("\n").split("\n"), root)
