"""The site: every link leads somewhere, nothing that a student must not see is there, and a
browser shows it without errors.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from browsing import faults_of, serious_findings, served

from letterlib.course.build import LESSON, REPOSITORY, projects

pytestmark = pytest.mark.xdist_group("site")  # made once


def documents() -> list[Path]:
    """The lessons' student copies, the projects, and all Markdown pages."""
    folders = (
        "",
        "benchmarks",
        "data",
        "docs",
        "docs/api",
        "docs/ko",
        "experiments",
        "experiments/workflow",
        "notebooks/projects",
    )
    return [
        *sorted((REPOSITORY / "notebooks").glob(LESSON)),
        *projects(),
        *sorted(page for folder in folders for page in (REPOSITORY / folder).glob("*.md")),
    ]


def markdown_of(path: Path) -> str:
    """The Markdown of a document, or of all text cells of a notebook."""
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def broken_links(path: Path) -> list[str]:
    """Links of a page whose file or heading does not exist in the repository."""
    text = re.sub(r"```.*?```|`[^`]*`", " ", markdown_of(path), flags=re.DOTALL)
    broken = []
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", text):
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        if not target.exists():
            broken.append(link)
        elif anchor and target.is_file():
            headings = re.findall(r"^#+ +(.+)$", markdown_of(target), flags=re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings]
            if anchor not in slugs:
                broken.append(link)
    return broken


@pytest.mark.parametrize("path", documents(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_links_inside_the_repository_lead_somewhere(path):
    assert broken_links(path) == []


@pytest.mark.parametrize("page", ["README.md", "README.ko.md", "docs/ko/lessons.md"])
def test_lists_of_lessons_have_every_lesson(page):
    text = markdown_of(REPOSITORY / page)
    for path in (REPOSITORY / "notebooks").glob(LESSON):
        assert f"notebooks/{path.name}" in text


def glossary(page: str, order: tuple[str, ...]) -> list[tuple[str, ...]]:
    """English term, Korean term and lesson of each row of a glossary, sorted.

    order: what its columns hold, from the left.
    """
    lines = (REPOSITORY / page).read_text(encoding="utf-8").splitlines()
    table = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line[:1] == "|"]
    rows = [dict(zip(order, cells, strict=True)) for cells in table[2:]]
    assert all(row["meaning"] for row in rows)
    return sorted((row["term"], row["Korean"], row["lesson"]) for row in rows)


def test_both_glossaries_have_the_same_terms_and_lessons():
    english = glossary("docs/glossary.md", ("term", "Korean", "lesson", "meaning"))
    assert len(english) > 150
    assert glossary("docs/ko/glossary.md", ("Korean", "term", "lesson", "meaning")) == english


def test_the_korean_readme_has_the_results_of_the_english_one():
    figures = [
        set(re.findall(r"\+?\.\d{4}", markdown_of(REPOSITORY / page)))
        for page in ("README.md", "README.ko.md")
    ]
    assert figures[0] and figures[0] == figures[1]


def test_every_picture_of_a_lesson_says_what_it_shows():
    pictures = [
        (path.name, output.metadata.get("image/png", {}).get("alt", ""))
        for path in [*(REPOSITORY / "notebooks").glob(LESSON), *projects()]
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) > 50
    assert [name for name, alt in pictures if not alt or "No description" in alt] == []


# The site itself


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site. Sphinx ends with an error if a link leads nowhere."""
    pytest.importorskip("myst_nb", reason="the site's generator is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-E"]
    places = ["-d", folder / "doctrees", "-c", "docs/site", ".", folder / "html"]
    paths = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    made = subprocess.run(
        [*command, *places],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def address(site):
    with served(site) as address:
        yield address


@pytest.mark.slow
def test_solutions_and_hidden_tests_are_not_in_the_site(site):
    assert not (site / "solutions").exists()
    pages = {page.stem: page.read_text("utf-8") for page in (site / "notebooks").glob("*.html")}
    for lesson in (REPOSITORY / "notebooks").glob(LESSON):
        assert "NotImplementedError" in pages[lesson.stem]  # the stub of an exercise
    for text in [page.read_text("utf-8") for page in site.rglob("*.html")]:
        assert "BEGIN HIDDEN" not in text
    assert not any("for_instructors" in str(file) for file in site.rglob("*"))


PAGES = (
    "index.html",
    "README.html",
    "notebooks/02_rq_vae.html",
    "notebooks/05_letter_tokenizer.html",
    "notebooks/07_lc_rec.html",
    "docs/api/tokenizer.html",
    "docs/glossary.html",
    "docs/ko/lessons.html",
    "docs/ko/glossary.html",
    "docs/findings.html",
)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_pages(browser, address, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    problems = faults_of(page, address)
    for place in PAGES:
        page.goto(f"{address}/{place}", wait_until="networkidle")
        assert problems == [], place
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
        assert page.locator(".katex-error").count() == 0, place
        assert page.locator("img:not([alt]), img[alt='']").count() == 0, place
        assert serious_findings(page) == [], place
    page.goto(f"{address}/index.html")
    for code in page.locator(".landing-names code").all():
        box = code.bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= width
        assert code.evaluate("part => part.scrollWidth <= part.clientWidth")
    context.close()


@pytest.mark.slow
def test_search_finds_a_lesson_and_a_class(browser, address):
    page = browser.new_page()
    for words, place in (("codebook", "02_rq_vae"), ("LetterTokenizer", "api/tokenizer")):
        page.goto(f"{address}/search.html?q={words}")
        page.locator(f"#search-results a[href*='{place}']").first.wait_for(timeout=10_000)
    page.close()
