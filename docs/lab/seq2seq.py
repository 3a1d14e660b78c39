# %% [markdown] lang="zh"
# # 实验：序列到序列
#
# 六个问题：损失怎样平均才对？填充会不会混进摘要？一个向量装得下多长的序列，加上注意力又如何？喂标准答案和喂自己的输出，差多少？束搜索找到了什么？不要编码器行不行？
# %% [markdown] lang="en"
# # Lab: sequence to sequence
#
# Six questions: how is the loss to be averaged? Does padding get into the summary? How
# long a sequence passes through one vector, and what changes with attention? Fed with
# the gold answer or with its own output, how far apart is a model? What does beam
# search find? And is an encoder needed at all?

# %%
import math
import os
from functools import partial

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(3)

# %%
from snippets._lab import verdict

# %%
from snippets.attention import attention

# %%
from snippets.seq2seq import Decoder, Encoder, batch, beam, greedy, masked_cross_entropy

END = 10  # the token that ends an answer, and stands before its first

# %% [markdown] lang="zh"
# ## 损失怎样平均
#
# 手算的例子：三条答案，长 4、2、0，补到 $T = 4$，十个类别同样可能，每个词元的损失都是 $\ln 10$。三种平均：只数有效的；连填充的格子一起数；先对补齐后的时间平均，再除以有效词元数。末一种在网上流传很广，是错的。再换成随机分数，看它的梯度与正确的梯度成什么角度。
# %% [markdown] lang="en"
# ## How to average the loss
#
# The example by hand: three answers of length 4, 2 and 0, padded to $T = 4$, ten
# classes equally likely, so that each token costs $\ln 10$. Three averages: over the
# valid tokens; over all cells, padding included; over padded time first and then
# divided by the number of valid tokens. The last is widespread, and wrong. Then, with
# random scores, the angle between its gradient and the right one.


# %%
def three_averages(scores, target, mask):
    each = nn.functional.cross_entropy(scores.mT, target, reduction="none") * mask
    return {
        "valid": masked_cross_entropy(scores, target, mask),
        "cells": each.mean(),
        "twice": each.mean(1).sum() / mask.sum(),
    }


# %%
ANSWERS = torch.arange(12).view(3, 4) % 10
LENGTHS_4_2_0 = torch.arange(4) < torch.tensor([[4], [2], [0]])
uniform_scores = torch.zeros(3, 4, 10).double()
uniform = three_averages(uniform_scores, ANSWERS, LENGTHS_4_2_0)
for name, loss in uniform.items():
    print(f"{name:6s} {loss.item():.3f}")
assert abs(uniform["valid"] - math.log(10)) < 1e-12
assert abs(uniform["twice"] - math.log(10) / 4) < 1e-12


