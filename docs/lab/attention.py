# %% [markdown] lang="zh"
# # 实验：注意力
#
# 七个问题：与 torch 相等吗？一行全被遮蔽时得到什么？学出来的核比固定的好多少？$\sqrt d$ 管什么？训练之后，注意力图画的是什么？打乱次序会怎样？$T$ 加倍，开销加几倍？
# %% [markdown] lang="en"
# # Lab: attention
#
# Seven questions: is it equal to torch? What comes out of a row that is masked
# throughout? How much better is a learned kernel than a fixed one? What does
# $\sqrt d$ do? What does the map of a trained model show? What if the order is
# shuffled? And when $T$ doubles, what becomes of the cost?

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import gradients, seconds, span

# %%
from snippets.attention import AdditiveAttention, MultiHeadAttention, attention, flipped

# %% [markdown] lang="zh"
# ## 与 torch 相等
#
# 双精度，输出和三个梯度，一次不遮，一次随机遮蔽一半。
# %% [markdown] lang="en"
# ## Equal to torch
#
# In double precision, the output and three gradients, once without a mask and once
# with a random half hidden.


# %%
def everything(function, inputs, mask):
    out = function(*inputs, mask)
    return out, *gradients(out, inputs)


def fused(query, key, value, mask):
    return scaled_dot_product_attention(query, key, value, attn_mask=mask)


def difference_from_torch(seed):
    torch.manual_seed(seed)
    inputs = [torch.randn(2, 4, n, 16).double().to(DEVICE) for n in (9, 30, 30)]
    inputs = [tensor.requires_grad_() for tensor in inputs]
    half = (torch.rand(2, 4, 9, 30) < 0.5).to(DEVICE)
    half[..., 0] = True
    differences = []
    for mask in (None, half):
        ours = everything(lambda *a: attention(*a)[0], inputs, mask)
        theirs = everything(fused, inputs, mask)
        differences += [(a - b).abs().max().item() for a, b in zip(ours, theirs)]
    return max(differences)


# %%
sdpa_gap = max(difference_from_torch(seed) for seed in SEEDS)
print(f"largest difference from scaled_dot_product_attention: {sdpa_gap:.0e}")
assert sdpa_gap < 1e-12, "attention is to equal torch's, forward and backward"

# %% [markdown] lang="zh"
# ## 一行全被遮蔽
#
# 同一个 `nn.MultiheadAttention`、同样的权重和输入，只改 `need_weights` 这一个参数。
# %% [markdown] lang="en"
# ## A row that is masked throughout
#
# One `nn.MultiheadAttention`, the same weights and input; the only thing that changes
# is the argument `need_weights`.

# %%
torch.manual_seed(0)
twin = nn.MultiheadAttention(12, 3, batch_first=True).to(DEVICE)
ours = MultiHeadAttention(12, 3).to(DEVICE)
ours.load_state_dict(twin.state_dict())
words = torch.randn(2, 5, 12).to(DEVICE)
seen = torch.ones(5, 5, dtype=torch.bool, device=DEVICE)
seen[2] = False
with torch.no_grad():
    asked, _ = twin(words, words, words, attn_mask=~seen)
    not_asked, _ = twin(words, words, words, attn_mask=~seen, need_weights=False)
    own, _ = ours(words, words, words, seen[None, None])
for name, answer in [("True", asked), ("False", not_asked), ("ours", own)]:
    print(f"need_weights {name:6s}", [f"{value:.3f}" for value in answer[0, :, 0]])
torch_masked_row = "NaN" if asked[:, 2].isnan().all() else "finite"
assert (own[:, 2] == ours.out_proj.bias).all(), "ours was to give zeros, then the bias"

