"""Rules for Chinese: set by its own typography, one paragraph a line."""

import re
from os.path import commonprefix

import autocorrect_py

from tools.check.text import Faults
from tools.core.house import House
from tools.core.prose import CODE, FORMULA, LINK, NUMBER, WORD, Prose, hide

HAN = r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
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
QUOTED = re.compile(
    r"<(\w+)[^<>]*\blang=\"?zh\b[^<>]*>.*?</\1>|[^|\n]*\{[^{}\n]*\blang=\"?zh\b[^{}]*\}",
    re.S,
)


def chinese(prose: Prose, house: House) -> Faults:
    """Chinese set by other rules than its own."""
    if prose.language != "zh":
        return
    lines = [re.sub(r"^\s*(>\s?)+", "", text) for text in prose.text.split("\n")]
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
    for found in autocorrect_py.lint_for(plain, "markdown").lines:
        line = prose.first + found.line - 1
        if line not in blamed:
            yield line, f"write {change(found.new, found.old)}"


def quoted(prose: Prose, house: House) -> Faults:
    """Chinese on an English page that a screen reader would read as English."""
    if prose.language != "en":
        return
    text = hide(hide(prose.text, VERDICT_WORD, " "), QUOTED, " ")
    for line, words in enumerate(text.split("\n"), prose.first):
        if chinese := re.search(f"[{HAN}]+", words):
            yield line, f'mark a quotation: <span lang="zh">{chinese[0]}</span>'


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


RULES = (chinese, quoted)
