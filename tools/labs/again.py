"""Run labs once more and hold them to their records: `python -m tools.labs.again lstm`.

What is random or depends on the machine's mood would be another number each time the
book is built. Times do: a lab names those among its results, TIMES = ("fast", "slow").
"""

import ast
import json
import math
import os
import sys
import tempfile
from pathlib import Path

from tools.core.lab import ROOT, Lab, stems
from tools.labs.execute import LabError, execute
from tools.labs.run import parse, run_all


def times(lab: Lab) -> set[str]:
    """Read which results of a lab are times, from its last TIMES = (…)."""
    for node in ast.parse(lab.text).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="TIMES")], value=value):
                return set(ast.literal_eval(value))
    return set()


def differences(lab: Lab, one: dict, two: dict) -> list[str]:
    """Say which results are not as they were; a last digit may be lost."""
    said = []
    for key in sorted({*one, *two} - times(lab)):
        if not same(one.get(key), two.get(key)):
            said.append(f"{key} was {one.get(key)}, now {two.get(key)}")
    return said


def same(one: object, two: object) -> bool:
    """Compare two results: numbers to nine digits, all else exactly."""
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, float) and isinstance(two, float):
        return math.isclose(one, two, rel_tol=1e-9, abs_tol=1e-15)
    return one == two


def again(stem: str, limit: float, root: Path = ROOT) -> list[str]:
    """Run one lab and compare; its record must be there."""
    lab = Lab(stem, root)
    record = json.loads((root / "build/labs" / f"{stem}.json").read_text("utf-8"))
    try:
        with tempfile.TemporaryDirectory(prefix=f"lab-{stem}-") as folder:
            _, made, _ = execute(lab, Path(folder), "cpu", limit)
    except LabError as error:
        return [str(error)]
    return differences(lab, record["results"], made["results"])


def main() -> int:
    """Run the labs that lack a record, then all once more; 1 if something differs."""
    names = parse(story=__doc__).stems or stems()
    if any(outcome.error for outcome in run_all(names)):
        return 1
    limit, failed = float(os.environ.get("LAB_TIMEOUT", 900)), 0
    for stem in names:
        for said in again(stem, limit):
            failed = 1
            print(f"docs/lab/{stem}.py: {said}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
