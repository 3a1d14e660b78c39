# %% [markdown] lang="zh"
# # 实验：门控
#
# 五个问题：挤压与激励模块是不是一个门？GRU 的状态是不是对过去的加权平均，与注意力差在哪里？门能不能学会留下有用的、忘掉没用的？要用查询去找的时候，门行不行？Transformer 里有没有同样的东西？
# %% [markdown] lang="en"
# # Lab: gating
#
# Five questions: is a squeeze-and-excitation block a gate? Is the state of a GRU a
# weighted average of its past, and how does that differ from attention? Can a gate
# learn to keep what is useful and forget the rest? What if something must be looked up
# by a query? And is there anything of the kind in a Transformer?

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import span, verdict

# %%
from snippets.gating import GatedMemory, gru_as_attention, latch, squeeze_excitation


# %%
def gap(one, two):
    return (one - two).abs().max().item()


def noise(*shape):
    return torch.randn(*shape).double().to(DEVICE)


# %% [markdown] lang="zh"
# ## 掩码：SE 模块就是一步 LSTM
#
# 拿 `torch.nn.LSTMCell` 来：输入门关死，细胞状态里放图像的一个位置，输入是 SE 模块压窄之后的那个向量，遗忘门的权重是 SE 的第二个矩阵。走一步，新的细胞状态应当就是 SE 的输出。
# %% [markdown] lang="en"
# ## Masks: an SE block is one step of an LSTM
#
# Take `torch.nn.LSTMCell`, shut its input gate, put one position of the image into its
# cell state, feed it the narrow vector of the SE block, and let the forget gate's
# weights be the block's second matrix. After one step the new cell state should be what
# the SE block puts out.


# %%
# --8<-- [start:exercise-2]
def se_by_lstm(x, W_1, W_2):
    """One step of an LSTM for every position (B, T, C)."""
    C, H = W_2.shape
    cell = nn.LSTMCell(H, C).to(x)
    for parameter in cell.parameters():
        nn.init.zeros_(parameter)
    with torch.no_grad():
        cell.weight_ih[C : 2 * C] = W_2  # the forget gate
        cell.bias_ih[:C] = -1e4  # the input gate is shut
    seen = torch.relu(x.mean(1) @ W_1.T)  # all positions have a say
    c = x.flatten(0, 1)
    seen = seen.repeat_interleave(x.shape[1], 0)
    with torch.no_grad():
        _, c = cell(seen, (torch.zeros_like(c), c))
    return c.view_as(x)


# --8<-- [end:exercise-2]


# %%
def compare_masks(seed):
    """How far the LSTM is from the SE block, and the sums of the block's gates."""
    torch.manual_seed(seed)
    x, W_1, W_2 = noise(3, 30, 8), noise(4, 8), noise(8, 4)
    out, gate = squeeze_excitation(x, W_1, W_2)
    return gap(out, se_by_lstm(x, W_1, W_2)), gate.sum(1).tolist()


# %%
se_gaps, sums_of_masks = zip(*map(compare_masks, SEEDS))
se_gap = max(se_gaps)
mask_low, mask_high = span(sum(sums_of_masks, []))
print(f"SE block against a step of an LSTM: {se_gap:.0e}")
print(f"sums of the 8 gates: {mask_low:.2f} to {mask_high:.2f}")
assert se_gap < 1e-12, "an SE block was to be a forget gate"
assert mask_high - mask_low > 0.5, "gates need not share anything out"

# %% [markdown] lang="zh"
# ## 位置上的权重：GRU 是对自己候选的加权平均
#
# `gru_as_attention` 把 `torch.nn.GRU` 的状态写成因果的 softmax，分数只属于源的那一步。与原来的 GRU 比，看权重的和，再看两个旧位置的权重之比随 $t$ 变不变；注意力用同样的量来比。最后改动第一个输入，看第二个候选变不变：变了，就说明“值”也不只看自己那一步。
# %% [markdown] lang="en"
# ## Weights on positions: a GRU averages its own candidates
#
# `gru_as_attention` writes the states of `torch.nn.GRU` as a causal softmax whose scores
# belong to the source step alone. Compare it with the GRU itself, look at the sums of
# the weights, and at the ratio of the weights of two old positions as $t$ goes on; then
# at the same for attention. At last, change the first input and see whether the second
# candidate changes: if so, the "values" do not look at their own step alone.

