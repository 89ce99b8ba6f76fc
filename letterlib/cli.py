"""The command line: `letterlib run`, and every stage of it alone.

torch is imported when a command runs, so that `--help` need not wait for it.
"""

import inspect
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

import letterlib
from letterlib.distributed import is_main, leave
from letterlib.errors import LetterError, one_line
from letterlib.store import expanded

app = typer.Typer(
    help="LETTER: from an item's title to a ranked list, on real data.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(rich_markup_mode=None)
results_app = typer.Typer(
    help="Show, compare, choose among or export finished runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
INTERRUPTED = 130
"""The exit code after Ctrl-C."""


def home(value: Any) -> Any:
    """Expand a ~ that the shell has left in a path, or in several."""
    if isinstance(value, list):
        return [expanded(path) for path in value]
    return value and expanded(value)


def path_option(*names: str, help: str) -> Any:
    return typer.Option(*names, help=help, callback=home)


def path_argument(help: str) -> Any:
    return typer.Argument(help=help, callback=home)


RESULTS = Path("runs/results")
Metrics = Annotated[
    list[str],
    typer.Option(
        "--metric",
        metavar="NAME",
        help="R@K, N@K (NDCG) or MRR@K, K up to 50 (or the beams), in columns; repeatable",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, for another program")]
CacheDir = Annotated[Path, path_option(help="where finished stages and reports are kept")]
Folders = Annotated[list[Path], path_argument("files or folders of results, with those below")]
Where = Annotated[
    list[str],
    typer.Option(metavar="NAME=VALUE", help="only runs with it, as tau=0.8; repeatable"),
]
LanguageModels = Annotated[
    bool,
    typer.Option(
        "--language-models",
        help="also LC-Rec and LETTER-LC-Rec (table: and BIGRec), an hour each on one core; "
        "run 'make models' first",
    ),
]

Plugins = Annotated[
    list[Path],
    path_option(
        "--plugin",
        help="a Python file that registers systems, identifiers or data sets; repeatable",
    ),
]


def make_pipeline(
    *,
    dataset: Annotated[
        str,
        typer.Option(
            autocompletion=lambda: ["movielens", "complete-journey", "beauty", "instruments"],
            help=(
                "movielens and complete-journey come with the installation; "
                "amazon-<year>-<category> and yelp are made from raw files (letterlib data fetch); "
                "any other name is a released folder (<Name>.inter.json, <Name>.item.json), looked "
                "for in --data-dir, or one that letterlib data import has made"
            ),
        ),
    ] = "movielens",
    data_dir: Annotated[
        Path | None, path_option(help="folder of the data's files; data/<dataset> if not given")
    ] = None,
    profile: Annotated[
        str,
        typer.Option(
            autocompletion=lambda: ["smoke", "laptop", "paper"],
            help="smoke (seconds), laptop (minutes on two cores), paper (the paper's sizes)",
        ),
    ] = "laptop",
    seed: Annotated[
        int, typer.Option(help="decides what is random; on a CPU the same gives the same")
    ] = 0,
    device: Annotated[
        str, typer.Option(help="auto (a GPU if there is one), cpu, cuda, cuda:NUMBER")
    ] = "auto",
    encoder: Annotated[
        str, typer.Option(help="minilm, or any Hugging Face model id or folder")
    ] = "minilm",
    item_vectors: Annotated[
        Path | None,
        path_option(help="item vectors made elsewhere instead: .npy or safetensors [n_items, d]"),
    ] = None,
    repeats: Annotated[
        str, typer.Option(help="keep, or drop: only a user's first interaction with an item")
    ] = "keep",
    cache_dir: CacheDir = Path("runs"),
    track: Annotated[
        str | None,
        typer.Option(help="tensorboard or wandb: learning curves, to <cache-dir>/tracking"),
    ] = None,
    plugins: Plugins = [],  # noqa: B006 (typer copies it)
    overrides: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="a setting, as in tiger.epochs=3; letterlib settings lists all; repeatable",
        ),
    ] = [],  # noqa: B006 (typer copies it)
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="only results, no progress and no notes")
    ] = False,
):
    """The pipeline that the options of a command describe. Progress and notes go to stderr."""
    if quiet:
        os.environ["TQDM_DISABLE"] = "1"
    from letterlib.pipeline.cache import Cache
    from letterlib.pipeline.config import check_weights, default_data_dir, make_config
    from letterlib.pipeline.pipeline import Pipeline
    from letterlib.pipeline.register import load_plugins

    load_plugins(plugins)
    overrides = [*overrides, *([f"repeats={repeats}"] if repeats != "keep" else [])]
    overrides += [f"item_vectors={item_vectors}"] if item_vectors else []
    config = make_config(dataset, profile, seed, device, encoder, overrides)
    check_weights(config)
    data_dir = data_dir or default_data_dir(dataset)
    cache = Cache(cache_dir, (lambda line: None) if quiet else tell, track=track)
    return Pipeline(config, data_dir=data_dir, cache=cache)


