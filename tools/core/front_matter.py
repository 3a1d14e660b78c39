"""The front matter of a page, and which of its two languages is up to date."""

import re
from pathlib import Path

import yaml

from tools.core.house import House

OTHER = {"zh": "en", "en": "zh"}
FRONT = re.compile(r"---\n(?P<yaml>.*?)^(---|\.\.\.)[ \t]*$", re.S | re.M)


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
    files = [f"docs/{language}/{name}" for language in ("zh", "en")]
    return any(
        meta(house.read(file)).get("translation") == "needed"
        for file in files
        if house.has(file)
    )


def twin(file: str) -> str:
    """Name the same page in the other language."""
    if file.startswith("docs/zh/"):
        return file.replace("docs/zh/", "docs/en/", 1)
    return file.replace("docs/en/", "docs/zh/", 1)


def stand_ins(root: Path, language: str) -> list[Path]:
    """Name the pages that exist in the other language only."""
    own, other = root / "docs" / language, root / "docs" / OTHER[language]
    return sorted(p for p in other.glob("*.md") if not (own / p.name).exists())


def banner(root: Path, page, language: str) -> str | None:
    """Name the note above a page that is not translated, or fell behind its twin."""
    own, other = root / "docs" / language, root / "docs" / OTHER[language]
    name = page.file.src_uri
    if (other / name).is_file() and not (own / name).is_file():
        return "untranslated"
    if page.meta.get("translation") == "needed":
        return "ahead" if (other / name).is_file() else "alone"
    if (other / name).is_file() and "translation" in meta(
        (other / name).read_text("utf-8")
    ):
        return "behind"
    return None
