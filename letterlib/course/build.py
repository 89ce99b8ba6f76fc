"""From the one source of a lesson, `solutions/NN_name.ipynb`, to what is committed.

    python -m letterlib.course.build              make student copies; execute and store everything
    python -m letterlib.course.build --check      only compare copies with sources
    python -m letterlib.course.build 02 cold --profile smoke

Student copies are made by nbgrader's own preprocessors, so they are what an instructor's release
would be. An open project, `notebooks/projects/NAME.ipynb`, has no exercises and no copy: it is
executed and stored in its place.
"""

import argparse
import os
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import nbformat
import papermill
from nbconvert.preprocessors import ClearOutputPreprocessor, CoalesceStreamsPreprocessor
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)

from letterlib.course import keep
from letterlib.errors import LetterError
from letterlib.store import write_text

REPOSITORY = Path(__file__).resolve().parents[2]
LESSON = "[0-9][0-9]_*.ipynb"
SETUP = """\
import importlib.util

if importlib.util.find_spec("letterlib") is None:  # on Colab and Kaggle; elsewhere nothing happens
    get_ipython().run_line_magic("pip", "install --quiet letterlib[course]")"""
LARGEST = 1_000_000  # bytes of a stored notebook
TIMEOUT = 600  # seconds for one cell
_NEVER_STARTED = ("Kernel died before replying to kernel_info", "Kernel didn't respond in")


def lessons() -> list[Path]:
    """The sources, in the order of the course."""
    return sorted((REPOSITORY / "solutions").glob(LESSON))


def projects() -> list[Path]:
    """The open projects, in the order of their names."""
    return sorted((REPOSITORY / "notebooks" / "projects").glob("*.ipynb"))


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


def with_setup(notebook: NotebookNode, name: str, repository: str | None) -> NotebookNode:
    """The notebook with SETUP as its first code cell, and the badge of Colab under its title.

    name: the file's. repository: the address of the course on GitHub; no badge if there is none.
    """
    cells = [
        cell for cell in notebook.cells if not {"setup", "badge"} & {*cell.metadata.get("tags", [])}
    ]
    first = next(i for i, cell in enumerate(cells) if cell.cell_type == "code")
    cells.insert(first, new_code_cell(SETUP, metadata={"tags": ["setup"]}))
    if repository:
        path = repository.removeprefix("https://github.com/").strip("/")
        link = f"https://colab.research.google.com/github/{path}/blob/main/notebooks/{name}"
        image = "https://colab.research.google.com/assets/colab-badge.svg"
        badge = f"[![Open in Colab]({image})]({link})"
        cells.insert(1, new_markdown_cell(badge, metadata={"tags": ["badge"]}))
    return NotebookNode(notebook | {"cells": cells})


