# %% [markdown] lang="zh"
# # 实验：Transformer
#
# 八个问题：与 torch 相等吗？依赖的操作一共排成多长的队？边写边读要花多少？没有位置会怎样？它偏爱近处吗？残差和归一化各管什么？深度不随 $T$ 增长，丢了什么？门控 RNN 真的不能并行训练吗？最后是这台机器上的时间。
# %% [markdown] lang="en"
# # Lab: the Transformer
#
# Eight questions: is it equal to torch? How long is the queue of dependent operations?
# What does generation cost? What if there are no positions? Does it favour the near?
# What are residuals and norms for? What is lost when depth does not grow with $T$? Is
# it true that a gated RNN cannot be trained in parallel? And last, times on this
# machine.

# %%
import os
import time

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS, THREE = range(5), range(3)

# %%
from snippets.attention import MultiHeadAttention, flipped
from snippets.birnn import BiLSTM
from snippets.conv1d import TCN
from snippets.gru import GRU
from snippets.lstm import LSTM
from snippets.rnn import RNN, parity
from snippets.transformer import CausalLM, TransformerEncoderLayer, generate, sinusoid

# %% [markdown] lang="zh"
# ## 与 torch 相等
#
# 双精度，归一化在前、在后两种，有因果掩码和没有，输出和全部梯度。
# %% [markdown] lang="en"
# ## Equal to torch
#
# In double precision, the norm first and last, with a causal mask and without: the
# output and all gradients.


# %%
def everything(out, inputs):
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).to(out).view_as(out)
    return out, *torch.autograd.grad((out * weight).sum(), inputs)


differences = []
causal = torch.ones(9, 9, dtype=torch.bool, device=DEVICE).tril()
for seed in SEEDS:
    torch.manual_seed(seed)
    for first in (False, True):
        twin = nn.TransformerEncoderLayer(
            16, 4, 32, dropout=0, batch_first=True, norm_first=first
        )
        twin = twin.double().to(DEVICE)
        ours = TransformerEncoderLayer(16, 4, 32, first).double().to(DEVICE)
        ours.load_state_dict(twin.state_dict())
        x = torch.randn(3, 9, 16).double().to(DEVICE).requires_grad_()
        for mask in (None, causal):
            hide = None if mask is None else ~mask
            one = everything(ours(x, mask), [x, *ours.parameters()])
            two = everything(twin(x, src_mask=hide), [x, *twin.parameters()])
            differences += [(a - b).abs().max().item() for a, b in zip(one, two)]
torch_gap = max(differences)
print(f"largest difference from nn.TransformerEncoderLayer: {torch_gap:.0e}")
assert torch_gap < 1e-11, "the layer is to equal torch's, forward and backward"

# %% [markdown] lang="zh"
# ## 排队的长度
#
# 自动求导记下了每个操作用了谁的结果。从输出沿这张图往回走，最长的一条路上有几个操作，就是**必须一个接一个做**的步数，有多少个处理器也省不掉。每个模型量 $T = 16, 32, 64$ 三次，三点共线，斜率就是每多一步输入，队伍长几格。
#
# `BiLSTM` 里面是两个 `nn.LSTM`，所以用双精度：单精度在 CPU 上走融合的实现，整个循环只记作一个操作，图上看不见。MLP 看最后 16 步的窗口。TCN 有两行：五层固定；层数随 $T$ 增加，直到看得见全部。Seq2Seq 是两个 GRU，源和目标各 $T$ 步，教师强制。
# %% [markdown] lang="en"
# ## The length of the queue
#
# Autograd notes whose result each operation used. Walk back through this graph from
# the output: the number of operations on the longest path is the number of steps that
# **have to be done one after another**, however many processors there are. Each model
# is measured at $T = 16, 32, 64$; the three points lie on a line, and its slope is how
# much the queue grows with each further step of input.
#
# `BiLSTM` holds two `nn.LSTM`s, hence the double precision: in single precision the CPU
# takes a fused kernel that counts as one operation, and the loop is not to be seen.
# The MLP looks at a window of the last 16 steps. The TCN comes twice: with five levels,
# and with as many levels as it takes to see all $T$. Seq2Seq is two GRUs, $T$ steps of
# source and of target, with teacher forcing.


# %%
def depth(out):
    """Operations on the longest path of the graph behind `out`."""
    found, entered, stack = {}, set(), [(out.grad_fn, False)]
    while stack:
        node, done = stack.pop()
        before = [n for n, _ in node.next_functions if n is not None]
        if done:
            found[node] = 1 + max((found[n] for n in before), default=0)
        elif node not in entered:
            entered.add(node)
            stack += [(node, True), *((n, False) for n in before if n not in entered)]
    return found[out.grad_fn]


D = 16


def seq2seq(x):
    _, h = GRU(D, D).to(x)(x)
    return GRU(D, D).to(x)(x, h)[0]


def mlp(x):
    layers = nn.Linear(16 * D, D), nn.ReLU(), nn.Linear(D, D)
    return nn.Sequential(*layers).to(x)(x[:, -16:].flatten(1))


