# %% [markdown] lang="zh"
# # 实验：Newstem
#
# 一个问题：它学得到该留下多少吗？
# %% [markdown] lang="en"
# # Lab: Newstem
#
# One question: does it learn how much to keep?

# %%
import os

import matplotlib.pyplot as plt
import torch

DEVICE = os.environ.get("LAB_DEVICE", "cpu")

# %%
from snippets.newstem import Newstem, main

SEEDS = range(5)

# %% [markdown] lang="zh"
# ## 训练 {#training}
#
# 五个随机种子，每个 200 步。
# %% [markdown] lang="en"
# ## Training {#training}
#
# Five seeds, 200 steps each.

# %%
curves = [main(seed=seed, device=DEVICE) for seed in SEEDS]
worst = max(curve[-1] for curve in curves)
assert worst < 1e-4, "it must learn"

# %%
fig, ax = plt.subplots()
for curve in curves:
    ax.semilogy(curve, lw=1, color="C0")
ax.set_xlabel(r"$n$")
ax.set_ylabel(r"$L$")
fig.savefig("learning.svg")

# %% [markdown] lang="zh"
# ## 练习 {#exercises}
# %% [markdown] lang="en"
# ## Exercises {#exercises}

# %%
# --8<-- [start:exercise-1]
model = Newstem(1)
x = torch.zeros(1, 3, 1)
x[0, 0] = 1
print(model(x)[0].flatten().tolist())
# --8<-- [end:exercise-1]

# %%
results = {"n": len(SEEDS), "worst": worst}
