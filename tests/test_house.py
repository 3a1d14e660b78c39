"""Every rule of the house that a program can check, on the book itself."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tools.check.run import check
from tools.check.snippets import AXES
from tools.core.front_matter import waits
from tools.core.house import House
from tools.core.languages import DEFAULT, LANGUAGES, page_files
from tools.core.palette import VARIABLES

ROOT = Path(__file__).parent.parent
SNIPPETS = sorted(ROOT.glob("snippets/[!_]*.py"))
TOOLS = sorted(ROOT.glob("tools/*/*.py"))
LABS = sorted(ROOT.glob("docs/lab/[!_]*.py"))
OURS = {"snippets", "docs", "tools", "tests"}

# Runs main alone and tells what it did to the world around it.
ALONE = """
import json, runpy, sys, torch
main = runpy.run_path(sys.argv[1])["main"]
torch.set_num_threads(1)
losses = [main(steps=3, seed=seed, device="cpu") for seed in (0, 0, 1)]
more = main(steps=4, seed=0, device="cpu")
print(json.dumps([*losses, more]))
"""


# Runs the file as a reader does. It trains in under 10 CPU seconds on a machine that
# has nothing else to do; a busy one takes several times that.
TRAIN = """
import runpy, sys, time
runpy.run_path(sys.argv[1], run_name="__main__")
seconds = time.process_time()
sys.exit(f"{seconds:.0f} CPU seconds" if seconds > 45 else 0)
"""


def run_alone(code: str, snippet: str, folder: Path) -> subprocess.CompletedProcess:
    """Run code about a snippet in its folder, apart from the book and its settings."""
    command = [sys.executable, "-I", "-W", "error", "-c", code, snippet]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


def test_the_sources_have_no_fault():
    faults = check(ROOT)
    assert not faults, "\n" + "\n".join(map(str, faults))


@pytest.mark.parametrize("language", LANGUAGES)
def test_notation_lists_the_letters_that_the_checker_knows(language):
    text = (ROOT / f"docs/{language}/notation.md").read_text("utf-8")
    section = text.partition("{#axes}")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([A-Z])` \| ([^|]+) \|", section, re.M))
    assert rows == AXES


def test_every_page_was_accepted_in_both_languages():
    """Without the lock the checker could not tell that one language moved alone."""
    lock = (ROOT / "docs/translations.lock").read_text("utf-8")
    accepted = set(re.findall(r"^(\w+)#", lock, re.M))
    house = House(ROOT)
    names = {path.name for path in page_files(ROOT)}
    wanted = {name.removesuffix(".md") for name in names if not waits(house, name)}
    assert accepted == wanted, "nox -s accept -- <page> for what is on one side only"


@pytest.fixture(scope="module", params=SNIPPETS, ids=lambda path: path.stem)
def alone(request, tmp_path_factory):
    """What a snippet prints and returns in an empty folder, far from the book."""
    folder = tmp_path_factory.mktemp(request.param.stem)
    copy = folder / request.param.name
    copy.write_bytes(request.param.read_bytes())
    done = run_alone(ALONE, copy.name, folder)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert [path.name for path in folder.iterdir()] == [copy.name], "it left files"
    *lines, last = done.stdout.splitlines()
    return lines, json.loads(last)


def test_main_prints_one_line(alone):
    lines, returned = alone
    assert len(lines) == len(returned), lines


def test_main_returns_its_losses(alone):
    _, (losses, _, _, more) = alone
    assert all(isinstance(loss, float) for loss in losses + more)
    assert (len(losses), len(more)) == (3, 4)
    assert more[:3] == losses, "a step more changes the steps before"


def test_main_follows_its_seed(alone):
    _, (first, again, other, _) = alone
    assert first == again
    assert first != other


@pytest.mark.slow
@pytest.mark.parametrize("path", SNIPPETS, ids=lambda path: path.stem)
def test_a_snippet_runs_as_its_docstring_says(path, tmp_path):
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    run = re.search(r"^Run: python (\S+)$", path.read_text("utf-8"), re.M)
    assert run and run[1] == path.name
    done = run_alone(TRAIN, path.name, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, done.stdout


def imports(path: Path) -> set[str]:
    """The rooms of the house that a file imports from."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            found.add(node.module.partition(".")[0])
    return found & OURS


