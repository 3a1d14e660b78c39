"""Rules for pages: front matter, headings, and a twin that says the same."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml

from tools.house import House
from tools.prose import Prose
from tools.rules_text import TEXT, Faults

SECTIONS = (
    "idea",
    "equations",
    "code",
    "by-hand",
    "evidence",
    "limits",
    "exercises",
    "references",
)
FRONT = re.compile(r"---\n(?P<yaml>.*?)^(---|\.\.\.)[ \t]*$", re.S | re.M)


def front_matter(prose: Prose, house: House) -> Faults:
    """Front matter that MkDocs would show as text, or none."""
    front = FRONT.match(house.read(prose.file))
    if front is None:
        yield 1, "begin with front matter: ---, description: one sentence, ---"
        return
    try:
        meta = yaml.safe_load(front["yaml"])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "unreadable"
        line = mark.line + 2 if mark else 1
        yield line, f"front matter is not YAML: {problem}; quote the value"
        return
    if not isinstance(meta, dict):
        yield 2, "front matter is a mapping: description: one sentence"
    elif (
        not isinstance(meta.get("description"), str) or not meta["description"].strip()
    ):
        yield 2, "front matter has no description: one sentence for search and links"


def page(house: House, file: str, language: str) -> Prose:
    """Read a page; of its front matter only the description is prose."""
    lines = house.read(file).split("\n")
    if front := FRONT.match(house.read(file)):
        for number in range(front[0].count("\n") + 1):
            value = re.match(r"description:\s*([^\"'>|\s].*)", lines[number])
            lines[number] = value[1] if value else ""
    return Prose(file, language, lines)


def headings(prose: Prose, house: House) -> Faults:
    """Headings without an id, ids twice, sections missing or out of order."""
    seen = set[str]()
    titles = [h.line for h in prose.headings if h.level == 1]
    if len(titles) != 1:
        yield (titles[1] if titles else 1), "a page has one title, # …"
    for heading in prose.headings:
        if heading.level > 1 and not heading.id:
            yield heading.line, "give the heading an id, the same in both: {#id}"
        elif heading.id and heading.id in seen:
            yield heading.line, f"#{heading.id} stands twice on this page"
        seen.add(heading.id)
    if Path(prose.file).stem not in house.stems:
        return
    parts = [h for h in prose.headings if h.level == 2 and h.id]
    ids = [h.id for h in parts]
    for missing in (id for id in SECTIONS if id not in ids):
        yield 1, f"section {{#{missing}}} is missing"
    for heading in parts:
        if heading.id not in SECTIONS:
            yield heading.line, f"#{heading.id} is no section of these: {SECTIONS}"
    known = [h for h in parts if h.id in SECTIONS]
    for before, after in zip(known, known[1:]):
        if SECTIONS.index(before.id) > SECTIONS.index(after.id):
            yield after.line, f"#{after.id} stands before #{before.id} on every page"


def parity(one: Prose, two: Prose) -> Iterator[tuple[str, int, str]]:
    """What one of two twins has and the other lacks, section by section."""
    ids, others = ([h.id for h in p.headings if h.level > 1] for p in (one, two))
    if ids != others:
        here = next(
            (i for i, pair in enumerate(zip(ids, others)) if len({*pair}) > 1), -1
        )
        below = [h for h in two.headings if h.level > 1]
        line = below[here].line if below else two.first
        yield two.file, line, f"headings are {others}, in {one.file} they are {ids}"
        return
    for kind, mine, theirs in zip(KINDS, content(one), content(two)):
        for prose, own, other, twin in (
            (one, mine, theirs, two),
            (two, theirs, mine, one),
        ):
            lacking = Counter((s, x) for _, s, x in other)
            lacking -= Counter((s, x) for _, s, x in own)
            for (section, item), count in lacking.items():
                there = next(n for n, s, x in other if (s, x) == (section, item))
                times = "" if count == 1 else f" {count} times"
                line = start(prose, section)
                what = f"#{section} lacks the {kind} {item}{times}".replace(
                    "# ", "top "
                )
                yield prose.file, line, f"{what} of {twin.file}:{there}"
    includes = [[(s, x) for _, s, x in next(content(p))] for p in (one, two)]
    if includes[0] != includes[1] and Counter(includes[0]) == Counter(includes[1]):
        line = next(n for (n, _), a, b in zip(two.includes, *includes) if a != b)
        yield two.file, line, f"includes stand in another order than in {one.file}"


KINDS = ("include", "macro", "link", "formula")


def content(prose: Prose) -> Iterator[list[tuple[int, str, str]]]:
    """List (line, section, item) of what twins share, kind by kind."""
    macros = [(line, " ".join(m[0].strip("{} ").split())) for line, m in prose.macros]
    shared = [
        (line, f"{'$$' if display else '$'}{emptied(tex)}{'$$' if display else '$'}")
        for line, tex, display in prose.formulas
    ]
    for items in (prose.includes, macros, prose.links, shared):
        yield [(line, prose.section(line), item) for line, item in items]


def emptied(tex: str) -> str:
    """Drop the words of a formula, and the accidents of its spacing."""
    return " ".join(TEXT.sub(r"\\text{}", tex).split())


def start(prose: Prose, section: str) -> int:
    """Give the line of a section's heading."""
    lines = [h.line for h in prose.headings if h.id == section]
    return lines[0] if section and lines else prose.first
