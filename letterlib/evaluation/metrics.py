"""Metrics as pure functions of the target's rank, and of the lists that were shown."""

import numpy as np

from letterlib.errors import LetterError

ABSENT = -1
"""The rank of a target that is not in the list."""

GROUPS = HEAD, MIDDLE, TAIL, COLD = "head", "middle", "tail", "cold"


def ranks_of(items: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The place of each target in its list, 0 first: int64 [n], ABSENT where it is missing.

    items: int64 [n, K], best first; targets: int64 [n].
    """
    found = items == targets[:, None]
    return np.where(found.any(axis=1), found.argmax(axis=1), ABSENT)


def hits_at(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 where the target is among the first k, else 0: float64 [n]. Its mean is Recall@k."""
    return ((ranks != ABSENT) & (ranks < k)).astype(np.float64)


def gains_at(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 / log2(rank + 2) where the target is among the first k, else 0: float64 [n].

    Its mean is NDCG@k, as each case has one target.
    """
    return hits_at(ranks, k) / np.log2(np.maximum(ranks, 0) + 2)


def reciprocals_at(ranks: np.ndarray, k: int) -> np.ndarray:
    """1 / (rank + 1) where the target is among the first k, else 0: float64 [n]. Mean: MRR@k."""
    return hits_at(ranks, k) / (np.maximum(ranks, 0) + 1)


AT_K = {"R": hits_at, "N": gains_at, "MRR": reciprocals_at}
"""The metrics at K, by the letters of their names: Recall, NDCG, mean reciprocal rank."""


def case_values(ranks: np.ndarray, metric: str, depth: int) -> np.ndarray:
    """Each case's value of a metric such as "R@10", "N@5" or "MRR@20": float64 [n].

    ranks: int64 [n], 0 first, ABSENT where the target is not in the list.
    depth: places of the lists. A K beyond them, or another name, is a LetterError.
    """
    name, _, k = metric.partition("@")
    if name not in AT_K or not k.isdecimal() or int(k) < 1:
        raise LetterError(f'metric "{metric}": choose {", ".join(AT_K)} at a K, for instance N@10')
    if int(k) > depth:
        raise LetterError(
            f"{metric}: ranks are known for the first {depth} places; choose a K of {depth} or "
            "less, or rank longer lists"
        )
    return AT_K[name](ranks, int(k))


def mean_value(ranks: np.ndarray, metric: str, depth: int) -> float:
    """The mean of `case_values` over the cases."""
    return float(case_values(ranks, metric, depth).mean())


def identifier_ranks(
    items: np.ndarray, targets: np.ndarray, identifier_of_item: np.ndarray
) -> np.ndarray:
    """The target's rank when items that share an identifier count as one, at their first place.

    Where several of a list's K items share an identifier, it has fewer than K identifiers, and
    Recall of identifiers is a lower bound.

    items: int64 [n, K], negative where there is none (which still counts as a place); targets:
    int64 [n]; identifier_of_item: int64 [n_items]. Returns int64 [n].
    """
    shown = np.where(items >= 0, identifier_of_item[np.maximum(items, 0)], ABSENT)
    earlier = (shown[:, :, None] == shown[:, None, :]) & np.tri(items.shape[1], k=-1, dtype=bool)
    first = ~earlier.any(axis=2) | (shown == ABSENT)
    found = shown == identifier_of_item[targets][:, None]
    position = found.argmax(axis=1)
    before = np.take_along_axis(first.cumsum(axis=1), position[:, None], axis=1)[:, 0] - 1
    return np.where(found.any(axis=1), before, ABSENT)


def coverage(items: np.ndarray, n_items: int) -> float:
    """Share of the catalogue that appears in some list. items: int64 [n, K]."""
    return len(np.unique(items[items >= 0])) / n_items


def gini(counts: np.ndarray) -> float:
    """Inequality of counts [n]: 0 when all are equal, towards 1 when one has everything."""
    counts = np.sort(np.asarray(counts, dtype=np.float64))
    n, total = len(counts), counts.sum()
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ counts / (n * total))


def popularity_groups(train_counts: np.ndarray) -> np.ndarray:
    """The group of every item; HEAD, MIDDLE and TAIL each hold about a third of the interactions.

    train_counts: int64 [n_items]. Items are counted from the most popular down (ties by item id),
    and each is in the third in which its first interaction falls; COLD items have none.
    Returns str [n_items].
    """
    order = np.argsort(-train_counts, kind="stable")
    before = np.cumsum(train_counts[order]) - train_counts[order]
    third = np.minimum(3 * before // max(1, train_counts.sum()), 2)
    groups = np.empty(len(train_counts), dtype="<U6")
    groups[order] = np.array([HEAD, MIDDLE, TAIL])[third]
    groups[train_counts == 0] = COLD
    return groups
