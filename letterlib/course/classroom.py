"""Hand-ins, made ready for nbgrader to grade, and looked at afterwards.

    python -m letterlib.course.classroom profile smoke submitted/ --cache-dir /srv/course/runs
    python -m letterlib.course.classroom audit 02_rq_vae
    python -m letterlib.course.classroom points

The first sets the parameters of every submitted copy below a folder, so that autograding takes
seconds per student. nbgrader itself puts deleted tests back (`add_missing_cells`) and restores
changed ones. This repairs what it cannot grade: copied answers, and answers in cells that lost
nbgrader's mark or were merged with another cell. It names the copies that would get no marks.

The second lists, after grading, what somebody should read: see `audit`. The third prints the points
of every lesson.
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any, TextIO

import nbformat
from IPython import get_ipython
from nbformat import NotebookNode

from letterlib.course.audit import audit, edited_tests, graded, reaches, tests_of
from letterlib.errors import LetterError
from letterlib.store import expanded, write_text

INJECTED = "injected-parameters"
"""papermill's tag for the cell that sets parameters."""

ELSEWHERE = "# Answered in another cell, above."


def is_parameters(cell: NotebookNode) -> bool:
    return "parameters" in cell.metadata.get("tags", [])


def set_parameters(notebook: NotebookNode, **values: Any) -> None:
    """Set parameters in place, as papermill does: in a cell below the one tagged `parameters`."""
    cells = [cell for cell in notebook.cells if INJECTED not in cell.metadata.get("tags", [])]
    places = [place for place, cell in enumerate(cells) if is_parameters(cell)]
    if not places:
        raise LetterError("this notebook has no cell tagged `parameters`; was the cell deleted?")
    cell = nbformat.v4.new_code_cell(
        "# Parameters\n" + "\n".join(f"{name} = {value!r}" for name, value in values.items()),
        metadata={"tags": [INJECTED]},
    )
    if notebook.nbformat_minor < 5:
        del cell["id"]  # older formats have none
    notebook.cells = [*cells[: places[-1] + 1], cell, *cells[places[-1] + 1 :]]


def limit_output(characters: int = 1_000_000) -> None:
    """Let every cell print so much and no more.

    For the kernel that grades: nbgrader loses all marks of a notebook that prints some hundred
    megabytes.
    """

    def limit(stream: TextIO) -> None:
        write, left = getattr(stream.write, "whole", stream.write), characters

        def limited(text: str) -> int:
            nonlocal left
            shown = text[: max(0, left)]
            left -= len(text)
            return write(shown)

        limited.whole = write
        stream.write = limited

    get_ipython().events.register(
        "pre_run_cell", lambda *_: [limit(stream) for stream in (sys.stdout, sys.stderr)]
    )


# Repairs


def repair(notebook: NotebookNode, release: NotebookNode | None) -> list[str]:
    """Give every answer of the release its mark, with its test below it, in place.

    Returns what was changed, a line each: nothing for a notebook that nbgrader can grade as it is,
    or in which no answer of this release is.
    """
    done = _without_repeats(notebook)
    if release is None:
        return done
    asked, there, tests = graded(release), graded(notebook), tests_of(release)
    answers = {name: _answer(notebook, asked[name]) for name in tests}
    if not asked.keys() & there.keys() and not any(answers.values()):
        return []
    for name in there.keys() - asked.keys():
        del there[name].metadata["nbgrader"]
        done.append(f"{name!r} is not in the release, and is no longer graded")
    done += _tag_parameters(notebook, release)
    broken = [name for name in tests if not _gradable(notebook, asked, tests, name)]
    if broken:
        _rebuild(notebook, asked, tests)
    for name in broken:
        state = "marked again" if answers[name] else "missing, and there again without an answer"
        done.append(f"{name!r}: {state}")
    return done


def _without_repeats(notebook: NotebookNode) -> list[str]:
    """Take the mark off copies of a cell: the last one counts.

    nbgrader (0.9) empties the mark of a copy, and then cannot grade the notebook.
    """
    seen: set[str] = set()
    done = []
    for cell in reversed(notebook.cells):
        if "nbgrader" not in cell.metadata:
            continue
        name = cell.metadata.nbgrader.get("grade_id", "")
        if not name or name in seen:
            del cell.metadata["nbgrader"]
            done.append(f"an earlier cell {name!r} is no longer graded")
        seen.add(name)
    return done[::-1]


