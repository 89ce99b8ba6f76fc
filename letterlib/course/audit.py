"""What to look at after grading: hand-ins that are missing, forged or shared.

    python -m letterlib.course.classroom audit 02_rq_vae

run in the course folder. Each line is a reason to read a notebook, and no proof of anything.
"""

import ast
import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from letterlib.errors import LetterError

OUTSIDE = set(
    "IPython ast builtins ctypes gc glob importlib inspect io nbformat nbgrader os pathlib pickle "
    "requests shutil socket sqlite3 subprocess sys tempfile types unittest urllib".split()
)
"""Modules that reach into files, the network or Python itself. No answer needs them."""

POWERS = set("open exec eval compile __import__ globals locals vars delattr get_ipython".split())
ATTRIBUTES = set(
    "course displayhook showtraceback hub read_text read_bytes write_text write_bytes fromfile "
    "tofile memmap loadtxt genfromtxt savetxt gi_frame f_back f_globals f_locals tb_frame".split()
)
STORED = set("data grad weight bias requires_grad".split())
"""Attributes of other things than `self` that answers do set."""

METHODS = set("__init__ __call__ __len__ __getitem__ __iter__ __next__ __repr__ __name__".split())
"""Names with double underscores that answers do use."""

SHORT = 3
"""Answers of fewer statements are not compared between students: honest ones coincide."""

SOLUTION = "the worked solution"


def graded(notebook: NotebookNode) -> dict[str, NotebookNode]:
    """The cells with nbgrader's mark, by their grade_id."""
    cells = [cell for cell in notebook.cells if "nbgrader" in cell.metadata]
    return {cell.metadata.nbgrader.grade_id: cell for cell in cells}


def tests_of(release: NotebookNode) -> dict[str, str]:
    """answer -> the test below it. What is graded by hand has none, and is left to nbgrader."""
    found, answer = {}, ""
    for name, cell in graded(release).items():
        mark = cell.metadata.nbgrader
        if mark.grade and not mark.solution and answer:
            found[answer] = name
        if mark.solution or mark.grade:
            answer = "" if mark.grade else name
    return found


# One notebook, read


def edited_tests(notebook: NotebookNode, release: NotebookNode) -> list[str]:
    """The tests whose text differs from the release's, but for white space."""
    there, asked = graded(notebook), graded(release)
    return [
        test
        for test in tests_of(release).values()
        if test in there and there[test].source.split() != asked[test].source.split()
    ]


def untouched(notebook: NotebookNode, release: NotebookNode) -> list[str]:
    """The answers that are still the release's stub."""
    there, asked = graded(notebook), graded(release)
    return [
        name
        for name in tests_of(release)
        if name not in there or there[name].source.split() == asked[name].source.split()
    ]