# %%
from snippets.attention import attention

# %%
T, H = 40, 8


def spread(ratio):
    """Largest over smallest of (T, …), along the first axis, minus 1."""
    return (ratio.amax(0) / ratio.amin(0) - 1).max().item()


def candidate(gru, x, h):
    zx = nn.functional.linear(x, gru.weight_ih_l0, gru.bias_ih_l0).chunk(3, -1)
    zh = nn.functional.linear(h, gru.weight_hh_l0, gru.bias_hh_l0).chunk(3, -1)
    return torch.tanh(zx[2] + torch.sigmoid(zx[0] + zh[0]) * zh[2])


# %%
def compare_weights(seed):
    """Compare a GRU with the average that it is, and both with attention."""
    torch.manual_seed(seed)
    gru, x = nn.GRU(6, H, batch_first=True).double().to(DEVICE), noise(1, T, 6)
    out, weights = gru_as_attention(gru, x)

    q, k, v = noise(3, 1, T, H)
    causal = torch.ones(T, T, dtype=torch.bool, device=DEVICE).tril()
    _, alpha = attention(q, k, v, causal)

    other = x.clone()
    other[:, 0] = -other[:, 0]
    n, m = (candidate(gru, a[:, 1], gru(a)[0][:, 0]) for a in (x, other))
    memory = GatedMemory(6, H).to(x)
    assert torch.equal(memory.W_n(x)[:, 1], memory.W_n(other)[:, 1])
    return {
        "average": gap(out, gru(x)[0]),
        "sum": gap(weights.sum(2), 1),
        "gate": spread(weights[0, 2:, 1] / weights[0, 2:, 2]),
        "attention": 1 + spread(alpha[0, 2:, 1] / alpha[0, 2:, 2]),
        "moved": gap(n, m),
    }


# %%
with torch.no_grad():
    compared = [compare_weights(seed) for seed in SEEDS]
gru_gap = max(run["average"] for run in compared)
sum_gap = max(run["sum"] for run in compared)
gate_spread = max(run["gate"] for run in compared)
attention_spread = min(run["attention"] for run in compared)
moved = min(run["moved"] for run in compared)
print(f"GRU against an average of its candidates: {gru_gap:.0e}")
print(f"sums of weights off 1 by {sum_gap:.0e}")
print(f"the ratio of two old weights changes by {gate_spread:.0e} (gate)")
print(f"and by a factor of at least {attention_spread:.0f} (attention)")
print(f"the first input moves the second candidate by at least {moved:.2f}")
assert max(gru_gap, sum_gap, gate_spread) < 1e-12, "a GRU was to be an average"
assert attention_spread > 2, "queries were to redraw the weights"
assert moved > 0.01, "candidates were to read the state"


# %% [markdown] lang="zh"
# LSTM 的 $c^t$ 也是对候选的加权和，权重是 $z^i_s$ 乘上之后所有的遗忘门，和却不必是 1。
# %% [markdown] lang="en"
# $c^t$ of an LSTM is a weighted sum of its candidates too: $z^i_s$ times every later
# forget gate. But the weights need not add up to 1.


# %%
def lstm_sums(seed):
    """Sums of the weights at each step, and how far c is from the weighted sum."""
    torch.manual_seed(seed)
    cell = nn.LSTMCell(6, H).double().to(DEVICE)
    with torch.no_grad():
        cell.bias_ih[H : 2 * H] = 1.0
        cell.bias_hh[H : 2 * H] = 0.0
    h = c = torch.zeros(1, H).double().to(DEVICE)
    weights, candidates, sums, off = [], [], [], 0.0
    with torch.no_grad():
        for x in noise(T, 1, 6):
            a = nn.functional.linear(x, cell.weight_ih, cell.bias_ih)
            a = a + nn.functional.linear(h, cell.weight_hh, cell.bias_hh)
            i, f, z, _ = a.chunk(4, 1)
            weights = [w * f.sigmoid() for w in weights] + [i.sigmoid()]
            candidates.append(z.tanh())
            h, c = cell(x, (h, c))
            total = sum(w * n for w, n in zip(weights, candidates))
            off = max(off, gap(total, c))
            sums += sum(weights).flatten().tolist()
    return min(sums), max(sums), off


