"""Check every internal link, anchor and asset of a built site."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

ATTRIBUTES = {"a": "href", "link": "href", "img": "src", "script": "src"}


class Page(HTMLParser):
    """The ids of a page and the addresses it points to."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if found.get("id"):
            self.ids.add(found["id"])
        if link := found.get(ATTRIBUTES.get(tag)):
            self.links.append(link)


def broken(site: Path) -> list[str]:
    """List each link that leads nowhere: page, link, reason."""
    site = site.resolve()
    pages = {file: Page(file) for file in sorted(site.rglob("*.html"))}
    faults = []
    for file, page in pages.items():
        name = file.relative_to(site).as_posix()
        for link in page.links:
            parts = urlsplit(link)
            # The error page is shown at any address, so its links start at the root.
            if parts.scheme or parts.netloc or name.endswith("404.html"):
                continue
            path = unquote(urlsplit(urljoin(f"/{name}", link)).path)
            target = site / path.lstrip("/")
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                faults.append(f"{name}: {link} leads to no file")
            elif parts.fragment and target in pages:
                anchor = unquote(parts.fragment)
                if anchor != "__skip" and anchor not in pages[target].ids:
                    faults.append(f"{name}: {link} leads to no such place on the page")
    return faults
