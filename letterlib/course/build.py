"""From the one source of a lesson, `solutions/NN_name.ipynb`, to what is committed.

    python -m letterlib.course.build              make student copies; execute and store both kinds
    python -m letterlib.course.build --check      only compare copies with sources
    python -m letterlib.course.build 02 --profile smoke

Student copies are made by nbgrader's own preprocessors, so they are what an instructor's release
would be.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbconvert.preprocessors import ClearOutputPreprocessor, CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)

from letterlib.errors import LetterError
from letterlib.store import write_text

REPOSITORY = Path(__file__).resolve().parents[2]
LESSON = re.compile(r"\d\d_\w+\.ipynb")
LARGEST = 1_000_000  # bytes of a stored notebook
TIMEOUT = 600  # seconds for one cell
_NEVER_STARTED = ("Kernel died before replying to kernel_info", "Kernel didn't respond in")


def lessons() -> list[Path]:
    """The sources, in the order of the course."""
    return sorted(
        path for path in (REPOSITORY / "solutions").glob("*.ipynb") if LESSON.fullmatch(path.name)
    )


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Remove, in place, what differs between two machines or two runs, and name cells by their
    content.
    """
    CoalesceStreamsPreprocessor().preprocess(
        notebook, {}
    )  # chance decides where a kernel cuts what is printed
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        name = sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        seen[name] = seen.get(name, 0) + 1
        cell.id = f"{name}-{seen[name]}"
        for key in ("execution", "papermill", "collapsed", "scrolled"):
            cell.metadata.pop(key, None)
        for output in cell.get("outputs", []):
            # A stored widget is dead without its kernel, and its id is random: the table beside it
            # is what stays.
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
            _without_paths(output)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _without_paths(output: NotebookNode) -> None:
    """Replace this machine's folders in the text of an output."""
    home = str(Path.home())

    def clean(value: Any) -> Any:
        if isinstance(value, list):
            return [clean(one) for one in value]
        value = value.replace(str(REPOSITORY), "<repository>")
        return value if home == "/" else value.replace(home, "~")

    if "text" in output:
        output.text = clean(output.text)
    for kind, value in output.get("data", {}).items():
        if kind.startswith("text/"):
            output.data[kind] = clean(value)


def student_copy(source: NotebookNode) -> NotebookNode:
    """Solutions and hidden tests taken out, as `nbgrader generate_assignment` does. No outputs."""
    notebook = nbformat.from_dict(source)  # a deep copy
    steps = (
        LockCells,
        ClearSolutions,
        ClearOutputPreprocessor,
        CheckCellMetadata,
        ClearHiddenTests,
        ClearMarkScheme,
        ComputeChecksums,
    )
    for step in steps:
        notebook, _ = step(enabled=True).preprocess(notebook, {})
    return tidy(notebook)


def never_started(message: str) -> bool:
    """Whether an error of Jupyter means that the kernel did not come up.

    Jupyter chooses free ports and the kernel takes them later; with several notebooks at once
    another kernel may take one in between. Nothing has run by then, so a second try is safe.
    """
    return any(words in message for words in _NEVER_STARTED)


def execute(source: Path, target: Path, **parameters: Any) -> None:
    """Run `source` as if it lay in notebooks/, without progress bars, and write the executed copy
    to `target`.

    An unknown parameter, a cell that raises, writes to stderr, takes too long or does not run is a
    LetterError.
    """
    known = papermill.inspect_notebook(str(source))
    for name in parameters:
        if name not in known:
            raise LetterError(
                f"{source.name}: no parameter {name!r}; its parameters cell has {', '.join(known)}"
            )
    os.environ["TQDM_DISABLE"] = (
        "1"  # the kernel inherits it: bars would store the speed of this machine
    )
    run = partial(
        papermill.execute_notebook,
        str(source),
        str(target),
        parameters=parameters,
        kernel_name="python3",
        progress_bar=False,
        cwd=str(REPOSITORY / "notebooks"),
        execution_timeout=TIMEOUT,
        # Errors only: a warning about local sockets would hide our lines.
        extra_arguments=["--IPKernelApp.log_level=40"],
    )
    try:
        try:
            run()
        except RuntimeError as error:
            if not never_started(str(error)):
                raise
            run()
    except papermill.PapermillExecutionError as error:
        raise LetterError(
            f"{source.name}: code cell {error.exec_count} stopped with {error.ename}: "
            f"{error.evalue}; "
            "open the notebook and run it up to there"
        ) from error
    except TimeoutError as error:
        hint = "give it a quiet machine, or the profile smoke"
        raise LetterError(
            f"{source.name}: a cell took more than {TIMEOUT} seconds; {hint}"
        ) from error
    confirm_ran(nbformat.read(target, as_version=4), source.name)


