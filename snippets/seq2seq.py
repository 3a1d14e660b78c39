"""Sequence to sequence: read one sequence to its end, then write another.

Source: Sutskever, Vinyals & Le 2014, "Sequence to Sequence Learning with
    Neural Networks" (arXiv 1409.3215); Cho et al. 2014, "Learning Phrase
    Representations using RNN Encoder-Decoder for Statistical Machine
    Translation" (arXiv 1406.1078): the context at every step of the decoder.
Axes: B batch, T time, S source time, V vocabulary, H hidden.
Run: python seq2seq.py
Licence: MIT, from the book Unrolled · 展开.
"""

# --8<-- [start:imports]
import torch
from torch import nn

END = 10  # the token after the digits 0 to 9: it ends a target, and starts it
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


# --8<-- [start:encoder]
class Encoder(nn.Module):
    """Reads the source; its last state is the summary."""

    def __init__(self, vocab_size: int, embed_size: int, hidden_size: int):
        super().__init__()
        check_size("vocab_size", vocab_size)
        check_size("embed_size", embed_size)
        check_size("hidden_size", hidden_size)
        self.embed = nn.Embedding(vocab_size, embed_size)
        self.gru = nn.GRU(embed_size, hidden_size, batch_first=True)

    def forward(self, source, mask):
        """Read what `mask` keeps; padding may follow, not come before.

        Shape:
            source: (B, S)
            mask: (B, S)
            -> (B, S, H), (B, H)
        """
        check_shape("source", source, "B", "S")
        check_shape("mask", mask, *source.shape, dtype=torch.bool)
        if mask.sum(1).min() < 1 or (mask[:, 1:] > mask[:, :-1]).any():
            raise ValueError("mask must keep a beginning of every source")
        # --8<-- [start:encoder-step]
        out, _ = self.gru(self.embed(source))  # (B, S, H)
        rows = torch.arange(out.shape[0], device=out.device)
        return out, out[rows, mask.sum(1) - 1]
        # --8<-- [end:encoder-step]
        # --8<-- [end:encoder]


# --8<-- [start:cell]
class Decoder(nn.Module):
    """Writes the target; all it knows of the source is one vector."""

    def __init__(self, vocab_size: int, embed_size: int, hidden_size: int):
        super().__init__()
        check_size("vocab_size", vocab_size)
        check_size("embed_size", embed_size)
        check_size("hidden_size", hidden_size)
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
        check_shape("previous", previous, "B", "T")
        B, H = previous.shape[0], self.gru.hidden_size
        dtype = self.gru.weight_ih_l0.dtype
        check_shape("context", context, B, H, dtype=dtype)
        h = context if h is None else h
        check_shape("h", h, B, H, dtype=dtype)
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
    check_shape("target", target, "B", "T")
    check_shape("scores", scores, *target.shape, "V")
    check_shape("mask", mask, *target.shape, dtype=torch.bool)
    if not mask.any():
        raise ValueError("mask must keep at least one token, got none")
    return nn.functional.cross_entropy(scores[mask], target[mask])
    # --8<-- [end:loss]


# --8<-- [start:search]
@torch.no_grad()
def greedy(decoder, context, steps: int, h=None, end: int = END):
    """Feed the likeliest token back: (B, H) -> (B, T); `end` repeats itself.

    `end` also stands before the first token.
    """
    check_size("steps", steps)
    check_shape("context", context, "B", "H")
    last = torch.full((context.shape[0], 1), end, device=context.device)
    done, tokens = torch.zeros_like(last, dtype=torch.bool), []
    for _ in range(steps):
        scores, h = decoder(last, context, h)  # (B, 1, V), (B, H)
        last = scores.argmax(2).masked_fill(done, end)  # (B, 1)
        done = done | (last == end)
        tokens.append(last)
    return torch.cat(tokens, 1)


@torch.no_grad()
def beam(decoder, context, steps: int, width: int, end: int = END):
    """From one context, (1, H): pairs of log p and tokens, best first.

    A line that has reached `end` grows no more; `end` also stands before the
    first token. The logarithms are summed in float64.
    """
    check_size("steps", steps)
    check_size("width", width)
    check_shape("context", context, 1, "H")
    beams, device = [(0.0, [], None)], context.device
    for _ in range(steps):
        grown = [one for one in beams if one[1][-1:] == [end]]
        for total, tokens, h in beams:
            if tokens[-1:] != [end]:
                last = torch.tensor([(tokens or [end])[-1:]], device=device)
                scores, h = decoder(last, context, h)  # (1, 1, V), (1, H)
                logs = scores.flatten().cpu().double().log_softmax(0).tolist()
                for token, log in enumerate(logs):
                    grown.append((total + log, [*tokens, token], h))
        beams = sorted(grown, key=lambda one: -one[0])[:width]
    return [(total, tokens) for total, tokens, _ in beams]
    # --8<-- [end:search]


# --8<-- [start:data]
def batch(batch_size, low, high, generator, ordered=False):
    """Digits, mask; the same backwards, or in order, and END; mask.

    Shape:
        -> (B, S), (B, S), (B, T), (B, T)
    """
    check_size("batch_size", batch_size)
    check_size("low", low)
    if high < low:
        raise ValueError(f"high must be >= low, {low}, got {high}")
    n = torch.randint(low, high + 1, (batch_size, 1), generator=generator)
    place, size = torch.arange(high + 1), high + 1
    x = torch.randint(10, (batch_size, size), generator=generator)
    x = x.masked_fill(place >= n, END)
    # Before the first digit the index wraps round, to padding, which is END.
    y = x.sort(1).values if ordered else x.gather(1, (n - 1 - place) % size)
    return x[:, :-1], place[:-1] < n, y, place <= n
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 400, seed: int = 0, device=None) -> list[float]:
    """Write 2 to 5 digits backwards; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    encoder, decoder = Encoder(11, 16, 64), Decoder(11, 16, 64)
    model = nn.ModuleList([encoder, decoder]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        x, keep, y, scored = (a.to(device) for a in batch(64, 2, 5, generator))
        _, h = encoder(x, keep)
        previous = nn.functional.pad(y, (1, -1), value=END)
        loss = masked_cross_entropy(decoder(previous, h)[0], y, scored)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    right = ((greedy(decoder, h, 6) == y) | ~scored).all(1).float().mean()
    print(f"loss {losses[-1]:.4f}, answers right throughout {right:.2f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
