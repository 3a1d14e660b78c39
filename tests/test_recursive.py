"""Recursive networks against the recursion written out, chains against torch.nn."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from snippets.recursive import (
    ChildSumTreeLSTM,
    RecursiveNet,
    TreeLSTM,
    by_height,
    check_shape,
    expressions,
    main,
)
from tests.helpers import (
    assert_close_scaled,
    check_shapes,
    check_sizes,
    check_strict,
    draw,
    refuses,
    wide,
)

DRAWING = Path(__file__).parents[1] / "docs/drawings/recursive-hand.svg"
SURVIVORS = {
    "TreeLSTM.forward: h, c = (zx.new_zeros(N + 1, zx_f.shape[2]) for _ in "
    "range(2)) -> c, h = (zx.new_zeros(N + 1, zx_f.shape[2]) for _ in range(2))": (
        "both are zeros of one shape, in either order"
    ),
}
REL = {torch.float64: 1e-10, torch.float32: 1e-4}
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
BINARY = pytest.mark.parametrize("cls", [RecursiveNet, TreeLSTM])
ALL = pytest.mark.parametrize("cls", [RecursiveNet, TreeLSTM, ChildSumTreeLSTM])

# Two trees and a loose leaf; parents before and after their children, one child
# left or right only: 6 = (1, (0, .)), 7 = (., (3, 5)).
FOREST = [[-1, -1], [-1, -1], [0, -1], [-1, -1], [3, 5], [-1, -1], [1, 2], [-1, 4]]
FOREST = torch.tensor([*FOREST, [-1, -1]])
# Any number of children: 0 = {1, 2, 5}, 2 = {3, 4, 6, 7}.
WIDE = torch.full((8, 4), -1)
WIDE[0, :3], WIDE[2] = torch.tensor([1, 2, 5]), torch.tensor([3, 4, 6, 7])


def chain(steps):
    """Node t on top of node t - 1, no other child."""
    before = torch.arange(steps) - 1
    return torch.stack((before, torch.full_like(before, -1)), 1)


def left_branching(steps):
    """Leaves 0 … steps; each of the other nodes takes the last one and a leaf."""
    leaves = torch.full((steps + 1, 2), -1)
    left = torch.cat((torch.tensor([0]), torch.arange(steps + 1, 2 * steps)))
    return torch.cat((leaves, torch.stack((left, 1 + torch.arange(steps)), 1)))


def recursion(combine, x, children):
    """Every node by calling itself on the children, one node after the other."""
    rows = children.tolist()

    def state(node):
        below = [state(child) if child >= 0 else None for child in rows[node]]
        return combine(x[node], below)

    return [state(node) for node in range(len(rows))]


def plain(model):
    """The equation of the page, with a matrix for each child."""
    W, b = model.W.weight, model.U.bias
    U_l, U_r = model.U.weight.chunk(2, 1)

    def combine(x, below):
        if below == [None, None]:
            return (W @ x,)
        h = [torch.zeros_like(b) if state is None else state[0] for state in below]
        return (torch.tanh(W @ x + U_l @ h[0] + U_r @ h[1] + b),)

    return combine


def lstm(model):
    """Tai's equations, gates in the order i, z, o; U_f[k][s]: child s to gate k."""
    H = model.W_f.out_features
    W_i, W_z, W_o = model.W.weight.chunk(3)
    b_i, b_z, b_o = model.W.bias.chunk(3)
    W_f, b_f = model.W_f.weight, model.W_f.bias
    summed = isinstance(model, ChildSumTreeLSTM)
    U_i, U_z, U_o = (U.split(H, 1) for U in model.U.weight.chunk(3))
    U_f = [U.split(H, 1) for U in model.U_f.weight.split(H)]
    zero = torch.zeros_like(b_f)

    def combine(x, below):
        h, c = zip(*((zero, zero) if state is None else state for state in below))
        slot = [0] * len(h) if summed else range(len(h))
        z_i = torch.sigmoid(W_i @ x + b_i + sum(U_i[s] @ a for s, a in zip(slot, h)))
        z_o = torch.sigmoid(W_o @ x + b_o + sum(U_o[s] @ a for s, a in zip(slot, h)))
        z = torch.tanh(W_z @ x + b_z + sum(U_z[s] @ a for s, a in zip(slot, h)))
        cell = z_i * z
        for k in range(len(h)):
            pairs = [(U_f[0][0], h[k])] if summed else zip(U_f[k], h)
            seen = sum(U @ a for U, a in pairs)
            cell = cell + torch.sigmoid(W_f @ x + b_f + seen) * c[k]
        return z_o * torch.tanh(cell), cell

    return combine


