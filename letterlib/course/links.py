"""The links of lessons and documents.

python -m letterlib.course.links     prints every external link once
"""

import re
from collections.abc import Iterable
from pathlib import Path

import nbformat

from letterlib.course.build import REPOSITORY, lessons

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"")


def markdown_of(path: Path) -> str:
    """The Markdown of a document, or of all text cells of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def links_of(text: str) -> list[str]:
    """Targets of links and images, code left out."""
    text = re.sub(r"```.*?```|`[^`]*`", " ", text, flags=re.DOTALL)
    return _LINK.findall(text) + [a or b for a, b in _IMAGE.findall(text)]


def slug(heading: str) -> str:
    """A heading as a link names it: lower case, hyphens for spaces, no punctuation."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def documents() -> list[Path]:
    """All lessons and Markdown pages."""
    folders = ("", "benchmarks", "data", "docs", "experiments", "experiments/workflow")
    return [
        *lessons(),
        *sorted(page for folder in folders for page in (REPOSITORY / folder).glob("*.md")),
    ]


def is_external(link: str) -> bool:
    return link.startswith(("http://", "https://", "mailto:"))


def external_links(paths: Iterable[Path]) -> list[str]:
    return sorted(
        {link for path in paths for link in links_of(markdown_of(path)) if is_external(link)}
    )


def broken_links(path: Path) -> list[str]:
    """Links of a page whose file or heading does not exist in the repository."""
    text, broken = markdown_of(path), []
    for link in links_of(text):
        if is_external(link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists():
            broken.append(link)
        elif anchor and target.is_file():
            headings = re.findall(r"^#+ +(.+)$", markdown_of(target), flags=re.MULTILINE)
            if anchor not in map(slug, headings):
                broken.append(link)
    return broken


if __name__ == "__main__":
    print("\n".join(external_links(documents())))
