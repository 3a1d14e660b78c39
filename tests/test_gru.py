"""GRU against nn.GRU, GRUCho2014 against its equations written out, and each other."""

import pytest
import torch
from torch import nn

from snippets.gru import (
    GRU,
    GRUCho2014,
    adding,
    check_shape,
    main,
)
from tests.helpers import (
    SIZES,
    assert_close_scaled,
    check_adding,
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
    check_start,
    check_strict,
    compare_with_twin,
    draw,
    run,
    wide,
)

BOTH = pytest.mark.parametrize("cls", [GRU, GRUCho2014])


def pair(device, input_size=3, hidden_size=5):
    """Both GRUs with the same weights, in float64."""
    like = torch.zeros((), device=device, dtype=torch.float64)
    torch_form = wide(GRU(input_size, hidden_size)).to(like)
    paper_form = GRUCho2014(input_size, hidden_size).to(like)
    paper_form.load_state_dict(torch_form.state_dict())
    return torch_form, paper_form


# Shapes and errors


@BOTH
def test_shapes_are_those_of_the_docstring(cls, device):
    model = cls(3, 5).to(device)
    x, h = torch.randn(2, 7, 3).to(device), torch.randn(2, 5).to(device)
    out, last = check_shapes(model, x=x, H=5)
    assert torch.equal(out[:, -1], last)
    check_shapes(model, x=x, h=h)


def test_adding_marks_two_and_answers_their_sum():
    check_adding(adding)


@BOTH
def test_wrong_shapes_are_refused(cls, device):
    check_refusals(cls, device, "h")


@BOTH
def test_foreign_input_is_refused(cls, device):
    check_foreign(cls, device)


@BOTH
def test_it_can_be_exported_with_a_free_batch(cls):
    check_export(cls)


@BOTH
def test_the_start_can_be_drawn_anew(cls):
    check_reset(cls, nn.GRU)


@BOTH
def test_half_precision_under_autocast(cls, device):
    check_autocast(cls, device)


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


# GRU is nn.GRU


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("B, T, I, H", SIZES)
def test_equal_to_torch(B, T, I, H, with_state, dtype, device):  # noqa: E741
    x = torch.randn(B, T, I).to(device, dtype)
    h = torch.randn(B, H).to(device, dtype) if with_state else None
    compare_with_twin(GRU(I, H), nn.GRU(I, H, batch_first=True), x, h)


def test_equal_to_torch_far_from_zero(device):
    twin = wide(nn.GRU(3, 5, batch_first=True))
    compare_with_twin(GRU(3, 5), twin, draw(device, 2, 9, 3), draw(device, 2, 5))


@BOTH
def test_same_seed_same_initial_weights_as_torch(cls):
    check_start(cls, nn.GRU)


@BOTH
def test_three_times_the_parameters_of_an_rnn(cls):
    count = sum(p.numel() for p in cls(3, 5).parameters())
    assert count == 3 * sum(p.numel() for p in nn.RNN(3, 5).parameters())
    assert count == 3 * (5 * 3 + 5 * 5 + 2 * 5)


@BOTH
def test_no_state_means_zeros(cls, device):
    check_default_state(cls, device)


# GRUCho2014 is what the paper prints


def cho_written_out(model, x, h):
    """The equations of arXiv v3, one example, one step and one matrix at a time."""
    W_ir, W_iz, W_in = model.weight_ih_l0.chunk(3)
    W_hr, W_hz, W_hn = model.weight_hh_l0.chunk(3)
    b_ir, b_iz, b_in = model.bias_ih_l0.chunk(3)
    b_hr, b_hz, b_hn = model.bias_hh_l0.chunk(3)
    outs = []
    for b in range(x.shape[0]):
        h_b, outs_b = h[b], []
        for t in range(x.shape[1]):
            x_t = x[b, t]
            r = 1 / (1 + torch.exp(-(W_ir @ x_t + b_ir + W_hr @ h_b + b_hr)))
            z = 1 / (1 + torch.exp(-(W_iz @ x_t + b_iz + W_hz @ h_b + b_hz)))
            n = torch.tanh(W_in @ x_t + b_in + W_hn @ (r * h_b) + b_hn)
            h_b = (1 - z) * n + z * h_b
            outs_b.append(h_b)
        outs.append(torch.stack(outs_b))
    out = torch.stack(outs)
    return out, out[:, -1]


@pytest.mark.parametrize("B, T, I, H", SIZES)
def test_cho_equals_its_equations(B, T, I, H, device):  # noqa: E741
    _, ours = pair(device, I, H)

    class Reference(GRUCho2014):
        def forward(self, x, h):
            return cho_written_out(self, x, h)

    reference = Reference(I, H).to(ours.weight_ih_l0)
    reference.load_state_dict(ours.state_dict())
    x, h = draw(device, B, T, I), draw(device, B, H)
    found, wanted = run(ours, x, h), run(reference, x, h)
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert_close_scaled(found[name], value, 1e-10, name)


