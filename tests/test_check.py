"""Every fault that tools/check knows, alone in a house that has no other."""

# One fault is one line of a table, however long.
# ruff: noqa: E501

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_house import FILES, build, edit

from tools.check.registry import RULES, SUBJECTS, rule, rules
from tools.check.run import check
from tools.check.unread import unread
from tools.core.house import Fault, House

ROOT = Path(__file__).parent.parent
ZH, EN, LAB = "docs/zh/echo.md", "docs/en/echo.md", "docs/lab/echo.py"
BOTH, GUIDES = (ZH, EN), ("docs/zh/index.md", "docs/en/index.md")
SNIPPET, DRAWING = "snippets/echo.py", "docs/drawings/echo.svg"
TEST = "tests/test_echo.py"
LOCK, PAIRS = "docs/translations.lock", ("echo", "index")


@pytest.fixture
def house(tmp_path):
    return build(tmp_path)


def line_of(root: Path, file: str, at: str | int) -> int:
    """Number the first line that holds `at`."""
    if isinstance(at, int):
        return at
    text = (root / file).read_text("utf-8")
    return text.count("\n", 0, text.index(at)) + 1


def expect(faults: list[Fault], *places: str, message: str) -> None:
    """Hold the faults, all of them, to their `file:line` and to what they say."""
    found = "\n".join(map(str, faults))
    assert [f"{f.file}:{f.line}" for f in faults] == sorted(places), found
    assert all(message in fault.message for fault in faults), found


def test_a_clean_house_has_no_fault(house):
    assert check(house) == []
    assert check(house, record(house)) == []


def test_every_subject_has_rules_and_every_rule_says_what_is_wrong():
    assert all(map(rules, SUBJECTS)) and RULES.keys() == SUBJECTS
    with pytest.raises(ValueError, match="a known subject, a docstring"):
        rule("paeg")(test_a_clean_house_has_no_fault)
    with pytest.raises(ValueError, match="a known subject, a docstring"):
        rule("page")(lambda prose, house: ())


