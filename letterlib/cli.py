"""The command line: `letterlib run`, and every stage of it alone."""

import errno
import io
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

import letterlib
from letterlib.distributed import is_main, leave
from letterlib.errors import LetterError
from letterlib.pipeline import commands
from letterlib.pipeline.data_commands import data_app
from letterlib.pipeline.run_options import at_home, note_unread, with_run_options

app = typer.Typer(
    help="LETTER: from an item's title to a ranked list, on real data.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(f"letterlib {letterlib.__version__}")
        raise typer.Exit


@app.callback(help=app.info.help)
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_say_version, help="print the version, and stop"
        ),
    ] = False,
) -> None:
    pass


INTERRUPTED = 130  # the exit code of what Ctrl-C has ended


@app.command()
@with_run_options
def run(
    pipeline,
    overrides,
    language_models: Annotated[
        bool,
        typer.Option(
            "--language-models",
            help="also LC-Rec and LETTER-LC-Rec, an hour each on one core; run 'make models' first",
        ),
    ] = False,
) -> None:
    """Run LETTER-TIGER beside other systems, and write a report.

    Finished stages are kept in --cache-dir. Run it again and it takes seconds; interrupt it
    anywhere and run it again, and it goes on from the last finished stage or checkpoint.
    """
    from letterlib.pipeline.report import run_all
    from letterlib.pipeline.systems import FIRST_RUN

    more = ("lc-rec", "letter-lc-rec") if language_models else ()
    note_unread(pipeline, overrides, [*FIRST_RUN, *more])
    run_all(pipeline, [*FIRST_RUN, *more])


@app.command()
@with_run_options
def table(
    pipeline,
    overrides,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="how many seeds, beginning with --seed")
    ] = 3,
    language_models: Annotated[
        bool,
        typer.Option(
            "--language-models",
            help="also BIGRec, LC-Rec and LETTER-LC-Rec, an hour each on one core; run 'make models' first",
        ),
    ] = False,
    system: Annotated[
        list[str],
        typer.Option(
            "--system",
            metavar="NAME",
            help=(
                "only this one and the floors; repeatable; all but language models if not given. With both tiger and "
                "letter-tiger all four tokenizers are trained, to say what each regularizer does"
            ),
        ),
    ] = [],  # noqa: B006 (typer copies it)
) -> None:
    """Compare the systems over several seeds, with intervals.

    Goes on where it was interrupted; once all is there it takes seconds. Markdown, CSV, LaTeX, JSON
    and a figure.
    """
    from letterlib.pipeline.systems import QUICK, SYSTEMS
    from letterlib.pipeline.table import seeds_table

    if system and language_models:
        raise typer.BadParameter("--system names all that is wanted; leave out --language-models")
    chosen = list(dict.fromkeys(system)) or (list(SYSTEMS) if language_models else QUICK)
    note_unread(pipeline, overrides, chosen)
    seeds_table(pipeline, seeds, chosen)


@data_app.callback(invoke_without_command=True)
@with_run_options
def data(pipeline, context: typer.Context) -> None:
    """Check a data set and print its counts; fetch or import one.

    `letterlib data fetch` gets raw files; `letterlib data import` makes a data set of two tables of
    your own.

    amazon-<year>-<category> and yelp are made from raw files, and their counts are compared with
    the paper's.
    """
    from letterlib.data import paper_counts
    from letterlib.pipeline.tables import describe_data

    print(describe_data(pipeline.dataset, pipeline.split))
    if note := paper_counts(pipeline.dataset, pipeline.data_dir):
        print(note)


@app.command()
@with_run_options
def settings(
    pipeline,
    rooms: Annotated[
        list[str] | None, typer.Argument(help="tiger, tokenizer, ...; all when none is named")
    ] = None,
) -> None:
    """List what --set may change, with values and meanings. Nothing is run."""
    from letterlib.pipeline.config import describe_settings

    print(describe_settings(pipeline.config, rooms or ()))


@app.command()
@with_run_options
def embed(pipeline) -> None:
    """Make the text embeddings and the collaborative ones (SASRec)."""
    for embeddings in (pipeline.semantic(), pipeline.collaborative()):
        print(
            f"{embeddings.source}: {embeddings.vectors.shape[0]:,} x {embeddings.vectors.shape[1]}"
        )
    print_folders(pipeline)


