"""Your answers, kept: what passes its check is written to `mine/`, and later cells run on it.

    residual_quantize = keep("2.2", my_residual_quantize)

shows the check's result and gives your function if it passes, else the library's. A passed answer's
source goes to `mine/lesson_02.py`, a plain Python file that is yours. Later lessons take it from
there:

    residual_quantize = mine("2.2")

A missing, broken or wrong file stops nothing: a line says so, and the library's function is used.
"""

import ast
import builtins
import contextlib
import dis
import importlib.util
import inspect
import linecache
import os
import re
import sys
import tempfile
import textwrap
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from letterlib.course.checks import check, find_exercise
from letterlib.course.values import copied
from letterlib.store import atomic_write

FOLDER = "LETTERLIB_MINE"
"""The environment variable that names the folder; empty means that nothing is kept. Without it the
folder is `mine`, next to the folder of the notebooks.
"""


def keep(exercise: str, answer: Any) -> Callable:
    """Check an answer, keep it if it passes, and return what later cells use.

    exercise: such as "2.2". answer: the function or class.
    Returns the answer if it passes its check, else the library's counterpart.
    """
    from IPython.display import display

    result = check(exercise, answer)
    display(result)
    stand_in = find_exercise(exercise).stand_in
    if result.outcome != "correct":
        print(f"Until it passes, the cells below use the library's `{stand_in.__name__}`.")
        return stand_in
    times = slower(exercise, answer)
    used = answer if times < TOO_SLOW else stand_in
    if used is answer:
        print("The cells below use yours.")
    else:
        print(f"It is right, and {times:.0f} times as slow as ours, which the cells below use.")
    if path := _path(exercise):
        try:
            write(path, exercise, answer)
        except (Unkept, OSError) as problem:
            print(f"It could not be kept for later lessons: {problem}")
        else:
            print(f"It is kept in {_shown(path)}.")
    return used


TOO_SLOW = 100
"""An answer this many times as slow as the reference is not used: lessons would take hours."""


def slower(exercise: str, answer: Any) -> float:
    """How many times as long as the reference an answer takes on an input like the lessons'."""
    found, generator = find_exercise(exercise), torch.Generator().manual_seed(0)
    case = found.timing(generator) if found.timing else found.cases(generator)[-1]

    def seconds(function: Callable) -> float:
        function, start = found.use(function), time.perf_counter()
        function(*(copied(value) for value in case.values()))
        return time.perf_counter() - start

    seconds(found.reference)  # the first call is slower
    times = float("inf")
    for _ in range(3):  # something else may hold up one run
        times = min(times, seconds(answer) / max(seconds(found.reference), 1e-4))
        if times < TOO_SLOW:
            break
    return times


def mine(*exercises: str) -> Any:
    """Your kept answers, or the library's where there is none, with a line that says which.

    exercises: such as "2.1", "2.2". Returns one function, or a list of them.
    """
    found = [_find(exercise) for exercise in exercises]
    return found[0] if len(found) == 1 else found


def _find(exercise: str) -> Callable:
    stand_in = find_exercise(exercise).stand_in
    path = _path(exercise)
    name, problem = stand_in.__name__, "not written yet"
    if path and path.exists():
        try:
            answer = read(path, exercise)
            result = check(exercise, answer)
            if result.outcome == "correct" and slower(exercise, answer) < TOO_SLOW:
                print(f"{exercise} {answer.__name__}: yours, from {_shown(path)}")
                return answer
            problem = f"the one in {_shown(path)} does not pass its check"
            if result.outcome == "correct":
                problem = f"the one in {_shown(path)} is too slow"
        except Unkept as error:
            problem = str(error)
    print(f"{exercise} {name}: the library's ({problem})")
    return stand_in


def _path(exercise: str) -> Path | None:
    """The file of an exercise's lesson, or None if nothing is to be kept."""
    folder = os.environ.get(FOLDER, str(Path.cwd().parent / "mine"))
    return Path(folder) / f"lesson_{int(exercise.split('.')[0]):02d}.py" if folder else None


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