def tell(line: str) -> None:
    """What is no result: progress, notes, and where files lie."""
    typer.echo(line, err=True)


def with_run_options(function: Callable) -> Callable:
    """Make a command of `function(pipeline, ...)`: it takes the options of `make_pipeline`, too."""
    own = list(inspect.signature(function).parameters.values())[1:]
    shared = list(inspect.signature(make_pipeline).parameters.values())

    @wraps(function)
    def command(**values: Any) -> None:
        options = {option.name: values.pop(option.name) for option in shared}
        if "context" in values and values["context"].invoked_subcommand:
            return  # `letterlib data fetch` passes through `letterlib data`
        function(make_pipeline(**options), **values)

    command.__signature__ = inspect.Signature(own + shared)
    command.__annotations__ = {p.name: p.annotation for p in own + shared}
    return command


def run_script(main: Callable[..., None]) -> None:
    """Run a script of experiments/ as a command; a user's mistake is one line."""

    @wraps(main)
    def script(**values: Any) -> None:
        main(**{k: home(v) if isinstance(v, Path) else v for k, v in values.items()})

    try:
        typer.run(script)
    except Exception as error:
        if (line := one_line(error)) is None:
            raise
        raise SystemExit(f"error: {line}") from error


def refuse_existing(folder: Path) -> None:
    """Raise LetterError for a folder that holds something: results are not overwritten."""
    if folder.exists() and any(folder.iterdir()):
        raise LetterError(f"{folder}: holds results already; name another folder with --out")


def note_unread(pipeline: Any, systems: list[str]) -> None:
    """Print which changed settings change nothing of these systems or tokenizer variants."""
    from letterlib.pipeline.config import changes
    from letterlib.pipeline.systems import unread

    for override in unread(changes(pipeline.config), *systems):
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
    language_models: LanguageModels = False,
    metric: Metrics = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Compare LETTER-TIGER with other systems, and write a report.

    Finished stages are kept in --cache-dir. Run it again and it takes seconds; interrupt it
    anywhere and run it again, and it goes on from the last finished stage or checkpoint.
    """
    from letterlib.pipeline.report import run_all
    from letterlib.pipeline.systems import FIRST_RUN

    systems = [*FIRST_RUN, *(("lc-rec", "letter-lc-rec") if language_models else ())]
    note_unread(pipeline, systems)
    run_all(pipeline, systems, metric, as_json)


@app.command()
@with_run_options
def table(
    pipeline,
    seeds: Annotated[int, typer.Option(min=1, help="how many seeds, beginning with --seed")] = 3,
    language_models: LanguageModels = False,
    system: Annotated[
        list[str],
        typer.Option(
            "--system",
            metavar="NAME",
            help=(
                "only this one and the floors; repeatable; all but language models if not given. "
                "With both tiger and letter-tiger all four tokenizers are trained, to say what "
                "each regularizer does"
            ),
        ),
    ] = [],  # noqa: B006 (typer copies it)
    metric: Metrics = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Compare the systems over several seeds, with intervals.

    Goes on where it was interrupted. Writes Markdown, CSV, LaTeX, a figure, and the runs.
    """
    from letterlib.pipeline.systems import QUICK, SYSTEMS
    from letterlib.pipeline.table import write_table

    if system and language_models:
        raise typer.BadParameter("--system names all that is wanted; leave out --language-models")
    chosen = list(dict.fromkeys(system)) or (list(SYSTEMS) if language_models else QUICK)
    note_unread(pipeline, chosen)
    write_table(pipeline, seeds, chosen, metric, as_json)