# %%
def compare_gradients():
    """Cosine of the wrong gradient with the right one, and how far it is shrunk."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 4, 10, generator=generator).double().requires_grad_()
    losses = three_averages(scores, ANSWERS, LENGTHS_4_2_0)
    right, twice = (
        torch.autograd.grad(losses[name], scores, retain_graph=True)[0].flatten()
        for name in ("valid", "twice")
    )
    cosine = nn.functional.cosine_similarity(right, twice, 0).item()
    return cosine, (right.norm() / twice.norm()).item()


cosine, shrunk = compare_gradients()
print(f"gradients: cosine {cosine:.6f}, the right one {shrunk:.3f} times as long")
assert abs(cosine - 1) < 1e-12 and abs(shrunk - 4) < 1e-12

# %% [markdown] lang="zh"
# ## 一个向量能传多长
#
# 读 7 到 20 个数字，倒着写出来，或者排好序写出来，最后写一个结束符。两种解码器：
#
# - 一个向量：$h^S$ 作初始状态，还接到每一步的输入上，这就是代码里的 `Decoder`；
# - 注意力：$h^S$ 只作初始状态，读出之前用注意力看一遍编码器的全部状态。教科书里大都这样：注意力看到的，顶替了每步都给的向量。
#
# 排序另有两个对照：$h^S$ 只在开头给，也没有注意力；$h^S$ 每步都给，**又**加注意力。
#
# 编码器都一样，单向 GRU，宽度 64，默认初始化；教师强制，一批 64 条，Adam 5e-3，梯度裁剪到 1。评测时用权重的指数滑动平均（每步留 0.98），免得结果随最后几步抖动。预算两档：200 步和 600 步，同一次训练，走到 200 步时先量一次；对照只训练 200 步。步数和学习率在编号 100 以上的种子上选定。一次 600 步要十秒左右，所以只用三个种子。
#
# 一条答案从头到尾连结束符都对，才算对。
# %% [markdown] lang="en"
# ## How much one vector carries
#
# Read 7 to 20 digits and write them backwards, or in order, then a token that says
# "end". Two decoders:
#
# - one vector: $h^S$ is the first state and is joined to the input of every step as
#   well; this is the `Decoder` of the code;
# - attention: $h^S$ is the first state and nothing more, but before its readout the
#   decoder looks at all states of the encoder. So do most textbooks: what attention
#   sees takes the place of the vector at every step.
#
# For sorting there are two controls: $h^S$ at the start alone and no attention; and
# $h^S$ at every step **and** attention.
#
# The encoder is the same throughout, a one-directional GRU of width 64 with its
# default initialisation; teacher forcing, batches of 64, Adam 5e-3, gradients clipped
# to 1. Models are tested with an exponential moving average of their weights (.98 a
# step), so that results do not jitter with the last few steps. Two budgets: 200 steps
# and 600 steps, of one training that is measured when it passes step 200; the controls
# are trained for 200 steps. Steps and learning rate were chosen on seeds from 100 on. A
# run of 600 steps takes about ten seconds, hence three seeds only.
#
# An answer counts as right when all of it is, the end included.

# %%
LOW, HIGH, WIDTH, SHORT, LONG, EVERY = 7, 20, 64, 200, 600, 100
TASKS = {"reverse": False, "sort": True}


def draw(batch_size, low, high, generator, ordered):
    found = batch(batch_size, low, high, generator, ordered)
    return [tensor.to(DEVICE) for tensor in found]


def whole(said, y, counts):
    return ((said == y) | ~counts).all(1)


def after(y):
    """What the decoder is fed: the token before each, END before the first."""
    return nn.functional.pad(y, (1, -1), value=END)


# %%
class Once(Decoder):
    """Given the context vector as its first state, and not again."""

    def forward(self, previous, context, h=None):
        h = context if h is None else h
        return super().forward(previous, torch.zeros_like(context), h)


class Looking(Decoder):
    """The Decoder, with a look at all states before the readout."""

    def __init__(self, vocab_size, embed_size, hidden_size):
        super().__init__(vocab_size, embed_size, hidden_size)
        H = hidden_size
        self.W_q, self.W_k = nn.Linear(H, H), nn.Linear(H, H)
        self.look = nn.Linear(2 * H, vocab_size)
        self.readout = nn.Identity()  # what leaves the Decoder is its state

    def forward(self, previous, context, h=None, states=None, keep=None):
        u, h = super().forward(previous, context, h)  # (B, T, H), (B, H)
        mask = keep.unsqueeze(1)
        seen, _ = attention(self.W_q(u), self.W_k(states), states, mask)
        return self.look(torch.cat((u, seen), 2)), h


class LookingOnce(Looking, Once):
    """Attention takes the place of the vector at every step."""


def read(model, x, keep):
    """A decoder that has all it may see of the source, and the context."""
    encoder, decoder = model
    states, context = encoder(x, keep)
    if isinstance(decoder, Looking):
        decoder = partial(decoder, states=states, keep=keep)
    return decoder, context


# %%
@torch.no_grad()
def accuracy(model, low, high, ordered, seed, batch_size=300):
    """Share of answers that are right throughout, and of tokens."""
    generator = torch.Generator().manual_seed(1000 + seed)
    x, keep, y, counts = draw(batch_size, low, high, generator, ordered)
    said = greedy(*read(model, x, keep), y.shape[1])
    right = whole(said, y, counts).float().mean().item()
    return right, (said == y)[counts].float().mean().item()


# %%
def train(seed, kind, ordered, steps):
    """Accuracy at every EVERY steps, and the model at the end."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    sizes = 11, 16, WIDTH
    model = nn.ModuleList([Encoder(*sizes), kind(*sizes)]).to(DEVICE)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.98))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    curve = {}
    for step in range(1, steps + 1):
        x, keep, y, counts = draw(64, LOW, HIGH, generator, ordered)
        decoder, context = read(model, x, keep)
        loss = masked_cross_entropy(decoder(after(y), context)[0], y, counts)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(model)
        if step % EVERY == 0:
            curve[step] = accuracy(average.module, LOW, HIGH, ordered, seed)[0]
    return curve, average.module


