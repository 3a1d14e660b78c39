# %% [markdown] lang="zh"
# # 实验：一维卷积
#
# 六个问题：与 torch 相等吗？感受野有多宽，墙外的梯度是多少？墙里墙外，各学到什么？加法任务学得会吗，视野不够又会错多少？手写数字读成 64 步，谁学得快，靠的是“局部”吗？算得少，还是算得浅？
# %% [markdown] lang="en"
# # Lab: convolution over time
#
# Six questions: is it equal to torch? How wide is the field, and what is the gradient
# beyond the wall? What is learnt inside and outside? Does it learn the adding problem,
# and what does a field that is too short cost? With handwritten digits read as 64
# steps, who learns faster, and is it because of locality? Does it compute less, or is
# it shallow?

# %%
import os

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import gradients, mean, seconds, span, verdict

# %%
from snippets.conv1d import TCN, CausalConv1d, adding

# %%
from snippets.lstm import LSTM

# %%
from snippets.rnn import RNN

# %% [markdown] lang="zh"
# ## 与 torch 相等
#
# 双精度。`nn.Conv1d` 要 `(B, C, T)`，左边先补 $(K - 1) d$ 个零；输出和三个梯度逐一比较。再把同一层用在不同的长度上：参数一个不多，前 25 步的输出一位不差。
# %% [markdown] lang="en"
# ## Equal to torch
#
# In double precision. `nn.Conv1d` takes `(B, C, T)`, padded on the left with
# $(K - 1) d$ zeros; output and three gradients are compared. Then the same layer at
# two lengths: no parameter more, and the first 25 outputs are the same.


# %%
differences, other_length = [], []
for seed in SEEDS:
    torch.manual_seed(seed)
    for K, d in [(2, 1), (3, 4), (5, 8)]:
        twin = nn.Conv1d(3, 8, K, dilation=d).double().to(DEVICE)
        ours = CausalConv1d(3, 8, K, d).double().to(DEVICE)
        ours.load_state_dict(twin.state_dict())
        x = torch.randn(4, 40, 3).double().to(DEVICE).requires_grad_()
        padded = nn.functional.pad(x.mT, ((K - 1) * d, 0))
        out, wanted = ours(x), twin(padded).mT
        own = out, *gradients(out, [x, *ours.parameters()])
        torchs = wanted, *gradients(wanted, [x, *twin.parameters()])
        differences += [(a - b).abs().max().item() for a, b in zip(own, torchs)]
        other_length.append((ours(x[:, :25]) - ours(x)[:, :25]).abs().max().item())
torch_gap, length_gap = max(differences), max(other_length)
print(f"largest difference from nn.Conv1d: {torch_gap:.0e}")
print(f"25 steps or 40: {length_gap:.0e}")
assert torch_gap < 1e-12, "CausalConv1d is to equal torch's, forward and backward"
assert length_gap < 1e-12, "one layer is to fit any length"

# %% [markdown] lang="zh"
# ## 感受野和墙
#
# 取最后一步的输出，对输入求梯度，看往回多少步还不是 0。公式说感受野是 $1 + \sum_l (K - 1) d_l$：空洞率翻倍，就是 $1 + (K - 1)(2^L - 1)$；每级两次卷积，后一项加倍。墙外和未来的梯度应当**恰好**是 0。
# %% [markdown] lang="en"
# ## The field and the wall
#
# Take the output of the last step, differentiate with respect to the input, and see
# how many steps back it is not 0. The formula says $1 + \sum_l (K - 1) d_l$; with
# doubling dilations $1 + (K - 1)(2^L - 1)$, and twice the second term with two
# convolutions a level. Beyond the wall, and from the future, the gradient should be
# **exactly** 0.


# %%
def sizes_of_gradient(model, x, t):
    """At output t: size of the gradient at each input step, (T,)."""
    x = x.to(DEVICE).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x)[:, t].square().sum(), x)
    return gradient.abs().sum((0, 2)).cpu()


