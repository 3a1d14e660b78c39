# %% [markdown] lang="zh"
# # 实验：结构地图
#
# 全书的模型，每个取一个小的、随机初始化的，不训练，只量它的**构造**：谁可以看谁，过去要经过多宽的通道才到得了未来，次序算不算数，花多少。凡是“学到了什么”，都在各页自己的实验里。
# %% [markdown] lang="en"
# # Lab: a map of the architectures
#
# Every model of the book, small, at random, not trained. Measured is how it is
# **built**: who may look at whom, how wide the passage is from past to future, whether
# order counts, and what it costs. What a model learns is in the lab of its own page.

# %%
import math
import os
from functools import partial

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)
torch.set_default_dtype(torch.float64)
torch.set_default_device(DEVICE)
torch.backends.cudnn.enabled = False  # it need not keep a zero exactly 0

# %%
from snippets._lab import span, verdict
from snippets.attention import MultiHeadAttention, attention
from snippets.birnn import BiLSTM
from snippets.conv1d import TCN, CausalConv1d
from snippets.esn import EchoState
from snippets.gating import GatedMemory
from snippets.gnn import GCNLayer, MessagePassing
from snippets.gru import GRU
from snippets.lstm import LSTM
from snippets.mlp import WindowMLP, slide
from snippets.recursive import RecursiveNet, TreeLSTM
from snippets.rnn import RNN
from snippets.seq2seq import Decoder, Encoder
from snippets.transformer import TransformerEncoderLayer

# %% [markdown] lang="zh"
# ## 模型
#
# 每个模型写成一对：它的参数，和一个从 `(1, T, D)` 到 `(1, T, …)` 的函数。$D$ 是全部宽度：输入、隐状态、通道、词表都是它。`Seq2Seq` 的源词元换成给定的向量，好对它求导；目标一侧喂的是固定的词元，教师强制。树是满二叉树，叶子是输入；图是一个环，每个节点有两个邻居。
# %% [markdown] lang="en"
# ## The models
#
# Each is a pair: its parameters, and a function from `(1, T, D)` to `(1, T, …)`. $D$ is
# every width: input, hidden state, channels, vocabulary. For `Seq2Seq` the tokens of
# the source are replaced by given vectors, to differentiate by; the target side is fed
# fixed tokens, teacher forcing. The tree is a full binary tree, its leaves are the
# inputs; the graph is a ring, each node has two neighbours.


# %%
def past(T):
    return torch.ones(T, T, dtype=torch.bool).tril()


def ring(N):
    one = torch.arange(N)
    pairs = torch.stack((one, (one + 1) % N))
    return torch.cat((pairs, pairs.flip(0)), 1)


def states(cell):
    return cell, lambda x: cell(x)[0]


def block(D, T, width=1):
    cell = WindowMLP(T, D, width * D, T * D)
    return cell, lambda x: cell(x).unflatten(1, (-1, D))


def window(D, T, width=1):
    cell = WindowMLP(3, D, width * D, D)
    return cell, lambda x: slide(cell, x)


def layer(cell):
    return cell, cell


def look(cell, causal=False):
    return cell, lambda x: cell(x, x, x, past(x.shape[1]) if causal else None)[0]


def think(D, causal=False):
    cell = TransformerEncoderLayer(D, 2, 4 * D)
    return cell, lambda x: cell(x, past(x.shape[1]) if causal else None)


# %%
class Given(nn.Module):
    """An embedding that answers with what it was given."""

    def forward(self, tokens):
        return self.given


def seq2seq(D, T, looking=False):
    encoder, decoder = Encoder(D, D, D), Decoder(D, D, D)
    encoder.embed = Given()
    parts = nn.ModuleList([encoder, decoder])
    if looking:
        decoder.readout = nn.Identity()
        parts.append(nn.Linear(2 * D, D))

    def run(x):
        encoder.embed.given = x
        tokens = torch.zeros(x.shape[:2], dtype=torch.long)
        read, context = encoder(tokens, tokens == 0)
        out, _ = decoder(torch.zeros(len(x), T, dtype=torch.long), context)
        if looking:
            seen, _ = attention(out, read, read)
            out = parts[2](torch.cat((out, seen), 2))
        return out

    return parts, run


# %%
def full_tree(T):
    """Children of 2T - 1 nodes, leaves first, the root last."""
    pairs = torch.arange(2 * T - 2).view(-1, 2)
    return torch.cat((torch.full((T, 2), -1), pairs))


def tree(cell):
    def run(x):
        leaves = x.squeeze(0)
        N = 2 * len(leaves) - 1
        nodes = nn.functional.pad(leaves, (0, 0, 0, N - len(leaves)))
        out = cell(nodes, full_tree(len(leaves)))
        return (out[0] if isinstance(out, tuple) else out).unsqueeze(0)

    return cell, run