def repository_address() -> str | None:
    """The address in pyproject.toml's `[project.urls]` under Repository."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project.get("urls", {}).get("Repository")


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


def execute(source: Path, target: Path, mine: str = "", **parameters: Any) -> None:
    """Run `source` as if it lay in notebooks/, and write the executed copy to `target`.

    mine: the folder of a learner's answers; "": none are read, and none kept. A cell that raises,
    takes too long, does not run or writes to stderr is an error.
    """
    # Inherited by the kernel: progress bars would store the speed of this machine.
    os.environ["TQDM_DISABLE"] = "1"
    os.environ[keep.FOLDER] = mine
    for attempt in range(2):
        try:
            papermill.execute_notebook(
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
            break
        except RuntimeError as error:
            if attempt or not never_started(str(error)):
                raise
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


def store(notebook: NotebookNode, path: Path) -> None:
    """Write a notebook, if it is small enough for a repository."""
    text = nbformat.writes(tidy(notebook)) + "\n"
    if (size := len(text.encode())) > LARGEST:
        raise LetterError(
            f"{path.name}: {size:,} bytes; keep it below {LARGEST:,} (smaller figures and tables)"
        )
    write_text(path, text)


def build(source: Path, notebooks: Path, profile: str) -> list[float]:
    """Execute a lesson and its student copy, or a project, and store them when all have run.

    notebooks: where student copies are kept.
    Returns the seconds that each took.
    """
    text = source.read_text(encoding="utf-8")
    notebook = nbformat.reads(text, as_version=4)
    if source.parent.name != "projects":
        notebook = with_setup(notebook, source.name, repository_address())
    to_run, parameters = {source: notebook}, {"profile": profile}
    if source.parent.name == "projects":
        parameters["cache_dir"] = str(REPOSITORY / "runs")
    else:
        to_run[notebooks / source.name] = student_copy(notebook)
    ran, seconds = {}, []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / source.name
        for path, before in to_run.items():
            nbformat.write(before, copy)
            started = time.perf_counter()
            execute(copy, copy, **parameters)
            seconds.append(time.perf_counter() - started)
            ran[path] = without_injected(nbformat.read(copy, as_version=4), before)
    if source.read_text(encoding="utf-8") != text:
        raise LetterError(
            f"{source.name}: was changed while it ran, and is left as it is; build it again"
        )
    for path, executed in ran.items():
        store(executed, path)
    return seconds


def without_injected(executed: NotebookNode, source: NotebookNode) -> NotebookNode:
    """The source's cells with the outputs of the executed copy, whose extra cell sets the
    parameters.
    """
    executed.cells = [
        cell
        for cell in executed.cells
        if "injected-parameters" not in cell.metadata.get("tags", [])
    ]
    count = 0
    for cell, original in zip(executed.cells, source.cells, strict=True):
        cell.source = original.source
        if cell.cell_type == "code":
            count += 1
            cell.execution_count = count
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = count
    return executed


def differences(sources: Iterable[Path], notebooks: Path) -> list[str]:
    """Student copies that are missing or differ from what their source gives, a line each. Outputs
    are ignored.
    """

    def content(notebook: NotebookNode) -> list[list]:
        keys = ("id", "cell_type", "source", "attachments", "metadata")
        return [[cell.get(key) for key in keys] for cell in notebook.cells]

    found = []
    for source in sources:
        copy = notebooks / source.name
        if not copy.exists():
            found.append(f"{copy.name}: missing from {notebooks.name}/")
            continue
        wanted = content(student_copy(nbformat.read(source, as_version=4)))
        there = content(nbformat.read(copy, as_version=4))
        if wanted != there:
            same = [a == b for a, b in zip(wanted, there, strict=False)]
            first = [*same, False].index(False) + 1
            found.append(f"{copy.name}: cell {first} is not what the source gives")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0; 1 if copies differ from their sources; 2 if a build failed."""
    parser = argparse.ArgumentParser(
        prog="python -m letterlib.course.build", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "name", nargs="*", help="beginnings of names, such as 02 or cold; everything when left out"
    )
    parser.add_argument(
        "--check", action="store_true", help="compare only, execute and write nothing"
    )
    parser.add_argument("--profile", default="laptop", choices=["smoke", "laptop", "paper"])
    options = parser.parse_args(arguments)
    notebooks, names = REPOSITORY / "notebooks", tuple(options.name or [""])
    chosen = [path for path in [*lessons(), *projects()] if path.name.startswith(names)]
    if not chosen:
        known = ", ".join(path.stem for path in [*lessons(), *projects()])
        parser.error(f"nothing begins with {' or '.join(names)}; there are {known}")
    if options.check:
        found = differences([path for path in chosen if path in lessons()], notebooks)
        print("\n".join([*found, "run `make lessons`"] if found else ["no copy differs"]))
        return 1 if found else 0
    try:
        for source in chosen:
            seconds = build(source, notebooks, options.profile)
            print(f"{source.stem}: {' and '.join(f'{one:.0f} s' for one in seconds)}", flush=True)
    except LetterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
