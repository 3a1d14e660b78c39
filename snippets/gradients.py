"""How a gradient travels back through time, and what is done to it on the way.

Source: Werbos 1990, "Backpropagation Through Time"; Pascanu, Mikolov & Bengio
    2013, "On the difficulty of training recurrent neural networks"; the
    documentation of torch.nn.utils.clip_grad_norm_ and clip_grad_value_.
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

    With `dtype`, numbers of another type are refused too, unless autocast is
    on and casts them anyway.

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
        free = ", ".join(axis for axis in axes if isinstance(axis, str))
        rule = f"({want}) with {free} >= 1" if free else f"({want})"
        raise ValueError(f"{name} must be {rule}, got {tuple(tensor.shape)}")
    if dtype is None or torch.is_autocast_enabled(tensor.device.type):
        return
    if tensor.dtype != dtype:
        raise ValueError(f"{name} must be {dtype}, got {tensor.dtype}")


def check_size(name: str, size: int) -> None:
    """Refuse a size that is not a whole number from 1 on.

    Raises:
        ValueError: what must hold and what came.
    """
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"{name} must be a whole number >= 1, got {size}")
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
    check_shape("gradient", gradient, B, H)
    check_shape("past", past, B, T, H)
    check_shape("W", W, H, H)
    if window is not None and window < 1:
        raise ValueError(f"window must be >= 1, got {window}")
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

    `y` is (B, H); its examples depend on their own states only.
    """
    check_shape("y", y, "B", "H")
    B, H = y.shape
    rows = torch.eye(H).to(y).unsqueeze(1).expand(H, B, H)
    jacobians = torch.autograd.grad(y, states, rows, is_grads_batched=True)
    return torch.stack([J.square().sum() / (B * H) for J in jacobians]).sqrt()
    # --8<-- [end:gain]


# --8<-- [start:truncate]
def in_windows(rnn, x, window, h=None):
    """Run over x; the state goes on for ever, the gradient for a window."""
    outs = []
    for part in x.split(window, 1):
        out, h = rnn(part, h)
        outs.append(out)
        h = h.detach()
    return torch.cat(outs, 1), h
    # --8<-- [end:truncate]


# --8<-- [start:clip]
def clip_by_norm(gradients, limit):
    """Shorten all gradients by one factor, so that their joint norm fits."""
    if not limit > 0:
        raise ValueError(f"limit must be > 0, got {limit}")
    norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
    return [g * (limit / norm).clamp(max=1) for g in gradients]


def clip_by_value(gradients, limit):
    """Cut every number to [-limit, limit], each for itself."""
    if not limit > 0:
        raise ValueError(f"limit must be > 0, got {limit}")
    return [g.clamp(-limit, limit) for g in gradients]
    # --8<-- [end:clip]


# --8<-- [start:gate]
def time_constant(bias: float) -> float:
    """Steps until a gate of this bias has let all but 1/e leak away."""
    return 1 + math.exp(bias)


def bias_for(steps: float) -> float:
    """Find the bias that gives a gate this time constant."""
    if not steps > 1:
        raise ValueError(f"steps must be > 1, got {steps}")
    return math.log(steps - 1)
    # --8<-- [end:gate]


# --8<-- [start:main]
def main(steps: int = 200, seed: int = 0, device=None) -> list[float]:
    """Recall the first of 11 bits; returns losses with the whole gradient."""
    device = device or torch.accelerator.current_accelerator(True) or "cpu"
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
    print(f"recall: whole gradient {right[11]:.2f}, cut at 3 {right[8]:.2f}")
    return losses[11]
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
