# %% [markdown] lang="zh"
# # 实验：穿过时间的梯度
#
# 梯度往回走，走多远还剩多少？先量各种网络在初始化时的增益，再看截断丢掉了什么，最后让一个梯度爆炸的网络在裁剪与不裁剪之间走一遍。凡训练的都用随机种子 0–4，超参数在编号 100 以上的种子上选定。

# %% [markdown] lang="en"
# # Lab: gradients through time
#
# A gradient travels back: how far, and how much of it is left? We first measure the gain of several networks at initialisation, then see what truncation throws away, and at last train a network whose gradients explode, with clipping and without. Whatever is trained uses seeds 0–4; hyper-parameters were chosen on seeds from 100 on.

# %%
import math
import os

import matplotlib.pyplot as plt
import torch
from torch import nn

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import mean, span, verdict

# %%
from snippets.gradients import bptt, clip_by_norm, clip_by_value, jacobian_gain

H, BATCH, LAGS, WARM_UP = 32, 8, 200, 50

# %% [markdown] lang="zh"
# ## 增益随滞后的变化
#
# 增益是 $\partial s^T / \partial s^{T-k}$ 的奇异值的均方根，$s$ 是网络的状态：RNN、残差网络和 GRU 是 $h$，LSTM 是 $c$。没有状态的网络（TCN、注意力）量最后的输出对 $x^{T-k}$ 的导数。$H = I = 32$，输入取自标准正态分布，双精度，不训练。有状态的网络先走 50 步热身，不从零状态量起。
#
# RNN 有四种初始化：PyTorch 的默认值 $U(-1/\sqrt{H}, 1/\sqrt{H})$、正交矩阵 $Q$、$3\,Q$，以及单位阵配 ReLU（偏置为 0）。残差网络是 $h^t = h^{t-1} + \tanh(\dots)$，其余用默认值。LSTM 的遗忘门偏置取 1 和 5；偏置 5 的再量一次，令 $W_{hh} = 0$，只留传送带。GRU 的更新门偏置取 5。TCN 有五层因果卷积，卷积核宽 3，空洞率 1、2、4、8、16，每层一次卷积，带残差（另量一次不带的）；感受野是 $1 + 2 \times 31 = 63$ 步。注意力是一层四头的 `nn.MultiheadAttention`，从最后一步看全部 201 步。

# %% [markdown] lang="en"
# ## Gain against lag
#
# The gain is the root mean square of the singular values of $\partial s^T / \partial s^{T-k}$, where $s$ is the state of the network: $h$ for RNN, residual network and GRU, $c$ for LSTM. Networks without a state (TCN, attention) are measured by the derivative of the last output with respect to $x^{T-k}$. $H = I = 32$, standard normal input, double precision, no training. Networks with a state first run 50 steps to warm up, so that nothing is measured from the zero state.
#
# The RNN gets four initialisations: PyTorch's default $U(-1/\sqrt{H}, 1/\sqrt{H})$, an orthogonal $Q$, $3\,Q$, and the identity with ReLU (biases 0). The residual network is $h^t = h^{t-1} + \tanh(\dots)$ with defaults for the rest. LSTMs have a forget bias of 1 or 5; that with 5 is measured once more with $W_{hh} = 0$, the belt alone. The GRU has an update bias of 5. The TCN has five causal convolutions of width 3, dilations 1, 2, 4, 8, 16, one convolution a level, with residuals (and once without); its receptive field is $1 + 2 \times 31 = 63$ steps. Attention is one `nn.MultiheadAttention` with four heads that looks from the last step at all 201.

# %%
from snippets.gru import GRU

# %%
from snippets.lstm import LSTM

# %%
from snippets.rnn import RNN


def start(x):
    return x.new_zeros(len(x), H).requires_grad_()


def states_of(cell, x, state, pick=lambda state: state):
    """Every state of a cell of the book, fed one step at a time."""
    states = []
    for x_t in x.split(1, 1):
        state = cell(x_t, state)[1]
        states.append(pick(state))
    return states


# %%
def rnn_states(x, weight):
    rnn = RNN(H, H).to(x)
    if weight != "default":
        nn.init.orthogonal_(rnn.weight_hh_l0, float(weight))
    return states_of(rnn, x, start(x))


def identity_states(x):
    """h = relu(W h + U x), W = 1 to begin with: the IRNN of Le et al. 2015."""
    U = nn.init.normal_(torch.empty(H, H), std=1e-3).to(x)
    W = torch.eye(H).to(x)
    h, states = start(x), []
    for zx_t in (x @ U.T).unbind(1):
        h = torch.relu(h @ W.T + zx_t)
        states.append(h)
    return states


