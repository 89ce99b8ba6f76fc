"""How many codes are in use with and without the diversity loss, if the codebooks start and train
as in the authors' code? (questions.md, 4)

    python experiments/codes_in_use.py --dataset yelp --data-dir data/yelp \\
        --out experiments/results/yelp-codes-in-use.json

Seed 0 has all combinations of loss, start and Sinkhorn, later seeds only those that start and train
as ours or as theirs. Codes are counted before the repair of collisions. Every tokenizer is a cached
stage, so an interrupted run goes on where it stopped.
"""

from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from sweeps import CacheDir, Seeds

from letterlib.analysis.code_usage import code_usage
from letterlib.cli import run_script
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.progress import progress
from letterlib.store import write_json

BETAS = (0.0, 1e-4)
"""Without the diversity loss, and with the paper's weight."""

OURS, THEIRS = ("kmeans", False), ("constrained", True)
"""Start of the codebooks, and whether Sinkhorn deals out the last level's codes in training."""


def measure(pipeline: Pipeline) -> dict[str, Any]:
    """One row. Lists have a number per level; `unexplained` is the share of the text vectors'
    variance that the first 1, 2, ... codes leave.
    """
    tokenizer = pipeline.tokenizer("letter")
    codes, config = tokenizer.codes_before_repair(), tokenizer.config
    usage = code_usage(codes, tokenizer.identifiers().level_sizes)
    return {
        "seed": pipeline.config.seed,
        "beta": config.beta,
        "start": config.start,
        "sinkhorn": config.sinkhorn,
        "in_use": usage["in_use"].tolist(),
        "perplexity": usage["perplexity"].round(1).tolist(),
        "unexplained": np.round(tokenizer.report.reconstruction_error, 4).tolist(),
        "distinct": len(np.unique(codes, axis=0)),
    }


def main(
    dataset: Annotated[str, typer.Option(help="movielens, yelp, ...")],
    out: Annotated[Path, typer.Option(help="the JSON file to write")],
    data_dir: Annotated[Path | None, typer.Option(help="folder of the data set's files")] = None,
    profile: str = "laptop",
    seeds: Seeds = 1,
    cache_dir: CacheDir = Path("runs"),
) -> None:
    cache = Cache(cache_dir, say=lambda line: None)
    every = tuple(product(("kmeans", "constrained"), (False, True)))
    grid = [
        (seed, beta, *variant)
        for seed in range(seeds)
        for variant in (every if seed == 0 else (OURS, THEIRS))
        for beta in BETAS
    ]
    rows = []
    for seed, beta, start, sinkhorn in progress(grid, what="tokenizers"):
        chosen = {"beta": beta, "start": start, "sinkhorn": sinkhorn}
        overrides = [f"tokenizer.{name}={value}" for name, value in chosen.items()]
        config = make_config(dataset, profile, seed, overrides=overrides)
        pipeline = Pipeline(config, data_dir=data_dir, cache=cache)
        rows.append(measure(pipeline))
    tokenizer = config.tokenizer.model_dump(mode="json", exclude=set(chosen))
    about = {
        "dataset": pipeline.dataset.name,
        "fingerprint": pipeline.dataset.fingerprint,
        "items": pipeline.dataset.n_items,
        "profile": profile,
        "device": pipeline.device,
        "tokenizer": tokenizer,
    }
    write_json(out, about | {"rows": rows})


if __name__ == "__main__":
    run_script(main)
