"""The mutation tool: it must see a weak test, and believe no stale explanation."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.craft.mutants import passing
from tools.craft.mutations import mutants

ROOT = Path(__file__).parents[1]


def section(name, body):
    return f"# --8<-- [start:{name}]\n{body}\n# --8<-- [end:{name}]\n"


def found(source):
    """The changes, as (line, before, after)."""
    result = []
    for line, description, _ in mutants(source, "tiny.py"):
        before, after = description.partition(": ")[2].split(" -> ")
        result.append((line, before, after))
    return result


@pytest.mark.parametrize(
    "before, after",
    [
        ("a + b", "a - b | a * b"),
        ("a - b", "a + b"),
        ("a * b", "a + b"),
        ("a / b", "a * b"),
        ("a ** b", "a * b"),
        ("a @ b", "b @ a"),
        ("-a", "a"),
        ("not a", "a"),
        ("a >= b", "a > b"),
        ("a < b", "a <= b"),
        ("a == b", "a != b"),
        ("a is b", "a is not b"),
        ("a and b", "a or b"),
        ("all(a)", "any(a)"),
        ("torch.tanh(a)", "torch.sigmoid(a)"),
        ("torch.sigmoid(a)", "torch.tanh(a)"),
        ("torch.relu(a)", "torch.tanh(a)"),
        ("torch.exp(a)", "torch.expm1(a)"),
        ("a.softmax(b)", "a.log_softmax(b)"),
        ("x.new_zeros(a)", "x.new_ones(a)"),
        ("nn.functional.linear(a, b, c)", "nn.functional.linear(a, b)"),
        ("nn.functional.linear(a, b)", ""),
        ("a.sum(0)", "a.mean(0) | a.sum(1)"),
        ("a.sum(dim=-1)", "a.mean(dim=-1) | a.sum(dim=1) | a.sum(dim=-2)"),
        ("0.5", "1.0"),
        ("0.0", "1.0"),
        ("True", "False"),
        ("None", ""),
        ("'words'", ""),
        ("f'{a + b}'", ""),
        ("a.T", "a"),
        ("a.mT", "a"),
        ("a.transpose(b, c)", "a"),
        ("torch.flip(a, b)", "a"),
        ("a.masked_fill(b, c)", "a"),
        ("(a, b, c)", "(b, a, c) | (a, c, b)"),
        ("(a, a)", ""),
        ("a[b:c]", "a[b + 1:c + 1]"),
        ("a[:b]", "a[:b + 1]"),
        ("a[:]", ""),
        ("b if a else c", "b if not a else c"),
        ("b if a is c else c", "b if a is not c else c"),
        ("b if not a else c", "b if a else c"),
        ("[a for a in b if c]", "[a for a in b if not c]"),
    ],
)
def test_expressions(before, after):
    got = found(section("cell", f"value = {before}"))
    assert {line for line, _, _ in got} <= {2}
    assert {a.removeprefix("value = ") for _, _, a in got} == set(
        after.split(" | ") if after else []
    )


@pytest.mark.parametrize(
    "before, after",
    [
        ("a, b = c", "b, a = c"),
        ("a += b", "a -= b | a *= b"),
        ("if a:\n    pass", "if not a:"),
        ("while a:\n    pass", "while not a:"),
        ("for a, b in c:\n    pass", "for b, a in c:"),
        ("f(a)", "pass"),
        ("a[b] = c", "pass"),
        ("raise ValueError(a + b)", ""),
        ("a: b | 3 = c", ""),
        ("def f(a=1):\n    return a, b", "def f(a=2): | return (b, a)"),
    ],
)
def test_statements(before, after):
    got = [a for _, _, a in found(section("cell", before))]
    assert set(got) == set(after.split(" | ") if after else [])


def test_only_the_marked_sections_but_data_and_main():
    source = "a = 1\n" + section("data", "b = 2\n" + section("inner", "c = 3"))
    source += section("main", "d = 4") + section(
        "cell", "e = 5\n" + section("x", "f = 6")
    )
    assert [(b, a) for _, b, a in found(source)] == [
        ("e = 5", "e = 6"),
        ("f = 6", "f = 7"),
    ]


def test_descriptions_name_the_function_and_are_different():
    body = "class A:\n    def f(self):\n        a = 1\n        a = 1"
    keys = [key for _, key, _ in mutants(section("cell", body), "tiny.py")]
    assert keys == ["A.f: a = 1 -> a = 2", "A.f: a = 1 -> a = 2  #2"]


def test_each_mutant_is_changed_in_one_place():
    values = []
    for _, _, code in mutants(section("cell", "a = 1\nb = 10\nc = a + b"), "tiny.py"):
        space = {}
        exec(code, space)
        values.append((space["a"], space["b"], space["c"]))
    assert values == [(2, 10, 12), (1, 11, 12), (1, 10, -9), (1, 10, 10)]


def test_only_what_ends_well_survives():
    ends = {
        "passes": lambda: None,
        "fails": lambda: sys.exit(1),
        "crashes": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "hangs": lambda: time.sleep(60),
        "passes too": lambda: time.sleep(0.2),
    }
    start = time.monotonic()
    candidates = [(0, name, end) for name, end in ends.items()]
    survived = passing(candidates, lambda end: end(), limit=3)
    assert {name for _, name, _ in survived} == {"passes", "passes too"}
    assert time.monotonic() - start < 30


SNIPPET = section("cell", "def area(a, b):\n    return a * b") + section(
    "main", "x = 1"
)
SNIPPET += "y = 2\n"
TEST = (
    "from snippets.tiny import area\n\n\ndef test_area():\n    assert area({}) == {}\n"
)
SURVIVOR = "area: return a * b -> return a + b"


@pytest.fixture
def run(tmp_path):
    """Write a project of one snippet and its test, run the tool on it."""

    def run(test, *words):
        for name, text in {"snippets": SNIPPET, "tests": test}.items():
            stem = "tiny" if name == "snippets" else "test_tiny"
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{stem}.py").write_text(text, "utf-8")
        result = subprocess.run(
            [sys.executable, "-m", "tools.craft.mutants", *(words or ["tiny"])],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            encoding="utf-8",
        )
        assert not result.stderr
        return result.returncode, result.stdout

    return run


def test_a_weak_test_is_seen(run):
    code, output = run(TEST.format("2, 2", 4))
    assert code == 1
    assert f"snippets/tiny.py:3: survived: {SURVIVOR}\n" in output
    assert "tiny: 1 mutants, 1 survived, 0 explained" in output


def test_a_good_test_passes(run):
    code, output = run(TEST.format("2, 3", 6))
    assert code == 0 and "tiny: 1 mutants, 0 survived" in output


def test_an_explanation_is_believed_while_it_explains(run):
    why = f"\n\nSURVIVORS = {{{SURVIVOR!r}: 'only to be seen at 2'}}\n"
    code, output = run(TEST.format("2, 2", 4) + why)
    assert code == 0 and "1 survived, 1 explained" in output
    code, output = run(TEST.format("2, 3", 6) + why)
    assert (
        code == 1 and f"SURVIVORS explains what does not survive: {SURVIVOR}" in output
    )


def test_slow_tests_are_left_out(run):
    slow = "import pytest\n\n@pytest.mark.slow\ndef test_slow():"
    slow = TEST.format("2, 3", 6).replace("def test_area():", slow)
    code, output = run(TEST.format("2, 2", 4) + slow)
    assert code == 1 and SURVIVOR in output


def test_the_original_must_pass(run):
    code, output = run(TEST.format("2, 3", 7))
    assert code == 1 and "test_tiny.py: fails without any change" in output


def test_only_what_changed_since_a_commit(run, tmp_path):
    def git(*words):
        own = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(["git", *own, *words], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, done.stderr

    run(TEST.format("2, 3", 6))
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    code, output = run(TEST.format("2, 3", 6), "--since", "HEAD")
    assert (code, output) == (0, "changed since HEAD: no snippet\n")
    code, output = run(TEST.format("2, 2", 4), "--since", "HEAD")
    assert code == 1 and output.startswith("changed since HEAD: tiny\n")


def test_a_missing_file_is_named(run, tmp_path, monkeypatch, capsys):
    from tools.craft import mutants as tool

    monkeypatch.chdir(tmp_path)
    assert tool.examine("tiny") == 1
    assert "snippets/tiny.py: there is no such file" in capsys.readouterr().out
