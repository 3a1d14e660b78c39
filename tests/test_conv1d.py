"""CausalConv1d against nn.Conv1d on input padded on the left, and the wall."""

import re

import pytest
import torch
from torch import nn

from snippets.conv1d import (
    TCN,
    CausalConv1d,
    adding,
    check_shape,
    main,
)
from tests.helpers import (
    assert_close_scaled,
    check_adding,
    check_shapes,
    check_strict,
)

SURVIVORS = {
    "CausalConv1d.forward: (0, 0, (len(W) - 1) * d, 0) -> "
    "(0, 0, (len(W) - 1) * d, 1)": "a zero behind the end: every tap stops before it",
}
REL = {torch.float64: 1e-10, torch.float32: 1e-4}
DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
# (B, T, I, C, K, d)
SIZES = [
    (2, 7, 3, 5, 3, 1),
    (3, 20, 2, 4, 2, 4),
    (1, 4, 5, 3, 4, 3),  # the first tap lies before the beginning throughout
    (2, 1, 3, 2, 3, 2),
    (4, 9, 3, 3, 1, 5),
    (1, 1, 1, 1, 1, 1),
]


def draw(device, *shape, dtype=torch.float64):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=dtype).to(device)


def gradients(output, inputs):
    """Of a sum in which no two numbers weigh the same."""
    weight = draw(output.device, *output.shape).to(output)
    return torch.autograd.grad((output * weight).sum(), inputs)


def lags_seen(model, x):
    """How many steps back from the last one the gradient is not 0, in order."""
    x = x.requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, -1].square().sum(), x)
    seen = gradient.abs().sum((0, 2)).flip(0)
    return [lag for lag, size in enumerate(seen.tolist()) if size > 0]


# Shapes and errors


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


def test_shapes_are_those_of_the_docstrings(device):
    x = draw(device, 2, 7, 3)
    check_shapes(CausalConv1d(3, 5, 4, 2).to(x), x=x, C=5)
    check_shapes(TCN(3, 5, 2, 3).to(x), x=x, C=5)


def test_adding_marks_two_and_answers_their_sum():
    check_adding(adding)


@pytest.mark.parametrize(
    "shape, want",
    [
        ((4, 3), "(B, T, 3) with B, T >= 1, got (4, 3)"),
        ((2, 4, 3, 1), "(B, T, 3) with B, T >= 1, got (2, 4, 3, 1)"),
        ((2, 0, 3), "(B, T, 3) with B, T >= 1, got (2, 0, 3)"),
        ((0, 4, 3), "(B, T, 3) with B, T >= 1, got (0, 4, 3)"),
        ((2, 3, 4), "(B, T, 3) with B, T >= 1, got (2, 3, 4)"),  # torch's order
        ((2, 4, 2), "(B, T, 3) with B, T >= 1, got (2, 4, 2)"),
    ],
)
def test_input_of_another_shape_is_refused(shape, want, device):
    x = torch.zeros(shape, device=device)
    for model in (CausalConv1d(3, 5, 2), TCN(3, 5, 2, 2)):
        with pytest.raises(ValueError, match=f"^{re.escape(f'x must be {want}')}$"):
            model.to(device)(x)


def test_one_of_each_is_enough(device):
    one = torch.zeros(1, 1, 3, device=device)
    assert CausalConv1d(3, 5, 1).to(device)(one).shape == (1, 1, 5)


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("size", [0, -1, 2.0])
def test_sizes_below_one_are_refused(place, size):
    names = "in_channels", "out_channels", "kernel_size", "dilation"
    sizes = [3, 5, 2, 1]
    sizes[place] = size
    rule = f"{names[place]} must be a whole number >= 1, got {size}"
    with pytest.raises(ValueError, match=f"^{re.escape(rule)}$"):
        CausalConv1d(*sizes)


@pytest.mark.parametrize("levels", [0, -1])
def test_a_tcn_has_a_level(levels):
    rule = f"levels must be a whole number >= 1, got {levels}"
    with pytest.raises(ValueError, match=f"^{rule}$"):
        TCN(3, 5, 2, levels)