MODELS = {
    "MLP": mlp,
    "TCN": lambda x: TCN(D, D, 3, 5).to(x)(x),
    "RNN": lambda x: RNN(D, D).to(x)(x)[0],
    "LSTM": lambda x: LSTM(D, D).to(x)(x)[0],
    "GRU": lambda x: GRU(D, D).to(x)(x)[0],
    "BiLSTM": lambda x: BiLSTM(D, D).to(x)(x)[0],
    "Seq2Seq": seq2seq,
    "attention": lambda x: MultiHeadAttention(D, 4).to(x)(x, x, x)[0],
    "Transformer": lambda x: TransformerEncoderLayer(D, 4, 2 * D).to(x)(x),
}
LENGTHS = [16, 32, 64]


def queue(model):
    """Depth at each length, and the slope and the start of the line through them."""
    depths = []
    for T in LENGTHS:
        x = torch.randn(2, T, D, dtype=torch.float64, device=DEVICE)
        depths.append(depth(model(x.requires_grad_()).sum()))
    slope = (depths[2] - depths[0]) / (LENGTHS[2] - LENGTHS[0])
    assert depths[1] - depths[0] == slope * (LENGTHS[1] - LENGTHS[0]), "no line"
    return depths, slope, depths[0] - slope * LENGTHS[0]


queues = {name: queue(model) for name, model in MODELS.items()}
for name, (depths, slope, start) in queues.items():
    print(f"{name:12s} {depths}  {slope:.0f} T + {start:.0f}")
slopes = {name: slope for name, (_, slope, _) in queues.items()}
assert [slopes[n] for n in ("RNN", "LSTM", "GRU")] == [3, 8, 9]
assert 3 < slopes["BiLSTM"] < 16 and slopes["Seq2Seq"] == 18
assert all(slopes[n] == 0 for n in ("MLP", "TCN", "attention", "Transformer"))


def whole_field(x):
    levels = next(n for n in range(1, 20) if 2 ** (n + 1) - 1 >= x.shape[1])
    return TCN(D, D, 3, levels).to(x)(x)


inputs = [torch.randn(2, T, D, device=DEVICE).requires_grad_() for T in LENGTHS]
tcn_depths = [depth(whole_field(x).sum()) for x in inputs]
tcn_each = tcn_depths[1] - tcn_depths[0]
print(f"TCN that sees all T: {tcn_depths}, {tcn_each} more when T doubles")
assert tcn_depths[2] - tcn_depths[1] == tcn_each > 0

# %%
fig, ax = plt.subplots()
steps = list(range(1, 129, 3))
for name, colour in [
    ("GRU", "C4"),
    ("RNN", "C0"),
    ("TCN", "C1"),
    ("Transformer", "C2"),
]:
    _, slope, start = queues[name]
    ax.plot(steps, [slope * T + start for T in steps], color=colour)
    ax.text(130, slope * 128 + start, name, color=colour, va="center")
doubling = [2, 4, 8, 16, 32, 64, 128]
sizes = [torch.randn(1, T, D, device=DEVICE).requires_grad_() for T in doubling]
ax.plot(doubling, [depth(whole_field(x).sum()) for x in sizes], "--", color="C1", lw=1)
ax.set_yscale("log")
ax.set_xlim(0, 128)
ax.set_xlabel("T")
fig.savefig("depth.svg")

# %% [markdown] lang="zh"
# ## 训练并行，生成不并行
#
# 同一个解码器（$D = 64$，两层）。训练时，整条序列都已知，一次算完。生成时，每个词元要等前一个。argmax 会切断自动求导的图，所以只在量深度时，把上一步的 softmax 按比例混成的嵌入喂回去，别的一样。
#
# 然后数乘加：有缓存的和没有缓存的，各生成 $T$ 个，与公式逐个对上；两种办法的分数在双精度下相等。
# %% [markdown] lang="en"
# ## Training is parallel, generation is not
#
# One decoder, $D = 64$, two layers. In training the whole sequence is known and done
# in one go. In generation each token waits for the one before. An argmax cuts the
# graph of autograd, so for measuring depth, and for that alone, the embeddings blended
# by the softmax are fed back; all else is the same.
#
# Then count multiply–adds of generating $T$ tokens with a cache and without, and
# compare with the formula to the last one; in double precision the scores of both ways
# are equal.

# %%
LAYERS, WIDTH, VOCABULARY = 2, 64, 11


class Blend(nn.Module):
    """An embedding of shares of tokens, which stand in the place of the tokens."""

    def __init__(self, embed):
        super().__init__()
        self.weight = embed.weight

    def forward(self, tokens):
        return self.shares @ self.weight


def decoder(seed):
    torch.manual_seed(seed)
    return CausalLM(VOCABULARY, WIDTH, 4, LAYERS).double().to(DEVICE)


def training_depth(T):
    tokens = torch.randint(VOCABULARY, (2, T), device=DEVICE)
    return depth(decoder(0)(tokens).sum())


def generation_depth(T):
    model, caches = decoder(0), [[] for _ in range(LAYERS)]
    model.embed = Blend(model.embed)
    model.embed.shares = torch.eye(VOCABULARY).double().to(DEVICE)[:1, None]
    nothing = torch.zeros(1, 1, dtype=torch.long, device=DEVICE)
    for _ in range(T):
        scores = model(nothing, caches)
        model.embed.shares = scores.softmax(2)
    return depth(scores.sum())


