"""The open projects run at smoke, and are stored with outputs and without traces of a machine."""

from pathlib import Path

import nbformat
import pytest

from letterlib.course import build

PROJECTS = build.projects()
each_project = pytest.mark.parametrize("path", PROJECTS, ids=lambda path: path.stem)
pytestmark = pytest.mark.xdist_group("projects")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """One cache for all projects, so that films are embedded once."""
    return tmp_path_factory.mktemp("projects")


@each_project
def test_a_project_runs_at_smoke(runs, path):
    """No cell fails or writes to stderr, and a figure and a table come out."""
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
    assert len(text) < build.LARGEST
    for trace in (str(Path.home()), str(build.REPOSITORY), "site-packages"):
        assert trace not in text
    parameters = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(parameters) == 1 and 'profile: str = "laptop"' in parameters[0].source


def test_building_a_project_keeps_its_source_and_stores_its_outputs(tmp_path):
    cells = [
        nbformat.v4.new_code_cell(text)
        for text in ('profile: str = "laptop"\ncache_dir: str = "x"', "profile")
    ]
    cells[0].metadata["tags"] = ["parameters"]
    path = tmp_path / "projects" / "made.ipynb"
    path.parent.mkdir()
    nbformat.write(build.tidy(nbformat.v4.new_notebook(cells=cells)), path)
    build.build(path, tmp_path, "smoke")
    stored = nbformat.read(path, as_version=4)
    assert [cell.source for cell in stored.cells] == [cell.source for cell in cells]
    assert stored.cells[1].outputs[0].data["text/plain"] == "'smoke'"
    assert not (tmp_path / "made.ipynb").exists()
