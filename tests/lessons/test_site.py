"""The course as web pages: every link leads somewhere, nothing that a student must not see is
there.
"""

import html
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import nbformat
import numpy as np
import pytest

from letterlib.course.build import REPOSITORY
from letterlib.course.links import is_external
from letterlib.course.site import (
    address,
    build_site,
    html_of,
    main,
    navigation,
    notebook_of,
    pages,
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
    assert len(lessons) == 16
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


def test_every_stored_picture_has_its_words_beside_it():
    notebooks = [
        *(REPOSITORY / "notebooks").rglob("*.ipynb"),
        *(REPOSITORY / "solutions").glob("*.ipynb"),
    ]
    cells = [(path.name, cell) for path in notebooks for cell in notebook_of(path).cells]
    outputs = [(name, output) for name, cell in cells for output in cell.get("outputs", ())]
    pictures = [
        (name, output.metadata) for name, output in outputs if "image/png" in output.get("data", ())
    ]
    assert [name for name, about in pictures if not about.get("image/png", {}).get("alt")] == []
    assert len(pictures) > 160


def test_links_are_seen_without_colours_and_small_letters_are_dark_enough(site):
    """WCAG 2.2: a contrast of 4.5, by 1.4.3, and no difference by colour alone, by 1.4.1."""
    style = site[Path("index.html")].rpartition("<style>")[2].partition("</style>")[0]
    assert "a:not(.anchor-link) {text-decoration: underline}" in style

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)]) / 255
        return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [
            0.2126,
            0.7152,
            0.0722,
        ]

    colours = re.findall(r"-color: #([0-9a-f]{6})", style)
    assert len(colours) == 4 and luminance("ffffff") == pytest.approx(1)
    for colour in colours:
        assert (luminance("f5f5f5") + 0.05) / (luminance(colour) + 0.05) >= 4.5, colour


def test_solutions_and_hidden_tests_are_not_in_the_site(site):
    assert not any(place.parts[0] == "solutions" for place in site)
    for lesson in (REPOSITORY / "notebooks").glob("*.ipynb"):
        page = site[address(lesson)]
        assert "NotImplementedError" in page  # the stub of an exercise
        assert "BEGIN SOLUTION" not in page and "BEGIN HIDDEN" not in page


def test_a_lesson_names_its_neighbours():
    first, second, third = "00_recommendation_as_generation", "01_semantic_embeddings", "02_rq_vae"
    before, here = "10_full_experiments", "11_ablations_and_sweeps"
    links = {
        name: navigation(REPOSITORY / "notebooks" / f"{name}.ipynb")
        for name in (first, second, here)
    }
    contents = "[All lessons](../README.md)"
    assert links[first] == f"{contents} · [01 Semantic embeddings →]({second}.ipynb)"
    assert links[second].startswith(
        f"[← 00 Recommendation as generation]({first}.ipynb) · {contents} · "
    )
    assert links[second].endswith(f" · [02 RQ-VAE →]({third}.ipynb)")
    assert links[here] == f"[← 10 Full experiments]({before}.ipynb) · {contents}"
    assert navigation(REPOSITORY / "docs/findings.md") == contents


def test_code_and_folders_are_pages_too():
    assert address(REPOSITORY / "experiments/beauty.yaml") == Path("experiments/beauty.yaml.html")
    assert address(REPOSITORY / "experiments/README.md") == address(REPOSITORY / "experiments")
    [cell] = notebook_of(REPOSITORY / "experiments/beauty.yaml").cells
    assert cell.source.startswith("# experiments/beauty.yaml\n\n~~~yaml\nabout: ")
    [cell] = notebook_of(REPOSITORY / "experiments/results").cells
    assert "- `movielens-tau-sweep/`\n" in cell.source


def test_a_copy_with_answers_beside_the_lessons_is_no_page(tmp_path, monkeypatch):
    for name in ("00_made.ipynb", "my_00.ipynb"):
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(), tmp_path / "notebooks" / name)
    for page in ("README.md", "docs/a.md", "letter/marks.md"):
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text("# Text", encoding="utf-8")
    for module in ("site", "links"):
        monkeypatch.setattr(f"letterlib.course.{module}.REPOSITORY", tmp_path)
    monkeypatch.setattr("letterlib.course.links.lessons", list)
    assert [page.name for page in pages()] == ["00_made.ipynb", "README.md", "a.md"]


@pytest.mark.parametrize(
    "cells", [[], [nbformat.v4.new_markdown_cell("# A")]], ids=["no cells", "one cell"]
)
def test_a_lesson_that_colab_has_saved_has_a_page(tmp_path, monkeypatch, cells):
    monkeypatch.setattr("letterlib.course.site.REPOSITORY", tmp_path)
    (tmp_path / "README.md").write_text("# Course", encoding="utf-8")
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"1": {}}}
    nbformat.write(notebook, tmp_path / "00_made.ipynb")
    assert "<body" in html_of(
        tmp_path / "00_made.ipynb", {tmp_path / "00_made.ipynb": Path("00_made.html")}
    )


def test_a_site_that_cannot_be_made_leaves_the_one_that_is_there(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("as it was", encoding="utf-8")
    (tmp_path / "broken.ipynb").write_text("", encoding="utf-8")
    monkeypatch.setattr("letterlib.course.site.SITE", tmp_path / "site")
    monkeypatch.setattr("letterlib.course.site.REPOSITORY", tmp_path)
    monkeypatch.setattr("letterlib.course.site.pages", lambda: [tmp_path / "broken.ipynb"])
    with pytest.raises(SystemExit, match="error: "):
        main()
    assert (tmp_path / "site" / "index.html").read_text(encoding="utf-8") == "as it was"
