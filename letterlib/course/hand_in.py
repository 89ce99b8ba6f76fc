"""A hand-in as nbgrader can grade it: every graded cell of the release in it once, each test below
its answer.

Students delete cells, copy them, write them anew, and open notebooks in editors that drop
nbgrader's marks. nbgrader then stops at the whole lesson, or puts an empty answer in the place of
theirs.
"""

import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ELSEWHERE = "# Answered in another cell, above."
FORGING = ("letterlib.course", "displayhook", "__torch_function__")
"""What an answer has no use for, and who forges marks may need."""


def graded(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The cells that nbgrader knows, by their grade_id."""
    return {
        cell.metadata.nbgrader.grade_id: cell
        for cell in notebook.cells
        if "nbgrader" in cell.metadata
    }


def of_parameters(cell: NotebookNode) -> bool:
    """Whether papermill, and whoever sets the profile, find their parameters in a cell."""
    return "parameters" in cell.metadata.get("tags", [])


def _submitted(path: Path) -> Path | None:
    return next((folder for folder in path.parents if folder.name == "submitted"), None)


def release_of(path: Path) -> NotebookNode | None:
    """What was released of the lesson that a file below `submitted` hands in; None where there is
    nothing.
    """
    submitted = _submitted(path)
    file = submitted and submitted.with_name("release") / path.parent.name / path.name
    return nbformat.read(file, as_version=4) if file and file.is_file() else None


def mended(notebook: NotebookNode, release: NotebookNode | None) -> list[str]:
    """Make a hand-in gradable, in place. Returns what was done, in words."""
    done = without_repeats(notebook)
    return done if release is None else done + _as_released(notebook, release)


def without_repeats(notebook: NotebookNode) -> list[str]:
    """Take nbgrader's mark off cells that repeat another's name, or have none, in place. Returns
    what was done.

    A student who copies a cell copies its mark. nbgrader empties one of the two marks, takes what
    is left for one of an old format, and cannot grade that copy. The last cell keeps its mark, as
    nbgrader has it: it is the one that counts when the notebook is run, and a test that stands
    before the answer would find none.
    """
    seen: set[str] = set()
    done = []
    for cell in reversed(notebook.cells):
        if "nbgrader" not in cell.metadata:
            continue
        mark = cell.metadata["nbgrader"]
        name = mark.get("grade_id") if isinstance(mark, dict) else None
        name = name if isinstance(name, str) else ""
        if not name or name in seen:
            del cell.metadata["nbgrader"]
            done.append(f"an earlier cell {name!r}" if name else "a cell whose mark was damaged")
        seen.add(name)
    return [f"{what} is no longer graded" for what in done[::-1]]


def _as_released(notebook: NotebookNode, release: NotebookNode) -> list[str]:
    asked, there, tests = graded(release), graded(notebook), _tests_of_answers(release)
    found = {name: _answer_to(asked[name], notebook) for name in tests}
    if not (asked.keys() & there.keys()) and not any(found.values()):
        return []  # nothing of this lesson is in it
    done = []
    for name in sorted(there.keys() - asked.keys()):
        del there[name].metadata["nbgrader"]
        done.append(f"{name!r} is not in the release, and is no longer graded")
    _free(there, tests, found, asked)
    done += _tagged(notebook, release)
    for name, test in tests.items():
        if name not in graded(notebook):
            done.append(_put_back(notebook, asked[name], found[name], graded(notebook).get(test)))
        now = graded(notebook)
        above = _above(notebook, asked[name], now[name], now.get(test))
        if above is not None:
            cell = (
                notebook.cells.pop(_place(notebook, now[test]))
                if test in now
                else _copy(asked[test], notebook)
            )
            notebook.cells.insert(_place(notebook, above) + 1, cell)
            done.append(f"the test of {name!r} was put below it")
    return done


def _above(
    notebook: NotebookNode, asked: NotebookNode, marked: NotebookNode, test: NotebookNode | None
) -> NotebookNode | None:
    """Below which cell a test should be put; None where it stands well: the last definition above
    it is an answer.

    marked: the cell with the answer's mark, which may hold a part of it, or a copy of the stub.
    """
    defining = [
        cell for cell in notebook.cells if cell.cell_type == "code" and _defines(cell, asked)
    ] or [marked]
    answers = [cell for cell in defining if "raise NotImplementedError" not in cell.source]
    if test is not None:
        before = [cell for cell in defining if _place(notebook, cell) < _place(notebook, test)]
        if before and (not answers or any(before[-1] is one for one in answers)):
            return None
    return (answers or defining)[-1]


def _free(
    there: dict[str, NotebookNode],
    tests: dict[str, str],
    found: dict[str, NotebookNode | None],
    asked: dict[str, NotebookNode],
) -> None:
    """Take marks off cells over which nbgrader would write its own: a test's in which an answer
    stands, and a stub's that became a note, which nbgrader makes code again, while the answer
    stands elsewhere.
    """
    for name, cell in there.items():
        inside = (
            [one for one in tests if _defines(cell, asked[one])] if name in tests.values() else []
        )
        note = name in tests and cell.cell_type != "code" and found[name] is not None
        if inside or note:
            cell.metadata.pop("nbgrader", None)
        for one in inside:
            if found[one] is cell and one in there:  # then that is a stub, or a part of the answer
                there[one].metadata.pop("nbgrader", None)


def _tests_of_answers(release: NotebookNode) -> dict[str, str]:
    """For every answer that a test below it grades, the first such test; what is graded by hand is
    left to nbgrader.
    """
    found, answer = {}, None
    for name, cell in graded(release).items():
        mark = cell.metadata.nbgrader
        if mark.grade and not mark.solution and answer:
            found[answer] = name
        if mark.solution or mark.grade:  # and not a cell that may only be read
            answer = name if not mark.grade else None
    return found


def _place(notebook: NotebookNode, cell: NotebookNode) -> int:
    return next(place for place, one in enumerate(notebook.cells) if one is cell)


def _answer_to(asked: NotebookNode, notebook: NotebookNode) -> NotebookNode | None:
    """The cell in which a student answers: the last that defines the function, or else the one of
    the same id.
    """
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    defining = [one for one in code if _defines(one, asked)]
    return (defining or [one for one in code if one.get("id") == asked.get("id")] or [None])[-1]


def _defines(cell: NotebookNode, asked: NotebookNode) -> bool:
    """Whether a cell defines the function that is asked for."""
    names = re.findall(r"^(?:def|class) (\w+)", asked.source, flags=re.MULTILINE)
    defined = r"^\s*(?:async\s+)?(?:def|class)\s+{0}\b|^\s*{0}\s*(?::[^=\n]+)?=(?!=)"
    return bool(names) and bool(re.search(defined.format(names[0]), cell.source, re.MULTILINE))


def _put_back(
    notebook: NotebookNode,
    asked: NotebookNode,
    found: NotebookNode | None,
    test: NotebookNode | None,
) -> str:
    """Give an answer that nbgrader would miss its mark again; in words, what was done."""
    name, mark = asked.metadata.nbgrader.grade_id, asked.metadata.nbgrader
    if found is None:
        cell = _copy(asked, notebook)
        notebook.cells.insert(len(notebook.cells) if test is None else _place(notebook, test), cell)
        return f"{name!r} was missing, and is there again without an answer"
    if "nbgrader" not in found.metadata:
        found.metadata["nbgrader"] = mark
        return f"{name!r} had lost nbgrader's mark, and has it again"
    cell = _copy(asked, notebook)
    cell.source = ELSEWHERE
    notebook.cells.insert(_place(notebook, found) + 1, cell)
    return f"{name!r} is answered in the cell of another answer, and was marked below it"


def _copy(cell: NotebookNode, notebook: NotebookNode) -> NotebookNode:
    copy = nbformat.v4.new_code_cell(cell.source, metadata=cell.metadata)
    if notebook.nbformat_minor < 5:
        del copy["id"]  # older formats have none
    return copy


def _tagged(notebook: NotebookNode, release: NotebookNode) -> list[str]:
    """The cell of parameters, which an editor may have taken the tag from."""
    ours = next(filter(of_parameters, release.cells), None)
    if ours is None or any(map(of_parameters, notebook.cells)):
        return []
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    same = next((cell for cell in code if cell.source[:7] == ours.source[:7]), None)
    if same is None:
        return []
    same.metadata["tags"] = [*same.metadata.get("tags", []), "parameters"]
    return ["the cell of parameters had lost its tag, and has it again"]


def to_be_read(notebook: NotebookNode, release: NotebookNode | None) -> list[str]:
    """What a person should look at before believing the marks, in words."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    given = (
        {line.strip() for cell in release.cells for line in cell.source.splitlines()}
        if release
        else None
    )
    own = (
        []
        if given is None
        else [
            line for cell in code for line in cell.source.splitlines() if line.strip() not in given
        ]
    )
    said = [
        f"a cell mentions {word}: read it before you believe the marks"
        for word in FORGING
        if any(word in line for line in own)
    ]
    others = "\n".join(cell.source for cell in code if not of_parameters(cell))
    sets = [
        name
        for name in ("profile", "cache_dir")
        if re.search(rf"^{name}\b[^=!<>\n]*=[^=]", others, re.MULTILINE)
    ]
    return said + [
        f"another cell than that of the parameters sets {name}, and wins" for name in sets
    ]


def misplaced(path: Path, notebook: NotebookNode, release: NotebookNode | None) -> str:
    """Why nbgrader would give a copy no marks; "" where it would, or where nothing was released.

    It looks for submitted/STUDENT/LESSON/NAME.ipynb, and the cells that are graded must be those of
    the release beside `submitted`.
    """
    submitted = _submitted(path)
    released = sorted(submitted.with_name("release").glob("*/*.ipynb")) if submitted else []
    if not released:
        return ""
    lessons = sorted({one.parent.name for one in released})
    if path.parent.parent.parent != submitted or path.parent.name not in lessons:
        return f"nbgrader looks in {' or '.join(f'submitted/STUDENT/{one}/' for one in lessons)}; move it there"
    if release is None:
        names = [one.name for one in released if one.parent.name == path.parent.name]
        return f"nbgrader looks for {' or '.join(names)}; rename it"
    if not graded(release).keys() & graded(notebook).keys():
        return f"no exercise of {path.stem} is in it; is it another lesson's file?"
    return ""
