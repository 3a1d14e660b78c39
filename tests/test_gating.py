"""The gate by itself, a GRU as an average of its candidates, an SE block."""

import re
from functools import partial

import pytest
import torch
from torch import nn

from snippets.gating import (
    GatedMemory,
    check_shape,
    gate_weights,
    gru_as_attention,
    latch,
    main,
    squeeze_excitation,
)
from tests.helpers import (
    assert_close_scaled,
    check_autocast,
    check_export,
    check_foreign,
    check_shapes,
    check_sizes,
    check_strict,
    draw,
    refuses,
    run,
)

SURVIVORS = {}
B, T, H = 2, 5, 4


def some_gru(device, dtype=torch.float64):
    """An nn.GRU whose gates are far from one half and differ."""
    gru = nn.GRU(3, H, batch_first=True).to(device, dtype)
    for parameter in gru.parameters():
        nn.init.normal_(parameter)
    return gru


# Shapes and errors


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


def test_shapes_are_those_of_the_docstrings(device):
    x, h = draw(device, 2, 5, 3), draw(device, 2, 4)
    check_shapes(GatedMemory(3, 4).to(x), x=x, h=h)
    check_shapes(gate_weights, a=draw(device, 2, 5, 4), S=6)
    gru = some_gru(device)
    check_shapes(gru_as_attention, gru=gru, x=x, h=h, S=6)
    W_1, W_2 = draw(device, 4, 6), draw(device, 6, 4)
    check_shapes(squeeze_excitation, x=draw(device, 2, 5, 6), W_1=W_1, W_2=W_2)


@pytest.mark.parametrize(
    "x, h, message",
    [
        ((2, 3), None, "x must be (B, T, 3) with B, T >= 1, got (2, 3)"),
        ((2, 0, 3), None, "x must be (B, T, 3) with B, T >= 1, got (2, 0, 3)"),
        ((2, 5, 4), None, "x must be (B, T, 3) with B, T >= 1, got (2, 5, 4)"),
        ((2, 5, 3), (1, 4), "h must be (2, 4), got (1, 4)"),
        ((2, 5, 3), (2, 1), "h must be (2, 4), got (2, 1)"),
        ((2, 5, 3), (1, 2, 4), "h must be (2, 4), got (1, 2, 4)"),
    ],
)
def test_other_shapes_are_refused(x, h, message):
    h = None if h is None else torch.zeros(h)
    with pytest.raises(ValueError, match=re.escape(message)):
        GatedMemory(3, 4)(torch.zeros(x), h)


def test_foreign_input_is_refused(device):
    check_foreign(GatedMemory, device)


def test_the_memory_can_be_exported_and_runs_under_autocast(device):
    check_export(GatedMemory)
    check_autocast(GatedMemory, device)


def test_only_a_batch_first_gru_of_one_layer_can_be_taken_apart(device):
    x = draw(device, 5, 5, 3)  # as many steps as examples: no shape would tell
    time_first = nn.GRU(3, 4).to(x)
    rule = f"gru must be a batch-first nn.GRU, got {time_first}"
    refuses(rule, gru_as_attention, time_first, x)
    lstm = nn.LSTM(3, 4, batch_first=True).to(x)
    refuses(f"gru must be a batch-first nn.GRU, got {lstm}", gru_as_attention, lstm, x)
    for other in ({"num_layers": 2}, {"bidirectional": True}, {"bias": False}):
        gru = nn.GRU(3, 4, batch_first=True, **other).to(x)
        rule = f"gru must be one layer, one way, biased, got {gru}"
        refuses(rule, gru_as_attention, gru, x)
    gru = nn.GRU(3, 4, batch_first=True).to(x)
    refuses(
        "h must be (5, 4), got (1, 4)", gru_as_attention, gru, x, draw(device, 1, 4)
    )
    rule = "x must be torch.float64, got torch.float32"
    refuses(rule, gru_as_attention, gru, x.float())


