"""`nox -s serve`: what changed is shown soon, and the rest stays as it was."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from test_press import build, built  # noqa: F401  (a fixture)

from tests.small_house import edit
from tools.press.preview import free

SOON = 5  # seconds


@contextmanager
def serve(book: Path, **env: str):
    """Serve a book, and give a function that fetches from it."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{one.getsockname()[1]}"
    command = [sys.executable, "-m", "mkdocs", "serve", "--dirty", "-a", host]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

    def fetch(path: str, wanted: str = "", patience: float = 60) -> str:
        """Fetch again and again until `wanted` is there."""
        end, text = time.monotonic() + patience, ""
        while wanted not in text or not text:
            assert time.monotonic() < end, f"{path} has no {wanted}"
            try:
                text = urlopen(f"http://{host}/{path}", timeout=60).read().decode()
            except URLError:
                time.sleep(0.1)
        return text

    with subprocess.Popen(command, cwd=book, env=os.environ | env, **quiet) as server:
        try:
            fetch("en/echo/")
            yield fetch
        finally:
            server.terminate()


@pytest.fixture
def book(built, tmp_path):  # noqa: F811
    """A copy of the small book, to be changed."""
    return Path(shutil.copytree(built, tmp_path / "book"))


@pytest.fixture
def fetch(book):
    """The small book being served."""
    with serve(book) as fetch:
        yield fetch


@pytest.mark.parametrize("language, root", [("zh", ""), ("en", "en/")])
def test_a_changed_page_is_soon_shown(book, fetch, language, root):
    whole = json.loads(fetch(f"{root}search/search_index.json"))["docs"]
    edit(book, f"docs/{language}/echo.md", "{#idea}\n", "{#idea}\n\n**new**\n")
    page = fetch(f"{root}echo/", "<strong>new</strong>", SOON)
    other = "展开" if language == "zh" else "Unrolled"  # a title it did not read
    assert other in page
    index = json.loads(fetch(f"{root}search/search_index.json"))["docs"]
    assert {doc["location"] for doc in index} == {doc["location"] for doc in whole}


def test_a_changed_snippet_is_shown_in_both_languages(book, fetch):
    edit(book, "snippets/echo.py", "h / 2 + x_t", "h / 2 + x_t + 0")
    for address in ("echo/", "en/echo/"):
        fetch(address, '<span class="mi">0</span>', 60)


def test_a_book_is_served_before_any_lab_was_run(book):
    shutil.rmtree(book / "build")
    with serve(book, BOOK_LABS="none") as fetch:
        assert "…" in fetch("echo/")


@pytest.mark.parametrize("sent, code", [("SIGINT", 0), ("SIGTERM", 143)])
def test_a_preview_ends_quietly_and_leaves_nothing_behind(book, tmp_path, sent, code):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "tools.press.preview", "echo"]
    env = os.environ | {"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    # a terminal sends Ctrl-C to the whole group, whoever ends a program to it alone
    preview = subprocess.Popen(command, cwd=book, env=env, **pipe, process_group=0)
    said = []
    for line in preview.stdout:
        said.append(line)
        if "Serving on" in line:
            break
    if sent == "SIGINT":
        os.killpg(preview.pid, signal.SIGINT)
    else:
        preview.terminate()
    rest, _ = preview.communicate(timeout=30)
    said = "".join([*said, rest])
    assert "Traceback" not in said and preview.returncode == code, said
    assert not list(temporary.iterdir()) and not list((book / "build").glob("site-*"))


def test_what_a_killed_build_left_is_gone_after_the_next(book):
    ended = subprocess.Popen(["true"])
    ended.wait()
    left, alive = (book / "build" / f"site-{n}-x" for n in (ended.pid, os.getpid()))
    left.mkdir()
    alive.mkdir()
    assert build(book, "index").returncode == 0
    assert not left.exists() and alive.exists()


def test_a_port_that_is_taken_is_passed_over():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free(port) > port
