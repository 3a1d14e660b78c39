"""Echo state network: a recurrence drawn at random, a linear readout fitted.

Source: Jaeger 2001, "The 'echo state' approach to analysing and training
    recurrent neural networks" (GMD report 148): series eq. 23, error eq. 25.
Axes: B batch, T time, S source time, I input, R reservoir, C channels.
Run: python esn.py
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
class Reservoir(nn.Module):
    """Leaky tanh units with weights drawn once; buffers in float64."""

    def __init__(self, input_size, reservoir_size, radius, leak, scale):
        super().__init__()
        check_size("input_size", input_size)
        check_size("reservoir_size", reservoir_size)
        if not 0 < leak <= 1 or not radius >= 0:
            rule = "leak must be in (0, 1] and radius >= 0"
            raise ValueError(f"{rule}, got {leak} and {radius}")
        self.input_size, self.reservoir_size = input_size, reservoir_size
        sizes = input_size, 1, reservoir_size
        W_ih, b, W_hh = (
            2 * torch.rand(reservoir_size, n, dtype=torch.float64) - 1
            for n in sizes
        )
        W_hh = W_hh * radius / torch.linalg.eigvals(W_hh).abs().max()
        self.register_buffer("leak", torch.tensor(leak, dtype=W_hh.dtype))  # ()
        self.register_buffer("W_ih", scale * W_ih)  # (R, I)
        # Biases are half as large as the weights of the input.
        self.register_buffer("b", scale * 0.5 * b.squeeze(1))  # (R)
        self.register_buffer("W_hh", W_hh)  # (R, R)

    def forward(self, x, h=None):
        """Run over time; `h` is the state before the first step, 0 if None.

        Shape:
            x: (B, T, I)
            h: (B, R)
            -> (B, T, R), (B, R)
        """
        check_shape("x", x, "B", "T", self.input_size, dtype=self.b.dtype)
        B = x.shape[0]
        h = x.new_zeros(B, self.reservoir_size) if h is None else h
        check_shape("h", h, B, self.reservoir_size, dtype=self.b.dtype)
        out, a = [], self.leak
        for zx in nn.functional.linear(x, self.W_ih, self.b).unbind(1):
            # --8<-- [start:step]
            n = torch.tanh(zx + h @ self.W_hh.T)  # (B, R)
            h = (1 - a) * h + a * n
            # --8<-- [end:step]
            out.append(h)
        return torch.stack(out, 1), h
        # --8<-- [end:cell]


# --8<-- [start:fit]
def features(out, x):
    """What the readout sees: the states, the input, and a one."""
    return nn.functional.pad(torch.cat((out, x), 2), (0, 1), value=1.0)


class EchoState(Reservoir):
    """A reservoir and a linear readout W_o, (R+I+1, C), that `fit` solves."""

    def __init__(
        self, input_size, reservoir_size, radius=0.9, leak=1.0, scale=1.0
    ):
        super().__init__(input_size, reservoir_size, radius, leak, scale)
        self.register_buffer("W_o", None)

    def _load_from_state_dict(self, state_dict, prefix, *args):
        if (W_o := state_dict.get(prefix + "W_o")) is not None:
            self.W_o = W_o.to(self.b)  # only a fit knows its width
        super()._load_from_state_dict(state_dict, prefix, *args)

    def fit(self, x, y, washout: int = 0):
        """All the training there is; the first steps do not count.

        Shape:
            x: (B, T, I)
            y: (B, T, C)
            -> (B, T, C)
        """
        A = features(self(x)[0], x)  # (B, T, R+I+1)
        check_shape("y", y, *x.shape[:2], "C", dtype=x.dtype)
        if not (x.isfinite().all() and y.isfinite().all()):
            raise ValueError("x and y must be finite, got a NaN or infinity")
        if not 0 <= washout < x.shape[1]:
            raise ValueError(f"washout must be 0 to T - 1, got {washout}")
        # --8<-- [start:fit-step]
        # By singular values (gelsd): states that nearly repeat each other are
        # too much for CUDA's solver, and torch's default is not repeatable.
        pair = (seen[:, washout:].flatten(0, 1).cpu() for seen in (A, y))
        self.W_o = torch.linalg.lstsq(*pair, driver="gelsd").solution.to(A)
        # --8<-- [end:fit-step]
        return A @ self.W_o
        # --8<-- [end:fit]


# --8<-- [start:free]
def free_run(model: EchoState, x, steps: int):
    """Listen to x, then go on for T steps, each answer the next input.

    Shape:
        x: (B, S, I)
        -> (B, T, I)
    """
    if model.W_o is None:
        raise ValueError("fit first: the model has no readout yet")
    if model.W_o.shape[1] != model.input_size:
        rule = f"y in fit must be as wide as x, {model.input_size}"
        raise ValueError(f"{rule}, got {model.W_o.shape[1]}")
    if steps < 0:
        raise ValueError(f"steps must be >= 0, got {steps}")
    out, h = model(x)
    last, answers = x[:, -1:], [x[:, :0]]  # (B, 1, I)
    for step in range(steps):
        if step:
            out, h = model(last, h)
        last = features(out[:, -1:], last) @ model.W_o  # (B, 1, I)
        answers.append(last)
    return torch.cat(answers, 1)
    # --8<-- [end:free]


# --8<-- [start:data]
def mackey_glass(batch_size: int, steps: int, generator: torch.Generator):
    """Chaos with a delay of 17; ten Euler steps make one step of the series.

    Shape:
        -> (B, T, 1)
    """
    check_size("batch_size", batch_size)
    check_size("steps", steps)
    fine, length = 10, 0.1  # Euler steps in a step of the series
    delay, dropped = 17 * fine, 500 * fine  # 500 steps are thrown away
    start = torch.rand(batch_size, generator=generator, dtype=torch.float64)
    past = [1.1 + 0.2 * start] * (delay + 1)
    for i in range(dropped + fine * (steps - 1)):
        late, now = past[i], past[-1]
        slope = 0.2 * late / (1 + late**10) - 0.1 * now
        past.append(now + length * slope)  # eq. 23
    kept = past[delay + dropped :: fine]
    return torch.tanh(torch.stack(kept, 1) - 1).unsqueeze(2)


def nrmse(guess, truth):
    """Error (T,) of guesses (B, T, 1), in units of the series, eq. 25.

    A guess beyond 0.99 counts as 0.99, for atanh ends at 1: the error of a run
    that left the range is cut off there.
    """
    both = (guess[..., 0], truth[..., 0])
    guess, truth = (a.clamp(-0.99, 0.99).atanh() for a in both)
    return ((guess - truth).square().mean(0) / truth.var()).sqrt()
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 5, seed: int = 0, device=None) -> list[float]:
    """Solve for `steps` reservoirs; returns each one's error 84 steps ahead."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    if torch.device(device).type == "mps":
        print("MPS has no float64, so this runs on the CPU")
        device = "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    series = mackey_glass(1, 3001, generator).to(device)
    tests = mackey_glass(20, 284, generator).to(device)
    losses = []
    for _ in range(steps):
        model = EchoState(1, 400, radius=0.95, leak=0.6).to(device)
        model.fit(series[:, :-1], series[:, 1:], washout=200)
        guess = free_run(model, tests[:, :200], 84)
        losses.append(round(nrmse(guess, tests[:, 200:])[-1].item(), 6))
    print(f"error at 84 steps: {min(losses):.1e} to {max(losses):.1e}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
