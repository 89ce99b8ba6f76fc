"""Our tokenizer beside the identifiers that LETTER's authors released, on the same data set: what
lesson 05 reads.

    python experiments/released_tokenizer_comparison.py --data-dir data/beauty \\
        --out experiments/results/beauty-tokenizer-comparison

The judges are not what anybody trained with: the collaborative vectors are those of a second
SASRec, with another seed than the one that our tokenizer was aligned with. Every stage is cached,
so an interrupted run goes on where it stopped.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from letterlib.cli import run_script
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.released_comparison import compare_identifiers, distinct_rows
from letterlib.store import write_json


def main(
    data_dir: Annotated[
        Path, typer.Option(help="folder with <Name>.inter.json, .item.json and .index.json")
    ],
    out: Annotated[Path, typer.Option(help="folder for comparison.json")],
    profile: str = "laptop",
    seed: int = 0,
    cache_dir: Annotated[Path, typer.Option(help="where finished stages are kept")] = Path("runs"),
) -> None:
    cache = Cache(cache_dir)
    name = Path(
        os.path.abspath(data_dir)
    ).name.lower()  # as it is called here, also where it is a link to elsewhere
    pipeline = Pipeline(make_config(name, profile, seed), data_dir=data_dir, cache=cache)
    rows = compare_identifiers(pipeline)
    write_json(
        out / "comparison.json",
        {
            "dataset": pipeline.dataset.name,
            "fingerprint": pipeline.dataset.fingerprint,
            "items": pipeline.dataset.n_items,
            "distinct text vectors": distinct_rows(pipeline.semantic().vectors),
            "profile": profile,
            "seed": seed,
            "device": pipeline.device,
            "tokenizer": pipeline.config.tokenizer.model_dump(mode="json"),
            "rows": rows,
        },
    )


if __name__ == "__main__":
    run_script(main)
