"""RNN against nn.RNN, and the two machines that the page works by hand."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from snippets.rnn import (
    RNN,
    check_shape,
    main,
    parity,
)
from tests.helpers import (
    SIZES,
    check_autocast,
    check_batch,
    check_causal,
    check_default_state,
    check_export,
    check_foreign,
    check_gradients,
    check_graph,
    check_refusals,
    check_reset,
    check_shapes,
    check_sizes,
    check_start,
    check_strict,
    compare_with_twin,
    wide,
)


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


def test_wrong_shapes_are_refused(device):
    check_refusals(RNN, device, "h")


def test_foreign_input_is_refused(device):
    check_foreign(RNN, device)


def test_it_can_be_exported_with_a_free_batch():
    check_export(RNN)


def test_the_start_can_be_drawn_anew():
    check_reset(RNN, nn.RNN)


def test_half_precision_under_autocast(device):
    check_autocast(RNN, device)


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


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
    check_start(RNN, nn.RNN)


@pytest.mark.parametrize("I, H", [(3, 5), (1, 64)])
def test_parameters_are_those_of_the_page(I, H):  # noqa: E741
    count = sum(p.numel() for p in RNN(I, H).parameters())
    assert count == H * (I + H) + 2 * H


def test_no_state_means_zeros(device):
    check_default_state(RNN, device)


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
    check_causal(RNN, device)


def test_examples_of_a_batch_do_not_mix(device):
    check_batch(RNN, device)


def test_gradients_reach_every_parameter(device):
    check_gradients(RNN, device)


def test_backward_costs_the_same_at_every_step():
    for nodes, T in zip(check_graph(RNN), (10, 20, 40)):
        assert nodes["TanhBackward0"] == T


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


def test_parity_of_nothing_is_refused():
    data = partial(parity, generator=torch.Generator())
    check_sizes(data, batch_size=2, steps=3)
