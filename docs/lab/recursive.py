# %% [markdown] lang="zh"
# # 实验：递归神经网络
#
# 六个问题：一条链形的树等于循环网络吗？按高度分批与逐个节点递归，结果一样吗，省多少？学会浅的表达式，深的会不会做？给错了树会怎样？哪些题目给错了树也不要紧？树让梯度的路短了多少？
# %% [markdown] lang="en"
# # Lab: recursive networks
#
# Six questions: is a tree in the shape of a chain equal to a recurrent network? Does
# batching by height give what recursion node by node gives, and what does it save? Does
# a network that has learned shallow expressions do deep ones? What if the tree is wrong?
# On what tasks does a wrong tree do no harm? How much shorter is the gradient's path?

# %%
import os
import random

import matplotlib.pyplot as plt
import torch
from torch import nn

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %%
from snippets._lab import seconds, verdict

# %%
from snippets.recursive import ChildSumTreeLSTM, RecursiveNet, TreeLSTM, by_height

# %%
from snippets.rnn import RNN

# %% [markdown] lang="zh"
# ## 链形的树就是循环网络
#
# 左分支的树：右孩子总是叶。最左的叶当作 $h^0$，其余的叶依次当作 $x^1, x^2, \dots$。令 $W_{hh} = U_l$，$W_{ih} = U_r W$，跑一遍 `RNN`，逐个状态比较，再比较输入的梯度。双精度，50 步。Tree-LSTM 则与 `torch.nn.LSTM` 比：每个节点只有一个孩子，输入在节点上。
# %% [markdown] lang="en"
# ## A tree in the shape of a chain is a recurrent network
#
# A left-branching tree: every right child is a leaf. The leftmost leaf serves as $h^0$,
# the others in turn as $x^1, x^2, \dots$ Put $W_{hh} = U_l$ and $W_{ih} = U_r W$, run
# `RNN`, compare state by state, then the gradients of the inputs. Double precision, 50
# steps. Tree-LSTMs are compared with `torch.nn.LSTM`: one child a node, inputs at nodes.

# %%
STEPS = 50


def left_branching(steps):
    """Leaves 0 … steps; every other node takes the node before and a leaf."""
    rows = [[-1, -1]] * (steps + 1) + [[0, 1]]
    rows += [[steps + t, t + 1] for t in range(1, steps)]
    return torch.tensor(rows, device=DEVICE)


def gap(a, b):
    return (a - b).abs().max().item()


# %%
def chain_against_rnn(seed):
    torch.manual_seed(seed)
    tree, rnn = RecursiveNet(3, 8).double(), RNN(3, 8).double()
    U_l, U_r = tree.U.weight.chunk(2, 1)
    rnn.weight_hh_l0.data, rnn.weight_ih_l0.data = U_l, U_r @ tree.W.weight
    rnn.bias_ih_l0.data, rnn.bias_hh_l0.data = tree.U.bias, torch.zeros(8).double()
    tree, rnn = tree.to(DEVICE), rnn.to(DEVICE)
    words = torch.randn(STEPS + 1, 3).double().to(DEVICE).requires_grad_()
    x = torch.cat((words, words.new_zeros(STEPS, 3)))  # inner nodes have no input
    h = tree(x, left_branching(STEPS))[STEPS + 1 :]
    out = rnn(words[None, 1:], tree.W(words[:1]))[0][0]
    back = [torch.autograd.grad(states.sum(), words)[0] for states in (h, out)]
    return max(gap(h, out), gap(*back))


def chain_against_lstm(cls, seed):
    torch.manual_seed(seed)
    tree, twin = cls(3, 8).double(), nn.LSTM(3, 8, batch_first=True).double()
    W, b = tree.W.weight.chunk(3), tree.W.bias.chunk(3)
    U, U_f = tree.U.weight[:, :8].chunk(3), tree.U_f.weight[:8, :8]
    twin.weight_ih_l0.data = torch.cat((W[0], tree.W_f.weight, W[1], W[2]))
    twin.weight_hh_l0.data = torch.cat((U[0], U_f, U[1], U[2]))
    twin.bias_ih_l0.data = torch.cat((b[0], tree.W_f.bias, b[1], b[2]))
    twin.bias_hh_l0.data.zero_()
    tree, twin = tree.to(DEVICE), twin.to(DEVICE)
    x = torch.randn(STEPS, 3).double().to(DEVICE)
    before = torch.arange(STEPS, device=DEVICE) - 1
    children = torch.stack((before, torch.full_like(before, -1)), 1)
    return gap(tree(x, children)[0], twin(x[None])[0][0])


