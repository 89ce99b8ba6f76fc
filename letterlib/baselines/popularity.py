"""Popularity: the same list for every case, the items with the most training interactions.

The first floor of every table. It has no parameters.
"""

from typing import Self

import torch
from torch import Tensor

from letterlib.data.dataset import Cases, Split
from letterlib.errors import Learned
from letterlib.evaluation.ranking import Ranking, check_histories, rank_by_score


class Popularity:
    """Ranks items by how often they occur in the training part; ties by item id."""

    _by_count: Tensor = Learned()

    def fit(self, split: Split) -> Self:
        # The fraction orders equal counts by id: no ties, which `top_k` resolves a hundred times
        # more slowly than it ranks.
        fraction = torch.arange(split.n_items, dtype=torch.float64) / split.n_items
        self._by_count = torch.tensor(split.train_counts) - fraction
        return self

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        check_histories(cases, len(self._by_count))
        return rank_by_score(self._scores, cases, k, exclude_history)

    def _scores(self, cases: Cases) -> Tensor:
        return self._by_count.expand(len(cases), -1)