# %% [markdown] lang="zh"
# ## 从平均到学出来的核
#
# 50 个带噪声的点，$y = 2 \sin x + x^{0.8} + \varepsilon$，噪声标准差 0.5，与《动手学深度学习》用的一样。三种估计都是值的加权平均：处处平均；宽度为 1 的高斯核；宽度由梯度下降学出来的高斯核，训练时用掩码遮蔽自己（留一法）。误差在没有噪声的曲线上量。
#
# 高斯核就是点积注意力：$-\frac12 (q - k)^2 = qk - \frac12 k^2 - \frac12 q^2$，末项对所有键一样，softmax 看不见它。查询取 $(q, 1)$，键取 $(k, -\frac12 k^2)$ 即可。
# %% [markdown] lang="en"
# ## From averaging to a learned kernel
#
# Fifty noisy points, $y = 2 \sin x + x^{0.8} + \varepsilon$, with noise of standard
# deviation 0.5, as in *Dive into Deep Learning*. All three estimates average the
# values: evenly everywhere; with a Gaussian kernel of width 1; with a Gaussian kernel whose width is
# learned by gradient descent, where a mask hides each point from itself (leave one
# out). The error is measured on the curve without noise.
#
# A Gaussian kernel is dot-product attention:
# $-\frac12 (q - k)^2 = qk - \frac12 k^2 - \frac12 q^2$, and the last term is the same
# for all keys, so the softmax does not see it. Take the query $(q, 1)$ and the key
# $(k, -\frac12 k^2)$.


# %%
def curve(x):
    return 2 * x.sin() + x**0.8


def kernel_regression(x, points, values, width, mask=None):
    """Nadaraya–Watson with a Gaussian kernel, by dot products: (T,) -> (T,)."""
    q, k = x / width, points / width
    query = 2**0.5 * torch.stack((q, torch.ones_like(q)), 1)
    key = torch.stack((k, -k * k / 2), 1)
    return attention(query, key, values.unsqueeze(1), mask)[0].squeeze(1)


def learn_width(points, values):
    others = ~torch.eye(len(points), dtype=torch.bool)
    log_width = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([log_width], lr=0.1)
    for _ in range(100):
        guess = kernel_regression(points, points, values, log_width.exp(), others)
        loss = nn.functional.mse_loss(guess, values)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return log_width.exp().item()


# %%
GRID = torch.linspace(0, 5, 101, dtype=torch.float64)


def estimate(seed):
    """Draw the points; guess on the grid; compare one guess with the textbook's."""
    generator = torch.Generator().manual_seed(seed)
    points = 5 * torch.rand(50, generator=generator, dtype=torch.float64)
    noise = torch.randn(50, generator=generator, dtype=torch.float64)
    values = curve(points) + 0.5 * noise
    width = learn_width(points, values)
    guesses = {
        "average": values.mean().expand(101),
        "fixed": kernel_regression(GRID, points, values, 1.0),
        "learned": kernel_regression(GRID, points, values, width),
    }
    kernel = (-((GRID[:, None] - points) ** 2) / 2).exp()
    textbook = kernel @ values / kernel.sum(1)
    gap = (textbook - guesses["fixed"]).abs().max().item()
    return {
        "points": points,
        "values": values,
        "guesses": guesses,
        "width": width,
        "gap": gap,
    }


# %%
estimates = [estimate(seed) for seed in SEEDS]
widths = [found["width"] for found in estimates]
kernel_gap = max(found["gap"] for found in estimates)
errors = {
    name: [
        nn.functional.mse_loss(found["guesses"][name], curve(GRID)).item()
        for found in estimates
    ]
    for name in ("average", "fixed", "learned")
}

# %%
for name in errors:
    print(f"{name:8s}", " ".join(f"{error:.3f}" for error in errors[name]))
print("widths  ", " ".join(f"{width:.2f}" for width in widths))
assert kernel_gap < 1e-12, "kernel regression was to be dot-product attention"
assert max(errors["fixed"]) < min(errors["average"])
assert all(a < b for a, b in zip(errors["learned"], errors["fixed"]))

