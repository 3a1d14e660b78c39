"""Causal convolution over time: one kernel at every step, blind to the future.

Source: van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio"
    (arXiv 1609.03499): causal, dilated; Bai, Kolter, Koltun 2018, "An Empirical
    Evaluation of Generic Convolutional and Recurrent Networks for Sequence
    Modeling" (arXiv 1803.01271), whose levels hold two convolutions, weight
    normalisation and dropout. Parameter names are those of torch.nn.Conv1d.
Axes: B batch, T time, I input, C channels, K kernel.
Run: python conv1d.py
Licence: MIT, from the book Unrolled · 展开.
"""

# --8<-- [start:imports]
import torch
from torch import nn

# --8<-- [end:imports]


# --8<-- [start:check]
def check_shape(
    name: str,
    tensor: torch.Tensor,
    *axes: int | str,
    dtype: torch.dtype | None = None,
) -> None:
    """Refuse what is no tensor of this shape; a letter is any size >= 1.

    With `dtype`, numbers of another type are refused too, unless autocast
    would cast the one to the other.

    Raises:
        ValueError: what must hold and what came.
    """
    if not isinstance(tensor, torch.Tensor):
        raise ValueError(
            f"{name} must be a tensor, got {type(tensor).__name__}"
        )
    fits = tensor.ndim == len(axes) and all(
        size >= 1 if isinstance(axis, str) else size == axis
        for size, axis in zip(tensor.shape, axes)
    )
    if not fits:
        want = ", ".join(map(str, axes))
        want += "," if len(axes) == 1 else ""  # (5) is a number, (5,) a shape
        free = ", ".join(axis for axis in axes if isinstance(axis, str))
        rule = f"({want}) with {free} >= 1" if free else f"({want})"
        raise ValueError(f"{name} must be {rule}, got {tuple(tensor.shape)}")
    if dtype is None or tensor.dtype == dtype:
        return
    autocast = torch.is_autocast_enabled(tensor.device.type)
    floats = {torch.float16, torch.bfloat16, torch.float32}
    if not (autocast and dtype in floats and tensor.dtype in floats):
        raise ValueError(f"{name} must be {dtype}, got {tensor.dtype}")


def check_size(name: str, size: int) -> None:
    """Refuse a size that is not a whole number from 1 on.

    Raises:
        ValueError: what must hold and what came.
    """
    # A bool is an int in Python, and no size.
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {size!r}")
    # --8<-- [end:check]


# --8<-- [start:cell]
class CausalConv1d(nn.Module):
    """Takes the state_dict of nn.Conv1d(I, C, K, dilation=dilation).

    Its input is (B, T, I), that of nn.Conv1d (B, I, T).
    """

    def __init__(self, in_channels, out_channels, kernel_size, dilation=1):
        super().__init__()
        check_size("in_channels", in_channels)
        check_size("out_channels", out_channels)
        check_size("kernel_size", kernel_size)
        check_size("dilation", dilation)
        self.in_channels, self.dilation = in_channels, dilation
        shape = (out_channels, in_channels, kernel_size)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self):
        """Draw weight and bias anew, as nn.Conv1d does."""
        bound = self.weight[0].numel() ** -0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x):
        """See the present and what lies d, 2d, …, (K - 1) d steps back.

        Shape:
            x: (B, T, I)
            -> (B, T, C)
        """
        dtype = self.weight.dtype
        check_shape("x", x, "B", "T", self.in_channels, dtype=dtype)
        T, d = x.shape[1], self.dilation
        # --8<-- [start:step]
        W = self.weight.unbind(2)  # (C, I); W[0] meets the oldest step
        padded = nn.functional.pad(x, (0, 0, (len(W) - 1) * d, 0))
        out = self.bias
        for j, W_j in enumerate(W):
            out = out + padded[:, j * d : j * d + T] @ W_j.T  # (B, T, C)
        # --8<-- [end:step]
        return out
        # --8<-- [end:cell]


# --8<-- [start:model]
class TCN(nn.Module):
    """One causal convolution a level, dilated 1, 2, 4, …, with residuals."""

    def __init__(self, in_channels, out_channels, kernel_size, levels):
        super().__init__()
        check_size("levels", levels)
        sizes = [in_channels] + levels * [out_channels]
        self.levels = nn.ModuleList(
            CausalConv1d(before, after, kernel_size, 2**level)
            for level, (before, after) in enumerate(zip(sizes, sizes[1:]))
        )
        self.field = 1 + (kernel_size - 1) * (2**levels - 1)

    def forward(self, x):
        """Widen the view level by level.

        Shape:
            x: (B, T, I)
            -> (B, T, C)
        """
        # --8<-- [start:model-step]
        first, *rest = self.levels
        h = torch.relu(first(x))  # no residual: x has another width
        for level in rest:
            h = h + torch.relu(level(h))
        # --8<-- [end:model-step]
        return h
        # --8<-- [end:model]


# --8<-- [start:data]
def adding(batch_size: int, steps: int, generator: torch.Generator):
    """Numbers in [0, 1) with two of them marked; the answer is their sum.

    Shape:
        -> (B, T, 2), (B,)
    """
    check_size("batch_size", batch_size)
    if steps < 2:
        raise ValueError(f"steps must be >= 2, two are marked, got {steps}")
    values = torch.rand(batch_size, steps, generator=generator)
    order = torch.rand(batch_size, steps, generator=generator).argsort(1)
    marks = (order < 2).float()
    return torch.stack((values, marks), 2), (values * marks).sum(1)
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 300, seed: int = 0, device=None) -> list[float]:
    """Add two marked numbers among 50; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    tcn, readout = TCN(2, 32, 3, 5).to(device), nn.Linear(32, 1).to(device)
    parameters = [*tcn.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    losses = []
    for _ in range(steps):
        x, y = (a.to(device) for a in adding(64, 50, generator))
        loss = nn.functional.mse_loss(readout(tcn(x)[:, -1]).squeeze(1), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    print(f"field {tcn.field}, mean squared error {losses[-1]:.5f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
