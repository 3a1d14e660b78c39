"""What a reader pastes from a page, block after block, runs.

All blocks of a page that define something (an import, a function, a class, a
constant) go into an empty file, in page order. It runs, and so does its `main`.
"""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest
from markdown import Markdown

from tools.core.blocks import fences
from tools.core.languages import page_files

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path.relative_to(ROOT / "docs").as_posix()
    for path in page_files(ROOT)
    if "```python" in path.read_text("utf-8")
)
DEFINES = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
BREAK = "\n\n# ----\n"  # between two blocks
CALL = "\n\nif 'main' in globals():\n    assert len(main(steps=2)) == 2\n"


def blocks(text: str, root: Path = ROOT) -> list[str]:
    """The Python blocks of a page, as a reader sees them."""
    places = [str(root / place) for place in ("snippets", "docs")]
    settings = {"base_path": places, "dedent_subsections": True}
    md = Markdown(
        extensions=["pymdownx.snippets"],
        extension_configs={"pymdownx.snippets": settings},
    )
    lines = md.preprocessors["snippet"].run(text.split("\n"))
    return [
        dedent("\n".join(lines[fence.start : fence.end - 1]))
        for fence in fences(lines)
        if fence.info.startswith("python")
    ]


def defines(code: str) -> bool:
    """Tell a block that defines something from one that quotes a few lines."""
    return any(
        isinstance(node, DEFINES)
        or isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and len(node.targets[0].id) > 1
        and node.targets[0].id.isupper()
        for node in ast.parse(code).body
    )


def pasted(text: str, root: Path = ROOT) -> str:
    return BREAK.join(filter(defines, blocks(text, root)))


@cache  # both languages show the same code
def paste(code: str, folder: Path) -> subprocess.CompletedProcess:
    folder.mkdir()
    (folder / "pasted.py").write_text(code + CALL, "utf-8")
    return subprocess.run(
        [sys.executable, "-I", "pasted.py"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("paste")


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(PAGES, key=lambda page: page[3:]))
def test_what_a_page_shows_runs_when_pasted(page, folder):
    code = pasted((ROOT / "docs" / page).read_text("utf-8"))
    done = paste(code, folder / Path(page).stem)
    assert done.returncode == 0, f"{place(code, done.stderr)}\n{done.stderr}"


def place(code: str, stderr: str) -> str:
    """Name the first line of the block at which a traceback ends."""
    stop = int(re.findall(r'pasted\.py", line (\d+)', stderr)[-1])
    above = "\n".join(code.split("\n")[:stop])
    return f"in the block that begins with: {above.split(BREAK)[-1].split(chr(10))[0]}"


@pytest.mark.parametrize("stem", [p.stem for p in ROOT.glob("snippets/[!_]*.py")])
def test_both_languages_show_the_same_code(stem):
    zh, en = (
        pasted((ROOT / "docs" / language / f"{stem}.md").read_text("utf-8"))
        for language in ("zh", "en")
    )
    assert zh == en and "def main(" in zh and "import torch" in zh


def test_a_name_that_no_block_shows_is_an_error(tmp_path):
    page = (
        "```python\nimport math\n```\n\n```python\ndef area():\n    return tau\n```\n"
    )
    code = pasted(page) + "\narea()"
    stderr = paste(code, tmp_path / "a").stderr
    assert "NameError" in stderr
    assert place(code, stderr) == "in the block that begins with: def area():"
    assert pasted("```python\nh = a * h  # (B, H)\n```") == ""
