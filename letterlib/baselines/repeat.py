"""Repeat floor: what a user had before, most recent first, and nothing else.

A floor for data in which users come back to items, as to restaurants (see Ren et al., RepeatNet,
AAAI 2019). It has no parameters.
"""

from typing import Self

import numpy as np

from letterlib.data.dataset import NO_ITEM, Cases, Split
from letterlib.data.flat_arrays import places_within
from letterlib.errors import Learned
from letterlib.evaluation.ranking import Ranking, check_histories


class RepeatFloor:
    """The items of the case's own history, most recent first, each once; scores are minus places.

    A list ends with the history: later places hold NO_ITEM, so the metrics are those of repeats
    alone. With `exclude_history=True` every list is empty.
    """

    _n_items: int = Learned()

    def fit(self, split: Split) -> Self:
        """Takes the size of the catalogue; there is nothing to learn."""
        self._n_items = split.n_items
        return self

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        check_histories(cases, self._n_items)
        listed = np.full((len(cases), k), NO_ITEM)
        scores = np.full((len(cases), k), -np.inf)
        if not exclude_history:
            rows, items = (values[::-1] for values in cases.flat_histories())  # the last item first
            first = np.sort(np.unique(rows * self._n_items + items, return_index=True)[1])
            rows, items = rows[first], items[first]
            places = places_within(np.bincount(rows, minlength=len(cases))[::-1])
            kept = places < k
            listed[rows[kept], places[kept]] = items[kept]
            scores[rows[kept], places[kept]] = -places[kept]
        return Ranking.of_items(listed, scores)