training = [training_depth(T) for T in LENGTHS]
generation = [generation_depth(T) for T in LENGTHS]
generation_slope = (generation[2] - generation[1]) / (LENGTHS[2] - LENGTHS[1])
print(f"training {training}, generation {generation}, slope {generation_slope:.0f}")
assert len({*training}) == 1, "training was to be as deep for every T"
assert generation[1] - generation[0] == 16 * generation_slope > 0

cache_gap = 0.0
for seed in SEEDS:
    model = decoder(seed)
    tokens = torch.randint(VOCABULARY, (4, 40), device=DEVICE)
    caches = [[] for _ in range(LAYERS)]
    with torch.no_grad():
        pieces = [model(piece, caches) for piece in tokens.split(1, 1)]
        difference = (torch.cat(pieces, 1) - model(tokens)).abs().max().item()
    cache_gap = max(cache_gap, difference)
    start = tokens[:, :1]
    assert torch.equal(generate(model, start, 40), generate(model, start, 40, False))
print(f"cached and uncached scores differ by {cache_gap:.0e} at most")
assert cache_gap < 1e-10


def multiply_adds(T, cached):
    """Those of generating T tokens from one, counted by torch."""
    start = torch.zeros(1, 1, dtype=torch.long, device=DEVICE)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        generate(decoder(0), start, T, cached)
    return counter.get_total_flops() // 2


def formula(T, cached):
    """12 D² a token and layer, 2 D for each pair, D V for the scores."""
    total = 0
    for t in range(1, T + 1):  # t tokens are there, the next one is wanted
        n = 1 if cached else t
        total += n * (LAYERS * (12 * WIDTH**2 + 2 * t * WIDTH) + WIDTH * VOCABULARY)
    return total


for T in (8, 64):
    for cached in (True, False):
        assert multiply_adds(T, cached) == formula(T, cached), "the formula is wrong"
cost = {T: (formula(T, True), formula(T, False)) for T in (64, 512, 4096)}
for T, (cached, uncached) in cost.items():
    print(
        f"T={T:4d}  cached {cached:.2e}, uncached {uncached:.2e}: {uncached / cached:.0f}x"
    )

# %% [markdown] lang="zh"
# ## 序列到序列，只用一个解码器
#
# 把任务写成一行：8 个数字，一个分隔符，再把它们倒着写。一个一层的解码器，300 步，Adam 3e-3，训练时整行一次算完；考它时，只给前一半，后一半自己一个一个写，看整段全对的比例。
# %% [markdown] lang="en"
# ## Sequence to sequence with a decoder alone
#
# Write the task as one line: 8 digits, a separator, the digits backwards. A decoder of
# one layer, 300 steps, Adam 3e-3; in training the whole line is done in one go. In the
# test it is given the first half and writes the second by itself, token by token: how
# often is all of it right?


# %%
def lines(batch_size, generator):
    x, y = flipped(batch_size, 8, generator)
    return torch.cat((x, torch.full((batch_size, 1), 10), y), 1).to(DEVICE)


