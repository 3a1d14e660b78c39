"""LSTM against nn.LSTM, its structure, its errors, and the page's numbers."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from snippets.lstm import (
    LSTM,
    check_shape,
    main,
    recall,
)
from tests.helpers import (
    SIZES,
    assert_close_scaled,
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
    draw,
    refuses,
    wide,
)

# Shapes and errors


def test_shapes_are_those_of_the_docstring(device):
    model = LSTM(3, 5).to(device)
    x = torch.randn(2, 7, 3).to(device)
    state = torch.randn(2, 5).to(device), torch.randn(2, 5).to(device)
    out, (h, c) = check_shapes(model, x=x, H=5)
    assert torch.equal(out[:, -1], h)
    assert not torch.equal(h, c)
    check_shapes(model, x=x, state=state)


def test_recall_marks_a_symbol_and_then_only_noise():
    generator = torch.Generator().manual_seed(0)
    sizes = {"batch_size": 4000, "steps": 5, "B": 4000, "T": 5}
    x, y = check_shapes(recall, noise=2.0, generator=generator, **sizes)
    marks = x[:, :, 8]
    assert (marks[:, 0] == 1).all() and (marks[:, 1:] == 0).all()
    assert torch.equal(x[:, 0, :8].argmax(1), y)
    assert torch.equal(x[:, 0, :8].sort(1).values.unique(dim=0)[0], torch.eye(8)[7])
    assert abs(x[:, 1:, :8].std().item() - 2.0) < 0.02
    counts = y.bincount(minlength=8)
    assert len(counts) == 8 and counts.min() > 400


def test_wrong_shapes_are_refused(device):
    check_refusals(LSTM, device, "h", "c")


def test_foreign_input_is_refused(device):
    check_foreign(LSTM, device, states=2)


def test_a_state_is_a_pair(device):
    model, h = LSTM(3, 5).to(device), torch.zeros(2, 5, device=device)
    x = torch.zeros(2, 4, 3, device=device)
    refuses("state must be (h, c), got 3 parts", model, x, (h, h, h))


def test_it_can_be_exported_with_a_free_batch():
    check_export(LSTM)


def test_the_start_can_be_drawn_anew():
    check_reset(LSTM, nn.LSTM)


def test_half_precision_under_autocast(device):
    check_autocast(LSTM, device)


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


# LSTM is nn.LSTM


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("B, T, I, H", SIZES)
def test_equal_to_torch(B, T, I, H, with_state, dtype, device):  # noqa: E741
    x = torch.randn(B, T, I).to(device, dtype)
    state = torch.randn(B, H).to(x), torch.randn(B, H).to(x)
    twin = nn.LSTM(I, H, batch_first=True)
    compare_with_twin(LSTM(I, H), twin, x, state if with_state else None)


def test_equal_to_torch_far_from_zero(device):
    twin = wide(nn.LSTM(3, 5, batch_first=True))
    state = draw(device, 2, 5), draw(device, 2, 5)
    compare_with_twin(LSTM(3, 5), twin, draw(device, 2, 9, 3), state)


def test_torch_keeps_its_state_as_layers_and_ours_is_the_last(device):
    """What #limits says: torch's h_n[-1] is our h, c_n[-1] our c."""
    ours, twin = LSTM(3, 5).to(device), nn.LSTM(3, 5, batch_first=True).to(device)
    ours.load_state_dict(twin.state_dict())
    x, h = torch.randn(2, 4, 3).to(device), torch.randn(2, 5).to(device)
    out, (h_n, c_n) = twin(x, (h[None], h[None]))
    assert h_n.shape == (1, 2, 5)
    _, (last_h, last_c) = ours(x, (h, h))
    assert_close_scaled(last_h, h_n[-1].detach(), 1e-5)
    assert_close_scaled(last_c, c_n[-1].detach(), 1e-5)


def test_same_seed_same_initial_weights_as_torch():
    check_start(LSTM, nn.LSTM)


