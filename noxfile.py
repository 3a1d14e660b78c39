"""Every command of the project: `nox -s docs` builds, `nox -s tests` proves."""

import sys

if sys.version_info < (3, 11, 5):  # pymdown-extensions and soupsieve want that much
    found = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"Python {found} is too old: install 3.11.5 or newer, and nox with it")

import hashlib
import json
import os
import shutil
from pathlib import Path

import nox
from filelock import FileLock  # of virtualenv, which nox brings
from nox.command import CommandFailed

nox.needs_version = ">=2025.2.9"  # the first that knows `requires`
nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
VENV = ROOT / ".nox" / "book"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "complete"  # says what was installed; not there while half made
# Small models run many times slower on two threads than on one.
ENV = {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "NO_MKDOCS_2_WARNING": "1"}

PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PACKAGES = nox.project.dependency_groups(PROJECT, "book")
OLDEST = PROJECT["project"]["requires-python"].removeprefix(">=").rpartition(".")[0]
PINS = ROOT / "constraints.txt"
# One file of tests stays on one worker: its fixtures cost more than its tests.
WORKERS = ["-n", "logical", "--dist", "loadscope"]


def fingerprint() -> str:
    """Hash what the environment is made from."""
    made_from = (sys.version, PACKAGES, PINS.read_text("utf-8"))
    return hashlib.sha256(repr(made_from).encode()).hexdigest()


@nox.session(venv_backend="none")
def book(session):
    """Make the one environment of the project (three minutes, once)."""
    VENV.parent.mkdir(exist_ok=True)
    with FileLock(VENV.with_suffix(".lock")):  # two at once: the second one waits
        if STAMP.exists() and STAMP.read_text() == fingerprint():
            return
        if not STAMP.exists():
            shutil.rmtree(VENV, ignore_errors=True)  # one that is half made
            session.run(sys.executable, "-m", "virtualenv", "--quiet", str(VENV))
        STAMP.unlink(missing_ok=True)
        quiet = ("install", "--quiet", "-c", str(PINS))
        python(session, "-m", "pip", *quiet, *PACKAGES)
        STAMP.write_text(fingerprint())


def python(session, *args, **env):
    """Run a module of the environment `book`, from the repository root."""
    # what is stopped cleans up after itself: that takes some seconds
    patience = {"interrupt_timeout": 20, "terminate_timeout": 20}
    session.run(str(PYTHON), *args, env={**ENV, **env}, external=True, **patience)


def command(session, name, *args):
    """Run a command of the environment `book` that is no Python module."""
    session.run(str(PYTHON.with_stem(name)), *args, external=True)


def of_workflows(session, name):
    """Run a command on each workflow by name: in a ZIP, without Git, it finds none."""
    command(session, name, *map(str, sorted(ROOT.glob(".github/workflows/*.yml"))))


def use_book(function):
    """Make a session of a function that runs in the environment `book`."""
    return nox.session(venv_backend="none", requires=["book"])(function)


@use_book
def docs(session):
    """Run the labs and build both languages into site/."""
    python(session, "-m", "tools.press.build", *session.posargs)


@use_book
def labs(session):
    """Run labs: `nox -s labs -- lstm gru --device cuda`."""
    python(session, "-m", "tools.labs", *session.posargs)


@use_book
def again(session):
    """Run labs twice: what differs, times apart, is random or depends on the hour."""
    python(session, "-m", "tools.labs.again", *session.posargs)


@use_book
def browser(session):
    """Look for the browser that tests of the site drive, or install one."""
    python(session, "tests/find_browser.py")


@use_book
def tests(session):
    """Run tests; words after `--` go to pytest."""
    if not session.posargs:
        python(session, "tests/find_browser.py")
        python(session, "-m", "tools.press.build")
    python(session, "-m", "pytest", *(session.posargs or WORKERS))


