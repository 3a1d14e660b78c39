"""Checks that the tests of every snippet share."""

import inspect
import re
from collections import Counter
from functools import partial

import torch
from torch import nn

# (B, T, I, H)
SIZES = [(3, 7, 2, 5), (1, 4, 3, 5), (4, 1, 3, 2), (2, 200, 3, 7), (1, 1, 1, 1)]

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


# What every recurrent model of the book has to do; `cls` is its class.


def wide(module):
    """Random weights large enough that gates and tanh bend."""
    generator = torch.Generator().manual_seed(2)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
    return module


def draw(device, *shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype).to(device)


def refuses(message, function, *args):
    """The call is a ValueError that says exactly this."""
    try:
        function(*args)
    except ValueError as error:
        if str(error) != message:
            raise AssertionError(f"said {str(error)!r}, not {message!r}") from None
    else:
        raise AssertionError(f"accepted what must be refused with {message!r}")


def check_refusals(cls, device, *states):
    """A model (3, 5) refuses other inputs, and any other shape of each state."""
    model, x = cls(3, 5).to(device), torch.zeros(2, 4, 3, device=device)
    for shape in [(4, 3), (2, 4, 3, 1), (2, 0, 3), (0, 4, 3), (2, 4, 2), (2, 4, 4)]:
        rule = f"x must be (B, T, 3) with B, T >= 1, got {shape}"
        refuses(rule, model, torch.zeros(shape, device=device))
    for name in states:
        for shape in [(2, 6), (2, 4), (1, 5), (3, 5), (5,), (1, 2, 5)]:
            sizes = [shape if state == name else (2, 5) for state in states]
            given = tuple(torch.zeros(size, device=device) for size in sizes)
            given = given if len(given) > 1 else given[0]
            refuses(f"{name} must be (2, 5), got {shape}", model, x, given)


def check_strict(check_shape):
    """check_shape says what must hold, and lets pass what autocast would cast."""

    def refused(rule, x, *axes, dtype=None):
        refuses(rule, partial(check_shape, dtype=dtype), "x", x, *axes)

    x = torch.zeros(1, 5)
    check_shape("x", x, "B", 5)
    check_shape("x", x, "B", 5, dtype=torch.float32)
    refused("x must be a tensor, got list", [1.0], "B")
    refused("x must be (B, 4) with B >= 1, got (1, 5)", x, "B", 4)
    refused("x must be (B, T) with B, T >= 1, got (1, 0)", x[:, :0], "B", "T")
    refused("x must be (B,) with B >= 1, got (1, 5)", x, "B")
    refused("x must be (2, 5), got (1, 5)", x, 2, 5)
    axes, half = ("B", 5), torch.bfloat16
    refused("x must be torch.bfloat16, got torch.float32", x, *axes, dtype=half)
    with torch.autocast("cpu", dtype=half):
        for dtype in (half, torch.float16, torch.float32):
            check_shape("x", x, *axes, dtype=dtype)
            check_shape("x", x.to(dtype), *axes, dtype=torch.float32)
        for dtype in (torch.float64, torch.int64, torch.bool):
            rule = f"x must be torch.float32, got {dtype}"
            refused(rule, x.to(dtype), *axes, dtype=torch.float32)
            refused(f"x must be {dtype}, got torch.float32", x, *axes, dtype=dtype)


def check_sizes(function, **sizes):
    """Each of these sizes is asked to be a whole number from 1 on."""
    for name in sizes:
        for wrong in (0, -1, 2.0, True):
            rule = f"{name} must be a whole number >= 1, got {wrong!r}"
            refuses(rule, partial(function, **{**sizes, name: wrong}))


def check_start(cls, twin):
    """The same seed gives the initial weights of the twin, under its names."""
    torch.manual_seed(1)
    ours = cls(3, 7).state_dict()
    torch.manual_seed(1)
    theirs = twin(3, 7, batch_first=True).state_dict()
    if list(ours) != list(theirs):
        raise AssertionError(f"{list(ours)} against {list(theirs)}")
    for name, value in theirs.items():
        if not torch.equal(ours[name], value):
            raise AssertionError(f"{name} starts from other values")


def check_default_state(cls, device, states=1):
    """No state means zeros."""
    model, x = wide(cls(3, 5)).to(device), torch.randn(2, 4, 3).to(device)
    zeros = (torch.zeros(2, 5, device=device),) * states
    zeros = zeros if states > 1 else zeros[0]
    if not torch.equal(model(x)[0], model(x, zeros)[0]):
        raise AssertionError("no state is not the state 0")


def check_causal(cls, device):
    """A step sees itself and every step before it, and nothing later."""
    model, x = wide(cls(3, 5)).to(device), torch.randn(2, 9, 3).to(device)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[0][:, 4].square().sum(), x)
    seen = (gradient != 0).any(2).any(0).tolist()
    if seen != [True] * 5 + [False] * 4:
        raise AssertionError(f"step 4 sees {[t for t, s in enumerate(seen) if s]}")