@data_app.callback(invoke_without_command=True)
@with_run_options
def data(pipeline, context: typer.Context) -> None:
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


@data_app.command()
def fetch(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="amazon-2014-beauty, amazon-2018-musical-instruments, yelp, ...")
    ],
    given: Annotated[
        list[Path],
        path_option("--from", help="a file that is on this machine already; repeatable"),
    ] = [],  # noqa: B006
    data_dir: Annotated[
        Path | None, path_option(help="where to put them; data/<name> if not given")
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
        path_argument("CSV or Parquet with columns user, item, time; .tsv and .gz, too"),
    ],
    items: Annotated[
        Path,
        path_argument("CSV or Parquet with columns item, title, and perhaps description, genres"),
    ],
    k: Annotated[
        int, typer.Option(min=3, help="leave out users and items with fewer interactions")
    ] = 5,
    repeats: Annotated[
        str, typer.Option(help="keep, or drop: only a user's first interaction with an item")
    ] = "keep",
    columns: Annotated[
        list[str],
        typer.Option(
            "--column",
            metavar="NAME=COLUMN",
            help="what a column is called in your files, as user=customer_id; repeatable",
        ),
    ] = [],  # noqa: B006
    valid_from: Annotated[
        str | None, typer.Option(help="temporal split: from this time on, validation")
    ] = None,
    test_from: Annotated[str | None, typer.Option(help="from this time on, test")] = None,
    data_dir: Annotated[Path | None, path_option(help="where to; data/<name> if not given")] = None,
) -> None:
    """Make a data set from two tables of your own. Checked, sorted by time, k-core, numbered.

    Without a split of yours each user's last item is test and the one before it validation.
    --valid-from and --test-from cut all users at the same times; --column split=COLUMN takes a
    column that says train, valid or test of each interaction.
    """
    from letterlib.data import DATASETS, is_raw
    from letterlib.data.released import write_released
    from letterlib.data.tables import read_own_tables
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
    names = dict(column.split("=", 1) if "=" in column else (column, "") for column in columns)
    if (valid_from is None) != (test_from is None):
        raise typer.BadParameter("give both --valid-from and --test-from")
    cuts = (valid_from, test_from) if valid_from is not None else None
    dataset, lines = read_own_tables(name, interactions, items, k, repeats, names, cuts)
    write_released(dataset, folder)
    where = "" if folder == Path("data") / name else f" --data-dir {shlex.quote(str(folder))}"
    print("\n".join([*lines, f"{folder}: written", f"next: letterlib run --dataset {name}{where}"]))


@app.command()
@with_run_options
def settings(
    pipeline,
    sections: Annotated[
        list[str] | None, typer.Argument(help="tiger, tokenizer, ...; all when none is named")
    ] = None,
) -> None:
    """List what --set may change, with values and meanings. Nothing is run."""
    from letterlib.pipeline.config import describe_settings

    print(describe_settings(pipeline.config, sections or ()))


@app.command()
@with_run_options
def embed(pipeline) -> None:
    """Make the text embeddings and the collaborative ones (SASRec)."""
    for embeddings in (pipeline.semantic(), pipeline.collaborative()):
        n_items, width = embeddings.vectors.shape
        print(f"{embeddings.source}: {n_items:,} x {width}")
    _print_folders(pipeline)