@pytest.mark.parametrize(
    "files, allowed",
    [("snippets/**", set()), ("docs/**", {"snippets"}), ("tools/*", {"tools"})],
)
def test_arrows_point_one_way(files, allowed):
    for path in ROOT.glob(f"{files}/*.py"):
        assert imports(path) <= allowed, path


# What each room of tools/ may import besides itself; build joins them all.
ROOMS = {
    "core": set(),
    "labs": {"core"},
    "check": {"core"},
    "press": {"core", "labs"},
    "craft": {"core", "labs", "check", "press"},
}


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_point_one_way_inside_the_tools(room):
    assert {path.parent.name for path in ROOT.glob("tools/*/__init__.py")} == {*ROOMS}
    for path in ROOT.glob(f"tools/{room}/*.py"):
        text = path.read_text("utf-8")
        found = {*re.findall(r"^\s*(?:from|import) tools\.(\w+)", text, re.M)}
        more = {"check"} if path.name == "build.py" else set()
        assert found <= {room} | ROOMS[room] | more, path


def test_a_test_reads_only_the_snippet_of_its_stem():
    for path in SNIPPETS:
        test = ROOT / "tests" / f"test_{path.stem}.py"
        text = test.read_text("utf-8")
        assert set(re.findall(r"\bsnippets(?:\.| import )(\w+)", text)) == {path.stem}


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_language_is_a_row_a_folder_and_a_file_of_mkdocs(code):
    language = LANGUAGES[code]
    assert (ROOT / f"docs/{code}/index.md").is_file()
    assert f"language: {code}\n" in (ROOT / language.config).read_text("utf-8")
    assert language.address == ("" if code == DEFAULT else f"{code}/")
    assert language.verdicts.keys() == LANGUAGES[DEFAULT].verdicts.keys()


# The table, and rules for what Chinese is: its typography, its words for terms.
ABOUT_A_LANGUAGE = {"core/languages.py", "check/chinese.py", "check/terms.py"}
LANGUAGE = re.compile(r"""["'/.](?:zh|en)["'/.]|\[ez\]""")


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.stem)
def test_no_language_is_named_outside_its_row(path):
    named = LANGUAGE.findall(path.read_text("utf-8"))
    about = path.relative_to(ROOT / "tools").as_posix() in ABOUT_A_LANGUAGE
    assert bool(named) == about


def test_the_style_sheet_gives_each_colour_of_figures_for_both_schemes():
    css = (ROOT / "overrides/assets/stylesheets/book.css").read_text("utf-8")
    given = re.findall(r"--fig-(\w+): #", css)
    assert sorted(given) == sorted([*VARIABLES, *VARIABLES])


# What tells a newcomer about files: each that it names is there.
GUIDES = [
    *("README.md", "README.zh.md", "CONTRIBUTING.md", "noxfile.py", "pyproject.toml"),
    *(f"docs/{code}/contributing.md" for code in LANGUAGES),
]
FILE = re.compile(r"\b(?:docs|overrides|snippets|tests|tools)/[\w/-]+\.\w+\b")


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_names_only_files_that_are_there(guide):
    text = (ROOT / guide).read_text("utf-8")
    assert [name for name in FILE.findall(text) if not (ROOT / name).is_file()] == []


def test_every_guide_names_the_oldest_python():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    silent = [x for x in GUIDES if oldest not in (ROOT / x).read_text("utf-8")]
    assert silent == ["CONTRIBUTING.md"]  # which sends its readers to the guide


def test_folders_are_flat():
    rooms = ["snippets", "docs/lab", "docs/drawings"]
    for room in rooms + [f"docs/{code}" for code in LANGUAGES]:
        inside = [p for p in (ROOT / room).iterdir() if p.is_dir()]
        assert [p.name for p in inside if p.name[0] not in "._"] == []