# fmt: off
# Edit `old` to `new` in the files; then each has one fault, on the line where `at`
# stands, and this is what it says.
LONG, HUGE = "    losses = losses\n" * 40, "    x = 1\n" * 60
PAGES = {
    "no front matter": (EN, "---\n", "", 1, "begin with front matter"),
    "open front matter": (EN, "---\n\n#", "\n#", 1, "begin with front matter"),
    "bad YAML": (EN, '"An echo: ', "a: ", 2, "front matter is not YAML: mapping"),
    "no mapping": (ZH, "description: ", "", 2, "front matter is a mapping"),
    "no description": (ZH, "description", "title", 2, "has no description"),
    "two titles": (BOTH, "> ", "# A {#a}\n\n> ", "# A", "a page has one title"),
    "no id": (BOTH, "> ", "### A\n\n> ", "### A", "give the heading an id"),
    "id twice": (BOTH, "> ", "### A {#idea}\n\n> ", "### A", "#idea stands twice"),
    "reference": (BOTH, "- Somebody 1990.", "- Nobody.\n- Somebody 1990.", "- Nobody", "an entry is - Authors"),
    "minutes": (BOTH, "> ", "{{ minutes.nowhere }}\n\n> ", "{{ minutes", "there is no docs/"),
    "bad section": (BOTH, "> ", "## A {#more}\n\n> ", "## A", "#more is no section"),
    "TeX": (BOTH, "x_t, ", "\\foo, ", "$$", 'Unknown command "\\foo"'),
    "inline TeX": (BOTH, "| $h_t$", "| $h_t}$", "h_t}", "bad TeX in $h_t}$"),
    "open formula": (BOTH, "> ", "> $x ", "> $x", "a formula is not closed"),
    "formula in a tag": (BOTH, 'l="', 'l="$x$ ', 'l="$x$', "a formula inside a tag"),
    "no main": (BOTH, 'echo.py:main"', 'echo.py:imports"', "{#code}", 'show main unfolded: --8<-- "echo.py:main"'),
    "main folded": (BOTH, '```python\n--8<-- "echo.py:main"\n```', '??? note "x"\n\n    ```python\n    --8<-- "echo.py:main"\n    ```', "{#code}", "show main unfolded"),
    "no whole file": (BOTH, '"echo.py"\n', '"echo.py:imports"\n', "{#code}", 'show the whole file, folded: --8<-- "echo.py"'),
    "no download": (BOTH, "(code/echo.py)", "(index.md)", "{#code}", "offer the whole file: [echo.py](code/echo.py)"),
    "Python": (BOTH, '```python\n--8<-- "echo.py:step', '```py\nx = 1\n--8<-- "echo.py:step', "```py", "include it: --8<--"),
    "script": (BOTH, "> ", "<script>alert(1)</script>\n\n> ", "<script", "<script> may not stand on a page"),
    "frame": (BOTH, "> ", '<iframe src="https://example.org"></iframe>\n\n> ', "<iframe", "<iframe> may not stand on a page"),
    "style": (BOTH, '<figure markdown="1">', '<figure style="position:fixed" markdown="1">', "<figure", "<figure> may not have style"),
    "handler": (BOTH, "> ", '> [a](index.md){ onclick="f()" } ', "onclick", "braces hold {#id}, {.class} or {lang=zh} only"),
    "handler without quotes": (BOTH, "> ", "> [a](index.md){ onclick=f() } ", "onclick", "braces hold"),
    "handler of a heading": (BOTH, "{#idea}", "{#idea onclick=f()}", "onclick", "braces hold"),
    "address in braces": (BOTH, "> ", "> [a](index.md){ href=javascript:f() } ", "href", "braces hold"),
    "style in braces": (BOTH, "> ", '> [a](index.md){ style="position:fixed" } ', "style", "braces hold"),
    "handler of a fence": (BOTH, "> ", "```{ .sh onclick=f() }\nx\n```\n\n> ", "```{", "a fence names its language and nothing else"),
    "comment": (BOTH, "> ", "<!-- a -->\n\n> ", "<!--", "a page holds no comment"),
    "address with a gap": (BOTH, "> ", "> [a](java&Tab;script:f) ", "java", "a link may begin with http"),
    "address of an image": (BOTH, "> ", "> ![a](data:text/html,x) ", "data:", "not data:"),
    "list without a blank line": (BOTH, "> ", "words\n- a\n- b\n\n> ", "- a", "a list begins after a blank line"),
    "numbers without a blank line": (BOTH, "> ", "words\n1. a\n\n> ", "1. a", "a list begins after a blank line"),
    "table without a blank line": (BOTH, "> ", "words\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> ", "|---|---|", "a table begins after a blank line"),
    "short row": (BOTH, "| $h_t$ | $(B, I)$ |", "| $h_t$ |", "| $h_t$ |", "this row has 1 cells, the head of the table 2"),
    "long row": (BOTH, "$(B, I)$ |", "$(B, I)$ | a |", "$(B, I)$ | a", "this row has 3 cells"),
    "bar in a formula": (BOTH, "| $h_t$", "| $|h_t|$", "$|h_t|$", "| in $|h_t|$ ends the cell, write \\mid"),
    "empty fold": (BOTH, "??? question", '??? question "A"\n\n??? question', '"A"', "this note is empty: indent its text"),
    "kind of a note": (BOTH, "??? question", "??? qestion", "??? qestion", "qestion is no kind of note"),
    "form of a note": (BOTH, "??? question", "??? Question", "??? Question", "a note is !!! note"),
    "indented by two": (BOTH, "> ", "words\n\n  more\n\n> ", "  more", "indented by 2 spaces"),
    "indented code": (BOTH, "> ", "words\n\n    import torch\n\n> ", "    import torch", "this is shown as code"),
    "fence without a language": (BOTH, "> ", "```\nls\n```\n\n> ", "```\nls", "a fence names its language"),
    "Python as text": (BOTH, "> ", "```text\nimport torch\n```\n\n> ", "```text", "Python is not typed"),
    "open link": (BOTH, "> ", "> [a](index.md and ", "[a](", "this link is not closed"),
    "wide link": (ZH, "> ", "> [回声]（index.md）：", "[回声]", "the address of a link stands in ( )"),
    "link without words": (BOTH, "> ", "> [](index.md) ", "[](", "a link has no words"),
    "link to nowhere": (BOTH, "> ", "> [a]() ", "[a]()", "this link leads nowhere"),
    "reference link": (BOTH, "> ", "> [a][b] ", "[a][b]", "write the address into the link"),
    "footnote": (BOTH, "> ", "> a[^9] ", "[^9]", "this book has no footnotes"),
    "TeX of LaTeX": (BOTH, "> ", "> \\(x\\) ", "\\(x", "write a formula between $ and $"),
    "bare environment": (BOTH, "> ", "> \\begin{equation} ", "\\begin", "write this between $$ and $$"),
    "straight quotes": (ZH, "> ", '> 他说"好"。', '"好"', 'half-width " in'),
    "wide comma": (EN, "> ", "> Yes，no. ", "Yes，", "full-width ， in English"),
    "include of a page": (BOTH, '"drawings/echo.svg"', '"zh/index.md"', "zh/index.md", "are included, no others"),
    "include from outside": (BOTH, '"drawings/echo.svg"', '"../echo.svg"', "../echo.svg", "are included, no others"),
    "invisible": (BOTH, "> ", "> a\u200bb ", "\u200b", "an invisible character, U+200B: take it out"),
    "direction": (BOTH, "> ", "> a\u202eb ", "\u202e", "an invisible character, U+202E"),
    "conflict": (BOTH, "> ", "<<<<<<< HEAD\na\n=======\nb\n>>>>>>> b\n\n> ", "<<<<<<<", "two versions stand here, keep one"),
    "underlined": (BOTH, "> ", "words\n=======\n\n> ", "=======", "two versions stand here"),
    "long line": (BOTH, "> ", "> " + "word " * 700, "word word", "characters, cut it to 3000"),
    "address": (BOTH, "> ", "> [a](javascript:alert(1)) ", "javascript", "a link may begin with http, https, mailto, not javascript:"),
    "hidden address": (BOTH, "> ", "> [a](java&#115;cript:f) ", "java&", "not javascript:"),
    "open tag": (BOTH, "> ", "> <q ", "<q ", "a tag is not closed; write &lt;"),
    "open fence": (GUIDES, "````\n", "````\n\n```sh\n", "```sh", "is not closed"),
    "no file": (BOTH, "echo.py:step", "ecco.py:step", "ecco.py", "ecco.py is in neither"),
    "no part": (BOTH, "echo.py:step", "echo.py:cho", ":cho", "has no section cho"),
    "by lines": (BOTH, "echo.py:step", "echo.py:1:5", ":1:5", "has no section 1:5"),
    "no drawing": (BOTH, "drawings/echo", "drawings/o", "drawings/o", "o.svg is in neither"),
    "no figure": (BOTH, "echo/decay.svg", "echo/d.svg", "/d.svg", 'savefig("d.svg")'),
    "no page": (BOTH, "index.md#words", "ecco.md", "ecco.md", "the link ecco.md leads to no page"),
    "no lab page": (BOTH, "lab/echo.ipynb", "lab/ecco.ipynb", "lab/ecco", "there is no docs/lab/ecco.py"),
    "no snippet": (BOTH, "> ", "> [a](code/ecco.py) ", "code/ecco", "there is no snippets/ecco.py"),
    "no place": (BOTH, "#words", "#verbs", "#verbs", "index.md has no {#verbs}"),
    "no place here": (BOTH, "index.md#words", "#words", "#words", "the link #words leads nowhere"),
    "bad include": (BOTH, '"echo/decay.svg"', "d.svg", "-- d", "an include is --8<"),
    "no lab": (BOTH, "lab.echo.half", "lab.ecco.half", "ecco", "no lab docs/lab/ecco"),
    "bad format": (BOTH, ":.1f }}", ":.1q }}", ":.1q", "'.1q' is no format of Python"),
    "bad verdict": (BOTH, "== holds", "== true", "== true", "a verdict is one of holds"),
    "no macro": (BOTH, ".half:.1f", ".half .1f", ".half .1f", "this is no macro"),
    "no lab's": (BOTH, "{{ lab.echo.half", "{{ lb.half", "lb.", "this is no macro"),
    "no macro in TeX": (BOTH, "$0.5$", "${{ lab.o }}$", "lab.o ", "this is no macro"),
    "Chinese in English": (EN, "It only", "It 只 only", "It 只", 'mark a quotation: <span lang="zh">只</span>'),
    "axis of a page": (BOTH, "> ", "`(B, 2H)`, `(B, 3Q)`\n\n> ", "3Q", "axis Q: Q has no meaning, docs/zh/notation.md lists"),
    "typed": (BOTH, "$0.5$", "$0.5$ 0.98 ", "0.98", "0.98 is typed by hand"),
    "typed without 0": (BOTH, "$0.5$", "$0.5$ p < .05 ", "< .05", ".05 is typed by"),
    "typed below": (BOTH, "$0.5$", "$0.5$\n\n### A {#a}\n\n1.5 ", "1.5 ", "1.5 is typed"),
}
TWINS = {  # edits of the English page: the fault is there, and names the Chinese line
    "include": (EN, '--8<-- "echo/decay.svg"\n', "", "{#evid", "include echo/decay.svg"),
    "macro": (EN, "{{ lab.echo.half:.1f }}", "a few", "{#evid", "macro lab.echo.half:.1f"),
    "link": (EN, "[words](index.md#words)", "words", "{#idea}", "link index.md#words"),
    "URL": (EN, "<https://example.org/a>", "others", "{#idea}", "https://example.org/a"),
    "DOI": (EN, ", again in <https://doi.org/10.1/y(1)>", "", "{#refer", "//doi.org/10.1/y(1)"),
    "formula": (EN, "as wide as $h_t$", "wide", "{#idea}", "#idea lacks the formula $h_t$"),
}
SNIPPETS = {
    "section size": (SNIPPET, "    print(f", LONG + "    print(f", "[start:main]", "section main has 46 lines, cut to 45"),
    "class size": (SNIPPET, "# --8<-- [start:main]", f'class Big:\n    """Big."""\n\n{HUGE}\n# --8<-- [start:main]', "class Big", "class Big has 63 lines, cut to 60"),
    "line size": (SNIPPET, "A leaky sum.", "A leaky sum" + "." * 70, "A leaky", "at most 80 characters, this one 91"),
    "no section imports": (SNIPPET, ":imports]", ":inports]", 1, "section imports is missing: # --8<-- [start:imports]"),
    "not Python": (SNIPPET, "import math", "import math math", "math math", "this is not Python"),
    "numpy": (SNIPPET, "import math", "import numpy", "numpy", "not numpy"),
    "sibling": (SNIPPET, "import math", "from snippets.rnn import RNN", "RNN", "not snippets.rnn"),
    "relative": (SNIPPET, "import math", "from . import rnn", "rnn", "not ."),
    "F": (SNIPPET, "import math", "import torch.nn.functional as F", "as F", "F is an axis"),
    "from F": (SNIPPET, "import math", "from torch.nn import functional as F", "as F", "F is an axis"),
    "argparse": (SNIPPET, "import math", "import argparse", "argparse", "; not argparse"),
    "network": (SNIPPET, "import math", "import urllib.request", "urllib", "a snippet imports only abc, "),
    "way round": (SNIPPET, "import math", "from torch import hub", "hub", "hub: a snippet reaches no file and no network"),
    "saved": (SNIPPET, "    losses = ", "    torch.save(3, 'x')\n    losses = ", ".save", "save: a snippet reaches no file"),
    "file": (SNIPPET, "    losses = ", "    open('x')\n    losses = ", "open(", "open: a snippet opens no file and runs no text"),
    "os of torch": (SNIPPET, "    losses = ", "    torch.os.system('x')\n    losses = ", ".os", "os: a snippet reaches no file"),
    "by its name": (SNIPPET, "    losses = ", "    getattr(torch, 'load')('x')\n    losses = ", "getattr", "load: a snippet reaches no file"),
    "dunder": (SNIPPET, "    losses = ", "    main.__globals__\n    losses = ", "__gl", "__globals__: a snippet reaches no file"),
    "kwargs": (SNIPPET, "device=None)", "device=None, **kw)", "kw)", "no **kw,"),
    "state": (SNIPPET, "STEPS = 3", "STEPS = [3]", "STEPS", "no global state"),
    "module call": (SNIPPET, "STEPS = 3", "STEPS = 3\ntorch.manual_seed(0)", "torch.manual", "no global state"),
    "global": (SNIPPET, "    losses = ", "    global STEPS\n    losses = ", "global", "no global state"),
    "time index": (SNIPPET, "x_t in x.unbind(1):", "t in range(9):\n            x_t = x[:, t]", "[:, t]", "x[:, t]: loop over .unbind(1)"),
    "cuda": (SNIPPET, "stack(out, 1)", "stack(out, 1).cuda()", "cuda", "modules name no device"),
    "device": (SNIPPET, "stack(out, 1)", 'stack(out, 1).to("cuda:0")', "cuda", "only main names a device"),
    "no source": (SNIPPET, "Source:", "From:", 1, "the docstring lacks the line Source:"),
    "no run": (SNIPPET, "Run: python echo.py\n", "", 1, "the docstring lacks the line Run:"),
    "axis meaning": (SNIPPET, "T time", "T length", "Axes:", "axis T length: T is time, docs/zh/notation.md lists the letters"),
    "axis letter": (SNIPPET, "H hidden", "Q quiet", "Axes:", "axis Q quiet: Q has no meaning, docs/zh/notation.md lists"),
    "axis unsaid": (SNIPPET, "(B, I), eq. 3", "(B, 4N), eq. 3", "4N", "axis N is not in the docstring, add it to Axes:"),
    "axis of Shape": (SNIPPET, "-> (B, T, I)", "-> (B, S, I)", "-> (B", "axis S is not in the docstring, add it to Axes:"),
    "comment": (SNIPPET, "# (B, I), eq. 3", "# 一半", "# 一半", "comments are English"),
    "no licence": (SNIPPET, "Licence: MIT.\n", "", 1, "the docstring lacks the line Licence:"),
    "signature": (SNIPPET, "seed: int = 0", "seed: int = 1", "def main", "the signature is main("),
    "no Shape": (SNIPPET, "        Shape:\n", "", "def forward", "Echo.forward has no Shape: block"),
    "no docstring": (SNIPPET, '    """A leaky sum."""\n\n', "", "class Echo", "Echo has no docstring"),
    "config": (SNIPPET, "STEPS = 3", 'class EchoConfig:\n    """Options."""', "class EchoC", "no config objects"),
    "open section": (SNIPPET, "STEPS = 3", "# --8<-- [start:x]", "start:x", "section x has no [end:x]"),
    "end alone": (SNIPPET, "STEPS = 3", "# --8<-- [end:x]", "end:x", "section x ends without a start"),
    "empty section": (SNIPPET, "STEPS = 3", "# --8<-- [start:x]\n\n# --8<-- [end:x]", "start:x", "section x is empty"),
    "section twice": (SNIPPET, "STEPS = 3", "# --8<-- [start:main]\nSTEPS = 3\n# --8<-- [end:main]", "[start:main]\ndef", "section main is marked twice"),
    "sections cross": (SNIPPET, "STEPS = 3", "# --8<-- [start:x]\nX = 1\n# --8<-- [start:y]\nSTEPS = 3\n# --8<-- [end:x]\nY = 2\n# --8<-- [end:y]", "start:y", "section y must end in x"),
}
LABS = {
    "long cell": (LAB, "print(Echo())", "print(Echo())\n" + "print(1)\n" * 45, 21, "this cell has 49 lines, cut to 45"),
    "key put together": (LAB, "results = {", 'results = {}\nresults[f"gap_{2}"] = 1\nresults |= {', 'f"gap', "a key of results is written out"),
    "keys in a loop": (LAB, "results = {", "results = {f'gap_{n}': n for n in range(2)} | {", "results", "a key of results is written out"),
    "tools": (LAB, "import matplotlib.pyplot as plt", "import tools.check", "tools", "a lab imports only from snippets.<stem>"),
    "network": (LAB, "import matplotlib.pyplot as plt", "import requests", "requests", "a lab imports only abc, "),
    "process": (LAB, "import matplotlib.pyplot as plt", "import subprocess", "subp", "; not subprocess"),
    "os": (LAB, "import matplotlib.pyplot as plt", "os.system('x')", ".system", "os.system: a lab takes only os.environ"),
    "from os": (LAB, "import matplotlib.pyplot as plt", "from os import chdir", "chdir", "os.chdir: a lab takes only os.environ"),
    "os by another name": (LAB, "import matplotlib.pyplot as plt", "import os as o", "as o", "os as o: write import os"),
    "fetched": (LAB, "import matplotlib.pyplot as plt", "from sklearn.datasets import fetch_openml", "fetch", "fetch_openml: a lab reaches no file and no network"),
    "text run": (LAB, "import matplotlib.pyplot as plt", "eval('1')", "eval", "eval: a lab opens no file and runs no text"),
    "device": (LAB, '"LAB_DEVICE", ', '"DEVICE", ', 1, "a lab runs where it is told: DEVICE = os.environ"),
    "deep": (LAB, "print(Echo())", "print(" + "-\\\n" * 9999 + "3)", 1, "this is not Python: "),
    "long": (LAB, "print(Echo())", "1" + " + 1" * 500, 1, "this is not Python: it nests too deeply"),
    "figure twice": (LAB, "# %%\n# --8<-- [start:ex", '# %%\nplt.gcf().savefig("decay.svg")\n# --8<-- [start:ex', "gcf", "decay.svg was saved on line 18, rename one"),
    "figure away": (LAB, "# %%\n# --8<-- [start:ex", '# %%\nplt.gcf().savefig("../decay.svg")\n# --8<-- [start:ex', "gcf", "../decay.svg: a figure is a plain name and .svg"),
    "bool": (LAB, '"steps": 3', '"steps": True', "results", "True is true or false: write 0 or 1, or a verdict"),
    "comparison": (LAB, '"steps": 3', '"steps": 1 < 2', "results", "1 < 2 is true or false"),
    "tuple": (LAB, '"steps": 3', '"steps": (1, 2)', "results", "(1, 2) must be a number, a string or a list"),
    "empty list": (LAB, '"steps": 3', '"steps": []', "results", "[] must be a number, a string or a list"),
    "key": (LAB, '"steps"', '"the steps"', "results", "'the steps': a key is a plain name, as in gap_2"),
    "module": (LAB, "import matplotlib.pyplot as plt", "import snippets.echo", "import snippets", "imports only"),
    "alias": (LAB, "Echo, main", "Echo as E", "as E", "a lab imports only"),
    "not on top": (LAB, "from snippets", "x = 1\nfrom snippets", "from snippets", "at the top of a cell"),
    "no snippet": (LAB, "snippets.echo", "snippets.ecco", "ecco", "there is no snippets/ecco.py"),
    "no name": (LAB, "Echo, main", "Ecco, main", "Ecco", "snippets/echo.py has no Ecco"),
    "no results": (LAB, "results =", "result =", "result =", "the last code cell sets results"),
    "results early": (LAB, '"holds"}\n', '"holds"}\n# %%\nx = 1\n', "x = 1", "the last code cell sets"),
    "no language": (LAB, '[markdown] lang="en"', "[markdown]", "[markdown]\n", "names its language"),
    "zh alone": (LAB, "# %%\nresults", '# %% [markdown] lang="zh"\n# 多。\n# %%\nresults', '"zh"\n# 多', "is followed by its en twin"),
    "en alone": (LAB, "# %%\nresults", '# %% [markdown] lang="en"\n# More.\n# %%\nresults', '"en"\n# M', "stands below its zh twin"),
    "no title": (LAB, '# %% [markdown] lang="zh"', '# %%\nimport os\n# %% [markdown] lang="zh"', 1, "a lab begins with a title cell"),
    "not Python": (LAB, "print(Echo())", "print(", "print(", "this is not Python"),
    "section": (LAB, "# --8<-- [end:exercise-1]\n", "", "[start:ex", "has no [end:exercise-1]"),
    "zh prose": (LAB, "实验：", "实验:", "实验:", "half-width : in “# 实验:回声”, write ："),
    "parity": (LAB, "The decay $r^k$", "The decay", "# # Lab", f"lacks the formula $r^k$ of {LAB}:3"),
}
ASSERT = "assert out.flatten().tolist() == [1.0, 0.5]"
TESTS = {
    "not Python": (TEST, "import pytest", "import pytest pytest", 1, "this is not Python"),
    "no test": (TEST, "def test_", "def tst_", 1, "there is no test here: write a function test_"),
    "no assert": (TEST, f"{ASSERT}\n", "", "def test_it_fades", "test_it_fades asserts nothing"),
    "skipped": (TEST, "def test_it_fades", "@pytest.mark.skip\ndef test_it_fades", "skip", "skip: a skipped test proves nothing"),
    "skipped if": (TEST, ASSERT, f"pytest.skip('slow')\n    {ASSERT}", "skip(", "skip: a skipped test"),
    "xfail": (TEST, "def test_it_fades", "@pytest.mark.xfail(reason='x')\ndef test_it_fades", "xfail", "xfail: a skipped test"),
    "skip by name": (TEST, "import pytest", "import pytest\nfrom pytest import skip", "import skip", "skip: a skipped test"),
    "importorskip": (TEST, "def test_it_fades", "pytest.importorskip('x')\ndef test_it_fades", "importor", "importorskip: a skipped"),
    "a class": (TEST, ASSERT, "assert Echo", "assert Echo", "assert Echo always holds, compare what the code gives"),
    "a method": (TEST, ASSERT, "assert torch.equal", "assert torch", "assert torch.equal always holds"),
    "a constant": (TEST, ASSERT, "assert 1", "assert 1", "assert 1 always holds"),
    "a tuple": (TEST, ASSERT, "assert (out == 1, 'words')", "assert (", "always holds, compare"),
}
DRAWINGS = {
    "not XML": (DRAWING, "</svg>", "", 6, "this is not XML"),
    "size": (DRAWING, "viewBox", 'width="9" viewBox', 1, "no width or height"),
    "no viewBox": (DRAWING, ' viewBox="0 0 9 9"', "", 1, "the svg has a viewBox"),
    "blank": (DRAWING, "<path", "\n<path", 3, "a blank line ends the figure"),
    "words": (DRAWING, ">h<", ">隐<", "隐", "words belong into the caption"),
    "id": (DRAWING, '"echo-a"', '"a"', "path", "a: ids and classes begin with echo-"),
    "class": (DRAWING, '"echo-line"', '"echo-b line"', "path", "line: ids and classes"),
    "colour": (DRAWING, '"var(--fig-0)"', '"#f00"', "path", "stroke #f00: colours are var("),
    "style": (DRAWING, "fill: none", "fill: red", "style", "fill red: colours are var(--fig"),
    "script": (DRAWING, "<path", "<script>f()</script>\n<path", "<script", "<script> may not stand in a drawing"),
    "foreign": (DRAWING, "<path", "<foreignObject/>\n<path", "<foreign", "<foreignObject> may not stand in a drawing"),
    "bitmap": (DRAWING, "<path", '<image href="#a"/>\n<path', "<image", "<image> may not stand in a drawing"),
    "handler": (DRAWING, "<path", '<path onload="f()"', "<path", "<path> may not have onload"),
    "outside": (DRAWING, "<text", '<use href="https://example.org/a.svg"/><text', "<use", "a drawing refers to its own parts"),
    "fetched": (DRAWING, "fill: none", "fill: none; mask: url(https://example.org)", "fill: none", "a drawing fetches nothing"),
    "selector": (DRAWING, ".echo-line {", "text, .echo-line {", "style", "text styles the whole page, begin with .echo-"),
    "variable": (DRAWING, "--fig-0", "--fig-9", "path", "stroke var(--fig-9): colours are"),
}
ROOMS = {
    "nav": ("mkdocs.yml", "  - echo.md\n", "", "nav:", "nav lacks echo.md"),
    "readme": ("README.zh.md", "词。", "词. ", "词. ", "half-width . in"),
}
# fmt: on
CASES = [
    pytest.param(*case, id=f"{name}: {fault}")
    for name, table in (("page", PAGES), ("snippet", SNIPPETS), ("lab", LABS))
    + (("test", TESTS), ("drawing", DRAWINGS), ("room", ROOMS))
    for fault, case in table.items()
]


