"""Ctrl-C once, or being told to end: one line, and nothing left behind."""

import signal
import sys
from contextlib import contextmanager


@contextmanager
def stoppable():
    """Let what runs inside clean up after itself, whoever ends it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