# %%
GROUPS = {"vector": Decoder, "attention": LookingOnce}
CONTROLS = {"once": Once, "both": Looking}
runs = {
    (task, group): [train(seed, kind, ordered, LONG) for seed in SEEDS]
    for task, ordered in TASKS.items()
    for group, kind in GROUPS.items()
}
controls = {
    name: [train(seed, kind, True, SHORT)[0][SHORT] for seed in SEEDS]
    for name, kind in CONTROLS.items()
}


# %%
def at(task, group, step):
    """Share of whole answers right after so many steps, a list over the seeds."""
    return [curve[step] for curve, _ in runs[task, group]]


for task, group in runs:
    for curve, _ in runs[task, group]:
        shares = " ".join(f"{step}: {a:.2f}" for step, a in curve.items())
        print(f"{task:8s} {group:10s} {shares}")
for name, shares in controls.items():
    print(f"sort     {name:10s} {SHORT}:", " ".join(f"{a:.2f}" for a in shares))
assert min(at("reverse", "attention", LONG)) > 0.85
assert max(at("reverse", "vector", LONG)) < 0.6
assert min(at("reverse", "attention", SHORT)) > max(at("reverse", "vector", LONG))
assert min(at("sort", "vector", LONG)) > 0.9
assert min(at("sort", "attention", LONG)) > 0.85
assert max(controls["once"]) < 0.1 < 0.4 < min(at("sort", "vector", SHORT))
assert max(at("sort", "attention", SHORT)) < min(at("sort", "vector", SHORT))
assert max(at("sort", "attention", SHORT)) < min(controls["both"])

# %%
fig, axes = plt.subplots(1, 2, figsize=(4.8, 2.6), sharey=True)
STYLE = {"vector": ("C3", r"$h^S$"), "attention": ("C0", "attention")}
for ax, task in zip(axes, TASKS):
    for group, (colour, label) in STYLE.items():
        for curve, _ in runs[task, group]:
            ax.plot(
                [0, *curve], [0, *curve.values()], color=colour, lw=1.3, label=label
            )
            label = None
    ax.axvline(SHORT, color="gray", ls=":", lw=1)
    ax.set_xticks([0, SHORT, LONG])
axes[0].set_title("3 1 2 → 2 1 3")
axes[1].set_title("3 1 2 → 1 2 3")
axes[0].set_ylim(0, 1.02)
axes[1].legend(loc="lower right")
fig.savefig("curve.svg")

# %% [markdown] lang="zh"
# ## 准确率随长度
#
# 训练完 600 步的模型，一种长度一种长度地考，一直考到训练时最长的两倍。长于 20 的，训练时没有见过。
# %% [markdown] lang="en"
# ## Accuracy against length
#
# The models after 600 steps, tested on one length at a time, up to twice the longest
# of training. None longer than 20 was seen in training.

# %%
LENGTHS = [7, 8, 10, 12, 14, 16, 18, 20, 22, 25, 30, 40]
by_length = {
    (task, group): [
        {n: accuracy(model, n, n, ordered, seed, 200) for n in LENGTHS}
        for seed, (_, model) in zip(SEEDS, runs[task, group])
    ]
    for task, ordered in TASKS.items()
    for group in GROUPS
}


def whole_at(task, group, n):
    """Share of whole answers right at this length, a list over the seeds."""
    return [lengths[n][0] for lengths in by_length[task, group]]


def tokens_at(task, group, n):
    """Share of tokens right at this length, a list over the seeds."""
    return [lengths[n][1] for lengths in by_length[task, group]]


# %%
for task, group in by_length:
    for n in (LOW, HIGH, 2 * HIGH):
        shares = " ".join(f"{a:.2f}" for a in whole_at(task, group, n))
        tokens = " ".join(f"{a:.2f}" for a in tokens_at(task, group, n))
        print(f"{task:8s} {group:10s} n={n:2d}  whole {shares}  tokens {tokens}")