@pytest.mark.parametrize("files, old, new, at, message", CASES)
def test_a_fault_is_found(house, files, old, new, at, message):
    files = [files] if isinstance(files, str) else files
    for file in files:
        edit(house, file, old, new)
    places = [f"{file}:{line_of(house, file, at)}" for file in files]
    expect(check(house), *places, message=message)


@pytest.mark.parametrize("file, old, new, at, message", TWINS.values(), ids=TWINS)
def test_a_twin_lacks_something(house, file, old, new, at, message):
    edit(house, file, old, new)
    expect(check(house), f"{file}:{line_of(house, file, at)}", message=message)


def test_a_line_number_is_the_line_in_the_file(house):
    edit(house, EN, "as wide as $h_t$", "wide")
    message = f"#idea lacks the formula $h_t$ of {ZH}:15"
    assert check(house) == [Fault(EN, 7, message)]
    assert str(check(house)[0]) == f"{EN}:7: {message}"


def test_words_of_a_formula_may_differ_but_not_its_letters(house):
    edit(house, EN, "h_0 = 0", "h_0 = 1")
    expect(check(house), f"{EN}:19", f"{ZH}:18", message="lacks the formula $$")


def test_headings_differ(house):
    edit(house, ZH, "> ", "### 小 {#small}\n\n> ")
    place = f"{EN}:{line_of(house, EN, '{#summary}')}"
    expect(check(house), place, message="headings are ['idea', ")


