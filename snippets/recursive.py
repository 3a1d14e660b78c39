"""Recursive networks: one cell, applied up a tree instead of along a chain.

Source: Socher et al. 2013, "Recursive Deep Models" (EMNLP): the plain cell;
    Tai, Socher, Manning 2015, "Improved Semantic Representations From
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


# --8<-- [start:height]
def by_height(children, N: int) -> list[torch.Tensor]:
    """Group N nodes by height; row n of children (N, E) is n's, -1 none."""
    if len(children) != N or (children < -1).any() or (children >= N).any():
        rule = f"children must be ({N}, E), each -1 or the number of a node"
        raise ValueError(f"{rule}, got {children.tolist()}")
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
        self.W = nn.Linear(input_size, hidden_size, bias=False)
        self.U = nn.Linear(2 * hidden_size, hidden_size)

    def forward(self, x, children):
        """Find the state of every node, from the leaves up.

        Shape:
            x: (N, I)
            children: (N, 2)
            -> (N, H)
        """
        zx = self.W(x)  # (N, H)
        h = torch.cat((zx, torch.zeros_like(zx[:1])))  # (N + 1, H)
        for now in by_height(children, len(x))[1:]:
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
        zx, zx_f = self.W(x), self.W_f(x).unsqueeze(1)  # (N, 3H), (N, 1, H)
        h, c = (zx.new_zeros(len(x) + 1, zx_f.shape[2]) for _ in range(2))
        for now in by_height(children, len(x)):
            # --8<-- [start:lstm-step]
            zh, zh_f = self._below(h[children[now]])  # (N, 3H), (N, E, H)
            a_i, a_z, a_o = (zx[now] + zh).chunk(3, 1)
            z_f = torch.sigmoid(zx_f[now] + zh_f)  # (N, E, H)
            kept = (z_f * c[children[now]]).sum(1)  # (N, H)
            c[now] = torch.sigmoid(a_i) * torch.tanh(a_z) + kept
            h[now] = torch.sigmoid(a_o) * torch.tanh(c[now])
            # --8<-- [end:lstm-step]
        return h[:-1], c[:-1]


class ChildSumTreeLSTM(TreeLSTM):
    """Any number of children (N, E), in no order: their states are summed."""

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__(input_size, hidden_size, slots=1)

    def _below(self, h):  # (N, E, H)
        return self.U(h.sum(1)), self.U_f(h)
        # --8<-- [end:lstm]


# --8<-- [start:data]
def expressions(batch_size: int, depth: int, generator: torch.Generator):
    """Roots, symbols (0, 1; 2 and, 3 or, 4 xor), children, values of trees.

    Shape:
        -> (B,), (N,), (N, 2), (N,)
    """
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
    """Learn trees of depth 1 to 4, test at depth 10; returns the losses."""
    device = device or torch.accelerator.current_accelerator(True) or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = nn.ModuleList([RecursiveNet(5, 32), nn.Linear(32, 2)]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for step in range(steps + 1):
        size, depth = (64, 1 + step % 4) if step < steps else (200, 10)
        forest = (a.to(device) for a in expressions(size, depth, generator))
        roots, symbols, children, values = forest
        h = model[0](nn.functional.one_hot(symbols, 5).float(), children)
        logits, y = model[1](h[roots]), values[roots]
        loss = nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    accuracy = (logits.argmax(1) == y).float().mean().item()
    print(f"loss {losses[-2]:.4f}, accuracy at depth 10 {accuracy:.3f}")
    return losses[:-1]
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