# %%
lows, highs, lstm_gaps = zip(*map(lstm_sums, SEEDS))
lstm_low, lstm_high = min(lows), max(highs)
print(f"LSTM, forget bias 1: sums of weights {lstm_low:.2f} to {lstm_high:.2f}")
assert max(lstm_gaps) < 1e-12, "c was to be the weighted sum"
assert lstm_low < 0.6 and lstm_high > 1.3, "an LSTM does not average"

# %% [markdown] lang="zh"
# ## 留下有用的，忘掉没用的
#
# 每步一个数，有的带标记，任何时候都要答最近一个带标记的数。一个单元的 `GatedMemory`，一共六个参数。对照：门不看输入，恒为常数；常数取遍一张表，读出用最小二乘，取最好的一个，还额外送它一个现成的“数乘标记”。
# %% [markdown] lang="en"
# ## Keep what is useful, forget the rest
#
# A number at each step, some of them marked; at any time, answer the last marked one.
# One unit of `GatedMemory`, six parameters in all. Against it: a gate that does not look
# at the input but is a constant, the best from a list of constants, read out by least
# squares, with the product of number and mark as an extra present.

# %%
HOLD_STEPS = 400


def hold(seed):
    """Squared errors at the length of training and ten times that, and the gate."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    memory = GatedMemory(2, 1).to(DEVICE)
    optimizer = torch.optim.Adam(memory.parameters(), lr=5e-2)
    for _ in range(HOLD_STEPS):
        x, y = (a.to(DEVICE) for a in latch(64, 30, generator))
        loss = nn.functional.mse_loss(memory(x)[0].squeeze(2), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    generator = torch.Generator().manual_seed(1000 + seed)
    errors = []
    with torch.no_grad():
        for length in (30, 300):
            x, y = (a.to(DEVICE) for a in latch(200, length, generator))
            errors.append((memory(x)[0].squeeze(2) - y).square().mean().item())
        z = memory.W_z(torch.tensor([[0.0, 1.0], [0.0, 0.0]], device=DEVICE))
    return *errors, *z.sigmoid().flatten().tolist()


# %%
def constant_gate():
    """The least error that a gate of one constant can have."""
    x, y = latch(1000, 30, torch.Generator().manual_seed(999))
    x = torch.cat((x, x.prod(2, keepdim=True)), 2)  # number times mark, too
    x, y, least = x.double(), y.double().flatten(), float("inf")
    for z in torch.linspace(0, 0.99, 34):
        h, states = torch.zeros_like(x[:, 0]), []
        for x_t in x.unbind(1):
            h = (1 - z) * x_t + z * h
            states.append(h)
        states = torch.stack(states, 1).flatten(0, 1)
        states = torch.cat((states, torch.ones_like(states[:, :1])), 1)
        pair = (states, y.unsqueeze(1))
        fit = states @ torch.linalg.lstsq(*pair, driver="gelsd").solution
        least = min(least, (fit.squeeze(1) - y).square().mean().item())
    return least


# %%
hold_error, hold_long, keep_marked, keep_other = zip(*map(hold, SEEDS))
constant = constant_gate()
print("squared error", " ".join(f"{a:.4f}" for a in hold_error))
print("ten times as long", " ".join(f"{a:.4f}" for a in hold_long))
print("kept if marked", " ".join(f"{a:.3f}" for a in keep_marked))
print("kept otherwise", " ".join(f"{a:.3f}" for a in keep_other))
print(f"the best constant gate: {constant:.2f}")
assert max(hold_error) < 0.05 and max(hold_long) < 0.05, "a gate was to learn it"
assert constant > 0.3, "one rate for all was not to do"
assert max(keep_marked) < 0.15 and min(keep_other) > 0.97, "it was to look at marks"

# %% [markdown] lang="zh"
# ## 联想回忆
#
# 先给 6 对键和值，16 个键里不重复地取，值随意；再把 6 个键打乱了问一遍，每问一次要答出它的值（multi-query associative recall，MQAR）。所有模型的前后两头一样：每一步看得到这个词元和前一个词元的嵌入，读出层是线性的，看得到中间那一层的输出和这一步的嵌入。中间那一层各不相同：
#
# - 注意力：一个头，因果掩码；
# - GRU 和 LSTM：`torch.nn` 的，保留的偏置为 3（时间常数约 21 步，与序列一样长）；
# - `GatedMemory`：门只看输入，偏置也是 3；
# - 后面写着 $\odot\, o$ 的：状态读出之前，再乘一个看当前词元的输出门；
# - 后面写着 MLP 的：读出层换成两层，看它能不能代替输出门；
# - 写着 $o = 1$ 的：LSTM 的输出门一直全开，等于没有。
#
# 另外让注意力也跑一遍看不到前一个词元的，不画在图上。
#
# 学习率在种子 100 上对全部模型试过 0.003 和 0.01，取后者；没有输出门的另试过 0.03，也没有用。两档预算，短的是长的三分之一，在同一次训练的半路上读出。
# %% [markdown] lang="en"
# ## Associative recall
#
# First six pairs of key and value, the keys drawn from 16 without repetition, the values
# anyhow; then the six keys once more in another order, and each time its value is to be
# answered (multi-query associative recall, MQAR). Both ends of all models are the same:
# a step sees the embeddings of its token and of the token before; the readout is linear
# and sees what the middle layer puts out and the embeddings of the step. The middle
# layers differ:
#
# - attention: one head, a causal mask;
# - GRU and LSTM: those of `torch.nn`, with a keeping bias of 3 (a time constant of some
#   21 steps, as long as the sequence);
# - `GatedMemory`: its gates read the input alone; bias 3 too;
# - with $\odot\, o$ behind the name: before it is read, the state is multiplied by an
#   output gate that looks at the current token;
# - with MLP behind the name: the readout has two layers, to see whether that can stand
#   in for an output gate;
# - with $o = 1$: the output gate of the LSTM is held open, as if there were none.
#
# Attention also runs without a view of the token before, which is not in the figure.
#
# The learning rate was chosen on seed 100 from 0.003 and 0.01 for all models: 0.01. Those
# without an output gate were given 0.03 as well, to no avail. There are two budgets; the
# short one, a third of the long one, is read off on the way.

# %%
V, D, PAIRS, SHORT, LONG = 16, 64, 6, 100, 300


def associative_recall(batch_size, pairs, generator):
    """Pairs of key and value, then the keys again; -100: nothing is asked."""
    keys = torch.rand(batch_size, V, generator=generator).argsort(1)[:, :pairs]
    values = torch.randint(V, (batch_size, pairs), generator=generator)
    order = torch.rand(batch_size, pairs, generator=generator).argsort(1)
    told = torch.stack((keys, V + values), 2).flatten(1)
    x = torch.cat((told, keys.gather(1, order)), 1)
    y = torch.cat((torch.full_like(told, -100), values.gather(1, order)), 1)
    return x.to(DEVICE), y.to(DEVICE), (2 * order + 1).to(DEVICE)


def commonest(seed, pairs):
    """Accuracy of the answer: whatever value was told most often."""
    x, y, _ = associative_recall(500, pairs, torch.Generator().manual_seed(1000 + seed))
    told = x[:, 1 : 2 * pairs : 2] - V
    guess = nn.functional.one_hot(told, V).sum(1).argmax(1, keepdim=True)
    return (guess == y[:, 2 * pairs :]).float().mean().item()


# %%
class Attention(nn.Module):
    def __init__(self, H):
        super().__init__()
        self.W_q, self.W_k, self.W_v = (nn.Linear(D, H) for _ in range(3))

    def forward(self, x):
        causal = torch.ones(x.shape[1], x.shape[1], device=x.device).tril().bool()
        out, self.weights = attention(self.W_q(x), self.W_k(x), self.W_v(x), causal)
        return out


class Recurrent(nn.Module):
    def __init__(self, kind, H, bias=3.0):
        super().__init__()
        if kind == "GatedMemory":
            self.cell = GatedMemory(D, H)
            nn.init.constant_(self.cell.W_z.bias, bias)
        else:
            self.cell = getattr(nn, kind)(D, H, batch_first=True)
            with torch.no_grad():
                self.cell.bias_ih_l0[H : 2 * H] = bias
                self.cell.bias_hh_l0[H : 2 * H] = 0.0

    def forward(self, x):
        return self.cell(x)[0]


# %%
class Model(nn.Module):
    def __init__(self, kind, H, exit=None, before=True):
        super().__init__()
        self.embed = nn.Embedding(2 * V, D // 2)
        self.mix = Attention(H) if kind == "attention" else Recurrent(kind, H)
        self.before = before  # does a step see the token before?
        self.W_o = nn.Linear(D, H) if exit == "o" else None
        self.readout = nn.Linear(H + D, V)
        if exit == "MLP":
            wide = nn.Linear(H + D, 2 * D)
            self.readout = nn.Sequential(wide, nn.ReLU(), nn.Linear(2 * D, V))
        if exit == "open":  # sigmoid(1e4) is 1, its slope 0: it stays open
            with torch.no_grad():
                self.mix.cell.bias_ih_l0[3 * H :] = 1e4

    def window(self, x):
        e = self.embed(x)
        before = nn.functional.pad(e, (0, 0, 1, 0))[:, :-1]
        return torch.cat((e, before if self.before else 0 * before), 2)

    def forward(self, x):
        x = self.window(x)
        h = self.mix(x)
        if self.W_o is not None:
            h = torch.sigmoid(self.W_o(x)) * h
        return self.readout(torch.cat((h, x), 2))


# %%
def accuracy(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(2) == y)[y >= 0].float().mean().item()


def train(seed, kind, H, exit=None, before=True, pairs=PAIRS):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Model(kind, H, exit, before).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    test = associative_recall(500, pairs, torch.Generator().manual_seed(1000 + seed))
    found = {}
    for step in range(1, LONG + 1):
        x, y, _ = associative_recall(32, pairs, generator)
        loss = nn.functional.cross_entropy(model(x).mT, y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step in (SHORT, LONG):
            found[step] = accuracy(model, *test[:2])
    return found[SHORT], found[LONG], model


# %%
GROUPS = {
    "attention_64": ("attention", 64),
    "attention_bare": ("attention", 64, None, False),
    "gru_64": ("GRU", 64),
    "gru_128": ("GRU", 128),
    "memory_64": ("GatedMemory", 64),
    "memory_mlp_64": ("GatedMemory", 64, "MLP"),
    "lstm_open": ("LSTM", 64, "open"),
    "lstm_64": ("LSTM", 64),
    "gru_o_64": ("GRU", 64, "o"),
    "memory_o_16": ("GatedMemory", 16, "o"),
    "memory_o_64": ("GatedMemory", 64, "o"),
    "memory_o_256": ("GatedMemory", 256, "o"),
}
recall, trained = {}, {}
for name, group in GROUPS.items():
    runs = [train(seed, *group) for seed in SEEDS]
    recall[name] = [run[:2] for run in runs]
    trained[name] = runs[0][2]
recall["gru_two"] = [train(seed, "GRU", 64, pairs=2)[:2] for seed in SEEDS]
baseline = max(commonest(seed, PAIRS) for seed in SEEDS)
baseline_two = max(commonest(seed, 2) for seed in SEEDS)

# %%
early = {name: span(run[0] for run in runs) for name, runs in recall.items()}
late = {name: span(run[1] for run in runs) for name, runs in recall.items()}
for name in recall:
    print(f"{name:14s} {SHORT}:", "{:.2f}–{:.2f}".format(*early[name]), end="   ")
    print(f"{LONG}:", "{:.2f}–{:.2f}".format(*late[name]))
print(f"always the commonest value: {baseline:.2f}, of two pairs {baseline_two:.2f}")
no_exit = ("gru_64", "gru_128", "memory_64", "memory_mlp_64", "lstm_open")
for name in (*no_exit, "attention_bare"):
    assert late[name][1] < baseline + 0.08, f"{name}: no more than what was told"
assert early["attention_64"][0] > 0.95, "attention was to recall early"
for name in ("lstm_64", "gru_o_64", "memory_o_64"):
    assert late[name][0] > baseline + 0.08, f"{name}: an output gate was to help"
assert late["memory_o_16"][1] < late["memory_o_64"][0] < 0.9, "16 hold less than 64"
assert late["memory_o_64"][1] < late["memory_o_256"][0], "a larger state holds more"
assert late["gru_two"][0] > baseline_two + 0.03, "two pairs: it begins to learn"

# %%
LABELS = {
    "attention_64": "attention 64",
    "memory_o_256": r"GatedMemory 256 $\odot\,o$",
    "memory_o_64": r"GatedMemory 64 $\odot\,o$",
    "memory_o_16": r"GatedMemory 16 $\odot\,o$",
    "lstm_64": "LSTM 64",
    "gru_o_64": r"GRU 64 $\odot\,o$",
    "lstm_open": "LSTM 64, $o = 1$",
    "memory_mlp_64": "GatedMemory 64, MLP",
    "memory_64": "GatedMemory 64",
    "gru_128": "GRU 128",
    "gru_64": "GRU 64",
}
fig, ax = plt.subplots(figsize=(3.3, 3.6))
for place, name in enumerate(reversed(LABELS)):
    colour = "C2" if name == "attention_64" else "C0"
    colour = "C1" if "_o_" in name or name == "lstm_64" else colour
    for numbers, face in zip(zip(*recall[name]), ("none", colour)):
        ax.plot(numbers, [place] * 5, "o", mec=colour, mfc=face, ms=5)
ax.axvline(baseline, color="gray", ls=":", lw=1.2)
ax.set_yticks(range(len(LABELS)), reversed(LABELS.values()))
ax.set(xlim=(0, 1.03))
fig.savefig("recall.svg")

# %% [markdown] lang="zh"
# 同一条序列，问六遍。上面是训练好的 GRU 里的一个通道，下面是训练好的注意力；行是提问的时刻，列是源。
# %% [markdown] lang="en"
# One sequence, six questions: above, one channel of the trained GRU, below, the trained
# attention. Rows are the steps of the questions, columns the sources.

# %%
question, _, where = associative_recall(1, PAIRS, torch.Generator().manual_seed(3))
reader, looker = trained["gru_64"], trained["attention_64"]
with torch.no_grad():
    channels = gru_as_attention(reader.mix.cell, reader.window(question))[1]
    channels = channels[0, :, 1:]
    middle = channels[-1].amax(0).argsort()[32]  # of 64, by the largest weight
    looker(question)
    maps = {"GRU": channels[..., middle], "attention": looker.mix.weights[0]}


# %%
def square(row, source, **style):
    """A square of the map, whose first row is the first question."""
    return plt.Rectangle((source + 0.54, row + 12.54), 0.92, 0.92, **style)


def draw(ax, weights, colour):
    """Draw the rows of the questions, and a frame where each answer was told."""
    weights = weights[2 * PAIRS :].cpu()
    weights = weights / weights.max()
    for row in range(PAIRS):
        for source in range(3 * PAIRS):
            if (weight := weights[row, source].item()) > 0.02:
                box = square(row, source, facecolor=colour, linewidth=0)
                box.set(alpha=round(weight, 2))
                ax.add_patch(box)
        place = where[0, row].item()
        frame = {"edgecolor": "gray", "linewidth": 0.8}
        ax.add_patch(square(row, place, fill=False, **frame))


# %%
fig, axes = plt.subplots(2, 1, figsize=(5.2, 3.9))
for (title, weights), colour, ax in zip(maps.items(), ("C1", "C2"), axes):
    draw(ax, weights, colour)
    ax.set(xlim=(0.5, 18.5), ylim=(18.5, 12.5), aspect="equal", title=title)
    ax.set_xticks([1, 6, 12, 18])
    ax.set_yticks([13, 18])
    ax.set_ylabel("t", rotation=0)
    ax.grid(False)
axes[1].set_xlabel("s")
fig.tight_layout()
fig.savefig("maps.svg")

# %% [markdown] lang="zh"
# ## Transformer 里的三样
#
# GLU 就是 `GatedMemory` 从零出发的第一步。残差连接也是传送带，只是没有门：每层加上去的东西，权重永远是 1。softmax 的权重有查询，上面量过。
# %% [markdown] lang="en"
# ## Three things in a Transformer
#
# A GLU is the first step of `GatedMemory` from zero. The residual connection is a belt
# too, but without gates: whatever a layer adds weighs 1 for ever. The softmax has
# queries, as measured above.


# %%
def compare_glu(seed):
    torch.manual_seed(seed)
    memory = GatedMemory(6, 8).double().to(DEVICE)
    x = noise(20, 1, 6)
    first = memory(x)[1]
    both = torch.cat((memory.W_n(x), -memory.W_z(x)), 2)[:, 0]
    return gap(first, nn.functional.glu(both))


# %%
with torch.no_grad():
    glu_gap = max(map(compare_glu, SEEDS))
print(f"GLU against the first step of a gated memory: {glu_gap:.0e}")
assert glu_gap < 1e-12, "a GLU was to be its first step"

# %% [markdown] lang="zh"
# ## 练习的答案
# %% [markdown] lang="en"
# ## Answers to the exercises

# %%
# --8<-- [start:exercise-1]
torch.manual_seed(0)
past = torch.ones(6, 6).tril().bool()
anything = torch.rand(6, 6).double() * past
anything = anything / anything.sum(1, keepdim=True)
assert torch.allclose(anything.log().softmax(1), anything)  # ln 0 = -infinity

gate = torch.zeros(6, 6).double()
for t, z in enumerate(torch.rand(6)):
    gate[t] = z * gate[t - 1]  # a new step shrinks all old shares alike
    gate[t, t] = 1 - z


def changes(weights):
    """How much log(weight of 1 / weight of 2) moves from row 2 on."""
    ratio = (weights[1:, 0] / weights[1:, 1]).log()
    return ratio.max() - ratio.min()


assert changes(gate) < 1e-12  # the scores belong to the source alone
assert changes(anything) > 1  # here they need a t as well
# --8<-- [end:exercise-1]

# %%
# --8<-- [start:exercise-3]
torch.manual_seed(0)
P = 6
keys, values = torch.eye(P), torch.randperm(P)
told = torch.cat((keys, nn.functional.one_hot(values)), 1).unsqueeze(0)
_, state = GatedMemory(2 * P, 32)(told)  # no question yet: one state for all
right = [(values == guess).sum() for guess in range(P)]
assert right == [1] * P  # without the question, one in six

contents = nn.functional.one_hot(values).float()
answers = attention(100 * keys, keys, contents)[0].argmax(1)
assert torch.equal(answers, values)  # nothing was trained
# --8<-- [end:exercise-3]


# %%
# --8<-- [start:exercise-4]
def highway(bias, L=20, H=8):
    """The weights (L + 1, H) of the input and of every layer's candidate."""
    torch.manual_seed(0)
    h = torch.randn(H).double()
    weights, candidates = [torch.ones_like(h)], [h]
    for _ in range(L):
        a, n = nn.Linear(H, 2 * H).double()(h).chunk(2)
        z = torch.sigmoid(a + bias)  # the transform gate is 1 - z
        h = (1 - z) * n.tanh() + z * h
        weights = [z * weight for weight in weights] + [1 - z]
        candidates.append(n.tanh())
    weights = torch.stack(weights)
    assert torch.allclose((weights * torch.stack(candidates)).sum(0), h)
    return weights


