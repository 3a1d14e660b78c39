"""RNN against nn.RNN, and the two machines that the page works by hand."""

import math
from collections import Counter

import pytest
import torch
from torch import nn

from snippets.rnn import RNN, check_shape, main, parity
from tests.helpers import assert_close_scaled, check_shapes, compare_with_twin

# (B, T, I, H)
SIZES = [(3, 7, 2, 5), (1, 4, 3, 5), (4, 1, 3, 2), (2, 200, 3, 7), (1, 1, 1, 1)]


def wide(module):
    """Random weights large enough that the tanh bends."""
    generator = torch.Generator().manual_seed(2)
    for p in module.parameters():
        p.data = torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p)
    return module


def with_weights(device, **weights):
    """An RNN in float64 with these weights; those not named are 0."""
    hidden_size, input_size = len(weights["ih"]), len(weights["ih"][0])
    model = RNN(input_size, hidden_size).to(device, torch.float64)
    names = {"ih": "weight_ih_l0", "hh": "weight_hh_l0", "b": "bias_ih_l0"}
    with torch.no_grad():
        model.bias_hh_l0.zero_()
        model.bias_ih_l0.zero_()
        for short, value in weights.items():
            getattr(model, names[short]).copy_(torch.tensor(value))
    return model


# Shapes and errors


def test_shapes_are_those_of_the_docstring(device):
    model = RNN(3, 5).to(device)
    x, h = torch.randn(2, 7, 3).to(device), torch.randn(2, 5).to(device)
    out, last = check_shapes(model, x=x, H=5)
    assert torch.equal(out[:, -1], last)
    check_shapes(model, x=x, h=h)


def test_parity_counts_the_ones_so_far():
    generator = torch.Generator().manual_seed(0)
    sizes = {"batch_size": 4000, "steps": 6, "B": 4000, "T": 6}
    x, y = check_shapes(parity, generator=generator, **sizes)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert (x.mean(0) - 0.5).abs().max() < 0.05
    for bits, labels in zip(x[:50, :, 0].long().tolist(), y[:50].tolist()):
        assert labels == [sum(bits[: t + 1]) % 2 for t in range(6)]


@pytest.mark.parametrize(
    "x_shape, h_shape, message",
    [
        ((4, 3), None, "x must be (B, T, 3) with B, T >= 1, got (4, 3)"),
        ((2, 4, 3, 1), None, "x must be (B, T, 3) with B, T >= 1, got (2, 4, 3, 1)"),
        ((2, 0, 3), None, "x must be (B, T, 3) with B, T >= 1, got (2, 0, 3)"),
        ((0, 4, 3), None, "x must be (B, T, 3) with B, T >= 1, got (0, 4, 3)"),
        ((2, 4, 2), None, "x must be (B, T, 3) with B, T >= 1, got (2, 4, 2)"),
        ((2, 4, 4), None, "x must be (B, T, 3) with B, T >= 1, got (2, 4, 4)"),
        ((2, 4, 3), (2, 6), "h must be (2, 5), got (2, 6)"),
        ((2, 4, 3), (2, 4), "h must be (2, 5), got (2, 4)"),
        ((2, 4, 3), (1, 5), "h must be (2, 5), got (1, 5)"),
        ((2, 4, 3), (3, 5), "h must be (2, 5), got (3, 5)"),
        ((2, 4, 3), (5,), "h must be (2, 5), got (5,)"),
        ((2, 4, 3), (1, 2, 5), "h must be (2, 5), got (1, 2, 5)"),
    ],
)
def test_wrong_shapes_are_refused(x_shape, h_shape, message, device):
    x = torch.zeros(x_shape, device=device)
    h = None if h_shape is None else torch.zeros(h_shape, device=device)
    with pytest.raises(ValueError) as caught:
        RNN(3, 5).to(device)(x, h)
    assert str(caught.value) == message


def test_check_shape_names_only_the_free_axes():
    check_shape("x", torch.zeros(1, 5), "B", 5)
    with pytest.raises(ValueError) as caught:
        check_shape("x", torch.zeros(2, 4), "B", 5)
    assert str(caught.value) == "x must be (B, 5) with B >= 1, got (2, 4)"


# RNN is nn.RNN


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("B, T, I, H", SIZES)
def test_equal_to_torch(B, T, I, H, with_state, dtype, device):  # noqa: E741
    x = torch.randn(B, T, I).to(device, dtype)
    h = torch.randn(B, H).to(device, dtype) if with_state else None
    compare_with_twin(RNN(I, H), nn.RNN(I, H, batch_first=True), x, h)


