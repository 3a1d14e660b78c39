# %% [markdown] lang="zh"
# # 实验：原文里还没有量过的几句
#
# 原文的多数说法，各章的实验已经量过。这里补上剩下的：几条等式、几样数得清的东西，还有一个区间。没有训练，都是精确的计算；凡有随机权重，都用五个种子。
# %% [markdown] lang="en"
# # Lab: statements of the note that no other lab measures
#
# Most of what the note says has been measured by the chapters' labs. Here is the rest:
# some equations, some things that can be counted, and an interval. Nothing is trained,
# everything is exact; wherever weights are random there are five seeds.

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import span, verdict

# %%
from snippets.gru import GRU, GRUCho2014

# %%
from snippets.lstm import LSTM

# %%
from snippets.rnn import RNN


# %%
def gap(one, two):
    return (one - two).abs().max().item()


def made(cls, seed, *sizes):
    torch.manual_seed(seed)
    return cls(*sizes).double().to(DEVICE)


def noise(*shape):
    return torch.randn(*shape).double().to(DEVICE)


def reached(tensor):
    """All nodes of the graph that computed `tensor`, and the leaves they end in."""
    nodes, leaves, todo = set(), set(), [tensor.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in nodes:
            continue
        nodes.add(node)
        if hasattr(node, "variable"):
            leaves.add(node.variable)
        todo.extend(parent for parent, _ in node.next_functions)
    return nodes, leaves


# %% [markdown] lang="zh"
# ## $y^t = g(h^t)$ 可有可无
#
# 自动微分的图记下了谁用了谁。末状态的图里应当没有读出层的参数；读每一步、只读末步、一步不读而把损失放在 $h$ 上，循环网络的参数应当都收得到梯度。
# %% [markdown] lang="en"
# ## $y^t = g(h^t)$ is optional
#
# The graph of automatic differentiation records who used whom. The graph of the last
# state should hold no parameter of the readout; and whether every step is read, or the
# last one, or none and the loss is put on $h$, the recurrent parameters should all
# receive a gradient.


# %%
def readings(seed):
    rnn, g = made(RNN, seed, 3, 8), made(nn.Linear, seed, 8, 2)
    states, last = rnn(noise(4, 12, 3))
    unread = not set(g.parameters()) & reached(last)[1]
    losses = g(states), g(last), states
    gradients = [
        torch.autograd.grad(loss.square().sum(), rnn.parameters(), retain_graph=True)
        for loss in losses
    ]
    return unread, min(p.abs().max().item() for grads in gradients for p in grads)


unread, smallest = zip(*map(readings, SEEDS))
print("states without a trace of g:", all(unread), "smallest gradient", min(smallest))
optional = all(unread) and min(smallest) > 0
assert optional, "the note is right that y is not necessary"

# %% [markdown] lang="zh"
# ## LSTM 的计算量
#
# 数前向传播里真正执行的矩阵乘法，用 torch 自带的计数器；一次乘加算两次运算，除以二。
# %% [markdown] lang="en"
# ## What an LSTM costs
#
# The matrix products that a forward pass really executes, by torch's own counter, which
# takes a multiply–add for two operations: halved.

# %%
CELLS = {"RNN": RNN, "GRU": GRU, "LSTM": LSTM}
STEPS = 7


def multiply_adds(cls, I, H):  # noqa: E741
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        made(cls, 0, I, H)(noise(1, STEPS, I))
    return counter.get_total_flops() / 2 / STEPS


operations = {name: multiply_adds(cls, 64, 64) for name, cls in CELLS.items()}
ratios = [
    multiply_adds(LSTM, *sizes) / multiply_adds(RNN, *sizes)
    for sizes in [(1, 8), (64, 64), (30, 7), (128, 256)]
]
print(operations, "LSTM : RNN", ratios)
assert ratios == [4.0] * 4

# %% [markdown] lang="zh"
# ## 四个非线性函数，还有第五个
#
# 走一步，从输出往回走，数图里的 $\tanh$ 和 $\sigma$。再分一分：哪些读的是 $(h, x)$ 的加权和，也就是中间不隔着别的非线性函数，就能走到权重。
# %% [markdown] lang="en"
# ## Four nonlinear functions, and a fifth
#
# One step: walk back from the output and count each $\tanh$ and $\sigma$ in the graph.
# Then sort them: which of them read a weighted sum of $(h, x)$, that is, lead to weights
# with no other nonlinear function in between?


# %%
def nonlinear(node):
    return node.name() in ("TanhBackward0", "SigmoidBackward0")


def reads_weights(node, weights):
    todo = [parent for parent, _ in node.next_functions]
    while todo:
        parent = todo.pop()
        if parent is None or nonlinear(parent):
            continue
        if hasattr(parent, "variable") and any(parent.variable is w for w in weights):
            return True
        todo.extend(grandparent for grandparent, _ in parent.next_functions)
    return False


def functions(cls):
    """Count the nonlinear functions of one step, in all and by what they read."""
    model, h = made(cls, 0, 3, 5), noise(2, 5)
    state = (h, noise(2, 5).requires_grad_()) if cls is LSTM else h
    nodes, _ = reached(model(noise(2, 1, 3), state)[0])
    nodes = [node for node in nodes if nonlinear(node)]
    weights = list(model.parameters())
    return {
        "all": len(nodes),
        "maps": sum(reads_weights(node, weights) for node in nodes),
        "gates": sum(node.name() == "SigmoidBackward0" for node in nodes),
    }


# %%
counted = {name: functions(cls) for name, cls in CELLS.items()}
print(counted)
assert counted["LSTM"] == {"all": 5, "maps": 4, "gates": 3}

# %% [markdown] lang="zh"
# ## 多出来的一个状态
#
# 把 20 步从中间切开，先读前一半，把状态交给后一半。什么都交，与不切应当相等；LSTM 只交 $h$，就应当不等。
# %% [markdown] lang="en"
# ## One state more
#
# Cut 20 steps in the middle, read the first half, hand the state to the second. With all
# of the state handed over this should equal the uncut run; an LSTM given $h$ alone
# should differ.


# %%
def cut(cls, seed, hand_over):
    model, x = made(cls, seed, 3, 8), noise(4, 20, 3)
    whole, (_, state) = model(x)[0], model(x[:, :10])
    return gap(whole[:, 10:], model(x[:, 10:], hand_over(state))[0])


def without_c(state):
    return state[0], torch.zeros_like(state[1])


cut_all = {
    name: max(cut(cls, seed, lambda state: state) for seed in SEEDS)
    for name, cls in CELLS.items()
}
cut_h = [cut(LSTM, seed, without_c) for seed in SEEDS]
print("all handed over:", cut_all, "h alone:", [round(value, 3) for value in cut_h])
assert max(cut_all.values()) < 1e-12
assert min(cut_h) > 0.01

# %% [markdown] lang="zh"
# ## $z$ 的范围
#
# $\tanh$ 的值域是开区间，两端到不了：$1 - \tanh a = 2 / (e^{2a} + 1)$，总是正的。可是浮点数只有有限位，这个差一小，就舍入成零。
# %% [markdown] lang="en"
# ## The range of $z$
#
# The range of $\tanh$ is open, its ends are never reached: $1 - \tanh a = 2 / (e^{2a} +
# 1)$ is always positive. But a float has a limited number of digits, and once that
# difference is small it is rounded to nothing.

# %%
GRID = torch.arange(0, 24, 0.01, dtype=torch.float64)


def reaches_one(dtype):
    ones = GRID[torch.tanh(GRID.to(dtype)) == 1]
    return ones.min().item()


ends = {dtype: reaches_one(dtype) for dtype in (torch.float32, torch.float64)}
print("tanh(a) is 1 from a =", ends)
assert 8 < ends[torch.float32] < 10
assert 18 < ends[torch.float64] < 20


# %%
def candidates(seed, scale):
    """The share of an LSTM's first candidates z, in float32, that are 1 or -1."""
    torch.manual_seed(seed)
    lstm, x = LSTM(16, 32).to(DEVICE), scale * torch.randn(64, 16).to(DEVICE)
    a = nn.functional.linear(x, lstm.weight_ih_l0, lstm.bias_ih_l0)
    a_z = (a + lstm.bias_hh_l0).chunk(4, 1)[2].detach().requires_grad_()
    z = torch.tanh(a_z)
    (slope,) = torch.autograd.grad(z.sum(), a_z)
    assert z.abs().max() <= 1
    assert (slope[z.abs() == 1] == 0).all()
    return (z.abs() == 1).double().mean().item()


shares = {s: [candidates(seed, s) for seed in SEEDS] for s in (1, 100)}
print({scale: [f"{share:.2f}" for share in shares[scale]] for scale in shares})
assert max(shares[1]) == 0
assert min(shares[100]) > 0.5

# %%
fig, ax = plt.subplots()
a = torch.arange(0.5, 22.1, 0.5, dtype=torch.float64)
ax.plot(a, 2 / (torch.exp(2 * a) + 1), color="black", linewidth=1)
for dtype, colour, size in [(torch.float64, "C0", 5), (torch.float32, "C1", 7)]:
    left = 1 - torch.tanh(a.to(dtype))
    shown = left > 0
    name = str(dtype).removeprefix("torch.")
    style = {"markersize": size, "markerfacecolor": "none", "label": name}
    ax.plot(a[shown], left[shown], "o", color=colour, **style)
    ax.axvline(ends[dtype], color=colour, linestyle="--", linewidth=1)
ax.set(yscale="log", xlabel="$a$", ylabel=r"$1 - \tanh a$")
ax.legend()
fig.savefig("range.svg")

# %% [markdown] lang="zh"
# ## 原文的方程
#
# 照抄原文的六行 LSTM 和四行 GRU，权重取自 torch 和本书的类，比较每一步的输出、末状态和输入的梯度。原文 GRU 的 $z$ 表示写入，所以属于 $z$ 的行全部变号。
# %% [markdown] lang="en"
# ## The note's equations
#
# The note's six lines of LSTM and four of GRU as they stand, with weights out of torch's
# and the book's classes: outputs, last state and the gradient of the input. The $z$ of
# the note's GRU writes, so the rows of $z$ change sign.


# %%
def thetas(model, count):
    """Split a model's parameters into one θ for each function."""
    return list(zip(*(p.chunk(count) for p in model.parameters())))


def weigh(h, x, theta):
    W_x, W_h, b_x, b_h = theta
    linear = nn.functional.linear
    return linear(x, W_x, b_x) + linear(h, W_h, b_h)


# %%
def note_lstm(xs, model):
    theta_i, theta_f, theta, theta_o = thetas(model, 4)
    h = c = xs.new_zeros(len(xs), model.hidden_size)
    out = []
    for x in xs.unbind(1):
        z = torch.tanh(weigh(h, x, theta))
        z_i = torch.sigmoid(weigh(h, x, theta_i))
        z_f = torch.sigmoid(weigh(h, x, theta_f))
        z_o = torch.sigmoid(weigh(h, x, theta_o))
        c = z_f * c + z_i * z
        h = z_o * torch.tanh(c)
        out.append(h)
    return torch.stack(out, 1), c


def note_gru(xs, model):
    theta_r, theta_z, theta = thetas(model, 3)
    theta_z = [-part for part in theta_z]
    h = xs.new_zeros(len(xs), model.hidden_size)
    out = []
    for x in xs.unbind(1):
        r = torch.sigmoid(weigh(h, x, theta_r))
        z = torch.sigmoid(weigh(h, x, theta_z))
        new = torch.tanh(weigh(h * r, x, theta))
        h = (1 - z) * h + new * z
        out.append(h)
    return torch.stack(out, 1), h


# %%
def against(note, model):
    x = noise(4, 12, 3).requires_grad_()
    found, last = note(x, model)
    if isinstance(model, nn.LSTM):
        wanted, (_, state) = model(x)
        state = state[0]
    else:
        wanted, state = model(x)
    grads = [torch.autograd.grad(out.sum(), x)[0] for out in (found, wanted)]
    return max(gap(found, wanted), gap(last, state), gap(*grads))


def torch_lstm(*sizes):
    return nn.LSTM(*sizes, batch_first=True)


lstm_gap = max(against(note_lstm, made(torch_lstm, seed, 3, 8)) for seed in SEEDS)
gru_gap = max(against(note_gru, made(GRUCho2014, seed, 3, 8)) for seed in SEEDS)
print(f"LSTM {lstm_gap:.0e}, GRU {gru_gap:.0e}")
assert max(lstm_gap, gru_gap) < 1e-12

# %% [markdown] lang="zh"
# ## GRU 是不是“丢去一个门”的 LSTM
#
# 给 LSTM 装上四个开关：输入门改成 $1 - z^f$；输出门去掉；出口的 $\tanh$ 去掉，$c$ 与 $h$ 合一；候选看过去之前乘一个重置门。全关是 LSTM，全开应当恰好是 GRU，留一个不开就应当不是。
# %% [markdown] lang="en"
# ## Is a GRU an LSTM that dropped a gate?
#
# An LSTM with four switches: the input gate becomes $1 - z^f$; the output gate goes; the
# $\tanh$ at the exit goes, so that $c$ and $h$ are one; a reset gate multiplies what the
# candidate sees of the past. All off is an LSTM, all on should be a GRU exactly, and with
# any one left off it should not.

# %%
CHANGES = ("coupled", "no output gate", "one state", "reset")


def between(xs, on, i, f, z, o, r):
    """One function for LSTM, GRU and what lies between; each letter is a θ."""
    h = c = xs.new_zeros(len(xs), len(z[2]))
    out = []
    for x in xs.unbind(1):
        z_f = torch.sigmoid(weigh(h, x, f))
        z_i = 1 - z_f if "coupled" in on else torch.sigmoid(weigh(h, x, i))
        z_o = 1 if "no output gate" in on else torch.sigmoid(weigh(h, x, o))
        seen = nn.functional.linear(h, z[1], z[3])
        if "reset" in on:
            seen = torch.sigmoid(weigh(h, x, r)) * seen
        c = z_f * c + z_i * torch.tanh(nn.functional.linear(x, z[0], z[2]) + seen)
        h = z_o * (c if "one state" in on else torch.tanh(c))
        out.append(h)
    return torch.stack(out, 1)


# %%
def switched(seed):
    """Gaps: all off against an LSTM; all on, and all but one, against a GRU."""
    lstm, gru, x = made(LSTM, seed, 3, 8), made(GRU, seed, 3, 8), noise(4, 12, 3)
    i, f, z, o = thetas(lstm, 4)
    off = gap(between(x, (), i, f, z, o, None), lstm(x)[0])
    r, f, z = thetas(gru, 3)
    wanted = gru(x)[0]
    gaps = [gap(between(x, CHANGES, i, f, z, o, r), wanted)]
    for change in CHANGES:
        on = [other for other in CHANGES if other != change]
        gaps.append(gap(between(x, on, i, f, z, o, r), wanted))
    return off, *gaps


off_gap, on_gap, *without_one = zip(*map(switched, SEEDS))
left_out = [value for values in without_one for value in values]
print(f"all off {max(off_gap):.0e}, all on {max(on_gap):.0e}")
print("one left off:", [round(value, 3) for value in left_out])
assert max(off_gap + on_gap) < 1e-12
assert min(left_out) > 0.005

# %% [markdown] lang="zh"
# ## 结果
# %% [markdown] lang="en"
# ## Results

# %%
gates = counted["LSTM"]["gates"], counted["GRU"]["gates"]
one_less, that_is_all = gates == (3, 2), min(left_out) <= 0.005
cut_h_low, cut_h_high = span(cut_h)
share_low, share_high = span(shares[100])
left_out_low, left_out_high = span(left_out)
results = {
    "multiply_adds_rnn": round(operations["RNN"]),
    "multiply_adds_lstm": round(operations["LSTM"]),
    "maps_lstm": counted["LSTM"]["maps"],
    "gates_lstm": gates[0],
    "gates_gru": gates[1],
    "cut_rnn": cut_all["RNN"],
    "cut_lstm": cut_all["LSTM"],
    "cut_without_c_low": cut_h_low,
    "cut_without_c_high": cut_h_high,
    "end_float32": ends[torch.float32],
    "end_float64": ends[torch.float64],
    "share_100_low": share_low,
    "share_100_high": share_high,
    "lstm_gap": lstm_gap,
    "gru_gap": gru_gap,
    "changes": len(CHANGES),
    "left_out_low": left_out_low,
    "left_out_high": left_out_high,
    "claim_output_optional": verdict(optional),
    "claim_lstm_costly": verdict(min(ratios) > 1),
    "claim_four_functions": verdict(counted["LSTM"]["maps"] == 4),
    "claim_second_state": verdict(cut_h_low > 0.01),
    # every z lies in [-1, 1]; are its ends attained, by floats at least?
    "claim_range": verdict(share_low > 0, sometimes=True),
    "claim_lstm_equations": verdict(lstm_gap < 1e-12),
    "claim_gru_equations": verdict(gru_gap < 1e-12),
    # a gate fewer, yes; but is that all?
    "claim_one_gate": verdict(one_less and that_is_all, sometimes=one_less),
}