def test_a_section_is_missing(house):
    for file in BOTH:
        edit(house, file, "> ", "")
        edit(house, file, " {#limits}", " {#summary}")
        text = (house / file).read_text("utf-8").split("\n")
        second = max(n for n, line in enumerate(text) if "{#summary}" in line)
        (house / file).write_text("\n".join(text[:second] + text[second + 1 :]))
    expect(check(house), f"{ZH}:1", f"{EN}:1", message="section {#limits} is missing")


def test_sections_are_out_of_order(house):
    for file in BOTH:
        edit(house, file, "{#limits}", "{#x}")
        edit(house, file, "{#evidence}", "{#limits}")
        edit(house, file, "{#x}", "{#evidence}")
    places = [f"{file}:{line_of(house, file, '{#evidence}')}" for file in BOTH]
    expect(check(house), *places, message="#evidence stands before #limits on every")


def test_includes_are_in_another_order(house):
    edit(house, EN, "drawings/echo.svg", "x.svg")
    edit(house, EN, "echo/decay.svg", "drawings/echo.svg")
    edit(house, EN, "x.svg", "echo/decay.svg")
    found = [fault for fault in check(house) if "order" in fault.message]
    expect(found, f"{EN}:14", message=f"includes stand in another order in {ZH}")


@pytest.mark.parametrize("file", [ZH, GUIDES[1], SNIPPET, LAB, DRAWING])
def test_bytes_that_are_not_utf8(house, file):
    text = (house / file).read_bytes().replace(b"e", b"\xff", 1)
    (house / file).write_bytes(text)
    message = "byte 0xff is not UTF-8, save the file as UTF-8"
    line = text[: text.index(b"\xff")].count(b"\n") + 1
    assert Fault(file, line, message) in check(house)


