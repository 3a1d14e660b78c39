"""Checks that the tests of every snippet share."""

import inspect
import re

import torch

SHAPE = re.compile(r"\(([^()]*)\)")
AXIS = re.compile(r"(\d*)([A-Z]?)")  # 3, H, 4H


def check_shapes(function, **inputs):
    """Call with `inputs` and hold what comes back to the docstring's `Shape:` block.

    `function` is a module (its `forward` is read) or a function. The sizes of the
    tensors bind the letters; a letter that only the result has is given: `H=5`.
    Different letters must have different sizes, or a swapped axis would go unseen.
    Returns the result.
    """
    declared, result_shapes = shape_block(getattr(function, "forward", function))
    sizes = {n: s for n, s in inputs.items() if n.isupper() and n not in declared}
    inputs = {name: value for name, value in inputs.items() if name not in sizes}
    for name, value in inputs.items():
        tensors = flatten(value)
        if name in declared:
            match_shapes(name, tensors, declared[name], sizes, bind=True)
        elif tensors:
            raise AssertionError(f"Shape: does not mention {name}")
    if len(set(sizes.values())) < len(sizes):
        raise AssertionError(f"different letters need different sizes, got {sizes}")
    result = function(**inputs)
    match_shapes("the result", flatten(result), result_shapes, sizes, bind=False)
    return result


def shape_block(function):
    """The shapes of each named input, and those of the result, as written."""
    _, found, block = (inspect.getdoc(function) or "").partition("Shape:\n")
    lines = block.split("\n\n")[0].splitlines()
    if not found or not lines[-1].strip().startswith("-> "):
        raise AssertionError(f"{function.__qualname__} needs a Shape: block with ->")
    *named, last = (line.strip() for line in lines)
    split = [line.partition(": ") for line in named]
    return {name: parse(shapes) for name, _, shapes in split}, parse(last[3:])


def parse(text):
    """'(B, T), (B,)' -> [['B', 'T'], ['B']]; refuse what it does not understand."""
    shapes = [re.findall(r"[^\s,]+", inside) for inside in SHAPE.findall(text)]
    strange = [a for shape in shapes for a in shape if not AXIS.fullmatch(a)]
    if strange or SHAPE.sub("", text).strip(", ") or not shapes:
        raise AssertionError(f"cannot read the shapes {text!r} {strange or ''}")
    return shapes


def match_shapes(name, tensors, shapes, sizes, bind):
    got = [tuple(tensor.shape) for tensor in tensors]
    fault = AssertionError(f"{name}: Shape: says {shapes} with {sizes}, got {got}")
    if len(got) != len(shapes):
        raise fault
    for sizes_got, axes in zip(got, shapes):
        if len(sizes_got) != len(axes):
            raise fault
        for size, axis in zip(sizes_got, axes):
            factor, letter = AXIS.fullmatch(axis).groups()
            if letter and letter not in sizes:
                if not bind or factor:
                    raise AssertionError(f"no input binds {letter}: pass {letter}=…")
                sizes[letter] = size
            if size != int(factor or 1) * sizes.get(letter, 1):
                raise fault


def flatten(value):
    """The tensors in (nested) tuples and lists, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in flatten(part)]
    return []


def assert_close_scaled(a, b, rel, name="values"):
    """|a − b| ≤ rel · max|b|, element by element; b is the reference."""
    if a.shape != b.shape or a.dtype != b.dtype:
        raise AssertionError(f"{name}: {a.shape} {a.dtype} against {b.shape} {b.dtype}")
    if not b.numel():
        return
    # Below this float32 loses digits: gradients do vanish over 200 steps.
    floor = torch.finfo(b.dtype).tiny / torch.finfo(b.dtype).eps
    scale = max(b.abs().max().item(), floor)
    worst = (a - b).abs().max().item()
    if not worst <= rel * scale:  # so written, NaN fails
        raise AssertionError(
            f"{name}: differ by {worst:.3g}, {worst / scale:.3g} of the largest "
            f"magnitude {scale:.3g}; allowed {rel:g}"
        )


def compare_with_twin(ours, twin, x, state=None):
    """Give `ours` the weights of `twin` and compare all that goes out or back.

    Outputs, final states, gradients of inputs and parameters, in the dtype and on
    the device of `x`: to 1e-10 in float64 and 1e-4 in float32 of each tensor's largest
    magnitude. `twin` is a one-layer torch.nn.RNN, LSTM or GRU with batch_first;
    `state` is laid out as ours: None, h or (h, c), each (B, H).
    """
    rel = {torch.float64: 1e-10, torch.float32: 1e-4}[x.dtype]
    ours, twin = ours.to(x), twin.to(x)
    ours.load_state_dict(twin.state_dict())
    ours_all, twin_all = run(ours, x, state), run(twin, x, state, layers=True)
    if ours_all.keys() != twin_all.keys():
        raise AssertionError(f"{[*ours_all]} against {[*twin_all]}")
    for name, value in twin_all.items():
        assert_close_scaled(ours_all[name], value, rel, name)


def run(module, x, state, layers=False):
    """Everything a forward and a backward pass give, by name, states as (B, H).

    `layers`: the module's own states are (1, B, H).
    """
    leaves = [t.detach().clone().requires_grad_() for t in flatten((x, state))]
    x, *states = leaves
    states = [h.unsqueeze(0) if layers else h for h in states]
    state = tuple(states) if len(states) > 1 else (states or [None])[0]
    module.zero_grad()
    out, *states = flatten(module(x, state))
    outputs = [out, *(h.squeeze(0) if layers else h for h in states)]
    generator = torch.Generator().manual_seed(1)
    # A random weight for every number that comes out: no gradient cancels.
    total = 0
    for output in outputs:
        weight = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        total = total + (output * weight.to(output)).sum()
    total.backward()
    found = {f"output {i}": t.detach() for i, t in enumerate(outputs)}
    found |= {f"gradient of input {i}": t.grad for i, t in enumerate(leaves)}
    parameters = module.named_parameters()
    return found | {f"gradient of {name}": p.grad for name, p in parameters}
