"""Cut the HTML that nbconvert makes of a lab down to what a reader wants."""

import hashlib
import os
import re
import tempfile
from importlib.metadata import version
from pathlib import Path

from bs4 import BeautifulSoup, Tag
from mkdocs.structure.pages import Page

# A lab page must stay small. Code loses the markup of what has the plain colour and of
# numbers; figures lose fallback colours and fonts, which the page sets, and rotations
# by 0 degrees.
LIGHTER = {
    re.compile(r'<span(?: class="(?:[npwo]|ow|si|sa|bp)")?>([^<]*)</span>'): r"\1",
    re.compile(r'<span class="m[fi]">([^<]*)</span>'): r"\1",
    re.compile(r' transform="rotate\(-0 [^"]*\)"'): "",
    re.compile(r"var\((--fig-[\w-]+), [^()]*\)"): r"var(\1)",
    re.compile(r"(?:; )?font-family: var\(--fig-font\)"): "",
}


def clean(html: str) -> str:
    """Keep prose, code and outputs, and leave all other markup out."""
    # What stands before it is 600 KB of styles and scripts.
    notebook = html[html.index('<div class="jupyter-wrapper">') :]
    for heavy, light in LIGHTER.items():
        notebook = heavy.sub(light, notebook)
    soup = BeautifulSoup(notebook, "html.parser")
    for figure in soup.select("svg"):
        lighten(figure)
    parts = []
    for cell in soup.select("div.lab-prose, div[id^='cell-id=']"):
        if "lab-prose" in cell["class"]:
            parts.append(cell.decode_contents())
            continue
        code = cell.select_one(".highlight-ipynb pre").decode_contents()
        parts.append(f'<div class="highlight"><pre><code>{code}</code></pre></div>')
        for output in cell.select(".jp-OutputArea-output"):
            if figure := output.select_one(".lab-figure"):
                parts.append(str(figure))
            else:
                text = output.select_one("pre").decode_contents()
                scroll = 'class="lab-output" tabindex="0"'
                parts.append(f"<div {scroll}><pre>{text}</pre></div>")
    return "\n".join(parts)


def lighten(figure: Tag) -> None:
    """Take spaces out of styles, and styles that a marker already has."""
    for element in figure.select("[style]"):
        element["style"] = re.sub(r"(?<=[:;]) ", "", element["style"])
    markers = {m["id"]: m["style"].split(";") for m in figure.select("path[id][style]")}
    for use in figure.select("use[style]"):
        own = markers.get(use["href"].removeprefix("#"), [])
        rest = [rule for rule in use["style"].split(";") if rule not in own]
        use["style"] = ";".join(rest)
        if not rest:
            del use["style"]
    for empty in figure.select("defs:empty"):
        empty.decompose()


def remembered(page: Page, place: Path):
    """Give a function that renders the page once, and reads it from `place` after that.

    The notebook holds all that the page shows, so its hash tells whether it changed.
    """
    parts = [Path(page.file.abs_src_path).read_bytes(), Path(__file__).read_bytes()]
    parts += [version(name).encode() for name in ("mkdocs-jupyter", "nbconvert")]
    key = f"<!-- {hashlib.sha256(b'|'.join(parts)).hexdigest()} -->\n"
    convert = page.render

    def render(config, files):
        if place.is_file() and (known := place.read_text("utf-8")).startswith(key):
            page.content = known.removeprefix(key)
            return
        convert(config, files)
        page.content = clean(page.content)
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=place.parent, delete=False
        ) as file:
            file.write(key + page.content)
        os.replace(file.name, place)

    return render