@pytest.mark.parametrize(
    "file, place, message",
    [
        (GUIDES[0], f"{GUIDES[1]}:1", "its twin docs/zh/index.md is missing"),
        (GUIDES[1], f"{GUIDES[0]}:1", "its twin docs/en/index.md is missing"),
        ("tests/test_echo.py", f"{SNIPPET}:1", "tests/test_echo.py is missing, a stem"),
    ],
)
def test_a_file_is_missing(house, file, place, message):
    (house / file).unlink()
    found = [fault for fault in check(house) if "the link" not in fault.message]
    expect(found, place, message=message)


def test_a_page_is_named_in_small_letters_and_once(house):
    (house / "docs/zh/More.MD").write_text("# More")
    expect(check(house), "docs/zh/More.MD:1", message="a page is named more.md")
    (house / "docs/zh/More.MD").unlink()
    edit(house, "mkdocs.yml", "  - echo.md\n", "  - echo.md\n  - echo.md\n")
    found = check(house)
    assert len(found) == 1 and "nav names echo.md twice" in found[0].message


def test_every_file_of_a_stem_is_asked_for(house):
    (house / "snippets" / "lone.py").write_text(FILES[SNIPPET].replace("echo.py", "x"))
    found = [str(fault) for fault in check(house)]
    for file in ("docs/zh/lone.md", "docs/en/lone.md", "docs/lab/lone.py"):
        assert f"snippets/lone.py:1: {file} is missing, a stem has five files" in found
    assert "mkdocs.yml:2: nav lacks lone.md" in found