assert max(whole_at("reverse", "vector", HIGH)) < 0.1
assert min(whole_at("reverse", "attention", HIGH)) > 0.5
for task, group in by_length:
    assert max(whole_at(task, group, 2 * HIGH)) < 0.02, "nobody was to manage twice"
    assert max(tokens_at(task, group, 2 * HIGH)) < 0.4

# %%
fig, axes = plt.subplots(1, 2, figsize=(4.8, 2.6), sharey=True)
for ax, task in zip(axes, TASKS):
    ax.axvspan(LOW, HIGH, color="lightgray", alpha=0.4, lw=0)
    for group, (colour, label) in STYLE.items():
        for lengths in by_length[task, group]:
            shares = [a for a, _ in lengths.values()]
            ax.plot([*lengths], shares, color=colour, lw=1.3, label=label)
            label = None
    ax.set_xticks([LOW, HIGH, 2 * HIGH])
    ax.set_xlabel("S")
axes[0].set_title("3 1 2 → 2 1 3")
axes[1].set_title("3 1 2 → 1 2 3")
axes[0].set_ylim(0, 1.02)
axes[0].legend(loc="upper right", bbox_to_anchor=(1.12, 1))
fig.savefig("length.svg")

# %% [markdown] lang="zh"
# ## 喂标准答案，还是喂自己的输出
#
# 同一个模型考两遍：一遍每步喂标准答案的前一个词元，一遍喂它自己刚说的。除了整条和逐个词元的准确率，再单看第一次出错以后的词元：两遍的第一次出错必在同一步，因为在那以前喂的东西一模一样。
# %% [markdown] lang="en"
# ## Fed with gold, or with its own output
#
# One model, tested twice: fed at each step with the gold token before it, and fed with
# what it has just said. Besides whole answers and single tokens, look at the tokens
# after the first mistake alone: both first mistakes are at the same step, since until
# then both were fed the same.


# %%
@torch.no_grad()
def exposure(model, ordered, seed):
    generator = torch.Generator().manual_seed(2000 + seed)
    x, keep, y, counts = draw(500, LOW, HIGH, generator, ordered)
    decoder, context = read(model, x, keep)
    own = greedy(decoder, context, y.shape[1])
    gold = decoder(after(y), context)[0].argmax(2)
    wrong = ((own != y) & counts).cumsum(1)  # mistakes so far
    later = counts & (nn.functional.pad(wrong, (1, -1)) > 0)
    found = {}
    for name, said in (("own", own), ("gold", gold)):
        found[f"{name}_whole"] = whole(said, y, counts).float().mean().item()
        found[f"{name}_token"] = (said == y)[counts].float().mean().item()
        found[f"{name}_later"] = (said == y)[later].float().mean().item()
    return found


gaps = {
    (task, group): [
        exposure(model, TASKS[task], seed)
        for seed, (_, model) in zip(SEEDS, runs[task, group])
    ]
    for task, group in runs
}

# %%
for task, group in gaps:
    for gap in gaps[task, group]:
        numbers = "  ".join(f"{name} {share:.3f}" for name, share in gap.items())
        print(f"{task:8s} {group:10s} {numbers}")
whole_gap = max(
    abs(gap["own_whole"] - gap["gold_whole"])
    for measured in gaps.values()
    for gap in measured
)
assert whole_gap < 0.005, "whole answers do not depend on what is fed"
for gap in gaps["reverse", "vector"]:
    assert gap["gold_token"] - gap["own_token"] > 0.08
    assert gap["gold_later"] - gap["own_later"] > 0.15

# %% [markdown] lang="zh"
# ## 填充混进了摘要
#
# 训练好的排序模型，编码器在一批里读到最长那条的末尾。正确的摘要是每条最后一个**有效**词元处的状态；常见的错误是取最后一列 `out[:, -1]`，那里已经读过填充。
# %% [markdown] lang="en"
# ## Padding in the summary
#
# The trained sorting models. In a batch the encoder reads on to the end of the longest
# source. The right summary is the state at the last **valid** token of each; the usual
# mistake is the last column, `out[:, -1]`, which has read the padding.