# %%
first = estimates[0]
fig, ax = plt.subplots()
ax.plot(first["points"], first["values"], "o", ms=3, color="gray", alpha=0.6)
ax.plot(GRID, curve(GRID), "--", color="black", lw=1)
for (name, guess), colour in zip(first["guesses"].items(), ("C3", "C1", "C0")):
    label = {"average": "mean", "fixed": "1", "learned": f"{widths[0]:.2f}"}[name]
    ax.plot(GRID[::2], guess[::2], color=colour, label=label)
ax.set_xlabel("q, k")
ax.set_ylabel("v")
ax.legend(loc="upper right")
fig.savefig("kernel.svg")

# %% [markdown] lang="zh"
# ## $\sqrt d$
#
# 查询和键的每个分量都是独立的标准正态数，64 个键，换着宽度 $d$ 量三样：分数的标准差；最大的那个权重；softmax 的雅可比矩阵的 Frobenius 范数，也就是分数动一点，权重还动多少。
# %% [markdown] lang="en"
# ## The role of $\sqrt d$
#
# All components of queries and keys are independent standard normal numbers; 64 keys;
# at several widths $d$ measure three things: the standard deviation of the scores; the
# largest weight; the Frobenius norm of the softmax's Jacobian, that is, how much the
# weights still move when a score does.

# %%
WIDTHS = [4, 16, 64, 256, 1024]


def measure_scale(d, scaled):
    """Standard deviation of the scores, largest weight, norm of the Jacobian."""
    generator = torch.Generator().manual_seed(d)
    q = torch.randn(400, 1, d, generator=generator, dtype=torch.float64)
    k = torch.randn(400, 64, d, generator=generator, dtype=torch.float64)
    scores = (q @ k.mT).squeeze(1) / (d**0.5 if scaled else 1)
    w = attention(q if scaled else q * d**0.5, k, k)[1].squeeze(1)
    jacobian = torch.diag_embed(w) - w[:, :, None] * w[:, None, :]
    norm = jacobian.flatten(1).norm(dim=1).mean().item()
    return scores.std().item(), w.amax(1).mean().item(), norm


# %%
raw = {d: measure_scale(d, scaled=False) for d in WIDTHS}
scaled = {d: measure_scale(d, scaled=True) for d in WIDTHS}
for name, measured in [("raw", raw), ("scaled", scaled)]:
    for d, (sd, largest, norm) in measured.items():
        numbers = f"sd {sd:5.2f}  largest {largest:.3f}  Jacobian {norm:.4f}"
        print(f"{name:6s} d={d:4d}  {numbers}")
for d in WIDTHS:
    assert 0.9 < scaled[d][0] < 1.1
    assert 0.9 < raw[d][0] / d**0.5 < 1.1
assert raw[1024][1] > 0.85 and scaled[1024][1] < 0.2
assert raw[1024][2] < 0.15

# %%
fig, ax = plt.subplots()
for measured, colour, label in [(raw, "C3", "q · k"), (scaled, "C0", "q · k / √d")]:
    tops = [measured[d][1] for d in WIDTHS]
    ax.semilogx(WIDTHS, tops, "o-", color=colour, label=label)
ax.axhline(1 / 64, color="gray", ls="--", lw=1)
ax.set_xticks(WIDTHS, [str(d) for d in WIDTHS])
ax.minorticks_off()
ax.set_ylim(0, 1)
ax.set_xlabel("d")
ax.set_ylabel(r"max $\alpha$")
ax.legend()
fig.savefig("scale.svg")

