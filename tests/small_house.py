"""A small book without a fault, into which tests put one."""

# A Chinese paragraph is one line.
# ruff: noqa: E501

from pathlib import Path

SNIPPET = '''"""An echo: what is heard fades, what is said is added.

Source: the reader's own ears.
Axes: B batch, T time, I input,
    H hidden.
Run: python echo.py
Licence: MIT.
"""

# --8<-- [start:imports]
import math

import torch
from torch import nn

# --8<-- [end:imports]

STEPS = 3


# --8<-- [start:cell]
class Echo(nn.Module):
    """A leaky sum."""

    def forward(self, x):
        """Run over time.

        Shape:
            x: (B, T, I)
            -> (B, T, I)
        """
        out, h = [], 0
        for x_t in x.unbind(1):
            # --8<-- [start:step]
            h = h / 2 + x_t  # (B, I), eq. 3
            # --8<-- [end:step]
            out.append(h)
        return torch.stack(out, 1)
        # --8<-- [end:cell]


# --8<-- [start:main]
def main(steps: int = STEPS, seed: int = 0, device=None) -> list[float]:
    """Listen; returns the losses."""
    torch.manual_seed(seed)
    losses = [math.exp(-step) for step in range(steps)]
    print(f"loss {losses[-1]:.3f}")
    return losses
    # --8<-- [end:main]


if __name__ == "__main__":
    main()
'''

LAB = """# %% [markdown] lang="zh"
# # 实验：回声
# 衰减 $r^k$，半衰期 {{ lab.echo.half:.1f }} 步。
# %% [markdown] lang="en"
# # Lab: echo
# The decay $r^k$ halves in {{ lab.echo.half:.1f }} steps.

# %%
from snippets.echo import Echo, main

import os

import matplotlib.pyplot as plt

DEVICE = os.environ.get("LAB_DEVICE", "cpu")

fig, ax = plt.subplots()
fig.savefig("decay.svg")

# %%
# --8<-- [start:exercise-1]
print(Echo())
# --8<-- [end:exercise-1]

# %%
results = {"half": 1.0, "steps": 3, "claim_fades": "holds"}
"""

TEST = """import pytest
import torch
from snippets.echo import Echo


def test_it_fades():
    out = Echo()(torch.tensor([[[1.0], [0.0]]]))
    assert out.flatten().tolist() == [1.0, 0.5]


def test_it_refuses_what_is_no_tensor():
    with pytest.raises(AttributeError):
        Echo()(1)
"""

DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9">
<style>.echo-line { stroke: var(--fig-ink); fill: none }</style>
<path id="echo-a" class="echo-line" d="M0 0L9 9" stroke="var(--fig-0)"/>
<text x="1" y="2" fill="currentColor">h</text>
</svg>
"""

ZH = """---
description: 回声：听见的会淡去。
---

# 回声 {#echo}

## 直觉 {#idea}

