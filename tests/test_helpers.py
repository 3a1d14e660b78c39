"""The helpers themselves: each must fail when it should."""

import pytest
import torch
from torch import nn

from snippets.rnn import RNN, check_shape
from tests.helpers import (
    assert_close_scaled,
    check_batch,
    check_causal,
    check_default_state,
    check_gradients,
    check_graph,
    check_refusals,
    check_shapes,
    check_start,
    check_strict,
    compare_with_twin,
    refuses,
)


class Twice(nn.Module):
    """Returns what it is told to, whatever came."""

    def __init__(self, *shapes):
        super().__init__()
        self.shapes = shapes

    def forward(self, x, state=None, extra=None):
        """One sentence.

        Shape:
            x: (B, T, I)
            state: (B, H), (B, H)
            -> (B, T, 4H), (B, 2)

        More words.
        """
        out, last = (torch.zeros(shape) for shape in self.shapes)
        return out, (last,)


def inputs(batch=2, steps=3, size=5, hidden=7):
    h = torch.zeros(batch, hidden)
    return {"x": torch.zeros(batch, steps, size), "state": (h, h)}


def test_check_shapes_returns_the_result():
    out, (last,) = check_shapes(Twice((2, 3, 28), (2, 2)), **inputs())
    assert out.shape == (2, 3, 28) and last.shape == (2, 2)
    check_shapes(Twice((2, 3, 28), (2, 2)), x=inputs()["x"], H=7)


@pytest.mark.parametrize(
    "shapes", [((3, 2, 28), (2, 2)), ((2, 3, 7), (2, 2)), ((2, 3, 28), (2,))]
)
def test_check_shapes_refuses_another_result(shapes):
    with pytest.raises(AssertionError, match="the result"):
        check_shapes(Twice(*shapes), **inputs())


@pytest.mark.parametrize(
    "given, message",
    [
        (inputs(batch=3), "different letters need different sizes"),
        ({"x": inputs()["x"]}, "no input binds H"),
        ({"x": torch.zeros(2, 5), "H": 7}, "x: Shape: says"),
        (inputs() | {"state": (torch.zeros(2, 7),)}, "state: Shape: says"),
        (inputs() | {"x": torch.zeros(4, 3, 5)}, "state: Shape: says"),
        (inputs() | {"extra": torch.zeros(2)}, "does not mention extra"),
    ],
)
def test_check_shapes_refuses_inputs(given, message):
    with pytest.raises(AssertionError, match=message):
        check_shapes(Twice((2, 3, 28), (2, 2)), **given)


@pytest.mark.parametrize(
    "block, message",
    [
        ("Words.", "needs a Shape: block"),
        ("Shape:\n    x: (B, T)", "needs a Shape: block"),
        ("Shape:\n    x: (B, T)\n    -> (B, Time)", "cannot read"),
        ("Shape:\n    x: (B, T)\n    -> B, T", "cannot read"),
    ],
)
def test_check_shapes_refuses_a_docstring(block, message):
    def function(x):
        return x

    function.__doc__ = block
    with pytest.raises(AssertionError, match=message):
        check_shapes(function, x=torch.zeros(2, 3))


def test_assert_close_scaled():
    b = torch.tensor([1000.0, 0.0])
    assert_close_scaled(b + torch.tensor([0.0, 0.09]), b, 1e-4)
    with pytest.raises(AssertionError, match="gradient: differ by 0.11"):
        assert_close_scaled(b + torch.tensor([0.0, 0.11]), b, 1e-4, "gradient")
    for other in (b * float("nan"), b[:1], b[None], b.double()):
        with pytest.raises(AssertionError):
            assert_close_scaled(other, b, 1e-4)


class Broken(nn.RNN):
    """torch's RNN with states (B, H), wrong in one way at a time."""

    def __init__(self, fault=None):
        super().__init__(3, 5, batch_first=True)
        self.fault = fault

    def forward(self, x, h=None):
        out, h = super().forward(x, h if h is None else h.unsqueeze(0))
        if self.fault == "output":
            out = out + 1e-7
        if self.fault == "state":
            h = h + 1e-7
        if self.fault == "transposed":
            out = out.transpose(0, 1)
        if self.fault == "gradient":
            out = out + (out - out.detach()) * 1e-6
        return out, h if self.fault == "layers" else h.squeeze(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("state", [None, torch.randn(2, 5)])
def test_compare_with_twin(dtype, state, device):
    x = torch.randn(2, 2, 3, dtype=dtype, device=device)
    state = state if state is None else state.to(x)
    compare_with_twin(Broken(), nn.RNN(3, 5, batch_first=True), x, state)


@pytest.mark.parametrize(
    "fault, where",
    [
        ("output", "output 0"),
        ("state", "output 1"),
        ("transposed", "output 0"),
        ("layers", "output 1"),
        ("gradient", "gradient of input 0"),
    ],
)
def test_compare_with_twin_fails(fault, where):
    x = torch.randn(2, 2, 3, dtype=torch.float64)
    with pytest.raises(AssertionError, match=where):
        compare_with_twin(Broken(fault), nn.RNN(3, 5, batch_first=True), x)


def refuse(message):
    raise ValueError(message)


def test_refuses():
    refuses("so", refuse, "so")
    with pytest.raises(AssertionError, match="said 'so', not 'otherwise'"):
        refuses("otherwise", refuse, "so")
    with pytest.raises(AssertionError, match="accepted"):
        refuses("so", str)


def faulty(fault=None):
    """The book's RNN, wrong in one way."""

    class Faulty(RNN):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            if fault == "start":
                nn.init.zeros_(self.bias_hh_l0)
            if fault == "unused":
                self.spare = nn.Parameter(torch.ones(2))

        def forward(self, x, h=None):
            if fault == "any x" and (x.ndim != 3 or 0 in x.shape):
                x = torch.ones(2, 4, 3)
            if fault == "any h" and h is not None and h.shape != (len(x), 5):
                h = None
            if fault == "no zeros" and h is None:
                h = x.new_ones(len(x), self.hidden_size)
            if fault == "batch":
                x = x + x[:1]
            if fault == "future":
                x = x + x.flip(1)
            if fault == "blind":
                x = torch.cat([x[:, :2].detach(), x[:, 2:]], 1)
            out, h = super().forward(x, h)
            if fault == "unread":
                out = torch.cat([out[:, :1, :1].detach(), out[:, :1, 1:]], 2)
            if fault == "select":
                out = torch.stack([out[:, t] for t in range(x.shape[1])], 1)
            return out, h

    return Faulty


@pytest.mark.parametrize(
    "check, faults",
    [
        (lambda cls: check_refusals(cls, "cpu", "h"), ["any x", "any h"]),
        (lambda cls: check_refusals(cls, "cpu", "state"), [None]),
        (lambda cls: check_start(cls, nn.RNN), ["start", "unused"]),
        (lambda cls: check_default_state(cls, "cpu"), ["no zeros"]),
        (lambda cls: check_causal(cls, "cpu"), ["future", "blind"]),
        (lambda cls: check_batch(cls, "cpu"), ["batch"]),
        (lambda cls: check_gradients(cls, "cpu"), ["unused", "unread"]),
        (check_graph, ["select"]),
    ],
)
def test_checks_of_recurrent_models_fail(check, faults):
    if None not in faults:
        check(faulty())
    for fault in faults:
        with pytest.raises(AssertionError):
            check(faulty(fault))


def test_check_strict_fails():
    check_strict(check_shape)
    for wrong in (lambda *_, dtype=None: None, lambda *_, dtype=None: refuse("no")):
        with pytest.raises((AssertionError, ValueError)):
            check_strict(wrong)