@app.command()
@with_run_options
def tokenize(
    pipeline,
    variant: Annotated[
        str,
        typer.Option(help="letter (both regularizers), cf or div (only that one), plain (neither)"),
    ] = "letter",
) -> None:
    """Train a tokenizer and write the identifiers of the items, to <Name>.index.json."""
    from letterlib.pipeline.table import describe_tokenizer

    tokenizer = pipeline.tokenizer(variant)
    note_unread(pipeline, [variant])
    print(describe_tokenizer(tokenizer))
    _print_folders(pipeline)


@app.command()
@with_run_options
def train(
    pipeline,
    system: Annotated[
        str, typer.Argument(help="caser, sasrec-tuned, letter-tiger, ...; a wrong name lists all")
    ],
) -> None:
    """Train one system, and before it whatever it needs."""
    note_unread(pipeline, [system])
    pipeline.system(system)
    _print_folders(pipeline)
    if not pipeline.cache.finished:
        print(f"{system}: has nothing to train; letterlib evaluate {system} ranks with it")


@app.command()
@with_run_options
def evaluate(
    pipeline,
    system: Annotated[str, typer.Argument(help="tiger, mf, ...; a wrong name lists all")],
    metric: Metrics = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """Rank the catalogue for every test case. Prints metrics with intervals, and two floors."""
    from letterlib.pipeline.table import evaluated

    note_unread(pipeline, [system])
    print(evaluated(pipeline, system, metric, as_json))
    for stage in pipeline.cache.finished:
        pipeline.cache.say(f"{stage.name}: {stage.folder}")


@app.command()
@with_run_options
def recommend(
    pipeline,
    system: Annotated[
        str, typer.Argument(help="tiger, mf, ...; a wrong name lists all")
    ] = "letter-tiger",
    user: Annotated[
        list[str],
        typer.Option("--user", metavar="ID", help="a user, by the data's own id; repeatable"),
    ] = [],  # noqa: B006
    liked: Annotated[
        list[str],
        typer.Option("--liked", metavar="TITLE", help="a newcomer's items, oldest first"),
    ] = [],  # noqa: B006
    users: Annotated[
        Path | None, path_option(help="a CSV or Parquet table with a column user; with --out")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="items of a list")] = 10,
    again: Annotated[bool, typer.Option("--again", help="also items of the history")] = False,
    out: Annotated[
        Path | None,
        path_option(
            help="a new .csv or .parquet; or a folder of Parquet files, which the same command "
            "completes after an interruption. Without --user and --users: all users"
        ),
    ] = None,
    shard: Annotated[int, typer.Option(min=1, help="users of a file in a folder")] = 10_000,
    as_json: AsJson = False,
) -> None:
    """List the items that a system recommends to a user, after all that the user has.

    A row is user, rank, item, title and score, with the data's own ids. The system is trained on
    the training part, as for every other command.
    """
    from letterlib.data.tables import read_columns
    from letterlib.pipeline.lists import recommend, recommend_in_shards, write_lists

    if bool(user) + bool(liked) + bool(users) > 1 or not (user or liked or out):
        raise typer.BadParameter("give --user or --liked; --out alone lists for all users")
    if users:
        user = list(dict.fromkeys(read_columns(users, ("user",))["user"]))
    if out and not out.suffix and not liked:
        files = recommend_in_shards(pipeline, system, out, user, k, again, shard)
        pipeline.cache.say(f"Written to {out}: {len(files):,} files")
        return
    if out:
        write_lists(lambda: recommend(pipeline, system, user, liked, k, again), out)
        pipeline.cache.say(f"Written to {out}")
        return
    lists = recommend(pipeline, system, user, liked, k, again)
    print(lists.to_json(orient="records") if as_json else lists.to_string(index=False))


