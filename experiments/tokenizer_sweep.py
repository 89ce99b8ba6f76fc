"""LETTER's tokenizer over a grid of alpha and beta, several seeds each: what lessons 03, 04 and 05
read.

    python experiments/tokenizer_sweep.py --profile laptop --out
    experiments/results/movielens-tokenizer-sweep

Every tokenizer is a cached stage, so an interrupted sweep goes on where it stopped. `runs.csv` has
one row a tokenizer; `codes.safetensors` has the codes of the first seed's tokenizers, which the
explorer of lesson 05 shows.
"""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from sweeps import CacheDir, Out, Seeds, write_sweep

from letterlib.analysis.code_usage import code_usage
from letterlib.analysis.collaborative_signal import nearest_neighbours, similarity_experiment
from letterlib.analysis.geometry import neighbour_overlap
from letterlib.analysis.purity import genre_purity
from letterlib.cli import refuse_existing, run_script
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.tokenizer_analysis import ranking_recall
from letterlib.progress import progress

ALPHAS = (0.0, 1e-3, 1e-2, 2e-2, 1e-1, 1.0)
BETAS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""The paper's grids, with 0 (the regularizer off) below and values that are too large above."""

GRID = tuple(
    pair for pair in product(ALPHAS, BETAS) if pair[1] in (0.0, 1e-4) or pair[0] in (0.0, 1e-1)
)
"""Settings (alpha, beta) with several seeds: every alpha without L_Div and with the paper's beta,
every beta without L_CF and with the profile's alpha.
"""

SHOWN = tuple(product((0.0, 2e-2, 1e-1, 1.0), (0.0, 1e-2, 1.0)))
"""Settings whose codes are kept for the first seed, so that one can see how an identifier moves."""

NEIGHBOURS = 10


def measure(pipeline: Pipeline) -> tuple[dict[str, Any], np.ndarray]:
    """One row of the table, and the codes before the repair of collisions."""
    tokenizer = pipeline.tokenizer("letter")
    codes, report, quantised = (
        tokenizer.codes_before_repair(),
        tokenizer.report,
        tokenizer.quantised(),
    )
    semantic, cf = pipeline.semantic().vectors, pipeline.collaborative().vectors
    row: dict[str, Any] = {
        "alpha": tokenizer.config.alpha,
        "beta": tokenizer.config.beta,
        "seed": pipeline.config.seed,
        "error": report.reconstruction_error[-1],
        "colliding_before": report.collisions.colliding_before,
        "colliding_after": report.collisions.colliding_after,
        "similarity": similarity_experiment(codes, nearest_neighbours(cf)).mean,
        "semantic_overlap": neighbour_overlap(
            quantised, semantic - semantic.mean(axis=0), NEIGHBOURS
        ).mean(),
        "collaborative_overlap": neighbour_overlap(quantised, cf, NEIGHBOURS).mean(),
        "ranking_recall_10": ranking_recall(pipeline, {"letter": tokenizer})["letter"],
        "genre_purity_1": genre_purity(codes, pipeline.dataset.items["genres"].tolist(), 0).loc[
            1, "purity"
        ],
    }
    for level, values in code_usage(codes, tokenizer.identifiers().level_sizes).iterrows():
        row |= {
            f"{name}_{level}": values[name]
            for name in ("in_use", "perplexity", "gini", "max_share")
        }
    return row, codes


def main(
    out: Out, profile: str = "laptop", seeds: Seeds = 5, cache_dir: CacheDir = Path("runs")
) -> None:
    refuse_existing(out)
    cache = Cache(cache_dir, say=lambda line: None)
    only_shown = tuple(pair for pair in SHOWN if pair not in GRID)
    grid = [
        (seed, *pair) for seed in range(seeds) for pair in GRID + (only_shown if seed == 0 else ())
    ]
    rows, kept = [], {}
    for seed, alpha, beta in progress(grid, what="tokenizers"):
        chosen = [f"tokenizer.alpha={alpha}", f"tokenizer.beta={beta}"]
        pipeline = Pipeline(make_config("movielens", profile, seed, overrides=chosen), cache=cache)
        row, codes = measure(pipeline)
        rows.append(row)
        if seed == 0 and (alpha, beta) in SHOWN:
            kept[f"alpha={alpha:g} beta={beta:g}"] = codes.astype(np.uint8)
    tokenizer = pipeline.tokenizer("letter").config
    about = {
        "profile": profile,
        "seeds": seeds,
        "neighbours": NEIGHBOURS,
        "tokenizer": tokenizer.model_dump(mode="json", exclude={"alpha", "beta"}),
    }
    write_sweep(out, pipeline, rows, ("codes", kept), about)


if __name__ == "__main__":
    run_script(main)
