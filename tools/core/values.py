"""Put the numbers and verdicts of labs where a page asks for them."""

import json
import re
from pathlib import Path

from tools.core.blocks import fenced
from tools.core.languages import DEFAULT, LANGUAGES

VERDICTS = {code: language.verdicts for code, language in LANGUAGES.items()}

# {{ lab.<stem>.<key> }}, with `:<format spec>` or ` == <verdict>` after the key.
MACRO = re.compile(
    r"\{\{\s*lab\.(?P<stem>\w+)\.(?P<key>\w+)"
    r"(?:\s*==\s*(?P<verdict>\w+)|:(?P<spec>[^{}\n]*?))?\s*\}\}"
)

# {{ minutes.<page> }}, or of one section {{ minutes.<page>.idea }}
MINUTES = re.compile(r"\{\{ minutes\.(?P<page>\w+)(?:\.(?P<section>[\w-]+))? \}\}")


def fill(lines: list[str], records: Path, language: str) -> list[str]:
    """Put the labs' numbers and verdicts into every line outside fences."""
    return [
        line if code else MACRO.sub(lambda m: evaluate(m, records, language), line)
        for line, code in zip(lines, fenced(lines))
    ]


def evaluate(match: re.Match[str], records: Path, language: str) -> str:
    """Print what a macro stands for, or raise a ValueError that says why not."""
    stem, key, spec, verdict = match.group("stem", "key", "spec", "verdict")
    try:
        record = json.loads((records / f"{stem}.json").read_text("utf-8"))
        results = record["results"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{match[0]}: lab {stem} has no record, run it") from None
    if key not in results:
        names = ", ".join(results)
        raise ValueError(f"{match[0]}: lab {stem} has no result {key}, only {names}")
    value = results[key]
    if verdict is not None:
        if verdict not in VERDICTS[language]:
            raise ValueError(f"{match[0]}: a verdict is {', '.join(VERDICTS[DEFAULT])}")
        if value != verdict:
            raise ValueError(f"{match[0]}: the lab now says {value!r}")
        return VERDICTS[language][verdict]
    if isinstance(value, str) and value in VERDICTS[language]:
        raise ValueError(f"{match[0]}: a verdict is written {key} == {value}")
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{match[0]}: {value!r} is neither a number nor a string")
    if isinstance(value, float) and not spec:
        raise ValueError(f"{match[0]}: a float needs a format, as in {key}:.2f")
    try:
        text = format(value, spec or "")
        # A minus sign, since a line may break after a hyphen, in -4 and in 2e-07.
        return text if isinstance(value, str) else text.replace("-", "−")
    except ValueError as error:
        raise ValueError(f"{match[0]}: {error} ({value!r})") from None
