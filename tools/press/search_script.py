"""Let the search fetch and read its index when a reader opens it, not on every page.

Material does so where a book is read from a folder. From a server it loads the index
with every page: most of its bytes, and seconds of work for a phone, before anyone asks.
"""

from pathlib import Path

from tools.core.languages import roots

# What Material's script says, and what it shall say instead; each is there once.
EDITS = {
    'location.protocol!=="file:"': "!1/*the search waits*/",
    '("search.highlight")?': '("search.highlight")&&/[?&]h=/.test(location.search)?',
}


def write(site: Path) -> None:
    """Edit the script of each language; refuse one that is not as expected."""
    for root in roots(site):
        (bundle,) = root.glob("assets/javascripts/bundle.*.min.js")
        text = bundle.read_text("utf-8")
        for old, new in EDITS.items():
            if text.count(old) + text.count(new) != 1:
                raise ValueError(f"{bundle.name} says {old} not once, see {__name__}")
            text = text.replace(old, new)
        bundle.write_text(text, "utf-8")
