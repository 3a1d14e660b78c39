"""Word embeddings: a vector for each word, learned from the company it keeps.

Source: Mikolov, Sutskever, Chen, Corrado & Dean 2013, "Distributed
    Representations of Words and Phrases and their Compositionality" (arXiv
    1310.4546): negative sampling, and the power 3/4 of counts.
Axes: B batch, T time, D model width, V vocabulary.
Run: python embedding.py
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
class SkipGram(nn.Module):
    """Two tables of vectors: `word` is what one keeps, `context` helps."""

    def __init__(self, num_embeddings: int, embedding_dim: int):
        super().__init__()
        check_size("num_embeddings", num_embeddings)
        check_size("embedding_dim", embedding_dim)
        self.word = nn.Embedding(num_embeddings, embedding_dim)
        self.context = nn.Embedding(num_embeddings, embedding_dim)
        nn.init.normal_(self.word.weight, std=embedding_dim**-0.5)
        nn.init.zeros_(self.context.weight)

    def forward(self, word, context, noise):
        """The loss of each pair; `noise` may hold any number of words.

        Shape:
            word: (B,)
            context: (B,)
            noise: (B, 5)
            -> (B,)
        """
        check_shape("word", word, "B")
        check_shape("context", context, word.shape[0])
        check_shape("noise", noise, word.shape[0], "any")
        # --8<-- [start:step]
        v = self.word(word)  # (B, D)
        near = (self.context(context) * v).sum(1)  # (B,)
        drawn = (self.context(noise) @ v.unsqueeze(2)).squeeze(2)  # (B, 5)
        log_near = nn.functional.logsigmoid(near)  # (B,)
        log_drawn = nn.functional.logsigmoid(-drawn).sum(1)  # (B,)
        loss = -log_near - log_drawn
        # --8<-- [end:step]
        return loss
        # --8<-- [end:cell]


# --8<-- [start:neighbours]
def neighbours(sentences, window: int):
    """Each word, and each of its neighbours at most `window` places away.

    `sentences` is (B, T); both results are as long as there are pairs.
    """
    check_size("window", window)
    check_shape("sentences", sentences, "B", "T")
    place = torch.arange(sentences.shape[1], device=sentences.device)
    distance = (place - place.unsqueeze(1)).abs()  # (T, T)
    near = (distance > 0) & (distance <= window)
    word, context = near.nonzero(as_tuple=True)
    return sentences[:, word].flatten(), sentences[:, context].flatten()
    # --8<-- [end:neighbours]


# --8<-- [start:noise]
def noise_shares(counts, power: float = 0.75):
    """How often each word is drawn as noise.

    Shape:
        counts: (V,)
        -> (V,)
    """
    check_shape("counts", counts, "V")
    if (counts < 0).any() or not counts.sum() > 0:
        raise ValueError("counts must be >= 0, and one of them > 0")
    raised = counts.double() ** power
    return raised / raised.sum()
    # --8<-- [end:noise]


# --8<-- [start:analogy]
def analogy(vectors, a, b, c, exclude: bool = True):
    """`a` is to `b` as `c` is to whom? The nearest word by cosine.

    Shape:
        vectors: (V, D)
        a: (B,)
        b: (B,)
        c: (B,)
        -> (B,)
    """
    check_shape("vectors", vectors, "V", "D")
    V = vectors.shape[0]
    check_shape("a", a, "B")
    for name, ids in (("a", a), ("b", b), ("c", c)):
        check_shape(name, ids, a.shape[0], dtype=torch.int64)
        low, high = ids.min().item(), ids.max().item()
        if low < 0 or high >= V:
            rule = f"{name} must hold numbers of rows, 0 to {V - 1}"
            raise ValueError(f"{rule}, got {low} to {high}")
    unit = nn.functional.normalize(vectors)
    scores = (unit[c] - unit[a] + unit[b]) @ unit.T  # (B, V)
    # A row of zeros points nowhere: its cosine, 0, would beat a negative one.
    scores = scores.masked_fill((vectors == 0).all(1), -torch.inf)
    if exclude:
        asked = torch.stack((a, b, c), 1)  # (B, 3)
        scores = scores.scatter(1, asked, -torch.inf)
    if (scores == -torch.inf).all(1).any():
        raise ValueError("vectors must hold one more word to choose from")
    return scores.argmax(1)
    # --8<-- [end:analogy]


# --8<-- [start:data]
def company(batch_size: int, generator: torch.Generator, gendered: float = 1.0):
    """Sentences: a noun, two words of its role, one of its gender, a filler.

    Nouns are 0–15: man, woman, king, queen, and six pairs more. Each of 8 roles
    has 8 words, from 16 on; each of 2 genders has 8, from 80 on; the fillers,
    from 96 on, go with all. What is not `gendered` has a second filler instead.

    Shape:
        -> (B, 5)
    """
    check_size("batch_size", batch_size)

    def draw(high, width=1):
        return torch.randint(high, (batch_size, width), generator=generator)

    roles, genders, others = 16, 80, 96  # the first word of each kind
    noun = draw(16)  # (B, 1)
    role = roles + 8 * (noun // 2) + draw(8, 2)  # (B, 2)
    gender = genders + 8 * (noun % 2) + draw(8)  # (B, 1)
    fillers = others + draw(16, 2)  # (B, 2)
    told = torch.rand(batch_size, 1, generator=generator) < gendered
    gender = torch.where(told, gender, fillers[:, 1:])  # (B, 1)
    return torch.cat((noun, role, gender, fillers[:, :1]), 1)


def questions():
    """Man, woman, king, queen, and all the like: two pairs, both directions.

    Shape:
        -> (112,), (112,), (112,), (112,)
    """
    a, c = torch.cartesian_prod(*[torch.arange(16)] * 2).T
    alike = (a % 2 == c % 2) & (a != c)
    a, c = a[alike], c[alike]
    return a, a ^ 1, c, c ^ 1
    # --8<-- [end:data]


# --8<-- [start:main]
def main(steps: int = 300, seed: int = 0, device=None) -> list[float]:
    """Learn 112 words and ask 112 analogies; returns the losses.

    `steps` counts updates of the weights, not steps of time.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    device = device or accelerator or "cpu"
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    sentences = company(10_000, generator)
    shares = noise_shares(sentences.flatten().bincount())
    word, context = neighbours(sentences, 4)
    V, pairs, drawn = len(shares), 1200, 5  # words; pairs a batch, noise a pair
    model = SkipGram(V, 16).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    losses = []
    for _ in range(steps):
        i = torch.randint(len(word), (pairs,), generator=generator)
        noise = shares.multinomial(pairs * drawn, True, generator=generator)
        batch = word[i], context[i], noise.view(pairs, drawn)
        loss = model(*(ids.to(device) for ids in batch)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    a, b, c, wanted = questions()
    answers = analogy(model.word.weight.detach().cpu(), a, b, c)
    right = (answers == wanted).float().mean().item()
    print(f"loss {losses[-1]:.3f}, analogies {right:.2f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
