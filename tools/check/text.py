"""Rules for prose wherever it stands: on a page or in a Markdown cell of a lab."""

import re

from math_core import LatexError

from tools.check.registry import Faults, rule
from tools.core import bibliography
from tools.core.blocks import FIGURE, INCLUDE, MARKER, fences
from tools.core.front_matter import waits
from tools.core.house import House
from tools.core.languages import DEFAULT
from tools.core.mathml import mathml
from tools.core.prose import FORMULA, LINK, Prose, hide
from tools.core.values import MACRO, MINUTES, VERDICTS, evaluate

DECIMAL = re.compile(r"(?<![\w.])\d*\.\d+")
LINK_TEXT = re.compile(rf"\[[^\[\]\n]*(?={LINK})")
BRACES = re.compile(r"\{\{[^{}\n]*\}\}")
ATTRIBUTE_FORMULA = re.compile(rf"<[a-z][^<>]*\"[^\"<>]*{FORMULA}")


@rule("prose")
def formulas(prose: Prose, house: House) -> Faults:
    """TeX that the press cannot set."""
    for line, tex, display in prose.formulas:
        try:
            mathml(MACRO.sub("0", tex).strip(), display)
        except LatexError as error:
            reason = re.sub(r"\x1b\[[\d;]*m", "", str(error)).strip().split("\n")[0]
            yield line, f"bad TeX in ${tex.strip()}$: {reason.removeprefix('Error: ')}"
    for line, text in enumerate(prose.text.split("\n"), prose.first):
        if "$" in text and re.search(r"(?<!\\)\$", text):
            yield line, "a formula is not closed; write \\$ for the sign itself"
        if ATTRIBUTE_FORMULA.search(text):
            yield line, "a formula inside a tag is not set, say it in words"


@rule("prose")
def macros(prose: Prose, house: House) -> Faults:
    """Numbers that no lab gives, or in a form that does not fit."""
    for line, match in prose.macros:
        stem, spec, verdict = match.group("stem", "spec", "verdict")
        if not house.has(f"docs/lab/{stem}.py"):
            yield line, f"{match[0]}: there is no lab docs/lab/{stem}.py"
        elif verdict and verdict not in VERDICTS[DEFAULT]:
            known = ", ".join(VERDICTS[DEFAULT])
            yield line, f"{match[0]}: a verdict is one of {known}"
        elif spec and not any(fits(value, spec) for value in (1.0, 1, "")):
            yield line, f"{match[0]}: {spec!r} is no format of Python, try .2f"
        elif house.recorded(stem):
            try:
                evaluate(match, house.records, prose.language)
            except ValueError as error:
                yield line, str(error)
    shape = "write {{ lab.<stem>.<key>:.2f }} or {{ lab.<stem>.<key> == holds }}"
    for line, text in enumerate(prose.text.split("\n"), prose.first):
        if "{{" in text.replace(bibliography.MARKER, ""):
            yield line, f"this is no macro, {shape}"
    for line, text in enumerate(prose.lines, prose.first):
        for match in MINUTES.finditer(text):
            page = f"docs/{prose.language}/{match['page']}.md"
            name = f"{match['page']}.md"
            if not house.has(page) and not waits(house, name):
                yield line, f"{match[0]}: there is no {page}"
    for line, tex, _ in prose.formulas:
        if re.search(r"\{\{\s*lab\b", MACRO.sub("", tex)):
            yield line, f"this is no macro, {shape}"


def fits(value: float | str, spec: str) -> bool:
    """Tell whether a format applies to a value."""
    try:
        format(value, spec)
    except ValueError:
        return False
    return True


@rule("prose")
def code(prose: Prose, house: House) -> Faults:
    """Python typed by hand."""
    for fence in fences(prose.lines):
        start = prose.first + fence.start - 1
        if not fence.end:
            yield start, "this code fence is not closed"
        elif re.match(r"\W*(python3?|py|pycon|ipython3?)\b", fence.info):
            body = prose.lines[fence.start : fence.end - 1]
            if not all(INCLUDE.match(line) for line in body if line.strip()):
                yield start, 'Python is not typed, include it: --8<-- "x.py:cell"'


@rule("prose")
def includes(prose: Prose, house: House) -> Faults:
    """Includes of what is not there."""
    for line, path in prose.includes:
        name, _, part = path.partition(":")
        if ".." in name or not re.search(r"\.(py|svg)$", name):
            yield line, f"{name}: snippets, labs and drawings are included, no others"
            continue
        found = [f for f in (f"snippets/{name}", f"docs/{name}") if house.has(f)]
        figure = FIGURE.fullmatch(name)
        stem, svg = figure.group("lab", "name") if figure else ("", "")
        lab = f"docs/lab/{stem}.py"
        if found and part:
            starts = (m["name"] for m in MARKER.finditer(house.read(found[0])))
            if part not in starts:
                yield line, f"{found[0]} has no section {part}"
        elif not found and figure and house.has(lab):
            if not re.search(rf"savefig\(\s*[\"']{svg}[\"']", house.read(lab)):
                yield line, f'{lab} has no savefig("{svg}")'
            elif house.recorded(stem) and not (house.records / name).is_file():
                yield line, f"the lab {stem} left no {svg}, run it"
        elif not found:
            yield line, f"{name} is in neither snippets/ nor docs/, and of no lab"
    for line, text in enumerate(prose.lines, prose.first):
        if re.match(r"\s*-+8<-+", text) and not INCLUDE.match(text):
            yield line, 'an include is --8<-- "file:section" on a line of its own'


@rule("prose")
def decimals(prose: Prose, house: House) -> Faults:
    """Numbers of #evidence typed by hand."""
    text = hide(hide(prose.text, LINK_TEXT, LINK), BRACES, LINK)
    inside = False
    ends = {h.line: h.id for h in prose.headings if h.level <= 2}
    for line, words in enumerate(text.split("\n"), prose.first):
        inside = ends.get(line, "evidence" if inside else "") == "evidence"
        for number in DECIMAL.findall(words) if inside else ():
            yield line, f"{number} is typed by hand, a lab gives it: {{{{ lab.… }}}}"
