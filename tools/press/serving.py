"""While serving: build again only the pages that a change touches.

A change of a page builds that page. A change of anything else (a snippet, a drawing,
a lab's record, a template) builds all, in both languages.
"""

import signal
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from tools.core.blocks import title
from tools.core.lab import ROOT
from tools.core.languages import LANGUAGES

SHARED = [
    *("docs/drawings", "docs/lab", "snippets", "overrides", "build/labs", "tools"),
    *(language.config for language in LANGUAGES.values()),
]


def newest(*places: str) -> float:
    """Tell when the youngest file was changed."""
    paths = [p for place in places for p in (ROOT / place, *(ROOT / place).rglob("*"))]
    return max(path.stat().st_mtime for path in paths if path.is_file())


def ages(language: str) -> tuple[float, float]:
    """Give the age of what all pages share, and of the pages themselves."""
    return newest(*SHARED), newest(f"docs/{language}")


@dataclass
class Preview:
    """What is known from one build to the next; each dict is by language."""

    runs: bool = False  # while MkDocs serves; a build alone remembers nothing
    begun: dict = field(default_factory=dict)  # ages when the build began
    built: dict = field(default_factory=dict)  # ages of the last build that ended
    folders: dict = field(default_factory=dict)  # sources of the lab pages
    searches: dict = field(default_factory=dict)  # index of the last whole build

    def start(self) -> None:
        """Serve: `mkdocs serve --dirty` asks for all this."""
        self.runs = True
        # MkDocs takes its folders away after Ctrl-C, not after being told to end
        signal.signal(signal.SIGTERM, signal.default_int_handler)

    def only_pages(self, language: str) -> bool:
        """Tell whether nothing but pages changed since the last build."""
        shared, _ = self.built.get(language, (0, 0))
        return self.runs and shared == ages(language)[0]

    def nothing(self, language: str) -> bool:
        """Tell whether nothing changed since the last build."""
        return self.runs and self.built.get(language) == ages(language)

    def folder(self, language: str) -> Path:
        """Give the folder for the sources of lab pages, a new one for a whole build."""
        if not self.only_pages(language):
            self.folders[language] = TemporaryDirectory(prefix="book-")
        return Path(self.folders[language].name)

    def begin(self, files, language: str) -> None:
        """Build all pages, or those that changed.

        A page's output may be younger than its source and yet be stale.
        """
        self.begun[language] = ages(language)
        if self.runs and not self.only_pages(language):
            for file in files.documentation_pages():
                file.is_modified = lambda: True

    def name(self, nav) -> None:
        """Give titles to the pages that are not read again."""
        for page in nav.pages if self.runs else ():
            if page.file.src_uri.endswith(".md"):
                text = Path(page.file.abs_src_path).read_text("utf-8")
                page.title = title(text.split("\n"))

    def end(self, site: Path, language: str) -> None:
        """Let the search find all pages, also those that were not built again."""
        index = site / "search" / "search_index.json"
        if self.only_pages(language):
            index.write_text(self.searches[language], "utf-8")
        elif self.runs:
            self.searches[language] = index.read_text("utf-8")
        else:
            self.folders.pop(language).cleanup()
        self.built[language] = self.begun[language]


# MkDocs loads the hooks anew for each build, so they could not hold it themselves.
PREVIEW = Preview()
