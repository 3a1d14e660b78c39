# %% [markdown] lang="zh"
# # 实验：开始之前
#
# 这里是[开始之前](../../start/)一页用到的全部计算：softmax 和交叉熵、两步的链式法则、一个完整的训练循环。任务是认出手写数字，模型只有一个线性层。
# %% [markdown] lang="en"
# # Lab: before you begin
#
# Everything that the page [Before you begin](../../start/) computes: softmax and cross-entropy, the chain rule on two steps, and one training loop in full. The task is to recognise handwritten digits, and the model is a single linear layer.

# %%
import math
import os

import matplotlib.pyplot as plt

# --8<-- [start:imports]
import torch
from sklearn.datasets import load_digits
from torch import nn

# --8<-- [end:imports]

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import mean, span

# %% [markdown] lang="zh"
# ## softmax 与交叉熵
#
# 三个分数是 2、1、0，正确的类别是第 0 类。照定义写一遍，再与 torch 自己的函数比较。
# %% [markdown] lang="en"
# ## Softmax and cross-entropy
#
# Three scores, 2, 1 and 0, and the right class is class 0. Written out by the definition, then compared with torch's own functions.

# %%
scores = torch.tensor([2.0, 1.0, 0.0], requires_grad=True)
# --8<-- [start:softmax]
shares = scores.exp() / scores.exp().sum()  # (3,), they add up to 1
loss = -shares[0].log()  # cross-entropy: the right class is class 0
# --8<-- [end:softmax]
loss.backward()
assert torch.allclose(shares, scores.softmax(0))
assert torch.allclose(loss, nn.functional.cross_entropy(scores, torch.tensor(0)))
wanted = shares.detach() - torch.tensor([1.0, 0.0, 0.0])
assert torch.allclose(scores.grad, wanted), "the gradient is shares minus truth"
p, softmax_loss = shares.tolist(), loss.item()
print("shares", [f"{share:.3f}" for share in p], f"loss {softmax_loss:.3f}")

# %% [markdown] lang="zh"
# ## 链式法则
#
# $h^1 = w x$，$h^2 = w h^1$，$L = \frac{1}{2}(h^2 - y)^2$，其中 $w = 0.5$，$x = y = 1$。从后往前手算，再让 torch 自己求一遍。
# %% [markdown] lang="en"
# ## The chain rule
#
# $h^1 = w x$, $h^2 = w h^1$, $L = \frac{1}{2}(h^2 - y)^2$, with $w = 0.5$ and $x = y = 1$. By hand from the end to the beginning, and then by torch itself.

# %%
# --8<-- [start:chain]
w = torch.tensor(0.5, requires_grad=True)
x, y = 1.0, 1.0
h1 = w * x  # 0.5
h2 = w * h1  # 0.25
loss = (h2 - y) ** 2 / 2

d_h2 = h2 - y  # dL/dh2 = -0.75
d_h1 = d_h2 * w  # dL/dh1 = -0.375: one step back, one more factor w
d_w = d_h2 * h1 + d_h1 * x  # w was used twice, so its gradient is a sum

loss.backward()
assert torch.isclose(w.grad, d_w)  # -0.75
# --8<-- [end:chain]
chain = {"loss": loss.item(), "d_h2": d_h2.item(), "d_h1": d_h1.item()}
chain["d_w"] = w.grad.item()
print(chain)

# %% [markdown] lang="zh"
# ## 数据
#
# scikit-learn 自带 1797 张手写数字，每张是 $8 \times 8$ 个灰度，摊平成 64 个数。每个种子各自随机分成训练用的 1437 张和测试用的 360 张。
# %% [markdown] lang="en"
# ## The data
#
# Scikit-learn brings 1797 handwritten digits along, each of $8 \times 8$ shades of grey, flattened to 64 numbers. Each seed has a random split of its own into 1437 images to train on and 360 to test on.


# %%
# --8<-- [start:data]
def split(seed):
    """Draw images and labels to train on, (1437, 64) and (1437,), and to test on."""
    digits = load_digits()
    images = torch.tensor(digits.data / 16, dtype=torch.float32)  # grey from 0 to 1
    labels = torch.tensor(digits.target)
    generator = torch.Generator().manual_seed(1000 + seed)
    order = torch.randperm(len(images), generator=generator)
    train, test = order[:1437], order[1437:]
    return images[train], labels[train], images[test], labels[test]
    # --8<-- [end:data]


DATA = [[a.to(DEVICE) for a in split(seed)] for seed in SEEDS]


