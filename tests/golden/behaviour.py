"""What the library computes on MovieLens, as one flat dictionary of arrays, numbers and lists.

This is the only file here that knows the library: whoever renames a module or an option adapts the
imports and the calls below, and nothing else. The keys and the values must stay as they are.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from letterlib.evaluation.evaluate import evaluate
from letterlib.pipeline.cache import Cache
from letterlib.pipeline.config import VARIANTS, make_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.systems import FIRST_RUN, QUICK, find_system
from letterlib.store import digest
from letterlib.train import resolve_device, resolve_dtype

DATASET, SEED = "movielens", 0

NOT_HERE = ("tiger-released",)
"""It needs the authors' identifiers, which exist for other data sets only."""

SLOW = ("p5-tid",)
"""Its identifiers are long, so it answers a sample of the test cases."""

LANGUAGE_MODELS = ("lc-rec", "letter-lc-rec", "bigrec")
"""With the tiny model of the smoke profile, which needs no download."""

SYSTEMS = {
    "smoke": (*(one for one in QUICK if one not in NOT_HERE), *LANGUAGE_MODELS),
    "laptop": FIRST_RUN,
}
SYSTEMS = {  # those with counts are tested against their formula
    profile: tuple(name for name in names if not find_system(name).counts)
    for profile, names in SYSTEMS.items()
}

IDENTIFIERS = ("titles", "categories", "co-occurrence", "random", "residual-k-means")
"""Identifiers that no tokenizer makes; at smoke only."""

TOKENIZER_VARIANTS = {
    "per-level": ["tokenizer.straight_through=per-level"],
    "float32": ["tokenizer.dtype=float32"],
    "strong": ["tokenizer.alpha=1.0", "tokenizer.beta=1.0"],
    "mu": ["tokenizer.mu=1.0"],
    "sizes": ["tokenizer.n_levels=3", "tokenizer.n_codes=40", "tokenizer.hidden=[96, 48]"],
}
"""Options of LETTER's tokenizer that no profile uses; at smoke only."""

TIGER_VARIANTS = {
    "tau": ["tiger.tau=0.7"],
    "targets": ["tiger.targets=3", "tiger.relative_rate=true", "tiger.warmup=0.05"],
    "seed 1": [],
}
"""Options of LETTER-TIGER that the smoke profile does not use, and another seed; at smoke only."""

BEAM_CASES, EXACT_CASES, SLOW_CASES, RANKED = 50, 10, 100, 20

SECTIONS_WITH_DTYPE = (
    "sasrec_32",
    "mf",
    "caser",
    "hgn",
    "bert4rec",
    "sasrec",
    "sasrec_tuned",
    "bigrec",
    "tokenizer",
    "tiger",
    "lcrec",
)


