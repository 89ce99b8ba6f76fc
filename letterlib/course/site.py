"""The course as web pages, to be read without installing anything, or put on a server for a class.

    python -m letterlib.course.site            write site/
    python -m letterlib.course.site --links    print every external link once

A page for every lesson, project and document, and for every file they link to. Lessons are the
student copies: worked solutions are left out. Formulas are MathML, which a browser sets without a
network; with one it fetches MathJax, which sets them better.
"""

import argparse
import html
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbformat import NotebookNode, read
from nbformat.v4 import new_markdown_cell, new_notebook

from letterlib.course.build import LESSON, REPOSITORY, projects
from letterlib.progress import progress
from letterlib.store import atomic_write

SITE = REPOSITORY / "site"
_COPIED = (".png", ".svg", ".gif", ".jpg", ".parquet", ".safetensors")
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"")
_TARGET = re.compile(r"(?<=\]\()[^)\s]+(?=\))")
_HEADING = re.compile(r'(?<= id=")[^"]+(?=">)|(?<=class="anchor-link" href="#)[^"]+')
# Code, which is left alone; a formula in a paragraph of its own; one in a line, where a dollar may
# also be a dollar.
_FORMULA = re.compile(
    r"(```.*?```|~~~.*?~~~|`[^`\n]*`)|\$\$(.+?)\$\$|(?<![\\$])\$(?!\s)([^$`\n]+?)(?<!\s)\$(?![\d$])",
    re.DOTALL,
)
# The converter has no \\arg; browsers have script letters from Unicode alone, and lay a wide
# arrow's words over others.
_OTHERWISE = (
    (r"\\arg\\min", r"\\text{arg min}"),
    (r"\\mathcal L", "ℒ"),
    (r"\\xrightarrow(\{.*?\}\})", r"\\overset\1{\\longrightarrow}"),
)
_MATHJAX = (
    "https://cdnjs.cloudflare.com/ajax/libs/mathjax/2.7.7/latest.js?config=TeX-MML-AM_CHTML,Safe"
)
# A line of text as long as a wide screen cannot be read, and a broken line of code no better; on a
# narrow one code and tables are moved sideways, and what a cell or a check has to say is broken
# between words. Links are underlined for those who do not see colours. Small letters that nbconvert
# leaves pale get a contrast of 4.5 or more.
_STYLE = """<style>
body {--jp-mirror-editor-comment-color: #2f6666; --jp-mirror-editor-number-color: #007000}
body {--jp-mirror-editor-operator-color: #8f12dd}
body {--jp-cell-prompt-not-active-font-color: #5c5c5c; --jp-cell-prompt-not-active-opacity: 1}
body .jp-RenderedMarkdown a:not(.anchor-link) {text-decoration: underline}
body.jp-Notebook {max-width: 68rem; margin: 0 auto; padding: 1rem}
.jp-RenderedMarkdown pre, .jp-RenderedMarkdown pre code {white-space: pre}
body .jp-RenderedMarkdown pre {background: #f4f4f4; padding: .6rem 1rem; margin: .8rem 0}
body .jp-RenderedMarkdown pre code {background: none; padding: 0}
.jp-RenderedMarkdown pre, .jp-RenderedMarkdown, .jp-InputArea-editor {overflow-x: auto}
.jp-OutputArea-output pre {word-break: normal}
</style>
</head>"""


# Links


def markdown_of(path: Path) -> str:
    """The Markdown of a document, or of all text cells of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def links_of(text: str) -> list[str]:
    """Targets of links and images, code left out."""
    text = re.sub(r"```.*?```|`[^`]*`", " ", text, flags=re.DOTALL)
    return _LINK.findall(text) + [a or b for a, b in _IMAGE.findall(text)]


def is_external(link: str) -> bool:
    return link.startswith(("http://", "https://", "mailto:"))


def slug(heading: str) -> str:
    """A heading as a link names it: lower case, hyphens for spaces, no punctuation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def broken_links(path: Path) -> list[str]:
    """Links of a page whose file or heading does not exist in the repository."""
    broken = []
    for link in links_of(markdown_of(path)):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if is_external(link):
            continue
        if not target.exists():
            broken.append(link)
        elif anchor and target.is_file():
            headings = re.findall(r"^#+ +(.+)$", markdown_of(target), flags=re.MULTILINE)
            if anchor not in map(slug, headings):
                broken.append(link)
    return broken


def documents() -> list[Path]:
    """The lessons' student copies, the projects, and all Markdown pages."""
    folders = ("", "benchmarks", "data", "docs", "experiments", "experiments/workflow")
    return [
        *sorted((REPOSITORY / "notebooks").glob(LESSON)),
        *projects(),
        *sorted(page for folder in folders for page in (REPOSITORY / folder).glob("*.md")),
    ]


def pages() -> list[Path]:
    """What becomes a page or is copied: `documents`, and the files and folders they link to."""
    found = documents()
    for page in found[:]:
        found += [target for target in _targets(page) if target not in found]
    return found


def _targets(page: Path) -> Iterator[Path]:
    """The files and folders of the repository that a page links to."""
    for link in links_of(markdown_of(page)):
        target = Path(os.path.normpath(page.parent / link.partition("#")[0]))
        if not is_external(link) and target != page.parent and target.exists():
            yield target


# Pages


