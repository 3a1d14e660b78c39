# %% [markdown] lang="zh"
# # 实验：窗口上的多层感知机
#
# 四个问题：参数怎样随窗口增长？同一个波换个地方，还认得吗？手写数字当作 64 步的序列，谁读得最好？把输入挪几步、把次序打乱，又怎样？最后是练习的答案。
# %% [markdown] lang="en"
# # Lab: MLP on a window
#
# Four questions: how do parameters grow with the window? Is a wave known again at another place? Of handwritten digits read as sequences of 64 steps, who reads best? What if the input is moved by a few steps, or its order shuffled? Then the answers to the exercises.

# %%
import os

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call, stack_module_state, vmap

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import mean, span, verdict

# %%
from snippets.mlp import WindowMLP, slide, waves

# %% [markdown] lang="zh"
# ## 参数与窗口
#
# $I = 1$，$H = 64$，只数第一层。循环网络的参数与长度无关。
# %% [markdown] lang="en"
# ## Parameters and the window
#
# $I = 1$, $H = 64$, the first layer only. A recurrent network's parameters do not depend on the length.


# %%
def size(module):
    return sum(p.numel() for p in module.parameters())


first_layer = {T: size(WindowMLP(T, 1, 64, 10).hidden) for T in (64, 66, 67, 128)}
recurrent = size(nn.RNN(1, 64))
print("first layer", first_layer, "RNN", recurrent)
assert first_layer[64] == 4160, "a weight a step and unit, and the biases"
assert first_layer[128] == 8256, "twice the window was to need twice the weights"
assert recurrent == 4288, "two matrices and two biases, whatever the length"
assert first_layer[66] == recurrent < first_layer[67], "at 66 steps they are equal"

# %% [markdown] lang="zh"
# ## 一起训练
#
# 几个种子的模型并成一批，一起训练：各读各的数据，各有各的权重，梯度也各自裁剪到 1，与逐个训练只差舍入。每次训练读两回数：走到三分之一（1×）和走完（3×）。RNN 和 GRU 是书里的代码；LSTM 和卷积用 `torch.nn` 的，逐个算更快。
# %% [markdown] lang="en"
# ## Trained together
#
# The models of several seeds are trained as one batch. Each reads its own data, has its own weights and has its gradient clipped to 1 by itself, so that but for rounding it is as if they were trained one by one. Every training is read off twice, after a third (1×) and at the end (3×). RNN and GRU are the book's code; LSTM and convolutions are those of `torch.nn`, quicker one by one.

# %%
from snippets.gru import GRU

# %%
from snippets.rnn import RNN


# %%
def together(models):
    """Many as one, (models, B, T, I) -> (models, B, C), and their weights."""
    weights, _ = stack_module_state(models)  # each (models, ...)
    one = models[0]

    def run(weights, x):
        return functional_call(one, weights, (x,))

    def run_each(weights, x):
        each = zip(*(w.unbind() for w in weights.values()))
        parts = [dict(zip(weights, w)) for w in each]
        return torch.stack([run(*pair) for pair in zip(parts, x)])

    alone = any(isinstance(m, nn.LSTM | nn.Conv1d) for m in one.modules())
    return run_each if alone else vmap(run), weights