def residual_states(x):
    rnn = RNN(H, H).to(x)
    h, states = start(x), []
    for x_t in x.split(1, 1):
        h = h + rnn(x_t, h)[1]
        states.append(h)
    return states


# %%
def lstm_states(x, bias, path_of_h=True):
    lstm = LSTM(H, H, forget_bias=bias).to(x)
    if not path_of_h:
        nn.init.zeros_(lstm.weight_hh_l0)
    return states_of(lstm, x, (start(x), start(x)), lambda state: state[1])


def gru_states(x, bias):
    gru = GRU(H, H).to(x)
    nn.init.constant_(gru.bias_ih_l0[H : 2 * H], bias)
    nn.init.zeros_(gru.bias_hh_l0[H : 2 * H])
    return states_of(gru, x, start(x))


# %%
def tcn(x, residual=True):
    y = x.transpose(1, 2)
    for level in range(5):
        convolve = nn.Conv1d(H, H, 3, dilation=2**level).to(x)
        new = torch.relu(convolve(nn.functional.pad(y, (2 * 2**level, 0))))
        y = y + new if residual else new
    return y[:, :, -1]


def attention(x):
    look = nn.MultiheadAttention(H, 4, batch_first=True).to(x)
    return look(x[:, -1:], x, x)[0][:, 0]


# %%
RECURRENT = {
    "RNN default": lambda x: rnn_states(x, "default"),
    "RNN Q": lambda x: rnn_states(x, 1),
    "RNN 3Q": lambda x: rnn_states(x, 3),
    "ReLU RNN, I": identity_states,
    "residual": residual_states,
    "LSTM 1": lambda x: lstm_states(x, 1.0),
    "LSTM 5": lambda x: lstm_states(x, 5.0),
    "GRU 5": lambda x: gru_states(x, 5.0),
    "LSTM 5, belt": lambda x: lstm_states(x, 5.0, path_of_h=False),
}
STATELESS = {
    "TCN": tcn,
    "TCN, plain": lambda x: tcn(x, residual=False),
    "attention": attention,
}


# %%
def gains(name, seed, scale=1.0, lags=LAGS):
    """Gain for k = 0, ..., lags."""
    torch.manual_seed(seed)
    draw = (BATCH, WARM_UP + lags + 1, H)
    x = scale * torch.randn(draw, dtype=torch.float64).to(DEVICE)
    if name in RECURRENT:
        states = RECURRENT[name](x)
        return jacobian_gain(states[-1], states[WARM_UP:]).flip(0).cpu()
    steps = [x_t.requires_grad_() for x_t in x[:, WARM_UP:].unbind(1)]
    return jacobian_gain(STATELESS[name](torch.stack(steps, 1)), steps).flip(0).cpu()


# %%
curves = {
    name: torch.stack([gains(name, seed) for seed in SEEDS])  # (seeds, LAGS + 1)
    for name in (*RECURRENT, *STATELESS)
}
at_50 = {name: span(curve[:, 50]) for name, curve in curves.items()}
far = {name: span(curve[:, LAGS]) for name, curve in curves.items()}
print(
    "gain, lowest to highest seed     lag 10               lag 50              lag 200"
)
for name, curve in curves.items():
    ranges = [f"{c.min():8.1e} … {c.max():7.1e}" for c in curve[:, [10, 50, 200]].T]
    print(f"{name:12s}", "  ".join(ranges))

# %%
assert at_50["RNN default"][1] < 1e-12, "default weights should vanish"
assert at_50["RNN Q"][1] < 1e-4, "the tanh should wear an orthogonal matrix down"
assert at_50["RNN 3Q"][0] > 1e3, "3 Q should explode"
assert at_50["ReLU RNN, I"][0] > 0.3, "the identity should carry"
assert at_50["residual"][0] > 1, "a residual path should grow"
assert at_50["LSTM 1"][1] < 1e-2, "a forget bias of 1 is a short memory"
assert at_50["LSTM 5"][0] > 0.5, "a forget bias of 5 should carry"
assert far["LSTM 5"][1] > 3, "and nothing keeps its gain below 1"
assert far["LSTM 5, belt"][1] < 0.9, "without the path through h it vanishes"
assert far["GRU 5"][0] > 0.05 and far["GRU 5"][1] < 1, "the GRU should carry"
wall = curves["TCN"][0].nonzero().max().item() + 1
assert wall == 63 and (curves["TCN"][:, wall:] == 0).all(), "the wall is exact"
inside = curves["TCN, plain"][:, 2:51]
assert inside.max() < 10 * inside.min(), "without residuals the TCN is flat"
assert curves["TCN"][:, 2].min() > 5 * curves["TCN"][:, 50].max(), "with them, not"
flat = curves["attention"][:, 1:]
assert flat.max() < 10 * flat.min(), "attention should not care for the lag"

