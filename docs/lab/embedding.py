# %% [markdown] lang="zh"
# # 实验：词嵌入
#
# 七个问题：独热乘矩阵与查表是一回事吗？学到的向量做得对类比吗？不许排除题目里的词呢？语料里根本没有性别，类比就该做错，真的会错吗？词序和一词多义去哪了？不训练，光数数行不行？换成不是词的对象呢？
# %% [markdown] lang="en"
# # Lab: word embedding
#
# Seven questions: is a one-hot vector times a matrix the same as looking up a row? Do
# the vectors learned solve analogies? And when the words of the question are not
# excluded? Where the corpus has no gender at all, analogies ought to fail: do they?
# Where do order and second meanings go? Is counting enough, without training? And what
# of objects that are no words?

# %%
import math
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn.functional import normalize, one_hot

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import mean, seconds, span, verdict

# %%
from snippets.embedding import SkipGram, analogy, company, neighbours, noise_shares

# %% [markdown] lang="zh"
# ## 独热与查表
#
# 112 个独热向量，两两的距离和夹角；独热乘矩阵与 `nn.Embedding` 查表的值和梯度；词表两万时各要多少乘加、多少时间。
# %% [markdown] lang="en"
# ## One-hot, and looking up
#
# Of 112 one-hot vectors, all distances and cosines; a one-hot vector times a matrix
# against a look-up in `nn.Embedding`, values and gradients; and with a vocabulary of
# 20,000, the multiply–adds and the time of both.

# %%
corners = torch.eye(112, dtype=torch.float64)
apart = torch.pdist(corners)
assert (apart == math.sqrt(2)).all(), "any two corners were to be equally far apart"
assert (corners @ corners.T - corners == 0).all(), "and at right angles"

# %%
torch.manual_seed(0)
table = nn.Embedding(112, 16).to(DEVICE)
ids = torch.randint(112, (64, 5)).to(DEVICE)
weight = torch.randn(64, 5, 16).to(DEVICE)


def value_and_gradient(out):
    table.zero_grad()
    (out * weight).sum().backward()
    return out.detach(), table.weight.grad.clone()


by_row = value_and_gradient(table(ids))
by_product = value_and_gradient(one_hot(ids, 112).float() @ table.weight)
lookup_gap = (by_row[0] - by_product[0]).abs().max().item()
lookup_gradient_gap = (by_row[1] - by_product[1]).abs().max().item()
print(
    f"look-up and product differ by {lookup_gap}, gradients {lookup_gradient_gap:.0e}"
)
assert lookup_gap == 0, "one term of the product is not zero: nothing is rounded"
assert lookup_gradient_gap < 1e-4, "the gradients were to be the same but for rounding"

# %%
WORDS, WIDTH = 20_000, 64
large = nn.Embedding(WORDS, WIDTH).to(DEVICE)
some = torch.randint(WORDS, (256,)).to(DEVICE)
hot_words = one_hot(some, WORDS).float()
with torch.no_grad():
    by_product_time = seconds(lambda: hot_words @ large.weight, DEVICE)
    by_row_time = seconds(lambda: large(some), DEVICE)
lookup_ratio = by_product_time / by_row_time
print(
    f"{WORDS * WIDTH:,} multiply–adds a word, or none; {lookup_ratio:.0f} times as long"
)
assert lookup_ratio > 2, "looking up was to be faster"

# %% [markdown] lang="zh"
# ## 语料
#
# 每句五个词：一个名词，两个它那种角色的词，一个它那种性别的词，一个谁都配的词。名词 16 个，一男一女成对，8 对。语料有一个旋钮，`gendered`：多大一部分句子透露性别，其余的句子在那个位置换成谁都配的词。另有两个对照：**各自为政**，每一对把那 16 个性别词重新分一遍，男女仍有分别，但各对的分法不同；**打乱**，把整个语料的词洗一遍，词频不变，谁和谁同句全凭运气。
# %% [markdown] lang="en"
# ## The corpora
#
# Five words a sentence: a noun, two words of its role, one of its gender, one that goes
# with everything. There are 16 nouns, eight pairs of a man and a woman. One knob,
# `gendered`: the share of sentences that tell the gender; the others have a filler in
# its place. And two controls. **Private**: every pair deals the 16 gender words anew,
# so that the two still differ, but each pair in its own way. **Shuffled**: all the
# words of the corpus are shuffled; counts stay, and who shares a sentence with whom is
# left to luck.