def address(path: Path) -> Path:
    """Where a file's page is in the site. README.md is its folder's index, as it is on a code
    host.
    """
    inside = path.relative_to(REPOSITORY)
    if path.is_dir() or path.name == "README.md":
        return (inside if path.is_dir() else inside.parent) / "index.html"
    if path.suffix in _COPIED:
        return inside
    return (
        inside.with_suffix(".html")
        if path.suffix in (".md", ".ipynb")
        else inside.with_name(f"{inside.name}.html")
    )


def notebook_of(path: Path) -> NotebookNode:
    """What the page shows: a lesson as it is, a document as one text, a file as code, of a folder
    the names in it.
    """
    if path.suffix == ".ipynb":
        return read(path, as_version=4)
    heading = f"# {path.relative_to(REPOSITORY).as_posix()}\n\n"
    if path.suffix == ".md":
        text = markdown_of(path)
    elif path.is_dir():
        names = sorted(f"- `{one.name}{'/' * one.is_dir()}`" for one in path.iterdir())
        text = f"{heading}A folder of the repository. It holds\n\n" + "\n".join(names)
    else:
        language = "python" if path.suffix == ".py" or path.name == "Snakefile" else path.suffix[1:]
        text = f"{heading}~~~{language}\n{path.read_text(encoding='utf-8').strip()}\n~~~"
    return new_notebook(cells=[new_markdown_cell(text)])


def navigation(path: Path) -> str:
    """Links, in Markdown, to the lesson before, the list of lessons, and the lesson after."""
    contents = REPOSITORY / "README.md"
    row = re.compile(r"^\| \[([^\]]+)\]\((notebooks/\d\d_\w+\.ipynb)\)", re.MULTILINE)
    lessons = [(name, REPOSITORY / file) for name, file in row.findall(markdown_of(contents))]
    links = [("All lessons", contents)]
    for i, (_, lesson) in enumerate(lessons):
        if lesson == path and i > 0:
            links.insert(0, (f"← {lessons[i - 1][0]}", lessons[i - 1][1]))
        if lesson == path and i + 1 < len(lessons):
            links.append((f"{lessons[i + 1][0]} →", lessons[i + 1][1]))
    return " · ".join(f"[{name}]({_link(target, path.parent)})" for name, target in links)


def _link(target: Path, folder: Path) -> str:
    """From a page in `folder`; with slashes on Windows, too."""
    return Path(os.path.relpath(target, folder)).as_posix()


def html_of(path: Path, addresses: dict[Path, Path]) -> str:
    """The page of a file. addresses: of everything that has one; links to anything else stay as
    they are.
    """

    def moved(link: re.Match) -> str:
        file, sign, anchor = link[0].partition("#")
        target = addresses.get(Path(os.path.normpath(path.parent / file))) if file else None
        return _link(target, addresses[path].parent) + sign + anchor if target else link[0]

    notebook = notebook_of(path)
    title = re.search(r"^# (.+)$", notebook.cells[0].source if notebook.cells else "", re.MULTILINE)
    if addresses[path] != Path("index.html"):
        links = navigation(path)
        notebook.cells = [new_markdown_cell(links), *notebook.cells, new_markdown_cell(links)]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = with_formulas(_TARGET.sub(moved, cell.source))
        for output in cell.get("outputs", ()):
            _say_what_it_shows(output)
    named = {"metadata": {"name": title[1] if title else path.stem}}
    page, _ = HTMLExporter(mathjax_url=_MATHJAX).from_notebook_node(notebook, named)
    # Links name headings as code hosts number them, in small letters.
    return _HEADING.sub(lambda found: slug(unquote(html.unescape(found[0]))), page).replace(
        "</head>", _STYLE, 1
    )


def with_formulas(text: str) -> str:
    """Markdown whose TeX has become MathML."""

    def put(found: re.Match) -> str:
        code, alone, inside = found.groups()
        if code:
            return code
        tex = alone or inside
        for pattern, other in _OTHERWISE:
            tex = re.sub(pattern, other, tex)
        return convert(tex, display="block" if alone else "inline")

    return _FORMULA.sub(put, text)


def _say_what_it_shows(output: NotebookNode) -> None:
    """A picture as HTML with its alternative text, which nbconvert's page leaves out (and
    JupyterLab, too).
    """
    words = output.get("metadata", {}).get("image/png", {}).get("alt")
    if words:
        source = f"data:image/png;base64,{output.data['image/png']}"
        output.data = NotebookNode(
            {"text/html": f'<img alt="{html.escape(words)}" src="{source}">'}
        )


def build_site(folder: Path) -> int:
    """Write all pages into `folder`, which must be new or empty; returns how many. About half a
    minute.
    """
    addresses = {path: address(path) for path in pages()}
    with atomic_write(folder) as temporary:
        for path, place in progress(addresses.items(), what="pages"):
            (temporary / place).parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in _COPIED:
                shutil.copyfile(path, temporary / place)
            else:
                (temporary / place).write_text(html_of(path, addresses), encoding="utf-8")
    return len(addresses)


def main() -> None:
    """Build the site again. The one that is there stays until the new one is complete."""
    parser = argparse.ArgumentParser(prog="python -m letterlib.course.site")
    parser.add_argument("--links", action="store_true", help="only print every external link")
    if parser.parse_args().links:
        links = {link for page in documents() for link in links_of(markdown_of(page))}
        print("\n".join(sorted(filter(is_external, links))))
        return
    fresh = SITE.with_name("site.new")
    shutil.rmtree(fresh, ignore_errors=True)
    n_pages = build_site(fresh)
    shutil.rmtree(SITE, ignore_errors=True)
    fresh.rename(SITE)
    print(f"{n_pages} pages and images; open {SITE / 'index.html'}")


if __name__ == "__main__":
    main()
