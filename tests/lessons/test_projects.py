"""The open projects: each runs at smoke, is stored whole and small, is short, spelt, and linked
from the README.
"""

import re
from pathlib import Path

import nbformat
import pytest
from reading import broken_links, words_of
from spellchecker import SpellChecker
from test_prose import glossary, listed

from letterlib.course import build, projects
from letterlib.course.prose import markdown_of

HERE = Path(__file__).parent
NAMES = (
    "cold_start_items",
    "cross_domain_tokenization",
    "instructions_with_identifiers",
    "multi_behaviour_tokenization",
)
PROJECTS = projects.projects()
each_project = pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.stem)
pytestmark = pytest.mark.xdist_group("projects")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """One cache for all projects, so that films are embedded once."""
    return tmp_path_factory.mktemp("projects")


def test_there_are_the_four_of_the_paper_and_of_the_course():
    assert tuple(path.stem for path in PROJECTS) == NAMES


@each_project
def test_a_project_runs_at_smoke(runs, path):
    """No cell fails or writes to stderr, every cell runs, and a figure and a table come out."""
    build.execute(path, runs / path.name, profile="smoke", cache_dir=str(runs / "cache"))
    executed = nbformat.read(runs / path.name, as_version=4)
    kinds = [
        kind
        for cell in executed.cells
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    ]
    assert "image/png" in kinds and "text/html" in kinds


@each_project
def test_stored_projects_are_whole_small_and_free_of_this_machine(path):
    notebook, text = nbformat.read(path, as_version=4), path.read_text()
    build.confirm_ran(notebook, path.name)
    assert len(text) < projects.LARGEST
    assert (
        str(Path.home()) not in text
        and str(build.REPOSITORY) not in text
        and "site-packages" not in text
    )
    parameters = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(parameters) == 1 and 'profile: str = "laptop"' in parameters[0].source
    assert all("#" in line for line in parameters[0].source.splitlines()), (
        "a parameter has a comment"
    )


@each_project
def test_a_project_is_an_invitation_and_no_lesson(path):
    text = markdown_of(path)
    assert 800 <= len(words_of(text)) <= 1500
    for part in (
        "**The question.**",
        "**Why it is open.**",
        "## The first number",
        "## What to try, from easy to hard",
        "## Pitfalls",
        "**Leaks.**",
        "## What to hand in",
    ):
        assert part in text, part
    ideas = text.split("## What to try, from easy to hard")[1].split("## ")[0]
    assert 4 <= len(re.findall(r"^\d\. ", ideas, flags=re.MULTILINE)) <= 6
    assert 5 <= build.promised_seconds(nbformat.read(path, as_version=4)) <= 120


@each_project
def test_the_spelling_of_a_project(path):
    known = {word.lower() for row in glossary() for word in words_of(" ".join(row))} | listed(
        "words.txt"
    )
    words = {
        word.replace("’", "'").removesuffix("'s").lower() for word in words_of(markdown_of(path))
    }
    unknown = SpellChecker().unknown({word for word in words if len(word) > 2}) - known
    assert not unknown, f"misspelt, or new to tests/lessons/words.txt: {', '.join(sorted(unknown))}"


@each_project
def test_links_of_a_project_lead_somewhere_and_the_readme_leads_to_it(path):
    assert broken_links(path) == []
    assert f"notebooks/projects/{path.name}" in markdown_of(build.REPOSITORY / "README.md")


def test_building_a_project_keeps_its_source_and_stores_its_outputs(tmp_path):
    cells = [
        nbformat.v4.new_code_cell(text)
        for text in ('profile: str = "laptop"\ncache_dir: str = "x"', "profile")
    ]
    cells[0].metadata["tags"] = ["parameters"]
    path = tmp_path / "made.ipynb"
    nbformat.write(build.tidy(nbformat.v4.new_notebook(cells=cells)), path)
    projects.build(path, "smoke", tmp_path)
    stored = nbformat.read(path, as_version=4)
    assert [cell.source for cell in stored.cells] == [cell.source for cell in cells]
    assert stored.cells[1].outputs[0].data["text/plain"] == "'smoke'"
    assert projects.main(["none-of-these"]) == 2