assert torch.allclose(highway(0).sum(0), torch.ones(8).double())
assert highway(0)[0].max() < 1e-3  # 20 half-open gates: the input is gone
assert highway(3)[0].min() > 0.1  # the gates' bias is a time constant, again

torch.manual_seed(0)
start = h = torch.randn(1, 8).double()
added = []
for _ in range(20):
    added.append(nn.Linear(8, 8).double()(h).tanh())
    h = h + added[-1]
assert torch.allclose(h, start + sum(added))  # 21 weights, each of them 1
# --8<-- [end:exercise-4]

# %%
# --8<-- [start:exercise-5]
torch.manual_seed(0)
q, k, v = (torch.randn(1, 12, n).double() for n in (8, 8, 5))
S, out = torch.zeros(1, 5, 8).double(), []
for q_t, k_t, v_t in zip(q.unbind(1), k.unbind(1), v.unbind(1)):
    S = S + v_t.unsqueeze(2) * k_t.unsqueeze(1)  # write v under the label k
    out.append((S @ q_t.unsqueeze(2)).squeeze(2))  # read with q
weights = (q @ k.mT).tril()  # there is a query now
assert torch.allclose(torch.stack(out, 1), weights @ v)

labels, contents = torch.eye(8).double(), torch.randn(8, 5).double()
S = contents.mT @ labels
assert torch.allclose((S @ labels).mT, contents)  # 8 labels at right angles: exact
ninth = torch.full((8,), 8**-0.5).double()
S = S + torch.outer(torch.ones(5).double(), ninth)
assert ((S @ labels).mT - contents).abs().min() > 0.3  # a ninth disturbs all
# --8<-- [end:exercise-5]

