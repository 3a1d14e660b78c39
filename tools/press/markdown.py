"""What the book adds to Markdown: numbers of labs, references, figures, MathML."""

import html
import re
from pathlib import Path
from xml.etree.ElementTree import Element

from markdown import Extension
from markdown.preprocessors import Preprocessor
from markdown.treeprocessors import Treeprocessor

from tools.core.bibliography import Bibliography
from tools.core.blocks import INCLUDE, fences
from tools.core.languages import DEFAULT
from tools.core.mathml import mathml
from tools.core.values import fill
from tools.press.partial import Partial
from tools.press.reading_time import Minutes

SVG = re.compile(r"<svg\b.*?</svg>", re.DOTALL)


class FileNames(Preprocessor):
    """Give each code block that is one include the name of its file."""

    def run(self, lines):
        for fence in fences(lines):
            body = lines[fence.start : fence.end - 1]
            found = INCLUDE.match(body[0]) if len(body) == 1 else None
            if found and fence.info == "python":
                name = found["path"].partition(":")[0]
                lines[fence.start - 1] += f' title="{name}"'
        return lines


class Numbers(Preprocessor):
    """Replace `{{ lab.lstm.recall:.2f }}`, wherever it stands outside fences."""

    def __init__(self, md, records: str, language: str):
        super().__init__(md)
        self.records, self.language = Path(records), language

    def run(self, lines):
        return fill(lines, self.records, self.language)


class Figures(Preprocessor):
    """Keep an included SVG as it is, since its content is not Markdown."""

    def run(self, lines):
        text = SVG.sub(lambda m: self.md.htmlStash.store(m[0]), "\n".join(lines))
        return text.split("\n")


class Formulas(Treeprocessor):
    """Turn what arithmatex found into MathML; the search index leaves it out."""

    def run(self, root):
        for parent in list(root.iter()):
            for place, element in enumerate(parent):
                if element.get("class") == "arithmatex":
                    self.convert(element)
                    parent[place] = keep_together(element)

    def convert(self, element):
        display = element.tag == "div"
        # arithmatex puts \( \) or \[ \] around TeX, and escapes it in blocks only
        tex = html.unescape(element.text) if display else element.text
        element.attrib = {"class": "formula", "data-search-exclude": ""}
        if display:  # a wide formula scrolls, by keyboard too
            element.set("tabindex", "0")
        element.text = self.md.htmlStash.store(mathml(tex[2:-2].strip(), display))


def keep_together(element: Element) -> Element:
    """Bind a formula to the punctuation after it, with which no line may start."""
    tail = element.tail or ""
    if element.tag == "div" or tail[:1] not in tuple("，。；：！？、）”,.;:!?)"):
        return element
    bound = Element("span", {"class": "bound"})
    bound.tail, element.tail = tail[1:], tail[0]
    bound.append(element)
    return bound


class Book(Extension):
    """The extension of Markdown that mkdocs.yml names."""

    def __init__(self, **kwargs):
        self.config = {
            "records": ["build/labs", "folder of the labs' records"],
            "labs": ["", "names of those that were run, if not all were"],
            "language": [DEFAULT, "language that verdicts are printed in"],
        }
        super().__init__(**kwargs)

    def extendMarkdown(self, md):  # noqa: N802
        md.block_level_elements += ["svg", "math"]
        md.preprocessors.register(FileNames(md), "file-names", 34)
        if labs := self.getConfig("labs"):  # before snippets
            md.preprocessors.register(Partial(md, labs), "partial", 33)
        # After snippets (32) and superfences (25), before raw HTML (20).
        numbers = Numbers(md, self.getConfig("records"), self.getConfig("language"))
        md.preprocessors.register(numbers, "lab-numbers", 24)
        pages = f"docs/{self.getConfig('language')}"
        md.preprocessors.register(Bibliography(md, pages), "bibliography", 24.5)
        times = Minutes(md, pages, self.getConfig("language"))
        md.preprocessors.register(times, "minutes", 24.6)
        md.preprocessors.register(Figures(md), "figures", 23)
        # After inline patterns (20), before the table of contents (5).
        md.treeprocessors.register(Formulas(md), "mathml", 15)


def makeExtension(**kwargs):  # noqa: N802
    return Book(**kwargs)