@use_book
def lint(session):
    """Check sources: the house's rules, style, Chinese typography, workflows."""
    failed = []
    for run, *check in (
        (python, "-m", "tools.check"),
        (python, "-m", "ruff", "check", "."),
        (python, "-m", "ruff", "format", "--check", "."),
        (command, "zizmor", "--offline", "--quiet", "--pedantic", ".github"),
        (of_workflows, "actionlint"),
    ):
        try:
            run(session, *check)
        except CommandFailed:
            failed.append(" ".join(check).removeprefix("-m "))
    python(session, "-m", "tools.check.unread")  # to know, not to fail
    if failed:
        session.error(f"not passed: {', '.join(failed)}; for ruff: nox -s fix")


@use_book
def fix(session):
    """Mend the style of Python files, as far as a program can."""
    python(session, "-m", "ruff", "check", "--fix", ".")
    python(session, "-m", "ruff", "format", ".")


@use_book
def new(session):
    """Lay out the five files of a new architecture: `nox -s new -- mingru`."""
    python(session, "-m", "tools.craft.new", *session.posargs)


@use_book
def accept(session):
    """Say that both languages of a page were read and agree: `nox -s accept -- gru`."""
    python(session, "-m", "tools.check.accepted", *session.posargs)


@use_book
def mutants(session):
    """Change one token at a time and list what the tests did not notice."""
    python(session, "-m", "tools.craft.mutants", *session.posargs)


@use_book
def serve(session):
    """Preview with live reload; `nox -s serve -- gru` runs only the labs it needs."""
    python(session, "-m", "tools.press.preview", *session.posargs)


@use_book
def bench(session):
    """Print what pages cost their readers, and what a build costs us."""
    python(session, "tests/find_browser.py")
    python(session, "-m", "tools.press.build")
    python(session, "-m", "pytest", "tests/site/bench.py")
    python(session, "-m", "pytest", "tests/bench.py")
    python(session, "-m", "tools.craft.bench")


@use_book
def gpu(session):
    """Test code and claims on CUDA, publish nothing: `nox -s gpu -- lstm`."""
    named = [f"tests/test_{stem}.py" for stem in session.posargs]
    python(session, "-c", "import torch; torch.ones(1, device='cuda')")
    python(session, "-m", "pytest", "-k", "cuda", *named)
    python(session, "-m", "tools.labs", "--device", "cuda", *session.posargs)


@nox.session(python=OLDEST, reuse_venv=True)
def minimums(session):
    """Test the snippets, slow tests left out, on the oldest Python and torch."""
    [torch] = PROJECT["project"]["dependencies"]
    pins = Path(session.create_tmp(), "constraints.txt")
    lines = PINS.read_text("utf-8").splitlines(keepends=True)
    pins.write_text("".join(x for x in lines if not x.startswith("torch==")), "utf-8")
    tests = nox.project.dependency_groups(PROJECT, "tests")
    session.install("-c", str(pins), torch.replace(">=", "==") + ".*", *tests)
    named = [f"tests/test_{path.stem}.py" for path in ROOT.glob("snippets/*.py")]
    session.run("pytest", "-m", "not slow", *(session.posargs or named), env=ENV)


@nox.session
def newest(session):
    """Build the book and test it with the newest version of everything."""
    session.install(*PACKAGES)
    session.run("python", "tests/find_browser.py", env=ENV)
    session.run("python", "-m", "tools.press.build", env=ENV)
    session.run("python", "-m", "pytest", *WORKERS, env=ENV)


@nox.session(python=OLDEST)
def pin(session):
    """Renew constraints.txt: the newest versions that fit the oldest Python."""
    report = Path(session.create_tmp(), "report.json")
    resolve = ["pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    session.run(*resolve, "--report", str(report), *PACKAGES)
    found = json.loads(report.read_text("utf-8"))["install"]
    pins = {item["metadata"]["name"]: item["metadata"]["version"] for item in found}
    lines = [
        f"{name}=={pins[name].partition('+')[0]}\n"  # without +cpu, +cu130
        for name in sorted(pins, key=str.lower)
        if not name.startswith(("cuda-", "nvidia-", "triton"))  # torch pins them
    ]
    PINS.write_text("".join(lines), "utf-8")
