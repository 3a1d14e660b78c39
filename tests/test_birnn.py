"""BiLSTM against nn.LSTM(bidirectional=True), who sees whom, the page's numbers."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from snippets.birnn import (
    BiLSTM,
    check_shape,
    main,
    meeting,
)
from tests.helpers import (
    assert_close_scaled,
    check_shapes,
    check_sizes,
    check_strict,
    draw,
    refuses,
    run,
    wide,
)

# (B, T, I, H)
SIZES = [(3, 7, 2, 5), (1, 4, 3, 5), (4, 1, 3, 2), (2, 60, 3, 7), (1, 1, 1, 1)]


def twin_of(input_size, hidden_size):
    return nn.LSTM(input_size, hidden_size, batch_first=True, bidirectional=True)


def theirs(name):
    """The twin's name of a parameter of ours."""
    half, _, name = name.partition(".")
    return name + {"forth": "", "back": "_reverse"}[half]


def with_weights_of(twin):
    """A BiLSTM whose halves are those of the twin's state dict."""
    ours, given = BiLSTM(twin.input_size, twin.hidden_size), twin.state_dict()
    ours.load_state_dict({name: given[theirs(name)] for name in ours.state_dict()})
    return ours


# Shapes and errors


def test_shapes_are_those_of_the_docstring(device):
    model = BiLSTM(3, 5).to(device)
    x = torch.randn(4, 7, 3).to(device)
    state = torch.randn(2, 4, 5).to(device), torch.randn(2, 4, 5).to(device)
    check_shapes(model, x=x, H=5)
    check_shapes(model, x=x, state=state)


def test_meeting_is_an_xor_with_the_bit_ahead():
    generator = torch.Generator().manual_seed(0)
    x, y = check_shapes(
        meeting, batch_size=500, steps=9, ahead=3, generator=generator, B=500, T=9
    )
    bits = x.squeeze(2).long()
    assert set(bits.unique().tolist()) == {0, 1} and abs(bits.sum() / 4500 - 0.5) < 0.03
    assert torch.equal(y[:, :6], (bits[:, :6] != bits[:, 3:]).long())
    assert (y[:, 6:] == -100).all()
    for ahead in (-1, 0, 5, 6):
        rule = f"ahead must be 1 to steps - 1, got {ahead}"
        refuses(rule, meeting, 2, 5, ahead, generator)
    check_sizes(partial(meeting, ahead=1, generator=generator), batch_size=2, steps=5)
    assert (meeting(2, 5, 4, generator)[1][:, 1:] == -100).all()


@pytest.mark.parametrize(
    "shape, message",
    [
        ((4, 3), "x must be (B, T, 3) with B, T >= 1, got (4, 3)"),
        ((2, 4, 3, 1), "x must be (B, T, 3) with B, T >= 1, got (2, 4, 3, 1)"),
        ((2, 0, 3), "x must be (B, T, 3) with B, T >= 1, got (2, 0, 3)"),
        ((0, 4, 3), "x must be (B, T, 3) with B, T >= 1, got (0, 4, 3)"),
        ((2, 4, 2), "x must be (B, T, 3) with B, T >= 1, got (2, 4, 2)"),
        ((2, 4, 4), "x must be (B, T, 3) with B, T >= 1, got (2, 4, 4)"),
    ],
)
def test_wrong_inputs_are_refused(shape, message, device):
    with pytest.raises(ValueError) as caught:
        BiLSTM(3, 5).to(device)(torch.zeros(shape, device=device))
    assert str(caught.value) == message


@pytest.mark.parametrize("which", ["h", "c"])
@pytest.mark.parametrize(
    "shape", [(1, 4, 5), (3, 4, 5), (2, 3, 5), (2, 5, 5), (2, 4, 6), (4, 5)]
)
def test_wrong_states_are_refused(which, shape, device):
    good, bad = torch.zeros(2, 4, 5, device=device), torch.zeros(shape, device=device)
    state = (bad, good) if which == "h" else (good, bad)
    with pytest.raises(ValueError) as caught:
        BiLSTM(3, 5).to(device)(torch.zeros(4, 6, 3, device=device), state)
    assert str(caught.value) == f"{which} must be (2, 4, 5), got {shape}"


def test_foreign_input_is_refused(device):
    model, x = BiLSTM(3, 5).to(device), draw(device, 2, 4, 3)
    packed = nn.utils.rnn.pack_sequence(list(x.float()))
    refuses("x must be a tensor, got PackedSequence", model, packed)
    refuses("x must be torch.float32, got torch.float64", model, x)
    h = draw(device, 2, 2, 5)
    refuses("h must be torch.float32, got torch.float64", model, x.float(), (h, h))
    refuses("state must be (h, c), got 3 parts", model, x.float(), (h, h, h))
    for sizes, name in (((0, 5), "input"), ((3, 0), "hidden")):
        refuses(f"{name}_size must be a whole number >= 1, got 0", BiLSTM, *sizes)


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


