"""Where the built site lies and what the sources say should be on it."""

import re
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
SITE = ROOT / "site"
LABS = sorted(path.stem for path in (ROOT / "docs/lab").glob("*.py"))
LANGUAGES = ("zh", "en")
FENCE = re.compile(
    r"^(?P<pad>[ \t]*)(?P<mark>`{3,})(?P<body>.*?)^(?P=pad)(?P=mark)[ \t]*$",
    re.M | re.S,
)
# Adds up layout shifts that no input caused.
WATCH_SHIFT = """
window.shift = 0;
new PerformanceObserver(list => {
  for (const entry of list.getEntries())
    if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""


def folder(language: str) -> str:
    return "" if language == "zh" else "en/"


def addresses() -> list[str]:
    """Addresses of all built pages: "" is the Chinese home page, "en/gru/" a page."""
    files = (file.relative_to(SITE).parent for file in SITE.rglob("index.html"))
    return sorted("" if f == Path() else f"{f.as_posix()}/" for f in files)


def source(address: str) -> Path | None:
    """The Markdown file of a page, None for the page of a lab."""
    language, rest = (
        ("en", address[3:]) if address.startswith("en/") else ("zh", address)
    )
    if rest.startswith("lab/"):
        return None
    return ROOT / "docs" / language / f"{rest.strip('/') or 'index'}.md"


def fences(text: str) -> list[str]:
    """The bodies of all code fences, in order, without their indentation."""
    bodies = (match["body"].partition("\n")[2] for match in FENCE.finditer(text))
    return [textwrap.dedent(body).rstrip("\n") for body in bodies]


def section(include: str) -> str:
    """What `--8<-- "file.py:name"` stands for: the lines between its two markers."""
    name, _, part = re.fullmatch(r'--8<-- "(.+)"', include)[1].partition(":")
    path = next(
        p for p in (ROOT / "snippets" / name, ROOT / "docs" / name) if p.exists()
    )
    text = path.read_text("utf-8")
    if part:
        text = text.split(f"[start:{part}]\n")[1].split(f"[end:{part}]")[0]
    lines = [line for line in text.split("\n") if "--8<--" not in line]
    return textwrap.dedent("\n".join(lines)).strip("\n")
