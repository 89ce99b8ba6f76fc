"""Markov floor: what followed the last few items in training, by counting alone.

The second floor of every table, our own definition of a first-order Markov chain with a window. A
neural sequence model that does not clear it has not yet learned the sequence.
"""

import itertools
from typing import Self

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from letterlib.data.dataset import NO_ITEM, Cases, Sequences, Split
from letterlib.errors import Learned
from letterlib.evaluation.evaluate import validation_ndcg
from letterlib.evaluation.ranking import Ranking, check_histories, rank_by_score

WINDOWS, DECAYS, SMOOTHINGS = (1, 3, 6), (0.5, 0.8), (1, 5, 20)


class MarkovFloor:
    """score(j) = sum over the last w items i, at recency r = 1, 2, ..., of
    q^(r-1) (T1[i, j] + T2[i, j] / 2) / (n_i + s); ties by popularity, then by item id.

    T1 and T2 count training transitions at distance 1 and 2, n_i is the count of i. `fit` chooses
    `settings` (w, q, s) on validation NDCG@10.
    """

    _counts: np.ndarray = Learned()

    def fit(self, split: Split) -> Self:
        self._take(split.train_counts, count_transitions(split.train, split.n_items))
        validate = validation_ndcg(split, self.recommend)
        best = -1.0
        for settings in itertools.product(WINDOWS, DECAYS, SMOOTHINGS):
            self._set(*settings)
            score = validate() if validate else 0.0
            if score > best:
                best, self.settings = score, settings
        self._set(*self.settings)
        return self

    def _take(self, counts: np.ndarray, transitions: sparse.csr_matrix) -> None:
        self._counts, self._transitions = counts, transitions
        # Above rounding errors, below nearly all differences of scores: it orders equal scores.
        rank = np.argsort(np.argsort(-counts, kind="stable"))
        self._ties = torch.from_numpy(1e-9 * (1 - rank / len(rank)))

    def _set(self, window: int, decay: float, smoothing: float) -> None:
        self._window, self._decay = window, decay
        scale = sparse.diags(1 / (self._counts + smoothing))
        self._scaled = (scale @ self._transitions).tocsr()

    def recommend(self, cases: Cases, k: int, exclude_history: bool = False) -> Ranking:
        check_histories(cases, len(self._counts))
        return rank_by_score(self._scores, cases, k, exclude_history)

    def _scores(self, cases: Cases) -> Tensor:
        return torch.from_numpy(self._raw(cases).toarray()) + self._ties

    def _raw(self, cases: Cases) -> sparse.csr_matrix:
        recent = cases.recent(self._window)[:, ::-1]  # the last item first
        rows, recency = np.nonzero(recent != NO_ITEM)
        weights = self._decay ** recency.astype(np.float64)
        histories = sparse.csr_matrix(
            (weights, (rows, recent[rows, recency])), (len(cases), len(self._counts))
        )
        return histories @ self._scaled

    def shares(self, cases: Cases) -> sparse.csr_matrix:
        """The scores as shares of all transitions that a window of frequent items would have:
        float64 [n, n_items], rows with a sum below 1, and smaller the less was counted.
        """
        whole = 1.5 * sum(self._decay**r for r in range(self._window))  # T1 + T2 / 2 of n_i
        return self._raw(cases) / whole

    def tensors(self) -> dict[str, Tensor]:
        """What `from_tensors` needs: counts and settings."""
        found = self._transitions.tocoo()
        window, decay, smoothing = self.settings
        return {
            "counts": torch.from_numpy(self._counts.copy()),
            "before": torch.from_numpy(found.row.astype(np.int32)),
            "after": torch.from_numpy(found.col.astype(np.int32)),
            "transitions": torch.from_numpy(found.data.astype(np.float32)),
            "settings": torch.tensor([window, decay, smoothing], dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> Self:
        """The floor that `tensors` describes."""
        floor, n_items = cls(), len(tensors["counts"])
        found = {name: tensor.numpy() for name, tensor in tensors.items()}
        window, decay, smoothing = found["settings"].tolist()
        floor._take(
            found["counts"],
            sparse.csr_matrix(
                (found["transitions"].astype(np.float64), (found["before"], found["after"])),
                (n_items, n_items),
            ),
        )
        floor.settings = (int(window), decay, int(smoothing))
        floor._set(*floor.settings)
        return floor


def count_transitions(train: Sequences, n_items: int) -> sparse.csr_matrix:
    """T1 + T2 / 2: how often item j came one place (or two, counted half) after item i.

    Returns float64 [n_items, n_items].
    """
    owner = train.owners
    total = sparse.csr_matrix((n_items, n_items))
    for distance, weight in ((1, 1.0), (2, 0.5)):
        same = owner[distance:] == owner[:-distance]
        before, after = train.values[:-distance][same], train.values[distance:][same]
        total = total + sparse.csr_matrix(
            (np.full(len(before), weight), (before, after)), (n_items, n_items)
        )
    return total.tocsr()