def compute(profile: str, dtype: str = "auto") -> dict[str, Any]:
    """Train and evaluate everything of a profile in a fresh cache.

    dtype: of the matrix products. Anything but "auto" is for trying out the tolerances.
    The order of the keys is that of the work, so the first that differs is where a change began.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder), say=lambda line: None)
        pipeline = _pipeline(profile, dtype, cache)
        found = _data(pipeline) | _embeddings(pipeline)
        for variant in VARIANTS:
            found |= _tokenizer(pipeline, variant, variant)
        if profile == "smoke":
            for name, overrides in TOKENIZER_VARIANTS.items():
                other = _pipeline(profile, dtype, cache, overrides)
                found |= _tokenizer(other, "letter", f"letter, {name}")
            for source in IDENTIFIERS:
                found[f"identifiers/{source}/codes"] = _small(pipeline.identifiers(source).codes)
        for name in SYSTEMS[profile]:
            if find_system(name).config is not None:
                found |= _curves(f"training/{name}", pipeline.log(name))
                found[f"training/{name}/parameters"] = pipeline.parameters(name)
        found |= _beams(pipeline, "letter-tiger", "letter-tiger")
        if profile == "smoke":
            for name, overrides in TIGER_VARIANTS.items():
                seed = 1 if name == "seed 1" else SEED
                other = _pipeline(profile, dtype, cache, overrides, seed)
                found |= _curves(f"training/letter-tiger, {name}", other.log("letter-tiger"))
                found |= _beams(other, "letter-tiger", f"letter-tiger, {name}")
        for name in SYSTEMS[profile]:
            found |= _evaluation(pipeline, name)
        return found


def resolved_dtype() -> str:
    """What "auto" stands for on this machine, such as "torch.bfloat16"."""
    return str(resolve_dtype("auto", resolve_device("cpu")))


def _pipeline(
    profile: str, dtype: str, cache: Cache, overrides: list[str] | None = None, seed: int = SEED
) -> Pipeline:
    """A pipeline on the CPU, with all of its matrix products in `dtype`."""
    forced = (
        [] if dtype == "auto" else [f"{section}.dtype={dtype}" for section in SECTIONS_WITH_DTYPE]
    )
    options = {"seed": seed, "device": "cpu", "overrides": [*forced, *(overrides or [])]}
    return Pipeline(make_config(DATASET, profile, **options), cache=cache)


def _data(pipeline: Pipeline) -> dict[str, Any]:
    """The data set and its split, which are the same everywhere."""
    split = pipeline.split
    cases = {part: split.cases(part) for part in ("train", "valid", "test")}
    return {
        "data/items": split.n_items,
        "data/cases": [len(one) for one in cases.values()],
        "data/train counts": digest(np.asarray(split.train_counts, dtype=np.int64)),
        "data/test targets": digest(np.asarray(cases["test"].targets, dtype=np.int64)),
        "data/titles": digest(list(pipeline.dataset.titles())),
        "data/texts": digest(list(pipeline.dataset.texts())),
    }


def _embeddings(pipeline: Pipeline) -> dict[str, Any]:
    """The text vectors and those of the small SASRec."""
    text, liked = pipeline.semantic().vectors, pipeline.collaborative().vectors
    found = {
        "embeddings/text/hash": digest(text),
        "embeddings/text/shape": list(text.shape),
        "embeddings/text/norm": float(np.linalg.norm(text, axis=1).mean()),
    }
    found |= _curves("training/sasrec-32", pipeline.sasrec_32().log)
    return found | {
        "embeddings/sasrec-32/hash": digest(liked),
        "embeddings/sasrec-32/shape": list(liked.shape),
        "embeddings/sasrec-32/norm": float(np.linalg.norm(liked, axis=1).mean()),
    }


def _tokenizer(pipeline: Pipeline, variant: str, name: str) -> dict[str, Any]:
    """Losses, codes and report of one tokenizer."""
    tokenizer = pipeline.tokenizer(variant)
    report, identifiers = tokenizer.report, tokenizer.identifiers()
    collisions, where = report.collisions, f"tokenizer/{name}"
    return _curves(where, report.log) | {
        f"{where}/codes before repair": _small(tokenizer.codes_before_repair()),
        f"{where}/codes": _small(identifiers.codes),
        f"{where}/colliding before repair": collisions.colliding_before,
        f"{where}/colliding": collisions.colliding_after,
        f"{where}/moved": collisions.moved,
        f"{where}/rounds": collisions.rounds,
        f"{where}/distances": [collisions.distance_before, collisions.distance_after],
        f"{where}/dead codes": list(report.dead_codes),
        f"{where}/reconstruction error": list(report.reconstruction_error),
        f"{where}/explained": _explained(pipeline.semantic().vectors, identifiers.codes[:, 0]),
    }


def _explained(vectors: np.ndarray, code: np.ndarray) -> float:
    """The share of the text vectors' variance that lies between the codes of one level.

    Codes that are given to the wrong items explain next to nothing, however evenly they are used.
    """
    vectors = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    within = sum(
        np.square(vectors[code == one] - vectors[code == one].mean(axis=0)).sum()
        for one in np.unique(code)
    )
    return float(1 - within / np.square(vectors).sum())


def _curves(where: str, log: Any) -> dict[str, Any]:
    """The losses by epoch, part by part, and the validations as pairs of epoch and score."""
    parts = log.losses[0] if log.losses else {}
    found = {f"{where}/losses/{part}": [epoch[part] for epoch in log.losses] for part in parts}
    return found | {f"{where}/validations": [list(one) for one in log.validations]}


def _beams(pipeline: Pipeline, name: str, label: str) -> dict[str, Any]:
    """The lists of a few test cases.

    Where nothing was varied, also what scoring the whole catalogue says of the same items.
    """
    system = pipeline.system(name)
    cases = pipeline.split.cases("test").sample(BEAM_CASES, seed=0).without_targets()
    found: dict[str, Any] = {}
    for history, exclude in (("in", False), ("out", True)):
        ranking = system.recommend(cases, RANKED, exclude_history=exclude)
        seen = [np.isin(ranking.items[i], cases.history(i)).sum() for i in range(len(cases))]
        found[f"beams/{label}/history {history}/items"] = ranking.items.astype(np.int16)
        found[f"beams/{label}/history {history}/scores"] = ranking.scores
        found[f"beams/{label}/history {history}/items of the history"] = int(sum(seen))
        if history == "in" and label == name:
            exact = system.recommend(cases[:EXACT_CASES], pipeline.split.n_items)
            score = np.full((EXACT_CASES, pipeline.split.n_items), np.nan, dtype=np.float32)
            np.put_along_axis(score, exact.items, exact.scores, axis=1)
            said = np.take_along_axis(score, ranking.items[:EXACT_CASES], axis=1)
            found[f"beams/{label}/history in/exact scores"] = said
    return found


def _evaluation(pipeline: Pipeline, name: str) -> dict[str, Any]:
    """Every metric of a system with both histories; of LETTER-TIGER also each target's rank."""
    found: dict[str, Any] = {}
    for history in ("in", "out"):
        if name in SLOW:
            metrics = _metrics_of_a_sample(pipeline, name, history)
        else:
            evaluation = pipeline.evaluation(name, history=history)
            metrics = evaluation.metrics()
            if name == "letter-tiger":
                ranks = evaluation.ranks, evaluation.identifier_ranks
                found[f"ranks/{name}/history {history}"] = np.stack(ranks).astype(np.int8)
        found |= {f"metrics/{name}/history {history}/{key}": one for key, one in metrics.items()}
    return found


def _metrics_of_a_sample(pipeline: Pipeline, name: str, history: str) -> dict[str, float]:
    """What `Pipeline.evaluation` gives, of fewer cases."""
    system, cases = pipeline.system(name), pipeline.split.cases("test").sample(SLOW_CASES, seed=0)
    ranking = system.recommend(cases.without_targets(), RANKED, exclude_history=history == "out")
    shared = system.identifiers.identifier_of_item
    return evaluate(ranking, cases, pipeline.split, shared).metrics()


def _small(codes: np.ndarray) -> np.ndarray:
    """Codes in the smallest type that holds them."""
    return codes.astype(np.uint8 if codes.max() < 256 else np.uint16)


def number_of_threads() -> int:
    """That of torch, which decides in which order sums are added up."""
    return torch.get_num_threads()
