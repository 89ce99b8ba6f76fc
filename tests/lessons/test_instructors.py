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

import answers_02
import nbformat
import pytest
from grading import solutions, submission
from hypothesis import given, settings
from hypothesis import strategies as st

from letterlib.course.build import REPOSITORY
from letterlib.course.classroom import main, set_parameters
from letterlib.course.hand_in import graded, mended, to_be_read, without_repeats

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
    before, after = commands.split(COLLECT)
    arrive = (
        f"mkdir -p downloaded/{LESSON}/archive\ncp ../handed-in/* downloaded/{LESSON}/archive/\n"
    )
    shell(before + arrive + COLLECT + after, tmp_path)

    with open(tmp_path / "letter" / "grades.csv", newline="") as file:
        marks = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert marks == {NAMES.get(name, name): points for name, points in answers_02.POINTS.items()}
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
    (command,) = re.findall(r"^mkdir .*git -C.*$", text, flags=re.MULTILINE)
    shell(
        f"git clone -q --depth 1 file://{REPOSITORY} here && mkdir here/letter && cd here/letter\n{command}",
        tmp_path,
    )
    copied = {path.name for path in (tmp_path / "student-copy").iterdir()}
    assert {"notebooks", "letterlib", "pyproject.toml"} < copied and not copied & {
        "solutions",
        "tests",
        ".git",
        "letter",
    }


