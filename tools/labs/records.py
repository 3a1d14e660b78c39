"""Records of executed labs in build/labs: written whole or not at all."""

import hashlib
import json
import math
import os
import shutil
import tempfile
from pathlib import Path


def files(records: Path, stem: str) -> list[Path]:
    """All files of a record: notebook, results, figures."""
    fixed = [records / f"{stem}.ipynb", records / f"{stem}.json"]
    return fixed + sorted((records / stem).glob("*"))


def seal(records: Path, stem: str) -> str:
    """Checksums of the files, in the format of `sha256sum`."""
    return "".join(
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(records)}\n"
        for f in files(records, stem)
    )


def provenance(records: Path, stem: str, key: str | None = None) -> dict | None:
    """What made the record; None if it is missing, damaged or of another key."""
    try:
        if (records / f"{stem}.sha256").read_text("utf-8") != seal(records, stem):
            return None
        record = json.loads((records / f"{stem}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return record["provenance"] if key in (None, record["provenance"]["key"]) else None


def write(records: Path, stem: str, notebook: str, record: dict, figures: dict) -> None:
    """Make the record aside and move it in; the seal comes last."""
    (records / f"{stem}.sha256").unlink(missing_ok=True)
    shutil.rmtree(records / stem, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=records, prefix=f".{stem}-") as name:
        aside = Path(name)
        (aside / stem).mkdir()
        for figure, svg in figures.items():
            (aside / stem / figure).write_text(svg, "utf-8")
        (aside / f"{stem}.ipynb").write_text(notebook, "utf-8")
        text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
        (aside / f"{stem}.json").write_text(text + "\n", "utf-8")
        (aside / f"{stem}.sha256").write_text(seal(aside, stem), "utf-8")
        for part in (stem, f"{stem}.ipynb", f"{stem}.json", f"{stem}.sha256"):
            os.replace(aside / part, records / part)


def check_results(results: object) -> None:
    """Refuse what a page could not print; the kernel of a lab runs this very source.

    Raises:
        ValueError: not a flat dict of plain, finite numbers, strings and lists.
    """
    if not isinstance(results, dict) or not results:
        raise ValueError("`results` must be a dict with at least one entry")
    for key, value in results.items():
        if not isinstance(key, str) or not key.isidentifier():
            raise ValueError(f"results[{key!r}]: a key is a plain name, as in gap_2")
        if isinstance(value, list) and not value:
            raise ValueError(f"results[{key!r}] is an empty list, leave it out")
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, bool):
                said = "write 0 or 1, or a verdict such as holds"
                raise ValueError(f"results[{key!r}] is or holds {item}: {said}")
            if not isinstance(item, int | float | str):
                plain = "a number, a string or a list of these"
                kind = type(item).__name__
                raise ValueError(f"results[{key!r}] must be {plain}, not {kind}")
            if isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"results[{key!r}] is or holds {item}")
