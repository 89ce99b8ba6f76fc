"""Identifiers that no RQ-VAE makes: the baselines' and the ablation's. One line a scheme."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from letterlib.data import identifiers_file
from letterlib.data.dataset import Dataset, Split
from letterlib.errors import Unavailable
from letterlib.generators.language_model import check_titles
from letterlib.pipeline.config import RunConfig
from letterlib.text import ItemEmbeddings
from letterlib.tokenizer.identifiers import Identifiers
from letterlib.tokenizer.other_identifiers import (
    RUNNING,
    category_identifiers,
    cooccurrence_identifiers,
    random_identifiers,
    residual_kmeans_identifiers,
    title_identifiers,
)


class Ingredients(Protocol):
    """What a scheme may look at; `letterlib.pipeline.pipeline.Pipeline` has it."""

    config: RunConfig
    data_dir: Path | None
    dataset: Dataset
    split: Split

    def semantic(self) -> ItemEmbeddings: ...


def _released(given: Ingredients) -> Identifiers:
    """The authors' `<Name>.index.json`, beside the interactions."""
    file = identifiers_file(given.config.dataset, given.data_dir)
    if file is None:
        raise Unavailable(
            f"{given.dataset.name}: no identifiers were released with it (<Name>.index.json in --data-dir)"
        )
    found = Identifiers.load(file, given.dataset.n_items)
    sizes = tuple(
        max(RUNNING, size) for size in found.level_sizes
    )  # as in the paper; the file names only codes in use
    return replace(found, level_sizes=sizes)


def _titles(given: Ingredients) -> Identifiers:
    """Words of the titles. A release without item text, whose titles are made up, is Unavailable."""
    check_titles(given.dataset)
    return title_identifiers(given.dataset.titles()).identifiers


def _sizes(given: Ingredients) -> tuple[int, int]:
    """Levels and codes of the tokenizer that the untrained identifiers are held against."""
    return given.config.tokenizer.n_levels, given.config.tokenizer.n_codes


@dataclass(frozen=True)
class Scheme:
    """A function from what a pipeline holds to `Identifiers`, and what it looks at beside the
    training part and titles.

    embeds: at the text embeddings. sized: at the tokenizer's numbers of levels and codes. The cache
    knows identifiers by what they were made from, so a change of what is not said here would not be
    seen.
    words: P5's, shared words of different numbers; TIGER alone writes them.
    """

    make: Callable[[Ingredients], Identifiers]
    embeds: bool = False
    sized: bool = False
    words: bool = False


SCHEMES: dict[str, Scheme] = {
    "categories": Scheme(lambda p: category_identifiers(p.dataset), words=True),
    "co-occurrence": Scheme(lambda p: cooccurrence_identifiers(p.split, p.config.seed), words=True),
    "titles": Scheme(_titles, words=True),
    "random": Scheme(
        lambda p: random_identifiers(p.dataset.n_items, p.config.seed, *_sizes(p)), sized=True
    ),
    "residual-k-means": Scheme(
        lambda p: residual_kmeans_identifiers(p.semantic().vectors, p.config.seed, *_sizes(p)),
        embeds=True,
        sized=True,
    ),
    "released": Scheme(_released),
}
"""What each is called in `systems.SYSTEMS`, and how it is made."""
