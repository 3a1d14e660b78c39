"""The workflows keep to what their sessions, pins, rights and time limits promise."""

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted(ROOT.glob(".github/workflows/*.y*ml"))
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def sessions() -> set[str]:
    """The functions of the noxfile that a decorator makes sessions."""
    tree = ast.parse((ROOT / "noxfile.py").read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return {function.name for function in functions if function.decorator_list}


def jobs(workflow: Path) -> dict[str, dict]:
    return yaml.safe_load(workflow.read_text("utf-8"))["jobs"]


def steps(workflow: Path) -> list[dict]:
    return [step for job in jobs(workflow).values() for step in job.get("steps", [])]


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.stem)
def workflow(request):
    return request.param


def test_sessions_exist():
    commands = [step.get("run", "") for path in WORKFLOWS for step in steps(path)]
    named = set(re.findall(r"\bnox -s ([\w-]+)", "\n".join(commands)))
    assert {"lint", "docs", "tests", "gpu", "minimums", "newest", "again"} <= named
    assert named <= sessions()


def test_python_runs_by_nox_alone(workflow):
    for step in steps(workflow):
        command = step.get("run", "").removeprefix("python -m pip install nox")
        assert not re.search(r"^(python3?|pip|pytest|mkdocs) ", command, re.M), command


def test_a_change_of_a_snippet_meets_its_mutants():
    job = jobs(ROOT / ".github/workflows/check.yml")["mutants"]
    commands = [step.get("run", "") for step in job["steps"]]
    assert "nox -s mutants -- --since HEAD^" in commands
    assert job["steps"][0]["with"]["fetch-depth"] == 2, "HEAD^ is not there else"


def test_actions_are_pinned_by_commit(workflow):
    for line in workflow.read_text("utf-8").splitlines():
        _, found, action = line.partition("uses: ")
        if found and not action.startswith("$/"):  # of this repository
            assert PINNED.fullmatch(action), line


def test_rights_are_granted_job_by_job(workflow):
    assert yaml.safe_load(workflow.read_text("utf-8"))["permissions"] == {}
    for name, job in jobs(workflow).items():
        assert isinstance(job["permissions"], dict), name


def test_checkout_keeps_no_credentials(workflow):
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False, step


def test_jobs_have_a_time_limit(workflow):
    for name, job in jobs(workflow).items():
        assert "timeout-minutes" in job or "uses" in job, name  # a call has its own


def test_odd_machines_are_tried():
    """Debian 12, the line ends of Windows, a ZIP without Git, a path with a space."""
    path = ROOT / ".github/workflows/check.yml"
    containers = {job.get("container") for job in jobs(path).values()}
    assert "debian:12" in containers
    commands = "\n".join(step.get("run", "") for step in steps(path))
    for part in ("core.autocrlf=true", "git archive HEAD", "新 书", "Python 3.11.2 is"):
        assert part in commands, part


def test_code_of_a_change_meets_no_right_to_write():
    """What a pull request may start can only read; what can write takes no code."""
    for path in WORKFLOWS:
        document = yaml.safe_load(path.read_text("utf-8"))
        events = set(document[True])  # YAML 1.1 reads `on` as true
        assert "pull_request_target" not in events, path
        for name, job in document["jobs"].items():
            if "pull_request" in events:
                assert set(job["permissions"].values()) <= {"read"}, f"{path}: {name}"
            if "write" in job["permissions"].values():
                used = [step.get("uses", "") for step in job["steps"]]
                assert not [u for u in used if "checkout" in u], f"{path}: {name}"
            assert "secrets" not in str(job), f"{path}: {name}"