def test_foreign_input_is_refused(device):
    ours, x = CausalConv1d(3, 5, 2).to(device), torch.zeros(2, 4, 3, device=device)
    with pytest.raises(ValueError, match="x must be torch.float32, got torch.float64"):
        ours(x.double())
    with pytest.raises(ValueError, match="x must be a tensor, got list"):
        ours(x.tolist())


def test_the_start_is_that_of_torch_and_can_be_drawn_anew():
    starts = []
    for make in (CausalConv1d, nn.Conv1d):
        torch.manual_seed(1)
        starts.append(make(3, 5, 2).state_dict())
    model = CausalConv1d(3, 5, 2)
    torch.manual_seed(1)
    model.reset_parameters()
    starts.append(model.state_dict())
    for name, value in starts[1].items():
        assert torch.equal(starts[0][name], value), name
        assert torch.equal(starts[2][name], value), name


def test_it_can_be_exported_with_a_free_batch():
    model, x = TCN(3, 5, 2, 2), torch.randn(2, 4, 3)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (x,), dynamic_shapes=(batch,))
    x = torch.randn(7, 4, 3)
    assert torch.allclose(program.module()(x), model(x), atol=1e-6)


def test_check_shape_without_letters_names_none():
    with pytest.raises(ValueError, match=r"^h must be \(2, 3\), got \(3, 2\)$"):
        check_shape("h", torch.zeros(3, 2), 2, 3)


# CausalConv1d is nn.Conv1d on input padded on the left


@DTYPES
@pytest.mark.parametrize("B, T, I, C, K, d", SIZES)
def test_equal_to_torch(B, T, I, C, K, d, dtype, device):  # noqa: E741
    twin = nn.Conv1d(I, C, K, dilation=d).to(device, dtype)
    ours = CausalConv1d(I, C, K, d).to(device, dtype)
    ours.load_state_dict(twin.state_dict())
    x = draw(device, B, T, I, dtype=dtype).requires_grad_()
    padded = nn.functional.pad(x.mT, ((K - 1) * d, 0))
    found, wanted = ours(x), twin(padded).mT
    assert_close_scaled(found, wanted, REL[dtype], "output")
    found = gradients(found, [x, *ours.parameters()])
    wanted = gradients(wanted, [x, *twin.parameters()])
    for a, b in zip(found, wanted):
        assert_close_scaled(a, b, REL[dtype], "gradient")


def test_same_seed_same_initial_weights_as_torch():
    torch.manual_seed(1)
    ours = CausalConv1d(3, 5, 4).state_dict()
    torch.manual_seed(1)
    twin = nn.Conv1d(3, 5, 4).state_dict()
    assert list(ours) == list(twin)
    assert all(torch.allclose(ours[n], twin[n], atol=1e-7) for n in twin)


def test_dilation_is_one_unless_said():
    assert CausalConv1d(1, 1, 2).dilation == 1


# The field and its wall


@pytest.mark.parametrize("K, d", [(1, 3), (2, 1), (3, 2), (4, 5)])
def test_one_layer_sees_its_taps_and_nothing_else(K, d, device):
    x = draw(device, 2, 40, 3)
    seen = lags_seen(CausalConv1d(3, 5, K, d).to(x), x)
    assert seen == [k * d for k in range(K)]


@pytest.mark.parametrize("K, levels", [(1, 3), (2, 1), (2, 4), (3, 4), (5, 2), (4, 3)])
def test_field_by_gradient_is_the_formula(K, levels, device):
    model = TCN(3, 16, K, levels).to(device, torch.float64)
    assert model.field == 1 + sum((K - 1) * 2**level for level in range(levels))
    seen = lags_seen(model, draw(device, 4, model.field + 9, 3))
    assert seen == list(range(model.field))  # no holes, and then a wall


def test_what_lies_behind_the_wall_has_no_influence_at_all(device):
    model = TCN(3, 8, 3, 3).to(device, torch.float64)
    x = draw(device, 2, 40, 3)
    other = x.clone()
    other[:, : 40 - model.field] = 1e6
    assert torch.equal(model(other)[:, -1], model(x)[:, -1])
    other[:, 40 - model.field] += 1  # the last step inside
    assert (model(other)[:, -1] != model(x)[:, -1]).any()


