"""Links of lessons and documents lead somewhere; README lists every lesson."""

import pytest

from letterlib.course.build import LESSON, REPOSITORY
from letterlib.course.links import broken_links, documents, external_links, links_of, markdown_of
from letterlib.course.projects import projects


@pytest.mark.parametrize(
    "path", [*documents(), *projects()], ids=lambda path: str(path.relative_to(REPOSITORY))
)
def test_links_inside_the_repository_lead_somewhere(path):
    assert broken_links(path) == []


def test_the_readme_lists_every_lesson():
    readme = markdown_of(REPOSITORY / "README.md")
    for path in (REPOSITORY / "notebooks").glob("*.ipynb"):
        assert not LESSON.fullmatch(path.name) or f"notebooks/{path.name}" in readme


def test_broken_links_are_found_and_code_is_left_alone(tmp_path):
    (tmp_path / "there.md").write_text("# What it is\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](gone.md) [c](there.md#what-it-is) [d](there.md#else) `[e](no.md)` "
        "![f](gone.png) [g](https://example.org/x)"
    )
    assert broken_links(page) == ["gone.md", "there.md#else", "gone.png"]
    assert external_links([page]) == ["https://example.org/x"]
    assert links_of("```\n[x](y)\n```") == []
