# %% [markdown] lang="zh"
# # 实验：循环神经网络
#
# 三个问题：梯度能往回传多远，长序列难不难，长滞后难不难。再读一篇真的文字，数一步的乘加，叠两层，最后是练习的答案。

# %% [markdown] lang="en"
# # Lab: RNN
#
# Three questions: how far back a gradient reaches, whether long sequences are hard, and whether long lags are. Then a real text to read, the multiply–adds of a step, two layers, and the answers to the exercises.

# %%
import math
import os

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

DEVICE = os.environ.get("LAB_DEVICE", "cpu")
SEEDS = range(5)

# %% [markdown] lang="zh"
# ## 梯度往回传多远
#
# 增益指 $\partial h^T / \partial h^{T-k}$ 的大小：它的奇异值的均方根，再对一批序列取均方根。不训练，只看初始化。$H = I = 32$，输入每个分量独立，取自 $N(0, s^2)$。四种循环权重：PyTorch 的默认值 $U(-1/\sqrt{H}, 1/\sqrt{H})$，正交矩阵 $Q$，$1.5\,Q$ 和 $3\,Q$；其余参数都用默认值。

# %% [markdown] lang="en"
# ## How far back a gradient reaches
#
# The gain is the size of $\partial h^T / \partial h^{T-k}$: the root mean square of its singular values, and then over a batch. Nothing is trained, only initialised. $H = I = 32$, every component of the input is drawn from $N(0, s^2)$. Four recurrent matrices: PyTorch's default $U(-1/\sqrt{H}, 1/\sqrt{H})$, an orthogonal $Q$, $1.5\,Q$ and $3\,Q$; all other parameters keep their defaults.

# %%
from snippets._lab import span, verdict

# %%
from snippets.rnn import RNN, parity

H, LAGS = 32, 100
INITS = ["default", "Q", "1.5Q", "3Q"]


def initialise(init: str, seed: int) -> RNN:
    torch.manual_seed(seed)
    rnn = RNN(H, H).double()
    if init != "default":
        nn.init.orthogonal_(rnn.weight_hh_l0, float(init.rstrip("Q") or 1))
    return rnn.to(DEVICE)


