"""What a build costs: labs, the build warm and cold, twice and four times the pages.

`python -m tools.craft.bench` works on copies in a temporary folder; labs are not
run again.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools.core.lab import ROOT, all_labs
from tools.core.languages import LANGUAGES, page_files
from tools.labs import records

ROOMS = ["build/labs", "docs", "overrides", "snippets", "tools"]
ROOMS += [language.config for language in LANGUAGES.values()]


def copy(folder: Path) -> Path:
    """Copy what a build reads."""
    book = folder / "book"
    book.mkdir()
    for room in ROOMS:
        place = book / room
        place.parent.mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / room).is_dir() else shutil.copy)(ROOT / room, place)
    return book


def multiply(book: Path, times: int) -> int:
    """Give each page so many copies under other names; count the pages."""
    config = book / "mkdocs.yml"
    nav = config.read_text("utf-8")
    for page in re.findall(r"- (\w+)\.md", nav):
        if page == "index":
            continue
        names = [f"{page}_{n}" for n in range(1, times)]
        for path in (book / f"docs/{language}" for language in LANGUAGES):
            for name in names:
                shutil.copy(path / f"{page}.md", path / f"{name}.md")
        lines = "".join(f"\\g<1>- {name}.md\n" for name in names)
        nav = re.sub(rf"^( *)- {page}\.md\n", rf"\g<0>{lines}", nav, flags=re.M)
    config.write_text(nav, "utf-8")
    return len(page_files(book))


def seconds(book: Path) -> float:
    """Time one build of all languages."""
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--site-dir",
        str(book / "site"),
    ]
    start = time.monotonic()
    subprocess.run(command, cwd=book, check=True, capture_output=True)
    return time.monotonic() - start


def main() -> None:
    made = {
        stem: records.provenance(ROOT / "build" / "labs", stem) for stem in all_labs()
    }
    if missing := [stem for stem, source in made.items() if source is None]:
        sys.exit(f"these labs have no record, run `nox -s labs`: {', '.join(missing)}")
    print(f"{'lab':<20}{'CPU s':>8}")
    for stem, source in made.items():
        print(f"{stem:<20}{source['seconds']:>8.1f}")
    print(f"{'all':<20}{sum(s['seconds'] for s in made.values()):>8.1f}\n")
    print(f"{'pages':<20}{'cold s':>8}{'warm s':>8}   (build of both languages)")
    for times in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            book = copy(Path(folder))
            pages = multiply(book, times)
            print(f"{pages:<20}{seconds(book):>8.1f}{seconds(book):>8.1f}")


if __name__ == "__main__":
    main()
