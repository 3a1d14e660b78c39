"""Rules for pages: front matter, headings, and a twin that says the same."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath
from urllib.parse import urlsplit

import yaml

from tools import bibliography
from tools.house import House
from tools.prose import Prose
from tools.rules_text import Faults

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
TEXT = re.compile(r"\\text\s*\{[^{}]*\}")
FRONT = re.compile(r"---\n(?P<yaml>.*?)^(---|\.\.\.)[ \t]*$", re.S | re.M)


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


def meta(text: str) -> dict:
    """Read the front matter of a page; what is wrong with it is a fault elsewhere."""
    front = FRONT.match(text)
    try:
        found = yaml.safe_load(front["yaml"]) if front else None
    except yaml.YAMLError:
        found = None
    return found if isinstance(found, dict) else {}


def waits(house: House, name: str) -> bool:
    """Tell whether a page waits for its twin, or for the twin to catch up."""
    files = [f"docs/{language}/{name}" for language in ("zh", "en")]
    return any(
        meta(house.read(file)).get("translation") == "needed"
        for file in files
        if house.has(file)
    )


def twin(file: str) -> str:
    """Name the same page in the other language."""
    if file.startswith("docs/zh/"):
        return file.replace("docs/zh/", "docs/en/", 1)
    return file.replace("docs/en/", "docs/zh/", 1)


def page(house: House, file: str, language: str) -> Prose:
    """Read a page; of its front matter only the description is prose."""
    lines = house.read(file).split("\n")
    if front := FRONT.match(house.read(file)):
        for number in range(front[0].count("\n") + 1):
            value = re.match(r"description:\s*[\"']?([^>|\"']+)", lines[number])
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
            known = ", ".join(SECTIONS)
            yield heading.line, f"#{heading.id} is no section, these are: {known}"
    known = [h for h in parts if h.id in SECTIONS]
    for before, after in zip(known, known[1:]):
        if SECTIONS.index(before.id) > SECTIONS.index(after.id):
            yield after.line, f"#{after.id} stands before #{before.id} on every page"


def links(prose: Prose, house: House) -> Faults:
    """Links to no page, to no lab, or to no place on a page."""
    for line, target in prose.links:
        path, _, id = target.partition("#")
        if urlsplit(target).scheme or not re.search(r"\.md$|\.ipynb$|^$", path):
            continue
        file = normpath(join(dirname(prose.file), path)) if path else prose.file
        if path.endswith(".ipynb"):
            file = f"docs/lab/{Path(path).stem}.py"
        if not house.has(file) and waits(house, Path(file).name):
            file = twin(file)  # its text stands in
        if not house.has(file):
            yield line, f"the link {target} leads to no page, there is no {file}"
        elif id and file.endswith(".md") and id not in places(house.read(file)):
            yield line, f"the link {target} leads nowhere, {file} has no {{#{id}}}"


def works(prose: Prose, house: House) -> Faults:
    """Entries of #references that the list of the whole book cannot read."""
    form = "an entry is - Authors Year. Title. Venue. [where](https://…)；a remark"
    for line, text in enumerate(prose.lines, prose.first):
        entry = prose.section(line) == "references" and re.match(r"\s*[-*+] ", text)
        if entry and not bibliography.ENTRY.match(text):
            yield line, form


def places(text: str) -> set[str]:
    """Name the places of a page that a link can lead to."""
    return set(re.findall(r"(?:\{[^{}\n]*#|\bid=\")([\w-]+)", text))


def parity(one: Prose, two: Prose) -> Iterator[tuple[str, int, str]]:
    """What one of two twins has and the other lacks, section by section."""
    ids, others = ([h.id for h in p.headings if h.level > 1] for p in (one, two))
    if ids != others:
        differ = (n for n, (a, b) in enumerate(zip(ids, others)) if a != b)
        lines = [h.line for h in two.headings if h.level > 1] or [two.first]
        line = lines[next(differ, -1)]
        yield two.file, line, f"headings are {others}, in {one.file} they are {ids}"
        return
    for prose, twin in ((two, one), (one, two)):
        own, other = content(prose), content(twin)
        for (section, item), lines in other.items():
            if len(own[section, item]) < len(lines):
                where = f"#{section}" if section else "this part"
                there = f"{item} of {twin.file}:{lines[-1]}"
                yield prose.file, start(prose, section), f"{where} lacks {there}"
    paths = [[path for _, path in prose.includes] for prose in (one, two)]
    if paths[0] != paths[1] and sorted(paths[0]) == sorted(paths[1]):
        line = next(n for (n, b), a in zip(two.includes, paths[0]) if a != b)
        yield two.file, line, f"includes stand in another order in {one.file}"


def content(prose: Prose) -> defaultdict[tuple[str, str], list[int]]:
    """Give the lines of all that twins share, by section."""
    found = defaultdict(list)
    for line, path in prose.includes:
        found[prose.section(line), f"the include {path}"].append(line)
    for line, match in prose.macros:
        macro = " ".join(match[0].strip("{} ").split())
        found[prose.section(line), f"the macro {macro}"].append(line)
    for line, target in prose.links:
        found[prose.section(line), f"the link {target}"].append(line)
    for line, tex, display in prose.formulas:
        formula = " ".join(TEXT.sub(r"\\text{}", tex).split())
        formula = f"$${formula}$$" if display else f"${formula}$"
        found[prose.section(line), f"the formula {formula}"].append(line)
    return found


def start(prose: Prose, section: str) -> int:
    """Give the line of a section's heading."""
    lines = [h.line for h in prose.headings if h.id == section]
    return lines[0] if section and lines else prose.first


RULES = (front_matter, headings, links, works)