@app.command()
@with_run_options
def tokenize(
    pipeline,
    arm: Annotated[
        str,
        typer.Option(
            "--arm", help="letter (both regularizers), cf or div (only that one), plain (neither)"
        ),
    ] = "letter",
) -> None:
    """Train a tokenizer and write the identifiers of the items. They are in <Name>.index.json."""
    from letterlib.pipeline.tables import describe_tokenizer

    print(describe_tokenizer(pipeline.tokenizer(arm)))
    print_folders(pipeline)


@app.command()
@with_run_options
def train(
    pipeline,
    system: Annotated[
        str, typer.Argument(help="caser, sasrec-tuned, letter-tiger, ...; a wrong name lists all")
    ],
) -> None:
    """Train one system, and before it whatever it needs."""
    pipeline.system(system)
    print_folders(pipeline)
    if not pipeline.cache.finished:
        print(f"{system}: has nothing to train; letterlib evaluate {system} ranks with it")


@app.command()
@with_run_options
def evaluate(
    pipeline, system: Annotated[str, typer.Argument(help="tiger, mf, ...; a wrong name lists all")]
) -> None:
    """Rank the catalogue for every test case of one system. Prints metrics with intervals, beside
    two floors.
    """
    from letterlib.pipeline.sentences import evaluated

    print(evaluated(pipeline, system))
    print_folders(pipeline)


def print_folders(pipeline) -> None:
    for artefact in pipeline.cache.finished:
        print(f"{artefact.name}: {artefact.folder}")


app.command()(commands.grid)
app.add_typer(commands.results_app, name="results")
app.add_typer(data_app, name="data")


@app.command()
def doctor(
    cache_dir: commands.CacheDir = Path("runs"),
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", help="a data set to check", callback=at_home)
    ] = None,
) -> None:
    """Check this machine: Python, torch, memory, models and data. Each line says what to do."""
    from letterlib.doctor import examine

    os.environ.setdefault("TQDM_DISABLE", "1")
    failed = 0
    for check in examine(cache_dir, data_dir):
        print(check, flush=True)
        failed += check.state == "FAIL"
    print(
        "\nAll is well."
        if not failed
        else f"\n{failed} check(s) failed; each line says what to do."
    )
    raise typer.Exit(code=1 if failed else 0)


def main() -> None:
    """Run the command line. Mistakes are one line on stderr and exit code 2; an interruption is
    130.
    """
    if not is_main():  # of several processes one prints; all say what went wrong
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    if isinstance(
        sys.stdout, io.TextIOWrapper
    ):  # a title must not end a run where the terminal is ASCII
        sys.stdout.reconfigure(errors="backslashreplace")
    _heed("SIGTERM", "SIGHUP")
    command = typer.main.get_command(app)
    try:
        code = command.main(standalone_mode=False, prog_name="letterlib")
        if sys.stdout:  # there is none after `>&-`
            sys.stdout.flush()  # here, where a full disk can still be said in a line
    except LetterError as error:
        code = _fail(str(error))
    except PermissionError as error:  # pathlib's, where one may not look into a folder
        code = _fail(f"{error} (choose another folder, or have this one opened to you)")
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename:
            raise
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), 1
        )  # or Python would try to write the rest at its end
        code = _fail(
            f"what it says could not be written ({error.strerror}); free some disk space, and run it again"
        )
    except Exception as error:
        if not hasattr(
            error, "format_message"
        ):  # click's usage errors have one; all else is a bug of ours
            raise
        where = getattr(getattr(error, "ctx", None), "command_path", "letterlib")
        helps = (
            type(error).__name__ == "NoArgsIsHelpError"
        )  # then its message is the help, and nothing went wrong
        code = (
            print(error.format_message())
            if helps
            else _fail(f"{error.format_message()} (see {where} --help)")
        )
    if code == INTERRUPTED:  # typer catches Ctrl-C itself, and returns its code
        print(
            "\nInterrupted. The same command goes on from what is finished, and from checkpoints.",
            file=sys.stderr,
        )
        leave(code)
    sys.exit(code or 0)


def _heed(*names: str) -> None:
    """What a batch system sends at the end of its time, or a terminal that is closed, ends a run as
    Ctrl-C does.
    """
    for name in names:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if (
            number and signal.getsignal(number) == signal.SIG_DFL
        ):  # `nohup` ignores SIGHUP, and means it
            signal.signal(number, signal.default_int_handler)


def _fail(line: str) -> int:
    print(f"letterlib: {line}", file=sys.stderr)
    return 2