回声（echo）是最小的循环：旧的淡去，新的加上。参见[术语](index.md#words)，也见 <https://example.org/a>。

<figure markdown="1">
<div role="img" aria-label="一条线：从左到右" markdown="1">
--8<-- "drawings/echo.svg"
</div>
<figcaption markdown="span">线宽是 $h_t$ 的大小。</figcaption>
</figure>

## 公式 {#equations}

$$
h_t = \\tfrac{1}{2} h_{t-1} + x_t, \\quad \\text{其中 } h_0 = 0
$$

| 字母 | 形状 |
|:-----|-----:|
| $h_t$ | $(B, I)$ |

## 代码 {#code}

```python
--8<-- "echo.py:step"
```

```python
--8<-- "echo.py:main"
```

整个文件：[echo.py](code/echo.py)。

??? example "整个文件"

    ```python
    --8<-- "echo.py"
    ```

## 手算 {#by-hand}

1. 取 $x = (1, 0)$，得 1、0.5。
2. **再听**：`h = 1.5`，比值 2:1。

## 实验结果 {#evidence}

半衰期为 {{ lab.echo.half:.1f }} 步，“会淡去”{{ lab.echo.claim_fades == holds }}。见[图 1.2](lab/echo.ipynb)，`0.5` 是代码，$0.5$ 是公式。

--8<-- "echo/decay.svg"

## 局限 {#limits}

> 只会淡去。

## 小结 {#summary}

回声会淡去。

## 练习 {#exercises}

??? question "练习 1 · 再大些？"

    ```python
    --8<-- "lab/echo.py:exercise-1"
    ```

## 参考 {#references}

- Somebody 1990. Echo. Sound 1(2). [doi 10.1/x](https://doi.org/10.1/x(1))；第一次提出，又见 <https://doi.org/10.1/y(1)>。
"""

EN = """---
description: "An echo: what is heard fades."
---

# Echo {#echo}

## Intuition {#idea}

An echo is the smallest loop: the old fades, the new is added. See the
[words](index.md#words) and <https://example.org/a>.

<figure markdown="1">
<div role="img" aria-label="A line, left to right" markdown="1">
--8<-- "drawings/echo.svg"
</div>
<figcaption markdown="span">The line is as wide as $h_t$.</figcaption>
</figure>

## Equations {#equations}

$$
h_t = \\tfrac{1}{2} h_{t-1} + x_t, \\quad \\text{where } h_0 = 0
$$

| letter | shape |
|:-------|------:|
| $h_t$ | $(B, I)$ |

## Code {#code}

```python
--8<-- "echo.py:step"
```

```python
--8<-- "echo.py:main"
```

The whole file: [echo.py](code/echo.py).

??? example "The whole file"

    ```python
    --8<-- "echo.py"
    ```

## By hand {#by-hand}

1. Take $x = (1, 0)$: out come 1, 0.5.
2. **Again**: `h = 1.5`, the ratio is 2:1.

## Evidence {#evidence}

It halves in {{ lab.echo.half:.1f }} steps; that it fades {{ lab.echo.claim_fades == holds }}. See [figure 1.2](lab/echo.ipynb); `0.5` is code, $0.5$ a formula.

--8<-- "echo/decay.svg"

## Limits {#limits}

> It only fades.

## Summary {#summary}

An echo fades.

## Exercises {#exercises}

??? question "Exercise 1 · More?"

    ```python
    --8<-- "lab/echo.py:exercise-1"
    ```

## References {#references}

- Somebody 1990. Echo. Sound 1(2). [doi 10.1/x](https://doi.org/10.1/x(1)); the first, again in <https://doi.org/10.1/y(1)>.
"""

GUIDE = """---
description: 首页。
---

# 展开

## 术语 {#words}

一个词。

````markdown
```python
x[:, t]  {{ lab.nowhere.x }} 中文,
```
````

{{ references }}
"""


def english(guide: str) -> str:
    """Translate the guide below, or a text made of its words."""
    words = {"首页。": "Home.", "展开": "Unrolled", "术语": "Words", "一个词。": "One."}
    for chinese, word in words.items():
        guide = guide.replace(chinese, word)
    return guide


FILES = {
    "snippets/echo.py": SNIPPET,
    "docs/lab/echo.py": LAB,
    "docs/drawings/echo.svg": DRAWING,
    "docs/zh/echo.md": ZH,
    "docs/en/echo.md": EN,
    "docs/zh/index.md": GUIDE,
    "docs/en/index.md": english(GUIDE),
    "docs/translations.lock": "# drafts: nobody has read both languages yet\n",
    "README.zh.md": "# 回声\n\n一个词。\n",
    "tests/test_echo.py": TEST,
    "mkdocs.yml": "site_name: !ENV [NAME, x]\nnav:\n  - index.md\n  - echo.md\n",
}


def build(root: Path) -> Path:
    """Write the small book into a folder."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


def edit(root: Path, file: str, old: str, new: str) -> None:
    """Replace `old`, wherever it stands in the file."""
    text = (root / file).read_text("utf-8")
    assert old in text, f"{file} has no {old!r}"
    (root / file).write_text(text.replace(old, new), "utf-8")