# %% [markdown] lang="zh"
# 单位阵配 ReLU 的网络，一个单元要么一路开着，导数恰好是 1，要么关过一次，导数恰好是 0。所以增益的平方就是从未关过的单元所占的比例。

# %% [markdown] lang="en"
# In the ReLU network that starts from the identity a unit was either on all the way, with derivative exactly 1, or off at some step, with derivative exactly 0. So the square of the gain is the share of units that were never off.

# %%
torch.manual_seed(0)
noise = torch.randn(BATCH, LAGS + 1, H, dtype=torch.float64).to(DEVICE)
states = identity_states(noise)
open_throughout = torch.stack([h > 0 for h in states[-50:]]).all(0)
share = open_throughout.double().mean().sqrt()
assert torch.isclose(jacobian_gain(states[-1], [states[-51]])[0], share), (
    "the gain is the root of the share of units that were never off"
)


# %%
def geometric(curve):
    return curve.clamp(min=1e-300).log().mean(0).exp()


def shown(curve, ax, color, label, every=4):
    lags = [k for k in range(0, curve.shape[1], every) if (curve[:, k] > 0).all()]
    part = curve[:, lags]
    ax.fill_between(
        lags, part.min(0).values, part.max(0).values, color=color, alpha=0.25, lw=0
    )
    ax.plot(lags, geometric(part), color=color, label=label)


# %%
fig, ax = plt.subplots()
FAN = {"RNN 3Q": "C3", "ReLU RNN, I": "C2", "RNN Q": "C1", "RNN default": "C0"}
for name, color in FAN.items():
    shown(curves[name][:, :101], ax, color, name, every=5)
ax.axhline(1, color="black", lw=0.8)
ax.set(yscale="log", ylim=(1e-20, 1e14), xlim=(0, 100), xlabel="$k$")
ax.set_yticks([1e-20, 1e-15, 1e-10, 1e-5, 1, 1e5, 1e10])
ax.legend(loc="lower left", fontsize=9)
ax.minorticks_off()
fig.savefig("rnn.svg")

# %%
fig, ax = plt.subplots()
PATHS = {
    "residual": "C3",
    "LSTM 5": "C1",
    "GRU 5": "C2",
    "attention": "C4",
    "TCN": "C5",
    "LSTM 1": "C0",
}
for name, color in PATHS.items():
    shown(curves[name], ax, color, name, every=8)
ax.axvline(wall, color="C5", lw=1, ls=":")
ax.axhline(1, color="black", lw=0.8)
ax.set(yscale="log", ylim=(1e-8, 1e4), xlim=(0, LAGS), xlabel="$k$")
ax.set_yticks([1e-8, 1e-6, 1e-4, 1e-2, 1, 1e2, 1e4])
ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=3, fontsize=9)
ax.minorticks_off()
fig.savefig("paths.svg")

# %% [markdown] lang="zh"
# ## 截断丢掉什么
#
# 损失只看最后一步。按公式，$W$ 的梯度是各步的项之和，截断就是只加最近的 $w$ 项。量截断后的梯度与完整的梯度之间夹角的余弦：100 步，批量 64，$\partial L / \partial h^T$ 随机。

# %% [markdown] lang="en"
# ## What truncation throws away
#
# The loss looks at the last step only. The equations write the gradient of $W$ as a sum of terms, one a step, and truncation adds up the last $w$ of them. We measure the cosine between the truncated gradient and the whole one: 100 steps, batches of 64, a random $\partial L / \partial h^T$.


# %%
def cosines(name, seed, steps=100):
    """Cosine of the gradient cut to w steps and the whole, w = 1, ..., steps."""
    torch.manual_seed(seed)
    x = torch.randn(64, steps, H, dtype=torch.float64).to(DEVICE)
    rnn = RNN(H, H).to(x)
    if name != "RNN default":
        nn.init.orthogonal_(rnn.weight_hh_l0, {"RNN Q": 1, "RNN 3Q": 3}[name])
    out, _ = rnn(x)
    past = torch.cat((torch.zeros_like(out[:, :1]), out[:, :-1]), 1)
    gradient = torch.randn(64, H, dtype=torch.float64).to(DEVICE)
    (whole,) = torch.autograd.grad(out[:, -1], rnn.weight_hh_l0, gradient)
    with torch.no_grad():
        terms = bptt(gradient, 1 - out**2, past, rnn.weight_hh_l0)
    assert torch.allclose(terms.sum(0), whole, rtol=1e-10), "the sum is the gradient"
    cut = terms.cumsum(0)
    along = (cut * whole).sum((1, 2)) / whole.norm()
    return (along / cut.square().sum((1, 2)).sqrt()).cpu()