def check_batch(cls, device):
    """Examples of a batch do not mix."""
    model, x = wide(cls(3, 5)).to(device), torch.randn(4, 5, 3).to(device)
    assert_close_scaled(model(x)[0], model(x.flip(0))[0].flip(0), 1e-5, "flipped")


def check_gradients(cls, device, states=1):
    """A gradient reaches every number of every parameter."""
    model, x = cls(3, 5).to(device), torch.randn(2, 4, 3).to(device)
    given = tuple(torch.randn(2, 5).to(device) for _ in range(states))
    out = model(x, given if states > 1 else given[0])[0]
    out.square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is None or not (parameter.grad != 0).all():
            raise AssertionError(f"no gradient reaches all of {name}")


def check_graph(cls):
    """Backward nodes grow by a fixed number a step; none writes a whole sequence."""
    model = cls(3, 5)
    graphs = [graph(model(torch.randn(2, T, 3))[0]) for T in (10, 20, 40)]
    ten, twenty, forty = (sum(nodes.values()) for nodes in graphs)
    if forty - twenty != 2 * (twenty - ten):
        raise AssertionError(f"{ten}, {twenty}, {forty} nodes at 10, 20, 40 steps")
    # x[:, t] would be a SelectBackward that writes all T steps, T times
    for nodes in graphs:
        if nodes["UnbindBackward0"] != 1 or "SelectBackward0" in nodes:
            raise AssertionError(f"one unbind and no select, got {dict(nodes)}")
        if "SliceBackward0" in nodes:
            raise AssertionError(f"no slices, got {dict(nodes)}")
    return graphs


def graph(tensor):
    """How many autograd nodes of each kind a backward pass visits."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return Counter(type(node).__name__ for node in seen)


def check_foreign(cls, device, states=1):
    """What is no float tensor (B, T, 3) of the model's own type is refused."""
    model = cls(3, 5).to(device)
    x, h = draw(device, 2, 4, 3), draw(device, 2, 5)
    packed = nn.utils.rnn.pack_sequence(list(x.float()))
    refuses("x must be a tensor, got PackedSequence", model, packed)
    refuses("x must be torch.float32, got torch.float64", model, x)
    refuses("x must be torch.float32, got torch.int64", model, x.long())
    given = (h,) * states if states > 1 else h
    refuses("h must be torch.float32, got torch.float64", model, x.float(), given)
    check_sizes(cls, input_size=3, hidden_size=5)


def check_export(cls):
    """torch.export keeps the batch free, and gives what the model gives."""
    model, x = cls(3, 5), torch.randn(2, 4, 3)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (x,), dynamic_shapes=(batch,))
    for B in (2, 7):
        x = torch.randn(B, 4, 3)
        assert_close_scaled(program.module()(x)[0], model(x)[0].detach(), 1e-5)


def check_reset(cls, twin):
    """reset_parameters draws what a new model, and the twin, would draw."""
    model = cls(3, 7)
    torch.manual_seed(5)
    model.reset_parameters()
    torch.manual_seed(5)
    theirs = twin(3, 7).state_dict()
    if not all(torch.equal(model.state_dict()[name], theirs[name]) for name in theirs):
        raise AssertionError("reset_parameters draws other weights than the twin")


def check_autocast(cls, device):
    """Under autocast float32 goes in, and nearly the same comes out."""
    model, x = cls(3, 5).to(device), torch.randn(2, 4, 3).to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        out = model(x)[0]
    assert_close_scaled(out.float(), model(x)[0].detach(), 0.05)


def check_adding(adding):
    """Two numbers are marked, every place equally often; the answer is their sum."""
    generator = torch.Generator().manual_seed(0)
    sizes = {"batch_size": 20_000, "steps": 5, "B": 20_000, "T": 5}
    x, y = check_shapes(adding, generator=generator, **sizes)
    values, marks = x.unbind(2)
    if not (values.min() >= 0 and values.max() < 1):
        raise AssertionError("numbers are to be in [0, 1)")
    if set(marks.unique().tolist()) != {0.0, 1.0} or not (marks.sum(1) == 2).all():
        raise AssertionError("two places are to be marked")
    if not torch.allclose(y, (values * marks).sum(1)):
        raise AssertionError("the answer is to be the sum of the marked")
    if not (marks.mean(0) - 2 / 5).abs().max() < 0.02:
        raise AssertionError("one place is marked more often than another")
    if not abs(((y - 1) ** 2).mean().item() - 1 / 6) < 0.005:
        raise AssertionError("always answering 1 is to cost 1/6")
    check_sizes(partial(adding, steps=2, generator=generator), batch_size=2)
    rule = "steps must be >= 2, two are marked, got 1"
    refuses(rule, adding, 2, 1, generator)
