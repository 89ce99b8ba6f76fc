"""Every lesson through the whole chain: source, student copy, smoke run, second run, grading.

The runs of one lesson depend on each other, so they share one worker.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import grading
import nbformat
import numpy as np
import pytest
from hand_ins import HALF_RIGHT, POINTS
from papermill import PapermillExecutionError

from letterlib.course import build, classroom
from letterlib.course.build import never_started
from letterlib.course.checks import module_of
from letterlib.errors import LetterError

LESSONS = build.lessons()
each_lesson = pytest.mark.parametrize(
    "source",
    [
        pytest.param(path, marks=pytest.mark.xdist_group(path.stem), id=path.stem)
        for path in LESSONS
    ],
)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Path:
    """One cache for all runs of this module, so that item texts are embedded once."""
    return tmp_path_factory.mktemp("workshop")


OTHER_DRAWS = (
    "the outputs were stored with NumPy 2.4; from the same seed 2.5 draws other "
    "multinomials, and so intervals"
)


def run(workshop: Path, source: Path, kind: str) -> nbformat.NotebookNode:
    """The executed smoke copy of a lesson, made once a session. kind: "solution" or "student"."""
    executed = workshop / kind / source.name
    if not executed.exists():
        executed.parent.mkdir(exist_ok=True)
        notebook = nbformat.read(source, as_version=4)
        before = workshop / f"{kind}.ipynb"
        nbformat.write(notebook if kind == "solution" else build.student_copy(notebook), before)
        build.execute(before, executed, profile="smoke", cache_dir=str(workshop / "runs"))
    return nbformat.read(executed, as_version=4)


def outcomes(notebook: nbformat.NotebookNode) -> list[str]:
    """What every check displayed, in order."""
    shown = [
        o.data["text/plain"] for c in notebook.cells for o in c.get("outputs", []) if "data" in o
    ]
    return [text.splitlines()[0] for text in shown if text[:1].isdigit()]


def exercises(source: Path) -> list[str]:
    return list(module_of(f"lesson_{source.stem[:2]}").EXERCISES)


def test_committed_student_copies_are_what_the_sources_give():
    notebooks = build.REPOSITORY / "notebooks"
    assert LESSONS and build.differences(LESSONS, notebooks) == []


@each_lesson
def test_every_check_of_the_solution_is_correct(workshop, source):
    assert outcomes(run(workshop, source, "solution")) == [
        f"{name}: correct" for name in exercises(source)
    ]


@pytest.mark.slow
@each_lesson
def test_the_untouched_student_copy_runs_to_its_end(workshop, source):
    found = outcomes(run(workshop, source, "student"))
    assert found == [f"{name}: not attempted" for name in exercises(source)]


@pytest.mark.slow
def test_who_solves_all_lessons_owns_a_letter(workshop, tmp_path):
    """All solutions, in order, as one learner's: later lessons run on what earlier ones kept."""
    shown = {}
    for source in LESSONS:
        executed = tmp_path / source.name
        mine, cache = str(tmp_path / "mine"), str(workshop / "runs")
        build.execute(source, executed, mine=mine, profile="smoke", cache_dir=cache)
        cells = nbformat.read(executed, as_version=4).cells
        shown[source.stem] = "".join(o.get("text", "") for c in cells for o in c.get("outputs", []))
    assert sum(text.count(": yours, from mine/lesson_") for text in shown.values()) >= 20
    for lesson, text in shown.items():
        assert ": the library's (" not in text and "could not be kept" not in text, lesson
    letter = (tmp_path / "mine" / "letter.py").read_text()
    assert "letterlib.course" not in letter, "nothing stands in for an answer"
    compile(letter, "letter.py", "exec")


@pytest.mark.slow
@each_lesson
def test_two_runs_give_the_same_numbers(workshop, source):
    """nbval executes the smoke copy again and compares the cells tagged exact; other cells only
    have to run.
    """
    executed = workshop / "solution" / source.name
    notebook = run(workshop, source, "solution")
    exact = exact_cells(notebook)
    assert len(exact) >= 3 and all(cell.outputs for cell in exact)
    result = nbval(executed)
    if never_started(result.stdout):
        result = nbval(executed)
    assert result.returncode == 0, result.stdout


