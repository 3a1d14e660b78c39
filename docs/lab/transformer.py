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

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS, THREE = range(5), range(3)

# %%
from snippets._lab import gradients, median, seconds, verdict

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
causal = torch.ones(9, 9, dtype=torch.bool, device=DEVICE).tril()


def everything(out, inputs):
    return out, *gradients(out, inputs)


def difference_from_torch(seed):
    torch.manual_seed(seed)
    differences = []
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
    return max(differences)


# %%
torch_gap = max(difference_from_torch(seed) for seed in SEEDS)
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


# %%
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

# %%
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
slopes = {name: slope for name, (_, slope, _) in queues.items()}
starts = {name: start for name, (_, _, start) in queues.items()}

# %%
for name, (depths, slope, start) in queues.items():
    print(f"{name:12s} {depths}  {slope:.0f} T + {start:.0f}")
assert [slopes[n] for n in ("RNN", "LSTM", "GRU")] == [3, 8, 9]
assert 3 < slopes["BiLSTM"] < 16 and slopes["Seq2Seq"] == 18
assert all(slopes[n] == 0 for n in ("MLP", "TCN", "attention", "Transformer"))


# %%
def whole_field(T, batch=2):
    """Depth of a TCN with as many levels as it takes to see all T steps."""
    levels = next(n for n in range(1, 20) if 2 ** (n + 1) - 1 >= T)
    x = torch.randn(batch, T, D, device=DEVICE).requires_grad_()
    return depth(TCN(D, D, 3, levels).to(x)(x).sum())


tcn_depths = [whole_field(T) for T in LENGTHS]
tcn_each = tcn_depths[1] - tcn_depths[0]
print(f"TCN that sees all T: {tcn_depths}, {tcn_each} more when T doubles")
assert tcn_depths[2] - tcn_depths[1] == tcn_each > 0

# %%
fig, ax = plt.subplots()
steps = list(range(1, 129, 3))
COLOURS = {"GRU": "C4", "RNN": "C0", "TCN": "C1", "Transformer": "C2"}
for name, colour in COLOURS.items():
    line = [slopes[name] * T + starts[name] for T in (*steps, 128)]
    ax.plot(steps, line[:-1], color=colour)
    ax.text(130, line[-1], name, color=colour, va="center")
doubling = [2, 4, 8, 16, 32, 64, 128]
ax.plot(doubling, [whole_field(T, 1) for T in doubling], "--", color="C1", lw=1)
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


# %%
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


# %%
training = [training_depth(T) for T in LENGTHS]
generation = [generation_depth(T) for T in LENGTHS]
generation_slope = (generation[2] - generation[1]) / (LENGTHS[2] - LENGTHS[1])
print(f"training {training}, generation {generation}, slope {generation_slope:.0f}")
assert len({*training}) == 1, "training was to be as deep for every T"
assert generation[1] - generation[0] == 16 * generation_slope > 0


# %%
@torch.no_grad()
def cache_difference(seed):
    """How far the scores with a cache are from those without."""
    model = decoder(seed)
    tokens = torch.randint(VOCABULARY, (4, 40), device=DEVICE)
    caches = [[] for _ in range(LAYERS)]
    pieces = [model(piece, caches) for piece in tokens.split(1, 1)]
    first = tokens[:, :1]
    assert torch.equal(generate(model, first, 40), generate(model, first, 40, False))
    return (torch.cat(pieces, 1) - model(tokens)).abs().max().item()


cache_gap = max(cache_difference(seed) for seed in SEEDS)
print(f"cached and uncached scores differ by {cache_gap:.0e} at most")
assert cache_gap < 1e-10


# %%
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


# %%
for T in (8, 64):
    for cached in (True, False):
        assert multiply_adds(T, cached) == formula(T, cached), "the formula is wrong"