def test_equal_to_torch_far_from_zero(device):
    twin = wide(nn.RNN(3, 5, batch_first=True))
    x = torch.randn(2, 9, 3, dtype=torch.float64).to(device)
    compare_with_twin(RNN(3, 5), twin, x, torch.randn(2, 5).to(x))


def test_same_seed_same_initial_weights_as_torch():
    torch.manual_seed(1)
    ours = RNN(3, 7).state_dict()
    torch.manual_seed(1)
    twin = nn.RNN(3, 7, batch_first=True).state_dict()
    assert list(ours) == list(twin)
    assert all(torch.equal(ours[name], twin[name]) for name in twin)


@pytest.mark.parametrize("I, H", [(3, 5), (1, 64)])
def test_parameters_are_those_of_the_page(I, H):  # noqa: E741
    count = sum(p.numel() for p in RNN(I, H).parameters())
    assert count == H * (I + H) + 2 * H


def test_no_state_means_zeros(device):
    model = wide(RNN(3, 5)).to(device)
    x = torch.randn(2, 4, 3).to(device)
    zeros = torch.zeros(2, 5, device=device)
    assert torch.equal(model(x)[0], model(x, zeros)[0])


# The equation, and what it implies


def test_the_equation_written_out(device):
    """h^t = tanh(W_ih x^t + b_ih + W_hh h^{t-1} + b_hh), one number at a time."""
    model = wide(RNN(2, 3)).to(device, torch.float64)
    x = torch.randn(1, 4, 2, dtype=torch.float64).to(device)
    W_ih, W_hh, b_ih, b_hh = (p.tolist() for p in model.parameters())
    h = [0.0] * 3
    for t, x_t in enumerate(x[0].tolist()):
        h = [
            math.tanh(
                sum(w * value for w, value in zip(W_ih[i], x_t))
                + sum(u * value for u, value in zip(W_hh[i], h))
                + b_ih[i]
                + b_hh[i]
            )
            for i in range(3)
        ]
        ours = model(x)[0][0, t].tolist()
        assert all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(ours, h))


def test_one_step_at_a_time_is_the_whole_sequence(device):
    """The state is all that the future needs to know of the past."""
    model = wide(RNN(3, 5)).to(device, torch.float64)
    x = torch.randn(2, 9, 3, dtype=torch.float64).to(device)
    out, last = model(x)
    first, h = model(x[:, :4])
    rest, h = model(x[:, 4:], h)
    assert torch.allclose(torch.cat([first, rest], 1), out, rtol=0, atol=1e-14)
    assert torch.allclose(h, last, rtol=0, atol=1e-14)


def test_no_step_sees_the_future(device):
    model = wide(RNN(3, 5)).to(device)
    x = torch.randn(2, 9, 3).to(device).requires_grad_()
    out = model(x)[0]
    (gradient,) = torch.autograd.grad(out[:, 4].square().sum(), x)
    seen = gradient.abs().sum((0, 2))
    assert (seen[5:] == 0).all() and (seen[:5] > 0).all()


def test_examples_of_a_batch_do_not_mix(device):
    model = wide(RNN(3, 5)).to(device)
    x = torch.randn(4, 5, 3).to(device)
    assert_close_scaled(model(x)[0], model(x.flip(0))[0].flip(0), 1e-5)


def test_gradients_reach_every_parameter(device):
    model = RNN(3, 5).to(device)
    x, h = torch.randn(2, 4, 3).to(device), torch.randn(2, 5).to(device)
    model(x, h)[0].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad != 0).all(), name