# %% [markdown] lang="zh"
# ## 注意力图
#
# 把 5 到 10 个数字倒着说出来。编码器是 GRU，解码器也是 GRU，从零开始，要看源序列只能靠注意力；训练时输入正确的前一个数字。查询和键先各过一个线性层，值就是编码器的状态。三组只差一处：编码器双向加点积分数；双向加加性分数；**单向**加点积分数。宽度 64，150 步，Adam 1e-2；步数和学习率在编号 100 以上的种子上选定。
#
# 量四样：每个数字的准确率；落在镜像位置（答案所在）的权重；落在它右边一格的权重；最大的权重是否正在镜像位置。
#
# 再骗它一次：十个互不相同的数字，倒着说到第六个时，谎称刚才说的是源序列的第三个（其实是第六个）。它去看第三个吗？它接着说第二个吗？
# %% [markdown] lang="en"
# ## The map
#
# Say 5 to 10 digits backwards. Encoder and decoder are GRUs; the decoder starts from
# zero, so attention is its only sight of the source; in training it is fed the correct
# previous digit. Query and key each pass a linear map first, the values are the states
# of the encoder. The three groups differ in one thing each: a bidirectional encoder
# with dot products; bidirectional with additive scores; a **one-directional** encoder
# with dot products. Width 64, 150 steps, Adam 1e-2, chosen on seeds from 100 on.
#
# Measured: accuracy per digit; the weight on the mirrored position, where the answer
# is; the weight on its right neighbour; and how often the largest weight is on the
# mirrored position.
#
# Then lie to it once: ten different digits, and at the sixth step it is told that the
# digit just said was the third of the source (it was the sixth). Does it look at the
# third? Does it go on with the second?

# %%
LOW, HIGH, WIDTH, STEPS = 5, 10, 64, 150


def mirrors(batch_size, generator):
    """Digits, their mirror image, what is no padding, and where the mirror is."""
    n = torch.randint(LOW, HIGH + 1, (batch_size, 1), generator=generator)
    x = torch.randint(10, (batch_size, HIGH), generator=generator)
    keep = torch.arange(HIGH) < n
    mirror = (n - 1 - torch.arange(HIGH)).clamp(min=0)
    y = x.gather(1, mirror).where(keep, -100)
    return [a.to(DEVICE) for a in (x.where(keep, 10), y, keep, mirror)]


# %%
class Translator(nn.Module):
    def __init__(self, both, additive):
        super().__init__()
        self.embed = nn.Embedding(11, 16)  # ten digits, and one for "no digit"
        half = WIDTH // 2 if both else WIDTH
        self.encoder = nn.GRU(16, half, batch_first=True, bidirectional=both)
        self.decoder = nn.GRU(16, WIDTH, batch_first=True)
        self.additive = AdditiveAttention(WIDTH, WIDTH, WIDTH) if additive else None
        self.W_q, self.W_k = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.readout = nn.Linear(2 * WIDTH, 10)

    def forward(self, x, y, keep):
        lengths = keep.sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(
            self.embed(x), lengths, batch_first=True, enforce_sorted=False
        )
        states, _ = nn.utils.rnn.pad_packed_sequence(
            self.encoder(packed)[0], batch_first=True, total_length=HIGH
        )
        before = torch.cat((torch.full_like(y[:, :1], 10), y[:, :-1].clamp(min=0)), 1)
        query, _ = self.decoder(self.embed(before))
        mask = keep.unsqueeze(1)
        if self.additive is None:
            key = self.W_k(states)
            context, weights = attention(self.W_q(query), key, states, mask)
        else:
            context, weights = self.additive(query, states, states, mask)
        return self.readout(torch.cat((query, context), 2)), weights