def graph(cell):
    return cell, lambda x: cell(x.squeeze(0), ring(x.shape[1])).unsqueeze(0)


# %%
MODELS = {
    "block": block,
    "window": window,
    "conv": lambda D, T: layer(CausalConv1d(D, D, 3)),
    "tcn": lambda D, T: layer(TCN(D, D, 3, 5)),
    "rnn": lambda D, T: states(RNN(D, D)),
    "lstm": lambda D, T: states(LSTM(D, D)),
    "gru": lambda D, T: states(GRU(D, D)),
    "birnn": lambda D, T: states(BiLSTM(D, D)),
    "seq2seq": seq2seq,
    "looking": lambda D, T: seq2seq(D, T, looking=True),
    "attention": lambda D, T: look(MultiHeadAttention(D, 2)),
    "transformer": lambda D, T: think(D),
    "recursive": lambda D, T: tree(RecursiveNet(D, D)),
    "treelstm": lambda D, T: tree(TreeLSTM(D, D)),
    "gcn": lambda D, T: graph(GCNLayer(D, D)),
    "message": lambda D, T: graph(MessagePassing(D, D)),
    "esn": lambda D, T: states(EchoState(D, D, scale=0.5)),
}

# %% [markdown] lang="zh"
# ## 谁可以看谁
#
# 12 个输入，对每个输出求雅可比矩阵。第 $t$ 个输出对第 $s$ 个输入的那一块里，只要有一个数不是 0，就涂上格子 $(t, s)$；不是“小于某个数”，是**恰好为 0** 才留空。五个随机种子，图案必须一样。ReLU 关掉一个单元，导数就是 0，所以用 ReLU 的模型在这里取得宽些。
#
# 词袋把 12 个向量求平均，只有一个输出。树有 8 个叶子，15 个节点，按中序从左到右编号，于是一个节点管的是一段。图有 12 个节点：一个三角形，一个正方形，一条尾巴；GCN 一层，三层，以及在完全图上的一层。
# %% [markdown] lang="en"
# ## Who may look at whom
#
# Twelve inputs, and the Jacobian of every output. If any number in the block of output
# $t$ by input $s$ is not 0, square $(t, s)$ is filled; it stays empty not when the
# block is small but when it is **exactly 0**. Five seeds, and one pattern for all. A
# ReLU that is off has derivative 0, so models with ReLUs are made wider here.
#
# The bag averages twelve vectors and has one output. The tree has 8 leaves and 15
# nodes, numbered from left to right (in order), so that a node governs a stretch. The
# graph has 12 nodes, a triangle, a square and a tail; one layer of GCN, three layers,
# and one layer on the complete graph.

