"""Bidirectional LSTM: one half has read the past, the other the future.

Source: Schuster & Paliwal 1997, "Bidirectional Recurrent Neural Networks"
    (IEEE Transactions on Signal Processing 45(11)); with LSTMs: Graves &
    Schmidhuber 2005, "Framewise Phoneme Classification with Bidirectional LSTM
    and Other Neural Network Architectures" (Neural Networks 18(5-6)); the
    documentation of torch.nn.LSTM, whose two halves these are.
Axes: B batch, T time, I input, H hidden.
Run: python birnn.py
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
class BiLSTM(nn.Module):
    """Two LSTMs, the halves of nn.LSTM(I, H, bidirectional=True)."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.forth = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.back = nn.LSTM(input_size, hidden_size, batch_first=True)

    def forward(self, x, state=None):
        """Read in both directions; `state` is where each starts, 0 if None.

        Padding is read as data: the half that reads backwards begins in it.

        Shape:
            x: (B, T, I)
            state: (2, B, H), (2, B, H)
            -> (B, T, 2H), (2, B, H), (2, B, H)
        """
        dtype = self.forth.weight_ih_l0.dtype
        check_shape("x", x, "B", "T", self.input_size, dtype=dtype)
        B = x.shape[0]
        zero = x.new_zeros(2, B, self.hidden_size)
        state = (zero, zero) if state is None else state
        if len(state) != 2:
            raise ValueError(f"state must be (h, c), got {len(state)} parts")
        h, c = state
        check_shape("h", h, 2, B, self.hidden_size, dtype=dtype)
        check_shape("c", c, 2, B, self.hidden_size, dtype=dtype)
        # --8<-- [start:step]
        past, last = self.forth(x, (h[:1], c[:1]))  # (B, T, H)
        # Read backwards, step 1 comes last: `first` is a final state too.
        future, first = self.back(x.flip(1), (h[1:], c[1:]))  # (B, T, H)
        out = torch.cat((past, future.flip(1)), 2)  # (B, T, 2H)
        h, c = map(torch.cat, zip(last, first))  # (2, B, H)
        # --8<-- [end:step]
        return out, (h, c)
        # --8<-- [end:cell]


# --8<-- [start:data]
def meeting(batch_size: int, steps: int, ahead: int, generator):
    """Random bits; the label of a bit is its XOR with the one `ahead`.

    Where there is no such bit the label is -100, which cross_entropy skips.

    Shape:
        -> (B, T, 1), (B, T)
    """
    check_size("batch_size", batch_size)
    check_size("steps", steps)
    if not 1 <= ahead < steps:
        raise ValueError(f"ahead must be 1 to steps - 1, got {ahead}")
    bits = torch.randint(2, (batch_size, steps), generator=generator)
    y = torch.full_like(bits, -100)
    y[:, : steps - ahead] = bits[:, : steps - ahead] ^ bits[:, ahead:]
    return bits.unsqueeze(2).float(), y
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 300, seed: int = 0, device=None) -> list[float]:
    """Compare each bit with the one three steps ahead; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    birnn, readout = BiLSTM(1, 16).to(device), nn.Linear(32, 2).to(device)
    parameters = [*birnn.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    losses = []
    for _ in range(steps):
        x, y = (a.to(device) for a in meeting(32, 20, 3, generator))
        logits = readout(birnn(x)[0])  # (B, T, 2)
        loss = nn.functional.cross_entropy(logits.mT, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    scored = y != -100
    accuracy = (logits.argmax(2) == y)[scored].float().mean().item()
    print(f"loss {losses[-1]:.4f}, x[t] xor x[t + 3] {accuracy:.3f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
