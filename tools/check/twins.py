"""Rules for twins: a page in one language has all that the other has."""

import re
from collections import defaultdict

from tools.check.registry import Found, rule
from tools.core.house import Fault, House
from tools.core.prose import Prose

TEXT = re.compile(r"\\text\s*\{[^{}]*\}")


@rule("twins")
def parity(twins: list[Prose], house: House) -> Found:
    """What one of two twins has and the other lacks, section by section."""
    one, *rest = twins
    for two in rest:
        yield from lacks(one, two)


def lacks(one: Prose, two: Prose) -> Found:
    """Compare two twins."""
    ids, others = ([h.id for h in p.headings if h.level > 1] for p in (one, two))
    if ids != others:
        differ = (n for n, (a, b) in enumerate(zip(ids, others)) if a != b)
        lines = [h.line for h in two.headings if h.level > 1] or [two.first]
        line = lines[next(differ, -1)]
        said = f"headings are {others}, in {one.file} they are {ids}"
        yield Fault(two.file, line, said)
        return
    for prose, twin in ((two, one), (one, two)):
        own, other = content(prose), content(twin)
        for (section, item), lines in other.items():
            if len(own[section, item]) < len(lines):
                where = f"#{section}" if section else "this part"
                there = f"{item} of {twin.file}:{lines[-1]}"
                place = start(prose, section)
                yield Fault(prose.file, place, f"{where} lacks {there}")
    paths = [[path for _, path in prose.includes] for prose in (one, two)]
    if paths[0] != paths[1] and sorted(paths[0]) == sorted(paths[1]):
        line = next(n for (n, b), a in zip(two.includes, paths[0]) if a != b)
        said = f"includes stand in another order in {one.file}"
        yield Fault(two.file, line, said)


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
