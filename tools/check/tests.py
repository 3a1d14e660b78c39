"""Rules for tests: each says something that could be false, and none is skipped."""

import ast
from collections.abc import Iterator

from tools.check.registry import Faults, rule
from tools.check.source import Python
from tools.core.house import House

SKIPS = {"skip", "skipif", "skipTest", "skipUnless", "xfail", "importorskip"}
REASONS = {
    "there is no accelerator here",
    "git is not installed",
}  # of a skip that may stay
OWNERS = {"pytest", "pytest.mark", "unittest", "self"}
PROVES = "a skipped test proves nothing: make it pass or take it out"
SAYS = ast.Assert | ast.With | ast.Raise  # or a call whose result nobody takes


@rule("test")
def silent(source: Python, house: House) -> Faults:
    """A file without a test, and tests that say nothing."""
    tests = list(functions(source.tree))
    if not tests:
        yield 1, "there is no test here: write a function test_… with an assert"
    for test in tests:
        if not any(map(says, ast.walk(test))):
            yield test.lineno, f"{test.name} asserts nothing, say what must hold"


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    """Find what pytest collects."""
    for node in tree.body:
        inside = isinstance(node, ast.ClassDef) and node.name.startswith("Test")
        for item in node.body if inside else [node]:
            if isinstance(item, ast.FunctionDef) and item.name.startswith("test_"):
                yield item


def says(node: ast.AST) -> bool:
    """Tell what may fail from what is only bound to a name."""
    call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return call or isinstance(node, SAYS)


@rule("test")
def skips(source: Python, house: House) -> Faults:
    """Tests that are passed over: green, and nothing was proved."""
    allowed = set()
    for node in source.nodes:
        match node:
            case ast.Call(func=func) if REASONS & set(strings(node)):
                allowed.add(func)
            case ast.Attribute(attr=name, value=owner) if name in SKIPS:
                if node not in allowed and ast.unparse(owner) in OWNERS:
                    yield node.lineno, f"{name}: {PROVES}"
            case ast.ImportFrom(module="pytest" | "unittest", names=names):
                for name in {name.name for name in names} & SKIPS:
                    yield node.lineno, f"{name}: {PROVES}"


def strings(call: ast.Call) -> Iterator[str]:
    """Read the words that a call is given."""
    for given in [*call.args, *(word.value for word in call.keywords)]:
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            yield given.value


@rule("test")
def always_true(source: Python, house: House) -> Faults:
    """Asserts that hold whatever the code does, as `assert GRU` would."""
    solid = set()  # names of modules, classes and functions
    for node in source.tree.body:
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                solid |= {(name.asname or name.name).split(".")[0] for name in names}
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                solid.add(name)
    for node in source.nodes:
        if isinstance(node, ast.Assert) and holds(node.test, solid):
            said = f"assert {ast.unparse(node.test)} always holds"
            yield node.lineno, f"{said}, compare what the code gives"


def holds(test: ast.expr, solid: set[str]) -> bool:
    """Tell whether an expression is true by what it is, not by its value."""
    match test:
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id=name)):
            return name in solid
        case ast.Constant(value=value):
            return bool(value)
        case ast.Tuple(elts=parts):
            return bool(parts)
    return isinstance(test, ast.Lambda)
