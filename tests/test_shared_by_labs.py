"""What labs share: snippets/_lab.py."""

import time

import pytest
import torch

from snippets._lab import gradients, mean, median, seconds, span, verdict


def test_numbers_are_plain():
    values = torch.tensor([3.0, 1.0, 2.5])
    for found, wanted in ((mean(values), 6.5 / 3), (median(values), 2.5)):
        assert type(found) is float and abs(found - wanted) < 1e-6
    assert span(values) == (1.0, 3.0) and all(type(v) is float for v in span(values))
    assert median([4, 1]) == 2.5


@pytest.mark.parametrize(
    "judged, wanted",
    [
        ((True,), "holds"),
        ((False,), "fails"),
        ((True, True), "holds"),
        ((False, True), "conditional"),
        ((False, False), "fails"),
    ],
)
def test_a_verdict_can_come_out_in_three_ways(judged, wanted):
    assert verdict(*judged) == wanted


def test_seconds_are_those_of_the_fastest_run(device):
    runs = []

    def work():
        runs.append(len(runs))
        start = time.process_time()
        while time.process_time() - start < (0.5 if len(runs) == 1 else 0.02):
            torch.ones(10)

    found = seconds(work, device, times=2)
    assert len(runs) == 3 and 0.01 < found < 0.4  # the first only warms up


def test_gradients_weigh_no_two_numbers_alike():
    x = torch.arange(1.0, 5.0, dtype=torch.float64).view(2, 2).requires_grad_()
    (one,) = gradients(2 * x, x)
    weights = torch.linspace(-1, 1, 4, dtype=torch.float64).view(2, 2)
    assert torch.allclose(one, 2 * weights)
    (both,) = gradients((2 * x, x), x)
    assert torch.allclose(both, 3 * weights)
