"""Does L_Div change which first codes TIGER writes? TIGER on identifiers of three weights beta:
what lesson 06 reads.

    python experiments/generation_bias.py --profile laptop --out
    experiments/results/movielens-generation-bias

beta is 0 (L_CF alone), the profile's (LETTER) and 1, where the sweep of lesson 04 saw an effect;
everything else is the profile's. Tokenizers, models and evaluations are cached stages, so an
interrupted run goes on where it stopped. `runs.csv` has one row a model; `counts.safetensors` has
how often each first code was generated (in the first ten places of every list), how many items have
it, and how many targets.
"""

from pathlib import Path
from typing import Any

import numpy as np
from sweeps import CacheDir, Out, Seeds, stage_after_training, write_sweep

from letterlib.analysis.code_usage import code_usage
from letterlib.analysis.generation import first_code_counts, generation_bias
from letterlib.cli import refuse_existing, run_script
from letterlib.evaluation.evaluate import LISTED, evaluate
from letterlib.pipeline.cache import Cache, Stage
from letterlib.pipeline.config import LEAST_BEAM, make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.progress import progress
from letterlib.store import load_tensors, save_tensors

BETAS = (0.0, 1e-4, 1.0)


def listed(pipeline: Pipeline) -> Stage:
    """The first codes that one model writes, and its metrics."""

    def work(out: Path, partial: Path) -> dict[str, Any]:
        tiger, cases = pipeline.system("letter-tiger"), pipeline.split.cases("test")
        identifiers = tiger.identifiers
        ranking = tiger.recommend(cases.without_targets(), LEAST_BEAM)
        metrics = evaluate(ranking, cases, pipeline.split, identifiers.identifier_of_item).metrics()
        items, n_codes = ranking.items[:, :LISTED], identifiers.level_sizes[0]
        counts = first_code_counts(identifiers.codes, items, cases.targets, n_codes)
        bias = {f"KL from {name}": value for name, value in generation_bias(counts).items()}
        usage = (
            code_usage(identifiers.codes, identifiers.level_sizes)
            .loc[1, ["in_use", "perplexity"]]
            .to_dict()
        )
        save_tensors(
            out / "counts.safetensors", {name: counts[name].to_numpy(np.int32) for name in counts}
        )
        return bias | usage | {"R@10": metrics["R@10"], "coverage": metrics["coverage"]}

    settings = {"ranked": LEAST_BEAM, "listed": LISTED}
    return stage_after_training(pipeline, "generation-bias", 1, settings, work)


def main(
    out: Out, profile: str = "laptop", seeds: Seeds = 3, cache_dir: CacheDir = Path("runs")
) -> None:
    refuse_existing(out)
    cache = Cache(cache_dir, say=lambda line: None)
    rows, kept = [], {}
    for seed in progress(range(seeds), what="seeds"):
        for beta in BETAS:
            config = make_config("movielens", profile, seed, overrides=[f"tokenizer.beta={beta}"])
            pipeline = Pipeline(config, cache=cache)
            done = listed(pipeline)
            rows.append({"seed": seed, "beta": beta} | done.metrics)
            counts = load_tensors(done.path("counts.safetensors"))[0]
            kept |= {f"{name} beta={beta:g} seed={seed}": values for name, values in counts.items()}
    about = {
        "profile": profile,
        "seeds": seeds,
        "betas": BETAS,
        "listed": LISTED,
        "alpha": config.tokenizer.alpha,
        "tiger": config.tiger.model_dump(mode="json"),
    }
    write_sweep(out, pipeline, rows, ("counts", kept), about)


if __name__ == "__main__":
    run_script(main)