def test_a_test_may_be_skipped_where_there_is_no_accelerator(house):
    skip = 'pytest.skip("there is no accelerator here")'
    edit(house, TEST, ASSERT, f"{skip}\n    {ASSERT}")
    assert check(house) == []


def test_a_link_of_a_lab_to_a_source(house):
    edit(house, LAB, "{{ lab.echo.half:.1f }}", "[{{ lab.echo.half:.1f }}](echo.md)")
    found = check(house)
    assert len(found) == 2 and all("write ../../echo/" in str(f) for f in found)


def test_a_lab_without_a_page(house):
    text = FILES[LAB].replace("lab.echo", "lab.lone")
    (house / "docs/lab/lone.py").write_text(text, "utf-8")
    expect(check(house), "docs/lab/lone.py:1", message="this lab belongs to no page")


@pytest.mark.parametrize("own, other", [("zh", "en"), ("en", "zh")])
def test_one_language_will_do_for_a_page_that_waits(house, own, other):
    for file in GUIDES:
        text = (house / file).read_text("utf-8")
        (house / file).write_text(text + "\n{{ minutes.echo }}\n", "utf-8")
    (house / f"docs/{other}/echo.md").unlink()
    edit(house, f"docs/{own}/echo.md", "---\n", "---\ntranslation: needed\n")
    cells = re.compile(rf'# %% \[markdown\] lang="{other}"\n(#(?! %%).*\n)+\n*')
    lab = house / LAB
    lab.write_text(cells.sub("", lab.read_text("utf-8")), "utf-8")
    assert check(house) == []
    accept = [sys.executable, "-m", "tools.check.accepted", "echo"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(accept, cwd=house, env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "echo waits for its translation" in done.stderr
    assert (house / LOCK).read_text("utf-8") == FILES[LOCK]


def test_copies_differ(house):
    other = FILES[SNIPPET].replace("A leaky sum", "Another")
    (house / "snippets" / "zecho.py").write_text(other, "utf-8")
    found = [f for f in check(house) if "missing" not in f.message and f.line > 2]
    message = f"Echo is not the Echo of {SNIPPET}:22"
    expect(found, "snippets/zecho.py:22", message=message)


TANGLED = (
    "[](",
    "{{ ",
    "<a ",
    "*",
    '"',
    "=",
    "`",
    "$",
    "word, ",
    "| ",
    '<q lang="zh">',
)


@pytest.mark.parametrize("width", [70, 2_900, 1_000_000])
@pytest.mark.parametrize("inside", TANGLED)
def test_no_text_is_checked_for_long(house, inside, width):
    """Up to what a file may hold, and a megabyte on one line."""
    line = (inside * width)[:width].strip() + "\n"
    (house / GUIDES[1]).write_text(FILES[GUIDES[1]] + line * (190_000 // width + 1))
    edit(
        house, LAB, "# # 实验", "# " + ("# " + line) * (190_000 // width + 1) + "# 实验"
    )
    start = time.process_time()
    check(house)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    "file, change, message",
    [
        (ZH, lambda raw: b"\xef\xbb\xbf" + raw, "begins with a byte-order mark"),
        (SNIPPET, lambda raw: b"\xef\xbb\xbf" + raw, "begins with a byte-order mark"),
        (EN, lambda raw: raw.replace(b"\n", b"\r"), "lines end with CR alone"),
        (LAB, lambda raw: raw.decode().encode("utf-16"), "this is UTF-16"),
        (SNIPPET, lambda raw: raw.replace(b"\n    ", b"\n\t"), "begins with a tab"),
        (DRAWING, lambda raw: raw + b" " * 200_000, "cut it into several"),
    ],
)
def test_what_cannot_be_read_is_one_fault(house, file, change, message):
    (house / file).write_bytes(change((house / file).read_bytes()))
    (fault,) = check(house)
    assert fault.file == file and message in fault.message


@pytest.mark.parametrize("file", [ZH, EN, SNIPPET, LAB, DRAWING])
def test_lines_may_end_as_on_windows(house, file):
    raw = (house / file).read_bytes()
    (house / file).write_bytes(raw.replace(b"\n", b"\r\n"))
    assert check(house) == []


@pytest.mark.parametrize("size", [50_000, 1_000_000])
@pytest.mark.parametrize("inside", ["a" * 60, ". ", "{", "<", "a {", "x" * 59 + "\n"])
def test_no_drawing_is_checked_for_long(house, inside, size):
    text = (inside.replace("<", "&lt;") * size)[:size].rstrip("&lt")
    edit(house, DRAWING, ">h<", f">{text}<")
    start = time.process_time()
    check(house)
    assert time.process_time() - start < 5


def test_the_step_belongs_into_the_cell(house):
    edit(house, SNIPPET, "            # --8<-- [start:step]\n", "")
    edit(house, SNIPPET, "            # --8<-- [end:step]\n", "")
    step = "# --8<-- [start:step]\nSTEPS = 3\n# --8<-- [end:step]"
    edit(house, SNIPPET, "STEPS = 3", step)
    message = "section step belongs inside section cell"
    expect(check(house), f"{SNIPPET}:18", message=message)


def record(root: Path, drop: str = "", **results) -> Path:
    """Write the record that an executed lab leaves, and its figure."""
    folder = root / "build" / "labs"
    (folder / "echo").mkdir(parents=True)
    (folder / "echo" / "decay.svg").write_text("<svg/>")
    results = {"half": 1.0, "claim_fades": "holds"} | results
    results.pop(drop, None)
    record = {"results": results, "provenance": {}}
    (folder / "echo.json").write_text(json.dumps(record))
    return folder


@pytest.mark.parametrize(
    "results, message",
    [
        ({"drop": "half"}, "lab echo has no result half, only claim_fades"),
        ({"half": "long"}, "Unknown format code 'f'"),
        ({"half": [1.0]}, "[1.0] is neither a number nor a string"),
        ({"half": True}, "True is neither a number nor a string"),
        ({"half": "holds"}, "a verdict is written half == holds"),
        ({"claim_fades": "fails"}, "== holds }}: the lab now says 'fails'"),
        ({"claim_fades": 1}, "the lab now says 1"),
    ],
)
def test_a_macro_against_the_record(house, results, message):
    at = "claim_fades" if "claim_fades" in results else "half"
    lines = {file: line_of(house, file, f"lab.echo.{at}") for file in BOTH}
    found = [f for f in check(house, record(house, **results)) if f.file != LAB]
    expect(found, *(f"{file}:{line}" for file, line in lines.items()), message=message)


def test_a_float_needs_a_format(house):
    for file in (*BOTH, LAB):
        edit(house, file, "half:.1f", "half")
    found = check(house, record(house))
    assert len(found) == 4
    assert all("a float needs a format, as in half:.2f" in f.message for f in found)


def test_what_a_lab_hands_over_and_nobody_takes(house):
    folder = record(house, steps=3, gap=0.5)
    assert [str(fault) for fault in unread(House(house, folder))] == [
        f"{LAB}:1: 2 of 4 results nobody reads: steps, gap"
    ]
    (folder / "echo" / "lone.svg").write_text("<svg/>")
    edit(house, TEST, "import pytest", "# {{ lab.echo.gap:.1f }}, {{ lab.echo.steps }}")
    message = f"{LAB}:1: figures no page shows: lone.svg"
    assert [str(fault) for fault in unread(House(house, folder))] == [message]


def test_a_lab_without_a_record(house):
    folder = record(house)
    (folder / "echo.json").unlink()
    message = "this lab has no record: nox -s labs -- echo"
    expect(check(house, folder), f"{LAB}:1", message=message)


def test_a_damaged_record(house):
    folder = record(house)
    (folder / "echo.json").write_text("{")
    messages = {fault.message.partition(": ")[2] for fault in check(house, folder)}
    assert messages == {"lab echo has no record, run it"}


def test_a_figure_that_the_lab_did_not_leave(house):
    folder = record(house)
    (folder / "echo" / "decay.svg").unlink()
    places = [f"{file}:{line_of(house, file, 'echo/decay')}" for file in BOTH]
    expect(check(house, folder), *places, message="the lab echo left no decay.svg")


def chinese(house: Path, text: str) -> list[str]:
    """What is said of this text as the body of a Chinese page, by line."""
    edit(house, GUIDES[0], "一个词。", text)
    line = line_of(house, GUIDES[0], "## 术语") + 2
    found = [fault for fault in check(house) if fault.file == GUIDES[0]]
    return [f"{fault.line - line}: {fault.message}" for fault in found]


# fmt: off
@pytest.mark.parametrize("text, message", {
    "中文, 后": "half-width , in “中文, 后”, write ，",
    "用 RNN.然后": "half-width . in “用 RNN.然后”, write 。",
    "看:后": "half-width : in “看:后”, write ：",
    "看;后": "half-width ; in “看;后”, write ；",
    "看!": "half-width ! in “看!”, write ！",
    "看 (echo)。": "half-width ( in “看 (echo)。”, write （",
    "看?": "half-width ? in “看?”, write ？",
    "有 $x$, 后": "half-width , in “有 $x$, 后”, write ，",
    "有 $x$.": "half-width . in “有 $x$.”, write 。",
    "值 {{ lab.echo.half:.1f }}.": "half-width . in “f:.1f }}.”, write 。",
    "用 RNN, 后": "half-width , in “用 RNN, 后”, write ，",
    "它{{ lab.echo.claim_fades == holds }}.": "half-width . in “holds }}.”, write 。",
    "RNN{{ lab.echo.claim_fades == holds }}。": "write “RNN 词。” for “RNN词。”",
    "**重**, 后": "half-width , in “**重**, 后”, write ，",
    "见[词](index.md), 后": "half-width , in “见[词](index.md), 后”, write ，",
    "> 引, 后": "half-width , in “> 引, 后”, write ，",
    "| 表, 后 | b |": "half-width , in “| 表, 后 | b |”, write ，",
    "中文$x$": "put a space between the two in “中文$x$”",
    "`x`中文": "put a space between the two in “`x`中文”",
    "中文RNN混排": "write “中文 RNN 混排” for “中文RNN混排”",
    "见[RNN](index.md)": "put a space between the two in “见[RNN](ind”",
    "[RNN](index.md)中": "put a space between the two in “[RNN](index.md)中”",
    "看**`x`** 中": "put a space between the two in “看**`x`** 中”",
    "第１步": "write “第1步” for “第１步”",
}.items())
# fmt: on
def test_chinese_set_by_other_rules(house, text, message):
    assert chinese(house, text) == [f"0: {message}"]


@pytest.mark.parametrize("text", ["一行\n又一行", "- 一行\n  又一行", "> 一行\n> 又一行"])
def test_a_chinese_paragraph_on_two_lines(house, text):
    message = "a Chinese paragraph is one line, join it to the line above"
    assert chinese(house, text) == [f"1: {message}"]


def test_the_description_is_prose(house):
    edit(house, ZH, "回声：听见", "回声,听见")
    message = "half-width , in “回声,听见的会淡去。”, write ，"
    assert check(house) == [Fault(ZH, 2, message)]


@pytest.mark.parametrize(
    "text",
    [
        "1. 一\n2. 二\n\n- 三\n\n    四",
        "`a, b:`，`中文, x` 与 <https://example.org/a,b:c>，[链接](https://a.org/x_(y),z)。",
        "比为 1:3，值 0.5，版本 2.13.0，时刻 12:30，区间 0–4，h→c，A/B。",
        "Elman 1990, “Finding Structure in Time”, *Cognitive Science* 14(2):179–211.",
        "| 甲 | $x$ |\n|:--|:-:|\n| 乙：丙 | `x:` |",
        '??? question "练习 1 · 为什么？"\n\n    因为 $x$。\n\n    !!! note "注"\n\n        好。',
        '<figure markdown="1">\n<div class="a: b">甲</div>\n乙\n</figure>',
        "$$\nx, y. \\text{其中, x}\n$$",
        "```bash\necho 中文, x\n# 两行\n```",
        "![图：甲](../a.png){ .wide }，乙&nbsp;丙，**LSTM**：丁。",
        "词一\n:   解释\n\n甲  \n乙",
        "价 \\$5，`$x`，`` `x`, ``。",
        "$x$：$y$、$z$。{{ lab.echo.half:.1f }}，{{ lab.echo.half:.1f }}。",
        "LSTM、GRU。\n\nRNN：LSTM。",
        "它{{ lab.echo.claim_fades == holds }}：$x$ {{ lab.echo.claim_fades == holds }}。",
        "[Does It Warp Time?](https://example.org/t)。*Does it?*。",
        "### 小节：甲 {#small}\n正文",
    ],
)
def test_what_is_right_in_chinese(house, text):
    faults = chinese(house, text)
    assert [f for f in faults if "lacks" not in f and "headings" not in f] == []


@pytest.mark.parametrize(
    "text",
    [
        'A <span lang="zh">门，词</span> and {{ lab.echo.claim_fades == holds }}.',
        '<div lang="zh" markdown="1">\n> 门。\n\n</div>',
        "| gate | 门 {lang=zh} | x |\n|------|---|---|",
        "`门` and [x](index.md).",
    ],
)
def test_chinese_that_is_marked_in_english(house, text):
    edit(house, EN, "> It only fades.", text)
    assert [f for f in check(house) if f.file == EN] == []


def test_the_command(house):
    command = [sys.executable, "-m", "tools.check"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
    run = dict(cwd=house, env=env, capture_output=True, text=True, encoding="utf-8")
    clean = subprocess.run(command, **run)
    assert (clean.returncode, clean.stdout) == (0, "sources checked, no fault\n")
    edit(house, ZH, "回声：听见", "回声,听见")
    edit(house, SNIPPET, "import math", "import numpy")
    faulty = subprocess.run(command, **run)
    lines = faulty.stdout.splitlines()
    assert faulty.returncode == 1 and not faulty.stderr
    assert lines[0].startswith(f"{ZH}:2: half-width ,")
    assert lines[1].startswith(f"{SNIPPET}:11: a snippet imports only")
    assert lines[2:] == ["2 faults"]


def accept(house: Path, *stems: str) -> str:
    """Accept pages by the command, all when none is named; returns what it says."""
    command = [sys.executable, "-m", "tools.check.accepted", *(stems or PAIRS)]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = dict(cwd=house, env=env, capture_output=True, text=True, check=True)
    return subprocess.run(command, **run).stdout


def test_a_section_that_left_its_twin_behind(house):
    accept(house)
    assert check(house) == []
    edit(house, ZH, "## 公式", "又一句。\n\n## 公式")
    line = line_of(house, ZH, "{#idea}")
    message = f"#idea changed, its twin in {EN} did not; read both, then: nox -s accept"
    expect(check(house), f"{ZH}:{line}", message=message)
    edit(house, EN, "## Equations", "One more.\n\n## Equations")
    message = "new or changed in both languages: #idea; read both"
    expect(check(house), f"{ZH}:{line}", message=message)
    assert check(house, ran=["echo"]) == []  # drafts may be looked at
    accept(house)
    assert check(house) == []
    for file in BOTH:  # formulas the checker compares itself
        edit(house, file, "x_t, ", "x_t + 0, ")
    assert check(house) == []


# fmt: off
LOCKS = {  # edits of the lock after both pages were accepted
    "torn": (r"(echo#idea .*\n)", r"<<<<<<< HEAD\n\1=======\n\1>>>>>>> other\n", "<<<<", "two changes meet here: read both languages, then: nox -s accept -- echo"),
    "torn to the end": (r"(echo#idea .*\n)", r"<<<<<<< HEAD\n\1=======\n", "<<<<", "two changes meet here"),
    "left over": (r"(echo#idea .*\n)", r"\1=======\n", "====", "this is no entry, take the line out"),
    "cut": (r"(index#words \w+) .*\n", r"\1\n", "index#words", "this is no entry, take the line out"),
    "twice": (r"(index#words .*\n)", r"\1\n\1", 16, "index#words stands twice"),
}
# fmt: on


@pytest.mark.parametrize("old, new, at, message", LOCKS.values(), ids=LOCKS)
def test_a_lock_that_is_in_doubt(house, old, new, at, message):
    accept(house)
    text = (house / LOCK).read_text("utf-8")
    (house / LOCK).write_text(re.sub(old, new, text), "utf-8")
    found = [fault for fault in check(house) if fault.file == LOCK]
    expect(found, f"{LOCK}:{line_of(house, LOCK, at)}", message=message)
    assert f"{LOCK}:{found[0].line}: was dropped" in accept(house)
    assert (house / LOCK).read_text("utf-8") == text and check(house) == []


def test_pages_that_a_torn_lock_drops_are_to_be_accepted_again(house):
    accept(house)
    text = (house / LOCK).read_text("utf-8")
    (house / LOCK).write_text(f"<<<<<<< HEAD\n{text}=======\n>>>>>>> x\n", "utf-8")
    accept(house, "index")
    message = "a new page: when both languages agree: nox -s accept -- echo"
    expect(check(house), f"{ZH}:1", message=message)


def test_a_lock_that_holds_something_is_no_draft(house):
    accept(house)
    with (house / LOCK).open("a", encoding="utf-8") as lock:
        lock.write(FILES[LOCK])
    edit(house, ZH, "## 公式", "又一句。\n\n## 公式")
    place = f"{ZH}:{line_of(house, ZH, '{#idea}')}"
    expect(check(house), place, message="#idea changed, its twin")


def test_a_lock_that_is_gone(house):
    (house / LOCK).unlink()
    expect(check(house), f"{LOCK}:1", message="this file is gone: take it back from")


def test_terms_are_those_of_the_glossary(house):
    row = "| 中文 | English | 亦见 | 不用 |\n|---|---|---|---|\n| {} | | 回响 |\n"
    for language in ("zh", "en"):
        page = f"---\ndescription: 词。\n---\n\n# 词\n\n{row.format('回声 | echo')}"
        words = {"词。": "Words.", "词": "Words", "中文": "x", "回声": "x", "亦见": "x"}
        for chinese, word in (words | {"不用": "x", "回响": "x"}).items():
            page = page.replace(chinese, word) if language == "en" else page
        (house / f"docs/{language}/glossary.md").write_text(page, "utf-8")
    assert check(house) == []
    edit(house, ZH, "回声（echo）", "回响（fading echo）")
    line = f"{ZH}:{line_of(house, ZH, 'fading echo')}"
    faults = check(house)
    assert [f"{f.file}:{f.line}" for f in faults] == [line, line]
    assert "lacks （fading echo）, add it there and to" in faults[0].message
    assert "回响: this book writes 回声" in faults[1].message
