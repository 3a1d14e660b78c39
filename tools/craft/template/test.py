"""Newstem against its sum written out, and the numbers of the page."""

from functools import partial

import pytest
import torch

from snippets.newstem import Newstem, check_shape, main, newstem_task
from tests.helpers import (
    check_export,
    check_shapes,
    check_sizes,
    check_strict,
    refuses,
)


def test_shapes_are_those_of_the_docstring(device):
    model = Newstem(3).to(device)
    x, h = torch.randn(2, 7, 3).to(device), torch.randn(2, 3).to(device)
    out, last = check_shapes(model, x=x, h=h)
    assert torch.equal(out[:, -1], last)
    generator = torch.Generator().manual_seed(0)
    check_shapes(newstem_task, batch_size=4, steps=6, generator=generator, B=4, T=6)


def test_wrong_shapes_are_refused(device):
    check_strict(check_shape)
    check_sizes(Newstem, input_size=3)
    data = partial(newstem_task, generator=torch.Generator())
    check_sizes(data, batch_size=2, steps=3)
    model, x = Newstem(3).to(device), torch.zeros(2, 7, 3, device=device)
    rule = "x must be (B, T, 3) with B, T >= 1, got (2, 7, 4)"
    refuses(rule, model, torch.zeros(2, 7, 4, device=device))
    refuses("h must be (2, 3), got (1, 3)", model, x, x[:1, 0])
    refuses("x must be torch.float32, got torch.float64", model, x.double())
    refuses("h must be torch.float32, got torch.float64", model, x, x[:, 0].double())


def test_it_can_be_exported_with_a_free_batch():
    check_export(lambda inputs, _: Newstem(inputs))


def test_equal_to_the_sum_written_out(device):
    """h^t is the sum of (1 - a) a^{t-s} x^s: another way to compute the same."""
    model = Newstem(2).to(device, torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([-0.5, 2.0]))
    a, x = model.weight.sigmoid(), torch.randn(1, 5, 2).to(device, torch.float64)
    for t, h in enumerate(model(x)[0][0]):
        total = sum((1 - a) * a ** (t - s) * x[0, s] for s in range(t + 1))
        assert torch.allclose(h, total, rtol=0, atol=1e-12)


def test_gradients_reach_every_parameter(device):
    model = Newstem(3).to(device)
    model(torch.randn(2, 7, 3).to(device))[0].square().sum().backward()
    assert all(p.grad.abs().min() > 0 for p in model.parameters())


def test_by_hand(device):
    """Half is kept, x = (1, 0, 0)."""
    x = torch.tensor([[[1.0], [0.0], [0.0]]], device=device)
    out, _ = Newstem(1).to(device)(x)
    assert out.flatten().tolist() == [0.5, 0.25, 0.125]


def test_the_task_keeps_nine_tenths():
    x, y = newstem_task(2, 3, torch.Generator().manual_seed(0))
    assert torch.allclose(y[:, 0], 0.1 * x[:, 0])
    assert torch.allclose(y[:, 2], 0.9 * y[:, 1] + 0.1 * x[:, 2])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_it_learns(seed, device):
    losses = main(seed=seed, device=device)
    assert losses[-1] < 1e-4 < losses[0]
