"""Clean a lab's SVG for a page: small, reproducible, following the scheme."""

import re
from pathlib import Path
from xml.etree import ElementTree

from tools.core.palette import DRAWN
from tools.core.prose import HAN

SVG = "http://www.w3.org/2000/svg"
HREF = "{http://www.w3.org/1999/xlink}href"
LIMIT = 40_000  # bytes
JOINS = "stroke-linejoin: round; stroke-linecap: butt"
REFERENCE = re.compile(r"[\"(]#([^\")]+)[\")]")
SPACES = re.compile(r"\s+")
NUMBER = re.compile(r"-?\d+\.\d{2,}")
CURVE = re.compile(r"[CQ]")
LINE = re.compile(r"(?<=\d)\s+L\s+")
COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
FONT = re.compile(r"(?:'[^']+'|sans-serif)(?:, ?(?:'[^']+'|[\w-]+))*")


def variable(match: re.Match) -> str:
    colour = match[0].lower()
    if colour not in DRAWN:
        raise ValueError(
            f"colour {colour}: use C0 to C5, black, gray, lightgray or white"
        )
    return f"var(--fig-{DRAWN[colour]}, {colour})"


def clean(path: Path, prefix: str) -> str:
    """Put the figure on one line, with ids of its own and colours as variables.

    Raises:
        ValueError: a colour outside the palette, a bitmap, Chinese, more than 40 KB.
    """
    for uri in (SVG, "http://www.w3.org/1999/xlink"):
        ElementTree.register_namespace("" if uri == SVG else "xlink", uri)
    root = ElementTree.fromstring(path.read_bytes())
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{SVG}}}metadata", f"{{{SVG}}}style"}:
                parent.remove(child)
            elif child.tag == f"{{{SVG}}}image":
                raise ValueError("a bitmap does not follow the scheme: draw patches")
    if words := re.search(f"[{HAN}]+", "".join(root.itertext())):
        both = "both languages show this, words belong into the caption"
        raise ValueError(f"{words[0]}: {both}")
    used = set(REFERENCE.findall(ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)  # most are names that nothing points to
        for name, value in element.attrib.items():
            element.set(name, attribute(name, value, prefix))
        if HREF in element.attrib:
            element.set("href", element.attrib.pop(HREF))
        if not element.tag.endswith(("text", "tspan")):
            element.text = (element.text or "").strip() or None
        element.tail = (element.tail or "").strip() or None
    unwrap(root)
    # matplotlib leaves black fills out: what says nothing is drawn in ink
    root.set("style", f"fill: var(--fig-ink, #000000); {JOINS}")
    text = SPACES.sub(" ", ElementTree.tostring(root, encoding="unicode"))
    if (size := len(text.encode())) > LIMIT:
        raise ValueError(f"{size} bytes, at most {LIMIT}: draw fewer points")
    return text


def unwrap(parent: ElementTree.Element) -> None:
    """Take away the groups that say nothing."""
    for child in list(parent):
        unwrap(child)
        if child.tag == f"{{{SVG}}}g" and not child.attrib:
            place = list(parent).index(child)
            parent.remove(child)
            for offset, inner in enumerate(child):
                parent.insert(place + offset, inner)


def attribute(name: str, value: str, prefix: str) -> str:
    if name == "id":
        return f"{prefix}-{value}"
    if name == HREF:
        return value.replace("#", f"#{prefix}-")
    value = value.replace("url(#", f"url(#{prefix}-")
    # a tenth of a unit is a fifth of a pixel where the figure is widest
    digits = 1 if name in {"d", "x", "y"} else 2
    value = NUMBER.sub(
        lambda m: f"{float(m[0]):.{digits}f}".rstrip("0").rstrip("."), value
    )
    if name == "d" and not CURVE.search(value):
        value = LINE.sub(" ", value).strip()  # after a point, a point is a line's end
    if name == "style":
        value = FONT.sub("var(--fig-font, sans-serif)", value)
    return COLOUR.sub(variable, value)