def gains(rnn: RNN, seed: int, scale: float = 1.0) -> torch.Tensor:
    """Gain of dh^T/dh^{T-k} for k = 0, ..., LAGS: the product of Jacobians."""
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(8, LAGS + 20, H, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        out = rnn(x.to(DEVICE))[0]  # (B, T, H)
        product = torch.eye(H, dtype=torch.float64, device=DEVICE).expand(8, H, H)
        gain = [1.0]
        for k in range(LAGS):
            slope = 1 - out[:, -1 - k] ** 2  # of tanh, at that step
            product = product @ (slope.unsqueeze(2) * rnn.weight_hh_l0)
            gain.append((product.square().sum((1, 2)) / H).mean().sqrt().item())
    return torch.tensor(gain, dtype=torch.float64)


# %%
def jacobians() -> tuple[torch.Tensor, torch.Tensor]:
    """dh^3/dh^0 by autograd, and by the product that `gains` takes."""
    rnn = initialise("Q", 0)
    start = torch.zeros(1, H, dtype=torch.float64, device=DEVICE)
    x = torch.randn(1, 3, H, dtype=torch.float64).to(DEVICE)
    whole = torch.autograd.functional.jacobian(lambda h: rnn(x, h)[1][0], start)
    product = torch.eye(H, dtype=torch.float64, device=DEVICE)
    for h_t in rnn(x)[0][0]:
        product = ((1 - h_t**2).unsqueeze(1) * rnn.weight_hh_l0) @ product
    return whole[:, 0], product


assert torch.allclose(*jacobians(), atol=1e-12), "the product is the Jacobian"

# %%
curves = {
    init: torch.stack([gains(initialise(init, s), s) for s in SEEDS]) for init in INITS
}

# %%
fig, ax = plt.subplots()
lags = list(range(0, LAGS + 1, 2))
for i, (init, curve) in enumerate(curves.items()):
    drawn = curve[:, ::2]
    ax.fill_between(
        lags, drawn.min(0).values, drawn.max(0).values, color=f"C{i}", alpha=0.25, lw=0
    )
    ax.plot(lags, drawn.log().mean(0).exp(), color=f"C{i}", label=init)
ax.axhline(1, color="black", lw=0.8)
ax.set(yscale="log", ylim=(1e-20, 1e12), xlabel="k")
ax.set_yticks([1e-20, 1e-15, 1e-10, 1e-5, 1, 1e5, 1e10])
ax.legend(ncols=2, loc="upper left")
fig.savefig("gain.svg")

# %% [markdown] lang="zh"
# 换输入的尺度 $s$，滞后 50 处的增益也跟着变：输入越大，tanh 越饱和，增益越小。

# %% [markdown] lang="en"
# Another scale $s$ of the input gives another gain at lag 50: a larger input saturates the tanh, and the gain shrinks.

# %%
SCALES = [0.1, 1.0, 3.0]
at_50 = {}  # geometric mean over the seeds
print("s      " + "".join(f"{init:>10}" for init in INITS))
for scale in SCALES:
    for init in INITS:
        by_seed = [gains(initialise(init, s), s, scale)[50] for s in SEEDS]
        at_50[init, scale] = torch.stack(by_seed).log().mean().exp().item()
    print(f"{scale:<7}" + "".join(f"{at_50[init, scale]:>10.0e}" for init in INITS))

# %%
lag_50 = {init: span(curve[:, 50]) for init, curve in curves.items()}
assert lag_50["default"][1] < 1e-12, "default weights should vanish"
assert lag_50["1.5Q"][0] > 1e-3, "1.5 Q should carry"
assert lag_50["1.5Q"][1] < 10, "1.5 Q should not explode"
assert lag_50["3Q"][0] > 1e3, "3 Q should explode"
for init in INITS[1:]:
    assert at_50[init, 3.0] < at_50[init, 1.0], "a larger input makes the gain smaller"

# %% [markdown] lang="zh"
# ## 裁剪管的是梯度下降的一步，不是增益
#
# 取 $3\,Q$，读 100 步，损失是最后状态的平方和。做一步裁剪到范数 1 的梯度下降，学习率 0.01，看更新有多大，增益变了多少。再用 Adam 从同一处走一步，裁剪和不裁剪各一次：它自己会重新缩放，所以第一步几乎一样。

# %% [markdown] lang="en"
# ## Clipping bounds the step of gradient descent, not the gain
#
# Take $3\,Q$ over 100 steps, with the sum of squares of the last state as loss. Make one step of gradient descent, clipped to norm 1, at a rate of 0.01, and see how large the update is and what becomes of the gain. Then one step of Adam from the same place, with and without clipping: Adam rescales by itself, so that its first step is almost the same.


# %%
CLIP_STEPS = 100


def one_step(seed: int, optimiser, bound: float) -> tuple[float, float, float]:
    """Norm of the gradient, of the update over the rate, and the gain after it."""
    rnn, rate = initialise("3Q", seed), 0.01
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(8, CLIP_STEPS, H, generator=generator, dtype=torch.float64)
    rnn(x.to(DEVICE))[1].square().sum().backward()
    old = [p.detach().clone() for p in rnn.parameters()]
    norm = nn.utils.clip_grad_norm_(rnn.parameters(), bound).item()
    optimiser(rnn.parameters(), lr=rate).step()
    moved = [(p - q).square().sum() for p, q in zip(rnn.parameters(), old)]
    update = torch.stack(moved).sum().sqrt().item() / rate
    return norm, update, gains(rnn, seed)[50].item()


# %%
clipping = torch.tensor([one_step(s, torch.optim.SGD, 1.0) for s in SEEDS])
norm, update, after = clipping.unbind(1)
# With no bound, then with the bound of 1: Adam's first step hardly changes.
adam = [
    torch.tensor([one_step(s, torch.optim.Adam, bound)[1] for s in SEEDS])
    for bound in (math.inf, 1.0)
]
print("update / rate: clipped SGD", update.max().item())
print("Adam, not clipped and clipped", adam[0].min().item(), adam[1].min().item())

# %%
assert norm.min() > 1e4, "the gradient should explode"
assert update.max() < 1 + 1e-6, "clipping bounds the step of gradient descent"
assert after.min() > 1e3, "the gain explodes as before"
assert min(a.min() for a in adam) > 10, "with Adam the clip does not bound the update"
assert (adam[1] / adam[0] - 1).abs().max() < 0.01, "Adam should hide the clip"

# %% [markdown] lang="zh"
# ## 长序列：奇偶校验
#
# 输入是随机的 0 和 1，每一步的标签是到此为止 1 的个数的奇偶。每一步都有标签，所以要学的规则只牵涉上一个状态和这一个输入。$H = 16$，Adam，学习率 0.01，裁剪到 1，批量 64，训练长度 $T = 24$，测试到 $T = 400$。训练用 `nn.RNN`，它与上面的 `RNN` 数值相等（测试里有证明），只是快一些。

# %% [markdown] lang="en"
# ## Long sequences: parity
#
# The input is random zeros and ones; the label at every step is the parity of the ones so far. Since every step has a label, the rule to be learnt involves the last state and this input alone. $H = 16$, Adam at 0.01, clipping at 1, batches of 64, trained at $T = 24$, tested to $T = 400$. Training uses `nn.RNN`, which equals the `RNN` above (a test proves it) and is a little faster.


# %%
class Reader(nn.Module):
    """y = g(h): an RNN and a linear readout of two classes."""

    def __init__(self, init: str):
        super().__init__()
        self.rnn, self.readout = nn.RNN(1, 16, batch_first=True), nn.Linear(16, 2)
        if init == "Q":
            nn.init.orthogonal_(self.rnn.weight_hh_l0)

    def forward(self, x):
        return self.readout(self.rnn(x)[0])  # (B, T, 2)


# %%
def train(task, length: int, init: str, seed: int, steps: int) -> Reader:
    torch.manual_seed(seed)
    model = Reader(init).to(DEVICE)
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        x, y = (a.to(DEVICE) for a in task(64, length, generator))
        logits = model(x)[:, -y.shape[1] :]
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return model


def correct(model: Reader, task, length: int) -> torch.Tensor:
    """Share of right answers, at each labelled step."""
    generator = torch.Generator().manual_seed(1_000_000)
    x, y = (a.to(DEVICE) for a in task(512, length, generator))
    with torch.no_grad():
        right = model(x)[:, -y.shape[1] :].argmax(2) == y
    return right.float().mean(0).cpu()


# %%
long = torch.stack(  # (seeds, 400)
    [correct(train(parity, 24, "Q", s, 600), parity, 400) for s in SEEDS]
)
print("parity, label at every step, accuracy at step 24, 100, 400, by seed")
print(long[:, [23, 99, 399]])

# %% [markdown] lang="zh"
# ## 长滞后：记住第一位
#
# 同样的输入，同样的网络，换一个问题：只在最后一步问，第一位是什么。滞后是 $k$，序列长 $k + 1$，中间的位都是干扰。每次训练 400 步；默认初始化在 $k = 20$ 处另给三倍的步数。

# %% [markdown] lang="en"
# ## Long lags: recall the first bit
#
# The same input and the same network, another question: at the last step only, what was the first bit? The lag is $k$, the length $k + 1$, the bits between distract. Each training takes 400 steps; the default initialisation at $k = 20$ gets three times as many as well.


# %%
def recall(batch_size: int, steps: int, generator: torch.Generator):
    """Random bits; the label, at the last step only, is the first bit."""
    bits = torch.randint(2, (batch_size, steps), generator=generator)
    return bits.unsqueeze(2).float(), bits[:, :1]


# %%
RECALL_LAGS = [5, 10, 20, 40]


def recalled(lag: int, init: str, steps: int) -> torch.Tensor:
    """The accuracy of each seed after so many steps of training."""
    models = [train(recall, lag + 1, init, s, steps) for s in SEEDS]
    return torch.tensor([correct(m, recall, lag + 1).item() for m in models])


lagged = {}
for init in ["default", "Q"]:
    for lag in RECALL_LAGS:
        lagged[init, lag] = recalled(lag, init, 400)
        shares = " ".join(f"{share:.2f}" for share in lagged[init, lag])
        print(f"recall, {init:>8}, k={lag:<3}", shares)
patient = recalled(20, "default", 1200)
print("recall,  default, k=20, three times the steps", patient)

# %%
assert long[:, 23].min() > 0.99, "parity should be learnt at T = 24"
assert long[:, 399].min() > 0.99, "parity should hold at T = 400"
for init in ["default", "Q"]:
    assert torch.cat([lagged[init, 5], lagged[init, 10]]).min() > 0.99, "short lags"
# Of ten trainings at lags 20 and 40, how many were learnt?
LEARNT = 0.9  # accuracy
solved = {
    init: sum(int((lagged[init, lag] > LEARNT).sum()) for lag in (20, 40))
    for init in ["default", "Q"]
}
assert solved["default"] <= 4, "the default start should mostly fail at long lags"
assert solved["Q"] >= 6, "an orthogonal start should mostly reach them"

# %%
fig, ax = plt.subplots()
ax.axhline(0.5, color="gray", lw=0.8, ls="--")
TESTS = [24, 50, 100, 200, 400]
ax.plot(
    TESTS, long[:, [t - 1 for t in TESTS]].min(0).values, "s-", color="C1", label="Q, T"
)
for color, init in (("C1", "Q"), ("C0", "default")):
    means = [lagged[init, lag].mean() for lag in RECALL_LAGS]
    ax.plot(RECALL_LAGS, means, "o--", color=color, label=f"{init}, k")
    for lag in RECALL_LAGS:
        ax.plot(
            [lag] * len(SEEDS), lagged[init, lag], ".", color=color, alpha=0.6, ms=7
        )
ax.set(xscale="log", ylim=(0.42, 1.05), xlabel="T, k")
ax.set_xticks(
    [5, 10, 20, 40, 80, 200, 400], ["5", "10", "20", "40", "80", "200", "400"]
)
ax.minorticks_off()
ax.legend(loc="center right")
fig.savefig("length.svg")

# %% [markdown] lang="zh"
# ## 读真的文字
#
# 车万育（1705 年卒）《声律启蒙》上卷的前五韵，十五段，每段除末一联外，句式全同，属公有领域。各本用字略有出入，如“龙旗”或作“龙旂”，这里照通行的简体本。每韵留出末一段不训练，共五段。换行是一段的开头，也是结尾。

# %% [markdown] lang="en"
# ## Real text
#
# The first five rhymes of <span lang="zh">声律启蒙</span>, a primer of couplets by Che Wanyu (died 1705), in the public domain: fifteen stanzas, all in one metre but for their last couplets. Editions differ in a few characters, as in <span lang="zh">龙旗</span> or <span lang="zh">龙旂</span>; this is a common text in simplified characters. The last stanza of each rhyme is held out, five in all. A line break begins a stanza and ends it.

# %%
RHYMES = [
    """
云对雨，雪对风，晚照对晴空。来鸿对去燕，宿鸟对鸣虫。三尺剑，六钧弓，岭北对江东。
人间清暑殿，天上广寒宫。两岸晓烟杨柳绿，一园春雨杏花红。两鬓风霜，途次早行之客；
一蓑烟雨，溪边晚钓之翁。

沿对革，异对同，白叟对黄童。江风对海雾，牧子对渔翁。颜巷陋，阮途穷，冀北对辽东。
池中濯足水，门外打头风。梁帝讲经同泰寺，汉皇置酒未央宫。尘虑萦心，懒抚七弦绿绮；
霜华满鬓，羞看百炼青铜。

贫对富，塞对通，野叟对溪童。鬓皤对眉绿，齿皓对唇红。天浩浩，日融融，佩剑对弯弓。
半溪流水绿，千树落花红。野渡燕穿杨柳雨，芳池鱼戏芰荷风。
女子眉纤，额下现一弯新月；男儿气壮，胸中吐万丈长虹。
""",
    """
春对夏，秋对冬，暮鼓对晨钟。观山对玩水，绿竹对苍松。冯妇虎，叶公龙，舞蝶对鸣蛩。
衔泥双紫燕，课蜜几黄蜂。春日园中莺恰恰，秋天塞外雁雍雍。秦岭云横，迢递八千远路；
巫山雨洗，嵯峨十二危峰。

明对暗，淡对浓，上智对中庸。镜奁对衣笥，野杵对村舂。花灼烁，草蒙茸，九夏对三冬。
台高名戏马，斋小号蟠龙。手擘蟹螯从毕卓，身披鹤氅自王恭。
五老峰高，秀插云霄如玉笔；三姑石大，响传风雨若金镛。

仁对义，让对恭，禹舜对羲农。雪花对云叶，芍药对芙蓉。陈后主，汉中宗，绣虎对雕龙。
柳塘风淡淡，花圃月浓浓。春日正宜朝看蝶，秋风那更夜闻蛩。
战士邀功，必借干戈成勇武；逸民适志，须凭诗酒养疏慵。
""",
    """
楼对阁，户对窗，巨海对长江。蓉裳对蕙帐，玉斝对银釭。青布幔，碧油幢，宝剑对金缸。
忠心安社稷，利口覆家邦。世祖中兴延马武，桀王失道杀龙逄。
秋雨潇潇，漫烂黄花都满径；春风袅袅，扶疏绿竹正盈窗。

旌对旆，盖对幢，故国对他邦。千山对万水，九泽对三江。山岌岌，水淙淙，鼓振对钟撞。
清风生酒舍，皓月照书窗。阵上倒戈辛纣战，道旁系剑子婴降。
夏日池塘，出没浴波鸥对对；春风帘幕，往来营垒燕双双。

铢对两，只对双，华岳对湘江。朝车对禁鼓，宿火对寒缸。青琐闼，碧纱窗，汉社对周邦。
笙箫鸣细细，钟鼓响摐摐。主簿栖鸾名有览，治中展骥姓惟庞。苏武牧羊，雪屡餐于北海；
庄周活鲋，水必决于西江。
""",
]

# %%
RHYMES += [
    """
茶对酒，赋对诗，燕子对莺儿。栽花对种竹，落絮对游丝。四目颉，一足夔，鸲鹆对鹭鸶。
半池红菡萏，一架白荼蘼。几阵秋风能应候，一犁春雨甚知时。
智伯恩深，国士吞变形之炭；羊公德大，邑人竖堕泪之碑。

行对止，速对迟，舞剑对围棋。花笺对草字，竹简对毛锥。汾水鼎，岘山碑，虎豹对熊罴。
花开红锦绣，水漾碧琉璃。去妇因探邻舍枣，出妻为种后园葵。
笛韵和谐，仙管恰从云里降；橹声咿轧，渔舟正向雪中移。

戈对甲，鼓对旗，紫燕对黄鹂。梅酸对李苦，青眼对白眉。三弄笛，一围棋，雨打对风吹。
海棠春睡早，杨柳昼眠迟。张骏曾为槐树赋，杜陵不作海棠诗。晋士特奇，可比一斑之豹；
唐儒博识，堪为五总之龟。
""",
    """
来对往，密对稀，燕舞对莺飞。风清对月朗，露重对烟微。霜菊瘦，雨梅肥，客路对渔矶。
晚霞舒锦绣，朝露缀珠玑。夏暑客思欹石枕，秋寒妇念寄边衣。
春水才深，青草岸边渔父去；夕阳半落，绿莎原上牧童归。

宽对猛，是对非，服美对乘肥。珊瑚对玳瑁，锦绣对珠玑。桃灼灼，柳依依，绿暗对红稀。
窗前莺并语，帘外燕双飞。汉致太平三尺剑，周臻大定一戎衣。吟成赏月之诗，只愁月堕；
斟满送春之酒，惟憾春归。

声对色，饱对饥，虎节对龙旗。杨花对桂叶，白简对朱衣。尨也吠，燕于飞，荡荡对巍巍。
春暄资日气，秋冷借霜威。出使振威冯奉世，治民异等尹翁归。燕我弟兄，载咏棣棠韡韡；
命伊将帅，为歌杨柳依依。
""",
]

# %%
STANZAS = [
    "".join(stanza.split()) for rhyme in RHYMES for stanza in rhyme.split("\n\n")
]
TRAIN = [stanza for i, stanza in enumerate(STANZAS) if i % 3 != 2]
HELD = STANZAS[2::3]
CHARACTERS = ["\n", *sorted(set("".join(STANZAS)))]
INDEX = {character: i for i, character in enumerate(CHARACTERS)}
V, METRE = len(CHARACTERS), "，。；对\n"
unseen = [c for c in "".join(HELD) if c not in "".join(TRAIN)]
unseen_share = len(unseen) / len("".join(HELD))
print(f"{len(''.join(TRAIN))} characters to learn from, {len(''.join(HELD))} held out")
print(f"V = {V}; of those held out {unseen_share:.0%} never occur in the others")
assert len(STANZAS) == 15 and {len(stanza) for stanza in STANZAS} == {92, 94}

# %% [markdown] lang="zh"
# 困惑度是“平均一个字的损失”取指数。两条基线：均匀地猜，困惑度就是 $V$；只看字频（每个字多算一次，免得概率为零）。模型是嵌入、一层 RNN、线性层，$H = 256$，循环权重正交初始化，Adam，学习率 0.001，裁剪到 1，每步把十段全看一遍，共 80 步。分两栏再算一次：一栏是标点、“对”字和换行，由句式决定；另一栏是其余的字。

# %% [markdown] lang="en"
# Perplexity is the exponential of the mean loss of a character. Two baselines: a uniform guess, whose perplexity is $V$, and the frequencies of the characters alone (each counted once more, so that none has probability zero). The model is an embedding, one layer of RNN and a linear layer, with $H = 256$, an orthogonal start, Adam at 0.001, clipping at 1, all ten stanzas at every step and 80 steps. Then the same again in two parts: punctuation, <span lang="zh">对</span> and the line break, which the metre decides, and all other characters.


# %%
def encode(stanzas: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """What is read and what comes next, (B, T) each; -100 is padding."""
    x = torch.zeros(len(stanzas), 95, dtype=torch.long)
    y = torch.full((len(stanzas), 95), -100)
    for row, stanza in enumerate(stanzas):
        read = [INDEX[character] for character in "\n" + stanza]
        x[row, : len(read)] = torch.tensor(read)
        y[row, : len(read)] = torch.tensor(read[1:] + [0])
    return x.to(DEVICE), y.to(DEVICE)


# %%
class Writer(nn.Module):
    """Logits of the next character at every step."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(V, 64)
        self.rnn = nn.RNN(64, 256, batch_first=True)
        self.readout = nn.Linear(256, V)
        nn.init.orthogonal_(self.rnn.weight_hh_l0)

    def forward(self, x, h=None):
        out, h = self.rnn(self.embedding(x), h)
        return self.readout(out), h  # (B, T, V)


# %%
is_metre = torch.tensor([c in METRE for c in CHARACTERS], device=DEVICE)
counts = torch.ones(V)
for character in "".join(stanza + "\n" for stanza in TRAIN):
    counts[INDEX[character]] += 1
by_frequency = counts.log().to(DEVICE)  # logits


def perplexity(logits: torch.Tensor, y: torch.Tensor) -> list[float]:
    """Of all characters, of those the metre decides, of the rest."""
    logits, y = logits.flatten(0, 1)[y.flatten() >= 0], y[y >= 0]
    loss = nn.functional.cross_entropy(logits, y, reduction="none")
    parts = loss, loss[is_metre[y]], loss[~is_metre[y]]
    return [part.mean().exp().item() for part in parts]


# %%
def write(model: Writer, temperature: float, seed: int) -> str:
    """48 characters, each read again before the next; / is a line break."""
    generator, character, h, text = torch.Generator().manual_seed(seed), 0, None, ""
    with torch.no_grad():
        while len(text) < 48:
            logits, h = model(torch.tensor([[character]], device=DEVICE), h)
            p = (logits[0, 0] / temperature).softmax(0).cpu()
            character = torch.multinomial(p, 1, generator=generator).item()
            text += "／" if character == 0 else CHARACTERS[character]
    return text


def copied(text: str) -> int:
    """Length of the longest piece that stands in a stanza learnt from."""
    pieces = (text[i:j] for i in range(len(text)) for j in range(i, len(text) + 1))
    return max(len(p) for p in pieces if any(p in stanza for stanza in TRAIN))


# %%
EARLY, LATE, TEMPERATURES = 30, 80, (0.5, 1.0, 1.5)
x_train, y_train = encode(TRAIN)
x_held, y_held = encode(HELD)


def study(seed: int):
    """Perplexities every ten steps; the metre foretold; texts written."""
    torch.manual_seed(seed)
    model = Writer().to(DEVICE)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    curve, right, written = [], {}, {}
    for step in range(LATE + 1):
        logits = model(x_train)[0]
        if step % 10 == 0:
            with torch.no_grad():
                unread = model(x_held)[0]
                curve.append(
                    [perplexity(logits, y_train)[0], *perplexity(unread, y_held)]
                )
        if step in (EARLY, LATE):
            hit = unread.argmax(2) == y_held
            metre = is_metre[y_held.clamp(min=0)] & (y_held >= 0)
            rest = (y_held >= 0) & ~metre
            right[step] = [hit[part].float().mean().item() for part in (metre, rest)]
            for t in TEMPERATURES:
                written[step, t] = write(model, t, seed)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), y_train.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    return torch.tensor(curve), right, written


# %%
studies = [study(seed) for seed in SEEDS]
text_curves = torch.stack([curve for curve, _, _ in studies])  # (seeds, steps, 4)
unigram_train = perplexity(by_frequency.expand(*y_train.shape, V), y_train)
unigram_held = perplexity(by_frequency.expand(*y_held.shape, V), y_held)
print(f"uniform {V}; unigram, learnt from {unigram_train[0]:.0f}", end="; ")
print("held out, all, metre, rest:", [round(value) for value in unigram_held])
print("step   learnt from   held out: all, metre, rest (means over seeds)")
for step, row in zip(range(0, LATE + 1, 10), text_curves.log().mean(0).exp()):
    print(f"{step:<7}" + "".join(f"{value:>10.1f}" for value in row.tolist()))

# %%
for step in (EARLY, LATE):
    print(f"\nseed 0 after {step} steps")
    for t in TEMPERATURES:
        text = studies[0][2][step, t]
        print(f"temperature {t}, longest piece copied {copied(text)}:\n{text}")

# %%
early, late = text_curves[:, EARLY // 10], text_curves[:, LATE // 10]
metre_right = torch.tensor([right[EARLY][0] for _, right, _ in studies])
rest_right = torch.tensor([right[EARLY][1] for _, right, _ in studies])
recited = [copied(written[LATE, 0.5]) for _, _, written in studies]
invented = [copied(written[EARLY, 1.0]) for _, _, written in studies]

assert early[:, 1].max() < 0.95 * unigram_held[0], "early on it should beat unigram"
assert early[:, 2].max() < unigram_held[1] / 2, "because it foretells the metre"
assert early[:, 3].min() > unigram_held[2], "and nothing else"
assert late[:, 0].max() < 1.5, "then it should know the ten stanzas by heart"
assert late[:, 1].min() > unigram_held[0], "and be worse than unigram"
assert metre_right.min() > 0.7, "the metre is mostly foretold"
assert rest_right.max() < 0.05, "the other characters hardly ever"
assert min(recited) > 20 and max(invented) < 10, "late and cold it recites"

# %%
fig, ax = plt.subplots()
for i, colour in enumerate(("C0", "C1")):  # learnt from, held out
    for curve in text_curves:
        ax.plot(range(0, LATE + 1, 10), curve[:, i], color=colour, alpha=0.35, lw=1)
    middle = text_curves[:, :, i].log().mean(0).exp()
    ax.plot(range(0, LATE + 1, 10), middle, "o-", color=colour, ms=4)
ax.axhline(V, color="gray", ls=":")
ax.axhline(unigram_held[0], color="gray", ls="--")
ax.text(2, 1.1 * V, "V", color="gray")
ax.set(yscale="log", ylim=(0.8, 2000))
ax.set_ylabel(r"$\exp(-\frac{1}{T}\Sigma\ln p)$")
ax.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1000"])
fig.savefig("text.svg")

# %% [markdown] lang="zh"
# ## 一步的乘加
#
# 每一步每个样本：输入乘 $HI$ 次，状态乘 $H^2$ 次，偏置和 tanh 另算。让 PyTorch 的计数器数一遍（它把一次乘加算作两次运算）。

# %% [markdown] lang="en"
# ## Multiply–adds of a step
#
# For each step of each example: $HI$ for the input and $H^2$ for the state, biases and tanh apart. PyTorch's counter agrees (it takes one multiply–add for two operations).


# %%
def multiply_adds(input_size: int, hidden_size: int, steps: int) -> float:
    """Counted for one example, divided by the steps."""
    with FlopCounterMode(display=False) as counter:
        RNN(input_size, hidden_size)(torch.zeros(1, steps, input_size))
    return counter.get_total_flops() / 2 / steps


macs = {size: multiply_adds(size, size, 50) for size in (32, 64)}
for size, counted in macs.items():
    assert counted == 2 * size**2 == multiply_adds(size, size, 200)
assert multiply_adds(3, 5, 50) == 5 * (3 + 5)
parameters = sum(p.numel() for p in RNN(1, 64).parameters())
assert parameters == 64 * (1 + 64) + 2 * 64

# %% [markdown] lang="zh"
# ## 叠两层
#
# 下层每一步的状态，是上层那一步的输入。与 `nn.RNN(num_layers=2)` 比输出、末状态和梯度，双精度。暂退法只在层与层之间：全部丢掉（`dropout=1`）时，上层什么也听不见，两者的输出仍然相等。

# %% [markdown] lang="en"
# ## Two layers
#
# The state of the lower layer is the input of the upper one at the same step. Outputs, final states and gradients against `nn.RNN(num_layers=2)`, in float64. Dropout acts between layers only: when it drops everything (`dropout=1`), the upper layer hears nothing, and the two still agree.


# %%
# --8<-- [start:stack]
class StackedRNN(nn.Module):
    """The weights and values of nn.RNN(I, H, num_layers=L, batch_first=True)."""

    def __init__(self, input_size, hidden_size, num_layers, dropout=0.0):
        super().__init__()
        sizes = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(RNN(size, hidden_size) for size in sizes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        last = []
        for i, layer in enumerate(self.layers):
            x, h = layer(self.dropout(x) if i else x)
            last.append(h)
        return x, torch.stack(last)  # (B, T, H), (L, B, H)


for dropout in (0.0, 1.0):
    twin = nn.RNN(3, 5, num_layers=2, batch_first=True, dropout=dropout).double()
    ours = StackedRNN(3, 5, 2, dropout).double()
    for i, layer in enumerate(ours.layers):
        own = {k for k in twin.state_dict() if k.endswith(f"l{i}")}
        layer.load_state_dict({k[:-1] + "0": twin.state_dict()[k] for k in own})
    x = torch.randn(2, 7, 3).double()
    for found, wanted in zip(ours(x), twin(x)):
        assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
    ours(x)[0].square().sum().backward()
    twin(x)[0].square().sum().backward()
    for p, q in zip(ours.parameters(), twin.parameters()):
        assert torch.allclose(p.grad, q.grad, rtol=0, atol=1e-12)
count = sum(p.numel() for p in ours.parameters())
assert count == (5 * 3 + 5 * 5 + 2 * 5) + (5 * 5 + 5 * 5 + 2 * 5) == 110
# --8<-- [end:stack]

# %% [markdown] lang="zh"
# ## 练习的答案
#
# 练习 1：斜率多大，机器才记得住？

# %% [markdown] lang="en"
# ## Answers to the exercises
#
# Exercise 1: how steep must the machine be to remember?


# %%
# --8<-- [start:exercise-1]
import math


def at_rest(slope: float, p: float) -> float:
    """Where p = (h_1 - h_2)/2 settles when nothing but zeros comes in."""
    for _ in range(10_000):
        p = (math.tanh(slope * (p - 0.5)) - math.tanh(slope * (p - 1.5))) / 2
    return p


for slope in (1.5, 2.0, 2.5, 3.0, 4.0):
    even, odd = at_rest(slope, 0.0), at_rest(slope, 1.0)
    print(f"slope {slope}: from 0 to {even:.3f}, from 1 to {odd:.3f}")
    assert (odd - even > 0.5) == (slope > 2.2)
# --8<-- [end:exercise-1]

# %% [markdown] lang="zh"
# 二分法求临界的斜率。

# %% [markdown] lang="en"
# The critical slope, by bisection.

# %%
low, high = 2.0, 2.5
while high - low > 1e-3:
    half = (low + high) / 2
    remembers = at_rest(half, 1.0) - at_rest(half, 0.0) > 0.1
    low, high = (low, half) if remembers else (half, high)
critical = (low + high) / 2
print(f"critical slope {critical:.3f}")

# %% [markdown] lang="zh"
# 练习 2：读二进制数，高位在前，判断是否是 3 的倍数。

# %% [markdown] lang="en"
# Exercise 2: read a binary number, highest bit first, and say whether 3 divides it.

# %%
# --8<-- [start:exercise-2]
PAIRS = [(r, bit) for r in range(3) for bit in range(2)]  # one unit for each
after_pair = [(2 * r + bit) % 3 for r, bit in PAIRS]
machine = RNN(1, 6).double()
with torch.no_grad():
    for unit, (r, bit) in enumerate(PAIRS):
        sources = torch.tensor([float(after == r) for after in after_pair])
        # tanh 8(1 if the remainder is r, + 1 if the bit is right, - 1.5)
        machine.weight_hh_l0[unit] = 8 * sources / 2  # h is -1 or 1: halve, shift
        machine.weight_ih_l0[unit] = 8 * (2 * bit - 1)
        machine.bias_ih_l0[unit] = 8 * (sources.sum() / 2 + (1 - bit) - 1.5)
    machine.bias_hh_l0.zero_()
    bits = torch.randint(2, (64, 400))
    start = torch.full((64, 6), -1.0).double()
    start[:, 0] = 1.0  # the unit of (0, 0): nothing read yet, remainder 0
    out = machine(bits.unsqueeze(2).double(), start)[0]
for row, states in zip(bits.tolist(), out.argmax(2).tolist()):
    number = 0
    for bit, unit in zip(row, states):
        number = 2 * number + bit
        assert after_pair[unit] == number % 3
# --8<-- [end:exercise-2]

# %% [markdown] lang="zh"
# 练习 3：困惑度与温度的两端。

# %% [markdown] lang="en"
# Exercise 3: the ends of perplexity and of temperature.

# %%
# --8<-- [start:exercise-3]
cross_entropy = nn.functional.cross_entropy
answer, nothing = torch.tensor([2]), torch.zeros(1, 638)
sure = nothing.index_fill(1, answer, 20.0)  # almost all on the answer
wrong = nothing.index_fill(1, torch.tensor([5]), 20.0)  # on another character
found = [cross_entropy(g, answer).exp().item() for g in (sure, nothing, wrong)]
print([f"{value:.4g}" for value in found])
assert found[0] < 1.001 and abs(found[1] - 638) < 0.1 and found[2] > 1e8

logits = torch.tensor([2.0, 1.0, 0.0])
for temperature in (0.01, 0.5, 1.0, 1.5, 100.0):
    p = (logits / temperature).softmax(0)
    print(temperature, [round(value, 3) for value in p.tolist()])
assert (logits / 0.01).softmax(0).max() > 0.999  # the likeliest, always
assert (logits / 100.0).softmax(0).std() < 0.01  # all alike
# --8<-- [end:exercise-3]

# %% [markdown] lang="zh"
# 练习 4：共享的权重，梯度是各步之和。

# %% [markdown] lang="en"
# Exercise 4: the gradient of a shared weight is a sum over steps.

# %%
# --8<-- [start:exercise-4]
u = torch.full((3,), 0.5, dtype=torch.float64, requires_grad=True)
h = torch.zeros((), dtype=torch.float64)
for t, x_t in enumerate([1.0, 0.0, 0.0]):
    h = torch.tanh(x_t + u[t] * h)  # each step with a copy of its own
(copies,) = torch.autograd.grad(h, u)

one = torch.full((), 0.5, dtype=torch.float64, requires_grad=True)
h = torch.zeros((), dtype=torch.float64)
for x_t in [1.0, 0.0, 0.0]:
    h = torch.tanh(x_t + one * h)  # all steps with the same
(shared,) = torch.autograd.grad(h, one)
print([round(value, 4) for value in copies.tolist()], round(shared.item(), 4))
assert torch.isclose(shared, copies.sum())
# --8<-- [end:exercise-4]

# %% [markdown] lang="zh"
# ## 结果
#
# 判定由测量算出，页面引用它；哪天实验不再支持，建站就会停下。

# %% [markdown] lang="en"
# ## Results
#
# Verdicts are computed from the measurements, and the page quotes them: should the lab stop supporting one, the build stops.

# %%
vanishes = {init: highest < 1e-3 for init, (_, highest) in lag_50.items()}
explodes = {init: lowest > 1e3 for init, (lowest, _) in lag_50.items()}
reaches = {key: shares.min() > LEARNT for key, shares in lagged.items()}
# All but exploding gains favour the recent.
favours_recent = all(
    (curve[:, 10] < curve[:, 1]).all()
    for init, curve in curves.items()
    if not explodes[init]
)
claim_vanishing = verdict(all(vanishes.values()), any(vanishes.values()))
claim_long_sequences = verdict(long[:, 399].min() > 0.99)
claim_long_lags = verdict(all(reaches.values()), any(reaches.values()))
# The note: "not suited to long sequences".
claim_unfit = verdict(claim_long_sequences == "fails", claim_long_lags != "holds")
# The note: a bias for long-term dependency.
claim_bias_long = verdict(not favours_recent)

# %%
short_lags = torch.cat([lagged[init, lag] for init in INITS[:2] for lag in (5, 10)])
results = {
    "gain_default_high": lag_50["default"][1],
    "gain_orthogonal_low": lag_50["Q"][0],
    "gain_orthogonal_high": lag_50["Q"][1],
    "gain_half_more_low": lag_50["1.5Q"][0],
    "gain_half_more_high": lag_50["1.5Q"][1],
    "gain_triple_low": lag_50["3Q"][0],
    "gain_triple_high": lag_50["3Q"][1],
    "gain_orthogonal_small_input": at_50["Q", 0.1],
    "gain_orthogonal_unit_input": at_50["Q", 1.0],
    "gain_orthogonal_large_input": at_50["Q", 3.0],
    "clip_steps": CLIP_STEPS,
    "clip_norm_low": norm.min().item(),
    "clip_update_high": update.max().item(),
    "clip_gain_low": after.min().item(),
    "adam_free": adam[0].mean().item(),
    "adam_clipped": adam[1].mean().item(),
    "parity_24": long[:, 23].min().item(),
    "parity_400": long[:, 399].min().item(),
    "learnt": LEARNT,
    "recall_trained": 2 * len(SEEDS),
    "recall_default_solved": solved["default"],
    "recall_orthogonal_solved": solved["Q"],
    "recall_short_low": short_lags.min().item(),
    "recall_default_20": lagged["default", 20].mean().item(),
    "recall_default_40": lagged["default", 40].mean().item(),
    "recall_patient_solved": int((patient > LEARNT).sum()),
    "recall_orthogonal_20": lagged["Q", 20].mean().item(),
    "recall_orthogonal_40": lagged["Q", 40].mean().item(),
    "macs_64": int(macs[64]),
    "parameters_1_64": parameters,
    "critical_slope": critical,
    "claim_vanishing": claim_vanishing,
    "claim_long_sequences": claim_long_sequences,
    "claim_long_lags": claim_long_lags,
    "claim_unfit": claim_unfit,
    "claim_bias_long": claim_bias_long,
}

# %%
early_train, early_held, early_metre, early_rest = map(span, early.T)
late_train, late_held, late_metre, late_rest = map(span, late.T)
results = results | {
    "text_train": len("".join(TRAIN)),
    "text_held": len("".join(HELD)),
    "text_v": V,
    "text_unseen": unseen_share,
    "text_early": EARLY,
    "text_late": LATE,
    "unigram_train": unigram_train[0],
    "unigram_held": unigram_held[0],
    "unigram_metre": unigram_held[1],
    "unigram_rest": unigram_held[2],
    "early_train_low": early_train[0],
    "early_train_high": early_train[1],
    "early_held_low": early_held[0],
    "early_held_high": early_held[1],
    "early_metre_low": early_metre[0],
    "early_metre_high": early_metre[1],
    "early_rest_low": early_rest[0],
    "early_rest_high": early_rest[1],
    "late_train_low": late_train[0],
    "late_train_high": late_train[1],
    "late_held_low": late_held[0],
    "late_held_high": late_held[1],
    "late_metre_low": late_metre[0],
    "late_metre_high": late_metre[1],
    "late_rest_low": late_rest[0],
    "late_rest_high": late_rest[1],
    "metre_right_low": metre_right.min().item(),
    "metre_right_high": metre_right.max().item(),
    "rest_right_high": rest_right.max().item(),
    "recited_low": min(recited),
    "early_cold": studies[0][2][EARLY, 0.5],
    "late_cold": studies[0][2][LATE, 0.5],
    "late_warm": studies[0][2][LATE, 1.0],
    "late_hot": studies[0][2][LATE, 1.5],
    "hot_copied_high": max(copied(written[LATE, 1.5]) for _, _, written in studies),
}
for name, value in results.items():
    print(f"{name:<28}{value}")
