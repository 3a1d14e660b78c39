"""Change one token at a time and list what the tests did not notice.

`python -m tools.craft.mutants gru lstm` (every snippet when none is named; with
`--since main` those whose code or test is not what it was there) changes every section
of snippets/<stem>.py but `data` and `main`, whose code only has to learn, and runs
tests/test_<stem>.py on each mutant, without the tests marked `slow`: those are for
`main`. tools/craft/mutations.py holds the catalogue of changes. A mutant that
behaves as the original does is explained in the test file, under its description:

    SURVIVORS = {"GRU.forward: this -> that": "why nobody can tell"}

An explanation of nothing is a fault too. Mutants run on the CPU, each in a fork of this
process, so that torch is imported once.
"""

import argparse
import ast
import gc
import importlib
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import islice
from multiprocessing import connection, get_context
from pathlib import Path
from types import ModuleType

import pytest

from tools.craft.mutations import mutants

AT_ONCE = 2
PYTEST = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow"]
SLACK = 30  # seconds, beside ten times what the original takes: longer is a hang


def main(arguments):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # CUDA does not survive a fork
    sys.stdout.reconfigure(line_buffering=True)  # or forks would print it again
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stems", nargs="*", help="snippets, all if none is named")
    parser.add_argument("--since", metavar="COMMIT", help="only what changed since")
    options = parser.parse_args(arguments)
    stems = options.stems or sorted(path.stem for path in Path("snippets").glob("*.py"))
    if options.since:
        stems = [stem for stem in stems if stem in changed(options.since)]
        print(f"changed since {options.since}: {', '.join(stems) or 'no snippet'}")
    return max([examine(stem) for stem in stems], default=0)


def changed(commit):
    """Stems whose snippet or test is not what it was in a commit."""
    command = ["git", "diff", "--name-only", commit, "--", "snippets", "tests"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip())
    return {Path(name).stem.removeprefix("test_") for name in done.stdout.splitlines()}


def examine(stem):
    """Print what survived of one snippet; 1 if that is not as it should be."""
    path, test = Path("snippets", f"{stem}.py"), Path("tests", f"test_{stem}.py")
    for file in (path, test):
        if not file.exists():
            print(f"{file}: there is no such file")
            return 1
    start, source = time.monotonic(), path.read_text("utf-8")
    warm_up(stem)

    def attempt(code, loud=False):
        try_code(f"snippets.{stem}", path.resolve(), code, test, loud)

    original = [(0, "the original", compile(source, path, "exec"), True)]
    if not [*passing(original, attempt, 600)]:
        print(f"{test}: fails without any change, or takes more than ten minutes")
        return 1
    limit = SLACK + 10 * (time.monotonic() - start)
    explained, survived, fault = explanations(test), set(), 0
    changes = [*mutants(source, path)]
    for line, description, _ in passing(changes, attempt, limit):
        survived.add(description)
        if description not in explained:
            fault = 1
            print(f"{path}:{line}: survived: {description}")
    if fault:
        print(f"{test}: test what would fail, or say in SURVIVORS why nothing can")
    for description in explained.keys() - survived:
        fault = 1
        print(f"{test}: SURVIVORS explains what does not survive: {description}")
    print(
        f"{stem}: {len(changes)} mutants, {len(survived)} survived, "
        f"{len(explained)} explained, {time.monotonic() - start:.0f} s"
    )
    return fault


def warm_up(stem):
    """Import here, once, what every child would else import for itself."""
    importlib.import_module(f"snippets.{stem}")
    if torch := sys.modules.get("torch"):
        torch.optim.SGD([torch.zeros(1)])  # this pulls in hundreds of modules
    gc.freeze()  # children that collect would copy all of it: twice the time


def explanations(test):
    """Read SURVIVORS from a test file, without running it."""
    for node in ast.parse(test.read_text("utf-8")).body:
        match node:
            case ast.Assign(targets=[ast.Name(id="SURVIVORS")], value=value):
                return ast.literal_eval(value)
    return {}


def passing(candidates, attempt, limit):
    """Attempt each (line, description, *arguments), yield those that exit with 0."""
    fork, waiting, running = get_context("fork"), iter(candidates), {}
    try:
        while True:
            for candidate in islice(waiting, AT_ONCE - len(running)):
                process = fork.Process(target=attempt, args=candidate[2:])
                process.start()
                deadline = time.monotonic() + limit
                running[process.sentinel] = process, deadline, candidate
            if not running:
                return
            patience = min(deadline for _, deadline, _ in running.values())
            connection.wait([*running], max(0, patience - time.monotonic()))
            for sentinel, (process, deadline, candidate) in [*running.items()]:
                if process.is_alive() and time.monotonic() < deadline:
                    continue
                del running[sentinel]
                if process.is_alive():
                    kill(process)
                elif process.exitcode == 0:
                    yield candidate
    finally:
        for process, _, _ in running.values():
            kill(process)


def kill(process):
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # and what it started
    process.kill()
    process.join()


def try_code(name, path, code, test, loud):
    """In a child: stand in for the module, run its test, exit as pytest does."""
    os.setsid()  # to be killed with whatever a test starts
    if not loud:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
    module = sys.modules[name] = ModuleType(name)
    module.__file__ = str(path)
    setattr(sys.modules["snippets"], name.partition(".")[2], module)
    exec(code, vars(module))
    os._exit(pytest.main([*PYTEST, str(test)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
