"""The built site under a path prefix, and one browser for all tests of it."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from built import LABS, LANGUAGES, SITE, WATCH_SHIFT, addresses
from find_browser import REMEDY, find
from playwright.sync_api import sync_playwright

from tools.press.partial import NOTE


def pytest_generate_tests(metafunc):
    # Without a site the tests run once each, and fail in the fixture `site`.
    if "address" in metafunc.fixturenames:
        metafunc.parametrize("address", addresses() or ["nothing-built/"])
    if "lab" in metafunc.fixturenames:
        metafunc.parametrize("lab", LABS or ["no-lab"])
    if "language" in metafunc.fixturenames:
        metafunc.parametrize("language", LANGUAGES)


def pytest_collection_modifyitems(config, items):
    """Ask for a browser before any test runs, if one of them will need it."""
    if hasattr(config, "workerinput") or find():
        return
    if any("browser" in item.fixturenames for item in items):
        pytest.exit(REMEDY, returncode=2)


@pytest.fixture(scope="session")
def site() -> Path:
    if not (SITE / "index.html").is_file():
        pytest.fail("there is no built site: run `nox -s docs`", pytrace=False)
    if (SITE / NOTE).is_file():
        pytest.fail("only some labs were run, run `nox -s docs`", pytrace=False)
    return SITE


@pytest.fixture(scope="session")
def soup(site):
    """Parsed pages: `soup("gru/")`."""

    @functools.cache
    def parse(address: str) -> BeautifulSoup:
        text = (site / address / "index.html").read_text("utf-8")
        return BeautifulSoup(text, "html.parser")

    return parse


@pytest.fixture(scope="session")
def base(site, tmp_path_factory):
    """Address of the served site, which lies under a path prefix."""
    root = tmp_path_factory.mktemp("served")
    (root / "book").symlink_to(site)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=root)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/book/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser(site):
    path = find()
    if path is None:  # on a worker of pytest-xdist, which cannot stop the others
        pytest.fail(REMEDY, pytrace=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                "--no-sandbox",
                "--default-tile-width=2048",  # or wide braces are cut on pictures
                "--default-tile-height=2048",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, base):
    """`open_page("en/gru/", color_scheme="dark")`: a page in a fresh profile."""
    contexts = []

    def open_(address: str, width=1280, **options):
        viewport = {"width": width, "height": 900}
        contexts.append(browser.new_context(viewport=viewport, **options))
        contexts[-1].set_default_timeout(15_000)
        page = contexts[-1].new_page()
        page.goto(base + address)
        return page

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def visit(browser, base):
    """What one visit of a page shows, made once for all tests that ask."""

    @functools.cache
    def visit_(address: str, width: int) -> dict:
        viewport = {"width": width, "height": 900}
        context = browser.new_context(viewport=viewport)
        context.add_init_script(WATCH_SHIFT)
        page = context.new_page()
        seen = {"requests": [], "errors": [], "bad": []}
        page.on("request", lambda r: seen["requests"].append(r.url))
        page.on(
            "console", lambda m: m.type == "error" and seen["errors"].append(m.text)
        )
        page.on("pageerror", lambda e: seen["errors"].append(str(e)))
        page.on("response", lambda r: r.status >= 400 and seen["bad"].append(r.url))
        page.goto(base + address, wait_until="networkidle")
        page.evaluate("document.fonts.ready.then(() => null)")
        page.evaluate("new Promise(r => requestAnimationFrame(() => setTimeout(r)))")
        seen["shift"] = page.evaluate("window.shift")
        seen |= page.evaluate(LOOK)
        context.close()
        return seen

    return visit_


# Fonts, formulas, and what sticks out of the page; folded answers are opened first.
LOOK = """() => {
  const look = {};
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  dispatchEvent(new Event("resize"));
  return new Promise(done => setTimeout(() => {
    look.width = Math.max(
      document.documentElement.scrollWidth, document.body.scrollWidth);
    const scrolls = element => {
      for (let e = element; e && !e.matches(".md-content"); e = e.parentElement)
        if (["auto", "scroll"].includes(getComputedStyle(e).overflowX)) return true;
      return false;
    };
    look.wide = [...document.querySelectorAll(".md-content *, .md-footer *")]
      .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !scrolls(e))
      .map(e => e.outerHTML.slice(0, 120));
    look.fonts = [...document.fonts].map(f => [f.family.replaceAll('"', ""), f.status]);
    const formulas = [...document.querySelectorAll("math")];
    look.formulas = formulas.length;
    look.flat = formulas.filter(m => !m.getBoundingClientRect().height)
      .map(m => m.outerHTML.slice(0, 120));
    const copy = document.querySelector("article").cloneNode(true);
    copy.querySelectorAll("code, pre, script, style").forEach(e => e.remove());
    look.text = copy.textContent;
    done(look);
  }, 100));
}"""
