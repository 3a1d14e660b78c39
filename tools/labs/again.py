"""Run labs once more and hold them to their records: `python -m tools.labs.again lstm`.

What is random or depends on the machine's mood would be another number each time the
book is built. Times are: results that are times, or made of times, are listed here.
"""

import json
import math
import os
import sys
import tempfile
from pathlib import Path

from tools.core.lab import ROOT, Lab, all_labs
from tools.labs.execute import LabError, execute
from tools.labs.run import parse, run_all

TIMES = {
    "attention": ("slowdown",),
    "conv1d": ("rnn_ms", "tcn_ms"),
    "embedding": ("lookup_ratio",),
    "esn": (
        "seconds_esn",
        "seconds_esn_400",
        "seconds_lstm",
        "seconds_times",
        "exercise_times",
    ),
    "gru": ("time_lstm_64", "time_lstm_256"),
    "recursive": ("batch_speedup",),
    "transformer": (
        "time_fused_1024",
        "time_loop_1024",
        "time_layer_1024",
        "time_ratio_fused",
    ),
}


def differences(stem: str, one: dict, two: dict) -> list[str]:
    """Say which results are not as they were; a last digit may be lost."""
    said = []
    for key in sorted({*one, *two} - set(TIMES.get(stem, ()))):
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
    return differences(stem, record["results"], made["results"])


def main() -> int:
    """Run the labs that lack a record, then all once more; 1 if something differs."""
    names = parse(story=__doc__).stems or all_labs()
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