# %%
TANH = {"RNN default": "C0", "RNN Q": "C1", "RNN 3Q": "C3"}
angles = {name: torch.stack([cosines(name, s) for s in SEEDS]) for name in TANH}
for name, found in angles.items():
    print(
        f"{name:12s}", [f"w={w}: {found[:, w - 1].mean():.3f}" for w in (1, 5, 20, 50)]
    )

# %%
assert angles["RNN default"][:, 4].min() > 0.99, "what vanished is not missed"
assert angles["RNN 3Q"][:, 49].abs().max() < 0.5, "half of the steps show nothing"

# %%
fig, ax = plt.subplots()
ws = [1, 2, 3, 5, 7, 10, 14, 20, 30, 40, 50, 60, 70, 80, 90, 95, 99, 100]
for name, color in TANH.items():
    rows = angles[name][:, [w - 1 for w in ws]]
    for row in rows:
        ax.plot(ws, row, color=color, lw=0.8, alpha=0.5)
    ax.plot(ws, rows.mean(0), color=color, label=name)
ax.set(xscale="log", ylim=(-0.4, 1.05), xlabel="$w$", ylabel="cos")
ax.set_xticks([1, 2, 5, 10, 20, 50, 100], ["1", "2", "5", "10", "20", "50", "100"])
ax.minorticks_off()
ax.legend(loc="lower left", bbox_to_anchor=(0, 0.3))
fig.savefig("truncation.svg")

# %% [markdown] lang="zh"
# ## 截断了还能不能学
#
# 任务：读 $k + 1$ 个随机的 $\pm 1$，最后一步问第一个是什么，滞后是 $k$。$H = 32$，每批 32 条。五个种子并成一批一起训练，所以循环是手写的；下面先验证它与书中的 `RNN` 相等。
#
# 滞后 10，Adam，学习率 5e-3，300 步，裁剪到范数 1。三种训练法：完整的梯度；只回传最近 3 步（前 8 步的状态照常计算，只是断开梯度）；循环部分不训练，只练读出层。

# %% [markdown] lang="en"
# ## Can it still learn when cut?
#
# The task: read $k + 1$ random $\pm 1$ and at the last step say what the first was; the lag is $k$. $H = 32$, 32 sequences a batch. Five seeds train side by side as one batch, so the recurrence is written out; first we verify that it equals the `RNN` of the book.
#
# Lag 10, Adam at 5e-3, 300 steps, clipped to norm 1. Three ways to train: the whole gradient; only the last 3 steps (the first 8 run as usual, their gradient is cut); the recurrent part frozen and the readout alone trained.


# %%
def batch(size, lag, generators):
    bits = [torch.randint(2, (size, lag + 1), generator=g) for g in generators]
    bits = torch.stack(bits).to(DEVICE)
    return 2.0 * bits - 1, bits[:, :, 0]


# %%
def make_all(scale):
    """Weights of all seeds, (seeds, ...): W, U, b of the RNN and V, c of the readout."""
    models = []
    for seed in SEEDS:
        torch.manual_seed(seed)
        rnn, readout = RNN(1, H), nn.Linear(H, 2)
        if scale is not None:
            nn.init.orthogonal_(rnn.weight_hh_l0, scale)
        bias = rnn.bias_ih_l0 + rnn.bias_hh_l0
        weights = (rnn.weight_hh_l0, rnn.weight_ih_l0, bias[None])
        models.append((*weights, readout.weight, readout.bias[None]))
    stacked = [torch.stack(part).detach().to(DEVICE) for part in zip(*models)]
    return [part.requires_grad_() for part in stacked]


def run(weights, bits, cut=0):
    """Logits at the last step, (seeds, B, 2); no gradient from the first `cut` steps."""
    W, U, b, V, c = weights
    zx = bits.unsqueeze(3) @ U.unsqueeze(1).mT + b.unsqueeze(1)  # (seeds, B, T, H)
    h = zx.new_zeros(len(W), bits.shape[1], H)
    for t, zx_t in enumerate(zx.unbind(2)):
        h = torch.tanh(zx_t + h @ W.mT)
        h = h.detach() if t + 1 == cut else h
    return h @ V.mT + c


