"""What a lab hands over: its results, and what becomes of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.labs.again import TIMES, differences
from tools.labs.records import check_results
from tools.labs.run import run

ROOT = Path(__file__).parent.parent

# fmt: off
BAD = {
    "no dict": ([1], "`results` must be a dict"),
    "nothing": ({}, "at least one entry"),
    "a number as key": ({1: 1}, "results[1]: a key is a plain name"),
    "a key in words": ({"a b": 1}, "results['a b']: a key is a plain name"),
    "bool": ({"a": True}, "results['a'] is or holds True: write 0 or 1, or a verdict"),
    "bool in a list": ({"a": [1, False]}, "results['a'] is or holds False"),
    "empty list": ({"a": []}, "results['a'] is an empty list, leave it out"),
    "tuple": ({"a": (1, 2)}, "a number, a string or a list of these, not tuple"),
    "list in a list": ({"a": [[1]]}, "not list"),
    "None": ({"a": None}, "not NoneType"),
    "NaN": ({"a": float("nan")}, "results['a'] is or holds nan"),
    "infinity": ({"a": [float("inf")]}, "results['a'] is or holds inf"),
}
# fmt: on


@pytest.mark.parametrize("results, message", BAD.values(), ids=BAD)
def test_results_that_no_page_could_print(results, message):
    with pytest.raises(ValueError) as error:
        check_results(results)
    assert message in str(error.value)


def test_plain_results_are_taken():
    check_results({"gap_2": 0.5, "n": 5, "claim": "holds", "each": [1, 2.0, "x"]})


def test_whatever_goes_wrong_is_told_in_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space\nleft on device")

    (tmp_path / "docs/lab").mkdir(parents=True)
    (tmp_path / "docs/lab/one.py").write_text("results = {'a': 1}\n", "utf-8")
    monkeypatch.setattr("tools.labs.run.execute", full)
    outcome = run("one", "cpu", 60, tmp_path)
    said = "docs/lab/one.py:1: OSError: [Errno 28] No space left on device"
    assert (outcome.state, outcome.error) == ("failed", said)


LABS = """
from pathlib import Path
from tools.core.stopping import stoppable
from tools.labs.run import run_all

with stoppable():
    run_all(["one", "two", "three"], root=Path("{}"))
"""


@pytest.mark.parametrize("sent, code", [("SIGINT", 130), ("SIGTERM", 143)])
def test_labs_end_when_they_are_told_to_once(tmp_path, sent, code):
    temporary = tmp_path / "temporary"
    for folder in (temporary, tmp_path / "docs/lab"):
        folder.mkdir(parents=True)
    for stem in ("one", "two", "three"):
        text = "# %%\nopen('begun', 'w')\nimport time\ntime.sleep(3141)\n"
        (tmp_path / f"docs/lab/{stem}.py").write_text(text, "utf-8")
    command = [sys.executable, "-c", LABS.format(tmp_path)]
    options = dict(cwd=ROOT, env=os.environ | {"TMPDIR": str(temporary)}, text=True)
    labs = subprocess.Popen(command, stderr=subprocess.PIPE, **options)
    while len(list(temporary.glob("*/begun"))) < 2:
        assert labs.poll() is None, labs.stderr.read()
        time.sleep(0.1)
    labs.send_signal(getattr(signal, sent))
    _, errors = labs.communicate(timeout=30)
    assert labs.returncode == code and "Traceback" not in errors, errors
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    "now, said",
    [
        ({"a": 1.0, "fast": 9.0, "b": [1, 2.0]}, []),
        ({"a": 1.0 + 1e-12, "fast": 1.0, "b": [1, 2.0]}, []),
        ({"a": 1.001, "fast": 1.0, "b": [1, 2.0]}, ["a was 1.0, now 1.001"]),
        ({"a": 1.0, "fast": 1.0, "b": [1]}, ["b was [1, 2.0], now [1]"]),
        ({"fast": 1.0, "b": [1, 2.0]}, ["a was 1.0, now None"]),
        ({"a": 1.0, "b": [1, 2.0], "c": "holds"}, ["c was None, now holds"]),
    ],
)
def test_a_second_run_may_differ_in_times_alone(now, said, monkeypatch):
    monkeypatch.setitem(TIMES, "one", ("fast",))
    before = {"a": 1.0, "fast": 1.0, "b": [1, 2.0]}
    assert differences("one", before, now) == said


def test_every_time_is_a_result_of_its_lab():
    for stem, keys in TIMES.items():
        text = (ROOT / f"docs/lab/{stem}.py").read_text("utf-8")
        assert [key for key in keys if f'"{key}"' not in text] == []
