"""Measures of a run's tokenizers: for the report, the table of seeds, and finished runs."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from letterlib.analysis.code_usage import code_usage, perplexity_difference
from letterlib.analysis.collaborative_signal import (
    SimilarityResult,
    item_similarities,
    nearest_neighbours,
    similarity_experiment,
    target_ranks,
)
from letterlib.analysis.generation import first_code_counts, generation_bias
from letterlib.evaluation.bootstrap import interval, verdict
from letterlib.evaluation.metrics import hits_at
from letterlib.pipeline.config import VARIANTS
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.results import RESAMPLING_SEED
from letterlib.pipeline.systems import SYSTEMS, codes
from letterlib.tokenizer.letter import LetterTokenizer

TIGERS = ("tiger", "letter-tiger")
"""The pair whose only difference is the tokenizer."""

VARIANT_NAMES = {
    "plain": "RQ-VAE",
    "cf": "+ collaborative",
    "div": "+ diversity",
    "letter": "LETTER (both)",
}


@dataclass(frozen=True)
class TokenizerAnalysis:
    """The four tokenizers of one run. codes are those the models chose, before collisions were
    repaired.
    """

    tokenizers: dict[str, LetterTokenizer]
    codes: dict[str, np.ndarray]
    usage: dict[str, pd.DataFrame]
    signal: dict[str, SimilarityResult]
    similarities: dict[str, np.ndarray]
    ranking: dict[str, float]


def analyse_tokenizers(pipeline: Pipeline) -> TokenizerAnalysis:
    """Train or find the four tokenizers and measure code usage and collaborative signal of each."""
    tokenizers = {name: pipeline.tokenizer(name) for name in VARIANTS}
    codes = {name: one.codes_before_repair() for name, one in tokenizers.items()}
    neighbours = nearest_neighbours(pipeline.collaborative().vectors)
    return TokenizerAnalysis(
        tokenizers,
        codes,
        {
            name: code_usage(codes[name], one.identifiers().level_sizes)
            for name, one in tokenizers.items()
        },
        {name: similarity_experiment(one, neighbours) for name, one in codes.items()},
        {name: item_similarities(one, neighbours).mean(axis=1) for name, one in codes.items()},
        ranking_recall(pipeline, tokenizers),
    )


def ranking_recall(pipeline: Pipeline, tokenizers: dict[str, LetterTokenizer]) -> dict[str, float]:
    """R@10 of the small SASRec with each tokenizer's vectors in place of its item embeddings
    (LETTER section 4.3.4); NaN for code vectors of another width than SASRec's.
    """
    cases = pipeline.split.cases("test")
    states = pipeline.sasrec_32().user_states(cases.without_targets())

    def recall(vectors: np.ndarray) -> float:
        if vectors.shape[1] != states.shape[1]:
            return float("nan")
        return float(hits_at(target_ranks(states, vectors, cases.targets), 10).mean())

    return {name: recall(one.quantised()) for name, one in tokenizers.items()}


def tokenizer_frame(analysis: TokenizerAnalysis) -> pd.DataFrame:
    """One row a tokenizer: reconstruction, code usage of the first level, collisions, collaborative
    signal.
    """
    rows = {}
    for name, tokenizer in analysis.tokenizers.items():
        report, first = tokenizer.report, analysis.usage[name].iloc[0]
        rows[VARIANT_NAMES.get(name, name)] = {
            "alpha": f"{tokenizer.config.alpha:g}",
            "beta": f"{tokenizer.config.beta:g}",
            "unexplained variance": f"{report.reconstruction_error[-1]:.3f}",
            "level-1 codes in use": f"{first['in_use']:.0f}",
            "perplexity": f"{first['perplexity']:.1f}",
            "Gini": f"{first['gini']:.2f}",
            "largest share": f"{first['max_share']:.1%}",
            "collaborative signal": f"{analysis.signal[name].mean:.4f}",
            "R@10 in SASRec's place": f"{analysis.ranking[name]:.4f}",
            "sharing an identifier": (
                f"{report.collisions.colliding_before} -> {report.collisions.colliding_after}"
            ),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("tokenizer")


def effects(analyses: list[TokenizerAnalysis]) -> list[str]:
    """What each regularizer does to what it is for, with its interval over items and seeds."""
    sentences = []
    for words, treated, control in (
        ("The diversity loss", "div", "plain"),
        ("The diversity loss beside the collaborative one", "letter", "cf"),
    ):
        first, second = (
            np.stack([one.codes[name][:, 0] for one in analyses]) for name in (treated, control)
        )
        difference = perplexity_difference(first, second, RESAMPLING_SEED)
        said = verdict(difference, len(analyses))
        sentences.append(f"{words} changes level-1 perplexity by {difference:+.1f}: {said}.")
    for words, treated, control in (
        ("The collaborative loss", "cf", "plain"),
        ("The collaborative loss beside the diversity one", "letter", "div"),
    ):
        values = np.stack(
            [one.similarities[treated] - one.similarities[control] for one in analyses]
        )
        difference = interval(values, np.arange(values.shape[1]), RESAMPLING_SEED)
        said = verdict(difference, len(analyses))
        sentences.append(
            f"{words} changes the share of codes that an item has in common with its "
            "collaborative neighbour by "
            f"{difference:+.4f}: {said}."
        )
    return sentences


def bias_frame(pipeline: Pipeline) -> pd.DataFrame:
    """Generation bias of each system: KL divergence of generated first codes, in nats."""
    rows = {}
    targets = pipeline.split.cases("test").targets
    for system in TIGERS:
        identifiers = pipeline.identifiers(SYSTEMS[system].identifiers)
        lists = pipeline.ranking(system).items[:, :10]
        counts = first_code_counts(identifiers.codes, lists, targets, identifiers.level_sizes[0])
        bias = generation_bias(counts)
        rows[system] = {f"KL from the {name}": f"{value:.3f}" for name, value in bias.items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def identifier_figures(pipeline: Pipeline, tokenizer: str) -> dict[str, Any] | None:
    """How a trained tokenizer turned out, by the paper's three criteria; None where items are not
    named by codes.

    Codes are those that the model chose, before collisions were repaired. "collaborative signal" is
    the share of equal codes between an item and its nearest neighbour by the collaborative
    embeddings (LETTER section 4.3.4), "ranking R@10" is `ranking_recall`. Of other codes, such as
    released ones, it is what they show by themselves: sharing, codes in use and perplexity.
    """
    if tokenizer not in codes():
        return None
    if tokenizer not in VARIANTS:
        identifiers = pipeline.identifiers(tokenizer)
        usage = code_usage(identifiers.codes, identifiers.level_sizes)
        return {"sharing an identifier": {"after": identifiers.n_colliding}} | _usage_by_level(
            usage
        )
    trained = pipeline.tokenizer(tokenizer)
    chosen, report = trained.codes_before_repair(), trained.report
    collisions = report.collisions
    usage = code_usage(chosen, trained.identifiers().level_sizes)
    recall = ranking_recall(pipeline, {tokenizer: trained})[tokenizer]
    return {
        "unexplained variance": report.reconstruction_error,
        "sharing an identifier": {
            "before": collisions.colliding_before,
            "after": collisions.colliding_after,
        },
        "collaborative signal": similarity_experiment(
            chosen, nearest_neighbours(pipeline.collaborative().vectors)
        ).mean,
        "ranking R@10": recall if np.isfinite(recall) else None,
    } | _usage_by_level(usage)


def _usage_by_level(usage: pd.DataFrame) -> dict[str, list]:
    return {"codes in use": usage["in_use"].tolist(), "perplexity": usage["perplexity"].tolist()}