def measured_field(model, T):
    """Steps with gradient, seen from the middle; the largest gradient elsewhere."""
    middle = T // 2
    sizes = sizes_of_gradient(model, torch.randn(4, T, 2).double(), middle)
    field = int((sizes[: middle + 1] > 0).sum())
    outside = sizes[: middle + 1 - field].max().item()
    assert (sizes[middle + 1 - field : middle + 1] > 0).all(), "no holes"
    return field, outside, sizes[middle + 1 :].max().item()


# %%
torch.manual_seed(0)
outside_gradient = future_gradient = 0.0
fields = {}
for K in (2, 3, 5):
    for L in (1, 2, 3, 4, 5):
        once = TCN(2, 16, K, L).double().to(DEVICE)
        doubled = [
            CausalConv1d(16 if n else 2, 16, K, 2 ** (n // 2)) for n in range(2 * L)
        ]
        twice = nn.Sequential(*doubled).double().to(DEVICE)
        for name, net, convolutions in [
            ("one", once, list(once.levels)),
            ("two", twice, doubled),
        ]:
            formula = 1 + sum((K - 1) * c.dilation for c in convolutions)
            T = 2 * formula + 12
            found, outside, future = measured_field(net, T)
            assert found == formula, f"{name} {K} {L}: {found}, not {formula}"
            fields[name, K, L] = found
            outside_gradient = max(outside_gradient, outside)
            future_gradient = max(future_gradient, future)
for K in (2, 3, 5):
    print(f"K={K}  one a level", [fields["one", K, L] for L in range(1, 6)], end="")
    print("  two a level", [fields["two", K, L] for L in range(1, 6)])
print("gradient beyond the wall", outside_gradient, " from the future", future_gradient)
assert outside_gradient == 0, "beyond the wall nothing was to be seen"
assert future_gradient == 0, "nothing of the future was to be seen"

# %% [markdown] lang="zh"
# ## 墙里墙外
#
# 每一步输入一个随机的 $\pm 1$；在每一步 $t$，同时答出 $x^t, x^{t-1}, \dots, x^{t-40}$，共 41 个滞后。各比特互相独立，看不见就只能猜，猜对一半。两个模型宽度都是 32：TCN，$K = 2$，四级，感受野 16；简单循环网络，正交初始化，它没有墙。Adam，学习率 1e-2（两者都在编号 100 以上的种子上选定），梯度裁剪到 1，每步 32 条新序列，长 64。预算两档，200 步和 600 步；TCN 只给 200 步。
# %% [markdown] lang="en"
# ## Inside and outside the wall
#
# A random $\pm 1$ comes in at every step; at every step $t$ answer
# $x^t, x^{t-1}, \dots, x^{t-40}$ all together, 41 lags. The bits are independent: who
# cannot see one can only guess, and is right half of the time. Two models of width
# 32: a TCN with $K = 2$ and four levels, a field of 16, and a plain RNN with orthogonal
# initialisation, which has no wall. Adam, rate 1e-2 (chosen for both on seeds from 100
# on), gradients clipped to 1, 32 new sequences of 64 steps at a time. Two budgets, 200
# and 600 steps; the TCN gets 200 only.

# %%
LAGS, SHORT, LONG = 41, 200, 600


def orthogonal(rnn):
    nn.init.orthogonal_(rnn.weight_hh_l0)
    nn.init.zeros_(rnn.bias_ih_l0)
    nn.init.zeros_(rnn.bias_hh_l0)
    return rnn


class States(nn.Module):
    """A torch.nn RNN that answers as a TCN does: states only."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x):
        return self.rnn(x)[0]


def plain():
    return States(orthogonal(nn.RNN(1, 32, batch_first=True)))


# %%
def remember(make, seed, steps):
    """Accuracy at each lag after a third of the steps and after all of them."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model, readout = make().to(DEVICE), nn.Linear(32, LAGS).to(DEVICE)
    weights = [*model.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-2)

    def answers(batch_size):
        bits = torch.randint(2, (batch_size, 64), generator=generator)
        y = bits.unfold(1, LAGS, 1).flip(2).float().to(DEVICE)  # lag 0 first
        x = (2.0 * bits - 1).unsqueeze(2).to(DEVICE)
        return readout(model(x)[:, LAGS - 1 :]), y

    found = {}
    for step in range(1, steps + 1):
        loss = nn.functional.binary_cross_entropy_with_logits(*answers(32))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        if step in (SHORT, LONG):
            with torch.no_grad():
                guess, y = answers(400)
                found[step] = ((guess > 0) == (y > 0.5)).float().mean((0, 1)).tolist()
    return found


# %%
four = [remember(lambda: TCN(1, 32, 2, 4), seed, SHORT) for seed in SEEDS]
free = [remember(plain, seed, LONG) for seed in SEEDS]


def at_lag(runs, budget, lag):
    return span(run[budget][lag] for run in runs)


for name, runs, budget in [
    ("TCN, field 16", four, SHORT),
    ("RNN, orthogonal", free, SHORT),
    ("RNN, orthogonal", free, LONG),
]:
    shown = " ".join(
        "{}:{:.2f}–{:.2f}".format(lag, *at_lag(runs, budget, lag))
        for lag in (0, 15, 16, 20, 31, 32, 40)
    )
    print(f"{name:16s} {budget} steps  {shown}")

# %%
inside = min(at_lag(four, SHORT, lag)[0] for lag in range(16))
beyond = span(run[SHORT][lag] for run in four for lag in range(16, LAGS))
assert inside > 0.98, "every lag inside the field was to be learnt"
assert 0.45 < beyond[0] <= beyond[1] < 0.55, "beyond it there was only to guess"
assert at_lag(free, LONG, 16)[0] > 0.9, "an RNN has no wall at 16"
slope = [mean(run[LONG][lag] for run in free) for lag in range(LAGS)]
assert slope[40] < slope[20] < slope[4] + 1e-9, "what it has instead is a slope"

# %%
fig, ax = plt.subplots()
for runs, budget, colour, style, label in [
    (four, SHORT, "C0", "-", "TCN"),
    (free, SHORT, "C1", ":", f"RNN, {SHORT}"),
    (free, LONG, "C1", "-", f"RNN, {LONG}"),
]:
    means = [mean(run[budget][lag] for run in runs) for lag in range(LAGS)]
    ax.plot(range(LAGS), means, style, color=colour, label=label)
ax.axvline(15.5, color="black", lw=1, ls="--")
ax.axhline(0.5, color="gray", lw=1, ls=":")
ax.set_ylim(0.45, 1.03)
ax.set_xticks([0, 5, 10, 15, 20, 25, 30, 35, 40])
ax.set_xlabel("k")
ax.legend(loc="lower left", bbox_to_anchor=(0, 0.14), fontsize=9)
fig.savefig("wall.svg")

# %% [markdown] lang="zh"
# ## 加法任务
#
# 与 GRU 一页同样的任务、批量、裁剪和停止规则：50 个数里两个带标记，读完答出它们的和；最近 20 步的平均损失从第 200 步起一低于 0.002 就停，最多 600 步。TCN，$K = 3$，宽度 32，Adam 1e-2。五级，感受野 63，盖得住 50 步；四级，感受野 31，盖不住，只练 200 步。
#
# 盖不住会错多少，事先就能算：每个带标记的数有 $19/50$ 的可能落在墙外，那时最好答平均值 0.5，平方误差的期望是均匀分布的方差 $1/12$。两个数，合计 $2 \cdot \frac{19}{50} \cdot \frac{1}{12} \approx 0.063$，这是下界，怎么训练都越不过去。
# %% [markdown] lang="en"
# ## The adding problem
#
# Task, batch, clipping and stopping rule are those of the page on GRU: of
# 50 numbers two are marked, and in the end their sum is asked for; from step 200 on
# training stops once the mean loss of the last 20 steps is below 0.002, at 600 at the
# latest. A TCN with $K = 3$ and width 32, Adam 1e-2. Five levels have a field of 63, which
# covers the 50 steps; four have one of 31, which does not, and train for 200 steps only.
#
# What that costs can be computed in advance: a marked number is beyond the wall with
# probability $19/50$; the best answer then is the mean, 0.5, and the expected squared
# error is the variance of the uniform distribution, $1/12$. For two numbers
# $2 \cdot \frac{19}{50} \cdot \frac{1}{12} \approx 0.063$. This is a lower bound, whatever the
# training.


# %%
def add(levels, seed, steps=600):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model, readout = TCN(2, 32, 3, levels).to(DEVICE), nn.Linear(32, 1).to(DEVICE)
    weights = [*model.parameters(), *readout.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-2)
    losses = []

    def loss_on(batch_size):
        x, y = (a.to(DEVICE) for a in adding(batch_size, 50, generator))
        return nn.functional.mse_loss(readout(model(x)[:, -1]).squeeze(1), y)

    while len(losses) < steps:
        loss = loss_on(64)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        losses.append(loss.item())
        if len(losses) >= 200 and sum(losses[-20:]) < 20 * 0.002:
            break
    with torch.no_grad():
        return loss_on(4000).item(), len(losses), model.field


# %%
wide = [add(5, seed) for seed in SEEDS]
narrow = [add(4, seed, steps=200) for seed in SEEDS]
wide_errors = span(error for error, _, _ in wide)
narrow_errors = span(error for error, _, _ in narrow)
floor = 2 * (50 - narrow[0][2]) / 50 / 12
for name, runs in [("field 63", wide), ("field 31", narrow)]:
    print(name, " ".join(f"{error:.4f} ({steps})" for error, steps, _ in runs))
print(f"lower bound with a field of 31: {floor:.4f}; always 1: {1 / 6:.4f}")
assert wide_errors[1] < 0.01, "the field covers all: to be learnt"
assert narrow_errors[0] > 0.9 * floor, "no way past the wall"
assert mean(error for error, _, _ in narrow) < 0.14, "but what is inside is learnt"

# %% [markdown] lang="zh"
# ## 手写数字，64 步
#
# scikit-learn 自带的 $8 \times 8$ 手写数字，一行接一行读成 64 步，每步一个像素。1797 张，随机取 1437 张训练，其余 360 张测试，种子不同，分法也不同。卷积网络：两层宽度为 5 的卷积（32 和 64 个通道），各接一次最大汇聚，再加一个线性层；要看完整条序列才答，所以不必因果。简单循环网络：正交初始化，$H = 128$，读最后的状态。参数各约两万。Adam，卷积 2e-3，循环 1e-3；预算两档，12 轮和 36 轮。循环网络一次要十秒左右 CPU，所以这一节只有三个种子。
#
# 卷积网络再做一次，像素先按一个固定的次序打乱：人眼再也看不出是什么，“相邻”也没有了意义。如果它靠的是局部，准确率就该掉下来。最后是基线：不要卷积，64 个像素直接接一个线性层，一共 650 个参数，Adam 1e-2。
# %% [markdown] lang="en"
# ## Handwritten digits, 64 steps
#
# The $8 \times 8$ digits that come with scikit-learn, row after row, one pixel a step. Of
# 1797, 1437 drawn at random are for training, 360 for testing; each seed draws anew.
# The convolutional network: two convolutions of width 5 (32 and 64 channels), each
# followed by max pooling, then a linear map; it answers after the whole sequence, so
# it need not be causal. The plain RNN: orthogonal initialisation, $H = 128$, reads the
# last state. About twenty thousand parameters each. Adam, 2e-3 for the convolution and
# 1e-3 for the RNN; two budgets, 12 and 36 epochs. One run of the RNN takes some
# ten CPU seconds, hence three seeds in this section.
#
# The convolutional network runs once more, with the pixels in one fixed shuffled
# order: no eye would recognise them, and “next to” has lost its meaning. If locality
# is what it lives on, accuracy should drop. Last, a baseline: no convolution, the 64
# pixels go straight into one linear map, 650 parameters in all, Adam 1e-2.

# %%
DIGIT_SEEDS, FEW, MANY = range(3), 12, 36
images, labels = load_digits(return_X_y=True)
images = torch.tensor(images, dtype=torch.float32).unsqueeze(2) / 8 - 1  # (N, 64, 1)
labels = torch.tensor(labels)


# %%
def convolutional():
    return nn.Sequential(
        nn.Conv1d(1, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
        nn.Conv1d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2),
        nn.Flatten(), nn.Linear(64 * 16, 10),
    )  # fmt: skip


def straight():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))