with_cache = {T: formula(T, True) for T in (64, 512, 4096)}
ratio = {T: formula(T, False) / with_cache[T] for T in with_cache}
for T in ratio:
    print(
        f"T={T:4d}  cached {with_cache[T]:.2e}, uncached {ratio[T]:.0f} times as many"
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


# %%
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
@torch.no_grad()
def order_gap():
    """How far shuffling before the layer is from shuffling after it."""
    torch.manual_seed(0)
    layer = TransformerEncoderLayer(64, 4, 128).double().to(DEVICE)
    x, order = torch.randn(4, 24, 64).double().to(DEVICE), torch.randperm(24)
    return (layer(x[:, order]) - layer(x)[:, order]).abs().max().item()


equivariance = order_gap()
print(f"order changed, the output follows: {equivariance:.0e}")
assert equivariance < 1e-12


# %%
class Reader(nn.Module):
    """One encoder layer, with sinusoids or without."""

    def __init__(self, positions):
        super().__init__()
        self.positions = positions
        self.embed, self.readout = nn.Embedding(10, 64), nn.Linear(64, 10)
        self.layer = TransformerEncoderLayer(64, 4, 128)

    def forward(self, x):
        h = self.embed(x)
        h = h + sinusoid(x.shape[1], 64).to(h) if self.positions else h
        return self.readout(self.layer(h))


# %%
def learn_backwards(seed, positions):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Reader(positions).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(400):
        x, y = (a.to(DEVICE) for a in flipped(64, 24, generator))
        loss = nn.functional.cross_entropy(model(x).mT, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


@torch.no_grad()
def read_backwards(model, seed):
    """Shares right: whole sequences of 24, their digits, whole sequences of 28."""
    generator = torch.Generator().manual_seed(1000 + seed)
    x, y = (a.to(DEVICE) for a in flipped(500, 24, generator))
    right = (model(x).argmax(2) == y).float()
    x, y = (a.to(DEVICE) for a in flipped(500, 28, generator))
    longer = (model(x).argmax(2) == y).float()
    whole, digit, longer_whole = right.amin(1), right, longer.amin(1)
    return whole.mean().item(), digit.mean().item(), longer_whole.mean().item()


# %%
with_positions = [read_backwards(learn_backwards(s, True), s) for s in SEEDS]
without_positions = [read_backwards(learn_backwards(s, False), s) for s in THREE]
for name, shares in [("with", with_positions), ("without", without_positions)]:
    for whole, digit, longer in shares:
        print(f"{name:8s} whole {whole:.3f}  digits {digit:.3f}", end="  ")
        print(f"28 digits {longer:.3f}")
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


# %%
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
far = {name: rows[:, 50].tolist() for name, rows in near_far.items()}

# %%
for name, shares in far.items():
    print(f"{name:16s} lag 50 / lag 1: {min(shares):.1e} to {max(shares):.1e}")
assert max(far["RNN, orthogonal"]) < 1e-4
assert max(far["LSTM, b = 1"]) < 1e-3
assert min(far["LSTM, b = 3"]) > 0.1
assert min(far["Transformer"]) > 0.2
assert near_far["Transformer"][:, 1:].max() < 5, "no lag was to stand out"

# %%
fig, ax = plt.subplots()
for (name, rows), colour in zip(near_far.items(), ("C0", "C3", "C4", "C2")):
    ax.semilogy(range(1, 60), rows.log().mean(0).exp()[1:], color=colour, label=name)
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


def alike(state):
    """Mean cosine between two different positions."""
    unit = nn.functional.normalize(state, dim=2)
    products = unit @ unit.mT
    others = products.sum((1, 2)) - products.diagonal(dim1=1, dim2=2).sum(1)
    return (others / (24 * 23)).mean().item()


# %%
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
    norms = [state.grad.norm().item() for state in (states[0], states[-1])]
    return [alike(state.detach()) for state in states], norms[0] / norms[1]


stacks = {kind: [stack(kind, seed) for seed in SEEDS] for kind in KINDS}
after_6 = {kind: [c[6] for c, _ in stacks[kind]] for kind in KINDS}
after_24 = {kind: [c[24] for c, _ in stacks[kind]] for kind in KINDS}
gradient_ratio = {kind: [ratio for _, ratio in stacks[kind]] for kind in KINDS}

# %%
for kind in KINDS:
    print(f"{kind:12s} after 6 layers", *(f"{c:.3f}" for c in after_6[kind]), end="  ")
    print("after 24", *(f"{c:.3f}" for c in after_24[kind]), end="  ")
    print("gradient", *(f"{g:.2g}" for g in gradient_ratio[kind]))
assert min(after_6["no residual"]) > 0.99
assert max(after_6["pre"] + after_6["post"]) < 0.8
assert max(after_24["pre"]) < min(after_24["post"])
assert min(gradient_ratio["pre"]) > 1
assert max(gradient_ratio["post"] + gradient_ratio["no residual"]) < 0.9
assert min(gradient_ratio["no norm"]) > 5

# %%
fig, ax = plt.subplots()
SHOWN = [
    ("no residual", "C3", r"$\mathrm{LN}(f(x))$"),
    ("no norm", "C4", r"$x + f(x)$"),
    ("post", "C1", r"$\mathrm{LN}(x + f(x))$"),
    ("pre", "C2", r"$x + f(\mathrm{LN}(x))$"),
]
for kind, colour, label in SHOWN:
    average = torch.tensor([cosines for cosines, _ in stacks[kind]]).mean(0)
    ax.plot(range(25), average, color=colour, label=label)
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
def tracker(kind):
    """A model, and its learning rate."""
    if kind == "Transformer":
        return CausalLM(2, 32, 4, 2), 3e-3
    cell, readout = (GRU if kind == "GRU" else RNN)(1, 16), nn.Linear(16, 2)
    if kind == "RNN":
        nn.init.orthogonal_(cell.weight_hh_l0)
    return nn.ModuleList([cell, readout]), 1e-2


def answer(model, x):
    if isinstance(model, CausalLM):
        return model(x.squeeze(2).long())
    cell, readout = model
    return readout(cell(x)[0])


@torch.no_grad()
def examine(model, seed):
    """Accuracy on 16 steps, and in the second half of 256."""
    fresh = torch.Generator().manual_seed(1000 + seed)
    found = {}
    for T in (16, 256):
        x, y = (a.to(DEVICE) for a in parity(100, T, fresh))
        right = (answer(model, x).argmax(2) == y).float()
        found[T] = right[:, 128 if T == 256 else 0 :].mean().item()
    return found


# %%
def track(kind, seed):
    """Accuracies after each budget, and the model."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model, rate = tracker(kind)
    model.to(DEVICE)
    optimizer, found = torch.optim.Adam(model.parameters(), lr=rate), {}
    for step in range(901):
        if step in (300, 900):
            found[step] = examine(model, seed)
        x, y = (a.to(DEVICE) for a in parity(32, 16, generator))
        loss = nn.functional.cross_entropy(answer(model, x).mT, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return found, model


trackers = {
    kind: [track(kind, seed) for seed in THREE]
    for kind in ("RNN", "GRU", "Transformer")
}


# %%
def tracked(kind, steps, T):
    """Accuracy after so many steps of training on T steps, a list over the seeds."""
    return [found[steps][T] for found, _ in trackers[kind]]


for kind in trackers:
    for found, _ in trackers[kind]:
        print(
            f"{kind:12s} 300 steps: {found[300][16]:.3f} {found[300][256]:.3f}",
            end="   ",
        )
        print(f"900 steps: {found[900][16]:.3f} {found[900][256]:.3f}")
assert median(tracked("RNN", 300, 16)) < median(tracked("Transformer", 300, 16))
assert min(median(tracked(kind, 900, 16)) for kind in trackers) > 0.9
assert min(tracked("GRU", 900, 256)) > 0.9, "the GRU was to go on to 256 steps"
assert median(tracked("RNN", 900, 256)) > 0.9, "so was the RNN"
for budget in (300, 900):
    assert max(tracked("Transformer", budget, 256)) < 0.6, "a coin, at both budgets"

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


# %%
NEWTON_T = [64, 128, 256]


def cell_and_input(kind, trained, seed, T):
    if trained:
        x = parity(1, T, torch.Generator().manual_seed(seed))[0].squeeze(0)
        return trackers[kind][seed][1][0].cpu(), x
    cell = (GRU if kind == "GRU" else RNN)(4, 16)
    return cell, torch.randn(T, 4)


def sweeps(cell, x):
    """How many sweeps it takes, and how far they end from the loop."""
    cell, x = cell.double(), x.double()
    out = cell(x.unsqueeze(0))[0].squeeze(0)
    h, _, count = newton(cell, x, out.shape[1])
    return count, (h - out).abs().max().item()


def sweeps_by_length(kind, trained, seed):
    torch.manual_seed(seed)
    return {T: sweeps(*cell_and_input(kind, trained, seed, T)) for T in NEWTON_T}


newtons = {
    ("GRU", "untrained"): [sweeps_by_length("GRU", False, seed) for seed in SEEDS],
    ("RNN", "untrained"): [sweeps_by_length("RNN", False, seed) for seed in SEEDS],
    ("GRU", "parity"): [sweeps_by_length("GRU", True, seed) for seed in THREE],
    ("RNN", "parity"): [sweeps_by_length("RNN", True, seed) for seed in THREE],
}


# %%
def counts(kind, taught, T):
    """Sweeps over T steps, a list over the seeds."""
    return [row[T][0] for row in newtons[kind, taught]]


for kind, taught in newtons:
    shown = "  ".join(f"T={T}: {counts(kind, taught, T)}" for T in NEWTON_T)
    print(f"{kind} {taught:10s} sweeps  {shown}")
newton_gap = max(
    gap for rows in newtons.values() for row in rows for _, gap in row.values()
)
print(f"largest difference from the loop: {newton_gap:.0e}")
assert newton_gap < 1e-8
untrained = counts("GRU", "untrained", 256) + counts("RNN", "untrained", 256)
learned = counts("GRU", "parity", 256)
assert max(untrained) <= 12, "a few sweeps were to do"
assert min(learned) > 2 * max(untrained)
for short, long in zip(counts("GRU", "parity", 64), learned):
    assert long > 1.5 * short, "the sweeps were to grow with T"


# %%
def adjoint_difference():
    """How far all gradients by one scan are from backpropagation."""
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
    # h_t reaches the loss directly and through h_{t+1}
    back = torch.cat((torch.zeros(1, 16, 16).double(), A[1:].flip(0).mT)).detach()
    found = scan(back, pull.flip(0)).flip(0)
    return (found - wanted).abs().max().item()


adjoint_gap = adjoint_difference()
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
    x = torch.randn(1, T, 64, device=DEVICE).requires_grad_()
    return 1000 * seconds(lambda: run(x).sum().backward(), DEVICE, times=3)


fused = nn.LSTM(64, 64, batch_first=True).to(DEVICE)
loop = LSTM(64, 64).to(DEVICE)
layer = TransformerEncoderLayer(64, 4, 256).to(DEVICE)
RUNS = {"fused": lambda x: fused(x)[0], "loop": lambda x: loop(x)[0], "layer": layer}
times = {
    name: {T: milliseconds(run, T) for T in (128, 1024)} for name, run in RUNS.items()
}

# %%
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
claim_parallel = verdict(
    len({*training}) == 1 and slopes["Transformer"] == 0 and min(written) > 0.95,
    slopes["Transformer"] < slopes["RNN"],
)
few = max(untrained) < 256 / 10
claim_gated_serial = verdict(not few, min(learned) > 2 * max(untrained))
# a belt there is, over the layers; a gate over time there is not
claim_similar = verdict(False, min(gradient_ratio["pre"]) > 0.7)
print(claim_parallel, claim_gated_serial, claim_similar)

# %%
results = {
    "n": len(SEEDS),
    "n_three": len(THREE),
    "torch_gap": torch_gap,
    "slope_rnn": slopes["RNN"],
    "slope_lstm": slopes["LSTM"],
    "slope_gru": slopes["GRU"],
    "slope_bilstm": slopes["BiLSTM"],
    "slope_seq2seq": slopes["Seq2Seq"],
    "start_mlp": starts["MLP"],
    "start_tcn": starts["TCN"],
    "start_rnn": starts["RNN"],
    "start_lstm": starts["LSTM"],
    "start_gru": starts["GRU"],
    "start_bilstm": starts["BiLSTM"],
    "start_seq2seq": starts["Seq2Seq"],
    "start_attention": starts["attention"],
    "start_transformer": starts["Transformer"],
    "tcn_each": tcn_each,
    "training_depth": training[0],
    "generation_slope": generation_slope,
    "cache_gap": cache_gap,
    "cached_64": with_cache[64],
    "cached_512": with_cache[512],
    "cached_4096": with_cache[4096],
    "ratio_64": ratio[64],
    "ratio_512": ratio[512],
    "ratio_4096": ratio[4096],
    "written_low": min(written),
    "equivariance": equivariance,
    "whole_low": min(whole for whole, _, _ in with_positions),
    "without_high": max(whole for whole, _, _ in without_positions),
    "without_digit_low": min(digit for _, digit, _ in without_positions),
    "without_digit_high": max(digit for _, digit, _ in without_positions),
    "longer_high": max(longer for _, _, longer in with_positions),
    "claim_parallel": claim_parallel,
    "claim_gated_serial": claim_gated_serial,
    "claim_similar": claim_similar,
}

# %%
results = results | {
    "far_rnn_low": min(far["RNN, orthogonal"]),
    "far_rnn_high": max(far["RNN, orthogonal"]),
    "far_lstm_1_low": min(far["LSTM, b = 1"]),
    "far_lstm_1_high": max(far["LSTM, b = 1"]),
    "far_lstm_3_low": min(far["LSTM, b = 3"]),
    "far_lstm_3_high": max(far["LSTM, b = 3"]),
    "far_transformer_low": min(far["Transformer"]),
    "far_transformer_high": max(far["Transformer"]),
    "cosine_no_residual_6_low": min(after_6["no residual"]),
    "cosine_pre_24_low": min(after_24["pre"]),
    "cosine_pre_24_high": max(after_24["pre"]),
    "cosine_post_24_low": min(after_24["post"]),
    "cosine_post_24_high": max(after_24["post"]),
    "gradient_pre_low": min(gradient_ratio["pre"]),
    "gradient_pre_high": max(gradient_ratio["pre"]),
    "gradient_post_low": min(gradient_ratio["post"]),
    "gradient_post_high": max(gradient_ratio["post"]),
    "gradient_no_norm_low": min(gradient_ratio["no norm"]),
    "gradient_no_norm_high": max(gradient_ratio["no norm"]),
    "newton_gap": newton_gap,
    "newton_high": max(untrained),
    "newton_gru_64_low": min(counts("GRU", "parity", 64)),
    "newton_gru_64_high": max(counts("GRU", "parity", 64)),
    "newton_gru_256_low": min(counts("GRU", "parity", 256)),
    "newton_gru_256_high": max(counts("GRU", "parity", 256)),
    "newton_rnn_64_low": min(counts("RNN", "parity", 64)),
    "newton_rnn_64_high": max(counts("RNN", "parity", 64)),
    "newton_rnn_256_low": min(counts("RNN", "parity", 256)),
    "newton_rnn_256_high": max(counts("RNN", "parity", 256)),
    "adjoint_gap": adjoint_gap,
    "time_fused_1024": times["fused"][1024],
    "time_loop_1024": times["loop"][1024],
    "time_layer_1024": times["layer"][1024],
    "time_ratio_fused": times["layer"][1024] / times["fused"][1024],
}

# %%
results = results | {
    "rnn_300_16_low": min(tracked("RNN", 300, 16)),
    "rnn_300_16_high": max(tracked("RNN", 300, 16)),
    "rnn_300_256_low": min(tracked("RNN", 300, 256)),
    "rnn_300_256_high": max(tracked("RNN", 300, 256)),
    "rnn_900_16_low": min(tracked("RNN", 900, 16)),
    "rnn_900_16_high": max(tracked("RNN", 900, 16)),
    "rnn_900_256_low": min(tracked("RNN", 900, 256)),
    "rnn_900_256_high": max(tracked("RNN", 900, 256)),
    "gru_300_16_low": min(tracked("GRU", 300, 16)),
    "gru_300_16_high": max(tracked("GRU", 300, 16)),
    "gru_300_256_low": min(tracked("GRU", 300, 256)),
    "gru_300_256_high": max(tracked("GRU", 300, 256)),
    "gru_900_16_low": min(tracked("GRU", 900, 16)),
    "gru_900_16_high": max(tracked("GRU", 900, 16)),
    "gru_900_256_low": min(tracked("GRU", 900, 256)),
    "gru_900_256_high": max(tracked("GRU", 900, 256)),
    "transformer_300_16_low": min(tracked("Transformer", 300, 16)),
    "transformer_300_16_high": max(tracked("Transformer", 300, 16)),
    "transformer_300_256_low": min(tracked("Transformer", 300, 256)),
    "transformer_300_256_high": max(tracked("Transformer", 300, 256)),
    "transformer_900_16_low": min(tracked("Transformer", 900, 16)),
    "transformer_900_16_high": max(tracked("Transformer", 900, 16)),
    "transformer_900_256_low": min(tracked("Transformer", 900, 256)),
    "transformer_900_256_high": max(tracked("Transformer", 900, 256)),
}
