"""Sequence to sequence: read one sequence to its end, then write another.

Source: Sutskever et al. 2014 (arXiv 1409.3215); Cho et al. 2014 (1406.1078).
Axes: B batch, T time, S source time, V vocabulary, H hidden.
Run: python seq2seq.py
Licence: MIT, from the book Unrolled · 展开.
"""

# --8<-- [start:imports]
import torch
from torch import nn

# --8<-- [end:imports]

END = 10


# --8<-- [start:encoder]
class Encoder(nn.Module):
    """Reads the source; its last state is the summary."""

    def __init__(self, vocab_size: int, embed_size: int, hidden_size: int):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, embed_size)
        self.gru = nn.GRU(embed_size, hidden_size, batch_first=True)

    def forward(self, source, mask):
        """Read what `mask` keeps; padding may follow, not come before.

        Shape:
            source: (B, S)
            mask: (B, S)
            -> (B, S, H), (B, H)
        """
        if mask.ndim != 2 or mask.shape != source.shape:
            got = f"{tuple(source.shape)} and {tuple(mask.shape)}"
            raise ValueError(f"source and mask must be (B, S), got {got}")
        if mask.sum(1).min() < 1 or (mask[:, 1:] > mask[:, :-1]).any():
            raise ValueError("mask must keep a beginning of every source")
        # --8<-- [start:encoder-step]
        out, _ = self.gru(self.embed(source))  # (B, S, H)
        return out, out[torch.arange(len(out)), mask.sum(1) - 1]
        # --8<-- [end:encoder-step]
        # --8<-- [end:encoder]


# --8<-- [start:cell]
class Decoder(nn.Module):
    """Writes the target; all it knows of the source is one vector."""

    def __init__(self, vocab_size: int, embed_size: int, hidden_size: int):
        super().__init__()
        self.embed = nn.Embedding(vocab_size, embed_size)
        both = embed_size + hidden_size
        self.gru = nn.GRU(both, hidden_size, batch_first=True)
        self.readout = nn.Linear(hidden_size, vocab_size)

    def forward(self, previous, context, h=None):
        """Score the token of each step, given the one before it.

        Shape:
            previous: (B, T)
            context: (B, H)
            h: (B, H)
            -> (B, T, V), (B, H)
        """
        h = context if h is None else h
        want = (len(previous), self.gru.hidden_size)
        if previous.ndim != 2 or context.shape != want or h.shape != want:
            got = [tuple(a.shape) for a in (previous, context, h)]
            raise ValueError(f"want (B, T), {want}, {want}, got {got}")
        # --8<-- [start:step]
        c = context.unsqueeze(1).expand(-1, previous.shape[1], -1)  # (B, T, H)
        x = torch.cat((self.embed(previous), c), 2)
        out, h = self.gru(x, h.unsqueeze(0))  # (B, T, H)
        return self.readout(out), h.squeeze(0)  # (B, T, V), (B, H)
        # --8<-- [end:step]
        # --8<-- [end:cell]


# --8<-- [start:loss]
def masked_cross_entropy(scores, target, mask):
    """Mean over the tokens that `mask` keeps (True), and over no others.

    Shape:
        scores: (B, T, V)
        target: (B, T)
        mask: (B, T)
        -> ()
    """
    if mask.dtype != torch.bool or mask.shape != target.shape:
        got = f"{mask.dtype} {tuple(mask.shape)}"
        raise ValueError(f"mask must be boolean (B, T), got {got}")
    return nn.functional.cross_entropy(scores[mask], target[mask])
    # --8<-- [end:loss]


# --8<-- [start:search]
@torch.no_grad()
def greedy(decoder, context, steps: int, h=None):
    """Feed the likeliest token back: (B, H) -> (B, T)."""
    tokens = [torch.full((len(context), 1), END, device=context.device)]
    for _ in range(steps):
        scores, h = decoder(tokens[-1], context, h)  # (B, 1, V), (B, H)
        tokens.append(scores.argmax(2))
    return torch.cat(tokens[1:], 1)


@torch.no_grad()
def beam(decoder, context, steps: int, width: int):
    """From one context, (1, H): pairs of log p and tokens, best first."""
    beams, device = [(0.0, [], None)], context.device
    for _ in range(steps):
        grown = [one for one in beams if one[1][-1:] == [END]]
        for total, tokens, h in beams:
            if tokens[-1:] != [END]:
                last = torch.tensor([(tokens or [END])[-1:]], device=device)
                scores, h = decoder(last, context, h)  # (1, 1, V), (1, H)
                logs = enumerate(scores.flatten().log_softmax(0).tolist())
                grown += [(total + log, [*tokens, i], h) for i, log in logs]
        beams = sorted(grown, key=lambda one: -one[0])[:width]
    return [(total, tokens) for total, tokens, _ in beams]
    # --8<-- [end:search]


# --8<-- [start:data]
def batch(batch_size, low, high, generator, ordered=False):
    """Digits, mask; the same backwards, or in order, and END; mask."""
    n = torch.randint(low, high + 1, (batch_size, 1), generator=generator)
    place, size = torch.arange(high + 1), high + 1
    x = torch.randint(10, (batch_size, size), generator=generator)
    x = x.masked_fill(place >= n, END)
    y = x.sort(1).values if ordered else x.gather(1, (n - 1 - place) % size)
    return x[:, :-1], place[:-1] < n, y, place <= n
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 400, seed: int = 0, device=None) -> list[float]:
    """Write 2 to 5 digits backwards; returns the losses."""
    device = device or torch.accelerator.current_accelerator(True) or "cpu"
    generator = torch.manual_seed(seed)
    encoder, decoder = Encoder(11, 16, 64), Decoder(11, 16, 64)
    model = nn.ModuleList([encoder, decoder]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        x, keep, y, counts = (a.to(device) for a in batch(64, 2, 5, generator))
        _, h = encoder(x, keep)
        previous = nn.functional.pad(y, (1, -1), value=END)
        loss = masked_cross_entropy(decoder(previous, h)[0], y, counts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    right = ((greedy(decoder, h, 6) == y) | ~counts).all(1).float().mean()
    print(f"loss {losses[-1]:.4f}, answers right throughout {right:.2f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
