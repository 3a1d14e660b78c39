"""Lay out the five files of a new architecture: `python -m tools.craft.new lru`."""

import keyword
import re
import subprocess
import sys
from pathlib import Path

from tools.check.accepted import accept
from tools.core.house import House
from tools.core.languages import LANGUAGES

ROOT = Path(__file__).parents[2]
TEMPLATE = Path(__file__).parent / "template"
FILES = {
    "snippet.py": "snippets/{}.py",
    "test.py": "tests/test_{}.py",
    "lab.py": "docs/lab/{}.py",
    **{f"{code}.md": f"docs/{code}/{{}}.md" for code in LANGUAGES},
}
NEXT = """\
These five run as they stand. Next:

1. one line in the navigation of mkdocs.yml, where the page belongs:
       - {0}.md
2. nox -s lint                              what is wrong, with file and line
3. write the code, then its test:           nox -s tests -- tests/test_{0}.py
                                            nox -s mutants -- {0}
4. write the lab:                           nox -s labs -- {0}
5. write the pages, and look at them:       nox -s serve -- {0}
6. read both languages side by side, then:  nox -s accept -- {0}
7. before you hand in, all of it:           nox -s docs && nox -s tests
"""


def check(stem: str) -> str | None:
    """Say why a page cannot have this name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", stem) or keyword.iskeyword(stem):
        return f"{stem!r} is no plain name: small letters, digits, _, as in `mingru`"
    for file in (path.format(stem) for path in FILES.values()):
        if (ROOT / file).exists():
            return f"{file} is there already, choose another name"
    return None


def lay_out(stem: str) -> None:
    """Write the five files; `newstem` of the template becomes the name."""
    name = "".join(word.capitalize() for word in stem.split("_"))
    for template, file in FILES.items():
        text = (TEMPLATE / template).read_text("utf-8")
        text = text.replace("newstem", stem).replace("Newstem", name)
        (ROOT / file.format(stem)).write_text(text, "utf-8")
        print(file.format(stem))
    code = [file.format(stem) for file in FILES.values() if file.endswith(".py")]
    for tidy in ("format", "check --fix", "format"):  # a long name moves lines
        ruff = [sys.executable, "-m", "ruff", *tidy.split(), "-q", *code]
        subprocess.run(ruff, cwd=ROOT, check=True)
    accept(House(ROOT), [stem])


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("name one architecture: nox -s new -- mingru")
    if fault := check(sys.argv[1]):
        sys.exit(fault)
    lay_out(sys.argv[1])
    print(f"\n{NEXT.format(sys.argv[1])}", end="")


if __name__ == "__main__":
    main()
