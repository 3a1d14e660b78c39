"""A folder to build in: gone afterwards, or at the next build if one was killed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tools.core.lab import ROOT


@contextmanager
def workroom() -> Iterator[tuple[Path, dict[str, str]]]:
    """Give the folder, and the environment that keeps MkDocs' own folders in it."""
    build = ROOT / "build"
    build.mkdir(exist_ok=True)  # not there yet when no lab was ever run
    for left in build.glob("site-[0-9]*-*"):
        owner = left.name.split("-")[1]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=build, prefix=f"site-{os.getpid()}-") as name:
        quiet = {"NO_MKDOCS_2_WARNING": "1"}  # an advertisement of its theme
        yield Path(name), {**os.environ, **quiet, "TMPDIR": name}
