"""The command line: `letterlib run`, and every stage of it alone.

torch is imported when a command runs, so that `--help` need not wait for it.
"""

import inspect
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

import letterlib
from letterlib.distributed import is_main, leave
from letterlib.errors import LetterError
from letterlib.pipeline.data_commands import data_app, home

app = typer.Typer(
    help="LETTER: from an item's title to a ranked list, on real data.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
results_app = typer.Typer(
    help="Show, compare, choose among or export finished runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def path_option(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, callback=home)


RESULTS = Path("runs/results")
CacheDir = Annotated[
    Path, path_option("--cache-dir", help="where finished stages and reports are kept")
]
DataRoot = Annotated[
    Path, path_option("--data-root", help="has a folder for each released data set (beauty, ...)")
]
Folders = Annotated[
    list[Path], typer.Argument(help="files or folders of results, with those below", callback=home)
]
Where = Annotated[
    list[str],
    typer.Option("--where", metavar="NAME=VALUE", help="only runs with it, as tau=0.8; repeatable"),
]

RUN_OPTIONS = {
    "dataset": Annotated[
        str,
        typer.Option(
            "--dataset",
            help=(
                "movielens and complete-journey come with the installation; "
                "amazon-<year>-<category> "
                "and yelp are made from raw files (letterlib data fetch); any other name is a "
                "released folder (<Name>.inter.json, <Name>.item.json), looked for in --data-dir, "
                "or "
                "one that letterlib data import has made"
            ),
        ),
    ],
    "data_dir": Annotated[
        Path | None,
        path_option("--data-dir", help="folder of the data's files; data/<dataset> if not given"),
    ],
    "profile": Annotated[
        str,
        typer.Option(
            "--profile",
            help="smoke (seconds), laptop (minutes on two cores), paper (the paper's sizes)",
        ),
    ],
    "seed": Annotated[
        int,
        typer.Option("--seed", help="decides what is random; on a CPU the same gives the same"),
    ],
    "device": Annotated[
        str, typer.Option("--device", help="auto (a GPU if there is one), cpu, cuda, cuda:NUMBER")
    ],
    "encoder": Annotated[
        str, typer.Option("--encoder", help="minilm, or any Hugging Face model id or folder")
    ],
    "cache_dir": CacheDir,
    "track": Annotated[
        str | None,
        typer.Option(
            "--track", help="tensorboard or wandb: learning curves, to <cache-dir>/tracking"
        ),
    ],
    "set": Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="a setting, as in tiger.epochs=3; letterlib settings lists all; repeatable",
        ),
    ],
}
DEFAULTS = {
    "dataset": "movielens",
    "data_dir": None,
    "profile": "laptop",
    "seed": 0,
    "device": "auto",
    "encoder": "minilm",
    "cache_dir": Path("runs"),
    "track": None,
    "set": [],
}


def with_run_options(function: Callable) -> Callable:
    """Make a command of `function(pipeline, overrides, ...)`: it takes RUN_OPTIONS as well."""
    own = list(inspect.signature(function).parameters.values())[2:]
    keyword = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(name, keyword, default=DEFAULTS[name], annotation=kind)
        for name, kind in RUN_OPTIONS.items()
    ]

    @wraps(function)
    def command(**values: Any) -> None:
        options = {name: values.pop(name) for name in RUN_OPTIONS}
        if "context" in values and values["context"].invoked_subcommand:
            return  # `letterlib data fetch` passes through `letterlib data`
        function(make_pipeline(**options), options["set"], **values)

    command.__signature__ = inspect.Signature(own + shared)
    command.__annotations__ = {p.name: p.annotation for p in own + shared}
    return command


def make_pipeline(
    *, data_dir: Path | None, cache_dir: Path, set: list[str], track: str | None, **options: Any
):
    """The pipeline that RUN_OPTIONS describe."""
    from letterlib.pipeline.cache import Cache
    from letterlib.pipeline.config import check_weights, default_data_dir, make_config
    from letterlib.pipeline.pipeline import Pipeline

    config = make_config(overrides=set, **options)
    check_weights(config)
    data_dir = data_dir or default_data_dir(config.dataset)
    return Pipeline(config, data_dir=data_dir, cache=Cache(cache_dir, track=track))


def run_script(main: Callable[..., None]) -> None:
    """Run a script of experiments/ as a command; a user's mistake is one line."""

    @wraps(main)
    def script(**values: Any) -> None:
        main(**{k: home(v) if isinstance(v, Path) else v for k, v in values.items()})

    try:
        typer.run(script)
    except (LetterError, OSError) as error:
        raise SystemExit(f"error: {error}") from error