def states(model, x, children):
    out = model(x, children)
    return out if isinstance(out, tuple) else (out,)


def gradients(outputs, inputs):
    """Of a sum in which no two numbers weigh the same."""
    generator = torch.Generator().manual_seed(1)
    total = 0
    for output in outputs:
        weight = torch.randn(output.shape, generator=generator, dtype=torch.float64)
        total = total + (output * weight.to(output)).sum()
    return torch.autograd.grad(total, inputs)


# Shapes and errors


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


@BINARY
def test_shapes_are_those_of_the_docstrings(cls, device):
    model, x = cls(3, 5).to(device), draw(device, 9, 3, dtype=torch.float32)
    check_shapes(model, x=x, children=FOREST.to(device), H=5)


def test_child_sum_takes_any_number_of_children(device):
    model, x = ChildSumTreeLSTM(3, 5).to(device), draw(device, 8, 3).float()
    h, c = model(x, WIDE.to(device))
    assert h.shape == c.shape == (8, 5)


def test_parameters_are_those_of_the_equations():
    def sizes(model):
        return {name: tuple(p.shape) for name, p in model.named_parameters()}

    plain = {"W.weight": (5, 3), "U.weight": (5, 10), "U.bias": (5,)}
    assert sizes(RecursiveNet(3, 5)) == plain
    gates = {"W.weight": (15, 3), "W.bias": (15,), "W_f.weight": (5, 3)}
    gates |= {"W_f.bias": (5,), "U.weight": (15, 10), "U_f.weight": (10, 10)}
    assert sizes(TreeLSTM(3, 5)) == gates
    gates |= {"U.weight": (15, 5), "U_f.weight": (5, 5)}
    assert sizes(ChildSumTreeLSTM(3, 5)) == gates


@pytest.mark.parametrize(
    "rows, N",
    [
        ([[-1, -1], [-1, 0]], 3),
        ([[-1, -1], [-1, 0]], 1),
        ([[-1, -1], [0, 2]], 2),
        ([[-2, -1], [-1, -1]], 2),
    ],
)
def test_children_that_are_no_nodes_are_refused(rows, N, device):
    rule = f"children must be ({N}, E), each -1 or the number of a node"
    low, high = min(min(row) for row in rows), max(max(row) for row in rows)
    rule = f"{rule}, got {low} to {high}"
    if len(rows) != N:
        rule = f"children must be ({N}, E) with E >= 1, got (2, 2)"
    refuses(rule, by_height, torch.tensor(rows, device=device), N)


@pytest.mark.parametrize("rows", [[[0, -1]], [[-1, -1], [2, 0], [1, -1]]])
def test_a_circle_is_refused(rows, device):
    rule = "children must form trees, got a circle"
    refuses(rule, by_height, torch.tensor(rows, device=device), len(rows))


@pytest.mark.parametrize(
    "rows",
    [[[1, 1], [-1, -1]], [[1, -1], [-1, -1], [1, -1]], [[-1, -1], [0, -1], [0, -1]]],
)
def test_a_node_has_one_parent(rows, device):
    rule = "children must form trees, got one with two parents"
    refuses(rule, by_height, torch.tensor(rows, device=device), len(rows))


def test_nodes_without_any_child_are_trees(device):
    (leaves,) = by_height(torch.full((3, 2), -1, device=device), 3)
    assert leaves.tolist() == [0, 1, 2]


def test_sizes_below_one_are_refused():
    for cls in (RecursiveNet, TreeLSTM, ChildSumTreeLSTM):
        check_sizes(cls, input_size=3, hidden_size=5)
    check_sizes(TreeLSTM, input_size=3, hidden_size=5, slots=3)
    data = partial(expressions, depth=2, generator=torch.Generator())
    check_sizes(data, batch_size=2)
    refuses("depth must be >= 0, got -1", partial(data, depth=-1), 2)


def test_a_tree_lstm_has_a_matrix_for_each_child(device):
    x, rows = torch.zeros(2, 3, device=device), torch.tensor([[-1] * 3, [0, -1, -1]])
    rows = rows.to(device)
    assert TreeLSTM(3, 5, slots=3).to(device)(x, rows)[0].shape == (2, 5)
    model = TreeLSTM(3, 5).to(device)
    refuses("children must be (2, 2), got (2, 3)", model, x, rows)