def test_a_broken_hand_in_is_named_and_stops_no_other(tmp_path, capsys):
    hand_in(tmp_path / "in")
    whole = tmp_path / "in" / f"untouched_{LESSON}.ipynb"
    notebook = nbformat.read(whole, as_version=4)
    broken = {
        "a_half_line": "profile: str = (",
        "b_no_types": 'profile = "laptop"',
        "c_no_cell": None,
    }
    for name, source in broken.items():
        copy = notebook.copy()
        copy.cells = [cell.copy() for cell in notebook.cells]
        place = next(
            i for i, cell in enumerate(copy.cells) if "parameters" in cell.metadata.get("tags", [])
        )
        copy.cells[place].source = source or ""
        copy.cells = copy.cells if source else copy.cells[:place] + copy.cells[place + 1 :]
        nbformat.write(copy, tmp_path / "in" / f"{name}.ipynb")
    odd = '{"cells": 3, "nbformat": 4, "nbformat_minor": 5}'
    no_number = odd.replace("5}", "Infinity}")
    texts = {
        "d_empty": "",
        "e_list": "[]",
        "f_odd": odd,
        "i_deep": "[" * 100_000,
        "j_no_number": no_number,
    }
    for name, text in texts.items():
        (tmp_path / "in" / f"{name}.ipynb").write_text(text)
    (tmp_path / "in" / "g_folder.ipynb").mkdir()
    (tmp_path / "in" / "h_gone.ipynb").symlink_to(tmp_path / "nowhere.ipynb")
    assert main(["profile", "smoke", str(tmp_path / "in"), "--cache-dir", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert said.out == "3 notebook(s) set to smoke\n"
    assert 'profile: str = "smoke"' in whole.read_text().replace("\\", "")
    lines = said.err.splitlines()
    assert [Path(line.split(": ")[1]).name for line in lines] == [
        "a_half_line.ipynb",
        "b_no_types.ipynb",
        "c_no_cell.ipynb",
        "d_empty.ipynb",
        "e_list.ipynb",
        "f_odd.ipynb",
        "g_folder.ipynb",
        "h_gone.ipynb",
        "i_deep.ipynb",
        "j_no_number.ipynb",
    ]


def test_a_rare_letter_in_a_folder_s_name_stays_whole():
    """JSON may write it in two halves, which Python does not join."""
    cell = nbformat.v4.new_code_cell('cache_dir: str = "runs"', metadata={"tags": ["parameters"]})
    set_parameters(nbformat.v4.new_notebook(cells=[cell]), cache_dir="\U00020bb7")
    found: dict = {}
    exec(cell.source, found)
    assert found["cache_dir"] == "\U00020bb7"


def test_copied_cells_and_files_in_the_wrong_place_are_said_before_anything_is_graded(
    tmp_path, capsys
):
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    hand_in(tmp_path / "in")
    (tmp_path / "release" / LESSON).mkdir(parents=True)
    nbformat.write(submission(source, {}), tmp_path / "release" / LESSON / f"{LESSON}.ipynb")

    def submitted(student, change=lambda cells: cells, name=LESSON):
        notebook = nbformat.read(tmp_path / "in" / f"full_{LESSON}.ipynb", as_version=4)
        notebook.cells = change([cell.copy() for cell in notebook.cells])
        path = tmp_path / "submitted" / student / LESSON / f"{name}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
        return path

    def twice(cells):
        again = next(
            cell
            for cell in cells
            if cell.metadata.get("nbgrader", {}).get("grade_id") == "nearest-code"
        )
        empty = nbformat.v4.new_code_cell("1", metadata={"nbgrader": {}})
        return [*cells, nbformat.v4.new_code_cell(again.source, metadata=again.metadata), empty]

    copied = submitted("ada", twice)
    without = submitted(
        "eva",
        lambda cells: [c for c in twice(cells) if "parameters" not in c.metadata.get("tags", [])],
    )
    nested = submitted("dan").rename(tmp_path / "submitted" / "dan" / f"{LESSON}.ipynb")
    (tmp_path / "submitted" / "dan" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "submitted" / "dan" / ".ipynb_checkpoints" / f"{LESSON}.ipynb").write_text("{}")
    submitted("bob", name=f"{LESSON}_final")
    submitted("cem", lambda cells: [cell for cell in cells if "nbgrader" not in cell.metadata])
    assert (
        main(["profile", "smoke", str(tmp_path / "submitted"), "--cache-dir", str(tmp_path)]) == 2
    )
    said = capsys.readouterr()
    assert (
        f"{nested}: left as it is (nbgrader looks in submitted/STUDENT/{LESSON}/; move it there)"
        in said.err
    )
    assert f"{without}: nothing else was changed (this notebook has no cell tagged" in said.err
    assert "checkpoints" not in said.err + said.out
    assert [line for line in said.out.splitlines() if "eva" not in line] == [
        f"{copied}: an earlier cell 'nearest-code' is no longer graded",
        f"{copied}: a cell whose mark was damaged is no longer graded",
        "1 notebook(s) set to smoke",
    ]
    assert "bob" in said.err and f"nbgrader looks for {LESSON}.ipynb; rename it" in said.err
    assert (
        "cem" in said.err
        and f"no exercise of {LESSON} is in it; is it another lesson's file?" in said.err
    )
    for path in (copied, without):
        marked = [
            cell for cell in nbformat.read(path, as_version=4).cells if "nbgrader" in cell.metadata
        ]
        names = [cell.metadata.nbgrader.grade_id for cell in marked]
        assert len(names) == len(set(names)) and "nearest-code" in names


@pytest.mark.parametrize(
    "written", ["'my folder'", 'str(Path("a", "b"))', "(\n    'runs'  # mine\n)", '"läufe"']
)
@pytest.mark.parametrize("assigned", [": str = ", ":str="])
def test_a_parameter_is_set_however_its_value_is_written(written, assigned):
    source = f'name{assigned}"é"\ncache_dir{assigned}{written}  # where\nprofile: str = "laptop"'
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["parameters"]})
    set_parameters(nbformat.v4.new_notebook(cells=[cell]), cache_dir="/srv/r", profile="smoke")
    assert (
        cell.source
        == f'name{assigned}"é"\ncache_dir{assigned}"/srv/r"  # where\nprofile: str = "smoke"'.replace(
            '"/srv/r"', '(\n    "/srv/r"  # mine\n)' if "mine" in written else '"/srv/r"'
        )
    )


def test_a_parameter_that_a_student_wrote_again_or_without_its_type_is_set_as_well():
    """Otherwise the grading would run at the student's own profile, for hours."""
    cell = nbformat.v4.new_code_cell('profile: str = "smoke"\nprofile = "paper"\ncache_dir = "x"')
    cell.metadata["tags"] = ["parameters"]
    set_parameters(nbformat.v4.new_notebook(cells=[cell]), profile="smoke", cache_dir="/srv/r")
    assert cell.source == 'profile: str = "smoke"\nprofile = "smoke"\ncache_dir = "/srv/r"'


def test_a_copied_cell_of_parameters_is_set_as_well():
    """It runs last, and would win."""
    cells = [
        nbformat.v4.new_code_cell('profile: str = "laptop"', metadata={"tags": ["parameters"]})
        for _ in range(2)
    ]
    set_parameters(nbformat.v4.new_notebook(cells=cells), profile="smoke")
    assert [cell.source for cell in cells] == ['profile: str = "smoke"'] * 2


