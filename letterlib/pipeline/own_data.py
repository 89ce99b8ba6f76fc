"""The pipeline on a changed data set or with other identifiers, and with cold items: what the open
projects start from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from letterlib.data.dataset import SHORTEST, Cases, Dataset, Sequences
from letterlib.errors import LetterError
from letterlib.evaluation.ranking import Ranking, Recommender
from letterlib.pipeline.cache import Stage
from letterlib.pipeline.config import VARIANTS, tokenizer_class, variant_config
from letterlib.pipeline.pipeline import Pipeline
from letterlib.pipeline.systems import OTHER_IDENTIFIERS, find_system
from letterlib.store import digest
from letterlib.text import ItemEmbeddings
from letterlib.tokenizer.collisions import identifiers_with_unseen
from letterlib.tokenizer.identifiers import Identifiers


class OwnPipeline(Pipeline):
    """`Pipeline` with another data set in the place of the named one.

    base: the pipeline whose configuration and cache it takes over.
    identifiers: by tokenizer or source, the identifiers to use instead of its own.
    parts: pipelines whose catalogues, joined in this order, may be this one's; `base` by default.
        Where their texts are the same, their text vectors are used and nothing is embedded again.
    """

    def __init__(
        self,
        base: Pipeline,
        dataset: Dataset,
        identifiers: Mapping[str, Identifiers] | None = None,
        parts: Sequence[Pipeline] = (),
    ):
        # The first is remembered from before a change in place, the copy's is of now.
        if dataset.fingerprint != replace(dataset).fingerprint:
            raise LetterError(
                f"{dataset.name}: its items were changed in place, so cached results would be "
                "wrong; make a changed copy, dataclasses.replace(dataset, items=...)"
            )
        super().__init__(base.config, data_dir=base.data_dir, cache=base.cache)
        self.base, self.dataset, self._parts = base, dataset, tuple(parts) or (base,)
        self._own = dict(identifiers or {})
        for name, own in self._own.items():
            if name not in (known := {*VARIANTS, *OTHER_IDENTIFIERS}):
                raise LetterError(
                    f'identifiers "{name}": no tokenizer or source is called so; '
                    f"choose one of {', '.join(sorted(known))}"
                )
            if len(own) != dataset.n_items:
                raise LetterError(
                    f'identifiers "{name}": {len(own):,} rows for {dataset.n_items:,} items; '
                    "give one per item"
                )

    def _semantic(self) -> Stage:
        texts = [text for part in self._parts for text in part.dataset.texts()]
        if self.dataset.texts() != texts:
            return super()._semantic()
        if len(self._parts) == 1:
            return self._parts[0]._semantic()

        def work(out: Path, partial: Path) -> dict[str, Any]:
            vectors = np.concatenate([part.semantic().vectors for part in self._parts])
            ItemEmbeddings(vectors, self.config.encoder, digest(texts)).save(
                out / "semantic.safetensors"
            )
            return {"items": len(vectors)}

        return self._stage(
            "semantic-joined", 1, {}, [part._semantic().key for part in self._parts], work
        )

    def _identifiers(self, source: str) -> Stage:
        if source not in self._own:
            return super()._identifiers(source)
        identifiers = self._own[source]

        def work(out: Path, partial: Path) -> dict[str, Any]:
            identifiers.save(out / "identifiers.index.json")
            return {"sharing an identifier": identifiers.n_colliding}

        made_from = digest(
            identifiers.codes, identifiers.level_sizes, identifiers.shared_vocabulary
        )
        return self._stage(f"identifiers-own-{source}", 1, {}, [made_from], work)

    def identifiers(self, source: str) -> Identifiers:
        return self._own[source] if source in self._own else super().identifiers(source)

    def with_seed(self, seed: int) -> "OwnPipeline":
        parts = [part.with_seed(seed) for part in self._parts]
        return OwnPipeline(self.base.with_seed(seed), self.dataset, self._own, parts)

    def answers(
        self, name: str, cases: Cases, ask: Callable[[Recommender, Cases], Ranking], way: str
    ) -> Ranking:
        """A trained system's answers to your own question, kept in the cache like every stage.

        ask: from (system, cases without targets) to a ranking.
        way: a description of `ask`, part of the stage's key; another `ask` needs another.
        """
        model, histories = self._model(name), cases.without_targets()
        key = digest(histories.users, histories.values, histories.starts, histories.ends)

        def work(out: Path, partial: Path) -> dict[str, Any]:
            ask(self.system(name), histories).save(out / "ranking.parquet")
            return {"cases": len(cases)}

        inputs = [model.key if model else self._split_key, key]
        return Ranking.load(
            self._stage(f"answers-{name}", 1, {"way": way}, inputs, work).path("ranking.parquet")
        )


class ColdStart(OwnPipeline):
    """A share of the items is hidden from all training; they get identifiers from their text alone.

    Tokenizers are fitted on the items of the training part and then encode the others: the cold
    ones, and the few that no user has in training. `evaluation` reports them as "R@10 cold", with
    the number of cases.

    base: the pipeline on the whole data set.
    cold: int64, the hidden items.
    unseen: int64, all that training never meets.
    """

    def __init__(self, base: Pipeline, share: float):
        self.share = share
        self.cold = draw_cold_items(base.split.train_counts, share, base.config.seed)
        super().__init__(base, hide_until_test(base.dataset, self.cold, base.config.held_out))

    def _model(self, name: str) -> Stage | None:
        if find_system(name).titles:
            raise LetterError(
                f"{name}: learns from the titles of all items, so none can be hidden from it"
            )
        return super()._model(name)

    @cached_property
    def unseen(self) -> np.ndarray:
        return np.flatnonzero(self.split.train_counts == 0)

    def _tokenizer(self, variant: str) -> Stage:
        config, kind = variant_config(self.config, variant), tokenizer_class(variant)
        needs_cf = config.alpha > 0
        inputs = [self._split_key, self._semantic().key] + (
            [self._sasrec_32().key] if needs_cf else []
        )

        def work(out: Path, partial: Path) -> dict[str, Any]:
            seen = np.flatnonzero(self.split.train_counts)
            semantic = self.semantic().vectors
            tokenizer = kind(
                config, self.config.seed, self.config.device, partial / "tokenizer.safetensors"
            )
            tokenizer.fit(semantic[seen], self.collaborative().vectors[seen] if needs_cf else None)
            tokenizer.save(out / "tokenizer.safetensors")
            identifiers = identifiers_with_unseen(tokenizer, semantic, self.unseen)
            identifiers.save(out / f"{self.dataset.name}.index.json")
            return {"unseen": len(self.unseen), "sharing an identifier": identifiers.n_colliding}

        return self._stage(f"cold-tokenizer-{variant}", 2, config, inputs, work)

    def identifiers(self, source: str) -> Identifiers:
        """Of all items; `tokenizer(source).identifiers()` has those of the seen items alone."""
        if source not in VARIANTS:  # they are made of all items, hidden ones included
            raise LetterError(
                f"{source}: only trained tokenizers ({', '.join(VARIANTS)}) have cold items"
            )
        path = self._tokenizer(source).path(f"{self.dataset.name}.index.json")
        own = variant_config(self.config, source)
        sizes = (own.n_codes,) * own.n_levels
        return Identifiers.load(path, self.dataset.n_items, sizes)

    def with_seed(self, seed: int) -> "ColdStart":
        return ColdStart(self.base.with_seed(seed), self.share)


def draw_cold_items(train_counts: np.ndarray, share: float, seed: int) -> np.ndarray:
    """One item of every 1/share, drawn among items of about equal popularity: ids, int64 ascending.

    So the number of test cases that ask for them varies little from seed to seed.

    train_counts: int64 [n_items].
    """
    if not 0 < share < 1:
        raise LetterError(
            f"share={share}: the share of items to hide must lie between 0 and 1, for instance 0.1"
        )
    order = np.argsort(-train_counts, kind="stable")
    blocks = np.array_split(order, max(1, round(share * len(order))))
    random = np.random.default_rng(seed)
    return np.sort([random.choice(block) for block in blocks])


def hide_until_test(dataset: Dataset, items: np.ndarray, held_out: int) -> Dataset:
    """The data set without `items` in any user's training and validation part; the test part is
    untouched.

    A user who would become too short for a case loses the items altogether, since all that a short
    user has is training; one who is left with fewer than SHORTEST items is left out. The catalogue
    and its numbers stay the same.

    held_out: as in `Dataset.split`.
    """
    if dataset.held is not None:
        raise LetterError(f"{dataset.name}: has a split of its own, which cold items cannot have")
    if held_out < 1:
        raise LetterError(f"held_out must be at least 1, not {held_out}")
    hidden = np.zeros(dataset.n_items, dtype=bool)
    hidden[items] = True
    sequences, labels = [], []
    for user in range(dataset.n_users):
        all_items = dataset.sequences[user]
        before = all_items[:-held_out]
        kept = np.concatenate([before[~hidden[before]], all_items[-held_out:]])
        if len(kept) < 2 * held_out + 1:
            kept = all_items[~hidden[all_items]]
        if len(kept) >= SHORTEST:
            sequences.append(kept)
            labels.append(dataset.user_labels[user])
    source = (
        f"{dataset.source}; items hidden before the last {held_out} of every user: {hidden.sum():,}"
    )
    if left_out := dataset.n_users - len(labels):
        source += f"; users left out, who had hardly anything else: {left_out:,}"
    return replace(
        dataset, sequences=Sequences.from_lists(sequences), source=source, user_labels=labels
    )