def refuse_existing(folder: Path) -> None:
    """Raise LetterError for a folder that holds something: results are not overwritten."""
    if folder.exists() and any(folder.iterdir()):
        raise LetterError(f"{folder}: holds results already; name another folder with --out")


def note_unread(pipeline: Any, overrides: list[str], systems: list[str]) -> None:
    """Print which overrides change nothing of these systems or tokenizer variants."""
    from letterlib.pipeline.systems import unread

    encoder = f"encoder={pipeline.config.encoder}"
    given = [*overrides] + ([encoder] if encoder not in ("encoder=minilm", *overrides) else [])
    for override in unread(given, *systems):
        pipeline.cache.say(f"note: {override} changes nothing here")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"letterlib {letterlib.__version__}")
        raise typer.Exit


@app.callback(help=app.info.help)
def options(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="print the version"),
    ] = False,
) -> None:
    pass


# One configuration


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
    """Compare LETTER-TIGER with other systems, and write a report.

    Finished stages are kept in --cache-dir. Run it again and it takes seconds; interrupt it
    anywhere and run it again, and it goes on from the last finished stage or checkpoint.
    """
    from letterlib.pipeline.report import run_all
    from letterlib.pipeline.systems import FIRST_RUN

    systems = [*FIRST_RUN, *(("lc-rec", "letter-lc-rec") if language_models else ())]
    note_unread(pipeline, overrides, systems)
    run_all(pipeline, systems)


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
            help="also BIGRec, LC-Rec and LETTER-LC-Rec, an hour each; run 'make models' first",
        ),
    ] = False,
    system: Annotated[
        list[str],
        typer.Option(
            "--system",
            metavar="NAME",
            help=(
                "only this one and the floors; repeatable; all but language models if not given. "
                "With both tiger and letter-tiger all four tokenizers are trained, to say what "
                "each "
                "regularizer does"
            ),
        ),
    ] = [],  # noqa: B006 (typer copies it)
) -> None:
    """Compare the systems over several seeds, with intervals.

    Goes on where it was interrupted. Writes Markdown, CSV, LaTeX, a figure, and the runs.
    """
    from letterlib.pipeline.systems import QUICK, SYSTEMS
    from letterlib.pipeline.table import write_table

    if system and language_models:
        raise typer.BadParameter("--system names all that is wanted; leave out --language-models")
    chosen = list(dict.fromkeys(system)) or (list(SYSTEMS) if language_models else QUICK)
    note_unread(pipeline, overrides, chosen)
    write_table(pipeline, seeds, chosen)


@data_app.callback(invoke_without_command=True)
@with_run_options
def data(pipeline, overrides, context: typer.Context) -> None:
    """Check a data set and print its counts; fetch or import one.

    `letterlib data fetch` gets raw files; `letterlib data import` makes a data set of two tables of
    your own. amazon-<year>-<category> and yelp are made from raw files, and their counts are
    compared with the paper's.
    """
    from letterlib.data import paper_counts
    from letterlib.pipeline.table import describe_data

    print(describe_data(pipeline.dataset, pipeline.split))
    if note := paper_counts(pipeline.dataset, pipeline.data_dir):
        print(note)


@app.command()
@with_run_options
def settings(
    pipeline,
    overrides,
    sections: Annotated[
        list[str] | None, typer.Argument(help="tiger, tokenizer, ...; all when none is named")
    ] = None,
) -> None:
    """List what --set may change, with values and meanings. Nothing is run."""
    from letterlib.pipeline.config import describe_settings

    print(describe_settings(pipeline.config, sections or ()))


@app.command()
@with_run_options
def embed(pipeline, overrides) -> None:
    """Make the text embeddings and the collaborative ones (SASRec)."""
    for embeddings in (pipeline.semantic(), pipeline.collaborative()):
        n_items, width = embeddings.vectors.shape
        print(f"{embeddings.source}: {n_items:,} x {width}")
    _print_folders(pipeline)


@app.command()
@with_run_options
def tokenize(
    pipeline,
    overrides,
    variant: Annotated[
        str,
        typer.Option(
            "--variant",
            "--arm",
            help="letter (both regularizers), cf or div (only that one), plain (neither)",
        ),
    ] = "letter",
) -> None:
    """Train a tokenizer and write the identifiers of the items, to <Name>.index.json."""
    from letterlib.pipeline.table import describe_tokenizer

    tokenizer = pipeline.tokenizer(variant)
    note_unread(pipeline, overrides, [variant])
    print(describe_tokenizer(tokenizer))
    _print_folders(pipeline)