def test_of_two_copies_of_a_test_the_last_is_graded_which_stands_below_the_answer():
    def marked(name, source):
        return nbformat.v4.new_code_cell(source, metadata={"nbgrader": {"grade_id": name}})

    cells = [marked("test", "1"), marked("answer", "2"), marked("answer", "3"), marked("test", "4")]
    done = without_repeats(nbformat.v4.new_notebook(cells=cells))
    assert done == [f"an earlier cell {name!r} is no longer graded" for name in ("test", "answer")]
    assert [cell.source for cell in cells if "nbgrader" in cell.metadata] == ["3", "4"]


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


def beside_a_note(name):
    """The stub became a note, and the answer stands in a cell of its own above it."""

    def change(notebook):
        place = next(i for i, cell in enumerate(notebook.cells) if cell is graded(notebook)[name])
        answer = notebook.cells[place]
        note = nbformat.v4.new_markdown_cell("def it as a note", metadata=answer.metadata)
        notebook.cells[place : place + 1] = [nbformat.v4.new_code_cell(answer.source), note]

    return change


def with_a_copy_of_the_stub(name):
    """Copied with its mark, to begin again from."""

    def change(notebook):
        cell = graded(notebook)[name]
        function = re.search(r"def (\w+)", cell.source)[1]
        stub = f"def {function}(*given):\n    raise NotImplementedError()"
        notebook.cells.append(nbformat.v4.new_code_cell(stub, metadata=deepcopy(cell.metadata)))

    return change


def in_the_test_before(name, other):
    def change(notebook):
        answer, test = graded(notebook)[name], graded(notebook)[f"test-{other}"]
        test.source = f"{answer.source}\n{test.source}"
        notebook.cells.remove(answer)

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
    "changes,words",
    [
        ([without("rq-loss")], ["'rq-loss' was missing, and is there again without an answer"]),
        (
            [without("rq-loss"), without("test-rq-loss")],
            ["'rq-loss' was missing", "the test of 'rq-loss' was put below"],
        ),
        ([without("test-rq-loss")], ["the test of 'rq-loss' was put below"]),
        (
            [retyped("straight-through")],
            ["'straight-through' had lost nbgrader's mark", "the test of 'straight-through'"],
        ),
        ([in_one_cell("rq-loss")], ["'rq-loss' had lost nbgrader's mark", "the test of 'rq-loss'"]),
        (
            [below_its_stub("rq-loss")],
            ["'rq-loss' had lost nbgrader's mark", "the test of 'rq-loss'"],
        ),
        ([beside_a_note("rq-loss")], ["'rq-loss' had lost nbgrader's mark"]),
        ([with_a_copy_of_the_stub("rq-loss")], ["an earlier cell 'rq-loss' is no longer graded"]),
        (
            [in_the_test_before("residual-quantize", "nearest-code")],
            ["the test of 'nearest-code'", "'residual-quantize' had lost nbgrader's mark"],
        ),
        ([at_the_end("rq-loss")], ["'rq-loss' had lost", "the test of 'rq-loss' was put below"]),
        (
            [without_marks],
            [
                "the cell of parameters had lost its tag",
                *(
                    f"{what}{name!r}"
                    for name in ("nearest-code", "residual-quantize", "straight-through", "rq-loss")
                    for what in ("", "the test of ")
                ),
            ],
        ),
        ([with_two_answers_in_one], ["'residual-quantize' is answered in"]),
        ([with_one_more], ["'popularity' is not in the release"]),
        ([], []),
    ],
)
def test_what_nbgrader_could_not_grade_is_mended_and_said(changes, words, minor):
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    release, notebook = submission(source, {}), submission(source, answers := solutions(source))
    for change in changes:
        change(notebook)
    notebook.nbformat_minor = minor
    for cell in notebook.cells if minor < 5 else []:
        cell.pop("id", None)
    done = mended(notebook, release)
    assert len(done) == len(words) and all(map(str.startswith, done, words)), done
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
        unanswered = f"{name!r} was missing, and is there again without an answer" in done
        assert defined and ("NotImplementedError" in defined[-1]) == unanswered
    nbformat.validate(notebook)
    assert mended(notebook, release) == []


