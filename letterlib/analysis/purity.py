"""Whether items that share codes share a genre, compared with shuffled identifiers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import sparse

from letterlib.errors import LetterError

SHUFFLES = 100


def genre_purity(codes: np.ndarray, genres: Sequence[str], seed: int) -> pd.DataFrame:
    """Probability that two different items with the same first l codes have a genre in common.

    codes: int64 [n_items, L].
    genres: a string an item, labels separated by "|"; items without one are left out.
    seed: of the shuffling.

    Returns one row per prefix length l = 0, 1, ..., L (index "prefix"). Columns: pairs; purity, NaN
    without pairs; shuffled, the mean over random permutations of the identifiers; shuffled_low and
    shuffled_high, their 2.5% and 97.5% quantiles.
    """
    labels = [sorted({label for label in text.split("|") if label}) for text in genres]
    labelled = np.array([bool(own) for own in labels])
    if not labelled.any():
        raise LetterError("genres: no item has a genre; use a data set that has them")
    sets, of_item = np.unique(["|".join(own) for own in labels if own], return_inverse=True)
    shares = _share_a_label(sets)
    codes, random = codes[labelled], np.random.default_rng(seed)
    orders = [random.permutation(len(codes)) for _ in range(SHUFFLES)]
    rows = []
    for length in range(codes.shape[1] + 1):
        group = codes[:, 0] * 0
        if length:
            group = np.unique(codes[:, :length], axis=0, return_inverse=True)[1].reshape(-1)
        sizes = np.bincount(group)
        pairs = int((sizes * (sizes - 1)).sum()) // 2
        if pairs:
            kept = sizes[group] > 1  # an item that is alone in its group is in no pair
            within = np.unique(group[kept], return_inverse=True)[1]
            purity, *dealt = (
                _sharing_pairs(within, sets_of[kept], shares) / pairs
                for sets_of in (of_item, *(of_item[order] for order in orders))
            )
            measured = (purity, float(np.mean(dealt)), *np.quantile(dealt, [0.025, 0.975]))
        else:
            measured = (np.nan,) * 4
        rows.append((length, pairs, *measured))
    columns = ["prefix", "pairs", "purity", "shuffled", "shuffled_low", "shuffled_high"]
    return pd.DataFrame(rows, columns=columns).set_index("prefix")


def _share_a_label(sets: np.ndarray) -> np.ndarray:
    """1 where two of the distinct genre strings share a label, else 0: float32 [n_sets, n_sets]."""
    split = [text.split("|") for text in sets]
    labels = {label: i for i, label in enumerate(sorted({label for own in split for label in own}))}
    has = np.zeros((len(sets), len(labels)), dtype=np.float32)
    for row, own in zip(has, split, strict=True):
        row[[labels[label] for label in own]] = 1
    common = has @ has.T
    return np.minimum(common, 1, out=common)


def _sharing_pairs(group: np.ndarray, genre_set: np.ndarray, shares: np.ndarray) -> float:
    """How many pairs within groups share a label: counts per group and set, not pair by pair."""
    ones = np.ones(len(group), dtype=np.float32)  # exact up to 2^24; products may be larger
    counts = sparse.csr_matrix((ones, (group, genre_set)), (group.max() + 1, len(shares)))
    return float((counts.astype(np.float64).multiply(counts @ shares).sum() - len(group)) / 2)
