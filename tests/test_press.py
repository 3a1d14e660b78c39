"""The press, whole: what a lab becomes, and what bad input gets."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jupytext
import nbformat
import pytest
from bs4 import BeautifulSoup

from tests import small_house
from tests.small_house import edit
from tools.core.lab import Lab, all_labs, runnable
from tools.labs import records
from tools.press import search_script
from tools.press.reading_time import minutes

ROOT = Path(__file__).parent.parent


def lay_out(root: Path) -> Path:
    """The small house, with this project's own press and templates in it."""
    small_house.build(root)
    for name in ("tools", "overrides"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "mkdocs.en.yml", root)
    nav = "nav:\n  - index.md\n  - 章节:\n      - echo.md\nnot_in_nav"
    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    config = re.sub(r"nav:\n.*?not_in_nav", nav, config, count=1, flags=re.DOTALL)
    (root / "mkdocs.yml").write_text(config, "utf-8")
    edit(
        root,
        "docs/lab/echo.py",
        "print(Echo())",
        "import warnings\n\nwarnings.warn('not for readers')\nprint(20 + 1)",
    )
    more = '# %% [markdown] lang="{}"\n# ## {} {{#more}}\n'
    with (root / "docs/lab/echo.py").open("a", encoding="utf-8") as lab:
        lab.write(more.format("zh", "更多") + more.format("en", "More"))
    return root


def build(root: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "tools.press.build", *arguments],
        cwd=root,
        env={**os.environ, "LAB_TIMEOUT": "120", **env},
        capture_output=True,
        text=True,
    )


def snapshot(site: Path) -> dict[str, bytes]:
    return {str(f): f.read_bytes() for f in sorted(site.rglob("*")) if f.is_file()}


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    root = lay_out(tmp_path_factory.mktemp("built"))
    done = build(root)
    assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture
def book(built, tmp_path) -> Path:
    """A copy of the built book, to be spoilt."""
    return Path(shutil.copytree(built, tmp_path / "book"))


def article(root: Path, page: str) -> BeautifulSoup:
    text = (root / "site" / page / "index.html").read_text("utf-8")
    return BeautifulSoup(text, "html.parser").find("article")


# What a good book becomes


def test_a_page_may_wait_for_its_translation(book):
    (book / "docs/en/echo.md").unlink()
    edit(book, "docs/zh/echo.md", "---\n", "---\ntranslation: needed\n")
    lab = (book / "docs/lab/echo.py").read_text("utf-8")
    english = re.compile(r'# %% \[markdown\] lang="en"\n(#.*\n)+\n*')
    (book / "docs/lab/echo.py").write_text(english.sub("", lab), "utf-8")
    done = build(book)
    assert done.returncode == 0, done.stdout + done.stderr
    chinese, stand_in = article(book, "echo"), article(book, "en/echo")
    assert "还没有英文版" in chinese.select_one(".waits").text
    assert "not been translated" in stand_in.select_one(".waits").text
    assert stand_in.h1["lang"] == "zh" and stand_in.h1.text == chinese.h1.text
    assert stand_in.select_one("div[lang=zh] #evidence")
    assert article(book, "en/lab/echo").h1.text == article(book, "lab/echo").h1.text
    edit(book, "docs/zh/echo.md", "translation: needed\n", "")
    assert "its twin docs/en/echo.md is missing" in build(book).stderr


def test_an_english_page_may_wait_for_its_translation(book):
    (book / "docs/zh/echo.md").unlink()
    edit(book, "docs/en/echo.md", "---\n", "---\ntranslation: needed\n")
    lab = (book / "docs/lab/echo.py").read_text("utf-8")
    chinese = re.compile(r'# %% \[markdown\] lang="zh"\n(#(?! %%).*\n)+')
    (book / "docs/lab/echo.py").write_text(chinese.sub("", lab), "utf-8")
    done = build(book)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "还没有译成中文" in article(book, "echo").select_one(".waits").text
    assert article(book, "echo").h1["lang"] == "en"
    assert article(book, "lab/echo").h1.text == article(book, "en/lab/echo").h1.text


def test_a_page_may_be_ahead_of_its_translation(book):
    edit(book, "docs/zh/echo.md", "---\n", "---\ntranslation: needed\n")
    edit(book, "docs/zh/echo.md", "## 练习", "一句新话，$x$。\n\n## 练习")
    done = build(book)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "英文版还没有跟上" in article(book, "echo").select_one(".waits").text
    assert "the Chinese is right" in article(book, "en/echo").select_one(".waits").text


