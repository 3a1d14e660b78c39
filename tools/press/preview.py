"""Preview both languages with live reload: `python -m tools.press.preview gru`.

With names of pages only the labs that these need are run.
"""

import socket
import subprocess
import sys
from itertools import count

from tools.core.lab import ROOT, all_labs
from tools.core.stopping import stoppable
from tools.labs.run import parse, run_all
from tools.press.build import labs_for, pages
from tools.press.workroom import workroom


def free(first: int = 8000) -> int:
    """Find a port that nobody listens on, another preview for one."""
    for port in count(first):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)):
                return port


def main() -> None:
    options = parse(known=pages(), story=__doc__)
    labs = labs_for(options.names) if options.names else all_labs()
    run_all(labs)  # one that fails is shown as not run
    command = [sys.executable, "-m", "mkdocs", "serve", "--dirty"]
    command += ["--dev-addr", f"127.0.0.1:{free()}"]
    with workroom() as (_, env):
        if options.names:
            env |= {"BOOK_LABS": " ".join(labs) or "none", "BOOK_LINKS": "ignore"}
        sys.exit(wait(subprocess.Popen(command, cwd=ROOT, env=env)))


def wait(server: subprocess.Popen) -> int:
    """Wait until the server has ended; it hears Ctrl-C by itself."""
    try:
        return server.wait()
    except KeyboardInterrupt:
        return server.wait()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    with stoppable():
        main()