# %%
untrained = make_all(None)
torch.manual_seed(0)
book = RNN(1, H).to(DEVICE)
signs, _ = batch(4, 20, [torch.Generator().manual_seed(s) for s in SEEDS])
with torch.no_grad():
    logits = book(signs[0].unsqueeze(2))[1] @ untrained[3][0].T + untrained[4][0]
    assert torch.allclose(run(untrained, signs)[0], logits, atol=1e-5), (
        "written out, it is the RNN of the book"
    )


# %%
def accuracy(weights, lag):
    fresh = [torch.Generator().manual_seed(10_000 + seed) for seed in SEEDS]
    with torch.no_grad():
        x, y = batch(1000, lag, fresh)
        return (run(weights, x).argmax(2) == y).float().mean(1).tolist()


# %%
def train(scale, lag, rate, steps, clip=None, plain=False, cut=0, trained=slice(None)):
    """Losses and gradient norms (steps, seeds), accuracies after `steps`, weights.

    `plain`: gradient descent without Adam.
    """
    weights = make_all(scale)
    chosen = weights[trained]
    optimizer = (torch.optim.SGD if plain else torch.optim.Adam)(chosen, lr=rate)
    generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    losses, norms, scores = [], [], {}
    for step in range(1, max(steps) + 1):
        x, y = batch(32, lag, generators)
        logits = run(weights, x, cut)
        loss = nn.functional.cross_entropy(
            logits.flatten(0, 1), y.flatten(), reduction="none"
        ).view(len(y), -1)
        gradients = torch.autograd.grad(loss.mean(1).sum(), chosen)
        norms.append(sum(g.square().sum((1, 2)) for g in gradients).sqrt())
        if clip is not None:  # each seed for itself
            by_seed = [clip(list(parts)) for parts in zip(*gradients)]
            gradients = [torch.stack(part) for part in zip(*by_seed)]
        for weight, gradient in zip(chosen, gradients):
            weight.grad = gradient
        optimizer.step()
        losses.append(loss.detach().mean(1))
        if step in steps:
            scores[step] = accuracy(weights, lag)
    return torch.stack(losses).cpu(), torch.stack(norms).cpu(), scores, weights


def to_norm_1(gradients):
    return clip_by_norm(gradients, 1.0)


def to_value_tenth(gradients):
    return clip_by_value(gradients, 0.1)


# %%
WAYS = {"whole": {}, "cut": {"cut": 8}, "frozen": {"trained": slice(3, None)}}
learnt = {}
for init, scale in {"default": None, "Q": 1.0}.items():
    for way, how in WAYS.items():
        learnt[init, way] = train(scale, 10, 5e-3, [300], clip=to_norm_1, **how)[2][300]
        print(f"{init:8s} {way:7s}", " ".join(f"{a:.2f}" for a in learnt[init, way]))

# %%
for init in ("default", "Q"):
    assert min(learnt[init, "whole"]) > 0.95, "lag 10 is learnt with the whole gradient"
assert min(learnt["Q", "frozen"]) > 0.8, "an orthogonal state carries it unlearnt"
assert mean(learnt["Q", "cut"]) > 0.7, "and mostly keeps it while it is trained, cut"
assert mean(learnt["default", "frozen"]) < 0.6, "a default state has forgotten it"
assert min(learnt["default", "cut"]) < 0.9, "a default state cannot rely on it"

# %% [markdown] lang="zh"
# ## 裁剪一个爆炸的网络
#
# 同样的任务，滞后 20，从 $3\,Q$ 出发，用不带动量的梯度下降，使梯度的大小直接就是步子的大小。三种做法：不裁剪；按范数裁剪到 1；按值裁剪到 0.1。每种都试一串学习率，各 300 步；不裁剪、学习率 0.3 的另给三倍的步数。训练完，再看 $\tanh$ 的平均斜率。

# %% [markdown] lang="en"
# ## Clipping a net that explodes
#
# The same task at lag 20, starting from $3\,Q$, with gradient descent without momentum, so that the size of the gradient is the size of the step. Three ways: no clipping; by norm, to 1; by value, to 0.1. Each goes through a range of learning rates, 300 steps at a time; without clipping, a rate of 0.3 gets three times as many as well. Afterwards we look at the mean slope of $\tanh$.