def train(models, batch, rate, steps, test):
    """Train all on x, y = batch(step); test(run) after a third, and at the end."""
    run, weights = together(models)
    optimizer = torch.optim.Adam(weights.values(), lr=rate)
    found = []
    for step in range(steps):
        x, y = batch(step)  # (models, B, T, I), (models, B)
        logits = run(weights, x).flatten(0, 1)
        loss = nn.functional.cross_entropy(logits, y.flatten()) * len(models)
        optimizer.zero_grad()
        loss.backward()
        lengths = [w.grad.flatten(1).norm(dim=1) for w in weights.values()]
        scale = torch.stack(lengths).norm(dim=0).clamp(min=1)  # (models,)
        for w in weights.values():
            w.grad /= scale.view(-1, *[1] * (w.ndim - 1))
        optimizer.step()
        if step + 1 in (steps // 3, steps):
            with torch.no_grad():
                found.append(test(lambda x: run(weights, x)))
    for i, model in enumerate(models):
        model.load_state_dict({name: w[i] for name, w in weights.items()})
    return torch.stack(found, 1)  # (models, 2, ...)


# %% [markdown] lang="zh"
# ## 同一个波，两个地方
#
# 32 步里，噪声的标准差是 0.3，某处藏着四步长的一个波：慢的是 $(1, 1, -1, -1)$，快的是 $(1, -1, 1, -1)$，正负号随机。问是快是慢。两类的数值完全一样，只差次序；正负号随机，所以线性模型没有依据。
#
# 五种模型：线性；逐步的（step，窗口宽 1，各步分别算，再取平均）；窗口宽 32 的 MLP；窗口宽 4、滑动着用、对时间取最大值的 MLP（slid）；正交初始化的循环网络（RNN, Q）。写着 all 的见过所有位置，没写的只见过靠前的波；线性的和逐步的见过所有位置。MLP 的隐藏层有 64 个单元，循环网络 32 个，逐步的和滑动的 16 个。写着 mixed 的也见过所有位置，只是 32 步换了一个固定的次序。只见过靠前的循环网络，最后再考一次：靠后的波后面接 16 步噪声，等得和靠前的一样久。训练 200 步（1×）和 600 步（3×），学习率 0.003，只在 100 以后的种子上试过。
# %% [markdown] lang="en"
# ## One wave, two places
#
# Among 32 steps of noise with a standard deviation of 0.3 hides a wave of four steps: a slow one is $(1, 1, -1, -1)$, a fast one $(1, -1, 1, -1)$, either sign at random. Fast or slow? Both kinds have exactly the same values in another order; and since the sign is random, a linear model has nothing to go by.
#
# Five kinds of model: a linear one; one that takes each step separately (step: a window of 1, then the mean over time); an MLP with a window of 32; an MLP with a window of 4 that slides, with the maximum over time (slid); and a recurrent network with orthogonal weights (RNN, Q). Those named "all" have met waves at all places, the others early ones only; the linear one and step have met all places. The MLP has 64 hidden units, the recurrent network 32, step and slid 16. The one named "mixed" has met all places, too, but with the 32 steps in another order, always the same. The recurrent network that has met early waves is asked once more in the end: late waves, followed by 16 steps of noise, so that the wait is as long as after early ones. They train for 200 steps (1×) and 600 steps (3×) at a rate of 0.003, tried on seeds from 100 on only.

# %%
T, STEPS = 32, 200
EARLY, LATE, ALL = (0, 13), (16, 29), (0, 29)
STRAIGHT = torch.arange(T)
MIXED = torch.randperm(T, generator=torch.Generator().manual_seed(7))


# %%
class Slid(nn.Module):
    """A window MLP at every time, and one answer for the whole."""

    def __init__(self, window, reduce):
        super().__init__()
        self.model, self.reduce = WindowMLP(window, 1, 16, 2), reduce

    def forward(self, x):
        return self.reduce(slide(self.model, x)[:, self.model.window - 1 :], 1)


class Recurrent(nn.Module):
    """Reads the last state of one layer."""

    def __init__(self, layer, hidden_size, init="default", classes=10):
        super().__init__()
        self.layer = layer
        self.readout = nn.Linear(hidden_size, classes)
        if init == "orthogonal":
            nn.init.orthogonal_(self.layer.weight_hh_l0)
        keep = slice(hidden_size, 2 * hidden_size)  # LSTM: forget, GRU: update gate
        if init in ("bias 1", "chrono"):
            lags = torch.empty(hidden_size).uniform_(1, 63)
            bias = lags.log() if init == "chrono" else 1.0
            self.layer.bias_ih_l0.data[keep] = bias
            self.layer.bias_hh_l0.data[keep] = 0.0

    def forward(self, x):
        return self.readout(self.layer(x)[0][:, -1])


# %%
def flat():
    return nn.Sequential(nn.Flatten(), nn.Linear(T, 2))


def window():
    return WindowMLP(T, 1, 64, 2)


def recurrent_network():
    return Recurrent(RNN(1, 32), 32, "orthogonal", 2)


WAVES = {  # how to make one, the places it meets, the order of the steps
    "linear": (flat, ALL, STRAIGHT),
    "step": (lambda: Slid(1, torch.mean), ALL, STRAIGHT),
    "MLP": (window, EARLY, STRAIGHT),
    "MLP, all": (window, ALL, STRAIGHT),
    "slid": (lambda: Slid(4, torch.amax), EARLY, STRAIGHT),
    "RNN, Q": (recurrent_network, EARLY, STRAIGHT),
    "RNN, Q, all": (recurrent_network, ALL, STRAIGHT),
    "RNN, Q, mixed": (recurrent_network, ALL, MIXED),
}


# %%
def stacked(pairs):
    return tuple(torch.stack(part).to(DEVICE) for part in zip(*pairs))


def learn_waves(make, tasks):
    """Train one for each (places, order, n, seed); accuracy at each place, models.

    `n`: the training set holds so many waves; None: every batch is new.
    """
    models, draws = [], []
    for places, order, n, seed in tasks:
        torch.manual_seed(seed)
        models.append(make().to(DEVICE))
        generator = torch.Generator().manual_seed(seed)
        kept = waves(n, T, *places, generator) if n else None
        draws.append((places, order, n, kept, generator))

    def draw(places, order, n, kept, generator):
        if n:
            some = torch.randint(n, (64,), generator=generator)
            x, y = kept[0][some], kept[1][some]
        else:
            x, y = waves(64, T, *places, generator)
        return x[:, order], y

    def by_place(run):
        generators = [torch.Generator().manual_seed(1000 + t[-1]) for t in tasks]
        found = []
        for place in range(29):
            pairs = [waves(300, T, place, place + 1, g) for g in generators]
            x, y = stacked([(x[:, t[1]], y) for (x, y), t in zip(pairs, tasks)])
            found.append((run(x).argmax(2) == y).float().mean(1).cpu())
        return torch.stack(found, 1)

    def batch(step):
        return stacked([draw(*d) for d in draws])

    found = train(models, batch, 3e-3, 3 * STEPS, by_place)
    return found, models  # (tasks, 2, 29)


# %%
placed, readers = {}, {}  # (n, 2, 29); n models
for make in dict.fromkeys(make for make, _, _ in WAVES.values()):
    names = [name for name, entry in WAVES.items() if entry[0] == make]
    tasks = [(*WAVES[name][1:], None, seed) for name in names for seed in SEEDS]
    found, models = learn_waves(make, tasks)
    for name, at_place in zip(names, found.split(len(SEEDS))):
        placed[name] = at_place
        readers[name], models = models[: len(SEEDS)], models[len(SEEDS) :]


def part(name, places, budget=slice(None)):
    return placed[name][:, budget, places[0] : places[1]].mean(-1)


print(f"{'':13}  early 1x    late 1x     early 3x    late 3x")
for name in placed:
    parts = [part(name, where, budget) for budget in (0, 1) for where in (EARLY, LATE)]
    print(f"{name:13}", "  ".join(f"{p.min():.3f}-{p.max():.3f}" for p in parts))

# %%
for name in ("linear", "step"):
    assert (part(name, ALL) - 0.5).abs().max() < 0.04, f"{name} was to be at chance"
assert part("MLP", EARLY).min() > 0.97, "the MLP was to learn the places it met"
assert (part("MLP", LATE) - 0.5).abs().max() < 0.08, "and no others"
assert part("MLP, all", ALL, 1).min() > 0.97, "it can do all places, if shown"
assert part("slid", ALL, 1).min() > 0.97, "the sliding window was to find every place"
assert part("RNN, Q", EARLY, 1).min() > 0.85, "so was the RNN"
assert part("RNN, Q", LATE).mean(0).max() < 0.75, "and it did not carry over"
natural, mixed_up = part("RNN, Q, all", ALL), part("RNN, Q, mixed", ALL)
assert (natural - mixed_up).mean(0).min() > 0.05, "the RNN was to need the order"


# %%
def accuracy(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(1) == y).float().mean().item()


# Late waves, then 16 steps of noise: as long a wait as after early ones.
waited = []
for seed, model in zip(SEEDS, readers["RNN, Q"]):
    generator = torch.Generator().manual_seed(2000 + seed)
    x, y = waves(3000, T + 16, *LATE, generator)
    waited.append(accuracy(model, x.to(DEVICE), y.to(DEVICE)))
print("RNN, Q, late waves, a longer wait:", " ".join(f"{a:.3f}" for a in waited))

# %%
fig, ax = plt.subplots()
for i, name in enumerate(["slid", "MLP", "RNN, Q"]):
    found = placed[name][:, 1]
    ends = found.min(0).values, found.max(0).values
    ax.fill_between(range(29), *ends, color=f"C{i}", alpha=0.25, lw=0)
    ax.plot(range(29), found.mean(0), color=f"C{i}", label=name)
ax.axvline(12.5, color="gray", lw=1, ls="--")
ax.set(ylim=(0.4, 1.03), xlabel="t")
ax.legend(loc="lower left", bbox_to_anchor=(0, 0.15))
fig.savefig("places.svg")

# %% [markdown] lang="zh"
# ## 要多少数据
#
# 训练集只有 $n$ 个波，位置随机，训练 200 步（1×）和 600 步（3×），再看所有位置上的准确率。
# %% [markdown] lang="en"
# ## How much data
#
# The training set holds only $n$ waves, at random places; train for 200 steps (1×) and 600 steps (3×), then test at all places.

# %%
AMOUNTS = [30, 300, 1000]
many = [(ALL, STRAIGHT, n, seed) for seed in SEEDS for n in AMOUNTS]
amounts = {
    name: learn_waves(WAVES[name][0], many)[0].mean(2).unflatten(0, (-1, len(AMOUNTS)))
    for name in ("MLP", "slid")
}  # each (n, 3, 2)
for name, found in amounts.items():
    for budget in (0, 1):
        ends = zip(found.min(0).values[:, budget], found.max(0).values[:, budget])
        print(f"{name:6} {3**budget}x", "  ".join(f"{a:.3f}-{b:.3f}" for a, b in ends))
assert amounts["slid"][:, 0, 1].min() > 0.95, "30 waves were enough to slide"
assert amounts["MLP"][:, 0].max() < 0.7, "30 waves were not enough for the MLP"
assert amounts["MLP"][:, 2, 1].min() > 0.95, "a thousand were"

# %% [markdown] lang="zh"
# ## 手写数字：64 步，谁读得最好
#
# scikit-learn 自带的手写数字，$8 \times 8$，一行接一行排成 64 步，每步一个数。每个种子另分 1437 张训练、360 张测试。除了线性模型，参数都在五千上下；学习率和初始化只在 100 以后的种子上调过。Adam，批量 64，梯度裁剪到 1；训练的轮数分两档，后一档是前一档的三倍，前一档就在半路上读出来。
#
# RNN 有默认和正交（Q）两种初始化。LSTM 的遗忘门偏置是 1。GRU 的更新门偏置按滞后铺开（chrono），取 1 到 63 之间均匀随机数的对数，让各个单元记得长短不一；同样的做法用在 LSTM 上，在种子 100 上不如偏置 1。CNN 有两个，都是三层核宽 9 的一维卷积，最后对时间取最大值：CNN 的空洞率是 1、2、4，感受野 57 步，只在输入两端各补 56 个零；“CNN, /2”在前两层之后各有一次宽为 2、步幅为 2 的汇聚，每层都补零。
# %% [markdown] lang="en"
# ## Handwritten digits: 64 steps, who reads best
#
# The digits that come with scikit-learn, $8 \times 8$, row after row, are 64 steps of one number each. Each seed has its own split into 1437 images to train and 360 to test. All but the linear model have some five thousand parameters; rates and initialisations were tuned on seeds from 100 on only. Adam, batches of 64, gradients clipped to 1; there are two budgets, the second three times the first, which is read off on the way.
#
# The RNN comes with default and with orthogonal weights (Q). The LSTM's forget bias is 1. The GRU's update bias is spread over the lags (chrono): logarithms of numbers drawn evenly from 1 to 63, so that units remember for different times; for the LSTM the same did worse than bias 1 on seed 100. There are two CNNs, both of three one-dimensional convolutions of width 9 with a maximum over time at the end: CNN has dilations 1, 2 and 4, a receptive field of 57 steps, and 56 zeros at each end of the input only; "CNN, /2" pools by 2 with stride 2 after each of its first two layers, and pads in every layer.

# %%
EPOCHS = 4
digits = load_digits()
IMAGES = torch.tensor(digits.data / 16, dtype=torch.float32).unsqueeze(2)
LABELS = torch.tensor(digits.target)


def split(seed):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(IMAGES), generator=generator)
    parts = order[:1437], order[1437:]
    return [(IMAGES[p].to(DEVICE), LABELS[p].to(DEVICE)) for p in parts]


