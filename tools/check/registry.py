"""The rules of the checker: each is a function that names what it looks at.

A new rule is a function below `@rule(…)` in any file of this folder: nothing lists it.
It is given one of these subjects, and the house:

- `prose`: a Prose, that is a page or a Markdown cell of a lab; `page` or `cell`: one
  of the two; `twins`: a list of these, the same text in every language;
- `snippet`, `lab`, `test`: a Python, `drawing`: a Drawing, see `tools/check/source.py`;
- `house`: the house alone, and `file` too, before anything else is read: of a file that
  cannot be read nothing else can be said.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

from tools.core.house import Fault

Faults = Iterator[tuple[int, str]]  # line and message, of a subject that is one file
Found = Iterator[Fault]  # of the house and of twins, which are several files

SUBJECTS = set("file house snippet lab test drawing prose page cell twins".split())
RULES: dict[str, list[Callable]] = defaultdict(list)


def rule(*subjects: str) -> Callable[[Callable], Callable]:
    """Make a function a rule for these subjects; its docstring says what is wrong."""

    def register(function: Callable) -> Callable:
        for subject in subjects:
            if subject not in SUBJECTS or not function.__doc__:
                raise ValueError(f"{function.__name__}: a known subject, a docstring")
            RULES[subject].append(function)
        return function

    return register


@cache
def rules(subject: str) -> list[Callable]:
    """Give the rules for a subject, from all files of this folder."""
    for path in sorted(Path(__file__).parent.glob("[!_]*.py")):
        import_module(f"tools.check.{path.stem}")
    return RULES[subject]