# %%
CLIPS = {"none": None, "norm": to_norm_1, "value": to_value_tenth}
RATES = {
    "none": [0.003, 0.01, 0.03, 0.1, 0.3],
    "norm": [0.03, 0.1, 0.3, 1.0],
    "value": [0.03, 0.1, 0.3, 1.0],
}


@torch.no_grad()
def mean_slope(weights):
    """The mean of 1 − h² over a fresh batch, for every seed."""
    x, _ = batch(200, 20, [torch.Generator().manual_seed(20_000)] * len(SEEDS))
    W, U, b, *_ = weights
    h, found = x.new_zeros(*x.shape[:2], H), []
    for x_t in x.unsqueeze(3).unbind(2):
        h = torch.tanh(x_t @ U.mT + b + h @ W.mT)
        found.append((1 - h**2).mean((1, 2)))
    return torch.stack(found).mean(0).cpu()


# %%
clipped, traces, slopes = {}, {}, {}
for way, rates in RATES.items():
    for rate in rates:
        traces[way, rate], norms, scores, weights = train(
            3.0, 20, rate, [300], clip=CLIPS[way], plain=True
        )
        clipped[way, rate], slopes[way, rate] = scores[300], mean_slope(weights)
        if (way, rate) == ("none", 0.3):
            first, tenth = norms[0], norms[10:20].mean(0)
        print(
            f"{way:6s}{rate:<6}",
            " ".join(f"{a:.2f}" for a in scores[300]),
            f" mean slope {slopes[way, rate].mean():.2f}",
        )

# %%
patient = train(3.0, 20, 0.3, [900], plain=True)[2][900]
print("none  0.3, three times the steps", " ".join(f"{a:.2f}" for a in patient))
at_start = mean_slope(make_all(3.0))
print("gradient, first step           ", " ".join(f"{n:.0f}" for n in first))
print("gradient, steps 11 to 20       ", " ".join(f"{n:.0f}" for n in tenth))

# %%
assert first.min() > 30, "the gradient should explode"
assert max(clipped["none", 0.3]) < 0.6, "unclipped, a rate of 0.3 should fail"
assert max(patient) < 0.6, "and more steps should not mend it"
# Another machine's rounding may cost a seed: the mean.
assert mean(clipped["norm", 0.3]) > 0.8, "by norm, 0.3 should learn"
assert mean(clipped["value", 0.3]) > 0.8, "by value, too"
assert mean(clipped["none", 0.01]) > 0.8, "unclipped, a small rate learns as well"
for way in ("norm", "value"):
    assert mean(clipped[way, 1.0]) > 0.8, "clipped, even a rate of 1 learns"
assert (slopes["none", 0.3] < 0.75 * slopes["norm", 0.3]).all(), (
    "thrown into saturation"
)

# %%
fig, ax = plt.subplots()
SHOWN = {
    ("none", 0.3): "C3",
    ("none", 0.01): "gray",
    ("norm", 0.3): "C0",
    ("value", 0.3): "C2",
}
for (way, rate), color in SHOWN.items():
    smooth = traces[way, rate].view(-1, 20, len(SEEDS)).mean(1)
    for run_ in smooth.T:
        ax.plot(range(20, 301, 20), run_, color=color, lw=0.8, alpha=0.6)
    ax.plot([], [], color=color, label=f"{way}, {rate}")
ax.axhline(math.log(2), color="black", lw=0.8, ls="--")
ax.set(yscale="log", ylim=(1e-3, 5), xlim=(0, 300))
ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.22), ncols=2, fontsize=9)
ax.minorticks_off()
fig.savefig("clip.svg")

# %% [markdown] lang="zh"
# ## 练习的答案
#
# 练习 1：输入越大，增益越小。

# %% [markdown] lang="en"
# ## Answers to the exercises
#
# Exercise 1: the larger the input, the smaller the gain.

# %%
# --8<-- [start:exercise-1]
for name in ("RNN Q", "RNN 3Q"):
    found = [gains(name, 0, scale, 50)[50] for scale in (0.1, 1.0, 3.0)]
    print(name, " ".join(f"{gain:.0e}" for gain in found))
    assert found[2] < found[1]  # larger pre-activations, flatter tanh
# --8<-- [end:exercise-1]

# %% [markdown] lang="zh"
# 练习 2：哪一种裁剪保持方向？

# %% [markdown] lang="en"
# Exercise 2: which way of clipping keeps the direction?


# %%
# --8<-- [start:exercise-2]
def cosine(a, b):
    return nn.functional.cosine_similarity(a, b, 0).item()