# BiLSTM is nn.LSTM(bidirectional=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("B, T, I, H", SIZES)
def test_equal_to_torch(B, T, I, H, with_state, dtype, device):  # noqa: E741
    rel = {torch.float64: 1e-10, torch.float32: 1e-4}[dtype]
    x = torch.randn(B, T, I).to(device, dtype)
    state = torch.randn(2, B, H).to(x), torch.randn(2, B, H).to(x)
    twin = wide(twin_of(I, H)).to(x)
    ours = with_weights_of(twin).to(x)
    # the states of both are (2, B, H)
    ours_all = run(ours, x, state if with_state else None)
    twin_all = run(twin, x, state if with_state else None)
    named = {f"gradient of {n}": theirs(n) for n, _ in ours.named_parameters()}
    assert len(ours_all) == len(twin_all) == 3 + (3 if with_state else 1) + 8
    for name, value in ours_all.items():
        twins = f"gradient of {named[name]}" if name in named else name
        assert_close_scaled(value, twin_all[twins], rel, name)


def test_the_state_dict_is_the_twins_in_two_halves():
    ours, twin = BiLSTM(3, 5).state_dict(), twin_of(3, 5).state_dict()
    assert [theirs(name) for name in ours] == list(twin)
    shapes = [tensor.shape for tensor in twin.values()]
    assert [tensor.shape for tensor in ours.values()] == shapes


def test_same_seed_same_initial_weights_as_torch():
    torch.manual_seed(1)
    ours = BiLSTM(3, 7).state_dict()
    torch.manual_seed(1)
    twin = twin_of(3, 7).state_dict()
    assert all(torch.equal(ours[name], twin[theirs(name)]) for name in ours)


def test_twice_the_parameters_of_an_lstm():
    count = sum(p.numel() for p in BiLSTM(3, 5).parameters())
    assert count == 2 * sum(p.numel() for p in nn.LSTM(3, 5).parameters())
    assert count == 8 * 5 * (3 + 5 + 2)


def test_no_state_means_zeros(device):
    model = wide(BiLSTM(3, 5)).to(device)
    x = torch.randn(4, 6, 3).to(device)
    zeros = torch.zeros(2, 4, 5, device=device)
    assert torch.equal(model(x)[0], model(x, (zeros, zeros))[0])


# Who sees whom


def seen(model, x, half, H):
    """Which inputs each output of one half depends on: (T, T), row by output."""
    x = x.clone().requires_grad_()
    out = model(x)[0][:, :, half * H : (half + 1) * H]
    rows = [torch.autograd.grad(o.square().sum(), x, retain_graph=True)[0]
            for o in out.unbind(1)]  # fmt: skip
    return torch.stack([row.abs().sum((0, 2)) for row in rows])


def test_two_triangles(device):
    """Exact zeros: the future in the forward half, the past in the other."""
    model, x = wide(BiLSTM(3, 5)).to(device), torch.randn(2, 7, 3).to(device)
    lower = torch.ones(7, 7, dtype=torch.bool, device=device).tril()
    assert torch.equal(seen(model, x, 0, 5) > 0, lower)
    assert torch.equal(seen(model, x, 1, 5) > 0, lower.mT)


def test_each_half_is_an_lstm_that_knows_nothing_of_the_other(device):
    model, x = wide(BiLSTM(3, 5)).to(device), torch.randn(2, 7, 3).to(device)
    out, (h, c) = model(x)
    forth, (h_f, c_f) = model.forth(x)
    back, (h_b, c_b) = model.back(x.flip(1))
    assert_close_scaled(out, torch.cat((forth, back.flip(1)), 2).detach(), 1e-5)
    assert_close_scaled(h, torch.cat((h_f, h_b)).detach(), 1e-5)
    assert_close_scaled(c, torch.cat((c_f, c_b)).detach(), 1e-5)


def test_where_the_last_states_live(device):
    model, x = wide(BiLSTM(3, 5)).to(device), torch.randn(2, 7, 3).to(device)
    out, (h, c) = model(x)
    assert torch.equal(h[0], out[:, -1, :5])
    assert torch.equal(h[1], out[:, 0, 5:])
    assert not torch.allclose(h[1], out[:, -1, 5:])
    assert not torch.allclose(h, c)


