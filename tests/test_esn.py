"""EchoState against its equations, its readout against lstsq, and against theorems."""

import math
import re
from functools import partial

import pytest
import torch
from torch import nn

from snippets.esn import (
    EchoState,
    check_shape,
    features,
    free_run,
    mackey_glass,
    main,
    nrmse,
)
from tests.helpers import (
    assert_close_scaled,
    check_refusals,
    check_shapes,
    check_sizes,
    check_strict,
    draw,
    graph,
    refuses,
)

SURVIVORS = {}


def small(device, leak=0.4, radius=0.9):
    return EchoState(3, 5, radius, leak).to(device)


def unit(r, device):
    """One neuron with recurrent weight r, not yet squashed by much: x * 1e-3."""
    model = EchoState(1, 1).to(device)
    model.W_ih, model.b = torch.full_like(model.W_ih, 1e-3), model.b * 0
    model.W_hh = torch.full_like(model.W_hh, r)
    return model


def ring(R, r, device):
    """A cycle of R neurons, one weight r, random input weights, nearly linear."""
    model = EchoState(1, R).to(device)
    model.W_ih, model.b = 1e-3 * model.W_ih, model.b * 0
    model.W_hh = r * torch.eye(R).double().roll(1, 0).to(device)
    return model


def memory(W, v, lags):
    """What a linear reservoir keeps of each lag, by algebra: v' (W')^k C^-1 W^k v."""
    responses, k = [v], 0
    while responses[-1].norm() > 1e-18 and (k := k + 1) < 5000:
        responses.append(W @ responses[-1])
    M = torch.stack(responses, 1)
    return (M * torch.linalg.solve(M @ M.mT, M)).sum(0)[:lags]


# Shapes and errors


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


def test_shapes_are_those_of_the_docstrings(device):
    model, x, y = small(device), draw(device, 2, 8, 3), draw(device, 2, 8, 4)
    check_shapes(model, x=x, R=5)
    check_shapes(model, x=x, h=draw(device, 2, 5))
    check_shapes(model.fit, x=x, y=y)
    assert model.W_o.shape == (5 + 3 + 1, 4)
    model.fit(x, x.flip(1))
    check_shapes(free_run, model=model, x=x, steps=6, T=6)
    check_shapes(mackey_glass, batch_size=2, steps=3, generator=seeded(0), B=2, T=3)
    assert nrmse(y[..., :1], x[..., :1]).shape == (8,)


def test_refuses_other_shapes(device):
    check_refusals(lambda I, R: EchoState(I, R).float(), device, "h")  # noqa: E741
    model, x = EchoState(3, 5).to(device), draw(device, 2, 4, 3)
    refuses("x must be torch.float64, got torch.float32", model, x.float())
    check_sizes(EchoState, input_size=3, reservoir_size=5)
    data = partial(mackey_glass, generator=torch.Generator())
    check_sizes(data, batch_size=2, steps=3)
    for leak, radius in ((3, 0.9), (0, 0.9), (1, -1)):
        rule = f"leak must be in (0, 1] and radius >= 0, got {leak} and {radius}"
        refuses(rule, EchoState, 3, 5, radius, leak)
    rule = "leak must be in (0, 1] and radius >= 0, got 1.1 and 0.9"
    refuses(rule, EchoState, 3, 5, 0.9, 1.1)
    assert (EchoState(3, 5, radius=0).W_hh == 0).all()  # it forgets at once


@pytest.mark.parametrize("washout", [-1, 8, 9])
def test_some_steps_must_be_left_to_fit(washout, device):
    x = draw(device, 2, 8, 3)
    message = f"washout must be 0 to T - 1, got {washout}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        small(device).fit(x, x, washout)


def test_a_target_of_another_length_is_refused(device):
    model, x = small(device), draw(device, 2, 8, 3)
    rule = "y must be (2, 8, C) with C >= 1, got"
    refuses(f"{rule} (2, 7, 3)", model.fit, x, x[:, :7])
    refuses(f"{rule} (8, 2, 3)", model.fit, x, x.transpose(0, 1))


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(wrong, device):
    x = draw(device, 2, 8, 3)
    bad = x.clone()
    bad[1, 3, 2] = wrong
    for pair in ((x, bad), (bad, x)):
        rule = "x and y must be finite, got a NaN or infinity"
        refuses(rule, small(device).fit, *pair)


def test_a_fitted_model_is_saved_and_loaded(device):
    x = draw(device, 2, 8, 3)
    fitted, fresh = small(device), small(device)
    assert "W_o" not in fitted.state_dict()
    fresh.load_state_dict(fitted.state_dict())  # neither is fitted
    fitted.fit(x, x.roll(-1, 1))
    both = torch.nn.ModuleList([fresh])  # under a name, as part of a model
    both.load_state_dict({f"0.{k}": v for k, v in fitted.state_dict().items()})
    assert torch.equal(fresh.W_o, fitted.W_o)
    assert torch.equal(free_run(fresh, x, 5), free_run(fitted, x, 5))