g = torch.tensor([3.0, 4.0])
(by_norm,), (by_value,) = clip_by_norm([g], 1.0), clip_by_value([g], 1.0)
print(by_norm.tolist(), by_value.tolist())  # (.6, .8) and (1, 1)
assert cosine(g, by_norm) > 1 - 1e-6 > cosine(g, by_value)

spike = torch.tensor([100.0, 0.5])  # one number exploded, the other did not
(by_norm,), (by_value,) = clip_by_norm([spike], 1.0), clip_by_value([spike], 1.0)
assert by_norm[1] < 0.01 and by_value[1] == 0.5  # the other's survives
# --8<-- [end:exercise-2]

# %% [markdown] lang="zh"
# 练习 3：走 300 步还剩九成。

# %% [markdown] lang="en"
# Exercise 3: nine tenths left after 300 steps.

# %%
# --8<-- [start:exercise-3]
keep = 0.9 ** (1 / 300)  # of each step
b = math.log(keep / (1 - keep))  # the inverse of sigmoid
print(f"b = {b:.2f}, time constant {1 + math.exp(b):.0f} steps")
assert abs((1 / (1 + math.exp(-b))) ** 300 - 0.9) < 1e-9
# --8<-- [end:exercise-3]
bias_nine_tenths, constant_nine_tenths = b, 1 + math.exp(b)

# %% [markdown] lang="zh"
# 练习 4：正着算梯度。

# %% [markdown] lang="en"
# Exercise 4: the gradient, computed forwards.

# %%
# --8<-- [start:exercise-4]
torch.manual_seed(0)
rnn, x = RNN(3, 5).double(), torch.randn(1, 20, 3).double()
g, last = torch.randn(5).double(), rnn(x)[1][0]  # dL/dh^T, h^T
(backwards,) = torch.autograd.grad(last, rnn.weight_hh_l0, g)

with torch.no_grad():
    W, h = rnn.weight_hh_l0, torch.zeros(1, 5).double()
    M = torch.zeros(5, 5, 5).double()  # dh_i/dW_jk, carried along
    for x_t in x.split(1, 1):
        direct = torch.eye(5)[:, :, None] * h[0]  # W_jk at this very step
        h = rnn(x_t, h)[1]
        slope = 1 - h[0] ** 2
        M = slope[:, None, None] * (direct + torch.einsum("ab,bjk->ajk", W, M))
    forwards = torch.einsum("a,ajk->jk", g, M)
assert torch.allclose(forwards, backwards, rtol=1e-10)
# --8<-- [end:exercise-4]

# %% [markdown] lang="zh"
# ## 结果
# %% [markdown] lang="en"
# ## Results

# %%
gains_by_lag = {
    "gain_default_low": at_50["RNN default"][0],
    "gain_default_high": at_50["RNN default"][1],
    "gain_orthogonal_low": at_50["RNN Q"][0],
    "gain_orthogonal_high": at_50["RNN Q"][1],
    "gain_triple_low": at_50["RNN 3Q"][0],
    "gain_triple_high": at_50["RNN 3Q"][1],
    "gain_identity_low": at_50["ReLU RNN, I"][0],
    "gain_identity_high": at_50["ReLU RNN, I"][1],
    "gain_residual_low": at_50["residual"][0],
    "gain_residual_high": at_50["residual"][1],
    "far_residual_low": far["residual"][0],
    "far_residual_high": far["residual"][1],
    "gain_lstm_1_low": at_50["LSTM 1"][0],
    "gain_lstm_1_high": at_50["LSTM 1"][1],
    "far_lstm_1_low": far["LSTM 1"][0],
    "far_lstm_1_high": far["LSTM 1"][1],
    "gain_lstm_5_low": at_50["LSTM 5"][0],
    "gain_lstm_5_high": at_50["LSTM 5"][1],
    "far_lstm_5_low": far["LSTM 5"][0],
    "far_lstm_5_high": far["LSTM 5"][1],
    "gain_gru_5_low": at_50["GRU 5"][0],
    "gain_gru_5_high": at_50["GRU 5"][1],
    "far_gru_5_low": far["GRU 5"][0],
    "far_gru_5_high": far["GRU 5"][1],
    "far_belt_low": far["LSTM 5, belt"][0],
    "far_belt_high": far["LSTM 5, belt"][1],
    "gain_tcn_low": at_50["TCN"][0],
    "gain_tcn_high": at_50["TCN"][1],
    "far_tcn_high": far["TCN"][1],
    "near_tcn": curves["TCN"][:, 2].mean().item(),
    "mean_tcn": curves["TCN"][:, 50].mean().item(),
    "near_plain": curves["TCN, plain"][:, 2].mean().item(),
    "mean_plain": curves["TCN, plain"][:, 50].mean().item(),
    "gain_attention_low": at_50["attention"][0],
    "gain_attention_high": at_50["attention"][1],
    "far_attention_low": far["attention"][0],
    "far_attention_high": far["attention"][1],
}

