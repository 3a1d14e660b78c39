"""How long our recurrences take beside torch's: `nox -s bench` prints the ratios.

One thread, forward and backward, 32 sequences of 100 steps, the best of ten runs of
each, in turns. torch's LSTM has a fused kernel on the CPU, its GRU and RNN have not.
"""

import time

import pytest
import torch
from torch import nn

from snippets.gru import GRU
from snippets.lstm import LSTM
from snippets.rnn import RNN


def seconds(model: nn.Module, x: torch.Tensor) -> float:
    """Time one pass forward and backward."""
    start = time.perf_counter()
    model(x)[0].square().sum().backward()
    return time.perf_counter() - start


@pytest.mark.parametrize("width", [64, 256])
@pytest.mark.parametrize("ours", [RNN, LSTM, GRU])
def test_seconds_beside_torch(ours, width, capsys):
    torch.set_num_threads(1)
    x = torch.randn(32, 100, width)
    models = (
        ours(width, width),
        getattr(nn, ours.__name__)(width, width, batch_first=True),
    )
    rounds = [[seconds(model, x) for model in models] for _ in range(10)]
    own, torchs = map(min, zip(*rounds))
    with capsys.disabled():
        name = f"{ours.__name__}, width {width}"
        print(f"{name:<20}{1000 * own:>8.1f} ms{own / torchs:>8.2f} times torch's")