# %%
early_recall = {
    "attention_64_short_low": early["attention_64"][0],
    "attention_64_short_high": early["attention_64"][1],
    "gru_64_short_low": early["gru_64"][0],
    "gru_64_short_high": early["gru_64"][1],
    "gru_128_short_low": early["gru_128"][0],
    "gru_128_short_high": early["gru_128"][1],
    "memory_64_short_low": early["memory_64"][0],
    "memory_64_short_high": early["memory_64"][1],
    "memory_mlp_64_short_low": early["memory_mlp_64"][0],
    "memory_mlp_64_short_high": early["memory_mlp_64"][1],
    "lstm_open_short_low": early["lstm_open"][0],
    "lstm_open_short_high": early["lstm_open"][1],
    "lstm_64_short_low": early["lstm_64"][0],
    "lstm_64_short_high": early["lstm_64"][1],
    "gru_o_64_short_low": early["gru_o_64"][0],
    "gru_o_64_short_high": early["gru_o_64"][1],
    "memory_o_16_short_low": early["memory_o_16"][0],
    "memory_o_16_short_high": early["memory_o_16"][1],
    "memory_o_64_short_low": early["memory_o_64"][0],
    "memory_o_64_short_high": early["memory_o_64"][1],
    "memory_o_256_short_low": early["memory_o_256"][0],
    "memory_o_256_short_high": early["memory_o_256"][1],
}