def confirm_ran(notebook: NotebookNode, name: str) -> None:
    """Every code cell has run, in order, without an error and without a word on stderr."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for count, cell in enumerate(code, start=1):
        first = cell.source.splitlines()[0]
        if cell.execution_count != count:
            raise LetterError(
                f"{name}: code cell {count} ({first!r}) did not run in its turn; run all cells"
            )
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                text = output.get("evalue") or output.get("text")
                raise LetterError(
                    f"{name}: code cell {count} ({first!r}) wrote to stderr: {text.strip()[:200]}"
                )


def store(notebook: NotebookNode, path: Path, largest: int = LARGEST) -> None:
    """Write a notebook, if it is small enough for a repository. largest: bytes."""
    text = nbformat.writes(tidy(notebook)) + "\n"
    if (size := len(text.encode())) > largest:
        raise LetterError(
            f"{path.name}: {size:,} bytes; keep it below {largest:,} (smaller figures and tables)"
        )
    write_text(path, text)


def build(source: Path, notebooks: Path, profile: str) -> list[float]:
    """Execute the source and its student copy at `profile`, store both when both have run; returns
    their seconds.
    """
    lesson = nbformat.reads(text := source.read_text(encoding="utf-8"), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        copy, ran, seconds = Path(folder) / source.name, {}, []
        for kind, notebook in ((source, lesson), (notebooks / source.name, student_copy(lesson))):
            nbformat.write(notebook, copy)
            started = time.perf_counter()
            execute(copy, copy, profile=profile)
            seconds.append(time.perf_counter() - started)
            ran[kind] = without_injected(nbformat.read(copy, as_version=4), notebook)
    if source.read_text(encoding="utf-8") != text:
        raise LetterError(
            f"{source.name}: was changed while it ran, and is left as it is; build it again"
        )
    for path, notebook in ran.items():
        store(notebook, path)
    return seconds


def without_injected(executed: NotebookNode, source: NotebookNode) -> NotebookNode:
    """The source's cells with the outputs of the executed copy, whose extra cell sets the
    parameters.
    """
    cells = [
        cell
        for cell in executed.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    count = 0
    for cell, original in zip(cells, source.cells, strict=True):
        cell.source = original.source
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count
    executed.cells = cells
    return executed


def differences(sources: Iterable[Path], notebooks: Path) -> list[str]:
    """Student copies that are missing, or whose cells differ from what their source gives. Outputs
    are ignored.
    """
    found = []
    for source in sources:
        copy = notebooks / source.name
        if not copy.exists():
            found.append(f"{copy.name}: missing from {notebooks.name}/")
            continue
        wanted, there = (
            student_copy(nbformat.read(source, as_version=4)),
            nbformat.read(copy, as_version=4),
        )
        for i, (a, b) in enumerate(zip(wanted.cells, there.cells, strict=False), start=1):
            if any(
                a.get(key) != b.get(key)
                for key in ("id", "cell_type", "source", "attachments", "metadata")
            ):
                found.append(
                    f"{copy.name}: cell {i} ({b.source[:40]!r}) is not what the source gives"
                )
        if len(wanted.cells) != len(there.cells):
            found.append(
                f"{copy.name}: {len(there.cells)} cells, the source gives {len(wanted.cells)}"
            )
    return found


def orphans(sources: Iterable[Path], notebooks: Path) -> list[Path]:
    """Student copies whose source is gone. Other notebooks in the folder are left alone."""
    names = {source.name for source in sources}
    return [
        path
        for path in sorted(notebooks.glob("*.ipynb"))
        if LESSON.fullmatch(path.name) and path.name not in names
    ]


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, 1 where copies differ from their sources, 2 where something has to
    be mended.
    """
    parser = argparse.ArgumentParser(
        prog="python -m letterlib.course.build", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "lesson", nargs="*", help="beginnings of names, such as 02; all lessons when left out"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare only, execute and write nothing"
    )
    parser.add_argument("--profile", default="laptop", choices=["smoke", "laptop", "paper"])
    options = parser.parse_args(arguments)
    notebooks, everything = REPOSITORY / "notebooks", lessons()
    chosen = [path for path in everything if path.name.startswith(tuple(options.lesson or [""]))]
    try:
        if not chosen:
            names = (
                ", ".join(path.stem for path in everything)
                or "none (a student copy has no solutions/)"
            )
            raise LetterError(
                f"no lesson begins with {' or '.join(options.lesson) or 'anything'}; there are "
                f"{names}"
            )
        if options.check:
            return _report(chosen, everything, notebooks)
        for orphan in orphans(everything, notebooks):
            print(f"{orphan.name}: has no source in solutions/, and is left as it is")
        for source in chosen:
            solution, copy = build(source, notebooks, options.profile)
            print(
                f"{source.stem}: solution {solution:.0f} s, student copy {copy:.0f} s", flush=True
            )
    except LetterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _report(chosen: list[Path], everything: list[Path], notebooks: Path) -> int:
    found = differences(chosen, notebooks)
    found += [
        f"{orphan.name}: has no source in solutions/" for orphan in orphans(everything, notebooks)
    ]
    for line in found:
        print(line)
    as_they_should = f"{len(chosen)} lesson(s): the student copies are what the sources give"
    print("run `make lessons`; it makes them anew, without answers" if found else as_they_should)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
