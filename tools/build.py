"""Build the book: check the sources, run the labs, make both sites, check them.

`site/` is replaced only when everything passed: `python -m tools.build`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from tools.check import check
from tools.lab import ROOT, stems
from tools.labs import parse, run_all
from tools.links import broken


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


def main() -> None:
    options = parse()
    if options.device != "cpu":
        sys.exit("the book is built on the CPU; `nox -s gpu` holds its claims on CUDA")
    report(check(ROOT))
    outcomes = run_all(options.stems or stems(), options.device)
    if any(outcome.error for outcome in outcomes):
        sys.exit("a lab failed: no site was made")
    report(check(ROOT, ROOT / "build" / "labs"))
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="site-") as folder:
        made = Path(folder) / "site"
        command = ["-m", "mkdocs", "build", "--strict", "--site-dir", str(made)]
        if subprocess.run([sys.executable, *command], cwd=ROOT).returncode:
            sys.exit("the site was not made")
        report(broken(made))
        replace(ROOT / "site", made)
    print(f"the book is in {ROOT / 'site'}")


if __name__ == "__main__":
    main()