# %%
late_recall = {
    "attention_64_long_low": late["attention_64"][0],
    "attention_64_long_high": late["attention_64"][1],
    "attention_bare_long_low": late["attention_bare"][0],
    "attention_bare_long_high": late["attention_bare"][1],
    "gru_64_long_low": late["gru_64"][0],
    "gru_64_long_high": late["gru_64"][1],
    "gru_128_long_low": late["gru_128"][0],
    "gru_128_long_high": late["gru_128"][1],
    "memory_64_long_low": late["memory_64"][0],
    "memory_64_long_high": late["memory_64"][1],
    "memory_mlp_64_long_low": late["memory_mlp_64"][0],
    "memory_mlp_64_long_high": late["memory_mlp_64"][1],
    "lstm_open_long_low": late["lstm_open"][0],
    "lstm_open_long_high": late["lstm_open"][1],
    "lstm_64_long_low": late["lstm_64"][0],
    "lstm_64_long_high": late["lstm_64"][1],
    "gru_o_64_long_low": late["gru_o_64"][0],
    "gru_o_64_long_high": late["gru_o_64"][1],
    "memory_o_16_long_low": late["memory_o_16"][0],
    "memory_o_16_long_high": late["memory_o_16"][1],
    "memory_o_64_long_low": late["memory_o_64"][0],
    "memory_o_64_long_high": late["memory_o_64"][1],
    "memory_o_256_long_low": late["memory_o_256"][0],
    "memory_o_256_long_high": late["memory_o_256"][1],
    "gru_two_long_low": late["gru_two"][0],
    "gru_two_long_high": late["gru_two"][1],
}

