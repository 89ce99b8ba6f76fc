"""The first floor of every table: what everybody watches."""

from typing import Self

import torch
from torch import Tensor

from letterlib.data.dataset import Cases, Split
from letterlib.evaluation.learned import Learned
from letterlib.evaluation.ranking import Ranking, check_histories, rank_by_score


class Popularity:
    """Ranks items by how often they occur in the training part; ties by item id."""

    _by_count: Tensor = Learned()

    def fit(self, split: Split) -> Self:
        # The fraction puts the lower of two ids first, so that no two items tie: resolving ties of
        # a whole catalogue row by row takes a hundred times as long as ranking it.
        fraction = torch.arange(split.n_items, dtype=torch.float64) / split.n_items
        self._by_count = torch.tensor(split.train_counts) - fraction
        return self

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        check_histories(cases, len(self._by_count))
        return rank_by_score(self._scores, cases, k, exclude_history)

    def _scores(self, cases: Cases) -> Tensor:
        return self._by_count.expand(len(cases), -1)
