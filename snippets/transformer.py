"""Transformer: every step looks at every other, and no state is handed on.

Source: Vaswani et al. 2017, "Attention Is All You Need" (arXiv 1706.03762);
    the norm first: Xiong et al. 2020, "On Layer Normalization in the
    Transformer Architecture" (arXiv 2002.04745). Names of parameters are those
    of torch.nn.TransformerEncoderLayer. The attention is torch's.
Axes: B batch, T time, S source time, D model width, A heads, V vocabulary,
    L layers.
Run: python transformer.py
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


# --8<-- [start:positions]
def sinusoid(steps: int, width: int) -> torch.Tensor:
    """A clock with width / 2 hands, read at each position from 0 on.

    Shape:
        -> (T, D)
    """
    check_size("steps", steps)
    check_size("width", width)
    # In float32 whatever the default: bfloat16 cannot tell 256 from 257.
    exact = torch.float32
    speed = 10000 ** (-torch.arange(0, width, 2, dtype=exact) / width)  # (D/2)
    angle = torch.arange(steps, dtype=exact).unsqueeze(1) * speed  # (T, D/2)
    return torch.stack((angle.sin(), angle.cos()), 2).flatten(1)[:, :width]
    # --8<-- [end:positions]


# --8<-- [start:cell]
class TransformerEncoderLayer(nn.Module):
    """Takes the state_dict of torch's; batch first, ReLU, no dropout."""

    def __init__(self, d_model, nhead, dim_feedforward, norm_first=False):
        super().__init__()
        check_size("d_model", d_model)
        check_size("nhead", nhead)
        check_size("dim_feedforward", dim_feedforward)
        if d_model % nhead:
            raise ValueError(f"nhead must divide {d_model}, got {nhead}")
        self.nhead, self.norm_first = nhead, norm_first
        # Only its parameters are used, under torch's names: see `attend`.
        self.self_attn = nn.MultiheadAttention(d_model, nhead)
        self.linear1 = nn.Linear(d_model, dim_feedforward)
        self.linear2 = nn.Linear(dim_feedforward, d_model)
        self.norm1, self.norm2 = nn.LayerNorm(d_model), nn.LayerNorm(d_model)

    def forward(self, x, mask=None, cache=None):
        """Attend, then think; `cache` is a list of earlier keys and values.

        `mask` is True for what is kept, and every row keeps something; torch's
        own layer means the opposite, there True hides.

        Shape:
            x: (B, T, D)
            mask: (B, A, T, T)
            -> (B, T, D)
        """
        D, dtype = self.linear1.in_features, self.linear1.weight.dtype
        check_shape("x", x, "B", "T", D, dtype=dtype)
        # --8<-- [start:step]
        if self.norm_first:
            x = x + self.attend(self.norm1(x), mask, cache)
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.attend(x, mask, cache))
        return self.norm2(x + self.feed_forward(x))
        # --8<-- [end:step]

    # --8<-- [start:sublayers]
    def attend(self, x, mask, cache):
        """Look at all steps that the mask keeps: (B, T, D) -> (B, T, D)."""
        W, b = self.self_attn.in_proj_weight, self.self_attn.in_proj_bias
        q, k, v = nn.functional.linear(x, W, b).chunk(3, 2)  # (B, T, D)
        if cache is not None:
            cache.append((k, v))
            k, v = (torch.cat(parts, 1) for parts in zip(*cache))  # (B, S, D)
        split = nn.Unflatten(2, (self.nhead, -1))
        q, k, v = (split(a).transpose(1, 2) for a in (q, k, v))
        if mask is not None:
            check_mask(mask, *q.shape[:3], k.shape[2])
        out = nn.functional.scaled_dot_product_attention(q, k, v, mask)
        return self.self_attn.out_proj(out.transpose(1, 2).flatten(2))

    def feed_forward(self, x):
        """Think, each step by itself: (B, T, D) -> (B, T, D)."""
        return self.linear2(self.linear1(x).relu())
        # --8<-- [end:sublayers]
        # --8<-- [end:cell]


# --8<-- [start:decoder]
class CausalLM(nn.Module):
    """Tokens in; at each step, scores of the next token out."""

    def __init__(self, vocab_size, d_model, nhead, num_layers):
        super().__init__()
        check_size("vocab_size", vocab_size)
        check_size("num_layers", num_layers)
        self.embed = nn.Embedding(vocab_size, d_model)
        width = 4 * d_model
        self.layers = nn.ModuleList(
            TransformerEncoderLayer(d_model, nhead, width, norm_first=True)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        self.readout = nn.Linear(d_model, vocab_size)

    def forward(self, tokens, caches=None):
        """Read on after the `past` steps in `caches`, one list a layer.

        Shape:
            tokens: (B, T)
            -> (B, T, V)
        """
        check_shape("tokens", tokens, "B", "T")
        L = len(self.layers)
        caches = [None] * L if caches is None else caches
        if len(caches) != L:
            rule = f"caches must hold one list for each of {L} layers"
            raise ValueError(f"{rule}, got {len(caches)}")
        x = self.embed(tokens)  # (B, T, D)
        past = sum(k.shape[1] for k, _ in caches[0] or ())
        T, S, D = x.shape[1], past + x.shape[1], x.shape[2]
        x = x + sinusoid(S, D)[past:].to(x)
        mask = torch.ones(T, S, dtype=torch.bool, device=x.device).tril(past)
        for layer, cache in zip(self.layers, caches):
            x = layer(x, mask, cache)
        return self.readout(self.norm(x))
        # --8<-- [end:decoder]


# --8<-- [start:generate]
@torch.no_grad()
def generate(model, tokens, steps: int, cached: bool = True):
    """Append the likeliest token, `steps` times: T is S + `steps`.

    Shape:
        tokens: (B, S)
        -> (B, T)
    """
    check_shape("tokens", tokens, "B", "S")
    if steps < 0:
        raise ValueError(f"steps must be >= 0, got {steps}")
    caches, new = [[] for _ in model.layers] if cached else None, tokens
    for _ in range(steps):
        scores = model(new if cached else tokens, caches)
        new = scores[:, -1:].argmax(2)  # (B, 1)
        tokens = torch.cat((tokens, new), 1)
    return tokens
    # --8<-- [end:generate]


# --8<-- [start:main]
def main(steps: int = 400, seed: int = 0, device=None) -> list[float]:
    """Reverse 24 digits with one layer; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    embed, readout = nn.Embedding(10, 64), nn.Linear(64, 10)
    layer = TransformerEncoderLayer(64, 4, 128)
    model = nn.ModuleList([embed, layer, readout]).to(device)
    place = sinusoid(24, 64).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(steps):
        x = torch.randint(10, (64, 24), generator=generator).to(device)
        y = x.flip(1)
        scores = readout(layer(embed(x) + place))  # (B, T, V)
        loss = nn.functional.cross_entropy(scores.mT, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    whole = (scores.argmax(2) == y).all(1).float().mean().item()
    print(f"loss {losses[-1]:.4f}, all 24 digits reversed {whole:.2f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
