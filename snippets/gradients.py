"""How a gradient travels back through time, and what is done to it on the way.

Source: Werbos 1990, "Backpropagation Through Time: What It Does and How to
    Do It" (Proceedings of the IEEE 78(10)); Pascanu, Mikolov & Bengio 2013,
    "On the difficulty of training recurrent neural networks" (arXiv 1211.5063);
    the documentation of torch.nn.utils.clip_grad_norm_ and clip_grad_value_.
Axes: B batch, T time, H hidden.
Run: python gradients.py
Licence: MIT, from the book Unrolled · 展开.
"""

# --8<-- [start:imports]
import math

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
def bptt(gradient, slopes, past, W, window=None):
    """Write dL/dW as a sum over steps; its terms, from the last step back.

    `gradient` is dL/dh at the last step, `slopes` f' at every step, `past` the
    state before every step. With a window only that many terms are computed.

    Shape:
        gradient: (B, H)
        slopes: (B, T, H)
        past: (B, T, H)
        W: (H, H)
        -> (T, H, H)
    """
    check_shape("slopes", slopes, "B", "T", "H")
    B, T, H = slopes.shape
    check_shape("gradient", gradient, B, H, dtype=slopes.dtype)
    check_shape("past", past, B, T, H, dtype=slopes.dtype)
    check_shape("W", W, H, H, dtype=slopes.dtype)
    if window is not None:
        check_size("window", window)
    backwards = [*zip(slopes.unbind(1), past.unbind(1))][::-1]
    terms = []
    for slope, h in backwards[:window]:
        # --8<-- [start:step]
        delta = gradient * slope  # (B, H)
        terms.append(delta.T @ h)  # (H, H)
        gradient = delta @ W  # (B, H)
        # --8<-- [end:step]
    return torch.stack(terms)
    # --8<-- [end:cell]


# --8<-- [start:gain]
def jacobian_gain(y, states):
    """Measure dy/ds for every s in `states`: the RMS of its singular values.

    `y` is (B, H); its examples depend on their own states only. The result is
    float64 on the CPU: the squares of vanishing numbers need that range.
    """
    check_shape("y", y, "B", "H")
    B, H = y.shape
    rows = torch.eye(H).to(y).unsqueeze(1).expand(H, B, H)
    jacobians = torch.autograd.grad(y, states, rows, is_grads_batched=True)
    squares = [J.cpu().double().square().sum() for J in jacobians]
    return (torch.stack(squares) / (B * H)).sqrt()
    # --8<-- [end:gain]


# --8<-- [start:truncate]
def in_windows(rnn, x, window, h=None):
    """Run over x; the state goes on for ever, the gradient for a window.

    `rnn` is batch first: a model of this book, or torch's RNN, LSTM or GRU with
    batch_first=True. `h` is its state, 0 if None.
    """
    check_size("window", window)
    check_shape("x", x, "B", "T", "I")
    if not getattr(rnn, "batch_first", True):
        raise ValueError(
            "rnn must have batch_first=True, got batch_first=False"
        )
    if getattr(rnn, "bidirectional", False):
        raise ValueError("rnn must read one way, got bidirectional=True")
    outs = []
    for part in x.split(window, 1):
        out, h = rnn(part, h)
        outs.append(out)
        # An LSTM's state is a pair, (h, c).
        h = tuple(s.detach() for s in h) if isinstance(h, tuple) else h.detach()
    return torch.cat(outs, 1), h
    # --8<-- [end:truncate]


# --8<-- [start:clip]
def clip_by_norm(gradients, limit):
    """Shorten all gradients by one factor, so that their joint norm fits.

    A parameter that no loss has reached has the gradient None, and keeps it.
    """
    if not limit > 0:
        raise ValueError(f"limit must be > 0, got {limit}")
    gradients = list(gradients)  # a generator could be read only once
    given = [g for g in gradients if g is not None]
    if not given:
        return gradients
    # Divide first: the square of 300 leaves half precision, that of 1e20
    # leaves float32, and the norm of what is left would be infinite.
    wide = [g.to(torch.promote_types(g.dtype, torch.float32)) for g in given]
    largest = torch.stack([g.abs().max() for g in wide]).max()
    largest = largest.clamp(min=torch.finfo(largest.dtype).tiny)
    squares = torch.stack([(g / largest).square().sum() for g in wide])
    factor = (limit / largest / squares.sum().sqrt()).clamp(max=1)
    return [None if g is None else g * factor for g in gradients]


def clip_by_value(gradients, limit):
    """Cut every number to [-limit, limit], each for itself."""
    if not limit > 0:
        raise ValueError(f"limit must be > 0, got {limit}")
    return [None if g is None else g.clamp(-limit, limit) for g in gradients]
    # --8<-- [end:clip]


# --8<-- [start:gate]
def time_constant(bias: float) -> float:
    """Time constant of a gate, in steps: 1 / (1 - sigmoid(bias)).

    After so many steps about 1/e is left if the bias is large, and less if it
    is small: at bias 0 these are 2 steps, and a quarter is left.
    """
    return 1 + math.exp(bias)


def bias_for(steps: float) -> float:
    """Find the bias that gives a gate this time constant."""
    if not steps > 1:
        raise ValueError(f"steps must be > 1, got {steps}")
    return math.log(steps - 1)
    # --8<-- [end:gate]


# --8<-- [start:main]
def main(steps: int = 200, seed: int = 0, device=None) -> list[float]:
    """Recall the first of 11 bits; returns losses with the whole gradient.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    losses, right = {}, {}
    for window in (11, 8):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        rnn = nn.RNN(1, 32, batch_first=True).to(device)
        readout = nn.Linear(32, 2).to(device)
        parameters = [*rnn.parameters(), *readout.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=5e-3)
        losses[window] = []
        for _ in range(steps):
            bits = torch.randint(2, (64, 11, 1), generator=generator).to(device)
            logits = readout(in_windows(rnn, 2.0 * bits - 1, window)[0][:, -1])
            loss = nn.functional.cross_entropy(logits, bits[:, 0, 0])
            gradients = torch.autograd.grad(loss, parameters)
            for p, g in zip(parameters, clip_by_norm(gradients, 1.0)):
                p.grad = g
            optimizer.step()
            losses[window].append(loss.item())
        right[window] = (logits.argmax(1) == bits[:, 0, 0]).float().mean()
    whole, cut = right[11], right[8]
    print(f"recall: whole gradient {whole:.2f}, in windows of 8 {cut:.2f}")
    return losses[11]
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