# %%
T, D = 12, 6
KNOWN = [(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (3, 6)]
KNOWN += [(i, i + 1) for i in range(6, 11)]
COMPLETE = [(i, j) for i in range(T) for j in range(i)]


def on(pairs, layers=1):
    edges = torch.tensor(pairs).T
    edges = torch.cat((edges, edges.flip(0)), 1)

    def make(D, T):
        cells = nn.ModuleList(GCNLayer(D, D) for _ in range(layers))

        def run(x):
            h = x.squeeze(0)
            for cell in cells:
                h = torch.tanh(cell(h, edges))
            return h.unsqueeze(0)

        return cells, run

    return make


def in_order(D, T):
    """A tree of 8 leaves: the even nodes; the odd ones stand between their children."""
    rows = []
    for i in range(15):
        half = ((i + 1) & -(i + 1)) // 2
        rows.append([i - half, i + half] if half else [-1, -1])
    cell, children = RecursiveNet(D, D), torch.tensor(rows)
    return cell, lambda x: cell(x.squeeze(0), children).unsqueeze(0)


# %%
def pattern(make, steps=T):
    """Which outputs depend on which inputs, alike for all seeds."""
    found = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        _, run = make(D, T)
        J = torch.autograd.functional.jacobian(run, torch.randn(1, steps, D))
        found.append(J.abs().amax((0, 2, 3, 5)) != 0)
    assert all(torch.equal(one, found[0]) for one in found), "seeds disagree"
    return found[0]


# %%
SHOWN = {
    "MLP": partial(block, width=8),
    "MLP, K = 3": partial(window, width=8),
    "Conv1d, K = 3": MODELS["conv"],
    "TCN, K = 2, L = 3": lambda D, T: layer(TCN(D, 8 * D, 2, 3)),
    "RNN": MODELS["rnn"],
    "LSTM": MODELS["lstm"],
    "GRU": MODELS["gru"],
    "EchoState": MODELS["esn"],
    "attention, causal": lambda D, T: look(MultiHeadAttention(D, 2), True),
    "Transformer, causal": lambda D, T: think(D, True),
    "BiLSTM": MODELS["birnn"],
    "bag": lambda D, T: (None, lambda x: x.mean(1, keepdim=True)),
    "Seq2Seq": lambda D, T: seq2seq(D, 9),
    "Seq2Seq + attention": lambda D, T: seq2seq(D, 9, looking=True),
    "attention": MODELS["attention"],
    "Transformer": MODELS["transformer"],
    "RecursiveNet": in_order,
    "GCN": on(KNOWN),
    "GCN, L = 3": on(KNOWN, 3),
    "GCN, complete": on(COMPLETE),
}
SIZES = {"RecursiveNet": 15}
patterns = {name: pattern(make, SIZES.get(name, T)) for name, make in SHOWN.items()}

# %%
every, triangle = torch.ones(T, T, dtype=torch.bool), past(T)
distance = torch.arange(T).unsqueeze(1) - torch.arange(T)
near = torch.eye(T, dtype=torch.bool)
for i, j in KNOWN:
    near[i, j] = near[j, i] = True
WANTED = {
    "MLP": every,
    "MLP, K = 3": triangle & (distance < 3),
    "Conv1d, K = 3": triangle & (distance < 3),
    "TCN, K = 2, L = 3": triangle & (distance < 8),
    "bag": every[:1],
    "BiLSTM": every,
    "Seq2Seq": every[:9],
    "Seq2Seq + attention": every[:9],
    "attention": every,
    "Transformer": every,
    "GCN": near,
    "GCN, L = 3": torch.linalg.matrix_power(near.double(), 3) > 0,
    "GCN, complete": every,
}

# %%
for name, found in patterns.items():
    if name != "RecursiveNet":
        assert torch.equal(found, WANTED.get(name, triangle)), name
for node, row in enumerate(patterns["RecursiveNet"]):
    half = (node + 1) & -(node + 1)
    below = (torch.arange(15) - node).abs() < half
    assert torch.equal(row, below), "a node was to see what lies below it"


def directions():
    """The patterns of a BiLSTM's two directions."""
    torch.manual_seed(0)
    cell = BiLSTM(D, D)
    J = torch.autograd.functional.jacobian(lambda x: cell(x)[0], torch.randn(1, T, D))
    return [part.abs().amax((0, 2, 3, 5)) != 0 for part in J.split(D, 2)]


forth, back = directions()
assert torch.equal(forth, triangle) and torch.equal(back, triangle.T)

# %%
groups = {}
for name, found in patterns.items():
    groups.setdefault((found.shape, found.cpu().numpy().tobytes()), []).append(name)
for names in groups.values():
    print(", ".join(names))
pictures, panels = len(groups), len(patterns)
print(f"{panels} models, {pictures} pictures")
assert pictures < panels, "some were to look alike"
assert max(map(len, groups.values())) >= 6, "six of them, at least"

# %%
GRAPHS = {"RecursiveNet", "GCN", "GCN, L = 3", "GCN, complete"}
SIDE, ROW, COLUMN = 1.05, 1.6, 1.3  # inches


def squares(ax, found, colour):
    """A row is a thick dashed line: a dash for each square that is filled."""
    cell = 72 * SIDE / max(found.shape)
    points = []
    for t, row in enumerate(found.tolist()):
        starts = [s for s, full in enumerate(row) if full and not (s and row[s - 1])]
        ends = [s for s, full in enumerate(row) if full and not any(row[s + 1 : s + 2])]
        for start, end in zip(starts, ends):
            points += [(start + 0.07, t + 0.5), (end + 0.93, t + 0.5)]
    path = Path(points, [Path.MOVETO, Path.LINETO] * (len(points) // 2))
    dashes = dict(linestyle=(0, (1, 14 / 86)), capstyle="butt", lw=0.86 * cell)
    ax.add_patch(PathPatch(path, facecolor="none", edgecolor=colour, **dashes))


# %%
fig = plt.figure(figsize=(4 * COLUMN, 5 * ROW))
for n, (name, found) in enumerate(patterns.items()):
    x, y = n % 4 / 4, 1 - (n // 4 + 1) / 5
    size, height = max(found.shape), SIDE / ROW / 5
    share = len(found) / size
    place = [x, y + (1 - share) * height, SIDE / COLUMN / 4, share * height]
    ax = fig.add_axes(place)
    if name == "BiLSTM":
        squares(ax, forth, "C0")
        squares(ax, back & ~forth, "C1")
    else:
        squares(ax, found, "C2" if name in GRAPHS else "C0")
    ax.set(xlim=(0, size), ylim=(len(found), 0), xticks=[], yticks=[])
    ax.spines[["top", "right"]].set_visible(True)
    ax.spines[:].set_color("lightgray")
    ax.set_title(
        name.replace(", ", ",\n", 1).replace(" + ", "\n+ "), fontsize=10, pad=4
    )
fig.savefig("who.svg")

# %% [markdown] lang="zh"
# ## 过去到未来的通道有多宽
#
# 图案相同，差别在哪里？把序列切成两半，前 $t$ 步是过去。全部**未来**的输出对全部**过去**的输入求雅可比矩阵，它的秩就是过去能独立影响未来的数有几个，不管代码里存了什么。宽度 4。秩按奇异值数，最大的当 1，小于 1e-12 的不算；数进去的与没数进去的之间，隔着三个数量级以上。
#
# `Seq2Seq` 切在源和目标之间：目标的全部输出，对源的 $t$ 步。
# %% [markdown] lang="en"
# ## How wide is the passage from past to future?
#
# Where the pattern is the same, what differs? Cut the sequence in two; the first $t$
# steps are the past. Take the Jacobian of all **future** outputs by all **past**
# inputs: its rank is how many independent numbers of the past can act on the future,
# whatever the code stores. Width 4. Singular values are counted down to 1e-12 of the
# largest; between those that count and those that do not lie three orders of
# magnitude or more.
#
# `Seq2Seq` is cut between source and target: all outputs of the target, by the $t$
# steps of the source.

# %%
NARROW, AFTER, STEPS = 4, 12, [1, 2, 3, 4, 5, 6, 7, 8]
SPLIT = {
    "RNN": MODELS["rnn"],
    "GRU": MODELS["gru"],
    "EchoState": MODELS["esn"],
    "LSTM": MODELS["lstm"],
    "Conv1d, K = 3": MODELS["conv"],
    "attention, causal": SHOWN["attention, causal"],
}

# %%
margins = []


def rank(J):
    s = torch.linalg.svdvals(J.cpu())
    s = s / s[0]
    count = (s > 1e-12).sum().item()
    last, after = s[count - 1].item(), s[count].item() if count < len(s) else 0.0
    margins.append((last, after))
    assert after < 1e-3 * last, f"no gap: {last:.0e}, {after:.0e}"
    return count


def passage(make, t, seed):
    torch.manual_seed(seed)
    _, run = make(NARROW, AFTER)
    x = torch.randn(1, t + AFTER, NARROW)

    def future(before):
        return run(torch.cat((before, x[:, t:]), 1))[:, t:]

    J = torch.autograd.functional.jacobian(future, x[:, :t])
    return rank(J.flatten(3).flatten(0, 2))


def source_to_target(looking, S, seed):
    torch.manual_seed(seed)
    _, run = seq2seq(NARROW, AFTER, looking)
    J = torch.autograd.functional.jacobian(run, torch.randn(1, S, NARROW))
    return rank(J.flatten(3).flatten(0, 2))


def agree(measure):
    found = {measure(seed) for seed in SEEDS}
    assert len(found) == 1, f"seeds disagree: {found}"
    return found.pop()


# %%
widths = {
    name: [agree(partial(passage, make, t)) for t in STEPS]
    for name, make in SPLIT.items()
}
for name, row in widths.items():
    print(f"{name:18s} {row}")
for name in ("RNN", "GRU", "EchoState"):
    assert widths[name] == [NARROW] * 8
for name in ("LSTM", "Conv1d, K = 3"):
    assert widths[name] == [NARROW] + [2 * NARROW] * 7
assert widths["attention, causal"] == [t * NARROW for t in STEPS]
source_vector = agree(partial(source_to_target, False, 4))
source_looking = agree(partial(source_to_target, True, 4))
print(f"Seq2Seq, source of 4: {source_vector}; with attention {source_looking}")
least, most = min(last for last, _ in margins), max(after for _, after in margins)
print(f"least singular value that counts {least:.0e}, largest that does not {most:.0e}")
assert source_vector == NARROW and source_looking == 4 * NARROW

# %%
fig, ax = plt.subplots()
for name, colour, label, dy in [
    ("attention, causal", "C2", "attention", 0),
    ("LSTM", "C3", "LSTM, Conv1d", 0.3),
    ("RNN", "C0", "RNN, GRU, EchoState", -0.3),
]:
    ax.plot(STEPS, widths[name], "o-", color=colour, ms=4)
    ax.text(8.15, widths[name][-1] + dy, label, color=colour, va="center")
ax.set_xlabel("t")
ax.set_xlim(0.8, 8)
ax.set_ylim(0, 33)
ax.set_yticks([0, 4, 8, 16, 24, 32])
fig.savefig("passage.svg")

# %% [markdown] lang="zh"
# ## 次序算不算数
#
# 把输入打乱，看输出是不是只跟着打乱。图的边要跟着节点走。差别除以输出里最大的数。再看两件事：长度加倍，参数变不变。
# %% [markdown] lang="en"
# ## Does order count?
#
# Shuffle the inputs: is the output merely shuffled too? The edges of the graph go with
# their nodes. Differences are relative to the largest output. And: does the number of
# parameters change when the length is doubled?


# %%
def shuffle_gap(key, seed):
    torch.manual_seed(seed)
    _, run = MODELS[key](D, T)
    x, order = torch.randn(1, T, D), torch.randperm(T)
    out = run(x)
    if key in {"gcn", "message"}:
        place = order.argsort()
        cell, _ = MODELS[key](D, T)
        gap = cell(x[0, order], place[ring(T)]) - cell(x[0], ring(T))[order]
    else:
        gap = run(x[:, order]) - out[:, order]
    return (gap.abs().max() / out.abs().max()).item()


def count(parts):
    return sum(p.numel() for p in parts.parameters())


# %%
NOT_SHUFFLED = {"seq2seq", "looking", "treelstm", "recursive"}
gaps = {
    key: span(shuffle_gap(key, seed) for seed in SEEDS)
    for key in MODELS
    if key not in NOT_SHUFFLED
}
for key, (least, most) in gaps.items():
    print(f"{key:12s} {least:.0e} to {most:.0e}")
blind = {key for key, (_, most) in gaps.items() if most < 1e-12}
blind_gap = max(gaps[key][1] for key in blind)
ordered_gap = min(gaps[key][0] for key in gaps if key not in blind)
assert blind == {"attention", "transformer", "gcn", "message"}, "who is blind to order"
assert ordered_gap > 0.01, "the others were to notice"
growing = [
    key
    for key in MODELS
    if count(MODELS[key](D, T)[0]) != count(MODELS[key](D, 2 * T)[0])
]
print("parameters grow with T:", growing)
assert growing == ["block"], "one alone has a weight for each place"

# %% [markdown] lang="zh"
# ## 花多少
#
# 所有宽度都取 64，注意力 2 个头，前馈 4 倍宽。每个模型量五样：
#
# - 参数，数出来，与公式核对；
# - 乘加：torch 数的矩阵乘法，除以步数，量三种长度，拟合成 $a + bT$。逐元素的乘法不算；
# - 最长依赖路径：与 Transformer 那一页同一种数法；
# - 训练要留的：自动求导为反向传播存下的数，除以步数，也拟合成 $a + bT$。参数不算，同一块内存只算一次；
# - 往下走一步要留的：上面已经量过秩，这里给公式。
#
# 树按叶子算一步，图按节点算一步。`EchoState` 的循环里没有要训练的参数，反向传播什么也不必留；它的读出层一次解出来，这里不算。
# %% [markdown] lang="en"
# ## What it costs
#
# All widths are 64, attention has 2 heads, feed-forward is 4 times as wide. Five
# measurements for each model:
#
# - parameters, counted and compared with a formula;
# - multiply–adds: those of matrix products, counted by torch, over the steps, at three
#   lengths, as $a + bT$. Element-wise products do not count;
# - the longest dependent path, counted as in the page of the Transformer;
# - what training keeps: the numbers that autograd saves for the backward pass, over the
#   steps, as $a + bT$ too. Parameters do not count, the same memory counts once;
# - what must be kept to go on by one step: its rank is measured above, here is a formula.
#
# A step is a leaf of the tree, a node of the graph. The recurrence of `EchoState` has
# nothing to train, and nothing need be kept; its readout is solved for at once and not
# counted here.

# %%
LENGTHS, WIDE = [32, 64, 128], 64
MIDDLE = LENGTHS[1]


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


def kept(parts, run, x):
    """Numbers that autograd saves for the backward pass."""
    own = {p.untyped_storage().data_ptr() for p in parts.parameters()}
    seen = {}

    def pack(tensor):
        memory = tensor.untyped_storage()
        if memory.data_ptr() not in own:
            seen[memory.data_ptr()] = memory.nbytes() // 8, tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run(x)
    return sum(numbers for numbers, _ in seen.values())


# %%
def costs(key):
    """Multiply–adds, longest path and kept numbers at each length."""
    adds, paths, memory = [], [], []
    for T in LENGTHS:
        torch.manual_seed(0)
        parts, run = MODELS[key](WIDE, T)
        x = torch.randn(1, T, WIDE)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            run(x)
        adds.append(counter.get_total_flops() / 2 / T)
        memory.append(kept(parts, run, x) / T)
        paths.append(depth(run(x.requires_grad_()).sum()))
    return adds, paths, memory


# %%
parameters = {key: count(MODELS[key](WIDE, MIDDLE)[0]) for key in MODELS}
for key in ("seq2seq", "looking"):
    parameters[key] += WIDE**2  # the table of the source, which was given
with torch.device("cpu"):  # a fused kernel of an accelerator hides what is counted
    cost = {key: costs(key) for key in MODELS}
adds = {key: row[0] for key, row in cost.items()}
paths = {key: row[1] for key, row in cost.items()}
memory = {key: row[2] for key, row in cost.items()}
for key in MODELS:
    print(f"{key:12s} {parameters[key]:7d} ", end=" ")
    print([*map(round, adds[key])], paths[key], [*map(round, memory[key])])


# %%
def by_formula(T, D):
    return {
        "block": 2 * T * D**2 + T * D + D,
        "window": 4 * D**2 + 2 * D,
        "conv": 3 * D**2 + D,
        "tcn": 5 * (3 * D**2 + D),
        "rnn": 2 * D**2 + 2 * D,
        "gru": 3 * (2 * D**2 + 2 * D),
        "lstm": 4 * (2 * D**2 + 2 * D),
        "birnn": 8 * (2 * D**2 + 2 * D),
        "seq2seq": 18 * D**2 + 13 * D,
        "looking": 19 * D**2 + 13 * D,
        "attention": 4 * D**2 + 4 * D,
        "transformer": 12 * D**2 + 13 * D,
        "recursive": 3 * D**2 + D,
        "treelstm": 14 * D**2 + 4 * D,
        "gcn": D**2 + D,
        "message": 4 * D**2 + 2 * D,
        "esn": 0,
    }


assert parameters == by_formula(MIDDLE, WIDE)
ratio = [parameters[key] / parameters["rnn"] for key in ("rnn", "gru", "lstm")]
assert ratio == [1, 3, 4], "every gate was to cost as much as the candidate"

# %%
# In units of D², and what is added for each step of T, in units of D.
ADDS = dict(block=2, window=4, conv=3, tcn=15, rnn=2, gru=6, lstm=8, birnn=16)
ADDS |= dict(seq2seq=16, looking=17, attention=4, transformer=12, gcn=1, message=6)
ADDS |= dict(esn=2)
PAIRS = dict(looking=2, attention=2, transformer=2)


def adds_by_formula(key, T, D):
    if key in ADDS:
        return ADDS[key] * D**2 + PAIRS.get(key, 0) * T * D
    nodes, inner = 2 - 1 / T, 1 - 1 / T  # for each leaf
    return (nodes + 2 * inner if key == "recursive" else 14 * nodes) * D**2


for key in MODELS:
    for length, found in zip(LENGTHS, adds[key]):
        assert math.isclose(found, adds_by_formula(key, length, WIDE)), key

# %%
slopes, starts = {}, {}
for key, (short, middle, long) in paths.items():
    slopes[key] = (long - middle) / (LENGTHS[2] - LENGTHS[1])
    starts[key] = long - slopes[key] * LENGTHS[2]
    if key not in {"recursive", "treelstm"}:
        assert short == slopes[key] * LENGTHS[0] + starts[key], "no line"
chains = {key for key, slope in slopes.items() if slope >= 3}
assert chains == {"rnn", "lstm", "gru", "birnn", "seq2seq", "looking", "esn"}
flat = {key for key, slope in slopes.items() if slope == 0}
trees = {key: paths[key] for key in ("recursive", "treelstm")}
for short, middle, long in trees.values():
    assert long - middle == middle - short > 0, "by doubling"
assert flat | chains | {*trees} == {*MODELS}

# %%
more = {key: (row[2] - row[1]) / MIDDLE for key, row in memory.items()}
held = {key: row[1] for key, row in memory.items()}
assert math.isclose(more["attention"], 2), "each head keeps a row of weights"
assert max(abs(b) for key, b in more.items() if key not in {"attention", "looking"}) < 1
assert held["rnn"] < held["lstm"] < held["gru"] < held["birnn"] and held["esn"] == 0

# %% [markdown] lang="zh"
# ## 往下走一步要留的
#
# 读了 $t$ 步，再来一步，手里必须有多少个数？循环网络就是状态，卷积是各层最近的输入，Transformer 是键值缓存。数的是真的张量；卷积的按公式，卷积那一页的练习逐步生成过。
# %% [markdown] lang="en"
# ## To go on by one step
#
# After $t$ steps, how many numbers must be at hand for one more? For a recurrent
# network the state, for convolutions the latest inputs of each level, for a Transformer
# the cache of keys and values. Counted are the tensors themselves; the convolutions are
# by formula, the exercises on convolution generate step by step.


# %%
def state_sizes(T, D):
    """How many numbers each model must have at hand after T steps."""
    x, cache = torch.randn(1, T, D), []
    lstm_state = LSTM(D, D)(x)[1]
    TransformerEncoderLayer(D, 2, 4 * D)(x, past(T), cache)
    return {
        "rnn": RNN(D, D)(x)[1].numel(),
        "gru": GRU(D, D)(x)[1].numel(),
        "lstm": sum(part.numel() for part in lstm_state),
        "esn": EchoState(D, D)(x)[1].numel(),
        "conv": 2 * D,
        "tcn": sum(2 * 2**level * D for level in range(5)),
        "transformer_each": sum(part.numel() for part in cache[0]) // T,
    }


# %%
to_go_on = state_sizes(MIDDLE, WIDE)
print(to_go_on)
assert to_go_on["rnn"] == to_go_on["gru"] == to_go_on["esn"] == WIDE
assert to_go_on["lstm"] == to_go_on["transformer_each"] == 2 * WIDE

# %% [markdown] lang="zh"
# ## 同一种记忆，四次
#
# 全书四处遇到同一条曲线：记忆按几何级数淡去。每处取宽度 1 的模型，用自动求导量，与公式比。
#
# - `RNN`，没有输入，状态是 0：$\partial h^k / \partial h^0 = w^k$；
# - `LSTM`，门不读 $h$：$\partial c^k / \partial c^0 = \prod z^f$；
# - 单独的门：$\partial h^k / \partial h^0 = \prod z$，照原文的 $z$ 写就是 $\prod (1 - z)$；
# - `EchoState`，没有输入：$k$ 步之前的输入占状态方差的 $r^{2k} (1 - r^2)$。
# %% [markdown] lang="en"
# ## One memory, four times
#
# The book meets one curve in four places: memory that fades geometrically. Each time a
# model of width 1, measured by autograd, compared with the formula.
#
# - `RNN` without input, at state 0: $\partial h^k / \partial h^0 = w^k$;
# - `LSTM` whose gates do not read $h$: $\partial c^k / \partial c^0 = \prod z^f$;
# - the gate by itself: $\partial h^k / \partial h^0 = \prod z$, with the note's $z$ it is
#   $\prod (1 - z)$;
# - `EchoState` without input: the input of $k$ steps ago is $r^{2k} (1 - r^2)$ of the
#   variance of the state.

# %%
LAGS = 40
w, r = 0.9, 0.93


def gains(out, start):
    """How much of `start` is in each output."""
    return [
        torch.autograd.grad(y.sum(), start, retain_graph=True)[0].item() for y in out
    ]


def product(gate):
    return gate.cumprod(0).tolist()


def zero():
    return torch.zeros(1, 1).requires_grad_()


# %%
def fade_rnn(x):
    """What is left of the past after each step, and what the formula says."""
    cell, start = RNN(1, 1), zero()
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(cell.weight_hh_l0, w)
    found = gains(cell(0 * x, start)[0].unbind(1), start)
    return found, product(w * torch.ones(LAGS))


def fade_lstm(x):
    cell, start = LSTM(1, 1, forget_bias=2.0), zero()
    nn.init.zeros_(cell.weight_hh_l0)
    h, c, belt = torch.zeros(1, 1), start, []
    for x_t in x.split(1, 1):
        _, (h, c) = cell(x_t, (h, c))
        belt.append(c)
    gate = torch.sigmoid(x.flatten() * cell.weight_ih_l0[1] + 2.0)
    return gains(belt, start), product(gate)


def fade_gate(x):
    cell, start = GatedMemory(1, 1), zero()
    nn.init.constant_(cell.W_z.bias, 3.0)
    gate = torch.sigmoid(cell.W_z(x)).flatten()
    return gains(cell(x, start)[0].unbind(1), start), product(gate)


def fade_esn():
    cell, x = EchoState(1, 1, radius=r), torch.zeros(1, 400, 1).requires_grad_()
    cell.b.zero_()
    (gradient,) = torch.autograd.grad(cell(x)[0][:, -1].sum(), x)
    share = gradient.flatten().flip(0).square()
    share = (share / share.sum())[:LAGS].tolist()
    return share, [r ** (2 * k) * (1 - r**2) for k in range(LAGS)]


# %%
torch.manual_seed(0)
inputs = torch.randn(1, LAGS, 1)
fading = {
    "RNN": fade_rnn(inputs),
    "LSTM": fade_lstm(inputs),
    "gate": fade_gate(inputs),
    "EchoState": fade_esn(),
}
memory_gap = max(
    abs(a / b - 1) for found, wanted in fading.values() for a, b in zip(found, wanted)
)
print(f"largest relative difference between measured and formula: {memory_gap:.0e}")
assert memory_gap < 1e-9, "autograd was to agree with the formulas"

# %%
fig, ax = plt.subplots()
LABELS = {
    "RNN": ("C0", r"$w^k$", range(1, LAGS + 1)),
    "LSTM": ("C3", r"$\prod z^f$", range(1, LAGS + 1)),
    "gate": ("C4", r"$\prod z$", range(1, LAGS + 1)),
    "EchoState": ("C1", r"$r^{2k}(1 - r^2)$", range(LAGS)),
}
for name, (colour, label, lags) in LABELS.items():
    found, wanted = fading[name]
    ax.semilogy(lags, wanted, color=colour, lw=1)
    ax.semilogy(lags[::2], found[::2], "o", color=colour, ms=3.5)
    ax.text(LAGS + 1, wanted[-1], f"{name}\n{label}", color=colour, va="center")
ax.set_xlim(0, LAGS)
ax.set_xlabel("k")
fig.savefig("memory.svg")

# %% [markdown] lang="zh"
# ## 结果
# %% [markdown] lang="en"
# ## Results

# %%
size_results = {
    "parameters_block": parameters["block"],
    "parameters_window": parameters["window"],
    "parameters_conv": parameters["conv"],
    "parameters_tcn": parameters["tcn"],
    "parameters_rnn": parameters["rnn"],
    "parameters_lstm": parameters["lstm"],
    "parameters_gru": parameters["gru"],
    "parameters_birnn": parameters["birnn"],
    "parameters_seq2seq": parameters["seq2seq"],
    "parameters_looking": parameters["looking"],
    "parameters_attention": parameters["attention"],
    "parameters_transformer": parameters["transformer"],
    "parameters_recursive": parameters["recursive"],
    "parameters_treelstm": parameters["treelstm"],
    "parameters_gcn": parameters["gcn"],
    "parameters_esn": parameters["esn"],
    "adds_block": round(adds["block"][1]),
    "adds_window": round(adds["window"][1]),
    "adds_conv": round(adds["conv"][1]),
    "adds_tcn": round(adds["tcn"][1]),
    "adds_rnn": round(adds["rnn"][1]),
    "adds_lstm": round(adds["lstm"][1]),
    "adds_gru": round(adds["gru"][1]),
    "adds_birnn": round(adds["birnn"][1]),
    "adds_seq2seq": round(adds["seq2seq"][1]),
    "adds_looking": round(adds["looking"][1]),
    "adds_attention": round(adds["attention"][1]),
    "adds_transformer": round(adds["transformer"][1]),
    "adds_recursive": round(adds["recursive"][1]),
    "adds_treelstm": round(adds["treelstm"][1]),
    "adds_gcn": round(adds["gcn"][1]),
    "adds_esn": round(adds["esn"][1]),
}

# %%
path_results = {
    "path_block": paths["block"][1],
    "path_window": paths["window"][1],
    "path_conv": paths["conv"][1],
    "path_tcn": paths["tcn"][1],
    "path_attention": paths["attention"][1],
    "path_transformer": paths["transformer"][1],
    "path_gcn": paths["gcn"][1],
    "slope_rnn": slopes["rnn"],
    "slope_lstm": slopes["lstm"],
    "slope_gru": slopes["gru"],
    "slope_birnn": slopes["birnn"],
    "slope_seq2seq": slopes["seq2seq"],
    "slope_looking": slopes["looking"],
    "slope_esn": slopes["esn"],
    "start_rnn": starts["rnn"],
    "start_lstm": starts["lstm"],
    "start_gru": starts["gru"],
    "start_birnn": starts["birnn"],
    "start_seq2seq": starts["seq2seq"],
    "start_looking": starts["looking"],
    "start_esn": starts["esn"],
    "kept_block": round(held["block"]),
    "kept_window": round(held["window"]),
    "kept_conv": round(held["conv"]),
    "kept_tcn": round(held["tcn"]),
    "kept_rnn": round(held["rnn"]),
    "kept_lstm": round(held["lstm"]),
    "kept_gru": round(held["gru"]),
    "kept_birnn": round(held["birnn"]),
    "kept_seq2seq": round(held["seq2seq"]),
    "kept_looking": round(held["looking"]),
    "kept_attention": round(held["attention"]),
    "kept_transformer": round(held["transformer"]),
    "kept_recursive": round(held["recursive"]),
    "kept_treelstm": round(held["treelstm"]),
    "kept_gcn": round(held["gcn"]),
    "kept_esn": round(held["esn"]),
}

# %%
results = {
    "n": len(SEEDS),
    "panels": panels,
    "pictures": pictures,
    "triangles": sum(torch.equal(found, triangle) for found in patterns.values()),
    "passage_past": STEPS[-1],
    "passage_width": NARROW,
    "passage_rnn": widths["RNN"][-1],
    "passage_lstm": widths["LSTM"][-1],
    "passage_attention": widths["attention, causal"][-1],
    "passage_vector": source_vector,
    "passage_looking": source_looking,
    "blind_gap": blind_gap,
    "ordered_gap": ordered_gap,
    "memory_gap": memory_gap,
    "tree_each": paths["recursive"][1] - paths["recursive"][0],
    "treelstm_each": paths["treelstm"][1] - paths["treelstm"][0],
    "kept_attention_each": more["attention"],
    "parameters_ratio": parameters["transformer"] / parameters["rnn"],
    "state_rnn": to_go_on["rnn"],
    "state_gru": to_go_on["gru"],
    "state_lstm": to_go_on["lstm"],
    "state_esn": to_go_on["esn"],
    "state_conv": to_go_on["conv"],
    "state_tcn": to_go_on["tcn"],
    "claim_pattern": verdict(pictures == panels, sometimes=True),
    **size_results,
    **path_results,
}
