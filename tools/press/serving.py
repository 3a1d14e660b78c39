"""While serving: build again only the pages that a change touches.

A change of a page builds that page. A change of anything else (a snippet, a drawing,
a lab's record, a template) builds all, in both languages.
"""

import signal
from pathlib import Path

from tools.core.bibliography import TITLE
from tools.core.lab import ROOT
from tools.core.languages import LANGUAGES

SHARED = [
    *("docs/drawings", "docs/lab", "snippets", "overrides", "build/labs", "tools"),
    *(language.config for language in LANGUAGES.values()),
]

serving = False
begun = {}  # by language, the age of the sources when its build began
built = {}  # the same of the last build that came to its end
folders = {}  # by language, the sources of the lab pages
searches = {}  # by language, the index of the last build of all pages


def newest(*places: str) -> float:
    """When the youngest file was changed."""
    paths = [p for place in places for p in (ROOT / place, *(ROOT / place).rglob("*"))]
    return max(path.stat().st_mtime for path in paths if path.is_file())


def ages(language: str) -> tuple[float, float]:
    """The age of what all pages share, and of the pages themselves."""
    return newest(*SHARED), newest(f"docs/{language}")


def only_pages(language: str) -> bool:
    """Tell whether nothing but pages changed since the last build."""
    return serving and built.get(language, (0,))[0] == ages(language)[0]


def nothing(language: str) -> bool:
    """Tell whether nothing changed since the last build."""
    return serving and built.get(language) == ages(language)


def start(dirty: bool) -> None:
    """`mkdocs serve --dirty` asks for all this."""
    global serving
    serving = dirty
    # MkDocs takes its folders away after Ctrl-C, not after being told to end
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def begin(files, language: str) -> None:
    """A page's output may be younger than its source and yet be stale."""
    begun[language] = ages(language)
    if serving and not only_pages(language):
        for file in files.documentation_pages():
            file.is_modified = lambda: True


def name(nav) -> None:
    """Pages that are not read again still need their titles."""
    for page in nav.pages if serving else ():
        if page.file.src_uri.endswith(".md"):
            text = Path(page.file.abs_src_path).read_text("utf-8")
            page.title = TITLE.search(text)[1]


def end(site: Path, language: str) -> None:
    """Searching finds all pages, also those that were not built again."""
    index = site / "search" / "search_index.json"
    if only_pages(language):
        index.write_text(searches[language], "utf-8")
    elif serving:
        searches[language] = index.read_text("utf-8")
    built[language] = begun[language]