# %%
@torch.no_grad()
def summaries(model, seed):
    generator = torch.Generator().manual_seed(3000 + seed)
    x, keep, y, counts = draw(500, LOW, HIGH, generator, True)
    encoder, decoder = model
    states, context = encoder(x, keep)
    shares = []
    for summary in (context, states[:, -1]):
        said = greedy(decoder, summary, y.shape[1])
        shares.append(whole(said, y, counts).float().mean().item())
    noise = torch.where(keep, x, 3)
    return (*shares, (encoder(noise, keep)[1] - context).abs().max().item())


# %%
padded = [
    summaries(model, seed) for seed, (_, model) in zip(SEEDS, runs["sort", "vector"])
]
for good, last_column, moved in padded:
    print(f"last valid {good:.2f}, last column {last_column:.2f}, moved {moved:.0e}")
assert max(moved for *_, moved in padded) == 0, "padding was to have no influence"
assert all(last_column < good - 0.3 for good, last_column, _ in padded)

# %% [markdown] lang="zh"
# ## 束搜索
#
# 倒写任务，只靠一个向量的模型（种子 0），100 条 7 到 14 个数字的源序列。束宽 1 就是贪心搜索。量两样：找到的答案有多大的对数概率；整条对的有几成。
# %% [markdown] lang="en"
# ## Beam search
#
# Reversal, the model with nothing but one vector (seed 0), 100 sources of 7 to 14
# digits. A width of 1 is greedy search. Measured: the log-probability of the answer
# found, and the share of answers that are right.


# %%
@torch.no_grad()
def search(width):
    """The log-probability of each answer found, and whether it is right."""
    encoder, decoder = runs["reverse", "vector"][0][1]
    generator = torch.Generator().manual_seed(4000)
    x, keep, y, counts = draw(100, LOW, 14, generator, False)
    _, contexts = encoder(x, keep)
    answers = []
    for context, gold, n in zip(contexts.split(1), y.tolist(), counts.sum(1).tolist()):
        log, tokens = beam(decoder, context, 15, width)[0]
        answers.append((log, tokens == gold[:n]))
    return answers


beams = {width: search(width) for width in (1, 2, 4)}
mean_log = {w: sum(log for log, _ in beams[w]) / 100 for w in beams}
beam_right = {w: sum(good for _, good in beams[w]) / 100 for w in beams}
better = [b > a + 1e-6 for (a, _), (b, _) in zip(beams[1], beams[4])]
worse = [b < a - 1e-6 for (a, _), (b, _) in zip(beams[1], beams[4])]

# %%
for width in beams:
    print(f"width {width}  log p {mean_log[width]:7.3f}  right {beam_right[width]:.2f}")
print(f"width 4 likelier than 1: {sum(better)}, less likely: {sum(worse)}")
assert mean_log[1] < mean_log[2], "a beam of 2 was to find likelier answers"
assert mean_log[1] < mean_log[4]

# %% [markdown] lang="zh"
# ## 不要编码器
#
# 任务换成“读 2 到 6 个数字，写出其中**不同**的那些，从小到大”：答案的长度由内容决定，与源序列不同。两种做法：编码器—解码器；**一个**循环网络，先读源序列和一个结束符，接着往下写，像语言模型那样，用的还是 `Decoder`，只是上下文向量全为零。各 300 步，Adam 1e-2。一批里的源序列一样长，所以没有填充。
# %% [markdown] lang="en"
# ## Without an encoder
#
# Another task: read 2 to 6 digits and write those that are **different**, in order.
# Now the content decides how long the answer is, and it is not as long as the source.
# Two ways: encoder and decoder; and **one** recurrent network that reads the source
# and an end token, then writes on, as a language model does. It is the `Decoder` again,
# its context vector all zeros. 300 steps each, Adam 1e-2. Within a batch all sources
# are equally long, so there is no padding.


# %%
def different(batch_size, n, generator):
    x = torch.randint(10, (batch_size, n), generator=generator)
    y = x.sort(1).values
    again = nn.functional.pad(y[:, 1:] == y[:, :-1], (1, 0))
    y = nn.functional.pad(y.masked_fill(again, END).sort(1).values, (0, 1), value=END)
    length = (~again).sum(1, keepdim=True)
    counts = torch.arange(n + 1) <= length
    return [tensor.to(DEVICE) for tensor in (x, y, counts)]


