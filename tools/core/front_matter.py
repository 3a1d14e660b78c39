"""The front matter of a page, and which of its two languages is up to date."""

import re
from functools import cache
from pathlib import Path

import yaml

from tools.core.house import House
from tools.core.languages import LANGUAGES, others

FRONT = re.compile(r"---\n(?P<yaml>.*?)^(---|\.\.\.)[ \t]*$", re.S | re.M)


@cache
def meta(text: str) -> dict:
    """Read the front matter; one that is not valid, which a rule finds, is empty."""
    front = FRONT.match(text)
    try:
        found = yaml.safe_load(front["yaml"]) if front else None
    except yaml.YAMLError:
        found = None
    return found if isinstance(found, dict) else {}


def waits(house: House, name: str) -> bool:
    """Tell whether either language of a page says `translation: needed`."""
    files = [f"docs/{language}/{name}" for language in LANGUAGES]
    return any(
        meta(house.read(file)).get("translation") == "needed"
        for file in files
        if house.has(file)
    )


def twin(file: str) -> str:
    """Name the same page in another language."""
    docs, language, name = file.split("/", 2)
    return f"{docs}/{others(language)[0]}/{name}"


def stand_ins(root: Path, language: str) -> list[Path]:
    """Name the pages that exist in another language only."""
    found = {path.name for path in (root / "docs" / language).glob("*.md")}
    pages = {}
    for other in others(language):
        for path in (root / "docs" / other).glob("*.md"):
            if path.name not in found:
                pages.setdefault(path.name, path)
    return sorted(pages.values())


def banner(root: Path, page, language: str) -> str | None:
    """Name the note above a page that is not translated, or fell behind its twin."""
    name = page.file.src_uri
    files = (root / "docs" / other / name for other in others(language))
    twins = [file for file in files if file.is_file()]
    if twins and not (root / "docs" / language / name).is_file():
        return "untranslated"
    if page.meta.get("translation") == "needed":
        return "ahead" if twins else "alone"
    if any("translation" in meta(file.read_text("utf-8")) for file in twins):
        return "behind"
    return None