@app.command()
@with_run_options
def train(
    pipeline,
    overrides,
    system: Annotated[
        str, typer.Argument(help="caser, sasrec-tuned, letter-tiger, ...; a wrong name lists all")
    ],
) -> None:
    """Train one system, and before it whatever it needs."""
    note_unread(pipeline, overrides, [system])
    pipeline.system(system)
    _print_folders(pipeline)
    if not pipeline.cache.finished:
        print(f"{system}: has nothing to train; letterlib evaluate {system} ranks with it")


@app.command()
@with_run_options
def evaluate(
    pipeline,
    overrides,
    system: Annotated[str, typer.Argument(help="tiger, mf, ...; a wrong name lists all")],
) -> None:
    """Rank the catalogue for every test case. Prints metrics with intervals, and two floors."""
    from letterlib.pipeline.table import evaluated

    note_unread(pipeline, overrides, [system])
    print(evaluated(pipeline, system))
    _print_folders(pipeline)


def _print_folders(pipeline) -> None:
    for artefact in pipeline.cache.finished:
        print(f"{artefact.name}: {artefact.folder}")


# Many runs


@app.command()
def grid(
    file: Annotated[
        Path, typer.Argument(help="a grid, such as experiments/ablation.yaml", callback=home)
    ],
    run: Annotated[bool, typer.Option("--run", help="do the runs that are not done")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="keys, states and commands, for another program")
    ] = False,
    out_dir: Annotated[
        Path | None,
        path_option("--out-dir", help="where finished runs are; default: results/ in --cache-dir"),
    ] = None,
    also: Annotated[
        list[Path],
        path_option("--also", help="runs here and below count as done; repeatable"),
    ] = [],  # noqa: B006
    cache_dir: CacheDir = Path("runs"),
    data_root: DataRoot = Path("data"),
) -> None:
    """List the runs of a grid; with --run, do those that are not done.

    Each run is also one papermill command, which is printed for those that are not done.
    """
    import shlex

    from letterlib.pipeline import runs as r
    from letterlib.pipeline.config import data_dir_under, default_data_dir

    if run and as_json:
        raise typer.BadParameter("--json lists and --run does; give one of them")
    chosen, out_dir = r.load_grid(file), out_dir or cache_dir / RESULTS.name
    elsewhere = r.runs_below(also)
    states = [r.state(parameters, out_dir, elsewhere) for parameters in chosen.runs]
    folders = [data_dir_under(data_root, parameters.dataset) for parameters in chosen.runs]
    if as_json:
        listed = [r.listed(one, state) for one, state in zip(chosen.runs, states, strict=True)]
        print(json.dumps(listed))
        return
    print(f"{file.name}: {chosen.about}\nruns: {len(states)}, done: {states.count('done')}")
    for parameters, folder in zip(chosen.runs, folders, strict=True):
        found = elsewhere.get(parameters.key) or r.finished(parameters, out_dir)
        if found and (folder := folder or default_data_dir(parameters.dataset)):
            r.check_content(found, parameters, folder, cache_dir)
    if not run:
        if not out_dir.is_dir() and set(states) != {"done"}:
            print(f"first: mkdir -p {shlex.quote(str(out_dir))}")  # papermill makes no folder
        for parameters, state, folder in zip(chosen.runs, states, folders, strict=True):
            command = r.papermill_command(parameters, out_dir, cache_dir, folder)
            print(f"{state:6} {parameters.key}  {parameters if state == 'done' else command}")
        return
    failed = []
    for number, parameters in enumerate(chosen.runs, start=1):
        print(f"[{number}/{len(states)}] {parameters}", flush=True)
        if parameters.key in elsewhere:
            print("done, and kept elsewhere")
            continue
        try:
            folder = folders[number - 1]
            r.do_run(parameters, data_dir=folder, out_dir=out_dir, cache_dir=cache_dir)
        except Exception as error:
            if r.n_processes() > 1:
                raise  # the other processes are still in this run
            print(f"failed: {type(error).__name__}: {error}")
            failed.append(parameters.key)
    if failed:
        raise LetterError(
            f"{len(failed)} of {len(states)} runs failed; tracebacks are in "
            f"{out_dir}/<key>.failures.jsonl; the same command tries them again: "
            f"{', '.join(failed)}"
        )


@results_app.command()
def show(paths: Folders = [RESULTS], where: Where = []) -> None:  # noqa: B006
    """One row per setting, with 95% intervals over users and seeds."""
    from letterlib.pipeline.results import as_text, load_results, select

    print(as_text(select(load_results(*paths), where)))