def told_by_git() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


def told_by_the_disk() -> list[str]:
    """The same from what `.gitignore` says of folders, for a ZIP of the project."""
    ignored, names = {*(ROOT / ".gitignore").read_text("utf-8").split()}, []
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        paths = {name: f"/{(here / name).as_posix()}/" for name in folders}
        folders[:] = [x for x in folders if not {f"{x}/", paths[x]} & ignored]
        names += [(here / file).as_posix() for file in files]
    return names


def tracked() -> list[Path]:
    """The files of the repository: text, and not what it ignores."""
    names = told_by_git() if (ROOT / ".git").exists() else told_by_the_disk()
    paths = [ROOT / name for name in names]
    return [p for p in paths if p.is_file() and b"\0" not in p.read_bytes()]


def test_a_zip_has_the_files_of_the_repository_and_not_what_is_made():
    names = {*told_by_the_disk()}
    assert not [x for x in names if x.startswith(("build/", "site/", ".nox/"))]
    if (ROOT / ".git").exists():
        assert {*told_by_git()} <= names


# Written in halves, so that this file does not hold what it looks for.
MACHINE = re.compile(
    r"(?<![\w.~])/(?:ho"
    r"me|ro"
    r"ot|wo"
    r"rk|Us"
    r"ers|mn"
    r"t)/\w"
    r"|[A-Z]:\\\\?Us"
    r"ers\\|file:/"
    r"//"
)
REGISTRY = re.compile(r"(?:index-u" r"rl|find-l" r"inks|trusted-h" r"ost)[ =]+(\S+)")
PUBLIC = ("https://download.pytorch.org/whl/",)


def test_no_text_holds_a_path_of_a_machine_or_the_host_of_a_registry():
    found = []
    for path in tracked():
        text = path.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            host = REGISTRY.search(line)
            if MACHINE.search(line) or host and not host[1].startswith(PUBLIC):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found, "\n" + "\n".join(found)


def test_lines_end_alike_on_every_machine(tmp_path):
    """A clone that would write CR LF, as git on Windows may, writes the same bytes."""
    assert "* text=auto eol=lf\n" in (ROOT / ".gitattributes").read_text("utf-8")
    if not shutil.which("git"):
        return  # nobody to clone it
    clone = tmp_path / "clone"
    git = ["git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    subprocess.run([*git, "init", "--quiet", clone], check=True)
    names = {".gitattributes", "README.md", "docs/lab/gru.py", ".github/screenshot.png"}
    for name in names:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_bytes((ROOT / name).read_bytes())
    subprocess.run([*git, "add", "."], cwd=clone, check=True, capture_output=True)
    for name in names - {".gitattributes"}:
        (clone / name).unlink()
    subprocess.run([*git, "checkout", "--quiet", "."], cwd=clone, check=True)
    for name in names:
        assert (clone / name).read_bytes() == (ROOT / name).read_bytes(), name


@pytest.mark.parametrize("version", [(3, 10, 14), (3, 11, 2), (3, 11, 4), (3, 11, 5)])
def test_an_old_python_is_stopped_with_one_line(version):
    """A stand-in for nox is enough: the noxfile looks at Python before anything."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    oldest = project["requires-python"].removeprefix(">=")
    code = f"import sys; sys.version_info = {version}; sys.modules['nox'] = None\n"
    command = [sys.executable, "-c", code + (ROOT / "noxfile.py").read_text("utf-8")]
    said = subprocess.run(command, capture_output=True, text=True).stderr
    if ".".join(map(str, version)) == oldest:
        assert "import of nox halted" in said  # it went on
    else:
        assert f"install {oldest} or newer" in said
        assert len(said.splitlines()) == 1, said


def test_what_is_made_is_not_committed():
    ignored = (ROOT / ".gitignore").read_text().split()
    assert {"build", "site"} <= {name.strip("/") for name in ignored}
    assert not [p for p in tracked() if p.suffix in {".ipynb", ".woff", ".woff2"}]
