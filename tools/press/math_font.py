"""Make the font for formulas: STIX Two Math, cut down to the characters in use."""

import html
import re
from importlib.metadata import distribution
from pathlib import Path

from fontTools import subset

from tools.core.languages import roots

FORMULA = re.compile(r"<math\b.*?</math>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")
ALWAYS = "+-−=()[]{}|√⏞⏟,.0123456789"
# A browser draws a single letter in <mi> as another character, its mathematical italic.
# A row is the first and the last letter of an alphabet, and the italic of the first.
ITALIC = (
    ("A", "Z", 0x1D434),
    ("a", "z", 0x1D44E),
    ("Α", "Ω", 0x1D6E2),
    ("α", "ω", 0x1D6FC),
)
# The italics that lie elsewhere.
IRREGULAR = {"h": "ℎ", "∂": "\U0001d715", "ϵ": "\U0001d716", "ϕ": "\U0001d719"}


def characters(site: Path) -> set[str]:
    """List every character that the formulas of the built site are drawn with."""
    plain = set(ALWAYS)
    for page in site.rglob("*.html"):
        for formula in FORMULA.findall(page.read_text("utf-8")):
            plain |= set(html.unescape(TAG.sub("", formula)))
    return plain | {italic(character) for character in plain}


def italic(letter: str) -> str:
    """Give the character that a browser draws for a letter in <mi>."""
    if letter in IRREGULAR:
        return IRREGULAR[letter]
    for first, last, start in ITALIC:
        if first <= letter <= last:
            return chr(start + ord(letter) - ord(first))
    return letter


def write(site: Path) -> None:
    """Put the font, and its licence beside it, into each language's assets."""
    files = distribution("ziamath").files or []
    source = next(f for f in files if f.name == "STIXTwoMath-Regular.ttf").locate()
    # Keep all names of the font: its copyright and its licence are among them.
    options = subset.Options(flavor="woff2", layout_features=["*"], name_IDs=["*"])
    font = subset.load_font(str(source), options)
    names = [font["name"].getDebugName(n) for n in (1, 0, 13, 14)]
    worker = subset.Subsetter(options)
    worker.populate(text="".join(sorted(characters(site))))
    worker.subset(font)
    for root in roots(site):
        folder = root / "assets" / "fonts"
        folder.mkdir(parents=True, exist_ok=True)
        subset.save_font(font, str(folder / "math.woff2"), options)
        (folder / "math.LICENSE.txt").write_text("\n".join(names) + "\n", "utf-8")