def graph(tensor):
    """How many autograd nodes of each kind a backward pass visits."""
    seen, waiting = set(), [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [parent for parent, _ in node.next_functions]
    return Counter(type(node).__name__ for node in seen)


def test_backward_costs_the_same_at_every_step():
    """Nodes grow by a fixed number a step, and none writes a whole sequence."""
    model = RNN(3, 5)
    graphs = [graph(model(torch.randn(2, T, 3))[0]) for T in (10, 20, 40)]
    ten, twenty, forty = (sum(nodes.values()) for nodes in graphs)
    assert forty - twenty == 2 * (twenty - ten)
    # x[:, t] would be a SelectBackward whose gradient is (B, T, H), T times
    for nodes, T in zip(graphs, (10, 20, 40)):
        assert nodes["UnbindBackward0"] == 1
        assert nodes["TanhBackward0"] == T
        assert nodes["SelectBackward0"] == nodes["SliceBackward0"] == 0


# The numbers of the page


def test_by_hand_one_unit(device):
    """w = 1, u = 1/2, x = (1, 0, 0)."""
    model = with_weights(device, ih=[[1.0]], hh=[[0.5]])
    x = torch.tensor([[[1.0], [0.0], [0.0]]], dtype=torch.float64, device=device)
    h1 = model(x[:, :1])[1].detach().requires_grad_()
    out, h3 = model(x[:, 1:], h1)
    h2 = out[:, 0]
    assert [round(h.item(), 4) for h in (h1, h2, h3)] == [0.7616, 0.3634, 0.1797]
    (gradient,) = torch.autograd.grad(h3, h1)
    assert round(gradient.item(), 4) == 0.2100
    chain = 0.5**2 * (1 - h2**2) * (1 - h3**2)
    assert math.isclose(gradient.item(), chain.item(), rel_tol=1e-12)
    model(x)[1].backward()  # exercise 4: the sum over the three steps
    assert round(model.weight_hh_l0.grad.item(), 4) == 0.6715


def parity_machine(k, device):
    """s = (h_1 - h_2)/2 + x, h_1 = tanh k(s - 1/2), h_2 = tanh k(s - 3/2)."""
    hh = [[k / 2, -k / 2], [k / 2, -k / 2]]
    return with_weights(device, ih=[[k], [k]], hh=hh, b=[-k / 2, -3 * k / 2])


def test_by_hand_parity_machine(device):
    machine = parity_machine(4.0, device)
    start = -torch.ones(1, 2, dtype=torch.float64, device=device)
    bits = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64, device=device)
    out, _ = machine(bits.view(1, 4, 1), start)
    rounded = [[round(value, 2) for value in pair] for pair in out[0].tolist()]
    assert rounded == [[0.96, -0.96], [1.0, 0.95], [-0.96, -1.0], [0.97, -0.96]]
    p = (out[0, :, 0] - out[0, :, 1]) / 2
    assert [round(value, 2) for value in p.tolist()] == [0.96, 0.02, 0.02, 0.96]
    generator = torch.Generator().manual_seed(0)
    x, y = (a.to(device) for a in parity(20, 5000, generator))
    out, _ = machine(x.double(), start.expand(20, 2))
    p = (out[..., 0] - out[..., 1]) / 2
    assert torch.equal((p > 0.5).long(), y)
    assert (p - y).abs().max() < 0.05  # as sharp at step 5000 as at step 5


def after_a_one(k, zeros, device):
    """The machine's state after a single 1 and so many 0s."""
    x = torch.zeros(1, 1 + zeros, 1, dtype=torch.float64, device=device)
    x[:, 0] = 1
    start = -torch.ones(1, 2, dtype=torch.float64, device=device)
    return parity_machine(k, device)(x, start)[1].detach()


def test_by_hand_slope_two_forgets_and_slope_four_does_not(device):
    def p(h):
        return (h[0, 0] - h[0, 1]).item() / 2

    assert [round(p(after_a_one(4.0, n, device)), 2) for n in (0, 50)] == [0.96, 0.96]
    read = [round(p(after_a_one(2.0, n, device)), 2) for n in (0, 8, 50)]
    assert read == [0.76, 0.49, 0.31]
    # exercise 1: where 4 and 2 come to rest
    assert [round(p(after_a_one(k, 100, device)), 3) for k in (4.0, 2.0)] == [
        0.962,
        0.311,
    ]
    zeros = torch.zeros(1, 100, 1, dtype=torch.float64, device=device)
    start = -torch.ones(1, 2, dtype=torch.float64, device=device)
    assert round(p(parity_machine(4.0, device)(zeros, start)[1]), 3) == 0.021


def test_by_hand_a_kept_bit_has_a_vanishing_gradient(device):
    """At rest dp'/dp = 0.08: the bit stays, its gradient does not."""
    h = after_a_one(4.0, 50, device).requires_grad_()
    zero = torch.zeros(1, 1, 1, dtype=torch.float64, device=device)
    after = parity_machine(4.0, device)(zero, h)[1]
    assert torch.allclose(after, h, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad((after[0, 0] - after[0, 1]) / 2, h)
    slope = (gradient[0, 0] - gradient[0, 1]).item()
    assert round(slope, 2) == 0.08


# It learns


def test_main_returns_its_losses(capsys, device):
    losses = main(steps=2, device=device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("parity over 400 steps" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device, capsys):
    losses = main(device=device)
    assert sum(losses[:20]) / 20 > 0.6
    assert sum(losses[-20:]) / 20 < 0.05
    assert float(capsys.readouterr().out.split()[-1]) > 0.99
