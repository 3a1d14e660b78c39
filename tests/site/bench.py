"""What each page costs its reader: part of `nox -s bench`, not of the tests."""

import gzip
from urllib.parse import unquote, urldefrag, urlsplit

from built import SITE, addresses


def on_the_wire(url: str, base: str) -> int:
    """Bytes of a file as a server with gzip sends it; fonts are compressed already."""
    path = unquote(urlsplit(urldefrag(url)[0]).path).removeprefix(urlsplit(base).path)
    file = SITE / path
    file = file / "index.html" if file.is_dir() else file
    data = file.read_bytes()
    return len(data if file.suffix == ".woff2" else gzip.compress(data, 6))


def test_bench(visit, base, capsys):
    rows = []
    for address in addresses():
        seen = visit(address, 1280)
        asked = {u for u in seen["requests"] if u.startswith(base)}
        html = (SITE / address / "index.html").stat().st_size
        wire = sum(on_the_wire(url, base) for url in asked)
        rows.append((address or "/", html, wire, len(seen["requests"]), seen["shift"]))
    with capsys.disabled():
        print(f"\n{'page':<28}{'HTML KB':>9}{'wire KB':>9}{'requests':>10}{'shift':>8}")
        for page, html, wire, requests, shift in rows:
            size = f"{html / 1e3:>9.0f}{wire / 1e3:>9.0f}"
            print(f"{page:<28}{size}{requests:>10}{shift:>8.3f}")