def _defines(cell: NotebookNode, asked: NotebookNode) -> bool:
    """Whether a code cell defines the function that a stub asks for."""
    name = re.search(r"^(?:def|class) (\w+)", asked.source, flags=re.MULTILINE)
    defined = r"^\s*(?:def|class)\s+{0}\b|^\s*{0}\s*=(?!=)"
    return (
        cell.cell_type == "code"
        and name is not None
        and re.search(defined.format(name[1]), cell.source, re.MULTILINE) is not None
    )


def _is_stub(cell: NotebookNode) -> bool:
    return "raise NotImplementedError" in cell.source


def _answer(notebook: NotebookNode, asked: NotebookNode) -> NotebookNode | None:
    """The last cell that defines the function, of those that are no stub if there are any; or the
    cell with the stub's id.
    """
    found = [cell for cell in notebook.cells if _defines(cell, asked)]
    found = [cell for cell in found if not _is_stub(cell)] or found
    same_id = [cell for cell in notebook.cells if cell.get("id", "") == asked.get("id")]
    return (found or [cell for cell in same_id if cell.cell_type == "code"] or [None])[-1]


def _gradable(
    notebook: NotebookNode, asked: dict[str, NotebookNode], tests: dict[str, str], name: str
) -> bool:
    """Whether answer and test are marked, and the test would find the answer above it."""
    there, test = graded(notebook), tests[name]
    if name not in there or test not in there or there[name].cell_type != "code":
        return False
    if any(_defines(there[test], asked[other]) for other in tests):
        return False  # nbgrader restores the test, and the answer in it would be gone
    answer = _answer(notebook, asked[name])
    if answer is None or not _defines(answer, asked[name]):
        return True
    before = notebook.cells[: _place(notebook, there[test])]
    defining = [cell for cell in before if _defines(cell, asked[name])]
    return bool(defining) and (not _is_stub(defining[-1]) or _is_stub(answer))


def _rebuild(notebook: NotebookNode, asked: dict[str, NotebookNode], tests: dict[str, str]) -> None:
    """Mark every answer anew, with the release's test right below it."""
    ours = {*tests, *tests.values()}
    for name, cell in graded(notebook).items():
        if name in ours:
            del cell.metadata["nbgrader"]
            if name in tests.values() and not any(_defines(cell, asked[one]) for one in tests):
                del notebook.cells[_place(notebook, cell)]
    for name, test in tests.items():
        answer = _answer(notebook, asked[name])
        if answer is None:
            answer = _copy(asked[name], notebook)
            notebook.cells.append(answer)
        elif "nbgrader" in answer.metadata:  # it answers two exercises
            marked = _copy(asked[name], notebook)
            marked.source = ELSEWHERE
            notebook.cells.insert(_place(notebook, answer) + 1, marked)
            answer = marked
        answer.metadata["nbgrader"] = asked[name].metadata["nbgrader"]
        notebook.cells.insert(_place(notebook, answer) + 1, _copy(asked[test], notebook))


def _place(notebook: NotebookNode, cell: NotebookNode) -> int:
    return next(place for place, one in enumerate(notebook.cells) if one is cell)


def _copy(cell: NotebookNode, notebook: NotebookNode) -> NotebookNode:
    copy = nbformat.v4.new_code_cell(cell.source, metadata=cell.metadata)
    if notebook.nbformat_minor < 5:
        del copy["id"]  # older formats have none
    return copy


def _tag_parameters(notebook: NotebookNode, release: NotebookNode) -> list[str]:
    """Tag the cell of parameters again if an editor dropped the tag."""
    ours = next(filter(is_parameters, release.cells), None)
    if ours is None or any(map(is_parameters, notebook.cells)):
        return []
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source[:7] == ours.source[:7]:
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "parameters"]
            return ["the cell of parameters has its tag again"]
    return []


# What a person should look at


