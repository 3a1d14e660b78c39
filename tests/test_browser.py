"""The browser of the site's tests is found under every name, or asked for in a line."""

import find_browser
import pytest


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without a browser; returns where programs lie."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(find_browser.VARIABLE, raising=False)
    monkeypatch.setattr(find_browser, "FOLDERS", (f"{tmp_path}/Programs",))
    monkeypatch.setattr(find_browser, "playwrights_own", lambda: None)
    monkeypatch.setattr(find_browser, "install", lambda: None)
    return tmp_path


def program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o755)
    return str(path)


@pytest.mark.parametrize("name", find_browser.NAMES)
def test_a_browser_is_found_by_its_name(bare, name):
    assert find_browser.find() is None
    path = program(bare / name)
    assert find_browser.find() == path


@pytest.mark.parametrize("place", find_browser.PLACES)
def test_a_browser_is_found_where_programs_lie(bare, place):
    path = program(bare / "Programs" / place)
    assert find_browser.find() == path


def test_playwrights_own_comes_last(bare, monkeypatch):
    monkeypatch.setattr(find_browser, "playwrights_own", lambda: "own")
    assert find_browser.find() == "own"
    path = program(bare / "msedge")
    assert find_browser.find() == path


def test_the_variable_comes_first(bare, monkeypatch):
    program(bare / "chromium")
    path = program(bare / "my browser")
    monkeypatch.setenv(find_browser.VARIABLE, path)
    assert find_browser.find() == path
    monkeypatch.setenv(find_browser.VARIABLE, f"{path} of old")
    assert find_browser.find() is None


def test_what_was_installed_is_used(bare, monkeypatch):
    monkeypatch.setattr(find_browser, "install", lambda: program(bare / "chromium"))
    find_browser.main()


def test_without_a_browser_one_line_says_what_to_do(bare, monkeypatch):
    with pytest.raises(SystemExit, match="apt-get install chromium.*BROWSER_PATH"):
        find_browser.main()
    monkeypatch.setenv(find_browser.VARIABLE, "nowhere")
    monkeypatch.setattr(find_browser, "install", lambda: pytest.fail("asked for one"))
    with pytest.raises(SystemExit, match="or name one in BROWSER_PATH"):
        find_browser.main()
