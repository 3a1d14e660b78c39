"""Take a page or a Markdown cell apart into prose and what is not prose."""

import re
from dataclasses import dataclass, field

from tools.core.blocks import INCLUDE, Heading, fenced, headings
from tools.core.values import MACRO, MINUTES

# Each character that is not prose is replaced by a sign that tells what it was.
FORMULA, NUMBER, CODE, LINK = "\ue000\ue001\ue002\ue003"
WORD = "词"  # stands for a verdict, which prints as a word of the page

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Chinese characters
QUOTATION = re.compile(r"^\s*(?:>\s?)+")
VERDICT = re.compile(r"\{\{[^{}\n]*==[^{}\n]*\}\}")
SPANS = re.compile(r"(?<![\\`])(`+)(?!`)((?!\n\s*\n).)+?(?<!`)\1(?!`)", re.S)
FORMULAS = re.compile(
    r"(?<!\\)(?:\$\$(?P<display>(?:(?!\n\s*\n)[^$])+?)\$\$"
    r"|\$(?!\s)(?P<inline>(?:\\.|(?!\n\s*\n)[^\\$])+?)(?<!\s)\$)"
)
LINKS = re.compile(
    r"\]\((?P<inline><[^>\n]*>|(?:[^()\s]|\([^()\s]*\))*)(?:\s+\"[^\"\n]*\")?\)"
    r"|^\[[^\]\n]+\]:[ \t]*(?P<reference>\S+)"
    r"|\b(?:href|src)=\"(?P<html>[^\"\n]*)\"",
    re.M,
)
NOT_URL = r"\s<>()\[\]，。；：！？（）、》」"
URLS = re.compile(
    r"<(?P<auto>https?://[^<>\s]+)>"
    rf"|(?P<bare>https?://[^{NOT_URL}]*[^{NOT_URL},.;:!?])"
)
# Attribute lists, HTML entities and the `!` of an image are no punctuation.
SIGNS = re.compile(r"\{:?\s*[#.][^{}\n]*\}|\{:[^{}\n]*\}|&#?\w+;|!(?=\[)")
# `\begin{x}` has braces too, and needs no list.
BRACES = re.compile(r"(?<![{A-Za-z0-9\\])\{[^{}\n]*\}(?!\})")


@dataclass
class Prose:
    """A page, its front matter replaced by blank lines, or a Markdown cell of a lab."""

    file: str
    language: str
    lines: list[str]
    first: int = 1  # the number that its first line has in the file
    text: str = ""  # the prose, all else replaced by signs; no line and column moves
    formulas: list[tuple[int, str, bool]] = field(default_factory=list)
    macros: list[tuple[int, re.Match[str]]] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    includes: list[tuple[int, str]] = field(default_factory=list)
    headings: list[Heading] = field(default_factory=list)
    braces: list[tuple[int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Take the lines apart, in the order in which Python-Markdown does."""
        lines = zip(self.lines, fenced(self.lines))
        text = "\n".join("" if code else line for line, code in lines)
        raw = text
        self.macros = [(self.at(text, m), m) for m in MACRO.finditer(raw)]
        text = hide(text, SPANS, CODE)
        for match in FORMULAS.finditer(text):
            start, end = match.span(match.lastgroup)
            tex, display = raw[start:end], match.lastgroup == "display"
            self.formulas.append((self.at(text, match), tex, display))
        text = hide(text, FORMULAS, FORMULA)
        text = hide(hide(text, VERDICT, WORD), MACRO, NUMBER)
        text = hide(text, MINUTES, NUMBER)
        for pattern, sign in ((LINKS, LINK), (URLS, CODE)):
            for match in pattern.finditer(text):
                self.links.append((self.at(text, match), match[match.lastgroup]))
            text = hide(text, pattern, sign)
        self.braces = [(self.at(text, m), m[0]) for m in BRACES.finditer(text)]
        self.text = hide(text, SIGNS, LINK)
        for number, line in enumerate(self.lines, self.first):
            if include := INCLUDE.match(line):
                self.includes.append((number, include["path"]))
        self.headings = [*headings(text.split("\n"), self.first)]

    def at(self, text: str, match: re.Match[str]) -> int:
        """Give the line on which a match begins."""
        return self.first + text.count("\n", 0, match.start())

    def section(self, line: int) -> str:
        """Name the section that a line belongs to: the last id above it."""
        above = (h.id for h in reversed(self.headings) if h.id and h.line <= line)
        return next(above, "")


def unquoted(line: str) -> str:
    """Read a line without the marks of a quotation in front of it."""
    return QUOTATION.sub("", line)


def hide(text: str, pattern: re.Pattern[str], sign: str) -> str:
    """Replace each character of each match by a sign; no line and column moves."""
    return pattern.sub(lambda match: covered(match[0], sign), text)


def covered(text: str, sign: str) -> str:
    """Write a sign in the place of every character."""
    return "\n".join(sign * len(line) for line in text.split("\n"))