def to_be_read(notebook: NotebookNode, release: NotebookNode | None) -> list[str]:
    """Why somebody should read a notebook before believing its marks."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    lines = reaches(notebook, release) if release else []
    found = [f"read {line!r} before you believe the marks" for line in lines]
    others = "\n".join(
        cell.source
        for cell in code
        if not {"parameters", INJECTED} & {*cell.metadata.get("tags", [])}
    )
    return found + [
        f"a cell below that of the parameters sets {name}, and wins"
        for name in ("profile", "cache_dir")
        if re.search(rf"^{name}\b[^=!<>\n]*=[^=]", others, re.MULTILINE)
    ]


def _submitted(path: Path) -> Path | None:
    return next((folder for folder in path.parents if folder.name == "submitted"), None)


def release_of(path: Path) -> NotebookNode | None:
    """The release of a hand-in below `submitted`; None if there is none."""
    submitted = _submitted(path)
    file = submitted and submitted.with_name("release") / path.parent.name / path.name
    return nbformat.read(file, as_version=4) if file and file.is_file() else None


def misplaced(path: Path, notebook: NotebookNode, release: NotebookNode | None) -> str:
    """Why nbgrader would not find a hand-in or give it no marks; "" if it would.

    It looks for submitted/STUDENT/LESSON/NAME.ipynb.
    """
    submitted = _submitted(path)
    released = sorted(submitted.with_name("release").glob("*/*.ipynb")) if submitted else []
    lessons = sorted({one.parent.name for one in released})
    if not released:
        return ""
    if path.parent.parent.parent != submitted or path.parent.name not in lessons:
        folders = " or ".join(f"submitted/STUDENT/{lesson}/" for lesson in lessons)
        return f"nbgrader looks in {folders}; move it there"
    if release is None:
        names = [one.name for one in released if one.parent.name == path.parent.name]
        return f"nbgrader looks for {' or '.join(names)}; rename it"
    if not graded(release).keys() & graded(notebook).keys():
        return f"no exercise of {path.stem} is in it; is it another lesson's file?"
    return ""


def prepare(path: Path, profile: str, cache_dir: Path) -> list[str]:
    """Repair a hand-in and set its parameters, in its file; returns what to report of it."""
    notebook = nbformat.read(path, as_version=4)
    release = release_of(path.resolve())
    done = [f"{test} was edited" for test in edited_tests(notebook, release)] if release else []
    done += repair(notebook, release)
    if why := misplaced(path.resolve(), notebook, release):
        raise LetterError(why)
    done += to_be_read(notebook, release)
    set_parameters(notebook, profile=profile, cache_dir=str(cache_dir.resolve()))
    write_text(path, nbformat.writes(notebook) + "\n")
    return done


def points() -> list[str]:
    """The points of every lesson, a line each, from the sources in `solutions/`."""
    from letterlib.course.build import lessons

    lines = []
    for path in lessons():
        cells = graded(nbformat.read(path, as_version=4))
        each = {
            answer: cells[test].metadata.nbgrader.points
            for answer, test in tests_of(nbformat.read(path, as_version=4)).items()
        }
        parts = ", ".join(f"{name} {most:g}" for name, most in each.items())
        lines.append(f"{path.stem[:2]} | {sum(each.values()):2g} | {parts}")
    return lines


def prepare_all(folder: Path, profile: str, cache_dir: Path) -> int:
    """Prepare every hand-in below a folder; returns 2 if one could not be, else 0."""
    paths = sorted(folder.rglob("*.ipynb"))
    paths = [path for path in paths if path.parent.name != ".ipynb_checkpoints"]
    errors = [] if paths else [f"{folder}: no notebooks; collect the submissions first"]
    for path in paths:
        try:
            for line in prepare(path, profile, cache_dir):
                print(f"{path}: {line}")
        except Exception as error:  # one student's broken file must not stop the others
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            errors.append(f"{path}: left as it is ({reason})")
    if paths:
        print(f"{len(paths) - len(errors)} notebook(s) set to {profile}")
    for line in errors:
        print(f"error: {line}", file=sys.stderr)
    return 2 if errors else 0


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 if a file could not be prepared or is not there."""
    parser = argparse.ArgumentParser(prog="python -m letterlib.course.classroom")
    commands = parser.add_subparsers(dest="command", required=True)
    profile = commands.add_parser("profile", help="make hand-ins ready for grading")
    profile.add_argument("profile", choices=["smoke", "laptop", "paper"])
    profile.add_argument("folder", type=expanded, help="every notebook below it: submitted/")
    profile.add_argument("--cache-dir", type=expanded, required=True, help="one for all students")
    looked = commands.add_parser("audit", help="after grading: what somebody should read")
    looked.add_argument("lesson", help="such as 02_rq_vae")
    looked.add_argument("--course", type=expanded, default=Path(), help="the course folder")
    commands.add_parser("points", help="the points of every lesson and exercise")
    options = parser.parse_args(arguments)
    if options.command == "profile":
        return prepare_all(options.folder, options.profile, options.cache_dir)
    try:
        done = points() if options.command == "points" else audit(options.course, options.lesson)
    except LetterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(done) or "nothing to look at")
    return 0


if __name__ == "__main__":
    sys.exit(main())
