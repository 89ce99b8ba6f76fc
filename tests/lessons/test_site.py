"""The course as web pages: every link leads somewhere, nothing that a student must not see is
there.
"""

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from letterlib.course.build import LESSON, REPOSITORY
from letterlib.course.site import (
    address,
    broken_links,
    build_site,
    documents,
    is_external,
    links_of,
    markdown_of,
    with_formulas,
)

pytestmark = pytest.mark.xdist_group("site")  # made once


class Page(HTMLParser):
    """The names that a page can be entered by, where it leads, and what its pictures say to who
    cannot see them.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names, self.links, self.pictures = {""}, [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.names.add(given.get("id") or "")
        if tag == "img":
            self.pictures.append(given.get("alt"))
        if tag in ("a", "img"):
            link = given.get("href") or given.get("src") or ""
            self.links += [] if is_external(link) or link.startswith("data:") else [unquote(link)]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[Path, str]:
    """The text of every page, by its place; of other files an empty one."""
    folder = tmp_path_factory.mktemp("course") / "site"
    n_pages = build_site(folder)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert len(files) == n_pages
    return {
        file.relative_to(folder): file.read_text(encoding="utf-8") if file.suffix == ".html" else ""
        for file in files
    }


def test_formulas_are_set_without_a_network(site):
    text = "".join(site.values())
    formulas = re.findall("<math.*?</math>", text, re.DOTALL)
    assert len(formulas) > 500
    assert not [one for one in formulas if "\\" in one], (
        "a command that the converter does not know"
    )
    shown = re.sub("<(pre|code|script|style|math)\\b.*?</\\1>", "", text, flags=re.DOTALL)
    assert not re.findall(r"\\(?:frac|hat|ln|mathcal|sum|tau|text)\b", shown), (
        "a formula that is still TeX"
    )


def test_a_formula_is_told_from_code_and_from_money():
    text = "It costs $5, or $6: `$x$`\n\n~~~\n$y$\n~~~\n\n"
    assert with_formulas(text) == text
    line, alone = with_formulas("so $c_1$."), with_formulas(r"$$\mathcal L = \arg\min_k x$$")
    assert re.fullmatch('so <math[^>]* display="inline">.*<mi>c</mi><mn>1</mn>.*</math>\\.', line)
    assert re.fullmatch('<math[^>]* display="block">.*</math>', alone)
    assert html.unescape(alone).count("ℒ") == 1 and "arg" in alone and "\\" not in alone


def test_every_link_of_the_site_leads_to_a_page_and_to_a_heading_of_it(site):
    pages = {place: Page(text) for place, text in site.items()}
    n_links, broken = 0, []
    for place, page in pages.items():
        for link in page.links:
            file, _, name = link.partition("#")
            target = (
                Path(unquote((Path("/") / place.parent / file).resolve().as_posix()[1:]))
                if file
                else place
            )
            n_links += 1
            if target not in pages or name not in pages[target].names:
                broken.append((place.as_posix(), link))
    assert broken == []
    assert n_links > 500


def test_the_site_has_every_lesson_and_begins_with_their_list(site):
    lessons = [
        *REPOSITORY.glob("notebooks/[0-9]*.ipynb"),
        *REPOSITORY.glob("notebooks/projects/*.ipynb"),
    ]
    assert len(lessons) == 17
    index = Page(site[Path("index.html")]).links
    for lesson in lessons:
        assert address(lesson) in site
        assert lesson.parent.name == "projects" or address(lesson).as_posix() in index


def test_every_picture_of_the_site_says_what_it_shows(site):
    pictures = {place: Page(text).pictures for place, text in site.items()}
    silent = [
        place
        for place, said in pictures.items()
        if any(not one or "No description" in one for one in said)
    ]
    assert silent == []
    assert sum(map(len, pictures.values())) > 80


def test_solutions_and_hidden_tests_are_not_in_the_site(site):
    assert not any(place.parts[0] == "solutions" for place in site)
    for lesson in (REPOSITORY / "notebooks").glob("*.ipynb"):
        page = site[address(lesson)]
        assert "NotImplementedError" in page  # the stub of an exercise
        assert "BEGIN SOLUTION" not in page and "BEGIN HIDDEN" not in page


# Links inside the repository


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_inside_the_repository_lead_somewhere(path):
    assert broken_links(path) == []


def test_the_readme_lists_every_lesson():
    readme = markdown_of(REPOSITORY / "README.md")
    for path in (REPOSITORY / "notebooks").glob(LESSON):
        assert f"notebooks/{path.name}" in readme


def test_broken_links_are_found_and_code_is_left_alone(tmp_path):
    (tmp_path / "there.md").write_text("# What it is\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](gone.md) [c](there.md#what-it-is) [d](there.md#else) `[e](no.md)` "
        "![f](gone.png) [g](https://example.org/x)"
    )
    assert broken_links(page) == ["gone.md", "there.md#else", "gone.png"]
    assert links_of("```\n[x](y)\n```") == []
