"""Rules against what nobody may publish by a pull request: code that would run.

A page allows a list of HTML, a drawing a list of SVG; everything else is a fault.
"""

import re
from html import unescape

from tools.check.registry import Faults, rule
from tools.check.source import Drawing
from tools.core.house import House
from tools.core.prose import Prose

# The elements of a page, and the attributes of each.
HTML = {
    "br": set(),
    "div": {"class", "role", "aria-label", "lang", "markdown"},
    "figcaption": {"markdown"},
    "figure": {"id", "markdown"},
    "input": {"type", "name", "id", "checked"},
    "label": {"for"},
    "q": {"lang"},
    "span": {"lang"},
}
TAG = re.compile(r"</?([A-Za-z][\w-]*)([^<>]*)>")
ATTRIBUTE = re.compile(r"([^\s=\"'/]+)(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s\"']+))?")
BRACES = re.compile(
    r"\{:?(?: *(?:[#.][\w-]+|lang=\"?[a-z]+\"?|style=\"width:\d+%\"))+ *\}"
)
SCHEME = re.compile(r"([a-z][\w+.-]*):", re.I)
SCHEMES = {"http", "https", "mailto"}

SVG = set("svg g defs marker style path polyline circle rect text tspan use".split())
SVG_ATTRIBUTES = set(
    "class id d x y r cx cy rx ry dx dy x1 y1 x2 y2 width height viewBox points"
    " transform href fill stroke stroke-width stroke-dasharray stroke-linecap"
    " stroke-linejoin stroke-opacity fill-opacity opacity style marker-start"
    " marker-mid marker-end markerWidth markerHeight markerUnits refX refY orient"
    " text-anchor dominant-baseline font-style font-weight font-size".split()
)
OUTSIDE = re.compile(r"@import|url\((?!#)|expression\(", re.I)


@rule("prose")
def markup(prose: Prose, house: House) -> Faults:
    """HTML that a page may not hold: elements, attributes, comments."""
    line, place = prose.first, 0
    for match in re.finditer(r"<[/!?A-Za-z]", prose.text):
        line += prose.text.count("\n", place, match.start())
        place = match.start()
        tag = TAG.match(prose.text, match.start())
        if match[0] in ("<!", "<?"):
            yield line, "a page holds no comment and no declaration, take it out"
        elif tag is None:
            yield line, "a tag is not closed; write &lt; for the sign itself"
        elif tag[1].lower() not in HTML:
            yield line, f"<{tag[1]}> may not stand on a page, these may: {known()}"
        else:
            for name in ATTRIBUTE.findall(tag[2]):
                if name.lower() not in HTML[tag[1].lower()]:
                    yield line, f"<{tag[1]}> may not have {name}, take it out"
    for line, braces in prose.braces:
        if not BRACES.fullmatch(braces):
            yield line, f"{braces}: braces hold {{#id}}, {{.class}} or {{lang=zh}} only"


def known() -> str:
    return ", ".join(f"<{name}>" for name in sorted(HTML))


@rule("prose")
def addresses(prose: Prose, house: House) -> Faults:
    """Links that are no address: javascript:, data: and the like."""
    for line, target in prose.links:
        # A browser reads java&Tab;script: as it would read javascript:
        plain = re.sub(r"[\s\x00-\x1f]", "", unescape(target.strip("<>")))
        scheme = SCHEME.match(plain)
        if scheme and scheme[1].lower() not in SCHEMES:
            allowed = ", ".join(sorted(SCHEMES))
            yield line, f"a link may begin with {allowed}, not {scheme[1]}:"


@rule("drawing")
def svg(drawing: Drawing, house: House) -> Faults:
    """SVG that a drawing may not hold."""
    for number, line in enumerate(drawing.lines, 1):
        if re.search(r"<[!?]", line):
            yield number, "a drawing has no prolog, comment or entity, take it out"
        if OUTSIDE.search(line):
            yield number, "a drawing fetches nothing, refer to its own parts: url(#…)"
    text = drawing.text
    for element in drawing.root.iter():
        name = element.tag.rpartition("}")[2]
        place = text.count("\n", 0, max(text.find(f"<{name}"), 0)) + 1
        if name not in SVG:
            yield place, f"<{name}> may not stand in a drawing, take it out"
        for attribute, value in element.attrib.items():
            key = attribute.rpartition("}")[2]
            if key not in SVG_ATTRIBUTES:
                yield place, f"<{name}> may not have {key}, take it out"
            elif key == "href" and not value.startswith("#"):
                yield place, f"href {value}: a drawing refers to its own parts, #…"