def test_record_has_results_and_provenance(built):
    record = json.loads((built / "build/labs/echo.json").read_text("utf-8"))
    assert record["results"] == {"half": 1.0, "steps": 3, "claim_fades": "holds"}
    source = record["provenance"]
    assert set(source) == {"python", "torch", "device", "seconds", "key"}
    assert source["device"] == "cpu" and source["seconds"] > 0
    assert source["key"] == Lab("echo", built).key("cpu")


def test_pages_show_numbers_and_verdicts_in_their_language(built):
    chinese, english = article(built, "echo"), article(built, "en/echo")
    assert "半衰期为 1.0 步，“会淡去”成立。" in chinese.text
    assert "It halves in 1.0 steps; that it fades holds." in english.text
    for page in (chinese, english):
        assert "{{" not in page.text and "--8<--" not in page.text
        assert page.find("math", display="block") is not None
        assert page.select_one("figure svg") is not None


@pytest.mark.parametrize("page", ["", "en"])
def test_works_are_gathered_from_the_pages(built, page):
    entry = article(built, page).select("li")[-1]
    assert entry.get_text().startswith("Somebody 1990. Echo. Sound 1(2). doi 10.1/x ←")
    assert entry.select("a")[-1]["href"] == "echo/#references"
    assert "第一次提出" not in entry.get_text()


def test_minutes_count_words_and_half_a_minute_for_what_is_looked_at():
    page = "# T\n\n## A {#idea}\n\n%s\n\n$$\nx\n$$\n\n## B {#exercises}\n\n%s\n"
    page %= ("字" * 750, "字" * 3000)
    assert minutes(page, "zh") == minutes(page, "zh", "idea") == 3
    assert minutes(page, "zh", "exercises") == 10
    assert minutes(page, "en") == 1


def test_lab_page_is_plain_and_has_its_contents(built):
    for language, title in (("", "实验：回声"), ("en/", "Lab: echo")):
        page = article(built, f"{language}lab/echo")
        assert page.find("h1").text.startswith(title)
        assert page.find("h2")["id"] == "more"
        assert page.find("math") is not None and page.find("svg") is not None
        assert "1.0" in page.text and "\n21\n" in page.text
        for unwanted in ("--8<--", "UserWarning", str(built), "/tmp", "__main__"):
            assert unwanted not in str(page)
        assert page.find("style") is None and page.find("clipboard-copy") is None
        path = built / "site" / language / "lab/echo/index.html"
        assert path.stat().st_size < 150_000
        contents = path.read_text("utf-8")
        assert '<a href="#more" class="md-nav__link">' in contents


def test_search_knows_headings_of_lab_pages(built):
    index = json.loads((built / "site/search/search_index.json").read_text("utf-8"))
    assert "lab/echo/#more" in [entry["location"] for entry in index["docs"]]


def test_downloaded_notebook_runs_alone(built, tmp_path):
    for language in ("", "en/"):
        path = built / "site" / language / "lab/echo/echo.ipynb"
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        kinds = {cell.cell_type for cell in notebook.cells}
        assert kinds == {"markdown", "code"}
        prose = "".join(c.source for c in notebook.cells if c.cell_type == "markdown")
        assert "1.0" in prose and ("半衰期" in prose) == (language == "")
        code = "\n".join(c.source for c in notebook.cells if c.cell_type == "code")
        assert "import snippets" not in code and "from snippets" not in code
        (tmp_path / "alone.py").write_text(code, "utf-8")
        script = path.with_suffix(".py").read_text("utf-8")
        assert script.startswith("# Lab of echo, from the book Unrolled")
        (tmp_path / "script.py").write_text(script, "utf-8")
        said = set()
        for name in ("alone.py", "script.py"):
            command = [sys.executable, "-I", name]
            done = subprocess.run(
                command, cwd=tmp_path, check=True, capture_output=True
            )
            said.add(done.stdout)
        assert len(said) == 1 and said.pop().strip()
        assert ("半衰期" in script) == (language == "")


def test_site_says_nothing_of_the_machine_and_asks_no_other_host(built):
    for page in (built / "site").rglob("*.html"):
        text = page.read_text("utf-8")
        assert str(built) not in text and sys.prefix not in text
        soup = BeautifulSoup(text, "html.parser")
        for element in soup.find_all(["script", "img", "iframe"], src=True):
            assert "//" not in element["src"]
        for element in soup.find_all("link", href=True):
            if "alternate" not in element["rel"] and "canonical" not in element["rel"]:
                assert "//" not in element["href"], (page, element)