# %%
class OneNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = Decoder(11, 16, WIDTH)

    def start(self, x):
        nothing = torch.zeros(len(x), WIDTH, device=x.device)
        return self.net, nothing, self.net(x, nothing)[1]


class TwoNetworks(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder(11, 16, WIDTH)
        self.net = Decoder(11, 16, WIDTH)

    def start(self, x):
        _, context = self.encoder(x, torch.ones_like(x, dtype=torch.bool))
        return self.net, context, context


# %%
def learn_the_different(seed, kind, steps=300):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = kind().to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        n = int(torch.randint(2, 7, (), generator=generator))
        x, y, counts = different(64, n, generator)
        net, context, h = model.start(x)
        loss = masked_cross_entropy(net(after(y), context, h)[0], y, counts)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


@torch.no_grad()
def write_the_different(model, seed):
    """Share of answers right, and of answers of another length than the source."""
    generator = torch.Generator().manual_seed(5000 + seed)
    good = others = total = 0
    for n in range(2, 7):
        x, y, counts = different(200, n, generator)
        net, context, h = model.start(x)
        said = greedy(net, context, n + 1, h)
        good += whole(said, y, counts).sum().item()
        others += (counts.sum(1) - 1 != n).sum().item()
        total += len(x)
    return good / total, others / total


# %%
written = {
    kind: [write_the_different(learn_the_different(s, kind), s) for s in SEEDS]
    for kind in (TwoNetworks, OneNetwork)
}
two_networks = [right for right, _ in written[TwoNetworks]]
one_network = [right for right, _ in written[OneNetwork]]
other_length = written[TwoNetworks][0][1]
print("encoder and decoder", " ".join(f"{a:.3f}" for a in two_networks))
print("one network        ", " ".join(f"{a:.3f}" for a in one_network))
print(f"answers of another length than the source: {other_length:.2f}")
assert min(two_networks) > 0.9
assert min(one_network) > 0.9

# %% [markdown] lang="zh"
# 原文的两句话怎么判。“RNN 将序列映射到向量，Seq2Seq 将序列映射到序列”：编码器每一步都有一个状态，所以 RNN 也给出序列，只是与输入一样长；Seq2Seq 的答案可以换个长度。“即编码—解码架构”：一个网络自己读完再写，也做成了同样的事。
# %% [markdown] lang="en"
# How to judge two statements of the note. “An RNN maps a sequence to a vector, Seq2Seq
# a sequence to a sequence”: the encoder has a state at every step, so an RNN gives a
# sequence too, as long as its input; the answers of Seq2Seq may have another length.
# “That is, the encoder–decoder architecture”: one network that reads and then writes
# does the same.


# %%
def gives_a_sequence(encoder):
    """Is there a state at every step, and a summary of the size of one?"""
    x, keep, _, _ = draw(4, 3, 5, torch.Generator().manual_seed(0), False)
    states, summary = encoder(x, keep)
    return states.shape[1] == x.shape[1] and summary.shape == states[:, 0].shape


aligned = gives_a_sequence(runs["reverse", "vector"][0][1][0])
learned_alone = min(one_network) > 0.9
claim_vector = verdict(False, aligned and min(two_networks) > 0.9)
claim_encoder_decoder = verdict(not learned_alone, learned_alone)
print(claim_vector, claim_encoder_decoder)

# %% [markdown] lang="zh"
# ## 练习的答案
# %% [markdown] lang="en"
# ## Answers to the exercises

# %%
# --8<-- [start:exercise-1]
for T in (4, 8, 16):  # the same three answers, padded further
    scores = torch.zeros(3, T, 10).double()
    target = torch.full((3, T), 9)
    mask = torch.arange(T) < torch.tensor([[4], [2], [0]])
    each = nn.functional.cross_entropy(scores.mT, target, reduction="none")
    valid = masked_cross_entropy(scores, target, mask)
    cells = (each * mask).mean()
    twice = (each * mask).mean(1).sum() / mask.sum()
    assert abs(valid - math.log(10)) < 1e-12
    assert abs(cells - math.log(10) * 6 / (3 * T)) < 1e-12
    assert abs(twice - math.log(10) / T) < 1e-12

    scores[..., 9] = torch.where(mask, 0.0, 20.0)  # padding as target, learnt
    counted = nn.functional.cross_entropy(scores.mT, target)
    assert abs(counted - cells) < 1e-6
# --8<-- [end:exercise-1]

# %%
# --8<-- [start:exercise-2]
encoder, decoder = runs["reverse", "vector"][0][1]
x, keep, y, counts = draw(300, 7, 20, torch.Generator().manual_seed(9), False)
with torch.no_grad():
    _, context = encoder(x, keep)
    own = greedy(decoder, context, y.shape[1])
    gold = decoder(after(y), context)[0].argmax(2)

mistakes_own, mistakes_gold = ((said != y) & counts for said in (own, gold))
first_own, first_gold = (m.float().argmax(1) for m in (mistakes_own, mistakes_gold))
same = (first_own == first_gold) & (mistakes_own.any(1) == mistakes_gold.any(1))
assert same.float().mean() > 0.99  # but for ties in the last bit
assert mistakes_own.sum() > 1.2 * mistakes_gold.sum()
# --8<-- [end:exercise-2]


# %%
# --8<-- [start:exercise-3]
def copying(seed, backwards, steps=300):
    """Loss after learning to write 8 digits as they stood."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    encoder, decoder = Encoder(11, 16, 32), Decoder(11, 16, 32)
    model = nn.ModuleList([encoder, decoder])
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(steps + 1):
        y = torch.randint(10, (64, 8), generator=generator)
        x = y.flip(1) if backwards else y
        keep = torch.ones_like(x, dtype=torch.bool)
        previous = nn.functional.pad(y, (1, -1), value=END)
        scores, _ = decoder(previous, encoder(x, keep)[1])
        loss = masked_cross_entropy(scores, y, keep)
        if step == steps:
            return loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


S = 8  # token i is read at i, or at S + 1 - i, and written at S + i
lags = [S for i in range(1, S + 1)], [2 * i - 1 for i in range(1, S + 1)]
assert sum(lags[0]) == sum(lags[1]) and min(lags[0]) == S and min(lags[1]) == 1
straight = [copying(seed, False) for seed in range(3)]
reversed_ = [copying(seed, True) for seed in range(3)]
assert max(reversed_) < min(straight)
# --8<-- [end:exercise-3]
print(straight, reversed_)

# %%
# --8<-- [start:exercise-4]
END_FIRST, GO_ON = 0.2, 0.7


def hesitant(previous, context, h=None):
    """Five tokens of .7 each, then the end; or the end at once, .2."""
    step = 0 if h is None else h
    p = torch.full((1, 1, 11), 0.1 / 9)
    p[..., 0], p[..., END] = GO_ON, END_FIRST
    if step == 5:
        p = torch.zeros(1, 1, 11)
        p[..., END] = 1
    return p.log(), step + 1


context = torch.zeros(1, 1)
assert beam(hesitant, context, 6, 1)[0][1] == [0, 0, 0, 0, 0, END]
found = beam(hesitant, context, 6, 20)
assert found[0][1] == [END]  # .2 against .7 ** 5 = .168
best = max(found, key=lambda beam: beam[0] / len(beam[1]))
assert best[1] == [0, 0, 0, 0, 0, END]  # the mean of the logarithms
# --8<-- [end:exercise-4]

# %%
# --8<-- [start:exercise-5]
digits = torch.randint(10, (20,), generator=torch.Generator().manual_seed(0)).tolist()
halves = [int("".join(map(str, digits[i : i + 10]))) for i in (0, 10)]
vector = torch.tensor(halves, dtype=torch.float64)  # two numbers
back = [int(d) for number in vector.tolist() for d in f"{int(number):010d}"]
assert back == digits
bits = 20 * math.log2(10), 64 * 32
assert bits[0] < 67 and bits[1] / bits[0] > 30
# --8<-- [end:exercise-5]

# %%
results = {
    "n": len(SEEDS),
    "short": SHORT,
    "long": LONG,
    "loss_valid": uniform["valid"].item(),
    "loss_cells": uniform["cells"].item(),
    "loss_twice": uniform["twice"].item(),
    "cosine": cosine,
    "shrunk": shrunk,
    "whole_gap": whole_gap,
    "padding_moved": max(moved for *_, moved in padded),
    "last_valid_low": min(good for good, _, _ in padded),
    "last_valid_high": max(good for good, _, _ in padded),
    "last_column_low": min(bad for _, bad, _ in padded),
    "last_column_high": max(bad for _, bad, _ in padded),
    "beam_log_1": mean_log[1],
    "beam_log_2": mean_log[2],
    "beam_log_4": mean_log[4],
    "beam_right_1": beam_right[1],
    "beam_right_2": beam_right[2],
    "beam_right_4": beam_right[4],
    "likelier": sum(better),
    "less_likely": sum(worse),
    "two_networks_low": min(two_networks),
    "two_networks_high": max(two_networks),
    "one_network_low": min(one_network),
    "one_network_high": max(one_network),
    "other_length": other_length,
    "claim_vector": claim_vector,
    "claim_encoder_decoder": claim_encoder_decoder,
    "copy_straight_low": min(straight),
    "copy_straight_high": max(straight),
    "copy_reversed_low": min(reversed_),
    "copy_reversed_high": max(reversed_),
}

# %%
results = results | {
    "reverse_vector_short_low": min(at("reverse", "vector", SHORT)),
    "reverse_vector_short_high": max(at("reverse", "vector", SHORT)),
    "reverse_vector_long_low": min(at("reverse", "vector", LONG)),
    "reverse_vector_long_high": max(at("reverse", "vector", LONG)),
    "reverse_attention_short_low": min(at("reverse", "attention", SHORT)),
    "reverse_attention_short_high": max(at("reverse", "attention", SHORT)),
    "reverse_attention_long_low": min(at("reverse", "attention", LONG)),
    "reverse_attention_long_high": max(at("reverse", "attention", LONG)),
    "sort_vector_short_low": min(at("sort", "vector", SHORT)),
    "sort_vector_short_high": max(at("sort", "vector", SHORT)),
    "sort_vector_long_low": min(at("sort", "vector", LONG)),
    "sort_vector_long_high": max(at("sort", "vector", LONG)),
    "sort_attention_short_low": min(at("sort", "attention", SHORT)),
    "sort_attention_short_high": max(at("sort", "attention", SHORT)),
    "sort_attention_long_low": min(at("sort", "attention", LONG)),
    "sort_attention_long_high": max(at("sort", "attention", LONG)),
    "sort_once_low": min(controls["once"]),
    "sort_once_high": max(controls["once"]),
    "sort_both_low": min(controls["both"]),
    "sort_both_high": max(controls["both"]),
}


# %%
def fed(name):
    """A share measured on the reversing models with one vector."""
    return [gap[name] for gap in gaps["reverse", "vector"]]


results = results | {
    "reverse_vector_20_low": min(whole_at("reverse", "vector", 20)),
    "reverse_vector_20_high": max(whole_at("reverse", "vector", 20)),
    "reverse_vector_40_token_high": max(tokens_at("reverse", "vector", 40)),
    "reverse_attention_20_low": min(whole_at("reverse", "attention", 20)),
    "reverse_attention_20_high": max(whole_at("reverse", "attention", 20)),
    "reverse_attention_40_high": max(whole_at("reverse", "attention", 40)),
    "reverse_attention_40_token_high": max(tokens_at("reverse", "attention", 40)),
    "sort_vector_20_low": min(whole_at("sort", "vector", 20)),
    "sort_vector_20_high": max(whole_at("sort", "vector", 20)),
    "sort_vector_40_token_high": max(tokens_at("sort", "vector", 40)),
    "sort_attention_20_low": min(whole_at("sort", "attention", 20)),
    "sort_attention_20_high": max(whole_at("sort", "attention", 20)),
    "sort_attention_40_token_high": max(tokens_at("sort", "attention", 40)),
    "reverse_vector_own_token_low": min(fed("own_token")),
    "reverse_vector_own_token_high": max(fed("own_token")),
    "reverse_vector_own_later_low": min(fed("own_later")),
    "reverse_vector_own_later_high": max(fed("own_later")),
    "reverse_vector_gold_token_low": min(fed("gold_token")),
    "reverse_vector_gold_token_high": max(fed("gold_token")),
    "reverse_vector_gold_later_low": min(fed("gold_later")),
    "reverse_vector_gold_later_high": max(fed("gold_later")),
}
