"""Check the sources before anything is built: `python -m tools.check`.

The renderer cannot do that: it knows neither the file nor the line, and much
that is wrong passes its strict mode. All faults are printed at once.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from tools.check import accepted, files, markdown, safety
from tools.check import chinese as rules_chinese
from tools.check import labs as rules_labs
from tools.check import pages as rules_pages
from tools.check import snippets as rules_code
from tools.check import syntax as rules_syntax
from tools.check import terms as rules_terms
from tools.check import tests as rules_tests
from tools.check import text as rules_text
from tools.check import twins as rules_twins
from tools.core.blocks import sections
from tools.core.front_matter import waits
from tools.core.house import Fault, House
from tools.core.prose import Prose

LANGUAGES = ("zh", "en")
RULES = (
    *rules_text.RULES,
    *rules_chinese.RULES,
    *rules_terms.RULES,
    *markdown.RULES,
    *safety.RULES,
)
Faults = Iterator[tuple[str, int, str]]


def check(root: Path, records: Path | None = None, ran=None) -> list[Fault]:
    """Find the faults of the sources; of their numbers too once (some) labs ran."""
    house = House(root, records, ran)
    for fault in files.unreadable(house):
        house.blame(*fault)
    if house.faults:  # of what cannot be read nothing else can be said
        return sorted(set(house.faults))
    for room in (snippets, tests, labs, pages, readme, drawings, markers, rooms):
        for file, line, message in room(house):
            house.blame(file, line, message)
    return sorted(set(house.faults))


def snippets(house: House) -> Faults:
    """Check each snippet, and the copies that they share."""
    for file in house.files("snippets/[!_]*.py"):
        for fault in rules_code.snippet(house, file):
            yield file, *fault
    yield from rules_syntax.copies(house)


def tests(house: House) -> Faults:
    """Check that each test says something."""
    for file in house.files("tests/**/test_*.py"):
        for fault in rules_tests.test_file(house, file):
            yield file, *fault


def labs(house: House) -> Faults:
    """Check each lab: its code, its prose, its two languages."""
    for file in house.files("docs/lab/[!_]*.py"):
        for fault in rules_labs.lab(house, file):
            yield file, *fault
        prose = list(rules_labs.prose(house, file))
        yield from texts(house, prose)
        for cell in prose:
            for fault in rules_labs.links(cell):
                yield file, *fault
        for one, two in pairwise(prose):
            if (one.language, two.language) == LANGUAGES:
                yield from rules_twins.parity(one, two)


def pages(house: House) -> Faults:
    """Check each page, alone and against its twin."""
    yield from accepted.sound(house)
    found = {}
    for language in LANGUAGES:
        for file in house.files(f"docs/{language}/**/*.md"):
            name = file.removeprefix(f"docs/{language}/")
            found[language, name] = rules_pages.page(house, file, language)
    for (language, name), page in found.items():
        yield from texts(house, [page])
        for rule in rules_pages.RULES:
            for fault in rule(page, house):
                yield page.file, *fault
        other = "en" if language == "zh" else "zh"
        twin = found.get((other, name))
        if waits(house, name):
            continue  # the page says so itself, under its title
        if twin is None:
            text = f"its twin docs/{other}/{name} is missing, write it"
            yield page.file, 1, f"{text}, or put translation: needed here"
        elif language == "zh":
            yield from rules_twins.parity(page, twin)
            if house.ran is None:  # a draft may be looked at before it is read
                yield from accepted.drifted(house, name, [page, twin])


def texts(house: House, prose: list[Prose]) -> Faults:
    """Check what is prose, wherever it stands."""
    for text in prose:
        for rule in RULES:
            for fault in rule(text, house):
                yield text.file, *fault


def readme(house: House) -> Faults:
    """Check the Chinese that stands outside the pages."""
    for file in house.files("*.zh.md"):
        prose = Prose(file, "zh", house.read(file).split("\n"))
        for line, message in rules_chinese.chinese(prose, house):
            yield file, line, message


def drawings(house: House) -> Faults:
    """Check each figure drawn by hand."""
    for file in house.files("docs/drawings/*.svg"):
        for fault in rules_labs.drawing(house, file):
            yield file, *fault


def markers(house: House) -> Faults:
    """Check the section markers of everything that a page may include."""
    for pattern in ("snippets/[!_]*.py", "docs/lab/[!_]*.py", "docs/drawings/*.svg"):
        for file in house.files(pattern):
            for fault in sections(house.read(file).splitlines())[1]:
                yield file, *fault


def rooms(house: House) -> Faults:
    """Check that one stem names everything about one architecture."""
    yield from names(house)
    nav = house.read("mkdocs.yml") if house.has("mkdocs.yml") else None
    for stem in house.stems:
        snippet = f"snippets/{stem}.py"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", stem):
            yield snippet, 1, "a stem is a plain name in small letters"
        for file in (
            f"docs/zh/{stem}.md",
            f"docs/en/{stem}.md",
            f"docs/lab/{stem}.py",
            f"tests/test_{stem}.py",
        ):
            if not house.has(file) and not waits(house, f"{stem}.md"):
                yield snippet, 1, f"{file} is missing, a stem has five files"
        if nav is not None and not re.search(rf"[\s/\"']{stem}\.md\b", nav):
            line = next((n for n, x in enumerate(nav.split("\n"), 1) if x == "nav:"), 1)
            yield "mkdocs.yml", line, f"nav lacks {stem}.md"
    for file in house.files("docs/lab/[!_]*.py"):
        stem = Path(file).stem
        if not any(house.has(f"docs/{language}/{stem}.md") for language in LANGUAGES):
            yield file, 1, "this lab belongs to no page, give both one name"
        wanted = house.records and (house.ran is None or stem in house.ran)
        if wanted and not house.recorded(stem):
            yield file, 1, f"this lab has no record: nox -s labs -- {stem}"


def names(house: House) -> Faults:
    """Check that MkDocs finds each page, and once."""
    for file in house.files("docs/??/**/*"):
        if file.lower().endswith((".md", ".markdown")) and not file.endswith(".md"):
            yield file, 1, f"a page is named {Path(file).stem.lower()}.md"
    if house.has("mkdocs.yml"):
        seen = set()
        for number, line in enumerate(house.read("mkdocs.yml").split("\n"), 1):
            page = re.search(r"^\s*- .*?([\w/-]+\.md)\s*$", line)
            if page and page[1] in seen:
                yield "mkdocs.yml", number, f"nav names {page[1]} twice, keep one"
            seen.add(page and page[1])


def main() -> int:
    """Print all faults."""
    faults = check(Path.cwd())
    for fault in faults:
        print(fault)
    count = f"{len(faults)} fault{'s' * (len(faults) > 1)}"
    print(count if faults else "sources checked, no fault")
    return bool(faults)
