"""Every command of the project: `nox -s docs` builds, `nox -s tests` proves."""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.default_venv_backend = "virtualenv"

ROOT = Path(__file__).parent
VENV = ROOT / ".nox" / "book"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "complete"  # holds what was installed; absent while half made
# Tiny recurrent steps run many times slower on two threads than on one.
ENV = {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", "NO_MKDOCS_2_WARNING": "1"}


PACKAGES = nox.project.dependency_groups(
    nox.project.load_toml(ROOT / "pyproject.toml"), "book"
)


def fingerprint() -> str:
    """What the environment is made from."""
    pins = (ROOT / "constraints.txt").read_text("utf-8")
    return hashlib.sha256(repr((sys.version, PACKAGES, pins)).encode()).hexdigest()


if VENV.exists() and not STAMP.exists():
    shutil.rmtree(VENV)  # a half-made environment is made again


@nox.session(reuse_venv=True)
def book(session):
    """Make the one environment of the project (three minutes, once)."""
    if STAMP.exists() and STAMP.read_text() == fingerprint():
        return
    STAMP.unlink(missing_ok=True)
    session.install("-c", "constraints.txt", *PACKAGES)
    STAMP.write_text(fingerprint())


def python(session, *args, **env):
    """Run a module of the environment `book`, from the repository root."""
    session.run(str(PYTHON), *args, env={**ENV, **env}, external=True)


def use_book(function):
    return nox.session(venv_backend="none", requires=["book"])(function)


@use_book
def docs(session):
    """Run the labs and build both languages into site/."""
    python(session, "-m", "tools.build", *session.posargs)


@use_book
def labs(session):
    """Run labs: `nox -s labs -- lstm gru --device cuda`."""
    python(session, "-m", "tools.labs", *session.posargs)


@use_book
def tests(session):
    """Run tests; words after `--` go to pytest."""
    if not session.posargs:
        python(session, "-m", "tools.build")
    python(session, "-m", "pytest", *session.posargs)


@use_book
def lint(session):
    """Check sources: the house's rules, style, Chinese typography."""
    python(session, "-m", "tools.check")
    python(session, "-m", "ruff", "check", ".")
    python(session, "-m", "ruff", "format", "--check", ".")


@use_book
def new(session):
    """Lay out the five files of a new architecture: `nox -s new -- mingru`."""
    python(session, "-m", "tools.new", *session.posargs)


@use_book
def accept(session):
    """Say that both languages of a page were read and agree: `nox -s accept -- gru`."""
    python(session, "-m", "tools.instep", *session.posargs)


@use_book
def mutants(session):
    """Change one token at a time and list what the tests did not notice."""
    python(session, "-m", "tools.mutants", *session.posargs)


@use_book
def serve(session):
    """Preview both languages with live reload."""
    python(session, "-m", "tools.labs")
    python(session, "-m", "mkdocs", "serve", "--dirty", *session.posargs)