def reaches(notebook: NotebookNode, release: NotebookNode) -> list[str]:
    """The student's lines that reach into the checks, into files or into Python itself."""
    given = {line.strip() for cell in release.cells for line in cell.source.splitlines()}
    tests = [graded(release)[name].source for name in tests_of(release).values()]
    used = {"check", "keep", "mine", "require", "display", "AssertionError"}  # by the tests
    imported = {
        (alias.asname or alias.name).split(".")[0]
        for _, tree in _code(notebook)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    found = []
    for source, tree in _code(notebook):
        if source in tests:
            continue
        lines = source.splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and _root(node.value) in imported:
                imported |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            line = getattr(node, "lineno", 0)
            text = lines[line - 1].strip() if 0 < line <= len(lines) else ""
            if text and text not in given and text not in found and _reaches(node, imported, used):
                found.append(text)
    return found


def _reaches(node: ast.AST, imported: set[str], used: set[str]) -> bool:
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
    else:
        names = []
    if any(n.split(".")[0] in OUTSIDE or n.startswith("letterlib.course") for n in names):
        return True
    if isinstance(node, ast.alias):
        return (node.asname or node.name) in used
    if isinstance(node, ast.Call) and _root(node.func) == "setattr" and node.args:
        return _root(node.args[0]) in imported  # answers put modules into a model with it
    if isinstance(node, ast.Name):
        return node.id in (used if isinstance(node.ctx, ast.Store) else POWERS)
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return node.name in used or _is_hidden(node.name)
    if isinstance(node, ast.Attribute):
        root = _root(node)
        if not isinstance(node.ctx, ast.Load) and "options" not in ast.unparse(node):
            return root in imported or root != "self" and node.attr not in STORED
        files = re.match(r"load$|save$|read_", node.attr) and root in imported
        return bool(files) or node.attr in ATTRIBUTES or _is_hidden(node.attr)
    return False


def _is_hidden(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in METHODS


def _root(node: ast.AST) -> str:
    """`torch` of `torch.nn.functional`; "" for what begins with anything but a name."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _code(notebook: NotebookNode) -> Iterator[tuple[str, ast.Module]]:
    """The cells that Python can read, magic commands included: source, tree."""
    from IPython.core.inputtransformer2 import TransformerManager

    for cell in notebook.cells:
        if cell.cell_type == "code":
            with contextlib.suppress(SyntaxError):
                source = TransformerManager().transform_cell(cell.source)
                yield cell.source, ast.parse(source)


# One notebook, graded again without the rest of it


def alone(notebook: NotebookNode, release: NotebookNode) -> dict[str, str]:
    """answer -> what is wrong with it where only definitions run, and nothing around them.

    A mark that some other cell has forged is not there. Run this in a process of its own.
    """
    from letterlib.course.checks import find_exercise, require
    from letterlib.course.keep import mine

    space: dict = {"__name__": "answers", "mine": mine}
    asked = graded(release)
    tests = {
        name: re.search(r'(?:(\w+) = )?\w+\("(\d+\.\d+)", (\w+)\)', asked[test].source)
        for name, test in tests_of(release).items()
    }
    given = {cell.source for cell in release.cells}
    for source, tree in _code(notebook):
        for node in tree.body:
            borrows = source in given and "mine(" in ast.unparse(node)
            if borrows or isinstance(node, _DEFINITIONS):
                with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()):
                    # a learner's definitions, in the process that `_alone` starts
                    exec(compile(ast.Module([node], []), "<answer>", "exec"), space)  # nosec B102
    for found in tests.values():
        if found and found[1]:
            space[found[1]] = find_exercise(found[2]).stand_in
    wrong = {}
    for name, found in tests.items():
        try:
            if found:
                require(found[2], space.get(found[3]))
        except Exception as error:
            wrong[name] = " ".join(str(error).split())[:200]
    return wrong


_DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


def _alone(notebook: Path, release: Path) -> dict[str, str] | None:
    """`alone`, in a process of its own; None if that ended before its time, or never."""
    code = "import sys; from letterlib.course import audit; audit._print_alone(*sys.argv[1:])"
    with contextlib.suppress(subprocess.TimeoutExpired, ValueError, IndexError):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code, str(notebook), str(release)],
            capture_output=True,
            text=True,
            timeout=300,
            env=os.environ | {"LETTERLIB_MINE": "", "OMP_NUM_THREADS": "1"},
        )
        return json.loads(done.stdout.splitlines()[-1])
    return None


def _print_alone(notebook: str, release: str) -> None:
    read = [nbformat.read(path, as_version=4) for path in (notebook, release)]
    print(json.dumps(alone(*read)))


# Several notebooks, compared


def fingerprint(source: str) -> str:
    """What stays of an answer without comments, docstrings, annotations, layout and the names it
    chose; "" for a short one.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ""
    chosen: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
            chosen.setdefault(node.name, f"name{len(chosen)}")
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
            chosen.setdefault(node.arg, f"name{len(chosen)}")
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            chosen.setdefault(node.id, f"name{len(chosen)}")
    nodes = list(ast.walk(tree))
    statements = [node for node in nodes if isinstance(node, ast.stmt)]
    if len(statements) - sum(isinstance(one, ast.FunctionDef) for one in statements) < SHORT:
        return ""
    for node in nodes:
        for field in ("name", "arg", "id"):
            if isinstance(getattr(node, field, None), str):
                name = getattr(node, field)
                setattr(node, field, chosen.get(name, name))
    return ast.dump(tree)


def equal_answers(
    notebooks: Mapping[str, NotebookNode], release: NotebookNode
) -> dict[tuple[str, ...], list[str]]:
    """students -> the answers that are equal between them; those with most answers first."""
    students: dict[tuple[str, ...], list[str]] = {}
    for name in tests_of(release):
        by_print: dict[str, list[str]] = {}
        for student, notebook in notebooks.items():
            cell = graded(notebook).get(name)
            mark = fingerprint(cell.source) if cell else ""
            if mark and "raise NotImplementedError" not in cell.source:
                by_print.setdefault(mark, []).append(student)
        for group in by_print.values():
            if len(group) > 1:
                students.setdefault(tuple(group), []).append(name)
    return dict(sorted(students.items(), key=lambda pair: -len(pair[1])))


# The class


def audit(course: Path, lesson: str) -> list[str]:
    """What to look at, a line each: students in the order of their names, equal answers last.

    course: the folder with `release`, `submitted` and `gradebook.db`. Raises LetterError if the
    lesson was not released there.
    """
    file = f"{lesson}/{lesson}.ipynb"
    if not (course / "release" / file).exists():
        raise LetterError(
            f"{course / 'release' / file} is not there; run this in the course folder"
        )
    release = nbformat.read(course / "release" / file, as_version=4)
    marks = _marks(course, lesson)
    paths = {
        path.parents[1].name: path for path in sorted((course / "submitted").glob(f"*/{file}"))
    }
    notebooks = {student: nbformat.read(path, as_version=4) for student, path in paths.items()}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        again = pool.map(lambda path: _alone(path, course / "release" / file), paths.values())
        fails = dict(zip(paths, again, strict=True))
    found = []
    for student in sorted({*marks, *notebooks}):
        if student not in notebooks:
            found.append(f"{student}: no hand-in")
            continue
        if not (course / "autograded" / student / file).exists():
            found.append(f"{student}: handed in, and not graded")
        notebook, points = notebooks[student], marks.get(student, {})
        stubs, wrong = untouched(notebook, release), fails[student]
        if wrong is None:
            found.append(f"{student}: could not be run alone")
            wrong = {}
        for name, test in tests_of(release).items():
            if not points.get(test):
                continue
            if name in stubs:
                found.append(f"{student}: {name} has {points[test]:g} points and is untouched")
            elif why := wrong.get(name):
                found.append(
                    f"{student}: {name} has {points[test]:g} points and fails alone: {why}"
                )
        found += [f"{student}: {test} was edited" for test in edited_tests(notebook, release)]
        found += [f"{student}: reaches outside: {line}" for line in reaches(notebook, release)]
    source = course / "source" / file
    if source.exists():
        notebooks[SOLUTION] = nbformat.read(source, as_version=4)
    for group, names in equal_answers(notebooks, release).items():
        found.append(f"{' = '.join(group)}: {', '.join(names)}")
    return found


def _marks(course: Path, lesson: str) -> dict[str, dict[str, float]]:
    """student -> test -> points, of every student in the gradebook."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        marks: dict[str, dict[str, float]] = {student.id: {} for student in book.students}
        for submission in book.assignment_submissions(lesson):
            for notebook in submission.notebooks:
                marks[submission.student.id] |= {one.name: one.score for one in notebook.grades}
    return marks