class ReadsTheEnd(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = orthogonal(nn.RNN(1, 128, batch_first=True))
        self.readout = nn.Linear(128, 10)

    def forward(self, x):
        return self.readout(self.rnn(x.mT)[1][-1])


# %%
def read_digits(make, seed, rate, epochs, shuffled=False):
    """Accuracy on the test set after each epoch."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    train, test = order[:1437], order[1437:]
    pixels = torch.randperm(64, generator=generator) if shuffled else torch.arange(64)
    x, y = images[:, pixels].mT.contiguous().to(DEVICE), labels.to(DEVICE)
    model = make().to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    accuracies = []
    for _ in range(epochs):
        for part in train[torch.randperm(1437, generator=generator)].split(64):
            loss = nn.functional.cross_entropy(model(x[part]), y[part])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        with torch.no_grad():
            hits = model(x[test]).argmax(1) == y[test]
            accuracies.append(hits.float().mean().item())
    return accuracies


# %%
cnn = [read_digits(convolutional, s, 2e-3, FEW) for s in DIGIT_SEEDS]
cnn_shuffled = [read_digits(convolutional, s, 2e-3, FEW, True) for s in DIGIT_SEEDS]
rnn = [read_digits(ReadsTheEnd, s, 1e-3, MANY) for s in DIGIT_SEEDS]
linear = [read_digits(straight, s, 1e-2, FEW) for s in DIGIT_SEEDS]
parameters = [
    sum(p.numel() for p in make().parameters()) for make in (convolutional, ReadsTheEnd)
]


def after(epochs, runs):
    return [run[epochs - 1] for run in runs]


print("parameters: CNN, RNN", parameters)
for name, runs, epochs in [
    ("CNN", cnn, FEW),
    ("CNN, shuffled pixels", cnn_shuffled, FEW),
    ("linear map", linear, FEW),
    ("RNN, orthogonal", rnn, FEW),
    ("RNN, orthogonal", rnn, MANY),
]:
    low, high = span(after(epochs, runs))
    print(f"{name:21s} {epochs} epochs  {low:.3f}–{high:.3f}")

cnn_mean, rnn_mean = mean(after(FEW, cnn)), mean(after(FEW, rnn))
assert cnn_mean >= 0.96, "the CNN was to read at least 96 of 100"
assert mean(after(FEW, cnn_shuffled)) >= 0.95, "shuffled, too"
assert mean(after(FEW, linear)) >= 0.95, "and so was a linear map"
assert cnn_mean - rnn_mean > 0.01, "in 12 epochs the RNN was to be behind"

# %%
fig, ax = plt.subplots()
for runs, colour, style, label in [
    (cnn, "C0", "-", "CNN"),
    (cnn_shuffled, "C2", "--", "CNN, π"),
    (rnn, "C1", "-", "RNN"),
]:
    for run in runs:
        ax.plot(range(1, len(run) + 1), run, style, color=colour, lw=1.2, label=label)
        label = None
ax.axvline(FEW, color="gray", lw=1, ls=":")
ax.set_ylim(0.6, 1.0)
ax.legend(loc="lower right")
fig.savefig("digits.svg")

# %% [markdown] lang="zh"
# ## 算得少，还是算得浅
#
# 宽度都是 $H = 32$，数真正执行的乘加（矩阵乘法里的），除以步数。再沿自动微分的图找最长的一条路：前一步不算完，后一步就不能开始的运算，一共有几个。时间是这台机器单线程的，前向加反向，$T = 1000$，批量 8。
# %% [markdown] lang="en"
# ## Less to compute, or shallow?
#
# All of width $H = 32$: count the multiply–adds carried out (those in matrix products)
# and divide by the steps. Then find the longest path in the graph of automatic
# differentiation: how many operations must wait for one another. Times are those of
# this machine with one thread, forward and backward, $T = 1000$, batches of 8.

# %%
H = 32
NETS = {
    "conv K=2": lambda: CausalConv1d(H, H, 2),
    "conv K=3": lambda: CausalConv1d(H, H, 3),
    "TCN": lambda: TCN(H, H, 3, 5),
    "RNN": lambda: States(RNN(H, H)),
    "LSTM": lambda: States(LSTM(H, H)),
}


def multiply_adds(net):
    """Of one step, in units of H²."""
    with FlopCounterMode(display=False) as counter:
        net(torch.randn(1, 100, H))
    return counter.get_total_flops() / 2 / 100 / H**2


def longest_path(net, T):
    """Nodes on the longest chain of the autograd graph from output to input."""
    length, waiting = {}, [(net(torch.randn(1, T, H)).grad_fn, False)]
    while waiting:
        node, ready = waiting.pop()
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        if ready:
            length[node] = 1 + max((length[parent] for parent in parents), default=0)
        elif node not in length:
            waiting += [(node, True), *((parent, False) for parent in parents)]
    return max(length.values())


def forward_and_backward(net):
    net, x = net.to(DEVICE), torch.randn(8, 1000, H).to(DEVICE)
    return lambda: net(x).sum().backward()


# %%
macs = {name: multiply_adds(make()) for name, make in NETS.items()}
paths = {
    name: [longest_path(make(), T) for T in (100, 200)] for name, make in NETS.items()
}
fused = States(nn.RNN(H, H, batch_first=True))
times = {
    name: seconds(forward_and_backward(net), DEVICE, times=3)
    for name, net in [("TCN", NETS["TCN"]()), ("RNN", fused)]
}
for name in NETS:
    print(f"{name:9s} {macs[name]:5.1f} H²  longest path {paths[name]}")
print("seconds", {name: round(value, 3) for name, value in times.items()})
assert list(macs.values()) == [2, 3, 15, 2, 8], "so many products were expected"
for name in ("conv K=2", "conv K=3", "TCN"):
    assert paths[name][0] == paths[name][1], "depth was not to depend on T"
for name in ("RNN", "LSTM"):
    assert paths[name][1] - paths[name][0] >= 300, "depth was to grow with T"

# %% [markdown] lang="zh"
# ## 练习的答案
# %% [markdown] lang="en"
# ## Answers to the exercises


# %%
# --8<-- [start:exercise-1]
def field(kernel_size, dilations):
    return 1 + (kernel_size - 1) * sum(dilations)


lag = 1000  # the field has to hold lag + 1 steps
levels = next(L for L in range(1, 99) if TCN(1, 1, 3, L).field > lag)
assert levels == 9 and TCN(1, 1, 3, levels).field == 1023

layers = next(L for L in range(1, 999) if field(3, [1] * L) > lag)
assert layers == 500  # without dilation
assert 3 * levels * 64**2 == 110_592  # multiply–adds a step, width 64
assert 3 * layers * 64**2 == 6_144_000
# --8<-- [end:exercise-1]


# %%
# --8<-- [start:exercise-2]
def steps_ahead(layer, T=41):
    """How far into the future the gradient of the middle output reaches."""
    x = torch.randn(1, 2, T).double().requires_grad_()  # torch: (B, C, T)
    (gradient,) = torch.autograd.grad(layer(x)[0, :, T // 2].sum(), x)
    return int(gradient.abs().sum((0, 1)).nonzero().max()) - T // 2


def same(K, d):
    return nn.Conv1d(2, 2, K, dilation=d, padding="same").double()


assert [steps_ahead(same(3, d)) for d in (1, 2, 4)] == [1, 2, 4]
assert steps_ahead(nn.Sequential(same(3, 1), same(3, 2), same(3, 4))) == 7

cut = nn.Conv1d(2, 2, 3, padding=2).double()  # both sides, then cut the end off
assert steps_ahead(lambda x: cut(x)[..., :-2]) == 0
# --8<-- [end:exercise-2]

# %%
# --8<-- [start:exercise-3]
a, K, T = 0.8, 20, 60
x = torch.randn(1, T, 1).double()
h, states = 0.0, []
for x_t in x[0, :, 0]:
    h = a * h + (1 - a) * x_t  # an exponential average, which never ends
    states.append(h)
states = torch.stack(states)

conv = CausalConv1d(1, 1, K).double()
with torch.no_grad():
    conv.bias.zero_()
    conv.weight[0, 0] = (1 - a) * a ** torch.arange(K - 1, -1, -1).double()
    y = conv(x)[0, :, 0]

assert torch.allclose(y[:K], states[:K])  # equal up to the wall
missing = states[K:] - y[K:]  # beyond it
assert torch.allclose(missing, a**K * states[:-K])
assert abs(a**K - 0.0115) < 1e-4
# --8<-- [end:exercise-3]


# %%
# --8<-- [start:exercise-4]
def steps_seen(K, dilations, T=64):
    """Lags with a gradient, for a stack of convolutions without residuals."""
    layers = [CausalConv1d(2, 2, K, d).double() for d in dilations]
    x = torch.randn(1, T, 2).double().requires_grad_()
    (gradient,) = torch.autograd.grad(nn.Sequential(*layers)(x)[0, -1].sum(), x)
    return gradient.abs().sum((0, 2)).flip(0).nonzero().flatten().tolist()


assert steps_seen(2, [1, 2, 4, 8]) == list(range(16))
assert steps_seen(2, [4, 4, 4, 4]) == [0, 4, 8, 12, 16]  # holes
assert steps_seen(2, [1, 3, 9]) == [0, 1, 3, 4, 9, 10, 12, 13]
assert steps_seen(3, [1, 3, 9]) == list(range(27))  # not for a kernel of three
# --8<-- [end:exercise-4]


# %%
# --8<-- [start:exercise-5]
class Stream:
    """One step of a causal convolution at a time."""

    def __init__(self, conv):
        self.conv = conv
        span = (conv.weight.shape[2] - 1) * conv.dilation
        self.past = torch.zeros(span, conv.in_channels).double()

    def __call__(self, x_t):
        window = torch.cat((self.past, x_t.unsqueeze(0)))
        self.past = window[1:]
        return self.conv(window.unsqueeze(0))[0, -1]


tcn = TCN(8, 8, 3, 5).double()
x = torch.randn(1, 100, 8).double()
with torch.no_grad():
    streams = [Stream(conv) for conv in tcn.levels]
    out = []
    for x_t in x[0]:
        h = streams[0](x_t).relu()
        for stream in streams[1:]:
            h = h + stream(h).relu()
        out.append(h)
    assert torch.allclose(torch.stack(out), tcn(x)[0])

held = sum(stream.past.numel() for stream in streams)
assert held == (tcn.field - 1) * 8
# --8<-- [end:exercise-5]

# %% [markdown] lang="zh"
# ## 判定
#
# 原文的说法，由上面量到的数来判。
# %% [markdown] lang="en"
# ## Verdicts
#
# On the note's statements, from what was measured above.

# %%
sees_relations = wide_errors[1] < 0.01
any_length = length_gap < 1e-12
faster = cnn_mean - rnn_mean > 0.01
stopped = beyond[1] < 0.55
carries = at_lag(free, LONG, 16)[0] > 0.9
fades = slope[40] < slope[4] - 0.05
deep = all(paths[n][1] > 1.5 * paths[n][0] for n in ("RNN", "LSTM"))
flat = paths["TCN"][0] == paths["TCN"][1]

verdicts = {
    "claim_no_relations": verdict(not sees_relations),
    "claim_whole": verdict(not any_length),
    "claim_convenient": verdict(False, sometimes=faster and stopped and carries),
    "claim_any_time": verdict(not (carries and fades), sometimes=True),
    "claim_local": verdict(outside_gradient == 0 and stopped),
    "claim_cheap": verdict(macs["conv K=2"] < macs["RNN"]),
    "claim_shallow": verdict(flat and deep),
}

# %%
results = verdicts | {
    "n": len(SEEDS),
    "n_digits": len(DIGIT_SEEDS),
    "torch_gap": torch_gap,
    "length_gap": length_gap,
    "field_one": fields["one", 3, 5],
    "field_two": fields["two", 3, 5],
    "outside_gradient": outside_gradient,
    "future_gradient": future_gradient,
    "short": SHORT,
    "long": LONG,
    "inside": inside,
    "beyond_low": beyond[0],
    "beyond_high": beyond[1],
    "rnn_short_16_low": at_lag(free, SHORT, 16)[0],
    "rnn_short_16_high": at_lag(free, SHORT, 16)[1],
    "rnn_short_40_low": at_lag(free, SHORT, 40)[0],
    "rnn_short_40_high": at_lag(free, SHORT, 40)[1],
    "rnn_long_16_low": at_lag(free, LONG, 16)[0],
    "rnn_long_16_high": at_lag(free, LONG, 16)[1],
    "rnn_long_40_low": at_lag(free, LONG, 40)[0],
    "rnn_long_40_high": at_lag(free, LONG, 40)[1],
    "adding_low": wide_errors[0],
    "adding_high": wide_errors[1],
    "adding_steps_low": min(steps for _, steps, _ in wide),
    "adding_steps_high": max(steps for _, steps, _ in wide),
    "narrow_low": narrow_errors[0],
    "narrow_high": narrow_errors[1],
    "narrow_floor": floor,
}

# %%
results = results | {
    "epochs_few": FEW,
    "epochs_many": MANY,
    "parameters_cnn": parameters[0],
    "parameters_rnn": parameters[1],
    "cnn_low": min(after(FEW, cnn)),
    "cnn_high": max(after(FEW, cnn)),
    "shuffled_low": min(after(FEW, cnn_shuffled)),
    "shuffled_high": max(after(FEW, cnn_shuffled)),
    "linear_low": min(after(FEW, linear)),
    "linear_high": max(after(FEW, linear)),
    "rnn_few_low": min(after(FEW, rnn)),
    "rnn_few_high": max(after(FEW, rnn)),
    "rnn_many_low": min(after(MANY, rnn)),
    "rnn_many_high": max(after(MANY, rnn)),
    "tcn_ms": 1000 * times["TCN"],
    "rnn_ms": 1000 * times["RNN"],
    "macs_conv2": macs["conv K=2"],
    "path_conv2_100": paths["conv K=2"][0],
    "path_conv2_200": paths["conv K=2"][1],
    "macs_conv3": macs["conv K=3"],
    "path_conv3_100": paths["conv K=3"][0],
    "path_conv3_200": paths["conv K=3"][1],
    "macs_tcn": macs["TCN"],
    "path_tcn_100": paths["TCN"][0],
    "path_tcn_200": paths["TCN"][1],
    "macs_rnn": macs["RNN"],
    "path_rnn_100": paths["RNN"][0],
    "path_rnn_200": paths["RNN"][1],
    "macs_lstm": macs["LSTM"],
    "path_lstm_100": paths["LSTM"][0],
    "path_lstm_200": paths["LSTM"][1],
}