def test_weights_and_channels_that_do_not_fit_are_refused(device):
    rule = "a must be (B, T, H) with B, T, H >= 1, got (2, 5)"
    refuses(rule, gate_weights, draw(device, 2, 5))
    whole = torch.ones(2, 5, 4, dtype=torch.int64, device=device)
    refuses("a must be of a float type, got torch.int64", gate_weights, whole)
    x, W = draw(device, 2, 5, 6), draw(device, 3, 6)
    refuses("W_2 must be (6, 3), got (3, 6)", squeeze_excitation, x, W, W)
    rule = "x must be (B, T, C) with B, T, C >= 1, got (5, 6)"
    refuses(rule, squeeze_excitation, x[0], W, W.T)
    rule = "W_1 must be (H, 6) with H >= 1, got (6, 3)"
    refuses(rule, squeeze_excitation, x, W.T, W.T)
    rule = "W_1 must be torch.float64, got torch.float32"
    refuses(rule, squeeze_excitation, x, W.float(), W.T)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_many_small_gates_stay_in_range(dtype, device):
    """In half precision the logarithms would leave it, in single lose digits."""
    a = torch.full((1, 500, 1), -300.0, dtype=dtype, device=device)
    weights = gate_weights(a)[0, :, :, 0]
    last = torch.eye(500, 501, device=device).roll(1, 1)  # all to the newest
    assert weights.dtype == dtype and torch.equal(weights, last.to(dtype))
    a = draw(device, 1, 4000, 1).to(dtype) - 3
    z = torch.sigmoid(a.double()[0, -3:, 0])
    shares = (1 - z) * torch.stack((z[1] * z[2], z[2], torch.ones_like(z[2])))
    found = gate_weights(a)[0, -1, -3:, 0].double()
    assert_close_scaled(found, shares, 2 * torch.finfo(dtype).eps)


def test_latch_of_nothing_is_refused():
    check_sizes(partial(latch, generator=torch.Generator()), batch_size=2, steps=3)


def test_latch():
    generator = torch.Generator().manual_seed(0)
    sizes = {"batch_size": 50, "steps": 40, "B": 50, "T": 40}
    x, y = check_shapes(latch, generator=generator, **sizes)
    assert set(x[..., 1].unique().tolist()) == {0, 1} and x[:, 0, 1].all()
    assert 0.05 < x[:, 1:, 1].mean() < 0.15
    for values, marks, answers in zip(x[..., 0], x[..., 1], y):
        held = None
        for value, mark, answer in zip(values, marks, answers):
            held = value if mark else held
            assert answer == held


# GatedMemory is its two equations, and an average of what it wrote


@pytest.mark.parametrize("given", [False, True])
def test_memory_equals_its_equations(given, device):
    x = draw(device, B, T, 3)
    model = GatedMemory(3, H).to(x)
    h = draw(device, B, H) if given else None
    out, last = model(x, h)
    for b in range(B):
        for j in range(H):
            state = h[b, j] if given else 0.0
            for t in range(T):
                a = model.W_z.weight[j] @ x[b, t] + model.W_z.bias[j]
                n = model.W_n.weight[j] @ x[b, t] + model.W_n.bias[j]
                z = 1 / (1 + (-a).exp())
                state = (1 - z) * n + z * state
                assert abs(out[b, t, j] - state) < 1e-12
            assert last[b, j] == out[b, -1, j]


def test_memory_is_the_average_of_its_candidates(device):
    x, h = draw(device, B, T, 3), draw(device, B, H)
    model = GatedMemory(3, H).to(x)
    weights = gate_weights(model.W_z(x))
    sources = torch.cat((h.unsqueeze(1), model.W_n(x)), 1)
    out = torch.einsum("btsh,bsh->bth", weights, sources)
    assert_close_scaled(model(x, h)[0], out, 1e-12)


def test_weights_are_products_of_gates(device):
    a = draw(device, B, T, H)
    z, weights = torch.sigmoid(a), gate_weights(a)
    for t in range(T):
        for s in range(T + 1):
            written = torch.ones_like(z[:, 0]) if s == 0 else 1 - z[:, s - 1]
            want = written * z[:, s : t + 1].prod(1) if s <= t + 1 else 0 * written
            assert_close_scaled(weights[:, t, s], want, 1e-12)
    assert (weights.sum(2) - 1).abs().max() < 1e-12


def test_weights_of_a_gate_that_is_nearly_open_or_shut():
    a = torch.tensor([[[400.0], [-400.0], [400.0], [400.0]]])
    weights = gate_weights(a)[0, :, :, 0]
    assert weights.isfinite().all()
    assert torch.equal(weights[-1], torch.tensor([0.0, 0, 1, 0, 0]))


def test_gradients_reach_every_parameter(device):
    x, h = draw(device, B, T, 3), draw(device, B, H)
    found = run(GatedMemory(3, H).to(x), x, h)
    assert sum(name.startswith("gradient") for name in found) == 6
    for name, value in found.items():
        assert (value != 0).all(), name


def test_no_state_reads_the_future(device):
    x = draw(device, 1, T, 3).requires_grad_()
    out, _ = GatedMemory(3, H).to(x)(x)
    (gradient,) = torch.autograd.grad(out[0, 2].sum(), x)
    assert (gradient[0, :3] != 0).all() and (gradient[0, 3:] == 0).all()


