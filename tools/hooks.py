"""Hooks of MkDocs, few and thin: lab pages, the other language, the maths font."""

import tempfile
from pathlib import Path

import nbformat
from markdown import Markdown
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File
from mkdocs.structure.toc import get_toc
from mkdocs.utils import get_relative_url

from tools import labpage, mathfont, notebooks, records
from tools.lab import ROOT, Lab, stems

RECORDS = ROOT / "build" / "labs"
LANGUAGES = {"zh": "中文", "en": "English"}
contents = {}  # table of contents of each lab page, by (language, path)


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files, config):
    """Add, for each executed lab, its page and what can be downloaded there."""
    language = config.theme["language"]
    config.lab_folder = tempfile.TemporaryDirectory(prefix="book-")
    folder = Path(config.lab_folder.name)
    for stem in stems():
        lab, made = Lab(stem), records.provenance(RECORDS, stem)
        if made is None or made["key"] != lab.key(made["device"]):
            continue  # while serving: the lab is being written, and was not run
        md = Markdown(
            extensions=config.markdown_extensions, extension_configs=config.mdx_configs
        )
        page = nbformat.writes(notebooks.to_read(lab, language, RECORDS, md))
        contents[language, f"lab/{stem}.ipynb"] = md.toc_tokens
        kept = nbformat.writes(notebooks.to_keep(lab, language, RECORDS))
        texts = {
            f"lab/{stem}.ipynb": page,
            f"lab/{stem}/{stem}.ipynb": kept,
        }
        if lab.has_snippet:  # a guide has none
            texts[f"lab/{stem}/{stem}.py"] = lab.snippet(stem)
        (folder / "lab" / stem).mkdir(parents=True)
        for path, text in texts.items():
            (folder / path).write_text(text, "utf-8")
            site = config.site_dir, config.use_directory_urls
            files.append(File(path, str(folder), *site))
    return files


def on_nav(nav, config, files):
    """Give sections of the navigation their title in this language."""
    for section in nav:
        if section.is_section:
            section.title = config.extra["sections"].get(section.title, section.title)


@event_priority(-100)  # after mkdocs-jupyter has set how a notebook is rendered
def on_pre_page(page, config, files):
    """Convert a notebook only when it has changed."""
    key = config.theme["language"], page.file.src_uri
    if key in contents:
        page.render = labpage.remembered(
            page, ROOT / "build" / "pages" / "-".join(key).replace("/", "-")
        )


def on_page_content(content, page, config, files):
    """Give a lab page its contents and its place in the search."""
    path = page.file.src_uri
    stem = path.removesuffix(".md")
    if stem in stems() and Lab(stem).has_snippet:
        page.meta["search"] = {"boost": 3}  # what teaches a thing before what lists it
    tokens = contents.get((config.theme["language"], path))
    if tokens is None or not path.endswith(".ipynb"):
        return None
    page.toc = get_toc(tokens)
    page.title = tokens[0]["name"]
    # a heading counts 1000 times what text does: still, the page itself comes first
    page.meta["search"] = {"boost": 0.0005}


def on_page_context(context, page, config, nav):
    """Tell the templates of the twin page and of the lab behind the page."""
    url, roots = page.url, {"zh": "", "en": "en/"}
    own = roots[config.theme["language"]]
    top = config.site_url.removesuffix(own)
    config.extra["alternate"] = [
        {
            "lang": language,
            "name": name,
            "link": top + roots[language] + url,  # for search engines: in full
            "href": get_relative_url(roots[language] + url, own + url),
        }
        for language, name in LANGUAGES.items()
    ]
    stem = Path(page.file.src_uri).stem
    made = records.provenance(RECORDS, stem)
    context["lab"] = None
    if made is not None:
        links = {
            "lab_url": f"lab/{stem}/",
            "page_url": f"{stem}/",
            "notebook_url": f"lab/{stem}/{stem}.ipynb",
            "snippet_url": f"lab/{stem}/{stem}.py",
        }
        if not Lab(stem).has_snippet:
            del links["snippet_url"]
        links = {name: get_relative_url(link, url) for name, link in links.items()}
        is_lab_page = page.file.src_uri.startswith("lab/")
        context["lab"] = {**made, **links, "stem": stem, "is_lab_page": is_lab_page}
    return context


def on_post_build(config):
    """Build English inside the Chinese site, then the font both are set in."""
    config.lab_folder.cleanup()
    if config.theme["language"] != "zh":
        return
    site = Path(config.site_dir)
    english = load_config(
        str(ROOT / "mkdocs.en.yml"),
        site_dir=str(site / "en"),
        site_url=f"{config.site_url}en/",
        strict=config.strict,
    )
    english.plugins.run_event("startup", command="build", dirty=False)
    build(english)
    mathfont.write(site)


def on_serve(server, config, builder):
    """Reload for everything that a page is made of."""
    for folder in ("docs", "snippets", "overrides", "build/labs", "mkdocs.en.yml"):
        server.watch(str(ROOT / folder))
    return server
