"""Gated recurrent unit: one gate mixes old and new, one hides the past.

Source: Cho et al. 2014, "Learning Phrase Representations using RNN
    Encoder-Decoder for Statistical Machine Translation" (arXiv 1406.1078: v1
    and v3 place the reset differently); the documentation of torch.nn.GRU,
    whose parameter names these are.
Axes: B batch, T time, I input, H hidden.
Run: python gru.py
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
class GRU(nn.Module):
    """A GRU; takes the state_dict of nn.GRU(I, H, batch_first=True)."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        H = hidden_size
        self.weight_ih_l0 = nn.Parameter(torch.empty(3 * H, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(3 * H, H))
        self.bias_ih_l0 = nn.Parameter(torch.empty(3 * H))
        self.bias_hh_l0 = nn.Parameter(torch.empty(3 * H))
        self.reset_parameters()

    def reset_parameters(self):
        """Draw all weights anew, as nn.GRU does."""
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
        # (B, T, 3H)
        zx = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        out = []
        for zx_t in zx.unbind(1):
            # --8<-- [start:step]
            x_r, x_z, x_n = zx_t.chunk(3, 1)  # (B, H)
            h_r, h_z, h_n = nn.functional.linear(h, W, b).chunk(3, 1)
            r = torch.sigmoid(x_r + h_r)
            z = torch.sigmoid(x_z + h_z)
            n = torch.tanh(x_n + r * h_n)
            h = (1 - z) * n + z * h
            # --8<-- [end:step]
            out.append(h)
        return torch.stack(out, 1), h
        # --8<-- [end:cell]


# --8<-- [start:cho]
class GRUCho2014(GRU):
    """The GRU of arXiv v3: the reset gate acts before the product.

    It has the parameters of nn.GRU, loads its state_dict, and is another
    function: weights trained in the one are wrong in the other.
    """

    def forward(self, x, h=None):
        """Run over time; `h` is the state before the first step, 0 if None.

        Shape:
            x: (B, T, I)
            h: (B, H)
            -> (B, T, H), (B, H)
        """
        dtype = self.weight_hh_l0.dtype
        check_shape("x", x, "B", "T", self.input_size, dtype=dtype)
        B = x.shape[0]
        h = x.new_zeros(B, self.hidden_size) if h is None else h
        check_shape("h", h, B, self.hidden_size, dtype=dtype)
        W_r, W_z, W_n = self.weight_hh_l0.chunk(3)
        b_r, b_z, b_n = self.bias_hh_l0.chunk(3)
        # (B, T, 3H)
        zx = nn.functional.linear(x, self.weight_ih_l0, self.bias_ih_l0)
        out = []
        for zx_t in zx.unbind(1):
            # --8<-- [start:cho-step]
            x_r, x_z, x_n = zx_t.chunk(3, 1)  # (B, H)
            r = torch.sigmoid(x_r + nn.functional.linear(h, W_r, b_r))
            z = torch.sigmoid(x_z + nn.functional.linear(h, W_z, b_z))
            n = torch.tanh(x_n + nn.functional.linear(r * h, W_n, b_n))
            h = (1 - z) * n + z * h
            # --8<-- [end:cho-step]
            out.append(h)
        return torch.stack(out, 1), h
        # --8<-- [end:cho]


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
def main(steps: int = 200, seed: int = 0, device=None) -> list[float]:
    """Add two marked numbers among 50; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    gru, readout = GRU(2, 32).to(device), nn.Linear(32, 1).to(device)
    parameters = [*gru.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-2)
    losses = []
    for _ in range(steps):
        x, y = (a.to(device) for a in adding(64, 50, generator))
        loss = nn.functional.mse_loss(readout(gru(x)[1]).squeeze(1), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.item())
    print(f"mean squared error {losses[-1]:.5f}, always 1: {1 / 6:.5f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
