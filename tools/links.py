"""Check every internal link, anchor and asset of a built site."""

from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from bs4 import BeautifulSoup

ATTRIBUTES = {"a": "href", "link": "href", "img": "src", "script": "src"}


def page(path: Path) -> tuple[set[str], list[str]]:
    """The ids of a page and the addresses it points to."""
    soup = BeautifulSoup(path.read_text("utf-8"), "html.parser")
    ids = {element["id"] for element in soup.find_all(id=True)}
    found = [
        element[attribute]
        for tag, attribute in ATTRIBUTES.items()
        for element in soup.find_all(tag)
        if element.get(attribute)
    ]
    return ids, found


def broken(site: Path) -> list[str]:
    """One message for each link that leads nowhere: page, link, reason."""
    site = site.resolve()
    pages = {file: page(file) for file in sorted(site.rglob("*.html"))}
    faults = []
    for file, (_, found) in pages.items():
        name = file.relative_to(site).as_posix()
        for link in found:
            parts = urlsplit(link)
            # the error page is served anywhere: its links start at the site's root
            if parts.scheme or parts.netloc or name.endswith("404.html"):
                continue
            path = unquote(urlsplit(urljoin(f"/{name}", link)).path)
            target = site / path.lstrip("/")
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                faults.append(f"{name}: {link} leads to no file")
            elif parts.fragment and target in pages:
                anchor = unquote(parts.fragment)
                if anchor != "__skip" and anchor not in pages[target][0]:
                    faults.append(f"{name}: {link} leads to no such place on the page")
    return faults
