"""What a reader reads of a text, for the checks that look at it: words, terms, links that lead
somewhere.
"""

import re
from pathlib import Path

from letterlib.course.prose import is_external, links_of, markdown_of, slug

_NOT_PROSE = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$]*\$|`[^`]*`|<[^>]*>|\]\([^)]*\)|https?://\S+", flags=re.DOTALL
)


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


def anchors_of(text: str) -> set[str]:
    """What a link can name with #: the headings, as web readers of Markdown number them."""
    return {slug(heading) for heading in re.findall(r"^#+ +(.+)$", text, flags=re.MULTILINE)}


def broken_links(path: Path) -> list[str]:
    """Links inside the repository that lead nowhere."""
    text, broken = markdown_of(path), []
    for link in links_of(text):
        if is_external(link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if not target.exists() or (
            anchor and target.is_file() and anchor not in anchors_of(markdown_of(target))
        ):
            broken.append(link)
    return broken
