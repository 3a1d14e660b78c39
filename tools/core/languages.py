"""The languages of the book: a new one is a row here, a folder and a file of MkDocs."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Language:
    """A language; its pages are in `docs/<code>/`."""

    name: str  # as its readers write it
    config: str  # the file of MkDocs
    address: str  # of its home page, below the address of the book
    word: str  # the regular expression of what is counted as a word
    pace: int  # words that are read in a minute
    verdicts: dict[str, str]  # how a verdict of a lab is said


LANGUAGES = {
    "zh": Language(
        name="中文",
        config="mkdocs.yml",
        address="",
        word=r"[㐀-鿿]|[A-Za-z]+",
        pace=300,
        verdicts={
            "holds": "成立",
            "conditional": "有条件成立",
            "fails": "不成立",
            "unmeasured": "此处未测",
        },
    ),
    "en": Language(
        name="English",
        config="mkdocs.en.yml",
        address="en/",
        word=r"[A-Za-z]+",
        pace=180,
        verdicts={
            "holds": "holds",
            "conditional": "holds with a condition",
            "fails": "does not hold",
            "unmeasured": "not measured here",
        },
    ),
}
DEFAULT, *TRANSLATIONS = LANGUAGES  # the site of the first holds those of the others


def page_files(root: Path, name: str = "*") -> list[Path]:
    """Find a page, or all of them, in every language."""
    folders = [root / "docs" / language for language in LANGUAGES]
    return [path for folder in folders for path in sorted(folder.glob(f"{name}.md"))]


def others(language: str) -> list[str]:
    """Name the other languages, the default one first."""
    return [other for other in LANGUAGES if other != language]


def roots(site: Path) -> list[Path]:
    """Give the folder of each language in a built site."""
    return [site / language.address for language in LANGUAGES.values()]
