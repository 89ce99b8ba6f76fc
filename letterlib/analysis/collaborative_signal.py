"""How much collaborative signal identifiers carry: LETTER section 4.3.4, our own measures."""

from dataclasses import dataclass

import numpy as np
import torch

from letterlib.analysis.geometry import nearest

_ROWS = 1024  # scored at a time


@dataclass(frozen=True)
class SimilarityResult:
    """Share of equal codes between an item and its collaborative nearest neighbour.

    mean: over items and levels; by_level: L shares; random_pair: that of two different items.
    """

    mean: float
    by_level: tuple[float, ...]
    random_pair: float


def nearest_neighbours(vectors: np.ndarray) -> np.ndarray:
    """The other item with the highest cosine, ties by id: int64 [n]. vectors: float [n, d]."""
    return nearest(vectors, 1)[:, 0]


def item_similarities(codes: np.ndarray, neighbours: np.ndarray) -> np.ndarray:
    """1 where an item shares a level's code with its neighbour, else 0: float64 [n_items, L].

    codes: int64 [n_items, L]; neighbours: int64 [n_items], `nearest_neighbours` of CF vectors.
    `evaluation.bootstrap.interval` of the mean over levels, an item a user, gives an interval.
    """
    return (codes == codes[neighbours]).astype(np.float64)


def similarity_experiment(codes: np.ndarray, neighbours: np.ndarray) -> SimilarityResult:
    """How many codes collaborative neighbours share; shapes as in `item_similarities`."""
    shares = item_similarities(codes, neighbours)
    n = len(codes)
    loads = [np.unique(column, return_counts=True)[1] for column in codes.T]
    random_pair = float(np.mean([(load * (load - 1)).sum() / (n * (n - 1)) for load in loads]))
    return SimilarityResult(float(shares.mean()), tuple(shares.mean(axis=0).tolist()), random_pair)


def target_ranks(
    user_states: np.ndarray, item_vectors: np.ndarray, targets: np.ndarray
) -> np.ndarray:
    """The target's rank in the catalogue by dot product, 0 first, ties by id: int64 [n_cases].

    user_states: float [n_cases, d]; item_vectors: float [n_items, d], of the same dtype;
    targets: int64 [n_cases].
    """
    states, items, wanted = (
        torch.from_numpy(np.asarray(array)) for array in (user_states, item_vectors, targets)
    )
    ranks, ids, columns = [], torch.arange(len(items)), slice(None)
    distinct, place = np.unique(items.numpy(), axis=0, return_inverse=True)
    if len(distinct) < len(items):
        # Equal vectors once: their products may differ in the last bit from column to column.
        items, columns = torch.from_numpy(distinct), torch.from_numpy(place.reshape(-1))
    for start in range(0, len(states), _ROWS):
        scores = (states[start : start + _ROWS] @ items.T)[:, columns]
        target = wanted[start : start + _ROWS, None]
        own = scores.gather(1, target)
        ranks.append(((scores > own) | ((scores == own) & (ids < target))).sum(dim=1))
    return torch.cat(ranks).numpy()