# %%
SENTENCES, VOCABULARY = 10_000, 112


def corpus(kind, generator):
    if kind not in ("private", "shuffled"):
        return company(SENTENCES, generator, kind)
    sentences = company(SENTENCES, generator)
    if kind == "private":
        deal = torch.stack([torch.randperm(16, generator=generator) for _ in range(8)])
        pair, word = sentences[:, 0] // 2, sentences[:, 3] - 80
        sentences[:, 3] = 80 + deal[pair, word]
        return sentences
    order = torch.randperm(sentences.numel(), generator=generator)
    return sentences.flatten()[order].view_as(sentences)


# %%
def train(sentences, size, seed, stops, D=16, window=4, power=0.75):
    """Skip-gram with five noise words; the model's word vectors at each stop."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    counts = sentences.flatten().bincount(minlength=size)
    shares = noise_shares(counts, power)
    word, context = neighbours(sentences, window)
    model = SkipGram(size, D).to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    found = []
    for step in range(max(stops)):
        i = torch.randint(len(word), (1200,), generator=generator)
        noise = torch.multinomial(shares, 6000, True, generator=generator)
        batch = word[i], context[i], noise.view(1200, 5)
        loss = model(*(ids.to(DEVICE) for ids in batch)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step + 1 in stops:
            found.append(model.word.weight.detach().cpu().clone())
    return found, model


# %% [markdown] lang="zh"
# ## 类比：排除题目里的词，或者不排除
#
# 112 道题，形如“男之于女，如国王之于谁”，候选是全部 112 个词。除了两种算分法，还有一个不做加减的基线：离 $c$ 最近的是谁（排除题目里的三个词）。最后量一量各对的差向量彼此有多平行：两两余弦的平均。训练 200 步和 600 步各量一次，学习率相同。
# %% [markdown] lang="en"
# ## Analogies, with and without the words of the question
#
# There are 112 questions such as "man is to woman as king is to whom", and all 112
# words are candidates. Beside the two ways to keep the score there is a baseline that
# does no arithmetic: who is nearest to $c$, the three words of the question excluded?
# And last, how parallel are the differences of the pairs: the mean of their cosines.
# All of it after 200 steps and after 600, at the same learning rate.

# %%
from snippets.embedding import questions

SHARES = [1.0, 0.5, 0.1, 0.0]
STOPS = (200, 600)
a, b, c, wanted = questions()


def rate(answers, right=wanted):
    return (answers == right).float().mean().item()


def measure(vectors):
    unit = normalize(vectors)
    near = (unit[c] @ unit.T).scatter(1, torch.stack((a, b, c), 1), -2.0)
    offsets = normalize(unit[1:16:2] - unit[0:16:2])  # woman less man, and so on
    cosines = offsets @ offsets.T
    plain = analogy(vectors, a, b, c, exclude=False)
    return {
        "excluded": rate(analogy(vectors, a, b, c)),
        "allowed": rate(plain),
        "itself": rate(plain, c),
        "nearest": rate(near.argmax(1)),
        "parallel": ((cosines.sum() - 8) / 56).item(),
    }


# %%
runs, vectors = {}, {}
for kind in [*SHARES, "private", "shuffled"]:
    for seed in SEEDS:
        sentences = corpus(kind, torch.Generator().manual_seed(seed))
        found, model = train(sentences, VOCABULARY, seed, STOPS)
        vectors[kind, seed] = found[-1]
        for stop, table_of_words in zip(STOPS, found):
            runs.setdefault((kind, stop), []).append(measure(table_of_words))
        if kind == 1.0 and seed == 0:
            first_model, first_sentences = model, sentences


# %%
def low(kind, key, stop=STOPS[-1]):
    return span(run[key] for run in runs[kind, stop])[0]


def high(kind, key, stop=STOPS[-1]):
    return span(run[key] for run in runs[kind, stop])[1]


def written(kind, key, stop=STOPS[-1]):
    """From the lowest to the highest, or one number where they look the same."""
    ends = f"{low(kind, key, stop):.2f}", f"{high(kind, key, stop):.2f}"
    return "–".join(dict.fromkeys(ends))


KEYS = ("excluded", "allowed", "itself", "nearest", "parallel")
for kind, stop in runs:
    found = (f"{key} {written(kind, key, stop)}" for key in KEYS)
    print(f"{kind!s:8s} {stop}", *found, sep="  ")

# %%
for stop in STOPS:
    assert low(1.0, "excluded", stop) >= 0.95, "the regular corpus was to be solved"
    assert low(1.0, "allowed", stop) >= 0.9, "even with all words allowed"
    # no gender anywhere, and yet:
    assert low(0.0, "excluded", stop) >= 0.9, "full marks were to need no gender"
    assert low(0.0, "nearest", stop) >= 0.9, "the answer was to be c's neighbour"
    assert high(0.0, "allowed", stop) <= 0.25, "all words allowed, it was to fail"
    assert low(0.0, "itself", stop) >= 0.7, "and to answer c itself"
    assert low(0.0, "parallel", stop) > -0.3, "nothing was to be parallel"
    assert high(0.0, "parallel", stop) < 0.3, "nothing was to be parallel"
    assert high("private", "excluded", stop) < 0.8, "irregular: it was to fall"
    assert high("shuffled", "excluded", stop) < 0.1, "shuffled: nothing was left"
assert low(1.0, "parallel") > 0.8, "the differences were to be parallel"
assert high(1.0, "nearest") < 0.3, "the neighbour alone was not to be enough"
assert high("private", "excluded") < 0.5, "more training does not mend it"
assert high(0.1, "allowed", STOPS[0]) < 0.5 < low(0.1, "allowed"), "in time it learns"

# %%
fig, axes = plt.subplots(1, 2, figsize=(4.8, 3.0), sharey=True)
LINES = {
    "excluded": ("C0", "o", "-", r"$c-a+b$,  $\neq a,b,c$"),
    "nearest": ("gray", "^", "--", r"$c$,  $\neq a,b,c$"),
    "allowed": ("C1", "s", "-", r"$c-a+b$"),
}
for ax, stop in zip(axes, STOPS):
    for key, (colour, marker, style, label) in LINES.items():
        ends = [span(run[key] for run in runs[share, stop]) for share in SHARES]
        middle = [mean(run[key] for run in runs[share, stop]) for share in SHARES]
        places = range(len(SHARES))
        ax.vlines(places, *zip(*ends), color=colour, linewidth=1)
        ax.plot(
            places, middle, color=colour, marker=marker, linestyle=style, label=label
        )
    ax.set_xticks(places, [f"{g:g}" for g in SHARES])
    ax.set(xlabel="g", ylim=(-0.05, 1.05), title=f"{stop}")
entries = axes[0].get_legend_handles_labels()
fig.legend(*entries, ncols=3, loc="upper center", handlelength=1.6, columnspacing=1.2)
fig.tight_layout(rect=(0, 0, 1, 0.92))
fig.savefig("analogies.svg")

# %% [markdown] lang="zh"
# ## 画在平面上
#
# 16 个名词的向量归一后减去平均，用 `torch.linalg.svd` 取前两个主方向。圆是男，三角是女，灰线连着一对；大的两个是国王和王后；叉是 国王 − 男 + 女。
# %% [markdown] lang="en"
# ## In the plane
#
# The vectors of the 16 nouns, at length one, less their mean, on the first two
# principal directions by `torch.linalg.svd`. Circles are men, triangles women, a grey
# line joins a pair; the large two are king and queen; the cross is king − man + woman.


# %%
def in_plane(vectors):
    """Two principal coordinates of the nouns and of the answer, and their share."""
    unit = normalize(vectors)
    points = torch.cat((unit[:16], (unit[2] - unit[0] + unit[1]).unsqueeze(0)))
    middle = points[:16].mean(0)
    _, S, axes = torch.linalg.svd(points[:16] - middle, full_matrices=False)
    share = (S[:2].square().sum() / S.square().sum()).item()
    return ((points - middle) @ axes[:2].T).tolist(), share


# %%
fig, axes = plt.subplots(1, 2, figsize=(4.8, 2.8))
plane_shares = []
for ax, kind in zip(axes, (1.0, 0.0)):
    points, share = in_plane(vectors[kind, 0])
    plane_shares.append(share)
    for i in range(0, 16, 2):
        size = 90 if i == 2 else 28
        ax.plot(*zip(points[i], points[i + 1]), color="gray", linewidth=1.2)
        ax.scatter(*points[i], s=size, color="C0", marker="o", zorder=3)
        ax.scatter(*points[i + 1], s=size, color="C1", marker="^", zorder=3)
    ax.scatter(*points[16], s=70, color="black", marker="x", zorder=4)
    ax.set(title=f"g = {kind:g}", aspect="equal", xticks=[], yticks=[])
    ax.margins(0.12)
    ax.grid(False)
fig.savefig("plane.svg")
print(
    "share of the variance in the plane:", *(f"{share:.2f}" for share in plane_shares)
)

# %% [markdown] lang="zh"
# ## 没有词序，一词一个向量
#
# 窗口盖住整句时，把句子里的词打乱，训练用的词对一个也不变，可以精确地查。再让一个词身兼两义：把最后一种角色的一个词改写成国王那种角色的一个词，看它的向量与两边各有多近。
# %% [markdown] lang="en"
# ## No order, and one vector a word
#
# With a window as wide as the sentence, shuffle the words inside each sentence: not one
# of the pairs to train on changes, which can be checked exactly. Then let one word have
# two meanings: a word of the last role is spelled like one of the king's, and its
# vector's cosines with both companies are taken.


# %%
def pair_counts(sentences, window):
    word, context = neighbours(sentences, window)
    return (VOCABULARY * word + context).bincount(minlength=VOCABULARY**2)


# %%
generator = torch.Generator().manual_seed(0)
sentences = company(SENTENCES, generator)
order = torch.rand(sentences.shape, generator=generator).argsort(1)
inside = sentences.gather(1, order)
order_changes = (pair_counts(sentences, 4) != pair_counts(inside, 4)).sum().item()
print(f"pairs that change with the order inside the sentence: {order_changes}")
assert order_changes == 0, "with a wide window no pair was to change"
narrow_changes = pair_counts(sentences, 1) != pair_counts(inside, 1)
assert narrow_changes.any(), "with a narrow window some were to change"

# %%
senses = []
for seed in SEEDS:
    sentences = company(SENTENCES, torch.Generator().manual_seed(seed))
    sentences[sentences == 72] = 24
    unit = normalize(train(sentences, VOCABULARY, seed, (200,))[0][0])
    both = unit[24]
    others = torch.cat((unit[16:24], unit[32:72]))
    senses.append(
        {
            "one": (unit[25:32] @ both).mean().item(),
            "two": (unit[73:80] @ both).mean().item(),
            "rest": (others @ both).mean().item(),
            "plain": ((unit[25:32] @ unit[25:32].T).sum().item() - 7) / 42,
            "apart": (unit[25:32] @ unit[73:80].T).mean().item(),
        }
    )
sense_ends = {key: span(sense[key] for sense in senses) for key in senses[0]}
for key, (lowest, highest) in sense_ends.items():
    print(f"{key:6s} {lowest:.2f}–{highest:.2f}")
for sense in senses:
    nearer, farther = max(sense["one"], sense["two"]), min(sense["one"], sense["two"])
    assert farther > sense["rest"] + 0.2, "it was to be close to both companies"
    assert nearer < sense["plain"] - 0.05, "but to neither as close as a plain word"

# %% [markdown] lang="zh"
# ## 只数数
#
# 不训练：数词对，取点互信息 $\log \frac{\#(w, c) \cdot n}{\#(w) \cdot \#(c)}$，负的改成 0，奇异值分解取 16 维。再看学到的 $u_c \cdot v_w$ 与 Levy 和 Goldberg 的最优值有多相关（只看出现过的词对）。
# %% [markdown] lang="en"
# ## Counting only
#
# No training: count the pairs, take the pointwise mutual information
# $\log \frac{\#(w, c) \cdot n}{\#(w) \cdot \#(c)}$, set what is negative to 0, and keep
# 16 dimensions of the singular value decomposition. Then compare the $u_c \cdot v_w$
# that were learned with the optimum of Levy and Goldberg, for pairs that occur.


# %%
def counted(sentences):
    return pair_counts(sentences, 4).view(VOCABULARY, VOCABULARY).double()


def by_counting(sentences, D=16):
    n = counted(sentences)
    pmi = (n * n.sum() / n.sum(1, keepdim=True) / n.sum(0)).log().clamp(min=0)
    U, S, _ = torch.linalg.svd(pmi)
    return U[:, :D] * S[:D].sqrt()


counting = []
for seed in SEEDS:
    sentences = corpus(1.0, torch.Generator().manual_seed(seed))
    counting.append(measure(by_counting(sentences)))
for key in ("excluded", "allowed"):
    print(key, *(f"{run[key]:.2f}" for run in counting))
    assert min(run[key] for run in counting) >= 0.95, "counting was to be enough"

# %%
n = counted(first_sentences)
shares = noise_shares(first_sentences.flatten().bincount())
optimum = (n / n.sum(1, keepdim=True) / (5 * shares)).log()
seen = n > 0
learned = (first_model.word.weight @ first_model.context.weight.T).detach().cpu()
learned = learned.double()
correlation = torch.corrcoef(torch.stack((optimum[seen], learned[seen])))[0, 1].item()
unseen = learned[~seen].mean().item()
seen_mean = learned[seen].mean().item()
print(f"correlation {correlation:.2f}; seen {seen_mean:.2f}, never seen {unseen:.2f}")
assert correlation > 0.6, "what was learned was to follow the optimum"
assert unseen < seen_mean - 2, "pairs never seen were to score lower"

# %% [markdown] lang="zh"
# ## 四分之三次方
#
# 让角色有冷有热：第 $r$ 种角色的句子只留下 $r^{-1.5}$。噪声按词频的 0 次、¾ 次、1 次方抽，最冷的角色词各占多少？类比做得怎样？
# %% [markdown] lang="en"
# ## The power of three quarters
#
# Let some roles be rare: of the sentences of role $r$ only $r^{-1.5}$ are kept. Noise is
# drawn by the counts to the power 0, ¾ and 1: what is the share of the rarest role's
# words, and how do the analogies fare?


# %%
def skewed(seed):
    generator = torch.Generator().manual_seed(seed)
    sentences = company(4 * SENTENCES, generator)
    role = 1.0 + sentences[:, 0] // 2
    return sentences[torch.rand(len(role), generator=generator) < role**-1.5]


word_counts = skewed(0).flatten().bincount()
powers = {}
for power in (0.0, 0.75, 1.0):
    shares = noise_shares(word_counts, power)
    ratio = (shares[16:24].mean() / shares[72:80].mean()).item()
    right = [
        measure(train(skewed(seed), VOCABULARY, seed, (200,), power=power)[0][0])
        for seed in SEEDS
    ]
    powers[power] = ratio, min(r["excluded"] for r in right)
    print(f"{power}: {ratio:5.1f} to 1, analogies {powers[power][1]:.2f} at least")
assert powers[0.0][0] == 1, "at the power 0 all words were to be drawn alike"
assert 2 < powers[0.75][0] < powers[1.0][0], "three quarters were to lie between"

# %% [markdown] lang="zh"
# ## 不是词的对象
#
# 环线上 24 个站，“句子”是来回走的 8 步。模型只看见站号，不知道有环。每个站的两个最近邻，是不是它左右的两站？
# %% [markdown] lang="en"
# ## Objects that are no words
#
# A circle line of 24 stations; a "sentence" is a ride of 8 stops to and fro. The model
# sees numbers of stations and knows of no circle. Are the two nearest of every station
# the stations on its left and right?

# %%
STATIONS = 24


def rides(count, generator):
    start = torch.randint(STATIONS, (count, 1), generator=generator)
    turns = 2 * torch.randint(2, (count, 7), generator=generator) - 1
    return torch.cat((start, start + turns.cumsum(1)), 1) % STATIONS


ring = []
for seed in SEEDS:
    lines = rides(4000, torch.Generator().manual_seed(seed))
    unit = normalize(train(lines, STATIONS, seed, (200,), D=8, window=2)[0][0])
    nearest = (unit @ unit.T - 2 * torch.eye(STATIONS)).topk(2).indices
    gaps = (nearest - torch.arange(STATIONS).unsqueeze(1)) % STATIONS
    ring.append(((gaps == 1) | (gaps == STATIONS - 1)).float().mean().item())
print("nearest two are the neighbours:", *(f"{share:.2f}" for share in ring))
assert min(ring) > 0.9, "company alone was to give the circle away"
claim_objects = verdict(lookup_gap == 0 and min(ring) > 0.9, sometimes=True)

# %% [markdown] lang="zh"
# ## 练习的答案
# %% [markdown] lang="en"
# ## Answers to the exercises

# %%
# --8<-- [start:exercise-1]
torch.manual_seed(0)
W = torch.randn(6, 3, requires_grad=True)
ids = torch.tensor([4, 1, 4])
hot = one_hot(ids, 6).float()  # (3, 6)
assert torch.equal(hot @ W, W[ids])  # 0 + 0 + … + 1 · row + … + 0

upstream = torch.randn(3, 3)
(gradient,) = torch.autograd.grad((hot @ W * upstream).sum(), W)
assert torch.equal(gradient, hot.T @ upstream)
assert (gradient[[0, 2, 3, 5]] == 0).all()  # only rows that were looked up
assert torch.allclose(gradient[4], upstream[0] + upstream[2])  # twice: add
# --8<-- [end:exercise-1]

# %%
# --8<-- [start:exercise-2]
torch.manual_seed(0)
roles = torch.randn(8, 50).repeat_interleave(2, 0)  # each pair in one place
nouns = roles + 0.05 * torch.randn(16, 50)  # and the two differ by noise
a, b, c, wanted = questions()

assert (analogy(nouns, a, b, c) == wanted).all()  # excluded: full marks
assert (analogy(nouns, a, b, c, exclude=False) == c).all()  # allowed: c itself

differences = normalize(nouns[1::2] - nouns[0::2])
cosines = (differences @ differences.T)[~torch.eye(8, dtype=torch.bool)]
assert cosines.mean().abs() < 0.1  # and nothing is parallel
# --8<-- [end:exercise-2]

# %%
# --8<-- [start:exercise-3]
counts = torch.tensor([100_000, 10_000, 1_000, 10]).double()
share = {power: noise_shares(counts, power) for power in (0.0, 0.75, 1.0)}
assert share[0.75][3] > 9 * share[1.0][3]  # the rare word: nine times as often
assert share[0.0][3] > 2500 * share[1.0][3]

# a word seen 1000 times, once beside the rare word: the best score, k = 5
best = {power: (1 / 1000 / (5 * share[power][3])).log() for power in share}
assert best[1.0] > 0.7  # one chance meeting, and they are close friends
assert best[0.75] < -1.4 and best[0.0] < -7
# --8<-- [end:exercise-3]


# %%
# --8<-- [start:exercise-4]
import math

torch.manual_seed(0)
n = torch.tensor([[8.0, 2, 1, 1], [2, 6, 3, 1], [1, 3, 4, 2], [1, 1, 2, 9]]).double()
together, share, k = n / n.sum(), n.sum(0) / n.sum(), 2
made_up = k * together.sum(1, keepdim=True) * share

v, u = (torch.randn(4, 4).double().requires_grad_() for _ in range(2))  # D = V
optimizer = torch.optim.LBFGS([v, u], max_iter=500, line_search_fn="strong_wolfe")


def loss():
    optimizer.zero_grad()
    score = v @ u.T
    real, fake = nn.functional.logsigmoid(score), nn.functional.logsigmoid(-score)
    total = -(together * real + made_up * fake).sum()
    total.backward()
    return total


for _ in range(5):
    optimizer.step(loss)
pmi = (together / (together.sum(1, keepdim=True) * share)).log()
assert (v @ u.T - (pmi - math.log(k))).abs().max() < 1e-2
# --8<-- [end:exercise-4]

# %%
# --8<-- [start:exercise-5]
torch.manual_seed(0)
table = nn.Embedding(3, 8)
dog, bites, man = range(3)
one, two = table(torch.tensor([[dog, bites, man], [man, bites, dog]]))
assert torch.allclose(one.mean(0), two.mean(0))  # a bag: who bit whom?

rnn = nn.RNN(8, 8, batch_first=True)
_, states = rnn(torch.stack((one, two)))
assert (states[0, 0] - states[0, 1]).abs().max() > 0.05  # read in order
# --8<-- [end:exercise-5]

# %%
results = {
    "n": len(SEEDS),
    "steps_low": STOPS[0],
    "steps_high": STOPS[1],
    "lookup_gap": lookup_gap,
    "lookup_ratio": lookup_ratio,
    "order_changes": order_changes,
    "sense_one_low": sense_ends["one"][0],
    "sense_one_high": sense_ends["one"][1],
    "sense_two_low": sense_ends["two"][0],
    "sense_two_high": sense_ends["two"][1],
    "sense_plain_low": sense_ends["plain"][0],
    "sense_plain_high": sense_ends["plain"][1],
    "counting": min(run["excluded"] for run in counting),
    "counting_allowed": min(run["allowed"] for run in counting),
    "correlation": correlation,
    "seen": seen_mean,
    "unseen": unseen,
    "ratio_plain": powers[1.0][0],
    "ratio_raised": powers[0.75][0],
    "power_0": powers[0.0][1],
    "power_75": powers[0.75][1],
    "power_1": powers[1.0][1],
    "ring": min(ring),
    "claim_objects": claim_objects,
}

# %%
EARLY = STOPS[0]
results = results | {
    "regular_excluded": written(1.0, "excluded"),
    "regular_allowed": written(1.0, "allowed"),
    "regular_nearest": written(1.0, "nearest"),
    "regular_parallel_low": low(1.0, "parallel"),
    "regular_parallel_high": high(1.0, "parallel"),
    "half_excluded": written(0.5, "excluded"),
    "half_allowed": written(0.5, "allowed"),
    "half_nearest": written(0.5, "nearest"),
    "half_parallel_low": low(0.5, "parallel"),
    "half_parallel_high": high(0.5, "parallel"),
    "tenth_allowed_early_low": low(0.1, "allowed", EARLY),
    "tenth_allowed_early_high": high(0.1, "allowed", EARLY),
    "tenth_excluded": written(0.1, "excluded"),
    "tenth_allowed_low": low(0.1, "allowed"),
    "tenth_allowed_high": high(0.1, "allowed"),
    "tenth_allowed": written(0.1, "allowed"),
    "tenth_nearest": written(0.1, "nearest"),
    "tenth_parallel_low": low(0.1, "parallel"),
    "tenth_parallel_high": high(0.1, "parallel"),
    "genderless_excluded": written(0.0, "excluded"),
    "genderless_allowed": written(0.0, "allowed"),
    "genderless_itself_low": low(0.0, "itself"),
    "genderless_itself_high": high(0.0, "itself"),
    "genderless_nearest": written(0.0, "nearest"),
    "genderless_parallel_low": low(0.0, "parallel"),
    "genderless_parallel_high": high(0.0, "parallel"),
    "private_excluded_early_low": low("private", "excluded", EARLY),
    "private_excluded_early_high": high("private", "excluded", EARLY),
    "private_excluded": written("private", "excluded"),
    "private_allowed": written("private", "allowed"),
    "private_nearest": written("private", "nearest"),
    "private_parallel_low": low("private", "parallel"),
    "private_parallel_high": high("private", "parallel"),
    "shuffled_excluded": written("shuffled", "excluded"),
    "shuffled_allowed": written("shuffled", "allowed"),
    "shuffled_nearest": written("shuffled", "nearest"),
    "shuffled_parallel_low": low("shuffled", "parallel"),
    "shuffled_parallel_high": high("shuffled", "parallel"),
}
