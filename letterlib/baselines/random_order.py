"""Random order: what a list is worth that knows nothing. Every system must beat it."""

from typing import Self

import numpy as np
import torch
from torch import Tensor

from letterlib.data.dataset import Cases, Split
from letterlib.errors import Learned
from letterlib.evaluation.ranking import Ranking, check_histories, rank_by_score


class RandomOrder:
    """A shuffle of the catalogue for each case, fixed by its user and the items of its history.

    The order of the history does not count, nor do the other cases: a case has the same list in
    every run.
    """

    _n_items: int = Learned()

    def fit(self, split: Split) -> Self:
        self._n_items = split.n_items
        return self

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        check_histories(cases, self._n_items)
        return rank_by_score(self._scores, cases, k, exclude_history)

    def _scores(self, cases: Cases) -> Tensor:
        rows, items = cases.flat_histories()
        keys = mix(cases.users.astype(np.uint64))
        np.add.at(keys, rows, mix(items.astype(np.uint64)))
        mixed = mix(mix(keys)[:, None] + np.arange(self._n_items, dtype=np.uint64))
        return torch.from_numpy((mixed >> np.uint64(11)).astype(np.float64))


def mix(x: np.ndarray) -> np.ndarray:
    """Splitmix64 (Steele, Lea and Flood, 2014): a pseudo-random uint64 for each uint64."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
