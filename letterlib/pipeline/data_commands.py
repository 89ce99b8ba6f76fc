"""`letterlib data fetch` and `letterlib data import`; `letterlib data` itself is in `cli`."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from letterlib.store import expanded

data_app = typer.Typer(rich_markup_mode=None)


def home(value: Any) -> Any:
    """Expand a ~ that the shell has left in a path, or in several."""
    if isinstance(value, list):
        return [expanded(path) for path in value]
    return value and expanded(value)


@data_app.command()
def fetch(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="amazon-2014-beauty, amazon-2018-musical-instruments, yelp, ...")
    ],
    given: Annotated[
        list[Path],
        typer.Option(
            "--from", help="a file that is on this machine already; repeatable", callback=home
        ),
    ] = [],  # noqa: B006 (typer copies it)
    data_dir: Annotated[
        Path | None,
        typer.Option(
            "--data-dir", help="where to put them; data/<name> if not given", callback=home
        ),
    ] = None,
) -> None:
    """Get the raw files of a data set: from the known mirrors, or files that you have."""
    from letterlib.data import raw_source
    from letterlib.data.fetch import fetch as fetch_files

    folder = data_dir or context.parent.params["data_dir"] or Path("data") / name
    for line in fetch_files(name, raw_source(name), folder, given):
        print(line)


@data_app.command(name="import")
def import_tables(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="a name for the data set")],
    interactions: Annotated[
        Path,
        typer.Argument(help="CSV with columns user, item, time; .tsv and .gz, too", callback=home),
    ],
    items: Annotated[
        Path,
        typer.Argument(
            help="CSV with columns item, title, and perhaps description, genres", callback=home
        ),
    ],
    k: Annotated[
        int, typer.Option("--k", min=3, help="leave out users and items with fewer interactions")
    ] = 5,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="where to; data/<name> if not given", callback=home),
    ] = None,
) -> None:
    """Make a data set from two tables of your own. Checked, sorted by time, k-core, numbered."""
    from letterlib.data import DATASETS, is_raw
    from letterlib.data.released import write_released
    from letterlib.data.tables import read_own_tables
    from letterlib.errors import LetterError
    from letterlib.pipeline.config import make_config

    make_config(name)  # a name that no other command would take
    folder = data_dir or context.parent.params["data_dir"] or Path("data") / name
    if is_raw(name, None) or name in DATASETS:
        raise LetterError(f'data set "{name}": this name is taken; choose another')
    # Identifiers of an earlier import would be taken for those of the items as numbered now.
    others = [file.name for file in folder.glob("*.in*.json") if file.name != f"{name}.inter.json"]
    if others:
        raise LetterError(
            f"{folder}: {others[0]} is there already; move it away, or name another with --data-dir"
        )
    dataset, lines = read_own_tables(name, interactions, items, k)
    write_released(dataset, folder)
    where = "" if folder == Path("data") / name else f" --data-dir {shlex.quote(str(folder))}"
    print("\n".join([*lines, f"{folder}: written", f"next: letterlib run --dataset {name}{where}"]))
