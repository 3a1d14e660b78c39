"""Make two notebooks of a lab: one for its page, one to download.

Both join the outputs of the record with the prose as it reads now.
"""

from collections.abc import Iterator
from html import escape
from pathlib import Path

import nbformat
from markdown import Markdown
from nbformat import NotebookNode

from tools.core.lab import Lab, Part
from tools.core.values import fill

BREAK = "<!-- next cell -->"


def load(records: Path, lab: Lab) -> tuple[NotebookNode, Iterator[NotebookNode]]:
    """Read the record: a notebook without its cells, and the cells one by one."""
    notebook = nbformat.read(records / f"{lab.stem}.ipynb", as_version=4)
    executed = iter(notebook.cells)
    notebook.cells = []
    return notebook, executed


def write(lab: Lab, folder: Path, language: str, records: Path, md: Markdown) -> None:
    """Write the notebook of the lab's page, and the one to download there."""
    place = folder / "lab" / lab.stem
    place.mkdir(parents=True)
    read, keep = to_read(lab, language, records, md), to_keep(lab, language, records)
    nbformat.write(read, place.with_suffix(".ipynb"))
    nbformat.write(keep, place / f"{lab.stem}.ipynb")
    (place / f"{lab.stem}.py").write_text(script(keep, lab.stem), "utf-8")


def script(notebook: NotebookNode, stem: str) -> str:
    """The same notebook as a script, in the py:percent form; it runs alone."""
    cells = [f"# Lab of {stem}, from the book Unrolled · 展开. Code: MIT licence.\n"]
    for cell in notebook.cells:
        head, text = "# %%", cell.source
        if cell.cell_type == "markdown":
            head = "# %% [markdown]"
            text = "\n".join(f"# {line}".rstrip() for line in text.split("\n"))
        cells.append(f"{head}\n{text}\n")
    return "\n".join(cells)


def to_keep(lab: Lab, language: str, records: Path) -> NotebookNode:
    """Make the notebook to download: prose in Markdown, numbers filled in."""
    notebook, executed = load(records, lab)
    for n, part in enumerate(lab.parts):
        if part.language is None:
            notebook.cells.append(next(executed))
        elif n in lab.prose(language):
            text = "\n".join(fill(part.text.split("\n"), records, language))
            cell = nbformat.v4.new_markdown_cell(text, id=f"prose-{n}")
            notebook.cells.append(cell)
    return notebook


def to_read(lab: Lab, language: str, records: Path, md: Markdown) -> NotebookNode:
    """Make the notebook of the lab's page: prose as HTML, converted as on any page.

    The prose of all cells is converted as one document, so that no id comes twice and
    `md.toc_tokens` is the table of contents of the page.
    """
    notebook, executed = load(records, lab)
    told = lab.prose(language)
    prose = [lab.parts[n].text for n in sorted(told)]
    pages = iter(md.convert(f"\n\n{BREAK}\n\n".join(prose)).split(BREAK))
    for n, part in enumerate(lab.parts):
        if part.snippet:
            next(executed)
            notebook.cells.append(raw(f"snippet-{n}", inlined(part, lab.stem)))
        elif part.language is None:
            cell = next(executed)
            for output in cell.outputs:
                # nbconvert would make it an <img>, which does not follow the scheme
                if svg := output.get("data", {}).pop("image/svg+xml", None):
                    name = f'role="img" aria-label="{output.metadata.name}"'
                    figure = f'<div class="lab-figure" {name}>{svg}</div>'
                    output.data["text/html"] = figure
            notebook.cells.append(cell)
        elif n in told:
            notebook.cells.append(raw(f"prose-{n}", next(pages)))
    return notebook


def raw(name: str, text: str) -> NotebookNode:
    """Make a cell of HTML, which nbconvert leaves as it is."""
    text, html_cell = (
        f'<div class="lab-prose">{text}</div>',
        {"raw_mimetype": "text/html"},
    )
    return nbformat.v4.new_raw_cell(text, id=name, metadata=html_cell)


def inlined(part: Part, stem: str) -> str:
    """Show the lab's own snippet, folded; of another one, link the page."""
    name = f"<code>snippets/{part.snippet}.py</code>"
    if part.snippet != stem and not part.snippet.startswith("_"):
        return f'<p><a href="../../{part.snippet}/#code">{name}</a></p>'
    code = f'<div class="highlight"><pre><code>{escape(part.text)}\n</code></pre></div>'
    return f'<details class="lab-snippet"><summary>{name}</summary>{code}</details>'
