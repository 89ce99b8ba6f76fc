"""`letterlib grid` and `letterlib results`: many runs, and what they gave. Added to the command
line by `cli`.
"""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from letterlib.pipeline.run_options import at_home

OutDir = Annotated[
    Path | None,
    typer.Option(
        "--out-dir",
        help="where the records of finished runs are; default: results/ in --cache-dir",
        callback=at_home,
    ),
]
Where = Annotated[
    list[str],
    typer.Option(
        "--where", metavar="NAME=VALUE", help="only runs with this value, as in tau=0.8; repeatable"
    ),
]
Metric = Annotated[str, typer.Option("--metric", help="R@5, R@10, N@5 or N@10")]
History = Annotated[str, typer.Option("--history", help='left "in" the ranking, or filtered "out"')]
Folder = Annotated[
    Path,
    typer.Argument(
        help="folder of results; those in folders below count as well", callback=at_home
    ),
]
Folders = Annotated[
    list[Path],
    typer.Argument(
        help="folders of results; those in folders below count as well", callback=at_home
    ),
]
DataRoot = Annotated[
    Path,
    typer.Option(
        "--data-root",
        help="folder that holds a folder for each released data set (beauty, ...)",
        callback=at_home,
    ),
]
CacheDir = Annotated[
    Path,
    typer.Option(
        "--cache-dir", help="where finished stages and read data sets are kept", callback=at_home
    ),
]
RESULTS = Path("runs/results")

results_app = typer.Typer(
    help="Show, compare, choose among or export finished runs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def grid(
    file: Annotated[
        Path, typer.Argument(help="a grid, such as experiments/ablation.yaml", callback=at_home)
    ],
    run: Annotated[
        bool, typer.Option("--run", help="do, one after the other, the runs that are not done")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="keys, states and commands, for another program")
    ] = False,
    out_dir: OutDir = None,
    also: Annotated[
        list[Path],
        typer.Option(
            "--also",
            help="records here and below count as done, as in experiments/results; repeatable",
            callback=at_home,
        ),
    ] = [],  # noqa: B006
    cache_dir: CacheDir = Path("runs"),
    data_root: DataRoot = Path("data"),
) -> None:
    """List the runs of a grid; with --run, do those that are not done.

    Each run is also one papermill command, which is printed for those that are not done.
    """
    from letterlib.pipeline.config import data_dir_under
    from letterlib.pipeline.grid import check_data, load_grid, papermill_command, places, state

    if run and as_json:
        raise typer.BadParameter("--json lists and --run does; give one of them")
    chosen, out_dir = load_grid(file), out_dir or cache_dir / RESULTS.name
    folders = [data_dir_under(data_root, one.dataset) for one in chosen.runs]
    kept = places(chosen, out_dir, also)
    states = [state(one, place) for one, place in zip(chosen.runs, kept, strict=True)]
    check_data(chosen, folders, kept, cache_dir)
    if as_json:
        print(
            json.dumps(
                [
                    _for_another_program(one, what)
                    for one, what in zip(chosen.runs, states, strict=True)
                ]
            )
        )
        return
    print(f"{file.name}: {chosen.about}\nruns: {len(states)}, done: {states.count('done')}")
    if run:
        _run_all(chosen.runs, folders, kept, cache_dir)
        return
    if not out_dir.is_dir() and set(states) != {"done"}:
        print(f"first: mkdir -p {shlex.quote(str(out_dir))}")  # papermill makes no folder
    for one, what, folder in zip(chosen.runs, states, folders, strict=True):
        command = papermill_command(one, out_dir, cache_dir, folder)
        print(f"{what:6} {one.key}  {_in_a_line(one) if what == 'done' else command}")


def _for_another_program(parameters, state: str) -> dict:
    from letterlib.data import PACKAGED
    from letterlib.pipeline.grid import asked_for, papermill_words, shared_stages

    return {
        "key": parameters.key,
        "state": state,
        "parameters": asked_for(parameters),
        "profile": parameters.profile,
        "dataset": parameters.dataset,
        "packaged": parameters.dataset in PACKAGED,
        "papermill": papermill_words(parameters),
        "shared": shared_stages(parameters),
    }


def _in_a_line(parameters) -> str:
    return f"{parameters.label}, {parameters.dataset}, {parameters.profile}, seed {parameters.seed}"


