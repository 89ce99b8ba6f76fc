"""LETTER-TIGER trained at several tau, several seeds each, decoded with raw logits and with logits
/ tau: lesson 06.

    python experiments/tau_sweep.py --profile laptop --out experiments/results/movielens-tau-sweep

The identifiers are the profile's LETTER identifiers of the same seed; tau and seed are all that
changes. Every trained model and every evaluation is a cached stage, so an interrupted sweep goes on
where it stopped. `runs.csv` has one row a model and way of decoding, with what the loss did to the
first code's logits on the test cases; `ranks.safetensors` has each target's rank, from which
intervals and paired differences are computed.
"""

from pathlib import Path
from typing import Any

import numpy as np
from sweeps import CacheDir, Out, Seeds, stage_after_training, write_sweep

from letterlib.analysis.code_usage import perplexity
from letterlib.analysis.negatives import negative_weights, target_logits
from letterlib.cli import refuse_existing, run_script
from letterlib.data.dataset import Cases
from letterlib.evaluation.evaluate import evaluate
from letterlib.generators.ranking_loss import ranking_guided_loss
from letterlib.generators.tiger import Tiger
from letterlib.pipeline.cache import Cache, Stage
from letterlib.pipeline.config import LEAST_BEAM, make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.progress import progress
from letterlib.store import load_tensors, save_tensors

TAUS = (0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2)
"""The paper's grid, in which 1 is plain cross-entropy."""

HARDEST = 10


def decoded(pipeline: Pipeline) -> Stage:
    """The ranks of one model's test targets, its metrics and what `pushed` says, by raw logits and
    by logits / tau.
    """

    def work(out: Path, partial: Path) -> dict[str, Any]:
        tiger, cases = pipeline.system("letter-tiger"), pipeline.split.cases("test")
        metrics, ranks, ways = {}, {}, {"raw": 1.0, "scaled": pipeline.config.tiger.tau}
        for way, tau in ways.items():
            if tau == 1.0 and metrics:  # one and the same
                metrics[way], ranks[way] = metrics["raw"], ranks["raw"].copy()
                continue
            ranking = tiger.recommend(cases.without_targets(), LEAST_BEAM, tau=tau)
            result = evaluate(ranking, cases, pipeline.split, tiger.identifiers.identifier_of_item)
            metrics[way], ranks[way] = result.metrics(), result.ranks.astype(np.int8)
        save_tensors(out / "ranks.safetensors", ranks)
        about = {"validations": tiger.log.validations, "losses": tiger.log.losses}
        return metrics | about | {"pushed": pushed(tiger, cases, ways)}

    settings = {"ranked": LEAST_BEAM, "hardest": HARDEST}
    return stage_after_training(pipeline, "tau-sweep", 2, settings, work)


def pushed(tiger: Tiger, cases: Cases, ways: dict[str, float]) -> dict[str, dict[str, float]]:
    """What one model's logits look like in each way, that is divided by its tau: losses, and who
    takes the gradient.

    loss: mean over the tokens of all targets. Of the first code alone: top share, of the push that
    the ten hardest negatives take; effective, the number of equally pushed negatives with the same
    entropy.
    """
    logits, targets = target_logits(tiger, cases)
    found = {}
    for way, tau in ways.items():
        weights = negative_weights(logits[:, 0].double(), targets[:, 0], tau)
        found[way] = {
            "loss": ranking_guided_loss(logits, targets, tau).item(),
            "top_share": weights.topk(HARDEST, dim=1).values.sum(dim=1).mean().item(),
            "effective": float(perplexity(weights.numpy()).mean()),
            "spread": (logits[:, 0] / tau).std(dim=1).mean().item(),
        }
    return found


def main(
    out: Out, profile: str = "laptop", seeds: Seeds = 3, cache_dir: CacheDir = Path("runs")
) -> None:
    refuse_existing(out)
    cache = Cache(cache_dir, say=lambda line: None)
    rows, ranks = [], {}
    for seed in progress(range(seeds), what="seeds"):
        for tau in TAUS:
            pipeline = Pipeline(
                make_config("movielens", profile, seed, overrides=[f"tiger.tau={tau}"]), cache=cache
            )
            done = decoded(pipeline)
            for way, found in load_tensors(done.path("ranks.safetensors"))[0].items():
                ranks[f"{way} tau={tau:g} seed={seed}"] = found.numpy()
                wanted = {name: done.metrics[way][name] for name in ("R@5", "R@10", "N@5", "N@10")}
                rows.append(
                    {"seed": seed, "tau": tau, "decoded": way}
                    | wanted
                    | done.metrics["pushed"][way]
                )
    ranks["users"] = pipeline.split.cases("test").users.astype(np.int32)
    about = {
        "profile": profile,
        "seeds": seeds,
        "taus": TAUS,
        "ranked": LEAST_BEAM,
        "hardest": HARDEST,
        "tiger": pipeline.config.tiger.model_dump(mode="json", exclude={"tau"}),
    }
    write_sweep(out, pipeline, rows, ("ranks", ranks), about)


if __name__ == "__main__":
    run_script(main)
