"""Run the labs that changed, two at a time: `python -m tools.labs lstm gru`.

Options: `--device cpu|cuda`. LAB_TIMEOUT limits each lab, in wall-clock seconds.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from threading import Event

import nbformat
import psutil
from filelock import FileLock

from tools.core.lab import ROOT, Lab, all_labs
from tools.core.languages import DEFAULT
from tools.labs import records
from tools.labs.execute import LabError, execute, one_line


@dataclass(frozen=True)
class Outcome:
    stem: str
    state: str  # run, reused or failed
    seconds: float = 0.0
    error: str = ""


def run(
    stem: str,
    device: str,
    limit: float,
    root: Path = ROOT,
    stopped: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Make the record of one lab unless a sound one is there."""
    # What is published comes from the CPU; other devices must not rewrite it.
    folder = root / "build" / ("labs" if device == "cpu" else f"labs-{device}")
    folder.mkdir(parents=True, exist_ok=True)
    place = f"docs/lab/{stem}.py"
    try:
        lab = Lab(stem, root)
        lock = FileLock(folder / f"{stem}.lock")
        with lock.acquire(cancel_check=stopped):
            if made := records.provenance(folder, stem, lab.key(device)):
                return Outcome(stem, "reused", made["seconds"])
            with tempfile.TemporaryDirectory(prefix=f"lab-{stem}-") as name:
                notebook, made, figures = execute(lab, Path(name), device, limit)
            seconds = round(made["seconds"], 1)
            source = {
                "python": platform.python_version(),
                "torch": version("torch"),
                "device": device,
                "seconds": seconds,
                "key": lab.key(device),
            }
            record = {"results": made["results"], "provenance": source}
            records.write(folder, stem, nbformat.writes(notebook), record, figures)
            return Outcome(stem, "run", seconds)
    except LabError as error:
        return Outcome(stem, "failed", error=f"{place}:{error}")
    except Exception as error:  # one lab's trouble must not stop the others
        text = f"{type(error).__name__}: {one_line(str(error))}"
        return Outcome(stem, "failed", error=f"{place}:1: {text}")


def run_all(names: list[str], device: str = "cpu", root: Path = ROOT) -> list[Outcome]:
    """Run labs two at a time and print what became of them."""
    limit = float(os.environ.get("LAB_TIMEOUT", 900))
    stop = Event()
    with ThreadPoolExecutor(2) as pool:
        more = device, limit, root, stop.is_set
        futures = [pool.submit(run, stem, *more) for stem in names]
        try:
            outcomes = [future.result() for future in futures]
        except BaseException:  # Ctrl-C: a lab would go on for minutes
            stop.set()
            end(futures)
            raise
    print(f"{'lab':<18}{'CPU s':>8}  outcome")
    for outcome in outcomes:
        print(f"{outcome.stem:<18}{outcome.seconds:>8.1f}  {outcome.state}")
    for outcome in outcomes:
        if outcome.error:
            print(f"\n{outcome.error}", file=sys.stderr)
    return outcomes


def end(futures: list[Future]) -> None:
    """Cancel labs that wait, and kill those that run."""
    for future in futures:
        future.cancel()
    while not all(future.done() for future in futures):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.1)


def parse(
    arguments=None, known: set[str] | None = None, story: str = __doc__
) -> argparse.Namespace:
    """Read the command line; `known` are the pages, if these may stand there."""
    parser = argparse.ArgumentParser(description=story.partition("\n\n")[0])
    text = "pages whose labs to run" if known else "labs to run"
    parser.add_argument(
        "names",
        nargs="*",
        help=f"{text}, all if none is named",
        metavar="page" if known else "lab",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in (known or all_labs()):
            where = f"page docs/{DEFAULT}" if known else "lab docs/lab"
            parser.error(f"there is no {where}/{name}")
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            parser.error("--device cuda: torch sees no CUDA device here")
    return options
