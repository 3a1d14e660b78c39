"""Check the sources before anything is built: `python -m tools.check`.

The renderer cannot do that: it knows neither the file nor the line, and much
that is wrong passes its strict mode. All faults are printed at once.
"""

from collections.abc import Iterator
from pathlib import Path

from tools.check import labs, pages
from tools.check.registry import rules
from tools.check.source import Unreadable, drawing, python
from tools.core.house import Fault, House

READERS = {
    "snippet": (python, "snippets/[!_]*.py"),
    "lab": (python, "docs/lab/[!_]*.py"),
    "test": (python, "tests/**/test_*.py"),
    "drawing": (drawing, "docs/drawings/*.svg"),
}


def check(root: Path, records: Path | None = None, ran=None) -> list[Fault]:
    """Find the faults of the sources; of their numbers too once (some) labs ran."""
    house = House(root, records, ran)
    faults = [fault for rule in rules("file") for fault in rule(house)]
    if not faults:
        faults = [*everything(house), *house.faults]
    return sorted(set(faults))


def everything(house: House) -> Iterator[Fault]:
    """Read each subject once, and hold it to the rules for it."""
    for rule in rules("house"):
        yield from rule(house)
    for subject, (read, pattern) in READERS.items():
        for file in house.files(pattern):
            try:
                source = read(file, house.read(file))
            except Unreadable as error:
                yield Fault(file, *error.args)
                continue
            yield from hold(subject, source, house)
    for subject, found in (("page", pages.groups(house)), ("cell", labs.groups(house))):
        for twins in found:
            for prose in twins:
                yield from hold("prose", prose, house)
                yield from hold(subject, prose, house)
            if len(twins) > 1:
                for rule in rules("twins"):
                    yield from rule(twins, house)


def hold(subject: str, source, house: House) -> Iterator[Fault]:
    """Hold one file, or a part of it, to the rules for its kind."""
    for rule in rules(subject):
        for line, message in rule(source, house):
            yield Fault(source.file, line, message)


def main() -> int:
    """Print all faults."""
    faults = check(Path.cwd())
    for fault in faults:
        print(fault)
    count = f"{len(faults)} fault{'s' * (len(faults) > 1)}"
    print(count if faults else "sources checked, no fault")
    return bool(faults)
