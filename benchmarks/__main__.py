"""The command: `python -m benchmarks`."""

import os
import sys
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.beauty import TEXT, require_files
from benchmarks.common import Settings, alone, run_benchmark
from benchmarks.table import print_table
from letterlib.cli import home
from letterlib.errors import LetterError

HERE = Path(__file__).parent
BENCHMARKS = {
    "train_cornac": "TIGER training, examples/s, and cornac's LETTER",
    "train_t5": "TIGER training, examples/s and losses, and transformers' T5",
    "tokenizer": "LETTER's tokenizer, seconds per epoch, and cornac's",
    "decode": "recommending by beam search, users/s, and transformers' generate",
    "mask": "one masking step of 12,800 beams, and transformers' prefix constraint",
    "trie": "building a trie of 1e3 to 1e7 identifiers, its size, and the cost of a step",
    "embed": "text embedding, texts/s, and sentence-transformers",
    "exact": "scoring the whole catalogue exactly, and a forward pass per item",
    "sasrec": "SASRec training, examples/s, and cornac's",
    "scaling_users": "training and decoding against the number of users",
    "scaling_items": "decoding against the size of the catalogue",
}
NO_DATA = {"trie", "scaling_items"}
PEERS = {name: "cornac" for name in ("train_cornac", "tokenizer", "sasrec")}
PEERS["embed"] = "sentence_transformers"


def check(names: list[str], data_dir: Path) -> None:
    """LetterError where something that the chosen benchmarks need is missing."""
    if unknown := [name for name in names if name not in BENCHMARKS]:
        raise LetterError(f"no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    for name in names:
        if name in PEERS and find_spec(PEERS[name]) is None:
            raise LetterError(f"{PEERS[name]} is not installed; run: pip install -e '.[peers]'")
    if set(names) - NO_DATA:
        require_files(str(data_dir), text="embed" in names)


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
            help="where the JSON goes; benchmarks/results, with --quick runs/benchmarks-quick",
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
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = str(threads)
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    out = out or (HERE.parent / "runs" / "benchmarks-quick" if quick else HERE / "results")
    settings, failed = Settings(str(data_dir.resolve()), quick, threads, seed), []
    for number, name in enumerate(names, 1):
        print(f"[{number}/{len(names)}] {name}: {BENCHMARKS[name]}", flush=True)
        try:
            alone(run_benchmark, settings, name, out)
        except Exception:  # the others still run
            traceback.print_exc()
            failed.append(name)
    print_table(out, [name for name in names if name not in failed])
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
        raise typer.Exit(1)


main.__doc__ = (
    "Measure letterlib and its peers: both sides in one run, alternating, medians of several "
    "repeats. A full run takes about 20 minutes on two quiet cores. Benchmarks: "
    + "; ".join(f"{name} ({what})" for name, what in BENCHMARKS.items())
    + "."
)

if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(main)
    app(prog_name="python -m benchmarks")