def test_maths_font_is_there_with_its_licence(built):
    for language in ("", "en/"):
        fonts = built / "site" / language / "assets/fonts"
        assert 5_000 < (fonts / "math.woff2").stat().st_size < 160_000
        assert "Open Font License" in (fonts / "math.LICENSE.txt").read_text("utf-8")


def test_inlined_snippet_keeps_all_but_docstring_markers_and_main_block():
    source = (ROOT / "snippets" / "rnn.py").read_text("utf-8")
    text = runnable(source)
    assert "--8<--" not in text and "__main__" not in text
    assert text.startswith("import torch") and "def main(" in text
    assert '"""A tanh RNN' in text


@pytest.mark.parametrize("stem", all_labs())
def test_labs_are_read_as_jupytext_reads_them(stem):
    lab = Lab(stem)
    cells = jupytext.reads(lab.text, fmt="py:percent").cells
    prose = [cell.source.strip() for cell in cells if cell.cell_type == "markdown"]
    assert prose == [part.text for part in lab.parts if part.language is not None]
    code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    ours = "\n".join(part.text for part in lab.code)
    own = [line for line in code.splitlines() if "snippets" not in line]
    assert {line for line in own if "--8<--" not in line} <= {*ours.splitlines(), ""}


def test_the_console_names_pages_and_labs_and_nothing_else(book):
    done = build(book)
    assert "making 4 pages and the pages of the labs" in done.stdout
    said = (done.stdout + done.stderr).lower()
    assert not [word for word in ("notebook", "dict", "zensical") if word in said], said


# What runs again, and what does not


def ran(done: subprocess.CompletedProcess) -> bool:
    """Whether the lab was executed, by the table that the press prints."""
    assert done.returncode == 0, done.stdout + done.stderr
    row = next(x for x in done.stdout.splitlines() if x.startswith("echo  "))
    return row.split()[-1] == "run"


def test_a_change_of_prose_runs_nothing_and_is_shown(book):
    edit(book, "docs/lab/echo.py", "半衰期", "现在半衰期")
    edit(book, "docs/zh/echo.md", "最小的循环", "最小的一种循环")
    assert not ran(build(book))
    assert "现在半衰期 1.0" in article(book, "lab/echo").text
    assert "最小的一种循环" in article(book, "echo").text


def spoil(change):
    """Spoil the record, and let the press make it again."""

    def case(book):
        path = book / "build/labs/echo.json"
        change(book / "build/labs", path)
        assert records.provenance(path.parent, "echo") is None

    return case


RERUN = {
    "snippet changed": lambda book: edit(
        book, "snippets/echo.py", "A leaky sum", "The leaky sum"
    ),
    "code of the lab changed": lambda book: edit(
        book, "docs/lab/echo.py", "20 + 1", "20 + 2"
    ),
    "results altered": spoil(lambda folder, _: edit(folder, "echo.json", "1.0", "1.5")),
    "results truncated": spoil(lambda _, json: os.truncate(json, 20)),
    "figure altered": spoil(
        lambda folder, _: edit(folder, "echo/decay.svg", "</svg>", "<g/></svg>")
    ),
    "figure missing": spoil(lambda folder, _: (folder / "echo/decay.svg").unlink()),
    "notebook truncated": spoil(
        lambda folder, _: os.truncate(folder / "echo.ipynb", 20)
    ),
}


@pytest.mark.parametrize("change", RERUN.values(), ids=RERUN)
def test_lab_runs_again_when_its_record_is_not_sound(book, change):
    from tools.labs.run import run

    change(book)
    assert run("echo", "cpu", 120, book).state == "run"
    assert run("echo", "cpu", 120, book).state == "reused"


def test_key_depends_on_versions_and_device(built, monkeypatch):
    lab = Lab("echo", built)
    assert lab.key("cpu") != lab.key("cuda")
    before = lab.key("cpu")
    monkeypatch.setattr("tools.core.lab.version", lambda package: "0.0")
    assert lab.key("cpu") != before


