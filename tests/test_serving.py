"""`nox -s serve`: what changed is shown soon, and the rest stays as it was."""

import json
import shutil
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from test_press import built, edit  # noqa: F401  (a fixture)

SOON = 5  # seconds


@pytest.fixture
def served(built, tmp_path):  # noqa: F811
    """The small book being served: its folder and a function that fetches from it."""
    book = shutil.copytree(built, tmp_path / "book")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
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

    with subprocess.Popen(command, cwd=book, **quiet) as server:
        fetch("en/echo/")
        yield book, fetch
        server.terminate()


@pytest.mark.parametrize("language, root", [("zh", ""), ("en", "en/")])
def test_a_changed_page_is_soon_shown(served, language, root):
    book, fetch = served
    whole = json.loads(fetch(f"{root}search/search_index.json"))["docs"]
    edit(book / f"docs/{language}/echo.md", "{#idea}\n", "{#idea}\n\n**new**\n")
    page = fetch(f"{root}echo/", "<strong>new</strong>", SOON)
    assert (
        "展开" if language == "zh" else "Unrolled"
    ) in page  # the other page's title
    index = json.loads(fetch(f"{root}search/search_index.json"))["docs"]
    assert {doc["location"] for doc in index} == {doc["location"] for doc in whole}


def test_a_changed_snippet_is_shown_in_both_languages(served):
    book, fetch = served
    edit(book / "snippets/echo.py", "h / 2 + x_t", "h / 2 + x_t + 0")
    for address in ("echo/", "en/echo/"):
        fetch(address, '<span class="mi">0</span>', 60)