@ALL
def test_the_models_ask_for_a_row_of_children_for_every_node(cls, device):
    model, x = cls(3, 5).to(device), torch.zeros(3, 3, device=device)
    rows = [[-1, -1], [0, -1]]
    rule = "(3, E) with E >= 1" if cls is ChildSumTreeLSTM else "(3, 2)"
    rule = f"children must be {rule}, got (2, 2)"
    refuses(rule, model, x, torch.tensor(rows, device=device))


@ALL
def test_foreign_input_is_refused(cls, device):
    model, rows = cls(3, 5).to(device), torch.tensor([[-1, -1], [0, -1]], device=device)
    x = torch.zeros(2, 3, device=device)
    refuses("x must be torch.float32, got torch.float64", model, x.double(), rows)
    refuses("x must be (N, 3) with N >= 1, got (0, 3)", model, x[:0], rows[:0])
    refuses("x must be (N, 3) with N >= 1, got (2, 1, 3)", model, x[:, None], rows)
    rule = "children must be torch.int64, got torch.bool"
    refuses(rule, model, x, rows == 0)
    with torch.autocast(device, dtype=torch.bfloat16):  # it casts no numbers of rows
        refuses(rule, model, x, rows == 0)


@ALL
def test_autocast_changes_little(cls, device):
    """On CUDA autocast sums in float32, and states are kept in the smaller type."""
    model, x = cls(3, 5).to(device), torch.randn(9, 3).to(device)
    children = FOREST.to(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        found = model(x, children)
    wanted = model(x, children)
    pairs = [(found, wanted)] if torch.is_tensor(found) else zip(found, wanted)
    for a, b in pairs:
        assert (a.float() - b).abs().max() < 0.05


# Heights


def test_groups_are_those_of_equal_height(device):
    groups = [group.tolist() for group in by_height(FOREST.to(device), 9)]
    assert groups == [[0, 1, 3, 5, 8], [2, 4], [6, 7]]
    groups = [group.tolist() for group in by_height(WIDE.to(device), 8)]
    assert groups == [[1, 3, 4, 5, 6, 7], [2], [0]]
    assert by_height(FOREST[:0].to(device), 0) == []


def test_a_chain_has_a_group_a_node_and_a_balanced_tree_a_group_a_level(device):
    groups = by_height(chain(9).to(device), 9)
    assert [group.tolist() for group in groups] == [[t] for t in range(9)]
    assert len(by_height(left_branching(9).to(device), 19)) == 10
    inner = torch.arange(1, 64).flip(0)
    heap = torch.full((128, 2), -1)  # 1 is the root, 2 n and 2 n + 1 below n
    heap[inner] = torch.stack((2 * inner, 2 * inner + 1), 1)
    sizes = [len(group) for group in by_height(heap.to(device), 128)]
    assert sizes == [65, 32, 16, 8, 4, 2, 1]


# The recursion, written out


@DTYPES
@BINARY
def test_it_is_the_recursion(cls, dtype, device):
    model, x = wide(cls(3, 5)).to(device, dtype), draw(device, 9, 3, dtype=dtype)
    combine = (plain if cls is RecursiveNet else lstm)(model)
    check_recursion(model, combine, x, FOREST.to(device))


@DTYPES
@pytest.mark.parametrize("children", [WIDE, FOREST], ids=["wide", "binary"])
def test_child_sum_is_the_recursion(children, dtype, device):
    model = wide(ChildSumTreeLSTM(3, 5)).to(device, dtype)
    x = draw(device, len(children), 3, dtype=dtype)
    check_recursion(model, lstm(model), x, children.to(device))


def check_recursion(model, combine, x, children):
    """States, cells and all gradients are those of a function that calls itself."""
    x.requires_grad_()
    wanted = recursion(combine, x, children)
    wanted = [torch.stack(column) for column in zip(*wanted)]
    found = states(model, x, children)
    inputs = [x, *model.parameters()]
    slopes = zip(gradients(found, inputs), gradients(wanted, inputs))
    for ours, theirs in [*zip(found, wanted), *slopes]:
        assert_close_scaled(ours, theirs, REL[x.dtype])


# A chain is a recurrent network


@pytest.mark.parametrize("steps", [1, 2, 40])
def test_a_left_branching_tree_is_nn_rnn(steps, device):
    """The first leaf is the state before the first step; the others are inputs."""
    model, x = wide(RecursiveNet(3, 5)).to(device).double(), draw(device, steps + 1, 3)
    rnn = nn.RNN(3, 5, batch_first=True).to(x)
    U_l, U_r = model.U.weight.chunk(2, 1)
    rnn.weight_ih_l0.data, rnn.weight_hh_l0.data = U_r @ model.W.weight, U_l
    rnn.bias_ih_l0.data, rnn.bias_hh_l0.data = model.U.bias, 0 * model.U.bias
    inputs = torch.cat((x, x.new_zeros(steps, 3)))  # nothing at the inner nodes
    h = model(inputs, left_branching(steps).to(device))
    out, _ = rnn(x[None, 1:], model.W(x[:1])[None])
    assert_close_scaled(h[steps + 1 :], out[0], 1e-10)


@pytest.mark.parametrize("cls", [TreeLSTM, ChildSumTreeLSTM])
def test_a_chain_is_nn_lstm(cls, device):
    x = draw(device, 40, 3)
    model, twin = wide(cls(3, 5)).to(x), nn.LSTM(3, 5, batch_first=True).to(x)
    W, U = model.W.weight.chunk(3), model.U.weight[:, :5].chunk(3)
    b, U_f = model.W.bias.chunk(3), model.U_f.weight[:5, :5]
    twin.weight_ih_l0.data = torch.cat((W[0], model.W_f.weight, W[1], W[2]))
    twin.weight_hh_l0.data = torch.cat((U[0], U_f, U[1], U[2]))
    twin.bias_ih_l0.data = torch.cat((b[0], model.W_f.bias, b[1], b[2]))
    twin.bias_hh_l0.data.zero_()
    h, c = model(x, chain(40).to(device))
    out, (h_n, c_n) = twin(x[None])
    assert_close_scaled(h, out[0], 1e-10)
    assert_close_scaled(c[-1], c_n[0, 0], 1e-10)


# Structure


@ALL
def test_a_forest_is_its_trees_one_by_one(cls, device):
    generator = torch.Generator().manual_seed(0)
    model, start, xs, kids, alone = wide(cls(3, 5)).to(device), 0, [], [], []
    for depth in (0, 1, 3, 5):
        children = expressions(1, depth, generator)[2].to(device)
        x = draw(device, len(children), 3, dtype=torch.float32)
        alone.append(states(model, x, children)[0])
        xs.append(x)
        kids.append(children.where(children < 0, children + start))
        start += len(children)
    together = states(model, torch.cat(xs), torch.cat(kids))[0]
    assert_close_scaled(together, torch.cat(alone), 1e-5)


@ALL
def test_numbers_of_nodes_are_only_names(cls, device):
    model, x = wide(cls(3, 5)).to(device), draw(device, 9, 3, dtype=torch.float32)
    order = torch.tensor([4, 0, 8, 6, 2, 7, 1, 3, 5])
    names = torch.cat((order.argsort(), torch.tensor([-1])))  # -1 stays -1
    found = states(model, x[order.to(device)], names[FOREST[order]].to(device))
    for ours, theirs in zip(found, states(model, x, FOREST.to(device))):
        assert_close_scaled(ours, theirs[order.to(device)], 1e-5)


@ALL
def test_a_node_sees_its_own_tree_and_nothing_else(cls, device):
    model, x = wide(cls(3, 5)).to(device), draw(device, 9, 3, dtype=torch.float32)
    x.requires_grad_()
    h = states(model, x, FOREST.to(device))[0]
    for node, below in {6: [0, 1, 2, 6], 7: [3, 4, 5, 7], 2: [0, 2], 8: [8]}.items():
        (gradient,) = torch.autograd.grad(h[node].sum(), x, retain_graph=True)
        assert (gradient != 0).any(1).nonzero().flatten().tolist() == below


def test_child_sum_has_no_order_and_the_others_have(device):
    x, turned = draw(device, 8, 3).float(), WIDE[:, [2, 0, 3, 1]].to(device)
    model = wide(ChildSumTreeLSTM(3, 5)).to(device)
    assert_close_scaled(model(x, turned)[0], model(x, WIDE.to(device))[0], 1e-5)
    x, pair = draw(device, 3, 3).float(), [[-1, -1], [-1, -1]]
    for cls in (RecursiveNet, TreeLSTM):
        model = wide(cls(3, 5)).to(device)
        tops = [
            states(model, x, torch.tensor([*pair, last], device=device))[0][2]
            for last in ([0, 1], [1, 0])
        ]
        assert (tops[0] - tops[1]).abs().max() > 0.01


def test_each_child_has_its_own_forget_gate(device):
    """Gates shut but the forget gate of one child: its cell state comes up whole."""
    for k in (0, 1):
        model = TreeLSTM(1, 4).to(device).double()
        for parameter in model.parameters():
            parameter.data.zero_()
        model.W.weight.data[4:8, 0] = torch.tensor([1.0, 2, 3, 4])  # candidate
        model.W_f.bias.data.fill_(-40)
        model.U_f.weight.data[4 * k : 4 * k + 4, :4] = 1e4  # opened by the left child
        x = torch.tensor([[1.0], [-2.0], [0.0]], dtype=torch.float64, device=device)
        children = torch.tensor([[-1, -1], [-1, -1], [0, 1]], device=device)
        _, c = model(x, children)
        assert_close_scaled(c[2], c[k], 1e-10)


@ALL
def test_gradients_reach_every_number(cls, device):
    model, x = cls(3, 5).to(device), draw(device, 9, 3, dtype=torch.float32)
    sum(h.square().sum() for h in states(model, x, FOREST.to(device))).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad != 0).all(), name


