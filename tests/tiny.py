"""A book of three pages and one lab, laid out in a folder, for tests of the press."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
IDS = "idea equations code by-hand evidence limits exercises references".split()
TITLES = {
    "zh": "直觉 方程 代码 手算 证据 局限 练习 参考文献".split(),
    "en": "Idea Equations Code By-hand Evidence Limits Exercises References".split(),
}
FIGURE = """\
<figure markdown="1">
<div role="img" aria-label="{label}" markdown="1">
--8<-- "rnn/gain.svg"
</div>
<figcaption markdown="span">{caption}</figcaption>
</figure>"""
SECTIONS = {
    "zh": {
        "idea": "一个规则，反复使用。",
        "equations": "$$\nh^t = \\tanh(W x^t + U h^{t-1})\n$$",
        "code": '```python\n--8<-- "rnn.py:step"\n```',
        "by-hand": "取 $w = 1$，得 $h = 1$。",
        "evidence": "增益是 {{ lab.rnn.gain:.2f }}；这句话{{ lab.rnn.claim_short == "
        "conditional }}，见[实验](lab/rnn.ipynb)。\n\n"
        + FIGURE.format(label="增益", caption="一条线，值 {{ lab.rnn.gain:.1f }}。"),
        "limits": "见[记号](notation.md#symbols)。",
        "exercises": '??? question "练习"\n\n    ```python\n'
        '    --8<-- "lab/rnn.py:exercise-1"\n    ```',
        "references": "Elman，1990 年。",
    },
    "en": {
        "idea": "One rule, used again and again.",
        "equations": "$$\nh^t = \\tanh(W x^t + U h^{t-1})\n$$",
        "code": '```python\n--8<-- "rnn.py:step"\n```',
        "by-hand": "Take $w = 1$, then $h = 1$.",
        "evidence": "The gain is {{ lab.rnn.gain:.2f }}; it {{ lab.rnn.claim_short == "
        "conditional }}, see the [lab](lab/rnn.ipynb).\n\n"
        + FIGURE.format(label="gain", caption="A line at {{ lab.rnn.gain:.1f }}."),
        "limits": "See [notation](notation.md#symbols).",
        "exercises": '??? question "Exercise"\n\n    ```python\n'
        '    --8<-- "lab/rnn.py:exercise-1"\n    ```',
        "references": "Elman 1990.",
    },
}
GUIDES = {
    "zh": {
        "index": "首页\n\n[循环](rnn.md#idea)",
        "notation": "记号\n\n## 符号 {#symbols}",
    },
    "en": {
        "index": "Home\n\n[RNN](rnn.md#idea)",
        "notation": "Notation\n\n## Symbols {#symbols}",
    },
}
LAB = """\
# %% [markdown] lang="zh"
# # 实验：循环网络 $h^t$
#
# 增益是 {{ lab.rnn.gain:.2f }}。
# %% [markdown] lang="en"
# # Lab: RNN $h^t$
#
# The gain is {{ lab.rnn.gain:.2f }}.
# %%
from snippets.rnn import RNN
import warnings

import matplotlib.pyplot as plt

warnings.warn("not for readers")
print(sum(p.numel() for p in RNN(2, 3).parameters()))
# %% [markdown] lang="zh"
# ## 图
# %% [markdown] lang="en"
# ## Figure
# %%
fig, ax = plt.subplots()
ax.plot([1, 2, 3], label="RNN")
fig.savefig("gain.svg")
# %%
# --8<-- [start:exercise-1]
assert len("RNN") == 3
# --8<-- [end:exercise-1]
# %%
results = {"gain": 0.25, "claim_short": "conditional", "list": [1, 2.5]}
"""


def page(language: str) -> str:
    title = {"zh": "循环神经网络", "en": "RNN"}[language]
    parts = [f"---\ndescription: {title}\n---\n\n# {title}"]
    for heading, name in zip(TITLES[language], IDS):
        parts.append(f"## {heading} {{#{name}}}\n\n{SECTIONS[language][name]}")
    return "\n\n".join(parts) + "\n"


def write(root: Path) -> Path:
    """Lay the book out in `root`, with this project's own tools and templates."""
    for name in ("tools", "overrides"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "mkdocs.en.yml", root)
    nav = "nav:\n  - index.md\n  - rnn.md\n  - notation.md\nnot_in_nav"
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    config = re.sub(r"nav:\n.*?not_in_nav", nav, config, count=1, flags=re.DOTALL)
    files = {"mkdocs.yml": config, "docs/lab/rnn.py": LAB}
    files["snippets/rnn.py"] = (ROOT / "snippets" / "rnn.py").read_text("utf-8")
    files["tests/test_rnn.py"] = "from snippets.rnn import RNN\n\nassert RNN\n"
    for language in ("zh", "en"):
        files[f"docs/{language}/rnn.md"] = page(language)
        for name, text in GUIDES[language].items():
            head = f"---\ndescription: {text.splitlines()[0]}\n---\n\n# "
            files[f"docs/{language}/{name}.md"] = f"{head}{text}\n"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    return root