# %%
chain_gap = max(chain_against_rnn(seed) for seed in SEEDS)
lstm_chain_gap = max(
    chain_against_lstm(cls, seed)
    for cls in (TreeLSTM, ChildSumTreeLSTM)
    for seed in SEEDS
)
print(f"chain against RNN {chain_gap:.0e}, against nn.LSTM {lstm_chain_gap:.0e}")
claim_chain = verdict(max(chain_gap, lstm_chain_gap) < 1e-12)
assert claim_chain == "holds", "a chain was to be a recurrent network"

# %% [markdown] lang="zh"
# ## 按高度分批
#
# 64 棵深度 10 的树编成一片森林。一种算法是照定义递归，一次一个节点；另一种一次一个高度，64 棵树一起。
# %% [markdown] lang="en"
# ## Batching by height
#
# Sixty-four trees of depth 10, numbered through as one forest. One way is the definition,
# recursion, a node at a time; the other takes a height at a time, all 64 trees together.


# %%
from snippets.recursive import expressions


# %%
def one_by_one(model, x, children):
    """The definition: a node calls itself on its children."""
    rows, h = children.tolist(), {}

    def state(node):
        if node not in h:
            h[node] = model.W(x[node])
            if rows[node][0] >= 0:
                pair = torch.cat([state(child) for child in rows[node]])
                h[node] = torch.tanh(h[node] + model.U(pair))
        return h[node]

    return torch.stack([state(node) for node in range(len(rows))])


def symbols_as_input(symbols, width=5):
    return nn.functional.one_hot(symbols, width).float()


# %%
def forest_and_model(seed):
    """A model, the symbols of 64 trees as its input, and their children."""
    torch.manual_seed(seed)
    model = RecursiveNet(5, 32).to(DEVICE)
    _, symbols, children, _ = expressions(64, 10, torch.Generator().manual_seed(seed))
    return model, symbols_as_input(symbols.to(DEVICE)), children.to(DEVICE)


@torch.no_grad()
def batched_against_single(seed):
    model, x, children = forest_and_model(seed)
    return gap(model(x, children), one_by_one(model, x, children))


@torch.no_grad()
def speedup(seed):
    """How many times as fast it is to take all trees together."""
    model, x, children = forest_and_model(seed)
    single = seconds(lambda: one_by_one(model, x, children), DEVICE, times=2)
    return single / seconds(lambda: model(x, children), DEVICE, times=2)


# %%
batch_gap = max(batched_against_single(seed) for seed in SEEDS)
batch_speedup = speedup(SEEDS[-1])
_, leaves_and_nodes, parents = forest_and_model(SEEDS[-1])
products = (parents[:, 0] >= 0).sum().item()
turns = len(by_height(parents, len(leaves_and_nodes))) - 1
print(f"largest difference {batch_gap:.0e}")
print(f"{products} products one by one, {turns} batched")
print(f"{batch_speedup:.0f} times as fast")
assert batch_gap < 1e-5, "batched was to equal one by one"
assert turns == 10 and products > 1000
assert DEVICE != "cpu" or batch_speedup > 4