# The task


def test_expressions_have_the_shapes_of_the_docstring():
    count = len(expressions(40, 4, torch.Generator().manual_seed(0))[1])
    generator = torch.Generator().manual_seed(0)
    sizes = {"batch_size": 40, "depth": 4, "B": 40, "N": count}
    check_shapes(expressions, generator=generator, **sizes)


@pytest.mark.parametrize("depth", [0, 1, 4, 10])
def test_expressions_have_their_depth_and_their_values(depth):
    generator = torch.Generator().manual_seed(depth)
    roots, symbols, children, values = expressions(90, depth, generator)
    assert len(by_height(children, len(symbols))) == depth + 1
    height = torch.empty_like(symbols)
    for level, group in enumerate(by_height(children, len(symbols))):
        height[group] = level
    assert (height[roots] == depth).all()
    assert len({*children[children >= 0].tolist()}) == len(symbols) - 90
    rules = {2: lambda a, b: a and b, 3: lambda a, b: a or b, 4: lambda a, b: a != b}
    for n, (symbol, (left, right)) in enumerate(
        zip(symbols.tolist(), children.tolist())
    ):
        if left < 0:
            assert right == -1 and values[n] == symbol in (0, 1)
        else:
            assert values[n] == rules[symbol](bool(values[left]), bool(values[right]))
    assert sorted(symbols.unique().tolist()) == list(range(5 if depth else 2))
    if depth == 10:  # the deeper child is left as often as right
        left, right = height[children[height > 3]].unbind(1)
        assert 0.4 < (left > right).sum() / (left != right).sum() < 0.6
        assert 0.4 < values[roots].float().mean() < 0.6