def test_ratios_of_old_sources_never_change(device):
    weights = gate_weights(draw(device, B, T, H))
    for s in range(1, T):
        ratio = weights[:, s:, s - 1] / weights[:, s:, s]
        assert_close_scaled(ratio, ratio[:, :1].expand_as(ratio), 1e-12)


# An nn.GRU


@pytest.mark.parametrize("dtype, rel", [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("given", [False, True])
def test_gru_equals_torch_forward_and_backward(given, dtype, rel, device):
    gru = some_gru(device, dtype)
    x = draw(device, B, T, 3, dtype=dtype).requires_grad_()
    h = draw(device, B, H, dtype=dtype) if given else None
    found, weights = gru_as_attention(gru, x, h)
    wanted, _ = gru(x, None if h is None else h.unsqueeze(0))
    assert_close_scaled(found, wanted, rel)
    assert (weights.sum(2) - 1).abs().max() < rel
    share = draw(device, B, T, H, dtype=dtype)
    leaves = [x, *gru.parameters()]
    found = torch.autograd.grad((found * share).sum(), leaves)
    wanted = torch.autograd.grad((wanted * share).sum(), leaves)
    for a, b in zip(found, wanted):
        assert_close_scaled(a, b, rel, "gradient")


def test_a_gru_of_one_step(device):
    gru, x = some_gru(device), draw(device, B, 1, 3)
    out, weights = gru_as_attention(gru, x)
    assert weights.shape == (B, 1, 2, H)
    assert_close_scaled(out, gru(x)[0], 1e-12)


# Squeeze and excitation


def test_se_equals_the_layers_of_a_convolutional_network(device):
    image, C, narrow = draw(device, B, 6, 3, 4), 6, 2
    W_1, W_2 = draw(device, narrow, C), draw(device, C, narrow)
    down, up = (nn.Conv2d(*n, 1, bias=False) for n in ((C, narrow), (narrow, C)))
    block = nn.Sequential(nn.AdaptiveAvgPool2d(1), down, nn.ReLU(), up, nn.Sigmoid())
    block = block.to(image)
    down.weight.data, up.weight.data = W_1[..., None, None], W_2[..., None, None]
    out, gate = squeeze_excitation(image.flatten(2).mT, W_1, W_2)
    assert_close_scaled(out.mT.view_as(image), block(image) * image, 1e-12)
    assert_close_scaled(gate, block(image)[..., 0, 0], 1e-12)
    assert gate.min() > 0 and gate.max() < 1


# The numbers of the page


def test_the_example_by_hand():
    written = torch.tensor([0.5, 0.25, 0.5], dtype=torch.float64)
    weights = gate_weights(torch.logit(1 - written).view(1, 3, 1))[0, :, :, 0]
    wanted = [[0.5, 0.5, 0, 0], [0.375, 0.375, 0.25, 0], [0.1875, 0.1875, 0.125, 0.5]]
    assert_close_scaled(weights, torch.tensor(wanted, dtype=torch.float64), 1e-12)
    assert abs(weights[1, 1] / weights[1, 2] - 1.5) < 1e-12
    assert abs(weights[2, 1] / weights[2, 2] - 1.5) < 1e-12
    n = torch.tensor([0.0, 8, 4, 2], dtype=torch.float64)
    assert (weights @ n - torch.tensor([4.0, 4, 3])).abs().max() < 1e-12
    # the logits e_s, whose softmax over the past this is
    share = torch.tensor([1.0, 1, 2 / 3, 8 / 3], dtype=torch.float64)
    assert_close_scaled(weights[2], share / share.sum(), 1e-12)
    assert_close_scaled(weights[1, :3], share[:3] / share[:3].sum(), 1e-12)


def test_the_queries_by_hand():
    scores = torch.tensor([[0.0, 2, -9e9, -9e9], [2, 0, 0, -9e9], [0, 0, 2, 0]])
    wanted = [[12, 88, 0, 0], [79, 11, 11, 0], [10, 10, 71, 10]]
    assert (100 * scores.softmax(1)).round().tolist() == wanted
    weights = scores.softmax(1)
    assert abs(weights[1, 1] / weights[1, 2] - 1) < 1e-6
    assert abs(weights[2, 1] / weights[2, 2] - 0.1353) < 1e-4


# It learns


def test_main_is_deterministic(device, capsys):
    losses = main(2, 0, device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("squared error" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device):
    losses = main(device=device)
    assert losses[0] > 0.5 and sum(losses[-20:]) / 20 < 0.1