@results_app.command()
def compare(
    paths: Folders = [RESULTS],  # noqa: B006
    first: Annotated[
        list[str], typer.Option("--first", metavar="NAME=VALUE", help="of one side; repeatable")
    ] = [],  # noqa: B006
    second: Annotated[
        list[str], typer.Option("--second", metavar="NAME=VALUE", help="of the other; repeatable")
    ] = [],  # noqa: B006
    where: Where = [],  # noqa: B006
    metric: Annotated[str, typer.Option("--metric", help="R@K, N@K or MRR@K, as R@10")] = "R@10",
    history: Annotated[
        str, typer.Option("--history", help='left "in" the ranking, or filtered "out"')
    ] = "in",
    targets: Annotated[
        str | None,
        typer.Option("--targets", help="only cases with such a target: head, middle, tail, unseen"),
    ] = None,
) -> None:
    """Is one setting better than another? Paired over the users and seeds that both have.

    For instance --first tokenizer=letter --second tokenizer=plain. Head, middle and tail are the
    items with a third of the training interactions each, from the most popular on.
    """
    from letterlib.pipeline.results import compare, load_results, select

    chosen = select(load_results(*paths), where)
    one, other = select(chosen, first), select(chosen, second)
    if {run.setting for run in one} == {run.setting for run in other}:
        raise LetterError("both sides are the same settings; --first and --second must differ")
    found = compare(one, other, metric, history, targets=targets)
    print(found)
    if found.devices:
        print(f"A difference may come from the devices: {found.devices}.")


@results_app.command()
def best(paths: Folders = [RESULTS], where: Where = []) -> None:  # noqa: B006
    """Name the setting that is best on validation, by mean N@10. Test figures are not read.

    Settings are compared on the seeds that all of them have.
    """
    from letterlib.pipeline.results import best, load_results, select

    runs = best(select(load_results(*paths), where))
    print(json.dumps({k: v for k, v in runs[0].parameters.items() if k != "seed"}, indent=2))
    scores = [f"seed {run.seed}: {run.record['validation N@10']:.4f}" for run in runs]
    print(f"validation N@10 {', '.join(scores)}")


@results_app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(help="a file or folder of results, with those below", callback=home)
    ],
    file: Annotated[
        Path,
        typer.Argument(
            help=".parquet (everything), .csv (one row a run), .md or .tex (one a setting)",
            callback=home,
        ),
    ],
    where: Where = [],  # noqa: B006
) -> None:
    """Write the runs to a new file. A file that is there already is never overwritten."""
    from letterlib.pipeline.results import export, load_results, select

    print(f"Written to {export(select(load_results(folder), where), file)}")


app.add_typer(results_app, name="results")
app.add_typer(data_app, name="data")


@app.command()
def doctor(
    cache_dir: CacheDir = Path("runs"),
    data_dir: Annotated[Path | None, path_option("--data-dir", help="a data set to check")] = None,
) -> None:
    """Check this machine: Python, torch, memory, models and data. Each line says what to do."""
    from letterlib.doctor import examine

    os.environ.setdefault("TQDM_DISABLE", "1")
    failed = 0
    for check in examine(cache_dir, data_dir):
        print(check, flush=True)
        failed += check.state == "FAIL"
    what = f"{failed} check(s) failed; each line says what to do." if failed else "All is well."
    print(f"\n{what}")
    raise typer.Exit(code=1 if failed else 0)


def main() -> None:
    """Run the command line. Mistakes are one line on stderr and exit code 2."""
    if not is_main():  # of several processes one prints
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    sys.stdout.reconfigure(errors="backslashreplace")  # titles, on a terminal that is ASCII
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # a batch system's end is a Ctrl-C
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    command = typer.main.get_command(app)
    try:
        code = command.main(standalone_mode=False, prog_name="letterlib")
    except LetterError as error:
        code = _fail(str(error))
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        if not hasattr(error, "format_message"):  # click's usage errors have one
            raise
        where = getattr(getattr(error, "ctx", None), "command_path", "letterlib")
        if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help
            print(error.format_message())
            code = 0
        else:
            code = _fail(f"{error.format_message()} (see {where} --help)")
    if code == INTERRUPTED:  # typer catches Ctrl-C itself, and returns its code
        print("\nInterrupted. The same command goes on from what is finished.", file=sys.stderr)
        leave(code)
    sys.exit(code or 0)


def _fail(line: str) -> int:
    print(f"letterlib: {line}", file=sys.stderr)
    return 2