def test_backwards_in_time_the_halves_change_places(device):
    """Give each half the other's weights and the reversed input."""
    model, swapped = wide(BiLSTM(3, 5)).to(device), BiLSTM(3, 5).to(device)
    swapped.forth.load_state_dict(model.back.state_dict())
    swapped.back.load_state_dict(model.forth.state_dict())
    x = torch.randn(2, 7, 3).to(device)
    out, (h, _) = model(x)
    turned, (h_turned, _) = swapped(x.flip(1))
    assert_close_scaled(turned.flip(1).roll(5, 2), out.detach(), 1e-5)
    assert_close_scaled(h_turned.flip(0), h.detach(), 1e-5)


def test_examples_of_a_batch_do_not_mix(device):
    model = wide(BiLSTM(3, 5)).to(device)
    x = torch.randn(4, 6, 3).to(device)
    swapped = model(x.flip(0))[0].flip(0)
    assert_close_scaled(model(x)[0], swapped.detach(), 1e-5)


def test_gradients_reach_every_parameter(device):
    model = BiLSTM(3, 5).to(device)
    x = torch.randn(4, 6, 3).to(device)
    state = torch.randn(2, 4, 5).to(device), torch.randn(2, 4, 5).to(device)
    model(x, state)[0].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad != 0).all(), name


def test_the_last_output_teaches_the_backward_half_nothing_about_recurrence(device):
    """One step from zero: no gradient for its state's weights, nor its forget gate."""
    model, x = wide(BiLSTM(3, 5)).to(device), torch.randn(4, 6, 3).to(device)
    model(x)[0][:, -1].square().sum().backward()
    back, forget = model.back, slice(5, 10)
    assert (back.weight_hh_l0.grad == 0).all()
    assert all((p.grad[forget] == 0).all() for p in back.parameters())
    assert (back.weight_ih_l0.grad[:5] != 0).all()
    assert (model.forth.weight_hh_l0.grad != 0).all()
    model.zero_grad()
    model(x)[1][0].square().sum().backward()
    assert (back.weight_hh_l0.grad != 0).all()


def test_only_packing_keeps_padding_out_of_both_halves(device):
    """What the folded section of #limits says, on torch's own class."""
    twin = wide(twin_of(3, 5)).to(device, torch.float64)
    x, lengths = draw(device, 3, 7, 3), [4, 7, 2]
    for row, n in zip(x, lengths):
        row[n:] = 0
    padded, (h_padded, _) = twin(x)
    packed = pack_padded_sequence(x, torch.tensor(lengths), True, False)
    out, (h_packed, _) = twin(packed)
    out, got = pad_packed_sequence(out, batch_first=True)
    assert got.tolist() == lengths
    for b, n in enumerate(lengths):
        alone, (h, _) = twin(x[b : b + 1, :n])
        assert_close_scaled(out[b, :n], alone[0].detach(), 1e-10)
        assert_close_scaled(h_packed[:, b], h[:, 0].detach(), 1e-10)
        assert_close_scaled(padded[b, :n, :5], alone[0, :, :5].detach(), 1e-10)
        if n < 7:
            assert (out[b, n:] == 0).all()
            assert (padded[b, n - 1, 5:] - alone[0, n - 1, 5:]).abs().max() > 1e-3
            assert (h_padded[0, b] - h[0, 0]).abs().max() > 1e-3


# The numbers of the page


@torch.no_grad()
def test_by_hand(device):
    """Every gate open, the input a ten-thousandth: an LSTM that adds."""
    model = BiLSTM(1, 1).to(device, torch.float64)
    for p in model.parameters():
        p.zero_()
    for half in (model.forth, model.back):
        half.bias_ih_l0.copy_(torch.tensor([40.0, 40.0, 0.0, 40.0]))
        half.weight_ih_l0[2] = 1.0
    x = torch.tensor([[[1.0], [2.0], [3.0]]], dtype=torch.float64, device=device)
    out, (h, _) = model(x / 1e4)
    shown = [[f"{value * 1e4:.4f}" for value in row] for row in out[0].tolist()]
    assert shown == [["1.0000", "6.0000"], ["3.0000", "5.0000"], ["6.0000", "3.0000"]]
    assert [f"{value * 1e4:.4f}" for value in h.flatten().tolist()] == ["6.0000"] * 2


# It learns


def test_main_returns_its_losses(capsys, device):
    losses = main(steps=2, device=device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("xor x[t + 3]" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device):
    losses = main(device=device)
    assert sum(losses[:10]) / 10 > 0.6
    assert sum(losses[-10:]) / 10 < 0.1
