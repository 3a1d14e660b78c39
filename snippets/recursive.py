"""Recursive networks: one cell, applied up a tree instead of along a chain.

Source: Socher et al. 2013, "Recursive Deep Models for Semantic
    Compositionality Over a Sentiment Treebank" (EMNLP): the plain cell; Tai,
    Socher & Manning 2015, "Improved Semantic Representations From
    Tree-Structured Long Short-Term Memory Networks" (arXiv 1503.00075).
Axes: B batch, N nodes, E edges, I input, H hidden.
Run: python recursive.py
Licence: MIT, from the book Unrolled · 展开.
"""

# --8<-- [start:imports]
import random

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


# --8<-- [start:height]
def by_height(children, N: int) -> list[torch.Tensor]:
    """Group N nodes by height; row n of children (N, E) is n's, -1 none."""
    check_shape("children", children, N, "E", dtype=torch.int64)
    if (children < -1).any() or (children >= N).any():
        rule = f"children must be ({N}, E), each -1 or the number of a node"
        low, high = children.min().item(), children.max().item()
        raise ValueError(f"{rule}, got {low} to {high}")
    named = children[children >= 0]
    if len(named) > len(named.unique()):
        raise ValueError("children must form trees, got one with two parents")
    # Nobody, row N or -1, is done from the start, and so has no height.
    done = torch.arange(N + 1, device=children.device) == N  # (N + 1,)
    groups = []
    while not done.all():
        ready = done[children].all(1) & ~done[:N]  # (N,)
        if not ready.any():
            raise ValueError("children must form trees, got a circle")
        groups.append(ready.nonzero().squeeze(1))
        done[:N] |= ready
    return groups
    # --8<-- [end:height]


# --8<-- [start:cell]
class RecursiveNet(nn.Module):
    """A leaf is its input, projected; a parent is made of two children."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        self.input_size = input_size
        self.W = nn.Linear(input_size, hidden_size, bias=False)
        self.U = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, x, children):
        """Find the state of every node, from the leaves up.

        Shape:
            x: (N, I)
            children: (N, 2)
            -> (N, H)
        """
        dtype = self.W.weight.dtype
        check_shape("x", x, "N", self.input_size, dtype=dtype)
        check_shape("children", children, x.shape[0], 2)
        zx = self.W(x)  # (N, H)
        h = torch.cat((zx, torch.zeros_like(zx[:1])))  # (N + 1, H)
        for now in by_height(children, x.shape[0])[1:]:
            # --8<-- [start:step]
            h[now] = torch.tanh(zx[now] + self.U(h[children[now]].flatten(1)))
            # --8<-- [end:step]
        return h[:-1]
        # --8<-- [end:cell]


# --8<-- [start:lstm]
class TreeLSTM(nn.Module):
    """Two children: to each its matrices and its forget gate."""

    def __init__(self, input_size: int, hidden_size: int, slots: int = 2):
        super().__init__()
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        check_size("slots", slots)
        self.input_size, self.slots = input_size, slots
        self.W = nn.Linear(input_size, 3 * hidden_size)
        self.W_f = nn.Linear(input_size, hidden_size)
        self.U = nn.Linear(slots * hidden_size, 3 * hidden_size, bias=False)
        self.U_f = nn.Linear(*[slots * hidden_size] * 2, bias=False)

    def _below(self, h):  # (N, 2, H)
        return self.U(h.flatten(1)), self.U_f(h.flatten(1)).view_as(h)

    def forward(self, x, children):
        """Find state and cell state of every node, from the leaves up.

        Shape:
            x: (N, I)
            children: (N, 2)
            -> (N, H), (N, H)
        """
        dtype = self.W.weight.dtype
        check_shape("x", x, "N", self.input_size, dtype=dtype)
        N = x.shape[0]
        check_shape("children", children, N, self.slots)
        zx, zx_f = self.W(x), self.W_f(x).unsqueeze(1)  # (N, 3H), (N, 1, H)
        h, c = (zx.new_zeros(N + 1, zx_f.shape[2]) for _ in range(2))
        for now in by_height(children, N):
            # --8<-- [start:lstm-step]
            zh, zh_f = self._below(h[children[now]])  # (N, 3H), (N, E, H)
            a_i, a_z, a_o = (zx[now] + zh).chunk(3, 1)
            z_f = torch.sigmoid(zx_f[now] + zh_f)  # (N, E, H)
            kept = (z_f * c[children[now]]).sum(1)  # (N, H)
            new = torch.sigmoid(a_i) * torch.tanh(a_z) + kept
            # Autocast sums in float32: back to the type that c is kept in.
            c[now] = new.to(c.dtype)
            h[now] = (torch.sigmoid(a_o) * torch.tanh(new)).to(h.dtype)
            # --8<-- [end:lstm-step]
        return h[:-1], c[:-1]


class ChildSumTreeLSTM(TreeLSTM):
    """Any number of children (N, E), in no order: their states are summed."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size, slots=1)
        self.slots = "E"  # any number

    def _below(self, h):  # (N, E, H)
        return self.U(h.sum(1)), self.U_f(h)
        # --8<-- [end:lstm]


# --8<-- [start:data]
def expressions(batch_size: int, depth: int, generator: torch.Generator):
    """Roots, symbols (0, 1; 2 and, 3 or, 4 xor), children, values of trees.

    Shape:
        -> (B,), (N,), (N, 2), (N,)
    """
    check_size("batch_size", batch_size)
    if depth < 0:
        raise ValueError(f"depth must be >= 0, got {depth}")
    dice = random.Random(torch.randint(2**31, (), generator=generator).item())
    nodes = []

    def grow(depth):
        pair, (symbol, value) = [-1, -1], dice.choice([(0, 0), (1, 1)])
        if depth:
            pair = [grow(depth - 1), grow(dice.randrange(depth))]
            dice.shuffle(pair)
            a, b = (nodes[child][2] for child in pair)
            symbol, value = dice.choice([(2, a & b), (3, a | b), (4, a ^ b)])
        nodes.append((symbol, pair, value))
        return len(nodes) - 1

    roots = torch.tensor([grow(depth) for _ in range(batch_size)])
    return roots, *map(torch.tensor, zip(*nodes))
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 400, seed: int = 0, device=None) -> list[float]:
    """Learn trees of depth 1 to 4, test at depth 10; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    net, readout = RecursiveNet(5, 32).to(device), nn.Linear(32, 2).to(device)
    parameters = [*net.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-2)
    losses = []

    def answer(trees, depth):
        forest = (a.to(device) for a in expressions(trees, depth, generator))
        roots, symbols, children, values = forest
        h = net(nn.functional.one_hot(symbols, 5).float(), children)
        return readout(h[roots]), values[roots]  # (B, 2), (B,)

    for step in range(steps):
        logits, y = answer(64, 1 + step % 4)
        loss = nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        logits, y = answer(200, 10)
    accuracy = (logits.argmax(1) == y).float().mean().item()
    print(f"loss {losses[-1]:.4f}, accuracy at depth 10 {accuracy:.3f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