# The file: a docstring, imports, and one block an exercise, which begins with its number


class Unkept(Exception):
    """Why an answer cannot be written to a file, or read from one."""


HEAD = (
    '"""Lesson {lesson}, as you wrote it. Passed answers are put here; later lessons use them."""'
)
BLOCK = re.compile(r"^# Exercise (\d+\.\d+)$", re.MULTILINE)


def write(path: Path, exercise: str, answer: Any) -> None:
    """Put an answer's source, what it calls and what it imports in a file, in place of an earlier
    one.

    Raises Unkept if it uses a value of the notebook that cannot be written, such as a tensor.
    """
    sources = Sources()
    sources.add(answer)
    imports = sources.imports
    blocks = {}
    if path.exists():
        text = path.read_text(encoding="utf-8")
        head, *rest = BLOCK.split(text)
        blocks = dict(zip(rest[::2], (block.strip() for block in rest[1::2]), strict=True))
        imports |= set(re.findall(r"^(?:import|from) .+$", head, re.MULTILINE))
    blocks[exercise] = "\n\n\n".join(sources.pieces.values())
    in_order = sorted(blocks, key=lambda name: [int(n) for n in name.split(".")])
    body = "\n\n\n".join(f"# Exercise {name}\n\n{blocks[name]}" for name in in_order)
    used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)}
    kept = sorted(line for line in imports if _name_of(line) in used)
    head = HEAD.format(lesson=path.stem[-2:])
    text = "\n\n".join(filter(None, [head, "\n".join(kept)])) + "\n\n\n" + body + "\n"
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read(path: Path, exercise: str) -> Any:
    """The kept answer of an exercise. Raises Unkept if the file has none, or cannot be run."""
    text = path.read_text(encoding="utf-8")
    _, *rest = BLOCK.split(text)
    block = dict(zip(rest[::2], rest[1::2], strict=True)).get(exercise)
    if block is None:
        raise Unkept(f"not in {_shown(path)}")
    try:
        names = [n.name for n in ast.parse(block).body if isinstance(n, _DEFINITIONS)]
        if (folder := str(path.parent.parent)) not in sys.path:
            sys.path.append(folder)  # a file may import from that of an earlier lesson
        spec = importlib.util.spec_from_file_location(f"{path.parent.name}.{path.stem}", path)
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return getattr(module, names[-1])
    except Exception as error:
        line = getattr(error, "lineno", None)
        where = f", line {line}" if line else ""
        raise Unkept(f"{_shown(path)}{where} cannot be run: {error}") from error


_DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


