"""The graph layers against their equations and against torch_geometric."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from snippets.gnn import (
    GATLayer,
    GCNLayer,
    MessagePassing,
    check_shape,
    collect,
    edge_softmax,
    ends,
    karate_club,
    main,
)
from tests.helpers import (
    assert_close_scaled,
    check_shapes,
    check_sizes,
    check_strict,
    draw,
    refuses,
)

DRAWING = Path(__file__).parents[1] / "docs/drawings/gnn.svg"
SURVIVORS = {
    "ends: torch.cat((edges, own), 1) -> torch.cat((own, edges), 1)": (
        "the order of edges has no say"
    ),
}
REL = {torch.float64: 1e-10, torch.float32: 1e-4}
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
LAYERS = {
    "message passing": lambda F, C: MessagePassing(F, C),
    "GCN": GCNLayer,
    "GAT": lambda F, C: GATLayer(F, C),
    "GAT, two heads": lambda F, C: GATLayer(F, C, 2),
}
EVERY = pytest.mark.parametrize("kind", LAYERS)

# Directed, with a loop at 3 and an edge that stands twice; nothing reaches 5.
SOME = [[0, 1, 1, 2, 3, 4, 4, 5, 0], [1, 0, 2, 4, 3, 2, 1, 0, 1]]
TRIANGLES = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]
HEXAGON = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)]


def some_edges(device):
    return torch.tensor(SOME, device=device)


def both_ways(pairs, device="cpu"):
    pairs = torch.tensor(pairs, device=device).T
    return torch.cat((pairs, pairs.flip(0)), 1)


def layer(kind, F, C, like, awake=False):
    """A layer whose biases are not 0; `awake`: and whose ReLU hides nothing."""
    model = LAYERS[kind](F, C).to(like)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    if awake and kind == "message passing":
        nn.init.constant_(model.message.bias, 10.0)
    return model


def digits(values, places):
    return [round(value, places) for value in values.flatten().tolist()]


# Shapes and errors


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


def test_shapes_are_those_of_the_docstrings(device):
    x, edges = draw(device, 6, 3), some_edges(device)
    assert edges.shape == (2, 9)
    for model in (MessagePassing(3, 5), GCNLayer(3, 5)):
        check_shapes(model.to(x), x=x, edge_index=edges, C=5)
    check_shapes(GATLayer(3, 4, 5).to(x), x=x, edge_index=edges, D=20)
    assert GATLayer(3, 4).to(x)(x, edges).shape == (6, 4)


@EVERY
def test_what_is_no_graph_is_refused(kind, device):
    model = layer(kind, 3, 4, draw(device, 1))
    x, edges = draw(device, 6, 3), some_edges(device)
    rule = "x must be (N, F) with N, F >= 1, got (1, 6, 3)"
    refuses(rule, model, x.unsqueeze(0), edges)
    rule = "edge_index must be (2, E) with E >= 1, got"
    refuses(f"{rule} (9, 2)", model, x, edges.T)
    refuses(f"{rule} (2,)", model, x, edges[:, 0])
    refuses(f"{rule} (2, 9, 1)", model, x, edges.unsqueeze(2))
    # -1 would be the last node, and a table of True and False the nodes 0 and 1
    for wrong in (-1, 6):
        pair = torch.tensor([[0], [wrong]], device=device)
        pair = torch.cat((pair, torch.tensor([[2], [3]], device=device)), 1)
        low, high = min(0, wrong), max(3, wrong)
        rule = f"edge_index must hold numbers of nodes, 0 to 5, got {low} to {high}"
        refuses(rule, model, x, pair)
    adjacency = torch.eye(2, device=device) > 0
    refuses("edge_index must be torch.int64, got torch.bool", model, x, adjacency)


@EVERY
def test_a_table_of_no_edges_may_be_of_any_type(kind, device):
    model, x = layer(kind, 3, 4, draw(device, 1)), draw(device, 6, 3)
    none = torch.zeros(2, 0, dtype=torch.long, device=device)
    assert torch.equal(model(x, torch.tensor([[], []]).to(device)), model(x, none))


@EVERY
def test_it_can_be_exported_with_any_number_of_nodes_and_edges(kind):
    model = layer(kind, 3, 4, torch.zeros(1))
    x, edges = torch.randn(6, 3), torch.randint(6, (2, 9))
    free = {0: torch.export.Dim("nodes")}, {1: torch.export.Dim("edges")}
    program = torch.export.export(model, (x, edges), dynamic_shapes=free)
    x, edges = torch.randn(8, 3), torch.randint(8, (2, 20))
    assert torch.allclose(program.module()(x, edges), model(x, edges), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_counts(dtype, device):
    """Added up in bfloat16, 256 ones and one more are 256."""
    ones = torch.ones(3000, 1, dtype=dtype, device=device)
    found = collect(ones, torch.zeros(3000, dtype=torch.long, device=device), 2)
    assert found.tolist() == [[ones.sum().item()], [0]] and found.dtype == dtype


def test_sizes_below_one_are_refused():
    for cls in (MessagePassing, GCNLayer, GATLayer):
        check_sizes(cls, in_channels=3, out_channels=4)
    check_sizes(GATLayer, in_channels=3, out_channels=4, heads=2)


def test_degrees_in_half_precision(device):
    """Two hubs of degree 302: the product 91204 is beyond float16."""
    leaves = torch.arange(2, 302)
    hubs = torch.zeros(300, dtype=torch.long)
    pairs = torch.cat((torch.stack((leaves, hubs)), torch.stack((leaves, hubs + 1))), 1)
    pairs = torch.cat((pairs, torch.tensor([[0, 1], [1, 0]])), 1).to(device)
    model = GCNLayer(1, 1).to(device)
    nn.init.ones_(model.lin.weight)
    x = torch.zeros(302, 1, device=device)
    x[:2] = 50.0
    out = model.half()(x.half(), pairs)[0].item()
    assert abs(out - 100 / 302) < 1e-3


# Edges


def test_loops_are_added_once_and_only_when_asked_for(device):
    x, edges = draw(device, 6, 3), some_edges(device)
    assert torch.equal(ends(x, edges), edges)
    found = ends(x, edges, loops=True).T.tolist()
    plain = [list(pair) for pair in zip(*SOME) if pair[0] != pair[1]]
    assert sorted(found) == sorted(plain + [[n, n] for n in range(6)])


def test_collect_adds_what_arrives(device):
    messages = draw(device, 4, 3, 2)
    target = torch.tensor([2, 0, 2, 4], device=device)
    out = collect(messages, target, 6)
    assert out.shape == (6, 3, 2) and out.dtype == torch.float64
    assert_close_scaled(out[2], messages[0] + messages[2], 1e-15)
    assert torch.equal(out[[0, 4]], messages[[1, 3]])
    assert (out[[1, 3, 5]] == 0).all()


def test_the_softmax_is_over_the_edges_into_each_node(device):
    target = torch.tensor([3, 0, 3, 0, 3, 1], device=device)
    scores = draw(device, 6, 2)
    weights = edge_softmax(scores, target, 5)
    for node in (0, 1, 3):
        into = target == node
        assert_close_scaled(weights[into], scores[into].softmax(0), 1e-12)
    # neither overflow, nor a node whose scores are all far below another's
    huge = torch.tensor([1e4, -1e4, 1e4 - 1, -1e4, -1e4, 0.0], device=device)
    weights = edge_softmax(huge.unsqueeze(1), target, 4).squeeze(1)
    wanted = torch.tensor([0.7311, 0.5, 0.2689, 0.5, 0, 1], device=device)
    assert_close_scaled(weights, wanted, 1e-4)


# The layers are their equations


@DTYPES
def test_message_passing_equals_its_equations(dtype, device):
    x, edges = draw(device, 6, 3, dtype=dtype), some_edges(device)
    model = layer("message passing", 3, 4, x)
    out = model(x, edges)
    for i in range(6):
        m = torch.zeros(4, device=device, dtype=dtype)
        for source, target in edges.T.tolist():
            if target == i:
                m = m + torch.relu(model.message(torch.cat((x[i], x[source]))))
        wanted = model.update(torch.cat((x[i], m)))
        assert_close_scaled(out[i], wanted, REL[dtype])


@DTYPES
def test_gcn_equals_the_matrix_product(dtype, device):
    x, edges = draw(device, 6, 3, dtype=dtype), some_edges(device)
    model = layer("GCN", 3, 4, x)
    A = torch.zeros(6, 6, device=device, dtype=dtype)
    for source, target in edges.T.tolist():
        A[target, source] += source != target
    A = A + torch.eye(6, device=device, dtype=dtype)
    root = A.sum(1) ** -0.5
    wanted = root[:, None] * A * root @ x @ model.lin.weight.T + model.bias
    assert_close_scaled(model(x, edges), wanted, REL[dtype])


@DTYPES
def test_gat_equals_its_equations(dtype, device):
    x, edges = draw(device, 6, 3, dtype=dtype), some_edges(device)
    model = layer("GAT, two heads", 3, 4, x)
    out = model(x, edges).view(6, 2, 4)
    W, bias = model.lin.weight.view(2, 4, 3), model.bias.view(2, 4)
    for a in range(2):
        for i in range(6):
            heard = [i, *(s for s, t in edges.T.tolist() if t == i != s)]
            v = torch.stack([W[a] @ x[j] for j in heard])
            scores = v @ model.att_src[0, a] + W[a] @ x[i] @ model.att_dst[0, a]
            weights = torch.where(scores > 0, scores, scores / 5).softmax(0)
            assert_close_scaled(out[i, a], weights @ v + bias[a], REL[dtype])


def test_initial_weights():
    assert (GCNLayer(300, 200).bias == 0).all() and (GATLayer(3, 4, 2).bias == 0).all()
    bound = (6 / 500) ** 0.5  # Glorot's, as Kipf & Welling
    largest = GCNLayer(300, 200).lin.weight.abs().max().item()
    assert 0.99 * bound < largest <= bound
    gat = GATLayer(3, 500, 2)
    assert gat.att_src.shape == gat.att_dst.shape == (1, 2, 500)
    assert gat.lin.bias is None and GCNLayer(3, 4).lin.bias is None
    for weight in (gat.att_src, gat.att_dst):
        assert 0.9 < weight.std() < 1.1


# Structure


@EVERY
def test_numbering_and_order_of_edges_have_no_say(kind, device):
    x, edges = draw(device, 6, 3), some_edges(device)
    model = layer(kind, 3, 4, x)
    out = model(x, edges)
    order = torch.tensor([3, 5, 0, 4, 1, 2], device=device)  # new n is old order[n]
    renamed = order.argsort()[edges]
    assert_close_scaled(model(x[order], renamed), out[order], 1e-12)
    assert_close_scaled(model(x[order], renamed).sum(0), out.sum(0), 1e-12)
    assert_close_scaled(model(x, edges.flip(1)), out, 1e-12)
    # the nodes alone renamed, the edges not: another graph
    assert (model(x[order], edges) - out[order]).abs().max() > 0.01


@EVERY
def test_a_message_goes_from_the_first_row_to_the_second_one_edge_a_round(kind, device):
    x = draw(device, 6, 3).requires_grad_()
    chain = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]], device=device)
    out = x
    for k in range(1, 4):
        out = layer(kind, out.shape[1], 16, x)(out, chain)
        (gradient,) = torch.autograd.grad(
            out[4].square().sum(), x, retain_graph=True, allow_unused=True
        )
        seen = (gradient != 0).any(1).nonzero().flatten().tolist()
        assert seen == [*range(4 - k, 5)]


@EVERY
def test_two_graphs_in_one_do_not_mix(kind, device):
    x, edges = draw(device, 6, 3), some_edges(device)
    model = layer(kind, 3, 4, x)
    both = model(torch.cat((x, 2 * x)), torch.cat((edges, edges + 6), 1))
    assert_close_scaled(both[:6], model(x, edges), 1e-12)
    assert_close_scaled(both[6:], model(2 * x, edges), 1e-12)


@EVERY
def test_gradients_reach_every_parameter(kind, device):
    x, edges = draw(device, 6, 3), some_edges(device)
    model = layer(kind, 3, 4, x, awake=True)
    model(x, edges).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad != 0).all(), name


@EVERY
def test_without_edges_a_node_has_only_itself(kind, device):
    x, none = draw(device, 6, 3), torch.zeros(2, 0, dtype=torch.long, device=device)
    model = layer(kind, 3, 4, x)
    out = model(x, none)
    if kind == "message passing":
        wanted = model.update(torch.cat((x, torch.zeros_like(out)), 1))
    else:
        wanted = model.lin(x) + model.bias
    assert_close_scaled(out, wanted, 1e-12)


@EVERY
def test_two_triangles_are_a_hexagon(kind, device):
    x = torch.ones(6, 3, dtype=torch.float64, device=device)
    first, second = layer(kind, 3, 4, x), None
    outs = []
    for pairs in (TRIANGLES, HEXAGON):
        edges = both_ways(pairs, device)
        hidden = first(x, edges) / 10
        second = second or layer(kind, hidden.shape[1], 4, x, awake=True)
        outs.append(second(hidden, edges))
    assert_close_scaled(*outs, 1e-12)
    # with a mark at one node they differ
    x[0] = 2.0
    outs = []
    for pairs in (TRIANGLES, HEXAGON):
        edges = both_ways(pairs, device)
        outs.append(second(first(x, edges) / 10, edges).square().sum(0))
    assert (outs[0] - outs[1]).abs().max() > 1e-3


def test_attention_is_message_passing_where_the_mask_is_the_list_of_edges(device):
    q, k, v = (draw(device, 7, C) for C in (4, 4, 5))
    mask = torch.rand(7, 7) < 0.5
    mask[2] = False  # hears nobody
    mask = mask.to(device)
    for keep in (torch.ones_like(mask), mask):
        target, source = keep.nonzero().T
        scores = (q[target] * k[source]).sum(1, keepdim=True) / 2
        weights = edge_softmax(scores, target, 7)
        wanted = scaled_dot_product_attention(q, k, v, attn_mask=keep)
        assert_close_scaled(collect(weights * v[source], target, 7), wanted, 1e-12)


# The numbers on the page


def test_the_example_by_hand():
    model = GCNLayer(1, 1).double()
    nn.init.ones_(model.lin.weight)
    edges = both_ways([(0, 1), (1, 2)])
    x = torch.tensor([[1.0], [0.0], [0.0]], dtype=torch.float64)
    rounds = [x]
    for _ in range(100):
        rounds.append(model(rounds[-1], edges))
    assert digits(rounds[1], 3) == [0.5, 0.408, 0]
    assert digits(rounds[2], 3) == [0.417, 0.340, 0.167]
    assert digits(rounds[3], 3) == [0.347, 0.352, 0.222]
    assert digits(rounds[100], 3) == [0.286, 0.350, 0.286]
    limit = torch.tensor([[2 / 7], [6**0.5 / 7], [2 / 7]], dtype=torch.float64)
    assert_close_scaled(rounds[100], limit, 1e-12)
    # divided by the root of the degree, all are the same
    equal = rounds[100] / torch.tensor([[2.0], [3.0], [2.0]]) ** 0.5
    assert digits(equal, 3) == [0.202, 0.202, 0.202]
    # two triangles, hexagon: every node hears three times a third
    ones = torch.ones(6, 1, dtype=torch.float64)
    for pairs in (TRIANGLES, HEXAGON):
        assert_close_scaled(model(ones, both_ways(pairs)), ones, 1e-12)


def test_the_drawing_shows_what_the_layer_computes():
    """Of each disc of the drawing, the orange part is the share of the first dye."""
    model = GCNLayer(2, 2).double()
    nn.init.eye_(model.lin.weight)
    edges = both_ways([(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (3, 5), (4, 5)])
    x = torch.zeros(6, 2, dtype=torch.float64)
    x[0, 0] = x[5, 1] = 1
    rounds = [x]
    for _ in range(30):
        rounds.append(model(rounds[-1], edges))
    groups = DRAWING.read_text("utf-8").split("<g ")[1:]
    disc = r'<circle class="gnn-(\w)" cx="\d+" cy="(\d+)" r="19"/>'
    part = r'(?:<path class="gnn-o" d="M[\d.]+ ([\d.]+)A)?'
    for k, group in zip((0, 1, 2, 3, 10, 30), groups, strict=True):
        assert f"= {k}<" in group
        found = re.findall(disc + part, group)
        found = [each for each in found if each[0] != "r"]  # no rims
        for (u, v), (kind, cy, y) in zip(rounds[k].tolist(), found, strict=True):
            if u + v == 0:
                assert kind == "n"
            elif y:
                h = (float(cy) - float(y)) / 19
                below = (math.acos(-h) + h * math.sqrt(1 - h * h)) / math.pi
                assert abs(below - u / (u + v)) < 0.01
            else:
                assert kind == ("o" if v == 0 else "b") and u * v == 0


# The karate club


def test_the_karate_club():
    edges, club = karate_club()
    assert edges.shape == (2, 156) and club.shape == (34,)
    pairs = {tuple(sorted(pair)) for pair in edges.T.tolist()}
    assert len(pairs) == 78 and not any(i == j for i, j in pairs)
    degrees = torch.bincount(edges[1])
    assert torch.equal(degrees, torch.bincount(edges[0]))
    assert degrees[[0, 33]].tolist() == [16, 17] and len(degrees) == 34
    assert club.sum() == 17 and club[[0, 8, 9, 33]].tolist() == [0, 0, 1, 1]


def test_main_is_deterministic(device, capsys):
    losses = main(2, 0, device)
    again, other = main(2, 0, device), main(2, 1, device)
    assert len(losses) == 2 and losses == pytest.approx(again) != other
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("of 32 placed" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device, capsys):
    losses = main(device=device)
    right = re.search(r"(\d+) of 32", capsys.readouterr().out)
    assert losses[0] > 0.5 and losses[-1] < 0.1 and int(right[1]) >= 30


# torch_geometric: last, for it takes seconds to import, and what fails above saves them


def equal_to_twin(ours, twin, x, edges):
    """Weights copied; outputs, gradients of the input and of every parameter."""
    ours.load_state_dict(twin.state_dict())
    found = []
    for model in (ours, twin):
        leaf = x.clone().requires_grad_()
        out = model(leaf, edges)
        weight = torch.linspace(-1, 2, out.numel()).to(out).view_as(out)
        parameters = dict(model.named_parameters())
        gradients = torch.autograd.grad(
            (out * weight).sum(), [leaf, *parameters.values()]
        )
        found.append({"output": out} | dict(zip(["x", *parameters], gradients)))
    assert found[0].keys() == found[1].keys()
    for name, wanted in found[1].items():
        assert_close_scaled(found[0][name], wanted, REL[x.dtype], name)


@DTYPES
@pytest.mark.parametrize("F, C, A", [(3, 4, 2), (5, 1, 3), (1, 6, 1)])
def test_equal_to_torch_geometric(F, C, A, dtype, device):
    from torch_geometric.nn import GATConv, GCNConv

    x, edges = draw(device, 6, F, dtype=dtype), some_edges(device)
    for twin, ours in [
        (GCNConv(F, C), GCNLayer(F, C)),
        (GATConv(F, C, heads=A), GATLayer(F, C, heads=A)),
    ]:
        nn.init.normal_(twin.bias)
        equal_to_twin(ours.to(x), twin.to(x), x, edges)


def test_the_karate_club_is_that_of_torch_geometric():
    from torch_geometric.datasets import KarateClub

    theirs = KarateClub()[0].edge_index.T.tolist()
    assert sorted(theirs) == sorted(karate_club()[0].T.tolist())