def write_backwards(seed):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = CausalLM(11, 64, 4, 1).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(300):
        line = lines(64, generator)
        scores = model(line[:, :-1])[:, 8:]
        loss = nn.functional.cross_entropy(scores.mT, line[:, 9:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    line = lines(500, torch.Generator().manual_seed(1000 + seed))
    written = generate(model, line[:, :9], 8)
    assert torch.equal(written, generate(model, line[:, :9], 8, cached=False))
    return (written == line).all(1).float().mean().item()


written = [write_backwards(seed) for seed in SEEDS]
print("lines written without a mistake", " ".join(f"{a:.3f}" for a in written))
assert min(written) > 0.95

# %% [markdown] lang="zh"
# ## 位置
#
# 一层编码器倒读 24 个数字，400 步，Adam 3e-3，有正弦位置编码（五个种子）和没有（三个）。准确率按整段算：24 个全对才算对。没有位置的那一组不必加步数：把输入换个次序，输出只会跟着换，这对任何权重都成立，先验给它看。有位置的那一组，再考它比训练时长的序列；训练时长度只有 24 一种，没有什么逼它学得更多。
# %% [markdown] lang="en"
# ## Positions
#
# One encoder layer reads 24 digits backwards: 400 steps, Adam 3e-3, with sinusoids (five
# seeds) and without (three). A sequence counts only when all 24 are right. The group without positions
# need not be given more steps: put the input in another order, and the output follows,
# whatever the weights; this is checked first. The group with positions is also tested
# on sequences longer than those it was trained on; in training there is one length, 24,
# and nothing that asks for more.

# %%
torch.manual_seed(0)
layer = TransformerEncoderLayer(64, 4, 128).double().to(DEVICE)
x, order = torch.randn(4, 24, 64).double().to(DEVICE), torch.randperm(24)
with torch.no_grad():
    equivariance = (layer(x[:, order]) - layer(x)[:, order]).abs().max().item()
print(f"order changed, the output follows: {equivariance:.0e}")
assert equivariance < 1e-12


def read_backwards(seed, positions):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    embed, readout = nn.Embedding(10, 64), nn.Linear(64, 10)
    model = nn.ModuleList([embed, TransformerEncoderLayer(64, 4, 128), readout])
    model.to(DEVICE)

    def answer(x):
        h = embed(x)
        h = h + sinusoid(x.shape[1], 64).to(h) if positions else h
        return readout(model[1](h))

    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(400):
        x, y = (a.to(DEVICE) for a in flipped(64, 24, generator))
        loss = nn.functional.cross_entropy(answer(x).mT, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    generator.manual_seed(1000 + seed)
    with torch.no_grad():
        x, y = (a.to(DEVICE) for a in flipped(500, 24, generator))
        right = (answer(x).argmax(2) == y).float()
        x, y = (a.to(DEVICE) for a in flipped(500, 28, generator))
        longer = (answer(x).argmax(2) == y).float()
    return (
        right.amin(1).mean().item(),
        right.mean().item(),
        longer.amin(1).mean().item(),
    )


with_positions = [read_backwards(seed, True) for seed in SEEDS]
without_positions = [read_backwards(seed, False) for seed in THREE]
for name, runs in [("with", with_positions), ("without", without_positions)]:
    for whole, digit, longer in runs:
        print(
            f"{name:8s} whole {whole:.3f}  digits {digit:.3f}  28 digits {longer:.3f}"
        )
assert min(whole for whole, _, _ in with_positions) > 0.95
assert max(whole for whole, _, _ in without_positions) < 0.01
assert max(longer for _, _, longer in with_positions) < 0.1, "it was not to extrapolate"

# %% [markdown] lang="zh"
# ## 远近
#
# 训练之前，最后一步的输出对 $k$ 步之前的输入有多敏感？输入是标准正态数，60 步，宽度 32；初始化写在名字旁边。Transformer 一层，归一化在前，有位置编码和因果掩码。
# %% [markdown] lang="en"
# ## Near and far
#
# Before training, how sensitive is the output of the last step to the input $k$ steps
# earlier? Inputs are standard normal, 60 steps, width 32; the initialisation stands
# beside the name. The Transformer is one layer, norm first, with positions and a causal
# mask.


# %%
def orthogonal():
    rnn = RNN(32, 32)
    nn.init.orthogonal_(rnn.weight_hh_l0)
    return lambda x: rnn(x)[0]


def one_layer():
    layer = TransformerEncoderLayer(32, 4, 128, norm_first=True)
    mask = torch.ones(60, 60, dtype=torch.bool).tril()
    return lambda x: layer(x + sinusoid(60, 32), mask)


def lstm(bias):
    cell = LSTM(32, 32, bias)
    return lambda x: cell(x)[0]


NEAR_AND_FAR = {
    "RNN, orthogonal": orthogonal,
    "LSTM, b = 1": lambda: lstm(1.0),
    "LSTM, b = 3": lambda: lstm(3.0),
    "Transformer": one_layer,
}


def sensitivity(make, seed):
    """RMS gradient at each lag 0, 1, …, 59, as a share of that at lag 1."""
    torch.manual_seed(seed)
    x = torch.randn(32, 60, 32).requires_grad_()
    out = make()(x)[:, -1]
    (gradient,) = torch.autograd.grad((out * torch.randn_like(out)).sum(), x)
    by_lag = gradient.square().mean((0, 2)).sqrt().flip(0)
    return by_lag / by_lag[1]


near_far = {
    name: torch.stack([sensitivity(make, seed) for seed in SEEDS])
    for name, make in NEAR_AND_FAR.items()
}
for name, runs in near_far.items():
    print(
        f"{name:16s} lag 50 / lag 1: {runs[:, 50].min():.1e} to {runs[:, 50].max():.1e}"
    )
assert near_far["RNN, orthogonal"][:, 50].max() < 1e-4
assert near_far["LSTM, b = 1"][:, 50].max() < 1e-3
assert near_far["LSTM, b = 3"][:, 50].min() > 0.1
assert near_far["Transformer"][:, 50].min() > 0.2
assert near_far["Transformer"][:, 1:].max() < 5, "no lag was to stand out"

# %%
fig, ax = plt.subplots()
for (name, runs), colour in zip(near_far.items(), ("C0", "C3", "C4", "C2")):
    ax.semilogy(range(1, 60), runs.log().mean(0).exp()[1:], color=colour, label=name)
ax.set_xlabel("k")
ax.set_ylim(1e-8, 10)
ax.legend(loc="lower left")
fig.savefig("recency.svg")

# %% [markdown] lang="zh"
# ## 残差与归一化
#
# 训练之前，24 层，宽度 64，24 个随机词元。四种：归一化在前；在后；去掉残差连接，只留归一化；去掉归一化，只留残差。量两样：各层输出里，两个不同位置的夹角余弦，平均多大（1 就是全都一样，分不清谁是谁）；损失对第 1 层输入的梯度，与对第 24 层输出的梯度之比。
# %% [markdown] lang="en"
# ## Residuals and norms
#
# Before training: 24 layers, width 64, 24 random tokens. Four kinds: norm first; norm
# last; no residuals, only norms; no norms, only residuals. Two measurements: in the
# output of each layer, the mean cosine between two positions (1 means all the same, no
# telling who is who); and the gradient of the loss with respect to the input of layer 1
# over that with respect to the output of layer 24.

# %%
KINDS = ("pre", "post", "no residual", "no norm")


def pass_through(layer, x, kind):
    if kind == "no residual":
        return layer.norm2(layer.feed_forward(layer.norm1(layer.attend(x, None, None))))
    if kind == "no norm":
        x = x + layer.attend(x, None, None)
        return x + layer.feed_forward(x)
    return layer(x)


def stack(kind, seed):
    """Cosines after 0, 1, …, 24 layers; ratio of the gradients."""
    torch.manual_seed(seed)
    layers = [TransformerEncoderLayer(64, 4, 256, kind == "pre") for _ in range(24)]
    tokens = torch.randint(10, (8, 24))
    h = (nn.Embedding(10, 64)(tokens) + sinusoid(24, 64)).detach().requires_grad_()
    states = [h]
    for layer in layers:
        h = pass_through(layer, h, kind)
        h.retain_grad()
        states.append(h)
    scores = nn.Linear(64, 10)(nn.LayerNorm(64)(h) if kind == "pre" else h)
    target = torch.randint(10, (8, 24))
    nn.functional.cross_entropy(scores.mT, target).backward()
    cosines = []
    for state in states:
        unit = nn.functional.normalize(state.detach(), dim=2)
        products = unit @ unit.mT
        others = products.sum((1, 2)) - products.diagonal(dim1=1, dim2=2).sum(1)
        cosines.append((others / (24 * 23)).mean().item())
    norms = [state.grad.norm().item() for state in (states[0], states[-1])]
    return cosines, norms[0] / norms[1]


stacks = {kind: [stack(kind, seed) for seed in SEEDS] for kind in KINDS}
for kind, runs in stacks.items():
    print(
        f"{kind:12s} after 6 layers", " ".join(f"{c[6]:.3f}" for c, _ in runs), end="  "
    )
    print("after 24", " ".join(f"{c[24]:.3f}" for c, _ in runs), end="  ")
    print("gradient", " ".join(f"{g:.2g}" for _, g in runs))
assert min(c[6] for c, _ in stacks["no residual"]) > 0.99
assert max(c[6] for c, _ in stacks["pre"] + stacks["post"]) < 0.8
assert max(c[24] for c, _ in stacks["pre"]) < min(c[24] for c, _ in stacks["post"])
assert min(g for _, g in stacks["pre"]) > 1
assert max(g for _, g in stacks["post"] + stacks["no residual"]) < 0.9
assert min(g for _, g in stacks["no norm"]) > 5

# %%
fig, ax = plt.subplots()
SHOWN = [
    ("no residual", "C3", r"$\mathrm{LN}(f(x))$"),
    ("no norm", "C4", r"$x + f(x)$"),
    ("post", "C1", r"$\mathrm{LN}(x + f(x))$"),
    ("pre", "C2", r"$x + f(\mathrm{LN}(x))$"),
]
for kind, colour, label in SHOWN:
    mean = torch.tensor([cosines for cosines, _ in stacks[kind]]).mean(0)
    ax.plot(range(25), mean, color=colour, label=label)
ax.set_ylim(0, 1.03)
ax.set_xlim(0, 24)
ax.set_xticks([0, 6, 12, 18, 24])
ax.legend(loc="lower right")
fig.savefig("norms.svg")

# %% [markdown] lang="zh"
# ## 深度不变，丢了什么
#
# 奇偶校验，每一步都有标签：到现在为止有奇数个 1 吗？RNN 正交初始化，GRU 用 torch 的初始化，宽度 16，Adam 1e-2，裁剪 1；Transformer 两层，宽度 32，因果，正弦位置，Adam 3e-3，裁剪 1。三个都在 16 步的序列上训练，批量 32，300 步时和 900 步时各考一次：16 步的，和 256 步的后一半。三个种子。
# %% [markdown] lang="en"
# ## What constant depth gives up
#
# Parity with a label at every step: is the number of ones so far odd? The RNN is
# orthogonal, the GRU initialised as in torch, width 16, Adam 1e-2, clip 1; the
# Transformer has two layers, width 32, a causal mask, sinusoids, Adam 3e-3, clip 1.
# All three are trained on 16 steps, batch 32, and tested after 300 and after 900
# training steps: on 16 steps, and on the second half of 256. Three seeds.


# %%
def track(kind, seed):
    """Accuracies at 16 and in the second half of 256, at both budgets; the model."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    if kind == "Transformer":
        model, rate = CausalLM(2, 32, 4, 2), 3e-3
    else:
        cell, readout = (GRU if kind == "GRU" else RNN)(1, 16), nn.Linear(16, 2)
        if kind == "RNN":
            nn.init.orthogonal_(cell.weight_hh_l0)
        model, rate = nn.ModuleList([cell, readout]), 1e-2
    model.to(DEVICE)

    def scores(x):
        if kind == "Transformer":
            return model(x.squeeze(2).long())
        return model[1](model[0](x)[0])

    optimizer, found = torch.optim.Adam(model.parameters(), lr=rate), []
    for step in range(901):
        if step in (300, 900):
            fresh = torch.Generator().manual_seed(1000 + seed)
            for T in (16, 256):
                x, y = (a.to(DEVICE) for a in parity(100, T, fresh))
                with torch.no_grad():
                    right = (scores(x).argmax(2) == y).float()
                found.append(right[:, 128 if T == 256 else 0 :].mean().item())
        x, y = (a.to(DEVICE) for a in parity(32, 16, generator))
        loss = nn.functional.cross_entropy(scores(x).mT, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return found, model


trackers = {
    kind: [track(kind, seed) for seed in THREE]
    for kind in ("RNN", "GRU", "Transformer")
}
for kind, runs in trackers.items():
    for found, _ in runs:
        print(f"{kind:12s} 300 steps: {found[0]:.3f} {found[1]:.3f}", end="   ")
        print(f"900 steps: {found[2]:.3f} {found[3]:.3f}")
tracked = {
    kind: torch.tensor([found for found, _ in runs]) for kind, runs in trackers.items()
}
middle = {kind: found.median(0).values for kind, found in tracked.items()}
assert middle["RNN"][0] < middle["Transformer"][0]
assert min(found[2] for found in middle.values()) > 0.9
assert tracked["GRU"][:, 3].min() > 0.9, "the GRU was to go on to 256 steps"
assert middle["RNN"][3] > 0.9, "so was the RNN"
assert tracked["Transformer"][:, [1, 3]].max() < 0.6, "a coin, at both budgets"

# %% [markdown] lang="zh"
# ## 门控 RNN 不能并行训练？
#
# 把整条序列的状态当成一个未知数，$h^t = f(h^{t-1}, x^t)$ 就是 $T$ 个方程。牛顿法：先猜全部状态，从全 0 猜起；在猜的地方把 $f$ 换成切线，得到一个**线性**递推，它可以用并行扫描在 $\log_2 T$ 轮里解完；用解出来的再猜。每一遍都同时处理所有时间步。这里数它几遍收敛到 1e-10：随机初始化的 GRU 和 RNN；上一节**学会了奇偶校验**的 GRU 和 RNN。
#
# 反向传播本来就是线性递推，一遍扫描就精确。
# %% [markdown] lang="en"
# ## A gated RNN cannot be trained in parallel?
#
# Take the states of the whole sequence as one unknown: $h^t = f(h^{t-1}, x^t)$ are $T$
# equations. Newton's method: guess all states, at first 0, replace $f$ by its tangent there, which
# gives a **linear** recurrence, which a parallel scan solves in $\log_2 T$ rounds; take
# the solution for the next guess. Every sweep handles all time steps at once. Count the
# sweeps until 1e-10, for a GRU and an RNN as they are initialised, and for those of the
# last section that **have learned parity**.
#
# Backpropagation is a linear recurrence anyway: one scan, and it is exact.


# %%
def scan(A, b):
    """All h with h_t = A_t h_{t-1} + b_t, h_0 = 0, in log2 T rounds."""
    reach = 1
    while reach < len(b):
        moved = (A[reach:] @ b[:-reach].unsqueeze(2)).squeeze(2)
        b = torch.cat((b[:reach], b[reach:] + moved))
        A = torch.cat((A[:reach], A[reach:] @ A[:-reach]))
        reach *= 2
    return b


def shifted(h):
    return torch.cat((torch.zeros_like(h[:1]), h[:-1]))


def newton(cell, x, width):
    """States (T, H) of all steps, Jacobians, and the number of sweeps."""

    def step(h, x_t):
        return cell(x_t.view(1, 1, -1), h.unsqueeze(0))[1].squeeze(0)

    f = torch.func.vmap(step)
    jacobian = torch.func.vmap(torch.func.jacrev(step))
    h = x.new_zeros(len(x), width)
    for count in range(1, len(x) + 2):
        before = shifted(h)
        A = jacobian(before, x)
        b = f(before, x) - (A @ before.unsqueeze(2)).squeeze(2)
        h, last = scan(A, b), h
        if (h - last).abs().max() < 1e-10:
            return h, A, count
    raise RuntimeError("T sweeps were to be enough")


def sweeps(cell, x):
    """How many, how far from the loop; and whether one scan gives the gradient."""
    cell, x = cell.double(), x.double()
    out = cell(x.unsqueeze(0))[0].squeeze(0)
    h, A, count = newton(cell, x, out.shape[1])
    return count, (h - out).abs().max().item(), A.detach()


NEWTON_T = [64, 128, 256]
newtons = {"GRU": [], "RNN": [], "GRU, parity": [], "RNN, parity": []}
newton_gap = 0.0
for name, found in newtons.items():
    kind, _, trained = name.partition(", ")
    for seed in THREE if trained else SEEDS:
        torch.manual_seed(seed)
        row = []
        for T in NEWTON_T:
            if trained:
                cell = trackers[kind][seed][1][0].cpu()
                x = parity(1, T, torch.Generator().manual_seed(seed))[0].squeeze(0)
            else:
                cell, x = (GRU if kind == "GRU" else RNN)(4, 16), torch.randn(T, 4)
            count, gap, A = sweeps(cell, x)
            newton_gap = max(newton_gap, gap)
            row.append(count)
        found.append(row)
    print(f"{name:12s} sweeps at T = {NEWTON_T}: {found}")
print(f"largest difference from the loop: {newton_gap:.0e}")
assert newton_gap < 1e-8
untrained = [row[-1] for name in ("GRU", "RNN") for row in newtons[name]]
learned = [row[-1] for row in newtons["GRU, parity"]]
assert max(untrained) <= 12, "a few sweeps were to do"
assert min(learned) > 2 * max(untrained)
for row in newtons["GRU, parity"]:
    assert row[2] > 1.5 * row[0], "the sweeps were to grow with T"

# The gradient: h_t reaches the loss directly and through h_{t+1}.
torch.manual_seed(0)
gru, x = GRU(4, 16).double(), torch.randn(256, 4).double()
states, h = [], torch.zeros(1, 16, dtype=torch.float64)
for x_t in x.unbind(0):
    _, h = gru(x_t.view(1, 1, 4), h)
    h.retain_grad()
    states.append(h)
pull = torch.randn(256, 16).double()
(torch.cat(states) * pull).sum().backward()
wanted = torch.cat([state.grad for state in states])
_, A, _ = newton(gru, x, 16)
back = torch.cat((torch.zeros(1, 16, 16).double(), A[1:].flip(0).mT)).detach()
found = scan(back, pull.flip(0)).flip(0)
adjoint_gap = (found - wanted).abs().max().item()
print(f"all gradients by one scan: {adjoint_gap:.0e} from backpropagation")
assert adjoint_gap < 1e-10

# %% [markdown] lang="zh"
# ## 时间
#
# 一个处理器核，一次前向加反向，宽度 64，批量 1。乘加：LSTM 每步 $8H^2$，Transformer 每步 $12D^2 + 2TD$。三个：`nn.LSTM`（单精度在 CPU 上是一个融合的实现）；本书的 `LSTM`，一步一步的 Python 循环；一层 Transformer。
# %% [markdown] lang="en"
# ## Time
#
# One processor core, one forward and backward pass, width 64, batch 1. Multiply–adds a
# step: LSTM $8H^2$, Transformer $12D^2 + 2TD$. Three of them: `nn.LSTM`, a fused kernel
# in single precision on the CPU; the `LSTM` of this book, a loop in Python; one layer
# of a Transformer.


# %%
def milliseconds(run, T):
    best = float("inf")
    clock = time.process_time if DEVICE == "cpu" else time.perf_counter
    for _ in range(4):
        x = torch.randn(1, T, 64, device=DEVICE).requires_grad_()
        start = clock()
        run(x).sum().backward()
        if DEVICE != "cpu":
            torch.accelerator.synchronize()
        best = min(best, clock() - start)
    return 1000 * best


fused = nn.LSTM(64, 64, batch_first=True).to(DEVICE)
loop = LSTM(64, 64).to(DEVICE)
layer = TransformerEncoderLayer(64, 4, 256).to(DEVICE)
RUNS = {"fused": lambda x: fused(x)[0], "loop": lambda x: loop(x)[0], "layer": layer}
times = {
    name: {T: milliseconds(run, T) for T in (128, 1024)} for name, run in RUNS.items()
}
for name, row in times.items():
    print(f"{name:6s}", "  ".join(f"T={T} {t:7.1f} ms" for T, t in row.items()))
if DEVICE == "cpu":
    assert times["layer"][1024] > 2 * times["fused"][1024]
    assert times["loop"][1024] > times["layer"][1024]

# %% [markdown] lang="zh"
# ## 练习的答案
# %% [markdown] lang="en"
# ## Answers to the exercises

# %%
# --8<-- [start:exercise-1]
for T in (10, 1000):
    x = torch.randn(1, T, 8).requires_grad_()
    loop_depth = depth(LSTM(8, 8)(x)[0].sum())
    layer_depth = depth(TransformerEncoderLayer(8, 2, 16)(x).sum())
    print(f"T={T:4d}  LSTM {loop_depth}  Transformer {layer_depth}")
    assert loop_depth == 8 * T + 6 and layer_depth < 40
# --8<-- [end:exercise-1]

# %%
# --8<-- [start:exercise-2]
# dominated by T for short texts, by T² for long; one more factor T without
assert formula(8, True) < 2.2 * formula(4, True)
assert 3.9 < formula(2**17, True) / formula(2**16, True) < 4
for T in (64, 512, 4096):
    assert T / 2 < formula(T, False) / formula(T, True) < 2 * T / 3

numbers = 2 * LAYERS * WIDTH  # a key and a value in each layer
model, caches = decoder(0), [[] for _ in range(LAYERS)]
model(torch.zeros(1, 100, dtype=torch.long, device=DEVICE), caches)
held = sum(a.numel() for cache in caches for pair in cache for a in pair)
assert held == 100 * numbers  # grows with every token; an RNN's h never does
# --8<-- [end:exercise-2]


# %%
# --8<-- [start:exercise-3]
def learns(task, steps=300):
    """Accuracy of one layer without positions."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    embed, readout = nn.Embedding(10, 32), nn.Linear(32, 10)
    model = nn.Sequential(embed, TransformerEncoderLayer(32, 4, 64), readout)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        x = torch.randint(10, (64, 8), generator=generator)
        loss = nn.functional.cross_entropy(model(x).mT, task(x))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.randint(10, (1000, 8), generator=generator)
    return (model(x).argmax(2) == task(x)).float().mean().item()


def how_often(x):  # how many times does this digit occur?
    return (x.unsqueeze(2) == x.unsqueeze(1)).sum(2)


def from_behind(x):
    return x.flip(1)


survives, lost = learns(how_often), learns(from_behind)
print(f"how often {survives:.2f}, from behind {lost:.2f}")
assert survives > 0.9 and lost < 0.5
# --8<-- [end:exercise-3]


# %%
# --8<-- [start:exercise-4]
def rotate(x, position):
    """Turn the pairs of x, (T, D), by angles that grow with the position."""
    speed = 10000 ** (-torch.arange(0, x.shape[1], 2) / x.shape[1])
    angle = position.unsqueeze(1) * speed
    a, b = x.double().unflatten(1, (-1, 2)).unbind(2)
    turned = a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()
    return torch.stack(turned, 2).flatten(1)


torch.manual_seed(0)
q, k, t = torch.randn(9, 8), torch.randn(9, 8), torch.arange(9)
scores = rotate(q, t) @ rotate(k, t).T
later = rotate(q, t + 500) @ rotate(k, t + 500).T
assert torch.allclose(scores, later, atol=1e-4)  # only the distance counts
assert torch.allclose(scores.diagonal(), (q * k).sum(1).double())
assert torch.allclose(rotate(k, t).norm(dim=1), k.norm(dim=1).double())
# --8<-- [end:exercise-4]

# %%
# --8<-- [start:exercise-5]
torch.manual_seed(0)
x = torch.randn(4, 6, 16).requires_grad_()
for norm in (nn.LayerNorm(16), nn.BatchNorm1d(16)):
    swap = isinstance(norm, nn.BatchNorm1d)  # wants (B, D, T)
    out = norm(x.mT).mT if swap else norm(x)
    (gradient,) = torch.autograd.grad(out[0, 2].square().sum(), x)
    others = gradient.clone()
    others[0, 2] = 0
    future, neighbours = others[0, 3:].abs().max(), others[1:].abs().max()
    print(f"{type(norm).__name__:12s} future {future:.1e}, others {neighbours:.1e}")
    assert (future > 1e-4) == swap and (neighbours > 1e-4) == swap
# --8<-- [end:exercise-5]


# %%
def verdict(holds, conditional):
    return "holds" if holds else "conditional" if conditional else "fails"


few = max(untrained) < 256 / 10
results = {
    "n": len(SEEDS),
    "n_three": len(THREE),
    "torch_gap": torch_gap,
    "tcn_each": tcn_each,
    "training_depth": training[0],
    "generation_slope": generation_slope,
    "cache_gap": cache_gap,
    "written_low": min(written),
    "equivariance": equivariance,
    "whole_low": min(whole for whole, _, _ in with_positions),
    "without_high": max(whole for whole, _, _ in without_positions),
    "without_digit_low": min(digit for _, digit, _ in without_positions),
    "without_digit_high": max(digit for _, digit, _ in without_positions),
    "longer_high": max(longer for _, _, longer in with_positions),
    "newton_gap": newton_gap,
    "newton_low": min(untrained),
    "newton_high": max(untrained),
    "adjoint_gap": adjoint_gap,
    "time_ratio_fused": times["layer"][1024] / times["fused"][1024],
    "time_ratio_loop": times["loop"][1024] / times["layer"][1024],
    "claim_parallel": verdict(
        len({*training}) == 1 and slopes["Transformer"] == 0 and min(written) > 0.95,
        slopes["Transformer"] < slopes["RNN"],
    ),
    "claim_gated_serial": verdict(not few, min(learned) > 2 * max(untrained)),
    "claim_similar": verdict(
        False,  # a belt there is, over the layers; a gate over time there is not
        min(g for _, g in stacks["pre"]) > 0.7,
    ),
}
for name, (_, slope, start) in queues.items():
    results[f"slope_{name.lower()}"] = slope
    results[f"start_{name.lower()}"] = start
for kind in ("GRU", "RNN"):
    for T, counts in zip(NEWTON_T, zip(*newtons[f"{kind}, parity"])):
        results[f"newton_{kind.lower()}_{T}_low"] = min(counts)
        results[f"newton_{kind.lower()}_{T}_high"] = max(counts)
for T, (cached, uncached) in cost.items():
    results[f"cached_{T}"], results[f"ratio_{T}"] = cached, uncached / cached
for name, key in [
    ("RNN, orthogonal", "rnn"),
    ("LSTM, b = 1", "lstm_1"),
    ("LSTM, b = 3", "lstm_3"),
    ("Transformer", "transformer"),
]:
    far = near_far[name][:, 50]
    results[f"far_{key}_low"] = far.min().item()
    results[f"far_{key}_high"] = far.max().item()
for kind, runs in stacks.items():
    key = kind.replace(" ", "_")
    for n in (6, 24):
        results[f"cosine_{key}_{n}_low"] = min(c[n] for c, _ in runs)
        results[f"cosine_{key}_{n}_high"] = max(c[n] for c, _ in runs)
    results[f"gradient_{key}_low"] = min(g for _, g in runs)
    results[f"gradient_{key}_high"] = max(g for _, g in runs)
for kind, found in tracked.items():
    for column, key in enumerate(("300_16", "300_256", "900_16", "900_256")):
        results[f"{kind.lower()}_{key}_low"] = found[:, column].min().item()
        results[f"{kind.lower()}_{key}_high"] = found[:, column].max().item()
for name, row in times.items():
    for T, duration in row.items():
        results[f"time_{name}_{T}"] = duration
print({key: value for key, value in results.items() if key.startswith("claim")})