def _run_all(runs: list, folders: list[Path | None], kept: list[Path], cache_dir: Path) -> None:
    """Do what is not done. A run that fails is said, kept, and does not stop the others."""
    from letterlib.distributed import n_processes
    from letterlib.errors import LetterError
    from letterlib.pipeline.runs import run

    failed, said = [], {}
    for number, (one, folder, place) in enumerate(zip(runs, folders, kept, strict=True), start=1):
        print(f"[{number}/{len(runs)}] {_in_a_line(one)}", flush=True)
        try:
            run(one, data_dir=folder, out_dir=place, cache_dir=cache_dir)
        except Exception as error:
            if n_processes() > 1:
                raise  # the others are still in this run, and would take the next one's messages for their own
            words = f"{type(error).__name__}: {error}"
            first = said.setdefault(
                words, number
            )  # a misspelt data set would say the same of every run
            print(f"failed: {words}" if first == number else f"failed: as [{first}/{len(runs)}]")
            failed.append(place / one.key)
    if failed:
        raise LetterError(
            f"{len(failed)} of {len(runs)} runs failed; why is said above, and of runs that had begun in "
            f"{failed[0].parent}/<key>.failures.jsonl. The same command tries them again: "
            f"{', '.join(one.name for one in failed)}"
        )


@results_app.command()
def show(folders: Folders = [RESULTS], where: Where = []) -> None:  # noqa: B006 (typer copies it)
    """One row per setting, with 95% intervals over users and seeds. What is the same in every row
    is said above it.
    """
    from letterlib.pipeline.run_export import in_print
    from letterlib.pipeline.run_results import load_results, select

    print(in_print(select(load_results(*folders), where)))


@results_app.command()
def compare(
    folders: Folders = [RESULTS],  # noqa: B006
    first: Annotated[
        list[str],
        typer.Option("--first", metavar="NAME=VALUE", help="what one side has; repeatable"),
    ] = [],  # noqa: B006
    second: Annotated[
        list[str],
        typer.Option("--second", metavar="NAME=VALUE", help="what the other has; repeatable"),
    ] = [],  # noqa: B006
    where: Where = [],  # noqa: B006
    metric: Metric = "R@10",
    history: History = "in",
    targets: Annotated[
        str | None,
        typer.Option(
            "--targets",
            help="only cases with such a target: head, middle, tail or unseen; all if not given",
        ),
    ] = None,
    data_root: DataRoot = Path("data"),
    cache_dir: CacheDir = Path("runs"),
) -> None:
    """Is one setting better than another? Paired over users and seeds.

    For instance --first tokenizer=letter --second tokenizer=plain.

    By a bootstrap over the users and seeds that both have. Head, middle and tail are the items with
    a third of the training interactions each, from the most popular on.
    """
    from letterlib.errors import LetterError
    from letterlib.pipeline.run_results import compare, load_results, select

    chosen = select(load_results(*folders), where)
    one, other = select(chosen, first), select(chosen, second)
    if {run.setting for run in one} == {run.setting for run in other}:
        raise LetterError(
            "both sides are the same settings (runs are paired by seed, so that is no part of one); --first and "
            "--second say in what else they differ"
        )
    found = compare(
        one, other, metric, history, targets=targets, data_root=data_root, cache_dir=cache_dir
    )
    print(f"{found}\n{found.origins}".rstrip())


@results_app.command()
def best(folders: Folders = [RESULTS], where: Where = []) -> None:  # noqa: B006
    """Name the setting that is best on validation, by mean N@10. Test figures are not looked at.

    Settings are compared on the seeds that all of them have.
    """
    from letterlib.pipeline.run_results import best, load_results, select

    found = select(load_results(*folders), where)
    runs = best(found)
    if left := sorted(
        {one.record["label"] for one in found if one.record["validation N@10"] is None}
    ):
        print(f"left out, not validated: {', '.join(left)}", file=sys.stderr)
    scores = ", ".join(f"seed {one.seed}: {one.record['validation N@10']:.4f}" for one in runs)
    print(json.dumps({k: v for k, v in runs[0].parameters.items() if k != "seed"}, indent=2))
    print(f"validation N@10 {scores}")


@results_app.command()
def export(
    folder: Folder,
    file: Annotated[
        Path,
        typer.Argument(
            help="ends in .csv or .parquet (one row a run), .md or .tex (one a setting)",
            callback=at_home,
        ),
    ],
    where: Where = [],  # noqa: B006
) -> None:
    """Write the runs to a new file. A file that is there already is never overwritten."""
    from letterlib.pipeline.run_export import export
    from letterlib.pipeline.run_results import load_results, select

    print(f"Written to {export(select(load_results(folder), where), file)}")
