"""Rules for the syntax tree of a snippet."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from tools.check.registry import Faults, Found, rule
from tools.check.source import Python, Unreadable, python
from tools.core.blocks import MARKER
from tools.core.house import Fault, House

CLASS = 60  # lines
DEVICE = re.compile(r"(cuda|cpu|mps|xpu)(:\d+)?")
NAMED = (ast.FunctionDef, ast.ClassDef)


@rule("snippet")
def top_level(source: Python, house: House) -> Faults:
    """State that all users of a module would share, and what lacks a docstring."""
    for node in source.tree.body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                if not name.startswith("_") and not ast.get_docstring(node):
                    yield node.lineno, f"{name} has no docstring"
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant()):
                pass
            case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):
                pass
            case ast.Assign(value=value) | ast.AnnAssign(value=value) if fixed(value):
                pass
            case _:
                yield node.lineno, "no global state, make it inside a function"


def fixed(value: ast.expr | None) -> bool:
    """Tell a number, a string or a tuple of these from what can be changed."""
    try:
        hash(ast.literal_eval(value))
    except (ValueError, TypeError):
        return False
    return True


@rule("snippet")
def anywhere(source: Python, house: House) -> Faults:
    """What a snippet never does, at any depth."""
    for node in source.nodes:
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


@rule("snippet")
def classes(source: Python, house: House) -> Faults:
    """Classes that are long, for options, or whose forward says nothing of shapes."""
    for node in source.nodes:
        if not isinstance(node, ast.ClassDef):
            continue
        body = source.lines[node.lineno - 1 : node.end_lineno]
        size = sum(not MARKER.search(line) for line in body)
        if size > CLASS:
            yield node.lineno, f"class {node.name} has {size} lines, cut to {CLASS}"
        if node.name.endswith("Config"):
            yield node.lineno, "no config objects, name the arguments"
        for method in node.body:
            match method:
                case ast.FunctionDef(name="forward"):
                    if "Shape:\n" not in (ast.get_docstring(method) or ""):
                        yield method.lineno, f"{node.name}.forward has no Shape: block"


@rule("snippet")
def time_index(source: Python, house: House) -> Faults:
    """A loop over x[:, t]: its backward is quadratic."""
    for node in source.nodes:
        if isinstance(node, ast.For):
            yield from indexed(node)


def indexed(loop: ast.For) -> Faults:
    """Find what a loop takes by the number of the step."""
    steps = {n.id for n in ast.walk(loop.target) if isinstance(n, ast.Name)}
    for node in ast.walk(loop):
        match node:
            case ast.Subscript(slice=ast.Tuple(elts=[ast.Slice(), *rest])):
                if any(isinstance(i, ast.Name) and i.id in steps for i in rest):
                    text = ast.unparse(node)
                    yield node.lineno, f"{text}: loop over .unbind(1), which is linear"


@rule("snippet")
def devices(source: Python, house: House) -> Faults:
    """A device named outside main."""
    inside = {node for main in mains(source) for node in ast.walk(main)}
    for node in source.nodes:
        match node:
            case ast.Constant(value=str(name)) if DEVICE.fullmatch(name):
                if node not in inside:
                    yield node.lineno, "only main names a device, follow the input's"


@rule("snippet")
def signature(source: Python, house: House) -> Faults:
    """A main that the tests and the labs cannot call."""
    for node in mains(source):
        names = [argument.arg for argument in node.args.args]
        defaults = [ast.unparse(value) for value in node.args.defaults]
        if names != ["steps", "seed", "device"] or defaults[1:] != ["0", "None"]:
            yield node.lineno, "the signature is main(steps=…, seed=0, device=None)"


def mains(source: Python) -> Iterator[ast.FunctionDef]:
    """Find main."""
    for node in source.tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "main":
            yield node


@rule("house")
def copies(house: House) -> Found:
    """Functions and classes that share a name but not a body."""
    found = defaultdict(list)
    for file in house.files("snippets/[!_]*.py"):
        try:
            body = python(file, house.read(file)).tree.body
        except Unreadable:
            continue
        for node in body:
            if isinstance(node, NAMED) and node.name != "main":
                found[node.name].append((file, node))
    for name, ((first, one), *rest) in found.items():
        for file, node in rest:
            if ast.dump(node) != ast.dump(one):
                said = f"{name} is not the {name} of {first}:{one.lineno}"
                said += ", keep them equal or rename one"
                yield Fault(file, node.lineno, said)