# %% [markdown] lang="zh"
# ## 训练
# %% [markdown] lang="en"
# ## Training


# %%
# --8<-- [start:loop]
def train(x, y, seed, rate=1e-2, clear=True, epochs=20):
    """Train one linear layer on images x, (N, 64), and their labels y, (N,)."""
    torch.manual_seed(seed)  # the same seed, the same run
    model = nn.Linear(64, 10).to(x.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for _ in range(epochs):  # an epoch reads all the data once
        for batch in torch.randperm(len(x)).split(64):  # a batch: 64 images
            scores = model(x[batch])  # (B, 10)
            loss = nn.functional.cross_entropy(scores, y[batch])
            if clear:
                optimizer.zero_grad()  # forget the gradient of the last update
            loss.backward()  # the chain rule, from the loss to every weight
            optimizer.step()  # one update
            losses.append(loss.item())
    return model, losses


def accuracy(model, x, y):
    """The share of images whose largest score is that of their label."""
    with torch.no_grad():  # nothing is learnt here, so keep no graph
        return (model(x).argmax(1) == y).float().mean().item()
        # --8<-- [end:loop]


# %%
losses, tested, trained = [], [], []
for seed, (x_train, y_train, x_test, y_test) in zip(SEEDS, DATA):
    model, found = train(x_train, y_train, seed)
    losses.append(found)
    trained.append(accuracy(model, x_train, y_train))
    tested.append(accuracy(model, x_test, y_test))
    print(f"seed {seed}: train {trained[-1]:.3f}, test {tested[-1]:.3f}")
first = [found[0] for found in losses]
updates = len(losses[0]) // 20  # of an epoch
usual = [mean(found[-updates:]) for found in losses]  # loss of the last epoch
assert min(tested) > 0.93, "a linear layer reads the digits"
assert max(abs(loss - math.log(10)) for loss in first) < 0.5, "it starts by guessing"

# %% [markdown] lang="zh"
# ## 练习 2 和 3：学习率大一千倍，以及忘了 `zero_grad`
# %% [markdown] lang="en"
# ## Exercises 2 and 3: a rate a thousand times larger, and `zero_grad` forgotten


# %%
def variant(**change):
    """Loss of the last epoch and test accuracy, seed by seed."""
    ends, right = [], []
    for seed, (x_train, y_train, x_test, y_test) in zip(SEEDS, DATA):
        model, found = train(x_train, y_train, seed, **change)
        ends.append(mean(found[-updates:]))
        right.append(accuracy(model, x_test, y_test))
    return ends, right


# --8<-- [start:exercise-2]
large, large_right = variant(rate=10.0)
assert min(large) > 5 * max(usual), "the loss is much larger at every seed"
assert min(large_right) > 0.9, "and yet most answers are right"
# --8<-- [end:exercise-2]
print("loss at the large rate", [f"{end:.1f}" for end in large], large_right)

# %%
# --8<-- [start:exercise-3]
kept, kept_right = variant(clear=False)
assert min(kept) > 5 * max(usual), "old gradients push the weights too far"
# --8<-- [end:exercise-3]
print("loss without zero_grad", [f"{end:.2f}" for end in kept], kept_right)

# %%
fig, ax = plt.subplots(figsize=(6.4, 3))
for seed, found in zip(SEEDS, losses):
    ax.plot(range(1, len(found) + 1), found, color=f"C{seed}", lw=0.8)
ax.axhline(math.log(10), color="gray", ls="--")
ax.set_xlabel("updates")
ax.set_ylabel("cross-entropy")
ax.set_ylim(0, 2.6)
fig.savefig("loss.svg")

# %%
results = {
    "n": len(SEEDS),
    "share_0": p[0],
    "share_1": p[1],
    "share_2": p[2],
    "softmax_loss": softmax_loss,
    "chain_loss": chain["loss"],
    "parameters": sum(p.numel() for p in model.parameters()),
    "updates_all": len(losses[0]),
    "loss_first": mean(first),
    "loss_low": span(usual)[0],
    "loss_high": span(usual)[1],
    "train_low": span(trained)[0],
    "train_high": span(trained)[1],
    "test_low": span(tested)[0],
    "test_high": span(tested)[1],
    "large_low": span(large)[0],
    "large_high": span(large)[1],
    "large_right_low": span(large_right)[0],
    "large_right_high": span(large_right)[1],
    "kept_low": span(kept)[0],
    "kept_high": span(kept)[1],
    "kept_right_low": span(kept_right)[0],
    "kept_right_high": span(kept_right)[1],
}