def join(main: Callable, file: str) -> tuple[Path, list[str]]:
    """Write a function of the notebook and all that it uses to one file, which needs no notebook.

    Kept answers stand in it with their source, what is the library's as an import. Run as a
    program, the file calls the function without arguments.

    file: its name in the folder of kept answers, or in a temporary one if nothing is to be kept.
    Returns the path, and the names of the pieces that were kept. Raises Unkept if two pieces have
    one name, or one uses a value of the notebook that cannot be written.
    """
    sources = Sources(of_lessons=True)
    sources.add(main)
    folder = os.environ.get(FOLDER, str(Path.cwd().parent / "mine"))
    path = Path(folder or tempfile.mkdtemp()) / file
    end = f'if __name__ == "__main__":\n    {main.__name__}()'
    text = "\n\n\n".join(["\n".join(sorted(sources.imports)), *sources.pieces.values(), end])
    with atomic_write(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    return path, sources.kept


_KEPT = re.compile(r"(?!letterlib).+\.lesson_\d\d")
"""The module of a kept answer."""


class Sources:
    """The source of functions and classes of a notebook, and of what they use.

    of_lessons: whether kept answers of earlier lessons stand in the file; else it imports them.
    imports: the import lines. pieces: name -> source, what is used first. kept: the names of the
    kept answers among them.
    """

    def __init__(self, of_lessons: bool = False):
        self.of_lessons = of_lessons
        self.imports: set[str] = set()
        self.pieces: dict[str, str] = {}
        self.kept: list[str] = []
        self._open: list[Any] = []

    def add(self, thing: Any) -> None:
        """Add a function or class. Raises Unkept if something that it uses cannot be written."""
        if any(thing is one for one in self._open):
            return  # functions that call each other
        if not isinstance(thing, types.FunctionType | type):
            raise Unkept(f"write the {type(thing).__name__} as a function with `def`")
        try:
            source = textwrap.dedent(_source(thing)).strip()
        except OSError as error:
            raise Unkept(f"the source of `{thing.__name__}` was not found in a cell") from error
        if not isinstance(ast.parse(source).body[0], _DEFINITIONS):
            raise Unkept("write it as a function with `def`")
        inner = inspect.unwrap(thing)  # without what decorators put around it
        if getattr(inner, "__closure__", None):
            raise Unkept("it uses variables of a function around it")
        of_class = isinstance(thing, type)
        names = vars(sys.modules[thing.__module__]) if of_class else inner.__globals__
        self._open.append(thing)
        for name in _globals_of(compile(source, thing.__name__, "exec")):
            if name == thing.__name__ or hasattr(builtins, name):
                continue
            if name not in names:
                raise Unkept(f"`{name}` is not defined")
            self._take(name, names[name])
        self._open.pop()
        self._put(thing.__name__, source)

    def _put(self, name: str, source: str) -> None:
        if self.pieces.setdefault(name, source) != source:
            raise Unkept(f"it uses two different things that are called `{name}`; rename one")

    def _take(self, name: str, value: Any) -> None:
        """What makes `name` stand for its value: an import, a definition or a number."""
        module = getattr(value, "__module__", None) or ""
        of_lesson = self.of_lessons and bool(_KEPT.fullmatch(module))
        if isinstance(value, types.ModuleType):
            self.imports.add(_import_of(value.__name__, name))
        elif (module == "__main__" or of_lesson) and hasattr(value, "__name__"):
            if of_lesson and value.__name__ not in self.kept:
                self.kept.append(value.__name__)
            self.add(value)
            if value.__name__ != name:
                self._put(name, f"{name} = {value.__name__}")
        elif hasattr(value, "__name__") and module:
            self.imports.add(f"from {module} import {_as(value.__name__, name)}")
        elif _is_literal(value):
            self._put(name, f"{name} = {value!r}")
        else:
            raise Unkept(
                f"it uses `{name}` of the notebook, a {type(value).__name__}; make it an argument"
            )


def _source(thing: Any) -> str:
    """The source of a function or class. `inspect` finds no class of a notebook: its cells do."""
    if not isinstance(thing, type) or thing.__module__ != "__main__":
        return inspect.getsource(thing)
    for file in reversed(list(linecache.cache)):  # the last cell that was run comes last
        if "ipython" not in file and "ipykernel" not in file:
            continue
        lines = linecache.getlines(file)
        with contextlib.suppress(SyntaxError):  # cells with magics
            for node in reversed(ast.parse("".join(lines)).body):
                if isinstance(node, ast.ClassDef) and node.name == thing.__name__:
                    first = min(part.lineno for part in [node, *node.decorator_list])
                    return "".join(lines[first - 1 : node.end_lineno])
    return inspect.getsource(thing)


def _is_literal(value: Any) -> bool:
    """Whether a value can be written as it is shown: numbers, texts, and short lists of these."""
    try:
        return len(repr(value)) < 500 and ast.literal_eval(repr(value)) == value
    except (ValueError, SyntaxError):
        return False


def _as(original: str, name: str) -> str:
    return name if original == name else f"{original} as {name}"


def _import_of(module: str, name: str) -> str:
    package, _, last = module.rpartition(".")
    if module == name:
        return f"import {module}"
    return (
        f"from {package} import {last}"
        if package and last == name
        else f"import {module} as {name}"
    )


def _name_of(line: str) -> str:
    """The name that an import line binds."""
    return line.split()[-1].split(".")[0]


def _globals_of(code: types.CodeType) -> Iterator[str]:
    """The global names that a piece of code reads, its functions and classes included."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _globals_of(constant)