# %%
no_query = gate_spread < 1e-12 and attention_spread > 2
no_recall = late["memory_64"][1] < 0.4 and late["attention_64"][0] > 0.95
remembers = max(hold_error) < 0.05 and constant > 0.3
hold_low, hold_high = span(hold_error)
results = {
    "n": len(SEEDS),
    "se_gap": se_gap,
    "mask_low": mask_low,
    "mask_high": mask_high,
    "gru_gap": gru_gap,
    "sum_gap": sum_gap,
    "gate_spread": gate_spread,
    "attention_spread": attention_spread,
    "moved": moved,
    "lstm_low": lstm_low,
    "lstm_high": lstm_high,
    "hold_steps": HOLD_STEPS,
    "hold_low": hold_low,
    "hold_high": hold_high,
    "hold_long": max(hold_long),
    "keep_marked": max(keep_marked),
    "keep_other": min(keep_other),
    "constant": constant,
    "pairs": PAIRS,
    "short": SHORT,
    "long": LONG,
    "baseline": baseline,
    "baseline_two": baseline_two,
    "glu_gap": glu_gap,
    "claim_mask": verdict(se_gap < 1e-12),
    "claim_positions": "fails" if no_query and no_recall else "unmeasured",
    "claim_remember": verdict(remembers and not no_recall, sometimes=remembers),
    "claim_transformer": verdict(False, sometimes=glu_gap < 1e-12 and no_query),
    **early_recall,
    **late_recall,
}