def test_how_fast_it_leaks_is_saved_with_the_weights(device):
    slow, fresh = EchoState(3, 5, leak=0.25).to(device), small(device)
    fresh.load_state_dict(slow.state_dict())
    x = draw(device, 2, 8, 3)
    assert torch.equal(fresh(x)[0], slow(x)[0])


def test_a_free_run_needs_a_readout_that_feeds_it(device):
    model, x = small(device), draw(device, 2, 8, 3)
    refuses("fit first: the model has no readout yet", free_run, model, x, 3)
    model.fit(x, x[:, :, :2])
    refuses("y in fit must be as wide as x, 3, got 2", free_run, model, x, 3)
    model.fit(x, x)
    refuses("steps must be >= 0, got -1", free_run, model, x, -1)
    assert free_run(model, x, 0).shape == (2, 0, 3)


def test_a_mac_falls_back_to_the_cpu_and_says_so(capsys):
    assert len(main(steps=1, device="mps")) == 1
    assert "MPS has no float64, so this runs on the CPU" in capsys.readouterr().out


def seeded(seed):
    return torch.Generator().manual_seed(seed)


# The reservoir is what the page says


@pytest.mark.parametrize("radius, scale", [(0.9, 1.0), (1.5, 0.2), (0.3, 3.0)])
def test_the_numbers_that_are_searched_set_the_reservoir(radius, scale, device):
    model = EchoState(2, 200, radius, scale=scale).to(device)
    W = model.W_hh
    assert abs(torch.linalg.eigvals(W).abs().max().item() - radius) < 1e-10
    for weights, largest in ((model.W_ih, scale), (model.b, scale / 2)):
        assert 0.95 * largest < weights.max() <= largest
        assert -largest <= weights.min() < -0.95 * largest
        assert weights.mean().abs() < 0.15 * largest
    assert W.mean().abs() < 0.05 * W.abs().max()  # both signs
    assert W.max() > 0.95 * W.abs().max() and W.min() < -0.95 * W.abs().max()
    assert model.W_ih.shape == (200, 2) and model.b.shape == (200,)


def test_defaults_are_those_of_the_page():
    torch.manual_seed(1)
    named = EchoState(2, 6, radius=0.9, leak=1.0, scale=1.0)
    torch.manual_seed(1)
    bare = EchoState(2, 6)
    assert bare.leak == 1
    for name, value in named.named_buffers():
        assert torch.equal(dict(bare.named_buffers())[name], value)


def test_the_same_seed_draws_the_same_reservoir():
    torch.manual_seed(1)
    one, two = EchoState(2, 6), EchoState(2, 6)
    torch.manual_seed(1)
    again = EchoState(2, 6)
    assert torch.equal(one.W_hh, again.W_hh) and not torch.equal(one.W_hh, two.W_hh)


@pytest.mark.parametrize("leak", [1.0, 0.4])
def test_equals_its_equations(leak, device):
    model = small(device, leak)
    x, h = draw(device, 2, 7, 3), draw(device, 2, 5)
    out, last = model(x, h)
    for b in range(2):
        state = h[b]
        for t in range(7):
            a = model.W_ih @ x[b, t] + model.W_hh @ state + model.b
            state = (1 - leak) * state + leak * torch.tanh(a)
            assert_close_scaled(out[b, t], state, 1e-12)
        assert_close_scaled(last[b], state, 1e-12)


def test_without_a_leak_it_is_a_plain_rnn(device):
    model, x, h = small(device, leak=1.0), draw(device, 2, 7, 3), draw(device, 2, 5)
    twin = nn.RNN(3, 5, batch_first=True).to(x)
    with torch.no_grad():
        twin.weight_ih_l0.copy_(model.W_ih)
        twin.weight_hh_l0.copy_(model.W_hh)
        twin.bias_ih_l0.copy_(model.b)
        twin.bias_hh_l0.zero_()
        wanted = twin(x, h[None])
    for found, want in zip(model(x, h), (wanted[0], wanted[1][0])):
        assert_close_scaled(found, want, 1e-12)


def test_no_state_is_the_state_0_and_a_run_can_be_cut(device):
    model, x = small(device), draw(device, 2, 8, 3)
    out, last = model(x)
    assert torch.equal(out, model(x, torch.zeros(2, 5).to(x))[0])
    first, h = model(x[:, :3])
    second, end = model(x[:, 3:], h)
    assert_close_scaled(torch.cat((first, second), 1), out, 1e-12)
    assert_close_scaled(end, last, 1e-12)


