"""`letterlib data fetch`. Added to the command line by `cli`, which has `letterlib data` itself."""

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(rich_markup_mode=None)


@data_app.command()
def fetch(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="amazon-2014-beauty, amazon-2018-musical-instruments, yelp, ...")],
    given: Annotated[
        list[Path], typer.Option("--from", help="a file that is on this machine already; repeatable")
    ] = [],  # noqa: B006 (typer copies it)
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="where to put them; data/<name> if not given")
    ] = None,
) -> None:
    """Get the raw reviews and metadata of a data set, checked; goes on where a download was interrupted."""
    from letterlib.data import raw_source
    from letterlib.data.fetch import fetch as fetch_files

    folder = data_dir or context.parent.params["data_dir"] or Path("data") / name
    for line in fetch_files(name, raw_source(name), folder, given):
        print(line)