# %%
def train(seed, both, additive=False):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Translator(both, additive).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(STEPS):
        x, y, keep, _ = mirrors(64, generator)
        loss = nn.functional.cross_entropy(model(x, y, keep)[0].mT, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


# %%
def at(weights, places, keep):
    """Mean weight on these places, over the rows to keep."""
    found = weights.gather(2, places.unsqueeze(2)).squeeze(2)
    return (found[keep].mean()).item()


@torch.no_grad()
def lie(model, seed):
    """Ten different digits; at the sixth step, lie about the one before."""
    generator = torch.Generator().manual_seed(2000 + seed)
    x = torch.rand(500, HIGH, generator=generator).argsort(1).to(DEVICE)
    told, keep = x.flip(1), torch.ones_like(x, dtype=torch.bool)
    told[:, 4] = x[:, 2]
    answer, weights = model(x, told, keep)
    looks = (weights[:, 5].argmax(1) == 2).float().mean().item()
    says = (answer[:, 5].argmax(1) == x[:, 1]).float().mean().item()
    return looks, says


@torch.no_grad()
def look(model, seed):
    """What the model says and where it looks; the map of one sequence of 8."""
    x, y, keep, mirror = mirrors(500, torch.Generator().manual_seed(1000 + seed))
    answer, weights = model(x, y, keep)
    looks, says = lie(model, seed)
    right = mirror + 1  # the digit just said; there is none before the first
    inside = keep & (right < keep.sum(1, keepdim=True))
    return {
        "accuracy": (answer.argmax(2) == y)[keep].float().mean().item(),
        "mirror": at(weights, mirror, keep),
        "right": at(weights, right.clamp(max=HIGH - 1), inside),
        "top": (weights.argmax(2) == mirror)[keep].float().mean().item(),
        "lie_looks": looks,
        "lie_says": says,
        "map": weights[keep.sum(1) == 8][0, :8, :8].cpu(),
    }


# %%
GROUPS = {  # an encoder of both directions? additive scores?
    "dot": (True, False),
    "additive": (True, True),
    "one": (False, False),
}
groups = {
    name: [look(train(seed, *group), seed) for seed in SEEDS]
    for name, group in GROUPS.items()
}
evenly = 1 / (sum(range(LOW, HIGH + 1)) / (HIGH + 1 - LOW))
MEASURED = ("accuracy", "mirror", "right", "top", "lie_looks", "lie_says")
spans = {
    name: {key: span(run[key] for run in runs) for key in MEASURED}
    for name, runs in groups.items()
}

# %%
for name, measured in spans.items():
    numbers = "  ".join(f"{k} {a:.2f}–{b:.2f}" for k, (a, b) in measured.items())
    print(f"{name:10s}{numbers}")
print(f"weight on any one position if spread evenly: {evenly:.2f}")
for measured in spans.values():
    assert measured["accuracy"][0] > 0.85, "each was to learn to read backwards"
for name in ("dot", "additive"):
    assert spans[name]["mirror"][0] > 0.5, f"{name}: anti-diagonal expected"
    assert spans[name]["top"][0] > 0.85
assert spans["one"]["mirror"][1] < 0.3 and spans["one"]["right"][0] > 0.6
assert spans["one"]["lie_looks"][0] > 0.9 and spans["one"]["lie_says"][0] > 0.9

# %%
fig, axes = plt.subplots(1, 2, figsize=(5.6, 3.0))
for ax, name in zip(axes, ("dot", "one")):
    drawn = groups[name][0]["map"]
    for t in range(8):
        for s in range(8):
            if (weight := drawn[t, s].item()) > 0.01:
                box = plt.Rectangle((s + 0.54, t + 0.54), 0.92, 0.92)
                box.set(facecolor="C2", alpha=round(weight, 2), linewidth=0)
                ax.add_patch(box)
        mirror = plt.Rectangle((7 - t + 0.54, t + 0.54), 0.92, 0.92, fill=False)
        mirror.set(edgecolor="gray", linewidth=0.8)
        ax.add_patch(mirror)
    ax.set(xlim=(0.5, 8.5), ylim=(8.5, 0.5), aspect="equal", xlabel="s")
    ax.set_xticks([1, 4, 8])
    ax.set_yticks([1, 4, 8])
    ax.grid(False)
axes[0].set_ylabel("t", rotation=0)
axes[0].set_title(r"$\leftarrow$ GRU $\rightarrow$")
axes[1].set_title(r"GRU $\rightarrow$")
fig.savefig("map.svg")

# %% [markdown] lang="zh"
# ## 次序
#
# 先看精确的：自注意力的输入换个次序，输出跟着换，别的都不变；加上因果掩码就不是这样。再看训练：一层注意力倒读 12 个数字，有没有位置嵌入，差别就在这里。
# %% [markdown] lang="en"
# ## Order
#
# First what is exact: put the inputs of self-attention in another order, and the
# outputs follow, unchanged; with a causal mask this is no longer so. Then what is
# trained: one layer of attention reads 12 digits backwards, with position embeddings
# and without.

# %%
torch.manual_seed(0)
heads = MultiHeadAttention(32, 4).double().to(DEVICE)
sequence = torch.randn(2, 20, 32).double().to(DEVICE)
shuffle = torch.randperm(20)
causal = torch.ones(20, 20, dtype=torch.bool, device=DEVICE).tril()[None, None]


@torch.no_grad()
def moved(mask):
    """How far shuffling before attention is from shuffling after it."""
    after = heads(sequence, sequence, sequence, mask)[0][:, shuffle]
    shuffled = sequence[:, shuffle]
    before = heads(shuffled, shuffled, shuffled, mask)[0]
    return (before - after).abs().max().item()


equivariance, causal_difference = moved(None), moved(causal)
print(f"order changed: {equivariance:.0e}, under a causal mask {causal_difference:.2f}")
assert equivariance < 1e-12, "self-attention was to be permutation equivariant"
assert causal_difference > 0.01, "a causal mask was to break the symmetry"


# %%
def read_backwards(seed, positions, steps=150):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    token, place = nn.Embedding(10, 64), nn.Embedding(12, 64)
    heads, readout = MultiHeadAttention(64, 1), nn.Linear(64, 10)
    model = nn.ModuleList([token, place, heads, readout]).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps + 1):
        x, y = (
            a.to(DEVICE) for a in flipped(500 if step == steps else 64, 12, generator)
        )
        h = token(x) + place.weight if positions else token(x)
        answer = readout(heads(h, h, h)[0])
        if step == steps:
            return (answer.argmax(2) == y).float().mean().item()
        loss = nn.functional.cross_entropy(answer.mT, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# %%
with_positions = [read_backwards(seed, True) for seed in SEEDS]
without_positions = [read_backwards(seed, False) for seed in SEEDS]
print("with positions   ", " ".join(f"{a:.2f}" for a in with_positions))
print("without positions", " ".join(f"{a:.2f}" for a in without_positions))
assert min(with_positions) > 0.99, "with positions one layer was to reverse"
assert max(without_positions) < 0.4, (
    "without positions nothing can tell first from last"
)

# %% [markdown] lang="zh"
# ## 开销
#
# 数乘加：四个线性层共 $4TD^2$ 次，分数和加权求和各 $T^2 D$ 次。权重每个头 $T^2$ 个数。时间只是这台机器的。
# %% [markdown] lang="en"
# ## Cost
#
# Count multiply–adds: the four linear maps take $4TD^2$, scores and averaging $T^2 D$
# each. Each head holds $T^2$ weights. Times are those of this machine.


# %%
def counted(T, D=64, A=4):
    """Multiply–adds of the linear maps, and of scores and averaging."""
    return 4 * T * D * D, 2 * A * T * T * (D // A)


assert counted(128)[0] == counted(128)[1], "they are equal at T = 2 D"


@torch.no_grad()
def duration(T):
    model, x = MultiHeadAttention(64, 4).to(DEVICE), torch.randn(1, T, 64).to(DEVICE)
    assert model(x, x, x)[1].numel() == 4 * T * T, "T² weights a head"
    return seconds(lambda: model(x, x, x), DEVICE, times=4)


# %%
lengths = [256, 512, 1024, 2048]
times = [duration(T) for T in lengths]
for T, best in zip(lengths, times):
    linear, pairs = counted(T)
    print(f"T={T:4d}  {linear:>11,d} + {pairs:>11,d}  {1000 * best:7.1f} ms")
slowdown = times[-1] / times[0]
operations = sum(counted(lengths[-1])) / sum(counted(lengths[0]))
assert slowdown > 8, "eight times the length was to cost more than eight times"

# %% [markdown] lang="zh"
# ## 练习的答案
# %% [markdown] lang="en"
# ## Answers to the exercises

# %%
# --8<-- [start:exercise-1]
torch.manual_seed(0)
query, key, value = (torch.randn(1, n, 4).double() for n in (3, 6, 6))
order = torch.tensor([5, 0, 3, 1, 4, 2])
out, weights = attention(query, key, value)

both_moved, weights_moved = attention(query, key[:, order], value[:, order])
assert torch.allclose(both_moved, out, atol=1e-12)  # the answer stays
assert torch.allclose(weights_moved, weights[:, :, order], atol=1e-12)

turned = attention(query[:, [2, 0, 1]], key, value)[0]
assert torch.allclose(turned, out[:, [2, 0, 1]], atol=1e-12)

key_moved = attention(query, key[:, order], value)[0]
assert (key_moved - out).abs().max() > 0.1  # wrong labels
# --8<-- [end:exercise-1]

# %%
# --8<-- [start:exercise-2]
hidden_key = key.clone().requires_grad_()
keep = torch.tensor([[[True, True, True, True, False, False]]])

before = attention(query, hidden_key, value, keep)[1]  # hidden, then softmax
late = attention(query, hidden_key, value)[1] * keep  # softmax, then hidden
assert torch.allclose(before.sum(2), torch.ones(1, 3).double())
assert (late.sum(2) < 1).all()

(early_gradient,) = torch.autograd.grad(before[0, 0, 0], hidden_key)
(late_gradient,) = torch.autograd.grad(late[0, 0, 0], hidden_key)
assert (early_gradient[:, 4:] == 0).all()
assert (late_gradient[:, 4:] != 0).all()  # what is hidden still has a say

assert torch.allclose(late / late.sum(2, keepdim=True), before)
# --8<-- [end:exercise-2]


# %%
# --8<-- [start:exercise-3]
def with_fill(scores, keep, fill):
    return scores.masked_fill(~keep, fill).softmax(-1)


scores = torch.randn(1, 2, 3).double()
keep = torch.tensor([[[True, True, False], [False, False, False]]])
value = torch.randn(1, 3, 4).double().requires_grad_()

out = with_fill(scores, keep, float("-inf")) @ value
assert out[0, 1].isnan().all()
out[0, 0].sum().backward()  # a loss that never looks at the row
assert value.grad.isnan().all()  # NaN times 0 is NaN

evenly_over_all = with_fill(scores, keep, -1e9)[0, 1]
assert torch.allclose(evenly_over_all, torch.full((3,), 1 / 3).double())

key = torch.eye(3).double().unsqueeze(0)
assert (attention(scores, key, value, keep)[0][0, 1] == 0).all()
# --8<-- [end:exercise-3]

# %%
# --8<-- [start:exercise-4]
torch.manual_seed(0)
d = 256
q, k = torch.randn(20_000, d), torch.randn(20_000, d)
product = (q * k).sum(1)
assert abs(product.std() - d**0.5) < 0.5  # d terms of variance 1
assert abs((product / d**0.5).std() - 1) < 0.03
assert (product / d).std() < 0.07  # nearly the plain average
assert abs((q * q).sum(1).mean() / d - 1) < 0.01  # in step: grows like d
# --8<-- [end:exercise-4]


# %%
# --8<-- [start:exercise-5]
def in_blocks(query, key, value, size):
    """The same answer while holding only `size` scores of each query."""
    top = torch.full_like(query[..., :1], float("-inf"))
    total, out = torch.zeros_like(top), 0.0
    for k, v in zip(key.split(size, 1), value.split(size, 1)):
        scores = query @ k.mT / query.shape[-1] ** 0.5
        higher = torch.maximum(top, scores.amax(-1, keepdim=True))
        weights = (scores - higher).exp()
        shrink = (top - higher).exp()
        total = shrink * total + weights.sum(-1, keepdim=True)
        out = shrink * out + weights @ v
        top = higher
    return out / total


query, key, value = (30 * torch.randn(2, n, 4).double() for n in (5, 23, 23))
for size in (1, 7, 23):
    whole = attention(query, key, value)[0]
    assert torch.allclose(in_blocks(query, key, value, size), whole, atol=1e-12)
# --8<-- [end:exercise-5]

# %%
results = {
    "n": len(SEEDS),
    "sdpa_gap": sdpa_gap,
    "torch_masked_row": torch_masked_row,
    "kernel_gap": kernel_gap,
    "average_low": min(errors["average"]),
    "average_high": max(errors["average"]),
    "fixed_low": min(errors["fixed"]),
    "fixed_high": max(errors["fixed"]),
    "learned_low": min(errors["learned"]),
    "learned_high": max(errors["learned"]),
    "width_low": min(widths),
    "width_high": max(widths),
    "sd_raw_64": raw[64][0],
    "sd_scaled_64": scaled[64][0],
    "largest_raw": raw[1024][1],
    "largest_scaled": scaled[1024][1],
    "jacobian_raw": raw[1024][2],
    "jacobian_scaled": scaled[1024][2],
    "jacobian_raw_16": raw[16][2],
    "steps": STEPS,
    "evenly": evenly,
    "equivariance": equivariance,
    "causal_difference": causal_difference,
    "with_positions": min(with_positions),
    "without_low": min(without_positions),
    "without_high": max(without_positions),
    "slowdown": slowdown,
    "operations": operations,
}

# %%
results = results | {
    "dot_accuracy_low": spans["dot"]["accuracy"][0],
    "dot_accuracy_high": spans["dot"]["accuracy"][1],
    "dot_mirror_low": spans["dot"]["mirror"][0],
    "dot_mirror_high": spans["dot"]["mirror"][1],
    "dot_right_low": spans["dot"]["right"][0],
    "dot_right_high": spans["dot"]["right"][1],
    "dot_top_low": spans["dot"]["top"][0],
    "dot_top_high": spans["dot"]["top"][1],
    "dot_lie_says_low": spans["dot"]["lie_says"][0],
    "dot_lie_says_high": spans["dot"]["lie_says"][1],
    "additive_accuracy_low": spans["additive"]["accuracy"][0],
    "additive_accuracy_high": spans["additive"]["accuracy"][1],
    "additive_mirror_low": spans["additive"]["mirror"][0],
    "additive_mirror_high": spans["additive"]["mirror"][1],
    "additive_right_low": spans["additive"]["right"][0],
    "additive_right_high": spans["additive"]["right"][1],
    "additive_top_low": spans["additive"]["top"][0],
    "additive_top_high": spans["additive"]["top"][1],
    "one_accuracy_low": spans["one"]["accuracy"][0],
    "one_accuracy_high": spans["one"]["accuracy"][1],
    "one_mirror_low": spans["one"]["mirror"][0],
    "one_mirror_high": spans["one"]["mirror"][1],
    "one_right_low": spans["one"]["right"][0],
    "one_right_high": spans["one"]["right"][1],
    "one_top_low": spans["one"]["top"][0],
    "one_top_high": spans["one"]["top"][1],
    "one_lie_looks_low": spans["one"]["lie_looks"][0],
    "one_lie_looks_high": spans["one"]["lie_looks"][1],
    "one_lie_says_low": spans["one"]["lie_says"][0],
    "one_lie_says_high": spans["one"]["lie_says"][1],
}
