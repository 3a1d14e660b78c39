"""Rules for files as such: what no other rule, and no library, should be given."""

import re

from tools.check.registry import Faults, Found, rule
from tools.core.house import Fault, House

TEXTS = (
    "*.md",
    "*.py",
    "*.yml",
    "docs/**/*.md",
    "docs/lab/*.py",
    "docs/drawings/*.svg",
    "snippets/*.py",
    "tests/**/*.py",
    "tools/**/*.py",
)
LARGEST, LONGEST = 200_000, 3_000  # bytes of a file, characters of a line
SIGNATURES = {
    b"\xef\xbb\xbf": "the file begins with a byte-order mark, save it without",
    b"\xff\xfe": "this is UTF-16, save the file as UTF-8",
    b"\xfe\xff": "this is UTF-16, save the file as UTF-8",
}
CONFLICT = re.compile(r"^(<{7} |>{7} |={7}$|\|{7} )", re.M)
INVISIBLE = re.compile(
    "[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
)


@rule("file")
def unreadable(house: House) -> Found:
    """Files that are to be mended before anything else can be said of them."""
    for file in dict.fromkeys(f for p in TEXTS for f in house.files(p)):
        raw = (house.root / file).read_bytes()
        fault = next(faults(raw, file), None)
        if fault:
            yield Fault(file, *fault)


def faults(raw: bytes, file: str) -> Faults:
    """Find what is wrong with the bytes of a file, the gravest first."""
    for signature, said in SIGNATURES.items():
        if raw.startswith(signature):
            yield 1, said
    if len(raw) > LARGEST:
        size = f"{len(raw) // 1000} KB, it may have {LARGEST // 1000}"
        yield 1, f"this file has {size}: cut it into several"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        yield raw.count(b"\n", 0, error.start) + 1, f"{what}, save the file as UTF-8"
        return
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        yield 1, "lines end with CR alone, save the file with LF, as Unix does"
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LONGEST:
            yield number, f"this line has {len(line)} characters, cut it to {LONGEST}"
        if sign := INVISIBLE.search(line):
            yield number, f"an invisible character, U+{ord(sign[0]):04X}: take it out"
        if file.endswith(".py") and re.match(r" *\t", line):
            yield number, "this line begins with a tab: indent by four spaces"
    if conflict := CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        yield line, f"{conflict[0].strip()}: two versions stand here, keep one of them"
