"""The font for formulas: STIX Two Math, cut down to the characters in use."""

import html
import re
from importlib.metadata import distribution
from pathlib import Path

from fontTools import subset

FORMULA = re.compile(r"<math\b.*?</math>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")
ALWAYS = "+-−=()[]{}|√⏞⏟,.0123456789"
# A single letter in <mi> is drawn as its mathematical italic: first, last, there.
ITALIC = (
    ("A", "Z", 0x1D434),
    ("a", "z", 0x1D44E),
    ("Α", "Ω", 0x1D6E2),
    ("α", "ω", 0x1D6FC),
)
IRREGULAR = {"h": "ℎ", "∂": "\U0001d715", "ϵ": "\U0001d716", "ϕ": "\U0001d719"}


def characters(site: Path) -> set[str]:
    """Every character that a formula of the built site is drawn with."""
    plain = set(ALWAYS)
    for page in site.rglob("*.html"):
        for formula in FORMULA.findall(page.read_text("utf-8")):
            plain |= set(html.unescape(TAG.sub("", formula)))
    return plain | {italic(character) for character in plain}


def italic(letter: str) -> str:
    if letter in IRREGULAR:
        return IRREGULAR[letter]
    for first, last, start in ITALIC:
        if first <= letter <= last:
            return chr(start + ord(letter) - ord(first))
    return letter


def write(site: Path) -> None:
    """Put the font, and its licence beside it, into both languages' assets."""
    files = distribution("ziamath").files or []
    source = next(f for f in files if f.name == "STIXTwoMath-Regular.ttf").locate()
    # all names: the font carries its copyright and licence in them
    options = subset.Options(flavor="woff2", layout_features=["*"], name_IDs=["*"])
    font = subset.load_font(str(source), options)
    names = [font["name"].getDebugName(n) for n in (1, 0, 13, 14)]
    worker = subset.Subsetter(options)
    worker.populate(text="".join(sorted(characters(site))))
    worker.subset(font)
    for root in (site, site / "en"):
        folder = root / "assets" / "fonts"
        folder.mkdir(parents=True, exist_ok=True)
        subset.save_font(font, str(folder / "math.woff2"), options)
        (folder / "math.LICENSE.txt").write_text("\n".join(names) + "\n", "utf-8")
