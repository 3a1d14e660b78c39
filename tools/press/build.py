"""Build the book: check the sources, run the labs, make both sites, check them.

`site/` is replaced only when everything passed: `python -m tools.press.build`. With
names of pages only the labs that these need are run: `python -m tools.press.build gru`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from tools.check.run import check
from tools.core.lab import ROOT, all_labs
from tools.core.languages import page_files
from tools.core.stopping import stoppable
from tools.labs.run import parse, run_all
from tools.press.links import broken
from tools.press.partial import NOTE, needed
from tools.press.workroom import workroom


def report(faults: list) -> None:
    """Stop the build if there are faults, and print them all."""
    if faults:
        print("\n".join(map(str, faults)), file=sys.stderr)
        sys.exit(1)


def replace(site: Path, made: Path) -> None:
    """Put the new site in the place of the old one."""
    with FileLock(ROOT / "build" / "site.lock"):
        old = made.with_name("old")
        if site.exists():
            os.replace(site, old)
        os.replace(made, site)
        shutil.rmtree(old, ignore_errors=True)


def pages() -> set[str]:
    return {path.stem for path in page_files(ROOT)}


def labs_for(names: list[str]) -> list[str]:
    """Name the labs of pages: their own, and those that they quote."""
    found = set(names)
    for path in (path for name in names for path in page_files(ROOT, name)):
        found |= needed(path.read_text("utf-8"))
    return sorted(found & set(all_labs()))


def main() -> None:
    options = parse(known=pages(), story=__doc__)
    if options.device != "cpu":
        sys.exit("the book is built on the CPU; `nox -s gpu` holds its claims on CUDA")
    partial = labs_for(options.names)
    report(check(ROOT, ran=partial if options.names else None))
    outcomes = run_all(partial if options.names else all_labs(), options.device)
    if any(outcome.error for outcome in outcomes):
        sys.exit("a lab failed: no site was made")
    report(check(ROOT, ROOT / "build" / "labs", partial if options.names else None))
    with workroom() as (folder, env):
        if options.names:
            env |= {"BOOK_LABS": " ".join(partial) or "none", "BOOK_LINKS": "ignore"}
        made = folder / "site"
        strict = [] if options.names else ["--strict"]  # lab pages are missing then
        command = ["-m", "mkdocs", "build", "--quiet", *strict, "--site-dir", str(made)]
        print(f"making {len(page_files(ROOT))} pages and the pages of the labs")
        if subprocess.run([sys.executable, *command], cwd=ROOT, env=env).returncode:
            sys.exit("the site was not made")
        if not options.names:
            report(broken(made))
        else:
            (made / NOTE).write_text(env["BOOK_LABS"] + "\n", "utf-8")
        replace(ROOT / "site", made)
    print(f"the book is in {ROOT / 'site'}")
    if options.names:
        print(f"labs: {env['BOOK_LABS']}; what others give reads …")
        print("tests/site wants the whole book: nox -s docs")


if __name__ == "__main__":
    with stoppable():
        main()