def test_a_page_is_built_with_the_labs_that_it_needs(book):
    shutil.rmtree(book / "build")
    done = build(book, "index")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "none" in (book / "site/PARTIAL").read_text("utf-8")
    evidence = article(book, "en/echo").find(id="evidence").find_next("p").text
    assert "…" in evidence and "{{" not in evidence
    done = build(book, "echo")
    assert done.returncode == 0 and "labs: echo" in done.stdout
    assert article(book, "echo").select_one("figure svg path, figure svg g")
    done = build(book, "nowhere")
    assert done.returncode == 2 and "there is no page docs/zh/nowhere" in done.stderr
    build(book)
    assert not (book / "site/PARTIAL").exists()


def test_a_script_that_is_not_as_expected_is_not_edited(tmp_path):
    """Material's, in a version that loads its search in another way."""
    for root in (tmp_path, tmp_path / "en"):
        (root / "assets/javascripts").mkdir(parents=True)
        (root / "assets/javascripts/bundle.0.min.js").write_text("search()", "utf-8")
    with pytest.raises(ValueError, match="says location.protocol.* not once"):
        search_script.write(tmp_path)


def test_two_builds_from_cold_give_the_same_site(built, tmp_path):
    """Byte for byte, in another folder, but for how long the lab took."""
    other = lay_out(tmp_path / "elsewhere")
    assert build(other, PYTHONHASHSEED="7").returncode == 0
    badge = re.compile(rb"\b\d+ s(?=[\s<])")
    one, two = (
        {
            str(f.relative_to(root)): badge.sub(b"N s", f.read_bytes())
            for f in root.glob("site/**/*")
            if f.is_file()
        }
        for root in (built, other)
    )
    assert [f for f in one.keys() | two.keys() if one.get(f) != two.get(f)] == []
    assert badge.search((built / "site/echo/index.html").read_bytes())


def test_two_builds_at_once_both_succeed(book):
    shutil.rmtree(book / "build")
    command = [sys.executable, "-m", "tools.press.build"]
    both = [
        subprocess.Popen(command, cwd=book, stdout=subprocess.DEVNULL, stderr=-1)
        for _ in range(2)
    ]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors.decode()
    assert (book / "site/en/echo/index.html").is_file()
    assert not list((book / "build").glob("site-*"))


# What bad input gets


LABS = {
    "raises": ("assert 1 == 2, 'no luck'", ":1: AssertionError: no luck"),
    "hangs": (
        "import subprocess\nsubprocess.run(['sleep', '3141'])",
        ":1: stopped after 60 s",
    ),
    "dies": ("import os\nos._exit(1)", ":1: the kernel died in this cell"),
    "nan": ("results = {'a': [1.0, float('nan')]}", "results['a'] is or holds nan"),
    "infinity": ("results = {'a': float('inf')}", "results['a'] is or holds inf"),
    "silent": ("x = 1", "the lab ends without `results`"),
    "nested": ("results = {'a': {'b': 1}}", "results['a']"),
    "tensor": ("import torch\nresults = {'a': torch.ones(1)}", "not Tensor"),
    "tuple": ("results = {'a': (1, 2)}", "a list of these, not tuple"),
    "prints": ("while True:\n    print('a lot')", ":1: this cell prints more than"),
    "shows": (
        "x = 1\n# %%\nfrom IPython.display import HTML\nHTML('<b>x</b>')",
        ":3: this cell shows text/html: print text instead",
    ),
    "says": ("raise ValueError('a\\nb' * 999)", ":1: ValueError: a ba ba b"),
    "moves": ("import os\nos.chdir('/')", ":1: PermissionError: a lab stays in its"),
    "writes": ("open('../a', 'w')", "a lab writes only into its own folder, not ../a"),
    "fetches": (
        "import urllib.request\nurllib.request.urlopen('https://example.org')",
        "a lab reads nothing from the network, not from example.org",
    ),
    "svg": ("open('a.svg', 'w').write('<svg>')", ":1: a.svg: no element found"),
    "twice": (
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\n"
        "fig.savefig('a.svg')\nresults = {'a': 1}\n# %%\nfig.savefig('a.svg')",
        ":6: PermissionError: a lab saves a.svg once, give each figure a name",
    ),
    "words": (
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\n"
        "ax.set_xlabel('步数')\nfig.savefig('a.svg')\nresults = {'a': 1}",
        "a.svg: 步数: both languages show this",
    ),
    "colour": (
        "import matplotlib.pyplot as plt\nfig, ax = plt.subplots()\n"
        "ax.plot([1, 2], color='#123456')\nfig.savefig('a.svg')\nresults = {'a': 1}",
        "a.svg: colour #123456: use C0",
    ),
}