# %%
of_learnt = {key: span(shares) for key, shares in learnt.items()}
of_clipped = {key: span(shares) for key, shares in clipped.items()}
accuracies = {
    "whole_default_low": of_learnt["default", "whole"][0],
    "whole_default_high": of_learnt["default", "whole"][1],
    "cut_default_low": of_learnt["default", "cut"][0],
    "cut_default_high": of_learnt["default", "cut"][1],
    "frozen_default_low": of_learnt["default", "frozen"][0],
    "frozen_default_high": of_learnt["default", "frozen"][1],
    "whole_Q_low": of_learnt["Q", "whole"][0],
    "whole_Q_high": of_learnt["Q", "whole"][1],
    "cut_Q_low": of_learnt["Q", "cut"][0],
    "cut_Q_high": of_learnt["Q", "cut"][1],
    "frozen_Q_low": of_learnt["Q", "frozen"][0],
    "frozen_Q_high": of_learnt["Q", "frozen"][1],
    "none_0_003_low": of_clipped["none", 0.003][0],
    "none_0_003_high": of_clipped["none", 0.003][1],
    "none_0_01_low": of_clipped["none", 0.01][0],
    "none_0_01_high": of_clipped["none", 0.01][1],
    "none_0_03_low": of_clipped["none", 0.03][0],
    "none_0_03_high": of_clipped["none", 0.03][1],
    "none_0_1_low": of_clipped["none", 0.1][0],
    "none_0_1_high": of_clipped["none", 0.1][1],
    "none_0_3_low": of_clipped["none", 0.3][0],
    "none_0_3_high": of_clipped["none", 0.3][1],
    "norm_0_03_low": of_clipped["norm", 0.03][0],
    "norm_0_03_high": of_clipped["norm", 0.03][1],
    "norm_0_1_low": of_clipped["norm", 0.1][0],
    "norm_0_1_high": of_clipped["norm", 0.1][1],
    "norm_0_3_low": of_clipped["norm", 0.3][0],
    "norm_0_3_high": of_clipped["norm", 0.3][1],
    "norm_1_low": of_clipped["norm", 1.0][0],
    "norm_1_high": of_clipped["norm", 1.0][1],
    "value_0_03_low": of_clipped["value", 0.03][0],
    "value_0_03_high": of_clipped["value", 0.03][1],
    "value_0_1_low": of_clipped["value", 0.1][0],
    "value_0_1_high": of_clipped["value", 0.1][1],
    "value_0_3_low": of_clipped["value", 0.3][0],
    "value_0_3_high": of_clipped["value", 0.3][1],
    "value_1_low": of_clipped["value", 1.0][0],
    "value_1_high": of_clipped["value", 1.0][1],
}

# %%
GATED = ("LSTM 1", "LSTM 5", "GRU 5")
carried = [at_50[name][0] > 0.1 for name in GATED]
vanishing = [at_50[name][1] < 1e-3 for name in TANH]
bounded = max(far[name][1] for name in GATED) <= 1
results = {
    "n": len(SEEDS),
    "lag_far": LAGS,
    "wall": wall,
    "claim_gates_carry": verdict(all(carried), any(carried)),
    # the whole path may grow; does at least the belt alone stay below 1?
    "claim_gates_bounded": verdict(bounded, far["LSTM 5, belt"][1] <= 1),
    "claim_rnn_vanishes": verdict(all(vanishing), any(vanishing)),
    "cos_default_5": angles["RNN default"][:, 4].mean().item(),
    "cos_orthogonal_5": angles["RNN Q"][:, 4].mean().item(),
    "cos_triple_50": angles["RNN 3Q"][:, 49].abs().max().item(),
    "first_norm_low": first.min().item(),
    "first_norm_high": first.max().item(),
    "patient_high": max(patient),
    "slope_start": at_start.mean().item(),
    "slope_thrown": slopes["none", 0.3].mean().item(),
    "slope_clipped": slopes["norm", 0.3].mean().item(),
    "bias_nine_tenths": bias_nine_tenths,
    "constant_nine_tenths": constant_nine_tenths,
    "chance": 0.5,
}
results = results | gains_by_lag | accuracies
for name, value in results.items():
    print(f"{name:24s}{value}")