CHANGES = (
    without,
    retyped,
    in_one_cell,
    at_the_end,
    below_its_stub,
    beside_a_note,
    with_a_copy_of_the_stub,
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(range(len(CHANGES) + 2)), st.sampled_from(range(4))), max_size=6
    ),
    st.data(),
)
def test_after_any_changes_every_cell_is_graded_once_and_no_stub_stands_over_an_answer(steps, data):
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    release, notebook = submission(source, {}), submission(source, answers := solutions(source))
    for kind, number in steps:
        name = [*answers][number]
        if kind == len(CHANGES):
            without_marks(notebook)
        elif kind > len(CHANGES):  # a cell somewhere else
            place = data.draw(st.integers(0, len(notebook.cells) - 1))
            notebook.cells.insert(
                data.draw(st.integers(0, len(notebook.cells) - 1)), notebook.cells.pop(place)
            )
        elif {name, f"test-{name}"} <= graded(notebook).keys():
            CHANGES[kind](
                data.draw(st.sampled_from([name, f"test-{name}"])) if kind == 0 else name
            )(notebook)
    functions = {name: re.search(r"def (\w+)", text)[1] for name, text in answers.items()}
    sources = [cell.source for cell in notebook.cells]
    answered = [
        name
        for name, one in functions.items()
        if any(f"def {one}(" in s and "(*given)" not in s for s in sources)
    ]
    mended(notebook, release)
    there = {
        cell.metadata.nbgrader.grade_id: place
        for place, cell in enumerate(notebook.cells)
        if "nbgrader" in cell.metadata
    }
    assert sorted(there) == sorted(graded(release)) and len(graded(notebook)) == len(there)
    for name in answered:
        defined = [
            c.source
            for c in notebook.cells[: there[f"test-{name}"]]
            if f"def {functions[name]}(" in c.source
        ]
        assert defined and "NotImplementedError" not in defined[-1]
    assert mended(notebook, release) == []


def test_a_file_of_another_lesson_is_left_as_it_is():
    source, other = (
        nbformat.read(REPOSITORY / "solutions" / f"{name}.ipynb", as_version=4)
        for name in (LESSON, "04_diversity_loss")
    )
    notebook = submission(other, {})
    before = nbformat.writes(notebook)
    assert mended(notebook, submission(source, {})) == [] and nbformat.writes(notebook) == before


@pytest.mark.parametrize("damage", [None, ["a"], {}, {"grade_id": ["a"]}, {"grade_id": 3}, "text"])
def test_a_damaged_mark_is_taken_off(damage):
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    notebook = submission(source, solutions(source))
    graded(notebook)["rq-loss"].metadata["nbgrader"] = damage
    done = mended(notebook, submission(source, {}))
    assert done == [
        "a cell whose mark was damaged is no longer graded",
        "'rq-loss' had lost nbgrader's mark, and has it again",
    ]


@pytest.mark.parametrize(
    "written,means",
    [
        ("my_rq_loss: object = lambda *_: 1", True),
        ("if True:\n    def my_rq_loss(*_):\n        return 1", True),
        ("@decorated\nasync def my_rq_loss(*_):\n    return 1", True),
        ("my_rq_loss == 3", False),
        ("my_rq_loss(1, 2, 3)", False),
        ("def my_rq_losses():\n    return 1", False),
    ],
)
def test_what_defines_an_answer(written, means):
    source = nbformat.read(REPOSITORY / "solutions" / f"{LESSON}.ipynb", as_version=4)
    notebook = submission(source, solutions(source))
    cell = graded(notebook)["rq-loss"]
    notebook.cells[next(i for i, one in enumerate(notebook.cells) if one is cell)] = (
        nbformat.v4.new_code_cell(written)
    )
    done = mended(notebook, submission(source, {}))
    assert ("'rq-loss' had lost" in done[0]) is means and ("was missing" in done[0]) is not means


def test_nothing_is_to_be_read_in_the_lessons_themselves():
    for path in sorted((REPOSITORY / "solutions").glob("[01]*.ipynb")):
        source = nbformat.read(path, as_version=4)
        notebook = submission(source, solutions(source))
        next(
            cell for cell in notebook.cells if "letterlib.course" in cell.source
        ).source += "\nimport math\r\n"
        assert to_be_read(notebook, submission(source, {})) == [], path.name


@pytest.mark.parametrize(
    "text,words",
    [
        ("import letterlib.course.checks as c\nc.require = print", "letterlib.course"),
        ("from letterlib.course import checks\nchecks.require = print", "letterlib.course"),
        ("import math\nprofiles = 3", ""),
        ("profile != 'paper'", ""),
        ("profile <= 'paper'", ""),
        ("get_ipython().displayhook(2)", "displayhook"),
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
    assert [words in line for line in found] == ([True] if words else [])


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
    half = {name: text for name, text in (full | answers_02.HALF_RIGHT).items() if text is not None}
    folder.mkdir()
    for student, answers in {"full": full, "half": half, "untouched": {}}.items():
        change(student, notebook := submission(source, answers))
        nbformat.write(notebook, folder / f"{NAMES.get(student, student)}_{LESSON}.ipynb")


def shell(commands: str, folder: Path) -> None:
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