def test_the_two_forms_are_two_functions(device):
    torch_form, paper_form = pair(device)
    x, h = draw(device, 2, 6, 3), draw(device, 2, 5)
    difference = (torch_form(x, h)[0] - paper_form(x, h)[0]).abs().max()
    assert difference > 0.01


def open_reset(models):
    """Push r to exactly 1 in float64; b_hn stays what it is."""
    for model in models:
        with torch.no_grad():
            model.bias_ih_l0[: model.hidden_size] = 1000.0
        assert (model.bias_hh_l0[2 * model.hidden_size :] != 0).all()
    return models


def test_the_two_forms_agree_where_the_reset_gate_is_open(device):
    torch_form, paper_form = open_reset(pair(device))
    x, h = draw(device, 2, 20, 3), draw(device, 2, 5)
    first, second = run(torch_form, x, h), run(paper_form, x, h)
    assert_close_scaled(first["output 0"], second["output 0"], 1e-12)
    assert_close_scaled(first["output 1"], second["output 1"], 1e-12)


def test_the_two_forms_agree_with_one_unit_and_no_bias(device):
    torch_form, paper_form = pair(device, 3, 1)
    x, h = draw(device, 2, 6, 3), draw(device, 2, 1)
    with torch.no_grad():
        for model in (torch_form, paper_form):
            model.bias_hh_l0[2:] = 0
    assert_close_scaled(torch_form(x, h)[0], paper_form(x, h)[0], 1e-12)


# The note's rule: z writes


def note_written_out(model, x, h, reset_before_product):
    """The note: h <- (1 - z) h + z n; its z is ours with negated rows."""
    W_i, W_h = model.weight_ih_l0.chunk(3), model.weight_hh_l0.chunk(3)
    b_i, b_h = model.bias_ih_l0.chunk(3), model.bias_hh_l0.chunk(3)
    outs = []
    for t in range(x.shape[1]):
        from_x = [x[:, t] @ W.T + b for W, b in zip(W_i, b_i)]
        from_h = [h @ W.T + b for W, b in zip(W_h, b_h)]
        r = torch.sigmoid(from_x[0] + from_h[0])
        z = torch.sigmoid(from_x[1] + from_h[1])
        if reset_before_product:
            n = torch.tanh(from_x[2] + (r * h) @ W_h[2].T + b_h[2])
        else:
            n = torch.tanh(from_x[2] + r * from_h[2])
        h = (1 - z) * h + z * n
        outs.append(h)
    return torch.stack(outs, 1)


@pytest.mark.parametrize("form", [0, 1])
def test_negating_z_gives_the_rule_of_the_note(form, device):
    model = pair(device)[form]
    x, h = draw(device, 2, 6, 3), draw(device, 2, 5)
    with torch.no_grad():
        wanted = note_written_out(model, x, h, reset_before_product=form == 1)
        for tensor in model.parameters():
            tensor[5:10] *= -1
        assert_close_scaled(model(x, h)[0], wanted, 1e-12)


# Structure


@BOTH
def test_no_step_sees_the_future(cls, device):
    check_causal(cls, device)


@BOTH
def test_examples_of_a_batch_do_not_mix(cls, device):
    check_batch(cls, device)


@BOTH
def test_backward_costs_the_same_at_every_step(cls):
    check_graph(cls)


@BOTH
def test_gradients_reach_every_parameter(cls, device):
    check_gradients(cls, device)


# The numbers of the page


@pytest.mark.parametrize(
    "cls, view, new",
    [(GRU, (-1.0, 0.0), (0.119, -0.5)), (GRUCho2014, (0.0, 1.0), (0.5, -0.119))],
)
def test_by_hand(cls, view, new, device):
    model = cls(1, 2).to(device, torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.weight_hh_l0[4:] = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
        model.bias_ih_l0[:2] = torch.tensor([50.0, -50.0])  # r = (1, 0), z = 1/2
        x, h = draw(device, 1, 1, 1) * 0, draw(device, 1, 2) * 0
        h[0] = torch.tensor([1.0, -1.0])
        half = model(x, h)[1][0]
        assert [round(value, 3) for value in half.tolist()] == list(new)
        model.bias_ih_l0[2:4] = -1000.0  # z = 0: the state is the candidate
        seen = torch.atanh(model(x, h)[1][0])
    assert torch.allclose(seen.cpu(), torch.tensor(view, dtype=torch.float64))


# It learns


def test_main_returns_its_losses(capsys, device):
    losses = main(steps=2, device=device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all("always 1: 0.16667" in line for line in lines)


@pytest.mark.slow
def test_main_learns(device):
    losses = main(device=device)
    assert sum(losses[:20]) / 20 > 0.1
    assert sum(losses[-20:]) / 20 < 0.01
