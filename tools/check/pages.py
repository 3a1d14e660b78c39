"""Rules for pages: front matter, headings, links, references."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import urlsplit

import yaml

from tools.check.registry import Faults, rule
from tools.check.snippets import AXES, UNKNOWN
from tools.core import bibliography
from tools.core.front_matter import FRONT, twin, waits
from tools.core.house import House
from tools.core.languages import LANGUAGES, others
from tools.core.prose import Prose

SECTIONS = (
    "idea",
    "equations",
    "code",
    "by-hand",
    "evidence",
    "limits",
    "summary",
    "exercises",
    "references",
)
SHAPE = re.compile(r"`\((?:[\dA-Z+*\- ]+,)+[\dA-Z+*\- ]*\)`")


def page(house: House, file: str, language: str) -> Prose:
    """Read a page; of its front matter only the description is prose."""
    lines = house.read(file).split("\n")
    if front := FRONT.match(house.read(file)):
        for number in range(front[0].count("\n") + 1):
            value = re.match(r"description:\s*[\"']?([^>|\"']+)", lines[number])
            lines[number] = value[1] if value else ""
    return Prose(file, language, lines)


def groups(house: House) -> Iterator[list[Prose]]:
    """Read all pages, each with its twins; those that wait for one are read alone."""
    names = {
        file.split("/", 2)[2]: None
        for language in LANGUAGES
        for file in house.files(f"docs/{language}/**/*.md")
    }
    for name in names:
        files = {f"docs/{language}/{name}": language for language in LANGUAGES}
        group = [page(house, f, code) for f, code in files.items() if house.has(f)]
        yield from ([one] for one in group) if waits(house, name) else [group]


@rule("page")
def has_twins(prose: Prose, house: House) -> Faults:
    """A page that is missing in another language."""
    docs, language, name = prose.file.split("/", 2)
    if waits(house, name):
        return  # the page says so itself, under its title
    for other in others(language):
        if not house.has(f"{docs}/{other}/{name}"):
            text = f"its twin {docs}/{other}/{name} is missing, write it"
            yield 1, f"{text}, or put translation: needed here"


@rule("page")
def front_matter(prose: Prose, house: House) -> Faults:
    """Front matter that MkDocs would show as text, or none."""
    front = FRONT.match(house.read(prose.file))
    if front is None:
        yield 1, "begin with front matter: ---, description: one sentence, ---"
        return
    try:
        found = yaml.safe_load(front["yaml"])
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "unreadable"
        line = mark.line + 2 if mark else 1
        yield line, f"front matter is not YAML: {problem}; quote the value"
        return
    if not isinstance(found, dict):
        yield 2, "front matter is a mapping: description: one sentence"
    elif not str(found.get("description") or "").strip():
        yield 2, "front matter has no description: one sentence for search and links"
    elif found.get("translation", "needed") != "needed":
        yield 2, "translation: needed is all that can be said, or leave the line out"


@rule("page")
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
    if Path(prose.file).stem not in house.architectures:
        return
    parts = [h for h in prose.headings if h.level == 2 and h.id]
    ids = [h.id for h in parts]
    for missing in (id for id in SECTIONS if id not in ids):
        yield 1, f"section {{#{missing}}} is missing"
    for heading in parts:
        if heading.id not in SECTIONS:
            known = ", ".join(SECTIONS)
            yield heading.line, f"#{heading.id} is no section, these are: {known}"
    known = [h for h in parts if h.id in SECTIONS]
    for before, after in zip(known, known[1:]):
        if SECTIONS.index(before.id) > SECTIONS.index(after.id):
            yield after.line, f"#{after.id} stands before #{before.id} on every page"


@rule("page")
def links(prose: Prose, house: House) -> Faults:
    """Links to no page, to no lab, or to no place on a page."""
    for line, target in prose.links:
        path, _, id = target.partition("#")
        if urlsplit(target).scheme or not re.search(r"\.(md|ipynb|py)$|^$", path):
            continue
        file = normpath(join(dirname(prose.file), path)) if path else prose.file
        if path.endswith(".ipynb"):
            file = f"docs/lab/{Path(path).stem}.py"
        elif path == f"code/{Path(path).name}":  # the press writes these
            file = f"snippets/{Path(path).name}"
        if not house.has(file) and waits(house, Path(file).name):
            file = twin(file)  # its text stands in
        if not house.has(file):
            yield line, f"the link {target} leads to no page, there is no {file}"
        elif id and file.endswith(".md") and id not in places(house.read(file)):
            yield line, f"the link {target} leads nowhere, {file} has no {{#{id}}}"


@rule("page")
def code(prose: Prose, house: House) -> Faults:
    """A page that keeps its training loop or its whole file from the reader."""
    stem = Path(prose.file).stem
    if stem not in house.architectures:
        return
    lines = enumerate(house.read(prose.file).split("\n"), 1)
    shown = [text for n, text in lines if prose.section(n) == "code"]
    start = next((h.line for h in prose.headings if h.id == "code"), 1)
    if f'--8<-- "{stem}.py:main"' not in shown:
        yield start, f'show main unfolded: --8<-- "{stem}.py:main"'
    if f'--8<-- "{stem}.py"' not in map(str.strip, shown):
        yield start, f'show the whole file, folded: --8<-- "{stem}.py"'
    if not any(f"(code/{stem}.py)" in text for text in shown):
        yield start, f"offer the whole file: [{stem}.py](code/{stem}.py)"


@rule("page")
def works(prose: Prose, house: House) -> Faults:
    """Entries of #references that the list of the whole book cannot read."""
    form = "an entry is - Authors Year. Title. Venue. [where](https://…)；a remark"
    for line, text in enumerate(prose.lines, prose.first):
        entry = prose.section(line) == "references" and re.match(r"\s*[-*+] ", text)
        if entry and not bibliography.ENTRY.match(text):
            yield line, form


@rule("page")
def axes(prose: Prose, house: House) -> Faults:
    """Letters in the shapes of a page that mean nothing."""
    for line, text in enumerate(prose.lines, prose.first):
        letters = re.findall(r"\b\d*([A-Z])\b", " ".join(SHAPE.findall(text)))
        for letter in sorted({*letters} - AXES.keys()):
            yield line, f"axis {letter}: {letter} {UNKNOWN}"


@cache
def places(text: str) -> set[str]:
    """Name the places of a page that a link can lead to."""
    return set(re.findall(r"(?:\{[^{}\n]*#|\bid=\")([\w-]+)", text))
