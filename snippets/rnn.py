"""A simple recurrent network: one rule, applied at every time step.

Source: Elman 1990, "Finding Structure in Time" (Cognitive Science 14(2)); the
    documentation of torch.nn.RNN, whose equation and parameter names these
    are.
Axes: B batch, T time, I input, H hidden.
Run: python rnn.py
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
class RNN(nn.Module):
    """A tanh RNN; takes the state_dict of nn.RNN(I, H, batch_first=True)."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(hidden_size))
        self.bias_hh_l0 = nn.Parameter(torch.empty(hidden_size))
        self.reset_parameters()

    def reset_parameters(self):
        """Draw all weights anew, as nn.RNN does."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x, h=None):
        """Run over time; `h` is the state before the first step, 0 if None.

        Shape:
            x: (B, T, I)
            h: (B, H)
            -> (B, T, H), (B, H)
        """
        W, b = self.weight_hh_l0, self.bias_hh_l0
        check_shape("x", x, "B", "T", self.input_size, dtype=W.dtype)
        B = x.shape[0]
        h = x.new_zeros(B, self.hidden_size) if h is None else h
        check_shape("h", h, B, self.hidden_size, dtype=W.dtype)
        # (B, T, H)
        zx = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        out = []
        for zx_t in zx.unbind(1):
            # --8<-- [start:step]
            h = torch.tanh(zx_t + nn.functional.linear(h, W, b))  # (B, H)
            # --8<-- [end:step]
            out.append(h)
        return torch.stack(out, 1), h
        # --8<-- [end:cell]


# --8<-- [start:data]
def parity(batch_size: int, steps: int, generator: torch.Generator):
    """Random bits and, at every step, the parity of the bits so far.

    Shape:
        -> (B, T, 1), (B, T)
    """
    check_size("batch_size", batch_size)
    check_size("steps", steps)
    bits = torch.randint(2, (batch_size, steps), generator=generator)
    return bits.unsqueeze(2).float(), bits.cumsum(1) % 2
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 600, seed: int = 0, device=None) -> list[float]:
    """Learn parity on 24 steps and test it on 400; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    rnn, readout = RNN(1, 16).to(device), nn.Linear(16, 2).to(device)
    # Orthogonal: at first no direction of the state is stretched or shrunk.
    nn.init.orthogonal_(rnn.weight_hh_l0)
    parameters = [*rnn.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    losses = []
    for _ in range(steps):
        x, y = (a.to(device) for a in parity(64, 24, generator))
        logits = readout(rnn(x)[0])  # (B, T, 2)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        x, y = (a.to(device) for a in parity(256, 400, generator))
        accuracy = (readout(rnn(x)[0]).argmax(2) == y).float().mean().item()
    print(f"loss {losses[-1]:.4f}, parity over 400 steps {accuracy:.3f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
