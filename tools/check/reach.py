"""Rules for code that runs for whoever builds: it opens no file and no connection.

A list of what it may import is short; of what reaches out through these, long enough
for a slip. Whoever means harm meets no secret and no right to write either.
"""

import ast

from tools.check.registry import Faults, rule
from tools.check.source import Python
from tools.core.house import House

OURS = {"snippets", "tools", "tests", "docs"}  # for which labs have a rule of their own
SNIPPET = set(
    "__future__ abc bisect collections copy dataclasses enum fractions functools heapq"
    " itertools math operator random statistics string time torch typing".split()
)
LAB = SNIPPET | {"matplotlib", "numpy", "os", "sklearn", "warnings"} | OURS
# What the lists above do not keep out: torch and os can do nearly everything.
CALLS = set("open eval exec compile input breakpoint __import__ globals".split())
NAMES = set(
    "os sys builtins importlib subprocess inspect multiprocessing"
    " hub cpp_extension package save load from_file fromfile tofile"
    " savez savez_compressed savetxt loadtxt genfromtxt memmap"
    " imsave imread write_text write_bytes urlopen".split()
)
DUNDERS = {"__init__", "__name__", "__call__", "__class__", "__doc__", "__len__"}


@rule("snippet")
def of_a_snippet(source: Python, house: House) -> Faults:
    """A snippet that reaches for files or the network."""
    return reach(source, SNIPPET, "a snippet")


@rule("lab")
def of_a_lab(source: Python, house: House) -> Faults:
    """A lab that reaches for files or the network."""
    return reach(source, LAB, "a lab")


def reach(source: Python, allowed: set[str], who: str) -> Faults:
    """What code of the book reaches for and should not."""
    for node in source.nodes:
        match node:
            case ast.Import(names=names):
                for name in names:
                    yield from module(node, name.name, allowed, who)
                    if name.name == "os" and name.asname:
                        yield node.lineno, f"os as {name.asname}: write import os"
            case ast.ImportFrom(module=path, level=level, names=names):
                path = "." * level + (path or "")
                yield from module(node, path, allowed, who)
                for name in names:
                    yield from reaching(node, path, name.name, who)
            case ast.Attribute(value=ast.Name(id="os"), attr=name):
                yield from reaching(node, "os", name, who)
            case (
                ast.Attribute(attr=name)
                | ast.Call(
                    func=ast.Name("getattr"), args=[_, ast.Constant(str(name)), *_]
                )
            ):
                yield from reaching(node, "", name, who)
            case ast.Name(id=name) if name in CALLS or name == "__builtins__":
                yield node.lineno, f"{name}: {who} opens no file and runs no text"


def module(node: ast.AST, path: str, allowed: set[str], who: str) -> Faults:
    """An import of what is not on the list."""
    package, *parts = path.split(".")
    if package not in allowed:
        listed = ", ".join(sorted(allowed - OURS - {"__future__"}))
        yield node.lineno, f"{who} imports only {listed}; not {path}"
    for part in parts if package else ():
        yield from reaching(node, package, part, who)


def reaching(node: ast.AST, owner: str, name: str, who: str) -> Faults:
    """A name that opens a file, a connection or a way round this rule."""
    dunder = name.startswith("__") and name not in DUNDERS
    if owner == "os" and name != "environ":
        yield node.lineno, f"os.{name}: {who} takes only os.environ"
    elif name in NAMES or name.startswith("fetch_") or dunder:
        yield node.lineno, f"{name}: {who} reaches no file and no network"
