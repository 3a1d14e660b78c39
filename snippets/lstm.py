"""Long short-term memory: a state that is added to, behind three gates.

Source: Hochreiter & Schmidhuber 1997, "Long Short-Term Memory" (Neural
    Computation 9(8)); the forget gate is from Gers, Schmidhuber & Cummins 2000,
    "Learning to Forget: Continual Prediction with LSTM" (Neural Computation
    12(10)); the documentation of torch.nn.LSTM, whose parameter names these
    are.
Axes: B batch, T time, I input, H hidden.
Run: python lstm.py
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
class LSTM(nn.Module):
    """An LSTM; takes the state_dict of nn.LSTM(I, H, batch_first=True)."""

    def __init__(self, input_size: int, hidden_size: int, forget_bias=None):
        super().__init__()
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.forget_bias = forget_bias
        H = hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(4 * H, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(4 * H, H))
        self.bias_ih_l0 = nn.Parameter(torch.empty(4 * H))
        self.bias_hh_l0 = nn.Parameter(torch.empty(4 * H))
        self.reset_parameters()

    def reset_parameters(self):
        """Draw all weights anew, as nn.LSTM does; then set the forget bias."""
        H = self.hidden_size
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -(H**-0.5), H**-0.5)
        if self.forget_bias is not None:
            nn.init.constant_(self.bias_ih_l0[H : 2 * H], self.forget_bias)
            nn.init.zeros_(self.bias_hh_l0[H : 2 * H])

    def forward(self, x, state=None):
        """Run over time; `state` is (h, c) before the first step, 0 if None.

        Shape:
            x: (B, T, I)
            state: (B, H), (B, H)
            -> (B, T, H), (B, H), (B, H)
        """
        W, b = self.weight_hh_l0, self.bias_hh_l0
        check_shape("x", x, "B", "T", self.input_size, dtype=W.dtype)
        B = x.shape[0]
        zero = x.new_zeros(B, self.hidden_size)
        state = (zero, zero) if state is None else state
        if len(state) != 2:
            raise ValueError(f"state must be (h, c), got {len(state)} parts")
        h, c = state
        check_shape("h", h, B, self.hidden_size, dtype=W.dtype)
        check_shape("c", c, B, self.hidden_size, dtype=W.dtype)
        # (B, T, 4H)
        zx = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        out = []
        for zx_t in zx.unbind(1):
            # --8<-- [start:step]
            a = zx_t + nn.functional.linear(h, W, b)  # (B, 4H)
            a_i, a_f, a_z, a_o = a.chunk(4, 1)
            z = torch.tanh(a_z)  # (B, H)
            z_i = torch.sigmoid(a_i)
            z_f = torch.sigmoid(a_f)
            z_o = torch.sigmoid(a_o)
            c = z_f * c + z_i * z
            h = z_o * torch.tanh(c)
            # --8<-- [end:step]
            out.append(h)
        return torch.stack(out, 1), (h, c)
        # --8<-- [end:cell]


# --8<-- [start:data]
def recall(batch_size: int, steps: int, noise: float, generator):
    """A marked symbol, then noise: name the symbol at the end.

    Shape:
        -> (B, T, 9), (B,)
    """
    check_size("batch_size", batch_size)
    check_size("steps", steps)
    # Channels 0 to 7 are the symbols, channel 8 marks the step to keep.
    x = noise * torch.randn(batch_size, steps, 9, generator=generator)
    y = torch.randint(8, (batch_size,), generator=generator)
    x[:, 0, :8] = nn.functional.one_hot(y, 8).float()
    x[:, 0, 8], x[:, 1:, 8] = 1, 0
    return x, y
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 150, seed: int = 0, device=None) -> list[float]:
    """Name the symbol of step 1 at step 60; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    lstm = LSTM(9, 32, forget_bias=5.0).to(device)
    # Keep what is there (f near 1), let in what asks for it (i near 0): the
    # biases of the 32 input gates come first.
    nn.init.constant_(lstm.bias_ih_l0[:32], -5.0)
    readout = nn.Linear(32, 8).to(device)
    parameters = [*lstm.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    losses = []
    for _ in range(steps):
        x, y = (a.to(device) for a in recall(32, 60, 0.1, generator))
        out, (h, c) = lstm(x)
        logits = readout(h)  # (B, 8)
        loss = nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    accuracy = (logits.argmax(1) == y).float().mean().item()
    print(f"loss {losses[-1]:.4f}, recall at step 60 {accuracy:.3f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