@app.command(name="export")
@with_run_options
def export_model(
    pipeline,
    folder: Annotated[Path, path_argument("a new folder")],
    system: Annotated[
        str, typer.Option(help="a system with identifiers: letter-tiger, tiger-cf, lc-rec, ...")
    ] = "letter-tiger",
    to: Annotated[str, typer.Option(help="transformers, which is all there is")] = "transformers",
    adapter: Annotated[
        bool, typer.Option("--adapter", help="of LC-Rec, an adapter for peft; else merged")
    ] = False,
    push: Annotated[
        str | None,
        typer.Option(metavar="NAME/MODEL", help="also put it on the Hugging Face hub, privately"),
    ] = None,
) -> None:
    """Write a trained model as a folder for transformers, with identifiers, tokenizer and card.

    Trains it first if it is not trained. AutoModelForSeq2SeqLM (LC-Rec: AutoModelForCausalLM) reads
    the folder; with letterlib.export.exported_processor, `generate` gives the same lists.
    """
    from letterlib.export import export, push_to_hub

    if to != "transformers":
        raise typer.BadParameter(f'--to {to}: "transformers" is all there is')
    print(f"Written to {export(pipeline.system(system), folder, adapter)}")
    if push:
        print(f"On the hub: {push_to_hub(folder, push)}")


def _print_folders(pipeline) -> None:
    for stage in pipeline.cache.finished:
        print(f"{stage.name}: {stage.folder}")


# Many runs


@app.command()
def grid(
    file: Annotated[Path, path_argument("a grid, such as experiments/ablation.yaml")],
    run: Annotated[bool, typer.Option("--run", help="do the runs that are not done")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="keys, states and commands, for another program")
    ] = False,
    out_dir: Annotated[
        Path | None,
        path_option(help="where finished runs are; default: results/ in --cache-dir"),
    ] = None,
    also: Annotated[
        list[Path], path_option(help="runs here and below count as done; repeatable")
    ] = [],  # noqa: B006
    cache_dir: CacheDir = Path("runs"),
    data_root: Annotated[
        Path, path_option(help="has a folder for each released data set (beauty, ...)")
    ] = Path("data"),
    plugins: Plugins = [],  # noqa: B006
) -> None:
    """List the runs of a grid; with --run, do those that are not done.

    Each run is also one papermill command, which is printed for those that are not done.
    """
    from letterlib.pipeline import runs as r
    from letterlib.pipeline.config import data_dir_under, default_data_dir

    r.load_plugins(plugins)
    if run and as_json:
        raise typer.BadParameter("--json lists and --run does; give one of them")
    chosen, out_dir = r.load_grid(file), out_dir or cache_dir / RESULTS.name
    elsewhere = r.runs_below(also, cache_dir)
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
        tell(f"[{number}/{len(states)}] {parameters}")
        if parameters.key in elsewhere:
            tell("done, and kept elsewhere")
            continue
        try:
            folder = folders[number - 1]
            where = dict(out_dir=out_dir, cache_dir=cache_dir)
            r.do_run(parameters, data_dir=folder, say=tell, **where)
        except Exception as error:
            if r.n_processes() > 1:
                raise  # the other processes are still in this run
            tell(f"failed: {one_line(error) or f'{type(error).__name__}: {error}'}")
            failed.append(parameters.key)
    if failed:
        raise LetterError(
            f"{len(failed)} of {len(states)} runs failed; tracebacks are in "
            f"{out_dir}/<key>.failures.jsonl; the same command tries them again: "
            f"{', '.join(failed)}"
        )


@results_app.command()
def show(
    paths: Folders = [RESULTS],  # noqa: B006
    where: Where = [],  # noqa: B006
    metric: Metrics = [],  # noqa: B006
    as_json: AsJson = False,
) -> None:
    """One row per setting, with 95% intervals over users and seeds."""
    from letterlib.pipeline.results import as_json as records
    from letterlib.pipeline.results import as_text, load_results, select

    runs = select(load_results(*paths), where)
    print(records(runs, metric) if as_json else as_text(runs, metric))


