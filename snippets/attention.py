"""Attention: compare a query with keys, average the values by the match.

Source: Bahdanau, Cho & Bengio 2015, "Neural Machine Translation by Jointly
    Learning to Align and Translate" (arXiv 1409.0473): additive scores;
    Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762): scaled
    dot products (eq. 1) and heads. Parameter names are those of
    torch.nn.MultiheadAttention.
Axes: B batch, T time, S source time, D model width, A heads, I input,
    H hidden, C channels.
Run: python attention.py
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


# --8<-- [start:check-mask]
def check_mask(mask: torch.Tensor, *axes: int) -> None:
    """Refuse a mask that is not boolean, or under which the scores would grow.

    It has the last two axes of the scores, or all of them; an axis of size 1
    holds for the whole axis of the scores. A mask of padding, (B, S), is to be
    given as (B, 1, S), with heads as (B, 1, 1, S): two axes are read as (T, S).

    Raises:
        ValueError: what must hold and what came.
    """
    pairs = zip(reversed(mask.shape), reversed(axes))
    fits = mask.ndim in (2, len(axes)) and all(m in (1, n) for m, n in pairs)
    if mask.dtype != torch.bool or not fits:
        rule = f"boolean, True = keep, and {tuple(axes[-2:])} or {tuple(axes)}"
        got = f"{mask.dtype} {tuple(mask.shape)}"
        raise ValueError(f"mask must be {rule}, got {got}")
    # --8<-- [end:check-mask]


# --8<-- [start:softmax]
def masked_softmax(scores, mask=None):
    """Softmax over what `mask` keeps (True); zeros where it keeps nothing.

    Beware: a mask of nn.MultiheadAttention means the opposite, True hides.

    Shape:
        scores: (B, T, S)
        mask: (B, T, S)
        -> (B, T, S)
    """
    if mask is None:
        return scores.softmax(-1)
    check_mask(mask, *scores.shape)
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~mask, lowest).softmax(-1) * mask
    # --8<-- [end:softmax]


# --8<-- [start:cell]
def attention(query, key, value, mask=None):
    """Scaled dot-product attention; heads may be one more axis in front.

    Shape:
        query: (B, T, D)
        key: (B, S, D)
        value: (B, S, C)
        mask: (B, T, S)
        -> (B, T, C), (B, T, S)
    """
    # A single sequence has no axis B, one with heads has an axis A.
    axes = {2: "TD", 4: "BATD"}.get(getattr(query, "ndim", None), "BTD")
    check_shape("query", query, *axes)
    batch, D, dtype = query.shape[:-2], query.shape[-1], query.dtype
    check_shape("key", key, *batch, "S", D, dtype=dtype)
    check_shape("value", value, *key.shape[:-1], "C", dtype=dtype)
    # --8<-- [start:step]
    # Divide first: in half precision the products could leave the range.
    scores = query / D**0.5 @ key.mT  # (B, T, S)
    weights = masked_softmax(scores, mask)  # (B, T, S)
    out = weights @ value  # (B, T, C)
    # --8<-- [end:step]
    return out, weights
    # --8<-- [end:cell]


# --8<-- [start:additive]
class AdditiveAttention(nn.Module):
    """Attention whose scores come from a small network, as Bahdanau's."""

    def __init__(self, query_size: int, key_size: int, hidden_size: int):
        super().__init__()
        check_size("query_size", query_size)
        check_size("key_size", key_size)
        check_size("hidden_size", hidden_size)
        self.sizes = query_size, key_size
        self.W_q = nn.Linear(query_size, hidden_size, bias=False)
        self.W_k = nn.Linear(key_size, hidden_size, bias=False)
        self.w = nn.Linear(hidden_size, 1, bias=False)

    def forward(self, query, key, value, mask=None):
        """Average the values by additive scores.

        Shape:
            query: (B, T, I)
            key: (B, S, D)
            value: (B, S, C)
            mask: (B, T, S)
            -> (B, T, C), (B, T, S)
        """
        dtype, (query_size, key_size) = self.w.weight.dtype, self.sizes
        check_shape("query", query, "B", "T", query_size, dtype=dtype)
        check_shape("key", key, query.shape[0], "S", key_size, dtype=dtype)
        check_shape("value", value, *key.shape[:2], "C", dtype=dtype)
        # --8<-- [start:additive-step]
        q, k = self.W_q(query).unsqueeze(2), self.W_k(key).unsqueeze(1)
        scores = self.w(torch.tanh(q + k)).squeeze(3)  # (B, T, S)
        # --8<-- [end:additive-step]
        weights = masked_softmax(scores, mask)
        return weights @ value, weights
        # --8<-- [end:additive]


# --8<-- [start:heads]
class MultiHeadAttention(nn.Module):
    """Takes the state_dict of nn.MultiheadAttention(D, A)."""

    def __init__(self, embed_dim: int, num_heads: int):
        super().__init__()
        check_size("embed_dim", embed_dim)
        check_size("num_heads", num_heads)
        D, self.num_heads = embed_dim, num_heads
        if D % num_heads:
            raise ValueError(f"num_heads must divide {D}, got {num_heads}")
        self.in_proj_weight = nn.Parameter(torch.empty(3 * D, D))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * D))
        self.out_proj = nn.Linear(D, D)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw anew as torch does: out_proj keeps the weight of nn.Linear."""
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, query, key, value, mask=None):
        """Attend in A heads, each in a part of the width.

        Shape:
            query: (B, T, D)
            key: (B, S, D)
            value: (B, S, D)
            mask: (B, A, T, S)
            -> (B, T, D), (B, A, T, S)
        """
        dtype, D = self.in_proj_weight.dtype, self.in_proj_weight.shape[1]
        check_shape("query", query, "B", "T", D, dtype=dtype)
        check_shape("key", key, query.shape[0], "S", D, dtype=dtype)
        check_shape("value", value, *key.shape, dtype=dtype)
        # --8<-- [start:heads-step]
        W, b = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        x = map(nn.functional.linear, (query, key, value), W, b)
        split = nn.Unflatten(2, (self.num_heads, -1))
        q, k, v = (split(x_).transpose(1, 2) for x_ in x)  # (B, A, T, D/A)
        out, weights = attention(q, k, v, mask)  # (B, A, T, D/A), (B, A, T, S)
        out = self.out_proj(out.transpose(1, 2).flatten(2))  # (B, T, D)
        # --8<-- [end:heads-step]
        return out, weights
        # --8<-- [end:heads]


# --8<-- [start:data]
def flipped(batch_size: int, steps: int, generator: torch.Generator):
    """Digits, and the same digits from last to first.

    Shape:
        -> (B, T), (B, T)
    """
    check_size("batch_size", batch_size)
    check_size("steps", steps)
    digits = torch.randint(10, (batch_size, steps), generator=generator)
    return digits, digits.flip(1)
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 150, seed: int = 0, device=None) -> list[float]:
    """Reverse 12 digits with one layer of attention; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    token, place = nn.Embedding(10, 64), nn.Embedding(12, 64)
    heads, readout = MultiHeadAttention(64, 4), nn.Linear(64, 10)
    model = nn.ModuleList([token, place, heads, readout]).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    losses = []
    for _ in range(steps):
        x, y = (a.to(device) for a in flipped(64, 12, generator))
        z = token(x) + place.weight  # (B, T, D)
        out, weights = heads(z, z, z)
        loss = nn.functional.cross_entropy(readout(out).mT, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    mirrored = weights.flip(-1).diagonal(dim1=-2, dim2=-1).mean()
    print(f"loss {losses[-1]:.4f}, weight on the mirrored digit {mirrored:.2f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
