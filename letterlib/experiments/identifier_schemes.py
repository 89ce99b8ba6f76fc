"""Identifiers that no RQ-VAE makes: the baselines' and the ablation's. One line a scheme.

A scheme is a function from a pipeline to `Identifiers`. It may look at item texts and at the training part.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from letterlib.data import identifiers_file
from letterlib.errors import Unavailable
from letterlib.tokenization.category_identifiers import category_identifiers
from letterlib.tokenization.cooccurrence_identifiers import cooccurrence_identifiers
from letterlib.tokenization.identifiers import RUNNING, Identifiers
from letterlib.tokenization.title_identifiers import title_identifiers
from letterlib.tokenization.untrained_identifiers import random_identifiers, residual_kmeans_identifiers

if TYPE_CHECKING:
    from letterlib.experiments.pipeline import Pipeline


def _released(pipeline: "Pipeline") -> Identifiers:
    """The authors' `<Name>.index.json`, beside the interactions."""
    file = identifiers_file(pipeline.config.dataset, pipeline.data_dir)
    if file is None:
        raise Unavailable(
            f"{pipeline.dataset.name}: no identifiers were released with it (<Name>.index.json in --data-dir)"
        )
    found = Identifiers.load(file, pipeline.dataset.n_items)
    sizes = tuple(max(RUNNING, size) for size in found.level_sizes)  # as in the paper; the file names only codes in use
    return replace(found, level_sizes=sizes)


def _sizes(pipeline: "Pipeline") -> tuple[int, int]:
    """Levels and codes of the tokenizer that the untrained identifiers are held against."""
    return pipeline.config.tokenizer.n_levels, pipeline.config.tokenizer.n_codes


SCHEMES: dict[str, Callable[["Pipeline"], Identifiers]] = {
    "categories": lambda p: category_identifiers(p.dataset),
    "co-occurrence": lambda p: cooccurrence_identifiers(p.split, p.config.seed),
    "titles": lambda p: title_identifiers(p.dataset.texts() and p.dataset.titles()).identifiers,
    "random": lambda p: random_identifiers(p.dataset.n_items, p.config.seed, *_sizes(p)),
    "residual-k-means": lambda p: residual_kmeans_identifiers(p.semantic().vectors, p.config.seed, *_sizes(p)),
    "released": _released,
}
"""What each is called in `systems.SYSTEMS`, and how it is made."""
