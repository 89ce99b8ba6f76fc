"""Does a small language model learn to recommend on two cores? LETTER-LC-Rec on MovieLens, before
and after.

    python experiments/language_model.py --out experiments/results/movielens-lc-rec

Training is the stage `letter-lc-rec` of the profile, found or made in --cache-dir, with a
checkpoint after every epoch; a seed that is done is not done again, and one that was done with
other settings, such as another profile's, is an error. Before is the same model with its new tokens
initialised and nothing trained.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from letterlib.baselines.popularity import Popularity
from letterlib.cli import run_script
from letterlib.data.dataset import sampled_rows
from letterlib.errors import LetterError
from letterlib.evaluation.bootstrap import interval, paired_difference, verdict
from letterlib.evaluation.evaluate import Evaluation, evaluate
from letterlib.generators.lcrec import LCRec
from letterlib.pipeline.cache import Cache, versions
from letterlib.pipeline.config import make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.store import read_json, write_json

SYSTEM = "letter-lc-rec"
FREE_CASES = 100
"""Cases of the sample that are also decoded without the trie."""
SHOWN = 10
"""Users of whom one case's lists are kept, for people to look at; the case by its number, because
the data set may not be handed on.
"""


def main(
    out: Annotated[Path, typer.Option(help="folder for one JSON a seed and summary.json")],
    seeds: Annotated[int, typer.Option(min=1, help="seeds 0, 1, ...")] = 3,
    profile: Annotated[str, typer.Option(help="smoke, laptop or paper")] = "laptop",
    cache_dir: Annotated[Path, typer.Option(help="where stages are kept")] = Path("runs"),
    only: Annotated[
        int | None, typer.Option(help="this seed alone, to run several side by side")
    ] = None,
) -> None:
    if only is not None and not 0 <= only < seeds:
        raise typer.BadParameter(
            f"--only {only}: with --seeds {seeds} the seeds are 0 to {seeds - 1}"
        )
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"seed{seed}.json" for seed in range(seeds)]
    for file in files:  # all of them before anything is trained
        asked = make_config("movielens", profile).lcrec.model_dump(mode="json")
        if file.exists() and read_json(file)["config"] != asked:
            raise LetterError(f"{file}: done with other settings; choose another --out")
    for seed, file in enumerate(files):
        if not file.exists() and only in (None, seed):
            pipeline = Pipeline(make_config("movielens", profile, seed), cache=Cache(cache_dir))
            if (
                seed == 0
            ):  # lesson 07 loads it; saved before the file that says that this seed is done
                pipeline.system(SYSTEM).save(out / "adapter.safetensors", dtype=torch.float16)
            write_json(file, one_seed(pipeline))
    # Looked for after training: processes for other seeds may have finished in the meantime.
    if all(file.exists() for file in files):
        write_json(out / "summary.json", summarise([read_json(file) for file in files]))
        print(read_json(out / "summary.json"))


def one_seed(pipeline: Pipeline) -> dict:
    config, cases = pipeline.config, pipeline.test_cases(SYSTEM)
    histories, free = cases.without_targets(), np.arange(min(FREE_CASES, len(cases)))
    shown = np.unique(cases.users, return_index=True)[1][:SHOWN]
    trained = pipeline.system(SYSTEM)
    result = {
        "seed": config.seed,
        "config": config.lcrec.model_dump(mode="json"),
        "losses by task": trained.losses_by_task(),
        "parameters": {"all": trained.n_parameters, "trained": trained.n_trained},
        "training seconds": next(s.seconds for s in pipeline.stages(SYSTEM) if s.name == SYSTEM),
        "device": pipeline.cache.devices(),
        "versions": versions(),
        "shown": sampled_rows(len(pipeline.split.cases("test")), len(cases), seed=0)[
            shown
        ].tolist(),
    }
    untrained = LCRec(
        trained.identifiers, pipeline.dataset.titles(), config.lcrec, config.seed, config.device
    )
    popularity = Popularity().fit(pipeline.split)
    for name, system in (("popularity", popularity), ("before", untrained), ("after", trained)):
        ranking = system.recommend(histories, 20)
        told_apart = None if name == "popularity" else trained.identifiers.identifier_of_item
        evaluation = evaluate(ranking, cases, pipeline.split, told_apart)
        result[name] = {
            "evaluation": evaluation.to_json(),
            "metrics": evaluation.metrics(),
            "lists": ranking.items[shown, :10].tolist(),
        }
        if name != "popularity":
            unheld = system.recommend_unconstrained(histories[free], 10)
            result[name]["valid without the trie"] = {
                "first": float(unheld.valid[:, 0].mean()),
                "ten": float(unheld.valid.mean()),
                "cases": len(free),
            }
            result[name]["valid with the trie"] = float(ranking.valid.mean())
    return result


def summarise(runs: list[dict]) -> dict:
    """R@10 of all three with intervals over users and seeds, and the two differences that
    matter.
    """
    systems = ("popularity", "before", "after")
    read = {
        name: [Evaluation.from_json(run[name]["evaluation"]) for run in runs] for name in systems
    }
    hits = {
        name: np.stack([one.hits(10) for one in evaluations]) for name, evaluations in read.items()
    }
    users = read["after"][0].users
    summary: dict = {"cases": len(users), "seeds": len(runs)}
    for name, one in hits.items():
        found = interval(one, users, 0)
        summary[f"R@10 {name}"] = [found.mean, found.low, found.high]
    for other in ("before", "popularity"):
        difference = paired_difference(hits["after"], hits[other], users, 0)
        said = verdict(difference, len(runs))
        summary[f"after - {other}"] = [difference.mean, difference.low, difference.high, said]
    for name in ("before", "after"):
        for kind in ("first", "ten"):
            shares = [run[name]["valid without the trie"][kind] for run in runs]
            summary[f"valid without the trie, {name}, {kind}"] = shares
        summary[f"valid with the trie, {name}"] = [run[name]["valid with the trie"] for run in runs]
    return summary


if __name__ == "__main__":
    run_script(main)
