"""A lab as a document: its cells, the snippets inlined into them, its key."""

import ast
import hashlib
import json
import platform
import re
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from tools.core.blocks import MARKER, cells
from tools.core.languages import LANGUAGES

ROOT = Path(__file__).parents[2]
STYLE = ROOT / "tools" / "labs" / "matplotlibrc"
FORMAT = 4  # raise it when a record is written in another form than before
IMPORT = re.compile(r"from snippets\.(?P<stem>\w+) import (?P<names>\w+(, \w+)*)")


@dataclass(frozen=True)
class Part:
    """A cell of a lab as it is run and shown; only prose has a language."""

    text: str
    line: int
    language: str | None = None
    snippet: str | None = None  # the stem, if the cell is an inlined snippet


def runnable(source: str) -> str:
    """Give the source of a snippet without docstring, markers and `__main__` block."""
    body = ast.parse(source).body
    drop = [node for node in body if ast.unparse(node).startswith("if __name__ ==")]
    if ast.get_docstring(ast.Module(body, [])) is not None:
        drop.append(body[0])
    gone = {n for node in drop for n in range(node.lineno, node.end_lineno + 1)}
    lines = enumerate(source.splitlines(), 1)
    return without_markers(line for n, line in lines if n not in gone)


def without_markers(lines) -> str:
    """Join lines, those left out that mark a section for the pages."""
    text = "\n".join(line for line in lines if not MARKER.search(line)).strip()
    return re.sub(r"\n{4,}", "\n\n\n", text)


class Lab:
    """The source of a lab, and what becomes of it."""

    def __init__(self, stem: str, root: Path = ROOT):
        self.stem, self.root = stem, root
        self.path = root / "docs" / "lab" / f"{stem}.py"
        self.text = self.path.read_text("utf-8")

    @cached_property
    def parts(self) -> list[Part]:
        """List the cells; an import of a snippet becomes a cell, the snippet itself."""
        parts = []
        for cell in cells(self.text):
            if cell.language is not None:
                prose = "\n".join(cell.lines).strip()
                parts.append(Part(prose, cell.line, cell.language))
                continue
            rest = []
            for number, line in enumerate(cell.lines, cell.line):
                if found := IMPORT.fullmatch(line):
                    text = runnable(self.snippet(found["stem"]))
                    parts.append(Part(text, number, snippet=found["stem"]))
                else:
                    rest.append(line)
            if code := without_markers(rest):
                parts.append(Part(code, cell.line))
        return parts

    def prose(self, language: str) -> set[int]:
        """Give the places of the prose to show: in this language, or without a twin."""
        order, groups, before = [*LANGUAGES], [], len(LANGUAGES)
        for n, part in enumerate(self.parts):
            place = len(order)  # of code, after which something new is said
            if part.language in LANGUAGES:
                place = order.index(part.language)
                if place <= before:
                    groups.append({})
                groups[-1][part.language] = n
            before = place
        return {group.get(language, min(group.values())) for group in groups}

    @property
    def code(self) -> list[Part]:
        return [part for part in self.parts if part.language is None]

    @property
    def has_snippet(self) -> bool:
        return (self.root / "snippets" / f"{self.stem}.py").is_file()

    def snippet(self, stem: str) -> str:
        return (self.root / "snippets" / f"{stem}.py").read_text("utf-8")

    def key(self, device: str) -> str:
        """Hash what the record depends on; with another key the lab runs again.

        Snippets count, since the code holds them; their docstring and prose do not.
        """
        packages = ("torch", "numpy", "matplotlib")
        depends = {
            "format": FORMAT,
            "code": [part.text for part in self.code],
            "versions": {name: version(name) for name in packages},
            "python": platform.python_version(),
            "style": STYLE.read_text("utf-8"),
            "device": device,
        }
        return hashlib.sha256(json.dumps(depends).encode()).hexdigest()


def all_labs(root: Path = ROOT) -> list[str]:
    """Name all labs."""
    files = (root / "docs" / "lab").glob("*.py")
    return sorted(file.stem for file in files if file.stem != "__init__")
