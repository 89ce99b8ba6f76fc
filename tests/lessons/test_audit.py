"""What `classroom audit` lists after grading, and the file names that are collected before."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from grading import solutions, submission
from nbgrader.api import Gradebook
from nbgrader.plugins import FileNameCollectorPlugin

from letterlib.course.audit import alone, audit, fingerprint, reaches
from letterlib.course.build import REPOSITORY, lessons
from letterlib.course.classroom import graded, points

LESSON = "02_rq_vae"
SOURCE = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
GUIDE = (REPOSITORY / "docs" / "instructors.md").read_text(encoding="utf-8")

HONEST = {
    "rq-loss": """
def my_rq_loss(residuals, vectors, mu):
    terms = []
    for r, v in zip(residuals, vectors):
        terms.append(((v - r.detach()) ** 2).mean() + mu * ((r - v.detach()) ** 2).mean())
    return sum(terms) / len(terms)
""",
    "nearest-code": """
def my_nearest_code(z, codebook):
    return ((z[:, None] - codebook) ** 2).sum(dim=2).argmin(dim=1)
""",
}
RENAMED = """
def my_rq_loss(left, chosen, weight: float):
    '''Mine.'''
    parts = []

    for a, b in zip(left, chosen):  # level by level
        parts.append(((b - a.detach()) ** 2).mean() + weight * ((a - b.detach()) ** 2).mean())
    return sum(parts) / len(parts)
