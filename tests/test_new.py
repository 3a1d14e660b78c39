"""`nox -s new`: what is laid out passes all checks before a word is written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tools.check.run import check

ROOT = Path(__file__).parent.parent
STEM = "leaky_average"


def run(book: Path, *command: str) -> subprocess.CompletedProcess:
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *command]
    return subprocess.run(command, cwd=book, env=env, capture_output=True, text=True)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A copy of the book with a new architecture in it."""
    book = tmp_path_factory.mktemp("new") / "book"
    unwanted = shutil.ignore_patterns(".*", "build", "site", "__pycache__")
    shutil.copytree(ROOT, book, ignore=unwanted)
    assert check(book) == []
    done = run(book, "tools.craft.new", STEM)
    assert done.returncode == 0, done.stderr
    assert f"nox -s tests -- tests/test_{STEM}.py" in done.stdout
    return book


def test_all_that_is_missing_is_the_line_of_navigation(book):
    faults = check(book)
    assert [fault.message for fault in faults] == [f"nav lacks {STEM}.md"]
    nav = (book / "mkdocs.yml").read_text("utf-8")
    line = f"- gru.md\n      - {STEM}.md\n"
    (book / "mkdocs.yml").write_text(nav.replace("- gru.md\n", line), "utf-8")
    assert check(book) == []
    for command in ("check", "format --check"):
        done = run(book, "ruff", *command.split(), ".")
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_its_test_passes_and_its_lab_runs(book):
    done = run(book, "pytest", f"tests/test_{STEM}.py")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout or "[100%]" in done.stdout
    done = run(book, "tools.labs", STEM)
    assert done.returncode == 0, done.stderr
    record = book / "build/labs" / f"{STEM}.json"
    assert check(book, book / "build/labs", [STEM]) == [] and record.is_file()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "name one architecture"),
        (["gru"], "snippets/gru.py is there already"),
        (["map-2"], "is no plain name"),
        (["Gru"], "is no plain name"),
        (["class"], "is no plain name"),
        (["index"], "docs/zh/index.md is there already"),
    ],
)
def test_names_that_will_not_do(book, arguments, message):
    done = run(book, "tools.craft.new", *arguments)
    assert done.returncode == 1 and message in done.stderr
