"""The command: `python -m benchmarks`."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.beauty import TEXT, require_files
from benchmarks.common import Settings
from benchmarks.table import print_table
from letterlib.cli import home
from letterlib.errors import LetterError

HERE = Path(__file__).parent
BENCHMARKS = {
    "train_cornac": "TIGER training, examples/s, beside cornac's LETTER",
    "train_t5": "TIGER training, examples/s and losses, beside transformers' T5",
    "tokenizer": "LETTER's tokenizer, seconds per epoch, beside cornac's",
    "decode": "recommending by beam search, users/s, beside transformers' generate",
    "mask": "one masking step of 12,800 beams, beside transformers' prefix constraint",
    "trie": "building a trie of 1e3 to 1e7 identifiers, its size, and the cost of a step",
    "embed": "text embedding, texts/s, beside sentence-transformers",
    "exact": "scoring the whole catalogue exactly, beside a forward pass per item",
    "sasrec": "SASRec training, examples/s, beside cornac's",
    "scaling_users": "training and decoding against the number of users",
    "scaling_items": "decoding against the size of the catalogue",
}
NO_DATA = {"trie", "scaling_items"}
PEERS = {
    "train_cornac": "cornac",
    "tokenizer": "cornac",
    "sasrec": "cornac",
    "embed": "sentence_transformers",
}


def check(names: list[str], data_dir: Path) -> None:
    """LetterError, in one line, where something that the chosen benchmarks need is missing."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise LetterError(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    absent = sorted(
        {PEERS[name] for name in names if name in PEERS and find_spec(PEERS[name]) is None}
    )
    if absent:
        raise LetterError(
            f"{', '.join(absent)} is not installed here; run: pip install -e '.[peers]'"
        )
    if set(names) - NO_DATA:
        require_files(str(data_dir), text="embed" in names)


def run_one(name: str, settings: Settings, out: Path) -> bool:
    """Measure in a process of its own, so that one benchmark's memory and threads do not touch
    another's.
    """
    threads = str(settings.threads)
    fixed = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "RAYON_NUM_THREADS": threads}
    quiet = {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    command = [
        sys.executable,
        "-m",
        "benchmarks.one",
        name,
        str(out.resolve()),
        json.dumps(asdict(settings)),
    ]
    return (
        subprocess.run(command, env={**os.environ, **fixed, **quiet}, cwd=HERE.parent).returncode
        == 0
    )


def main(
    quick: Annotated[
        bool, typer.Option(help="small samples, about three minutes: does everything run?")
    ] = False,
    only: Annotated[
        list[str], typer.Option(help="run this benchmark alone; may be given several times")
    ] = (),
    data_dir: Annotated[
        Path, typer.Option(help="folder of the released Beauty files", callback=home)
    ] = Path("data/beauty"),
    out: Annotated[
        Path | None,
        typer.Option(
            help=(
                "where the JSON goes; default benchmarks/results, with --quick "
                "runs/benchmarks-quick"
            ),
            callback=home,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="threads of both sides")] = 2,
    seed: Annotated[int, typer.Option(help="decides samples, weights and random identifiers")] = 0,
) -> None:
    names = list(only) or list(BENCHMARKS)
    if not only and not (data_dir / TEXT).is_file():  # LETTER's authors released none
        print(f"embed is left out: no {TEXT} in {data_dir} (data/README.md says how it is made)")
        names.remove("embed")
    try:
        check(names, data_dir)
    except LetterError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(2) from error
    out = out or (HERE.parent / "runs" / "benchmarks-quick" if quick else HERE / "results")
    settings = Settings(str(data_dir.resolve()), quick, threads, seed)
    failed = []
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}: {BENCHMARKS[name]}", flush=True)
        if not run_one(name, settings, out):
            failed.append(name)
    print_table(out, [name for name in names if name not in failed])
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)


main.__doc__ = (
    "Measure letterlib beside its peers: both sides in one run, alternating, medians of several "
    "repeats. "
    "A full run takes about 20 minutes on two quiet cores. Benchmarks: "
    + "; ".join(f"{name} ({what})" for name, what in BENCHMARKS.items())
    + "."
)

if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(main)
    app(prog_name="python -m benchmarks")
