"""The text of lessons and documents, for the checks that look at it: words, spelling, terms, links.

    python -m letterlib.course.prose

prints every external link once, for a job that tries them.
"""

import re
from collections.abc import Iterable
from pathlib import Path

import nbformat

from letterlib.course.build import REPOSITORY, lessons

_NOT_PROSE = re.compile(r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|<[^>]*>|\]\([^)]*\)|https?://\S+", flags=re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"")


def markdown_of(path: Path) -> str:
    """The Markdown of a document, or of all text cells of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def words_of(text: str) -> list[str]:
    """The words a reader reads: without code, formulas, tags and addresses."""
    return re.findall(r"[A-Za-z]+(?:['’][a-z]+)?", _NOT_PROSE.sub(" ", text))


def italics_of(text: str) -> list[str]:
    """What stands in italics inside a paragraph. Paragraphs wholly in italics are captions."""
    found = []
    for paragraph in re.split(r"\n\s*\n", _NOT_PROSE.sub(" ", text)):
        if not re.fullmatch(r"\*[^*].*\*", paragraph.strip(), flags=re.DOTALL):
            found += re.findall(r"(?<![*\w])\*(?![\s*])([^*\n]+?)\*(?!\*)", paragraph)
    return found


def links_of(text: str) -> list[str]:
    """Targets of links and images, code left out."""
    text = re.sub(r"```.*?```|`[^`]*`", " ", text, flags=re.DOTALL)
    return _LINK.findall(text) + [a or b for a, b in _IMAGE.findall(text)]


def anchors_of(text: str) -> set[str]:
    """What a link can name with #: the headings, as web readers of Markdown number them."""
    return {slug(heading) for heading in re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE)}


def slug(heading: str) -> str:
    """A heading as a link names it: in small letters, with hyphens for spaces, without punctuation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def documents() -> list[Path]:
    """Everything that readers read."""
    folders = ("", "benchmarks", "data", "docs", "experiments", "experiments/workflow")
    return [*lessons(), *sorted(page for folder in folders for page in (REPOSITORY / folder).glob("*.md"))]


def is_external(link: str) -> bool:
    return link.startswith(("http://", "https://", "mailto:"))


def broken_links(path: Path) -> list[str]:
    """Links inside the repository that lead nowhere."""
    text, broken = markdown_of(path), []
    for link in links_of(text):
        if is_external(link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (anchor and target.is_file() and anchor not in anchors_of(markdown_of(target))):
            broken.append(link)
    return broken


def external_links(paths: Iterable[Path]) -> list[str]:
    return sorted({link for path in paths for link in links_of(markdown_of(path)) if is_external(link)})


if __name__ == "__main__":
    print("\n".join(external_links(documents())))
