"""Rules for the syntax tree of a snippet."""

import ast
import re
from collections.abc import Iterator

from tools.check.reach import SNIPPET, parse, reach
from tools.check.text import Faults
from tools.core.blocks import MARKER
from tools.core.house import House

CLASS = 60  # lines
DEVICE = re.compile(r"(cuda|cpu|mps|xpu)(:\d+)?")
NAMED = (ast.FunctionDef, ast.ClassDef)


def syntax(tree: ast.Module, lines: list[str]) -> Faults:
    """Check one snippet's tree."""
    yield from reach(tree, SNIPPET, "a snippet")
    for node in ast.walk(tree):
        yield from anywhere(node, lines)
    for node in tree.body:
        yield from top_level(node)
        if isinstance(node, ast.FunctionDef) and node.name == "main":
            yield from main(node)
        else:
            yield from devices(node)


def top_level(node: ast.stmt) -> Faults:
    """State that all users of a module would share, and what lacks a docstring."""
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            if not name.startswith("_") and not ast.get_docstring(node):
                yield node.lineno, f"{name} has no docstring"
        case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
            pass
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
            pass
        case ast.Assign(value=value) | ast.AnnAssign(value=value) if constant(value):
            pass
        case _:
            yield node.lineno, "no global state, make it inside a function"


def constant(value: ast.expr | None) -> bool:
    """Tell a number, a string or a tuple of these from what can be changed."""
    try:
        hash(ast.literal_eval(value))
    except (ValueError, TypeError):
        return False
    return True


def anywhere(node: ast.AST, lines: list[str]) -> Faults:
    """What a snippet never does, at any depth."""
    match node:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            if "F" in {name.asname or name.name for name in names}:
                yield node.lineno, "F is an axis, write nn.functional in full"
        case ast.Global():
            yield node.lineno, "no global state, hand it over as an argument"
        case ast.Attribute(attr="cuda"):
            yield node.lineno, "modules name no device, follow the input's"
        case ast.FunctionDef(args=ast.arguments(kwarg=ast.arg(arg=name))):
            yield node.lineno, f"no **{name}, name the arguments"
        case ast.ClassDef():
            body = lines[node.lineno - 1 : node.end_lineno]
            size = sum(not MARKER.search(line) for line in body)
            if size > CLASS:
                yield node.lineno, f"class {node.name} has {size} lines, cut to {CLASS}"
            if node.name.endswith("Config"):
                yield node.lineno, "no config objects, name the arguments"
            yield from forward(node)
        case ast.For():
            yield from time_index(node)


def forward(node: ast.ClassDef) -> Faults:
    """A forward without a Shape: block, which a test would bind and check."""
    for method in node.body:
        match method:
            case ast.FunctionDef(name="forward"):
                if "Shape:\n" not in (ast.get_docstring(method) or ""):
                    yield method.lineno, f"{node.name}.forward has no Shape: block"


def time_index(loop: ast.For) -> Faults:
    """A loop over x[:, t]: its backward is quadratic."""
    steps = {n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
    for node in ast.walk(loop):
        match node:
            case ast.Subscript(slice=ast.Tuple(elts=[ast.Slice(), *rest])):
                if any(isinstance(i, ast.Name) and i.id in steps for i in rest):
                    text = ast.unparse(node)
                    yield node.lineno, f"{text}: loop over .unbind(1), which is linear"


def devices(part: ast.stmt) -> Faults:
    """A device named outside main."""
    for node in ast.walk(part):
        match node:
            case ast.Constant(value=str(name)) if DEVICE.fullmatch(name):
                yield node.lineno, "only main names a device, follow the input's"


def main(node: ast.FunctionDef) -> Faults:
    """A main that the tests and the labs cannot call."""
    names = [argument.arg for argument in node.args.args]
    defaults = [ast.unparse(value) for value in node.args.defaults]
    if names != ["steps", "seed", "device"] or defaults[1:] != ["0", "None"]:
        yield node.lineno, "the signature is main(steps=…, seed=0, device=None)"


def copies(house: House) -> Iterator[tuple[str, int, str]]:
    """Functions and classes that share a name but not a body."""
    first: dict[str, tuple[str, int, str]] = {}
    for file in house.files("snippets/[!_]*.py"):
        try:
            body = parse(house.read(file)).body
        except SyntaxError:
            continue
        for node in body:
            if isinstance(node, NAMED) and node.name != "main":
                tree = ast.dump(node)
                here = (file, node.lineno, tree)
                seen, line, other = first.setdefault(node.name, here)
                if tree != other:
                    where = f"{node.name} is not the {node.name} of {seen}:{line}"
                    yield file, node.lineno, f"{where}, keep them equal or rename one"
