"""Name what labs hand over and nobody takes: `python -m tools.check.unread`.

That is: results that no page, lab or test prints, and figures that no page shows. Keys
may be made while a lab runs, so it is their records that are read.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from tools.core.blocks import FIGURE, INCLUDE
from tools.core.house import Fault, House
from tools.core.languages import LANGUAGES
from tools.core.values import MACRO

PAGES = [f"docs/{language}/*.md" for language in LANGUAGES]
READERS = [*PAGES, "docs/lab/*.py", "tests/**/*.py"]


def unread(house: House) -> Iterator[Fault]:
    """Name, for each lab with a record, what nobody takes from it."""
    taken = set(names(house))
    for file in house.files("docs/lab/[!_]*.py"):
        stem = Path(file).stem
        if not house.recorded(stem):
            continue
        try:
            record = json.loads((house.records / f"{stem}.json").read_text("utf-8"))
            keys = list(record["results"])
        except (ValueError, KeyError):
            continue  # a damaged record counts as missing
        lost = [key for key in keys if (stem, key) not in taken]
        if lost:
            text = f"{len(lost)} of {len(keys)} results nobody reads"
            yield Fault(file, 1, f"{text}: {', '.join(lost)}")
        figures = [path.name for path in sorted((house.records / stem).glob("*.svg"))]
        if lost := [name for name in figures if (stem, name) not in taken]:
            yield Fault(file, 1, f"figures no page shows: {', '.join(lost)}")


def names(house: House) -> Iterator[tuple[str, str]]:
    """Find every (lab, result) and (lab, figure) that somebody takes."""
    for file in (file for pattern in READERS for file in house.files(pattern)):
        text = house.read(file)
        for match in MACRO.finditer(text):
            yield match["stem"], match["key"]
        for include in map(INCLUDE.match, text.split("\n")):
            if include and (figure := FIGURE.fullmatch(include["path"])):
                yield figure["lab"], figure["name"]


def main() -> None:
    house = House(Path.cwd(), Path("build/labs"))
    for fault in unread(house):
        print(fault)


if __name__ == "__main__":
    main()