"""
FORGED = [
    "import letterlib.course.checks as c\nc.require.__code__ = (lambda *given: None).__code__",
    "torch.equal = lambda *given: True",
    "t = torch\nt.allclose = print",
    "for module in [torch]:\n    module.equal = print",
    "setattr(torch.Tensor, 'all', lambda self: True)",
    "%%bash\ncat ../solutions/02_rq_vae.ipynb",
    "!cat ../solutions/02_rq_vae.ipynb",
    "from unittest.mock import patch",
    "keep = lambda name, answer: answer",
    "from math import sqrt as check",
    "class Equal(torch.Tensor):\n    def __eq__(self, other): return True",
    "answers = torch.load('../runs/answers.pt')",
    "open('../../gradebook.db', 'w')",
]


def hand_in(course: Path, student: str, answers: dict[str, str], change=None, marks=16) -> None:
    """A hand-in, as it is after grading: with so many points, spread over the first tests."""
    notebook = submission(SOURCE, answers)
    if change:
        change(notebook)
    for folder in ("submitted", "autograded"):
        path = course / folder / student / LESSON / f"{LESSON}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        submitted = book.update_or_create_submission(LESSON, student)
        for grade in submitted.notebooks[0].grades:
            grade.auto_score = min(grade.max_score, marks)
            marks -= grade.auto_score
        book.db.commit()


@pytest.fixture
def course(tmp_path: Path, monkeypatch) -> Path:
    """Lesson 02 released to six students."""
    # nbgrader starts `alembic` by its bare name
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    monkeypatch.setenv("PATH", path)
    for folder, notebook in {"source": SOURCE, "release": submission(SOURCE, {})}.items():
        (tmp_path / folder / LESSON).mkdir(parents=True)
        nbformat.write(notebook, tmp_path / folder / LESSON / f"{LESSON}.ipynb")
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as book:
        book.add_assignment(LESSON)
        book.add_notebook(LESSON, LESSON)
        for name, cell in graded(SOURCE).items():
            if cell.metadata.nbgrader.grade:
                most = cell.metadata.nbgrader.points
                book.add_grade_cell(name, LESSON, LESSON, max_score=most, cell_type="code")
        for student in ("ada", "bob", "cem", "dan", "eve", "fay"):
            book.add_student(student)
    return tmp_path


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own
def test_forged_edited_shared_and_missing_work_is_listed_and_honest_work_is_not(course):
    def forge(notebook):
        notebook.cells.insert(3, nbformat.v4.new_code_cell(FORGED[0]))

    def edit(notebook):
        graded(notebook)["test-rq-loss"].source = 'rq_loss = print("2.4: correct")'

    own = "def my_rq_loss(residuals, vectors, mu):\n    raise NotImplementedError()"
    hand_in(course, "ada", HONEST, marks=2)
    hand_in(course, "bob", {"rq-loss": RENAMED}, marks=0)
    hand_in(course, "cem", {"nearest-code": "def my_nearest_code(*z):\n    return 1"}, forge)
    hand_in(course, "dan", {"rq-loss": own}, edit, marks=0)
    ends = "class Eve:\n    quit()\n" + HONEST["nearest-code"]
    hand_in(course, "eve", {"nearest-code": ends}, marks=2)
    names = "nearest-code residual-quantize straight-through rq-loss forward train-step".split()
    most = {name: graded(SOURCE)[f"test-{name}"].metadata.nbgrader.points for name in names}
    found = audit(course, LESSON)
    assert "fails alone: 2.1: incorrect" in found[0]
    assert found[0].startswith("cem: nearest-code has 2 points and ")
    assert found[1:] == [
        *(f"cem: {name} has {most[name]} points and is untouched" for name in names[1:]),
        *(f"cem: reaches outside: {line}" for line in FORGED[0].splitlines()),
        "dan: test-rq-loss was edited",
        "eve: could not be run alone",
        "fay: no hand-in",
        "ada = bob: rq-loss",
    ]


@pytest.mark.parametrize("text", FORGED)
def test_a_line_that_reaches_outside_is_listed(text):
    release = submission(SOURCE, {})
    notebook = submission(SOURCE, solutions(SOURCE))
    notebook.cells.append(nbformat.v4.new_code_cell(text))
    found = reaches(notebook, release)
    assert found and all(line in text for line in found)


@pytest.mark.parametrize("source", lessons(), ids=lambda path: path.stem[:2])
def test_the_worked_solutions_reach_nowhere_and_pass_alone(source, monkeypatch):
    monkeypatch.setenv("LETTERLIB_MINE", "")
    notebook = nbformat.read(source, as_version=4)
    release, full = submission(notebook, {}), submission(notebook, solutions(notebook))
    assert reaches(full, release) == [] and alone(full, release) == {}


def test_answers_are_compared_without_the_names_that_they_chose():
    assert fingerprint(HONEST["rq-loss"]) == fingerprint(RENAMED)
    assert fingerprint(RENAMED) != fingerprint(RENAMED.replace("b - a", "a - b"))
    assert fingerprint(RENAMED) != fingerprint(solutions(SOURCE)["rq-loss"])
    assert fingerprint(HONEST["nearest-code"]) == "", "short answers coincide"


def test_points_by_exercise_are_those_of_the_tests():
    line = next(line for line in points() if line.startswith("02"))
    total = sum(cell.metadata.nbgrader.points for cell in graded(SOURCE).values())
    assert line.startswith(f"02 | {total} | nearest-code 2, ")


@pytest.mark.parametrize(
    "system,file,student",
    [
        ("plain", "ada_02_rq_vae.ipynb", "ada"),
        ("plain", "van_half_02_rq_vae.ipynb", "van_half"),
        ("plain", "s2026001_02_rq_vae (1).ipynb", "s2026001"),
        ("canvas", "submissions/lovelaceada_4711_90210_02_rq_vae.ipynb", "4711"),
        ("canvas", "submissions/lovelaceada_LATE_4711_90210_02_rq_vae-1.ipynb", "4711"),
        ("canvas", "submissions/obrienzoë_4712_90211_zoe_02_rq_vae.ipynb", "4712"),
        (
            "moodle",
            "C1-L2-77/Ada Lovelace_815_assignsubmission_file/02_rq_vae.ipynb",
            "Ada Lovelace",
        ),
        (
            "moodle",
            "C1-L2-77/Ada Lovelace_815_assignsubmission_file_/02_rq_vae.ipynb",
            "Ada Lovelace",
        ),
        ("moodle", "C1-L2-77/Zoë O'Brien_9_assignsubmission_file_02_rq_vae.ipynb", "Zoë O'Brien"),
        ("moodle", "C1/Ada Lovelace_815_assignsubmission_file/ada_02_rq_vae.ipynb", "Ada Lovelace"),
    ],
)
def test_hand_ins_are_found_by_the_names_that_each_system_gives(system, file, student):
    pattern = re.search(rf'^{system} = r"(.*)"$', GUIDE, re.MULTILINE)[1]
    collector = FileNameCollectorPlugin(named_regexp=pattern)
    found = collector.collect(f"/course/downloaded/{LESSON}/extracted/{file}")
    assert (found["student_id"], found["file_id"]) == (student, LESSON)


@pytest.mark.parametrize(
    "name,table,ids",
    [
        (
            "canvas",
            "Student,ID,SIS Login ID,Section\n    Points Possible,,,\n"
            '"Lovelace, Ada",4711,ada,1\n"O\'Brien, Zoë",4712,zoe,1\n',
            ["4711", "4712"],
        ),
        (
            "moodle",
            "First name,Last name,Email address\nAda,Lovelace,a@b.c\nZoë,O'Brien,z@b.c\n",
            ["Ada Lovelace", "Zoë O'Brien"],
        ),
    ],
)
def test_a_roster_is_made_of_what_each_system_exports(name, table, ids, tmp_path):
    (code,) = re.findall(rf'^python -c "(.*{name}\.csv.*)"$', GUIDE, re.MULTILINE)
    (tmp_path / f"{name}.csv").write_text(table, encoding="utf-8")
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "roster.csv").read_text(encoding="utf-8").splitlines() == ["id", *ids]
