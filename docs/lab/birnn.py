# %% [markdown] lang="zh"
# # 实验：双向循环神经网络
#
# 六个问题：与 torch 相等吗？谁看得见谁？未来有没有用？两半相遇得够不够早？`out[:, -1]` 错在哪里、代价多大？填充从哪里混进来？
# %% [markdown] lang="en"
# # Lab: bidirectional recurrent networks
#
# Six questions: is it equal to torch? Who sees whom? Is the future of any use? Do the
# two halves meet early enough? What is wrong with `out[:, -1]`, and what does it cost?
# Where does padding get in?

# %%
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import gradients, span, verdict

# %%
from snippets.birnn import BiLSTM, meeting

# %%
from snippets.lstm import recall

# %% [markdown] lang="zh"
# ## 与 torch 相等
#
# `nn.LSTM(bidirectional=True)` 的参数名成对，带 `_reverse` 的给 `back`，不带的给 `forth`。双精度，比较输出、末状态和输入的梯度。
# %% [markdown] lang="en"
# ## Equal to torch
#
# The parameters of `nn.LSTM(bidirectional=True)` come in pairs: those with `_reverse`
# go to `back`, those without to `forth`. In double precision compare the output, the
# last states and the gradient of the input.


# %%
# --8<-- [start:halves]
def halves(twin):
    """A BiLSTM with the weights of nn.LSTM(I, H, bidirectional=True)."""
    model, given = BiLSTM(twin.input_size, twin.hidden_size), twin.state_dict()
    for half, ending in [(model.forth, ""), (model.back, "_reverse")]:
        half.load_state_dict({n: given[n + ending] for n in half.state_dict()})
    return model
    # --8<-- [end:halves]


# %%
def outputs_and_gradient(model, x):
    x = x.clone().requires_grad_()
    out, (h, c) = model(x)
    return out, h, c, *gradients((out, h, c), x)


differences = []
for seed in SEEDS:
    torch.manual_seed(seed)
    twin = nn.LSTM(3, 5, batch_first=True, bidirectional=True).double()
    ours, x = halves(twin).double().to(DEVICE), torch.randn(4, 30, 3).double()
    models = (ours, twin.to(DEVICE))
    pairs = zip(*(outputs_and_gradient(model, x.to(DEVICE)) for model in models))
    differences += [(a - b).abs().max().item() for a, b in pairs]
torch_gap = max(differences)
print(f"largest difference from nn.LSTM(bidirectional=True): {torch_gap:.0e}")
assert torch_gap < 1e-12, "the two halves were to be torch's"

# %% [markdown] lang="zh"
# ## 谁看得见谁
#
# 第 $t$ 步的输出对第 $s$ 个输入求导。不是“很小”，是恰好为零的地方，就是看不见。
# %% [markdown] lang="en"
# ## Who sees whom
#
# Differentiate output $t$ with respect to input $s$. Where the result is not small but
# exactly zero, it does not see.


# %%
# --8<-- [start:sees]
def sees(function, x):
    """Does output t depend on input s? (T, T), a row for each output."""
    x = x.clone().requires_grad_()
    rows = []
    for out in function(x).unbind(1):
        (gradient,) = torch.autograd.grad(out.square().sum(), x, retain_graph=True)
        rows.append(gradient.abs().sum((0, 2)) > 0)
    return torch.stack(rows).cpu()
    # --8<-- [end:sees]


# --8<-- [start:delayed]
def delayed(lstm, x, k):
    """A one-directional net whose answer for step t comes at step t + k."""
    waiting = nn.functional.pad(x, (0, 0, 0, k))  # k more steps of zeros
    return lstm(waiting)[0][:, k:]
    # --8<-- [end:delayed]


