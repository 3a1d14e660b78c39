"""Graph neural networks: nodes exchange messages along edges, in no order.

Source: Gilmer, Schoenholz, Riley, Vinyals & Dahl 2017, "Neural Message
    Passing for Quantum Chemistry" (arXiv 1704.01212); Kipf & Welling 2017,
    "Semi-Supervised Classification with Graph Convolutional Networks" (arXiv
    1609.02907): GCN; Veličković et al. 2018, "Graph Attention Networks"
    (arXiv 1710.10903): GAT.
Axes: N nodes, E edges, F node features, C channels, A heads, D model width.
Run: python gnn.py
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


# --8<-- [start:collect]
def ends(x, edge_index, loops: bool = False):
    """Where edges start and end; with `loops` a node hears itself, once.

    Shape:
        x: (N, F)
        edge_index: (2, E)
        -> (2, E)

    Raises:
        ValueError: edge_index is no table of node numbers, 0 to N - 1.
    """
    check_shape("x", x, "N", "F")
    N = x.shape[0]
    if isinstance(edge_index, torch.Tensor) and edge_index.shape == (2, 0):
        edge_index = edge_index.long()  # torch.tensor([[], []]) is float
    else:
        check_shape("edge_index", edge_index, 2, "E", dtype=torch.int64)
        traced = torch.compiler.is_compiling()  # then there are no values yet
        if not traced and (edge_index.min() < 0 or edge_index.max() >= N):
            rule = f"edge_index must hold numbers of nodes, 0 to {N - 1}"
            low, high = edge_index.min().item(), edge_index.max().item()
            raise ValueError(f"{rule}, got {low} to {high}")
    if loops:
        own = torch.arange(N, device=x.device).expand(2, -1)  # (2, N)
        edges = edge_index[:, edge_index[0] != edge_index[1]]
        edge_index = torch.cat((edges, own), 1)
    return edge_index


def collect(messages, target, N: int):
    """Each node adds up what arrives: (E, …) -> (N, …)."""
    # Half precision cannot count: in bfloat16 256 + 1 is 256.
    wide = torch.promote_types(messages.dtype, torch.float32)
    out = messages.new_zeros(N, *messages.shape[1:], dtype=wide)
    return out.index_add_(0, target, messages.to(wide)).to(messages.dtype)
    # --8<-- [end:collect]


# --8<-- [start:cell]
class MessagePassing(nn.Module):
    """A message along every edge, their sum, a new state for every node."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        check_size("in_channels", in_channels)
        check_size("out_channels", out_channels)
        self.message = nn.Linear(2 * in_channels, out_channels)
        self.update = nn.Linear(in_channels + out_channels, out_channels)

    def forward(self, x, edge_index):
        """One round; edge e goes from edge_index[0, e] to edge_index[1, e].

        Shape:
            x: (N, F)
            edge_index: (2, E)
            -> (N, C)
        """
        # --8<-- [start:step]
        source, target = ends(x, edge_index)  # (E)
        pairs = torch.cat((x[target], x[source]), 1)  # (E, 2F)
        m = torch.relu(self.message(pairs))  # (E, C)
        m = collect(m, target, x.shape[0])  # (N, C)
        return self.update(torch.cat((x, m), 1))  # (N, C)
        # --8<-- [end:step]
        # --8<-- [end:cell]