def test_a_step_sees_no_later_one(device):
    model, x = small(device), draw(device, 2, 9, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[0][:, 4].square().sum(), x)
    assert (gradient[:, :5] != 0).all() and not gradient[:, 5:].any()


def test_one_unbind_and_no_slice():
    model, x = EchoState(3, 5), torch.randn(2, 20, 3).double().requires_grad_()
    nodes = graph(model(x)[0])
    assert nodes["UnbindBackward0"] == 1 and "SelectBackward0" not in nodes


# Nothing of it is trained


def test_it_has_no_parameters_and_fit_changes_the_readout_alone(device):
    model, x = small(device), draw(device, 2, 8, 3)
    assert [*model.parameters()] == []
    before = {name: value.clone() for name, value in model.named_buffers()}
    assert set(before) == {"W_ih", "b", "W_hh", "leak"}
    model.fit(x, x.flip(2))
    after = dict(model.named_buffers())
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert set(after) - set(before) == {"W_o"} and not model.W_o.requires_grad
    assert all(value.dtype == torch.float64 for value in after.values())


def test_gradients_flow_through_it_but_reach_no_weight(device):
    model, x = small(device), draw(device, 2, 8, 3).requires_grad_()
    model.fit(x.detach(), x.detach())
    (features(model(x)[0], x) @ model.W_o).square().sum().backward()
    assert (x.grad != 0).all()
    assert all(value.grad is None for value in model.buffers())
    assert not any(value.requires_grad for value in model.buffers())


# The readout is the least-squares fit


def test_the_readout_sees_states_input_and_one(device):
    out, x = draw(device, 2, 8, 5), draw(device, 2, 8, 3)
    seen = features(out, x)
    assert torch.equal(seen[..., :5], out) and torch.equal(seen[..., 5:8], x)
    assert seen.shape == (2, 8, 9) and (seen[..., 8] == 1).all()


@pytest.mark.parametrize("washout", [0, 4])
def test_fit_solves_the_normal_equations(washout, device):
    model, x, y = small(device), draw(device, 2, 30, 3), draw(device, 2, 30, 4)
    fitted = model.fit(x, y, washout) if washout else model.fit(x, y)
    A = features(model(x)[0], x)
    assert_close_scaled(fitted, A @ model.W_o, 1e-12)
    A_late, error = A[:, washout:].flatten(0, 1), (y - fitted)[:, washout:]
    slope = A_late.mT @ error.flatten(0, 1)  # zero at the least square
    assert slope.abs().max() < 1e-10 * A_late.norm() * error.norm()
    if washout:  # the whole would have been another fit
        assert (A.flatten(0, 1).mT @ (y - fitted).flatten(0, 1)).abs().max() > 1e-3


def test_fit_finds_a_readout_that_exists(device):
    model, x = small(device), draw(device, 2, 30, 3)
    W = draw(device, 9, 4)
    model.fit(x, features(model(x)[0], x) @ W, 5)
    assert_close_scaled(model.W_o, W, 1e-8)


def test_a_free_run_feeds_its_answers_back(device):
    model, x = small(device), draw(device, 2, 9, 3)
    model.fit(x, x.roll(-1, 1))
    answers = free_run(model, x, 4)
    heard = x
    for t in range(4):
        wanted = (features(model(heard)[0], heard) @ model.W_o)[:, -1]
        assert_close_scaled(answers[:, t], wanted, 1e-10)
        heard = torch.cat((heard, answers[:, t : t + 1]), 1)
    assert torch.equal(free_run(model, x, 1), answers[:, :1])


# By hand and by theorem


def test_one_linear_neuron_remembers_geometrically(device):
    half = memory(torch.tensor([[0.5]]).double(), torch.ones(1).double(), 60)
    assert [round(m.item(), 4) for m in half[:4]] == [0.75, 0.1875, 0.0469, 0.0117]
    assert abs(half[1:].sum().item() - 0.25) < 1e-12
    x = draw(device, 1, 6, 1) * 0
    x[0, 1] = 1.0  # a blow at step 1, and its echo
    out = unit(0.5, device)(x)[0].flatten() / 1e-3
    wanted = torch.tensor([0, 1, 0.5, 0.25, 0.125, 0.0625]).to(out)
    assert_close_scaled(out, wanted, 1e-5)


@pytest.mark.parametrize("R, r", [(50, 0.9), (5, 0.7), (1, 0.5)])
def test_a_ring_has_the_capacity_of_the_theorem(R, r, device):
    model = ring(R, r, device)
    found = memory(model.W_hh, model.W_ih[:, 0], 4000)
    assert abs(found[1:].sum().item() - (R - (1 - r ** (2 * R)))) < 1e-6
    assert abs(found.sum().item() - R) < 1e-6  # with lag 0: one number a neuron


