"""Rules for the house as a whole: one stem names everything about one architecture."""

import re
from pathlib import Path

from tools.check.registry import Faults, Found, rule
from tools.check.source import Drawing, Python
from tools.core.blocks import sections
from tools.core.front_matter import waits
from tools.core.house import Fault, House
from tools.core.languages import DEFAULT, LANGUAGES

CONFIG = LANGUAGES[DEFAULT].config


@rule("house")
def five_files(house: House) -> Found:
    """A stem that lacks one of its files, or its line of navigation."""
    nav = house.read(CONFIG).split("\n") if house.has(CONFIG) else None
    for stem in house.architectures:
        snippet = f"snippets/{stem}.py"
        if not re.fullmatch(r"[a-z][a-z0-9_]*", stem):
            yield Fault(snippet, 1, "a stem is a plain name in small letters")
        pages = [f"docs/{language}/{stem}.md" for language in LANGUAGES]
        for file in (*pages, f"docs/lab/{stem}.py", f"tests/test_{stem}.py"):
            if not house.has(file) and not waits(house, f"{stem}.md"):
                yield Fault(snippet, 1, f"{file} is missing, a stem has five files")
        if nav and not any(re.search(rf"[\s/\"']{stem}\.md\b", x) for x in nav):
            line = nav.index("nav:") + 1 if "nav:" in nav else 1
            yield Fault(CONFIG, line, f"nav lacks {stem}.md")


@rule("house")
def found_once(house: House) -> Found:
    """A page that MkDocs does not find, or finds twice."""
    for language in LANGUAGES:
        for file in house.files(f"docs/{language}/**/*"):
            path = Path(file)
            if path.suffix.lower() in (".md", ".markdown") and path.suffix != ".md":
                yield Fault(file, 1, f"a page is named {path.stem.lower()}.md")
    seen = set()
    nav = house.read(CONFIG).split("\n") if house.has(CONFIG) else []
    for number, line in enumerate(nav, 1):
        page = re.search(r"^\s*- .*?([\w/-]+\.md)\s*$", line)
        if page and page[1] in seen:
            yield Fault(CONFIG, number, f"nav names {page[1]} twice, keep one")
        seen.add(page and page[1])


@rule("snippet", "lab", "drawing")
def markers(source: Python | Drawing, house: House) -> Faults:
    """Section markers that are open, twice, empty or crossed."""
    yield from sections(source.text.splitlines())[1]
