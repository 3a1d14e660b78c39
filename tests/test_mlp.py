"""WindowMLP against its equation and nn.Conv1d, and the numbers of the page."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from snippets.mlp import (
    WindowMLP,
    check_shape,
    main,
    slide,
    waves,
)
from tests.helpers import (
    assert_close_scaled,
    check_shapes,
    check_sizes,
    check_strict,
    draw,
)


def made(device, *sizes):
    """In float64, with biases that are not small."""
    model = WindowMLP(*sizes).to(device, torch.float64)
    with torch.no_grad():
        model.hidden.bias.copy_(draw(device, *model.hidden.bias.shape))
        model.output.bias.copy_(draw(device, *model.output.bias.shape))
    return model


def detector(device, *weights):
    """One hidden unit with these weights, handed through: the score of the page."""
    model = WindowMLP(len(weights), 1, 1, 1).to(device)
    with torch.no_grad():
        model.hidden.weight.copy_(torch.tensor([weights]))
        model.output.weight.fill_(1)
        model.hidden.bias.zero_()
        model.output.bias.zero_()
    return model


def bits(device, *values):
    return torch.tensor(values, dtype=torch.float32, device=device).reshape(1, -1, 1)


# Shapes and errors


def test_shapes_are_those_of_the_docstrings(device):
    model = made(device, 7, 3, 5, 4)
    check_shapes(model, x=draw(device, 2, 7, 3), C=4)
    check_shapes(slide, model=model, x=draw(device, 2, 9, 3), C=4)
    check_shapes(slide, model=model, x=draw(device, 2, 5, 3), C=4)  # shorter


@pytest.mark.parametrize(
    "shape, message",
    [
        ((2, 6, 3), "x must be (B, 7, 3) with B >= 1, got (2, 6, 3)"),
        ((2, 8, 3), "x must be (B, 7, 3) with B >= 1, got (2, 8, 3)"),
        ((2, 3, 7), "x must be (B, 7, 3) with B >= 1, got (2, 3, 7)"),
        ((0, 7, 3), "x must be (B, 7, 3) with B >= 1, got (0, 7, 3)"),
        ((2, 21), "x must be (B, 7, 3) with B >= 1, got (2, 21)"),
        ((2, 7, 3, 1), "x must be (B, 7, 3) with B >= 1, got (2, 7, 3, 1)"),
    ],
)
def test_only_the_length_of_the_window_is_taken(shape, message, device):
    with pytest.raises(ValueError) as caught:
        WindowMLP(7, 3, 5, 4).to(device)(torch.zeros(shape, device=device))
    assert str(caught.value) == message


@pytest.mark.parametrize("shape", [(2, 0, 3), (0, 9, 3), (2, 9, 2), (2, 9)])
def test_slide_takes_any_length_but_none(shape, device):
    with pytest.raises(ValueError) as caught:
        slide(WindowMLP(7, 3, 5, 4).to(device), torch.zeros(shape, device=device))
    rule = "x must be (B, T, 3) with B, T >= 1"
    assert str(caught.value) == f"{rule}, got {shape}"


@pytest.mark.parametrize("window", [0, -3])
def test_a_window_holds_a_step(window):
    with pytest.raises(ValueError) as caught:
        WindowMLP(window, 3, 5, 4)
    assert str(caught.value) == f"window must be a whole number >= 1, got {window}"


def test_a_window_of_one_step(device):
    assert made(device, 1, 3, 5, 4)(draw(device, 2, 1, 3)).shape == (2, 4)


def test_foreign_input_is_refused(device):
    model, x = WindowMLP(4, 3, 5, 2).to(device), torch.zeros(2, 4, 3, device=device)
    for call in (model, lambda x: slide(model, x)):
        with pytest.raises(ValueError, match="must be torch.float32, got torch.int64"):
            call(x.long())
        with pytest.raises(ValueError, match="x must be a tensor, got list"):
            call(x.tolist())


def test_it_can_be_exported_with_a_free_batch():
    model, x = WindowMLP(4, 3, 5, 2), torch.randn(2, 4, 3)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (x,), dynamic_shapes=(batch,))
    x = torch.randn(7, 4, 3)
    assert torch.allclose(program.module()(x), model(x), atol=1e-6)


def test_what_check_shape_lets_pass():
    check_strict(check_shape)


# The equation


def test_the_equation_written_out(device):
    """h = ReLU(sum_t W_t x^t + b), y = W_ho h + b_o: one step at a time."""
    model, x = made(device, 7, 3, 5, 4), draw(device, 2, 7, 3)
    blocks = model.hidden.weight.unflatten(1, (7, 3)).unbind(1)  # W_t, (H, I)
    total = model.hidden.bias
    for W_t, x_t in zip(blocks, x.unbind(1)):
        total = total + x_t @ W_t.T
    h = total.clamp(min=0)
    assert ((h == 0).any(0) & (h > 0).any(0)).any(), "the ReLU was to bend"
    wanted = h @ model.output.weight.T + model.output.bias
    assert_close_scaled(model(x), wanted, 1e-12)


def test_same_seed_same_values_as_torch(device):
    torch.manual_seed(1)
    ours = WindowMLP(7, 3, 5, 4)
    torch.manual_seed(1)
    twin = nn.Sequential(nn.Flatten(), nn.Linear(21, 5), nn.ReLU(), nn.Linear(5, 4))
    x = torch.randn(2, 7, 3)
    assert torch.equal(ours.to(device)(x.to(device)), twin.to(device)(x.to(device)))


def test_gradients_reach_every_parameter(device):
    model = made(device, 7, 3, 5, 4)
    (model(draw(device, 20, 7, 3)) ** 2).sum().backward()
    assert all((p.grad != 0).any() for p in model.parameters())


# What it means that each position has its own weights


def test_a_position_that_is_silent_in_training_learns_nothing(device):
    """The exact zero of the page: its weights stay what they were."""
    model, x = made(device, 7, 3, 5, 4), draw(device, 20, 7, 3)
    x[:, 4:] = 0
    (model(x) ** 2).sum().backward()
    gradient = model.hidden.weight.grad.unflatten(1, (7, 3))
    assert (gradient[:, 4:] == 0).all()
    assert (gradient[:, :4] != 0).any(2).any(0).all()


def test_any_order_of_the_steps_is_as_good(device):
    """Move the blocks of weights along with the steps, and nothing has changed."""
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4], device=device)
    model, moved = made(device, 7, 3, 5, 4), made(device, 7, 3, 5, 4)
    moved.load_state_dict(model.state_dict())
    blocks = model.hidden.weight.data.unflatten(1, (7, 3))
    moved.hidden.weight.data = blocks[:, order].flatten(1)
    for step in range(3):  # and still not after training
        x = draw(device, 20, 7, 3) + step
        y, other = model(x), moved(x[:, order])
        assert_close_scaled(other, y, 1e-10)
        for net, out in ((model, y), (moved, other)):
            net.zero_grad()
            (out**2).mean().backward()
            for p in net.parameters():
                p.data -= 0.1 * p.grad
    found = moved.hidden.weight.unflatten(1, (7, 3))
    wanted = model.hidden.weight.unflatten(1, (7, 3))[:, order]
    assert_close_scaled(found, wanted, 1e-10)
    assert (draw(device, 20, 7, 3) - draw(device, 20, 7, 3)[:, order]).abs().max() > 1


def test_moved_by_a_step_the_answer_is_another(device):
    model, x = made(device, 7, 3, 5, 4), draw(device, 2, 7, 3)
    assert (model(x) - model(x.roll(1, 1))).abs().max() > 0.01


# Sliding: a convolution of the window's width


@pytest.mark.parametrize("T", [1, 2, 4, 9])
def test_slid_it_is_a_convolution(T, device):
    """nn.Conv1d over K steps, ReLU, nn.Conv1d over one step, on left-padded input."""
    K, I, H, C = 4, 3, 5, 6  # noqa: E741
    model, x = made(device, K, I, H, C), draw(device, 2, T, I)
    one, two = (nn.Conv1d(*s).to(x) for s in [(I, H, K), (H, C, 1)])
    with torch.no_grad():
        one.weight.copy_(model.hidden.weight.unflatten(1, (K, I)).mT)
        one.bias.copy_(model.hidden.bias)
        two.weight.copy_(model.output.weight.unsqueeze(2))
        two.bias.copy_(model.output.bias)
    found_in, wanted_in = (x.clone().requires_grad_() for _ in range(2))
    found = slide(model, found_in)
    padded = nn.functional.pad(wanted_in.mT, (K - 1, 0))
    wanted = two(one(padded).relu()).mT
    assert_close_scaled(found, wanted, 1e-10, "output")
    weight = draw(device, *found.shape)
    (found * weight).sum().backward()
    (wanted * weight).sum().backward()
    assert_close_scaled(found_in.grad, wanted_in.grad, 1e-10, "gradient of x")
    assert_close_scaled(model.hidden.bias.grad, one.bias.grad, 1e-10, "gradient of b")
    kernel = model.hidden.weight.grad.unflatten(1, (K, I)).mT
    assert_close_scaled(kernel, one.weight.grad, 1e-10, "gradient of W")


def test_slid_each_output_is_the_model_on_the_last_steps(device):
    model, x = made(device, 4, 3, 5, 6), draw(device, 2, 9, 3)
    out = slide(model, x)
    for t in range(3, 9):
        assert_close_scaled(out[:, t], model(x[:, t - 3 : t + 1]), 1e-12)


def test_slid_it_is_causal_and_moves_with_the_input(device):
    model, x = made(device, 4, 3, 5, 6), draw(device, 2, 9, 3)
    late = x.clone()
    late[:, 6:] = 0
    assert torch.equal(slide(model, late)[:, :6], slide(model, x)[:, :6])
    later = torch.cat([torch.zeros_like(x[:, :2]), x], 1)
    assert_close_scaled(slide(model, later)[:, 2:], slide(model, x), 1e-12)


# The numbers worked by hand on the page


def test_the_motif_meets_other_weights_elsewhere(device):
    model = detector(device, 0.0, 1.0, 1.0, 0.0)
    scores = [model(bits(device, *x)).item() for x in [(0, 1, 1, 0), (0, 0, 1, 1)]]
    assert scores == [2, 1]
    assert model(bits(device, 1, 1, 0, 0)).item() == 1
    # 1 is also what a single 1 scores, which is no motif
    assert model(bits(device, 0, 1, 0, 0)).item() == 1


@pytest.mark.parametrize(
    "x, scores",
    [
        ((0, 1, 0, 0), [0, 1, 1, 0]),
        ((0, 1, 1, 0), [0, 1, 2, 1]),
        ((0, 0, 1, 1), [0, 0, 1, 2]),
        ((1, 1, 0, 0), [1, 2, 1, 0]),
    ],
)
def test_a_window_of_two_that_slides_finds_it_anywhere(x, scores, device):
    found = slide(detector(device, 1.0, 1.0), bits(device, *x))
    assert found.flatten().tolist() == scores
    assert found.max().item() == min(sum(x), 2)


def test_the_relation_of_two_bits_by_hand(device):
    """x^1 xor x^2 = h_1 - 2 h_2 with h = ReLU(x^1 + x^2 + (0, -1))."""
    model = WindowMLP(2, 1, 2, 1).to(device)
    with torch.no_grad():
        model.hidden.weight.fill_(1)
        model.hidden.bias.copy_(torch.tensor([0.0, -1.0]))
        model.output.weight.copy_(torch.tensor([[1.0, -2.0]]))
        model.output.bias.zero_()
    for one in (0, 1):
        for two in (0, 1):
            assert model(bits(device, one, two)).item() == one ^ two


def test_parameters_are_those_of_the_page():
    def size(module):
        return sum(p.numel() for p in module.parameters())

    first = [size(WindowMLP(T, 1, 64, 2).hidden) for T in (64, 66, 128)]
    assert first == [4160, 4288, 8256]
    assert size(nn.RNN(1, 64)) == 4288
    T, I, H, C = 7, 3, 5, 4  # noqa: E741
    assert size(WindowMLP(T, I, H, C)) == (T * I + 1) * H + (H + 1) * C


# The task, and learning it


def test_waves_are_what_they_say():
    generator = torch.Generator().manual_seed(0)
    sizes = {"batch_size": 4000, "steps": 12, "low": 2, "high": 6}
    x, y = check_shapes(waves, generator=generator, **sizes, B=4000, T=12)
    x = x.squeeze(2)
    assert set(y.tolist()) == {0, 1} and abs(y.float().mean() - 0.5) < 0.05
    shapes = torch.tensor([[1.0, -1, 1, -1], [1, 1, -1, -1]])
    windows = x.unfold(1, 4, 1)  # (B, T - 3, 4)
    fit = (windows[:, :, None] * shapes).sum(3)  # (B, T - 3, 2)
    best = fit.abs().flatten(1).max(1)
    place, kind = best.indices // 2, best.indices % 2
    assert (kind == y).float().mean() > 0.9
    counts = place[kind == y].bincount(minlength=9) / 4000
    assert counts[2:6].min() > 0.2 and counts[[0, 1, 6, 7, 8]].max() < 0.02
    # of either kind, both signs: a linear model has nothing to go by
    signs = fit.flatten(1).gather(1, best.indices[:, None]).squeeze(1) > 0
    for label in (0, 1):
        assert abs(signs[y == label].float().mean() - 0.5) < 0.05
        assert x[y == label].mean(0).abs().max() < 0.07
    assert abs(x[:, [0, 1, 9, 10, 11]].std() - 0.3) < 0.01


@pytest.mark.slow
def test_main_learns_early_waves_only(capsys):
    losses = main()
    assert len(losses) == 600 and math.isfinite(losses[-1])
    assert losses[0] > 0.6 and max(losses[-50:]) < 0.2
    words = capsys.readouterr().out.replace(",", "").split()
    early, late = float(words[4]), float(words[6])
    assert early > 0.98 and 0.4 < late < 0.65


def test_sizes_below_one_are_refused():
    sizes = {"window": 4, "input_size": 3, "hidden_size": 5, "output_size": 2}
    check_sizes(WindowMLP, **sizes)
    data = partial(waves, low=0, high=1, generator=torch.Generator())
    check_sizes(data, batch_size=2, steps=4)
