"""Keep the two languages in step: `python -m tools.check.accepted gru` accepts a pair.

The lock holds, for each section of each page, a hash of the prose of either
language as it stood when somebody last read both and found that they say the same.
Formulas, code, numbers and links are not in it: the checker compares those itself.
"""

import hashlib
import re
import sys
from pathlib import Path

from tools.check.pages import page
from tools.check.registry import Found, rule
from tools.core.front_matter import waits
from tools.core.house import Fault, House
from tools.core.languages import LANGUAGES
from tools.core.prose import CODE, FORMULA, LINK, NUMBER, Prose

LOCK = "docs/translations.lock"
SIGNS = re.compile(f"([{FORMULA}{NUMBER}{CODE}{LINK}])\\1+")
ENTRY = re.compile(r"[\w-]+#[\w-]+" + " [0-9a-f]{8}" * len(LANGUAGES))
DRAFTS = "# drafts: nobody has read both languages yet\n"  # a lock that holds nothing
HEAD = """\
# What each section said, in either language, when both were last read side by side.
# Made by: nox -s accept -- <page>
"""


def prints(prose: Prose) -> dict[str, str]:
    """Hash the prose of each section; what stands above the first is `top`."""
    starts = {h.line: h.id for h in prose.headings if h.level == 2}
    texts, section = {"top": ""}, "top"
    for line, text in enumerate(prose.text.split("\n"), prose.first):
        section = starts.get(line, section)
        texts[section] = texts.get(section, "") + text + " "
    return {id: digest(text) for id, text in texts.items()}


def digest(text: str) -> str:
    words = " ".join(SIGNS.sub(r"\1", text).split())
    return hashlib.sha256(words.encode()).hexdigest()[:8]


def read(house: House) -> dict[str, list[str]]:
    """Read the lock: `gru#idea` -> hash in Chinese, hash in English."""
    return entries(house)[0]


def entries(house: House) -> tuple[dict[str, list[str]], list[tuple[int, str]]]:
    """Read what stands in the lock beyond doubt, and (line, message) of the rest."""
    known, faults = {}, []
    start, torn = 0, set()  # where two changes meet, and the pages that they are of
    lines = house.read(LOCK).split("\n") if house.has(LOCK) else []
    for number, line in enumerate(lines, 1):
        name, *hashes = line.split() or [""]
        if line.startswith("<<<<<<< "):
            start, torn = number, set()
        elif line.startswith(">>>>>>> ") and start:
            faults.append((start, f"two changes meet here: {again(torn)}"))
            start = 0
        elif start:
            torn |= {name.partition("#")[0]} if ENTRY.fullmatch(line) else set()
        elif name in known:
            faults.append((number, f"{name} stands twice: {again({name})}"))
        elif ENTRY.fullmatch(line):
            known[name] = hashes
        elif name and not line.startswith("#"):
            faults.append((number, "this is no entry, take the line out"))
    if start:
        faults.append((start, f"two changes meet here: {again(torn)}"))
    return known, faults


def again(names: set[str]) -> str:
    """Say how to write pages into the lock anew."""
    stems = sorted(name.partition("#")[0] for name in names)
    return f"read both languages, then: nox -s accept -- {' '.join(stems) or '<page>'}"


@rule("house")
def sound(house: House) -> Found:
    """Name what is wrong with the lock itself."""
    if not house.has(LOCK):
        text = "this file is gone: take it back from git, or accept every page"
        yield Fault(LOCK, 1, text)
    for line, message in entries(house)[1]:
        yield Fault(LOCK, line, message)


@rule("twins")
def drifted(twins: list[Prose], house: House) -> Found:
    """Name the sections of a page that are not as they were accepted."""
    first, stem = twins[0], Path(twins[0].file).stem
    if house.ran is not None or not first.file.endswith(".md"):
        return  # a draft may be looked at before it is read; labs are compared alone
    lock = read(house)
    if not house.has(LOCK) or not lock and DRAFTS in house.read(LOCK):
        return
    found = [prints(prose) for prose in twins]
    if not any(key.startswith(f"{stem}#") for key in lock):
        text = f"a new page: when both languages agree: nox -s accept -- {stem}"
        yield Fault(first.file, 1, text)
        return
    accept, both = f"read both, then: nox -s accept -- {stem}", []
    for section in found[0]:
        now = [one.get(section) for one in found]
        known = lock.get(f"{stem}#{section}", [None] * len(twins))
        moved = [prose for prose, a, b in zip(twins, now, known) if a != b]
        still = next((p for p, a, b in zip(twins, now, known) if a == b), None)
        if moved and still:
            text = f"#{section} changed, its twin in {still.file} did not; {accept}"
            yield Fault(moved[0].file, place(moved[0], section), text)
        elif moved:
            both.append(section)
    if both:
        names = ", ".join(f"#{section}" for section in both)
        text = f"new or changed in both languages: {names}; {accept}"
        yield Fault(first.file, place(first, both[0]), text)


def place(prose: Prose, section: str) -> int:
    """Find the line of a section."""
    return {h.id: h.line for h in prose.headings}.get(section, prose.first)


def accept(house: House, pages: list[str]) -> None:
    """Write down what the pages say now, and drop what is in doubt."""
    lock = {k: v for k, v in read(house).items() if k.partition("#")[0] not in pages}
    for stem in pages:
        files = [f"docs/{language}/{stem}.md" for language in LANGUAGES]
        if not all(map(house.has, files)):
            continue  # a page that waits for its twin, or one that is gone
        found = [prints(page(house, f, x)) for f, x in zip(files, LANGUAGES)]
        for id in set[str].intersection(*map(set, found)):
            lock[f"{stem}#{id}"] = [one[id] for one in found]
    lines = (" ".join([name, *hashes]) for name, hashes in sorted(lock.items()))
    (house.root / LOCK).write_text(HEAD + "\n".join(lines) + "\n", "utf-8")


def main() -> None:
    house = House(Path.cwd())
    files = (f for code in LANGUAGES for f in house.files(f"docs/{code}/*.md"))
    known = {Path(file).stem for file in files}
    known |= {name.partition("#")[0] for name in read(house)}
    pages = sys.argv[1:]
    if not pages:
        sys.exit(f"accept which page? One or more of: {', '.join(sorted(known))}")
    for stem in pages:
        if stem not in known:
            sys.exit(f"there is no page {stem}, only: {', '.join(sorted(known))}")
        if waits(house, f"{stem}.md"):
            text = "waits for its translation: translate, take translation: needed out"
            sys.exit(f"{stem} {text}, then accept")
    faults = entries(house)[1]
    accept(house, pages)
    for line, message in faults:
        print(f"{LOCK}:{line}: was dropped: {message}")
    print(f"accepted: {', '.join(pages)}; commit {LOCK} with the pages")


if __name__ == "__main__":
    main()