# %%
torch.manual_seed(0)
T = 7
model = BiLSTM(3, 5).double().to(DEVICE)
x = torch.randn(2, T, 3).double().to(DEVICE)
panels = {
    r"$\rightarrow$": sees(lambda x: model(x)[0][:, :, :5], x),
    r"$\leftarrow$": sees(lambda x: model(x)[0][:, :, 5:], x),
    "BiLSTM": sees(lambda x: model(x)[0], x),
    r"$\rightarrow$, 3": sees(lambda x: delayed(model.forth, x, 3), x),
}
forward_sees, backward_sees, both_see, delayed_sees = panels.values()
lower = torch.ones(T, T, dtype=torch.bool).tril()
assert torch.equal(forward_sees, lower), "the forward half was to be a lower triangle"
assert torch.equal(backward_sees, lower.mT), "the backward half an upper one"
assert both_see.all(), "both halves together were to see everything"
three_ahead = torch.ones(T, T, dtype=torch.bool).tril(3)
assert torch.equal(delayed_sees, three_ahead), "who waits 3 steps was to see 3 ahead"
zeros_forward = int((~forward_sees).sum())
zeros_backward = int((~backward_sees).sum())
print(f"exact zeros of {T * T}: forward {zeros_forward}, backward {zeros_backward}")

# %%
fig, axes = plt.subplots(1, 4, figsize=(6.4, 2.0))
for ax, (name, seen), one in zip(axes, panels.items(), ("C0", "C1", None, "C0")):
    dots = {}  # colour: their (s, t)
    for t, s in seen.nonzero().tolist():
        colour = one or ("black" if s == t else "C0" if s < t else "C1")
        dots.setdefault(colour, []).append((s + 1, t + 1))
    for colour, where in dots.items():
        ax.plot(*zip(*where), "o", ms=4.5, color=colour, mec="none")
    ax.set(xlim=(0.3, T + 0.7), ylim=(T + 0.7, 0.3), aspect="equal", xlabel="s")
    ax.set_xticks([1, T])
    ax.set_yticks([1, T])
    ax.set_title(name)
axes[0].set_ylabel("t", rotation=0)
fig.savefig("sees.svg")

# %% [markdown] lang="zh"
# ## 未来有用，但要在哪里相遇
#
# 随机的 0 和 1，$T = 12$。第一题 $y^t = x^t \oplus x^{t+3}$，只问未来和现在。第二题 $y^t = x^{t-1} \oplus x^{t+1}$，一边要一个。没有答案的几步不计分。模型都是 LSTM，输出宽度都是 32：单向的宽 32，双向的每个方向宽 16，所以单向的参数**更多**。初始化用默认：要记的只有几步，默认够用，学会的那几行就是证明。读出层是线性的；“隐藏层”一行换成一个 ReLU 隐藏层。等 $k$ 步的，先看 $k$ 个零再作答。
#
# 一倍预算 200 步；没有过 0.99 的，再走到三倍。Adam，学习率 1e-2。任务、读出层和学习率在编号 100 以上的种子上试定；步数和长度后来在 0–4 上跑过之后又减过，只为省时间。
# %% [markdown] lang="en"
# ## The future helps, but where do the halves meet
#
# Random bits, $T = 12$. First task, $y^t = x^t \oplus x^{t+3}$: the present and the
# future. Second task, $y^t = x^{t-1} \oplus x^{t+1}$: one from each side. Steps
# without an answer are not scored. All models are LSTMs whose output has width 32:
# one direction is 32 wide, each of two directions 16, so the one-directional nets have
# **more** parameters. The initialisation is the default: only a few steps have to be
# kept, for which it is enough, as the rows that learn show. The readout is linear; in
# the rows "hidden" it has one hidden ReLU layer. A net that waits $k$ steps sees $k$
# zeros before it has to answer.
#
# One budget is 200 steps; what is not above 0.99 by then goes on to three times that.
# Adam, learning rate 1e-2. Tasks, readouts and learning rate were settled on seeds from
# 100 on; steps and lengths were cut once more after runs on 0–4, only to save time.

# %%
LENGTH, WIDTH, STEPS = 12, 32, 200


def bits(batch_size, past, ahead, generator):
    """Bits, and the XOR of the one `past` steps back with the one `ahead`."""
    x, y = meeting(batch_size, LENGTH, past + ahead, generator)
    return x.to(DEVICE), y.roll(past, 1).to(DEVICE)


