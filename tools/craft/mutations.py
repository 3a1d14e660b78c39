"""The one-token changes that a test of a snippet has to notice."""

import ast
import copy
from collections import Counter

from tools.core.blocks import sections

OPERATORS = """Add>Sub Add>Mult Sub>Add Mult>Add Div>Mult FloorDiv>Mult Mod>Mult
    Pow>Mult GtE>Gt Gt>GtE LtE>Lt Lt>LtE Eq>NotEq NotEq>Eq Is>IsNot IsNot>Is In>NotIn
    NotIn>In And>Or Or>And"""
NAMES = """all>any any>all min>max max>min amin>amax amax>amin sum>mean mean>sum
    tanh>sigmoid sigmoid>tanh relu>tanh exp>expm1 log>log1p sin>cos cos>sin triu>tril
    tril>triu softmax>log_softmax log_softmax>softmax zeros>ones ones>zeros
    zeros_>ones_ ones_>zeros_ zeros_like>ones_like ones_like>zeros_like
    new_zeros>new_ones new_ones>new_zeros"""
DROPPED = "transpose permute flip roll masked_fill detach clamp".split()  # x.f() -> x
UNTOUCHED = ast.Raise | ast.JoinedStr  # the words of an error
NOT_MUTATED = {"data", "main"}
TELLING = 24  # characters of code that a description shows, where there are so many


def mutants(source, path):
    """Yield (line, description, code) for every change to make in `source`.

    The description names no line: it is the key of an explanation, and stays true when
    lines move. The same change at a second place of a function ends with #2.
    """
    marked = sections(source.splitlines())[0].values()
    lines = {n for s in marked for n in range(s.start, s.end)}
    lines -= {n for s in marked if s.name in NOT_MUTATED for n in range(s.start, s.end)}
    tree, seen = ast.parse(source), Counter()
    for trail, field, line, put in places((tree,), 0):
        node = trail[-1]
        shown = next((a for a in trail[::-1] if is_telling(a)), node)
        for new in changes(node, field) if line in lines else []:
            before = text(shown)
            put(new)
            after = text(new if shown is node else shown)
            code = compile(ast.fix_missing_locations(tree), path, "exec")
            put(node)
            description = f"{scope(trail[:-1])}: {before} -> {after}"
            seen[description] += 1
            count = seen[description]
            yield line, description + (f"  #{count}" if count > 1 else ""), code


def places(trail, line):
    """Yield each node: its ancestors, its field, its line, how to replace it."""
    for field, value in ast.iter_fields(trail[-1]):
        siblings = value if isinstance(value, list) else [value]
        for i, node in enumerate(siblings):
            if field in ("annotation", "returns") or isinstance(node, UNTOUCHED):
                continue
            if isinstance(node, ast.AST):
                here = getattr(node, "lineno", line)
                yield (*trail, node), field, here, putter(trail[-1], field, value, i)
                yield from places((*trail, node), here)


def putter(parent, field, value, i):
    if isinstance(value, list):
        return lambda node: value.__setitem__(i, node)
    return lambda node: setattr(parent, field, node)


def changes(node, field):
    """Yield what may stand in the place of `node`: the catalogue."""
    for name in others(OPERATORS, type(node).__name__):
        yield getattr(ast, name)()
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            yield from (changed(node, id=other) for other in others(NAMES, name))
        case ast.Attribute(attr="T" | "mT"):
            yield node.value
        case ast.Attribute(attr=name):
            yield from (changed(node, attr=other) for other in others(NAMES, name))
        case ast.Constant(value=bool(value)):
            yield changed(node, value=not value)
        case ast.Constant(value=int(value)):
            yield changed(node, value=value + 1)
        case ast.Constant(value=float(value)):
            yield changed(node, value=2 * value or 1.0)
        case ast.UnaryOp():
            yield node.operand
        case ast.BinOp(op=ast.MatMult()):
            yield changed(node, left=node.right, right=node.left)
        case ast.Tuple(elts=elts):
            for i, (a, b) in enumerate(zip(elts, elts[1:])):
                if ast.unparse(a) != ast.unparse(b):
                    yield changed(node, elts=[*elts[:i], b, a, *elts[i + 2 :]])
        case ast.Call(func=ast.Attribute(attr="linear"), args=[x, weight, _]):
            yield changed(node, args=[x, weight])  # no bias
        case ast.Call(func=ast.Attribute(attr=name, value=x)) if name in DROPPED:
            yield node.args[0] if ast.unparse(x) == "torch" else x
        case ast.Slice(lower=lower, upper=upper) if lower or upper:
            one = ast.Constant(1)
            ends = [end and ast.BinOp(end, ast.Add(), one) for end in (lower, upper)]
            yield changed(node, lower=ends[0], upper=ends[1])
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Subscript()]):
            yield ast.Pass()
    if field in ("test", "ifs") and not has_its_own_negation(node):
        yield ast.UnaryOp(ast.Not(), node)


def others(table, name):
    pairs = (pair.split(">") for pair in table.split())
    return [other for this, other in pairs if this == name]


def changed(node, **fields):
    new = copy.copy(node)
    for field, value in fields.items():
        setattr(new, field, value)
    return new


def has_its_own_negation(test):
    match test:
        case ast.UnaryOp(op=ast.Not()):
            return True
        case ast.Compare(ops=[op]):
            return isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq)
    return False


def is_telling(node):
    enough = isinstance(node, ast.expr) and len(ast.unparse(node)) >= TELLING
    return enough or isinstance(node, ast.stmt)


def text(node):
    """Print a node; of a statement with a body, its head."""
    empty = {"body": [], "orelse": [], "finalbody": [], "handlers": []}
    if isinstance(node, ast.stmt) and "body" in node._fields:
        node = changed(node, decorator_list=[], **empty)
    return ast.unparse(node).strip()


def scope(trail):
    kinds = ast.ClassDef | ast.FunctionDef
    return ".".join(a.name for a in trail if isinstance(a, kinds)) or "module"