def test_bad_labs_are_named_and_stop_nothing_else(book):
    """All at once: each ends with its message, and the good one still runs."""
    for name, (code, _) in LABS.items():
        (book / f"docs/lab/{name}.py").write_text(f"{code}\n", "utf-8")
    shutil.rmtree(book / "build/labs")
    command = [sys.executable, "-m", "tools.labs"]
    env = {**os.environ, "LAB_TIMEOUT": "60"}
    done = subprocess.run(command, cwd=book, env=env, capture_output=True, text=True)
    assert done.returncode != 0
    for name, (_, message) in LABS.items():
        errors = [x for x in done.stderr.splitlines() if f"docs/lab/{name}.py:" in x]
        assert len(errors) == 1 and message in errors[0], (name, done.stderr)
        assert not list((book / "build/labs").glob(f"{name}*.[ijs]*")), name
        assert not (book / "build/labs" / name).exists()
    assert records.provenance(book / "build/labs", "echo") is not None
    left = subprocess.run(["pgrep", "-f", "sleep 3141"], capture_output=True)
    assert left.returncode == 1, "a child of the killed lab is still running"


def append(path: str, text: str):
    return lambda book: (book / path).write_text(
        (book / path).read_text("utf-8") + text, "utf-8"
    )


def replace(path: str, old: str, new: str):
    return lambda book: edit(book, path, old, new)


def in_both(old: str, new: str):
    def change(book):
        for language in ("zh", "en"):
            edit(book, f"docs/{language}/echo.md", old, new)

    return change


BAD = {
    "include of a missing file": (in_both('"echo.py:step"', '"no.py:step"'), "no.py"),
    "include of a missing section": (in_both(":step", ":stop"), "stop"),
    "unclosed marker": (
        replace("snippets/echo.py", "# --8<-- [end:main]", ""),
        "snippets/echo.py",
    ),
    "unknown number": (in_both("lab.echo.half:", "lab.echo.loss:"), "loss"),
    "bad format": (in_both("half:.1f", "half:.2q"), ".2q"),
    "verdict that no longer holds": (
        replace("docs/lab/echo.py", '"holds"', '"fails"'),
        "fails",
    ),
    "bad TeX": (in_both("\\tfrac{1}{2}", "\\tfrac{1}{2"), "echo.md"),
    "bad UTF-8": (
        lambda book: (book / "docs/zh/index.md").write_bytes(b"---\n\xff"),
        "docs/zh/index.md",
    ),
    "bad front matter": (
        replace("docs/en/echo.md", "description: ", "description: ["),
        "docs/en/echo.md",
    ),
    "page without twin": (
        lambda book: (book / "docs/en/index.md").unlink(),
        "index.md",
    ),
    "out of parity": (
        replace("docs/en/echo.md", "as $h_t$", "as $h_s$"),
        "docs/en/echo.md",
    ),
    "broken link": (in_both("(index.md#words)", "(notions.md)"), "notions.md"),
    "broken anchor": (in_both("index.md#words", "index.md#word"), "#word"),
    "failing lab": (append("docs/lab/echo.py", "# %%\n1 / 0\n"), "docs/lab/echo.py:"),
}


@pytest.mark.parametrize(("change", "named"), BAD.values(), ids=BAD)
def test_bad_book_leaves_the_site_as_it_was(book, change, named):
    before = snapshot(book / "site")
    change(book)
    done = build(book)
    assert done.returncode != 0, done.stdout
    assert named in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert snapshot(book / "site") == before


@pytest.mark.parametrize("link", ["../../notions/", "../../#word"])
def test_links_of_lab_pages_are_checked_too(book, link):
    edit(book, "docs/lab/echo.py", "# 衰减", f"# [看]({link}) 衰减")
    edit(book, "docs/lab/echo.py", "# The decay", f"# [See]({link}) the decay")
    done = build(book)
    assert done.returncode != 0
    assert f"lab/echo/index.html: {link} leads to no" in done.stderr


def test_a_device_that_is_not_there_is_an_error():
    import torch

    if torch.cuda.is_available():
        command = [
            "-c",
            "import torch; torch.cuda.is_available = lambda: False; "
            "from tools.labs import run; run.parse(['--device', 'cuda'])",
        ]
    else:
        command = ["-m", "tools.labs", "--device", "cuda"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode != 0 and "no CUDA device" in done.stderr
