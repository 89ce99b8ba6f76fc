"""The open projects: notebooks without exercises, solutions or grades,
`notebooks/projects/<name>.ipynb`.

    python -m letterlib.course.projects                      execute all of them at profile laptop
    and store the outputs python -m letterlib.course.projects cold --profile smoke

A project is its own source: what is stored is what was written, with the outputs of the last
execution.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from letterlib.course.build import REPOSITORY, execute, store, without_injected
from letterlib.errors import LetterError
from letterlib.store import expanded

LARGEST = 400_000
"""Bytes of a stored project; less than a lesson, which has more to show."""


def projects() -> list[Path]:
    """The notebooks, in the order of their names."""
    return sorted((REPOSITORY / "notebooks" / "projects").glob("*.ipynb"))


def build(source: Path, profile: str, cache_dir: Path) -> float:
    """Execute a project and store it with its outputs. Returns the seconds that it took."""
    with tempfile.TemporaryDirectory() as folder:
        copy, text = Path(folder) / source.name, source.read_text(encoding="utf-8")
        started = time.perf_counter()
        execute(source, copy, profile=profile, cache_dir=str(cache_dir.resolve()))
        seconds = time.perf_counter() - started
        ran = without_injected(
            nbformat.read(copy, as_version=4), nbformat.reads(text, as_version=4)
        )
    if source.read_text(encoding="utf-8") != text:
        raise LetterError(
            f"{source.name}: was changed while it ran, and is left as it is; build it again"
        )
    store(ran, source, LARGEST)
    return seconds


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 where something has to be mended."""
    parser = argparse.ArgumentParser(
        prog="python -m letterlib.course.projects", description=__doc__.split("\n")[0]
    )
    parser.add_argument(
        "project", nargs="*", help="beginnings of names, such as cold; all projects when left out"
    )
    parser.add_argument("--profile", default="laptop", choices=["smoke", "laptop", "paper"])
    parser.add_argument(
        "--cache-dir",
        type=expanded,
        default=REPOSITORY / "runs",
        help="where trained models are kept",
    )
    options = parser.parse_args(arguments)
    chosen = [path for path in projects() if path.name.startswith(tuple(options.project or [""]))]
    try:
        if not chosen:
            names = ", ".join(path.stem for path in projects())
            raise LetterError(
                f"no project begins with {' or '.join(options.project)}; there are {names}"
            )
        for source in chosen:
            print(
                f"{source.stem}: {build(source, options.profile, options.cache_dir):.0f} s",
                flush=True,
            )
    except LetterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
