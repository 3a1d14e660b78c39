"""Graph neural networks: nodes exchange messages along edges, in no order.

Source: Gilmer et al. 2017 (arXiv 1704.01212), GCN 1609.02907, GAT 1710.10903.
Axes: N nodes, E edges, F node features, C channels, A heads, D model width.
Run: python gnn.py
Licence: MIT, from the book Unrolled · 展开.
"""

# --8<-- [start:imports]
import torch
from torch import nn

# --8<-- [end:imports]


# --8<-- [start:collect]
def ends(x, edge_index, loops: bool = False):
    """Where edges start and end; with `loops` a node hears itself, once."""
    if x.ndim != 2 or edge_index.ndim != 2 or len(edge_index) != 2:
        got = f"{tuple(x.shape)} and {tuple(edge_index.shape)}"
        raise ValueError(f"x must be (N, F), edge_index (2, E), got {got}")
    if loops:
        own = torch.arange(len(x), device=x.device).expand(2, -1)  # (2, N)
        edges = edge_index[:, edge_index[0] != edge_index[1]]
        edge_index = torch.cat((edges, own), 1)
    return edge_index


def collect(messages, target, N: int):
    """Each node adds up what arrives: (E, …) -> (N, …)."""
    out = messages.new_zeros(N, *messages.shape[1:])
    return out.index_add_(0, target, messages)
    # --8<-- [end:collect]


# --8<-- [start:cell]
class MessagePassing(nn.Module):
    """A message along every edge, their sum, a new state for every node."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
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
        m = collect(torch.relu(self.message(pairs)), target, len(x))  # (N, C)
        return self.update(torch.cat((x, m), 1))  # (N, C)
        # --8<-- [end:step]
        # --8<-- [end:cell]


# --8<-- [start:gcn]
class GCNLayer(nn.Module):
    """Takes the state_dict of torch_geometric's GCNConv(F, C)."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.lin = nn.Linear(in_channels, out_channels, bias=False)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        nn.init.xavier_uniform_(self.lin.weight)

    def forward(self, x, edge_index):
        """Mix every node with its neighbours, by degrees.

        Shape:
            x: (N, F)
            edge_index: (2, E)
            -> (N, C)
        """
        # --8<-- [start:gcn-step]
        source, target = ends(x, edge_index, loops=True)  # (E)
        d = collect(torch.ones_like(x[target, :1]), target, len(x))  # (N, 1)
        share = (d[source] * d[target]) ** -0.5  # (E, 1)
        return collect(share * self.lin(x)[source], target, len(x)) + self.bias
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
        told, asked = (v * self.att_src).sum(2), (v * self.att_dst).sum(2)
        scores = nn.functional.leaky_relu(told[source] + asked[target], 0.2)
        weights = edge_softmax(scores, target, len(x)).unsqueeze(2)
        out = collect(weights * v[source], target, len(x))  # (N, A, C)
        return out.flatten(1) + self.bias  # (N, D)
        # --8<-- [end:gat-step]
        # --8<-- [end:gat]


# --8<-- [start:data]
def karate_club():
    """Zachary 1977: who met whom (2, 156), who left with the officers (34)."""
    met = "/0/01/012/0/0/045/0123/02/2/045/0/03/0123///56/01//01//01////"
    met += "NO//2NO/2/NQ/18/0OPS/28EFIKMNTUV/89DEFIJKMNQRSTUVW"
    rows = enumerate(met.split("/"))
    pairs = torch.tensor([(int(j, 36), i) for i, row in rows for j in row]).T
    club = [*map(int, "0000000001000011001010111111111111")]
    return torch.cat((pairs, pairs.flip(0)), 1), torch.tensor(club)
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 300, seed: int = 0, device=None) -> list[float]:
    """Two labelled members, 32 to place; returns the losses."""
    device = device or torch.accelerator.current_accelerator(True) or "cpu"
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
    right = (answer.argmax(1) == club).sum().item() - 2
    print(f"loss {losses[-1]:.3f}, {right} of 32 placed as they chose")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
