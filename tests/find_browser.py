"""Find the browser that tests of the site drive; `python tests/find_browser.py`.

Where there is none it is installed, if that needs no password.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

VARIABLE = "BROWSER_PATH"
NAMES = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
    "msedge",
    "microsoft-edge",
    "microsoft-edge-stable",
)
# What macOS and Windows leave out of PATH: where programs lie, and names in there.
FOLDERS = (
    "/Applications",
    "~/Applications",
    "${PROGRAMFILES}",
    "${PROGRAMFILES(X86)}",
    "${LOCALAPPDATA}",
)
PLACES = (
    "Chromium.app/Contents/MacOS/Chromium",
    "Google Chrome.app/Contents/MacOS/Google Chrome",
    "Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "Chromium/Application/chrome.exe",
    "Google/Chrome/Application/chrome.exe",
    "Microsoft/Edge/Application/msedge.exe",
)
REMEDY = (
    "there is no browser: install Chromium, Chrome or Edge "
    f"(on Debian `apt-get install chromium`), or name one in {VARIABLE}"
)


def find() -> str | None:
    """The path of a browser that Playwright can drive, or None."""
    if VARIABLE in os.environ:
        return shutil.which(os.environ[VARIABLE])
    folders = [os.path.expanduser(os.path.expandvars(f)) for f in FOLDERS]
    places = [os.path.join(folder, place) for folder in folders for place in PLACES]
    found = filter(None, map(shutil.which, (*NAMES, *places)))
    return next(found, None) or playwrights_own()


def playwrights_own() -> str | None:
    """The browser that `playwright install chromium` leaves, if it is there."""
    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).is_file() else None


def install() -> None:
    """Install a browser as root from Debian, else for this user from Playwright."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        packages = ["chromium", "fonts-noto-cjk"]  # with the font of screenshots
        run("apt-get", "update", "-qq")
        run("apt-get", "install", "-y", "-qq", *packages)
    else:
        run(sys.executable, "-m", "playwright", "install", "chromium")


def run(*command: str) -> None:
    """Run quietly; whether it helped is seen by looking for the browser again."""
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(command, env=env, capture_output=True, stdin=subprocess.DEVNULL)


def main() -> None:
    if find() is None and VARIABLE not in os.environ:
        print("there is no browser, trying to install one", flush=True)
        install()
    if find() is None:
        sys.exit(REMEDY)


if __name__ == "__main__":
    main()
