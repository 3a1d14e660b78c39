"""Newstem: a leaky average, in the place of your equations.

Source: author, year, title; equation numbers that you saw in the paper.
Axes: B batch, T time, I input.
Run: python newstem.py
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
class Newstem(nn.Module):
    """A state that keeps a share of itself and takes the rest from x."""

    def __init__(self, input_size: int):
        super().__init__()
        check_size("input_size", input_size)
        self.input_size = input_size
        self.weight = nn.Parameter(torch.zeros(input_size))

    def forward(self, x, h=None):
        """Run over time; `h` is the state before the first step, 0 if None.

        Shape:
            x: (B, T, I)
            h: (B, I)
            -> (B, T, I), (B, I)
        """
        dtype = self.weight.dtype
        check_shape("x", x, "B", "T", self.input_size, dtype=dtype)
        B = x.shape[0]  # len(x) would freeze it in an exported model
        h = x.new_zeros(B, self.input_size) if h is None else h
        check_shape("h", h, B, self.input_size, dtype=dtype)
        out = []
        for x_t in x.unbind(1):
            # --8<-- [start:step]
            a = torch.sigmoid(self.weight)  # (I)
            h = a * h + (1 - a) * x_t  # (B, I)
            # --8<-- [end:step]
            out.append(h)
        return torch.stack(out, 1), h
        # --8<-- [end:cell]


# --8<-- [start:data]
def newstem_task(
    batch_size: int,
    steps: int,
    generator: torch.Generator,
):
    """Random numbers, and their average that keeps nine tenths of itself.

    Shape:
        -> (B, T, 1), (B, T, 1)
    """
    check_size("batch_size", batch_size)
    check_size("steps", steps)
    x = torch.rand(batch_size, steps, 1, generator=generator)
    y, out = x.new_zeros(batch_size, 1), []
    for x_t in x.unbind(1):
        y = 0.9 * y + 0.1 * x_t  # (B, 1)
        out.append(y)
    return x, torch.stack(out, 1)
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 200, seed: int = 0, device=None) -> list[float]:
    """Learn how much to keep; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Newstem(1).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        batch = newstem_task(32, 20, generator)
        x, y = (a.to(device) for a in batch)
        loss = nn.functional.mse_loss(model(x)[0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"loss {losses[-1]:.6f}, keeps {model.weight.sigmoid().item():.3f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
