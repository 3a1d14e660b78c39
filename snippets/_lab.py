"""What the labs share. It is copied into each lab that imports from it.

Licence: MIT, from the book Unrolled · 展开.
"""

import statistics
import time

import torch


def mean(values) -> float:
    """The mean, as a number that JSON can hold."""
    return float(statistics.fmean(values))


def median(values) -> float:
    """The median, as a number that JSON can hold."""
    return float(statistics.median(values))


def span(values) -> tuple[float, float]:
    """The smallest and the largest value."""
    values = [float(value) for value in values]
    return min(values), max(values)


def verdict(always: bool, sometimes: bool = False) -> str:
    """Judge a claim: it holds, holds under a condition, or fails."""
    return "holds" if always else "conditional" if sometimes else "fails"


def seconds(work, device: str = "cpu", times: int = 5) -> float:
    """Time `work()`: the best of several runs, after one that warms up.

    On a CPU these are seconds of this process, which other processes do not
    lengthen; an accelerator has only the clock on the wall.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    found = []
    for _ in range(times + 1):
        start = clock()
        work()
        if device != "cpu":
            torch.accelerator.synchronize()
        found.append(clock() - start)
    return min(found[1:])


def gradients(outputs, inputs) -> tuple[torch.Tensor, ...]:
    """Differentiate a sum of all outputs in which no two weigh the same."""
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else outputs
    total = 0
    for out in outputs:
        weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype)
        total = total + (out * weight.to(out).view_as(out)).sum()
    return torch.autograd.grad(total, inputs)
