"""Gradients through time against autograd, clipping against torch, by hand."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from snippets.gradients import (
    bias_for,
    bptt,
    check_shape,
    clip_by_norm,
    clip_by_value,
    in_windows,
    jacobian_gain,
    main,
    time_constant,
)
from tests.helpers import (
    assert_close_scaled,
    check_shapes,
    check_sizes,
    check_strict,
    draw,
    refuses,
)

# (B, T, H)
SIZES = [(3, 7, 5), (1, 4, 5), (4, 1, 3), (2, 60, 3), (1, 1, 1)]


def make_rnn(device, inputs, hidden):
    rnn = nn.RNN(inputs, hidden, batch_first=True).to(device, torch.float64)
    nn.init.orthogonal_(rnn.weight_hh_l0, 1.5)
    return rnn


def arguments(rnn, x, h, gradient):
    """What bptt wants to know of a tanh RNN that starts from h."""
    with torch.no_grad():
        out, _ = rnn(x, h[None])
        past = torch.cat((h[:, None], out[:, :-1]), 1)
    slopes = 1 - out**2
    return {"gradient": gradient, "slopes": slopes, "past": past, "W": W_of(rnn)}


def W_of(rnn):
    return rnn.weight_hh_l0.detach()


# bptt: the gradient as a sum over steps


def test_shapes_are_those_of_the_docstring(device):
    rnn, x, h = make_rnn(device, 2, 5), draw(device, 3, 7, 2), draw(device, 3, 5)
    check_shapes(bptt, **arguments(rnn, x, h, draw(device, 3, 5)))


@pytest.mark.parametrize("B, T, H", SIZES)
def test_the_sum_is_the_gradient(B, T, H, device):
    rnn, x = make_rnn(device, 2, H), draw(device, B, T, 2)
    h, gradient = draw(device, B, H), draw(device, B, H)
    last = rnn(x, h[None])[1][0]
    (whole,) = torch.autograd.grad(last, rnn.weight_hh_l0, gradient)
    terms = bptt(**arguments(rnn, x, h, gradient))
    assert len(terms) == T
    assert_close_scaled(terms.sum(0), whole, 1e-10)


def test_each_term_is_the_gradient_of_one_steps_copy_of_the_weights(device):
    rnn, x = make_rnn(device, 2, 4), draw(device, 3, 6, 2)
    h, gradient = draw(device, 3, 4), draw(device, 3, 4)
    copies = [W_of(rnn).clone().requires_grad_() for _ in range(6)]
    state = h
    for x_t, W in zip(x.unbind(1), copies):
        b = rnn.bias_ih_l0 + rnn.bias_hh_l0
        state = torch.tanh(x_t @ rnn.weight_ih_l0.T + b + state @ W.T)
    wanted = torch.autograd.grad(state, copies, gradient)
    terms = bptt(**arguments(rnn, x, h, gradient))
    for k, term in enumerate(terms):
        assert_close_scaled(term, wanted[-1 - k], 1e-10, f"{k} steps back")


@pytest.mark.parametrize("window", [1, 3, 6])
def test_a_window_is_what_detach_leaves(window, device):
    rnn, x = make_rnn(device, 2, 4), draw(device, 3, 6, 2)
    h, gradient = draw(device, 3, 4), draw(device, 3, 4)
    state = h[None]
    if window < 6:
        state = rnn(x[:, :-window], state)[1].detach()
    last = rnn(x[:, -window:], state)[1][0]
    (wanted,) = torch.autograd.grad(last, rnn.weight_hh_l0, gradient)
    terms = bptt(**arguments(rnn, x, h, gradient), window=window)
    assert terms.shape == (window, 4, 4)
    assert_close_scaled(terms.sum(0), wanted, 1e-10)


@pytest.mark.parametrize(
    "name, shape, message",
    [
        ("slopes", (7, 5), "slopes must be (B, T, H) with B, T, H >= 1, got (7, 5)"),
        (
            "slopes",
            (3, 0, 5),
            "slopes must be (B, T, H) with B, T, H >= 1, got (3, 0, 5)",
        ),
        ("gradient", (1, 5), "gradient must be (3, 5), got (1, 5)"),
        ("gradient", (3, 1), "gradient must be (3, 5), got (3, 1)"),
        ("gradient", (5,), "gradient must be (3, 5), got (5,)"),
        ("past", (3, 6, 5), "past must be (3, 7, 5), got (3, 6, 5)"),
        ("past", (1, 7, 5), "past must be (3, 7, 5), got (1, 7, 5)"),
        ("past", (3, 7, 4), "past must be (3, 7, 5), got (3, 7, 4)"),
        ("W", (5, 1), "W must be (5, 5), got (5, 1)"),
        ("W", (1, 5), "W must be (5, 5), got (1, 5)"),
    ],
)
def test_wrong_shapes_are_refused(name, shape, message, device):
    shapes = {"gradient": (3, 5), "slopes": (3, 7, 5), "past": (3, 7, 5), "W": (5, 5)}
    given = {
        n: torch.zeros(s, device=device) for n, s in (shapes | {name: shape}).items()
    }
    with pytest.raises(ValueError) as caught:
        bptt(**given)
    assert str(caught.value) == message


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_of_nothing_is_refused(window):
    one = torch.ones(1, 1, 1)
    rule = f"window must be a whole number >= 1, got {window}"
    with pytest.raises(ValueError, match=rule):
        bptt(one[0], one, one, one[0], window=window)


def test_in_windows_asks_for_batch_first(device):
    x = draw(device, 2, 6, 3)
    last = nn.RNN(3, 4).to(x)  # would take the batch for time, silently
    rule = "rnn must have batch_first=True, got batch_first=False"
    with pytest.raises(ValueError, match=rule):
        in_windows(last, x, 2)
    rnn = nn.RNN(3, 4, batch_first=True).to(x)
    check_sizes(partial(in_windows, rnn, x), window=2)
    rule = "x must be (B, T, I) with B, T, I >= 1, got (6, 3)"
    refuses(rule, in_windows, rnn, x[0], 2)
    # The half that reads backwards would see one window at a time.
    both = nn.RNN(3, 4, batch_first=True, bidirectional=True).to(x)
    rule = "rnn must read one way, got bidirectional=True"
    refuses(rule, in_windows, both, x, 2)


def test_in_windows_carries_both_states_of_an_lstm(device):
    x = draw(device, 2, 6, 3).requires_grad_()
    lstm = nn.LSTM(3, 4, batch_first=True).to(x)
    out, (h, c) = in_windows(lstm, x, 2)
    whole, (last_h, last_c) = lstm(x)
    assert torch.allclose(out, whole, atol=1e-12)
    assert torch.equal(h, last_h) and torch.equal(c, last_c)
    (gradient,) = torch.autograd.grad(out[:, -1].sum(), x)
    assert (gradient[:, :4] == 0).all() and (gradient[:, 4:] != 0).any()


def test_clipping_takes_a_generator_and_leaves_none_alone(device):
    big = [3 * torch.ones(4, device=device), None, 4 * torch.ones(4, device=device)]
    for clip, wanted in ((clip_by_norm, (0.3, 0.4)), (clip_by_value, (1.0, 1.0))):
        one, nothing, two = clip((g for g in big), 1.0)
        assert nothing is None
        assert torch.allclose(one, torch.full_like(one, wanted[0]))
        assert torch.allclose(two, torch.full_like(two, wanted[1]))
    assert clip_by_norm([None], 1.0) == [None] and clip_by_norm([], 1.0) == []


def test_clipping_in_half_precision_stays_in_range(device):
    g = torch.full((1,), 300.0, dtype=torch.float16, device=device)  # 300² > 65504
    [clipped] = clip_by_norm([g], 1.0)
    assert clipped.item() == 1.0 and clipped.dtype == torch.float16


def test_a_model_without_such_names_reads_batch_first_and_one_way(device):
    """As those of this book do."""
    x = draw(device, 2, 6, 3)
    rnn = nn.RNN(3, 4, batch_first=True).to(x)
    out, _ = in_windows(lambda part, h: rnn(part, h), x, 2)
    assert torch.equal(out, in_windows(rnn, x, 2)[0])


def test_the_largest_number_may_stand_anywhere(device):
    g = torch.tensor([1e-30, 3e20, 4e20], device=device)
    assert torch.allclose(clip_by_norm([g], 1.0)[0], g / 5e20)


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1e20, 1e37])
def test_clipping_does_not_depend_on_the_range_of_squares(size, device):
    """The square of 1e20 is beyond float32, that of 1e-30 is 0."""
    g = size * torch.tensor([3.0, 4.0], device=device)
    for limit in (size, 10 * size):
        wanted = g / 5 if limit == size else g
        clipped = torch.cat(clip_by_norm([g[:1], g[1:]], limit))
        assert torch.allclose(clipped, wanted, rtol=1e-5, atol=0)


def test_no_gradient_at_all_stays_none_at_all(device):
    zero = torch.zeros(3, device=device)
    assert clip_by_norm([zero], 1.0)[0].tolist() == [0, 0, 0]


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


# jacobian_gain


@pytest.mark.parametrize("B, S, H", [(3, 4, 5), (2, 5, 3), (1, 1, 1)])
def test_gain_is_the_rms_of_singular_values(B, S, H, device):
    s, other = draw(device, B, S).requires_grad_(), draw(device, B, S).requires_grad_()
    W = draw(device, H, S)
    y = torch.tanh((s * s + 3 * other) @ W.T)
    with torch.no_grad():
        slope = (1 - y**2).unsqueeze(2)
        jacobians = slope * W * 2 * s.unsqueeze(1), slope * W * 3
    wanted = []
    for J in jacobians:
        values = torch.linalg.svdvals(J)  # those beyond the smaller side are zero
        wanted.append((values.square().sum() / (B * H)).sqrt())
    found = jacobian_gain(y, [s, other])
    assert found.shape == (2,)
    assert_close_scaled(found, torch.stack(wanted), 1e-12)


def test_an_orthogonal_path_has_gain_one_and_a_cut_one_zero(device):
    s = draw(device, 2, 6).requires_grad_()
    Q = nn.init.orthogonal_(torch.empty(6, 6, dtype=torch.float64)).to(device)
    assert abs(jacobian_gain(s @ Q, [s]).item() - 1) < 1e-12
    assert jacobian_gain(s @ Q - s.detach() + 0 * s, [s]).item() > 0
    assert jacobian_gain(s.detach() + 0 * s, [s]).item() == 0


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_gain_does_not_depend_on_the_range_of_squares(size, device):
    s = torch.ones(2, 3, device=device, requires_grad=True)
    (gain,) = jacobian_gain(size * s, [s]).tolist()
    assert abs(gain / size - 1) < 1e-6


def test_gain_refuses_what_is_no_state(device):
    s = torch.ones(4, device=device, requires_grad=True)
    with pytest.raises(ValueError) as caught:
        jacobian_gain(2 * s, [s])
    assert str(caught.value) == "y must be (B, H) with B, H >= 1, got (4,)"


# in_windows: the state goes on, the gradient does not


@pytest.mark.parametrize("window", [1, 3, 5, 7, 9])
def test_windows_change_no_output(window, device):
    rnn, x, h = make_rnn(device, 2, 5), draw(device, 3, 7, 2), draw(device, 1, 3, 5)
    whole, last = rnn(x, h)
    out, state = in_windows(rnn, x, window, h)
    assert_close_scaled(out, whole, 1e-12)
    assert_close_scaled(state, last, 1e-12)
    assert out.requires_grad and not state.requires_grad


def test_windows_start_from_zero(device):
    rnn, x = make_rnn(device, 2, 5), draw(device, 3, 7, 2)
    assert_close_scaled(in_windows(rnn, x, 3)[0], rnn(x)[0], 1e-12)


def test_no_gradient_crosses_the_border_of_a_window(device):
    rnn, x = make_rnn(device, 2, 5), draw(device, 3, 7, 2).requires_grad_()
    out, _ = in_windows(rnn, x, 3)
    for t in range(7):
        (gradient,) = torch.autograd.grad(out[:, t].sum(), x, retain_graph=True)
        reached = gradient.abs().sum((0, 2)).nonzero().flatten().tolist()
        assert reached == [*range(t // 3 * 3, t + 1)]


# Clipping


def draw_gradients(device, size):
    return [size * draw(device, 3, 4), size * draw(device, 5), size * draw(device, 1)]


def by_torch(clip, gradients, limit):
    parameters = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for p, g in zip(parameters, gradients):
        p.grad = g.clone()
    clip(parameters, limit)
    return [p.grad for p in parameters]


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e4])
def test_clipping_is_what_torch_does(size, device):
    gradients = draw_gradients(device, size)
    wanted = by_torch(nn.utils.clip_grad_norm_, gradients, 0.7)
    for found, want in zip(clip_by_norm(gradients, 0.7), wanted, strict=True):
        assert_close_scaled(found, want, 2e-6)  # torch adds 1e-6 to the norm
    wanted = by_torch(nn.utils.clip_grad_value_, gradients, 0.7)
    for found, want in zip(clip_by_value(gradients, 0.7), wanted, strict=True):
        assert torch.equal(found, want)


def test_clipping_by_norm_keeps_the_direction_and_the_length_fits(device):
    gradients = draw_gradients(device, 100)
    clipped = clip_by_norm(gradients, 2.0)
    flat = [torch.cat([g.flatten() for g in parts]) for parts in (gradients, clipped)]
    assert abs(flat[1].norm().item() - 2) < 1e-12
    assert torch.cosine_similarity(*flat, 0).item() > 1 - 1e-12


def test_what_fits_stays_as_it_is(device):
    gradients = [torch.zeros(3, device=device), torch.full((2,), 0.5, device=device)]
    for clip in (clip_by_norm, clip_by_value):
        assert all(torch.equal(a, b) for a, b in zip(clip(gradients, 5.0), gradients))
        assert torch.equal(clip(gradients[:1], 5.0)[0], gradients[0])  # no 0 / 0


@pytest.mark.parametrize("clip", [clip_by_norm, clip_by_value])
@pytest.mark.parametrize("limit", [0, -1.0, math.nan])
def test_a_limit_that_would_turn_the_gradient_is_refused(clip, limit):
    with pytest.raises(ValueError, match=f"limit must be > 0, got {limit}"):
        clip([torch.ones(2)], limit)


# A gate's time constant


@pytest.mark.parametrize("bias", [-1.0, 0.0, 1.0, 3.0, 5.0])
def test_after_its_time_constant_a_gate_has_kept_about_one_e_th(bias):
    keep = 1 / (1 + math.exp(-bias))
    assert abs(time_constant(bias) - 1 / (1 - keep)) < 1e-9
    assert abs(bias_for(time_constant(bias)) - bias) < 1e-12


@pytest.mark.parametrize("steps", [1, 0.5, -3, math.nan])
def test_no_gate_forgets_faster_than_one_step(steps):
    with pytest.raises(ValueError, match=f"steps must be > 1, got {steps}"):
        bias_for(steps)


# The numbers of the page


def test_by_hand_products():
    assert round(0.9**50, 4) == 0.0052
    assert round(1.1**50) == 117


def test_by_hand_a_product_is_what_the_gain_measures(device):
    for u in (0.9, 1.1):
        states = [torch.ones(1, 1, dtype=torch.float64, device=device).requires_grad_()]
        for _ in range(50):
            states.append(u * states[-1])
        gain = jacobian_gain(states[-1], states)[0].item()
        assert abs(gain / u**50 - 1) < 1e-12


def test_by_hand_gates():
    biases = [0, 1, 3, 5]
    assert [round(time_constant(b), 1) for b in biases] == [2.0, 3.7, 21.1, 149.4]
    left = [(1 / (1 + math.exp(-b))) ** 50 for b in biases]
    assert [f"{value:.1e}" for value in left] == [
        "8.9e-16",
        "1.6e-07",
        "8.8e-02",
        "7.1e-01",
    ]
    assert round(left[3], 3) == 0.715 and round(left[2], 3) == 0.088
    assert round(bias_for(300), 2) == 5.7


def test_by_hand_clipping(device):
    g = torch.tensor([3.0, 4.0], device=device)
    assert torch.allclose(clip_by_norm([g], 1.0)[0].cpu(), torch.tensor([0.6, 0.8]))
    assert clip_by_value([g], 1.0)[0].tolist() == [1, 1]


def test_by_hand_truncation(device):
    """h = w h + x, x = (1, 0, 0), w = 1/2: the derivative of h_3 is 1/2 + 1/2 + 0."""
    past = torch.tensor([0.0, 1.0, 0.5], device=device).view(1, 3, 1)  # h_0, h_1, h_2
    one, w = torch.ones(1, 1, device=device), torch.full((1, 1), 0.5, device=device)
    terms = bptt(one, torch.ones_like(past), past, w).flatten().tolist()
    assert terms == [0.5, 0.5, 0.0]
    cut = bptt(one, torch.ones_like(past), past, w, window=1).flatten().tolist()
    assert cut == [0.5]
    w = torch.tensor(0.5, requires_grad=True)
    h_2 = w * 1.0
    assert torch.autograd.grad(w * h_2, w)[0].item() == 1.0
    assert torch.autograd.grad(w * (w * 1.0).detach(), w)[0].item() == 0.5


# It learns


def test_main_returns_its_losses(capsys, device):
    losses = main(steps=2, device=device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.startswith("recall: whole") for line in lines)


@pytest.mark.slow
def test_main_learns(device, capsys):
    losses = main(device=device)
    assert sum(losses[:20]) / 20 > 0.5
    assert sum(losses[-20:]) / 20 < 0.05
    assert "whole gradient 1.00" in capsys.readouterr().out