# %% [markdown] lang="zh"
# ## 布尔表达式
#
# 叶是 0 或 1，节点上的符号是与、或、异或。深度 $d$ 的树，一个孩子深 $d - 1$，另一个更浅。只在深度 1–4 上训练，**只告诉根上的答案**；考深度 1–10。五种学生，每个种子看同样的题目，按同样的次序：
#
# - `RecursiveNet` 与 `TreeLSTM`：得到正确的树。宽 32，线性层的默认初始化，Tree-LSTM 的遗忘门偏置取 1。
# - `LSTM`：读同一个式子写成的字符串，括号也是字。宽 64，遗忘门偏置取 1，用 `torch.nn.LSTM`。
# - 拿错树的两个 `RecursiveNet`：叶和运算符的次序不变，括号挪了。一个总拿左分支的树，一个总拿平衡的树，训练和考试都这样。
#
# 优化器都是 Adam，学习率 0.01（LSTM 是 0.005，在种子 100 以上调过），裁剪 1，一批 64 棵。预算有两种，350 步和三倍的 1050 步；前一种就是后一种走到三分之一时记下的。
# %% [markdown] lang="en"
# ## Boolean expressions
#
# Leaves are 0 or 1, the symbols on inner nodes are and, or, xor. In a tree of depth $d$
# one child has depth $d - 1$, the other is shallower. Training is on depths 1 to 4 only
# and **tells the answer at the root only**; tests are on depths 1 to 10. Five students,
# which for each seed see the same expressions in the same order:
#
# - `RecursiveNet` and `TreeLSTM` are given the right tree. Width 32, default start of
#   linear maps, the Tree-LSTM's forget bias at 1.
# - `LSTM` reads the same expression as a string, in which brackets are words too. Width
#   64, forget bias 1, `torch.nn.LSTM`.
# - Two `RecursiveNet`s are given a wrong tree: leaves and operators in the same order,
#   the brackets moved. One always has the left-branching tree, one the balanced tree, in
#   training and in the test.
#
# All use Adam at a rate of 0.01 (LSTM: 0.005, tuned on seeds from 100), gradients clipped
# at 1, batches of 64. There are two budgets, 350 steps and three times that, 1050; the
# first is noted down on the way to the second.

# %%
SHORT, LONG, DEPTHS = 350, 1050, range(1, 11)
LSTM_SEEDS = range(3)


def lessons(seed, steps):
    generator = torch.Generator().manual_seed(seed)
    return [expressions(64, 1 + step % 4, generator) for step in range(steps)]


def exams(seed):
    generator = torch.Generator().manual_seed(1000 + seed)
    return {depth: expressions(300, depth, generator) for depth in DEPTHS}


LESSONS = [lessons(seed, LONG) for seed in SEEDS]
EXAMS = [exams(seed) for seed in SEEDS]


# %%
def in_order(rows, root):
    """The nodes of a tree from left to right: leaf, operator, leaf, …, leaf."""
    left, right = rows[root]
    if left < 0:
        return [root]
    return [*in_order(rows, left), root, *in_order(rows, right)]


def with_brackets(rows, root):
    """The same, with a bracket (-1) before and one (-2) after every inner node."""
    left, right = rows[root]
    if left < 0:
        return [root]
    inside = [*with_brackets(rows, left), root, *with_brackets(rows, right)]
    return [-1, *inside, -2]