@results_app.command()
def compare(
    paths: Folders = [RESULTS],  # noqa: B006
    first: Annotated[
        list[str], typer.Option(metavar="NAME=VALUE", help="of one side; repeatable")
    ] = [],  # noqa: B006
    second: Annotated[
        list[str], typer.Option(metavar="NAME=VALUE", help="of the other; repeatable")
    ] = [],  # noqa: B006
    where: Where = [],  # noqa: B006
    metric: Annotated[str, typer.Option(help="R@K, N@K or MRR@K, as R@10")] = "R@10",
    history: Annotated[str, typer.Option(help='left "in" the ranking, or filtered "out"')] = "in",
    targets: Annotated[
        str | None,
        typer.Option(help="only cases with such a target: head, middle, tail, cold"),
    ] = None,
    cases: Annotated[
        str | None,
        typer.Option(help="only such cases: seen, unseen, repeat, new, tied, untied"),
    ] = None,
) -> None:
    """Is one setting better than another? Paired over the users and seeds that both have.

    For instance --first tokenizer=letter --second tokenizer=plain. Head, middle and tail are the
    items with a third of the training interactions each, from the most popular on. A case is seen
    if one of its last six items came before the target, within six places, in training; a repeat
    if the target is in its history; tied if the target has the time of the item before it.
    """
    from letterlib.pipeline.results import compare, load_results, select

    chosen = select(load_results(*paths), where)
    one, other = select(chosen, first), select(chosen, second)
    if {run.setting for run in one} == {run.setting for run in other}:
        raise LetterError("both sides are the same settings; --first and --second must differ")
    found = compare(one, other, metric, history, targets=targets, cases=cases)
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
    folder: Annotated[Path, path_argument("a file or folder of results, with those below")],
    file: Annotated[
        Path,
        path_argument(".parquet (everything), .csv (one row a run), .md or .tex (one a setting)"),
    ],
    where: Where = [],  # noqa: B006
    metric: Metrics = [],  # noqa: B006
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME=VALUE",
            help=".tex: mark what differs significantly from these runs, as tokenizer=plain",
        ),
    ] = None,
) -> None:
    """Write the runs to a new file. A file that is there already is never overwritten.

    A .tex table has the best value of each column in bold; --metric chooses its columns.
    """
    from letterlib.pipeline.results import export, load_results, select

    tell(f"Written to {export(select(load_results(folder), where), file, metric, against)}")


@results_app.command()
def report(
    folder: Annotated[Path, path_argument("a file or folder of results, with those below")],
    file: Annotated[Path, path_argument("the page to write, such as report.html; a new file")],
    where: Where = [],  # noqa: B006
) -> None:
    """Write a page of finished runs, such as those of a grid: a table and a figure by data set."""
    from letterlib.pipeline.report import render_results
    from letterlib.pipeline.results import load_results, select
    from letterlib.store import write_text

    if file.exists():
        raise LetterError(f"{file}: is there already; choose another name, or move it away")
    write_text(file, render_results(select(load_results(folder), where), str(folder)))
    tell(f"Written to {file}")


app.add_typer(results_app, name="results")
app.add_typer(data_app, name="data")


@app.command()
def doctor(
    cache_dir: CacheDir = Path("runs"),
    data_dir: Annotated[Path | None, path_option(help="a data set to check")] = None,
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
    """Run the command line. A mistake ends with exit code 2 and a line on stderr."""
    if not is_main():  # of several processes one prints
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
    sys.stdout.reconfigure(errors="backslashreplace")  # titles, on a terminal that is ASCII
    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:  # a batch system's end is a Ctrl-C
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        app(prog_name="letterlib")
    except Exception as error:
        if (line := one_line(error)) is None:
            raise
        print(f"letterlib: {line}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code != INTERRUPTED:
            raise
    print("\nInterrupted. The same command goes on from what is finished.", file=sys.stderr)
    leave(INTERRUPTED)