# %%
SIZES = [(1, 13), (13, 13), (13, 26)]


class CNN(nn.Module):
    """Dilated convolutions on an input padded once, then the maximum over time."""

    def __init__(self):
        super().__init__()
        dilations = (1, 2, 4)
        layers = [nn.Conv1d(*s, 9, dilation=d) for s, d in zip(SIZES, dilations)]
        self.layers = nn.ModuleList(layers)
        self.readout = nn.Linear(26, 10)

    def forward(self, x):
        h = nn.functional.pad(x.mT, (56, 56))
        for layer in self.layers:
            h = layer(h).relu()
        return self.readout(h.amax(2))


class StridedCNN(nn.Module):
    """Pools with a stride and pads in every layer."""

    def __init__(self):
        super().__init__()
        one, two, three = (nn.Conv1d(*s, 9, padding=4) for s in SIZES)
        half, relu = nn.MaxPool1d(2), nn.ReLU()
        self.layers = nn.Sequential(one, relu, half, two, relu, half, three, relu)
        self.readout = nn.Linear(26, 10)

    def forward(self, x):
        return self.readout(self.layers(x.mT).amax(2))


# %%
MODELS = {
    "linear": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), 1e-2),
    "MLP": (lambda: WindowMLP(64, 1, 64, 10), 1e-2),
    "CNN": (CNN, 5e-3),
    "CNN, /2": (StridedCNN, 5e-3),
    "RNN": (lambda: Recurrent(RNN(1, 64), 64), 2e-3),
    "RNN, Q": (lambda: Recurrent(RNN(1, 64), 64, "orthogonal"), 2e-3),
    "LSTM": (lambda: Recurrent(nn.LSTM(1, 32, batch_first=True), 32, "bias 1"), 2e-2),
    "GRU": (lambda: Recurrent(GRU(1, 37), 37, "chrono"), 2e-2),
}


