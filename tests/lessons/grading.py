"""Grading with nbgrader, as an instructor does it: a lesson is released, copies are handed in, and
points come back.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.api import MissingEntry
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

from letterlib.course.build import never_started, store, student_copy
from letterlib.course.classroom import graded
from letterlib.errors import LetterError

CELL_SECONDS = 300
"""nbgrader gives a cell 30 seconds before it interrupts it, and the points go with it: too few for
a training cell.
"""


def submission(source: NotebookNode, answers: Mapping[str, str]) -> NotebookNode:
    """The student copy of a lesson with some solution cells filled in: grade_id -> the cell's new
    source.
    """
    notebook = student_copy(source)
    cells = graded(notebook)
    for grade_id, text in answers.items():
        cells[grade_id].source = text
    return notebook


def solutions(source: NotebookNode) -> dict[str, str]:
    """grade_id -> source of every solution cell, as the worked solution has it."""
    cells = [cell for cell in source.cells if cell.metadata.get("nbgrader", {}).get("solution")]
    return {cell.metadata.nbgrader.grade_id: cell.source for cell in cells}


def nbgrader_config(course: Path) -> Config:
    """The settings that grading these lessons needs; `docs/instructors.md` has them as a file."""
    config = Config()
    config.CourseDirectory.root = str(course)
    config.CourseDirectory.course_id = "letter"
    config.Execute.timeout = CELL_SECONDS
    config.Execute.skip_cells_with_tag = (
        "none-has-this-tag"  # a test that is not run would count as passed
    )
    config.OverwriteCells.add_missing_cells = True
    return config


def autograde(
    source: Path, submissions: Mapping[str, NotebookNode], course: Path
) -> dict[str, dict[str, float]]:
    """Release a lesson in a course folder, hand in the submissions and grade them with nbgrader.

    submissions: student -> notebook. Returns student -> grade_id -> points.
    """
    lesson = source.stem
    # nbgrader starts `alembic` by its bare name, which is not on the path of a python called as
    # .venv/bin/python.
    os.environ["PATH"] = os.pathsep.join(
        [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    )
    (course / "source" / lesson).mkdir(parents=True)
    store(nbformat.read(source, as_version=4), course / "source" / lesson / source.name)
    api = NbGraderAPI(config=nbgrader_config(course))
    _confirm(api.generate_assignment(lesson), f"generate_assignment {lesson}")
    points = {}
    for student, notebook in submissions.items():
        folder = course / "submitted" / student / lesson
        folder.mkdir(parents=True)
        nbformat.write(notebook, folder / source.name)
        result = api.autograde(lesson, student)
        if never_started(result.get("log") or ""):
            result = api.autograde(lesson, student)
        _confirm(result, f"autograde {lesson} {student}")
        points[student] = _points(api, lesson, student)
    return points


def _points(api: NbGraderAPI, lesson: str, student: str) -> dict[str, float]:
    with api.gradebook as gradebook:
        try:
            graded = gradebook.find_submission_notebook(lesson, lesson, student)
        except MissingEntry as error:
            raise LetterError(
                f"{student}: no graded copy of {lesson}; is the file's name unchanged?"
            ) from error
        return {grade.name: grade.score for grade in graded.grades}


def _confirm(result: dict[str, Any], what: str) -> None:
    if not result["success"]:
        said = "\n".join(
            result.get(name) or "" for name in ("log", "error")
        )  # the cause may stand in either
        raise LetterError(f"nbgrader {what} failed: {said.strip()[-3000:]}")