def move_brackets(forest, kind, dice=random):
    """The same leaves and operators in the same order, under another tree."""
    roots, symbols, children, values = forest
    rows, new = children.tolist(), [[-1, -1] for _ in children]

    def build(nodes):
        if len(nodes) == 1:
            return nodes[0]
        half = len(nodes) // 2  # how many operators
        top = 1 + 2 * (half // 2 if kind == "balanced" else dice.randrange(half))
        new[nodes[top]] = [build(nodes[:top]), build(nodes[top + 1 :])]
        return nodes[top]

    def fold(nodes):
        done = nodes[0]
        for operator, leaf in zip(nodes[1::2], nodes[2::2]):
            new[operator], done = [done, leaf], operator
        return done

    build = fold if kind == "left" else build
    tops = [build(in_order(rows, root)) for root in roots.tolist()]
    return torch.tensor(tops), symbols, torch.tensor(new), values[roots]


# %%
class Tree(nn.Module):
    """A network over trees, and what the root says."""

    def __init__(self, cls, kind="right"):
        super().__init__()
        self.net, self.readout, self.kind = cls(5, 32), nn.Linear(32, 2), kind
        if cls is TreeLSTM:
            nn.init.constant_(self.net.W_f.bias, 1.0)

    def prepare(self, forest):
        if self.kind == "right":
            roots, symbols, children, values = forest
            return roots, symbols, children, values[roots]
        return move_brackets(forest, self.kind)

    def forward(self, roots, symbols, children):
        h = self.net(symbols_as_input(symbols), children)
        h = h[0] if isinstance(h, tuple) else h
        return self.readout(h[roots])


# %%
class Flat(nn.Module):
    """An LSTM over the string with its brackets, and what the last state says."""

    def __init__(self):
        super().__init__()
        self.lstm, self.readout = nn.LSTM(8, 64, batch_first=True), nn.Linear(64, 2)
        nn.init.constant_(self.lstm.bias_ih_l0[64:128], 1.0)
        nn.init.zeros_(self.lstm.bias_hh_l0[64:128])

    def prepare(self, forest):
        roots, symbols, children, values = forest
        rows, table = children.tolist(), torch.cat((symbols, torch.tensor([6, 5])))
        words = [table[with_brackets(rows, root)] for root in roots.tolist()]
        lengths = torch.tensor([len(w) for w in words])
        padded = nn.utils.rnn.pad_sequence(words, batch_first=True, padding_value=7)
        return padded, lengths, values[roots]

    def forward(self, words, lengths):
        out, _ = self.lstm(symbols_as_input(words, 8))
        return self.readout(out[torch.arange(len(lengths)), lengths - 1])


# %%
def correct(model, forest):
    *inputs, y = (a.to(DEVICE) for a in model.prepare(forest))
    with torch.no_grad():
        return (model(*inputs).argmax(1) == y).float().mean().item()


def train(make, seed, rate=1e-2):
    """The model; its accuracy at depths 4 and 10 after SHORT, at all after LONG."""
    torch.manual_seed(seed)
    model, noted = make().to(DEVICE), {}
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    for step, forest in enumerate(LESSONS[seed], 1):
        *inputs, y = (a.to(DEVICE) for a in model.prepare(forest))
        loss = nn.functional.cross_entropy(model(*inputs), y)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step in (SHORT, LONG):
            depths = DEPTHS if step == LONG else (4, 10)
            noted[step] = {d: correct(model, EXAMS[seed][d]) for d in depths}
    return model, noted


# %%
runs = {
    "RecursiveNet": [train(lambda: Tree(RecursiveNet), seed) for seed in SEEDS],
    "TreeLSTM": [train(lambda: Tree(TreeLSTM), seed) for seed in SEEDS],
    "LSTM": [train(Flat, seed, 5e-3) for seed in LSTM_SEEDS],
    "left": [train(lambda: Tree(RecursiveNet, "left"), seed) for seed in SEEDS],
    "balanced": [train(lambda: Tree(RecursiveNet, "balanced"), seed) for seed in SEEDS],
}


# %%
def at(name, depth, steps=LONG):
    """Accuracy at this depth after so many steps, a list over the seeds."""
    return [noted[steps][depth] for _, noted in runs[name]]


print(f"{'':16s}" + "".join(f"{depth:8d}   " for depth in DEPTHS))
for name in runs:
    for steps, depths in ((SHORT, (4, 10)), (LONG, DEPTHS)):
        print(f"{name:12s}{steps:4d}", end="")
        for depth in DEPTHS:
            shares = at(name, depth, steps) if depth in depths else []
            spread = f"{min(shares):.2f}–{max(shares):.2f}" if shares else ""
            print(f"  {spread:9s}", end="")
        print()

# %% [markdown] lang="zh"
# 还有两条不用学的规则作比较：总答多数；只看根上的运算符（与答 0，或答 1，异或随便答）。
# %% [markdown] lang="en"
# Two rules that need no learning, for comparison: always give the more frequent answer;
# look at the operator at the root only (and: 0, or: 1, xor: either).


# %%
def without_learning(seed):
    """Accuracy of both rules at depth 10, and how long the expressions are."""
    roots, symbols, children, values = EXAMS[seed][10]
    y, top = values[roots], symbols[roots]
    ones = y.float().mean().item()
    brackets = 2 * (children[:, 0] >= 0).sum().item()
    return {
        "majority": max(ones, 1 - ones),
        "root": (y == (top != 2).long()).float().mean().item(),
        "nodes": len(symbols) / len(roots),
        "words": (len(symbols) + brackets) / len(roots),
    }


rules = [without_learning(seed) for seed in SEEDS]
majority_deep = max(rule["majority"] for rule in rules)
root_rule_deep = max(rule["root"] for rule in rules)
nodes_deep = max(rule["nodes"] for rule in rules)
words_deep = max(rule["words"] for rule in rules)

# %%
print(f"majority {majority_deep:.2f}, operator at the root {root_rule_deep:.2f}")
print(f"at depth 10 {nodes_deep:.0f} nodes, {words_deep:.0f} words with brackets")
wrong_deep = [
    share
    for name in ("left", "balanced")
    for steps in (SHORT, LONG)
    for share in at(name, 10, steps)
]
assert min(at("RecursiveNet", 10)) >= 0.98, "the right tree was to do deep ones"
assert min(at("TreeLSTM", 10)) >= 0.93
assert max(at("LSTM", 10, SHORT) + at("LSTM", 10)) <= 0.75
assert min(at("LSTM", 4)) > 0.8, "depth 4 was to be learned"
assert max(wrong_deep) <= 0.75, "a wrong tree was to do worse"

# %%
fig, ax = plt.subplots(figsize=(5.6, 3.5))
LINES = {
    "RecursiveNet": ("C0", "-", "RecursiveNet 3×"),
    "TreeLSTM": ("C2", "--", "TreeLSTM 3×"),
    "LSTM": ("C1", "-", "LSTM 3×"),
    "balanced": ("gray", "-", "((1 2) (3 4)) 3×"),
    "left": ("gray", ":", "(((1 2) 3) 4) 3×"),
}
for name, (colour, style, label) in LINES.items():
    columns = [at(name, depth) for depth in DEPTHS]
    average = [sum(column) / len(column) for column in columns]
    low, high = ([f(column) for column in columns] for f in (min, max))
    ax.fill_between(DEPTHS, low, high, color=colour, alpha=0.15, linewidth=0)
    ax.plot(DEPTHS, average, color=colour, linestyle=style, label=label)
ax.axvline(4.5, color="black", linewidth=1, linestyle=(0, (2, 3)))
ax.axhline(0.5, color="lightgray", linewidth=1)
ax.set(xlim=(1, 10), ylim=(0.42, 1.02), xlabel="d")
ax.set_xticks([1, 2, 4, 6, 8, 10])
ax.legend(fontsize=9, loc="upper right", bbox_to_anchor=(1.0, 0.93))
fig.savefig("depth.svg")

# %% [markdown] lang="zh"
# ## 树错了，什么还能用
#
# 不再训练，拿学会了的网络，考深度 10，只把树换掉：左分支、平衡、随机的括号；或者树不动，把每棵树的叶打乱。再换一套题：运算符全改成异或。异或满足结合律和交换律，括号怎么挪、叶怎么换，答案都不变。
# %% [markdown] lang="en"
# ## The tree is wrong: what still works
#
# No more training: the networks that have learned sit the exam of depth 10, with nothing
# changed but the tree: left-branching, balanced, random brackets; or the tree stays, and
# the leaves of each are shuffled. Then another paper: all operators become xor. Xor is
# associative and commutative: wherever brackets and leaves go, the answer stays.

# %%
KINDS = ("right", "left", "balanced", "random", "leaves")


def disturbed(forest, kind, dice):
    roots, symbols, children, values = forest
    if kind == "right":
        return roots, symbols, children
    if kind != "leaves":
        return move_brackets(forest, kind, dice)[:3]
    rows, symbols = children.tolist(), symbols.clone()
    for root in roots.tolist():
        leaves = in_order(rows, root)[::2]
        symbols[leaves] = symbols[dice.sample(leaves, len(leaves))]
    return roots, symbols, children


def sit(model, seed, kind, xor):
    """Accuracy at depth 10 with the tree disturbed; `xor`: all operators are xor."""
    roots, symbols, children, values = EXAMS[seed][10]
    y = values[roots]
    if xor:
        symbols = symbols.where(children[:, 0] < 0, 4)
        rows = children.tolist()
        sums = [symbols[in_order(rows, root)[::2]].sum() for root in roots.tolist()]
        y = torch.stack(sums) % 2
    forest = (roots, symbols, children, values)
    inputs = disturbed(forest, kind, random.Random(seed))
    with torch.no_grad():
        answer = model(*(a.to(DEVICE) for a in inputs)).argmax(1)
    return (answer == y.to(DEVICE)).float().mean().item()


# %%
sat = {
    (name, kind, xor): [
        sit(model, seed, kind, xor) for seed, (model, _) in enumerate(runs[name])
    ]
    for name in ("RecursiveNet", "TreeLSTM")
    for kind in KINDS
    for xor in (False, True)
}
given = {kind: sat["TreeLSTM", kind, False] for kind in KINDS}
only_xor = {kind: sat["TreeLSTM", kind, True] for kind in KINDS}

# %%
for (name, kind, xor), shares in sat.items():
    row = " ".join(f"{a:.2f}" for a in shares)
    print(f"{name:13s} {'xor  ' if xor else 'mixed'} {kind:9s} {row}")
for kind in ("left", "balanced", "random"):
    for name in ("RecursiveNet", "TreeLSTM"):
        assert max(sat[name, kind, False]) < 0.7, f"{name}: {kind} was to be wrong"
    assert min(only_xor[kind]) > 0.9, "brackets were not to matter"
assert max(given["leaves"]) < 0.75
assert min(only_xor["leaves"]) > 0.9

# %% [markdown] lang="zh"
# ## 路有多长
#
# 同样的 $n$ 片叶，同样的权重（默认初始化），一次排成链，一次排成平衡的树。量根的状态对最左一片叶的梯度：链上要走 $n - 1$ 步，树上 $\log_2 n$ 步。
# %% [markdown] lang="en"
# ## How long is the way
#
# The same $n$ leaves, the same weights (default start), once as a chain and once as a
# balanced tree. Measure the gradient of the root's state with respect to the leftmost
# leaf: $n - 1$ steps down the chain, $\log_2 n$ down the tree.


# %%
def balanced(leaves):
    """Leaves 0 … leaves - 1, then level upon level, the root last."""
    rows, level = [[-1, -1]] * leaves, [*range(leaves)]
    while len(level) > 1:
        above = [*range(len(rows), len(rows) + len(level) // 2)]
        rows, level = rows + [list(p) for p in zip(level[::2], level[1::2])], above
    return torch.tensor(rows, device=DEVICE)


def at_first_leaf(seed, children):
    torch.manual_seed(seed)
    model = RecursiveNet(8, 32).double().to(DEVICE)
    x = torch.zeros(len(children), 8).double()
    leaves = (len(children) + 1) // 2
    x[:leaves] = torch.randn(leaves, 8).double()
    x = x.to(DEVICE).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x, children)[-1].norm(), x)
    return gradient[0].norm().item()


# %%
SIZES = [2, 4, 8, 16, 32, 64]
down_chain = [[at_first_leaf(s, left_branching(n - 1)) for s in SEEDS] for n in SIZES]
down_tree = [[at_first_leaf(s, balanced(n)) for s in SEEDS] for n in SIZES]
print("n − 1", " ".join(f"{max(norms):.0e}" for norms in down_chain))
print("log n", " ".join(f"{max(norms):.0e}" for norms in down_tree))
assert max(down_chain[-1]) < 1e-12 and min(down_tree[-1]) > 1e-6

# %%
fig, ax = plt.subplots(figsize=(5.2, 2.9))
WAYS = [(down_chain, "C1", "$n - 1$"), (down_tree, "C2", r"$\log_2\,n$")]
for way, colour, label in WAYS:
    low, high = ([f(norms) for norms in way] for f in (min, max))
    ax.fill_between(SIZES, low, high, color=colour, alpha=0.25, linewidth=0)
    ax.plot(SIZES, [sorted(norms)[len(norms) // 2] for norms in way], color=colour)
    ax.text(67, sorted(way[-1])[2], label, color=colour, va="center")
ax.set(xscale="log", yscale="log", xlabel="n", xlim=(2, 64))
ax.set_xticks(SIZES, [f"{n}" for n in SIZES])
ax.minorticks_off()
fig.savefig("path.svg")

# %% [markdown] lang="zh"
# ## 练习的答案
# %% [markdown] lang="en"
# ## Answers to the exercises

# %%
# --8<-- [start:exercise-1]
torch.manual_seed(0)
tree, rnn = RecursiveNet(3, 8).double(), RNN(3, 8).double()
U_l, U_r = tree.U.weight.chunk(2, 1)
rnn.weight_hh_l0.data = U_l
rnn.weight_ih_l0.data = U_r @ tree.W.weight
rnn.bias_ih_l0.data, rnn.bias_hh_l0.data = tree.U.bias, torch.zeros(8).double()

words = torch.randn(4, 3).double()  # leaves 0 1 2 3, then 4 = (0, 1), 5, 6
rows = [[-1, -1]] * 4 + [[0, 1], [4, 2], [5, 3]]
x = torch.cat((words, torch.zeros(3, 3).double()))
h = tree(x, torch.tensor(rows))
out, last = rnn(words[None, 1:], h[:1])  # the first leaf is the first state
assert torch.allclose(out[0], h[4:], atol=1e-12)
# --8<-- [end:exercise-1]

# %%
# --8<-- [start:exercise-2]
inner = torch.arange(1, 1024).flip(0)  # 1 is the root; below n are 2 n and 2 n + 1
heap = torch.full((2048, 2), -1)  # 1024 … 2047 are the leaves, 0 is not used
heap[inner] = torch.stack((2 * inner, 2 * inner + 1), 1)
levels = [len(group) for group in by_height(heap, 2048)[1:]]
assert levels == [512, 256, 128, 64, 32, 16, 8, 4, 2, 1]
assert len(levels) == 10 and sum(levels) == 1023  # products; rows in them

chain = torch.stack((torch.arange(1024) - 1, torch.full((1024,), -1)), 1)
assert len(by_height(chain, 1024)) - 1 == 1023  # nothing to batch
# --8<-- [end:exercise-2]


# %%
# --8<-- [start:exercise-3]
def fold(rule, leaves):
    """The value under every way to put the brackets."""
    if len(leaves) == 1:
        return {leaves[0]}
    return {
        rule(left, right)
        for cut in range(1, len(leaves))
        for left in fold(rule, leaves[:cut])
        for right in fold(rule, leaves[cut:])
    }


bits = [0, 1, 1, 0, 1, 0]
assert fold(lambda a, b: a ^ b, bits) == {1}  # one value under all trees
assert fold(max, bits) == {1} and fold(min, bits) == {0}
assert fold(lambda a, b: a + b, bits) == {3}  # a sum, a bag of words
assert fold(lambda a, b: (1 - a) | b, bits) == {0, 1}  # implies: the tree decides
assert len(fold(lambda a, b: a - b, bits)) > 2
# --8<-- [end:exercise-3]

# %%
# --8<-- [start:exercise-4]
model = TreeLSTM(1, 2).double()
for parameter in model.parameters():
    parameter.data.zero_()
model.W.weight.data[2:4, 0] = torch.tensor([1.0, 2.0])  # the candidate: what is stored
model.W_f.bias.data.fill_(-40)  # both forget gates shut …
model.U_f.weight.data[:2, :2] = 1e4  # … but the left child opens its own

x = torch.tensor([[1.0], [-3.0], [0.0]]).double()  # two leaves, and their parent
_, c = model(x, torch.tensor([[-1, -1], [-1, -1], [0, 1]]))
assert torch.allclose(c[2], c[0])  # the left one whole, nothing of the right

shared = [f * (c[0] + c[1]) for f in torch.linspace(0, 1, 101).double()]
assert min((s - c[0]).abs().max() for s in shared) > 0.2  # one gate: only sums
# --8<-- [end:exercise-4]

# %%
# --8<-- [start:exercise-5]
wide, high = 7, 11  # I and H


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


assert count(RecursiveNet(wide, high)) == high * (wide + 2 * high + 1)
assert count(TreeLSTM(wide, high)) == high * (4 * (wide + 1) + 10 * high)
assert count(ChildSumTreeLSTM(wide, high)) == high * (4 * (wide + 1) + 4 * high)
assert count(nn.LSTM(wide, high)) == high * (4 * (wide + 2) + 4 * high)  # two biases
# --8<-- [end:exercise-5]

# %%
results = {
    "n": len(SEEDS),
    "n_lstm": len(LSTM_SEEDS),
    "chain_gap": chain_gap,
    "lstm_chain_gap": lstm_chain_gap,
    "claim_chain": claim_chain,
    "batch_gap": batch_gap,
    "batch_products": products,
    "batch_turns": turns,
    "batch_speedup": batch_speedup,
    "steps": SHORT,
    "steps_long": LONG,
    "nodes_deep": nodes_deep,
    "words_deep": words_deep,
    "majority_deep": majority_deep,
    "root_rule_deep": root_rule_deep,
    "tree_deep_min": min(at("RecursiveNet", 10)),
    "lstm_deep_max": max(at("LSTM", 10)),
    "wrong_tree_deep_max": max(wrong_deep),
    "way_chain_max": max(down_chain[-1]),
    "way_tree_min": min(down_tree[-1]),
}

# %%
results = results | {
    "tree_4_short_low": min(at("RecursiveNet", 4, SHORT)),
    "tree_4_short_high": max(at("RecursiveNet", 4, SHORT)),
    "tree_4_low": min(at("RecursiveNet", 4)),
    "tree_4_high": max(at("RecursiveNet", 4)),
    "tree_10_short_low": min(at("RecursiveNet", 10, SHORT)),
    "tree_10_short_high": max(at("RecursiveNet", 10, SHORT)),
    "tree_10_low": min(at("RecursiveNet", 10)),
    "tree_10_high": max(at("RecursiveNet", 10)),
    "treelstm_4_short_low": min(at("TreeLSTM", 4, SHORT)),
    "treelstm_4_short_high": max(at("TreeLSTM", 4, SHORT)),
    "treelstm_4_low": min(at("TreeLSTM", 4)),
    "treelstm_4_high": max(at("TreeLSTM", 4)),
    "treelstm_10_short_low": min(at("TreeLSTM", 10, SHORT)),
    "treelstm_10_short_high": max(at("TreeLSTM", 10, SHORT)),
    "treelstm_10_low": min(at("TreeLSTM", 10)),
    "treelstm_10_high": max(at("TreeLSTM", 10)),
    "lstm_4_short_low": min(at("LSTM", 4, SHORT)),
    "lstm_4_short_high": max(at("LSTM", 4, SHORT)),
    "lstm_4_low": min(at("LSTM", 4)),
    "lstm_4_high": max(at("LSTM", 4)),
    "lstm_10_short_low": min(at("LSTM", 10, SHORT)),
    "lstm_10_short_high": max(at("LSTM", 10, SHORT)),
    "lstm_10_low": min(at("LSTM", 10)),
    "lstm_10_high": max(at("LSTM", 10)),
    "left_4_low": min(at("left", 4)),
    "left_4_high": max(at("left", 4)),
    "left_10_low": min(at("left", 10)),
    "left_10_high": max(at("left", 10)),
    "balanced_4_low": min(at("balanced", 4)),
    "balanced_4_high": max(at("balanced", 4)),
    "balanced_10_low": min(at("balanced", 10)),
    "balanced_10_high": max(at("balanced", 10)),
}

# %%
results = results | {
    "given_treelstm_right_low": min(given["right"]),
    "given_treelstm_right_high": max(given["right"]),
    "given_treelstm_left_low": min(given["left"]),
    "given_treelstm_left_high": max(given["left"]),
    "given_treelstm_balanced_low": min(given["balanced"]),
    "given_treelstm_balanced_high": max(given["balanced"]),
    "given_treelstm_random_low": min(given["random"]),
    "given_treelstm_random_high": max(given["random"]),
    "given_treelstm_leaves_low": min(given["leaves"]),
    "given_treelstm_leaves_high": max(given["leaves"]),
    "xor_treelstm_right_low": min(only_xor["right"]),
    "xor_treelstm_right_high": max(only_xor["right"]),
    "xor_treelstm_left_low": min(only_xor["left"]),
    "xor_treelstm_left_high": max(only_xor["left"]),
    "xor_treelstm_balanced_low": min(only_xor["balanced"]),
    "xor_treelstm_balanced_high": max(only_xor["balanced"]),
    "xor_treelstm_random_low": min(only_xor["random"]),
    "xor_treelstm_random_high": max(only_xor["random"]),
    "xor_treelstm_leaves_low": min(only_xor["leaves"]),
    "xor_treelstm_leaves_high": max(only_xor["leaves"]),
}