# %%
def learn(name, seeds=SEEDS, view=None, augment=None, epochs=3 * EPOCHS):
    """Train one for each seed; accuracies at a third and at the end, and the models.

    `view` changes what is read, in training and in the test; `augment` in
    training only.
    """
    make, rate = MODELS[name]
    models = []
    for seed in seeds:
        torch.manual_seed(seed)
        models.append(make().to(DEVICE))
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    (x, y), (test_x, test_y) = map(stacked, zip(*map(split, seeds)))
    if view:
        x, test_x = (torch.stack([view(a) for a in part]) for part in (x, test_x))
    per_epoch = -(-len(x[0]) // 64)  # batches
    orders = []  # of the current epoch

    def batch(step):
        if step % per_epoch == 0:
            orders[:] = [torch.randperm(len(x[0]), generator=g) for g in generators]
        low = step % per_epoch * 64
        picked = [
            (a[o[low : low + 64]], b[o[low : low + 64]])
            for a, b, o in zip(x, y, orders)
        ]
        if augment:
            picked = [(augment(a, g), b) for (a, b), g in zip(picked, generators)]
        return stacked(picked)

    def test(run):
        return (run(test_x).argmax(2) == test_y).float().mean(1).cpu()

    return train(models, batch, rate, epochs * per_epoch, test), models


# %%
read, trained = {}, {}
for name in MODELS:
    read[name], trained[name] = learn(name)


# %%
def multiply_adds(model):
    """Of one image: each weight of a matrix, as often as it is used."""
    total = 0
    recurrent_layers = RNN | GRU | nn.LSTM

    def count(module, inputs, output):
        nonlocal total
        uses = 64 if isinstance(module, recurrent_layers) else 1
        uses = output.shape[2] if isinstance(module, nn.Conv1d) else uses
        total += uses * sum(p.numel() for p in module.parameters() if p.ndim > 1)

    counted = recurrent_layers | nn.Conv1d | nn.Linear
    layers = [m for m in model.modules() if isinstance(m, counted)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    model(IMAGES[:1].to(DEVICE))
    for hook in hooks:
        hook.remove()
    return total


parameters = {name: size(models[0]) for name, models in trained.items()}
operations = {name: multiply_adds(models[0]) for name, models in trained.items()}
assert operations["MLP"] == 64 * 64 + 64 * 10, "each weight was to be used once"
assert operations["RNN"] == 64 * (64 + 64 * 64) + 64 * 10, "or once a step"
assert operations["LSTM"] == 64 * 4 * (32 + 32 * 32) + 32 * 10, "four gates a step"
print(f"{'':8} parameters  mult-adds   1x           3x")
for name, found in read.items():
    ends = (span(found[:, budget]) for budget in (0, 1))
    accuracies = "  ".join(f"{low:.3f}-{high:.3f}" for low, high in ends)
    print(f"{name:8} {parameters[name]:>10,}  {operations[name]:>9,}  {accuracies}")

# %%
RECURRENT = ["RNN", "RNN, Q", "LSTM", "GRU"]
assert read["MLP"][:, 1].min() > 0.92, "the MLP was to learn the digits"
assert read["CNN"][:, 1].mean() > 0.92, "so was the CNN"
for name in RECURRENT:
    assert read[name][:, 1].mean() < read["linear"][:, 1].mean() - 0.01, (
        f"in this budget {name} was to stay behind a linear model"
    )
    assert read[name].mean(0).diff() > 0.02, f"{name} was still learning"
assert read["RNN, Q"].mean(0)[0] > read["RNN"].mean(0)[0] + 0.1, "one line mattered"

# %% [markdown] lang="zh"
# ## 挪几步
#
# 测试时把 64 步整个往后挪 $k$ 步（$k < 0$ 是往前），空出来的填零，挤出去的丢掉。模型不重新训练。$|k|$ 不超过 2 时几乎没有丢墨迹。
# %% [markdown] lang="en"
# ## Moved by a few steps
#
# For the test all 64 steps are moved back by $k$ ($k < 0$: forward); what becomes free is filled with zeros, what is pushed out is lost. No model is trained again. While $|k|$ is at most 2, hardly any ink is lost.

# %%
SHIFTS = list(range(-8, 9))


def moved(x, k):
    padded = nn.functional.pad(x, (0, 0, max(k, 0), max(-k, 0)))
    return padded[:, : x.shape[1]] if k > 0 else padded[:, -x.shape[1] :]


strip = torch.arange(1.0, 6.0).reshape(1, 5, 1)
assert moved(strip, 2).flatten().tolist() == [0, 0, 1, 2, 3], "by two, zeros in front"
assert moved(strip, -1).flatten().tolist() == [2, 3, 4, 5, 0], "forward by one"
assert moved(strip, 0).equal(strip), "by nothing"

lost = [1 - (moved(IMAGES, k).sum() / IMAGES.sum()).item() for k in SHIFTS]
print("ink lost", " ".join(f"{a:.3f}" for a in lost))
at = {k: SHIFTS.index(k) for k in SHIFTS}
lost_near = max(lost[at[k]] for k in (-2, -1, 0, 1, 2))
assert lost_near < 0.01, "hardly any ink was to be lost"


# %%
def when_moved(models):
    found = []
    for seed, model in zip(SEEDS, models):
        x, y = split(seed)[1]
        found.append([accuracy(model, moved(x, k), y) for k in SHIFTS])
    return torch.tensor(found)


shifted = {name: when_moved(models) for name, models in trained.items()}
for name, found in shifted.items():
    print(f"{name:8}", " ".join(f"{a:.2f}" for a in found.mean(0)))

# %%
NEAR = [at[k] for k in (-2, -1, 1, 2)]
home = {name: found[:, at[0]] for name, found in shifted.items()}
steady = (shifted["CNN"][:, NEAR] - home["CNN"][:, None]).abs()
assert steady.max() < 0.08, (
    "one rule, and nothing that counts: moving was to do nothing"
)
for name in ("linear", "MLP", "RNN, Q", "CNN, /2"):
    assert shifted[name][:, at[2]].mean() < 0.7, f"{name} was to suffer from two steps"

# %%
fig, ax = plt.subplots()
for i, name in enumerate(["CNN", "CNN, /2", "LSTM", "RNN, Q", "MLP"]):
    ax.plot(SHIFTS, shifted[name].mean(0), color=f"C{i}", marker=".", label=name)
ax.set(ylim=(0, 1.03), xlabel="k")
ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
fig.savefig("shift.svg")

# %% [markdown] lang="zh"
# ## 别的长度
#
# 前后各添 8 步零，一共 80 步，什么也没丢。窗口是 64 的模型读不了，别的读得了。
# %% [markdown] lang="en"
# ## Another length
#
# Add 8 steps of zeros in front and 8 at the end: 80 steps, and nothing is lost. A model with a window of 64 cannot take them, the others can.

# %%
longer = {}
for name, models in trained.items():
    found = []
    for seed, model in zip(SEEDS, models):
        x, y = split(seed)[1]
        try:
            found.append(accuracy(model, nn.functional.pad(x, (0, 0, 8, 8)), y))
        except (ValueError, RuntimeError) as error:
            print(f"{name:8} {error}")
            break
    if found:
        longer[name] = torch.tensor(found)
        print(f"{name:8} {min(found):.3f}-{max(found):.3f}")
fit_any_length = MODELS.keys() - {"linear", "MLP"}
assert longer.keys() == fit_any_length, "only a fixed window was to fail"
assert (longer["CNN"] - home["CNN"]).abs().max() < 0.01, "zeros were to change nothing"

# %% [markdown] lang="zh"
# ## 打乱次序
#
# 64 步换一个固定的次序，训练和测试用同一个。先看定理：MLP 的权重跟着换，训练中的一切都不变，双精度下相差多少。再看循环网络。
# %% [markdown] lang="en"
# ## Another order
#
# The 64 steps are put in another order, fixed, the same in training and test. First the theorem: let the weights of an MLP move along, and nothing in its training changes; how far apart are the two in double precision? Then the recurrent network.

# %%
ORDER = torch.randperm(64, generator=torch.Generator().manual_seed(7)).to(DEVICE)


def reordered(x):
    return x[:, ORDER]


def order_gap(seed):
    """Train an MLP, and one that reads and weighs in another order; compare."""
    (x, y), (test_x, _) = split(seed)
    x, test_x = x.double(), test_x.double()
    torch.manual_seed(seed)
    one, two = (WindowMLP(64, 1, 64, 10).to(x) for _ in range(2))
    two.load_state_dict(one.state_dict())
    two.hidden.weight.data = one.hidden.weight.data[:, ORDER]
    views = [(one, x), (two, reordered(x))]
    for model, data in views:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for batch in torch.arange(len(x)).split(64):
            loss = nn.functional.cross_entropy(model(data[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return (two(reordered(test_x)) - one(test_x)).abs().max().item()


# %%
order_gaps = [order_gap(seed) for seed in SEEDS]
print("MLP, after one epoch:", f"{max(order_gaps):.0e}")
assert max(order_gaps) < 1e-8, "an MLP was not to notice the order"

mixed, _ = learn("RNN, Q", view=reordered)
drop = read["RNN, Q"] - mixed
for budget in (0, 1):
    by = " ".join(f"{a:+.3f}" for a in drop[:, budget])
    print(f"RNN, Q, in another order, {3**budget}x: it loses {by}")

# %% [markdown] lang="zh"
# ## 练习的答案
# %% [markdown] lang="en"
# ## Answers to the exercises


# %%
# --8<-- [start:exercise-1]
def anywhere(x, generator):
    """Move a batch by -4 to 4 steps."""
    k = torch.randint(-4, 5, (), generator=generator).item()
    return moved(x, k)
    # --8<-- [end:exercise-1]


# %%
augmented = {}  # by epochs; the second number is three times the first
for epochs in (3 * EPOCHS, 9 * EPOCHS):
    _, augmented[epochs] = learn("MLP", augment=anywhere, epochs=epochs)
at_home, at_two, at_eight = {}, {}, {}
for epochs, models in augmented.items():
    found = when_moved(models)
    at_home[epochs] = found[:, at[0]]
    at_two[epochs] = found[:, [at[-2], at[2]]]
    at_eight[epochs] = found[:, [at[-8], at[8]]]
assert at_two[9 * EPOCHS].min() > 0.75, "shown every shift, it was to learn them"
assert at_eight[9 * EPOCHS].max() < 0.7, "and no others"
for epochs in augmented:
    print(epochs, "epochs:", at_home[epochs], at_two[epochs].T)


# %%
# --8<-- [start:exercise-2]
def without_order(x):
    return x.sort(1).values


x = torch.randn(4, 64, 1)
around = x.roll(5, 1)  # by 5 steps, and nothing is lost
assert torch.equal(without_order(x), without_order(around))  # shift-proof
shuffled = x[:, torch.randperm(64)]
assert torch.equal(without_order(x), without_order(shuffled))  # too much so
# --8<-- [end:exercise-2]

# %%
by_ink = learn("MLP", view=without_order)[0][:, 1].tolist()
assert max(by_ink) < 0.5, "the amounts of ink alone were not to be enough"
print("order-free", " ".join(f"{a:.3f}" for a in by_ink))


# %%
# --8<-- [start:exercise-3]
def oscillation(steps, generator):
    """Linear: x^t = 1.5 x^{t-1} - 0.8 x^{t-2} + noise of variance 1."""
    x = [torch.zeros(()), torch.zeros(())]
    for noise in torch.randn(steps, generator=generator):
        x.append(1.5 * x[-1] - 0.8 * x[-2] + noise)
    windows = torch.stack(x[2:]).unfold(0, 9, 1)  # 8 steps, and the next
    return windows[:, :8, None], windows[:, 8:]


def forecast(seed):
    generator = torch.Generator().manual_seed(seed)
    (x, y), (new_x, new_y) = (oscillation(n, generator) for n in (300, 3000))
    weights = torch.linalg.lstsq(x.flatten(1), y, driver="gelsd").solution
    linear = (new_x.flatten(1) @ weights - new_y).square().mean().item()
    torch.manual_seed(seed)
    model = WindowMLP(8, 1, 64, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    errors = []
    for _ in range(600):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step()
        with torch.no_grad():
            errors.append((model(new_x) - new_y).square().mean().item())
    return linear, min(errors), errors[-1]  # the MLP at its best, and at the end


forecasts = [forecast(seed) for seed in range(5)]
# --8<-- [end:exercise-3]

# %%
by_line, at_best, in_the_end = (mean(errors) for errors in zip(*forecasts))
assert by_line < at_best < in_the_end, "the truth is linear, and so was to win"
print("linear, MLP at its best, MLP at the end")
print("\n".join(" ".join(f"{a:.3f}" for a in found) for found in forecasts))

# %%
# --8<-- [start:exercise-4]
torch.manual_seed(0)
small = WindowMLP(3, 1, 1, 1).double()
x = torch.randn(1, 6, 1).double()
matrix = torch.zeros(6, 6).double()  # row t: the weights of output t
for t in range(6):
    for j, weight in enumerate(small.hidden.weight[0].detach()):
        if t - 2 + j >= 0:
            matrix[t, t - 2 + j] = weight
h = torch.relu(matrix @ x[0] + small.hidden.bias)  # one big layer
wanted = h @ small.output.weight.T + small.output.bias
assert torch.allclose(slide(small, x)[0], wanted, atol=1e-12)
assert len(matrix.unique()) == 3 + 1  # three weights, and zero
assert (matrix != 0).sum() == 6 * 3 - 3  # of 36 places
# --8<-- [end:exercise-4]

# %%
# The note: MLP and CNN take each input separately and miss what is between inputs.
# For an MLP it depends: it is fed step by step, or the whole window.
separately = (part("step", ALL) - 0.5).abs().max() < 0.04
at_once = part("MLP, all", ALL, 1).min() > 0.95
sliding = part("slid", ALL, 1).min() > 0.95
claim_separate_mlp = verdict(not at_once, sometimes=separately)
claim_separate_cnn = verdict(not sliding)
# The note: with either, the sequence must be taken as a whole.
same_longer = (longer["CNN"] - home["CNN"]).abs().max() < 0.01
claim_whole_mlp = verdict("MLP" not in longer)
claim_whole_cnn = verdict(not same_longer)
# The note: an RNN has a certain bias for the order of its data.
needs_order = (natural - mixed_up).mean(0).min() > 0.05
on_digits = drop.mean(0)  # at 1x and at 3x
pays = needs_order and on_digits.min() > 0.05
claim_order = verdict(needs_order and max(order_gaps) < 1e-8)
claim_order_pays = verdict(pays, sometimes=needs_order)

# %%
results = {
    "n": len(SEEDS),
    "first_64": first_layer[64],
    "first_128": first_layer[128],
    "epochs": EPOCHS,
    "epochs_3": 3 * EPOCHS,
    "order_gap": max(order_gaps),
    "ink_2": lost[at[2]],
    "claim_separate_mlp": claim_separate_mlp,
    "claim_separate_cnn": claim_separate_cnn,
    "claim_whole_mlp": claim_whole_mlp,
    "claim_whole_cnn": claim_whole_cnn,
    "claim_order": claim_order,
    "claim_order_pays": claim_order_pays,
    "augmented_home_low": at_home[9 * EPOCHS].min().item(),
    "augmented_two_low": at_two[9 * EPOCHS].min().item(),
    "augmented_eight_high": at_eight[9 * EPOCHS].max().item(),
    "augmented_soon_low": at_two[3 * EPOCHS].min().item(),
    "order_digits_3": abs(on_digits[1].item()),
    "waited_low": min(waited),
    "waited_high": max(waited),
    "by_ink_low": min(by_ink),
    "by_ink_high": max(by_ink),
    "forecast_linear": by_line,
    "forecast_best": at_best,
    "forecast_end": in_the_end,
}


# %%
def low(name, places, budget):
    return part(name, places, budget).min().item()


def high(name, places, budget):
    return part(name, places, budget).max().item()


def accuracy_moved(name, k):
    """Moved by k steps, to either side."""
    return shifted[name][:, [at[-k], at[k]]].mean().item()


# %%
results = results | {
    "wave_linear_all_1_low": low("linear", ALL, 0),
    "wave_linear_all_1_high": high("linear", ALL, 0),
    "wave_linear_all_3_low": low("linear", ALL, 1),
    "wave_linear_all_3_high": high("linear", ALL, 1),
    "wave_step_all_1_low": low("step", ALL, 0),
    "wave_step_all_1_high": high("step", ALL, 0),
    "wave_step_all_3_low": low("step", ALL, 1),
    "wave_step_all_3_high": high("step", ALL, 1),
    "wave_mlp_late_1_low": low("MLP", LATE, 0),
    "wave_mlp_late_1_high": high("MLP", LATE, 0),
    "wave_mlp_early_3_low": low("MLP", EARLY, 1),
    "wave_mlp_late_3_low": low("MLP", LATE, 1),
    "wave_mlp_late_3_high": high("MLP", LATE, 1),
    "wave_mlp_all_all_1_low": low("MLP, all", ALL, 0),
    "wave_mlp_all_all_1_high": high("MLP, all", ALL, 0),
    "wave_mlp_all_all_3_low": low("MLP, all", ALL, 1),
    "wave_mlp_all_all_3_high": high("MLP, all", ALL, 1),
    "wave_slid_late_1_low": low("slid", LATE, 0),
    "wave_slid_late_1_high": high("slid", LATE, 0),
    "wave_slid_late_3_low": low("slid", LATE, 1),
    "wave_slid_late_3_high": high("slid", LATE, 1),
    "wave_orthogonal_late_1_low": low("RNN, Q", LATE, 0),
    "wave_orthogonal_late_1_high": high("RNN, Q", LATE, 0),
    "wave_orthogonal_late_3_low": low("RNN, Q", LATE, 1),
    "wave_orthogonal_late_3_high": high("RNN, Q", LATE, 1),
    "wave_orthogonal_all_all_1_low": low("RNN, Q, all", ALL, 0),
    "wave_orthogonal_all_all_1_high": high("RNN, Q, all", ALL, 0),
    "wave_orthogonal_all_all_3_low": low("RNN, Q, all", ALL, 1),
    "wave_orthogonal_all_all_3_high": high("RNN, Q, all", ALL, 1),
    "wave_orthogonal_mixed_all_1_low": low("RNN, Q, mixed", ALL, 0),
    "wave_orthogonal_mixed_all_1_high": high("RNN, Q, mixed", ALL, 0),
    "wave_orthogonal_mixed_all_3_low": low("RNN, Q, mixed", ALL, 1),
    "wave_orthogonal_mixed_all_3_high": high("RNN, Q, mixed", ALL, 1),
    "amount_mlp_30_low": amounts["MLP"][:, 0, 1].min().item(),
    "amount_mlp_30_high": amounts["MLP"][:, 0, 1].max().item(),
    "amount_mlp_300_low": amounts["MLP"][:, 1, 1].min().item(),
    "amount_mlp_300_high": amounts["MLP"][:, 1, 1].max().item(),
    "amount_mlp_1000_low": amounts["MLP"][:, 2, 1].min().item(),
    "amount_mlp_1000_high": amounts["MLP"][:, 2, 1].max().item(),
    "amount_slid_30_low": amounts["slid"][:, 0, 1].min().item(),
    "amount_slid_30_high": amounts["slid"][:, 0, 1].max().item(),
}

# %%
results = results | {
    "digits_linear_1_low": read["linear"][:, 0].min().item(),
    "digits_linear_1_high": read["linear"][:, 0].max().item(),
    "digits_linear_3_low": read["linear"][:, 1].min().item(),
    "digits_linear_3_high": read["linear"][:, 1].max().item(),
    "digits_mlp_1_low": read["MLP"][:, 0].min().item(),
    "digits_mlp_1_high": read["MLP"][:, 0].max().item(),
    "digits_mlp_3_low": read["MLP"][:, 1].min().item(),
    "digits_mlp_3_high": read["MLP"][:, 1].max().item(),
    "digits_cnn_1_low": read["CNN"][:, 0].min().item(),
    "digits_cnn_1_high": read["CNN"][:, 0].max().item(),
    "digits_cnn_3_low": read["CNN"][:, 1].min().item(),
    "digits_cnn_3_high": read["CNN"][:, 1].max().item(),
    "digits_strided_1_low": read["CNN, /2"][:, 0].min().item(),
    "digits_strided_1_high": read["CNN, /2"][:, 0].max().item(),
    "digits_strided_3_low": read["CNN, /2"][:, 1].min().item(),
    "digits_strided_3_high": read["CNN, /2"][:, 1].max().item(),
    "digits_rnn_1_low": read["RNN"][:, 0].min().item(),
    "digits_rnn_1_high": read["RNN"][:, 0].max().item(),
    "digits_rnn_3_low": read["RNN"][:, 1].min().item(),
    "digits_rnn_3_high": read["RNN"][:, 1].max().item(),
    "digits_orthogonal_1_low": read["RNN, Q"][:, 0].min().item(),
    "digits_orthogonal_1_high": read["RNN, Q"][:, 0].max().item(),
    "digits_orthogonal_3_low": read["RNN, Q"][:, 1].min().item(),
    "digits_orthogonal_3_high": read["RNN, Q"][:, 1].max().item(),
    "digits_lstm_1_low": read["LSTM"][:, 0].min().item(),
    "digits_lstm_1_high": read["LSTM"][:, 0].max().item(),
    "digits_lstm_3_low": read["LSTM"][:, 1].min().item(),
    "digits_lstm_3_high": read["LSTM"][:, 1].max().item(),
    "digits_gru_1_low": read["GRU"][:, 0].min().item(),
    "digits_gru_1_high": read["GRU"][:, 0].max().item(),
    "digits_gru_3_low": read["GRU"][:, 1].min().item(),
    "digits_gru_3_high": read["GRU"][:, 1].max().item(),
    "longer_cnn_low": longer["CNN"].min().item(),
    "longer_cnn_high": longer["CNN"].max().item(),
    "longer_orthogonal_low": longer["RNN, Q"].min().item(),
    "longer_orthogonal_high": longer["RNN, Q"].max().item(),
    "longer_lstm_low": longer["LSTM"].min().item(),
    "longer_lstm_high": longer["LSTM"].max().item(),
    "mixed_orthogonal_3_low": mixed[:, 1].min().item(),
    "mixed_orthogonal_3_high": mixed[:, 1].max().item(),
}

# %%
results = results | {
    "parameters_linear": parameters["linear"],
    "operations_linear": operations["linear"],
    "moved_linear_1": accuracy_moved("linear", 1),
    "moved_linear_2": accuracy_moved("linear", 2),
    "parameters_mlp": parameters["MLP"],
    "operations_mlp": operations["MLP"],
    "moved_mlp_1": accuracy_moved("MLP", 1),
    "moved_mlp_2": accuracy_moved("MLP", 2),
    "parameters_cnn": parameters["CNN"],
    "operations_cnn": operations["CNN"],
    "moved_cnn_1": accuracy_moved("CNN", 1),
    "moved_cnn_2": accuracy_moved("CNN", 2),
    "parameters_strided": parameters["CNN, /2"],
    "operations_strided": operations["CNN, /2"],
    "moved_strided_1": accuracy_moved("CNN, /2", 1),
    "moved_strided_2": accuracy_moved("CNN, /2", 2),
    "parameters_rnn": parameters["RNN"],
    "operations_rnn": operations["RNN"],
    "parameters_orthogonal": parameters["RNN, Q"],
    "operations_orthogonal": operations["RNN, Q"],
    "moved_orthogonal_1": accuracy_moved("RNN, Q", 1),
    "moved_orthogonal_2": accuracy_moved("RNN, Q", 2),
    "parameters_lstm": parameters["LSTM"],
    "operations_lstm": operations["LSTM"],
    "moved_lstm_1": accuracy_moved("LSTM", 1),
    "moved_lstm_2": accuracy_moved("LSTM", 2),
    "parameters_gru": parameters["GRU"],
    "operations_gru": operations["GRU"],
    "moved_gru_1": accuracy_moved("GRU", 1),
    "moved_gru_2": accuracy_moved("GRU", 2),
}