@pytest.mark.skipif(np.__version__ >= "2.5", reason=OTHER_DRAWS)
@pytest.mark.xdist_group("11_ablations_and_sweeps")
def test_what_lesson_11_reads_from_the_records_is_what_is_stored_in_it(workshop):
    """It reads all records of the repository, so records that are added may change what it says."""
    source = next(path for path in LESSONS if path.stem == "11_ablations_and_sweeps")
    stored, now = nbformat.read(source, as_version=4), run(workshop, source, "solution")
    for cell, again in zip(exact_cells(stored), exact_cells(now), strict=True):
        assert words_shown(cell) == words_shown(again), cell.source


def words_shown(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell shows as text, however it is spaced."""
    return " ".join(
        o.get("text") or o.get("data", {}).get("text/plain", "") for o in cell.outputs
    ).split()


def exact_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [
        cell for cell in notebook.cells if "nbval-check-output" in cell.metadata.get("tags", [])
    ]


def nbval(notebook: Path) -> subprocess.CompletedProcess:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "--nbval-lax",
    ]
    environment = os.environ | {"TQDM_DISABLE": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    return subprocess.run(
        [*command, "--nbval-current-env", "--rootdir", str(notebook.parent), str(notebook)],
        capture_output=True,
        text=True,
        env=environment,
        cwd=notebook.parent,
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own
@pytest.mark.parametrize("lesson", [source.stem for source in LESSONS])
def test_three_submissions_get_the_points_they_should(workshop, lesson, tmp_path):
    """Full marks, half right (one wrong answer, one stub), untouched; with nbgrader's own release
    and grading.
    """
    source = build.REPOSITORY / "solutions" / f"{lesson}.ipynb"
    notebook = nbformat.read(source, as_version=4)
    answers = grading.solutions(notebook)
    wrong, expected = HALF_RIGHT[lesson[:2]], POINTS[lesson[:2]]
    half = {name: text for name, text in (answers | wrong).items() if text is not None}
    submissions = {
        "full": grading.submission(notebook, answers),
        "half": grading.submission(notebook, half),
        "untouched": grading.submission(notebook, {}),
    }
    for submission in submissions.values():
        classroom.set_parameters(submission, profile="smoke", cache_dir=str(workshop / "runs"))
    points = grading.autograde(source, submissions, tmp_path / "course")
    assert {student: sum(graded.values()) for student, graded in points.items()} == expected
    lost = {f"test-{name}" for name in wrong}
    assert points["half"] == {
        name: 0 if name in lost else most for name, most in points["full"].items()
    }
    released = nbformat.read(
        tmp_path / "course" / "release" / source.stem / source.name, as_version=4
    )
    ours = build.student_copy(notebook)
    assert [cell.source for cell in released.cells] == [cell.source for cell in ours.cells]
    assert [cell.metadata.get("nbgrader") for cell in released.cells] == [
        cell.metadata.get("nbgrader") for cell in ours.cells
    ]


@each_lesson
def test_stored_notebooks_are_whole_small_and_free_of_this_machine(source):
    for path in (source, build.REPOSITORY / "notebooks" / source.name):
        notebook = nbformat.read(path, as_version=4)
        build.confirm_ran(notebook, path.name)
        text = path.read_text()
        assert len(text) < build.LARGEST
        assert (
            str(Path.home()) not in text
            and str(build.REPOSITORY) not in text
            and "site-packages" not in text
        )
        exact = exact_cells(notebook)
        assert all(cell.outputs for cell in exact), "a cell compared exactly needs a stored output"


@each_lesson
def test_students_see_no_solution_and_no_hidden_test(source):
    text = (build.REPOSITORY / "notebooks" / source.name).read_text()
    assert "BEGIN SOLUTION" not in text and "HIDDEN TESTS" not in text
    notebook = nbformat.read(source, as_version=4)
    student = nbformat.read(build.REPOSITORY / "notebooks" / source.name, as_version=4)
    stubs = [cell for cell in student.cells if "raise NotImplementedError()" in cell.source]
    assert len(stubs) == len(grading.solutions(notebook)) == len(exercises(source))


# The chain's own gates, on notebooks made here


def notebook_of(
    *sources: str, parameters: str = "profile: str = 'laptop'"
) -> nbformat.NotebookNode:
    cells = [nbformat.v4.new_code_cell(text) for text in (parameters, *sources)]
    cells[0].metadata["tags"] = ["parameters"]
    return build.tidy(nbformat.v4.new_notebook(cells=cells))


def written(tmp_path: Path, notebook: nbformat.NotebookNode) -> Path:
    path = tmp_path / "99_made.ipynb"
    nbformat.write(notebook, path)
    return path


@pytest.mark.parametrize(
    "code,words",
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; print('careless', file=sys.stderr)", "wrote to stderr: careless"),
        ("import warnings; warnings.warn('look out')", "look out"),
    ],
)
def test_a_cell_that_fails_or_warns_fails_the_notebook(tmp_path, code, words):
    with pytest.raises((LetterError, PapermillExecutionError), match=words):
        build.execute(written(tmp_path, notebook_of(code)), tmp_path / "out.ipynb", profile="smoke")


def test_a_cell_that_did_not_run_fails_the_notebook():
    notebook = notebook_of("2 + 2", "3 + 3")
    for count, cell in enumerate(notebook.cells[:2], start=1):
        cell.execution_count = count
    with pytest.raises(LetterError, match="code cell 3 .*did not run"):
        build.confirm_ran(notebook, "made")


def test_building_twice_gives_the_same_bytes_and_no_trace_of_the_machine(tmp_path):
    source = written(
        tmp_path, notebook_of("{'a': 1}", f"print({str(build.REPOSITORY)!r}[:], profile)")
    )
    (tmp_path / "notebooks").mkdir()
    seen = []
    for _ in range(2):
        build.build(source, tmp_path / "notebooks", "smoke")
        seen.append([path.read_bytes() for path in (source, tmp_path / "notebooks" / source.name)])
    assert seen[0] == seen[1]
    outputs = [
        output for cell in nbformat.read(source, as_version=4).cells for output in cell.outputs
    ]
    assert outputs[-1].text == "<repository> smoke\n"
    assert "injected" not in source.read_text() and "papermill" not in source.read_text()


def test_a_lesson_that_is_edited_while_it_runs_keeps_the_edit(tmp_path):
    source = written(tmp_path, notebook_of("1 + 1"))
    edit = f"__import__('pathlib').Path({str(source)!r}).write_text('edited')"
    source = written(tmp_path, notebook_of(edit))
    (tmp_path / "notebooks").mkdir()
    with pytest.raises(LetterError, match="was changed while it ran, and is left as it is"):
        build.build(source, tmp_path / "notebooks", "smoke")
    assert source.read_text() == "edited" and not any((tmp_path / "notebooks").iterdir())


def test_a_changed_student_copy_is_found(tmp_path):
    source = written(tmp_path, notebook_of("2 + 2"))
    (tmp_path / "notebooks").mkdir()
    assert build.differences([source], tmp_path / "notebooks") == [
        "99_made.ipynb: missing from notebooks/"
    ]
    build.store(
        build.student_copy(nbformat.read(source, as_version=4)),
        tmp_path / "notebooks" / source.name,
    )
    assert build.differences([source], tmp_path / "notebooks") == []
    changed = notebook_of("2 + 3")
    build.store(changed, tmp_path / "notebooks" / source.name)
    assert "cell 2" in build.differences([source], tmp_path / "notebooks")[0]
    pictured = build.student_copy(nbformat.read(source, as_version=4))
    pictured.cells[0]["attachments"] = {"p.png": {"image/png": "AAAA"}}
    build.store(pictured, tmp_path / "notebooks" / source.name)
    assert "cell 1" in build.differences([source], tmp_path / "notebooks")[0]


def test_the_first_cell_installs_the_course_only_where_it_is_missing(monkeypatch):
    notebook = notebook_of("2 + 2")
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell("# Title"))
    once = build.with_setup(notebook, "99_made.ipynb", "https://github.com/one/course")
    twice = build.with_setup(once, "99_made.ipynb", "https://github.com/one/course")
    sources = [cell.source for cell in twice.cells]
    assert sources == [cell.source for cell in once.cells]
    assert sources[2:] == [build.SETUP, *(cell.source for cell in notebook.cells[1:])]
    assert "github/one/course/blob/main/notebooks/99_made.ipynb" in sources[1]
    asked = []
    shell = SimpleNamespace(run_line_magic=lambda *words: asked.append(words))
    exec(build.SETUP, {"get_ipython": lambda: shell})
    assert not asked
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(build.SETUP, {"get_ipython": lambda: shell})
    assert asked == [("pip", "install --quiet letterlib[course]")]