# The example by hand, and its drawing


def by_hand(*brackets):
    """p = tanh(l + r / 2) over the leaves 1, 0, 1."""
    model = RecursiveNet(1, 1)
    model.W.weight.data.fill_(1)
    model.U.weight.data, model.U.bias.data = torch.tensor([[1, 0.5]]), torch.zeros(1)
    children = torch.tensor([[-1, -1]] * 3 + [*brackets])
    return model(torch.tensor([[1.0], [0], [1], [0], [0]]), children).flatten().tolist()


LEFT, RIGHT = ([0, 1], [3, 2]), ([1, 2], [0, 3])


def test_numbers_worked_by_hand():
    assert [round(h, 4) for h in by_hand(*LEFT)] == [1, 0, 1, 0.7616, 0.8515]
    assert [round(h, 4) for h in by_hand(*RIGHT)] == [1, 0, 1, 0.4621, 0.8429]


def test_the_left_brackets_are_a_recurrent_network_by_hand():
    rnn = nn.RNN(1, 1, batch_first=True)
    rnn.weight_ih_l0.data.fill_(0.5), rnn.weight_hh_l0.data.fill_(1)
    rnn.bias_ih_l0.data.zero_(), rnn.bias_hh_l0.data.zero_()
    out, _ = rnn(torch.tensor([[[0.0], [1.0]]]), torch.ones(1, 1, 1))
    assert [round(h, 4) for h in out.flatten().tolist()] == [0.7616, 0.8515]


def test_the_drawing_shows_the_example():
    words = re.findall(r">([^<>]*\d[^<>]*)<", DRAWING.read_text("utf-8"))
    for brackets in (LEFT, RIGHT):
        for h in by_hand(*brackets)[3:]:
            assert f"{h:.4f}".removeprefix("0") in words
    assert words.count("0") == 2 and {"1", "0"} <= {*words}


# It learns


def test_main_is_deterministic(device, capsys):
    losses = main(2, 0, device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("accuracy at depth 10" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device, capsys):
    losses = main(device=device)
    assert losses[0] > 0.6 and sum(losses[-20:]) / 20 < 0.1
    assert float(capsys.readouterr().out.split()[-1]) > 0.95
