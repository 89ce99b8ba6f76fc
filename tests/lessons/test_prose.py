"""What lessons and documents say: length, spelling, terms, links."""

import re
from pathlib import Path

import nbformat
import pytest
from reading import anchors_of, broken_links, italics_of, words_of
from spellchecker import SpellChecker

from letterlib.course.build import LESSON, REPOSITORY, lessons
from letterlib.course.prose import documents, external_links, links_of, markdown_of

HERE = Path(__file__).parent
GLOSSARY = REPOSITORY / "docs" / "glossary.md"
each_lesson = pytest.mark.parametrize("path", lessons(), ids=lambda path: path.stem)
each_document = pytest.mark.parametrize(
    "path", documents(), ids=lambda path: str(path.relative_to(REPOSITORY))
)


def listed(name: str) -> set[str]:
    return set((HERE / name).read_text(encoding="utf-8").lower().splitlines())


def glossary() -> list[list[str]]:
    """Rows of the glossary: term, Korean, lessons, meaning."""
    lines = [line for line in markdown_of(GLOSSARY).splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def is_term(phrase: str, terms: set[str]) -> bool:
    phrase = phrase.lower()
    forms = (
        phrase,
        phrase.removesuffix("s"),
        phrase.removesuffix("es"),
        phrase.removesuffix("ies") + "y",
    )
    return any(term.startswith(forms) or term.endswith(forms) for term in terms)


@each_lesson
def test_a_lesson_is_neither_thin_nor_endless(path):
    assert 2000 <= len(words_of(markdown_of(path))) <= 3500


@each_lesson
def test_code_fits_its_cell_and_the_text_links_to_other_lessons(path):
    """JupyterLab shows some 112 letters at 1440 pixels, and 88, to which exercises are held, at
    1100.
    """
    for cell in nbformat.read(path, as_version=4).cells:
        widest = 88 if cell.metadata.get("nbgrader", {}).get("solution") else 100
        if cell.cell_type == "code":
            assert max(map(len, cell.source.splitlines()), default=0) <= widest, cell.source[:60]
    assert re.search(r"\]\(\d\d_\w+\.ipynb\)", markdown_of(path))


@each_document
def test_spelling(path):
    """Words in no English dictionary are in the glossary, or in words.txt once someone has looked
    at them.
    """
    known = {word.lower() for row in glossary() for word in words_of(" ".join(row))} | listed(
        "words.txt"
    )
    words = {
        word.replace("’", "'").removesuffix("'s").lower() for word in words_of(markdown_of(path))
    }
    unknown = SpellChecker().unknown({word for word in words if len(word) > 2}) - known
    assert not unknown, f"misspelt, or new to tests/lessons/words.txt: {', '.join(sorted(unknown))}"


@each_lesson
def test_a_word_in_italics_is_a_term_of_the_glossary_or_only_emphasised(path):
    text = markdown_of(path).split("## Further reading")[0]
    terms = {
        part.strip().lower()
        for row in glossary()
        for part in re.split(r"[,(]", row[0].replace(")", ""))
    }
    terms |= {row[0].lower() for row in glossary()}
    plain = listed("emphasised.txt")
    unknown = [
        one for one in italics_of(text) if not is_term(one, terms) and one.lower() not in plain
    ]
    assert not unknown, (
        f"give each a row in docs/glossary.md, or a line in tests/lessons/emphasised.txt: {unknown}"
    )


def test_the_glossary_is_in_order_with_korean_and_with_lessons_that_define_its_terms():
    rows = glossary()
    names = [row[0].lower() for row in rows]
    assert names == sorted(names) and len(set(names)) == len(names)
    texts = {path.name[:2]: markdown_of(path).lower() for path in lessons()}
    for term, korean, numbers, meaning in rows:
        assert re.search("[가-힣]", korean), f"{term}: no Korean equivalent"
        assert meaning and re.fullmatch(r"\d\d(, \d\d)*", numbers), term
        for number in numbers.split(", "):
            assert number in texts, f"{term}: there is no lesson {number}"
            stem = re.split(r"[,(]", term.lower())[0].strip()[:6]
            assert stem in texts[number], f"{term}: not in the text of lesson {number}"


@each_document
def test_links_inside_the_repository_lead_somewhere(path):
    assert broken_links(path) == []


def test_the_readme_lists_every_lesson():
    readme = markdown_of(REPOSITORY / "README.md")
    for path in (REPOSITORY / "notebooks").glob("*.ipynb"):
        assert not LESSON.fullmatch(path.name) or f"notebooks/{path.name}" in readme, path.name


# The tools of this file


def test_words_are_what_a_reader_reads():
    text = "A *film's* `code` is $c_1$, see [the paper](https://x.org/a).\n\n$$\\sum x$$\n<details>more</details>"
    assert words_of(text) == ["A", "film's", "is", "see", "the", "paper", "more"]


def test_captions_are_not_terms():
    assert italics_of(
        "The *codebook* is **bold** and *short list*.\n\n*A caption in italics.*"
    ) == [
        "codebook",
        "short list",
    ]


def test_broken_links_are_found_and_code_is_left_alone(tmp_path):
    (tmp_path / "there.md").write_text("# What it is\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](gone.md) [c](there.md#what-it-is) [d](there.md#else) `[e](no.md)` "
        "![f](gone.png) [g](https://example.org/x)"
    )
    assert broken_links(page) == ["gone.md", "there.md#else", "gone.png"]
    assert external_links([page]) == ["https://example.org/x"]
    assert anchors_of("## 1. A `course` folder") == {"1-a-course-folder"}
    assert links_of("```\n[x](y)\n```") == []