@pytest.mark.parametrize("bias", [0.0, 1.0, -2.5])
def test_forget_bias_sets_one_slice_and_empties_its_twin(bias):
    torch.manual_seed(1)
    plain = LSTM(3, 5).state_dict()
    torch.manual_seed(1)
    biased = LSTM(3, 5, forget_bias=bias).state_dict()
    plain["bias_ih_l0"][5:10] = bias
    plain["bias_hh_l0"][5:10] = 0
    assert all(torch.equal(plain[name], biased[name]) for name in plain)


def test_four_times_the_parameters_of_an_rnn():
    count = sum(p.numel() for p in LSTM(3, 5).parameters())
    assert count == 4 * sum(p.numel() for p in nn.RNN(3, 5).parameters())
    assert count == 4 * (5 * 3 + 5 * 5 + 2 * 5)


def test_no_state_means_zeros(device):
    check_default_state(LSTM, device, states=2)


# The equations of the note, one unit and one example at a time


def note_written_out(model, x, h, c):
    H, rows = model.hidden_size, model.weight_hh_l0.shape[0]
    assert rows == 4 * H
    outs = []
    for t in range(x.shape[1]):
        a = [
            [
                sum(model.weight_ih_l0[k, i] * x[b, t, i] for i in range(x.shape[2]))
                + sum(model.weight_hh_l0[k, j] * h[b][j] for j in range(H))
                + model.bias_ih_l0[k]
                + model.bias_hh_l0[k]
                for k in range(rows)
            ]
            for b in range(len(x))
        ]
        new_h, new_c = [], []
        for b in range(len(x)):
            z_i = [1 / (1 + math.exp(-a[b][j])) for j in range(H)]
            z_f = [1 / (1 + math.exp(-a[b][H + j])) for j in range(H)]
            z = [math.tanh(a[b][2 * H + j]) for j in range(H)]
            z_o = [1 / (1 + math.exp(-a[b][3 * H + j])) for j in range(H)]
            new_c.append([z_f[j] * c[b][j] + z_i[j] * z[j] for j in range(H)])
            new_h.append([z_o[j] * math.tanh(new_c[b][j]) for j in range(H)])
        h, c = new_h, new_c
        outs.append(h)
    like = {"dtype": x.dtype, "device": x.device}
    return torch.tensor(outs, **like).transpose(0, 1), torch.tensor(c, **like)


@torch.no_grad()
def test_equal_to_the_equations_of_the_note(device):
    model = wide(LSTM(2, 3)).to(device, torch.float64)
    x, h, c = draw(device, 2, 4, 2), draw(device, 2, 3), draw(device, 2, 3)
    out, (_, last_c) = model(x, (h, c))
    wanted_out, wanted_c = note_written_out(model, x, h.tolist(), c.tolist())
    assert_close_scaled(out, wanted_out, 1e-12)
    assert_close_scaled(last_c, wanted_c, 1e-12)


# Structure


def test_no_step_sees_the_future(device):
    check_causal(LSTM, device)


def test_examples_of_a_batch_do_not_mix(device):
    check_batch(LSTM, device)


def test_reading_in_two_halves_is_reading_at_once(device):
    model = wide(LSTM(3, 5)).to(device, torch.float64)
    x = draw(device, 2, 8, 3)
    out, _ = model(x)
    first, state = model(x[:, :3])
    second, _ = model(x[:, 3:], state)
    assert_close_scaled(torch.cat((first, second), 1), out, 1e-12)


@pytest.mark.parametrize("unit", range(5))
def test_along_the_belt_the_gradient_is_the_product_of_the_forget_gates(unit, device):
    """With the path through h cut, dc_T/dc_0 = z_f1 ... z_fT, unit by unit."""
    model = wide(LSTM(3, 5)).to(device, torch.float64)
    with torch.no_grad():
        model.weight_hh_l0.zero_()  # the gates read x only: no way through h
    x, c = draw(device, 1, 6, 3), draw(device, 1, 5).requires_grad_()
    _, (_, last) = model(x, (torch.zeros_like(c), c))
    (gradient,) = torch.autograd.grad(last[0, unit], c)
    a_f = x[0] @ model.weight_ih_l0[5:10].T
    a_f = a_f + model.bias_ih_l0[5:10] + model.bias_hh_l0[5:10]
    wanted = torch.zeros_like(gradient)
    wanted[0, unit] = torch.sigmoid(a_f).prod(0)[unit]
    assert (gradient - wanted).abs().max() < 1e-12


