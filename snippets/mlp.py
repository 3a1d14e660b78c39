"""A window MLP: the sequence as one block, with weights for every position.

Source: Bengio, Ducharme, Vincent & Jauvin 2003, "A Neural Probabilistic
    Language Model" (JMLR 3): one hidden layer over a window of fixed width
    that slides along the text; theirs has tanh units, ours ReLU.
Axes: B batch, T time, I input, H hidden, K kernel, C channels.
Run: python mlp.py
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
class WindowMLP(nn.Module):
    """One hidden layer over a window; each position has its own weights."""

    def __init__(
        self, window: int, input_size: int, hidden_size: int, output_size: int
    ):
        super().__init__()
        check_size("window", window)
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        check_size("output_size", output_size)
        self.window, self.input_size = window, input_size
        self.hidden = nn.Linear(window * input_size, hidden_size)
        self.output = nn.Linear(hidden_size, output_size)

    def forward(self, x):
        """Map a sequence exactly as long as the window to one output.

        Shape:
            x: (B, T, I)
            -> (B, C)
        """
        dtype = self.hidden.weight.dtype
        check_shape("x", x, "B", self.window, self.input_size, dtype=dtype)
        # --8<-- [start:step]
        block = x.flatten(1)  # (B, T * I)
        h = torch.relu(self.hidden(block))  # (B, H)
        y = self.output(h)  # (B, C)
        # --8<-- [end:step]
        return y
        # --8<-- [end:cell]


# --8<-- [start:slide]
def slide(model: WindowMLP, x: torch.Tensor) -> torch.Tensor:
    """Apply one window of K steps at every time; zeros stand before the start.

    Shape:
        x: (B, T, I)
        -> (B, T, C)
    """
    dtype = model.hidden.weight.dtype
    check_shape("x", x, "B", "T", model.input_size, dtype=dtype)
    K = model.window
    padded = nn.functional.pad(x, (0, 0, K - 1, 0))  # (B, T + K - 1, I)
    # --8<-- [start:slide-step]
    windows = padded.unfold(1, K, 1).mT  # (B, T, K, I)
    y = model(windows.flatten(0, 1))  # (B * T, C)
    # --8<-- [end:slide-step]
    return y.unflatten(0, x.shape[:2])
    # --8<-- [end:slide]


# --8<-- [start:data]
def waves(batch_size: int, steps: int, low: int, high: int, generator):
    """Four steps of a slow (1) or fast (0) wave; they begin in low..high-1.

    Shape:
        -> (B, T, 1), (B,)
    """
    check_size("batch_size", batch_size)
    check_size("steps", steps)
    shape = torch.tensor([[1, -1, 1, -1], [1, 1, -1, -1]])
    label = torch.randint(2, (batch_size,), generator=generator)
    sign = 2 * torch.randint(2, (batch_size, 1), generator=generator) - 1
    place = torch.randint(low, high, (batch_size, 1), generator=generator)
    x = 0.3 * torch.randn(batch_size, steps, generator=generator)
    x.scatter_add_(1, place + torch.arange(4), (sign * shape[label]).float())
    return x.unsqueeze(2), label
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 600, seed: int = 0, device=None) -> list[float]:
    """Learn waves that begin early, then meet late ones; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = WindowMLP(32, 1, 64, 2).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        x, y = (a.to(device) for a in waves(64, 32, 0, 13, generator))
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    right = []
    with torch.no_grad():
        for low, high in [(0, 13), (16, 29)]:
            x, y = (a.to(device) for a in waves(2000, 32, low, high, generator))
            right.append((model(x).argmax(1) == y).float().mean().item())
    early, late = right
    print(f"loss {losses[-1]:.4f}, early waves {early:.3f}, late {late:.3f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
