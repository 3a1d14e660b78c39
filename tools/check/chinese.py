"""Rules for Chinese: set by its own typography, one paragraph a line."""

import re
from os.path import commonprefix

import autocorrect_py

from tools.check.registry import Faults, Found, rule
from tools.core.house import Fault, House
from tools.core.prose import (
    CODE,
    FORMULA,
    HAN,
    LINK,
    NUMBER,
    WORD,
    Prose,
    hide,
    unquoted,
)

WIDE = rf"{HAN}\u3001-\u303f\uff01-\uff60"  # with Chinese punctuation
FULL = {half: f"write {full}" for half, full in zip(",.:;!?(", "，。：；！？（")}
# Emphasis and the ends of links stand between a sign and its neighbour unseen.
# A full stop may end an English title in front of Chinese, no other sign may.
HALF_WIDTH = re.compile(
    rf"(?<=[{WIDE}{FORMULA}{NUMBER}])[*_~\]{LINK}]*(?P<after>[,.:;!?])"
    rf"|(?P<before>[,.:;!?])(?=[*_~\[]*[{HAN}{FORMULA}{NUMBER}])"
    rf"|(?<=[A-Za-z0-9)”’])(?P<apart>[,:;!?])(?= [{HAN}])"
    rf"|(?:(?<=[{HAN}])|(?<=[{HAN}] ))(?P<bracket>\()(?=[A-Za-z{HAN}])"
)
OTHER = rf"{FORMULA}{NUMBER}{CODE}"
TIGHT = re.compile(
    rf"[{HAN}](?:[*\[]*(?=[{OTHER}])|[*\[]+(?=[A-Za-z0-9]))"
    rf"|(?:[{OTHER}][*\]{LINK}]*|[A-Za-z0-9][*\]{LINK}]+)(?=[{HAN}])"
)

# What begins a block of its own, and so does not continue a paragraph.
BLOCK = re.compile(
    r"\s*(#{1,6} |[-*+] |\d+[.)] |\||<|!!!|\?\?\?|===|:\s|\[\^|-+8<|"
    rf"{FORMULA}*$|\*\[)"
)
ALONE = re.compile(r"\s*(#{1,6} |\||<|!!!|\?\?\?|===|-+8<)|.*(\\|  |>)$")
VERDICT_WORD = re.compile(f"{WORD}{WORD}+")
# A tag that says lang=zh, or a cell of a table whose attribute list does.
QUOTED = re.compile(
    r"<(\w{1,9})[^<>]{0,99}\blang=\"?zh\b[^<>]{0,99}>.{0,999}?</\1>", re.S
)
QUOTED_CELL = re.compile(r"\{[^{}\n]{0,99}\blang=\"?zh\b[^{}\n]{0,99}\}")


@rule("prose")
def chinese(prose: Prose, house: House) -> Faults:
    """Chinese set by other rules than its own."""
    if prose.language != "zh":
        return
    lines = [unquoted(text) for text in prose.text.split("\n")]
    blamed = set[int]()
    for line, text in enumerate(lines, prose.first):
        for sign in HALF_WIDTH.finditer(text):
            half = sign[sign.lastgroup]
            yield line, f"half-width {half} in {near(prose, line, sign)}, {FULL[half]}"
            blamed.add(line)
        for gap in TIGHT.finditer(text):
            yield line, f"put a space between the two in {near(prose, line, gap)}"
            blamed.add(line)
    for line, (above, below) in enumerate(zip(lines, lines[1:]), prose.first + 1):
        if not above.strip() or not below.strip() or BLOCK.match(below):
            continue
        if not ALONE.match(above) and re.search(f"[{HAN}]", above + below):
            yield line, "a Chinese paragraph is one line, join it to the line above"
    # autocorrect would correct inside formulas and code: show it the shortest ones.
    plain = re.sub(rf"\[([^\[\]\n]*){LINK}+", r"[\1](x)", prose.text).replace(LINK, "")
    signs = {FORMULA: "$x$", CODE: "`x`", NUMBER: "{{ x }}", WORD: WORD}
    for sign, short in signs.items():
        plain = re.sub(f"{sign}+", lambda _, short=short: short, plain)
    try:
        corrections = autocorrect_py.lint_for(plain, "markdown").lines
    except ValueError:  # its parser gives up on thousands of open brackets
        yield prose.first, "autocorrect cannot read this: are all brackets closed?"
        return
    for found in corrections:
        line = prose.first + found.line - 1
        if line not in blamed:
            yield line, f"write {change(found.new, found.old)}"


@rule("house")
def readme(house: House) -> Found:
    """Chinese outside the pages that is set by other rules than its own."""
    for file in house.files("*.zh.md"):
        prose = Prose(file, "zh", house.read(file).split("\n"))
        for line, message in chinese(prose, house):
            yield Fault(file, line, message)


@rule("prose")
def quoted(prose: Prose, house: House) -> Faults:
    """Chinese on an English page that a screen reader would read as English."""
    if prose.language != "en":
        return
    for line, words in enumerate(own(prose), prose.first):
        if chinese := re.search(f"[{HAN}]+", words):
            yield line, f'mark a quotation: <span lang="zh">{chinese[0]}</span>'


def own(prose: Prose) -> list[str]:
    """Give the lines of a page without what it quotes in Chinese."""
    lines = hide(hide(prose.text, VERDICT_WORD, " "), QUOTED, " ").split("\n")
    for number, line in enumerate(lines):
        if "lang=" in line:
            cells = line.split("|")
            kept = [" " * len(c) if QUOTED_CELL.search(c) else c for c in cells]
            lines[number] = "|".join(kept)
    return lines


def change(new: str, old: str) -> str:
    """Quote where a correction begins."""
    same = len(commonprefix([new, old]))
    new, old = (text[max(0, same - 8) : same + 8].strip() for text in (new, old))
    return f"“{new}” for “{old}”"


def near(prose: Prose, line: int, match: re.Match[str]) -> str:
    """Quote the source round a match, as it was written."""
    words = prose.lines[line - prose.first]
    shift = len(words) - len(match.string)  # a quotation's > was taken off
    start, end = match.start() + shift, match.end() + shift
    return f"“{words[max(0, start - 8) : end + 8].strip()}”"


STRAIGHT = re.compile(rf"[{WIDE}]\"|\"[{WIDE}]")
ATTRIBUTES = re.compile(r"<[^<>\n]*>|^\s*(?:!!!|\?\?\?\+?|===) .*$", re.M)
FOREIGN = re.compile("[，。：；！？（）、《》「」]")


@rule("prose")
def quotes(prose: Prose, house: House) -> Faults:
    """Straight quotes in Chinese, which are set as “ and ”."""
    if prose.language == "zh":
        text = hide(prose.text, ATTRIBUTES, " ")
        for line, words in enumerate(text.split("\n"), prose.first):
            if sign := STRAIGHT.search(words):
                yield line, f'half-width " in {near(prose, line, sign)}, write “ and ”'


@rule("prose")
def foreign(prose: Prose, house: House) -> Faults:
    """Chinese punctuation on an English page."""
    if prose.language == "en":
        for line, words in enumerate(own(prose), prose.first):
            if sign := FOREIGN.search(words):
                yield line, f"full-width {sign[0]} in English, write that of English"
