"""docs/instructors.md, run: its own commands, in its own order, with three hand-ins and exact
marks.
"""

import csv
import os
import re
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from grading import solutions, submission
from hand_ins import HALF_RIGHT, POINTS

from letterlib.course.build import REPOSITORY
from letterlib.course.classroom import graded, main, repair, set_parameters, to_be_read

LESSON = "02_rq_vae"
COLLECT = "nbgrader zip_collect"
NAMES = {"half": "van_half"}
"""A name with an underscore, as in the names of files."""


@pytest.mark.slow
def test_every_command_of_the_walk_works_and_gives_the_marks_it_should(tmp_path):
    text = (REPOSITORY / "docs" / "instructors.md").read_text(encoding="utf-8")
    commands = "\n".join(re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL))
    assert COLLECT in commands and "nbgrader export" in commands
    for name in ("solutions", "experiments"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    hand_in(tmp_path / "handed-in", meddle)
    (tmp_path / "roster.csv").write_text("id\nfull\nvan_half\nuntouched\nabsent\n")
    roster = "nbgrader db student import"
    commands = commands.replace(roster, f"cp ../roster.csv .\n{roster}")
    before, after = commands.split(COLLECT)
    arrive = (
        f"mkdir -p downloaded/{LESSON}/archive\ncp ../handed-in/* downloaded/{LESSON}/archive/\n"
    )
    shown = shell(before + arrive + COLLECT + after, tmp_path)

    with open(tmp_path / "letter" / "grades.csv", newline="") as file:
        marks = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    expected = {NAMES.get(name, name): points for name, points in POINTS["02"].items()}
    assert marks == expected | {"absent": 0}
    listed = shown.splitlines()
    assert {"absent: no hand-in", "untouched: reaches outside: def require(*_): pass"} <= {*listed}
    assert any(line.startswith("full = van_half = the worked solution: ") for line in listed)
    page = (tmp_path / "letter" / "feedback" / NAMES["half"] / LESSON / f"{LESSON}.html").read_text(
        encoding="utf-8"
    )
    assert "From the second level on, code the residual" in page, (
        "feedback should name the likely cause"
    )


def test_the_copy_for_students_has_no_answer_in_it(tmp_path):
    """Said in step 2, where one stands in letter/."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a clone")
    text = (REPOSITORY / "docs" / "instructors.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^mkdir .*git ls-files.*$", text, flags=re.MULTILINE)
    shell(
        f"git clone -q --depth 1 file://{REPOSITORY} here && mkdir here/letter && cd "
        f"here/letter && touch ../new.md\n{command}",
        tmp_path,
    )
    copied = {path.name for path in (tmp_path / "student-copy").iterdir()}
    assert {"notebooks", "letterlib", "pyproject.toml", "new.md"} < copied and not copied & {
        "solutions",
        "tests",
        ".git",
        "letter",
    }


def test_a_broken_hand_in_is_named_and_stops_no_other(tmp_path, capsys):
    hand_in(tmp_path / "in")
    whole = tmp_path / "in" / f"untouched_{LESSON}.ipynb"
    notebook = nbformat.read(whole, as_version=4)
    notebook.cells = [
        cell for cell in notebook.cells if "parameters" not in cell.metadata.get("tags", [])
    ]
    nbformat.write(notebook, tmp_path / "in" / "a_no_cell.ipynb")
    (tmp_path / "in" / "b_empty.ipynb").write_text("")
    (tmp_path / "in" / "c_odd.ipynb").write_text('{"cells": 3, "nbformat": 4, "nbformat_minor": 5}')
    assert main(["profile", "smoke", str(tmp_path / "in"), "--cache-dir", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == "3 notebook(s) set to smoke\n"
    assert "profile = 'smoke'" in whole.read_text()
    lines = said.err.splitlines()
    assert [Path(line.split(": ")[1]).name for line in lines] == [
        "a_no_cell.ipynb",
        "b_empty.ipynb",
        "c_odd.ipynb",
    ]
    assert main(["profile", "smoke", str(tmp_path / "none"), "--cache-dir", "x"]) == 2


def test_files_in_the_wrong_place_are_named_before_anything_is_graded(tmp_path, capsys):
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    (tmp_path / "release" / LESSON).mkdir(parents=True)
    nbformat.write(submission(source, {}), tmp_path / "release" / LESSON / f"{LESSON}.ipynb")

    def submitted(student, change=lambda notebook: None, name=LESSON):
        change(notebook := submission(source, solutions(source)))
        path = tmp_path / "submitted" / student / LESSON / f"{name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
        return path

    def of_another_lesson(notebook):
        notebook.cells = [cell for cell in notebook.cells if "nbgrader" not in cell.metadata]

    copied = submitted("ada", with_a_copy_of_the_stub("nearest-code"))
    nested = submitted("dan").rename(tmp_path / "submitted" / "dan" / f"{LESSON}.ipynb")
    (tmp_path / "submitted" / "dan" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "submitted" / "dan" / ".ipynb_checkpoints" / f"{LESSON}.ipynb").write_text("{}")
    submitted("bob", name=f"{LESSON}_final")
    submitted("cem", of_another_lesson)
    assert (
        main(["profile", "smoke", str(tmp_path / "submitted"), "--cache-dir", str(tmp_path)]) == 2
    )
    said = capsys.readouterr()
    lines = {line.split("submitted/")[1][:3]: line for line in said.err.splitlines()}
    assert set(lines) == {"bob", "cem", "dan"} and str(nested) in lines["dan"]
    assert f"submitted/STUDENT/{LESSON}/" in lines["dan"]
    assert "rename" in lines["bob"] and "another lesson" in lines["cem"]
    assert f"{copied}: an earlier cell 'nearest-code'" in said.out
    assert "1 notebook(s) set" in said.out


def test_parameters_are_set_below_the_last_cell_of_parameters_and_once():
    cells = [
        nbformat.v4.new_code_cell('profile: str = "laptop"', metadata={"tags": ["parameters"]})
        for _ in range(2)
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    for profile in ("laptop", "smoke"):
        set_parameters(notebook, profile=profile, cache_dir="/läufe/\U00020bb7")
    scope: dict = {}
    for cell in notebook.cells:
        exec(cell.source, scope)
    assert (scope["profile"], scope["cache_dir"]) == ("smoke", "/läufe/\U00020bb7")
    assert len(notebook.cells) == 3


def without(name):
    def change(notebook):
        notebook.cells.remove(graded(notebook)[name])

    return change


def retyped(name):
    """The same in new cells, which have no marks."""

    def change(notebook):
        for one in (name, f"test-{name}"):
            cell = graded(notebook)[one]
            notebook.cells[notebook.cells.index(cell)] = nbformat.v4.new_code_cell(cell.source)

    return change


def in_one_cell(name):
    """As JupyterLab merges two: the mark of the test stays."""

    def change(notebook):
        answer, test = (graded(notebook)[one] for one in (name, f"test-{name}"))
        test.source = f"{answer.source}\n{test.source}"
        notebook.cells.remove(answer)

    return change


def below_its_stub(name):
    """Typed into the cell of its test, with the stub still above it."""

    def change(notebook):
        answer, test = (graded(notebook)[one] for one in (name, f"test-{name}"))
        test.source = f"{answer.source}\n{test.source}"
        function = re.search(r"def (\w+)", answer.source)[1]
        answer.source = f"def {function}(*given):\n    raise NotImplementedError()"

    return change


def with_a_copy_of_the_stub(name):
    """Copied with its mark, to begin again from."""

    def change(notebook):
        cell = graded(notebook)[name]
        function = re.search(r"def (\w+)", cell.source)[1]
        stub = f"def {function}(*given):\n    raise NotImplementedError()"
        notebook.cells.append(nbformat.v4.new_code_cell(stub, metadata=deepcopy(cell.metadata)))

    return change


def at_the_end(name):
    def change(notebook):
        cell = graded(notebook)[name]
        notebook.cells.remove(cell)
        notebook.cells.append(nbformat.v4.new_code_cell(cell.source))

    return change


def without_marks(notebook):
    for cell in notebook.cells:
        cell.metadata = {}


def with_two_answers_in_one(notebook):
    first, second = (graded(notebook)[one] for one in ("nearest-code", "residual-quantize"))
    first.source += f"\n\n\n{second.source}"
    notebook.cells.remove(second)


def with_one_more(notebook):
    mark = {"grade_id": "popularity", "grade": False, "solution": True}
    notebook.cells.append(nbformat.v4.new_code_cell("1", metadata={"nbgrader": mark}))


@pytest.mark.parametrize("minor", [4, 5])
@pytest.mark.parametrize(
    "changes,named",
    [
        ([without("rq-loss")], ["rq-loss"]),
        ([without("rq-loss"), without("test-rq-loss")], ["rq-loss"]),
        ([without("test-rq-loss")], ["rq-loss"]),
        ([retyped("straight-through")], ["straight-through"]),
        ([in_one_cell("rq-loss")], ["rq-loss"]),
        ([below_its_stub("rq-loss")], ["rq-loss"]),
        ([with_a_copy_of_the_stub("rq-loss")], ["rq-loss"]),
        ([at_the_end("rq-loss")], ["rq-loss"]),
        (
            [without_marks],
            [
                "parameters",
                "nearest-code",
                "residual-quantize",
                "straight-through",
                "rq-loss",
                "forward",
                "train-step",
            ],
        ),
        ([with_two_answers_in_one], ["residual-quantize"]),
        ([with_one_more], ["popularity"]),
        ([], []),
    ],
)
def test_what_nbgrader_could_not_grade_is_repaired_and_named(changes, named, minor):
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    release, notebook = submission(source, {}), submission(source, answers := solutions(source))
    for change in changes:
        change(notebook)
    notebook.nbformat_minor = minor
    for cell in notebook.cells if minor < 5 else []:
        cell.pop("id", None)
    done = repair(notebook, release)
    assert len(done) == len(named) and all(
        name in line for name, line in zip(named, done, strict=True)
    ), done
    marks = [
        cell.metadata.nbgrader.grade_id for cell in notebook.cells if "nbgrader" in cell.metadata
    ]
    assert sorted(marks) == sorted(graded(release))
    for name in answers:
        function = re.search(r"def (\w+)", answers[name])[1]
        place = next(
            i for i, cell in enumerate(notebook.cells) if cell is graded(notebook)[f"test-{name}"]
        )
        defined = [
            cell.source for cell in notebook.cells[:place] if f"def {function}(" in cell.source
        ]
        unanswered = any(line.startswith(f"{name!r}: missing") for line in done)
        assert defined and ("NotImplementedError" in defined[-1]) == unanswered
    nbformat.validate(notebook)
    assert repair(notebook, release) == []


@pytest.mark.parametrize(
    "text,words",
    [
        ("from letterlib.course import checks\nchecks.require = print", "letterlib.course"),
        ('profile = "paper"', "sets profile, and wins"),
        ("cache_dir: str = '/tmp'", "sets cache_dir, and wins"),
        ("profile == 'paper'", ""),
    ],
)
def test_what_may_forge_marks_or_sets_the_profile_again_is_to_be_read(text, words):
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    notebook = submission(source, solutions(source))
    assert to_be_read(notebook, submission(source, {})) == []
    notebook.cells.append(nbformat.v4.new_code_cell(text))
    found = to_be_read(notebook, submission(source, {}))
    assert any(words in line for line in found) if words else not found


def meddle(student, notebook):
    """Right answers keep their points however their cells were treated; untouched and tricked out
    is worth nothing.
    """
    tests = [
        i for i, cell in enumerate(notebook.cells) if cell.metadata.get("nbgrader", {}).get("grade")
    ]
    stub = next(
        cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("solution")
    )
    if student == "full":
        for change in (
            without("test-rq-loss"),
            retyped("straight-through"),
            in_one_cell("residual-quantize"),
            with_a_copy_of_the_stub("nearest-code"),
        ):
            change(notebook)
    if student == "half":
        below_its_stub("rq-loss")(notebook)
    if student == "untouched":
        for place in tests[1:]:
            notebook.cells[place].metadata["tags"] = ["skip-execution"]
        again = nbformat.v4.new_code_cell(stub.source, metadata=stub.metadata)
        passing = nbformat.v4.new_code_cell(
            'def require(*_): pass\n\n\ncheck = lambda *_: "2.1: correct"'
        )
        notebook.cells[tests[0] : tests[0]] = [again, passing]


def hand_in(folder: Path, change=lambda student, notebook: None) -> None:
    """Three students' files, after `change`."""
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    full = solutions(source)
    half = {name: text for name, text in (full | HALF_RIGHT["02"]).items() if text is not None}
    folder.mkdir()
    for student, answers in {"full": full, "half": half, "untouched": {}}.items():
        change(student, notebook := submission(source, answers))
        nbformat.write(notebook, folder / f"{NAMES.get(student, student)}_{LESSON}.ipynb")


def shell(commands: str, folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path, "TQDM_DISABLE": "1"},
    )
    if done.returncode:
        pytest.fail(f"{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
    return done.stdout