def test_a_state_carried_on_without_detach_is_an_error():
    """What #limits says: backward walks into the last batch's freed graph."""
    model = LSTM(3, 5)
    out, state = model(torch.randn(2, 4, 3))
    out.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        model(torch.randn(2, 4, 3), state)[0].sum().backward()
    detached = tuple(s.detach() for s in state)
    model(torch.randn(2, 4, 3), detached)[0].sum().backward()


def test_backward_costs_the_same_at_every_step():
    check_graph(LSTM)


def test_gradients_reach_every_parameter(device):
    check_gradients(LSTM, device, states=2)


def test_h_stays_inside_and_c_need_not(device):
    model = LSTM(1, 1, forget_bias=5.0).to(device, torch.float64)
    with torch.no_grad():
        model.bias_ih_l0[[0, 2, 3]] = 5.0
        out, (h, c) = model(torch.ones(1, 40, 1, dtype=torch.float64, device=device))
    assert c > 1 and out.abs().max() < 1


# The numbers of the page


def by_hand(device, a_i, a_f, a_z, a_o):
    """One unit whose four sums are what they are told to be, whatever comes in."""
    model = LSTM(1, 1).to(device, torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.bias_ih_l0.copy_(torch.tensor([a_i, a_f, a_z, a_o]))
    return model


@torch.no_grad()
def test_by_hand(device):
    def ones(steps):
        return torch.ones(1, steps, 1, dtype=torch.float64, device=device)

    state = torch.zeros_like(ones(1)[0]), ones(1)[0]  # h = 0, c = 1
    write = by_hand(device, 2.0, 3.0, 1.0, 0.0)
    for name, gate in [("0.8808", 2.0), ("0.9526", 3.0), ("0.5000", 0.0)]:
        assert f"{1 / (1 + math.exp(-gate)):.4f}" == name
    assert f"{math.tanh(1):.4f}" == "0.7616"
    _, (h, c) = write(ones(1), state)
    assert f"{c.item():.4f}" == "1.6234"
    assert f"{h.item():.4f}" == "0.4626"
    # z_i = 0: fifty idle steps
    idle = by_hand(device, -1000.0, 3.0, 1.0, 0.0)
    _, (_, kept) = idle(ones(50), (h, c))
    assert f"{kept.item():.3f}" == "0.143"


def test_time_constants():
    """1 + e^b steps is the sum of all powers; what is left then depends on b."""

    def left(b, steps):
        return (1 / (1 + math.exp(-b))) ** steps

    for b, steps in [(0, "2.0"), (1, "3.7"), (2, "8.4"), (3, "21.1"), (5, "149.4")]:
        assert f"{1 + math.exp(b):.1f}" == steps
        total = sum(left(b, k) for k in range(10_000))
        assert abs(total - 1 - math.exp(b)) < 1e-9
    assert left(0, 2) == 0.25
    assert f"{math.log(299):.2f}" == "5.70"
    assert abs(left(math.log(299), 300) - math.exp(-1)) < 1e-3


# It learns


def test_main_returns_its_losses(capsys, device):
    losses = main(steps=2, device=device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("recall at step 60" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device):
    losses = main(device=device)
    assert sum(losses[:20]) / 20 > 1.9
    assert sum(losses[-20:]) / 20 < 0.4


def test_recall_of_nothing_is_refused():
    data = partial(recall, noise=0.1, generator=torch.Generator())
    check_sizes(data, batch_size=2, steps=3)