# --8<-- [start:gcn]
class GCNLayer(nn.Module):
    """Takes the state_dict of torch_geometric's GCNConv(F, C)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        check_size("in_channels", in_channels)
        check_size("out_channels", out_channels)
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.empty(out_channels))
        self.reset_parameters()

    def reset_parameters(self):
        """Draw the weight anew; the bias starts at zero."""
        nn.init.xavier_uniform_(self.lin.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x, edge_index):
        """Mix every node with its neighbours, by degrees.

        Shape:
            x: (N, F)
            edge_index: (2, E)
            -> (N, C)
        """
        # --8<-- [start:gcn-step]
        source, target = ends(x, edge_index, loops=True)  # (E)
        N, one = x.shape[0], torch.ones_like(x[target, :1])  # (E, 1)
        d = collect(one, target, N)  # (N, 1)
        # Two roots, not the root of a product: that may leave half precision.
        share = d[source] ** -0.5 * d[target] ** -0.5  # (E, 1)
        messages = share * self.lin(x)[source]  # (E, C)
        return collect(messages, target, N) + self.bias
        # --8<-- [end:gcn-step]
        # --8<-- [end:gcn]


# --8<-- [start:gat]
def edge_softmax(scores, target, N: int):
    """Softmax over the edges into each node: (E, A) -> (E, A)."""
    low = scores.new_full((N, scores.shape[1]), -torch.inf)
    index = target.unsqueeze(1).expand_as(scores)
    largest = low.scatter_reduce(0, index, scores, "amax")[target]
    e = (scores - largest).exp()  # (E, A)
    return e / collect(e, target, N)[target]


class GATLayer(nn.Module):
    """Takes the state_dict of torch_geometric's GATConv(F, C, A)."""

    def __init__(self, in_channels: int, out_channels: int, heads: int = 1):
        super().__init__()
        check_size("in_channels", in_channels)
        check_size("out_channels", out_channels)
        check_size("heads", heads)
        self.lin = nn.Linear(in_channels, heads * out_channels, bias=False)
        self.att_src = nn.Parameter(torch.randn(1, heads, out_channels))
        self.att_dst = nn.Parameter(torch.randn(1, heads, out_channels))
        self.bias = nn.Parameter(torch.zeros(heads * out_channels))

    def forward(self, x, edge_index):
        """Mix every node with its neighbours, by learned weights.

        Shape:
            x: (N, F)
            edge_index: (2, E)
            -> (N, D)
        """
        # --8<-- [start:gat-step]
        source, target = ends(x, edge_index, loops=True)  # (E)
        v = self.lin(x).unflatten(1, self.att_src.shape[1:])  # (N, A, C)
        sends, hears = (v * self.att_src).sum(2), (v * self.att_dst).sum(2)
        scores = sends[source] + hears[target]  # (E, A)
        scores = nn.functional.leaky_relu(scores, negative_slope=0.2)
        weights = edge_softmax(scores, target, x.shape[0]).unsqueeze(2)
        out = collect(weights * v[source], target, x.shape[0])  # (N, A, C)
        return out.flatten(1) + self.bias  # (N, D)
        # --8<-- [end:gat-step]
        # --8<-- [end:gat]


# --8<-- [start:data]
def karate_club():
    """Zachary 1977, "An Information Flow Model for Conflict": 34 members.

    Edges in both directions, and who left with the officers (1) in the end.

    Shape:
        -> (2, 156), (34,)
    """
    # Whom each member met, of those with a smaller number.
    met = {
        1: (0,),
        2: (0, 1),
        3: (0, 1, 2),
        4: (0,),
        5: (0,),
        6: (0, 4, 5),
        7: (0, 1, 2, 3),
        8: (0, 2),
        9: (2,),
        10: (0, 4, 5),
        11: (0,),
        12: (0, 3),
        13: (0, 1, 2, 3),
        16: (5, 6),
        17: (0, 1),
        19: (0, 1),
        21: (0, 1),
        25: (23, 24),
        27: (2, 23, 24),
        28: (2,),
        29: (23, 26),
        30: (1, 8),
        31: (0, 24, 25, 28),
        32: (2, 8, 14, 15, 18, 20, 22, 23, 29, 30, 31),
        33: (8, 9, 13, 14, 15, 18, 19, 20, 22, 23, 26, 27, 28, 29, 30, 31, 32),
    }
    pairs = [(j, i) for i, others in met.items() for j in others]  # 78
    there = torch.tensor(pairs).T  # (2, 78)
    stayed = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21}
    club = torch.tensor([int(i not in stayed) for i in range(34)])
    return torch.cat((there, there.flip(0)), 1), club
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 300, seed: int = 0, device=None) -> list[float]:
    """Two labelled members, 32 to place; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    edges, club = (a.to(device) for a in karate_club())
    net = nn.ModuleList([GCNLayer(34, 16), GCNLayer(16, 2)]).to(device)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2, weight_decay=5e-3)
    x, leaders, losses = torch.eye(34, device=device), [0, 33], []
    for _ in range(steps):
        answer = net[1](torch.relu(net[0](x, edges)), edges)
        loss = nn.functional.cross_entropy(answer[leaders], club[leaders])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    right = (answer.argmax(1) == club).sum().item() - len(leaders)
    print(f"loss {losses[-1]:.3f}, {right} of 32 placed as they chose")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