@pytest.mark.parametrize(
    "make", [lambda: CausalConv1d(3, 8, 3, 2), lambda: TCN(3, 8, 3, 2)]
)
def test_no_step_sees_the_future(make, device):
    x = draw(device, 2, 9, 3).requires_grad_()
    out = make().to(x)(x)
    (gradient,) = torch.autograd.grad(out[:, 4].square().sum(), x)
    seen = gradient.abs().sum((0, 2))
    assert (seen[5:] == 0).all() and seen[4] > 0


def test_a_later_input_gives_a_later_output(device):
    """Behind the zeros of the beginning, shifting in is shifting out."""
    model = TCN(3, 8, 2, 3).to(device, torch.float64)
    x = draw(device, 2, 30, 3)
    later = torch.cat((draw(device, 2, 5, 3), x), 1)
    whole, shifted = model(x), model(later)[:, 5:]
    assert_close_scaled(
        shifted[:, model.field - 1 :], whole[:, model.field - 1 :], 1e-12
    )
    assert (shifted[:, 0] != whole[:, 0]).any()


def test_examples_of_a_batch_do_not_mix(device):
    model = TCN(3, 8, 2, 3).to(device, torch.float64)
    x = draw(device, 4, 9, 3)
    assert_close_scaled(model(x), model(x.flip(0)).flip(0), 1e-12)


def test_tcn_is_its_equations(device):
    model = TCN(3, 4, 3, 3).to(device, torch.float64)
    x = draw(device, 2, 12, 3)
    h = x
    for level, conv in enumerate(model.levels):
        d = 2**level
        new = torch.zeros(2, 12, 4).to(x)
        for t in range(12):
            for j in range(3):
                lag = (2 - j) * d
                if t - lag >= 0:
                    new[:, t] += h[:, t - lag] @ conv.weight[:, :, j].T
        new = (new + conv.bias).clamp(min=0)
        h = new if level == 0 else h + new
    assert_close_scaled(model(x), h, 1e-12)


def test_parameters(device):
    model = TCN(2, 8, 3, 4)
    assert sum(p.numel() for p in model.parameters()) == 8 * (3 * 2 + 1) + 3 * 8 * 25
    x = draw(device, 2, 31, 2)
    model = model.to(x)
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad != 0).any(), name


# The numbers on the page


def test_by_hand_averages_of_averages(device):
    x = torch.arange(1.0, 9.0, device=device).view(1, 8, 1)
    h, last = x, []
    for dilation in (1, 2, 4):
        layer = CausalConv1d(1, 1, 2, dilation).to(device)
        with torch.no_grad():
            layer.weight.fill_(0.5)
            layer.bias.zero_()
        h = layer(h)
        last.append(h[0, -1, 0].item())
    assert last == [7.5, 6.5, 4.5]
    assert x.mean().item() == 4.5


def test_by_hand_fields(device):
    x = draw(device, 2, 70, 2)
    assert TCN(2, 2, 3, 4).field == 31
    layers = [CausalConv1d(2, 2, 3, d) for d in (1, 1, 2, 2, 4, 4, 8, 8)]
    assert lags_seen(nn.Sequential(*layers).to(x), x) == list(range(61))


def test_by_hand_multiply_adds():
    """Every weight of a matrix is used once a step."""
    layers = [CausalConv1d(32, 32, 3), TCN(32, 32, 3, 5), nn.RNN(32, 32)]
    layers.append(nn.LSTM(32, 32))
    counts = [sum(p.numel() for p in m.parameters() if p.ndim > 1) for m in layers]
    assert counts == [3072, 15360, 2048, 8192]


# It learns


def test_main_returns_its_losses(capsys, device):
    losses = main(steps=2, device=device)
    assert len(losses) == 2 and losses == main(2, 0, device) != main(2, 1, device)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 and all(line.startswith("field 63, ") for line in lines)


@pytest.mark.slow
def test_main_learns(device):
    losses = main(device=device)
    assert sum(losses[:20]) / 20 > 0.1
    assert sum(losses[-20:]) / 20 < 0.01
