"""Gating: a number in (0, 1), read from the data, says how much passes.

Source: Levy, Lee, FitzGerald & Zettlemoyer 2018, "Long Short-Term Memory as
    a Dynamically Computed Element-wise Weighted Sum" (arXiv 1805.03716): the
    state as a weighted sum; Hu, Shen & Sun 2018, "Squeeze-and-Excitation
    Networks" (arXiv 1709.01507): the gate over channels.
Axes: B batch, T time, S source time, I input, H hidden, C channels.
Run: python gating.py
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
class GatedMemory(nn.Module):
    """A gate and nothing else: gate and candidate read the input alone."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.W_z = nn.Linear(input_size, hidden_size)
        self.W_n = nn.Linear(input_size, hidden_size)

    def forward(self, x, h=None):
        """Run over time; `h` is the state before the first step, 0 if None.

        Shape:
            x: (B, T, I)
            h: (B, H)
            -> (B, T, H), (B, H)
        """
        dtype = self.W_z.weight.dtype
        check_shape("x", x, "B", "T", self.input_size, dtype=dtype)
        B = x.shape[0]
        h = x.new_zeros(B, self.hidden_size) if h is None else h
        check_shape("h", h, B, self.hidden_size, dtype=dtype)
        out = []
        for a, n in zip(self.W_z(x).unbind(1), self.W_n(x).unbind(1)):
            # --8<-- [start:step]
            z = torch.sigmoid(a)  # (B, H)
            h = (1 - z) * n + z * h
            # --8<-- [end:step]
            out.append(h)
        return torch.stack(out, 1), h
        # --8<-- [end:cell]


# --8<-- [start:weights]
def gate_weights(a):
    """The share of each source in each state, z = sigmoid(a); S is T + 1.

    Source 0 is h^0. The logarithms of many gates are summed in float64, which
    every device but MPS has: shorter types would lose the small differences.

    Shape:
        a: (B, T, H)
        -> (B, T, S, H)
    """
    check_shape("a", a, "B", "T", "H")
    if not a.is_floating_point():
        raise ValueError(f"a must be of a float type, got {a.dtype}")
    T, exact = a.shape[1], a.double()
    # --8<-- [start:weights-step]
    kept = nn.functional.logsigmoid(exact).cumsum(1)  # (B, T, H)
    e = nn.functional.logsigmoid(-exact) - kept
    e = nn.functional.pad(e, (0, 0, 1, 0))  # (B, S, H)
    past = torch.ones(T, T + 1, device=a.device).tril(1) > 0  # (T, S)
    scores = e.unsqueeze(1).masked_fill(~past.unsqueeze(2), -torch.inf)
    return scores.softmax(2).to(a.dtype)  # (B, T, S, H)
    # --8<-- [end:weights-step]
    # --8<-- [end:weights]


# --8<-- [start:gru]
def gru_as_attention(gru: nn.GRU, x, h=None):
    """The states of a batch-first nn.GRU as averages of its candidates.

    Shape:
        x: (B, T, I)
        h: (B, H)
        -> (B, T, H), (B, T, S, H)
    """
    if not isinstance(gru, nn.GRU) or not gru.batch_first:
        raise ValueError(f"gru must be a batch-first nn.GRU, got {gru}")
    if gru.num_layers > 1 or gru.bidirectional or not gru.bias:
        raise ValueError(f"gru must be one layer, one way, biased, got {gru}")
    dtype = gru.weight_ih_l0.dtype
    check_shape("x", x, "B", "T", gru.input_size, dtype=dtype)
    B = x.shape[0]
    h = x.new_zeros(B, gru.hidden_size) if h is None else h
    check_shape("h", h, B, gru.hidden_size, dtype=dtype)
    before = torch.cat((h.unsqueeze(1), gru(x, h[None])[0][:, :-1]), 1)
    zx = nn.functional.linear(x, gru.weight_ih_l0, gru.bias_ih_l0)  # (B, T, 3H)
    zh = nn.functional.linear(before, gru.weight_hh_l0, gru.bias_hh_l0)
    # --8<-- [start:gru-step]
    (x_r, x_z, x_n), (h_r, h_z, h_n) = zx.chunk(3, 2), zh.chunk(3, 2)
    n = torch.tanh(x_n + torch.sigmoid(x_r + h_r) * h_n)  # (B, T, H)
    weights = gate_weights(x_z + h_z)  # (B, T, S, H)
    values = torch.cat((h.unsqueeze(1), n), 1)  # (B, S, H)
    # --8<-- [end:gru-step]
    return (weights * values.unsqueeze(1)).sum(2), weights
    # --8<-- [end:gru]


# --8<-- [start:se]
def squeeze_excitation(x, W_1, W_2):
    """Weigh the channels by a gate that has seen every position.

    Shape:
        x: (B, T, C)
        W_1: (H, C)
        W_2: (C, H)
        -> (B, T, C), (B, C)
    """
    check_shape("x", x, "B", "T", "C")
    check_shape("W_1", W_1, "H", x.shape[2], dtype=x.dtype)
    check_shape("W_2", W_2, x.shape[2], W_1.shape[0], dtype=x.dtype)
    # --8<-- [start:se-step]
    narrow = torch.relu(x.mean(1) @ W_1.T)  # (B, H)
    gate = torch.sigmoid(narrow @ W_2.T)  # (B, C)
    return gate.unsqueeze(1) * x, gate
    # --8<-- [end:se-step]
    # --8<-- [end:se]


# --8<-- [start:data]
def latch(batch_size: int, steps: int, generator: torch.Generator):
    """Numbers, some of them marked; the answer is always the last of those.

    Shape:
        -> (B, T, 2), (B, T)
    """
    check_size("batch_size", batch_size)
    check_size("steps", steps)
    values = torch.randn(batch_size, steps, generator=generator)
    marks = torch.rand(batch_size, steps, generator=generator) < 0.1
    marks[:, 0] = True
    last = (marks * torch.arange(steps)).cummax(1)[0]
    return torch.stack((values, marks), 2), values.gather(1, last)
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 300, seed: int = 0, device=None) -> list[float]:
    """Hold the last marked number with one unit; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    memory = GatedMemory(2, 1).to(device)
    optimizer = torch.optim.Adam(memory.parameters(), lr=5e-2)
    losses = []
    for _ in range(steps):
        x, y = (a.to(device) for a in latch(64, 30, generator))
        loss = nn.functional.mse_loss(memory(x)[0].squeeze(2), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    dull = y.square().mean()
    print(f"squared error {losses[-1]:.4f}, of the answer 0: {dull:.4f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