@pytest.mark.parametrize("R", [2, 6])
def test_any_linear_reservoir_holds_one_number_a_neuron(R, device):
    torch.manual_seed(0)
    model = EchoState(1, R).to(device)
    found = memory(model.W_hh, model.W_ih[:, 0], 4000)
    assert abs(found.sum().item() - R) < 1e-6  # with lag 0, connected as it may be
    assert R - 1 < found[1:].sum().item() < R


def test_the_echo_of_a_ring_comes_round(device):
    model, x = ring(5, 0.9, device), torch.zeros(1, 11, 1).double().to(device)
    x[0, 0] = 1.0
    out = model(x)[0][0]
    assert_close_scaled(out[10], 0.9**10 * out[0], 1e-5)
    assert_close_scaled(out[3].roll(-3), 0.9**3 * out[0], 1e-5)


@pytest.mark.parametrize("radius, leak", [(0.9, 1.0), (0.9, 0.5), (0.5, 1.0)])
def test_two_starts_are_forgotten_below_one(radius, leak, device):
    model = EchoState(1, 60, radius, leak).to(device)
    x, starts = draw(device, 1, 400, 1), draw(device, 2, 60)
    one, two = model(x.expand(2, -1, -1), starts)[1]
    assert (one - two).norm() < 1e-6 < 1 < (starts[0] - starts[1]).norm()


def test_two_starts_are_not_forgotten_well_above_one(device):
    model = EchoState(1, 100, 2.5).to(device)
    x, starts = 0.5 * draw(device, 1, 300, 1), draw(device, 2, 100)
    one, two = model(x.expand(2, -1, -1), starts)[1]
    assert (one - two).norm() > 1


def test_a_spectral_radius_of_zero_is_not_enough(device):
    model = EchoState(1, 2).to(device)
    model.W_hh = torch.tensor([[-6.0, 12.0], [-3.0, 6.0]]).to(model.W_hh)
    model.b = model.b * 0
    assert not (model.W_hh @ model.W_hh).any()  # nilpotent: all eigenvalues are 0
    x = torch.zeros(2, 100, 1).to(model.W_hh)
    rest = torch.tensor([[0.99999, 0.99473], [-0.99999, -0.99473]]).to(x)
    out, h = model(x, rest)
    assert (h - rest).abs().max() < 1e-5  # two states of rest, and one input: none
    assert model(x, 0 * rest)[1].abs().max() == 0  # and a third
    assert torch.linalg.matrix_norm(model.W_hh, 2) > 1


# The series and the error


def test_the_series_solves_its_equation():
    series = mackey_glass(3, 400, seeded(0))
    y = series.squeeze(2).atanh() + 1
    assert 0.2 < y.min() < 0.5 and 1.2 < y.max() < 1.5
    assert 0.04 < y.var() < 0.07
    t = torch.arange(20, 399)
    slope = 0.2 * y[:, t - 17] / (1 + y[:, t - 17] ** 10) - 0.1 * y[:, t]
    central = (y[:, t + 1] - y[:, t - 1]) / 2
    assert (central - slope).abs().max() < 0.01 < 0.05 < slope.abs().max()
    assert not torch.equal(series[0], series[1])
    assert torch.equal(series, mackey_glass(3, 400, seeded(0)))


def test_a_longer_series_begins_with_the_shorter():
    long, short = (mackey_glass(2, n, seeded(0)) for n in (60, 40))
    assert torch.equal(long[:, :40], short)


def test_the_error_is_relative_and_undoes_the_squashing():
    truth = mackey_glass(40, 100, seeded(0))
    y = truth.atanh()
    guess = (y + 0.1 * y.std()).tanh()
    assert_close_scaled(nrmse(guess, truth), torch.full((100,), 0.1).double(), 1e-6)
    assert not nrmse(truth, truth).any()
    mean = y.mean().tanh().expand_as(truth)
    assert 0.9 < nrmse(mean, truth).square().mean().sqrt() < 1.1
    assert nrmse(truth * 0 + 5, truth).isfinite().all()


# It learns


def test_a_small_one_predicts_the_series(device):
    model = EchoState(1, 100, 0.95, 0.6).to(device)
    series = mackey_glass(1, 1001, seeded(0)).to(device)
    x, y = series[:, :-1], series[:, 1:]
    fitted = model.fit(x, y, 100)
    error = (fitted - y)[:, 100:].square().mean().sqrt() / y.std()
    stay = (x - y)[:, 100:].square().mean().sqrt() / y.std()
    assert error < 1e-3 < 0.1 < stay


@pytest.mark.slow
def test_main_is_far_better_than_the_mean(device):
    losses = main(device=device)
    assert len(losses) == 5 and max(losses) < 0.1