# %%
class Tagger(nn.Module):
    def __init__(self, kind, hidden=False, wait=0):
        super().__init__()
        self.kind, self.wait = kind, wait
        both = kind == "both"
        lstm = nn.LSTM(1, WIDTH, batch_first=True)
        self.lstm = BiLSTM(1, WIDTH // 2) if both else lstm
        layer = [nn.Linear(WIDTH, WIDTH), nn.ReLU()] if hidden else []
        self.readout = nn.Sequential(*layer, nn.Linear(WIDTH, 2))

    def forward(self, x):
        if self.kind == "back":
            return self.readout(self.lstm(x.flip(1))[0].flip(1))
        return self.readout(delayed(self.lstm, x, self.wait))


# %%
def accuracy(model, past, ahead, seed):
    x, y = bits(1000, past, ahead, torch.Generator().manual_seed(1000 + seed))
    with torch.no_grad():
        return (model(x).argmax(2) == y)[y != -100].float().mean().item()


def train(seed, past, ahead, **kind):
    """Accuracy after one budget and, where that was not enough, after three."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = Tagger(**kind).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(1, 3 * STEPS + 1):
        x, y = bits(32, past, ahead, generator)
        loss = nn.functional.cross_entropy(model(x).mT, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step == STEPS:
            short = accuracy(model, past, ahead, seed)
            if short > 0.99:
                return short, short
    return short, accuracy(model, past, ahead, seed)


# %%
ROWS = {  # name: (past, ahead), model
    "future_forward": ((0, 3), {"kind": "forth"}),
    "future_backward": ((0, 3), {"kind": "back"}),
    "future_both": ((0, 3), {"kind": "both"}),
    "future_wait": ((0, 3), {"kind": "forth", "wait": 3}),
    "sides_forward": ((1, 1), {"kind": "forth"}),
    "sides_backward": ((1, 1), {"kind": "back"}),
    "sides_both": ((1, 1), {"kind": "both"}),
    "sides_hidden": ((1, 1), {"kind": "both", "hidden": True}),
    "sides_wait": ((1, 1), {"kind": "forth", "wait": 1}),
    "long_wait": ((0, 3), {"kind": "forth", "wait": 6}),
}
rows = {n: [train(s, *task, **kind) for s in SEEDS] for n, (task, kind) in ROWS.items()}
for name, runs in rows.items():
    print(f"{name:16s}", "  ".join(f"{a:.3f} {b:.3f}" for a, b in runs))


# %%
def low(name, budget):
    return span(run[budget] for run in rows[name])[0]


def high(name, budget):
    return span(run[budget] for run in rows[name])[1]


for name in ("future_forward", "sides_forward", "sides_backward"):
    assert max(high(name, 0), high(name, 1)) < 0.55, f"{name}: chance expected"
assert max(high("sides_both", 0), high("sides_both", 1)) < 0.76, "the theorem"
for name in ("future_backward", "future_both", "future_wait", "sides_hidden"):
    assert low(name, 1) > 0.99, f"{name} was to learn it"
assert low("sides_wait", 1) > 0.99, "who waits one step was to learn it"
long_wait_solved = sum(run[1] > 0.99 for run in rows["long_wait"])


def parameters(**kind):
    return sum(p.numel() for p in Tagger(**kind).parameters())


one_parameters, both_parameters = parameters(kind="forth"), parameters(kind="both")
assert one_parameters > both_parameters, "one direction was to have more parameters"

helps = low("future_both", 1) > 0.99 and high("future_forward", 1) < 0.55
claim_future = verdict(helps and not forward_sees.triu(1).any())

# %% [markdown] lang="zh"
# ## `out[:, -1]` 的代价
#
# 第一步给一个符号（8 种），随后 29 步都是标准差 0.1 的噪声，最后问是哪一个。同一个双向 LSTM，宽度 16，只差从哪里读：`out[:, -1]`，还是 `h_n` 的两半。反向的一半最后才读到第一步，所以对它来说这题很近，对正向的一半则很远。两种初始化：默认；为这个滞后配好的（遗忘门偏置 5，输入门偏置 −5）。120 步；没过 0.99 的走到 360 步。
#
# 最后不训练，只数一数：从 `out[:, -1]` 出发，反向的一半有多少参数的梯度恰好为零。
# %% [markdown] lang="en"
# ## What `out[:, -1]` costs
#
# The first step shows one of 8 symbols, then come 29 steps of noise of standard
# deviation 0.1, and at the end: which symbol was it? One bidirectional LSTM of width
# 16, read in two places: `out[:, -1]`, or the two halves of `h_n`. The backward half
# reads the first step last, so for it the question is near; for the forward half it
# is far. Two initialisations: the default, and one fitted to the lag (forget bias 5,
# input bias −5). 120 steps; what is not above 0.99 goes on to 360.
#
# At last, without training, count: starting from `out[:, -1]`, how many parameters of
# the backward half have a gradient of exactly zero?

# %%
FAR, SHORT, CHECK = 30, 120, 12


def first(batch_size, generator):
    return [a.to(DEVICE) for a in recall(batch_size, FAR, 0.1, generator)]


def read(model, readout, x, place):
    out, (h, _) = model(x)
    return readout(out[:, -1] if place == "out" else torch.cat((h[0], h[1]), 1))


def accuracy_read(model, readout, x, y, place):
    with torch.no_grad():
        right = read(model, readout, x, place).argmax(1) == y
    return right.float().mean().item()


# %%
def classify(seed, place, fitted):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model, readout = BiLSTM(9, 16).to(DEVICE), nn.Linear(32, 8).to(DEVICE)
    for half in (model.forth, model.back) if fitted else ():
        nn.init.constant_(half.bias_ih_l0[:16], -5.0)
        nn.init.constant_(half.bias_ih_l0[16:32], 5.0)
        nn.init.zeros_(half.bias_hh_l0[:32])
    optimizer = torch.optim.Adam([*model.parameters(), *readout.parameters()], lr=1e-2)
    held_out = first(500, torch.Generator().manual_seed(1000 + seed))
    curve = []
    for step in range(1, 3 * SHORT + 1):
        x, y = first(32, generator)
        loss = nn.functional.cross_entropy(read(model, readout, x, place), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % CHECK == 0:
            curve.append(accuracy_read(model, readout, *held_out, place))
        if step == SHORT and curve[-1] > 0.99:
            break
    return curve


# %%
PLACES = {
    "state_default": ("h_n", False),
    "out_default": ("out", False),
    "state_fitted": ("h_n", True),
    "out_fitted": ("out", True),
}
places = {name: [classify(s, *p) for s in SEEDS] for name, p in PLACES.items()}
for name, runs in places.items():
    both = ((curve[SHORT // CHECK - 1], curve[-1]) for curve in runs)
    print(f"{name:14s}", "  ".join(f"{short:.3f} {long:.3f}" for short, long in both))


# %%
def placed_short(name):
    return span(curve[SHORT // CHECK - 1] for curve in places[name])


def placed_long(name):
    return span(curve[-1] for curve in places[name])


for name in ("state_default", "state_fitted"):
    assert placed_long(name)[0] > 0.99, f"{name} was to learn it"
assert placed_long("out_default")[1] < 0.3, "the forward half was not to get so far"
assert placed_long("out_fitted")[0] > 0.95, "fitted to the lag, it was"


# %%
def dead(place):
    """How many parameters of the backward half have a gradient of exactly 0."""
    torch.manual_seed(0)
    model, readout = BiLSTM(9, 16).to(DEVICE), nn.Linear(32, 8).to(DEVICE)
    x = torch.randn(32, FAR, 9).to(DEVICE)
    read(model, readout, x, place).square().sum().backward()
    return sum((p.grad == 0).sum().item() for p in model.back.parameters())


back_parameters = sum(p.numel() for p in BiLSTM(9, 16).back.parameters())
dead_out, dead_state = dead("out"), dead("h_n")
print(f"backward half, of {back_parameters}: out {dead_out}, h_n {dead_state}")
# all of weight_hh, and in the other three tensors the rows of the forget gate
assert dead_out == 4 * 16 * 16 + 16 * (9 + 1 + 1) and dead_state == 0

# %%
fig, ax = plt.subplots()
for name, colour, style, label in [
    ("state_default", "C2", "-", "h_n"),
    ("out_fitted", "C1", "--", "out[:, -1], b = 5"),
    ("out_default", "C3", "-", "out[:, -1]"),
]:
    for seed, curve in enumerate(places[name]):
        at = range(CHECK, CHECK * len(curve) + 1, CHECK)
        ax.plot(at, curve, style, color=colour, lw=1.3, label="" if seed else label)
ax.axhline(1 / 8, color="gray", ls=":", lw=1)
ax.axvline(SHORT, color="lightgray", ls="--", lw=1)
ax.set(xlim=(0, 3 * SHORT), ylim=(0, 1.03))
ax.set_xticks([0, SHORT, 3 * SHORT])
ax.legend(loc="center right")
fig.savefig("places.svg")

# %% [markdown] lang="zh"
# ## 填充
#
# 同一句话，10 步，独自一批，或者与一句 40 步的装在一批，右边补 30 步零。不打包，两次的输出差多少？正向、反向分开看，反向再看最后一个真实的步和第一步。打包之后呢？
# %% [markdown] lang="en"
# ## Padding
#
# One sentence of 10 steps, alone in its batch, or in a batch with one of 40 steps and
# so padded with 30 steps of zeros on the right. How far apart are the outputs when the
# batch is not packed? Look at the directions one by one, at the backward one at its
# last real step and at its first. And when it is packed?

# %%
padding = []
for seed in SEEDS:
    torch.manual_seed(seed)
    twin = nn.LSTM(3, 16, batch_first=True, bidirectional=True).double().to(DEVICE)
    x = torch.randn(2, 40, 3).double().to(DEVICE)
    x[0, 10:] = 0
    with torch.no_grad():
        alone, (h_alone, _) = twin(x[:1, :10])
        together, (h_together, _) = twin(x)
        packed, (h_packed, _) = twin(
            pack_padded_sequence(x, torch.tensor([10, 40]), True, False)
        )
        unpacked, _ = pad_packed_sequence(packed, batch_first=True)
    change = (together[0, :10] - alone[0]).abs()
    repaired = (unpacked[0, :10] - alone[0]).abs().max()
    state = (h_packed[:, 0] - h_alone[:, 0]).abs().max()
    padding.append(
        {
            "forward": change[:, :16].max().item(),
            "last": change[-1, 16:].max().item(),
            "first": change[0, 16:].max().item(),
            "state": (h_together[0, 0] - h_alone[0, 0]).abs().max().item(),
            "packed": max(repaired, state).item(),
        }
    )

# %%
padded = {key: [found[key] for found in padding] for key in padding[0]}
for key, found in padded.items():
    print(f"{key:8s}", " ".join(f"{value:.1e}" for value in found))
assert max(padded["forward"]) < 1e-12, "padding was not to reach the forward outputs"
assert max(padded["packed"]) < 1e-12, "packed, nothing was to change"
assert min(padded["last"]) > 0.02, "the backward half was to be spoilt at the end"
assert min(padded["state"]) > 0.02, "so was the last state of the forward half"
fades = all(a < b / 5 for a, b in zip(padded["first"], padded["last"]))
assert fades, "the backward half was to forget the padding by the first step"

# %% [markdown] lang="zh"
# 打包的写法，页面折叠处用的就是这一段。
# %% [markdown] lang="en"
# How to pack; the folded section of the page shows this.

# %%
# --8<-- [start:packing]
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

torch.manual_seed(0)
lstm = nn.LSTM(3, 5, batch_first=True, bidirectional=True).double()
x, lengths = torch.randn(2, 6, 3).double(), torch.tensor([4, 6])
x[0, 4:] = 0  # padding on the right
alone, (h_alone, _) = lstm(x[:1, :4])  # what is right

out, (h, _) = lstm(x)
assert torch.allclose(out[0, :4, :5], alone[0, :, :5])  # forward: untouched
assert not torch.allclose(out[0, :4, 5:], alone[0, :, 5:])  # backward: spoilt
assert not torch.allclose(h[0, 0], h_alone[0, 0])  # forward ran on over zeros

packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
packed, (h, _) = lstm(packed)
out, _ = pad_packed_sequence(packed, batch_first=True)
assert torch.allclose(out[0, :4], alone[0])
assert torch.allclose(h[:, 0], h_alone[:, 0])
assert (out[0, -1] == 0).all()  # out[:, -1] of a short sentence is padding
# --8<-- [end:packing]

# %% [markdown] lang="zh"
# ## 练习的答案
# %% [markdown] lang="en"
# ## Answers to the exercises


# %%
# --8<-- [start:exercise-1]
def flip_within(x, lengths):
    """Turn each sequence round, and leave its padding where it is."""
    t = torch.arange(x.shape[1])
    index = lengths[:, None] - 1 - t  # below 0: padding
    index = torch.where(index < 0, t, index)
    return x[torch.arange(len(x))[:, None], index]


model = halves(lstm)
future = flip_within(model.back.double()(flip_within(x, lengths))[0], lengths)
assert torch.allclose(future[0, :4], alone[0, :, 5:])
assert torch.allclose(future[1], lstm(x)[0][1, :, 5:])
# --8<-- [end:exercise-1]

# %%
# --8<-- [start:exercise-2]
torch.manual_seed(0)
forth, x = nn.LSTM(1, 5, batch_first=True), meeting(1, 8, 3, torch.Generator())[0]
for k in (0, 2, 3, 7):
    seen = sees(lambda x, k=k: delayed(forth, x, k), x)
    assert torch.equal(seen, torch.ones(8, 8).tril(k).bool())
assert seen.all()  # k = T - 1: all has been read before the first answer

other = x.clone()
other[0, 5] = 1 - x[0, 5]  # another bit three steps after the third
assert torch.equal(delayed(forth, x, 2)[0, 2], delayed(forth, other, 2)[0, 2])
assert not torch.equal(delayed(forth, x, 3)[0, 2], delayed(forth, other, 3)[0, 2])
# --8<-- [end:exercise-2]


# %%
# --8<-- [start:exercise-3]
def next_bit(seed, both):
    """Guess the next toss of a coin: as it was trained, and from a prefix."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    rnn = BiLSTM(1, 8) if both else nn.LSTM(1, 16, batch_first=True)
    readout = nn.Linear(16, 2)
    optimizer = torch.optim.Adam([*rnn.parameters(), *readout.parameters()], lr=1e-2)
    for step in range(101):
        bits = torch.randint(2, (1000 if step == 100 else 32, 13), generator=generator)
        x, y = bits[:, :-1, None].float(), bits[:, 1:]
        # both directions: the answer to step t is the input of step t + 1
        logits = readout(rnn(x)[0])[:, :-1]
        loss = nn.functional.cross_entropy(logits.mT, y[:, :-1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    trained = (logits.argmax(2) == y[:, :-1]).float().mean().item()
    prefix = readout(rnn(x)[0][:, -1]).argmax(1)  # nothing after it has been read
    return trained, (prefix == y[:, -1]).float().mean().item()


cheating, honest = (
    [next_bit(seed, both) for seed in range(5)] for both in (True, False)
)
assert min(trained for trained, _ in cheating) > 0.99  # nobody can foresee a coin
assert all(0.4 < prefix < 0.6 for _, prefix in cheating)
assert all(0.4 < trained < 0.6 for trained, _ in honest)
# --8<-- [end:exercise-3]
print("both", cheating)
print("one ", honest)


# %%
# --8<-- [start:exercise-4]
def without_self(out, H):
    """What was read before t, and what after it, but not t itself."""
    past = nn.functional.pad(out[:, :-1, :H], (0, 0, 1, 0))
    future = nn.functional.pad(out[:, 1:, H:], (0, 0, 0, 1))
    return torch.cat((past, future), 2)


torch.manual_seed(0)
one, two = BiLSTM(3, 5).double(), BiLSTM(10, 5).double()
x = torch.randn(2, 6, 3).double()
itself = torch.eye(6).bool()

seen = sees(lambda x: without_self(one(x)[0], 5), x)
assert torch.equal(seen, ~itself)  # all but itself

seen = sees(lambda x: without_self(two(without_self(one(x)[0], 5))[0], 5), x)
assert seen.all()  # by way of a neighbour it sees itself again
# --8<-- [end:exercise-4]

# %%
# --8<-- [start:exercise-5]
torch.manual_seed(0)
lstm = nn.LSTM(3, 5, num_layers=2, batch_first=True, bidirectional=True)
out, (h_n, _) = lstm(torch.randn(4, 7, 3))
assert h_n.shape == (2 * 2, 4, 5)

by_layer = h_n.unflatten(0, (2, 2))  # layer, direction
forth, back = by_layer[-1]  # of the last layer
assert torch.equal(forth, out[:, -1, :5])
assert torch.equal(back, out[:, 0, 5:])

whole = torch.cat((forth, back), 1)  # (B, 2H): one vector for a sequence
assert not torch.allclose(h_n[-2:].reshape(4, 10), whole)  # mixes examples
# --8<-- [end:exercise-5]

# %%
results = {
    "n": len(SEEDS),
    "torch_gap": torch_gap,
    "zeros_forward": zeros_forward,
    "zeros_backward": zeros_backward,
    "short": STEPS,
    "long": 3 * STEPS,
    "one_parameters": one_parameters,
    "both_parameters": both_parameters,
    "future_forward_short_low": low("future_forward", 0),
    "future_forward_short_high": high("future_forward", 0),
    "future_forward_long_low": low("future_forward", 1),
    "future_forward_long_high": high("future_forward", 1),
    "future_backward_long_low": low("future_backward", 1),
    "future_both_long_low": low("future_both", 1),
    "future_wait_long_low": low("future_wait", 1),
    "sides_forward_short_low": low("sides_forward", 0),
    "sides_forward_short_high": high("sides_forward", 0),
    "sides_forward_long_low": low("sides_forward", 1),
    "sides_forward_long_high": high("sides_forward", 1),
    "sides_backward_short_low": low("sides_backward", 0),
    "sides_backward_short_high": high("sides_backward", 0),
    "sides_backward_long_low": low("sides_backward", 1),
    "sides_backward_long_high": high("sides_backward", 1),
    "sides_both_short_low": low("sides_both", 0),
    "sides_both_short_high": high("sides_both", 0),
    "sides_both_long_low": low("sides_both", 1),
    "sides_both_long_high": high("sides_both", 1),
    "sides_hidden_long_low": low("sides_hidden", 1),
    "sides_wait_long_low": low("sides_wait", 1),
    "long_wait_solved": long_wait_solved,
    "claim_future": claim_future,
}

# %%
results = results | {
    "places_short": SHORT,
    "places_long": 3 * SHORT,
    "state_default_short_low": placed_short("state_default")[0],
    "state_default_long_low": placed_long("state_default")[0],
    "out_default_short_low": placed_short("out_default")[0],
    "out_default_short_high": placed_short("out_default")[1],
    "out_default_long_low": placed_long("out_default")[0],
    "out_default_long_high": placed_long("out_default")[1],
    "state_fitted_short_low": placed_short("state_fitted")[0],
    "state_fitted_long_low": placed_long("state_fitted")[0],
    "out_fitted_short_low": placed_short("out_fitted")[0],
    "out_fitted_short_high": placed_short("out_fitted")[1],
    "out_fitted_long_low": placed_long("out_fitted")[0],
    "out_fitted_long_high": placed_long("out_fitted")[1],
    "back_parameters": back_parameters,
    "dead_out": dead_out,
    "padding_last_low": min(padded["last"]),
    "padding_last_high": max(padded["last"]),
    "padding_first_high": max(padded["first"]),
    "padding_state_low": min(padded["state"]),
    "padding_state_high": max(padded["state"]),
    "padding_packed": max(padded["packed"]),
    "cheating": min(trained for trained, _ in cheating),
    "cheating_prefix_low": min(prefix for _, prefix in cheating),
    "cheating_prefix_high": max(prefix for _, prefix in cheating),
    "honest_low": min(trained for trained, _ in honest),
    "honest_high": max(trained for trained, _ in honest),
}
