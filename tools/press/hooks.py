"""What MkDocs calls while it builds: pages of labs, other languages, the fonts."""

import logging
import re
from pathlib import Path

import jieba
from markdown import Markdown
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File
from mkdocs.structure.toc import get_toc
from mkdocs.utils import get_relative_url

from tools.core import front_matter
from tools.core.lab import ROOT, Lab, all_labs, without_markers
from tools.core.languages import DEFAULT, LANGUAGES, TRANSLATIONS, Language
from tools.labs import records
from tools.press import lab_page, math_font, notebooks, search_script
from tools.press.serving import PREVIEW, SHARED

FILE_NAME = re.compile(r'<span class="filename">((lab/)?(\w+)\.py)</span>')
RECORDS = ROOT / "build" / "labs"
contents = {}  # (language, path) of a lab page -> its table of contents


def on_startup(command, dirty):
    """Remember that this is a preview, if it is one."""
    quiet()
    if command == "serve" and dirty:
        PREVIEW.start()


def quiet() -> None:
    """Say no line per notebook and none of jieba, which cuts Chinese for the search."""
    logging.getLogger("mkdocs.mkdocs-jupyter").setLevel(logging.WARNING)
    jieba.setLogLevel(logging.WARNING)
    (ROOT / "build").mkdir(exist_ok=True)
    jieba.dt.tmp_dir = str(ROOT / "build")  # its words are read once, not at each build


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files, config):
    """Add, for each executed lab, its page and what can be downloaded there."""
    language = config.theme["language"]
    site = config.site_dir, config.use_directory_urls
    folder = PREVIEW.folder(language)
    if not PREVIEW.only_pages(language):
        write_labs(folder, language, config)
        write_code(folder)
    for path in sorted(folder.rglob("*.*")):
        files.append(File(path.relative_to(folder).as_posix(), str(folder), *site))
    for path in front_matter.stand_ins(ROOT, language):
        files.append(File(path.name, str(path.parent), *site))
    PREVIEW.begin(files, language)
    return files


def write_labs(folder: Path, language: str, config) -> None:
    """Write what belongs to each lab whose record is sound."""
    for stem in all_labs():
        lab, made = Lab(stem), records.provenance(RECORDS, stem)
        if made is None or made["key"] != lab.key(made["device"]):
            continue  # in a preview of a lab that was changed and not run yet
        md = Markdown(
            extensions=config.markdown_extensions, extension_configs=config.mdx_configs
        )
        notebooks.write(lab, folder, language, RECORDS, md)
        contents[language, f"lab/{stem}.ipynb"] = md.toc_tokens


def write_code(folder: Path) -> None:
    """Write every snippet as it can be downloaded: whole, without markers."""
    (folder / "code").mkdir(exist_ok=True)
    for path in (ROOT / "snippets").glob("[!_]*.py"):
        text = without_markers(path.read_text("utf-8").splitlines())
        (folder / "code" / path.name).write_text(text + "\n", "utf-8")


def on_nav(nav, config, files):
    """Give sections of the navigation their title in this language."""
    PREVIEW.name(nav)
    for section in nav:
        if section.is_section:
            section.title = config.extra["sections"].get(section.title, section.title)


@event_priority(-100)  # after mkdocs-jupyter has set how a notebook is rendered
def on_pre_page(page, config, files):
    """Convert a notebook only when it has changed."""
    key = config.theme["language"], page.file.src_uri
    if key in contents:
        page.render = lab_page.remembered(
            page, ROOT / "build" / "pages" / "-".join(key).replace("/", "-")
        )


def on_page_content(content, page, config, files):
    """Give a lab page its contents and its place in the search."""
    path = page.file.src_uri
    stem = path.removesuffix(".md")
    if stem in all_labs() and Lab(stem).has_snippet:
        page.meta["search"] = {"boost": 3}  # before pages that mention its subject
    content = FILE_NAME.sub(lambda m: file_name(m, page.url), content)
    tokens = contents.get((config.theme["language"], path))
    if tokens is None or not path.endswith(".ipynb"):
        return content
    page.toc = get_toc(tokens)
    page.title = tokens[0]["name"]
    # The search counts a heading 1000 times; a lab still comes after its chapter.
    page.meta["search"] = {"boost": 0.0005}


def file_name(found: re.Match, url: str) -> str:
    """Link the name above a code block to the whole file, or to the lab."""
    name, of_lab, stem = found.groups()
    whole = get_relative_url(f"lab/{stem}/" if of_lab else f"code/{name}", url)
    return f'<span class="filename"><a href="{whole}">{name}</a></span>'


def on_page_context(context, page, config, nav):
    """Give the templates what they show of the other language and of the lab."""
    url, own = page.url, LANGUAGES[config.theme["language"]].address
    top = config.site_url.removesuffix(own)
    config.extra["alternate"] = [
        {
            "lang": code,
            "name": language.name,
            "link": top + language.address + url,  # in full, for search engines
            "href": get_relative_url(language.address + url, own + url),
        }
        for code, language in LANGUAGES.items()
    ]
    context["waits"] = front_matter.banner(ROOT, page, config.theme["language"])
    stem = Path(page.file.src_uri).stem
    made = records.provenance(RECORDS, stem)
    context["lab"] = None
    if made is not None:
        links = {
            "lab_url": f"lab/{stem}/",
            "page_url": f"{stem}/",
            "notebook_url": f"lab/{stem}/{stem}.ipynb",
            "script_url": f"lab/{stem}/{stem}.py",
            "snippet_url": f"code/{stem}.py",
        }
        if not Lab(stem).has_snippet:
            del links["snippet_url"]
        links = {name: get_relative_url(link, url) for name, link in links.items()}
        is_lab_page = page.file.src_uri.startswith("lab/")
        context["lab"] = {**made, **links, "stem": stem, "is_lab_page": is_lab_page}
    return context


def on_post_build(config):
    """After Chinese build the others inside of it, then the search and font of all."""
    language, site = config.theme["language"], Path(config.site_dir)
    if language == DEFAULT:
        for other in TRANSLATIONS:
            if not PREVIEW.nothing(other):
                build_translation(LANGUAGES[other], config, site)
        search_script.write(site)
    if language == DEFAULT and not PREVIEW.only_pages(language):
        math_font.write(site)
    PREVIEW.end(site, language)


def build_translation(language: Language, config, site: Path) -> None:
    """Build the site of another language with its own configuration."""
    translated = load_config(
        str(ROOT / language.config),
        site_dir=str(site / language.address),
        site_url=config.site_url + language.address,
        strict=config.strict,
    )
    translated.plugins.run_event("startup", command="build", dirty=False)
    build(translated, dirty=PREVIEW.runs)


def on_serve(server, config, builder):
    """Reload the preview whenever something changes that a page is made of."""
    RECORDS.mkdir(parents=True, exist_ok=True)  # not there before any lab was run
    shared = [place for place in SHARED if not place.startswith("docs/")]
    for place in ("docs", *shared):
        server.watch(str(ROOT / place))
    return server
