"""Hand-ins, made ready for nbgrader to grade.

    python -m letterlib.course.classroom profile smoke submitted/ --cache-dir /srv/course/runs

changes the parameters cell of every submitted copy below a folder, so that autograding takes
seconds per student. It also mends what nbgrader could not grade (`hand_in`), and names the copies
that would get no marks.
"""

import argparse
import ast
import json
import sys
from typing import Any

import nbformat
from nbformat import NotebookNode

from letterlib.course.hand_in import mended, misplaced, of_parameters, release_of, to_be_read
from letterlib.errors import LetterError
from letterlib.store import expanded, write_text


def set_parameters(notebook: NotebookNode, **values: Any) -> None:
    """Give names of the cells tagged `parameters` other texts or numbers, in place. Unknown names
    are a LetterError.
    """
    cells = list(filter(of_parameters, notebook.cells))
    if not cells:
        raise LetterError("this notebook has no cell tagged `parameters`; was the cell deleted?")
    for name, value in values.items():
        known = list(dict.fromkeys(one for cell in cells for one, _ in _assigned(cell.source)))
        if name not in known:
            raise LetterError(
                f"no parameter {name!r}; the parameters cell has {', '.join(known) or 'none'}"
            )
        for cell in (
            cells
        ):  # a student may have copied the cell, or a line of it; the last lines move nothing
            for one, node in reversed(_assigned(cell.source)):
                if one == name:
                    cell.source = _replaced(
                        cell.source, node, json.dumps(value, ensure_ascii=False)
                    )


def _assigned(source: str) -> list[tuple[str, ast.expr]]:
    """Every name that is given a value, with or without its type, and that value, in their order."""
    found = []
    for node in ast.parse(source).body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found += [(ast.unparse(target), node.value) for target in targets]
    return found


def _replaced(source: str, node: ast.expr, by: str) -> str:
    """The source with other text in the place of `node`, whose columns count bytes."""
    raw = source.encode()
    starts = [0, *(place + 1 for place, byte in enumerate(raw) if byte == ord("\n"))]
    first, last = (
        starts[node.lineno - 1] + node.col_offset,
        starts[node.end_lineno - 1] + node.end_col_offset,
    )
    return (raw[:first] + by.encode() + raw[last:]).decode()


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 where something has to be mended."""
    parser = argparse.ArgumentParser(prog="python -m letterlib.course.classroom")
    parser.add_argument("command", choices=["profile"])
    parser.add_argument("profile", choices=["smoke", "laptop", "paper"])
    parser.add_argument(
        "folder", type=expanded, help="every notebook below it is changed, for instance submitted/"
    )
    parser.add_argument(
        "--cache-dir",
        type=expanded,
        required=True,
        help="one cache for all students; notebooks get its absolute path",
    )
    options = parser.parse_args(arguments)
    found = [
        one
        for one in sorted(options.folder.rglob("*.ipynb"))
        if one.parent.name != ".ipynb_checkpoints"
    ]
    broken = (
        []
        if found
        else [f"{options.folder}: no notebooks below this folder; collect the submissions first"]
    )
    for path in found:  # one student's broken file stops nobody else's
        left = "left as it is"
        try:
            notebook = nbformat.read(path, as_version=4)
            release = release_of(path.resolve())
            if done := mended(notebook, release):
                write_text(path, nbformat.writes(notebook) + "\n")
                print("\n".join(f"{path}: {what}" for what in done))
                left = "nothing else was changed"
            if why := misplaced(path.resolve(), notebook, release):
                raise LetterError(why)
            set_parameters(
                notebook, profile=options.profile, cache_dir=str(options.cache_dir.resolve())
            )
            write_text(path, nbformat.writes(notebook) + "\n")
            print("".join(f"{path}: {what}\n" for what in to_be_read(notebook, release)), end="")
        except (
            Exception
        ) as error:  # whatever a file may hold, such as brackets in brackets without end
            where = error.__cause__ if isinstance(error.__cause__, json.JSONDecodeError) else error
            reason = (str(where).strip() or type(where).__name__).splitlines()[0]
            broken.append(f"{path}: {left} ({reason})")
    if found:
        print(f"{len(found) - len(broken)} notebook(s) set to {options.profile}")
    for line in broken:
        print(f"error: {line}", file=sys.stderr)
    return 2 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
