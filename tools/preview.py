"""Preview both languages with live reload: `python -m tools.preview gru`.

With names of pages only the labs that these need are run.
"""

import os
import subprocess
import sys

from tools.build import labs_for, pages
from tools.lab import ROOT, stems
from tools.labs import parse, run_all


def main() -> None:
    options = parse(known=pages())
    labs = labs_for(options.stems) if options.stems else stems()
    run_all(labs)  # one that fails is shown as not run
    env = dict(os.environ)
    if options.stems:
        env |= {"BOOK_LABS": " ".join(labs) or "none", "BOOK_LINKS": "ignore"}
    command = [sys.executable, "-m", "mkdocs", "serve", "--dirty"]
    sys.exit(subprocess.run(command, cwd=ROOT, env=env).returncode)


if __name__ == "__main__":
    main()
